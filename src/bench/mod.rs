//! `warranty bench`: the load generator of the project. It loads running services, runs pgbench on the same server in the same
//! minutes, and reports ratios. It shares its machine with what it measures, so it is cheap, and tells what it used itself.

mod caller;
mod import;
mod latency;
mod load;
mod plot;
mod processes;
mod questions;
mod report;
mod wire;

use std::{
    fs,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Subcommand, builder::RangedU64ValueParser, value_parser};

use self::{
    caller::Caller,
    load::Loop,
    questions::{Mix, Questions},
    report::{Phase, Report, Setting, Share},
    wire::Target,
};
use crate::{
    client::{Kind, TokenSource, Who},
    clock::{Clock, civil_date},
    domain::serial::Serial,
    local::{
        seed,
        yardstick::{self, PgBench},
    },
};

/// What `warranty bench` can do.
#[derive(Subcommand, Clone, Debug)]
pub enum Bench {
    /// Ask about coverage, or file claims, in a closed loop of callers or at a given rate
    Run(RunArgs),
    /// Send units to ImportUnits, beside COPY of the same rows
    Import(import::ImportArgs),
    /// Fill the registry with units, sales, repairs and replacements, straight into its tables
    Seed(SeedArgs),
}

/// What loading needs, whatever is sent.
#[derive(Args, Clone, Debug)]
struct Common {
    /// URL of CoverageService and RegistryService
    #[arg(long = "coverage-address", env = "WARRANTY_COVERAGE_ADDRESS", default_value = "http://127.0.0.1:7051")]
    address: String,
    /// URL of the development issuer, where no token is given
    #[arg(long, env = "WARRANTY_ISSUER_URL", default_value = "http://127.0.0.1:7050")]
    issuer_url: String,
    /// The token to call with
    #[arg(long, env = "WARRANTY_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// The registry's PostgreSQL, as its owner: `warranty up` prints it
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
    /// Tell what this process and its descendants use, such as a service or the postmaster; may be given again
    #[arg(long)]
    pid: Vec<u32>,
    /// Write the report as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What `warranty bench run` needs.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// Kinds of call and their weights: check, batch, stream, file, or check=90,batch=9,stream=1
    #[arg(long, default_value = "check")]
    mix: Mix,
    /// Serials of one batch
    #[arg(long, default_value_t = 1_000, value_parser = within(1_000))]
    batch: usize,
    /// URL of ClaimService, where the mix files claims; for units that are registered and sold for it, by the dealer D1001
    #[arg(long, env = "WARRANTY_CLAIM_ADDRESS", default_value = "http://127.0.0.1:7052")]
    claim_address: String,
    /// Callers of the closed loop: each asks again when it has its answer
    #[arg(long, default_value_t = 64, value_parser = value_parser!(u32).range(1..=10_000))]
    in_flight: u32,
    /// Connections to share
    #[arg(long, default_value_t = 4, value_parser = within(1_000))]
    connections: usize,
    /// An open loop instead: so many calls a second, each at its time, however slow the service is
    #[arg(long, value_parser = positive)]
    rate: Option<f64>,
    /// Find the peak with once, twice and four times the callers, then load with 70 % of it in an open loop
    #[arg(long, conflicts_with = "rate")]
    sweep: bool,
    /// How long each phase is measured
    #[arg(long, default_value = "10", value_parser = positive)]
    seconds: f64,
    /// How long each phase is warmed up before
    #[arg(long, default_value_t = 2.0)]
    warm_up: f64,
    /// A file of serials to ask about, one a line [default: up to 200,000 drawn from the database]
    #[arg(long, value_name = "FILE")]
    serials: Option<PathBuf>,
    /// Run pgbench on the database's server for so many seconds before and after each phase, and tell the ratio
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "10", requires = "database_url")]
    pgbench: Option<u64>,
    /// Draw calls and latencies as SVG
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

/// What `warranty bench seed` needs.
#[derive(Args, Clone, Debug)]
pub struct SeedArgs {
    /// How many seeded units there shall be; those of an earlier run count
    #[arg(long)]
    units: u64,
    /// The registry's PostgreSQL, as its owner: `warranty up` prints it
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: String,
}

/// From one to this many.
fn within(most: u64) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=most)
}

/// More than nothing, and no more than is of any use.
fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| (0.01..=1e7).contains(number));
    number.ok_or_else(|| "write a number from 0.01 on".to_owned())
}

