-- Where the maker's own units stand, which of them are held for a claim, and what dealer and maker owe each other after a swap.

CREATE TABLE stock_locations (
    location          text PRIMARY KEY CHECK (location ~ '^[A-Z0-9][A-Z0-9.-]{0,39}$'),
    name              text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    receives_replaced boolean NOT NULL
);
CREATE UNIQUE INDEX stock_locations_one_receives_replaced ON stock_locations (receives_replaced) WHERE receives_replaced;
COMMENT ON TABLE stock_locations IS 'Named places where units stand.';
COMMENT ON COLUMN stock_locations.location IS 'Its short name.';
COMMENT ON COLUMN stock_locations.name IS 'What people call it.';
COMMENT ON COLUMN stock_locations.receives_replaced IS 'Whether units that were replaced are put there, as FAULTY. One location at most.';

CREATE TABLE stock_minimums (
    model    text NOT NULL CONSTRAINT stock_minimums_model_known REFERENCES products,
    location text NOT NULL CONSTRAINT stock_minimums_location_known REFERENCES stock_locations,
    minimum  integer NOT NULL CHECK (minimum BETWEEN 1 AND 1000000),
    PRIMARY KEY (model, location)
);
COMMENT ON TABLE stock_minimums IS 'How many good units of a model a location should have.';
COMMENT ON COLUMN stock_minimums.model IS 'The model.';
COMMENT ON COLUMN stock_minimums.location IS 'The location.';
COMMENT ON COLUMN stock_minimums.minimum IS 'Fewer that are NEW or GOOD and not held is low.';

CREATE TABLE stock_movements (
    serial         text NOT NULL CONSTRAINT stock_movements_unit_known REFERENCES units,
    number         bigint NOT NULL CHECK (number >= 1),
    before         bigint GENERATED ALWAYS AS (nullif(number - 1, 0)) STORED,
    from_location  text,
    from_condition text,
    to_location    text REFERENCES stock_locations,
    to_condition   text CHECK (to_condition IN ('NEW', 'GOOD', 'FAULTY', 'QUARANTINE', 'SCRAPPED')),
    reason         text NOT NULL CHECK (length(reason) BETWEEN 1 AND 500),
    claim_id       uuid REFERENCES claims,
    moved_at       timestamptz NOT NULL,
    moved_by       text NOT NULL,
    CONSTRAINT stock_movements_one_for_a_number PRIMARY KEY (serial, number),
    CONSTRAINT stock_movements_end_once UNIQUE (serial, number, to_location, to_condition),
    -- Each begins where the one before it ended.
    CONSTRAINT stock_movements_without_gaps FOREIGN KEY (serial, before) REFERENCES stock_movements (serial, number),
    CONSTRAINT stock_movements_from_where_it_stood FOREIGN KEY (serial, before, from_location, from_condition)
        REFERENCES stock_movements (serial, number, to_location, to_condition),
    CONSTRAINT stock_movements_whole_places CHECK ((from_location IS NULL) = (from_condition IS NULL)
        AND (to_location IS NULL) = (to_condition IS NULL)),
    CONSTRAINT stock_movements_from_or_to CHECK (from_location IS NOT NULL OR to_location IS NOT NULL),
    CONSTRAINT stock_movements_first_from_nowhere CHECK (number > 1 OR from_location IS NULL),
    CONSTRAINT stock_movements_scrapped_is_final CHECK (from_condition <> 'SCRAPPED')
);
COMMENT ON TABLE stock_movements IS 'Every movement of every unit in stock, chained by a number for each serial. Insert-only.';
COMMENT ON COLUMN stock_movements.serial IS 'The unit.';
COMMENT ON COLUMN stock_movements.number IS 'From 1, without gaps, for each unit.';
COMMENT ON COLUMN stock_movements.before IS 'The number of the movement before; null for the first.';
COMMENT ON COLUMN stock_movements.from_location IS 'Where it stood; null where it came into stock.';
COMMENT ON COLUMN stock_movements.from_condition IS 'What it was.';
COMMENT ON COLUMN stock_movements.to_location IS 'Where it stands; null where it left the stock.';
COMMENT ON COLUMN stock_movements.to_condition IS 'What it is.';
COMMENT ON COLUMN stock_movements.reason IS 'Why. No personal data.';
COMMENT ON COLUMN stock_movements.claim_id IS 'The claim it was moved for.';
COMMENT ON COLUMN stock_movements.moved_at IS 'When.';
COMMENT ON COLUMN stock_movements.moved_by IS 'Who: staff/ID.';

