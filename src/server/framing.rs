//! A unary request's body is exactly one gRPC frame. tonic itself would wait for ever, or serve the first of two.

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use tonic::{Code, Status};

use crate::{contract::v1::ErrorReason, service::status::status};

/// One byte of flags, four of length.
const PREFIX: usize = 5;

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
