//! `warranty walk`: a claim of each way through the running services, every answer checked against the clauses.

use std::sync::Arc;

use warranty::client::{Addresses, TokenSource, WalkArgs, Who, walk_with};

use crate::world::{AUDIENCE, ISSUER, World};

#[tokio::test(flavor = "multi_thread")]
async fn every_way_comes_out_as_the_clauses_say() {
    let world = World::start().await;
    let (issuer, clock) = (Arc::clone(&world.issuer), world.clock.clone());
    let tokens = TokenSource::Given(Arc::new(move |who: &Who| {
        let hour = chrono::Duration::hours(1);
        issuer.mint(&who.actor().unwrap(), who.kind.scopes(), hour, ISSUER, AUDIENCE, clock.now()).unwrap()
    }));
    let [coverage, claim, logistics] =
        [world.coverage, world.claim, world.logistics].map(|address| format!("http://{address}"));
    let args =
        WalkArgs { addresses: Addresses { coverage, claim, logistics, issuer_url: "http://127.0.0.1:1".into() } };
    // Twice: what the first walk registered does not stand in the way of the second.
    for _ in 0..2 {
        assert!(walk_with(&args, tokens.clone(), &world.clock).await.unwrap(), "see WRONG above");
    }
}
