//! The calls of a life, and the failures that they are sent under.

use std::{collections::BTreeMap, time::Duration};

use prost::Message;
use rand::{Rng, rngs::StdRng};
use sqlx::PgConnection;
use tokio::time::timeout;
use tonic::{Code, Request, Status};
use warranty::contract::{
    google::r#type::Money,
    v1::{
        claim_service_client::ClaimServiceClient, logistics_service_client::LogisticsServiceClient,
        registry_service_client::RegistryServiceClient, *,
    },
};

use super::model::{Act, Model, Unit};
use crate::world::{Authed, fen_as_money, id};

/// What a call gave.
#[derive(Clone, Debug, Default)]
pub struct Done {
    pub claim: Option<Claim>,
    pub shipment: String,
    pub quote: String,
    pub total: i64,
    pub reply: Vec<u8>,
}

#[derive(Clone)]
pub struct Hands {
    pub claims: ClaimServiceClient<Authed>,
    pub logistics: LogisticsServiceClient<Authed>,
    pub staff_claims: ClaimServiceClient<Authed>,
    pub staff_logistics: LogisticsServiceClient<Authed>,
    pub staff_registry: RegistryServiceClient<Authed>,
}

macro_rules! asks {
    ($($ask:ident($request:ident) $client:ident.$method:ident |$reply:ident| $done:expr;)*) => {
        #[derive(Clone, Debug)]
        pub enum Ask { $($ask($request)),* }

        impl Hands {
            pub async fn send(mut self, ask: Ask, within: Option<Duration>) -> Result<Done, Status> {
                match ask {
                    $(Ask::$ask(request) => {
                        let mut request = Request::new(request);
                        if let Some(within) = within {
                            request.set_timeout(within);
                        }
                        let $reply = self.$client.$method(request).await?.into_inner();
                        let reply = $reply.encode_to_vec();
                        Ok(Done { reply, ..$done })
                    })*
                }
            }
        }
    };
}

fn claim(claim: Option<Claim>) -> Done {
    Done { claim, ..Done::default() }
}

fn parcel(shipment: Option<Shipment>) -> Done {
    Done { shipment: shipment.unwrap().shipment_id, ..Done::default() }
}

fn quoted(of: Option<Claim>, quote: Option<Quote>) -> Done {
    let quote = quote.unwrap();
    Done { quote: quote.quote_id, total: fen(&quote.total.unwrap()), ..claim(of) }
}

fn fen(money: &Money) -> i64 {
    money.units * 100 + i64::from(money.nanos) / 10_000_000
}

