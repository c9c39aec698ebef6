//! Registered sales. A correction is a new version; what was known before stays.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::{FromRow, PgConnection, PgExecutor};
use uuid::Uuid;

use super::error::Result;
use crate::domain::{actor::Actor, event::Vouchers, refusal::Refusal, serial::Serial, vouchers::RegisteredSale};

/// The current version of a sale.
#[derive(Clone, Debug, FromRow)]
pub struct Sale {
    /// The unit.
    pub serial: String,
    /// Counts the corrections.
    pub version: i64,
    /// Who sold it.
    pub dealer_id: String,
    /// The day.
    pub sold_on: NaiveDate,
    /// Only a sale with an invoice gives the start.
    pub invoice_number: Option<String>,
    /// The other voucher.
    pub warranty_card_number: Option<String>,
    /// S4.
    pub region: Option<String>,
    /// S5.
    pub contract_number: Option<String>,
    /// Who bought it.
    pub customer_id: Option<Uuid>,
    /// When it was recorded.
    pub recorded_at: DateTime<Utc>,
}

impl Sale {
    /// What vouchers are held against.
    pub fn registered(&self) -> RegisteredSale {
        let vouchers = Vouchers {
            invoice_number: self.invoice_number.clone(),
            warranty_card_number: self.warranty_card_number.clone(),
        };
        RegisteredSale { dealer_id: self.dealer_id.clone(), customer_id: self.customer_id, vouchers }
    }
}

/// The current sale of the unit's original (T5): whose dealer is the seller, and whose vouchers count.
pub async fn of_original(db: impl PgExecutor<'_>, serial: &Serial) -> Result<Option<Sale>> {
    let sale = sqlx::query_as(
        "SELECT s.serial, s.version, s.dealer_id, s.sold_on, s.invoice_number, s.warranty_card_number, s.region, s.contract_number,
                s.customer_id, s.recorded_at
           FROM sales s
          WHERE s.superseded_at = 'infinity'
            AND s.serial = coalesce((SELECT origin_serial FROM replacements WHERE replacement_serial = $1), $1)",
    );
    Ok(sale.bind(serial.as_str()).fetch_optional(db).await?)
}

/// The current sales of many units' originals, by the unit asked about.
pub async fn of_originals(db: impl PgExecutor<'_>, serials: &[String]) -> Result<HashMap<String, Sale>> {
    #[derive(FromRow)]
    struct Row {
        asked: String,
        #[sqlx(flatten)]
        sale: Sale,
    }
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT asked, s.serial, s.version, s.dealer_id, s.sold_on, s.invoice_number, s.warranty_card_number, s.region,
                s.contract_number, s.customer_id, s.recorded_at
           FROM unnest($1::text[]) asked
           LEFT JOIN replacements r ON r.replacement_serial = asked
           JOIN sales s ON s.serial = coalesce(r.origin_serial, asked) AND s.superseded_at = 'infinity' AND NOT s.cancelled",
    )
    .bind(serials)
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.asked, row.sale)).collect())
}

async fn current_version(conn: &mut PgConnection, serial: &str) -> Result<Option<(i64, String, Option<String>)>> {
    Ok(sqlx::query_as(
        "SELECT version, dealer_id, contract_number FROM sales WHERE serial = $1 AND superseded_at = 'infinity'",
    )
    .bind(serial)
    .fetch_optional(conn)
    .await?)
}

/// Registers a sale (`sale.version` 0), or corrects the one of that version. The unit must be held (`units::lock`).
pub async fn register(conn: &mut PgConnection, sale: Sale, actor: &Actor) -> Result<Sale> {
    let current = current_version(&mut *conn, &sale.serial).await?;
    let foreign = match (&current, actor.dealer_id()) {
        (Some((_, seller, _)), Some(dealer)) => seller != dealer,
        _ => false,
    };
    // A dealer's correction leaves the sale under the contract that the maker put it under.
    let contract =
        current.as_ref().and_then(|(_, _, contract)| contract.clone()).filter(|_| actor.dealer_id().is_some());
    let current = current.map_or(0, |(version, _, _)| version);
    // Another dealer's sale is not described: it looks the same whatever version was guessed.
    if foreign || (sale.version == 0 && current > 0) {
        return Err(Refusal::RegistryConflict("a sale of the unit is registered already".to_owned()).into());
    }
    if sale.version != current {
        return Err(Refusal::VersionMismatch { given: sale.version, current }.into());
    }
    sqlx::query("UPDATE sales SET superseded_at = $2 WHERE serial = $1 AND superseded_at = 'infinity'")
        .bind(&sale.serial)
        .bind(sale.recorded_at)
        .execute(&mut *conn)
        .await?;
    let sale = Sale { version: current + 1, contract_number: contract.or(sale.contract_number), ..sale };
    sqlx::query(
        "INSERT INTO sales (serial, version, dealer_id, sold_on, invoice_number, warranty_card_number, region, contract_number,
                            customer_id, recorded_at, recorded_by)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(&sale.serial)
    .bind(sale.version)
    .bind(&sale.dealer_id)
    .bind(sale.sold_on)
    .bind(&sale.invoice_number)
    .bind(&sale.warranty_card_number)
    .bind(&sale.region)
    .bind(&sale.contract_number)
    .bind(sale.customer_id)
    .bind(sale.recorded_at)
    .bind(actor.to_string())
    .execute(conn)
    .await?;
    Ok(sale)
}
