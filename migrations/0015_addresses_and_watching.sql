-- What ends a claim ends what hangs on it.

ALTER TABLE claims DROP CONSTRAINT claims_outcome_known, ADD CONSTRAINT claims_outcome_known
    CHECK (outcome IN ('REPAIRED', 'REPLACED', 'ACCESSORY', 'AS_IT_CAME', 'REPLENISHMENT', 'LOST', 'SETTLED'));
-- What was charged for a repair and paid stays so where the repaired unit is not owed any more.
ALTER TABLE claims DROP CONSTRAINT claims_paid_what_is_charged, ADD CONSTRAINT claims_paid_what_is_charged
    CHECK (NOT paid OR (charge_fen IS NOT NULL AND outcome IN ('REPAIRED', 'REPLACED', 'LOST', 'SETTLED')));
COMMENT ON COLUMN claims.reason IS 'Why it was waived, rejected, cancelled, is beyond repair, counts as lost, or is not owed any more. No personal data.';

-- A holding ends with what it was for, whoever ended that: a dealer, who sees no stock, or the clock.
CREATE FUNCTION let_go_of_stock(of_claims uuid[]) RETURNS void LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT
    AS $$ UPDATE stock_units SET held_for = NULL, held_until = NULL WHERE held_for = ANY (of_claims) $$;
