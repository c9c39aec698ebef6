//! Limits: how they are written, their windows, and what is left.

use warranty::domain::rate::{Limit, Unit};

#[test]
fn a_limit_is_calls_in_a_unit_of_time() {
    for (text, read) in [
        ("600/minute", Ok(Limit { calls: 600, unit: Unit::Minute })),
        ("1/day", Ok(Limit { calls: 1, unit: Unit::Day })),
        ("0/minute", Err(())),
        ("-1/minute", Err(())),
        ("600/fortnight", Err(())),
        ("600", Err(())),
        ("", Err(())),
    ] {
        assert_eq!(text.parse::<Limit>(), read, "{text}");
    }
}

#[test]
fn windows_begin_at_whole_units_and_calls_fill_them() {
    for (limit, start, end) in [
        ("5/second", "2026-06-15T04:37:12Z", "2026-06-15T04:37:13Z"),
        ("5/minute", "2026-06-15T04:37:00Z", "2026-06-15T04:38:00Z"),
        ("5/hour", "2026-06-15T04:00:00Z", "2026-06-15T05:00:00Z"),
        ("5/day", "2026-06-15T00:00:00Z", "2026-06-16T00:00:00Z"),
    ] {
        let window = limit.parse::<Limit>().unwrap().window("2026-06-15T04:37:12.5Z".parse().unwrap());
        assert_eq!(window, (start.parse().unwrap(), end.parse().unwrap()), "{limit}");
    }
    let limit: Limit = "5/hour".parse().unwrap();
    for (made, hits, left) in [(0, 1, Some(4)), (4, 1, Some(0)), (5, 1, None), (4, 2, None), (u64::MAX, 1, None)] {
        assert_eq!(limit.left(made, hits), left, "{made} and {hits}");
    }
}
