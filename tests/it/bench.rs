//! `warranty bench` as a person runs it: what it counts is what was done to it.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    process::Output,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use serde_json::{Value, json};
use tokio::{net::TcpListener, process::Command, sync::Mutex, time::sleep};
use tokio_stream::{Stream, StreamExt, wrappers::TcpListenerStream};
use tonic::{Code, Request, Response, Status, Streaming, server::StreamingService};
use tonic_prost::ProstCodec;
use uuid::Uuid;
use warranty::{
    clock::Clock,
    contract::v1::{
        coverage_service_server::{CoverageService, CoverageServiceServer},
        *,
    },
    domain::actor::Actor,
    local::issuer::Kind,
};

use crate::world::{AUDIENCE, ISSUER, World};

const SERIALS: &str = "VT2001000001\n vt-2001 000002\n\nVT2001000003\n";

/// A coverage service that does to calls, by their number, what a test says.
#[derive(Clone)]
struct Fake {
    calls: Arc<AtomicU64>,
    gate: Arc<Mutex<()>>,
    fault: fn(u64) -> Fault,
}

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// Nobody is answered for half a second.
    Stall,
    Refuse(Code),
    /// The answer is about another unit.
    WrongSerial,
    /// In a batch: a status in place of the last answer.
    StatusInside,
    /// In a batch: an answer too few.
    TooFew,
}

impl Fake {
    /// Serves, and gives its URL.
    async fn serve(fault: fn(u64) -> Fault) -> String {
        let fake = Self { calls: Arc::default(), gate: Arc::default(), fault };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tonic::transport::Server::builder().add_service(CoverageServiceServer::new(fake));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        url
    }

    async fn next(&self) -> Result<Fault, Status> {
        let fault = (self.fault)(self.calls.fetch_add(1, Ordering::Relaxed));
        let gate = self.gate.lock().await;
        if fault == Fault::Stall {
            sleep(Duration::from_millis(500)).await;
        }
        drop(gate);
        match fault {
            Fault::Refuse(code) => Err(Status::new(code, "as the test says")),
            fault => Ok(fault),
        }
    }
}

fn answer(question: CheckCoverageRequest, fault: Fault) -> CheckCoverageResponse {
    let serial = if fault == Fault::WrongSerial { "ANOTHER1".to_owned() } else { question.serial };
    CheckCoverageResponse { serial, ..Default::default() }
}

fn result(question: CheckCoverageRequest, fault: Fault) -> CoverageResult {
    CoverageResult { result: Some(coverage_result::Result::Answer(answer(question, fault))) }
}

#[tonic::async_trait]
impl CoverageService for Fake {
    async fn check_coverage(
        &self,
        request: Request<CheckCoverageRequest>,
    ) -> Result<Response<CheckCoverageResponse>, Status> {
        assert_eq!(request.metadata().get("authorization").unwrap(), "Bearer none-is-asked-for");
        let fault = self.next().await?;
        Ok(Response::new(answer(request.into_inner(), fault)))
    }

    async fn batch_check_coverage(
        &self,
        request: Request<BatchCheckCoverageRequest>,
    ) -> Result<Response<BatchCheckCoverageResponse>, Status> {
        let fault = self.next().await?;
        let questions = request.into_inner().requests;
        let mut results: Vec<_> = questions.into_iter().map(|question| result(question, fault)).collect();
        if fault == Fault::StatusInside || fault == Fault::TooFew {
            results.pop();
        }
        if fault == Fault::StatusInside {
            results.push(CoverageResult { result: Some(coverage_result::Result::Status(Default::default())) });
        }
        Ok(Response::new(BatchCheckCoverageResponse { results, ..Default::default() }))
    }

    type StreamCoverageStream = std::pin::Pin<Box<dyn Stream<Item = Result<StreamCoverageResponse, Status>> + Send>>;

    /// Answers two questions at a time, the second first.
    async fn stream_coverage(
        &self,
        request: Request<Streaming<StreamCoverageRequest>>,
    ) -> Result<Response<Self::StreamCoverageStream>, Status> {
        let (fake, mut questions) = (self.clone(), request.into_inner());
        let (answers, answered) = tokio::sync::mpsc::channel(10);
        tokio::spawn(async move {
            while let (Some(Ok(first)), Some(Ok(second))) = (questions.next().await, questions.next().await) {
                for question in [second, first] {
                    let reply = fake.next().await.map(|fault| StreamCoverageResponse {
                        correlation_id: question.correlation_id,
                        result: question.request.map(|question| result(question, fault)),
                        ..Default::default()
                    });
                    let _ = answers.send(reply).await;
                }
            }
        });
        Ok(Response::new(Box::pin(tokio_stream::wrappers::ReceiverStream::new(answered))))
    }
}

