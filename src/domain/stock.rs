//! Units in stock: what each is and may become (T4), and for which claims one may be held (T3).

use strum::{Display, EnumIter, EnumString};

use super::{
    claim::{Action, Claim},
    coverage::Remedy,
    refusal::Refusal,
};

/// Why a unit on the shelf is not sold.
pub const HELD_NOT_SOLD: &str = "it stands in the maker's stock, held for a claim";

/// What a unit in stock is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, EnumString, EnumIter)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum Condition {
    /// Never used.
    New,
    /// Tested.
    Good,
    /// Does not work.
    Faulty,
    /// To be tested.
    Quarantine,
    /// The end.
    Scrapped,
}

impl Condition {
    /// T4.
    pub fn may_be_given(self) -> bool {
        matches!(self, Self::New | Self::Good)
    }

    /// Whether a unit may come into stock like this: as the maker's own, and no better than it left. The error is the rule that it
    /// breaks.
    pub fn may_come(self, known: &Known) -> Result<(), &'static str> {
        first(&[(self == Self::Scrapped, "nothing comes into stock scrapped")])?;
        known.is_the_makers()?;
        let unused = known.is_unused();
        first(&[(self.may_be_given() && !unused, "only a unit that was never used may be NEW or GOOD (T4)")])?;
        known.last.map_or(Ok(()), |left| left.may_become(Some(self), unused, false))
    }

    /// Whether a unit in stock may become `to`, or leave where none. `unused`: fit to be given; `held`: for a claim.
    pub fn may_become(self, to: Option<Self>, unused: bool, held: bool) -> Result<(), &'static str> {
        let changes = to != Some(self);
        let to_good = to.is_some_and(Self::may_be_given);
        let broken = [
            (self == Self::Scrapped, "it was scrapped, which is the end"),
            (held && changes, "it is held for a claim"),
            (changes && to == Some(Self::New), "nothing becomes NEW again"),
            (self == Self::Faulty && to == Some(Self::Good), "it must be tested in QUARANTINE first"),
            (changes && to_good && !unused, "what was replaced, sold or given goes out under a new serial alone (T4)"),
        ];
        first(&broken)
    }

    /// Whether a unit that is like this may get a new serial, under which it is GOOD.
    pub fn may_be_refurbished(self, known: &Known) -> Result<(), &'static str> {
        let stands = matches!(self, Self::Faulty | Self::Quarantine);
        first(&[(!stands, "only what is FAULTY or in QUARANTINE is refurbished")])?;
        known.is_the_makers()?;
        first(&[(!known.sold_by_maker, "it was not sold by the maker, and cannot be given (S3)")])
    }
}

/// What is known of a unit beside what it is in stock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// S3.
    pub sold_by_maker: bool,
    /// Nobody bought it, was given it, or claims for it.
    pub free: bool,
    /// Another unit took its place.
    pub replaced: bool,
    /// A claim for it is open, and does not leave it to the maker so far: after a swap it may still be at its dealer's.
    pub claimed: bool,
    /// What it was when it left the stock last.
    pub last: Option<Condition>,
}

impl Known {
    /// Whether it may be given, but for what it is in stock (M3, T4).
    pub fn is_unused(&self) -> bool {
        self.sold_by_maker && self.free && !self.replaced
    }

    fn is_the_makers(&self) -> Result<(), &'static str> {
        first(&[
            (self.claimed, "a claim for it is open: it comes in with that"),
            (!self.free && !self.replaced, "it was sold or given"),
        ])
    }
}

fn first(broken: &[(bool, &'static str)]) -> Result<(), &'static str> {
    broken.iter().find(|(breaks, _)| *breaks).map_or(Ok(()), |(_, rule)| Err(*rule))
}

impl Claim {
    /// Whether a unit may be held for it: it is to be replaced, or would be where it is beyond repair, or owes its dealer one.
    pub fn may_be_allocated(&self) -> Result<(), Refusal> {
        if self.owes_a_unit() {
            return Ok(());
        }
        self.allow(Action::Replace).map_err(|_| self.wrong_state("ALLOCATE_REPLACEMENT"))?;
        match self.gives() {
            remedy @ Remedy::PaidService => Err(Refusal::RemedyMismatch { remedy }),
            _ => Ok(()),
        }
    }
}
