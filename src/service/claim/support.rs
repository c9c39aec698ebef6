//! What support does: telephone guidance first (M8).

use sqlx::PgConnection;
use tonic::Request;

use super::{OnClaim, Ruled, answer, decide_now, hold, on_claim};
use crate::{
    clock::civil_date,
    contract::v1,
    domain::{
        claim::{Action, Guidance},
        claim_steps::GuidanceGiven,
    },
    service::{App, Moment, Reply, fields::Fields, open},
    store::{self, Error, claims},
};

pub(super) async fn guide(app: &App, request: Request<v1::RecordGuidanceRequest>) -> Reply<v1::RecordGuidanceResponse> {
    let (call, request) = open(request)?;
    let mut fields = Fields::default();
    let id = fields.request_id(&request.request_id);
    let on = on_claim(&mut fields, &request.claim_id, request.version);
    let outcome = fields.choice::<Guidance>("outcome", request.outcome);
    let reason = fields.optional_text("reason", &request.reason, 500);
    let contact = fields.past_time("contact_time", request.contact_time.as_ref(), app.clock.now());
    let told = fields.told(request.report.as_ref());
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
        let symptoms = request.symptoms.clone();
        Some((id?, on?, GuidanceGiven { outcome: outcome?, reason: reason?, contacted_on, told: told?, symptoms }))
    })?;
    app.write(&call, id, &request, given, move |conn, given, moment| {
        Box::pin(async move { guide_now(conn, on, given, moment).await })
    })
    .await
}

async fn guide_now(
    conn: &mut PgConnection,
    on: OnClaim,
    given: GuidanceGiven,
    moment: &Moment,
) -> store::Result<v1::RecordGuidanceResponse> {
    let claim = hold(&mut *conn, moment, on, Action::Guide).await?;
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
}
