//! Customers: erased on request.

use tonic::Request;

use crate::{
    contract::v1,
    service::{App, Reply},
};

pub(super) async fn erase(_app: &App, _request: Request<v1::EraseCustomerRequest>) -> Reply<v1::EraseCustomerResponse> {
    Err(tonic::Status::unimplemented("being built"))
}
