//! The gRPC services: parse, one store or domain call, reply.

pub mod status;
