//! Registered sales. A correction and a cancellation are new versions; what was known before stays.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use sqlx::{FromRow, PgConnection, PgExecutor, types::Json};
use uuid::Uuid;

use super::{
    error::{Error, Result},
    stock,
};
use crate::domain::{actor::Actor, event::Vouchers, refusal::Refusal, serial::Serial, vouchers::RegisteredSale};

/// A version of a sale.
#[derive(Clone, Debug, FromRow, Serialize)]
#[allow(missing_docs)] // Each other field is the column of the same name.
pub struct Sale {
    pub serial: String,
    pub version: i64,
    pub dealer_id: String,
    pub sold_on: NaiveDate,
    pub invoice_number: Option<String>,
    pub warranty_card_number: Option<String>,
    pub region: Option<String>,
    pub contract_number: Option<String>,
    pub customer_id: Option<Uuid>,
    pub cancelled: bool,
    /// Whether the version before it was a sale, which this one corrects or cancels.
    pub corrects: bool,
    pub reason: Option<String>,
    pub recorded_at: DateTime<Utc>,
    pub recorded_by: String,
}

macro_rules! select_sales {
    ($rest:literal) => {
        concat!(
            "SELECT s.serial, s.version, s.dealer_id, s.sold_on, s.invoice_number, s.warranty_card_number, s.region,
                    s.contract_number, s.customer_id, s.cancelled, s.reason, s.recorded_at, s.recorded_by,
                    EXISTS (SELECT 1 FROM sales b WHERE b.serial = s.serial AND b.version = s.version - 1 AND NOT b.cancelled) AS corrects
               FROM sales s ",
            $rest
        )
    };
}

/// The current sale of the unit's original (T5): whose dealer is the seller, and whose vouchers count.
pub async fn of_original(db: impl PgExecutor<'_>, serial: &Serial) -> Result<Option<Sale>> {
    let sale = sqlx::query_as(select_sales!(
        "WHERE s.superseded_at = 'infinity' AND NOT s.cancelled
            AND s.serial = coalesce((SELECT origin_serial FROM replacements WHERE replacement_serial = $1), $1)"
    ));
    Ok(sale.bind(serial.as_str()).fetch_optional(db).await?)
}

/// What vouchers are held against, of many units' originals, by the unit asked about.
pub async fn of_originals(db: impl PgExecutor<'_>, serials: &[String]) -> Result<HashMap<String, RegisteredSale>> {
    type Row = (String, String, Option<Uuid>, NaiveDate, Option<String>, Option<String>);
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT asked, s.dealer_id, s.customer_id, s.sold_on, s.invoice_number, s.warranty_card_number
           FROM unnest($1::text[]) asked
           LEFT JOIN replacements r ON r.replacement_serial = asked
           JOIN sales s ON s.serial = coalesce(r.origin_serial, asked) AND s.superseded_at = 'infinity' AND NOT s.cancelled",
    )
    .bind(serials)
    .fetch_all(db)
    .await?;
    let sale = |(asked, dealer_id, customer_id, sold_on, invoice_number, warranty_card_number)| {
        let vouchers = Vouchers { invoice_number, warranty_card_number, invoice_date: None };
        (asked, RegisteredSale { dealer_id, customer_id, sold_on, vouchers })
    };
    Ok(rows.into_iter().map(sale).collect())
}

/// What vouchers are held against, of a unit's original.
pub async fn registered(db: impl PgExecutor<'_>, serial: &Serial) -> Result<Option<RegisteredSale>> {
    Ok(of_originals(db, &[serial.to_string()]).await?.remove(serial.as_str()))
}

/// Every version of a unit's sale that the caller may see, the first first: a dealer those that name it as the seller.
pub async fn versions(conn: &mut PgConnection, actor: &Actor, serial: &Serial) -> Result<Vec<Sale>> {
    let versions = sqlx::query_as(select_sales!(
        "WHERE s.serial = $1 AND ($2::text IS NULL OR s.dealer_id = $2) ORDER BY s.version"
    ));
    Ok(versions.bind(serial.as_str()).bind(actor.dealer_id()).fetch_all(conn).await?)
}

