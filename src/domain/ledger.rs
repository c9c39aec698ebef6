//! The dealer's ledger: what a swap makes dealer and maker owe each other, and why (M3, and what stands under M).

use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, EnumString};

use super::{claim::Claim, coverage::Remedy, event::Event, serial::Serial};

/// Who owes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, EnumString, EnumIter)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum Debtor {
    /// The dealer.
    Dealer,
    /// The maker.
    Maker,
}

/// What is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, EnumString, EnumIter)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum Owed {
    /// By the dealer.
    FaultyUnit,
    /// New stock, outside the chain.
    GoodUnit,
    /// Repaired free.
    OldUnitRepaired,
    /// As it came, or after a quote.
    OldUnit,
}

impl Owed {
    /// What the maker owes by a remedy.
    pub fn by(remedy: Remedy) -> Self {
        match remedy {
            Remedy::DirectReplacement => Self::GoodUnit,
            Remedy::FreeRepair => Self::OldUnitRepaired,
            _ => Self::OldUnit,
        }
    }

    /// Why it is owed, as a sentence. `remedy` is that of the maker's debt.
    pub fn why(self, remedy: Option<Remedy>) -> String {
        let by = remedy.map(|remedy| remedy.to_string()).unwrap_or_default();
        match self {
            Self::FaultyUnit => "the dealer swapped the unit, and owes the maker the faulty one (M3)".to_owned(),
            Self::GoodUnit if remedy == Some(Remedy::DirectReplacement) => {
                format!("{by} after a swap: the maker owes the dealer a good unit (M3)")
            }
            Self::GoodUnit => {
                format!("{by} after a swap, and the old unit is beyond repair: a good unit in its place (M3)")
            }
            Self::OldUnitRepaired => format!("{by} after a swap: the maker owes the old unit, repaired free (M3)"),
            Self::OldUnit => format!("{by} after a swap: the maker owes nothing but the old unit back (M3)"),
        }
    }
}

/// How a debt is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Display, EnumString, EnumIter)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum Closing {
    /// The unit arrived, or was sent out.
    Returned,
    /// Something else is owed in its place.
    Changed,
    /// Against a debt of the other side.
    Netted,
    /// By staff.
    WrittenOff,
}

/// What an event writes into the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Posting {
    /// A debt begins: the unit owed where it is a certain one, and the remedy that the maker owes it by.
    Opened(Debtor, Owed, Option<Serial>, Option<Remedy>),
    /// A debt ends with this unit, or with staff's reason.
    Closed(Debtor, Closing, Option<Serial>, Option<String>),
}

/// What an event writes; `claim` is the claim after it. Nothing without a swap.
pub fn postings(claim: &Claim, event: &Event) -> Vec<Posting> {
    use Posting::{Closed, Opened};
    if claim.swapped_for.is_none() {
        return Vec::new();
    }
    let old = &claim.filing.serial;
    let maker =
        |owed: Owed, remedy| Opened(Debtor::Maker, owed, (owed != Owed::GoodUnit).then(|| old.clone()), Some(remedy));
    let changed = Closed(Debtor::Maker, Closing::Changed, None, None);
    let returned = |debtor, unit: &Serial| Closed(debtor, Closing::Returned, Some(unit.clone()), None);
    match event {
        Event::Swapped { .. } => vec![Opened(Debtor::Dealer, Owed::FaultyUnit, Some(old.clone()), None)],
        Event::Received { .. } => vec![returned(Debtor::Dealer, old)],
        // Given up on its way here: staff writes off with it what can never be received.
        Event::LostClosed { reason } => {
            vec![Closed(Debtor::Dealer, Closing::WrittenOff, None, Some(reason.clone()))]
        }
        Event::Inspected { ruling, .. } => vec![maker(Owed::by(ruling.remedy), ruling.remedy)],
        Event::AppealDecided { goodwill: Some(goodwill), .. } => {
            vec![changed, maker(Owed::by(goodwill.remedy), goodwill.remedy)]
        }
        // Beyond repair: a good unit in place of the old one.
        Event::Replaced { .. } if Owed::by(claim.gives()) != Owed::GoodUnit => {
            vec![changed, maker(Owed::GoodUnit, claim.gives())]
        }
        Event::Dispatched { .. } => {
            let sent = claim.outcome().and_then(|outcome| outcome.given()).unwrap_or(old);
            vec![returned(Debtor::Maker, sent)]
        }
        _ => Vec::new(),
    }
}
