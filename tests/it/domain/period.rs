//! Months counted by the calendar itself.

use chrono::{Datelike, NaiveDate};
use warranty::domain::period::*;

/// How the calendar itself counts: by hand, without chrono's month arithmetic.
fn by_the_calendar(day: NaiveDate, months: u32) -> NaiveDate {
    let zero_based = day.month0() + months;
    let (year, month) = (day.year() + (zero_based / 12) as i32, zero_based % 12 + 1);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    NaiveDate::from_ymd_opt(year, month, day.day().min(length)).unwrap()
}

#[test]
fn months_agree_with_the_calendar_for_every_day_of_2008_to_2032() {
    let first = NaiveDate::from_ymd_opt(2008, 1, 1).unwrap();
    let days: Vec<_> = first.iter_days().take_while(|day| day.year() <= 2032).collect();
    assert_eq!(days.len(), 9_132);
    for day in days {
        for months in [0, 1, 2, 3, 6, 12, 24, 36, 60] {
            assert_eq!(months_after(day, months), by_the_calendar(day, months), "{day} + {months}");
        }
    }
}

#[test]
fn a_length_of_zero_leaves_the_first_day_alone() {
    let day = NaiveDate::from_ymd_opt(2024, 3, 1).unwrap();
    let alone = Period { first: day, last: day };
    assert_eq!(Period::of_days(day, 0), alone);
    assert_eq!(Period::of_months(day, 0), alone);
    assert!(alone.contains(day));
    assert!(!alone.contains(day.succ_opt().unwrap()));
}
