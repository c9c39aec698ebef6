-- The life of a claim: its row is the fold of its events.

CREATE SEQUENCE return_number_seed AS bigint START 1000001;
COMMENT ON SEQUENCE return_number_seed IS 'The digits of return numbers, before the check digit.';

CREATE TABLE claims (
    claim_id             uuid PRIMARY KEY,
    serial               text NOT NULL CONSTRAINT claims_unit_known REFERENCES units,
    dealer_id            text CONSTRAINT claims_dealer_known REFERENCES dealers,
    customer_id          uuid NOT NULL CONSTRAINT claims_customer_known REFERENCES customers,
    part                 text CHECK (part IN ('HOST', 'POWER_SUPPLY', 'ACCESSORY')),
    fault_code           text CHECK (fault_code ~ '^[A-Z0-9_]{1,32}$'),
    performance_fault    boolean,
    appearance           text CHECK (appearance IN ('INTACT', 'SCRATCHED')),
    power_supply_damage  boolean,
    region_of_use        text CHECK (region_of_use ~ '^[A-Z]{2}-[A-Z0-9]{1,3}$'),
    invoice_number       text,
    warranty_card_number text,
    voucher_verified     boolean NOT NULL,
    filed_at             timestamptz NOT NULL,
    reported_on          date NOT NULL,
    state                text NOT NULL CHECK (state IN ('FILED', 'RESOLVED', 'REJECTED', 'AUTHORIZED', 'SWAPPED', 'IN_TRANSIT',
                                                        'RECEIVED', 'INSPECTED', 'IN_REPAIR', 'READY', 'DISPATCHED', 'CLOSED', 'CANCELLED')),
    guidance             text CHECK (guidance IN ('SOLVED', 'CONFIRMED', 'WAIVED', 'REJECTED')),
    reason               text CHECK (length(reason) <= 500),
    return_number        text CONSTRAINT claims_return_number_once UNIQUE,
    swapped_for          text CONSTRAINT claims_swapped_for_known REFERENCES units,
    inbound_shipment_id  uuid,
    seal                 text CHECK (seal IN ('INTACT', 'DAMAGED', 'MISSING')),
    no_fault_found       boolean NOT NULL,
    findings             text[] NOT NULL,
    remedy               text NOT NULL,
    decided              text NOT NULL CHECK (decided IN ('PROVISIONAL', 'FINAL')),
    outcome              text CHECK (outcome IN ('REPAIRED', 'REPLACED', 'ACCESSORY', 'AS_IT_CAME', 'REPLENISHMENT')),
    outcome_serial       text CONSTRAINT claims_outcome_serial_known REFERENCES units,
    outbound_shipment_id uuid,
    version              bigint NOT NULL CHECK (version >= 1)
);
-- A unit has at most one open claim.
CREATE UNIQUE INDEX claims_one_open_for_a_unit ON claims (serial)
    WHERE state NOT IN ('RESOLVED', 'REJECTED', 'CLOSED', 'CANCELLED');
