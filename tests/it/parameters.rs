//! What a policy version may set beside the standard's numbers, and how a decision reads: by the pure function alone.

use std::sync::LazyLock;

use chrono::{DateTime, NaiveDate};
use proptest::prelude::*;
use uuid::Uuid;
use warranty::{
    domain::{
        actor::Actor,
        calendar::{Calendar, CalendarEnds, CalendarYear, LastDayOff, STANDARD_CALENDAR},
        claim::{Claim, Guidance, State},
        clause::Clause as C,
        coverage::{Decision, Remedy, decide},
        event::{Filing, Ruling, Stage, Vouchers},
        fact::Language,
        facts::{Appearance, Contract, Facts, Part, ProductType, RepairFacts, Report, SaleFacts, Told, UnitFacts},
        policy::{AfterFreeRepair, Policies, Policy, RepairDaysExtend, STANDARD_POLICY},
        refusal::Refusal,
        region::Region,
        serial::Serial,
        summary::summary,
    },
    service::decision,
};

use crate::rules::{agrees_with_itself, any_facts, any_report, standard};

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn calendar() -> Calendar {
    serde_json::from_str(STANDARD_CALENDAR).unwrap()
}

/// The standard with a change.
fn policies(change: impl FnOnce(&mut Policy)) -> Policies {
    let mut policy: Policy = serde_json::from_str(STANDARD_POLICY).unwrap();
    change(&mut policy);
    Policies::new(vec![policy], calendar()).unwrap()
}

/// A unit of the commitment, sold with an invoice.
fn sold(on: &str) -> Facts {
    Facts {
        original: UnitFacts {
            product_type: ProductType::PoeSwitch,
            manufactured_on: day(on) - chrono::Days::new(60),
            ex_factory_on: day(on) - chrono::Days::new(50),
            sold_by_maker: true,
        },
        discontinued: false,
        equivalents: vec![],
        sale: Some(SaleFacts { sold_on: day(on), invoice: true, region: None }),
        own_sale: None,
        contract: None,
        repairs: vec![],
        superseded_by: None,
    }
}

fn repaired(on: &str, paid: bool, fault: &str) -> RepairFacts {
    RepairFacts { received_on: None, completed_on: day(on), paid, fault: Some(fault.to_owned()) }
}

fn report(on: &str, fault: &str) -> Report {
    let fault = (!fault.is_empty()).then(|| fault.to_owned());
    let told = Told { fault, ..Told::default() };
    Report { on: day(on), told, findings: [].into(), no_fault_found: false, inspected: false }
}

// ---- the same fault again and again

