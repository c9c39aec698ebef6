//! Reports, each one statement over what claims and units tell.

use chrono::{DateTime, Days, NaiveDate, Utc};
use sqlx::{FromRow, PgConnection};

use super::error::Result;
use crate::domain::{claim::StateName, period::end_of_day, report::ReportBy};

/// What to count.
#[derive(Clone, Debug)]
pub struct Asked {
    /// By what.
    pub by: ReportBy,
    /// The first day.
    pub first: NaiveDate,
    /// The last.
    pub last: NaiveDate,
    /// Only of this model.
    pub model: Option<String>,
    /// After this group, and this state of it where a group has several rows.
    pub after: Option<(String, String)>,
    /// How many rows.
    pub limit: i64,
}

impl Asked {
    /// The moment before the period, and its last.
    fn moments(&self) -> (DateTime<Utc>, DateTime<Utc>) {
        (end_of_day(self.first - Days::new(1)), end_of_day(self.last))
    }

    fn after(&self) -> (Option<&str>, &str) {
        self.after.as_ref().map_or((None, ""), |(group, state)| (Some(group), state))
    }
}

/// How long claims of a group were in a state, in seconds.
#[derive(Clone, Debug, FromRow)]
#[allow(missing_docs)] // As the contract says of the same fields.
pub struct Turnaround {
    pub name: String,
    pub state: StateName,
    pub left_count: i64,
    pub mean: i64,
    pub p50: i64,
    pub p90: i64,
    pub longest: i64,
    pub open_count: i64,
    pub oldest: i64,
}

/// Some of all, of one group.
#[derive(Clone, Debug, FromRow)]
pub struct Share {
    /// The group.
    pub name: String,
    /// How many of them.
    pub part: i64,
    /// Of how many.
    pub whole: i64,
}

/// Stays in each state that ended in the period, and the claims that are in it now.
pub async fn turnaround(conn: &mut PgConnection, asked: &Asked, now: DateTime<Utc>) -> Result<Vec<Turnaround>> {
    let ((from, to), (after, state)) = (asked.moments(), asked.after());
    let rows = sqlx::query_as(
        "WITH touched AS (SELECT DISTINCT claim_id FROM claim_events WHERE recorded_at > $1 AND recorded_at <= $2),
              changes AS (
             SELECT claim_id, sequence, state, recorded_at, lag(state) OVER (PARTITION BY claim_id ORDER BY sequence) AS before
               FROM claim_events JOIN touched USING (claim_id)),
              stays AS (
             SELECT claim_id, state, recorded_at AS entered_at, lead(recorded_at) OVER (PARTITION BY claim_id ORDER BY sequence) AS left_at
               FROM changes WHERE before IS DISTINCT FROM state),
              spans AS (
             SELECT claim_id, state, extract(epoch FROM greatest(left_at - entered_at, interval '0')) AS stayed, NULL::numeric AS stands
               FROM stays WHERE left_at > $1 AND left_at <= $2
             UNION ALL
             -- Since the first event of those that left it there: claims.entered_at begins anew with a new quote, or an appeal.
             SELECT claim_id, state, NULL, extract(epoch FROM greatest($3::timestamptz - e.recorded_at, interval '0'))
               FROM claims c CROSS JOIN LATERAL (
                   SELECT recorded_at FROM claim_events e WHERE e.claim_id = c.claim_id AND e.sequence > coalesce(
                       (SELECT max(b.sequence) FROM claim_events b WHERE b.claim_id = c.claim_id AND b.state <> c.state), 0)
                    ORDER BY e.sequence LIMIT 1) e
              WHERE state NOT IN ('RESOLVED', 'REJECTED', 'CLOSED', 'CANCELLED')),
              named AS (
             SELECT CASE $4 WHEN 'MODEL' THEN u.model WHEN 'DEALER' THEN coalesce(c.dealer_id, '') ELSE coalesce(i.depot, '') END
                        COLLATE \"C\" AS name, s.state COLLATE \"C\" AS state, stayed, stands
               FROM spans s JOIN claims c USING (claim_id) JOIN units u ON u.serial = c.serial
               LEFT JOIN shipment_items i ON i.shipment_id = c.inbound_shipment_id AND i.claim_id = c.claim_id
              WHERE $5::text IS NULL OR u.model = $5)
         SELECT name, state, count(stayed) AS left_count, coalesce(avg(stayed), 0)::bigint AS mean,
                coalesce(percentile_disc(0.5) WITHIN GROUP (ORDER BY stayed), 0)::bigint AS p50,
                coalesce(percentile_disc(0.9) WITHIN GROUP (ORDER BY stayed), 0)::bigint AS p90,
                coalesce(max(stayed), 0)::bigint AS longest, count(stands) AS open_count, coalesce(max(stands), 0)::bigint AS oldest
           FROM named WHERE $6::text IS NULL OR (name, state) > ($6, $7) GROUP BY name, state ORDER BY name, state LIMIT $8",
    );
    let rows = rows.persistent(false).bind(from).bind(to).bind(now).bind(asked.by.to_string()).bind(&asked.model);
    Ok(rows.bind(after).bind(state).bind(asked.limit).fetch_all(conn).await?)
}

