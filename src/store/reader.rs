//! Point reads of facts, coalesced: a few tasks each own a connection, and what arrives while a query is in flight goes into
//! the next one. A question is never answered by a query that began before it: nobody is served what was true before he asked.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{FutureExt, future::BoxFuture};
use sqlx::{ConnectOptions, Executor, PgConnection, PgPool, postgres::PgConnectOptions};
use tokio::sync::oneshot;
use tracing::{Instrument, Span};

use super::{
    Role,
    error::{Error, Result},
    facts::{self, UnitToDecide, Units},
    prepare,
};
use crate::{domain::serial::Serial, metrics, telemetry};

/// Readers of single questions. One: a query costs as much as several questions in it, and two would halve what each answers.
const UNIT_READERS: usize = 1;
/// Readers of batches, which would hold single questions up.
const BATCH_READERS: usize = 2;
/// Questions that one query answers.
const MOST: usize = 128;
/// Questions that wait; one more is told that the process is busy.
const WAITING: usize = 10_000;
/// Few rows by their keys out of millions: a hash of a whole table never pays, and the plan is made once.
pub(super) const PLANS: &str =
    "SET enable_hashjoin = off; SET enable_mergejoin = off; SET plan_cache_mode = force_generic_plan";
/// A query that has not ended by then is given up with its connection, and whoever asked is told to ask again.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks the readers.
#[derive(Clone)]
pub struct Reader {
    units: flume::Sender<Question>,
    batches: flume::Sender<Batch<Units>>,
    stock: flume::Sender<Batch<HashSet<String>>>,
}

struct Question {
    serial: Serial,
    deadline: Instant,
    answer: oneshot::Sender<Result<Option<Arc<UnitToDecide>>>>,
    /// Whose question it is, where that is recorded.
    by: Option<Span>,
}

/// Many keys that are asked about at once.
struct Batch<T> {
    keys: HashSet<String>,
    answer: oneshot::Sender<Result<T>>,
    by: Option<Span>,
}

impl Reader {
    /// Starts the readers, with connections of their own to the pool's server. They end when the last `Reader` is dropped.
    pub fn start(pool: &PgPool) -> Self {
        let (units, questions) = flume::bounded(WAITING);
        let (batches, asked) = flume::bounded(WAITING);
        for _ in 0..UNIT_READERS {
            tokio::spawn(read_units(pool.connect_options(), questions.clone()));
        }
        for _ in 0..BATCH_READERS {
            tokio::spawn(read_batches(pool.connect_options(), asked.clone(), |conn, keys| {
                facts::of_units(conn, keys).boxed()
            }));
        }
        let (stock, asked) = flume::bounded(WAITING);
        tokio::spawn(read_batches(pool.connect_options(), asked, |conn, keys| facts::in_stock(conn, keys).boxed()));
        Self { units, batches, stock }
    }

    /// The facts of a unit as of now. Errors: NotFound, Deadline, Busy, Away.
    pub async fn unit(&self, serial: &Serial, deadline: Instant) -> Result<Arc<UnitToDecide>> {
        let (answer, answered) = oneshot::channel();
        self.units
            .try_send(Question { serial: serial.clone(), deadline, answer, by: telemetry::recorded() })
            .map_err(refused)?;
        let unit = within(deadline, answered).await?;
        unit.ok_or_else(|| Error::not_found("unit", serial))
    }

    /// The facts of many units as of now, by serial: those that the registry knows. Errors: Deadline, Busy, Away.
    pub async fn units(&self, serials: HashSet<String>, deadline: Instant) -> Result<Units> {
        let (answer, answered) = oneshot::channel();
        self.batches.try_send(Batch { keys: serials, answer, by: telemetry::recorded() }).map_err(refused)?;
        within(deadline, answered).await
    }

    /// Which of these models are in stock as of now, as `facts::in_stock` tells. Errors as of `units`.
    pub async fn in_stock(&self, models: HashSet<String>, deadline: Instant) -> Result<HashSet<String>> {
        let (answer, answered) = oneshot::channel();
        self.stock.try_send(Batch { keys: models, answer, by: telemetry::recorded() }).map_err(refused)?;
        within(deadline, answered).await
    }
}

fn refused<T>(refused: flume::TrySendError<T>) -> Error {
    match refused {
        flume::TrySendError::Full(_) => {
            metrics::shed();
            Error::Busy
        }
        flume::TrySendError::Disconnected(_) => Error::broken("the readers ended"),
    }
}

