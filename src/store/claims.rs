//! Claims, their events and decisions. A row is always the fold of its events: `advance` is the only way to change one.

mod columns;
pub mod overdue;
mod row;

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::{FromRow, PgConnection, Postgres, postgres::PgArguments, query::Query, types::Json};
use uuid::Uuid;

use super::{
    error::{Error, Result},
    people::Person,
};
use crate::domain::{
    actor::Actor,
    claim::{Claim, StateName},
    clause::Clause,
    coverage::{Decision, Remedy},
    event::{Event, Ruling, Stage},
    facts::{Facts, Report},
    return_number::ReturnNumber,
    serial::Serial,
};
pub use columns::columns;
use row::Row;

/// An event with the decision that it was made with: the one place where events are written. The transaction holds the claim's row,
/// or the unit's where the claim is new: it has its xid before it draws a number, on which `store::watch` rests.
macro_rules! insert_event {
    () => {
        "event AS (
             INSERT INTO claim_events (claim_id, sequence, feed, facts, state, recorded_at, actor, hash)
             SELECT $1, $2, feed, $3, $4, $5, $6, claim_event_hash(
                        CASE WHEN $2 = 1 THEN '' ELSE (SELECT hash FROM claim_events WHERE claim_id = $1 AND sequence = $2 - 1) END,
                        $1, $2, feed, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
               FROM nextval('claim_event_feed') AS drawn (feed))
         INSERT INTO claim_decisions (claim_id, sequence, stage, remedy, policy_version, facts, report, decision)
         SELECT $1, $2, $7, $8, $9, $10, $11, $12 WHERE $7 IS NOT NULL"
    };
}

/// A decision with all that it read, so that it can be made again exactly.
#[derive(Clone, Debug, FromRow)]
pub struct Decided {
    /// What the registry knew.
    #[sqlx(json)]
    pub facts: Facts,
    /// What was told and found.
    #[sqlx(json)]
    pub report: Report,
    /// The decision.
    #[sqlx(json)]
    pub decision: Decision,
}

/// A decision as stored with a claim.
#[derive(Clone, Debug, FromRow)]
pub struct StoredDecision {
    /// The claim.
    pub claim_id: Uuid,
    /// The event it was made with.
    pub sequence: i64,
    /// Provisional or final.
    pub stage: Stage,
    /// The decision with what it read.
    #[sqlx(flatten)]
    pub decided: Decided,
}

/// An event as stored.
#[derive(Clone, Debug, FromRow)]
pub struct StoredEvent {
    /// From 1, without gaps.
    pub sequence: i64,
    /// What happened.
    #[sqlx(json, rename = "facts")]
    pub event: Event,
    /// The state it led to.
    pub state: StateName,
    /// When it was recorded.
    pub recorded_at: DateTime<Utc>,
    /// Who did it.
    pub actor: String,
}

