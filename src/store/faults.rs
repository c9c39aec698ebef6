//! The fault catalogue.

use sqlx::{FromRow, PgConnection, PgExecutor};

use super::error::Result;
use crate::domain::{facts::ProductType, serial::Serial};

/// A fault of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Fault {
    /// Capitals, digits and underscores.
    #[sqlx(rename = "fault_code")]
    pub code: String,
    /// In Chinese.
    pub chinese: String,
    /// In English.
    pub english: String,
    /// For which types of product; all where empty.
    pub product_types: Vec<ProductType>,
}

/// Lists at most `limit` faults after a code: those that a type of product may have, where one is given.
pub async fn list(
    db: impl PgExecutor<'_>,
    product_type: Option<ProductType>,
    after: &str,
    limit: i64,
) -> Result<Vec<Fault>> {
    let faults = sqlx::query_as(
        "SELECT fault_code, chinese, english, product_types FROM faults
          WHERE fault_code > $1 AND ($2::text IS NULL OR product_types = '{}' OR $2 = ANY (product_types)) ORDER BY fault_code LIMIT $3",
    );
    Ok(faults.bind(after).bind(product_type).bind(limit).fetch_all(db).await?)
}

/// Adds a fault, or changes its texts and products.
pub async fn put(conn: &mut PgConnection, fault: &Fault) -> Result<()> {
    sqlx::query(
        "INSERT INTO faults (fault_code, chinese, english, product_types) VALUES ($1, $2, $3, $4)
         ON CONFLICT (fault_code) DO UPDATE SET chinese = $2, english = $3, product_types = $4",
    )
    .bind(&fault.code)
    .bind(&fault.chinese)
    .bind(&fault.english)
    .bind(&fault.product_types)
    .execute(conn)
    .await?;
    Ok(())
}

/// Which of these codes the catalogue does not have for the unit's product: their places in the list.
pub async fn unfit(conn: &mut PgConnection, serial: &Serial, codes: &[String]) -> Result<Vec<i64>> {
    let unfit = sqlx::query_scalar(
        "SELECT at - 1 FROM unnest($2::text[]) WITH ORDINALITY AS told (code, at)
          WHERE NOT EXISTS (SELECT 1 FROM faults f JOIN units u ON u.serial = $1 JOIN products p ON p.model = u.model
                             WHERE f.fault_code = told.code AND (f.product_types = '{}' OR p.product_type = ANY (f.product_types)))
          ORDER BY at",
    );
    Ok(unfit.bind(serial.as_str()).bind(codes).fetch_all(conn).await?)
}
