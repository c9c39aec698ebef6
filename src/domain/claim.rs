//! A claim: one unit and one fault. Events are its facts; folding them gives the claim (`Claim::fold`).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use strum::{Display, EnumString};
use uuid::Uuid;

use super::{
    clause::Clause,
    coverage::Remedy,
    event::{Event, Filing, Ruling, Stage},
    facts::Report,
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
    /// Cancelled: the end.
    Cancelled,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Display, strum::EnumIter)]
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
}

impl StateName {
    /// The table of transitions.
    pub fn allows(self) -> &'static [Action] {
        use Action::{Cancel, Deliver, Dispatch, Guide, Inspect, OpenReturn, Receive, Repair, Replace, Swap};
        match self {
            Self::Filed => &[Guide, Cancel],
            Self::Authorized => &[Swap, OpenReturn, Cancel],
            Self::Swapped => &[OpenReturn],
            Self::InTransit => &[Receive],
            Self::Received => &[Inspect],
            Self::InRepair => &[Repair, Replace],
            Self::Ready => &[Dispatch],
            Self::Dispatched => &[Deliver],
            Self::Inspected | Self::Resolved | Self::Rejected | Self::Closed | Self::Cancelled => &[],
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
    /// Why it was waived, rejected, cancelled, or is beyond repair.
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
    /// The number of the latest event.
    pub version: i64,
}

impl Claim {
    /// The claim that filing begins.
    pub fn filed(id: Uuid, filing: Filing, ruling: &Ruling) -> Self {
        Self {
            id,
            filing,
            state: State::Filed,
            guidance: None,
            reason: None,
            return_number: None,
            swapped_for: None,
            inbound: None,
            seal: None,
            no_fault_found: false,
            findings: BTreeSet::new(),
            remedy: ruling.remedy,
            decided: ruling.stage,
            outbound: None,
            version: 1,
        }
    }

    /// The claim after all these events; none where the first is not its filing.
    pub fn fold(id: Uuid, events: impl IntoIterator<Item = Event>) -> Option<Self> {
        let mut events = events.into_iter();
        let Some(Event::Filed { filing, ruling }) = events.next() else {
            return None;
        };
        Some(events.fold(Self::filed(id, filing, &ruling), Self::after))
    }

    /// The claim after one more event. Whether it is allowed was judged before, by `claim_steps`.
    pub fn after(mut self, event: Event) -> Self {
        self.version += 1;
        if let Some(ruling) = event.ruling() {
            (self.remedy, self.decided) = (ruling.remedy, ruling.stage);
        }
        match event {
            Event::Filed { .. } => {}
            Event::Guided { outcome, reason, reported_on, told, return_number, ruling: _ } => {
                self.guidance = Some(outcome);
                self.reason = reason;
                self.filing.reported_on = reported_on;
                self.filing.told = self.filing.told.updated_by(told);
                self.return_number = return_number;
                self.state = match outcome {
                    Guidance::Solved => State::Resolved,
                    Guidance::Rejected => State::Rejected,
                    Guidance::Confirmed | Guidance::Waived => State::Authorized,
                };
            }
            Event::AccessoryGranted { .. } => self.state = State::Ready(Outcome::Accessory),
            Event::Swapped { given, ruling: _ } => {
                self.swapped_for = Some(given);
                self.state = State::Swapped;
            }
            Event::ReturnOpened { shipment_id } => {
                self.inbound = Some(shipment_id);
                self.state = State::InTransit;
            }
            Event::Received { shipment_id: _, appearance, seal } => {
                self.filing.told.appearance = appearance.or(self.filing.told.appearance);
                self.seal = seal;
                self.state = State::Received;
            }
            Event::Inspected { no_fault_found, findings, told, ruling } => {
                self.no_fault_found = no_fault_found;
                self.findings = findings;
                self.filing.told = self.filing.told.updated_by(told);
                self.state = self.state_after_inspection(ruling.remedy);
            }
            Event::Repaired { .. } => self.state = State::Ready(Outcome::Repaired),
            Event::Replaced { given, reason } => {
                self.reason = reason.or(self.reason);
                // After a swap the customer has a unit already: this one is the dealer's, outside the chain.
                let swapped = self.swapped_for.is_some();
                self.state =
                    State::Ready(if swapped { Outcome::Replenishment(Some(given)) } else { Outcome::Replaced(given) });
            }
            Event::Dispatched { shipment_id, given } => {
                self.outbound = Some(shipment_id);
                self.state = match self.state {
                    State::Ready(Outcome::Replenishment(known)) => {
                        State::Dispatched(Outcome::Replenishment(given.or(known)))
                    }
                    State::Ready(outcome) => State::Dispatched(outcome),
                    other => other,
                };
            }
            Event::Delivered {} => {
                self.state = match self.state {
                    State::Dispatched(outcome) => State::Closed(outcome),
                    other => other,
                };
            }
            Event::Cancelled { reason } => {
                self.reason = reason.or(self.reason);
                self.state = State::Cancelled;
            }
        }
        self
    }

    /// PAID_SERVICE waits for a quote; all else passes on (M3, M4).
    fn state_after_inspection(&self, remedy: Remedy) -> State {
        match remedy {
            Remedy::PaidService => State::Inspected,
            Remedy::FreeRepair => State::InRepair,
            Remedy::DirectReplacement if self.swapped_for.is_some() => State::Ready(Outcome::Replenishment(None)),
            Remedy::DirectReplacement => State::InRepair,
            // After a swap the maker owes nothing else (M): the old unit goes back.
            Remedy::AccessoryReplacement if self.swapped_for.is_none() => State::Ready(Outcome::Accessory),
            Remedy::AccessoryReplacement => State::Ready(Outcome::AsItCame),
            Remedy::None | Remedy::ReturnAsIs | Remedy::PurchaseSeparately => State::Ready(Outcome::AsItCame),
        }
    }

    /// Where it stands, by name.
    pub fn state_name(&self) -> StateName {
        StateName::from(&self.state)
    }

    /// What goes out, once that is known.
    pub fn outcome(&self) -> Option<&Outcome> {
        match &self.state {
            State::Ready(outcome) | State::Dispatched(outcome) | State::Closed(outcome) => Some(outcome),
            _ => None,
        }
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
