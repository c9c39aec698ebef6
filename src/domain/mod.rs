//! PURE: the rules of the commitment and the life of a claim. Facts and the moment in, verdict out.

pub mod actor;
