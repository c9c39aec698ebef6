//! Asks a running process how it is, as Kubernetes and people do.

use std::time::Duration;

use tonic::transport::Endpoint;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

/// What the gRPC health service at `address` says of `service` (empty: the whole process), within 3 seconds.
///
/// Errors: a sentence, where nothing answers or the service is not known there.
pub async fn health(address: &str, service: &str) -> Result<ServingStatus, String> {
    let within = Duration::from_secs(3);
    let endpoint = Endpoint::from_shared(address.to_owned())
        .map_err(|error| format!("{address} is not an address: {error}"))?
        .connect_timeout(within)
        .timeout(within);
    let channel = endpoint.connect().await.map_err(|_| format!("nothing answers at {address}"))?;
    let answer = HealthClient::new(channel).check(HealthCheckRequest { service: service.to_owned() }).await;
    answer.map(|told| told.get_ref().status()).map_err(|status| format!("{address} refuses: {}", status.message()))
}
