//! The only place that asks for the time. Everything else is handed a [`Clock`], or the moment itself.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use chrono::{DateTime, SubsecRound, Utc};

pub use crate::domain::period::civil_date;

/// Tells the time: the system's, or one that a test sets.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    fixed_at: Option<Arc<AtomicI64>>,
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stands at `at` until [`Clock::set`] moves it.
    pub fn fixed(at: DateTime<Utc>) -> Self {
        Self { fixed_at: Some(Arc::new(AtomicI64::new(at.timestamp_micros()))) }
    }

    /// Moves a fixed clock; the system's stays as it is.
    pub fn set(&self, at: DateTime<Utc>) {
        if let Some(fixed_at) = &self.fixed_at {
            fixed_at.store(at.timestamp_micros(), Ordering::Relaxed);
        }
    }

    /// This moment, to the microsecond: what the database keeps, so that an answer and a later read of it agree.
    pub fn now(&self) -> DateTime<Utc> {
        match &self.fixed_at {
            #[allow(clippy::disallowed_methods)]
            None => Utc::now().trunc_subsecs(6),
            Some(at) => DateTime::from_timestamp_micros(at.load(Ordering::Relaxed)).unwrap_or_default(),
        }
    }
}
