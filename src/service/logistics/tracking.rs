//! What carriers say of their numbers.

use sqlx::PgConnection;
use tonic::Request;
use uuid::Uuid;

use crate::{
    contract::v1,
    service::wire::{number, text, time},
    service::{App, Fields, Reply, open_write, transact},
    store::{self, Error, shipments, tracking, tracking::TrackingEvent},
};

/// How many events one call may tell.
const MOST_EVENTS: usize = 100;

/// What is told of a number.
#[derive(Clone)]
struct Told {
    parcel: Option<Uuid>,
    carrier: String,
    tracking_number: String,
    events: Vec<TrackingEvent>,
}

pub(super) async fn record(
    app: &App,
    request: Request<v1::RecordTrackingRequest>,
) -> Reply<v1::RecordTrackingResponse> {
    let (call, request, id, mut fields) = open_write(request)?;
    Fields::at_most("events", &request.events, MOST_EVENTS)?;
    let parcel = fields.optional_uuid("shipment_id", &request.shipment_id);
    let carrier = fields.text("carrier", &request.carrier, 60);
    let tracking_number = fields.text("tracking_number", &request.tracking_number, 60);
    if request.shipment_id.is_empty() {
        fields.entries("events", &request.events);
    }
    let now = app.clock.now();
    let events = fields.each(&request.events, |fields, at, told| event(fields, at, told, now));
    let (id, told) = fields.finish(|| {
        let (carrier, tracking_number) = (carrier?, tracking_number?);
        Some((id?, Told { parcel: parcel?, carrier, tracking_number, events: events? }))
    })?;
    transact!(app.write(&call, id, &request, told), |conn, told, moment| {
        let (actor, carrier, number) = (&moment.actor, told.carrier.as_str(), told.tracking_number.as_str());
        if let Some(id) = told.parcel {
            let (parcel, _) = shipments::get(&mut *conn, actor, id).await?;
            if !actor.is_staff() && !parcel.is_inbound() {
                return Err(Error::invalid("shipment_id", "a parcel from the maker is numbered by its staff"));
            }
            shipments::number(&mut *conn, id, carrier, number).await?;
        }
        let recorded = tracking::record(&mut *conn, actor, (carrier, number), &told.events, moment.now).await?;
        let parcels = tracking::parcels(conn, actor, carrier, number).await?;
        Ok(v1::RecordTrackingResponse {
            shipment_ids: parcels.iter().map(ToString::to_string).collect(),
            recorded: i32::try_from(recorded).unwrap_or(i32::MAX),
        })
    })
}

fn event(
    fields: &mut Fields,
    at: usize,
    told: &v1::TrackingEvent,
    now: chrono::DateTime<chrono::Utc>,
) -> Option<TrackingEvent> {
    let path = |name: &str| format!("events[{at}].{name}");
    let event_key = fields.text(&path("event_key"), &told.event_key, 64);
    let status = fields.choice(&path("status"), told.status);
    let place = fields.optional_text(&path("place"), &told.place, 100);
    if told.event_time.is_none() {
        fields.violate(&path("event_time"), "is required");
    }
    let happened_at = fields.past_time(&path("event_time"), told.event_time.as_ref(), now);
    Some(TrackingEvent { event_key: event_key?, status: status?, place: place?, happened_at: happened_at?? })
}

/// What is known of a parcel, on the wire.
pub(super) async fn of_parcel(
    conn: &mut PgConnection,
    parcel: &shipments::Shipment,
) -> store::Result<Vec<v1::TrackingEvent>> {
    let on_the_wire = |event: TrackingEvent| v1::TrackingEvent {
        event_key: event.event_key,
        status: number!(event.status),
        place: text(event.place),
        event_time: Some(time(event.happened_at)),
    };
    Ok(tracking::of_parcel(conn, parcel).await?.into_iter().map(on_the_wire).collect())
}
