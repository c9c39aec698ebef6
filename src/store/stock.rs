//! Units in stock. A row is a unit that is there; each change writes the movement that it rests on in the same statement.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::{
    error::{Error, Result},
    units,
};
use crate::domain::{
    actor::Actor,
    claim::{Claim, Outcome},
    refusal::Refusal,
    serial::Serial,
    stock::{Condition, HELD_NOT_SOLD, Known},
};

/// A place where units stand.
#[derive(Clone, Debug, FromRow)]
pub struct Location {
    /// Its short name.
    pub location: String,
    /// What people call it.
    pub name: String,
    /// Whether units that were replaced are put there.
    pub receives_replaced: bool,
}

/// A unit in stock.
#[derive(Clone, Debug, FromRow)]
pub struct StockUnit {
    /// Its serial.
    pub serial: String,
    /// Its model.
    pub model: String,
    /// Where it stands.
    pub location: String,
    /// What it is.
    pub condition: String,
    /// The number of its latest movement.
    pub number: i64,
    /// The claim that it is held for; the time may be over.
    pub held_for: Option<Uuid>,
    /// Until when.
    pub held_until: Option<DateTime<Utc>>,
}

impl StockUnit {
    /// What it is.
    pub fn condition(&self) -> Result<Condition> {
        self.condition.parse().map_err(Error::broken)
    }

    /// The claim that it is held for now, and until when.
    pub fn held_at(&self, now: DateTime<Utc>) -> Option<(Uuid, DateTime<Utc>)> {
        self.held_for.zip(self.held_until).filter(|(_, until)| *until > now)
    }
}

/// A movement.
#[derive(Clone, Debug, FromRow)]
#[allow(missing_docs)] // Each field is the column of the same name.
pub struct Movement {
    pub number: i64,
    pub from_location: Option<String>,
    pub from_condition: Option<String>,
    pub to_location: Option<String>,
    pub to_condition: Option<String>,
    pub reason: String,
    pub claim_id: Option<Uuid>,
    pub moved_at: DateTime<Utc>,
    pub moved_by: String,
}

/// How many units of a model a location has.
#[derive(Clone, Debug, Default, FromRow)]
#[allow(missing_docs)]
pub struct Level {
    pub model: String,
    pub location: String,
    pub new: i64,
    pub good: i64,
    pub faulty: i64,
    pub quarantine: i64,
    pub scrapped: i64,
    pub held: i64,
    pub minimum: i32,
}

/// Why a movement is made, for which claim, by whom and when.
#[derive(Clone, Copy, Debug)]
pub struct Why<'a> {
    /// In words.
    pub reason: &'a str,
    /// For which claim.
    pub claim: Option<Uuid>,
    /// By whom.
    pub actor: &'a Actor,
    /// When.
    pub now: DateTime<Utc>,
}

/// Adds or changes a location. Where it receives what is replaced, another does no longer.
pub async fn put_location(conn: &mut PgConnection, location: &Location) -> Result<()> {
    sqlx::query(
        "UPDATE stock_locations SET receives_replaced = false WHERE receives_replaced AND $2 AND location <> $1",
    )
    .bind(&location.location)
    .bind(location.receives_replaced)
    .execute(&mut *conn)
    .await?;
    let put = sqlx::query(
        "INSERT INTO stock_locations (location, name, receives_replaced) VALUES ($1, $2, $3)
         ON CONFLICT (location) DO UPDATE SET name = $2, receives_replaced = $3",
    );
    put.bind(&location.location).bind(&location.name).bind(location.receives_replaced).execute(conn).await?;
    Ok(())
}

/// Lists at most `limit` locations after one.
pub async fn locations(conn: &mut PgConnection, after: &str, limit: i64) -> Result<Vec<Location>> {
    let locations = sqlx::query_as(
        "SELECT location, name, receives_replaced FROM stock_locations WHERE location > $1 ORDER BY location LIMIT $2",
    );
    Ok(locations.bind(after).bind(limit).fetch_all(conn).await?)
}

