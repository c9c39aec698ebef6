//! Dealers' own promises (S6). Row-level security shows them to the dealer who gave one, the unit's buyer and staff.

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use sqlx::{FromRow, PgConnection, types::Json};
use uuid::Uuid;

use super::error::Result;
use crate::domain::refusal::Refusal;

/// What a dealer promised for a unit, and owes.
#[derive(Clone, Debug, FromRow, Serialize)]
#[allow(missing_docs)] // Each field is the column of the same name.
pub struct Promise {
    pub promise_id: Uuid,
    pub serial: String,
    pub dealer_id: String,
    pub certificate_number: String,
    pub promise: String,
    pub until_on: Option<NaiveDate>,
    pub recorded_at: DateTime<Utc>,
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
    let record =
        sqlx::query("INSERT INTO dealer_promises SELECT * FROM jsonb_populate_record(NULL::dealer_promises, $1)");
    record.bind(Json(promise)).execute(conn).await?;
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
