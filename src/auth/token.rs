//! A bearer token becomes an identity, or a sentence that says why not.
//!
//! Everything is checked here by hand and nothing is left to defaults: libraries accept too much (an unknown `crit`,
//! `b64`, a foreign `typ`, an `exp` with a fraction, a name given twice).

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use http::{HeaderMap, header::AUTHORIZATION};
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::fmt::Hyphenated;

use super::{Identity, keys::KeyRing, methods::STAFF_ONLY, strict_json};
use crate::domain::actor::Actor;

/// Ours have some 700 bytes.
const LARGEST_TOKEN: usize = 8 * 1024;
/// How far the issuer's clock may run ahead, in seconds. There is none for `exp`.
const LEEWAY: i64 = 30;

/// Why a token is refused. The sentences give nothing of the token away.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TokenRefused {
    #[error("one `authorization: Bearer` header with a token is required")]
    NoBearer,
    #[error("the token is too long")]
    TooLong,
    #[error("the token is malformed")]
    Malformed,
    #[error("the token is of another type than an access token")]
    Type,
    #[error("the token asks for an extension that is not supported")]
    Extension,
    #[error("the token names no key of the issuer")]
    UnknownKey,
    #[error("the token's algorithm is not its key's")]
    Algorithm,
    #[error("the token's signature does not verify")]
    Signature,
    #[error("the token is not from the expected issuer")]
    Issuer,
    #[error("the token is not for this audience")]
    Audience,
    #[error("the token's times are missing or not integers")]
    Times,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    NotYetValid,
    #[error("the token names no subject")]
    Subject,
    #[error("the token's scope is missing or not a string")]
    Scope,
    #[error("the token must carry exactly one valid dealer_id, customer_id or staff_id")]
    Identity,
    #[error("the token carries a scope that its holder may not have")]
    ForeignScope,
}

/// The token of a call. Errors: no `authorization` in its metadata, two of them, or not `Bearer`.
pub fn bearer(metadata: &HeaderMap) -> Result<&str, TokenRefused> {
    let mut given = metadata.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (given.next(), given.next()) else {
        return Err(TokenRefused::NoBearer);
    };
    match value.to_str().ok().and_then(|text| text.split_once(' ')) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() => Ok(token),
        _ => Err(TokenRefused::NoBearer),
    }
}

/// Verifies tokens of one issuer for one audience, and remembers those that it verified.
pub struct Verifier {
    issuer: String,
    audience: String,
    keys: KeyRing,
}

impl Verifier {
    /// Accepts this `iss` alone, this `aud` among others, and signatures by these keys.
    pub fn new(issuer: String, audience: String, keys: KeyRing) -> Self {
        Self { issuer, audience, keys }
    }

    /// Whose token it is, or the first reason found to refuse it. May wait for the issuer's keys where the token names
    /// one that is not known yet.
    pub async fn verify(&self, bearer: &str, now: DateTime<Utc>) -> Result<Arc<Identity>, TokenRefused> {
        if bearer.len() > LARGEST_TOKEN {
            return Err(TokenRefused::TooLong);
        }
        // A digest, not the token: what is remembered is of a fixed size, and of no use to a reader of the memory.
        let fingerprint: [u8; 32] = Sha256::digest(bearer).into();
        if let Some(known) = self.keys.current().verified.get(&fingerprint) {
            return if now < known.expires_at { Ok(known) } else { Err(TokenRefused::Expired) };
        }
        let (signed, signature) = bearer.rsplit_once('.').ok_or(TokenRefused::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenRefused::Malformed)?;
        let (header, claims) = (part(header)?, part(claims)?);
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| TokenRefused::Malformed)?;
        let kid = key_id(&header)?;
        let ring = self.keys.with_key(kid).await;
        let key = ring.keys.get(kid).ok_or(TokenRefused::UnknownKey)?;
        if header["alg"] != key.algorithm {
            return Err(TokenRefused::Algorithm);
        }
        key.public.verify_sig(signed.as_bytes(), &signature).map_err(|_| TokenRefused::Signature)?;
        let identity = Arc::new(self.identity(&claims, &fingerprint, now)?);
        ring.verified.insert(fingerprint, Arc::clone(&identity));
        Ok(identity)
    }

    fn identity(&self, claims: &Value, sha256: &[u8; 32], now: DateTime<Utc>) -> Result<Identity, TokenRefused> {
        if claims["iss"] != self.issuer {
            return Err(TokenRefused::Issuer);
        }
        if !names_audience(&claims["aud"], &self.audience) {
            return Err(TokenRefused::Audience);
        }
        let expires_at = expiry(claims, now)?;
        if claims["sub"].as_str().is_none_or(str::is_empty) {
            return Err(TokenRefused::Subject);
        }
        let actor = actor(claims)?;
        let scopes: Vec<_> =
            claims["scope"].as_str().ok_or(TokenRefused::Scope)?.split(' ').map(str::to_owned).collect();
        if !actor.is_staff() && scopes.iter().any(|scope| STAFF_ONLY.contains(&scope.as_str())) {
            return Err(TokenRefused::ForeignScope);
        }
        let fingerprint = std::array::from_fn(|byte| sha256[byte]);
        Ok(Identity { actor, scopes, expires_at, fingerprint })
    }
}