/// Takes units into stock, all or none, where each may come like this (T4).
pub async fn receive(
    conn: &mut PgConnection,
    serials: &[Serial],
    location: &str,
    condition: Condition,
    why: Why<'_>,
) -> Result<Vec<StockUnit>> {
    units::lock(&mut *conn, &serials.iter().collect::<Vec<_>>()).await?;
    for (serial, there, known) in known(&mut *conn, serials).await? {
        let came = if there { Err("it is in stock") } else { condition.may_come(&known) };
        came.map_err(|rule| Refusal::StockRefused { serial, rule })?;
    }
    let came = enter(conn, serials, Some(location), condition, why).await?;
    // What another transaction put there meanwhile was left out: tried again, this one is told.
    if came.len() == serials.len() { Ok(came) } else { Err(Error::Contended) }
}

/// What is known of units that are held, and whether each is in stock, in the order of their serials.
async fn known(conn: &mut PgConnection, serials: &[Serial]) -> Result<Vec<(String, bool, Known)>> {
    type Row = (String, bool, bool, bool, bool, bool, Option<String>);
    let known: Vec<Row> = sqlx::query_as(
        "SELECT u.serial, unit_is_in_stock(u.serial), u.sold_by_maker, unit_is_free(u.serial), unit_was_replaced(u.serial),
                EXISTS (SELECT 1 FROM claims c WHERE c.serial = u.serial AND c.state NOT IN ('RESOLVED', 'REJECTED', 'CLOSED', 'CANCELLED')
                           AND coalesce(c.outcome, '') NOT IN ('REPLACED', 'REPLENISHMENT')),
                (SELECT m.from_condition FROM stock_movements m WHERE m.serial = u.serial ORDER BY m.number DESC LIMIT 1)
           FROM units u WHERE u.serial = ANY ($1) ORDER BY u.serial",
    )
    .bind(serials.iter().map(Serial::as_str).collect::<Vec<_>>())
    .fetch_all(conn)
    .await?;
    let known = known.into_iter().map(|(serial, there, sold_by_maker, free, replaced, claimed, last)| {
        let last = last.map(|last| last.parse().map_err(Error::broken)).transpose()?;
        Ok((serial, there, Known { sold_by_maker, free, replaced, claimed, last }))
    });
    known.collect()
}

/// Refuses to sell a unit that is held for a claim.
pub(super) async fn not_held(conn: &mut PgConnection, serial: &str, now: DateTime<Utc>) -> Result<()> {
    match held(conn, &[serial], now).await?.pop() {
        Some(serial) => Err(Refusal::StockRefused { serial, rule: HELD_NOT_SOLD }.into()),
        None => Ok(()),
    }
}

/// Which of these units are held for a claim, whoever asks.
pub(super) async fn held(conn: &mut PgConnection, serials: &[&str], now: DateTime<Utc>) -> Result<Vec<String>> {
    Ok(sqlx::query_scalar("SELECT held_in_stock($1, $2)").bind(serials).bind(now).fetch_all(conn).await?)
}

/// Puts units where none of them stands yet; without a location, where replaced ones are put, which may be nowhere.
async fn enter(
    conn: &mut PgConnection,
    serials: &[Serial],
    location: Option<&str>,
    condition: Condition,
    why: Why<'_>,
) -> Result<Vec<StockUnit>> {
    let came = sqlx::query_as(
        "WITH came AS (
             INSERT INTO stock_units (serial, model, location, condition, number)
             SELECT u.serial, u.model, place.location, $3,
                    1 + coalesce((SELECT max(m.number) FROM stock_movements m WHERE m.serial = u.serial), 0)
               FROM units u, (SELECT $2 AS location WHERE $2 IS NOT NULL UNION ALL
                              SELECT location FROM stock_locations WHERE receives_replaced AND $2 IS NULL) place
              WHERE u.serial = ANY ($1) ORDER BY u.serial
             ON CONFLICT (serial) DO NOTHING RETURNING *),
         moved AS (
             INSERT INTO stock_movements (serial, number, to_location, to_condition, reason, claim_id, moved_at, moved_by)
             SELECT serial, number, location, condition, $4, $5, $6, $7 FROM came)
         SELECT * FROM came ORDER BY serial",
    );
    let came = came.bind(serials.iter().map(Serial::as_str).collect::<Vec<_>>()).bind(location);
    let came = came.bind(condition.to_string()).bind(why.reason).bind(why.claim).bind(why.now);
    Ok(came.bind(why.actor.to_string()).fetch_all(conn).await?)
}

