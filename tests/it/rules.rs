//! The commitment's ladder: every worked case by the pure function and again over gRPC, and what holds for every input.

use std::collections::BTreeSet;

use chrono::NaiveDate;
use proptest::prelude::*;
use serde::Deserialize;
use warranty::{
    contract::v1::{self, *},
    domain::{
        calendar::STANDARD_CALENDAR,
        clause::Clause as C,
        coverage::{Decision, Payer, Remedy, decide},
        facts::{Appearance, Contract, Facts, Part, ProductType, RepairFacts, Report, SaleFacts, Told, UnitFacts},
        policy::{ContractTerms, Policies, STANDARD_POLICY, Territory},
        region::Region,
        serial::Serial,
        start::StartBasis,
    },
};

use crate::world::{World, date, id, refusal};

pub fn standard() -> Policies {
    Policies::new(
        vec![serde_json::from_str(STANDARD_POLICY).unwrap()],
        serde_json::from_str(STANDARD_CALENDAR).unwrap(),
    )
    .unwrap()
}

// ---- the cases as written

#[derive(Deserialize)]
struct Case {
    id: String,
    #[serde(flatten)]
    history: History,
    report: CaseReport,
    replaced_by: Option<String>,
    expect: Expect,
}

#[derive(Deserialize)]
struct History {
    unit: CaseUnit,
    sale: Option<CaseSale>,
    #[serde(default)]
    repairs: Vec<CaseRepair>,
    contract: Option<CaseContract>,
    replaces: Option<Box<History>>,
}

#[derive(Deserialize)]
struct CaseUnit {
    product_type: String,
    discontinued: bool,
    manufactured_on: NaiveDate,
    ex_factory_on: NaiveDate,
    sold_by_maker: bool,
}

#[derive(Deserialize)]
struct CaseSale {
    sold_on: NaiveDate,
    invoice: bool,
    region: String,
}

#[derive(Deserialize)]
struct CaseRepair {
    completed_on: NaiveDate,
    paid: bool,
    fault: Option<String>,
}

#[derive(Deserialize)]
struct CaseContract {
    number: String,
    confirmed_on: Option<NaiveDate>,
    revoked_on: Option<NaiveDate>,
    terms: ContractTerms,
}

#[derive(Deserialize)]
struct CaseReport {
    on: NaiveDate,
    part: Part,
    fault: String,
    performance_fault: bool,
    appearance: Appearance,
    power_supply_damage: bool,
    findings: BTreeSet<C>,
    no_fault_found: bool,
    region_of_use: String,
}

/// What a case leaves out is not compared; windows compare as a set.
#[derive(Deserialize)]
struct Expect {
    remedy: Remedy,
    clauses: Vec<C>,
    start_basis: Option<StartBasis>,
    starts_on: Option<NaiveDate>,
    windows: Option<BTreeSet<(C, NaiveDate, NaiveDate)>>,
    outbound_freight: Option<Payer>,
    superseded_by: Option<String>,
}

fn cases() -> Vec<Case> {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../golden/cases.json")).unwrap();
    assert_eq!(cases.len(), 57);
    cases
}

impl History {
    /// From the unit in hand back to the original (T5).
    fn chain(&self) -> Vec<&History> {
        let mut chain = vec![self];
        while let Some(before) = &chain[chain.len() - 1].replaces {
            chain.push(before);
        }
        chain
    }

    fn facts(&self, replaced_by: Option<&str>) -> Facts {
        let chain = self.chain();
        let original = chain[chain.len() - 1];
        let repairs = chain.iter().flat_map(|link| &link.repairs);
        Facts {
            original: UnitFacts {
                product_type: original.unit.product_type.parse().unwrap_or(ProductType::Other),
                manufactured_on: original.unit.manufactured_on,
                ex_factory_on: original.unit.ex_factory_on,
                sold_by_maker: original.unit.sold_by_maker,
            },
            discontinued: self.unit.discontinued,
            equivalents: vec![],
            own_sale: None,
            sale: original.sale.as_ref().map(|sale| SaleFacts {
                sold_on: sale.sold_on,
                invoice: sale.invoice,
                region: Some(Region::parse(&sale.region).unwrap()),
            }),
            contract: original.contract.as_ref().map(|contract| Contract {
                number: contract.number.clone(),
                confirmed_on: contract.confirmed_on,
                revoked_on: contract.revoked_on,
                terms: contract.terms,
            }),
            repairs: repairs
                .map(|repair| RepairFacts {
                    received_on: None,
                    completed_on: repair.completed_on,
                    paid: repair.paid,
                    fault: repair.fault.clone(),
                })
                .collect(),
            superseded_by: replaced_by.map(|serial| Serial::parse(serial).unwrap()),
        }
    }
}

