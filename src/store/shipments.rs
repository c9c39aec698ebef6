//! Parcels to the maker and back, who pays each way, and what was lost on it.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{FromRow, PgConnection, types::Json};
use uuid::Uuid;

use super::error::{Error, Result};
use crate::domain::{
    actor::Actor,
    clause::Clause,
    coverage::Payer,
    parcel::{Arrival, Direction},
    refusal::Refusal,
    serial::Serial,
};

/// A parcel. Its party is a dealer or a customer.
#[derive(Clone, Debug, FromRow, Serialize)]
pub struct Shipment {
    /// Identifies it.
    pub shipment_id: Uuid,
    /// To the maker or from it.
    pub direction: Direction,
    /// The dealer at the other end.
    pub dealer_id: Option<String>,
    /// Or the customer.
    pub customer_id: Option<Uuid>,
    /// Who carries it.
    pub carrier: String,
    /// The carrier's number.
    pub tracking_number: Option<String>,
    /// Whose address it goes to, where that is not the party's own.
    pub recipient_id: Option<Uuid>,
    /// When it was announced or sent.
    pub opened_at: DateTime<Utc>,
    /// How many claims are in it.
    #[sqlx(default)]
    pub items: i64,
    /// How many of them are still on their way.
    #[sqlx(default)]
    pub on_their_way: i64,
    /// How many of them have arrived.
    #[sqlx(default)]
    pub arrived: i64,
}

impl Shipment {
    /// Its other end.
    pub fn party(&self) -> Actor {
        let customer = Actor::Customer(self.customer_id.unwrap_or_default());
        self.dealer_id.clone().map_or(customer, Actor::Dealer)
    }

    /// Who stands on the label of a parcel from the maker; a dealer is no person.
    pub fn addressed_to(&self) -> Option<Uuid> {
        self.recipient_id.or(self.customer_id).filter(|_| !self.is_inbound())
    }

    /// Refuses where it travels the other way.
    pub fn must_travel(&self, direction: Direction) -> Result<(), Refusal> {
        if self.direction == direction { Ok(()) } else { Err(Refusal::WrongDirection(self.direction)) }
    }

    /// Whether it travels to the maker.
    pub fn is_inbound(&self) -> bool {
        self.direction == Direction::Inbound
    }
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
    /// Who pays.
    pub payer: Payer,
    /// M5 or M6.
    pub clause: Clause,
    /// When it was received or delivered.
    pub arrived_at: Option<DateTime<Utc>>,
    /// When it was recorded as lost.
    pub lost_at: Option<DateTime<Utc>>,
    /// What belongs to it and was not in the box.
    pub missing_parts: Option<String>,
    /// Whether it arrived damaged on the way.
    pub transport_damage: bool,
    /// The unit's model.
    pub model: Option<String>,
    /// The location that received it.
    pub depot: Option<String>,
}

impl Item {
    /// As it is put into a parcel.
    pub fn new(claim_id: Uuid, serial: Option<&Serial>, payer: Payer, clause: Clause) -> Self {
        Self {
            claim_id,
            return_number: None,
            serial: serial.map(ToString::to_string),
            payer,
            clause,
            arrived_at: None,
            lost_at: None,
            missing_parts: None,
            transport_damage: false,
            model: None,
            depot: None,
        }
    }

    /// Neither here nor lost.
    pub fn is_on_its_way(&self) -> bool {
        self.arrived_at.is_none() && self.lost_at.is_none()
    }
}

/// Which parcels to list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Travelling this way.
    pub direction: Option<Direction>,
    /// Only those with something still on its way.
    pub open: bool,
    /// To or from this dealer.
    pub dealer_id: Option<String>,
    /// With this claim in it.
    pub claim_id: Option<Uuid>,
    /// Opened before this one.
    pub before: Option<Uuid>,
}

/// Opens a parcel with its items.
pub async fn open(conn: &mut PgConnection, shipment: &Shipment, items: &[Item]) -> Result<()> {
    sqlx::query(
        "INSERT INTO shipments (shipment_id, direction, dealer_id, customer_id, carrier, tracking_number, recipient_id, opened_at)
         SELECT shipment_id, direction, dealer_id, customer_id, carrier, tracking_number, recipient_id, opened_at
           FROM jsonb_populate_record(NULL::shipments, $1)",
    )
    .bind(Json(shipment))
    .execute(&mut *conn)
    .await?;
    add(conn, shipment.shipment_id, items).await
}

/// Adds items to a parcel.
pub async fn add(conn: &mut PgConnection, id: Uuid, items: &[Item]) -> Result<()> {
    sqlx::query(
        "INSERT INTO shipment_items (shipment_id, claim_id, serial, payer, clause)
         SELECT $1, * FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[])",
    )
    .bind(id)
    .bind(items.iter().map(|item| item.claim_id).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.serial.clone()).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.payer).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.clause).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives a parcel of the caller's with its items.
