//! What a service answered instead of a reply, for a person to read.

use std::{fmt::Write, process::ExitCode};

use tonic::Status;
use tonic_types::StatusExt;

/// The `reason` of the status's ErrorInfo; empty where it has none.
pub fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

/// Tells on standard error what a service refused with; a command ends with this exit code then.
pub fn failed(status: &Status) -> ExitCode {
    eprintln!("{}", told(status));
    ExitCode::FAILURE
}

/// Code, message and every `google.rpc` detail, one a line.
pub fn told(status: &Status) -> String {
    let mut text = format!("{:?}: {}", status.code(), status.message());
    let details = status.get_error_details();
    let mut line = |line: String| {
        // Writing to a String does not fail.
        let _ = write!(text, "\n  {line}");
    };
    if let Some(info) = details.error_info() {
        line(format!("reason {} ({})", info.reason, info.domain));
        let mut metadata: Vec<_> = info.metadata.iter().collect();
        metadata.sort();
        for (key, value) in metadata {
            line(format!("{key} = {value}"));
        }
    }
    for violation in details.bad_request().iter().flat_map(|b| &b.field_violations) {
        line(format!("field {}: {}", violation.field, violation.description));
    }
    if let Some(resource) = details.resource_info() {
        line(format!("{} {}", resource.resource_type, resource.resource_name));
    }
    if let Some(delay) = details.retry_info().and_then(|retry| retry.retry_delay) {
        line(format!("try again in {delay:?}"));
    }
    text
}
