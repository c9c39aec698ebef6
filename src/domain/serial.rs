//! Serial numbers, in the one form that the registry keeps.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A normalised serial: 4 to 40 capitals and digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Serial(String);

/// Why a text is no serial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a serial has 4 to 40 letters and digits; spaces and hyphens do not count")]
pub struct NotASerial;

impl Serial {
    /// Reads a serial as people write it: full width, lower case, spaces and hyphens of any kind are folded away.
    pub fn parse(text: &str) -> Result<Self, NotASerial> {
        let mut normal = String::with_capacity(text.len());
        for c in text.chars() {
            match fold(c) {
                ' ' | '\t' | '-' => {}
                c if c.is_ascii_alphanumeric() => normal.push(c.to_ascii_uppercase()),
                _ => return Err(NotASerial),
            }
            if normal.len() > 40 {
                return Err(NotASerial);
            }
        }
        if normal.len() < 4 {
            return Err(NotASerial);
        }
        Ok(Self(normal))
    }

    /// The normalised text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Folds full-width forms to ASCII, and every hyphen, dash and space to the plain one.
fn fold(c: char) -> char {
    match c {
        '\u{FF01}'..='\u{FF5E}' => char::from_u32(c as u32 - 0xFEE0).unwrap_or(c),
        '\u{3000}' | '\u{00A0}' | '\u{2000}'..='\u{200F}' | '\u{2060}' | '\u{FEFF}' | '\u{202F}' => ' ',
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{FE63}' | '\u{30FC}' => '-',
        _ => c,
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Serial {
    type Error = NotASerial;
    fn try_from(text: String) -> Result<Self, NotASerial> {
        Self::parse(&text)
    }
}

impl From<Serial> for String {
    fn from(serial: Serial) -> Self {
        serial.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