pub async fn get(conn: &mut PgConnection, actor: &Actor, id: Uuid) -> Result<(Shipment, Vec<Item>)> {
    let shipment: Option<Shipment> = sqlx::query_as(
        "SELECT shipment_id, direction, dealer_id, customer_id, carrier, tracking_number, recipient_id, opened_at FROM shipments
          WHERE shipment_id = $1 AND ($2::text IS NULL OR dealer_id = $2) AND ($3::uuid IS NULL OR customer_id = $3)",
    )
    .bind(id)
    .bind(actor.dealer_id())
    .bind(actor.customer_id())
    .fetch_optional(&mut *conn)
    .await?;
    let mut shipment = shipment.ok_or_else(|| Error::not_found("shipment", id))?;
    let items = sqlx::query_as(
        "SELECT i.claim_id, c.return_number, i.serial, i.payer, i.clause, i.arrived_at, i.lost_at, i.missing_parts, i.transport_damage, i.depot,
                (SELECT u.model FROM units u WHERE u.serial = i.serial) AS model
           FROM shipment_items i JOIN claims c USING (claim_id) WHERE i.shipment_id = $1 ORDER BY i.claim_id",
    );
    let items: Vec<Item> = items.bind(id).fetch_all(conn).await?;
    let count = |is: fn(&Item) -> bool| i64::try_from(items.iter().filter(|item| is(item)).count()).unwrap_or(i64::MAX);
    shipment.items = count(|_| true);
    shipment.on_their_way = count(Item::is_on_its_way);
    shipment.arrived = count(|item| item.arrived_at.is_some());
    Ok((shipment, items))
}

/// At most `limit` parcels of the caller's, without their items, the latest first.
pub async fn list(conn: &mut PgConnection, actor: &Actor, filter: &Filter, limit: i64) -> Result<Vec<Shipment>> {
    let listed = sqlx::query_as(
        "SELECT s.*, n.* FROM
             (SELECT shipment_id, direction, dealer_id, customer_id, carrier, tracking_number, recipient_id, opened_at FROM shipments s
               WHERE ($1::text IS NULL OR dealer_id = $1) AND ($2::uuid IS NULL OR customer_id = $2)
                 AND ($3::text IS NULL OR direction = $3) AND ($5::text IS NULL OR dealer_id = $5)
                 AND ($6::uuid IS NULL OR EXISTS (SELECT 1 FROM shipment_items i WHERE i.shipment_id = s.shipment_id AND i.claim_id = $6))
                 AND ($7::uuid IS NULL OR shipment_id < $7)
                 AND (NOT $4 OR EXISTS (SELECT 1 FROM shipment_items i
                                         WHERE i.shipment_id = s.shipment_id AND i.arrived_at IS NULL AND i.lost_at IS NULL))
               ORDER BY shipment_id DESC LIMIT $8) s
           CROSS JOIN LATERAL (SELECT count(*) AS items, count(*) FILTER (WHERE arrived_at IS NULL AND lost_at IS NULL) AS on_their_way,
                                      count(arrived_at) AS arrived FROM shipment_items i WHERE i.shipment_id = s.shipment_id) n
          ORDER BY s.shipment_id DESC",
    )
    // Planned anew each time, by what was really asked for.
    .persistent(false)
    .bind(actor.dealer_id())
    .bind(actor.customer_id())
    .bind(filter.direction)
    .bind(filter.open)
    .bind(&filter.dealer_id)
    .bind(filter.claim_id)
    .bind(filter.before)
    .bind(limit);
    Ok(listed.fetch_all(conn).await?)
}

/// Corrects who carries a parcel, and under which number.
pub async fn number(conn: &mut PgConnection, id: Uuid, carrier: &str, tracking_number: &str) -> Result<()> {
    let number = sqlx::query("UPDATE shipments SET carrier = $2, tracking_number = $3 WHERE shipment_id = $1");
    number.bind(id).bind(carrier).bind(tracking_number).execute(conn).await?;
    Ok(())
}

/// Marks items as received, at a location where it is named, or delivered, each as it arrived: what was lost is found.
pub async fn arrive(
    conn: &mut PgConnection,
    id: Uuid,
    arrived: &[(Uuid, &Arrival)],
    depot: Option<&str>,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "UPDATE shipment_items i SET arrived_at = $3, lost_at = NULL, missing_parts = n.missing_parts, transport_damage = n.transport_damage,
                depot = $6
           FROM unnest($2::uuid[], $4::text[], $5::boolean[]) n (claim_id, missing_parts, transport_damage)
          WHERE i.shipment_id = $1 AND i.claim_id = n.claim_id",
    )
    .bind(id)
    .bind(arrived.iter().map(|(claim, _)| *claim).collect::<Vec<_>>())
    .bind(now)
    .bind(arrived.iter().map(|(_, arrival)| arrival.missing_parts.clone()).collect::<Vec<_>>())
    .bind(arrived.iter().map(|(_, arrival)| arrival.transport_damage).collect::<Vec<_>>())
    .bind(depot)
    .execute(conn)
    .await?;
    Ok(())
}

/// Marks items as lost on the way.
pub async fn lose(conn: &mut PgConnection, id: Uuid, claims: &[Uuid], now: DateTime<Utc>) -> Result<()> {
    let lose = sqlx::query("UPDATE shipment_items SET lost_at = $3 WHERE shipment_id = $1 AND claim_id = ANY ($2)");
    lose.bind(id).bind(claims).bind(now).execute(conn).await?;
    Ok(())
}
