//! A decision on the wire, with the texts of its clauses and who to call, in the caller's language.

use super::wire::{date, number, text};
use crate::{
    contract::v1,
    domain::{
        actor::Actor,
        clause::Clause,
        coverage::{Decision, Remedy},
        event::Vouchers,
        fact::Language,
        facts::Told,
        policy::{Policies, Policy},
        proof::Check,
        refusal::Refusal,
        start::StartCandidate,
        summary,
        vouchers::{RegisteredSale, verify},
        windows::Window,
    },
};

/// A decision as the contract says it. Its facts are in English where no language is asked for.
pub fn decision(decision: &Decision, language: Option<Language>) -> v1::Decision {
    let language = language.unwrap_or(Language::English);
    v1::Decision {
        remedy: number!(decision.remedy),
        clauses: decision.clauses.iter().map(|clause| number!(*clause)).collect(),
        windows: decision.windows.iter().map(window).collect(),
        start_basis: decision.start.map_or(0, |start| number!(start.basis)),
        start_date: decision.start.map(|start| date(start.on)),
        inbound_freight: decision.inbound_freight.map_or(0, |payer| number!(payer)),
        outbound_freight: decision.outbound_freight.map_or(0, |payer| number!(payer)),
        checks: decision.checks.iter().map(|of| check(of, language)).collect(),
        assumed: decision.assumed.clone(),
        policy_version: decision.policy_version.clone(),
        as_of_date: Some(date(decision.as_of)),
        superseded_by: text(decision.superseded_by.as_ref()),
        equivalent_models: decision.equivalents.clone(),
        models_in_stock: Vec::new(),
        start_candidates: decision.start_candidates.iter().map(|of| candidate(of, language)).collect(),
        // A window ends at most some decades after the date asked about.
        days_left: decision.days_left().map(|days| i32::try_from(days).unwrap_or(i32::MAX)),
    }
}

fn window(window: &Window) -> v1::Window {
    v1::Window {
        clause: number!(window.clause),
        first_date: Some(date(window.period.first)),
        last_date: Some(date(window.period.last)),
        fault_code: text(window.fault.as_ref()),
        last_date_open: window.open.is_some(),
    }
}

fn check(check: &Check, language: Language) -> v1::ClauseCheck {
    v1::ClauseCheck { clause: number!(check.clause), held: check.held, fact: check.fact.phrase(language) }
}

fn candidate(candidate: &StartCandidate, language: Language) -> v1::StartCandidate {
    v1::StartCandidate {
        basis: number!(candidate.basis),
        date: candidate.on.map(date),
        won: candidate.won,
        why: candidate.why.phrase(language),
    }
}

/// The answer as one plain sentence; in English where no language is asked for.
pub fn summary(policies: &Policies, decision: &Decision, language: Option<Language>) -> String {
    let Some(policy) = policies.named(&decision.policy_version) else { return String::new() };
    summary::summary(decision, &policy.contact, language.unwrap_or(Language::English))
}

/// Clauses, a bit for each.
#[derive(Clone, Copy, Default)]
struct Clauses(u64);

impl Clauses {
    fn add(&mut self, clause: Clause) {
        self.0 |= 1 << clause as u64;
    }

    /// Those that a decision names: deciding, in play, of the windows and of the freight.
    fn add_named_by(&mut self, decision: &Decision) {
        decision.clauses.iter().for_each(|clause| self.add(*clause));
        decision.checks.iter().for_each(|check| self.add(check.clause));
        if decision.start.is_some() {
            self.add(Clause::M5);
            self.add(Clause::M6);
        }
    }

    /// Their texts, in the order of the commitment; in both languages where none is asked for.
    fn texts(self, policy: &Policy, language: Option<Language>) -> Vec<v1::ClauseText> {
        let named = policy.texts.iter().filter(|(clause, _)| self.0 & 1 << **clause as u64 != 0);
        let asked_for =
            |of, text: &String| if language.is_none_or(|asked| asked == of) { text.clone() } else { String::new() };
        named
            .map(|(clause, text)| v1::ClauseText {
                clause: number!(*clause),
                chinese: asked_for(Language::Chinese, &text.zh),
                english: asked_for(Language::English, &text.en),
            })
            .collect()
    }
}

/// The texts of the clauses that a decision names, each once.
pub fn texts(policies: &Policies, decision: &Decision, language: Option<Language>) -> Vec<v1::ClauseText> {
    let told = TextsTold::default().tell(policies, decision, language);
    told.map(|told| told.texts).unwrap_or_default()
}

/// The clauses told so far in one reply or stream, by policy version and language: each text is told once.
#[derive(Default)]
pub struct TextsTold(Vec<(String, Option<Language>, Clauses)>);

impl TextsTold {
    /// The texts that this decision names and none before it did; none where there are none.
    pub fn tell(
        &mut self,
        policies: &Policies,
        decision: &Decision,
        language: Option<Language>,
    ) -> Option<v1::PolicyTexts> {
        let version = &decision.policy_version;
        let known = self.0.iter().position(|(of, told_in, _)| of == version && *told_in == language);
        let at = known.unwrap_or_else(|| {
            self.0.push((version.clone(), language, Clauses::default()));
            self.0.len() - 1
        });
        let told = &mut self.0[at].2;
        let mut named = *told;
        named.add_named_by(decision);
        let new = Clauses(named.0 & !told.0);
        *told = named;
        let policy = policies.named(version).filter(|_| new.0 != 0)?;
        Some(v1::PolicyTexts {
            policy_version: version.clone(),
            texts: new.texts(policy, language),
            contact: Some(who_to_call(policy)),
        })
    }
}

/// Who to call, by the policy that decided, where the decision is not a yes (M8).
pub fn contact(policies: &Policies, remedy: Remedy, policy_version: &str) -> Option<v1::AfterSalesContact> {
    policies.named(policy_version).filter(|_| !remedy.is_a_yes()).map(who_to_call)
}

fn who_to_call(policy: &Policy) -> v1::AfterSalesContact {
    v1::AfterSalesContact { telephone: policy.contact.telephone.clone(), email: policy.contact.email.clone() }
}

/// How a caller stands who files with these vouchers (M1, M2).
pub fn standing(caller: &Actor, given: &Vouchers, sale: Option<&RegisteredSale>) -> v1::VoucherStanding {
    match (verify(caller, &Vouchers::default(), sale), verify(caller, given, sale)) {
        (Ok(true), _) => v1::VoucherStanding::NotNeeded,
        (_, Ok(true)) => v1::VoucherStanding::Verified,
        (_, Ok(false)) => v1::VoucherStanding::Unverified,
        (_, Err(Refusal::VoucherRequired)) => v1::VoucherStanding::Required,
        (_, Err(_)) => v1::VoucherStanding::Mismatch,
    }
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
