//! Freight entries: insert-only, by number in the order of the commits (the schema says how).

use chrono::{DateTime, Days, NaiveDate, Utc};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::{
    error::{Error, Result},
    shipments::Shipment,
};
use crate::domain::{
    actor::Actor,
    clause::Clause,
    coverage::Payer,
    freight::{Charge, EntryKind, Posting, Terms, divide},
    money::Fen,
    period::end_of_day,
};

/// An entry as it stands.
#[derive(Clone, Debug, FromRow)]
#[allow(missing_docs)] // Each field is the column of the same name.
pub struct Entry {
    pub sequence: i64,
    pub shipment_id: Uuid,
    pub claim_id: Uuid,
    pub serial: Option<String>,
    pub dealer_id: Option<String>,
    pub customer_id: Option<Uuid>,
    pub kind: EntryKind,
    pub payer: Payer,
    pub clause: Clause,
    pub terms: Terms,
    pub carrier: String,
    pub cost_fen: i64,
    pub reason: Option<String>,
    pub booked_on: NaiveDate,
    pub recorded_at: DateTime<Utc>,
}

/// What was charged less what was taken back.
#[derive(Clone, Debug, FromRow)]
pub struct Total {
    /// Who pays.
    pub payer: Payer,
    /// The clause that says so.
    pub clause: Clause,
    /// Where the carrier is paid.
    pub terms: Terms,
    /// How much.
    pub fen: i64,
    /// Over how many entries.
    pub entries: i64,
}

/// Whose freight, and from which day to which.
#[derive(Clone, Debug)]
pub struct Period {
    /// The dealer or customer.
    pub party: Actor,
    /// The first day.
    pub first: NaiveDate,
    /// The last.
    pub last: NaiveDate,
}

/// A claim in a parcel, with its last entry where it has one, and who carries the parcel now.
type Leg = (Uuid, Option<i32>, Option<i64>, Option<Terms>, Option<String>, String);

macro_rules! entries {
    ($where:literal) => {
        concat!(
            "SELECT e.sequence, e.shipment_id, e.claim_id, i.serial, s.dealer_id, s.customer_id, e.kind, i.payer, i.clause, e.terms, e.carrier,
                    e.cost_fen, e.reason, e.booked_on, e.recorded_at
               FROM freight_entries e JOIN shipment_items i USING (shipment_id, claim_id) JOIN shipments s USING (shipment_id)
              WHERE ",
            $where,
            " ORDER BY e.sequence LIMIT $2"
        )
    };
}