#[test]
fn the_same_fault_repaired_so_many_times_leads_to_a_replacement() {
    let free = |on, fault| repaired(on, false, fault);
    let twice = vec![free("2024-05-01", "NO_POWER"), free("2024-07-01", "NO_POWER")];
    type Case<'a> = (&'a str, Vec<RepairFacts>, &'a str, &'a str, Remedy, &'a [C], u32);
    let cases: [Case<'_>; 9] = [
        ("once is not enough", twice[..1].to_vec(), "2024-08-01", "NO_POWER", Remedy::FreeRepair, &[C::T2], 1),
        ("twice", twice.clone(), "2024-08-01", "NO_POWER", Remedy::DirectReplacement, &[C::T2, C::S7], 2),
        (
            "on the day of the second",
            twice.clone(),
            "2024-07-01",
            "NO_POWER",
            Remedy::DirectReplacement,
            &[C::T2, C::S7],
            2,
        ),
        ("the second is not completed yet", twice.clone(), "2024-06-30", "NO_POWER", Remedy::FreeRepair, &[C::T2], 1),
        ("another fault", twice.clone(), "2024-08-01", "PORT_DEAD", Remedy::FreeRepair, &[C::T2], 0),
        ("no fault told", twice.clone(), "2024-08-01", "", Remedy::FreeRepair, &[C::T2], 0),
        (
            "one of them paid",
            vec![twice[0].clone(), repaired("2024-07-01", true, "NO_POWER")],
            "2024-08-01",
            "NO_POWER",
            Remedy::FreeRepair,
            &[C::T2],
            1,
        ),
        (
            "past the year",
            vec![twice[0].clone(), free("2025-01-01", "NO_POWER")],
            "2025-03-02",
            "NO_POWER",
            Remedy::FreeRepair,
            &[C::T6],
            2,
        ),
        (
            "in the first days T1 comes before",
            vec![free("2024-03-03", "NO_POWER"), free("2024-03-05", "NO_POWER")],
            "2024-03-10",
            "NO_POWER",
            Remedy::DirectReplacement,
            &[C::T1, C::T8],
            2,
        ),
    ];
    let policies = policies(|policy| policy.replacement_after_repairs = Some(2));
    for (about, repairs, on, fault, remedy, clauses, count) in cases {
        let decision = decide(&policies, &Facts { repairs, ..sold("2024-03-01") }, &report(on, fault)).unwrap();
        assert_eq!((decision.remedy, &decision.clauses[..]), (remedy, clauses), "{about}");
        let checked = decision.checks.iter().find(|check| check.clause == C::S7).unwrap();
        let counted = match fault {
            "" => "no fault code; replaced after 2 free repairs of one fault".to_owned(),
            fault => format!("free repairs of fault {fault} before: {count}; replaced after 2"),
        };
        assert_eq!((checked.held, checked.fact.phrase(Language::English)), (count >= 2, counted), "{about}");
    }
}

#[test]
fn a_replacement_after_repairs_stands_below_the_findings_and_names_what_else_decides() {
    let policies = policies(|policy| policy.replacement_after_repairs = Some(1));
    let facts = Facts {
        discontinued: true,
        repairs: vec![repaired("2024-05-01", false, "NO_POWER")],
        contract: Some(Contract {
            number: "K1".to_owned(),
            confirmed_on: Some(day("2024-03-01")),
            revoked_on: None,
            terms: Default::default(),
        }),
        ..sold("2024-03-01")
    };
    let asked = report("2024-08-01", "NO_POWER");
    let decision = decide(&policies, &facts, &asked).unwrap();
    assert_eq!((decision.remedy, decision.clauses), (Remedy::DirectReplacement, vec![C::T2, C::S7, C::T3, C::S5]));
    let opened = Report { findings: [C::X4].into(), ..asked.clone() };
    assert_eq!(decide(&policies, &facts, &opened).unwrap().remedy, Remedy::PaidService);
    let told = Told { part: Some(Part::Accessory), ..asked.told.clone() };
    let accessory = Report { told, ..asked.clone() };
    assert_eq!(decide(&policies, &facts, &accessory).unwrap().remedy, Remedy::PurchaseSeparately);
    // Without the rule: nothing of it.
    let decision = decide(&standard(), &facts, &asked).unwrap();
    assert_eq!(decision.remedy, Remedy::FreeRepair);
    assert!(decision.checks.iter().all(|check| check.clause != C::S7));
}

#[test]
fn the_dealer_swaps_in_the_first_days_alone() {
    let policies = policies(|policy| policy.replacement_after_repairs = Some(1));
    let repairs = vec![repaired("2024-03-03", false, "NO_POWER")];
    let facts = Facts { repairs, ..sold("2024-03-01") };
    let swapped_on = |on: &str| {
        let decision = decide(&policies, &facts, &report(on, "NO_POWER")).unwrap();
        assert_eq!(decision.remedy, Remedy::DirectReplacement, "{on}");
        let filing = Filing {
            serial: Serial::parse("OLD1").unwrap(),
            applicant: Actor::Dealer("D1".to_owned()),
            customer_id: Uuid::nil(),
            told: Told::default(),
            vouchers: Vouchers::default(),
            voucher_verified: true,
            filed_at: DateTime::UNIX_EPOCH,
            reported_on: day(on),
            targets: Default::default(),
            dispute: None,
        };
        let mut claim = Claim::filed(Uuid::nil(), filing, &Ruling::of(Stage::Provisional, &decision));
        (claim.state, claim.guidance) = (State::Authorized, Some(Guidance::Confirmed));
        claim.swap("D1", Some("D1"), &decision, Serial::parse("NEW1").unwrap()).map(|_| ())
    };
    assert_eq!(swapped_on("2024-03-16"), Ok(()), "by T1");
    assert_eq!(swapped_on("2024-03-17"), Err(Refusal::RemedyMismatch { remedy: Remedy::DirectReplacement }), "by S7");
}

