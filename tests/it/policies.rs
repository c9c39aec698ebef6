//! Policy as data: a version is published, holds for later sales alone, and nobody is served under an older one; what a draft
//! would change is told before it is published.

use std::{process::Output, time::Duration};

use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use tokio::process::Command;
use tonic::{Code, Status};
use warranty::{
    contract::v1::*,
    domain::{actor::Actor, coverage::decide, policy::STANDARD_POLICY},
    store,
};

use crate::{
    claims::Life,
    world::{AUDIENCE, ISSUER, World, contact, date, filing, id, refusal, violations},
};

// ---- drafts and questions

/// The standard's document with these changes, as a version of its own.
fn draft(version: &str, effective_on: &str, change: impl FnOnce(&mut Value)) -> String {
    let mut document: Value = serde_json::from_str(STANDARD_POLICY).unwrap();
    (document["version"], document["effective_on"]) = (json!(version), json!(effective_on));
    change(&mut document);
    document.to_string()
}

/// Half a year of free repair, another number to call, and another text of X2.
fn harsher(version: &str, effective_on: &str) -> String {
    draft(version, effective_on, |document| {
        document["terms"]["repair_months"] = json!(6);
        document["contact"]["telephone"] = json!("400-000-0001");
        document["texts"]["X2"]["en"] = json!("Half a year is over.");
    })
}

async fn publish(world: &World, document: &str) -> Result<PolicyVersion, Status> {
    let request = PublishPolicyRequest { request_id: id(), document: document.into() };
    Ok(world.staff().registry.publish_policy(request).await?.into_inner().policy.unwrap())
}

async fn publish_year(world: &World, year: i32, holidays: &[&str], workdays: &[&str]) -> Result<i32, Status> {
    let days = |days: &[&str]| days.iter().map(|day| date(day)).collect();
    let (holidays, workdays) = (days(holidays), days(workdays));
    let request = PublishCalendarYearRequest { request_id: id(), year, holidays, workdays };
    Ok(world.staff().registry.publish_calendar_year(request).await?.into_inner().year)
}

/// A unit of 2024 that D1 sold on a day, with an invoice.
async fn sold_on(world: &World, serial: &str, day: &str) {
    let made = |unit: &mut Unit| {
        unit.manufactured_date = Some(date("2024-01-10"));
        unit.ex_factory_date = Some(date("2024-01-20"));
    };
    world.unit_like(serial, made).await;
    let request = RegisterSaleRequest {
        request_id: id(),
        serial: serial.into(),
        sold_date: Some(date(day)),
        invoice_number: format!("F-{serial}"),
        region: "CN-GD".into(),
        customer: Some(contact()),
        ..Default::default()
    };
    world.dealer("D1").registry.register_sale(request).await.unwrap();
}

/// The remedy, its clauses, and the version that decided.
fn ruling(decision: &Decision) -> String {
    let clauses: Vec<_> = decision.clauses().map(|clause| clause.as_str_name().trim_start_matches("CLAUSE_")).collect();
    let remedy = decision.remedy().as_str_name().trim_start_matches("REMEDY_");
    format!("{remedy} by {} under {}", clauses.join(" "), decision.policy_version)
}

/// What the coverage process decides for a day, and the number to call.
async fn checked(world: &World, serial: &str, day: &str) -> Result<(String, String), Status> {
    let request = CheckCoverageRequest { serial: serial.into(), date: Some(date(day)), ..Default::default() };
    let reply = world.dealer("D1").coverage.check_coverage(request).await?.into_inner();
    Ok((ruling(&reply.decision.unwrap()), reply.contact.unwrap_or_default().telephone))
}

/// What the claim process decides today, and the number to call.
async fn filed(world: &World, serial: &str) -> Result<(Claim, String, String), Status> {
    let reply = world.dealer("D1").claims.file_claim(filing(serial)).await?.into_inner();
    let claim = reply.claim.unwrap();
    let ruling = ruling(claim.provisional_decision.as_ref().unwrap());
    Ok((claim, ruling, reply.contact.unwrap_or_default().telephone))
}

fn pair(ruling: &str, telephone: &str) -> (String, String) {
    (ruling.into(), telephone.into())
}

// ---- a version holds for later sales

