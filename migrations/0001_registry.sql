-- The facts that decisions rest on. Civil dates are in Asia/Shanghai and come from the application's clock: SQL never asks for the date.

-- One role for each process. A login is a member of those it needs and does SET ROLE once on connecting.
-- Roles belong to the whole server, so another database may have made them already.
DO $$
DECLARE role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['warranty_coverage', 'warranty_claim', 'warranty_logistics'] LOOP
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN NOSUPERUSER NOBYPASSRLS', role_name);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
        END;
    END LOOP;
END $$;

CREATE TABLE policies (
    version      text PRIMARY KEY,
    effective_on date NOT NULL,
    body         jsonb NOT NULL,
    CONSTRAINT policies_one_for_a_date UNIQUE (effective_on)
);
COMMENT ON TABLE policies IS 'Published policy versions (S7). A row never changes: a later version holds for later sales.';
COMMENT ON COLUMN policies.version IS 'The name that decisions carry.';
COMMENT ON COLUMN policies.effective_on IS 'The first day of sale it holds for; the earliest version holds for every day before, too.';
COMMENT ON COLUMN policies.body IS 'Parameters, clause texts and the after-sales contact, as domain::policy::Policy reads them.';

CREATE TABLE products (
    model        text PRIMARY KEY CHECK (model ~ '^[A-Z0-9][A-Z0-9.-]{0,39}$'),
    product_type text NOT NULL CHECK (product_type IN ('VIDEO_OPTICAL_TRANSCEIVER', 'TELEPHONE_OPTICAL_TRANSCEIVER',
                                                       'OPTICAL_FIBER_TRANSCEIVER', 'POE_SWITCH', 'OTHER')),
    discontinued boolean NOT NULL
);
COMMENT ON TABLE products IS 'The catalogue of models.';
COMMENT ON COLUMN products.model IS 'The model''s name.';
COMMENT ON COLUMN products.product_type IS 'Which type it is (S1); OTHER is outside the commitment.';
COMMENT ON COLUMN products.discontinued IS 'Whether an equivalent may be given in its place (T3).';

CREATE TABLE product_equivalents (
    model            text NOT NULL REFERENCES products,
    position         smallint NOT NULL CHECK (position >= 1),
    equivalent_model text NOT NULL CONSTRAINT product_equivalents_model_known REFERENCES products,
    PRIMARY KEY (model, position),
    CONSTRAINT product_equivalents_once UNIQUE (model, equivalent_model),
    CHECK (model <> equivalent_model)
);
COMMENT ON TABLE product_equivalents IS 'Models of equivalent performance (T3).';
COMMENT ON COLUMN product_equivalents.model IS 'The model that may be discontinued.';
COMMENT ON COLUMN product_equivalents.position IS 'Order of preference, from 1.';
COMMENT ON COLUMN product_equivalents.equivalent_model IS 'The model that may be given instead.';

CREATE TABLE dealers (
    dealer_id text PRIMARY KEY CHECK (dealer_id ~ '^[A-Za-z0-9._-]{1,40}$'),
    name      text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    status    text NOT NULL CHECK (status IN ('ACTIVE', 'SUSPENDED')),
    version   bigint NOT NULL CHECK (version >= 1)
);
COMMENT ON TABLE dealers IS 'Who sells or distributes the maker''s products.';
COMMENT ON COLUMN dealers.dealer_id IS 'As in its tokens.';
COMMENT ON COLUMN dealers.name IS 'The company''s name.';
COMMENT ON COLUMN dealers.status IS 'A suspended dealer applies for nothing.';
COMMENT ON COLUMN dealers.version IS 'Counts the changes, from 1.';

