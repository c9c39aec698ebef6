//! Repairs and replacements: what opens windows, and what hands them on (T5, T6, P2).

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use sqlx::{FromRow, PgConnection, types::Json};
use uuid::Uuid;

use super::error::Result;
use crate::domain::{actor::Actor, serial::Serial};

/// A completed repair.
#[derive(Clone, Debug, FromRow, Serialize)]
#[allow(missing_docs)] // Each field is the column of the same name.
pub struct Repair {
    pub serial: String,
    pub received_on: Option<NaiveDate>,
    pub completed_on: NaiveDate,
    pub paid: bool,
    pub goodwill: bool,
    pub fault_code: Option<String>,
    pub claim_id: Option<Uuid>,
}

/// One unit in another's place.
#[derive(Clone, Debug, FromRow)]
#[allow(missing_docs)] // Each field is the column of the same name.
pub struct Replacement {
    pub replaced_serial: String,
    pub replacement_serial: String,
    pub replaced_on: NaiveDate,
    pub claim_id: Option<Uuid>,
}

/// Records a repair.
pub async fn record_repair(conn: &mut PgConnection, repair: &Repair, actor: &Actor, now: DateTime<Utc>) -> Result<()> {
    sqlx::query(
        "INSERT INTO repairs (repair_id, serial, received_on, completed_on, paid, goodwill, fault_code, claim_id, recorded_at, recorded_by)
         SELECT $2, serial, received_on, completed_on, paid, goodwill, fault_code, claim_id, $3, $4 FROM jsonb_populate_record(NULL::repairs, $1)",
    )
    .bind(Json(repair))
    .bind(Uuid::now_v7())
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
