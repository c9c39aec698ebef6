//! Scans and photos: in chunks up, resumable, complete or not there at all; a stream down; who may see what.

use std::time::Duration;

use futures::future::join_all;
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, PgConnection};
use tonic::{Code, Status};
use uuid::Uuid;
use warranty::{
    contract::v1::*,
    domain::actor::Actor,
    store::{evidence::sweep, objects::Objects},
};

use crate::{
    audit::faults,
    claims::Life,
    world::{Caller, World, id, metadata, refusal, violations},
};

const MIB: usize = 1 << 20;

/// A photo of so many bytes, each of a kind of its own by `seed`.
pub fn photo(size: usize, seed: u8) -> Vec<u8> {
    let mut photo = vec![0xFF, 0xD8, 0xFF, 0xE0];
    photo.extend((4..size).map(|at| (at % 251) as u8 ^ seed));
    photo
}

/// One that is sent in chunks.
#[derive(Clone)]
pub struct Sent {
    claim_id: String,
    evidence_id: String,
    content: Vec<u8>,
}

impl Sent {
    pub fn new(claim: &Claim, content: Vec<u8>) -> Self {
        Self { claim_id: claim.claim_id.clone(), evidence_id: id(), content }
    }

    pub fn chunk(&self, from: usize, to: usize) -> AddEvidenceRequest {
        AddEvidenceRequest {
            request_id: id(),
            claim_id: self.claim_id.clone(),
            evidence_id: self.evidence_id.clone(),
            kind: EvidenceKind::Photo.into(),
            offset_bytes: from as i64,
            data: self.content[from..to].to_vec(),
            ..Default::default()
        }
    }

    fn last(&self, from: usize) -> AddEvidenceRequest {
        AddEvidenceRequest {
            size_bytes: self.content.len() as i64,
            sha256: Sha256::digest(&self.content).to_vec(),
            ..self.chunk(from, self.content.len())
        }
    }

    /// Sends all of it.
    pub async fn whole(&self, caller: &mut Caller) -> Result<Evidence, Status> {
        let mut from = 0;
        while self.content.len() - from > MIB {
            let told = caller.claims.add_evidence(self.chunk(from, from + MIB)).await?.into_inner();
            from += MIB;
            assert_eq!((told.next_offset_bytes, told.evidence), (from as i64, None));
        }
        let told = caller.claims.add_evidence(self.last(from)).await?.into_inner();
        assert_eq!(told.next_offset_bytes, self.content.len() as i64);
        Ok(told.evidence.unwrap())
    }

    /// Reads it back.
    async fn read(&self, caller: &mut Caller) -> Result<(Evidence, Vec<u8>), Status> {
        let request = GetEvidenceRequest { claim_id: self.claim_id.clone(), evidence_id: self.evidence_id.clone() };
        let mut answer = caller.claims.get_evidence(request).await?.into_inner();
        let first = answer.message().await?.unwrap();
        let mut content = first.data;
        while let Some(piece) = answer.message().await? {
            assert!(piece.evidence.is_none() && (1..=64 << 10).contains(&piece.data.len()));
            content.extend(piece.data);
        }
        Ok((first.evidence.unwrap(), content))
    }
}

async fn listed(mut caller: Caller, claim: &Claim) -> GetClaimResponse {
    let request = GetClaimRequest { claim_id: claim.claim_id.clone(), ..Default::default() };
    caller.claims.get_claim(request).await.unwrap().into_inner()
}

async fn count(connection: &mut PgConnection, table: &str) -> i64 {
    let rows = AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
    sqlx::query_scalar(rows).fetch_one(connection).await.unwrap()
}

/// How many objects are kept.
fn kept(world: &World) -> usize {
    std::fs::read_dir(&world.folder).map_or(0, Iterator::count)
}

fn refused(status: &Status) -> (Code, String, String) {
    let (code, reason) = refusal(status);
    (code, reason, metadata(status, "rule"))
}

