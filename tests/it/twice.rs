//! What is sent twice happens once, and what was acknowledged is there: under kill -9, a lost answer, a storm of cancelled
//! calls, a deadline in the middle of a statement, a deadlock. Each test shows that its fault really hit.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use hyper_util::{client::legacy, rt::TokioExecutor};
use prost::Message;
use rand::Rng;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    sync::Semaphore,
    task::JoinSet,
    time::timeout,
};
use tonic::{Code, Request, service::interceptor::InterceptedService};
use tonic_types::StatusExt;
use uuid::Uuid;
use warranty::{
    clock::Clock,
    contract::v1::{
        claim_service_client::ClaimServiceClient, coverage_service_client::CoverageServiceClient,
        registry_service_client::RegistryServiceClient, *,
    },
    domain::actor::Actor,
};

use crate::world::{AUDIENCE, Authed, ISSUER, World, channel, contact, date, filing, id, refusal};

/// Nothing here takes as long; what does is broken.
const PATIENCE: Duration = Duration::from_secs(30);

// ---- one request, one effect

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_gets_the_first_reply_also_after_the_claim_moved_on() {
    let world = World::stocked().await;
    let (mut dealer, mut staff) = (world.dealer("D1"), world.staff());
    world.unit("UNIT1").await;
    let sell = RegisterSaleRequest {
        request_id: id(),
        serial: "UNIT1".into(),
        sold_date: Some(world.today(-20)),
        invoice_number: "F1".into(),
        customer: Some(contact()),
        ..Default::default()
    };
    let sold = dealer.registry.register_sale(sell.clone()).await.unwrap().into_inner();
    let file = filing("UNIT1");
    let filed = dealer.claims.file_claim(file.clone()).await.unwrap().into_inner();
    let claim_id = filed.claim.as_ref().unwrap().claim_id.clone();
    let outcome = GuidanceOutcome::Confirmed.into();
    let guide = RecordGuidanceRequest { request_id: id(), claim_id: claim_id.clone(), outcome, ..Default::default() };
    let guided = staff.claims.record_guidance(guide.clone()).await.unwrap().into_inner();
    let (request_id, claim_ids, carrier) = (id(), vec![claim_id.clone()], "SF".into());
    let send = OpenReturnRequest { request_id, claim_ids, carrier, ..Default::default() };
    dealer.logistics.open_return(send).await.unwrap();

    let again = dealer.registry.register_sale(sell).await.unwrap().into_inner();
    assert_eq!(again.encode_to_vec(), sold.encode_to_vec());
    let again = dealer.claims.file_claim(file).await.unwrap().into_inner();
    assert_eq!(again.encode_to_vec(), filed.encode_to_vec());
    let again = staff.claims.record_guidance(guide).await.unwrap().into_inner();
    assert_eq!(again.encode_to_vec(), guided.encode_to_vec());
    let now = dealer
        .claims
        .get_claim(GetClaimRequest { claim_id, ..Default::default() })
        .await
        .unwrap()
        .into_inner()
        .claim
        .unwrap();
    assert_eq!((now.state(), now.version), (ClaimState::InTransit, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_is_for_one_request_of_one_caller() {
    let world = World::stocked().await;
    let mut dealer = world.dealer("D1");
    world.sold("UNIT1", 20).await;
    world.sold("UNIT2", 20).await;
    let file = filing("UNIT1");
    let request_id = file.request_id.clone();
    let claim = dealer.claims.file_claim(file.clone()).await.unwrap().into_inner().claim.unwrap();

    let content = FileClaimRequest { serial: "UNIT2".into(), ..file.clone() };
    let (claim_id, reason) = (claim.claim_id, String::new());
    let method = CancelClaimRequest { request_id: request_id.clone(), claim_id, version: 0, reason };
    let process = RegisterSaleRequest {
        request_id,
        serial: "UNIT1".into(),
        sold_date: Some(world.today(0)),
        version: 1,
        ..Default::default()
    };
    for refused in [
        dealer.claims.file_claim(content.clone()).await.unwrap_err(),
        dealer.claims.cancel_claim(method).await.unwrap_err(),
        dealer.registry.register_sale(process).await.unwrap_err(),
    ] {
        assert_eq!(refusal(&refused), (Code::AlreadyExists, "REQUEST_ID_REUSED".into()));
    }

    let vouchers = Some(Vouchers { invoice_number: "F-UNIT2".into(), ..Default::default() });
    let others = FileClaimRequest { customer: Some(contact()), vouchers, ..content };
    let filed = world.dealer("D2").claims.file_claim(others).await.unwrap().into_inner().claim.unwrap();
    assert_eq!(filed.serial, "UNIT2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_request_may_be_sent_again_once_its_cause_is_gone() {
    let world = World::stocked().await;
    let (mut dealer, mut staff) = (world.dealer("D1"), world.staff());
    world.sold("UNIT1", 20).await;
    let file = filing("UNIT1");
    for (status, expected) in [
        (DealerStatus::Suspended, Err((Code::PermissionDenied, "DEALER_NOT_ACTIVE".to_owned()))),
        (DealerStatus::Active, Ok(ClaimState::Filed)),
    ] {
        let status = status.into();
        let request = SetDealerStatusRequest { request_id: id(), dealer_id: "D1".into(), status, version: 0 };
        staff.registry.set_dealer_status(request).await.unwrap();
        let answer = dealer.claims.file_claim(file.clone()).await;
        let state = answer.map(|reply| reply.into_inner().claim.unwrap().state());
        assert_eq!(state.map_err(|status| refusal(&status)), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_at_once_with_one_request_id_are_one_claim_and_fifty_equal_replies() {
    let world = World::stocked().await;
    world.sold("UNIT1", 20).await;
    let (file, claims) = (filing("UNIT1"), world.dealer("D1").claims);
    let mut calls = JoinSet::new();
    for _ in 0..50 {
        let (file, mut claims) = (file.clone(), claims.clone());
        calls.spawn(async move { claims.file_claim(file).await.unwrap().into_inner().encode_to_vec() });
    }
    let replies: BTreeSet<Vec<u8>> = calls.join_all().await.into_iter().collect();
    assert_eq!(replies.len(), 1);
    assert_eq!(count(&mut world.owner().await, "claims").await, 1);
}

// ---- a process, and a line to the database that can fail

/// The world as the real binary sees it, whose clock is the system's; D1 may file for UNIT1 with any voucher.
pub(crate) async fn real_time() -> World {
    let world = World::stocked().await;
    world.set(&Clock::system().now().to_rfc3339());
    old_unit(&world, "UNIT1").await;
    world
}

pub async fn old_unit(world: &World, serial: &str) {
    let made = |unit: &mut Unit| {
        (unit.manufactured_date, unit.ex_factory_date) = (Some(date("2020-01-10")), Some(date("2020-01-20")));
    };
    world.unit_like(serial, made).await;
}

pub fn with_voucher(serial: &str) -> FileClaimRequest {
    let vouchers = Some(Vouchers { invoice_number: "F1".into(), ..Default::default() });
    FileClaimRequest { customer: Some(contact()), vouchers, ..filing(serial) }
}

/// The binary, serving.
pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
}

impl Process {
    pub(crate) async fn start(world: &World, serves: &str, database_url: &str, more: &[&str]) -> Self {
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        Self::start_at(address, world, serves, database_url, more).await
    }

    pub(crate) async fn start_at(
        address: SocketAddr,
        world: &World,
        serves: &str,
        database_url: &str,
        more: &[&str],
    ) -> Self {
        let keys = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("jwks-{}.json", Uuid::new_v4()));
        std::fs::write(&keys, world.issuer.jwks().to_string()).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_warranty"))
            .args([serves, "--listen", &address.to_string(), "--jwks", keys.to_str().unwrap()])
            .args(["--issuer", ISSUER, "--audience", AUDIENCE, "--log", "warn"])
            .args(more)
            .env("DATABASE_URL", database_url)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        until("the process listens", async || {
            assert_eq!(child.try_wait().unwrap(), None, "it ended");
            TcpStream::connect(address).await.is_ok()
        })
        .await;
        Self { child, address }
    }

    pub fn claims(&self, world: &World) -> ClaimServiceClient<Authed> {
        let bearer = world.bearer(&Actor::Dealer("D1".into()), "claims.apply");
        ClaimServiceClient::with_interceptor(channel(self.address), bearer)
    }
}

/// Asks until it is so.
pub(crate) async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !so().await {
        assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn count(connection: &mut PgConnection, rows: &str) -> i64 {
    let count = sqlx::query_scalar(AssertSqlSafe(format!("SELECT count(*) FROM {rows}")));
    count.fetch_one(connection).await.unwrap()
}

/// How the line fails at the next COMMIT, which reaches PostgreSQL and is carried out.
#[derive(Clone, Copy)]
enum Fault {
    /// The answer is held back.
    Hold,
    /// The connection is cut in place of the answer.
    Cut,
}

/// A line to PostgreSQL.
pub struct Line {
    pub url: String,
    /// How often the client spoke: its round trips.
    pub trips: Arc<AtomicUsize>,
    next: Arc<Mutex<Option<Fault>>>,
    hits: Arc<Semaphore>,
}

impl Line {
    pub async fn to(url: &str) -> Self {
        let (before, host) = url.rsplit_once('@').unwrap();
        let (server, database) = host.split_once('/').unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("{before}@{}/{database}", listener.local_addr().unwrap());
        let (next, hits) = (Arc::new(Mutex::new(None)), Arc::new(Semaphore::new(0)));
        let trips = Arc::new(AtomicUsize::new(0));
        let (server, fault, hit, count) = (server.to_owned(), Arc::clone(&next), Arc::clone(&hits), Arc::clone(&trips));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.unwrap();
                tokio::spawn(carry(client, server, Arc::clone(&fault), Arc::clone(&hit), Arc::clone(&count)));
            }
        });
        Self { url, trips, next, hits }
    }

    fn fail(&self, fault: Fault) {
        *self.next.lock().unwrap() = Some(fault);
    }

    /// Until the fault has hit: PostgreSQL has answered a COMMIT and nobody was told.
    async fn hit(&self) {
        timeout(PATIENCE, self.hits.acquire()).await.expect("no COMMIT came").unwrap().forget();
    }
}

async fn carry(
    mut client: TcpStream,
    mut server: TcpStream,
    next: Arc<Mutex<Option<Fault>>>,
    hits: Arc<Semaphore>,
    trips: Arc<AtomicUsize>,
) {
    let (mut up, mut down) = (vec![0; 65536], vec![0; 65536]);
    let commit = |bytes: &[u8]| bytes.windows(7).any(|word| word == b"COMMIT\0");
    // What works beside the calls: the worker, the poller, the hints.
    let names = [&b"warranty-worker"[..], b"warranty-watch", b"warranty-hint"];
    let aside = |bytes: &[u8]| names.iter().any(|name| bytes.windows(name.len()).any(|word| word == *name));
    let (mut fault, mut answered, mut is_aside) = (None, true, false);
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let Ok(1..) = read else { return };
                let sent = &up[..read.unwrap()];
                // The pool's own Sync, when a connection comes back to it, is nobody's wait.
                is_aside |= aside(sent);
                let speaks = !is_aside && std::mem::take(&mut answered) && sent != b"S\0\0\0\x04";
                trips.fetch_add(usize::from(speaks), Ordering::Relaxed);
                if !is_aside && commit(sent) {
                    fault = next.lock().unwrap().take();
                }
                let Ok(()) = server.write_all(sent).await else { return };
            }
            read = server.read(&mut down) => {
                let Ok(1..) = read else { return };
                let answer = &down[..read.unwrap()];
                answered = true;
                match fault {
                    Some(Fault::Hold) if commit(answer) => hits.add_permits(1),
                    Some(Fault::Cut) if commit(answer) => return hits.add_permits(1),
                    _ => {
                        let Ok(()) = client.write_all(answer).await else { return };
                    }
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_killed_between_commit_and_answer_has_filed_the_claim_once() {
    let world = real_time().await;
    let mut owner = world.owner().await;
    let line = Line::to(&world.url).await;
    let mut process = Process::start(&world, "claim", &line.url, &[]).await;
    let (file, mut claims) = (with_voucher("UNIT1"), process.claims(&world));
    line.fail(Fault::Hold);
    let call = tokio::spawn({
        let file = file.clone();
        async move { claims.file_claim(file).await }
    });
    line.hit().await;
    let (committed,): (Uuid,) = sqlx::query_as("SELECT claim_id FROM claims").fetch_one(&mut owner).await.unwrap();
    assert!(!call.is_finished(), "nobody was told");
    process.child.kill().await.unwrap();
    call.await.unwrap().unwrap_err();

    let process = Process::start(&world, "claim", &line.url, &[]).await;
    let reply = process.claims(&world).file_claim(file).await.unwrap().into_inner();
    assert_eq!(reply.claim.unwrap().claim_id, committed.to_string());
    assert_eq!(count(&mut owner, "claims").await, 1);
    assert_eq!(count(&mut owner, "claim_events").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_meets_others_again_and_again_is_told_so_and_may_send_it_again() {
    let world = World::stocked().await;
    world.sold("MEET1", 3).await;
    let mut owner = world.owner().await;
    let meet = "CREATE SEQUENCE met; GRANT USAGE ON SEQUENCE met TO PUBLIC;
                CREATE FUNCTION meet() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                    PERFORM nextval('met'); RAISE 'another was first' USING ERRCODE = '40001'; END $$;
                CREATE TRIGGER meet BEFORE INSERT ON claim_events FOR EACH ROW EXECUTE FUNCTION meet()";
    sqlx::raw_sql(meet).execute(&mut owner).await.unwrap();
    let (mut claims, file) = (world.dealer("D1").claims, filing("MEET1"));
    let refused = claims.file_claim(file.clone()).await.unwrap_err();
    assert_eq!(refusal(&refused), (Code::Unavailable, "CONTENDED".into()));
    let (tries,): (i64,) = sqlx::query_as("SELECT last_value FROM met").fetch_one(&mut owner).await.unwrap();
    assert_eq!((tries, count(&mut owner, "claims").await), (3, 0));
    sqlx::raw_sql("DROP TRIGGER meet ON claim_events").execute(&mut owner).await.unwrap();
    claims.file_claim(file).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_to_a_commit_is_told_as_unknown_and_the_retry_tells() {
    let world = real_time().await;
    let line = Line::to(&world.url).await;
    let process = Process::start(&world, "claim", &line.url, &[]).await;
    let (file, mut claims) = (with_voucher("UNIT1"), process.claims(&world));
    line.fail(Fault::Cut);
    let unknown = claims.file_claim(file.clone()).await.unwrap_err();
    line.hit().await;
    assert_eq!(refusal(&unknown), (Code::Unavailable, "DATABASE_AWAY".into()));
    assert!(unknown.get_error_details().retry_info().is_some(), "a retry helps");

    let reply = claims.file_claim(file).await.unwrap().into_inner();
    let committed: Vec<Uuid> =
        sqlx::query_scalar("SELECT claim_id FROM claims").fetch_all(&mut world.owner().await).await.unwrap();
    assert_eq!(committed.iter().map(Uuid::to_string).collect::<Vec<_>>(), [reply.claim.unwrap().claim_id]);
}

// ---- callers that go away

/// How a call of the storm ended.
enum Ended {
    Acknowledged(String),
    Dropped,
    /// The three connections were wanted by too many: refused, and told so.
    Refused,
}

/// Some calls one after the other: a third is waited for, the others are dropped after 0 to 5 ms. Every eighth files a claim.
async fn gusts(
    worker: usize,
    mut registry: RegistryServiceClient<Authed>,
    mut claims: ClaimServiceClient<Authed>,
) -> Vec<Ended> {
    let mut ended = Vec::new();
    for at in 0..250 {
        let serial = format!("STORM{worker:02}X{at:03}");
        let wait = match at % 3 {
            0 => PATIENCE,
            _ => Duration::from_micros(rand::rng().random_range(0..5000)),
        };
        let done = if at % 8 == 0 {
            timeout(wait, claims.file_claim(with_voucher(&serial))).await.map(|answer| answer.map(drop))
        } else {
            let unit = Unit {
                serial: serial.clone(),
                model: "PS-1".into(),
                manufactured_date: Some(date("2020-01-10")),
                ex_factory_date: Some(date("2020-01-20")),
                ..Default::default()
            };
            let request = RegisterUnitsRequest { request_id: id(), units: vec![unit] };
            timeout(wait, registry.register_units(request)).await.map(|answer| answer.map(drop))
        };
        ended.push(match done {
            Ok(Ok(())) => Ended::Acknowledged(serial),
            Ok(Err(refused)) => {
                assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
                Ended::Refused
            }
            Err(_) => Ended::Dropped,
        });
    }
    ended
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_cancelled_calls_loses_nothing_that_was_acknowledged() {
    let world = real_time().await;
    let workers = 8;
    for at in (0..250).step_by(8) {
        for worker in 0..workers {
            old_unit(&world, &format!("STORM{worker:02}X{at:03}")).await;
        }
    }
    let mut owner = world.owner().await;
    let before = count(&mut owner, "request_log WHERE method ~ 'RegisterUnits|FileClaim'").await;
    let process = Process::start(&world, "all", &world.url, &["--pool-size", "3"]).await;
    let staff = world.bearer(&Actor::Staff("S1".into()), "registry.write");
    let mut storm = JoinSet::new();
    for worker in 0..workers {
        let registry = RegistryServiceClient::with_interceptor(channel(process.address), staff.clone());
        storm.spawn(gusts(worker, registry, process.claims(&world)));
    }
    let (mut acknowledged, mut dropped) = (BTreeSet::new(), 0);
    for ended in storm.join_all().await.into_iter().flatten() {
        match ended {
            Ended::Acknowledged(serial) => drop(acknowledged.insert(serial)),
            Ended::Dropped => dropped += 1,
            Ended::Refused => {}
        }
    }
    assert!(acknowledged.len() > 500 && dropped > 500, "{} acknowledged, {dropped} dropped", acknowledged.len());

    let busy = "pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'warranty-%' AND state <> 'idle'";
    until("no connection is in a transaction", async || count(&mut owner, busy).await == 0).await;
    let written: Vec<String> = sqlx::query_scalar(
        "SELECT serial FROM units WHERE serial LIKE 'STORM%' AND right(serial, 3)::int % 8 <> 0 UNION ALL SELECT serial FROM claims",
    )
    .fetch_all(&mut owner)
    .await
    .unwrap();
    let there: BTreeSet<String> = written.iter().cloned().collect();
    assert_eq!(acknowledged.difference(&there).collect::<Vec<_>>(), [""; 0], "acknowledged and lost");
    assert!(there.len() > acknowledged.len(), "no caller went away while its write was under way");
    assert_eq!(there.len(), written.len(), "a unit has one claim");
    // A write and its reply are one transaction.
    let logged = count(&mut owner, "request_log WHERE method ~ 'RegisterUnits|FileClaim'").await;
    assert_eq!(logged - before, i64::try_from(there.len()).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_the_statement_that_waits() {
    let world = World::stocked().await;
    world.filed("UNIT2", 20).await;
    world.sold("UNIT1", 20).await;
    let (mut holder, mut owner) = (world.owner().await, world.owner().await);
    let mut held = holder.begin().await.unwrap();
    sqlx::query("SELECT 1 FROM units WHERE serial = 'UNIT1' FOR UPDATE").execute(&mut *held).await.unwrap();

    // Not tonic's channel, which would itself end the call at the deadline: here only the server does.
    let bearer = world.bearer(&Actor::Dealer("D1".into()), "claims.apply");
    let client = legacy::Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let origin = format!("http://{}", world.claim).parse().unwrap();
    let mut claims = ClaimServiceClient::with_origin(InterceptedService::new(client, bearer), origin);
    let file = filing("UNIT1");
    let mut request = Request::new(file.clone());
    request.metadata_mut().insert("grpc-timeout", "3S".parse().unwrap());
    let begun = Instant::now();
    let call = tokio::spawn(async move { claims.file_claim(request).await });
    let waits = "pg_stat_activity WHERE datname = current_database() AND application_name = 'warranty-claim'
                 AND wait_event_type = 'Lock'";
    until("the statement waits", async || count(&mut owner, waits).await == 1).await;
    let refused = call.await.unwrap().unwrap_err();
    assert_eq!(refusal(&refused), (Code::DeadlineExceeded, "DEADLINE".into()));
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    until("the statement is gone", async || count(&mut owner, waits).await == 0).await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(count(&mut owner, "claims WHERE serial = 'UNIT1'").await, 0);

    held.rollback().await.unwrap();
    world.dealer("D1").claims.file_claim(file).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_a_question_that_waits() {
    let world = World::stocked().await;
    world.sold("UNIT1", 20).await;
    let (mut holder, mut owner) = (world.owner().await, world.owner().await);
    let mut held = holder.begin().await.unwrap();
    sqlx::query("LOCK TABLE units IN ACCESS EXCLUSIVE MODE").execute(&mut *held).await.unwrap();
    let bearer = world.bearer(&Actor::Dealer("D1".into()), "coverage.read");
    let client = legacy::Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let origin = format!("http://{}", world.coverage).parse().unwrap();
    let mut coverage = CoverageServiceClient::with_origin(InterceptedService::new(client, bearer), origin);
    let mut request = Request::new(CheckCoverageRequest { serial: "UNIT1".into(), ..Default::default() });
    request.metadata_mut().insert("grpc-timeout", "3S".parse().unwrap());
    let call = tokio::spawn(async move { coverage.check_coverage(request).await });
    let waits = "pg_stat_activity WHERE datname = current_database() AND application_name = 'warranty-coverage'
                 AND wait_event_type = 'Lock'";
    until("the statement waits", async || count(&mut owner, waits).await == 1).await;
    let refused = call.await.unwrap().unwrap_err();
    assert_eq!(refusal(&refused), (Code::DeadlineExceeded, "DEADLINE".into()));
    until("the statement is gone", async || count(&mut owner, waits).await == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_in_flight_outlives_sigterm_and_the_process_ends_in_order() {
    let world = real_time().await;
    let (mut holder, mut owner) = (world.owner().await, world.owner().await);
    let mut process = Process::start(&world, "claim", &world.url, &[]).await;
    let mut held = holder.begin().await.unwrap();
    sqlx::query("SELECT 1 FROM units WHERE serial = 'UNIT1' FOR UPDATE").execute(&mut *held).await.unwrap();
    let (file, mut claims) = (with_voucher("UNIT1"), process.claims(&world));
    let call = tokio::spawn(async move { claims.file_claim(file).await });
    let waits = "pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    until("the statement waits", async || count(&mut owner, waits).await == 1).await;

    let pid = process.child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
    until("it accepts no more", async || TcpStream::connect(process.address).await.is_err()).await;
    assert!(!call.is_finished());
    held.rollback().await.unwrap();
    let claim = call.await.unwrap().unwrap().into_inner().claim.unwrap();
    assert_eq!(claim.state(), ClaimState::Filed);
    assert_eq!(timeout(PATIENCE, process.child.wait()).await.unwrap().unwrap().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadlock_is_tried_again() {
    let world = World::stocked().await;
    // The swap looks for a deadlock after 3 seconds of waiting: time for the other to get into one with it.
    let patient =
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET deadlock_timeout = %L', current_database(), '3s'); END $$";
    sqlx::raw_sql(patient).execute(&mut world.owner().await).await.unwrap();
    let claim = world.filed("UNITA", 5).await;
    world.unit("UNITZ").await;
    let outcome = GuidanceOutcome::Confirmed.into();
    let guide =
        RecordGuidanceRequest { request_id: id(), claim_id: claim.claim_id.clone(), outcome, ..Default::default() };
    world.staff().claims.record_guidance(guide).await.unwrap();

    // Another holds the unit that the swap takes last, then asks for the one that the swap took first; the swap is the one to give way.
    let (mut other, mut owner) = (world.owner().await, world.owner().await);
    sqlx::raw_sql("SET deadlock_timeout = '1min'").execute(&mut other).await.unwrap();
    let mut other = other.begin().await.unwrap();
    let hold = "SELECT 1 FROM units WHERE serial = $1 FOR NO KEY UPDATE";
    sqlx::query(hold).bind("UNITZ").execute(&mut *other).await.unwrap();
    let request =
        RecordSwapRequest { request_id: id(), claim_id: claim.claim_id, given_serial: "UNITZ".into(), version: 0 };
    let mut dealer = world.dealer("D1");
    let swap = tokio::spawn(async move { dealer.claims.record_swap(request).await });
    let waits = "pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    until("the swap waits", async || count(&mut owner, waits).await == 1).await;
    sqlx::query(hold).bind("UNITA").execute(&mut *other).await.unwrap();
    other.rollback().await.unwrap();

    assert_eq!(swap.await.unwrap().unwrap().into_inner().claim.unwrap().swapped_for, "UNITZ");
    let deadlocks = "pg_stat_database WHERE datname = current_database() AND deadlocks = 1";
    until("PostgreSQL tells of the deadlock", async || count(&mut owner, deadlocks).await == 1).await;
}
