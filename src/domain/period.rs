//! Periods of civil dates, as the commitment and the Civil Code count them.

use chrono::{DateTime, Datelike, Days, FixedOffset, Months, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

/// Both days inside; the last one counts to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Period {
    /// The first day.
    pub first: NaiveDate,
    /// The last day.
    pub last: NaiveDate,
}

impl Period {
    /// `days` after `first`; the first day is inside and not counted (T1, T7).
    pub fn of_days(first: NaiveDate, days: u32) -> Self {
        let last = first.checked_add_days(Days::new(days.into())).unwrap_or(NaiveDate::MAX);
        Self { first, last }
    }

    /// The same day `months` later, or that month's last day (T2, T6, P2).
    pub fn of_months(first: NaiveDate, months: u32) -> Self {
        Self { first, last: months_after(first, months) }
    }

    /// Whether `day` lies inside.
    pub fn contains(&self, day: NaiveDate) -> bool {
        self.first <= day && day <= self.last
    }
}

/// The same day `months` later; where that day does not exist, the last day of that month.
pub fn months_after(day: NaiveDate, months: u32) -> NaiveDate {
    day.checked_add_months(Months::new(months)).unwrap_or(NaiveDate::MAX)
}

/// The civil date in Asia/Shanghai, the one that every rule counts in: eight hours ahead of UTC on every day since 1991.
pub fn civil_date(at: DateTime<Utc>) -> NaiveDate {
    let shanghai = FixedOffset::east_opt(8 * 3600).expect("eight hours are less than a day");
    at.with_timezone(&shanghai).date_naive()
}

/// The last moment of a civil date in Asia/Shanghai, to the microsecond.
pub fn end_of_day(day: NaiveDate) -> DateTime<Utc> {
    let next = day.succ_opt().unwrap_or(day).and_time(chrono::NaiveTime::MIN).and_utc();
    next - chrono::Duration::hours(8) - chrono::Duration::microseconds(1)
}

/// Years that a civil date in a request may have: a century around the products' time.
pub fn is_plausible(day: NaiveDate) -> bool {
    (1990..=2100).contains(&day.year())
}
