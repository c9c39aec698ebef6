//! Each statement as a span of the work that it belongs to, where that is recorded: by what sqlx tells of it when it has ended.
//! The text is the program's own; what is bound to its `$1` is never told.

use std::{
    fmt::Debug,
    sync::{Arc, OnceLock},
    time::Duration,
};

use opentelemetry::{
    Context, KeyValue, time,
    trace::{SpanKind, TraceContextExt, Tracer},
};
use opentelemetry_sdk::trace::SdkTracer;
use tracing::{
    Dispatch, Event, Metadata, Span, Subscriber,
    dispatcher::WeakDispatch,
    field::{Field, Visit},
    level_filters::LevelFilter,
    subscriber::Interest,
};
use tracing_opentelemetry::get_otel_context;
use tracing_subscriber::{
    Layer, Registry,
    layer::{self, Filter},
    registry::LookupSpan,
};

/// Where sqlx tells of statements.
const TARGET: &str = "sqlx::query";
/// The target of spans that nobody sees: of work for several at once.
pub const SHARED: &str = "warranty::shared";

/// Those that work is done for at once.
struct Askers(Vec<Context>);

/// Work for these at once: each statement of it becomes a span of each of them.
pub fn shared(by: Vec<Context>) -> Span {
    let work = tracing::info_span!(target: SHARED, parent: None, "shared");
    work.with_subscriber(|(id, dispatch)| {
        let span = dispatch.downcast_ref::<Registry>().and_then(|spans| spans.span(id));
        if let Some(span) = span {
            span.extensions_mut().insert(Askers(by));
        }
    });
    work
}

/// The layer that makes the spans.
pub fn layer<S>(tracer: SdkTracer, work: Work) -> impl Layer<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    Statements { tracer, work: work.clone() }.with_filter(work)
}

/// What a thread works at.
#[derive(Clone, Default)]
pub struct Work(Arc<OnceLock<WeakDispatch>>);

impl Work {
    /// Once, when that is there.
    pub fn is_told_to(&self, telemetry: &Dispatch) {
        let _ = self.0.set(telemetry.downgrade());
    }

    /// The span that is entered, where it is recorded, or those that it works for. Asked of the dispatcher itself: a layer sees
    /// only what its filter lets by.
    fn recorded(&self) -> Option<Vec<Context>> {
        let dispatch = self.0.get()?.upgrade()?;
        let current = dispatch.current_span();
        let span = dispatch.downcast_ref::<Registry>()?.span(current.id()?)?;
        if let Some(Askers(askers)) = span.extensions().get() {
            return Some(askers.clone());
        }
        let context = get_otel_context(current.id()?, &dispatch)?;
        let recorded = context.span().span_context().is_sampled();
        recorded.then(|| vec![context])
    }
}

/// sqlx does not even put its text together for work that is not recorded.
impl<S> Filter<S> for Work {
    fn enabled(&self, told: &Metadata<'_>, _: &layer::Context<'_, S>) -> bool {
        told.target() == SHARED || told.target() == TARGET && self.recorded().is_some()
    }

    fn callsite_enabled(&self, told: &'static Metadata<'static>) -> Interest {
        match told.target() {
            SHARED => Interest::always(),
            TARGET => Interest::sometimes(),
            _ => Interest::never(),
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::DEBUG)
    }
}

struct Statements {
    tracer: SdkTracer,
    work: Work,
}

impl<S: Subscriber> Layer<S> for Statements {
    fn on_event(&self, event: &Event<'_>, _: layer::Context<'_, S>) {
        let Some(work) = self.work.recorded() else { return };
        let mut told = Told::default();
        event.record(&mut told);
        let text = if told.text.is_empty() { &told.beginning } else { &told.text };
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let (operation, summary) = summary(&text);
        let attributes = vec![
            KeyValue::new("db.system.name", "postgresql"),
            KeyValue::new("db.operation.name", operation.to_owned()),
            KeyValue::new("db.query.summary", summary.clone()),
            KeyValue::new("db.query.text", text),
            KeyValue::new("db.response.returned_rows", told.rows),
        ];
        let span = self.tracer.span_builder(summary).with_kind(SpanKind::Client).with_attributes(attributes);
        let span = span.with_start_time(time::now() - told.took);
        for asker in work {
            // It ends with this line.
            drop(span.clone().start_with_context(&self.tracer, &asker));
        }
    }
}

/// What sqlx tells.
#[derive(Default)]
struct Told {
    /// The first words.
    beginning: String,
    /// The whole, where it is longer.
    text: String,
    rows: i64,
    took: Duration,
}

impl Visit for Told {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "summary" => value.clone_into(&mut self.beginning),
            "db.statement" => value.clone_into(&mut self.text),
            _ => {}
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "rows_returned" {
            self.rows = value.try_into().unwrap_or(i64::MAX);
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if field.name() == "elapsed_secs" {
            self.took = Duration::try_from_secs_f64(value).unwrap_or_default();
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}

/// What a statement does, and that with the table it does it to: `SELECT` and `SELECT units`. Words in parentheses do not count:
/// they are of what a WITH or an inner SELECT does.
fn summary(text: &str) -> (&str, String) {
    let mut depth = 0;
    let words = text.split(' ').filter(|word| {
        let outside = depth == 0;
        depth += word.matches('(').count() as i32 - word.matches(')').count() as i32;
        outside
    });
    let words: Vec<&str> = words.collect();
    let at = words.iter().position(|word| ["SELECT", "INSERT", "UPDATE", "DELETE"].contains(word)).unwrap_or(0);
    let of = words[at..].windows(2).find(|pair| ["FROM", "INTO", "UPDATE"].contains(&pair[0])).map(|pair| pair[1]);
    let table = of.filter(|name| name.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_'));
    (words[at], table.map_or(words[at].to_owned(), |table| format!("{} {table}", words[at])))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_statement_is_named_by_what_it_does_to_which_table() {
        for (text, named) in [
            ("SELECT u.serial, (SELECT count(*) FROM policies) FROM units u WHERE u.serial = ANY ($1)", "SELECT units"),
            ("SELECT 1", "SELECT"),
            ("SELECT models_in_stock($1)", "SELECT"),
            ("INSERT INTO stock (a) VALUES ($1)", "INSERT stock"),
            ("UPDATE claims SET a = $1 FROM b", "UPDATE claims"),
            ("DELETE FROM request_log WHERE a IN (SELECT b FROM c)", "DELETE request_log"),
            (
                "WITH a AS (INSERT INTO b SELECT $1), c AS (SELECT 1) INSERT INTO events SELECT * FROM c",
                "INSERT events",
            ),
            ("COMMIT", "COMMIT"),
        ] {
            assert_eq!(super::summary(text).1, named);
        }
    }
}
