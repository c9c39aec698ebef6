//! ClaimService: the life of a claim, from filing to its end. One file for each who acts.

pub mod answer;
mod appeals;
mod applicant;
mod billing;
mod depot;
mod quotes;
mod reading;
mod support;
pub mod worker;

use sqlx::PgConnection;
use tonic::Request;
use uuid::Uuid;

use super::{App, Moment, Replies, Reply, decision, fields::Fields};
use crate::{
    contract::v1::{claim_service_server::ClaimService, *},
    domain::{
        claim::{self, Action},
        coverage::decide,
        facts::Report,
        next::Targets,
        refusal::Refusal,
        serial::Serial,
    },
    store::{self, claims::Decided},
};

/// The service.
pub struct Claims(pub App);

#[tonic::async_trait]
impl ClaimService for Claims {
    async fn file_claim(&self, request: Request<FileClaimRequest>) -> Reply<FileClaimResponse> {
        applicant::file(&self.0, request).await
    }
    async fn get_claim(&self, request: Request<GetClaimRequest>) -> Reply<GetClaimResponse> {
        reading::get(&self.0, request).await
    }
    async fn list_claims(&self, request: Request<ListClaimsRequest>) -> Reply<ListClaimsResponse> {
        reading::list(&self.0, request).await
    }
    async fn cancel_claim(&self, request: Request<CancelClaimRequest>) -> Reply<CancelClaimResponse> {
        applicant::cancel(&self.0, request).await
    }
    async fn list_claim_events(&self, request: Request<ListClaimEventsRequest>) -> Reply<ListClaimEventsResponse> {
        reading::events(&self.0, request).await
    }
    async fn record_guidance(&self, request: Request<RecordGuidanceRequest>) -> Reply<RecordGuidanceResponse> {
        support::guide(&self.0, request).await
    }
    async fn record_swap(&self, request: Request<RecordSwapRequest>) -> Reply<RecordSwapResponse> {
        applicant::swap(&self.0, request).await
    }
    async fn record_inspection(&self, request: Request<RecordInspectionRequest>) -> Reply<RecordInspectionResponse> {
        depot::inspect(&self.0, request).await
    }
    async fn record_repair(&self, request: Request<RecordRepairRequest>) -> Reply<RecordRepairResponse> {
        depot::repair(&self.0, request).await
    }
    async fn record_replacement(&self, request: Request<RecordReplacementRequest>) -> Reply<RecordReplacementResponse> {
        depot::replace(&self.0, request).await
    }
    async fn preview_claim(&self, _: Request<PreviewClaimRequest>) -> Reply<PreviewClaimResponse> {
        Err(tonic::Status::unimplemented("not built yet"))
    }
    async fn batch_file_claims(&self, _: Request<BatchFileClaimsRequest>) -> Reply<BatchFileClaimsResponse> {
        Err(tonic::Status::unimplemented("not built yet"))
    }
    async fn add_evidence(&self, _: Request<AddEvidenceRequest>) -> Reply<AddEvidenceResponse> {
        Err(tonic::Status::unimplemented("not built yet"))
    }
    async fn settle_voucher_dispute(
        &self,
        _: Request<SettleVoucherDisputeRequest>,
    ) -> Reply<SettleVoucherDisputeResponse> {
        Err(tonic::Status::unimplemented("not built yet"))
    }
    async fn list_faults(&self, _: Request<ListFaultsRequest>) -> Reply<ListFaultsResponse> {
        Err(tonic::Status::unimplemented("not built yet"))
    }
    async fn put_fault(&self, _: Request<PutFaultRequest>) -> Reply<PutFaultResponse> {
        Err(tonic::Status::unimplemented("not built yet"))
    }
    async fn record_beyond_repair(
        &self,
        request: Request<RecordBeyondRepairRequest>,
    ) -> Reply<RecordBeyondRepairResponse> {
        depot::beyond_repair(&self.0, request).await
    }
    async fn quote_repair(&self, request: Request<QuoteRepairRequest>) -> Reply<QuoteRepairResponse> {
        quotes::quote(&self.0, request).await
    }
    async fn accept_quote(&self, request: Request<AcceptQuoteRequest>) -> Reply<AcceptQuoteResponse> {
        quotes::accept(&self.0, request).await
    }
    async fn decline_quote(&self, request: Request<DeclineQuoteRequest>) -> Reply<DeclineQuoteResponse> {
        quotes::decline(&self.0, request).await
    }
    async fn list_quotes(&self, request: Request<ListQuotesRequest>) -> Reply<ListQuotesResponse> {
        quotes::list(&self.0, request).await
    }
    async fn record_payment(&self, request: Request<RecordPaymentRequest>) -> Reply<RecordPaymentResponse> {
        billing::pay(&self.0, request).await
    }
    async fn list_billable_repairs(
        &self,
        request: Request<ListBillableRepairsRequest>,
    ) -> Reply<ListBillableRepairsResponse> {
        billing::feed(&self.0, request).await
    }
    async fn set_prices(&self, request: Request<SetPricesRequest>) -> Reply<SetPricesResponse> {
        billing::set_prices(&self.0, request).await
    }
    async fn list_prices(&self, request: Request<ListPricesRequest>) -> Reply<ListPricesResponse> {
        billing::list_prices(&self.0, request).await
    }
    async fn appeal_decision(&self, request: Request<AppealDecisionRequest>) -> Reply<AppealDecisionResponse> {
        appeals::appeal(&self.0, request).await
    }
    async fn decide_appeal(&self, request: Request<DecideAppealRequest>) -> Reply<DecideAppealResponse> {
        appeals::decide(&self.0, request).await
    }
    type GetEvidenceStream = Replies<GetEvidenceResponse>;
    async fn get_evidence(&self, _: Request<GetEvidenceRequest>) -> Reply<Self::GetEvidenceStream> {
        Err(tonic::Status::unimplemented("not built yet"))
    }
    type WatchClaimsStream = Replies<WatchClaimsResponse>;
    async fn watch_claims(&self, _: Request<WatchClaimsRequest>) -> Reply<Self::WatchClaimsStream> {
        Err(tonic::Status::unimplemented("not built yet"))
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

/// A decision just made, and what its answer says beside it.
struct Ruled {
    decided: Decided,
    /// The unit's model.
    model: String,
    /// Who to call, where it is not a yes (M8).
    contact: Option<AfterSalesContact>,
    /// How long each state of the claim should last, by the policy that decided.
    targets: Targets,
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
    Ok(Ruled { decided: Decided { facts: unit.facts, report, decision }, model: unit.model, contact, targets })
}
