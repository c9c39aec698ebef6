-- The registry whole: when each fact was known, sales cancelled, dealers' promises, calendars, erased customers.

-- Policies and calendars. Rows of both never change, so that how many there are tells a process whether it has read them all.
ALTER TABLE policies ADD COLUMN published_at timestamptz, ADD COLUMN published_by text,
    ADD CONSTRAINT policies_published_by_someone CHECK ((published_at IS NULL) = (published_by IS NULL));
COMMENT ON COLUMN policies.published_at IS 'When it was published; null for the first, which came with the system.';
COMMENT ON COLUMN policies.published_by IS 'Who published it: staff/ID.';

CREATE TABLE calendar_years (
    year         integer PRIMARY KEY CHECK (year BETWEEN 1990 AND 2100),
    holidays     date[] NOT NULL,
    workdays     date[] NOT NULL,
    published_at timestamptz,
    published_by text,
    CONSTRAINT calendar_years_published_by_someone CHECK ((published_at IS NULL) = (published_by IS NULL))
);
COMMENT ON TABLE calendar_years IS 'Calendars, by which a policy may move a last day that falls on a day off. A row never changes.';
COMMENT ON COLUMN calendar_years.year IS 'The year.';
COMMENT ON COLUMN calendar_years.holidays IS 'Public holidays, weekend days among them.';
COMMENT ON COLUMN calendar_years.workdays IS 'Weekend days that are worked to make up for holidays.';
COMMENT ON COLUMN calendar_years.published_at IS 'When it was published; null for those that came with the system.';
COMMENT ON COLUMN calendar_years.published_by IS 'Who published it: staff/ID.';

-- The catalogue may change: what stood before is kept, for whoever asks what was known then.
CREATE TABLE product_versions (
    model             text NOT NULL REFERENCES products,
    superseded_at     timestamptz NOT NULL,
    discontinued      boolean NOT NULL,
    equivalent_models text[] NOT NULL,
    superseded_by     text NOT NULL,
    PRIMARY KEY (model, superseded_at)
);
COMMENT ON TABLE product_versions IS 'What a product was before a change. Insert-only; what it is stands in products.';
COMMENT ON COLUMN product_versions.model IS 'The model.';
COMMENT ON COLUMN product_versions.superseded_at IS 'When the change was recorded: until then this held.';
COMMENT ON COLUMN product_versions.discontinued IS 'As it was.';
COMMENT ON COLUMN product_versions.equivalent_models IS 'As they were, in order of preference.';
COMMENT ON COLUMN product_versions.superseded_by IS 'Who changed it.';

ALTER TABLE units ADD COLUMN recorded_at timestamptz NOT NULL DEFAULT '-infinity';
COMMENT ON COLUMN units.recorded_at IS 'When it was registered; -infinity for those from before this was kept.';
CREATE INDEX units_of_model ON units (model, ex_factory_on);
-- Hardly any unit is refurbished: those that are not need no entry.
ALTER TABLE units DROP CONSTRAINT units_refurbished_once;
CREATE UNIQUE INDEX units_refurbished_once ON units (refurbished_from) WHERE refurbished_from IS NOT NULL;

ALTER TABLE sales ADD COLUMN cancelled boolean NOT NULL DEFAULT false, ADD COLUMN reason text CHECK (length(reason) <= 500);
COMMENT ON COLUMN sales.cancelled IS 'Whether this version says that there is no sale any more.';
COMMENT ON COLUMN sales.reason IS 'Why it was corrected or cancelled. No personal data.';
CREATE OR REPLACE VIEW sale_facts AS
    SELECT serial, sold_on, invoice_number IS NOT NULL AS has_invoice, region, contract_number
    FROM sales WHERE superseded_at = 'infinity' AND NOT cancelled;

ALTER TABLE repairs ADD COLUMN received_on date,
    ADD CONSTRAINT repairs_received_before_completed CHECK (received_on <= completed_on);
COMMENT ON COLUMN repairs.received_on IS 'The day the unit came in for it; null where it is not known and counts as completed_on.';