// ---- a last day beyond the calendar

#[test]
fn a_decision_that_hangs_on_an_unpublished_calendar_is_none() {
    let policies = policies(|policy| policy.last_day_off = LastDayOff::RestDays);
    // The year ends on 1 March 2027, of which nobody knows whether it is a day off.
    let facts = sold("2026-03-01");
    let ends = |day| Err(CalendarEnds { day });
    let decided = |facts: &Facts, report: &Report| {
        decide(&policies, facts, report).map(|decision| (decision.remedy, decision.clauses))
    };
    let on = |on| report(on, "NO_POWER");
    let free = |clause| Ok((Remedy::FreeRepair, vec![clause]));
    assert_eq!(decided(&facts, &on("2027-03-01")), free(C::T2), "its last day as counted is inside in any case");
    assert_eq!(decided(&facts, &on("2027-03-02")), ends(day("2027-03-01")));
    let opened = Report { findings: [C::X4].into(), ..on("2027-03-02") };
    assert_eq!(decided(&facts, &opened), Ok((Remedy::PaidService, vec![C::X4])), "the year does not matter");
    let repaired_late = Facts { repairs: vec![repaired("2027-02-20", false, "NO_POWER")], ..facts.clone() };
    assert_eq!(decided(&repaired_late, &on("2027-03-02")), ends(day("2027-03-01")), "T2 or T6?");
    let paid = |fault| Facts { repairs: vec![repaired("2026-12-01", true, fault)], ..facts.clone() };
    assert_eq!(decided(&paid("PORT_DEAD"), &on("2028-03-02")), ends(day("2027-03-01")));
    let scratched = |facts: &Facts| {
        let mut report = on("2027-01-20");
        report.told.appearance = Some(Appearance::Scratched);
        decided(facts, &report)
    };
    // Sold on 28 December 2026: the first days end on 12 January 2027.
    assert_eq!(decided(&sold("2026-12-28"), &on("2027-01-20")), ends(day("2027-01-12")));
    assert_eq!(scratched(&sold("2026-12-28")), free(C::T2), "no replacement either way");
    // A published year that ends in days off leads into the next one.
    let only_2023 = calendar().years().find(|(year, _)| *year == 2023).map(|(year, of)| (year, of.clone()));
    let policy = policies.versions()[0].clone();
    let policies = Policies::new(vec![policy], Calendar::new(only_2023)).unwrap();
    let decision = decide(&policies, &sold("2022-12-30"), &on("2023-12-31"));
    assert_eq!(decision, Err(CalendarEnds { day: day("2024-01-01") }));
}

#[test]
fn windows_say_which_last_day_may_come_later() {
    let policies = policies(|policy| policy.last_day_off = LastDayOff::RestDays);
    let decision = decide(&policies, &sold("2026-03-01"), &report("2026-06-01", "")).unwrap();
    let open: Vec<_> = decision.windows.iter().map(|window| (window.clause, window.open)).collect();
    assert_eq!(open, [(C::T1, None), (C::T2, Some(day("2027-03-01"))), (C::T7, None)]);
    let fact = decision.checks.iter().find(|check| check.clause == C::T2).unwrap();
    let english = "2026-06-01 inside 2026-03-01 to 2027-03-01, may end later: no calendar of 2027 yet";
    assert_eq!(fact.fact.phrase(Language::English), english);
    let chinese = "2026-06-01属于2026-03-01至2027-03-01，到期日可能顺延：2027年日历尚未发布";
    assert_eq!(fact.fact.phrase(Language::Chinese), chinese);
}

