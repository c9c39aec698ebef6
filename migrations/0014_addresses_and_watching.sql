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
