//! Dealers: active or suspended.

use sqlx::{FromRow, PgConnection, PgExecutor};

use super::error::{Error, Result};
use crate::domain::{actor::Actor, refusal::Refusal};

/// A dealer.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Dealer {
    /// As in its tokens.
    pub dealer_id: String,
    /// The company's name.
    pub name: String,
    /// Whether it may apply.
    pub active: bool,
    /// Whether a charged repair may leave before it is paid.
    pub credit_terms: bool,
    /// How many swapped units it may owe at once.
    pub debt_limit: Option<i32>,
    /// Counts the changes.
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

/// Suspends a dealer, or makes it active again. `version` 0 is whatever is current.
pub async fn set_status(conn: &mut PgConnection, dealer_id: &str, active: bool, version: i64) -> Result<Dealer> {
    let changed = sqlx::query_as(
        "UPDATE dealers SET status = CASE WHEN $2 THEN 'ACTIVE' ELSE 'SUSPENDED' END, version = version + 1
          WHERE dealer_id = $1 AND ($3 = 0 OR version = $3)
         RETURNING dealer_id, name, status = 'ACTIVE' AS active, credit_terms, debt_limit, version",
    );
    let changed = changed.bind(dealer_id).bind(active).bind(version).fetch_optional(&mut *conn).await?;
    changed_at(conn, dealer_id, version, changed).await
}

/// Gives a dealer credit terms, or takes them. `version` 0 is whatever is current.
pub async fn set_credit_terms(conn: &mut PgConnection, dealer_id: &str, given: bool, version: i64) -> Result<Dealer> {
    let changed = sqlx::query_as(
        "UPDATE dealers SET credit_terms = $2, version = version + 1 WHERE dealer_id = $1 AND ($3 = 0 OR version = $3)
         RETURNING dealer_id, name, status = 'ACTIVE' AS active, credit_terms, debt_limit, version",
    );
    let changed = changed.bind(dealer_id).bind(given).bind(version).fetch_optional(&mut *conn).await?;
    changed_at(conn, dealer_id, version, changed).await
}

/// Limits how many swapped units a dealer may owe, or takes the limit away. `version` 0 is whatever is current.
pub async fn set_debt_limit(
    conn: &mut PgConnection,
    dealer_id: &str,
    limit: Option<i32>,
    version: i64,
) -> Result<Dealer> {
    let changed = sqlx::query_as(
        "UPDATE dealers SET debt_limit = $2, version = version + 1 WHERE dealer_id = $1 AND ($3 = 0 OR version = $3)
         RETURNING dealer_id, name, status = 'ACTIVE' AS active, credit_terms, debt_limit, version",
    );
    let changed = changed.bind(dealer_id).bind(limit).bind(version).fetch_optional(&mut *conn).await?;
    changed_at(conn, dealer_id, version, changed).await
}

async fn changed_at(conn: &mut PgConnection, dealer_id: &str, version: i64, changed: Option<Dealer>) -> Result<Dealer> {
    match changed {
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
