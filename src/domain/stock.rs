//! Units in stock: what each is and may become (T4), and for which claims one may be held (T3).

use strum::{Display, EnumIter, EnumString};

use super::{
    claim::{Action, Claim},
    coverage::Remedy,
    refusal::Refusal,
};

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

    /// Whether a unit may come into stock like this. `unused`: fit to be given; `replaced`: another unit took its place;
    /// `free`: it is no customer's. The error is the rule that it breaks.
    pub fn may_come(self, unused: bool, replaced: bool, free: bool) -> Result<(), &'static str> {
        let broken = [
            (self == Self::Scrapped, "nothing comes into stock scrapped"),
            (!free && !replaced, "it was sold or given, or has an open claim"),
            (self.may_be_given() && !unused, "only a unit that was never used may be NEW or GOOD (T4)"),
        ];
        first(&broken)
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

    /// Whether a unit that is like this may get a new serial.
    pub fn may_be_refurbished(self) -> Result<(), &'static str> {
        first(&[(
            !matches!(self, Self::Faulty | Self::Quarantine),
            "only what is FAULTY or in QUARANTINE is refurbished",
        )])
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
        self.allow(Action::Replace)?;
        match self.gives() {
            remedy @ Remedy::PaidService => Err(Refusal::RemedyMismatch { remedy }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use strum::IntoEnumIterator;

    use super::*;

    #[test]
    fn what_a_unit_may_become() {
        use Condition::*;
        // Of a unit fit to be given that is not held: every move that is allowed, and N for leaving.
        let allowed = |from: Condition| {
            let to: Vec<_> = Condition::iter().filter(|to| from.may_become(Some(*to), true, false).is_ok()).collect();
            (to, from.may_become(None, true, false).is_ok())
        };
        assert_eq!(allowed(New), (vec![New, Good, Faulty, Quarantine, Scrapped], true));
        assert_eq!(allowed(Good), (vec![Good, Faulty, Quarantine, Scrapped], true));
        assert_eq!(allowed(Faulty), (vec![Faulty, Quarantine, Scrapped], true));
        assert_eq!(allowed(Quarantine), (vec![Good, Faulty, Quarantine, Scrapped], true));
        assert_eq!(allowed(Scrapped), (vec![], false));
        for (from, to, unused, held, may) in [
            (Quarantine, Some(Good), false, false, false),
            (Quarantine, Some(Faulty), false, false, true),
            (Good, Some(Good), true, true, true),
            (Good, Some(Faulty), true, true, false),
            (Good, None, true, true, false),
        ] {
            assert_eq!(from.may_become(to, unused, held).is_ok(), may, "{from} to {to:?}");
        }
    }

    #[test]
    fn what_may_come() {
        use Condition::*;
        for (condition, unused, replaced, free, may) in [
            (New, true, false, true, true),
            (Good, true, false, true, true),
            (Scrapped, true, false, true, false),
            (Faulty, false, false, false, false),
            (Faulty, false, true, false, true),
            (Good, false, true, true, false),
            (Good, false, false, true, false),
            (Quarantine, false, false, true, true),
        ] {
            let came = condition.may_come(unused, replaced, free);
            assert_eq!(came.is_ok(), may, "{condition} unused {unused} replaced {replaced} free {free}: {came:?}");
        }
    }
}
