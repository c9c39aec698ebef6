//! Windows counted by hand, each parameter alone and together.

use chrono::NaiveDate;
use warranty::domain::{
    calendar::{Calendar, LastDayOff, STANDARD_CALENDAR},
    facts::RepairFacts,
    policy::{AfterFreeRepair, Policy, RepairDaysExtend, STANDARD_POLICY},
    windows::{Counting, Window},
};

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

/// A free repair: the day it came in, or none known, and the day it was completed.
fn free(came_in: &str, completed: &str) -> RepairFacts {
    let received_on = (!came_in.is_empty()).then(|| day(came_in));
    RepairFacts { received_on, completed_on: day(completed), paid: false, fault: None }
}

fn paid(came_in: &str, completed: &str) -> RepairFacts {
    RepairFacts { paid: true, ..free(came_in, completed) }
}

/// The windows as text, such as `T1 2024-03-01 2024-03-16`; `?` where the last day is open.
fn counted(policy: &Policy, start: &str, repairs: &[RepairFacts], on: &str) -> Vec<String> {
    let calendar: Calendar = serde_json::from_str(STANDARD_CALENDAR).unwrap();
    let counting = Counting { policy, calendar: &calendar, terms: &policy.terms };
    let text = |window: &Window| {
        let open = if window.open.is_some() { "?" } else { "" };
        format!("{} {} {}{open}", window.clause, window.period.first, window.period.last)
    };
    counting.windows(day(start), repairs, day(on)).iter().map(text).collect()
}

fn policy(change: impl FnOnce(&mut Policy)) -> Policy {
    let mut policy = serde_json::from_str(STANDARD_POLICY).unwrap();
    change(&mut policy);
    policy
}

#[test]
fn last_days_move_off_days_off() {
    use LastDayOff::{None, PublicHolidays, RestDays};
    let cases = [
        // Start, then the last days of T1, T2 and T7.
        (None, "2024-09-16", ["2024-10-01", "2025-09-16", "2024-09-23"]),
        (PublicHolidays, "2024-09-16", ["2024-10-08", "2025-09-16", "2024-09-23"]),
        (RestDays, "2024-09-16", ["2024-10-08", "2025-09-16", "2024-09-23"]),
        // From February 29: a year later a Friday.
        (RestDays, "2024-02-29", ["2024-03-15", "2025-02-28", "2024-03-07"]),
        // A Saturday, a Saturday a year later, a Friday.
        (PublicHolidays, "2024-03-01", ["2024-03-16", "2025-03-01", "2024-03-08"]),
        (RestDays, "2024-03-01", ["2024-03-18", "2025-03-03", "2024-03-08"]),
        // Spring Festival to the Sunday that is worked for it.
        (RestDays, "2024-01-27", ["2024-02-18", "2025-01-27", "2024-02-04"]),
        // The year ends where no calendar is.
        (None, "2026-03-01", ["2026-03-16", "2027-03-01", "2026-03-08"]),
        (PublicHolidays, "2026-03-01", ["2026-03-16", "2027-03-01?", "2026-03-08"]),
        (RestDays, "2026-03-01", ["2026-03-16", "2027-03-01?", "2026-03-09"]),
    ];
    for (last_day_off, start, [t1, t2, t7]) in cases {
        let policy = policy(|policy| policy.last_day_off = last_day_off);
        let expected = [("T1", t1), ("T2", t2), ("T7", t7)].map(|(clause, last)| format!("{clause} {start} {last}"));
        assert_eq!(counted(&policy, start, &[], start), expected, "{last_day_off:?}");
    }
}

#[test]
fn a_term_of_zero_leaves_the_first_day_alone_even_on_a_holiday() {
    let policy = policy(|policy| {
        (policy.terms.replacement_days, policy.terms.repair_months, policy.terms.after_repair_months) = (0, 0, 0);
        policy.last_day_off = LastDayOff::RestDays;
        policy.after_free_repair = AfterFreeRepair::Added;
        policy.repair_days_extend = RepairDaysExtend::ByDaysTouched;
    });
    let windows = counted(&policy, "2024-10-01", &[free("2024-10-01", "2024-10-02")], "2024-11-01");
    let expected = [
        "T1 2024-10-01 2024-10-01",
        "T2 2024-10-01 2024-10-01",
        "T6 2024-10-02 2024-10-02",
        "T7 2024-10-01 2024-10-08",
    ];
    assert_eq!(windows, expected);
}

