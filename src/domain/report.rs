//! Reports: what is counted, and by what.

use strum::{Display, EnumIter, EnumString};

/// What to report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, EnumString, EnumIter)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum ReportKind {
    /// How long claims were in each state.
    Turnaround,
    /// Units that failed over units sold.
    Failures,
    /// Inspections without a fault over all.
    NoFaultFound,
}

/// By what a report groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, EnumString, EnumIter)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs)]
pub enum ReportBy {
    Model,
    Dealer,
    Depot,
    Lot,
    FactoryMonth,
}

impl ReportKind {
    /// By what it may be grouped.
    pub fn groups(self) -> &'static [ReportBy] {
        use ReportBy as By;
        match self {
            Self::Turnaround => &[By::Model, By::Dealer, By::Depot],
            Self::Failures => &[By::Model, By::Lot, By::FactoryMonth],
            Self::NoFaultFound => &[By::Dealer, By::Model],
        }
    }
}

impl ReportBy {
    /// Whether one model must be named: lots and months are many, and mean something within a model alone.
    pub fn needs_model(self) -> bool {
        matches!(self, Self::Lot | Self::FactoryMonth)
    }
}
