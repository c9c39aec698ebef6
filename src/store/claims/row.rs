//! A claim's row: written from the claim, and read back as one.

use sqlx::{
    FromRow, PgConnection, Postgres, Row,
    postgres::{PgArguments, PgRow},
    query::Query,
    types::Json,
};
use uuid::Uuid;

use super::columns;
use crate::{
    domain::{
        actor::Actor,
        claim::{Appeal, Charge, Claim, Goodwill, Outcome, OutcomeName, State, StateName, VoucherDispute},
        event::{Filing, Vouchers},
        facts::Told,
        money::Fen,
        serial::Serial,
    },
    store::error::Result,
};

impl<'r> FromRow<'r, PgRow> for Claim {
    fn from_row(row: &'r PgRow) -> sqlx::Result<Self> {
        let (total, vat): (Option<_>, Option<_>) = (row.try_get("charge_fen")?, row.try_get("charge_vat_fen")?);
        Ok(Self {
            id: row.try_get("claim_id")?,
            filing: filing(row)?,
            state: state(row)?,
            guidance: row.try_get("guidance")?,
            reason: row.try_get("reason")?,
            return_number: row.try_get("return_number")?,
            swapped_for: row.try_get("swapped_for")?,
            inbound: row.try_get("inbound_shipment_id")?,
            seal: row.try_get("seal")?,
            no_fault_found: row.try_get("no_fault_found")?,
            findings: row.try_get::<Vec<_>, _>("findings")?.into_iter().collect(),
            remedy: row.try_get("remedy")?,
            decided: row.try_get("decided")?,
            outbound: row.try_get("outbound_shipment_id")?,
            entered_at: row.try_get("entered_at")?,
            symptoms: row.try_get("symptoms")?,
            quote: row.try_get("quote_id")?,
            charge: total.zip(vat).map(|(total, vat)| Charge { total: Fen(total), vat: Fen(vat) }),
            paid: row.try_get("paid")?,
            appeal: appeal(row)?,
            goodwill: goodwill(row)?,
            version: row.try_get("version")?,
        })
    }
}

fn filing(row: &PgRow) -> sqlx::Result<Filing> {
    let customer_id = row.try_get("customer_id")?;
    let dealer: Option<String> = row.try_get("dealer_id")?;
    let Json(targets) = row.try_get("targets")?;
    Ok(Filing {
        serial: row.try_get("serial")?,
        applicant: dealer.map_or(Actor::Customer(customer_id), Actor::Dealer),
        customer_id,
        told: Told {
            part: row.try_get("part")?,
            fault: row.try_get("fault_code")?,
            performance_fault: row.try_get("performance_fault")?,
            appearance: row.try_get("appearance")?,
            power_supply_damage: row.try_get("power_supply_damage")?,
            region_of_use: row.try_get("region_of_use")?,
        },
        vouchers: Vouchers {
            invoice_number: row.try_get("invoice_number")?,
            warranty_card_number: row.try_get("warranty_card_number")?,
            invoice_date: row.try_get("invoice_on")?,
        },
        voucher_verified: row.try_get("voucher_verified")?,
        filed_at: row.try_get("filed_at")?,
        reported_on: row.try_get("reported_on")?,
        targets,
        dispute: dispute(row)?,
    })
}

fn state(row: &PgRow) -> sqlx::Result<State> {
    let outcome = || outcome(row)?.ok_or_else(|| missing("outcome"));
    Ok(match row.try_get("state")? {
        StateName::Filed => State::Filed,
        StateName::Resolved => State::Resolved,
        StateName::Rejected => State::Rejected,
        StateName::Authorized => State::Authorized,
        StateName::Swapped => State::Swapped,
        StateName::InTransit => State::InTransit,
        StateName::Received => State::Received,
        StateName::Inspected => State::Inspected,
        StateName::InRepair => State::InRepair,
        StateName::Ready => State::Ready(outcome()?),
        StateName::Dispatched => State::Dispatched(outcome()?),
        StateName::Closed => State::Closed(outcome()?),
        StateName::Cancelled => State::Cancelled,
        StateName::Lost => State::Lost(self::outcome(row)?),
        StateName::Quoted => {
            State::Quoted(row.try_get::<Option<_>, _>("quote_id")?.ok_or_else(|| missing("quote_id"))?)
        }
    })
}

fn dispute(row: &PgRow) -> sqlx::Result<Option<VoucherDispute>> {
    let (given_on, registered_on): (Option<_>, Option<_>) =
        (row.try_get("dispute_given_on")?, row.try_get("dispute_registered_on")?);
    let (by_seller, verdict) = (row.try_get("dispute_by_seller")?, row.try_get("dispute_verdict")?);
    let days = given_on.zip(registered_on);
    Ok(days.map(|(given_on, registered_on)| VoucherDispute { given_on, registered_on, by_seller, verdict }))
}

fn appeal(row: &PgRow) -> sqlx::Result<Option<Appeal>> {
    let (outcome, why): (Option<_>, Option<_>) =
        (row.try_get("appeal_outcome")?, row.try_get("appeal_outcome_reason")?);
    let reason: Option<_> = row.try_get("appeal_reason")?;
    Ok(reason.map(|reason| Appeal { reason, decided: outcome.zip(why) }))
}

fn goodwill(row: &PgRow) -> sqlx::Result<Option<Goodwill>> {
    let (remedy, cost): (Option<_>, Option<_>) = (row.try_get("goodwill_remedy")?, row.try_get("goodwill_cost_fen")?);
    Ok(remedy.zip(cost).map(|(remedy, cost)| Goodwill { remedy, cost: Fen(cost) }))
}

