//! What the depot does with a unit: inspect, repair, replace (T6, T9, M4).

use std::collections::BTreeSet;

use chrono::NaiveDate;
use sqlx::PgConnection;
use tonic::Request;

use super::{Ruled, answer, decide_now, give, hold, on_claim};
use crate::{
    clock::civil_date,
    contract::v1,
    domain::{
        claim::{Action, Claim},
        clause::Clause,
        coverage::Remedy,
        facts::Told,
        serial::Serial,
    },
    metrics,
    service::{App, Fields, Moment, Reply, open_write, transact},
    store::{
        self, Error, billing, claims,
        history::{self, Repair},
        stock,
    },
};

/// What an inspection found.
#[derive(Clone)]
struct Found {
    no_fault_found: bool,
    findings: BTreeSet<Clause>,
    told: Told,
}

pub(super) async fn inspect(
    app: &App,
    request: Request<v1::RecordInspectionRequest>,
) -> Reply<v1::RecordInspectionResponse> {
    let (call, request, id, mut fields) = open_write(request)?;
    Fields::at_most("findings", &request.findings, 20)?;
    let on = on_claim(&mut fields, &request.claim_id, request.version);
    let findings = fields.findings(&request.findings);
    let told = fields.told(request.report.as_ref());
    if told.as_ref().is_some_and(|told| told.region_of_use.is_some()) {
        fields.violate("report.region_of_use", "must be left out: it is not found at a depot");
    }
    let no_fault_found = request.no_fault_found;
    let (id, on, found) =
        fields.finish(|| Some((id?, on?, Found { no_fault_found, findings: findings?, told: told? })))?;
    transact!(app.write(&call, id, &request, found), |conn, found, moment| {
        let claim = hold(&mut *conn, moment, on, Action::Inspect).await?;
        let mut report = claim.report();
        report.told = report.told.updated_by(found.told);
        (report.findings, report.no_fault_found, report.inspected) = (found.findings, found.no_fault_found, true);
        let ruled = decide_now(&mut *conn, moment, &claim.filing.serial, Some(claim.id), report).await?;
        let Ruled { decided, contact, .. } = ruled;
        let event = claim.inspect(decided.report.clone(), &decided.decision)?;
        let claim = claims::advance(&mut *conn, claim, vec![event], Some(&decided), &moment.actor, moment.now).await?;
        stock::keep_replaced(&mut *conn, &claim, &moment.actor, moment.now).await?;
        metrics::decided(metrics::Stage::Inspected, &decided.decision);
        Ok(v1::RecordInspectionResponse { claim: answer::one(conn, claim, moment).await?, contact })
    })
}

pub(super) async fn repair(app: &App, request: Request<v1::RecordRepairRequest>) -> Reply<v1::RecordRepairResponse> {
    let (call, request, id, mut fields) = open_write(request)?;
    let on = on_claim(&mut fields, &request.claim_id, request.version);
    let completed_on = fields.past_date("completed_date", request.completed_date.as_ref(), civil_date(app.clock.now()));
    let fault = fields.optional_fault("fault_code", &request.fault_code);
    let (id, on, completed_on, fault) = fields.finish(|| Some((id?, on?, completed_on?, fault?)))?;
    transact!(app.write(&call, id, &request, fault), |conn, fault, moment| {
        let claim = hold(&mut *conn, moment, on, Action::Repair).await?;
        let claim = repair_now(&mut *conn, claim, completed_on, fault, moment).await?;
        Ok(v1::RecordRepairResponse { claim: answer::one(conn, claim, moment).await? })
    })
}

