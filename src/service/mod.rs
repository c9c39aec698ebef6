//! The gRPC services: a handler takes its caller, parses its request (every violation at once), makes one store or domain call,
//! and replies. Services do not call each other: they agree inside one transaction.

pub mod claim;
pub mod coverage;
pub mod decision;
pub mod draft;
pub mod fields;
pub mod logistics;
pub mod page;
pub mod registry;
mod rules;
pub mod status;
pub mod wire;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, NaiveDate, Utc};
use futures::future::BoxFuture;
use prost::Message;
use sha2::{Digest, Sha256};
use sqlx::{PgConnection, PgPool};
use tokio::sync::Notify;
use tonic::{Code, Request, Response, Status, Streaming};
use uuid::Uuid;

use crate::{
    auth::Call,
    clock::{Clock, civil_date},
    contract::v1::{self, ErrorReason},
    domain::{actor::Actor, policy::Policies},
    store::{
        self,
        requests::{self, WriteRequest},
    },
};
pub use fields::Fields;
use page::{Page, page};
pub use rules::Rules;

/// A gRPC service as a table: each unary call with its request, its reply and its handler, which gets what the service works
/// with; then the others, written out.
macro_rules! serve {
    ($service:ident for $server:ident by $app:tt:
        $($call:ident($request:ident) -> $reply:ident = $handler:path;)* { $($others:tt)* }
    ) => {
        #[tonic::async_trait]
        impl $service for $server {
            $(async fn $call(&self, request: Request<$request>) -> Reply<$reply> {
                $handler(&self.$app, request).await
            })*
            $($others)*
        }
    };
}
use serve;

/// Awaits `App::write`, `write_once` or `read` with their last argument, the work, written as a plain closure that may await.
macro_rules! transact {
    ($($call:ident).+($($given:expr),*), |$conn:pat_param, $asked:pat_param, $by:pat_param| $work:expr) => {
        $($call).+($($given,)* move |$conn, $asked, $by| Box::pin(async move { $work })).await
    };
    ($($call:ident).+($($given:expr),*), |$conn:pat_param, $asked:pat_param, $by:pat_param, $of:pat_param| $work:expr) => {
        $($call).+($($given,)* move |$conn, $asked, $by, $of| Box::pin(async move { $work })).await
    };
}
use transact;

/// What every service works with.
#[derive(Clone)]
pub struct App {
    /// The process's connections, under its own role.
    pub pool: PgPool,
    /// Tells the time.
    pub clock: Clock,
    rules: Rules,
    /// Told after each commit.
    written: Arc<Notify>,
}

/// A unary handler's answer.
pub type Reply<T> = Result<Response<T>, Status>;

/// A streaming handler's answer.
pub type Replies<T> = std::pin::Pin<Box<dyn futures::Stream<Item = Result<T, Status>> + Send>>;

/// The moment a write happens and who does it, as its transaction sees them.
#[derive(Clone)]
pub struct Moment {
    /// Who writes.
    pub actor: Actor,
    /// Now.
    pub now: DateTime<Utc>,
    /// Now, as the civil date that every rule counts in.
    pub today: NaiveDate,
    /// Where the published policies are asked for.
    pub rules: Rules,
}

/// What a write came to.
pub enum Written<Rep> {
    /// Done in this transaction.
    Now(Rep),
    /// Done before: this was the reply, encoded.
    Before(Vec<u8>),
}

/// A request that changes something: it carries the caller's `request_id`.
pub trait Write: Message + Clone {
    /// The id, which is not part of the request's own content.
    fn request_id(&mut self) -> &mut String;
}

macro_rules! writes {
    ($($request:ident),* $(,)?) => {
        $(impl Write for v1::$request {
            fn request_id(&mut self) -> &mut String {
                &mut self.request_id
            }
        })*
    };
}
// Every request of the contracts that has one: the build script lists them.
include!(concat!(env!("OUT_DIR"), "/writes.rs"));

impl App {
    /// Over a pool and a clock.
    pub fn new(pool: PgPool, clock: Clock) -> Self {
        Self { pool, clock, rules: Rules::default(), written: Arc::default() }
    }

    /// Has those who watch claims told soon after each of its commits; for the services that write events.
    pub fn hint_watchers(&self) {
        tokio::spawn(claim::watching::hint(self.clone()));
    }

    /// This moment, for this caller.
    pub fn moment(&self, call: &Call) -> Moment {
        let now = self.clock.now();
        Moment { actor: call.actor.clone(), now, today: civil_date(now), rules: self.rules.clone() }
    }

    /// The published policies that a statement saw, which read this stamp beside its own facts
    /// (`store::policies::stamp` says how). Asks the database only where something was published since it was last asked.
    pub async fn rules(&self, stamp: i64, deadline: Instant) -> store::Result<Arc<Policies>> {
        if let Some(policies) = self.rules.read_at(stamp) {
            return Ok(policies);
        }
        let rules = self.rules.clone();
        store::statement(&self.pool, deadline, |conn| Box::pin(async move { rules.read(conn).await })).await
    }

