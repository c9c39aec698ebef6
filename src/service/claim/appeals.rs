//! Appeals against the decision at inspection: once, by whoever filed the claim; staff upholds, or gives goodwill.

use tonic::Request;

use super::{answer, on_claim};
use crate::{
    contract::v1,
    domain::{
        claim::{AppealOutcome, Charge, Goodwill},
        coverage::Remedy,
        money::Fen,
        period::end_of_day,
    },
    service::{App, Fields, Reply, open_write, transact},
    store::{
        billing::{self, Kind},
        claims,
        quotes::{self, Verdict},
    },
};

pub(super) async fn appeal(
    app: &App,
    request: Request<v1::AppealDecisionRequest>,
) -> Reply<v1::AppealDecisionResponse> {
    let (call, request, id, mut fields) = open_write(request)?;
    let on = on_claim(&mut fields, &request.claim_id, request.version);
    let reason = fields.text("reason", &request.reason, 500);
    let (id, on, reason) = fields.finish(|| Some((id?, on?, reason?)))?;
    transact!(app.write(&call, id, &request, reason), |conn, reason, moment| {
        let claim = claims::lock(&mut *conn, &moment.actor, on.id).await?;
        claim.applied_by(&moment.actor)?;
        claim.at_version(on.version)?;
        let event = claim.appeal(reason, moment.today)?;
        let claim = claims::advance(&mut *conn, claim, vec![event], None, &moment.actor, moment.now).await?;
        Ok(v1::AppealDecisionResponse { claim: answer::one(conn, claim, moment).await? })
    })
}

pub(super) async fn decide(app: &App, request: Request<v1::DecideAppealRequest>) -> Reply<v1::DecideAppealResponse> {
    let (call, request, id, mut fields) = open_write(request)?;
    let on = on_claim(&mut fields, &request.claim_id, request.version);
    let outcome: Option<AppealOutcome> = fields.choice("outcome", request.outcome);
    let reason = fields.text("reason", &request.reason, 500);
    let goodwill = match outcome {
        Some(AppealOutcome::Overridden) => goodwill(&mut fields, &request).map(Some),
        _ => Some(None),
    };
    if outcome == Some(AppealOutcome::Upheld) && (request.goodwill_remedy != 0 || request.goodwill_cost.is_some()) {
        fields.violate("goodwill_remedy", "must be left out with its cost: the decision stands");
    }
    let (id, on, reason, goodwill) = fields.finish(|| outcome.and(Some((id?, on?, reason?, goodwill?))))?;
    transact!(app.write(&call, id, &request, reason), |conn, reason, moment| {
        let claim = claims::lock(&mut *conn, &moment.actor, on.id).await?;
        claim.at_version(on.version)?;
        let event = claim.decide_appeal(reason, goodwill)?;
        let issued = claim.quote;
        let claim = claims::advance(&mut *conn, claim, vec![event], None, &moment.actor, moment.now).await?;
        match (issued, goodwill) {
            (Some(quote), Some(_)) => {
                quotes::decide(&mut *conn, quote, Verdict::Superseded, &moment.actor, moment.now).await?;
            }
            // It could not be accepted while the appeal was open.
            (Some(quote), None) => {
                let last = claim.due_on().unwrap_or(moment.today);
                quotes::renew(&mut *conn, quote, end_of_day(last)).await?;
            }
            (None, _) => {}
        }
        let response = v1::DecideAppealResponse { claim: answer::one(&mut *conn, claim.clone(), moment).await? };
        if let Some(given) = goodwill {
            let cost = Charge { total: given.cost, vat: Fen(0) };
            billing::add(conn, &claim, Kind::Goodwill, cost, None, moment.now).await?;
        }
        Ok(response)
    })
}

fn goodwill(fields: &mut Fields, request: &v1::DecideAppealRequest) -> Option<Goodwill> {
    let remedy = fields.choice("goodwill_remedy", request.goodwill_remedy);
    if remedy.is_some_and(|remedy| !matches!(remedy, Remedy::FreeRepair | Remedy::DirectReplacement)) {
        fields.violate("goodwill_remedy", "must be FREE_REPAIR or DIRECT_REPLACEMENT");
    }
    let cost = fields.money("goodwill_cost", request.goodwill_cost.as_ref());
    Some(Goodwill { remedy: remedy?, cost: cost? })
}
