//! Probes and metrics, on a port of their own: the grpc-web layer would answer them with 400.

use std::future::Future;

use axum::{
    Router,
    http::{StatusCode, header},
    routing::get,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics;

/// `/livez` says that the process turns; `/readyz` whether it should be sent calls; `/metrics` what it counted. Until `over`.
pub(super) async fn serve<R, F>(listener: TcpListener, ready: R, draining: CancellationToken, over: CancellationToken)
where
    R: Fn() -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    let readyz = move || async move {
        if draining.is_cancelled() {
            return (StatusCode::SERVICE_UNAVAILABLE, "draining".to_owned());
        }
        match ready().await {
            Ok(()) => (StatusCode::OK, "ready".to_owned()),
            Err(missing) => (StatusCode::SERVICE_UNAVAILABLE, missing),
        }
    };
    let router = Router::new().route("/livez", get(|| async { "alive" })).route("/readyz", get(readyz));
    let told = || async { ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics::text()) };
    let router = router.route("/metrics", get(told));
    let served = axum::serve(listener, router).with_graceful_shutdown(over.cancelled_owned()).await;
    if let Err(error) = served {
        tracing::error!(%error, "the admin listener failed");
    }
}
