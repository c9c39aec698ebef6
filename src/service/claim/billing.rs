//! What billing does: prices, payments, and the feed of what to count (P1).

use std::collections::HashSet;

use tonic::Request;

use super::{answer, on_claim};
use crate::{
    clock::civil_date,
    contract::v1,
    domain::{
        money::Fen,
        quote::{PriceKey, PriceKind},
    },
    service::wire::{date, money, number, text, time},
    service::{App, Fields, Page, Reply, open, open_write, page, transact},
    store::{
        self,
        billing::{self, Entry, Kind},
        claims,
        prices::{self, Price, VatRate},
    },
};

/// A price's code: none for the inspection, the part's, and for labour the fault's or none for any other.
pub(super) fn code(fields: &mut Fields, path: &str, kind: Option<PriceKind>, text: &str) -> Option<String> {
    let code = fields.optional_fault(path, text)?;
    match (kind, &code) {
        (Some(PriceKind::Inspection), Some(_)) => fields.violate(path, "must be left out: an inspection has none"),
        (Some(PriceKind::Part), None) => fields.violate(path, "is required: the part's"),
        _ => {}
    }
    Some(code.unwrap_or_default())
}

fn price(fields: &mut Fields, at: usize, given: &v1::Price) -> Option<Price> {
    let path = |field: &str| format!("prices[{at}].{field}");
    let kind: Option<PriceKind> = fields.choice(&path("kind"), given.kind);
    let product_type = fields.optional_choice(&path("product_type"), given.product_type);
    let labour = kind.map(|kind| kind == PriceKind::Labour);
    match (labour, given.product_type) {
        (Some(true), 0) => fields.violate(&path("product_type"), "is required: labour is priced by it"),
        (Some(false), 1..) => fields.violate(&path("product_type"), "must be left out: labour alone is priced by it"),
        _ => {}
    }
    let code = code(fields, &path("code"), kind, &given.code);
    let amount = fields.optional_money(&path("amount"), given.amount.as_ref());
    let valid_from = fields.date(&path("valid_from_date"), given.valid_from_date.as_ref());
    let key = PriceKey { kind: kind?, product_type: product_type?, code: code? };
    Some(Price { key, amount: amount?, valid_from: valid_from? })
}

pub(super) async fn set_prices(app: &App, request: Request<v1::SetPricesRequest>) -> Reply<v1::SetPricesResponse> {
    let (call, request, id, mut fields) = open_write(request)?;
    Fields::at_most("prices", &request.prices, 500)?;
    let today = civil_date(app.clock.now());
    if request.vat.is_none() {
        fields.entries("prices", &request.prices);
    }
    let mut named = HashSet::new();
    let prices: Option<Vec<_>> = fields.each(&request.prices, |fields, at, given| {
        let price = price(fields, at, given)?;
        if price.valid_from < today {
            fields.violate(&format!("prices[{at}].valid_from_date"), "must not lie before today");
        }
        if !named.insert((price.key.clone(), price.valid_from)) {
            fields.violate(&format!("prices[{at}]"), "must be another than the prices before it");
        }
        Some(price)
    });
    let vat = match &request.vat {
        None => Some(None),
        Some(vat) => {
            let basis_points = u32::try_from(vat.basis_points).ok().filter(|points| *points <= 10_000);
            if basis_points.is_none() {
                fields.violate("vat.basis_points", "must be 0 to 10,000");
            }
            let valid_from = fields.date("vat.valid_from_date", vat.valid_from_date.as_ref());
            if valid_from.is_some_and(|day| day < today) {
                fields.violate("vat.valid_from_date", "must not lie before today");
            }
            basis_points.zip(valid_from).map(|(basis_points, valid_from)| Some(VatRate { basis_points, valid_from }))
        }
    };
    let (id, prices, vat) = fields.finish(|| Some((id?, prices?, vat?)))?;
    transact!(app.write(&call, id, &request, prices), |conn, prices, moment| {
        prices::set(conn, &prices, vat, &moment.actor, (moment.now, moment.today)).await?;
        Ok(v1::SetPricesResponse {})
    })
}

