//! The report: everything for machines, a table for people.

use std::{
    fmt::{self, Display, Formatter},
    fs,
    path::Path,
};

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{
    latency::{Latency, OfKind, Second},
    processes::Usage,
};

/// What was run, where and when.
#[derive(Clone, Debug, Serialize)]
pub struct Setting {
    /// The command, without its secrets.
    pub command: String,
    /// This program's version, and whether it was built for speed.
    pub version: String,
    /// When it began.
    pub started_time: DateTime<Utc>,
    /// The machine's cores.
    pub cores: usize,
    /// Their model.
    pub cpu: String,
    /// The system's release.
    pub kernel: String,
    /// PostgreSQL's version, where its address was given.
    pub postgresql: Option<String>,
}

/// pgbench around a phase: transactions a second.
#[derive(Clone, Debug, Serialize)]
pub struct Share {
    /// What was run.
    pub command: String,
    /// Just before.
    pub before: f64,
    /// Just after.
    pub after: f64,
    /// Serials answered a second over the mean of both.
    pub ratio: f64,
}

/// One measured phase.
#[derive(Clone, Debug, Serialize)]
pub struct Phase {
    /// How it loaded.
    pub name: String,
    /// Whether latencies count from when a call was due: corrected for coordinated omission.
    pub corrected: bool,
    /// From the first call to the last answer.
    pub seconds: f64,
    /// Calls that ended.
    pub calls_per_second: f64,
    /// Serials answered.
    pub serials_per_second: f64,
    /// Calls that were due and not sent, because too many waited for an answer.
    pub dropped: u64,
    /// Calls without an answer long after the end.
    pub unanswered: u64,
    /// By kind of call.
    pub kinds: Vec<OfKind>,
    /// By the second.
    pub by_second: Vec<Second>,
    /// By process; the first is the generator itself.
    pub processes: Vec<Usage>,
    /// pgbench, where asked for.
    pub pgbench: Option<Share>,
}

/// Everything.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was run.
    #[serde(flatten)]
    pub setting: Setting,
    /// How many different serials were asked about.
    pub serials: usize,
    /// One after the other.
    pub phases: Vec<Phase>,
}

impl Setting {
    /// This machine, this program, this command.
    pub fn now(started_time: DateTime<Utc>, postgresql: Option<String>) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let model = read("/proc/cpuinfo").lines().find_map(|line| Some(line.strip_prefix("model name")?.to_owned()));
        Self {
            command: without_secrets(&read("/proc/self/cmdline")),
            version: format!(
                "{} ({} build)",
                env!("CARGO_PKG_VERSION"),
                if cfg!(debug_assertions) { "debug" } else { "release" }
            ),
            started_time,
            cores: std::thread::available_parallelism().map_or(0, Into::into),
            cpu: model.unwrap_or_default().trim_start_matches(['\t', ' ', ':']).to_owned(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            postgresql,
        }
    }
}

/// A command line with its words apart, from /proc; what follows a secret's flag is left out.
fn without_secrets(line: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    for word in line.trim_end_matches('\0').split('\0') {
        let secret = |flag: &str| word.strip_prefix(flag).is_some_and(|rest| rest.starts_with('='));
        let after = words.last().is_some_and(|last| last == "--token" || last == "--database-url");
        words.push(match word.split_once('=') {
            _ if after => "...".to_owned(),
            Some((flag, _)) if secret("--token") || secret("--database-url") => format!("{flag}=..."),
            _ => word.to_owned(),
        });
    }
    words.join(" ")
}

/// Writes it as JSON.
pub fn write_json(path: &Path, report: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(report)? + "\n";
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

impl Report {
    /// Whether calls of every kind were answered in every phase, and none wrongly.
    pub fn is_right(&self) -> bool {
        let kinds = |phase: &Phase| phase.kinds.iter().all(|kind| kind.wrong == 0 && kind.codes.contains_key("OK"));
        self.phases.iter().all(|phase| !phase.kinds.is_empty() && kinds(phase))
    }
}

impl Display for Setting {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.command)?;
        writeln!(f, "warranty {}, {} cores ({}), Linux {}", self.version, self.cores, self.cpu, self.kernel)?;
        let postgresql = self.postgresql.as_deref().unwrap_or("of an unknown version");
        writeln!(f, "PostgreSQL {postgresql}; {}", self.started_time.format("%Y-%m-%d %H:%M:%S UTC"))
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}{} serials", self.setting, self.serials)?;
        self.phases.iter().try_for_each(|phase| write!(f, "\n{phase}"))
    }
}

/// A line of a phase's table.
fn row(f: &mut Formatter<'_>, name: &str, calls_per_second: f64, took: Latency, told: &str) -> fmt::Result {
    write!(f, "  {name:<7} {calls_per_second:>10.0}")?;
    for ms in [took.p50, took.p90, took.p99, took.p999, took.max] {
        write!(f, " {ms:>9.2}")?;
    }
    writeln!(f, "  {told}")
}

impl Display for Phase {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let latencies = match self.corrected {
            true => "latencies count from when each call was due: corrected for coordinated omission",
            false => "latencies are those of the calls made: not corrected, no call was due at any time",
        };
        writeln!(f, "{}, {:.1} s; {latencies}", self.name, self.seconds)?;
        let [calls, p50, p90, p99, p999, max] = ["calls/s", "p50 ms", "p90", "p99", "p99.9", "max"];
        writeln!(f, "  kind    {calls:>10} {p50:>9} {p90:>9} {p99:>9} {p999:>9} {max:>9}  codes")?;
        for of_kind in &self.kinds {
            let codes: Vec<String> = of_kind.codes.iter().map(|(code, count)| format!("{code} {count}")).collect();
            row(f, &of_kind.kind.to_string(), of_kind.calls_per_second, of_kind.latency_ms, &codes.join(", "))?;
            let refused = of_kind.calls - of_kind.codes.get("OK").copied().unwrap_or_default();
            if refused > 0 {
                row(f, "not OK", refused as f64 / self.seconds.max(1e-9), of_kind.refused_ms, "of these")?;
            }
            if of_kind.wrong > 0 {
                writeln!(
                    f,
                    "  WRONG   {:>10} answers: of another serial, too few, or a status in one's place",
                    of_kind.wrong
                )?;
            }
        }
        if self.dropped + self.unanswered > 0 {
            writeln!(f, "  {} calls were due and not sent; {} had no answer", self.dropped, self.unanswered)?;
        }
        writeln!(f, "  {:.0} serials a second", self.serials_per_second)?;
        for used in &self.processes {
            writeln!(f, "{used}")?;
        }
        if let Some(Share { command, before, after, ratio }) = &self.pgbench {
            writeln!(f, "  {ratio:.2} of {command}: {before:.0} tps before, {after:.0} after")?;
        }
        Ok(())
    }
}
