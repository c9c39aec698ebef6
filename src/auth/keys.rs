//! The issuer's public keys: read from a JWKS, kept fresh, swapped whole.

use std::{collections::HashMap, convert::Infallible, fs, sync::Arc, time::Duration};

use anyhow::{Context, bail, ensure};
use arc_swap::ArcSwap;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::StatusCode;
use quick_cache::sync::Cache;
use serde::Deserialize;
use serde_json::Value;
use tokio::{sync::Mutex, time::Instant};
use tracing::{info, warn};

use super::Identity;
use crate::{clock::Clock, metrics};

/// A larger JWKS is not fetched: ours hold a handful of keys.
const LARGEST_JWKS: usize = 256 * 1024;
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// How many verified tokens are remembered.
const REMEMBERED: usize = 10_000;

/// One public key and the only algorithm (`alg`) it verifies. It is the key that says so, never a token's header.
pub(super) struct Key {
    pub(super) algorithm: &'static str,
    pub(super) public: ParsedPublicKey,
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.algorithm == other.algorithm && self.public.as_ref() == other.public.as_ref()
    }
}

/// The keys of one moment by `kid`, and the tokens that they verified, by SHA-256. Both go together: a swap forgets all
/// tokens at once, and a verification that the swap overtook cannot bring one back.
pub(super) struct Ring {
    pub(super) keys: HashMap<String, Key>,
    pub(super) verified: Cache<[u8; 32], Arc<Identity>>,
}

impl Ring {
    fn new(keys: HashMap<String, Key>) -> Self {
        Self { keys, verified: Cache::new(REMEMBERED) }
    }
}

/// The issuer's keys, shared and kept fresh; a clone is the same ring.
#[derive(Clone)]
pub struct KeyRing(Arc<Shared>);

struct Shared {
    source: Source,
    ring: ArcSwap<Ring>,
    refetch_gap: Duration,
    /// Held by whoever reads the source, so that an older answer never takes a newer one's place; inside, when an
    /// unknown `kid` last made somebody read it.
    searched: Mutex<Option<Instant>>,
}

impl KeyRing {
    /// Reads the keys from an http(s) address or else a file. An unknown `kid` makes the ring read them again, at most
    /// once in `refetch_gap`. Errors: the source cannot be read, or holds no key that we use.
    pub async fn load(source: String, refetch_gap: Duration) -> anyhow::Result<Self> {
        let source = Source::new(source)?;
        let keys = source.read().await?;
        ensure!(!keys.is_empty(), "the JWKS holds no key for RS256, ES256 or EdDSA signatures");
        told(&keys);
        let ring = ArcSwap::from_pointee(Ring::new(keys));
        Ok(Self(Arc::new(Shared { source, ring, refetch_gap, searched: Mutex::default() })))
    }

    /// Reads the keys again. Where that fails the old ones stay, and a warning says so.
    pub async fn refresh(&self) {
        let _searched = self.0.searched.lock().await;
        self.swap().await;
    }

    /// Refreshes once every `interval`, until dropped.
    pub async fn keep_fresh(self, interval: Duration) -> Infallible {
        loop {
            tokio::time::sleep(interval).await;
            self.refresh().await;
        }
    }

    /// The keys of this moment.
    pub(super) fn current(&self) -> arc_swap::Guard<Arc<Ring>> {
        self.0.ring.load()
    }

    /// The keys of this moment, read again where `kid` is not among them and the last such reading is long enough ago.
    pub(super) async fn with_key(&self, kid: &str) -> Arc<Ring> {
        if !self.current().keys.contains_key(kid) {
            // In a task of its own: a caller that hangs up must not break off the reading that others wait for.
            let (this, kid) = (self.clone(), kid.to_owned());
            if let Err(failure) = tokio::spawn(async move { this.search(&kid).await }).await {
                warn!(%failure, "the search for an unknown kid broke off");
            }
        }
        self.0.ring.load_full()
    }

    /// Who waits here while another reads finds the key, or that it is too soon to read again.
    async fn search(&self, kid: &str) {
        let mut searched = self.0.searched.lock().await;
        let too_soon = searched.is_some_and(|last| last.elapsed() < self.0.refetch_gap);
        if !too_soon && !self.current().keys.contains_key(kid) {
            *searched = Some(Instant::now());
            self.swap().await;
        }
    }

    async fn swap(&self) {
        let read = self.0.source.read().await;
        if let Ok(keys) = &read {
            told(keys);
        }
        match read {
            // An empty set is the issuer's word too: it took all its keys back.
            Ok(keys) if keys != self.current().keys => {
                info!(keys = keys.len(), "the issuer's keys changed");
                self.0.ring.store(Arc::new(Ring::new(keys)));
            }
            Ok(_same) => {}
            Err(failure) => warn!("the issuer's keys could not be refreshed; the old ones stay: {failure:#}"),
        }
    }
}

