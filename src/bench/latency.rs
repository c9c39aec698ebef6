//! What a run of calls showed: how many, how they ended, how long they took.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use serde::Serialize;
use tonic::Code;

use super::{caller::Outcome, questions::Kind};
use crate::metrics::CODES;

/// The percentiles of the plotted curve.
const CURVE: [f64; 14] = [1.0, 10.0, 25.0, 50.0, 75.0, 80.0, 90.0, 95.0, 98.0, 99.0, 99.5, 99.9, 99.95, 99.99];

/// Milliseconds that calls took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    /// The median.
    pub p50: f64,
    /// 90 % took at most this.
    pub p90: f64,
    /// 99 %.
    pub p99: f64,
    /// 99.9 %.
    pub p999: f64,
    /// The longest.
    pub max: f64,
}

impl Latency {
    fn of(took: &Histogram<u64>) -> Self {
        let [p50, p90, p99, p999, max] = [50.0, 90.0, 99.0, 99.9, 100.0].map(|percent| at(took, percent));
        Self { p50, p90, p99, p999, max }
    }
}

/// What calls of one kind showed.
#[derive(Clone, Debug, Serialize)]
pub struct OfKind {
    /// Which.
    pub kind: Kind,
    /// Calls that ended, however.
    pub calls: u64,
    /// The same a second.
    pub calls_per_second: f64,
    /// Serials answered.
    pub serials: u64,
    /// Of calls that were answered with OK.
    pub latency_ms: Latency,
    /// Of the others.
    pub refused_ms: Latency,
    /// Percent and milliseconds.
    pub curve: Vec<(f64, f64)>,
    /// How calls ended, by gRPC's names.
    pub codes: BTreeMap<String, u64>,
    /// Replies that were OK and wrong.
    pub wrong: u64,
}

/// One second of a run, by when calls ended.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Second {
    /// Calls that ended.
    pub calls: u64,
    /// Milliseconds; 0 where none was answered.
    pub p50_ms: f64,
    /// Likewise.
    pub p99_ms: f64,
}

struct Kept {
    took: Histogram<u64>,
    refused: Histogram<u64>,
    codes: BTreeMap<i32, u64>,
    serials: u64,
    wrong: u64,
}

/// Gathers calls as they end.
pub struct Measured {
    begin: Instant,
    end: Instant,
    kinds: BTreeMap<Kind, Kept>,
    seconds: Vec<(u64, Histogram<u32>)>,
    /// Calls of an open loop that were due and not sent, because too many waited for an answer.
    pub dropped: u64,
    /// Calls that had no answer long after the end.
    pub unanswered: u64,
}

impl Measured {
    /// Nothing yet; the first second begins at `begin`.
    pub fn new(begin: Instant) -> Self {
        Self { begin, end: begin, kinds: BTreeMap::new(), seconds: Vec::new(), dropped: 0, unanswered: 0 }
    }

    /// Adds a call: due, ended.
    pub fn add(&mut self, kind: Kind, outcome: Outcome, due: Instant, ended: Instant) {
        let took = ended.saturating_duration_since(due).as_micros() as u64;
        let since = ended.saturating_duration_since(self.begin);
        self.end = self.end.max(ended);
        let of_kind = self.kinds.entry(kind).or_insert_with(|| Kept {
            took: new_histogram(3),
            refused: new_histogram(3),
            codes: BTreeMap::new(),
            serials: 0,
            wrong: 0,
        });
        *of_kind.codes.entry(outcome.code as i32).or_default() += 1;
        of_kind.serials += outcome.serials.unwrap_or_default();
        of_kind.wrong += u64::from(outcome.serials.is_none());
        while self.seconds.len() <= since.as_secs() as usize {
            self.seconds.push((0, new_histogram(2)));
        }
        let (calls, second) = &mut self.seconds[since.as_secs() as usize];
        *calls += 1;
        if outcome.code == Code::Ok {
            of_kind.took.saturating_record(took);
            second.saturating_record(took);
        } else {
            of_kind.refused.saturating_record(took);
        }
    }

    /// From the first call to the last answer.
    pub fn time(&self) -> Duration {
        self.end - self.begin
    }

    /// What each kind showed.
    pub fn kinds(&self) -> Vec<OfKind> {
        let of_kind = |(kind, kept): (&Kind, &Kept)| {
            let calls = kept.codes.values().sum();
            OfKind {
                kind: *kind,
                calls,
                calls_per_second: calls as f64 / self.time().as_secs_f64().max(1e-9),
                serials: kept.serials,
                latency_ms: Latency::of(&kept.took),
                refused_ms: Latency::of(&kept.refused),
                curve: CURVE.map(|percent| (percent, at(&kept.took, percent))).to_vec(),
                codes: kept
                    .codes
                    .iter()
                    .map(|(code, count)| (CODES[Code::from_i32(*code) as usize].to_owned(), *count))
                    .collect(),
                wrong: kept.wrong,
            }
        };
        self.kinds.iter().map(of_kind).collect()
    }

    /// The whole seconds, the first first; the rest after the last one is left out. The last call of an open loop is due just
    /// before its end, so a second that is all but over counts.
    pub fn seconds(&self) -> Vec<Second> {
        let whole = self.seconds.iter().take((self.time() + Duration::from_millis(100)).as_secs() as usize);
        whole.map(|(calls, took)| Second { calls: *calls, p50_ms: at(took, 50.0), p99_ms: at(took, 99.0) }).collect()
    }
}

/// Microseconds up to a minute, to so many digits; a run of an hour has many of two.
fn new_histogram<C: hdrhistogram::Counter>(digits: u8) -> Histogram<C> {
    Histogram::new_with_max(60_000_000, digits).expect("a minute at three digits is within what a histogram holds")
}

/// Milliseconds at a percentile; 0 of nothing.
fn at<C: hdrhistogram::Counter>(took: &Histogram<C>, percent: f64) -> f64 {
    if took.is_empty() { 0.0 } else { took.value_at_percentile(percent).min(took.max()) as f64 / 1000.0 }
}
