//! The chassis alone: a small coverage service behind the gate, on a real listener.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream::BoxStream};
use http::{HeaderMap, HeaderValue};
use prost::Message;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use tonic::{
    Code, Request, Response, Status, Streaming, codec::CompressionEncoding, service::Routes, transport::Channel,
};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_reflection::pb::{v1, v1alpha};
use tonic_types::StatusExt;
use warranty::{
    auth::{Call, keys::KeyRing, token::Verifier},
    clock::Clock,
    config::Limits,
    contract::v1::{
        BatchCheckCoverageRequest, BatchCheckCoverageResponse, CheckCoverageRequest, CheckCoverageResponse,
        CoverageResult, StreamCoverageRequest, StreamCoverageResponse,
        coverage_service_client::CoverageServiceClient,
        coverage_service_server::{CoverageService, CoverageServiceServer},
    },
    server::{Chassis, probe, serve},
};

use crate::traces::{hex, traces};

const CHECK: &str = "/aopre.warranty.v1.CoverageService/CheckCoverage";
const SERVICE: &str = "aopre.warranty.v1.CoverageService";
const ORIGIN: &str = "https://app.example.com";
const MOST: usize = 64 * 1024;

// ---- the service under the gate

/// Does what the serial says: waits, panics, fails; any other serial is answered with who asked.
struct Desk {
    arrived: Semaphore,
    released: Semaphore,
}

#[tonic::async_trait]
impl CoverageService for Desk {
    async fn check_coverage(
        &self,
        request: Request<CheckCoverageRequest>,
    ) -> Result<Response<CheckCoverageResponse>, Status> {
        let call = request.extensions().get::<Call>().expect("the gate's").clone();
        let serial = request.into_inner().serial;
        self.arrived.add_permits(1);
        match serial.as_str() {
            "FOREVER" => std::future::pending().await,
            "HELD" => self.released.acquire().await.unwrap().forget(),
            "PANIC" => panic!("as asked"),
            "BARE" => return Err(Status::internal("SELECT secret FROM people")),
            _ => {}
        }
        Ok(Response::new(CheckCoverageResponse { serial, model: call.actor.to_string(), ..Default::default() }))
    }

    async fn batch_check_coverage(
        &self,
        request: Request<BatchCheckCoverageRequest>,
    ) -> Result<Response<BatchCheckCoverageResponse>, Status> {
        let results = request.into_inner().requests.iter().map(|_| CoverageResult::default()).collect();
        Ok(Response::new(BatchCheckCoverageResponse { results, ..Default::default() }))
    }

    type StreamCoverageStream = BoxStream<'static, Result<StreamCoverageResponse, Status>>;

    async fn stream_coverage(
        &self,
        request: Request<Streaming<StreamCoverageRequest>>,
    ) -> Result<Response<Self::StreamCoverageStream>, Status> {
        Ok(Response::new(echo(request.into_inner()).boxed()))
    }
}

/// Says back each question's id, until the caller's side ends; "FAIL" ends it with a status of tonic's own making.
fn echo(
    questions: Streaming<StreamCoverageRequest>,
) -> impl Stream<Item = Result<StreamCoverageResponse, Status>> + Send {
    questions.map(|question| {
        let correlation_id = question?.correlation_id;
        match correlation_id.as_str() {
            "FAIL" => Err(Status::internal("SELECT secret FROM people")),
            _ => Ok(StreamCoverageResponse { correlation_id, ..Default::default() }),
        }
    })
}

struct Running {
    address: SocketAddr,
    admin: SocketAddr,
    shutdown: CancellationToken,
    served: JoinHandle<anyhow::Result<()>>,
    desk: Arc<Desk>,
}

async fn start() -> Running {
    start_with(|_| {}).await
}

async fn start_with(change: impl FnOnce(&mut Chassis)) -> Running {
    let running = start_when(Arc::new(AtomicBool::new(true)), change).await;
    running.health_says(ServingStatus::Serving).await;
    running
}

/// What it needs is there once `there` says so.
async fn start_when(there: Arc<AtomicBool>, change: impl FnOnce(&mut Chassis)) -> Running {
    let desk = Arc::new(Desk { arrived: Semaphore::new(0), released: Semaphore::new(0) });
    let service = CoverageServiceServer::from_arc(desk.clone())
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(MOST);
    let mut chassis = chassis(Routes::new(service)).await;
    change(&mut chassis);
    let shutdown = chassis.shutdown.clone();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let admin = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, admin_address) = (listener.local_addr().unwrap(), admin.local_addr().unwrap());
    let ready = move || {
        let there = there.load(Ordering::Relaxed);
        async move { if there { Ok(()) } else { Err("the schema is too old".to_owned()) } }
    };
    let served = tokio::spawn(serve(listener, Some(admin), chassis, ready));
    Running { address, admin: admin_address, shutdown, served, desk }
}

async fn chassis(routes: Routes) -> Chassis {
    Chassis {
        routes,
        services: vec![SERVICE],
        verifier: verifier().await,
        clock: Clock::system(),
        limits: Limits {
            default_deadline: Duration::from_secs(30),
            max_deadline: Duration::from_secs(30),
            max_message_bytes: MOST,
            concurrency: 2,
            connections: 100,
            streams: 100,
            lame_duck: Duration::ZERO,
            drain: Duration::from_secs(20),
        },
        origins: vec![HeaderValue::from_static(ORIGIN)],
        reflection: true,
        shutdown: CancellationToken::new(),
    }
}

