//! Policy versions: every number of the commitment, its texts, and what a contract may name instead (S5, S7).

use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use super::{clause::Clause, facts::ProductType};

/// Where the commitment holds (S4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Territory {
    /// Mainland China.
    Mainland,
    /// Everywhere.
    Worldwide,
}

/// The numbers that open windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
pub struct Text {
    /// In Chinese.
    pub zh: String,
    /// In English.
    pub en: String,
}

/// Who to call (M8).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// M8.
    pub contact: AfterSalesContact,
    /// The clauses' texts.
    pub texts: BTreeMap<Clause, Text>,
}

/// The maker's commitment as published: the first version.
pub const STANDARD_POLICY: &str = include_str!("standard_policy.json");

/// Every published version, by effective date. Never empty.
#[derive(Clone, Debug)]
pub struct Policies(Vec<Policy>);

/// Why policies cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("no policy version is published")]
pub struct NoPolicy;

impl Policies {
    /// From the published versions, in any order.
    pub fn new(mut versions: Vec<Policy>) -> Result<Self, NoPolicy> {
        versions.sort_by_key(|policy| policy.effective_on);
        if versions.is_empty() {
            return Err(NoPolicy);
        }
        Ok(Self(versions))
    }

    /// The version in force on a day; before the first version's day, the first.
    pub fn in_force(&self, day: NaiveDate) -> &Policy {
        let later = self.0.partition_point(|policy| policy.effective_on <= day);
        &self.0[later.saturating_sub(1)]
    }

    /// The version of that name.
    pub fn named(&self, version: &str) -> Option<&Policy> {
        self.0.iter().find(|policy| policy.version == version)
    }
}
