//! What can go wrong below a service, and the one table from a constraint's name to the rule that it guards.

use crate::domain::refusal::Refusal;

/// A result of the store.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong: the rules refuse, something is not there, or something is broken.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The rules say no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Unknown, or another tenant's: the two look the same.
    #[error("no such {kind}")]
    NotFound {
        /// What kind of resource, in the contract's words.
        kind: &'static str,
        /// Its name as the caller gave it.
        name: String,
        /// Registered names that it may have been meant to be, the nearest first.
        suggestions: Vec<String>,
    },
    /// Bad input that only the registry can tell.
    #[error("bad input: {0:?}")]
    Invalid(
        /// Each a field's path in the request, and the rule that it breaks.
        Vec<(String, String)>,
    ),
    /// One of many that a call names is refused.
    #[error("{item}: {error}")]
    Item {
        /// Which: its path in the request, or its name where the request names none.
        item: String,
        /// Why.
        error: Box<Self>,
    },
    /// The caller's deadline passed during a statement.
    #[error("the deadline passed")]
    Deadline,
    /// The transaction met another one and may be tried again.
    #[error("the transaction met another one")]
    Contended,
    /// Every connection was taken for longer than a caller is kept waiting.
    #[error("no connection came free")]
    Busy,
    /// The database is away, or the answer to a commit was lost: whether it happened, the same `request_id` tells.
    #[error("the database is away: {0}")]
    Away(String),
    /// A row that the code cannot read, or an error of the database that no rule explains.
    #[error("{0}")]
    Broken(String),
}

impl Error {
    /// A resource that is not there.
    pub fn not_found(kind: &'static str, name: impl ToString) -> Self {
        Self::NotFound { kind, name: name.to_string(), suggestions: Vec::new() }
    }

    /// Bad input.
    pub fn invalid(field: impl Into<String>, rule: impl Into<String>) -> Self {
        Self::Invalid(vec![(field.into(), rule.into())])
    }

    /// The same where a rule or a name refuses, said of one of many.
    #[must_use]
    pub fn of_item(self, item: impl Into<String>) -> Self {
        match self {
            Self::Refused(_) | Self::NotFound { .. } => Self::Item { item: item.into(), error: Box::new(self) },
            other => other,
        }
    }

    /// A row that breaks an invariant of the schema.
    pub fn broken(what: impl std::fmt::Display) -> Self {
        Self::Broken(what.to_string())
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        let sqlx::Error::Database(database) = &error else {
            return match error {
                sqlx::Error::PoolTimedOut => Self::Busy,
                sqlx::Error::Io(_)
                | sqlx::Error::Tls(_)
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed
                | sqlx::Error::Protocol(_)
                | sqlx::Error::BeginFailed => Self::Away(error.to_string()),
                other => Self::Broken(other.to_string()),
            };
        };
        if let Some(refused) = database.constraint().and_then(by_constraint) {
            return refused;
        }
        match database.code().as_deref() {
            Some("57014") => Self::Deadline,
            Some("40001" | "40P01") => Self::Contended,
            // A demoted primary says 25006: the connection is as good as dead.
            Some("25006" | "57P01" | "57P02" | "57P03" | "53300") => Self::Away(database.message().to_owned()),
            Some(code) if code.starts_with("08") => Self::Away(database.message().to_owned()),
            // The message may quote a value; the constraint and the code may not.
            code => Self::Broken(format!("SQLSTATE {code:?}, constraint {:?}", database.constraint())),
        }
    }
}

/// The rule that a constraint guards, where two callers at once can break it.
fn by_constraint(name: &str) -> Option<Error> {
    let unknown = |kind| Error::not_found(kind, "");
    let chain = |why| Refusal::ReplacementChain(why).into();
    let exists = |what: &str| Refusal::AlreadyExists(what.to_owned()).into();
    Some(match name {
        "claims_given_once" | "claims_swapped_for_once" => {
            Refusal::UnitNotGivable { rule: "it was given before" }.into()
        }
        "evidence_at_most_20" => Refusal::EvidenceRefused("a claim has 20 at most").into(),
        "claims_one_open_for_a_unit" => Refusal::OpenClaimExists.into(),
        "replacements_replaced_once" => chain("the unit was replaced before"),
        "replacements_given_once" => chain("the unit was given before"),
        "replacements_no_cycle" => chain("the replacement would make a cycle"),
        "replacements_by_another" => chain("a unit cannot replace itself"),
        "stock_units_location_known"
        | "stock_movements_to_location_fkey"
        | "stock_minimums_location_known"
        | "shipment_items_depot_known"
        | "set_aside_depot_known" => unknown("location"),
        "sales_contract_known" => unknown("contract"),
        "sales_dealer_known" | "claims_dealer_known" => Refusal::DealerNotActive.into(),
        "sales_customer_known" | "claims_customer_known" => unknown("customer"),
        "units_model_known" | "product_equivalents_model_known" | "stock_minimums_model_known" => unknown("product"),
        "units_refurbished_once" => {
            Refusal::RegistryConflict("a unit was refurbished under another serial before".to_owned()).into()
        }
        "units_refurbished_from_known"
        | "repairs_unit_known"
        | "replacements_replaced_known"
        | "replacements_replacement_known"
        | "shipment_items_unit_known" => unknown("unit"),
        "products_pkey" => exists("the product"),
        "dealer_promises_certificate_once" => exists("the certificate"),
        "billables_reference_once" => exists("the payment's reference"),
        "dealers_pkey" => exists("the dealer"),
        "contracts_pkey" => exists("the contract"),
        "policies_pkey" => exists("the policy version"),
        "policies_one_for_a_date" => exists("a policy version for that date"),
        // Two writers at once: the second is told as if it came second, when it tries again.
        "sales_pkey"
        | "sales_one_current"
        | "sales_of_no_held_unit"
        | "contract_versions_pkey"
        | "contract_versions_one_current"
        | "claim_events_one_for_a_number"
        | "request_log_once"
        | "prices_one_for_a_number"
        | "vat_rates_one_for_a_number"
        | "quotes_one_live_for_a_claim"
        | "billables_one_of_a_kind_for_a_claim"
        | "stock_units_in_one_place"
        | "stock_units_one_held_for_a_claim"
        | "stock_locations_one_receives_replaced"
        | "stock_movements_one_for_a_number"
        | "ledger_one_entry_for_a_number"
        | "freight_one_entry_for_a_number"
        | "set_aside_one_open_for_a_unit"
        | "units_pkey" => Error::Contended,
        _ => return None,
    })
}
