//! PURE: the rules of the commitment and the life of a claim. Facts and the moment in, verdict out.
//!
//! Read `clause` and `facts` first, then the ladder in `coverage` with its `start`, `windows` and `proof` beside it, then the
//! life in `claim`, its fold in `claim_fold`, its steps in `claim_steps` and `claim_money`, and what a repair costs in `quote`.

pub mod actor;
pub mod calendar;
pub mod claim;
pub mod claim_fold;
pub mod claim_money;
pub mod claim_steps;
pub mod clause;
pub mod coverage;
pub mod event;
pub mod evidence;
pub mod fact;
pub mod facts;
pub mod money;
pub mod next;
pub mod parcel;
pub mod period;
pub mod policy;
pub mod proof;
pub mod quote;
pub mod refusal;
pub mod region;
pub mod return_number;
pub mod serial;
pub mod start;
pub mod summary;
pub mod vouchers;
pub mod windows;
