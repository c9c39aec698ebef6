//! What was set aside: listed, and settled with a reason.

use sqlx::PgConnection;
use tonic::Request;
use uuid::Uuid;

use super::inbound::announced;
use crate::{
    contract::v1,
    domain::{
        claim::Claim,
        parcel::{Arrival, Settlement},
        refusal::Refusal,
        serial::Serial,
    },
    service::wire::{number, text, time},
    service::{App, Fields, Moment, Page, Reply, claim::answer, open, open_write, page, transact},
    store::{
        self, Error, claims,
        set_aside::{self, Filter, SetAside},
        shipments,
    },
};

/// A column that is a name of one of the domain's enums.
pub(super) fn on_the_wire(found: SetAside) -> v1::SetAside {
    let state = if found.settlement.is_none() { v1::SetAsideState::Open } else { v1::SetAsideState::Settled };
    v1::SetAside {
        set_aside_id: found.set_aside_id.to_string(),
        shipment_id: found.shipment_id.to_string(),
        serial: text(found.serial),
        return_number: text(found.return_number),
        difference: number!(found.difference),
        announced_claim_id: text(found.announced_claim_id),
        appearance: found.appearance.map_or(0, |appearance| number!(appearance)),
        seal: found.seal.map_or(0, |seal| number!(seal)),
        missing_parts: text(found.missing_parts),
        transport_damage: found.transport_damage,
        found_time: Some(time(found.found_at)),
        found_by: found.found_by,
        state: state.into(),
        next_actions: Settlement::open_to(found.settlement).iter().map(|next| number!(*next)).collect(),
        settlement: found.settlement.map_or(0, |settlement| number!(settlement)),
        claim_id: text(found.claim_id),
        reason: text(found.reason),
        settled_time: found.settled_at.map(time),
        settled_by: text(found.settled_by),
        version: found.version,
        depot: text(found.depot),
    }
}

pub(super) async fn list(app: &App, request: Request<v1::ListSetAsideRequest>) -> Reply<v1::ListSetAsideResponse> {
    let (call, request) = open(request)?;
    let mut fields = Fields::default();
    let page = page!(fields, call, request);
    let after = page.as_ref().and_then(|page| page.after_as(&mut fields));
    let shipment_id = fields.optional_uuid("shipment_id", &request.shipment_id);
    let settled = request.settled;
    let (page, filter) =
        fields.finish(|| Some((page?, Filter { settled, shipment_id: shipment_id?, after: after? })))?;
    transact!(app.read(&call, (page, filter)), |conn, (page, filter), _| {
        let mut found = set_aside::list(conn, &filter, page.fetch()).await?;
        let next_page_token = page.cut(&mut found, |found| found.set_aside_id.to_string());
        Ok(v1::ListSetAsideResponse { set_aside: found.into_iter().map(on_the_wire).collect(), next_page_token })
    })
}

/// How one is to be settled.
#[derive(Clone)]
struct Asked {
    id: Uuid,
    version: i64,
    how: Settlement,
    claim: Option<Uuid>,
    serial: Option<Serial>,
    reason: String,
}

pub(super) async fn settle(
    app: &App,
    request: Request<v1::SettleSetAsideRequest>,
) -> Reply<v1::SettleSetAsideResponse> {
    let (call, request, request_id, mut fields) = open_write(request)?;
    let id = fields.uuid("set_aside_id", &request.set_aside_id);
    let version = fields.version(request.version);
    let how: Option<Settlement> = fields.choice("settlement", request.settlement);
    let claim = fields.optional_uuid("claim_id", &request.claim_id);
    let serial = fields.optional_serial("serial", &request.serial);
    let reason = fields.text("reason", &request.reason, 500);
    let of_a_claim = how == Some(Settlement::Claim);
    if how.is_some() && of_a_claim == request.claim_id.is_empty() {
        fields.violate("claim_id", "is given exactly where it is a claim's unit");
    }
    if how.is_some() && !of_a_claim && !request.serial.is_empty() {
        fields.violate("serial", "is given only where it is a claim's unit");
    }
    let (request_id, asked) = fields.finish(|| {
        let (id, version, how) = (id?, version?, how?);
        Some((request_id?, Asked { id, version, how, claim: claim?, serial: serial?, reason: reason? }))
    })?;
    transact!(app.write(&call, request_id, &request, asked), |conn, asked, moment| {
        let held = set_aside::lock(&mut *conn, asked.id).await?;
        Refusal::unless_version(asked.version, held.version)?;
        asked.how.after(held.settlement)?;
        let mut received = None;
        if let Some(claim) = asked.claim {
            let claim = receive_after_all(&mut *conn, &held, claim, asked.serial, moment).await?;
            received = answer::one(&mut *conn, claim, moment).await?;
        }
        let (actor, now) = (&moment.actor, moment.now);
        let settled = set_aside::settle(conn, asked.id, asked.how, asked.claim, &asked.reason, actor, now).await?;
        Ok(v1::SettleSetAsideResponse { set_aside: Some(on_the_wire(settled)), claim: received })
    })
}

/// It is this claim's unit: received in the parcel it was announced in, or, where nobody announced it, in the one it came in.
async fn receive_after_all(
    conn: &mut PgConnection,
    held: &SetAside,
    claim: Uuid,
    read_again: Option<Serial>,
    moment: &Moment,
) -> store::Result<Claim> {
    let claim = claims::lock(&mut *conn, &moment.actor, claim).await?;
    let serial = read_again.or_else(|| Serial::parse(held.serial.as_deref()?).ok());
    let serial = serial.ok_or_else(|| Error::invalid("serial", "is required: none could be read"))?;
    let arrival = Arrival {
        appearance: held.appearance,
        seal: held.seal,
        missing_parts: held.missing_parts.clone(),
        transport_damage: held.transport_damage,
    };
    let events = claim.receive_unannounced(held.shipment_id, &serial, &arrival)?;
    if claim.inbound.is_none() {
        let (parcel, _) = shipments::get(&mut *conn, &moment.actor, held.shipment_id).await?;
        if parcel.party() != claim.filing.applicant {
            return Err(Refusal::MixedParcel.into());
        }
        shipments::add(&mut *conn, held.shipment_id, &[announced(&claim)]).await?;
    }
    let claim = claims::advance(&mut *conn, claim, events, None, &moment.actor, moment.now).await?;
    let came_in = claim.inbound.unwrap_or(held.shipment_id);
    shipments::arrive(conn, came_in, &[(claim.id, &arrival)], held.depot.as_deref(), moment.now).await?;
    Ok(claim)
}
