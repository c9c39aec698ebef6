//! The warranty system: which unit is covered, by which clause, until when, and why; who may claim; where the unit is;
//! who pays.
//!
//! The rooms, in reading order. `domain` knows nobody; `store` knows `domain`; `service` knows `domain`, `store` and
//! `auth`; `server` is the chassis under every process; `ratelimit` is the gateway's; `local`, `client`, `bench`, `openapi` and
//! `audit` are for people at a terminal.
//! `tests/it/house.rs` checks these rules by reading the source.

pub mod audit;
pub mod auth;
pub mod bench;
pub mod client;
pub mod clock;
pub mod config;
pub mod contract;
pub mod domain;
pub mod local;
pub mod metrics;
pub mod openapi;
pub mod process;
pub mod ratelimit;
pub mod server;
pub mod service;
pub mod store;
pub mod telemetry;
