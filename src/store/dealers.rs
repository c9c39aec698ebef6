//! Dealers: active or suspended.

use sqlx::{FromRow, PgConnection, PgExecutor};

use super::error::{Error, Result};
use crate::domain::{actor::Actor, refusal::Refusal};

/// A dealer.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
#[allow(missing_docs)] // Each other field is the column of the same name.
pub struct Dealer {
    pub dealer_id: String,
    pub name: String,
    /// Whether it may apply.
    pub active: bool,
    pub credit_terms: bool,
    pub debt_limit: Option<i32>,
    pub version: i64,
}

/// Adds a dealer, active.
pub async fn create(conn: &mut PgConnection, dealer_id: &str, name: &str) -> Result<Dealer> {
    let dealer = sqlx::query_as(
        "INSERT INTO dealers (dealer_id, name, status, version) VALUES ($1, $2, 'ACTIVE', 1)
         RETURNING dealer_id, name, status = 'ACTIVE' AS active, credit_terms, debt_limit, version",
    );
    Ok(dealer.bind(dealer_id).bind(name).fetch_one(conn).await?)
}

/// Gives one dealer.
pub async fn get(db: impl PgExecutor<'_>, dealer_id: &str) -> Result<Dealer> {
    sqlx::query_as(
        "SELECT dealer_id, name, status = 'ACTIVE' AS active, credit_terms, debt_limit, version FROM dealers WHERE dealer_id = $1",
    )
    .bind(dealer_id)
    .fetch_optional(db)
    .await?
    .ok_or_else(|| Error::not_found("dealer", dealer_id))
}

/// Lists at most `limit` dealers after an id.
pub async fn list(db: impl PgExecutor<'_>, after: &str, limit: i64) -> Result<Vec<Dealer>> {
    let dealers = sqlx::query_as(
        "SELECT dealer_id, name, status = 'ACTIVE' AS active, credit_terms, debt_limit, version FROM dealers WHERE dealer_id > $1 ORDER BY dealer_id LIMIT $2",
    );
    Ok(dealers.bind(after).bind(limit).fetch_all(db).await?)
}

/// What is to be changed of a dealer: each where it is given, a debt limit of none to any number.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)] // As of a dealer.
pub struct Change {
    pub active: Option<bool>,
    pub credit_terms: Option<bool>,
    pub debt_limit: Option<Option<i32>>,
}

/// Changes a dealer. `version` 0 is whatever is current.
pub async fn change(conn: &mut PgConnection, dealer_id: &str, version: i64, change: Change) -> Result<Dealer> {
    let Change { active, credit_terms, debt_limit } = change;
    let changed = sqlx::query_as(
        "UPDATE dealers SET status = CASE $3::boolean WHEN true THEN 'ACTIVE' WHEN false THEN 'SUSPENDED' ELSE status END,
                credit_terms = coalesce($4, credit_terms), debt_limit = CASE WHEN $5 THEN $6 ELSE debt_limit END, version = version + 1
          WHERE dealer_id = $1 AND ($2 = 0 OR version = $2)
         RETURNING dealer_id, name, status = 'ACTIVE' AS active, credit_terms, debt_limit, version",
    );
    let changed = changed.bind(dealer_id).bind(version).bind(active).bind(credit_terms);
    match changed.bind(debt_limit.is_some()).bind(debt_limit.flatten()).fetch_optional(&mut *conn).await? {
        Some(dealer) => Ok(dealer),
        None => {
            let current = get(conn, dealer_id).await?.version;
            Err(Refusal::VersionMismatch { given: version, current }.into())
        }
    }
}

/// A dealer applies only while active; anyone else is not asked.
pub async fn must_be_active(conn: &mut PgConnection, actor: &Actor) -> Result<()> {
    let Some(dealer_id) = actor.dealer_id() else { return Ok(()) };
    let active: Option<(bool,)> = sqlx::query_as("SELECT status = 'ACTIVE' FROM dealers WHERE dealer_id = $1")
        .bind(dealer_id)
        .fetch_optional(conn)
        .await?;
    match active {
        Some((true,)) => Ok(()),
        _ => Err(Refusal::DealerNotActive.into()),
    }
}
