//! The issuer's keys: fetched at a bounded rate, rotated, and taken back.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use chrono::TimeDelta;
use futures::future::join_all;
use serde_json::{Value, json};
use warranty::auth::{
    keys::KeyRing,
    token::{TokenRefused, Verifier},
};

use crate::issuer::{ISSUER, Issuer, With, claims, encode, file, header, now, with};

/// A JWKS address on the loopback that counts how often it is asked.
#[derive(Default)]
struct Published {
    document: Mutex<String>,
    down: AtomicBool,
    fetches: AtomicUsize,
}

impl Published {
    fn publish(&self, jwks: &Value) {
        *self.document.lock().unwrap() = jwks.to_string();
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }
}

async fn serve(jwks: &Value) -> (Arc<Published>, String) {
    let published = Arc::new(Published::default());
    published.publish(jwks);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/jwks", listener.local_addr().unwrap());
    let answer = async |State(published): State<Arc<Published>>| {
        published.fetches.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(20)).await;
        match published.down.load(Ordering::SeqCst) {
            true => Err(StatusCode::BAD_GATEWAY),
            false => Ok(published.document.lock().unwrap().clone()),
        }
    };
    let router = Router::new().route("/jwks", get(answer)).with_state(Arc::clone(&published));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (published, url)
}

fn verifier(keys: &KeyRing) -> Verifier {
    Verifier::new("https://issuer.test".into(), "warranty".into(), keys.clone())
}

fn signed_as(kid: &str) -> String {
    ISSUER.token(&header("EdDSA", kid), &claims(), With::Ed)
}

fn ed_as(kid: &str) -> Value {
    with(ISSUER.ed_jwk(), "kid", kid)
}

