//! The dealer's ledger: both debts of a swap, by every decision; limits; what staff settles; and whose it is.

use futures::future::join_all;
use sqlx::AssertSqlSafe;
use tonic::{Code, Response, Status};
use warranty::contract::v1::*;

use crate::{
    audit::faults,
    claims::{Life, Outcome, count, tally},
    parcels::kinds,
    world::{Caller, World, fen_as_money, id, metadata, refusal, violations},
};

async fn ledger(mut caller: Caller, dealer_id: &str, closed_too: bool) -> Result<GetDealerLedgerResponse, Status> {
    let request = GetDealerLedgerRequest { dealer_id: dealer_id.into(), closed_too, ..Default::default() };
    caller.logistics.get_dealer_ledger(request).await.map(Response::into_inner)
}

/// Each debt of D1's as one line: who owes what by which remedy, and how it was closed by what.
async fn debts(world: &World) -> Vec<String> {
    let found = ledger(world.dealer("D1"), "", true).await.unwrap().debts;
    let short = |name: &str| name.split_once('_').map_or("", |(_, short)| short).to_owned();
    found
        .iter()
        .map(|debt| {
            let closing = short(debt.closing().as_str_name()).replace("CLOSING_", "");
            let closing = if closing == "UNSPECIFIED" { "OPEN".to_owned() } else { closing };
            let by = short(debt.remedy().as_str_name()).replace("UNSPECIFIED", "-");
            let owed = short(debt.owed().as_str_name());
            format!("{} {owed} {by}: {closing} {}", short(debt.debtor().as_str_name()), debt.closed_by_serial)
        })
        .collect()
}

async fn limited(world: &World, debt_limit: Option<i32>) -> Dealer {
    let request = SetDealerDebtLimitRequest { request_id: id(), dealer_id: "D1".into(), debt_limit, version: 0 };
    world.staff().registry.set_dealer_debt_limit(request).await.unwrap().into_inner().dealer.unwrap()
}

/// A claim whose dealer swapped, and that was sent in and received.
async fn received(world: &World, serial: &str) -> Claim {
    let life = Life(world);
    let claim = life.in_state(serial, 3, ClaimState::Swapped).await;
    let parcel = life.open_return(&[&claim.claim_id]).await.unwrap();
    life.receive(&claim, &parcel.shipment_id, |_| {}).await.unwrap()
}

async fn write_off(world: &World, claim: &str, debtor: Debtor) -> Outcome<Debt> {
    let debt = Some(DebtName { claim_id: claim.into(), debtor: debtor.into() });
    let request = WriteOffDebtRequest { request_id: id(), debt, reason: "lost in a flood".into() };
    Ok(world.staff().logistics.write_off_debt(request).await?.into_inner().debt.unwrap())
}

async fn net(world: &World, dealer_claim: &str, maker_claim: &str) -> Outcome<Vec<Debt>> {
    let (dealer_claim_id, maker_claim_id) = (dealer_claim.into(), maker_claim.into());
    let request = NetDebtsRequest { request_id: id(), dealer_claim_id, maker_claim_id, reason: "one for one".into() };
    Ok(world.staff().logistics.net_debts(request).await?.into_inner().debts)
}

