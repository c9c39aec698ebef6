//! The facts that a decision reads, in one query: unit, lineage, sale, contract, repairs, and which policies there are.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::{FromRow, PgConnection, PgExecutor, Row as _, postgres::PgRow, types::Json};
use uuid::Uuid;

use super::error::{Error, Result};
use crate::domain::{
    facts::{Contract, Facts, RepairFacts, SaleFacts, UnitFacts},
    policy::ContractTerms,
    region::Region,
    serial::Serial,
};

/// A unit and what a decision reads of it.
#[derive(Clone, Debug)]
pub struct UnitToDecide {
    /// Its serial.
    pub serial: Serial,
    /// Its model.
    pub model: String,
    /// Whether a dealer promised anything for it (S6).
    pub has_promise: bool,
    /// The facts; `equivalents` where the model is discontinued, or the facts are read for a claim.
    pub facts: Facts,
    /// How many policies and calendars were published when it was read; -1 where it was read as known at a moment.
    pub stamp: i64,
}

/// Units by serial; several callers may be given the same one.
pub type Units = HashMap<String, Arc<UnitToDecide>>;

/// Of the units in `$1`, what stands with each, and which are to be asked about in full.
const STANDING: &str = "
    SELECT u.serial, u.model, u.has_promise, p.discontinued,
           CASE WHEN p.discontinued THEN
               ARRAY(SELECT e.equivalent_model FROM product_equivalents e WHERE e.model = u.model ORDER BY e.position) END,
           p.product_type, u.manufactured_on, u.ex_factory_on, u.sold_by_maker, u.sold_on, u.has_invoice, u.sale_region,
           (SELECT count(*) FROM policies) + (SELECT count(*) FROM calendar_years), pg_is_in_recovery() AND current_setting('warranty.replica', true) IS NULL,
           u.has_history OR u.contract_number IS NOT NULL
      FROM units u JOIN products p ON p.model = u.model
     WHERE u.serial = ANY ($1)";

/// Of the units in `$1`. `$2` is the claim being decided, whose own swap or replacement does not count.
///
/// A key that is null ends an index lookup before it begins: repairs, lineage and contract cost nothing where there are none.
/// A server in recovery was demoted, or is a replica: its answer may be older than what was acknowledged. Only who asks a replica
/// on purpose (`warranty.replica`) takes it.
const FACTS: &str = "
    SELECT u.serial, u.model, u.has_promise, p.discontinued,
           CASE WHEN p.discontinued OR $2 IS NOT NULL THEN
               ARRAY(SELECT e.equivalent_model FROM product_equivalents e WHERE e.model = u.model ORDER BY e.position)
           ELSE '{}' END,
           CASE WHEN o.serial IS NULL THEN p.product_type ELSE op.product_type END,
           coalesce(o.manufactured_on, u.manufactured_on), coalesce(o.ex_factory_on, u.ex_factory_on),
           coalesce(o.sold_by_maker, u.sold_by_maker),
           s.sold_on, s.has_invoice, s.region, c.contract_number, c.confirmed_on, c.revoked_on, c.terms,
           own_sale.sold_on, own_sale.has_invoice, own_sale.region,
           CASE WHEN u.has_history THEN
               (SELECT jsonb_agg(jsonb_build_object('completed_on', r.completed_on, 'received_on', r.received_on, 'paid', r.paid,
                                                    'fault', r.fault_code) ORDER BY r.completed_on, r.repair_id)
                  FROM repairs r LEFT JOIN replacements swap ON swap.replaced_serial = r.serial AND swap.claim_id = r.claim_id
                 WHERE NOT r.goodwill AND (swap.claim_id IS NULL OR r.serial = u.serial)
                   AND r.serial = ANY (u.serial || ARRAY(SELECT x.replaced_serial FROM replacements x
                       WHERE x.origin_serial = own.origin_serial AND x.generation <= own.generation))) END,
           successor.replacement_serial,
           (SELECT count(*) FROM policies) + (SELECT count(*) FROM calendar_years),
           pg_is_in_recovery() AND current_setting('warranty.replica', true) IS NULL
      FROM units u
      JOIN products p ON p.model = u.model
      LEFT JOIN replacements own ON own.replacement_serial = CASE WHEN u.has_history THEN u.serial END
      LEFT JOIN units o ON o.serial = own.origin_serial
      LEFT JOIN products op ON op.model = o.model
      LEFT JOIN sale_facts s ON s.serial = coalesce(own.origin_serial, u.serial)
      LEFT JOIN sale_facts own_sale ON own_sale.serial = own.replacement_serial
      LEFT JOIN contract_versions c ON c.contract_number = s.contract_number AND c.superseded_at = 'infinity'
      LEFT JOIN replacements successor ON successor.replaced_serial = CASE WHEN u.has_history THEN u.serial END
           AND ($2::uuid IS NULL OR successor.claim_id IS DISTINCT FROM $2)
     WHERE u.serial = ANY ($1)";

