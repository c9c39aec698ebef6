//! Reading parcels. A caller sees its own.

use tonic::Request;

use super::{on_the_wire, tracking};
use crate::{
    contract::v1,
    service::{App, Fields, Page, Reply, open, page, transact, wire::contact},
    store::{
        people,
        shipments::{self, Filter},
    },
};

pub(super) async fn get(app: &App, request: Request<v1::GetShipmentRequest>) -> Reply<v1::GetShipmentResponse> {
    let (call, request) = open(request)?;
    let id = Fields::one(|fields| fields.uuid("shipment_id", &request.shipment_id))?;
    transact!(app.read(&call, id), |conn, id, actor| {
        let (found, items) = shipments::get(&mut *conn, actor, id).await?;
        let tracking = tracking::of_parcel(&mut *conn, &found).await?;
        let recipient = match found.addressed_to() {
            Some(id) => people::person(conn, id).await?.map(contact),
            None => None,
        };
        Ok(v1::GetShipmentResponse { shipment: Some(on_the_wire(found, items)), tracking, recipient })
    })
}

pub(super) async fn list(app: &App, request: Request<v1::ListShipmentsRequest>) -> Reply<v1::ListShipmentsResponse> {
    let (call, request) = open(request)?;
    let mut fields = Fields::default();
    let page = page!(fields, call, request);
    let before = page.as_ref().and_then(|page| page.after_as(&mut fields));
    let direction = fields.optional_choice("direction", request.direction);
    let dealer_id = fields.optional_dealer("dealer_id", &request.dealer_id);
    let claim_id = fields.optional_uuid("claim_id", &request.claim_id);
    let open = request.open;
    let (page, filter) = fields.finish(|| {
        let (direction, dealer_id, claim_id, before) = (direction?, dealer_id?, claim_id?, before?);
        Some((page?, Filter { direction, open, dealer_id, claim_id, before }))
    })?;
    transact!(app.read(&call, (page, filter)), |conn, (page, filter), actor| {
        let mut found = shipments::list(conn, actor, &filter, page.fetch()).await?;
        let next_page_token = page.cut(&mut found, |found| found.shipment_id.to_string());
        let shipments = found.into_iter().map(|found| on_the_wire(found, Vec::new())).collect();
        Ok(v1::ListShipmentsResponse { shipments, next_page_token })
    })
}
