//! What comes next with a claim: verb, who, until when, in every state; and what is late, by the clock.

use warranty::contract::v1::*;

use crate::{
    claims::Life,
    world::{World, date, violations},
};

/// Verb, who, and in how many days where it is waited for.
fn next(claim: &Claim, world: &World) -> Vec<String> {
    let told = |next: &NextAction| {
        let verb = next.action().as_str_name().trim_start_matches("CLAIM_ACTION_");
        let party = next.party().as_str_name().trim_start_matches("PARTY_");
        let days = next.due_date.map(|due| (0..60).find(|days| world.today(*days) == due).unwrap());
        days.map_or(format!("{verb} {party}"), |days| format!("{verb} {party} in {days}"))
    };
    claim.next_actions.iter().map(told).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_state_tells_what_may_come_next_by_whom_and_until_when() {
    use ClaimState as S;
    let world = World::stocked().await;
    let life = Life(&world);
    // By the standard policy, of a unit sold some days ago; the last column is the claim's own day.
    let rows: [(S, i64, &[&str], Option<i64>); 16] = [
        (S::Filed, 60, &["GUIDE SUPPORT in 2", "CANCEL APPLICANT"], Some(2)),
        (S::Resolved, 60, &[], None),
        (S::Rejected, 60, &[], None),
        (S::Cancelled, 60, &[], None),
        (S::Authorized, 60, &["OPEN_RETURN APPLICANT in 30", "CANCEL APPLICANT"], Some(30)),
        (S::Authorized, 3, &["SWAP SELLER", "OPEN_RETURN APPLICANT in 30", "CANCEL APPLICANT"], Some(30)),
        (S::Swapped, 3, &["OPEN_RETURN APPLICANT in 30", "SETTLE_DEBT DEPOT"], Some(30)),
        (S::InTransit, 60, &["RECEIVE DEPOT", "RECORD_LOSS DEPOT"], None),
        (S::Received, 60, &["INSPECT DEPOT in 5"], Some(5)),
        (S::Inspected, 60, &["QUOTE BILLING in 3", "APPEAL APPLICANT"], Some(3)),
        (
            S::Quoted,
            60,
            &["ACCEPT_QUOTE APPLICANT in 15", "DECLINE_QUOTE APPLICANT in 15", "QUOTE BILLING", "APPEAL APPLICANT"],
            Some(15),
        ),
        (S::InRepair, 60, &["REPAIR DEPOT in 10", "REPLACE DEPOT in 10", "APPEAL APPLICANT"], Some(10)),
        (S::Ready, 60, &["DISPATCH DEPOT in 3"], Some(3)),
        (S::Dispatched, 60, &["DELIVER DEPOT", "RECORD_LOSS DEPOT"], None),
        (S::Closed, 60, &[], None),
        (S::Lost, 60, &["RECEIVE DEPOT", "CLOSE_LOST DEPOT"], None),
    ];
    for (at, (state, days, expected, due)) in rows.into_iter().enumerate() {
        let claim = life.in_state(&format!("NEXT{at:04}"), days, state).await;
        assert_eq!(next(&claim, &world), expected, "{state:?}, sold {days} days ago");
        assert_eq!(claim.due_date, due.map(|days| world.today(days)), "{state:?}");
        assert!(!claim.late && claim.next_actions.iter().all(|next| !next.late), "{state:?}");
    }
    // What the state alone does not tell: a repair that is charged, and an appeal that is open.
    let quoted = life.in_state("NEXTPAID", 60, S::Quoted).await;
    let (accepted, _) = life.accept(&quoted.claim_id, &quoted.quote_id).await.unwrap();
    assert_eq!(next(&accepted, &world), ["REPAIR DEPOT in 10", "DECLARE_BEYOND_REPAIR DEPOT in 10"]);
    let repaired = life.repair(&quoted.claim_id).await.unwrap();
    assert_eq!(next(&repaired, &world), ["DISPATCH DEPOT", "RECORD_PAYMENT BILLING in 3"]);
    let quoted = life.in_state("NEXTBACK", 60, S::Quoted).await;
    let (declined, _) = life.decline(&quoted.claim_id, &quoted.quote_id).await.unwrap();
    assert_eq!(next(&declined, &world), ["DISPATCH DEPOT in 3", "APPEAL APPLICANT"]);
    let appealed = life.appeal(&quoted.claim_id).await.unwrap();
    assert_eq!(next(&appealed, &world), ["DECIDE_APPEAL SUPPORT in 3"]);
}

async fn listed(world: &World, change: impl FnOnce(&mut ListClaimsRequest)) -> Vec<String> {
    let mut request = ListClaimsRequest { page_size: 1, ..Default::default() };
    change(&mut request);
    let mut found = Vec::new();
    loop {
        let page = world.staff().claims.list_claims(request.clone()).await.unwrap().into_inner();
        found.extend(page.claims.into_iter().map(|claim| claim.serial));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return found;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_late_is_marked_and_listed() {
    let world = World::stocked().await;
    let life = Life(&world);
    let filed = life.in_state("LATE0001", 60, ClaimState::Filed).await;
    life.in_state("LATE0002", 60, ClaimState::Filed).await;
    life.in_state("LATE0003", 60, ClaimState::Received).await;
    life.in_state("LATE0004", 60, ClaimState::InTransit).await;
    life.in_state("LATE0005", 60, ClaimState::Cancelled).await;
    world.set("2026-06-16T16:00:00Z");
    life.in_state("LATE0006", 60, ClaimState::Filed).await;
    let late = async |states: &[ClaimState]| {
        let states = states.iter().map(|state| (*state).into()).collect();
        listed(&world, |request| (request.late, request.states) = (true, states)).await
    };
    // Guidance was due on the 17th, the whole of which counts in Shanghai.
    world.set("2026-06-17T15:59:59Z");
    assert!(!life.get(&filed.claim_id).await.late);
    assert_eq!(late(&[]).await, [""; 0]);
    world.set("2026-06-17T16:00:00Z");
    let marked = life.get(&filed.claim_id).await;
    assert!(marked.late);
    let actions: Vec<_> = marked.next_actions.iter().map(|next| (next.action(), next.late)).collect();
    assert_eq!(actions, [(ClaimAction::Guide, true), (ClaimAction::Cancel, false)]);
    assert_eq!(late(&[]).await, ["LATE0002", "LATE0001"]);
    world.set("2026-06-20T16:00:00Z");
    assert_eq!(late(&[]).await, ["LATE0006", "LATE0003", "LATE0002", "LATE0001"]);
    assert_eq!(late(&[ClaimState::Received, ClaimState::InTransit]).await, ["LATE0003"]);
    // What was done in the end is late no more.
    life.guide(&filed.claim_id, GuidanceOutcome::Confirmed).await.unwrap();
    assert_eq!(late(&[ClaimState::Filed, ClaimState::Authorized]).await, ["LATE0006", "LATE0002"]);

    // By age: filed on that day or before, its last moment in Shanghai with it.
    let until = async |day: &str| listed(&world, |request| request.filed_until_date = Some(date(day))).await;
    assert_eq!(until("2026-06-14").await, [""; 0]);
    assert_eq!(until("2026-06-16").await, ["LATE0005", "LATE0004", "LATE0003", "LATE0002", "LATE0001"]);
    assert_eq!(until("2026-06-17").await.len(), 6);
    let both = |request: &mut ListClaimsRequest| {
        (request.filed_until_date, request.late) = (Some(date("2026-06-16")), true);
        request.dealer_id = "D1".into();
    };
    assert_eq!(listed(&world, both).await, ["LATE0003", "LATE0002"]);
    let request = ListClaimsRequest { filed_until_date: Some(date("1800-01-01")), ..Default::default() };
    let refused = world.staff().claims.list_claims(request).await.unwrap_err();
    assert_eq!(violations(&refused)[0].0, "filed_until_date");
}