// ---- how long it lasts

#[test]
fn days_left_are_those_of_the_longest_window_that_gives_something() {
    let asked = |change: &dyn Fn(&mut Facts, &mut Report)| {
        let (mut facts, mut report) = (sold("2024-03-01"), report("2024-03-05", "NO_POWER"));
        change(&mut facts, &mut report);
        decide(&standard(), &facts, &report).unwrap().days_left()
    };
    assert_eq!(asked(&|_, _| ()), Some(361), "the year, not the first days");
    assert_eq!(asked(&|_, report| report.on = day("2025-03-01")), Some(0), "the last day");
    assert_eq!(asked(&|_, report| report.on = day("2025-03-02")), None);
    assert_eq!(asked(&|_, report| report.on = day("2024-02-28")), None, "before the sale");
    assert_eq!(asked(&|_, report| report.told.part = Some(Part::Accessory)), Some(3), "its own week");
    assert_eq!(asked(&|facts, _| facts.original.sold_by_maker = false), None);
    assert_eq!(asked(&|_, report| report.findings = [C::X5].into()), Some(361), "another fault would be covered");
    assert_eq!(asked(&|facts, _| facts.superseded_by = Some(Serial::parse("NEW1").unwrap())), None);
    let late = |facts: &mut Facts, report: &mut Report| {
        facts.repairs = vec![repaired("2025-02-10", false, "NO_POWER"), repaired("2025-04-01", true, "NO_POWER")];
        report.on = day("2025-05-10");
    };
    assert_eq!(asked(&late), Some(52), "the paid repair's, for its fault, to 1 July");
    let other_fault = |facts: &mut Facts, report: &mut Report| {
        late(facts, report);
        report.told.fault = Some("PORT_DEAD".to_owned());
    };
    assert_eq!(asked(&other_fault), Some(0), "the free repair's, to 10 May");
}

// ---- in plain words

/// The sentence in both languages.
fn said(facts: &Facts, report: &Report) -> [String; 2] {
    let decision = decide(&standard(), facts, report).unwrap();
    let contact = &standard().versions()[0].contact.clone();
    [Language::English, Language::Chinese].map(|language| summary(&decision, contact, language))
}

