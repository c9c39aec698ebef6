//! One question, read from its request.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tonic::Status;

use crate::{
    clock::civil_date,
    contract::v1,
    domain::{event::Vouchers, fact::Language, facts::Report, serial::Serial},
    service::fields::Fields,
};

/// What is asked of one unit.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub serial: Serial,
    pub report: Report,
    /// The model as the caller believes it.
    pub model: Option<String>,
    /// What would go with a claim.
    pub vouchers: Option<Vouchers>,
    /// What was known then decides; now where none.
    pub known_at: Option<DateTime<Utc>>,
    /// How old the facts may be; as of now where none.
    pub max_staleness: Option<Duration>,
    /// Of the texts.
    pub language: Option<Language>,
}

impl Question {
    /// Reads it, or every violation.
    pub fn read(request: &v1::CheckCoverageRequest, now: DateTime<Utc>) -> Result<Self, Status> {
        Self::read_with(Fields::default(), request, now)
    }

    /// Reads one of a batch, which says for all what was known, how old it may be, and in which language to answer.
    pub fn read_in_batch(request: &v1::CheckCoverageRequest, now: DateTime<Utc>) -> Result<Self, Status> {
        let mut fields = Fields::default();
        let given = [
            ("known_time", request.known_time.is_some()),
            ("language", request.language != 0),
            ("max_staleness", request.max_staleness.is_some()),
        ];
        for (field, given) in given {
            if given {
                fields.violate(field, "must be left out: the batch says it for all");
            }
        }
        Self::read_with(fields, request, now)
    }

    fn read_with(mut fields: Fields, request: &v1::CheckCoverageRequest, now: DateTime<Utc>) -> Result<Self, Status> {
        Fields::at_most("findings", &request.findings, 20)?;
        let serial = fields.serial("serial", &request.serial);
        let on = fields.optional_date("date", request.date.as_ref());
        let told = fields.told(request.report.as_ref());
        let findings = fields.findings(&request.findings);
        let model = fields.optional_model("model", &request.model);
        let vouchers = request.vouchers.as_ref().map(|given| fields.vouchers(given));
        let known_at = fields.past_time("known_time", request.known_time.as_ref(), now);
        let language = fields.optional_choice("language", request.language);
        let max_staleness = fields.staleness("max_staleness", request.max_staleness.as_ref());
        let no_fault_found = request.no_fault_found;
        fields.finish(|| {
            let on = on?.unwrap_or(civil_date(now));
            Some(Self {
                serial: serial?,
                report: Report { on, told: told?, findings: findings?, no_fault_found, inspected: false },
                model: model?,
                vouchers: match vouchers {
                    Some(read) => Some(read?),
                    None => None,
                },
                known_at: known_at?,
                max_staleness: max_staleness?,
                language: language?,
            })
        })
    }
}
