//! Random lives of claims, by a seed: dealers, customers, support, depot and billing act on the real services while calls are
//! dropped, sent twice, given too little time, and connections to the database are killed. A model says what each call comes to.
//!
//! SIMULATION_ACTIONS and SIMULATION_SEED change the run; `make simulation` is the long one.

use std::{collections::BTreeMap, time::Duration};

use futures::future::join_all;
use indicatif::ProgressBar;
use prost::Message;
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use sqlx::{Connection, PgConnection};
use tokio::time::timeout;
use tonic::{Code, Request, Status};
use uuid::Uuid;
use warranty::{
    audit,
    contract::{
        google::r#type::Money,
        v1::{claim_service_client::ClaimServiceClient, logistics_service_client::LogisticsServiceClient, *},
    },
};

use crate::world::{Authed, Caller, World, date, fen_as_money, id, refusal};

const SEED: u64 = 20_260_615;
const ACTIONS: usize = 500;
/// Each acts on units of its own, in its own order; all act at once.
const ACTORS: usize = 8;

// ---- the model: what a claim allows and becomes, said a second time

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Sold in these days: replaced.
    Fresh,
    /// In its year, or in the months after a repair: repaired free.
    Covered,
    /// Paid for.
    Old,
}

#[derive(Clone, Debug)]
struct Unit {
    serial: String,
    kind: Kind,
    superseded: bool,
    /// The claim that it has, or had last.
    claim: Option<Model>,
}

#[derive(Clone, Debug)]
struct Model {
    id: String,
    state: ClaimState,
    version: i64,
    gives: Remedy,
    outcome: ClaimOutcome,
    confirmed: bool,
    swapped: bool,
    goodwill: bool,
    names_owed: bool,
    /// None, open, decided.
    appeal: u8,
    quotes: Vec<String>,
    charge: i64,
    paid: bool,
    return_number: String,
    inbound: String,
    outbound: String,
}

#[derive(Clone, Debug, strum::IntoStaticStr)]
enum Act {
    File,
    Guide(GuidanceOutcome),
    Cancel,
    Swap,
    OpenReturn,
    Receive,
    Inspect { seal_broken: bool },
    Quote,
    Accept { current: bool },
    Decline { current: bool },
    Repair,
    Replace,
    BeyondRepair,
    Appeal,
    Decide(Option<Remedy>),
    Dispatch { names: bool },
    Deliver,
    Pay { more: i64 },
}

/// Every action with each of its choices; more often what leads on.
fn acts() -> Vec<Act> {
    use GuidanceOutcome as G;
    let often =
        [Act::Guide(G::Confirmed), Act::OpenReturn, Act::Swap, Act::Accept { current: true }, Act::Pay { more: 0 }];
    let mut acts = vec![Act::File, Act::Cancel, Act::Swap, Act::OpenReturn, Act::Receive, Act::Quote, Act::Repair];
    acts.extend([G::Waived, G::Solved, G::Rejected].map(Act::Guide));
    acts.extend(often.iter().cycle().take(4 * often.len()).cloned());
    acts.extend([true, false].map(|seal_broken| Act::Inspect { seal_broken }));
    acts.push(Act::Accept { current: false });
    acts.extend([true, false].map(|current| Act::Decline { current }));
    acts.extend([Act::Replace, Act::BeyondRepair, Act::Appeal, Act::Deliver]);
    acts.extend([None, Some(Remedy::FreeRepair), Some(Remedy::DirectReplacement)].map(Act::Decide));
    acts.extend([true, false].map(|names| Act::Dispatch { names }));
    acts.extend([1, -1].map(|more| Act::Pay { more }));
    acts
}

