//! Refusals: the rules say no. A closed list; each reads as a sentence that the caller may see.

use chrono::NaiveDate;

use super::{
    calendar::CalendarEnds,
    claim::{Action, StateName},
    coverage::Remedy,
    serial::Serial,
};

/// Why the rules say no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The table of transitions does not have it (design.md section 3).
    #[error("a claim that is {state} does not allow {action}; it allows {}", list(.allowed))]
    WrongState {
        /// Where the claim stands.
        state: StateName,
        /// What was asked.
        action: Action,
        /// What would be allowed.
        allowed: &'static [Action],
    },
    /// A unit has at most one open claim.
    #[error("the unit has an open claim already")]
    OpenClaimExists,
    /// T5.
    #[error("the unit was replaced by {by} and is no longer covered")]
    UnitSuperseded {
        /// The unit that took its place.
        by: Serial,
    },
    /// The date lies before the sale.
    #[error("the warranty starts on {starts_on}, after the date of the report")]
    NotStarted {
        /// The day of the sale.
        starts_on: NaiveDate,
    },
    /// M1, M2.
    #[error("an invoice or warranty card number is needed: the applicant is not the unit's registered seller or buyer")]
    VoucherRequired,
    /// M1. It does not say what is right.
    #[error("the voucher is not that of the registered sale")]
    VoucherMismatch,
    /// M3, T4.
    #[error("the unit cannot be given: {rule}")]
    UnitNotGivable {
        /// Which rule it breaks.
        rule: &'static str,
    },
    /// M3.
    #[error("only the dealer who made the registered sale swaps directly")]
    NotTheSeller,
    /// M3.
    #[error("a direct swap needs a performance fault confirmed by guidance")]
    FaultNotConfirmed,
    /// The decision does not give that.
    #[error("the decision is {remedy}, which does not give that")]
    RemedyMismatch {
        /// What it gives.
        remedy: Remedy,
    },
    /// What is in the box is not what was announced.
    #[error("return number {return_number} was announced for another unit than {found}")]
    SerialMismatch {
        /// The number on the parcel.
        return_number: String,
        /// The serial in the box.
        found: Serial,
    },
    /// S5.
    #[error("{0}")]
    ContractState(&'static str),
    /// T4: a serial is replaced once and given once, and a lineage has no cycle.
    #[error("{0}")]
    ReplacementChain(&'static str),
    /// A last day may fall on a day off, and nobody knows yet.
    #[error(transparent)]
    CalendarEnds(#[from] CalendarEnds),
    /// Only who filed may cancel, swap or send.
    #[error("only who filed the claim may do this")]
    NotTheApplicant,
    /// A dealer applies only while active.
    #[error("the dealer is suspended or not known to the maker")]
    DealerNotActive,
    /// One parcel, one party.
    #[error("one parcel goes to one dealer or customer")]
    MixedParcel,
    /// What is registered says otherwise.
    #[error("{0}")]
    RegistryConflict(String),
    /// A resource of that name exists with other content.
    #[error("{0} exists already")]
    AlreadyExists(String),
    /// Optimistic concurrency.
    #[error("the version given is {given}, the current one is {current}")]
    VersionMismatch {
        /// What the caller read.
        given: i64,
        /// What stands.
        current: i64,
    },
    /// `request_id` belongs to one request.
    #[error("the request_id was used before for another request")]
    RequestIdReused,
}

fn list(actions: &[Action]) -> String {
    if actions.is_empty() {
        return "nothing more".to_owned();
    }
    actions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
