//! A CSV file as rows of a call, and the file of those that were not taken.

use std::{
    collections::HashMap,
    fs, io,
    marker::PhantomData,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, bail};
use chrono::NaiveDate;
use csv::ByteRecord;
use tokio::sync::mpsc::{self, Receiver};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, transport::Channel};

use super::{Counts, Kind};
use crate::{
    contract::{
        google::r#type::Date,
        v1::{self, RejectedRow, registry_service_client::RegistryServiceClient},
    },
    service::wire::date,
};

/// A message's rows at most.
pub(super) const MOST_ROWS: usize = 1000;
/// What a file of rejected rows says of each, before the row itself; a file that is mended and sent again may keep them.
const SAID: [&str; 4] = ["line", "field", "rule", "reason"];

/// A file's columns.
pub(super) struct Columns {
    header: ByteRecord,
    at: HashMap<String, usize>,
}

/// A file whose header names the right columns.
pub(super) struct File<K> {
    pub(super) columns: Arc<Columns>,
    reader: Option<csv::Reader<Box<dyn io::Read + Send>>>,
    kind: PhantomData<fn() -> K>,
}

/// A row and where it stands.
pub(super) struct Place {
    line: u64,
    /// Where it begins in the file.
    pub(super) byte: u64,
    record: ByteRecord,
}

/// At most a message's rows.
pub(super) struct Batch<K: Kind> {
    pub(super) rows: Vec<K::Row>,
    /// Of each of `rows`.
    pub(super) places: Vec<Place>,
    /// Rows that cannot be read, each with a field and the rule that it breaks.
    pub(super) unreadable: Vec<(Place, &'static str, String)>,
}

/// One row's values by column.
pub(super) struct Line<'a> {
    columns: &'a Columns,
    record: &'a ByteRecord,
}

impl<K: Kind> File<K> {
    /// Opens a file, `-` for standard input, and gives its size where it has one. Fails where it cannot be read, or its columns
    /// are not the kind's.
    pub(super) fn open(path: &Path) -> Result<(Self, Option<u64>)> {
        let (source, size): (Box<dyn io::Read + Send>, _) = match path.to_str() {
            Some("-") => (Box::new(io::stdin()), None),
            _ => {
                let file = fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
                let size = file.metadata().ok().map(|about| about.len());
                (Box::new(file), size)
            }
        };
        let mut reader = csv::ReaderBuilder::new().flexible(true).buffer_capacity(1 << 16).from_reader(source);
        let header = reader.byte_headers().with_context(|| format!("cannot read {}", path.display()))?.clone();
        let names: Vec<String> = header.iter().map(|name| String::from_utf8_lossy(name).trim().to_owned()).collect();
        let (must, may) = K::COLUMNS;
        let known = |name: &str| [must, may, &SAID].iter().any(|names| names.contains(&name));
        let unknown: Vec<&str> = names.iter().map(String::as_str).filter(|name| !known(name)).collect();
        let missing: Vec<&str> =
            must.iter().copied().filter(|column| !names.iter().any(|name| name == column)).collect();
        let at: HashMap<String, usize> = names.iter().cloned().zip(0..).collect();
        let faults = [("unknown", unknown), ("missing", missing)].into_iter().filter(|(_, names)| !names.is_empty());
        let faults: Vec<String> = faults.map(|(what, names)| format!("{what}: {}", names.join(", "))).collect();
        if !faults.is_empty() {
            let (must, may) = (must.join(", "), may.join(", "));
            bail!("the first row must name the columns {must}, and may name {may}; {}", faults.join("; "));
        }
        if at.len() < names.len() {
            bail!("the first row names a column twice");
        }
        let columns = Arc::new(Columns { header, at });
        Ok((Self { columns, reader: Some(reader), kind: PhantomData }, size))
    }

    /// Reads the rows in a thread of its own, a few messages ahead.
    pub(super) fn read(mut self) -> (Self, Receiver<Result<Batch<K>>>) {
        let (batches, ready) = mpsc::channel(4);
        let (columns, reader) = (Arc::clone(&self.columns), self.reader.take());
        tokio::task::spawn_blocking(move || {
            let Some(mut reader) = reader else { return };
            loop {
                let batch = batch::<K>(&columns, &mut reader);
                let empty = matches!(&batch, Ok(batch) if batch.rows.is_empty() && batch.unreadable.is_empty());
                let failed = batch.is_err();
                if empty || batches.blocking_send(batch).is_err() || failed {
                    return;
                }
            }
        });
        (self, ready)
    }

    /// A row once more.
    pub(super) fn row(&self, place: &Place) -> Result<K::Row, (&'static str, String)> {
        K::read(&Line { columns: &self.columns, record: &place.record })
    }
}

fn batch<K: Kind>(columns: &Columns, reader: &mut csv::Reader<Box<dyn io::Read + Send>>) -> Result<Batch<K>> {
    let mut batch =
        Batch { rows: Vec::with_capacity(MOST_ROWS), places: Vec::with_capacity(MOST_ROWS), unreadable: Vec::new() };
    let mut record = ByteRecord::new();
    while batch.rows.len() + batch.unreadable.len() < MOST_ROWS
        && reader.read_byte_record(&mut record).context("cannot read on")?
    {
        let at = record.position();
        let place = Place {
            line: at.map_or(0, csv::Position::line),
            byte: at.map_or(0, csv::Position::byte),
            record: record.clone(),
        };
        let row = match (record.len(), columns.header.len()) {
            (there, asked) if there != asked => {
                Err(("", format!("the row has {there} columns, the first row {asked}")))
            }
            _ => K::read(&Line { columns, record: &record }),
        };
        match row {
            Ok(row) => {
                batch.rows.push(row);
                batch.places.push(place);
            }
            Err((field, rule)) => batch.unreadable.push((place, field, rule)),
        }
    }
    Ok(batch)
}

