//! Before and at filing: a preview says what filing then does, many claims at once, what a voucher contradicts, what support
//! asks on the telephone.

use std::collections::BTreeMap;

use futures::future::join_all;
use prost::Message;
use sqlx::AssertSqlSafe;
use tonic::{Code, Request, Status};
use tonic_types::{ErrorDetail, StatusExt};
use uuid::Uuid;
use warranty::contract::{google, v1::*};

use crate::{
    claims::Life,
    twice::{Line, Process, old_unit, real_time, with_voucher},
    world::{Caller, World, contact, date, filing, id, metadata, refusal, violations},
};

// ---- a preview

/// What each table holds.
async fn contents(world: &World) -> BTreeMap<String, Option<String>> {
    let mut owner = world.owner().await;
    let tables = "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'";
    let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(&mut owner).await.unwrap();
    let mut contents = BTreeMap::new();
    for table in tables {
        let rows = AssertSqlSafe(format!("SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {table} t"));
        let rows = sqlx::query_scalar(rows).fetch_one(&mut owner).await.unwrap();
        contents.insert(table, rows);
    }
    let sequences = "SELECT string_agg(sequencename || last_value, ' ') FROM pg_sequences";
    contents.insert("sequences".into(), sqlx::query_scalar(sequences).fetch_one(&mut owner).await.unwrap());
    contents
}

fn invoice(number: &str) -> Option<Vouchers> {
    Some(Vouchers { invoice_number: number.into(), ..Default::default() })
}

fn named(customer: Uuid) -> Option<Customer> {
    Some(Customer { customer: Some(customer::Customer::CustomerId(customer.to_string())) })
}

fn told(change: impl FnOnce(&mut FaultReport)) -> Option<FaultReport> {
    let mut report = FaultReport { fault_code: "NO_POWER".into(), ..Default::default() };
    change(&mut report);
    Some(report)
}

/// Previews and then files; both must say the same. Gives what was said: the remedy, or every reason against it.
async fn previewed_and_filed(world: &World, caller: &mut Caller, file: FileClaimRequest) -> Vec<String> {
    let FileClaimRequest { serial, report, customer, vouchers, .. } = file.clone();
    let asked = PreviewClaimRequest { serial, report, customer, vouchers, language: 0 };
    let before = contents(world).await;
    let preview = caller.claims.preview_claim(asked).await;
    assert_eq!(contents(world).await, before, "a preview writes nothing");
    let filed = caller.claims.file_claim(file).await;
    match preview.map(tonic::Response::into_inner) {
        Ok(preview) if preview.obstacles.is_empty() => {
            let FileClaimResponse { claim, contact, .. } = filed.unwrap().into_inner();
            let claim = claim.unwrap();
            assert_eq!(preview.decision, claim.provisional_decision);
            assert_eq!(preview.next_actions, claim.next_actions);
            assert_eq!(preview.voucher_dispute, claim.voucher_dispute);
            assert_eq!(preview.contact, contact);
            let standing = preview.voucher_standing().as_str_name().replace("VOUCHER_STANDING_", "");
            vec![preview.decision.unwrap().remedy().as_str_name().replace("REMEDY_", ""), standing]
        }
        Ok(preview) => {
            let refused = filed.unwrap_err();
            let reasons =
                preview.obstacles.iter().map(|obstacle| obstacle.reason().as_str_name().replace("ERROR_REASON_", ""));
            let reasons: Vec<String> = reasons.collect();
            assert_eq!(
                (refusal(&refused).1, refused.message()),
                (reasons[0].clone(), preview.obstacles[0].message.as_str())
            );
            assert_eq!(preview.next_actions, []);
            reasons
        }
        Err(preview) => {
            let refused = filed.unwrap_err();
            assert_eq!((preview.code(), preview.message()), (refused.code(), refused.message()));
            assert_eq!(violations(&preview), violations(&refused));
            assert_eq!(metadata(&preview, "suggestions"), metadata(&refused, "suggestions"));
            vec![refusal(&refused).1]
        }
    }
}

