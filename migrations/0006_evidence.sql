-- Before filing, and what goes with a claim: what filing looks up, who sees a contradiction, scans and photos.

ALTER TABLE claims ADD COLUMN dispute_by_seller boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN claims.dispute_by_seller IS 'Whether the dealer who filed made the registered sale, so that its day is shown to it (M1).';

-- What is known of a unit and of who would claim for it. Coverage is not among it: that is read as every decision reads it.
CREATE FUNCTION prospect(of_serial text, of_caller text, of_customer uuid)
RETURNS TABLE (dealer_is_active boolean, customer_is_known boolean, dealer_id text, customer_id uuid, sold_on date, invoice_number text,
               warranty_card_number text)
LANGUAGE sql STABLE AS $$
    SELECT NOT starts_with(of_caller, 'dealer/')
               OR EXISTS (SELECT 1 FROM dealers d WHERE d.dealer_id = substr(of_caller, 8) AND d.status = 'ACTIVE'),
           of_customer IS NULL OR customer_known_to(of_customer, of_caller),
           s.dealer_id, s.customer_id, s.sold_on, s.invoice_number, s.warranty_card_number
      FROM (SELECT coalesce((SELECT r.origin_serial FROM replacements r WHERE r.replacement_serial = of_serial), of_serial) AS serial) original
      LEFT JOIN sales s ON s.serial = original.serial AND s.superseded_at = 'infinity' AND NOT s.cancelled $$;
COMMENT ON FUNCTION prospect(text, text, uuid) IS
    'Whether the caller may apply, whether a named customer is the caller''s, and the registered sale of the unit''s original (T5).';

-- One round trip for what filing must do in this order: wait for an earlier request of the same id and give its reply; else hold
-- the unit, so that of two who file for it, or file and sell it, the second sees what the first did; then look. Each statement of
-- a volatile function sees what was committed before it. Filing finds rows by their keys alone: its statements are planned once
-- for each connection, and not for tables that were empty then. Whether the unit has an open claim is not asked, for a constraint tells.
CREATE FUNCTION begin_filing(of_caller text, of_request uuid, of_serial text, of_customer uuid)
RETURNS TABLE (method text, request_sha256 bytea, reply bytea, dealer_is_active boolean, customer_is_known boolean,
               dealer_id text, customer_id uuid, sold_on date, invoice_number text, warranty_card_number text)
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM set_config('plan_cache_mode', 'force_generic_plan', true), set_config('enable_seqscan', 'off', true);
    RETURN QUERY SELECT e.method, e.request_sha256, e.reply, false, false, NULL::text, NULL::uuid, NULL::date, NULL::text, NULL::text
                   FROM earlier_request(of_caller, of_request) e;
    IF FOUND THEN
        RETURN;
    END IF;
    PERFORM 1 FROM units u WHERE u.serial = of_serial FOR NO KEY UPDATE;
    RETURN QUERY SELECT NULL::text, NULL::bytea, NULL::bytea, p.* FROM prospect(of_serial, of_caller, of_customer) p;
END $$;
COMMENT ON FUNCTION begin_filing(text, uuid, text, uuid) IS 'The earlier request of that id; else the unit held, and its prospect.';

CREATE TABLE evidence (
    claim_id    uuid NOT NULL REFERENCES claims,
    evidence_id uuid NOT NULL,
    number      smallint NOT NULL CONSTRAINT evidence_at_most_20 CHECK (number BETWEEN 1 AND 20),
    kind        text NOT NULL CHECK (kind IN ('INVOICE', 'WARRANTY_CARD', 'PHOTO')),
    media_type  text NOT NULL CHECK (media_type IN ('image/jpeg', 'image/png', 'image/webp', 'application/pdf')),
    size_bytes  bigint NOT NULL CHECK (size_bytes BETWEEN 1 AND 10485760),
    sha256      bytea NOT NULL CHECK (length(sha256) = 32),
    object_id   uuid NOT NULL,
    added_at    timestamptz NOT NULL,
    PRIMARY KEY (claim_id, evidence_id),
    CONSTRAINT evidence_one_for_a_number UNIQUE (claim_id, number)
);
CREATE INDEX evidence_of_content ON evidence (sha256, claim_id);
COMMENT ON TABLE evidence IS 'Scans and photos of a claim, complete. Insert-only; the bytes are kept outside, under object_id.';
COMMENT ON COLUMN evidence.claim_id IS 'The claim.';
COMMENT ON COLUMN evidence.evidence_id IS 'The applicant''s UUID for it: another claim may have the same.';
COMMENT ON COLUMN evidence.number IS 'Its place among the claim''s, from 1.';
COMMENT ON COLUMN evidence.kind IS 'What it shows.';
COMMENT ON COLUMN evidence.media_type IS 'By its content.';
COMMENT ON COLUMN evidence.size_bytes IS 'Its size.';
COMMENT ON COLUMN evidence.sha256 IS 'Of its content.';
COMMENT ON COLUMN evidence.object_id IS 'The name of the object that holds its bytes.';
COMMENT ON COLUMN evidence.added_at IS 'When it was completed.';

