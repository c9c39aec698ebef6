-- Prices, quotes for paid repairs (P1), what billing counts, and what the clock may do.

CREATE TABLE prices (
    kind         text NOT NULL CHECK (kind IN ('INSPECTION', 'LABOUR', 'PART')),
    product_type text NOT NULL DEFAULT '',
    code         text NOT NULL DEFAULT '' CHECK (code ~ '^[A-Z0-9_]{0,32}$'),
    valid_from   date NOT NULL,
    amount_fen   bigint CHECK (amount_fen BETWEEN 0 AND 10000000000),
    set_at       timestamptz NOT NULL,
    set_by       text NOT NULL,
    PRIMARY KEY (kind, product_type, code, valid_from),
    CONSTRAINT prices_labour_by_type CHECK ((kind = 'LABOUR') = (product_type <> '')),
    CONSTRAINT prices_coded CHECK (CASE kind WHEN 'INSPECTION' THEN code = '' WHEN 'PART' THEN code <> '' ELSE true END)
);
COMMENT ON TABLE prices IS 'What a paid repair costs (P1). In force on a day is the latest that has begun; what has begun is never changed.';
COMMENT ON COLUMN prices.kind IS 'What it is for.';
COMMENT ON COLUMN prices.product_type IS 'For labour: of which type of product; else empty.';
COMMENT ON COLUMN prices.code IS 'The fault''s or the part''s code; for labour, empty is any other fault.';
COMMENT ON COLUMN prices.valid_from IS 'The first day it holds.';
COMMENT ON COLUMN prices.amount_fen IS 'For one, before tax, CNY fen; null where it is not offered any more.';
COMMENT ON COLUMN prices.set_at IS 'When it was set.';
COMMENT ON COLUMN prices.set_by IS 'Who set it.';

CREATE TABLE vat_rates (
    valid_from   date PRIMARY KEY,
    basis_points integer NOT NULL CHECK (basis_points BETWEEN 0 AND 10000),
    set_at       timestamptz NOT NULL,
    set_by       text NOT NULL
);
COMMENT ON TABLE vat_rates IS 'The rate of VAT. In force on a day is the latest that has begun; what has begun is never changed.';
COMMENT ON COLUMN vat_rates.valid_from IS 'The first day it holds.';
COMMENT ON COLUMN vat_rates.basis_points IS 'In hundredths of a per cent: 1300 is 13 %.';
COMMENT ON COLUMN vat_rates.set_at IS 'When it was set.';
COMMENT ON COLUMN vat_rates.set_by IS 'Who set it.';

CREATE FUNCTION sum_of_lines(lines jsonb) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(sum((line ->> 'quantity')::bigint * (line ->> 'unit_price')::bigint), 0)::bigint
      FROM jsonb_array_elements(lines) line $$;
COMMENT ON FUNCTION sum_of_lines(jsonb) IS 'What the lines of a quote come to before tax, fen.';

