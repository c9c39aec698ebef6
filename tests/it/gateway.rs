//! What the gateway rests on, without an Envoy: the paths of the JSON side, the document of them, and who may call how often.

use std::{collections::BTreeSet, sync::Arc};

use prost_reflect::DescriptorPool;
use warranty::{
    auth::methods::METHODS,
    clock::Clock,
    contract::{
        DESCRIPTORS,
        envoy::{RateLimitDescriptor, RateLimitRequest, rate_limit_descriptor::Entry, rate_limit_response::Code},
    },
    openapi,
    ratelimit::Limiter,
    store::{self, Role},
};

use crate::world::fresh_database;

#[test]
fn every_unary_call_has_one_path_of_its_own() {
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
    let methods = pool.services().flat_map(|service| service.methods().collect::<Vec<_>>());
    let unary: BTreeSet<String> = methods
        .filter(|method| !method.is_client_streaming() && !method.is_server_streaming())
        .map(|method| method.name().to_owned())
        .collect();
    let document = openapi::document();
    let operations: Vec<_> =
        document["paths"].as_object().unwrap().values().flat_map(|at| at.as_object().unwrap()).collect();
    let named: BTreeSet<String> =
        operations.iter().map(|(_, operation)| operation["operationId"].as_str().unwrap().to_owned()).collect();
    assert_eq!(named, unary, "an RPC without `google.api.http`");
    assert_eq!(operations.len(), unary.len(), "two RPCs share a path");
    // What changes something is never had by a GET: those are tried again, by Envoy and by whoever stands between.
    for (verb, operation) in operations {
        let name = operation["operationId"].as_str().unwrap();
        let reads =
            ["Get", "List", "Check", "BatchCheck", "Preview", "Export"].iter().any(|word| name.starts_with(word));
        assert!(reads || verb == "post", "{name} is had by {verb}");
        assert!(METHODS.iter().any(|method| method.path.ends_with(&format!("/{name}"))), "{name}");
    }
}

#[test]
fn the_document_is_whole() {
    let document = openapi::document();
    let text = document.to_string();
    for reference in text.split("#/components/schemas/").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(document["components"]["schemas"][reference].is_object(), "{reference} is not there");
    }
    let claim = &document["paths"]["/v1/claims/{claim_id}:cancel"]["post"];
    assert_eq!(claim["parameters"][0]["name"], "claim_id");
    let body = &claim["requestBody"]["content"]["application/json"]["schema"]["properties"];
    let fields: Vec<_> = body.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["reason", "requestId", "version"], "what the path says the body need not");
    assert_eq!(body["version"]["description"], "The version read; 0 for whatever is current.");
    let refused = &claim["responses"]["default"]["content"]["application/json"]["schema"]["$ref"];
    assert_eq!(refused, "#/components/schemas/google.rpc.Status");
    let queries = document["paths"]["/v1/claims"]["get"]["parameters"].as_array().unwrap();
    let queries: Vec<_> = queries.iter().map(|query| query["name"].as_str().unwrap()).collect();
    let date = ["year", "month", "day"].map(|part| format!("filed_until_date.{part}"));
    assert!(queries.contains(&"page_size") && date.iter().all(|part| queries.contains(&part.as_str())), "{queries:?}");
    assert_eq!(document["security"][0]["bearer"], serde_json::json!([]));
}

/// A call of `caller` as Envoy asks about it.
fn call(caller: &str, method: &str) -> RateLimitRequest {
    let entry = |key: &str, value: &str| Entry { key: key.to_owned(), value: value.to_owned() };
    let alone = RateLimitDescriptor { entries: vec![entry("dealer", caller)] };
    let path = format!("/aopre.warranty.v1.ClaimService/{method}");
    let of_method = RateLimitDescriptor { entries: vec![entry("dealer", caller), entry("method", &path)] };
    RateLimitRequest { domain: "warranty".to_owned(), descriptors: vec![alone, of_method], hits_addend: 0 }
}

fn limiter(clock: &Clock) -> Limiter {
    let limits = [("*", "10/hour"), ("FileClaim", "3/minute")];
    Limiter::new(limits.map(|(method, limit)| (method.to_owned(), limit.parse().unwrap())), clock.clone())
}

fn passes(limiter: &Limiter, caller: &str, method: &str) -> bool {
    limiter.judge(&call(caller, method)).overall_code() == Code::Ok
}

