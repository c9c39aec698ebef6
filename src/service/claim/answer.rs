//! A claim on the wire, with the decisions that were made on it.

use chrono::NaiveDate;
use sqlx::PgConnection;

use crate::{
    contract::v1,
    domain::{
        actor::Actor,
        claim::{Appeal, Claim, Outcome, OutcomeName},
        coverage::Decision,
        event::Stage,
        fact::Language,
        next::NextAction,
    },
    service::wire::{date, money, number, text, time},
    service::{Moment, decision},
    store::{
        self,
        claims::{self, Decided, StoredDecision},
    },
};

/// Who reads, on which day, in which language: what is shown, what is late and how it reads hang on it.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    /// Who.
    pub actor: &'a Actor,
    /// The civil date of the call.
    pub today: NaiveDate,
    /// The language asked for; the claim's sentences are told in that alone.
    pub language: Option<Language>,
}

impl<'a> From<&'a Moment> for Reader<'a> {
    fn from(moment: &'a Moment) -> Self {
        Self { actor: &moment.actor, today: moment.today, language: None }
    }
}

/// Claims with their decisions: of each stage the latest.
pub async fn claims(
    conn: &mut PgConnection,
    found: Vec<Claim>,
    reader: impl Into<Reader<'_>>,
) -> store::Result<Vec<v1::Claim>> {
    let ids: Vec<_> = found.iter().map(|claim| claim.id).collect();
    let (decisions, reader) = (claims::decisions(conn, &ids).await?, reader.into());
    Ok(found.into_iter().map(|found| claim(found, &decisions, reader)).collect())
}

/// One claim with its decisions.
pub async fn one(
    conn: &mut PgConnection,
    found: Claim,
    reader: impl Into<Reader<'_>>,
) -> store::Result<Option<v1::Claim>> {
    Ok(claims(conn, vec![found], reader).await?.pop())
}

/// A claim just filed, whose decision nobody has to read again.
pub fn filed(found: Claim, decided: Decided, reader: Reader<'_>) -> v1::Claim {
    let made = StoredDecision { claim_id: found.id, sequence: found.version, stage: found.decided, decided };
    claim(found, &[made], reader)
}

/// What may come next with it.
pub fn next_actions(claim: &Claim, reader: Reader<'_>) -> Vec<v1::NextAction> {
    let told = |next: NextAction| v1::NextAction {
        action: number!(next.action),
        party: number!(next.party),
        due_date: next.due_on.map(date),
        late: next.due_on.is_some_and(|due| reader.today > due),
        summary: text(reader.language.and_then(|language| claim.next_summary(&next, reader.actor, language))),
    };
    claim.next_actions().into_iter().map(told).collect()
}

/// A contradiction. The registered day is for staff, and for the applicant where it is the one who registered it.
pub fn dispute(claim: &Claim, reader: &Actor) -> Option<v1::VoucherDispute> {
    let dispute = claim.filing.dispute?;
    let shown = reader.is_staff() || (dispute.by_seller && *reader == claim.filing.applicant);
    Some(v1::VoucherDispute {
        given_date: Some(date(dispute.given_on)),
        registered_date: shown.then(|| date(dispute.registered_on)),
        verdict: dispute.verdict.map_or(0, |verdict| number!(verdict)),
    })
}

fn appeal(appeal: Appeal) -> v1::Appeal {
    let (outcome, reason) = appeal.decided.unzip();
    v1::Appeal {
        reason: appeal.reason,
        outcome: outcome.map_or(0, |outcome| number!(outcome)),
        outcome_reason: text(reason),
    }
}

/// The latest decision of a stage among these.
pub fn latest<'a>(claim: &Claim, decisions: &'a [StoredDecision], stage: Stage) -> Option<&'a Decision> {
    let of_stage = decisions.iter().filter(|made| made.claim_id == claim.id && made.stage == stage);
    of_stage.max_by_key(|made| made.sequence).map(|made| &made.decided.decision)
}

/// A claim with its decisions, of each stage the latest of these.
pub fn claim(claim: Claim, decisions: &[StoredDecision], reader: Reader<'_>) -> v1::Claim {
    let told = |stage| latest(&claim, decisions, stage).map(|made| decision::decision(made, reader.language));
    let (provisional_decision, final_decision) = (told(Stage::Provisional), told(Stage::Final));
    let (outcome, due_on) = (claim.outcome(), claim.due_on());
    let charge = claim.charged();
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
        entered_time: Some(time(claim.entered_at)),
        due_date: due_on.map(date),
        late: due_on.is_some_and(|due| reader.today > due),
        next_actions: next_actions(&claim, reader),
        state_summary: text(reader.language.map(|language| claim.state_summary(language))),
        voucher_dispute: dispute(&claim, reader.actor),
        symptoms: claim.symptoms,
        quote_id: text(claim.quote),
        charge: charge.map(|charge| money(charge.total)),
        paid: claim.paid,
        appeal: claim.appeal.map(appeal),
        goodwill: claim.goodwill.map(|goodwill| v1::Goodwill {
            remedy: number!(goodwill.remedy),
            cost: reader.actor.is_staff().then(|| money(goodwill.cost)),
        }),
        reason: text(claim.reason),
        version: claim.version,
        voucher_verified: claim.filing.voucher_verified,
    }
}
