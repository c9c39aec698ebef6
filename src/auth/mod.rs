//! A token becomes an identity; one table says which method asks for which scope and which kind of caller.

use std::{sync::Arc, time::Instant};

use chrono::{DateTime, Utc};
use tokio::sync::OwnedSemaphorePermit;

use crate::domain::actor::Actor;

pub mod keys;
pub mod methods;
mod strict_json;
#[cfg(test)]
mod test_issuer;
pub mod token;

use methods::{Kind, Rule, Scope, Scopes};

/// What a verified token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Who holds it.
    pub actor: Actor,
    /// What it allows.
    pub scopes: Scopes,
    /// The first moment at which it is no longer valid.
    pub expires_at: DateTime<Utc>,
}

/// Why an identity may not call a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The token lacks the method's scope.
    #[error("the token lacks the scope {0}")]
    ScopeMissing(Scope),
    /// The method is for others.
    #[error("this method is not for a {0}")]
    CallerKind(Kind),
}

/// Whether `identity` may call the method of `rule`.
///
/// # Errors
/// The scope is missing, or the method is for another kind of caller.
pub fn authorize(identity: &Identity, rule: &Rule) -> Result<(), Denied> {
    let kind = Kind::from(&identity.actor);
    if !rule.kinds.contains(&kind) {
        return Err(Denied::CallerKind(kind));
    }
    match identity.scopes.contains(rule.scope) {
        true => Ok(()),
        false => Err(Denied::ScopeMissing(rule.scope)),
    }
}

/// One authenticated call, as the chassis hands it to a handler (a request extension).
#[derive(Clone, Debug)]
pub struct Call {
    /// Who calls.
    pub actor: Actor,
    /// The gRPC path, `/aopre.warranty.v1.ClaimService/FileClaim`.
    pub method: &'static str,
    /// When the caller no longer waits. A statement is cancelled by then.
    pub deadline: Instant,
    /// The call's place under the process's concurrency limit: a write that outlives its caller keeps it.
    pub place: Option<Arc<OwnedSemaphorePermit>>,
}
