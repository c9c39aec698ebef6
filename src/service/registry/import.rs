//! Imports of units and sales.

use tonic::{Request, Streaming};

use crate::{
    contract::v1,
    service::{App, Replies, Reply},
};

pub(super) async fn units(
    _app: &App,
    _request: Request<Streaming<v1::ImportUnitsRequest>>,
) -> Reply<Replies<v1::ImportUnitsResponse>> {
    Err(tonic::Status::unimplemented("being built"))
}

pub(super) async fn sales(
    _app: &App,
    _request: Request<Streaming<v1::ImportSalesRequest>>,
) -> Reply<Replies<v1::ImportSalesResponse>> {
    Err(tonic::Status::unimplemented("being built"))
}
