//! ImportUnits beside COPY of the same rows.

use std::{
    fmt::{self, Display, Formatter, Write as _},
    io::{self, Write as _},
    process::ExitCode,
    time::Instant,
};

use anyhow::{Context, Result, anyhow, ensure};
use bytes::Bytes;
use chrono::{Datelike, Days, NaiveDate};
use clap::Args;
use prost::Message;
use rand::{Rng, distr::Alphanumeric};
use serde::Serialize;
use tonic::{Status, codegen::http::uri::PathAndQuery};

use super::{
    Common,
    processes::{self, Usage},
    report::{Setting, write_json},
};
use crate::{
    client::Raw,
    clock::Clock,
    contract::{
        google::r#type::Date,
        v1::{ImportUnitsRequest, ImportUnitsResponse, Unit},
    },
    local::{issuer::Kind, yardstick},
};

/// What `warranty bench import` needs.
#[derive(Args, Clone, Debug)]
pub struct ImportArgs {
    /// Rows; they stay in the registry, each time under other serials
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,
    /// Rows of one message
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    message: u64,
    #[command(flatten)]
    common: Common,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
struct Imported {
    #[serde(flatten)]
    setting: Setting,
    rows: u64,
    created: i64,
    rejected: i64,
    seconds: f64,
    rows_per_second: f64,
    /// COPY of the same rows, rows a second: just before, just after.
    copy_rows_per_second: [f64; 2],
    /// Rows a second over the mean of both.
    ratio: f64,
    processes: Vec<Usage>,
}

/// The rows of one run: serials that no run before had.
#[derive(Clone, Debug)]
struct Rows {
    prefix: String,
    model: String,
    today: NaiveDate,
}

impl Rows {
    /// Made and ex-factory.
    fn days(&self, row: u64) -> (NaiveDate, NaiveDate) {
        let made = self.today - Days::new(30 + row % 2_000);
        (made, made + Days::new(10))
    }

    fn message(&self, first: u64, end: u64) -> Bytes {
        let date = |day: NaiveDate| Date { year: day.year(), month: day.month() as i32, day: day.day() as i32 };
        let unit = |row: u64| {
            let (made, left) = self.days(row);
            Unit {
                serial: format!("{}{row:09}", self.prefix),
                model: self.model.clone(),
                lot: format!("L{}", row / 500),
                manufactured_date: Some(date(made)),
                ex_factory_date: Some(date(left)),
                sold_by_maker: true,
                ..Default::default()
            }
        };
        ImportUnitsRequest { units: (first..end).map(unit).collect() }.encode_to_vec().into()
    }

    fn copied(&self, first: u64, end: u64) -> String {
        (first..end).fold(String::new(), |mut text, row| {
            let (made, left) = self.days(row);
            let _ = writeln!(text, "{}{row:09}\t{}\tL{}\t{made}\t{left}", self.prefix, self.model, row / 500);
            text
        })
    }
}

/// Sends the rows on one stream, with COPY of the same rows before and after.
pub async fn import(args: ImportArgs) -> Result<ExitCode> {
    let url = args.common.database_url.as_deref();
    let url = url.context("COPY stands beside it: name the database with --database-url")?;
    let clock = Clock::system();
    let setting = Setting::now(clock.now(), Some(yardstick::server_version(url).await?));
    let prefix: String = rand::rng().sample_iter(Alphanumeric).take(6).map(char::from).collect();
    let prefix = format!("B{}", prefix.to_uppercase());
    let rows = Rows { prefix, model: yardstick::some_model(url).await?, today: clock.now().date_naive() };
    let target = args.common.target(&args.common.address, 1, Kind::Registry).await?;
    let parts = |total: u64, size: u64| (0..total).step_by(size as usize).map(move |at| (at, total.min(at + size)));
    let copy = || yardstick::copy_units(url, parts(args.rows, args.message).map(|(at, end)| rows.copied(at, end)));

    let before = copy().await?;
    eprintln!("COPY took {:.1} s; ImportUnits now", before.as_secs_f64());
    let pids = args.common.pids();
    let (used, began) = (processes::read(&pids)?, Instant::now());
    let sent = rows.clone();
    let messages = tokio_stream::iter(parts(args.rows, args.message).map(move |(at, end)| sent.message(at, end)));
    let path = PathAndQuery::from_static("/aopre.warranty.v1.RegistryService/ImportUnits");
    let mut client = target.client(0).await.map_err(refused)?;
    let mut replies = client.streaming(target.request(messages), path, Raw).await.map_err(refused)?.into_inner();
    let (mut told, mut last) = (0, ImportUnitsResponse::default());
    while let Some(reply) = replies.message().await.map_err(refused)? {
        last = ImportUnitsResponse::decode(reply)?;
        if last.row_count / 1_000_000 > told {
            told = last.row_count / 1_000_000;
            eprintln!("{told} million rows after {:.1} s", began.elapsed().as_secs_f64());
        }
        if let Some(row) = last.rejected.first() {
            eprintln!("row {} was rejected: {} {} {}", row.row, row.reason, row.field, row.rule);
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let processes = processes::usage(&used, &processes::read(&pids)?, args.rows);
    let after = copy().await?;

    let copy_rows_per_second = [before, after].map(|took| args.rows as f64 / took.as_secs_f64());
    let rows_per_second = args.rows as f64 / seconds;
    let imported = Imported {
        setting,
        rows: args.rows,
        created: last.created_count,
        rejected: last.rejected_count,
        seconds,
        rows_per_second,
        copy_rows_per_second,
        ratio: rows_per_second / (copy_rows_per_second.iter().sum::<f64>() / 2.0),
        processes,
    };
    writeln!(io::stdout(), "{imported}")?;
    if let Some(path) = &args.common.json {
        write_json(path, &imported)?;
    }
    ensure!(imported.created == args.rows as i64, "{} of {} rows were created", imported.created, args.rows);
    Ok(ExitCode::SUCCESS)
}

fn refused(status: Status) -> anyhow::Error {
    anyhow!("ImportUnits ended with {:?}: {}", status.code(), status.message())
}

impl Display for Imported {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let [before, after] = self.copy_rows_per_second;
        writeln!(f, "{}", self.setting)?;
        write!(f, "ImportUnits: {} rows in {:.1} s, {:.0} a second; ", self.rows, self.seconds, self.rows_per_second)?;
        writeln!(f, "{} created, {} rejected", self.created, self.rejected)?;
        writeln!(f, "  {:.2} of COPY of the same rows: {before:.0} a second before, {after:.0} after", self.ratio)?;
        self.processes.iter().try_for_each(|used| writeln!(f, "{used}"))
    }
}
