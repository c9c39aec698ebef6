//! Repairs and replacements: what opens windows, and what hands them on (T5, T6, P2).

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::error::Result;
use crate::domain::{actor::Actor, serial::Serial};

/// A completed repair.
#[derive(Clone, Debug, FromRow)]
pub struct Repair {
    /// The unit.
    pub serial: String,
    /// The day the unit came in for it; none where it is not known.
    pub received_on: Option<NaiveDate>,
    /// The day it was completed.
    pub completed_on: NaiveDate,
    /// Charged (P2) or under warranty (T6).
    pub paid: bool,
    /// Neither: it opens no window.
    pub goodwill: bool,
    /// The fault repaired.
    pub fault_code: Option<String>,
    /// The claim it was made under.
    pub claim_id: Option<Uuid>,
}

/// One unit in another's place.
#[derive(Clone, Debug, FromRow)]
pub struct Replacement {
    /// The unit that was replaced.
    pub replaced_serial: String,
    /// The unit that took its place.
    pub replacement_serial: String,
    /// The day it did.
    pub replaced_on: NaiveDate,
    /// The claim it happened under.
    pub claim_id: Option<Uuid>,
}

/// Records a repair.
pub async fn record_repair(conn: &mut PgConnection, repair: &Repair, actor: &Actor, now: DateTime<Utc>) -> Result<()> {
    sqlx::query(
        "INSERT INTO repairs (repair_id, serial, received_on, completed_on, paid, goodwill, fault_code, claim_id, recorded_at, recorded_by)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(Uuid::now_v7())
    .bind(&repair.serial)
    .bind(repair.received_on)
    .bind(repair.completed_on)
    .bind(repair.paid)
    .bind(repair.goodwill)
    .bind(&repair.fault_code)
    .bind(repair.claim_id)
    .bind(now)
    .bind(actor.to_string())
    .execute(conn)
    .await?;
    Ok(())
}

/// Records a replacement; the database places it in its lineage, and refuses a second one and a cycle.
pub async fn record_replacement(
    conn: &mut PgConnection,
    replacement: &Replacement,
    actor: &Actor,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO replacements (replaced_serial, replacement_serial, replaced_on, claim_id, recorded_at, recorded_by)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(&replacement.replaced_serial)
    .bind(&replacement.replacement_serial)
    .bind(replacement.replaced_on)
    .bind(replacement.claim_id)
    .bind(now)
    .bind(actor.to_string())
    .execute(conn)
    .await?;
    Ok(())
}

/// The lineage that a unit belongs to, from the original on, before and after it.
pub async fn lineage(conn: &mut PgConnection, serial: &Serial) -> Result<Vec<Replacement>> {
    let lineage = sqlx::query_as(
        "SELECT replaced_serial, replacement_serial, replaced_on, claim_id FROM replacements
          WHERE origin_serial = coalesce((SELECT origin_serial FROM replacements WHERE replacement_serial = $1), $1)
          ORDER BY generation",
    );
    Ok(lineage.bind(serial.as_str()).fetch_all(conn).await?)
}

/// The repairs of these units, by date.
pub async fn repairs(conn: &mut PgConnection, serials: &[String]) -> Result<Vec<Repair>> {
    let repairs = sqlx::query_as(
        "SELECT serial, received_on, completed_on, paid, goodwill, fault_code, claim_id FROM repairs WHERE serial = ANY ($1) ORDER BY completed_on, repair_id",
    );
    Ok(repairs.bind(serials).fetch_all(conn).await?)
}
