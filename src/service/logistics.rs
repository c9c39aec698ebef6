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

use sqlx::PgConnection;
use tonic::Request;
use uuid::Uuid;

use super::{
    App, Reply,
    fields::Fields,
    status,
    wire::{number, text, time},
};
use crate::{
    contract::v1::{logistics_service_server::LogisticsService, *},
    domain::{actor::Actor, clause::Clause, coverage::Payer},
    store::{self, Error, shipments},
};

/// How many claims one parcel may have.
const MOST_ITEMS: usize = 200;

/// The service.
pub struct Logistics(pub App);

#[tonic::async_trait]
impl LogisticsService for Logistics {
    async fn open_return(&self, request: Request<OpenReturnRequest>) -> Reply<OpenReturnResponse> {
        inbound::open_return(&self.0, request).await
    }
    async fn receive_return(&self, request: Request<ReceiveReturnRequest>) -> Reply<ReceiveReturnResponse> {
        receiving::receive(&self.0, request).await
    }
    async fn record_tracking(&self, request: Request<RecordTrackingRequest>) -> Reply<RecordTrackingResponse> {
        tracking::record(&self.0, request).await
    }
    async fn list_set_aside(&self, request: Request<ListSetAsideRequest>) -> Reply<ListSetAsideResponse> {
        set_aside::list(&self.0, request).await
    }
    async fn settle_set_aside(&self, request: Request<SettleSetAsideRequest>) -> Reply<SettleSetAsideResponse> {
        set_aside::settle(&self.0, request).await
    }
    async fn record_loss(&self, request: Request<RecordLossRequest>) -> Reply<RecordLossResponse> {
        lost::record(&self.0, request).await
    }
    async fn close_lost(&self, request: Request<CloseLostRequest>) -> Reply<CloseLostResponse> {
        lost::close(&self.0, request).await
    }
    async fn dispatch_outbound(&self, request: Request<DispatchOutboundRequest>) -> Reply<DispatchOutboundResponse> {
        outbound::dispatch(&self.0, request).await
    }
    async fn confirm_delivery(&self, request: Request<ConfirmDeliveryRequest>) -> Reply<ConfirmDeliveryResponse> {
        outbound::deliver(&self.0, request).await
    }
    async fn get_shipment(&self, request: Request<GetShipmentRequest>) -> Reply<GetShipmentResponse> {
        listing::get(&self.0, request).await
    }
    async fn list_shipments(&self, request: Request<ListShipmentsRequest>) -> Reply<ListShipmentsResponse> {
        listing::list(&self.0, request).await
    }
    async fn get_packing_list(&self, request: Request<GetPackingListRequest>) -> Reply<GetPackingListResponse> {
        packing::get(&self.0, request).await
    }
    async fn put_stock_location(&self, request: Request<PutStockLocationRequest>) -> Reply<PutStockLocationResponse> {
        stock::put_location(&self.0, request).await
    }
    async fn list_stock_locations(
        &self,
        request: Request<ListStockLocationsRequest>,
    ) -> Reply<ListStockLocationsResponse> {
        stock::list_locations(&self.0, request).await
    }
    async fn receive_stock(&self, request: Request<ReceiveStockRequest>) -> Reply<ReceiveStockResponse> {
        stock::receive(&self.0, request).await
    }
    async fn move_stock(&self, request: Request<MoveStockRequest>) -> Reply<MoveStockResponse> {
        stock::move_stock(&self.0, request).await
    }
    async fn list_stock(&self, request: Request<ListStockRequest>) -> Reply<ListStockResponse> {
        stock::list(&self.0, request).await
    }
    async fn list_stock_movements(
        &self,
        request: Request<ListStockMovementsRequest>,
    ) -> Reply<ListStockMovementsResponse> {
        stock::list_movements(&self.0, request).await
    }
    async fn set_stock_minimum(&self, request: Request<SetStockMinimumRequest>) -> Reply<SetStockMinimumResponse> {
        stock::set_minimum(&self.0, request).await
    }
    async fn list_stock_levels(&self, request: Request<ListStockLevelsRequest>) -> Reply<ListStockLevelsResponse> {
        stock::list_levels(&self.0, request).await
    }
    async fn allocate_replacement(
        &self,
        request: Request<AllocateReplacementRequest>,
    ) -> Reply<AllocateReplacementResponse> {
        stock::allocate(&self.0, request).await
    }
    async fn release_allocation(&self, request: Request<ReleaseAllocationRequest>) -> Reply<ReleaseAllocationResponse> {
        stock::release(&self.0, request).await
    }
    async fn refurbish_unit(&self, request: Request<RefurbishUnitRequest>) -> Reply<RefurbishUnitResponse> {
        stock::refurbish(&self.0, request).await
    }
    async fn get_dealer_ledger(&self, request: Request<GetDealerLedgerRequest>) -> Reply<GetDealerLedgerResponse> {
        ledger::get(&self.0, request).await
    }
    async fn write_off_debt(&self, request: Request<WriteOffDebtRequest>) -> Reply<WriteOffDebtResponse> {
        ledger::write_off(&self.0, request).await
    }
    async fn net_debts(&self, request: Request<NetDebtsRequest>) -> Reply<NetDebtsResponse> {
        ledger::net(&self.0, request).await
    }
    async fn record_freight_cost(
        &self,
        request: Request<RecordFreightCostRequest>,
    ) -> Reply<RecordFreightCostResponse> {
        freight::record(&self.0, request).await
    }
    async fn get_freight_statement(
        &self,
        request: Request<GetFreightStatementRequest>,
    ) -> Reply<GetFreightStatementResponse> {
        freight::statement(&self.0, request).await
    }
    async fn export_freight(&self, request: Request<ExportFreightRequest>) -> Reply<ExportFreightResponse> {
        freight::export(&self.0, request).await
    }
    async fn get_report(&self, request: Request<GetReportRequest>) -> Reply<GetReportResponse> {
        report::get(&self.0, request).await
    }
}