impl Running {
    /// Waits until health says so.
    async fn health_says(&self, status: ServingStatus) {
        let mut health = HealthClient::new(self.channel().await);
        let request = HealthCheckRequest { service: SERVICE.into() };
        let mut watch = health.watch(request).await.unwrap().into_inner();
        while watch.message().await.unwrap().unwrap().status() != status {}
    }

    async fn channel(&self) -> Channel {
        let endpoint = Channel::from_shared(format!("http://{}", self.address)).unwrap();
        endpoint.connect().await.unwrap()
    }

    /// Until `count` calls have reached the handler.
    async fn arrived(&self, count: u32) {
        self.desk.arrived.acquire_many(count).await.unwrap().forget();
    }

    /// Waits until nobody answers here any more.
    async fn refuses_connections(&self) {
        while TcpStream::connect(self.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }
}

// ---- tokens

const ISSUER: &str = "https://issuer.example.com";

/// The issuer's key, and the file that publishes it.
fn issuer() -> &'static (Ed25519KeyPair, PathBuf) {
    static KEY: OnceLock<(Ed25519KeyPair, PathBuf)> = OnceLock::new();
    KEY.get_or_init(|| {
        let pair = Ed25519KeyPair::generate().unwrap();
        let x = URL_SAFE_NO_PAD.encode(pair.public_key());
        let key = json!({"kty": "OKP", "crv": "Ed25519", "kid": "k1", "use": "sig", "alg": "EdDSA", "x": x});
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("chassis-jwks.json");
        std::fs::write(&file, json!({"keys": [key]}).to_string()).unwrap();
        (pair, file)
    })
}

async fn verifier() -> Arc<Verifier> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let source = issuer().1.to_str().unwrap();
    let keys = KeyRing::load(source.to_owned(), Duration::from_secs(10)).await.unwrap();
    Arc::new(Verifier::new(ISSUER.into(), "warranty".into(), keys))
}

/// What a dealer with `scope` sends as `authorization`.
fn token(scope: &str) -> String {
    token_for(scope, 600)
}

/// The same, valid for so many seconds.
fn token_for(scope: &str, seconds: i64) -> String {
    let now = Clock::system().now().timestamp();
    let claims = json!({
        "iss": ISSUER, "aud": "warranty", "sub": "erp", "exp": now + seconds,
        "dealer_id": "D1", "scope": scope,
    });
    let header = json!({"alg": "EdDSA", "typ": "JWT", "kid": "k1"});
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(header), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(issuer().0.sign(signed.as_bytes()));
    format!("Bearer {signed}.{signature}")
}

fn good_token() -> String {
    token("coverage.read")
}

/// A good token with the signature of another.
fn forged() -> String {
    let (good, other) = (good_token(), token("claims.read"));
    let (signed, signature) = (good.rsplit_once('.').unwrap(), other.rsplit_once('.').unwrap());
    format!("{}.{}", signed.0, signature.1)
}

// ---- asking

fn asked(serial: &str) -> Request<CheckCoverageRequest> {
    let mut request = Request::new(message(serial));
    let token = good_token().parse().unwrap();
    request.metadata_mut().insert("authorization", token);
    request
}

fn message(serial: &str) -> CheckCoverageRequest {
    CheckCoverageRequest { serial: serial.into(), ..Default::default() }
}

fn frame(message: &impl Message) -> Vec<u8> {
    let mut frame = vec![0];
    frame.extend(u32::try_from(message.encoded_len()).unwrap().to_be_bytes());
    message.encode(&mut frame).unwrap();
    frame
}

fn answered(serial: &str) -> CheckCoverageResponse {
    CheckCoverageResponse { serial: serial.into(), model: "dealer/D1".into(), ..Default::default() }
}

/// A request as no gRPC client would send it.
struct Raw {
    method: &'static str,
    path: &'static str,
    headers: HeaderMap,
    body: Vec<u8>,
    ends: bool,
}

/// A good one, to be spoilt.
fn raw(serial: &str) -> Raw {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/grpc"));
    headers.insert("te", HeaderValue::from_static("trailers"));
    headers.insert("authorization", good_token().parse().unwrap());
    Raw { method: "POST", path: CHECK, headers, body: frame(&message(serial)), ends: true }
}

impl Raw {
    fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(name, value.parse().unwrap());
        self
    }

    async fn send(self, address: SocketAddr) -> (u16, HeaderMap) {
        let tcp = TcpStream::connect(address).await.unwrap();
        let (client, connection) = h2::client::handshake(tcp).await.unwrap();
        tokio::spawn(connection);
        let mut request = http::Request::builder()
            .method(self.method)
            .uri(format!("http://{address}{}", self.path))
            .body(())
            .unwrap();
        *request.headers_mut() = self.headers;
        let mut client = client.ready().await.unwrap();
        let (answer, mut body) = client.send_request(request, false).unwrap();
        // The server may have answered and closed before all is sent.
        // Its prefix comes in two pieces.
        let (start, rest) = self.body.split_at(self.body.len().min(3));
        let _ = body.send_data(Bytes::copy_from_slice(start), false);
        let _ = body.send_data(Bytes::copy_from_slice(rest), self.ends);
        let answer = answer.await.unwrap();
        (answer.status().as_u16(), answer.headers().clone())
    }

    /// The status of an answer that is one.
    async fn refusal(self, address: SocketAddr) -> Told {
        let (http_status, headers) = self.send(address).await;
        assert_eq!(http_status, 200);
        Told::from(&Status::from_header_map(&headers).expect("a refusal"))
    }
}

