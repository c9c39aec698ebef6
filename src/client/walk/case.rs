//! One claim on its way, a function a step: who does what, and the state that it must lead to.

use anyhow::{Context, Result};

use super::{
    expected::{self, Verdict, told, windows, word},
    walker::{Sold, Walker, ask, fresh},
};
use crate::{
    client::{Kind, Who},
    contract::v1::{
        AfterSalesContact, Appearance, CancelClaimRequest, Claim, ClaimEventType, ClaimOutcome, ClaimState, Clause,
        ConfirmDeliveryRequest, Decision, DispatchItem, DispatchOutboundRequest, FaultReport, FileClaimRequest,
        GetClaimRequest, GuidanceOutcome, ListClaimEventsRequest, OpenReturnRequest, Part, Payer, ReceiveReturnRequest,
        ReceivedItem, RecordGuidanceRequest, RecordInspectionRequest, RecordRepairRequest, RecordReplacementRequest,
        RecordSwapRequest, Seal, Shipment,
    },
};

/// What the depot found.
pub enum Found {
    Fault,
    NoFault,
    Causes(Vec<Clause>),
}

/// A claim, who applied, the verdict that filing must give, and the decisions that must stay on it.
pub struct Case<'w> {
    pub walker: &'w mut Walker,
    pub claim: Claim,
    unit: &'w Sold,
    applicant: Who,
    verdict: Verdict,
    provisional: Option<Decision>,
    last: Option<Decision>,
}

impl Walker {
    /// M1: the dealer who sold the unit applies for its customer.
    pub async fn dealer_applies<'w>(&'w mut self, unit: &'w Sold, part: Part, verdict: Verdict) -> Result<Case<'w>> {
        let dealer = self.dealer.clone();
        let case = self.applies(dealer, unit, part, verdict).await?;
        case.walker.agree("dealer", Some(case.claim.dealer_id.clone()), case.applicant.id.clone());
        Ok(case)
    }

    /// M2: the customer who bought the unit applies himself.
    pub async fn customer_applies<'w>(&'w mut self, unit: &'w Sold, verdict: Verdict) -> Result<Case<'w>> {
        let customer = Who::customer(&unit.customer_id);
        let case = self.applies(customer, unit, Part::Host, verdict).await?;
        case.walker.agree("dealer", case.claim.dealer_id.as_str(), "");
        Ok(case)
    }

    async fn applies<'w>(
        &'w mut self,
        applicant: Who,
        unit: &'w Sold,
        part: Part,
        verdict: Verdict,
    ) -> Result<Case<'w>> {
        let reply = ask!(self, claims.file_claim, &applicant, filing(unit, part))?;
        let mut case =
            Case { walker: self, claim: Claim::default(), unit, applicant, verdict, provisional: None, last: None };
        case.now("FileClaim", reply.claim, ClaimState::Filed)?;
        case.walker.agree("customer", case.claim.customer_id.as_str(), &unit.customer_id);
        case.walker.agree("voucher verified", case.claim.voucher_verified, true);
        case.walker.agree("final decision", &case.claim.final_decision, &None);
        case.provisionally();
        Ok(case)
    }
}

/// The usual fault of the unit, with every fact told.
pub fn filing(unit: &Sold, part: Part) -> FileClaimRequest {
    let report = FaultReport {
        part: part.into(),
        fault_code: "NO_POWER".to_owned(),
        performance_fault: Some(true),
        appearance: Appearance::Intact.into(),
        power_supply_damage: Some(false),
        region_of_use: "CN-GD".to_owned(),
    };
    FileClaimRequest { request_id: fresh(), serial: unit.serial.clone(), report: Some(report), ..Default::default() }
}

