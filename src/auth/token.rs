//! A bearer token becomes an identity, or a sentence that says why not.
//!
//! Everything is checked here by hand and nothing is left to defaults: libraries accept too much (an unknown `crit`,
//! `b64`, a foreign `typ`, an `exp` with a fraction, a name given twice).

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use http::{HeaderMap, header::AUTHORIZATION};
use quick_cache::sync::Cache;
use serde_json::{Map, Value};
use strum::IntoEnumIterator;
use uuid::Uuid;

use super::{
    Identity,
    keys::{Key, KeyRing, Ring},
    methods::{Kind, Scope, Scopes},
    strict_json,
};
use crate::domain::actor::Actor;

/// Ours have some 700 bytes.
const LARGEST_TOKEN: usize = 8 * 1024;
/// How far the issuer's clock may run ahead, in seconds. There is none for `exp`.
const LEEWAY: i64 = 30;

/// Why a token is refused. The sentences give nothing of the token away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TokenRefused {
    /// No `authorization`, two of them, or not `Bearer`.
    #[error("one `authorization: Bearer` header with a token is required")]
    NoBearer,
    /// Over 8 KiB.
    #[error("the token is too long")]
    TooLong,
    /// Not three parts of base64url, or no strict JSON in them.
    #[error("the token is malformed")]
    Malformed,
    /// A foreign `typ`.
    #[error("the token is of another type than an access token")]
    Type,
    /// `crit` or `b64`: the token asks for rules that we do not follow.
    #[error("the token asks for an extension that is not supported")]
    Extension,
    /// No `kid`, or no key of that name.
    #[error("the token names no key of the issuer")]
    UnknownKey,
    /// `alg` is not the key's.
    #[error("the token's algorithm is not its key's")]
    Algorithm,
    /// The signature.
    #[error("the token's signature does not verify")]
    Signature,
    /// `iss` is missing or another.
    #[error("the token is not from the expected issuer")]
    Issuer,
    /// `aud` is missing or names others.
    #[error("the token is not for this audience")]
    Audience,
    /// `exp` is missing or not an integer, or `nbf` or `iat` is not one.
    #[error("the token's times are missing or not integers")]
    Times,
    /// `exp` is past.
    #[error("the token has expired")]
    Expired,
    /// `nbf` or `iat` is in the future.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// `sub` is missing or empty.
    #[error("the token names no subject")]
    Subject,
    /// `scope` is missing or not a string.
    #[error("the token's scope is missing or not a string")]
    Scope,
    /// Not exactly one of `dealer_id`, `customer_id`, `staff_id`, or one that is not an id.
    #[error("the token must carry exactly one valid dealer_id, customer_id or staff_id")]
    Identity,
    /// A dealer's or customer's token with a scope for staff.
    #[error("the token carries a scope that its holder may not have")]
    ForeignScope,
}

/// Takes the token out of a call's metadata.
///
/// # Errors
/// [`TokenRefused::NoBearer`]
pub fn bearer(metadata: &HeaderMap) -> Result<&str, TokenRefused> {
    let mut given = metadata.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (given.next(), given.next()) else {
        return Err(TokenRefused::NoBearer);
    };
    let (scheme, token) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or(TokenRefused::NoBearer)?;
    match scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() {
        true => Ok(token),
        false => Err(TokenRefused::NoBearer),
    }
}

/// Verifies tokens of one issuer for one audience, and remembers those that it verified.
pub struct Verifier {
    issuer: String,
    audience: String,
    keys: KeyRing,
    verified: Cache<[u8; 32], Verified>,
}

/// A remembered token. It counts only under the ring that it was verified with: a swap forgets all tokens at once, and
/// a verification that the swap overtook cannot bring one back.
#[derive(Clone)]
struct Verified {
    generation: u64,
    identity: Arc<Identity>,
}

impl Verifier {
    /// `remembered` bounds how many verified tokens are kept.
    pub fn new(issuer: String, audience: String, keys: KeyRing, remembered: usize) -> Self {
        Self { issuer, audience, keys, verified: Cache::new(remembered) }
    }

    /// Whose token it is. May wait for the issuer's keys where the token names one that is not known yet.
    ///
    /// # Errors
    /// The first reason found to refuse it.
    pub async fn verify(&self, bearer: &str, now: DateTime<Utc>) -> Result<Arc<Identity>, TokenRefused> {
        if bearer.len() > LARGEST_TOKEN {
            return Err(TokenRefused::TooLong);
        }
        let fingerprint = Self::fingerprint(bearer);
        if let Some(known) = self.verified.get(&fingerprint)
            && known.generation == self.keys.current().generation
        {
            return match now < known.identity.expires_at {
                true => Ok(known.identity),
                false => Err(TokenRefused::Expired),
            };
        }
        let (ring, identity) = self.verify_anew(bearer, now).await?;
        let identity = Arc::new(identity);
        self.remember(fingerprint, &ring, &identity);
        Ok(identity)
    }

    /// A digest, not the token: what is remembered is of a fixed size, and of no use to a reader of the memory.
    fn fingerprint(bearer: &str) -> [u8; 32] {
        let digest = digest(&SHA256, bearer.as_bytes());
        digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
    }

    fn remember(&self, fingerprint: [u8; 32], ring: &Ring, identity: &Arc<Identity>) {
        let verified = Verified { generation: ring.generation, identity: Arc::clone(identity) };
        self.verified.insert(fingerprint, verified);
    }

