//! One trace from the caller to the statement, by OTLP and with the W3C context.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use axum::http::HeaderMap;
use futures::{StreamExt, future::join_all};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::any_value::Value,
    trace::v1::{ResourceSpans, Span, span::SpanKind},
};
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};
use tracing::Instrument;
use uuid::Uuid;
use warranty::{
    config::TelemetryConfig,
    contract::v1::{
        BatchCheckCoverageRequest, CancelClaimRequest, CheckCoverageRequest, GuidanceOutcome, RecordGuidanceRequest,
        StreamCoverageRequest, WatchClaimsRequest,
    },
    metrics,
    service::claim::worker,
    telemetry,
};

use crate::world::{World, filing, id};

/// An in-process OTLP collector, and telemetry that sends to it. On a runtime that outlives each test.
pub struct Traces {
    runtime: tokio::runtime::Runtime,
    telemetry: SdkTracerProvider,
    received: Arc<Mutex<Vec<ResourceSpans>>>,
}

/// What was exported to it.
#[derive(Clone, Default)]
pub struct Collector(pub Arc<Mutex<Vec<ResourceSpans>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.lock().unwrap().extend(request.into_inner().resource_spans);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

pub fn traces() -> &'static Traces {
    static TRACES: OnceLock<Traces> = OnceLock::new();
    TRACES.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let collector = Collector::default();
        let received = collector.0.clone();
        let entered = runtime.enter();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let incoming = TcpListenerStream::new(TcpListener::from_std(listener).unwrap());
        let server = Server::builder().add_service(TraceServiceServer::new(collector));
        runtime.spawn(server.serve_with_incoming(incoming));
        // Nothing is recorded but what a caller asks for.
        let config = TelemetryConfig { log: "off".into(), otlp_endpoint: Some(endpoint), trace_ratio: 0.0 };
        let telemetry = telemetry::start("warranty-coverage", &config).unwrap();
        drop(entered);
        Traces { runtime, telemetry, received }
    })
}

