//! The chassis under every process: listener, gate, health, reflection, grpc-web, drain.

mod admin;
mod connections;
mod gate;
pub mod probe;
mod request;
mod request_log;
pub mod signals;
mod stream;
mod web;

use std::{collections::HashMap, future::Future, sync::Arc, time::Duration};

use anyhow::Context;
use axum::{Router, http::HeaderValue, middleware};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;
use tonic::{service::Routes, transport::Server};
use tonic_health::{
    ServingStatus,
    pb::health_server::HealthServer,
    server::{HealthReporter, HealthService},
};
use tonic_web::GrpcWebLayer;

use crate::{
    auth::{
        methods::{self, Served},
        token::Verifier,
    },
    clock::Clock,
    config::Limits,
    contract, metrics,
};
use gate::Gate;

/// What one process serves, and under which terms.
pub struct Chassis {
    /// The services.
    pub routes: Routes,
    /// Their full names, `aopre.warranty.v1.ClaimService`: for health, reflection and the method table.
    pub services: Vec<&'static str>,
    /// Judges bearer tokens.
    pub verifier: Arc<Verifier>,
    /// The moment by which tokens are judged.
    pub clock: Clock,
    /// What is taken on.
    pub limits: Limits,
    /// Origins that browsers may call from, `https://app.example.com`; any other is refused.
    pub origins: Vec<HeaderValue>,
    /// Whether reflection is served.
    pub reflection: bool,
    /// Cancelled to drain and stop.
    pub shutdown: CancellationToken,
}

/// Serves until `chassis.shutdown` is cancelled and the calls in flight have finished (or the drain limit is over).
///
/// `ready` answers `/readyz` on the `admin` listener: `Err` says in a sentence what is missing.
/// Errors: nobody has decided who may call a method; the listener fails. A drain that meets its limit is none.
pub async fn serve<R, F>(
    listener: TcpListener,
    admin: Option<TcpListener>,
    chassis: Chassis,
    ready: R,
) -> anyhow::Result<()>
where
    R: Fn() -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    let methods = methods::of(contract::DESCRIPTORS, &chassis.services).map_err(anyhow::Error::msg)?;
    let limits = chassis.limits.clone();
    let shutdown = chassis.shutdown.clone();
    let services = chassis.services.clone();
    let health = HealthReporter::new();
    say(&health, &services, ServingStatus::NotServing).await;
    tokio::spawn(announce(ready.clone(), health.clone(), services.clone(), shutdown.clone()));
    let stop = CancellationToken::new();
    let places = Arc::new(Semaphore::new(limits.concurrency as usize));
    let router = router(chassis, methods, Arc::clone(&places), &health, stop.clone());
    let connections = connections::incoming(listener, limits.connections);
    let server = Server::builder()
        .accept_http1(true)
        .max_concurrent_streams(limits.streams)
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
        .http2_max_header_list_size(16 * 1024)
        // Many callers share a gateway's connection: some who cancel must not cut off the rest (h2's own limit is 20).
        .http2_max_pending_accept_reset_streams(Some(limits.streams as usize))
        .add_routes(Routes::from(router))
        .serve_with_incoming_shutdown(connections, stop.clone().cancelled_owned());
    // The admin port answers until the drain is over.
    let over = CancellationToken::new();
    let _over = over.clone().drop_guard();
    if let Some(admin) = admin {
        let most = limits.concurrency;
        metrics::tell_in_flight(most, move || (most as usize).saturating_sub(places.available_permits()));
        tokio::spawn(admin::serve(admin, ready, shutdown.clone(), over));
    }
    tokio::select! {
        served = server => served.context("serving"),
        () = drain(&shutdown, &stop, health, &services, &limits) => {
            tracing::warn!("calls were still in flight when the drain limit was over");
            Ok(())
        }
    }
}

/// What health says of every service, and of the process as a whole.
async fn say(health: &HealthReporter, services: &[&'static str], status: ServingStatus) {
    for service in services.iter().copied().chain([""]) {
        health.set_service_status(service, status).await;
    }
}

/// SERVING once all that is needed is there; until then the log says what is missing.
async fn announce<R, F>(ready: R, health: HealthReporter, services: Vec<&'static str>, shutdown: CancellationToken)
where
    R: Fn() -> F,
    F: Future<Output = Result<(), String>>,
{
    while let Err(missing) = ready().await {
        tracing::warn!(missing, "not serving yet");
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(Duration::from_millis(500)) => {}
        }
    }
    if !shutdown.is_cancelled() {
        say(&health, &services, ServingStatus::Serving).await;
        tracing::info!("serving");
    }
}

/// From the shutdown's signal to the end of the drain limit.
async fn drain(
    shutdown: &CancellationToken,
    stop: &CancellationToken,
    mut health: HealthReporter,
    services: &[&'static str],
    limits: &Limits,
) {
    shutdown.cancelled().await;
    tracing::info!("draining");
    say(&health, services, ServingStatus::NotServing).await;
    tokio::time::sleep(limits.lame_duck).await;
    stop.cancel();
    // A health watch never ends by itself, and would hold its connection until the limit.
    for service in services.iter().copied().chain([""]) {
        health.clear_service_status(service).await;
    }
    tokio::time::sleep(limits.drain).await;
}

/// The services and health and reflection, inside the layers: origin, CORS, grpc-web, gate (outside in).
fn router(
    chassis: Chassis,
    methods: HashMap<&'static str, Served>,
    places: Arc<Semaphore>,
    health: &HealthReporter,
    stop: CancellationToken,
) -> Router {
    let health = HealthServer::new(HealthService::from_health_reporter(health.clone()));
    let mut routes = chassis.routes.add_service(health);
    if chassis.reflection {
        let whole = "the contracts' descriptors are whole";
        let v1 = reflection(&chassis.services).build_v1().expect(whole);
        routes = routes.add_service(v1).add_service(reflection(&chassis.services).build_v1alpha().expect(whole));
    }
    let gate = Arc::new(Gate {
        verifier: chassis.verifier,
        clock: chassis.clock,
        places,
        streams: stream::OpenStreams::among(chassis.limits.concurrency),
        limits: chassis.limits,
        methods: methods.into_iter().map(|(path, served)| (path, (served, metrics::Calls::of(path)))).collect(),
        unknown: metrics::Calls::of(gate::OTHER),
        stop,
        full: gate::Full::default(),
    });
    let origins: Arc<[HeaderValue]> = chassis.origins.into();
    // In one, the first outermost: for each layer that axum is given by itself it boxes and clones the route once more.
    let browsers = (
        middleware::from_fn_with_state(Arc::clone(&origins), web::known_origin),
        web::cors(&origins),
        GrpcWebLayer::new(),
    );
    routes.into_axum_router().layer(middleware::from_fn_with_state(gate, gate::pass)).layer(browsers)
}

/// Lists what this process serves, not all that the contracts describe.
fn reflection<'a>(services: &[&'static str]) -> tonic_reflection::server::Builder<'a> {
    let builder = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(contract::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .with_service_name("grpc.health.v1.Health");
    services.iter().fold(builder, |builder, name| builder.with_service_name(*name))
}
