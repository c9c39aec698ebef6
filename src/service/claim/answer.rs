//! A claim on the wire, with the decisions that were made on it.

use sqlx::PgConnection;

use crate::{
    contract::v1,
    domain::{
        claim::{Claim, Outcome, OutcomeName},
        event::Stage,
    },
    service::{
        decision,
        wire::{date, number, text, time},
    },
    store::{
        self,
        claims::{self, StoredDecision},
    },
};

/// Claims with their decisions: of each stage the latest.
pub async fn claims(conn: &mut PgConnection, found: Vec<Claim>) -> store::Result<Vec<v1::Claim>> {
    let ids: Vec<_> = found.iter().map(|claim| claim.id).collect();
    let decisions = claims::decisions(conn, &ids).await?;
    Ok(found.into_iter().map(|found| claim(found, &decisions)).collect())
}

/// One claim with its decisions.
pub async fn one(conn: &mut PgConnection, found: Claim) -> store::Result<Option<v1::Claim>> {
    Ok(claims(conn, vec![found]).await?.pop())
}

fn claim(claim: Claim, decisions: &[StoredDecision]) -> v1::Claim {
    let latest = |stage: Stage| {
        let of_stage = decisions.iter().filter(|decided| decided.claim_id == claim.id && decided.stage == stage);
        of_stage
            .max_by_key(|decided| decided.sequence)
            .map(|decided| decision::decision(&decided.decided.decision, None))
    };
    let (provisional_decision, final_decision) = (latest(Stage::Provisional), latest(Stage::Final));
    let outcome = claim.outcome();
    v1::Claim {
        claim_id: claim.id.to_string(),
        serial: claim.filing.serial.to_string(),
        dealer_id: text(claim.filing.applicant.dealer_id()),
        customer_id: claim.filing.customer_id.to_string(),
        state: number!(claim.state_name()),
        report: Some(decision::report(&claim.filing.told)),
        reported_date: Some(date(claim.filing.reported_on)),
        filed_time: Some(time(claim.filing.filed_at)),
        return_number: text(claim.return_number.as_ref()),
        provisional_decision,
        final_decision,
        swapped_for: text(claim.swapped_for.as_ref()),
        seal: claim.seal.map_or(0, |seal| number!(seal)),
        findings: claim.findings.iter().map(|clause| number!(*clause)).collect(),
        no_fault_found: claim.no_fault_found,
        outcome: outcome.map_or(0, |outcome| number!(OutcomeName::from(outcome))),
        outcome_serial: text(outcome.and_then(Outcome::given)),
        inbound_shipment_id: text(claim.inbound),
        outbound_shipment_id: text(claim.outbound),
        reason: text(claim.reason),
        version: claim.version,
        voucher_verified: claim.filing.voucher_verified,
    }
}
