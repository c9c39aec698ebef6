//! How long a caller waits: `grpc-timeout`, read strictly.

use std::time::Duration;

use axum::http::HeaderMap;
use tonic::{Code, Status};

use super::Limits;
use crate::{contract::v1::ErrorReason, service::status::status};

/// How long the call may take, from now. Errors: INVALID_ARGUMENT where `grpc-timeout` is not one.
///
/// A little is kept back of what the caller gives, else tonic's own layer is first and answers CANCELLED.
pub(super) fn budget(headers: &HeaderMap, limits: &Limits) -> Result<Duration, Status> {
    let mut given = headers.get_all("grpc-timeout").iter();
    let Some(value) = given.next() else {
        return Ok(limits.default_deadline);
    };
    let timeout = value.to_str().ok().and_then(parse);
    match (timeout, given.next()) {
        (Some(timeout), None) => {
            let kept_back = (timeout / 10).min(Duration::from_millis(10));
            Ok((timeout - kept_back).min(limits.max_deadline))
        }
        _ => Err(status(
            Code::InvalidArgument,
            ErrorReason::MalformedRequest,
            "grpc-timeout is not one to eight digits and a unit of H, M, S, m, u, n",
            &[],
        )),
    }
}

/// One to eight digits and a unit, nothing else.
fn parse(value: &str) -> Option<Duration> {
    let unit = value.chars().last()?;
    let digits = value.strip_suffix(unit)?;
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        'H' => Some(Duration::from_secs(amount * 3600)),
        'M' => Some(Duration::from_secs(amount * 60)),
        'S' => Some(Duration::from_secs(amount)),
        'm' => Some(Duration::from_millis(amount)),
        'u' => Some(Duration::from_micros(amount)),
        'n' => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_digits_and_a_unit() {
        let cases = [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("99999999m", Some(Duration::from_millis(99_999_999))),
            ("5u", Some(Duration::from_micros(5))),
            ("0n", Some(Duration::ZERO)),
            ("", None),
            ("S", None),
            ("3", None),
            ("3s", None),
            ("+3S", None),
            ("-3S", None),
            (" 3S", None),
            ("3 S", None),
            ("1.5S", None),
            ("100000000m", None),
            ("3時", None),
        ];
        for (value, expected) in cases {
            assert_eq!(parse(value), expected, "{value:?}");
        }
    }
}