/// One HTTP/1.0 exchange, as bytes: the answer is not chunked and ends with the connection.
async fn http1(address: SocketAddr, head: &str, body: &[u8]) -> (String, Vec<u8>) {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let head = format!("{head}host: localhost\r\ncontent-length: {length}\r\n\r\n");
    tcp.write_all(head.as_bytes()).await.unwrap();
    tcp.write_all(body).await.unwrap();
    let mut answer = Vec::new();
    tcp.read_to_end(&mut answer).await.unwrap();
    let split = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..split].to_vec()).unwrap();
    (head.to_lowercase(), answer[split + 4..].to_vec())
}

/// All that a refusal says.
#[derive(Debug, PartialEq)]
struct Told {
    code: Code,
    reason: String,
    message: String,
    metadata: BTreeMap<String, String>,
    retry: bool,
}

impl From<&Status> for Told {
    fn from(status: &Status) -> Self {
        let info = status.get_details_error_info().expect("an ErrorInfo");
        assert_eq!(info.domain, "warranty.aopre.com", "{status:?}");
        Self {
            code: status.code(),
            reason: info.reason,
            message: status.message().into(),
            metadata: info.metadata.into_iter().collect(),
            retry: status.get_details_retry_info().is_some(),
        }
    }
}

fn told(code: Code, reason: &str, message: &str) -> Told {
    Told { code, reason: reason.into(), message: message.into(), metadata: BTreeMap::new(), retry: false }
}

fn too_large() -> Told {
    let message = format!("the message is larger than {MOST} bytes");
    Told {
        metadata: BTreeMap::from([("max_message_bytes".into(), MOST.to_string())]),
        ..told(Code::ResourceExhausted, "TOO_LARGE", &message)
    }
}

fn deadline_passed() -> Told {
    let message = "the deadline passed before the answer was ready";
    told(Code::DeadlineExceeded, "DEADLINE", message)
}

fn malformed(message: &str) -> Told {
    told(Code::InvalidArgument, "MALFORMED_REQUEST", message)
}

// ---- what a call may be

#[tokio::test]
async fn a_call_is_answered_as_the_caller_that_the_token_names() {
    let running = start().await;
    let mut client = CoverageServiceClient::new(running.channel().await);
    let answer = client.check_coverage(asked("SN1")).await.unwrap();
    assert_eq!(answer.into_inner(), answered("SN1"));
}

#[tokio::test]
async fn a_handler_that_waits_for_ever_meets_the_callers_deadline() {
    let running = start().await;
    let call = raw("FOREVER").header("grpc-timeout", "200m");
    let begun = Instant::now();
    assert_eq!(call.refusal(running.address).await, deadline_passed());
    assert!(begun.elapsed() >= Duration::from_millis(190));
}

#[tokio::test]
async fn a_body_that_never_ends_meets_the_deadline() {
    let running = start().await;
    let whole = frame(&message("SN1"));
    for body in [vec![], whole[..3].to_vec(), whole] {
        let mut call = raw("SN1").header("grpc-timeout", "100m");
        (call.body, call.ends) = (body, false);
        assert_eq!(call.refusal(running.address).await, deadline_passed());
    }
}

#[tokio::test]
async fn a_timeout_that_is_none_is_refused() {
    let running = start().await;
    for timeout in ["soon", "1", "S", "-1S", "+1S", " 1S", "1 S", "1.5S", "1s", "100000000m"] {
        let call = raw("SN1").header("grpc-timeout", timeout);
        let expected = "grpc-timeout is not one to eight digits and a unit of H, M, S, m, u, n";
        assert_eq!(call.refusal(running.address).await, malformed(expected));
    }
}

#[tokio::test]
async fn a_message_too_large_is_refused_by_its_prefix() {
    let running = start().await;
    let mut call = raw("SN1");
    // It announces one byte too many and sends nothing of it.
    call.body = vec![0];
    call.body.extend(u32::try_from(MOST + 1).unwrap().to_be_bytes());
    call.ends = false;
    assert_eq!(call.refusal(running.address).await, too_large());
}

#[tokio::test]
async fn a_message_too_large_once_decompressed_is_refused() {
    let running = start().await;
    let mut client = CoverageServiceClient::new(running.channel().await).send_compressed(CompressionEncoding::Gzip);
    let refused = client.check_coverage(asked(&"A".repeat(20 * MOST))).await;
    assert_eq!(Told::from(&refused.unwrap_err()), too_large());
    let answer = client.check_coverage(asked("SN1")).await.unwrap();
    assert_eq!(answer.into_inner(), answered("SN1"));
}

