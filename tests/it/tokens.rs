//! Tokens: what a good one may be, every way to be refused, and which method it opens.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use http::{HeaderMap, header::AUTHORIZATION};
use prost::Message;
use prost_types::FileDescriptorSet;
use serde_json::{Value, json};
use warranty::{
    auth::{
        keys::KeyRing,
        methods::{self, Denied, METHODS, Method, STAFF_ONLY},
        token::{TokenRefused, Verifier, bearer},
    },
    contract::DESCRIPTORS,
    domain::actor::Actor,
};

use crate::issuer::{ISSUER, NOW, With, claims, encode, file, header, now, with, without};

const CUSTOMER: &str = "0198a7c2-3f7e-7a10-8b7a-1f2e3d4c5b6a";

async fn verifier() -> Verifier {
    let path = file(&ISSUER.jwks());
    let keys = KeyRing::load(path.clone(), Duration::from_secs(3600)).await.unwrap();
    std::fs::remove_file(path).unwrap();
    Verifier::new("https://issuer.test".into(), "warranty".into(), keys)
}

fn ed() -> Value {
    header("EdDSA", "ed")
}

fn headed(header: Value) -> String {
    ISSUER.token(&header, &claims(), With::Ed)
}

fn claiming(claims: Value) -> String {
    ISSUER.token(&ed(), &claims, With::Ed)
}

fn member(name: &str, value: impl Into<Value>) -> String {
    claiming(with(claims(), name, value))
}

fn holder(name: &str, value: impl Into<Value>) -> String {
    claiming(with(without(claims(), "dealer_id"), name, value))
}

#[tokio::test]
async fn a_good_token_of_each_algorithm() {
    let verifier = verifier().await;
    for (alg, kid, key) in [("EdDSA", "ed", With::Ed), ("ES256", "ec", With::Ec), ("RS256", "rsa", With::Rsa)] {
        let token = ISSUER.token(&header(alg, kid), &claims(), key);
        let identity = verifier.verify(&token, now()).await.expect(alg);
        assert_eq!(identity.actor, Actor::Dealer("D-100".into()));
        assert_eq!(identity.scopes, ["coverage.read", "claims.apply"]);
        assert_eq!(identity.expires_at.timestamp(), NOW + 600);
        let again = verifier.verify(&token, now()).await.unwrap();
        assert!(Arc::ptr_eq(&identity, &again), "the second is remembered");
    }
}

#[tokio::test]
async fn what_may_differ_in_a_good_token() {
    let verifier = verifier().await;
    let staff_scopes = "people.erase billing.write depot.write claims.support registry.write";
    let staff = with(without(claims(), "dealer_id"), "staff_id", "li.wei_2");
    for (name, token) in [
        ("no typ", headed(without(ed(), "typ"))),
        ("typ at+jwt", headed(with(ed(), "typ", "AT+JWT"))),
        ("typ jwt", headed(with(ed(), "typ", "jwt"))),
        ("many audiences", member("aud", json!(["x", "warranty"]))),
        ("no scope in the scope", member("scope", "")),
        ("another's scopes", member("scope", "openid profile")),
        ("no iat", claiming(without(claims(), "iat"))),
        ("iat within the leeway", member("iat", NOW + 30)),
        ("nbf within the leeway", member("nbf", NOW + 30)),
        ("one second left", member("exp", NOW + 1)),
        ("a customer", holder("customer_id", CUSTOMER)),
        ("staff", claiming(with(staff, "scope", staff_scopes))),
        ("40 characters", member("dealer_id", "d".repeat(40))),
        ("a claim of another's", member("roles", json!([{"a": 1}]))),
        ("colons and quotes", member("x:\"\\", json!([{":": "\":\\"}, ":\\\""]))),
    ] {
        let answer = verifier.verify(&token, now()).await;
        assert!(answer.is_ok(), "{name}: {answer:?}");
    }
}

#[tokio::test]
async fn a_remembered_token_expires() {
    let verifier = verifier().await;
    let token = ISSUER.good();
    for (after, expected) in [(0, true), (599, true), (600, false), (601, false)] {
        let answer = verifier.verify(&token, now() + TimeDelta::seconds(after)).await;
        assert_eq!(answer.is_ok(), expected, "{after} s later");
        assert!(expected || answer == Err(TokenRefused::Expired));
    }
}

fn method(path: &str) -> &'static Method {
    METHODS.iter().find(|method| method.path.ends_with(path)).unwrap()
}

