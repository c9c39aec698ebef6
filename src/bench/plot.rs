//! The report as a picture: calls and latencies over time, and latencies by percentile.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use plotters::{coord::Shift, prelude::*};

use super::report::Report;

/// A line: its name and its points.
type Line = (String, Vec<(f64, f64)>);

/// Writes it as SVG.
pub fn write_svg(path: &Path, report: &Report) -> Result<()> {
    let mut picture = String::new();
    draw(report, &mut picture).map_err(|error| anyhow!("cannot draw: {error}"))?;
    std::fs::write(path, picture).with_context(|| format!("cannot write {}", path.display()))
}

fn draw(report: &Report, picture: &mut String) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::with_string(picture, (900, 1_000)).into_drawing_area();
    area.fill(&WHITE)?;
    let when = report.setting.started_time.format("%Y-%m-%d %H:%M UTC");
    let area = area.titled(&format!("warranty bench, {when}"), ("sans-serif", 20))?;
    let panels = area.split_evenly((3, 1));
    let lines = |of: fn(&super::latency::Second) -> f64, suffix: &str| -> Vec<Line> {
        let line = |phase: &super::report::Phase| {
            let points = phase.by_second.iter().zip(1..).map(|(second, at)| (f64::from(at), of(second))).collect();
            (format!("{}{suffix}", phase.name), points)
        };
        report.phases.iter().map(line).collect()
    };
    panel(&panels[0], "seconds", "calls a second", &lines(|second| second.calls as f64, ""), &|x| format!("{x:.0}"))?;
    let mut latencies = lines(|second| second.p50_ms, ": p50");
    latencies.extend(lines(|second| second.p99_ms, ": p99"));
    panel(&panels[1], "seconds", "ms", &latencies, &|x| format!("{x:.0}"))?;
    let curves: Vec<Line> = report
        .phases
        .iter()
        .flat_map(|phase| phase.kinds.iter().map(move |of_kind| (phase, of_kind)))
        .map(|(phase, of_kind)| {
            let points = of_kind.curve.iter().map(|(percent, ms)| (nines(*percent), *ms)).collect();
            (format!("{}: {}", phase.name, of_kind.kind), points)
        })
        .collect();
    // At 0, 1, 2, 3 nines.
    let percent = |x: &f64| format!("{}", 100.0 * (1.0 - 10f64.powf(-x)));
    panel(&panels[2], "percent of calls that took at most", "ms", &curves, &percent)?;
    area.present()?;
    Ok(())
}

/// How many nines a percentile has: 90 has one, 99.9 three.
fn nines(percent: f64) -> f64 {
    -(1.0 - percent / 100.0).log10()
}

fn panel(
    area: &DrawingArea<SVGBackend, Shift>,
    x_name: &str,
    y_name: &str,
    lines: &[Line],
    x_label: &dyn Fn(&f64) -> String,
) -> Result<(), Box<dyn std::error::Error>> {
    let points = || lines.iter().flat_map(|(_, points)| points);
    let right = points().map(|(x, _)| *x).fold(1.0, f64::max);
    let top = points().map(|(_, y)| *y).fold(0.001, f64::max) * 1.1;
    let mut chart = ChartBuilder::on(area)
        .margin(10)
        .x_label_area_size(40)
        .y_label_area_size(70)
        .build_cartesian_2d(0.0..right * 1.5, 0.0..top)?;
    // The names of the lines stand to the right of them.
    let within = |x: &f64| if *x <= right { x_label(x) } else { String::new() };
    let mut mesh = chart.configure_mesh();
    mesh.x_desc(x_name).x_labels(((right * 1.5) as usize + 1).min(20)).x_label_formatter(&within);
    let of_y = |y: &f64| if top < 10.0 { format!("{y:.1}") } else { format!("{y:.0}") };
    mesh.y_desc(y_name).y_label_formatter(&of_y).light_line_style(WHITE).draw()?;
    for (number, (name, points)) in lines.iter().enumerate() {
        let colour = Palette99::pick(number);
        let line = LineSeries::new(points.iter().copied(), colour.stroke_width(2));
        let key = move |(x, y)| PathElement::new(vec![(x, y), (x + 15, y)], Palette99::pick(number).stroke_width(2));
        chart.draw_series(line)?.label(name).legend(key);
    }
    chart.configure_series_labels().position(SeriesLabelPosition::UpperRight).draw()?;
    Ok(())
}