/// A folder of the test's own, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("bench-{}", Uuid::new_v4().simple()));
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("serials"), SERIALS).unwrap();
        Self(folder)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).unwrap()
    }

    /// `warranty bench ...` in this folder, with no setting but these.
    async fn bench(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_warranty"));
        command.arg("bench").args(args).current_dir(&self.0).env_remove("DATABASE_URL").env_remove("WARRANTY_TOKEN");
        command.output().await.unwrap()
    }

    /// `warranty bench run` against a service, without warm-up; gives whether all was well, and the report.
    async fn run(&self, url: &str, args: &[&str]) -> (bool, Value) {
        let usual = ["run", "--coverage-address", url, "--serials", "serials", "--token", "none-is-asked-for"];
        let output = [&usual, &["--warm-up", "0", "--json", "report.json"][..], args].concat();
        let output = self.bench(&output).await;
        let report = self.read("report.json");
        (output.status.success(), serde_json::from_str(&report).unwrap())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn p90(report: &Value) -> f64 {
    report["phases"][0]["kinds"][0]["latency_ms"]["p90"].as_f64().unwrap()
}

/// 600 calls are due in three seconds; in one half second nobody is answered, and 100 of them fall due. One caller who waits
/// for each answer sees a single slow call; those who were due have waited.
#[tokio::test]
async fn a_stall_counts_for_every_call_that_fell_due_in_it() {
    let stall = |call| if call == 50 { Fault::Stall } else { Fault::None };
    let folder = Folder::new();
    let (right, open) = folder.run(&Fake::serve(stall).await, &["--rate", "200", "--seconds", "3"]).await;
    assert!(right);
    assert_eq!(open["phases"][0]["corrected"], true);
    assert_eq!(open["phases"][0]["kinds"][0]["codes"], json!({"OK": 600}));
    assert!(p90(&open) >= 150.0, "a tenth of the calls had to wait 200 ms or more: {}", p90(&open));

    let (right, closed) = folder.run(&Fake::serve(stall).await, &["--in-flight", "1", "--seconds", "3"]).await;
    assert!(right);
    assert_eq!(closed["phases"][0]["corrected"], false);
    let slowest = closed["phases"][0]["kinds"][0]["latency_ms"]["max"].as_f64().unwrap();
    assert!(slowest >= 499.0, "the one call that was made in the stall: {slowest}");
    assert!(p90(&closed) < 150.0, "most calls were not made in it: {}", p90(&closed));
}

#[tokio::test]
async fn what_is_due_beyond_what_may_wait_is_told_and_not_sent() {
    let url = Fake::serve(|call| if call == 0 { Fault::Stall } else { Fault::None }).await;
    let (_, report) = Folder::new().run(&url, &["--rate", "40000", "--seconds", "0.5"]).await;
    let phase = &report["phases"][0];
    let count = |value: &Value| value.as_u64().unwrap();
    assert!(count(&phase["dropped"]) > 0, "20,000 were due while none was answered, and 10,000 may wait");
    let ended = count(&phase["kinds"][0]["calls"]);
    assert_eq!(count(&phase["dropped"]) + count(&phase["unanswered"]) + ended, 20_000, "each call is somewhere");
}

#[tokio::test]
async fn codes_are_counted_by_their_names() {
    let url = Fake::serve(|call| match call % 10 {
        3 | 7 => Fault::Refuse(Code::Unavailable),
        5 => Fault::Refuse(Code::DeadlineExceeded),
        _ => Fault::None,
    });
    let (right, report) = Folder::new().run(&url.await, &["--rate", "100", "--seconds", "1"]).await;
    assert!(right, "refusals are a measurement");
    let of_kind = &report["phases"][0]["kinds"][0];
    assert_eq!(of_kind["codes"], json!({"OK": 70, "UNAVAILABLE": 20, "DEADLINE_EXCEEDED": 10}));
    assert_eq!((&of_kind["calls"], &of_kind["serials"], &of_kind["wrong"]), (&json!(100), &json!(70), &json!(0)));

    let refusing = Fake::serve(|_| Fault::Refuse(Code::Unauthenticated)).await;
    let (right, _) = Folder::new().run(&refusing, &["--rate", "10", "--seconds", "0.5"]).await;
    assert!(!right, "no answer at all is no measurement");
}

#[tokio::test]
async fn a_wrong_answer_fails_the_run() {
    for (kind, fault) in [
        ("check", (|_| Fault::WrongSerial) as fn(u64) -> Fault),
        ("batch", |_| Fault::WrongSerial),
        ("batch", |call| if call == 5 { Fault::StatusInside } else { Fault::None }),
        ("batch", |call| if call == 5 { Fault::TooFew } else { Fault::None }),
        ("stream", |_| Fault::WrongSerial),
    ] {
        let args = ["--mix", kind, "--batch", "20", "--rate", "20", "--seconds", "1", "--connections", "1"];
        let (right, report) = Folder::new().run(&Fake::serve(fault).await, &args).await;
        let of_kind = &report["phases"][0]["kinds"][0];
        assert!(!right, "{report:#}");
        assert_eq!((&of_kind["codes"], &of_kind["wrong"]), (&json!({"OK": 20}), &json!(1)), "{kind}");
    }
}

#[tokio::test]
async fn a_batch_counts_its_serials_and_a_stream_may_answer_in_any_order() {
    let url = Fake::serve(|_| Fault::None).await;
    let args = ["--mix", "batch", "--batch", "75", "--rate", "20", "--seconds", "1"];
    let (right, report) = Folder::new().run(&url, &args).await;
    assert!(right, "{report:#}");
    assert_eq!(report["phases"][0]["kinds"][0]["serials"], 20 * 75);

    let args = ["--mix", "stream", "--connections", "1", "--rate", "100", "--seconds", "1"];
    let (right, report) = Folder::new().run(&url, &args).await;
    assert!(right, "{report:#}");
    assert_eq!(report["phases"][0]["kinds"][0]["codes"], json!({"OK": 100}));
}

/// Every name in an object, sorted.
fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn the_report_is_whole_for_machines_and_for_people() {
    let (folder, url) = (Folder::new(), Fake::serve(|_| Fault::None).await);
    let me = std::process::id().to_string();
    let (right, report) =
        folder.run(&url, &["--sweep", "--in-flight", "2", "--seconds", "2", "--svg", "plot.svg", "--pid", &me]).await;
    assert!(right);
    let top = ["command", "cores", "cpu", "kernel", "phases", "postgresql", "serials", "started_time", "version"];
    assert_eq!(keys(&report), top);
    let command = report["command"].as_str().unwrap();
    assert!(command.contains("--token ... ") && !command.contains("none-is-asked-for"), "{command}");
    assert_eq!(report["serials"], 3);
    let phases = report["phases"].as_array().unwrap();
    let names: Vec<&str> = phases.iter().map(|phase| phase["name"].as_str().unwrap()).collect();
    let [once, twice, four, open] = names[..] else { panic!("{names:?}") };
    assert_eq!([once, twice, four], [2, 4, 8].map(|callers| format!("closed loop, {callers} in flight")));
    let rates: Vec<f64> = phases.iter().map(|phase| phase["calls_per_second"].as_f64().unwrap()).collect();
    let peak = rates[..3].iter().copied().fold(0.0, f64::max);
    assert_eq!(open, format!("open loop, {:.0} calls a second", 0.7 * peak));
    let of_phase = [
        "by_second",
        "calls_per_second",
        "corrected",
        "dropped",
        "kinds",
        "name",
        "pgbench",
        "processes",
        "seconds",
        "serials_per_second",
        "unanswered",
    ];
    assert_eq!(keys(&phases[0]), of_phase);
    let of_kind = &phases[0]["kinds"][0];
    let named = ["calls", "calls_per_second", "codes", "curve", "kind", "latency_ms", "refused_ms", "serials", "wrong"];
    assert_eq!(keys(of_kind), named);
    assert_eq!(keys(&of_kind["latency_ms"]), ["max", "p50", "p90", "p99", "p999"]);
    assert_eq!(phases[0]["by_second"].as_array().unwrap().len(), 2, "a point for each whole second");
    let pids: Vec<&Value> = phases[0]["processes"].as_array().unwrap().iter().map(|used| &used["pid"]).collect();
    assert_eq!(pids[1], &json!(std::process::id()), "the generator, then those asked for");
    assert!(phases[0]["processes"][1]["cpu_seconds"].as_f64().unwrap() > 0.0, "the fake answered");

    let svg = folder.read("plot.svg");
    let picture = roxmltree::Document::parse(&svg).unwrap();
    let lines = picture.descendants().filter(|node| node.has_tag_name("polyline")).filter(|node| {
        node.attribute("points").is_some_and(|points| points.split_whitespace().count() > 1)
            && node.attribute("stroke-width") == Some("2")
    });
    assert!(lines.count() >= 4 * 4, "calls, p50, p99 and percentiles of four phases");
}

#[tokio::test]
async fn a_seeded_registry_is_asked_beside_pgbench() {
    let world = World::start().await;
    let folder = Folder::new();
    for units in ["20", "400"] {
        let seeded = folder.bench(&["seed", "--units", units, "--database-url", &world.url]).await;
        assert!(seeded.status.success(), "{seeded:?}");
    }
    let mut owner = world.owner().await;
    // Whoever reads what it prints may go before it does.
    let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_warranty"))
        .args(["bench", "seed", "--units", "400", "--database-url", &world.url])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let unread = child.wait_with_output().await.unwrap();
    assert!(unread.status.success() && !String::from_utf8_lossy(&unread.stderr).contains("panicked"), "{unread:?}");
    // 4,000 units of the sample data, and 400 seeded: 40 of them unsold, 2 replaced.
    let count: (i64, i64, i64, i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM units), (SELECT count(*) FROM sales), (SELECT count(*) FROM replacements),
                (SELECT count(*) FROM units WHERE has_history <> (serial IN (SELECT serial FROM repairs UNION
                 SELECT replaced_serial FROM replacements UNION SELECT replacement_serial FROM replacements))),
                (SELECT count(*) FROM units u LEFT JOIN sale_facts s USING (serial)
                  WHERE (u.sold_on, u.has_invoice, u.sale_region, u.contract_number)
                        IS DISTINCT FROM (s.sold_on, s.has_invoice, s.region, s.contract_number))",
    )
    .fetch_one(&mut owner)
    .await
    .unwrap();
    assert_eq!((count.0, count.2, count.3, count.4), (4_400, 2 + 2, 0, 0));
    assert!(
        (3_600 + 360..=3_600 + 362).contains(&count.1),
        "the sample data sells one more at each start: {}",
        count.1
    );

    let hour = chrono::Duration::hours(1);
    let dealer = Actor::Dealer("D1001".to_owned());
    let token = world.issuer.mint(&dealer, Kind::Dealer.scopes(), hour, ISSUER, AUDIENCE, world.clock.now()).unwrap();
    let url = format!("http://{}", world.coverage);
    let args = ["run", "--coverage-address", &url, "--token", &token, "--database-url", &world.url, "--pgbench", "4"];
    let output =
        folder.bench(&[&args[..], &["--in-flight", "4", "--seconds", "1", "--json", "report.json"]].concat()).await;
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_str(&folder.read("report.json")).unwrap();
    assert_eq!(report["serials"], 4_400);
    let phase = &report["phases"][0];
    assert_eq!(keys(&phase["kinds"][0]["codes"]), ["OK"]);
    let number = |value: &Value| value.as_f64().unwrap();
    let mean = (number(&phase["pgbench"]["before"]) + number(&phase["pgbench"]["after"])) / 2.0;
    let ratio = number(&phase["serials_per_second"]) / mean;
    assert!((number(&phase["pgbench"]["ratio"]) - ratio).abs() < 1e-9, "{phase:#}");
}

