//! Customers: erased on request.

use tonic::Request;

use crate::{
    contract::v1,
    service::{App, Reply, open_write, transact, wire::time},
    store::people,
};

pub(super) async fn erase(app: &App, request: Request<v1::EraseCustomerRequest>) -> Reply<v1::EraseCustomerResponse> {
    let (call, request, id, mut fields) = open_write(request)?;
    let customer = fields.uuid("customer_id", &request.customer_id);
    let (id, customer) = fields.finish(|| Some((id?, customer?)))?;
    transact!(app.write(&call, id, &request, customer), |conn, customer, moment| {
        let erased_at = people::erase(conn, customer, moment.now).await?;
        Ok(v1::EraseCustomerResponse { erased_time: Some(time(erased_at)) })
    })
}
