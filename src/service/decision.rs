//! A decision on the wire, with the texts of its clauses and who to call.

use std::collections::BTreeSet;

use super::wire::{date, number, text};
use crate::{
    contract::v1,
    domain::{
        clause::Clause,
        coverage::{Decision, Remedy, Window},
        facts::Told,
        policy::Policies,
    },
};

/// A decision as the contract says it.
pub fn decision(decision: &Decision) -> v1::Decision {
    v1::Decision {
        remedy: number!(decision.remedy),
        clauses: decision.clauses.iter().map(|clause| number!(*clause)).collect(),
        windows: decision.windows.iter().map(window).collect(),
        start_basis: decision.start.map_or(0, |start| number!(start.basis)),
        start_date: decision.start.map(|start| date(start.on)),
        inbound_freight: decision.inbound_freight.map_or(0, |payer| number!(payer)),
        outbound_freight: decision.outbound_freight.map_or(0, |payer| number!(payer)),
        checks: decision
            .checks
            .iter()
            .map(|check| v1::ClauseCheck { clause: number!(check.clause), held: check.held, fact: check.fact.clone() })
            .collect(),
        assumed: decision.assumed.clone(),
        policy_version: decision.policy_version.clone(),
        as_of_date: Some(date(decision.as_of)),
        superseded_by: text(decision.superseded_by.as_ref()),
        equivalent_models: decision.equivalents.clone(),
        ..Default::default()
    }
}

fn window(window: &Window) -> v1::Window {
    v1::Window {
        clause: number!(window.clause),
        first_date: Some(date(window.period.first)),
        last_date: Some(date(window.period.last)),
        fault_code: text(window.fault.as_ref()),
        ..Default::default()
    }
}

/// The texts of the clauses that a decision names, each once: deciding, in play, of the windows and of the freight.
pub fn texts(policies: &Policies, decision: &Decision) -> Vec<v1::ClauseText> {
    let named: BTreeSet<Clause> = decision
        .clauses
        .iter()
        .copied()
        .chain(decision.checks.iter().map(|check| check.clause))
        .chain(decision.start.is_some().then_some([Clause::M5, Clause::M6]).into_iter().flatten())
        .collect();
    let Some(policy) = policies.named(&decision.policy_version) else { return Vec::new() };
    let text = |clause: Clause| policy.texts.get(&clause).map(|text| (clause, text));
    named
        .into_iter()
        .filter_map(text)
        .map(|(clause, text)| v1::ClauseText {
            clause: number!(clause),
            chinese: text.zh.clone(),
            english: text.en.clone(),
        })
        .collect()
}

/// Who to call, by the policy that decided, where the decision is not a yes (M8).
pub fn contact(policies: &Policies, remedy: Remedy, policy_version: &str) -> Option<v1::AfterSalesContact> {
    let contact = &policies.named(policy_version).filter(|_| !remedy.is_a_yes())?.contact;
    Some(v1::AfterSalesContact { telephone: contact.telephone.clone(), email: contact.email.clone() })
}

/// The facts of a fault as told.
pub fn report(told: &Told) -> v1::FaultReport {
    v1::FaultReport {
        part: told.part.map_or(0, |part| number!(part)),
        fault_code: text(told.fault.as_ref()),
        performance_fault: told.performance_fault,
        appearance: told.appearance.map_or(0, |appearance| number!(appearance)),
        power_supply_damage: told.power_supply_damage,
        region_of_use: text(told.region_of_use.as_ref()),
    }
}