fn part(encoded: &str) -> Result<Value, TokenRefused> {
    URL_SAFE_NO_PAD.decode(encoded).ok().and_then(|json| strict_json::object(&json)).ok_or(TokenRefused::Malformed)
}

/// The key that the header names, where the header asks for nothing that we do not do.
fn key_id(header: &Value) -> Result<&str, TokenRefused> {
    if header.get("crit").is_some() || header.get("b64").is_some() {
        return Err(TokenRefused::Extension);
    }
    let known = |typ: &str| typ.eq_ignore_ascii_case("JWT") || typ.eq_ignore_ascii_case("at+jwt");
    if header.get("typ").is_some_and(|typ| !typ.as_str().is_some_and(known)) {
        return Err(TokenRefused::Type);
    }
    header["kid"].as_str().ok_or(TokenRefused::UnknownKey)
}

fn names_audience(aud: &Value, ours: &str) -> bool {
    match aud {
        Value::String(one) => one == ours,
        Value::Array(many) => many.iter().all(Value::is_string) && many.iter().any(|one| one == ours),
        _ => false,
    }
}

/// When the token expires, where now it is valid.
fn expiry(claims: &Value, now: DateTime<Utc>) -> Result<DateTime<Utc>, TokenRefused> {
    let expires_at = claims["exp"].as_i64().and_then(DateTime::from_timestamp_secs).ok_or(TokenRefused::Times)?;
    for start in [claims.get("nbf"), claims.get("iat")].into_iter().flatten() {
        if start.as_i64().ok_or(TokenRefused::Times)? > now.timestamp() + LEEWAY {
            return Err(TokenRefused::NotYetValid);
        }
    }
    if now >= expires_at { Err(TokenRefused::Expired) } else { Ok(expires_at) }
}

/// The one identity. A claim that is there counts, whatever its value is.
fn actor(claims: &Value) -> Result<Actor, TokenRefused> {
    let actor = match ["dealer_id", "customer_id", "staff_id"].map(|name| claims.get(name)) {
        [Some(dealer), None, None] => plain_id(dealer).map(Actor::Dealer),
        [None, Some(customer), None] => uuid(customer).map(Actor::Customer),
        [None, None, Some(staff)] => plain_id(staff).map(Actor::Staff),
        _ => None,
    };
    actor.ok_or(TokenRefused::Identity)
}

fn plain_id(value: &Value) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    value.as_str().filter(|id| (1..=40).contains(&id.len()) && id.bytes().all(plain)).map(str::to_owned)
}

/// Only the form with hyphens: [`uuid::Uuid`] itself would also read braces, `urn:uuid:` and 32 digits in a row.
fn uuid(value: &Value) -> Option<uuid::Uuid> {
    value.as_str()?.parse().ok().map(Hyphenated::into_uuid)
}
