-- What the clock's work counts for those who watch the whole system: no tenant, no serial.

GRANT SELECT (claim_id, debtor, number, kind, due_on, recorded_at, debit_account, credit_account) ON ledger_entries TO warranty_worker;
CREATE POLICY ledger_counted ON ledger_entries FOR SELECT TO warranty_worker USING (true);

CREATE FUNCTION age_bucket(age interval) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN age < interval '1 day' THEN '1d' WHEN age < interval '7 days' THEN '7d' WHEN age < interval '30 days' THEN '30d'
                WHEN age < interval '90 days' THEN '90d' ELSE 'older' END $$;
COMMENT ON FUNCTION age_bucket(interval) IS 'Less than a day, 7, 30 or 90 days old, or older.';
