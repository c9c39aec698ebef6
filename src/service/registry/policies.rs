//! Policy versions and calendars (S7): published once, never changed.

use chrono::NaiveDate;
use tonic::Request;

use crate::{
    contract::{google::r#type::Date, v1},
    domain::{calendar::CalendarYear, period::is_plausible, policy::Policy, refusal::Refusal},
    service::wire::{date, text, time},
    service::{App, Fields, Reply, draft, open, open_write, transact},
    store::{
        Error,
        policies::{self, Published},
    },
};

fn version(published: Published) -> Result<v1::PolicyVersion, Error> {
    Ok(v1::PolicyVersion {
        version: published.body.version.clone(),
        effective_date: Some(date(published.body.effective_on)),
        published_time: published.published_at.map(time),
        published_by: text(published.published_by),
        document: serde_json::to_string_pretty(&published.body).map_err(Error::broken)?,
    })
}

/// Reads a draft; each fault of it is a violation.
pub(super) fn draft(fields: &mut Fields, document: &str) -> Option<Policy> {
    let faults = match draft::read(document) {
        Ok(policy) => return Some(policy),
        Err(faults) => faults,
    };
    for (path, rule) in faults {
        let field = if path.is_empty() { "document".to_owned() } else { format!("document.{path}") };
        fields.violate(&field, rule);
    }
    None
}

pub(super) async fn publish(app: &App, request: Request<v1::PublishPolicyRequest>) -> Reply<v1::PublishPolicyResponse> {
    let (call, request, id, mut fields) = open_write(request)?;
    let draft = draft(&mut fields, &request.document);
    let (id, draft) = fields.finish(|| Some((id?, draft?)))?;
    transact!(app.write(&call, id, &request, draft), |conn, draft, moment| {
        // Asked here and not with the other faults: the same request again, days later, still gets its first reply.
        if draft.effective_on <= moment.today {
            return Err(Error::invalid(
                "document.effective_on",
                "must lie after today: a version holds for later sales",
            ));
        }
        let published = policies::publish(conn, draft, &moment.actor, moment.now).await?;
        Ok(v1::PublishPolicyResponse { policy: Some(version(published)?) })
    })
}

pub(super) async fn list(app: &App, request: Request<v1::ListPoliciesRequest>) -> Reply<v1::ListPoliciesResponse> {
    let (call, _) = open(request)?;
    transact!(app.read(&call, ()), |conn, (), _| {
        let found = policies::list(conn).await?;
        Ok(v1::ListPoliciesResponse { policies: found.into_iter().map(version).collect::<Result<_, _>>()? })
    })
}

pub(super) async fn publish_calendar(
    app: &App,
    request: Request<v1::PublishCalendarYearRequest>,
) -> Reply<v1::PublishCalendarYearResponse> {
    let (call, request, id, mut fields) = open_write(request)?;
    Fields::at_most("holidays", &request.holidays, 366)?;
    Fields::at_most("workdays", &request.workdays, 366)?;
    let year = NaiveDate::from_ymd_opt(request.year, 1, 1).filter(|day| is_plausible(*day)).map(|_| request.year);
    if year.is_none() {
        fields.violate("year", "must be 1990 to 2100");
    }
    let holidays = days(&mut fields, "holidays", &request.holidays);
    let workdays = days(&mut fields, "workdays", &request.workdays);
    let calendar = holidays.zip(workdays).map(|(holidays, workdays)| CalendarYear { holidays, workdays });
    for (field, rule) in year.zip(calendar.as_ref()).map(|(year, of)| of.faults(year)).unwrap_or_default() {
        fields.violate(&field, rule);
    }
    let (id, asked) = fields.finish(|| Some((id?, (year?, calendar?))))?;
    transact!(app.write(&call, id, &request, asked), |conn, (year, calendar), moment| {
        match policies::publish_year(conn, year, &calendar, Some((&moment.actor, moment.now))).await? {
            true => Ok(v1::PublishCalendarYearResponse { year }),
            false => Err(Refusal::AlreadyExists(format!("the calendar of {year}")).into()),
        }
    })
}

/// Days, each once.
fn days<T: FromIterator<NaiveDate>>(fields: &mut Fields, field: &str, given: &[Date]) -> Option<T> {
    fields.each(given, |fields, at, day| fields.date(&format!("{field}[{at}]"), Some(day)))
}
