//! What processes used of the machine, from /proc: the CPU of a process with all that descend from it, and its memory.

use std::{
    collections::HashMap,
    fmt::{self, Display, Formatter},
    fs,
};

use anyhow::{Context, Result};
use serde::Serialize;

/// Linux counts in ticks of 10 ms, on every machine of ours.
const TICKS: f64 = 100.0;

/// What one process and its descendants used in a phase.
#[derive(Clone, Debug, Serialize)]
pub struct Usage {
    /// The process that was asked for.
    pub pid: u32,
    /// The command line, as far as its first flag, of the one of them that held most memory.
    pub name: String,
    /// CPU seconds, user and system.
    pub cpu_seconds: f64,
    /// CPU milliseconds for a thousand serials answered.
    pub cpu_ms_per_1000_serials: f64,
    /// The most memory that one ever held, MiB; 0 where all have ended.
    pub peak_mib: f64,
    /// What it held at the end.
    pub resident_mib: f64,
}

/// A process with its descendants at one moment.
pub struct Reading {
    root: u32,
    family: Vec<u32>,
    cpu_seconds: f64,
}

/// Reads each of `pids` with its descendants; what ended children used counts. Fails where there is no such process.
pub fn read(pids: &[u32]) -> Result<Vec<Reading>> {
    let mut all = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if let Some(found) = stat(pid) {
            all.insert(pid, found);
        }
    }
    let of = |root: &u32| {
        all.get(root).with_context(|| format!("there is no process {root}"))?;
        let descends = |mut pid: u32| {
            while pid != *root && pid > 1 {
                pid = all.get(&pid).map_or(0, |(parent, _)| *parent);
            }
            pid == *root
        };
        let family: Vec<u32> = all.keys().copied().filter(|pid| descends(*pid)).collect();
        let ticks: u64 = family.iter().filter_map(|pid| all.get(pid)).map(|(_, ticks)| ticks).sum();
        Ok(Reading { root: *root, family, cpu_seconds: ticks as f64 / TICKS })
    };
    pids.iter().map(of).collect()
}

/// Its parent, and its ticks with those of its children that were waited for.
fn stat(pid: u32) -> Option<(u32, u64)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may hold anything; then state, parent and, from the twelfth on, the times.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let ticks = fields.get(11..15)?.iter().filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Some((fields.get(1)?.parse().ok()?, ticks))
}

/// Its command line as far as its first flag.
fn name(pid: u32) -> String {
    let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = line.split('\0').take_while(|word| !word.starts_with('-') && !word.is_empty());
    let line = words.map(|word| word.rsplit('/').next().unwrap_or(word)).collect::<Vec<_>>().join(" ");
    // A server process of PostgreSQL says there after a colon what it does.
    line.split(':').next().unwrap_or_default().to_owned()
}

/// A number of KiB from its status, as MiB.
fn mib(pid: u32, key: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kib = status.lines().find_map(|line| line.strip_prefix(key)?.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kib.unwrap_or_default() / 1024.0
}

/// What was used between two readings of the same processes, in which so many serials were answered.
pub fn usage(before: &[Reading], after: &[Reading], serials: u64) -> Vec<Usage> {
    let of = |(before, after): (&Reading, &Reading)| {
        let peaks = after.family.iter().map(|pid| (mib(*pid, "VmHWM:"), *pid));
        let (peak_mib, largest) = peaks.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or((0.0, after.root));
        let cpu_seconds = after.cpu_seconds - before.cpu_seconds;
        Usage {
            pid: after.root,
            name: name(largest),
            cpu_seconds,
            cpu_ms_per_1000_serials: 1e6 * cpu_seconds / serials.max(1) as f64,
            peak_mib,
            resident_mib: mib(largest, "VmRSS:"),
        }
    };
    before.iter().zip(after).map(of).collect()
}

impl Display for Usage {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { pid, name, cpu_seconds, cpu_ms_per_1000_serials: each, peak_mib, resident_mib } = self;
        write!(f, "  CPU {cpu_seconds:>7.2} s, {each:>8.2} ms for 1,000 serials; ")?;
        write!(f, "{resident_mib:>5.0} MiB, at most {peak_mib:.0}: {name} ({pid})")
    }
}
