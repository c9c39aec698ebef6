//! One log line for each call, also for one whose caller went away.

use std::time::Instant;

use tonic::Code;
use tracing::Span;

/// Written when dropped: as CANCELLED, unless [`RequestLog::answered`] said otherwise.
pub(super) struct RequestLog {
    span: Span,
    method: &'static str,
    trace_id: String,
    caller: Option<String>,
    code: Code,
    start: Instant,
}

impl RequestLog {
    /// Begins a call of `method`, in `span`.
    pub(super) fn new(span: Span, method: &'static str, trace_id: String) -> Self {
        Self { span, method, trace_id, caller: None, code: Code::Cancelled, start: Instant::now() }
    }

    /// Notes who calls: kind and id, never a name.
    pub(super) fn caller(&mut self, caller: String) {
        self.caller = Some(caller);
    }

    /// Notes how the call ended.
    pub(super) fn answered(mut self, code: Code) {
        self.code = code;
    }
}

impl Drop for RequestLog {
    fn drop(&mut self) {
        let _entered = self.span.enter();
        let method = self.method;
        let code = name(self.code);
        let ms = self.start.elapsed().as_micros() as f64 / 1000.0;
        let caller = self.caller.as_deref().unwrap_or("-");
        let trace_id = &self.trace_id;
        self.span.record("rpc.grpc.status_code", i64::from(self.code as i32));
        // The level says who must act: nobody or the caller, the operator, us.
        match self.code {
            Code::Internal | Code::Unknown | Code::DataLoss => {
                self.span.record("otel.status_code", "ERROR");
                tracing::error!(method, code, ms, caller, trace_id, "call");
            }
            Code::Unavailable => tracing::warn!(method, code, ms, caller, trace_id, "call"),
            _ => tracing::info!(method, code, ms, caller, trace_id, "call"),
        }
    }
}

/// The code as gRPC's documents write it.
fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