/// A parcel of the caller's on the wire.
async fn shipment(conn: &mut PgConnection, actor: &Actor, id: Uuid) -> store::Result<Shipment> {
    let (found, items) = shipments::get(conn, actor, id).await?;
    on_the_wire(found, items)
}

/// A parcel with these of its items.
fn on_the_wire(found: shipments::Shipment, items: Vec<shipments::Item>) -> store::Result<Shipment> {
    let direction = if found.is_inbound() { ShipmentDirection::Inbound } else { ShipmentDirection::Outbound };
    Ok(Shipment {
        shipment_id: found.shipment_id.to_string(),
        direction: direction.into(),
        dealer_id: text(found.dealer_id),
        customer_id: text(found.customer_id),
        carrier: found.carrier,
        tracking_number: text(found.tracking_number),
        items: items.into_iter().map(item).collect::<store::Result<_>>()?,
        opened_time: Some(time(found.opened_at)),
        arrived: found.arrived == found.items,
        open: found.on_their_way > 0,
        item_count: i32::try_from(found.items).unwrap_or(i32::MAX),
    })
}

fn item(item: shipments::Item) -> store::Result<ShipmentItem> {
    let payer: Payer = item.payer.parse().map_err(Error::broken)?;
    let clause: Clause = item.clause.parse().map_err(Error::broken)?;
    Ok(ShipmentItem {
        claim_id: item.claim_id.to_string(),
        return_number: text(item.return_number),
        serial: text(item.serial),
        payer: number!(payer),
        clause: number!(clause),
        arrived_time: item.arrived_at.map(time),
        lost_time: item.lost_at.map(time),
        missing_parts: text(item.missing_parts),
        transport_damage: item.transport_damage,
        depot: text(item.depot),
    })
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
    fn open(&self, direction: &str, party: &Actor, now: chrono::DateTime<chrono::Utc>) -> shipments::Shipment {
        shipments::Shipment {
            shipment_id: Uuid::now_v7(),
            direction: direction.to_owned(),
            dealer_id: party.dealer_id().map(str::to_owned),
            customer_id: party.customer_id(),
            carrier: self.carrier.clone(),
            tracking_number: self.tracking_number.clone(),
            opened_at: now,
            items: 0,
            on_their_way: 0,
            arrived: 0,
        }
    }
}

/// The claims that a parcel names: each a UUID, each once.
fn claim_ids<'a>(
    fields: &mut Fields,
    field: impl Fn(usize) -> String,
    ids: impl Iterator<Item = &'a str>,
) -> Option<Vec<Uuid>> {
    let mut read: Vec<Option<Uuid>> = Vec::new();
    for (at, id) in ids.enumerate() {
        let id = fields.uuid(&field(at), id);
        if id.is_some() && read.contains(&id) {
            fields.violate(&field(at), "must be there once");
        }
        read.push(id);
    }
    read.into_iter().collect()
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

/// Whether a list is longer than a parcel may be.
fn fits(field: &str, entries: usize) -> Result<(), tonic::Status> {
    if entries > MOST_ITEMS { Err(status::too_large(field, MOST_ITEMS)) } else { Ok(()) }
}
