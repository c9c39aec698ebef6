//! What a claim's row must say, for the audit: derived from the claim alone, not from what wrote the row.

use serde_json::{Value, json};

use crate::domain::claim::{Claim, Outcome, OutcomeName};

fn text(value: impl ToString) -> String {
    value.to_string()
}

/// Every column of `claims` by its name; one that is left out is null.
pub fn columns(claim: &Claim) -> Value {
    let mut filed = filed(claim);
    let outcome = claim.outcome();
    let appeal = claim.appeal.as_ref();
    let decided = appeal.and_then(|appeal| appeal.decided.as_ref());
    let since = json!({
        "state": text(claim.state_name()),
        "guidance": claim.guidance.map(text),
        "reason": claim.reason,
        "return_number": claim.return_number.as_ref().map(text),
        "swapped_for": claim.swapped_for.as_ref().map(text),
        "inbound_shipment_id": claim.inbound,
        "seal": claim.seal.map(text),
        "no_fault_found": claim.no_fault_found,
        "findings": claim.findings.iter().map(text).collect::<Vec<_>>(),
        "remedy": text(claim.remedy),
        "decided": text(claim.decided),
        "outcome": outcome.map(|outcome| text(OutcomeName::from(outcome))),
        "outcome_serial": outcome.and_then(Outcome::given).map(text),
        "outbound_shipment_id": claim.outbound,
        "version": claim.version,
        "entered_at": claim.entered_at,
        "due_on": claim.due_on(),
        "symptoms": claim.symptoms,
        "quote_id": claim.quote,
        "charge_fen": claim.charge.map(|charge| charge.total.0),
        "charge_vat_fen": claim.charge.map(|charge| charge.vat.0),
        "paid": claim.paid,
        "appeal_reason": appeal.map(|appeal| &appeal.reason),
        "appeal_outcome": decided.map(|(outcome, _)| text(outcome)),
        "appeal_outcome_reason": decided.map(|(_, reason)| reason),
        "goodwill_remedy": claim.goodwill.map(|goodwill| text(goodwill.remedy)),
        "goodwill_cost_fen": claim.goodwill.map(|goodwill| goodwill.cost.0),
    });
    if let (Value::Object(filed), Value::Object(since)) = (&mut filed, since) {
        filed.extend(since);
    }
    filed
}

/// What filing says, and guidance, receipt and inspection correct.
fn filed(claim: &Claim) -> Value {
    let filing = &claim.filing;
    let (told, vouchers, dispute) = (&filing.told, &filing.vouchers, filing.dispute);
    json!({
        "claim_id": claim.id,
        "serial": text(&filing.serial),
        "dealer_id": filing.applicant.dealer_id(),
        "customer_id": filing.customer_id,
        "part": told.part.map(text),
        "fault_code": told.fault,
        "performance_fault": told.performance_fault,
        "appearance": told.appearance.map(text),
        "power_supply_damage": told.power_supply_damage,
        "region_of_use": told.region_of_use.as_ref().map(|region| region.as_str()),
        "invoice_number": vouchers.invoice_number,
        "warranty_card_number": vouchers.warranty_card_number,
        "invoice_on": vouchers.invoice_date,
        "voucher_verified": filing.voucher_verified,
        "filed_at": filing.filed_at,
        "reported_on": filing.reported_on,
        "targets": filing.targets,
        "dispute_given_on": dispute.map(|dispute| dispute.given_on),
        "dispute_registered_on": dispute.map(|dispute| dispute.registered_on),
        "dispute_by_seller": dispute.is_some_and(|dispute| dispute.by_seller),
        "dispute_verdict": dispute.and_then(|dispute| dispute.verdict).map(text),
    })
}