/// Takes units in and keeps none; the reply is of the whole.
#[derive(Clone, Default)]
struct Intake(Arc<std::sync::Mutex<Vec<Unit>>>);

impl StreamingService<ImportUnitsRequest> for Intake {
    type Response = ImportUnitsResponse;
    type ResponseStream = tokio_stream::Once<Result<ImportUnitsResponse, Status>>;
    type Future = BoxFuture<'static, Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<ImportUnitsRequest>>) -> Self::Future {
        let taken = Arc::clone(&self.0);
        Box::pin(async move {
            let mut messages = request.into_inner();
            while let Some(message) = messages.message().await? {
                taken.lock().unwrap().extend(message.units);
            }
            let count = taken.lock().unwrap().len() as i64;
            let reply = ImportUnitsResponse { row_count: count, created_count: count, ..Default::default() };
            Ok(Response::new(tokio_stream::once(Ok(reply))))
        })
    }
}

#[tokio::test]
async fn units_are_imported_beside_copy_of_the_same() {
    let (world, folder, intake) = (World::stocked().await, Folder::new(), Intake::default());
    let service = intake.clone();
    let import = move |request: axum::extract::Request| {
        let service = service.clone();
        async move { tonic::server::Grpc::new(ProstCodec::default()).streaming(service, request).await }
    };
    let routes =
        axum::Router::new().route("/aopre.warranty.v1.RegistryService/ImportUnits", axum::routing::post(import));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tonic::transport::Server::builder().add_routes(routes.into());
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));

    let args = ["import", "--rows", "2500", "--coverage-address", &url, "--token", "none", "--json", "report.json"];
    let output = folder.bench(&[&args[..], &["--database-url", &world.url]].concat()).await;
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_str(&folder.read("report.json")).unwrap();
    assert_eq!((&report["rows"], &report["created"], &report["rejected"]), (&json!(2500), &json!(2500), &json!(0)));
    let number = |value: &Value| value.as_f64().unwrap();
    let copied = &report["copy_rows_per_second"];
    let ratio = number(&report["rows_per_second"]) * 2.0 / (number(&copied[0]) + number(&copied[1]));
    assert!((number(&report["ratio"]) - ratio).abs() < 1e-9 * ratio, "{report:#}");

    let units = intake.0.lock().unwrap();
    let serials: BTreeSet<&str> = units.iter().map(|unit| unit.serial.as_str()).collect();
    assert_eq!((units.len(), serials.len()), (2_500, 2_500), "each row once");
    assert_eq!((units[0].model.as_str(), units[0].sold_by_maker), ("PS-1", true));
}

