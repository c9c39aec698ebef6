//! Units, and what is known of one that someone wants to give.

use std::collections::HashSet;

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use sqlx::{FromRow, PgConnection, PgExecutor, types::Json};
use uuid::Uuid;

use super::{
    error::{Error, Result},
    stock,
};
use crate::domain::{claim_steps::UnitToGive, refusal::Refusal, serial::Serial};

/// One physical product as registered.
#[derive(Clone, Debug, PartialEq, Eq, FromRow, Serialize)]
#[allow(missing_docs)] // Each field is the column of the same name.
pub struct Unit {
    pub serial: String,
    pub model: String,
    pub lot: Option<String>,
    pub manufactured_on: NaiveDate,
    pub ex_factory_on: NaiveDate,
    pub sold_by_maker: bool,
    pub refurbished_from: Option<String>,
}

/// Registers units, all or none, and says how many are new. One registered before must have the same facts.
pub async fn register(conn: &mut PgConnection, units: &[Unit], now: DateTime<Utc>) -> Result<u64> {
    // Sorted, so that two calls with the same units in another order wait for each other and do not lock each other out.
    let mut units: Vec<&Unit> = units.iter().collect();
    units.sort_by(|a, b| a.serial.cmp(&b.serial));
    let new = sqlx::query(
        "INSERT INTO units (serial, model, lot, manufactured_on, ex_factory_on, sold_by_maker, refurbished_from, recorded_at)
         SELECT serial, model, lot, manufactured_on, ex_factory_on, sold_by_maker, refurbished_from, $2
           FROM jsonb_populate_recordset(NULL::units, $1)
         ON CONFLICT (serial) DO NOTHING",
    )
    .bind(Json(&units))
    .bind(now)
    .execute(&mut *conn)
    .await?
    .rows_affected();
    let serials: Vec<&str> = units.iter().map(|unit| unit.serial.as_str()).collect();
    let registered = of_serials(conn, &serials).await?;
    match registered.iter().zip(units).find(|(there, given)| *there != *given) {
        Some((there, _)) => {
            Err(Refusal::RegistryConflict(format!("unit {} is registered with other facts", there.serial)).into())
        }
        None => Ok(new),
    }
}

/// Those of these units that there are, by serial.
pub(super) async fn of_serials(conn: &mut PgConnection, serials: &[&str]) -> Result<Vec<Unit>> {
    let units = sqlx::query_as(
        "SELECT serial, model, lot, manufactured_on, ex_factory_on, sold_by_maker, refurbished_from
           FROM units WHERE serial = ANY ($1) ORDER BY serial",
    );
    Ok(units.bind(serials).fetch_all(conn).await?)
}

/// Gives one unit.
pub async fn get(conn: &mut PgConnection, serial: &Serial) -> Result<Unit> {
    match of_serials(&mut *conn, &[serial.as_str()]).await?.pop() {
        Some(unit) => Ok(unit),
        None => Err(unknown(conn, serial).await),
    }
}

/// For each serial that no unit has, those of units that differ from it by characters that people mix up: the nearest first,
/// at most five. One query for all.
pub async fn near(db: impl PgExecutor<'_>, missing: &[Serial]) -> Result<Vec<Vec<String>>> {
    let candidates: Vec<Vec<Serial>> = missing.iter().map(Serial::near_misses).collect();
    let asked: Vec<&str> = candidates.iter().flatten().map(Serial::as_str).collect();
    let there =
        sqlx::query_scalar("SELECT serial FROM units WHERE serial = ANY ($1)").bind(asked).fetch_all(db).await?;
    let there: HashSet<String> = there.into_iter().collect();
    let nearest =
        |of_one: Vec<Serial>| of_one.into_iter().map(String::from).filter(|near| there.contains(near)).take(5);
    Ok(candidates.into_iter().map(|of_one| nearest(of_one).collect()).collect())
}

/// The error for a serial that no unit has, with those it may have been meant to be.
pub async fn unknown(conn: &mut PgConnection, serial: &Serial) -> Error {
    match near(conn, std::slice::from_ref(serial)).await {
        Ok(found) => Error::NotFound { kind: "unit", name: serial.to_string(), suggestions: found.concat() },
        Err(error) => error,
    }
}

/// A unit that a transaction holds.
#[derive(Clone, Debug, FromRow)]
pub struct Held {
    /// Its serial.
    pub serial: String,
    /// Its model.
    pub model: String,
    /// The day it was made.
    pub manufactured_on: NaiveDate,
}

