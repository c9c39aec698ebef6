//! What an answer says to people: its proof and its sentence in the caller's language, the dates that might have started the
//! warranty, how long it lasts; and what it says where no calendar tells.

use tonic::Code;
use warranty::{
    contract::v1::{self, *},
    domain::{
        calendar::LastDayOff,
        policy::{Policy, STANDARD_POLICY},
    },
};

use crate::world::{World, date, id, metadata, refusal, violations};

async fn asked(world: &World, request: CheckCoverageRequest) -> CheckCoverageResponse {
    world.dealer("D2").coverage.check_coverage(request).await.unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_speaks_the_callers_language() {
    let world = World::stocked().await;
    world.sold("WORDS001", 30).await;
    let question = |language: Language| CheckCoverageRequest {
        serial: "WORDS001".into(),
        date: Some(date("2026-06-01")),
        report: Some(FaultReport { fault_code: "NO_POWER".into(), ..Default::default() }),
        language: language.into(),
        ..Default::default()
    };
    let chinese = asked(&world, question(Language::Chinese)).await;
    assert_eq!(chinese.product_type(), ProductType::PoeSwitch);
    assert_eq!(chinese.summary, "在保修范围内：2027年5月16日（含当日）前报修，可免费维修（条款T2）。");
    let decision = chinese.decision.unwrap();
    let facts: Vec<_> = decision.checks.iter().map(|check| (check.clause(), check.held, check.fact.as_str())).collect();
    let expected = [
        (v1::Clause::S1, true, "产品类型为PoE交换机"),
        (v1::Clause::S2, true, "2026-01-10生产，承诺适用于2010-01-01起生产的产品"),
        (v1::Clause::S3, true, "由本公司销售"),
        (v1::Clause::S4, true, "销售地：CN-GD，使用地：未提供"),
        (v1::Clause::T12, false, "发票日期为2026-05-16"),
        (v1::Clause::T8, true, "有性能故障，外观无划伤"),
        (v1::Clause::T1, false, "2026-06-01晚于2026-05-16至2026-05-31"),
        (v1::Clause::T2, true, "2026-06-01属于2026-05-16至2027-05-16"),
        (v1::Clause::T7, false, "2026-06-01晚于2026-05-16至2026-05-23"),
        (v1::Clause::X2, false, "查询日期为2026-06-01"),
    ];
    assert_eq!(facts, expected);
    assert!(chinese.texts.iter().all(|text| !text.chinese.is_empty() && text.english.is_empty()));
    assert_eq!(decision.days_left, Some(349));

    let english = asked(&world, question(Language::English)).await;
    assert!(english.texts.iter().all(|text| text.chinese.is_empty() && !text.english.is_empty()));
    let unsaid = asked(&world, question(Language::Unspecified)).await;
    assert!(unsaid.texts.iter().all(|text| !text.chinese.is_empty() && !text.english.is_empty()));
    assert_eq!(unsaid.texts.len(), english.texts.len());
    assert_eq!(
        unsaid.summary,
        "Covered: the unit is repaired free of charge for a fault reported by 16 May 2027 (clause T2)."
    );
    assert_eq!((&unsaid.summary, &unsaid.decision), (&english.summary, &english.decision));
    let refused = CheckCoverageRequest { language: 9, ..question(Language::English) };
    let refused = world.dealer("D2").coverage.check_coverage(refused).await.unwrap_err();
    assert_eq!(violations(&refused)[0].0, "language");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_date_that_might_have_started_the_warranty_is_named_with_its_reason() {
    let world = World::stocked().await;
    world.sold("START001", 30).await;
    world.unit("START002").await;
    let sale = RegisterSaleRequest {
        request_id: id(),
        serial: "START002".into(),
        dealer_id: "D1".into(),
        sold_date: Some(date("2026-05-01")),
        ..Default::default()
    };
    world.staff().registry.register_sale(sale).await.unwrap();
    world.unit("START003").await;
    let candidate = |basis: StartBasis, day: Option<&str>, won, why: &str| StartCandidate {
        basis: basis.into(),
        date: day.map(date),
        won,
        why: why.into(),
    };
    let no_invoice = "no invoice: left the factory on 2026-01-20, starts 2 months later on 2026-03-20";
    let cases = [
        (
            "START001",
            [
                candidate(StartBasis::Invoice, Some("2026-05-16"), true, "invoice dated 2026-05-16"),
                candidate(
                    StartBasis::ExFactory,
                    Some("2026-03-20"),
                    false,
                    "an invoice is registered, and its date comes first",
                ),
            ],
        ),
        (
            "START002",
            [
                candidate(StartBasis::ExFactory, Some("2026-03-20"), true, no_invoice),
                candidate(
                    StartBasis::SaleWithoutInvoice,
                    Some("2026-05-01"),
                    false,
                    "the registered sale has no invoice: it gives the region alone",
                ),
            ],
        ),
        (
            "START003",
            [
                candidate(StartBasis::ExFactory, Some("2026-03-20"), true, no_invoice),
                candidate(StartBasis::Invoice, None, false, "no sale is registered"),
            ],
        ),
    ];
    for (serial, expected) in cases {
        let answer = asked(&world, CheckCoverageRequest { serial: serial.into(), ..Default::default() }).await;
        assert_eq!(answer.decision.unwrap().start_candidates, expected, "{serial}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_beyond_the_calendar_is_said_and_not_guessed() {
    let world = World::start().await;
    let standard: Policy = serde_json::from_str(STANDARD_POLICY).unwrap();
    let policy = Policy {
        version: "2026-06".into(),
        effective_on: "2026-06-01".parse().unwrap(),
        last_day_off: LastDayOff::RestDays,
        ..standard
    };
    sqlx::query("INSERT INTO policies (version, effective_on, body) VALUES ($1, $2, $3)")
        .bind(&policy.version)
        .bind(policy.effective_on)
        .bind(sqlx::types::Json(&policy))
        .execute(&mut world.owner().await)
        .await
        .unwrap();
    world.set("2026-06-16T04:00:00Z");
    let dealer = CreateDealerRequest { request_id: id(), dealer_id: "D1".into(), name: "Dealer D1".into() };
    world.staff().registry.create_dealer(dealer).await.unwrap();
    world.product("PS-1", false, &[]).await;
    world.sold("OFFDAY01", 10).await;
    let on =
        |day: &str| CheckCoverageRequest { serial: "OFFDAY01".into(), date: Some(date(day)), ..Default::default() };
    // Sold on Saturday 6 June; the first days end on Sunday 21 June, in the Dragon Boat holiday: on Monday.
    let decision = asked(&world, on("2026-06-22")).await.decision.unwrap();
    assert_eq!((decision.remedy(), &decision.policy_version[..]), (Remedy::DirectReplacement, "2026-06"));
    let window = |clause: v1::Clause, last: &str, last_date_open| Window {
        clause: clause.into(),
        first_date: Some(date("2026-06-06")),
        last_date: Some(date(last)),
        last_date_open,
        ..Default::default()
    };
    let expected = [
        window(v1::Clause::T1, "2026-06-22", false),
        window(v1::Clause::T2, "2027-06-06", true),
        window(v1::Clause::T7, "2026-06-15", false),
    ];
    assert_eq!(decision.windows, expected);
    assert_eq!(asked(&world, on("2027-06-06")).await.decision.unwrap().remedy(), Remedy::FreeRepair);
    let refused = world.dealer("D2").coverage.check_coverage(on("2027-06-07")).await.unwrap_err();
    assert_eq!(refusal(&refused), (Code::FailedPrecondition, "CALENDAR_ENDS".to_owned()));
    assert_eq!(metadata(&refused, "day"), "2027-06-06");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_keeps_the_day_the_unit_came_in() {
    let world = World::stocked().await;
    let mut staff = world.staff();
    world.unit("CAMEIN01").await;
    let repair = |received: Option<&str>, completed: &str| Repair {
        serial: "CAMEIN01".into(),
        received_date: received.map(date),
        completed_date: Some(date(completed)),
        fault_code: "NO_POWER".into(),
        ..Default::default()
    };
    let history = |repairs| RecordHistoryRequest { request_id: id(), repairs, replacements: vec![] };
    let mut refused = async |repair| {
        let refused = staff.registry.record_history(history(vec![repair])).await.unwrap_err();
        violations(&refused).pop().unwrap()
    };
    let rule = |rule: &str| ("repairs[0].received_date".to_owned(), rule.to_owned());
    let after = rule("must not lie after completed_date");
    assert_eq!(refused(repair(Some("2026-05-03"), "2026-05-02")).await, after);
    let before_made = rule("must not lie before the unit was manufactured");
    assert_eq!(refused(repair(Some("2026-01-09"), "2026-05-02")).await, before_made);
    let kept = vec![repair(None, "2026-05-01"), repair(Some("2026-05-02"), "2026-05-04")];
    staff.registry.record_history(history(kept.clone())).await.unwrap();
    let unit = staff.registry.get_unit(GetUnitRequest { serial: "CAMEIN01".into() }).await.unwrap().into_inner();
    assert_eq!(unit.repairs, kept);

    // Under a claim: the day it was received at the depot, in Shanghai.
    let claim = world.filed("CAMEIN02", 30).await.claim_id;
    let guidance = RecordGuidanceRequest {
        request_id: id(),
        claim_id: claim.clone(),
        outcome: GuidanceOutcome::Confirmed.into(),
        ..Default::default()
    };
    let guided = staff.claims.record_guidance(guidance).await.unwrap().into_inner().claim.unwrap();
    let opened = OpenReturnRequest {
        request_id: id(),
        claim_ids: vec![claim.clone()],
        carrier: "SF".into(),
        ..Default::default()
    };
    let parcel = world.dealer("D1").logistics.open_return(opened).await.unwrap().into_inner().shipment.unwrap();
    world.set("2026-06-19T17:00:00Z");
    let item = ReceivedItem {
        return_number: guided.return_number,
        serial: "CAMEIN02".into(),
        appearance: Appearance::Intact.into(),
        seal: Seal::Intact.into(),
        ..Default::default()
    };
    let received = ReceiveReturnRequest {
        request_id: id(),
        shipment_id: parcel.shipment_id,
        items: vec![item],
        ..Default::default()
    };
    world.staff().logistics.receive_return(received).await.unwrap();
    world.set("2026-06-24T04:00:00Z");
    let mut staff = world.staff();
    let inspection = RecordInspectionRequest { request_id: id(), claim_id: claim.clone(), ..Default::default() };
    staff.claims.record_inspection(inspection).await.unwrap();
    let repaired = RecordRepairRequest { request_id: id(), claim_id: claim, ..Default::default() };
    staff.claims.record_repair(repaired).await.unwrap();
    let unit = staff.registry.get_unit(GetUnitRequest { serial: "CAMEIN02".into() }).await.unwrap().into_inner();
    let days: Vec<_> = unit.repairs.iter().map(|repair| (repair.received_date, repair.completed_date)).collect();
    assert_eq!(days, [(Some(date("2026-06-20")), Some(date("2026-06-24")))]);
}