#[test]
fn days_in_free_repair_lengthen_the_year() {
    let cases: [(&str, &[RepairFacts], &str, &str); 14] = [
        ("one of three days", &[free("2024-05-10", "2024-05-12")], "2024-06-01", "2025-03-04"),
        ("came in when nobody wrote it down", &[free("", "2024-05-12")], "2024-06-01", "2025-03-02"),
        ("two", &[free("2024-05-10", "2024-05-12"), free("2024-07-01", "2024-07-01")], "2024-08-01", "2025-03-05"),
        (
            "each day once",
            &[free("2024-05-12", "2024-05-13"), free("2024-05-10", "2024-05-12")],
            "2024-06-01",
            "2025-03-05",
        ),
        (
            "one inside another",
            &[free("2024-05-10", "2024-05-20"), free("2024-05-12", "2024-05-13")],
            "2024-06-01",
            "2025-03-12",
        ),
        ("a paid one", &[paid("2024-05-10", "2024-05-12")], "2024-06-01", "2025-03-01"),
        ("came in before the start", &[free("2024-02-29", "2024-03-02")], "2024-06-01", "2025-03-01"),
        ("came in on the first day", &[free("2024-03-01", "2024-03-02")], "2024-06-01", "2025-03-03"),
        ("came in on the last day", &[free("2025-03-01", "2025-03-10")], "2025-04-01", "2025-03-11"),
        ("came in after it", &[free("2025-03-02", "2025-03-10")], "2025-04-01", "2025-03-01"),
        (
            "within what one before added",
            &[free("2025-03-04", "2025-03-05"), free("2024-05-10", "2024-05-12")],
            "2025-04-01",
            "2025-03-06",
        ),
        ("asked about while in repair", &[free("2024-05-10", "2024-05-12")], "2024-05-11", "2025-03-01"),
        ("asked about the day it was completed", &[free("2024-05-10", "2024-05-12")], "2024-05-12", "2025-03-04"),
        (
            "a later one changes nothing",
            &[free("2024-05-10", "2024-05-12"), free("2024-07-01", "2024-07-09")],
            "2024-06-01",
            "2025-03-04",
        ),
    ];
    let policy = policy(|policy| policy.repair_days_extend = RepairDaysExtend::ByDaysTouched);
    for (about, repairs, on, last) in cases {
        let windows = counted(&policy, "2024-03-01", repairs, on);
        assert!(windows.contains(&format!("T2 2024-03-01 {last}")), "{about}: {windows:?}");
    }
    let windows = counted(&policy, "2024-02-29", &[free("", "2024-05-12")], "2024-06-01");
    assert!(windows.contains(&"T2 2024-02-29 2025-03-01".to_owned()), "over the end of February: {windows:?}");
}

#[test]
fn a_year_moved_off_a_weekend_takes_in_who_comes_in_on_its_last_day() {
    let policy = policy(|policy| {
        policy.repair_days_extend = RepairDaysExtend::ByDaysTouched;
        policy.last_day_off = LastDayOff::RestDays;
    });
    // 1 March 2025 is a Saturday: the year ends on Monday. Three days more from the Saturday on: Tuesday.
    let windows = counted(&policy, "2024-03-01", &[free("2025-03-03", "2025-03-05")], "2025-04-01");
    assert!(windows.contains(&"T2 2024-03-01 2025-03-04".to_owned()), "{windows:?}");
}

#[test]
fn a_free_repair_adds_to_what_is_left() {
    type Case<'a> = (&'a str, &'a [RepairFacts], &'a [&'a str], &'a [&'a str]);
    let cases: [Case<'_>; 5] = [
        // At least, then added.
        ("one", &[free("", "2024-05-12")], &["2024-05-12 2024-08-12"], &["2024-05-12 2025-06-01"]),
        (
            "two",
            &[free("", "2024-06-01"), free("", "2024-05-12")],
            &["2024-05-12 2024-08-12", "2024-06-01 2024-09-01"],
            &["2024-05-12 2025-06-01", "2024-06-01 2025-09-01"],
        ),
        (
            "two on one day",
            &[free("", "2024-05-12"), free("", "2024-05-12")],
            &["2024-05-12 2024-08-12"],
            &["2024-05-12 2025-06-01"],
        ),
        ("nothing left", &[free("", "2026-01-10")], &["2026-01-10 2026-04-10"], &["2026-01-10 2026-04-10"]),
        ("paid ones add nothing", &[paid("", "2024-05-12")], &[], &[]),
    ];
    for (about, repairs, at_least, added) in cases {
        for (rule, expected) in [(AfterFreeRepair::AtLeast, at_least), (AfterFreeRepair::Added, added)] {
            let windows =
                counted(&policy(|policy| policy.after_free_repair = rule), "2024-03-01", repairs, "2026-06-01");
            let after: Vec<_> = windows.iter().filter_map(|window| window.strip_prefix("T6 ")).collect();
            assert_eq!(after, expected, "{about} {rule:?}");
        }
    }
}

#[test]
fn the_parameters_together() {
    let policy = policy(|policy| {
        policy.last_day_off = LastDayOff::RestDays;
        policy.after_free_repair = AfterFreeRepair::Added;
        policy.repair_days_extend = RepairDaysExtend::ByDaysTouched;
    });
    // The year to Saturday 1 March 2025, two days more to Monday 3; three months more to Tuesday 3 June, past a holiday.
    let windows = counted(&policy, "2024-03-01", &[free("2024-05-10", "2024-05-11")], "2024-06-01");
    let expected = [
        "T1 2024-03-01 2024-03-18",
        "T2 2024-03-01 2025-03-03",
        "T6 2024-05-11 2025-06-03",
        "T7 2024-03-01 2024-03-08",
    ];
    assert_eq!(windows, expected);
    // What is added to an open end is open.
    let windows = counted(&policy, "2026-03-01", &[free("", "2026-05-11")], "2026-06-01");
    assert!(windows.contains(&"T2 2026-03-01 2027-03-02?".to_owned()), "{windows:?}");
    assert!(windows.contains(&"T6 2026-05-11 2027-06-02?".to_owned()), "{windows:?}");
}
