//! `warranty ratelimit`: answers Envoy's rate limit protocol over counters in PostgreSQL.
//!
//! No answer waits for the database: a process counts in memory and writes what it let through every 100 ms, in one
//! statement that tells what all processes did. So N processes can let through at most what N - 1 of them take on of one
//! caller between two writes. While the database is away each counts alone: N times the limit may pass, and no call fails.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Context;
use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD as BASE64};
use chrono::{DateTime, Utc};
use sqlx::PgPool;
use tokio::{net::TcpListener, time};
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Response, Status,
    transport::{Server, server::TcpIncoming},
};
use tonic_health::{ServingStatus, server::health_reporter};

use crate::{
    clock::Clock,
    config::RatelimitConfig,
    contract::envoy::{
        RateLimitDescriptor, RateLimitRequest, RateLimitResponse,
        rate_limit_response::{Code, DescriptorStatus, HeaderValue, RateLimit, rate_limit::Unit as WireUnit},
        rate_limit_service_server::{RateLimitService, RateLimitServiceServer},
    },
    domain::rate::{Limit, Unit},
    server::signals,
    service::status,
    store::{self, Role, rates, rates::Counter},
    telemetry,
};

/// Between two writes.
const EVERY: Duration = Duration::from_millis(100);
/// A write that takes longer is given up, and its calls told again with the next.
const PATIENCE: Duration = Duration::from_secs(1);
/// Where a limit is of all methods together.
const ALL: &str = "*";

/// The calls of one counter.
#[derive(Debug, Default, Clone, Copy)]
struct Calls {
    /// What all processes let through, as the database last told.
    told: u64,
    /// What this one let through and has not told yet.
    ours: u64,
}

/// The limits, and how far each caller has come.
#[derive(Debug)]
pub struct Limiter {
    limits: HashMap<String, Limit>,
    clock: Clock,
    counters: Mutex<HashMap<Counter, Calls>>,
}

/// One descriptor's limit, and where its caller stands with it.
struct Standing {
    counter: Counter,
    limit: Limit,
    left: Option<u64>,
}

impl Limiter {
    /// With these limits by method, `*` for all together.
    pub fn new(limits: impl IntoIterator<Item = (String, Limit)>, clock: Clock) -> Self {
        Self { limits: limits.into_iter().collect(), clock, counters: Mutex::default() }
    }

    fn counters(&self) -> MutexGuard<'_, HashMap<Counter, Calls>> {
        // Nothing panics while it is held.
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call under every descriptor that has a limit, or under none where one of them is used up.
    pub fn judge(&self, request: &RateLimitRequest) -> RateLimitResponse {
        let hits = u64::from(request.hits_addend.max(1));
        let now = self.clock.now();
        let mut counters = self.counters();
        let standings: Vec<Option<Standing>> = request
            .descriptors
            .iter()
            .map(|descriptor| {
                let (counter, limit) = self.counter(descriptor, now)?;
                let calls = counters.get(&counter).copied().unwrap_or_default();
                Some(Standing { left: limit.left(calls.told + calls.ours, hits), counter, limit })
            })
            .collect();
        let over = standings.iter().flatten().find(|standing| standing.left.is_none());
        if over.is_none() {
            for standing in standings.iter().flatten() {
                counters.entry(standing.counter.clone()).or_default().ours += hits;
            }
        }
        drop(counters);
        let mut answer = RateLimitResponse {
            overall_code: if over.is_some() { Code::OverLimit } else { Code::Ok }.into(),
            statuses: standings.iter().map(|standing| told(standing.as_ref(), now)).collect(),
            ..Default::default()
        };
        if let Some(over) = over {
            refuse(&mut answer, over, now);
        }
        answer
    }

    /// A descriptor is the caller, one entry, and where it is of one method that method's path.
    fn counter(&self, descriptor: &RateLimitDescriptor, now: DateTime<Utc>) -> Option<(Counter, Limit)> {
        let caller = descriptor.entries.first()?;
        let path = descriptor.entries.iter().find(|entry| entry.key == "method").map(|entry| entry.value.as_str());
        // A query is no part of the method's name: with it the call would be counted for a method that nobody limits.
        let path = path.map(|path| path.split_once('?').map_or(path, |(path, _)| path));
        let method = path.map_or(ALL, |path| path.rsplit('/').next().unwrap_or(path));
        let limit = *self.limits.get(method)?;
        let (start, end) = limit.window(now);
        let caller = format!("{}/{}", caller.key, caller.value);
        Some((Counter { caller, method: method.to_owned(), start, end }, limit))
    }

