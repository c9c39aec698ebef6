//! What SREs and the after-sales manager are told: by the real process at `/metrics`, and what is counted in the database.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use sqlx::Executor;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::{Child, Command},
    time::timeout,
};
use tonic::Code;
use uuid::Uuid;
use warranty::{
    clock::{Clock, civil_date},
    contract::v1::*,
    domain::actor::Actor,
    store::{
        counts::{self, Count},
        schema_needed,
    },
};

use crate::{
    claims::Life,
    world::{AUDIENCE, ISSUER, World, filing, id},
};

/// The real process with all three services, and its admin port.
struct Process {
    admin: std::net::SocketAddr,
    folder: PathBuf,
    _child: Child,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Process {
    /// Serves the world's database in its three services' place, at most 3 calls at once.
    async fn start(world: &mut World) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(Uuid::new_v4().to_string());
        std::fs::create_dir(&folder).unwrap();
        let keys = folder.join("jwks.json");
        std::fs::write(&keys, world.issuer.jwks().to_string()).unwrap();
        let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (address, admin) = (free(), free());
        let child = Command::new(env!("CARGO_BIN_EXE_warranty"))
            .args(["all", "--listen", &address.to_string(), "--admin-listen", &admin.to_string()])
            .args(["--jwks", keys.to_str().unwrap(), "--issuer", ISSUER, "--audience", AUDIENCE])
            .args(["--evidence", folder.to_str().unwrap(), "--concurrency", "3", "--pool-size", "5"])
            .env("DATABASE_URL", &world.url)
            // No collector is there.
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", free()))
            .env("WARRANTY_TRACE_RATIO", "1")
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        world.clock = Clock::system();
        (world.coverage, world.claim, world.logistics) = (address, address, address);
        let process = Self { admin, folder, _child: child };
        process.until("warranty_claims_stuck 0.0").await;
        process
    }

