//! Sample data: five dealers, four thousand units, their sales over six years.

use anyhow::{Context, Result};
use chrono::NaiveDate;
use sqlx::{Connection, PgConnection, Postgres, Transaction};

use super::issuer::{SAMPLE_CUSTOMER, SAMPLE_DEALER};

/// The sample dealer sells the sample customer one of the good units that nobody bought yet, three days ago: it is in
/// its 15 days, without a claim. Nothing, where this is not the sample data.
const SELL: &str = "
    INSERT INTO sales (serial, version, dealer_id, sold_on, invoice_number, warranty_card_number, region, customer_id,
                       recorded_at, recorded_by)
    SELECT u.serial, 1, d.dealer_id, $3::date - 3, 'FP' || u.serial, 'BX' || u.serial, 'CN-GD', c.customer_id,
           ($3::date - 3)::timestamp AT TIME ZONE 'Asia/Shanghai', current_setting('warranty.caller')
    FROM units u JOIN products p USING (model), dealers d, customers c
    WHERE d.dealer_id = $1 AND c.customer_id = $2
        AND u.sold_by_maker AND p.product_type <> 'OTHER' AND NOT p.discontinued
        AND u.manufactured_on BETWEEN '2010-01-01' AND $3::date - 4
        AND NOT EXISTS (SELECT FROM sales s WHERE s.serial = u.serial)
        AND NOT EXISTS (SELECT FROM replacements r WHERE u.serial IN (r.replaced_serial, r.replacement_serial))
        AND NOT EXISTS (SELECT FROM claims c WHERE u.serial IN (c.serial, c.swapped_for, c.outcome_serial))
    ORDER BY u.serial DESC LIMIT 1
    RETURNING serial";

/// Loads the sample data into a database that has no products yet; any other is left as it is.
pub async fn load(url: &str, today: NaiveDate) -> Result<()> {
    let mut connection = PgConnection::connect(url).await.context("cannot reach the database")?;
    let mut transaction = begin(&mut connection, today).await?;
    let empty: bool =
        sqlx::query_scalar("SELECT NOT EXISTS (SELECT FROM products)").fetch_one(&mut *transaction).await?;
    if empty {
        let loaded = sqlx::raw_sql(include_str!("sample.sql")).execute(&mut *transaction).await;
        loaded.context("cannot load the sample data")?;
    }
    transaction.commit().await?;
    if empty {
        // Without statistics the first plans over the new rows are poor.
        sqlx::query("ANALYZE").execute(&mut connection).await?;
    }
    Ok(())
}

/// Gives the serial of a unit sold three days ago, fit for a claim, where this is the sample data: for whoever tries the system.
pub async fn sell(url: &str, today: NaiveDate) -> Result<Option<String>> {
    let mut connection = PgConnection::connect(url).await.context("cannot reach the database")?;
    let mut transaction = begin(&mut connection, today).await?;
    let sold = sqlx::query_scalar(SELL).bind(SAMPLE_DEALER).bind(SAMPLE_CUSTOMER).bind(today);
    let serial = sold.fetch_optional(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(serial)
}

async fn begin(connection: &mut PgConnection, today: NaiveDate) -> Result<Transaction<'_, Postgres>> {
    let mut transaction = connection.begin().await?;
    sqlx::query("SELECT set_config('sample.today', $1, true), set_config('warranty.caller', 'staff/sample', true)")
        .bind(today.to_string())
        .execute(&mut *transaction)
        .await?;
    Ok(transaction)
}
