//! To the maker: the applicant announces a parcel, the depot receives it (M5).

use sqlx::PgConnection;
use tonic::Request;
use uuid::Uuid;

use super::{Parcel, claim_ids, fits, parcel, shipment};
use crate::{
    contract::v1,
    domain::{
        claim::Seal, clause::Clause, coverage::Payer, facts::Appearance, return_number::ReturnNumber, serial::Serial,
    },
    service::{App, Moment, Reply, claim::answer, fields::Fields, open},
    store::{
        self, Error, claims,
        shipments::{self, Item},
    },
};

pub(super) async fn open_return(app: &App, request: Request<v1::OpenReturnRequest>) -> Reply<v1::OpenReturnResponse> {
    let (call, request) = open(request)?;
    fits("claim_ids", request.claim_ids.len())?;
    let mut fields = Fields::default();
    let id = fields.request_id(&request.request_id);
    fields.entries("claim_ids", &request.claim_ids);
    let claims = claim_ids(&mut fields, |at| format!("claim_ids[{at}]"), request.claim_ids.iter().map(String::as_str));
    let parcel = parcel(&mut fields, &request.carrier, &request.tracking_number);
    let (id, claims, parcel) = fields.finish(|| Some((id?, claims?, parcel?)))?;
    app.write(&call, id, &request, (claims, parcel), move |conn, (claims, parcel), moment| {
        Box::pin(async move { open_now(conn, &claims, &parcel, moment).await })
    })
    .await
}

async fn open_now(
    conn: &mut PgConnection,
    ids: &[Uuid],
    parcel: &Parcel,
    moment: &Moment,
) -> store::Result<v1::OpenReturnResponse> {
    let found = claims::lock_all(&mut *conn, &moment.actor, ids).await?;
    let opened = parcel.open("INBOUND", &moment.actor, moment.now);
    let mut steps = Vec::new();
    for claim in found {
        claim.applied_by(&moment.actor)?;
        let event = claim.open_return(opened.shipment_id)?;
        steps.push((claim, event));
    }
    let items: Vec<Item> = steps
        .iter()
        .map(|(claim, _)| Item {
            claim_id: claim.id,
            return_number: None,
            serial: Some(claim.filing.serial.to_string()),
            payer: Payer::Sender.to_string(),
            clause: Clause::M5.to_string(),
            arrived_at: None,
        })
        .collect();
    shipments::open(&mut *conn, &opened, &items).await?;
    for (claim, event) in steps {
        claims::advance(&mut *conn, claim, vec![event], None, &moment.actor, moment.now).await?;
    }
    Ok(v1::OpenReturnResponse { shipment: Some(shipment(conn, &moment.actor, opened.shipment_id).await?) })
}

/// One unit as it came out of the box.
#[derive(Clone)]
struct Received {
    return_number: ReturnNumber,
    serial: Serial,
    appearance: Option<Appearance>,
    seal: Option<Seal>,
}

fn received(fields: &mut Fields, at: usize, item: &v1::ReceivedItem) -> Option<Received> {
    let path = |name: &str| format!("items[{at}].{name}");
    let return_number = ReturnNumber::parse(&item.return_number);
    if let Err(rule) = &return_number {
        fields.violate(&path("return_number"), rule.to_string());
    }
    let serial = fields.serial(&path("serial"), &item.serial);
    let appearance = fields.optional_choice(&path("appearance"), item.appearance);
    let seal = fields.optional_choice(&path("seal"), item.seal);
    Some(Received { return_number: return_number.ok()?, serial: serial?, appearance: appearance?, seal: seal? })
}

pub(super) async fn receive(app: &App, request: Request<v1::ReceiveReturnRequest>) -> Reply<v1::ReceiveReturnResponse> {
    let (call, request) = open(request)?;
    fits("items", request.items.len())?;
    let mut fields = Fields::default();
    let id = fields.request_id(&request.request_id);
    let parcel = fields.uuid("shipment_id", &request.shipment_id);
    fields.entries("items", &request.items);
    let items: Vec<_> = request.items.iter().enumerate().map(|(at, item)| received(&mut fields, at, item)).collect();
    for (at, item) in items.iter().enumerate() {
        let number = item.as_ref().map(|item| &item.return_number);
        let earlier = items[..at].iter().flatten().any(|earlier| Some(&earlier.return_number) == number);
        if earlier {
            fields.violate(&format!("items[{at}].return_number"), "must be there once");
        }
    }
    let (id, parcel, items) = fields.finish(|| Some((id?, parcel?, items.into_iter().collect::<Option<Vec<_>>>()?)))?;
    app.write(&call, id, &request, items, move |conn, items, moment| {
        Box::pin(async move { receive_now(conn, parcel, &items, moment).await })
    })
    .await
}

async fn receive_now(
    conn: &mut PgConnection,
    id: Uuid,
    items: &[Received],
    moment: &Moment,
) -> store::Result<v1::ReceiveReturnResponse> {
    let (parcel, announced) = shipments::get(&mut *conn, &moment.actor, id).await?;
    if parcel.direction != "INBOUND" {
        return Err(Error::not_found("shipment", id));
    }
    let mut ids = Vec::new();
    for (at, item) in items.iter().enumerate() {
        let place = announced.iter().find(|place| place.return_number.as_deref() == Some(item.return_number.as_str()));
        let place = place
            .ok_or_else(|| Error::invalid(format!("items[{at}].return_number"), "was not announced in this parcel"))?;
        ids.push(place.claim_id);
    }
    let found = claims::lock_all(&mut *conn, &moment.actor, &ids).await?;
    let mut arrived = Vec::new();
    for (claim, item) in found.into_iter().zip(items) {
        let event = claim.receive(id, &item.serial, item.appearance, item.seal)?;
        arrived.push(claims::advance(&mut *conn, claim, vec![event], None, &moment.actor, moment.now).await?);
    }
    shipments::arrive(&mut *conn, id, &ids, moment.now).await?;
    let shipment = Some(shipment(&mut *conn, &moment.actor, id).await?);
    Ok(v1::ReceiveReturnResponse { shipment, claims: answer::claims(conn, arrived, moment).await? })
}