CREATE TABLE units (
    serial           text PRIMARY KEY CHECK (serial ~ '^[A-Z0-9]{4,40}$'),
    model            text NOT NULL CONSTRAINT units_model_known REFERENCES products,
    lot              text CHECK (length(lot) BETWEEN 1 AND 40),
    manufactured_on  date NOT NULL,
    ex_factory_on    date NOT NULL,
    sold_by_maker    boolean NOT NULL,
    refurbished_from text CONSTRAINT units_refurbished_once UNIQUE CONSTRAINT units_refurbished_from_known REFERENCES units,
    CONSTRAINT units_left_after_made CHECK (ex_factory_on >= manufactured_on),
    CONSTRAINT units_refurbished_from_another CHECK (refurbished_from <> serial)
);
COMMENT ON TABLE units IS 'One physical product with a serial number.';
COMMENT ON COLUMN units.serial IS 'Normalised: capitals and digits.';
COMMENT ON COLUMN units.model IS 'Its model.';
COMMENT ON COLUMN units.lot IS 'The lot it was made in.';
COMMENT ON COLUMN units.manufactured_on IS 'The day it was made (S2).';
COMMENT ON COLUMN units.ex_factory_on IS 'The day it left the factory (T12).';
COMMENT ON COLUMN units.sold_by_maker IS 'Whether the maker sold it (S3).';
COMMENT ON COLUMN units.refurbished_from IS 'The serial it had before it was refurbished (T4).';

CREATE TABLE contracts (
    contract_number text PRIMARY KEY CHECK (contract_number ~ '^[A-Za-z0-9._/-]{1,40}$')
);
COMMENT ON TABLE contracts IS 'Contracts between the maker and a buyer (S5); what they say stands in contract_versions.';
COMMENT ON COLUMN contracts.contract_number IS 'The contract''s number.';

CREATE TABLE contract_versions (
    contract_number text NOT NULL REFERENCES contracts,
    version         bigint NOT NULL CHECK (version >= 1),
    terms           jsonb NOT NULL,
    confirmed_on    date,
    revoked_on      date,
    reason          text CHECK (length(reason) <= 500),
    recorded_at     timestamptz NOT NULL,
    superseded_at   timestamptz NOT NULL DEFAULT 'infinity',
    recorded_by     text NOT NULL,
    PRIMARY KEY (contract_number, version),
    CONSTRAINT contract_versions_revoked_after_confirmed CHECK (revoked_on IS NULL OR revoked_on >= confirmed_on)
);
CREATE UNIQUE INDEX contract_versions_one_current ON contract_versions (contract_number) WHERE superseded_at = 'infinity';
COMMENT ON TABLE contract_versions IS 'What a contract said and when it was known: insert-only but for superseded_at.';
COMMENT ON COLUMN contract_versions.contract_number IS 'The contract.';
COMMENT ON COLUMN contract_versions.version IS 'Counts the changes, from 1.';
COMMENT ON COLUMN contract_versions.terms IS 'The terms it names, as domain::policy::ContractTerms reads them.';
COMMENT ON COLUMN contract_versions.confirmed_on IS 'The first day in force; null while a draft.';
COMMENT ON COLUMN contract_versions.revoked_on IS 'The first day no longer in force.';
COMMENT ON COLUMN contract_versions.reason IS 'Why it was changed.';
COMMENT ON COLUMN contract_versions.recorded_at IS 'When this was recorded.';
COMMENT ON COLUMN contract_versions.superseded_at IS 'When a later version took its place; infinity for the current one.';
COMMENT ON COLUMN contract_versions.recorded_by IS 'Who recorded it.';

CREATE TABLE customers (
    customer_id uuid PRIMARY KEY,
    created_by  text NOT NULL
);
COMMENT ON TABLE customers IS 'Customers, by number alone: facts stay when the person goes.';
COMMENT ON COLUMN customers.customer_id IS 'The customer''s id, as in its tokens.';
COMMENT ON COLUMN customers.created_by IS 'Who made the row: dealer/ID, customer/ID or staff/ID.';

CREATE TABLE people (
    customer_id uuid PRIMARY KEY REFERENCES customers,
    name        text CHECK (length(name) <= 100),
    telephone   text CHECK (length(telephone) <= 30),
    address     text CHECK (length(address) <= 300)
);
COMMENT ON TABLE people IS 'The only table with personal data. A row is deleted to erase a person.';
COMMENT ON COLUMN people.customer_id IS 'The customer.';
COMMENT ON COLUMN people.name IS 'Personal data.';
COMMENT ON COLUMN people.telephone IS 'Personal data.';
COMMENT ON COLUMN people.address IS 'Personal data.';