impl CaseReport {
    fn report(&self) -> Report {
        let told = Told {
            part: Some(self.part),
            fault: Some(self.fault.clone()),
            performance_fault: Some(self.performance_fault),
            appearance: Some(self.appearance),
            power_supply_damage: Some(self.power_supply_damage),
            region_of_use: Some(Region::parse(&self.region_of_use).unwrap()),
        };
        let (findings, no_fault_found) = (self.findings.clone(), self.no_fault_found);
        Report { on: self.on, told, findings, no_fault_found, inspected: true }
    }
}

#[test]
fn every_case_by_the_pure_function() {
    for case in cases() {
        let decision =
            decide(&standard(), &case.history.facts(case.replaced_by.as_deref()), &case.report.report()).unwrap();
        let expect = &case.expect;
        assert_eq!((decision.remedy, &decision.clauses), (expect.remedy, &expect.clauses), "{}", case.id);
        if let Some(windows) = &expect.windows {
            let found = decision.windows.iter().map(|w| (w.clause, w.period.first, w.period.last)).collect();
            assert_eq!(*windows, found, "{}", case.id);
            let start = decision.start.unwrap();
            assert_eq!((Some(start.basis), Some(start.on)), (expect.start_basis, expect.starts_on), "{}", case.id);
            assert_eq!(decision.outbound_freight, expect.outbound_freight, "{}", case.id);
        } else {
            assert_eq!(
                (decision.windows.len(), decision.start, decision.outbound_freight),
                (0, None, None),
                "{}",
                case.id
            );
        }
        let successor = expect.superseded_by.as_deref().map(|serial| Serial::parse(serial).unwrap());
        assert_eq!(decision.superseded_by, successor, "{}", case.id);
    }
}

// ---- the cases over gRPC: what happened before the system enters by RecordHistory

/// Registers a case's units, sales, contract, repairs and replacements; gives the serial of the unit in hand.
async fn register(world: &World, at: usize, case: &Case) -> String {
    let mut staff = world.staff();
    let chain = case.history.chain();
    let serial = |link: usize| format!("CASE-{at:03}-{link}");
    let mut history = RecordHistoryRequest { request_id: id(), ..Default::default() };
    for (link, of) in chain.iter().enumerate().rev() {
        world
            .unit_like(&serial(link), |unit| {
                unit.model = match (of.unit.product_type.as_str(), of.unit.discontinued) {
                    ("POE_SWITCH", false) => "PS-1".into(),
                    ("POE_SWITCH", true) => "PS-0".into(),
                    _ => "CHASSIS".into(),
                };
                unit.manufactured_date = Some(date(&of.unit.manufactured_on.to_string()));
                unit.ex_factory_date = Some(date(&of.unit.ex_factory_on.to_string()));
                unit.sold_by_maker = of.unit.sold_by_maker;
            })
            .await;
        let contract = of.contract.as_ref().map(|contract| format!("{}/{at}", contract.number));
        if let (Some(contract), Some(number)) = (&of.contract, &contract) {
            draft(&mut staff, number, contract).await;
        }
        if let Some(sale) = &of.sale {
            let request = RegisterSaleRequest {
                request_id: id(),
                serial: serial(link),
                dealer_id: "D1".into(),
                sold_date: Some(date(&sale.sold_on.to_string())),
                invoice_number: if sale.invoice { format!("F{at}") } else { String::new() },
                region: sale.region.clone(),
                contract_number: contract.unwrap_or_default(),
                ..Default::default()
            };
            staff.registry.register_sale(request).await.unwrap();
        }
        history.repairs.extend(of.repairs.iter().map(|repair| Repair {
            serial: serial(link),
            completed_date: Some(date(&repair.completed_on.to_string())),
            paid: repair.paid,
            fault_code: repair.fault.clone().unwrap_or_default(),
            ..Default::default()
        }));
        if link + 1 < chain.len() {
            history.replacements.push(replacement(&serial(link + 1), &serial(link)));
        }
    }
    if let Some(successor) = &case.replaced_by {
        world.unit(successor).await;
        history.replacements.push(replacement(&serial(0), successor));
    }
    if !history.repairs.is_empty() || !history.replacements.is_empty() {
        staff.registry.record_history(history).await.unwrap();
    }
    serial(0)
}

