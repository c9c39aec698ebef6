//! Products and their equivalents (T3).

use sqlx::{FromRow, PgConnection, PgExecutor};

use super::error::{Error, Result};
use crate::domain::facts::ProductType;

/// A model in the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    /// Its name.
    pub model: String,
    /// S1.
    pub product_type: ProductType,
    /// T3.
    pub discontinued: bool,
    /// In order of preference.
    pub equivalents: Vec<String>,
}

#[derive(FromRow)]
struct Row {
    model: String,
    product_type: String,
    discontinued: bool,
    equivalents: Vec<String>,
}

impl TryFrom<Row> for Product {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let product_type = row.product_type.parse().map_err(Error::broken)?;
        Ok(Self { model: row.model, product_type, discontinued: row.discontinued, equivalents: row.equivalents })
    }
}

/// Adds a product.
pub async fn create(conn: &mut PgConnection, product: &Product) -> Result<()> {
    sqlx::query("INSERT INTO products (model, product_type, discontinued) VALUES ($1, $2, $3)")
        .bind(&product.model)
        .bind(product.product_type.to_string())
        .bind(product.discontinued)
        .execute(&mut *conn)
        .await?;
    sqlx::query(
        "INSERT INTO product_equivalents (model, position, equivalent_model)
         SELECT $1, position, model FROM unnest($2::text[]) WITH ORDINALITY AS given (model, position)",
    )
    .bind(&product.model)
    .bind(&product.equivalents)
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives one product.
pub async fn get(db: impl PgExecutor<'_>, model: &str) -> Result<Product> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT model, product_type, discontinued,
                ARRAY(SELECT equivalent_model FROM product_equivalents e WHERE e.model = p.model ORDER BY position) AS equivalents
           FROM products p WHERE model = $1",
    )
    .bind(model)
    .fetch_optional(db)
    .await?;
    row.ok_or_else(|| Error::not_found("product", model))?.try_into()
}

/// Lists at most `limit` products after a model.
pub async fn list(db: impl PgExecutor<'_>, after: &str, limit: i64) -> Result<Vec<Product>> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT model, product_type, discontinued,
                ARRAY(SELECT equivalent_model FROM product_equivalents e WHERE e.model = p.model ORDER BY position) AS equivalents
           FROM products p WHERE model > $1 ORDER BY model LIMIT $2",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(db)
    .await?;
    rows.into_iter().map(Product::try_from).collect()
}