#[test]
fn every_remedy_reads_as_one_plain_sentence() {
    let facts = sold("2024-03-01");
    let on = |on| report(on, "NO_POWER");
    let told = |change: &dyn Fn(&mut Report)| {
        let mut report = on("2024-05-01");
        change(&mut report);
        said(&facts, &report)
    };
    let cases = [
        (
            said(&facts, &on("2024-03-10")),
            "Covered: the unit is replaced free of charge for a fault reported by 16 March 2024 (clauses T1, T8).",
            "在保修范围内：2024年3月16日（含当日）前报修，可免费更换产品（条款T1、T8）。",
        ),
        (
            said(&facts, &on("2024-05-01")),
            "Covered: the unit is repaired free of charge for a fault reported by 1 March 2025 (clause T2).",
            "在保修范围内：2025年3月1日（含当日）前报修，可免费维修（条款T2）。",
        ),
        (
            said(&facts, &Report { told: Told { part: Some(Part::Accessory), ..Told::default() }, ..on("2024-03-05") }),
            "Covered: the accessory is replaced free of charge for a fault reported by 8 March 2024 (clause T7).",
            "在保修范围内：2024年3月8日（含当日）前报修，可免费更换附件（条款T7）。",
        ),
        (
            told(&|report| report.told.part = Some(Part::Accessory)),
            "Not covered: the accessory is not replaced free of charge and can be bought separately (clause T7). For help call 400-000-8380.",
            "不予保修：该附件不能免费更换，可另行购买（条款T7）。如需帮助，请致电400-000-8380。",
        ),
        (
            told(&|report| (report.told.part, report.told.power_supply_damage) = (Some(Part::PowerSupply), Some(true))),
            "Not covered: a damaged power supply can be bought separately (clause T10). For help call 400-000-8380.",
            "不予保修：损坏的电源不予更换，可另行购买（条款T10）。如需帮助，请致电400-000-8380。",
        ),
        (
            told(&|report| report.no_fault_found = true),
            "Not covered: inspection found no fault, and the unit goes back as it is (clause T9). For help call 400-000-8380.",
            "不予保修：检测未发现故障，产品原样退回（条款T9）。如需帮助，请致电400-000-8380。",
        ),
        (
            told(&|report| report.findings = [C::X3, C::X5].into()),
            "Not covered: the commitment excludes the cause of the fault; repair for a price is possible (clauses X3, X5). For help call 400-000-8380.",
            "不予保修：故障原因不在保修范围内，可有偿维修（条款X3、X5）。如需帮助，请致电400-000-8380。",
        ),
        (
            told(&|report| report.told.region_of_use = Some(Region::parse("CN-HK").unwrap())),
            "Not covered: the commitment does not extend to this product, or to where it was sold or is used; repair for a price is possible (clause S4). For help call 400-000-8380.",
            "不予保修：本承诺不适用于该产品或其购买、使用地区，可有偿维修（条款S4）。如需帮助，请致电400-000-8380。",
        ),
        (
            said(&facts, &on("2025-03-02")),
            "Not covered: the warranty ended on 1 March 2025; repair for a price is possible (clause X2). For help call 400-000-8380.",
            "不予保修：保修期已于2025年3月1日届满，可有偿维修（条款X2）。如需帮助，请致电400-000-8380。",
        ),
        (
            said(&facts, &on("2024-02-28")),
            "Not covered yet: the warranty starts on 1 March 2024. For help call 400-000-8380.",
            "尚未开始保修：保修期自2024年3月1日起计算。如需帮助，请致电400-000-8380。",
        ),
        (
            said(&Facts { superseded_by: Some(Serial::parse("NEW1").unwrap()), ..facts.clone() }, &on("2024-05-01")),
            "Not covered: the unit was replaced by NEW1, which carries its warranty on (clause T5). For help call 400-000-8380.",
            "不予保修：本产品已由NEW1替换，保修由该产品延续（条款T5）。如需帮助，请致电400-000-8380。",
        ),
    ];
    for (said, english, chinese) in cases {
        assert_eq!(said, [english, chinese]);
    }
}

#[test]
fn the_texts_of_many_answers_stand_once_for_each_policy_version() {
    let standard: Policy = serde_json::from_str(STANDARD_POLICY).unwrap();
    let later = Policy { version: "2025".to_owned(), effective_on: day("2025-01-01"), ..standard.clone() };
    let policies = Policies::new(vec![standard, later], calendar()).unwrap();
    let decided = |sold_on: &str, on: &str| decide(&policies, &sold(sold_on), &report(on, "")).unwrap();
    let decisions = [
        decided("2024-03-01", "2024-03-05"),
        decided("2025-03-01", "2027-03-05"),
        decided("2024-03-02", "2024-04-05"),
        decided("2025-03-02", "2025-04-05"),
    ];
    let mut told = decision::TextsTold::default();
    let new = decisions.each_ref().map(|one| told.tell(&policies, one, Some(Language::Chinese)));
    for of in [[0, 2], [1, 3]] {
        let sorted = |mut texts: Vec<warranty::contract::v1::ClauseText>| {
            texts.sort_by_key(|text| text.clause);
            texts
        };
        let mut alone =
            sorted(of.map(|at| decision::texts(&policies, &decisions[at], Some(Language::Chinese))).concat());
        alone.dedup();
        let told: Vec<_> = of.into_iter().flat_map(|at| new[at].clone()).collect();
        assert!(told.iter().all(|texts| texts.policy_version == decisions[of[0]].policy_version));
        assert_eq!(sorted(told.into_iter().flat_map(|texts| texts.texts).collect()), alone);
    }
}