fn replacement(replaced: &str, by: &str) -> Replacement {
    let replaced_date = Some(date("2026-06-01"));
    Replacement { replaced_serial: replaced.into(), replacement_serial: by.into(), replaced_date }
}

async fn draft(staff: &mut crate::world::Caller, number: &str, contract: &CaseContract) {
    let (terms, days) = (&contract.terms, |days: Option<u32>| days.map(u32::cast_signed));
    let terms = v1::ContractTerms {
        replacement_days: days(terms.replacement_days),
        repair_months: days(terms.repair_months),
        accessory_days: days(terms.accessory_days),
        after_repair_months: days(terms.after_repair_months),
        after_paid_repair_months: days(terms.after_paid_repair_months),
        no_invoice_months: days(terms.no_invoice_months),
        territory: match terms.territory {
            None => v1::Territory::Unspecified,
            Some(Territory::Mainland) => v1::Territory::Mainland,
            Some(Territory::Worldwide) => v1::Territory::Worldwide,
        }
        .into(),
    };
    let (contract_number, reason, version) = (number.to_owned(), "agreed at the sale".to_owned(), 0);
    let request =
        CreateContractRequest { request_id: id(), contract_number: contract_number.clone(), terms: Some(terms) };
    staff.registry.create_contract(request).await.unwrap();
    if let Some(from) = contract.confirmed_on {
        let from_date = Some(date(&from.to_string()));
        let (contract_number, reason) = (contract_number.clone(), reason.clone());
        let request = ConfirmContractRequest { request_id: id(), contract_number, from_date, reason, version };
        staff.registry.confirm_contract(request).await.unwrap();
    }
    if let Some(from) = contract.revoked_on {
        let from_date = Some(date(&from.to_string()));
        let request = RevokeContractRequest { request_id: id(), contract_number, from_date, reason, version };
        staff.registry.revoke_contract(request).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_case_over_grpc() {
    let world = World::stocked().await;
    world.product("PS-0", true, &["PS-2", "PS-1"]).await;
    let product =
        Product { model: "CHASSIS".into(), product_type: ProductTypeWire::Other.into(), ..Default::default() };
    let request = CreateProductRequest { request_id: id(), product: Some(product) };
    world.staff().registry.create_product(request).await.unwrap();
    let mut dealer = world.dealer("D2");
    for (at, case) in cases().iter().enumerate() {
        let serial = register(&world, at, case).await;
        let answer = dealer.coverage.check_coverage(question(&serial, &case.report)).await.unwrap().into_inner();
        let (decision, expect) = (answer.decision.unwrap(), &case.expect);
        let clauses: Vec<String> = decision.clauses().map(|clause| named(clause.as_str_name(), "CLAUSE_")).collect();
        let expected: Vec<String> = expect.clauses.iter().map(ToString::to_string).collect();
        assert_eq!(clauses, expected, "{}", case.id);
        assert_eq!(named(decision.remedy().as_str_name(), "REMEDY_"), expect.remedy.to_string(), "{}", case.id);
        let windows: BTreeSet<_> = decision
            .windows
            .iter()
            .map(|w| {
                let clause: C = named(w.clause().as_str_name(), "CLAUSE_").parse().unwrap();
                (clause, day(w.first_date.as_ref()).unwrap(), day(w.last_date.as_ref()).unwrap())
            })
            .collect();
        assert_eq!(windows, expect.windows.clone().unwrap_or_default(), "{}", case.id);
        assert_eq!(day(decision.start_date.as_ref()), expect.starts_on, "{}", case.id);
        let basis = expect.start_basis.map_or("UNSPECIFIED".to_owned(), |basis| basis.to_string());
        assert_eq!(named(decision.start_basis().as_str_name(), "START_BASIS_"), basis, "{}", case.id);
        let payer = expect.outbound_freight.map_or("UNSPECIFIED".to_owned(), |payer| payer.to_string());
        assert_eq!(named(decision.outbound_freight().as_str_name(), "PAYER_"), payer, "{}", case.id);
        let successor = expect.superseded_by.as_deref().map_or(String::new(), |serial| serial.replace('-', ""));
        assert_eq!(decision.superseded_by, successor, "{}", case.id);
        assert_eq!(decision.policy_version, "2010-01", "{}", case.id);
    }
}

use v1::ProductType as ProductTypeWire;

fn named(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap().to_owned()
}

fn day(date: Option<&warranty::contract::google::r#type::Date>) -> Option<NaiveDate> {
    let date = date?;
    NaiveDate::from_ymd_opt(date.year, date.month.cast_unsigned(), date.day.cast_unsigned())
}

fn question(serial: &str, report: &CaseReport) -> CheckCoverageRequest {
    let finding = |clause: &C| v1::Clause::from_str_name(&format!("CLAUSE_{clause}")).unwrap().into();
    CheckCoverageRequest {
        serial: serial.to_lowercase(),
        date: Some(date(&report.on.to_string())),
        report: Some(FaultReport {
            part: v1::Part::from_str_name(&format!("PART_{}", report.part)).unwrap().into(),
            fault_code: report.fault.clone(),
            performance_fault: Some(report.performance_fault),
            appearance: v1::Appearance::from_str_name(&format!("APPEARANCE_{}", report.appearance)).unwrap().into(),
            power_supply_damage: Some(report.power_supply_damage),
            region_of_use: report.region_of_use.clone(),
        }),
        findings: report.findings.iter().map(finding).collect(),
        no_fault_found: report.no_fault_found,
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_of_any_length_ends_in_the_originals_dates() {
    let world = World::stocked().await;
    world.sold("CHAIN000", 10).await;
    for link in 1..=30 {
        world.unit(&format!("CHAIN{link:03}")).await;
    }
    // Recorded in an order that nobody would choose: the database places each step in its lineage.
    let mut steps: Vec<_> =
        (0..30).map(|link| replacement(&format!("CHAIN{link:03}"), &format!("CHAIN{:03}", link + 1))).collect();
    steps.sort_by_key(|step| step.replaced_serial.chars().rev().collect::<String>());
    for step in steps {
        let request = RecordHistoryRequest { request_id: id(), repairs: vec![], replacements: vec![step] };
        world.staff().registry.record_history(request).await.unwrap();
    }
    let ask = |serial: &str| CheckCoverageRequest { serial: serial.into(), ..Default::default() };
    let mut dealer = world.dealer("D1");
    let last = dealer.coverage.check_coverage(ask("CHAIN030")).await.unwrap().into_inner().decision.unwrap();
    assert_eq!(last.start_date, Some(world.today(-10)));
    assert_eq!(last.remedy(), v1::Remedy::DirectReplacement);
    let first = dealer.coverage.check_coverage(ask("CHAIN000")).await.unwrap().into_inner().decision.unwrap();
    assert_eq!((first.remedy(), first.superseded_by.as_str()), (v1::Remedy::None, "CHAIN001"));
    let unit = dealer.registry.get_unit(GetUnitRequest { serial: "CHAIN015".into() }).await.unwrap().into_inner();
    let order: Vec<_> = unit.lineage.iter().map(|step| step.replaced_serial.clone()).collect();
    assert_eq!(order, (0..30).map(|link| format!("CHAIN{link:03}")).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_of_one_lineage_at_once_make_no_cycle_and_no_wrong_origin() {
    let world = World::stocked().await;
    for round in 0..10 {
        let unit = |name: char| format!("LINE{round:02}{name}");
        for name in ['A', 'B', 'C', 'D'] {
            world.unit(&unit(name)).await;
        }
        let record = async |from: char, to: char| {
            let step = replacement(&unit(from), &unit(to));
            let request = RecordHistoryRequest { request_id: id(), repairs: vec![], replacements: vec![step] };
            world.staff().registry.record_history(request).await
        };
        record('A', 'B').await.unwrap();
        record('C', 'D').await.unwrap();
        // The two share no unit, and together would close a circle of four.
        let (joined, closed) = tokio::join!(record('B', 'C'), record('D', 'A'));
        assert!(joined.is_ok() != closed.is_ok(), "{joined:?} {closed:?}");
        let refused = joined.err().or(closed.err()).unwrap();
        assert_eq!(refusal(&refused).1, "REPLACEMENT_CHAIN");
    }
    let wrong = "SELECT count(*) FROM replacements r LEFT JOIN replacements before ON before.replacement_serial = r.replaced_serial
                  WHERE r.origin_serial <> coalesce(before.origin_serial, r.replaced_serial)
                     OR r.generation <> coalesce(before.generation, 0) + 1";
    let wrong: (i64,) = sqlx::query_as(wrong).fetch_one(&mut world.owner().await).await.unwrap();
    assert_eq!(wrong.0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_told_is_assumed_and_said() {
    let world = World::stocked().await;
    world.sold("ASSUME01", 3).await;
    let ask =
        |report, findings| CheckCoverageRequest { serial: "ASSUME01".into(), report, findings, ..Default::default() };
    let mut dealer = world.dealer("D1");
    let answer = dealer.coverage.check_coverage(ask(None, vec![])).await.unwrap().into_inner();
    let told = ["part", "performance_fault", "appearance", "power_supply_damage", "region_of_use", "findings"];
    assert_eq!(answer.decision.unwrap().assumed, told);
    assert_eq!(answer.contact, None, "a yes needs no telephone number");
    let opened =
        ask(Some(FaultReport { performance_fault: Some(true), ..Default::default() }), vec![v1::Clause::X4.into()]);
    let answer = dealer.coverage.check_coverage(opened).await.unwrap().into_inner();
    assert_eq!(answer.decision.unwrap().assumed, ["part", "appearance", "power_supply_damage", "region_of_use"]);
    assert_eq!(answer.contact.unwrap().telephone, "400-000-8380");
    assert!(answer.texts.iter().any(|text| text.clause() == v1::Clause::X4 && text.chinese.contains("拆机")));
}

// ---- what holds for every input

fn any_day() -> impl Strategy<Value = NaiveDate> {
    (0..9_132u64).prop_map(|days| NaiveDate::from_ymd_opt(2008, 1, 1).unwrap() + chrono::Days::new(days))
}

fn any_region() -> impl Strategy<Value = Option<Region>> {
    prop::option::of(
        prop::sample::select(vec!["CN-GD", "CN-HK", "VN-SG"]).prop_map(|code| Region::parse(code).unwrap()),
    )
}

fn any_fault() -> impl Strategy<Value = Option<String>> {
    prop::option::of(prop::sample::select(vec!["NO_POWER".to_owned(), "PORT_DEAD".to_owned()]))
}

prop_compose! {
    fn any_repair()(completed_on in any_day(), stayed in prop::option::of(0..60u64), paid in any::<bool>(),
                    fault in any_fault()) -> RepairFacts {
        let received_on = stayed.map(|days| completed_on - chrono::Days::new(days));
        RepairFacts { received_on, completed_on, paid, fault }
    }
}

prop_compose! {
    fn any_contract()(confirmed_on in prop::option::of(any_day()), revoked_on in prop::option::of(any_day()),
                      months in prop::option::of(0..600u32), days in prop::option::of(0..3650u32), worldwide in any::<bool>()) -> Contract {
        let territory = worldwide.then_some(Territory::Worldwide);
        let terms = ContractTerms { repair_months: months, replacement_days: days, no_invoice_months: months, territory, ..Default::default() };
        Contract { number: "K1".to_owned(), confirmed_on, revoked_on, terms }
    }
}

prop_compose! {
    pub fn any_facts()(made in any_day(), left in 0..1000u64, sold in prop::option::of((any_day(), any::<bool>(), any_region())),
                   poe in any::<bool>(), sold_by_maker in any::<bool>(), discontinued in any::<bool>(),
                   own_sale in prop::option::of(any_day()), contract in prop::option::of(any_contract()), repairs in prop::collection::vec(any_repair(), 0..5),
                   replaced in any::<bool>()) -> Facts {
        Facts {
            original: UnitFacts {
                product_type: if poe { ProductType::PoeSwitch } else { ProductType::Other },
                manufactured_on: made,
                ex_factory_on: made + chrono::Days::new(left),
                sold_by_maker,
            },
            discontinued,
            equivalents: vec!["PS-2".to_owned()],
            own_sale: own_sale.map(|sold_on| SaleFacts { sold_on, invoice: true, region: None }),
            sale: sold.map(|(sold_on, invoice, region)| SaleFacts { sold_on, invoice, region }),
            contract,
            repairs,
            superseded_by: replaced.then(|| Serial::parse("NEW1").unwrap()),
        }
    }
}

prop_compose! {
    pub fn any_report()(on in any_day(), part in prop::option::of(prop::sample::select(vec![Part::Host, Part::PowerSupply, Part::Accessory])),
                    fault in any_fault(), performance_fault in prop::option::of(any::<bool>()), scratched in prop::option::of(any::<bool>()),
                    power_supply_damage in prop::option::of(any::<bool>()), region_of_use in any_region(),
                    findings in prop::collection::btree_set(prop::sample::select(vec![C::X1, C::X3, C::X5, C::X8]), 0..3),
                    no_fault_found in any::<bool>(), inspected in any::<bool>()) -> Report {
        let appearance = scratched.map(|scratched| if scratched { Appearance::Scratched } else { Appearance::Intact });
        let told = Told { part, fault, performance_fault, appearance, power_supply_damage, region_of_use };
        Report { on, told, findings, no_fault_found, inspected }
    }
}

/// A decision that contradicts itself would be no proof.
pub fn agrees_with_itself(decision: &Decision) {
    let held = |clause: C| decision.checks.iter().any(|check| check.clause == clause && check.held);
    let yes = decision.remedy.is_a_yes();
    assert_eq!(decision.outbound_freight == Some(Payer::Maker), yes);
    assert_eq!(decision.windows.is_empty(), decision.superseded_by.is_some());
    assert_eq!(decision.clauses.contains(&C::S5), held(C::S5) && decision.superseded_by.is_none());
    for clause in &decision.clauses {
        match clause {
            C::S1 | C::S2 | C::S3 | C::S4 => assert!(!held(*clause), "{clause} failed and held"),
            // T7 decides both ways: inside its week, and outside.
            C::T7 => {}
            _ => assert!(held(*clause), "{clause} decided and did not hold: {decision:?}"),
        }
    }
    assert!(
        decision.clauses.is_empty() || decision.clauses.iter().collect::<BTreeSet<_>>().len() == decision.clauses.len()
    );
    assert!(decision.windows.iter().all(|window| window.period.first <= window.period.last));
    assert!(
        decision.covered_until.is_none_or(|last| last >= decision.as_of),
        "covered until a day before: {decision:?}"
    );
    assert!(!yes || decision.days_left().is_some(), "a yes without a day: {decision:?}");
    let won: Vec<_> = decision.start_candidates.iter().filter(|candidate| candidate.won).collect();
    assert_eq!(won.len(), usize::from(decision.superseded_by.is_none()));
    assert_eq!(won.first().map(|won| (won.basis, won.on)), decision.start.map(|start| (start.basis, Some(start.on))));
    assert!(decision.start_candidates.first().is_none_or(|first| first.won), "the winner stands first");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn the_function_answers_for_every_input_and_agrees_with_itself(facts in any_facts(), report in any_report()) {
        agrees_with_itself(&decide(&standard(), &facts, &report).unwrap());
    }

    #[test]
    fn windows_never_depend_on_the_order_of_repairs(facts in any_facts(), report in any_report(), by in 0..5usize) {
        let mut turned = facts.clone();
        let count = turned.repairs.len();
        turned.repairs.rotate_left(by % count.max(1));
        prop_assert_eq!(decide(&standard(), &facts, &report).unwrap(), decide(&standard(), &turned, &report).unwrap());
    }

    #[test]
    fn a_stored_decision_can_be_made_again(facts in any_facts(), report in any_report()) {
        let decision = decide(&standard(), &facts, &report).unwrap();
        let kept: (Facts, Report, Decision) =
            serde_json::from_str(&serde_json::to_string(&(facts, report, decision.clone())).unwrap()).unwrap();
        prop_assert_eq!(&decide(&standard(), &kept.0, &kept.1).unwrap(), &decision);
        prop_assert_eq!(kept.2, decision);
    }
}