#[tokio::test]
async fn a_method_asks_for_its_scope_and_its_kind_of_caller() {
    let verifier = verifier().await;
    let staff = with(without(claims(), "dealer_id"), "staff_id", "li");
    let depot = claiming(with(staff, "scope", "depot.write claims.apply"));
    let dealer = ISSUER.good();
    for (token, path, expected) in [
        (&dealer, "ClaimService/FileClaim", Ok(())),
        (&dealer, "ClaimService/RecordSwap", Ok(())),
        (&dealer, "ClaimService/GetClaim", Err(Denied::ScopeMissing("claims.read"))),
        (&dealer, "ClaimService/RecordRepair", Err(Denied::CallerKind)),
        (&depot, "ClaimService/RecordRepair", Ok(())),
        (&depot, "ClaimService/FileClaim", Err(Denied::CallerKind)),
        (&depot, "ClaimService/RecordGuidance", Err(Denied::ScopeMissing("claims.support"))),
    ] {
        let identity = verifier.verify(token, now()).await.unwrap();
        assert_eq!(method(path).admit(&identity), expected, "{path}");
    }
}

#[tokio::test]
async fn who_may_not_call_is_refused_whatever_the_scope() {
    let verifier = verifier().await;
    let scope = "coverage.read sales.write claims.read claims.apply logistics.read";
    let mut dealer = (*verifier.verify(&member("scope", scope), now()).await.unwrap()).clone();
    dealer.scopes.extend(STAFF_ONLY.map(str::to_owned));
    let mut customer = dealer.clone();
    customer.actor = Actor::Customer(CUSTOMER.parse().unwrap());
    for method in METHODS.iter().filter(|method| STAFF_ONLY.contains(&method.scope)) {
        assert_eq!(method.admit(&dealer), Err(Denied::CallerKind), "{}", method.path);
    }
    assert_eq!(method("RegisterSale").admit(&dealer), Ok(()));
    assert_eq!(method("RegisterSale").admit(&customer), Err(Denied::CallerKind));
    assert_eq!(method("RecordSwap").admit(&customer), Err(Denied::CallerKind));
    assert_eq!(method("FileClaim").admit(&customer), Ok(()));
}

#[test]
fn every_method_has_one_row_and_every_row_a_method() {
    let services = ["CoverageService", "RegistryService", "ClaimService", "LogisticsService"];
    let names = services.map(|service| format!("aopre.warranty.v1.{service}"));
    let served = methods::of(DESCRIPTORS, &names.each_ref().map(String::as_str)).unwrap();
    assert_eq!(served.len(), METHODS.len(), "a row names no method, or a path stands twice");
    assert_eq!(methods::of(DESCRIPTORS, &["x.Y"]).unwrap_err(), "the contracts know no service x.Y");
}

#[test]
fn a_method_without_a_row_is_named() {
    let mut contracts = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
    let services = contracts.file.iter_mut().flat_map(|file| &mut file.service);
    for method in services.flat_map(|service| &mut service.method).filter(|method| method.name() == "RecordSwap") {
        method.name = Some("RecordLoan".to_owned());
    }
    let refused = methods::of(&contracts.encode_to_vec(), &["aopre.warranty.v1.ClaimService"]).unwrap_err();
    assert_eq!(refused, "/aopre.warranty.v1.ClaimService/RecordLoan has no row in the table of methods");
}

#[test]
fn the_header_that_carries_the_token() {
    for (values, expected) in [
        (&["Bearer a.b.c"][..], Ok("a.b.c")),
        (&["bearer a.b.c"], Ok("a.b.c")),
        (&[], Err(TokenRefused::NoBearer)),
        (&["a.b.c"], Err(TokenRefused::NoBearer)),
        (&["Bearer "], Err(TokenRefused::NoBearer)),
        (&["Basic a.b.c"], Err(TokenRefused::NoBearer)),
        (&["Bearer a", "Bearer a"], Err(TokenRefused::NoBearer)),
    ] {
        let mut metadata = HeaderMap::new();
        for value in values {
            metadata.append(AUTHORIZATION, value.parse().unwrap());
        }
        assert_eq!(bearer(&metadata), expected, "{values:?}");
    }
}

/// Each row is one thing wrong with a token that is good otherwise.
async fn refused(rows: &[(&str, String, TokenRefused)]) {
    let verifier = verifier().await;
    for (name, token, expected) in rows {
        // Twice: nothing refused may be remembered as good.
        for _ in 0..2 {
            let answer = verifier.verify(token, now()).await;
            assert_eq!(answer.unwrap_err(), *expected, "{name}");
        }
    }
    assert!(verifier.verify(&ISSUER.good(), now()).await.is_ok());
}

