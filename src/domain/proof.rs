//! The proof of a decision: for each clause in play, whether it held, and the fact it read. A person checks it by hand.

use serde::{Deserialize, Serialize};

use super::{
    clause::Clause,
    coverage::{Ground, StartBasis, Window},
    facts::{Appearance, Part},
};

/// One clause in play.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// The clause.
    pub clause: Clause,
    /// Whether it held.
    pub held: bool,
    /// The fact it read. Never personal data.
    pub fact: String,
}

/// Each clause in play, in the order of the ladder.
pub(super) fn checks(ground: &Ground<'_>) -> Vec<Check> {
    if let Some(successor) = &ground.facts.superseded_by {
        return vec![check(Clause::T5, true, format!("replaced by {successor}"))];
    }
    let mut checks = scope(ground);
    checks.push(start(ground));
    checks.extend(condition(ground));
    checks.extend(ground.windows.iter().map(|window| in_window(ground, window)));
    let replaces = held(&checks, Clause::T1) && held(&checks, Clause::T8);
    let covered = replaces || [Clause::T2, Clause::T6, Clause::P2].into_iter().any(|clause| held(&checks, clause));
    checks.push(check(Clause::X2, !covered && !ground.before_sale(), format!("asked about {}", ground.report.on)));
    if ground.facts.discontinued {
        checks.push(check(Clause::T3, true, "the model is discontinued"));
    }
    if let Some(contract) = &ground.facts.contract {
        // Without its number, which only the seller, the buyer and staff may know.
        let fact = match (contract.confirmed_on, contract.revoked_on) {
            (None, _) => "the sale's contract is not confirmed".to_owned(),
            (Some(from), None) => format!("the sale's contract is confirmed from {from}"),
            (Some(from), Some(until)) => format!("the sale's contract is confirmed from {from}, revoked from {until}"),
        };
        checks.push(check(Clause::S5, ground.contract.is_some(), fact));
    }
    checks
}

fn held(checks: &[Check], clause: Clause) -> bool {
    checks.iter().any(|check| check.clause == clause && check.held)
}

fn check(clause: Clause, held: bool, fact: impl Into<String>) -> Check {
    Check { clause, held, fact: fact.into() }
}

/// S1 to S4.
fn scope(ground: &Ground<'_>) -> Vec<Check> {
    let outside = ground.outside();
    let original = &ground.facts.original;
    let sold_in = ground.facts.sale.as_ref().and_then(|sale| sale.region.as_ref());
    let used_in = ground.report.told.region_of_use.as_ref();
    let place = |region: Option<&super::region::Region>| region.map_or("not given".to_owned(), ToString::to_string);
    [
        (Clause::S1, format!("product type {}", original.product_type)),
        (
            Clause::S2,
            format!(
                "manufactured on {}, commitment from {}",
                original.manufactured_on, ground.policy.manufactured_from
            ),
        ),
        (Clause::S3, if original.sold_by_maker { "sold by the maker" } else { "not sold by the maker" }.to_owned()),
        (Clause::S4, format!("sold in {}, used in {}", place(sold_in), place(used_in))),
    ]
    .into_iter()
    .map(|(clause, fact)| check(clause, !outside.contains(&clause), fact))
    .collect()
}

/// T12: which date starts the warranty. It holds where the ex-factory date had to serve.
fn start(ground: &Ground<'_>) -> Check {
    let fact = match ground.start.basis {
        StartBasis::Invoice => format!("invoice dated {}", ground.start.on),
        StartBasis::ExFactory => format!(
            "no invoice: left the factory on {}, starts {} months later on {}",
            ground.facts.original.ex_factory_on, ground.terms.no_invoice_months, ground.start.on
        ),
    };
    check(Clause::T12, ground.start.basis == StartBasis::ExFactory, fact)
}

/// What was told and found of the unit: T8 to T10, and the findings.
fn condition(ground: &Ground<'_>) -> Vec<Check> {
    let told = &ground.report.told;
    let mut checks = Vec::new();
    if ground.report.no_fault_found {
        checks.push(check(Clause::T9, true, "inspection found no fault"));
    }
    match told.part.unwrap_or(Part::Host) {
        Part::Accessory => {}
        Part::PowerSupply => {
            let damaged = told.power_supply_damage.unwrap_or(false);
            checks.push(check(
                Clause::T10,
                damaged,
                if damaged { "power supply damaged" } else { "power supply undamaged" },
            ));
        }
        Part::Host => {}
    }
    let fault = if told.performance_fault.unwrap_or(true) { "performance fault" } else { "no performance fault" };
    let looks = match told.appearance.unwrap_or(Appearance::Intact) {
        Appearance::Intact => "intact",
        Appearance::Scratched => "scratched",
    };
    checks.push(check(Clause::T8, ground.direct_replacement_allowed(), format!("{fault}, appearance {looks}")));
    let found = ground.report.findings.iter().filter(|clause| clause.is_finding());
    checks.extend(found.map(|clause| check(*clause, true, "found by inspection")));
    checks
}

fn in_window(ground: &Ground<'_>, window: &Window) -> Check {
    let on = ground.report.on;
    let held = ground.holds(window);
    let place = if on > window.period.last {
        "after"
    } else if on < window.period.first {
        "before"
    } else {
        "inside"
    };
    let fault = match (window.clause, &window.fault) {
        (Clause::P2, Some(fault)) => format!(", fault {fault}"),
        (Clause::P2, None) => ", no fault code".to_owned(),
        _ => String::new(),
    };
    check(window.clause, held, format!("{on} {place} {} to {}{fault}", window.period.first, window.period.last))
}