/// Files a claim, in one statement: its row, its first event and its provisional decision; before it the customer's number
/// where he files himself (M2), and what is known of a new one.
pub async fn file(
    conn: &mut PgConnection,
    claim: &Claim,
    decided: &Decided,
    person: Option<&Person>,
    actor: &Actor,
    now: DateTime<Utc>,
) -> Result<()> {
    let event =
        Event::Filed { filing: claim.filing.clone(), ruling: Ruling::of(Stage::Provisional, &decided.decision) };
    let filing = sqlx::query(concat!(
        "WITH customer AS (INSERT INTO customers (customer_id, created_by) SELECT $15, $6 WHERE $33 ON CONFLICT (customer_id) DO NOTHING),
              person AS (INSERT INTO people (customer_id, name, telephone, address) SELECT $15, $34, $35, $36 WHERE $34 IS NOT NULL),
              claim AS (",
        row::insert_claim!(),
        "), ",
        insert_event!()
    ));
    row::bind(bind_event(filing, claim, &event, Some(decided), actor, now), claim)
        .bind(person.is_some() || actor.customer_id().is_some())
        .bind(person.and_then(|person| person.name.as_ref()))
        .bind(person.and_then(|person| person.telephone.as_ref()))
        .bind(person.and_then(|person| person.address.as_ref()))
        .execute(conn)
        .await?;
    Ok(())
}

/// Takes a claim further: appends the events with the decision that they were made with, and writes the fold.
/// The claim must be held (`lock`).
pub async fn advance(
    conn: &mut PgConnection,
    claim: Claim,
    events: Vec<Event>,
    decided: Option<&Decided>,
    actor: &Actor,
    now: DateTime<Utc>,
) -> Result<Claim> {
    let mut claim = claim;
    for event in events {
        claim = claim.after(event.clone(), now);
        let decided = event.ruling().and(decided);
        append(&mut *conn, &claim, &event, decided, actor, now).await?;
    }
    row::update(conn, &claim).await?;
    Ok(claim)
}

async fn append(
    conn: &mut PgConnection,
    claim: &Claim,
    event: &Event,
    decided: Option<&Decided>,
    actor: &Actor,
    now: DateTime<Utc>,
) -> Result<()> {
    let append = sqlx::query(concat!("WITH ", insert_event!()));
    bind_event(append, claim, event, decided, actor, now).execute(conn).await?;
    Ok(())
}

/// Binds an event with its decision, the first twelve values of a statement.
fn bind_event<'q>(
    query: Query<'q, Postgres, PgArguments>,
    claim: &Claim,
    event: &Event,
    decided: Option<&Decided>,
    actor: &Actor,
    now: DateTime<Utc>,
) -> Query<'q, Postgres, PgArguments> {
    query
        .bind(claim.id)
        .bind(claim.version)
        .bind(Json(event))
        .bind(claim.state_name())
        .bind(now)
        .bind(actor.to_string())
        .bind(event.ruling().map(|ruling| ruling.stage))
        .bind(decided.map(|decided| decided.decision.remedy))
        .bind(decided.map(|decided| decided.decision.policy_version.clone()))
        .bind(decided.map(|decided| Json(&decided.facts)))
        .bind(decided.map(|decided| Json(&decided.report)))
        .bind(decided.map(|decided| Json(&decided.decision)))
}

/// Gives a claim of the caller's.
pub async fn get(conn: &mut PgConnection, actor: &Actor, id: Uuid) -> Result<Claim> {
    Ok(row::by_ids(conn, actor, &[id], false).await?.pop().ok_or_else(|| Error::not_found("claim", id))?.1)
}

/// When the claim's unit was received at the depot.
pub async fn received_at(conn: &mut PgConnection, id: Uuid) -> Result<Option<DateTime<Utc>>> {
    let received = sqlx::query_scalar(
        "SELECT recorded_at FROM claim_events WHERE claim_id = $1 AND facts->>'type' = 'RECEIVED' ORDER BY sequence DESC LIMIT 1",
    );
    Ok(received.bind(id).fetch_optional(conn).await?)
}

/// Gives a claim of the caller's and holds it to the end of the transaction.
pub async fn lock(conn: &mut PgConnection, actor: &Actor, id: Uuid) -> Result<Claim> {
    Ok(lock_all(conn, actor, &[id]).await?.remove(0))
}

/// Gives claims of the caller's, in the order asked for, and holds them.
pub async fn lock_all(conn: &mut PgConnection, actor: &Actor, ids: &[Uuid]) -> Result<Vec<Claim>> {
    let found = row::by_ids(conn, actor, ids, true).await?;
    ids.iter()
        .map(|id| {
            let claim = found.iter().find(|(found, _)| found == id).map(|(_, claim)| claim.clone());
            claim.ok_or_else(|| Error::not_found("claim", id))
        })
        .collect()
}

/// Which claims to list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// In one of these states; all where empty.
    pub states: Vec<StateName>,
    /// For this unit.
    pub serial: Option<Serial>,
    /// Filed by this dealer.
    pub dealer_id: Option<String>,
    /// Filed at this moment or before.
    pub filed_until: Option<DateTime<Utc>>,
    /// Whose last day in time is before this one.
    pub due_before: Option<NaiveDate>,
    /// Older than this claim.
    pub before: Option<Uuid>,
}

