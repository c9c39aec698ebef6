//! A claim: one unit and one fault. Events are its facts; folding them gives the claim (`claim_fold`).

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use strum::{Display, EnumString};
use uuid::Uuid;

use super::{
    clause::Clause,
    coverage::Remedy,
    event::{Filing, Stage},
    facts::Report,
    money::Fen,
    return_number::ReturnNumber,
    serial::Serial,
};

/// Where a claim stands, with the fact that only that state has.
#[derive(Clone, Debug, PartialEq, Eq, strum::EnumDiscriminants)]
#[strum_discriminants(name(StateName), derive(Hash, Display, EnumString, strum::EnumIter))]
#[strum_discriminants(
    strum(serialize_all = "SCREAMING_SNAKE_CASE"),
    doc = "Where a claim stands, by name.",
    allow(missing_docs)
)]
pub enum State {
    /// Guidance comes next.
    Filed,
    /// Solved by telephone: the end.
    Resolved,
    /// Rejected by support: the end.
    Rejected,
    /// A return number is issued.
    Authorized,
    /// The dealer gave the customer a unit; the faulty one is owed.
    Swapped,
    /// On its way to the maker.
    InTransit,
    /// At the depot.
    Received,
    /// Finally decided as paid service.
    Inspected,
    /// Being repaired or replaced.
    InRepair,
    /// Ready to be sent.
    Ready(Outcome),
    /// On its way back.
    Dispatched(Outcome),
    /// Delivered: the end.
    Closed(Outcome),
    /// Cancelled, or lapsed: the end.
    Cancelled,
    /// This quote is issued, to be accepted or declined.
    Quoted(Uuid),
    /// Lost on the way to the maker, or on the way back with what was sent.
    Lost(Option<Outcome>),
}

/// What goes out at the end.
#[derive(Clone, Debug, PartialEq, Eq, strum::EnumDiscriminants)]
#[strum_discriminants(name(OutcomeName), derive(Display, EnumString, strum::EnumIter))]
#[strum_discriminants(
    strum(serialize_all = "SCREAMING_SNAKE_CASE"),
    doc = "What goes out, by name.",
    allow(missing_docs)
)]
pub enum Outcome {
    /// The unit, repaired.
    Repaired,
    /// Another unit in its place (T5).
    Replaced(Serial),
    /// A new accessory (T7).
    Accessory,
    /// The unit as it came.
    AsItCame,
    /// A good unit owed to the dealer after a swap, outside the chain; named when it is known.
    Replenishment(Option<Serial>),
    /// Nothing: it was lost on the way, and given up.
    Lost,
    /// Nothing: what was owed after a swap was netted or written off (M3).
    Settled,
}

impl Outcome {
    /// The unit that goes out where it is another one than the claim's.
    pub fn given(&self) -> Option<&Serial> {
        match self {
            Self::Replaced(serial) => Some(serial),
            Self::Replenishment(serial) => serial.as_ref(),
            _ => None,
        }
    }
}

/// What can be done with a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Display, strum::EnumIter, strum::IntoStaticStr)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs)]
pub enum Action {
    Guide,
    Swap,
    OpenReturn,
    Receive,
    Inspect,
    Repair,
    Replace,
    Dispatch,
    Deliver,
    Cancel,
    Quote,
    AcceptQuote,
    DeclineQuote,
    DeclareBeyondRepair,
    RecordPayment,
    Appeal,
    DecideAppeal,
    SettleVoucherDispute,
    RecordLoss,
    CloseLost,
    SettleDebt,
}

impl StateName {
    /// Whether the claim is over: nothing more is done with the unit.
    pub fn is_end(self) -> bool {
        matches!(self, Self::Resolved | Self::Rejected | Self::Closed | Self::Cancelled)
    }

    /// The table of transitions. Some ask for more than the state, which `claim_steps` and `claim_money` judge.
    pub fn allows(self) -> &'static [Action] {
        use Action as A;
        match self {
            Self::Filed => &[A::Guide, A::SettleVoucherDispute, A::Cancel],
            Self::Authorized => &[A::Swap, A::OpenReturn, A::Cancel],
            Self::Swapped => &[A::OpenReturn, A::SettleDebt],
            Self::InTransit => &[A::Receive, A::RecordLoss],
            Self::Received => &[A::Inspect],
            Self::Inspected => &[A::Quote, A::Appeal, A::DecideAppeal],
            Self::Quoted => &[A::AcceptQuote, A::DeclineQuote, A::Quote, A::Appeal, A::DecideAppeal],
            Self::InRepair => &[A::Repair, A::Replace, A::DeclareBeyondRepair, A::Appeal, A::DecideAppeal],
            Self::Ready => &[A::Dispatch, A::RecordPayment, A::Appeal, A::DecideAppeal, A::SettleDebt],
            Self::Dispatched => &[A::Deliver, A::RecordPayment, A::RecordLoss],
            Self::Closed => &[A::RecordPayment],
            Self::Lost => &[A::Receive, A::Deliver, A::Dispatch, A::RecordPayment, A::CloseLost],
            Self::Resolved | Self::Rejected | Self::Cancelled => &[],
        }
    }
}

/// What support's guidance came to (M8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Display, EnumString, strum::EnumIter)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum Guidance {
    /// By telephone: the claim ends.
    Solved,
    /// A performance fault.
    Confirmed,
    /// May be sent in, but not swapped.
    Waived,
    /// With a reason: the claim ends.
    Rejected,
}

