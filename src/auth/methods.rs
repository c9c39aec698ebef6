//! Who may call what: one row for each method, and what each kind of caller may hold.

use std::{
    collections::{HashMap, HashSet},
    sync::LazyLock,
};

use prost::Message;
use prost_types::FileDescriptorSet;
use strum::{Display, EnumIter, EnumString, IntoStaticStr};

use crate::domain::actor::Actor;

/// What a token allows; written in its `scope` claim by these names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Display, EnumString, EnumIter, IntoStaticStr)]
pub enum Scope {
    /// Reads coverage and units.
    #[strum(serialize = "coverage.read")]
    CoverageRead,
    /// Registers sales: a dealer its own, staff any.
    #[strum(serialize = "sales.write")]
    SalesWrite,
    /// Keeps the registry.
    #[strum(serialize = "registry.write")]
    RegistryWrite,
    /// Reads claims: a dealer or customer its own, staff all.
    #[strum(serialize = "claims.read")]
    ClaimsRead,
    /// Applies for warranty.
    #[strum(serialize = "claims.apply")]
    ClaimsApply,
    /// Guides a caller on the telephone, and rejects.
    #[strum(serialize = "claims.support")]
    ClaimsSupport,
    /// Receives, inspects, repairs, replaces, sends out.
    #[strum(serialize = "depot.write")]
    DepotWrite,
    /// Quotes and bills paid repairs.
    #[strum(serialize = "billing.write")]
    BillingWrite,
    /// Reads shipments: a dealer or customer its own, staff all.
    #[strum(serialize = "logistics.read")]
    LogisticsRead,
    /// Erases a person's contact.
    #[strum(serialize = "people.erase")]
    PeopleErase,
}

impl Scope {
    /// Whether the maker's staff alone may hold it: another's token that carries it was issued wrongly.
    pub fn staff_only(self) -> bool {
        match self {
            Self::RegistryWrite | Self::ClaimsSupport | Self::DepotWrite | Self::BillingWrite | Self::PeopleErase => {
                true
            }
            Self::CoverageRead | Self::SalesWrite | Self::ClaimsRead | Self::ClaimsApply | Self::LogisticsRead => false,
        }
    }
}

/// A set of scopes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u16);

impl Scopes {
    /// Reads a `scope` claim. Words that are no scope of ours belong to others, and are left out.
    pub fn parse(words: &str) -> Self {
        words.split(' ').flat_map(str::parse).collect()
    }

    /// Whether `scope` is in the set.
    pub fn contains(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u16) != 0
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | 1 << scope as u16))
    }
}

/// A kind of caller, by the one identity claim of its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Display)]
#[strum(serialize_all = "lowercase")]
pub enum Kind {
    /// `dealer_id`
    Dealer,
    /// `customer_id`
    Customer,
    /// `staff_id`: people and internal services.
    Staff,
}

impl From<&Actor> for Kind {
    fn from(actor: &Actor) -> Self {
        match actor {
            Actor::Dealer(_) => Self::Dealer,
            Actor::Customer(_) => Self::Customer,
            Actor::Staff(_) => Self::Staff,
        }
    }
}

/// What one method asks of its caller.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// The gRPC path.
    pub path: &'static str,
    /// The scope that the token must carry.
    pub scope: Scope,
    /// The kinds that may call at all.
    pub kinds: &'static [Kind],
}

const ANYONE: &[Kind] = &[Kind::Dealer, Kind::Customer, Kind::Staff];
const APPLICANTS: &[Kind] = &[Kind::Dealer, Kind::Customer];
const SELLERS: &[Kind] = &[Kind::Dealer, Kind::Staff];
const DEALERS: &[Kind] = &[Kind::Dealer];
const STAFF: &[Kind] = &[Kind::Staff];

macro_rules! rules {
    ($($service:literal { $($method:literal $scope:ident $kinds:ident;)* })*) => {
        &[$($(Rule {
            path: concat!("/aopre.warranty.v1.", $service, "/", $method),
            scope: Scope::$scope,
            kinds: $kinds,
        },)*)*]
    };
}