CREATE TABLE quotes (
    quote_id          uuid PRIMARY KEY,
    claim_id          uuid NOT NULL REFERENCES claims,
    state             text NOT NULL CHECK (state IN ('ISSUED', 'ACCEPTED', 'DECLINED', 'EXPIRED', 'SUPERSEDED')),
    lines             jsonb NOT NULL,
    subtotal_fen      bigint NOT NULL,
    vat_basis_points  integer NOT NULL CHECK (vat_basis_points BETWEEN 0 AND 10000),
    vat_fen           bigint NOT NULL,
    total_fen         bigint NOT NULL CHECK (total_fen BETWEEN 1 AND 10000000000),
    issued_at         timestamptz NOT NULL,
    issued_by         text NOT NULL,
    expires_at        timestamptz NOT NULL CHECK (expires_at >= issued_at),
    decided_at        timestamptz,
    decided_by        text,
    on_behalf_of      uuid REFERENCES customers,
    token_fingerprint text CHECK (token_fingerprint ~ '^[0-9a-f]{32}$'),
    reason            text CHECK (length(reason) <= 500),
    CONSTRAINT quotes_lines_sum_to_the_subtotal CHECK (subtotal_fen = sum_of_lines(lines)),
    CONSTRAINT quotes_vat_rounded_half_up CHECK (vat_fen = (subtotal_fen * vat_basis_points + 5000) / 10000),
    CONSTRAINT quotes_total_with_vat CHECK (total_fen = subtotal_fen + vat_fen),
    CONSTRAINT quotes_decided_by_someone CHECK ((state = 'ISSUED') = (decided_at IS NULL) AND (decided_at IS NULL) = (decided_by IS NULL)),
    CONSTRAINT quotes_accepted_for_someone CHECK ((state = 'ACCEPTED') = (on_behalf_of IS NOT NULL)
        AND (state = 'ACCEPTED') = (token_fingerprint IS NOT NULL))
);
CREATE UNIQUE INDEX quotes_one_live_for_a_claim ON quotes (claim_id) WHERE state IN ('ISSUED', 'ACCEPTED');
CREATE INDEX quotes_of_claim ON quotes (claim_id, quote_id);
ALTER TABLE claims ADD CONSTRAINT claims_quote_known FOREIGN KEY (quote_id) REFERENCES quotes;
COMMENT ON TABLE quotes IS 'What a paid repair was offered for (P1). Only how it was decided is ever changed.';
COMMENT ON COLUMN quotes.quote_id IS 'Identifies the quote; a UUIDv7, so quotes sort by time.';
COMMENT ON COLUMN quotes.claim_id IS 'The claim.';
COMMENT ON COLUMN quotes.state IS 'Where it stands. One that is issued and whose time passed is told as expired before the worker says so.';
COMMENT ON COLUMN quotes.lines IS 'Its lines, as domain::quote::Line reads them.';
COMMENT ON COLUMN quotes.subtotal_fen IS 'Their sum, CNY fen.';
COMMENT ON COLUMN quotes.vat_basis_points IS 'The rate of VAT in hundredths of a per cent.';
COMMENT ON COLUMN quotes.vat_fen IS 'The tax, rounded half up.';
COMMENT ON COLUMN quotes.total_fen IS 'Subtotal and tax.';
COMMENT ON COLUMN quotes.issued_at IS 'When it was issued.';
COMMENT ON COLUMN quotes.issued_by IS 'Who issued it.';
COMMENT ON COLUMN quotes.expires_at IS 'Its last moment: the end of a day in Shanghai.';
COMMENT ON COLUMN quotes.decided_at IS 'When it was accepted, declined, superseded, or found expired.';
COMMENT ON COLUMN quotes.decided_by IS 'Who did that: dealer/ID, customer/ID, staff/ID or worker/NAME.';
COMMENT ON COLUMN quotes.on_behalf_of IS 'The customer for whom it was accepted.';
COMMENT ON COLUMN quotes.token_fingerprint IS 'Under which token it was accepted: the first 16 bytes of its SHA-256, in hexadecimal.';
COMMENT ON COLUMN quotes.reason IS 'Why it was declined. No personal data.';

CREATE SEQUENCE billable_number AS bigint;
COMMENT ON SEQUENCE billable_number IS 'The numbers of billing''s feed.';
CREATE TABLE billables (
    sequence    bigint PRIMARY KEY,
    kind        text NOT NULL CHECK (kind IN ('CHARGE', 'PAYMENT', 'GOODWILL')),
    claim_id    uuid NOT NULL REFERENCES claims,
    serial      text NOT NULL,
    dealer_id   text,
    customer_id uuid NOT NULL,
    quote_id    uuid REFERENCES quotes,
    amount_fen  bigint NOT NULL CHECK (amount_fen >= 0),
    vat_fen     bigint NOT NULL CHECK (vat_fen BETWEEN 0 AND amount_fen),
    reference   text CONSTRAINT billables_reference_once UNIQUE CHECK (length(reference) BETWEEN 1 AND 64),
    recorded_at timestamptz NOT NULL,
    CONSTRAINT billables_one_of_a_kind_for_a_claim UNIQUE (claim_id, kind),
    CONSTRAINT billables_payments_have_a_reference CHECK ((kind = 'PAYMENT') = (reference IS NOT NULL))
);
COMMENT ON TABLE billables IS 'Billing''s feed: what to count, by number. Insert-only.';
COMMENT ON COLUMN billables.sequence IS 'Growing in the order of the commits; a number may be left out.';
COMMENT ON COLUMN billables.kind IS 'What it counts.';
COMMENT ON COLUMN billables.claim_id IS 'The claim.';
COMMENT ON COLUMN billables.serial IS 'Its unit.';
COMMENT ON COLUMN billables.dealer_id IS 'The dealer who filed it; null where the customer did.';
COMMENT ON COLUMN billables.customer_id IS 'The customer it is for.';
COMMENT ON COLUMN billables.quote_id IS 'The accepted quote.';
COMMENT ON COLUMN billables.amount_fen IS 'How much, tax included, CNY fen.';
COMMENT ON COLUMN billables.vat_fen IS 'The tax in it.';
COMMENT ON COLUMN billables.reference IS 'Billing''s own number for a payment.';
COMMENT ON COLUMN billables.recorded_at IS 'When.';

