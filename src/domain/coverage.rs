//! The remedy, decided by the commitment's ladder. Pure: facts, report and policy in, decision with its proof out.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumString};

use super::{
    calendar::CalendarEnds,
    clause::Clause,
    facts::{Appearance, Facts, Part, Report},
    policy::{Policies, Policy, Terms, Territory},
    proof::{self, Check},
    serial::Serial,
    start::{self, Start, StartBasis, StartCandidate},
    windows::{Counting, Window},
};

/// What the unit's owner gets.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    Display,
    EnumString,
    strum::EnumIter,
    strum::EnumCount,
    strum::IntoStaticStr,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum Remedy {
    /// Nothing to decide: replaced before, or not started.
    None,
    /// A good unit instead (T1, T8).
    DirectReplacement,
    /// Repaired free of charge (T2, T6, P2).
    FreeRepair,
    /// The accessory is replaced free (T7).
    AccessoryReplacement,
    /// No fault found (T9).
    ReturnAsIs,
    /// Not covered; the part may be bought (T7, T10).
    PurchaseSeparately,
    /// Not covered; repaired for a price (P1).
    PaidService,
}

impl Remedy {
    /// Whether the commitment gives something: then the maker pays the way out (M6).
    pub fn is_a_yes(self) -> bool {
        matches!(self, Self::DirectReplacement | Self::FreeRepair | Self::AccessoryReplacement)
    }
}

/// Who pays a leg of freight (M5, M6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Display, EnumString, strum::EnumIter)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum Payer {
    /// The maker.
    Maker,
    /// Whoever sends the unit in.
    Sender,
}

/// A decision with its proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// What the unit's owner gets.
    pub remedy: Remedy,
    /// The deciding clauses in order; S5 last where a contract is in force.
    pub clauses: Vec<Clause>,
    /// Every window, sorted.
    pub windows: Vec<Window>,
    /// None for a unit that was replaced.
    pub start: Option<Start>,
    /// M5; none for a unit that was replaced.
    pub inbound_freight: Option<Payer>,
    /// M6; none for a unit that was replaced.
    pub outbound_freight: Option<Payer>,
    /// Each clause in play.
    pub checks: Vec<Check>,
    /// What was not told.
    pub assumed: Vec<String>,
    /// The policy that decided.
    pub policy_version: String,
    /// The date that decided.
    pub as_of: NaiveDate,
    /// The unit that took this one's place.
    pub superseded_by: Option<Serial>,
    /// Models that may replace a discontinued one.
    pub equivalents: Vec<String>,
    /// Every date that might have started the warranty, the winner first; none for a unit that was replaced.
    #[serde(default)]
    pub start_candidates: Vec<StartCandidate>,
    /// The last day of the longest window that holds for a free repair or replacement.
    #[serde(default)]
    pub covered_until: Option<NaiveDate>,
}

impl Decision {
    /// Days of cover left after the date that decided; 0 on the last one, none where nothing covers it.
    pub fn days_left(&self) -> Option<i64> {
        Some((self.covered_until? - self.as_of).num_days())
    }
}

/// What the ladder and its proof both read: policy, terms, start and windows, worked out once.
pub(super) struct Ground<'a> {
    pub policy: &'a Policy,
    pub terms: Terms,
    pub contract: Option<&'a str>,
    /// Every date that might start it, the winner first: never empty.
    pub candidates: Vec<StartCandidate>,
    pub start: Start,
    pub windows: Vec<Window>,
    pub facts: &'a Facts,
    pub report: &'a Report,
}

