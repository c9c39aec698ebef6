//! Units out of a box that are not what was announced in it, until someone settles whose they are.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection, types::Json};
use uuid::Uuid;

use super::error::{Error, Result};
use crate::domain::{
    actor::Actor,
    claim::Seal,
    facts::Appearance,
    parcel::{Difference, Settlement},
};

/// A unit that is kept apart.
#[derive(Clone, Debug, FromRow, Serialize, Deserialize)]
pub struct SetAside {
    /// Identifies it.
    pub set_aside_id: Uuid,
    /// The parcel it came in.
    pub shipment_id: Uuid,
    /// On the unit, as it was read.
    pub serial: Option<String>,
    /// On its label, as it was read.
    pub return_number: Option<String>,
    /// What differs.
    pub difference: Difference,
    /// The claim that its return number was announced for.
    pub announced_claim_id: Option<Uuid>,
    /// How it looks.
    pub appearance: Option<Appearance>,
    /// How its seal came in.
    pub seal: Option<Seal>,
    /// What was not in the box.
    pub missing_parts: Option<String>,
    /// Damaged on the way.
    pub transport_damage: bool,
    /// When it came out of the box.
    pub found_at: DateTime<Utc>,
    /// Who unpacked it.
    pub found_by: String,
    /// How it was settled.
    pub settlement: Option<Settlement>,
    /// Whose unit it is after all.
    pub claim_id: Option<Uuid>,
    /// Why it was settled so.
    pub reason: Option<String>,
    /// When.
    pub settled_at: Option<DateTime<Utc>>,
    /// By whom.
    pub settled_by: Option<String>,
    /// Grows with each settlement.
    pub version: i64,
    /// The location that keeps it.
    pub depot: Option<String>,
}

/// Which to list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Also what is settled for good.
    pub settled: bool,
    /// That came in this parcel.
    pub shipment_id: Option<Uuid>,
    /// After this one.
    pub after: Option<Uuid>,
}

/// Which of these units are set aside already, each with its record.
pub async fn open(conn: &mut PgConnection, serials: &[&str]) -> Result<Vec<(String, Uuid)>> {
    let open = sqlx::query_as(
        "SELECT serial, set_aside_id FROM set_aside WHERE serial = ANY ($1) AND (settlement IS NULL OR settlement = 'KEPT')",
    );
    Ok(open.bind(serials).fetch_all(conn).await?)
}

/// Keeps units apart, none of which is already.
pub async fn add(conn: &mut PgConnection, found: &[SetAside]) -> Result<()> {
    let add = sqlx::query("INSERT INTO set_aside SELECT * FROM jsonb_populate_recordset(NULL::set_aside, $1)");
    add.bind(Json(found)).execute(conn).await?;
    Ok(())
}

/// Holds one to the end of the transaction.
pub async fn lock(conn: &mut PgConnection, id: Uuid) -> Result<SetAside> {
    let held = sqlx::query_as("SELECT * FROM set_aside WHERE set_aside_id = $1 FOR NO KEY UPDATE");
    held.bind(id).fetch_optional(conn).await?.ok_or_else(|| Error::not_found("set_aside", id))
}

/// At most `limit`, the oldest first: it waits longest.
pub async fn list(conn: &mut PgConnection, filter: &Filter, limit: i64) -> Result<Vec<SetAside>> {
    let listed = sqlx::query_as(
        "SELECT * FROM set_aside WHERE ($1 OR settlement IS NULL OR settlement = 'KEPT') AND ($2::uuid IS NULL OR shipment_id = $2)
            AND ($3::uuid IS NULL OR set_aside_id > $3) ORDER BY set_aside_id LIMIT $4",
    )
    // Planned anew each time, by what was really asked for.
    .persistent(false);
    let listed = listed.bind(filter.settled).bind(filter.shipment_id).bind(filter.after).bind(limit);
    Ok(listed.fetch_all(conn).await?)
}

/// Settles one, which is held: gives it as it stands then.
pub async fn settle(
    conn: &mut PgConnection,
    id: Uuid,
    how: Settlement,
    claim: Option<Uuid>,
    reason: &str,
    actor: &Actor,
    now: DateTime<Utc>,
) -> Result<SetAside> {
    let settle = sqlx::query_as(
        "UPDATE set_aside SET settlement = $2, claim_id = $3, reason = $4, settled_by = $5, settled_at = $6, version = version + 1
          WHERE set_aside_id = $1 RETURNING *",
    );
    let settle = settle.bind(id).bind(how).bind(claim).bind(reason).bind(actor.to_string()).bind(now);
    Ok(settle.fetch_one(conn).await?)
}