#[tokio::test]
async fn an_unknown_kid_fetches_once_for_all_who_wait() {
    let (published, source) = serve(&json!({"keys": [ISSUER.ec_jwk()]})).await;
    let keys = KeyRing::load(source, Duration::from_secs(3600)).await.unwrap();
    let verifier = verifier(&keys);
    published.publish(&json!({"keys": [ISSUER.ec_jwk(), ed_as("new")]}));
    let token = signed_as("new");
    let answers = join_all((0..20).map(|_| verifier.verify(&token, now()))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(published.fetches(), 2, "the first, and one for all twenty");
}

#[tokio::test]
async fn garbage_kids_fetch_at_a_bounded_rate() {
    let (published, source) = serve(&ISSUER.jwks()).await;
    let gap = Duration::from_secs(1);
    let keys = KeyRing::load(source, gap).await.unwrap();
    let verifier = verifier(&keys);
    let garbage = async || {
        let tokens: Vec<String> = (0..50).map(|n| signed_as(&format!("x{n}"))).collect();
        let answers = join_all(tokens.iter().map(|token| verifier.verify(token, now()))).await;
        assert!(answers.iter().all(|answer| *answer == Err(TokenRefused::UnknownKey)));
    };
    garbage().await;
    assert_eq!(published.fetches(), 2);
    tokio::time::sleep(gap).await;
    garbage().await;
    assert_eq!(published.fetches(), 3);
    assert!(verifier.verify(&ISSUER.good(), now()).await.is_ok());
    assert_eq!(published.fetches(), 3, "a known kid fetches nothing");
}

#[tokio::test]
async fn a_caller_that_hangs_up_leaves_the_fetch_to_the_others() {
    let (published, source) = serve(&json!({"keys": [ISSUER.ec_jwk()]})).await;
    let keys = KeyRing::load(source, Duration::from_secs(3600)).await.unwrap();
    published.publish(&ISSUER.jwks());
    let verifier = verifier(&keys);
    let token = ISSUER.good();
    let gone = tokio::time::timeout(Duration::from_millis(5), verifier.verify(&token, now())).await;
    assert!(gone.is_err(), "it hung up while the keys were fetched");
    assert!(verifier.verify(&token, now()).await.is_ok());
    assert_eq!(published.fetches(), 2);
}

#[tokio::test]
async fn a_removed_keys_token_is_refused_though_it_was_remembered() {
    let (published, source) = serve(&json!({"keys": [ed_as("old"), ISSUER.ec_jwk()]})).await;
    let keys = KeyRing::load(source, Duration::from_secs(3600)).await.unwrap();
    let verifier = verifier(&keys);
    let token = signed_as("old");
    assert!(verifier.verify(&token, now()).await.is_ok());
    published.publish(&json!({"keys": [ISSUER.ec_jwk()]}));
    assert!(verifier.verify(&token, now()).await.is_ok(), "not read yet");
    keys.refresh().await;
    let answer = verifier.verify(&token, now()).await;
    assert_eq!(answer.unwrap_err(), TokenRefused::UnknownKey);
}

#[tokio::test]
async fn another_key_under_the_same_kid_takes_over() {
    let (published, source) = serve(&json!({"keys": [ISSUER.ed_jwk()]})).await;
    let keys = KeyRing::load(source, Duration::ZERO).await.unwrap();
    let verifier = verifier(&keys);
    assert!(verifier.verify(&ISSUER.good(), now()).await.is_ok());
    let next = Issuer::new();
    published.publish(&json!({"keys": [next.ed_jwk()]}));
    keys.refresh().await;
    let answer = verifier.verify(&ISSUER.good(), now()).await;
    assert_eq!(answer.unwrap_err(), TokenRefused::Signature);
    assert!(verifier.verify(&next.good(), now()).await.is_ok());
}

#[tokio::test]
async fn the_old_keys_stay_while_new_ones_cannot_be_had() {
    let (published, source) = serve(&ISSUER.jwks()).await;
    let keys = KeyRing::load(source, Duration::ZERO).await.unwrap();
    let verifier = verifier(&keys);
    let known = verifier.verify(&ISSUER.good(), now()).await.unwrap();
    let later = |seconds| now() + TimeDelta::seconds(seconds);
    published.down.store(true, Ordering::SeqCst);
    keys.refresh().await;
    assert!(verifier.verify(&ISSUER.good(), later(1)).await.is_ok());
    published.down.store(false, Ordering::SeqCst);
    for broken in [json!("no set"), json!({"keys": "x".repeat(300_000)})] {
        published.publish(&broken);
        keys.refresh().await;
        assert!(verifier.verify(&ISSUER.good(), later(2)).await.is_ok());
    }
    published.publish(&json!({"keys": [ISSUER.rsa_jwk(), ISSUER.ec_jwk(), ISSUER.ed_jwk()]}));
    keys.refresh().await;
    let remembered = verifier.verify(&ISSUER.good(), later(3)).await.unwrap();
    assert!(Arc::ptr_eq(&remembered, &known), "the same keys forget no token");
    published.publish(&json!({"keys": []}));
    keys.refresh().await;
    let answer = verifier.verify(&ISSUER.good(), later(3)).await;
    assert_eq!(answer.unwrap_err(), TokenRefused::UnknownKey, "all taken back");
}

#[tokio::test]
async fn a_file_is_read_anew_in_the_background() {
    let path = file(&json!({"keys": [ed_as("one")]}));
    let keys = KeyRing::load(path.clone(), Duration::from_secs(3600)).await.unwrap();
    let refresher = tokio::spawn(keys.clone().keep_fresh(Duration::from_millis(20)));
    std::fs::write(&path, json!({"keys": [ed_as("two")]}).to_string()).unwrap();
    let verifier = verifier(&keys);
    let (one, two) = (signed_as("one"), signed_as("two"));
    let swapped = async {
        while verifier.verify(&one, now()).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), swapped).await.unwrap();
    assert!(verifier.verify(&two, now()).await.is_ok());
    refresher.abort();
    std::fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn without_keys_nothing_starts() {
    let load = async |source: String| {
        let answer = KeyRing::load(source, Duration::ZERO).await;
        answer.err().map(|failure| failure.to_string())
    };
    let path = file(&json!({"keys": []}));
    let empty = load(path.clone()).await;
    std::fs::remove_file(path).unwrap();
    assert!(empty.unwrap().starts_with("the JWKS holds no key"));
    let missing = load("/no/such/file".into()).await;
    assert!(missing.unwrap().starts_with("the JWKS file /no/such/file"));
    let nobody = load("http://127.0.0.1:1/".into()).await;
    assert!(nobody.unwrap().starts_with("the JWKS cannot be fetched"));
}

#[tokio::test]
async fn which_keys_are_used() {
    let small_modulus = encode([[0xff; 1].as_slice(), &[1; 254]].concat());
    let (ed, ec, rsa) = (ISSUER.ed_jwk(), ISSUER.ec_jwk(), ISSUER.rsa_jwk());
    let zero = encode([0; 32]);
    for (name, jwk, used) in [
        ("Ed25519", ed.clone(), true),
        ("P-256", ec.clone(), true),
        ("RSA", rsa.clone(), true),
        ("RSA, RS256", with(rsa.clone(), "alg", "RS256"), true),
        ("to verify", with(ec.clone(), "key_ops", json!(["verify"])), true),
        ("to encrypt", with(ec.clone(), "use", "enc"), false),
        ("to sign", with(ec.clone(), "key_ops", json!(["sign"])), false),
        ("RSA, RS512", with(rsa.clone(), "alg", "RS512"), false),
        ("RSA, HS256", with(rsa.clone(), "alg", "HS256"), false),
        ("P-256, ES384", with(ec.clone(), "alg", "ES384"), false),
        ("P-384", with(ec.clone(), "crv", "P-384"), false),
        ("off the curve", with(ec.clone(), "x", zero.clone()), false),
        ("X25519", with(ed.clone(), "crv", "X25519"), false),
        ("short", with(ed.clone(), "x", encode([1; 31])), false),
        ("padded", with(ed.clone(), "x", "AAAA="), false),
        ("RSA of 2040 bits", with(rsa.clone(), "n", small_modulus), false),
        ("RSA without e", with(rsa.clone(), "e", Value::Null), false),
        ("symmetric", json!({"kty": "oct", "kid": "k", "k": zero}), false),
        ("no kid", with(ed.clone(), "kid", Value::Null), false),
        ("no key", json!("ed"), false),
    ] {
        // Beside a good one: what is left out takes no other with it.
        let path = file(&json!({"keys": [jwk.clone(), with(ed.clone(), "kid", "beside")]}));
        let verifier = verifier(&KeyRing::load(path.clone(), Duration::ZERO).await.unwrap());
        std::fs::remove_file(path).unwrap();
        let (alg, kid, key) = match jwk["kty"].as_str() {
            Some("RSA") => ("RS256", "rsa", With::Rsa),
            Some("EC") => ("ES256", "ec", With::Ec),
            _ => ("EdDSA", "ed", With::Ed),
        };
        let token = ISSUER.token(&header(alg, kid), &claims(), key);
        let answer = verifier.verify(&token, now()).await.map(|_| ());
        assert_eq!(answer, if used { Ok(()) } else { Err(TokenRefused::UnknownKey) }, "{name}");
        assert!(verifier.verify(&signed_as("beside"), now()).await.is_ok(), "{name}");
    }
}

#[tokio::test]
async fn the_first_usable_key_has_the_kid() {
    let other = Issuer::new();
    let unusable = with(other.ed_jwk(), "use", "enc");
    let path = file(&json!({"keys": [unusable, ISSUER.ed_jwk(), other.ed_jwk()]}));
    let verifier = verifier(&KeyRing::load(path.clone(), Duration::ZERO).await.unwrap());
    std::fs::remove_file(path).unwrap();
    assert!(verifier.verify(&ISSUER.good(), now()).await.is_ok());
    assert_eq!(verifier.verify(&other.good(), now()).await.unwrap_err(), TokenRefused::Signature);
}