-- The balance: a row is a unit that is there, so that no balance is ever below nothing and no unit is in two places.
CREATE TABLE stock_units (
    serial     text CONSTRAINT stock_units_in_one_place PRIMARY KEY CONSTRAINT stock_units_unit_known REFERENCES units,
    model      text NOT NULL,
    location   text NOT NULL CONSTRAINT stock_units_location_known REFERENCES stock_locations,
    condition  text NOT NULL,
    number     bigint NOT NULL,
    held_for   uuid REFERENCES claims,
    held_until timestamptz,
    -- Where it stands is where its latest movement ended: neither is written without the other.
    CONSTRAINT stock_units_as_last_moved FOREIGN KEY (serial, number, location, condition)
        REFERENCES stock_movements (serial, number, to_location, to_condition) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT stock_units_held_whole CHECK ((held_for IS NULL) = (held_until IS NULL)),
    CONSTRAINT stock_units_held_is_good CHECK (held_for IS NULL OR condition IN ('NEW', 'GOOD'))
);
CREATE UNIQUE INDEX stock_units_one_held_for_a_claim ON stock_units (held_for) WHERE held_for IS NOT NULL;
CREATE INDEX stock_units_held_until ON stock_units (held_until) WHERE held_until IS NOT NULL;
-- Free ones first, then those whose holding ends first: whoever looks for one finds it at the beginning.
CREATE INDEX stock_units_to_give ON stock_units (model, held_until NULLS FIRST, serial) WHERE condition IN ('NEW', 'GOOD');
CREATE INDEX stock_units_of_place ON stock_units (model, location);
COMMENT ON TABLE stock_units IS 'Where each unit in stock stands. What stands in no row is not in the maker''s stock, as far as the system knows.';
COMMENT ON COLUMN stock_units.serial IS 'The unit.';
COMMENT ON COLUMN stock_units.model IS 'Its model, as registered.';
COMMENT ON COLUMN stock_units.location IS 'Where.';
COMMENT ON COLUMN stock_units.condition IS 'What it is: NEW and GOOD may be given (T4).';
COMMENT ON COLUMN stock_units.number IS 'Of its latest movement.';
COMMENT ON COLUMN stock_units.held_for IS 'The claim that it is held for: one unit a claim, one claim a unit.';
COMMENT ON COLUMN stock_units.held_until IS 'From this moment on it is held for nobody, whether the worker has said so or not.';

-- Yes or no about rows that the asker may not see.
CREATE FUNCTION unit_is_in_stock(of_serial text) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER SET search_path FROM CURRENT
    AS $$ SELECT EXISTS (SELECT 1 FROM stock_units WHERE serial = of_serial) $$;
COMMENT ON FUNCTION unit_is_in_stock(text) IS 'Whether the unit stands in the maker''s stock.';
CREATE FUNCTION unit_is_free(of_serial text) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT NOT EXISTS (SELECT 1 FROM sale_facts s WHERE s.serial = of_serial)
       AND NOT EXISTS (SELECT 1 FROM replacements r WHERE r.replacement_serial = of_serial)
       AND NOT unit_was_promised(of_serial) AND NOT unit_has_open_claim(of_serial) $$;
CREATE FUNCTION unit_was_replaced(of_serial text) RETURNS boolean LANGUAGE sql STABLE
    AS $$ SELECT EXISTS (SELECT 1 FROM replacements r WHERE r.replaced_serial = of_serial) $$;
CREATE FUNCTION unit_is_unused(of_serial text) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT 1 FROM units u WHERE u.serial = of_serial AND u.sold_by_maker)
       AND NOT unit_was_replaced(of_serial) AND unit_is_free(of_serial) $$;
COMMENT ON FUNCTION unit_is_free(text) IS 'Whether nobody bought the unit, was given it, or claims for it.';
COMMENT ON FUNCTION unit_was_replaced(text) IS 'Whether another unit took its place.';
COMMENT ON FUNCTION unit_is_unused(text) IS 'Whether the unit may be given, as far as the registry and the claims tell (M3, T4).';

ALTER TABLE stock_units     ENABLE ROW LEVEL SECURITY;
ALTER TABLE stock_units     FORCE  ROW LEVEL SECURITY;
ALTER TABLE stock_movements ENABLE ROW LEVEL SECURITY;
ALTER TABLE stock_movements FORCE  ROW LEVEL SECURITY;
-- Both name claims: staff alone sees them.
CREATE POLICY stock_of_staff ON stock_units USING (caller_is_staff());
CREATE POLICY movements_of_staff ON stock_movements USING (caller_is_staff());
CREATE POLICY stock_for_questions ON stock_units FOR SELECT TO CURRENT_USER USING (true);
-- The worker ends holdings whose time passed, and nothing else.
CREATE POLICY stock_seen_by_worker ON stock_units FOR SELECT TO warranty_worker USING (true);
CREATE POLICY stock_released_by_worker ON stock_units FOR UPDATE TO warranty_worker
    USING (held_for IS NOT NULL) WITH CHECK (held_for IS NULL);

