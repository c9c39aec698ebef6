//! The registry's facts in full: sales with their history, contracts, dealers' promises, products, near misses, and who sees what.

use std::collections::BTreeSet;

use sqlx::{AssertSqlSafe, PgConnection};
use tokio::task::JoinSet;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use uuid::Uuid;
use warranty::{
    contract::{google::r#type::Date, v1::*},
    domain::{actor::Actor, serial::Serial},
    store,
};

use crate::world::{Caller, World, contact, date, filing, id, metadata, refusal, violations};

/// A sale of the unit today, with invoice F1.
fn sale_of(world: &World, serial: &str) -> RegisterSaleRequest {
    RegisterSaleRequest {
        request_id: id(),
        serial: serial.into(),
        sold_date: Some(world.today(0)),
        invoice_number: "F1".into(),
        ..Default::default()
    }
}

async fn sell(caller: &mut Caller, request: RegisterSaleRequest) -> Result<Sale, Status> {
    Ok(caller.registry.register_sale(request).await?.into_inner().sale.unwrap())
}

async fn cancel(caller: &mut Caller, serial: &str, version: i64) -> Result<Sale, Status> {
    let (serial, reason) = (serial.to_owned(), "the goods came back".to_owned());
    let request = CancelSaleRequest { request_id: id(), serial, version, reason };
    Ok(caller.registry.cancel_sale(request).await?.into_inner().sale.unwrap())
}

async fn versions(caller: &mut Caller, serial: &str) -> Result<Vec<Sale>, Status> {
    let request = ListSaleVersionsRequest { serial: serial.into() };
    Ok(caller.registry.list_sale_versions(request).await?.into_inner().versions)
}

async fn unit(caller: &mut Caller, serial: &str) -> GetUnitResponse {
    caller.registry.get_unit(GetUnitRequest { serial: serial.into() }).await.unwrap().into_inner()
}

/// A refusal's code and reason, and of what kind the thing is that was not found.
fn told<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String, String) {
    let status = answer.unwrap_err();
    let (code, reason) = refusal(&status);
    (code, reason, metadata(&status, "kind"))
}

fn not_found(kind: &str) -> (Code, String, String) {
    (Code::NotFound, "NOT_FOUND".into(), kind.into())
}

fn refused(code: Code, reason: &str) -> (Code, String, String) {
    (code, reason.into(), String::new())
}

async fn suspend(world: &World, dealer_id: &str) {
    let status = DealerStatus::Suspended.into();
    let request = SetDealerStatusRequest { request_id: id(), dealer_id: dealer_id.into(), status, version: 0 };
    world.staff().registry.set_dealer_status(request).await.unwrap();
}

/// One unit took another's place before the system.
async fn replaced(world: &World, replaced: &str, replacement: &str) {
    let step = Replacement {
        replaced_serial: replaced.into(),
        replacement_serial: replacement.into(),
        replaced_date: Some(world.today(0)),
    };
    let request = RecordHistoryRequest { request_id: id(), repairs: vec![], replacements: vec![step] };
    world.staff().registry.record_history(request).await.unwrap();
}

// ---- sales and their history

