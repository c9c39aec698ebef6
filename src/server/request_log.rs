//! One log line and one measurement for each call, also for one whose caller went away.

use std::{sync::Arc, time::Instant};

use tonic::Code;
use tracing::Span;

use crate::metrics::{CODES, Calls};

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
        let code = CODES[self.code as usize];
        let took = self.start.elapsed();
        self.calls.ended(self.code as usize, took);
        let ms = took.as_micros() as f64 / 1000.0;
        let caller = self.caller.as_deref().unwrap_or("-");
        let trace_id = &self.trace_id;
        self.span.record("rpc.status_code", code);
        if is_servers(self.code) {
            self.span.record("error.type", code);
            self.span.record("otel.status_code", "ERROR");
        }
        // The level says who must act: nobody or the caller, the operator, us.
        match self.code {
            Code::Internal | Code::Unknown | Code::DataLoss => {
                tracing::error!(method, code, ms, caller, trace_id, "call");
            }
            Code::Unavailable => tracing::warn!(method, code, ms, caller, trace_id, "call"),
            _ => tracing::info!(method, code, ms, caller, trace_id, "call"),
        }
    }
}

/// Whether a code is the server's error, by the semantic conventions: any other is an answer.
fn is_servers(code: Code) -> bool {
    use Code::{DataLoss, DeadlineExceeded, Internal, Unavailable, Unimplemented, Unknown};
    matches!(code, Unknown | DeadlineExceeded | Unimplemented | Internal | Unavailable | DataLoss)
}
