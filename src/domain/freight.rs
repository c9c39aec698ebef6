//! Freight: what a parcel cost, divided among the claims in it, and corrected by taking back what was charged (M5, M6).

use strum::{Display, EnumIter, EnumString};

use super::money::Fen;

/// Where a carrier is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, EnumString, EnumIter)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum Terms {
    /// Where the parcel was sent from.
    Prepaid,
    /// Where it arrived.
    Collect,
    /// Not known yet.
    Unknown,
}

/// What an entry does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, EnumString, EnumIter)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum EntryKind {
    /// Charges a share of the parcel's cost.
    Charge,
    /// Takes the charge before it back, whole.
    Reversal,
}

/// What a leg was charged, or is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// Its share.
    pub cost: Fen,
    /// Where the carrier is paid.
    pub terms: Terms,
    /// Who carries it.
    pub carrier: String,
}

/// An entry to be written for the leg at `leg` of the parcel: `number` is its place among that leg's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posting {
    /// Which leg, by its place in what was given.
    pub leg: usize,
    /// From 1.
    pub number: i32,
    /// What it does.
    pub kind: EntryKind,
    /// What is charged, or taken back.
    pub charge: Charge,
}

/// Divides `charge`, the whole parcel's, among its legs. `before` is each leg's last charge with its number, none where it has none
/// yet: that is taken back first. The shares sum to the whole to the fen; what is left over goes to the first, a fen each.
/// Nothing, where each leg was charged so already.
pub fn divide(charge: &Charge, before: &[Option<(i32, Charge)>]) -> Vec<Posting> {
    // A parcel holds at least one claim and at most 200.
    let legs = i64::try_from(before.len()).unwrap_or(i64::MAX).max(1);
    let (even, left) = (charge.cost.0 / legs, charge.cost.0 % legs);
    let mut postings = Vec::new();
    let mut stands = true;
    for (at, last) in before.iter().enumerate() {
        let mut number = 1;
        let cost = Fen(even + i64::from((at as i64) < left));
        let anew = Charge { cost, ..charge.clone() };
        stands &= last.as_ref().is_some_and(|(_, last)| *last == anew);
        if let Some((charged, last)) = last {
            postings.push(Posting { leg: at, number: charged + 1, kind: EntryKind::Reversal, charge: last.clone() });
            number = charged + 2;
        }
        postings.push(Posting { leg: at, number, kind: EntryKind::Charge, charge: anew });
    }
    if stands { Vec::new() } else { postings }
}
