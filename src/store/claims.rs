//! Claims, their events and decisions. A row is always the fold of its events: `advance` is the only way to change one.

mod columns;
pub mod overdue;
mod replay;
mod row;

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::{FromRow, PgConnection, types::Json};
use uuid::Uuid;

use super::{
    error::{Error, Result},
    ledger,
    people::Person,
    stock,
    transaction::about,
};
use crate::{
    domain::{
        actor::Actor,
        claim::{Claim, StateName},
        coverage::Decision,
        event::{Event, Ruling, Stage},
        facts::{Facts, Report},
        return_number::ReturnNumber,
        serial::Serial,
    },
    metrics,
};
pub use columns::columns;
pub use replay::{ToReplay, count_recorded, recorded};

/// Events, one of a claim, each with the decision that it was made with: the one place where events are written. `$given` gives
/// the columns that `given` names, in the order in which numbers are drawn; $5 is now, $6 the actor. The transaction holds each
/// claim's row, or the unit's where the claim is new: it has its xid before it draws a number, on which `store::watch` rests.
macro_rules! insert_events {
    ($given:literal) => {
        concat!(
            "given (claim_id, sequence, facts, state, stage, remedy, policy_version, decided_from, report, decision) AS (",
            $given,
            "),
         numbered AS (SELECT given.*, nextval('claim_event_feed') AS feed FROM given),
         event AS (
             INSERT INTO claim_events (claim_id, sequence, feed, facts, state, recorded_at, actor, hash)
             SELECT claim_id, sequence, feed, facts, state, $5, $6, claim_event_hash(
                        CASE WHEN sequence = 1 THEN ''
                             ELSE (SELECT hash FROM claim_events b WHERE b.claim_id = n.claim_id AND b.sequence = n.sequence - 1) END,
                        claim_id, sequence, feed, facts, state, $5, $6, stage, remedy, policy_version, decided_from, report, decision)
               FROM numbered n)
         INSERT INTO claim_decisions (claim_id, sequence, stage, remedy, policy_version, facts, report, decision)
         SELECT claim_id, sequence, stage, remedy, policy_version, decided_from, report, decision FROM numbered WHERE stage IS NOT NULL"
        )
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
#[allow(missing_docs)] // Each field is the column of the same name.
pub struct StoredEvent {
    pub sequence: i64,
    #[sqlx(json, rename = "facts")]
    pub event: Event,
    pub state: StateName,
    pub recorded_at: DateTime<Utc>,
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
        insert_events!("VALUES ($1::uuid, $2::bigint, $3::jsonb, $4::text, $7::text, $8::text, $9::text, $10::jsonb, $11::jsonb, $12::jsonb)")
    ));
    let filing = filing
        .bind(claim.id)
        .bind(claim.version)
        .bind(Json(&event))
        .bind(claim.state_name().to_string())
        .bind(now)
        .bind(actor.to_string())
        .bind(claim.decided.to_string())
        .bind(decided.decision.remedy.to_string())
        .bind(&decided.decision.policy_version)
        .bind(Json(&decided.facts))
        .bind(Json(&decided.report))
        .bind(Json(&decided.decision));
    row::bind(filing, claim)
        .bind(person.is_some() || actor.customer_id().is_some())
        .bind(person.and_then(|person| person.name.as_ref()))
        .bind(person.and_then(|person| person.telephone.as_ref()))
        .bind(person.and_then(|person| person.address.as_ref()))
        .execute(conn)
        .await?;
    about(claim.id);
    Ok(())
}

/// Takes a claim further: appends the events with the decision that they were made with, writes the fold, and what it means for the
/// dealer's ledger; a claim that needs no unit any more lets go what is held for it. The claim must be held (`lock`).
pub async fn advance(
    conn: &mut PgConnection,
    claim: Claim,
    events: Vec<Event>,
    decided: Option<&Decided>,
    actor: &Actor,
    now: DateTime<Utc>,
) -> Result<Claim> {
    let mut advanced = advance_all(conn, vec![(claim, events)], decided, actor, now).await?;
    advanced.pop().ok_or_else(|| Error::broken("a claim went missing"))
}

