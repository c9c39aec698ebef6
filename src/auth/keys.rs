//! The issuer's public keys: read from a JWKS, kept fresh, swapped whole.

use std::{
    collections::{HashMap, hash_map::Entry},
    convert::Infallible,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::StatusCode;
use serde::Deserialize;
use tokio::{
    sync::{Mutex, OwnedMutexGuard},
    time::Instant,
};
use tracing::{info, warn};

/// A JWKS larger than this is not read: ours hold a handful of keys.
const LARGEST_JWKS: u64 = 256 * 1024;
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwksSource {
    /// A file, read anew at each refresh.
    File(PathBuf),
    /// An `http://` or `https://` address. Redirects are not followed, proxies not used.
    Url(String),
}

/// Why the keys could not be had.
#[derive(Debug, thiserror::Error)]
pub enum KeysUnreadable {
    /// The file.
    #[error("the JWKS file {0} cannot be read: {1}")]
    File(PathBuf, std::io::Error),
    /// The address.
    #[error("the JWKS cannot be fetched: {0}")]
    Fetch(#[from] reqwest::Error),
    /// The answer, a redirect too.
    #[error("the JWKS address answers {0}")]
    Status(StatusCode),
    /// Its size.
    #[error("the JWKS is larger than {LARGEST_JWKS} bytes")]
    TooLarge,
    /// The document.
    #[error("the JWKS is not a JSON Web Key Set: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Every key was left out, or there was none.
    #[error("the JWKS holds no key for RS256, ES256 or EdDSA signatures")]
    Empty,
}

/// How a key signs. It is the key that says so, never a token's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
pub(super) enum Algorithm {
    #[strum(serialize = "RS256")]
    Rs256,
    #[strum(serialize = "ES256")]
    Es256,
    #[strum(serialize = "EdDSA")]
    EdDsa,
}

/// One public key and the only algorithm it verifies.
pub(super) struct Key {
    pub(super) algorithm: Algorithm,
    pub(super) public: ParsedPublicKey,
}

/// The keys of one moment.
pub(super) struct Ring {
    /// Counts the rings whose keys differed: what was verified under another one must be verified again.
    pub(super) generation: u64,
    pub(super) keys: HashMap<String, Key>,
}

/// The issuer's keys, shared and kept fresh; a clone is the same ring.
#[derive(Clone)]
pub struct KeyRing {
    shared: Arc<Shared>,
}

struct Shared {
    reader: Reader,
    refetch_gap: Duration,
    ring: ArcSwap<Ring>,
    /// Held by whoever fetches; inside, when an unknown `kid` last made somebody fetch.
    fetching: Arc<Mutex<Option<Instant>>>,
}

/// The source, with what reading it takes.
enum Reader {
    File(PathBuf),
    Url(String, reqwest::Client),
}

impl KeyRing {
    /// Reads the keys for the first time. An unknown `kid` makes the ring fetch again, at most once in `refetch_gap`.
    ///
    /// # Errors
    /// The source cannot be read, or holds no key that we use.
    pub async fn load(source: JwksSource, refetch_gap: Duration) -> Result<Self, KeysUnreadable> {
        let reader = Reader::new(source)?;
        let keys = parse(&reader.read().await?)?;
        if keys.is_empty() {
            return Err(KeysUnreadable::Empty);
        }
        let shared = Arc::new(Shared {
            reader,
            refetch_gap,
            ring: ArcSwap::from_pointee(Ring { generation: 0, keys }),
            fetching: Arc::default(),
        });
        Ok(Self { shared })
    }

    /// Reads the keys again. Where that fails the old ones stay, and a warning says so.
    pub async fn refresh(&self) {
        let fetching = Arc::clone(&self.shared.fetching).lock_owned().await;
        self.swap(fetching).await;
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
        self.shared.ring.load()
    }

    /// The keys of this moment, fetched again where `kid` is not among them and the last such fetch is long enough ago.
    /// Callers that wait at the same time share one fetch.
    pub(super) async fn with_key(&self, kid: &str) -> Arc<Ring> {
        let ring = self.shared.ring.load_full();
        if ring.keys.contains_key(kid) {
            return ring;
        }
        let mut fetching = Arc::clone(&self.shared.fetching).lock_owned().await;
        let ring = self.shared.ring.load_full();
        let too_soon = fetching.is_some_and(|last| last.elapsed() < self.shared.refetch_gap);
        if too_soon || ring.keys.contains_key(kid) {
            return ring;
        }
        *fetching = Some(Instant::now());
        // In a task of its own: a caller that hangs up must not spend the one fetch that the others wait for.
        let this = self.clone();
        if let Err(failure) = tokio::spawn(async move { this.swap(fetching).await }).await {
            warn!(%failure, "fetching the keys for an unknown kid broke off");
        }
        self.shared.ring.load_full()
    }

    /// Reads and swaps. Who calls holds the lock, so that an older answer never takes a newer one's place.
    async fn swap(&self, _fetching: OwnedMutexGuard<Option<Instant>>) {
        let document = self.shared.reader.read().await;
        let keys = match document.and_then(|document| parse(&document)) {
            Ok(keys) => keys,
            Err(failure) => {
                warn!(%failure, "the issuer's keys could not be refreshed; the old ones stay");
                return;
            }
        };
        let old = self.shared.ring.load_full();
        if same(&old.keys, &keys) {
            return;
        }
        // An empty set is the issuer's word too: it took all its keys back.
        info!(keys = keys.len(), "the issuer's keys changed");
        self.shared.ring.store(Arc::new(Ring { generation: old.generation + 1, keys }));
    }
}

fn same(old: &HashMap<String, Key>, new: &HashMap<String, Key>) -> bool {
    let has = |kid, key: &Key| new.get(kid).is_some_and(|other| other.public.as_ref() == key.public.as_ref());
    old.len() == new.len() && old.iter().all(|(kid, key)| has(kid, key))
}

impl Reader {
    fn new(source: JwksSource) -> Result<Self, KeysUnreadable> {
        let url = match source {
            JwksSource::File(path) => return Ok(Self::File(path)),
            JwksSource::Url(url) => url,
        };
        // reqwest panics without a provider, for plain http too. One that is installed already stays.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let http = reqwest::Client::builder()
            .timeout(FETCH_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?;
        Ok(Self::Url(url, http))
    }

    async fn read(&self) -> Result<Vec<u8>, KeysUnreadable> {
        let document = match self {
            Self::Url(url, http) => fetch(http, url).await?,
            Self::File(path) => {
                let unreadable = |failure| KeysUnreadable::File(path.clone(), failure);
                let path = path.clone();
                tokio::task::spawn_blocking(move || read_file(&path))
                    .await
                    .map_err(std::io::Error::other)
                    .flatten()
                    .map_err(unreadable)?
            }
        };
        match document.len() as u64 > LARGEST_JWKS {
            true => Err(KeysUnreadable::TooLarge),
            false => Ok(document),
        }
    }
}

fn read_file(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut document = Vec::new();
    File::open(path)?.take(LARGEST_JWKS + 1).read_to_end(&mut document)?;
    Ok(document)
}

async fn fetch(http: &reqwest::Client, url: &str) -> Result<Vec<u8>, KeysUnreadable> {
    let mut response = http.get(url).send().await?;
    if response.status() != StatusCode::OK {
        return Err(KeysUnreadable::Status(response.status()));
    }
    let mut document = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        document.extend_from_slice(&chunk);
        if document.len() as u64 > LARGEST_JWKS {
            break;
        }
    }
    Ok(document)
}

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// The keys that we use. Others are left out with a line in the log: they are the issuer's business with someone else.
fn parse(document: &[u8]) -> Result<HashMap<String, Key>, KeysUnreadable> {
    let mut keys = HashMap::new();
    for entry in serde_json::from_slice::<Jwks>(document)?.keys {
        let Some(kid) = entry["kid"].as_str().map(str::to_owned) else {
            info!("a key is left out: it has no kid");
            continue;
        };
        let key = serde_json::from_value(entry).map_err(|_| "it is malformed").and_then(|jwk| key(&jwk));
        match (key, keys.entry(kid)) {
            (Ok(key), Entry::Vacant(place)) => {
                place.insert(key);
            }
            (Ok(_), taken) => warn!(kid = taken.key(), "a key is left out: its kid is taken"),
            (Err(reason), place) => info!(kid = place.key(), reason, "a key is left out"),
        }
    }
    Ok(keys)
}

fn key(jwk: &Jwk) -> Result<Key, &'static str> {
    if jwk.usage.as_deref().is_some_and(|usage| usage != "sig") {
        return Err("it is not for signatures");
    }
    if let Some(operations) = &jwk.key_ops
        && !operations.iter().any(|operation| operation == "verify")
    {
        return Err("it is not for verifying");
    }
    let algorithm = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("RSA", None) => Algorithm::Rs256,
        ("EC", Some("P-256")) => Algorithm::Es256,
        ("OKP", Some("Ed25519")) => Algorithm::EdDsa,
        _ => return Err("it is of a type that we do not use"),
    };
    if jwk.alg.as_deref().is_some_and(|alg| alg != algorithm.name()) {
        return Err("it is for an algorithm that we do not use");
    }
    let public = match algorithm {
        Algorithm::Rs256 => rsa(&bytes(&jwk.n)?, &bytes(&jwk.e)?)?,
        Algorithm::Es256 => {
            // The uncompressed point of SEC 1; both coordinates have their full width (RFC 7518, 6.2.1.2).
            let (x, y) = (bytes(&jwk.x)?, bytes(&jwk.y)?);
            if x.len() != 32 || y.len() != 32 {
                return Err("its coordinates are not of 32 bytes");
            }
            ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, [&[4][..], &x, &y].concat())
                .map_err(|_| "it is not a point on P-256")?
        }
        Algorithm::EdDsa => ParsedPublicKey::new(&ED25519, bytes(&jwk.x)?).map_err(|_| "it is not an Ed25519 key")?,
    };
    Ok(Key { algorithm, public })
}

fn rsa(n: &[u8], e: &[u8]) -> Result<ParsedPublicKey, &'static str> {
    let n = &n[n.iter().take_while(|byte| **byte == 0).count()..];
    let bits = n.len() * 8 - n.first().map_or(0, |byte| byte.leading_zeros() as usize);
    if !(2048..=8192).contains(&bits) {
        return Err("it is an RSA key of under 2048 or over 8192 bits");
    }
    RsaPublicKeyComponents { n, e }
        .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
        .map_err(|_| "it is not an RSA key")
}

fn bytes(member: &Option<String>) -> Result<Vec<u8>, &'static str> {
    let text = member.as_deref().ok_or("a part of it is missing")?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| "a part of it is not base64url")
}

impl Algorithm {
    /// As `alg` names it.
    pub(super) fn name(self) -> &'static str {
        self.into()
    }
}

#[cfg(test)]
mod tests;
