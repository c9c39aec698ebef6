//! Appeals against the decision at inspection: once, what waits for them, and goodwill that never looks like a clause.

use std::collections::BTreeMap;

use futures::future::join_all;
use tonic::{Code, Status};
use uuid::Uuid;
use warranty::{
    contract::v1::*,
    service::claim::worker::{self, Done},
};

use crate::{
    claims::{Life, tally},
    world::{Caller, World, date, fen_as_money, id, refusal, violations},
};

async fn decide(world: &World, claim: &str, goodwill: Option<(Remedy, i64)>) -> Result<Claim, Status> {
    let request = DecideAppealRequest {
        request_id: id(),
        claim_id: claim.into(),
        outcome: if goodwill.is_some() { AppealOutcome::Overridden } else { AppealOutcome::Upheld }.into(),
        reason: "looked at again".into(),
        goodwill_remedy: goodwill.map_or(0, |(remedy, _)| remedy.into()),
        goodwill_cost: goodwill.map(|(_, cost)| fen_as_money(cost)),
        ..Default::default()
    };
    Ok(world.staff().claims.decide_appeal(request).await?.into_inner().claim.unwrap())
}

fn actions(claim: &Claim) -> Vec<ClaimAction> {
    claim.next_actions.iter().map(NextAction::action).collect()
}

async fn quotes(mut caller: Caller, claim: &str) -> Vec<QuoteState> {
    let request = ListQuotesRequest { claim_id: claim.into(), ..Default::default() };
    caller.claims.list_quotes(request).await.unwrap().into_inner().quotes.iter().map(Quote::state).collect()
}

