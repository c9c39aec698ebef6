//! ClaimService: the life of a claim, from filing to its end. A file for each who acts, and others for what all of them share.

pub mod answer;
mod appeals;
mod applicant;
mod billing;
mod depot;
mod evidence;
mod faults;
mod filing;
mod quotes;
mod reading;
mod support;
pub(super) mod watching;
pub mod worker;

use std::sync::Arc;

use sqlx::PgConnection;
use tonic::Request;
use uuid::Uuid;

use super::{App, Moment, Replies, Reply, decision, fields::Fields, serve};
use crate::{
    contract::v1::{claim_service_server::ClaimService, *},
    domain::{
        claim::{self, Action},
        claim_steps::may_be_given,
        coverage::decide,
        facts::Report,
        next::Targets,
        policy::Policies,
        refusal::Refusal,
        serial::Serial,
    },
    store::{
        self,
        claims::Decided,
        history::{self, Replacement},
        objects::Objects,
        stock::{self, Why},
        units,
    },
};

/// The service.
pub struct Claims {
    /// What every service works with.
    app: App,
    /// Where scans and photos are kept.
    evidence: Objects,
    /// What those who watch share.
    watching: watching::Watching,
}

impl Claims {
    /// Starts what its watchers share, too.
    pub fn start(app: App, evidence: Objects) -> Self {
        let watching = watching::Watching::start(&app);
        Self { app, evidence, watching }
    }
}

serve! {
    ClaimService for Claims by app:
    file_claim(FileClaimRequest) -> FileClaimResponse = filing::file;
    get_claim(GetClaimRequest) -> GetClaimResponse = reading::get;
    list_claims(ListClaimsRequest) -> ListClaimsResponse = reading::list;
    cancel_claim(CancelClaimRequest) -> CancelClaimResponse = applicant::cancel;
    list_claim_events(ListClaimEventsRequest) -> ListClaimEventsResponse = reading::events;
    record_guidance(RecordGuidanceRequest) -> RecordGuidanceResponse = support::guide;
    record_swap(RecordSwapRequest) -> RecordSwapResponse = applicant::swap;
    record_inspection(RecordInspectionRequest) -> RecordInspectionResponse = depot::inspect;
    record_repair(RecordRepairRequest) -> RecordRepairResponse = depot::repair;
    record_replacement(RecordReplacementRequest) -> RecordReplacementResponse = depot::replace;
    preview_claim(PreviewClaimRequest) -> PreviewClaimResponse = filing::preview;
    batch_file_claims(BatchFileClaimsRequest) -> BatchFileClaimsResponse = filing::file_many;
    settle_voucher_dispute(SettleVoucherDisputeRequest) -> SettleVoucherDisputeResponse = support::settle;
    list_faults(ListFaultsRequest) -> ListFaultsResponse = faults::list;
    put_fault(PutFaultRequest) -> PutFaultResponse = faults::put;
    record_beyond_repair(RecordBeyondRepairRequest) -> RecordBeyondRepairResponse = depot::beyond_repair;
    quote_repair(QuoteRepairRequest) -> QuoteRepairResponse = quotes::quote;
    accept_quote(AcceptQuoteRequest) -> AcceptQuoteResponse = quotes::accept;
    decline_quote(DeclineQuoteRequest) -> DeclineQuoteResponse = quotes::decline;
    list_quotes(ListQuotesRequest) -> ListQuotesResponse = quotes::list;
    record_payment(RecordPaymentRequest) -> RecordPaymentResponse = billing::pay;
    list_billable_repairs(ListBillableRepairsRequest) -> ListBillableRepairsResponse = billing::feed;
    set_prices(SetPricesRequest) -> SetPricesResponse = billing::set_prices;
    list_prices(ListPricesRequest) -> ListPricesResponse = billing::list_prices;
    appeal_decision(AppealDecisionRequest) -> AppealDecisionResponse = appeals::appeal;
    decide_appeal(DecideAppealRequest) -> DecideAppealResponse = appeals::decide;
    {
        async fn add_evidence(&self, request: Request<AddEvidenceRequest>) -> Reply<AddEvidenceResponse> {
            evidence::add(self, request).await
        }
        type GetEvidenceStream = Replies<GetEvidenceResponse>;
        async fn get_evidence(&self, request: Request<GetEvidenceRequest>) -> Reply<Self::GetEvidenceStream> {
            evidence::get(self, request).await
        }
        type WatchClaimsStream = Replies<WatchClaimsResponse>;
        async fn watch_claims(&self, request: Request<WatchClaimsRequest>) -> Reply<Self::WatchClaimsStream> {
            watching::watch(&self.app, &self.watching, request).await
        }
    }
}

