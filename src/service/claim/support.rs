//! What support does: telephone guidance first (M8).

use sqlx::PgConnection;
use tonic::Request;
use uuid::Uuid;

use super::{answer, decide_now};
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
    let claim_id = fields.uuid("claim_id", &request.claim_id);
    let version = fields.version(request.version);
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
    let (id, claim_id, version, given) = fields.finish(|| {
        let contacted_on = contact?.map(civil_date);
        Some((
            id?,
            claim_id?,
            version?,
            GuidanceGiven { outcome: outcome?, reason: reason?, contacted_on, told: told? },
        ))
    })?;
    app.write(&call, id, &request, move |conn, moment| {
        let given = given.clone();
        Box::pin(async move { guide_now(conn, claim_id, version, given, &moment).await })
    })
    .await
}

async fn guide_now(
    conn: &mut PgConnection,
    claim_id: Uuid,
    version: i64,
    given: GuidanceGiven,
    moment: &Moment,
) -> store::Result<v1::RecordGuidanceResponse> {
    let claim = claims::lock(&mut *conn, &moment.actor, claim_id).await?;
    claim.at_version(version)?;
    claim.allow(Action::Guide)?;
    let report = claim.report_after_guidance(&given);
    let (decided, _) = decide_now(&mut *conn, moment, &claim.filing.serial, Some(claim.id), report).await?;
    if decided.report.on < decided.facts.original.manufactured_on {
        return Err(Error::invalid("contact_time", "must not lie before the unit was manufactured"));
    }
    let return_number = claims::next_return_number(&mut *conn).await?;
    let events = claim.guide(given, &decided.decision, return_number)?;
    let claim = claims::advance(&mut *conn, claim, events, Some(&decided), &moment.actor, moment.now).await?;
    Ok(v1::RecordGuidanceResponse { claim: answer::one(conn, claim).await? })
}
