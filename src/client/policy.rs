//! `warranty policy`: checks a draft of a policy version here, asks the service what it would change, publishes it.

mod verify;

use std::{
    collections::BTreeMap,
    fs,
    io::{IsTerminal, stderr},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tonic::Status;

use super::{
    Caller,
    json::{Call, connect},
    refusal, under,
};
use crate::contract::v1::{
    self, ChangedDecision, SimulatePolicyRequest, SimulatePolicyResponse,
    registry_service_client::RegistryServiceClient,
};

/// What `warranty policy` needs.
#[derive(Args, Clone, Debug)]
pub struct PolicyArgs {
    /// What to do with a draft.
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Subcommand, Clone, Debug)]
enum PolicyCommand {
    /// Check a draft, and show it beside the standard; asks no service
    Verify {
        /// The draft, a JSON document
        file: PathBuf,
    },
    /// Make every recorded decision again under a draft, and list those that would change; writes nothing
    Simulate(DraftArgs),
    /// Publish a draft, for sales from its effective date on; it can never be changed or taken back
    Publish(DraftArgs),
}

#[derive(Args, Clone, Debug)]
struct DraftArgs {
    /// The draft, a JSON document
    file: PathBuf,
    /// Where to call, and as whom.
    #[command(flatten)]
    caller: Caller,
}

/// Runs one of the commands. The exit code is 1 where the draft has faults or the service refuses.
/// Fails where the file cannot be read, or the service or the issuer is away.
pub async fn policy(args: PolicyArgs) -> Result<ExitCode> {
    match args.command {
        PolicyCommand::Verify { file } => Ok(verify::verify(&read(&file)?)),
        PolicyCommand::Simulate(args) => Ok(told(simulate(args).await?)),
        PolicyCommand::Publish(args) => Ok(told(publish(args).await?)),
    }
}

fn read(file: &PathBuf) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

fn told(outcome: Result<(), Status>) -> ExitCode {
    outcome.map_or_else(|status| refusal::failed(&status), |()| ExitCode::SUCCESS)
}

async fn publish(args: DraftArgs) -> Result<Result<(), Status>> {
    let request = json!({"document": read(&args.file)?});
    let call = Call::new("RegistryService/PublishPolicy", &request.to_string())?;
    let token = args.caller.token().await?;
    let channel = connect(&args.caller.addresses.coverage).await?;
    let reply = match call.send(channel, token.as_deref()).await? {
        Ok(reply) => reply.transcode_to::<v1::PublishPolicyResponse>()?,
        Err(status) => return Ok(Err(status)),
    };
    let policy = reply.policy.unwrap_or_default();
    let from = policy.effective_date.unwrap_or_default();
    println!(
        "published {}, for sales from {}-{:02}-{:02} on, by {}",
        policy.version, from.year, from.month, from.day, policy.published_by
    );
    Ok(Ok(()))
}

async fn simulate(args: DraftArgs) -> Result<Result<(), Status>> {
    let document = read(&args.file)?;
    let token = args.caller.token().await?;
    let channel = connect(&args.caller.addresses.coverage).await?;
    let request = under(token.as_deref(), SimulatePolicyRequest { document, from_time: None })?;
    let mut replies = match RegistryServiceClient::new(channel).simulate_policy(request).await {
        Ok(replies) => replies.into_inner(),
        Err(status) => return Ok(Err(status)),
    };
    let progress = Progress::new()?;
    let mut ways: BTreeMap<String, i64> = BTreeMap::new();
    let mut last = SimulatePolicyResponse::default();
    loop {
        match replies.message().await {
            Ok(Some(reply)) => {
                progress.reached(&last, &reply);
                for change in &reply.changed {
                    let (was, would_be) = (remedy(change.recorded_remedy), remedy(change.simulated_remedy));
                    *ways.entry(format!("{was} -> {would_be}")).or_default() += 1;
                    progress.line(&line(change));
                }
                last = SimulatePolicyResponse { changed: Vec::new(), ..reply };
            }
            Ok(None) => break,
            Err(status) => return Ok(Err(status)),
        }
    }
    progress.bar.finish_and_clear();
    println!("{} decisions made again, {} would change", last.done_count, last.changed_count);
    for (way, count) in ways {
        println!("{count:>10}  {way}");
    }
    Ok(Ok(()))
}

/// A bar on a terminal; elsewhere a line for each tenth.
struct Progress {
    bar: ProgressBar,
}

impl Progress {
    fn new() -> Result<Self> {
        let style = ProgressStyle::with_template("{bar:40} {pos} of {len}, {eta} left; {msg}")?;
        Ok(Self { bar: ProgressBar::new(0).with_style(style) })
    }

    fn reached(&self, before: &SimulatePolicyResponse, now: &SimulatePolicyResponse) {
        let tenth = |reply: &SimulatePolicyResponse| reply.done_count * 10 / reply.total_count.max(1);
        if !stderr().is_terminal() && tenth(now) > tenth(before) {
            eprintln!("{} of {} made again, {} would change", now.done_count, now.total_count, now.changed_count);
        }
        self.bar.set_length(now.total_count.unsigned_abs());
        self.bar.set_position(now.done_count.unsigned_abs());
        self.bar.set_message(format!("{} would change", now.changed_count));
    }

    /// Prints a line; the bar stays below it.
    fn line(&self, line: &str) {
        self.bar.suspend(|| println!("{line}"));
    }
}

/// The claim and its event, the unit, what was decided and what would be.
fn line(change: &ChangedDecision) -> String {
    let by = |number: i32, clauses: &[i32]| {
        let names = clauses.iter().filter_map(|number| v1::Clause::try_from(*number).ok());
        let names: Vec<_> = names.map(|clause| clause.as_str_name().trim_start_matches("CLAUSE_")).collect();
        if names.is_empty() { remedy(number).to_owned() } else { format!("{} by {}", remedy(number), names.join(" ")) }
    };
    let was = by(change.recorded_remedy, &change.recorded_clauses);
    let would_be = by(change.simulated_remedy, &change.simulated_clauses);
    format!("{} {:>3}  {:<16}  {was:<32} -> {would_be}", change.claim_id, change.sequence, change.serial)
}

fn remedy(number: i32) -> &'static str {
    match v1::Remedy::try_from(number) {
        Ok(v1::Remedy::Unspecified) | Err(_) => "no decision, for a calendar is missing",
        Ok(remedy) => remedy.as_str_name().trim_start_matches("REMEDY_"),
    }
}
