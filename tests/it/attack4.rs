//! What an attacker tried on quotes, evidence, watching and the clock's work, and is now refused.

use std::time::Duration;

use indicatif::ProgressBar;
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tonic::Code;
use uuid::Uuid;
use warranty::{
    audit,
    contract::{
        google::r#type::{Date, Money},
        v1::*,
    },
    service::claim::worker::{self, Done},
    store,
};

use crate::{
    claims::{Life, count},
    evidence::{Sent, photo},
    world::{Caller, World, contact, fen_as_money, filing, fresh_database, id, refusal, violations},
};

/// What the events of a claim say of themselves: read from the list, then from the stream.
async fn told(caller: impl Fn() -> Caller, claim: &str) -> [Vec<String>; 2] {
    let request = ListClaimEventsRequest { claim_id: claim.into(), ..Default::default() };
    let listed = caller().claims.list_claim_events(request).await.unwrap().into_inner().events;
    let request = WatchClaimsRequest { cursor: "0".into(), ..Default::default() };
    let mut stream = caller().claims.watch_claims(request).await.unwrap().into_inner();
    let mut watched = Vec::new();
    let read = async {
        while watched.len() < listed.len() {
            let next = stream.message().await.unwrap().unwrap();
            watched.extend(next.event.filter(|_| next.claim_id == claim).map(|event| event.facts_json));
        }
    };
    tokio::time::timeout(Duration::from_secs(20), read).await.unwrap();
    [listed.into_iter().map(|event| event.facts_json).collect(), watched]
}

