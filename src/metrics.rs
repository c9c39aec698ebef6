//! What is counted and measured, for the whole process: `/metrics` in Prometheus' text format.
//!
//! No tenant, no serial and no person is ever a label. A call pays for an observation, not for finding its series: handles are
//! found once and kept. What can be asked for (pools, the process itself) is asked at each scrape; what needs SQL is told by the
//! clock's work in one process ([`tell_counts`]).

mod process;

use std::{
    fmt,
    sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, prometheus_text},
    metrics::{MetricType, counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use sqlx::PgPool;
use strum::EnumCount;

use crate::domain::{
    clause::Clause,
    coverage::{Decision, Remedy},
};

/// What was counted, of what, at most how old, and how many: as the database told it.
type Count = (String, String, String, i64);
/// A label's name and value.
type Label = (&'static str, &'static str);

/// Upper bounds of a call's duration, seconds: fine where the targets are.
const CALL_SECONDS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Upper bounds of the wait for a connection, seconds.
const WAIT_SECONDS: [f64; 8] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 3.0];
/// Upper bounds of a claim's life, days.
const TURNAROUND_DAYS: [f64; 8] = [1.0, 3.0, 7.0, 14.0, 21.0, 30.0, 60.0, 90.0];
/// gRPC's codes by their numbers, as its documents and the semantic conventions write them.
pub const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);

struct Metrics {
    registry: Mutex<Registry>,
    calls: Family<[Label; 3], Histogram, fn() -> Histogram>,
    shed: Counter,
    retries: Family<[Label; 1], Counter>,
    waits: Histogram,
    decisions: [OnceLock<Counter>; Stage::COUNT * Remedy::COUNT * (Clause::COUNT + 1)],
    decided: Family<[Label; 3], Counter>,
    turnaround: Family<[Label; 1], Histogram, fn() -> Histogram>,
    failures: Counter,
    spans_ended: Counter,
    spans_exported: Counter,
    replica: Family<[Label; 1], Counter>,
    replica_age: Gauge,
    watch_lag: Gauge,
    keys: Gauge,
    keys_read_at: Gauge,
    schema_found: Gauge,
    pools: Arc<Mutex<Vec<(String, PgPool)>>>,
    counts: Arc<ArcSwap<Vec<Count>>>,
}

/// When a decision was made.
#[derive(Clone, Copy, Debug, strum::EnumCount, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Stage {
    /// Somebody asked CoverageService.
    Asked,
    /// A claim was filed.
    Filed,
    /// A unit was inspected.
    Inspected,
}

/// What is counted by the clock's work: its name there, that of the metric, of its label, and what it says.
const COUNTS: [(&str, &str, &str, &str); 6] = [
    ("claims", "warranty_claims", "state", "Open claims by state, and how long they have been in it"),
    ("late", "warranty_claims_late", "state", "Open claims whose next action is late, by state"),
    ("stuck", "warranty_claims_stuck", "", "Claims that the clock should have ended more than a day ago"),
    ("debts", "warranty_debts", "debtor", "Units owed after swaps, by who owes them and for how long"),
    ("debts_late", "warranty_debts_late", "debtor", "Units owed after swaps whose day is over, by who owes them"),
    ("imbalance", "warranty_ledger_imbalance", "", "By how many units the accounts differ from the open debts: 0"),
];

