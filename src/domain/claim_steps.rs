//! The steps of a claim's life: each judges whether the rules allow it, and gives the events that make it so.

use chrono::NaiveDate;
use uuid::Uuid;

use super::{
    actor::Actor,
    claim::{Action, Claim, Guidance, Outcome, State},
    clause::Clause,
    coverage::{Decision, Remedy},
    event::{Event, Ruling, Stage},
    facts::{Report, Told},
    ledger::{Closing, Debtor},
    parcel::Arrival,
    refusal::Refusal,
    return_number::ReturnNumber,
    serial::Serial,
};

/// What support recorded on the telephone.
#[derive(Clone, Debug)]
pub struct GuidanceGiven {
    /// What it came to.
    pub outcome: Guidance,
    /// Why; required where waived or rejected.
    pub reason: Option<String>,
    /// The civil date of the first contact, where support recorded one.
    pub contacted_on: Option<NaiveDate>,
    /// What was told.
    pub told: Told,
    /// What the customer told, by codes of the fault catalogue.
    pub symptoms: Vec<String>,
}

/// What is known of a unit that someone wants to give (M3, T4).
#[derive(Clone, Debug)]
pub struct UnitToGive {
    /// The unit.
    pub serial: Serial,
    /// Its model.
    pub model: String,
    /// S3.
    pub sold_by_maker: bool,
    /// Whether it has a sale of its own.
    pub has_sale: bool,
    /// Whether it took another unit's place, or was promised to, before.
    pub given_before: bool,
    /// Whether another unit took its place.
    pub replaced_before: bool,
    /// Whether it has an open claim of its own.
    pub has_open_claim: bool,
    /// Whether it stands in the maker's stock. One that does not may be given all the same: not every shelf is in the system.
    pub in_stock: bool,
    /// Whether it stands there, and is neither new nor good.
    pub not_good: bool,
    /// Whether it is held for another claim.
    pub held_for_another: bool,
}

impl Claim {
    /// Whether the table of transitions has it.
    pub fn allow(&self, action: Action) -> Result<(), Refusal> {
        if self.state_name().allows().contains(&action) { Ok(()) } else { Err(self.wrong_state(action)) }
    }

    /// As [`Claim::allow`], where nothing else stands against it.
    fn allow_now(&self, action: Action) -> Result<(), Refusal> {
        self.allow(action)?;
        if self.is_open_to(action) { Ok(()) } else { Err(self.wrong_state(action)) }
    }

    /// The refusal of an action, with what is open instead.
    pub(super) fn wrong_state(&self, action: impl Into<&'static str>) -> Refusal {
        let action = action.into();
        let allowed = self.next_actions().into_iter().map(|next| next.action).collect();
        Refusal::WrongState { state: self.state_name(), action, allowed }
    }

    /// Whether it is still as its caller read it.
    pub fn at_version(&self, given: i64) -> Result<(), Refusal> {
        Refusal::unless_version(given, self.version)
    }

    /// Whether it is whoever filed it.
    pub fn applied_by(&self, actor: &Actor) -> Result<(), Refusal> {
        if self.filing.applicant == *actor {
            return Ok(());
        }
        Err(Refusal::NotTheApplicant)
    }

    /// The report as guidance leaves it: the earliest contact decides; a confirmed fault is one of performance.
    pub fn report_after_guidance(&self, given: &GuidanceGiven) -> Report {
        let mut report = self.report();
        report.on = given.contacted_on.map_or(report.on, |day| day.min(report.on));
        report.told = report.told.updated_by(given.told.clone());
        if given.outcome == Guidance::Confirmed {
            report.told.performance_fault = Some(true);
        }
        report
    }

    /// Guidance (M8). `decision` is made for `report_after_guidance`; the return number is used where it authorizes.
    /// An accessory in its week is granted at once: nothing is sent in.
    pub fn guide(
        &self,
        given: GuidanceGiven,
        decision: &Decision,
        return_number: ReturnNumber,
    ) -> Result<Vec<Event>, Refusal> {
        self.allow(Action::Guide)?;
        let report = self.report_after_guidance(&given);
        let authorized = matches!(given.outcome, Guidance::Confirmed | Guidance::Waived);
        if authorized {
            not_none(decision)?;
            if self.open_dispute().is_some() {
                return Err(Refusal::VoucherDisputeOpen);
            }
        }
        let granted = authorized && decision.remedy == Remedy::AccessoryReplacement;
        let guided = Event::Guided {
            outcome: given.outcome,
            reason: given.reason,
            reported_on: report.on,
            told: report.told,
            return_number: authorized.then_some(return_number),
            symptoms: given.symptoms,
            ruling: Ruling::of(Stage::Provisional, decision),
        };
        let grant = granted.then(|| Event::AccessoryGranted { ruling: Ruling::of(Stage::Final, decision) });
        Ok([Some(guided), grant].into_iter().flatten().collect())
    }