#[tokio::test]
async fn what_is_not_one_well_formed_message_is_refused() {
    let running = start().await;
    let whole = frame(&message("SN1"));
    let cases = [
        ([&whole[..], &whole[..]].concat(), "more than one message on a unary call"),
        ([&whole[..], &[0]].concat(), "more than one message on a unary call"),
        (whole[..whole.len() - 1].to_vec(), "the message is shorter than announced"),
        (vec![], "the message is shorter than announced"),
        (vec![0, 0, 0, 0, 2, 0xff, 0xff], "the message cannot be decoded"),
        (vec![7, 0, 0, 0, 0], "the message cannot be decoded"),
        (vec![1, 0, 0, 0, 0], "the message cannot be decoded"),
    ];
    for (body, expected) in cases {
        let mut call = raw("SN1");
        call.body = body;
        assert_eq!(call.refusal(running.address).await, malformed(expected));
    }
}

#[tokio::test]
async fn a_compression_that_is_not_spoken_is_refused_with_those_that_are() {
    let running = start().await;
    let mut call = raw("SN1").header("grpc-encoding", "snappy");
    call.body[0] = 1;
    let (_, headers) = call.send(running.address).await;
    let refusal = Status::from_header_map(&headers).unwrap();
    let message = "Content is compressed with `snappy` which isn't supported";
    let expected = told(Code::Unimplemented, "MALFORMED_REQUEST", message);
    assert_eq!(Told::from(&refusal), expected);
    assert_eq!(headers["grpc-accept-encoding"], "gzip,identity");
}

#[tokio::test]
async fn only_grpc_posts_are_served() {
    let running = start().await;
    let mut get = raw("SN1");
    get.method = "GET";
    let json = raw("SN1").header("content-type", "application/json");
    let prefixed = raw("SN1").header("content-type", "application/grpcfoo");
    let proto = raw("SN1").header("content-type", "application/grpc+proto");
    let mut got = Vec::new();
    for call in [get, json, prefixed, proto] {
        got.push(call.send(running.address).await.0);
    }
    assert_eq!(got, [405, 415, 415, 200]);
}

// ---- who may

#[tokio::test]
async fn a_caller_without_an_accepted_token_is_unauthenticated() {
    let running = start().await;
    let mut without = raw("SN1");
    without.headers.remove("authorization");
    let mut twice = raw("SN1");
    twice.headers.append("authorization", good_token().parse().unwrap());
    let basic = raw("SN1").header("authorization", "Basic Zm9vOmJhcg==");
    for call in [without, twice, basic] {
        let message = "one `authorization: Bearer` header with a token is required";
        let expected = told(Code::Unauthenticated, "TOKEN_REFUSED", message);
        assert_eq!(call.refusal(running.address).await, expected);
    }
    let refused = raw("SN1").header("authorization", &forged());
    let message = "the token's signature does not verify";
    let expected = told(Code::Unauthenticated, "TOKEN_REFUSED", message);
    assert_eq!(refused.refusal(running.address).await, expected);
}

#[tokio::test]
async fn a_token_without_the_scope_is_denied() {
    let running = start().await;
    let call = raw("SN1").header("authorization", &token("claims.read"));
    let message = "the token lacks the scope coverage.read";
    let expected = told(Code::PermissionDenied, "SCOPE_MISSING", message);
    assert_eq!(call.refusal(running.address).await, expected);
}

#[tokio::test]
async fn a_process_with_a_method_that_nobody_decided_on_does_not_start() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut chassis = chassis(Routes::default()).await;
    chassis.services = vec!["grpc.health.v1.Health"];
    let refused = serve(listener, None, chassis, || async { Ok(()) }).await;
    assert_eq!(refused.unwrap_err().to_string(), "the contracts know no service grpc.health.v1.Health");
}

#[tokio::test]
async fn a_method_that_nobody_serves_is_told_to_known_callers_only() {
    let running = start().await;
    let paths = ["/aopre.warranty.v1.CoverageService/Nothing", "/aopre.warranty.v1.ClaimService/FileClaim", "/"];
    for path in paths {
        let mut call = raw("SN1");
        call.path = path;
        let message = "no such method in this process";
        let expected = told(Code::Unimplemented, "UNKNOWN_METHOD", message);
        assert_eq!(call.refusal(running.address).await, expected);
        let mut stranger = raw("SN1").header("authorization", &forged());
        stranger.path = path;
        let refusal = stranger.refusal(running.address).await;
        assert_eq!(refusal.code, Code::Unauthenticated);
    }
}

// ---- calls that stream

/// An open StreamCoverage: what is sent on the first is answered on the second.
struct Talk {
    asking: tokio::sync::mpsc::Sender<StreamCoverageRequest>,
    answers: Streaming<StreamCoverageResponse>,
}

impl Talk {
    async fn open(
        running: &Running,
        authorization: &str,
        change: impl FnOnce(&mut Request<()>),
    ) -> Result<Self, Status> {
        let (asking, asked) = tokio::sync::mpsc::channel(1);
        let mut with = Request::new(());
        with.metadata_mut().insert("authorization", authorization.parse().unwrap());
        change(&mut with);
        let asked = tokio_stream::wrappers::ReceiverStream::new(asked);
        let request = Request::from_parts(with.metadata().clone(), Default::default(), asked);
        let mut client = CoverageServiceClient::new(running.channel().await);
        Ok(Self { asking, answers: client.stream_coverage(request).await?.into_inner() })
    }

