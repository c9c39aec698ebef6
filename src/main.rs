//! The one binary: parse, and run the chosen process or command.

use std::{io, process::ExitCode};

use clap::Parser;
use tokio::runtime::Builder;
use warranty::{
    audit, bench, client,
    config::{Cli, Command},
    local, openapi,
    process::{self, Process},
    ratelimit, store,
};

/// Calls are many small allocations on a few threads: glibc's takes a sixth of a CheckCoverage.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // The HTTPS client that fetches keys brings no cryptography of its own.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match runtime().and_then(|runtime| runtime.block_on(run(cli.command))) {
        Ok(code) => code,
        // Whoever read what was printed has seen enough.
        Err(error)
            if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) =>
        {
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("warranty: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// One or two cores are shared with the database and the callers: one thread then answers most, for nobody wakes a neighbour, and
/// what is ready together is written together. More cores are all used.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut runtime = if cores > 2 { Builder::new_multi_thread() } else { Builder::new_current_thread() };
    // Many callers wait for what one socket brings, the database's: sockets are looked at between every few tasks.
    Ok(runtime.event_interval(5).enable_all().build()?)
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Coverage(config) => process::serve(Process::Coverage, config).await?,
        Command::Claim(config) => process::serve(Process::Claim, config).await?,
        Command::Logistics(config) => process::serve(Process::Logistics, config).await?,
        Command::All(config) => process::serve(Process::All, config).await?,
        Command::Ratelimit(config) => ratelimit::serve(config).await?,
        Command::Openapi(args) => openapi::print(&args)?,
        Command::Migrate(config) => store::migrate(&config.database_url).await?,
        Command::Health(config) => process::health(config).await?,
        Command::Up(args) => local::up(args).await?,
        Command::Token(args) => local::token(&args)?,
        Command::Bench(args) => return bench::bench(args).await,
        Command::Call(args) => return client::call(args).await,
        Command::Import(args) => return client::import(args).await,
        Command::Policy(args) => return client::policy(args).await,
        Command::Report(args) => return client::report(args).await,
        Command::Watch(args) => return client::watch(args).await,
        Command::Audit(args) => return audit::run(args).await,
        Command::Walk(args) => {
            let right = client::walk(args).await?;
            return Ok(if right { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
    }
    Ok(ExitCode::SUCCESS)
}