fn evidence_refused(rule: &str) -> (Code, String, String) {
    (Code::FailedPrecondition, "EVIDENCE_REFUSED".into(), rule.into())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_went_up_in_chunks_comes_down_whole() {
    let world = World::stocked().await;
    let mut dealer = world.dealer("D1");
    let claim = world.filed("UNIT1", 20).await;
    let sent = Sent::new(&claim, photo(2 * MIB + 4321, 7));
    let evidence = sent.whole(&mut dealer).await.unwrap();
    let expected = Evidence {
        evidence_id: sent.evidence_id.clone(),
        kind: EvidenceKind::Photo.into(),
        media_type: "image/jpeg".into(),
        size_bytes: sent.content.len() as i64,
        sha256: Sha256::digest(&sent.content).to_vec(),
        added_time: claim.filed_time,
        seen_on_claims: vec![],
        erased_time: None,
    };
    assert_eq!(evidence, expected);
    assert_eq!(sent.read(&mut dealer).await.unwrap(), (expected.clone(), sent.content.clone()));
    let told = listed(world.dealer("D1"), &claim).await;
    assert_eq!((told.evidence, told.claim.unwrap().version), (vec![expected.clone()], 2));
    let events = ListClaimEventsRequest { claim_id: claim.claim_id.clone(), ..Default::default() };
    let events = dealer.claims.list_claim_events(events).await.unwrap().into_inner().events;
    assert_eq!(events[1].r#type(), ClaimEventType::EvidenceAdded);
    assert!(events[1].facts_json.contains(&sent.evidence_id), "{}", events[1].facts_json);
    let mut owner = world.owner().await;
    assert_eq!(
        (count(&mut owner, "evidence_uploads").await, count(&mut owner, "evidence_chunks").await, kept(&world)),
        (0, 0, 1)
    );

    // Sent again, it is kept once.
    let again = dealer.claims.add_evidence(sent.last(2 * MIB)).await.unwrap().into_inner();
    assert_eq!(again.evidence, Some(expected));
    assert_eq!((count(&mut owner, "evidence").await, kept(&world)), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_upload_goes_on_from_where_it_stood() {
    let world = World::stocked().await;
    let mut dealer = world.dealer("D1");
    let claim = world.filed("UNIT1", 20).await;
    let sent = Sent::new(&claim, photo(3000, 1));
    let ask = async |request: AddEvidenceRequest| {
        world.dealer("D1").claims.add_evidence(request).await.map(|told| told.into_inner().next_offset_bytes)
    };
    let nothing = || AddEvidenceRequest { request_id: id(), ..sent.chunk(0, 0) };
    assert_eq!(ask(nothing()).await.unwrap(), 0);
    assert_eq!(ask(sent.chunk(0, 1000)).await.unwrap(), 1000);
    assert_eq!(ask(nothing()).await.unwrap(), 1000);
    assert_eq!(ask(sent.chunk(0, 1000)).await.unwrap(), 1000, "a chunk sent again is kept once");
    for (from, to) in [(1001, 2000), (500, 1500), (0, 900)] {
        let gap = ask(sent.chunk(from, to)).await.unwrap_err();
        let rule = "must be 1000: so far came what lies before".to_owned();
        assert_eq!(violations(&gap), [("offset_bytes".to_owned(), rule)], "{from} to {to}");
    }
    let other = AddEvidenceRequest { kind: EvidenceKind::Invoice.into(), ..sent.chunk(1000, 2000) };
    assert_eq!(violations(&ask(other).await.unwrap_err())[0].0, "kind");
    assert_eq!(ask(sent.chunk(1000, 2000)).await.unwrap(), 2000);
    let complete = dealer.claims.add_evidence(sent.last(2000)).await.unwrap().into_inner();
    assert_eq!((complete.next_offset_bytes, complete.evidence.is_some()), (3000, true));
    assert_eq!(ask(nothing()).await.unwrap(), 3000);
    assert_eq!(sent.read(&mut dealer).await.unwrap().1, sent.content);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_what_it_says_is_refused_and_nothing_is_kept() {
    let world = World::stocked().await;
    let mut dealer = world.dealer("D1");
    let claim = world.filed("UNIT1", 20).await;
    let html = Sent::new(&claim, b"<html><script>alert(1)</script></html>".to_vec());
    let type_rule = "its content is none of JPEG, PNG, WebP and PDF";
    assert_eq!(refused(&html.whole(&mut dealer).await.unwrap_err()), evidence_refused(type_rule));
    let short = Sent::new(&claim, b"GIF8".to_vec());
    assert_eq!(refused(&short.whole(&mut dealer).await.unwrap_err()), evidence_refused(type_rule));
    let sent = Sent::new(&claim, photo(500, 2));
    let size = AddEvidenceRequest { size_bytes: 501, ..sent.last(0) };
    let sha256 = AddEvidenceRequest { sha256: vec![1; 32], ..sent.last(0) };
    let large = AddEvidenceRequest { size_bytes: 10 * MIB as i64 + 1, ..sent.last(0) };
    for (request, rule) in [
        (size, "its size is not that of the chunks that came"),
        (sha256, "its SHA-256 is not that of the chunks that came"),
        (large, "it has more than 10 MiB"),
    ] {
        assert_eq!(refused(&dealer.claims.add_evidence(request).await.unwrap_err()), evidence_refused(rule));
    }
    let bad = AddEvidenceRequest { offset_bytes: -1, data: vec![0; MIB + 1], size_bytes: -1, ..Default::default() };
    let bad = dealer.claims.add_evidence(bad).await.unwrap_err();
    let paths: Vec<String> = violations(&bad).into_iter().map(|(path, _)| path).collect();
    assert_eq!(
        paths,
        ["request_id", "claim_id", "evidence_id", "kind", "offset_bytes", "data", "size_bytes", "sha256"]
    );
    let mut owner = world.owner().await;
    for table in ["evidence", "evidence_uploads", "evidence_chunks"] {
        assert_eq!(count(&mut owner, table).await, 0, "{table}");
    }
    assert_eq!(kept(&world), 0);
    assert_eq!(listed(world.dealer("D1"), &claim).await.claim.unwrap().version, 1);
    // Ten MiB are taken, and not a byte more.
    let largest = Sent::new(&claim, photo(10 * MIB, 3));
    largest.whole(&mut dealer).await.unwrap();
    let more = Sent::new(&claim, photo(10 * MIB + 1, 3));
    let refusal = more.whole(&mut dealer).await.unwrap_err();
    assert_eq!(refused(&refusal), evidence_refused("it has more than 10 MiB"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_depot_adds_what_it_sees_of_a_unit_that_came_in() {
    let world = World::stocked().await;
    let life = Life(&world);
    let mut depot = world.caller_with(Actor::Staff("S1".into()), "depot.write claims.read");
    let rule = "the depot adds what it sees of a unit that came in";
    for (at, state) in [ClaimState::Filed, ClaimState::InTransit, ClaimState::Lost].into_iter().enumerate() {
        let claim = life.in_state(&format!("EARLY{at}"), 60, state).await;
        let refused_with = Sent::new(&claim, photo(500, 1)).whole(&mut depot).await.unwrap_err();
        assert_eq!(refused(&refused_with), evidence_refused(rule), "{state:?}");
    }
    let claim = life.in_state("DAMAGED1", 60, ClaimState::InTransit).await;
    let item = |item: &mut ReceivedItem| item.transport_damage = true;
    life.receive(&claim, &claim.inbound_shipment_id, item).await.unwrap();
    let sent = Sent::new(&claim, photo(MIB + 500, 2));
    let evidence = sent.whole(&mut depot).await.unwrap();
    assert_eq!(
        depot.claims.add_evidence(sent.last(MIB)).await.unwrap().into_inner().evidence.as_ref(),
        Some(&evidence)
    );
    // The applicant sees it, and may add as before; the event says who did.
    assert_eq!(sent.read(&mut world.dealer("D1")).await.unwrap(), (evidence.clone(), sent.content.clone()));
    Sent::new(&claim, photo(500, 3)).whole(&mut world.dealer("D1")).await.unwrap();
    let request = ListClaimEventsRequest { claim_id: claim.claim_id.clone(), ..Default::default() };
    let events = world.dealer("D1").claims.list_claim_events(request).await.unwrap().into_inner().events;
    let by: Vec<&str> = events.iter().rev().take(2).map(|event| event.actor.as_str()).collect();
    assert_eq!(by, ["dealer/D1", "staff/S1"]);
    life.inspect(&claim.claim_id, &[Clause::X6]).await.unwrap();
    Sent::new(&claim, photo(500, 4)).whole(&mut depot).await.unwrap();
    let out = life.in_state("AWAY1", 60, ClaimState::Dispatched).await;
    let ended = Sent::new(&out, photo(500, 5)).whole(&mut depot).await.unwrap_err();
    assert_eq!(refusal(&ended).1, "CLAIM_ENDED");
    // Support is not the depot.
    let mut support = world.caller_with(Actor::Staff("S2".into()), "claims.support claims.read");
    let denied = Sent::new(&claim, photo(500, 6)).whole(&mut support).await.unwrap_err();
    assert_eq!(refusal(&denied), (Code::PermissionDenied, "SCOPE_MISSING".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn scans_and_photos_go_with_their_customer_and_that_they_were_there_stays() {
    let world = World::stocked().await;
    let mut dealer = world.dealer("D1");
    let (claim, other) = (world.filed("UNIT1", 20).await, world.filed("UNIT2", 20).await);
    let (gone, stays) = (Sent::new(&claim, photo(MIB + 9, 1)), Sent::new(&other, photo(500, 2)));
    let shown = gone.whole(&mut dealer).await.unwrap();
    stays.whole(&mut dealer).await.unwrap();
    let under_way = Sent::new(&claim, photo(900, 3));
    dealer.claims.add_evidence(under_way.chunk(0, 400)).await.unwrap();
    let request = EraseCustomerRequest { request_id: id(), customer_id: claim.customer_id.clone() };
    let erased = world.staff().registry.erase_customer(request).await.unwrap().into_inner();

    // At once for who asks, within a minute on the disk.
    for mut caller in [world.dealer("D1"), world.staff()] {
        assert_eq!(refusal(&gone.read(&mut caller).await.unwrap_err()).0, Code::NotFound);
    }
    let fact = Evidence { erased_time: erased.erased_time, ..shown };
    assert_eq!(listed(world.dealer("D1"), &claim).await.evidence, std::slice::from_ref(&fact));
    assert_eq!(kept(&world), 2);
    assert_eq!(
        sweep(&world.worker(), &Actor::Worker("clock".into()), &world.evidence, world.clock.now()).await.unwrap(),
        2
    );
    assert_eq!(kept(&world), 1);
    let mut owner = world.owner().await;
    assert_eq!((count(&mut owner, "evidence_uploads").await, count(&mut owner, "evidence_chunks").await), (0, 0));
    assert_eq!(stays.read(&mut dealer).await.unwrap().1, stays.content);
    // Sent again it is answered as before, and is not there again.
    assert_eq!(dealer.claims.add_evidence(gone.last(MIB)).await.unwrap().into_inner().evidence, Some(fact));
    assert_eq!(kept(&world), 1);
    assert_eq!(faults(&world).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_type_is_known_by_its_content() {
    let world = World::stocked().await;
    let mut dealer = world.dealer("D1");
    let claim = world.filed("UNIT1", 20).await;
    for (begins, media_type) in [
        (&b"\xFF\xD8\xFF\xE1"[..], "image/jpeg"),
        (b"\x89PNG\r\n\x1A\n", "image/png"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "image/webp"),
        (b"%PDF-1.7\n", "application/pdf"),
    ] {
        let evidence = Sent::new(&claim, [begins, &[0; 100]].concat()).whole(&mut dealer).await.unwrap();
        assert_eq!(evidence.media_type, media_type);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_complete_one_at_once_complete_it_once() {
    let world = World::stocked().await;
    let claim = world.filed("UNIT1", 20).await;
    for round in 0..5 {
        let sent = Sent::new(&claim, photo(MIB + 10, round));
        world.dealer("D1").claims.add_evidence(sent.chunk(0, MIB)).await.unwrap();
        let complete = async || {
            let mut dealer = world.dealer("D1");
            dealer.claims.add_evidence(sent.last(MIB)).await.unwrap().into_inner()
        };
        let told = join_all((0..8).map(|_| complete())).await;
        assert!(told[0].evidence.is_some() && told.iter().all(|one| *one == told[0]), "{told:?}");
    }
    let mut owner = world.owner().await;
    assert_eq!((count(&mut owner, "evidence").await, kept(&world)), (5, 5));
    assert_eq!(listed(world.dealer("D1"), &claim).await.claim.unwrap().version, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_has_twenty_whoever_races() {
    let world = World::stocked().await;
    let claim = world.filed("UNIT1", 20).await;
    let sent = (0..30).map(|at| Sent::new(&claim, photo(100 + at, 5)));
    let sent: Vec<Sent> = sent.collect();
    let answers = join_all(sent.iter().map(async |sent| sent.whole(&mut world.dealer("D1")).await)).await;
    let (taken, over): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!((taken.len(), over.len()), (20, 10));
    for status in over {
        assert_eq!(refused(&status.unwrap_err()), evidence_refused("a claim has 20 at most"));
    }
    assert_eq!((listed(world.dealer("D1"), &claim).await.evidence.len(), kept(&world)), (20, 20));

    // Of what is begun beside, as many: the last of those that complete at once is one too many.
    let claim = world.filed("UNIT2", 20).await;
    let mut dealer = world.dealer("D1");
    for at in 0..19 {
        Sent::new(&claim, photo(200 + at, 5)).whole(&mut dealer).await.unwrap();
    }
    let begun: Vec<Sent> = (0..20).map(|at| Sent::new(&claim, photo(300 + at, 5))).collect();
    for sent in &begun {
        dealer.claims.add_evidence(sent.chunk(0, 50)).await.unwrap();
    }
    let one_more = Sent::new(&claim, photo(100, 5)).chunk(0, 50);
    let one_more = dealer.claims.add_evidence(one_more).await.unwrap_err();
    assert_eq!(refused(&one_more), evidence_refused("a claim has 20 at most"));
    let complete = begun.iter().map(async |sent| world.dealer("D1").claims.add_evidence(sent.last(50)).await);
    let answers = join_all(complete).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    for status in answers.into_iter().filter_map(Result::err) {
        assert_eq!(refused(&status), evidence_refused("a claim has 20 at most"));
    }
    assert_eq!((listed(world.dealer("D1"), &claim).await.evidence.len(), kept(&world)), (20, 40));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_sees_the_claim_sees_it_and_only_its_applicant_adds() {
    let world = World::stocked().await;
    let claim = world.filed("UNIT1", 20).await;
    let sent = Sent::new(&claim, photo(500, 2));
    sent.whole(&mut world.dealer("D1")).await.unwrap();
    let buyer = world.customer(claim.customer_id.parse().unwrap());
    for mut sees in [world.dealer("D1"), buyer, world.staff()] {
        assert_eq!(sent.read(&mut sees).await.unwrap().1, sent.content);
    }
    let absent = Sent { evidence_id: id(), ..sent.clone() };
    let unseen = Sent { claim_id: id(), ..sent.clone() };
    for (mut caller, asked) in [
        (world.dealer("D2"), &sent),
        (world.customer(Uuid::from_u128(9)), &sent),
        (world.dealer("D1"), &absent),
        (world.dealer("D1"), &unseen),
    ] {
        let hidden = asked.read(&mut caller).await.unwrap_err();
        assert_eq!(refusal(&hidden), (Code::NotFound, "NOT_FOUND".into()));
    }
    let more = Sent::new(&claim, photo(600, 2));
    let hidden = more.whole(&mut world.dealer("D2")).await.unwrap_err();
    assert_eq!(refusal(&hidden), (Code::NotFound, "NOT_FOUND".into()));
    let mut buyer = world.customer(claim.customer_id.parse().unwrap());
    let theirs = more.whole(&mut buyer).await.unwrap_err();
    assert_eq!(refusal(&theirs), (Code::PermissionDenied, "NOT_THE_APPLICANT".into()));

    // Another's id on a claim of one's own is an id like any other.
    world.unit("UNIT2").await;
    let vouchers = Some(Vouchers { invoice_number: "F9".into(), ..Default::default() });
    let file = FileClaimRequest { customer: Some(crate::world::contact()), vouchers, ..crate::world::filing("UNIT2") };
    let mut other = world.dealer("D2");
    let own = other.claims.file_claim(file).await.unwrap().into_inner().claim.unwrap();
    let taken = Sent { claim_id: own.claim_id.clone(), content: photo(700, 4), ..sent.clone() };
    taken.whole(&mut other).await.unwrap();
    assert_eq!(taken.read(&mut other).await.unwrap().1, taken.content);
    assert_eq!(sent.read(&mut world.dealer("D1")).await.unwrap().1, sent.content);

    // The same beneath, in the database.
    for (caller, seen) in [("dealer/D1", 1), ("dealer/D2", 1), ("staff/S1", 2), ("customer/9", 0), ("", 0)] {
        let mut connection = world.owner().await;
        let set = AssertSqlSafe(format!("SET ROLE warranty_claim; SET warranty.caller = '{caller}'"));
        sqlx::raw_sql(set).execute(&mut connection).await.unwrap();
        assert_eq!(count(&mut connection, "evidence").await, seen, "{caller}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_picture_on_another_claim_is_flagged_for_staff() {
    let world = World::stocked().await;
    let (first, second) = (world.filed("UNIT1", 20).await, world.filed("UNIT2", 20).await);
    for claim in [&first, &second] {
        Sent::new(claim, photo(500, 2)).whole(&mut world.dealer("D1")).await.unwrap();
    }
    let seen = |told: GetClaimResponse| told.evidence[0].seen_on_claims.clone();
    assert_eq!(seen(listed(world.staff(), &first).await), [second.claim_id.as_str()]);
    assert_eq!(seen(listed(world.staff(), &second).await), [first.claim_id.as_str()]);
    assert_eq!(seen(listed(world.dealer("D1"), &second).await), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_added_to_a_claim_that_is_over() {
    let world = World::stocked().await;
    let life = Life(&world);
    let ended = (Code::FailedPrecondition, "CLAIM_ENDED".to_owned());
    for (serial, state) in [
        ("UNIT1", ClaimState::Cancelled),
        ("UNIT2", ClaimState::Resolved),
        ("UNIT3", ClaimState::Dispatched),
        ("UNIT4", ClaimState::Closed),
    ] {
        let claim = life.in_state(serial, 60, state).await;
        let late = Sent::new(&claim, photo(500, 2)).whole(&mut world.dealer("D1")).await.unwrap_err();
        assert_eq!(refusal(&late), ended, "{state:?}");
    }
    let claim = life.in_state("UNIT5", 60, ClaimState::Received).await;
    Sent::new(&claim, photo(500, 2)).whole(&mut world.dealer("D1")).await.unwrap();
}

/// A pool under the worker's role.
async fn worker(world: &World) -> sqlx::PgPool {
    let options: sqlx::postgres::PgConnectOptions = world.url.parse().unwrap();
    let options = options.options([("role", "warranty_worker")]);
    sqlx::postgres::PgPoolOptions::new().max_connections(2).connect_with(options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_begun_a_day_ago_and_left_is_dropped_with_its_object() {
    let world = World::stocked().await;
    let mut dealer = world.dealer("D1");
    let claim = world.filed("UNIT1", 20).await;
    let complete = Sent::new(&claim, photo(500, 1));
    complete.whole(&mut dealer).await.unwrap();
    let left = Sent::new(&claim, photo(500, 2));
    dealer.claims.add_evidence(left.chunk(0, 300)).await.unwrap();
    // A completion that was broken off after its object was put, before it was committed.
    let mut owner = world.owner().await;
    let object = sqlx::query_scalar("SELECT object_id FROM evidence_uploads").fetch_one(&mut owner).await.unwrap();
    world.evidence.put(object, left.content.clone().into()).await.unwrap();
    assert_eq!(kept(&world), 2);

    let (pool, actor) = (worker(&world).await, Actor::Staff("worker".into()));
    let hours = |hours| world.clock.now() + chrono::Duration::hours(hours);
    let swept = async |hours_later| sweep(&pool, &actor, &world.evidence, hours(hours_later)).await.unwrap();
    assert_eq!((swept(23).await, kept(&world)), (0, 2), "a day is not over");
    // One that is being completed is left alone.
    let mut holds = world.owner().await;
    sqlx::raw_sql("BEGIN; SELECT 1 FROM evidence_uploads FOR UPDATE").execute(&mut holds).await.unwrap();
    assert_eq!((swept(25).await, kept(&world)), (0, 2));
    sqlx::raw_sql("ROLLBACK").execute(&mut holds).await.unwrap();
    assert_eq!((swept(25).await, kept(&world)), (1, 1));
    assert_eq!((count(&mut owner, "evidence_uploads").await, count(&mut owner, "evidence_chunks").await), (0, 0));
    assert_eq!(swept(25).await, 0);

    assert_eq!(complete.read(&mut dealer).await.unwrap().1, complete.content);
    // It may begin again.
    left.whole(&mut dealer).await.unwrap();
    assert_eq!(left.read(&mut dealer).await.unwrap().1, left.content);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_whose_commit_failed_is_swept_also_where_it_came_in_one_chunk() {
    let world = World::stocked().await;
    let mut dealer = world.dealer("D1");
    let claim = world.filed("UNIT1", 20).await;
    let fails =
        "CREATE FUNCTION fails() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'at COMMIT'; END $$;
                 CREATE CONSTRAINT TRIGGER fails AFTER INSERT ON evidence DEFERRABLE INITIALLY DEFERRED
                     FOR EACH ROW EXECUTE FUNCTION fails()";
    let mut owner = world.owner().await;
    sqlx::raw_sql(fails).execute(&mut owner).await.unwrap();
    let sent = Sent::new(&claim, photo(500, 2));
    assert_eq!(sent.whole(&mut dealer).await.unwrap_err().code(), Code::Internal);
    assert_eq!((count(&mut owner, "evidence").await, kept(&world)), (0, 1), "the object was put before");
    sqlx::raw_sql("DROP TRIGGER fails ON evidence").execute(&mut owner).await.unwrap();

    let (pool, actor) = (worker(&world).await, Actor::Staff("worker".into()));
    let later = world.clock.now() + chrono::Duration::hours(25);
    assert_eq!((sweep(&pool, &actor, &world.evidence, later).await.unwrap(), kept(&world)), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_objects_cannot_be_kept_the_same_request_succeeds_later() {
    let world = World::stocked().await;
    let mut dealer = world.dealer("D1");
    let claim = world.filed("UNIT1", 20).await;
    let sent = Sent::new(&claim, photo(500, 2));
    // A file in the folder's place.
    std::fs::write(&world.folder, "").unwrap();
    let request = sent.last(0);
    let away = dealer.claims.add_evidence(request.clone()).await.unwrap_err();
    assert_eq!(refusal(&away), (Code::Unavailable, "DATABASE_AWAY".into()));
    assert_eq!(listed(world.dealer("D1"), &claim).await.evidence, []);
    std::fs::remove_file(&world.folder).unwrap();
    dealer.claims.add_evidence(request).await.unwrap();
    assert_eq!(sent.read(&mut dealer).await.unwrap().1, sent.content);
    // An object that is gone is our fault, and said so.
    std::fs::remove_dir_all(&world.folder).unwrap();
    assert_eq!(sent.read(&mut dealer).await.unwrap_err().code(), Code::Internal);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_s3_as_in_a_folder() {
    let bucket = s3::start().await;
    let settings = [
        ("AWS_ENDPOINT", bucket.as_str()),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_REGION", "cn-north-1"),
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let objects = Objects::open("s3://evidence/of/claims", settings).unwrap();
    let (object, content) = (Uuid::new_v4(), photo(100_000, 1));
    objects.put(object, content.clone().into()).await.unwrap();
    let pieces: Vec<bytes::Bytes> = {
        use futures::TryStreamExt;
        objects.get(object, content.len() as u64).await.unwrap().try_collect().await.unwrap()
    };
    assert_eq!(pieces.concat(), content);
    objects.delete(object).await.unwrap();
    objects.delete(object).await.unwrap();
    assert!(objects.get(object, content.len() as u64).await.is_err());
}

/// As much of S3 as is used: objects put, read and deleted, kept in memory.
mod s3 {
    use std::{
        collections::HashMap,
        sync::{Arc, Mutex},
    };

    use axum::{
        Router,
        body::Bytes,
        extract::State,
        http::{Method, StatusCode, Uri, header},
        response::{IntoResponse, Response},
    };

    type Bucket = Arc<Mutex<HashMap<String, Bytes>>>;

    async fn answer(State(bucket): State<Bucket>, method: Method, uri: Uri, body: Bytes) -> Response {
        let (mut bucket, path) = (bucket.lock().unwrap(), uri.path().to_owned());
        assert!(path.starts_with("/evidence"), "{path}");
        match (method, bucket.get(&path)) {
            (Method::PUT, _) => {
                bucket.insert(path, body);
                [(header::ETAG, "\"1\"")].into_response()
            }
            (Method::GET, Some(found)) => {
                let headers = [(header::ETAG, "\"1\""), (header::LAST_MODIFIED, "Mon, 15 Jun 2026 04:00:00 GMT")];
                (headers, found.clone()).into_response()
            }
            // DeleteObjects, of one.
            (Method::POST, _) => {
                let asked = String::from_utf8(body.to_vec()).unwrap();
                let key = asked.split("<Key>").nth(1).unwrap().split("</Key>").next().unwrap();
                bucket.remove(&format!("/evidence/{key}"));
                format!("<DeleteResult><Deleted><Key>{key}</Key></Deleted></DeleteResult>").into_response()
            }
            _ => StatusCode::NOT_FOUND.into_response(),
        }
    }

    pub async fn start() -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(Bucket::default());
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_takes_nothing_holds_nothing_up() {
    let world = World::stocked().await;
    let mut dealer = world.dealer("D1");
    let claim = world.filed("UNIT1", 20).await;
    let sent = Sent::new(&claim, photo(9 * MIB, 1));
    sent.whole(&mut dealer).await.unwrap();
    let request = GetEvidenceRequest { claim_id: sent.claim_id.clone(), evidence_id: sent.evidence_id.clone() };
    let stalled = dealer.claims.get_evidence(request).await.unwrap();
    // No connection of the pool, of which there are eight, waits for it.
    let reads = (0..20).map(async |_| sent.read(&mut world.dealer("D1")).await.unwrap().1.len());
    let reads = tokio::time::timeout(Duration::from_secs(60), join_all(reads)).await.unwrap();
    assert_eq!(reads, vec![9 * MIB; 20]);
    drop(stalled);
}