// ---- what was kept before

/// A decision and its facts as they were stored before facts were data.
const KEPT_FACTS: &str = r#"{"original":{"product_type":"POE_SWITCH","manufactured_on":"2024-01-01","ex_factory_on":"2024-01-11",
    "sold_by_maker":true},"discontinued":true,"equivalents":["PS-2"],"sale":{"sold_on":"2024-03-01","invoice":true,"region":"CN-GD"},
    "contract":{"number":"K1","confirmed_on":"2024-03-01","revoked_on":"2024-06-01","terms":{}},
    "repairs":[{"completed_on":"2024-04-01","paid":true,"fault":"NO_POWER"},{"completed_on":"2024-04-02","paid":true,"fault":null}],
    "superseded_by":null}"#;
const KEPT_REPORT: &str = r#"{"on":"2024-07-02","told":{"part":"POWER_SUPPLY","fault":"NO_POWER","performance_fault":null,
    "appearance":"SCRATCHED","power_supply_damage":false,"region_of_use":null},"findings":["X3"],"no_fault_found":false,"inspected":true}"#;
const KEPT_DECISION: &str = r#"{"remedy":"PAID_SERVICE","clauses":["X3"],"windows":[
    {"clause":"T1","period":{"first":"2024-03-01","last":"2024-03-16"},"fault":null},
    {"clause":"T2","period":{"first":"2024-03-01","last":"2025-03-01"},"fault":null},
    {"clause":"T7","period":{"first":"2024-03-01","last":"2024-03-08"},"fault":null},
    {"clause":"P2","period":{"first":"2024-04-01","last":"2024-07-01"},"fault":"NO_POWER"},
    {"clause":"P2","period":{"first":"2024-04-02","last":"2024-07-02"},"fault":null}],
    "start":{"basis":"INVOICE","on":"2024-03-01"},"inbound_freight":"SENDER","outbound_freight":"SENDER","checks":[
    {"clause":"S1","held":true,"fact":"product type POE_SWITCH"},
    {"clause":"S2","held":true,"fact":"manufactured on 2024-01-01, commitment from 2010-01-01"},
    {"clause":"S3","held":true,"fact":"sold by the maker"},
    {"clause":"S4","held":true,"fact":"sold in CN-GD, used in not given"},
    {"clause":"T12","held":false,"fact":"invoice dated 2024-03-01"},
    {"clause":"T10","held":false,"fact":"power supply undamaged"},
    {"clause":"T8","held":false,"fact":"performance fault, appearance scratched"},
    {"clause":"X3","held":true,"fact":"found by inspection"},
    {"clause":"T1","held":false,"fact":"2024-07-02 after 2024-03-01 to 2024-03-16"},
    {"clause":"T2","held":true,"fact":"2024-07-02 inside 2024-03-01 to 2025-03-01"},
    {"clause":"T7","held":false,"fact":"2024-07-02 after 2024-03-01 to 2024-03-08"},
    {"clause":"P2","held":false,"fact":"2024-07-02 after 2024-04-01 to 2024-07-01, fault NO_POWER"},
    {"clause":"P2","held":false,"fact":"2024-07-02 inside 2024-04-02 to 2024-07-02, no fault code"},
    {"clause":"X2","held":false,"fact":"asked about 2024-07-02"},
    {"clause":"T3","held":true,"fact":"the model is discontinued"},
    {"clause":"S5","held":false,"fact":"the sale's contract is confirmed from 2024-03-01, revoked from 2024-06-01"}],
    "assumed":["performance_fault","region_of_use"],"policy_version":"2010-01","as_of":"2024-07-02","superseded_by":null,
    "equivalents":["PS-2"]}"#;