fn outcome(row: &PgRow) -> sqlx::Result<Option<Outcome>> {
    let given: Option<Serial> = row.try_get("outcome_serial")?;
    let outcome = row.try_get::<Option<_>, _>("outcome")?.map(|name| match name {
        OutcomeName::Repaired => Ok(Outcome::Repaired),
        OutcomeName::Accessory => Ok(Outcome::Accessory),
        OutcomeName::AsItCame => Ok(Outcome::AsItCame),
        OutcomeName::Lost => Ok(Outcome::Lost),
        OutcomeName::Settled => Ok(Outcome::Settled),
        OutcomeName::Replenishment => Ok(Outcome::Replenishment(given)),
        OutcomeName::Replaced => given.map(Outcome::Replaced).ok_or_else(|| missing("outcome_serial")),
    });
    outcome.transpose()
}

/// A column that the claim's state needs.
fn missing(column: &str) -> sqlx::Error {
    sqlx::Error::Decode(format!("claims.{column} is missing").into())
}

/// The claims of these ids that are the caller's, by id so that two who hold several wait for each other in order.
pub(super) async fn by_ids(conn: &mut PgConnection, actor: &Actor, ids: &[Uuid], hold: bool) -> Result<Vec<Claim>> {
    const READ: &str = "SELECT * FROM claims WHERE claim_id = ANY ($1)
        AND ($2::text IS NULL OR dealer_id = $2) AND ($3::uuid IS NULL OR customer_id = $3) ORDER BY claim_id";
    const HOLD: &str = "SELECT * FROM claims WHERE claim_id = ANY ($1)
        AND ($2::text IS NULL OR dealer_id = $2) AND ($3::uuid IS NULL OR customer_id = $3) ORDER BY claim_id FOR NO KEY UPDATE";
    let claims = sqlx::query_as(if hold { HOLD } else { READ });
    Ok(claims.bind(ids).bind(actor.dealer_id()).bind(actor.customer_id()).fetch_all(conn).await?)
}

/// The columns of a claim as filed, and its values: from $13 on, where those of its event are the first twelve.
macro_rules! insert_claim {
    () => {
        "INSERT INTO claims (claim_id, serial, dealer_id, customer_id, part, fault_code, performance_fault, appearance,
             power_supply_damage, region_of_use, invoice_number, warranty_card_number, voucher_verified, filed_at, reported_on,
             state, no_fault_found, findings, remedy, decided, version, entered_at, due_on, targets, invoice_on, dispute_given_on,
             dispute_registered_on, dispute_by_seller)
         VALUES ($1, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $5, $25, $4, false, '{}', $8, $26, $2, $5, $27, $28,
             $29, $30, $31, $32)"
    };
}
pub(super) use insert_claim;

/// Binds those values.
pub(super) fn bind<'q>(query: Query<'q, Postgres, PgArguments>, claim: &'q Claim) -> Query<'q, Postgres, PgArguments> {
    let filing = &claim.filing;
    query
        .bind(&filing.serial)
        .bind(filing.applicant.dealer_id())
        .bind(filing.customer_id)
        .bind(filing.told.part)
        .bind(&filing.told.fault)
        .bind(filing.told.performance_fault)
        .bind(filing.told.appearance)
        .bind(filing.told.power_supply_damage)
        .bind(&filing.told.region_of_use)
        .bind(&filing.vouchers.invoice_number)
        .bind(&filing.vouchers.warranty_card_number)
        .bind(filing.voucher_verified)
        .bind(filing.reported_on)
        .bind(claim.decided)
        .bind(claim.due_on())
        .bind(Json(filing.targets))
        .bind(filing.vouchers.invoice_date)
        .bind(filing.dispute.map(|dispute| dispute.given_on))
        .bind(filing.dispute.map(|dispute| dispute.registered_on))
        .bind(filing.dispute.is_some_and(|dispute| dispute.by_seller))
}

/// Writes claims as they stand, in one statement.
pub(super) async fn update(conn: &mut PgConnection, claims: &[Claim]) -> Result<()> {
    sqlx::query(
        "UPDATE claims c SET part = n.part, fault_code = n.fault_code, performance_fault = n.performance_fault, appearance = n.appearance,
             power_supply_damage = n.power_supply_damage, region_of_use = n.region_of_use, reported_on = n.reported_on, state = n.state,
             guidance = n.guidance, reason = n.reason, return_number = n.return_number, swapped_for = n.swapped_for,
             inbound_shipment_id = n.inbound_shipment_id, seal = n.seal, no_fault_found = n.no_fault_found, findings = n.findings,
             remedy = n.remedy, decided = n.decided, outcome = n.outcome, outcome_serial = n.outcome_serial,
             outbound_shipment_id = n.outbound_shipment_id, version = n.version, entered_at = n.entered_at, due_on = n.due_on,
             dispute_verdict = n.dispute_verdict, symptoms = n.symptoms, quote_id = n.quote_id, charge_fen = n.charge_fen,
             charge_vat_fen = n.charge_vat_fen, paid = n.paid, appeal_reason = n.appeal_reason, appeal_outcome = n.appeal_outcome,
             appeal_outcome_reason = n.appeal_outcome_reason, goodwill_remedy = n.goodwill_remedy, goodwill_cost_fen = n.goodwill_cost_fen
           FROM jsonb_populate_recordset(NULL::claims, $1) n WHERE c.claim_id = n.claim_id",
    )
    .bind(Json(claims.iter().map(columns).collect::<Vec<_>>()))
    .execute(conn)
    .await?;
    Ok(())
}