/// The latest version, which may be a cancellation.
async fn latest(conn: &mut PgConnection, serial: &str) -> Result<Option<Sale>> {
    let latest = sqlx::query_as(select_sales!("WHERE s.serial = $1 AND s.superseded_at = 'infinity'"));
    Ok(latest.bind(serial).fetch_optional(conn).await?)
}

/// Registers a sale (`sale.version` 0), or corrects the one of that version. The unit must be held (`units::lock`).
pub async fn register(conn: &mut PgConnection, sale: Sale, actor: &Actor) -> Result<Sale> {
    stock::not_held(&mut *conn, &sale.serial, sale.recorded_at).await?;
    let latest = latest(&mut *conn, &sale.serial).await?;
    let versions = latest.as_ref().map_or(0, |latest| latest.version);
    // `now` is read before the lock is won: no version begins before the one it follows.
    let recorded_at = latest.as_ref().map_or(sale.recorded_at, |latest| sale.recorded_at.max(latest.recorded_at));
    let current = latest.filter(|latest| !latest.cancelled);
    let foreign = match (&current, actor.dealer_id()) {
        (Some(current), Some(dealer)) => current.dealer_id != dealer,
        _ => false,
    };
    let stands = current.as_ref().map_or(0, |current| current.version);
    // Another dealer's sale is not described: it looks the same whatever version was guessed.
    if foreign || (sale.version == 0 && stands > 0) {
        return Err(Refusal::RegistryConflict("a sale of the unit is registered already".to_owned()).into());
    }
    if sale.version != stands {
        return Err(Refusal::VersionMismatch { given: sale.version, current: stands }.into());
    }
    // A dealer's correction leaves the sale under the contract that the maker put it under.
    let contract = current.filter(|_| actor.dealer_id().is_some()).and_then(|current| current.contract_number);
    let contract_number = contract.or(sale.contract_number);
    put(conn, Sale { version: versions + 1, corrects: stands > 0, contract_number, recorded_at, ..sale }).await
}

/// A cancellation of a sale.
#[derive(Clone, Debug)]
pub struct Cancellation {
    /// The version read; 0 for whatever is current.
    pub version: i64,
    /// Why.
    pub reason: String,
}

/// Cancels the current sale of a unit, where it is the caller's. The unit must be held (`units::lock`).
pub async fn cancel(
    conn: &mut PgConnection,
    serial: &Serial,
    cancellation: Cancellation,
    actor: &Actor,
    now: DateTime<Utc>,
) -> Result<Sale> {
    let current = latest(&mut *conn, serial.as_str()).await?.filter(|latest| !latest.cancelled);
    let own = current.filter(|sale| actor.dealer_id().is_none_or(|dealer| dealer == sale.dealer_id));
    let sale = own.ok_or_else(|| Error::not_found("sale", serial))?;
    Refusal::unless_version(cancellation.version, sale.version)?;
    let cancelled = Sale {
        version: sale.version + 1,
        cancelled: true,
        corrects: true,
        reason: Some(cancellation.reason),
        recorded_at: now.max(sale.recorded_at),
        recorded_by: actor.to_string(),
        ..sale
    };
    put(conn, cancelled).await
}

/// Puts a version in the current one's place.
async fn put(conn: &mut PgConnection, sale: Sale) -> Result<Sale> {
    sqlx::query("UPDATE sales SET superseded_at = $2 WHERE serial = $1 AND superseded_at = 'infinity'")
        .bind(&sale.serial)
        .bind(sale.recorded_at)
        .execute(&mut *conn)
        .await?;
    sqlx::query(
        "INSERT INTO sales (serial, version, dealer_id, sold_on, invoice_number, warranty_card_number, region, contract_number,
                            customer_id, cancelled, reason, recorded_at, recorded_by)
         SELECT serial, version, dealer_id, sold_on, invoice_number, warranty_card_number, region, contract_number,
                customer_id, cancelled, reason, recorded_at, recorded_by FROM jsonb_populate_record(NULL::sales, $1)",
    )
    .bind(Json(&sale))
    .execute(conn)
    .await?;
    Ok(sale)
}
