//! A claim's row: written from the claim, read back in one `TryFrom`.

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::{FromRow, PgConnection, Postgres, postgres::PgArguments, query::Query, types::Json};
use uuid::Uuid;

use super::columns;
use crate::{
    domain::{
        actor::Actor,
        claim::{
            Appeal, AppealOutcome, Charge, Claim, Goodwill, Guidance, Outcome, OutcomeName, Seal, State, StateName,
            VoucherDispute, VoucherVerdict,
        },
        clause::Clause,
        coverage::Remedy,
        event::{Filing, Stage, Vouchers},
        facts::{Appearance, Part, Told},
        money::Fen,
        next::Targets,
        region::Region,
        return_number::ReturnNumber,
        serial::Serial,
    },
    store::error::{Error, Result},
};

#[derive(FromRow)]
pub(super) struct Row {
    claim_id: Uuid,
    serial: Serial,
    dealer_id: Option<String>,
    customer_id: Uuid,
    part: Option<Part>,
    fault_code: Option<String>,
    performance_fault: Option<bool>,
    appearance: Option<Appearance>,
    power_supply_damage: Option<bool>,
    region_of_use: Option<Region>,
    invoice_number: Option<String>,
    warranty_card_number: Option<String>,
    voucher_verified: bool,
    filed_at: DateTime<Utc>,
    reported_on: NaiveDate,
    state: StateName,
    guidance: Option<Guidance>,
    reason: Option<String>,
    return_number: Option<ReturnNumber>,
    swapped_for: Option<Serial>,
    inbound_shipment_id: Option<Uuid>,
    seal: Option<Seal>,
    no_fault_found: bool,
    findings: Vec<Clause>,
    remedy: Remedy,
    decided: Stage,
    outcome: Option<OutcomeName>,
    outcome_serial: Option<Serial>,
    outbound_shipment_id: Option<Uuid>,
    version: i64,
    entered_at: DateTime<Utc>,
    #[sqlx(json)]
    targets: Targets,
    invoice_on: Option<NaiveDate>,
    dispute_given_on: Option<NaiveDate>,
    dispute_registered_on: Option<NaiveDate>,
    dispute_by_seller: bool,
    dispute_verdict: Option<VoucherVerdict>,
    symptoms: Vec<String>,
    quote_id: Option<Uuid>,
    charge_fen: Option<i64>,
    charge_vat_fen: Option<i64>,
    paid: bool,
    appeal_reason: Option<String>,
    appeal_outcome: Option<AppealOutcome>,
    appeal_outcome_reason: Option<String>,
    goodwill_remedy: Option<Remedy>,
    goodwill_cost_fen: Option<i64>,
}

impl TryFrom<Row> for Claim {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let (state, dispute, appeal, goodwill) = (row.state()?, row.dispute(), row.appeal(), row.goodwill());
        let charge = row.charge_fen.zip(row.charge_vat_fen);
        let told = Told {
            part: row.part,
            fault: row.fault_code,
            performance_fault: row.performance_fault,
            appearance: row.appearance,
            power_supply_damage: row.power_supply_damage,
            region_of_use: row.region_of_use,
        };
        let filing = Filing {
            serial: row.serial,
            applicant: row.dealer_id.map_or(Actor::Customer(row.customer_id), Actor::Dealer),
            customer_id: row.customer_id,
            told,
            vouchers: Vouchers {
                invoice_number: row.invoice_number,
                warranty_card_number: row.warranty_card_number,
                invoice_date: row.invoice_on,
            },
            voucher_verified: row.voucher_verified,
            filed_at: row.filed_at,
            reported_on: row.reported_on,
            targets: row.targets,
            dispute,
        };
        Ok(Self {
            id: row.claim_id,
            filing,
            state,
            guidance: row.guidance,
            reason: row.reason,
            return_number: row.return_number,
            swapped_for: row.swapped_for,
            inbound: row.inbound_shipment_id,
            seal: row.seal,
            no_fault_found: row.no_fault_found,
            findings: row.findings.into_iter().collect(),
            remedy: row.remedy,
            decided: row.decided,
            outbound: row.outbound_shipment_id,
            entered_at: row.entered_at,
            symptoms: row.symptoms,
            quote: row.quote_id,
            charge: charge.map(|(total, vat)| Charge { total: Fen(total), vat: Fen(vat) }),
            paid: row.paid,
            appeal,
            goodwill,
            version: row.version,
        })
    }
}

impl Row {
    fn state(&self) -> Result<State> {
        let outcome = || self.outcome()?.ok_or_else(|| Error::broken("claims.outcome is missing"));
        Ok(match self.state {
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
            StateName::Lost => State::Lost(self.outcome()?),
            StateName::Quoted => {
                State::Quoted(self.quote_id.ok_or_else(|| Error::broken("claims.quote_id is missing"))?)
            }
        })
    }

    fn dispute(&self) -> Option<VoucherDispute> {
        let (by_seller, verdict) = (self.dispute_by_seller, self.dispute_verdict);
        let (given_on, registered_on) = self.dispute_given_on.zip(self.dispute_registered_on)?;
        Some(VoucherDispute { given_on, registered_on, by_seller, verdict })
    }

    fn appeal(&self) -> Option<Appeal> {
        let decided = self.appeal_outcome.zip(self.appeal_outcome_reason.clone());
        self.appeal_reason.clone().map(|reason| Appeal { reason, decided })
    }

    fn goodwill(&self) -> Option<Goodwill> {
        self.goodwill_remedy.zip(self.goodwill_cost_fen).map(|(remedy, cost)| Goodwill { remedy, cost: Fen(cost) })
    }

    fn outcome(&self) -> Result<Option<Outcome>> {
        let given = &self.outcome_serial;
        let outcome = self.outcome.map(|name| match name {
            OutcomeName::Repaired => Ok(Outcome::Repaired),
            OutcomeName::Accessory => Ok(Outcome::Accessory),
            OutcomeName::AsItCame => Ok(Outcome::AsItCame),
            OutcomeName::Lost => Ok(Outcome::Lost),
            OutcomeName::Settled => Ok(Outcome::Settled),
            OutcomeName::Replenishment => Ok(Outcome::Replenishment(given.clone())),
            OutcomeName::Replaced => {
                given.clone().map(Outcome::Replaced).ok_or_else(|| Error::broken("claims.outcome_serial is missing"))
            }
        });
        outcome.transpose()
    }
}

/// The claims of these ids that are the caller's, by id so that two who hold several wait for each other in order.
pub(super) async fn by_ids(
    conn: &mut PgConnection,
    actor: &Actor,
    ids: &[Uuid],
    hold: bool,
) -> Result<Vec<(Uuid, Claim)>> {
    const READ: &str = "SELECT * FROM claims WHERE claim_id = ANY ($1)
        AND ($2::text IS NULL OR dealer_id = $2) AND ($3::uuid IS NULL OR customer_id = $3) ORDER BY claim_id";
    const HOLD: &str = "SELECT * FROM claims WHERE claim_id = ANY ($1)
        AND ($2::text IS NULL OR dealer_id = $2) AND ($3::uuid IS NULL OR customer_id = $3) ORDER BY claim_id FOR NO KEY UPDATE";
    let rows: Vec<Row> = sqlx::query_as(if hold { HOLD } else { READ })
        .bind(ids)
        .bind(actor.dealer_id())
        .bind(actor.customer_id())
        .fetch_all(conn)
        .await?;
    rows.into_iter().map(|row| Ok((row.claim_id, Claim::try_from(row)?))).collect()
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
