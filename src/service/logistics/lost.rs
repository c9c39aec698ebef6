//! What was lost on the way, and given up. What is found again is received or delivered as if nothing had happened.

use tonic::Request;

use super::{MOST_ITEMS, chosen, claim_ids, shipment, steps};
use crate::{
    contract::v1,
    service::{App, Fields, Reply, claim::answer, open_write, transact},
    store::{billing, claims, shipments},
};

pub(super) async fn record(app: &App, request: Request<v1::RecordLossRequest>) -> Reply<v1::RecordLossResponse> {
    let (call, request, id, mut fields) = open_write(request)?;
    Fields::at_most("claim_ids", &request.claim_ids, MOST_ITEMS)?;
    let parcel = fields.uuid("shipment_id", &request.shipment_id);
    let claims = claim_ids(&mut fields, &request.claim_ids);
    let reason = fields.text("reason", &request.reason, 500);
    let (id, parcel, claims, reason) = fields.finish(|| Some((id?, parcel?, claims?, reason?)))?;
    transact!(app.write(&call, id, &request, (claims, reason)), |conn, (claims, reason), moment| {
        let (_, items) = shipments::get(&mut *conn, &moment.actor, parcel).await?;
        let given = !claims.is_empty();
        let ids = chosen(&items, claims)?;
        let held = claims::lock_all(&mut *conn, &moment.actor, &ids).await?;
        let steps = steps(held, given, |claim| claim.lose(parcel, reason.clone()))?;
        let lost = claims::advance_all(&mut *conn, steps, None, &moment.actor, moment.now).await?;
        shipments::lose(&mut *conn, parcel, &ids, moment.now).await?;
        let shipment = Some(shipment(&mut *conn, &moment.actor, parcel).await?);
        Ok(v1::RecordLossResponse { shipment, claims: answer::claims(conn, lost, moment).await? })
    })
}

pub(super) async fn close(app: &App, request: Request<v1::CloseLostRequest>) -> Reply<v1::CloseLostResponse> {
    let (call, request, id, mut fields) = open_write(request)?;
    let claim = fields.uuid("claim_id", &request.claim_id);
    let version = fields.version(request.version);
    let reason = fields.text("reason", &request.reason, 500);
    let (id, claim, version, reason) = fields.finish(|| Some((id?, claim?, version?, reason?)))?;
    transact!(app.write(&call, id, &request, reason), |conn, reason, moment| {
        let held = claims::lock(&mut *conn, &moment.actor, claim).await?;
        held.at_version(version)?;
        let (event, charged) = (held.close_lost(reason)?, held.charged());
        let closed = claims::advance(&mut *conn, held, vec![event], None, &moment.actor, moment.now).await?;
        let claim = answer::one(&mut *conn, closed.clone(), moment).await?;
        if let Some(charge) = charged {
            billing::add(conn, &closed, billing::Kind::ChargeReversed, charge, None, moment.now).await?;
        }
        Ok(v1::CloseLostResponse { claim })
    })
}
