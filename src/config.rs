//! Flags and environment, read once and checked once; a wrong value is one sentence.

use std::{fmt, net::SocketAddr, time::Duration};

use axum::http::{HeaderValue, Uri};
use clap::{Args, Parser, Subcommand};

use crate::{auth::keys::JwksSource, client, local, server::Limits, telemetry};

/// The warranty system: coverage, claims and logistics.
#[derive(Debug, Parser)]
#[command(name = "warranty", version, arg_required_else_help = true)]
pub struct Cli {
    /// What to run.
    #[command(subcommand)]
    pub command: Command,
}

/// Every process and every command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve coverage and the registry.
    Coverage(ServeConfig),
    /// Serve claims.
    Claim(ServeConfig),
    /// Serve logistics.
    Logistics(ServeConfig),
    /// Serve all three in one process.
    All(ServeConfig),
    /// Ask a running process how it is; exits with 0 where it serves, 1 where not.
    Health(HealthConfig),
    /// Bring the database's schema up to this binary's version
    Migrate(MigrateConfig),
    /// Run the whole system on this machine: PostgreSQL, sample data, the three services, a development issuer
    Up(local::UpArgs),
    /// Print a development token
    Token(local::TokenArgs),
    /// Call one method and print the answer
    Call(client::CallArgs),
    /// Drive one claim of each way through the running services, and check every answer
    Walk(client::WalkArgs),
}

/// A text that Debug hides.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// Where the schema is.
#[derive(Args, Clone, Debug)]
pub struct MigrateConfig {
    /// PostgreSQL, as the owner of the schema: postgres://user:password@host/database
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Secret,
}

/// How a process serves.
#[derive(Args, Clone, Debug)]
pub struct ServeConfig {
    /// PostgreSQL, postgres://user:password@host/database
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Secret,
    /// Where gRPC and grpc-web are served
    #[arg(long, env = "WARRANTY_LISTEN", default_value = "127.0.0.1:50051")]
    pub listen: SocketAddr,
    /// Where /livez and /readyz are served; nowhere if left out
    #[arg(long, env = "WARRANTY_ADMIN_LISTEN")]
    pub admin_listen: Option<SocketAddr>,
    /// The issuer's public keys: a JWKS file or its http(s) address
    #[arg(long, env = "WARRANTY_JWKS", value_parser = jwks)]
    pub jwks: JwksSource,
    /// The only `iss` accepted
    #[arg(long, env = "WARRANTY_ISSUER")]
    pub issuer: String,
    /// The `aud` that tokens must name
    #[arg(long, env = "WARRANTY_AUDIENCE", default_value = "warranty")]
    pub audience: String,
    /// Origins that browsers may call from, comma separated: https://app.example.com
    #[arg(long, env = "WARRANTY_ALLOWED_ORIGINS", value_delimiter = ',', value_parser = origin)]
    pub allowed_origins: Vec<HeaderValue>,
    /// Database connections; replicas times this must stay under the server's limit
    #[arg(long, env = "WARRANTY_POOL_SIZE", default_value_t = 16)]
    pub pool_size: u32,
    /// How long a call may take without grpc-timeout: 10s, 500ms
    #[arg(long, env = "WARRANTY_DEFAULT_DEADLINE", default_value = "10s", value_parser = duration)]
    pub default_deadline: Duration,
    /// The longest that grpc-timeout may ask for
    #[arg(long, env = "WARRANTY_MAX_DEADLINE", default_value = "60s", value_parser = duration)]
    pub max_deadline: Duration,
    /// The largest request message, bytes
    #[arg(long, env = "WARRANTY_MAX_MESSAGE_BYTES", default_value_t = 4 * 1024 * 1024)]
    pub max_message_bytes: usize,
    /// Calls at once in this process; more are answered UNAVAILABLE
    #[arg(long, env = "WARRANTY_CONCURRENCY", default_value_t = 512)]
    pub concurrency: usize,
    /// Connections at once
    #[arg(long, env = "WARRANTY_CONNECTIONS", default_value_t = 4096)]
    pub connections: usize,
    /// Streams at once on one connection
    #[arg(long, env = "WARRANTY_STREAMS", default_value_t = 256)]
    pub streams: u32,
    /// Serve reflection: true or false
    #[arg(long, env = "WARRANTY_REFLECTION", default_value_t = true, action = clap::ArgAction::Set)]
    pub reflection: bool,
    /// The OTLP gRPC collector for traces: http://127.0.0.1:4317; none if left out
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<String>,
    /// The share of traces begun here that is recorded, 0 to 1
    #[arg(long, env = "WARRANTY_TRACE_RATIO", default_value_t = 0.1)]
    pub trace_ratio: f64,
    /// How long to go on accepting after a stop signal, while health says NOT_SERVING
    #[arg(long, env = "WARRANTY_LAME_DUCK", default_value = "0s", value_parser = duration)]
    pub lame_duck: Duration,
    /// How long calls in flight may take to finish after that
    #[arg(long, env = "WARRANTY_DRAIN", default_value = "20s", value_parser = duration)]
    pub drain: Duration,
    /// What is logged: info, or info,warranty=debug
    #[arg(long, env = "WARRANTY_LOG", default_value = "info")]
    pub log: String,
}

