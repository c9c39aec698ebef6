-- What counts: whose word on a carrier's number, what stands in stock after a sale, what is owed and charged after a loss.

-- What staff says of a carrier's number counts for whose parcel has it, and for nobody who gave its own parcel another's number.

CREATE FUNCTION tracking_key(of_carrier text, of_number text) RETURNS text LANGUAGE sql IMMUTABLE
    AS $$ SELECT upper(regexp_replace(normalize(of_carrier || '/' || of_number, NFKC), '\s', '', 'g')) $$;
COMMENT ON FUNCTION tracking_key(text, text) IS 'A carrier with its number, as they are compared: without regard to case, width and spaces.';
ALTER TABLE shipments ADD COLUMN tracking_key text GENERATED ALWAYS AS (tracking_key(carrier, tracking_number)) STORED;
ALTER TABLE tracking_events ADD COLUMN tracking_key text NOT NULL GENERATED ALWAYS AS (tracking_key(carrier, tracking_number)) STORED;
COMMENT ON COLUMN shipments.tracking_key IS 'Carrier and number, as they are compared with what carriers say.';
COMMENT ON COLUMN tracking_events.tracking_key IS 'Carrier and number, as they are compared with those of parcels.';
DROP INDEX shipments_by_number;
CREATE INDEX shipments_by_number ON shipments (tracking_key) WHERE tracking_key IS NOT NULL;
-- Told under two spellings it was kept twice: the first stands.
ALTER TABLE tracking_events NO FORCE ROW LEVEL SECURITY;
DELETE FROM tracking_events later USING tracking_events first
 WHERE (later.tracking_key, later.party, later.event_key) = (first.tracking_key, first.party, first.event_key)
   AND (later.recorded_at, later.ctid) > (first.recorded_at, first.ctid);
ALTER TABLE tracking_events FORCE ROW LEVEL SECURITY;
ALTER TABLE tracking_events DROP CONSTRAINT tracking_events_once,
    ADD CONSTRAINT tracking_events_once PRIMARY KEY (tracking_key, party, event_key);

-- A sender can give its parcel any number, another's too, and would read where that one is. From the maker, staff numbers.
CREATE FUNCTION word_counts(of_party text, of_shipment uuid) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER SET search_path FROM CURRENT
    AS $$ SELECT CASE of_party
        WHEN 'staff' THEN s.direction = 'OUTBOUND' OR NOT EXISTS (SELECT 1 FROM shipments o WHERE o.tracking_key = s.tracking_key
                              AND (o.dealer_id, o.customer_id) IS DISTINCT FROM (s.dealer_id, s.customer_id))
        ELSE of_party = coalesce('dealer/' || s.dealer_id, 'customer/' || s.customer_id) END
      FROM shipments s WHERE s.shipment_id = of_shipment $$;
COMMENT ON FUNCTION word_counts(text, uuid) IS 'Whether a party''s word on a parcel''s number counts for the parcel: its own party''s; staff''s, where the parcel comes from the maker or no other party''s has the number.';
CREATE POLICY shipments_for_questions ON shipments FOR SELECT TO CURRENT_USER USING (true);
DROP POLICY tracking_of_caller ON tracking_events;
CREATE POLICY tracking_of_caller ON tracking_events FOR SELECT
    USING (caller_is_staff() OR party = caller()
        OR EXISTS (SELECT 1 FROM shipments s WHERE s.tracking_key = tracking_events.tracking_key AND word_counts(party, s.shipment_id)));

-- Each word is told once to each parcel that it counts for: when it is said, when the parcel gets the number, or when the number
-- is no other party's any more. The lock lasts to the end of the transaction: who numbers and who tells do not pass one another.
CREATE FUNCTION tell_tracking(of_keys text[]) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('tracking/' || key, 0))
       FROM (SELECT DISTINCT key FROM unnest(of_keys) key WHERE key IS NOT NULL ORDER BY key) keys;
    INSERT INTO logistics_events (kind, facts, dealer_id, customer_id, shipment_id, recorded_at, actor)
    SELECT 'TRACKED', to_jsonb(t) - '{party,recorded_at,recorded_by,tracking_key}'::text[], s.dealer_id, s.customer_id, s.shipment_id,
           t.recorded_at, t.recorded_by
      FROM tracking_events t JOIN shipments s USING (tracking_key)
     WHERE t.tracking_key = ANY (of_keys) AND word_counts(t.party, s.shipment_id)
       AND NOT EXISTS (SELECT 1 FROM logistics_events e
                        WHERE e.kind = 'TRACKED' AND e.shipment_id = s.shipment_id AND e.actor = t.recorded_by
                          AND e.facts ->> 'event_key' = t.event_key
                          AND tracking_key(e.facts ->> 'carrier', e.facts ->> 'tracking_number') = t.tracking_key)
     ORDER BY t.recorded_at, t.event_key, s.shipment_id;