CREATE TABLE evidence_uploads (
    claim_id    uuid NOT NULL REFERENCES claims,
    evidence_id uuid NOT NULL,
    kind        text NOT NULL CHECK (kind IN ('INVOICE', 'WARRANTY_CARD', 'PHOTO')),
    object_id   uuid NOT NULL,
    began_at    timestamptz NOT NULL,
    PRIMARY KEY (claim_id, evidence_id)
);
CREATE INDEX evidence_uploads_by_age ON evidence_uploads (began_at);
COMMENT ON TABLE evidence_uploads IS 'Scans and photos that are not complete yet. What is not within a day is dropped.';
COMMENT ON COLUMN evidence_uploads.claim_id IS 'The claim.';
COMMENT ON COLUMN evidence_uploads.evidence_id IS 'The applicant''s UUID for it.';
COMMENT ON COLUMN evidence_uploads.kind IS 'What it shows.';
COMMENT ON COLUMN evidence_uploads.object_id IS 'The object that will hold its bytes. It may be there already, where a completion was broken off.';
COMMENT ON COLUMN evidence_uploads.began_at IS 'When its first chunk came.';

CREATE TABLE evidence_chunks (
    claim_id     uuid NOT NULL,
    evidence_id  uuid NOT NULL,
    offset_bytes bigint NOT NULL CHECK (offset_bytes >= 0),
    data         bytea NOT NULL CHECK (length(data) BETWEEN 1 AND 1048576),
    CONSTRAINT evidence_chunks_one_for_an_offset PRIMARY KEY (claim_id, evidence_id, offset_bytes),
    FOREIGN KEY (claim_id, evidence_id) REFERENCES evidence_uploads ON DELETE CASCADE
);
-- A picture is compressed already.
ALTER TABLE evidence_chunks ALTER COLUMN data SET STORAGE EXTERNAL;
COMMENT ON TABLE evidence_chunks IS 'The chunks of an upload, without gaps from 0 on; they go when it is complete.';
COMMENT ON COLUMN evidence_chunks.claim_id IS 'The claim.';
COMMENT ON COLUMN evidence_chunks.evidence_id IS 'The upload.';
COMMENT ON COLUMN evidence_chunks.offset_bytes IS 'Where in the whole it begins.';
COMMENT ON COLUMN evidence_chunks.data IS 'Its bytes.';

ALTER TABLE evidence         ENABLE ROW LEVEL SECURITY;
ALTER TABLE evidence         FORCE  ROW LEVEL SECURITY;
ALTER TABLE evidence_uploads ENABLE ROW LEVEL SECURITY;
ALTER TABLE evidence_uploads FORCE  ROW LEVEL SECURITY;
ALTER TABLE evidence_chunks  ENABLE ROW LEVEL SECURITY;
ALTER TABLE evidence_chunks  FORCE  ROW LEVEL SECURITY;
-- What belongs to a claim is seen, and written, by whoever sees the claim.
CREATE POLICY evidence_of_caller ON evidence USING (EXISTS (SELECT 1 FROM claims c WHERE c.claim_id = evidence.claim_id));
CREATE POLICY uploads_of_caller ON evidence_uploads USING (EXISTS (SELECT 1 FROM claims c WHERE c.claim_id = evidence_uploads.claim_id));
CREATE POLICY chunks_of_caller ON evidence_chunks USING (EXISTS (SELECT 1 FROM claims c WHERE c.claim_id = evidence_chunks.claim_id));
-- What was begun and left is nobody's any more; its chunks go with it.
CREATE POLICY uploads_left_behind ON evidence_uploads TO warranty_worker USING (true);
GRANT SELECT, INSERT ON evidence TO warranty_claim;
GRANT SELECT, INSERT, DELETE ON evidence_uploads TO warranty_claim;
GRANT SELECT, INSERT ON evidence_chunks TO warranty_claim;
-- A lock on an upload's row orders its completion and its end; it needs some UPDATE right.
GRANT UPDATE (began_at) ON evidence_uploads TO warranty_claim, warranty_worker;
GRANT SELECT, DELETE ON evidence_uploads TO warranty_worker;