impl Unit {
    /// The state that the act leads to, or the reason that it is refused with; none where the call has nothing to name.
    fn predict(&self, act: &Act, dealer: bool, credit: bool) -> Option<Result<ClaimState, &'static str>> {
        use ClaimState as S;
        let over = |claim: &Model| matches!(claim.state, S::Resolved | S::Rejected | S::Closed | S::Cancelled);
        if let Act::File = act {
            return Some(match &self.claim {
                _ if self.superseded => Err("UNIT_SUPERSEDED"),
                Some(claim) if !over(claim) => Err("OPEN_CLAIM_EXISTS"),
                _ => Ok(S::Filed),
            });
        }
        let claim = self.claim.as_ref()?;
        let allowed = match claim.states_for(act, dealer)? {
            Ok(states) => states,
            Err(reason) => return Some(Err(reason)),
        };
        if !allowed.contains(&claim.state) {
            return Some(Err("WRONG_STATE"));
        }
        let (paid_service, waits) = (claim.gives == Remedy::PaidService, claim.appeal == 1);
        let owes_a_unit = claim.outcome == ClaimOutcome::Replenishment && !claim.names_owed;
        Some(match act {
            Act::Guide(GuidanceOutcome::Solved) => Ok(S::Resolved),
            Act::Guide(GuidanceOutcome::Rejected) => Ok(S::Rejected),
            Act::Guide(_) => Ok(S::Authorized),
            Act::Swap if !claim.confirmed => Err("FAULT_NOT_CONFIRMED"),
            Act::Swap if self.kind != Kind::Fresh => Err("REMEDY_MISMATCH"),
            Act::Quote
            | Act::Accept { .. }
            | Act::Decline { .. }
            | Act::Repair
            | Act::Replace
            | Act::Dispatch { .. }
                if waits =>
            {
                Err("APPEAL_OPEN")
            }
            Act::Accept { current: false } | Act::Decline { current: false } => Err("QUOTE_NOT_CURRENT"),
            Act::Repair if claim.gives == Remedy::DirectReplacement => Err("REMEDY_MISMATCH"),
            Act::Replace if paid_service => Err("REMEDY_MISMATCH"),
            Act::BeyondRepair if !paid_service => Err("REMEDY_MISMATCH"),
            Act::Dispatch { .. }
                if claim.outcome == ClaimOutcome::Repaired && claim.charge > 0 && !claim.paid && !credit =>
            {
                Err("NOT_PAID")
            }
            Act::Dispatch { names } if *names != owes_a_unit => Err("UNIT_NOT_GIVABLE"),
            Act::Pay { more } if *more < 0 => Err("PAYMENT_PARTIAL"),
            Act::Pay { more } if *more > 0 => Err("PAYMENT_EXCESS"),
            Act::Inspect { seal_broken } => Ok(match (self.kind, claim.swapped) {
                _ if *seal_broken => S::Inspected,
                (Kind::Old, _) => S::Inspected,
                (Kind::Fresh, true) => S::Ready,
                _ => S::InRepair,
            }),
            Act::File => Ok(S::Filed),
            Act::Cancel => Ok(S::Cancelled),
            Act::Swap => Ok(S::Swapped),
            Act::OpenReturn => Ok(S::InTransit),
            Act::Receive => Ok(S::Received),
            Act::Quote => Ok(S::Quoted),
            Act::Accept { .. } => Ok(S::InRepair),
            Act::Decline { .. } | Act::Repair | Act::Replace | Act::BeyondRepair => Ok(S::Ready),
            Act::Decide(Some(_)) => Ok(S::InRepair),
            Act::Dispatch { .. } => Ok(S::Dispatched),
            Act::Deliver => Ok(S::Closed),
            Act::Appeal | Act::Decide(None) | Act::Pay { .. } => Ok(claim.state),
        })
    }

    /// The unit after the act was done; `given` is the unit that took its place, where one did.
    fn become_(&mut self, act: &Act, state: ClaimState, done: &Done) {
        if let Act::File = act {
            let id = done.claim.as_ref().unwrap().claim_id.clone();
            self.claim = Some(Model::filed(id));
            return;
        }
        let claim = self.claim.as_mut().unwrap();
        (claim.state, claim.version) = (state, claim.version + 1);
        let from_kind = match self.kind {
            Kind::Fresh => Remedy::DirectReplacement,
            Kind::Covered => Remedy::FreeRepair,
            Kind::Old => Remedy::PaidService,
        };
        match act {
            Act::Guide(outcome) => {
                claim.confirmed = *outcome == GuidanceOutcome::Confirmed;
                claim.return_number = done.claim.as_ref().unwrap().return_number.clone();
            }
            Act::Swap => (claim.swapped, self.superseded) = (true, true),
            Act::OpenReturn => claim.inbound = done.shipment.clone(),
            Act::Inspect { seal_broken } => {
                claim.gives = if *seal_broken { Remedy::PaidService } else { from_kind };
                if state == ClaimState::Ready {
                    claim.outcome = ClaimOutcome::Replenishment;
                }
            }
            Act::Quote => {
                claim.quotes.push(done.quote.clone());
                claim.charge = done.total;
            }
            Act::Decline { .. } | Act::BeyondRepair => (claim.outcome, claim.charge) = (ClaimOutcome::AsItCame, 0),
            Act::Repair => {
                claim.outcome = ClaimOutcome::Repaired;
                // Three months of its own (T6, P2), which a repair as goodwill does not open.
                if self.kind == Kind::Old && !claim.goodwill {
                    self.kind = Kind::Covered;
                }
            }
            Act::Replace if claim.swapped => (claim.outcome, claim.names_owed) = (ClaimOutcome::Replenishment, true),
            Act::Replace => (claim.outcome, self.superseded) = (ClaimOutcome::Replaced, true),
            Act::Appeal => claim.appeal = 1,
            Act::Decide(goodwill) => {
                claim.appeal = 2;
                if let Some(remedy) = goodwill {
                    (claim.gives, claim.goodwill, claim.charge, claim.outcome) =
                        (*remedy, true, 0, ClaimOutcome::Unspecified);
                }
            }
            Act::Dispatch { .. } => claim.outbound = done.shipment.clone(),
            Act::Pay { .. } => claim.paid = true,
            _ => {}
        }
    }
}

