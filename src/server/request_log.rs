//! One log line and one measurement for each call, also for one whose caller went away.

use std::{sync::Arc, time::Instant};

use tonic::Code;
use tracing::Span;

use crate::metrics::Calls;

/// Written when dropped: as CANCELLED, unless [`RequestLog::code`] was set to how the call ended.
pub(super) struct RequestLog {
    pub(super) span: Span,
    pub(super) method: &'static str,
    pub(super) trace_id: String,
    /// Who calls: kind and id, never a name.
    pub(super) caller: Option<String>,
    pub(super) code: Code,
    pub(super) start: Instant,
    pub(super) calls: Arc<Calls>,
}

impl Drop for RequestLog {
    fn drop(&mut self) {
        let _entered = self.span.enter();
        let method = self.method;
        let code = name(self.code);
        let took = self.start.elapsed();
        self.calls.ended(self.code as usize, took);
        let ms = took.as_micros() as f64 / 1000.0;
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

/// The code as gRPC's documents write it: `InvalidArgument` is INVALID_ARGUMENT.
pub(crate) fn name(code: Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}
