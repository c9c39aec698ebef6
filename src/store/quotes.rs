//! Quotes of claims (P1). Row-level security shows those of the claims that the caller sees.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, Row as _, postgres::PgRow, types::Json};
use uuid::Uuid;

use super::error::{Error, Result};
use crate::domain::{
    actor::Actor,
    money::Fen,
    quote::{Priced, QuoteState},
};

/// A quote as stored.
#[derive(Clone, Debug, FromRow)]
#[allow(missing_docs)] // Each other field is the column of the same name.
pub struct Quote {
    pub quote_id: Uuid,
    pub claim_id: Uuid,
    pub state: QuoteState,
    /// Lines, sums and tax.
    #[sqlx(flatten)]
    pub priced: Priced,
    pub issued_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    pub decided_at: Option<DateTime<Utc>>,
    pub decided_by: Option<String>,
    pub on_behalf_of: Option<Uuid>,
    pub token_fingerprint: Option<String>,
    pub reason: Option<String>,
}

/// What becomes of a quote; its name is that of the state.
#[derive(Clone, Debug, PartialEq, Eq, strum::Display)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum Verdict {
    /// Accepted on behalf of the claim's customer, under a token of this fingerprint.
    Accepted([u8; 16]),
    /// Declined, and why.
    Declined(Option<String>),
    /// Its time passed.
    Expired,
    /// A later one takes its place, or the decision was overridden.
    Superseded,
}

impl<'r> FromRow<'r, PgRow> for Priced {
    fn from_row(row: &'r PgRow) -> sqlx::Result<Self> {
        let Json(lines) = row.try_get("lines")?;
        let basis_points: i32 = row.try_get("vat_basis_points")?;
        let (subtotal, vat) = (Fen(row.try_get("subtotal_fen")?), Fen(row.try_get("vat_fen")?));
        Ok(Self { lines, subtotal, vat_basis_points: basis_points.unsigned_abs(), vat })
    }
}

/// Issues a quote. One that was issued before must be decided first: a claim has one live quote.
pub async fn issue(
    conn: &mut PgConnection,
    (claim_id, quote_id): (Uuid, Uuid),
    priced: &Priced,
    expires_at: DateTime<Utc>,
    actor: &Actor,
    now: DateTime<Utc>,
) -> Result<Quote> {
    let issued = sqlx::query_as(
        "INSERT INTO quotes (quote_id, claim_id, state, lines, subtotal_fen, vat_basis_points, vat_fen, total_fen, issued_at, issued_by,
             expires_at)
         VALUES ($1, $2, 'ISSUED', $3, $4, $5, $6, $7, $8, $9, $10) RETURNING *",
    )
    .bind(quote_id)
    .bind(claim_id)
    .bind(Json(&priced.lines))
    .bind(priced.subtotal.0)
    .bind(priced.vat_basis_points.cast_signed())
    .bind(priced.vat.0)
    .bind(priced.charge().total.0)
    .bind(now)
    .bind(actor.to_string())
    .bind(expires_at);
    Ok(issued.fetch_one(conn).await?)
}

/// Gives a claim's quote.
pub async fn get(conn: &mut PgConnection, claim_id: Uuid, quote_id: Uuid) -> Result<Quote> {
    let quote =
        sqlx::query_as("SELECT * FROM quotes WHERE claim_id = $1 AND quote_id = $2").bind(claim_id).bind(quote_id);
    quote.fetch_optional(conn).await?.ok_or_else(|| Error::not_found("quote", quote_id))
}

/// At most `limit` quotes of a claim before one of them, newest first. The claim must be the caller's (`claims::get`).
pub async fn list(conn: &mut PgConnection, claim_id: Uuid, before: Option<Uuid>, limit: i64) -> Result<Vec<Quote>> {
    let quotes = sqlx::query_as(
        "SELECT * FROM quotes WHERE claim_id = $1 AND ($2::uuid IS NULL OR quote_id < $2) ORDER BY quote_id DESC LIMIT $3",
    );
    Ok(quotes.bind(claim_id).bind(before).bind(limit).fetch_all(conn).await?)
}

/// Records what became of an issued quote. The claim must be held.
pub async fn decide(
    conn: &mut PgConnection,
    quote_id: Uuid,
    verdict: Verdict,
    actor: &Actor,
    now: DateTime<Utc>,
) -> Result<Quote> {
    let (fingerprint, reason) = match &verdict {
        Verdict::Accepted(token) => (Some(token.as_slice()), None),
        Verdict::Declined(reason) => (None, reason.as_deref()),
        Verdict::Expired | Verdict::Superseded => (None, None),
    };
    let decided = sqlx::query_as(
        "UPDATE quotes SET state = $2, decided_at = $3, decided_by = $4, token_fingerprint = encode($5, 'hex'), reason = $6,
             on_behalf_of = (SELECT c.customer_id FROM claims c WHERE c.claim_id = quotes.claim_id AND $5 IS NOT NULL)
          WHERE quote_id = $1 AND state = 'ISSUED' RETURNING *",
    )
    .bind(quote_id)
    .bind(verdict.to_string())
    .bind(now)
    .bind(actor.to_string())
    .bind(fingerprint)
    .bind(reason);
    decided.fetch_optional(conn).await?.ok_or_else(|| Error::broken("a claim's current quote is not issued"))
}

/// Gives an issued quote its whole time again.
pub async fn renew(conn: &mut PgConnection, quote_id: Uuid, expires_at: DateTime<Utc>) -> Result<()> {
    let renewed = sqlx::query("UPDATE quotes SET expires_at = $2 WHERE quote_id = $1 AND state = 'ISSUED'");
    renewed.bind(quote_id).bind(expires_at).execute(conn).await?;
    Ok(())
}
