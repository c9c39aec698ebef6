//! The proof of a decision: for each clause in play, whether it held, and the fact it read. A person checks it by hand.

use serde::{Deserialize, Serialize};

use super::{
    clause::Clause,
    coverage::Ground,
    fact::Fact,
    facts::{Appearance, Part},
    start::StartBasis,
};

/// One clause in play.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// The clause.
    pub clause: Clause,
    /// Whether it held.
    pub held: bool,
    /// The fact it read.
    pub fact: Fact,
}

/// Each clause in play, in the order of the ladder.
pub(super) fn checks(ground: &Ground<'_>) -> Vec<Check> {
    if let Some(successor) = &ground.facts.superseded_by {
        return vec![check(Clause::T5, true, Fact::ReplacedBy(successor.clone()))];
    }
    let mut checks = scope(ground);
    checks.push(start(ground));
    checks.extend(condition(ground));
    let on = ground.report.on;
    checks.extend(
        ground
            .windows
            .iter()
            .map(|window| check(window.clause, ground.holds(window), Fact::Against { on, window: window.clone() })),
    );
    if let Some((repairs, needed)) = ground.same_fault_repairs() {
        let fault = ground.report.told.fault.clone();
        checks.push(check(Clause::S7, repairs >= needed, Fact::SameFault { fault, repairs, needed }));
    }
    let replaces = held(&checks, Clause::T1) && held(&checks, Clause::T8);
    let covered = replaces || [Clause::T2, Clause::T6, Clause::P2].into_iter().any(|clause| held(&checks, clause));
    checks.push(check(Clause::X2, !covered && !ground.before_sale(), Fact::AskedAbout(on)));
    if ground.facts.discontinued {
        checks.push(check(Clause::T3, true, Fact::Discontinued));
    }
    if let Some(contract) = &ground.facts.contract {
        let fact = Fact::Contract { confirmed_on: contract.confirmed_on, revoked_on: contract.revoked_on };
        checks.push(check(Clause::S5, ground.contract.is_some(), fact));
    }
    checks
}

fn held(checks: &[Check], clause: Clause) -> bool {
    checks.iter().any(|check| check.clause == clause && check.held)
}

fn check(clause: Clause, held: bool, fact: Fact) -> Check {
    Check { clause, held, fact }
}

/// S1 to S4.
fn scope(ground: &Ground<'_>) -> Vec<Check> {
    let outside = ground.outside();
    let original = &ground.facts.original;
    let sold = ground.facts.sale.as_ref().and_then(|sale| sale.region.clone());
    let used = ground.report.told.region_of_use.clone();
    let (on, from) = (original.manufactured_on, ground.policy.manufactured_from);
    [
        (Clause::S1, Fact::ProductType(original.product_type)),
        (Clause::S2, Fact::Manufactured { on, from }),
        (Clause::S3, Fact::SoldByMaker(original.sold_by_maker)),
        (Clause::S4, Fact::Regions { sold, used }),
    ]
    .into_iter()
    .map(|(clause, fact)| check(clause, !outside.contains(&clause), fact))
    .collect()
}

/// T12: which date starts the warranty. It holds where the ex-factory date had to serve.
fn start(ground: &Ground<'_>) -> Check {
    let won = &ground.candidates[0];
    check(Clause::T12, won.basis == StartBasis::ExFactory, won.why.clone())
}

/// What was told and found of the unit: T8 to T10, and the findings.
fn condition(ground: &Ground<'_>) -> Vec<Check> {
    let told = &ground.report.told;
    let mut checks = Vec::new();
    if ground.report.no_fault_found {
        checks.push(check(Clause::T9, true, Fact::NoFaultFound));
    }
    if told.part == Some(Part::PowerSupply) {
        let damaged = told.power_supply_damage.unwrap_or(false);
        checks.push(check(Clause::T10, damaged, Fact::PowerSupply { damaged }));
    }
    let performance_fault = told.performance_fault.unwrap_or(true);
    let appearance = told.appearance.unwrap_or(Appearance::Intact);
    let condition = Fact::Condition { performance_fault, appearance };
    checks.push(check(Clause::T8, ground.direct_replacement_allowed(), condition));
    let found = ground.report.findings.iter().filter(|clause| clause.is_finding());
    checks.extend(found.map(|clause| check(*clause, true, Fact::Found)));
    checks
}
