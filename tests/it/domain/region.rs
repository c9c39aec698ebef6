//! Regions, by the codes of today and of before 2017.

use warranty::domain::region::Region;

#[test]
fn codes_of_today_and_of_before_2017() {
    for (written, kept, mainland) in [
        ("CN-GD", Some("CN-GD"), true),
        ("cn-gd", Some("CN-GD"), true),
        ("CN-44", Some("CN-GD"), true),
        ("CN-71", Some("CN-TW"), false),
        ("CN-91", Some("CN-HK"), false),
        ("CN-92", Some("CN-MO"), false),
        ("VN-SG", Some("VN-SG"), false),
        ("TW-TPE", Some("TW-TPE"), false),
        ("CN", None, false),
        ("CN-", None, false),
        ("CN-XX", None, false),
        ("CN-99", None, false),
        ("CN-GD-1", None, false),
        ("XX-GD", None, false),
        ("US-TEXAS", None, false),
        ("A -GD", None, false),
        ("", None, false),
    ] {
        let read = Region::parse(written);
        assert_eq!(read.as_ref().ok().map(Region::as_str), kept, "{written:?}");
        assert_eq!(read.is_ok_and(|region| region.is_mainland()), mainland, "{written:?}");
    }
}
