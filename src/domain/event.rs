//! What happened to a claim. Events are its facts; `claim` folds them.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, IntoStaticStr};
use uuid::Uuid;

use super::{
    actor::Actor,
    claim::{AppealOutcome, Charge, Goodwill, Guidance, Seal, VoucherDispute, VoucherVerdict},
    clause::Clause,
    coverage::{Decision, Remedy},
    facts::{Appearance, Told},
    ledger::Closing,
    next::Targets,
    return_number::ReturnNumber,
    serial::Serial,
};

/// Whether the maker had seen the unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Display, EnumString, strum::EnumIter)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum Stage {
    /// Before.
    Provisional,
    /// After, or for an accessory at authorization.
    Final,
}

/// A decision as an event and the claim's row name it; the whole of it stands in `claim_decisions`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ruling {
    /// Provisional or final.
    pub stage: Stage,
    /// What it gives.
    pub remedy: Remedy,
    /// The deciding clauses.
    pub clauses: Vec<Clause>,
    /// The policy that decided.
    pub policy_version: String,
}

impl Ruling {
    /// Names a decision.
    pub fn of(stage: Stage, decision: &Decision) -> Self {
        Self {
            stage,
            remedy: decision.remedy,
            clauses: decision.clauses.clone(),
            policy_version: decision.policy_version.clone(),
        }
    }
}

/// Vouchers as given (M1).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vouchers {
    /// The purchase invoice's number.
    pub invoice_number: Option<String>,
    /// The warranty card's number.
    pub warranty_card_number: Option<String>,
    /// The day on the invoice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invoice_date: Option<NaiveDate>,
}

/// What FileClaim says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filing {
    /// The unit.
    pub serial: Serial,
    /// The dealer or customer who files.
    pub applicant: Actor,
    /// Whom it is for.
    pub customer_id: Uuid,
    /// The facts of the fault.
    pub told: Told,
    /// The vouchers.
    pub vouchers: Vouchers,
    /// Equal to the registered sale's, or the applicant is its seller or buyer.
    pub voucher_verified: bool,
    /// When.
    pub filed_at: DateTime<Utc>,
    /// The civil date of it.
    pub reported_on: NaiveDate,
    /// How long each state should last, by the policy of that day.
    #[serde(default)]
    pub targets: Targets,
    /// What a voucher contradicts (M1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dispute: Option<VoucherDispute>,
}

/// What happened to a claim. Stored as written here: add variants and optional fields, never change one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr)]
#[serde(tag = "type", rename_all = "SCREAMING_SNAKE_CASE")]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs)] // Each field is the claim's field of the same name.
pub enum Event {
    Filed {
        #[serde(flatten)]
        filing: Filing,
        ruling: Ruling,
    },
    Guided {
        outcome: Guidance,
        reason: Option<String>,
        reported_on: NaiveDate,
        told: Told,
        return_number: Option<ReturnNumber>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        symptoms: Vec<String>,
        ruling: Ruling,
    },
    AccessoryGranted {
        ruling: Ruling,
    },
    Swapped {
        given: Serial,
        ruling: Ruling,
    },
    ReturnOpened {
        shipment_id: Uuid,
    },
    Received {
        shipment_id: Uuid,
        appearance: Option<Appearance>,
        seal: Option<Seal>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        missing_parts: Option<String>,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        transport_damage: bool,
    },
    Inspected {
        no_fault_found: bool,
        findings: BTreeSet<Clause>,
        told: Told,
        ruling: Ruling,
    },
    Repaired {
        completed_on: NaiveDate,
        fault: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        charge: Option<Charge>,
    },
    Replaced {
        given: Serial,
        reason: Option<String>,
    },
    Dispatched {
        shipment_id: Uuid,
        given: Option<Serial>,
    },
    Delivered {},
    Cancelled {
        reason: Option<String>,
    },
    EvidenceAdded {
        evidence_id: Uuid,
        sha256: String,
    },
    VoucherDisputeSettled {
        verdict: VoucherVerdict,
        reason: String,
        ruling: Ruling,
    },
    Quoted {
        quote_id: Uuid,
        charge: Charge,
    },
    QuoteAccepted {
        quote_id: Uuid,
    },
    QuoteDeclined {
        quote_id: Uuid,
        reason: Option<String>,
    },
    QuoteExpired {
        quote_id: Uuid,
    },
    BeyondRepair {
        reason: String,
    },
    Paid {
        reference: String,
    },
    Appealed {
        reason: String,
    },
    AppealDecided {
        outcome: AppealOutcome,
        reason: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        goodwill: Option<Goodwill>,
    },
    Lapsed {},
    Lost {
        shipment_id: Uuid,
        reason: String,
    },
    LostClosed {
        reason: String,
    },
    DebtSettled {
        closing: Closing,
        reason: String,
    },
}

impl Event {
    /// The decision made with it.
    pub fn ruling(&self) -> Option<&Ruling> {
        match self {
            Self::Filed { ruling, .. }
            | Self::Guided { ruling, .. }
            | Self::AccessoryGranted { ruling }
            | Self::Swapped { ruling, .. }
            | Self::Inspected { ruling, .. }
            | Self::VoucherDisputeSettled { ruling, .. } => Some(ruling),
            _ => None,
        }
    }
}