/// Of the units sold by the last day, those that an inspection in the period found faulty without a finding of X.
pub async fn failures(conn: &mut PgConnection, asked: &Asked) -> Result<Vec<Share>> {
    let ((from, to), (after, _)) = (asked.moments(), asked.after());
    let rows = sqlx::query_as(
        "WITH failed AS (
             SELECT DISTINCT c.serial FROM claim_events e JOIN claims c USING (claim_id)
              WHERE e.recorded_at > $1 AND e.recorded_at <= $2 AND e.facts->>'type' = 'INSPECTED'
                AND NOT (e.facts->>'no_fault_found')::boolean AND e.facts->'findings' = '[]'),
              -- Of a page's models alone are the units counted, however many others there are.
              models AS MATERIALIZED (
             SELECT model FROM products p
              WHERE ($5::text IS NULL OR model = $5) AND ($3 <> 'MODEL' OR $6::text IS NULL OR model COLLATE \"C\" > $6)
                AND EXISTS (SELECT 1 FROM units u WHERE u.model = p.model AND u.sold_on <= $4)
              ORDER BY model COLLATE \"C\" LIMIT $7),
              named AS (
             SELECT CASE $3 WHEN 'MODEL' THEN u.model WHEN 'LOT' THEN coalesce(u.lot, '') ELSE to_char(u.ex_factory_on, 'YYYY-MM') END
                        COLLATE \"C\" AS name, f.serial IS NOT NULL AS failed
               FROM models JOIN units u USING (model) LEFT JOIN failed f USING (serial) WHERE u.sold_on <= $4)
         SELECT name, count(*) FILTER (WHERE failed) AS part, count(*) AS whole
           FROM named WHERE $6::text IS NULL OR name > $6 GROUP BY name ORDER BY name LIMIT $7",
    );
    let rows =
        rows.persistent(false).bind(from).bind(to).bind(asked.by.to_string()).bind(asked.last).bind(&asked.model);
    Ok(rows.bind(after).bind(asked.limit).fetch_all(conn).await?)
}

/// Inspections in the period that found no fault, of all.
pub async fn no_fault_found(conn: &mut PgConnection, asked: &Asked) -> Result<Vec<Share>> {
    let ((from, to), (after, _)) = (asked.moments(), asked.after());
    let rows = sqlx::query_as(
        "WITH named AS (
             SELECT CASE $3 WHEN 'DEALER' THEN coalesce(c.dealer_id, '') ELSE u.model END COLLATE \"C\" AS name,
                    (e.facts->>'no_fault_found')::boolean AS none
               FROM claim_events e JOIN claims c USING (claim_id) JOIN units u ON u.serial = c.serial
              WHERE e.recorded_at > $1 AND e.recorded_at <= $2 AND e.facts->>'type' = 'INSPECTED'
                AND ($4::text IS NULL OR u.model = $4))
         SELECT name, count(*) FILTER (WHERE none) AS part, count(*) AS whole
           FROM named WHERE $5::text IS NULL OR name > $5 GROUP BY name ORDER BY name LIMIT $6",
    );
    let rows = rows.persistent(false).bind(from).bind(to).bind(asked.by.to_string()).bind(&asked.model);
    Ok(rows.bind(after).bind(asked.limit).fetch_all(conn).await?)
}
