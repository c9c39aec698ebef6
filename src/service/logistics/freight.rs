//! Freight: what parcels cost, and who pays it (M5, M6).

use chrono::Duration;
use tonic::Request;

use crate::{
    contract::v1,
    domain::{actor::Actor, freight::EntryKind, money::Fen, period::end_of_day},
    service::wire::{date, money, number, text, time},
    service::{App, Fields, Page, Reply, open, open_write, page, transact},
    store::{
        self, Error, dealers,
        freight::{self, Entry, Period, Total},
        people::{self, NamedCustomer},
        shipments,
    },
};

/// How long after its last day a period may still change: longer than any write lasts.
const CLOSES_AFTER: Duration = Duration::hours(1);

fn entry(entry: Entry) -> v1::FreightEntry {
    let sign = if entry.kind == EntryKind::Charge { 1 } else { -1 };
    v1::FreightEntry {
        sequence: entry.sequence,
        shipment_id: entry.shipment_id.to_string(),
        claim_id: entry.claim_id.to_string(),
        serial: text(entry.serial),
        dealer_id: text(entry.dealer_id),
        customer_id: text(entry.customer_id),
        kind: number!(entry.kind),
        payer: number!(entry.payer),
        clause: number!(entry.clause),
        terms: number!(entry.terms),
        carrier: entry.carrier,
        amount: Some(money(Fen(sign * entry.cost_fen))),
        reason: text(entry.reason),
        booked_date: Some(date(entry.booked_on)),
        recorded_time: Some(time(entry.recorded_at)),
    }
}

fn total(total: Total) -> v1::FreightTotal {
    v1::FreightTotal {
        payer: number!(total.payer),
        clause: number!(total.clause),
        terms: number!(total.terms),
        amount: Some(money(Fen(total.fen))),
        entry_count: total.entries,
    }
}

pub(super) async fn record(
    app: &App,
    request: Request<v1::RecordFreightCostRequest>,
) -> Reply<v1::RecordFreightCostResponse> {
    let (call, request, id, mut fields) = open_write(request)?;
    let parcel = fields.uuid("shipment_id", &request.shipment_id);
    let cost = fields.money("cost", request.cost.as_ref());
    let terms = fields.choice("terms", request.terms);
    let reason = fields.optional_text("reason", &request.reason, 500);
    let (id, parcel, cost, reason) = fields.finish(|| Some((id?, parcel?, (cost?, terms?), reason?)))?;
    transact!(app.write(&call, id, &request, reason), |conn, reason, moment| {
        let (shipment, _) = shipments::get(&mut *conn, &moment.actor, parcel).await?;
        let by = (&moment.actor, moment.now, moment.today);
        let written = freight::charge(conn, &shipment, cost, reason.as_deref(), by).await?;
        Ok(v1::RecordFreightCostResponse { entries: written.into_iter().map(entry).collect() })
    })
}

/// Whose statement: the caller's own, or whom staff names.
fn party(fields: &mut Fields, caller: &Actor, dealer_id: &str, customer_id: &str) -> Option<Actor> {
    match (dealer_id, customer_id) {
        ("", "") if !caller.is_staff() => Some(caller.clone()),
        (_, "") => fields.name("dealer_id", dealer_id, "._-").map(Actor::Dealer),
        ("", _) => fields.uuid("customer_id", customer_id).map(Actor::Customer),
        _ => {
            fields.violate("customer_id", "must be left out where dealer_id is given");
            None
        }
    }
}

pub(super) async fn statement(
    app: &App,
    request: Request<v1::GetFreightStatementRequest>,
) -> Reply<v1::GetFreightStatementResponse> {
    let (call, request) = open(request)?;
    let mut fields = Fields::default();
    let party = party(&mut fields, &call.actor, &request.dealer_id, &request.customer_id);
    let days = fields.period(request.first_date.as_ref(), request.last_date.as_ref(), 366);
    let page = page!(fields, call, request);
    let (page, party, (first, last)) = fields.finish(|| Some((page?, party?, days?)))?;
    let closed = app.clock.now() > end_of_day(last) + CLOSES_AFTER;
    transact!(app.read(&call, (page, Period { party, first, last })), |conn, (page, period), actor| {
        if !actor.is_staff() && *actor != period.party {
            return Err(match &period.party {
                Actor::Dealer(id) => Error::not_found("dealer", id),
                other => Error::not_found("customer", other.customer_id().unwrap_or_default()),
            });
        }
        match &period.party {
            Actor::Dealer(id) => drop(dealers::get(&mut *conn, id).await?),
            // A customer may ask before anything is known of him.
            Actor::Customer(id) if actor.is_staff() => {
                people::customer(&mut *conn, actor, &NamedCustomer::Known(*id)).await?;
            }
            _ => {}
        }
        let (totals, without_cost_count) = freight::totals(&mut *conn, &period).await?;
        let after = page.after.as_deref().and_then(|after| after.parse().ok()).unwrap_or(0);
        let mut found = freight::lines(conn, &period, after, page.fetch()).await?;
        let next_page_token = page.cut(&mut found, |entry| entry.sequence.to_string());
        Ok(v1::GetFreightStatementResponse {
            closed,
            totals: totals.into_iter().map(total).collect(),
            without_cost_count,
            entries: found.into_iter().map(entry).collect(),
            next_page_token,
        })
    })
}

pub(super) async fn export(app: &App, request: Request<v1::ExportFreightRequest>) -> Reply<v1::ExportFreightResponse> {
    let (call, request) = open(request)?;
    let asked = Page::feed(&call, request.page_size, request.after_sequence)?;
    transact!(app.read(&call, asked), |conn, (after, size), _| {
        store::given_out(conn, "freight_number", after).await?;
        let entries = freight::list(conn, after, size).await?.into_iter().map(entry).collect();
        Ok(v1::ExportFreightResponse { entries })
    })
}