#[test]
fn each_caller_has_its_own_limits_and_what_is_refused_does_not_count() {
    let clock = Clock::fixed("2026-06-15T04:00:30Z".parse().unwrap());
    let limiter = limiter(&clock);
    // A query makes no other method of it.
    let methods = ["FileClaim", "FileClaim?x", "FileClaim?/CheckCoverage", "FileClaim", "FileClaim?"];
    let filed: Vec<bool> = methods.iter().map(|method| passes(&limiter, "D1001", method)).collect();
    assert_eq!(filed, [true, true, true, false, false]);
    // The two refused were not counted: seven of ten are left.
    let listed: Vec<bool> = (0..8).map(|_| passes(&limiter, "D1001", "ListClaims")).collect();
    assert_eq!(listed, [true, true, true, true, true, true, true, false]);
    assert!(passes(&limiter, "D1002", "FileClaim"));
    let answer = limiter.judge(&call("D1001", "ListClaims"));
    let (all, of_method) = (&answer.statuses[0], &answer.statuses[1]);
    assert_eq!((all.code(), all.limit_remaining), (Code::OverLimit, 0));
    assert_eq!(all.duration_until_reset.as_ref().unwrap().seconds, 59 * 60 + 30);
    assert_eq!((of_method.code(), of_method.current_limit.is_none()), (Code::Ok, true), "a method without a limit");
    assert_eq!(String::from_utf8(answer.raw_body).unwrap(), "dealer/D1001 has made its 10 calls of this hour");
    let headers: Vec<_> = answer.response_headers_to_add.iter().map(|header| header.key.as_str()).collect();
    assert_eq!(headers, ["grpc-status-details-bin", "retry-after"]);
    clock.set("2026-06-15T05:00:00Z".parse().unwrap());
    assert!(passes(&limiter, "D1001", "FileClaim"), "the next hour");
}

#[tokio::test]
async fn processes_count_together_and_alone_while_the_database_is_away() {
    let url = fresh_database().await;
    let clock = Clock::fixed("2026-06-15T04:00:30Z".parse().unwrap());
    let pool = store::pool(&url, 1, Role::Ratelimit).unwrap();
    let (one, two) = (limiter(&clock), limiter(&clock));
    for _ in 0..6 {
        assert!(passes(&one, "D1001", "ListClaims"));
    }
    one.tell(&pool).await.unwrap();
    // The other learns of the six with its own first.
    assert!(passes(&two, "D1001", "ListClaims"));
    two.tell(&pool).await.unwrap();
    let rest: Vec<bool> = (0..4).map(|_| passes(&two, "D1001", "ListClaims")).collect();
    assert_eq!(rest, [true, true, true, false]);
    two.tell(&pool).await.unwrap();
    // What the first does not know yet is what it lets through too much: until it tells again.
    assert!(passes(&one, "D1001", "ListClaims"));
    one.tell(&pool).await.unwrap();
    assert!(!passes(&one, "D1001", "ListClaims"));

    let nowhere = store::pool("postgres://nobody@127.0.0.1:1/none", 1, Role::Ratelimit).unwrap();
    assert!(passes(&one, "D1002", "ListClaims"));
    assert!(one.tell(&nowhere).await.is_err());
    assert!(passes(&one, "D1002", "ListClaims"), "no call is refused for it");
    one.tell(&pool).await.unwrap();
    two.tell(&pool).await.unwrap();
    let (made,): (i64,) =
        sqlx::query_as("SELECT calls FROM rate_counters WHERE caller = 'dealer/D1002' AND method = '*'")
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!(made, 2, "told later");
}

#[tokio::test]
async fn two_who_tell_at_once_lose_nothing() {
    let url = fresh_database().await;
    let clock = Clock::fixed("2026-06-15T04:00:30Z".parse().unwrap());
    let limit = || [("*".to_owned(), "1000000/day".parse().unwrap())];
    let tellers = (0..4).map(|_| {
        let limiter = Arc::new(Limiter::new(limit(), clock.clone()));
        let pool = store::pool(&url, 1, Role::Ratelimit).unwrap();
        tokio::spawn(async move {
            for round in 0..20 {
                for caller in 0..5 {
                    assert!(passes(&limiter, &format!("D{}", (round + caller) % 7), "ListClaims"));
                }
                limiter.tell(&pool).await.unwrap();
            }
        })
    });
    for teller in tellers.collect::<Vec<_>>() {
        teller.await.unwrap();
    }
    let pool = store::pool(&url, 1, Role::Ratelimit).unwrap();
    let (made,): (i64,) =
        sqlx::query_as("SELECT sum(calls)::bigint FROM rate_counters").fetch_one(&pool).await.unwrap();
    assert_eq!(made, 4 * 20 * 5);
}