#[tokio::test]
async fn claims_are_filed_each_for_a_unit_of_its_own() {
    let (world, folder) = (World::start().await, Folder::new());
    world.set(&Clock::system().now().to_rfc3339());
    let seeded = folder.bench(&["seed", "--units", "20", "--database-url", &world.url]).await;
    assert!(seeded.status.success(), "{seeded:?}");
    let hour = chrono::Duration::hours(1);
    let dealer = Actor::Dealer("D1001".to_owned());
    let token = world.issuer.mint(&dealer, Kind::Dealer.scopes(), hour, ISSUER, AUDIENCE, world.clock.now()).unwrap();
    let (coverage, claim) = (format!("http://{}", world.coverage), format!("http://{}", world.claim));
    let at =
        ["--coverage-address", &coverage, "--claim-address", &claim, "--database-url", &world.url, "--token", &token];
    let how = ["run", "--mix", "file", "--in-flight", "4", "--seconds", "1", "--json", "report.json"];
    let output = folder.bench(&[&how[..], &at].concat()).await;
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_str(&folder.read("report.json")).unwrap();
    let kind = &report["phases"][0]["kinds"][0];
    assert_eq!((&kind["kind"], keys(&kind["codes"])), (&"file".into(), vec!["OK"]));
    let claims: i64 =
        sqlx::query_scalar("SELECT count(*) FROM claims WHERE dealer_id = 'D1001' AND remedy = 'FREE_REPAIR'")
            .fetch_one(&mut world.owner().await)
            .await
            .unwrap();
    assert!(claims >= kind["codes"]["OK"].as_i64().unwrap(), "{claims} claims, {kind:#}");
}

#[tokio::test]
async fn what_cannot_be_run_is_one_sentence() {
    let (folder, url) = (Folder::new(), Fake::serve(|_| Fault::None).await);
    for (args, sentence) in [
        (&["--mix", "chek"][..], "write kinds and weights: check, or check=90,batch=9,stream=1"),
        (&["--rate", "0"], "write a number from 0.01 on"),
        (&["--pgbench"], "--database-url"),
        (&["--pid", "4194305"], "there is no process 4194305"),
        (&[], "which serials? Name a file with --serials, or the database with --database-url"),
    ] {
        let more: &[&str] = if args.is_empty() { &[] } else { &["--serials", "serials"] };
        let usual = ["run", "--coverage-address", &url, "--token", "none-is-asked-for", "--warm-up", "0"];
        let output = folder.bench(&[&usual, more, args].concat()).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(sentence), "{said}");
    }
}