GRANT SELECT ON stock_locations TO warranty_claim, warranty_logistics;
GRANT SELECT, INSERT, DELETE ON stock_units TO warranty_claim, warranty_logistics;
GRANT UPDATE (held_for, held_until) ON stock_units TO warranty_claim, warranty_worker;
GRANT SELECT (held_for, held_until, serial) ON stock_units TO warranty_worker;
GRANT UPDATE (location, condition, number, held_for, held_until) ON stock_units TO warranty_logistics;
GRANT SELECT, INSERT ON stock_movements TO warranty_claim, warranty_logistics;
GRANT INSERT, UPDATE (name, receives_replaced) ON stock_locations TO warranty_logistics;
GRANT SELECT, INSERT, UPDATE (minimum), DELETE ON stock_minimums TO warranty_logistics;
-- A unit that is refurbished gets a new serial (T4).
GRANT INSERT ON units TO warranty_logistics;

-- The ledger: each entry moves one unit from one account to the other, so that the sum over both is nothing whatever is written.
CREATE TABLE ledger_entries (
    claim_id      uuid NOT NULL REFERENCES claims,
    debtor        text NOT NULL CHECK (debtor IN ('DEALER', 'MAKER')),
    number        integer NOT NULL CHECK (number >= 1),
    before        integer GENERATED ALWAYS AS (nullif(number - 1, 0)) STORED,
    dealer_id     text NOT NULL REFERENCES dealers,
    kind          text NOT NULL CHECK (kind IN ('OPENED', 'RETURNED', 'CHANGED', 'NETTED', 'WRITTEN_OFF')),
    debit_account text GENERATED ALWAYS AS
        (CASE WHEN (debtor = 'DEALER') = (kind = 'OPENED') THEN 'dealer/' || dealer_id ELSE 'maker' END) STORED,
    credit_account text GENERATED ALWAYS AS
        (CASE WHEN (debtor = 'DEALER') = (kind = 'OPENED') THEN 'maker' ELSE 'dealer/' || dealer_id END) STORED,
    owed          text NOT NULL CHECK (owed IN ('FAULTY_UNIT', 'GOOD_UNIT', 'OLD_UNIT_REPAIRED', 'OLD_UNIT')),
    remedy        text,
    serial        text REFERENCES units,
    due_on        date,
    reason        text CHECK (length(reason) BETWEEN 1 AND 500),
    recorded_at   timestamptz NOT NULL,
    recorded_by   text NOT NULL,
    CONSTRAINT ledger_one_entry_for_a_number PRIMARY KEY (claim_id, debtor, number),
    CONSTRAINT ledger_without_gaps FOREIGN KEY (claim_id, debtor, before) REFERENCES ledger_entries (claim_id, debtor, number),
    -- Odd numbers open a debt and even ones close it: none is opened while it is open, and none is closed twice.
    CONSTRAINT ledger_opened_then_closed CHECK ((number % 2 = 1) = (kind = 'OPENED')),
    CONSTRAINT ledger_dealer_owes_the_faulty_unit CHECK ((debtor = 'DEALER') = (owed = 'FAULTY_UNIT')),
    CONSTRAINT ledger_maker_owes_by_a_remedy CHECK ((debtor = 'MAKER' AND kind = 'OPENED') = (remedy IS NOT NULL)),
    CONSTRAINT ledger_opened_with_a_due_date CHECK ((kind = 'OPENED') = (due_on IS NOT NULL)),
    CONSTRAINT ledger_settled_with_a_reason CHECK ((kind IN ('NETTED', 'WRITTEN_OFF')) = (reason IS NOT NULL))
);
CREATE INDEX ledger_of_dealer ON ledger_entries (dealer_id, claim_id, debtor, number);
COMMENT ON TABLE ledger_entries IS 'What dealers and the maker owe each other after swaps (M3), one unit an entry, double entry. Insert-only.';
COMMENT ON COLUMN ledger_entries.claim_id IS 'The claim with the swap.';
COMMENT ON COLUMN ledger_entries.debtor IS 'Who owes.';
COMMENT ON COLUMN ledger_entries.number IS 'From 1, without gaps, for each claim and debtor.';
COMMENT ON COLUMN ledger_entries.before IS 'The number of the entry before; null for the first.';
COMMENT ON COLUMN ledger_entries.dealer_id IS 'The dealer who swapped.';
COMMENT ON COLUMN ledger_entries.kind IS 'Opened; closed by the unit itself, by another debt in its place, against a debt of the other side, or by staff.';
COMMENT ON COLUMN ledger_entries.debit_account IS 'Which account owes one unit more.';
COMMENT ON COLUMN ledger_entries.credit_account IS 'Which account owes one unit less.';
COMMENT ON COLUMN ledger_entries.owed IS 'What is owed.';
COMMENT ON COLUMN ledger_entries.remedy IS 'The final decision, or the goodwill, that the maker owes it by.';
COMMENT ON COLUMN ledger_entries.serial IS 'Opened: the unit owed, null where any good one is. Closed: the unit that closed it.';
COMMENT ON COLUMN ledger_entries.due_on IS 'The last day in time: the policy''s days of an authorization.';
COMMENT ON COLUMN ledger_entries.reason IS 'Why staff netted it or wrote it off. No personal data.';
COMMENT ON COLUMN ledger_entries.recorded_at IS 'When.';
COMMENT ON COLUMN ledger_entries.recorded_by IS 'Who: dealer/ID or staff/ID.';

