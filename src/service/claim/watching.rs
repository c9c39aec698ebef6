//! WatchClaims. One poller in a process reads the feed for all who watch and hands it on; each reads by itself, as its own caller,
//! only what came before it joined or while it lagged behind.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures::stream;
use tokio::{
    sync::{Notify, broadcast, watch},
    time::{Instant, timeout_at},
};
use tokio_util::task::AbortOnDropHandle;
use tonic::{Code, Request, Response, Status};

use super::reading;
use crate::{
    auth::Call,
    contract::v1::{self, ClaimEventType, ErrorReason, LogisticsEventType, WatchClaimsResponse},
    metrics,
    service::wire::{text, time},
    service::{App, Fields, Replies, Reply, open, status, transact},
    store::{
        self, Error,
        watch::{Feed, Happened, LogisticsEvent, Safe, Wanted, Watched, backlog, last_drawn},
    },
    telemetry,
};

/// How often a stream tells how far it is where nothing else is told.
const TELL_CURSOR: Duration = Duration::from_secs(15);
/// Batches kept for those who lag behind; who lags further reads pages.
const KEPT: usize = 64;

/// Final events of the feed: all that there are after one number and up to another.
struct Batch {
    after: i64,
    up_to: i64,
    events: Vec<(Watched, WatchClaimsResponse)>,
}

/// What the poller and those who watch share.
struct Hub {
    batches: broadcast::Sender<Arc<Batch>>,
    /// How far the feed is final; none while nobody watches.
    safe: watch::Sender<Option<i64>>,
    joined: Notify,
}

/// The poller of a process. It rests while nobody watches.
pub struct Watching {
    hub: Arc<Hub>,
    _poller: AbortOnDropHandle<()>,
}

impl Watching {
    /// Starts it; it reads beside the app's pool, under its own role.
    pub fn start(app: &App) -> Self {
        let (batches, safe) = (broadcast::channel(KEPT).0, watch::channel(None).0);
        let hub = Arc::new(Hub { batches, safe, joined: Notify::new() });
        let poller = tokio::spawn(poll(app.clone(), Arc::clone(&hub)));
        Self { hub, _poller: AbortOnDropHandle::new(poller) }
    }
}

