//! The one table of errors: what went wrong, as a gRPC status with `google.rpc` details.

use std::{collections::HashMap, time::Duration};

use prost::Message;
use tonic::{Code, Status};
use tonic_types::{
    BadRequest, ErrorDetail, ErrorInfo, FieldViolation, LocalizedMessage, QuotaFailure, QuotaViolation, ResourceInfo,
    RetryInfo, StatusExt,
};

use crate::{
    contract::{google, v1::ErrorReason},
    domain::{fact::Language, refusal::Refusal},
    store::Error,
    telemetry::current_trace_id,
};

/// The domain of every `google.rpc.ErrorInfo`.
pub const DOMAIN: &str = "warranty.aopre.com";

/// A status with its ErrorInfo, and what a customer reads; UNAVAILABLE also says when to try again.
pub fn status(code: Code, reason: ErrorReason, message: impl Into<String>, metadata: &[(&str, &str)]) -> Status {
    Status::with_error_details_vec(code, message, details(code, reason, metadata))
}

/// Bad input: every violation, each a field's path and the rule that it breaks.
pub fn invalid(violations: &[(String, String)]) -> Status {
    let broken: Vec<_> = violations.iter().map(|(field, rule)| FieldViolation::new(field, rule)).collect();
    let mut details = details(Code::InvalidArgument, ErrorReason::InvalidFields, &[]);
    details.push(BadRequest::new(broken).into());
    let first = violations.iter().take(3).map(|(field, rule)| format!("{field}: {rule}"));
    let more = violations.len().saturating_sub(3);
    let more = (more > 0).then(|| format!("and {more} more"));
    let message = first.chain(more).collect::<Vec<_>>().join("; ");
    Status::with_error_details_vec(Code::InvalidArgument, message, details)
}

/// A list that is longer than its limit.
pub fn too_large(field: &str, limit: usize) -> Status {
    let limit = limit.to_string();
    let message = format!("{field} has at most {limit} entries");
    status(Code::ResourceExhausted, ErrorReason::TooLarge, message, &[("field", field), ("limit", &limit)])
}

/// A refusal as part of a reply: its details hold a whole google.rpc.Status.
pub fn whole(refused: &Status) -> google::rpc::Status {
    google::rpc::Status::decode(refused.details()).unwrap_or(google::rpc::Status {
        code: refused.code().into(),
        message: refused.message().to_owned(),
        details: Vec::new(),
    })
}

/// The reason that its ErrorInfo carries.
pub fn reason(refused: &Status) -> ErrorReason {
    let info = refused.get_details_error_info();
    let reason = info.as_ref().map_or("", |info| info.reason.as_str());
    ErrorReason::from_str_name(&format!("ERROR_REASON_{reason}")).unwrap_or_default()
}

/// What the store says, as the caller sees it.
pub fn of(error: &Error) -> Status {
    match error {
        Error::Refused(refusal) => refused(refusal),
        Error::NotFound { kind, name, suggestions } => not_found(kind, name, suggestions),
        Error::Invalid(violations) => invalid(violations),
        Error::Item { item, error } => of_item(item, &of(error)),
        Error::Deadline => deadline(),
        Error::Busy => status(Code::Unavailable, ErrorReason::Overloaded, "too many calls at once", &[]),
        Error::Contended => {
            let message = "others changed the same at the same moment; send the same request again";
            status(Code::Unavailable, ErrorReason::Contended, message, &[])
        }
        Error::Away(_) => {
            tracing::warn!(%error, trace_id = current_trace_id(), "the database did not answer");
            status(
                Code::Unavailable,
                ErrorReason::DatabaseAway,
                "the database is away; send the same request again",
                &[],
            )
        }
        Error::Broken(what) => {
            tracing::error!(what, trace_id = current_trace_id(), "a call failed");
            internal()
        }
    }
}

/// A refusal that is about one of many.
fn of_item(item: &str, refused: &Status) -> Status {
    let mut details = refused.get_error_details();
    if let Some(mut info) = details.error_info().cloned() {
        info.metadata.insert("item".to_owned(), item.to_owned());
        details.set_error_info(info.reason, info.domain, info.metadata);
    }
    Status::with_error_details(refused.code(), format!("{item}: {}", refused.message()), details)
}

/// Unknown, or another tenant's; with what it may have been meant to be.
fn not_found(kind: &'static str, name: &str, suggestions: &[String]) -> Status {
    let mut metadata = vec![("kind", kind)];
    let mut message = format!("no such {kind}");
    let listed = suggestions.join(",");
    if !suggestions.is_empty() {
        metadata.push(("suggestions", &listed));
        message = format!("{message}; did you mean {}?", suggestions.join(" or "));
    }
    let mut details = details(Code::NotFound, ErrorReason::NotFound, &metadata);
    details.push(ResourceInfo::new(kind, name, "", "").into());
    Status::with_error_details_vec(Code::NotFound, message, details)
}

