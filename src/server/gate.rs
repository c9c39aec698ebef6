//! The one ladder that every call climbs before its handler. A rung refuses with a status that carries its reason.

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::FutureExt;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use tracing::{Instrument, Span, field::Empty};

use super::{
    request,
    request_log::RequestLog,
    stream::{self, Life, OpenStreams},
};
use crate::{
    auth::{
        Call,
        methods::{Denied, Served},
        token::{self, TokenRefused, Verifier},
    },
    clock::Clock,
    config::Limits,
    contract::v1::ErrorReason,
    metrics,
    service::status::status,
    telemetry,
};

/// What the ladder rests on.
pub(super) struct Gate {
    pub(super) verifier: Arc<Verifier>,
    pub(super) clock: Clock,
    pub(super) limits: Limits,
    /// The calls that may still begin.
    pub(super) places: Arc<Semaphore>,
    /// The streams among them.
    pub(super) streams: OpenStreams,
    /// What this process serves, by path, and how its calls are measured.
    pub(super) methods: HashMap<&'static str, (Served, Arc<metrics::Calls>)>,
    /// How calls of what nobody serves are measured.
    pub(super) unknown: Arc<metrics::Calls>,
    /// Cancelled when nothing new is accepted any more: streams, which may have no end of their own, end then.
    pub(super) stop: CancellationToken,
    /// Tells calls that are too many.
    pub(super) full: Full,
}

/// What a call that is one too many is told: made once, for refusing must cost little, or it takes what answering needs. Such a
/// call has no span and no log line of its own; a line a second says that there are any.
pub(super) struct Full {
    headers: HeaderMap,
    begin: std::time::Instant,
    told: AtomicU64,
}

impl Default for Full {
    fn default() -> Self {
        let refused = refuse(Code::Unavailable, ErrorReason::Overloaded, "too many calls at once");
        let headers = refused.into_http::<Body>().into_parts().0.headers;
        Self { headers, begin: std::time::Instant::now(), told: AtomicU64::new(u64::MAX) }
    }
}

impl Full {
    fn answer(&self, calls: &metrics::Calls) -> Response {
        metrics::shed();
        calls.ended(Code::Unavailable as usize, Duration::ZERO);
        let second = self.begin.elapsed().as_secs();
        if self.told.swap(second, Ordering::Relaxed) != second {
            tracing::warn!("too many calls at once: some of this second were refused");
        }
        let mut answer = Response::new(Body::empty());
        *answer.headers_mut() = self.headers.clone();
        answer
    }
}

/// What a method that nobody serves is called.
pub(super) const OTHER: &str = "_OTHER";

/// The middleware. tonic would serve GET and `application/json`; health and reflection are for everybody, always.
pub(super) async fn pass(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    if request.method() != http::Method::POST {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let grpc = |value: &HeaderValue| value == "application/grpc" || value == "application/grpc+proto";
    if !request.headers().get(header::CONTENT_TYPE).is_some_and(grpc) {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response();
    }
    let path = request.uri().path();
    if path.starts_with("/grpc.health.") || path.starts_with("/grpc.reflection.") {
        return next.run(request).await;
    }
    let known = gate.methods.get(path);
    let calls = known.map_or(&gate.unknown, |(_, calls)| calls);
    let Ok(place) = Arc::clone(&gate.places).try_acquire_owned() else { return gate.full.answer(calls) };
    let calls = Arc::clone(calls);
    let method = known.map(|(served, _)| *served);
    // A path that nobody serves is no name for a span or a log line: callers make them up.
    let name = method.map_or(OTHER, |served| served.method.path);
    let span = span(name, request.headers());
    let trace_id = telemetry::trace_id(&span);
    span.record("trace_id", &trace_id);
    let start = std::time::Instant::now();
    let mut log =
        RequestLog { span: span.clone(), method: name, trace_id, caller: None, code: Code::Cancelled, start, calls };
    let answer = gate.answer(method, request, next, &mut log, place).instrument(span).await;
    let (answer, life) = answer.unwrap_or_else(|refused| (refused.into_http(), None));
    log.code = code(&answer);
    match life {
        // A stream's log line waits for its end.
        Some(life) if log.code == Code::Ok => stream::until(answer, life, log),
        _ => answer,
    }
}

/// The call's span, child of the caller's; by the semantic conventions' names.
fn span(path: &'static str, headers: &HeaderMap) -> Span {
    let method = path.trim_start_matches('/');
    let span = tracing::info_span!(
        "rpc",
        otel.name = if method == OTHER { "grpc" } else { method },
        otel.kind = "server",
        otel.status_code = Empty,
        rpc.system.name = "grpc",
        rpc.method = method,
        rpc.status_code = Empty,
        "error.type" = Empty,
        trace_id = Empty,
    );
    telemetry::join(&span, headers);
    span
}

impl Gate {
    /// Within the caller's deadline; a panic is an answer too. The answer of a call that streams
    /// comes with what it lives on.
    async fn answer(
        &self,
        method: Option<Served>,
        request: Request,
        next: Next,
        log: &mut RequestLog,
        place: OwnedSemaphorePermit,
    ) -> Result<(Response, Option<Life>), Status> {
        let asked = request::timeout(request.headers())?;
        let deadline = Instant::now() + request::budget(asked, &self.limits);
        let stream = asked.map(|asked| Instant::now() + asked);
        let work = self.admit(method, request, next, log, (deadline, stream, Arc::new(place)));
        match timeout_at(deadline, AssertUnwindSafe(work).catch_unwind()).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_panic)) => Err(internal("the handler panicked")),
            Err(_elapsed) => {
                let message = "the deadline passed before the answer was ready";
                Err(refuse(Code::DeadlineExceeded, ErrorReason::Deadline, message))
            }
        }
    }

    /// `stream` is the deadline of a call that streams: what the caller asked for, else none.
    async fn admit(
        &self,
        served: Option<Served>,
        request: Request,
        next: Next,
        log: &mut RequestLog,
        (deadline, stream, place): (Instant, Option<Instant>, Arc<OwnedSemaphorePermit>),
    ) -> Result<(Response, Option<Life>), Status> {
        let (mut parts, body) = request.into_parts();
        let now = self.clock.now();
        let identity = self.verifier.verify(token::bearer(&parts.headers).map_err(unauthenticated)?, now).await;
        let identity = identity.map_err(unauthenticated)?;
        log.caller = Some(identity.actor.to_string());
        let Served { method, takes_many, gives_many } = served.ok_or_else(unknown_method)?;
        method.admit(&identity).map_err(denied)?;
        let open = (takes_many || gives_many).then(|| self.streams.open(&identity.actor.to_string())).transpose()?;
        let body = match takes_many {
            true => body,
            false => Body::from(request::one_message(body, self.limits.max_message_bytes).await?),
        };
        let life = open.map(|open| Life {
            deadline: stream,
            token: (identity.expires_at - now).to_std().unwrap_or_default(),
            stop: self.stop.clone(),
            place: (Arc::clone(&place), open),
            max_message_bytes: self.limits.max_message_bytes,
        });
        parts.extensions.insert(Call {
            actor: identity.actor.clone(),
            token: identity.fingerprint,
            method: method.path,
            deadline: deadline.into_std(),
            patience: self.limits.default_deadline,
            place: Some(place),
        });
        let answer = next.run(Request::from_parts(parts, body)).await;
        Ok((self.explain(answer)?, life))
    }

    fn explain(&self, answer: Response) -> Result<Response, Status> {
        match Status::from_header_map(answer.headers()) {
            Some(told) if told.code() != Code::Ok && told.details().is_empty() => {
                Err(explain_status(told, self.limits.max_message_bytes))
            }
            _ => Ok(answer),
        }
    }
}

