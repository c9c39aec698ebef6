//! The one table of errors: what went wrong, as a gRPC status with `google.rpc` details.

use std::{collections::HashMap, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::contract::v1::ErrorReason;

/// The domain of every `google.rpc.ErrorInfo`.
pub const DOMAIN: &str = "warranty.aopre.com";

/// A status with its ErrorInfo; UNAVAILABLE also says when to try again.
pub fn status(code: Code, reason: ErrorReason, message: impl Into<String>, metadata: &[(&str, &str)]) -> Status {
    Status::with_error_details(code, message, details(code, reason, metadata))
}

fn details(code: Code, reason: ErrorReason, metadata: &[(&str, &str)]) -> ErrorDetails {
    let metadata: HashMap<String, String> =
        metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let name = reason.as_str_name().trim_start_matches("ERROR_REASON_").to_owned();
    let mut details = ErrorDetails::with_error_info(name, DOMAIN, metadata);
    if code == Code::Unavailable {
        details.set_retry_info(Some(Duration::from_millis(500)));
    }
    details
}
