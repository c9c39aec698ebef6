//! Reports, for those who would rather count than read claims.

use tonic::Request;

use crate::{
    contract::v1,
    domain::report::{ReportBy, ReportKind},
    service::wire::{number, time},
    service::{App, Fields, Page, Reply, open, page, transact},
    store::report::{self, Asked, Share, Turnaround},
};

/// The longest period: three years.
const MOST_DAYS: i64 = 1_096;

fn turnaround(row: Turnaround) -> v1::TurnaroundRow {
    v1::TurnaroundRow {
        group: row.name,
        state: number!(row.state),
        left_count: row.left_count,
        mean_seconds: row.mean,
        p50_seconds: row.p50,
        p90_seconds: row.p90,
        max_seconds: row.longest,
        open_count: row.open_count,
        oldest_seconds: row.oldest,
    }
}

/// Counts are far below what an f64 holds exactly.
fn rate(Share { part, whole, .. }: &Share) -> f64 {
    if *whole == 0 { 0.0 } else { *part as f64 / *whole as f64 }
}

fn failure(row: Share) -> v1::FailureRow {
    v1::FailureRow { rate: rate(&row), group: row.name, failed_count: row.part, sold_count: row.whole }
}

fn no_fault(row: Share) -> v1::NoFaultFoundRow {
    v1::NoFaultFoundRow {
        rate: rate(&row),
        group: row.name,
        no_fault_found_count: row.part,
        inspected_count: row.whole,
    }
}

fn grouped(fields: &mut Fields, kind: Option<ReportKind>, by: Option<ReportBy>, model: &str) -> Option<ReportBy> {
    let (kind, by) = (kind?, by?);
    if !kind.groups().contains(&by) {
        let groups: Vec<_> = kind.groups().iter().map(ToString::to_string).collect();
        fields.violate("by", format!("{kind} is by {}", groups.join(", ")));
    }
    if by.needs_model() && model.is_empty() {
        fields.violate("model", format!("is required by {by}"));
    }
    Some(by)
}

pub(super) async fn get(app: &App, request: Request<v1::GetReportRequest>) -> Reply<v1::GetReportResponse> {
    let (call, request) = open(request)?;
    let mut fields = Fields::default();
    let kind = fields.choice("kind", request.kind);
    let by = fields.choice("by", request.by);
    let by = grouped(&mut fields, kind, by, &request.model);
    let days = fields.period(request.first_date.as_ref(), request.last_date.as_ref(), MOST_DAYS);
    let model = fields.optional_model("model", &request.model);
    let page = page!(fields, call, request);
    let (kind, page, (first, last), by, model) = fields.finish(|| Some((kind?, page?, days?, by?, model?)))?;
    // A state's name has no slash.
    let after = page.after.as_deref().and_then(|after| after.rsplit_once('/'));
    let after = after.map(|(group, state)| (group.to_owned(), state.to_owned()));
    let asked = Asked { by, first, last, model, after, limit: page.fetch() };
    let now = app.clock.now();
    transact!(app.read(&call, (page, asked)), |conn, (page, asked), _| {
        let mut told = v1::GetReportResponse { as_of_time: Some(time(now)), ..Default::default() };
        if kind == ReportKind::Turnaround {
            let mut rows = report::turnaround(conn, &asked, now).await?;
            told.next_page_token = page.cut(&mut rows, |row| format!("{}/{}", row.name, row.state));
            told.turnaround = rows.into_iter().map(turnaround).collect();
            return Ok(told);
        }
        let mut rows = match kind {
            ReportKind::Failures => report::failures(conn, &asked).await?,
            _ => report::no_fault_found(conn, &asked).await?,
        };
        told.next_page_token = page.cut(&mut rows, |row| format!("{}/", row.name));
        match kind {
            ReportKind::Failures => told.failures = rows.into_iter().map(failure).collect(),
            _ => told.no_fault_found = rows.into_iter().map(no_fault).collect(),
        }
        Ok(told)
    })
}
