//! A claim's row: written from the claim, read back in one `TryFrom`.

use std::str::FromStr;

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use sqlx::{FromRow, PgConnection, Postgres, postgres::PgArguments, query::Query, types::Json};
use uuid::Uuid;

use crate::{
    domain::{
        actor::Actor,
        claim::{Appeal, Charge, Claim, Goodwill, Outcome, OutcomeName, State, StateName, VoucherDispute},
        event::{Filing, Vouchers},
        facts::Told,
        money::Fen,
        next::Targets,
        region::Region,
        return_number::ReturnNumber,
        serial::Serial,
    },
    store::error::{Error, Result},
};

#[derive(FromRow, Serialize)]
pub(super) struct Row {
    claim_id: Uuid,
    serial: String,
    dealer_id: Option<String>,
    customer_id: Uuid,
    part: Option<String>,
    fault_code: Option<String>,
    performance_fault: Option<bool>,
    appearance: Option<String>,
    power_supply_damage: Option<bool>,
    region_of_use: Option<String>,
    invoice_number: Option<String>,
    warranty_card_number: Option<String>,
    voucher_verified: bool,
    filed_at: DateTime<Utc>,
    reported_on: NaiveDate,
    state: String,
    guidance: Option<String>,
    reason: Option<String>,
    return_number: Option<String>,
    swapped_for: Option<String>,
    inbound_shipment_id: Option<Uuid>,
    seal: Option<String>,
    no_fault_found: bool,
    findings: Vec<String>,
    remedy: String,
    decided: String,
    outcome: Option<String>,
    outcome_serial: Option<String>,
    outbound_shipment_id: Option<Uuid>,
    version: i64,
    entered_at: DateTime<Utc>,
    due_on: Option<NaiveDate>,
    #[sqlx(json)]
    targets: Targets,
    invoice_on: Option<NaiveDate>,
    dispute_given_on: Option<NaiveDate>,
    dispute_registered_on: Option<NaiveDate>,
    dispute_by_seller: bool,
    dispute_verdict: Option<String>,
    symptoms: Vec<String>,
    quote_id: Option<Uuid>,
    charge_fen: Option<i64>,
    charge_vat_fen: Option<i64>,
    paid: bool,
    appeal_reason: Option<String>,
    appeal_outcome: Option<String>,
    appeal_outcome_reason: Option<String>,
    goodwill_remedy: Option<String>,
    goodwill_cost_fen: Option<i64>,
}

/// Reads a column that is a name of one of the domain's enums.
fn named<T: FromStr>(column: Option<&str>) -> Result<Option<T>>
where
    T::Err: std::fmt::Display,
{
    column.map(T::from_str).transpose().map_err(Error::broken)
}

fn serial(column: Option<&str>) -> Result<Option<Serial>> {
    column.map(Serial::parse).transpose().map_err(Error::broken)
}

