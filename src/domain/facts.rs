//! What a decision reads: the registry's facts of a unit, and the report of a fault.

use std::collections::BTreeSet;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumString};

use super::{clause::Clause, policy::ContractTerms, region::Region, serial::Serial};

/// What a product is (S1). The order and the names are the contract's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Display, EnumString, strum::EnumIter)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum ProductType {
    /// Video optical transceiver.
    VideoOpticalTransceiver,
    /// Telephone optical transceiver.
    TelephoneOpticalTransceiver,
    /// Optical fiber transceiver.
    OpticalFiberTransceiver,
    /// PoE switch.
    PoeSwitch,
    /// Any other: outside the commitment.
    Other,
}

/// The part that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Display, EnumString, strum::EnumIter)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum Part {
    /// The product host (T7).
    Host,
    /// The power supply with its own lead (T10).
    PowerSupply,
    /// Power cord, connecting wires, software, instructions (T7).
    Accessory,
}

/// How the unit looks (T8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Display, EnumString, strum::EnumIter)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum Appearance {
    /// Without scratches.
    Intact,
    /// Scratched.
    Scratched,
}

/// What S1 to S3 and T12 read of a unit: of the original, where the unit is a replacement (T5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitFacts {
    /// S1.
    pub product_type: ProductType,
    /// S2.
    pub manufactured_on: NaiveDate,
    /// T12.
    pub ex_factory_on: NaiveDate,
    /// S3.
    pub sold_by_maker: bool,
}

/// What is read of a registered sale.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaleFacts {
    /// The day of the sale.
    pub sold_on: NaiveDate,
    /// Whether an invoice is registered: only then does the sale give the start.
    pub invoice: bool,
    /// Where it was sold (S4); inside where not given.
    pub region: Option<Region>,
}

/// A contract as the maker has it (S5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contract {
    /// Its number.
    pub number: String,
    /// The first day in force; none while it is a draft.
    pub confirmed_on: Option<NaiveDate>,
    /// The first day no longer in force.
    pub revoked_on: Option<NaiveDate>,
    /// What it names.
    pub terms: ContractTerms,
}

impl Contract {
    /// Whether it is in force: from the day it is confirmed to the day before it is revoked.
    pub fn in_force(&self, day: NaiveDate) -> bool {
        self.confirmed_on.is_some_and(|from| from <= day) && self.revoked_on.is_none_or(|until| day < until)
    }
}

/// A completed repair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepairFacts {
    /// The day the unit came in for it; none where it is not known and counts as `completed_on`.
    #[serde(default)]
    pub received_on: Option<NaiveDate>,
    /// The day it was completed.
    pub completed_on: NaiveDate,
    /// Whether it was charged (P2) or under warranty (T6).
    pub paid: bool,
    /// The fault repaired; a paid repair without one opens a window that never holds.
    pub fault: Option<String>,
}

impl RepairFacts {
    /// The day the unit came in for it.
    pub fn came_in_on(&self) -> NaiveDate {
        self.received_on.map_or(self.completed_on, |day| day.min(self.completed_on))
    }
}

/// What the registry knows of a unit, its lineage already followed to the original (T5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The original unit: the unit in hand itself, where it replaced nothing.
    pub original: UnitFacts,
    /// Whether the unit in hand is discontinued (T3).
    pub discontinued: bool,
    /// Models that may be given instead, in order of preference (T3).
    pub equivalents: Vec<String>,
    /// The original's registered sale.
    pub sale: Option<SaleFacts>,
    /// A registered sale of a replacement's own: it counts for nothing (T5).
    #[serde(default)]
    pub own_sale: Option<SaleFacts>,
    /// The contract that sale names.
    pub contract: Option<Contract>,
    /// The repairs of every unit in the lineage up to the one in hand, in any order.
    pub repairs: Vec<RepairFacts>,
    /// The unit that took this one's place, under another claim than the one being decided.
    pub superseded_by: Option<Serial>,
}

impl Facts {
    /// The day of the registered sale, where it has an invoice.
    pub fn invoiced_on(&self) -> Option<NaiveDate> {
        self.sale.as_ref().filter(|sale| sale.invoice).map(|sale| sale.sold_on)
    }
}

/// What was told of a fault, and what an inspection found. What is `None` is assumed, and the decision says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The civil date that decides.
    pub on: NaiveDate,
    /// What was told.
    pub told: Told,
    /// Inspection's findings: X1, X3 to X8.
    pub findings: BTreeSet<Clause>,
    /// Inspection found nothing (T9).
    pub no_fault_found: bool,
    /// Whether there was an inspection; without one, findings that were not asked about are assumed to be none.
    pub inspected: bool,
}

impl Report {
    /// The names of what was not told and is assumed.
    pub fn assumed(&self) -> Vec<&'static str> {
        let no_findings = !self.inspected && !self.no_fault_found && self.findings.is_empty();
        self.told.assumed().into_iter().chain(no_findings.then_some("findings")).collect()
    }
}

/// The facts of a fault as told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Assumed `Host`.
    pub part: Option<Part>,
    /// Without one P2 does not hold.
    pub fault: Option<String>,
    /// Assumed true (T8).
    pub performance_fault: Option<bool>,
    /// Assumed `Intact` (T8).
    pub appearance: Option<Appearance>,
    /// Assumed false (T10).
    pub power_supply_damage: Option<bool>,
    /// Assumed inside (S4).
    pub region_of_use: Option<Region>,
}

impl Told {
    /// What is told later stands over what was told before.
    pub fn updated_by(self, later: Self) -> Self {
        Self {
            part: later.part.or(self.part),
            fault: later.fault.or(self.fault),
            performance_fault: later.performance_fault.or(self.performance_fault),
            appearance: later.appearance.or(self.appearance),
            power_supply_damage: later.power_supply_damage.or(self.power_supply_damage),
            region_of_use: later.region_of_use.or(self.region_of_use),
        }
    }

    /// The names of the fields that were not told and are assumed. A fault code is never assumed.
    pub fn assumed(&self) -> Vec<&'static str> {
        [
            ("part", self.part.is_none()),
            ("performance_fault", self.performance_fault.is_none()),
            ("appearance", self.appearance.is_none()),
            ("power_supply_damage", self.power_supply_damage.is_none()),
            ("region_of_use", self.region_of_use.is_none()),
        ]
        .into_iter()
        .filter_map(|(name, assumed)| assumed.then_some(name))
        .collect()
    }
}
