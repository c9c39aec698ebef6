//! Parcels to the maker and back, and who pays each way.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::error::{Error, Result};
use crate::domain::actor::Actor;

/// A parcel. Its party is a dealer or a customer.
#[derive(Clone, Debug, FromRow)]
pub struct Shipment {
    /// Identifies it.
    pub shipment_id: Uuid,
    /// `INBOUND` to the maker, `OUTBOUND` from it.
    pub direction: String,
    /// The dealer at the other end.
    pub dealer_id: Option<String>,
    /// Or the customer.
    pub customer_id: Option<Uuid>,
    /// Who carries it.
    pub carrier: String,
    /// The carrier's number.
    pub tracking_number: Option<String>,
    /// When it was announced or sent.
    pub opened_at: DateTime<Utc>,
}

/// A claim's place in a parcel.
#[derive(Clone, Debug, FromRow)]
pub struct Item {
    /// The claim.
    pub claim_id: Uuid,
    /// RMA.
    pub return_number: Option<String>,
    /// The unit in the box; none for an accessory.
    pub serial: Option<String>,
    /// `MAKER` or `SENDER`.
    pub payer: String,
    /// `M5` or `M6`.
    pub clause: String,
    /// When it was received or delivered.
    pub arrived_at: Option<DateTime<Utc>>,
}

/// Opens a parcel with its items.
pub async fn open(conn: &mut PgConnection, shipment: &Shipment, items: &[Item]) -> Result<()> {
    sqlx::query(
        "INSERT INTO shipments (shipment_id, direction, dealer_id, customer_id, carrier, tracking_number, opened_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(shipment.shipment_id)
    .bind(&shipment.direction)
    .bind(&shipment.dealer_id)
    .bind(shipment.customer_id)
    .bind(&shipment.carrier)
    .bind(&shipment.tracking_number)
    .bind(shipment.opened_at)
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "INSERT INTO shipment_items (shipment_id, claim_id, serial, payer, clause)
         SELECT $1, * FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[])",
    )
    .bind(shipment.shipment_id)
    .bind(items.iter().map(|item| item.claim_id).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.serial.clone()).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.payer.clone()).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.clause.clone()).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives a parcel of the caller's with its items.
pub async fn get(conn: &mut PgConnection, actor: &Actor, id: Uuid) -> Result<(Shipment, Vec<Item>)> {
    let shipment: Option<Shipment> = sqlx::query_as(
        "SELECT shipment_id, direction, dealer_id, customer_id, carrier, tracking_number, opened_at FROM shipments
          WHERE shipment_id = $1 AND ($2::text IS NULL OR dealer_id = $2) AND ($3::uuid IS NULL OR customer_id = $3)",
    )
    .bind(id)
    .bind(actor.dealer_id())
    .bind(actor.customer_id())
    .fetch_optional(&mut *conn)
    .await?;
    let shipment = shipment.ok_or_else(|| Error::not_found("shipment", id))?;
    let items = sqlx::query_as(
        "SELECT i.claim_id, c.return_number, i.serial, i.payer, i.clause, i.arrived_at
           FROM shipment_items i JOIN claims c USING (claim_id) WHERE i.shipment_id = $1 ORDER BY i.claim_id",
    );
    Ok((shipment, items.bind(id).fetch_all(conn).await?))
}

/// Marks items as received or delivered.
pub async fn arrive(conn: &mut PgConnection, id: Uuid, claims: &[Uuid], now: DateTime<Utc>) -> Result<()> {
    sqlx::query("UPDATE shipment_items SET arrived_at = $3 WHERE shipment_id = $1 AND claim_id = ANY ($2)")
        .bind(id)
        .bind(claims)
        .bind(now)
        .execute(conn)
        .await?;
    Ok(())
}
