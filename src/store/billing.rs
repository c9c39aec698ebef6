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
pub struct Entry {
    /// From 1, growing; a number may be left out.
    pub sequence: i64,
    /// What it counts.
    pub kind: Kind,
    /// The claim.
    pub claim_id: Uuid,
    /// Its unit.
    pub serial: String,
    /// The dealer who filed it.
    pub dealer_id: Option<String>,
    /// The customer it is for.
    pub customer_id: Uuid,
    /// The accepted quote.
    pub quote_id: Option<Uuid>,
    /// Fen, tax included.
    pub amount_fen: i64,
    /// The tax in it.
    pub vat_fen: i64,
    /// A payment's number.
    pub reference: Option<String>,
    /// When it was recorded.
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
