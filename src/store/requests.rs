//! Requests by `request_id`: each write is safe to send twice.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::error::Result;
use crate::domain::{actor::Actor, refusal::Refusal};

/// A write as its caller names it.
#[derive(Clone, Debug)]
pub struct WriteRequest {
    /// The caller's UUID for it.
    pub id: Uuid,
    /// The gRPC path.
    pub method: &'static str,
    /// Of the request without its `request_id`.
    pub sha256: [u8; 32],
}

/// The first reply to the same request; refused where the id was used for another. Waits for one that is under way.
pub async fn earlier_reply(conn: &mut PgConnection, actor: &Actor, request: &WriteRequest) -> Result<Option<Vec<u8>>> {
    let earlier: Option<(String, Vec<u8>, Vec<u8>)> =
        sqlx::query_as("SELECT method, request_sha256, reply FROM earlier_request($1, $2)")
            .bind(actor.to_string())
            .bind(request.id)
            .fetch_optional(conn)
            .await?;
    earlier.map(|(method, sha256, reply)| request.reply_of(&method, &sha256, reply)).transpose()
}

/// Whether a request of this id was answered before. Waits for one that is under way.
pub async fn is_known(conn: &mut PgConnection, actor: &Actor, id: Uuid) -> Result<bool> {
    let known = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM earlier_request($1, $2))");
    Ok(known.bind(actor.to_string()).bind(id).fetch_one(conn).await?)
}

impl WriteRequest {
    /// The reply to an earlier request of the same id; refused where that was another request.
    pub(super) fn reply_of(&self, method: &str, sha256: &[u8], reply: Vec<u8>) -> Result<Vec<u8>> {
        if method == self.method && sha256 == self.sha256 { Ok(reply) } else { Err(Refusal::RequestIdReused.into()) }
    }
}

/// Forgets at most `limit` requests of before a moment, of any caller: how many there were. Replies are not read.
pub async fn forget(conn: &mut PgConnection, before: DateTime<Utc>, limit: i64) -> Result<u64> {
    let forgotten = sqlx::query(
        "DELETE FROM request_log WHERE (caller, request_id) IN
             (SELECT caller, request_id FROM request_log WHERE recorded_at < $1 ORDER BY recorded_at LIMIT $2)",
    );
    Ok(forgotten.bind(before).bind(limit).execute(conn).await?.rows_affected())
}

/// Keeps the reply, in the write's own transaction.
pub async fn keep_reply(
    conn: &mut PgConnection,
    actor: &Actor,
    request: &WriteRequest,
    reply: &[u8],
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query("INSERT INTO request_log (caller, request_id, method, request_sha256, reply, recorded_at) VALUES ($1, $2, $3, $4, $5, $6)")
        .bind(actor.to_string())
        .bind(request.id)
        .bind(request.method)
        .bind(request.sha256.as_slice())
        .bind(reply)
        .bind(now)
        .execute(conn)
        .await?;
    Ok(())
}