impl Case<'_> {
    /// M8: support guides by telephone.
    pub async fn guided(&mut self, outcome: GuidanceOutcome, reason: &str, leads_to: ClaimState) -> Result<()> {
        let message = RecordGuidanceRequest {
            request_id: fresh(),
            claim_id: self.claim.claim_id.clone(),
            version: self.claim.version,
            outcome: outcome.into(),
            reason: reason.to_owned(),
            ..Default::default()
        };
        let reply = ask!(self.walker, claims.record_guidance, &Who::staff(Kind::Support), message)?;
        let step = word(outcome.as_str_name(), "GUIDANCE_OUTCOME_");
        self.now(&format!("RecordGuidance {step}"), reply.claim, leads_to)?;
        self.provisionally();
        if leads_to == ClaimState::Rejected {
            self.walker.agree("reason", self.claim.reason.as_str(), reason);
        }
        if leads_to == ClaimState::Authorized {
            let issued = !self.claim.return_number.is_empty();
            self.walker.agree("return number issued", issued, true);
        }
        Ok(())
    }

    /// M3: the dealer gives the customer a unit of its own stock.
    pub async fn swapped_for(&mut self, given: &str) -> Result<()> {
        let message = RecordSwapRequest {
            request_id: fresh(),
            claim_id: self.claim.claim_id.clone(),
            version: self.claim.version,
            given_serial: given.to_owned(),
        };
        let reply = ask!(self.walker, claims.record_swap, &self.applicant, message)?;
        self.now("RecordSwap", reply.claim, ClaimState::Swapped)?;
        self.walker.agree("swapped for", self.claim.swapped_for.as_str(), given);
        Ok(())
    }

    /// M5, M7: the applicant sends the unit in and pays for the way; it arrives with its seal intact.
    pub async fn sent_in(&mut self) -> Result<()> {
        let message = OpenReturnRequest {
            request_id: fresh(),
            claim_ids: vec![self.claim.claim_id.clone()],
            carrier: "SF Express".to_owned(),
            tracking_number: String::new(),
        };
        let reply = ask!(self.walker, logistics.open_return, &self.applicant, message)?;
        let shipment = reply.shipment.context("the reply holds no shipment")?;
        self.reread("OpenReturn", ClaimState::InTransit).await?;
        self.carried(&shipment, self.unit.serial.clone(), (Payer::Sender, Clause::M5));
        let item = ReceivedItem {
            return_number: self.claim.return_number.clone(),
            serial: self.unit.serial.clone(),
            appearance: Appearance::Intact.into(),
            seal: Seal::Intact.into(),
        };
        let message =
            ReceiveReturnRequest { request_id: fresh(), shipment_id: shipment.shipment_id, items: vec![item] };
        let reply = ask!(self.walker, logistics.receive_return, &depot(), message)?;
        self.now("ReceiveReturn", reply.claims.into_iter().next(), ClaimState::Received)
    }

    /// The depot inspects, and the claim is decided finally.
    pub async fn inspected(&mut self, found: Found, verdict: Verdict, leads_to: ClaimState) -> Result<()> {
        let message = RecordInspectionRequest {
            request_id: fresh(),
            claim_id: self.claim.claim_id.clone(),
            version: self.claim.version,
            no_fault_found: matches!(found, Found::NoFault),
            findings: match found {
                Found::Causes(clauses) => clauses.into_iter().map(Into::into).collect(),
                Found::Fault | Found::NoFault => vec![],
            },
            report: None,
        };
        let reply = ask!(self.walker, claims.record_inspection, &depot(), message)?;
        self.now("RecordInspection", reply.claim, leads_to)?;
        self.finally(verdict);
        if expected::outbound_payer(verdict.0) == Payer::Sender {
            self.whom_to_call(reply.contact);
        }
        Ok(())
    }

    /// The depot repairs, today.
    pub async fn repaired(&mut self) -> Result<()> {
        let message = repair(&self.claim);
        let reply = ask!(self.walker, claims.record_repair, &depot(), message)?;
        self.now("RecordRepair", reply.claim, ClaimState::Ready)
    }

    /// M4, T4: the depot gives a good unit in its place.
    pub async fn replaced_by(&mut self, given: &str, reason: &str) -> Result<()> {
        let message = RecordReplacementRequest {
            request_id: fresh(),
            claim_id: self.claim.claim_id.clone(),
            version: self.claim.version,
            given_serial: given.to_owned(),
            reason: reason.to_owned(),
        };
        let reply = ask!(self.walker, claims.record_replacement, &depot(), message)?;
        self.now("RecordReplacement", reply.claim, ClaimState::Ready)?;
        self.walker.agree("outcome serial", self.claim.outcome_serial.as_str(), given);
        Ok(())
    }

    /// M6: the depot sends out what is ready, `in_box`, and it is delivered. The final decision says who pays.
    pub async fn sent_out(&mut self, outcome: ClaimOutcome, in_box: &str) -> Result<()> {
        self.walker.agree("outcome", self.claim.outcome(), outcome);
        let owed = if outcome == ClaimOutcome::Replenishment { in_box } else { "" };
        let item = DispatchItem { claim_id: self.claim.claim_id.clone(), given_serial: owed.to_owned() };
        let message = DispatchOutboundRequest {
            request_id: fresh(),
            items: vec![item],
            carrier: "SF Express".to_owned(),
            tracking_number: String::new(),
        };
        let reply = ask!(self.walker, logistics.dispatch_outbound, &depot(), message)?;
        let shipment = reply.shipment.context("the reply holds no shipment")?;
        self.reread("DispatchOutbound", ClaimState::Dispatched).await?;
        let remedy = self.last.as_ref().map(Decision::remedy).unwrap_or_default();
        self.carried(&shipment, in_box.to_owned(), (expected::outbound_payer(remedy), Clause::M6));
        let message = ConfirmDeliveryRequest { request_id: fresh(), shipment_id: shipment.shipment_id };
        let reply = ask!(self.walker, logistics.confirm_delivery, &depot(), message)?;
        self.walker.agree("parcel arrived", reply.shipment.is_some_and(|s| s.arrived), true);
        self.reread("ConfirmDelivery", ClaimState::Closed).await
    }

    /// The applicant thinks better of it.
    pub async fn cancelled(&mut self, reason: &str) -> Result<()> {
        let message = CancelClaimRequest {
            request_id: fresh(),
            claim_id: self.claim.claim_id.clone(),
            version: self.claim.version,
            reason: reason.to_owned(),
        };
        let reply = ask!(self.walker, claims.cancel_claim, &self.applicant, message)?;
        self.now("CancelClaim", reply.claim, ClaimState::Cancelled)?;
        self.walker.agree("reason", self.claim.reason.as_str(), reason);
        Ok(())
    }

    /// The claim went through exactly these events, numbered from 1 without gaps, and both its decisions are kept.
    pub async fn went(&mut self, events: &[ClaimEventType]) -> Result<()> {
        let message = ListClaimEventsRequest { claim_id: self.claim.claim_id.clone(), ..Default::default() };
        let came = ask!(self.walker, claims.list_claim_events, &self.applicant, message)?.events;
        let types: Vec<_> = came.iter().map(|event| event.r#type()).collect();
        let numbers: Vec<_> = came.iter().map(|event| event.sequence).collect();
        self.walker.tell("ListClaimEvents", &format!("{} events", came.len()));
        self.walker.agree("events", types.as_slice(), events);
        self.walker.agree("event numbers", numbers, (1..=self.claim.version).collect());
        self.walker.agree("last event's state", came.last().map(|event| event.state()), Some(self.claim.state()));
        self.walker.agree("provisional decision kept", &self.claim.provisional_decision, &self.provisional);
        self.walker.agree("final decision kept", &self.claim.final_decision, &self.last);
        Ok(())
    }

    /// The final decision: this, with the windows of the sale.
    pub fn finally(&mut self, verdict: Verdict) {
        self.last = self.claim.final_decision.clone();
        let decision = self.last.clone().unwrap_or_default();
        self.walker.decided("final", &decision, verdict, &windows(self.unit.sold));
    }

    /// The provisional decision, on filing and made anew by guidance.
    fn provisionally(&mut self) {
        self.provisional = self.claim.provisional_decision.clone();
        let decision = self.provisional.clone().unwrap_or_default();
        self.walker.decided("provisional", &decision, self.verdict, &windows(self.unit.sold));
    }

    /// The claim as it now stands; prints the step.
    fn now(&mut self, step: &str, claim: Option<Claim>, state: ClaimState) -> Result<()> {
        self.claim = claim.context("the reply holds no claim")?;
        let claim = &self.claim;
        let mut came = word(claim.state().as_str_name(), "CLAIM_STATE_").to_owned();
        if let Some(decision) = claim.final_decision.as_ref().or(claim.provisional_decision.as_ref()) {
            came += &format!(", {}", told(decision));
        }
        if !claim.return_number.is_empty() {
            came += &format!(", return {}", claim.return_number);
        }
        self.walker.tell(step, &came);
        self.walker.agree("state", self.claim.state(), state);
        Ok(())
    }

    /// The claim as the applicant reads it, after a step whose reply holds none.
    async fn reread(&mut self, step: &str, state: ClaimState) -> Result<()> {
        let message = GetClaimRequest { claim_id: self.claim.claim_id.clone() };
        let reply = ask!(self.walker, claims.get_claim, &self.applicant, message)?;
        self.now(step, reply.claim, state)
    }

    /// What is in the parcel, who pays for it by which clause, and who is at its other end.
    fn carried(&mut self, shipment: &Shipment, in_box: String, freight: (Payer, Clause)) {
        let came: Vec<_> =
            shipment.items.iter().map(|item| (item.serial.clone(), (item.payer(), item.clause()))).collect();
        self.walker.agree("in the parcel", came, vec![(in_box, freight)]);
        let other_end = match self.applicant.kind {
            Kind::Dealer => &shipment.dealer_id,
            _ => &shipment.customer_id,
        };
        self.walker.agree("parcel's other end", Some(other_end), self.applicant.id.as_ref());
    }

    /// M8: the after-sales contact stands in every answer that is not a yes.
    fn whom_to_call(&mut self, contact: Option<AfterSalesContact>) {
        let telephone = contact.map(|contact| contact.telephone);
        self.walker.agree("whom to call", telephone.as_deref(), Some("400-000-8380"));
    }
}

/// A repair of that claim's fault, completed today.
pub fn repair(claim: &Claim) -> RecordRepairRequest {
    RecordRepairRequest { request_id: fresh(), claim_id: claim.claim_id.clone(), ..Default::default() }
}

/// The maker's depot staff.
pub fn depot() -> Who {
    Who::staff(Kind::Depot)
}