/// What a unit's coverage is made of on a day, for the usual fault.
async fn coverage(world: &World, serial: &str, day: &str) -> (Remedy, Vec<Clause>) {
    let report = Some(FaultReport { fault_code: "NO_POWER".into(), ..Default::default() });
    let ask = CheckCoverageRequest { serial: serial.into(), date: Some(date(day)), report, ..Default::default() };
    let decision = world.dealer("D1").coverage.check_coverage(ask).await.unwrap().into_inner().decision.unwrap();
    (decision.remedy(), decision.windows.iter().map(Window::clause).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn while_an_appeal_is_open_the_quote_and_the_dispatch_wait() {
    let world = World::stocked().await;
    let life = Life(&world);
    let quoted = life.in_state("WAIT0001", 60, ClaimState::Quoted).await;
    let back = life.in_state("WAIT0002", 60, ClaimState::Quoted).await;
    life.decline(&back.claim_id, &back.quote_id).await.unwrap();
    let claim = quoted.claim_id.as_str();
    assert_eq!(refusal(&decide(&world, claim, None).await.unwrap_err()).1, "NO_APPEAL");

    world.set("2026-06-20T04:00:00Z");
    let appealed = life.appeal(claim).await.unwrap();
    assert_eq!((appealed.state(), actions(&appealed)), (ClaimState::Quoted, vec![ClaimAction::DecideAppeal]));
    let appeal = Appeal { reason: "the seal was never touched".into(), ..Default::default() };
    assert_eq!(appealed.appeal, Some(appeal.clone()));
    life.appeal(&back.claim_id).await.unwrap();
    for refused in [
        life.quote(claim, vec![]).await.map(drop),
        life.accept(claim, &quoted.quote_id).await.map(drop),
        life.decline(claim, &quoted.quote_id).await.map(drop),
        life.dispatch(&[(&back.claim_id, "")]).await.map(drop),
    ] {
        assert_eq!(refusal(&refused.unwrap_err()), (Code::FailedPrecondition, "APPEAL_OPEN".into()));
    }
    assert_eq!(refusal(&life.appeal(claim).await.unwrap_err()).1, "APPEALED_BEFORE");

    // The quote's last day, 30 June, passes; it was not the dealer who was slow. Upheld, the quote has its 15 days again.
    world.set("2026-07-02T04:00:00Z");
    assert_eq!(worker::step(&world.worker(), &world.evidence, world.clock.now()).await.unwrap(), Done::default());
    assert_eq!(quotes(world.dealer("D1"), claim).await, [QuoteState::Issued]);
    let upheld = decide(&world, claim, None).await.unwrap();
    assert_eq!(
        upheld.appeal,
        Some(Appeal { outcome: AppealOutcome::Upheld.into(), outcome_reason: "looked at again".into(), ..appeal })
    );
    assert_eq!((upheld.due_date, upheld.goodwill.as_ref()), (Some(date("2026-07-17")), None));
    assert_eq!(upheld.final_decision, quoted.final_decision);
    assert_eq!(refusal(&decide(&world, claim, None).await.unwrap_err()).1, "NO_APPEAL");
    assert_eq!(refusal(&life.appeal(claim).await.unwrap_err()).1, "APPEALED_BEFORE");
    world.set("2026-07-17T15:59:59Z");
    life.accept(claim, &quoted.quote_id).await.unwrap();
    decide(&world, &back.claim_id, None).await.unwrap();
    life.dispatch(&[(&back.claim_id, "")]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_override_repairs_as_goodwill_and_opens_no_window() {
    let world = World::stocked().await;
    let life = Life(&world);
    let quoted = life.in_state("GOOD0001", 60, ClaimState::Quoted).await;
    let claim = quoted.claim_id.as_str();
    let before = coverage(&world, "GOOD0001", "2026-06-15").await;
    life.appeal(claim).await.unwrap();
    let overridden = decide(&world, claim, Some((Remedy::FreeRepair, 4_321))).await.unwrap();
    assert_eq!(
        (overridden.state(), actions(&overridden)),
        (ClaimState::InRepair, vec![ClaimAction::Repair, ClaimAction::Replace])
    );
    // The decision stays as it was made; the cost is for staff.
    assert_eq!(overridden.final_decision, quoted.final_decision);
    let goodwill = |cost| Some(Goodwill { remedy: Remedy::FreeRepair.into(), cost });
    assert_eq!(overridden.goodwill, goodwill(Some(fen_as_money(4_321))));
    assert_eq!(life.get(claim).await.goodwill, goodwill(None));
    let facts = async |mut caller: Caller| {
        let request = ListClaimEventsRequest { claim_id: claim.into(), ..Default::default() };
        caller.claims.list_claim_events(request).await.unwrap().into_inner().events.pop().unwrap().facts_json
    };
    let event = |cost| {
        format!(
            r#"{{"goodwill":{{{cost}"remedy":"FREE_REPAIR"}},"outcome":"OVERRIDDEN","reason":"REASON","type":"APPEAL_DECIDED"}}"#
        )
    };
    let reason = overridden.appeal.as_ref().unwrap().outcome_reason.as_str();
    assert_eq!(facts(world.staff()).await, event(r#""cost":4321,"#).replace("REASON", reason));
    assert_eq!(facts(world.dealer("D1")).await, event("").replace("REASON", reason));
    assert_eq!(quotes(world.staff(), claim).await, [QuoteState::Superseded]);

    let repaired = life.repair(claim).await.unwrap();
    assert_eq!((repaired.outcome(), &repaired.charge), (ClaimOutcome::Repaired, &None));
    assert_eq!(refusal(&life.pay(claim, 1, "P-1").await.unwrap_err()).1, "NOTHING_CHARGED");
    life.dispatch(&[(claim, "")]).await.unwrap();
    // Neither T6 nor P2, on that day or after the year.
    assert_eq!(coverage(&world, "GOOD0001", "2026-06-15").await, before);
    assert_eq!(coverage(&world, "GOOD0001", "2027-05-01").await.0, Remedy::PaidService);
    let request = ListBillableRepairsRequest::default();
    let told = world.staff().claims.list_billable_repairs(request).await.unwrap().into_inner().entries;
    let counted: Vec<_> =
        told.iter().map(|entry| (entry.kind(), entry.amount.clone(), entry.quote_id.as_str())).collect();
    assert_eq!(counted, [(BillableKind::Goodwill, Some(fen_as_money(4_321)), "")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_override_replaces_as_goodwill_and_the_lineage_goes_on() {
    let world = World::stocked().await;
    let life = Life(&world);
    world.unit("NEXT0001").await;
    // It was to go back as it came: nothing was found.
    let received = life.in_state("GOOD0002", 60, ClaimState::Received).await.claim_id;
    let request = RecordInspectionRequest {
        request_id: id(),
        claim_id: received.clone(),
        no_fault_found: true,
        ..Default::default()
    };
    let inspected = world.staff().claims.record_inspection(request).await.unwrap().into_inner().claim.unwrap();
    assert_eq!(inspected.state(), ClaimState::Ready);
    life.appeal(&received).await.unwrap();
    decide(&world, &received, Some((Remedy::DirectReplacement, 50_000))).await.unwrap();
    assert_eq!(refusal(&life.repair(&received).await.unwrap_err()).1, "REMEDY_MISMATCH");
    let replaced = life.replace(&received, "NEXT0001").await.unwrap();
    assert_eq!((replaced.outcome(), replaced.outcome_serial.as_str()), (ClaimOutcome::Replaced, "NEXT0001"));
    assert_eq!(replaced.final_decision.unwrap().clauses, [i32::from(Clause::T9)]);
    let unit =
        world.staff().registry.get_unit(GetUnitRequest { serial: "NEXT0001".into() }).await.unwrap().into_inner();
    assert_eq!(unit.lineage.len(), 1);
    assert_eq!(coverage(&world, "GOOD0002", "2026-06-15").await, (Remedy::None, vec![]));
    // T5: the original's year, from 16 April on.
    assert_eq!(coverage(&world, "NEXT0001", "2027-04-16").await.0, Remedy::FreeRepair);
    assert_eq!(coverage(&world, "NEXT0001", "2027-04-17").await.0, Remedy::PaidService);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_appeals_when_and_once() {
    let world = World::stocked().await;
    let life = Life(&world);
    let inspected = life.in_state("ONCE0001", 60, ClaimState::Inspected).await;
    let request = AppealDecisionRequest {
        request_id: id(),
        claim_id: inspected.claim_id.clone(),
        version: 0,
        reason: "x".into(),
    };
    for (mut caller, expected) in [
        (world.dealer("D2"), (Code::NotFound, "NOT_FOUND")),
        (world.customer(Uuid::from_u128(9)), (Code::NotFound, "NOT_FOUND")),
        (world.customer(inspected.customer_id.parse().unwrap()), (Code::PermissionDenied, "NOT_THE_APPLICANT")),
    ] {
        let refused = caller.claims.appeal_decision(request.clone()).await.unwrap_err();
        assert_eq!(refusal(&refused), (expected.0, expected.1.to_owned()));
    }
    let calls = (0..20).map(|_| life.appeal(&inspected.claim_id));
    let answers = tally(join_all(calls).await);
    assert_eq!(answers, BTreeMap::from([("FailedPrecondition APPEALED_BEFORE".into(), 19), ("OK".into(), 1)]));
    // Of those who decide at once, one does.
    let calls = (0..20).map(|at| decide(&world, &inspected.claim_id, (at % 2 == 0).then_some((Remedy::FreeRepair, 1))));
    let answers = tally(join_all(calls).await);
    assert_eq!(answers, BTreeMap::from([("FailedPrecondition NO_APPEAL".into(), 19), ("OK".into(), 1)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_override_names_its_remedy_and_its_cost() {
    let world = World::stocked().await;
    let claim = Life(&world).in_state("NAME0001", 60, ClaimState::Inspected).await.claim_id;
    Life(&world).appeal(&claim).await.unwrap();
    for (outcome, remedy, cost, fields) in [
        (AppealOutcome::Overridden, Remedy::Unspecified, None, vec!["goodwill_remedy", "goodwill_cost"]),
        (AppealOutcome::Overridden, Remedy::PaidService, Some(1), vec!["goodwill_remedy"]),
        (AppealOutcome::Upheld, Remedy::FreeRepair, None, vec!["goodwill_remedy"]),
        (AppealOutcome::Upheld, Remedy::Unspecified, Some(1), vec!["goodwill_remedy"]),
        (AppealOutcome::Unspecified, Remedy::Unspecified, None, vec!["outcome"]),
    ] {
        let request = DecideAppealRequest {
            request_id: id(),
            claim_id: claim.clone(),
            outcome: outcome.into(),
            reason: "because".into(),
            goodwill_remedy: remedy.into(),
            goodwill_cost: cost.map(fen_as_money),
            ..Default::default()
        };
        let refused = world.staff().claims.decide_appeal(request).await.unwrap_err();
        let found: Vec<_> = violations(&refused).into_iter().map(|(field, _)| field).collect();
        assert_eq!(found, fields, "{outcome:?} {remedy:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_free_repair_is_appealed_before_it_is_made_and_waits() {
    let world = World::stocked().await;
    let life = Life(&world);
    let claim = life.in_state("FREE0001", 60, ClaimState::InRepair).await;
    let of = claim.claim_id.as_str();
    assert!(actions(&claim).contains(&ClaimAction::Appeal));
    let appealed = life.appeal(of).await.unwrap();
    assert_eq!((appealed.state(), actions(&appealed)), (ClaimState::InRepair, vec![ClaimAction::DecideAppeal]));
    world.unit("NEXT0001").await;
    assert_eq!(refusal(&life.repair(of).await.unwrap_err()).1, "APPEAL_OPEN");
    assert_eq!(refusal(&life.replace(of, "NEXT0001").await.unwrap_err()).1, "APPEAL_OPEN");
    decide(&world, of, Some((Remedy::DirectReplacement, 9_900))).await.unwrap();
    let replaced = life.replace(of, "NEXT0001").await.unwrap();
    assert_eq!((replaced.state(), replaced.outcome_serial.as_str()), (ClaimState::Ready, "NEXT0001"));

    // A price that was agreed on is not appealed against, nor a repair that was made.
    let paid = life.in_state("PAID0001", 60, ClaimState::Quoted).await;
    life.accept(&paid.claim_id, &paid.quote_id).await.unwrap();
    assert_eq!(refusal(&life.appeal(&paid.claim_id).await.unwrap_err()).1, "WRONG_STATE");
    let made = life.in_state("MADE0001", 60, ClaimState::Ready).await;
    assert_eq!(refusal(&life.appeal(&made.claim_id).await.unwrap_err()).1, "WRONG_STATE");
}