/// Decides. The order of the rungs in `remedy` is the commitment's precedence. A decision that hangs on how late a last day
/// is, which no calendar tells yet, is none.
pub fn decide(policies: &Policies, facts: &Facts, report: &Report) -> Result<Decision, CalendarEnds> {
    let ground = Ground::new(policies, facts, report);
    let (remedy, mut clauses) = ground.remedy(None);
    for window in &ground.windows {
        if let Some(day) = window.open
            && ground.remedy(Some(window)) != (remedy, clauses.clone())
        {
            return Err(CalendarEnds { day });
        }
    }
    let replaced = facts.superseded_by.is_some();
    if ground.contract.is_some() && !replaced {
        clauses.push(Clause::S5);
    }
    let outbound = if remedy.is_a_yes() { Payer::Maker } else { Payer::Sender };
    let if_discontinued = |models: &[String]| if facts.discontinued { models.to_vec() } else { Vec::new() };
    Ok(Decision {
        remedy,
        clauses,
        start: (!replaced).then_some(ground.start),
        inbound_freight: (!replaced).then_some(Payer::Sender),
        outbound_freight: (!replaced).then_some(outbound),
        checks: proof::checks(&ground),
        assumed: report.assumed().into_iter().map(str::to_owned).collect(),
        policy_version: ground.policy.version.clone(),
        as_of: report.on,
        superseded_by: facts.superseded_by.clone(),
        equivalents: if_discontinued(&facts.equivalents),
        covered_until: ground.covered_until(),
        start_candidates: if replaced { Vec::new() } else { ground.candidates },
        windows: if replaced { Vec::new() } else { ground.windows },
    })
}

impl<'a> Ground<'a> {
    fn new(policies: &'a Policies, facts: &'a Facts, report: &'a Report) -> Self {
        let policy = policies.in_force(facts.invoiced_on().unwrap_or(facts.original.ex_factory_on));
        let contract = facts.contract.as_ref().filter(|contract| contract.in_force(report.on));
        let terms = contract.map_or(policy.terms, |contract| contract.terms.over(&policy.terms));
        let start = start::start(facts, &terms);
        let counting = Counting { policy, calendar: policies.calendar(), terms: &terms };
        let windows = counting.windows(start.on, &facts.repairs, report.on);
        let contract = contract.map(|contract| contract.number.as_str());
        let candidates = start::candidates(facts, &terms);
        Self { policy, terms, contract, candidates, start, windows, facts, report }
    }

    /// The ladder (clauses.md, "decided in this order"): one return a rung. `late` is a window taken as if its last day came
    /// after the date of the report.
    fn remedy(&self, late: Option<&Window>) -> (Remedy, Vec<Clause>) {
        use Clause::{P2, S7, T1, T2, T3, T5, T6, T7, T8, T9, T10, X2};
        let inside = |clause| self.inside(clause, late);
        let told = &self.report.told;
        let part = told.part.unwrap_or(Part::Host);
        let findings: Vec<Clause> = self.report.findings.iter().copied().filter(|clause| clause.is_finding()).collect();
        let outside = self.outside();
        let discontinued = self.facts.discontinued.then_some(T3);
        if self.facts.superseded_by.is_some() {
            return (Remedy::None, vec![T5]);
        }
        if self.before_sale() {
            return (Remedy::None, vec![]);
        }
        if self.report.no_fault_found {
            return (Remedy::ReturnAsIs, vec![T9]);
        }
        if part == Part::Accessory && findings.is_empty() && outside.is_empty() && inside(T7) {
            return (Remedy::AccessoryReplacement, vec![T7]);
        }
        if part == Part::Accessory {
            return (Remedy::PurchaseSeparately, vec![T7]);
        }
        if part == Part::PowerSupply && told.power_supply_damage.unwrap_or(false) {
            return (Remedy::PurchaseSeparately, vec![T10]);
        }
        if !findings.is_empty() {
            return (Remedy::PaidService, findings);
        }
        if !outside.is_empty() && inside(P2) {
            return (Remedy::FreeRepair, vec![P2]);
        }
        if !outside.is_empty() {
            return (Remedy::PaidService, outside);
        }
        if inside(T1) && self.direct_replacement_allowed() {
            return (Remedy::DirectReplacement, [T1, T8].into_iter().chain(discontinued).collect());
        }
        if inside(T2) && self.same_fault_repairs().is_some_and(|(repairs, needed)| repairs >= needed) {
            return (Remedy::DirectReplacement, [T2, S7].into_iter().chain(discontinued).collect());
        }
        for clause in [T2, T6, P2] {
            if inside(clause) {
                return (Remedy::FreeRepair, vec![clause]);
            }
        }
        (Remedy::PaidService, vec![X2])
    }