impl TryFrom<Row> for Claim {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let (state, dispute, appeal, goodwill) = (row.state()?, row.dispute()?, row.appeal()?, row.goodwill()?);
        let charge = row.charge_fen.zip(row.charge_vat_fen);
        let told = Told {
            part: named(row.part.as_deref())?,
            fault: row.fault_code,
            performance_fault: row.performance_fault,
            appearance: named(row.appearance.as_deref())?,
            power_supply_damage: row.power_supply_damage,
            region_of_use: row.region_of_use.as_deref().map(Region::parse).transpose().map_err(Error::broken)?,
        };
        let filing = Filing {
            serial: Serial::parse(&row.serial).map_err(Error::broken)?,
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
            guidance: named(row.guidance.as_deref())?,
            reason: row.reason,
            return_number: row.return_number.as_deref().map(ReturnNumber::parse).transpose().map_err(Error::broken)?,
            swapped_for: serial(row.swapped_for.as_deref())?,
            inbound: row.inbound_shipment_id,
            seal: named(row.seal.as_deref())?,
            no_fault_found: row.no_fault_found,
            findings: row
                .findings
                .iter()
                .map(|clause| clause.parse())
                .collect::<Result<_, _>>()
                .map_err(Error::broken)?,
            remedy: row.remedy.parse().map_err(Error::broken)?,
            decided: row.decided.parse().map_err(Error::broken)?,
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
        let name: StateName = self.state.parse().map_err(Error::broken)?;
        let outcome = || self.outcome()?.ok_or_else(|| Error::broken("claims.outcome is missing"));
        Ok(match name {
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

    fn dispute(&self) -> Result<Option<VoucherDispute>> {
        let verdict = named(self.dispute_verdict.as_deref())?;
        let dates = self.dispute_given_on.zip(self.dispute_registered_on);
        let by_seller = self.dispute_by_seller;
        Ok(dates.map(|(given_on, registered_on)| VoucherDispute { given_on, registered_on, by_seller, verdict }))
    }

    fn appeal(&self) -> Result<Option<Appeal>> {
        let decided = named(self.appeal_outcome.as_deref())?.zip(self.appeal_outcome_reason.clone());
        Ok(self.appeal_reason.clone().map(|reason| Appeal { reason, decided }))
    }

    fn goodwill(&self) -> Result<Option<Goodwill>> {
        let remedy = named(self.goodwill_remedy.as_deref())?;
        Ok(remedy.zip(self.goodwill_cost_fen).map(|(remedy, cost)| Goodwill { remedy, cost: Fen(cost) }))
    }

    fn outcome(&self) -> Result<Option<Outcome>> {
        let given = serial(self.outcome_serial.as_deref())?;
        let outcome = named::<OutcomeName>(self.outcome.as_deref())?.map(|name| match name {
            OutcomeName::Repaired => Ok(Outcome::Repaired),
            OutcomeName::Accessory => Ok(Outcome::Accessory),
            OutcomeName::AsItCame => Ok(Outcome::AsItCame),
            OutcomeName::Lost => Ok(Outcome::Lost),
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
        .bind(filing.serial.as_str())
        .bind(filing.applicant.dealer_id())
        .bind(filing.customer_id)
        .bind(filing.told.part.map(|part| part.to_string()))
        .bind(&filing.told.fault)
        .bind(filing.told.performance_fault)
        .bind(filing.told.appearance.map(|appearance| appearance.to_string()))
        .bind(filing.told.power_supply_damage)
        .bind(filing.told.region_of_use.as_ref().map(Region::as_str))
        .bind(&filing.vouchers.invoice_number)
        .bind(&filing.vouchers.warranty_card_number)
        .bind(filing.voucher_verified)
        .bind(filing.reported_on)
        .bind(claim.decided.to_string())
        .bind(claim.due_on())
        .bind(Json(filing.targets))
        .bind(filing.vouchers.invoice_date)
        .bind(filing.dispute.map(|dispute| dispute.given_on))
        .bind(filing.dispute.map(|dispute| dispute.registered_on))
        .bind(filing.dispute.is_some_and(|dispute| dispute.by_seller))
}

/// What happened to a claim since it was filed, or corrected its filing.
impl From<&Claim> for Row {
    fn from(claim: &Claim) -> Self {
        let (filing, told) = (&claim.filing, &claim.filing.told);
        let outcome = claim.outcome();
        let decided = claim.appeal.as_ref().and_then(|appeal| appeal.decided.as_ref());
        Self {
            claim_id: claim.id,
            serial: filing.serial.to_string(),
            dealer_id: filing.applicant.dealer_id().map(str::to_owned),
            customer_id: filing.customer_id,
            part: told.part.map(|part| part.to_string()),
            fault_code: told.fault.clone(),
            performance_fault: told.performance_fault,
            appearance: told.appearance.map(|appearance| appearance.to_string()),
            power_supply_damage: told.power_supply_damage,
            region_of_use: told.region_of_use.as_ref().map(|region| region.as_str().to_owned()),
            invoice_number: filing.vouchers.invoice_number.clone(),
            warranty_card_number: filing.vouchers.warranty_card_number.clone(),
            voucher_verified: filing.voucher_verified,
            filed_at: filing.filed_at,
            reported_on: filing.reported_on,
            state: claim.state_name().to_string(),
            guidance: claim.guidance.map(|guidance| guidance.to_string()),
            reason: claim.reason.clone(),
            return_number: claim.return_number.as_ref().map(ToString::to_string),
            swapped_for: claim.swapped_for.as_ref().map(ToString::to_string),
            inbound_shipment_id: claim.inbound,
            seal: claim.seal.map(|seal| seal.to_string()),
            no_fault_found: claim.no_fault_found,
            findings: claim.findings.iter().map(ToString::to_string).collect(),
            remedy: claim.remedy.to_string(),
            decided: claim.decided.to_string(),
            outcome: outcome.map(|outcome| OutcomeName::from(outcome).to_string()),
            outcome_serial: outcome.and_then(Outcome::given).map(ToString::to_string),
            outbound_shipment_id: claim.outbound,
            version: claim.version,
            entered_at: claim.entered_at,
            due_on: claim.due_on(),
            targets: filing.targets,
            invoice_on: filing.vouchers.invoice_date,
            dispute_given_on: filing.dispute.map(|dispute| dispute.given_on),
            dispute_registered_on: filing.dispute.map(|dispute| dispute.registered_on),
            dispute_by_seller: filing.dispute.is_some_and(|dispute| dispute.by_seller),
            dispute_verdict: filing.dispute.and_then(|dispute| dispute.verdict).map(|verdict| verdict.to_string()),
            symptoms: claim.symptoms.clone(),
            quote_id: claim.quote,
            charge_fen: claim.charge.map(|charge| charge.total.0),
            charge_vat_fen: claim.charge.map(|charge| charge.vat.0),
            paid: claim.paid,
            appeal_reason: claim.appeal.as_ref().map(|appeal| appeal.reason.clone()),
            appeal_outcome: decided.map(|(outcome, _)| outcome.to_string()),
            appeal_outcome_reason: decided.map(|(_, reason)| reason.clone()),
            goodwill_remedy: claim.goodwill.map(|goodwill| goodwill.remedy.to_string()),
            goodwill_cost_fen: claim.goodwill.map(|goodwill| goodwill.cost.0),
        }
    }
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
    .bind(Json(claims.iter().map(Row::from).collect::<Vec<_>>()))
    .execute(conn)
    .await?;
    Ok(())
}
