//! Who may call what: one row for each method.

use std::collections::HashMap;

use prost_reflect::DescriptorPool;

use super::Identity;
use crate::domain::actor::Actor;

/// What a token allows: a word of its `scope` claim.
pub type Scope = &'static str;

const COVERAGE_READ: Scope = "coverage.read";
const SALES_WRITE: Scope = "sales.write";
const REGISTRY_WRITE: Scope = "registry.write";
const CLAIMS_READ: Scope = "claims.read";
const CLAIMS_APPLY: Scope = "claims.apply";
const CLAIMS_SUPPORT: Scope = "claims.support";
const DEPOT_WRITE: Scope = "depot.write";
const BILLING_WRITE: Scope = "billing.write";
const PEOPLE_ERASE: Scope = "people.erase";
const LOGISTICS_READ: Scope = "logistics.read";
/// Of an applicant the first, of staff the second.
const APPLICANT_OR_DEPOT: Scope = "claims.apply|depot.write";
const ACCOUNTS: Scope = "billing.write|depot.write";

/// Scopes that the maker's staff alone may hold: another's token that carries one was issued wrongly.
pub const STAFF_ONLY: [Scope; 5] = [REGISTRY_WRITE, CLAIMS_SUPPORT, DEPOT_WRITE, BILLING_WRITE, PEOPLE_ERASE];

/// Which callers a method is for.
type Callers = fn(&Actor) -> bool;

const ANYONE: Callers = |_| true;
const APPLICANTS: Callers = |actor| !actor.is_staff();
const SELLERS: Callers = |actor| actor.customer_id().is_none();
const DEALERS: Callers = |actor| actor.dealer_id().is_some();
const STAFF: Callers = Actor::is_staff;

/// What one method asks of its caller.
#[derive(Debug)]
pub struct Method {
    /// The gRPC path, `/aopre.warranty.v1.ClaimService/FileClaim`.
    pub path: &'static str,
    /// The scope that the token must carry; one of them where `|` stands between two.
    pub scope: Scope,
    callers: Callers,
}

macro_rules! methods {
    ($($service:literal { $($method:literal $scope:ident $callers:ident;)* })*) => {
        &[$($(Method {
            path: concat!("/aopre.warranty.v1.", $service, "/", $method),
            scope: $scope,
            callers: $callers,
        },)*)*]
    };
}

