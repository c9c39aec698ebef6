//! The one binary: parse, load the configuration, start telemetry, run the chosen process.

use std::{net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use clap::Parser;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic_health::pb::health_check_response::ServingStatus;
use warranty::{
    auth::{keys::KeyRing, token::Verifier},
    clock::Clock,
    config::{Cli, Command, HealthConfig, ServeConfig},
    server::{self, Chassis, probe, signals},
    telemetry,
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    // The HTTPS client that fetches keys brings no cryptography of its own.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let ran = runtime().and_then(|runtime| runtime.block_on(run(cli.command)));
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("warranty: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// At least two threads: the trace exporter needs one while another waits for it.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let threads = std::thread::available_parallelism().map_or(2, |cores| cores.get().max(2));
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?)
}

async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Coverage(config) => serve("warranty-coverage", config).await,
        Command::Claim(config) => serve("warranty-claim", config).await,
        Command::Logistics(config) => serve("warranty-logistics", config).await,
        Command::All(config) => serve("warranty", config).await,
        Command::Health(config) => health(config).await,
    }
}

/// Serves with telemetry round it: what the last calls traced is sent before the process ends.
async fn serve(service: &'static str, config: ServeConfig) -> anyhow::Result<()> {
    config.check().map_err(anyhow::Error::msg)?;
    let telemetry = telemetry::start(&config.telemetry(service))?;
    telemetry::log_panics();
    let served = listen(&config).await;
    telemetry.shutdown().await;
    served
}

async fn listen(config: &ServeConfig) -> anyhow::Result<()> {
    let shutdown = CancellationToken::new();
    signals::watch(shutdown.clone())?;
    let listener = bind(config.listen).await?;
    let admin = match config.admin_listen {
        Some(address) => Some(bind(address).await?),
        None => None,
    };
    let chassis = Chassis {
        routes: Routes::default(),
        services: Vec::new(),
        verifier: Arc::new(verifier(config).await?),
        clock: Clock::system(),
        limits: config.limits(),
        origins: config.allowed_origins.clone(),
        reflection: config.reflection,
        shutdown,
    };
    server::serve(listener, admin, chassis, || async { Ok(()) }).await?;
    Ok(())
}

/// Keys are read anew once a minute, and for an unknown `kid` at most every 10 seconds.
async fn verifier(config: &ServeConfig) -> anyhow::Result<Verifier> {
    let keys = KeyRing::load(config.jwks.clone(), Duration::from_secs(10)).await?;
    tokio::spawn(keys.clone().keep_fresh(Duration::from_secs(60)));
    let (issuer, audience) = (config.issuer.clone(), config.audience.clone());
    Ok(Verifier::new(issuer, audience, keys, 10_000))
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let bound = TcpListener::bind(address).await;
    bound.with_context(|| format!("cannot listen on {address}"))
}

async fn health(config: HealthConfig) -> anyhow::Result<()> {
    let answer = probe::health(&config.address, &config.service).await;
    match answer.map_err(anyhow::Error::msg)? {
        ServingStatus::Serving => {
            println!("SERVING");
            Ok(())
        }
        other => bail!("{} says {}", config.address, other.as_str_name()),
    }
}
