//! The depot unpacks a parcel: what is as announced is received, all else is set aside.

use std::collections::{HashMap, HashSet};

use sqlx::PgConnection;
use tonic::Request;
use uuid::Uuid;

use super::{MOST_ITEMS, set_aside, shipment};
use crate::{
    contract::v1::{self, received_result::Result as Became},
    domain::{
        claim::Outcome,
        parcel::{Arrival, Difference, Direction, Found},
    },
    service::{App, Fields, Moment, Reply, claim::answer, open_write, transact},
    store::{self, Error, claims, set_aside::SetAside, shipments},
};

/// One unit as it came out of the box.
#[derive(Clone)]
struct Received {
    found: Found,
    arrival: Arrival,
}

impl Received {
    /// The serial as it is written, or as it was read where it is none.
    fn serial(&self) -> Option<String> {
        self.found.read().1.map(String::from).or_else(|| self.found.serial.clone())
    }
}

fn received(fields: &mut Fields, at: usize, item: &v1::ReceivedItem) -> Option<Received> {
    let path = |name: &str| format!("items[{at}].{name}");
    let return_number = fields.optional_text(&path("return_number"), &item.return_number, 40);
    let serial = fields.optional_text(&path("serial"), &item.serial, 64);
    let appearance = fields.optional_choice(&path("appearance"), item.appearance);
    let seal = fields.optional_choice(&path("seal"), item.seal);
    let missing_parts = fields.optional_text(&path("missing_parts"), &item.missing_parts, 200);
    let arrival = Arrival {
        appearance: appearance?,
        seal: seal?,
        missing_parts: missing_parts?,
        transport_damage: item.transport_damage,
    };
    Some(Received { found: Found { return_number: return_number?, serial: serial? }, arrival })
}

pub(super) async fn receive(app: &App, request: Request<v1::ReceiveReturnRequest>) -> Reply<v1::ReceiveReturnResponse> {
    let (call, request, id, mut fields) = open_write(request)?;
    Fields::at_most("items", &request.items, MOST_ITEMS)?;
    let parcel = fields.uuid("shipment_id", &request.shipment_id);
    fields.entries("items", &request.items);
    let mut seen = HashSet::new();
    let items: Option<Vec<_>> = fields.each(&request.items, |fields, at, item| {
        let item = received(fields, at, item)?;
        if item.serial().is_some_and(|serial| !seen.insert(serial)) {
            fields.violate(&format!("items[{at}].serial"), "must be there once");
        }
        Some(item)
    });
    let depot = fields.optional_model("depot", &request.depot);
    let (id, parcel, items, depot) = fields.finish(|| Some((id?, parcel?, items?, depot?)))?;
    transact!(app.write(&call, id, &request, (items, depot)), |conn, (items, depot), moment| {
        receive_now(conn, parcel, &items, depot.as_deref(), moment).await
    })
}

async fn receive_now(
    conn: &mut PgConnection,
    id: Uuid,
    items: &[Received],
    depot: Option<&str>,
    moment: &Moment,
) -> store::Result<v1::ReceiveReturnResponse> {
    let (parcel, announced) = shipments::get(&mut *conn, &moment.actor, id).await?;
    parcel.must_travel(Direction::Inbound)?;
    let places: Vec<_> =
        announced.iter().map(|place| (place.return_number.as_deref(), place.serial.as_deref())).collect();
    let judged: Vec<_> = items.iter().map(|item| item.found.among(&places)).collect();
    let claim_of = |place: Option<usize>| place.map(|at| announced[at].claim_id);
    let ids: Vec<Uuid> =
        judged.iter().filter(|(_, unit)| unit.is_ok()).filter_map(|(place, _)| claim_of(*place)).collect();
    let mut held = claims::lock_all(&mut *conn, &moment.actor, &ids).await?.into_iter();
    let (mut steps, mut arrived, mut apart, mut results) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (at, (item, (place, unit))) in items.iter().zip(judged).enumerate() {
        // Each unit that fits has its claim among those held, in the same order.
        let claim = unit.is_ok().then(|| held.next()).flatten();
        let difference = match (unit, claim) {
            (Ok(_), Some(claim)) if claim.outcome() == Some(&Outcome::Lost) => Difference::GivenUp,
            (Ok(serial), Some(claim)) => {
                let event = claim.receive(id, &serial, &item.arrival);
                let event = event.map_err(|refusal| Error::from(refusal).of_item(format!("items[{at}]")))?;
                results.push(Became::ClaimId(claim.id.to_string()));
                arrived.push((claim.id, &item.arrival));
                steps.push((claim, vec![event]));
                continue;
            }
            (Ok(_), None) => return Err(Error::broken("a claim went missing")),
            (Err(difference), _) => difference,
        };
        let kept = apart_as(id, item, difference, claim_of(place), depot, moment);
        results.push(Became::SetAside(set_aside::on_the_wire(kept.clone())));
        apart.push((at, kept));
    }
    let received = claims::advance_all(&mut *conn, steps, None, &moment.actor, moment.now).await?;
    shipments::arrive(&mut *conn, id, &arrived, depot, moment.now).await?;
    if !apart.is_empty() {
        keep_apart(&mut *conn, apart).await?;
    }
    let shipment = Some(shipment(&mut *conn, &moment.actor, id).await?);
    let results = results.into_iter().map(|became| v1::ReceivedResult { result: Some(became) }).collect();
    Ok(v1::ReceiveReturnResponse { shipment, claims: answer::claims(conn, received, moment).await?, results })
}

/// Keeps units apart, each with its place in the request, where none of them is already: one unit has one open record.
async fn keep_apart(conn: &mut PgConnection, apart: Vec<(usize, SetAside)>) -> store::Result<()> {
    let serials: Vec<&str> = apart.iter().filter_map(|(_, kept)| kept.serial.as_deref()).collect();
    let open: HashMap<_, _> = store::set_aside::open(&mut *conn, &serials).await?.into_iter().collect();
    let again = apart.iter().filter_map(|(at, kept)| Some((at, open.get(kept.serial.as_ref()?)?)));
    let again: Vec<_> =
        again.map(|(at, id)| (format!("items[{at}].serial"), format!("is set aside already, as {id}"))).collect();
    if !again.is_empty() {
        return Err(Error::Invalid(again));
    }
    let apart: Vec<_> = apart.into_iter().map(|(_, kept)| kept).collect();
    store::set_aside::add(conn, &apart).await
}

/// The record under which a unit is kept apart.
fn apart_as(
    parcel: Uuid,
    item: &Received,
    difference: Difference,
    announced: Option<Uuid>,
    depot: Option<&str>,
    moment: &Moment,
) -> SetAside {
    SetAside {
        set_aside_id: Uuid::now_v7(),
        shipment_id: parcel,
        serial: item.serial(),
        return_number: item.found.return_number.clone(),
        difference,
        announced_claim_id: announced,
        appearance: item.arrival.appearance,
        seal: item.arrival.seal,
        missing_parts: item.arrival.missing_parts.clone(),
        transport_damage: item.arrival.transport_damage,
        found_at: moment.now,
        found_by: moment.actor.to_string(),
        settlement: None,
        claim_id: None,
        reason: None,
        settled_at: None,
        settled_by: None,
        version: 1,
        depot: depot.map(str::to_owned),
    }
}
