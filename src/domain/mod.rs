//! PURE: the rules of the commitment and the life of a claim. Facts and the moment in, verdict out.
//!
//! Read `clause` and `facts` first, then the ladder in `coverage` with its `start`, `windows` and `proof` beside it, then the
//! life in `claim`, its fold in `claim_fold`, its steps in `claim_steps` and `claim_money`, and what a repair costs in `quote`.

/// A text of one form: read by its own `parse`, shown and kept as it is.
macro_rules! text {
    ($name:ident, $error:ident) => {
        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = $error;
            fn from_str(text: &str) -> Result<Self, $error> {
                Self::parse(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = $error;
            fn try_from(text: String) -> Result<Self, $error> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> Self {
                text.0
            }
        }
    };
}
use text;

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
pub mod freight;
pub mod ledger;
pub mod money;
pub mod next;
pub mod parcel;
pub mod period;
pub mod plain;
pub mod policy;
pub mod proof;
pub mod quote;
pub mod rate;
pub mod refusal;
pub mod region;
pub mod report;
pub mod return_number;
pub mod serial;
pub mod start;
pub mod stock;
pub mod summary;
pub mod vouchers;
pub mod windows;
