//! The clauses of the maker's commitment, by identifier.

use serde::{Deserialize, Serialize};
use strum::{Display, EnumCount, EnumIter, EnumString, IntoStaticStr};

/// A clause. The order is that of the commitment; findings are named in it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[derive(Display, EnumString, EnumIter, EnumCount, IntoStaticStr)]
#[rustfmt::skip]
#[allow(missing_docs)] // The texts stand in the policy.
pub enum Clause {
    S1, S2, S3, S4, S5, S6, S7,
    T1, T2, T3, T4, T5, T6, T7, T8, T9, T10, T11, T12,
    X1, X2, X3, X4, X5, X6, X7, X8,
    P1, P2,
    M1, M2, M3, M4, M5, M6, M7, M8,
}

impl Clause {
    /// Whether an inspection may name it as a finding: X1 and X3 to X8. X2 is what the windows say, not a finding.
    pub fn is_finding(self) -> bool {
        (Self::X1..=Self::X8).contains(&self) && self != Self::X2
    }
}
