//! LogisticsService: parcels to the maker and back, and who pays each way (M5, M6); stock; what dealer and maker owe each other (M3).

mod freight;
mod inbound;
mod ledger;
mod listing;
mod lost;
mod outbound;
mod packing;
mod receiving;
mod report;
mod set_aside;
mod stock;
mod tracking;

use std::collections::HashSet;

use sqlx::PgConnection;
use tonic::Request;
use uuid::Uuid;

use super::{
    App, Reply,
    fields::Fields,
    serve,
    wire::{number, text, time},
};
use crate::{
    contract::v1::{logistics_service_server::LogisticsService, *},
    domain::{actor::Actor, claim::Claim, event::Event, parcel::Direction, refusal::Refusal},
    store::{self, Error, shipments},
};

/// How many claims one parcel may have.
const MOST_ITEMS: usize = 200;

/// The service.
pub struct Logistics(pub App);

serve! {
    LogisticsService for Logistics by 0:
    open_return(OpenReturnRequest) -> OpenReturnResponse = inbound::open_return;
    receive_return(ReceiveReturnRequest) -> ReceiveReturnResponse = receiving::receive;
    record_tracking(RecordTrackingRequest) -> RecordTrackingResponse = tracking::record;
    list_set_aside(ListSetAsideRequest) -> ListSetAsideResponse = set_aside::list;
    settle_set_aside(SettleSetAsideRequest) -> SettleSetAsideResponse = set_aside::settle;
    record_loss(RecordLossRequest) -> RecordLossResponse = lost::record;
    close_lost(CloseLostRequest) -> CloseLostResponse = lost::close;
    dispatch_outbound(DispatchOutboundRequest) -> DispatchOutboundResponse = outbound::dispatch;
    confirm_delivery(ConfirmDeliveryRequest) -> ConfirmDeliveryResponse = outbound::deliver;
    get_shipment(GetShipmentRequest) -> GetShipmentResponse = listing::get;
    list_shipments(ListShipmentsRequest) -> ListShipmentsResponse = listing::list;
    get_packing_list(GetPackingListRequest) -> GetPackingListResponse = packing::get;
    put_stock_location(PutStockLocationRequest) -> PutStockLocationResponse = stock::put_location;
    list_stock_locations(ListStockLocationsRequest) -> ListStockLocationsResponse = stock::list_locations;
    receive_stock(ReceiveStockRequest) -> ReceiveStockResponse = stock::receive;
    move_stock(MoveStockRequest) -> MoveStockResponse = stock::move_stock;
    list_stock(ListStockRequest) -> ListStockResponse = stock::list;
    list_stock_movements(ListStockMovementsRequest) -> ListStockMovementsResponse = stock::list_movements;
    set_stock_minimum(SetStockMinimumRequest) -> SetStockMinimumResponse = stock::set_minimum;
    list_stock_levels(ListStockLevelsRequest) -> ListStockLevelsResponse = stock::list_levels;
    allocate_replacement(AllocateReplacementRequest) -> AllocateReplacementResponse = stock::allocate;
    release_allocation(ReleaseAllocationRequest) -> ReleaseAllocationResponse = stock::release;
    refurbish_unit(RefurbishUnitRequest) -> RefurbishUnitResponse = stock::refurbish;
    get_dealer_ledger(GetDealerLedgerRequest) -> GetDealerLedgerResponse = ledger::get;
    write_off_debt(WriteOffDebtRequest) -> WriteOffDebtResponse = ledger::write_off;
    net_debts(NetDebtsRequest) -> NetDebtsResponse = ledger::net;
    record_freight_cost(RecordFreightCostRequest) -> RecordFreightCostResponse = freight::record;
    get_freight_statement(GetFreightStatementRequest) -> GetFreightStatementResponse = freight::statement;
    export_freight(ExportFreightRequest) -> ExportFreightResponse = freight::export;
    get_report(GetReportRequest) -> GetReportResponse = report::get;
    {}
}

/// A parcel of the caller's on the wire.
async fn shipment(conn: &mut PgConnection, actor: &Actor, id: Uuid) -> store::Result<Shipment> {
    let (found, items) = shipments::get(conn, actor, id).await?;
    Ok(on_the_wire(found, items))
}

