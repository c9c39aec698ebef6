//! The one ladder that every call climbs before its handler. A rung refuses with a status that carries its reason.

use std::{collections::HashSet, panic::AssertUnwindSafe, sync::Arc};

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::FutureExt;
use prost::Message;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};
use tonic::{Code, Status};
use tracing::{Instrument, Span, field::Empty};

use super::{Chassis, Limits, ServeError, deadline, framing, request_log::RequestLog};
use crate::{
    auth::{
        Call, Denied, Identity, authorize,
        methods::{self, Rule},
        token::{self, TokenRefused, Verifier},
    },
    clock::Clock,
    contract::{self, v1::ErrorReason},
    service::status::status,
    telemetry,
};

/// What the ladder rests on.
pub(super) struct Gate {
    verifier: Arc<Verifier>,
    clock: Clock,
    limits: Limits,
    places: Arc<Semaphore>,
    services: Vec<&'static str>,
    /// Paths whose requests are streams: their bodies are left to the handler.
    streaming: HashSet<String>,
}

impl Gate {
    pub(super) fn new(chassis: &Chassis) -> Result<Self, ServeError> {
        Ok(Self {
            verifier: chassis.verifier.clone(),
            clock: chassis.clock.clone(),
            limits: chassis.limits.clone(),
            places: Arc::new(Semaphore::new(chassis.limits.concurrency)),
            services: chassis.services.clone(),
            streaming: streaming(contract::DESCRIPTORS)?,
        })
    }
}

/// The paths of the methods to which a client may send more than one message.
fn streaming(descriptors: &[u8]) -> Result<HashSet<String>, ServeError> {
    let set = prost_types::FileDescriptorSet::decode(descriptors)
        .map_err(|error| ServeError::Descriptors(error.to_string()))?;
    let mut paths = HashSet::new();
    for file in &set.file {
        for service in &file.service {
            let methods = service.method.iter().filter(|method| method.client_streaming());
            paths.extend(methods.map(|method| format!("/{}.{}/{}", file.package(), service.name(), method.name())));
        }
    }
    Ok(paths)
}

/// The middleware. tonic would serve GET and `application/json`; health and reflection are for everybody, always.
pub(super) async fn pass(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    if request.method() != Method::POST {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let grpc = |value: &header::HeaderValue| value == "application/grpc" || value == "application/grpc+proto";
    if !content_type.is_some_and(grpc) {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response();
    }
    let path = request.uri().path();
    if path.starts_with("/grpc.health.") || path.starts_with("/grpc.reflection.") {
        return next.run(request).await;
    }
    let rule = gate.rule(path);
    let span = span(rule, request.headers());
    let trace_id = telemetry::trace_id(&span);
    span.record("trace_id", &trace_id);
    let method = rule.map_or("unknown", |rule| rule.path);
    let mut log = RequestLog::new(span.clone(), method, trace_id);
    let answer = gate.answer(rule, request, next, &mut log).instrument(span).await.unwrap_or_else(Status::into_http);
    log.answered(code(&answer));
    answer
}

/// The call's span, child of the caller's. A path that nobody serves is no name for one: callers make them up.
fn span(rule: Option<&'static Rule>, headers: &HeaderMap) -> Span {
    let path = rule.map_or("unknown", |rule| rule.path).trim_start_matches('/');
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
    /// The row of the method table, where this process serves the method.
    fn rule(&self, path: &str) -> Option<&'static Rule> {
        let service = path.strip_prefix('/')?.split_once('/')?.0;
        methods::rule(path).filter(|_| self.services.contains(&service))
    }

    /// The rungs, in order: deadline well said, a place free; then under the deadline: who, may, one message, the handler.
    async fn answer(
        &self,
        rule: Option<&'static Rule>,
        request: Request,
        next: Next,
        log: &mut RequestLog,
    ) -> Result<Response, Status> {
        let deadline = Instant::now() + deadline::budget(request.headers(), &self.limits)?;
        let place = self.places.clone().try_acquire_owned().map_err(|_| overloaded())?;
        let work = self.admit(rule, request, next, log, (deadline, place));
        match timeout_at(deadline, AssertUnwindSafe(work).catch_unwind()).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_panic)) => Err(internal("the handler panicked")),
            Err(_elapsed) => Err(status(
                Code::DeadlineExceeded,
                ErrorReason::Deadline,
                "the deadline passed before the answer was ready",
                &[],
            )),
        }
    }

    async fn admit(
        &self,
        rule: Option<&'static Rule>,
        request: Request,
        next: Next,
        log: &mut RequestLog,
        (deadline, place): (Instant, OwnedSemaphorePermit),
    ) -> Result<Response, Status> {
        let (mut parts, body) = request.into_parts();
        let identity = self.identify(&parts.headers).await?;
        log.caller(identity.actor.to_string());
        let Some(rule) = rule else {
            return Err(unknown_method());
        };
        authorize(&identity, rule).map_err(denied)?;
        let body = if self.streaming.contains(rule.path) {
            body
        } else {
            Body::from(framing::one_message(body, self.limits.max_message_bytes).await?)
        };
        parts.extensions.insert(Call {
            actor: identity.actor.clone(),
            method: rule.path,
            deadline: deadline.into_std(),
            place: Some(Arc::new(place)),
        });
        let answer = next.run(Request::from_parts(parts, body)).await;
        self.explain(answer)
    }

    async fn identify(&self, headers: &HeaderMap) -> Result<Arc<Identity>, Status> {
        let bearer = token::bearer(headers).map_err(unauthenticated)?;
        let verdict = self.verifier.verify(bearer, self.clock.now()).await;
        verdict.map_err(unauthenticated)
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
            Code::OutOfRange | Code::ResourceExhausted => Err(framing::too_large(self.limits.max_message_bytes)),
            Code::Internal if says_undecodable(told.message()) => {
                Err(framing::malformed("the message cannot be decoded"))
            }
            Code::Internal | Code::Unknown => Err(internal(told.message())),
            // A compression that is not spoken here: the metadata names those that are.
            Code::Unimplemented => {
                let reason = ErrorReason::MalformedRequest;
                let mut refusal = status(told.code(), reason, told.message(), &[]);
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
    let message = refused.to_string();
    status(Code::Unauthenticated, ErrorReason::TokenRefused, message, &[])
}

fn denied(denied: Denied) -> Status {
    let reason = match denied {
        Denied::ScopeMissing(_) => ErrorReason::ScopeMissing,
        Denied::CallerKind(_) => ErrorReason::CallerKind,
    };
    status(Code::PermissionDenied, reason, denied.to_string(), &[])
}

fn unknown_method() -> Status {
    let message = "no such method in this process";
    status(Code::Unimplemented, ErrorReason::UnknownMethod, message, &[])
}

fn overloaded() -> Status {
    let message = "too many calls at once";
    status(Code::Unavailable, ErrorReason::Overloaded, message, &[])
}

/// The cause goes to the log; the caller gets the trace id to name.
fn internal(cause: &str) -> Status {
    let trace_id = telemetry::current_trace_id();
    tracing::error!(cause, "a call failed through our fault");
    status(Code::Internal, ErrorReason::Internal, "our fault; the trace id names this call", &[("trace_id", &trace_id)])
}
