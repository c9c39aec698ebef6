//! What happened before the system: repairs and replacements.

use chrono::NaiveDate;
use tonic::Request;

use crate::{
    clock::civil_date,
    contract::v1,
    domain::{refusal::Refusal, serial::Serial},
    service::{App, Fields, Moment, Reply, open_write, status, transact},
    store::{
        self, Error,
        history::{self, Repair, Replacement},
        units,
    },
};

const MOST_ENTRIES: usize = 1000;

fn repair(fields: &mut Fields, at: usize, given: &v1::Repair, today: NaiveDate) -> Option<Repair> {
    let path = |name: &str| format!("repairs[{at}].{name}");
    let serial = fields.serial(&path("serial"), &given.serial);
    let completed_on = fields.date(&path("completed_date"), given.completed_date.as_ref());
    let received_on = fields.optional_date(&path("received_date"), given.received_date.as_ref());
    let fault_code = fields.optional_fault(&path("fault_code"), &given.fault_code);
    if received_on.flatten().zip(completed_on).is_some_and(|(came_in, completed)| came_in > completed) {
        fields.violate(&path("received_date"), "must not lie after completed_date");
    }
    if completed_on.is_some_and(|day| day > today) {
        fields.violate(&path("completed_date"), "must not be in the future");
    }
    if !given.claim_id.is_empty() {
        fields.violate(&path("claim_id"), "must be empty: a claim's repair is recorded with RecordRepair");
    }
    let (paid, goodwill, claim_id) = (given.paid, given.goodwill, None);
    let (serial, received_on, completed_on) = (serial?.to_string(), received_on?, completed_on?);
    Some(Repair { serial, received_on, completed_on, paid, goodwill, fault_code: fault_code?, claim_id })
}

fn replacement(fields: &mut Fields, at: usize, given: &v1::Replacement, today: NaiveDate) -> Option<Replacement> {
    let path = |name: &str| format!("replacements[{at}].{name}");
    let replaced = fields.serial(&path("replaced_serial"), &given.replaced_serial);
    let replacement = fields.serial(&path("replacement_serial"), &given.replacement_serial);
    let replaced_on = fields.date(&path("replaced_date"), given.replaced_date.as_ref());
    if replaced_on.is_some_and(|day| day > today) {
        fields.violate(&path("replaced_date"), "must not be in the future");
    }
    Some(Replacement {
        replaced_serial: replaced?.to_string(),
        replacement_serial: replacement?.to_string(),
        replaced_on: replaced_on?,
        claim_id: None,
    })
}

pub(super) async fn record(app: &App, request: Request<v1::RecordHistoryRequest>) -> Reply<v1::RecordHistoryResponse> {
    let (call, request, id, mut fields) = open_write(request)?;
    if request.repairs.len().max(request.replacements.len()) > MOST_ENTRIES {
        return Err(status::too_large("repairs, replacements", MOST_ENTRIES));
    }
    let today = civil_date(app.clock.now());
    if request.repairs.is_empty() && request.replacements.is_empty() {
        fields.violate("repairs", "must have at least one entry, or replacements must");
    }
    let repairs: Option<Vec<_>> = fields.each(&request.repairs, |fields, at, given| repair(fields, at, given, today));
    let replacements: Option<Vec<_>> =
        fields.each(&request.replacements, |fields, at, given| replacement(fields, at, given, today));
    let (id, asked) = fields.finish(|| Some((id?, (repairs?, replacements?))))?;
    transact!(app.write(&call, id, &request, asked), |conn, (repairs, replacements), moment| {
        write(conn, &repairs, &replacements, moment).await
    })
}

async fn write(
    conn: &mut sqlx::PgConnection,
    repairs: &[Repair],
    replacements: &[Replacement],
    moment: &Moment,
) -> store::Result<v1::RecordHistoryResponse> {
    let named = replacements.iter().flat_map(|step| [&step.replaced_serial, &step.replacement_serial]);
    let named = named.chain(repairs.iter().map(|repair| &repair.serial));
    let serials: Vec<Serial> = named.filter_map(|serial| Serial::parse(serial).ok()).collect();
    let made = units::lock(&mut *conn, &serials.iter().collect::<Vec<_>>()).await?;
    let before_made =
        |serial: &str, day: NaiveDate| made.iter().any(|unit| unit.serial == serial && day < unit.manufactured_on);
    let rule = "must not lie before the unit was manufactured";
    for (at, repair) in repairs.iter().enumerate() {
        if before_made(&repair.serial, repair.completed_on) {
            return Err(Error::invalid(format!("repairs[{at}].completed_date"), rule));
        }
        if repair.received_on.is_some_and(|day| before_made(&repair.serial, day)) {
            return Err(Error::invalid(format!("repairs[{at}].received_date"), rule));
        }
        history::record_repair(&mut *conn, repair, &moment.actor, moment.now).await?;
    }
    for (at, step) in replacements.iter().enumerate() {
        if before_made(&step.replaced_serial, step.replaced_on) {
            return Err(Error::invalid(format!("replacements[{at}].replaced_date"), rule));
        }
        // A claim on either unit would lose its ground: it is decided first.
        if units::has_open_claim(&mut *conn, &[&step.replaced_serial, &step.replacement_serial]).await? {
            return Err(Refusal::OpenClaimExists.into());
        }
        if units::was_promised(&mut *conn, &step.replacement_serial).await? {
            return Err(Refusal::ReplacementChain("the unit was given before").into());
        }
        history::record_replacement(&mut *conn, step, &moment.actor, moment.now).await?;
    }
    let count = |entries: usize| i32::try_from(entries).unwrap_or(i32::MAX);
    Ok(v1::RecordHistoryResponse { repair_count: count(repairs.len()), replacement_count: count(replacements.len()) })
}
