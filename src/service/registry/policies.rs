//! Policy versions and calendars (S7).

use tonic::Request;

use crate::{
    contract::v1,
    service::{App, Replies, Reply},
};

pub(super) async fn publish(
    _app: &App,
    _request: Request<v1::PublishPolicyRequest>,
) -> Reply<v1::PublishPolicyResponse> {
    Err(tonic::Status::unimplemented("being built"))
}

pub(super) async fn list(_app: &App, _request: Request<v1::ListPoliciesRequest>) -> Reply<v1::ListPoliciesResponse> {
    Err(tonic::Status::unimplemented("being built"))
}

pub(super) async fn publish_calendar(
    _app: &App,
    _request: Request<v1::PublishCalendarYearRequest>,
) -> Reply<v1::PublishCalendarYearResponse> {
    Err(tonic::Status::unimplemented("being built"))
}

pub(super) async fn simulate(
    _app: &App,
    _request: Request<v1::SimulatePolicyRequest>,
) -> Reply<Replies<v1::SimulatePolicyResponse>> {
    Err(tonic::Status::unimplemented("being built"))
}
