//! How many calls a caller may make in a window of time.

use std::{fmt, str::FromStr};

use chrono::{DateTime, TimeDelta, Utc};

/// The length of a window, which begins at a whole one of UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display, strum::EnumString)]
#[strum(serialize_all = "lowercase")]
pub enum Unit {
    /// One second.
    Second,
    /// One minute.
    Minute,
    /// One hour.
    Hour,
    /// One day.
    Day,
}

/// So many calls in each unit of time: `600/minute`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// At least one.
    pub calls: u32,
    /// Of time.
    pub unit: Unit,
}

impl Limit {
    /// The window that `now` lies in: when it began, and when the next one does.
    pub fn window(self, now: DateTime<Utc>) -> (DateTime<Utc>, DateTime<Utc>) {
        let seconds = match self.unit {
            Unit::Second => 1,
            Unit::Minute => 60,
            Unit::Hour => 3600,
            Unit::Day => 86_400,
        };
        let start = now.timestamp().div_euclid(seconds) * seconds;
        let start = DateTime::from_timestamp(start, 0).unwrap_or(now);
        (start, start + TimeDelta::seconds(seconds))
    }

    /// How many calls are left of the window once `hits` more are made after `made`; `None` where they are too many.
    pub fn left(self, made: u64, hits: u64) -> Option<u64> {
        u64::from(self.calls).checked_sub(made.saturating_add(hits))
    }
}

impl FromStr for Limit {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (calls, unit) = text.split_once('/').ok_or(())?;
        let calls = calls.parse().ok().filter(|calls| *calls > 0).ok_or(())?;
        Ok(Self { calls, unit: unit.parse().map_err(|_| ())? })
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} calls of this {}", self.calls, self.unit)
    }
}