asks! {
    File(FileClaimRequest) claims.file_claim |reply| claim(reply.claim.clone());
    Guide(RecordGuidanceRequest) staff_claims.record_guidance |reply| claim(reply.claim.clone());
    Cancel(CancelClaimRequest) claims.cancel_claim |reply| claim(reply.claim.clone());
    Swap(RecordSwapRequest) claims.record_swap |reply| claim(reply.claim.clone());
    OpenReturn(OpenReturnRequest) logistics.open_return |reply| parcel(reply.shipment.clone());
    Receive(ReceiveReturnRequest) staff_logistics.receive_return |reply| claim(reply.claims.first().cloned());
    Inspect(RecordInspectionRequest) staff_claims.record_inspection |reply| claim(reply.claim.clone());
    Quote(QuoteRepairRequest) staff_claims.quote_repair |reply| quoted(reply.claim.clone(), reply.quote.clone());
    Accept(AcceptQuoteRequest) claims.accept_quote |reply| claim(reply.claim.clone());
    Decline(DeclineQuoteRequest) claims.decline_quote |reply| claim(reply.claim.clone());
    Repair(RecordRepairRequest) staff_claims.record_repair |reply| claim(reply.claim.clone());
    Replace(RecordReplacementRequest) staff_claims.record_replacement |reply| claim(reply.claim.clone());
    BeyondRepair(RecordBeyondRepairRequest) staff_claims.record_beyond_repair |reply| claim(reply.claim.clone());
    Appeal(AppealDecisionRequest) claims.appeal_decision |reply| claim(reply.claim.clone());
    Decide(DecideAppealRequest) staff_claims.decide_appeal |reply| claim(reply.claim.clone());
    Dispatch(DispatchOutboundRequest) staff_logistics.dispatch_outbound |reply| parcel(reply.shipment.clone());
    Deliver(ConfirmDeliveryRequest) staff_logistics.confirm_delivery |reply| parcel(reply.shipment.clone());
    Pay(RecordPaymentRequest) staff_claims.record_payment |reply| claim(reply.claim.clone());
    CloseLost(CloseLostRequest) staff_logistics.close_lost |reply| claim(reply.claim.clone());
    Lose(RecordLossRequest) staff_logistics.record_loss |reply| parcel(reply.shipment.clone());
    Track(RecordTrackingRequest) logistics.record_tracking |reply| Done::default();
    StaffTracks(RecordTrackingRequest) staff_logistics.record_tracking |reply| Done::default();
    Settle(SettleSetAsideRequest) staff_logistics.settle_set_aside |reply| claim(reply.claim.clone());
    PutLocation(PutStockLocationRequest) staff_logistics.put_stock_location |reply| Done::default();
    ReceiveStock(ReceiveStockRequest) staff_logistics.receive_stock |reply| Done::default();
    MoveStock(MoveStockRequest) staff_logistics.move_stock |reply| Done::default();
    Allocate(AllocateReplacementRequest) staff_logistics.allocate_replacement |reply| Done::default();
    Release(ReleaseAllocationRequest) staff_logistics.release_allocation |reply| Done::default();
    Refurbish(RefurbishUnitRequest) staff_logistics.refurbish_unit |reply| Done::default();
    Limit(SetDealerDebtLimitRequest) staff_registry.set_dealer_debt_limit |reply| Done::default();
    Net(NetDebtsRequest) staff_logistics.net_debts |reply| Done::default();
    WriteOff(WriteOffDebtRequest) staff_logistics.write_off_debt |reply| Done::default();
}

/// The request of an act. `given` is a fresh unit for the acts that give one.
pub fn ask(act: &Act, unit: &Unit, version: i64, given: &str) -> Ask {
    let (request_id, serial, reason) = (id(), unit.serial.clone(), "as told".to_owned());
    let of = unit.claim.clone().unwrap_or_else(|| Model::filed(String::new()));
    let (claim_id, given_serial, carrier) = (of.id.clone(), given.to_owned(), "SF".to_owned());
    let quote = |current: bool| of.quotes[of.quotes.len() - if current { 1 } else { 2 }].clone();
    match act {
        Act::File => Ask::File(FileClaimRequest { request_id, ..crate::world::filing(&serial) }),
        Act::Guide(outcome) => Ask::Guide(RecordGuidanceRequest {
            request_id,
            claim_id,
            version,
            outcome: (*outcome).into(),
            reason,
            ..Default::default()
        }),
        Act::Cancel => Ask::Cancel(CancelClaimRequest { request_id, claim_id, version, reason }),
        Act::Swap => Ask::Swap(RecordSwapRequest { request_id, claim_id, version, given_serial }),
        Act::OpenReturn => {
            Ask::OpenReturn(OpenReturnRequest { request_id, claim_ids: vec![claim_id], carrier, ..Default::default() })
        }
        Act::Receive => {
            let item = ReceivedItem { return_number: of.return_number, serial, ..Default::default() };
            Ask::Receive(ReceiveReturnRequest {
                request_id,
                shipment_id: of.inbound,
                items: vec![item],
                ..Default::default()
            })
        }
        Act::Inspect { seal_broken } => {
            let findings = if *seal_broken { vec![Clause::X3.into()] } else { vec![] };
            Ask::Inspect(RecordInspectionRequest { request_id, claim_id, version, findings, ..Default::default() })
        }
        Act::Quote => Ask::Quote(QuoteRepairRequest { request_id, claim_id, version, ..Default::default() }),
        Act::Accept { current } => {
            Ask::Accept(AcceptQuoteRequest { request_id, claim_id, version, quote_id: quote(*current) })
        }
        Act::Decline { current } => {
            Ask::Decline(DeclineQuoteRequest { request_id, claim_id, version, quote_id: quote(*current), reason })
        }
        Act::Repair => Ask::Repair(RecordRepairRequest { request_id, claim_id, version, ..Default::default() }),
        Act::Replace => Ask::Replace(RecordReplacementRequest { request_id, claim_id, version, given_serial, reason }),
        Act::BeyondRepair => Ask::BeyondRepair(RecordBeyondRepairRequest { request_id, claim_id, version, reason }),
        Act::Appeal => Ask::Appeal(AppealDecisionRequest { request_id, claim_id, version, reason }),
        Act::Decide(goodwill) => Ask::Decide(DecideAppealRequest {
            request_id,
            claim_id,
            version,
            outcome: goodwill.map_or(AppealOutcome::Upheld, |_| AppealOutcome::Overridden).into(),
            reason,
            goodwill_remedy: goodwill.map_or(0, Into::into),
            goodwill_cost: goodwill.map(|_| fen_as_money(4_321)),
        }),
        Act::Dispatch { names } => {
            let given_serial = if *names { given_serial } else { String::new() };
            let items = vec![DispatchItem { claim_id, given_serial }];
            Ask::Dispatch(DispatchOutboundRequest { request_id, items, carrier, ..Default::default() })
        }
        Act::Deliver => {
            Ask::Deliver(ConfirmDeliveryRequest { request_id, shipment_id: of.outbound, claim_ids: vec![claim_id] })
        }
        Act::CloseLost => Ask::CloseLost(CloseLostRequest { request_id, claim_id, version, reason }),
        Act::Pay { more } => {
            let (amount, reference) = (Some(fen_as_money((of.charge + more).max(1))), request_id.clone());
            Ask::Pay(RecordPaymentRequest { request_id, claim_id, version, amount, reference })
        }
    }
}

