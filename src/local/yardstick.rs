//! What PostgreSQL does by itself on the same server in the same minutes: pgbench, and COPY.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use percent_encoding::percent_decode_str;
use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};
use tokio::{process::Command, time::Instant};

use super::installation::find_binaries;

/// Made once and kept: filling it takes some seconds.
const DATABASE: &str = "warranty_bench";
/// Any more would only draw from the same rows.
const SERIALS: i64 = 200_000;

/// The version of the server at `url`.
pub async fn server_version(url: &str) -> Result<String> {
    Ok(sqlx::query_scalar("SHOW server_version").fetch_one(&mut connect(url).await?).await?)
}

/// Serials of registered units: all, or where there are more, 200,000 drawn evenly. Not by pages, which would be a part of
/// the table that fits into memory better than the whole.
pub async fn serials(url: &str) -> Result<Vec<String>> {
    let mut connection = connect(url).await?;
    let units: i64 = sqlx::query_scalar("SELECT count(*) FROM units").fetch_one(&mut connection).await?;
    let percent = (100.0 * SERIALS as f64 / units.max(1) as f64).min(100.0);
    let drawn = sqlx::query_scalar("SELECT serial FROM units TABLESAMPLE BERNOULLI ($1)").bind(percent as f32);
    Ok(drawn.fetch_all(&mut connection).await?)
}

/// The model of an imported unit: the first of the catalogue.
pub async fn some_model(url: &str) -> Result<String> {
    let first = sqlx::query_scalar("SELECT min(model) FROM products").fetch_one(&mut connect(url).await?).await?;
    let first: Option<String> = first;
    first.context("the registry has no products")
}

/// How long COPY takes for rows in its text format (serial, model, lot, manufactured, ex-factory), given in pieces, into an
/// empty table that has the columns, indexes, checks and foreign keys of `units`. The table goes again.
pub async fn copy_units(url: &str, pieces: impl Iterator<Item = String>) -> Result<Duration> {
    let mut connection = connect(url).await?;
    sqlx::raw_sql(
        "DROP TABLE IF EXISTS bench_units;
         CREATE TABLE bench_units (LIKE units INCLUDING ALL);
         ALTER TABLE bench_units ALTER sold_by_maker SET DEFAULT true, ADD FOREIGN KEY (model) REFERENCES products,
             ADD FOREIGN KEY (refurbished_from) REFERENCES bench_units",
    )
    .execute(&mut connection)
    .await
    .context("cannot make a table like units: --database-url must be the owner's")?;
    let began = Instant::now();
    let columns = "COPY bench_units (serial, model, lot, manufactured_on, ex_factory_on) FROM STDIN";
    let mut copy = connection.copy_in_raw(columns).await?;
    for piece in pieces {
        copy.send(piece.as_bytes()).await?;
    }
    copy.finish().await?;
    let took = began.elapsed();
    sqlx::raw_sql("DROP TABLE bench_units").execute(&mut connection).await?;
    Ok(took)
}

async fn connect(url: &str) -> Result<PgConnection> {
    PgConnection::connect(url).await.context("cannot reach the database")
}

/// pgbench against a scratch database on a given server.
pub struct PgBench {
    program: PathBuf,
    settings: Vec<(&'static str, String)>,
    args: String,
    /// What is run, for people.
    pub told: String,
}

impl PgBench {
    /// Finds pgbench and makes its database on the server of `url`, where it is not there yet; each run takes `seconds`.
    /// It reads, or with `writes` does its simple write transactions.
    /// Fails with one sentence: no pgbench, no right to make a database.
    pub async fn prepare(url: &str, seconds: u64, writes: bool) -> Result<Self> {
        let program = find_binaries(Path::new("/dev/null"))?.join("pgbench");
        ensure!(
            program.exists(),
            "there is no {}: install PostgreSQL's programs, or leave out --pgbench",
            program.display()
        );
        let options: PgConnectOptions = url.parse().context("the database's URL is none")?;
        let mut connection = connect(url).await?;
        let exists = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)").bind(DATABASE);
        if !exists.fetch_one(&mut connection).await? {
            let made = sqlx::raw_sql("CREATE DATABASE warranty_bench").execute(&mut connection).await;
            made.context("cannot make the database warranty_bench for pgbench")?;
        }
        let password = reqwest::Url::parse(url)?.password().map(str::to_owned).unwrap_or_default();
        let password = percent_decode_str(&password).decode_utf8_lossy().into_owned();
        let settings = vec![
            ("LC_ALL", "C".to_owned()),
            ("PGHOST", options.get_host().to_owned()),
            ("PGPORT", options.get_port().to_string()),
            ("PGUSER", options.get_username().to_owned()),
            ("PGPASSWORD", password),
            ("PGDATABASE", DATABASE.to_owned()),
        ];
        let kind = if writes { "-N" } else { "-S" };
        let args = format!("{kind} -M prepared -c 64 -j 2 -T {seconds}");
        let pgbench = Self { program, settings, told: format!("pgbench {args}"), args };
        let mut scratch = PgConnection::connect_with(&options.database(DATABASE)).await?;
        let filled = sqlx::query_scalar("SELECT to_regclass('pgbench_accounts') IS NOT NULL").fetch_one(&mut scratch);
        if !filled.await? {
            pgbench.said("-i -q -s 10").await?;
        }
        Ok(pgbench)
    }

    /// Runs it once; gives transactions a second.
    pub async fn run(&self) -> Result<f64> {
        let said = self.said(&self.args).await?;
        let tps = said.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
        tps.with_context(|| format!("pgbench said no tps: {said}"))
    }

    async fn said(&self, args: &str) -> Result<String> {
        let mut command = Command::new(&self.program);
        command.args(args.split(' ')).envs(self.settings.iter().map(|(name, value)| (name, value)));
        let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await.context("cannot run pgbench")?;
        ensure!(output.status.success(), "pgbench failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