async fn repair_now(
    conn: &mut PgConnection,
    claim: Claim,
    completed_on: NaiveDate,
    fault: Option<String>,
    moment: &Moment,
) -> store::Result<Claim> {
    if completed_on < claim.filing.reported_on {
        return Err(Error::invalid("completed_date", "must not lie before the date of the report"));
    }
    if claim.charge.is_some() && completed_on < civil_date(claim.entered_at) {
        return Err(Error::invalid("completed_date", "must not lie before the quote was accepted (P1)"));
    }
    let fault = fault.or_else(|| claim.filing.told.fault.clone());
    let event = claim.repair(completed_on, fault.clone())?;
    // Where its receipt was recorded late, the unit came in by the day of the repair.
    let received_at = claims::received_at(&mut *conn, claim.id).await?;
    let received_on = received_at.map(|at| civil_date(at).min(completed_on));
    // Free, by P2 too, it counts as one under warranty (T6); charged, it opens P2; as goodwill, neither.
    let repair = Repair {
        serial: claim.filing.serial.to_string(),
        received_on,
        completed_on,
        paid: claim.charge.is_some(),
        goodwill: claim.goodwill.is_some(),
        fault_code: fault,
        claim_id: Some(claim.id),
    };
    history::record_repair(&mut *conn, &repair, &moment.actor, moment.now).await?;
    let claim = claims::advance(&mut *conn, claim, vec![event], None, &moment.actor, moment.now).await?;
    if let Some(charge) = claim.owed() {
        billing::add(conn, &claim, billing::Kind::Charge, charge, None, moment.now).await?;
    }
    Ok(claim)
}

pub(super) async fn beyond_repair(
    app: &App,
    request: Request<v1::RecordBeyondRepairRequest>,
) -> Reply<v1::RecordBeyondRepairResponse> {
    let (call, request, id, mut fields) = open_write(request)?;
    let on = on_claim(&mut fields, &request.claim_id, request.version);
    let reason = fields.text("reason", &request.reason, 500);
    let (id, on, reason) = fields.finish(|| Some((id?, on?, reason?)))?;
    transact!(app.write(&call, id, &request, reason), |conn, reason, moment| {
        let claim = hold(&mut *conn, moment, on, Action::DeclareBeyondRepair).await?;
        let event = claim.beyond_repair(reason)?;
        let claim = claims::advance(&mut *conn, claim, vec![event], None, &moment.actor, moment.now).await?;
        Ok(v1::RecordBeyondRepairResponse { claim: answer::one(conn, claim, moment).await? })
    })
}

pub(super) async fn replace(
    app: &App,
    request: Request<v1::RecordReplacementRequest>,
) -> Reply<v1::RecordReplacementResponse> {
    let (call, request, id, mut fields) = open_write(request)?;
    let on = on_claim(&mut fields, &request.claim_id, request.version);
    let given = fields.serial("given_serial", &request.given_serial);
    let reason = fields.optional_text("reason", &request.reason, 500);
    let (id, on, given, reason) = fields.finish(|| Some((id?, on?, given?, reason?)))?;
    transact!(app.write(&call, id, &request, (given, reason)), |conn, (given, reason), moment| {
        let claim = hold(&mut *conn, moment, on, Action::Replace).await?;
        let claim = replace_now(&mut *conn, claim, given, reason, moment).await?;
        Ok(v1::RecordReplacementResponse { claim: answer::one(conn, claim, moment).await? })
    })
}

async fn replace_now(
    conn: &mut PgConnection,
    claim: Claim,
    given: Serial,
    reason: Option<String>,
    moment: &Moment,
) -> store::Result<Claim> {
    if claim.gives() == Remedy::FreeRepair && reason.is_none() {
        return Err(Error::invalid("reason", "is required: why is a unit to be repaired beyond repair?"));
    }
    let event = claim.replace(given.clone(), reason)?;
    // After a swap the customer has his unit already: this one is the dealer's, outside the chain.
    let replaced = claim.swapped_for.is_none().then_some(&claim.filing.serial);
    give(&mut *conn, moment, &claim, (&given, replaced), "given for a claim").await?;
    let claim = claims::advance(&mut *conn, claim, vec![event], None, &moment.actor, moment.now).await?;
    stock::keep_replaced(conn, &claim, &moment.actor, moment.now).await?;
    Ok(claim)
}