    /// The dealer's direct swap (M3), in the replacement window alone (T1). `seller` made the registered sale; `decision` is
    /// made anew from today's facts.
    pub fn swap(
        &self,
        dealer: &str,
        seller: Option<&str>,
        decision: &Decision,
        given: Serial,
    ) -> Result<Event, Refusal> {
        self.allow(Action::Swap)?;
        if seller != Some(dealer) {
            return Err(Refusal::NotTheSeller);
        }
        if self.guidance != Some(Guidance::Confirmed) {
            return Err(Refusal::FaultNotConfirmed);
        }
        if decision.remedy != Remedy::DirectReplacement || !decision.clauses.contains(&Clause::T1) {
            return Err(Refusal::RemedyMismatch { remedy: decision.remedy });
        }
        Ok(Event::Swapped { given, ruling: Ruling::of(Stage::Provisional, decision) })
    }

    /// The unit is announced to the maker.
    pub fn open_return(&self, shipment_id: Uuid) -> Result<Event, Refusal> {
        self.allow(Action::OpenReturn)?;
        Ok(Event::ReturnOpened { shipment_id })
    }

    /// The unit arrived, in the condition it arrived in; or it was lost on the way and is found.
    pub fn receive(&self, shipment_id: Uuid, found: &Serial, arrival: &Arrival) -> Result<Event, Refusal> {
        self.allow_now(Action::Receive)?;
        if *found != self.filing.serial {
            let return_number = self.return_number.as_ref().map(ToString::to_string).unwrap_or_default();
            return Err(Refusal::SerialMismatch { return_number, found: found.clone() });
        }
        Ok(Event::Received {
            shipment_id,
            appearance: arrival.appearance,
            seal: arrival.seal,
            missing_parts: arrival.missing_parts.clone(),
            transport_damage: arrival.transport_damage,
        })
    }

    /// It came with a parcel in which nobody had announced it, or was announced in another one.
    pub fn receive_unannounced(&self, came_in: Uuid, found: &Serial, arrival: &Arrival) -> Result<Vec<Event>, Refusal> {
        if let Some(announced_in) = self.inbound {
            return Ok(vec![self.receive(announced_in, found, arrival)?]);
        }
        let opened = self.open_return(came_in)?;
        let received = self.clone().after(opened.clone(), self.entered_at).receive(came_in, found, arrival)?;
        Ok(vec![opened, received])
    }

    /// The depot's inspection; `decision` is made for the claim's report with what was found.
    pub fn inspect(&self, report: Report, decision: &Decision) -> Result<Event, Refusal> {
        self.allow(Action::Inspect)?;
        Ok(Event::Inspected {
            no_fault_found: report.no_fault_found,
            findings: report.findings,
            told: report.told,
            ruling: Ruling::of(Stage::Final, decision),
        })
    }

    /// A completed repair (T6), charged where a quote was accepted (P1). Where the commitment replaces, the depot replaces.
    pub fn repair(&self, completed_on: NaiveDate, fault: Option<String>) -> Result<Event, Refusal> {
        self.allow(Action::Repair)?;
        self.no_open_appeal()?;
        match self.gives() {
            Remedy::FreeRepair | Remedy::PaidService => {
                Ok(Event::Repaired { completed_on, fault, charge: self.charge })
            }
            remedy => Err(Refusal::RemedyMismatch { remedy }),
        }
    }

    /// A unit in place of this one: the decision says so, or it is beyond repair. Never for paid service.
    pub fn replace(&self, given: Serial, reason: Option<String>) -> Result<Event, Refusal> {
        self.allow(Action::Replace)?;
        self.no_open_appeal()?;
        if self.gives() == Remedy::PaidService {
            return Err(Refusal::RemedyMismatch { remedy: self.gives() });
        }
        Ok(Event::Replaced { given, reason })
    }

    /// Whether dispatch must be told which good unit goes out: the dealer is owed one after a swap, and it is not named yet.
    pub fn owes_a_unit(&self) -> bool {
        self.state == State::Ready(Outcome::Replenishment(None))
    }

    /// It is sent out. `given` where [`Claim::owes_a_unit`], and in place of a unit that was lost on the way; `credit_terms` where
    /// the dealer may pay later.
    pub fn dispatch(&self, shipment_id: Uuid, given: Option<Serial>, credit_terms: bool) -> Result<Event, Refusal> {
        self.allow(Action::Dispatch)?;
        self.may_leave(credit_terms)?;
        self.allow_now(Action::Dispatch)?;
        let unit_lost = matches!(&self.state, State::Lost(Some(outcome)) if *outcome != Outcome::Accessory);
        match (self.owes_a_unit(), &given) {
            (true, None) => Err(Refusal::UnitNotGivable { rule: "the dealer is owed a good unit: name it" }),
            (false, Some(_)) if !unit_lost => {
                Err(Refusal::UnitNotGivable { rule: "this claim's outcome names what goes out" })
            }
            _ => Ok(Event::Dispatched { shipment_id, given }),
        }
    }

