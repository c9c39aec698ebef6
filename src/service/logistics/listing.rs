//! Reading parcels. A caller sees its own.

use tonic::Request;

use super::{on_the_wire, tracking};
use crate::{
    contract::v1::{self, ShipmentDirection},
    service::{App, Reply, fields::Fields, open, page::Page, transact, wire::contact},
    store::{
        self, people,
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
        Ok(v1::GetShipmentResponse { shipment: Some(on_the_wire(found, items)?), tracking, recipient })
    })
}

pub(super) async fn list(app: &App, request: Request<v1::ListShipmentsRequest>) -> Reply<v1::ListShipmentsResponse> {
    let (call, request) = open(request)?;
    let filters = v1::ListShipmentsRequest { page_size: 0, page_token: String::new(), ..request.clone() };
    let mut fields = Fields::default();
    let page = Page::read(&mut fields, &call, request.page_size, &request.page_token, &filters);
    let before = fields.optional_uuid("page_token", page.as_ref().and_then(|page| page.after.as_deref()).unwrap_or(""));
    let direction = match ShipmentDirection::try_from(request.direction) {
        Ok(ShipmentDirection::Unspecified) => None,
        Ok(ShipmentDirection::Inbound) => Some("INBOUND".to_owned()),
        Ok(ShipmentDirection::Outbound) => Some("OUTBOUND".to_owned()),
        Err(_) => {
            fields.not_one_of("direction", request.direction, ["INBOUND", "OUTBOUND"].map(str::to_owned).into_iter());
            None
        }
    };
    let dealer_id = match request.dealer_id.as_str() {
        "" => Some(None),
        id => fields.name("dealer_id", id, "._-").map(Some),
    };
    let claim_id = fields.optional_uuid("claim_id", &request.claim_id);
    let open = request.open;
    let (page, filter) = fields.finish(|| {
        let (dealer_id, claim_id, before) = (dealer_id?, claim_id?, before?);
        Some((page?, Filter { direction, open, dealer_id, claim_id, before }))
    })?;
    transact!(app.read(&call, (page, filter)), |conn, (page, filter), actor| {
        let mut found = shipments::list(conn, actor, &filter, page.fetch()).await?;
        let next_page_token = page.cut(&mut found, |found| found.shipment_id.to_string());
        let listed = found.into_iter().map(|found| on_the_wire(found, Vec::new()));
        Ok(v1::ListShipmentsResponse { shipments: listed.collect::<store::Result<_>>()?, next_page_token })
    })
}