impl Model {
    /// The states that allow an act, or the reason that comes first; none where the call has nothing to name.
    fn states_for(&self, act: &Act, dealer: bool) -> Option<Result<&'static [ClaimState], &'static str>> {
        use ClaimState as S;
        let claim = self;
        let states: &[S] = match act {
            Act::File | Act::Guide(_) => &[S::Filed],
            Act::Cancel => &[S::Filed, S::Authorized],
            Act::Swap if !dealer => return None,
            Act::Swap => &[S::Authorized],
            Act::OpenReturn => &[S::Authorized, S::Swapped],
            Act::Receive if claim.inbound.is_empty() => return None,
            Act::Receive => &[S::InTransit],
            Act::Inspect { .. } => &[S::Received],
            Act::Quote => &[S::Inspected, S::Quoted],
            Act::Accept { current } | Act::Decline { current } if claim.quotes.len() < 2 - usize::from(*current) => {
                return None;
            }
            Act::Accept { .. } | Act::Decline { .. } => &[S::Quoted],
            Act::Repair | Act::Replace | Act::BeyondRepair => &[S::InRepair],
            Act::Appeal if claim.appeal > 0 => return Some(Err("APPEALED_BEFORE")),
            Act::Appeal if claim.state == S::Ready && claim.outcome != ClaimOutcome::AsItCame => &[],
            // A price that was agreed on is not appealed against.
            Act::Appeal if claim.state == S::InRepair && claim.charge > 0 => &[],
            Act::Appeal => &[S::Inspected, S::Quoted, S::InRepair, S::Ready],
            Act::Decide(_) if claim.appeal != 1 => return Some(Err("NO_APPEAL")),
            Act::Decide(_) => &[S::Inspected, S::Quoted, S::InRepair, S::Ready],
            Act::Dispatch { .. } => &[S::Ready],
            Act::Deliver if claim.outbound.is_empty() => return None,
            Act::Deliver => &[S::Dispatched],
            Act::Pay { .. } if claim.paid => return Some(Err("ALREADY_PAID")),
            Act::Pay { .. } if claim.outcome != ClaimOutcome::Repaired || claim.charge == 0 => {
                return Some(Err("NOTHING_CHARGED"));
            }
            Act::Pay { .. } => &[S::Ready, S::Dispatched, S::Closed],
        };
        Some(Ok(states))
    }

    fn filed(id: String) -> Self {
        Self {
            id,
            state: ClaimState::Filed,
            version: 1,
            gives: Remedy::Unspecified,
            outcome: ClaimOutcome::Unspecified,
            confirmed: false,
            swapped: false,
            goodwill: false,
            names_owed: false,
            appeal: 0,
            quotes: Vec::new(),
            charge: 0,
            paid: false,
            return_number: String::new(),
            inbound: String::new(),
            outbound: String::new(),
        }
    }
}

// ---- the calls

/// What a call gave.
#[derive(Clone, Debug, Default)]
struct Done {
    claim: Option<Claim>,
    shipment: String,
    quote: String,
    total: i64,
    reply: Vec<u8>,
}

#[derive(Clone)]
struct Hands {
    claims: ClaimServiceClient<Authed>,
    logistics: LogisticsServiceClient<Authed>,
    staff_claims: ClaimServiceClient<Authed>,
    staff_logistics: LogisticsServiceClient<Authed>,
}

