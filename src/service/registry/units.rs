//! Units, and what is known of one.

use std::{borrow::Cow, collections::HashSet};

use chrono::NaiveDate;
use tonic::Request;

use super::sales;
use crate::{
    clock::civil_date,
    contract::v1,
    domain::{actor::Actor, serial::Serial},
    service::wire::{contact, date, text},
    service::{App, Fields, Reply, open, open_write, transact},
    store::{
        history::{self, Repair, Replacement},
        people,
        units::{self, Unit},
    },
};

const MOST_UNITS: usize = 1000;

fn unit(unit: Unit) -> v1::Unit {
    v1::Unit {
        serial: unit.serial,
        model: unit.model,
        lot: text(unit.lot),
        manufactured_date: Some(date(unit.manufactured_on)),
        ex_factory_date: Some(date(unit.ex_factory_on)),
        sold_by_maker: unit.sold_by_maker,
        refurbished_from: text(unit.refurbished_from),
    }
}

/// One unit of a request; `path` gives the path of each of its fields.
pub(super) fn read(
    fields: &mut Fields,
    path: impl Fn(&'static str) -> Cow<'static, str>,
    given: &v1::Unit,
    today: NaiveDate,
) -> Option<Unit> {
    let serial = fields.serial(&path("serial"), &given.serial);
    let model = fields.model(&path("model"), &given.model);
    let lot = fields.optional_text(&path("lot"), &given.lot, 40);
    let made = fields.date(&path("manufactured_date"), given.manufactured_date.as_ref());
    let left = fields.date(&path("ex_factory_date"), given.ex_factory_date.as_ref());
    let refurbished_from = fields.optional_serial(&path("refurbished_from"), &given.refurbished_from);
    if made.is_some_and(|made| made > today) {
        fields.violate(&path("manufactured_date"), "must not be in the future");
    }
    if left.zip(made).is_some_and(|(left, made)| left < made) {
        fields.violate(&path("ex_factory_date"), "must not lie before manufactured_date");
    }
    if refurbished_from.as_ref().is_some_and(|from| from.is_some() && *from == serial) {
        fields.violate(&path("refurbished_from"), "must be another unit");
    }
    Some(Unit {
        serial: serial?.to_string(),
        model: model?,
        lot: lot?,
        manufactured_on: made?,
        ex_factory_on: left?,
        sold_by_maker: given.sold_by_maker,
        refurbished_from: refurbished_from?.map(|serial| serial.to_string()),
    })
}

pub(super) async fn register(
    app: &App,
    request: Request<v1::RegisterUnitsRequest>,
) -> Reply<v1::RegisterUnitsResponse> {
    let (call, request, id, mut fields) = open_write(request)?;
    Fields::at_most("units", &request.units, MOST_UNITS)?;
    let today = civil_date(app.clock.now());
    fields.entries("units", &request.units);
    let mut seen = HashSet::new();
    let given: Option<Vec<_>> = fields.each(&request.units, |fields, at, unit| {
        let unit = read(fields, |name| format!("units[{at}].{name}").into(), unit, today)?;
        if !seen.insert(unit.serial.clone()) {
            fields.violate(&format!("units[{at}].serial"), "must be there once");
        }
        Some(unit)
    });
    let (id, given) = fields.finish(|| Some((id?, given?)))?;
    transact!(app.write(&call, id, &request, given), |conn, given, moment| {
        let new = units::register(conn, &given, moment.now).await?;
        // At most 1,000.
        Ok(v1::RegisterUnitsResponse { registered_count: i32::try_from(new).unwrap_or(i32::MAX) })
    })
}

pub(super) async fn get(app: &App, request: Request<v1::GetUnitRequest>) -> Reply<v1::GetUnitResponse> {
    let (call, request) = open(request)?;
    let serial = Fields::one(|fields| fields.serial("serial", &request.serial))?;
    transact!(app.read(&call, serial), |conn, serial, actor| {
        let found = units::get(&mut *conn, &serial).await?;
        let lineage = history::lineage(&mut *conn, &serial).await?;
        let repairs = history::repairs(&mut *conn, &up_to(&lineage, &serial)).await?;
        let sale = crate::store::sales::of_original(&mut *conn, &serial).await?;
        let sale = sale.filter(|sale| actor.may_see(Some(&sale.dealer_id), sale.customer_id));
        let customer = match sale.as_ref().and_then(|sale| sale.customer_id) {
            Some(id) => people::person(&mut *conn, id).await?,
            None => None,
        };
        Ok(v1::GetUnitResponse {
            unit: Some(unit(found)),
            lineage: lineage.into_iter().map(replacement).collect(),
            repairs: repairs.into_iter().map(|found| repair(found, actor)).collect(),
            sale: sale.map(|found| sales::sale(found, actor)),
            customer: customer.map(contact),
        })
    })
}

/// The units of a lineage from the original up to this one: what came after is not its own.
fn up_to(lineage: &[Replacement], serial: &Serial) -> Vec<String> {
    let before = lineage.iter().take_while(|step| step.replaced_serial != serial.as_str());
    before.map(|step| step.replaced_serial.clone()).chain([serial.to_string()]).collect()
}

fn replacement(step: Replacement) -> v1::Replacement {
    v1::Replacement {
        replaced_serial: step.replaced_serial,
        replacement_serial: step.replacement_serial,
        replaced_date: Some(date(step.replaced_on)),
    }
}

fn repair(repair: Repair, actor: &Actor) -> v1::Repair {
    v1::Repair {
        serial: repair.serial,
        completed_date: Some(date(repair.completed_on)),
        paid: repair.paid,
        goodwill: repair.goodwill,
        fault_code: text(repair.fault_code),
        claim_id: text(repair.claim_id.filter(|_| actor.is_staff())),
        received_date: repair.received_on.map(date),
    }
}
