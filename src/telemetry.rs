//! Logs as JSON on stderr, traces by OTLP, and the W3C trace context in and out.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::{
    Context, global,
    propagation::{Extractor, Injector},
    trace::{TraceContextExt, TracerProvider},
};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{Sampler, SdkTracerProvider},
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{EnvFilter, Layer, filter::filter_fn, layer::SubscriberExt, util::SubscriberInitExt};

/// What a process shows of itself.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The resource's `service.name`, `warranty-coverage`.
    pub service: &'static str,
    /// What is logged, in tracing's syntax: `info,sqlx=warn`.
    pub log_filter: String,
    /// The OTLP gRPC collector, `http://127.0.0.1:4317`; without one no span is recorded, but trace ids are still given.
    pub otlp_endpoint: Option<String>,
    /// The share of traces begun here that is recorded, 0 to 1. A trace begun elsewhere keeps its caller's choice.
    pub trace_ratio: f64,
}

/// Telemetry that runs; [`Telemetry::shutdown`] sends what is still held.
#[derive(Debug)]
pub struct Telemetry {
    provider: SdkTracerProvider,
}

/// Why telemetry did not start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The log filter cannot be read.
    #[error("the log filter: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// The exporter cannot be built, mostly for an endpoint that is not an URL.
    #[error("the OTLP exporter: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// Telemetry was started before in this process.
    #[error("telemetry runs already: {0}")]
    Running(#[from] tracing_subscriber::util::TryInitError),
}

/// Starts logs and traces for the whole process. Needs a tokio runtime, which carries the exporter.
pub fn start(settings: &Settings) -> Result<Telemetry, TelemetryError> {
    let provider = provider(settings)?;
    global::set_text_map_propagator(TraceContextPropagator::new());
    let logs = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_writer(std::io::stderr)
        .with_filter(EnvFilter::try_new(&settings.log_filter)?);
    // Spans of this crate only: the exporter's own connection would trace itself for ever.
    let traces = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("warranty"))
        .with_filter(filter_fn(|metadata| metadata.is_span() && metadata.target().starts_with("warranty")));
    tracing_subscriber::registry().with(traces).with(logs).try_init()?;
    Ok(Telemetry { provider })
}

fn provider(settings: &Settings) -> Result<SdkTracerProvider, TelemetryError> {
    let resource = Resource::builder().with_service_name(settings.service).build();
    let builder = SdkTracerProvider::builder().with_resource(resource);
    let Some(endpoint) = &settings.otlp_endpoint else {
        return Ok(builder.with_sampler(Sampler::AlwaysOff).build());
    };
    let exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint).build()?;
    let root = Sampler::TraceIdRatioBased(settings.trace_ratio);
    Ok(builder.with_sampler(Sampler::ParentBased(Box::new(root))).with_batch_exporter(exporter).build())
}

/// From here on a panic is a log line. Where, not what: its message may hold a caller's data.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string);
        tracing::error!(location, "panicked");
    }));
}

impl Telemetry {
    /// Sends what is held, and stays.
    pub async fn flush(&self) {
        let provider = self.provider.clone();
        blocking(move || provider.force_flush()).await;
    }

    /// Sends what is held, and stops.
    pub async fn shutdown(self) {
        blocking(move || self.provider.shutdown()).await;
    }
}

/// The exporter needs the runtime's threads: waiting for it on one of them could wait for ever.
async fn blocking(work: impl FnOnce() -> opentelemetry_sdk::error::OTelSdkResult + Send + 'static) {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "traces were not all sent"),
        Err(error) => tracing::warn!(%error, "traces were not all sent"),
    }
}

/// The current span's trace id, 32 hexadecimal digits; empty outside a span.
pub fn current_trace_id() -> String {
    trace_id(&Span::current())
}

/// The trace id of `span`; empty where it is disabled.
pub fn trace_id(span: &Span) -> String {
    let context = span.context();
    let context = context.span().span_context().clone();
    if context.is_valid() { context.trace_id().to_string() } else { String::new() }
}

/// Writes the current span's `traceparent` into a request's headers.
pub fn inject(headers: &mut HeaderMap) {
    let context = Span::current().context();
    global::get_text_map_propagator(|propagator| {
        propagator.inject_context(&context, &mut Outgoing(headers));
    });
}

/// Makes `span` a child of the caller's span, where `headers` name one. Before the span is entered.
pub fn join(span: &Span, headers: &HeaderMap) {
    let parent = global::get_text_map_propagator(|propagator| {
        propagator.extract_with_context(&Context::new(), &Incoming(headers))
    });
    if parent.span().span_context().is_valid() {
        // Fails only without the tracing layer: then there is nothing to join.
        let _ = span.set_parent(parent);
    }
}

struct Incoming<'a>(&'a HeaderMap);

impl Extractor for Incoming<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct Outgoing<'a>(&'a mut HeaderMap);

impl Injector for Outgoing<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(key), HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}
