//! The life of a claim: what each state allows and refuses, what a swap asks, what races end in, and that a row is the fold of
//! its events. The ways from filing to the end are walked by `warranty walk` (tests/it/walk.rs).

use std::collections::BTreeMap;

use futures::future::join_all;
use sqlx::Row;
use tonic::{Code, Response, Status};
use uuid::Uuid;
use warranty::{
    contract::v1::*,
    domain::{
        actor::Actor,
        calendar::STANDARD_CALENDAR,
        claim,
        coverage::decide,
        policy::{Policies, STANDARD_POLICY},
    },
    store::{self, Role},
};

use crate::world::{World, fen_as_money, filing, id, metadata, refusal, violations};

pub type Outcome<T> = Result<T, Status>;

/// Drives claims of D1's, one call a step.
pub struct Life<'a>(pub &'a World);

impl Life<'_> {
    pub async fn guide(&self, claim: &str, outcome: GuidanceOutcome) -> Outcome<Claim> {
        let reason = "as told".to_owned();
        let request = RecordGuidanceRequest {
            request_id: id(),
            claim_id: claim.into(),
            outcome: outcome.into(),
            reason,
            ..Default::default()
        };
        Ok(self.0.staff().claims.record_guidance(request).await?.into_inner().claim.unwrap())
    }
    pub async fn swap(&self, claim: &str, given: &str) -> Outcome<Claim> {
        let request =
            RecordSwapRequest { request_id: id(), claim_id: claim.into(), given_serial: given.into(), version: 0 };
        Ok(self.0.dealer("D1").claims.record_swap(request).await?.into_inner().claim.unwrap())
    }
    pub async fn open_return(&self, claims: &[&str]) -> Outcome<Shipment> {
        let claim_ids = claims.iter().map(|claim| (*claim).to_owned()).collect();
        let request =
            OpenReturnRequest { request_id: id(), claim_ids, carrier: "SF".into(), tracking_number: String::new() };
        Ok(self.0.dealer("D1").logistics.open_return(request).await?.into_inner().shipment.unwrap())
    }
    pub async fn receive(
        &self,
        claim: &Claim,
        shipment: &str,
        change: impl FnOnce(&mut ReceivedItem),
    ) -> Outcome<Claim> {
        let mut item = ReceivedItem {
            return_number: claim.return_number.clone(),
            serial: claim.serial.clone(),
            ..Default::default()
        };
        change(&mut item);
        let request = ReceiveReturnRequest {
            request_id: id(),
            shipment_id: shipment.into(),
            items: vec![item],
            ..Default::default()
        };
        Ok(self.0.staff().logistics.receive_return(request).await?.into_inner().claims.remove(0))
    }
    pub async fn inspect(&self, claim: &str, findings: &[Clause]) -> Outcome<Claim> {
        self.inspect_as(claim, findings, FaultReport::default()).await
    }
    pub async fn inspect_as(&self, claim: &str, findings: &[Clause], report: FaultReport) -> Outcome<Claim> {
        let (findings, report) = (findings.iter().map(|clause| (*clause).into()).collect(), Some(report));
        let request = RecordInspectionRequest {
            request_id: id(),
            claim_id: claim.into(),
            findings,
            report,
            ..Default::default()
        };
        Ok(self.0.staff().claims.record_inspection(request).await?.into_inner().claim.unwrap())
    }
    pub async fn repair(&self, claim: &str) -> Outcome<Claim> {
        let request = RecordRepairRequest { request_id: id(), claim_id: claim.into(), ..Default::default() };
        Ok(self.0.staff().claims.record_repair(request).await?.into_inner().claim.unwrap())
    }
    pub async fn replace(&self, claim: &str, given: &str) -> Outcome<Claim> {
        let (reason, version) = ("beyond repair".to_owned(), 0);
        let request = RecordReplacementRequest {
            request_id: id(),
            claim_id: claim.into(),
            given_serial: given.into(),
            reason,
            version,
        };
        Ok(self.0.staff().claims.record_replacement(request).await?.into_inner().claim.unwrap())
    }
    pub async fn dispatch(&self, claims: &[(&str, &str)]) -> Outcome<Shipment> {
        let items = claims
            .iter()
            .map(|(claim, given)| DispatchItem { claim_id: (*claim).into(), given_serial: (*given).into() })
            .collect();
        let request = DispatchOutboundRequest {
            request_id: id(),
            items,
            carrier: "SF".into(),
            tracking_number: "SF1".into(),
            recipient: None,
        };
        Ok(self.0.staff().logistics.dispatch_outbound(request).await?.into_inner().shipment.unwrap())
    }
    pub async fn deliver(&self, shipment: &str) -> Outcome<Shipment> {
        let request = ConfirmDeliveryRequest { request_id: id(), shipment_id: shipment.into(), claim_ids: vec![] };
        Ok(self.0.staff().logistics.confirm_delivery(request).await?.into_inner().shipment.unwrap())
    }
    /// Billing quotes by the price list, with these changes.
    pub async fn quote(&self, claim: &str, changes: Vec<QuoteLineChange>) -> Outcome<(Claim, Quote)> {
        let request = QuoteRepairRequest { request_id: id(), claim_id: claim.into(), version: 0, changes };
        let reply = self.0.staff().claims.quote_repair(request).await?.into_inner();
        Ok((reply.claim.unwrap(), reply.quote.unwrap()))
    }
    pub async fn accept(&self, claim: &str, quote: &str) -> Outcome<(Claim, Quote)> {
        let request =
            AcceptQuoteRequest { request_id: id(), claim_id: claim.into(), version: 0, quote_id: quote.into() };
        let reply = self.0.dealer("D1").claims.accept_quote(request).await?.into_inner();
        Ok((reply.claim.unwrap(), reply.quote.unwrap()))
    }
    pub async fn decline(&self, claim: &str, quote: &str) -> Outcome<(Claim, Quote)> {
        let (claim_id, quote_id, reason) = (claim.into(), quote.into(), "too dear".into());
        let request = DeclineQuoteRequest { request_id: id(), claim_id, version: 0, quote_id, reason };
        let reply = self.0.dealer("D1").claims.decline_quote(request).await?.into_inner();
        Ok((reply.claim.unwrap(), reply.quote.unwrap()))
    }
    pub async fn beyond_repair(&self, claim: &str) -> Outcome<Claim> {
        let (claim_id, reason) = (claim.into(), "the board is burnt through".into());
        let request = RecordBeyondRepairRequest { request_id: id(), claim_id, version: 0, reason };
        Ok(self.0.staff().claims.record_beyond_repair(request).await?.into_inner().claim.unwrap())
    }
    pub async fn pay(&self, claim: &str, fen: i64, reference: &str) -> Outcome<Claim> {
        let (claim_id, amount, reference) = (claim.into(), Some(fen_as_money(fen)), reference.into());
        let request = RecordPaymentRequest { request_id: id(), claim_id, version: 0, amount, reference };
        Ok(self.0.staff().claims.record_payment(request).await?.into_inner().claim.unwrap())
    }
    pub async fn appeal(&self, claim: &str) -> Outcome<Claim> {
        let (claim_id, reason) = (claim.into(), "the seal was never touched".into());
        let request = AppealDecisionRequest { request_id: id(), claim_id, version: 0, reason };
        Ok(self.0.dealer("D1").claims.appeal_decision(request).await?.into_inner().claim.unwrap())
    }
    /// These claims of a parcel are lost; where none is named, all that are on their way.
    pub async fn lose(&self, shipment: &str, claims: &[&str]) -> Outcome<Vec<Claim>> {
        let claim_ids = claims.iter().map(|claim| (*claim).to_owned()).collect();
        let reason = "the carrier cannot find it".to_owned();
        let request = RecordLossRequest { request_id: id(), shipment_id: shipment.into(), claim_ids, reason };
        Ok(self.0.staff().logistics.record_loss(request).await?.into_inner().claims)
    }
    pub async fn close_lost(&self, claim: &str) -> Outcome<Claim> {
        let (claim_id, reason) = (claim.into(), "nobody will find it".into());
        let request = CloseLostRequest { request_id: id(), claim_id, version: 0, reason };
        Ok(self.0.staff().logistics.close_lost(request).await?.into_inner().claim.unwrap())
    }
    async fn cancel(&self, claim: &str) -> Outcome<Claim> {
        let request = CancelClaimRequest { request_id: id(), claim_id: claim.into(), ..Default::default() };
        Ok(self.0.dealer("D1").claims.cancel_claim(request).await?.into_inner().claim.unwrap())
    }
    pub async fn get(&self, claim: &str) -> Claim {
        let request = GetClaimRequest { claim_id: claim.into(), ..Default::default() };
        self.0.dealer("D1").claims.get_claim(request).await.map(Response::into_inner).unwrap().claim.unwrap()
    }

    /// A claim for a unit sold `days` ago, brought to `state` by the shortest way.
    pub async fn in_state(&self, serial: &str, days: i64, state: ClaimState) -> Claim {
        use ClaimState as S;
        let claim = self.0.filed(serial, days).await;
        let of = claim.claim_id.as_str();
        match state {
            S::Filed => {}
            S::Resolved => drop(self.guide(of, GuidanceOutcome::Solved).await.unwrap()),
            S::Rejected => drop(self.guide(of, GuidanceOutcome::Rejected).await.unwrap()),
            S::Cancelled => drop(self.cancel(of).await.unwrap()),
            _ => {
                let authorized = self.guide(of, GuidanceOutcome::Confirmed).await.unwrap();
                if state == S::Swapped {
                    let given = format!("GIVEN{serial}");
                    self.0.unit(&given).await;
                    self.swap(of, &given).await.unwrap();
                } else if state != S::Authorized {
                    self.sent_in(&authorized, state).await;
                }
            }
        }
        let claim = self.get(of).await;
        assert_eq!(claim.state(), state);
        claim
    }

    async fn sent_in(&self, claim: &Claim, state: ClaimState) {
        use ClaimState as S;
        let of = claim.claim_id.as_str();
        let parcel = self.open_return(&[of]).await.unwrap();
        if state == S::Lost {
            self.lose(&parcel.shipment_id, &[]).await.unwrap();
        }
        if matches!(state, S::InTransit | S::Lost) {
            return;
        }
        self.receive(claim, &parcel.shipment_id, |_| {}).await.unwrap();
        if state == S::Received {
            return;
        }
        let findings = if matches!(state, S::Inspected | S::Quoted) { vec![Clause::X3] } else { vec![] };
        self.inspect(of, &findings).await.unwrap();
        if state == S::Quoted {
            self.0.priced().await;
            self.quote(of, vec![]).await.unwrap();
        }
        if matches!(state, S::Inspected | S::Quoted | S::InRepair) {
            return;
        }
        self.repair(of).await.unwrap();
        if state == S::Ready {
            return;
        }
        let parcel = self.dispatch(&[(of, "")]).await.unwrap();
        if state == S::Closed {
            self.deliver(&parcel.shipment_id).await.unwrap();
        }
    }

    /// Every action, tried on one claim: what it was refused with, or none where it was done.
    async fn try_action(&self, action: &str, claim: &Claim) -> Option<Status> {
        let of = claim.claim_id.as_str();
        let inbound = claim.inbound_shipment_id.as_str();
        let outbound = claim.outbound_shipment_id.as_str();
        let tried = match action {
            "GUIDE" => self.guide(of, GuidanceOutcome::Confirmed).await.map(drop),
            "SWAP" => self.swap(of, "SPARE1").await.map(drop),
            "OPEN_RETURN" => self.open_return(&[of]).await.map(drop),
            "RECEIVE" => self.receive(claim, inbound, |_| {}).await.map(drop),
            "INSPECT" => self.inspect(of, &[]).await.map(drop),
            "REPAIR" => self.repair(of).await.map(drop),
            "REPLACE" => self.replace(of, "SPARE1").await.map(drop),
            "DISPATCH" => self.dispatch(&[(of, "")]).await.map(drop),
            "DELIVER" => self.deliver(outbound).await.map(drop),
            "CANCEL" => self.cancel(of).await.map(drop),
            "QUOTE" => self.quote(of, vec![]).await.map(drop),
            "APPEAL" => self.appeal(of).await.map(drop),
            "RECORD_LOSS" => self.lose(if outbound.is_empty() { inbound } else { outbound }, &[of]).await.map(drop),
            "CLOSE_LOST" => self.close_lost(of).await.map(drop),
            other => panic!("no action {other}"),
        };
        tried.err()
    }
}