    async fn ask(&mut self, name: &str) -> Result<Option<StreamCoverageResponse>, Status> {
        let question = StreamCoverageRequest { correlation_id: name.into(), request: None };
        self.asking.send(question).await.unwrap();
        self.answers.message().await
    }

    /// Asked once and answered, then how it ends.
    async fn ended(mut self) -> Told {
        assert_eq!(self.ask("Q1").await.unwrap().unwrap().correlation_id, "Q1");
        Told::from(&self.answers.message().await.unwrap_err())
    }
}

#[tokio::test]
async fn a_stream_has_no_deadline_but_the_callers_own() {
    let change = |chassis: &mut Chassis| {
        chassis.limits.default_deadline = Duration::from_millis(100);
        chassis.limits.max_deadline = Duration::from_millis(100);
    };
    let running = start_with(change).await;
    let talk = Talk::open(&running, &good_token(), |with| with.set_timeout(Duration::from_millis(700))).await.unwrap();
    let began = Instant::now();
    assert_eq!(talk.ended().await, told(Code::DeadlineExceeded, "DEADLINE", "the deadline passed"));
    assert!(began.elapsed() > Duration::from_millis(400), "it was cut off by the limits of calls with one answer");
}

#[tokio::test]
async fn a_stream_ends_with_its_token() {
    let running = start().await;
    let talk = Talk::open(&running, &token_for("coverage.read", 2), |_| {}).await.unwrap();
    assert_eq!(talk.ended().await, told(Code::Unauthenticated, "TOKEN_REFUSED", "the token expired"));
}

