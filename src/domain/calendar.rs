//! Days off, by which a policy may move the last day of a window: public holidays and weekend days that are worked.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{Datelike, NaiveDate, Weekday};
use serde::{Deserialize, Serialize};

/// Whether a last day that falls on a day off moves to the next day that is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum LastDayOff {
    /// It stays where it falls.
    #[default]
    None,
    /// Off are the public holidays alone.
    PublicHolidays,
    /// Off are the public holidays, and Saturdays and Sundays that are not worked.
    RestDays,
}

/// One year, published whole: what it does not name is an ordinary day.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalendarYear {
    /// Public holidays, weekend days among them.
    pub holidays: BTreeSet<NaiveDate>,
    /// Saturdays and Sundays that are worked to make up for holidays.
    pub workdays: BTreeSet<NaiveDate>,
}

/// The years published so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calendar {
    years: BTreeMap<i32, CalendarYear>,
}

/// The calendars that come with the system: 2018 to 2026. A document of the shape of [`Calendar`].
pub const STANDARD_CALENDAR: &str = include_str!("cn_calendar.json");

/// A decision hangs on whether a day is a day off, and no calendar of its year is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the decision hangs on whether {day} is a day off, and no calendar of that year is published")]
pub struct CalendarEnds {
    /// The day.
    pub day: NaiveDate,
}

impl CalendarYear {
    /// What is wrong with it as the calendar of `year`: fields, and the rules that they break.
    pub fn faults(&self, year: i32) -> Vec<(String, String)> {
        let outside = |field: &str, days: &BTreeSet<NaiveDate>| {
            let outside = days.iter().filter(|day| day.year() != year);
            outside.map(|day| (field.to_owned(), format!("{day} does not lie in {year}"))).collect::<Vec<_>>()
        };
        let mut faults = outside("holidays", &self.holidays);
        faults.extend(outside("workdays", &self.workdays));
        for day in &self.workdays {
            if !is_weekend(*day) {
                faults.push(("workdays".to_owned(), format!("{day} is neither a Saturday nor a Sunday")));
            }
            if self.holidays.contains(day) {
                faults.push(("workdays".to_owned(), format!("{day} is a holiday too")));
            }
        }
        faults
    }
}

impl Calendar {
    /// From published years.
    pub fn new(years: impl IntoIterator<Item = (i32, CalendarYear)>) -> Self {
        Self { years: years.into_iter().collect() }
    }

    /// The years, in order.
    pub fn years(&self) -> impl Iterator<Item = (i32, &CalendarYear)> {
        self.years.iter().map(|(year, of)| (*year, of))
    }

    /// The first day from `day` on that is no day off.
    pub fn moved(&self, day: NaiveDate, rule: LastDayOff) -> Result<NaiveDate, CalendarEnds> {
        if rule == LastDayOff::None {
            return Ok(day);
        }
        for day in day.iter_days() {
            let year = self.years.get(&day.year()).ok_or(CalendarEnds { day })?;
            let rest = rule == LastDayOff::RestDays && is_weekend(day) && !year.workdays.contains(&day);
            if !rest && !year.holidays.contains(&day) {
                return Ok(day);
            }
        }
        Err(CalendarEnds { day })
    }
}

fn is_weekend(day: NaiveDate) -> bool {
    matches!(day.weekday(), Weekday::Sat | Weekday::Sun)
}
