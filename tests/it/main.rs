//! The system, call by call, through real listeners and a real PostgreSQL.

#![allow(clippy::unwrap_used)]

mod answer;
mod attack;
mod bench;
mod chassis;
mod claims;
mod client;
mod configuration;
mod contract;
mod coverage;
mod erasure;
mod evidence;
mod filing;
mod house;
mod import;
mod issuer;
mod keys;
mod local;
mod parameters;
mod policies;
mod registry;
mod rules;
mod tokens;
mod traces;
mod twice;
mod who;
mod world;
