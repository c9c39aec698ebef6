//! Products and their equivalents (T3).

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, PgExecutor};

use super::error::{Error, Result};
use crate::domain::{actor::Actor, facts::ProductType};

/// A model in the catalogue.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
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

/// Adds a product.
pub async fn create(conn: &mut PgConnection, product: &Product) -> Result<()> {
    sqlx::query("INSERT INTO products (model, product_type, discontinued) VALUES ($1, $2, $3)")
        .bind(&product.model)
        .bind(product.product_type)
        .bind(product.discontinued)
        .execute(&mut *conn)
        .await?;
    insert_equivalents(conn, product).await
}

async fn insert_equivalents(conn: &mut PgConnection, product: &Product) -> Result<()> {
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

/// Changes a product, and keeps what stood before as history. Its type never changes.
pub async fn update(conn: &mut PgConnection, product: &Product, actor: &Actor, now: DateTime<Utc>) -> Result<()> {
    // Held: of two changes at once, the second keeps what the first made.
    sqlx::query("SELECT 1 FROM products WHERE model = $1 FOR NO KEY UPDATE")
        .bind(&product.model)
        .execute(&mut *conn)
        .await?;
    let before = get(&mut *conn, &product.model).await?;
    if before.product_type != product.product_type {
        return Err(Error::invalid(
            "product.product_type",
            format!("must be the registered one, {}", before.product_type),
        ));
    }
    if before == *product {
        return Ok(());
    }
    // `now` is read before the lock is won: what a change came upon held until the latest one recorded, and what held for no
    // time at all is not history.
    sqlx::query(
        "INSERT INTO product_versions (model, superseded_at, discontinued, equivalent_models, superseded_by)
         SELECT $1, greatest($2, max(superseded_at)), $3, $4, $5 FROM product_versions WHERE model = $1
         ON CONFLICT (model, superseded_at) DO NOTHING",
    )
    .bind(&product.model)
    .bind(now)
    .bind(before.discontinued)
    .bind(&before.equivalents)
    .bind(actor.to_string())
    .execute(&mut *conn)
    .await?;
    sqlx::query("UPDATE products SET discontinued = $2 WHERE model = $1")
        .bind(&product.model)
        .bind(product.discontinued)
        .execute(&mut *conn)
        .await?;
    sqlx::query("DELETE FROM product_equivalents WHERE model = $1").bind(&product.model).execute(&mut *conn).await?;
    insert_equivalents(conn, product).await
}

/// Gives one product.
pub async fn get(db: impl PgExecutor<'_>, model: &str) -> Result<Product> {
    let product = sqlx::query_as(
        "SELECT model, product_type, discontinued,
                ARRAY(SELECT equivalent_model FROM product_equivalents e WHERE e.model = p.model ORDER BY position) AS equivalents
           FROM products p WHERE model = $1",
    )
    .bind(model)
    .fetch_optional(db)
    .await?;
    product.ok_or_else(|| Error::not_found("product", model))
}

/// Lists at most `limit` products after a model.
pub async fn list(db: impl PgExecutor<'_>, after: &str, limit: i64) -> Result<Vec<Product>> {
    let products = sqlx::query_as(
        "SELECT model, product_type, discontinued,
                ARRAY(SELECT equivalent_model FROM product_equivalents e WHERE e.model = p.model ORDER BY position) AS equivalents
           FROM products p WHERE model > $1 ORDER BY model LIMIT $2",
    );
    Ok(products.bind(after).bind(limit).fetch_all(db).await?)
}
