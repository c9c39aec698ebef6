//! Registered sales.

use sqlx::PgConnection;
use tonic::Request;

use crate::{
    clock::civil_date,
    contract::v1,
    domain::{actor::Actor, refusal::Refusal, serial::Serial},
    service::wire::{date, text, time},
    service::{App, Fields, Moment, Reply, open, open_write, transact},
    store::{
        self, Error, contracts, dealers,
        people::{self, NamedCustomer},
        sales::{self, Cancellation, Sale},
        units,
    },
};

/// A version of a sale on the wire, for a caller who may see it. Who recorded it is for staff, and for the dealer who did.
pub(super) fn sale(sale: Sale, actor: &Actor) -> v1::Sale {
    let event = match (sale.cancelled, sale.corrects) {
        (true, _) => v1::SaleEvent::Cancelled,
        (false, true) => v1::SaleEvent::Corrected,
        (false, false) => v1::SaleEvent::Registered,
    };
    let late = (civil_date(sale.recorded_at) - sale.sold_on).num_days();
    let tells = actor.is_staff() || (actor.dealer_id().is_some() && sale.recorded_by == actor.to_string());
    v1::Sale {
        serial: sale.serial,
        dealer_id: sale.dealer_id,
        sold_date: Some(date(sale.sold_on)),
        invoice_number: text(sale.invoice_number),
        warranty_card_number: text(sale.warranty_card_number),
        region: text(sale.region),
        contract_number: text(sale.contract_number),
        customer_id: text(sale.customer_id),
        version: sale.version,
        recorded_time: Some(time(sale.recorded_at)),
        event: event.into(),
        recorded_by: if tells { sale.recorded_by } else { String::new() },
        reason: text(sale.reason),
        // Dates lie between 1990 and 2100.
        days_late: if sale.cancelled { 0 } else { i32::try_from(late).unwrap_or(0).max(0) },
    }
}

/// The dealer who sold: staff name it, for a dealer it is itself and may be left out.
pub(super) fn seller(fields: &mut Fields, actor: &Actor, given: &str) -> Option<String> {
    let Some(own) = actor.dealer_id() else { return fields.name("dealer_id", given, "._-") };
    if !given.is_empty() && given != own {
        fields.violate("dealer_id", "must be the caller's own");
    }
    Some(own.to_owned())
}

/// The contract a sale is under, or none. Whether a contract is there, and whom it serves, is the maker's to say.
pub(super) fn contract(fields: &mut Fields, actor: &Actor, given: &str) -> Option<Option<String>> {
    if given.is_empty() {
        return Some(None);
    }
    if actor.dealer_id().is_some() {
        fields.violate("contract_number", "must be left out: the maker's staff put a sale under a contract");
    }
    fields.name("contract_number", given, "._/-").map(Some)
}

/// A sale as given, its customer not yet looked up.
#[derive(Clone)]
struct Given {
    serial: Serial,
    model: Option<String>,
    sale: Sale,
    customer: Option<NamedCustomer>,
}

pub(super) async fn register(app: &App, request: Request<v1::RegisterSaleRequest>) -> Reply<v1::RegisterSaleResponse> {
    let (call, request, id, mut fields) = open_write(request)?;
    let now = app.clock.now();
    let serial = fields.serial("serial", &request.serial);
    let dealer_id = seller(&mut fields, &call.actor, &request.dealer_id);
    let sold_on = fields.date("sold_date", request.sold_date.as_ref());
    if sold_on.is_some_and(|day| day > civil_date(now)) {
        fields.violate("sold_date", "must not be in the future");
    }
    let invoice_number = fields.optional_text("invoice_number", &request.invoice_number, 64);
    let warranty_card_number = fields.optional_text("warranty_card_number", &request.warranty_card_number, 64);
    let region = fields.optional_region("region", &request.region);
    let contract_number = contract(&mut fields, &call.actor, &request.contract_number);
    let customer = fields.customer("customer", request.customer.as_ref());
    let version = fields.version(request.version);
    let model = fields.optional_model("model", &request.model);
    let reason = fields.optional_text("reason", &request.reason, 500);
    let (id, given) = fields.finish(|| {
        let sale = Sale {
            serial: serial.as_ref()?.to_string(),
            version: version?,
            dealer_id: dealer_id?,
            sold_on: sold_on?,
            invoice_number: invoice_number?,
            warranty_card_number: warranty_card_number?,
            region: region?.map(|region| region.to_string()),
            contract_number: contract_number?,
            customer_id: None,
            cancelled: false,
            corrects: false,
            reason: reason?,
            recorded_at: now,
            recorded_by: call.actor.to_string(),
        };
        Some((id?, Given { serial: serial?, model: model?, sale, customer: customer? }))
    })?;
    transact!(app.write(&call, id, &request, given), |conn, given, moment| {
        let registered = record(conn, given, moment).await?;
        Ok(v1::RegisterSaleResponse { sale: Some(sale(registered, &moment.actor)) })
    })
}

