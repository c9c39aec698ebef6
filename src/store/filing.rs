//! What filing looks up of a unit and of who would claim for it.

use chrono::NaiveDate;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::{
    error::{Error, Result},
    requests::WriteRequest,
};
use crate::domain::{
    actor::Actor,
    event::Vouchers,
    serial::Serial,
    vouchers::{Prospect, RegisteredSale},
};

/// How a filing begins.
#[derive(Debug)]
pub enum Begun {
    /// The same request was answered before, with this reply.
    Before(Vec<u8>),
    /// The unit is held to the end of the transaction.
    Now(Prospect),
}

#[derive(FromRow)]
struct Row {
    method: Option<String>,
    request_sha256: Option<Vec<u8>>,
    reply: Option<Vec<u8>>,
    dealer_is_active: bool,
    #[sqlx(default)]
    has_open_claim: bool,
    is_in_stock: bool,
    customer_is_known: bool,
    dealer_id: Option<String>,
    customer_id: Option<Uuid>,
    sold_on: Option<NaiveDate>,
    invoice_number: Option<String>,
    warranty_card_number: Option<String>,
}

impl From<Row> for Prospect {
    fn from(row: Row) -> Self {
        let vouchers = Vouchers {
            invoice_number: row.invoice_number,
            warranty_card_number: row.warranty_card_number,
            invoice_date: None,
        };
        let sale = row.dealer_id.zip(row.sold_on).map(|(dealer_id, sold_on)| RegisteredSale {
            dealer_id,
            customer_id: row.customer_id,
            sold_on,
            vouchers,
        });
        Self {
            dealer_is_active: row.dealer_is_active,
            has_open_claim: row.has_open_claim,
            is_in_stock: row.is_in_stock,
            customer_is_known: row.customer_is_known,
            sale,
        }
    }
}

/// Begins a filing: waits for an earlier request of the same id, else holds the unit and then looks, in one round trip.
/// A unit that the registry does not know looks like one without a sale.
pub async fn begin(
    conn: &mut PgConnection,
    actor: &Actor,
    request: &WriteRequest,
    serial: &Serial,
    customer: Option<Uuid>,
) -> Result<Begun> {
    let row: Row =
        sqlx::query_as("SELECT b.*, unit_is_in_stock($3) AS is_in_stock FROM begin_filing($1, $2, $3, $4) b")
            .bind(actor.to_string())
            .bind(request.id)
            .bind(serial.as_str())
            .bind(customer)
            .fetch_one(conn)
            .await?;
    match (&row.method, &row.request_sha256) {
        (Some(method), Some(sha256)) => {
            let reply = row.reply.ok_or_else(|| Error::broken("request_log.reply is missing"))?;
            Ok(Begun::Before(request.reply_of(method, sha256, reply)?))
        }
        _ => Ok(Begun::Now(row.into())),
    }
}

/// Looks, also for an open claim, and holds nothing.
pub async fn look(conn: &mut PgConnection, actor: &Actor, serial: &Serial, customer: Option<Uuid>) -> Result<Prospect> {
    let row: Row = sqlx::query_as(
        "SELECT NULL::text AS method, NULL::bytea AS request_sha256, NULL::bytea AS reply, p.*, unit_has_open_claim($1) AS has_open_claim,
                unit_is_in_stock($1) AS is_in_stock
           FROM prospect($1, $2, $3) p",
    )
    .bind(serial.as_str())
    .bind(actor.to_string())
    .bind(customer)
    .fetch_one(conn)
    .await?;
    Ok(row.into())
}