/// Puts a claim's unit into stock as FAULTY, once another one took its place, or the maker keeps it, and a location receives such
/// units.
pub async fn keep_replaced(conn: &mut PgConnection, claim: &Claim, actor: &Actor, now: DateTime<Utc>) -> Result<()> {
    if matches!(claim.outcome(), Some(Outcome::Replaced(_) | Outcome::Replenishment(_) | Outcome::Settled)) {
        let why = Why { reason: "another unit was given for it", claim: Some(claim.id), actor, now };
        enter(conn, std::slice::from_ref(&claim.filing.serial), None, Condition::Faulty, why).await?;
    }
    Ok(())
}

/// A unit in stock, held to the end of the transaction.
pub async fn lock(conn: &mut PgConnection, serial: &Serial) -> Result<Option<StockUnit>> {
    let unit = sqlx::query_as("SELECT * FROM stock_units WHERE serial = $1 FOR UPDATE");
    Ok(unit.bind(serial.as_str()).fetch_optional(conn).await?)
}

/// The unit, locked, and what is known of it. Its registered row is locked before it.
pub async fn lock_to_move(conn: &mut PgConnection, serial: &Serial) -> Result<(StockUnit, Known)> {
    units::lock(&mut *conn, &[serial]).await?;
    let unit = lock(&mut *conn, serial).await?.ok_or_else(|| Error::not_found("stock unit", serial))?;
    let known = known(conn, std::slice::from_ref(serial)).await?.pop();
    let (_, _, known) = known.ok_or_else(|| Error::broken("a unit that is locked went missing"))?;
    Ok((unit, known))
}

/// Moves a unit that is locked; where its holding ended it ends in the row as well.
pub async fn move_to(
    conn: &mut PgConnection,
    unit: &StockUnit,
    location: &str,
    condition: Condition,
    why: Why<'_>,
) -> Result<StockUnit> {
    let held = unit.held_at(why.now);
    let moved = sqlx::query_as(
        "WITH moved AS (
             INSERT INTO stock_movements (serial, number, from_location, from_condition, to_location, to_condition, reason, moved_at, moved_by)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9))
         UPDATE stock_units SET location = $5, condition = $6, number = $2, held_for = $10, held_until = $11
          WHERE serial = $1 RETURNING *",
    );
    let moved = moved.bind(&unit.serial).bind(unit.number + 1).bind(&unit.location).bind(&unit.condition);
    let moved = moved.bind(location).bind(condition.to_string()).bind(why.reason).bind(why.now);
    let moved = moved.bind(why.actor.to_string()).bind(held.map(|(claim, _)| claim)).bind(held.map(|(_, until)| until));
    Ok(moved.fetch_one(conn).await?)
}

/// Takes a unit out of stock where it stands there.
pub async fn take(conn: &mut PgConnection, serial: &str, why: Why<'_>) -> Result<()> {
    let taken = sqlx::query(
        "WITH gone AS (DELETE FROM stock_units WHERE serial = $1 RETURNING *)
         INSERT INTO stock_movements (serial, number, from_location, from_condition, reason, claim_id, moved_at, moved_by)
         SELECT serial, number + 1, location, condition, $3, $2, $4, $5 FROM gone",
    );
    let taken = taken.bind(serial).bind(why.claim).bind(why.reason).bind(why.now).bind(why.actor.to_string());
    taken.execute(conn).await?;
    Ok(())
}