/// Every method with what it asks for. A process that serves a method without a row does not start.
pub const METHODS: &[Method] = methods! {
    "CoverageService" {
        "CheckCoverage" COVERAGE_READ ANYONE;
        "BatchCheckCoverage" COVERAGE_READ ANYONE;
        "StreamCoverage" COVERAGE_READ ANYONE;
    }
    "RegistryService" {
        "CreateProduct" REGISTRY_WRITE STAFF;
        "UpdateProduct" REGISTRY_WRITE STAFF;
        "GetProduct" REGISTRY_WRITE STAFF;
        "ListProducts" REGISTRY_WRITE STAFF;
        "CreateDealer" REGISTRY_WRITE STAFF;
        "GetDealer" REGISTRY_WRITE STAFF;
        "ListDealers" REGISTRY_WRITE STAFF;
        "SetDealerStatus" REGISTRY_WRITE STAFF;
        "SetDealerCreditTerms" REGISTRY_WRITE STAFF;
        "SetDealerDebtLimit" REGISTRY_WRITE STAFF;
        "CreateContract" REGISTRY_WRITE STAFF;
        "GetContract" REGISTRY_WRITE STAFF;
        "ListContracts" REGISTRY_WRITE STAFF;
        "ConfirmContract" REGISTRY_WRITE STAFF;
        "RevokeContract" REGISTRY_WRITE STAFF;
        "ListContractVersions" REGISTRY_WRITE STAFF;
        "RegisterUnits" REGISTRY_WRITE STAFF;
        "RegisterSale" SALES_WRITE SELLERS;
        "CancelSale" SALES_WRITE SELLERS;
        "ListSaleVersions" SALES_WRITE SELLERS;
        "RecordDealerPromise" SALES_WRITE SELLERS;
        "ImportUnits" REGISTRY_WRITE STAFF;
        "ImportSales" SALES_WRITE SELLERS;
        "GetUnit" COVERAGE_READ ANYONE;
        "RecordHistory" REGISTRY_WRITE STAFF;
        "PublishPolicy" REGISTRY_WRITE STAFF;
        "ListPolicies" REGISTRY_WRITE STAFF;
        "PublishCalendarYear" REGISTRY_WRITE STAFF;
        "SimulatePolicy" REGISTRY_WRITE STAFF;
        "EraseCustomer" PEOPLE_ERASE STAFF;
    }
    "ClaimService" {
        "FileClaim" CLAIMS_APPLY APPLICANTS;
        "PreviewClaim" CLAIMS_APPLY APPLICANTS;
        "BatchFileClaims" CLAIMS_APPLY APPLICANTS;
        "GetClaim" CLAIMS_READ ANYONE;
        "ListClaims" CLAIMS_READ ANYONE;
        "CancelClaim" CLAIMS_APPLY APPLICANTS;
        "AddEvidence" APPLICANT_OR_DEPOT ANYONE;
        "GetEvidence" CLAIMS_READ ANYONE;
        "WatchClaims" CLAIMS_READ ANYONE;
        "ListClaimEvents" CLAIMS_READ ANYONE;
        "RecordGuidance" CLAIMS_SUPPORT STAFF;
        "SettleVoucherDispute" CLAIMS_SUPPORT STAFF;
        "ListFaults" CLAIMS_READ ANYONE;
        "PutFault" REGISTRY_WRITE STAFF;
        "RecordSwap" CLAIMS_APPLY DEALERS;
        "RecordInspection" DEPOT_WRITE STAFF;
        "RecordRepair" DEPOT_WRITE STAFF;
        "RecordReplacement" DEPOT_WRITE STAFF;
        "RecordBeyondRepair" DEPOT_WRITE STAFF;
        "QuoteRepair" BILLING_WRITE STAFF;
        "AcceptQuote" CLAIMS_APPLY APPLICANTS;
        "DeclineQuote" CLAIMS_APPLY APPLICANTS;
        "ListQuotes" CLAIMS_READ ANYONE;
        "RecordPayment" BILLING_WRITE STAFF;
        "ListBillableRepairs" BILLING_WRITE STAFF;
        "SetPrices" BILLING_WRITE STAFF;
        "ListPrices" BILLING_WRITE STAFF;
        "AppealDecision" CLAIMS_APPLY APPLICANTS;
        "DecideAppeal" CLAIMS_SUPPORT STAFF;
    }
    "LogisticsService" {
        "OpenReturn" CLAIMS_APPLY APPLICANTS;
        "RecordTracking" APPLICANT_OR_DEPOT ANYONE;
        "ReceiveReturn" DEPOT_WRITE STAFF;
        "ListSetAside" DEPOT_WRITE STAFF;
        "SettleSetAside" DEPOT_WRITE STAFF;
        "DispatchOutbound" DEPOT_WRITE STAFF;
        "ConfirmDelivery" DEPOT_WRITE STAFF;
        "RecordLoss" DEPOT_WRITE STAFF;
        "CloseLost" DEPOT_WRITE STAFF;
        "GetShipment" LOGISTICS_READ ANYONE;
        "PutStockLocation" DEPOT_WRITE STAFF;
        "ListStockLocations" DEPOT_WRITE STAFF;
        "ReceiveStock" DEPOT_WRITE STAFF;
        "MoveStock" DEPOT_WRITE STAFF;
        "ListStock" DEPOT_WRITE STAFF;
        "ListStockMovements" DEPOT_WRITE STAFF;
        "SetStockMinimum" DEPOT_WRITE STAFF;
        "ListStockLevels" DEPOT_WRITE STAFF;
        "AllocateReplacement" DEPOT_WRITE STAFF;
        "ReleaseAllocation" DEPOT_WRITE STAFF;
        "RefurbishUnit" DEPOT_WRITE STAFF;
        "WriteOffDebt" DEPOT_WRITE STAFF;
        "NetDebts" DEPOT_WRITE STAFF;
        "GetDealerLedger" LOGISTICS_READ SELLERS;
        "ListShipments" LOGISTICS_READ ANYONE;
        "GetPackingList" LOGISTICS_READ ANYONE;
        "RecordFreightCost" ACCOUNTS STAFF;
        "GetFreightStatement" LOGISTICS_READ ANYONE;
        "ExportFreight" ACCOUNTS STAFF;
        "GetReport" ACCOUNTS STAFF;
    }
};

/// A method as a process serves it.
#[derive(Clone, Copy, Debug)]
pub struct Served {
    /// Its row in the table.
    pub method: &'static Method,
    /// Whether the caller sends any number of messages.
    pub takes_many: bool,
    /// Whether the answer is any number of messages.
    pub gives_many: bool,
}

/// The methods of `services` (full names) with their rows, by path. Errors: a sentence, where the contracts (a descriptor
/// set) know no such service, or one of its methods has no row.
pub fn of(contracts: &[u8], services: &[&str]) -> Result<HashMap<&'static str, Served>, String> {
    let contracts = DescriptorPool::decode(contracts).map_err(|error| error.to_string())?;
    let mut served = HashMap::new();
    for name in services {
        let service = contracts.get_service_by_name(name).ok_or(format!("the contracts know no service {name}"))?;
        for method in service.methods() {
            let path = format!("/{name}/{}", method.name());
            let row = METHODS.iter().find(|row| row.path == path);
            let row = row.ok_or(format!("{path} has no row in the table of methods"))?;
            let (takes_many, gives_many) = (method.is_client_streaming(), method.is_server_streaming());
            served.insert(row.path, Served { method: row, takes_many, gives_many });
        }
    }
    Ok(served)
}

/// Why an identity may not call a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The token lacks the method's scope.
    #[error("the token lacks the scope {0}")]
    ScopeMissing(Scope),
    /// The method is for others.
    #[error("this method is not for callers of this kind")]
    CallerKind,
}

impl Method {
    /// Whether the holder of `identity` may call it.
    pub fn admit(&self, identity: &Identity) -> Result<(), Denied> {
        if !(self.callers)(&identity.actor) {
            return Err(Denied::CallerKind);
        }
        if !identity.scopes.iter().any(|scope| self.scope.split('|').any(|asked| scope == asked)) {
            return Err(Denied::ScopeMissing(self.scope));
        }
        Ok(())
    }
}