CREATE TABLE dealer_promises (
    promise_id         uuid PRIMARY KEY,
    serial             text NOT NULL CONSTRAINT dealer_promises_unit_known REFERENCES units,
    dealer_id          text NOT NULL CONSTRAINT dealer_promises_dealer_known REFERENCES dealers,
    certificate_number text NOT NULL CHECK (length(certificate_number) BETWEEN 1 AND 64),
    promise            text NOT NULL CHECK (length(promise) BETWEEN 1 AND 500),
    until_on           date,
    recorded_at        timestamptz NOT NULL,
    recorded_by        text NOT NULL,
    CONSTRAINT dealer_promises_certificate_once UNIQUE (serial, dealer_id, certificate_number)
);
COMMENT ON TABLE dealer_promises IS 'What dealers promised beside the commitment (S6): theirs to keep. Insert-only.';
COMMENT ON COLUMN dealer_promises.promise_id IS 'Identifies the promise.';
COMMENT ON COLUMN dealer_promises.serial IS 'The unit.';
COMMENT ON COLUMN dealer_promises.dealer_id IS 'Who promised and owes it.';
COMMENT ON COLUMN dealer_promises.certificate_number IS 'The dealer''s certificate.';
COMMENT ON COLUMN dealer_promises.promise IS 'In the dealer''s words. No personal data.';
COMMENT ON COLUMN dealer_promises.until_on IS 'The last day it holds; null where none was named.';
COMMENT ON COLUMN dealer_promises.recorded_at IS 'When it was recorded.';
COMMENT ON COLUMN dealer_promises.recorded_by IS 'Who recorded it.';
ALTER TABLE dealer_promises ENABLE ROW LEVEL SECURITY;
ALTER TABLE dealer_promises FORCE  ROW LEVEL SECURITY;
CREATE POLICY promises_of_caller ON dealer_promises FOR SELECT
    USING (caller_is_staff() OR caller() = 'dealer/' || dealer_id
        -- Who bought the unit, or the one whose place it took (T5), from that dealer.
        OR EXISTS (SELECT 1 FROM sales s
                    WHERE s.serial = coalesce((SELECT r.origin_serial FROM replacements r WHERE r.replacement_serial = dealer_promises.serial),
                                              dealer_promises.serial)
                      AND s.superseded_at = 'infinity' AND NOT s.cancelled AND s.dealer_id = dealer_promises.dealer_id
                      AND caller() = 'customer/' || s.customer_id));
CREATE POLICY promises_written ON dealer_promises FOR INSERT WITH CHECK (recorded_by = caller());

-- Most units have neither repair nor replacement nor promise: the coverage query looks for them only where these say so, and reads
-- promises, which have a tenant, in the caller's name.
ALTER TABLE units ADD COLUMN has_history boolean NOT NULL DEFAULT false, ADD COLUMN has_promise boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN units.has_history IS 'Whether a repair or a replacement names it. Kept by triggers, in the transaction of what it tells of.';
COMMENT ON COLUMN units.has_promise IS 'Whether a dealer promised anything for it. Kept by a trigger.';
UPDATE units SET has_history = true WHERE serial IN (SELECT serial FROM repairs UNION SELECT replaced_serial FROM replacements
    UNION SELECT replacement_serial FROM replacements);
CREATE FUNCTION mark_repaired() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    UPDATE units SET has_history = true WHERE serial = NEW.serial AND NOT has_history;
    RETURN NULL;
END $$;
CREATE FUNCTION mark_replaced() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    UPDATE units SET has_history = true WHERE serial IN (NEW.replaced_serial, NEW.replacement_serial) AND NOT has_history;
    RETURN NULL;
END $$;
CREATE FUNCTION mark_promised() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    UPDATE units SET has_promise = true WHERE serial = NEW.serial AND NOT has_promise;
    RETURN NULL;
END $$;
CREATE TRIGGER mark_repaired AFTER INSERT ON repairs FOR EACH ROW EXECUTE FUNCTION mark_repaired();
CREATE TRIGGER mark_replaced AFTER INSERT ON replacements FOR EACH ROW EXECUTE FUNCTION mark_replaced();
CREATE TRIGGER mark_promised AFTER INSERT ON dealer_promises FOR EACH ROW EXECUTE FUNCTION mark_promised();

