//! The system, call by call, through real listeners.

#![allow(clippy::unwrap_used)]

mod chassis;
mod client;
mod local;
