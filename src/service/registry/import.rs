//! Imports: rows stream in, are kept in groups, and each group is acknowledged once it is kept. One file a kind of row.

mod sales;
mod units;

pub(super) use sales::Sales;
pub(super) use units::Units;

use std::{
    collections::VecDeque,
    mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chrono::NaiveDate;
use futures::{
    FutureExt, StreamExt,
    future::{BoxFuture, OptionFuture},
    stream,
};
use sqlx::PgConnection;
use tokio::time::{Instant, sleep_until};
use tonic::{Code, Request, Response, Status, Streaming};

use crate::{
    auth::Call,
    clock::civil_date,
    contract::v1::{self, ErrorReason, RejectedRow},
    domain::actor::Actor,
    service::{App, Fields, Moment, Replies, Reply, name, open, status},
    store,
};

/// A message's rows at most.
const MOST_ROWS: usize = 1000;
/// A group goes out with so many rows, or after a while without new ones.
const GROUP: usize = 10_000;
const QUIET: Duration = Duration::from_millis(200);
/// An import without new rows ends.
const IDLE: Duration = Duration::from_secs(60);
/// The rejected rows that one reply holds at most.
const MOST_TOLD: usize = 1000;
/// A serial is told back as sent, but not at any length.
const MOST_OF_A_SERIAL: usize = 64;

/// A kind of row.
pub(super) trait Kind: Send + Sync + 'static {
    /// A message with rows.
    type Message: Send + 'static;
    /// A row as sent.
    type Row;
    /// A row as read.
    type Given: Send + Sync + 'static;
    /// How far an import is.
    type Progress: From<Progress> + Send + 'static;
    /// The rows' field in a message.
    const ROWS: &'static str;

    fn rows(message: Self::Message) -> Vec<Self::Row>;
    fn serial(row: &mut Self::Row) -> &mut String;
    /// Reads a row as the unary call reads it. None only where a violation was gathered.
    fn read(fields: &mut Fields, row: &Self::Row, actor: &Actor, today: NaiveDate) -> Option<Self::Given>;
    /// Keeps a group's rows in one transaction: a verdict for each, in order. `again` where an earlier try met another transaction.
    fn keep<'c>(
        conn: &'c mut PgConnection,
        given: &'c [Self::Given],
        moment: &'c Moment,
        again: bool,
    ) -> BoxFuture<'c, store::Result<Vec<Verdict>>>;
}

/// What became of a row.
pub(super) enum Verdict {
    /// It is new.
    Created,
    /// It was there with the same facts.
    Unchanged,
    /// It breaks a rule.
    Rejected(Rejection),
}

/// The rule that a row breaks.
pub(super) struct Rejection {
    field: String,
    rule: String,
    reason: ErrorReason,
}

impl Verdict {
    fn rejected(reason: ErrorReason, field: &str, rule: &str) -> Self {
        Self::Rejected(Rejection { field: field.to_owned(), rule: rule.to_owned(), reason })
    }
}

/// How far an import is; the replies of both kinds say the same.
#[derive(Clone, Default)]
pub(super) struct Progress {
    row_count: i64,
    created_count: i64,
    unchanged_count: i64,
    rejected_count: i64,
    rejected: Vec<RejectedRow>,
}

macro_rules! replies {
    ($($reply:ident),*) => {
        $(impl From<Progress> for v1::$reply {
            fn from(progress: Progress) -> Self {
                let Progress { row_count, created_count, unchanged_count, rejected_count, rejected } = progress;
                Self { row_count, created_count, unchanged_count, rejected_count, rejected }
            }
        })*
    };
}
replies!(ImportUnitsResponse, ImportSalesResponse);

/// Rows that are kept together: each row's serial as sent, with the rejection of one that cannot be read, and those that can.
struct Group<K: Kind> {
    rows: Vec<(String, Option<Rejection>)>,
    given: Arc<Vec<K::Given>>,
}

type Kept<K> = store::Result<(Group<K>, Vec<Verdict>)>;

/// An import under way. While one group is kept the next is read; once that is full, nothing is read from the connection.
struct Import<K: Kind> {
    app: App,
    call: Call,
    incoming: Streaming<K::Message>,
    /// When rows came last, or could come again.
    heard: Instant,
    /// How the stream ended, where it did.
    end: Option<Result<(), Status>>,
    rows: Vec<(String, Option<Rejection>)>,
    given: Vec<K::Given>,
    keeping: Option<BoxFuture<'static, Kept<K>>>,
    progress: Progress,
    replies: VecDeque<Progress>,
}

/// Takes rows in until their stream ends.
pub(super) async fn run<K: Kind>(app: &App, request: Request<Streaming<K::Message>>) -> Reply<Replies<K::Progress>> {
    let (call, incoming) = open(request)?;
    let import = Import::<K> {
        app: app.clone(),
        call,
        incoming,
        heard: Instant::now(),
        end: None,
        rows: Vec::new(),
        given: Vec::new(),
        keeping: None,
        progress: Progress::default(),
        replies: VecDeque::new(),
    };
    Ok(Response::new(Box::pin(stream::try_unfold(import, Import::reply))))
}

impl<K: Kind> Import<K> {
    /// The next reply: an acknowledgement, or how the import ended.
    async fn reply(mut self) -> Result<Option<(K::Progress, Self)>, Status> {
        loop {
            if let Some(reply) = self.replies.pop_front() {
                return Ok(Some((reply.into(), self)));
            }
            let due = self.end.is_some() || self.rows.len() >= GROUP || self.heard.elapsed() >= QUIET;
            if self.keeping.is_none() && due && !self.rows.is_empty() {
                self.keep();
            }
            match self.end {
                Some(end) if self.keeping.is_none() => return end.map(|()| None),
                _ => self.step().await,
            }
        }
    }

