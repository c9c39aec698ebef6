//! What may come next with a claim: who may do what, and by when.

use chrono::{Days, NaiveDate};
use serde::{Deserialize, Serialize};

use super::{
    claim::{Action, Claim, Guidance, Outcome, State, StateName},
    coverage::Remedy,
    event::Stage,
    period::civil_date,
};

/// How many days each state should last at most, the day it was entered not counted; the last one counts to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Targets {
    /// Until guidance is recorded.
    pub guidance_days: u32,
    /// Until an authorized unit is sent in; then the authorization lapses.
    pub authorization_days: u32,
    /// Until a received unit is inspected.
    pub inspection_days: u32,
    /// Until a quote is issued.
    pub quote_days: u32,
    /// How long a quote can be accepted; then it expires.
    pub quote_valid_days: u32,
    /// Until a unit is repaired or replaced.
    pub repair_days: u32,
    /// Until what is ready is sent.
    pub return_days: u32,
    /// How long a unit in stock is held for a claim.
    pub allocation_days: u32,
}

impl Default for Targets {
    /// Those of the standard policy.
    fn default() -> Self {
        Self {
            guidance_days: 2,
            authorization_days: 30,
            inspection_days: 5,
            quote_days: 3,
            quote_valid_days: 15,
            repair_days: 10,
            return_days: 3,
            allocation_days: 7,
        }
    }
}

impl Targets {
    /// Each with its name.
    pub fn named(&self) -> [(&'static str, u32); 8] {
        [
            ("guidance_days", self.guidance_days),
            ("authorization_days", self.authorization_days),
            ("inspection_days", self.inspection_days),
            ("quote_days", self.quote_days),
            ("quote_valid_days", self.quote_valid_days),
            ("repair_days", self.repair_days),
            ("return_days", self.return_days),
            ("allocation_days", self.allocation_days),
        ]
    }

    fn of(&self, state: StateName) -> Option<u32> {
        match state {
            StateName::Filed => Some(self.guidance_days),
            StateName::Authorized | StateName::Swapped => Some(self.authorization_days),
            StateName::Received => Some(self.inspection_days),
            StateName::Inspected => Some(self.quote_days),
            StateName::Quoted => Some(self.quote_valid_days),
            StateName::InRepair => Some(self.repair_days),
            StateName::Ready => Some(self.return_days),
            _ => None,
        }
    }
}

/// Who acts on a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display, strum::EnumIter)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum Party {
    /// Whoever filed it.
    Applicant,
    /// The dealer who made the registered sale.
    Seller,
    /// Support.
    Support,
    /// The depot.
    Depot,
    /// Billing.
    Billing,
}

/// Something that may be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextAction {
    /// What.
    pub action: Action,
    /// Who may do it.
    pub party: Party,
    /// By when; none where nobody waits for it.
    pub due_on: Option<NaiveDate>,
}

impl Claim {
    /// The last day of its state that is in time; none where nothing is waited for.
    pub fn due_on(&self) -> Option<NaiveDate> {
        let days = self.filing.targets.of(self.state_name())?;
        civil_date(self.entered_at).checked_add_days(Days::new(days.into()))
    }

    /// What may come next: what the table of transitions allows, where nothing else stands against it.
    pub fn next_actions(&self) -> Vec<NextAction> {
        let allowed = self.state_name().allows().iter().copied();
        allowed.filter(|action| self.is_open_to(*action)).map(|action| self.next(action)).collect()
    }

    /// What the state's row in the table does not tell.
    pub(super) fn is_open_to(&self, action: Action) -> bool {
        let paid_service = self.gives() == Remedy::PaidService;
        let lost_outbound = match &self.state {
            State::Lost(outcome) => Some(outcome.is_some()),
            _ => None,
        };
        match action {
            Action::Receive => lost_outbound != Some(true),
            Action::Deliver => lost_outbound != Some(false),
            Action::Guide => self.open_dispute().is_none(),
            Action::SettleVoucherDispute => self.open_dispute().is_some(),
            Action::Swap => {
                self.guidance == Some(Guidance::Confirmed)
                    && self.remedy == Remedy::DirectReplacement
                    && self.filing.applicant.dealer_id().is_some()
            }
            Action::Quote | Action::AcceptQuote | Action::DeclineQuote => !self.appeal_is_open(),
            Action::Repair => {
                !self.appeal_is_open() && matches!(self.gives(), Remedy::FreeRepair | Remedy::PaidService)
            }
            Action::Replace => !self.appeal_is_open() && !paid_service,
            Action::DeclareBeyondRepair => paid_service,
            Action::Dispatch => lost_outbound != Some(false) && !self.appeal_is_open(),
            Action::RecordPayment => self.owed().is_some(),
            Action::SettleDebt => self.swapped_for.is_some() && !self.appeal_is_open(),
            Action::Appeal => self.may_be_appealed(),
            Action::DecideAppeal => self.appeal_is_open(),
            _ => true,
        }
    }

    /// Once, against the decision at inspection, while the unit is here, nothing was done to it and no price was agreed on.
    pub fn may_be_appealed(&self) -> bool {
        let untouched = match &self.state {
            State::Ready(outcome) => *outcome == Outcome::AsItCame,
            State::InRepair => self.quote.is_none(),
            _ => true,
        };
        self.appeal.is_none() && untouched && self.decided == Stage::Final
    }

    fn next(&self, action: Action) -> NextAction {
        let (party, waited_for) = match action {
            Action::Guide | Action::SettleVoucherDispute | Action::DecideAppeal => (Party::Support, true),
            Action::Swap => (Party::Seller, false),
            Action::OpenReturn | Action::AcceptQuote | Action::DeclineQuote => (Party::Applicant, true),
            Action::Cancel | Action::Appeal => (Party::Applicant, false),
            Action::Receive | Action::Deliver | Action::RecordLoss | Action::CloseLost | Action::SettleDebt => {
                (Party::Depot, false)
            }
            Action::Inspect | Action::Repair | Action::Replace | Action::DeclareBeyondRepair => (Party::Depot, true),
            // What is not paid leaves only where the dealer has credit terms: billing is waited for, not the depot.
            Action::Dispatch => (Party::Depot, self.owed().is_none()),
            Action::Quote => (Party::Billing, self.state_name() == StateName::Inspected),
            Action::RecordPayment => (Party::Billing, self.state_name() == StateName::Ready),
        };
        NextAction { action, party, due_on: self.due_on().filter(|_| waited_for) }
    }
}
