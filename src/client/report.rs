//! `warranty report`: a report as a table, and as CSV or a picture for those who would rather look.

use std::{
    fmt::Write as _,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    str::FromStr,
};

use anyhow::{Context, Result, anyhow};
use chrono::{DateTime, Days, NaiveDate};
use clap::Args;
use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};
use strum::IntoEnumIterator;

use super::{Caller, json::connect, refusal, under};
use crate::{
    clock::{Clock, civil_date},
    contract::v1::{GetReportRequest, GetReportResponse, logistics_service_client::LogisticsServiceClient},
    domain::report::{ReportBy, ReportKind},
    service::wire::{date, number},
};

/// What `warranty report` needs.
#[derive(Args, Clone, Debug)]
pub struct ReportArgs {
    /// turnaround: how long claims were in each state; failures: units that failed over units sold; no-fault-found: inspections
    /// without a fault over all inspections
    #[arg(value_name = "REPORT", value_parser = named::<ReportKind>)]
    pub what: ReportKind,
    /// By what: turnaround by model, dealer or depot; failures by model, lot or factory-month; no-fault-found by dealer or model
    #[arg(long, default_value = "model", value_parser = named::<ReportBy>)]
    pub by: ReportBy,
    /// The first day, as 2026-11-01 [default: 29 days before the last]
    #[arg(long)]
    pub first: Option<NaiveDate>,
    /// The last day [default: today]
    #[arg(long)]
    pub last: Option<NaiveDate>,
    /// Only units of this model; required by lot and by factory-month
    #[arg(long, default_value = "")]
    pub model: String,
    /// Write it as CSV
    #[arg(long)]
    pub csv: Option<PathBuf>,
    /// Draw it as SVG
    #[arg(long)]
    pub svg: Option<PathBuf>,
    /// Where to call, and as whom.
    #[command(flatten)]
    pub caller: Caller,
}

/// A report as it is shown: cells by row, and for each row a bar: its name, how long it is, how long its paler part is, what stands
/// beside it.
#[derive(Debug, Default)]
struct Shown {
    title: String,
    unit: &'static str,
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    bars: Vec<(String, f64, f64, String)>,
}

