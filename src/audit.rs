//! `warranty audit`: whether anything was changed behind the system's back.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::{
    config::MigrateConfig,
    store::audit::{self, Fault},
};

/// What to look at.
#[derive(Subcommand, Clone)]
pub enum Audit {
    /// Compute every claim's chain of events again and lay what they fold to beside its row; exits with 1 where one does not fit
    Verify(MigrateConfig),
}

/// Runs it. Faults are told on standard output, one a line. Fails where the database is away or cannot be read.
pub async fn run(audit: Audit) -> Result<ExitCode> {
    let Audit::Verify(config) = audit;
    let mut faults = 0;
    let bar = ProgressBar::no_length()
        .with_style(ProgressStyle::with_template("{bar:40} {pos} of {len} claims, {eta} left")?);
    let claims = verify(&config.database_url, &bar, |fault| {
        faults += 1;
        bar.suspend(|| println!("{fault}"));
    })
    .await?;
    bar.finish_and_clear();
    println!("{claims} claims verified, {faults} faults");
    Ok(if faults == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Verifies every claim and tells each fault as it is found. Gives how many claims there were.
pub async fn verify(url: &str, bar: &ProgressBar, mut tell: impl FnMut(Fault)) -> Result<u64> {
    let mut connection = PgConnection::connect(url).await.context("cannot reach the database")?;
    bar.set_length(audit::begin(&mut connection).await?);
    let (mut after, mut verified) = (Uuid::nil(), 0);
    while let Some((last, claims, faults)) = audit::page(&mut connection, after).await? {
        faults.into_iter().for_each(&mut tell);
        (after, verified) = (last, verified + claims);
        bar.set_position(verified);
    }
    audit::orphans(&mut connection).await?.into_iter().for_each(&mut tell);
    audit::apart(&mut connection).await?.into_iter().for_each(tell);
    Ok(verified)
}
