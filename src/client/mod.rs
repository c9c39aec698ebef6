//! The command line's own calls of the services: any method by name, imports, a policy's draft, reports, a walk
//! through every way of a claim, and a watch over all of them.

mod call;
mod import;
mod json;
mod policy;
mod raw;
mod refusal;
mod report;
mod walk;
mod watch;

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use clap::Args;
use tonic::Request;

pub use crate::local::issuer::{Kind, Who};
pub use call::{CallArgs, call};
pub use import::{ImportArgs, import};
pub use policy::{PolicyArgs, policy};
pub use raw::Raw;
pub use report::{ReportArgs, report};
pub use walk::{WalkArgs, walk, walk_with};
pub use watch::{WatchArgs, watch};

/// Where the services and the development issuer listen: URLs such as `http://127.0.0.1:7051`.
#[derive(Args, Clone, Debug)]
pub struct Addresses {
    /// URL of CoverageService and RegistryService
    #[arg(long = "coverage-address", env = "WARRANTY_COVERAGE_ADDRESS", default_value = "http://127.0.0.1:7051")]
    pub coverage: String,
    /// URL of ClaimService
    #[arg(long = "claim-address", env = "WARRANTY_CLAIM_ADDRESS", default_value = "http://127.0.0.1:7052")]
    pub claim: String,
    /// URL of LogisticsService
    #[arg(long = "logistics-address", env = "WARRANTY_LOGISTICS_ADDRESS", default_value = "http://127.0.0.1:7053")]
    pub logistics: String,
    /// URL of the development issuer, which gives a token for each kind of caller
    #[arg(long, env = "WARRANTY_ISSUER_URL", default_value = "http://127.0.0.1:7050")]
    pub issuer_url: String,
}

/// Where to call, and as whom.
#[derive(Args, Clone, Debug)]
pub struct Caller {
    /// Where the services listen.
    #[command(flatten)]
    pub addresses: Addresses,
    /// The token to call with
    #[arg(long, env = "WARRANTY_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Fetch a token for this kind of caller from the development issuer instead
    #[arg(long = "as", value_name = "KIND")]
    pub kind: Option<Kind>,
    /// Which dealer, customer or staff member [default: the sample data's]
    #[arg(long, requires = "kind")]
    pub id: Option<String>,
}

impl Caller {
    /// The token; none where none was named. Fails where the issuer gives none.
    pub async fn token(&self) -> Result<Option<String>> {
        let Some(kind) = self.kind else { return Ok(self.token.clone()) };
        let issuer = TokenSource::Issuer(self.addresses.issuer_url.clone());
        issuer.token(&Who { kind, id: self.id.clone() }).await.map(Some)
    }
}

/// A request under a token, where there is one.
fn under<T>(token: Option<&str>, message: T) -> Result<Request<T>> {
    let mut request = Request::new(message);
    if let Some(token) = token {
        let bearer = format!("Bearer {token}").parse().context("the token is not one")?;
        request.metadata_mut().insert("authorization", bearer);
    }
    Ok(request)
}

/// Where a caller's token comes from.
#[derive(Clone)]
pub enum TokenSource {
    /// The development issuer at this URL: `GET /token?as=KIND&id=ID`; the reply is JSON with an `access_token`.
    Issuer(String),
    /// A function of who calls.
    Given(Arc<dyn Fn(&Who) -> String + Send + Sync>),
}

impl TokenSource {
    /// The token for `who`. Fails where the issuer cannot be reached, or gives none.
    pub async fn token(&self, who: &Who) -> Result<String> {
        match self {
            Self::Given(give) => Ok(give(who)),
            Self::Issuer(url) => {
                fetch(url, who).await.with_context(|| format!("no token for {who} from the issuer at {url}"))
            }
        }
    }
}

async fn fetch(url: &str, who: &Who) -> Result<String> {
    let address = format!("{}/token", url.trim_end_matches('/'));
    let request = reqwest::Client::new().get(address).query(who).timeout(Duration::from_secs(10));
    let reply = request.send().await?;
    let status = reply.status();
    let text = reply.text().await?;
    ensure!(status.is_success(), "{status}: {}", text.trim());
    let granted: serde_json::Value = serde_json::from_str(&text)?;
    Ok(granted["access_token"].as_str().context("the reply holds no access_token")?.to_owned())
}
