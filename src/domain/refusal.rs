//! Refusals: the rules say no. A closed list; each reads as a sentence that the caller may see.

use chrono::NaiveDate;
use uuid::Uuid;

use super::{
    calendar::CalendarEnds,
    claim::{Action, StateName},
    coverage::Remedy,
    money::Fen,
    parcel::Direction,
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
        /// What was asked, by name.
        action: &'static str,
        /// What is open instead.
        allowed: Vec<Action>,
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
    /// M3, S6.
    #[error("only the dealer who made the registered sale may do this")]
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
    /// What was set aside is settled once, save what is only kept.
    #[error("what was set aside is settled already")]
    SetAsideSettled,
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
    /// It comes to the maker, or goes out from it.
    #[error("the parcel is {0}: this is not for it")]
    WrongDirection(Direction),
    /// One parcel, one party.
    #[error("one parcel goes to one dealer or customer")]
    MixedParcel,
    /// The serial is another model's than the caller believes.
    #[error("the registry has the model {model} under this serial")]
    ModelMismatch {
        /// The registered model.
        model: String,
    },
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
    /// Nothing is added to a claim that is over.
    #[error("the claim is over")]
    ClaimEnded,
    /// M1.
    #[error("{0}")]
    EvidenceRefused(&'static str),
    /// M1: a dispute for support to settle first.
    #[error("a voucher's date contradicts the registered sale, and support has not settled it yet")]
    VoucherDisputeOpen,
    /// M1.
    #[error("no voucher of this claim contradicts anything, or that is settled already")]
    NoDispute,
    /// P1: what was read is not what would be accepted.
    #[error("the claim's current quote is {current}")]
    QuoteNotCurrent {
        /// The one that is issued.
        current: Uuid,
    },
    /// P1.
    #[error("the quote could be accepted until {on}")]
    QuoteExpired {
        /// Its last day.
        on: NaiveDate,
    },
    /// P1: billing may name a price with a reason.
    #[error("the price list in force has no price for {kind} {code}")]
    NoPrice {
        /// What for.
        kind: String,
        /// The fault's or the part's code.
        code: String,
    },
    /// P1.
    #[error("nothing is charged on this claim")]
    NothingCharged,
    /// A payment settles the whole.
    #[error("{charged} are charged, and a payment settles the whole")]
    PaymentPartial {
        /// What is charged.
        charged: Fen,
    },
    /// A payment settles the whole and no more.
    #[error("only {charged} are charged")]
    PaymentExcess {
        /// What is charged.
        charged: Fen,
    },
    /// Once.
    #[error("what is charged was paid already")]
    AlreadyPaid,
    /// P1.
    #[error("{charged} are charged and not paid, and the dealer has no credit terms")]
    NotPaid {
        /// What is charged.
        charged: Fen,
    },
    /// Quoting and dispatch wait.
    #[error("an appeal is open")]
    AppealOpen,
    /// Once for each claim.
    #[error("the decision was appealed before")]
    AppealedBefore,
    /// Nothing to decide.
    #[error("no appeal is open")]
    NoAppeal,
    /// T4: what a unit in stock is, and may become.
    #[error("unit {serial}: {rule}")]
    StockRefused {
        /// The unit.
        serial: String,
        /// Which rule it breaks.
        rule: &'static str,
    },
    /// T3: neither the model nor an equivalent.
    #[error("no unit of {model} or an equivalent is free")]
    OutOfStock {
        /// The model.
        model: String,
    },
    /// M3.
    #[error("the dealer owes {limit} swapped units, as many as it may")]
    LedgerLimit {
        /// How many.
        limit: i32,
    },
    /// Once.
    #[error("the debt was closed before")]
    DebtClosed,
    /// One unit against one unit.
    #[error("only a faulty unit that a dealer owes and a good unit that it is owed can be netted")]
    DebtsDoNotMatch,
    /// `request_id` belongs to one request.
    #[error("the request_id was used before for another request")]
    RequestIdReused,
}

impl Refusal {
    /// Refuses where a caller believes a unit to be of another model than the registered one; none is not looked at.
    pub fn unless_model(believed: Option<&str>, registered: &str) -> Result<(), Self> {
        match believed {
            Some(model) if model != registered => Err(Self::ModelMismatch { model: registered.to_owned() }),
            _ => Ok(()),
        }
    }

    /// Refuses where something was changed since its caller read it; a version of 0 is whatever is current.
    pub fn unless_version(given: i64, current: i64) -> Result<(), Self> {
        if given == 0 || given == current { Ok(()) } else { Err(Self::VersionMismatch { given, current }) }
    }
}

fn list(actions: &[Action]) -> String {
    if actions.is_empty() {
        return "nothing more".to_owned();
    }
    actions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