    /// Rung 2: only an invoice makes a date before the start "not started"; T12's start leaves it inside.
    pub(super) fn before_sale(&self) -> bool {
        self.start.basis == StartBasis::Invoice && self.report.on < self.start.on
    }

    /// Which of S1 to S4 failed, in the order of their numbers.
    pub(super) fn outside(&self) -> Vec<Clause> {
        let original = &self.facts.original;
        [
            (Clause::S1, self.policy.product_types.contains(&original.product_type)),
            (Clause::S2, original.manufactured_on >= self.policy.manufactured_from),
            (Clause::S3, original.sold_by_maker),
            (Clause::S4, self.inside_territory()),
        ]
        .into_iter()
        .filter_map(|(clause, held)| (!held).then_some(clause))
        .collect()
    }

    fn inside_territory(&self) -> bool {
        let sold_in = self.facts.sale.as_ref().and_then(|sale| sale.region.as_ref());
        let used_in = self.report.told.region_of_use.as_ref();
        self.terms.territory == Territory::Worldwide
            || [sold_in, used_in].into_iter().flatten().all(|region| region.is_mainland())
    }

    /// T8 beside its window: a performance fault and an intact appearance.
    pub(super) fn direct_replacement_allowed(&self) -> bool {
        self.report.told.performance_fault.unwrap_or(true)
            && self.report.told.appearance.unwrap_or(Appearance::Intact) == Appearance::Intact
    }

    /// How often the fault told was repaired free by the date of the report, in this unit or those it replaced (T5), and how
    /// often leads to a replacement (S7); none where the policy has no such rule.
    pub(super) fn same_fault_repairs(&self) -> Option<(u32, u32)> {
        let needed = self.policy.replacement_after_repairs?;
        let fault = self.report.told.fault.as_ref();
        let same = self.facts.repairs.iter().filter(|repair| {
            !repair.paid && repair.completed_on <= self.report.on && fault.is_some() && repair.fault.as_ref() == fault
        });
        Some((u32::try_from(same.count()).unwrap_or(u32::MAX), needed))
    }

    /// The last day of the longest window that holds on the date of the report and gives a free repair or replacement of the
    /// part that failed. A finding leaves it as it is: it ends no warranty, only excludes its own fault.
    fn covered_until(&self) -> Option<NaiveDate> {
        if self.facts.superseded_by.is_some() || self.before_sale() {
            return None;
        }
        let accessory = self.report.told.part == Some(Part::Accessory);
        let inside = self.outside().is_empty();
        let gives = |clause| match clause {
            Clause::P2 => !accessory,
            Clause::T7 => accessory && inside,
            Clause::T1 => !accessory && inside && self.direct_replacement_allowed(),
            _ => !accessory && inside,
        };
        let holding = self.windows.iter().filter(|window| gives(window.clause) && self.holds(window));
        holding.map(|window| window.period.last).max()
    }

    /// Whether a window of this clause holds on the date of the report.
    fn inside(&self, clause: Clause, late: Option<&Window>) -> bool {
        self.windows
            .iter()
            .filter(|window| window.clause == clause)
            .any(|window| self.holds_to(window, if late == Some(window) { NaiveDate::MAX } else { window.period.last }))
    }

    /// Whether it holds on the date of the report.
    pub(super) fn holds(&self, window: &Window) -> bool {
        self.holds_to(window, window.period.last)
    }

    /// T1, T2 and T7 hold before a start that T12 gave, too; a repair's window only from its own first day.
    fn holds_to(&self, window: &Window, last: NaiveDate) -> bool {
        let on = self.report.on;
        on <= last
            && match window.clause {
                Clause::P2 => {
                    window.fault.is_some() && window.fault == self.report.told.fault && window.period.first <= on
                }
                Clause::T6 => window.period.first <= on,
                _ => !self.before_sale(),
            }
    }
}
