//! What a dealer on behalf of a customer, or a customer, does: cancel and swap (M3).

use tonic::Request;

use super::{Ruled, answer, decide_now, hold, on_claim, take_place};
use crate::{
    contract::v1,
    domain::{claim::Action, claim_steps::may_be_given, refusal::Refusal},
    service::{App, Reply, open_write, transact},
    store::{claims, dealers, sales, units},
};

pub(super) async fn cancel(app: &App, request: Request<v1::CancelClaimRequest>) -> Reply<v1::CancelClaimResponse> {
    let (call, request, id, mut fields) = open_write(request)?;
    let on = on_claim(&mut fields, &request.claim_id, request.version);
    let reason = fields.optional_text("reason", &request.reason, 500);
    let (id, on, reason) = fields.finish(|| Some((id?, on?, reason?)))?;
    transact!(app.write(&call, id, &request, reason), |conn, reason, moment| {
        let claim = claims::lock(&mut *conn, &moment.actor, on.id).await?;
        claim.at_version(on.version)?;
        let event = claim.cancel(&moment.actor, reason)?;
        let claim = claims::advance(&mut *conn, claim, vec![event], None, &moment.actor, moment.now).await?;
        Ok(v1::CancelClaimResponse { claim: answer::one(conn, claim, moment).await? })
    })
}

pub(super) async fn swap(app: &App, request: Request<v1::RecordSwapRequest>) -> Reply<v1::RecordSwapResponse> {
    let (call, request, id, mut fields) = open_write(request)?;
    let on = on_claim(&mut fields, &request.claim_id, request.version);
    let given = fields.serial("given_serial", &request.given_serial);
    let (id, on, given) = fields.finish(|| Some((id?, on?, given?)))?;
    transact!(app.write(&call, id, &request, given), |conn, given, moment| {
        dealers::must_be_active(&mut *conn, &moment.actor).await?;
        let claim = hold(&mut *conn, moment, on, Action::Swap).await?;
        units::lock(&mut *conn, &[&claim.filing.serial, &given]).await?;
        let seller = sales::registered(&mut *conn, &claim.filing.serial).await?.map(|sale| sale.dealer_id);
        let ruled = decide_now(&mut *conn, moment, &claim.filing.serial, Some(claim.id), claim.report()).await?;
        let Ruled { decided, model, .. } = ruled;
        let dealer = moment.actor.dealer_id().unwrap_or_default();
        let event = claim.swap(dealer, seller.as_deref(), &decided.decision, given.clone())?;
        let unit = units::to_give(&mut *conn, &given, claim.id, moment.now).await?;
        if unit.in_stock {
            return Err(Refusal::UnitNotGivable { rule: "it stands in the maker's stock" }.into());
        }
        may_be_given(&unit, &claim.filing.serial, &model, &decided.facts.equivalents)?;
        take_place(&mut *conn, moment, &claim, &claim.filing.serial, &given).await?;
        let claim = claims::advance(&mut *conn, claim, vec![event], Some(&decided), &moment.actor, moment.now).await?;
        Ok(v1::RecordSwapResponse { claim: answer::one(conn, claim, moment).await? })
    })
}
