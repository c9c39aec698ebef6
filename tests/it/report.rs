//! Reports: turnaround, failures and no fault found of a small world, counted by hand; and `warranty report`.

use std::collections::BTreeMap;

use tonic::{Code, Response};
use warranty::{
    client::{Addresses, Caller, ReportArgs, report},
    contract::v1::*,
    domain::actor::Actor,
};

use crate::{
    claims::{Life, Outcome},
    stock::Shelves,
    world::{AUDIENCE, ISSUER, World, date, filing, id, refusal, violations},
};

fn asked(kind: ReportKind, by: ReportBy) -> GetReportRequest {
    GetReportRequest {
        kind: kind.into(),
        by: by.into(),
        first_date: Some(date("2026-06-01")),
        last_date: Some(date("2026-06-30")),
        ..Default::default()
    }
}

async fn get(world: &World, request: GetReportRequest) -> Outcome<GetReportResponse> {
    world.staff().logistics.get_report(request).await.map(Response::into_inner)
}

/// Each row as `group STATE: stays mean p50 p90 longest; standing oldest`, in hours.
async fn turnaround(world: &World, request: GetReportRequest) -> Vec<String> {
    let told = get(world, request).await.unwrap();
    let line = |row: &TurnaroundRow| {
        let state = row.state().as_str_name().trim_start_matches("CLAIM_STATE_");
        let hours = [row.mean_seconds, row.p50_seconds, row.p90_seconds, row.max_seconds, row.oldest_seconds];
        let [mean, p50, p90, most, oldest] = hours.map(|seconds| seconds / 3_600);
        format!("{} {state}: {} {mean} {p50} {p90} {most}; {} {oldest}", row.group, row.left_count, row.open_count)
    };
    told.turnaround.iter().map(line).collect()
}

