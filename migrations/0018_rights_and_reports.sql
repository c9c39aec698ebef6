-- Each process reads and changes what it needs and no more; and what reports, freight statements and lists of stock are found by.

-- ---- rights

-- A lock on the unit's row needs some right to UPDATE it: this column is there for nothing else. It is new, so no row is asked now.
ALTER TABLE units ADD COLUMN held boolean, ADD CONSTRAINT units_held_is_null CHECK (held IS NULL) NOT VALID;
COMMENT ON COLUMN units.held IS 'Always null: the right to update it is the right to lock the row, and changes nothing.';
REVOKE UPDATE (lot) ON units FROM warranty_coverage, warranty_claim, warranty_logistics;
GRANT UPDATE (held) ON units TO warranty_coverage, warranty_claim, warranty_logistics;

-- Sales have a tenant, and no row-level security: a sale is refused, a voucher compared, an import judged by sales of others. The
-- registry's process keeps them; the claim process reads what vouchers are held against, logistics the facts without a tenant.
REVOKE SELECT ON sales FROM warranty_claim, warranty_logistics;
GRANT SELECT (serial, dealer_id, customer_id, sold_on, invoice_number, warranty_card_number, superseded_at, cancelled) ON sales TO warranty_claim;
-- A policy's subquery runs under the caller's rights: this one asked every reader of people for a right to read sales.
ALTER POLICY people_of_caller ON people USING (caller_is_staff() OR customer_known_to(customer_id, caller()));
REVOKE SELECT ON contracts, product_versions FROM warranty_claim, warranty_logistics;
REVOKE SELECT ON faults FROM warranty_coverage, warranty_logistics;

-- A price or a rate that is set anew before its day is another row, the latest of which holds.
ALTER TABLE prices ADD COLUMN number integer NOT NULL DEFAULT 1 CHECK (number >= 1), DROP CONSTRAINT prices_pkey,
    ADD CONSTRAINT prices_one_for_a_number PRIMARY KEY (kind, product_type, code, valid_from, number);
ALTER TABLE vat_rates ADD COLUMN number integer NOT NULL DEFAULT 1 CHECK (number >= 1), DROP CONSTRAINT vat_rates_pkey,
    ADD CONSTRAINT vat_rates_one_for_a_number PRIMARY KEY (valid_from, number);
COMMENT ON TABLE prices IS 'What a paid repair costs (P1). In force on a day is the latest that has begun. Insert-only.';
COMMENT ON TABLE vat_rates IS 'The rate of VAT. In force on a day is the latest that has begun. Insert-only.';
COMMENT ON COLUMN prices.number IS 'Counts the rows of one key and first day, from 1: the latest holds.';
COMMENT ON COLUMN vat_rates.number IS 'Counts the rows of one first day, from 1: the latest holds.';
REVOKE UPDATE (amount_fen, set_at, set_by) ON prices FROM warranty_claim;
REVOKE UPDATE (basis_points, set_at, set_by) ON vat_rates FROM warranty_claim;
ALTER TABLE prices    ENABLE ROW LEVEL SECURITY;
ALTER TABLE prices    FORCE  ROW LEVEL SECURITY;
ALTER TABLE vat_rates ENABLE ROW LEVEL SECURITY;
ALTER TABLE vat_rates FORCE  ROW LEVEL SECURITY;
CREATE POLICY prices_of_everybody ON prices FOR SELECT USING (true);
CREATE POLICY vat_rates_of_everybody ON vat_rates FOR SELECT USING (true);
CREATE POLICY prices_set_by_staff ON prices FOR INSERT WITH CHECK (caller_is_staff() AND set_by = caller());
CREATE POLICY vat_rates_set_by_staff ON vat_rates FOR INSERT WITH CHECK (caller_is_staff() AND set_by = caller());

-- The worker sees every request's age, and forgets what is 90 days old; it lets go what was held until now.
DROP POLICY requests_of_worker ON request_log;
CREATE POLICY requests_seen_by_worker ON request_log FOR SELECT TO warranty_worker USING (true);
CREATE POLICY requests_forgotten_by_worker ON request_log FOR DELETE TO warranty_worker USING (recorded_at < now() - interval '90 days');
ALTER POLICY stock_released_by_worker ON stock_units USING (held_until <= now());

-- ---- what is found by what

-- Reports read inspections of a period: a few of many events, whose time alone would find them all.
CREATE INDEX claim_events_inspected ON claim_events (recorded_at) WHERE facts ->> 'type' = 'INSPECTED';
-- A statement's parcels of a period that have no cost yet.
CREATE INDEX shipments_of_dealer_by_time ON shipments (dealer_id, opened_at);
CREATE INDEX shipments_of_customer_by_time ON shipments (customer_id, opened_at);
-- Lists of stock are in the order of serials.
DROP INDEX stock_units_of_place;
CREATE INDEX stock_units_of_place ON stock_units (model, location, serial);
-- Asked once for a statement and not for each row, which the planner takes for few.
ALTER POLICY stock_of_staff ON stock_units USING ((SELECT caller_is_staff()));
CREATE INDEX stock_units_by_location ON stock_units (location, serial);
CREATE INDEX stock_units_by_model ON stock_units (model, serial);
CREATE INDEX stock_units_by_condition ON stock_units (condition, serial);