COMMENT ON FUNCTION let_go_of_stock(uuid[]) IS 'Lets go the units that are held for these claims.';
CREATE POLICY stock_let_go ON stock_units FOR UPDATE TO CURRENT_USER USING (held_for IS NOT NULL) WITH CHECK (held_for IS NULL);
REVOKE EXECUTE ON FUNCTION let_go_of_stock(uuid[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION let_go_of_stock(uuid[]) TO warranty_claim, warranty_logistics, warranty_worker;

-- One address a parcel: it stands with the people, and the parcel names whose it is.
ALTER TABLE shipments ADD COLUMN recipient_id uuid REFERENCES customers,
    ADD CONSTRAINT shipments_recipient_of_outbound CHECK (recipient_id IS NULL OR direction = 'OUTBOUND');
CREATE INDEX shipments_of_recipient ON shipments (recipient_id) WHERE recipient_id IS NOT NULL;
COMMENT ON COLUMN shipments.recipient_id IS 'Whose address it goes to; null where that is the dealer or customer at the other end.';
-- Whoever sees a parcel sees where it goes: the subquery is under the parcels' own policy.
CREATE POLICY people_of_parcels ON people FOR SELECT TO warranty_logistics
    USING (EXISTS (SELECT 1 FROM shipments s WHERE s.recipient_id = people.customer_id));
GRANT SELECT, INSERT ON people TO warranty_logistics;
GRANT INSERT ON customers TO warranty_logistics;
-- EraseCustomer finds the addresses that a customer's own parcels went to.
GRANT SELECT (shipment_id, recipient_id, dealer_id, customer_id) ON shipments TO warranty_coverage;
GRANT SELECT (shipment_id, claim_id) ON shipment_items TO warranty_coverage;

-- What happens in logistics and no event of a claim tells, numbered in the claims' feed, so that one cursor orders both. Whoever
-- writes one changed a row before, and has its xid by then: store::watch rests on that.
CREATE TABLE logistics_events (
    feed        bigint PRIMARY KEY DEFAULT nextval('claim_event_feed'),
    kind        text NOT NULL CHECK (kind IN ('TRACKED', 'NUMBERED', 'SET_ASIDE', 'SET_ASIDE_SETTLED', 'DEBT_SETTLED', 'ALLOCATED', 'RELEASED')),
    facts       jsonb NOT NULL,
    dealer_id   text,
    customer_id uuid,
    claim_id    uuid,
    shipment_id uuid,
    serial      text,
    recorded_at timestamptz NOT NULL,
    actor       text NOT NULL
);
COMMENT ON TABLE logistics_events IS 'What happens in logistics and no event of a claim tells, for those who watch. Written by triggers alone; insert-only.';
COMMENT ON COLUMN logistics_events.feed IS 'Its number among the events of all claims; has gaps.';
COMMENT ON COLUMN logistics_events.kind IS 'What happened.';
COMMENT ON COLUMN logistics_events.facts IS 'Its facts. No personal data.';
COMMENT ON COLUMN logistics_events.dealer_id IS 'The dealer whom it concerns beside staff.';
COMMENT ON COLUMN logistics_events.customer_id IS 'Or the customer.';
COMMENT ON COLUMN logistics_events.claim_id IS 'The claim, where it is about one.';
COMMENT ON COLUMN logistics_events.shipment_id IS 'The parcel, where it is about one.';
COMMENT ON COLUMN logistics_events.serial IS 'The unit, where it is about one; as it was read where it was set aside.';
COMMENT ON COLUMN logistics_events.recorded_at IS 'When it was recorded; by the database''s clock where a unit is held or let go.';
COMMENT ON COLUMN logistics_events.actor IS 'Who did it.';
ALTER TABLE logistics_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE logistics_events FORCE  ROW LEVEL SECURITY;
CREATE POLICY logistics_events_of_caller ON logistics_events FOR SELECT
    USING (caller_is_staff() OR caller() = 'dealer/' || dealer_id OR caller() = 'customer/' || customer_id);
CREATE POLICY logistics_events_watched ON logistics_events FOR SELECT TO warranty_watch USING (true);
CREATE POLICY logistics_events_written ON logistics_events FOR INSERT TO CURRENT_USER WITH CHECK (true);
GRANT SELECT ON logistics_events TO warranty_claim, warranty_watch;

-- What a carrier says is told to each parcel that has the number, of those that the caller may see, and to staff where none has it yet.
CREATE FUNCTION tell_tracked() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO logistics_events (kind, facts, dealer_id, customer_id, shipment_id, recorded_at, actor)
    SELECT 'TRACKED', to_jsonb(NEW) - '{party,recorded_at,recorded_by}'::text[], s.dealer_id, s.customer_id, s.shipment_id,
           NEW.recorded_at, NEW.recorded_by
      FROM (SELECT 1) told LEFT JOIN shipments s ON s.tracking_number = NEW.tracking_number AND s.carrier = NEW.carrier;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION tell_tracked() IS 'TRACKED, for each parcel that has the number.';
CREATE TRIGGER tell AFTER INSERT ON tracking_events FOR EACH ROW EXECUTE FUNCTION tell_tracked();

-- What was told of a number before the parcel had it is told again, with the parcel.
CREATE FUNCTION tell_numbered() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        INSERT INTO logistics_events (kind, facts, dealer_id, customer_id, shipment_id, recorded_at, actor)
        VALUES ('NUMBERED', jsonb_build_object('carrier', NEW.carrier, 'tracking_number', NEW.tracking_number), NEW.dealer_id,
                NEW.customer_id, NEW.shipment_id, now(), caller());
    END IF;
    INSERT INTO logistics_events (kind, facts, dealer_id, customer_id, shipment_id, recorded_at, actor)
    SELECT 'TRACKED', to_jsonb(t) - '{party,recorded_at,recorded_by}'::text[], NEW.dealer_id, NEW.customer_id, NEW.shipment_id,
           t.recorded_at, t.recorded_by
      FROM tracking_events t WHERE t.tracking_number = NEW.tracking_number AND t.carrier = NEW.carrier
       AND t.party IN ('staff', coalesce('dealer/' || NEW.dealer_id, 'customer/' || NEW.customer_id)) ORDER BY t.recorded_at, t.event_key;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION tell_numbered() IS 'NUMBERED where a parcel''s number was changed, and TRACKED for what was said of the number before.';
CREATE TRIGGER tell_opened AFTER INSERT ON shipments FOR EACH ROW WHEN (NEW.tracking_number IS NOT NULL) EXECUTE FUNCTION tell_numbered();
CREATE TRIGGER tell_changed AFTER UPDATE ON shipments FOR EACH ROW
    WHEN ((NEW.carrier, NEW.tracking_number) IS DISTINCT FROM (OLD.carrier, OLD.tracking_number)) EXECUTE FUNCTION tell_numbered();

CREATE FUNCTION tell_set_aside() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO logistics_events (kind, facts, claim_id, shipment_id, serial, recorded_at, actor)
    VALUES (CASE TG_OP WHEN 'INSERT' THEN 'SET_ASIDE' ELSE 'SET_ASIDE_SETTLED' END,
            jsonb_strip_nulls(jsonb_build_object('set_aside_id', NEW.set_aside_id, 'difference', NEW.difference,
                'return_number', NEW.return_number, 'settlement', NEW.settlement, 'reason', NEW.reason)),
            NEW.claim_id, NEW.shipment_id, NEW.serial, coalesce(NEW.settled_at, NEW.found_at), coalesce(NEW.settled_by, NEW.found_by));
    RETURN NULL;
END $$;
COMMENT ON FUNCTION tell_set_aside() IS 'SET_ASIDE, or SET_ASIDE_SETTLED.';
CREATE TRIGGER tell AFTER INSERT OR UPDATE ON set_aside FOR EACH ROW EXECUTE FUNCTION tell_set_aside();

-- Every other entry of the ledger follows from an event of its claim.
CREATE FUNCTION tell_debt_settled() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO logistics_events (kind, facts, dealer_id, claim_id, recorded_at, actor)
    VALUES ('DEBT_SETTLED', jsonb_build_object('debtor', NEW.debtor, 'owed', NEW.owed, 'closing', NEW.kind, 'reason', NEW.reason),
            NEW.dealer_id, NEW.claim_id, NEW.recorded_at, NEW.recorded_by);
    RETURN NULL;
END $$;
COMMENT ON FUNCTION tell_debt_settled() IS 'DEBT_SETTLED, of what a dealer owed.';
CREATE TRIGGER tell AFTER INSERT ON ledger_entries FOR EACH ROW
    WHEN (NEW.debtor = 'DEALER' AND NEW.kind IN ('NETTED', 'WRITTEN_OFF')) EXECUTE FUNCTION tell_debt_settled();

CREATE FUNCTION tell_held() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO logistics_events (kind, facts, claim_id, serial, recorded_at, actor)
    SELECT kind, facts, claim_id, NEW.serial, now(), caller()
      FROM (VALUES (1, 'RELEASED', '{}'::jsonb, OLD.held_for),
                   (2, 'ALLOCATED', jsonb_build_object('held_until', NEW.held_until), NEW.held_for)) told (at, kind, facts, claim_id)
     WHERE claim_id IS NOT NULL ORDER BY at;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION tell_held() IS 'RELEASED and ALLOCATED: a unit is let go by one claim, and held for another.';
CREATE TRIGGER tell AFTER UPDATE ON stock_units FOR EACH ROW
    WHEN (NEW.held_for IS DISTINCT FROM OLD.held_for) EXECUTE FUNCTION tell_held();

-- An invoice bears a name: scans and photos go with their customer. That they were there stays, as their claims' events say.
ALTER TABLE evidence ADD COLUMN erased_at timestamptz;
COMMENT ON TABLE evidence IS 'Scans and photos of a claim, complete. Only erased_at changes; the bytes are kept outside, under object_id.';
COMMENT ON COLUMN evidence.erased_at IS 'When it was erased with its customer; its object is dropped as that of an upload left behind.';
GRANT SELECT (claim_id, evidence_id, kind, object_id, erased_at), UPDATE (erased_at) ON evidence TO warranty_coverage;
GRANT SELECT (claim_id, evidence_id, began_at), INSERT, UPDATE (began_at) ON evidence_uploads TO warranty_coverage;
