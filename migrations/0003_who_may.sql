-- Grants for each process, and row-level security beneath the application's own checks.
--
-- The caller is set with the transaction that it holds for: SET LOCAL warranty.caller = 'dealer/ID' | 'customer/ID' | 'staff/ID'.
-- Unset sees nothing.

CREATE FUNCTION caller() RETURNS text LANGUAGE sql STABLE AS $$ SELECT coalesce(current_setting('warranty.caller', true), '') $$;
CREATE FUNCTION caller_is_staff() RETURNS boolean LANGUAGE sql STABLE AS $$ SELECT starts_with(caller(), 'staff/') $$;
COMMENT ON FUNCTION caller() IS 'Who this transaction is for; empty where nobody was set.';
COMMENT ON FUNCTION caller_is_staff() IS 'Whether this transaction is for the maker''s staff.';

ALTER TABLE claims          ENABLE ROW LEVEL SECURITY;
ALTER TABLE claims          FORCE  ROW LEVEL SECURITY;
ALTER TABLE claim_events    ENABLE ROW LEVEL SECURITY;
ALTER TABLE claim_events    FORCE  ROW LEVEL SECURITY;
ALTER TABLE claim_decisions ENABLE ROW LEVEL SECURITY;
ALTER TABLE claim_decisions FORCE  ROW LEVEL SECURITY;
ALTER TABLE shipments       ENABLE ROW LEVEL SECURITY;
ALTER TABLE shipments       FORCE  ROW LEVEL SECURITY;
ALTER TABLE shipment_items  ENABLE ROW LEVEL SECURITY;
ALTER TABLE shipment_items  FORCE  ROW LEVEL SECURITY;
ALTER TABLE people          ENABLE ROW LEVEL SECURITY;
ALTER TABLE people          FORCE  ROW LEVEL SECURITY;
ALTER TABLE request_log     ENABLE ROW LEVEL SECURITY;
ALTER TABLE request_log     FORCE  ROW LEVEL SECURITY;

CREATE POLICY claims_of_caller ON claims
    USING (caller_is_staff() OR caller() = 'dealer/' || dealer_id OR caller() = 'customer/' || customer_id);
-- What belongs to a claim is seen by whoever sees the claim: the subquery is under the claims' own policy.
CREATE POLICY events_of_caller ON claim_events FOR SELECT
    USING (EXISTS (SELECT 1 FROM claims c WHERE c.claim_id = claim_events.claim_id));
CREATE POLICY events_written ON claim_events FOR INSERT WITH CHECK (actor = caller());
CREATE POLICY decisions_of_caller ON claim_decisions FOR SELECT
    USING (EXISTS (SELECT 1 FROM claims c WHERE c.claim_id = claim_decisions.claim_id));
CREATE POLICY decisions_written ON claim_decisions FOR INSERT WITH CHECK (caller() <> '');
CREATE POLICY shipments_of_caller ON shipments
    USING (caller_is_staff() OR caller() = 'dealer/' || dealer_id OR caller() = 'customer/' || customer_id);
CREATE POLICY items_of_caller ON shipment_items
    USING (EXISTS (SELECT 1 FROM shipments s WHERE s.shipment_id = shipment_items.shipment_id));
-- A dealer knows the customers of its own sales and claims; a customer knows himself.
CREATE POLICY people_of_caller ON people FOR SELECT
    USING (caller_is_staff() OR caller() = 'customer/' || customer_id
        OR EXISTS (SELECT 1 FROM sales s WHERE s.customer_id = people.customer_id AND s.superseded_at = 'infinity'
                   AND caller() = 'dealer/' || s.dealer_id)
        OR EXISTS (SELECT 1 FROM claims c WHERE c.customer_id = people.customer_id AND caller() = 'dealer/' || c.dealer_id));
CREATE POLICY people_written ON people FOR INSERT WITH CHECK (caller() <> '');
CREATE POLICY requests_of_caller ON request_log USING (caller = caller());

GRANT SELECT ON policies, products, product_equivalents, dealers, units, contracts, contract_versions, customers, sales, sale_facts,
    repairs, replacements TO warranty_coverage, warranty_claim, warranty_logistics;