async fn within<T>(deadline: Instant, answered: oneshot::Receiver<Result<T>>) -> Result<T> {
    let answer = tokio::time::timeout_at(deadline.into(), answered).await.map_err(|_| Error::Deadline)?;
    answer.map_err(|_| Error::broken("a reader ended without an answer"))?
}

/// One reader of single questions: one connection, one query after the other.
async fn read_units(server: Arc<PgConnectOptions>, questions: flume::Receiver<Question>) {
    let mut connection = None;
    while let Ok(first) = questions.recv_async().await {
        let now = Instant::now();
        let waiting: Vec<Question> = std::iter::once(first)
            .chain(questions.try_iter().take(MOST - 1))
            .filter(|question| question.deadline > now && !question.answer.is_closed())
            .collect();
        if waiting.is_empty() {
            continue;
        }
        let serials: Vec<&str> = waiting.iter().map(|question| question.serial.as_str()).collect();
        let query = telemetry::shared(waiting.iter().filter_map(|question| question.by.as_ref()));
        let standing = ask(&server, &mut connection, &serials, |conn, keys| facts::standing(conn, keys).boxed());
        let (known, in_full) = match standing.instrument(query).await {
            Ok((known, in_full)) => (Ok(known), in_full),
            Err(error) => (Err(error), HashSet::new()),
        };
        // Most are answered by then: their answers are made while the few are asked about in full.
        let (waiting, answered): (Vec<Question>, Vec<Question>) =
            waiting.into_iter().partition(|question| in_full.contains(question.serial.as_str()));
        tell(answered, &known);
        if !waiting.is_empty() {
            let serials: Vec<&str> = in_full.iter().map(String::as_str).collect();
            let query = telemetry::shared(waiting.iter().filter_map(|question| question.by.as_ref()));
            let full = ask(&server, &mut connection, &serials, |conn, keys| facts::in_full(conn, keys).boxed());
            let full = full.instrument(query).await;
            tell(waiting, &full);
        }
    }
}

fn tell(asked: Vec<Question>, answers: &Result<Units>) {
    for Question { serial, answer, by, .. } in asked {
        // The call's span ends with its answer, not later.
        drop(by);
        let unit = answers.as_ref().map(|units| units.get(serial.as_str()).cloned()).map_err(Clone::clone);
        // Whoever went away is not there to be told.
        let _ = answer.send(unit);
    }
}

/// One reader of batches: each is a query of its own.
async fn read_batches<T>(server: Arc<PgConnectOptions>, batches: flume::Receiver<Batch<T>>, query: Query<T>) {
    let mut connection = None;
    while let Ok(Batch { keys, answer, by }) = batches.recv_async().await {
        if !answer.is_closed() {
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            let asked = ask(&server, &mut connection, &keys, query).instrument(by.unwrap_or_else(Span::none));
            let _ = answer.send(asked.await);
        }
    }
}

/// What is asked of one connection about these keys.
type Query<T> = for<'c> fn(&'c mut PgConnection, &'c [&'c str]) -> BoxFuture<'c, Result<T>>;

/// Asks on the reader's connection; once more on a new one, where the old one turns out to be dead: a read may be repeated.
async fn ask<T>(
    server: &PgConnectOptions,
    connection: &mut Option<PgConnection>,
    keys: &[&str],
    query: Query<T>,
) -> Result<T> {
    let (had_one, began) = (connection.is_some(), Instant::now());
    match attempt(server, connection, keys, query).await {
        Err(Error::Away(_)) if had_one && began.elapsed() < PATIENCE => attempt(server, connection, keys, query).await,
        outcome => outcome,
    }
}

async fn attempt<T>(
    server: &PgConnectOptions,
    connection: &mut Option<PgConnection>,
    keys: &[&str],
    query: Query<T>,
) -> Result<T> {
    // Taken out: a query that fails or is given up leaves no connection behind in the middle of an answer.
    let open = connection.take();
    let work = async {
        let mut open = match open {
            Some(open) => open,
            None => {
                let mut fresh = server.connect().await?;
                prepare(&mut fresh, Role::Coverage).await?;
                fresh.execute(PLANS).await?;
                fresh
            }
        };
        let read = query(&mut open, keys).await?;
        Ok((open, read))
    };
    let given_up = || Err(Error::Away(format!("a query took longer than {PATIENCE:?}")));
    let (open, read) = tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| given_up())?;
    *connection = Some(open);
    Ok(read)
}
