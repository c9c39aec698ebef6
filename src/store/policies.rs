//! Published policy versions and calendars. A row never changes, and none is ever deleted.

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, PgExecutor, types::Json};

use super::error::{Error, Result};
use crate::domain::{
    actor::Actor,
    calendar::{Calendar, CalendarYear, STANDARD_CALENDAR},
    policy::{Policies, Policy, STANDARD_POLICY},
};

/// The published policies, and the stamp that tells whether they are still all.
#[derive(Clone, Debug)]
pub struct Rulebook {
    /// Every version, with the calendar.
    pub policies: Arc<Policies>,
    /// How many versions and calendar years there are. Rows are only ever added: as long as this is the same, so are they.
    pub stamp: i64,
}

/// A version as published.
#[derive(Clone, Debug, FromRow)]
pub struct Published {
    /// The version.
    #[sqlx(json)]
    pub body: Policy,
    /// When; none for the first, which came with the system.
    pub published_at: Option<DateTime<Utc>>,
    /// Who.
    pub published_by: Option<String>,
}

/// Publishes what comes with the system, once: the maker's commitment as the first version, and the calendars that are missing.
/// A published version never changes: another text under its name is an error, not an update.
pub async fn publish_standard(conn: &mut PgConnection) -> anyhow::Result<()> {
    let policy: Policy = serde_json::from_str(STANDARD_POLICY)?;
    sqlx::query(
        "INSERT INTO policies (version, effective_on, body) VALUES ($1, $2, $3) ON CONFLICT (version) DO NOTHING",
    )
    .bind(&policy.version)
    .bind(policy.effective_on)
    .bind(Json(&policy))
    .execute(&mut *conn)
    .await?;
    let calendar: Calendar = serde_json::from_str(STANDARD_CALENDAR)?;
    for (year, days) in calendar.years() {
        publish_year(&mut *conn, year, days, None).await?;
    }
    let published = published(conn, None).await?.policies;
    let same = published.named(&policy.version) == Some(&policy);
    anyhow::ensure!(
        same,
        "policy {} is published with another content: give the change a version of its own",
        policy.version
    );
    Ok(())
}

#[derive(FromRow)]
struct Row {
    versions: Vec<Json<Policy>>,
    years: Json<BTreeMap<i32, CalendarYear>>,
    stamp: i64,
}

/// Every published version and calendar year with their stamp, in one statement; with `known_at` only what was published by then.
pub async fn published(db: impl PgExecutor<'_>, known_at: Option<DateTime<Utc>>) -> Result<Rulebook> {
    let row: Row = sqlx::query_as(
        "SELECT ARRAY(SELECT body FROM policies WHERE $1::timestamptz IS NULL OR published_at IS NULL OR published_at <= $1) AS versions,
                (SELECT coalesce(jsonb_object_agg(year, jsonb_build_object('holidays', holidays, 'workdays', workdays)), '{}')
                   FROM calendar_years WHERE $1::timestamptz IS NULL OR published_at IS NULL OR published_at <= $1) AS years,
                (SELECT count(*) FROM policies) + (SELECT count(*) FROM calendar_years) AS stamp",
    )
    .bind(known_at)
    .fetch_one(db)
    .await?;
    let versions = row.versions.into_iter().map(|Json(policy)| policy).collect();
    let policies = Policies::new(versions, Calendar::new(row.years.0)).map_err(Error::broken)?;
    Ok(Rulebook { policies: Arc::new(policies), stamp: row.stamp })
}

/// The stamp of what is published now. Another query may read it as a column beside its own, as here.
pub async fn stamp(db: impl PgExecutor<'_>) -> Result<i64> {
    let stamp = sqlx::query_scalar("SELECT (SELECT count(*) FROM policies) + (SELECT count(*) FROM calendar_years)");
    Ok(stamp.fetch_one(db).await?)
}

/// Publishes a version. Its name and its date are its own.
pub async fn publish(conn: &mut PgConnection, policy: Policy, actor: &Actor, now: DateTime<Utc>) -> Result<Published> {
    let published = Published { body: policy, published_at: Some(now), published_by: Some(actor.to_string()) };
    sqlx::query(
        "INSERT INTO policies (version, effective_on, body, published_at, published_by) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(&published.body.version)
    .bind(published.body.effective_on)
    .bind(Json(&published.body))
    .bind(published.published_at)
    .bind(&published.published_by)
    .execute(conn)
    .await?;
    Ok(published)
}

/// Every version by effective date.
pub async fn list(db: impl PgExecutor<'_>) -> Result<Vec<Published>> {
    let versions = sqlx::query_as("SELECT body, published_at, published_by FROM policies ORDER BY effective_on");
    Ok(versions.fetch_all(db).await?)
}

/// Publishes a year's calendar where none is published yet; one that came with the system has no author. Gives whether there was none.
pub async fn publish_year(
    conn: &mut PgConnection,
    year: i32,
    days: &CalendarYear,
    by: Option<(&Actor, DateTime<Utc>)>,
) -> Result<bool> {
    let inserted = sqlx::query(
        "INSERT INTO calendar_years (year, holidays, workdays, published_at, published_by) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (year) DO NOTHING",
    )
    .bind(year)
    .bind(days.holidays.iter().collect::<Vec<_>>())
    .bind(days.workdays.iter().collect::<Vec<_>>())
    .bind(by.map(|(_, now)| now))
    .bind(by.map(|(actor, _)| actor.to_string()))
    .execute(conn)
    .await?;
    Ok(inserted.rows_affected() == 1)
}
