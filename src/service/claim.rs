//! ClaimService: the life of a claim, from filing to its end. One file for each who acts.

pub mod answer;
mod applicant;
mod depot;
mod evidence;
mod faults;
mod filing;
mod reading;
mod support;

use std::sync::Arc;

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
        policy::Policies,
        refusal::Refusal,
        serial::Serial,
    },
    store::{self, claims::Decided, objects::Objects},
};

/// The service.
pub struct Claims {
    /// What every service works with.
    pub app: App,
    /// Where scans and photos are kept.
    pub evidence: Objects,
}

#[tonic::async_trait]
impl ClaimService for Claims {
    async fn file_claim(&self, request: Request<FileClaimRequest>) -> Reply<FileClaimResponse> {
        filing::file(&self.app, request).await
    }
    async fn get_claim(&self, request: Request<GetClaimRequest>) -> Reply<GetClaimResponse> {
        reading::get(&self.app, request).await
    }
    async fn list_claims(&self, request: Request<ListClaimsRequest>) -> Reply<ListClaimsResponse> {
        reading::list(&self.app, request).await
    }
    async fn cancel_claim(&self, request: Request<CancelClaimRequest>) -> Reply<CancelClaimResponse> {
        applicant::cancel(&self.app, request).await
    }
    async fn list_claim_events(&self, request: Request<ListClaimEventsRequest>) -> Reply<ListClaimEventsResponse> {
        reading::events(&self.app, request).await
    }
    async fn record_guidance(&self, request: Request<RecordGuidanceRequest>) -> Reply<RecordGuidanceResponse> {
        support::guide(&self.app, request).await
    }
    async fn record_swap(&self, request: Request<RecordSwapRequest>) -> Reply<RecordSwapResponse> {
        applicant::swap(&self.app, request).await
    }
    async fn record_inspection(&self, request: Request<RecordInspectionRequest>) -> Reply<RecordInspectionResponse> {
        depot::inspect(&self.app, request).await
    }
    async fn record_repair(&self, request: Request<RecordRepairRequest>) -> Reply<RecordRepairResponse> {
        depot::repair(&self.app, request).await
    }
    async fn record_replacement(&self, request: Request<RecordReplacementRequest>) -> Reply<RecordReplacementResponse> {
        depot::replace(&self.app, request).await
    }
    async fn preview_claim(&self, request: Request<PreviewClaimRequest>) -> Reply<PreviewClaimResponse> {
        filing::preview(&self.app, request).await
    }
    async fn batch_file_claims(&self, request: Request<BatchFileClaimsRequest>) -> Reply<BatchFileClaimsResponse> {
        filing::file_many(&self.app, request).await
    }
    async fn add_evidence(&self, request: Request<AddEvidenceRequest>) -> Reply<AddEvidenceResponse> {
        evidence::add(self, request).await
    }
    async fn settle_voucher_dispute(
        &self,
        request: Request<SettleVoucherDisputeRequest>,
    ) -> Reply<SettleVoucherDisputeResponse> {
        support::settle(&self.app, request).await
    }
    async fn list_faults(&self, request: Request<ListFaultsRequest>) -> Reply<ListFaultsResponse> {
        faults::list(&self.app, request).await
    }
    async fn put_fault(&self, request: Request<PutFaultRequest>) -> Reply<PutFaultResponse> {
        faults::put(&self.app, request).await
    }
    async fn record_beyond_repair(&self, _: Request<RecordBeyondRepairRequest>) -> Reply<RecordBeyondRepairResponse> {
        Err(tonic::Status::unimplemented("not built yet"))
    }
    async fn quote_repair(&self, _: Request<QuoteRepairRequest>) -> Reply<QuoteRepairResponse> {
        Err(tonic::Status::unimplemented("not built yet"))
    }
    async fn accept_quote(&self, _: Request<AcceptQuoteRequest>) -> Reply<AcceptQuoteResponse> {
        Err(tonic::Status::unimplemented("not built yet"))
    }
    async fn decline_quote(&self, _: Request<DeclineQuoteRequest>) -> Reply<DeclineQuoteResponse> {
        Err(tonic::Status::unimplemented("not built yet"))
    }
    async fn list_quotes(&self, _: Request<ListQuotesRequest>) -> Reply<ListQuotesResponse> {
        Err(tonic::Status::unimplemented("not built yet"))
    }
    async fn record_payment(&self, _: Request<RecordPaymentRequest>) -> Reply<RecordPaymentResponse> {
        Err(tonic::Status::unimplemented("not built yet"))
    }
    async fn list_billable_repairs(
        &self,
        _: Request<ListBillableRepairsRequest>,
    ) -> Reply<ListBillableRepairsResponse> {
        Err(tonic::Status::unimplemented("not built yet"))
    }
    async fn set_prices(&self, _: Request<SetPricesRequest>) -> Reply<SetPricesResponse> {
        Err(tonic::Status::unimplemented("not built yet"))
    }
    async fn list_prices(&self, _: Request<ListPricesRequest>) -> Reply<ListPricesResponse> {
        Err(tonic::Status::unimplemented("not built yet"))
    }
    async fn appeal_decision(&self, _: Request<AppealDecisionRequest>) -> Reply<AppealDecisionResponse> {
        Err(tonic::Status::unimplemented("not built yet"))
    }
    async fn decide_appeal(&self, _: Request<DecideAppealRequest>) -> Reply<DecideAppealResponse> {
        Err(tonic::Status::unimplemented("not built yet"))
    }
    type GetEvidenceStream = Replies<GetEvidenceResponse>;
    async fn get_evidence(&self, request: Request<GetEvidenceRequest>) -> Reply<Self::GetEvidenceStream> {
        evidence::get(self, request).await
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