/// What is held for a claim. A holding whose time is over ends.
pub async fn held_for(conn: &mut PgConnection, claim: Uuid, now: DateTime<Utc>) -> Result<Option<StockUnit>> {
    let held = sqlx::query_as(
        "WITH over AS (UPDATE stock_units SET held_for = NULL, held_until = NULL WHERE held_for = $1 AND held_until <= $2)
         SELECT * FROM stock_units WHERE held_for = $1 AND held_until > $2",
    );
    Ok(held.bind(claim).bind(now).fetch_optional(conn).await?)
}

/// Holds a unit of a model for a claim, if one is free that nobody else is just taking.
pub async fn hold(
    conn: &mut PgConnection,
    model: &str,
    claim: Uuid,
    until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Option<StockUnit>> {
    // Taken first, and only then asked whether it is unused: that costs most, and is asked of one unit instead of all that are
    // free. OFFSET 0 keeps the planner from asking it first.
    let held = sqlx::query_as(
        "UPDATE stock_units SET held_for = $2, held_until = $3
          WHERE serial = (SELECT serial FROM
                              (SELECT s.serial FROM stock_units s
                                WHERE s.model = $1 AND s.condition IN ('NEW', 'GOOD') AND (s.held_until IS NULL OR s.held_until <= $4)
                                ORDER BY s.held_until NULLS FIRST, s.serial OFFSET 0 FOR UPDATE SKIP LOCKED) free
                           WHERE unit_is_unused(serial) LIMIT 1)
         RETURNING *",
    );
    Ok(held.bind(model).bind(claim).bind(until).bind(now).fetch_optional(conn).await?)
}

/// Lets go what is held for a claim.
pub async fn release(conn: &mut PgConnection, claim: Uuid, now: DateTime<Utc>) -> Result<StockUnit> {
    let released = sqlx::query_as(
        "UPDATE stock_units SET held_for = NULL, held_until = NULL WHERE held_for = $1 AND held_until > $2 RETURNING *",
    );
    let released = released.bind(claim).bind(now).fetch_optional(conn).await?;
    released.ok_or_else(|| Error::not_found("allocation", claim))
}

/// Lets go what is held for claims that need no unit any more, whoever ended that. Part of `claims::advance`.
pub(super) async fn let_go(conn: &mut PgConnection, claims: &[Uuid]) -> Result<()> {
    sqlx::query("SELECT let_go_of_stock($1)").bind(claims).execute(conn).await?;
    Ok(())
}

/// Lets go at most `limit` units whose holding ended: how many there were. What somebody holds locked is left.
pub async fn release_lapsed(conn: &mut PgConnection, now: DateTime<Utc>, limit: i64) -> Result<u64> {
    let released = sqlx::query(
        "UPDATE stock_units SET held_for = NULL, held_until = NULL
          WHERE serial IN (SELECT serial FROM stock_units WHERE held_until <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED)",
    );
    Ok(released.bind(now).bind(limit).execute(conn).await?.rows_affected())
}

/// Which units to list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// In this location.
    pub location: Option<String>,
    /// Of this model.
    pub model: Option<String>,
    /// In this condition.
    pub condition: Option<Condition>,
}

/// Lists at most `limit` units after a serial.
pub async fn list(conn: &mut PgConnection, filter: &Filter, after: &str, limit: i64) -> Result<Vec<StockUnit>> {
    let units = sqlx::query_as(
        "SELECT * FROM stock_units WHERE ($1::text IS NULL OR location = $1) AND ($2::text IS NULL OR model = $2)
            AND ($3::text IS NULL OR condition = $3) AND serial > $4 ORDER BY serial LIMIT $5",
    );
    // Planned anew each time, by what was really asked for.
    let units = units.persistent(false).bind(&filter.location).bind(&filter.model);
    let units = units.bind(filter.condition.map(|condition| condition.to_string())).bind(after).bind(limit);
    Ok(units.fetch_all(conn).await?)
}