async fn record(conn: &mut PgConnection, given: Given, moment: &Moment) -> store::Result<Sale> {
    dealers::must_be_active(&mut *conn, &moment.actor).await?;
    dealers::get(&mut *conn, &given.sale.dealer_id).await?;
    let (unit, lineage) = units::lock_lineage(&mut *conn, &given.serial).await?;
    Refusal::unless_model(given.model.as_deref(), &unit.model)?;
    if given.sale.sold_on < unit.manufactured_on {
        return Err(Error::invalid("sold_date", "must not lie before the unit was manufactured"));
    }
    if let Some(number) = &given.sale.contract_number {
        contracts::get(&mut *conn, number).await?;
    }
    let customer_id = match &given.customer {
        Some(named) => Some(people::customer(&mut *conn, &moment.actor, named).await?),
        None => None,
    };
    let registered = sales::register(&mut *conn, Sale { customer_id, ..given.sale }, &moment.actor).await?;
    if registered.corrects && moment.actor.dealer_id().is_some() {
        no_open_claim(conn, &lineage, "a claim for the unit is open: the maker's staff correct its sale").await?;
    }
    Ok(registered)
}

/// A sale whose unit, or one that took its place, is claimed for is the ground of that claim's decision. Asked last: whether
/// there is a claim is not told to a dealer whose sale it is not.
async fn no_open_claim(conn: &mut PgConnection, lineage: &[String], why: &str) -> store::Result<()> {
    let serials: Vec<&str> = lineage.iter().map(String::as_str).collect();
    if units::has_open_claim(conn, &serials).await? {
        return Err(Refusal::RegistryConflict(why.to_owned()).into());
    }
    Ok(())
}

pub(super) async fn cancel(app: &App, request: Request<v1::CancelSaleRequest>) -> Reply<v1::CancelSaleResponse> {
    let (call, request, id, mut fields) = open_write(request)?;
    let serial = fields.serial("serial", &request.serial);
    let version = fields.version(request.version);
    let reason = fields.text("reason", &request.reason, 500);
    let (id, asked) = fields.finish(|| Some((id?, (serial?, Cancellation { version: version?, reason: reason? }))))?;
    transact!(app.write(&call, id, &request, asked), |conn, (serial, cancellation), moment| {
        dealers::must_be_active(&mut *conn, &moment.actor).await?;
        let (_, lineage) = units::lock_lineage(&mut *conn, &serial).await?;
        let cancelled = sales::cancel(&mut *conn, &serial, cancellation, &moment.actor, moment.now).await?;
        no_open_claim(conn, &lineage, "a claim for the unit is open: its sale is not cancelled").await?;
        Ok(v1::CancelSaleResponse { sale: Some(sale(cancelled, &moment.actor)) })
    })
}

pub(super) async fn list_versions(
    app: &App,
    request: Request<v1::ListSaleVersionsRequest>,
) -> Reply<v1::ListSaleVersionsResponse> {
    let (call, request) = open(request)?;
    let serial = Fields::one(|fields| fields.serial("serial", &request.serial))?;
    transact!(app.read(&call, serial), |conn, serial, actor| {
        units::get(&mut *conn, &serial).await?;
        let versions = sales::versions(conn, actor, &serial).await?;
        if versions.is_empty() {
            return Err(Error::not_found("sale", serial));
        }
        let versions = versions.into_iter().map(|version| sale(version, actor)).collect();
        Ok(v1::ListSaleVersionsResponse { versions })
    })
}
