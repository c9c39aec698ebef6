//! The named transaction: begins, runs, commits, tries again, and cannot be dropped half way.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use rand::Rng;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool, Postgres, pool::PoolConnection};
use tracing::{Instrument, Span, field::Empty};
use uuid::Uuid;

use super::error::{Error, Result};
use crate::{domain::actor::Actor, metrics, telemetry};

const TRIES: u32 = 3;

/// Runs `work` in one transaction for `actor`, whose rows alone it sees, cancelled by `deadline`.
///
/// It runs in a task of its own, which a cancelled request cannot drop half way: a connection that went back to its pool with a
/// transaction open would swallow the next caller's writes. Serialization failures and deadlocks are tried again with jitter.
pub async fn transaction<T, F>(
    pool: &PgPool,
    name: &'static str,
    actor: &Actor,
    deadline: Instant,
    work: F,
) -> Result<T>
where
    T: Send + 'static,
    F: for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, Result<T>> + Send + Sync + 'static,
{
    let (pool, actor, work) = (pool.clone(), actor.clone(), Arc::new(work));
    let span = tracing::info_span!("transaction", otel.name = name, tries = Empty, warranty.claim_id = Empty);
    let task = async move {
        let mut tries = 1;
        loop {
            let outcome = attempt(&pool, &actor, deadline, work.as_ref()).await;
            Span::current().record("tries", tries);
            match outcome {
                Err(Error::Contended) if tries < TRIES => {
                    metrics::retried(name);
                    tries += 1;
                }
                other => return other,
            }
            let pause = rand::rng().random_range(1..=20) * u64::from(tries);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    };
    match tokio::spawn(task.instrument(span)).await {
        Ok(outcome) => outcome,
        Err(panic) => Err(Error::broken(format!("transaction {name} ended: {panic}"))),
    }
}

/// One try. A connection that may be half way through anything is closed, never handed back.
async fn attempt<T, F>(pool: &PgPool, actor: &Actor, deadline: Instant, work: &F) -> Result<T>
where
    F: for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, Result<T>>,
{
    let mut connection = acquire(pool, deadline).await?;
    // The server cancels the statement at the deadline; this bound is for a connection that no longer answers at all.
    let stalled = deadline + Duration::from_secs(2);
    match tokio::time::timeout_at(stalled.into(), in_transaction(&mut connection, actor, deadline, work)).await {
        Ok(outcome) => {
            if matches!(outcome, Err(Error::Away(_))) {
                drop(connection.detach());
            }
            outcome
        }
        Err(_) => {
            drop(connection.detach());
            Err(Error::Away("the connection does not answer".to_owned()))
        }
    }
}

/// A connection of the pool, before the deadline.
async fn acquire(pool: &PgPool, deadline: Instant) -> Result<PoolConnection<Postgres>> {
    let asked = Instant::now();
    let left = deadline.saturating_duration_since(asked);
    if left.is_zero() {
        return Err(Error::Deadline);
    }
    let acquired = tokio::time::timeout(left, pool.acquire()).await;
    // One that was not had counts, too: it waited.
    metrics::waited(asked.elapsed());
    Ok(acquired.map_err(|_| Error::Deadline)??)
}

async fn in_transaction<T, F>(
    connection: &mut PoolConnection<Postgres>,
    actor: &Actor,
    deadline: Instant,
    work: &F,
) -> Result<T>
where
    F: for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, Result<T>>,
{
    let mut transaction = connection.begin_with(AssertSqlSafe(begin(actor, deadline))).await?;
    match work(&mut transaction).await {
        Ok(done) => {
            transaction.commit().await?;
            Ok(done)
        }
        Err(error) => {
            transaction.rollback().await?;
            Err(error)
        }
    }
}

/// Sets the caller, the deadline and the span that is recorded together with BEGIN, in one round trip and for this transaction only.
fn begin(actor: &Actor, deadline: Instant) -> String {
    let caller = actor.to_string().replace('\'', "''");
    let left = deadline.saturating_duration_since(Instant::now()).as_millis().max(1);
    let begin = format!("BEGIN; SET LOCAL warranty.caller = '{caller}'; SET LOCAL statement_timeout = {left}");
    match telemetry::traceparent() {
        Some(span) => format!("{begin}; SET LOCAL warranty.traceparent = '{span}'"),
        None => begin,
    }
}

/// Names the claim that the transaction is about in its span: what was done to a claim, by callers and by the clock, is found by it.
pub(super) fn about(claim: Uuid) {
    Span::current().record("warranty.claim_id", tracing::field::display(claim));
}

/// Runs statements that belong to no caller, outside a transaction: a round trip each. Where they have not ended by `deadline`
/// the connection is closed, and PostgreSQL, which looks for its client while it works, ends what runs.
pub async fn statement<T, F>(pool: &PgPool, deadline: Instant, work: F) -> Result<T>
where
    T: Send + 'static,
    F: for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<T>> + Send + 'static,
{
    let pool = pool.clone();
    let task = async move {
        let mut connection = acquire(&pool, deadline).await?;
        let outcome =
            tokio::time::timeout_at(deadline.into(), work(&mut connection)).await.unwrap_or(Err(Error::Deadline));
        if matches!(outcome, Err(Error::Away(_) | Error::Deadline)) {
            drop(connection.detach());
        }
        outcome
    };
    // In a task of its own: a caller that goes away does not leave a connection behind in the middle of an answer.
    tokio::spawn(task.in_current_span()).await.unwrap_or_else(|panic| Err(Error::broken(panic)))
}