CREATE TABLE sales (
    serial               text NOT NULL CONSTRAINT sales_unit_known REFERENCES units,
    version              bigint NOT NULL CHECK (version >= 1),
    dealer_id            text NOT NULL CONSTRAINT sales_dealer_known REFERENCES dealers,
    sold_on              date NOT NULL,
    invoice_number       text CHECK (length(invoice_number) BETWEEN 1 AND 64),
    warranty_card_number text CHECK (length(warranty_card_number) BETWEEN 1 AND 64),
    region               text CHECK (region ~ '^[A-Z]{2}-[A-Z0-9]{1,3}$'),
    contract_number      text CONSTRAINT sales_contract_known REFERENCES contracts,
    customer_id          uuid CONSTRAINT sales_customer_known REFERENCES customers,
    recorded_at          timestamptz NOT NULL,
    superseded_at        timestamptz NOT NULL DEFAULT 'infinity',
    recorded_by          text NOT NULL,
    PRIMARY KEY (serial, version)
);
CREATE UNIQUE INDEX sales_one_current ON sales (serial) WHERE superseded_at = 'infinity';
CREATE INDEX sales_of_customer ON sales (customer_id) WHERE superseded_at = 'infinity' AND customer_id IS NOT NULL;
COMMENT ON TABLE sales IS 'Registered sales and when they were known: insert-only but for superseded_at.';
COMMENT ON COLUMN sales.serial IS 'The unit sold.';
COMMENT ON COLUMN sales.version IS 'Counts the corrections, from 1.';
COMMENT ON COLUMN sales.dealer_id IS 'The dealer who sold it.';
COMMENT ON COLUMN sales.sold_on IS 'The day of the sale.';
COMMENT ON COLUMN sales.invoice_number IS 'Only a sale with an invoice gives the start (T12).';
COMMENT ON COLUMN sales.warranty_card_number IS 'The other voucher (M1).';
COMMENT ON COLUMN sales.region IS 'Where it was sold, ISO 3166-2 of today (S4); null counts as inside.';
COMMENT ON COLUMN sales.contract_number IS 'The contract it was sold under (S5).';
COMMENT ON COLUMN sales.customer_id IS 'Who bought it.';
COMMENT ON COLUMN sales.recorded_at IS 'When this was recorded.';
COMMENT ON COLUMN sales.superseded_at IS 'When a correction took its place; infinity for the current one.';
COMMENT ON COLUMN sales.recorded_by IS 'Who recorded it.';

-- What the coverage decision reads of a sale: without buyer, voucher numbers and dealer, so one query may serve many callers.
CREATE VIEW sale_facts AS
    SELECT serial, sold_on, invoice_number IS NOT NULL AS has_invoice, region, contract_number
    FROM sales WHERE superseded_at = 'infinity';
COMMENT ON VIEW sale_facts IS 'The current sale of a unit without its tenant.';

CREATE TABLE repairs (
    repair_id    uuid PRIMARY KEY,
    serial       text NOT NULL CONSTRAINT repairs_unit_known REFERENCES units,
    completed_on date NOT NULL,
    paid         boolean NOT NULL,
    fault_code   text CHECK (fault_code ~ '^[A-Z0-9_]{1,32}$'),
    claim_id     uuid CONSTRAINT repairs_once_for_a_claim UNIQUE,
    recorded_at  timestamptz NOT NULL,
    recorded_by  text NOT NULL
);
CREATE INDEX repairs_of_unit ON repairs (serial);
COMMENT ON TABLE repairs IS 'Completed repairs: each opens a window (T6, P2). Insert-only.';
COMMENT ON COLUMN repairs.repair_id IS 'Identifies the row.';
COMMENT ON COLUMN repairs.serial IS 'The unit repaired.';
COMMENT ON COLUMN repairs.completed_on IS 'The day the window opens.';
COMMENT ON COLUMN repairs.paid IS 'Charged (P2) or under warranty (T6).';
COMMENT ON COLUMN repairs.fault_code IS 'The fault repaired; P2 asks for the same.';
COMMENT ON COLUMN repairs.claim_id IS 'The claim it was made under; null for one from before the system.';
COMMENT ON COLUMN repairs.recorded_at IS 'When this was recorded.';
COMMENT ON COLUMN repairs.recorded_by IS 'Who recorded it.';