#[test]
fn a_decision_kept_before_facts_were_data_still_reads_and_is_made_again_in_the_same_words() {
    let kept: Decision = serde_json::from_str(KEPT_DECISION).unwrap();
    let facts: Facts = serde_json::from_str(KEPT_FACTS).unwrap();
    let report: Report = serde_json::from_str(KEPT_REPORT).unwrap();
    let again = decide(&standard(), &facts, &report).unwrap();
    let words = |decision: &Decision| {
        let checks = decision.checks.iter();
        checks.map(|check| (check.clause, check.held, check.fact.phrase(Language::English))).collect::<Vec<_>>()
    };
    assert_eq!(words(&kept), words(&again));
    let told = Decision {
        checks: again.checks.clone(),
        start_candidates: again.start_candidates.clone(),
        covered_until: again.covered_until,
        ..kept.clone()
    };
    assert_eq!(told, again, "nothing else is new");
    assert_eq!((kept.start_candidates, kept.covered_until), (vec![], None));
    let policy: Policy = serde_json::from_str(STANDARD_POLICY).unwrap();
    let mut before = serde_json::to_value(&policy).unwrap();
    for new in ["last_day_off", "after_free_repair", "repair_days_extend", "replacement_after_repairs"] {
        before.as_object_mut().unwrap().remove(new).unwrap();
    }
    assert_eq!(serde_json::from_value::<Policy>(before).unwrap(), policy, "a version published before they were there");
}

// ---- drafts

#[test]
fn every_fault_of_a_draft_is_told_with_its_field() {
    let standard: Policy = serde_json::from_str(STANDARD_POLICY).unwrap();
    assert_eq!(standard.faults(), []);
    let mut draft = standard.clone();
    draft.version = "2027 spring".to_owned();
    draft.effective_on = day("2270-01-01");
    draft.product_types = vec![ProductType::PoeSwitch, ProductType::Other, ProductType::PoeSwitch];
    draft.terms.replacement_days = 3_651;
    draft.terms.after_paid_repair_months = 601;
    draft.replacement_after_repairs = Some(0);
    draft.contact.telephone = " ".to_owned();
    draft.texts.remove(&C::T4);
    draft.texts.get_mut(&C::T5).unwrap().zh = String::new();
    draft.texts.get_mut(&C::T6).unwrap().en = "x".repeat(2_001);
    let faults = draft.faults();
    let fields: Vec<_> = faults.iter().map(|(field, _)| field.as_str()).collect();
    let expected = [
        "version",
        "effective_on",
        "product_types",
        "product_types",
        "terms.replacement_days",
        "terms.after_paid_repair_months",
        "replacement_after_repairs",
        "contact.telephone",
        "texts.T4",
        "texts.T5.zh",
        "texts.T6.en",
    ];
    assert_eq!(fields, expected);
    let none = Policy { product_types: vec![], ..standard };
    assert_eq!(none.faults(), [("product_types".to_owned(), "must name at least one type".to_owned())]);
}

// ---- what holds for every policy

prop_compose! {
    fn any_policy()(last_day_off in prop::sample::select(vec![LastDayOff::None, LastDayOff::PublicHolidays, LastDayOff::RestDays]),
                    added in any::<bool>(), extend in any::<bool>(), replacement_after_repairs in prop::option::of(1..4u32)) -> Policy {
        Policy {
            last_day_off,
            after_free_repair: if added { AfterFreeRepair::Added } else { AfterFreeRepair::AtLeast },
            repair_days_extend: if extend { RepairDaysExtend::ByDaysTouched } else { RepairDaysExtend::No },
            replacement_after_repairs,
            ..serde_json::from_str(STANDARD_POLICY).unwrap()
        }
    }
}

static STANDARD: LazyLock<Calendar> = LazyLock::new(calendar);

