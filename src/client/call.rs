//! `warranty call`: any unary method by its name, with JSON in and JSON out.

use std::{
    fs,
    io::{self, Write},
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::Args;

use super::{
    Caller,
    json::{Call, connect},
    refusal,
};

/// What `warranty call` needs.
#[derive(Args, Clone, Debug)]
pub struct CallArgs {
    /// SERVICE/METHOD, such as CoverageService/CheckCoverage
    pub method: String,
    /// The request as JSON, `@FILE` to read it from a file, `-` from standard input
    #[arg(default_value = "{}")]
    pub request: String,
    /// Where to call, and as whom.
    #[command(flatten)]
    pub caller: Caller,
    /// Print the call's trace id on standard error
    #[arg(long)]
    pub trace: bool,
}

/// Calls one method and prints the reply as JSON on standard output. What the service refuses is told on standard error,
/// and the exit code is 1. Fails where the method or the request is none, or the service or the issuer is away.
pub async fn call(args: CallArgs) -> Result<ExitCode> {
    let request = match args.request.strip_prefix('@') {
        Some(path) => fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?,
        None if args.request == "-" => io::read_to_string(io::stdin()).context("cannot read standard input")?,
        None => args.request.clone(),
    };
    let call = Call::new(&args.method, &request)?;
    if let Some(id) = call.request_id {
        eprintln!("request_id {id}");
    }
    if args.trace {
        eprintln!("trace {}", call.trace);
    }
    let token = args.caller.token().await?;
    let channel = connect(call.address(&args.caller.addresses)).await?;
    match call.send(channel, token.as_deref()).await? {
        Ok(reply) => {
            writeln!(io::stdout(), "{}", serde_json::to_string_pretty(&reply)?)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(status) => Ok(refusal::failed(&status)),
    }
}