CREATE INDEX claims_of_unit ON claims (serial, claim_id);
CREATE INDEX claims_of_dealer ON claims (dealer_id, claim_id);
CREATE INDEX claims_of_customer ON claims (customer_id, claim_id);
COMMENT ON TABLE claims IS 'One unit, one fault. Each row is the fold of its events; ids are UUIDv7, so they sort by time.';
COMMENT ON COLUMN claims.claim_id IS 'Identifies the claim.';
COMMENT ON COLUMN claims.serial IS 'The unit claimed for.';
COMMENT ON COLUMN claims.dealer_id IS 'The dealer who filed it (M1); null where the customer did (M2).';
COMMENT ON COLUMN claims.customer_id IS 'The customer it is for.';
COMMENT ON COLUMN claims.part IS 'As known by now, like the next five: filing, guidance, receipt, inspection. Null where not told.';
COMMENT ON COLUMN claims.fault_code IS 'The fault''s code.';
COMMENT ON COLUMN claims.performance_fault IS 'Whether the performance is at fault (T8).';
COMMENT ON COLUMN claims.appearance IS 'How the unit looks (T8).';
COMMENT ON COLUMN claims.power_supply_damage IS 'Whether the power supply is damaged (T10).';
COMMENT ON COLUMN claims.region_of_use IS 'Where it is used (S4).';
COMMENT ON COLUMN claims.invoice_number IS 'The voucher as given (M1).';
COMMENT ON COLUMN claims.warranty_card_number IS 'The voucher as given (M1).';
COMMENT ON COLUMN claims.voucher_verified IS 'Whether it equals the registered sale''s, or the applicant is its seller or buyer.';
COMMENT ON COLUMN claims.filed_at IS 'When it was filed.';
COMMENT ON COLUMN claims.reported_on IS 'The day that decides.';
COMMENT ON COLUMN claims.state IS 'Where it stands.';
COMMENT ON COLUMN claims.guidance IS 'What support''s guidance came to (M8).';
COMMENT ON COLUMN claims.reason IS 'Why it was waived, rejected, cancelled, or is beyond repair. No personal data.';
COMMENT ON COLUMN claims.return_number IS 'On the parcel; the last digit checks the others.';
COMMENT ON COLUMN claims.swapped_for IS 'The unit that the dealer gave (M3).';
COMMENT ON COLUMN claims.inbound_shipment_id IS 'The parcel it came in.';
COMMENT ON COLUMN claims.seal IS 'How the seal came in (X3).';
COMMENT ON COLUMN claims.no_fault_found IS 'Inspection found nothing (T9).';
COMMENT ON COLUMN claims.findings IS 'What inspection found: X1, X3 to X8.';
COMMENT ON COLUMN claims.remedy IS 'By the latest decision.';
COMMENT ON COLUMN claims.decided IS 'Whether that decision is final.';
COMMENT ON COLUMN claims.outcome IS 'What goes out.';
COMMENT ON COLUMN claims.outcome_serial IS 'The unit that goes out where it is another one.';
COMMENT ON COLUMN claims.outbound_shipment_id IS 'The parcel it goes out in.';
COMMENT ON COLUMN claims.version IS 'The sequence number of the latest event.';

CREATE TABLE claim_events (
    claim_id    uuid NOT NULL REFERENCES claims,
    sequence    bigint NOT NULL CHECK (sequence >= 1),
    facts       jsonb NOT NULL,
    state       text NOT NULL,
    recorded_at timestamptz NOT NULL,
    actor       text NOT NULL,
    CONSTRAINT claim_events_one_for_a_number PRIMARY KEY (claim_id, sequence)
);
COMMENT ON TABLE claim_events IS 'What happened to a claim. Insert-only: nobody may update or delete.';
COMMENT ON COLUMN claim_events.claim_id IS 'The claim.';
COMMENT ON COLUMN claim_events.sequence IS 'From 1, without gaps; order by it, never by time.';
COMMENT ON COLUMN claim_events.facts IS 'The event, as domain::event::Event reads it. No personal data.';
COMMENT ON COLUMN claim_events.state IS 'The state it led to.';
COMMENT ON COLUMN claim_events.recorded_at IS 'When it was recorded.';
COMMENT ON COLUMN claim_events.actor IS 'Who did it: dealer/ID, customer/ID or staff/ID.';

