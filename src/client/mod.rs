//! The command line's own calls of the services: any method by name, and a walk through every way of a claim.

mod call;
mod refusal;
mod walk;

use std::{fmt, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use serde::Deserialize;
use tonic::{
    Request,
    transport::{Channel, Endpoint},
};
use uuid::Uuid;

pub use call::{CallArgs, call};
pub use walk::{WalkArgs, walk, walk_with};

/// Where the services listen: URLs such as `http://127.0.0.1:50051`.
#[derive(Args, Clone, Debug)]
pub struct Addresses {
    /// URL of CoverageService and RegistryService
    #[arg(long = "coverage-address", env = "WARRANTY_COVERAGE_ADDRESS", default_value = "http://127.0.0.1:50051")]
    pub coverage: String,
    /// URL of ClaimService
    #[arg(long = "claim-address", env = "WARRANTY_CLAIM_ADDRESS", default_value = "http://127.0.0.1:50052")]
    pub claim: String,
    /// URL of LogisticsService
    #[arg(long = "logistics-address", env = "WARRANTY_LOGISTICS_ADDRESS", default_value = "http://127.0.0.1:50053")]
    pub logistics: String,
}

/// Where the development issuer listens.
#[derive(Args, Clone, Debug)]
pub struct Issuer {
    /// URL of the development issuer, which gives a token for each kind of caller
    #[arg(long, env = "WARRANTY_ISSUER_URL", default_value = "http://127.0.0.1:50050")]
    pub issuer_url: String,
}

/// A kind of caller, as the development issuer names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum, strum::Display)]
#[strum(serialize_all = "lowercase")]
pub enum Kind {
    /// A dealer
    Dealer,
    /// A customer
    Customer,
    /// The maker's support
    Support,
    /// The maker's depot
    Depot,
    /// The maker's registry
    Registry,
    /// The maker's billing
    Billing,
}

/// Somebody who calls: a kind, and which dealer or customer. Without an id the issuer picks its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Who {
    /// What kind of caller.
    pub kind: Kind,
    /// The dealer's id, or the customer's UUID; staff have none.
    pub id: Option<String>,
}

impl Who {
    /// The dealer of that id.
    pub fn dealer(id: &str) -> Self {
        Self::named(Kind::Dealer, id)
    }

    /// The customer of that UUID.
    pub fn customer(id: &str) -> Self {
        Self::named(Kind::Customer, id)
    }

    /// Staff of that kind.
    pub fn staff(kind: Kind) -> Self {
        Self { kind, id: None }
    }

    fn named(kind: Kind, id: &str) -> Self {
        Self { kind, id: Some(id.to_owned()) }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.id {
            None => write!(f, "{}", self.kind),
            // A customer's whole UUID would fill the line; its end tells two apart.
            Some(id) if self.kind == Kind::Customer && id.len() == 36 => {
                write!(f, "customer/..{}", &id[28..])
            }
            Some(id) => write!(f, "{}/{id}", self.kind),
        }
    }
}

/// Where a caller's token comes from.
#[derive(Clone)]
pub enum TokenSource {
    /// The development issuer at this URL: `GET /token?as=KIND`, with `dealer=` or `customer=` where there is an id;
    /// the reply is JSON with an `access_token`.
    Issuer(String),
    /// A function of who calls.
    Given(Arc<dyn Fn(&Who) -> String + Send + Sync>),
}

impl TokenSource {
    /// The token for `who`.
    ///
    /// # Errors
    /// The issuer cannot be reached, or gives none.
    pub async fn token(&self, who: &Who) -> Result<String> {
        match self {
            Self::Given(give) => Ok(give(who)),
            Self::Issuer(url) => {
                fetch(url, who).await.with_context(|| format!("no token for {who} from the issuer at {url}"))
            }
        }
    }
}

/// The part of the issuer's reply that is used.
#[derive(Deserialize)]
struct Granted {
    access_token: String,
}

async fn fetch(url: &str, who: &Who) -> Result<String> {
    // reqwest wants a provider even for plain HTTP; one that is installed already stays.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut query = vec![("as", who.kind.to_string())];
    if let Some(id) = &who.id {
        let name = if who.kind == Kind::Dealer { "dealer" } else { "customer" };
        query.push((name, id.clone()));
    }
    let address = format!("{}/token", url.trim_end_matches('/'));
    let request = reqwest::Client::new().get(address).query(&query).timeout(Duration::from_secs(10));
    let reply = request.send().await?;
    let status = reply.status();
    let text = reply.text().await?;
    ensure!(status.is_success(), "{status}: {}", text.trim());
    let granted: Granted = serde_json::from_str(&text).context("the reply holds no access_token")?;
    Ok(granted.access_token)
}

/// Connects to a service within five seconds; each call may take thirty.
async fn connect(address: &str) -> Result<Channel> {
    Endpoint::from_shared(address.to_owned())
        .with_context(|| format!("{address} is not an address"))?
        .connect_timeout(Duration::from_secs(5))
        .timeout(Duration::from_secs(30))
        .connect()
        .await
        .with_context(|| format!("no service answers at {address}"))
}

/// A request with its token and the first span of a new trace; also gives the trace id.
fn signed<T>(message: T, token: Option<&str>) -> Result<(Request<T>, String)> {
    let mut request = Request::new(message);
    let trace_id = Uuid::new_v4().simple().to_string();
    let span_id = &Uuid::new_v4().simple().to_string()[..16];
    let metadata = request.metadata_mut();
    metadata.insert("traceparent", format!("00-{trace_id}-{span_id}-01").parse()?);
    if let Some(token) = token {
        let bearer = format!("Bearer {token}").parse();
        metadata.insert("authorization", bearer.context("the token is not one")?);
    }
    Ok((request, trace_id))
}

#[cfg(test)]
mod tests {
    use axum::{Router, extract::RawQuery, http::StatusCode, routing::get};

    use super::*;

    #[tokio::test]
    async fn the_issuer_is_asked_by_kind_and_id() {
        let answer = async |RawQuery(query): RawQuery| match query.unwrap_or_default().as_str() {
            "as=billing" => (StatusCode::BAD_REQUEST, "no such kind\n".to_owned()),
            query => (StatusCode::OK, format!(r#"{{"access_token": "{query}", "expires_in": 1}}"#)),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let routes = Router::new().route("/token", get(answer));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let tokens = TokenSource::Issuer(url);
        for (who, query) in [
            (Who::dealer("D-1"), "as=dealer&dealer=D-1"),
            (Who::customer("c"), "as=customer&customer=c"),
            (Who::staff(Kind::Depot), "as=depot"),
        ] {
            assert_eq!(tokens.token(&who).await.unwrap(), query);
        }
        let error = tokens.token(&Who::staff(Kind::Billing)).await.unwrap_err();
        assert_eq!(error.root_cause().to_string(), "400 Bad Request: no such kind");
    }
}