#[tokio::test]
async fn a_stream_ends_when_the_process_stops() {
    let running = start().await;
    let mut talk = Talk::open(&running, &good_token(), |_| {}).await.unwrap();
    talk.ask("Q1").await.unwrap().unwrap();
    running.shutdown.cancel();
    let stopped = told(Code::Unavailable, "OVERLOADED", "this process stops; go on with another");
    let ended = Told::from(&talk.answers.message().await.unwrap_err());
    assert_eq!(ended, Told { retry: true, ..stopped });
    running.served.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_stream_keeps_its_place_until_it_ends() {
    let running = start_with(|chassis| chassis.limits.concurrency = 1).await;
    let mut talk = Talk::open(&running, &good_token(), |_| {}).await.unwrap();
    talk.ask("Q1").await.unwrap().unwrap();
    assert_eq!(raw("SN1").refusal(running.address).await.reason, "OVERLOADED");
    drop(talk);
    let mut client = CoverageServiceClient::new(running.channel().await);
    while client.check_coverage(asked("SN1")).await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn whoever_opens_streams_shuts_nobody_out() {
    let running = start_with(|chassis| chassis.limits.concurrency = 64).await;
    let mut open = Vec::new();
    for _ in 0..32 {
        open.push(Talk::open(&running, &good_token(), |_| {}).await.unwrap());
    }
    let most = "a caller has at most 32 streams open in a process";
    let refused = Talk::open(&running, &good_token(), |_| {}).await.err().unwrap();
    assert_eq!(Told::from(&refused), told(Code::ResourceExhausted, "RATE_LIMITED", most));
    let mut client = CoverageServiceClient::new(running.channel().await);
    client.check_coverage(asked("SN1")).await.expect("a quarter of the places is not for streams");
    drop(open.pop());
    while Talk::open(&running, &good_token(), |_| {}).await.is_err() {
        tokio::task::yield_now().await;
    }

    let running = start_with(|chassis| chassis.limits.concurrency = 4).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(Talk::open(&running, &good_token(), |_| {}).await.unwrap());
    }
    let refused = Talk::open(&running, &good_token(), |_| {}).await.err().unwrap();
    let expected = Told { retry: true, ..told(Code::Unavailable, "OVERLOADED", "too many streams at once") };
    assert_eq!(Told::from(&refused), expected);
    let mut client = CoverageServiceClient::new(running.channel().await);
    client.check_coverage(asked("SN1")).await.expect("the place that is not for streams");
}

#[tokio::test]
async fn a_caller_who_takes_nothing_keeps_his_place_no_longer_than_his_deadline() {
    let running = start_with(|chassis| chassis.limits.concurrency = 1).await;
    let tcp = TcpStream::connect(running.address).await.unwrap();
    // No window: not a byte of an answer can be sent.
    let handshake = h2::client::Builder::new().initial_window_size(0).handshake::<_, Bytes>(tcp);
    let (client, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let request =
        http::Request::post(format!("http://{}/aopre.warranty.v1.CoverageService/StreamCoverage", running.address))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("grpc-timeout", "500m")
            .header("authorization", good_token())
            .body(())
            .unwrap();
    let mut client = client.ready().await.unwrap();
    let (answer, mut asking) = client.send_request(request, false).unwrap();
    let question = StreamCoverageRequest { correlation_id: "Q1".into(), request: None };
    asking.send_data(frame(&question).into(), false).unwrap();
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(raw("SN1").refusal(running.address).await.reason, "OVERLOADED", "the stream has the only place");
    let mut other = CoverageServiceClient::new(running.channel().await);
    while other.check_coverage(asked("SN1")).await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_goes_wrong_on_a_stream_is_told_as_on_any_call() {
    let running = start().await;
    let mut talk = Talk::open(&running, &good_token(), |_| {}).await.unwrap();
    let failed = Told::from(&talk.ask("FAIL").await.unwrap_err());
    assert_eq!((failed.code, failed.reason.as_str()), (Code::Internal, "INTERNAL"));
    assert!(!failed.message.contains("SELECT"), "{}", failed.message);

    let mut talk = Talk::open(&running, &good_token(), |_| {}).await.unwrap();
    assert_eq!(Told::from(&talk.ask(&"Q".repeat(MOST)).await.unwrap_err()), too_large());

    let refused = Talk::open(&running, &token("claims.read"), |_| {}).await.err().unwrap();
    assert_eq!(Told::from(&refused).reason, "SCOPE_MISSING");
}

// ---- when it is too much, and when we fail

#[tokio::test]
async fn one_call_too_many_is_refused_at_once_while_health_answers() {
    let running = start().await;
    let channel = running.channel().await;
    let held: Vec<_> = (0..2)
        .map(|_| {
            let mut client = CoverageServiceClient::new(channel.clone());
            tokio::spawn(async move { client.check_coverage(asked("HELD")).await })
        })
        .collect();
    running.arrived(2).await;

    // Neither a free place nor the caller's deadline comes: the answer can only be immediate.
    let refusal = raw("SN1").refusal(running.address).await;
    let expected = Told { retry: true, ..told(Code::Unavailable, "OVERLOADED", "too many calls at once") };
    assert_eq!(refusal, expected);
    let address = format!("http://{}", running.address);
    let health = probe::health(&address, SERVICE).await;
    assert_eq!(health, Ok(ServingStatus::Serving));

    running.desk.released.add_permits(2);
    for call in held {
        assert_eq!(call.await.unwrap().unwrap().into_inner(), answered("HELD"));
    }
    let mut client = CoverageServiceClient::new(channel);
    client.check_coverage(asked("SN1")).await.expect("a free place");
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_its_place() {
    let running = start_with(|chassis| chassis.limits.concurrency = 1).await;
    let mut client = CoverageServiceClient::new(running.channel().await);
    let mut gone = client.clone();
    let call = tokio::spawn(async move { gone.check_coverage(asked("FOREVER")).await });
    running.arrived(1).await;
    call.abort();
    while client.check_coverage(asked("SN1")).await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn our_fault_is_internal_with_the_trace_id_and_nothing_else() {
    traces();
    let running = start().await;
    let trace_id = "4bf92f3577b34da6a3ce929d0e0e4736";
    for serial in ["PANIC", "BARE"] {
        let parent = format!("00-{trace_id}-00f067aa0ba902b7-00");
        let call = raw(serial).header("traceparent", &parent);
        let message = "our fault; the trace id names this call";
        let expected = Told {
            metadata: BTreeMap::from([("trace_id".into(), trace_id.into())]),
            ..told(Code::Internal, "INTERNAL", message)
        };
        assert_eq!(call.refusal(running.address).await, expected);
    }
}

// ---- browsers

#[tokio::test]
async fn a_browser_from_a_known_origin_is_served() {
    let running = start().await;
    let bearer = good_token();
    let head = format!(
        "POST {CHECK} HTTP/1.0\r\norigin: {ORIGIN}\r\nauthorization: {bearer}\r\n\
         content-type: application/grpc-web+proto\r\nx-grpc-web: 1\r\n"
    );
    let (head, body) = http1(running.address, &head, &frame(&message("SN1"))).await;
    assert!(head.starts_with("http/1.0 200 ok"), "{head}");
    assert!(head.contains(&format!("access-control-allow-origin: {ORIGIN}")), "{head}");
    let exposed = "access-control-expose-headers: grpc-status,grpc-message,grpc-status-details-bin";
    assert!(head.contains(exposed), "{head}");
    let trailers = b"grpc-status:0\r\n";
    let mut expected = frame(&answered("SN1"));
    expected.extend([0x80, 0, 0, 0, u8::try_from(trailers.len()).unwrap()]);
    expected.extend(trailers);
    assert_eq!(body, expected);
}

#[tokio::test]
async fn a_browser_learns_from_the_headers_why_it_is_refused() {
    let running = start().await;
    let head = format!(
        "POST {CHECK} HTTP/1.0\r\norigin: {ORIGIN}\r\n\
         content-type: application/grpc-web+proto\r\nx-grpc-web: 1\r\n"
    );
    let (head, body) = http1(running.address, &head, &frame(&message("SN1"))).await;
    let expected = [
        "http/1.0 200 ok",
        "access-control-allow-origin: https://app.example.com",
        "grpc-status: 16",
        "grpc-status-details-bin: ",
    ];
    for line in expected {
        assert!(head.contains(line), "{line} in {head}");
    }
    assert_eq!(body, b"");
}

#[tokio::test]
async fn a_browser_from_elsewhere_is_refused() {
    let running = start().await;
    let bearer = good_token();
    let head = format!(
        "POST {CHECK} HTTP/1.0\r\norigin: https://evil.example.com\r\nauthorization: {bearer}\r\n\
         content-type: application/grpc-web+proto\r\n"
    );
    let (head, body) = http1(running.address, &head, &frame(&message("SN1"))).await;
    assert!(head.starts_with("http/1.0 403 forbidden"), "{head}");
    assert_eq!(body, b"this origin may not call");
    assert_eq!(running.desk.arrived.available_permits(), 0);
}

#[tokio::test]
async fn a_preflight_names_what_may_be_sent() {
    let running = start().await;
    let preflight = |origin: &str| {
        format!(
            "OPTIONS {CHECK} HTTP/1.0\r\norigin: {origin}\r\naccess-control-request-method: POST\r\n\
             access-control-request-headers: authorization,content-type,x-grpc-web\r\n"
        )
    };
    let (head, _) = http1(running.address, &preflight(ORIGIN), b"").await;
    assert!(head.starts_with("http/1.0 200 ok"), "{head}");
    let expected = [
        "access-control-allow-origin: https://app.example.com",
        "access-control-allow-methods: post",
        "access-control-allow-headers: authorization,content-type,x-grpc-web,x-user-agent,grpc-timeout,traceparent",
    ];
    for line in expected {
        assert!(head.contains(line), "{line} in {head}");
    }
    let (head, _) = http1(running.address, &preflight("https://evil.example.com"), b"").await;
    assert!(head.starts_with("http/1.0 403 forbidden"), "{head}");
}

// ---- what tools and probes see

#[tokio::test]
async fn reflection_lists_the_services_in_both_versions() {
    let running = start().await;
    let expected = [SERVICE, "grpc.health.v1.Health"];

    let mut client = v1::server_reflection_client::ServerReflectionClient::new(running.channel().await);
    let ask = v1::ServerReflectionRequest {
        message_request: Some(v1::server_reflection_request::MessageRequest::ListServices(String::new())),
        ..Default::default()
    };
    let answers = client.server_reflection_info(tokio_stream::iter([ask])).await;
    let answer = answers.unwrap().into_inner().message().await.unwrap().unwrap();
    let Some(v1::server_reflection_response::MessageResponse::ListServicesResponse(list)) = answer.message_response
    else {
        panic!("no list");
    };
    let mut names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    names.sort();
    assert_eq!(names, expected);

    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(running.channel().await);
    let ask = v1alpha::ServerReflectionRequest {
        message_request: Some(v1alpha::server_reflection_request::MessageRequest::ListServices(String::new())),
        ..Default::default()
    };
    let answers = client.server_reflection_info(tokio_stream::iter([ask])).await;
    let answer = answers.unwrap().into_inner().message().await.unwrap().unwrap();
    let Some(v1alpha::server_reflection_response::MessageResponse::ListServicesResponse(list)) =
        answer.message_response
    else {
        panic!("no list");
    };
    let mut names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    names.sort();
    assert_eq!(names, expected);
}

#[tokio::test]
async fn reflection_can_be_turned_off() {
    let running = start_with(|chassis| chassis.reflection = false).await;
    let mut call = raw("SN1");
    call.path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    let (_, headers) = call.send(running.address).await;
    assert_eq!(headers["grpc-status"], "12");
}

#[tokio::test]
async fn health_is_told_by_service_name() {
    let running = start().await;
    let address = format!("http://{}", running.address);
    for service in ["", SERVICE] {
        let health = probe::health(&address, service).await;
        assert_eq!(health, Ok(ServingStatus::Serving));
    }
    let unknown = probe::health(&address, "aopre.warranty.v1.Nothing").await;
    assert_eq!(unknown, Err(format!("{address} refuses: service not registered")));
}

#[tokio::test]
async fn liveness_does_not_depend_on_readiness_and_health_waits_for_it() {
    let there = Arc::new(AtomicBool::new(false));
    let running = start_when(there.clone(), |_| {}).await;
    let (head, body) = http1(running.admin, "GET /livez HTTP/1.0\r\n", b"").await;
    assert!(head.starts_with("http/1.0 200 ok"), "{head}");
    assert_eq!(body, b"alive");
    let (head, body) = http1(running.admin, "GET /readyz HTTP/1.0\r\n", b"").await;
    assert!(head.starts_with("http/1.0 503"), "{head}");
    assert_eq!(body, b"the schema is too old");
    running.health_says(ServingStatus::NotServing).await;
    there.store(true, Ordering::Relaxed);
    running.health_says(ServingStatus::Serving).await;
    let (head, _) = http1(running.admin, "GET /readyz HTTP/1.0\r\n", b"").await;
    assert!(head.starts_with("http/1.0 200 ok"), "{head}");
}

#[tokio::test]
async fn a_drain_fails_no_call_in_flight() {
    let running = start_with(|chassis| chassis.limits.concurrency = 40).await;
    let channel = running.channel().await;
    let mut watch = HealthClient::new(running.channel().await)
        .watch(HealthCheckRequest { service: SERVICE.into() })
        .await
        .unwrap()
        .into_inner();
    let first = watch.message().await.unwrap().unwrap();
    assert_eq!(first.status(), ServingStatus::Serving);
    let held: Vec<_> = (0..40)
        .map(|_| {
            let mut client = CoverageServiceClient::new(channel.clone());
            tokio::spawn(async move { client.check_coverage(asked("HELD")).await })
        })
        .collect();
    running.arrived(40).await;

    running.shutdown.cancel();
    let second = watch.message().await.unwrap().unwrap();
    assert_eq!(second.status(), ServingStatus::NotServing);
    assert_eq!(watch.message().await.unwrap(), None);
    running.refuses_connections().await;
    assert!(!running.served.is_finished());

    running.desk.released.add_permits(40);
    for call in held {
        assert_eq!(call.await.unwrap().unwrap().into_inner(), answered("HELD"));
    }
    running.served.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_drain_ends_at_its_limit() {
    let change = |chassis: &mut Chassis| chassis.limits.drain = Duration::from_millis(50);
    let running = start_with(change).await;
    let mut client = CoverageServiceClient::new(running.channel().await);
    let call = tokio::spawn(async move { client.check_coverage(asked("FOREVER")).await });
    running.arrived(1).await;
    running.shutdown.cancel();
    running.served.await.unwrap().unwrap();
    assert!(!call.is_finished());
}

#[tokio::test]
async fn a_connection_too_many_waits_for_a_place() {
    let running = start_with(|chassis| chassis.limits.connections = 1).await;
    let first = running.channel().await;
    let mut client = CoverageServiceClient::new(first);
    client.check_coverage(asked("SN1")).await.unwrap();
    let address = running.address;
    let second = tokio::spawn(async move { raw("SN2").send(address).await.0 });
    client.check_coverage(asked("SN1")).await.unwrap();
    assert_eq!(running.desk.arrived.available_permits(), 2);
    assert!(!second.is_finished());
    drop(client);
    assert_eq!(second.await.unwrap(), 200);
}

// ---- traces and logs

#[tokio::test]
async fn a_call_joins_its_callers_trace() {
    let traces = traces();
    let running = start().await;
    let (trace_id, parent) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    let call = raw("SN1").header("traceparent", &format!("00-{trace_id}-{parent}-01"));
    assert_eq!(call.send(running.address).await.0, 200);
    let spans = traces.spans(trace_id).await;
    assert_eq!(spans.len(), 1, "{spans:?}");
    let (span, service) = &spans[0];
    assert_eq!(service, "warranty-coverage");
    assert_eq!(span.name, CHECK.trim_start_matches('/'));
    assert_eq!(hex(&span.parent_span_id), parent);
    for (key, value) in
        [("rpc.system.name", "grpc"), ("rpc.method", CHECK.trim_start_matches('/')), ("rpc.status_code", "OK")]
    {
        let found = span.attributes.iter().find(|attribute| attribute.key == key);
        assert!(format!("{found:?}").contains(&format!("{value:?}")), "{key}: {found:?}");
    }
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Lines {
    /// The lines of calls: level, method, code, caller.
    fn calls(&self) -> Vec<[String; 4]> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .filter(|line| line["message"] == "call")
            .map(|line| {
                ["level", "method", "code", "caller"].map(|key| line[key].as_str().unwrap_or_default().to_owned())
            })
            .collect()
    }
}

#[tokio::test]
async fn each_call_is_one_log_line_also_one_whose_caller_went_away() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().json().flatten_event(true).with_writer(move || writer.clone()).finish();
    // Server and client run on this thread.
    let _logging = tracing::subscriber::set_default(subscriber);
    let running = start().await;
    let mut client = CoverageServiceClient::new(running.channel().await);
    client.check_coverage(asked("SN1")).await.unwrap();
    raw("PANIC").refusal(running.address).await;
    raw("SN1").header("authorization", &forged()).refusal(running.address).await;
    let mut unknown = raw("SN1");
    unknown.path = "/made.Up/Path";
    unknown.refusal(running.address).await;
    running.arrived(2).await;
    let call = tokio::spawn(async move { client.check_coverage(asked("FOREVER")).await });
    running.arrived(1).await;
    call.abort();
    while lines.calls().len() < 5 {
        tokio::task::yield_now().await;
    }
    // A stream's line waits for its end.
    let mut talk = Talk::open(&running, &good_token(), |_| {}).await.unwrap();
    talk.ask("Q1").await.unwrap();
    assert_eq!(lines.calls().len(), 5);
    drop(talk.asking);
    assert_eq!(talk.answers.message().await.unwrap(), None);
    while lines.calls().len() < 6 {
        tokio::task::yield_now().await;
    }
    let expected = [
        ["INFO", CHECK, "OK", "dealer/D1"],
        ["ERROR", CHECK, "INTERNAL", "dealer/D1"],
        ["INFO", CHECK, "UNAUTHENTICATED", "-"],
        ["INFO", "_OTHER", "UNIMPLEMENTED", "dealer/D1"],
        ["INFO", CHECK, "CANCELLED", "dealer/D1"],
        ["INFO", "/aopre.warranty.v1.CoverageService/StreamCoverage", "OK", "dealer/D1"],
    ];
    assert_eq!(lines.calls(), expected);
}