CREATE TABLE claim_decisions (
    claim_id       uuid NOT NULL,
    sequence       bigint NOT NULL,
    stage          text NOT NULL CHECK (stage IN ('PROVISIONAL', 'FINAL')),
    remedy         text NOT NULL,
    policy_version text NOT NULL REFERENCES policies,
    facts          jsonb NOT NULL,
    report         jsonb NOT NULL,
    decision       jsonb NOT NULL,
    PRIMARY KEY (claim_id, sequence),
    FOREIGN KEY (claim_id, sequence) REFERENCES claim_events
);
COMMENT ON TABLE claim_decisions IS 'Every decision with what it read, so that it can be made again exactly. Insert-only.';
COMMENT ON COLUMN claim_decisions.claim_id IS 'The claim.';
COMMENT ON COLUMN claim_decisions.sequence IS 'The event it was made with.';
COMMENT ON COLUMN claim_decisions.stage IS 'Provisional before the maker saw the unit, final after.';
COMMENT ON COLUMN claim_decisions.remedy IS 'What it gave.';
COMMENT ON COLUMN claim_decisions.policy_version IS 'The policy that decided.';
COMMENT ON COLUMN claim_decisions.facts IS 'What the registry knew (domain::facts::Facts).';
COMMENT ON COLUMN claim_decisions.report IS 'What was told and found (domain::facts::Report).';
COMMENT ON COLUMN claim_decisions.decision IS 'The decision with its proof (domain::coverage::Decision).';

CREATE TABLE shipments (
    shipment_id     uuid PRIMARY KEY,
    direction       text NOT NULL CHECK (direction IN ('INBOUND', 'OUTBOUND')),
    dealer_id       text REFERENCES dealers,
    customer_id     uuid REFERENCES customers,
    carrier         text NOT NULL CHECK (length(carrier) BETWEEN 1 AND 60),
    tracking_number text CHECK (length(tracking_number) BETWEEN 1 AND 60),
    opened_at       timestamptz NOT NULL,
    CONSTRAINT shipments_one_party CHECK ((dealer_id IS NULL) <> (customer_id IS NULL))
);
COMMENT ON TABLE shipments IS 'Parcels to the maker and back. Insert-only.';
COMMENT ON COLUMN shipments.shipment_id IS 'Identifies the parcel.';
COMMENT ON COLUMN shipments.direction IS 'Which way it travels.';
COMMENT ON COLUMN shipments.dealer_id IS 'The dealer at the other end.';
COMMENT ON COLUMN shipments.customer_id IS 'Or the customer at the other end.';
COMMENT ON COLUMN shipments.carrier IS 'Who carries it.';
COMMENT ON COLUMN shipments.tracking_number IS 'The carrier''s number for it.';
COMMENT ON COLUMN shipments.opened_at IS 'When it was announced or sent.';

CREATE TABLE shipment_items (
    shipment_id uuid NOT NULL REFERENCES shipments,
    claim_id    uuid NOT NULL REFERENCES claims,
    serial      text CONSTRAINT shipment_items_unit_known REFERENCES units,
    payer       text NOT NULL CHECK (payer IN ('MAKER', 'SENDER')),
    clause      text NOT NULL CHECK (clause IN ('M5', 'M6')),
    arrived_at  timestamptz,
    PRIMARY KEY (shipment_id, claim_id)
);
CREATE INDEX shipment_items_of_claim ON shipment_items (claim_id);
COMMENT ON TABLE shipment_items IS 'A claim''s place in a parcel, and who pays this way.';
COMMENT ON COLUMN shipment_items.shipment_id IS 'The parcel.';
COMMENT ON COLUMN shipment_items.claim_id IS 'The claim.';
COMMENT ON COLUMN shipment_items.serial IS 'The unit in the box; null for an accessory.';
COMMENT ON COLUMN shipment_items.payer IS 'Who pays this way.';
COMMENT ON COLUMN shipment_items.clause IS 'The clause that says so (M5, M6).';
COMMENT ON COLUMN shipment_items.arrived_at IS 'When it was received or delivered.';
ALTER TABLE claims ADD CONSTRAINT claims_inbound_shipment_known FOREIGN KEY (inbound_shipment_id) REFERENCES shipments;
ALTER TABLE claims ADD CONSTRAINT claims_outbound_shipment_known FOREIGN KEY (outbound_shipment_id) REFERENCES shipments;