END $$;
COMMENT ON FUNCTION tell_tracking(text[]) IS 'TRACKED, for each parcel with one of these numbers and each word that counts for it and was not told yet.';
REVOKE EXECUTE ON FUNCTION tell_tracking(text[]) FROM PUBLIC;
CREATE INDEX logistics_events_tracked ON logistics_events (shipment_id) WHERE kind = 'TRACKED';
CREATE POLICY logistics_events_told ON logistics_events FOR SELECT TO CURRENT_USER USING (true);

DROP TRIGGER tell ON tracking_events;
CREATE OR REPLACE FUNCTION tell_tracked() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM tell_tracking(array_agg(tracking_key)) FROM told;
    INSERT INTO logistics_events (kind, facts, recorded_at, actor)
    SELECT 'TRACKED', to_jsonb(t) - '{party,recorded_at,recorded_by,tracking_key}'::text[], t.recorded_at, t.recorded_by FROM told t
     WHERE NOT EXISTS (SELECT 1 FROM shipments s WHERE s.tracking_key = t.tracking_key AND word_counts(t.party, s.shipment_id));
    RETURN NULL;
END $$;
COMMENT ON FUNCTION tell_tracked() IS 'TRACKED, for each parcel that the word counts for; to staff alone where it counts for none yet.';
CREATE TRIGGER tell AFTER INSERT ON tracking_events REFERENCING NEW TABLE AS told FOR EACH STATEMENT EXECUTE FUNCTION tell_tracked();

CREATE OR REPLACE FUNCTION tell_numbered() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        INSERT INTO logistics_events (kind, facts, dealer_id, customer_id, shipment_id, recorded_at, actor)
        VALUES ('NUMBERED', jsonb_build_object('carrier', NEW.carrier, 'tracking_number', NEW.tracking_number), NEW.dealer_id,
                NEW.customer_id, NEW.shipment_id, now(), caller());
    END IF;
    -- Who had the old number beside this parcel may have it alone from now on.
    PERFORM tell_tracking(ARRAY[OLD.tracking_key, NEW.tracking_key]);
    RETURN NULL;
END $$;
COMMENT ON FUNCTION tell_numbered() IS 'NUMBERED where a parcel''s number was changed, and TRACKED for what was said of the number before.';

-- What is sold leaves the stock: a unit stands on the maker's shelf or is somebody's. What is held for a claim is not sold.
CREATE FUNCTION held_in_stock(of_serials text[], at timestamptz) RETURNS SETOF text LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path FROM CURRENT AS $$ SELECT serial FROM stock_units WHERE serial = ANY (of_serials) AND held_until > at $$;
COMMENT ON FUNCTION held_in_stock(text[], timestamptz) IS 'Which of these units stand in the maker''s stock, held for a claim.';
CREATE FUNCTION leave_stock_sold() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off AS $$
DECLARE held text;
BEGIN
    WITH gone AS (DELETE FROM stock_units u USING sold s WHERE u.serial = s.serial AND NOT s.cancelled AND u.condition IN ('NEW', 'GOOD')
                     AND (u.held_until IS NULL OR u.held_until <= s.recorded_at) RETURNING u.*, s.recorded_at, s.recorded_by)
    INSERT INTO stock_movements (serial, number, from_location, from_condition, reason, moved_at, moved_by)
    SELECT serial, number + 1, location, condition, 'sold', recorded_at, recorded_by FROM gone;
    -- Held since it was asked: who asks again is told so.
    SELECT u.serial INTO held FROM stock_units u JOIN sold s USING (serial) WHERE NOT s.cancelled AND u.held_until > s.recorded_at LIMIT 1;
    IF held IS NOT NULL THEN
        RAISE EXCEPTION 'unit % is held for a claim', held USING ERRCODE = 'check_violation', CONSTRAINT = 'sales_of_no_held_unit';
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION leave_stock_sold() IS 'Takes what is sold out of stock where it stands there NEW or GOOD; no unit that is held for a claim is sold.';
CREATE TRIGGER leave_stock AFTER INSERT ON sales REFERENCING NEW TABLE AS sold FOR EACH STATEMENT EXECUTE FUNCTION leave_stock_sold();
CREATE POLICY stock_sold ON stock_units FOR DELETE TO CURRENT_USER USING (true);
CREATE POLICY movements_of_sales ON stock_movements FOR INSERT TO CURRENT_USER WITH CHECK (true);
COMMENT ON COLUMN stock_movements.moved_by IS 'Who: staff/ID, or dealer/ID whose sale took it out of stock.';