/// Charges a parcel, and gives what was written. Whoever charges any other waits until this transaction has ended.
pub async fn charge(
    conn: &mut PgConnection,
    shipment: &Shipment,
    (cost, terms): (Fen, Terms),
    reason: Option<&str>,
    (actor, now, today): (&Actor, DateTime<Utc>, NaiveDate),
) -> Result<Vec<Entry>> {
    let id = shipment.shipment_id;
    let (day,): (NaiveDate,) = sqlx::query_as("SELECT freight_day($1)").bind(today).fetch_one(&mut *conn).await?;
    // The last of a leg's entries is a charge: a reversal is written with the charge that follows it.
    let legs: Vec<Leg> = sqlx::query_as(
        "SELECT i.claim_id, e.number, e.cost_fen, e.terms, e.carrier, s.carrier FROM shipment_items i JOIN shipments s USING (shipment_id)
           LEFT JOIN LATERAL (SELECT * FROM freight_entries e WHERE e.shipment_id = i.shipment_id AND e.claim_id = i.claim_id
                               ORDER BY number DESC LIMIT 1) e ON true
          WHERE i.shipment_id = $1 ORDER BY i.claim_id",
    )
    .bind(id)
    .fetch_all(&mut *conn)
    .await?;
    let before: Vec<_> = legs
        .iter()
        .map(|(_, number, cost, terms, carrier, _)| {
            let charge = Charge { cost: Fen((*cost)?), terms: (*terms)?, carrier: carrier.clone()? };
            Some(((*number)?, charge))
        })
        .collect();
    if reason.is_none() && before.iter().any(Option::is_some) {
        return Err(Error::invalid("reason", "is required: this corrects what was recorded before"));
    }
    // Read under the lock: who carries it may have been corrected while others charged.
    let carrier = legs.first().map(|(.., carrier)| carrier.clone()).unwrap_or_default();
    let postings = divide(&Charge { cost, terms, carrier }, &before);
    if postings.is_empty() {
        return Err(Error::invalid("cost", "is what was recorded before: there is nothing to correct"));
    }
    let column = |of: fn(&Posting) -> String| postings.iter().map(of).collect::<Vec<_>>();
    let (last,): (i64,) = sqlx::query_as(
        "WITH written AS (
             INSERT INTO freight_entries (sequence, shipment_id, claim_id, number, kind, party, carrier, terms, cost_fen, reason, booked_on,
                 recorded_at, recorded_by)
             SELECT nextval('freight_number'), $2, n.claim_id, n.number, n.kind, $3, n.carrier, n.terms, n.cost_fen,
                    CASE WHEN n.number > 1 THEN $4 END, $1, $5, $6
               FROM unnest($7::uuid[], $8::int[], $9::text[], $10::text[], $11::text[], $12::bigint[])
                    AS n (claim_id, number, kind, carrier, terms, cost_fen)
             RETURNING sequence)
         SELECT min(sequence) - 1 FROM written",
    )
    .bind(day)
    .bind(id)
    .bind(shipment.party().to_string())
    .bind(reason)
    .bind(now)
    .bind(actor.to_string())
    .bind(postings.iter().map(|posting| legs[posting.leg].0).collect::<Vec<_>>())
    .bind(postings.iter().map(|posting| posting.number).collect::<Vec<_>>())
    .bind(column(|posting| posting.kind.to_string()))
    .bind(column(|posting| posting.charge.carrier.clone()))
    .bind(column(|posting| posting.charge.terms.to_string()))
    .bind(postings.iter().map(|posting| posting.charge.cost.0).collect::<Vec<_>>())
    .fetch_one(&mut *conn)
    .await?;
    // Nobody else has written since: the numbers after the one before them are these.
    list(conn, last, i64::try_from(postings.len()).unwrap_or(i64::MAX)).await
}

/// At most `limit` entries of all parcels after a number.
pub async fn list(conn: &mut PgConnection, after: i64, limit: i64) -> Result<Vec<Entry>> {
    let entries = sqlx::query_as(entries!("e.sequence > $1"));
    Ok(entries.bind(after).bind(limit).fetch_all(conn).await?)
}

/// At most `limit` entries of a statement after a number.
pub async fn lines(conn: &mut PgConnection, period: &Period, after: i64, limit: i64) -> Result<Vec<Entry>> {
    let entries = sqlx::query_as(entries!("e.sequence > $1 AND e.party = $3 AND e.booked_on BETWEEN $4 AND $5"));
    let entries = entries.bind(after).bind(limit).bind(period.party.to_string()).bind(period.first).bind(period.last);
    Ok(entries.fetch_all(conn).await?)
}

/// A statement's totals, and how many of the period's parcels had no cost at its end.
pub async fn totals(conn: &mut PgConnection, period: &Period) -> Result<(Vec<Total>, i64)> {
    let totals = sqlx::query_as(
        "SELECT i.payer, i.clause, e.terms, sum(CASE e.kind WHEN 'CHARGE' THEN e.cost_fen ELSE -e.cost_fen END)::bigint AS fen,
                count(*) AS entries
           FROM freight_entries e JOIN shipment_items i USING (shipment_id, claim_id)
          WHERE e.party = $1 AND e.booked_on BETWEEN $2 AND $3
          GROUP BY i.payer, i.clause, e.terms ORDER BY i.clause, i.payer, e.terms",
    );
    let totals = totals.bind(period.party.to_string()).bind(period.first).bind(period.last).fetch_all(&mut *conn);
    let totals = totals.await?;
    let (without_cost,): (i64,) = sqlx::query_as(
        "SELECT count(*) FROM shipments s
          WHERE (s.dealer_id = $1 OR s.customer_id = $2) AND s.opened_at > $3 AND s.opened_at <= $4
            AND NOT EXISTS (SELECT 1 FROM freight_entries e WHERE e.shipment_id = s.shipment_id AND e.booked_on <= $5)",
    )
    .bind(period.party.dealer_id())
    .bind(period.party.customer_id())
    .bind(end_of_day(period.first - Days::new(1)))
    .bind(end_of_day(period.last))
    .bind(period.last)
    .fetch_one(conn)
    .await?;
    Ok((totals, without_cost))
}