/// Lists at most `limit` movements of a unit after a number.
pub async fn movements(conn: &mut PgConnection, serial: &Serial, after: i64, limit: i64) -> Result<Vec<Movement>> {
    let movements = sqlx::query_as(
        "SELECT number, from_location, from_condition, to_location, to_condition, reason, claim_id, moved_at, moved_by
           FROM stock_movements WHERE serial = $1 AND number > $2 ORDER BY number LIMIT $3",
    );
    Ok(movements.bind(serial.as_str()).bind(after).bind(limit).fetch_all(conn).await?)
}

/// Says how many good units of a model a location should have; 0 asks for none.
pub async fn set_minimum(conn: &mut PgConnection, model: &str, location: &str, minimum: i32) -> Result<()> {
    let set = if minimum == 0 {
        sqlx::query("DELETE FROM stock_minimums WHERE model = $1 AND location = $2 AND $3 = 0")
    } else {
        sqlx::query(
            "INSERT INTO stock_minimums (model, location, minimum) VALUES ($1, $2, $3)
             ON CONFLICT (model, location) DO UPDATE SET minimum = $3",
        )
    };
    set.bind(model).bind(location).bind(minimum).execute(conn).await?;
    Ok(())
}

/// Lists at most `limit` levels after a model and location, low ones alone where asked; `only` is one of them.
pub async fn levels(
    conn: &mut PgConnection,
    after: (&str, &str),
    only: Option<(&str, &str)>,
    low: bool,
    limit: i64,
    now: DateTime<Utc>,
) -> Result<Vec<Level>> {
    let levels = sqlx::query_as(
        "SELECT model, location, coalesce(new, 0) AS new, coalesce(good, 0) AS good, coalesce(faulty, 0) AS faulty,
                coalesce(quarantine, 0) AS quarantine, coalesce(scrapped, 0) AS scrapped, coalesce(held, 0) AS held,
                coalesce(minimum, 0) AS minimum
           FROM (SELECT model, location, count(*) FILTER (WHERE condition = 'NEW') AS new,
                        count(*) FILTER (WHERE condition = 'GOOD') AS good, count(*) FILTER (WHERE condition = 'FAULTY') AS faulty,
                        count(*) FILTER (WHERE condition = 'QUARANTINE') AS quarantine,
                        count(*) FILTER (WHERE condition = 'SCRAPPED') AS scrapped, count(*) FILTER (WHERE held_until > $7) AS held
                   FROM stock_units WHERE (model, location) > ($1, $2) GROUP BY model, location) counted
           FULL JOIN stock_minimums USING (model, location)
          WHERE (model, location) > ($1, $2) AND ($3::text IS NULL OR (model, location) = ($3, $4))
            AND (NOT $5 OR coalesce(new + good - held, 0) < coalesce(minimum, 0))
          ORDER BY model, location LIMIT $6",
    );
    let levels = levels.bind(after.0).bind(after.1).bind(only.map(|only| only.0)).bind(only.map(|only| only.1));
    Ok(levels.bind(low).bind(limit).bind(now).fetch_all(conn).await?)
}

/// Puts a unit that was refurbished into stock as GOOD, under its new serial, where the old one stood, which is scrapped.
pub async fn refurbish(conn: &mut PgConnection, old: &StockUnit, new: &Serial, why: Why<'_>) -> Result<StockUnit> {
    move_to(&mut *conn, old, &old.location, Condition::Scrapped, why).await?;
    let came = enter(conn, std::slice::from_ref(new), Some(&old.location), Condition::Good, why).await?;
    came.into_iter().next().ok_or(Error::Contended)
}
