//! SQL, split by noun. Plain functions over a connection; the guarantees are the database's constraints, each with a name.

pub mod audit;
pub mod billing;
pub mod catalogue;
pub mod claims;
pub mod contracts;
pub mod counts;
pub mod dealers;
pub mod error;
pub mod evidence;
pub mod facts;
pub mod faults;
pub mod filing;
pub mod freight;
pub mod history;
pub mod import;
pub mod ledger;
pub mod objects;
pub mod people;
pub mod policies;
pub mod prices;
pub mod promises;
pub mod quotes;
pub mod rates;
pub mod reader;
pub mod replica;
pub mod report;
pub mod requests;
pub mod sales;
pub mod set_aside;
pub mod shipments;
pub mod statements;
pub mod stock;
mod texts;
pub mod tracking;
pub mod transaction;
pub mod units;
pub mod watch;

use std::{str::FromStr, time::Duration};

use sqlx::{
    AssertSqlSafe, Connection, Executor, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::metrics;

pub use error::{Error, Result};
pub use transaction::{statement, transaction};

/// The schema's versions; this binary needs the latest.
static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// The database role that a process works under: only the grants it needs, no table of its own. Its name is in the database's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display)]
#[strum(serialize_all = "lowercase")]
pub enum Role {
    /// CoverageService and RegistryService.
    Coverage,
    /// ClaimService.
    Claim,
    /// LogisticsService.
    Logistics,
    /// What reads the feed of events for those who watch.
    Watch,
    /// What the clock drives.
    Worker,
    /// What counts calls for the gateway.
    Ratelimit,
}

/// A pool of at most `size` connections, each under `role`. Connects lazily: the process starts while the database is away.
///
/// No connection is pinged at checkout (a round trip): one that lay idle for half a minute is tried first, for at most a second.
pub fn pool(url: &str, size: u32, role: Role) -> anyhow::Result<PgPool> {
    Ok(pool_to(PgConnectOptions::from_str(url)?, size, role))
}

fn pool_to(server: PgConnectOptions, size: u32, role: Role) -> PgPool {
    let options = server.application_name(&format!("warranty-{role}"));
    PgPoolOptions::new()
        .max_connections(size)
        .acquire_timeout(Duration::from_secs(3))
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for < Duration::from_secs(30) {
                    return Ok(true);
                }
                let ping = tokio::time::timeout(Duration::from_secs(1), connection.ping()).await;
                Ok(matches!(ping, Ok(Ok(()))))
            })
        })
        .after_connect(move |connection, _| Box::pin(prepare(connection, role)))
        .connect_lazy_with(options)
}

/// Puts a fresh connection under its role. A statement ends at its transaction's deadline, or soon after its client went away.
async fn prepare(connection: &mut PgConnection, role: Role) -> sqlx::Result<()> {
    connection.execute(AssertSqlSafe(format!("SET ROLE warranty_{role}"))).await?;
    let settings = "SET client_connection_check_interval = '100ms'; SET idle_in_transaction_session_timeout = '60s'";
    connection.execute(settings).await?;
    Ok(())
}

/// Brings the schema up to this binary's version and publishes the standard policy; one that a newer binary migrated stays as it is.
/// `url` is the owner's.
pub async fn migrate(url: &str) -> anyhow::Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    let mut migrations = sqlx::migrate::Migrator::with_migrations(MIGRATIONS.iter().cloned().collect());
    migrations.set_ignore_missing(true).run(&mut connection).await?;
    policies::publish_standard(&mut connection).await?;
    // The login that migrates locally also serves: it must be able to take each process's role.
    connection.execute("GRANT warranty_coverage, warranty_claim, warranty_logistics, warranty_worker, warranty_watch, warranty_ratelimit TO CURRENT_USER").await?;
    connection.close().await?;
    Ok(())
}

/// Refuses to read a feed on from a number that `sequence` never gave out: after a restore its reader is ahead of what is left, and
/// would take the silence for the end.
pub async fn given_out(conn: &mut PgConnection, sequence: &'static str, after: i64) -> Result<()> {
    let last = "SELECT coalesce(pg_sequence_last_value($1::text::regclass), 0)";
    let last: i64 = sqlx::query_scalar(last).bind(sequence).fetch_one(conn).await?;
    match after <= last {
        true => Ok(()),
        false => Err(Error::invalid("after_sequence", "must be 0 or a number that was told")),
    }
}

/// The least version of the schema that this binary works with: its latest migration's.
pub fn schema_needed() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// Whether the database answers and its schema is at least the version this binary needs.
pub async fn ready(pool: &PgPool) -> Result<bool> {
    // Asked first: where nothing was migrated the function is not there to be called.
    let (migrated,): (bool,) =
        sqlx::query_as("SELECT to_regproc('schema_version') IS NOT NULL").fetch_one(pool).await?;
    if !migrated {
        metrics::tell_schema_found(0);
        return Ok(false);
    }
    let (found,): (i64,) = sqlx::query_as("SELECT schema_version()").fetch_one(pool).await?;
    metrics::tell_schema_found(found);
    Ok(found >= schema_needed())
}