/// Whom to ask.
#[derive(Args, Clone, Debug)]
pub struct HealthConfig {
    /// The process
    #[arg(long, env = "WARRANTY_ADDRESS", default_value = "http://127.0.0.1:50051")]
    pub address: String,
    /// A service's full name, aopre.warranty.v1.ClaimService; the whole process if left out
    #[arg(long, default_value = "")]
    pub service: String,
}

impl ServeConfig {
    /// What no single flag can tell. Errors: the sentence to show.
    pub fn check(&self) -> Result<(), String> {
        let scheme = self.database_url.expose().split("://").next();
        if !matches!(scheme, Some("postgres" | "postgresql")) {
            return Err("DATABASE_URL must begin with postgres://".into());
        }
        if self.issuer.is_empty() || self.audience.is_empty() {
            return Err("the issuer and the audience must not be empty".into());
        }
        if self.default_deadline.is_zero() || self.default_deadline > self.max_deadline {
            return Err("the default deadline must be more than 0 and at most the maximum".into());
        }
        if !(1024..=64 * 1024 * 1024).contains(&self.max_message_bytes) {
            return Err("the largest message must be between 1 KiB and 64 MiB".into());
        }
        // The upper bound is far beyond use, and below what a semaphore can count.
        let counts = [self.concurrency, self.connections, self.streams as usize, self.pool_size as usize];
        if counts.iter().any(|count| !(1..=1_000_000).contains(count)) {
            return Err("concurrency, connections, streams and pool size must be between 1 and 1000000".into());
        }
        if !(0.0..=1.0).contains(&self.trace_ratio) {
            return Err("the trace ratio must be between 0 and 1".into());
        }
        Ok(())
    }

    /// Telemetry's share of it, for the process named `service`.
    pub fn telemetry(&self, service: &'static str) -> telemetry::Settings {
        telemetry::Settings {
            service,
            log_filter: self.log.clone(),
            otlp_endpoint: self.otlp_endpoint.clone().filter(|url| !url.is_empty()),
            trace_ratio: self.trace_ratio,
        }
    }

    /// The chassis's share of it.
    pub fn limits(&self) -> Limits {
        Limits {
            default_deadline: self.default_deadline,
            max_deadline: self.max_deadline,
            max_message_bytes: self.max_message_bytes,
            concurrency: self.concurrency,
            connections: self.connections,
            streams: self.streams,
            lame_duck: self.lame_duck,
            drain: self.drain,
        }
    }
}

/// An http(s) address, or else a file.
fn jwks(text: &str) -> Result<JwksSource, String> {
    match text {
        "" => Err("name a JWKS file or its http(s) address".into()),
        url if url.starts_with("http://") || url.starts_with("https://") => Ok(JwksSource::Url(url.into())),
        file => Ok(JwksSource::File(file.into())),
    }
}

/// `250ms`, `10s`, `2m`: digits and a unit.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let milliseconds = match &text[digits.len()..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        _ => return Err("write a whole number and ms, s or m".into()),
    };
    let amount: u32 = digits.parse().map_err(|_| "write a whole number and ms, s or m".to_owned())?;
    Ok(Duration::from_millis(u64::from(amount) * milliseconds))
}

/// `https://app.example.com`, as a browser sends it: no path, no `*`.
fn origin(text: &str) -> Result<HeaderValue, String> {
    let wrong = || "write an origin as a browser sends it: https://app.example.com".to_owned();
    let uri: Uri = text.parse().map_err(|_| wrong())?;
    let (Some(scheme @ ("http" | "https")), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(wrong());
    };
    if text != format!("{scheme}://{authority}") || text.contains('*') {
        return Err(wrong());
    }
    HeaderValue::from_str(text).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: [&str; 8] = [
        "warranty",
        "claim",
        "--database-url",
        "postgres://warranty:hunter2@db/warranty",
        "--jwks",
        "https://issuer.example.com/jwks.json",
        "--issuer",
        "https://issuer.example.com",
    ];

    fn parse(more: &[&str]) -> Result<ServeConfig, String> {
        let arguments = LEAST.iter().chain(more);
        match Cli::try_parse_from(arguments).map_err(|error| error.to_string())?.command {
            Command::Claim(config) => config.check().map(|()| config),
            other => Err(format!("parsed as {other:?}")),
        }
    }

    #[test]
    fn the_password_is_not_shown() {
        let config = parse(&[]).unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
        assert!(config.database_url.expose().contains("hunter2"));
    }

    #[test]
    fn a_wrong_value_is_one_sentence() {
        let cases = [
            (&["--trace-ratio", "2"], "the trace ratio must be between 0 and 1"),
            (&["--default-deadline", "2m"], "the default deadline must be more than 0 and at most the maximum"),
            (&["--concurrency", "0"], "concurrency, connections, streams and pool size must be between 1 and 1000000"),
            (&["--max-message-bytes", "1"], "the largest message must be between 1 KiB and 64 MiB"),
            (&["--audience", ""], "the issuer and the audience must not be empty"),
        ];
        for (more, sentence) in cases {
            assert_eq!(parse(more).unwrap_err(), sentence);
        }
    }

    #[test]
    fn an_origin_is_what_a_browser_sends() {
        for good in ["https://app.example.com", "http://localhost:3000"] {
            assert_eq!(origin(good).unwrap(), good);
        }
        for bad in ["*", "app.example.com", "https://app.example.com/", "https://*.example.com", "ftp://a.b", "null"] {
            assert!(origin(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_duration_has_a_unit() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "10", "s", "-1s", "1h", "1.5s", "99999999999s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
