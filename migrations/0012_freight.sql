-- Freight (M5, M6): what each way cost, which carrier took it, and how it was paid for. Who pays stands with the claim's place in the parcel.

CREATE SEQUENCE freight_number AS bigint;
COMMENT ON SEQUENCE freight_number IS 'The numbers of freight entries.';
CREATE TABLE freight_entries (
    sequence    bigint PRIMARY KEY,
    shipment_id uuid NOT NULL,
    claim_id    uuid NOT NULL,
    number      integer NOT NULL CHECK (number >= 1),
    before      integer GENERATED ALWAYS AS (nullif(number - 1, 0)) STORED,
    kind        text NOT NULL CHECK (kind IN ('CHARGE', 'REVERSAL')),
    reverses    integer GENERATED ALWAYS AS (CASE WHEN kind = 'REVERSAL' THEN number - 1 END) STORED,
    party       text NOT NULL,
    carrier     text NOT NULL CHECK (length(carrier) BETWEEN 1 AND 60),
    terms       text NOT NULL CHECK (terms IN ('PREPAID', 'COLLECT', 'UNKNOWN')),
    cost_fen    bigint NOT NULL CHECK (cost_fen >= 0),
    reason      text CHECK (length(reason) BETWEEN 1 AND 500),
    booked_on   date NOT NULL,
    recorded_at timestamptz NOT NULL,
    recorded_by text NOT NULL,
    CONSTRAINT freight_of_a_place_in_a_parcel FOREIGN KEY (shipment_id, claim_id) REFERENCES shipment_items (shipment_id, claim_id),
    CONSTRAINT freight_one_entry_for_a_number UNIQUE (shipment_id, claim_id, number),
    CONSTRAINT freight_as_it_was_charged UNIQUE (shipment_id, claim_id, number, carrier, terms, cost_fen),
    CONSTRAINT freight_without_gaps FOREIGN KEY (shipment_id, claim_id, before) REFERENCES freight_entries (shipment_id, claim_id, number),
    CONSTRAINT freight_reverses_what_was_charged FOREIGN KEY (shipment_id, claim_id, reverses, carrier, terms, cost_fen)
        REFERENCES freight_entries (shipment_id, claim_id, number, carrier, terms, cost_fen),
    CONSTRAINT freight_charged_then_reversed CHECK ((number % 2 = 1) = (kind = 'CHARGE')),
    CONSTRAINT freight_corrected_with_a_reason CHECK ((number > 1) = (reason IS NOT NULL))
);
CREATE INDEX freight_of_party ON freight_entries (party, booked_on, sequence);
COMMENT ON TABLE freight_entries IS 'What freight cost, by claim and parcel: a correction reverses what was charged and charges anew. Insert-only.';
COMMENT ON COLUMN freight_entries.sequence IS 'Growing in the order of the commits; a number may be left out.';
COMMENT ON COLUMN freight_entries.shipment_id IS 'The parcel.';
COMMENT ON COLUMN freight_entries.claim_id IS 'The claim in it: with the parcel, a leg.';
COMMENT ON COLUMN freight_entries.number IS 'From 1, without gaps, for each leg: odd charges, even reverses the charge before it.';
COMMENT ON COLUMN freight_entries.before IS 'The number of the entry before; null for the first.';
COMMENT ON COLUMN freight_entries.kind IS 'Charged, or a charge taken back whole.';
COMMENT ON COLUMN freight_entries.reverses IS 'The number of the charge that it takes back; null where it charges.';
COMMENT ON COLUMN freight_entries.party IS 'The parcel''s other end: dealer/ID or customer/ID.';
COMMENT ON COLUMN freight_entries.carrier IS 'Who carried it, as it was then.';
COMMENT ON COLUMN freight_entries.terms IS 'Paid where it was sent from, where it arrived, or not known yet.';
COMMENT ON COLUMN freight_entries.cost_fen IS 'The leg''s share of what the parcel cost, CNY fen.';
COMMENT ON COLUMN freight_entries.reason IS 'Why it was corrected. No personal data.';
COMMENT ON COLUMN freight_entries.booked_on IS 'The civil date it counts for; never before that of an entry with a smaller number.';
COMMENT ON COLUMN freight_entries.recorded_at IS 'When.';
COMMENT ON COLUMN freight_entries.recorded_by IS 'Which staff.';

-- Whoever has the day commits before anybody else gets one: numbers and days grow in the order of the commits, also where a clock
-- was set back. A period whose last day is over for longer than a write may last therefore never changes.
CREATE FUNCTION freight_day(today date) RETURNS date LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('freight', 0));
    RETURN greatest(today, (SELECT booked_on FROM freight_entries ORDER BY sequence DESC LIMIT 1));
END $$;
COMMENT ON FUNCTION freight_day(date) IS 'The day that the next entries count for, and the right to write them, to the end of the transaction.';

ALTER TABLE freight_entries ENABLE ROW LEVEL SECURITY;
ALTER TABLE freight_entries FORCE  ROW LEVEL SECURITY;
CREATE POLICY freight_of_caller ON freight_entries FOR SELECT USING (caller_is_staff() OR party = caller());
CREATE POLICY freight_written ON freight_entries FOR INSERT WITH CHECK (caller_is_staff() AND recorded_by = caller());
GRANT SELECT, INSERT ON freight_entries TO warranty_logistics;
GRANT USAGE ON SEQUENCE freight_number TO warranty_logistics;