-- Which of these models have an unsold unit registered that was never repaired, given or replaced (T4), looked for among each model's
-- newest 100: one that is sold out for long is not searched to its first unit. Few rows by their keys: no hash of a whole table.
CREATE FUNCTION models_in_stock(models text[]) RETURNS SETOF text LANGUAGE plpgsql STABLE
    SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    RETURN QUERY SELECT asked.model FROM unnest(models) AS asked (model)
     WHERE EXISTS (SELECT 1 FROM (SELECT u.serial, u.sold_by_maker, u.has_history FROM units u WHERE u.model = asked.model
                                   ORDER BY u.ex_factory_on DESC LIMIT 100) newest
                    WHERE newest.sold_by_maker AND NOT newest.has_history
                      AND NOT EXISTS (SELECT 1 FROM sale_facts s WHERE s.serial = newest.serial));
END $$;
COMMENT ON FUNCTION models_in_stock(text[]) IS 'Which of these models have a good unit that nobody bought yet.';

-- A customer is erased by deleting the row of his personal data: the number stays with the facts.
ALTER TABLE customers ADD COLUMN erased_at timestamptz;
COMMENT ON COLUMN customers.erased_at IS 'When his personal data was erased.';
-- Statistics are samples of what was written, and would outlive it.
ALTER TABLE people ALTER COLUMN name SET STATISTICS 0, ALTER COLUMN telephone SET STATISTICS 0, ALTER COLUMN address SET STATISTICS 0;
CREATE POLICY people_erased ON people FOR DELETE USING (caller_is_staff());

-- A cancelled sale makes nobody known to anybody.
DROP POLICY people_of_caller ON people;
CREATE POLICY people_of_caller ON people FOR SELECT
    USING (caller_is_staff() OR caller() = 'customer/' || customer_id
        OR EXISTS (SELECT 1 FROM sales s WHERE s.customer_id = people.customer_id AND s.superseded_at = 'infinity' AND NOT s.cancelled
                   AND caller() = 'dealer/' || s.dealer_id)
        OR EXISTS (SELECT 1 FROM claims c WHERE c.customer_id = people.customer_id AND caller() = 'dealer/' || c.dealer_id));
CREATE OR REPLACE FUNCTION customer_known_to(of_customer uuid, of_caller text) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path FROM CURRENT AS $$
    SELECT of_caller = 'customer/' || of_customer
        OR EXISTS (SELECT 1 FROM sales s WHERE s.customer_id = of_customer AND s.superseded_at = 'infinity' AND NOT s.cancelled
                   AND of_caller = 'dealer/' || s.dealer_id)
        OR EXISTS (SELECT 1 FROM claims c WHERE c.customer_id = of_customer AND of_caller = 'dealer/' || c.dealer_id) $$;

GRANT SELECT ON calendar_years, product_versions TO warranty_coverage, warranty_claim, warranty_logistics;
GRANT INSERT ON policies, calendar_years, product_versions, dealer_promises TO warranty_coverage;
GRANT SELECT ON dealer_promises TO warranty_coverage;
GRANT UPDATE (discontinued) ON products TO warranty_coverage;
GRANT DELETE ON product_equivalents, people TO warranty_coverage;
GRANT UPDATE (erased_at) ON customers TO warranty_coverage;
-- SimulatePolicy reads recorded decisions, and when each was; the claims' own policy lets staff alone see all.
GRANT SELECT ON claim_decisions TO warranty_coverage;
GRANT SELECT (claim_id, sequence, recorded_at) ON claim_events TO warranty_coverage;
-- Said first, for staff reads them by the page: else each page would begin with a look at every claim.
ALTER POLICY events_of_caller ON claim_events
    USING (caller_is_staff() OR EXISTS (SELECT 1 FROM claims c WHERE c.claim_id = claim_events.claim_id));
ALTER POLICY decisions_of_caller ON claim_decisions
    USING (caller_is_staff() OR EXISTS (SELECT 1 FROM claims c WHERE c.claim_id = claim_decisions.claim_id));
