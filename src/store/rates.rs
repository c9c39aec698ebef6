//! Counters of calls: each process writes what it let through, in batches, and learns what all did.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::error::Error;

/// Whose calls of what, in which window.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Counter {
    /// `dealer/D1001`.
    pub caller: String,
    /// The method, or `*`.
    pub method: String,
    /// When the window began.
    pub start: DateTime<Utc>,
    /// When it ends.
    pub end: DateTime<Utc>,
}

/// Adds calls to their counters in one statement, and tells what all processes together have let through.
pub async fn add(pool: &PgPool, calls: &[(Counter, u64)]) -> Result<Vec<(Counter, u64)>, Error> {
    // Two processes take the rows' locks in one order.
    let rows = sqlx::query_as::<_, (String, String, DateTime<Utc>, DateTime<Utc>, i64)>(
        "INSERT INTO rate_counters AS counters (caller, method, window_start, expires_at, calls)
         SELECT * FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::bigint[]) ORDER BY 1, 2, 3
         ON CONFLICT (caller, method, window_start) DO UPDATE SET calls = counters.calls + excluded.calls
         RETURNING caller, method, window_start, expires_at, calls",
    )
    .bind(calls.iter().map(|(counter, _)| counter.caller.as_str()).collect::<Vec<_>>())
    .bind(calls.iter().map(|(counter, _)| counter.method.as_str()).collect::<Vec<_>>())
    .bind(calls.iter().map(|(counter, _)| counter.start).collect::<Vec<_>>())
    .bind(calls.iter().map(|(counter, _)| counter.end).collect::<Vec<_>>())
    .bind(calls.iter().map(|(_, calls)| calls.cast_signed()).collect::<Vec<_>>())
    .fetch_all(pool)
    .await?;
    let told = |(caller, method, start, end, calls): (_, _, _, _, i64)| {
        (Counter { caller, method, start, end }, calls.cast_unsigned())
    };
    Ok(rows.into_iter().map(told).collect())
}

/// Deletes the counters of windows that were over at `now`.
pub async fn forget(pool: &PgPool, now: DateTime<Utc>) -> Result<(), Error> {
    sqlx::query("DELETE FROM rate_counters WHERE expires_at < $1").bind(now).execute(pool).await?;
    Ok(())
}