    /// It was delivered, in the parcel that it went out in last; or it was lost on the way and is found.
    pub fn deliver(&self, shipment_id: Uuid) -> Result<Event, Refusal> {
        self.allow_now(Action::Deliver)?;
        if self.outbound != Some(shipment_id) {
            return Err(self.wrong_state(Action::Deliver));
        }
        Ok(Event::Delivered {})
    }

    /// It was lost on the way, in this parcel.
    pub fn lose(&self, shipment_id: Uuid, reason: String) -> Result<Event, Refusal> {
        self.allow(Action::RecordLoss)?;
        let travels_in = if self.outcome().is_some() { self.outbound } else { self.inbound };
        if travels_in != Some(shipment_id) {
            return Err(self.wrong_state(Action::RecordLoss));
        }
        Ok(Event::Lost { shipment_id, reason })
    }

    /// What was lost is given up.
    pub fn close_lost(&self, reason: String) -> Result<Event, Refusal> {
        self.allow(Action::CloseLost)?;
        Ok(Event::LostClosed { reason })
    }

    /// Whether it ends with the debt: with the maker's nothing goes out any more, with the dealer's a unit that nobody sent yet is
    /// not waited for (M3).
    pub fn ends_with_debt_of(&self, debtor: Debtor) -> bool {
        debtor == Debtor::Maker || self.state == State::Swapped
    }

    /// What is owed after a swap is netted or written off (M3).
    pub fn settle_debt(&self, closing: Closing, reason: String) -> Result<Event, Refusal> {
        self.allow(Action::SettleDebt)?;
        self.no_open_appeal()?;
        Ok(Event::DebtSettled { closing, reason })
    }

    /// The unit that travels to the applicant, or did before it was lost; none where an accessory travels alone.
    pub fn in_the_box(&self) -> Option<&Serial> {
        match self.outcome() {
            // An accessory travels alone, unless its unit was sent in: then that goes back with it.
            Some(Outcome::Accessory) if self.inbound.is_none() => None,
            Some(outcome) => Some(outcome.given().unwrap_or(&self.filing.serial)),
            None => None,
        }
    }

    /// Whether it is the depot's, or whoever's filed it, to add scans and photos.
    pub fn added_to_by(&self, actor: &Actor) -> Result<(), Refusal> {
        if actor.is_staff() { Ok(()) } else { self.applied_by(actor) }
    }

    /// Whether they may still be added: until it is over, or the unit went out. The depot adds what it sees of a unit that came in,
    /// as damage done on the way (X6).
    pub fn may_be_added_to(&self, actor: &Actor) -> Result<(), Refusal> {
        self.added_to_by(actor)?;
        let not_in = self.inbound.is_none() || matches!(self.state, State::InTransit | State::Lost(None));
        if actor.is_staff() && not_in {
            return Err(Refusal::EvidenceRefused("the depot adds what it sees of a unit that came in"));
        }
        let over = self.state_name().is_end() || matches!(self.state, State::Dispatched(_) | State::Lost(Some(_)));
        if over { Err(Refusal::ClaimEnded) } else { Ok(()) }
    }

    /// Whoever filed it thinks better of it.
    pub fn cancel(&self, actor: &Actor, reason: Option<String>) -> Result<Event, Refusal> {
        self.applied_by(actor)?;
        self.allow(Action::Cancel)?;
        Ok(Event::Cancelled { reason })
    }
}

/// A claim is not filed, nor authorized, where nothing is left to decide.
pub fn not_none(decision: &Decision) -> Result<(), Refusal> {
    match (decision.remedy, &decision.superseded_by, decision.start) {
        (Remedy::None, Some(by), _) => Err(Refusal::UnitSuperseded { by: by.clone() }),
        (Remedy::None, None, Some(start)) => Err(Refusal::NotStarted { starts_on: start.on }),
        _ => Ok(()),
    }
}

/// Whether a unit may be given in place of one of `model` (M3, T4). A listed equivalent may be given whether the model is
/// discontinued or not: M3 says so of the dealer's swap, and the depot has the same shelf.
pub fn may_be_given(
    unit: &UnitToGive,
    for_serial: &Serial,
    model: &str,
    equivalents: &[String],
) -> Result<(), Refusal> {
    let broken = [
        (unit.serial == *for_serial, "it is the unit itself"),
        (!unit.sold_by_maker, "it was not sold by the maker"),
        (unit.has_sale, "it has a sale of its own"),
        (unit.given_before, "it was given before"),
        (unit.replaced_before, "it was replaced before"),
        (unit.has_open_claim, "it has an open claim"),
        (unit.not_good, "it is in stock and neither NEW nor GOOD"),
        (unit.held_for_another, "it is held for another claim"),
        (
            unit.model != model && !equivalents.contains(&unit.model),
            "it is neither the same model nor a listed equivalent",
        ),
    ];
    match broken.into_iter().find(|(breaks, _)| *breaks) {
        Some((_, rule)) => Err(Refusal::UnitNotGivable { rule }),
        None => Ok(()),
    }
}
