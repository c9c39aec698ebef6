//! From the maker: what is ready is sent, and delivered (M6).

use sqlx::PgConnection;
use tonic::Request;
use uuid::Uuid;

use super::{Parcel, claim_ids, fits, parcel, shipment};
use crate::{
    contract::v1,
    domain::{
        claim::{Claim, Outcome},
        claim_steps::may_be_given,
        clause::Clause,
        coverage::Payer,
        refusal::Refusal,
        serial::Serial,
    },
    service::{App, Moment, Reply, fields::Fields, open},
    store::{
        self, Error, claims, dealers,
        shipments::{self, Item},
        stock::{self, Why},
        units,
    },
};

pub(super) async fn dispatch(
    app: &App,
    request: Request<v1::DispatchOutboundRequest>,
) -> Reply<v1::DispatchOutboundResponse> {
    let (call, request) = open(request)?;
    fits("items", request.items.len())?;
    let mut fields = Fields::default();
    let id = fields.request_id(&request.request_id);
    fields.entries("items", &request.items);
    let ids = request.items.iter().map(|item| item.claim_id.as_str());
    let claims = claim_ids(&mut fields, |at| format!("items[{at}].claim_id"), ids);
    let given: Vec<_> = request
        .items
        .iter()
        .enumerate()
        .map(|(at, item)| fields.optional_serial(&format!("items[{at}].given_serial"), &item.given_serial))
        .collect();
    let parcel = parcel(&mut fields, &request.carrier, &request.tracking_number);
    let (id, items, parcel) = fields.finish(|| {
        let given = given.into_iter().collect::<Option<Vec<_>>>()?;
        Some((id?, claims?.into_iter().zip(given).collect::<Vec<_>>(), parcel?))
    })?;
    app.write(&call, id, &request, (items, parcel), move |conn, (items, parcel), moment| {
        Box::pin(async move { dispatch_now(conn, &items, &parcel, moment).await })
    })
    .await
}

async fn dispatch_now(
    conn: &mut PgConnection,
    items: &[(Uuid, Option<Serial>)],
    parcel: &Parcel,
    moment: &Moment,
) -> store::Result<v1::DispatchOutboundResponse> {
    let ids: Vec<Uuid> = items.iter().map(|(id, _)| *id).collect();
    let found = claims::lock_all(&mut *conn, &moment.actor, &ids).await?;
    // A list with an entry at least: the fields were read.
    let party =
        found.first().map(|claim| claim.filing.applicant.clone()).ok_or_else(|| Error::broken("an empty parcel"))?;
    if found.iter().any(|claim| claim.filing.applicant != party) {
        return Err(Refusal::MixedParcel.into());
    }
    let credit_terms = match party.dealer_id() {
        Some(dealer) => dealers::get(&mut *conn, dealer).await?.credit_terms,
        None => false,
    };
    let opened = parcel.open("OUTBOUND", &party, moment.now);
    let mut steps = Vec::new();
    let mut places = Vec::new();
    for (claim, (_, given)) in found.into_iter().zip(items) {
        let event = claim.dispatch(opened.shipment_id, given.clone(), credit_terms)?;
        if let Some(given) = given {
            owed(&mut *conn, &claim, given, moment).await?;
        }
        places.push(place(&claim, given.as_ref()));
        steps.push((claim, event));
    }
    shipments::open(&mut *conn, &opened, &places).await?;
    for (claim, event) in steps {
        claims::advance(&mut *conn, claim, vec![event], None, &moment.actor, moment.now).await?;
    }
    Ok(v1::DispatchOutboundResponse { shipment: Some(shipment(conn, &moment.actor, opened.shipment_id).await?) })
}

/// The good unit owed to the dealer after a swap: new stock outside the chain, fit to be given (M3, T4).
async fn owed(conn: &mut PgConnection, claim: &Claim, given: &Serial, moment: &Moment) -> store::Result<()> {
    units::lock(&mut *conn, &[given]).await?;
    let unit = units::to_give(&mut *conn, given, claim.id, moment.now).await?;
    let for_unit = store::facts::of_unit(&mut *conn, &claim.filing.serial, Some(claim.id)).await?;
    may_be_given(&unit, &claim.filing.serial, &for_unit.model, &for_unit.facts.equivalents)?;
    let why = Why { reason: "owed to the dealer", claim: Some(claim.id), actor: &moment.actor, now: moment.now };
    stock::take(conn, given.as_str(), why).await
}

/// What goes into the box for a claim, and who pays: the maker under the commitment, else the sender.
fn place(claim: &Claim, given: Option<&Serial>) -> Item {
    let serial = match claim.outcome() {
        // An accessory travels alone, unless its unit was sent in: then that goes back with it.
        Some(Outcome::Accessory) if claim.inbound.is_none() => None,
        Some(outcome) => Some(given.or(outcome.given()).unwrap_or(&claim.filing.serial).to_string()),
        None => None,
    };
    let payer = if claim.remedy.is_a_yes() { Payer::Maker } else { Payer::Sender };
    Item {
        claim_id: claim.id,
        return_number: None,
        serial,
        payer: payer.to_string(),
        clause: Clause::M6.to_string(),
        arrived_at: None,
    }
}

pub(super) async fn deliver(
    app: &App,
    request: Request<v1::ConfirmDeliveryRequest>,
) -> Reply<v1::ConfirmDeliveryResponse> {
    let (call, request) = open(request)?;
    let mut fields = Fields::default();
    let id = fields.request_id(&request.request_id);
    let parcel = fields.uuid("shipment_id", &request.shipment_id);
    let (id, parcel) = fields.finish(|| Some((id?, parcel?)))?;
    app.write(&call, id, &request, parcel, move |conn, parcel, moment| {
        Box::pin(async move { deliver_now(conn, parcel, moment).await })
    })
    .await
}

async fn deliver_now(conn: &mut PgConnection, id: Uuid, moment: &Moment) -> store::Result<v1::ConfirmDeliveryResponse> {
    let (parcel, items) = shipments::get(&mut *conn, &moment.actor, id).await?;
    if parcel.direction != "OUTBOUND" {
        return Err(Error::not_found("shipment", id));
    }
    let ids: Vec<Uuid> = items.iter().map(|item| item.claim_id).collect();
    for claim in claims::lock_all(&mut *conn, &moment.actor, &ids).await? {
        let event = claim.deliver()?;
        claims::advance(&mut *conn, claim, vec![event], None, &moment.actor, moment.now).await?;
    }
    shipments::arrive(&mut *conn, id, &ids, moment.now).await?;
    Ok(v1::ConfirmDeliveryResponse { shipment: Some(shipment(conn, &moment.actor, id).await?) })
}
