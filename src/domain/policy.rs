//! Policy versions: every number of the commitment, its texts, and what a contract may name instead (S5, S7).

use std::collections::{BTreeMap, HashSet};

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use strum::IntoEnumIterator;

use super::{
    calendar::{Calendar, LastDayOff},
    clause::Clause,
    facts::ProductType,
    next::Targets,
    period::is_plausible,
};

/// How long a unit repaired free of charge is covered (T6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AfterFreeRepair {
    /// At least the months of T6, from the day the repair was completed.
    #[default]
    AtLeast,
    /// The months of T6 on top of what is left of its cover.
    Added,
}

/// Whether the days that a unit spends in free repair lengthen the year (T2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RepairDaysExtend {
    /// They do not.
    #[default]
    No,
    /// By each calendar day from the one it came in to the one the repair was completed, both counted, each once.
    ByDaysTouched,
}

/// Where the commitment holds (S4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, strum::Display, strum::EnumIter)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum Territory {
    /// Mainland China.
    Mainland,
    /// Everywhere.
    Worldwide,
}

/// The numbers that open windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// T1, days.
    pub replacement_days: u32,
    /// T2, months.
    pub repair_months: u32,
    /// T7, days.
    pub accessory_days: u32,
    /// T6, months.
    pub after_repair_months: u32,
    /// P2, months.
    pub after_paid_repair_months: u32,
    /// T12, months.
    pub no_invoice_months: u32,
    /// S4.
    pub territory: Territory,
}

/// Terms agreed otherwise at a sale (S5): what is `None` stays the policy's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ContractTerms {
    /// T1, days.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replacement_days: Option<u32>,
    /// T2, months.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repair_months: Option<u32>,
    /// T7, days.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accessory_days: Option<u32>,
    /// T6, months.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_repair_months: Option<u32>,
    /// P2, months.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_paid_repair_months: Option<u32>,
    /// T12, months.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_invoice_months: Option<u32>,
    /// S4.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub territory: Option<Territory>,
}

impl ContractTerms {
    /// The policy's terms with what the contract names in their place.
    pub fn over(&self, policy: &Terms) -> Terms {
        Terms {
            replacement_days: self.replacement_days.unwrap_or(policy.replacement_days),
            repair_months: self.repair_months.unwrap_or(policy.repair_months),
            accessory_days: self.accessory_days.unwrap_or(policy.accessory_days),
            after_repair_months: self.after_repair_months.unwrap_or(policy.after_repair_months),
            after_paid_repair_months: self.after_paid_repair_months.unwrap_or(policy.after_paid_repair_months),
            no_invoice_months: self.no_invoice_months.unwrap_or(policy.no_invoice_months),
            territory: self.territory.unwrap_or(policy.territory),
        }
    }
}

/// A text in both languages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Text {
    /// In Chinese.
    pub zh: String,
    /// In English.
    pub en: String,
}

/// Who to call (M8).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AfterSalesContact {
    /// Telephone number.
    pub telephone: String,
    /// Electronic mail address.
    pub email: String,
}

/// A published policy version. Later versions do not change what was promised at a sale.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The name that decisions carry.
    pub version: String,
    /// The first day of sale it holds for.
    pub effective_on: NaiveDate,
    /// The types inside the commitment (S1).
    pub product_types: Vec<ProductType>,
    /// The first day of manufacture inside it (S2).
    pub manufactured_from: NaiveDate,
    /// The numbers that open windows.
    pub terms: Terms,
    /// Where a last day falls on a day off.
    #[serde(default)]
    pub last_day_off: LastDayOff,
    /// T6.
    #[serde(default)]
    pub after_free_repair: AfterFreeRepair,
    /// T2.
    #[serde(default)]
    pub repair_days_extend: RepairDaysExtend,
    /// After so many free repairs of one fault the unit is replaced, while T2 holds; never where none.
    #[serde(default)]
    pub replacement_after_repairs: Option<u32>,
    /// How long a claim should stay in each state.
    #[serde(default)]
    pub targets: Targets,
    /// M8.
    pub contact: AfterSalesContact,
    /// The clauses' texts.
    pub texts: BTreeMap<Clause, Text>,
}