macro_rules! asks {
    ($($ask:ident($request:ident) $client:ident.$method:ident |$reply:ident| $done:expr;)*) => {
        #[derive(Clone, Debug)]
        enum Ask { $($ask($request)),* }

        impl Hands {
            async fn send(mut self, ask: Ask, within: Option<Duration>) -> Result<Done, Status> {
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
}

/// The request of an act. `given` is a fresh unit for the acts that give one.
fn ask(act: &Act, unit: &Unit, version: i64, given: &str) -> Ask {
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
            Ask::Deliver(ConfirmDeliveryRequest { request_id, shipment_id: of.outbound, claim_ids: vec![] })
        }
        Act::Pay { more } => {
            let (amount, reference) = (Some(fen_as_money((of.charge + more).max(1))), request_id.clone());
            Ask::Pay(RecordPaymentRequest { request_id, claim_id, version, amount, reference })
        }
    }
}

// ---- failures

/// How often each thing happened.
type Tally = BTreeMap<String, usize>;

fn seen(tally: &mut Tally, what: impl Into<String>) {
    *tally.entry(what.into()).or_default() += 1;
}

/// Whether the outcome is unknown and the same request tells.
fn unknown(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled)
}

/// Sends a request under a failure, then again until it is known what came of it.
async fn send(
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

// ---- an actor

struct Actor<'a> {
    world: &'a World,
    number: usize,
    dealer: bool,
    credit: bool,
    rng: StdRng,
    tally: Tally,
    units: Vec<Unit>,
    made: usize,
    customer: Option<Uuid>,
}

impl Actor<'_> {
    /// Registers a unit, and gives its serial.
    async fn register(&mut self) -> String {
        self.made += 1;
        let serial = format!("SIM{}X{:05}", self.number, self.made);
        let made = |unit: &mut warranty::contract::v1::Unit| {
            (unit.manufactured_date, unit.ex_factory_date) = (Some(date("2024-01-10")), Some(date("2024-01-20")));
        };
        self.world.unit_like(&serial, made).await;
        serial
    }

    /// A unit that the actor's dealer sold, so long ago as its kind is.
    async fn sell(&mut self) {
        let (kind, days) = [(Kind::Fresh, 3), (Kind::Covered, 60), (Kind::Old, 400)][self.rng.random_range(0..3)];
        let serial = self.register().await;
        let customer = match self.customer {
            Some(known) => Customer { customer: Some(customer::Customer::CustomerId(known.to_string())) },
            None => crate::world::contact(),
        };
        let request = RegisterSaleRequest {
            request_id: id(),
            serial: serial.clone(),
            sold_date: Some(self.world.today(-days)),
            invoice_number: format!("F-{serial}"),
            region: "CN-GD".into(),
            customer: Some(customer),
            ..Default::default()
        };
        let sale = self.world.dealer(self.dealer_id()).registry.register_sale(request).await.unwrap().into_inner().sale;
        self.customer = sale.unwrap().customer_id.parse().ok();
        self.units.push(Unit { serial, kind, superseded: false, claim: None });
    }

    fn dealer_id(&self) -> &'static str {
        if self.credit { "D2" } else { "D1" }
    }

    async fn live(mut self, actions: usize) -> (Tally, Vec<Unit>) {
        for _ in 0..6 {
            self.sell().await;
        }
        let Caller { claims, logistics, .. } = match self.dealer {
            true => self.world.dealer(self.dealer_id()),
            false => self.world.customer(self.customer.unwrap()),
        };
        let staff = self.world.staff();
        let hands = Hands { claims, logistics, staff_claims: staff.claims, staff_logistics: staff.logistics };
        let (mut owner, acts) = (self.world.owner().await, acts());
        let mut retired = Vec::new();
        for done in 0..actions {
            // Where a unit was replaced or is in its tenth claim, another one is sold.
            let over = |unit: &Unit| {
                unit.superseded
                    && unit
                        .claim
                        .as_ref()
                        .is_some_and(|claim| claim.state == ClaimState::Closed && claim.paid == (claim.charge > 0))
            };
            if let Some(at) = self.units.iter().position(over).filter(|_| done % 3 == 0) {
                retired.push(self.units.swap_remove(at));
                self.sell().await;
            }
            let at = self.rng.random_range(0..self.units.len());
            self.act(at, &hands, &acts, &mut owner).await;
        }
        retired.append(&mut self.units);
        (self.tally, retired)
    }

    /// Something that leads on, mostly; else anything.
    async fn act(&mut self, at: usize, hands: &Hands, acts: &[Act], owner: &mut PgConnection) {
        let credit = self.credit && self.dealer;
        let unit = &self.units[at];
        let known: Vec<_> =
            acts.iter().filter_map(|act| Some((act, unit.predict(act, self.dealer, credit)?))).collect();
        let leads: Vec<_> = known.iter().filter(|(_, predicted)| predicted.is_ok()).copied().collect();
        let among = if leads.is_empty() || self.rng.random_bool(0.25) { &known } else { &leads };
        let (act, mut predicted) = *among.choose(&mut self.rng).unwrap();
        let current = unit.claim.as_ref().map_or(0, |claim| claim.version);
        let version = [0, current].choose(&mut self.rng).copied().unwrap();
        let guarded =
            matches!(act, Act::Guide(_) | Act::Cancel | Act::Inspect { .. } | Act::Repair | Act::Quote | Act::Appeal);
        let stale = guarded && self.rng.random_bool(0.04);
        if stale {
            predicted = Err("VERSION_MISMATCH");
            seen(&mut self.tally, "failure: another version");
        }
        let gives = matches!(act, Act::Swap | Act::Replace | Act::Dispatch { names: true });
        let given = if gives { self.register().await } else { String::new() };
        let ask = ask(act, &self.units[at], if stale { current + 7 } else { version }, &given);
        let told = format!("{ask:?}");
        let answer = send(hands, ask, &mut self.rng, owner, &mut self.tally).await;
        let name: &'static str = act.into();
        let unit = &mut self.units[at];
        match (&answer, predicted) {
            (Ok(done), Ok(state)) => {
                unit.become_(act, state, done);
                let model = unit.claim.as_ref().unwrap();
                if let Some(claim) = &done.claim {
                    assert_eq!((claim.state(), claim.version), (model.state, model.version), "{told}\n{unit:#?}");
                }
                seen(&mut self.tally, format!("done: {name}"));
            }
            (Err(status), Err(reason)) => {
                assert_eq!(refusal(status).1, reason, "{told}\n{unit:#?}");
                seen(&mut self.tally, format!("refused: {reason}"));
            }
            _ => panic!("the model says {predicted:?}, the service {answer:?}: {told}\n{unit:#?}"),
        }
    }
}

