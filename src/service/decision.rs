//! A decision on the wire, with the texts of its clauses and who to call.

use super::wire::{date, number, text};
use crate::{
    contract::v1,
    domain::{
        clause::Clause,
        coverage::{Decision, Remedy, Window},
        facts::Told,
        language::Language,
        policy::{Policies, Policy, Text},
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
pub fn texts(policies: &Policies, decision: &Decision, language: Option<Language>) -> Vec<v1::ClauseText> {
    let mut told = TextsTold::default();
    told.tell(policies, decision, language).map(|told| told.texts).unwrap_or_default()
}

/// The clauses told so far in one reply or stream, by policy version and language: each text is told once.
#[derive(Default)]
pub struct TextsTold(Vec<(String, Option<Language>, u64)>);

impl TextsTold {
    /// The texts that this decision names and none before it did; none where there are none.
    pub fn tell(
        &mut self,
        policies: &Policies,
        decision: &Decision,
        language: Option<Language>,
    ) -> Option<v1::PolicyTexts> {
        let version = &decision.policy_version;
        let at =
            self.0.iter().position(|(of, told_in, _)| of == version && *told_in == language).unwrap_or_else(|| {
                self.0.push((version.clone(), language, 0));
                self.0.len() - 1
            });
        let told = &mut self.0[at].2;
        let freight = decision.start.is_some().then_some([Clause::M5, Clause::M6]);
        let named = decision.clauses.iter().copied().chain(decision.checks.iter().map(|check| check.clause));
        // There are 37 clauses: one bit each.
        let named = named.chain(freight.into_iter().flatten()).fold(0, |bits, clause| bits | 1_u64 << clause as u64);
        let new = named & !*told;
        *told |= new;
        let policy = policies.named(version).filter(|_| new != 0)?;
        let texts = policy.texts.iter().filter(|(clause, _)| new & 1 << **clause as u64 != 0);
        Some(v1::PolicyTexts {
            policy_version: version.clone(),
            texts: texts.map(|(clause, text)| clause_text(*clause, text, language)).collect(),
            contact: Some(contact_of(policy)),
        })
    }
}

fn clause_text(clause: Clause, text: &Text, language: Option<Language>) -> v1::ClauseText {
    let only = |wanted, text: &str| match language {
        Some(other) if other != wanted => String::new(),
        _ => text.to_owned(),
    };
    v1::ClauseText {
        clause: number!(clause),
        chinese: only(Language::Chinese, &text.zh),
        english: only(Language::English, &text.en),
    }
}

/// Who to call, by the policy that decided, where the decision is not a yes (M8).
pub fn contact(policies: &Policies, remedy: Remedy, policy_version: &str) -> Option<v1::AfterSalesContact> {
    policies.named(policy_version).filter(|_| !remedy.is_a_yes()).map(contact_of)
}

fn contact_of(policy: &Policy) -> v1::AfterSalesContact {
    v1::AfterSalesContact { telephone: policy.contact.telephone.clone(), email: policy.contact.email.clone() }
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
