//! The facts that a decision reads, in one query: unit, lineage, sale, contract, repairs.

use chrono::NaiveDate;
use sqlx::{FromRow, PgExecutor, types::Json};
use uuid::Uuid;

use super::error::{Error, Result};
use crate::domain::{
    facts::{Contract, Facts, RepairFacts, SaleFacts, UnitFacts},
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
    /// The facts; `equivalents` are the model's whether it is discontinued or not.
    pub facts: Facts,
}

#[derive(FromRow)]
struct Row {
    serial: String,
    model: String,
    discontinued: bool,
    equivalents: Vec<String>,
    product_type: String,
    manufactured_on: NaiveDate,
    ex_factory_on: NaiveDate,
    sold_by_maker: bool,
    sold_on: Option<NaiveDate>,
    has_invoice: Option<bool>,
    region: Option<String>,
    contract: Option<Json<Contract>>,
    repairs: Json<Vec<RepairFacts>>,
    superseded_by: Option<String>,
}

/// Reads the facts of a unit. `for_claim` is the claim being decided: its own swap or replacement does not count.
pub async fn of_unit(db: impl PgExecutor<'_>, serial: &Serial, for_claim: Option<Uuid>) -> Result<UnitToDecide> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT u.serial, u.model, p.discontinued,
                ARRAY(SELECT e.equivalent_model FROM product_equivalents e WHERE e.model = u.model ORDER BY e.position) AS equivalents,
                op.product_type, o.manufactured_on, o.ex_factory_on, o.sold_by_maker, s.sold_on, s.has_invoice, s.region,
                CASE WHEN c.contract_number IS NOT NULL THEN jsonb_build_object('number', c.contract_number,
                    'confirmed_on', c.confirmed_on, 'revoked_on', c.revoked_on, 'terms', c.terms) END AS contract,
                (SELECT coalesce(jsonb_agg(jsonb_build_object('received_on', r.received_on, 'completed_on', r.completed_on,
                                                              'paid', r.paid, 'fault', r.fault_code)
                                           ORDER BY r.completed_on, r.repair_id), '[]')
                   FROM repairs r LEFT JOIN replacements swap ON swap.replaced_serial = r.serial AND swap.claim_id = r.claim_id
                  WHERE (swap.claim_id IS NULL OR r.serial = u.serial) AND r.serial = ANY (u.serial || ARRAY(SELECT x.replaced_serial FROM replacements x
                        WHERE x.origin_serial = own.origin_serial AND x.generation <= own.generation))) AS repairs,
                successor.replacement_serial AS superseded_by
           FROM units u
           JOIN products p ON p.model = u.model
           LEFT JOIN replacements own ON own.replacement_serial = u.serial
           JOIN units o ON o.serial = coalesce(own.origin_serial, u.serial)
           JOIN products op ON op.model = o.model
           LEFT JOIN sale_facts s ON s.serial = o.serial
           LEFT JOIN contract_versions c ON c.contract_number = s.contract_number AND c.superseded_at = 'infinity'
           LEFT JOIN replacements successor ON successor.replaced_serial = u.serial
                AND ($2::uuid IS NULL OR successor.claim_id IS DISTINCT FROM $2)
          WHERE u.serial = $1",
    )
    .bind(serial.as_str())
    .bind(for_claim)
    .fetch_optional(db)
    .await?;
    row.ok_or_else(|| Error::not_found("unit", serial))?.try_into()
}

impl TryFrom<Row> for UnitToDecide {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let region = row.region.as_deref().map(Region::parse).transpose().map_err(Error::broken)?;
        let sale = row.sold_on.map(|sold_on| SaleFacts { sold_on, invoice: row.has_invoice.unwrap_or(false), region });
        let original = UnitFacts {
            product_type: row.product_type.parse().map_err(Error::broken)?,
            manufactured_on: row.manufactured_on,
            ex_factory_on: row.ex_factory_on,
            sold_by_maker: row.sold_by_maker,
        };
        let superseded_by = row.superseded_by.as_deref().map(Serial::parse).transpose().map_err(Error::broken)?;
        Ok(Self {
            serial: Serial::parse(&row.serial).map_err(Error::broken)?,
            model: row.model,
            facts: Facts {
                original,
                discontinued: row.discontinued,
                equivalents: row.equivalents,
                models_in_stock: Vec::new(),
                sale,
                own_sale: None,
                contract: row.contract.map(|Json(contract)| contract),
                repairs: row.repairs.0,
                superseded_by,
            },
        })
    }
}