/// What the environment says, else the default.
#[allow(clippy::disallowed_methods)] // A test's own, not the product's.
pub fn setting<T: std::str::FromStr>(name: &str, default: T) -> T {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[tokio::test(flavor = "multi_thread")]
async fn random_lives_of_claims_are_what_the_model_says_whatever_fails() {
    let (seed, actions) = (setting("SIMULATION_SEED", SEED), setting("SIMULATION_ACTIONS", ACTIONS));
    println!("seed {seed}, {actions} actions");
    let world = World::stocked().await;
    world.priced().await;
    let terms =
        SetDealerCreditTermsRequest { request_id: id(), dealer_id: "D2".into(), credit_terms: true, version: 0 };
    world.staff().registry.set_dealer_credit_terms(terms).await.unwrap();
    let mut watch = world.staff().claims.watch_claims(WatchClaimsRequest::default()).await.unwrap().into_inner();
    watch.message().await.unwrap();
    let lives = (0..ACTORS).map(|number| {
        Actor {
            world: &world,
            number,
            dealer: number % 4 != 3,
            credit: number % 2 == 1,
            rng: StdRng::seed_from_u64(seed + number as u64),
            tally: Tally::new(),
            units: Vec::new(),
            made: 0,
            customer: None,
        }
        .live(actions / ACTORS)
    });
    let lived = join_all(lives).await;
    let mut tally = Tally::new();
    for (what, count) in lived.iter().flat_map(|(tally, _)| tally) {
        *tally.entry(what.clone()).or_default() += count;
    }
    println!("{tally:#?}");
    for failure in ["dropped", "too little time", "connections killed", "sent twice at once", "another version"] {
        let hits = tally.get(&format!("failure: {failure}")).copied().unwrap_or_default();
        assert!(hits * 500 >= actions, "{failure} hit {hits} times");
    }

    let mut owner = world.owner().await;
    // The latest claim of each unit stands where the model says.
    for unit in lived.iter().flat_map(|(_, units)| units) {
        let Some(model) = &unit.claim else { continue };
        let row: (String, i64) = sqlx::query_as("SELECT state, version FROM claims WHERE claim_id = $1")
            .bind(model.id.parse::<Uuid>().unwrap())
            .fetch_one(&mut owner)
            .await
            .unwrap();
        let state = model.state.as_str_name().trim_start_matches("CLAIM_STATE_").to_owned();
        assert_eq!(row, (state, model.version), "{unit:#?}");
    }
    let filed: i64 = sqlx::query_scalar("SELECT count(*) FROM claims").fetch_one(&mut owner).await.unwrap();
    assert_eq!(filed as usize, tally["done: File"], "each was filed once");
    let done: usize = tally.iter().filter(|(what, _)| what.starts_with("done: ")).map(|(_, count)| count).sum();
    let feed: Vec<(String,)> = sqlx::query_as("SELECT feed::text FROM claim_events ORDER BY claim_events.feed")
        .fetch_all(&mut owner)
        .await
        .unwrap();
    assert_eq!(feed.len(), done, "each act is one event");
    let mut faults = Vec::new();
    let verified =
        audit::verify(&world.url, &ProgressBar::hidden(), |fault| faults.push(fault.to_string())).await.unwrap();
    faults.truncate(3);
    assert_eq!((verified, faults), (filed as u64, vec![]), "each row is the fold of its events, each chain whole");
    // Who watched all the time was told each event, once, in order.
    let mut told = Vec::new();
    while told.len() < feed.len() {
        let next =
            timeout(Duration::from_secs(30), watch.message()).await.expect("an event is missing").unwrap().unwrap();
        told.extend(next.event.is_some().then_some((next.cursor,)));
    }
    assert_eq!(told, feed);
    invariants(&mut owner).await;
    owner.close().await.unwrap();
}

/// What no run may break, asked of the tables.
async fn invariants(owner: &mut PgConnection) {
    for (what, broken) in [
        (
            "a unit has one open claim",
            "SELECT count(*) FROM (SELECT serial FROM claims WHERE state NOT IN ('RESOLVED', 'REJECTED', 'CLOSED', 'CANCELLED')
                                    GROUP BY serial HAVING count(*) > 1) twice",
        ),
        (
            "a unit is replaced once and given once",
            "SELECT count(*) FROM (SELECT serial FROM (SELECT swapped_for AS serial FROM claims UNION ALL SELECT outcome_serial FROM claims
                                                       ) given WHERE serial IS NOT NULL GROUP BY serial HAVING count(*) > 1
                                   UNION ALL SELECT replaced_serial FROM replacements GROUP BY 1 HAVING count(*) > 1) twice",
        ),
        (
            "who is replaced is replaced under a claim that says so",
            "SELECT count(*) FROM replacements r LEFT JOIN claims c USING (claim_id)
              WHERE coalesce(c.swapped_for, c.outcome_serial) IS DISTINCT FROM r.replacement_serial",
        ),
        (
            "paid is what is charged",
            "SELECT count(*) FROM claims WHERE paid AND (charge_fen IS NULL OR outcome IS DISTINCT FROM 'REPAIRED')",
        ),
        (
            "what is charged and not paid has left only by credit terms",
            "SELECT count(*) FROM claims WHERE outcome = 'REPAIRED' AND charge_fen > 0 AND NOT paid AND state IN ('DISPATCHED', 'CLOSED')
                AND dealer_id IS DISTINCT FROM 'D2'",
        ),
        (
            "billing's feed sums to the claims",
            "SELECT count(*) FROM (VALUES ('CHARGE', (SELECT sum(charge_fen) FROM claims WHERE outcome = 'REPAIRED')),
                    ('PAYMENT', (SELECT sum(charge_fen) FROM claims WHERE paid)),
                    ('GOODWILL', (SELECT sum(goodwill_cost_fen) FROM claims))) AS claimed (kind, total)
              WHERE total IS DISTINCT FROM (SELECT sum(amount_fen) FROM billables b WHERE b.kind = claimed.kind)",
        ),
        (
            "no request was answered twice",
            "SELECT count(*) - count(DISTINCT (caller, request_id)) FROM request_log",
        ),
    ] {
        let broken: i64 = sqlx::query_scalar(broken).fetch_one(&mut *owner).await.unwrap();
        assert_eq!(broken, 0, "{what}");
    }
}