    /// Tells the database what this process let through, and learns what all did. Errors: nothing is told; the next try tells it.
    pub async fn tell(&self, pool: &PgPool) -> Result<(), store::Error> {
        let ours: Vec<_> = {
            let now = self.clock.now();
            let mut counters = self.counters();
            counters.retain(|counter, _| counter.end > now);
            counters
                .iter()
                .filter(|(_, calls)| calls.ours > 0)
                .map(|(counter, calls)| (counter.clone(), calls.ours))
                .collect()
        };
        if ours.is_empty() {
            return Ok(());
        }
        let all = rates::add(pool, &ours).await?;
        let mut counters = self.counters();
        for (counter, told) in ours {
            if let Some(calls) = counters.get_mut(&counter) {
                calls.ours -= told;
            }
        }
        for (counter, told) in all {
            if let Some(calls) = counters.get_mut(&counter) {
                calls.told = told;
            }
        }
        Ok(())
    }
}

fn told(standing: Option<&Standing>, now: DateTime<Utc>) -> DescriptorStatus {
    let Some(Standing { counter, limit, left }) = standing else {
        return DescriptorStatus { code: Code::Ok.into(), ..Default::default() };
    };
    let unit = match limit.unit {
        Unit::Second => WireUnit::Second,
        Unit::Minute => WireUnit::Minute,
        Unit::Hour => WireUnit::Hour,
        Unit::Day => WireUnit::Day,
    };
    DescriptorStatus {
        code: if left.is_some() { Code::Ok } else { Code::OverLimit }.into(),
        current_limit: Some(RateLimit { requests_per_unit: limit.calls, unit: unit.into() }),
        limit_remaining: left.map_or(0, |left| u32::try_from(left).unwrap_or(u32::MAX)),
        duration_until_reset: prost_types::Duration::try_from(until(counter, now)).ok(),
    }
}

fn until(counter: &Counter, now: DateTime<Utc>) -> Duration {
    (counter.end - now).to_std().unwrap_or_default()
}

/// What the refused caller reads: the details of its status, and for HTTP when to come again.
fn refuse(answer: &mut RateLimitResponse, over: &Standing, now: DateTime<Utc>) {
    let reset = until(&over.counter, now);
    let refused = status::rate_limited(&over.counter.caller, &over.limit.to_string(), reset);
    let header = |key: &str, value: String| HeaderValue { key: key.to_owned(), value };
    answer.response_headers_to_add = vec![
        header("grpc-status-details-bin", BASE64.encode(refused.details())),
        header("retry-after", reset.as_secs().saturating_add(1).to_string()),
    ];
    answer.raw_body = refused.message().into();
}

/// Envoy's side of a limiter.
#[derive(Debug)]
pub struct Limits(pub Arc<Limiter>);

#[tonic::async_trait]
impl RateLimitService for Limits {
    async fn should_rate_limit(
        &self,
        request: Request<RateLimitRequest>,
    ) -> Result<Response<RateLimitResponse>, Status> {
        Ok(Response::new(self.0.judge(request.get_ref())))
    }
}

/// Serves until SIGTERM.
pub async fn serve(config: RatelimitConfig) -> anyhow::Result<()> {
    let telemetry = telemetry::start("warranty-ratelimit", &config.telemetry)?;
    telemetry::log_panics();
    let shutdown = CancellationToken::new();
    signals::watch(shutdown.clone())?;
    let listener = TcpListener::bind(config.listen).await;
    let listener = listener.with_context(|| format!("cannot listen on {}", config.listen))?;
    let pool = store::pool(&config.database_url, 1, Role::Ratelimit)?;
    let limiter = Arc::new(Limiter::new(config.limits, Clock::system()));
    tokio::spawn(keep(Arc::clone(&limiter), pool));
    let (health, served) = health_reporter();
    health.set_service_status("", ServingStatus::Serving).await;
    Server::builder()
        .add_service(served)
        .add_service(RateLimitServiceServer::new(Limits(limiter)))
        // An answer that waits for the acknowledgement of the one before comes after Envoy's patience: the call passes.
        .serve_with_incoming_shutdown(TcpIncoming::from(listener).with_nodelay(Some(true)), shutdown.cancelled_owned())
        .await?;
    telemetry::stop(telemetry).await;
    Ok(())
}

/// Tells the database, again and again; the log says once when it goes away and once when it is back.
async fn keep(limiter: Arc<Limiter>, pool: PgPool) {
    let (mut ticks, mut away) = (0_u32, false);
    let mut every = time::interval(EVERY);
    every.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let told = match time::timeout(PATIENCE, limiter.tell(&pool)).await {
            Ok(told) => told.map_err(|error| error.to_string()),
            Err(_) => Err("no answer in time".to_owned()),
        };
        match told {
            Err(ref error) if !away => tracing::warn!(error, "counting alone: the database is away"),
            Ok(()) if away => tracing::info!("counting together again"),
            _ => {}
        }
        away = told.is_err();
        ticks = ticks.wrapping_add(1);
        // Once a minute; what fails is done a minute later.
        if ticks.is_multiple_of(600) {
            let _ = time::timeout(PATIENCE, rates::forget(&pool, limiter.clock.now())).await;
        }
    }
}
