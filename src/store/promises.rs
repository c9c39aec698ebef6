//! Dealers' own promises (S6). Row-level security shows them to the dealer who gave one, the unit's buyer and staff.

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::error::Result;
use crate::domain::refusal::Refusal;

/// What a dealer promised for a unit, and owes.
#[derive(Clone, Debug, FromRow)]
pub struct Promise {
    /// Identifies it.
    pub promise_id: Uuid,
    /// The unit.
    pub serial: String,
    /// Who promised.
    pub dealer_id: String,
    /// The dealer's certificate, once for a unit.
    pub certificate_number: String,
    /// In the dealer's words.
    pub promise: String,
    /// The last day it holds.
    pub until_on: Option<NaiveDate>,
    /// When it was recorded.
    pub recorded_at: DateTime<Utc>,
    /// Who recorded it.
    pub recorded_by: String,
}

/// Promises that one dealer may make for one unit: each stands in every answer about it.
const MOST: i64 = 20;

/// Records a promise. The unit must be held (`units::lock`).
pub async fn record(conn: &mut PgConnection, promise: &Promise) -> Result<()> {
    let made: i64 = sqlx::query_scalar("SELECT count(*) FROM dealer_promises WHERE serial = $1 AND dealer_id = $2")
        .bind(&promise.serial)
        .bind(&promise.dealer_id)
        .fetch_one(&mut *conn)
        .await?;
    if made >= MOST {
        return Err(Refusal::RegistryConflict(format!("a dealer makes at most {MOST} promises for a unit")).into());
    }
    sqlx::query(
        "INSERT INTO dealer_promises (promise_id, serial, dealer_id, certificate_number, promise, until_on, recorded_at, recorded_by)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(promise.promise_id)
    .bind(&promise.serial)
    .bind(&promise.dealer_id)
    .bind(&promise.certificate_number)
    .bind(&promise.promise)
    .bind(promise.until_on)
    .bind(promise.recorded_at)
    .bind(&promise.recorded_by)
    .execute(conn)
    .await?;
    Ok(())
}

/// The promises for these units that the transaction's caller may see, in the order they were recorded.
pub async fn of_units(conn: &mut PgConnection, serials: &[&str]) -> Result<Vec<Promise>> {
    let promises = sqlx::query_as(
        "SELECT promise_id, serial, dealer_id, certificate_number, promise, until_on, recorded_at, recorded_by
           FROM dealer_promises WHERE serial = ANY ($1) ORDER BY promise_id",
    );
    Ok(promises.bind(serials).fetch_all(conn).await?)
}
