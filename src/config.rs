//! Flags and environment, read once and checked once; a wrong value is one sentence.

use std::{net::SocketAddr, time::Duration};

use axum::http::HeaderValue;
use clap::{Args, Parser, Subcommand, builder::RangedI64ValueParser, value_parser};

use crate::{audit, bench, client, domain::rate::Limit, local, openapi};

/// The warranty system: coverage, claims and logistics.
#[derive(Parser)]
#[command(name = "warranty", version, arg_required_else_help = true)]
pub struct Cli {
    /// What to run.
    #[command(subcommand)]
    pub command: Command,
}

/// Every process and every command.
#[derive(Subcommand)]
pub enum Command {
    /// Serve coverage and the registry.
    Coverage(ServeConfig),
    /// Serve claims.
    Claim(ServeConfig),
    /// Serve logistics.
    Logistics(ServeConfig),
    /// Serve all three in one process.
    All(ServeConfig),
    /// Answer the gateway's Envoy whether a call is within its caller's limits
    Ratelimit(RatelimitConfig),
    /// Print the contracts as an OpenAPI document, for callers by JSON
    Openapi(openapi::OpenapiArgs),
    /// Ask a running process how it is; exits with 0 where it serves, 1 where not.
    Health(HealthConfig),
    /// Bring the database's schema up to this binary's version
    Migrate(MigrateConfig),
    /// Run the whole system on this machine: PostgreSQL, sample data, the three services, a development issuer
    Up(local::UpArgs),
    /// Print a development token
    Token(local::TokenArgs),
    /// Load the running services and tell how fast they are, beside pgbench
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Call one method and print the answer
    Call(client::CallArgs),
    /// Take in units or sales from a CSV file
    Import(client::ImportArgs),
    /// Drive one claim of each way through the running services, and check every answer
    Walk(client::WalkArgs),
    /// Check, simulate and publish a draft of a policy version
    Policy(client::PolicyArgs),
    /// Count: turnaround, failures, no fault found; as a table, CSV or a picture
    Report(client::ReportArgs),
    /// Print what happens to claims as it happens; goes on by itself after a break
    Watch(client::WatchArgs),
    /// Look for what was changed behind the system's back
    #[command(subcommand)]
    Audit(audit::Audit),
}

/// Where the schema is. Never shown: the address holds a password.
#[derive(Args, Clone)]
pub struct MigrateConfig {
    /// PostgreSQL, as the owner of the schema: postgres://user:password@host/database
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: String,
}

/// How a process serves. Never shown: the database's address holds a password.
#[derive(Args, Clone)]
pub struct ServeConfig {
    /// PostgreSQL, postgres://user:password@host/database
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: String,
    /// A replica of it, which answers coverage to those who say how old it may be (max_staleness); none if left out
    #[arg(long, env = "WARRANTY_REPLICA_URL", hide_env_values = true)]
    pub replica_url: Option<String>,
    /// Where gRPC and grpc-web are served
    #[arg(long, env = "WARRANTY_LISTEN", default_value = "127.0.0.1:7051")]
    pub listen: SocketAddr,
    /// Where /livez, /readyz and /metrics are served; nowhere if left out
    #[arg(long, env = "WARRANTY_ADMIN_LISTEN")]
    pub admin_listen: Option<SocketAddr>,
    /// The issuer's public keys: a JWKS file or its http(s) address
    #[arg(long, env = "WARRANTY_JWKS")]
    pub jwks: String,
    /// The only `iss` accepted
    #[arg(long, env = "WARRANTY_ISSUER")]
    pub issuer: String,
    /// The `aud` that tokens must name
    #[arg(long, env = "WARRANTY_AUDIENCE", default_value = "warranty")]
    pub audience: String,
    /// Origins that browsers may call from, comma separated: https://app.example.com
    #[arg(long, env = "WARRANTY_ALLOWED_ORIGINS", value_delimiter = ',', value_parser = origin)]
    pub allowed_origins: Vec<HeaderValue>,
    /// Serve reflection: true or false
    #[arg(long, env = "WARRANTY_REFLECTION", default_value_t = true, action = clap::ArgAction::Set)]
    pub reflection: bool,
    /// Where scans and photos are kept: a folder, or s3://bucket/prefix with the usual AWS_ variables
    #[arg(long, env = "WARRANTY_EVIDENCE", default_value = "/var/lib/warranty/evidence")]
    pub evidence: String,
    /// Database connections; replicas times this must stay under the server's limit
    #[arg(long, env = "WARRANTY_POOL_SIZE", default_value_t = 16, value_parser = count())]
    pub pool_size: u32,
    /// What is taken on.
    #[command(flatten)]
    pub limits: Limits,
    /// What is shown.
    #[command(flatten)]
    pub telemetry: TelemetryConfig,
}

/// How the limits are kept. Never shown: the database's address holds a password.
#[derive(Args, Clone)]
pub struct RatelimitConfig {
    /// PostgreSQL, postgres://user:password@host/database
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: String,
    /// Where Envoy's protocol, and health, are served
    #[arg(long, env = "WARRANTY_LISTEN", default_value = "127.0.0.1:7058")]
    pub listen: SocketAddr,
    /// Calls of each caller, comma separated: `*` over all methods, a method's name for that one
    #[arg(long = "limit", env = "WARRANTY_LIMITS", value_delimiter = ',', value_parser = limit,
          default_value = "*=6000/minute,FileClaim=600/minute,BatchFileClaims=60/minute,BatchCheckCoverage=600/minute")]
    pub limits: Vec<(String, Limit)>,
    /// What is shown.
    #[command(flatten)]
    pub telemetry: TelemetryConfig,
}

