//! `warranty up`: the whole system on one machine, with nothing to set up; and `warranty token`, for trying it.

use std::path::PathBuf;

use clap::Args;

mod installation;
pub mod issuer;
mod leash;
pub mod postgres;
pub mod sample;
mod up;

pub use up::{token, up};

/// Where `up` keeps everything, and who its issuer is.
#[derive(Args, Clone, Debug)]
pub struct Place {
    /// The data folder [default: /var/lib/warranty for root, else ~/.local/state/warranty]
    #[arg(long, env = "WARRANTY_DATA")]
    pub data: Option<PathBuf>,
    #[arg(long, env = "XDG_STATE_HOME", hide = true)]
    state_home: Option<PathBuf>,
    #[arg(long, env = "HOME", hide = true)]
    home: Option<PathBuf>,
    /// The development issuer's port
    #[arg(long, default_value_t = 50050)]
    pub issuer_port: u16,
    /// The audience of its tokens
    #[arg(long, env = "WARRANTY_AUDIENCE", default_value = "warranty")]
    pub audience: String,
}

/// Runs the whole system on this machine, until Ctrl-C
#[derive(Args, Clone, Debug)]
pub struct UpArgs {
    /// What `up` and `token` share.
    #[command(flatten)]
    pub place: Place,
    /// A database of yours; without it a private PostgreSQL is started in the data folder
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// The private PostgreSQL's port, 0 for a free one
    #[arg(long, default_value_t = 0)]
    pub postgres_port: u16,
    /// The coverage service's port
    #[arg(long, default_value_t = 50051)]
    pub coverage_port: u16,
    /// The claim service's port
    #[arg(long, default_value_t = 50052)]
    pub claim_port: u16,
    /// The logistics service's port
    #[arg(long, default_value_t = 50053)]
    pub logistics_port: u16,
    /// The coverage service's port for metrics and probes
    #[arg(long, default_value_t = 9051)]
    pub coverage_admin_port: u16,
    /// The claim service's port for metrics and probes
    #[arg(long, default_value_t = 9052)]
    pub claim_admin_port: u16,
    /// The logistics service's port for metrics and probes
    #[arg(long, default_value_t = 9053)]
    pub logistics_admin_port: u16,
}

/// Prints a token of the development issuer, to try things with
#[derive(Args, Clone, Debug)]
pub struct TokenArgs {
    /// What `up` and `token` share.
    #[command(flatten)]
    pub place: Place,
    /// Whose.
    #[command(flatten)]
    pub wish: issuer::Wish,
}