/// As [`advance`], for many claims in as few statements: one for the first event of each, one for the second where there is one,
/// and one for the rows. Events are numbered in the claims' order.
pub async fn advance_all(
    conn: &mut PgConnection,
    steps: Vec<(Claim, Vec<Event>)>,
    decided: Option<&Decided>,
    actor: &Actor,
    now: DateTime<Utc>,
) -> Result<Vec<Claim>> {
    let is_closed = |claim: &Claim| claim.state_name() == StateName::Closed;
    let before: Vec<_> = steps.iter().map(|(claim, _)| (claim.may_be_allocated().is_ok(), is_closed(claim))).collect();
    let (mut claims, mut events): (Vec<_>, Vec<_>) =
        steps.into_iter().map(|(claim, events)| (claim, events.into_iter())).unzip();
    loop {
        let mut appended = Vec::new();
        for (claim, events) in claims.iter_mut().zip(&mut events) {
            if let Some(event) = events.next() {
                *claim = claim.clone().after(event.clone(), now);
                appended.push((&*claim, event));
            }
        }
        if appended.is_empty() {
            break;
        }
        append(&mut *conn, &appended, decided, actor, now).await?;
        for (claim, event) in &appended {
            ledger::post(&mut *conn, claim, event, actor, now).await?;
        }
    }
    row::update(&mut *conn, &claims).await?;
    if let [claim] = claims.as_slice() {
        about(claim.id);
    }
    let mut over = Vec::new();
    for (claim, (could_hold, was_closed)) in claims.iter().zip(before) {
        if could_hold && claim.may_be_allocated().is_err() {
            over.push(claim.id);
        }
        if is_closed(claim) && !was_closed {
            metrics::ended(claim.remedy, now - claim.filing.filed_at);
        }
    }
    if !over.is_empty() {
        stock::let_go(conn, &over).await?;
    }
    Ok(claims)
}

/// Appends an event to each of these claims, each folded already.
async fn append(
    conn: &mut PgConnection,
    events: &[(&Claim, Event)],
    decided: Option<&Decided>,
    actor: &Actor,
    now: DateTime<Utc>,
) -> Result<()> {
    fn each<'e, T>(events: &'e [(&Claim, Event)], column: impl Fn(&'e Claim, &'e Event) -> T) -> Vec<T> {
        events.iter().map(|(claim, event)| column(claim, event)).collect()
    }
    let made = |event: &Event| event.ruling().and(decided);
    sqlx::query(concat!(
        "WITH ",
        insert_events!(
            "SELECT claim_id, sequence, facts, state, stage, remedy, policy_version, decided_from, report, decision
               FROM unnest($1::uuid[], $2::bigint[], $3::jsonb[], $4::text[], $7::text[], $8::text[], $9::text[], $10::jsonb[],
                           $11::jsonb[], $12::jsonb[]) WITH ORDINALITY
                 AS e (claim_id, sequence, facts, state, stage, remedy, policy_version, decided_from, report, decision, at)
              ORDER BY at"
        )
    ))
    .bind(each(events, |claim, _| claim.id))
    .bind(each(events, |claim, _| claim.version))
    .bind(each(events, |_, event| Json(event)))
    .bind(each(events, |claim, _| claim.state_name().to_string()))
    .bind(now)
    .bind(actor.to_string())
    .bind(each(events, |_, event| event.ruling().map(|ruling| ruling.stage.to_string())))
    .bind(each(events, |_, event| made(event).map(|decided| decided.decision.remedy.to_string())))
    .bind(each(events, |_, event| made(event).map(|decided| decided.decision.policy_version.clone())))
    .bind(each(events, |_, event| made(event).map(|decided| Json(&decided.facts))))
    .bind(each(events, |_, event| made(event).map(|decided| Json(&decided.report))))
    .bind(each(events, |_, event| made(event).map(|decided| Json(&decided.decision))))
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives a claim of the caller's.
pub async fn get(conn: &mut PgConnection, actor: &Actor, id: Uuid) -> Result<Claim> {
    row::by_ids(conn, actor, &[id], false).await?.pop().ok_or_else(|| Error::not_found("claim", id))
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
            let claim = found.iter().find(|claim| claim.id == *id).cloned();
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
    let claims = sqlx::query_as(
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
    .bind(limit);
    Ok(claims.fetch_all(conn).await?)
}

/// Every decision of these claims, in order. Row-level security shows none of another tenant's.
pub async fn decisions(conn: &mut PgConnection, claims: &[Uuid]) -> Result<Vec<StoredDecision>> {
    let decisions = sqlx::query_as(
        "SELECT claim_id, sequence, stage, facts, report, decision FROM claim_decisions WHERE claim_id = ANY ($1) ORDER BY claim_id, sequence",
    );
    Ok(decisions.bind(claims).fetch_all(conn).await?)
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