/// Of the units in `$1`, as they were known at `$2`: what was recorded later does not count.
const AS_KNOWN: &str = "
    WITH RECURSIVE asked AS (SELECT * FROM units WHERE serial = ANY ($1) AND recorded_at <= $2),
    lineage (asked, serial, steps) AS (
        SELECT serial, serial, 0 FROM asked
        UNION ALL
        SELECT l.asked, r.replaced_serial, l.steps + 1 FROM lineage l
          JOIN replacements r ON r.replacement_serial = l.serial AND r.recorded_at <= $2)
    SELECT u.serial, u.model, u.has_promise, coalesce(was.discontinued, p.discontinued),
           coalesce(was.equivalent_models, ARRAY(SELECT e.equivalent_model FROM product_equivalents e
                                                  WHERE e.model = u.model ORDER BY e.position)),
           op.product_type, o.manufactured_on, o.ex_factory_on, o.sold_by_maker,
           s.sold_on, s.invoice_number IS NOT NULL, s.region, c.contract_number, c.confirmed_on, c.revoked_on, c.terms,
           own_sale.sold_on, own_sale.invoice_number IS NOT NULL, own_sale.region,
           (SELECT jsonb_agg(jsonb_build_object('completed_on', r.completed_on, 'received_on', r.received_on, 'paid', r.paid,
                                                'fault', r.fault_code) ORDER BY r.completed_on, r.repair_id)
              FROM repairs r JOIN lineage l ON l.asked = u.serial AND l.serial = r.serial
              LEFT JOIN replacements swap ON swap.replaced_serial = r.serial AND swap.claim_id = r.claim_id AND swap.recorded_at <= $2
             WHERE NOT r.goodwill AND r.recorded_at <= $2 AND (swap.claim_id IS NULL OR r.serial = u.serial)),
           successor.replacement_serial, -1::bigint, pg_is_in_recovery()
      FROM asked u
      JOIN products p ON p.model = u.model
      JOIN LATERAL (SELECT l.serial FROM lineage l WHERE l.asked = u.serial ORDER BY l.steps DESC LIMIT 1) origin ON true
      JOIN units o ON o.serial = origin.serial
      JOIN products op ON op.model = o.model
      LEFT JOIN LATERAL (SELECT * FROM product_versions v WHERE v.model = u.model AND v.superseded_at > $2
                          ORDER BY v.superseded_at LIMIT 1) was ON true
      LEFT JOIN sales s ON s.serial = o.serial AND s.recorded_at <= $2 AND s.superseded_at > $2 AND NOT s.cancelled
      LEFT JOIN sales own_sale ON own_sale.serial = u.serial AND o.serial <> u.serial
           AND own_sale.recorded_at <= $2 AND own_sale.superseded_at > $2 AND NOT own_sale.cancelled
      LEFT JOIN contract_versions c ON c.contract_number = s.contract_number AND c.recorded_at <= $2 AND c.superseded_at > $2
      LEFT JOIN replacements successor ON successor.replaced_serial = u.serial AND successor.recorded_at <= $2";

/// Reads the facts of a unit. `for_claim` is the claim being decided: its own swap or replacement does not count.
pub async fn of_unit(conn: &mut PgConnection, serial: &Serial, for_claim: Option<Uuid>) -> Result<UnitToDecide> {
    let row: Option<UnitToDecide> =
        sqlx::query_as(FACTS).bind([serial.as_str()]).bind(for_claim).fetch_optional(conn).await?;
    row.ok_or_else(|| Error::not_found("unit", serial))
}

/// Reads the facts of many units, as of now: those that the registry knows, by serial. Few have a history or a contract, and
/// are asked about once more, in full: all that is told of a unit is of one statement.
pub async fn of_units(conn: &mut PgConnection, serials: &[&str]) -> Result<Units> {
    let (mut units, full) = standing(&mut *conn, serials).await?;
    if !full.is_empty() {
        let serials: Vec<&str> = full.iter().map(String::as_str).collect();
        units.extend(in_full(conn, &serials).await?);
    }
    Ok(units)
}

