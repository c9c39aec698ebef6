//! Billing's feed: what to count, by number in the order of the commits (the schema says how).

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use strum::{Display, EnumIter, EnumString};
use uuid::Uuid;

use super::error::Result;
use crate::domain::claim::{Charge, Claim};

/// What an entry counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, EnumString, EnumIter)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum Kind {
    /// A repair was completed that is charged.
    Charge,
    /// It was paid.
    Payment,
    /// What goodwill costs the maker.
    Goodwill,
    /// The charge was taken back: what was repaired is lost, and given up.
    ChargeReversed,
}

/// An entry. It never changes.
#[derive(Clone, Debug, FromRow)]
#[allow(missing_docs)] // Each field is the column of the same name.
pub struct Entry {
    pub sequence: i64,
    pub kind: Kind,
    pub claim_id: Uuid,
    pub serial: String,
    pub dealer_id: Option<String>,
    pub customer_id: Uuid,
    pub quote_id: Option<Uuid>,
    pub amount_fen: i64,
    pub vat_fen: i64,
    pub reference: Option<String>,
    pub recorded_at: DateTime<Utc>,
}

/// Adds an entry for a claim. Whoever adds the next one waits until this transaction has ended: let it be its last work.
pub async fn add(
    conn: &mut PgConnection,
    claim: &Claim,
    kind: Kind,
    amount: Charge,
    reference: Option<&str>,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO billables (sequence, kind, claim_id, serial, dealer_id, customer_id, quote_id, amount_fen, vat_fen, reference,
             recorded_at)
         VALUES (next_billable_number(), $1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(kind)
    .bind(claim.id)
    .bind(claim.filing.serial.as_str())
    .bind(claim.filing.applicant.dealer_id())
    .bind(claim.filing.customer_id)
    .bind(claim.quote)
    .bind(amount.total.0)
    .bind(amount.vat.0)
    .bind(reference)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// At most `limit` entries after a number.
pub async fn list(conn: &mut PgConnection, after: i64, limit: i64) -> Result<Vec<Entry>> {
    let entries = sqlx::query_as("SELECT * FROM billables WHERE sequence > $1 ORDER BY sequence LIMIT $2");
    Ok(entries.bind(after).bind(limit).fetch_all(conn).await?)
}
