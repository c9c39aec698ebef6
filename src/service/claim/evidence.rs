//! Scans and photos: in chunks up, as a stream down (M1).

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use tonic::{Request, Response};
use uuid::Uuid;

use super::Claims;
use crate::{
    auth::Call,
    contract::v1,
    domain::{
        event::Event,
        evidence::{EvidenceKind, MOST_BYTES, MOST_CHUNK_BYTES, MediaType, Whole, is_whole},
        refusal::Refusal,
    },
    service::wire::{number, time},
    service::{Fields, Moment, Replies, Reply, open, open_write, status, transact},
    store::{
        self, Error, claims,
        evidence::{self, Evidence, Upload},
        objects::Objects,
        requests,
    },
};

/// The largest piece of an answer.
const PIECE: usize = 64 << 10;
/// So many first bytes tell what it is.
const TELLING: usize = 12;

/// A chunk as asked for.
#[derive(Clone)]
struct Asked {
    claim: Uuid,
    id: Uuid,
    kind: EvidenceKind,
    offset: u64,
    data: Bytes,
    whole: Option<Whole>,
}

impl Asked {
    /// Whether this one chunk is the whole, as it says.
    fn is_all(&self) -> bool {
        let Some(meant) = self.whole.filter(|_| self.offset == 0) else { return false };
        let came = Whole { size: self.data.len() as u64, sha256: Sha256::digest(&self.data).into() };
        is_whole(&meant, &came).is_ok() && MediaType::of(&self.data).is_ok()
    }
}

pub(super) fn on_the_wire(evidence: &Evidence) -> v1::Evidence {
    v1::Evidence {
        evidence_id: evidence.id.to_string(),
        kind: number!(evidence.kind),
        media_type: evidence.media_type.to_string(),
        size_bytes: evidence.whole.size.cast_signed(),
        sha256: evidence.whole.sha256.to_vec(),
        added_time: Some(time(evidence.added_at)),
        seen_on_claims: evidence.seen_on.iter().map(ToString::to_string).collect(),
        erased_time: evidence.erased_at.map(time),
    }
}

pub(super) async fn add(desk: &Claims, request: Request<v1::AddEvidenceRequest>) -> Reply<v1::AddEvidenceResponse> {
    let (call, request, id, mut fields) = open_write(request)?;
    let claim = fields.uuid("claim_id", &request.claim_id);
    let evidence = fields.uuid("evidence_id", &request.evidence_id);
    let kind = fields.choice("kind", request.kind);
    let offset = u64::try_from(request.offset_bytes);
    if offset.is_err() {
        fields.violate("offset_bytes", "must not be negative");
    }
    if request.data.len() > MOST_CHUNK_BYTES {
        fields.violate("data", "has at most 1 MiB");
    }
    let is_last = request.size_bytes != 0 || !request.sha256.is_empty();
    let size = u64::try_from(request.size_bytes).ok().filter(|size| *size > 0);
    let sha256 = <[u8; 32]>::try_from(request.sha256.as_slice()).ok();
    if is_last && size.is_none() {
        fields.violate("size_bytes", "must be the whole's size, where the SHA-256 is given");
    }
    if is_last && sha256.is_none() {
        fields.violate("sha256", "must have 32 bytes, where the size is given");
    }
    let (id, asked) = fields.finish(|| {
        let whole = size.zip(sha256).map(|(size, sha256)| Whole { size, sha256 });
        let data = Bytes::copy_from_slice(&request.data);
        Some((id?, Asked { claim: claim?, id: evidence?, kind: kind?, offset: offset.ok()?, data, whole }))
    })?;
    if asked.is_all() {
        begin(desk, &call, id, asked.clone()).await.map_err(|error| status::of(&error))?;
    }
    let objects = desk.evidence.clone();
    let written = desk.app.write(&call, id, &request, asked, move |conn, asked, moment| {
        let objects = objects.clone();
        Box::pin(async move { add_now(conn, &objects, asked, moment).await })
    });
    written.await
}

/// Keeps one that comes whole as an upload first: whatever breaks off its completion, its object is known and goes with it.
/// A request that was answered before, or is another of the same id, begins nothing.
async fn begin(desk: &Claims, call: &Call, request: Uuid, asked: Asked) -> store::Result<()> {
    let given = Arc::new((asked, desk.app.moment(call), call.place.clone()));
    store::transaction(&desk.app.pool, "BeginEvidence", &call.actor, call.deadline, move |conn| {
        let given = Arc::clone(&given);
        Box::pin(async move {
            let (asked, moment, _) = &*given;
            if requests::is_known(&mut *conn, &moment.actor, request).await? {
                return Ok(());
            }
            let claim = claims::lock(&mut *conn, &moment.actor, asked.claim).await?;
            if evidence::of_claim(&mut *conn, claim.id, Some(asked.id)).await?.is_empty() {
                claim.may_be_added_to(&moment.actor)?;
                let upload = evidence::upload(&mut *conn, claim.id, asked.id).await?;
                keep(conn, asked, upload, moment).await?;
            }
            Ok(())
        })
    })
    .await
}

