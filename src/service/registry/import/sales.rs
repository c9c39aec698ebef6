//! Imported sales.

use std::collections::HashMap;

use chrono::NaiveDate;
use futures::future::BoxFuture;
use sqlx::PgConnection;

use super::{Kind, Verdict};
use crate::{
    contract::v1::{self, ErrorReason as R},
    domain::{actor::Actor, stock::HELD_NOT_SOLD},
    service::{
        Fields, Moment,
        registry::sales::{contract, seller},
    },
    store::{
        self, dealers,
        import::{ImportedSale, RegisteredSales, add_sales, registered_sales},
    },
};

/// Rows of sales.
pub(in crate::service::registry) struct Sales;

/// A sale, and the model that its unit is believed to have.
pub(in crate::service::registry) struct Given {
    sale: ImportedSale,
    model: Option<String>,
}

impl Kind for Sales {
    type Message = v1::ImportSalesRequest;
    type Row = v1::ImportedSale;
    type Given = Given;
    type Progress = v1::ImportSalesResponse;
    const ROWS: &'static str = "sales";

    fn rows(message: v1::ImportSalesRequest) -> Vec<v1::ImportedSale> {
        message.sales
    }

    fn serial(row: &mut v1::ImportedSale) -> &mut String {
        &mut row.serial
    }

    fn read(fields: &mut Fields, row: &v1::ImportedSale, actor: &Actor, today: NaiveDate) -> Option<Given> {
        let serial = fields.serial("serial", &row.serial);
        let dealer_id = seller(fields, actor, &row.dealer_id);
        let sold_on = fields.date("sold_date", row.sold_date.as_ref());
        if sold_on.is_some_and(|day| day > today) {
            fields.violate("sold_date", "must not be in the future");
        }
        let invoice_number = fields.optional_text("invoice_number", &row.invoice_number, 64);
        let warranty_card_number = fields.optional_text("warranty_card_number", &row.warranty_card_number, 64);
        let region = fields.optional_region("region", &row.region);
        let contract_number = contract(fields, actor, &row.contract_number);
        let model = fields.optional_model("model", &row.model);
        let sale = ImportedSale {
            serial: serial?.into(),
            dealer_id: dealer_id?,
            sold_on: sold_on?,
            invoice_number: invoice_number?,
            warranty_card_number: warranty_card_number?,
            region: region?.map(|region| region.to_string()),
            contract_number: contract_number?,
        };
        Some(Given { sale, model: model? })
    }

    fn keep<'c>(
        conn: &'c mut PgConnection,
        given: &'c [Given],
        moment: &'c Moment,
        _: bool,
    ) -> BoxFuture<'c, store::Result<Vec<Verdict>>> {
        Box::pin(async move {
            dealers::must_be_active(&mut *conn, &moment.actor).await?;
            let sales: Vec<&ImportedSale> = given.iter().map(|given| &given.sale).collect();
            let registered = registered_sales(&mut *conn, &sales, moment.now).await?;
            let mut new = HashMap::new();
            let verdicts = given.iter().map(|given| judge(given, &moment.actor, &registered, &mut new)).collect();
            add_sales(conn, new.into_values().collect(), &moment.actor, moment.now).await?;
            Ok(verdicts)
        })
    }
}

/// Decided in this order: the unit and its model, the dealer, the contract, the date, the sale that is there. `new` are the
/// group's sales so far, each with its version, by serial.
fn judge<'g>(
    given: &'g Given,
    actor: &Actor,
    registered: &RegisteredSales,
    new: &mut HashMap<&'g str, (&'g ImportedSale, i64)>,
) -> Verdict {
    let sale = &given.sale;
    let Some(unit) = registered.units.get(&sale.serial) else {
        return Verdict::rejected(R::NotFound, "serial", "no such unit");
    };
    if given.model.as_ref().is_some_and(|model| *model != unit.model) {
        return Verdict::rejected(R::ModelMismatch, "model", &format!("the unit is of model {}", unit.model));
    }
    if !registered.dealers.contains(&sale.dealer_id) {
        return Verdict::rejected(R::NotFound, "dealer_id", "no such dealer");
    }
    if sale.contract_number.as_ref().is_some_and(|number| !registered.contracts.contains(number)) {
        return Verdict::rejected(R::NotFound, "contract_number", "no such contract");
    }
    if sale.sold_on < unit.manufactured_on {
        return Verdict::rejected(R::InvalidFields, "sold_date", "must not lie before the unit was manufactured");
    }
    let latest = registered.latest.get(&sale.serial);
    let stands = new.get(sale.serial.as_str()).map(|(sale, _)| *sale);
    let stands = stands.or(latest.filter(|latest| !latest.cancelled).map(|latest| &latest.sale));
    match stands {
        None if registered.held.contains(&sale.serial) => Verdict::rejected(R::StockRefused, "serial", HELD_NOT_SOLD),
        None => {
            new.insert(&sale.serial, (sale, latest.map_or(0, |latest| latest.version) + 1));
            Verdict::Created
        }
        Some(there) if same(there, sale, actor) => Verdict::Unchanged,
        Some(_) => Verdict::rejected(R::RegistryConflict, "serial", "a sale of the unit is registered already"),
    }
}

/// Whether a registered sale is the one given. A dealer does not know the contract that the maker put its sale under.
fn same(there: &ImportedSale, given: &ImportedSale, actor: &Actor) -> bool {
    match actor.dealer_id() {
        Some(_) => ImportedSale { contract_number: there.contract_number.clone(), ..given.clone() } == *there,
        None => there == given,
    }
}
