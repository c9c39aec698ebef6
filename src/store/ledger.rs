//! The dealer's ledger: insert-only, double entry. The claim whose debt is written is held, so that its entries come one by one.

use chrono::{DateTime, Days, NaiveDate, Utc};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::error::{Error, Result};
use crate::domain::{
    actor::Actor,
    claim::Claim,
    coverage::Remedy,
    event::Event,
    ledger::{Closing, Debtor, Owed, Posting, postings},
    period::civil_date,
    refusal::Refusal,
};

/// A debt, from the entry that opened it and the one that closed it.
#[derive(Clone, Debug, FromRow)]
pub struct Debt {
    /// The claim with the swap.
    pub claim_id: Uuid,
    /// Who owes.
    pub debtor: Debtor,
    /// The number of the entry that opened it.
    pub number: i32,
    /// The dealer.
    pub dealer_id: String,
    /// What is owed.
    pub owed: Owed,
    /// The unit, where it is a certain one.
    pub serial: Option<String>,
    /// By which decision or goodwill the maker owes it.
    pub remedy: Option<Remedy>,
    /// The last day in time.
    pub due_on: NaiveDate,
    /// When it began.
    pub opened_at: DateTime<Utc>,
    /// How it was closed.
    pub closing: Option<Closing>,
    /// When.
    pub closed_at: Option<DateTime<Utc>>,
    /// The unit that closed it.
    pub closed_by: Option<String>,
    /// Why staff closed it.
    pub reason: Option<String>,
}

/// Debts as an entry that opens one and the entry that closes it.
macro_rules! debts {
    ($where:literal) => {
        concat!(
            "SELECT o.claim_id, o.debtor, o.number, o.dealer_id, o.owed, o.serial, o.remedy, o.due_on, o.recorded_at AS opened_at,
                    c.kind AS closing, c.recorded_at AS closed_at, c.serial AS closed_by, c.reason
               FROM ledger_entries o
               LEFT JOIN ledger_entries c ON c.claim_id = o.claim_id AND c.debtor = o.debtor AND c.number = o.number + 1
              WHERE o.kind = 'OPENED' AND ",
            $where
        )
    };
}

/// Writes what an event means for the ledger; `claim` is the claim after it. Part of `claims::advance`.
pub async fn post(
    conn: &mut PgConnection,
    claim: &Claim,
    event: &Event,
    actor: &Actor,
    now: DateTime<Utc>,
) -> Result<()> {
    for posting in postings(claim, event) {
        match posting {
            Posting::Opened(debtor, owed, serial, remedy) => {
                if debtor == Debtor::Dealer {
                    has_room(&mut *conn, claim.filing.applicant.dealer_id()).await?;
                }
                let due_on = civil_date(now) + Days::new(claim.filing.targets.authorization_days.into());
                sqlx::query(
                    "INSERT INTO ledger_entries (claim_id, debtor, number, dealer_id, kind, owed, serial, remedy, due_on, recorded_at, recorded_by)
                     SELECT $1, $2, 1 + count(*), $3, 'OPENED', $4, $5, $6, $7, $8, $9 FROM ledger_entries WHERE claim_id = $1 AND debtor = $2",
                )
                .bind(claim.id)
                .bind(debtor)
                .bind(claim.filing.applicant.dealer_id())
                .bind(owed)
                .bind(serial.map(String::from))
                .bind(remedy)
                .bind(due_on)
                .bind(now)
                .bind(actor.to_string())
                .execute(&mut *conn)
                .await?;
            }
            Posting::Closed(debtor, closing, serial, reason) => {
                let (serial, reason) = (serial.map(String::from), reason.as_deref());
                // It may be closed: what was written off may arrive all the same, and what was lost on its way goes out again.
                close(&mut *conn, claim.id, debtor, closing, serial, reason, actor, now).await?;
            }
        }
    }
    Ok(())
}

/// Refuses where a dealer owes as many units as it may.
async fn has_room(conn: &mut PgConnection, dealer_id: Option<&str>) -> Result<()> {
    let limited: Option<(i32, i64)> = sqlx::query_as(
        "SELECT debt_limit, units_owed_by(dealer_id) FROM dealers WHERE dealer_id = $1 AND debt_limit IS NOT NULL",
    )
    .bind(dealer_id)
    .fetch_optional(conn)
    .await?;
    match limited {
        Some((limit, owed)) if owed >= limit.into() => Err(Refusal::LedgerLimit { limit }.into()),
        _ => Ok(()),
    }
}

/// Closes a debt, and says whether it was open.
#[allow(clippy::too_many_arguments)] // Each is a column.
pub async fn close(
    conn: &mut PgConnection,
    claim: Uuid,
    debtor: Debtor,
    closing: Closing,
    serial: Option<String>,
    reason: Option<&str>,
    actor: &Actor,
    now: DateTime<Utc>,
) -> Result<bool> {
    let closed = sqlx::query(
        "INSERT INTO ledger_entries (claim_id, debtor, number, dealer_id, kind, owed, serial, reason, recorded_at, recorded_by)
         SELECT claim_id, debtor, number + 1, dealer_id, $3, owed, $4, $5, $6, $7
           FROM (SELECT * FROM ledger_entries WHERE claim_id = $1 AND debtor = $2 ORDER BY number DESC LIMIT 1) latest
          WHERE kind = 'OPENED'",
    );
    let closed = closed.bind(claim).bind(debtor).bind(closing).bind(serial).bind(reason);
    Ok(closed.bind(now).bind(actor.to_string()).execute(conn).await?.rows_affected() == 1)
}

/// Gives a claim's latest debt.
pub async fn get(conn: &mut PgConnection, claim: Uuid, debtor: Debtor) -> Result<Debt> {
    let debt = sqlx::query_as(debts!("o.claim_id = $1 AND o.debtor = $2 ORDER BY o.number DESC LIMIT 1"));
    let debt = debt.bind(claim).bind(debtor).fetch_optional(conn).await?;
    debt.ok_or_else(|| Error::not_found("debt", claim))
}

/// Lists at most `limit` debts of a dealer after one of them, open ones alone unless `closed_too`.
pub async fn list(
    conn: &mut PgConnection,
    dealer_id: &str,
    closed_too: bool,
    after: (Uuid, String, i32),
    limit: i64,
) -> Result<Vec<Debt>> {
    let debts = sqlx::query_as(debts!(
        "o.dealer_id = $1 AND ($2 OR c.claim_id IS NULL) AND (o.claim_id, o.debtor, o.number) > ($3, $4, $5)
         ORDER BY o.claim_id, o.debtor, o.number LIMIT $6"
    ));
    let debts = debts.bind(dealer_id).bind(closed_too).bind(after.0).bind(after.1).bind(after.2).bind(limit);
    Ok(debts.fetch_all(conn).await?)
}

/// How many units a dealer owes, and how many it is owed.
pub async fn totals(conn: &mut PgConnection, dealer_id: &str) -> Result<(i64, i64)> {
    let totals = sqlx::query_as(
        "SELECT coalesce(sum(CASE kind WHEN 'OPENED' THEN 1 ELSE -1 END) FILTER (WHERE debtor = 'DEALER'), 0)::bigint,
                coalesce(sum(CASE kind WHEN 'OPENED' THEN 1 ELSE -1 END) FILTER (WHERE debtor = 'MAKER'), 0)::bigint
           FROM ledger_entries WHERE dealer_id = $1",
    );
    Ok(totals.bind(dealer_id).fetch_one(conn).await?)
}
