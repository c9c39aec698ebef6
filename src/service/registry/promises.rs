//! Dealers' own promises (S6).

use tonic::Request;

use crate::{
    contract::v1,
    service::{App, Reply},
};

pub(super) async fn record(
    _app: &App,
    _request: Request<v1::RecordDealerPromiseRequest>,
) -> Reply<v1::RecordDealerPromiseResponse> {
    Err(tonic::Status::unimplemented("being built"))
}
