//! What came out of a box, and how what is set aside is settled.

use strum::IntoEnumIterator;
use warranty::domain::{
    parcel::{Difference, Found, Settlement},
    return_number::ReturnNumber,
};

#[test]
fn both_must_fit_and_nothing_is_matched_silently() {
    use Difference as D;
    let (one, two) = (ReturnNumber::issue(1_000_001), ReturnNumber::issue(1_000_002));
    let spoken = format!("{}-{}", &one.as_str()[..4], &one.as_str()[4..]);
    let announced = [(Some(one.as_str()), Some("UNIT1")), (Some(two.as_str()), Some("UNIT2")), (None, Some("UNIT3"))];
    for (number, serial, expected) in [
        (Some(one.as_str()), Some("UNIT1"), Ok(0)),
        (Some(spoken.as_str()), Some("unit-1"), Ok(0)),
        (Some(two.as_str()), Some("UNIT2"), Ok(1)),
        (Some(one.as_str()), Some("UNIT2"), Err(D::WrongSerial)),
        (Some(one.as_str()), Some("??"), Err(D::WrongSerial)),
        (Some(one.as_str()), None, Err(D::WrongSerial)),
        (None, Some("UNIT1"), Err(D::Unannounced)),
        (None, Some("UNIT3"), Err(D::Unannounced)),
        (Some("10000010"), Some("UNIT1"), Err(D::Unannounced)),
        (Some(ReturnNumber::issue(7_777_777).as_str()), Some("UNIT1"), Err(D::Unannounced)),
        (None, None, Err(D::Unannounced)),
    ] {
        let found = Found { return_number: number.map(Into::into), serial: serial.map(Into::into) };
        let (place, unit) = found.among(&announced);
        assert_eq!(unit.map(|_| place.unwrap()), expected, "{found:?}");
    }
}

#[test]
fn what_is_settled_stays_so_but_what_is_kept() {
    for settled in Settlement::iter().map(Some).chain([None]) {
        let may: Vec<_> = Settlement::iter().filter(|next| next.after(settled).is_ok()).collect();
        assert_eq!(may, Settlement::open_to(settled), "{settled:?}");
    }
}
