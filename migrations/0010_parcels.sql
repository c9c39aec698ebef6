-- Parcels: what carriers say of them, what was lost on the way, and what came out of a box that nobody had announced.

ALTER TABLE claims DROP CONSTRAINT claims_state_known, ADD CONSTRAINT claims_state_known
    CHECK (state IN ('FILED', 'RESOLVED', 'REJECTED', 'AUTHORIZED', 'SWAPPED', 'IN_TRANSIT', 'RECEIVED', 'INSPECTED', 'QUOTED',
                     'IN_REPAIR', 'READY', 'DISPATCHED', 'CLOSED', 'CANCELLED', 'LOST'));
ALTER TABLE claims DROP CONSTRAINT claims_outcome_check, ADD CONSTRAINT claims_outcome_known
    CHECK (outcome IN ('REPAIRED', 'REPLACED', 'ACCESSORY', 'AS_IT_CAME', 'REPLENISHMENT', 'LOST'));
-- A repaired unit that was paid may be lost on the way back: another one is sent, or it is given up.
ALTER TABLE claims DROP CONSTRAINT claims_paid_what_is_charged, ADD CONSTRAINT claims_paid_what_is_charged
    CHECK (NOT paid OR (charge_fen IS NOT NULL AND outcome IN ('REPAIRED', 'REPLACED', 'LOST')));
COMMENT ON COLUMN claims.reason IS 'Why it was waived, rejected, cancelled, is beyond repair, or counts as lost. No personal data.';

-- A unit in place of a repaired or replaced one that was lost on its way is recorded with the parcel it goes out in.
GRANT INSERT ON replacements TO warranty_logistics;
-- Under one claim more than one, then, each after the one before: that a unit is replaced once and given once stands without it.
ALTER TABLE replacements DROP CONSTRAINT replacements_once_for_a_claim;
CREATE INDEX replacements_of_claim ON replacements (claim_id);

-- Where parcels are.
COMMENT ON TABLE shipments IS 'Parcels to the maker and back. Only the carrier and its number change.';
GRANT UPDATE (carrier, tracking_number) ON shipments TO warranty_logistics;
CREATE INDEX shipments_by_number ON shipments (tracking_number, carrier) WHERE tracking_number IS NOT NULL;
CREATE INDEX shipments_of_dealer ON shipments (dealer_id, shipment_id);
CREATE INDEX shipments_of_customer ON shipments (customer_id, shipment_id);
ALTER TABLE shipment_items
    ADD COLUMN lost_at timestamptz,
    ADD CONSTRAINT shipment_items_lost_or_there CHECK (lost_at IS NULL OR arrived_at IS NULL),
    ADD COLUMN missing_parts text CHECK (length(missing_parts) BETWEEN 1 AND 200),
    ADD COLUMN transport_damage boolean NOT NULL DEFAULT false;
CREATE INDEX shipment_items_on_their_way ON shipment_items (shipment_id) WHERE arrived_at IS NULL AND lost_at IS NULL;
COMMENT ON COLUMN shipment_items.lost_at IS 'When it was recorded as lost; null where it was not, or was found again.';
COMMENT ON COLUMN shipment_items.missing_parts IS 'What belongs to it and was not in the box.';
COMMENT ON COLUMN shipment_items.transport_damage IS 'Whether it arrived damaged on the way; inspection finds whether that is X6.';
GRANT UPDATE (lost_at, missing_parts, transport_damage) ON shipment_items TO warranty_logistics;

CREATE TABLE tracking_events (
    carrier         text NOT NULL CHECK (length(carrier) BETWEEN 1 AND 60),
    tracking_number text NOT NULL CHECK (length(tracking_number) BETWEEN 1 AND 60),
    party           text NOT NULL,
    event_key       text NOT NULL CHECK (length(event_key) BETWEEN 1 AND 64),
    status          text NOT NULL CHECK (status IN ('PICKED_UP', 'IN_TRANSIT', 'OUT_FOR_DELIVERY', 'DELIVERED', 'EXCEPTION', 'RETURNED')),
    place           text CHECK (length(place) BETWEEN 1 AND 100),
    happened_at     timestamptz NOT NULL,
    recorded_at     timestamptz NOT NULL,
    recorded_by     text NOT NULL,
    CONSTRAINT tracking_events_once PRIMARY KEY (tracking_number, carrier, party, event_key)
);
COMMENT ON TABLE tracking_events IS 'What carriers say of their numbers. A number that no parcel has yet waits here: it is matched when read. Insert-only.';
COMMENT ON COLUMN tracking_events.carrier IS 'The carrier, as parcels name it.';
COMMENT ON COLUMN tracking_events.tracking_number IS 'The carrier''s number.';
COMMENT ON COLUMN tracking_events.party IS 'Whose word it is: staff for the maker''s, which counts for any parcel; dealer/ID or customer/ID, which counts for its own parcels.';
COMMENT ON COLUMN tracking_events.event_key IS 'The carrier''s name of the event: told twice, it stands once.';
COMMENT ON COLUMN tracking_events.status IS 'What happened.';
COMMENT ON COLUMN tracking_events.place IS 'Where, as the carrier says it.';
COMMENT ON COLUMN tracking_events.happened_at IS 'When, by the carrier. Events are told in any order, and read by this.';
COMMENT ON COLUMN tracking_events.recorded_at IS 'When it was told.';
COMMENT ON COLUMN tracking_events.recorded_by IS 'Who told it.';

