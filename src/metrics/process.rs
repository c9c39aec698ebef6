//! The process itself, by the names that every Prometheus client gives: from Linux's /proc, where it is there.

use std::fs;

use prometheus_client::{metrics::MetricType, registry::Registry};

use super::{Asked, asked};

/// Ticks a second in /proc, whatever the kernel's own clock.
const TICKS: f64 = 100.0;

/// A number and where it stands.
type Read = fn() -> Option<f64>;

const TOLD: [(&str, &str, Read); 5] = [
    ("process_resident_memory_bytes", "Memory in RAM", || Some(status("VmRSS:")? * 1024.0)),
    ("process_threads", "Threads", || status("Threads:")),
    ("process_open_fds", "Open files and sockets", || Some(fs::read_dir("/proc/self/fd").ok()?.count() as f64)),
    ("process_max_fds", "The most open files and sockets", max_fds),
    ("process_start_time_seconds", "When it started, since 1970", || {
        let boot = fs::read_to_string("/proc/stat").ok()?;
        let boot: f64 = boot.lines().find_map(|line| line.strip_prefix("btime "))?.parse().ok()?;
        Some(boot + stat(19)? / TICKS)
    }),
];

pub(super) fn register(registry: &mut Registry) {
    for (name, help, read) in TOLD {
        registry.register_collector(asked(name, help, move || {
            read().map(|value| (Vec::new(), value)).into_iter().collect()
        }));
    }
    let cpu = || stat(11).zip(stat(12)).map(|(user, system)| (Vec::new(), (user + system) / TICKS));
    let cpu = asked("process_cpu_seconds", "CPU, user and system", move || cpu().into_iter().collect());
    registry.register_collector(Box::new(Asked { kind: MetricType::Counter, ..*cpu }));
}

/// A field of /proc/self/stat, counted after the program's name, which may hold spaces.
fn stat(field: usize) -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(field)?.parse().ok()
}

/// A line of /proc/self/status.
fn status(name: &str) -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix(name))?.split_ascii_whitespace().next()?.parse().ok()
}

fn max_fds() -> Option<f64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    limits.lines().find_map(|line| line.strip_prefix("Max open files"))?.split_ascii_whitespace().next()?.parse().ok()
}