    async fn verify_anew(&self, bearer: &str, now: DateTime<Utc>) -> Result<(Arc<Ring>, Identity), TokenRefused> {
        let (signed, signature) = bearer.rsplit_once('.').ok_or(TokenRefused::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenRefused::Malformed)?;
        let (header, claims) = (part(header)?, part(claims)?);
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| TokenRefused::Malformed)?;
        let kid = key_id(&header)?;
        let ring = self.keys.with_key(kid).await;
        let key = ring.keys.get(kid).ok_or(TokenRefused::UnknownKey)?;
        check_signature(key, &header, signed, &signature)?;
        let identity = self.identity(&claims, now)?;
        Ok((ring, identity))
    }

    fn identity(&self, claims: &Map<String, Value>, now: DateTime<Utc>) -> Result<Identity, TokenRefused> {
        if text(claims, "iss") != Some(&self.issuer) {
            return Err(TokenRefused::Issuer);
        }
        if !names_audience(claims.get("aud"), &self.audience) {
            return Err(TokenRefused::Audience);
        }
        let expires_at = expiry(claims, now)?;
        if text(claims, "sub").is_none_or(str::is_empty) {
            return Err(TokenRefused::Subject);
        }
        let actor = actor(claims)?;
        let scopes = Scopes::parse(text(claims, "scope").ok_or(TokenRefused::Scope)?);
        let foreign = |scope: Scope| scope.staff_only() && scopes.contains(scope);
        if Kind::from(&actor) != Kind::Staff && Scope::iter().any(foreign) {
            return Err(TokenRefused::ForeignScope);
        }
        Ok(Identity { actor, scopes, expires_at })
    }
}

fn part(encoded: &str) -> Result<Map<String, Value>, TokenRefused> {
    URL_SAFE_NO_PAD.decode(encoded).ok().and_then(|json| strict_json::object(&json)).ok_or(TokenRefused::Malformed)
}

fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    members.get(name)?.as_str()
}

/// The key that the header names, where the header asks for nothing that we do not do.
fn key_id(header: &Map<String, Value>) -> Result<&str, TokenRefused> {
    if header.contains_key("crit") || header.contains_key("b64") {
        return Err(TokenRefused::Extension);
    }
    let known_type = |typ: &str| typ.eq_ignore_ascii_case("JWT") || typ.eq_ignore_ascii_case("at+jwt");
    if let Some(typ) = header.get("typ")
        && !typ.as_str().is_some_and(known_type)
    {
        return Err(TokenRefused::Type);
    }
    text(header, "kid").ok_or(TokenRefused::UnknownKey)
}

fn check_signature(key: &Key, header: &Map<String, Value>, signed: &str, signature: &[u8]) -> Result<(), TokenRefused> {
    if text(header, "alg") != Some(key.algorithm.name()) {
        return Err(TokenRefused::Algorithm);
    }
    key.public.verify_sig(signed.as_bytes(), signature).map_err(|_| TokenRefused::Signature)
}

fn names_audience(aud: Option<&Value>, ours: &str) -> bool {
    match aud {
        Some(Value::String(one)) => one == ours,
        Some(Value::Array(many)) => many.iter().all(Value::is_string) && many.iter().any(|one| one == ours),
        _ => false,
    }
}

/// When the token expires, where now it is valid.
fn expiry(claims: &Map<String, Value>, now: DateTime<Utc>) -> Result<DateTime<Utc>, TokenRefused> {
    let seconds = |value: &Value| value.as_i64().ok_or(TokenRefused::Times);
    let expires_at = seconds(claims.get("exp").unwrap_or(&Value::Null))?;
    let expires_at = DateTime::from_timestamp_secs(expires_at).ok_or(TokenRefused::Times)?;
    let mut starts = Vec::new();
    for name in ["nbf", "iat"] {
        starts.extend(claims.get(name).map(seconds).transpose()?);
    }
    if now >= expires_at {
        return Err(TokenRefused::Expired);
    }
    match starts.iter().all(|start| *start <= now.timestamp() + LEEWAY) {
        true => Ok(expires_at),
        false => Err(TokenRefused::NotYetValid),
    }
}

/// The one identity. A claim that is there counts, whatever its value is.
fn actor(claims: &Map<String, Value>) -> Result<Actor, TokenRefused> {
    let given = ["dealer_id", "customer_id", "staff_id"].map(|name| claims.get(name));
    let actor = match given {
        [Some(dealer), None, None] => plain_id(dealer).map(Actor::Dealer),
        [None, Some(customer), None] => customer.as_str().and_then(uuid).map(Actor::Customer),
        [None, None, Some(staff)] => plain_id(staff).map(Actor::Staff),
        _ => None,
    };
    actor.ok_or(TokenRefused::Identity)
}

fn plain_id(value: &Value) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    value.as_str().filter(|id| (1..=40).contains(&id.len()) && id.bytes().all(plain)).map(str::to_owned)
}

/// Only the form with hyphens: the parser also knows braces, `urn:uuid:` and 32 digits in a row.
fn uuid(text: &str) -> Option<Uuid> {
    (text.len() == 36).then(|| Uuid::try_parse(text).ok()).flatten()
}

#[cfg(test)]
mod tests;
