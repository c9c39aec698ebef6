//! A request, read strictly: how long its caller waits, and its one message. tonic would overlook a bad `grpc-timeout`,
//! wait for ever for the end of a body, and serve the first of two messages.

use std::time::Duration;

use axum::{body::Body, http::HeaderMap};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use tonic::{Code, Status};

use crate::{config::Limits, contract::v1::ErrorReason, service::status::status};

/// Of a gRPC frame: one byte of flags, four of length.
const PREFIX: usize = 5;

/// How long the caller waits, where it says so. Errors: INVALID_ARGUMENT where `grpc-timeout` is not one.
///
/// A little is kept back of what the caller gives, else tonic's own layer is first and answers CANCELLED.
pub(super) fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, Status> {
    let mut given = headers.get_all("grpc-timeout").iter();
    let Some(value) = given.next() else { return Ok(None) };
    let timeout = value.to_str().ok().filter(|_| given.next().is_none()).and_then(parse);
    let timeout =
        timeout.ok_or_else(|| malformed("grpc-timeout is not one to eight digits and a unit of H, M, S, m, u, n"))?;
    let kept_back = (timeout / 10).min(Duration::from_millis(10));
    Ok(Some(timeout - kept_back))
}

/// How long a call with one answer may take, from now.
pub(super) fn budget(asked: Option<Duration>, limits: &Limits) -> Duration {
    asked.map_or(limits.default_deadline, |asked| asked.min(limits.max_deadline))
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

/// Collects `body`, prefix and message, to its end.
///
/// Errors: RESOURCE_EXHAUSTED as soon as the prefix announces more than `most` bytes; INVALID_ARGUMENT where the body is
/// shorter or longer than announced, or breaks off.
pub(super) async fn one_message(body: Body, most: usize) -> Result<Bytes, Status> {
    let mut chunks = body.into_data_stream();
    let mut buffer = BytesMut::new();
    let mut announced = None;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| malformed("the request's body broke off"))?;
        if announced.is_none() && buffer.len() + chunk.len() >= PREFIX {
            let length = length(&buffer, &chunk);
            if length > most {
                return Err(too_large(most));
            }
            announced = Some(length);
            buffer.reserve(PREFIX + length);
        }
        buffer.extend_from_slice(&chunk);
        if announced.is_some_and(|length| buffer.len() > PREFIX + length) {
            return Err(malformed("more than one message on a unary call"));
        }
    }
    match announced {
        Some(length) if buffer.len() == PREFIX + length => Ok(buffer.freeze()),
        _ => Err(malformed("the message is shorter than announced")),
    }
}

/// The message's length, from a prefix that may lie across chunks.
fn length(start: &[u8], rest: &[u8]) -> usize {
    start.iter().chain(rest).take(PREFIX).skip(1).fold(0, |length, byte| length << 8 | usize::from(*byte))
}

pub(super) fn malformed(message: &str) -> Status {
    status(Code::InvalidArgument, ErrorReason::MalformedRequest, message, &[])
}

pub(super) fn too_large(most: usize) -> Status {
    status(
        Code::ResourceExhausted,
        ErrorReason::TooLarge,
        format!("the message is larger than {most} bytes"),
        &[("max_message_bytes", &most.to_string())],
    )
}