/// How many there are, and how fresh: with the issuer away the old ones stay, and nothing else would say so.
fn told(keys: &HashMap<String, Key>) {
    metrics::tell_keys(keys.len(), Clock::system().now().timestamp());
}

/// Where the keys come from, with what reading it takes.
enum Source {
    File(String),
    Url(String, reqwest::Client),
}

impl Source {
    fn new(place: String) -> anyhow::Result<Self> {
        if !place.starts_with("http://") && !place.starts_with("https://") {
            return Ok(Self::File(place));
        }
        // reqwest panics without a provider, for plain http too. One that is installed already stays.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = reqwest::Client::builder().timeout(FETCH_TIMEOUT).no_proxy();
        Ok(Self::Url(place, client.redirect(reqwest::redirect::Policy::none()).build()?))
    }

    async fn read(&self) -> anyhow::Result<HashMap<String, Key>> {
        let document = match self {
            Self::Url(url, client) => fetch(client, url).await.context("the JWKS cannot be fetched")?,
            Self::File(path) => {
                let opened = path.clone();
                let read = tokio::task::spawn_blocking(move || fs::read(opened)).await?;
                read.with_context(|| format!("the JWKS file {path} cannot be read"))?
            }
        };
        parse(&document)
    }
}

async fn fetch(client: &reqwest::Client, url: &str) -> anyhow::Result<Vec<u8>> {
    let mut response = client.get(url).send().await?;
    ensure!(response.status() == StatusCode::OK, "it answers {}", response.status());
    let mut document = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        document.extend_from_slice(&chunk);
        ensure!(document.len() <= LARGEST_JWKS, "it is larger than {LARGEST_JWKS} bytes");
    }
    Ok(document)
}

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kid: String,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    #[serde(flatten)]
    material: Material,
}

#[derive(Deserialize)]
#[serde(tag = "kty")]
enum Material {
    #[serde(rename = "RSA")]
    Rsa { n: String, e: String },
    #[serde(rename = "EC")]
    Ec { crv: String, x: String, y: String },
    #[serde(rename = "OKP")]
    Okp { crv: String, x: String },
}

/// The keys that we use. Others are left out with a line in the log: they are the issuer's business with someone else.
fn parse(document: &[u8]) -> anyhow::Result<HashMap<String, Key>> {
    let set: Jwks = serde_json::from_slice(document).context("the JWKS is not a JSON Web Key Set")?;
    let mut keys = HashMap::new();
    for entry in set.keys {
        let name = entry["kid"].to_string();
        match Jwk::deserialize(entry).map_err(Into::into).and_then(key) {
            Ok((kid, _)) if keys.contains_key(&kid) => warn!(kid, "a key is left out: its kid is taken"),
            Ok((kid, key)) => drop(keys.insert(kid, key)),
            Err(reason) => info!("the key {name} is left out: {reason:#}"),
        }
    }
    Ok(keys)
}

fn key(jwk: Jwk) -> anyhow::Result<(String, Key)> {
    ensure!(jwk.usage.is_none_or(|usage| usage == "sig"), "it is not for signatures");
    let verifies = |operations: Vec<String>| operations.iter().any(|operation| operation == "verify");
    ensure!(jwk.key_ops.is_none_or(verifies), "it is not for verifying");
    let bytes = |text: String| URL_SAFE_NO_PAD.decode(text).context("a part of it is not base64url");
    let (algorithm, public) = match jwk.material {
        Material::Rsa { n, e } => {
            let (n, e) = (bytes(n)?, bytes(e)?);
            // Verifying enforces the exact range of 2048 to 8192 bits.
            ensure!(n.len() >= 256, "it is an RSA key of under 2048 bits");
            ("RS256", RsaPublicKeyComponents { n, e }.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)?)
        }
        Material::Ec { crv, x, y } if crv == "P-256" => {
            // The uncompressed point of SEC 1; both coordinates have their full width (RFC 7518, 6.2.1.2).
            let (x, y) = (bytes(x)?, bytes(y)?);
            ensure!(x.len() == 32 && y.len() == 32, "its coordinates are not of 32 bytes");
            ("ES256", ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, [&[4][..], &x, &y].concat())?)
        }
        Material::Okp { crv, x } if crv == "Ed25519" => ("EdDSA", ParsedPublicKey::new(&ED25519, bytes(x)?)?),
        _ => bail!("it is on a curve that we do not use"),
    };
    ensure!(jwk.alg.is_none_or(|alg| alg == algorithm), "it is for an algorithm that we do not use");
    Ok((jwk.kid, Key { algorithm, public }))
}
