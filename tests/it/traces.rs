//! One trace from the caller to the transaction, by OTLP and with the W3C context.

use std::sync::{Arc, Mutex, OnceLock};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    trace::v1::{ResourceSpans, Span},
};
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};
use warranty::{config::TelemetryConfig, telemetry};

use crate::world::{World, filing};

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

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_traced_down_to_its_transaction() {
    let traces = traces();
    let world = World::stocked().await;
    world.sold("TRACE001", 3).await;
    let (trace_id, parent) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let mut request = Request::new(filing("TRACE001"));
    request.metadata_mut().insert("traceparent", format!("00-{trace_id}-{parent}-01").parse().unwrap());
    world.dealer("D1").claims.file_claim(request).await.unwrap();
    let mut spans: Vec<Span> = traces.spans(trace_id).await.into_iter().map(|(span, _)| span).collect();
    spans.sort_by_key(|span| span.start_time_unix_nano);
    let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["aopre.warranty.v1.ClaimService/FileClaim", "FileClaim"]);
    assert_eq!(hex(&spans[0].parent_span_id), parent);
    assert_eq!(spans[1].parent_span_id, spans[0].span_id, "the transaction is the call's child");
}