/// What every write on a claim names: the claim, and the version that its caller read.
#[derive(Clone, Copy)]
struct OnClaim {
    id: Uuid,
    version: i64,
}

fn on_claim(fields: &mut Fields, claim_id: &str, version: i64) -> Option<OnClaim> {
    let (id, version) = (fields.uuid("claim_id", claim_id), fields.version(version));
    Some(OnClaim { id: id?, version: version? })
}

/// The claim, held to the end of the transaction, at the version that the call read, where its state allows the action.
async fn hold(conn: &mut PgConnection, moment: &Moment, on: OnClaim, action: Action) -> store::Result<claim::Claim> {
    let claim = store::claims::lock(conn, &moment.actor, on.id).await?;
    claim.at_version(on.version)?;
    claim.allow(action)?;
    Ok(claim)
}

/// Gives a good unit for a claim (T3, T4): it leaves the stock where it stands in it, and carries on the warranty of the unit that it
/// replaces where it is told one (T5).
pub(super) async fn give(
    conn: &mut PgConnection,
    moment: &Moment,
    claim: &claim::Claim,
    (given, replaced): (&Serial, Option<&Serial>),
    reason: &str,
) -> store::Result<()> {
    let own = &claim.filing.serial;
    units::lock(&mut *conn, &[replaced.unwrap_or(own), given]).await?;
    let unit = units::to_give(&mut *conn, given, claim.id, moment.now).await?;
    let for_unit = store::facts::of_unit(&mut *conn, own, Some(claim.id)).await?;
    may_be_given(&unit, own, &for_unit.model, &for_unit.facts.equivalents)?;
    let why = Why { reason, claim: Some(claim.id), actor: &moment.actor, now: moment.now };
    stock::take(&mut *conn, given.as_str(), why).await?;
    match replaced {
        Some(replaced) => take_place(conn, moment, claim, replaced, given).await,
        None => Ok(()),
    }
}

/// Records that a unit took another's place under a claim (T5).
async fn take_place(
    conn: &mut PgConnection,
    moment: &Moment,
    claim: &claim::Claim,
    replaced: &Serial,
    given: &Serial,
) -> store::Result<()> {
    let replacement = Replacement {
        replaced_serial: replaced.to_string(),
        replacement_serial: given.to_string(),
        replaced_on: moment.today,
        claim_id: Some(claim.id),
    };
    history::record_replacement(conn, &replacement, &moment.actor, moment.now).await
}

/// A decision just made, and what its answer says beside it.
struct Ruled {
    decided: Decided,
    /// The unit's model.
    model: String,
    /// Who to call, where it is not a yes (M8).
    contact: Option<AfterSalesContact>,
    /// How long each state of the claim should last, by the policy that decided.
    targets: Targets,
    /// Those that decided.
    policies: Arc<Policies>,
}

/// Decides a unit from the facts as they stand in this transaction; a claim's own swap or replacement does not count.
async fn decide_now(
    conn: &mut PgConnection,
    moment: &Moment,
    serial: &Serial,
    claim: Option<Uuid>,
    report: Report,
) -> store::Result<Ruled> {
    let unit = store::facts::of_unit(&mut *conn, serial, claim).await?;
    // Read after the facts: never policies older than they are.
    let policies = moment.rules.at(unit.stamp, conn).await?;
    let decision = decide(&policies, &unit.facts, &report).map_err(Refusal::from)?;
    let contact = decision::contact(&policies, decision.remedy, &decision.policy_version);
    let targets = policies.named(&decision.policy_version).map_or_else(Targets::default, |policy| policy.targets);
    Ok(Ruled {
        decided: Decided { facts: unit.facts, report, decision },
        model: unit.model,
        contact,
        targets,
        policies,
    })
}
