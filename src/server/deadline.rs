//! How long a caller waits: `grpc-timeout`, read strictly.

use std::time::Duration;

use axum::http::HeaderMap;
use tonic::Status;

use super::framing::malformed;
use crate::config::Limits;

/// How long the call may take, from now. Errors: INVALID_ARGUMENT where `grpc-timeout` is not one.
///
/// A little is kept back of what the caller gives, else tonic's own layer is first and answers CANCELLED.
pub(super) fn budget(headers: &HeaderMap, limits: &Limits) -> Result<Duration, Status> {
    let mut given = headers.get_all("grpc-timeout").iter();
    let Some(value) = given.next() else {
        return Ok(limits.default_deadline);
    };
    let timeout = value.to_str().ok().filter(|_| given.next().is_none()).and_then(parse);
    let timeout =
        timeout.ok_or_else(|| malformed("grpc-timeout is not one to eight digits and a unit of H, M, S, m, u, n"))?;
    let kept_back = (timeout / 10).min(Duration::from_millis(10));
    Ok((timeout - kept_back).min(limits.max_deadline))
}

/// One to eight digits and a unit, nothing else.
fn parse(value: &str) -> Option<Duration> {
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}
