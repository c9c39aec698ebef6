//! The system, call by call, through real listeners and a real PostgreSQL.

#![allow(clippy::unwrap_used)]

mod chassis;
mod claims;
mod house;
mod local;
mod rules;
mod twice;
mod who;
mod world;
