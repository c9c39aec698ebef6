//! A registry of any size, for measuring: units with sales, repairs and replacements, straight into the tables.

use std::time::Duration;

use anyhow::{Context, Result};
use chrono::NaiveDate;
use sqlx::{Connection, PgConnection};
use tokio::time::Instant;

use super::sample;

/// Units of one transaction: small enough to start over, large enough not to matter.
const CHUNK: u64 = 1_000_000;

/// What a seeded registry takes.
#[derive(Debug)]
pub struct Seeded {
    /// Units in the registry now.
    pub units: i64,
    /// Bytes of the registry's facts with their indexes, table by table.
    pub bytes: Vec<(String, i64)>,
    /// The seeding, without the VACUUM after it.
    pub took: Duration,
}

/// Sees that the registry at `url` (its owner's) has the seeded units 0 to `units` - 1, in transactions of a million, and
/// tells `progress` how many it has. The sample data comes first where there are no products. Safe to break off and to repeat.
pub async fn seed(url: &str, units: u64, today: NaiveDate, mut progress: impl FnMut(u64)) -> Result<Seeded> {
    sample::load(url, today).await?;
    let began = Instant::now();
    let mut connection = PgConnection::connect(url).await.context("cannot reach the database")?;
    for first in (0..units).step_by(CHUNK as usize) {
        let end = units.min(first + CHUNK);
        let mut transaction = connection.begin().await?;
        sqlx::query(
            "SELECT set_config('seed.first', $1, true), set_config('seed.end', $2, true), set_config('seed.today', $3, true),
                    set_config('warranty.caller', 'staff/seed', true), set_config('synchronous_commit', 'off', true),
                    set_config('work_mem', '256MB', true)",
        )
        .bind(first.to_string())
        .bind(end.to_string())
        .bind(today.to_string())
        .execute(&mut *transaction)
        .await?;
        let seeded = sqlx::raw_sql(include_str!("seed.sql")).execute(&mut *transaction).await;
        seeded.context("cannot seed the registry")?;
        transaction.commit().await?;
        progress(end);
    }
    let took = began.elapsed();
    // As it would be a day later: statistics there, and pages known to be visible to all.
    sqlx::raw_sql("VACUUM (ANALYZE) units, sales, repairs, replacements").execute(&mut connection).await?;
    let units = sqlx::query_scalar("SELECT count(*) FROM units").fetch_one(&mut connection).await?;
    let bytes = sqlx::query_as(
        "SELECT name, pg_total_relation_size(name::regclass) FROM unnest(ARRAY['units', 'sales', 'repairs', 'replacements']) name",
    );
    Ok(Seeded { units, bytes: bytes.fetch_all(&mut connection).await?, took })
}

/// Registers units that D1001 sold a hundred days ago and that have no claim; gives their serials.
pub async fn unclaimed(url: &str, units: u64, today: NaiveDate) -> Result<Vec<String>> {
    sample::load(url, today).await?;
    let mut connection = PgConnection::connect(url).await.context("cannot reach the database")?;
    let serials = sqlx::query_scalar(
        "WITH fresh AS (
             INSERT INTO units (serial, model, manufactured_on, ex_factory_on, sold_by_maker, recorded_at)
             SELECT 'BF' || upper(left(md5(clock::text), 8)) || lpad(i::text, 9, '0'), model, $2 - 160, $2 - 150, true, clock
               FROM generate_series(1, $1) i, (SELECT clock_timestamp() AS clock) moment,
                    (SELECT min(model) AS model FROM products WHERE product_type <> 'OTHER' AND NOT discontinued) known
             RETURNING serial, recorded_at),
         sold AS (
             INSERT INTO sales (serial, version, dealer_id, sold_on, invoice_number, customer_id, recorded_at, recorded_by)
             SELECT serial, 1, 'D1001', $2 - 100, 'FP' || serial, customers[1 + right(serial, 9)::int % cardinality(customers)], recorded_at,
                    'staff/seed'
               FROM fresh, (SELECT array_agg(customer_id) AS customers FROM (SELECT customer_id FROM customers LIMIT 1000) those) buyers
             RETURNING serial)
         SELECT serial FROM sold",
    );
    let serials = serials.bind(units.cast_signed()).bind(today).fetch_all(&mut connection).await?;
    sqlx::raw_sql("VACUUM (ANALYZE) units, sales").execute(&mut connection).await?;
    Ok(serials)
}