-- A sequence alone gives numbers in the order of asking, and who asked first may commit last: a reader that was told the later number
-- would never see the earlier one. The lock lasts to the end of the transaction, so numbers are drawn in the order of the commits.
CREATE FUNCTION next_billable_number() RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('billables', 0));
    RETURN nextval('billable_number');
END $$;
COMMENT ON FUNCTION next_billable_number() IS 'The next number of billing''s feed; whoever has it commits before anybody gets the one after it.';

ALTER TABLE quotes    ENABLE ROW LEVEL SECURITY;
ALTER TABLE quotes    FORCE  ROW LEVEL SECURITY;
ALTER TABLE billables ENABLE ROW LEVEL SECURITY;
ALTER TABLE billables FORCE  ROW LEVEL SECURITY;
-- Seen and decided by whoever sees the claim: the subquery is under the claims' own policy. Issued by staff alone.
CREATE POLICY quotes_of_caller ON quotes FOR SELECT USING (EXISTS (SELECT 1 FROM claims c WHERE c.claim_id = quotes.claim_id));
CREATE POLICY quotes_decided ON quotes FOR UPDATE USING (EXISTS (SELECT 1 FROM claims c WHERE c.claim_id = quotes.claim_id));
CREATE POLICY quotes_issued ON quotes FOR INSERT WITH CHECK (caller_is_staff());
CREATE POLICY billables_of_staff ON billables USING (caller_is_staff());

GRANT SELECT, INSERT ON prices, vat_rates, quotes, billables TO warranty_claim;
GRANT UPDATE (amount_fen, set_at, set_by) ON prices TO warranty_claim;
GRANT UPDATE (basis_points, set_at, set_by) ON vat_rates TO warranty_claim;
GRANT UPDATE (state, expires_at, decided_at, decided_by, on_behalf_of, token_fingerprint, reason) ON quotes TO warranty_claim;
GRANT USAGE ON SEQUENCE billable_number TO warranty_claim;

-- The worker has no tenant. It sees every claim, ends what its day ended and nothing else, and forgets requests without reading replies.
GRANT SELECT, UPDATE ON claims TO warranty_worker;
GRANT INSERT ON claim_events, claim_decisions TO warranty_worker;
GRANT SELECT ON quotes TO warranty_worker;
GRANT UPDATE (state, decided_at, decided_by, on_behalf_of, token_fingerprint, reason) ON quotes TO warranty_worker;
GRANT SELECT (caller, request_id, recorded_at), DELETE ON request_log TO warranty_worker;
CREATE POLICY claims_of_worker ON claims FOR SELECT TO warranty_worker USING (true);
CREATE POLICY claims_ended_by_worker ON claims FOR UPDATE TO warranty_worker
    USING (state IN ('QUOTED', 'AUTHORIZED')) WITH CHECK (state IN ('READY', 'CANCELLED'));
CREATE POLICY requests_of_worker ON request_log TO warranty_worker USING (true);
COMMENT ON COLUMN claim_events.actor IS 'Who did it: dealer/ID, customer/ID, staff/ID, or worker/NAME for what the clock does.';
