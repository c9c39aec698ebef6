//! Serials as people write them and mix them up.

use warranty::domain::serial::Serial;

#[test]
fn serials_are_read_as_people_write_them() {
    for (written, kept) in [
        ("aop-2024 0001", Some("AOP20240001")),
        ("ＡＯＰ－２０２４０００１", Some("AOP20240001")),
        ("AOP\u{2011}2024\u{3000}0001", Some("AOP20240001")),
        ("\u{FEFF}AOP2024\u{200D}0001", Some("AOP20240001")),
        ("ABCD", Some("ABCD")),
        ("ABC", None),
        ("----", None),
        ("", None),
        ("AOP_1234", None),
        ("AOP'1234", None),
        ("AOP\n1234", None),
        ("序列号1234", None),
        (&"A".repeat(40), Some("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")),
        (&"A".repeat(41), None),
    ] {
        let read = Serial::parse(written);
        assert_eq!(read.as_ref().ok().map(Serial::as_str), kept, "{written:?}");
    }
}

fn near(serial: &str) -> Vec<String> {
    Serial::parse(serial).unwrap().near_misses().into_iter().map(String::from).collect()
}

#[test]
fn near_misses_are_what_people_mix_up_the_fewest_changes_first() {
    for (written, near_misses) in [
        ("ACDE", vec![]),
        ("AC2O", vec!["AC20"]),
        ("ACD8", vec!["ACDB"]),
        ("CI80", vec!["C180", "CIB0", "CI8O", "C1B0", "C18O", "CIBO", "C1BO"]),
        ("O0A2", vec!["00A2", "OOA2", "0OA2"]),
    ] {
        assert_eq!(near(written), near_misses, "{written}");
    }
}

#[test]
fn many_places_stay_few_candidates() {
    // Six places mixed (63), one more alone, all seven of a kind.
    let seven = near("0000000ACDE");
    assert_eq!(seven.len(), 65);
    for (meant, found) in [
        ("OOO0000ACDE", true),
        ("OOOOOO0ACDE", true),
        ("000000OACDE", true),
        ("OOOOOOOACDE", true),
        ("O00000OACDE", false),
    ] {
        assert_eq!(seven.iter().any(|candidate| candidate == meant), found, "{meant}");
    }
    assert_eq!(near(&"0I8".repeat(13)).len(), 63 + 33 + 3);
    assert_eq!(near(&"0O1I8B".repeat(6)).len(), 63 + 30 + 6);
}