/// Reads the facts of those units that have neither history nor contract, and which others there are.
pub async fn standing(conn: &mut PgConnection, serials: &[&str]) -> Result<(Units, HashSet<String>)> {
    let rows = sqlx::query(STANDING).bind(serials).fetch_all(conn).await?;
    let (mut units, mut in_full) = (Units::with_capacity(rows.len()), HashSet::new());
    for row in &rows {
        if row.try_get(14)? {
            in_full.insert(row.try_get(0)?);
        } else {
            let unit = UnitToDecide::standing(row, 12)?;
            units.insert(unit.serial.to_string(), Arc::new(unit));
        }
    }
    Ok((units, in_full))
}

/// Reads the facts of many units with all that ever happened to them.
pub async fn in_full(conn: &mut PgConnection, serials: &[&str]) -> Result<Units> {
    let rows: Vec<UnitToDecide> = sqlx::query_as(FACTS).bind(serials).bind(None::<Uuid>).fetch_all(conn).await?;
    Ok(rows.into_iter().map(|unit| (unit.serial.to_string(), Arc::new(unit))).collect())
}

/// Reads the facts of many units as they were known at a moment. The stamp is none: the policies are those of then, too.
pub async fn as_known(db: impl PgExecutor<'_>, serials: &[&str], known_at: DateTime<Utc>) -> Result<Units> {
    let rows: Vec<UnitToDecide> = sqlx::query_as(AS_KNOWN).bind(serials).bind(known_at).fetch_all(db).await?;
    Ok(rows.into_iter().map(|unit| (unit.serial.to_string(), Arc::new(unit))).collect())
}

/// Which of these models have a unit in stock that may be given (T4) and is held for nobody.
pub async fn in_stock(conn: &mut PgConnection, models: &[&str]) -> Result<HashSet<String>> {
    let models: Vec<String> = sqlx::query_scalar("SELECT models_in_stock($1)").bind(models).fetch_all(conn).await?;
    Ok(models.into_iter().collect())
}

impl UnitToDecide {
    /// A unit by what stands with it: the columns that all queries begin with, and stamp and recovery at `stamp`.
    fn standing(row: &PgRow, stamp: usize) -> sqlx::Result<Self> {
        if row.try_get(stamp + 1)? {
            return Err(sqlx::Error::Protocol("the server is in recovery".to_owned()));
        }
        let (serial, product_type): (&str, &str) = (row.try_get(0)?, row.try_get(5)?);
        let original = UnitFacts {
            product_type: product_type.parse().map_err(|error| invalid(&error))?,
            manufactured_on: row.try_get(6)?,
            ex_factory_on: row.try_get(7)?,
            sold_by_maker: row.try_get(8)?,
        };
        Ok(Self {
            serial: Serial::parse(serial).map_err(|error| invalid(&error))?,
            model: row.try_get(1)?,
            has_promise: row.try_get(2)?,
            facts: Facts {
                original,
                discontinued: row.try_get(3)?,
                equivalents: row.try_get::<Option<_>, _>(4)?.unwrap_or_default(),
                sale: sale(row, 9)?,
                contract: None,
                repairs: Vec::new(),
                superseded_by: None,
                own_sale: None,
            },
            stamp: row.try_get(stamp)?,
        })
    }
}

impl<'r> FromRow<'r, PgRow> for UnitToDecide {
    fn from_row(row: &'r PgRow) -> sqlx::Result<Self> {
        let mut unit = Self::standing(row, 21)?;
        if let Some(number) = row.try_get(12)? {
            let terms: Json<ContractTerms> = row.try_get(15)?;
            let (confirmed_on, revoked_on): (Option<NaiveDate>, _) = (row.try_get(13)?, row.try_get(14)?);
            unit.facts.contract = Some(Contract { number, confirmed_on, revoked_on, terms: terms.0 });
        }
        unit.facts.own_sale = sale(row, 16)?;
        let repairs: Option<Json<Vec<RepairFacts>>> = row.try_get(19)?;
        unit.facts.repairs = repairs.map(|Json(repairs)| repairs).unwrap_or_default();
        let successor: Option<&str> = row.try_get(20)?;
        unit.facts.superseded_by = successor.map(Serial::parse).transpose().map_err(|error| invalid(&error))?;
        Ok(unit)
    }
}

/// The sale in the three columns from `at` on.
fn sale(row: &PgRow, at: usize) -> sqlx::Result<Option<SaleFacts>> {
    let Some(sold_on) = row.try_get(at)? else { return Ok(None) };
    let region: Option<&str> = row.try_get(at + 2)?;
    let region = region.map(Region::parse).transpose().map_err(|error| invalid(&error))?;
    Ok(Some(SaleFacts { sold_on, invoice: row.try_get(at + 1)?, region }))
}

fn invalid(error: &dyn std::fmt::Display) -> sqlx::Error {
    sqlx::Error::Decode(error.to_string().into())
}
