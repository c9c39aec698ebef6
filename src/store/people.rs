//! Customers, and their personal data in its one table.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::{
    error::{Error, Result},
    evidence,
};
use crate::domain::actor::Actor;

/// Personal data. It has no Debug of its own that would print it.
#[derive(Clone, PartialEq, Eq, FromRow)]
pub struct Person {
    /// Name.
    pub name: Option<String>,
    /// Telephone number.
    pub telephone: Option<String>,
    /// Postal address.
    pub address: Option<String>,
}

impl std::fmt::Debug for Person {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Person(..)")
    }
}

/// A customer as a caller names one.
#[derive(Clone, Debug)]
pub enum NamedCustomer {
    /// One that the caller knows.
    Known(Uuid),
    /// A new one, under a fresh id.
    New(Uuid, Person),
}

/// The customer's id; a new one is made, a known one must be one that the caller may see.
pub async fn customer(conn: &mut PgConnection, actor: &Actor, named: &NamedCustomer) -> Result<Uuid> {
    match named {
        NamedCustomer::Known(id) => {
            let (visible,): (bool,) = sqlx::query_as(
                "SELECT EXISTS (SELECT 1 FROM customers WHERE customer_id = $1 AND ($2 OR customer_known_to($1, $3)))",
            )
            .bind(id)
            .bind(actor.is_staff())
            .bind(actor.to_string())
            .fetch_one(conn)
            .await?;
            if visible { Ok(*id) } else { Err(Error::not_found("customer", id)) }
        }
        NamedCustomer::New(id, person) => {
            ensure(conn, actor, *id).await?;
            sqlx::query("INSERT INTO people (customer_id, name, telephone, address) VALUES ($1, $2, $3, $4)")
                .bind(id)
                .bind(&person.name)
                .bind(&person.telephone)
                .bind(&person.address)
                .execute(conn)
                .await?;
            Ok(*id)
        }
    }
}

/// A customer's row, by number alone; made where it is missing, as for a customer who comes with a token (M2).
pub async fn ensure(conn: &mut PgConnection, actor: &Actor, id: Uuid) -> Result<()> {
    sqlx::query("INSERT INTO customers (customer_id, created_by) VALUES ($1, $2) ON CONFLICT (customer_id) DO NOTHING")
        .bind(id)
        .bind(actor.to_string())
        .execute(conn)
        .await?;
    Ok(())
}

/// Erases a customer's personal data, the addresses given for parcels with his claims alone, and what his claims' scans and photos
/// show; the numbers stay with the facts.
/// Gives when it was erased first.
pub async fn erase(conn: &mut PgConnection, id: Uuid, now: DateTime<Utc>) -> Result<DateTime<Utc>> {
    let erased_at: Option<DateTime<Utc>> = sqlx::query_scalar(
        "UPDATE customers SET erased_at = coalesce(erased_at, $2) WHERE customer_id = $1 RETURNING erased_at",
    )
    .bind(id)
    .bind(now)
    .fetch_optional(&mut *conn)
    .await?;
    sqlx::query(
        "DELETE FROM people WHERE customer_id = $1 OR customer_id IN (
             SELECT s.recipient_id FROM claims c JOIN shipment_items i USING (claim_id) JOIN shipments s USING (shipment_id)
              WHERE c.customer_id = $1
                AND NOT EXISTS (SELECT 1 FROM shipment_items o JOIN claims oc USING (claim_id)
                                 WHERE o.shipment_id = s.shipment_id AND oc.customer_id <> $1)
                AND NOT EXISTS (SELECT 1 FROM claims own WHERE own.customer_id = s.recipient_id)
                AND NOT EXISTS (SELECT 1 FROM sales own WHERE own.customer_id = s.recipient_id))",
    )
    .bind(id)
    .execute(&mut *conn)
    .await?;
    evidence::erase(conn, id, now).await?;
    erased_at.ok_or_else(|| Error::not_found("customer", id))
}

/// The personal data of a customer, where the caller may see it: row-level security decides.
pub async fn person(conn: &mut PgConnection, id: Uuid) -> Result<Option<Person>> {
    Ok(sqlx::query_as("SELECT name, telephone, address FROM people WHERE customer_id = $1")
        .bind(id)
        .fetch_optional(conn)
        .await?)
}
