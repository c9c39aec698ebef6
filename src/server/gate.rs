//! The one ladder that every call climbs before its handler. A rung refuses with a status that carries its reason.

use std::{collections::HashMap, panic::AssertUnwindSafe, sync::Arc};

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
use tonic::{Code, Status};
use tracing::{Instrument, Span, field::Empty};

use super::{request, request_log::RequestLog};
use crate::{
    auth::{
        Call, Identity,
        methods::{Denied, Method},
        token::{self, TokenRefused, Verifier},
    },
    clock::Clock,
    config::Limits,
    contract::v1::ErrorReason,
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
    /// What this process serves, by path.
    pub(super) methods: HashMap<&'static str, &'static Method>,
}

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
    let method = gate.methods.get(path).copied();
    // A path that nobody serves is no name for a span or a log line: callers make them up.
    let name = method.map_or("unknown", |method| method.path);
    let span = span(name, request.headers());
    let trace_id = telemetry::trace_id(&span);
    span.record("trace_id", &trace_id);
    let start = std::time::Instant::now();
    let mut log = RequestLog { span: span.clone(), method: name, trace_id, caller: None, code: Code::Cancelled, start };
    let answer = gate.answer(method, request, next, &mut log).instrument(span).await.unwrap_or_else(Status::into_http);
    log.code = code(&answer);
    answer
}

/// The call's span, child of the caller's.
fn span(path: &'static str, headers: &HeaderMap) -> Span {
    let path = path.trim_start_matches('/');
    let (service, method) = path.split_once('/').unwrap_or((path, path));
    let span = tracing::info_span!(
        "rpc",
        otel.name = path,
        otel.kind = "server",
        otel.status_code = Empty,
        rpc.system = "grpc",
        rpc.service = service,
        rpc.method = method,
        rpc.grpc.status_code = Empty,
        trace_id = Empty,
    );
    telemetry::join(&span, headers);
    span
}

impl Gate {
    /// Within the caller's deadline and the process's limit; a panic is an answer too.
    async fn answer(
        &self,
        method: Option<&'static Method>,
        request: Request,
        next: Next,
        log: &mut RequestLog,
    ) -> Result<Response, Status> {
        let deadline = Instant::now() + request::budget(request.headers(), &self.limits)?;
        let place = self.places.clone().try_acquire_owned();
        let place = place.map_err(|_| refuse(Code::Unavailable, ErrorReason::Overloaded, "too many calls at once"))?;
        let work = self.admit(method, request, next, log, (deadline, place));
        match timeout_at(deadline, AssertUnwindSafe(work).catch_unwind()).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_panic)) => Err(internal("the handler panicked")),
            Err(_elapsed) => {
                let message = "the deadline passed before the answer was ready";
                Err(refuse(Code::DeadlineExceeded, ErrorReason::Deadline, message))
            }
        }
    }

    async fn admit(
        &self,
        method: Option<&'static Method>,
        request: Request,
        next: Next,
        log: &mut RequestLog,
        (deadline, place): (Instant, OwnedSemaphorePermit),
    ) -> Result<Response, Status> {
        let (mut parts, body) = request.into_parts();
        let identity = self.identify(&parts.headers).await.map_err(unauthenticated)?;
        log.caller = Some(identity.actor.to_string());
        let method = method.ok_or_else(unknown_method)?;
        method.admit(&identity).map_err(denied)?;
        let message = request::one_message(body, self.limits.max_message_bytes).await?;
        parts.extensions.insert(Call {
            actor: identity.actor.clone(),
            method: method.path,
            deadline: deadline.into_std(),
            place: Some(Arc::new(place)),
        });
        let answer = next.run(Request::from_parts(parts, Body::from(message))).await;
        self.explain(answer)
    }

    async fn identify(&self, headers: &HeaderMap) -> Result<Arc<Identity>, TokenRefused> {
        self.verifier.verify(token::bearer(headers)?, self.clock.now()).await
    }

    /// Gives the statuses of tonic's own making the code and the reason that the contracts promise; ours carry details.
    fn explain(&self, answer: Response) -> Result<Response, Status> {
        let Some(told) = Status::from_header_map(answer.headers()) else {
            return Ok(answer);
        };
        if told.code() == Code::Ok || !told.details().is_empty() {
            return Ok(answer);
        }
        match told.code() {
            Code::OutOfRange | Code::ResourceExhausted => Err(request::too_large(self.limits.max_message_bytes)),
            Code::Internal if says_undecodable(told.message()) => {
                Err(request::malformed("the message cannot be decoded"))
            }
            Code::Internal | Code::Unknown => Err(internal(told.message())),
            // A compression that is not spoken here: the metadata names those that are.
            Code::Unimplemented => {
                let mut refusal = refuse(told.code(), ErrorReason::MalformedRequest, told.message());
                *refusal.metadata_mut() = told.metadata().clone();
                Err(refusal)
            }
            _ => Ok(answer),
        }
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

fn refuse(code: Code, reason: ErrorReason, message: &str) -> Status {
    status(code, reason, message, &[])
}

/// The cause goes to the log; the caller gets the trace id to name.
fn internal(cause: &str) -> Status {
    let trace_id = telemetry::current_trace_id();
    tracing::error!(cause, "a call failed through our fault");
    status(Code::Internal, ErrorReason::Internal, "our fault; the trace id names this call", &[("trace_id", &trace_id)])
}
