//! `warranty import`: units or sales from a CSV file, with what was not taken in a file of its own.

mod display;
mod rows;

use std::{collections::VecDeque, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use tokio::sync::mpsc::{self, Receiver};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming, transport::Channel};
use tonic_types::StatusExt;

use super::{Caller, json::connect, refusal, under};
use crate::contract::v1::{RejectedRow, registry_service_client::RegistryServiceClient};
use display::Display;
use rows::{Batch, File, Line, Place, Rejected};

/// How often an import that gets no further is tried again.
const TRIES: u32 = 8;

/// What `warranty import` needs.
#[derive(Args, Clone, Debug)]
pub struct ImportArgs {
    /// What the rows are
    pub what: What,
    /// The CSV file, `-` for standard input. Its first row names the columns as the contract names the fields
    pub file: PathBuf,
    /// Where rows that are not taken are written, to be mended and imported [default: FILE with .rejected.csv]
    #[arg(long)]
    pub rejected: Option<PathBuf>,
    /// Where to call, and as whom.
    #[command(flatten)]
    pub caller: Caller,
}

/// What can be imported.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum What {
    /// serial, model, manufactured_date, ex_factory_date, sold_by_maker; lot, refurbished_from
    Units,
    /// serial, sold_date; dealer_id, invoice_number, warranty_card_number, region, contract_number, model
    Sales,
}

/// Imports a file and says what became of its rows; the exit code is 1 where any was not taken. Tries again by itself where the
/// service is away. Fails where the file or the service does: what was acknowledged is kept, and the file may be sent again.
pub async fn import(args: ImportArgs) -> Result<ExitCode> {
    match args.what {
        What::Units => run::<rows::Units>(args).await,
        What::Sales => run::<rows::Sales>(args).await,
    }
}

/// A kind of row.
trait Kind: 'static {
    /// The columns that there must be, and those that may be.
    const COLUMNS: (&'static [&'static str], &'static [&'static str]);
    type Row: Send;
    type Message: Send + 'static;
    type Reply;

    fn read(line: &Line) -> Result<Self::Row, (&'static str, String)>;
    fn message(rows: Vec<Self::Row>) -> Self::Message;
    async fn call(
        client: RegistryServiceClient<Channel>,
        request: Request<ReceiverStream<Self::Message>>,
    ) -> Result<Response<Streaming<Self::Reply>>, Status>;
    fn progress(reply: Self::Reply) -> (Counts, Vec<RejectedRow>);
}

/// What became of rows so far.
#[derive(Clone, Copy, Default)]
struct Counts {
    rows: i64,
    created: i64,
    unchanged: i64,
    rejected: i64,
}

/// Why one stream of an import ended before its rows did.
enum Ended {
    /// It may go on in another one.
    Away(String),
    ForGood(anyhow::Error),
}

struct Import<K: Kind> {
    file: File<K>,
    batches: Receiver<Result<Batch<K>>>,
    /// Rows sent and not acknowledged yet, in order.
    sent: VecDeque<Place>,
    /// Of all streams so far.
    counts: Counts,
    rejected: Rejected,
    display: Display,
}

