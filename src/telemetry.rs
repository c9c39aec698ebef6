//! Logs as JSON on stderr, traces by OTLP, and the caller's W3C trace context.

use std::{collections::HashMap, time::Duration};

use anyhow::Context as _;
use axum::http::{HeaderMap, HeaderName};
use opentelemetry::{
    Context, global,
    propagation::Extractor,
    trace::{TraceContextExt, TracerProvider},
};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    propagation::TraceContextPropagator,
    trace::{self as sdk, BatchSpanProcessor, Sampler, SdkTracerProvider, SpanData, SpanProcessor},
};
use tracing::{Level, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{LevelFilter, Targets},
    fmt::format,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::{
    config::TelemetryConfig,
    metrics,
    store::statements::{self, Work},
};

/// Starts logs and traces for the whole process named `service` (`warranty-coverage`). Needs a tokio runtime, which carries
/// the exporter; [`stop`] sends what it still holds.
///
/// # Errors
/// The log filter cannot be read, the collector's address is none, or telemetry runs already in this process.
pub fn start(service: &'static str, config: &TelemetryConfig) -> anyhow::Result<SdkTracerProvider> {
    let provider = provider(service, config)?;
    global::set_text_map_propagator(TraceContextPropagator::new());
    let logs = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        // A line tells its trace by itself: the fields of spans are not even formatted.
        .with_current_span(false)
        .with_span_list(false)
        .fmt_fields(format::debug_fn(|_, _, _| Ok(())))
        .with_writer(std::io::stderr)
        .with_filter(EnvFilter::try_new(&config.log).context("the log filter")?);
    // Spans of this crate only: the exporter's own connection would trace itself for ever.
    let traces = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("warranty"))
        // Which thread, and which line of this source: told of each span, of use to nobody.
        .with_threads(false)
        .with_location(false)
        .with_tracked_inactivity(false)
        // Spans find their parents by tracing's own context.
        .with_context_activation(false)
        // A call's log line says no more than its span.
        .with_filter(
            Targets::new()
                .with_target("warranty", Level::INFO)
                .with_target("warranty::server::request_log", LevelFilter::OFF)
                .with_target(statements::SHARED, LevelFilter::OFF),
        );
    let work = Work::default();
    let statements = collector(config).map(|_| statements::layer(provider.tracer("warranty"), work.clone()));
    tracing_subscriber::registry().with(traces).with(statements).with(logs).try_init()?;
    tracing::dispatcher::get_default(|telemetry| work.is_told_to(telemetry));
    Ok(provider)
}

/// Without a collector no span is recorded, but trace ids are still given.
fn provider(service: &'static str, config: &TelemetryConfig) -> anyhow::Result<SdkTracerProvider> {
    let builder = SdkTracerProvider::builder().with_resource(Resource::builder().with_service_name(service).build());
    let Some(endpoint) = collector(config) else {
        return Ok(builder.with_sampler(Sampler::AlwaysOff).build());
    };
    let exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint).build().context("the OTLP exporter")?;
    let root = Sampler::TraceIdRatioBased(config.trace_ratio);
    let batches = Counted(BatchSpanProcessor::builder(Counted(exporter)).build());
    Ok(builder.with_sampler(Sampler::ParentBased(Box::new(root))).with_span_processor(batches).build())
}

/// Counts what comes in and what the collector took: in between, spans are lost in silence where it is away or slow.
#[derive(Debug)]
struct Counted<T>(T);

impl SpanProcessor for Counted<BatchSpanProcessor> {
    fn on_start(&self, span: &mut sdk::Span, parent: &Context) {
        self.0.on_start(span, parent);
    }

    fn on_end(&self, span: SpanData) {
        metrics::span_ended();
        self.0.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.set_resource(resource);
    }
}

impl sdk::SpanExporter for Counted<SpanExporter> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let taken = self.0.export(batch).await;
        if taken.is_ok() {
            metrics::spans_exported(spans);
        }
        taken
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        sdk::SpanExporter::set_resource(&mut self.0, resource);
    }
}

fn collector(config: &TelemetryConfig) -> Option<&str> {
    config.otlp_endpoint.as_deref().filter(|url| !url.is_empty())
}

/// Sends what is held, and stops. The exporter needs the runtime's threads: waiting on one of them could last for ever.
pub async fn stop(provider: SdkTracerProvider) {
    match tokio::task::spawn_blocking(move || provider.shutdown()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "traces were not all sent"),
        Err(error) => tracing::warn!(%error, "traces were not all sent"),
    }
}

/// From here on a panic is a log line. Where, not what: its message may hold a caller's data.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string);
        tracing::error!(location, trace_id = current_trace_id(), "panicked");
    }));
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

/// The current span, where it is recorded.
pub fn recorded() -> Option<Span> {
    let span = Span::current();
    let recorded = span.context().span().span_context().is_sampled();
    recorded.then_some(span)
}

/// The current span as W3C trace context, where it is recorded.
pub fn traceparent() -> Option<String> {
    let mut headers = HashMap::new();
    let context = recorded()?.context();
    global::get_text_map_propagator(|propagator| propagator.inject_context(&context, &mut headers));
    headers.remove("traceparent")
}

/// Links the current span with another's work that it goes on with.
pub fn goes_on_from(traceparent: String) {
    let headers = HashMap::from([("traceparent".to_owned(), traceparent)]);
    let before =
        global::get_text_map_propagator(|propagator| propagator.extract_with_context(&Context::new(), &headers));
    if before.span().span_context().is_valid() {
        Span::current().add_link(before.span().span_context().clone());
    }
}

/// A part of the current span's work, where that is recorded, by its number in it; else none, which costs nothing.
pub fn part(name: &'static str, number: i64) -> Span {
    match recorded() {
        Some(whole) => tracing::info_span!(parent: &whole, "part", otel.name = name, warranty.number = number),
        None => Span::none(),
    }
}

/// Work for several spans at once: its statements are told in the trace of each. None where there are none.
pub fn shared<'a>(by: impl IntoIterator<Item = &'a Span>) -> Span {
    let by: Vec<Context> = by.into_iter().map(OpenTelemetrySpanExt::context).collect();
    if by.is_empty() { Span::none() } else { statements::shared(by) }
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
