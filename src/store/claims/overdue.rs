//! Claims whose day is over, for the worker: it has no tenant, and shares the work with others like it.

use chrono::NaiveDate;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{domain::claim::Claim, store::error::Result, telemetry};

/// At most `limit` claims that a quote or an authorization ended for before `today`, the longest over first, after one of them.
pub async fn list(
    conn: &mut PgConnection,
    today: NaiveDate,
    after: Option<(NaiveDate, Uuid)>,
    limit: i64,
) -> Result<Vec<(NaiveDate, Uuid)>> {
    let (day, id) = after.unwrap_or((NaiveDate::from_ymd_opt(1970, 1, 1).unwrap_or_default(), Uuid::nil()));
    let due = sqlx::query_as(
        "SELECT due_on, claim_id FROM claims
          WHERE due_on < $1 AND (due_on, claim_id) > ($2, $3) AND state IN ('QUOTED', 'AUTHORIZED') ORDER BY due_on, claim_id LIMIT $4",
    );
    Ok(due.bind(today).bind(day).bind(id).bind(limit).fetch_all(conn).await?)
}

/// Holds a claim to the end of the transaction; none where somebody else holds it. The span is linked with the one that wrote last.
pub async fn hold(conn: &mut PgConnection, id: Uuid) -> Result<Option<Claim>> {
    let held = sqlx::query_as("SELECT * FROM claims WHERE claim_id = $1 FOR NO KEY UPDATE SKIP LOCKED");
    let claim = held.bind(id).fetch_optional(&mut *conn).await?;
    let last = "SELECT traceparent FROM claim_events WHERE claim_id = $1 ORDER BY sequence DESC LIMIT 1";
    if let Some(span) = sqlx::query_scalar::<_, Option<String>>(last).bind(id).fetch_optional(conn).await?.flatten() {
        telemetry::goes_on_from(span);
    }
    Ok(claim)
}