async fn run<K: Kind>(args: ImportArgs) -> Result<ExitCode> {
    let (file, size) = File::<K>::open(&args.file)?;
    let rejected = args.rejected.clone().unwrap_or_else(|| match args.file.to_str() {
        Some("-") => PathBuf::from("rejected.csv"),
        _ => args.file.with_extension("rejected.csv"),
    });
    if rejected == args.file {
        bail!("the rejected rows must go to another file");
    }
    // Those of an earlier run are done with: nobody shall take them for this one's.
    if let Err(error) = std::fs::remove_file(&rejected)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        bail!("cannot write {}: {error}", rejected.display());
    }
    let rejected = Rejected::new(rejected, &file.columns);
    let (file, batches) = file.read();
    let display = Display::new(size);
    let mut import = Import { file, batches, sent: VecDeque::new(), counts: Counts::default(), rejected, display };
    let mut tries = 0;
    loop {
        let before = import.counts.rows;
        match import.stream(&args).await {
            Ok(()) => break,
            Err(Ended::ForGood(error)) => {
                return Err(error.context(format!("the import ended after {} rows", import.counts.rows)));
            }
            Err(Ended::Away(why)) => {
                tries = if import.counts.rows > before { 1 } else { tries + 1 };
                if tries > TRIES {
                    bail!("{}: {why}", import.kept());
                }
                import.display.say(&format!("{why}; trying again"));
                tokio::time::sleep(Duration::from_millis(500) * tries).await;
            }
        }
    }
    import.rejected.close()?;
    import.display.end(&import.counts, import.rejected.path());
    Ok(if import.counts.rejected == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl<K: Kind> Import<K> {
    fn kept(&self) -> String {
        format!("the import broke off after {} rows; send the file again to go on", self.counts.rows)
    }

    /// One stream, to the end of the rows: first those that an earlier one left unacknowledged.
    async fn stream(&mut self, args: &ImportArgs) -> Result<(), Ended> {
        let (rows, outgoing) = mpsc::channel(2);
        let mut replies = open::<K>(args, ReceiverStream::new(outgoing)).await?;
        let again: Vec<K::Row> = self.sent.iter().filter_map(|place| self.file.row(place).ok()).collect();
        let mut again = chunks(again).into_iter();
        let (mut next, mut rows, mut over) = (again.next().map(K::message), Some(rows), false);
        let mut stream = Counts::default();
        loop {
            tokio::select! {
                reply = replies.message() => match reply {
                    Ok(Some(reply)) => self.acknowledge(&mut stream, K::progress(reply))?,
                    Ok(None) if rows.is_none() && self.sent.is_empty() => return Ok(()),
                    Ok(None) => return Err(Ended::Away("the service ended the import".to_owned())),
                    Err(status) => return Err(ended(&status)),
                },
                permit = reserve(rows.as_ref()), if next.is_some() => {
                    // Where the stream is over its reply says why.
                    if let (Some(permit), Some(message)) = (permit, next.take()) {
                        permit.send(message);
                        next = again.next().map(K::message);
                    }
                }
                batch = self.batches.recv(), if next.is_none() && !over => match batch {
                    Some(batch) => next = self.take(batch.map_err(Ended::ForGood)?)?,
                    None => over = true,
                },
            }
            if over {
                // The service ends the import once it has kept the last group.
                rows = None;
            }
        }
    }

    /// The next message; rows that cannot be read are rejected here.
    fn take(&mut self, batch: Batch<K>) -> Result<Option<K::Message>, Ended> {
        for (place, field, rule) in batch.unreadable {
            self.counts.rows += 1;
            self.counts.rejected += 1;
            self.rejected.write(&place, field, &rule, "INVALID_FIELDS").map_err(Ended::ForGood)?;
        }
        self.sent.extend(batch.places);
        Ok((!batch.rows.is_empty()).then(|| K::message(batch.rows)))
    }

    /// Rows that are done with: kept for good, or told as rejected.
    fn acknowledge(&mut self, stream: &mut Counts, (now, rejected): (Counts, Vec<RejectedRow>)) -> Result<(), Ended> {
        let odd = || Ended::ForGood(anyhow::anyhow!("the service counts rows that were not sent"));
        for row in rejected {
            let at = usize::try_from(row.row - 1 - stream.rows).map_err(|_| odd())?;
            let place = self.sent.get(at).ok_or_else(odd)?;
            self.rejected.write(place, &row.field, &row.rule, &row.reason).map_err(Ended::ForGood)?;
        }
        let done = usize::try_from(now.rows - stream.rows).ok().filter(|done| *done <= self.sent.len());
        let last = self.sent.drain(..done.ok_or_else(odd)?).next_back();
        self.counts.rows += now.rows - stream.rows;
        self.counts.created += now.created - stream.created;
        self.counts.unchanged += now.unchanged - stream.unchanged;
        self.counts.rejected += now.rejected - stream.rejected;
        *stream = now;
        self.display.show(&self.counts, last.map(|place| place.byte));
        Ok(())
    }
}

/// A place in the channel; never, where nothing more is sent.
async fn reserve<T>(rows: Option<&mpsc::Sender<T>>) -> Option<mpsc::Permit<'_, T>> {
    match rows {
        Some(rows) => match rows.reserve().await {
            Ok(permit) => Some(permit),
            Err(_) => std::future::pending().await,
        },
        None => None,
    }
}

fn chunks<T>(rows: Vec<T>) -> Vec<Vec<T>> {
    let mut chunks = Vec::new();
    let mut rows = rows.into_iter().peekable();
    while rows.peek().is_some() {
        chunks.push(rows.by_ref().take(rows::MOST_ROWS).collect());
    }
    chunks
}

async fn open<K: Kind>(args: &ImportArgs, outgoing: ReceiverStream<K::Message>) -> Result<Streaming<K::Reply>, Ended> {
    let token = args.caller.token().await.map_err(Ended::ForGood)?;
    let channel = connect(&args.caller.addresses.coverage).await.map_err(|error| Ended::Away(format!("{error:#}")))?;
    let request = under(token.as_deref(), outgoing).map_err(Ended::ForGood)?;
    let replies = K::call(RegistryServiceClient::new(channel), request).await;
    Ok(replies.map_err(|status| ended(&status))?.into_inner())
}

/// What the service says itself carries details; the rest says that a connection broke.
fn ended(status: &Status) -> Ended {
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded => Ended::Away(status.message().to_owned()),
        _ if status.get_details_error_info().is_none() => Ended::Away(status.message().to_owned()),
        _ => Ended::ForGood(anyhow::anyhow!(refusal::told(status))),
    }
}
