//! Scans and photos of claims: complete ones, and what came of others so far.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, PgPool, Row, postgres::PgRow};
use uuid::Uuid;

use super::{error::Result, objects::Objects, transaction};
use crate::domain::{
    actor::Actor,
    evidence::{EvidenceKind, MOST_OF_A_CLAIM, MediaType, Whole},
    refusal::Refusal,
};

/// A scan or photo, complete.
#[derive(Clone, Debug, FromRow)]
pub struct Evidence {
    /// The applicant's UUID for it, within its claim.
    #[sqlx(rename = "evidence_id")]
    pub id: Uuid,
    /// What it shows.
    pub kind: EvidenceKind,
    /// By its content.
    pub media_type: MediaType,
    /// Its size and content.
    #[sqlx(flatten)]
    pub whole: Whole,
    /// Where its bytes are.
    pub object_id: Uuid,
    /// When it was completed.
    pub added_at: DateTime<Utc>,
    /// Other claims that show the same, at most 20: for staff.
    pub seen_on: Vec<Uuid>,
    /// When it was erased with its customer: its bytes are gone, or go with the next sweep.
    pub erased_at: Option<DateTime<Utc>>,
}

/// A scan or photo that is not complete.
#[derive(Clone, Debug)]
pub struct Upload {
    /// What it shows.
    pub kind: EvidenceKind,
    /// Where its bytes will be.
    pub object_id: Uuid,
    /// How many bytes came, from the first on.
    pub received: u64,
}

impl<'r> FromRow<'r, PgRow> for Whole {
    fn from_row(row: &'r PgRow) -> sqlx::Result<Self> {
        let size: i64 = row.try_get("size_bytes")?;
        Ok(Self { size: size.unsigned_abs(), sha256: row.try_get("sha256")? })
    }
}

/// The scans and photos of a claim, or one of them, in the order they were added. The claim must be the caller's.
pub async fn of_claim(conn: &mut PgConnection, claim: Uuid, only: Option<Uuid>) -> Result<Vec<Evidence>> {
    let found = sqlx::query_as(
        "SELECT evidence_id, kind, media_type, size_bytes, sha256, object_id, added_at, erased_at,
                CASE WHEN caller_is_staff() THEN
                    ARRAY(SELECT DISTINCT o.claim_id FROM evidence o WHERE o.sha256 = e.sha256 AND o.claim_id <> e.claim_id
                           ORDER BY o.claim_id LIMIT 20)
                ELSE '{}' END AS seen_on
           FROM evidence e WHERE claim_id = $1 AND ($2::uuid IS NULL OR evidence_id = $2) ORDER BY number",
    );
    Ok(found.bind(claim).bind(only).fetch_all(conn).await?)
}

/// What came of one so far, held to the end of the transaction. The claim must be held.
pub async fn upload(conn: &mut PgConnection, claim: Uuid, id: Uuid) -> Result<Option<Upload>> {
    let row: Option<(EvidenceKind, Uuid)> = sqlx::query_as(
        "SELECT kind, object_id FROM evidence_uploads WHERE claim_id = $1 AND evidence_id = $2 FOR NO KEY UPDATE",
    )
    .bind(claim)
    .bind(id)
    .fetch_optional(&mut *conn)
    .await?;
    let Some((kind, object_id)) = row else { return Ok(None) };
    let received: i64 = sqlx::query_scalar(
        // Chunks have no gaps: the last one tells, however many there are.
        "SELECT coalesce((SELECT offset_bytes + length(data) FROM evidence_chunks WHERE claim_id = $1 AND evidence_id = $2
                           ORDER BY offset_bytes DESC LIMIT 1), 0)",
    )
    .bind(claim)
    .bind(id)
    .fetch_one(conn)
    .await?;
    Ok(Some(Upload { kind, object_id, received: received.unsigned_abs() }))
}

/// Begins one, where the claim has room for it. The claim must be held.
pub async fn begin(
    conn: &mut PgConnection,
    claim: Uuid,
    id: Uuid,
    kind: EvidenceKind,
    now: DateTime<Utc>,
) -> Result<Upload> {
    let object_id = Uuid::new_v4();
    let begun = sqlx::query(
        "INSERT INTO evidence_uploads (claim_id, evidence_id, kind, object_id, began_at) SELECT $1, $2, $3, $4, $5
          WHERE $6 > (SELECT count(*) FROM evidence WHERE claim_id = $1) AND $6 > (SELECT count(*) FROM evidence_uploads WHERE claim_id = $1)",
    )
    .bind(claim)
    .bind(id)
    .bind(kind)
    .bind(object_id)
    .bind(now)
    .bind(MOST_OF_A_CLAIM)
    .execute(conn)
    .await?;
    match begun.rows_affected() {
        1 => Ok(Upload { kind, object_id, received: 0 }),
        _ => Err(Refusal::EvidenceRefused("a claim has 20 at most").into()),
    }
}