/// The standard calendar, and for every other year one in which some days are off.
static EVERY_YEAR: LazyLock<Calendar> = LazyLock::new(|| {
    let made_up = (2005..=2200).map(|year| {
        let first = NaiveDate::from_ymd_opt(year, 1, 1).unwrap();
        let holidays = (0..360u64).filter(|at| at % 90 < 10).map(|at| first + chrono::Days::new(at));
        (year, CalendarYear { holidays: holidays.collect(), workdays: [].into() })
    });
    Calendar::new(made_up.chain(STANDARD.years().map(|(year, of)| (year, of.clone()))))
});

fn under(policy: &Policy, calendar: &Calendar) -> Policies {
    Policies::new(vec![policy.clone()], calendar.clone()).unwrap()
}

/// The last days of a clause's windows, by first day.
fn lasts(decision: &Decision, clause: C) -> Vec<(NaiveDate, NaiveDate)> {
    let windows = decision.windows.iter().filter(|window| window.clause == clause);
    windows.map(|window| (window.period.first, window.period.last)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn every_policy_answers_or_says_that_the_calendar_ends(policy in any_policy(), facts in any_facts(), report in any_report(), by in 0..5usize) {
        let decided = decide(&under(&policy, &STANDARD), &facts, &report);
        match &decided {
            Ok(decision) => agrees_with_itself(decision),
            Err(_) => prop_assert!(policy.last_day_off != LastDayOff::None),
        }
        let mut turned = facts.clone();
        let count = turned.repairs.len();
        turned.repairs.rotate_left(by % count.max(1));
        prop_assert_eq!(decide(&under(&policy, &STANDARD), &turned, &report), decided);
    }

    #[test]
    fn what_is_decided_stays_decided_whatever_calendars_come(policy in any_policy(), facts in any_facts(), report in any_report()) {
        let later = decide(&under(&policy, &EVERY_YEAR), &facts, &report).unwrap();
        if let Ok(now) = decide(&under(&policy, &STANDARD), &facts, &report) {
            prop_assert_eq!((now.remedy, now.clauses), (later.remedy, later.clauses));
            for (window, later) in now.windows.iter().zip(&later.windows) {
                prop_assert!(later.period.last >= window.period.last && (window.open.is_some() || window == later));
            }
        }
    }

    #[test]
    fn a_later_repair_changes_no_past_decision(policy in any_policy(), facts in any_facts(), report in any_report()) {
        let mut before = facts.clone();
        before.repairs.retain(|repair| repair.completed_on <= report.on);
        let decided = |facts| decide(&under(&policy, &EVERY_YEAR), facts, &report).unwrap();
        let (before, after) = (decided(&before), decided(&facts));
        prop_assert_eq!((before.remedy, before.clauses, before.covered_until), (after.remedy, after.clauses, after.covered_until));
        prop_assert!(before.windows.iter().all(|window| after.windows.contains(window)));
    }

    #[test]
    fn no_parameter_takes_cover_away(policy in any_policy(), facts in any_facts(), report in any_report()) {
        let decided = |policy: &Policy| decide(&under(policy, &EVERY_YEAR), &facts, &report).unwrap();
        let with = decided(&policy);
        let moved = decided(&Policy { last_day_off: LastDayOff::None, ..policy.clone() });
        let at_least = decided(&Policy { after_free_repair: AfterFreeRepair::AtLeast, ..policy.clone() });
        let unextended = decided(&Policy { repair_days_extend: RepairDaysExtend::No, ..policy.clone() });
        for without in [moved, at_least, unextended] {
            for clause in [C::T1, C::T2, C::T6, C::T7] {
                let (with, without) = (lasts(&with, clause), lasts(&without, clause));
                prop_assert_eq!(with.len(), without.len());
                prop_assert!(with.iter().zip(&without).all(|(with, without)| with.0 == without.0 && with.1 >= without.1));
            }
        }
    }
}
