//! What a service answered instead of a reply, for a person to read.

use std::fmt::Write;

use tonic::Status;
use tonic_types::StatusExt;

/// The `reason` of the status's ErrorInfo; empty where it has none.
pub fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
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
        line(format!("{} {}: {}", resource.resource_type, resource.resource_name, resource.description));
    }
    if let Some(delay) = details.retry_info().and_then(|retry| retry.retry_delay) {
        line(format!("try again in {delay:?}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic::Code;
    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn every_detail_has_its_line() {
        let mut details = ErrorDetails::with_error_info(
            "WRONG_STATE",
            "warranty.aopre.com",
            HashMap::from([("state".to_owned(), "FILED".to_owned())]),
        );
        details.add_bad_request_violation("report.part", "is not known");
        details.set_resource_info("unit", "SN1", "", "did you mean SNI");
        details.set_retry_info(Some(std::time::Duration::from_millis(500)));
        let status = Status::with_error_details(Code::FailedPrecondition, "no", details);
        assert_eq!(reason(&status), "WRONG_STATE");
        assert_eq!(
            told(&status),
            "FailedPrecondition: no\n  reason WRONG_STATE (warranty.aopre.com)\n  state = FILED\n  \
             field report.part: is not known\n  unit SN1: did you mean SNI\n  try again in 500ms"
        );
        assert_eq!(told(&Status::internal("away")), "Internal: away");
    }
}
