//! The remedy, decided by the commitment's ladder. Pure: facts, report and policy in, decision with its proof out.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumString};

use super::{
    calendar::CalendarEnds,
    clause::Clause,
    facts::{Appearance, Facts, Part, Report},
    period::{Period, months_after},
    policy::{Policies, Policy, Terms, Territory},
    proof::{self, Check},
    serial::Serial,
};

/// What the unit's owner gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Display, EnumString, strum::EnumIter)]
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

/// Where the start comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Display, strum::EnumIter)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum StartBasis {
    /// The invoice date of the registered sale.
    Invoice,
    /// Some months after the ex-factory date (T12).
    ExFactory,
}

/// The start of the warranty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// Where it comes from.
    pub basis: StartBasis,
    /// The day.
    pub on: NaiveDate,
}

/// A window and the clause that opens it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Window {
    /// T1, T2, T6, T7 or P2.
    pub clause: Clause,
    /// When.
    pub period: Period,
    /// P2: the fault that was repaired for a price.
    pub fault: Option<String>,
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
}

/// What the ladder and its proof both read: policy, terms, start and windows, worked out once.
pub(super) struct Ground<'a> {
    pub policy: &'a Policy,
    pub terms: Terms,
    pub contract: Option<&'a str>,
    pub start: Start,
    pub windows: Vec<Window>,
    pub facts: &'a Facts,
    pub report: &'a Report,
}

/// Decides. The order of the rungs in `remedy` is the commitment's precedence.
pub fn decide(policies: &Policies, facts: &Facts, report: &Report) -> Result<Decision, CalendarEnds> {
    let ground = Ground::new(policies, facts, report);
    let (remedy, mut clauses) = ground.remedy();
    let replaced = facts.superseded_by.is_some();
    if ground.contract.is_some() && !replaced {
        clauses.push(Clause::S5);
    }
    let outbound = if remedy.is_a_yes() { Payer::Maker } else { Payer::Sender };
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
        equivalents: if facts.discontinued { facts.equivalents.clone() } else { Vec::new() },
        windows: if replaced { Vec::new() } else { ground.windows },
    })
}

impl<'a> Ground<'a> {
    fn new(policies: &'a Policies, facts: &'a Facts, report: &'a Report) -> Self {
        let invoiced = facts.sale.as_ref().filter(|sale| sale.invoice).map(|sale| sale.sold_on);
        let policy = policies.in_force(invoiced.unwrap_or(facts.original.ex_factory_on));
        let contract = facts.contract.as_ref().filter(|contract| contract.in_force(report.on));
        let terms = contract.map_or(policy.terms, |contract| contract.terms.over(&policy.terms));
        let start = match invoiced {
            Some(on) => Start { basis: StartBasis::Invoice, on },
            None => Start {
                basis: StartBasis::ExFactory,
                on: months_after(facts.original.ex_factory_on, terms.no_invoice_months),
            },
        };
        let windows = windows(&terms, start.on, facts);
        let contract = contract.map(|contract| contract.number.as_str());
        Self { policy, terms, contract, start, windows, facts, report }
    }

    /// The ladder (clauses.md, "decided in this order"): one return a rung.
    fn remedy(&self) -> (Remedy, Vec<Clause>) {
        use Clause::{P2, T1, T2, T3, T5, T6, T7, T8, T9, T10, X2};
        let told = &self.report.told;
        let part = told.part.unwrap_or(Part::Host);
        let findings: Vec<Clause> = self.report.findings.iter().copied().filter(|clause| clause.is_finding()).collect();
        let outside = self.outside();
        if self.facts.superseded_by.is_some() {
            return (Remedy::None, vec![T5]);
        }
        if self.before_sale() {
            return (Remedy::None, vec![]);
        }
        if self.report.no_fault_found {
            return (Remedy::ReturnAsIs, vec![T9]);
        }
        if part == Part::Accessory && findings.is_empty() && outside.is_empty() && self.inside(T7) {
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
        if !outside.is_empty() && self.inside(P2) {
            return (Remedy::FreeRepair, vec![P2]);
        }
        if !outside.is_empty() {
            return (Remedy::PaidService, outside);
        }
        if self.inside(T1) && self.direct_replacement_allowed() {
            let discontinued = self.facts.discontinued.then_some(T3);
            return (Remedy::DirectReplacement, [T1, T8].into_iter().chain(discontinued).collect());
        }
        for clause in [T2, T6, P2] {
            if self.inside(clause) {
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

    /// Whether a window of this clause holds on the date of the report.
    fn inside(&self, clause: Clause) -> bool {
        self.windows.iter().any(|window| window.clause == clause && self.holds(window))
    }

    /// T1, T2 and T7 hold before a start that T12 gave, too; a repair's window only from its own first day.
    pub(super) fn holds(&self, window: &Window) -> bool {
        let on = self.report.on;
        match window.clause {
            Clause::P2 => {
                window.fault.is_some() && window.fault == self.report.told.fault && window.period.contains(on)
            }
            Clause::T6 => window.period.contains(on),
            _ => on <= window.period.last && !self.before_sale(),
        }
    }
}

/// Every window, sorted, each once. Repairs completed after the date asked about are listed too.
fn windows(terms: &Terms, start: NaiveDate, facts: &Facts) -> Vec<Window> {
    let fixed = [
        (Clause::T1, Period::of_days(start, terms.replacement_days)),
        (Clause::T2, Period::of_months(start, terms.repair_months)),
        (Clause::T7, Period::of_days(start, terms.accessory_days)),
    ]
    .map(|(clause, period)| Window { clause, period, fault: None });
    let repairs = facts.repairs.iter().map(|repair| {
        if repair.paid {
            let period = Period::of_months(repair.completed_on, terms.after_paid_repair_months);
            Window { clause: Clause::P2, period, fault: repair.fault.clone() }
        } else {
            let period = Period::of_months(repair.completed_on, terms.after_repair_months);
            Window { clause: Clause::T6, period, fault: None }
        }
    });
    let mut windows: Vec<Window> = fixed.into_iter().chain(repairs).collect();
    windows.sort();
    windows.dedup();
    windows
}
