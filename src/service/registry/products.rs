//! Products of the catalogue.

use tonic::{Request, Status};
use uuid::Uuid;

use crate::{
    contract::v1,
    service::{App, Fields, Page, Reply, open, transact, wire::number},
    store::catalogue::{self, Product},
};

fn product(product: Product) -> v1::Product {
    v1::Product {
        model: product.model,
        product_type: number!(product.product_type),
        discontinued: product.discontinued,
        equivalent_models: product.equivalents,
    }
}

/// What a creation and a change have in common: the request's id, and the product as it is to be.
fn read(id: &str, given: Option<&v1::Product>) -> Result<(Uuid, Product), Status> {
    let given = given.cloned().unwrap_or_default();
    Fields::at_most("product.equivalent_models", &given.equivalent_models, 20)?;
    let mut fields = Fields::default();
    let id = fields.request_id(id);
    let model = fields.model("product.model", &given.model);
    let product_type = fields.choice("product.product_type", given.product_type);
    let equivalents = fields.each(&given.equivalent_models, |fields, at, equivalent| {
        let field = format!("product.equivalent_models[{at}]");
        if *equivalent == given.model || given.equivalent_models[..at].contains(equivalent) {
            fields.violate(&field, "must be another model, each once");
        }
        fields.model(&field, equivalent)
    });
    fields.finish(|| {
        let (product_type, equivalents, discontinued) = (product_type?, equivalents?, given.discontinued);
        Some((id?, Product { model: model?, product_type, discontinued, equivalents }))
    })
}

pub(super) async fn create(app: &App, request: Request<v1::CreateProductRequest>) -> Reply<v1::CreateProductResponse> {
    let (call, request) = open(request)?;
    let (id, new) = read(&request.request_id, request.product.as_ref())?;
    transact!(app.write(&call, id, &request, new), |conn, new, _| {
        catalogue::create(conn, &new).await?;
        Ok(v1::CreateProductResponse { product: Some(product(new)) })
    })
}

pub(super) async fn get(app: &App, request: Request<v1::GetProductRequest>) -> Reply<v1::GetProductResponse> {
    let (call, request) = open(request)?;
    let model = Fields::one(|fields| fields.model("model", &request.model))?;
    transact!(app.read(&call, model), |conn, model, _| {
        Ok(v1::GetProductResponse { product: Some(product(catalogue::get(conn, &model).await?)) })
    })
}

pub(super) async fn list(app: &App, request: Request<v1::ListProductsRequest>) -> Reply<v1::ListProductsResponse> {
    let (call, request) = open(request)?;
    let page = Fields::one(|fields| Page::read(fields, &call, request.page_size, &request.page_token, &()))?;
    transact!(app.read(&call, page), |conn, page, _| {
        let mut found = catalogue::list(conn, page.after.as_deref().unwrap_or(""), page.fetch()).await?;
        let next_page_token = page.cut(&mut found, |product| product.model.clone());
        Ok(v1::ListProductsResponse { products: found.into_iter().map(product).collect(), next_page_token })
    })
}

pub(super) async fn update(app: &App, request: Request<v1::UpdateProductRequest>) -> Reply<v1::UpdateProductResponse> {
    let (call, request) = open(request)?;
    let (id, changed) = read(&request.request_id, request.product.as_ref())?;
    transact!(app.write(&call, id, &request, changed), |conn, changed, moment| {
        catalogue::update(conn, &changed, &moment.actor, moment.now).await?;
        Ok(v1::UpdateProductResponse { product: Some(product(changed)) })
    })
}