impl Line<'_> {
    /// Empty where the file has no such column.
    fn text(&self, name: &'static str) -> Result<String, (&'static str, String)> {
        let value = self.columns.at.get(name).and_then(|at| self.record.get(*at)).unwrap_or_default();
        let text = str::from_utf8(value).map_err(|_| (name, "must be UTF-8".to_owned()))?;
        Ok(text.trim().to_owned())
    }

    fn date(&self, name: &'static str) -> Result<Option<Date>, (&'static str, String)> {
        let text = self.text(name)?;
        let day = (text.len() == 10).then(|| NaiveDate::parse_from_str(&text, "%Y-%m-%d").ok()).flatten();
        day.map(|day| Some(date(day))).ok_or_else(|| (name, "must be a date: 2026-01-31".to_owned()))
    }

    fn flag(&self, name: &'static str) -> Result<bool, (&'static str, String)> {
        self.text(name)?.parse().map_err(|_| (name, "must be true or false".to_owned()))
    }
}

/// The file of rows that were not taken, made with the first of them.
pub(super) struct Rejected {
    path: PathBuf,
    columns: Arc<Columns>,
    writer: Option<csv::Writer<fs::File>>,
}

impl Rejected {
    pub(super) fn new(path: PathBuf, columns: &Arc<Columns>) -> Self {
        Self { path, columns: Arc::clone(columns), writer: None }
    }

    /// Writes a row, why it was not taken first.
    pub(super) fn write(&mut self, place: &Place, field: &str, rule: &str, reason: &str) -> Result<()> {
        let line = place.line.to_string();
        let said = [line.as_str(), field, rule, reason];
        self.record(said, &place.record).with_context(|| format!("cannot write {}", self.path.display()))
    }

    fn record(&mut self, said: [&str; 4], record: &ByteRecord) -> csv::Result<()> {
        // What an earlier import said of its rows is not said again.
        let said_before: Vec<usize> = SAID.iter().filter_map(|name| self.columns.at.get(*name).copied()).collect();
        let own = |record: &ByteRecord| -> Vec<Vec<u8>> {
            let values = record.iter().enumerate().filter(|(at, _)| !said_before.contains(at));
            values.map(|(_, value)| value.to_vec()).collect()
        };
        let writer = match &mut self.writer {
            Some(writer) => writer,
            None => {
                let mut writer = csv::WriterBuilder::new().flexible(true).from_path(&self.path)?;
                let names = own(&self.columns.header);
                writer.write_record(SAID.iter().map(|name| name.as_bytes()).chain(names.iter().map(Vec::as_slice)))?;
                self.writer.insert(writer)
            }
        };
        let values = own(record);
        writer.write_record(said.iter().map(|said| said.as_bytes()).chain(values.iter().map(Vec::as_slice)))
    }

    /// Writes what is left.
    pub(super) fn close(&mut self) -> Result<()> {
        let flushed = self.writer.as_mut().map_or(Ok(()), csv::Writer::flush);
        flushed.with_context(|| format!("cannot write {}", self.path.display()))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// A kind of row: its columns, and how a line is one. The calls and replies of all differ in their names alone.
macro_rules! kind {
    ($kind:ident of $row:ident as $rows:ident by $call:ident($message:ident) -> $reply:ident:
        $columns:expr, $($text:ident)*, $($read:ident $of:ident)*) => {
        /// Rows of this kind.
        pub(super) struct $kind;

        impl Kind for $kind {
            const COLUMNS: (&'static [&'static str], &'static [&'static str]) = $columns;
            type Row = v1::$row;
            type Message = v1::$message;
            type Reply = v1::$reply;

            fn read(line: &Line) -> Result<v1::$row, (&'static str, String)> {
                Ok(v1::$row { $($text: line.text(stringify!($text))?,)* $($of: line.$read(stringify!($of))?,)* })
            }

            fn message($rows: Vec<v1::$row>) -> v1::$message {
                v1::$message { $rows }
            }

            async fn call(
                mut client: RegistryServiceClient<Channel>,
                request: Request<ReceiverStream<v1::$message>>,
            ) -> Result<Response<Streaming<v1::$reply>>, Status> {
                client.$call(request).await
            }

            fn progress(reply: v1::$reply) -> (Counts, Vec<RejectedRow>) {
                let v1::$reply { row_count, created_count, unchanged_count, rejected_count, rejected } = reply;
                let (rows, created, unchanged) = (row_count, created_count, unchanged_count);
                (Counts { rows, created, unchanged, rejected: rejected_count }, rejected)
            }
        }
    };
}
kind!(Units of Unit as units by import_units(ImportUnitsRequest) -> ImportUnitsResponse:
    (&["serial", "model", "manufactured_date", "ex_factory_date", "sold_by_maker"], &["lot", "refurbished_from"]),
    serial model lot refurbished_from, date manufactured_date date ex_factory_date flag sold_by_maker);
kind!(Sales of ImportedSale as sales by import_sales(ImportSalesRequest) -> ImportSalesResponse:
    (&["serial", "sold_date"], &["dealer_id", "invoice_number", "warranty_card_number", "region", "contract_number", "model"]),
    serial dealer_id invoice_number warranty_card_number region contract_number model, date sold_date);