/// A world with a unit for each situation, D3 suspended; gives the buyers of COVERED1 and of BOUGHT2.
async fn situations() -> (World, Uuid, Uuid) {
    let world = World::stocked().await;
    let mut staff = world.staff();
    let third = CreateDealerRequest { request_id: id(), dealer_id: "D3".into(), name: "Dealer D3".into() };
    staff.registry.create_dealer(third).await.unwrap();
    let status = DealerStatus::Suspended.into();
    let third = SetDealerStatusRequest { request_id: id(), dealer_id: "D3".into(), status, version: 0 };
    staff.registry.set_dealer_status(third).await.unwrap();
    for (serial, days) in
        [("NEW1", 3), ("ABROAD1", 60), ("OPEN1", 60), ("BOUGHT1", 60), ("OTHERS1", 60), ("DATED1", 60)]
    {
        world.sold(serial, days).await;
    }
    let buyers = (world.sold("COVERED1", 60).await, world.sold("BOUGHT2", 60).await);
    for serial in ["UNSOLD1", "UNSOLD2"] {
        world.unit(serial).await;
    }
    world.dealer("D1").claims.file_claim(filing("OPEN1")).await.unwrap();
    Life(&world).in_state("SWAPPED1", 3, ClaimState::Swapped).await;
    (world, buyers.0, buyers.1)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_says_what_filing_then_does() {
    let (world, covered, bought) = situations().await;
    let at = |serial: &str| filing(serial);
    let by_other = |serial: &str, vouchers| FileClaimRequest { customer: Some(contact()), vouchers, ..filing(serial) };
    let abroad = FileClaimRequest { report: told(|report| report.region_of_use = "CN-HK".into()), ..at("ABROAD1") };
    let known = FileClaimRequest { customer: named(covered), vouchers: invoice("F9"), ..at("UNSOLD1") };
    let for_nobody = FileClaimRequest { vouchers: invoice("F-BOUGHT1"), ..at("BOUGHT1") };
    let anothers = FileClaimRequest { customer: named(covered), ..at("BOUGHT1") };
    let badly = FileClaimRequest { report: told(|report| report.part = 99), ..at("?") };
    let another_day = Vouchers { invoice_date: Some(date("2026-01-15")), ..invoice("F-DATED1").unwrap() };
    for (what, who, file, expected) in [
        ("covered", "D1", at("COVERED1"), "FREE_REPAIR, NOT_NEEDED"),
        ("in the first days", "D1", at("NEW1"), "DIRECT_REPLACEMENT, NOT_NEEDED"),
        ("used abroad", "D1", abroad, "PAID_SERVICE, NOT_NEEDED"),
        ("by the buyer", "", at("BOUGHT2"), "FREE_REPAIR, NOT_NEEDED"),
        ("for a customer known by a sale", "D1", known, "FREE_REPAIR, UNVERIFIED"),
        ("open already", "D1", at("OPEN1"), "OPEN_CLAIM_EXISTS"),
        ("swapped", "D1", at("SWAPPED1"), "UNIT_SUPERSEDED, OPEN_CLAIM_EXISTS"),
        ("without a voucher", "D2", by_other("BOUGHT1", None), "VOUCHER_REQUIRED"),
        ("with another voucher", "D2", by_other("BOUGHT1", invoice("F-1")), "VOUCHER_MISMATCH"),
        ("by a suspended dealer", "D3", by_other("BOUGHT1", None), "DEALER_NOT_ACTIVE, VOUCHER_REQUIRED"),
        ("for nobody", "D2", for_nobody, "INVALID_FIELDS"),
        ("for another's customer", "D2", anothers, "NOT_FOUND"),
        ("unknown", "D1", at("C0VERED1"), "NOT_FOUND"),
        ("badly written", "D1", badly, "INVALID_FIELDS"),
        ("with the right voucher", "D2", by_other("OTHERS1", invoice("F-OTHERS1")), "FREE_REPAIR, VERIFIED"),
        ("never sold", "D2", by_other("UNSOLD2", invoice("F9")), "FREE_REPAIR, UNVERIFIED"),
        ("of another day", "D2", by_other("DATED1", Some(another_day)), "FREE_REPAIR, VERIFIED"),
    ] {
        let mut caller = if who.is_empty() { world.customer(bought) } else { world.dealer(who) };
        assert_eq!(previewed_and_filed(&world, &mut caller, file).await.join(", "), expected, "{what}");
    }
    world.sold("LATER1", 0).await;
    world.set("2026-06-14T04:00:00Z");
    let said = previewed_and_filed(&world, &mut world.dealer("D1"), at("LATER1")).await;
    assert_eq!(said, ["WARRANTY_NOT_STARTED"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_speaks_the_callers_language_and_waits_for_nobody() {
    let world = World::stocked().await;
    world.sold("UNIT1", 60).await;
    // Somebody holds the unit: a filing would wait.
    let mut owner = world.owner().await;
    sqlx::raw_sql("BEGIN; SELECT 1 FROM units WHERE serial = 'UNIT1' FOR UPDATE").execute(&mut owner).await.unwrap();
    let language = Language::Chinese.into();
    let asked = PreviewClaimRequest { serial: "UNIT1".into(), language, ..Default::default() };
    let preview = world.dealer("D1").claims.preview_claim(asked).await.unwrap().into_inner();
    assert!(preview.summary.contains("免费"), "{}", preview.summary);
    assert_eq!(preview.estimate, None);
}

/// Which clauses have a text, all in one language.
fn clauses(texts: &[ClauseText], language: Language) -> Vec<Clause> {
    let in_it = |text: &ClauseText| match language {
        Language::Chinese => !text.chinese.is_empty() && text.english.is_empty(),
        Language::English => text.chinese.is_empty() && !text.english.is_empty(),
        Language::Unspecified => !text.chinese.is_empty() && !text.english.is_empty(),
    };
    assert!(texts.iter().all(in_it), "{language:?}: {texts:?}");
    texts.iter().map(ClauseText::clause).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_a_filing_and_a_claim_say_why_in_the_callers_language() {
    use Clause as C;
    let world = World::stocked().await;
    let buyer = world.sold("WORDS1", 60).await;
    let named = [C::S1, C::S2, C::S3, C::S4, C::T1, C::T2, C::T7, C::T8, C::T12, C::X2, C::M5, C::M6];
    let summary = "在保修范围内：2027年4月16日（含当日）前报修，可免费维修（条款T2）。";
    let next = ["售后将电话指导，排查故障，期限2026年6月17日。", "您可以撤销申请。"];
    let of_next = |next: &[NextAction]| next.iter().map(|next| next.summary.clone()).collect::<Vec<_>>();
    let mut customer = world.customer(buyer);

    let chinese = Language::Chinese.into();
    let asked = PreviewClaimRequest { serial: "WORDS1".into(), language: chinese, ..Default::default() };
    let preview = customer.claims.preview_claim(asked).await.unwrap().into_inner();
    assert_eq!(
        (preview.summary.as_str(), of_next(&preview.next_actions).as_slice()),
        (summary, &next.map(String::from)[..])
    );
    assert_eq!(clauses(&preview.texts, Language::Chinese), named);

    // What is sent again gets the same, in the language of the first.
    let file = FileClaimRequest { language: chinese, ..filing("WORDS1") };
    let filed = customer.claims.file_claim(file.clone()).await.unwrap().into_inner();
    assert_eq!(customer.claims.file_claim(file.clone()).await.unwrap().into_inner(), filed);
    let other = FileClaimRequest { language: Language::English.into(), ..file };
    assert_eq!(refusal(&customer.claims.file_claim(other).await.unwrap_err()).1, "REQUEST_ID_REUSED");
    assert_eq!((filed.summary.as_str(), clauses(&filed.texts, Language::Chinese).as_slice()), (summary, &named[..]));
    let claim = filed.claim.unwrap();
    assert_eq!(claim.state_summary, "已提交，等待售后联系。");
    assert_eq!(of_next(&claim.next_actions), next);
    assert!(claim.provisional_decision.unwrap().checks[0].fact.starts_with("产品类型"));

    let get = |language: Language| GetClaimRequest { claim_id: claim.claim_id.clone(), language: language.into() };
    let read = customer.claims.get_claim(get(Language::Chinese)).await.unwrap().into_inner();
    assert_eq!((read.summary.as_str(), clauses(&read.texts, Language::Chinese).as_slice()), (summary, &named[..]));
    assert_eq!(read.claim.unwrap().state_summary, "已提交，等待售后联系。");
    let read = customer.claims.get_claim(get(Language::English)).await.unwrap().into_inner();
    assert_eq!(clauses(&read.texts, Language::English), named);
    assert_eq!(of_next(&read.claim.unwrap().next_actions)[1], "You can cancel the claim.");
    // Where none is asked for: both texts and English, and of the claim itself no sentence.
    let read = customer.claims.get_claim(get(Language::Unspecified)).await.unwrap().into_inner();
    assert_eq!(clauses(&read.texts, Language::Unspecified), named);
    assert!(read.summary.starts_with("Covered: the unit is repaired free of charge"), "{}", read.summary);
    let unsaid = read.claim.unwrap();
    assert_eq!(
        (unsaid.state_summary.as_str(), of_next(&unsaid.next_actions)),
        ("", vec![String::new(), String::new()])
    );
    world.sold("WORDS2", 60).await;
    let filed = world.dealer("D1").claims.file_claim(filing("WORDS2")).await.unwrap().into_inner();
    assert_eq!((filed.summary.as_str(), filed.texts, filed.claim.unwrap().state_summary.as_str()), ("", vec![], ""));

    // Of a list, another page in another language.
    let listed = ListClaimsRequest { page_size: 1, language: chinese, ..Default::default() };
    let page = world.staff().claims.list_claims(listed.clone()).await.unwrap().into_inner();
    assert_eq!(page.claims[0].state_summary, "已提交，等待售后联系。");
    let language = Language::English.into();
    let listed = ListClaimsRequest { page_token: page.next_page_token, language, ..listed };
    let page = world.staff().claims.list_claims(listed).await.unwrap().into_inner();
    assert_eq!(page.claims[0].next_actions[1].summary, "The applicant can cancel the claim.");
    let refused = customer.claims.get_claim(GetClaimRequest { language: 9, ..get(Language::English) }).await;
    assert_eq!(violations(&refused.unwrap_err())[0].0, "language");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_reads_in_both_languages() {
    let world = World::stocked().await;
    let buyer = world.sold("OPEN1", 60).await;
    let mut customer = world.customer(buyer);
    customer.claims.file_claim(filing("OPEN1")).await.unwrap();
    let told = |status: &Status| -> Vec<(String, String)> {
        let details = status.get_error_details_vec().into_iter();
        let localized = details.filter_map(|detail| match detail {
            ErrorDetail::LocalizedMessage(told) => Some((told.locale, told.message)),
            _ => None,
        });
        localized.collect()
    };
    let both = |chinese: &str, english: &str| {
        vec![("zh-CN".to_owned(), chinese.to_owned()), ("en-US".to_owned(), english.to_owned())]
    };
    let open = customer.claims.file_claim(filing("OPEN1")).await.unwrap_err();
    assert_eq!(told(&open), both("此产品已有一份进行中的申请。", "This unit has an open claim already."));
    let unknown = customer.claims.file_claim(filing("NOBODY1")).await.unwrap_err();
    assert_eq!(told(&unknown), both("没有找到，请核对号码。", "Not found. Please check the number."));
    let bad = customer.claims.file_claim(filing("?")).await.unwrap_err();
    assert_eq!(told(&bad)[1].1, "Something is not right yet. Check the marked fields.");
    assert_eq!(violations(&bad).len(), 1);
    // A preview's obstacles read as the refusal does, in the language asked for.
    let asked =
        PreviewClaimRequest { serial: "OPEN1".into(), language: Language::Chinese.into(), ..Default::default() };
    let preview = customer.claims.preview_claim(asked.clone()).await.unwrap().into_inner();
    assert_eq!(preview.obstacles[0].summary, told(&open)[0].1);
    let unsaid =
        customer.claims.preview_claim(PreviewClaimRequest { language: 0, ..asked }).await.unwrap().into_inner();
    assert_eq!(unsaid.obstacles[0].summary, told(&open)[1].1);
}

// ---- many at once

fn told_of(result: &FileClaimResult) -> Result<&Claim, &google::rpc::Status> {
    match result.result.as_ref().unwrap() {
        file_claim_result::Result::Filed(filed) => Ok(filed.claim.as_ref().unwrap()),
        file_claim_result::Result::Status(status) => Err(status),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_answers_each_as_filing_would_in_the_order_asked() {
    let world = World::stocked().await;
    let mut dealer = world.dealer("D1");
    for serial in ["UNIT1", "UNIT2", "OPEN1"] {
        world.sold(serial, 60).await;
    }
    dealer.claims.file_claim(filing("OPEN1")).await.unwrap();
    let claims = vec![filing("UNIT1"), filing("OPEN1"), filing("NOBODY"), filing("?"), filing("UNIT2")];
    let batch = BatchFileClaimsRequest { claims: claims.clone() };
    let results = dealer.claims.batch_file_claims(batch).await.unwrap().into_inner().results;
    assert_eq!(results.len(), 5);
    for (at, serial) in [(0, "UNIT1"), (4, "UNIT2")] {
        let filed = told_of(&results[at]).unwrap();
        assert_eq!((filed.serial.as_str(), filed.state()), (serial, ClaimState::Filed));
        // Sent alone it is the same request.
        let alone = dealer.claims.file_claim(claims[at].clone()).await.unwrap().into_inner();
        assert_eq!(alone.claim.as_ref(), Some(filed));
    }
    for (at, reason) in [(1, "OPEN_CLAIM_EXISTS"), (2, "NOT_FOUND"), (3, "INVALID_FIELDS")] {
        let alone = dealer.claims.file_claim(claims[at].clone()).await.unwrap_err();
        assert_eq!(refusal(&alone).1, reason);
        assert_eq!(told_of(&results[at]).unwrap_err().encode_to_vec(), alone.details(), "{reason}");
    }
    let (none, many) = (vec![], vec![FileClaimRequest::default(); 101]);
    let refused = dealer.claims.batch_file_claims(BatchFileClaimsRequest { claims: none }).await.unwrap_err();
    assert_eq!(violations(&refused), [("claims".to_owned(), "must have at least one entry".to_owned())]);
    let refused = dealer.claims.batch_file_claims(BatchFileClaimsRequest { claims: many }).await.unwrap_err();
    assert_eq!(refusal(&refused), (Code::ResourceExhausted, "TOO_LARGE".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_sent_twice_at_once_and_again_files_none_twice() {
    let world = World::stocked().await;
    let serials: Vec<String> = (0..25).map(|at| format!("MANY{at:02}")).collect();
    for serial in &serials {
        world.unit(serial).await;
    }
    let with_vouchers =
        |serial: &String| FileClaimRequest { customer: Some(contact()), vouchers: invoice("F1"), ..filing(serial) };
    let batch = BatchFileClaimsRequest { claims: serials.iter().map(with_vouchers).collect() };
    let send = async || world.dealer("D1").claims.batch_file_claims(batch.clone()).await.unwrap().into_inner();
    let mut replies = join_all([send(), send(), send()]).await;
    replies.push(send().await);
    for reply in &replies {
        let filed: Vec<&str> = reply.results.iter().map(|result| told_of(result).unwrap().serial.as_str()).collect();
        assert_eq!(filed, serials);
        assert_eq!(reply.encode_to_vec(), replies[0].encode_to_vec(), "each gets the first reply");
    }
    let mut owner = world.owner().await;
    for table in ["claims", "claim_events", "claim_decisions", "customers"] {
        let rows = AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        assert_eq!(sqlx::query_scalar::<_, i64>(rows).fetch_one(&mut owner).await.unwrap(), 25, "{table}");
    }
}

// ---- what it costs

#[tokio::test(flavor = "multi_thread")]
async fn filing_takes_six_round_trips() {
    let world = real_time().await;
    let line = Line::to(&world.url).await;
    let process = Process::start(&world, "claim", &line.url, &["--pool-size", "1"]).await;
    let mut claims = process.claims(&world);
    // The first prepares the statements, and reads the policies.
    for serial in ["WARM1", "WARM2"] {
        old_unit(&world, serial).await;
        claims.file_claim(with_voucher(serial)).await.unwrap();
    }
    let before = line.trips.load(std::sync::atomic::Ordering::Relaxed);
    let file = with_voucher("UNIT1");
    claims.file_claim(file.clone()).await.unwrap();
    let after = line.trips.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(after - before, 6, "BEGIN, begin_filing, the facts, the claim, the reply, COMMIT");
    claims.file_claim(file).await.unwrap();
    assert_eq!(line.trips.load(std::sync::atomic::Ordering::Relaxed) - after, 3, "the first reply again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filing_waits_for_who_holds_the_unit_and_sees_what_he_did() {
    let world = World::stocked().await;
    world.sold("UNIT1", 60).await;
    let mut owner = world.owner().await;
    let held = "BEGIN; SELECT 1 FROM units WHERE serial = 'UNIT1' FOR UPDATE; UPDATE sales SET dealer_id = 'D2' WHERE serial = 'UNIT1'";
    sqlx::raw_sql(held).execute(&mut owner).await.unwrap();
    let mut dealer = world.dealer("D1");
    let filing = tokio::spawn(async move { dealer.claims.file_claim(filing("UNIT1")).await });
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'warranty-claim' AND wait_event_type = 'Lock' AND datname = current_database()";
    let mut watcher = world.owner().await;
    crate::twice::until("the filing waits", async || {
        sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut watcher).await.unwrap() == 1
    })
    .await;
    sqlx::raw_sql("COMMIT").execute(&mut owner).await.unwrap();
    // D1 is the seller no more: it is asked for whom the claim is.
    let refused = filing.await.unwrap().unwrap_err();
    assert_eq!(violations(&refused)[0].0, "customer");
}

// ---- what a voucher contradicts

/// A claim of D2's, whose invoice is of another day than D1's registered sale.
async fn disputed(world: &World, serial: &str) -> Claim {
    world.sold(serial, 60).await;
    let vouchers =
        Vouchers { invoice_number: format!("F-{serial}"), invoice_date: Some(world.today(-70)), ..Default::default() };
    let file = FileClaimRequest { customer: Some(contact()), vouchers: Some(vouchers), ..filing(serial) };
    world.dealer("D2").claims.file_claim(file).await.unwrap().into_inner().claim.unwrap()
}

fn settle(claim: &Claim, verdict: VoucherVerdict) -> SettleVoucherDisputeRequest {
    let (request_id, claim_id) = (id(), claim.claim_id.clone());
    SettleVoucherDisputeRequest {
        request_id,
        claim_id,
        version: 0,
        verdict: verdict.into(),
        reason: "as the scan says".into(),
    }
}

fn guide(claim: &Claim, outcome: GuidanceOutcome) -> RecordGuidanceRequest {
    let (request_id, claim_id) = (id(), claim.claim_id.clone());
    RecordGuidanceRequest { request_id, claim_id, outcome: outcome.into(), ..Default::default() }
}

/// The sale of `serial` as D1 corrects it to `days` ago.
async fn corrected(world: &World, serial: &str, days: i64) {
    let request = RegisterSaleRequest {
        request_id: id(),
        serial: serial.into(),
        version: 1,
        sold_date: Some(world.today(-days)),
        invoice_number: format!("F-{serial}"),
        ..Default::default()
    };
    world.staff().registry.register_sale(RegisterSaleRequest { dealer_id: "D1".into(), ..request }).await.unwrap();
}

async fn read(mut caller: Caller, claim: &Claim) -> Claim {
    let request = GetClaimRequest { claim_id: claim.claim_id.clone(), ..Default::default() };
    caller.claims.get_claim(request).await.unwrap().into_inner().claim.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voucher_of_another_day_is_a_dispute_that_support_settles() {
    let world = World::stocked().await;
    let mut staff = world.staff();
    let claim = disputed(&world, "UNIT1").await;
    let open = VoucherDispute { given_date: Some(world.today(-70)), registered_date: None, verdict: 0 };
    assert_eq!(claim.voucher_dispute, Some(open), "what is registered is not told to another dealer");
    let start = claim.provisional_decision.as_ref().unwrap().start_date;
    assert_eq!(start, Some(world.today(-60)), "a voucher never moves the start");
    let both = VoucherDispute { registered_date: Some(world.today(-60)), ..open };
    assert_eq!(read(world.staff(), &claim).await.voucher_dispute, Some(both));
    let actions: Vec<ClaimAction> = claim.next_actions.iter().map(NextAction::action).collect();
    assert_eq!(actions, [ClaimAction::SettleVoucherDispute, ClaimAction::Cancel]);

    for outcome in [GuidanceOutcome::Confirmed, GuidanceOutcome::Waived] {
        let guide = RecordGuidanceRequest { reason: "as told".into(), ..guide(&claim, outcome) };
        let refused = staff.claims.record_guidance(guide).await.unwrap_err();
        assert_eq!(refusal(&refused), (Code::FailedPrecondition, "VOUCHER_DISPUTE_OPEN".into()));
    }
    let early = staff.claims.settle_voucher_dispute(settle(&claim, VoucherVerdict::SaleCorrected)).await.unwrap_err();
    let rule = "the registered sale's day is what it was: correct it first".to_owned();
    assert_eq!(violations(&early), [("verdict".to_owned(), rule)]);

    let stands = settle(&claim, VoucherVerdict::SaleStands);
    let settled = staff.claims.settle_voucher_dispute(stands.clone()).await.unwrap().into_inner().claim.unwrap();
    let verdict = VoucherVerdict::SaleStands.into();
    assert_eq!(settled.voucher_dispute, Some(VoucherDispute { verdict, ..both }));
    assert_eq!((settled.state(), settled.version), (ClaimState::Filed, 2));
    let again = staff.claims.settle_voucher_dispute(stands.clone()).await.unwrap().into_inner();
    assert_eq!(again.claim, Some(settled));
    let twice = SettleVoucherDisputeRequest { request_id: id(), ..stands };
    let twice = staff.claims.settle_voucher_dispute(twice).await.unwrap_err();
    assert_eq!(refusal(&twice), (Code::FailedPrecondition, "NO_DISPUTE".into()));
    let guided = staff.claims.record_guidance(guide(&claim, GuidanceOutcome::Confirmed)).await.unwrap().into_inner();
    assert_eq!(guided.claim.unwrap().state(), ClaimState::Authorized);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrected_sale_decides_anew() {
    let world = World::stocked().await;
    let mut staff = world.staff();
    let claim = disputed(&world, "UNIT1").await;
    corrected(&world, "UNIT1", 70).await;
    let refused = staff.claims.settle_voucher_dispute(settle(&claim, VoucherVerdict::SaleStands)).await.unwrap_err();
    let rule = "the registered sale's day was corrected meanwhile".to_owned();
    assert_eq!(violations(&refused), [("verdict".to_owned(), rule)]);
    let settled = staff.claims.settle_voucher_dispute(settle(&claim, VoucherVerdict::SaleCorrected)).await.unwrap();
    let settled = settled.into_inner().claim.unwrap();
    let decided = settled.provisional_decision.unwrap();
    assert_eq!(decided.start_date, Some(world.today(-70)));
    // Both decisions stay with the claim.
    let events = ListClaimEventsRequest { claim_id: claim.claim_id.clone(), ..Default::default() };
    let events = staff.claims.list_claim_events(events).await.unwrap().into_inner().events;
    let made: Vec<_> = events.iter().map(|event| event.decision.as_ref().unwrap().start_date).collect();
    assert_eq!(made, [Some(world.today(-60)), Some(world.today(-70))]);
    assert_eq!(events[1].r#type(), ClaimEventType::VoucherDisputeSettled);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_selling_dealer_reads_its_own_day() {
    let world = World::stocked().await;
    let buyer = world.sold("UNIT1", 60).await;
    let vouchers = Some(Vouchers { invoice_date: Some(world.today(-61)), ..Default::default() });
    let file = FileClaimRequest { vouchers, ..filing("UNIT1") };
    let claim = world.dealer("D1").claims.file_claim(file).await.unwrap().into_inner().claim.unwrap();
    let (given_date, registered_date) = (Some(world.today(-61)), Some(world.today(-60)));
    let both = VoucherDispute { given_date, registered_date, verdict: 0 };
    assert_eq!(claim.voucher_dispute, Some(both));
    assert_eq!(read(world.dealer("D1"), &claim).await.voucher_dispute, Some(both));
    let hidden = VoucherDispute { registered_date: None, ..both };
    assert_eq!(read(world.customer(buyer), &claim).await.voucher_dispute, Some(hidden));
}

// ---- the fault catalogue

fn paths(status: &Status) -> Vec<String> {
    assert_eq!(refusal(status), (Code::InvalidArgument, "INVALID_FIELDS".into()), "{}", status.message());
    violations(status).into_iter().map(|(path, _)| path).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn symptoms_are_those_that_the_product_may_have() {
    let world = World::stocked().await;
    let mut staff = world.staff();
    let claim = world.filed("UNIT1", 60).await;
    let symptoms = |codes: &[&str]| codes.iter().map(|code| (*code).to_owned()).collect();
    let asked =
        |codes| RecordGuidanceRequest { symptoms: symptoms(codes), ..guide(&claim, GuidanceOutcome::Confirmed) };
    // PS-1 is a PoE switch: it has no picture, and nobody knows the last.
    let refused =
        staff.claims.record_guidance(asked(&["NO_POWER", "NO_VIDEO", "FAN_NOISE", "SMELLS"])).await.unwrap_err();
    assert_eq!(paths(&refused), ["symptoms[1]", "symptoms[3]"]);
    let refused = staff.claims.record_guidance(asked(&["no power", ""])).await.unwrap_err();
    assert_eq!(paths(&refused), ["symptoms[0]", "symptoms[1]"]);
    let refused = staff.claims.record_guidance(asked(&["NO_POWER"; 21])).await.unwrap_err();
    assert_eq!(refusal(&refused), (Code::ResourceExhausted, "TOO_LARGE".into()));
    let guided = staff.claims.record_guidance(asked(&["NO_POWER", "FAN_NOISE"])).await.unwrap().into_inner();
    assert_eq!(guided.claim.unwrap().symptoms, ["NO_POWER", "FAN_NOISE"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalogue_is_kept_by_staff_and_read_by_all() {
    let world = World::stocked().await;
    let (mut staff, mut dealer) = (world.staff(), world.dealer("D1"));
    let fault = Fault {
        fault_code: "SMELLS".into(),
        chinese: "有异味".into(),
        english: "Smells".into(),
        product_types: vec![ProductType::PoeSwitch.into()],
    };
    let put = PutFaultRequest { request_id: id(), fault: Some(fault.clone()) };
    for _ in 0..2 {
        let kept = staff.claims.put_fault(put.clone()).await.unwrap().into_inner().fault;
        assert_eq!(kept.as_ref(), Some(&fault));
    }
    let changed = Fault { english: "Smells burnt".into(), ..fault };
    let put = PutFaultRequest { request_id: id(), fault: Some(changed.clone()) };
    staff.claims.put_fault(put).await.unwrap();

    let mut listed = Vec::new();
    let mut page =
        ListFaultsRequest { product_type: ProductType::PoeSwitch.into(), page_size: 4, ..Default::default() };
    loop {
        let reply = dealer.claims.list_faults(page.clone()).await.unwrap().into_inner();
        listed.extend(reply.faults);
        page.page_token = reply.next_page_token;
        if page.page_token.is_empty() {
            break;
        }
    }
    let codes: Vec<&str> = listed.iter().map(|fault| fault.fault_code.as_str()).collect();
    let expected = [
        "FAN_NOISE",
        "NO_LINK",
        "NO_POWER",
        "OVERHEAT",
        "PACKET_LOSS",
        "POE_NO_OUTPUT",
        "PORT_DEAD",
        "RESTARTS",
        "SMELLS",
    ];
    assert_eq!(codes, expected);
    assert_eq!(listed.last(), Some(&changed));

    let bad = Fault { fault_code: "smells".into(), product_types: vec![99, 1, 1], ..Default::default() };
    let refused =
        staff.claims.put_fault(PutFaultRequest { request_id: String::new(), fault: Some(bad) }).await.unwrap_err();
    let expected = [
        "request_id",
        "fault.fault_code",
        "fault.chinese",
        "fault.english",
        "fault.product_types[0]",
        "fault.product_types[2]",
    ];
    assert_eq!(paths(&refused), expected);
    let refused = dealer.claims.put_fault(Request::new(PutFaultRequest::default())).await.unwrap_err();
    assert!(refused.get_error_details().error_info().is_some_and(|info| info.reason == "CALLER_KIND"));
}
