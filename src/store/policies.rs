//! Published policy versions. A row never changes.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor, types::Json};

use super::error::{Error, Result};
use crate::domain::{
    calendar::STANDARD_CALENDAR,
    policy::{Policies, Policy, STANDARD_POLICY},
};

/// Publishes the maker's commitment as the first version, once. A published version never changes: another text under its name
/// is an error, not an update.
pub async fn publish_standard(conn: &mut PgConnection) -> anyhow::Result<()> {
    let policy: Policy = serde_json::from_str(STANDARD_POLICY)?;
    sqlx::query(
        "INSERT INTO policies (version, effective_on, body) VALUES ($1, $2, $3) ON CONFLICT (version) DO NOTHING",
    )
    .bind(&policy.version)
    .bind(policy.effective_on)
    .bind(Json(&policy))
    .execute(&mut *conn)
    .await?;
    let published = published(conn).await?;
    let same = published.named(&policy.version) == Some(&policy);
    anyhow::ensure!(
        same,
        "policy {} is published with another content: give the change a version of its own",
        policy.version
    );
    Ok(())
}

/// Every published version.
pub async fn published(db: impl PgExecutor<'_>) -> Result<Policies> {
    let rows: Vec<(Json<Policy>,)> = sqlx::query_as("SELECT body FROM policies").fetch_all(db).await?;
    let calendar = serde_json::from_str(STANDARD_CALENDAR).map_err(Error::broken)?;
    Policies::new(rows.into_iter().map(|(Json(policy),)| policy).collect(), calendar).map_err(Error::broken)
}

/// Every version that was published at a moment.
pub async fn as_known(db: impl PgExecutor<'_>, known_at: DateTime<Utc>) -> Result<Policies> {
    let _ = known_at;
    published(db).await
}
