//! What support does: telephone guidance first (M8); what a voucher contradicts (M1).

use tonic::Request;

use super::{Ruled, answer, decide_now, hold, on_claim};
use crate::{
    clock::civil_date,
    contract::v1,
    domain::{
        claim::{Action, Guidance, VoucherVerdict},
        claim_steps::GuidanceGiven,
        refusal::Refusal,
    },
    service::{App, Fields, Reply, open_write, transact},
    store::{Error, claims, faults, sales, units},
};

pub(super) async fn guide(app: &App, request: Request<v1::RecordGuidanceRequest>) -> Reply<v1::RecordGuidanceResponse> {
    let (call, request, id, mut fields) = open_write(request)?;
    Fields::at_most("symptoms", &request.symptoms, 20)?;
    let on = on_claim(&mut fields, &request.claim_id, request.version);
    let outcome = fields.choice::<Guidance>("outcome", request.outcome);
    let reason = fields.optional_text("reason", &request.reason, 500);
    let contact = fields.past_time("contact_time", request.contact_time.as_ref(), app.clock.now());
    let told = fields.told(request.report.as_ref());
    let symptoms = fields.each(&request.symptoms, |fields, at, code| symptom(fields, at, code));
    let needs_reason = matches!(outcome, Some(Guidance::Waived | Guidance::Rejected));
    if needs_reason && reason.as_ref().is_some_and(Option::is_none) {
        fields.violate("reason", "is required where guidance is waived or the claim rejected");
    }
    let denied = told.as_ref().is_some_and(|told| told.performance_fault == Some(false));
    if outcome == Some(Guidance::Confirmed) && denied {
        fields.violate("report.performance_fault", "must not be false where a performance fault is confirmed");
    }
    let (id, on, given) = fields.finish(|| {
        let contacted_on = contact?.map(civil_date);
        let (outcome, symptoms) = (outcome?, symptoms?);
        Some((id?, on?, GuidanceGiven { outcome, reason: reason?, contacted_on, told: told?, symptoms }))
    })?;
    transact!(app.write(&call, id, &request, given), |conn, given, moment| {
        let claim = hold(&mut *conn, moment, on, Action::Guide).await?;
        if !given.symptoms.is_empty() {
            let unfit = faults::unfit(&mut *conn, &claim.filing.serial, &given.symptoms).await?;
            let rule = "must be of the fault catalogue, for the unit's type of product";
            let violations: Vec<_> = unfit.into_iter().map(|at| (format!("symptoms[{at}]"), rule.to_owned())).collect();
            if !violations.is_empty() {
                return Err(Error::Invalid(violations));
            }
        }
        let report = claim.report_after_guidance(&given);
        let ruled = decide_now(&mut *conn, moment, &claim.filing.serial, Some(claim.id), report).await?;
        let Ruled { decided, contact, .. } = ruled;
        if decided.report.on < decided.facts.original.manufactured_on {
            return Err(Error::invalid("contact_time", "must not lie before the unit was manufactured"));
        }
        let return_number = claims::next_return_number(&mut *conn).await?;
        let events = claim.guide(given, &decided.decision, return_number)?;
        let claim = claims::advance(&mut *conn, claim, events, Some(&decided), &moment.actor, moment.now).await?;
        Ok(v1::RecordGuidanceResponse { claim: answer::one(conn, claim, moment).await?, contact })
    })
}

/// A code, as well-formed as the catalogue's are.
fn symptom(fields: &mut Fields, at: usize, code: &str) -> Option<String> {
    let field = format!("symptoms[{at}]");
    if code.is_empty() {
        fields.violate(&field, "must not be empty");
    }
    fields.optional_fault(&field, code).flatten()
}

pub(super) async fn settle(
    app: &App,
    request: Request<v1::SettleVoucherDisputeRequest>,
) -> Reply<v1::SettleVoucherDisputeResponse> {
    let (call, request, id, mut fields) = open_write(request)?;
    let on = on_claim(&mut fields, &request.claim_id, request.version);
    let verdict = fields.choice::<VoucherVerdict>("verdict", request.verdict);
    let reason = fields.text("reason", &request.reason, 500);
    let (id, on, settled) = fields.finish(|| Some((id?, on?, (verdict?, reason?))))?;
    transact!(app.write(&call, id, &request, settled), |conn, (verdict, reason), moment| {
        let claim = claims::lock(&mut *conn, &moment.actor, on.id).await?;
        claim.at_version(on.version)?;
        let dispute = *claim.open_dispute().ok_or(Refusal::NoDispute)?;
        // Held, so that what is settled is the sale as it stands when this is written.
        units::lock(&mut *conn, &[&claim.filing.serial]).await?;
        let sold_on = sales::registered(&mut *conn, &claim.filing.serial).await?.map(|sale| sale.sold_on);
        if verdict != dispute.verdict_by(sold_on) {
            let rule = match verdict {
                VoucherVerdict::SaleCorrected => "the registered sale's day is what it was: correct it first",
                VoucherVerdict::SaleStands => "the registered sale's day was corrected meanwhile",
            };
            return Err(Error::invalid("verdict", rule));
        }
        let ruled = decide_now(&mut *conn, moment, &claim.filing.serial, Some(claim.id), claim.report()).await?;
        let Ruled { decided, contact, .. } = ruled;
        let event = claim.settle_dispute(verdict, reason, &decided.decision)?;
        let claim = claims::advance(&mut *conn, claim, vec![event], Some(&decided), &moment.actor, moment.now).await?;
        Ok(v1::SettleVoucherDisputeResponse { claim: answer::one(conn, claim, moment).await?, contact })
    })
}