/// How the seal came in (X3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Display, EnumString, strum::EnumIter)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs)]
pub enum Seal {
    Intact,
    Damaged,
    Missing,
}

/// How a dispute about a voucher was settled (M1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Display, EnumString, strum::EnumIter)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum VoucherVerdict {
    /// The registered sale stands.
    SaleStands,
    /// The registered sale was corrected.
    SaleCorrected,
}

/// A voucher's date and the registered sale's contradict each other (M1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoucherDispute {
    /// The day on the invoice as given.
    pub given_on: NaiveDate,
    /// The day of the registered sale.
    pub registered_on: NaiveDate,
    /// Whether that is the applicant's own sale, so that its day is shown to it.
    #[serde(default)]
    pub by_seller: bool,
    /// How it was settled; none while it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<VoucherVerdict>,
}

impl VoucherDispute {
    /// The verdict that is true where the registered sale is of `sold_on` by now, or of no day any more.
    pub fn verdict_by(&self, sold_on: Option<NaiveDate>) -> VoucherVerdict {
        if sold_on == Some(self.registered_on) { VoucherVerdict::SaleStands } else { VoucherVerdict::SaleCorrected }
    }
}

/// What a repair costs whoever sent the unit (P1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    /// Tax included.
    pub total: Fen,
    /// The tax in it.
    pub vat: Fen,
}

/// What came of an appeal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Display, EnumString, strum::EnumIter)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum AppealOutcome {
    /// The decision stands.
    Upheld,
    /// The maker gives something else as goodwill.
    Overridden,
}

/// An appeal against the decision at inspection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appeal {
    /// Why, in the applicant's words.
    pub reason: String,
    /// What staff decided, and why; none while it is open.
    pub decided: Option<(AppealOutcome, String)>,
}

/// What the maker gives though no clause asks for it. It opens no window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Goodwill {
    /// A free repair or a direct replacement.
    pub remedy: Remedy,
    /// What it costs the maker.
    pub cost: Fen,
}

/// A claim: the fold of its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Identifies it; a UUIDv7, so claims sort by time.
    pub id: Uuid,
    /// What was filed; `told` and `reported_on` as known by now.
    pub filing: Filing,
    /// Where it stands.
    pub state: State,
    /// M8.
    pub guidance: Option<Guidance>,
    /// Why it was waived, rejected, cancelled, is beyond repair, or counts as lost.
    pub reason: Option<String>,
    /// RMA.
    pub return_number: Option<ReturnNumber>,
    /// M3.
    pub swapped_for: Option<Serial>,
    /// The parcel it came in.
    pub inbound: Option<Uuid>,
    /// X3.
    pub seal: Option<Seal>,
    /// T9.
    pub no_fault_found: bool,
    /// X1, X3 to X8.
    pub findings: BTreeSet<Clause>,
    /// By the latest decision.
    pub remedy: Remedy,
    /// Whether that decision is final.
    pub decided: Stage,
    /// The parcel it goes out in.
    pub outbound: Option<Uuid>,
    /// When it came to its state.
    pub entered_at: DateTime<Utc>,
    /// What the customer told support, by codes of the fault catalogue.
    pub symptoms: Vec<String>,
    /// The quote that is issued or was accepted.
    pub quote: Option<Uuid>,
    /// What that quote asks for; it is charged once the repair is completed.
    pub charge: Option<Charge>,
    /// Whether what is charged was paid.
    pub paid: bool,
    /// The appeal against the decision at inspection.
    pub appeal: Option<Appeal>,
    /// What the maker gives though no clause asks for it.
    pub goodwill: Option<Goodwill>,
    /// The number of the latest event.
    pub version: i64,
}

impl Claim {
    /// Where it stands, by name.
    pub fn state_name(&self) -> StateName {
        StateName::from(&self.state)
    }

    /// What goes out, once that is known.
    pub fn outcome(&self) -> Option<&Outcome> {
        match &self.state {
            State::Ready(outcome) | State::Dispatched(outcome) | State::Closed(outcome) => Some(outcome),
            State::Lost(outcome) => outcome.as_ref(),
            _ => None,
        }
    }

    /// What is done with the unit: by goodwill, else by the latest decision.
    pub fn gives(&self) -> Remedy {
        self.goodwill.map_or(self.remedy, |goodwill| goodwill.remedy)
    }

    /// What is charged: a completed repair's price (P1), also where another unit was sent for the repaired one that was lost, or
    /// the repaired one is not owed any more.
    pub fn charged(&self) -> Option<Charge> {
        self.charge
            .filter(|_| matches!(self.outcome(), Some(Outcome::Repaired | Outcome::Replaced(_) | Outcome::Settled)))
    }

    /// What is charged and not paid.
    pub fn owed(&self) -> Option<Charge> {
        self.charged().filter(|_| !self.paid)
    }

    /// Whether an appeal waits for staff.
    pub fn appeal_is_open(&self) -> bool {
        self.appeal.as_ref().is_some_and(|appeal| appeal.decided.is_none())
    }

    /// The contradiction that support has not settled yet (M1).
    pub fn open_dispute(&self) -> Option<&VoucherDispute> {
        self.filing.dispute.as_ref().filter(|dispute| dispute.verdict.is_none())
    }

    /// What the decision reads of it.
    pub fn report(&self) -> Report {
        Report {
            on: self.filing.reported_on,
            told: self.filing.told.clone(),
            findings: self.findings.clone(),
            no_fault_found: self.no_fault_found,
            inspected: self.decided == Stage::Final,
        }
    }
}
