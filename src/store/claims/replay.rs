//! Recorded decisions with what they were made from, to be made again under another policy.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use crate::{
    domain::{
        clause::Clause,
        coverage::Remedy,
        facts::{Facts, Report},
    },
    store::error::Result,
};

/// A recorded decision, and what it was made from.
#[derive(Clone, Debug, FromRow)]
pub struct ToReplay {
    /// The claim.
    pub claim_id: Uuid,
    /// The event it was made with.
    pub sequence: i64,
    /// The unit.
    pub serial: String,
    /// What the registry knew.
    #[sqlx(json)]
    pub facts: Facts,
    /// What was told and found.
    #[sqlx(json)]
    pub report: Report,
    /// What it gave.
    #[sqlx(json)]
    pub remedy: Remedy,
    /// The clauses that decided.
    #[sqlx(json)]
    pub clauses: Vec<Clause>,
}

/// How many decisions were recorded, at a moment or later. Row-level security counts none of another tenant's.
pub async fn count_recorded(conn: &mut PgConnection, since: Option<DateTime<Utc>>) -> Result<i64> {
    let count = sqlx::query_scalar(
        "SELECT count(*) FROM claim_decisions d WHERE $1::timestamptz IS NULL OR $1 <=
            (SELECT e.recorded_at FROM claim_events e WHERE e.claim_id = d.claim_id AND e.sequence = d.sequence)",
    );
    Ok(count.bind(since).fetch_one(conn).await?)
}

/// At most `limit` of them after one that is named by its claim and its number. Subqueries and no joins: whatever the planner
/// thinks of the tables, a page is read along the key.
pub async fn recorded(
    conn: &mut PgConnection,
    since: Option<DateTime<Utc>>,
    after: (Uuid, i64),
    limit: i64,
) -> Result<Vec<ToReplay>> {
    let decisions = sqlx::query_as(
        "SELECT d.claim_id, d.sequence, (SELECT c.serial FROM claims c WHERE c.claim_id = d.claim_id) AS serial,
                d.facts, d.report, d.decision -> 'remedy' AS remedy, d.decision -> 'clauses' AS clauses
           FROM claim_decisions d
          WHERE (d.claim_id, d.sequence) > ($2, $3) AND ($1::timestamptz IS NULL OR $1 <=
                (SELECT e.recorded_at FROM claim_events e WHERE e.claim_id = d.claim_id AND e.sequence = d.sequence))
          ORDER BY d.claim_id, d.sequence LIMIT $4",
    );
    let decisions = decisions.bind(since).bind(after.0).bind(after.1).bind(limit);
    Ok(decisions.fetch_all(conn).await?)
}