/// Holds those of these units that there are to the end of the transaction: a sale, a swap and a replacement of the same unit come
/// one after the other.
pub(super) async fn hold(conn: &mut PgConnection, serials: &[&str]) -> Result<Vec<Held>> {
    let held = sqlx::query_as(
        "SELECT serial, model, manufactured_on FROM units WHERE serial = ANY ($1) ORDER BY serial FOR NO KEY UPDATE",
    );
    Ok(held.bind(serials).fetch_all(conn).await?)
}

/// Holds these units, all of which there must be.
pub async fn lock(conn: &mut PgConnection, serials: &[&Serial]) -> Result<Vec<Held>> {
    let names: Vec<&str> = serials.iter().map(|serial| serial.as_str()).collect();
    let held = hold(&mut *conn, &names).await?;
    match serials.iter().find(|serial| !held.iter().any(|unit| unit.serial == serial.as_str())) {
        Some(missing) => Err(unknown(conn, missing).await),
        None => Ok(held),
    }
}

/// Holds a unit and all that took its place, whose claims rest on its sale (T5). Gives the unit, and the serials of all.
pub async fn lock_lineage(conn: &mut PgConnection, serial: &Serial) -> Result<(Held, Vec<String>)> {
    let held: Vec<Held> = sqlx::query_as(
        "SELECT serial, model, manufactured_on FROM units
          WHERE serial = ANY ($1::text || ARRAY(SELECT replacement_serial FROM replacements WHERE origin_serial = $1))
          ORDER BY serial FOR NO KEY UPDATE",
    )
    .bind(serial.as_str())
    .fetch_all(&mut *conn)
    .await?;
    let serials = held.iter().map(|unit| unit.serial.clone()).collect();
    match held.into_iter().find(|unit| unit.serial == serial.as_str()) {
        Some(unit) => Ok((unit, serials)),
        None => Err(unknown(conn, serial).await),
    }
}

#[derive(FromRow)]
struct ToGive {
    model: String,
    sold_by_maker: bool,
    has_sale: bool,
    given_before: bool,
    replaced_before: bool,
    has_open_claim: bool,
    in_stock: bool,
}

/// What is known of a unit that someone wants to give for a claim. `lock` it first: where it is in stock, it is held there as well.
pub async fn to_give(conn: &mut PgConnection, serial: &Serial, claim: Uuid, now: DateTime<Utc>) -> Result<UnitToGive> {
    // Read by the statement that locks it: what another transaction wrote meanwhile is seen.
    let shelf = stock::lock(&mut *conn, serial).await?;
    let condition = shelf.as_ref().map(stock::StockUnit::condition).transpose()?;
    let held = shelf.as_ref().and_then(|unit| unit.held_at(now));
    let row: Option<ToGive> = sqlx::query_as(
        "SELECT model, sold_by_maker,
                EXISTS (SELECT 1 FROM sale_facts s WHERE s.serial = u.serial) AS has_sale,
                EXISTS (SELECT 1 FROM replacements r WHERE r.replacement_serial = u.serial) OR unit_was_promised(u.serial) AS given_before,
                EXISTS (SELECT 1 FROM replacements r WHERE r.replaced_serial = u.serial) AS replaced_before,
                unit_has_open_claim(u.serial) AS has_open_claim, unit_is_in_stock(u.serial) AS in_stock
           FROM units u WHERE u.serial = $1",
    )
    .bind(serial.as_str())
    .fetch_optional(conn)
    .await?;
    let row = row.ok_or_else(|| Error::not_found("unit", serial))?;
    Ok(UnitToGive {
        serial: serial.clone(),
        model: row.model,
        sold_by_maker: row.sold_by_maker,
        has_sale: row.has_sale,
        given_before: row.given_before,
        replaced_before: row.replaced_before,
        has_open_claim: row.has_open_claim,
        in_stock: row.in_stock,
        not_good: condition.is_some_and(|condition| !condition.may_be_given()),
        held_for_another: held.is_some_and(|(other, _)| other != claim),
    })
}

/// Whether one of these units has an open claim, whoever filed it.
pub async fn has_open_claim(conn: &mut PgConnection, serials: &[&str]) -> Result<bool> {
    let open =
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM unnest($1::text[]) serial WHERE unit_has_open_claim(serial))");
    Ok(open.bind(serials).fetch_one(conn).await?)
}

/// Whether a unit was given under a claim.
pub async fn was_promised(conn: &mut PgConnection, serial: &str) -> Result<bool> {
    let (promised,): (bool,) = sqlx::query_as("SELECT unit_was_promised($1)").bind(serial).fetch_one(conn).await?;
    Ok(promised)
}
