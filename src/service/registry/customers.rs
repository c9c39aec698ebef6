//! Customers: erased on request.

use tonic::Request;

use crate::{
    contract::v1,
    service::{App, Reply, fields::Fields, open, wire::time},
    store::people,
};

pub(super) async fn erase(app: &App, request: Request<v1::EraseCustomerRequest>) -> Reply<v1::EraseCustomerResponse> {
    let (call, request) = open(request)?;
    let mut fields = Fields::default();
    let id = fields.request_id(&request.request_id);
    let customer = fields.uuid("customer_id", &request.customer_id);
    let (id, customer) = fields.finish(|| Some((id?, customer?)))?;
    app.write(&call, id, &request, customer, move |conn, customer, moment| {
        Box::pin(async move {
            let erased_at = people::erase(conn, customer, moment.now).await?;
            Ok(v1::EraseCustomerResponse { erased_time: Some(time(erased_at)) })
        })
    })
    .await
}
