//! A process: which services it serves, under which database role.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{codec::CompressionEncoding::Gzip, server::NamedService, service::Routes};
use tonic_health::pb::health_check_response::ServingStatus;

use crate::{
    auth::{keys::KeyRing, token::Verifier},
    clock::Clock,
    config::{self, HealthConfig, ServeConfig},
    contract::v1::{
        claim_service_server::ClaimServiceServer, coverage_service_server::CoverageServiceServer,
        logistics_service_server::LogisticsServiceServer, registry_service_server::RegistryServiceServer,
    },
    metrics,
    server::{self, Chassis, probe, signals},
    service::{
        App,
        claim::{Claims, worker},
        coverage::Coverage,
        logistics::Logistics,
        registry::Registry,
    },
    store::{self, Role, objects::Objects, replica::Replica},
    telemetry,
};

/// What a process serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    /// CoverageService and RegistryService.
    Coverage,
    /// ClaimService.
    Claim,
    /// LogisticsService.
    Logistics,
    /// All of them.
    All,
}

impl Process {
    fn name(self) -> &'static str {
        match self {
            Self::Coverage => "warranty-coverage",
            Self::Claim => "warranty-claim",
            Self::Logistics => "warranty-logistics",
            Self::All => "warranty",
        }
    }

    fn roles(self) -> &'static [Role] {
        match self {
            Self::Coverage => &[Role::Coverage],
            Self::Claim => &[Role::Claim],
            Self::Logistics => &[Role::Logistics],
            Self::All => &[Role::Coverage, Role::Claim, Role::Logistics],
        }
    }
}

/// The services that these apps serve, and their full names; each app works under its own role. Scans and photos are kept in
/// `evidence`; `replica` answers coverage to those who name how old it may be.
pub fn routes(
    apps: &[(Role, App)],
    evidence: &Objects,
    replica: Option<&Replica>,
    max_message_bytes: usize,
) -> (Routes, Vec<&'static str>) {
    let (mut routes, mut names) = (Routes::default(), Vec::new());
    macro_rules! add {
        ($server:ident, $service:expr) => {{
            let server = $server::new($service).max_decoding_message_size(max_message_bytes);
            let server = server.accept_compressed(Gzip).send_compressed(Gzip);
            names.push(name_of(&server));
            routes = routes.add_service(server);
        }};
    }
    for (role, app) in apps {
        match role {
            Role::Coverage => {
                add!(CoverageServiceServer, Coverage::new(app.clone(), replica.cloned()));
                add!(RegistryServiceServer, Registry(app.clone()));
            }
            Role::Claim => {
                app.hint_watchers();
                add!(ClaimServiceServer, Claims::start(app.clone(), evidence.clone()));
            }
            Role::Logistics => {
                app.hint_watchers();
                add!(LogisticsServiceServer, Logistics(app.clone()));
            }
            // They serve nobody: what the clock drives, what the claim process reads the feed under, what counts for Envoy.
            Role::Worker | Role::Watch | Role::Ratelimit => {}
        }
    }
    (routes, names)
}

fn name_of<S: NamedService>(_: &S) -> &'static str {
    S::NAME
}

/// Serves with telemetry round it: what the last calls traced is sent before the process ends.
pub async fn serve(process: Process, config: ServeConfig) -> anyhow::Result<()> {
    config.check().map_err(anyhow::Error::msg)?;
    let telemetry = telemetry::start(process.name(), &config.telemetry)?;
    telemetry::log_panics();
    let served = listen(process, &config).await;
    telemetry::stop(telemetry).await;
    served
}

async fn listen(process: Process, config: &ServeConfig) -> anyhow::Result<()> {
    let shutdown = CancellationToken::new();
    signals::watch(shutdown.clone())?;
    let listener = bind(config.listen).await?;
    let admin = match config.admin_listen {
        Some(address) => Some(bind(address).await?),
        None => None,
    };
    let app = |role: &Role| -> anyhow::Result<(Role, App)> {
        let pool = store::pool(&config.database_url, config.pool_size, *role)?;
        metrics::tell_pool(&role.to_string(), &pool);
        Ok((*role, App::new(pool, Clock::system())))
    };
    let apps = process.roles().iter().map(app).collect::<anyhow::Result<Vec<_>>>()?;
    metrics::tell_schema_needed(store::schema_needed());
    let evidence = Objects::open(&config.evidence, config::aws_settings())?;
    let replica = config.replica_url.as_deref().filter(|url| !url.is_empty());
    let coverage = apps.iter().find(|(role, _)| *role == Role::Coverage);
    let replica = replica.zip(coverage).map(|(url, (_, app))| Replica::start(url, &app.pool)).transpose()?;
    let (routes, services) = routes(&apps, &evidence, replica.as_ref(), config.limits.max_message_bytes);
    let chassis = Chassis {
        routes,
        services,
        verifier: Arc::new(verifier(config).await?),
        clock: Clock::system(),
        limits: config.limits.clone(),
        origins: config.allowed_origins.clone(),
        reflection: config.reflection,
        shutdown: shutdown.clone(),
    };
    let mut pools: Vec<_> = apps.into_iter().map(|(_, app)| app.pool).collect();
    let asked = pools.clone();
    if process.roles().contains(&Role::Claim) {
        let pool = store::pool(&config.database_url, 1, Role::Worker)?;
        metrics::tell_pool(&Role::Worker.to_string(), &pool);
        tokio::spawn(worker::run(pool.clone(), evidence, Clock::system(), worker::EVERY, shutdown));
        pools.push(pool);
    }
    server::serve(listener, admin, chassis, move || ready(asked.clone())).await?;
    for pool in pools {
        pool.close().await;
    }
    Ok(())
}

/// Ready is a database that answers with a schema that this binary can work with.
async fn ready(pools: Vec<sqlx::PgPool>) -> Result<(), String> {
    for pool in pools {
        match store::ready(&pool).await {
            Ok(true) => {}
            Ok(false) => return Err("the schema is older than this binary needs: run `warranty migrate`".to_owned()),
            Err(error) => return Err(format!("the database does not answer: {error}")),
        }
    }
    Ok(())
}

/// Keys are read anew once a minute, and for an unknown `kid` at most every 10 seconds.
async fn verifier(config: &ServeConfig) -> anyhow::Result<Verifier> {
    let keys = KeyRing::load(config.jwks.clone(), Duration::from_secs(10)).await?;
    tokio::spawn(keys.clone().keep_fresh(Duration::from_secs(60)));
    Ok(Verifier::new(config.issuer.clone(), config.audience.clone(), keys))
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

/// Asks a running process how it is.
pub async fn health(config: HealthConfig) -> anyhow::Result<()> {
    let answer = probe::health(&config.address, &config.service).await;
    match answer.map_err(anyhow::Error::msg)? {
        ServingStatus::Serving => {
            println!("SERVING");
            Ok(())
        }
        other => bail!("{} says {}", config.address, other.as_str_name()),
    }
}
