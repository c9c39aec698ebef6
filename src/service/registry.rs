//! RegistryService: keeps the facts that decisions rest on. One file a noun.

mod contracts;
mod customers;
mod dealers;
mod history;
mod import;
mod policies;
mod products;
pub(super) mod promises;
mod sales;
mod simulation;
mod units;

use tonic::{Request, Streaming};

use super::{App, Replies, Reply, serve};
use crate::contract::v1::{registry_service_server::RegistryService, *};

/// The service.
pub struct Registry(pub App);

serve! {
    RegistryService for Registry by 0:
    create_product(CreateProductRequest) -> CreateProductResponse = products::create;
    get_product(GetProductRequest) -> GetProductResponse = products::get;
    list_products(ListProductsRequest) -> ListProductsResponse = products::list;
    create_dealer(CreateDealerRequest) -> CreateDealerResponse = dealers::create;
    get_dealer(GetDealerRequest) -> GetDealerResponse = dealers::get;
    list_dealers(ListDealersRequest) -> ListDealersResponse = dealers::list;
    set_dealer_status(SetDealerStatusRequest) -> SetDealerStatusResponse = dealers::set_status;
    set_dealer_credit_terms(SetDealerCreditTermsRequest) -> SetDealerCreditTermsResponse = dealers::set_credit_terms;
    set_dealer_debt_limit(SetDealerDebtLimitRequest) -> SetDealerDebtLimitResponse = dealers::set_debt_limit;
    create_contract(CreateContractRequest) -> CreateContractResponse = contracts::create;
    get_contract(GetContractRequest) -> GetContractResponse = contracts::get;
    list_contracts(ListContractsRequest) -> ListContractsResponse = contracts::list;
    confirm_contract(ConfirmContractRequest) -> ConfirmContractResponse = contracts::confirm;
    revoke_contract(RevokeContractRequest) -> RevokeContractResponse = contracts::revoke;
    register_units(RegisterUnitsRequest) -> RegisterUnitsResponse = units::register;
    register_sale(RegisterSaleRequest) -> RegisterSaleResponse = sales::register;
    get_unit(GetUnitRequest) -> GetUnitResponse = units::get;
    record_history(RecordHistoryRequest) -> RecordHistoryResponse = history::record;
    update_product(UpdateProductRequest) -> UpdateProductResponse = products::update;
    list_contract_versions(ListContractVersionsRequest) -> ListContractVersionsResponse = contracts::list_versions;
    cancel_sale(CancelSaleRequest) -> CancelSaleResponse = sales::cancel;
    list_sale_versions(ListSaleVersionsRequest) -> ListSaleVersionsResponse = sales::list_versions;
    record_dealer_promise(RecordDealerPromiseRequest) -> RecordDealerPromiseResponse = promises::record;
    publish_policy(PublishPolicyRequest) -> PublishPolicyResponse = policies::publish;
    list_policies(ListPoliciesRequest) -> ListPoliciesResponse = policies::list;
    publish_calendar_year(PublishCalendarYearRequest) -> PublishCalendarYearResponse = policies::publish_calendar;
    erase_customer(EraseCustomerRequest) -> EraseCustomerResponse = customers::erase;
    {
        type SimulatePolicyStream = Replies<SimulatePolicyResponse>;
        async fn simulate_policy(&self, request: Request<SimulatePolicyRequest>) -> Reply<Self::SimulatePolicyStream> {
            simulation::simulate(&self.0, request).await
        }
        type ImportUnitsStream = Replies<ImportUnitsResponse>;
        async fn import_units(&self, request: Request<Streaming<ImportUnitsRequest>>) -> Reply<Self::ImportUnitsStream> {
            import::run::<import::Units>(&self.0, request).await
        }
        type ImportSalesStream = Replies<ImportSalesResponse>;
        async fn import_sales(&self, request: Request<Streaming<ImportSalesRequest>>) -> Reply<Self::ImportSalesStream> {
            import::run::<import::Sales>(&self.0, request).await
        }
    }
}
