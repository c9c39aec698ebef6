//! Facts read from a replica, for callers who name how old they may be.
//!
//! How old they are at most is proven, and no two clocks are compared: a task asks the primary four times a second which position
//! its log has reached, and notes when it began to ask. All that was acknowledged by then lies before that position. A connection
//! whose server has replayed up to it, asked before it reads the facts, reads all of that. What is not proven young enough is left
//! to the primary. So is a unit that the replica does not know.

use std::{
    collections::{HashSet, VecDeque},
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use sqlx::{ConnectOptions, Executor, PgConnection, PgPool, postgres::PgConnectOptions};
use tokio::{sync::oneshot, time::timeout};
use tracing::{Instrument, Span};

use super::{
    Role,
    error::Result,
    facts::{self, Units},
    prepare, reader,
};
use crate::{metrics, telemetry};

/// The oldest facts that a caller may ask for.
pub const OLDEST: Duration = Duration::from_secs(600);
/// How often the primary is asked for its position.
const EVERY: Duration = Duration::from_millis(250);
/// Connections to the replica.
const READERS: usize = 2;
/// Questions that wait; the primary answers one more.
const WAITING: usize = 10_000;
/// Units that one query reads, where more than one question waits.
const MOST: usize = 128;
/// What has not answered by then is given up with its connection.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks the replica.
#[derive(Clone)]
pub struct Replica(flume::Sender<Question>);

struct Question {
    serials: HashSet<String>,
    /// All that was acknowledged by then must be known.
    known: Instant,
    asked: Instant,
    answer: oneshot::Sender<Option<(Arc<Units>, Instant)>>,
    by: Option<Span>,
}

/// When the primary was asked, and how far its log was then at least.
type Positions = Mutex<VecDeque<(Instant, i64)>>;

impl Replica {
    /// Starts what asks the primary, beside its pool, and the readers of the replica at `url`. They end with the last `Replica`.
    pub fn start(url: &str, primary: &PgPool) -> anyhow::Result<Self> {
        let server = Arc::new(PgConnectOptions::from_str(url)?.application_name("warranty-replica"));
        let (asked, questions) = flume::bounded(WAITING);
        let positions = Arc::new(Positions::default());
        tokio::spawn(follow(primary.connect_options(), Arc::clone(&positions)));
        for _ in 0..READERS {
            tokio::spawn(read(Arc::clone(&server), questions.clone(), Arc::clone(&positions)));
        }
        Ok(Self(asked))
    }

    /// The facts of these units with all that was acknowledged `at_most` ago, and how long ago that is at most. None where that is
    /// not proven, where the replica does not know one of them, or does not answer by `deadline`.
    pub async fn units(
        &self,
        serials: HashSet<String>,
        at_most: Duration,
        deadline: Instant,
    ) -> Option<(Arc<Units>, Duration)> {
        let (asked, (answer, answered)) = (Instant::now(), oneshot::channel());
        let question =
            Question { serials, known: asked.checked_sub(at_most)?, asked, answer, by: telemetry::recorded() };
        let sent = self.0.try_send(question).ok();
        let told = match sent {
            Some(()) => tokio::time::timeout_at(deadline.into(), answered).await.ok()?.ok()?,
            None => None,
        };
        metrics::replica_asked(told.is_some());
        told.map(|(units, known)| (units, asked.saturating_duration_since(known)))
    }
}

/// Keeps asking the primary for its position.
async fn follow(primary: Arc<PgConnectOptions>, positions: Arc<Positions>) {
    let mut connection = None;
    // The readers hold it, too.
    while Arc::strong_count(&positions) > 1 {
        let asked = Instant::now();
        // A server that was demoted refuses to say: the next is asked on a new connection.
        let position = "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint";
        if let Ok(Ok(Some(position))) = timeout(PATIENCE, ask(&primary, &mut connection, position)).await {
            let mut positions = positions.lock().unwrap_or_else(PoisonError::into_inner);
            positions.push_back((asked, position));
            while positions.front().is_some_and(|(at, _)| at.elapsed() > OLDEST) {
                positions.pop_front();
            }
        }
        tokio::time::sleep(EVERY).await;
    }
}

async fn ask(
    server: &PgConnectOptions,
    connection: &mut Option<PgConnection>,
    sql: &'static str,
) -> Result<Option<i64>> {
    // Taken out: one that fails or is given up is not used again.
    let mut open = match connection.take() {
        Some(open) => open,
        None => server.connect().await?,
    };
    let answer = sqlx::query_scalar(sql).fetch_one(&mut open).await?;
    *connection = Some(open);
    Ok(answer)
}

/// A connection to the replica, and by when all that was acknowledged is known to whatever it reads.
struct Open {
    connection: PgConnection,
    known: Option<Instant>,
}

/// One reader: one connection, one query after the other.
async fn read(server: Arc<PgConnectOptions>, questions: flume::Receiver<Question>, positions: Arc<Positions>) {
    let mut open = None;
    while let Ok(first) = questions.recv_async().await {
        let mut waiting = vec![first];
        while waiting.iter().map(|question| question.serials.len()).sum::<usize>() < MOST {
            let Ok(next) = questions.try_recv() else { break };
            waiting.push(next);
        }
        let query = telemetry::shared(waiting.iter().filter_map(|question| question.by.as_ref()));
        let answer = timeout(PATIENCE, answer(&server, &mut open, &waiting, &positions).instrument(query)).await;
        let answer = answer.unwrap_or(Ok(None)).unwrap_or_else(|error| {
            tracing::warn!(%error, "the replica does not answer");
            None
        });
        for Question { serials, known, answer: asker, by, .. } in waiting {
            drop(by);
            let told = answer
                .clone()
                .filter(|(units, at)| *at >= known && serials.iter().all(|serial| units.contains_key(serial)));
            // Whoever went away is not there to be told.
            let _ = asker.send(told);
        }
    }
}

/// The units of those questions that can be answered, and by when all is known. None where that is too old for every one.
async fn answer(
    server: &PgConnectOptions,
    kept: &mut Option<Open>,
    waiting: &[Question],
    positions: &Positions,
) -> Result<Option<(Arc<Units>, Instant)>> {
    let mut open = match kept.take() {
        Some(open) => open,
        None => {
            let mut connection = server.connect().await?;
            prepare(&mut connection, Role::Coverage).await?;
            connection.execute(reader::PLANS).await?;
            // Its server may be in recovery.
            connection.execute("SET warranty.replica = 'on'").await?;
            Open { connection, known: None }
        }
    };
    let youngest = waiting.iter().map(|question| question.known).max();
    if open.known < youngest {
        let replayed = "SELECT (pg_last_wal_replay_lsn() - '0/0')::bigint";
        let replayed: Option<i64> = sqlx::query_scalar(replayed).fetch_one(&mut open.connection).await?;
        let positions = positions.lock().unwrap_or_else(PoisonError::into_inner);
        let reached = positions.iter().rev().find(|(_, position)| Some(*position) <= replayed);
        open.known = open.known.max(reached.map(|(at, _)| *at));
        if let (Some(known), Some(asked)) = (open.known, waiting.iter().map(|question| question.asked).max()) {
            metrics::tell_replica_age(asked.saturating_duration_since(known));
        }
    }
    let answerable = waiting.iter().filter(|question| Some(question.known) <= open.known);
    let serials: HashSet<&str> = answerable.flat_map(|question| &question.serials).map(String::as_str).collect();
    let known = open.known.filter(|_| !serials.is_empty());
    let told = match known {
        Some(known) => {
            let serials: Vec<&str> = serials.into_iter().collect();
            Some((Arc::new(facts::of_units(&mut open.connection, &serials).await?), known))
        }
        None => None,
    };
    *kept = Some(open);
    Ok(told)
}