/// Lists at most `limit` claims of the caller's, newest first.
pub async fn list(conn: &mut PgConnection, actor: &Actor, filter: &Filter, limit: i64) -> Result<Vec<Claim>> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT * FROM claims
          WHERE ($1::text IS NULL OR dealer_id = $1) AND ($2::uuid IS NULL OR customer_id = $2)
            AND (cardinality($3::text[]) = 0 OR state = ANY ($3)) AND ($4::text IS NULL OR serial = $4)
            AND ($5::text IS NULL OR dealer_id = $5) AND ($6::uuid IS NULL OR claim_id < $6)
            AND ($7::timestamptz IS NULL OR filed_at <= $7) AND ($8::date IS NULL OR due_on < $8)
          ORDER BY claim_id DESC LIMIT $9",
    )
    // Planned anew each time, by what was really asked for: what is late is found by its index.
    .persistent(false)
    .bind(actor.dealer_id())
    .bind(actor.customer_id())
    .bind(&filter.states)
    .bind(&filter.serial)
    .bind(&filter.dealer_id)
    .bind(filter.before)
    .bind(filter.filed_until)
    .bind(filter.due_before)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Claim::try_from).collect()
}

/// Every decision of these claims, in order. Row-level security shows none of another tenant's.
pub async fn decisions(conn: &mut PgConnection, claims: &[Uuid]) -> Result<Vec<StoredDecision>> {
    let decisions = sqlx::query_as(
        "SELECT claim_id, sequence, stage, facts, report, decision FROM claim_decisions WHERE claim_id = ANY ($1) ORDER BY claim_id, sequence",
    );
    Ok(decisions.bind(claims).fetch_all(conn).await?)
}

/// A recorded decision, and what it was made from.
#[derive(Clone, Debug, FromRow)]
pub struct ToReplay {
    /// The claim.
    pub claim_id: Uuid,
    /// The event it was made with.
    pub sequence: i64,
    /// The unit.
    pub serial: String,
    /// What the registry knew.
    #[sqlx(json)]
    pub facts: Facts,
    /// What was told and found.
    #[sqlx(json)]
    pub report: Report,
    /// What it gave.
    #[sqlx(json)]
    pub remedy: Remedy,
    /// The clauses that decided.
    #[sqlx(json)]
    pub clauses: Vec<Clause>,
}

/// How many decisions were recorded, at a moment or later. Row-level security counts none of another tenant's.
pub async fn count_recorded(conn: &mut PgConnection, since: Option<DateTime<Utc>>) -> Result<i64> {
    let count = sqlx::query_scalar(
        "SELECT count(*) FROM claim_decisions d WHERE $1::timestamptz IS NULL OR $1 <=
            (SELECT e.recorded_at FROM claim_events e WHERE e.claim_id = d.claim_id AND e.sequence = d.sequence)",
    );
    Ok(count.bind(since).fetch_one(conn).await?)
}

/// At most `limit` of them after one that is named by its claim and its number. Subqueries and no joins: whatever the planner
/// thinks of the tables, a page is read along the key.
pub async fn recorded(
    conn: &mut PgConnection,
    since: Option<DateTime<Utc>>,
    after: (Uuid, i64),
    limit: i64,
) -> Result<Vec<ToReplay>> {
    let decisions = sqlx::query_as(
        "SELECT d.claim_id, d.sequence, (SELECT c.serial FROM claims c WHERE c.claim_id = d.claim_id) AS serial,
                d.facts, d.report, d.decision -> 'remedy' AS remedy, d.decision -> 'clauses' AS clauses
           FROM claim_decisions d
          WHERE (d.claim_id, d.sequence) > ($2, $3) AND ($1::timestamptz IS NULL OR $1 <=
                (SELECT e.recorded_at FROM claim_events e WHERE e.claim_id = d.claim_id AND e.sequence = d.sequence))
          ORDER BY d.claim_id, d.sequence LIMIT $4",
    );
    let decisions = decisions.bind(since).bind(after.0).bind(after.1).bind(limit);
    Ok(decisions.fetch_all(conn).await?)
}

/// At most `limit` events of a claim after a number. The claim must be the caller's (`get`).
pub async fn events(conn: &mut PgConnection, claim: Uuid, after: i64, limit: i64) -> Result<Vec<StoredEvent>> {
    let events = sqlx::query_as(
        "SELECT sequence, facts, state, recorded_at, actor FROM claim_events WHERE claim_id = $1 AND sequence > $2 ORDER BY sequence LIMIT $3",
    );
    Ok(events.bind(claim).bind(after).bind(limit).fetch_all(conn).await?)
}

/// A return number that was never given out before.
pub async fn next_return_number(conn: &mut PgConnection) -> Result<ReturnNumber> {
    let (seed,): (i64,) = sqlx::query_as("SELECT nextval('return_number_seed')").fetch_one(conn).await?;
    Ok(ReturnNumber::issue(seed.unsigned_abs()))
}
