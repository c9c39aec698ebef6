//! A claim is the fold of its events: one match, an arm for each thing that can happen.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    claim::{Appeal, Claim, Guidance, Outcome, State},
    coverage::Remedy,
    event::{Event, Filing, Ruling},
};

impl Claim {
    /// The claim that filing begins.
    pub fn filed(id: Uuid, filing: Filing, ruling: &Ruling) -> Self {
        Self {
            id,
            entered_at: filing.filed_at,
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
            symptoms: Vec::new(),
            quote: None,
            charge: None,
            paid: false,
            appeal: None,
            goodwill: None,
            version: 1,
        }
    }

    /// The claim after all these events, each with when it was recorded; none where the first is not its filing.
    pub fn fold(id: Uuid, events: impl IntoIterator<Item = (Event, DateTime<Utc>)>) -> Option<Self> {
        let mut events = events.into_iter();
        let Some((Event::Filed { filing, ruling }, _)) = events.next() else {
            return None;
        };
        Some(events.fold(Self::filed(id, filing, &ruling), |claim, (event, at)| claim.after(event, at)))
    }

    /// The claim after one more event. Whether it is allowed was judged before, by `claim_steps` and `claim_money`.
    pub fn after(self, event: Event, at: DateTime<Utc>) -> Self {
        let before = self.state.clone();
        // Nothing could be done while an appeal was open: the state's time begins again. So does it with another quote.
        let waited = matches!(event, Event::AppealDecided { .. });
        let mut claim = self.with(event);
        claim.version += 1;
        if waited || claim.state != before {
            claim.entered_at = at;
        }
        claim
    }

    #[allow(clippy::too_many_lines)] // One flat match.
    fn with(mut self, event: Event) -> Self {
        if let Some(ruling) = event.ruling() {
            (self.remedy, self.decided) = (ruling.remedy, ruling.stage);
        }
        match event {
            Event::Filed { .. } | Event::EvidenceAdded { .. } => {}
            Event::Guided { outcome, reason, reported_on, told, return_number, symptoms, ruling: _ } => {
                self.guidance = Some(outcome);
                self.reason = reason;
                self.filing.reported_on = reported_on;
                self.filing.told = self.filing.told.updated_by(told);
                self.return_number = return_number;
                self.symptoms = symptoms;
                self.state = match outcome {
                    Guidance::Solved => State::Resolved,
                    Guidance::Rejected => State::Rejected,
                    Guidance::Confirmed | Guidance::Waived => State::Authorized,
                };
            }
            Event::VoucherDisputeSettled { verdict, .. } => {
                self.filing.dispute =
                    self.filing.dispute.map(|open| super::claim::VoucherDispute { verdict: Some(verdict), ..open });
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
            Event::Received { appearance, seal, .. } => {
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
            Event::Quoted { quote_id, charge } => {
                (self.quote, self.charge) = (Some(quote_id), Some(charge));
                self.state = State::Quoted(quote_id);
            }
            Event::QuoteAccepted { .. } => self.state = State::InRepair,
            Event::QuoteDeclined { .. } | Event::QuoteExpired { .. } => self = self.nothing_charged(),
            Event::BeyondRepair { reason } => {
                self.reason = Some(reason);
                self = self.nothing_charged();
            }
            Event::Paid { .. } => self.paid = true,
            Event::Appealed { reason } => self.appeal = Some(Appeal { reason, decided: None }),
            Event::AppealDecided { outcome, reason, goodwill } => {
                self.appeal = self.appeal.map(|open| Appeal { decided: Some((outcome, reason)), ..open });
                if goodwill.is_some() {
                    (self.goodwill, self.quote, self.charge) = (goodwill, None, None);
                    self.state = State::InRepair;
                }
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
                    State::Ready(Outcome::Replenishment(known)) | State::Lost(Some(Outcome::Replenishment(known))) => {
                        State::Dispatched(Outcome::Replenishment(given.or(known)))
                    }
                    State::Ready(outcome) => State::Dispatched(outcome),
                    State::Lost(Some(outcome)) => State::Dispatched(given.map_or(outcome, Outcome::Replaced)),
                    other => other,
                };
            }
            Event::Delivered {} => {
                self.state = match self.state {
                    State::Dispatched(outcome) | State::Lost(Some(outcome)) => State::Closed(outcome),
                    other => other,
                };
            }
            Event::Lost { shipment_id: _, reason } => {
                self.reason = Some(reason);
                self.state = State::Lost(match self.state {
                    State::Dispatched(outcome) => Some(outcome),
                    _ => None,
                });
            }
            Event::LostClosed { reason } => {
                self.reason = Some(reason);
                self.state = State::Closed(Outcome::Lost);
            }
            Event::DebtSettled { closing: _, reason } => {
                self.reason = Some(reason);
                self.state = State::Closed(Outcome::Settled);
            }
            Event::Cancelled { reason } => {
                self.reason = reason.or(self.reason);
                self.state = State::Cancelled;
            }
            Event::Lapsed {} => self.state = State::Cancelled,
        }
        self
    }

    /// It goes back as it came (P1).
    fn nothing_charged(mut self) -> Self {
        (self.quote, self.charge) = (None, None);
        self.state = State::Ready(Outcome::AsItCame);
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
}