/// What a process takes on. Counts are for the whole process where not said otherwise.
#[derive(Args, Clone, Debug)]
pub struct Limits {
    /// How long a call may take without grpc-timeout: 10s, 0.5s
    #[arg(long, env = "WARRANTY_DEFAULT_DEADLINE", default_value = "10s", value_parser = duration)]
    pub default_deadline: Duration,
    /// The longest that grpc-timeout may ask for; more counts as this
    #[arg(long, env = "WARRANTY_MAX_DEADLINE", default_value = "60s", value_parser = duration)]
    pub max_deadline: Duration,
    /// The largest request message, bytes
    #[arg(long, env = "WARRANTY_MAX_MESSAGE_BYTES", default_value_t = 4 * 1024 * 1024)]
    pub max_message_bytes: usize,
    /// Calls at once; more are answered UNAVAILABLE. Three quarters of them may be streams, 32 of one caller
    #[arg(long, env = "WARRANTY_CONCURRENCY", default_value_t = 512, value_parser = count())]
    pub concurrency: u32,
    /// Connections at once; more wait to be accepted
    #[arg(long, env = "WARRANTY_CONNECTIONS", default_value_t = 4096, value_parser = count())]
    pub connections: u32,
    /// Streams at once on one connection
    #[arg(long, env = "WARRANTY_STREAMS", default_value_t = 256, value_parser = count())]
    pub streams: u32,
    /// How long to go on accepting after a stop signal, while health says NOT_SERVING and load balancers notice
    #[arg(long, env = "WARRANTY_LAME_DUCK", default_value = "0s", value_parser = duration)]
    pub lame_duck: Duration,
    /// How long calls in flight may take to finish after that
    #[arg(long, env = "WARRANTY_DRAIN", default_value = "20s", value_parser = duration)]
    pub drain: Duration,
}

/// What a process shows of itself.
#[derive(Args, Clone, Debug)]
pub struct TelemetryConfig {
    /// The OTLP gRPC collector for traces: http://127.0.0.1:4317; none if left out
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<String>,
    /// The share of traces begun here that is recorded, 0 to 1; one begun elsewhere keeps its caller's choice
    #[arg(long, env = "WARRANTY_TRACE_RATIO", default_value_t = 0.1)]
    pub trace_ratio: f64,
    /// What is logged: info, or info,warranty=debug
    #[arg(long, env = "WARRANTY_LOG", default_value = "info")]
    pub log: String,
}

/// Whom to ask.
#[derive(Args, Clone, Debug)]
pub struct HealthConfig {
    /// The process
    #[arg(long, env = "WARRANTY_ADDRESS", default_value = "http://127.0.0.1:7051")]
    pub address: String,
    /// A service's full name, aopre.warranty.v1.ClaimService; the whole process if left out
    #[arg(long, default_value = "")]
    pub service: String,
}

impl ServeConfig {
    /// What no single flag can tell. Errors: the sentence to show.
    pub fn check(&self) -> Result<(), String> {
        let Limits { default_deadline, max_deadline, max_message_bytes, .. } = self.limits;
        let deadlines =
            !default_deadline.is_zero() && default_deadline <= max_deadline && max_deadline.as_secs() <= 3600;
        let message = (1024..=64 * 1024 * 1024).contains(&max_message_bytes);
        let rules = [
            (self.database_url.starts_with("postgres"), "DATABASE_URL must begin with postgres://"),
            (!self.issuer.is_empty() && !self.audience.is_empty(), "the issuer and the audience must not be empty"),
            (deadlines, "the default deadline must be more than 0 and at most the maximum, that at most an hour"),
            (message, "the largest message must be between 1 KiB and 64 MiB"),
            ((0.0..=1.0).contains(&self.telemetry.trace_ratio), "the trace ratio must be between 0 and 1"),
        ];
        let broken = rules.into_iter().find(|(holds, _)| !holds);
        broken.map_or(Ok(()), |(_, sentence)| Err(sentence.to_owned()))
    }
}

/// What the environment says of S3: `AWS_ACCESS_KEY_ID` and its like.
pub fn aws_settings() -> impl Iterator<Item = (String, String)> {
    let told =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    told.filter(|(name, _)| name.starts_with("AWS_"))
}

/// At least one, and not more than is of any use.
fn count() -> RangedI64ValueParser<u32> {
    value_parser!(u32).range(1..=1_000_000)
}

/// `FileClaim=600/minute`
fn limit(text: &str) -> Result<(String, Limit), String> {
    let parts = text.split_once('=').and_then(|(method, limit)| Some((method.to_owned(), limit.parse().ok()?)));
    parts
        .ok_or_else(|| "write METHOD=CALLS/UNIT, the unit second, minute, hour or day: FileClaim=600/minute".to_owned())
}

/// `10s`, `0.5s`.
fn duration(text: &str) -> Result<Duration, String> {
    let seconds = text.strip_suffix('s').and_then(|number| number.parse().ok());
    let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    duration.ok_or_else(|| "write seconds: 10s, 0.5s".to_owned())
}

/// `https://app.example.com`, as a browser sends it: no path, no `*`.
fn origin(text: &str) -> Result<HeaderValue, String> {
    let host = text.strip_prefix("https://").or(text.strip_prefix("http://"));
    let plain = host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '*', '?', '#', '@', ' ']));
    let value = HeaderValue::from_str(text).ok().filter(|_| plain);
    value.ok_or_else(|| "write an origin as a browser sends it: https://app.example.com".to_owned())
}