const ACTIONS: [&str; 14] = [
    "GUIDE",
    "SWAP",
    "OPEN_RETURN",
    "RECEIVE",
    "INSPECT",
    "REPAIR",
    "REPLACE",
    "DISPATCH",
    "DELIVER",
    "CANCEL",
    "QUOTE",
    "APPEAL",
    "RECORD_LOSS",
    "CLOSE_LOST",
];

/// The table of transitions, written out a second time.
const TABLE: [(ClaimState, &str); 15] = [
    (ClaimState::Filed, "GUIDE,CANCEL"),
    (ClaimState::Resolved, ""),
    (ClaimState::Rejected, ""),
    (ClaimState::Authorized, "SWAP,OPEN_RETURN,CANCEL"),
    (ClaimState::Swapped, "OPEN_RETURN,SETTLE_DEBT"),
    (ClaimState::InTransit, "RECEIVE,RECORD_LOSS"),
    (ClaimState::Received, "INSPECT"),
    (ClaimState::Inspected, "QUOTE,APPEAL"),
    (ClaimState::Quoted, "ACCEPT_QUOTE,DECLINE_QUOTE,QUOTE,APPEAL"),
    (ClaimState::InRepair, "REPAIR,REPLACE,APPEAL"),
    (ClaimState::Ready, "DISPATCH"),
    (ClaimState::Dispatched, "DELIVER,RECORD_LOSS"),
    (ClaimState::Closed, ""),
    (ClaimState::Cancelled, ""),
    (ClaimState::Lost, "RECEIVE,CLOSE_LOST"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_transition_that_the_table_does_not_have_is_refused_and_names_what_is_allowed() {
    let world = World::stocked().await;
    let life = Life(&world);
    world.unit("SPARE1").await;
    for (at, (state, allowed)) in TABLE.into_iter().enumerate() {
        // Within the 15 days where a swap is wanted, else in the year.
        let days = if matches!(state, ClaimState::Authorized | ClaimState::Swapped) { 3 } else { 60 };
        let claim = life.in_state(&format!("STATE{at:02}"), days, state).await;
        let forbidden = ACTIONS.into_iter().filter(|action| !allowed.split(',').any(|allowed| allowed == *action));
        for action in forbidden {
            // A parcel that the claim never had is not there to be received or delivered.
            let parcel = match action {
                "RECEIVE" => &claim.inbound_shipment_id,
                "DELIVER" => &claim.outbound_shipment_id,
                "RECORD_LOSS" => &claim.inbound_shipment_id,
                _ => "some",
            };
            let refused = life.try_action(action, &claim).await.unwrap_or_else(|| panic!("{state:?} allowed {action}"));
            if parcel.is_empty() {
                assert_eq!(refusal(&refused), (Code::InvalidArgument, "INVALID_FIELDS".into()), "{state:?} {action}");
                continue;
            }
            assert_eq!(
                refusal(&refused),
                (Code::FailedPrecondition, "WRONG_STATE".into()),
                "{state:?} {action}: {refused:?}"
            );
            assert_eq!(metadata(&refused, "allowed"), allowed, "{state:?} {action}");
            let name = state.as_str_name().strip_prefix("CLAIM_STATE_").unwrap();
            assert_eq!(metadata(&refused, "state"), name, "{state:?} {action}");
        }
        assert_eq!(life.get(&claim.claim_id).await, claim, "a refused call changes nothing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_row_is_the_fold_of_its_events_and_every_decision_can_be_made_again() {
    let world = World::stocked().await;
    let life = Life(&world);
    let mut ids = Vec::new();
    for (at, (state, _)) in TABLE.into_iter().enumerate() {
        let claim =
            life.in_state(&format!("FOLD{at:02}"), if state == ClaimState::Swapped { 3 } else { 60 }, state).await;
        ids.push(claim.claim_id.parse::<Uuid>().unwrap());
    }
    let pool = store::pool(&world.url, 1, Role::Claim).unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let actor = Actor::Staff("S1".into());
    let read = store::transaction(&pool, "fold", &actor, deadline, move |conn| {
        let ids = ids.clone();
        Box::pin(async move {
            let staff = Actor::Staff("S1".into());
            let mut read = Vec::new();
            for id in ids {
                let row = store::claims::get(&mut *conn, &staff, id).await?;
                let events = store::claims::events(&mut *conn, id, 0, 500).await?;
                read.push((row, events, store::claims::decisions(&mut *conn, &[id]).await?));
            }
            Ok(read)
        })
    });
    let policies = Policies::new(
        vec![serde_json::from_str(STANDARD_POLICY).unwrap()],
        serde_json::from_str(STANDARD_CALENDAR).unwrap(),
    )
    .unwrap();
    for (row, events, decisions) in read.await.unwrap() {
        let numbers: Vec<i64> = events.iter().map(|event| event.sequence).collect();
        assert_eq!(numbers, (1..=row.version).collect::<Vec<_>>());
        assert_eq!(events.last().unwrap().state, row.state_name());
        let folded =
            claim::Claim::fold(row.id, events.into_iter().map(|stored| (stored.event, stored.recorded_at))).unwrap();
        assert_eq!(folded, row);
        for made in decisions {
            assert_eq!(decide(&policies, &made.decided.facts, &made.decided.report).unwrap(), made.decided.decision);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_callers_at_once_open_one_claim() {
    let world = World::stocked().await;
    world.sold("RACE0001", 3).await;
    let calls = (0..50).map(|_| async {
        let mut dealer = world.dealer("D1");
        dealer.claims.file_claim(filing("RACE-0001")).await
    });
    let answers = tally(join_all(calls).await);
    assert_eq!(answers, BTreeMap::from([("FailedPrecondition OPEN_CLAIM_EXISTS".into(), 49), ("OK".into(), 1)]));
    assert_eq!(count(&world, "SELECT count(*) FROM claims").await, 1);
    assert_eq!(count(&world, "SELECT count(*) FROM claim_events").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_good_unit_is_given_to_one_of_fifty() {
    let world = World::stocked().await;
    let life = Life(&world);
    world.unit("PRIZE").await;
    let mut claims = Vec::new();
    for at in 0..50 {
        claims.push(life.in_state(&format!("WANT{at:02}"), 3, ClaimState::Authorized).await.claim_id);
    }
    let answers = tally(join_all(claims.iter().map(|claim| life.swap(claim, "PRIZE"))).await);
    assert_eq!(answers, BTreeMap::from([("FailedPrecondition UNIT_NOT_GIVABLE".into(), 49), ("OK".into(), 1)]));
    assert_eq!(count(&world, "SELECT count(*) FROM replacements").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_is_replaced_once_whoever_tries() {
    let world = World::stocked().await;
    let life = Life(&world);
    let claim = life.in_state("ONCE0001", 60, ClaimState::InRepair).await;
    for at in 0..50 {
        world.unit(&format!("GOOD{at:02}")).await;
    }
    let spares: Vec<String> = (0..50).map(|at| format!("GOOD{at:02}")).collect();
    let calls = spares.iter().map(|given| async {
        // Half of them under the claim, half as history from before the system.
        if given.ends_with(['0', '2', '4', '6', '8']) {
            return life.replace(&claim.claim_id, given).await.map(drop);
        }
        let step = Replacement {
            replaced_serial: "ONCE0001".into(),
            replacement_serial: given.clone(),
            replaced_date: Some(world.today(0)),
        };
        let request = RecordHistoryRequest { request_id: id(), repairs: vec![], replacements: vec![step] };
        world.staff().registry.record_history(request).await.map(drop)
    });
    let answers = tally(join_all(calls).await);
    assert_eq!(answers.get("OK"), Some(&1), "{answers:?}");
    assert_eq!(answers.values().sum::<i32>(), 50);
    assert_eq!(answers.get("FailedPrecondition OPEN_CLAIM_EXISTS"), Some(&25), "{answers:?}");
    assert_eq!(answers.get("FailedPrecondition WRONG_STATE"), Some(&24), "{answers:?}");
    assert_eq!(count(&world, "SELECT count(*) FROM replacements").await, 1);
}

/// How often each answer came.
pub fn tally<T>(answers: Vec<Outcome<T>>) -> BTreeMap<String, i32> {
    answers.into_iter().fold(BTreeMap::new(), |mut tally, answer| {
        let said = answer.err().map_or("OK".to_owned(), |status| {
            let (code, reason) = refusal(&status);
            format!("{code:?} {reason}")
        });
        *tally.entry(said).or_default() += 1;
        tally
    })
}

pub async fn count(world: &World, sql: &'static str) -> i64 {
    sqlx::query(sql).fetch_one(&mut world.owner().await).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_earliest_contact_decides() {
    let world = World::stocked().await;
    let claim = world.filed("EARLY001", 20).await;
    assert_eq!(claim.provisional_decision.as_ref().unwrap().remedy(), Remedy::FreeRepair);
    // The customer called on the fourteenth day, at two in the morning in Shanghai: still the thirteenth in Greenwich.
    let called = prost_types::Timestamp { seconds: 1_780_941_600, nanos: 0 };
    let mut request = RecordGuidanceRequest {
        request_id: id(),
        claim_id: claim.claim_id.clone(),
        outcome: GuidanceOutcome::Confirmed.into(),
        contact_time: Some(called),
        ..Default::default()
    };
    let guided = world.staff().claims.record_guidance(request.clone()).await.unwrap().into_inner().claim.unwrap();
    assert_eq!(guided.reported_date, Some(world.today(-6)));
    let decision = guided.provisional_decision.unwrap();
    assert_eq!(
        (decision.remedy(), decision.clauses),
        (Remedy::DirectReplacement, vec![Clause::T1.into(), Clause::T8.into()])
    );
    // A contact later than the filing does not move it, and one in the future is bad input.
    let claim = world.filed("EARLY002", 20).await;
    request.claim_id = claim.claim_id;
    request.request_id = id();
    request.contact_time = Some(prost_types::Timestamp { seconds: 1_781_582_400, nanos: 0 });
    let refused = world.staff().claims.record_guidance(request).await.unwrap_err();
    assert_eq!(violations(&refused), [("contact_time".to_owned(), "must not be in the future".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_swap_asks() {
    let world = World::stocked().await;
    let life = Life(&world);
    let authorized = life.in_state("SWAP0001", 3, ClaimState::Authorized).await.claim_id;
    world.unit("FIT00001").await;
    world.unit_like("GREY0001", |unit| unit.sold_by_maker = false).await;
    world.unit_like("OTHER001", |unit| unit.model = "PS-2".into()).await;
    world.sold("SOLD0001", 1).await;
    let swapped = life.in_state("SWAP0002", 3, ClaimState::Swapped).await;
    for (given, rule) in [
        ("SWAP0001", "it is the unit itself"),
        ("GREY0001", "it was not sold by the maker"),
        ("SOLD0001", "it has a sale of its own"),
        (swapped.swapped_for.as_str(), "it was given before"),
        ("OTHER001", "it is neither the same model nor a listed equivalent"),
    ] {
        let refused = life.swap(&authorized, given).await.unwrap_err();
        assert_eq!(
            (refusal(&refused).1.as_str(), metadata(&refused, "rule").as_str()),
            ("UNIT_NOT_GIVABLE", rule),
            "{given}"
        );
    }
    let refused = life.swap(&authorized, "NOWHERE1").await.unwrap_err();
    assert_eq!(refusal(&refused), (Code::NotFound, "NOT_FOUND".into()));
    // Guidance waived; out of the 15 days; by a dealer who did not sell it.
    world.unit("FIT00002").await;
    let waived = world.filed("SWAP0003", 3).await.claim_id;
    life.guide(&waived, GuidanceOutcome::Waived).await.unwrap();
    assert_eq!(refusal(&life.swap(&waived, "FIT00002").await.unwrap_err()).1, "FAULT_NOT_CONFIRMED");
    let late = life.in_state("SWAP0004", 16, ClaimState::Authorized).await.claim_id;
    let refused = life.swap(&late, "FIT00002").await.unwrap_err();
    assert_eq!(
        (refusal(&refused).1.as_str(), metadata(&refused, "remedy").as_str()),
        ("REMEDY_MISMATCH", "FREE_REPAIR")
    );
    world.sold("SWAP0005", 3).await;
    let vouchers = Some(Vouchers { invoice_number: "F-SWAP0005".into(), ..Default::default() });
    let request = FileClaimRequest { vouchers, customer: Some(crate::world::contact()), ..filing("SWAP0005") };
    let foreign = world.dealer("D2").claims.file_claim(request).await.unwrap().into_inner().claim.unwrap().claim_id;
    life.guide(&foreign, GuidanceOutcome::Confirmed).await.unwrap();
    let request =
        RecordSwapRequest { request_id: id(), claim_id: foreign, given_serial: "FIT00002".into(), version: 0 };
    let refused = world.dealer("D2").claims.record_swap(request).await.unwrap_err();
    assert_eq!(refusal(&refused).1, "NOT_THE_SELLER");
    // And the fit one goes.
    assert_eq!(life.swap(&authorized, "FIT-00001").await.unwrap().swapped_for, "FIT00001");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_swap_the_maker_owes_by_what_the_inspection_found() {
    let world = World::stocked().await;
    let life = Life(&world);
    // (findings, the facts as found, final remedy, state, outcome): M's last paragraph.
    let scratched = FaultReport { appearance: Appearance::Scratched.into(), ..Default::default() };
    let cord = FaultReport { part: Part::Accessory.into(), ..Default::default() };
    let rows = [
        (
            "OWED0001",
            vec![],
            FaultReport::default(),
            Remedy::DirectReplacement,
            ClaimState::Ready,
            ClaimOutcome::Replenishment,
        ),
        ("OWED0002", vec![], scratched, Remedy::FreeRepair, ClaimState::InRepair, ClaimOutcome::Unspecified),
        (
            "OWED0003",
            vec![Clause::X5],
            FaultReport::default(),
            Remedy::PaidService,
            ClaimState::Inspected,
            ClaimOutcome::Unspecified,
        ),
        ("OWED0004", vec![], cord, Remedy::AccessoryReplacement, ClaimState::Ready, ClaimOutcome::AsItCame),
    ];
    for (serial, findings, report, remedy, state, outcome) in rows {
        let claim = life.in_state(serial, 3, ClaimState::Swapped).await;
        let parcel = life.open_return(&[&claim.claim_id]).await.unwrap().shipment_id;
        life.receive(&claim, &parcel, |_| {}).await.unwrap();
        let inspected = life.inspect_as(&claim.claim_id, &findings, report).await.unwrap();
        let decided = inspected.final_decision.as_ref().unwrap();
        assert_eq!((decided.remedy(), inspected.state(), inspected.outcome()), (remedy, state, outcome), "{serial}");
        assert_eq!(inspected.provisional_decision.unwrap().remedy(), Remedy::DirectReplacement, "{serial}: kept");
    }
    // The old unit, repaired for the dealer, opens no window for the unit that the customer has instead.
    let request = ListClaimsRequest { serial: "OWED0002".into(), ..Default::default() };
    let scratched = world.dealer("D1").claims.list_claims(request).await.unwrap().into_inner().claims.remove(0);
    life.repair(&scratched.claim_id).await.unwrap();
    let ask = CheckCoverageRequest { serial: scratched.swapped_for, ..Default::default() };
    let kept = world.dealer("D1").coverage.check_coverage(ask).await.unwrap().into_inner().decision.unwrap();
    let clauses: Vec<Clause> = kept.windows.iter().map(Window::clause).collect();
    assert_eq!(clauses, [Clause::T1, Clause::T2, Clause::T7]);
    // The debt is paid with a unit that is named, once, and outside the chain of replacements.
    let request = ListClaimsRequest { serial: "OWED0001".into(), ..Default::default() };
    let owed = world.dealer("D1").claims.list_claims(request).await.unwrap().into_inner().claims.remove(0).claim_id;
    let refused = life.dispatch(&[(&owed, "")]).await.unwrap_err();
    assert_eq!(metadata(&refused, "rule"), "the dealer is owed a good unit: name it");
    world.unit("STOCK001").await;
    let parcel = life.dispatch(&[(&owed, "STOCK001")]).await.unwrap();
    assert_eq!(
        (parcel.items[0].serial.as_str(), parcel.items[0].payer(), parcel.items[0].clause()),
        ("STOCK001", Payer::Maker, Clause::M6)
    );
    life.deliver(&parcel.shipment_id).await.unwrap();
    assert_eq!(life.get(&owed).await.outcome_serial, "STOCK001");
    let unit =
        world.staff().registry.get_unit(GetUnitRequest { serial: "STOCK001".into() }).await.unwrap().into_inner();
    assert_eq!(unit.lineage, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn parcels_hold_what_was_announced() {
    let world = World::stocked().await;
    let life = Life(&world);
    let first = life.in_state("BOX00001", 60, ClaimState::Authorized).await;
    let second = life.in_state("BOX00002", 60, ClaimState::Authorized).await;
    let parcel = life.open_return(&[&first.claim_id, &second.claim_id]).await.unwrap();
    assert!(
        parcel
            .items
            .iter()
            .all(|item| (item.payer(), item.clause()) == (Payer::Sender, Clause::M5) && item.arrived_time.is_none())
    );
    // Half received, it stays open; the number is read as people write it.
    let spoken = format!("{} {}", &first.return_number[..4], &first.return_number[4..]);
    let received = life.receive(&first, &parcel.shipment_id, |item| item.return_number = spoken).await.unwrap();
    assert_eq!(received.state(), ClaimState::Received);
    let request = GetShipmentRequest { shipment_id: parcel.shipment_id.clone() };
    let half = world.dealer("D1").logistics.get_shipment(request).await.unwrap().into_inner().shipment.unwrap();
    assert_eq!((half.arrived, half.items.iter().filter(|item| item.arrived_time.is_some()).count()), (false, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_version_read_guards_an_update() {
    let world = World::stocked().await;
    let life = Life(&world);
    let claim = life.in_state("VERS0001", 60, ClaimState::Authorized).await;
    let request =
        CancelClaimRequest { request_id: id(), claim_id: claim.claim_id.clone(), version: 1, reason: String::new() };
    let refused = world.dealer("D1").claims.cancel_claim(request.clone()).await.unwrap_err();
    assert_eq!(
        (refusal(&refused), metadata(&refused, "current").as_str()),
        ((Code::Aborted, "VERSION_MISMATCH".into()), "2")
    );
    let request = CancelClaimRequest { version: 2, ..request };
    let cancelled = world.dealer("D1").claims.cancel_claim(request).await.unwrap().into_inner().claim.unwrap();
    assert_eq!((cancelled.state(), cancelled.version), (ClaimState::Cancelled, 3));
}