/// Every account's units, over all: each entry names both sides.
async fn sums_to_nothing(world: &World) {
    let crooked = "SELECT count(*) FROM ledger_entries WHERE debit_account = credit_account
        OR (debit_account = 'maker') = (credit_account = 'maker')";
    assert_eq!(count(world, crooked).await, 0);
    let open = "SELECT count(*) FILTER (WHERE debit_account = 'maker') - count(*) FILTER (WHERE credit_account = 'maker')
                     - (count(*) FILTER (WHERE debtor = 'MAKER' AND kind = 'OPENED') - count(*) FILTER (WHERE debtor = 'MAKER' AND kind <> 'OPENED'))
                     + (count(*) FILTER (WHERE debtor = 'DEALER' AND kind = 'OPENED') - count(*) FILTER (WHERE debtor = 'DEALER' AND kind <> 'OPENED'))
                  FROM ledger_entries";
    assert_eq!(count(world, open).await, 0, "the maker's account is what it owes less what it is owed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swap_makes_two_debts_and_each_says_why() {
    let world = World::stocked().await;
    let life = Life(&world);
    let claim = life.in_state("SWAP1", 3, ClaimState::Swapped).await;
    let owed = Debt {
        claim_id: claim.claim_id.clone(),
        debtor: Debtor::Dealer.into(),
        owed: Owed::FaultyUnit.into(),
        serial: "SWAP1".into(),
        why: "the dealer swapped the unit, and owes the maker the faulty one (M3)".into(),
        opened_time: claim.entered_time,
        due_date: Some(world.today(30)),
        ..Default::default()
    };
    let expected = GetDealerLedgerResponse { debts: vec![owed.clone()], dealer_owes_count: 1, ..Default::default() };
    assert_eq!(ledger(world.dealer("D1"), "", false).await.unwrap(), expected);
    assert_eq!(ledger(world.dealer("D1"), "D1", false).await.unwrap(), expected);
    assert_eq!(ledger(world.staff(), "D1", false).await.unwrap(), expected);
    // Another's looks like one that is not there; its own is empty.
    assert_eq!(ledger(world.dealer("D2"), "", true).await.unwrap(), GetDealerLedgerResponse::default());
    for refused in [ledger(world.dealer("D2"), "D1", true).await, ledger(world.staff(), "D9", true).await] {
        let refused = refused.unwrap_err();
        assert_eq!((refused.code(), metadata(&refused, "kind").as_str()), (Code::NotFound, "dealer"));
    }

    // It ages, and is late from the day after the last.
    world.set("2026-07-15T04:00:00Z");
    let aged = ledger(world.dealer("D1"), "", false).await.unwrap().debts.remove(0);
    assert_eq!((aged.age_days, aged.late), (30, false));
    world.set("2026-07-16T04:00:00Z");
    let aged = ledger(world.dealer("D1"), "", false).await.unwrap().debts.remove(0);
    assert_eq!((aged.age_days, aged.late), (31, true));

    let parcel = life.open_return(&[&claim.claim_id]).await.unwrap();
    assert_eq!(debts(&world).await, ["DEALER FAULTY_UNIT -: OPEN "], "on its way is not arrived");
    life.receive(&claim, &parcel.shipment_id, |_| {}).await.unwrap();
    assert_eq!(debts(&world).await, ["DEALER FAULTY_UNIT -: RETURNED SWAP1"]);
    let closed = ledger(world.dealer("D1"), "", true).await.unwrap().debts.remove(0);
    assert_eq!((closed.age_days, closed.late, closed.closing()), (31, false, DebtClosing::Returned));
    assert!(ledger(world.dealer("D1"), "", false).await.unwrap().debts.is_empty());
    sums_to_nothing(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_maker_owes_follows_the_final_decision() {
    let world = World::stocked().await;
    let life = Life(&world);
    let scratched = FaultReport { appearance: Appearance::Scratched.into(), ..Default::default() };
    let cracked = FaultReport { part: Part::PowerSupply.into(), power_supply_damage: Some(true), ..Default::default() };
    let cord = FaultReport { part: Part::Accessory.into(), ..Default::default() };
    let nothing = FaultReport::default();
    let rows = [
        ("DIRECT_REPLACEMENT", nothing.clone(), vec![], false, "GOOD_UNIT"),
        ("FREE_REPAIR", scratched, vec![], false, "OLD_UNIT_REPAIRED"),
        ("PAID_SERVICE", nothing.clone(), vec![Clause::X3.into()], false, "OLD_UNIT"),
        ("RETURN_AS_IS", nothing, vec![], true, "OLD_UNIT"),
        ("PURCHASE_SEPARATELY", cracked, vec![], false, "OLD_UNIT"),
        ("ACCESSORY_REPLACEMENT", cord, vec![], false, "OLD_UNIT"),
    ];
    let mut expected = Vec::new();
    world.unit("STOCK1").await;
    world.priced().await;
    for (at, (remedy, report, findings, no_fault_found, owed)) in rows.into_iter().enumerate() {
        let serial = format!("SWAP{at}");
        let claim = received(&world, &serial).await;
        let of = claim.claim_id.as_str();
        let request = RecordInspectionRequest {
            request_id: id(),
            claim_id: of.into(),
            findings,
            no_fault_found,
            report: Some(report),
            ..Default::default()
        };
        world.staff().claims.record_inspection(request).await.unwrap();
        expected.push(format!("DEALER FAULTY_UNIT -: RETURNED {serial}"));
        expected.push(format!("MAKER {owed} {remedy}: OPEN "));
        assert_eq!(debts(&world).await, expected);
        let open = ledger(world.dealer("D1"), "", false).await.unwrap();
        assert_eq!((open.debts.len(), open.dealer_owes_count, open.maker_owes_count), (1, 0, 1));
        assert!(open.debts[0].why.starts_with(&format!("{remedy} after a swap: ")), "{}", open.debts[0].why);
        assert_eq!(open.debts[0].serial, if owed == "GOOD_UNIT" { "" } else { serial.as_str() });
        assert_eq!(open.debts[0].due_date, Some(world.today(30)));
        // It is closed by what goes out.
        let mut given = "";
        match remedy {
            "DIRECT_REPLACEMENT" => given = "STOCK1",
            "FREE_REPAIR" => drop(life.repair(of).await.unwrap()),
            "PAID_SERVICE" => {
                let (_, quote) = life.quote(of, vec![]).await.unwrap();
                life.decline(of, &quote.quote_id).await.unwrap();
            }
            _ => {}
        }
        life.dispatch(&[(of, given)]).await.unwrap();
        let sent = if given.is_empty() { serial.as_str() } else { given };
        let last = expected.len() - 1;
        expected[last] = format!("MAKER {owed} {remedy}: RETURNED {sent}");
        assert_eq!(debts(&world).await, expected);
    }
    sums_to_nothing(&world).await;
    // Pages, by key.
    let mut request = GetDealerLedgerRequest { closed_too: true, page_size: 5, ..Default::default() };
    let mut seen = Vec::new();
    loop {
        let page = world.dealer("D1").logistics.get_dealer_ledger(request.clone()).await.unwrap().into_inner();
        seen.extend(page.debts.into_iter().map(|debt| (debt.claim_id, debt.debtor)));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    let all = ledger(world.dealer("D1"), "", true).await.unwrap().debts;
    assert_eq!(seen, all.into_iter().map(|debt| (debt.claim_id, debt.debtor)).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_owed_changes_with_goodwill_and_beyond_repair() {
    let world = World::stocked().await;
    let life = Life(&world);
    world.unit("STOCK1").await;
    world.unit("STOCK2").await;
    let claim = received(&world, "SWAP1").await;
    let of = claim.claim_id.as_str();
    life.inspect(of, &[Clause::X3]).await.unwrap();
    life.appeal(of).await.unwrap();
    let request = DecideAppealRequest {
        request_id: id(),
        claim_id: of.into(),
        outcome: AppealOutcome::Overridden.into(),
        reason: "a good customer".into(),
        goodwill_remedy: Remedy::DirectReplacement.into(),
        goodwill_cost: Some(fen_as_money(100)),
        ..Default::default()
    };
    world.staff().claims.decide_appeal(request).await.unwrap();
    let dealers = "DEALER FAULTY_UNIT -: RETURNED SWAP1";
    let changed = "MAKER OLD_UNIT PAID_SERVICE: CHANGED ";
    assert_eq!(debts(&world).await, [dealers, changed, "MAKER GOOD_UNIT DIRECT_REPLACEMENT: OPEN "]);
    life.replace(of, "STOCK1").await.unwrap();
    life.dispatch(&[(of, "")]).await.unwrap();
    let sent = "MAKER GOOD_UNIT DIRECT_REPLACEMENT: RETURNED STOCK1";
    assert_eq!(debts(&world).await, [dealers, changed, sent]);

    let claim = received(&world, "SWAP2").await;
    let of = claim.claim_id.as_str();
    let scratched = FaultReport { appearance: Appearance::Scratched.into(), ..Default::default() };
    life.inspect_as(of, &[], scratched).await.unwrap();
    life.replace(of, "STOCK2").await.unwrap();
    let found = ledger(world.dealer("D1"), "", false).await.unwrap().debts.remove(0);
    let why = "FREE_REPAIR after a swap, and the old unit is beyond repair: a good unit in its place (M3)";
    assert_eq!((found.why.as_str(), found.owed()), (why, Owed::GoodUnit));
    life.dispatch(&[(of, "")]).await.unwrap();
    assert_eq!(debts(&world).await[5..], ["MAKER GOOD_UNIT FREE_REPAIR: RETURNED STOCK2"]);
    sums_to_nothing(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dealer_who_owes_as_many_as_it_may_swaps_no_more() {
    let world = World::stocked().await;
    let life = Life(&world);
    let owing = life.in_state("OWED0", 3, ClaimState::Swapped).await;
    let mut waiting = Vec::new();
    for at in 0..10 {
        waiting.push(life.in_state(&format!("WAIT{at}"), 3, ClaimState::Authorized).await.claim_id);
        world.unit(&format!("SPARE{at}")).await;
    }
    assert_eq!(limited(&world, Some(1)).await.debt_limit, Some(1));
    let refused = life.swap(&waiting[0], "SPARE0").await.unwrap_err();
    assert_eq!(refusal(&refused), (Code::FailedPrecondition, "LEDGER_LIMIT".into()));
    assert_eq!(metadata(&refused, "limit"), "1");
    assert_eq!(life.get(&waiting[0]).await.state(), ClaimState::Authorized, "nothing of the swap stays");
    assert_eq!(ledger(world.dealer("D1"), "", false).await.unwrap().limit, Some(1));
    // One more, and all ask at once.
    limited(&world, Some(2)).await;
    let spares: Vec<String> = (0..10).map(|at| format!("SPARE{at}")).collect();
    let swaps = waiting.iter().zip(&spares).map(|(claim, spare)| life.swap(claim, spare));
    let answers = tally(join_all(swaps).await);
    assert_eq!(answers.get("OK"), Some(&1), "{answers:?}");
    assert_eq!(answers.get("FailedPrecondition LEDGER_LIMIT"), Some(&9), "{answers:?}");
    // What arrives makes room; so does no limit.
    let parcel = life.open_return(&[&owing.claim_id]).await.unwrap();
    life.receive(&owing, &parcel.shipment_id, |_| {}).await.unwrap();
    let mut left = Vec::new();
    for (at, claim) in waiting.iter().enumerate() {
        if life.get(claim).await.state() == ClaimState::Authorized {
            left.push((claim, format!("SPARE{at}")));
        }
    }
    life.swap(left[0].0, &left[0].1).await.unwrap();
    assert_eq!(refusal(&life.swap(left[1].0, &left[1].1).await.unwrap_err()).1, "LEDGER_LIMIT");
    assert_eq!(limited(&world, None).await.debt_limit, None);
    life.swap(left[1].0, &left[1].1).await.unwrap();
    sums_to_nothing(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_owed_and_lost_on_its_way_is_sent_again() {
    let world = World::stocked().await;
    let life = Life(&world);
    world.unit("STOCK1").await;
    world.unit("STOCK2").await;
    let claim = received(&world, "SWAP1").await.claim_id;
    life.inspect(&claim, &[]).await.unwrap();
    let parcel = life.dispatch(&[(&claim, "STOCK1")]).await.unwrap();
    life.lose(&parcel.shipment_id, &[]).await.unwrap();
    let parcel = life.dispatch(&[(&claim, "STOCK2")]).await.unwrap();
    life.deliver(&parcel.shipment_id).await.unwrap();
    assert_eq!(life.get(&claim).await.state(), ClaimState::Closed);
    assert_eq!(debts(&world).await[1..], ["MAKER GOOD_UNIT DIRECT_REPLACEMENT: RETURNED STOCK1"]);
    sums_to_nothing(&world).await;
}

const CLOSED_AS_SETTLED: (ClaimState, ClaimOutcome, &str) = (ClaimState::Closed, ClaimOutcome::Settled, "one for one");

#[tokio::test(flavor = "multi_thread")]
async fn what_the_maker_owes_is_written_off_once_it_could_go_out_and_a_repair_stays_charged() {
    let world = World::stocked().await;
    world.priced().await;
    let life = Life(&world);
    let claim = received(&world, "SWAP1").await.claim_id;
    life.inspect(&claim, &[Clause::X3]).await.unwrap();
    let refused = write_off(&world, &claim, Debtor::Maker).await.unwrap_err();
    assert_eq!((refusal(&refused).1.as_str(), metadata(&refused, "allowed").as_str()), ("WRONG_STATE", "QUOTE,APPEAL"));
    assert_eq!(debts(&world).await[1], "MAKER OLD_UNIT PAID_SERVICE: OPEN ", "nothing of it stays");
    let (_, quote) = life.quote(&claim, vec![]).await.unwrap();
    life.accept(&claim, &quote.quote_id).await.unwrap();
    let ready = life.repair(&claim).await.unwrap();
    let actions: Vec<_> = ready.next_actions.iter().map(NextAction::action).collect();
    assert_eq!(actions, [ClaimAction::Dispatch, ClaimAction::RecordPayment, ClaimAction::SettleDebt]);
    let request = WriteOffDebtRequest {
        request_id: id(),
        debt: Some(DebtName { claim_id: claim.clone(), debtor: Debtor::Maker.into() }),
        reason: "one for one".into(),
    };
    let mut staff = world.staff();
    let written = staff.logistics.write_off_debt(request.clone()).await.unwrap().into_inner();
    assert_eq!(staff.logistics.write_off_debt(request).await.unwrap().into_inner(), written);
    let over = life.get(&claim).await;
    assert_eq!((over.state(), over.outcome(), over.reason.as_str()), CLOSED_AS_SETTLED);
    assert_eq!((&over.charge, over.charge.is_some()), (&ready.charge, true));
    let paid = life.pay(&claim, 14_691, "P-1").await.unwrap();
    assert_eq!((paid.state(), paid.paid), (ClaimState::Closed, true));
    assert_eq!(faults(&world).await, [""; 0]);

    // An appeal is heard first.
    let claim = received(&world, "SWAP2").await.claim_id;
    let request = RecordInspectionRequest {
        request_id: id(),
        claim_id: claim.clone(),
        no_fault_found: true,
        ..Default::default()
    };
    world.staff().claims.record_inspection(request).await.unwrap();
    life.appeal(&claim).await.unwrap();
    assert_eq!(refusal(&write_off(&world, &claim, Debtor::Maker).await.unwrap_err()).1, "APPEAL_OPEN");
    sums_to_nothing(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn staff_nets_and_writes_off_with_a_reason() {
    let world = World::stocked().await;
    let life = Life(&world);
    let owing = life.in_state("OWED1", 3, ClaimState::Swapped).await;
    let lost = life.in_state("LOST1", 3, ClaimState::Swapped).await;
    let owed = received(&world, "GOOD1").await;
    let repaired = received(&world, "REPAIR1").await;
    life.inspect(&owed.claim_id, &[]).await.unwrap();
    let scratched = FaultReport { appearance: Appearance::Scratched.into(), ..Default::default() };
    life.inspect_as(&repaired.claim_id, &[], scratched).await.unwrap();
    let (of, good) = (owing.claim_id.as_str(), owed.claim_id.as_str());

    // Only a faulty unit against a good one.
    let refused = net(&world, of, &repaired.claim_id).await.unwrap_err();
    assert_eq!(refusal(&refused), (Code::FailedPrecondition, "DEBTS_DO_NOT_MATCH".into()));
    let refused = net(&world, of, &lost.claim_id).await.unwrap_err();
    assert_eq!((refused.code(), metadata(&refused, "kind").as_str()), (Code::NotFound, "debt"));
    let netted = net(&world, of, good).await.unwrap();
    let closings: Vec<_> = netted.iter().map(|debt| (debt.debtor(), debt.closing(), debt.reason.as_str())).collect();
    let expected =
        [(Debtor::Dealer, DebtClosing::Netted, "one for one"), (Debtor::Maker, DebtClosing::Netted, "one for one")];
    assert_eq!(closings, expected);
    assert_eq!(refusal(&net(&world, of, good).await.unwrap_err()).1, "DEBT_CLOSED");
    assert_eq!(refusal(&write_off(&world, of, Debtor::Dealer).await.unwrap_err()).1, "DEBT_CLOSED");
    // Nothing goes out for what is not owed any more: the claim is over.
    world.unit("STOCK1").await;
    assert_eq!(refusal(&life.dispatch(&[(good, "STOCK1")]).await.unwrap_err()).1, "WRONG_STATE");
    let over = life.get(good).await;
    assert_eq!((over.state(), over.outcome(), over.reason.as_str()), CLOSED_AS_SETTLED);
    assert_eq!((over.next_actions.len(), over.due_date), (0, None));
    assert_eq!(kinds(&world, good).await.last().unwrap(), "DEBT_SETTLED");
    // Nor is a unit that the dealer may keep waited for.
    let over = life.get(of).await;
    assert_eq!((over.state(), over.outcome(), over.reason.as_str()), CLOSED_AS_SETTLED);
    assert_eq!((over.next_actions.len(), over.due_date), (0, None));

    // It was sent, and arrives all the same: that changes nothing in the ledger.
    let parcel = life.open_return(&[&lost.claim_id]).await.unwrap();
    let written = write_off(&world, &lost.claim_id, Debtor::Dealer).await.unwrap();
    assert_eq!((written.closing(), written.reason.as_str()), (DebtClosing::WrittenOff, "lost in a flood"));
    life.receive(&lost, &parcel.shipment_id, |_| {}).await.unwrap();
    let totals = ledger(world.staff(), "D1", false).await.unwrap();
    assert_eq!((totals.dealer_owes_count, totals.maker_owes_count), (0, 1));
    sums_to_nothing(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_up_as_lost_is_neither_owed_nor_charged() {
    let world = World::stocked().await;
    let life = Life(&world);
    // A swapped unit, on its way to the maker.
    let swapped = life.in_state("SWAP1", 3, ClaimState::Swapped).await.claim_id;
    let parcel = life.open_return(&[&swapped]).await.unwrap();
    life.lose(&parcel.shipment_id, &[]).await.unwrap();
    assert_eq!(debts(&world).await, ["DEALER FAULTY_UNIT -: OPEN "]);
    life.close_lost(&swapped).await.unwrap();
    let found = ledger(world.dealer("D1"), "", true).await.unwrap();
    let debt = &found.debts[0];
    assert_eq!((debt.closing(), debt.reason.as_str()), (DebtClosing::WrittenOff, "nobody will find it"));
    assert_eq!((found.debts.len(), found.dealer_owes_count), (1, 0));
    assert_eq!(refusal(&write_off(&world, &swapped, Debtor::Dealer).await.unwrap_err()).1, "DEBT_CLOSED");

    // A charged repair, paid, on its way back.
    let quoted = life.in_state("PAID1", 60, ClaimState::Quoted).await;
    let of = quoted.claim_id.as_str();
    life.accept(of, &quoted.quote_id).await.unwrap();
    life.repair(of).await.unwrap();
    life.pay(of, 14_691, "P-1").await.unwrap();
    let parcel = life.dispatch(&[(of, "")]).await.unwrap();
    life.lose(&parcel.shipment_id, &[]).await.unwrap();
    life.close_lost(of).await.unwrap();
    let request = ListBillableRepairsRequest::default();
    let feed = world.staff().claims.list_billable_repairs(request).await.unwrap().into_inner().entries;
    let told: Vec<_> = feed.iter().map(|entry| (entry.kind(), entry.amount.clone(), entry.vat.clone())).collect();
    let kinds = [BillableKind::Charge, BillableKind::Payment, BillableKind::ChargeReversed];
    assert_eq!(told, kinds.map(|kind| (kind, feed[0].amount.clone(), feed[0].vat.clone())));
    assert_eq!(feed[0].amount, Some(fen_as_money(14_691)));
    assert_eq!(faults(&world).await, [""; 0]);
    // The migration's own words, on what was given up before.
    let migration = include_str!("../../migrations/0017_what_counts.sql");
    let words = migration.split("ALTER TABLE claim_events NO FORCE ROW LEVEL SECURITY;").nth(1).unwrap();
    let (words, _) = words.split_once("ALTER TABLE billables FORCE").unwrap();
    let before =
        "DELETE FROM billables WHERE kind = 'CHARGE_REVERSED'; DELETE FROM ledger_entries WHERE kind = 'WRITTEN_OFF'";
    sqlx::raw_sql(AssertSqlSafe(format!("{before}; {words}"))).execute(&mut world.owner().await).await.unwrap();
    assert_eq!(ledger(world.dealer("D1"), "", true).await.unwrap(), found);
    assert_eq!(faults(&world).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_for_a_debt_and_lost_on_its_way_is_sent_again() {
    let world = World::stocked().await;
    let life = Life(&world);
    for serial in ["STOCK1", "STOCK2"] {
        world.unit(serial).await;
    }
    let claim = received(&world, "SWAP1").await;
    let of = claim.claim_id.as_str();
    life.inspect(of, &[]).await.unwrap();
    let first = life.dispatch(&[(of, "STOCK1")]).await.unwrap();
    life.lose(&first.shipment_id, &[]).await.unwrap();
    let second = life.dispatch(&[(of, "STOCK2")]).await.unwrap();
    life.deliver(&second.shipment_id).await.unwrap();
    let closed = ["DEALER FAULTY_UNIT -: RETURNED SWAP1", "MAKER GOOD_UNIT DIRECT_REPLACEMENT: RETURNED STOCK1"];
    assert_eq!(debts(&world).await, closed);
    sums_to_nothing(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_badly_asked_is_refused_and_the_ledger_is_a_tenants_and_insert_only() {
    let world = World::stocked().await;
    Life(&world).in_state("SWAP1", 3, ClaimState::Swapped).await;
    let paths = |refused: Status| violations(&refused).into_iter().map(|(path, _)| path).collect::<Vec<_>>();
    let mut staff = world.staff();
    let request = GetDealerLedgerRequest { page_size: 501, ..Default::default() };
    assert_eq!(paths(staff.logistics.get_dealer_ledger(request).await.unwrap_err()), ["dealer_id", "page_size"]);
    let refused = staff.logistics.write_off_debt(WriteOffDebtRequest::default()).await.unwrap_err();
    assert_eq!(paths(refused), ["request_id", "debt.claim_id", "debt.debtor", "reason"]);
    let refused = staff.logistics.net_debts(NetDebtsRequest::default()).await.unwrap_err();
    assert_eq!(paths(refused), ["request_id", "dealer_claim_id", "maker_claim_id", "reason"]);
    let request = SetDealerDebtLimitRequest { debt_limit: Some(-1), version: -1, ..Default::default() };
    let refused = staff.registry.set_dealer_debt_limit(request).await.unwrap_err();
    assert_eq!(paths(refused), ["request_id", "dealer_id", "version", "debt_limit"]);

    for role in ["warranty_claim", "warranty_logistics"] {
        for (caller, seen) in [("dealer/D2", 0), ("", 0), ("dealer/D1", 1), ("staff/S1", 1)] {
            let mut connection = world.owner().await;
            let sql = AssertSqlSafe(format!("SET ROLE {role}; SET warranty.caller = '{caller}'"));
            sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
            let found: i64 =
                sqlx::query_scalar("SELECT count(*) FROM ledger_entries").fetch_one(&mut connection).await.unwrap();
            assert_eq!(found, seen, "{role} for {caller:?}");
            for change in ["UPDATE ledger_entries SET due_on = NULL", "DELETE FROM ledger_entries"] {
                let refused = sqlx::raw_sql(AssertSqlSafe(change)).execute(&mut connection).await.unwrap_err();
                let code = refused.as_database_error().and_then(|error| error.code().map(String::from));
                assert_eq!(code.as_deref(), Some("42501"), "{role}: {change}");
            }
        }
    }
    // An entry is not made up: a debt is opened once, and closed once.
    let again = "INSERT INTO ledger_entries (claim_id, debtor, number, dealer_id, kind, owed, due_on, recorded_at, recorded_by)
        SELECT claim_id, debtor, number + 1, dealer_id, 'OPENED', owed, due_on, recorded_at, recorded_by FROM ledger_entries";
    let refused = sqlx::raw_sql(again).execute(&mut world.owner().await).await.unwrap_err();
    let by = refused.as_database_error().and_then(|error| error.constraint()).unwrap_or_default();
    assert_eq!(by, "ledger_opened_then_closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn swaps_from_before_the_ledger_are_entered_as_they_stand() {
    let world = World::stocked().await;
    let life = Life(&world);
    life.in_state("OWED1", 3, ClaimState::Swapped).await;
    let way = life.in_state("OWED2", 3, ClaimState::Swapped).await;
    life.open_return(&[&way.claim_id]).await.unwrap();
    received(&world, "HERE1").await;
    let scratched = FaultReport { appearance: Appearance::Scratched.into(), ..Default::default() };
    for (serial, findings, report) in [
        ("GOOD1", vec![], FaultReport::default()),
        ("PAID1", vec![Clause::X3], FaultReport::default()),
        ("FREE1", vec![], scratched),
    ] {
        let claim = received(&world, serial).await;
        life.inspect_as(&claim.claim_id, &findings, report).await.unwrap();
    }
    let written = ledger(world.staff(), "D1", false).await.unwrap();
    assert_eq!((written.dealer_owes_count, written.maker_owes_count), (2, 3));
    // The migration's own words, on claims that have no entries.
    let migration = include_str!("../../migrations/0011_stock_and_ledger.sql");
    let entered = migration.split("ALTER TABLE claims NO FORCE ROW LEVEL SECURITY;").nth(1).unwrap();
    let (entered, _) = entered.split_once("ALTER TABLE ledger_entries FORCE").unwrap();
    let sql = AssertSqlSafe(format!("DELETE FROM ledger_entries; {entered}"));
    sqlx::raw_sql(sql).execute(&mut world.owner().await).await.unwrap();
    assert_eq!(ledger(world.staff(), "D1", false).await.unwrap(), written);
}