async fn add_now(
    conn: &mut PgConnection,
    objects: &Objects,
    asked: Asked,
    moment: &Moment,
) -> store::Result<v1::AddEvidenceResponse> {
    let claim = claims::lock(&mut *conn, &moment.actor, asked.claim).await?;
    if let Some(complete) = evidence::of_claim(&mut *conn, claim.id, Some(asked.id)).await?.pop() {
        claim.added_to_by(&moment.actor)?;
        if asked.kind != complete.kind || asked.whole.is_some_and(|meant| meant != complete.whole) {
            return Err(Error::invalid("evidence_id", "is that of another scan or photo, which is complete"));
        }
        return Ok(answered(&complete));
    }
    claim.may_be_added_to(&moment.actor)?;
    let upload = evidence::upload(&mut *conn, claim.id, asked.id).await?;
    let upload = keep(&mut *conn, &asked, upload, moment).await?;
    let Some((meant, upload)) = asked.whole.zip(upload.clone()) else {
        let next_offset_bytes = upload.map_or(0, |upload| upload.received).cast_signed();
        return Ok(v1::AddEvidenceResponse { next_offset_bytes, evidence: None });
    };
    let content = evidence::content(&mut *conn, claim.id, asked.id).await?;
    let came = Whole { size: upload.received, sha256: Sha256::digest(&content).into() };
    is_whole(&meant, &came)?;
    let complete = Evidence {
        id: asked.id,
        kind: upload.kind,
        media_type: MediaType::of(&content)?,
        whole: came,
        object_id: upload.object_id,
        added_at: moment.now,
        seen_on: Vec::new(),
        erased_at: None,
    };
    evidence::complete(&mut *conn, claim.id, &complete).await?;
    let sha256 = came.sha256.iter().map(|byte| format!("{byte:02x}")).collect();
    let event = Event::EvidenceAdded { evidence_id: complete.id, sha256 };
    claims::advance(conn, claim, vec![event], None, &moment.actor, moment.now).await?;
    // Last, and before the commit: where that fails the upload is still there, and the object goes with it.
    objects.put(complete.object_id, content.into()).await?;
    Ok(answered(&complete))
}

fn answered(complete: &Evidence) -> v1::AddEvidenceResponse {
    let next_offset_bytes = complete.whole.size.cast_signed();
    v1::AddEvidenceResponse { next_offset_bytes, evidence: Some(on_the_wire(complete)) }
}

/// Keeps the chunk where it goes on from what came; one that was kept before is kept once. Gives what came by now.
async fn keep(
    conn: &mut PgConnection,
    asked: &Asked,
    upload: Option<Upload>,
    moment: &Moment,
) -> store::Result<Option<Upload>> {
    if upload.as_ref().is_some_and(|upload| upload.kind != asked.kind) {
        return Err(Error::invalid("kind", "must be that of the first chunk"));
    }
    let Asked { claim, id, offset, ref data, .. } = *asked;
    let received = upload.as_ref().map_or(0, |upload| upload.received);
    if data.is_empty() || (offset < received && evidence::has(&mut *conn, claim, id, offset, data).await?) {
        return Ok(upload);
    }
    if offset != received {
        let rule = format!("must be {received}: so far came what lies before");
        return Err(Error::invalid("offset_bytes", rule));
    }
    let received = received + data.len() as u64;
    if received > MOST_BYTES as u64 {
        return Err(Refusal::EvidenceRefused("it has more than 10 MiB").into());
    }
    if offset == 0 && data.len() >= TELLING {
        MediaType::of(data)?;
    }
    let upload = match upload {
        Some(upload) => upload,
        None => evidence::begin(&mut *conn, claim, id, asked.kind, moment.now).await?,
    };
    evidence::keep(conn, claim, id, offset, data).await?;
    Ok(Some(Upload { received, ..upload }))
}

pub(super) async fn get(
    desk: &Claims,
    request: Request<v1::GetEvidenceRequest>,
) -> Reply<Replies<v1::GetEvidenceResponse>> {
    let (call, request) = open(request)?;
    let mut fields = Fields::default();
    let claim = fields.uuid("claim_id", &request.claim_id);
    let id = fields.uuid("evidence_id", &request.evidence_id);
    let asked = fields.finish(|| Some((claim?, id?)))?;
    let found = transact!(desk.app.read(&call, asked), |conn, (claim, id), actor| {
        claims::get(&mut *conn, actor, claim).await?;
        let found = evidence::of_claim(conn, claim, Some(id)).await?.pop();
        let found = found.filter(|found| found.erased_at.is_none());
        found.ok_or_else(|| Error::not_found("evidence", id))
    });
    let found = found?.into_inner();
    let content = desk.evidence.get(found.object_id, found.whole.size).await.map_err(|error| status::of(&error))?;
    let first = v1::GetEvidenceResponse { evidence: Some(on_the_wire(&found)), data: Vec::new() };
    let rest = content.map_err(|error| status::of(&error)).map_ok(|bytes| stream::iter(pieces(bytes)).map(Ok));
    let answer = stream::iter([Ok(first)]).chain(rest.try_flatten());
    Ok(Response::new(Box::pin(answer)))
}

fn pieces(bytes: Bytes) -> Vec<v1::GetEvidenceResponse> {
    bytes.chunks(PIECE).map(|piece| v1::GetEvidenceResponse { evidence: None, data: piece.to_vec() }).collect()
}