/// More calls than the caller's `limit`; in `reset` its next window begins.
pub fn rate_limited(caller: &str, limit: &str, reset: Duration) -> Status {
    let message = format!("{caller} has made its {limit}");
    let mut details =
        details(Code::ResourceExhausted, ErrorReason::RateLimited, &[("caller", caller), ("limit", limit)]);
    let over = QuotaViolation::new(caller, &message);
    details.extend([RetryInfo::new(Some(reset)).into(), QuotaFailure::new(vec![over]).into()]);
    Status::with_error_details_vec(Code::ResourceExhausted, message, details)
}

/// The caller's deadline passed.
pub fn deadline() -> Status {
    status(Code::DeadlineExceeded, ErrorReason::Deadline, "the deadline passed; the same request_id may try again", &[])
}

/// Our fault: nothing is said but the trace.
pub fn internal() -> Status {
    let trace_id = current_trace_id();
    status(Code::Internal, ErrorReason::Internal, "an error of ours", &[("trace_id", &trace_id)])
}

/// A refusal's code, reason and metadata, and what a customer reads of it.
pub fn refused(refusal: &Refusal) -> Status {
    use ErrorReason as R;
    let refuse = |code, reason, metadata: &[(&str, &str)]| {
        let mut details = details(code, reason, metadata);
        details.extend(localized(|language| refusal.summary(language)));
        Status::with_error_details_vec(code, refusal.to_string(), details)
    };
    let precondition = |reason, metadata: &[(&str, &str)]| refuse(Code::FailedPrecondition, reason, metadata);
    match refusal {
        Refusal::WrongState { state, allowed, .. } => {
            let allowed: Vec<String> = allowed.iter().map(ToString::to_string).collect();
            precondition(R::WrongState, &[("state", &state.to_string()), ("allowed", &allowed.join(","))])
        }
        Refusal::OpenClaimExists => precondition(R::OpenClaimExists, &[]),
        Refusal::UnitSuperseded { by } => precondition(R::UnitSuperseded, &[("superseded_by", by.as_str())]),
        Refusal::NotStarted { starts_on } => {
            precondition(R::WarrantyNotStarted, &[("starts_on", &starts_on.to_string())])
        }
        Refusal::VoucherRequired => precondition(R::VoucherRequired, &[]),
        Refusal::VoucherMismatch => precondition(R::VoucherMismatch, &[]),
        Refusal::UnitNotGivable { rule } => precondition(R::UnitNotGivable, &[("rule", rule)]),
        Refusal::NotTheSeller => precondition(R::NotTheSeller, &[]),
        Refusal::FaultNotConfirmed => precondition(R::FaultNotConfirmed, &[]),
        Refusal::RemedyMismatch { remedy } => precondition(R::RemedyMismatch, &[("remedy", &remedy.to_string())]),
        Refusal::SerialMismatch { return_number, found } => {
            precondition(R::SerialMismatch, &[("return_number", return_number), ("found", found.as_str())])
        }
        Refusal::SetAsideSettled => precondition(R::SetAsideSettled, &[]),
        Refusal::ContractState(_) => precondition(R::ContractState, &[]),
        Refusal::ReplacementChain(_) => precondition(R::ReplacementChain, &[]),
        Refusal::WrongDirection(direction) => precondition(R::WrongDirection, &[("direction", &direction.to_string())]),
        Refusal::MixedParcel => precondition(R::MixedParcel, &[]),
        Refusal::RegistryConflict(_) => precondition(R::RegistryConflict, &[]),
        Refusal::CalendarEnds(ends) => precondition(R::CalendarEnds, &[("day", &ends.day.to_string())]),
        Refusal::ModelMismatch { model } => precondition(R::ModelMismatch, &[("model", model)]),
        Refusal::ClaimEnded => precondition(R::ClaimEnded, &[]),
        Refusal::EvidenceRefused(rule) => precondition(R::EvidenceRefused, &[("rule", rule)]),
        Refusal::VoucherDisputeOpen => precondition(R::VoucherDisputeOpen, &[]),
        Refusal::NoDispute => precondition(R::NoDispute, &[]),
        Refusal::QuoteNotCurrent { current } => precondition(R::QuoteNotCurrent, &[("current", &current.to_string())]),
        Refusal::QuoteExpired { on } => precondition(R::QuoteExpired, &[("expired", &on.to_string())]),
        Refusal::NoPrice { kind, code } => precondition(R::NoPrice, &[("kind", kind), ("code", code)]),
        Refusal::NothingCharged => precondition(R::NothingCharged, &[]),
        Refusal::PaymentPartial { charged } => precondition(R::PaymentPartial, &[("charged", &charged.0.to_string())]),
        Refusal::PaymentExcess { charged } => precondition(R::PaymentExcess, &[("charged", &charged.0.to_string())]),
        Refusal::AlreadyPaid => precondition(R::AlreadyPaid, &[]),
        Refusal::NotPaid { charged } => precondition(R::NotPaid, &[("charged", &charged.0.to_string())]),
        Refusal::AppealOpen => precondition(R::AppealOpen, &[]),
        Refusal::AppealedBefore => precondition(R::AppealedBefore, &[]),
        Refusal::NoAppeal => precondition(R::NoAppeal, &[]),
        Refusal::StockRefused { serial, rule } => {
            precondition(R::StockRefused, &[("rule", rule), ("serial", serial.as_str())])
        }
        Refusal::OutOfStock { model } => precondition(R::OutOfStock, &[("model", model)]),
        Refusal::LedgerLimit { limit } => precondition(R::LedgerLimit, &[("limit", &limit.to_string())]),
        Refusal::DebtClosed => precondition(R::DebtClosed, &[]),
        Refusal::DebtsDoNotMatch => precondition(R::DebtsDoNotMatch, &[]),
        Refusal::NotTheApplicant => refuse(Code::PermissionDenied, R::NotTheApplicant, &[]),
        Refusal::DealerNotActive => refuse(Code::PermissionDenied, R::DealerNotActive, &[]),
        Refusal::AlreadyExists(_) => refuse(Code::AlreadyExists, R::AlreadyExists, &[]),
        Refusal::RequestIdReused => refuse(Code::AlreadyExists, R::RequestIdReused, &[]),
        Refusal::VersionMismatch { current, .. } => {
            refuse(Code::Aborted, R::VersionMismatch, &[("current", &current.to_string())])
        }
    }
}

