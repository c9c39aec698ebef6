//! `warranty up`: the whole system on one machine, with nothing to set up; and `warranty token`, for trying it.

use std::{net::Ipv4Addr, path::PathBuf};

use clap::{Args, value_parser};

mod gateway;
mod installation;
pub mod issuer;
mod leash;
pub mod postgres;
pub mod sample;
pub mod seed;
mod up;
mod welcome;
pub mod yardstick;

pub use up::{token, up};

/// Where `up` keeps its data, and where it listens.
#[derive(Args, Clone, Debug)]
pub struct Place {
    /// The data folder [default: /var/lib/warranty for root, else ~/.local/state/warranty]
    #[arg(long, env = "WARRANTY_DATA")]
    pub data: Option<PathBuf>,
    #[arg(long, env = "HOME", hide = true)]
    home: Option<PathBuf>,
    /// The first of twelve ports in a row: the issuer, coverage, claim, logistics, the probes of these three, PostgreSQL, and with
    /// a gateway its limits, itself, and two of its Envoy's own
    #[arg(long, default_value_t = 7050, value_parser = value_parser!(u16).range(1..=65524))]
    pub port: u16,
}

/// Where `make page` serves the customer's page.
const PAGE: &str = "http://127.0.0.1:5173,http://localhost:5173";

/// What `warranty up` needs.
#[derive(Args, Clone, Debug)]
pub struct UpArgs {
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// A database of yours; without it a private PostgreSQL is started in the data folder
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// Origins that browsers may call the services from, comma separated
    #[arg(long, env = "WARRANTY_ALLOWED_ORIGINS", value_name = "ORIGINS", default_value = PAGE)]
    pub allowed_origins: String,
    /// Put the gateway before the services: the path of an Envoy
    #[arg(long, value_name = "ENVOY")]
    pub gateway: Option<PathBuf>,
    /// How the gateway stands there.
    #[command(flatten)]
    pub front: Front,
}

/// What of the gateway may be chosen.
#[derive(Args, Clone, Debug)]
pub struct Front {
    /// Calls of one caller that the gateway lets through in a second, a quarter of them at once
    #[arg(long, default_value_t = 100, requires = "gateway", value_parser = value_parser!(u32).range(1..))]
    pub rate: u32,
    /// The folder of the customer's page, which the gateway serves at /
    #[arg(long, value_name = "FOLDER", requires = "gateway")]
    pub page: Option<PathBuf>,
    /// This machine's address in a network, such as 192.168.1.20: the gateway listens to all of it, so that a phone can call
    #[arg(long, value_name = "ADDRESS", requires = "gateway", default_value_t = Ipv4Addr::LOCALHOST)]
    pub host: Ipv4Addr,
}

/// What `warranty token` needs.
#[derive(Args, Clone, Debug)]
pub struct TokenArgs {
    /// Where `up` keeps the key that signs.
    #[command(flatten)]
    pub place: Place,
    /// Whose.
    #[command(flatten)]
    pub who: issuer::Who,
}