/// Every method with what it asks for. A process that serves a method without a row does not start.
pub const METHODS: &[Rule] = rules! {
    "CoverageService" {
        "CheckCoverage" CoverageRead ANYONE;
    }
    "RegistryService" {
        "CreateProduct" RegistryWrite STAFF;
        "GetProduct" RegistryWrite STAFF;
        "ListProducts" RegistryWrite STAFF;
        "CreateDealer" RegistryWrite STAFF;
        "GetDealer" RegistryWrite STAFF;
        "ListDealers" RegistryWrite STAFF;
        "SetDealerStatus" RegistryWrite STAFF;
        "CreateContract" RegistryWrite STAFF;
        "GetContract" RegistryWrite STAFF;
        "ListContracts" RegistryWrite STAFF;
        "ConfirmContract" RegistryWrite STAFF;
        "RevokeContract" RegistryWrite STAFF;
        "RegisterUnits" RegistryWrite STAFF;
        "RegisterSale" SalesWrite SELLERS;
        "GetUnit" CoverageRead ANYONE;
        "RecordHistory" RegistryWrite STAFF;
    }
    "ClaimService" {
        "FileClaim" ClaimsApply APPLICANTS;
        "GetClaim" ClaimsRead ANYONE;
        "ListClaims" ClaimsRead ANYONE;
        "CancelClaim" ClaimsApply APPLICANTS;
        "ListClaimEvents" ClaimsRead ANYONE;
        "RecordGuidance" ClaimsSupport STAFF;
        "RecordSwap" ClaimsApply DEALERS;
        "RecordInspection" DepotWrite STAFF;
        "RecordRepair" DepotWrite STAFF;
        "RecordReplacement" DepotWrite STAFF;
    }
    "LogisticsService" {
        "OpenReturn" ClaimsApply APPLICANTS;
        "ReceiveReturn" DepotWrite STAFF;
        "DispatchOutbound" DepotWrite STAFF;
        "ConfirmDelivery" DepotWrite STAFF;
        "GetShipment" LogisticsRead ANYONE;
    }
};

static BY_PATH: LazyLock<HashMap<&'static str, &'static Rule>> =
    LazyLock::new(|| METHODS.iter().map(|rule| (rule.path, rule)).collect());

/// The row of a gRPC path.
pub fn rule(path: &str) -> Option<&'static Rule> {
    BY_PATH.get(path).copied()
}

/// What is wrong between the contracts and the table, a sentence each: methods of `services` (full names) without a
/// row, services that the contracts do not know, rows that name no method. A process starts only where it is empty.
pub fn unlisted(descriptor_set: &[u8], services: &[&str]) -> Vec<String> {
    let Ok(set) = FileDescriptorSet::decode(descriptor_set) else {
        return vec!["the descriptor set cannot be read".to_owned()];
    };
    let mut declared = HashSet::new();
    let mut wrong = Vec::new();
    let mut unknown: HashSet<&str> = services.iter().copied().collect();
    for file in &set.file {
        for service in &file.service {
            let service_name = format!("{}.{}", file.package(), service.name());
            let served = unknown.remove(service_name.as_str());
            for method in &service.method {
                let path = format!("/{service_name}/{}", method.name());
                if served && rule(&path).is_none() {
                    wrong.push(format!("{path} has no row in the table of methods"));
                }
                declared.insert(path);
            }
        }
    }
    wrong.extend(unknown.into_iter().map(|service| format!("the contracts know no service {service}")));
    wrong.extend(
        METHODS
            .iter()
            .filter(|rule| !declared.contains(rule.path))
            .map(|rule| format!("the row {} names no method", rule.path)),
    );
    wrong
}

#[cfg(test)]
mod tests {
    use strum::IntoEnumIterator;

    use super::*;
    use crate::contract::DESCRIPTORS;

    const SERVICES: [&str; 4] = [
        "aopre.warranty.v1.CoverageService",
        "aopre.warranty.v1.RegistryService",
        "aopre.warranty.v1.ClaimService",
        "aopre.warranty.v1.LogisticsService",
    ];

    #[test]
    fn every_method_has_one_row_and_every_row_a_method() {
        assert_eq!(unlisted(DESCRIPTORS, &SERVICES), Vec::<String>::new());
        assert_eq!(BY_PATH.len(), METHODS.len(), "a path stands twice");
    }

    #[test]
    fn what_does_not_match_is_named() {
        let mut set = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
        for service in set.file.iter_mut().flat_map(|file| &mut file.service) {
            for method in &mut service.method {
                if method.name() == "RecordSwap" {
                    method.name = Some("RecordLoan".to_owned());
                }
            }
        }
        assert_eq!(
            unlisted(&set.encode_to_vec(), &[SERVICES[2], "x.Y"]),
            [
                "/aopre.warranty.v1.ClaimService/RecordLoan has no row in the table of methods",
                "the contracts know no service x.Y",
                "the row /aopre.warranty.v1.ClaimService/RecordSwap names no method",
            ]
        );
        assert_eq!(unlisted(b"\xff", &[]).len(), 1);
    }

    #[test]
    fn a_staff_only_scope_is_asked_for_by_staff_methods_alone() {
        for rule in METHODS {
            assert!(!rule.scope.staff_only() || rule.kinds == STAFF, "{}", rule.path);
        }
    }

    #[test]
    fn scopes_are_read_by_their_names_and_strange_words_left_out() {
        let scopes = Scopes::parse("claims.read  openid people.erase Coverage.Read");
        let held: Vec<String> =
            Scope::iter().filter(|scope| scopes.contains(*scope)).map(|scope| scope.to_string()).collect();
        assert_eq!(held, ["claims.read", "people.erase"]);
        let all: Vec<&str> = Scope::iter().map(Into::into).collect();
        assert!(Scope::iter().all(|scope| Scopes::parse(&all.join(" ")).contains(scope)));
    }
}