GRANT SELECT, INSERT ON request_log TO warranty_coverage, warranty_claim, warranty_logistics;
-- Names and addresses are read by RegistryService alone.
GRANT SELECT, INSERT ON people TO warranty_coverage;
GRANT INSERT ON people TO warranty_claim;
GRANT INSERT ON customers TO warranty_coverage, warranty_claim;

GRANT INSERT ON products, product_equivalents, dealers, units, contracts, contract_versions, sales, repairs, replacements TO warranty_coverage;
GRANT UPDATE (status, version) ON dealers TO warranty_coverage;
GRANT UPDATE (superseded_at) ON contract_versions, sales TO warranty_coverage;
-- A lock on the unit's row orders a sale, a swap and a replacement of the same unit; it needs some UPDATE right, and lot is the least of them.
GRANT UPDATE (lot) ON units TO warranty_coverage, warranty_claim, warranty_logistics;
-- The policy on people asks whether a dealer has a claim for the customer.
GRANT SELECT ON claims TO warranty_coverage;

GRANT USAGE ON SEQUENCE return_number_seed TO warranty_claim;
GRANT SELECT, INSERT, UPDATE ON claims TO warranty_claim;
GRANT SELECT, UPDATE ON claims TO warranty_logistics;
GRANT SELECT, INSERT ON claim_events, claim_decisions TO warranty_claim;
GRANT INSERT ON claim_events TO warranty_logistics;
GRANT SELECT, INSERT ON claim_decisions TO warranty_logistics;
GRANT INSERT ON repairs, replacements TO warranty_claim;
GRANT SELECT, INSERT ON shipments, shipment_items TO warranty_logistics;
GRANT UPDATE (arrived_at) ON shipment_items TO warranty_logistics;

-- Which migration is the latest: a process asks before it serves. The table of migrations itself is the owner's.
CREATE FUNCTION schema_version() RETURNS bigint LANGUAGE sql STABLE SECURITY DEFINER SET search_path FROM CURRENT
    AS $$ SELECT coalesce(max(version), 0) FROM _sqlx_migrations WHERE success $$;
COMMENT ON FUNCTION schema_version() IS 'The number of the latest migration.';

-- Three questions whose answer is a yes or no about rows that the asker may not see. They tell nothing else.
CREATE FUNCTION unit_has_open_claim(of_serial text) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER SET search_path FROM CURRENT
    AS $$ SELECT EXISTS (SELECT 1 FROM claims WHERE serial = of_serial
                         AND state NOT IN ('RESOLVED', 'REJECTED', 'CLOSED', 'CANCELLED')) $$;
CREATE FUNCTION unit_was_promised(of_serial text) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER SET search_path FROM CURRENT
    AS $$ SELECT EXISTS (SELECT 1 FROM claims WHERE swapped_for = of_serial
        OR (outcome_serial = of_serial AND NOT (outcome = 'REPLENISHMENT' AND state = 'CLOSED'))) $$;
CREATE FUNCTION customer_known_to(of_customer uuid, of_caller text) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path FROM CURRENT AS $$
    SELECT of_caller = 'customer/' || of_customer
        OR EXISTS (SELECT 1 FROM sales s WHERE s.customer_id = of_customer AND s.superseded_at = 'infinity' AND of_caller = 'dealer/' || s.dealer_id)
        OR EXISTS (SELECT 1 FROM claims c WHERE c.customer_id = of_customer AND of_caller = 'dealer/' || c.dealer_id) $$;
COMMENT ON FUNCTION unit_has_open_claim(text) IS 'Whether anyone has an open claim for the unit.';
COMMENT ON FUNCTION unit_was_promised(text) IS 'Whether the unit was given under a claim. What a dealer was given for its own stock is stock again.';
COMMENT ON FUNCTION customer_known_to(uuid, text) IS 'Whether a caller knows a customer by a sale or claim of his own.';
-- They run as the owner, whom FORCE ROW LEVEL SECURITY binds like anybody else: this lets the owner read, through these alone.
CREATE POLICY claims_for_questions ON claims FOR SELECT TO CURRENT_USER USING (true);
CREATE UNIQUE INDEX claims_given_once ON claims (outcome_serial)
    WHERE outcome_serial IS NOT NULL AND NOT (outcome = 'REPLENISHMENT' AND state = 'CLOSED');
CREATE UNIQUE INDEX claims_swapped_for_once ON claims (swapped_for) WHERE swapped_for IS NOT NULL;
