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

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn standard() -> Calendar {
        serde_json::from_str(STANDARD_CALENDAR).unwrap()
    }

    #[test]
    fn a_day_off_moves_to_the_next_day_that_is_none() {
        let cases = [
            // As counted, by the public holidays alone, by rest days.
            ("2024-09-28", "2024-09-28", "2024-09-29"), // A Saturday; the Sunday is worked for Golden Week.
            ("2024-09-29", "2024-09-29", "2024-09-29"),
            ("2024-10-01", "2024-10-08", "2024-10-08"), // Golden Week.
            ("2024-10-07", "2024-10-08", "2024-10-08"),
            ("2024-10-12", "2024-10-12", "2024-10-12"), // A Saturday that is worked.
            ("2024-10-13", "2024-10-13", "2024-10-14"),
            ("2024-02-04", "2024-02-04", "2024-02-04"), // A Sunday that is worked for Spring Festival.
            ("2024-02-10", "2024-02-18", "2024-02-18"), // Ends on another one.
            ("2024-02-25", "2024-02-25", "2024-02-26"),
            ("2024-02-29", "2024-02-29", "2024-02-29"),
            ("2023-12-30", "2024-01-02", "2024-01-02"), // Over the new year.
            ("2026-12-26", "2026-12-26", "2026-12-28"),
            ("2026-12-31", "2026-12-31", "2026-12-31"),
        ];
        for (counted, holidays, rest_days) in cases {
            for (rule, expected) in
                [(LastDayOff::None, counted), (LastDayOff::PublicHolidays, holidays), (LastDayOff::RestDays, rest_days)]
            {
                assert_eq!(standard().moved(day(counted), rule), Ok(day(expected)), "{counted} {rule:?}");
            }
        }
    }

    #[test]
    fn a_year_without_a_calendar_is_not_guessed() {
        let only_2023 =
            Calendar::new(standard().years().filter(|(year, _)| *year == 2023).map(|(y, of)| (y, of.clone())));
        let unknown = |day| Err(CalendarEnds { day });
        for rule in [LastDayOff::PublicHolidays, LastDayOff::RestDays] {
            assert_eq!(standard().moved(day("2027-03-01"), rule), unknown(day("2027-03-01")));
            assert_eq!(standard().moved(day("2017-12-31"), rule), unknown(day("2017-12-31")));
            assert_eq!(
                only_2023.moved(day("2023-12-30"), rule),
                unknown(day("2024-01-01")),
                "a holiday to the year's end"
            );
            assert_eq!(only_2023.moved(day("2023-12-29"), rule), Ok(day("2023-12-29")));
        }
        assert_eq!(standard().moved(day("2027-03-01"), LastDayOff::None), Ok(day("2027-03-01")));
    }

    #[test]
    fn the_standard_calendar_is_whole_and_every_fault_of_a_year_is_told() {
        let counts: Vec<_> =
            standard().years().map(|(year, of)| (year, of.holidays.len(), of.workdays.len())).collect();
        assert_eq!(counts.iter().map(|(year, ..)| *year).collect::<Vec<_>>(), (2018..=2026).collect::<Vec<_>>());
        assert_eq!(counts.iter().fold((0, 0), |sum, of| (sum.0 + of.1, sum.1 + of.2)), (263, 59));
        for (year, of) in standard().years() {
            assert_eq!(of.faults(year), []);
        }
        let wrong = CalendarYear {
            holidays: ["2027-05-01", "2028-01-01"].map(day).into(),
            workdays: ["2027-05-01", "2027-05-04"].map(day).into(),
        };
        let faults: Vec<_> = wrong.faults(2027).into_iter().map(|(field, rule)| format!("{field}: {rule}")).collect();
        let expected = [
            "holidays: 2028-01-01 does not lie in 2027",
            "workdays: 2027-05-01 is a holiday too",
            "workdays: 2027-05-04 is neither a Saturday nor a Sunday",
        ];
        assert_eq!(faults, expected);
    }
}
