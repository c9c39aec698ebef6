//! Money: CNY in whole fen.

use serde::{Deserialize, Serialize};

/// An amount of CNY in whole fen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Fen(pub i64);

/// The most that one amount may be: 100 million yuan. Sums and products of what a quote may hold stay far inside an i64.
pub const MOST: Fen = Fen(10_000_000_000);

impl std::fmt::Display for Fen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:02} CNY", self.0 / 100, self.0 % 100)
    }
}

const NANOS_OF_A_FEN: i32 = 10_000_000;

impl Fen {
    /// From whole yuan and their billionths. Errors: the rule that is broken.
    pub fn of(currency: &str, units: i64, nanos: i32) -> Result<Self, &'static str> {
        if currency != "CNY" {
            return Err("must be in CNY");
        }
        if units < 0 || nanos < 0 {
            return Err("must not be negative");
        }
        if nanos % NANOS_OF_A_FEN != 0 || nanos >= 1_000_000_000 {
            return Err("must be in whole fen");
        }
        let fen = units.checked_mul(100).and_then(|fen| fen.checked_add(i64::from(nanos / NANOS_OF_A_FEN)));
        fen.map(Fen).filter(|fen| *fen <= MOST).ok_or("must be at most 100,000,000.00")
    }

    /// Whole yuan, and the billionths that are left.
    pub fn units_and_nanos(self) -> (i64, i32) {
        // What is left of a yuan is less than a hundred fen.
        (self.0 / 100, (self.0 % 100) as i32 * NANOS_OF_A_FEN)
    }

    /// The tax on it, rounded half up to the fen. `basis_points` are hundredths of a per cent.
    pub fn vat(self, basis_points: u32) -> Self {
        Self((self.0 * i64::from(basis_points) + 5_000) / 10_000)
    }
}