/// The maker's commitment as published: the first version.
pub const STANDARD_POLICY: &str = include_str!("standard_policy.json");

impl Policy {
    /// What is wrong with it as a document: fields, and the rules that they break.
    pub fn faults(&self) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        let mut rule = |holds: bool, field: &str, rule: &str| {
            if !holds {
                faults.push((field.to_owned(), rule.to_owned()));
            }
        };
        let named = (1..=40).contains(&self.version.len())
            && self.version.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        rule(named, "version", "must be 1 to 40 letters, digits, dots, hyphens and underscores");
        rule(is_plausible(self.effective_on), "effective_on", "must lie in 1990 to 2100");
        rule(is_plausible(self.manufactured_from), "manufactured_from", "must lie in 1990 to 2100");
        rule(!self.product_types.is_empty(), "product_types", "must name at least one type");
        let once = self.product_types.iter().collect::<HashSet<_>>().len() == self.product_types.len();
        rule(once, "product_types", "must name each type once");
        let inside = !self.product_types.contains(&ProductType::Other);
        rule(inside, "product_types", "must not name OTHER, which is outside the commitment");
        for (field, days) in [
            ("terms.replacement_days", self.terms.replacement_days),
            ("terms.accessory_days", self.terms.accessory_days),
        ] {
            rule(days <= 3650, field, "must be 0 to 3650 days");
        }
        for (field, months) in [
            ("terms.repair_months", self.terms.repair_months),
            ("terms.after_repair_months", self.terms.after_repair_months),
            ("terms.after_paid_repair_months", self.terms.after_paid_repair_months),
            ("terms.no_invoice_months", self.terms.no_invoice_months),
        ] {
            rule(months <= 600, field, "must be 0 to 600 months");
        }
        let times = self.replacement_after_repairs.is_none_or(|times| (1..=100).contains(&times));
        rule(times, "replacement_after_repairs", "must be 1 to 100 repairs, or null for never");
        for (name, days) in self.targets.named() {
            rule((1..=365).contains(&days), &format!("targets.{name}"), "must be 1 to 365 days");
        }
        for (field, text) in [("contact.telephone", &self.contact.telephone), ("contact.email", &self.contact.email)] {
            rule(is_text(text, 100), field, "must be 1 to 100 characters");
        }
        for clause in Clause::iter() {
            let Some(text) = self.texts.get(&clause) else {
                rule(false, &format!("texts.{clause}"), "is missing");
                continue;
            };
            rule(is_text(&text.zh, 2000), &format!("texts.{clause}.zh"), "must be 1 to 2000 characters");
            rule(is_text(&text.en, 2000), &format!("texts.{clause}.en"), "must be 1 to 2000 characters");
        }
        faults
    }
}

/// Neither blank nor longer than that, and nothing in it that is not to be seen.
fn is_text(text: &str, most: usize) -> bool {
    !text.trim().is_empty() && text.chars().count() <= most && !text.chars().any(char::is_control)
}

/// Every published version, by effective date, never empty, and the calendar that they count by.
#[derive(Clone, Debug)]
pub struct Policies {
    versions: Vec<Policy>,
    calendar: Calendar,
}

/// Why policies cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("no policy version is published")]
pub struct NoPolicy;

impl Policies {
    /// From the published versions, in any order.
    pub fn new(mut versions: Vec<Policy>, calendar: Calendar) -> Result<Self, NoPolicy> {
        versions.sort_by_key(|policy| policy.effective_on);
        if versions.is_empty() {
            return Err(NoPolicy);
        }
        Ok(Self { versions, calendar })
    }

    /// The version in force on a day; before the first version's day, the first.
    pub fn in_force(&self, day: NaiveDate) -> &Policy {
        let later = self.versions.partition_point(|policy| policy.effective_on <= day);
        &self.versions[later.saturating_sub(1)]
    }

    /// The version of that name.
    pub fn named(&self, version: &str) -> Option<&Policy> {
        self.versions.iter().find(|policy| policy.version == version)
    }

    /// Every version, by effective date.
    pub fn versions(&self) -> &[Policy] {
        &self.versions
    }

    /// The calendar that they count by.
    pub fn calendar(&self) -> &Calendar {
        &self.calendar
    }
}
