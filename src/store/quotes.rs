//! Quotes of claims (P1). Row-level security shows those of the claims that the caller sees.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, types::Json};
use uuid::Uuid;

use super::error::{Error, Result};
use crate::domain::{
    actor::Actor,
    money::Fen,
    quote::{Line, Priced, QuoteState},
};

/// A quote as stored.
#[derive(Clone, Debug)]
pub struct Quote {
    /// A UUIDv7, so quotes sort by time.
    pub quote_id: Uuid,
    /// The claim.
    pub claim_id: Uuid,
    /// As recorded: its time may have passed.
    pub state: QuoteState,
    /// Lines, sums and tax.
    pub priced: Priced,
    /// When it was issued.
    pub issued_at: DateTime<Utc>,
    /// Its last moment.
    pub expires_at: DateTime<Utc>,
    /// When it was accepted, declined, superseded, or found expired.
    pub decided_at: Option<DateTime<Utc>>,
    /// Who did that.
    pub decided_by: Option<String>,
    /// The customer for whom it was accepted.
    pub on_behalf_of: Option<Uuid>,
    /// Under which token: 32 hexadecimal digits.
    pub token_fingerprint: Option<String>,
    /// Why it was declined.
    pub reason: Option<String>,
}

/// What becomes of a quote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Accepted for a customer, under a token of this fingerprint.
    Accepted(Uuid, [u8; 16]),
    /// Declined, and why.
    Declined(Option<String>),
    /// Its time passed.
    Expired,
    /// A later one takes its place, or the decision was overridden.
    Superseded,
}

#[derive(FromRow)]
struct Row {
    quote_id: Uuid,
    claim_id: Uuid,
    state: String,
    lines: Json<Vec<Line>>,
    subtotal_fen: i64,
    vat_basis_points: i32,
    vat_fen: i64,
    issued_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    decided_at: Option<DateTime<Utc>>,
    decided_by: Option<String>,
    on_behalf_of: Option<Uuid>,
    token_fingerprint: Option<String>,
    reason: Option<String>,
}

impl TryFrom<Row> for Quote {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        Ok(Self {
            quote_id: row.quote_id,
            claim_id: row.claim_id,
            state: row.state.parse().map_err(Error::broken)?,
            priced: Priced {
                lines: row.lines.0,
                subtotal: Fen(row.subtotal_fen),
                vat_basis_points: row.vat_basis_points.unsigned_abs(),
                vat: Fen(row.vat_fen),
            },
            issued_at: row.issued_at,
            expires_at: row.expires_at,
            decided_at: row.decided_at,
            decided_by: row.decided_by,
            on_behalf_of: row.on_behalf_of,
            token_fingerprint: row.token_fingerprint,
            reason: row.reason,
        })
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
    let row: Row = sqlx::query_as(
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
    .bind(expires_at)
    .fetch_one(conn)
    .await?;
    row.try_into()
}

/// Gives a claim's quote.
pub async fn get(conn: &mut PgConnection, claim_id: Uuid, quote_id: Uuid) -> Result<Quote> {
    let row: Option<Row> = sqlx::query_as("SELECT * FROM quotes WHERE claim_id = $1 AND quote_id = $2")
        .bind(claim_id)
        .bind(quote_id)
        .fetch_optional(conn)
        .await?;
    row.ok_or_else(|| Error::not_found("quote", quote_id))?.try_into()
}

/// At most `limit` quotes of a claim before one of them, newest first. The claim must be the caller's (`claims::get`).
pub async fn list(conn: &mut PgConnection, claim_id: Uuid, before: Option<Uuid>, limit: i64) -> Result<Vec<Quote>> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT * FROM quotes WHERE claim_id = $1 AND ($2::uuid IS NULL OR quote_id < $2) ORDER BY quote_id DESC LIMIT $3",
    )
    .bind(claim_id)
    .bind(before)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Quote::try_from).collect()
}

/// Records what became of an issued quote. The claim must be held.
pub async fn decide(
    conn: &mut PgConnection,
    quote_id: Uuid,
    verdict: Verdict,
    actor: &Actor,
    now: DateTime<Utc>,
) -> Result<Quote> {
    let state = match verdict {
        Verdict::Accepted(..) => QuoteState::Accepted,
        Verdict::Declined(_) => QuoteState::Declined,
        Verdict::Expired => QuoteState::Expired,
        Verdict::Superseded => QuoteState::Superseded,
    };
    let (on_behalf_of, fingerprint) = match verdict {
        Verdict::Accepted(customer, token) => (Some(customer), Some(token)),
        _ => (None, None),
    };
    let reason = if let Verdict::Declined(reason) = verdict { reason } else { None };
    let row: Option<Row> = sqlx::query_as(
        "UPDATE quotes SET state = $2, decided_at = $3, decided_by = $4, on_behalf_of = $5, token_fingerprint = encode($6, 'hex'),
             reason = $7
          WHERE quote_id = $1 AND state = 'ISSUED' RETURNING *",
    )
    .bind(quote_id)
    .bind(state.to_string())
    .bind(now)
    .bind(actor.to_string())
    .bind(on_behalf_of)
    .bind(fingerprint.map(Vec::from))
    .bind(reason)
    .fetch_optional(conn)
    .await?;
    row.ok_or_else(|| Error::broken("a claim's current quote is not issued"))?.try_into()
}

/// Gives an issued quote its whole time again.
pub async fn renew(conn: &mut PgConnection, quote_id: Uuid, expires_at: DateTime<Utc>) -> Result<()> {
    let renewed = sqlx::query("UPDATE quotes SET expires_at = $2 WHERE quote_id = $1 AND state = 'ISSUED'");
    renewed.bind(quote_id).bind(expires_at).execute(conn).await?;
    Ok(())
}
