//! The system, call by call, through real listeners and a real PostgreSQL.

#![allow(clippy::unwrap_used)]

mod attack;
mod chassis;
mod claims;
mod client;
mod configuration;
mod contract;
mod house;
mod import;
mod issuer;
mod keys;
mod local;
mod rules;
mod tokens;
mod traces;
mod twice;
mod who;
mod world;
