//! From the maker: what is ready is sent, and delivered (M6).

use std::collections::HashSet;

use sqlx::PgConnection;
use tonic::Request;
use uuid::Uuid;

use super::{MOST_ITEMS, Parcel, chosen, claim_id, claim_ids, parcel, shipment, steps};
use crate::{
    contract::v1,
    domain::{
        actor::Actor,
        claim::{Claim, State},
        clause::Clause,
        coverage::Payer,
        parcel::{Arrival, Direction},
        refusal::Refusal,
        serial::Serial,
    },
    service::{App, Fields, Moment, Reply, claim, open_write, transact},
    store::{
        self, Error, claims, dealers,
        people::{self, NamedCustomer},
        shipments::{self, Item},
    },
};

pub(super) async fn dispatch(
    app: &App,
    request: Request<v1::DispatchOutboundRequest>,
) -> Reply<v1::DispatchOutboundResponse> {
    let (call, request, id, mut fields) = open_write(request)?;
    Fields::at_most("items", &request.items, MOST_ITEMS)?;
    fields.entries("items", &request.items);
    let (mut seen, mut units) = (HashSet::new(), HashSet::new());
    let items: Option<Vec<_>> = fields.each(&request.items, |fields, at, item| {
        let claim = claim_id(fields, &format!("items[{at}].claim_id"), &item.claim_id, &mut seen);
        let field = format!("items[{at}].given_serial");
        let given = fields.optional_serial(&field, &item.given_serial);
        if given.clone().flatten().is_some_and(|given| !units.insert(given)) {
            fields.violate(&field, "must be there once");
        }
        claim.zip(given)
    });
    let parcel = parcel(&mut fields, &request.carrier, &request.tracking_number);
    let to = fields.customer("recipient", request.recipient.as_ref());
    if matches!(&to, Some(Some(NamedCustomer::New(_, person))) if person.address.is_none()) {
        fields.violate("recipient.contact.address", "is required");
    }
    let (id, items, parcel, to) = fields.finish(|| Some((id?, items?, parcel?, to?)))?;
    transact!(app.write(&call, id, &request, (items, parcel, to)), |conn, (items, parcel, to), moment| {
        dispatch_now(conn, &items, &parcel, to.as_ref(), moment).await
    })
}

/// Whom the parcel is addressed to: a customer whom its party knows, with an address, or a new one.
async fn recipient(conn: &mut PgConnection, to: &NamedCustomer, party: &Actor, moment: &Moment) -> store::Result<Uuid> {
    let knows = if matches!(to, NamedCustomer::Known(_)) { party } else { &moment.actor };
    let id = people::customer(&mut *conn, knows, to).await?;
    match people::person(conn, id).await?.and_then(|person| person.address) {
        Some(_) => Ok(id),
        None => Err(Error::invalid("recipient.customer_id", "has no address")),
    }
}

async fn dispatch_now(
    conn: &mut PgConnection,
    items: &[(Uuid, Option<Serial>)],
    parcel: &Parcel,
    to: Option<&NamedCustomer>,
    moment: &Moment,
) -> store::Result<v1::DispatchOutboundResponse> {
    let ids: Vec<Uuid> = items.iter().map(|(id, _)| *id).collect();
    let found = claims::lock_all(&mut *conn, &moment.actor, &ids).await?;
    // A list with an entry at least: the fields were read.
    let party =
        found.first().map(|claim| claim.filing.applicant.clone()).ok_or_else(|| Error::broken("an empty parcel"))?;
    if let Some(at) = found.iter().position(|claim| claim.filing.applicant != party) {
        return Err(Error::from(Refusal::MixedParcel).of_item(format!("items[{at}]")));
    }
    let credit_terms = match party.dealer_id() {
        Some(dealer) => dealers::get(&mut *conn, dealer).await?.credit_terms,
        None => false,
    };
    let mut opened = parcel.open(Direction::Outbound, &party, moment.now);
    if let Some(to) = to {
        opened.recipient_id = Some(recipient(&mut *conn, to, &party, moment).await?);
    }
    let (mut places, mut steps) = (Vec::new(), Vec::new());
    for (at, (claim, (_, given))) in found.into_iter().zip(items).enumerate() {
        let of_item = |error: Error| error.of_item(format!("items[{at}]"));
        let event = claim.dispatch(opened.shipment_id, given.clone(), credit_terms);
        let event = event.map_err(|refusal| of_item(refusal.into()))?;
        if let Some(given) = given {
            send(&mut *conn, &claim, given, moment).await.map_err(of_item)?;
        }
        places.push(place(&claim, given.as_ref()));
        steps.push((claim, vec![event]));
    }
    shipments::open(&mut *conn, &opened, &places).await?;
    claims::advance_all(&mut *conn, steps, None, &moment.actor, moment.now).await?;
    Ok(v1::DispatchOutboundResponse { shipment: Some(shipment(conn, &moment.actor, opened.shipment_id).await?) })
}

/// A good unit, fit to be given (M3, T4): the one owed to the dealer after a swap, new stock outside the chain; or the one in place of
/// a unit that was lost on its way out, whose warranty it carries on (T5). It leaves the stock where it stands in it.
async fn send(conn: &mut PgConnection, claim: &Claim, given: &Serial, moment: &Moment) -> store::Result<()> {
    let lost = match &claim.state {
        // After a swap the customer has a unit already: what goes to the dealer stands outside the chain.
        State::Lost(_) if claim.swapped_for.is_some() => None,
        State::Lost(_) => claim.in_the_box(),
        _ => None,
    };
    let reason = if lost.is_some() { "in place of one that was lost" } else { "owed to the dealer" };
    claim::give(conn, moment, claim, (given, lost), reason).await
}

/// What goes into the box for a claim, and who pays: the maker under the commitment, else the sender.
fn place(claim: &Claim, given: Option<&Serial>) -> Item {
    let payer = if claim.remedy.is_a_yes() { Payer::Maker } else { Payer::Sender };
    Item::new(claim.id, given.or(claim.in_the_box()), payer, Clause::M6)
}

pub(super) async fn deliver(
    app: &App,
    request: Request<v1::ConfirmDeliveryRequest>,
) -> Reply<v1::ConfirmDeliveryResponse> {
    let (call, request, id, mut fields) = open_write(request)?;
    Fields::at_most("claim_ids", &request.claim_ids, MOST_ITEMS)?;
    let parcel = fields.uuid("shipment_id", &request.shipment_id);
    let claims = claim_ids(&mut fields, &request.claim_ids);
    let (id, parcel, claims) = fields.finish(|| Some((id?, parcel?, claims?)))?;
    transact!(app.write(&call, id, &request, claims), |conn, claims, moment| {
        let (sent, items) = shipments::get(&mut *conn, &moment.actor, parcel).await?;
        sent.must_travel(Direction::Outbound)?;
        let given = !claims.is_empty();
        let ids = chosen(&items, claims)?;
        let held = claims::lock_all(&mut *conn, &moment.actor, &ids).await?;
        let steps = steps(held, given, |claim| claim.deliver(parcel))?;
        claims::advance_all(&mut *conn, steps, None, &moment.actor, moment.now).await?;
        let whole = Arrival::default();
        let arrived: Vec<_> = ids.iter().map(|claim| (*claim, &whole)).collect();
        shipments::arrive(&mut *conn, parcel, &arrived, None, moment.now).await?;
        Ok(v1::ConfirmDeliveryResponse { shipment: Some(shipment(conn, &moment.actor, parcel).await?) })
    })
}