pub(super) async fn list_prices(app: &App, request: Request<v1::ListPricesRequest>) -> Reply<v1::ListPricesResponse> {
    let (call, request) = open(request)?;
    let mut fields = Fields::default();
    let page = page!(fields, call, request);
    let day = fields.optional_date("date", request.date.as_ref());
    let (page, day) = fields.finish(|| Some((page?, day?)))?;
    let day = day.unwrap_or_else(|| civil_date(app.clock.now()));
    transact!(app.read(&call, page), |conn, page, _| {
        let mut after = page.after.as_deref().unwrap_or("//").splitn(3, '/').map(str::to_owned);
        let mut part = || after.next().unwrap_or_default();
        let mut found = prices::list(&mut *conn, day, &(part(), part(), part()), page.fetch()).await?;
        let next_page_token =
            page.cut(&mut found, |Price { key, .. }| format!("{}/{}/{}", key.kind, text(key.product_type), key.code));
        let vat = prices::vat(conn, day).await?.map(|vat| v1::VatRate {
            basis_points: vat.basis_points.cast_signed(),
            valid_from_date: Some(date(vat.valid_from)),
        });
        let price = |Price { key, amount, valid_from }| v1::Price {
            kind: number!(key.kind),
            product_type: key.product_type.map_or(0, |product_type| number!(product_type)),
            code: key.code,
            amount: amount.map(money),
            valid_from_date: Some(date(valid_from)),
        };
        Ok(v1::ListPricesResponse { prices: found.into_iter().map(price).collect(), vat, next_page_token })
    })
}

pub(super) async fn pay(app: &App, request: Request<v1::RecordPaymentRequest>) -> Reply<v1::RecordPaymentResponse> {
    let (call, request, id, mut fields) = open_write(request)?;
    let on = on_claim(&mut fields, &request.claim_id, request.version);
    let amount = fields.money("amount", request.amount.as_ref());
    let reference = fields.text("reference", &request.reference, 64);
    let (id, on, amount, reference) = fields.finish(|| Some((id?, on?, amount?, reference?)))?;
    transact!(app.write(&call, id, &request, reference), |conn, reference, moment| {
        let claim = claims::lock(&mut *conn, &moment.actor, on.id).await?;
        claim.at_version(on.version)?;
        let event = claim.pay(amount, reference.clone())?;
        let claim = claims::advance(&mut *conn, claim, vec![event], None, &moment.actor, moment.now).await?;
        let told = answer::one(&mut *conn, claim.clone(), moment).await?;
        if let Some(paid) = claim.charge {
            billing::add(conn, &claim, Kind::Payment, paid, Some(&reference), moment.now).await?;
        }
        Ok(v1::RecordPaymentResponse { claim: told })
    })
}

pub(super) async fn feed(
    app: &App,
    request: Request<v1::ListBillableRepairsRequest>,
) -> Reply<v1::ListBillableRepairsResponse> {
    let (call, request) = open(request)?;
    let asked = Page::feed(&call, request.page_size, request.after_sequence)?;
    transact!(app.read(&call, asked), |conn, (after, size), _| {
        store::given_out(conn, "billable_number", after).await?;
        let entries = billing::list(conn, after, size).await?.into_iter().map(entry).collect();
        Ok(v1::ListBillableRepairsResponse { entries })
    })
}

fn entry(entry: Entry) -> v1::BillableRepair {
    v1::BillableRepair {
        sequence: entry.sequence,
        kind: number!(entry.kind),
        claim_id: entry.claim_id.to_string(),
        serial: entry.serial,
        dealer_id: text(entry.dealer_id),
        customer_id: entry.customer_id.to_string(),
        quote_id: text(entry.quote_id),
        amount: Some(money(Fen(entry.amount_fen))),
        vat: Some(money(Fen(entry.vat_fen))),
        reference: text(entry.reference),
        recorded_time: Some(time(entry.recorded_at)),
    }
}
