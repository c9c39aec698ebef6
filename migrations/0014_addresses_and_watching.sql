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
