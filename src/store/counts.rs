//! How many claims and debts there are, for those who watch the whole system: no tenant, no serial.

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::PgConnection;

use super::error::Result;

/// `claims`, `late`, `stuck`, `debts`, `debts_late` or `imbalance`; of which state, or owed by whom; at most how old (`1d`, `7d`,
/// `30d`, `90d`, or `older`; empty where age does not matter); how many.
pub type Count = (String, String, String, i64);

/// Counts open claims and debts, by one statement. Nothing where another session does: the first to ask does it until its
/// connection ends.
pub async fn read(conn: &mut PgConnection, now: DateTime<Utc>, today: NaiveDate) -> Result<Vec<Count>> {
    let counts = sqlx::query_as(
        "WITH counting AS MATERIALIZED (SELECT pg_try_advisory_lock(hashtextextended('warranty_counts', 0)) AS here),
              open AS (SELECT state, due_on, age_bucket($1 - entered_at) AS age FROM claims
                        WHERE state NOT IN ('RESOLVED', 'REJECTED', 'CLOSED', 'CANCELLED') AND (SELECT here FROM counting)),
              entries AS (SELECT claim_id, debtor, number, kind, due_on, recorded_at, debit_account, credit_account
                            FROM ledger_entries WHERE (SELECT here FROM counting)),
              debts AS (SELECT debtor, due_on, age_bucket($1 - recorded_at) AS age FROM entries o
                         WHERE kind = 'OPENED' AND NOT EXISTS (SELECT 1 FROM entries c WHERE c.claim_id = o.claim_id
                               AND c.debtor = o.debtor AND c.number = o.number + 1)),
              counted (what, of, age, number) AS (
                SELECT 'claims', state, age, count(*) FROM open GROUP BY state, age
                UNION ALL SELECT 'late', state, '', count(*) FROM open WHERE due_on < $2 GROUP BY state
                -- An open appeal keeps a quote waiting; support has it among what is late.
                UNION ALL SELECT 'stuck', '', '', count(*) FROM claims WHERE due_on < $2 - 1 AND (SELECT here FROM counting)
                      AND (state = 'AUTHORIZED' OR (state = 'QUOTED' AND (appeal_reason IS NULL OR appeal_outcome IS NOT NULL)))
                UNION ALL SELECT 'debts', debtor, age, count(*) FROM debts GROUP BY debtor, age
                UNION ALL SELECT 'debts_late', debtor, '', count(*) FROM debts WHERE due_on < $2 GROUP BY debtor
                -- What the accounts of all dealers owe is what is open, until somebody takes an entry away behind the system's back.
                UNION ALL SELECT 'imbalance', '', '', abs(
                      (SELECT coalesce(sum((debit_account <> 'maker')::int - (credit_account <> 'maker')::int), 0) FROM entries)
                    - (SELECT coalesce(sum(CASE debtor WHEN 'DEALER' THEN 1 ELSE -1 END), 0) FROM debts)))
         SELECT what, of, age, number FROM counted, counting WHERE here",
    );
    Ok(counts.bind(now).bind(today).fetch_all(conn).await?)
}
