//! A token becomes an identity; one table says which method asks for which scope and which kind of caller.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use tokio::sync::OwnedSemaphorePermit;

use crate::domain::actor::Actor;

pub mod keys;
pub mod methods;
pub(crate) mod strict_json;
pub mod token;

/// What a verified token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Who holds it.
    pub actor: Actor,
    /// What it allows, as the token words it; words of others' may stand among them.
    pub scopes: Vec<String>,
    /// The first moment at which it is no longer valid.
    pub expires_at: DateTime<Utc>,
    /// Tells this token from any other, and gives nothing of it away.
    pub fingerprint: Fingerprint,
}

/// The first half of a token's SHA-256.
pub type Fingerprint = [u8; 16];

/// One authenticated call, as the chassis hands it to a handler (a request extension).
#[derive(Clone, Debug)]
pub struct Call {
    /// Who calls.
    pub actor: Actor,
    /// Under which token.
    pub token: Fingerprint,
    /// The gRPC path, `/aopre.warranty.v1.ClaimService/FileClaim`.
    pub method: &'static str,
    /// When the caller no longer waits. A statement is cancelled by then.
    pub deadline: Instant,
    /// How long one question of a stream may take: a stream itself has no deadline but the caller's own.
    pub patience: Duration,
    /// The call's place under the process's concurrency limit: a write that outlives its caller keeps it.
    pub place: Option<Arc<OwnedSemaphorePermit>>,
}
