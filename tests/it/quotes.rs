//! Paid repairs (P1, P2): prices from a day on, quotes, who accepts what, payments, billing's feed, and what the clock ends.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, Utc};
use futures::{StreamExt, future::join_all};
use rand::seq::SliceRandom;
use sha2::{Digest, Sha256};
use sqlx::AssertSqlSafe;
use tonic::{Code, Status};
use warranty::{
    clock::Clock,
    contract::{google::r#type::Money, v1::*},
    domain::actor::Actor,
    service::claim::worker::{self, Done},
};

use crate::{
    claims::{Life, count, tally},
    world::{AUDIENCE, ISSUER, World, date, fen_as_money, filing, id, metadata, refusal, violations},
};

/// 50 for the inspection, 80.01 for labour, and 13 % of VAT, which is 16.9013.
const TOTAL: i64 = 13_001 + 1_690;

fn fen(money: &Option<Money>) -> i64 {
    money.as_ref().map(|money| money.units * 100 + i64::from(money.nanos) / 10_000_000).unwrap()
}

fn change(kind: PriceKind, code: &str, quantity: i32, price: Option<i64>, reason: &str) -> QuoteLineChange {
    let unit_price = price.map(fen_as_money);
    QuoteLineChange { kind: kind.into(), code: code.into(), quantity, unit_price, reason: reason.into() }
}

fn at(text: &str) -> Option<prost_types::Timestamp> {
    let at: DateTime<Utc> = text.parse().unwrap();
    Some(prost_types::Timestamp { seconds: at.timestamp(), nanos: at.timestamp_subsec_nanos() as i32 })
}

/// Calls again where no connection came free in time, as a caller does: nothing was done then.
async fn patiently<T, C: Future<Output = Result<T, Status>>>(call: impl Fn() -> C) -> Result<T, Status> {
    loop {
        match call().await {
            Err(status) if refusal(&status).1 == "OVERLOADED" => {}
            told => return told,
        }
    }
}

async fn feed(world: &World, after_sequence: i64) -> Vec<BillableRepair> {
    let request = ListBillableRepairsRequest { after_sequence, page_size: 500 };
    let read = || async { world.staff().claims.list_billable_repairs(request).await };
    patiently(read).await.unwrap().into_inner().entries
}

async fn quotes(world: &World, claim_id: &str) -> Vec<Quote> {
    let request = ListQuotesRequest { claim_id: claim_id.into(), ..Default::default() };
    world.staff().claims.list_quotes(request).await.unwrap().into_inner().quotes
}

// ---- prices

fn part(code: &str, price: Option<i64>, from: &str) -> Price {
    Price {
        kind: PriceKind::Part.into(),
        code: code.into(),
        amount: price.map(fen_as_money),
        valid_from_date: Some(date(from)),
        ..Default::default()
    }
}

async fn set(world: &World, prices: Vec<Price>, vat: Option<VatRate>) -> Result<(), (Code, String)> {
    let request = SetPricesRequest { request_id: id(), prices, vat };
    world.staff().claims.set_prices(request).await.map(drop).map_err(|status| refusal(&status))
}

async fn listed(world: &World, day: &str) -> Vec<(String, i64)> {
    let (mut found, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListPricesRequest { date: Some(date(day)), page_size: 1, page_token };
        let page = world.staff().claims.list_prices(request).await.unwrap().into_inner();
        found.extend(page.prices.iter().map(|price| (price.code.clone(), fen(&price.amount))));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return found;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn prices_hold_from_a_day_on_and_what_has_begun_is_never_changed() {
    let world = World::start().await;
    let in_force = Err((Code::AlreadyExists, "ALREADY_EXISTS".to_owned()));
    let prices = vec![part("FAN", Some(100), "2026-06-15"), part("PSU", Some(900), "2026-06-15")];
    let vat = |basis_points, from| Some(VatRate { basis_points, valid_from_date: Some(date(from)) });
    assert_eq!(set(&world, prices, vat(1_300, "2026-06-15")).await, Ok(()));
    let later = vec![part("FAN", Some(120), "2026-07-01"), part("PSU", None, "2026-08-01")];
    assert_eq!(set(&world, later, vat(600, "2026-07-01")).await, Ok(()));
    // The day has not come: it may be set again. Today's has.
    assert_eq!(set(&world, vec![part("FAN", Some(130), "2026-07-01")], vat(900, "2026-07-01")).await, Ok(()));
    assert_eq!(set(&world, vec![part("FAN", Some(1), "2026-06-15")], None).await, in_force);
    assert_eq!(set(&world, vec![], vat(0, "2026-06-15")).await, in_force);
    // Both or neither: a new price beside one in force is not set.
    let mixed = vec![part("NEW", Some(1), "2026-06-15"), part("PSU", Some(1), "2026-06-15")];
    assert_eq!(set(&world, mixed, None).await, in_force);

    let priced = |codes: &[(&str, i64)]| codes.iter().map(|(code, fen)| ((*code).to_owned(), *fen)).collect::<Vec<_>>();
    assert_eq!(listed(&world, "2026-06-14").await, []);
    assert_eq!(listed(&world, "2026-06-30").await, priced(&[("FAN", 100), ("PSU", 900)]));
    assert_eq!(listed(&world, "2026-07-31").await, priced(&[("FAN", 130), ("PSU", 900)]));
    assert_eq!(listed(&world, "2026-08-01").await, priced(&[("FAN", 130)]));
    let today = world.staff().claims.list_prices(ListPricesRequest::default()).await.unwrap().into_inner();
    assert_eq!((today.prices.len(), today.vat), (2, vat(1_300, "2026-06-15")));
    world.set("2026-06-30T16:00:00Z");
    assert_eq!(set(&world, vec![part("FAN", Some(1), "2026-07-01")], None).await, in_force);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sets_one_price_at_once_comes_one_after_the_other() {
    let world = World::start().await;
    let all = (1..=6).map(|fen| {
        let world = &world;
        async move {
            // Who met another too often is told to send it again.
            while let Err(refused) = set(world, vec![part("FAN", Some(fen), "2026-07-01")], None).await {
                assert_eq!(refused.0, Code::Unavailable);
            }
        }
    });
    futures::future::join_all(all).await;
    let numbers = "SELECT count(*) FROM prices p WHERE number BETWEEN 1 AND 6";
    assert_eq!(count(&world, numbers).await, 6);
    let last: i64 = sqlx::query_scalar("SELECT amount_fen FROM prices WHERE number = 6")
        .fetch_one(&mut world.owner().await)
        .await
        .unwrap();
    assert_eq!(listed(&world, "2026-07-01").await, [("FAN".to_owned(), last)]);
}

// ---- a quote

#[tokio::test(flavor = "multi_thread")]
async fn a_quote_is_issued_and_accepted_on_behalf_of_the_customer_under_a_token() {
    let world = World::stocked().await;
    let life = Life(&world);
    let claim = life.in_state("PAID0001", 60, ClaimState::Inspected).await;
    let of = claim.claim_id.as_str();
    world.priced().await;
    let (quoted, quote) = life.quote(of, vec![]).await.unwrap();
    assert_eq!(
        (quoted.state(), quoted.quote_id.as_str(), &quoted.charge, quoted.due_date),
        (ClaimState::Quoted, quote.quote_id.as_str(), &None, Some(date("2026-06-30")))
    );
    let line = |kind: PriceKind, code: &str, fen| QuoteLine {
        kind: kind.into(),
        code: code.into(),
        quantity: 1,
        unit_price: Some(fen_as_money(fen)),
        amount: Some(fen_as_money(fen)),
        reason: String::new(),
    };
    let expected = Quote {
        quote_id: quote.quote_id.clone(),
        claim_id: of.to_owned(),
        state: QuoteState::Issued.into(),
        lines: vec![line(PriceKind::Inspection, "", 5_000), line(PriceKind::Labour, "NO_POWER", 8_001)],
        subtotal: Some(fen_as_money(13_001)),
        vat_basis_points: 1_300,
        vat: Some(fen_as_money(1_690)),
        total: Some(fen_as_money(TOTAL)),
        issued_time: at("2026-06-15T04:00:00Z"),
        expires_time: at("2026-06-30T15:59:59.999999Z"),
        ..Default::default()
    };
    assert_eq!(quote, expected);

    let (accepted, quote) = life.accept(of, &quote.quote_id).await.unwrap();
    let actor = Actor::Dealer("D1".into());
    let scopes = "coverage.read sales.write claims.read claims.apply logistics.read";
    let hour = chrono::Duration::hours(1);
    // The same second gives the same token.
    let token = world.issuer.mint(&actor, scopes, hour, ISSUER, AUDIENCE, world.clock.now()).unwrap();
    let digest = Sha256::digest(&token);
    let fingerprint = digest[..16].iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let expected = Quote {
        state: QuoteState::Accepted.into(),
        decided_time: at("2026-06-15T04:00:00Z"),
        decided_by: "dealer/D1".into(),
        on_behalf_of: claim.customer_id.clone(),
        ..expected
    };
    assert_eq!((accepted.state(), &quote), (ClaimState::InRepair, &expected), "the fingerprint is for staff");
    assert_eq!(quotes(&world, of).await, [Quote { token_fingerprint: fingerprint, ..expected }]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_of_paid_service_estimates_what_the_quote_then_asks_for() {
    let world = World::stocked().await;
    world.sold("UNIT1", 60).await;
    let preview = async |region: &str| {
        let report = filing("UNIT1").report.map(|report| FaultReport { region_of_use: region.into(), ..report });
        let request = PreviewClaimRequest { serial: "UNIT1".into(), report, ..Default::default() };
        world.dealer("D1").claims.preview_claim(request).await.unwrap().into_inner()
    };
    // Used outside the commitment's territory (S4).
    assert_eq!(preview("CN-HK").await.estimate, None, "no prices are set");
    world.priced().await;
    let paid = preview("CN-HK").await;
    assert_eq!((paid.decision.unwrap().remedy(), paid.estimate), (Remedy::PaidService, Some(fen_as_money(TOTAL))));
    assert_eq!(preview("CN-GD").await.estimate, None, "it is repaired free");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_charged_repair_is_paid_leaves_and_is_free_for_three_months() {
    let world = World::stocked().await;
    let life = Life(&world);
    world.set("2027-01-09T04:00:00Z");
    // Within its year, which ends on 2027-01-15.
    let claim = life.in_state("PAID0001", 359, ClaimState::Quoted).await;
    let of = claim.claim_id.as_str();
    world.set("2027-01-10T04:00:00Z");
    life.accept(of, &claim.quote_id).await.unwrap();
    // P1: nothing is repaired for money before the quote is accepted.
    let (claim_id, completed_date) = (of.to_owned(), Some(date("2027-01-09")));
    let early = RecordRepairRequest { request_id: id(), claim_id, completed_date, ..Default::default() };
    let refused = world.staff().claims.record_repair(early).await.unwrap_err();
    let rule = "must not lie before the quote was accepted (P1)".to_owned();
    assert_eq!(violations(&refused), [("completed_date".to_owned(), rule)]);
    let repaired = life.repair(of).await.unwrap();
    assert_eq!((repaired.state(), fen(&repaired.charge), repaired.paid), (ClaimState::Ready, TOTAL, false));
    let refused = life.dispatch(&[(of, "")]).await.unwrap_err();
    assert_eq!((refusal(&refused).1.as_str(), metadata(&refused, "charged").as_str()), ("NOT_PAID", "14691"));
    for (amount, reason) in [(TOTAL - 1, "PAYMENT_PARTIAL"), (TOTAL + 1, "PAYMENT_EXCESS"), (0, "PAYMENT_PARTIAL")] {
        let refused = life.pay(of, amount, "P-1").await.unwrap_err();
        assert_eq!((refusal(&refused).1.as_str(), metadata(&refused, "charged").as_str()), (reason, "14691"));
    }
    assert!(life.pay(of, TOTAL, "P-1").await.unwrap().paid);
    assert_eq!(refusal(&life.pay(of, TOTAL, "P-2").await.unwrap_err()).1, "ALREADY_PAID");
    let parcel = life.dispatch(&[(of, "")]).await.unwrap();
    assert_eq!((parcel.items[0].payer(), parcel.items[0].clause()), (Payer::Sender, Clause::M6));
    life.deliver(&parcel.shipment_id).await.unwrap();
    assert_eq!(life.get(of).await.state(), ClaimState::Closed);

    let entry = |sequence, kind: BillableKind, reference: &str| BillableRepair {
        sequence,
        kind: kind.into(),
        claim_id: of.to_owned(),
        serial: "PAID0001".into(),
        dealer_id: "D1".into(),
        customer_id: claim.customer_id.clone(),
        quote_id: claim.quote_id.clone(),
        amount: Some(fen_as_money(TOTAL)),
        vat: Some(fen_as_money(1_690)),
        reference: reference.into(),
        recorded_time: at("2027-01-10T04:00:00Z"),
    };
    let told = feed(&world, 0).await;
    let [charge, payment] = [told[0].sequence, told[1].sequence];
    assert_eq!(told, [entry(charge, BillableKind::Charge, ""), entry(payment, BillableKind::Payment, "P-1")]);
    assert_eq!(feed(&world, charge).await, told[1..], "read on from any number");

    // P2: the same fault, three months from the repair, after the year.
    for (day, fault, decided) in [
        ("2027-01-16", "NO_POWER", (Remedy::FreeRepair, vec![Clause::P2.into()])),
        ("2027-04-10", "NO_POWER", (Remedy::FreeRepair, vec![Clause::P2.into()])),
        ("2027-04-11", "NO_POWER", (Remedy::PaidService, vec![Clause::X2.into()])),
        ("2027-01-16", "NO_LINK", (Remedy::PaidService, vec![Clause::X2.into()])),
    ] {
        let report = Some(FaultReport { fault_code: fault.into(), ..Default::default() });
        let ask =
            CheckCoverageRequest { serial: "PAID0001".into(), date: Some(date(day)), report, ..Default::default() };
        let found = world.dealer("D1").coverage.check_coverage(ask).await.unwrap().into_inner().decision.unwrap();
        assert_eq!((found.remedy(), found.clauses), decided, "{day} {fault}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn billing_changes_lines_with_a_reason() {
    let world = World::stocked().await;
    let life = Life(&world);
    let claim = life.in_state("LINES001", 60, ClaimState::Inspected).await.claim_id;
    let refused = life.quote(&claim, vec![]).await.unwrap_err();
    assert_eq!(
        (refusal(&refused).1.as_str(), metadata(&refused, "kind").as_str(), metadata(&refused, "code").as_str()),
        ("NO_PRICE", "INSPECTION", "")
    );
    world.priced().await;
    let psu = |price, reason| vec![change(PriceKind::Part, "PSU", 1, price, reason)];
    for (changes, field, rule) in [
        (psu(Some(9_998), ""), "changes[0].reason", "is required: the price list says otherwise"),
        (
            vec![change(PriceKind::Part, "FAN", 0, None, "")],
            "changes[0].quantity",
            "must not be 0: there is no such line to take out",
        ),
        (
            vec![change(PriceKind::Inspection, "", 0, None, ""), change(PriceKind::Labour, "NO_POWER", 0, None, "")],
            "changes",
            "must leave something to pay",
        ),
        (
            vec![change(PriceKind::Part, "GOLD", 1_000, Some(10_000_000_000), "gold")],
            "changes",
            "must come to at most 100,000,000.00",
        ),
    ] {
        let refused = life.quote(&claim, changes).await.unwrap_err();
        assert_eq!(violations(&refused), [(field.to_owned(), rule.to_owned())]);
    }
    let unlisted = life.quote(&claim, vec![change(PriceKind::Part, "FAN", 1, None, "worn")]).await.unwrap_err();
    assert_eq!((refusal(&unlisted).1.as_str(), metadata(&unlisted, "code").as_str()), ("NO_PRICE", "FAN"));
    assert_eq!(count(&world, "SELECT count(*) FROM quotes").await, 0);

    // Tomorrow's price is not today's.
    set(&world, vec![part("PSU", Some(1), "2026-06-16")], None).await.unwrap();
    let changes = vec![
        change(PriceKind::Inspection, "", 0, None, ""),
        change(PriceKind::Part, "PSU", 2, None, ""),
        change(PriceKind::Part, "FAN", 1, Some(3_000), "not listed, from stock"),
        change(PriceKind::Labour, "NO_POWER", 1, Some(4_000), "half of it was done before"),
    ];
    let (_, quote) = life.quote(&claim, changes).await.unwrap();
    let lines: Vec<_> = quote
        .lines
        .iter()
        .map(|line| (line.code.as_str(), line.quantity, fen(&line.unit_price), fen(&line.amount), line.reason.as_str()))
        .collect();
    assert_eq!(
        lines,
        [
            ("NO_POWER", 1, 4_000, 4_000, "half of it was done before"),
            ("FAN", 1, 3_000, 3_000, "not listed, from stock"),
            ("PSU", 2, 9_999, 19_998, ""),
        ]
    );
    assert_eq!((fen(&quote.subtotal), fen(&quote.vat), fen(&quote.total)), (26_998, 3_510, 30_508));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_itself_adds_up_and_keeps_one_live_quote() {
    let world = World::stocked().await;
    Life(&world).in_state("SUMS0001", 60, ClaimState::Quoted).await;
    let copied = "INSERT INTO quotes SELECT (jsonb_populate_record(q, '{\"quote_id\": \"00000000-0000-4000-8000-000000000001\"}')).* FROM quotes q";
    for (sql, constraint) in [
        ("UPDATE quotes SET lines = lines || lines", "quotes_lines_sum_to_the_subtotal"),
        ("UPDATE quotes SET subtotal_fen = 13000, total_fen = 14690", "quotes_lines_sum_to_the_subtotal"),
        ("UPDATE quotes SET vat_fen = 1691, total_fen = 14692", "quotes_vat_rounded_half_up"),
        ("UPDATE quotes SET total_fen = 14690", "quotes_total_with_vat"),
        ("UPDATE quotes SET state = 'DECLINED'", "quotes_decided_by_someone"),
        ("UPDATE quotes SET state = 'ACCEPTED', decided_at = now(), decided_by = 'x'", "quotes_accepted_for_someone"),
        (copied, "quotes_one_live_for_a_claim"),
    ] {
        let refused = sqlx::query(sql).execute(&mut world.owner().await).await.unwrap_err();
        assert_eq!(refused.as_database_error().unwrap().constraint(), Some(constraint), "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dealer_accepts_only_what_it_read() {
    let world = World::stocked().await;
    let life = Life(&world);
    let claim = life.in_state("READ0001", 60, ClaimState::Quoted).await;
    let (of, first) = (claim.claim_id.as_str(), claim.quote_id.as_str());
    world.set("2026-06-20T04:00:00Z");
    let (_, second) = life.quote(of, vec![change(PriceKind::Part, "PSU", 1, None, "")]).await.unwrap();
    let refused = life.accept(of, first).await.unwrap_err();
    assert_eq!(
        (refusal(&refused), metadata(&refused, "current")),
        ((Code::FailedPrecondition, "QUOTE_NOT_CURRENT".into()), second.quote_id.clone())
    );
    assert_eq!(refusal(&life.accept(of, &id()).await.unwrap_err()), (Code::NotFound, "NOT_FOUND".into()));
    let customer = world.customer(claim.customer_id.parse().unwrap());
    let request = AcceptQuoteRequest {
        request_id: id(),
        claim_id: of.into(),
        quote_id: second.quote_id.clone(),
        ..Default::default()
    };
    let refused = { customer }.claims.accept_quote(request).await.unwrap_err();
    assert_eq!(refusal(&refused), (Code::PermissionDenied, "NOT_THE_APPLICANT".into()));
    // The second has its own 15 days.
    world.set("2026-07-05T15:59:59Z");
    life.accept(of, &second.quote_id).await.unwrap();
    let states: Vec<_> =
        quotes(&world, of).await.iter().map(|quote| (quote.state(), quote.decided_by.clone())).collect();
    assert_eq!(
        states,
        [(QuoteState::Accepted, "dealer/D1".to_owned()), (QuoteState::Superseded, "staff/S1".to_owned())]
    );
    assert_eq!(refusal(&life.accept(of, &second.quote_id).await.unwrap_err()).1, "WRONG_STATE");
}

#[tokio::test(flavor = "multi_thread")]
async fn declined_or_beyond_repair_it_goes_back_as_it_came_and_nothing_is_charged() {
    let world = World::stocked().await;
    let life = Life(&world);
    let declined = life.in_state("BACK0001", 60, ClaimState::Quoted).await;
    let (claim, quote) = life.decline(&declined.claim_id, &declined.quote_id).await.unwrap();
    assert_eq!((claim.state(), claim.outcome()), (ClaimState::Ready, ClaimOutcome::AsItCame));
    assert_eq!(
        (quote.state(), quote.reason.as_str(), quote.on_behalf_of.as_str()),
        (QuoteState::Declined, "too dear", "")
    );
    let broken = life.in_state("BACK0002", 60, ClaimState::Quoted).await;
    life.accept(&broken.claim_id, &broken.quote_id).await.unwrap();
    let claim = life.beyond_repair(&broken.claim_id).await.unwrap();
    assert_eq!((claim.state(), claim.outcome(), claim.charge), (ClaimState::Ready, ClaimOutcome::AsItCame, None));
    assert_eq!(claim.reason, "the board is burnt through");
    for claim in [declined, broken] {
        assert_eq!(refusal(&life.pay(&claim.claim_id, TOTAL, "P-1").await.unwrap_err()).1, "NOTHING_CHARGED");
        life.dispatch(&[(&claim.claim_id, "")]).await.unwrap();
    }
    assert_eq!(feed(&world, 0).await, []);
    // What the commitment repairs free is not declared beyond repair, but replaced.
    let free = life.in_state("BACK0003", 60, ClaimState::InRepair).await.claim_id;
    assert_eq!(refusal(&life.beyond_repair(&free).await.unwrap_err()).1, "REMEDY_MISMATCH");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_twice_is_quoted_accepted_and_paid_once() {
    let world = World::stocked().await;
    let life = Life(&world);
    let claim_id = life.in_state("TWICE001", 60, ClaimState::Inspected).await.claim_id;
    world.priced().await;
    let (mut dealer, mut staff) = (world.dealer("D1"), world.staff());
    let request = QuoteRepairRequest { request_id: id(), claim_id: claim_id.clone(), version: 3, ..Default::default() };
    let refused = staff.claims.quote_repair(request.clone()).await.unwrap_err();
    assert_eq!((refusal(&refused).1.as_str(), metadata(&refused, "current").as_str()), ("VERSION_MISMATCH", "5"));
    let request = QuoteRepairRequest { version: 5, ..request };
    let first = staff.claims.quote_repair(request.clone()).await.unwrap().into_inner();
    assert_eq!(staff.claims.quote_repair(request).await.unwrap().into_inner(), first);
    let quote_id = first.quote.unwrap().quote_id;
    let request = AcceptQuoteRequest { request_id: id(), claim_id: claim_id.clone(), version: 6, quote_id };
    let first = dealer.claims.accept_quote(request.clone()).await.unwrap().into_inner();
    assert_eq!(dealer.claims.accept_quote(request).await.unwrap().into_inner(), first);
    life.repair(&claim_id).await.unwrap();
    let (amount, reference) = (Some(fen_as_money(TOTAL)), "P-1".into());
    let request = RecordPaymentRequest { request_id: id(), claim_id, version: 8, amount, reference };
    let calls = join_all((0..20).map(|_| {
        let (mut billing, request) = (world.staff(), request.clone());
        async move { billing.claims.record_payment(request).await.unwrap().into_inner() }
    }));
    let replies = calls.await;
    assert!(replies.iter().all(|reply| *reply == replies[0]));
    assert_eq!(count(&world, "SELECT count(*) FROM quotes").await, 1);
    assert_eq!(feed(&world, 0).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_credit_terms_it_leaves_before_it_is_paid() {
    let world = World::stocked().await;
    let life = Life(&world);
    let mut ready = Vec::new();
    for serial in ["CRED0001", "CRED0002"] {
        let claim = life.in_state(serial, 60, ClaimState::Quoted).await;
        life.accept(&claim.claim_id, &claim.quote_id).await.unwrap();
        life.repair(&claim.claim_id).await.unwrap();
        ready.push(claim.claim_id);
    }
    let [first, second] = [ready[0].as_str(), ready[1].as_str()];
    assert_eq!(refusal(&life.dispatch(&[(first, "")]).await.unwrap_err()).1, "NOT_PAID");
    let (request_id, dealer_id) = (id(), "D1".to_owned());
    let request = SetDealerCreditTermsRequest { request_id, dealer_id, credit_terms: true, version: 0 };
    world.staff().registry.set_dealer_credit_terms(request).await.unwrap();
    let parcel = life.dispatch(&[(first, ""), (second, "")]).await.unwrap();
    // Paid on the way, and after the end; one payment has one number.
    assert!(life.pay(first, TOTAL, "P-1").await.unwrap().paid);
    life.deliver(&parcel.shipment_id).await.unwrap();
    let refused = life.pay(second, TOTAL, "P-1").await.unwrap_err();
    assert_eq!(refusal(&refused), (Code::AlreadyExists, "ALREADY_EXISTS".into()));
    assert!(!life.get(second).await.paid, "the whole of it was taken back");
    let paid = life.pay(second, TOTAL, "P-2").await.unwrap();
    assert_eq!((paid.state(), paid.paid), (ClaimState::Closed, true));
}

// ---- the clock

/// Copies of a claim with all that belongs to it, each for a unit of its own, `a_day` of them due each day from the claim's on.
/// Gives their claims and quotes in that order.
async fn copies(world: &World, claim: &Claim, count: usize, a_day: usize) -> Vec<(String, String)> {
    let sql = format!(
        "SET session_replication_role = replica;
         CREATE TEMPORARY TABLE copies AS SELECT i, md5('claim ' || i)::uuid AS claim_id, md5('quote ' || i)::uuid AS quote_id,
             'COPY' || lpad(i::text, 4, '0') AS serial, (i - 1) / {a_day} AS days FROM generate_series(1, {count}) i;
         INSERT INTO units SELECT (jsonb_populate_record(u, jsonb_build_object('serial', x.serial))).* FROM units u, copies x
             WHERE u.serial = '{serial}';
         INSERT INTO claims SELECT (jsonb_populate_record(c, jsonb_build_object('serial', x.serial, 'claim_id', x.claim_id,
             'quote_id', x.quote_id, 'return_number', NULL, 'due_on', c.due_on + x.days,
             'entered_at', c.entered_at + x.days * interval '1 day'))).* FROM claims c, copies x WHERE c.claim_id = '{id}';
         INSERT INTO claim_events SELECT (jsonb_populate_record(e, jsonb_build_object('claim_id', x.claim_id, 'feed', x.feed))).*
             FROM claim_events e CROSS JOIN LATERAL (SELECT x.claim_id, nextval('claim_event_feed') AS feed FROM copies x
                 WHERE e.claim_id = '{id}') x;
         INSERT INTO quotes SELECT (jsonb_populate_record(q, jsonb_build_object('claim_id', x.claim_id, 'quote_id', x.quote_id,
             'expires_at', q.expires_at + x.days * interval '1 day'))).* FROM quotes q, copies x WHERE q.claim_id = '{id}'",
        serial = claim.serial,
        id = claim.claim_id,
    );
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut world.owner().await).await.unwrap();
    let copied = "SELECT claim_id::text, quote_id::text FROM claims WHERE serial LIKE 'COPY%' ORDER BY serial";
    sqlx::query_as(copied).fetch_all(&mut world.owner().await).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quote_is_accepted_or_it_expires_in_a_thousand_races_never_both() {
    const AT_ONCE: usize = 50;
    let world = World::stocked().await;
    let life = Life(&world);
    let claim = life.in_state("RACE0001", 60, ClaimState::Quoted).await;
    let end: DateTime<Utc> = "2026-06-30T15:59:59.999999Z".parse().unwrap();
    let copies = copies(&world, &claim, 1_000, AT_ONCE).await;
    // The first is out of the way.
    life.decline(&claim.claim_id, &claim.quote_id).await.unwrap();
    let (worker, other) = (world.worker(), world.worker());
    let (mut answers, mut expired) = (BTreeMap::<String, i32>::new(), 0);
    for (day, due) in (0..).zip(copies.chunks(AT_ONCE)) {
        // The services' clock stands at the last moment, the workers' at the first after it.
        let last = end + chrono::Duration::days(day);
        world.clock.set(last);
        let mut racing = due.to_vec();
        racing.shuffle(&mut rand::rng());
        let accepts = join_all(racing.iter().map(|(claim, quote)| patiently(|| life.accept(claim, quote))));
        let now = last + chrono::Duration::microseconds(1);
        let workers = join_all([&worker, &worker, &other, &other].map(|pool| worker::step(pool, &world.evidence, now)));
        let (said, done) = tokio::join!(accepts, workers);
        for (answer, times) in tally(said) {
            *answers.entry(answer).or_default() += times;
        }
        expired += done.into_iter().map(|done| done.unwrap().expired).sum::<u64>();
    }
    let accepted = answers["OK"];
    println!("{accepted} accepted, {expired} expired");
    assert_eq!(answers.get("FailedPrecondition QUOTE_EXPIRED"), Some(&(1_000 - accepted)), "{answers:?}");
    assert_eq!(expired, u64::try_from(1_000 - accepted).unwrap());
    assert!(accepted > 50 && expired > 50, "the two really met: {answers:?}");
    let went = |sql: &str| {
        format!("SELECT count(*) FROM claims c JOIN quotes q USING (claim_id) WHERE serial LIKE 'COPY%' AND {sql}")
    };
    for (sql, expected) in [
        ("c.state = 'IN_REPAIR' AND q.state = 'ACCEPTED' AND c.charge_fen = q.total_fen", i64::from(accepted)),
        (
            "c.state = 'READY' AND c.outcome = 'AS_IT_CAME' AND q.state = 'EXPIRED' AND c.quote_id IS NULL",
            1_000 - i64::from(accepted),
        ),
    ] {
        let found: i64 =
            sqlx::query_scalar(AssertSqlSafe(went(sql))).fetch_one(&mut world.owner().await).await.unwrap();
        assert_eq!(found, expected, "{sql}");
    }
    let events = "SELECT count(*) FROM claim_events WHERE facts->>'type' IN ('QUOTE_ACCEPTED', 'QUOTE_EXPIRED')";
    assert_eq!(count(&world, events).await, 1_000, "each claim went one way");
    let clocks = "SELECT count(*) FROM claim_events WHERE actor = 'worker/clock'";
    assert_eq!(count(&world, clocks).await, 1_000 - i64::from(accepted));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quote_expires_at_the_end_of_its_day_and_is_told_so_before_the_worker_comes() {
    let world = World::stocked().await;
    let life = Life(&world);
    let claim = life.in_state("EXPI0001", 60, ClaimState::Quoted).await;
    let (of, worker) = (claim.claim_id.as_str(), world.worker());
    world.set("2026-06-30T15:59:59.999999Z");
    assert_eq!(worker::step(&worker, &world.evidence, world.clock.now()).await.unwrap(), Done::default());
    assert_eq!(quotes(&world, of).await[0].state(), QuoteState::Issued);
    world.set("2026-06-30T16:00:00Z");
    assert_eq!(quotes(&world, of).await[0].state(), QuoteState::Expired);
    for refused in [
        life.accept(of, &claim.quote_id).await.map(drop),
        life.decline(of, &claim.quote_id).await.map(drop),
        life.appeal(of).await.map(drop),
    ] {
        let refused = refused.unwrap_err();
        assert_eq!(
            (refusal(&refused).1.as_str(), metadata(&refused, "expired").as_str()),
            ("QUOTE_EXPIRED", "2026-06-30")
        );
    }
    assert_eq!(
        worker::step(&worker, &world.evidence, world.clock.now()).await.unwrap(),
        Done { expired: 1, ..Done::default() }
    );
    let claim = life.get(of).await;
    assert_eq!(
        (claim.state(), claim.outcome(), claim.quote_id.as_str()),
        (ClaimState::Ready, ClaimOutcome::AsItCame, "")
    );
    let quote = quotes(&world, of).await.remove(0);
    assert_eq!((quote.state(), quote.decided_by.as_str()), (QuoteState::Expired, "worker/clock"));
    assert_eq!(refusal(&life.accept(of, &quote.quote_id).await.unwrap_err()).1, "QUOTE_EXPIRED");
    let request = ListClaimEventsRequest { claim_id: of.into(), ..Default::default() };
    let told = world.dealer("D1").claims.list_claim_events(request).await.unwrap().into_inner().events;
    let last = told.last().unwrap();
    assert_eq!((last.r#type(), last.actor.as_str()), (ClaimEventType::QuoteExpired, "worker/clock"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_sends_in_lapses_and_old_requests_are_forgotten() {
    let world = World::stocked().await;
    let life = Life(&world);
    let authorized = life.in_state("LAPS0001", 60, ClaimState::Authorized).await.claim_id;
    let swapped = life.in_state("LAPS0002", 3, ClaimState::Swapped).await.claim_id;
    let requests = count(&world, "SELECT count(*) FROM request_log").await;
    let worker = world.worker();
    world.set("2026-07-15T15:59:59Z");
    assert_eq!(worker::step(&worker, &world.evidence, world.clock.now()).await.unwrap(), Done::default());
    world.set("2026-07-15T16:00:00Z");
    // Two at once share the work.
    let (one, two) = tokio::join!(
        worker::step(&worker, &world.evidence, world.clock.now()),
        worker::step(&worker, &world.evidence, world.clock.now())
    );
    assert_eq!(one.unwrap().lapsed + two.unwrap().lapsed, 1);
    assert_eq!(life.get(&authorized).await.state(), ClaimState::Cancelled);
    assert_eq!(life.get(&swapped).await.state(), ClaimState::Swapped, "that unit is owed");
    // 90 days after they were written.
    world.set("2026-09-13T04:00:00Z");
    assert_eq!(worker::step(&worker, &world.evidence, world.clock.now()).await.unwrap(), Done::default());
    world.set("2026-09-13T04:00:01Z");
    let forgotten = requests.unsigned_abs();
    assert_eq!(
        worker::step(&worker, &world.evidence, world.clock.now()).await.unwrap(),
        Done { forgotten, ..Done::default() }
    );
    assert_eq!(count(&world, "SELECT count(*) FROM request_log").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_worker_works_by_itself_until_it_is_told_to_stop() {
    let world = World::stocked().await;
    let claim = Life(&world).in_state("LOOP0001", 60, ClaimState::Quoted).await;
    let clock = Clock::fixed("2026-07-01T00:00:00Z".parse().unwrap());
    let stop = tokio_util::sync::CancellationToken::new();
    let running = tokio::spawn(worker::run(
        world.worker(),
        world.evidence.clone(),
        clock,
        Duration::from_millis(20),
        stop.clone(),
    ));
    let expired = async {
        while Life(&world).get(&claim.claim_id).await.state() != ClaimState::Ready {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), expired).await.unwrap();
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(20), running).await.unwrap().unwrap();
}

// ---- billing's feed

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_billings_feed_misses_nothing_while_many_write() {
    const WRITTEN: usize = 300;
    let world = World::stocked().await;
    let life = Life(&world);
    let claim = life.in_state("FEED0001", 60, ClaimState::Quoted).await;
    life.accept(&claim.claim_id, &claim.quote_id).await.unwrap();
    let mut ids: Vec<_> = copies(&world, &claim, WRITTEN, WRITTEN).await.into_iter().map(|(claim, _)| claim).collect();
    // The process has 8 connections: the readers find one at any time.
    let write = futures::stream::iter(ids.iter().map(|claim| patiently(|| life.repair(claim)))).buffer_unordered(5);
    let write = write.collect::<Vec<_>>();
    let read = |_| async {
        let (mut told, mut polls) = (Vec::new(), 0);
        while told.len() < WRITTEN {
            let last = told.last().map_or(0, |entry: &BillableRepair| entry.sequence);
            told.extend(feed(&world, last).await);
            polls += 1;
        }
        (told, polls)
    };
    let read = tokio::time::timeout(Duration::from_secs(30), join_all((0..3).map(read)));
    let (written, read) = tokio::join!(write, read);
    assert!(written.iter().all(Result::is_ok));
    let again = feed(&world, 0).await;
    for (told, polls) in read.expect("an entry was missed: a reader went past its number") {
        assert!(polls > 10, "it read while they wrote: {polls}");
        assert!(told == again, "read again, it says the same");
    }
    let mut claims: Vec<_> = again.iter().map(|entry| entry.claim_id.clone()).collect();
    claims.sort();
    ids.sort();
    assert_eq!(claims, ids, "each once");
}