    /// Runs a write in one transaction, once for each `request_id`: the same request again gets the first reply.
    /// `asked` is what was parsed of the request; a transaction that is tried again gets it again.
    pub async fn write<Req, Asked, Rep, F>(
        &self,
        call: &Call,
        request_id: Uuid,
        request: &Req,
        asked: Asked,
        work: F,
    ) -> Reply<Rep>
    where
        Req: Write,
        Asked: Clone + Send + Sync + 'static,
        Rep: Message + Default + Send + 'static,
        F: for<'c> Fn(&'c mut PgConnection, Asked, &'c Moment) -> BoxFuture<'c, store::Result<Rep>>
            + Send
            + Sync
            + 'static,
    {
        let work = Arc::new(work);
        self.write_once(call, request_id, request, asked, move |conn, asked, moment, written| {
            let work = Arc::clone(&work);
            Box::pin(async move {
                match requests::earlier_reply(&mut *conn, &moment.actor, written).await? {
                    Some(reply) => Ok(Written::Before(reply)),
                    None => work(conn, asked, moment).await.map(Written::Now),
                }
            })
        })
        .await
    }

    /// As `write`, for work that looks the earlier request up by itself, together with what it holds.
    pub async fn write_once<Req, Asked, Rep, F>(
        &self,
        call: &Call,
        request_id: Uuid,
        request: &Req,
        asked: Asked,
        work: F,
    ) -> Reply<Rep>
    where
        Req: Write,
        Asked: Clone + Send + Sync + 'static,
        Rep: Message + Default + Send + 'static,
        F: for<'c> Fn(
                &'c mut PgConnection,
                Asked,
                &'c Moment,
                &'c WriteRequest,
            ) -> BoxFuture<'c, store::Result<Written<Rep>>>
            + Send
            + Sync
            + 'static,
    {
        let mut content = request.clone();
        content.request_id().clear();
        let sha256 = Sha256::digest(content.encode_to_vec()).into();
        let written = WriteRequest { id: request_id, method: call.method, sha256 };
        let moment = self.moment(call);
        // The call's place under the concurrency limit is kept for as long as the transaction runs.
        let given = Arc::new((written, moment, work, call.place.clone()));
        let outcome = store::transaction(&self.pool, name(call.method), &call.actor, call.deadline, move |conn| {
            let (given, asked) = (Arc::clone(&given), asked.clone());
            Box::pin(async move {
                let (written, moment, work, _) = &*given;
                let reply = match work(&mut *conn, asked, moment, written).await? {
                    Written::Before(reply) => return Rep::decode(reply.as_slice()).map_err(store::Error::broken),
                    Written::Now(reply) => reply,
                };
                requests::keep_reply(conn, &moment.actor, written, &reply.encode_to_vec(), moment.now).await?;
                Ok(reply)
            })
        });
        let reply = outcome.await.map_err(|error| status::of(&error))?;
        self.written.notify_one();
        Ok(Response::new(reply))
    }

    /// Reads in one transaction, in which the caller sees only its own rows.
    pub async fn read<Asked, Rep, F>(&self, call: &Call, asked: Asked, work: F) -> Reply<Rep>
    where
        Asked: Clone + Send + Sync + 'static,
        Rep: Send + 'static,
        F: for<'c> Fn(&'c mut PgConnection, Asked, &'c Actor) -> BoxFuture<'c, store::Result<Rep>>
            + Send
            + Sync
            + 'static,
    {
        let given = Arc::new((call.clone(), work));
        let outcome = store::transaction(&self.pool, name(call.method), &call.actor, call.deadline, move |conn| {
            let (given, asked) = (Arc::clone(&given), asked.clone());
            Box::pin(async move { given.1(conn, asked, &given.0.actor).await })
        });
        outcome.await.map(Response::new).map_err(|error| status::of(&error))
    }
}

/// How long a stream waits for its next message.
const IDLE: Duration = Duration::from_secs(60);

/// A stream's next message; none at its end. A caller that says nothing for a minute does not keep its place.
pub async fn next<T>(messages: &mut Streaming<T>) -> Option<Result<T, Status>> {
    let idle = "nothing was sent for 60 seconds";
    match tokio::time::timeout(IDLE, messages.message()).await {
        Ok(message) => message.transpose(),
        Err(_) => Some(Err(status::status(Code::DeadlineExceeded, ErrorReason::Deadline, idle, &[]))),
    }
}

/// The method's own name: the last part of its path.
fn name(path: &'static str) -> &'static str {
    path.rsplit('/').next().unwrap_or(path)
}

/// A write's caller, its content, its `request_id`, and where the violations of its other fields are gathered.
pub fn open_write<T: Write>(request: Request<T>) -> Result<(Call, T, Option<Uuid>, Fields), Status> {
    let (call, mut request) = open(request)?;
    let mut fields = Fields::default();
    let id = fields.request_id(request.request_id());
    Ok((call, request, id, fields))
}

/// A request's caller and its content.
pub fn open<T>(request: Request<T>) -> Result<(Call, T), Status> {
    let call = request.extensions().get::<Call>().cloned();
    let call =
        call.ok_or_else(|| status::status(Code::Internal, ErrorReason::Internal, "the call came past the gate", &[]))?;
    Ok((call, request.into_inner()))
}