CREATE TABLE replacements (
    replaced_serial    text CONSTRAINT replacements_replaced_once PRIMARY KEY
                            CONSTRAINT replacements_replaced_known REFERENCES units,
    replacement_serial text NOT NULL CONSTRAINT replacements_given_once UNIQUE
                            CONSTRAINT replacements_replacement_known REFERENCES units,
    origin_serial      text NOT NULL,
    generation         integer NOT NULL CHECK (generation >= 1),
    replaced_on        date NOT NULL,
    claim_id           uuid CONSTRAINT replacements_once_for_a_claim UNIQUE,
    recorded_at        timestamptz NOT NULL,
    recorded_by        text NOT NULL,
    CONSTRAINT replacements_by_another CHECK (replaced_serial <> replacement_serial)
);
CREATE INDEX replacements_of_origin ON replacements (origin_serial);
COMMENT ON TABLE replacements IS 'Which unit took which one''s place (T5). A serial is replaced once and given once, and no lineage has a cycle (T4).';
COMMENT ON COLUMN replacements.replaced_serial IS 'The unit that is no longer covered.';
COMMENT ON COLUMN replacements.replacement_serial IS 'The unit that took its place.';
COMMENT ON COLUMN replacements.origin_serial IS 'The first unit of the lineage, whose dates all others inherit. Kept by the trigger.';
COMMENT ON COLUMN replacements.generation IS 'How many replacements lie between the origin and the replacement. Kept by the trigger.';
COMMENT ON COLUMN replacements.replaced_on IS 'The day it happened.';
COMMENT ON COLUMN replacements.claim_id IS 'The claim it happened under; null for one from before the system.';
COMMENT ON COLUMN replacements.recorded_at IS 'When this was recorded.';
COMMENT ON COLUMN replacements.recorded_by IS 'Who recorded it.';

-- Places a replacement in its lineage. One at a time: two steps of one lineage may share no unit, and together still make a cycle
-- or read an origin that the other is just moving. Replacements are rare.
CREATE FUNCTION place_replacement() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('lineage', 0));
    SELECT r.origin_serial, r.generation + 1 INTO NEW.origin_serial, NEW.generation
        FROM replacements r WHERE r.replacement_serial = NEW.replaced_serial;
    IF NOT FOUND THEN
        NEW.origin_serial := NEW.replaced_serial;
        NEW.generation := 1;
    END IF;
    IF NEW.origin_serial = NEW.replacement_serial THEN
        RAISE unique_violation USING CONSTRAINT = 'replacements_no_cycle', TABLE = 'replacements',
            MESSAGE = 'the replacement would make a cycle';
    END IF;
    -- History may be recorded late: what was given in the replacement's place moves into this lineage.
    UPDATE replacements SET origin_serial = NEW.origin_serial, generation = generation + NEW.generation
        WHERE origin_serial = NEW.replacement_serial;
    RETURN NEW;
END $$;
CREATE TRIGGER place_replacement BEFORE INSERT ON replacements FOR EACH ROW EXECUTE FUNCTION place_replacement();

CREATE TABLE request_log (
    caller         text NOT NULL,
    request_id     uuid NOT NULL,
    method         text NOT NULL,
    request_sha256 bytea NOT NULL CHECK (length(request_sha256) = 32),
    reply          bytea NOT NULL,
    recorded_at    timestamptz NOT NULL,
    CONSTRAINT request_log_once PRIMARY KEY (caller, request_id)
);
CREATE INDEX request_log_by_age ON request_log (recorded_at);
COMMENT ON TABLE request_log IS 'Writes by request_id, so that each is safe to send twice. Kept for 90 days at least.';
COMMENT ON COLUMN request_log.caller IS 'Who sent it: dealer/ID, customer/ID or staff/ID.';
COMMENT ON COLUMN request_log.request_id IS 'The caller''s UUID for it.';
COMMENT ON COLUMN request_log.method IS 'The gRPC path.';
COMMENT ON COLUMN request_log.request_sha256 IS 'Of the request without its request_id.';
COMMENT ON COLUMN request_log.reply IS 'The first reply, encoded.';
COMMENT ON COLUMN request_log.recorded_at IS 'When.';

-- What an earlier request of that id was, looked up only after any that is under way has ended: the lock is the transaction's.
-- Each statement of a volatile function sees what was committed before it, so the look-up sees what the lock waited for.
CREATE FUNCTION earlier_request(of_caller text, id uuid) RETURNS TABLE (method text, request_sha256 bytea, reply bytea)
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(of_caller || '/' || id, 0));
    RETURN QUERY SELECT r.method, r.request_sha256, r.reply FROM request_log r WHERE r.caller = of_caller AND r.request_id = id;
END $$;