#[tokio::test(flavor = "multi_thread")]
async fn events_tell_neither_the_registered_day_nor_billings_number() {
    let world = World::stocked().await;
    world.sold("UNIT1", 60).await;
    let vouchers =
        Vouchers { invoice_number: "F-UNIT1".into(), invoice_date: Some(world.today(-70)), ..Default::default() };
    let file = FileClaimRequest { customer: Some(contact()), vouchers: Some(vouchers), ..filing("UNIT1") };
    let claim = world.dealer("D2").claims.file_claim(file).await.unwrap().into_inner().claim.unwrap();
    let customer = claim.customer_id.parse().unwrap();
    // 16 April 2026, and what a voucher said of another day.
    let day = |told: &[String]| told.concat().contains("2026-04-16");
    for lists in
        [told(|| world.dealer("D2"), &claim.claim_id).await, told(|| world.customer(customer), &claim.claim_id).await]
    {
        for list in lists {
            assert!(list[0].contains("2026-04-06") && !day(&list), "{list:?}");
        }
    }
    assert!(day(&told(|| world.staff(), &claim.claim_id).await[0]));

    let life = Life(&world);
    let claim = life.in_state("UNIT2", 60, ClaimState::Quoted).await;
    life.accept(&claim.claim_id, &claim.quote_id).await.unwrap();
    life.repair(&claim.claim_id).await.unwrap();
    life.pay(&claim.claim_id, 14_691, "BANK-77").await.unwrap();
    let number = |told: &[String]| told.concat().contains("BANK-77");
    for list in told(|| world.dealer("D1"), &claim.claim_id).await {
        assert!(!number(&list), "{list:?}");
    }
    assert!(number(&told(|| world.staff(), &claim.claim_id).await[0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_tells_a_stranger_no_more_than_filing_does() {
    let world = World::stocked().await;
    world.filed("UNIT1", 60).await;
    let preview = async |invoice: &str, days: i64| {
        let invoice_date = Some(world.today(-days));
        let vouchers = Vouchers { invoice_number: invoice.into(), invoice_date, ..Default::default() };
        let (customer, report) = (Some(contact()), filing("UNIT1").report);
        let request = PreviewClaimRequest {
            serial: "UNIT1".into(),
            report,
            customer,
            vouchers: Some(vouchers),
            ..Default::default()
        };
        let told = world.dealer("D2").claims.preview_claim(request).await.unwrap().into_inner();
        let reasons: Vec<_> = told.obstacles.iter().map(Obstacle::reason).collect();
        (reasons, told.voucher_dispute.is_some())
    };
    // Neither whether the day is right, nor whether another dealer has a claim.
    for days in [60, 61] {
        assert_eq!(preview("F-WRONG", days).await, (vec![ErrorReason::VoucherMismatch], false));
        assert_eq!(preview("", days).await, (vec![ErrorReason::VoucherRequired], false));
    }
    assert_eq!(preview("F-UNIT1", 61).await, (vec![ErrorReason::OpenClaimExists], true));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_picture_under_the_id_of_a_complete_one_is_not_acknowledged() {
    let world = World::stocked().await;
    let mut dealer = world.dealer("D1");
    let claim = world.filed("UNIT1", 20).await;
    let sent = Sent::new(&claim, photo(500, 2));
    sent.whole(&mut dealer).await.unwrap();
    let other = photo(600, 3);
    let request = AddEvidenceRequest {
        request_id: id(),
        size_bytes: 600,
        sha256: Sha256::digest(&other).to_vec(),
        data: other,
        ..sent.chunk(0, 0)
    };
    let refused = dealer.claims.add_evidence(request.clone()).await.unwrap_err();
    let rule = "is that of another scan or photo, which is complete".to_owned();
    assert_eq!(violations(&refused), [("evidence_id".to_owned(), rule)]);
    let kind = EvidenceKind::Invoice.into();
    let refused = dealer.claims.add_evidence(AddEvidenceRequest { kind, ..sent.chunk(0, 0) }).await.unwrap_err();
    assert_eq!(violations(&refused)[0].0, "evidence_id");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_that_was_used_before_begins_no_upload() {
    let world = World::stocked().await;
    let mut dealer = world.dealer("D1");
    let claim = world.filed("UNIT1", 20).await;
    let first = Sent::new(&claim, photo(500, 2)).chunk(0, 0);
    dealer.claims.add_evidence(first.clone()).await.unwrap();
    let data = photo(600, 3);
    let request = AddEvidenceRequest { size_bytes: 600, sha256: Sha256::digest(&data).to_vec(), data, ..first };
    let refused = dealer.claims.add_evidence(request).await.unwrap_err();
    assert_eq!(refusal(&refused), (Code::AlreadyExists, "REQUEST_ID_REUSED".into()));
    assert_eq!(count(&world, "SELECT count(*) FROM evidence_uploads").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_row_that_nobody_can_end_keeps_nothing_else_waiting() {
    let world = World::stocked().await;
    let life = Life(&world);
    let poisoned = life.in_state("POISON01", 60, ClaimState::Quoted).await;
    let good = life.in_state("HEALTHY1", 60, ClaimState::Quoted).await;
    let mut dealer = world.dealer("D1");
    for seed in [1, 2] {
        dealer.claims.add_evidence(Sent::new(&good, photo(500, seed)).chunk(0, 300)).await.unwrap();
    }
    // The first one's row is behind its events; and something that is no object lies where one of the uploads would.
    let mut owner = world.owner().await;
    let behind = format!("UPDATE claims SET version = version - 1 WHERE claim_id = '{}'", poisoned.claim_id);
    sqlx::raw_sql(AssertSqlSafe(behind)).execute(&mut owner).await.unwrap();
    let first = "SELECT object_id FROM evidence_uploads ORDER BY began_at, object_id LIMIT 1";
    let object: Uuid = sqlx::query_scalar(first).fetch_one(&mut owner).await.unwrap();
    std::fs::create_dir_all(world.folder.join(object.to_string()).join("x")).unwrap();
    let requests = count(&world, "SELECT count(*) FROM request_log").await.unsigned_abs();

    let later = "2026-12-01T04:00:00Z".parse().unwrap();
    let done = worker::step(&world.worker(), &world.evidence, later).await.unwrap();
    assert_eq!(done, Done { expired: 1, lapsed: 0, forgotten: requests, dropped: 1, released: 0 });
    assert_eq!(life.get(&good.claim_id).await.state(), ClaimState::Ready);
}

/// The migrations up to one, as they are in the source.
async fn migrate_to(connection: &mut PgConnection, last: i64) {
    let mut migrator = sqlx::migrate!("./migrations");
    migrator.migrations.to_mut().retain(|migration| migration.version <= last);
    migrator.run(connection).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_whom_row_level_security_binds_migrates_claims_that_are_there() {
    let url = fresh_database().await;
    let (server, name) = url.rsplit_once('/').unwrap();
    let (owner, database) = (format!("owner_{}", Uuid::new_v4().simple()), format!("{name}_old"));
    let mut superuser = PgConnection::connect(&url).await.unwrap();
    for sql in [
        format!("CREATE ROLE {owner} LOGIN CREATEROLE PASSWORD 'x'"),
        format!(
            "GRANT warranty_coverage, warranty_claim, warranty_logistics, warranty_worker, warranty_watch, warranty_ratelimit TO {owner} WITH ADMIN OPTION"
        ),
        format!("CREATE DATABASE {database} OWNER {owner}"),
    ] {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut superuser).await.unwrap();
    }
    let server = server.rsplit_once('@').unwrap().1;
    let theirs = format!("postgres://{owner}:x@{server}/{database}");
    let mut connection = PgConnection::connect(&theirs).await.unwrap();
    migrate_to(&mut connection, 4).await;
    let old = "INSERT INTO products VALUES ('PS-1', 'POE_SWITCH', false);
        INSERT INTO units VALUES ('OLD1', 'PS-1', NULL, '2026-01-10', '2026-01-20', true, NULL);
        INSERT INTO dealers VALUES ('D1', 'Dealer D1', 'ACTIVE', 1), ('D2', 'Dealer D2', 'ACTIVE', 1);
        INSERT INTO customers VALUES ('00000000-0000-4000-8000-000000000002', 'dealer/D1');
        INSERT INTO claims (claim_id, serial, dealer_id, customer_id, voucher_verified, filed_at, reported_on, state, no_fault_found,
            findings, remedy, decided, version)
        VALUES ('00000000-0000-4000-8000-000000000001', 'OLD1', 'D1', '00000000-0000-4000-8000-000000000002', true,
            '2026-06-01T04:00:00Z', '2026-06-01', 'AUTHORIZED', false, '{}', 'FREE_REPAIR', 'PROVISIONAL', 2);
        INSERT INTO claim_events (claim_id, sequence, facts, state, recorded_at, actor)
        VALUES ('00000000-0000-4000-8000-000000000001', 1, '{\"type\": \"FILED\"}', 'FILED', '2026-06-01T04:00:00Z', 'dealer/D1'),
               ('00000000-0000-4000-8000-000000000001', 2, '{\"type\": \"GUIDED\"}', 'AUTHORIZED', '2026-06-02T04:00:00Z', 'staff/S1')";
    let mut superuser = PgConnection::connect(&url.replace(name, &database)).await.unwrap();
    sqlx::raw_sql(old).execute(&mut superuser).await.unwrap();
    store::migrate(&theirs).await.unwrap();
    let found = "SELECT entered_at = '2026-06-02T04:00:00Z', due_on::text, count(hash), max(feed)
        FROM claims JOIN claim_events USING (claim_id) GROUP BY entered_at, due_on";
    let found: (bool, String, i64, i64) = sqlx::query_as(found).fetch_one(&mut superuser).await.unwrap();
    assert_eq!(found, (true, "2026-07-02".into(), 2, 2));
    let forced: i64 =
        sqlx::query_scalar("SELECT count(*) FROM pg_class WHERE relrowsecurity AND NOT relforcerowsecurity")
            .fetch_one(&mut superuser)
            .await
            .unwrap();
    assert_eq!(forced, 0, "what was let go for it is held again");
    tells_across_parties(&url.replace(name, &database)).await;
}

/// What asks and tells across parties does so for an owner whom row-level security binds, too.
async fn tells_across_parties(database: &str) {
    let mut superuser = PgConnection::connect(database).await.unwrap();
    for (caller, does) in [
        ("dealer/D1", "INSERT INTO shipments VALUES (gen_random_uuid(), 'INBOUND', 'D1', NULL, 'SF', 'N1', now())"),
        (
            "staff/S1",
            "INSERT INTO tracking_events VALUES ('SF', 'N1', 'staff', 'k1', 'DELIVERED', NULL, now(), now(), 'staff/S1')",
        ),
        ("dealer/D2", "INSERT INTO shipments VALUES (gen_random_uuid(), 'INBOUND', 'D2', NULL, 'sf', 'n 1', now())"),
        (
            "staff/S1",
            "INSERT INTO tracking_events VALUES ('SF', 'N1', 'staff', 'k2', 'DELIVERED', NULL, now(), now(), 'staff/S1')",
        ),
        ("dealer/D2", "UPDATE shipments SET tracking_number = 'N2'"),
        ("dealer/D2", "UPDATE shipments SET tracking_number = 'N3'"),
    ] {
        let mut caller_of = PgConnection::connect(database).await.unwrap();
        let sql = format!("SET ROLE warranty_logistics; SET warranty.caller = '{caller}'; {does}");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut caller_of).await.unwrap();
    }
    let sold = "INSERT INTO stock_locations VALUES ('SHELF', 'a shelf', false);
        INSERT INTO units (serial, model, manufactured_on, ex_factory_on, sold_by_maker) VALUES ('NEW1', 'PS-1', '2026-01-10', '2026-01-20', true);
        INSERT INTO stock_movements (serial, number, to_location, to_condition, reason, moved_at, moved_by)
        VALUES ('NEW1', 1, 'SHELF', 'NEW', 'from the factory', now(), 'staff/S1');
        INSERT INTO stock_units VALUES ('NEW1', 'PS-1', 'SHELF', 'NEW', 1);
        INSERT INTO sales (serial, version, dealer_id, sold_on, recorded_at, recorded_by) VALUES ('NEW1', 1, 'D1', '2026-06-01', now(), 'dealer/D1')";
    sqlx::raw_sql(sold).execute(&mut superuser).await.unwrap();
    let moved: Vec<String> =
        sqlx::query_scalar("SELECT reason || ' by ' || moved_by FROM stock_movements ORDER BY number")
            .fetch_all(&mut superuser)
            .await
            .unwrap();
    assert_eq!(moved, ["from the factory by staff/S1", "sold by dealer/D1"]);
    let told = "SELECT coalesce(dealer_id, 'staff') || ' ' || kind || coalesce(' ' || (facts->>'event_key'), '') FROM logistics_events ORDER BY feed";
    let told: Vec<String> = sqlx::query_scalar(told).fetch_all(&mut superuser).await.unwrap();
    assert_eq!(told, ["D1 TRACKED k1", "staff TRACKED k2", "D2 NUMBERED", "D1 TRACKED k2", "D2 NUMBERED"]);
}

async fn faults(world: &World) -> Vec<String> {
    let mut faults = Vec::new();
    audit::verify(&world.url, &ProgressBar::hidden(), |fault| faults.push(fault.to_string())).await.unwrap();
    faults
}

#[tokio::test(flavor = "multi_thread")]
async fn money_and_pictures_that_were_changed_behind_the_systems_back_are_found() {
    let world = World::stocked().await;
    let life = Life(&world);
    let paid = life.in_state("MONEY001", 60, ClaimState::Quoted).await;
    life.quote(&paid.claim_id, vec![]).await.unwrap();
    let paid = life.get(&paid.claim_id).await;
    life.accept(&paid.claim_id, &paid.quote_id).await.unwrap();
    Sent::new(&paid, photo(500, 2)).whole(&mut world.dealer("D1")).await.unwrap();
    life.repair(&paid.claim_id).await.unwrap();
    life.pay(&paid.claim_id, 14_691, "P-1").await.unwrap();
    let declined = life.in_state("MONEY002", 60, ClaimState::Quoted).await;
    life.decline(&declined.claim_id, &declined.quote_id).await.unwrap();
    let given = life.in_state("MONEY003", 60, ClaimState::Quoted).await;
    life.appeal(&given.claim_id).await.unwrap();
    let request = DecideAppealRequest {
        request_id: id(),
        claim_id: given.claim_id.clone(),
        outcome: AppealOutcome::Overridden.into(),
        reason: "looked at again".into(),
        goodwill_remedy: Remedy::FreeRepair.into(),
        goodwill_cost: Some(fen_as_money(4_321)),
        ..Default::default()
    };
    world.staff().claims.decide_appeal(request).await.unwrap();
    life.in_state("MONEY004", 60, ClaimState::Quoted).await;
    assert_eq!(faults(&world).await, [""; 0], "nobody changed anything yet");
    let mut owner = world.owner().await;
    for sql in [
        "UPDATE billables SET amount_fen = amount_fen - 1 WHERE kind = 'CHARGE'",
        "UPDATE billables SET reference = 'P-2' WHERE kind = 'PAYMENT'",
        "UPDATE billables SET amount_fen = 1 WHERE kind = 'GOODWILL'",
        "DELETE FROM billables WHERE kind = 'PAYMENT'",
        "UPDATE quotes SET state = 'EXPIRED', on_behalf_of = NULL, token_fingerprint = NULL WHERE state = 'ACCEPTED'",
        "UPDATE quotes SET state = 'EXPIRED' WHERE state = 'DECLINED'",
        "UPDATE quotes SET issued_by = 'staff/X' WHERE state = 'ISSUED'",
        "UPDATE evidence SET sha256 = sha256(sha256)",
        "DELETE FROM evidence",
    ] {
        sqlx::raw_sql("BEGIN; CREATE TABLE kept_b AS TABLE billables; CREATE TABLE kept_q AS TABLE quotes; CREATE TABLE kept_e AS TABLE evidence; COMMIT")
            .execute(&mut owner)
            .await
            .unwrap();
        let changed = sqlx::raw_sql(sql).execute(&mut owner).await.unwrap();
        assert_eq!(changed.rows_affected(), 1, "{sql}");
        let told = faults(&world).await;
        assert!(told.len() == 1 && told[0].ends_with("is not what its events say"), "{sql}: {told:?}");
        sqlx::raw_sql(
            "BEGIN; SET LOCAL session_replication_role = replica; DELETE FROM billables; DELETE FROM quotes; DELETE FROM evidence;
             INSERT INTO billables TABLE kept_b; INSERT INTO quotes TABLE kept_q; INSERT INTO evidence TABLE kept_e;
             DROP TABLE kept_b, kept_q, kept_e; COMMIT",
        )
        .execute(&mut owner)
        .await
        .unwrap();
    }
    assert_eq!(faults(&world).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::too_many_lines, clippy::needless_update)] // One flat table.
async fn no_field_of_a_new_call_is_our_fault() {
    let world = World::stocked().await;
    let life = Life(&world);
    world.priced().await;
    let claim = life.in_state("FUZZ0001", 60, ClaimState::Quoted).await;
    let claim_id = claim.claim_id;
    let (mut dealer, mut staff) = (world.dealer("D1"), world.staff());
    let long = "💥".repeat(600);
    let texts = [
        "",
        "\u{3000}",
        "\0",
        "\u{202E}x",
        "ＮＯ＿ＰＯＷＥＲ",
        "'; --",
        &long,
        "9223372036854775808",
        &claim_id,
        "//",
        "PSU",
    ];
    for text in texts {
        for number in [i32::MIN, -1, 0, 2, i32::MAX] {
            let (text, long) = (text.to_owned(), i64::from(number) << 31);
            let day = Some(Date { year: number, month: 2, day: 29 });
            let amount = Some(Money { currency_code: "CNY".into(), units: long, nanos: number });
            let same = (id(), claim_id.clone(), number.into());
            macro_rules! answers {
                ($($caller:ident $call:ident $request:ident { $($field:ident: $value:expr),* $(,)? })*) => {
                    $(let request = $request { $($field: $value,)* ..Default::default() };
                    if let Err(status) = $caller.claims.$call(request).await {
                        let fault = matches!(status.code(), Code::Internal | Code::Unknown | Code::Unavailable);
                        assert!(!fault, "{} {text:?} {number}: {status}", stringify!($call));
                    })*
                };
            }
            let (request_id, claim_id, version) = same;
            let change = QuoteLineChange {
                kind: number,
                code: text.clone(),
                quantity: number,
                unit_price: amount.clone(),
                reason: text.clone(),
            };
            let price = Price {
                kind: number,
                product_type: number,
                code: text.clone(),
                amount: amount.clone(),
                valid_from_date: day,
            };
            let vouchers = Vouchers {
                invoice_number: text.clone(),
                warranty_card_number: text.clone(),
                invoice_date: Some(world.today(number.clamp(-99, 99).into())),
            };
            let fault = Fault {
                fault_code: text.clone(),
                chinese: text.clone(),
                english: text.clone(),
                product_types: vec![number],
            };
            answers! {
                staff quote_repair QuoteRepairRequest { request_id: id(), claim_id: claim_id.clone(), changes: vec![change.clone()] }
                staff quote_repair QuoteRepairRequest { request_id: request_id.clone(), claim_id: text.clone(), version: version }
                dealer accept_quote AcceptQuoteRequest { request_id: id(), claim_id: claim_id.clone(), version: long, quote_id: text.clone() }
                dealer decline_quote DeclineQuoteRequest { request_id: id(), claim_id: claim_id.clone(), version: long, quote_id: text.clone(), reason: text.clone() }
                dealer list_quotes ListQuotesRequest { claim_id: claim_id.clone(), page_size: number, page_token: text.clone() }
                staff record_payment RecordPaymentRequest { request_id: id(), claim_id: claim_id.clone(), amount: amount.clone(), reference: text.clone() }
                staff list_billable_repairs ListBillableRepairsRequest { after_sequence: long, page_size: number }
                staff set_prices SetPricesRequest { request_id: id(), prices: vec![price], vat: Some(VatRate { basis_points: number, valid_from_date: day }) }
                staff list_prices ListPricesRequest { date: day, page_size: number, page_token: text.clone() }
                dealer appeal_decision AppealDecisionRequest { request_id: text.clone(), claim_id: claim_id.clone(), reason: text.clone() }
                staff decide_appeal DecideAppealRequest { request_id: id(), claim_id: claim_id.clone(), outcome: number, reason: text.clone(), goodwill_remedy: number, goodwill_cost: amount.clone() }
                staff settle_voucher_dispute SettleVoucherDisputeRequest { request_id: id(), claim_id: claim_id.clone(), verdict: number, reason: text.clone() }
                staff put_fault PutFaultRequest { request_id: id(), fault: Some(fault) }
                dealer list_faults ListFaultsRequest { product_type: number, page_size: number, page_token: text.clone() }
                staff record_beyond_repair RecordBeyondRepairRequest { request_id: id(), claim_id: claim_id.clone(), reason: text.clone() }
                dealer preview_claim PreviewClaimRequest { serial: "FUZZ0001".into(), vouchers: Some(vouchers.clone()), language: number }
                dealer preview_claim PreviewClaimRequest { serial: text.clone(), vouchers: Some(vouchers) }
                dealer add_evidence AddEvidenceRequest { request_id: id(), claim_id: claim_id.clone(), evidence_id: text.clone(), kind: number, offset_bytes: long, data: text.clone().into(), size_bytes: long, sha256: text.clone().into() }
                dealer add_evidence AddEvidenceRequest { request_id: id(), claim_id: claim_id.clone(), evidence_id: id(), kind: 1, offset_bytes: long, data: text.clone().into() }
                dealer get_evidence GetEvidenceRequest { claim_id: claim_id.clone(), evidence_id: text.clone() }
                dealer watch_claims WatchClaimsRequest { cursor: text.clone(), serial: text.clone(), dealer_id: text.clone(), types: vec![number] }
                dealer watch_claims WatchClaimsRequest { cursor: long.to_string() }
            }
        }
    }
    assert_eq!(life.get(&claim_id).await.state(), ClaimState::Quoted);
}
