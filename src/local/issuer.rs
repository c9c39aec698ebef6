//! The development issuer: signs tokens with a key of its own, and serves that key as a JWKS. Never for production.

use std::{fmt, fs, future::ready, path::Path};

use anyhow::{Context, Result};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use axum::{Json, Router, extract::Query, http::StatusCode, routing::get};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use chrono::{DateTime, Duration, Utc};
use clap::{Args, ValueEnum};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use strum::{Display, VariantArray};
use uuid::{Uuid, uuid};

use super::postgres::write_secret;
use crate::{clock::Clock, domain::actor::Actor};

/// The sample data's customer.
pub const SAMPLE_CUSTOMER: Uuid = uuid!("00000000-0000-4000-8000-000000000001");
/// The sample data's first dealer.
pub const SAMPLE_DEALER: &str = "D1001";
/// The `aud` of the tokens.
pub const AUDIENCE: &str = "warranty";
/// How long a token lives.
pub const HOURS: i64 = 12;

/// A kind of caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum, Serialize, Deserialize, Display, VariantArray)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Kind {
    /// A dealer's ERP system
    Dealer,
    /// A customer's mobile app
    Customer,
    /// The maker's support
    Support,
    /// The maker's depot
    Depot,
    /// The maker's keepers of the registry
    Registry,
    /// The maker's billing
    Billing,
}

impl Kind {
    /// The scopes of its tokens, separated by spaces.
    pub fn scopes(self) -> &'static str {
        match self {
            Self::Dealer => "coverage.read sales.write claims.read claims.apply logistics.read",
            Self::Customer => "coverage.read claims.read claims.apply logistics.read",
            Self::Support => "coverage.read claims.read claims.support logistics.read sales.write",
            Self::Depot => "coverage.read claims.read depot.write logistics.read",
            Self::Registry => "coverage.read registry.write sales.write claims.read people.erase",
            Self::Billing => "coverage.read claims.read billing.write logistics.read",
        }
    }
}

/// Whose token: a kind of caller, and which one.
#[derive(Args, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Who {
    /// The kind of caller
    #[arg(long = "as", value_name = "KIND")]
    #[serde(rename = "as")]
    pub kind: Kind,
    /// Its id: a dealer's, a customer's UUID, a staff member's [default: the sample data's, or the kind's name]
    #[arg(long)]
    pub id: Option<String>,
}

impl Who {
    /// The sample data's caller of that kind.
    pub fn of(kind: Kind) -> Self {
        Self { kind, id: None }
    }

    /// The caller of that kind and id.
    pub fn named(kind: Kind, id: &str) -> Self {
        Self { kind, id: Some(id.to_owned()) }
    }

    /// The caller as the services see it. Fails where a customer's id is not a UUID.
    pub fn actor(&self) -> Result<Actor, uuid::Error> {
        let id = self.id.as_deref();
        Ok(match self.kind {
            Kind::Dealer => Actor::Dealer(id.unwrap_or(SAMPLE_DEALER).to_owned()),
            Kind::Customer => Actor::Customer(id.map_or(Ok(SAMPLE_CUSTOMER), str::parse)?),
            staff => Actor::Staff(id.map_or_else(|| staff.to_string(), str::to_owned)),
        })
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.id {
            None => write!(f, "{}", self.kind),
            // A customer's whole UUID would fill the line; its end tells two apart.
            Some(id) if id.len() == 36 => write!(f, "{}/..{}", self.kind, id.get(28..).unwrap_or_default()),
            Some(id) => write!(f, "{}/{id}", self.kind),
        }
    }
}

/// A signing key and its public half.
#[derive(Debug)]
pub struct Issuer {
    key: EncodingKey,
    key_id: String,
    public: String,
}

impl Issuer {
    /// The key kept at `path`, or a new one kept there.
    pub fn open(path: &Path) -> Result<Self> {
        let pkcs8 = match fs::read(path) {
            Ok(kept) => kept,
            Err(_) => {
                let new = new_key()?;
                write_secret(path, &new)?;
                new
            }
        };
        Self::from_pkcs8(&pkcs8).with_context(|| format!("{} holds no Ed25519 key", path.display()))
    }

