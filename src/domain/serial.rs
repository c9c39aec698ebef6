//! Serial numbers, in the one form that the registry keeps.

use serde::{Deserialize, Serialize};

/// A normalised serial: 4 to 40 capitals and digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Serial(String);
super::text!(Serial, NotASerial);

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

    /// What this may have been meant to be: serials that differ only by characters that people mix up (O and 0, I and 1, B and 8),
    /// the fewest changes first. Every mix of the first six such places, each further one alone, and all of a kind at once:
    /// at most 103.
    pub fn near_misses(&self) -> Vec<Self> {
        let places: Vec<Change> = self.0.char_indices().filter_map(|(at, c)| Some((at, twin(c)?))).collect();
        let (first, more) = places.split_at(places.len().min(6));
        let mixes = (1..1_u32 << first.len()).map(|mix| {
            let chosen = first.iter().enumerate().filter(|(at, _)| mix >> at & 1 == 1);
            chosen.map(|(_, change)| *change).collect::<Vec<_>>()
        });
        let of_a_kind = ['0', 'O', '1', 'I', '8', 'B']
            .map(|kind| places.iter().copied().filter(|(_, to)| *to == kind).collect::<Vec<_>>());
        let alone = more.iter().map(|change| vec![*change]);
        let mut changes: Vec<Vec<Change>> = mixes.chain(alone).chain(of_a_kind).filter(|all| !all.is_empty()).collect();
        changes.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
        changes.dedup();
        changes.iter().map(|changes| self.changed(changes)).collect()
    }

    fn changed(&self, changes: &[Change]) -> Self {
        let mut text = self.0.clone();
        for (at, to) in changes {
            text.replace_range(at..=at, to.encode_utf8(&mut [0; 4]));
        }
        Self(text)
    }
}

/// Another character at a place.
type Change = (usize, char);

/// The character that people take this one for.
fn twin(c: char) -> Option<char> {
    Some(match c {
        'O' => '0',
        '0' => 'O',
        'I' => '1',
        '1' => 'I',
        'B' => '8',
        '8' => 'B',
        _ => return None,
    })
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
