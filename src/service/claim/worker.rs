//! What the clock drives: quotes expire, authorizations lapse, held units are let go, broken uploads are dropped, old requests are
//! forgotten. Any number of processes share the work.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use uuid::Uuid;

use crate::{
    clock::{Clock, civil_date},
    domain::{actor::Actor, event::Event},
    metrics,
    store::{
        self, Error,
        claims::{self, overdue},
        counts, evidence,
        objects::Objects,
        quotes::{self, Verdict},
        requests, stock,
    },
};

/// How long a process waits before each step.
pub const EVERY: Duration = Duration::from_secs(30);
/// How long one transaction may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How much is taken in hand at once.
const BATCH: i64 = 500;
/// So many claims that cannot be ended, though they can be read, and it is not they: the database is away.
const MOST_FAILED: i32 = 10;
/// For how long the reply to a request is kept, days.
const REQUESTS_KEPT: i64 = 90;

/// What one step did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Quotes whose time passed.
    pub expired: u64,
    /// Authorizations whose time passed.
    pub lapsed: u64,
    /// Requests that were forgotten.
    pub forgotten: u64,
    /// Uploads that were begun a day ago and not completed.
    pub dropped: u64,
    /// Units in stock that were held for a claim until now.
    pub released: u64,
}

/// Counts, waits, and takes a step, until `stop`. `pool` is under the worker's role; scans and photos are kept in `objects`.
pub async fn run(pool: PgPool, objects: Objects, clock: Clock, every: Duration, stop: CancellationToken) {
    let work = async {
        loop {
            count(&pool, clock.now()).await;
            tokio::time::sleep(every).await;
            let step = step(&pool, &objects, clock.now()).instrument(tracing::info_span!("clock"));
            match step.await {
                Ok(done) if done == Done::default() => {}
                Ok(done) => tracing::info!(?done, "the clock's work"),
                Err(error) => {
                    metrics::clock_failed();
                    tracing::warn!(%error, "the clock's work waits");
                }
            }
        }
    };
    // A transaction that has begun ends all the same: it runs in a task of its own.
    stop.run_until_cancelled(work).await.unwrap_or(())
}

/// Tells what there is of claims and debts. One process does it for all; what could not be counted is not told.
async fn count(pool: &PgPool, now: DateTime<Utc>) {
    let counted = in_transaction(pool, move |conn| Box::pin(counts::read(conn, now, civil_date(now)))).await;
    metrics::tell_counts(counted.unwrap_or_else(|error| {
        tracing::warn!(%error, "claims and debts could not be counted");
        Vec::new()
    }));
}

/// Does all that is due at `now`, each claim in a transaction of its own. What another process holds is left to it, and what fails
/// keeps nothing else waiting: it is tried again with the next step. Gives the first failure.
pub async fn step(pool: &PgPool, objects: &Objects, now: DateTime<Utc>) -> store::Result<Done> {
    let mut done = Done::default();
    let ended = end_overdue(pool, now, &mut done).await;
    let dropped = evidence::sweep(pool, &clock(), objects, now).await.map(|dropped| done.dropped = dropped);
    let released = in_transaction(pool, move |conn| Box::pin(stock::release_lapsed(conn, now, BATCH))).await;
    let released = released.map(|released| done.released = released);
    let forgotten = forget(pool, now, &mut done).await;
    ended.and(dropped).and(released).and(forgotten).map(|()| done)
}

async fn end_overdue(pool: &PgPool, now: DateTime<Utc>, done: &mut Done) -> store::Result<()> {
    let (today, mut after, mut failed) = (civil_date(now), None, 0);
    loop {
        let due = in_transaction(pool, move |conn| Box::pin(overdue::list(conn, today, after, BATCH))).await?;
        for (_, id) in &due {
            match run_out(pool, *id, now).await {
                Ok(Some(Event::QuoteExpired { .. })) => done.expired += 1,
                Ok(Some(_)) => done.lapsed += 1,
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(%error, claim_id = %id, "a claim cannot run out");
                    failed += i32::from(!matches!(error, Error::Broken(_)));
                    if failed == MOST_FAILED {
                        return Err(error);
                    }
                }
            }
        }
        match due.last() {
            Some(last) => after = Some(*last),
            None => return Ok(()),
        }
    }
}

async fn forget(pool: &PgPool, now: DateTime<Utc>, done: &mut Done) -> store::Result<()> {
    let before = now - chrono::Duration::days(REQUESTS_KEPT);
    loop {
        let forgotten = in_transaction(pool, move |conn| Box::pin(requests::forget(conn, before, BATCH))).await?;
        done.forgotten += forgotten;
        if forgotten < BATCH.unsigned_abs() {
            return Ok(());
        }
    }
}

/// Lets a claim's quote expire, or its authorization lapse; nothing where that is not due, or somebody holds it.
async fn run_out(pool: &PgPool, id: Uuid, now: DateTime<Utc>) -> store::Result<Option<Event>> {
    in_transaction(pool, move |conn| {
        Box::pin(async move {
            let Some(claim) = overdue::hold(&mut *conn, id).await? else { return Ok(None) };
            let Some(event) = claim.run_out(civil_date(now)) else { return Ok(None) };
            if let Event::QuoteExpired { quote_id } = event {
                quotes::decide(&mut *conn, quote_id, Verdict::Expired, &clock(), now).await?;
            }
            claims::advance(conn, claim, vec![event.clone()], None, &clock(), now).await?;
            Ok(Some(event))
        })
    })
    .await
}

/// As it stands in events: `worker/clock`.
fn clock() -> Actor {
    Actor::Worker("clock".to_owned())
}

async fn in_transaction<T, F>(pool: &PgPool, work: F) -> store::Result<T>
where
    T: Send + 'static,
    F: for<'c> Fn(&'c mut sqlx::PgConnection) -> futures::future::BoxFuture<'c, store::Result<T>>
        + Send
        + Sync
        + 'static,
{
    store::transaction(pool, "worker", &clock(), Instant::now() + PATIENCE, work).await
}