impl Traces {
    /// The spans of a trace, each with its process.
    pub async fn spans(&self, trace_id: &str) -> Vec<(Span, String)> {
        let telemetry = self.telemetry.clone();
        let flushed = self.runtime.handle().spawn_blocking(move || telemetry.force_flush()).await;
        flushed.unwrap().unwrap();
        let received = self.received.lock().unwrap().clone();
        let of_scopes = received.iter().flat_map(|of| of.scope_spans.iter().map(move |scope| (of, scope)));
        let spans =
            of_scopes.flat_map(|(of, scope)| scope.spans.iter().map(move |span| (span.clone(), service_name(of))));
        spans.filter(|(span, _)| hex(&span.trace_id) == trace_id).collect()
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn service_name(of: &ResourceSpans) -> String {
    let attributes = of.resource.iter().flat_map(|resource| &resource.attributes);
    let name = attributes.filter(|attribute| attribute.key == "service.name");
    name.map(|attribute| format!("{:?}", attribute.value))
        .find_map(|value| value.split('"').nth(1).map(str::to_owned))
        .unwrap_or_default()
}

impl Traces {
    /// A trace's spans once the call of this name has ended, in the order of their beginning; without those that set a new
    /// connection up.
    async fn whole(&self, trace: &Trace, call: &str) -> Vec<Span> {
        let ended = async {
            loop {
                let mut spans: Vec<Span> = self.spans(&trace.id).await.into_iter().map(|(span, _)| span).collect();
                if spans.iter().any(|span| span.name == call) {
                    spans.retain(|span| span.name != "SET");
                    spans.sort_by_key(|span| span.start_time_unix_nano);
                    return spans;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(30), ended).await.unwrap()
    }
}

/// A trace that a caller began.
struct Trace {
    id: String,
    parent: String,
}

impl Trace {
    fn begin() -> Self {
        let id = Uuid::new_v4().simple().to_string();
        Self { parent: id[16..].to_owned(), id }
    }

    /// Sends a request in it: recorded, or not.
    fn send<T>(&self, message: T, recorded: bool) -> Request<T> {
        let mut request = Request::new(message);
        let context = format!("00-{}-{}-0{}", self.id, self.parent, i32::from(recorded));
        request.metadata_mut().insert("traceparent", context.parse().unwrap());
        request
    }
}

/// The spans as a tree, below the caller's.
fn tree(spans: &[Span], trace: &Trace) -> Vec<String> {
    fn below(spans: &[Span], parent: &str, depth: usize, tree: &mut Vec<String>) {
        for span in spans.iter().filter(|span| hex(&span.parent_span_id) == parent) {
            tree.push(format!("{}{}", "  ".repeat(depth), span.name));
            below(spans, &hex(&span.span_id), depth + 1, tree);
        }
    }
    let mut tree = Vec::new();
    below(spans, &trace.parent, 0, &mut tree);
    assert_eq!(tree.len(), spans.len(), "every span hangs on the caller's: {spans:?}");
    tree
}

fn attribute(span: &Span, key: &str) -> String {
    let found = span.attributes.iter().find(|attribute| attribute.key == key);
    match found.and_then(|attribute| attribute.value.clone()).and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        other => format!("{other:?}"),
    }
}

/// What a statement tells, and that no value is in it.
fn assert_statement(span: &Span, operation: &str, secret: &str) {
    assert_eq!(span.kind, SpanKind::Client as i32);
    assert_eq!(attribute(span, "db.system.name"), "postgresql");
    assert_eq!(attribute(span, "db.operation.name"), operation);
    assert!(attribute(span, "db.query.text").contains("$1"), "{span:?}");
    assert!(!format!("{span:?}").contains(secret), "{span:?}");
    assert!(span.end_time_unix_nano > span.start_time_unix_nano);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_traced_down_to_its_statements_in_one_trace() {
    let traces = traces();
    let world = World::stocked().await;
    world.sold("TRACE001", 3).await;
    // The policies are read once in a process.
    world.filed("TRACE101", 3).await;
    let trace = Trace::begin();
    world.dealer("D1").claims.file_claim(trace.send(filing("TRACE001"), true)).await.unwrap();
    let spans = traces.whole(&trace, "aopre.warranty.v1.ClaimService/FileClaim").await;
    assert_eq!(
        tree(&spans, &trace),
        [
            "aopre.warranty.v1.ClaimService/FileClaim",
            "  FileClaim",
            // The request and the claim that may be there, and the facts; the claim with its event and its decision.
            "    SELECT",
            "    SELECT units",
            "    INSERT claim_decisions",
            "    INSERT request_log",
            "    COMMIT",
        ]
    );
    for (at, operation) in [(2, "SELECT"), (3, "SELECT"), (4, "INSERT"), (5, "INSERT")] {
        assert_statement(&spans[at], operation, "TRACE001");
    }
    let told = metrics::text();
    let exported = told.lines().find_map(|line| line.strip_prefix("warranty_spans_exported_total ")).unwrap();
    assert!(exported.parse::<usize>().unwrap() >= spans.len(), "{exported}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_recorded_makes_no_spans() {
    let traces = traces();
    let world = World::stocked().await;
    world.sold("TRACE002", 3).await;
    let trace = Trace::begin();
    world.dealer("D1").claims.file_claim(trace.send(filing("TRACE002"), false)).await.unwrap();
    world.dealer("D1").coverage.check_coverage(trace.send(asked("TRACE002"), false)).await.unwrap();
    // A later trace is whole: what was before it would be there, too.
    let later = Trace::begin();
    world.dealer("D1").coverage.check_coverage(later.send(asked("TRACE002"), true)).await.unwrap();
    traces.whole(&later, CHECK).await;
    assert_eq!(traces.spans(&trace.id).await, []);
}

const CHECK: &str = "aopre.warranty.v1.CoverageService/CheckCoverage";

fn asked(serial: &str) -> CheckCoverageRequest {
    CheckCoverageRequest { serial: serial.into(), ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_that_met_in_one_query_have_it_each_in_its_own_trace() {
    let traces = traces();
    let world = World::stocked().await;
    world.sold("TRACE003", 3).await;
    let mut dealer = world.dealer("D1");
    dealer.coverage.check_coverage(asked("TRACE003")).await.unwrap();
    let met = async || {
        let callers: Vec<Trace> = (0..8).map(|_| Trace::begin()).collect();
        let calls = callers.iter().map(async |trace| {
            dealer.coverage.clone().check_coverage(trace.send(asked("TRACE003"), true)).await.unwrap();
        });
        join_all(calls).await;
        let mut queries = HashSet::new();
        for trace in &callers {
            let spans = traces.whole(trace, CHECK).await;
            assert_eq!(tree(&spans, trace), [CHECK, "  SELECT units"]);
            assert_statement(&spans[1], "SELECT", "TRACE003");
            // To the nanosecond: those that met.
            queries.insert(spans[1].start_time_unix_nano);
        }
        queries.len() < callers.len()
    };
    let until_they_meet = async { while !met().await {} };
    tokio::time::timeout(Duration::from_secs(60), until_they_meet).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_and_a_stream_are_traced_with_each_of_their_questions() {
    let traces = traces();
    let world = World::stocked().await;
    world.sold("TRACE003", 3).await;
    let mut dealer = world.dealer("D1");
    let request = BatchCheckCoverageRequest { requests: vec![asked("TRACE003")], ..Default::default() };
    // Each of the readers opens its connection first.
    dealer.coverage.check_coverage(asked("TRACE003")).await.unwrap();
    for _ in 0..2 {
        dealer.coverage.batch_check_coverage(request.clone()).await.unwrap();
    }
    let batch = Trace::begin();
    dealer.coverage.batch_check_coverage(batch.send(request, true)).await.unwrap();
    let name = "aopre.warranty.v1.CoverageService/BatchCheckCoverage";
    let spans = traces.whole(&batch, name).await;
    assert_eq!(tree(&spans, &batch), [name, "  SELECT units"]);

    let stream = Trace::begin();
    let question = |name: &str| StreamCoverageRequest { correlation_id: name.into(), request: Some(asked("TRACE003")) };
    let questions = tokio_stream::iter([question("A"), question("B")]);
    let answers = dealer.coverage.stream_coverage(stream.send(questions, true)).await.unwrap().into_inner();
    assert_eq!(answers.count().await, 2);
    let name = "aopre.warranty.v1.CoverageService/StreamCoverage";
    let spans = traces.whole(&stream, name).await;
    let question = ["  question", "    SELECT units"];
    assert_eq!(tree(&spans, &stream), [&[name], &question[..], &question[..]].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_watches_has_each_message_in_his_trace() {
    let traces = traces();
    let world = World::stocked().await;
    let claim = world.filed("TRACE004", 3).await.claim_id;
    let trace = Trace::begin();
    let request = WatchClaimsRequest { cursor: "0".into(), ..Default::default() };
    let mut events = world.dealer("D1").claims.watch_claims(trace.send(request, true)).await.unwrap().into_inner();
    events.message().await.unwrap();
    assert_eq!(events.message().await.unwrap().unwrap().claim_id, claim);
    // Past the backlog: the next comes by the poller.
    world
        .dealer("D1")
        .claims
        .cancel_claim(CancelClaimRequest { request_id: id(), claim_id: claim, ..Default::default() })
        .await
        .unwrap();
    events.message().await.unwrap();
    drop(events);
    let name = "aopre.warranty.v1.ClaimService/WatchClaims";
    let spans = traces.whole(&trace, name).await;
    let messages = ["  message", "  WatchClaims", "    SELECT", "    COMMIT", "  message", "  message"];
    assert_eq!(tree(&spans, &trace), [&[name], &messages[..]].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_clock_does_is_linked_with_the_request_that_it_goes_on_from() {
    let traces = traces();
    let world = World::stocked().await;
    world.sold("TRACE005", 3).await;
    let (filing_trace, clock) = (Trace::begin(), Trace::begin());
    let claim = world.dealer("D1").claims.file_claim(filing_trace.send(filing("TRACE005"), true)).await.unwrap();
    let claim = claim.into_inner().claim.unwrap().claim_id;
    let guided = Trace::begin();
    let guidance = RecordGuidanceRequest {
        request_id: id(),
        claim_id: claim.clone(),
        outcome: GuidanceOutcome::Confirmed.into(),
        reason: "as told".into(),
        ..Default::default()
    };
    world.staff().claims.record_guidance(guided.send(guidance, true)).await.unwrap();
    // The authorization lapses.
    let (later, worker) = (world.clock.now() + chrono::Duration::days(40), world.worker());
    let span = tracing::info_span!(target: "warranty::test", "clock");
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", format!("00-{}-{}-01", clock.id, clock.parent).parse().unwrap());
    telemetry::join(&span, &headers);
    let done = worker::step(&worker, &world.evidence, later).instrument(span).await.unwrap();
    assert_eq!(done.lapsed, 1);
    let spans = traces.whole(&clock, "clock").await;
    let filed = traces.whole(&filing_trace, "aopre.warranty.v1.ClaimService/FileClaim").await;
    let [worked] = &spans.iter().filter(|span| !span.links.is_empty()).collect::<Vec<_>>()[..] else {
        panic!("{spans:?}")
    };
    let wrote = traces.whole(&guided, "aopre.warranty.v1.ClaimService/RecordGuidance").await;
    let wrote = wrote.iter().find(|span| span.span_id == worked.links[0].span_id).unwrap();
    assert_eq!((wrote.name.as_str(), worked.name.as_str()), ("RecordGuidance", "worker"));
    let about = |spans: &[Span]| -> Vec<String> {
        let transactions = spans.iter().filter(|span| attribute(span, "warranty.claim_id") == claim);
        transactions.map(|span| span.name.clone()).collect()
    };
    assert_eq!((about(&filed), about(&spans)), (vec!["FileClaim".to_owned()], vec!["worker".to_owned()]));
    assert!(tree(&spans, &clock).contains(&"    UPDATE claims".to_owned()), "{:?}", tree(&spans, &clock));
}
