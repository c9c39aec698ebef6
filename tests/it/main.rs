//! The system, call by call, through real listeners and a real PostgreSQL.

#![allow(clippy::unwrap_used)]

mod answer;
mod appeals;
mod attack;
mod attack4;
mod audit;
mod bench;
mod chassis;
mod claims;
mod client;
mod configuration;
mod contract;
mod coverage;
mod domain;
mod erasure;
mod evidence;
mod filing;
mod freight;
mod gateway;
mod house;
mod import;
mod issuer;
mod keys;
mod ledger;
mod local;
mod metrics;
mod next;
mod operate;
mod parameters;
mod parcels;
mod policies;
mod quotes;
mod registry;
mod replica;
mod report;
mod rules;
mod simulation;
mod stock;
mod tokens;
mod traces;
mod twice;
mod walk;
mod watch;
mod who;
mod world;
