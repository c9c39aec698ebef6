//! Many units in one call, what was known then, and what stands beside a decision.

use std::time::Duration;

use futures::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status};
use warranty::contract::{google, v1::*};

use crate::{
    claims::Life,
    stock::Shelves,
    world::{World, date, id, refusal, violations},
};

fn question(serial: &str) -> CheckCoverageRequest {
    CheckCoverageRequest { serial: serial.into(), ..Default::default() }
}

/// A result's status as a caller of CheckCoverage would have got it.
fn status(result: &CoverageResult) -> Status {
    match result.result.clone().unwrap() {
        coverage_result::Result::Status(google::rpc::Status { code, message, details }) => {
            use prost::Message;
            let whole = google::rpc::Status { code, message: message.clone(), details };
            Status::with_details(Code::from_i32(code), message, whole.encode_to_vec().into())
        }
        other => panic!("an answer: {other:?}"),
    }
}

fn answer(result: &CoverageResult) -> CheckCoverageResponse {
    match result.result.clone().unwrap() {
        coverage_result::Result::Answer(answer) => answer,
        other => panic!("a refusal: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_answers_each_question_in_order_as_one_call_would() {
    let world = World::stocked().await;
    world.sold("SOLD1", 20).await;
    world.sold("SOLD2", 100).await;
    let mut dealer = world.dealer("D1");
    let requests = vec![
        question("sold-2"),
        question("NOBODY1"),
        CheckCoverageRequest { model: "PS-2".into(), ..question("SOLD1") },
        CheckCoverageRequest { findings: vec![Clause::X2.into()], ..question("?") },
        question("SOLD1"),
        question("SOLD2"),
    ];
    let batch = BatchCheckCoverageRequest { requests: requests.clone(), ..Default::default() };
    let reply = dealer.coverage.batch_check_coverage(batch).await.unwrap().into_inner();

    assert_eq!(reply.results.len(), 6);
    for (request, result) in requests.into_iter().zip(&reply.results) {
        match dealer.coverage.check_coverage(request).await {
            Ok(alone) => {
                let mut alone = alone.into_inner();
                // Texts, contact and moment stand once in the reply.
                assert!(!alone.texts.is_empty());
                (alone.texts, alone.contact, alone.data_as_of_time) = (Vec::new(), None, None);
                assert_eq!(answer(result), alone);
            }
            Err(alone) => {
                let told = status(result);
                assert_eq!((told.code(), told.message()), (alone.code(), alone.message()));
                assert_eq!(refusal(&told), refusal(&alone));
                assert_eq!(violations(&told), violations(&alone));
            }
        }
    }
    assert_eq!(refusal(&status(&reply.results[1])), (Code::NotFound, "NOT_FOUND".into()));
    assert_eq!(refusal(&status(&reply.results[2])), (Code::FailedPrecondition, "MODEL_MISMATCH".into()));
    let [policy] = &reply.policies[..] else { panic!("one policy version: {:?}", reply.policies) };
    assert_eq!(policy.policy_version, "2010-01");
    let mut clauses: Vec<i32> = policy.texts.iter().map(|text| text.clause).collect();
    clauses.dedup();
    assert_eq!(clauses.len(), policy.texts.len(), "each text once");
    let named = answer(&reply.results[4]).decision.unwrap().clauses;
    assert!(named.iter().all(|clause| clauses.contains(clause)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_units_cost_one_call_and_one_more_is_refused() {
    let world = World::stocked().await;
    let unit = |n: usize| Unit {
        serial: format!("THOUSAND{n:04}"),
        model: "PS-1".into(),
        manufactured_date: Some(date("2026-01-10")),
        ex_factory_date: Some(date("2026-01-20")),
        sold_by_maker: true,
        ..Default::default()
    };
    let units = (0..1000).map(unit).collect();
    world.staff().registry.register_units(RegisterUnitsRequest { request_id: id(), units }).await.unwrap();
    let requests: Vec<_> = (0..1000).map(|n| question(&format!("THOUSAND{n:04}"))).collect();
    let batch = |requests| BatchCheckCoverageRequest { requests, ..Default::default() };
    let mut dealer = world.dealer("D1");
    let reply = dealer.coverage.batch_check_coverage(batch(requests.clone())).await.unwrap().into_inner();
    for (n, result) in reply.results.iter().enumerate() {
        assert_eq!(answer(result).serial, format!("THOUSAND{n:04}"));
    }
    assert_eq!(reply.results.len(), 1000);

    let one_more = [requests, vec![question("THOUSAND0000")]].concat();
    let refused = dealer.coverage.batch_check_coverage(batch(one_more)).await.unwrap_err();
    assert_eq!(refusal(&refused), (Code::ResourceExhausted, "TOO_LARGE".into()));
    let refused = dealer.coverage.batch_check_coverage(batch(Vec::new())).await.unwrap_err();
    assert_eq!(violations(&refused)[0].0, "requests");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_answers_each_question_by_its_name_and_tells_each_text_once() {
    let world = World::stocked().await;
    world.sold("SOLD1", 20).await;
    let (asking, asked) = tokio::sync::mpsc::channel(1);
    let mut dealer = world.dealer("D1");
    let mut answers = dealer.coverage.stream_coverage(ReceiverStream::new(asked)).await.unwrap().into_inner();
    let ask = |name: &str, serial: &str| StreamCoverageRequest {
        correlation_id: name.into(),
        request: Some(question(serial)),
    };
    asking.send(ask("first", "SOLD1")).await.unwrap();
    let first = answers.message().await.unwrap().unwrap();
    assert_eq!(first.correlation_id, "first");
    assert_eq!(answer(first.result.as_ref().unwrap()).serial, "SOLD1");
    assert!(!first.policies[0].texts.is_empty());

    asking.send(ask("again", "SOLD1")).await.unwrap();
    let again = answers.message().await.unwrap().unwrap();
    assert_eq!((again.correlation_id.as_str(), again.policies.len()), ("again", 0));

    // One that is refused does not end the stream.
    asking.send(ask("unknown", "NOBODY1")).await.unwrap();
    let unknown = answers.message().await.unwrap().unwrap();
    assert_eq!(refusal(&status(unknown.result.as_ref().unwrap())), (Code::NotFound, "NOT_FOUND".into()));
    asking.send(StreamCoverageRequest { correlation_id: "no question".into(), request: None }).await.unwrap();
    let none = answers.message().await.unwrap().unwrap();
    assert_eq!(refusal(&status(none.result.as_ref().unwrap())), (Code::InvalidArgument, "INVALID_FIELDS".into()));

    drop(asking);
    assert_eq!(answers.message().await.unwrap(), None, "it ends with the caller's side");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_reads_no_further_than_its_answers_are_taken() {
    let world = World::stocked().await;
    world.sold("SOLD1", 20).await;
    // Two windows of flow control, a thousand in the air, and what lies between: far less than this. A serial may be written
    // with any number of spaces; these are there to fill the windows.
    const MANY: usize = 10_000;
    let wide = format!("SOLD1{}", " ".repeat(2000));
    let taken = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = taken.clone();
    let questions = futures::stream::iter(0..MANY).map(move |n| {
        counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        StreamCoverageRequest { correlation_id: n.to_string(), request: Some(question(&wide)) }
    });
    let mut dealer = world.dealer("D1");
    let mut answers = dealer.coverage.stream_coverage(questions).await.unwrap().into_inner();
    // Nobody takes an answer: the questions stop being read.
    let mut before = usize::MAX;
    while before != taken.load(std::sync::atomic::Ordering::Relaxed) {
        before = taken.load(std::sync::atomic::Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!((1000..MANY / 2).contains(&before), "{before} questions were taken without an answer");
    // Taken, they all come, each once.
    let mut names = Vec::new();
    while let Some(answer) = answers.message().await.unwrap() {
        names.push(answer.correlation_id.parse::<usize>().unwrap());
    }
    names.sort_unstable();
    assert_eq!(names, (0..MANY).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_served_a_fact_older_than_an_acknowledged_write() {
    let world = World::stocked().await;
    let serials: Vec<String> = (0..20).map(|n| format!("FRESH{n:02}")).collect();
    for serial in &serials {
        world.unit(serial).await;
    }
    // Others ask for the same units all the while, so that queries are in flight when the sale is acknowledged.
    let mut others = Vec::new();
    for _ in 0..8 {
        let (mut dealer, serials) = (world.dealer("D2"), serials.clone());
        others.push(tokio::spawn(async move {
            for serial in serials.iter().cycle() {
                dealer.coverage.check_coverage(question(serial)).await.unwrap();
            }
        }));
    }
    for serial in &serials {
        let request = RegisterSaleRequest {
            request_id: id(),
            serial: serial.clone(),
            sold_date: Some(world.today(-3)),
            invoice_number: "F-1".into(),
            ..Default::default()
        };
        let mut dealer = world.dealer("D1");
        dealer.registry.register_sale(request).await.unwrap();
        let told = dealer.coverage.check_coverage(question(serial)).await.unwrap().into_inner();
        assert_eq!(told.decision.unwrap().start_basis(), StartBasis::Invoice, "{serial}");
    }
    others.iter().for_each(tokio::task::JoinHandle::abort);
}

fn moment(text: &str) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: text.parse::<chrono::DateTime<chrono::Utc>>().unwrap().timestamp(), nanos: 0 }
}

fn sell(sold: &str, invoice: &str, version: i64) -> RegisterSaleRequest {
    RegisterSaleRequest {
        request_id: id(),
        serial: "UNIT1".into(),
        sold_date: Some(date(sold)),
        invoice_number: invoice.into(),
        version,
        ..Default::default()
    }
}

/// About 15 June, as known then.
fn ask(known: Option<&str>) -> CheckCoverageRequest {
    CheckCoverageRequest { date: Some(date("2026-06-15")), known_time: known.map(moment), ..question("UNIT1") }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_known_on_a_day_decides_as_it_did_on_that_day() {
    let world = World::stocked().await;
    world.unit("UNIT1").await;
    let mut dealer = world.dealer("D1");
    // 15 June: nothing is registered but the unit. 1 July: its sale, late. 1 August: corrected. 1 September: repaired, then replaced.
    let on_the_day = dealer.coverage.check_coverage(ask(None)).await.unwrap().into_inner().decision;
    world.set("2026-07-01T04:00:00Z");
    let mut dealer = world.dealer("D1");
    dealer.registry.register_sale(sell("2026-06-10", "F-1", 0)).await.unwrap();
    let in_july = dealer.coverage.check_coverage(ask(None)).await.unwrap().into_inner().decision;
    world.set("2026-08-01T04:00:00Z");
    let mut dealer = world.dealer("D1");
    dealer.registry.register_sale(sell("2026-04-10", "F-2", 1)).await.unwrap();
    let in_august = dealer.coverage.check_coverage(ask(None)).await.unwrap().into_inner().decision;
    world.set("2026-09-01T04:00:00Z");
    world.unit("UNIT2").await;
    let history = RecordHistoryRequest {
        request_id: id(),
        repairs: vec![Repair {
            serial: "UNIT1".into(),
            completed_date: Some(date("2026-05-01")),
            fault_code: "NO_POWER".into(),
            ..Default::default()
        }],
        replacements: vec![Replacement {
            replaced_serial: "UNIT1".into(),
            replacement_serial: "UNIT2".into(),
            replaced_date: Some(date("2026-06-01")),
        }],
    };
    world.staff().registry.record_history(history).await.unwrap();
    let mut dealer = world.dealer("D1");
    let in_september = dealer.coverage.check_coverage(ask(None)).await.unwrap().into_inner().decision;
    let remedies =
        [&on_the_day, &in_july, &in_august, &in_september].map(|decision| decision.as_ref().unwrap().remedy());
    assert_eq!(remedies, [Remedy::FreeRepair, Remedy::DirectReplacement, Remedy::FreeRepair, Remedy::None]);
    assert_ne!(on_the_day, in_august);

    for (known, decided) in [
        ("2026-06-20T00:00:00Z", &on_the_day),
        ("2026-07-01T04:00:00Z", &in_july),
        ("2026-07-31T23:59:59Z", &in_july),
        ("2026-08-15T00:00:00Z", &in_august),
        ("2026-09-01T04:00:00Z", &in_september),
    ] {
        let then = dealer.coverage.check_coverage(ask(Some(known))).await.unwrap().into_inner();
        assert_eq!(&then.decision, decided, "as known at {known}");
        let batch = BatchCheckCoverageRequest {
            requests: vec![CheckCoverageRequest { known_time: None, ..ask(None) }],
            known_time: Some(moment(known)),
            ..Default::default()
        };
        let batch = dealer.coverage.batch_check_coverage(batch).await.unwrap().into_inner();
        assert_eq!(&answer(&batch.results[0]).decision, decided, "in a batch, as known at {known}");
    }
    // Before the unit itself was registered nothing was known of it; what is still to come nobody knows.
    let before = dealer.coverage.check_coverage(ask(Some("2026-06-14T00:00:00Z"))).await.unwrap_err();
    assert_eq!(refusal(&before), (Code::NotFound, "NOT_FOUND".into()));
    let later = dealer.coverage.check_coverage(ask(Some("2026-09-02T00:00:00Z"))).await.unwrap_err();
    assert_eq!(violations(&later)[0].0, "known_time");
}

#[tokio::test(flavor = "multi_thread")]
async fn vouchers_tell_how_a_claim_would_stand() {
    let world = World::stocked().await;
    let buyer = world.sold("SOLD1", 20).await;
    world.unit("UNSOLD1").await;
    let with = |serial: &str, invoice: &str| CheckCoverageRequest {
        vouchers: Some(Vouchers { invoice_number: invoice.into(), ..Default::default() }),
        ..question(serial)
    };
    for (mut caller, serial, invoice, standing) in [
        (world.dealer("D1"), "SOLD1", "", VoucherStanding::NotNeeded),
        (world.customer(buyer), "SOLD1", "", VoucherStanding::NotNeeded),
        (world.dealer("D2"), "SOLD1", "", VoucherStanding::Required),
        (world.dealer("D2"), "SOLD1", "F-SOLD1", VoucherStanding::Verified),
        (world.dealer("D2"), "SOLD1", "F-OTHER", VoucherStanding::Mismatch),
        (world.dealer("D2"), "UNSOLD1", "F-ANY", VoucherStanding::Unverified),
    ] {
        let told = caller.coverage.check_coverage(with(serial, invoice)).await.unwrap().into_inner();
        assert_eq!(told.voucher_standing(), standing, "{serial} {invoice:?}");
    }
    let told = world.dealer("D2").coverage.check_coverage(Request::new(question("SOLD1"))).await.unwrap().into_inner();
    assert_eq!(told.voucher_standing(), VoucherStanding::Unspecified);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_discontinued_model_tells_what_may_be_given_and_which_of_it_is_in_stock() {
    let world = World::stocked().await;
    world.product("OLD-1", true, &["PS-1", "PS-2"]).await;
    world.unit_like("OLD00001", |unit| unit.model = "OLD-1".into()).await;
    world.unit_like("STOCK001", |unit| unit.model = "PS-2".into()).await;
    let mut dealer = world.dealer("D1");
    let mut told = async || {
        let decision =
            dealer.coverage.check_coverage(question("OLD00001")).await.unwrap().into_inner().decision.unwrap();
        (decision.equivalent_models, decision.models_in_stock)
    };
    let equivalents = ["PS-1", "PS-2"].map(String::from).to_vec();
    assert_eq!(told().await, (equivalents.clone(), Vec::new()), "what no shelf has is not in stock");
    let shelves = Shelves(&world);
    shelves.put("SHELF", false).await;
    shelves.receive(&["STOCK001"], "SHELF", StockCondition::New).await.unwrap();
    assert_eq!(told().await, (equivalents.clone(), vec!["PS-2".to_owned()]));
    // The same model comes first (T3).
    world.unit_like("OLD00002", |unit| unit.model = "OLD-1".into()).await;
    shelves.receive(&["OLD00002"], "SHELF", StockCondition::Good).await.unwrap();
    assert_eq!(told().await, (equivalents.clone(), ["OLD-1", "PS-2"].map(String::from).to_vec()));
    // What is held for somebody, or is not good any more, is not to be given.
    let claim = Life(&world).in_state("HOLDS001", 3, ClaimState::Authorized).await.claim_id;
    shelves.move_to("OLD00002", "SHELF", StockCondition::Quarantine, 0).await.unwrap();
    sqlx::query("UPDATE stock_units SET held_for = $1, held_until = 'infinity' WHERE serial = 'STOCK001'")
        .bind(claim.parse::<uuid::Uuid>().unwrap())
        .execute(&mut world.owner().await)
        .await
        .unwrap();
    assert_eq!(told().await, (equivalents, Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_follow_each_other_under_a_clock_that_runs_behind() {
    let world = World::stocked().await;
    world.unit("UNIT1").await;
    world.dealer("D1").registry.register_sale(sell("2026-06-10", "F-1", 0)).await.unwrap();
    // Another process's clock, or a call that read the time and then waited for the lock.
    world.set("2026-06-15T03:00:00Z");
    let cancel = CancelSaleRequest { request_id: id(), serial: "UNIT1".into(), reason: "returned".into(), version: 0 };
    world.dealer("D1").registry.cancel_sale(cancel).await.unwrap();
    world.dealer("D1").registry.register_sale(sell("2026-06-12", "F-2", 0)).await.unwrap();
    let request = ListSaleVersionsRequest { serial: "UNIT1".into() };
    let versions = world.dealer("D1").registry.list_sale_versions(request).await.unwrap().into_inner().versions;
    let recorded: Vec<_> = versions.iter().map(|version| version.recorded_time.as_ref().unwrap().seconds).collect();
    assert_eq!(recorded, [moment("2026-06-15T04:00:00Z").seconds; 3]);
    // Whatever moment is asked for, one version of the sale was known at the most.
    let mut owner = world.owner().await;
    let overlapping: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM sales a JOIN sales b ON a.serial = b.serial AND a.version < b.version
          WHERE tstzrange(a.recorded_at, greatest(a.recorded_at, a.superseded_at)) && tstzrange(b.recorded_at, greatest(b.recorded_at, b.superseded_at))",
    )
    .fetch_one(&mut owner)
    .await
    .unwrap();
    assert_eq!(overlapping, 0);
}
