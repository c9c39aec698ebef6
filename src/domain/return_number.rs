//! Return numbers (RMA): short, with a check digit, and fit to be read over a telephone: digits only.

use serde::{Deserialize, Serialize};

/// Digits, the last one a Damm check digit: any one wrong digit and any two neighbours exchanged are noticed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ReturnNumber(String);
super::text!(ReturnNumber, NotAReturnNumber);

/// Why a text is no return number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a return number has 8 to 12 digits, the last of which checks the others")]
pub struct NotAReturnNumber;

/// A totally anti-symmetric quasigroup (Damm, 2004).
#[rustfmt::skip]
const DAMM: [[u8; 10]; 10] = [
    [0, 3, 1, 7, 5, 9, 8, 6, 4, 2], [7, 0, 9, 2, 1, 5, 4, 8, 6, 3], [4, 2, 0, 6, 8, 7, 1, 3, 5, 9], [1, 7, 5, 0, 9, 8, 3, 4, 2, 6],
    [6, 1, 2, 3, 0, 4, 5, 9, 7, 8], [3, 6, 7, 4, 2, 0, 9, 5, 8, 1], [5, 8, 6, 9, 7, 2, 0, 1, 3, 4], [8, 9, 4, 5, 3, 6, 2, 0, 1, 7],
    [9, 4, 3, 8, 6, 1, 7, 2, 0, 5], [2, 5, 8, 1, 4, 3, 6, 7, 9, 0],
];

fn check_digit(digits: &str) -> u8 {
    digits.bytes().fold(0, |state, digit| DAMM[usize::from(state)][usize::from((digit - b'0') % 10)])
}

impl ReturnNumber {
    /// The number made from a seed that is given out once.
    pub fn issue(seed: u64) -> Self {
        let digits = seed.to_string();
        let check = check_digit(&digits);
        Self(format!("{digits}{check}"))
    }

    /// Reads a number as people write it: spaces and hyphens do not matter.
    pub fn parse(text: &str) -> Result<Self, NotAReturnNumber> {
        let digits: String = text.chars().filter(|c| !matches!(c, ' ' | '-')).collect();
        let well_formed = (8..=12).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        if !well_formed || check_digit(&digits) != 0 {
            return Err(NotAReturnNumber);
        }
        Ok(Self(digits))
    }
}
