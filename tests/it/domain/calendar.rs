//! Days off of the standard calendar.

use chrono::NaiveDate;
use warranty::domain::calendar::*;

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
    let only_2023 = Calendar::new(standard().years().filter(|(year, _)| *year == 2023).map(|(y, of)| (y, of.clone())));
    let unknown = |day| Err(CalendarEnds { day });
    for rule in [LastDayOff::PublicHolidays, LastDayOff::RestDays] {
        assert_eq!(standard().moved(day("2027-03-01"), rule), unknown(day("2027-03-01")));
        assert_eq!(standard().moved(day("2017-12-31"), rule), unknown(day("2017-12-31")));
        assert_eq!(only_2023.moved(day("2023-12-30"), rule), unknown(day("2024-01-01")), "a holiday to the year's end");
        assert_eq!(only_2023.moved(day("2023-12-29"), rule), Ok(day("2023-12-29")));
    }
    assert_eq!(standard().moved(day("2027-03-01"), LastDayOff::None), Ok(day("2027-03-01")));
}

#[test]
fn the_standard_calendar_is_whole_and_every_fault_of_a_year_is_told() {
    let counts: Vec<_> = standard().years().map(|(year, of)| (year, of.holidays.len(), of.workdays.len())).collect();
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
