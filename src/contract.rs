//! The contracts' generated types (`contract::v1`) and their descriptor set.
#![allow(missing_docs, clippy::all, clippy::pedantic)]

mod generated {
    include!(concat!(env!("OUT_DIR"), "/contract.rs"));
}
pub use generated::{aopre::warranty::v1, google};

mod envoy_generated {
    include!(concat!(env!("OUT_DIR"), "/envoy.rs"));
}
pub use envoy_generated::envoy::service::ratelimit::v3 as envoy;

/// The contracts' file descriptors, as reflection serves them and the method table reads them.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/contract.binpb"));