-- What is given up as lost is charged no more, and a swapped unit that is given up is owed no more.
ALTER TABLE billables DROP CONSTRAINT billables_kind_check, ADD CONSTRAINT billables_kind_known
    CHECK (kind IN ('CHARGE', 'PAYMENT', 'GOODWILL', 'CHARGE_REVERSED'));
GRANT INSERT ON billables TO warranty_logistics;
GRANT USAGE ON SEQUENCE billable_number TO warranty_logistics;
ALTER TABLE billables NO FORCE ROW LEVEL SECURITY;
ALTER TABLE ledger_entries NO FORCE ROW LEVEL SECURITY;
ALTER TABLE claims NO FORCE ROW LEVEL SECURITY;
ALTER TABLE claim_events NO FORCE ROW LEVEL SECURITY;
INSERT INTO billables (sequence, kind, claim_id, serial, dealer_id, customer_id, quote_id, amount_fen, vat_fen, recorded_at)
    SELECT next_billable_number(), 'CHARGE_REVERSED', claim_id, b.serial, b.dealer_id, b.customer_id, b.quote_id, amount_fen, vat_fen, e.recorded_at
      FROM billables b JOIN claim_events e USING (claim_id) WHERE b.kind = 'CHARGE' AND e.facts ->> 'type' = 'LOST_CLOSED';
INSERT INTO ledger_entries (claim_id, debtor, number, dealer_id, kind, owed, reason, recorded_at, recorded_by)
    SELECT claim_id, debtor, number + 1, dealer_id, 'WRITTEN_OFF', owed, e.facts ->> 'reason', e.recorded_at, e.actor
      FROM ledger_entries o JOIN claim_events e USING (claim_id)
     WHERE debtor = 'DEALER' AND kind = 'OPENED' AND e.facts ->> 'type' = 'LOST_CLOSED'
       AND NOT EXISTS (SELECT 1 FROM ledger_entries x WHERE (x.claim_id, x.debtor, x.number) = (o.claim_id, o.debtor, o.number + 1));
ALTER TABLE billables FORCE ROW LEVEL SECURITY;
ALTER TABLE ledger_entries FORCE ROW LEVEL SECURITY;
ALTER TABLE claims FORCE ROW LEVEL SECURITY;
ALTER TABLE claim_events FORCE ROW LEVEL SECURITY;

-- What is set aside is kept somewhere, and once.
ALTER TABLE set_aside ADD COLUMN depot text CONSTRAINT set_aside_depot_known REFERENCES stock_locations;
COMMENT ON COLUMN set_aside.depot IS 'The location that keeps it; null where none was named.';
ALTER TABLE set_aside NO FORCE ROW LEVEL SECURITY;
UPDATE set_aside again SET settlement = 'RETURNED', settled_at = again.found_at, settled_by = again.found_by, version = again.version + 1,
       reason = 'recorded twice: it is ' || first.set_aside_id
  FROM (SELECT DISTINCT ON (serial) serial, set_aside_id FROM set_aside WHERE settlement IS NULL OR settlement = 'KEPT'
         ORDER BY serial, set_aside_id) first
 WHERE again.serial = first.serial AND again.set_aside_id <> first.set_aside_id AND (again.settlement IS NULL OR again.settlement = 'KEPT');
ALTER TABLE set_aside FORCE ROW LEVEL SECURITY;
CREATE UNIQUE INDEX set_aside_one_open_for_a_unit ON set_aside (serial)
    WHERE serial IS NOT NULL AND (settlement IS NULL OR settlement = 'KEPT');