#[tokio::test(flavor = "multi_thread")]
async fn a_version_holds_for_later_sales_in_every_process_and_never_for_earlier_ones() {
    let world = World::stocked().await;
    for serial in ["EARLY", "KNOWN"] {
        sold_on(&world, serial, "2026-06-15").await;
    }
    // Both processes have asked for the policies once.
    let standard = pair("FREE_REPAIR by T2 under 2010-01", "");
    assert_eq!(checked(&world, "EARLY", "2027-03-01").await.unwrap(), standard);
    filed(&world, "KNOWN").await.unwrap();

    let published = publish(&world, &harsher("2026-07", "2026-07-01")).await.unwrap();
    assert_eq!((published.version.as_str(), published.effective_date), ("2026-07", Some(date("2026-07-01"))));
    world.set("2026-07-10T04:00:00Z");
    sold_on(&world, "LATER", "2026-07-01").await;
    sold_on(&world, "LATE", "2026-06-30").await;

    let half_a_year = pair("PAID_SERVICE by X2 under 2026-07", "400-000-0001");
    for (serial, expected) in [("EARLY", &standard), ("LATE", &standard), ("LATER", &half_a_year)] {
        assert_eq!(checked(&world, serial, "2027-03-01").await.unwrap(), *expected, "{serial}, asked");
    }
    world.set("2027-03-01T04:00:00Z");
    for (serial, expected) in [("EARLY", &standard), ("LATE", &standard), ("LATER", &half_a_year)] {
        let (claim, ruling, telephone) = filed(&world, serial).await.unwrap();
        assert_eq!((ruling, telephone), *expected, "{serial}, filed");
        let request = GetClaimRequest { claim_id: claim.claim_id, ..Default::default() };
        let read = world.dealer("D1").claims.get_claim(request).await.unwrap().into_inner();
        assert_eq!(read.contact.unwrap_or_default().telephone, expected.1, "{serial}, read");
        let over = read.texts.into_iter().find(|text| text.clause() == Clause::X2).unwrap().english;
        let known = ["The warranty period is over.", "Half a year is over."][usize::from(serial == "LATER")];
        assert_eq!(over, known, "{serial}, its version's text");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_after_an_acknowledged_publication_rests_on_it() {
    let world = World::stocked().await;
    let mut day = chrono::NaiveDate::from_ymd_opt(2026, 6, 15).unwrap();
    for number in 0..10 {
        let tomorrow = day.succ_opt().unwrap();
        let version = format!("V{number}");
        publish(&world, &harsher(&version, &tomorrow.to_string())).await.unwrap();
        day = tomorrow;
        world.set(&format!("{day}T04:00:00Z"));
        let serial = format!("UNIT{number}");
        sold_on(&world, &serial, &day.to_string()).await;
        let expected = format!("DIRECT_REPLACEMENT by T1 T8 under {version}");
        // Whichever process is asked first.
        if number % 2 == 0 {
            assert_eq!(checked(&world, &serial, &day.to_string()).await.unwrap().0, expected);
        }
        assert_eq!(filed(&world, &serial).await.unwrap().1, expected);
    }
}

// ---- what may be published

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_is_refused_with_each_of_its_faults() {
    let world = World::start().await;
    let one = |field: &str, rule: &str| vec![(field.to_owned(), rule.to_owned())];
    let unknown = draft("V", "2026-07-01", |document| document["terms"]["repair_days"] = json!(1));
    let told = "line 1 column ";
    let broken = [
        ("".to_owned(), "line 1 column 0: EOF while parsing a value"),
        ("{}".to_owned(), "line 1 column 2: missing field `version`"),
        (draft("V", "2026-07-01", |_| {}) + "1", "trailing characters"),
        (unknown, "unknown field `repair_days`, expected one of `replacement_days`"),
        (draft("V", "2026-07-01", |document| document["texts"]["T99"] = json!({})), "unknown variant `T99`"),
        (
            draft("V", "2026-07-01", |document| document["terms"]["repair_months"] = json!(-1)),
            "invalid value: integer `-1`",
        ),
        (draft("V", "2026-13-01", |_| {}), "input is out of range"),
        (draft("V", "2026-07-01", |_| {}).replacen('{', r#"{"version":"W","#, 1), "duplicate field `version`"),
    ];
    for (document, rule) in broken {
        let found = violations(&publish(&world, &document).await.unwrap_err());
        let [(field, said)] = &found[..] else { panic!("{found:?}") };
        assert!(field == "document" && said.starts_with(told) && said.contains(rule), "{said}");
    }
    let twice =
        draft("V", "2026-07-01", |_| {}).replacen(r#""texts":{"#, r#""texts":{"P1":{"zh":"一","en":"one"},"#, 1);
    let twice = publish(&world, &twice).await.unwrap_err();
    assert_eq!(violations(&twice), one("document", "has a name twice in one object"));
    let long = publish(&world, &" ".repeat(256 * 1024 + 1)).await.unwrap_err();
    assert_eq!(violations(&long), one("document", "has at most 262144 bytes"));

    let wrong = draft("a b", "1970-01-01", |document| {
        document["terms"]["repair_months"] = json!(601);
        document["contact"]["telephone"] = json!(" ");
        document["texts"].as_object_mut().unwrap().remove("T1");
        document["texts"]["T2"]["en"] = json!("");
    });
    let expected = [
        ("document.version", "must be 1 to 40 letters, digits, dots, hyphens and underscores"),
        ("document.effective_on", "must lie in 1990 to 2100"),
        ("document.terms.repair_months", "must be 0 to 600 months"),
        ("document.contact.telephone", "must be 1 to 100 characters"),
        ("document.texts.T1", "is missing"),
        ("document.texts.T2.en", "must be 1 to 2000 characters"),
    ];
    let expected: Vec<_> = expected.map(|(field, rule)| (field.to_owned(), rule.to_owned())).into();
    let wrong_request = PublishPolicyRequest { request_id: id(), document: wrong.clone() };
    let refused = world.staff().registry.publish_policy(wrong_request).await.unwrap_err();
    assert_eq!(
        (refusal(&refused), violations(&refused)),
        ((Code::InvalidArgument, "INVALID_FIELDS".into()), expected.clone())
    );
    let request = SimulatePolicyRequest { document: wrong, from_time: None };
    let refused = world.staff().registry.simulate_policy(request).await.unwrap_err();
    assert_eq!(violations(&refused), expected);
    assert_eq!(listed(&world).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_comes_later_has_a_name_and_a_date_of_its_own_and_is_safe_to_send_twice() {
    let world = World::start().await;
    // Seven in the evening of 14 June in London is 15 June in Shanghai.
    world.set("2026-06-14T18:00:00Z");
    let today = publish(&world, &draft("2026-06", "2026-06-15", |_| {})).await.unwrap_err();
    let rule = "must lie after today: a version holds for later sales";
    assert_eq!(violations(&today), [("document.effective_on".to_owned(), rule.to_owned())]);

    let document = draft("2026-07", "2026-06-16", |_| {});
    let request = PublishPolicyRequest { request_id: id(), document: document.clone() };
    let first = world.staff().registry.publish_policy(request.clone()).await.unwrap().into_inner();
    let published = first.policy.clone().unwrap();
    assert_eq!(
        (published.published_by.as_str(), published.published_time.unwrap().seconds),
        ("staff/S1", world.clock.now().timestamp())
    );
    let said: Value = serde_json::from_str(&published.document).unwrap();
    assert_eq!(said, serde_json::from_str::<Value>(&document).unwrap());
    // Sent again when its day has come it still gets the first reply.
    world.set("2026-07-01T00:00:00Z");
    assert_eq!(world.staff().registry.publish_policy(request).await.unwrap().into_inner(), first);

    for (again, told) in [
        (draft("2026-07", "2026-08-01", |_| {}), "the policy version"),
        (draft("2010-01", "2026-08-01", |_| {}), "the policy version"),
        (draft("2026-08", "2026-06-16", |_| {}), "must lie after today"),
    ] {
        assert!(publish(&world, &again).await.unwrap_err().message().contains(told), "{told}");
    }
    publish(&world, &draft("2026-08", "2026-08-01", |_| {})).await.unwrap();
    let same_day = publish(&world, &draft("2026-09", "2026-08-01", |_| {})).await.unwrap_err();
    assert_eq!(refusal(&same_day), (Code::AlreadyExists, "ALREADY_EXISTS".into()));
    assert!(same_day.message().starts_with("a policy version for that date"), "{}", same_day.message());

    let listed = listed(&world).await;
    let names: Vec<_> = listed.iter().map(|policy| (policy.version.as_str(), policy.published_by.as_str())).collect();
    assert_eq!(names, [("2010-01", ""), ("2026-07", "staff/S1"), ("2026-08", "staff/S1")]);
    assert_eq!((listed[0].effective_date, listed[0].published_time), (Some(date("2010-01-01")), None));
    assert_eq!(listed[1], published);
    let standard: Value = serde_json::from_str(&listed[0].document).unwrap();
    assert_eq!(standard, serde_json::from_str::<Value>(STANDARD_POLICY).unwrap());
}

async fn listed(world: &World) -> Vec<PolicyVersion> {
    world.staff().registry.list_policies(ListPoliciesRequest {}).await.unwrap().into_inner().policies
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_known_at_a_moment_is_what_was_published_by_then() {
    let world = World::start().await;
    let before = world.clock.now();
    world.set("2026-06-16T04:00:00Z");
    publish(&world, &harsher("2026-07", "2026-07-01")).await.unwrap();
    publish_year(&world, 2027, &["2027-01-01"], &[]).await.unwrap();
    let mut owner = world.owner().await;
    let stamp = store::policies::stamp(&mut owner).await.unwrap();
    for (known_at, versions, last_year) in [
        (None, vec!["2010-01", "2026-07"], 2027),
        (Some(world.clock.now()), vec!["2010-01", "2026-07"], 2027),
        (Some(before), vec!["2010-01"], 2026),
    ] {
        let rulebook = store::policies::published(&mut owner, known_at).await.unwrap();
        let names: Vec<_> = rulebook.policies.versions().iter().map(|policy| policy.version.as_str()).collect();
        assert_eq!((names, rulebook.stamp), (versions, stamp));
        assert_eq!(rulebook.policies.calendar().years().last().unwrap().0, last_year);
    }
}

// ---- calendars

#[tokio::test(flavor = "multi_thread")]
async fn a_calendar_year_is_published_once_and_with_each_of_its_faults_refused() {
    let world = World::start().await;
    let refused =
        publish_year(&world, 2027, &["2027-01-01", "2028-01-01"], &["2027-01-04", "2027-01-09"]).await.unwrap_err();
    let expected = [
        ("holidays", "2028-01-01 does not lie in 2027"),
        ("workdays", "2027-01-04 is neither a Saturday nor a Sunday"),
    ];
    let expected: Vec<_> = expected.map(|(field, rule)| (field.to_owned(), rule.to_owned())).into();
    assert_eq!(violations(&refused), expected);
    let refused = publish_year(&world, 12, &["2027-02-30"], &[]).await;
    let refused = violations(&refused.unwrap_err());
    assert_eq!(refused.iter().map(|(field, _)| field.as_str()).collect::<Vec<_>>(), ["year", "holidays[0]"]);
    let many = publish_year(&world, 2027, &["2027-01-01"; 367], &[]).await.unwrap_err();
    assert_eq!(refusal(&many), (Code::ResourceExhausted, "TOO_LARGE".into()));

    assert_eq!(publish_year(&world, 2027, &["2027-01-01"], &["2027-01-09"]).await.unwrap(), 2027);
    for year in [2026, 2027] {
        let again = publish_year(&world, year, &[], &[]).await.unwrap_err();
        assert_eq!(refusal(&again), (Code::AlreadyExists, "ALREADY_EXISTS".into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_hangs_on_a_year_without_a_calendar_is_refused_until_that_is_published() {
    let world = World::stocked().await;
    let moving = draft("2026-07", "2026-07-01", |document| document["last_day_off"] = json!("PUBLIC_HOLIDAYS"));
    publish(&world, &moving).await.unwrap();
    world.set("2026-07-05T04:00:00Z");
    // A year later is 4 July 2027.
    sold_on(&world, "SN01", "2026-07-04").await;
    sold_on(&world, "SN02", "2026-07-04").await;
    let asked = checked(&world, "SN01", "2027-07-05").await.unwrap_err();
    assert_eq!(refusal(&asked), (Code::FailedPrecondition, "CALENDAR_ENDS".into()));
    world.set("2027-07-05T04:00:00Z");
    let refused = filed(&world, "SN01").await.unwrap_err();
    assert_eq!(refusal(&refused), (Code::FailedPrecondition, "CALENDAR_ENDS".into()));

    publish_year(&world, 2027, &["2027-07-04"], &[]).await.unwrap();
    let moved = "FREE_REPAIR by T2 under 2026-07";
    assert_eq!(filed(&world, "SN01").await.unwrap().1, moved, "filed first");
    assert_eq!(checked(&world, "SN02", "2027-07-05").await.unwrap().0, moved);
    assert_eq!(checked(&world, "SN02", "2027-07-06").await.unwrap().0, "PAID_SERVICE by X2 under 2026-07");
}

// ---- decisions made again

/// Claims through several ways: each one's unit, and its claim as it stands.
async fn claims_of_many_ways(world: &World) -> Vec<Claim> {
    let life = Life(world);
    let mut claims = Vec::new();
    // Ten months ago: confirmed.
    sold_on(world, "YEAR1", "2025-08-15").await;
    let claim = filed(world, "YEAR1").await.unwrap().0;
    claims.push(life.guide(&claim.claim_id, GuidanceOutcome::Confirmed).await.unwrap());
    // Three days ago: swapped.
    claims.push(life.in_state("SWAP1", 3, ClaimState::Swapped).await);
    // Ten months ago, an accessory.
    sold_on(world, "CORD1", "2025-08-15").await;
    let accessory = FaultReport { part: Part::Accessory.into(), ..Default::default() };
    let request = FileClaimRequest { report: Some(accessory), ..filing("CORD1") };
    claims.push(world.dealer("D1").claims.file_claim(request).await.unwrap().into_inner().claim.unwrap());
    // Five months ago: repaired.
    claims.push(life.in_state("FIVE1", 150, ClaimState::Ready).await);
    // Ten months ago: inspected, and the seal was broken.
    sold_on(world, "SEAL1", "2025-08-15").await;
    let claim = filed(world, "SEAL1").await.unwrap().0;
    let claim = life.guide(&claim.claim_id, GuidanceOutcome::Confirmed).await.unwrap();
    let parcel = life.open_return(&[&claim.claim_id]).await.unwrap();
    life.receive(&claim, &parcel.shipment_id, |_| {}).await.unwrap();
    claims.push(life.inspect(&claim.claim_id, &[Clause::X3]).await.unwrap());
    // Two years ago: over by any count.
    sold_on(world, "OVER1", "2024-06-01").await;
    claims.push(filed(world, "OVER1").await.unwrap().0);
    claims
}

async fn simulate(world: &World, document: &str, from: Option<&str>) -> Result<Vec<SimulatePolicyResponse>, Status> {
    let from_time = from.map(|from| {
        let seconds = from.parse::<chrono::DateTime<chrono::Utc>>().unwrap().timestamp();
        prost_types::Timestamp { seconds, nanos: 0 }
    });
    let request = SimulatePolicyRequest { document: document.into(), from_time };
    let mut replies = world.staff().registry.simulate_policy(request).await?.into_inner();
    let mut told = Vec::new();
    while let Some(reply) = replies.message().await? {
        told.push(reply);
    }
    Ok(told)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_simulation_tells_exactly_what_would_change() {
    let world = World::stocked().await;
    let claims = claims_of_many_ways(&world).await;
    let [told] = &simulate(&world, STANDARD_POLICY, None).await.unwrap()[..] else { panic!("one page") };
    // Filed and confirmed; swapped, too; filed; inspected, too; inspected, too; filed.
    let total = 2 + 3 + 1 + 3 + 3 + 1;
    let none = SimulatePolicyResponse { total_count: total, done_count: total, changed_count: 0, changed: vec![] };
    assert_eq!(*told, none, "the policy that decided changes nothing");

    let change = |claim: &Claim, sequence| ChangedDecision {
        claim_id: claim.claim_id.clone(),
        sequence,
        serial: claim.serial.clone(),
        recorded_remedy: Remedy::FreeRepair.into(),
        recorded_clauses: vec![Clause::T2.into()],
        simulated_remedy: Remedy::PaidService.into(),
        simulated_clauses: vec![Clause::X2.into()],
    };
    let changed = vec![change(&claims[0], 1), change(&claims[0], 2), change(&claims[4], 1), change(&claims[4], 2)];
    let expected = SimulatePolicyResponse { total_count: total, done_count: total, changed_count: 4, changed };
    let expected = [expected];
    assert_eq!(simulate(&world, &harsher("2026-07", "2026-07-01"), None).await.unwrap(), expected);

    // Nothing is written, and what is published does not matter: the draft stands alone.
    publish(&world, &draft("2026-08", "2026-08-01", |document| document["terms"]["repair_months"] = json!(60)))
        .await
        .unwrap();
    assert_eq!(simulate(&world, &harsher("2026-07", "2026-07-01"), None).await.unwrap(), expected);
    assert_eq!(listed(&world).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_simulation_decides_those_recorded_from_a_moment_on_and_says_where_a_calendar_is_missing() {
    let world = World::stocked().await;
    sold_on(&world, "OLD1", "2025-08-15").await;
    filed(&world, "OLD1").await.unwrap();
    world.set("2027-02-01T04:00:00Z");
    // Seven months end on 20 January 2027, or later: nobody knows the days off of that year.
    sold_on(&world, "NEW1", "2026-06-20").await;
    let claim = filed(&world, "NEW1").await.unwrap().0;
    let moving = draft("2026-07", "2026-07-01", |document| {
        document["last_day_off"] = json!("REST_DAYS");
        document["terms"]["repair_months"] = json!(7);
    });
    let [told] = &simulate(&world, &moving, Some("2027-02-01T04:00:00Z")).await.unwrap()[..] else {
        panic!("one page")
    };
    let change = ChangedDecision {
        claim_id: claim.claim_id,
        sequence: 1,
        serial: "NEW1".into(),
        recorded_remedy: Remedy::FreeRepair.into(),
        recorded_clauses: vec![Clause::T2.into()],
        simulated_remedy: Remedy::Unspecified.into(),
        simulated_clauses: vec![],
    };
    let expected = SimulatePolicyResponse { total_count: 1, done_count: 1, changed_count: 1, changed: vec![change] };
    assert_eq!(*told, expected);
    let nothing = SimulatePolicyResponse::default();
    world.set("2027-02-02T04:00:00Z");
    assert_eq!(simulate(&world, &moving, Some("2027-02-01T04:00:01Z")).await.unwrap(), [nothing]);
}

/// Records the first decision of a claim again, under numbers from 2 to `last`.
async fn repeat(world: &World, claim: &Claim, last: i32) {
    let claim_id = &claim.claim_id;
    let events = format!(
        "INSERT INTO claim_events (claim_id, sequence, facts, state, recorded_at, actor, hash)
         SELECT claim_id, n, facts, state, recorded_at, actor, hash FROM claim_events, generate_series(2, {last}) n WHERE claim_id = '{claim_id}'"
    );
    let decisions = format!(
        "INSERT INTO claim_decisions (claim_id, sequence, stage, remedy, policy_version, facts, report, decision)
         SELECT claim_id, n, stage, remedy, policy_version, facts, report, decision
           FROM claim_decisions, generate_series(2, {last}) n WHERE claim_id = '{claim_id}'"
    );
    let mut owner = world.owner().await;
    for sql in [events, decisions] {
        sqlx::query(AssertSqlSafe(sql)).execute(&mut owner).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_simulation_goes_page_by_page_and_ends_where_a_page_cannot_be_read() {
    let world = World::stocked().await;
    sold_on(&world, "MANY1", "2025-08-15").await;
    let claim = filed(&world, "MANY1").await.unwrap().0;
    repeat(&world, &claim, 1_203).await;
    let told = simulate(&world, &harsher("2026-07", "2026-07-01"), None).await.unwrap();
    let steps: Vec<_> = told.iter().map(|reply| (reply.done_count, reply.changed_count, reply.total_count)).collect();
    assert_eq!(steps, [(500, 500, 1_203), (1_000, 1_000, 1_203), (1_203, 1_203, 1_203)]);
    let numbers: Vec<_> = told.iter().flat_map(|reply| &reply.changed).map(|change| change.sequence).collect();
    assert_eq!(numbers, (1..=1_203).collect::<Vec<_>>());

    // They can be counted, and not read.
    let mut owner = world.owner().await;
    for sql in [
        "REVOKE SELECT ON claim_decisions FROM warranty_coverage",
        "GRANT SELECT (claim_id, sequence) ON claim_decisions TO warranty_coverage",
    ] {
        sqlx::query(sql).execute(&mut owner).await.unwrap();
    }
    let request = SimulatePolicyRequest { document: STANDARD_POLICY.into(), from_time: None };
    let mut replies = world.staff().registry.simulate_policy(request).await.unwrap().into_inner();
    assert_eq!(refusal(&replies.message().await.unwrap_err()), (Code::Internal, "INTERNAL".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_decision_can_be_made_again_exactly_whatever_changed_since() {
    let world = World::stocked().await;
    let mut claims = claims_of_many_ways(&world).await;
    // One whose year ends in 2027, by a policy that asks which days of it are off.
    let moving = draft("2026-07", "2026-07-01", |document| document["last_day_off"] = json!("REST_DAYS"));
    publish(&world, &moving).await.unwrap();
    world.set("2026-07-05T04:00:00Z");
    sold_on(&world, "OPEN1", "2026-07-04").await;
    claims.push(filed(&world, "OPEN1").await.unwrap().0);

    // The registry, the policies and the calendar change.
    world.set("2026-08-01T04:00:00Z");
    let request = RegisterSaleRequest {
        request_id: id(),
        serial: "YEAR1".into(),
        dealer_id: "D2".into(),
        sold_date: Some(date("2024-02-01")),
        version: 1,
        ..Default::default()
    };
    world.staff().registry.register_sale(request).await.unwrap();
    assert_eq!(checked(&world, "YEAR1", "2026-08-01").await.unwrap().0, "PAID_SERVICE by X2 under 2010-01");
    publish(&world, &harsher("2026-09", "2026-09-01")).await.unwrap();
    publish_year(&world, 2027, &["2027-01-01"], &[]).await.unwrap();
    world.set("2028-08-01T04:00:00Z");

    let ids: Vec<_> = claims.iter().map(|claim| claim.claim_id.parse().unwrap()).collect();
    let mut owner = world.owner().await;
    let recorded = store::claims::decisions(&mut owner, &ids).await.unwrap();
    assert_eq!(recorded.len(), 14);
    for stored in recorded {
        let made = stored.decided;
        let events = store::claims::events(&mut owner, stored.claim_id, stored.sequence - 1, 1).await.unwrap();
        let known_then = store::policies::published(&mut owner, Some(events[0].recorded_at)).await.unwrap().policies;
        let again = decide(&known_then, &made.facts, &made.report).unwrap();
        assert_eq!(again, made.decision, "{} {}", stored.claim_id, stored.sequence);
    }
}

// ---- the command line

/// A draft in a file of its own, removed at the end.
struct File(std::path::PathBuf);

impl File {
    fn of(document: &str) -> Self {
        let path = std::env::temp_dir().join(format!("draft-{}.json", id()));
        std::fs::write(&path, document).unwrap();
        Self(path)
    }

    /// `warranty policy WORD FILE`, with these arguments.
    async fn run(&self, word: &str, args: &[&str]) -> (bool, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_warranty"));
        command.args(["policy", word]).arg(&self.0).args(args).kill_on_drop(true);
        let ended = tokio::time::timeout(Duration::from_secs(60), command.output()).await.unwrap().unwrap();
        let Output { status, stdout, stderr } = ended;
        (status.success(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[tokio::test]
async fn verify_tells_every_fault_or_shows_the_draft_beside_the_standard() {
    let wrong = draft("2099-01", "2099-01-01", |document| {
        document["terms"]["repair_months"] = json!(601);
        document["texts"]["T2"]["en"] = json!("");
    });
    let said = "terms.repair_months: must be 0 to 600 months\ntexts.T2.en: must be 1 to 2000 characters\n";
    assert_eq!(File::of(&wrong).run("verify", &[]).await, (false, String::new(), said.into()));
    let (good, _, said) = File::of("{}").run("verify", &[]).await;
    assert_eq!((good, said.as_str()), (false, "document: line 1 column 2: missing field `version`\n"));

    let moving = draft("2099-01", "2099-01-01", |document| {
        document["terms"]["repair_months"] = json!(6);
        document["last_day_off"] = json!("REST_DAYS");
        document["texts"]["T2"] =
            json!({"zh": "产品售出后六个月内为保修期。", "en": "Within six months it is repaired free."});
        document["texts"]["T3"]["en"] = json!("A discontinued product is replaced by another.");
    });
    let (good, said, _) = File::of(&moving).run("verify", &[]).await;
    let expected = "  parameter                         draft                          standard
  after_free_repair                 AT_LEAST                       AT_LEAST
  contact.email                     info@aopre.com                 info@aopre.com
  contact.telephone                 400-000-8380                   400-000-8380
* effective_on                      2099-01-01                     2010-01-01
* last_day_off                      REST_DAYS                      NONE
  manufactured_from                 2010-01-01                     2010-01-01
  product_types[0]                  VIDEO_OPTICAL_TRANSCEIVER      VIDEO_OPTICAL_TRANSCEIVER
  product_types[1]                  TELEPHONE_OPTICAL_TRANSCEIVER  TELEPHONE_OPTICAL_TRANSCEIVER
  product_types[2]                  OPTICAL_FIBER_TRANSCEIVER      OPTICAL_FIBER_TRANSCEIVER
  product_types[3]                  POE_SWITCH                     POE_SWITCH
  repair_days_extend                NO                             NO
  replacement_after_repairs         never                          never
  targets.allocation_days           7                              7
  targets.authorization_days        30                             30
  targets.guidance_days             2                              2
  targets.inspection_days           5                              5
  targets.quote_days                3                              3
  targets.quote_valid_days          15                             15
  targets.repair_days               10                             10
  targets.return_days               3                              3
  terms.accessory_days              7                              7
  terms.after_paid_repair_months    3                              3
  terms.after_repair_months         3                              3
  terms.no_invoice_months           2                              2
* terms.repair_months               6                              12
  terms.replacement_days            15                             15
  terms.territory                   MAINLAND                       MAINLAND
* version                           2099-01                        2010-01

The texts of these clauses differ from the standard's: T2, T3 (English).
Last days are moved off days off: the standard calendar has the years 2018 to 2026. Whatever hangs on a day outside them is refused until its year is published.
";
    assert_eq!((good, said.as_str()), (true, expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_is_simulated_and_published_from_the_command_line() {
    let world = World::stocked().await;
    sold_on(&world, "MANY1", "2025-08-15").await;
    let claim = filed(&world, "MANY1").await.unwrap().0;
    repeat(&world, &claim, 501).await;
    let (keeper, hour) = (Actor::Staff("S1".into()), chrono::Duration::hours(1));
    let token = world.issuer.mint(&keeper, "registry.write", hour, ISSUER, AUDIENCE, world.clock.now()).unwrap();
    let address = format!("http://{}", world.coverage);
    let service = ["--coverage-address", address.as_str(), "--token", token.as_str()];

    let file = File::of(&harsher("2026-07", "2026-07-01"));
    let (good, said, progress) = file.run("simulate", &service).await;
    let lines: Vec<_> = said.lines().collect();
    let first =
        format!("{}   1  MANY1             FREE_REPAIR by T2                -> PAID_SERVICE by X2", claim.claim_id);
    assert_eq!((good, lines.len(), lines[0]), (true, 503, first.as_str()));
    assert_eq!(lines[501..], ["501 decisions made again, 501 would change", "       501  FREE_REPAIR -> PAID_SERVICE"]);
    assert_eq!(progress, "500 of 501 made again, 500 would change\n501 of 501 made again, 501 would change\n");

    let published = "published 2026-07, for sales from 2026-07-01 on, by staff/S1\n";
    assert_eq!(file.run("publish", &service).await, (true, published.into(), String::new()));
    let (good, said, refused) = file.run("publish", &service).await;
    assert!(!good && said.is_empty() && refused.starts_with("AlreadyExists: "), "{refused}");
    let (good, _, refused) = File::of("{}").run("simulate", &service).await;
    assert!(!good && refused.contains("field document: line 1 column 2: missing field `version`"), "{refused}");
}