async fn poll(app: App, hub: Arc<Hub>) {
    let mut safe = None;
    loop {
        if hub.batches.receiver_count() == 0 {
            safe = None;
            hub.safe.send_replace(None);
            hub.joined.notified().await;
        }
        // What was reached is kept: after a break it goes on from there.
        if let Err(error) = follow(&app, &hub, &mut safe).await {
            tracing::warn!(%error, "the feed of events broke off; it goes on");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// Hands on what happens for as long as anybody watches.
async fn follow(app: &App, hub: &Hub, reached: &mut Option<Safe>) -> store::Result<()> {
    let mut feed = Feed::open(&app.pool).await?;
    let mut safe = match *reached {
        Some(safe) => safe,
        None => feed.newest().await?,
    };
    *reached = Some(safe);
    hub.safe.send_replace(Some(safe.at));
    while hub.batches.receiver_count() > 0 {
        let after = safe.at;
        let events = feed.next(&mut safe).await?;
        let events = events.into_iter().map(|watched| Ok((watched.clone(), told(watched)?)));
        let events = events.collect::<store::Result<Vec<_>>>()?;
        *reached = Some(safe);
        if events.is_empty() {
            feed.wait(&safe).await?;
            continue;
        }
        if let Some((newest, _)) = events.last() {
            metrics::tell_watch_lag(app.clock.now() - newest.event.recorded_at());
        }
        hub.safe.send_replace(Some(safe.at));
        // Nobody there to take it is no fault.
        let _ = hub.batches.send(Arc::new(Batch { after, up_to: safe.at, events }));
    }
    Ok(())
}

fn told(watched: Watched) -> store::Result<WatchClaimsResponse> {
    let (event, logistics_event) = match watched.event {
        Happened::Claim(event) => (Some(reading::event(event, &[], false)?), None),
        Happened::Logistics(event) => (None, Some(logistics(event)?)),
    };
    Ok(WatchClaimsResponse {
        cursor: watched.feed.to_string(),
        claim_id: text(watched.claim_id),
        serial: text(watched.serial),
        dealer_id: text(watched.dealer_id),
        event,
        logistics_event,
    })
}

fn logistics(event: LogisticsEvent) -> store::Result<v1::LogisticsEvent> {
    let kind = LogisticsEventType::from_str_name(&format!("LOGISTICS_EVENT_TYPE_{}", event.kind));
    Ok(v1::LogisticsEvent {
        r#type: kind.ok_or_else(|| Error::broken(format!("no event type {} in the contract", event.kind)))?.into(),
        shipment_id: text(event.shipment_id),
        recorded_time: Some(time(event.recorded_at)),
        actor: event.actor,
        facts_json: event.facts.to_string(),
    })
}

/// Hints to all pollers, after this process committed something: at most every 5 ms, and nobody waits for it.
pub(in crate::service) async fn hint(app: App) {
    let pool = store::watch::hints_beside(&app.pool);
    loop {
        app.written.notified().await;
        // A hint that is lost costs the pollers' pause.
        if let Err(error) = store::watch::hint(&pool).await {
            tracing::debug!(%error, "no hint was given");
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(super) async fn watch(
    app: &App,
    watching: &Watching,
    request: Request<v1::WatchClaimsRequest>,
) -> Reply<Replies<WatchClaimsResponse>> {
    let (call, request) = open(request)?;
    Fields::at_most("types", &request.types, 100)?;
    let mut fields = Fields::default();
    let cursor = match request.cursor.as_str() {
        "" => Ok(None),
        told => told.parse::<i64>().map(Some),
    };
    if !matches!(cursor, Ok(None | Some(0..))) {
        fields.violate("cursor", NO_CURSOR);
    }
    let serial = fields.optional_serial("serial", &request.serial);
    let dealer_id = fields.optional_dealer("dealer_id", &request.dealer_id);
    let logistics = request.logistics;
    let types = fields.each(&request.types, |fields, at, kind| type_name(fields, at, *kind));
    let (cursor, wanted) = fields
        .finish(|| Some((cursor.ok()?, Wanted { serial: serial?, dealer_id: dealer_id?, types: types?, logistics })))?;
    // Joined before it is asked how far the feed is: what comes between is in the channel.
    let batches = watching.hub.batches.subscribe();
    watching.hub.joined.notify_one();
    let mut safe = watching.hub.safe.subscribe();
    let safe = safe.wait_for(Option::is_some).await.map_err(|_| status::internal())?.unwrap_or_default();
    if cursor.is_some_and(|cursor| cursor > safe) {
        let drawn = transact!(app.read(&call, ()), |conn, (), _| last_drawn(conn).await)?.into_inner();
        if cursor > Some(drawn) {
            let mut fields = Fields::default();
            fields.violate("cursor", NO_CURSOR);
            fields.finish(|| Some(()))?;
        }
    }
    let at = cursor.unwrap_or(safe);
    let watcher = Watcher {
        app: app.clone(),
        call,
        wanted,
        batches,
        at,
        up_to: safe,
        queue: VecDeque::from([cursor_alone(at)]),
        tell_at: Instant::now() + TELL_CURSOR,
    };
    Ok(Response::new(Box::pin(stream::try_unfold(watcher, Watcher::next))))
}

const NO_CURSOR: &str = "must be empty, 0, or a cursor that was told";

fn type_name(fields: &mut Fields, at: usize, number: i32) -> Option<&'static str> {
    let short = |known: ClaimEventType| known.as_str_name().trim_start_matches("CLAIM_EVENT_TYPE_");
    let known = ClaimEventType::try_from(number).ok().filter(|known| *known != ClaimEventType::Unspecified);
    if known.is_none() {
        let all = (1..).map_while(|number| ClaimEventType::try_from(number).ok()).map(short).map(str::to_owned);
        fields.not_one_of(&format!("types[{at}]"), number, all);
    }
    known.map(short)
}

fn cursor_alone(at: i64) -> WatchClaimsResponse {
    WatchClaimsResponse { cursor: at.to_string(), ..Default::default() }
}

/// One who watches.
struct Watcher {
    app: App,
    call: Call,
    wanted: Wanted,
    batches: broadcast::Receiver<Arc<Batch>>,
    /// Everything up to this number was told, or is in the queue.
    at: i64,
    /// Up to this number it reads pages.
    up_to: i64,
    queue: VecDeque<WatchClaimsResponse>,
    tell_at: Instant,
}

impl Watcher {
    async fn next(mut self) -> Result<Option<(WatchClaimsResponse, Self)>, Status> {
        loop {
            if let Some(reply) = self.queue.pop_front() {
                drop(telemetry::part("message", reply.cursor.parse().unwrap_or_default()));
                return Ok(Some((reply, self)));
            }
            if Instant::now() >= self.tell_at {
                self.tell_at = Instant::now() + TELL_CURSOR;
                self.queue.push_back(cursor_alone(self.at));
            } else if self.at < self.up_to {
                self.page().await?;
            } else {
                self.join().await?;
            }
        }
    }

    /// A page of what it has not had yet, read as its own caller.
    async fn page(&mut self) -> Result<(), Status> {
        let call = Call { deadline: std::time::Instant::now() + self.call.patience, ..self.call.clone() };
        let asked = (self.wanted.clone(), self.at, self.up_to);
        let page = transact!(self.app.read(&call, asked), |conn, (wanted, at, up_to), actor| {
            backlog(conn, actor, &wanted, at, up_to).await
        });
        let (events, got) = page?.into_inner();
        for watched in events {
            self.queue.push_back(told(watched).map_err(|error| status::of(&error))?);
        }
        self.at = got;
        Ok(())
    }

    /// What the poller hands on next. Where something lies between, because it lagged or the poller rested, pages follow.
    async fn join(&mut self) -> Result<(), Status> {
        use broadcast::error::RecvError;
        let batch = match timeout_at(self.tell_at, self.batches.recv()).await {
            Ok(Ok(batch)) if batch.up_to > self.at => batch,
            Ok(Ok(_) | Err(RecvError::Lagged(_))) | Err(_) => return Ok(()),
            Ok(Err(RecvError::Closed)) => {
                return Err(status::status(Code::Unavailable, ErrorReason::Overloaded, "this process stops", &[]));
            }
        };
        if batch.after > self.at {
            self.up_to = batch.up_to;
            return Ok(());
        }
        let new = batch.events.iter().filter(|(watched, _)| watched.feed > self.at);
        let shown = new.filter(|(watched, _)| self.wanted.shows(&self.call.actor, watched));
        self.queue.extend(shown.map(|(_, reply)| reply.clone()));
        self.at = batch.up_to;
        Ok(())
    }
}