    /// Waits for whatever comes first: a group that is kept, rows, or a while without any.
    async fn step(&mut self) {
        let reading = self.end.is_none() && self.rows.len() < GROUP;
        let idle = self.keeping.is_none() && reading;
        let quiet = self.heard + if self.rows.is_empty() { IDLE } else { QUIET };
        let Self { keeping, incoming, .. } = &mut *self;
        tokio::select! {
            biased;
            Some(kept) = OptionFuture::from(keeping.as_mut()) => {
                self.keeping = None;
                self.heard = Instant::now();
                match kept {
                    Ok((group, verdicts)) => self.acknowledge(group, verdicts),
                    // What was read since is dropped: its caller sends it again.
                    Err(error) => {
                        self.rows.clear();
                        self.end = Some(Err(status::of(&error)));
                    }
                }
            }
            message = incoming.next(), if reading => {
                self.heard = Instant::now();
                match message {
                    Some(Ok(message)) => self.take(K::rows(message)),
                    Some(Err(status)) => self.end = Some(Err(status)),
                    None => self.end = Some(Ok(())),
                }
            }
            () = sleep_until(quiet), if idle => {
                if self.rows.is_empty() {
                    let why = "no rows came for 60 seconds";
                    self.end = Some(Err(status::status(Code::DeadlineExceeded, ErrorReason::Deadline, why, &[])));
                }
            }
        }
    }

    /// Reads a message's rows, every violation of a row at once.
    fn take(&mut self, rows: Vec<K::Row>) {
        if rows.len() > MOST_ROWS {
            self.end = Some(Err(status::too_large(K::ROWS, MOST_ROWS)));
            return;
        }
        let today = civil_date(self.app.clock.now());
        for mut row in rows {
            let mut fields = Fields::default();
            let given = K::read(&mut fields, &row, &self.call.actor, today);
            let rejection = unreadable(fields.violations());
            match given.filter(|_| rejection.is_none()) {
                Some(given) => self.given.push(given),
                None => debug_assert!(rejection.is_some(), "a row that is not read says why"),
            }
            // What is told back of a serial; a row that is as long as its message may be is not kept for that.
            let serial = K::serial(&mut row).chars().take(MOST_OF_A_SERIAL).collect();
            self.rows.push((serial, rejection));
        }
    }

    /// Begins to keep what was read.
    fn keep(&mut self) {
        let group = Group::<K> { rows: mem::take(&mut self.rows), given: Arc::new(mem::take(&mut self.given)) };
        let (app, call, moment) = (self.app.clone(), self.call.clone(), self.app.moment(&self.call));
        // The call's place under the concurrency limit is kept for as long as the transaction runs.
        let asked = Arc::new((Arc::clone(&group.given), moment, AtomicBool::new(false), call.place.clone()));
        let deadline = std::time::Instant::now() + call.patience;
        let keeping = async move {
            let verdicts = store::transaction(&app.pool, name(call.method), &call.actor, deadline, move |conn| {
                let asked = Arc::clone(&asked);
                Box::pin(async move {
                    let (given, moment, tried, _) = &*asked;
                    K::keep(conn, given, moment, tried.swap(true, Ordering::Relaxed)).await
                })
            });
            Ok((group, verdicts.await?))
        };
        self.keeping = Some(keeping.boxed());
    }

    /// Counts a group that is kept for good, and tells its rejected rows.
    fn acknowledge(&mut self, group: Group<K>, verdicts: Vec<Verdict>) {
        let mut verdicts = verdicts.into_iter();
        for (serial, rejection) in group.rows {
            let progress = &mut self.progress;
            progress.row_count += 1;
            match rejection.map_or_else(|| verdicts.next(), |rejection| Some(Verdict::Rejected(rejection))) {
                Some(Verdict::Created) => progress.created_count += 1,
                Some(Verdict::Unchanged) => progress.unchanged_count += 1,
                Some(Verdict::Rejected(rejection)) => {
                    progress.rejected_count += 1;
                    progress.rejected.push(told(progress.row_count, serial, rejection));
                }
                None => debug_assert!(false, "each row that was read has its verdict"),
            }
            if progress.rejected.len() == MOST_TOLD {
                self.tell();
            }
        }
        if self.replies.back().is_none_or(|told| told.row_count < self.progress.row_count) {
            self.tell();
        }
    }

    fn tell(&mut self) {
        let rejected = mem::take(&mut self.progress.rejected);
        self.replies.push_back(Progress { rejected, ..self.progress.clone() });
    }
}

/// A row's violations as one rejection: the first by its field, the others in the rule.
fn unreadable(violations: Vec<(String, String)>) -> Option<Rejection> {
    let mut violations = violations.into_iter();
    let (field, mut rule) = violations.next()?;
    for (also, broken) in violations {
        rule = format!("{rule}; {also}: {broken}");
    }
    Some(Rejection { field, rule, reason: ErrorReason::InvalidFields })
}

fn told(row: i64, serial: String, Rejection { field, rule, reason }: Rejection) -> RejectedRow {
    let reason = reason.as_str_name().trim_start_matches("ERROR_REASON_").to_owned();
    RejectedRow { row, serial, field, rule, reason }
}