/// Gives a status of tonic's own making the code and the reason that the contracts promise; ours carry details.
pub(super) fn explain_status(told: Status, max_message_bytes: usize) -> Status {
    if !told.details().is_empty() {
        return told;
    }
    match told.code() {
        Code::OutOfRange | Code::ResourceExhausted => request::too_large(max_message_bytes),
        Code::Internal if says_undecodable(told.message()) => request::malformed("the message cannot be decoded"),
        Code::Internal | Code::Unknown => internal(told.message()),
        // A compression that is not spoken here: the metadata names those that are.
        Code::Unimplemented => {
            let mut refusal = refuse(told.code(), ErrorReason::MalformedRequest, told.message());
            *refusal.metadata_mut() = told.metadata().clone();
            refusal
        }
        _ => told,
    }
}

/// How tonic 0.14 and prost 0.14 begin what they say of a request that they cannot decode.
fn says_undecodable(message: &str) -> bool {
    const BEGINNINGS: [&str; 5] = [
        "failed to decode Protobuf message",
        "Error decompressing",
        "protocol error",
        "Unexpected EOF decoding",
        "Missing request message",
    ];
    BEGINNINGS.iter().any(|beginning| message.starts_with(beginning))
}

/// The code of an answer: in its headers where it failed. A unary answer without one there is OK.
fn code(answer: &Response) -> Code {
    let told = answer.headers().get(Status::GRPC_STATUS);
    told.map_or(Code::Ok, |code| Code::from_bytes(code.as_bytes()))
}

fn unauthenticated(refused: TokenRefused) -> Status {
    refuse(Code::Unauthenticated, ErrorReason::TokenRefused, &refused.to_string())
}

fn unknown_method() -> Status {
    refuse(Code::Unimplemented, ErrorReason::UnknownMethod, "no such method in this process")
}

fn denied(denied: Denied) -> Status {
    let reason = match denied {
        Denied::ScopeMissing(_) => ErrorReason::ScopeMissing,
        Denied::CallerKind => ErrorReason::CallerKind,
    };
    refuse(Code::PermissionDenied, reason, &denied.to_string())
}

pub(super) fn refuse(code: Code, reason: ErrorReason, message: &str) -> Status {
    status(code, reason, message, &[])
}

/// The cause goes to the log; the caller gets the trace id to name.
pub(super) fn internal(cause: &str) -> Status {
    let trace_id = telemetry::current_trace_id();
    tracing::error!(cause, trace_id, "a call failed through our fault");
    status(Code::Internal, ErrorReason::Internal, "our fault; the trace id names this call", &[("trace_id", &trace_id)])
}