    /// A key that is kept nowhere.
    pub fn ephemeral() -> Result<Self> {
        Self::from_pkcs8(&new_key()?)
    }

    fn from_pkcs8(pkcs8: &[u8]) -> Result<Self> {
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8).context("not an Ed25519 key")?;
        let public = BASE64.encode(pair.public_key().as_ref());
        // RFC 7638: the hash of the key's members in this order.
        let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{public}"}}"#);
        Ok(Self { key: EncodingKey::from_ed_der(pkcs8), key_id: BASE64.encode(Sha256::digest(members)), public })
    }

    /// The key set document (RFC 7517).
    pub fn jwks(&self) -> Value {
        json!({"keys": [{
            "kty": "OKP", "crv": "Ed25519", "x": self.public,
            "kid": self.key_id, "use": "sig", "alg": "EdDSA",
        }]})
    }

    /// A token for the caller, with these scopes (separated by spaces), from `now` for `lifetime`.
    pub fn mint(
        &self,
        actor: &Actor,
        scopes: &str,
        lifetime: Duration,
        issuer: &str,
        audience: &str,
        now: DateTime<Utc>,
    ) -> Result<String> {
        let (id_claim, id) = match actor {
            Actor::Dealer(id) => ("dealer_id", id.clone()),
            Actor::Customer(id) => ("customer_id", id.to_string()),
            Actor::Staff(id) => ("staff_id", id.clone()),
            // No such claim is known: a token that carries it alone is refused.
            Actor::Worker(name) => ("worker_id", name.clone()),
        };
        let claims = json!({
            "iss": issuer, "aud": audience, "sub": actor.to_string(), "scope": scopes, id_claim: id,
            "iat": now.timestamp(), "nbf": now.timestamp(), "exp": (now + lifetime).timestamp(),
        });
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some("at+jwt".to_owned());
        header.kid = Some(self.key_id.clone());
        jsonwebtoken::encode(&header, &claims, &self.key).context("cannot sign the token")
    }
}

fn new_key() -> Result<Vec<u8>> {
    let pkcs8 = Ed25519KeyPair::generate().and_then(|pair| pair.to_pkcs8v1()).context("cannot make a signing key")?;
    Ok(pkcs8.as_ref().to_vec())
}

/// The issuer at its place: what signs, the `iss` it signs as, and the time.
#[derive(Debug)]
pub struct Desk {
    /// The key.
    pub issuer: Issuer,
    /// Where it is served.
    pub url: String,
    /// The time.
    pub clock: Clock,
}

impl Desk {
    /// A token with the usual scopes of its kind.
    pub fn token(&self, who: &Who) -> Result<String> {
        let actor = who.actor().context("a customer's id is a UUID")?;
        let lifetime = Duration::hours(HOURS);
        self.issuer.mint(&actor, who.kind.scopes(), lifetime, &self.url, AUDIENCE, self.clock.now())
    }

    /// Serves `GET /jwks.json` and `GET /token?as=KIND&id=ID` until the task is dropped. Fails where the listener does.
    pub async fn serve(self, listener: tokio::net::TcpListener) -> Result<()> {
        let keys = Json(self.issuer.jwks());
        let desk = std::sync::Arc::new(self);
        let token = move |Query(who): Query<Who>| {
            ready(match desk.token(&who) {
                Ok(token) => {
                    Ok(Json(json!({"access_token": token, "token_type": "Bearer", "expires_in": HOURS * 3600})))
                }
                Err(error) => Err((StatusCode::BAD_REQUEST, format!("{error:#}\n"))),
            })
        };
        let routes = Router::new()
            .route("/jwks.json", get(move || ready(keys.clone())))
            .route("/token", get(token.clone()).post(token));
        Ok(axum::serve(listener, routes).await?)
    }
}
