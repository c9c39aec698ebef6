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

use super::{App, Replies, Reply};
use crate::contract::v1::{registry_service_server::RegistryService, *};

/// The service.
pub struct Registry(pub App);

#[tonic::async_trait]
impl RegistryService for Registry {
    async fn create_product(&self, request: Request<CreateProductRequest>) -> Reply<CreateProductResponse> {
        products::create(&self.0, request).await
    }
    async fn get_product(&self, request: Request<GetProductRequest>) -> Reply<GetProductResponse> {
        products::get(&self.0, request).await
    }
    async fn list_products(&self, request: Request<ListProductsRequest>) -> Reply<ListProductsResponse> {
        products::list(&self.0, request).await
    }
    async fn create_dealer(&self, request: Request<CreateDealerRequest>) -> Reply<CreateDealerResponse> {
        dealers::create(&self.0, request).await
    }
    async fn get_dealer(&self, request: Request<GetDealerRequest>) -> Reply<GetDealerResponse> {
        dealers::get(&self.0, request).await
    }
    async fn list_dealers(&self, request: Request<ListDealersRequest>) -> Reply<ListDealersResponse> {
        dealers::list(&self.0, request).await
    }
    async fn set_dealer_status(&self, request: Request<SetDealerStatusRequest>) -> Reply<SetDealerStatusResponse> {
        dealers::set_status(&self.0, request).await
    }
    async fn set_dealer_credit_terms(
        &self,
        request: Request<SetDealerCreditTermsRequest>,
    ) -> Reply<SetDealerCreditTermsResponse> {
        dealers::set_credit_terms(&self.0, request).await
    }
    async fn set_dealer_debt_limit(
        &self,
        request: Request<SetDealerDebtLimitRequest>,
    ) -> Reply<SetDealerDebtLimitResponse> {
        dealers::set_debt_limit(&self.0, request).await
    }
    async fn create_contract(&self, request: Request<CreateContractRequest>) -> Reply<CreateContractResponse> {
        contracts::create(&self.0, request).await
    }
    async fn get_contract(&self, request: Request<GetContractRequest>) -> Reply<GetContractResponse> {
        contracts::get(&self.0, request).await
    }
    async fn list_contracts(&self, request: Request<ListContractsRequest>) -> Reply<ListContractsResponse> {
        contracts::list(&self.0, request).await
    }
    async fn confirm_contract(&self, request: Request<ConfirmContractRequest>) -> Reply<ConfirmContractResponse> {
        contracts::confirm(&self.0, request).await
    }
    async fn revoke_contract(&self, request: Request<RevokeContractRequest>) -> Reply<RevokeContractResponse> {
        contracts::revoke(&self.0, request).await
    }
    async fn register_units(&self, request: Request<RegisterUnitsRequest>) -> Reply<RegisterUnitsResponse> {
        units::register(&self.0, request).await
    }
    async fn register_sale(&self, request: Request<RegisterSaleRequest>) -> Reply<RegisterSaleResponse> {
        sales::register(&self.0, request).await
    }
    async fn get_unit(&self, request: Request<GetUnitRequest>) -> Reply<GetUnitResponse> {
        units::get(&self.0, request).await
    }
    async fn record_history(&self, request: Request<RecordHistoryRequest>) -> Reply<RecordHistoryResponse> {
        history::record(&self.0, request).await
    }
    async fn update_product(&self, request: Request<UpdateProductRequest>) -> Reply<UpdateProductResponse> {
        products::update(&self.0, request).await
    }
    async fn list_contract_versions(
        &self,
        request: Request<ListContractVersionsRequest>,
    ) -> Reply<ListContractVersionsResponse> {
        contracts::list_versions(&self.0, request).await
    }
    async fn cancel_sale(&self, request: Request<CancelSaleRequest>) -> Reply<CancelSaleResponse> {
        sales::cancel(&self.0, request).await
    }
    async fn list_sale_versions(&self, request: Request<ListSaleVersionsRequest>) -> Reply<ListSaleVersionsResponse> {
        sales::list_versions(&self.0, request).await
    }
    async fn record_dealer_promise(
        &self,
        request: Request<RecordDealerPromiseRequest>,
    ) -> Reply<RecordDealerPromiseResponse> {
        promises::record(&self.0, request).await
    }
    async fn publish_policy(&self, request: Request<PublishPolicyRequest>) -> Reply<PublishPolicyResponse> {
        policies::publish(&self.0, request).await
    }
    async fn list_policies(&self, request: Request<ListPoliciesRequest>) -> Reply<ListPoliciesResponse> {
        policies::list(&self.0, request).await
    }
    async fn publish_calendar_year(
        &self,
        request: Request<PublishCalendarYearRequest>,
    ) -> Reply<PublishCalendarYearResponse> {
        policies::publish_calendar(&self.0, request).await
    }
    async fn erase_customer(&self, request: Request<EraseCustomerRequest>) -> Reply<EraseCustomerResponse> {
        customers::erase(&self.0, request).await
    }
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