/// Keeps a chunk.
pub async fn keep(conn: &mut PgConnection, claim: Uuid, id: Uuid, offset: u64, data: &[u8]) -> Result<()> {
    sqlx::query("INSERT INTO evidence_chunks (claim_id, evidence_id, offset_bytes, data) VALUES ($1, $2, $3, $4)")
        .bind(claim)
        .bind(id)
        .bind(offset.cast_signed())
        .bind(data)
        .execute(conn)
        .await?;
    Ok(())
}

/// Whether this very chunk was kept before.
pub async fn has(conn: &mut PgConnection, claim: Uuid, id: Uuid, offset: u64, data: &[u8]) -> Result<bool> {
    let has = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM evidence_chunks WHERE claim_id = $1 AND evidence_id = $2 AND offset_bytes = $3 AND data = $4)",
    );
    Ok(has.bind(claim).bind(id).bind(offset.cast_signed()).bind(data).fetch_one(conn).await?)
}

/// All that came.
pub async fn content(conn: &mut PgConnection, claim: Uuid, id: Uuid) -> Result<Vec<u8>> {
    let chunks: Vec<Vec<u8>> = sqlx::query_scalar(
        "SELECT data FROM evidence_chunks WHERE claim_id = $1 AND evidence_id = $2 ORDER BY offset_bytes",
    )
    .bind(claim)
    .bind(id)
    .fetch_all(conn)
    .await?;
    Ok(chunks.concat())
}

/// Completes one: it has its place, and its chunks go. The claim must be held.
pub async fn complete(conn: &mut PgConnection, claim: Uuid, evidence: &Evidence) -> Result<()> {
    sqlx::query(
        "WITH upload AS (DELETE FROM evidence_uploads WHERE claim_id = $1 AND evidence_id = $2)
         INSERT INTO evidence (claim_id, evidence_id, number, kind, media_type, size_bytes, sha256, object_id, added_at)
         SELECT $1, $2, (SELECT count(*) + 1 FROM evidence WHERE claim_id = $1), $3, $4, $5, $6, $7, $8",
    )
    .bind(claim)
    .bind(evidence.id)
    .bind(evidence.kind)
    .bind(evidence.media_type)
    .bind(evidence.whole.size.cast_signed())
    .bind(evidence.whole.sha256.as_slice())
    .bind(evidence.object_id)
    .bind(evidence.added_at)
    .execute(conn)
    .await?;
    Ok(())
}

/// Erases the scans and photos of a customer's claims: each fact stays, each object becomes one of an upload that was left behind,
/// which the next sweep drops. What is under way goes the same way.
pub async fn erase(conn: &mut PgConnection, customer: Uuid, now: DateTime<Utc>) -> Result<()> {
    sqlx::query(
        "WITH erased AS (
             UPDATE evidence e SET erased_at = $2 FROM claims c
              WHERE c.claim_id = e.claim_id AND c.customer_id = $1 AND e.erased_at IS NULL
             RETURNING e.claim_id, e.evidence_id, e.kind, e.object_id),
         left_behind AS (
             UPDATE evidence_uploads u SET began_at = 'epoch' FROM claims c WHERE c.claim_id = u.claim_id AND c.customer_id = $1)
         INSERT INTO evidence_uploads (claim_id, evidence_id, kind, object_id, began_at)
         SELECT claim_id, evidence_id, kind, object_id, 'epoch' FROM erased",
    )
    .bind(customer)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// The objects that may be left of at most 100 uploads that began before a moment and were not completed, held to the end of the
/// transaction. One that is being completed is left.
async fn stale(conn: &mut PgConnection, before: DateTime<Utc>) -> Result<Vec<Uuid>> {
    let objects = sqlx::query_scalar(
        "SELECT object_id FROM evidence_uploads WHERE began_at < $1 ORDER BY began_at LIMIT 100 FOR UPDATE SKIP LOCKED",
    );
    Ok(objects.bind(before).fetch_all(conn).await?)
}

/// What a worker does now and then, under its own role: drops what was begun a day ago and not completed, objects and all.
/// Gives how many went.
pub async fn sweep(pool: &PgPool, worker: &Actor, objects: &Objects, now: DateTime<Utc>) -> Result<u64> {
    let (objects, deadline) = (objects.clone(), Instant::now() + Duration::from_secs(60));
    transaction(pool, "sweep_evidence", worker, deadline, move |conn| {
        let objects = objects.clone();
        Box::pin(async move {
            let before = now - chrono::Duration::days(1);
            let mut gone = Vec::new();
            for object in stale(&mut *conn, before).await? {
                // One whose object cannot be deleted stays, so that it is not forgotten, and keeps no other waiting.
                match objects.delete(object).await {
                    Ok(()) => gone.push(object),
                    Err(error) => tracing::error!(%error, %object, "an upload cannot be dropped"),
                }
            }
            let dropped = sqlx::query("DELETE FROM evidence_uploads WHERE began_at < $1 AND object_id = ANY ($2)");
            Ok(dropped.bind(before).bind(gone).execute(conn).await?.rows_affected())
        })
    })
    .await
}
