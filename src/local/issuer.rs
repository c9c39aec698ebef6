//! The development issuer: signs tokens with a key of its own, and serves that key as a JWKS. Never for production.

use std::{fs, path::Path, sync::Arc};

use anyhow::{Context, Result, bail};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use axum::{
    Json, Router,
    extract::{Query, State},
    http::StatusCode,
    routing::get,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use chrono::{DateTime, Duration, Utc};
use clap::{Args, ValueEnum};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use strum::{IntoStaticStr, VariantArray};
use uuid::{Uuid, uuid};

use super::postgres::write_secret;
use crate::{clock::Clock, domain::actor::Actor};

/// The sample data's customer.
pub const SAMPLE_CUSTOMER: Uuid = uuid!("00000000-0000-4000-8000-000000000001");
/// The sample data's first dealer.
pub const SAMPLE_DEALER: &str = "D1001";

/// A kind of caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize, IntoStaticStr, VariantArray)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Kind {
    /// A dealer's ERP system.
    Dealer,
    /// A customer's mobile app.
    Customer,
    /// The maker's support.
    Support,
    /// The maker's depot.
    Depot,
    /// The maker's keepers of the registry.
    Registry,
    /// The maker's billing.
    Billing,
}

impl Kind {
    /// Its name, as `--as` takes it.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// The scopes it has where none are named.
    pub fn scopes(self) -> &'static str {
        match self {
            Self::Dealer => "coverage.read sales.write claims.read claims.apply logistics.read",
            Self::Customer => "coverage.read claims.read claims.apply logistics.read",
            Self::Support => "coverage.read claims.read claims.support logistics.read sales.write",
            Self::Depot => "coverage.read claims.read depot.write logistics.read",
            Self::Registry => "coverage.read registry.write sales.write claims.read",
            Self::Billing => "coverage.read claims.read billing.write logistics.read",
        }
    }

    /// The caller with this id, or the sample data's where none is named. Fails where a customer's is not a UUID.
    pub fn actor(self, id: Option<&str>) -> Result<Actor, uuid::Error> {
        Ok(match self {
            Self::Dealer => Actor::Dealer(id.unwrap_or(SAMPLE_DEALER).to_owned()),
            Self::Customer => Actor::Customer(id.map_or(Ok(SAMPLE_CUSTOMER), str::parse)?),
            staff => Actor::Staff(id.unwrap_or(staff.name()).to_owned()),
        })
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
                let new = Ed25519KeyPair::generate()
                    .and_then(|pair| pair.to_pkcs8v1())
                    .context("cannot make a signing key")?;
                write_secret(path, new.as_ref())?;
                new.as_ref().to_vec()
            }
        };
        Self::from_pkcs8(&pkcs8).with_context(|| format!("{} holds no Ed25519 key", path.display()))
    }

    /// A key that is kept nowhere.
    pub fn ephemeral() -> Result<Self> {
        let new = Ed25519KeyPair::generate().and_then(|pair| pair.to_pkcs8v1());
        Self::from_pkcs8(new.context("cannot make a signing key")?.as_ref())
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

/// What the issuer's server needs to sign.
pub struct Desk {
    /// The key.
    pub issuer: Issuer,
    /// The `iss` of its tokens.
    pub name: String,
    /// The `aud` of its tokens.
    pub audience: String,
    /// The time.
    pub clock: Clock,
}

/// How long a token lives.
pub fn lifetime() -> Duration {
    Duration::hours(12)
}

/// Which token somebody wants: a kind of caller, whose id may be left out, or an id, whose kind may.
#[derive(Args, Clone, Debug, Default, Deserialize)]
pub struct Wish {
    /// The kind of caller; support where only --staff is given
    #[arg(long = "as", value_enum)]
    pub r#as: Option<Kind>,
    /// The dealer's id [default: the sample data's]
    #[arg(long)]
    pub dealer: Option<String>,
    /// The customer's UUID [default: the sample data's]
    #[arg(long)]
    pub customer: Option<String>,
    /// The id of one of the maker's staff [default: the kind's name]
    #[arg(long)]
    pub staff: Option<String>,
    /// The scopes, separated by spaces [default: the kind's usual ones]
    #[arg(long)]
    pub scope: Option<String>,
}

impl Wish {
    fn caller(&self) -> Result<(Kind, Option<&str>)> {
        let ids = (self.dealer.as_deref(), self.customer.as_deref(), self.staff.as_deref());
        Ok(match (self.r#as, ids) {
            (None | Some(Kind::Dealer), (Some(id), None, None)) => (Kind::Dealer, Some(id)),
            (None | Some(Kind::Customer), (None, Some(id), None)) => (Kind::Customer, Some(id)),
            (None, (None, None, Some(id))) => (Kind::Support, Some(id)),
            (Some(kind), (None, None, None)) => (kind, None),
            (Some(kind), (None, None, id)) if !matches!(kind, Kind::Dealer | Kind::Customer) => (kind, id),
            _ => {
                bail!("name one caller: a kind (as), or a dealer, a customer or staff, or a kind with an id of its own")
            }
        })
    }
}

impl Desk {
    /// The token wished for. Fails with one sentence where nobody or more than one is named.
    pub fn token(&self, wish: &Wish) -> Result<String> {
        let (kind, id) = wish.caller()?;
        let scopes = wish.scope.as_deref().unwrap_or(kind.scopes());
        let actor = kind.actor(id).context("a customer's id is a UUID")?;
        let now = self.clock.now();
        self.issuer.mint(&actor, scopes, lifetime(), &self.name, &self.audience, now)
    }
}

/// `GET /jwks.json`, and `GET` or `POST /token?as=KIND`, with `dealer=`, `customer=`, `staff=` and `scope=` as wished.
pub fn routes(desk: Desk) -> Router {
    Router::new()
        .route("/jwks.json", get(async |State(desk): State<Arc<Desk>>| Json(desk.issuer.jwks())))
        .route("/token", get(token).post(token))
        .with_state(Arc::new(desk))
}

/// Serves until the task is dropped. Fails where the listener does.
pub async fn serve(listener: tokio::net::TcpListener, desk: Desk) -> Result<()> {
    Ok(axum::serve(listener, routes(desk)).await?)
}

async fn token(State(desk): State<Arc<Desk>>, Query(wish): Query<Wish>) -> Result<Json<Value>, (StatusCode, String)> {
    let refuse = |error| (StatusCode::BAD_REQUEST, format!("{error:#}\n"));
    let token = desk.token(&wish).map_err(refuse)?;
    let expires_in = lifetime().num_seconds();
    Ok(Json(json!({"access_token": token, "token_type": "Bearer", "expires_in": expires_in})))
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{DecodingKey, Validation, decode, jwk::JwkSet};

    use super::*;

    fn desk() -> Desk {
        let name = "http://issuer".to_owned();
        let issuer = Issuer::ephemeral().unwrap();
        Desk { issuer, name, audience: "warranty".to_owned(), clock: Clock::system() }
    }

    #[test]
    fn a_token_is_verified_by_the_key_set() {
        let desk = desk();
        let wish = Wish { dealer: Some("D7".to_owned()), ..Wish::default() };
        let keys: JwkSet = serde_json::from_value(desk.issuer.jwks()).unwrap();
        let mut asked = Validation::new(Algorithm::EdDSA);
        asked.set_audience(&["warranty"]);
        asked.set_issuer(&["http://issuer"]);
        let key = DecodingKey::from_jwk(&keys.keys[0]).unwrap();
        let token = decode::<Value>(desk.token(&wish).unwrap(), &key, &asked).unwrap();
        assert_eq!(token.header.typ.as_deref(), Some("at+jwt"));
        assert_eq!(token.header.kid, keys.keys[0].common.key_id);
        assert_eq!((&token.claims["sub"], &token.claims["dealer_id"]), (&json!("dealer/D7"), &json!("D7")));
        assert_eq!(token.claims["scope"], json!(Kind::Dealer.scopes()));
    }

    #[test]
    fn a_wish_names_one_caller() {
        let id = |id: &str| Some(id.to_owned());
        let wish = |kind, dealer, customer, staff| Wish { r#as: kind, dealer, customer, staff, scope: None };
        for (wish, caller) in [
            (wish(Some(Kind::Depot), None, None, None), Some((Kind::Depot, None))),
            (wish(Some(Kind::Depot), None, None, id("ann")), Some((Kind::Depot, Some("ann")))),
            (wish(None, id("D7"), None, None), Some((Kind::Dealer, Some("D7")))),
            (wish(Some(Kind::Depot), id("D7"), None, None), None),
            (wish(Some(Kind::Dealer), None, None, id("ann")), None),
            (wish(None, id("D7"), id("c"), None), None),
            (wish(None, None, None, None), None),
        ] {
            assert_eq!(wish.caller().ok(), caller, "{wish:?}");
        }
    }
}