impl Metrics {
    fn new() -> Self {
        let metrics = Self {
            registry: Mutex::new(Registry::default()),
            calls: Family::new_with_constructor(|| Histogram::new(CALL_SECONDS)),
            shed: Counter::default(),
            retries: Family::default(),
            waits: Histogram::new(WAIT_SECONDS),
            decisions: [const { OnceLock::new() }; Stage::COUNT * Remedy::COUNT * (Clause::COUNT + 1)],
            decided: Family::default(),
            turnaround: Family::new_with_constructor(|| Histogram::new(TURNAROUND_DAYS)),
            failures: Counter::default(),
            spans_ended: Counter::default(),
            spans_exported: Counter::default(),
            replica: Family::default(),
            replica_age: Gauge::default(),
            watch_lag: Gauge::default(),
            keys: Gauge::default(),
            keys_read_at: Gauge::default(),
            schema_found: Gauge::default(),
            pools: Arc::default(),
            counts: Arc::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&self) {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let of = &mut *registry;
        of.register("rpc_server_call_duration_seconds", "Calls by method and code", self.calls.clone());
        of.register("warranty_calls_shed", "Calls refused because too many were at work", self.shed.clone());
        of.register(
            "warranty_transaction_retries",
            "Transactions that met another and began anew",
            self.retries.clone(),
        );
        of.register("db_client_connection_wait_time_seconds", "Waits for a connection of a pool", self.waits.clone());
        of.register("warranty_decisions", "Decisions by stage, remedy and first deciding clause", self.decided.clone());
        of.register("warranty_claim_turnaround_days", "From filing to the end, by remedy", self.turnaround.clone());
        of.register(
            "warranty_replica_questions",
            "Questions that a replica might answer, by who did",
            self.replica.clone(),
        );
        of.register(
            "warranty_replica_age_milliseconds",
            "How old a replica's facts were at most",
            self.replica_age.clone(),
        );
        of.register("warranty_clock_failures", "Steps of the clock's work that failed", self.failures.clone());
        of.register("warranty_spans_ended", "Recorded spans that ended", self.spans_ended.clone());
        of.register("warranty_spans_exported", "Spans that the collector took", self.spans_exported.clone());
        of.register(
            "warranty_watch_lag_milliseconds",
            "How old the newest event was when handed on",
            self.watch_lag.clone(),
        );
        of.register("warranty_jwks_keys", "Keys that tokens are verified with", self.keys.clone());
        of.register("warranty_jwks_read_timestamp_seconds", "When the keys were last read", self.keys_read_at.clone());
        of.register("warranty_schema_version", "The schema's version as found", self.schema_found.clone());
        let build = vec![(vec![("version".to_owned(), env!("CARGO_PKG_VERSION").to_owned())], 1.0)];
        of.register_collector(asked("warranty_build_info", "This binary", move || build.clone()));
        for (name, help, read) in pools() {
            let pools = Arc::clone(&self.pools);
            of.register_collector(asked(name, help, move || {
                let pools = pools.lock().unwrap_or_else(PoisonError::into_inner);
                pools.iter().flat_map(|(role, pool)| read(role, pool)).collect()
            }));
        }
        for (what, name, label, help) in COUNTS {
            let counts = Arc::clone(&self.counts);
            of.register_collector(asked(name, help, move || {
                let counts = counts.load();
                let counts = counts.iter().filter(|(counted, ..)| counted == what);
                let labels = |of: &String, age: &String| {
                    let labels = [(label, of), ("age", age)].into_iter().filter(|(_, value)| !value.is_empty());
                    labels.map(|(name, value)| (name.to_owned(), value.clone())).collect()
                };
                counts.map(|(_, of, age, number)| (labels(of, age), *number as f64)).collect()
            }));
        }
        process::register(of);
    }
}

/// A series as it is at a scrape: its labels and its value.
type Sample = (Vec<(String, String)>, f64);

/// What is asked at each scrape.
struct Asked {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    read: Box<dyn Fn() -> Vec<Sample> + Send + Sync>,
}

fn asked(name: &'static str, help: &'static str, read: impl Fn() -> Vec<Sample> + Send + Sync + 'static) -> Box<Asked> {
    Box::new(Asked { name, help, kind: MetricType::Gauge, read: Box::new(read) })
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Collector for Asked {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let samples = (self.read)();
        let mut metric = encoder.encode_descriptor(self.name, self.help, None, self.kind)?;
        for (labels, value) in samples {
            let mut series = metric.encode_family(&labels)?;
            match self.kind {
                MetricType::Counter => series.encode_counter::<[(String, String); 0], f64, f64>(&value, None)?,
                _ => series.encode_gauge(&value)?,
            }
        }
        Ok(())
    }
}

type ReadPool = fn(&str, &PgPool) -> Vec<Sample>;

/// What a pool tells, by the semantic conventions' names.
fn pools() -> [(&'static str, &'static str, ReadPool); 2] {
    fn labels(role: &str, state: Option<&str>) -> Vec<(String, String)> {
        let pool = ("db_client_connection_pool_name".to_owned(), role.to_owned());
        let state = state.map(|state| ("db_client_connection_state".to_owned(), state.to_owned()));
        std::iter::once(pool).chain(state).collect()
    }
    [
        ("db_client_connection_count", "Connections of a pool by state", |role, pool| {
            let (all, idle) = (f64::from(pool.size()), pool.num_idle() as f64);
            vec![(labels(role, Some("used")), (all - idle).max(0.0)), (labels(role, Some("idle")), idle)]
        }),
        ("db_client_connection_max", "The most connections of a pool", |role, pool| {
            vec![(labels(role, None), f64::from(pool.options().get_max_connections()))]
        }),
    ]
}

/// All of it, as Prometheus reads it.
pub fn text() -> String {
    let mut text = String::new();
    let registry = METRICS.registry.lock().unwrap_or_else(PoisonError::into_inner);
    // Writing into a String does not fail.
    let _ = prometheus_text::encode(&mut text, &registry);
    text
}

/// Has the calls at work told, of at most `most`. Once in a process.
pub fn tell_in_flight(most: u32, at_work: impl Fn() -> usize + Send + Sync + 'static) {
    let mut registry = METRICS.registry.lock().unwrap_or_else(PoisonError::into_inner);
    let told = move || vec![(Vec::new(), at_work() as f64)];
    registry.register_collector(asked("warranty_calls_in_flight", "Calls at work", told));
    let most = move || vec![(Vec::new(), f64::from(most))];
    registry.register_collector(asked("warranty_calls_limit", "The most calls at work", most));
}

/// Has a pool told.
pub fn tell_pool(role: &str, pool: &PgPool) {
    METRICS.pools.lock().unwrap_or_else(PoisonError::into_inner).push((role.to_owned(), pool.clone()));
}

/// Tells which schema this binary needs, and until it is asked for takes that for the one that is there: a database that is away at
/// the start is no old schema. Once in a process.
pub fn tell_schema_needed(version: i64) {
    METRICS.schema_found.set(version);
    let mut registry = METRICS.registry.lock().unwrap_or_else(PoisonError::into_inner);
    let needed = move || vec![(Vec::new(), version as f64)];
    registry.register_collector(asked(
        "warranty_schema_version_needed",
        "The least that this binary works with",
        needed,
    ));
}

/// Tells which schema was found.
pub fn tell_schema_found(version: i64) {
    METRICS.schema_found.set(version);
}

/// Tells how many keys were read, and when, seconds since 1970.
pub fn tell_keys(keys: usize, at: i64) {
    METRICS.keys.set(i64::try_from(keys).unwrap_or(i64::MAX));
    METRICS.keys_read_at.set(at);
}

/// Tells what the database counted; nothing where another process does, or nobody could ask.
pub fn tell_counts(counts: Vec<Count>) {
    METRICS.counts.store(Arc::new(counts));
}

/// Tells how old the newest event was when it was handed on.
pub fn tell_watch_lag(lag: chrono::Duration) {
    METRICS.watch_lag.set(lag.num_milliseconds().max(0));
}

/// A replica was asked; where it could not prove its facts young enough, the primary answered.
pub fn replica_asked(answered: bool) {
    let by = if answered { "replica" } else { "primary" };
    METRICS.replica.get_or_create(&[("answered_by", by)]).inc();
}

/// Tells how old a replica's facts were at most when it was last asked.
pub fn tell_replica_age(age: Duration) {
    METRICS.replica_age.set(i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
}

/// A call was refused because too many were at work.
pub fn shed() {
    METRICS.shed.inc();
}

/// A transaction met another and begins anew.
pub fn retried(transaction: &'static str) {
    METRICS.retries.get_or_create(&[("transaction", transaction)]).inc();
}

/// A connection was had after `waited`.
pub fn waited(waited: Duration) {
    METRICS.waits.observe(waited.as_secs_f64());
}

/// A step of the clock's work failed.
pub fn clock_failed() {
    METRICS.failures.inc();
}

/// A recorded span ended.
pub fn span_ended() {
    METRICS.spans_ended.inc();
}

/// The collector took so many spans.
pub fn spans_exported(spans: usize) {
    METRICS.spans_exported.inc_by(spans as u64);
}

/// A claim came to its end after `life`.
pub fn ended(remedy: Remedy, life: chrono::Duration) {
    METRICS.turnaround.get_or_create(&[("remedy", remedy.into())]).observe(life.num_seconds() as f64 / 86_400.0);
}

/// A decision was made. A transaction that is tried again counts twice: rates are read, not bills.
pub fn decided(stage: Stage, decision: &Decision) {
    let clause = decision.clauses.first();
    let place = (stage as usize * Remedy::COUNT + decision.remedy as usize) * (Clause::COUNT + 1)
        + clause.map_or(Clause::COUNT, |clause| *clause as usize);
    let labels = || {
        let clause = clause.map_or("", |clause| clause.into());
        [("stage", stage.into()), ("remedy", decision.remedy.into()), ("clause", clause)]
    };
    METRICS.decisions[place].get_or_init(|| METRICS.decided.get_or_create(&labels()).clone()).inc();
}

/// Measures the calls of one method.
pub struct Calls {
    method: &'static str,
    by_code: [OnceLock<Histogram>; CODES.len()],
}

impl Calls {
    /// Of a path as it is called: `/aopre.warranty.v1.ClaimService/FileClaim`.
    pub fn of(path: &'static str) -> Arc<Self> {
        let method = path.trim_start_matches('/');
        Arc::new(Self { method, by_code: [const { OnceLock::new() }; CODES.len()] })
    }

    /// One ended with gRPC's `code`.
    pub fn ended(&self, code: usize, took: Duration) {
        let code = code.min(CODES.len() - 1);
        let histogram = self.by_code[code].get_or_init(|| {
            let labels = [("rpc_system_name", "grpc"), ("rpc_method", self.method), ("rpc_status_code", CODES[code])];
            METRICS.calls.get_or_create(&labels).clone()
        });
        histogram.observe(took.as_secs_f64());
    }
}
