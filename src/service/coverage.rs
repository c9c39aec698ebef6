//! CoverageService: is this covered, by which clause, until when, and why.

use tonic::{Request, Response};

use super::{App, Reply, decision, fields::Fields, open, status, wire::time};
use crate::{
    clock::civil_date,
    contract::v1::{self, coverage_service_server::CoverageService},
    domain::{coverage::decide, facts::Report, refusal::Refusal},
    store,
};

/// The service.
pub struct Coverage(pub App);

#[tonic::async_trait]
impl CoverageService for Coverage {
    async fn check_coverage(&self, request: Request<v1::CheckCoverageRequest>) -> Reply<v1::CheckCoverageResponse> {
        let (call, request) = open(request)?;
        let now = self.0.clock.now();
        Fields::at_most("findings", &request.findings, 20)?;
        let mut fields = Fields::default();
        let serial = fields.serial("serial", &request.serial);
        let on = fields.optional_date("date", request.date.as_ref());
        let told = fields.told(request.report.as_ref());
        let findings = fields.findings(&request.findings);
        let language = fields.optional_choice("language", request.language);
        let no_fault_found = request.no_fault_found;
        let (serial, report, language) = fields.finish(|| {
            let on = on?.unwrap_or(civil_date(now));
            let report = Report { on, told: told?, findings: findings?, no_fault_found, inspected: false };
            Some((serial?, report, language?))
        })?;
        // One statement, one round trip; it needs no caller, for it reads nothing that belongs to one.
        let unit = store::statement(&self.0.pool, call.deadline, move |conn| {
            Box::pin(async move {
                let unit = store::facts::of_unit(&mut *conn, &serial, None).await?;
                Ok((unit, store::policies::stamp(conn).await?))
            })
        });
        let (unit, stamp) = unit.await.map_err(|error| status::of(&error))?;
        let policies = self.0.rules(stamp, call.deadline).await.map_err(|error| status::of(&error))?;
        let decided = decide(&policies, &unit.facts, &report)
            .map_err(|ends| status::of(&store::Error::from(Refusal::from(ends))))?;
        Ok(Response::new(v1::CheckCoverageResponse {
            serial: unit.serial.to_string(),
            model: unit.model,
            decision: Some(decision::decision(&decided, language)),
            texts: decision::texts(&policies, &decided, language),
            contact: decision::contact(&policies, decided.remedy, &decided.policy_version),
            data_as_of_time: Some(time(now)),
            summary: decision::summary(&policies, &decided, language),
            ..Default::default()
        }))
    }

    async fn batch_check_coverage(
        &self,
        _request: Request<v1::BatchCheckCoverageRequest>,
    ) -> Reply<v1::BatchCheckCoverageResponse> {
        Err(tonic::Status::unimplemented("being built"))
    }

    type StreamCoverageStream = super::Replies<v1::StreamCoverageResponse>;
    async fn stream_coverage(
        &self,
        _request: Request<tonic::Streaming<v1::StreamCoverageRequest>>,
    ) -> Reply<Self::StreamCoverageStream> {
        Err(tonic::Status::unimplemented("being built"))
    }
}