async fn inspect(world: &World, claim: &str, no_fault_found: bool, findings: &[Clause]) {
    let request = RecordInspectionRequest {
        request_id: id(),
        claim_id: claim.into(),
        no_fault_found,
        findings: findings.iter().map(|clause| (*clause).into()).collect(),
        ..Default::default()
    };
    world.staff().claims.record_inspection(request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn turnaround_counts_each_stay_that_ended_and_tells_apart_what_still_stands() {
    let world = World::stocked().await;
    let life = Life(&world);
    Shelves(&world).put("EAST", false).await;
    // Filed at 04:00 on the 15th; each step some hours after the one before.
    let (one, two) = (world.filed("TURN0001", 60).await, world.filed("TURN0002", 60).await);
    world.set("2026-06-15T06:00:00Z");
    let one = life.guide(&one.claim_id, GuidanceOutcome::Confirmed).await.unwrap();
    world.set("2026-06-15T14:00:00Z");
    let two = life.guide(&two.claim_id, GuidanceOutcome::Confirmed).await.unwrap();
    let parcel = life.open_return(&[&one.claim_id, &two.claim_id]).await.unwrap().shipment_id;
    world.set("2026-06-16T14:00:00Z");
    life.lose(&parcel, &[&one.claim_id]).await.unwrap();
    world.set("2026-06-16T20:00:00Z");
    let item = |claim: &Claim| ReceivedItem {
        return_number: claim.return_number.clone(),
        serial: claim.serial.clone(),
        ..Default::default()
    };
    let receive = |items, depot: &str| ReceiveReturnRequest {
        request_id: id(),
        shipment_id: parcel.clone(),
        items,
        depot: depot.into(),
    };
    let nowhere = world.staff().logistics.receive_return(receive(vec![item(&one)], "WEST")).await.unwrap_err();
    assert_eq!(refusal(&nowhere), (Code::NotFound, "NOT_FOUND".into()));
    world.staff().logistics.receive_return(receive(vec![item(&one)], "EAST")).await.unwrap();

    let turn = |by| asked(ReportKind::Turnaround, by);
    assert_eq!(
        turnaround(&world, turn(ReportBy::Depot)).await,
        [
            " AUTHORIZED: 1 0 0 0 0; 0 0",
            " FILED: 1 10 10 10 10; 0 0",
            " IN_TRANSIT: 0 0 0 0 0; 1 30",
            "EAST AUTHORIZED: 1 8 8 8 8; 0 0",
            "EAST FILED: 1 2 2 2 2; 0 0",
            "EAST IN_TRANSIT: 1 24 24 24 24; 0 0",
            "EAST LOST: 1 6 6 6 6; 0 0",
            "EAST RECEIVED: 0 0 0 0 0; 1 0",
        ]
    );
    let by_model = [
        "PS-1 AUTHORIZED: 2 4 0 8 8; 0 0",
        "PS-1 FILED: 2 6 2 10 10; 0 0",
        "PS-1 IN_TRANSIT: 1 24 24 24 24; 1 30",
        "PS-1 LOST: 1 6 6 6 6; 0 0",
        "PS-1 RECEIVED: 0 0 0 0 0; 1 0",
    ];
    assert_eq!(turnaround(&world, turn(ReportBy::Model)).await, by_model);
    assert_eq!(turnaround(&world, turn(ReportBy::Dealer)).await, by_model.map(|line| line.replace("PS-1", "D1")));
    let other = GetReportRequest { model: "PS-2".into(), ..turn(ReportBy::Model) };
    assert_eq!(turnaround(&world, other).await, [""; 0]);
    // Only what ended in the period: the 16th in Shanghai began at 16:00 on the 15th.
    let late = GetReportRequest { first_date: Some(date("2026-06-16")), ..turn(ReportBy::Model) };
    assert_eq!(turnaround(&world, late).await, by_model[2..]);
    // Pages of one row each come to the same.
    let (mut paged, mut request) = (Vec::new(), GetReportRequest { page_size: 1, ..turn(ReportBy::Model) });
    loop {
        let page = get(&world, request.clone()).await.unwrap();
        paged.extend(page.turnaround);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(paged, get(&world, turn(ReportBy::Model)).await.unwrap().turnaround);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_stands_in_its_state_since_it_came_to_it_however_often_it_is_quoted() {
    let world = World::stocked().await;
    let life = Life(&world);
    let claim = life.in_state("QUOTED01", 60, ClaimState::Quoted).await.claim_id;
    world.set("2026-06-15T10:00:00Z");
    life.quote(&claim, vec![]).await.unwrap();
    world.set("2026-06-15T13:00:00Z");
    life.appeal(&claim).await.unwrap();
    world.set("2026-06-15T14:00:00Z");
    let standing = turnaround(&world, asked(ReportKind::Turnaround, ReportBy::Model)).await;
    let quoted: Vec<_> = standing.iter().filter(|line| line.contains(" QUOTED:")).collect();
    assert_eq!(quoted, ["PS-1 QUOTED: 0 0 0 0 0; 1 10"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lot_of_any_text_has_a_page_after_it() {
    let world = World::stocked().await;
    let lots = ["", "2026 W05/A", "L1", "批次 七"];
    for (at, lot) in lots.iter().enumerate() {
        let serial = format!("LOT0000{at}");
        world.unit_like(&serial, |unit| unit.lot = (*lot).into()).await;
        let request = RegisterSaleRequest {
            request_id: id(),
            serial,
            sold_date: Some(date("2026-06-01")),
            invoice_number: "F1".into(),
            ..Default::default()
        };
        world.dealer("D1").registry.register_sale(request).await.unwrap();
    }
    let by_lot = asked(ReportKind::Failures, ReportBy::Lot);
    let mut request = GetReportRequest { model: "PS-1".into(), page_size: 1, ..by_lot };
    for (at, lot) in lots.iter().enumerate() {
        let page = get(&world, request.clone()).await.unwrap();
        let row = FailureRow { group: (*lot).into(), failed_count: 0, sold_count: 1, rate: 0.0 };
        assert_eq!((page.failures, page.next_page_token.is_empty()), (vec![row], at + 1 == lots.len()));
        request.page_token = page.next_page_token;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_by_model_page_over_models_that_sold() {
    let world = World::stocked().await;
    for (model, serial) in [("A-1", "MODELA01"), ("B-1", "MODELB01"), ("C-1", "MODELC01")] {
        world.product(model, false, &[]).await;
        world.unit_like(serial, |unit| unit.model = model.into()).await;
    }
    for serial in ["MODELA01", "MODELC01"] {
        let (request_id, serial, sold_date) = (id(), serial.into(), Some(date("2026-06-01")));
        let request =
            RegisterSaleRequest { request_id, serial, sold_date, invoice_number: "F1".into(), ..Default::default() };
        world.dealer("D1").registry.register_sale(request).await.unwrap();
    }
    let (mut found, mut request) =
        (Vec::new(), GetReportRequest { page_size: 1, ..asked(ReportKind::Failures, ReportBy::Model) });
    loop {
        let page = get(&world, request.clone()).await.unwrap();
        found.extend(page.failures.into_iter().map(|row| (row.group, row.sold_count)));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(found, [("A-1".to_owned(), 1), ("C-1".to_owned(), 1)]);
}

/// Four units of two lots and two months, all sold, all sent in: one failed twice, one was misused, one had no fault, one was only sold.
async fn inspected() -> World {
    let world = World::stocked().await;
    let life = Life(&world);
    for (serial, lot, left) in
        [("FAIL0001", "L1", "2026-01-20"), ("MISUSED1", "L1", "2026-02-20"), ("NOFAULT1", "L2", "2026-02-20")]
    {
        let claim = life.in_state(serial, 60, ClaimState::Received).await.claim_id;
        let findings = if serial == "MISUSED1" { vec![Clause::X3] } else { vec![] };
        inspect(&world, &claim, serial == "NOFAULT1", &findings).await;
        sqlx::query("UPDATE units SET lot = $2, ex_factory_on = $3::date WHERE serial = $1")
            .bind(serial)
            .bind(lot)
            .bind(left)
            .execute(&mut world.owner().await)
            .await
            .unwrap();
        if serial == "FAIL0001" {
            life.repair(&claim).await.unwrap();
            let parcel = life.dispatch(&[(&claim, "")]).await.unwrap().shipment_id;
            life.deliver(&parcel).await.unwrap();
        }
    }
    let again = world.dealer("D1").claims.file_claim(filing("FAIL0001")).await.unwrap().into_inner();
    let again = life.guide(&again.claim.unwrap().claim_id, GuidanceOutcome::Confirmed).await.unwrap();
    let parcel = life.open_return(&[&again.claim_id]).await.unwrap().shipment_id;
    life.receive(&again, &parcel, |_| {}).await.unwrap();
    inspect(&world, &again.claim_id, false, &[]).await;
    world.sold("SOLD0001", 60).await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_fails_once_and_never_by_its_users_fault() {
    let world = inspected().await;
    let failures = async |by, model: &str| {
        let request = GetReportRequest { model: model.into(), ..asked(ReportKind::Failures, by) };
        let rows = get(&world, request).await.unwrap().failures.into_iter();
        rows.map(|row| (row.group, (row.failed_count, row.sold_count, row.rate))).collect::<BTreeMap<_, _>>()
    };
    let rows = |rows: &[(&str, (i64, i64, f64))]| {
        rows.iter().map(|(group, row)| ((*group).to_owned(), *row)).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(failures(ReportBy::Model, "").await, rows(&[("PS-1", (1, 4, 0.25))]));
    assert_eq!(
        failures(ReportBy::Lot, "PS-1").await,
        rows(&[("", (0, 1, 0.0)), ("L1", (1, 2, 0.5)), ("L2", (0, 1, 0.0))])
    );
    assert_eq!(
        failures(ReportBy::FactoryMonth, "PS-1").await,
        rows(&[("2026-01", (1, 2, 0.5)), ("2026-02", (0, 2, 0.0))])
    );
    let none = asked(ReportKind::NoFaultFound, ReportBy::Dealer);
    let row = NoFaultFoundRow { group: "D1".into(), no_fault_found_count: 1, inspected_count: 4, rate: 0.25 };
    assert_eq!(get(&world, none.clone()).await.unwrap().no_fault_found, [row]);
    let later = GetReportRequest { first_date: Some(date("2026-07-01")), last_date: Some(date("2026-07-01")), ..none };
    assert_eq!(get(&world, later).await.unwrap().no_fault_found, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_report_does_not_have_is_refused_by_field() {
    let world = World::start().await;
    let empty = get(&world, GetReportRequest::default()).await.unwrap_err();
    let fields: Vec<_> = violations(&empty).into_iter().map(|(field, _)| field).collect();
    assert_eq!(fields, ["kind", "by", "first_date", "last_date"]);
    let refused = get(&world, asked(ReportKind::NoFaultFound, ReportBy::Lot)).await.unwrap_err();
    assert_eq!(
        violations(&refused),
        [
            ("by".to_owned(), "NO_FAULT_FOUND is by DEALER, MODEL".to_owned()),
            ("model".to_owned(), "is required by LOT".to_owned())
        ]
    );
    let long =
        GetReportRequest { first_date: Some(date("2020-01-01")), ..asked(ReportKind::Failures, ReportBy::Model) };
    assert_eq!(violations(&get(&world, long).await.unwrap_err())[0].0, "last_date");
    // Other groups of the same report are another page.
    let token = GetReportRequest { page_token: "x".into(), ..asked(ReportKind::Failures, ReportBy::Model) };
    assert_eq!(violations(&get(&world, token).await.unwrap_err())[0].0, "page_token");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_prints_writes_and_draws_it() {
    let world = inspected().await;
    let folder = std::env::temp_dir().join(format!("warranty-report-{}", id()));
    std::fs::create_dir(&folder).unwrap();
    let (actor, hour) = (Actor::Staff("S1".into()), chrono::Duration::hours(1));
    let token = world.issuer.mint(&actor, "depot.write", hour, ISSUER, AUDIENCE, world.clock.now()).unwrap();
    let (csv, svg) = (folder.join("report.csv"), folder.join("report.svg"));
    let args = ReportArgs {
        what: warranty::domain::report::ReportKind::Failures,
        by: warranty::domain::report::ReportBy::Lot,
        first: Some("2026-06-01".parse().unwrap()),
        last: Some("2026-06-30".parse().unwrap()),
        model: "PS-1".into(),
        csv: Some(csv.clone()),
        svg: Some(svg.clone()),
        caller: Caller {
            addresses: Addresses {
                coverage: format!("http://{}", world.coverage),
                claim: format!("http://{}", world.claim),
                logistics: format!("http://{}", world.logistics),
                issuer_url: String::new(),
            },
            token: Some(token),
            kind: None,
            id: None,
        },
    };
    report(args).await.unwrap();
    let written = std::fs::read_to_string(csv).unwrap();
    assert_eq!(written, "group,failed,sold,per cent\n(none),0,1,0.00\nL1,1,2,50.00\nL2,0,1,0.00\n");
    let drawn = std::fs::read_to_string(svg).unwrap();
    let picture = roxmltree::Document::parse(&drawn).unwrap();
    let words: Vec<String> = picture
        .descendants()
        .filter(|node| node.has_tag_name("text"))
        .map(|node| node.text().unwrap_or_default().trim().to_owned())
        .collect();
    assert!(
        words[0].starts_with("Units failed over units sold, PS-1, 2026-06-01 to 2026-06-30, as of 2026-06-15 04:00")
    );
    assert_eq!(words[1..4], ["in %", "L1", "50.00 %, 1 of 2"], "the longest first");
    std::fs::remove_dir_all(folder).unwrap();
}
