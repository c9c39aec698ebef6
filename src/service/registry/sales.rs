//! Registered sales.

use tonic::Request;

use crate::{
    clock::civil_date,
    contract::v1,
    domain::{actor::Actor, refusal::Refusal},
    service::{
        App, Moment, Reply,
        fields::Fields,
        open,
        wire::{date, text, time},
    },
    store::{
        self, Error, contracts, dealers,
        people::{self, NamedCustomer},
        sales::{self, Sale},
        units,
    },
};

pub(super) fn sale(sale: Sale) -> v1::Sale {
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
        ..Default::default()
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
    serial: crate::domain::serial::Serial,
    sale: Sale,
    customer: Option<NamedCustomer>,
}

pub(super) async fn register(app: &App, request: Request<v1::RegisterSaleRequest>) -> Reply<v1::RegisterSaleResponse> {
    let (call, request) = open(request)?;
    let now = app.clock.now();
    let mut fields = Fields::default();
    let id = fields.request_id(&request.request_id);
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
    let customer = fields.customer(request.customer.as_ref());
    let version = fields.version(request.version);
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
            recorded_at: now,
        };
        Some((id?, Given { serial: serial?, sale, customer: customer? }))
    })?;
    app.write(&call, id, &request, given, move |conn, given, moment| {
        Box::pin(async move { Ok(v1::RegisterSaleResponse { sale: Some(sale(record(conn, given, moment).await?)) }) })
    })
    .await
}

async fn record(conn: &mut sqlx::PgConnection, given: Given, moment: &Moment) -> store::Result<Sale> {
    dealers::must_be_active(&mut *conn, &moment.actor).await?;
    dealers::get(&mut *conn, &given.sale.dealer_id).await?;
    let held = units::lock(&mut *conn, &[&given.serial]).await?;
    if held.iter().any(|(_, made)| given.sale.sold_on < *made) {
        return Err(Error::invalid("sold_date", "must not lie before the unit was manufactured"));
    }
    let corrects = given.sale.version > 0 && moment.actor.dealer_id().is_some();
    if corrects && units::has_open_claim(&mut *conn, &given.serial).await? {
        let why = "a claim for the unit is open: the maker's staff correct its sale";
        return Err(Refusal::RegistryConflict(why.to_owned()).into());
    }
    if let Some(number) = &given.sale.contract_number {
        contracts::get(&mut *conn, number).await?;
    }
    let customer_id = match &given.customer {
        Some(named) => Some(people::customer(&mut *conn, &moment.actor, named).await?),
        None => None,
    };
    sales::register(conn, Sale { customer_id, ..given.sale }, &moment.actor).await
}

pub(super) async fn cancel(_app: &App, _request: Request<v1::CancelSaleRequest>) -> Reply<v1::CancelSaleResponse> {
    Err(tonic::Status::unimplemented("being built"))
}

pub(super) async fn list_versions(
    _app: &App,
    _request: Request<v1::ListSaleVersionsRequest>,
) -> Reply<v1::ListSaleVersionsResponse> {
    Err(tonic::Status::unimplemented("being built"))
}
