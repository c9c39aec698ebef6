//! Return numbers, read wrong in every way.

use warranty::domain::return_number::{NotAReturnNumber, ReturnNumber};

#[test]
fn one_wrong_digit_or_two_exchanged_are_noticed() {
    for seed in (1_000_001..1_000_500).chain([999_999_999]) {
        let number = ReturnNumber::issue(seed);
        assert_eq!(ReturnNumber::parse(number.as_str()), Ok(number.clone()));
        let digits = number.as_str().as_bytes();
        for at in 0..digits.len() {
            for digit in b'0'..=b'9' {
                let mut wrong = digits.to_vec();
                wrong[at] = digit;
                let read = ReturnNumber::parse(std::str::from_utf8(&wrong).unwrap());
                assert_eq!(read.is_ok(), digit == digits[at], "{number} at {at}");
            }
        }
        for at in 1..digits.len() {
            let mut exchanged = digits.to_vec();
            exchanged.swap(at - 1, at);
            let read = ReturnNumber::parse(std::str::from_utf8(&exchanged).unwrap());
            assert_eq!(read.is_ok(), digits[at - 1] == digits[at], "{number} at {at}");
        }
    }
}

#[test]
fn read_as_people_write_it() {
    let number = ReturnNumber::issue(1_000_001);
    let spoken = format!("{}-{} ", &number.as_str()[..4], &number.as_str()[4..]);
    assert_eq!(ReturnNumber::parse(&spoken), Ok(number));
    for text in ["", "1234", "１２３４５６７８", "12345678901234", "R1000001"] {
        assert_eq!(ReturnNumber::parse(text), Err(NotAReturnNumber), "{text}");
    }
}
