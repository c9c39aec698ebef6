//! What carriers say of their numbers. Whether a parcel has the number is asked when it is read: what comes first waits.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::{error::Result, shipments::Shipment};
use crate::domain::{actor::Actor, parcel::TrackingStatus};

/// One thing that a carrier says.
#[derive(Clone, Debug, FromRow)]
pub struct TrackingEvent {
    /// The carrier's name of it.
    pub event_key: String,
    /// What happened.
    pub status: TrackingStatus,
    /// Where.
    pub place: Option<String>,
    /// When.
    pub happened_at: DateTime<Utc>,
}

/// Whose word it is; for which parcels it counts, the database says (`word_counts`).
fn party(actor: &Actor) -> String {
    if actor.is_staff() { "staff".to_owned() } else { actor.to_string() }
}

/// Keeps what was not told before: how much that was.
pub async fn record(
    conn: &mut PgConnection,
    actor: &Actor,
    (carrier, tracking_number): (&str, &str),
    events: &[TrackingEvent],
    now: DateTime<Utc>,
) -> Result<u64> {
    let recorded = sqlx::query(
        "INSERT INTO tracking_events (carrier, tracking_number, party, recorded_at, recorded_by, event_key, status, place, happened_at)
         SELECT $1, $2, $3, $4, $5, * FROM unnest($6::text[], $7::text[], $8::text[], $9::timestamptz[])
         ON CONFLICT DO NOTHING",
    )
    .bind(carrier)
    .bind(tracking_number)
    .bind(party(actor))
    .bind(now)
    .bind(actor.to_string())
    .bind(events.iter().map(|event| event.event_key.clone()).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.status).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.place.clone()).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.happened_at).collect::<Vec<_>>());
    Ok(recorded.execute(conn).await?.rows_affected())
}

/// The caller's parcels with this number, the latest first.
pub async fn parcels(
    conn: &mut PgConnection,
    actor: &Actor,
    carrier: &str,
    tracking_number: &str,
) -> Result<Vec<Uuid>> {
    let parcels = sqlx::query_scalar(
        "SELECT shipment_id FROM shipments WHERE tracking_key = tracking_key($1, $2)
            AND ($3::text IS NULL OR dealer_id = $3) AND ($4::uuid IS NULL OR customer_id = $4) ORDER BY shipment_id DESC LIMIT 200",
    );
    let parcels = parcels.bind(carrier).bind(tracking_number).bind(actor.dealer_id()).bind(actor.customer_id());
    Ok(parcels.fetch_all(conn).await?)
}

/// What is known of a parcel, in the order of its time: at most the latest 500. The maker's word, where it counts, goes before its
/// party's; staff reads its own also where another's parcel has the number, too.
pub async fn of_parcel(conn: &mut PgConnection, parcel: &Shipment) -> Result<Vec<TrackingEvent>> {
    let known = sqlx::query_as(
        "SELECT * FROM (SELECT * FROM (SELECT DISTINCT ON (event_key) event_key, status, place, happened_at FROM tracking_events
                  WHERE tracking_key = tracking_key($1, $2) AND (word_counts(party, $3) OR party = 'staff' AND caller_is_staff())
                  ORDER BY event_key, party = 'staff' DESC) told
           ORDER BY happened_at DESC, event_key DESC LIMIT 500) latest ORDER BY happened_at, event_key",
    );
    let known = known.bind(&parcel.carrier).bind(&parcel.tracking_number).bind(parcel.shipment_id);
    Ok(known.fetch_all(conn).await?)
}