/// How often each thing happened.
pub type Tally = BTreeMap<String, usize>;

pub fn seen(tally: &mut Tally, what: impl Into<String>) {
    *tally.entry(what.into()).or_default() += 1;
}

/// Whether the outcome is unknown and the same request tells.
pub fn unknown(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled)
}

/// Sends a request under a failure, then again until it is known what came of it.
pub async fn send(
    hands: &Hands,
    ask: Ask,
    rng: &mut StdRng,
    owner: &mut PgConnection,
    tally: &mut Tally,
) -> Result<Done, Status> {
    let first = match rng.random_range(0..20) {
        0 => {
            let wait = Duration::from_micros(rng.random_range(0..12_000));
            let answer = timeout(wait, hands.clone().send(ask.clone(), None)).await.ok();
            answer.is_none().then(|| seen(tally, "failure: dropped"));
            answer
        }
        1 => {
            let within = Duration::from_micros(rng.random_range(500..12_000));
            let answer = hands.clone().send(ask.clone(), Some(within)).await;
            answer.as_ref().is_err_and(unknown).then(|| seen(tally, "failure: too little time"));
            Some(answer)
        }
        2 => {
            let kill =
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database()
                        AND application_name IN ('warranty-claim', 'warranty-logistics') AND state <> 'idle'";
            let wait = Duration::from_micros(rng.random_range(1_000..12_000));
            let killer = async {
                tokio::time::sleep(wait).await;
                sqlx::query_scalar::<_, i64>(kill).fetch_one(owner).await.unwrap()
            };
            let (answer, killed) = tokio::join!(hands.clone().send(ask.clone(), None), killer);
            (killed > 0).then(|| seen(tally, "failure: connections killed"));
            answer.as_ref().is_err_and(unknown).then(|| seen(tally, "failure: a killed connection was the call's own"));
            Some(answer)
        }
        3 => {
            let twice = tokio::join!(hands.clone().send(ask.clone(), None), hands.clone().send(ask.clone(), None));
            if let (Ok(one), Ok(two)) = &twice {
                assert_eq!(one.reply, two.reply, "{ask:?}");
                seen(tally, "failure: sent twice at once");
            }
            Some(twice.0)
        }
        _ => Some(hands.clone().send(ask.clone(), None).await),
    };
    let mut answer = first;
    for _ in 0..200 {
        match answer {
            Some(Err(status)) if unknown(&status) => {}
            Some(known) => return known,
            None => {}
        }
        seen(tally, "asked again");
        tokio::time::sleep(Duration::from_millis(5)).await;
        answer = Some(hands.clone().send(ask.clone(), None).await);
    }
    panic!("never known what came of {ask:?}");
}