/// Does it. The exit code is 1 where an answer was wrong, or a phase had no answer at all.
pub async fn bench(bench: Bench) -> Result<ExitCode> {
    match bench {
        Bench::Run(args) => {
            let report = run(&args).await?;
            write!(io::stdout(), "{report}")?;
            if let Some(path) = &args.common.json {
                report::write_json(path, &report)?;
            }
            if let Some(path) = &args.svg {
                plot::write_svg(path, &report)?;
            }
            Ok(if report.is_right() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Bench::Import(args) => import::import(args).await,
        Bench::Seed(args) => seed(args).await,
    }
}

async fn seed(args: SeedArgs) -> Result<ExitCode> {
    let today = civil_date(Clock::system().now());
    let progress = |units| eprintln!("{units} units");
    let seeded = seed::seed(&args.database_url, args.units, today, progress).await?;
    // Whoever reads it may have seen enough after a line: `main` knows that error.
    let mut out = io::stdout();
    writeln!(out, "{} units in the registry, after {:.1} s", seeded.units, seeded.took.as_secs_f64())?;
    for (table, bytes) in seeded.bytes {
        let each = bytes / seeded.units.max(1);
        writeln!(out, "  {table:<13} {:>8} MiB with its indexes, {each} bytes for each unit", bytes >> 20)?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Common {
    /// The service, with a token of this kind of caller where none was given.
    async fn target(&self, address: &str, connections: usize, kind: Kind) -> Result<Target> {
        let token = match &self.token {
            Some(token) => token.clone(),
            None => TokenSource::Issuer(self.issuer_url.clone()).token(&Who::of(kind)).await?,
        };
        Target::connect(address, connections, &token).await
    }

    /// Whose CPU is told: ours, and those asked for.
    fn pids(&self) -> Vec<u32> {
        std::iter::once(std::process::id()).chain(self.pid.iter().copied()).collect()
    }
}

/// Runs every phase, with pgbench before the first and after each.
async fn run(args: &RunArgs) -> Result<Report> {
    let database = args.common.database_url.as_deref();
    let version = match database {
        Some(url) => Some(yardstick::server_version(url).await?),
        None => None,
    };
    let setting = Setting::now(Clock::system().now(), version);
    let serials = serials(args).await?;
    let mut report = Report { setting, serials: serials.len(), phases: Vec::new() };
    let files = args.mix.has(questions::Kind::File);
    let target = args.common.target(&args.common.address, args.connections, Kind::Dealer).await?;
    let (claims, unclaimed) = match database {
        Some(url) if files => {
            let claims = args.common.target(&args.claim_address, args.connections, Kind::Dealer).await?;
            (claims, seed::unclaimed(url, most_claims(args), civil_date(Clock::system().now())).await?)
        }
        None if files => bail!("where are units to claim for made? Name the database with --database-url"),
        _ => (target.clone(), Vec::new()),
    };
    let questions = Questions::new(serials, unclaimed, &args.mix, args.batch)?;
    let caller = Arc::new(Caller::new(target, claims, questions, args.mix.clone()));
    let mut pgbench = match (args.pgbench, database) {
        (Some(seconds), Some(url)) => {
            let pgbench = PgBench::prepare(url, seconds, files).await?;
            Some(Yardstick { last: pgbench.run().await?, pgbench })
        }
        _ => None,
    };
    let loops = match args.rate {
        Some(rate) => vec![Loop::Open(rate)],
        None if args.sweep => [1, 2, 4].map(|times| Loop::Closed(args.in_flight * times)).to_vec(),
        None => vec![Loop::Closed(args.in_flight)],
    };
    for of_phase in loops {
        report.phases.push(phase(args, of_phase, &caller, &mut pgbench).await?);
    }
    if args.sweep {
        let peak = report.phases.iter().map(|phase| phase.calls_per_second).fold(0.0, f64::max);
        ensure!(peak > 0.0, "nothing was answered");
        report.phases.push(phase(args, Loop::Open(0.7 * peak), &caller, &mut pgbench).await?);
    }
    Ok(report)
}

/// More claims than are filed while everything is measured.
fn most_claims(args: &RunArgs) -> u64 {
    let phases = if args.sweep { 4.0 } else { 1.0 };
    let rate = args.rate.unwrap_or(4_000.0);
    (phases * rate * (args.seconds + args.warm_up + 1.0)) as u64
}

/// pgbench, and what it last did.
struct Yardstick {
    pgbench: PgBench,
    last: f64,
}

async fn phase(
    args: &RunArgs,
    of_phase: Loop,
    caller: &Arc<Caller>,
    yardstick: &mut Option<Yardstick>,
) -> Result<Phase> {
    let (name, corrected) = match of_phase {
        Loop::Closed(in_flight) => (format!("closed loop, {in_flight} in flight"), false),
        Loop::Open(rate) => (format!("open loop, {rate:.0} calls a second"), true),
    };
    eprintln!("{name}: {} s, after {} s of warm-up", args.seconds, args.warm_up);
    of_phase.run(caller, Duration::from_secs_f64(args.warm_up)).await;
    let pids = args.common.pids();
    let before = processes::read(&pids)?;
    let measured = of_phase.run(caller, Duration::from_secs_f64(args.seconds)).await;
    let after = processes::read(&pids)?;
    let seconds = measured.time().as_secs_f64();
    let kinds = measured.kinds();
    let serials = kinds.iter().map(|of_kind| of_kind.serials).sum();
    let serials_per_second = serials as f64 / seconds.max(1e-9);
    let pgbench = match yardstick {
        None => None,
        Some(Yardstick { pgbench, last }) => {
            let before = std::mem::replace(last, pgbench.run().await?);
            let ratio = serials_per_second / ((before + *last) / 2.0);
            Some(Share { command: pgbench.told.clone(), before, after: *last, ratio })
        }
    };
    Ok(Phase {
        name,
        corrected,
        seconds,
        calls_per_second: kinds.iter().map(|of_kind| of_kind.calls_per_second).sum(),
        serials_per_second,
        dropped: measured.dropped,
        unanswered: measured.unanswered,
        by_second: measured.seconds(),
        processes: processes::usage(&before, &after, serials),
        kinds,
        pgbench,
    })
}

/// The serials to ask about, as the registry writes them.
async fn serials(args: &RunArgs) -> Result<Vec<String>> {
    match (&args.serials, &args.common.database_url) {
        (Some(path), _) => {
            let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            let read = |(number, line): (usize, &str)| {
                let serial =
                    Serial::parse(line).with_context(|| format!("{}:{}: {line}", path.display(), number + 1))?;
                Ok(serial.as_str().to_owned())
            };
            text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(read).collect()
        }
        (None, Some(url)) => yardstick::serials(url).await,
        (None, None) => bail!("which serials? Name a file with --serials, or the database with --database-url"),
    }
}