/// A parcel with these of its items.
fn on_the_wire(found: shipments::Shipment, items: Vec<shipments::Item>) -> Shipment {
    Shipment {
        shipment_id: found.shipment_id.to_string(),
        direction: number!(found.direction),
        dealer_id: text(found.dealer_id),
        customer_id: text(found.customer_id),
        carrier: found.carrier,
        tracking_number: text(found.tracking_number),
        items: items.into_iter().map(item).collect(),
        opened_time: Some(time(found.opened_at)),
        arrived: found.arrived == found.items,
        open: found.on_their_way > 0,
        recipient_id: text(found.recipient_id),
        item_count: i32::try_from(found.items).unwrap_or(i32::MAX),
    }
}

fn item(item: shipments::Item) -> ShipmentItem {
    ShipmentItem {
        claim_id: item.claim_id.to_string(),
        return_number: text(item.return_number),
        serial: text(item.serial),
        payer: number!(item.payer),
        clause: number!(item.clause),
        arrived_time: item.arrived_at.map(time),
        lost_time: item.lost_at.map(time),
        missing_parts: text(item.missing_parts),
        transport_damage: item.transport_damage,
        depot: text(item.depot),
    }
}

/// What a parcel says of itself.
#[derive(Clone)]
struct Parcel {
    carrier: String,
    tracking_number: Option<String>,
}

fn parcel(fields: &mut Fields, carrier: &str, tracking_number: &str) -> Option<Parcel> {
    let carrier = fields.text("carrier", carrier, 60);
    let tracking_number = fields.optional_text("tracking_number", tracking_number, 60);
    Some(Parcel { carrier: carrier?, tracking_number: tracking_number? })
}

impl Parcel {
    /// The parcel's row, to or from a dealer or a customer.
    fn open(&self, direction: Direction, party: &Actor, now: chrono::DateTime<chrono::Utc>) -> shipments::Shipment {
        shipments::Shipment {
            shipment_id: Uuid::now_v7(),
            direction,
            dealer_id: party.dealer_id().map(str::to_owned),
            customer_id: party.customer_id(),
            carrier: self.carrier.clone(),
            tracking_number: self.tracking_number.clone(),
            recipient_id: None,
            opened_at: now,
            items: 0,
            on_their_way: 0,
            arrived: 0,
        }
    }
}

/// The claims that a call names: each a UUID, each once.
fn claim_ids(fields: &mut Fields, ids: &[String]) -> Option<Vec<Uuid>> {
    let mut seen = HashSet::new();
    fields.each(ids, |fields, at, id| claim_id(fields, &format!("claim_ids[{at}]"), id, &mut seen))
}

fn claim_id(fields: &mut Fields, field: &str, id: &str, seen: &mut HashSet<Uuid>) -> Option<Uuid> {
    let id = fields.uuid(field, id)?;
    if !seen.insert(id) {
        fields.violate(field, "must be there once");
    }
    Some(id)
}

/// The same step of each claim. A refusal says of which: its place in `claim_ids` where those were given, else its id.
fn steps(
    claims: Vec<Claim>,
    given: bool,
    step: impl Fn(&Claim) -> Result<Event, Refusal>,
) -> store::Result<Vec<(Claim, Vec<Event>)>> {
    let taken = claims.into_iter().enumerate().map(|(at, claim)| match step(&claim) {
        Ok(event) => Ok((claim, vec![event])),
        Err(refusal) => {
            let item = if given { format!("claim_ids[{at}]") } else { claim.id.to_string() };
            Err(Error::from(refusal).of_item(item))
        }
    });
    taken.collect()
}

/// Which claims of a parcel are meant: those that are named; else those on their way, and where none is, all of them.
fn chosen(items: &[shipments::Item], named: Vec<Uuid>) -> store::Result<Vec<Uuid>> {
    if let Some(at) = named.iter().position(|id| items.iter().all(|item| item.claim_id != *id)) {
        return Err(Error::invalid(format!("claim_ids[{at}]"), "is not in this parcel"));
    }
    if !named.is_empty() {
        return Ok(named);
    }
    let none = !items.iter().any(shipments::Item::is_on_its_way);
    Ok(items.iter().filter(|item| none || item.is_on_its_way()).map(|item| item.claim_id).collect())
}