ALTER TABLE dealers ADD COLUMN debt_limit integer CONSTRAINT dealers_debt_limit_plausible CHECK (debt_limit BETWEEN 0 AND 1000000);
COMMENT ON COLUMN dealers.debt_limit IS 'How many swapped units the dealer may owe at once; null where nothing limits it.';

-- The lock lasts to the end of the transaction: swaps of one dealer count one after the other.
CREATE FUNCTION units_owed_by(of_dealer text) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('ledger/' || of_dealer, 0));
    RETURN (SELECT coalesce(sum(CASE kind WHEN 'OPENED' THEN 1 ELSE -1 END), 0) FROM ledger_entries
             WHERE dealer_id = of_dealer AND debtor = 'DEALER');
END $$;
COMMENT ON FUNCTION units_owed_by(text) IS 'How many swapped units a dealer owes; nobody else counts them until the transaction ends.';

ALTER TABLE ledger_entries ENABLE ROW LEVEL SECURITY;
ALTER TABLE ledger_entries FORCE  ROW LEVEL SECURITY;
CREATE POLICY ledger_of_caller ON ledger_entries FOR SELECT USING (caller_is_staff() OR caller() = 'dealer/' || dealer_id);
CREATE POLICY ledger_written ON ledger_entries FOR INSERT
    WITH CHECK (recorded_by = caller() AND (caller_is_staff() OR caller() = 'dealer/' || dealer_id));
GRANT SELECT, INSERT ON ledger_entries TO warranty_claim, warranty_logistics;
GRANT UPDATE (debt_limit) ON dealers TO warranty_coverage;

-- What was swapped before there was a ledger: the dealer owes what is not received yet, the maker what is decided and not sent.
ALTER TABLE ledger_entries NO FORCE ROW LEVEL SECURITY;
ALTER TABLE claims NO FORCE ROW LEVEL SECURITY;
INSERT INTO ledger_entries (claim_id, debtor, number, dealer_id, kind, owed, serial, due_on, recorded_at, recorded_by)
    SELECT claim_id, 'DEALER', 1, dealer_id, 'OPENED', 'FAULTY_UNIT', serial,
           (entered_at AT TIME ZONE 'Etc/GMT-8')::date + (targets ->> 'authorization_days')::integer, entered_at, 'dealer/' || dealer_id
      FROM claims WHERE swapped_for IS NOT NULL AND dealer_id IS NOT NULL AND state IN ('SWAPPED', 'IN_TRANSIT');
INSERT INTO ledger_entries (claim_id, debtor, number, dealer_id, kind, owed, remedy, serial, due_on, recorded_at, recorded_by)
    SELECT claim_id, 'MAKER', 1, dealer_id, 'OPENED', owed, gives, CASE WHEN owed <> 'GOOD_UNIT' THEN serial END,
           (entered_at AT TIME ZONE 'Etc/GMT-8')::date + (targets ->> 'authorization_days')::integer, entered_at, 'dealer/' || dealer_id
      FROM claims, LATERAL (SELECT coalesce(goodwill_remedy, remedy) AS gives) decided,
           LATERAL (SELECT CASE gives WHEN 'DIRECT_REPLACEMENT' THEN 'GOOD_UNIT' WHEN 'FREE_REPAIR' THEN 'OLD_UNIT_REPAIRED'
                                      ELSE 'OLD_UNIT' END AS owed) debt
     WHERE swapped_for IS NOT NULL AND dealer_id IS NOT NULL AND state IN ('INSPECTED', 'QUOTED', 'IN_REPAIR', 'READY');
ALTER TABLE ledger_entries FORCE ROW LEVEL SECURITY;

-- For how long a unit is held for a claim, by the policy of its filing; the standard for those from before.
UPDATE claims SET targets = targets || '{"allocation_days": 7}' WHERE NOT targets ? 'allocation_days';
ALTER TABLE claims FORCE ROW LEVEL SECURITY;
