use std::time::Duration;

use chrono::TimeDelta;
use serde_json::json;

use super::*;
use crate::auth::{
    Denied, authorize,
    keys::JwksSource,
    methods::rule,
    test_issuer::{ISSUER, NOW, With, claims, file, header, now, with, without},
};

mod refusals;

const CUSTOMER: &str = "0198a7c2-3f7e-7a10-8b7a-1f2e3d4c5b6a";

async fn verifier() -> Verifier {
    let path = file(&ISSUER.jwks());
    let keys = KeyRing::load(JwksSource::File(path.clone()), Duration::from_secs(3600)).await.unwrap();
    std::fs::remove_file(path).unwrap();
    Verifier::new("https://issuer.test".into(), "warranty".into(), keys, 100)
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
        assert_eq!(identity.scopes, Scopes::from_iter([Scope::CoverageRead, Scope::ClaimsApply]));
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

#[tokio::test]
async fn a_method_asks_for_its_scope_and_its_kind_of_caller() {
    let verifier = verifier().await;
    let staff = with(without(claims(), "dealer_id"), "staff_id", "li");
    let depot = claiming(with(staff, "scope", "depot.write claims.apply"));
    let dealer = ISSUER.good();
    for (token, method, expected) in [
        (&dealer, "ClaimService/FileClaim", Ok(())),
        (&dealer, "ClaimService/RecordSwap", Ok(())),
        (&dealer, "ClaimService/GetClaim", Err(Denied::ScopeMissing(Scope::ClaimsRead))),
        (&dealer, "ClaimService/RecordRepair", Err(Denied::CallerKind(Kind::Dealer))),
        (&depot, "ClaimService/RecordRepair", Ok(())),
        (&depot, "ClaimService/FileClaim", Err(Denied::CallerKind(Kind::Staff))),
        (&depot, "ClaimService/RecordGuidance", Err(Denied::ScopeMissing(Scope::ClaimsSupport))),
    ] {
        let identity = verifier.verify(token, now()).await.unwrap();
        let rule = rule(&format!("/aopre.warranty.v1.{method}")).unwrap();
        assert_eq!(authorize(&identity, rule), expected, "{method}");
    }
    let missing = Denied::ScopeMissing(Scope::ClaimsRead).to_string();
    assert_eq!(missing, "the token lacks the scope claims.read");
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

#[tokio::test]
async fn a_verification_that_a_rotation_overtakes_is_not_remembered() {
    let path = file(&ISSUER.jwks());
    let source = JwksSource::File(path.clone());
    let keys = KeyRing::load(source, Duration::ZERO).await.unwrap();
    let verifier = Verifier::new("https://issuer.test".into(), "warranty".into(), keys.clone(), 100);
    let token = ISSUER.good();
    let (ring, identity) = verifier.verify_anew(&token, now()).await.unwrap();
    std::fs::write(&path, json!({"keys": [ISSUER.ec_jwk()]}).to_string()).unwrap();
    keys.refresh().await;
    // The overtaken verification remembers its token only now.
    verifier.remember(Verifier::fingerprint(&token), &ring, &Arc::new(identity));
    let answer = verifier.verify(&token, now()).await;
    assert_eq!(answer.unwrap_err(), TokenRefused::UnknownKey);
    std::fs::remove_file(path).unwrap();
}
