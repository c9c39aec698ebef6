//! To the maker: the applicant announces a parcel (M5).

use tonic::Request;

use super::{MOST_ITEMS, claim_ids, parcel, shipment, steps};
use crate::{
    contract::v1,
    domain::{claim::Claim, clause::Clause, coverage::Payer, parcel::Direction},
    service::{App, Fields, Reply, open_write, transact},
    store::{
        claims,
        shipments::{self, Item},
    },
};

pub(super) async fn open_return(app: &App, request: Request<v1::OpenReturnRequest>) -> Reply<v1::OpenReturnResponse> {
    let (call, request, id, mut fields) = open_write(request)?;
    Fields::at_most("claim_ids", &request.claim_ids, MOST_ITEMS)?;
    fields.entries("claim_ids", &request.claim_ids);
    let claims = claim_ids(&mut fields, &request.claim_ids);
    let parcel = parcel(&mut fields, &request.carrier, &request.tracking_number);
    let (id, claims, parcel) = fields.finish(|| Some((id?, claims?, parcel?)))?;
    transact!(app.write(&call, id, &request, (claims, parcel)), |conn, (claims, parcel), moment| {
        let found = claims::lock_all(&mut *conn, &moment.actor, &claims).await?;
        let opened = parcel.open(Direction::Inbound, &moment.actor, moment.now);
        let items: Vec<_> = found.iter().map(announced).collect();
        let steps = steps(found, true, |claim| {
            claim.applied_by(&moment.actor)?;
            claim.open_return(opened.shipment_id)
        })?;
        shipments::open(&mut *conn, &opened, &items).await?;
        claims::advance_all(&mut *conn, steps, None, &moment.actor, moment.now).await?;
        Ok(v1::OpenReturnResponse { shipment: Some(shipment(conn, &moment.actor, opened.shipment_id).await?) })
    })
}

/// A claim's place in a parcel to the maker: who sends pays (M5).
pub(super) fn announced(claim: &Claim) -> Item {
    Item::new(claim.id, Some(&claim.filing.serial), Payer::Sender, Clause::M5)
}
