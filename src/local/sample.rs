//! Sample data: five dealers, four thousand units, their sales over six years.

use anyhow::{Context, Result};
use chrono::NaiveDate;
use sqlx::{Connection, PgConnection, Postgres, Transaction};

use super::issuer::{SAMPLE_CUSTOMER, SAMPLE_DEALER};

/// A unit that the sample dealer sold to the sample customer lately, fit for a claim.
const CLAIMABLE: &str = "
    SELECT s.serial FROM sales s JOIN units u USING (serial) JOIN products p USING (model)
    WHERE s.superseded_at = 'infinity' AND s.dealer_id = $1 AND s.customer_id = $2
        AND s.sold_on BETWEEN $3::date - 9 AND $3::date AND s.invoice_number IS NOT NULL AND s.region = 'CN-GD'
        AND s.contract_number IS NULL AND u.sold_by_maker AND p.product_type <> 'OTHER'
        AND NOT EXISTS (SELECT FROM replacements r WHERE s.serial IN (r.replaced_serial, r.replacement_serial))
        AND NOT EXISTS (SELECT FROM claims c WHERE c.serial = s.serial)
    ORDER BY s.sold_on, s.serial LIMIT 1";

/// Sells three of the good units that nobody bought yet, three days ago.
const SELL: &str = "
    INSERT INTO sales (serial, version, dealer_id, sold_on, invoice_number, warranty_card_number, region, customer_id,
                       recorded_at, recorded_by)
    SELECT u.serial, 1, $1, $3::date - 3, 'FP' || u.serial, 'BX' || u.serial, 'CN-GD', $2,
           ($3::date - 3)::timestamp AT TIME ZONE 'Asia/Shanghai', current_setting('warranty.caller')
    FROM units u JOIN products p USING (model)
    WHERE u.sold_by_maker AND p.product_type <> 'OTHER' AND NOT p.discontinued
        AND u.manufactured_on BETWEEN '2010-01-01' AND $3::date - 4
        AND NOT EXISTS (SELECT FROM sales s WHERE s.serial = u.serial)
        AND NOT EXISTS (SELECT FROM replacements r WHERE u.serial IN (r.replaced_serial, r.replacement_serial))
        AND NOT EXISTS (SELECT FROM claims c WHERE u.serial IN (c.serial, c.swapped_for, c.outcome_serial))
    ORDER BY u.serial DESC LIMIT 3";

/// Loads the sample data into a database that has no products yet; any other is left as it is.
/// Gives the serial of a unit in its 15 days without a claim, where this is the sample data.
pub async fn load(url: &str, today: NaiveDate) -> Result<Option<String>> {
    let mut connection = PgConnection::connect(url).await.context("cannot reach the database")?;
    let mut transaction = connection.begin().await?;
    sqlx::query("SELECT set_config('sample.today', $1, true), set_config('warranty.caller', 'staff/sample', true)")
        .bind(today.to_string())
        .execute(&mut *transaction)
        .await?;
    let empty: bool =
        sqlx::query_scalar("SELECT NOT EXISTS (SELECT FROM products)").fetch_one(&mut *transaction).await?;
    if empty {
        sqlx::raw_sql(include_str!("sample.sql"))
            .execute(&mut *transaction)
            .await
            .context("cannot load the sample data")?;
    }
    let serial = claimable(&mut transaction, today).await?;
    transaction.commit().await?;
    if empty {
        // Without statistics the first plans over the new rows are poor.
        sqlx::query("ANALYZE").execute(&mut connection).await?;
    }
    Ok(serial)
}

async fn claimable(transaction: &mut Transaction<'_, Postgres>, today: NaiveDate) -> Result<Option<String>> {
    let is_sample: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM dealers WHERE dealer_id = $1) AND EXISTS (SELECT FROM customers WHERE customer_id = $2)",
    )
    .bind(SAMPLE_DEALER)
    .bind(SAMPLE_CUSTOMER)
    .fetch_one(&mut **transaction)
    .await?;
    if !is_sample {
        return Ok(None);
    }
    let find = || sqlx::query_scalar::<_, String>(CLAIMABLE).bind(SAMPLE_DEALER).bind(SAMPLE_CUSTOMER).bind(today);
    if let Some(serial) = find().fetch_optional(&mut **transaction).await? {
        return Ok(Some(serial));
    }
    sqlx::query(SELL).bind(SAMPLE_DEALER).bind(SAMPLE_CUSTOMER).bind(today).execute(&mut **transaction).await?;
    Ok(find().fetch_optional(&mut **transaction).await?)
}