/// What is told of the sale below: registered by D1 on 15 June, corrected by staff, cancelled, made again by D2, a day each.
fn told_history(buyer: &str) -> [Sale; 4] {
    let at = |moment: &str| Some(moment.parse().unwrap());
    let registered = Sale {
        serial: "UNIT1".into(),
        dealer_id: "D1".into(),
        sold_date: Some(date("2026-05-01")),
        invoice_number: "F1".into(),
        region: "CN-GD".into(),
        customer_id: buyer.into(),
        version: 1,
        recorded_time: at("2026-06-15T04:00:00Z"),
        event: SaleEvent::Registered.into(),
        recorded_by: "dealer/D1".into(),
        days_late: 45,
        ..Default::default()
    };
    let corrected = Sale {
        sold_date: Some(date("2026-05-03")),
        invoice_number: "F2".into(),
        warranty_card_number: "C2".into(),
        region: "CN-SH".into(),
        version: 2,
        recorded_time: at("2026-06-16T04:00:00Z"),
        event: SaleEvent::Corrected.into(),
        recorded_by: "staff/S1".into(),
        reason: "the invoice was misread".into(),
        days_late: 44,
        ..registered.clone()
    };
    let cancelled = Sale {
        version: 3,
        recorded_time: at("2026-06-17T04:00:00Z"),
        event: SaleEvent::Cancelled.into(),
        recorded_by: "dealer/D1".into(),
        reason: "the goods came back".into(),
        days_late: 0,
        ..corrected.clone()
    };
    let again = Sale {
        serial: "UNIT1".into(),
        dealer_id: "D2".into(),
        sold_date: Some(date("2026-06-18")),
        invoice_number: "F1".into(),
        version: 4,
        recorded_time: at("2026-06-18T04:00:00Z"),
        event: SaleEvent::Registered.into(),
        recorded_by: "dealer/D2".into(),
        ..Default::default()
    };
    [registered, corrected, cancelled, again]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_is_registered_late_corrected_cancelled_and_made_again_and_all_of_it_is_told() {
    let world = World::stocked().await;
    world.unit("UNIT1").await;
    let registered = RegisterSaleRequest {
        sold_date: Some(date("2026-05-01")),
        region: "CN-GD".into(),
        customer: Some(contact()),
        model: "PS-1".into(),
        ..sale_of(&world, "unit-1")
    };
    let first = sell(&mut world.dealer("D1"), registered).await.unwrap();
    let buyer = first.customer_id.clone();
    assert_eq!(buyer.parse::<Uuid>().unwrap().get_version_num(), 7);

    world.set("2026-06-16T04:00:00Z");
    let corrected = RegisterSaleRequest {
        request_id: id(),
        serial: "UNIT1".into(),
        dealer_id: "D1".into(),
        sold_date: Some(date("2026-05-03")),
        invoice_number: "F2".into(),
        warranty_card_number: "C2".into(),
        region: "CN-SH".into(),
        customer: Some(Customer { customer: Some(customer::Customer::CustomerId(buyer.clone())) }),
        version: 1,
        reason: "the invoice was misread".into(),
        ..Default::default()
    };
    let second = sell(&mut world.staff(), corrected).await.unwrap();
    world.set("2026-06-17T04:00:00Z");
    let third = cancel(&mut world.dealer("D1"), "UNIT1", 2).await.unwrap();
    assert_eq!(unit(&mut world.dealer("D1"), "UNIT1").await.sale, None);
    world.set("2026-06-18T04:00:00Z");
    let fourth = sell(&mut world.dealer("D2"), sale_of(&world, "UNIT1")).await.unwrap();

    let expected = told_history(&buyer);
    assert_eq!([first, second, third, fourth], expected);
    assert_eq!(versions(&mut world.staff(), "unit 1").await.unwrap(), expected);
    // A dealer sees the versions that name it, and who recorded them where it did.
    let unsigned = Sale { recorded_by: String::new(), ..expected[1].clone() };
    let own = [expected[0].clone(), unsigned, expected[2].clone()];
    assert_eq!(versions(&mut world.dealer("D1"), "UNIT1").await.unwrap(), own);
    assert_eq!(versions(&mut world.dealer("D2"), "UNIT1").await.unwrap(), expected[3..]);
    assert_eq!(unit(&mut world.dealer("D2"), "UNIT1").await.sale.as_ref(), Some(&expected[3]));
    assert_eq!(unit(&mut world.dealer("D1"), "UNIT1").await.sale, None);
    assert_eq!(told(versions(&mut world.dealer("D3"), "UNIT1").await), not_found("sale"));
    world.unit("UNIT2").await;
    assert_eq!(told(versions(&mut world.staff(), "UNIT2").await), not_found("sale"));
    assert_eq!(told(versions(&mut world.staff(), "UNIT3").await), not_found("unit"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_is_cancelled_by_its_dealer_or_staff_once_and_not_under_a_claim() {
    let world = World::stocked().await;
    world.filed("CLAIMED1", 20).await;
    world.sold("UNIT1", 20).await;
    world.unit("UNSOLD1").await;
    let conflict = refused(Code::FailedPrecondition, "REGISTRY_CONFLICT");
    let mismatch = refused(Code::Aborted, "VERSION_MISMATCH");
    for (mut caller, serial, version, expected) in [
        (world.dealer("D1"), "UNKNOWN1", 0, not_found("unit")),
        (world.dealer("D1"), "UNSOLD1", 0, not_found("sale")),
        // Another dealer's sale looks as if it were not there, claimed for or not, whatever version is guessed.
        (world.dealer("D2"), "UNIT1", 0, not_found("sale")),
        (world.dealer("D2"), "UNIT1", 7, not_found("sale")),
        (world.dealer("D2"), "CLAIMED1", 0, not_found("sale")),
        (world.dealer("D1"), "CLAIMED1", 0, conflict.clone()),
        (world.staff(), "CLAIMED1", 1, conflict.clone()),
        (world.dealer("D1"), "UNIT1", 2, mismatch.clone()),
        (world.staff(), "UNIT1", 2, mismatch),
    ] {
        assert_eq!(told(cancel(&mut caller, serial, version).await), expected, "{serial} at {version}");
    }
    for serial in ["UNIT1", "CLAIMED1"] {
        let guess = RegisterSaleRequest { version: 1, ..sale_of(&world, serial) };
        let answer = sell(&mut world.dealer("D2"), guess).await.unwrap_err();
        assert_eq!(answer.message(), "a sale of the unit is registered already", "{serial}");
    }
    let bad = CancelSaleRequest { version: -1, ..Default::default() };
    let refused_fields = violations(&world.staff().registry.cancel_sale(bad).await.unwrap_err());
    let fields: Vec<&str> = refused_fields.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(fields, ["request_id", "serial", "version", "reason"]);

    let request = CancelSaleRequest {
        request_id: id(),
        serial: "UNIT1".into(),
        version: 1,
        reason: "registered in error".into(),
    };
    let first = world.dealer("D1").registry.cancel_sale(request.clone()).await.unwrap().into_inner();
    let again = world.dealer("D1").registry.cancel_sale(request).await.unwrap().into_inner();
    assert_eq!(first, again);
    assert_eq!(told(cancel(&mut world.dealer("D1"), "UNIT1", 0).await), not_found("sale"), "it is cancelled already");
    assert_eq!(versions(&mut world.staff(), "UNIT1").await.unwrap().len(), 2);

    // There is nothing to correct any more: a sale is made anew.
    let again = |version| RegisterSaleRequest { version, ..sale_of(&world, "UNIT1") };
    for version in [1, 2, 3] {
        let stale = sell(&mut world.dealer("D1"), again(version)).await.unwrap_err();
        assert_eq!((refusal(&stale).1, metadata(&stale, "current")), ("VERSION_MISMATCH".into(), "0".into()));
    }
    suspend(&world, "D1").await;
    let denied = refused(Code::PermissionDenied, "DEALER_NOT_ACTIVE");
    assert_eq!(told(cancel(&mut world.dealer("D1"), "CLAIMED1", 0).await), denied);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_sale_counts_for_nothing_anywhere() {
    let world = World::stocked().await;
    let buyer = world.sold("UNIT1", 20).await;
    let ask = CheckCoverageRequest { serial: "UNIT1".into(), ..Default::default() };
    let start = async || {
        let answer = world.staff().coverage.check_coverage(ask.clone()).await.unwrap().into_inner();
        let decision = answer.decision.unwrap();
        (decision.start_basis(), decision.start_date)
    };
    assert_eq!(start().await, (StartBasis::Invoice, Some(world.today(-20))));
    cancel(&mut world.staff(), "UNIT1", 0).await.unwrap();
    assert_eq!(start().await, (StartBasis::ExFactory, Some(date("2026-03-20"))), "T12: 2026-01-20 and two months");

    for mut caller in [world.dealer("D1"), world.customer(buyer), world.staff()] {
        let seen = unit(&mut caller, "UNIT1").await;
        assert_eq!((seen.sale, seen.customer), (None, None));
    }
    let voucher = refused(Code::FailedPrecondition, "VOUCHER_REQUIRED");
    assert_eq!(told(world.customer(buyer).claims.file_claim(filing("UNIT1")).await), voucher, "no longer the buyer");
    let sold_by = FileClaimRequest { customer: Some(contact()), ..filing("UNIT1") };
    assert_eq!(told(world.dealer("D1").claims.file_claim(sold_by).await), voucher, "no longer the seller");
    // The dealer knows the customer no more.
    let named = Customer { customer: Some(customer::Customer::CustomerId(buyer.to_string())) };
    let again = RegisterSaleRequest { customer: Some(named), ..sale_of(&world, "UNIT1") };
    assert_eq!(told(sell(&mut world.dealer("D1"), again).await), not_found("customer"));

    // The unit came back unsold: it may be given to another customer.
    let claim = world.filed("FAULTY1", 5).await;
    let (request_id, claim_id, outcome) = (id(), claim.claim_id.clone(), GuidanceOutcome::Confirmed.into());
    let guide = RecordGuidanceRequest { request_id, claim_id, outcome, ..Default::default() };
    world.staff().claims.record_guidance(guide).await.unwrap();
    let swap =
        RecordSwapRequest { request_id: id(), claim_id: claim.claim_id, given_serial: "UNIT1".into(), version: 0 };
    world.dealer("D1").claims.record_swap(swap).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_for_the_replacement_rests_on_the_originals_sale() {
    let world = World::stocked().await;
    world.sold("FIRST1", 20).await;
    world.unit("SECOND1").await;
    replaced(&world, "FIRST1", "SECOND1").await;
    world.dealer("D1").claims.file_claim(filing("SECOND1")).await.unwrap();

    let conflict = refused(Code::FailedPrecondition, "REGISTRY_CONFLICT");
    assert_eq!(told(cancel(&mut world.staff(), "FIRST1", 0).await), conflict);
    let corrects = RegisterSaleRequest { version: 1, ..sale_of(&world, "FIRST1") };
    assert_eq!(told(sell(&mut world.dealer("D1"), corrects.clone()).await), conflict);
    let by_staff = RegisterSaleRequest { dealer_id: "D1".into(), ..corrects };
    assert_eq!(sell(&mut world.staff(), by_staff).await.unwrap().version, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_is_not_the_serials_is_its_own_reason() {
    let world = World::stocked().await;
    world.unit("UNIT1").await;
    let mut dealer = world.dealer("D1");
    let believed = |model: &str| RegisterSaleRequest { model: model.into(), ..sale_of(&world, "UNIT1") };
    let other = sell(&mut dealer, believed("PS-2")).await.unwrap_err();
    assert_eq!(refusal(&other), (Code::FailedPrecondition, "MODEL_MISMATCH".into()));
    assert_eq!(metadata(&other, "model"), "PS-1");
    let malformed = violations(&sell(&mut dealer, believed("ps 1")).await.unwrap_err());
    assert_eq!(malformed.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), ["model"]);
    assert_eq!(told(versions(&mut world.staff(), "UNIT1").await), not_found("sale"), "nothing was written");
    sell(&mut dealer, believed("PS-1")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_register_correct_and_cancel_at_once_each_change_is_one_version() {
    let world = World::stocked().await;
    world.unit("UNIT1").await;
    let today = world.today(0);
    let mut calls = JoinSet::new();
    for worker in 0..6 {
        let mut caller = if worker % 2 == 0 { world.dealer("D1") } else { world.staff() };
        calls.spawn(async move {
            let mut done = 0;
            for at in 0..25 {
                let version = match versions(&mut caller, "UNIT1").await {
                    Ok(known) => {
                        known.last().filter(|last| last.event() != SaleEvent::Cancelled).map_or(0, |last| last.version)
                    }
                    Err(_) => 0,
                };
                let answer = if version > 0 && (worker + at) % 3 == 0 {
                    cancel(&mut caller, "UNIT1", version).await
                } else {
                    let request = RegisterSaleRequest {
                        request_id: id(),
                        serial: "UNIT1".into(),
                        dealer_id: "D1".into(),
                        sold_date: Some(today),
                        invoice_number: format!("F-{worker}-{at}"),
                        version,
                        ..Default::default()
                    };
                    sell(&mut caller, request).await
                };
                match answer.map_err(|status| refusal(&status).1) {
                    Ok(_) => done += 1,
                    Err(reason) => {
                        let others = ["VERSION_MISMATCH", "REGISTRY_CONFLICT", "NOT_FOUND"];
                        assert!(others.contains(&reason.as_str()), "{reason}");
                    }
                }
            }
            done
        });
    }
    let done: Vec<i64> = calls.join_all().await;
    let (done, all): (i64, _) = (done.iter().sum(), versions(&mut world.staff(), "UNIT1").await.unwrap());
    assert!((20..150).contains(&done), "they met, and some got through: {done} of 150");
    assert_eq!(all.iter().map(|sale| sale.version).collect::<Vec<_>>(), (1..=done).collect::<Vec<_>>());
    let mut before = SaleEvent::Cancelled;
    for sale in &all {
        let after_none = before == SaleEvent::Cancelled;
        assert_eq!(sale.event() == SaleEvent::Registered, after_none, "version {} after {before:?}", sale.version);
        before = sale.event();
    }
    let events: BTreeSet<i32> = all.iter().map(|sale| sale.event).collect();
    assert_eq!(events.len(), 3, "sales were registered, corrected and cancelled");
    let current: Vec<i64> = sqlx::query_scalar("SELECT version FROM sales WHERE superseded_at = 'infinity'")
        .fetch_all(&mut world.owner().await)
        .await
        .unwrap();
    assert_eq!(current, [done]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_is_cancelled_or_claimed_on_never_both() {
    let world = World::stocked().await;
    let (mut cancelled, mut claimed) = (0, 0);
    for at in 0..12 {
        // Every other claim is for the unit that took the sold one's place.
        let (sold, given) = (format!("SOLD{at:02}"), format!("GIVEN{at:02}"));
        world.sold(&sold, 20).await;
        let claims_for = if at % 2 == 0 {
            world.unit(&given).await;
            replaced(&world, &sold, &given).await;
            given
        } else {
            sold.clone()
        };
        let (mut seller, mut staff) = (world.dealer("D1"), world.staff());
        let request = FileClaimRequest { customer: Some(contact()), ..filing(&claims_for) };
        match tokio::join!(cancel(&mut staff, &sold, 1), seller.claims.file_claim(request)) {
            (Ok(_), answer) => {
                cancelled += 1;
                assert_eq!(told(answer), refused(Code::FailedPrecondition, "VOUCHER_REQUIRED"));
            }
            (answer, Ok(_)) => {
                claimed += 1;
                assert_eq!(told(answer), refused(Code::FailedPrecondition, "REGISTRY_CONFLICT"));
            }
            (neither, nor) => panic!("{neither:?} {nor:?}"),
        }
    }
    assert_eq!(cancelled + claimed, 12);
}

// ---- contracts

#[tokio::test(flavor = "multi_thread")]
async fn a_contracts_history_tells_who_when_and_why() {
    let world = World::start().await;
    let mut drafter = world.staff();
    let terms = ContractTerms { repair_months: Some(36), ..Default::default() };
    let number = "HT-1".to_owned();
    let draft = CreateContractRequest { request_id: id(), contract_number: number.clone(), terms: Some(terms) };
    drafter.registry.create_contract(draft).await.unwrap();
    let of = ListContractVersionsRequest { contract_number: number.clone() };
    let drafted = drafter.registry.list_contract_versions(of.clone()).await.unwrap().into_inner().versions;
    world.set("2026-06-16T04:00:00Z");
    let confirm = ConfirmContractRequest {
        request_id: id(),
        contract_number: number.clone(),
        from_date: Some(date("2026-06-01")),
        reason: "signed by both".into(),
        version: 1,
    };
    world.caller(Actor::Staff("LAW".into())).registry.confirm_contract(confirm).await.unwrap();
    world.set("2026-06-17T04:00:00Z");
    let revoke = RevokeContractRequest {
        request_id: id(),
        contract_number: number.clone(),
        from_date: None,
        reason: "not paid".into(),
        version: 2,
    };
    let mut staff = world.staff();
    let revoked = staff.registry.revoke_contract(revoke).await.unwrap().into_inner().contract.unwrap();

    let at = |moment: &str| Some(moment.parse().unwrap());
    let first = Contract {
        contract_number: number.clone(),
        terms: Some(terms),
        version: 1,
        recorded_time: at("2026-06-15T04:00:00Z"),
        recorded_by: "staff/S1".into(),
        ..Default::default()
    };
    let second = Contract {
        confirmed_date: Some(date("2026-06-01")),
        reason: "signed by both".into(),
        version: 2,
        recorded_time: at("2026-06-16T04:00:00Z"),
        recorded_by: "staff/LAW".into(),
        ..first.clone()
    };
    let third = Contract {
        revoked_date: Some(date("2026-06-17")),
        reason: "not paid".into(),
        version: 3,
        recorded_time: at("2026-06-17T04:00:00Z"),
        recorded_by: "staff/S1".into(),
        ..second.clone()
    };
    assert_eq!(drafted, std::slice::from_ref(&first));
    assert_eq!(revoked, third);
    let all = staff.registry.list_contract_versions(of).await.unwrap().into_inner().versions;
    assert_eq!(all, [first, second, third.clone()]);
    let current = staff.registry.get_contract(GetContractRequest { contract_number: number }).await.unwrap();
    assert_eq!(current.into_inner().contract, Some(third));
    let unknown = ListContractVersionsRequest { contract_number: "HT-2".into() };
    assert_eq!(told(staff.registry.list_contract_versions(unknown).await), not_found("contract"));
}

// ---- dealers' promises

fn promise_for(serial: &str, certificate: &str) -> RecordDealerPromiseRequest {
    RecordDealerPromiseRequest {
        request_id: id(),
        serial: serial.into(),
        certificate_number: certificate.into(),
        promise: "five years, at our door".into(),
        until_date: Some(date("2031-05-25")),
        ..Default::default()
    }
}

/// The owner's login under the coverage process's role, for a caller.
async fn as_coverage_for(world: &World, caller: &str) -> PgConnection {
    let mut connection = world.owner().await;
    let set = AssertSqlSafe(format!("SET ROLE warranty_coverage; SET warranty.caller = '{caller}'"));
    sqlx::raw_sql(set).execute(&mut connection).await.unwrap();
    connection
}

/// The certificates that a caller sees of these units.
async fn certificates(world: &World, caller: &str, serials: &[&str]) -> Vec<String> {
    let mut connection = as_coverage_for(world, caller).await;
    let seen = store::promises::of_units(&mut connection, serials).await.unwrap();
    seen.into_iter().map(|promise| promise.certificate_number).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dealers_promise_is_the_sellers_and_changes_no_decision() {
    let world = World::stocked().await;
    world.sold("UNIT1", 20).await;
    world.unit("UNSOLD1").await;
    let ask = CheckCoverageRequest { serial: "UNIT1".into(), ..Default::default() };
    let before = world.staff().coverage.check_coverage(ask.clone()).await.unwrap().into_inner().decision;

    let request = promise_for("unit-1", "Z-1");
    let mut dealer = world.dealer("D1");
    let promise = dealer.registry.record_dealer_promise(request.clone()).await.unwrap().into_inner().promise.unwrap();
    let expected = DealerPromise {
        promise_id: promise.promise_id.clone(),
        serial: "UNIT1".into(),
        dealer_id: "D1".into(),
        certificate_number: "Z-1".into(),
        promise: "five years, at our door".into(),
        until_date: Some(date("2031-05-25")),
        recorded_time: Some("2026-06-15T04:00:00Z".parse().unwrap()),
        recorded_by: "dealer/D1".into(),
    };
    assert_eq!(promise, expected);
    let again = dealer.registry.record_dealer_promise(request).await.unwrap().into_inner();
    assert_eq!(again.promise, Some(expected), "the same request");
    let after = world.staff().coverage.check_coverage(ask).await.unwrap().into_inner().decision;
    assert_eq!(after, before);

    let by_staff = |dealer_id: &str, serial: &str, certificate: &str| RecordDealerPromiseRequest {
        dealer_id: dealer_id.into(),
        ..promise_for(serial, certificate)
    };
    let not_the_seller = refused(Code::FailedPrecondition, "NOT_THE_SELLER");
    let exists = refused(Code::AlreadyExists, "ALREADY_EXISTS");
    for (mut caller, request, expected) in [
        (world.dealer("D1"), promise_for("UNIT1", "Z-1"), exists.clone()),
        (world.staff(), by_staff("D1", "UNIT1", "Z-1"), exists),
        (world.dealer("D1"), promise_for("UNKNOWN1", "Z-1"), not_found("unit")),
        (world.dealer("D1"), promise_for("UNSOLD1", "Z-1"), not_the_seller.clone()),
        (world.dealer("D2"), promise_for("UNIT1", "Z-1"), not_the_seller.clone()),
        (world.staff(), by_staff("D2", "UNIT1", "Z-1"), not_the_seller.clone()),
        (world.staff(), by_staff("D9", "UNIT1", "Z-1"), not_the_seller.clone()),
    ] {
        assert_eq!(told(caller.registry.record_dealer_promise(request).await), expected);
    }
    let bad = RecordDealerPromiseRequest {
        dealer_id: "D2".into(),
        certificate_number: "长".repeat(65),
        promise: "长".repeat(501),
        until_date: Some(Date { year: 2026, month: 2, day: 30 }),
        ..Default::default()
    };
    let broken = violations(&world.dealer("D1").registry.record_dealer_promise(bad).await.unwrap_err());
    let expected = ["request_id", "serial", "dealer_id", "certificate_number", "promise", "until_date"];
    assert_eq!(broken.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), expected);

    world.staff().registry.record_dealer_promise(by_staff("D1", "UNIT1", "Z-2")).await.unwrap();
    cancel(&mut world.dealer("D1"), "UNIT1", 0).await.unwrap();
    let late = world.dealer("D1").registry.record_dealer_promise(promise_for("UNIT1", "Z-3")).await;
    assert_eq!(told(late), not_the_seller, "the sale is cancelled");
    suspend(&world, "D1").await;
    let late = world.dealer("D1").registry.record_dealer_promise(promise_for("UNIT1", "Z-3")).await;
    assert_eq!(told(late), refused(Code::PermissionDenied, "DEALER_NOT_ACTIVE"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_shows_a_promise_to_its_dealer_the_buyer_and_staff() {
    let world = World::stocked().await;
    let buyer = world.sold("FIRST1", 20).await;
    world.unit("SECOND1").await;
    replaced(&world, "FIRST1", "SECOND1").await;
    // T5: the dealer who sold the original is the seller of the unit that took its place, and its buyer the buyer.
    let mut dealer = world.dealer("D1");
    for (serial, certificate) in [("FIRST1", "Z-1"), ("SECOND1", "Z-2")] {
        dealer.registry.record_dealer_promise(promise_for(serial, certificate)).await.unwrap();
    }
    let both = ["FIRST1", "SECOND1"];
    for (caller, seen) in [
        ("dealer/D1".to_owned(), vec!["Z-1", "Z-2"]),
        (format!("customer/{buyer}"), vec!["Z-1", "Z-2"]),
        ("staff/S1".to_owned(), vec!["Z-1", "Z-2"]),
        ("dealer/D2".to_owned(), vec![]),
        (format!("customer/{}", Uuid::from_u128(9)), vec![]),
        (String::new(), vec![]),
    ] {
        assert_eq!(certificates(&world, &caller, &both).await, seen, "{caller}");
        let one: Vec<&str> = seen.into_iter().filter(|certificate| *certificate == "Z-2").collect();
        assert_eq!(certificates(&world, &caller, &["SECOND1"]).await, one, "{caller}");
    }
    cancel(&mut dealer, "FIRST1", 0).await.unwrap();
    assert_eq!(certificates(&world, &format!("customer/{buyer}"), &both).await, [""; 0], "no longer the buyer");
    assert_eq!(certificates(&world, "dealer/D1", &both).await, ["Z-1", "Z-2"], "it still owes them");

    // Nobody promises in another's name, whatever the application would let through.
    let forged = "INSERT INTO dealer_promises VALUES (gen_random_uuid(), 'FIRST1', 'D1', 'Z-9', 'all', NULL, now(), 'dealer/D1')";
    let refused = sqlx::query(forged).execute(&mut as_coverage_for(&world, "dealer/D2").await).await.unwrap_err();
    assert_eq!(refused.as_database_error().and_then(|error| error.code()).as_deref(), Some("42501"));
}

// ---- products

fn product(model: &str, discontinued: bool, equivalents: &[&str]) -> Product {
    Product {
        model: model.into(),
        product_type: ProductType::PoeSwitch.into(),
        discontinued,
        equivalent_models: equivalents.iter().map(|model| (*model).to_owned()).collect(),
    }
}

async fn update(caller: &mut Caller, product: Product) -> Result<Product, Status> {
    let request = UpdateProductRequest { request_id: id(), product: Some(product) };
    Ok(caller.registry.update_product(request).await?.into_inner().product.unwrap())
}

/// When each former state of PS-1 ended, what it was, and who ended it.
async fn product_history(world: &World) -> Vec<(String, bool, Vec<String>, String)> {
    sqlx::query_as(
        "SELECT to_char(superseded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD'), discontinued, equivalent_models, superseded_by
           FROM product_versions WHERE model = 'PS-1' ORDER BY superseded_at",
    )
    .fetch_all(&mut world.owner().await)
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_is_changed_and_what_stood_before_is_kept() {
    let world = World::stocked().await;
    world.product("PS-3", false, &[]).await;
    world.unit("UNIT1").await;
    let first = product("PS-1", true, &["PS-2", "PS-3"]);
    assert_eq!(update(&mut world.staff(), first.clone()).await.unwrap(), first);
    let ask = CheckCoverageRequest { serial: "UNIT1".into(), ..Default::default() };
    let answer = world.staff().coverage.check_coverage(ask).await.unwrap().into_inner();
    assert_eq!(answer.decision.unwrap().equivalent_models, ["PS-2", "PS-3"]);

    world.set("2026-06-16T04:00:00Z");
    let mut staff = world.staff();
    assert_eq!(update(&mut staff, first.clone()).await.unwrap(), first, "no change, no history");
    let second = product("PS-1", true, &["PS-3"]);
    update(&mut staff, second.clone()).await.unwrap();
    // At the same moment again: what stood in between held for no time.
    let third = product("PS-1", false, &["PS-3", "PS-2"]);
    update(&mut staff, third.clone()).await.unwrap();
    let texts = |models: &[&str]| models.iter().map(|model| (*model).to_owned()).collect::<Vec<_>>();
    let history = [
        ("2026-06-15".to_owned(), false, texts(&[]), "staff/S1".to_owned()),
        ("2026-06-16".to_owned(), true, texts(&["PS-2", "PS-3"]), "staff/S1".to_owned()),
    ];
    assert_eq!(product_history(&world).await, history);

    // Recorded by a clock that runs behind: it held from where the last change left off.
    let mut owner = world.owner().await;
    let behind = "2026-06-10T04:00:00Z".parse().unwrap();
    for (discontinued, equivalents) in [(true, texts(&[])), (third.discontinued, third.equivalent_models.clone())] {
        let (model, product_type) = ("PS-1".to_owned(), warranty::domain::facts::ProductType::PoeSwitch);
        let changed = store::catalogue::Product { model, product_type, discontinued, equivalents };
        store::catalogue::update(&mut owner, &changed, &Actor::Staff("S1".into()), behind).await.unwrap();
    }
    assert_eq!(product_history(&world).await, history);

    let other_type = Product { product_type: ProductType::Other.into(), ..third.clone() };
    let rule = violations(&update(&mut staff, other_type).await.unwrap_err());
    assert_eq!(rule, [("product.product_type".to_owned(), "must be the registered one, POE_SWITCH".to_owned())]);
    let itself = violations(&update(&mut staff, product("PS-1", false, &["PS-1", "PS-2"])).await.unwrap_err());
    let itself: Vec<&str> = itself.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(itself, ["product.equivalent_models[0]"]);
    assert_eq!(told(update(&mut staff, product("PS-1", false, &["PS-9"])).await), not_found("product"));
    assert_eq!(told(update(&mut staff, product("PS-9", false, &[])).await), not_found("product"));
    let now = staff.registry.get_product(GetProductRequest { model: "PS-1".into() }).await.unwrap().into_inner();
    assert_eq!((now.product, product_history(&world).await), (Some(third), history.to_vec()));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_changes_of_a_product_at_once_each_is_whole() {
    let world = World::stocked().await;
    world.product("PS-3", false, &[]).await;
    let states = [product("PS-1", true, &["PS-2", "PS-3"]), product("PS-1", false, &["PS-3"])];
    let mut calls = JoinSet::new();
    for worker in 0..4_usize {
        let (mut staff, state) = (world.staff(), states[worker % 2].clone());
        calls.spawn(async move {
            for _ in 0..5 {
                assert_eq!(update(&mut staff, state.clone()).await.unwrap(), state);
            }
        });
    }
    calls.join_all().await;
    let get = GetProductRequest { model: "PS-1".into() };
    let now = world.staff().registry.get_product(get).await.unwrap().into_inner().product.unwrap();
    assert!(states.contains(&now), "{now:?}");
    // The clock stands still: all of it happened at one moment, before which the product was as created.
    let created = ("2026-06-15".to_owned(), false, vec![], "staff/S1".to_owned());
    assert_eq!(product_history(&world).await, [created]);
}

// ---- near misses

#[tokio::test(flavor = "multi_thread")]
async fn a_serial_misread_is_refused_with_those_it_may_have_been() {
    let world = World::stocked().await;
    for serial in ["AC10B8", "ACI0B8", "ZZ0001"] {
        world.unit(serial).await;
    }
    let (mut dealer, mut staff) = (world.dealer("D1"), world.staff());
    let serial = "ac-IO88";
    let repair = Repair { serial: serial.into(), completed_date: Some(world.today(0)), ..Default::default() };
    let history = RecordHistoryRequest { request_id: id(), repairs: vec![repair], replacements: vec![] };
    for (call, answer) in [
        ("GetUnit", dealer.registry.get_unit(GetUnitRequest { serial: serial.into() }).await.unwrap_err()),
        ("RegisterSale", sell(&mut dealer, sale_of(&world, serial)).await.unwrap_err()),
        ("CancelSale", cancel(&mut dealer, serial, 0).await.unwrap_err()),
        ("ListSaleVersions", versions(&mut dealer, serial).await.unwrap_err()),
        ("FileClaim", dealer.claims.file_claim(filing(serial)).await.unwrap_err()),
        ("RecordDealerPromise", dealer.registry.record_dealer_promise(promise_for(serial, "Z")).await.unwrap_err()),
        ("RecordHistory", staff.registry.record_history(history).await.unwrap_err()),
    ] {
        assert_eq!(refusal(&answer), (Code::NotFound, "NOT_FOUND".into()), "{call}");
        assert_eq!(answer.message(), "no such unit; did you mean ACI0B8 or AC10B8?", "{call}");
        assert_eq!(metadata(&answer, "suggestions"), "ACI0B8,AC10B8", "{call}: the nearest first");
        let details = answer.get_error_details();
        assert_eq!(details.resource_info().unwrap().resource_name, "ACIO88", "{call}");
    }
    let far = dealer.registry.get_unit(GetUnitRequest { serial: "AC20B8".into() }).await.unwrap_err();
    assert_eq!((far.message(), metadata(&far, "suggestions")), ("no such unit", String::new()));

    // Many in one query, each with its own; at most five of them.
    for mix in ["OOOO", "OOO0", "OO0O", "O0OO", "0OOO", "00OO"] {
        world.unit(&format!("YY{mix}")).await;
    }
    let missing = ["ACIO88", "QQQQ", "ZZOOOI", "YY0000"].map(|text| Serial::parse(text).unwrap());
    let near = store::units::near(&mut world.owner().await, &missing).await.unwrap();
    let expected =
        [vec!["ACI0B8", "AC10B8"], vec![], vec!["ZZ0001"], vec!["YY00OO", "YYOOO0", "YYOO0O", "YYO0OO", "YY0OOO"]];
    assert_eq!(near, expected);
    assert_eq!(store::units::near(&mut world.owner().await, &[]).await.unwrap(), Vec::<Vec<String>>::new());
}

// ---- scopes of sight

/// What a caller sees of a sale: buyer, invoice, contract number, contact's name, who recorded it; by GetUnit and by
/// ListSaleVersions; and which promises.
async fn sees(world: &World, actor: Actor, serial: &str) -> [String; 3] {
    let mut caller = world.caller(actor.clone());
    let line = |sale: &Sale| {
        let buyer = if sale.customer_id.is_empty() { "" } else { "buyer" };
        [buyer, &sale.invoice_number, &sale.contract_number, &sale.recorded_by].join(" ")
    };
    let by_unit = unit(&mut caller, serial).await;
    assert_eq!(by_unit.unit.unwrap().model, "PS-1", "the unit itself is everyone's to see");
    let of_unit = by_unit.sale.as_ref().map_or_else(|| "nothing".to_owned(), &line);
    let contact = by_unit.customer.map_or_else(|| "no contact".to_owned(), |contact| contact.name);
    let history = match versions(&mut caller, serial).await {
        Ok(versions) => versions.iter().map(line).collect::<Vec<_>>().join("; "),
        Err(status) => refusal(&status).1,
    };
    let promises = certificates(world, &actor.to_string(), &[serial]).await.join(" ");
    [format!("{of_unit}, {contact}"), history, promises]
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sees_what_of_a_units_sale() {
    let world = World::stocked().await;
    let buyer = world.sold("UNIT1", 20).await;
    let mut staff = world.staff();
    let terms = Some(ContractTerms { repair_months: Some(24), ..Default::default() });
    let draft = CreateContractRequest { request_id: id(), contract_number: "HT-1".into(), terms };
    staff.registry.create_contract(draft).await.unwrap();
    let under_contract = RegisterSaleRequest {
        dealer_id: "D1".into(),
        contract_number: "HT-1".into(),
        customer: Some(Customer { customer: Some(customer::Customer::CustomerId(buyer.to_string())) }),
        version: 1,
        ..sale_of(&world, "UNIT1")
    };
    sell(&mut staff, under_contract).await.unwrap();
    world.dealer("D1").registry.record_dealer_promise(promise_for("UNIT1", "Z-1")).await.unwrap();

    let first = "buyer F-UNIT1  dealer/D1";
    for (who, expected) in [
        // The selling dealer: all but which of the maker's people put the sale under the contract.
        (
            Actor::Dealer("D1".into()),
            ["buyer F1 HT-1 , 王小明".to_owned(), format!("{first}; buyer F1 HT-1 "), "Z-1".into()],
        ),
        (Actor::Dealer("D2".into()), ["nothing, no contact".into(), "NOT_FOUND".into(), String::new()]),
        (Actor::Customer(buyer), ["buyer F1 HT-1 , 王小明".into(), "CALLER_KIND".into(), "Z-1".into()]),
        (Actor::Customer(Uuid::from_u128(9)), ["nothing, no contact".into(), "CALLER_KIND".into(), String::new()]),
        (
            Actor::Staff("S2".into()),
            ["buyer F1 HT-1 staff/S1, 王小明".into(), format!("{first}; buyer F1 HT-1 staff/S1"), "Z-1".into()],
        ),
    ] {
        assert_eq!(sees(&world, who.clone(), "UNIT1").await, expected, "{who}");
    }
}
