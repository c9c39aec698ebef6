//! The published policies, kept between calls. Other processes publish, too, and nobody is served under a policy older than an
//! acknowledged publication: every use has a stamp that the database gave within the same call, most often beside the facts.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use sqlx::PgConnection;

use crate::{
    domain::policy::Policies,
    store::{self, policies, policies::Rulebook},
};

/// The policies that were read last, shared by all calls of a process.
#[derive(Clone, Default)]
pub struct Rules(Arc<ArcSwapOption<Rulebook>>);

impl Rules {
    /// The published policies as this connection sees them now: one small statement, and another only where something was
    /// published since. Not for a transaction that itself publishes: it may yet be rolled back.
    pub async fn current(&self, conn: &mut PgConnection) -> store::Result<Arc<Policies>> {
        let stamp = policies::stamp(&mut *conn).await?;
        self.at(stamp, conn).await
    }

    /// Those of a stamp that a query of this connection just gave.
    pub async fn at(&self, stamp: i64, conn: &mut PgConnection) -> store::Result<Arc<Policies>> {
        match self.read_at(stamp) {
            Some(policies) => Ok(policies),
            None => self.read(conn).await,
        }
    }

    /// Those that were read last, where they are the ones of this stamp or newer: a replica's may be behind.
    pub(super) fn read_at(&self, stamp: i64) -> Option<Arc<Policies>> {
        self.0.load().as_ref().filter(|known| known.stamp >= stamp).map(|known| Arc::clone(&known.policies))
    }

    /// Reads them anew. Of two that read at once the later may keep the older: its stamp tells the next call.
    pub(super) async fn read(&self, conn: &mut PgConnection) -> store::Result<Arc<Policies>> {
        let rulebook = Arc::new(policies::published(conn, None).await?);
        self.0.store(Some(Arc::clone(&rulebook)));
        Ok(Arc::clone(&rulebook.policies))
    }
}
