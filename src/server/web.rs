//! Browsers: which origins may call, and what they may see of the answer.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tower_http::cors::{AllowOrigin, CorsLayer};

/// Refuses a browser's request from an origin that is not listed: CORS alone would only hide the answer.
pub(super) async fn known_origin(State(origins): State<Arc<[HeaderValue]>>, request: Request, next: Next) -> Response {
    let mut given = request.headers().get_all(header::ORIGIN).iter();
    if given.all(|origin| origins.contains(origin)) {
        return next.run(request).await;
    }
    (StatusCode::FORBIDDEN, "this origin may not call").into_response()
}

/// Answers preflights, and lets scripts read how a call ended.
pub(super) fn cors(origins: &[HeaderValue]) -> CorsLayer {
    let name = HeaderName::from_static;
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins.iter().cloned()))
        .allow_methods([Method::POST])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            name("x-grpc-web"),
            name("x-user-agent"),
            name("grpc-timeout"),
            name("traceparent"),
        ])
        .expose_headers([name("grpc-status"), name("grpc-message"), name("grpc-status-details-bin")])
        .max_age(Duration::from_secs(3600))
}