fn details(code: Code, reason: ErrorReason, metadata: &[(&str, &str)]) -> Vec<ErrorDetail> {
    let metadata: Vec<_> = metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let name = reason.as_str_name().trim_start_matches("ERROR_REASON_");
    let mut details = vec![ErrorInfo::new(name, DOMAIN, metadata.into_iter().collect::<HashMap<_, _>>()).into()];
    if code == Code::Unavailable {
        details.push(RetryInfo::new(Some(Duration::from_millis(500))).into());
    }
    details.extend(localized(|language| failure(reason).map(|both| language.of(both).to_owned())));
    details
}

/// What a customer reads, in both languages: most calls that fail were not asked in one.
fn localized(text: impl Fn(Language) -> Option<String>) -> impl Iterator<Item = ErrorDetail> {
    [(Language::Chinese, "zh-CN"), (Language::English, "en-US")]
        .into_iter()
        .filter_map(move |(language, locale)| Some(LocalizedMessage::new(locale, text(language)?).into()))
}

/// What a customer reads where it is no rule that refuses, in Chinese and in English.
fn failure(reason: ErrorReason) -> Option<(&'static str, &'static str)> {
    use ErrorReason as R;
    Some(match reason {
        R::InvalidFields => {
            ("有内容填写不对，请检查标出的项。", "Something is not right yet. Check the marked fields.")
        }
        R::NotFound => ("没有找到，请核对号码。", "Not found. Please check the number."),
        R::TokenRefused => ("登录已过期，请重新登录。", "Your sign-in has ended. Please sign in again."),
        R::ScopeMissing => ("您的账号没有此权限。", "Your account may not do this."),
        R::CallerKind => ("此操作不适用于您的账号。", "This is not for your kind of account."),
        R::TooLarge => ("内容太大。", "That is too large."),
        R::RateLimited => ("操作太频繁，请稍后再试。", "Too many requests. Please try again later."),
        R::Overloaded => ("系统繁忙，请稍后再试。", "The system is busy. Please try again soon."),
        R::DatabaseAway | R::Contended => (
            "系统暂时无法答复。请再试，不会重复提交。",
            "The system cannot answer right now. Try again: nothing is done twice.",
        ),
        R::Deadline => ("等待太久。请再试，不会重复提交。", "That took too long. Try again: nothing is done twice."),
        R::Internal => ("系统出错，请联系售后。", "Our fault. Please call after-sales service."),
        _ => return None,
    })
}