    /// What it tells now.
    async fn told(&self) -> String {
        let Ok(mut stream) = TcpStream::connect(self.admin).await else { return String::new() };
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// What it tells once this line is among it.
    async fn until(&self, line: &str) -> String {
        let wait = async {
            loop {
                let told = self.told().await;
                if told.lines().any(|told| told == line) {
                    return told;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(Duration::from_secs(30), wait).await.unwrap_or_else(|_| panic!("{line} was never told"))
    }
}

/// The lines of these metrics, without what differs from run to run.
fn lines<'t>(told: &'t str, names: &[&str]) -> Vec<&'t str> {
    let name = |line: &&str| names.iter().any(|name| line.starts_with(name));
    let mut lines: Vec<_> = told.lines().filter(name).collect();
    lines.sort_unstable();
    lines
}

/// All were recorded, and none arrived.
fn assert_spans_lost(told: &str) {
    let spans: Vec<_> = lines(told, &["warranty_spans"]).iter().map(|line| line.split_once(' ').unwrap()).collect();
    let [("warranty_spans_ended_total", ended), ("warranty_spans_exported_total", "0")] = spans[..] else {
        panic!("{spans:?}")
    };
    assert!(ended.parse::<u64>().unwrap() > 6, "{ended}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_tells_its_calls_its_decisions_its_pools_and_itself() {
    let mut world = World::stocked().await;
    let process = Process::start(&mut world).await;
    world.sold("METRIC01", 3).await;
    let mut dealer = world.dealer("D1");
    for _ in 0..2 {
        let asked = CheckCoverageRequest { serial: "METRIC01".into(), ..Default::default() };
        dealer.coverage.check_coverage(asked).await.unwrap();
    }
    let request = filing("METRIC01");
    for _ in 0..2 {
        dealer.claims.file_claim(request.clone()).await.unwrap();
    }
    let unknown = dealer.claims.get_claim(GetClaimRequest { claim_id: id(), ..Default::default() }).await;
    assert_eq!(unknown.unwrap_err().code(), Code::NotFound);
    let barred = world
        .caller_with(Actor::Dealer("D1".into()), "claims.read")
        .coverage
        .check_coverage(CheckCoverageRequest::default())
        .await;
    assert_eq!(barred.unwrap_err().code(), Code::PermissionDenied);

    let told = process.until("rpc_server_call_duration_seconds_count{rpc_system_name=\"grpc\",rpc_method=\"aopre.warranty.v1.CoverageService/CheckCoverage\",rpc_status_code=\"PERMISSION_DENIED\"} 1").await;
    assert!(told.contains("\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    let calls = lines(&told, &["rpc_server_call_duration_seconds_count"]);
    let calls = calls.into_iter().filter(|line| !line.contains("RegistryService"));
    let calls: Vec<_> = calls.map(|line| line.split_once("aopre.warranty.v1.").unwrap().1).collect();
    assert_eq!(
        calls,
        [
            r#"ClaimService/FileClaim",rpc_status_code="OK"} 2"#,
            r#"ClaimService/GetClaim",rpc_status_code="NOT_FOUND"} 1"#,
            r#"CoverageService/CheckCoverage",rpc_status_code="OK"} 2"#,
            r#"CoverageService/CheckCoverage",rpc_status_code="PERMISSION_DENIED"} 1"#,
        ]
    );
    assert_spans_lost(&told);
    // The second filing was answered from the first: nothing was decided.
    assert_eq!(
        lines(
            &told,
            &[
                "warranty_decisions_total",
                "warranty_calls",
                "warranty_schema",
                "warranty_jwks_keys",
                "db_client_connection_max"
            ]
        ),
        [
            r#"db_client_connection_max{db_client_connection_pool_name="claim"} 5.0"#,
            r#"db_client_connection_max{db_client_connection_pool_name="coverage"} 5.0"#,
            r#"db_client_connection_max{db_client_connection_pool_name="logistics"} 5.0"#,
            r#"db_client_connection_max{db_client_connection_pool_name="worker"} 1.0"#,
            "warranty_calls_in_flight 0.0",
            "warranty_calls_limit 3.0",
            "warranty_calls_shed_total 0",
            r#"warranty_decisions_total{stage="asked",remedy="DIRECT_REPLACEMENT",clause="T1"} 2"#,
            r#"warranty_decisions_total{stage="filed",remedy="DIRECT_REPLACEMENT",clause="T1"} 1"#,
            "warranty_jwks_keys 1",
            &format!("warranty_schema_version {}", schema_needed()),
            &format!("warranty_schema_version_needed {}.0", schema_needed()),
        ]
    );
    for name in
        ["process_cpu_seconds_total ", "process_resident_memory_bytes ", "process_open_fds ", "process_max_fds "]
    {
        let value: f64 = lines(&told, &[name])[0].rsplit(' ').next().unwrap().parse().unwrap();
        assert!(value > 0.0, "{name}{value}");
    }
    for secret in ["METRIC01", "D1", "王小明", "13800000000"] {
        assert!(!told.contains(secret), "{secret} is told");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_in_flight_are_told_and_those_that_were_shed() {
    let mut world = World::stocked().await;
    let process = Process::start(&mut world).await;
    let watch = async || world.dealer("D1").claims.watch_claims(WatchClaimsRequest::default()).await;
    let watching = [watch().await.unwrap(), watch().await.unwrap(), watch().await.unwrap()];
    assert_eq!(watch().await.unwrap_err().code(), Code::Unavailable);
    let told = process.told().await;
    assert_eq!(
        lines(&told, &["warranty_calls"]),
        ["warranty_calls_in_flight 3.0", "warranty_calls_limit 3.0", "warranty_calls_shed_total 1"]
    );
    drop(watching);
    process.until("warranty_calls_in_flight 0.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn how_long_claims_took_is_told_at_their_end() {
    let mut world = World::stocked().await;
    let process = Process::start(&mut world).await;
    let life = Life(&world);
    life.in_state("METRIC02", 60, ClaimState::Closed).await;
    let told = process.told().await;
    assert_eq!(
        lines(&told, &["warranty_claim_turnaround_days_count", "warranty_claim_turnaround_days_bucket"])[..3],
        [
            r#"warranty_claim_turnaround_days_bucket{remedy="FREE_REPAIR",le="+Inf"} 1"#,
            r#"warranty_claim_turnaround_days_bucket{remedy="FREE_REPAIR",le="1"} 1"#,
            r#"warranty_claim_turnaround_days_bucket{remedy="FREE_REPAIR",le="14"} 1"#,
        ]
    );
    // What is paid after its end had its end before.
    let claim = life.in_state("METRIC03", 60, ClaimState::Quoted).await;
    life.accept(&claim.claim_id, &claim.quote_id).await.unwrap();
    life.repair(&claim.claim_id).await.unwrap();
    let (request_id, dealer_id) = (id(), "D1".to_owned());
    let request = SetDealerCreditTermsRequest { request_id, dealer_id, credit_terms: true, version: 0 };
    world.staff().registry.set_dealer_credit_terms(request).await.unwrap();
    let parcel = life.dispatch(&[(&claim.claim_id, "")]).await.unwrap().shipment_id;
    life.deliver(&parcel).await.unwrap();
    let charge = life.get(&claim.claim_id).await.charge.unwrap();
    life.pay(&claim.claim_id, charge.units * 100 + i64::from(charge.nanos) / 10_000_000, "P-1").await.unwrap();
    let told = process.told().await;
    assert_eq!(
        lines(&told, &["warranty_claim_turnaround_days_count{remedy=\"PAID"]),
        [r#"warranty_claim_turnaround_days_count{remedy="PAID_SERVICE"} 1"#]
    );
}

fn count(what: &str, of: &str, age: &str, number: i64) -> Count {
    (what.into(), of.into(), age.into(), number)
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_debts_what_is_late_and_what_is_stuck_are_counted_by_one_process() {
    let world = World::stocked().await;
    let life = Life(&world);
    life.in_state("COUNT001", 3, ClaimState::Filed).await;
    life.in_state("COUNT002", 3, ClaimState::Authorized).await;
    life.in_state("COUNT003", 3, ClaimState::Swapped).await;
    life.in_state("COUNT004", 3, ClaimState::Cancelled).await;
    let worker = world.worker();
    let mut first = worker.acquire().await.unwrap();
    let mut second = worker.acquire().await.unwrap();
    let now = world.clock.now();
    let mut counted = async |days: i64| {
        let at = now + chrono::Duration::days(days);
        let mut counts = counts::read(&mut first, at, civil_date(at)).await.unwrap();
        counts.sort();
        counts
    };
    let (balanced, nothing_stuck) = (count("imbalance", "", "", 0), [count("stuck", "", "", 0)]);
    let open = |age: &str| ["AUTHORIZED", "FILED", "SWAPPED"].map(|state| count("claims", state, age, 1));
    let owed = |age: &str| [count("debts", "DEALER", age, 1), balanced.clone()];
    assert_eq!(counted(0).await, [&open("1d")[..], &owed("1d"), &nothing_stuck].concat());
    // Guidance is due in two days.
    let late = [count("late", "FILED", "", 1)];
    assert_eq!(counted(3).await, [&open("7d")[..], &owed("7d"), &late, &nothing_stuck].concat());
    // An authorization lapses after 30 days, by the clock: one that did not for two days is stuck.
    let late = ["AUTHORIZED", "FILED", "SWAPPED"].map(|state| count("late", state, "", 1));
    let overdue = [count("debts", "DEALER", "90d", 1), count("debts_late", "DEALER", "", 1), balanced.clone()];
    assert_eq!(counted(32).await, [&open("90d")[..], &overdue, &late, &[count("stuck", "", "", 1)]].concat());

    // Another process asks in vain.
    assert_eq!(counts::read(&mut second, now, civil_date(now)).await.unwrap(), []);
    // An entry that went missing behind the system's back is told.
    let mut owner = world.owner().await;
    owner.execute("ALTER TABLE ledger_entries NO FORCE ROW LEVEL SECURITY").await.unwrap();
    let written =
        "INSERT INTO ledger_entries (claim_id, debtor, number, dealer_id, kind, owed, recorded_at, recorded_by)
        SELECT claim_id, debtor, 2, dealer_id, 'RETURNED', owed, now(), 'staff/S1' FROM ledger_entries";
    owner.execute(written).await.unwrap();
    assert_eq!(counted(0).await[3], balanced, "it was closed");
    owner.execute("ALTER TABLE ledger_entries DROP CONSTRAINT ledger_without_gaps").await.unwrap();
    owner.execute("DELETE FROM ledger_entries WHERE number = 1").await.unwrap();
    assert_eq!(counted(0).await[3], count("imbalance", "", "", 1));
    // The one that counted is gone: another takes its place, once the server has noticed.
    first.close().await.unwrap();
    let taken = async {
        while counts::read(&mut second, now, civil_date(now)).await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(60), taken).await.unwrap();
}