#[tokio::test]
async fn the_form() {
    let good = ISSUER.good();
    let (start, signature) = good.rsplit_once('.').unwrap();
    let (head, body) = start.split_once('.').unwrap();
    let text = claims().to_string();
    let body_with = |extra: &str| ISSUER.raw(&ed().to_string(), extra, With::Ed);
    let twice = text.replacen('{', r#"{"dealer_id":"D-1","#, 1);
    let nested = text.replacen('{', r#"{"x":{"a":1,"a":2},"#, 1);
    let tricky = text.replacen('{', r#"{"x":{"a\\":"\":","a\\":[]},"#, 1);
    let head_twice = r#"{"alg":"EdDSA","alg":"EdDSA","kid":"ed"}"#;
    let kid_twice = r#"{"alg":"EdDSA","kid":"ed","\u006bid":"ed"}"#;
    let (padded_head, short) = (format!("{head}=.{body}"), format!("{head}.{body}"));
    use TokenRefused::*;
    refused(&[
        ("empty", String::new(), Malformed),
        ("dots", "..".into(), Malformed),
        ("words", "a token".into(), Malformed),
        ("two parts", short, Malformed),
        ("four parts", format!("{good}.x"), Malformed),
        ("an empty fourth part", format!("{good}."), Malformed),
        ("an empty first part", format!(".{good}"), Malformed),
        ("padded header", format!("{padded_head}.{signature}"), Malformed),
        ("padded claims", format!("{start}=.{signature}"), Malformed),
        ("padded signature", format!("{good}=="), Malformed),
        ("bits after the end", format!("{start}.{}B", &signature[..signature.len() - 1]), Malformed),
        ("standard base64", format!("{start}.{}+/", &signature[..signature.len() - 2]), Malformed),
        ("a line break", format!("{good}\n"), Malformed),
        ("a name twice in the header", ISSUER.raw(head_twice, &text, With::Ed), Malformed),
        ("kid twice, once escaped", ISSUER.raw(kid_twice, &text, With::Ed), Malformed),
        ("a name twice in the claims", body_with(&twice), Malformed),
        ("a name twice under a claim", body_with(&nested), Malformed),
        ("a byte order mark", body_with(&format!("\u{feff}{text}")), Malformed),
        ("half a character", body_with(&text.replacen("erp-7", r"\ud800", 1)), Malformed),
        ("colons, quotes and a name twice", body_with(&tricky), Malformed),
        ("nested too deeply", body_with(&r#"{"a":"#.repeat(1000)), Malformed),
        ("text after the claims", body_with(&format!("{text}{{}}")), Malformed),
        ("claims in an array", body_with(&format!("[{text}]")), Malformed),
        ("claims that are not JSON", body_with("exp"), Malformed),
        ("too long", member("x", "y".repeat(9000)), TooLong),
        ("long garbage", "a.".repeat(1 << 20), TooLong),
    ])
    .await;
}

#[tokio::test]
async fn the_signature() {
    let good = ISSUER.good();
    let (start, signature) = good.rsplit_once('.').unwrap();
    let (head, _) = start.split_once('.').unwrap();
    let mut tampered = claims();
    tampered["dealer_id"] = "D-101".into();
    let tampered = format!("{head}.{}.{signature}", encode(tampered.to_string()));
    let flipped = format!("{start}.{}", encode([0; 64]));
    let hmac = |kid: &str, secret: &[u8]| ISSUER.token(&header("HS256", kid), &claims(), With::Hmac(secret));
    let x = ISSUER.ed_jwk()["x"].as_str().unwrap().to_owned();
    let n = ISSUER.rsa_jwk()["n"].as_str().unwrap().to_owned();
    let as_rsa_hmac = ISSUER.token(&header("RS256", "rsa"), &claims(), With::Hmac(ISSUER.rsa_pem().as_bytes()));
    use TokenRefused::*;
    refused(&[
        ("tampered claims", tampered, Signature),
        ("another signature", flipped, Signature),
        ("no signature", format!("{start}."), Signature),
        ("HMAC with the PEM", hmac("rsa", ISSUER.rsa_pem().as_bytes()), Algorithm),
        ("HMAC with the DER", hmac("rsa", &ISSUER.rsa_der()), Algorithm),
        ("HMAC with n", hmac("rsa", n.as_bytes()), Algorithm),
        ("HMAC with x", hmac("ed", x.as_bytes()), Algorithm),
        ("HMAC that says RS256", as_rsa_hmac, Signature),
    ])
    .await;
}

#[tokio::test]
async fn the_header() {
    let none = |alg: &str| ISSUER.token(&header(alg, "ed"), &claims(), With::Nothing);
    use TokenRefused::*;
    refused(&[
        ("alg none", none("none"), Algorithm),
        ("alg NONE", none("NONE"), Algorithm),
        ("alg none, signed", headed(header("none", "ed")), Algorithm),
        ("no alg", headed(without(ed(), "alg")), Algorithm),
        ("alg eddsa", headed(header("eddsa", "ed")), Algorithm),
        ("alg a number", headed(with(ed(), "alg", 1)), Algorithm),
        ("another key's algorithm", headed(header("EdDSA", "rsa")), Algorithm),
        ("the key's algorithm, another key", headed(header("RS256", "rsa")), Signature),
        ("PS256 for an RSA key", headed(header("PS256", "rsa")), Algorithm),
        ("an unknown kid", headed(header("EdDSA", "new")), UnknownKey),
        ("no kid", headed(without(ed(), "kid")), UnknownKey),
        ("kid a number", headed(with(ed(), "kid", 7)), UnknownKey),
        ("a key of its own", headed(with(without(ed(), "kid"), "jwk", ISSUER.ed_jwk())), UnknownKey),
        ("unknown crit", headed(with(ed(), "crit", json!(["x"]))), Extension),
        ("empty crit", headed(with(ed(), "crit", json!([]))), Extension),
        ("b64 false", headed(with(ed(), "b64", false)), Extension),
        ("b64 true", headed(with(ed(), "b64", true)), Extension),
        ("foreign typ", headed(with(ed(), "typ", "logout+jwt")), Type),
        ("typ null", headed(with(ed(), "typ", Value::Null)), Type),
    ])
    .await;
}

#[tokio::test]
async fn the_claims() {
    let past = || json!(["x", 1, "warranty"]);
    use TokenRefused::*;
    refused(&[
        ("no iss", claiming(without(claims(), "iss")), Issuer),
        ("wrong iss", member("iss", "https://issuer.test/"), Issuer),
        ("iss in an array", member("iss", json!(["https://issuer.test"])), Issuer),
        ("no aud", claiming(without(claims(), "aud")), Audience),
        ("wrong aud", member("aud", "warranty2"), Audience),
        ("empty aud", member("aud", ""), Audience),
        ("no audiences", member("aud", json!([])), Audience),
        ("other audiences", member("aud", json!(["a", "b"])), Audience),
        ("a number among the audiences", member("aud", past()), Audience),
        ("no exp", claiming(without(claims(), "exp")), Times),
        ("exp as text", member("exp", (NOW + 600).to_string()), Times),
        ("exp with a fraction", member("exp", (NOW + 600) as f64), Times),
        ("exp null", member("exp", Value::Null), Times),
        ("exp beyond all calendars", member("exp", i64::MAX), Times),
        ("exp beyond i64", member("exp", u64::MAX), Times),
        ("exp past", member("exp", NOW - 1), Expired),
        ("exp now", member("exp", NOW), Expired),
        ("exp long past", member("exp", -1), Expired),
        ("nbf to come", member("nbf", NOW + 31), NotYetValid),
        ("iat to come", member("iat", NOW + 31), NotYetValid),
        ("nbf as text", member("nbf", NOW.to_string()), Times),
        ("iat with a fraction", member("iat", NOW as f64), Times),
        ("nbf null", member("nbf", Value::Null), Times),
        ("no sub", claiming(without(claims(), "sub")), Subject),
        ("empty sub", member("sub", ""), Subject),
        ("sub a number", member("sub", 7), Subject),
        ("no scope", claiming(without(claims(), "scope")), Scope),
        ("scope in an array", member("scope", json!(["coverage.read"])), Scope),
    ])
    .await;
}

#[tokio::test]
async fn the_identity() {
    let two = with(claims(), "staff_id", "li");
    let all = with(two.clone(), "customer_id", CUSTOMER);
    let customer = with(without(claims(), "dealer_id"), "customer_id", CUSTOMER);
    let support = with(customer, "scope", "claims.read claims.support");
    use TokenRefused::*;
    refused(&[
        ("none", claiming(without(claims(), "dealer_id")), Identity),
        ("two", claiming(two), Identity),
        ("all three", claiming(all), Identity),
        ("two, one null", member("staff_id", Value::Null), Identity),
        ("null", holder("dealer_id", Value::Null), Identity),
        ("empty", holder("dealer_id", ""), Identity),
        ("a slash", holder("dealer_id", "D/1"), Identity),
        ("a quote", holder("dealer_id", "D'1"), Identity),
        ("a line break", holder("dealer_id", "D1\n"), Identity),
        ("NUL", holder("dealer_id", "D\u{0}1"), Identity),
        ("full width", holder("dealer_id", "Ｄ１"), Identity),
        ("41 characters", holder("dealer_id", "d".repeat(41)), Identity),
        ("a number", holder("dealer_id", 100), Identity),
        ("staff with a space", holder("staff_id", "li wei"), Identity),
        ("no UUID", holder("customer_id", "C-1"), Identity),
        ("a UUID without hyphens", holder("customer_id", CUSTOMER.replace('-', "")), Identity),
        ("a UUID in braces", holder("customer_id", format!("{{{CUSTOMER}}}")), Identity),
        ("a dealer who erases", member("scope", "claims.read people.erase"), ForeignScope),
        ("a dealer in the depot", member("scope", "depot.write"), ForeignScope),
        ("a customer in support", claiming(support), ForeignScope),
    ])
    .await;
}