CREATE TABLE set_aside (
    set_aside_id     uuid PRIMARY KEY,
    shipment_id      uuid NOT NULL CONSTRAINT set_aside_parcel_known REFERENCES shipments,
    serial           text CHECK (length(serial) BETWEEN 1 AND 64),
    return_number    text CHECK (length(return_number) BETWEEN 1 AND 40),
    difference       text NOT NULL CHECK (difference IN ('WRONG_SERIAL', 'UNANNOUNCED', 'GIVEN_UP')),
    announced_claim_id uuid CONSTRAINT set_aside_announced_claim_known REFERENCES claims,
    appearance       text CHECK (appearance IN ('INTACT', 'SCRATCHED')),
    seal             text CHECK (seal IN ('INTACT', 'DAMAGED', 'MISSING')),
    missing_parts    text CHECK (length(missing_parts) BETWEEN 1 AND 200),
    transport_damage boolean NOT NULL,
    found_at         timestamptz NOT NULL,
    found_by         text NOT NULL,
    settlement       text CHECK (settlement IN ('CLAIM', 'RETURNED', 'KEPT')),
    claim_id         uuid CONSTRAINT set_aside_claim_known REFERENCES claims,
    reason           text CHECK (length(reason) BETWEEN 1 AND 500),
    settled_at       timestamptz,
    settled_by       text,
    version          bigint NOT NULL DEFAULT 1 CHECK (version >= 1),
    CONSTRAINT set_aside_settled_whole CHECK ((settlement IS NULL) = (settled_at IS NULL) AND (settlement IS NULL) = (settled_by IS NULL)
        AND (settlement IS NULL) = (reason IS NULL) AND (claim_id IS NOT NULL) = (settlement IS NOT DISTINCT FROM 'CLAIM'))
);
CREATE INDEX set_aside_of_parcel ON set_aside (shipment_id, set_aside_id);
CREATE INDEX set_aside_open ON set_aside (set_aside_id) WHERE settlement IS NULL OR settlement = 'KEPT';
COMMENT ON TABLE set_aside IS 'Units out of a box that are not what was announced in it: kept apart until someone settles whose they are.';
COMMENT ON COLUMN set_aside.set_aside_id IS 'Identifies it; a UUIDv7, so that they sort by time.';
COMMENT ON COLUMN set_aside.shipment_id IS 'The parcel it came in.';
COMMENT ON COLUMN set_aside.serial IS 'On the unit, as it was read; null where nothing could be read.';
COMMENT ON COLUMN set_aside.return_number IS 'On its label, as it was read; null where there was none.';
COMMENT ON COLUMN set_aside.difference IS 'What differs from what was announced.';
COMMENT ON COLUMN set_aside.announced_claim_id IS 'The claim that its return number was announced for.';
COMMENT ON COLUMN set_aside.appearance IS 'How it looks.';
COMMENT ON COLUMN set_aside.seal IS 'How its seal came in.';
COMMENT ON COLUMN set_aside.missing_parts IS 'What belongs to it and was not in the box.';
COMMENT ON COLUMN set_aside.transport_damage IS 'Whether it arrived damaged on the way.';
COMMENT ON COLUMN set_aside.found_at IS 'When it came out of the box.';
COMMENT ON COLUMN set_aside.found_by IS 'Who unpacked it.';
COMMENT ON COLUMN set_aside.settlement IS 'How it was settled; null while it is open. What is kept may still be claimed or returned.';
COMMENT ON COLUMN set_aside.claim_id IS 'Whose unit it is after all.';
COMMENT ON COLUMN set_aside.reason IS 'Why it was settled so. No personal data.';
COMMENT ON COLUMN set_aside.settled_at IS 'When.';
COMMENT ON COLUMN set_aside.settled_by IS 'By whom.';
COMMENT ON COLUMN set_aside.version IS 'Grows with each settlement.';

ALTER TABLE tracking_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE tracking_events FORCE  ROW LEVEL SECURITY;
ALTER TABLE set_aside       ENABLE ROW LEVEL SECURITY;
ALTER TABLE set_aside       FORCE  ROW LEVEL SECURITY;
-- A party reads its own word, and the maker's of its own parcels: the subquery is under the parcels' own policy.
CREATE POLICY tracking_of_caller ON tracking_events FOR SELECT
    USING (caller_is_staff() OR party = caller()
        OR (party = 'staff' AND EXISTS (SELECT 1 FROM shipments s WHERE s.tracking_number = tracking_events.tracking_number
                                        AND s.carrier = tracking_events.carrier)));
CREATE POLICY tracking_written ON tracking_events FOR INSERT
    WITH CHECK (recorded_by = caller() AND party = CASE WHEN caller_is_staff() THEN 'staff' ELSE caller() END AND caller() <> '');
CREATE POLICY set_aside_of_staff ON set_aside USING (caller_is_staff());
GRANT SELECT, INSERT ON tracking_events TO warranty_logistics;
GRANT SELECT, INSERT ON set_aside TO warranty_logistics;
GRANT UPDATE (settlement, claim_id, reason, settled_at, settled_by, version) ON set_aside TO warranty_logistics;