/// Prints a report, and writes it where asked for. What the service refuses is told on standard error, and the exit code is 1.
pub async fn report(args: ReportArgs) -> Result<ExitCode> {
    let last = args.last.unwrap_or_else(|| civil_date(Clock::system().now()));
    let first = args.first.unwrap_or(last - Days::new(29));
    let token = args.caller.token().await?;
    let mut client = LogisticsServiceClient::new(connect(&args.caller.addresses.logistics).await?);
    let mut asked = GetReportRequest {
        kind: number!(args.what),
        by: number!(args.by),
        first_date: Some(date(first)),
        last_date: Some(date(last)),
        model: args.model.clone(),
        page_size: 500,
        page_token: String::new(),
    };
    let mut told = GetReportResponse::default();
    loop {
        let page = match client.get_report(under(token.as_deref(), asked.clone())?).await {
            Ok(page) => page.into_inner(),
            Err(status) => return Ok(refusal::failed(&status)),
        };
        asked.page_token.clone_from(&page.next_page_token);
        told.as_of_time = page.as_of_time;
        told.turnaround.extend(page.turnaround);
        told.failures.extend(page.failures);
        told.no_fault_found.extend(page.no_fault_found);
        if asked.page_token.is_empty() {
            break;
        }
    }
    let as_of = told.as_of_time.and_then(|at| DateTime::from_timestamp(at.seconds, 0)).unwrap_or_default();
    let model = if args.model.is_empty() { String::new() } else { format!(", {}", args.model) };
    let mut shown = shown(args.what, &told);
    shown.title = format!("{}{model}, {first} to {last}, as of {}", shown.title, as_of.format("%Y-%m-%d %H:%M UTC"));
    io::stdout().write_all(table(&shown).as_bytes())?;
    if let Some(path) = &args.csv {
        write_csv(path, &shown).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if let Some(path) = &args.svg {
        let mut picture = String::new();
        draw(&shown, &mut picture).map_err(|error| anyhow!("cannot draw: {error}"))?;
        std::fs::write(path, picture).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A value by its name in the contract, as a command line writes it.
fn named<T: FromStr + IntoEnumIterator + ToString>(text: &str) -> Result<T, String> {
    text.to_uppercase().replace('-', "_").parse().map_err(|_| {
        let names: Vec<_> = T::iter().map(|value| value.to_string().to_lowercase().replace('_', "-")).collect();
        format!("write one of {}", names.join(", "))
    })
}

/// A group without a name.
fn group(group: &str) -> String {
    if group.is_empty() { "(none)".to_owned() } else { group.to_owned() }
}

/// Seconds as hours, to the tenth.
fn hours(seconds: i64) -> f64 {
    (seconds as f64 / 360.0).round() / 10.0
}

fn shown(kind: ReportKind, told: &GetReportResponse) -> Shown {
    let share = |title: &str, unit, header: [&'static str; 4], rows: Vec<(&str, i64, i64, f64)>| Shown {
        title: title.to_owned(),
        unit,
        header: header.to_vec(),
        bars: rows
            .iter()
            .map(|(name, part, whole, rate)| {
                (group(name), rate * 100.0, 0.0, format!("{:.2} %, {part} of {whole}", rate * 100.0))
            })
            .collect(),
        rows: rows
            .iter()
            .map(|(name, part, whole, rate)| {
                vec![group(name), part.to_string(), whole.to_string(), format!("{:.2}", rate * 100.0)]
            })
            .collect(),
    };
    match kind {
        ReportKind::Failures => {
            let rows = told.failures.iter().map(|row| (row.group.as_str(), row.failed_count, row.sold_count, row.rate));
            share("Units failed over units sold", "%", ["group", "failed", "sold", "per cent"], rows.collect())
        }
        ReportKind::NoFaultFound => {
            let rows = told.no_fault_found.iter();
            let rows = rows.map(|row| (row.group.as_str(), row.no_fault_found_count, row.inspected_count, row.rate));
            share("No fault found", "%", ["group", "no fault", "inspected", "per cent"], rows.collect())
        }
        ReportKind::Turnaround => turnaround(told),
    }
}

fn turnaround(told: &GetReportResponse) -> Shown {
    let state = |row: &crate::contract::v1::TurnaroundRow| row.state().as_str_name().trim_start_matches("CLAIM_STATE_");
    let header = ["group", "state", "left", "mean h", "p50 h", "p90 h", "longest h", "open now", "oldest h"];
    let rows = told.turnaround.iter().map(|row| {
        let spans = [row.mean_seconds, row.p50_seconds, row.p90_seconds, row.max_seconds]
            .map(|span| format!("{:.1}", hours(span)));
        let mut cells = vec![group(&row.group), state(row).to_owned(), row.left_count.to_string()];
        cells.extend(spans);
        cells.extend([row.open_count.to_string(), format!("{:.1}", hours(row.oldest_seconds))]);
        cells
    });
    let left = told.turnaround.iter().filter(|row| row.left_count > 0).map(|row| {
        let (p50, p90) = (hours(row.p50_seconds), hours(row.p90_seconds));
        (
            format!("{} {}", group(&row.group), state(row)),
            p50,
            p90,
            format!("{p50:.1} h, p90 {p90:.1} h, {}", row.left_count),
        )
    });
    Shown {
        title: "Time in each state: median, p90 paler, stays".to_owned(),
        unit: "h",
        header: header.to_vec(),
        rows: rows.collect(),
        bars: left.collect(),
    }
}

/// As columns: names to the left, numbers to the right.
fn table(shown: &Shown) -> String {
    let lines: Vec<Vec<&str>> = std::iter::once(shown.header.clone())
        .chain(shown.rows.iter().map(|row| row.iter().map(String::as_str).collect()))
        .collect();
    let width =
        |at: usize| lines.iter().filter_map(|line| line.get(at)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let mut text = format!("{}\n", shown.title);
    for line in &lines {
        let cells = line.iter().enumerate().map(|(at, cell)| match shown.header[at] {
            "group" | "state" => format!("{cell:<0$}", width(at)),
            _ => format!("{cell:>0$}", width(at)),
        });
        let _ = writeln!(text, "  {}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    text
}

fn write_csv(path: &Path, shown: &Shown) -> Result<()> {
    let mut file = csv::Writer::from_path(path)?;
    file.write_record(&shown.header)?;
    for row in &shown.rows {
        // A spreadsheet would take a lot's name that begins so for a formula.
        file.write_record(
            row.iter()
                .map(|cell| if cell.starts_with(['=', '+', '-', '@']) { format!("'{cell}") } else { cell.clone() }),
        )?;
    }
    Ok(file.flush()?)
}

/// The most bars that a picture has.
const MOST_BARS: usize = 40;
/// Of the picture, of the names before the bars, and of a bar with its margin: in pixels.
const WIDTH: i32 = 1_000;
const NAMES: i32 = 280;
const HEIGHT: i32 = 26;

fn draw(shown: &Shown, picture: &mut String) -> Result<(), Box<dyn std::error::Error>> {
    let mut bars: Vec<_> = shown.bars.iter().collect();
    bars.sort_by(|one, other| other.1.max(other.2).total_cmp(&one.1.max(one.2)));
    let left_out = bars.len().saturating_sub(MOST_BARS);
    bars.truncate(MOST_BARS);
    let height = 70 + HEIGHT * i32::try_from(bars.len().max(1))?;
    let area = SVGBackend::with_string(picture, (WIDTH.cast_unsigned(), height.cast_unsigned())).into_drawing_area();
    area.fill(&WHITE)?;
    let write = |area: &DrawingArea<SVGBackend, Shift>, text: &str, size: i32, at: (i32, i32), to: HPos| {
        area.draw(&Text::new(
            text.to_owned(),
            at,
            ("sans-serif", size).into_font().into_text_style(area).pos(Pos::new(to, VPos::Center)),
        ))
    };
    write(&area, &shown.title, 17, (16, 24), HPos::Left)?;
    let more =
        if left_out > 0 { format!(", the longest {MOST_BARS} of {}", MOST_BARS + left_out) } else { String::new() };
    let says = if bars.is_empty() { "nothing in this period".to_owned() } else { format!("in {}{more}", shown.unit) };
    write(&area, &says, 13, (16, 46), HPos::Left)?;
    let longest = bars.iter().map(|bar| bar.1.max(bar.2)).fold(f64::MIN_POSITIVE, f64::max);
    let room = f64::from(WIDTH - NAMES - 260);
    for (at, (name, full, pale, beside)) in bars.into_iter().enumerate() {
        let top = 64 + HEIGHT * i32::try_from(at)?;
        // Within the picture's width.
        let end = |value: f64| NAMES + (value / longest * room).round() as i32;
        area.draw(&Rectangle::new([(NAMES, top), (end(*pale), top + 18)], RGBColor(176, 205, 232).filled()))?;
        area.draw(&Rectangle::new([(NAMES, top), (end(*full), top + 18)], RGBColor(31, 99, 158).filled()))?;
        write(&area, name, 13, (NAMES - 10, top + 9), HPos::Right)?;
        write(&area, beside, 13, (end(full.max(*pale)) + 8, top + 9), HPos::Left)?;
    }
    area.present()?;
    Ok(())
}
