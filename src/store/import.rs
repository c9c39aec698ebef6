//! Imports: what is registered of a group's rows, asked for all of them at once, and new rows by COPY.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Datelike, NaiveDate, Utc};
use sqlx::{Executor, FromRow, PgConnection};

use super::{
    error::{Error, Result},
    stock,
    units::{self, Held, Unit},
};
use crate::domain::actor::Actor;

/// A sale to register, its customer not known.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct ImportedSale {
    /// Normalised.
    pub serial: String,
    /// Who sold it.
    pub dealer_id: String,
    /// The day.
    pub sold_on: NaiveDate,
    /// Only a sale with an invoice gives the start.
    pub invoice_number: Option<String>,
    /// The other voucher.
    pub warranty_card_number: Option<String>,
    /// S4.
    pub region: Option<String>,
    /// S5.
    pub contract_number: Option<String>,
}

/// What the registry has that units of a group must agree with.
#[derive(Debug)]
pub struct RegisteredUnits {
    /// Those of the group that are there, and the units that its rows were refurbished from, by serial.
    pub units: HashMap<String, Unit>,
    /// The models named that are in the catalogue.
    pub models: HashSet<String>,
    /// Serials that another unit was refurbished from.
    pub refurbished: HashSet<String>,
}

/// The latest version of a unit's sale.
#[derive(Debug, FromRow)]
pub struct LatestSale {
    /// Counts the versions.
    pub version: i64,
    /// Whether it says that there is no sale.
    pub cancelled: bool,
    /// What was registered.
    #[sqlx(flatten)]
    pub sale: ImportedSale,
}

/// What the registry has that sales of a group must agree with.
#[derive(Debug)]
pub struct RegisteredSales {
    /// Those units of the group that are there, by serial.
    pub units: HashMap<String, Held>,
    /// The latest version of each one's sale, by serial.
    pub latest: HashMap<String, LatestSale>,
    /// The dealers named that are known.
    pub dealers: HashSet<String>,
    /// The contracts named that are known.
    pub contracts: HashSet<String>,
    /// Units that are held for a claim in the maker's stock.
    pub held: HashSet<String>,
}

/// Reads what `units` must agree with. A group that met another one's rows before goes `alone` the next time: then no other
/// import adds units until its transaction ends.
pub async fn registered_units(conn: &mut PgConnection, units: &[Unit], alone: bool) -> Result<RegisteredUnits> {
    by_key(conn).await?;
    conn.execute(match alone {
        true => "SELECT pg_advisory_xact_lock(hashtextextended('imported units', 0))",
        false => "SELECT pg_advisory_xact_lock_shared(hashtextextended('imported units', 0))",
    })
    .await?;
    let from: Vec<&str> = units.iter().filter_map(|unit| unit.refurbished_from.as_deref()).collect();
    let serials: Vec<&str> = units.iter().map(|unit| unit.serial.as_str()).chain(from.iter().copied()).collect();
    let found = units::of_serials(&mut *conn, &serials).await?;
    let models: HashSet<&str> = units.iter().map(|unit| unit.model.as_str()).collect();
    let models = named(conn, "SELECT model FROM products WHERE model = ANY ($1)", models).await?;
    let refurbished = "SELECT refurbished_from FROM units WHERE refurbished_from = ANY ($1)";
    let refurbished = named(conn, refurbished, from.into_iter().collect()).await?;
    let units = found.into_iter().map(|unit| (unit.serial.clone(), unit)).collect();
    Ok(RegisteredUnits { units, models, refurbished })
}

/// Reads what `sales` must agree with, and holds their units, in the order of serials: a sale, a swap and a replacement of the
/// same unit come one after the other.
pub async fn registered_sales(
    conn: &mut PgConnection,
    sales: &[&ImportedSale],
    now: DateTime<Utc>,
) -> Result<RegisteredSales> {
    by_key(conn).await?;
    let serials: Vec<&str> = sales.iter().map(|sale| sale.serial.as_str()).collect();
    let held = units::hold(&mut *conn, &serials).await?;
    // A statement of its own: it sees what the locks waited for.
    let latest: Vec<LatestSale> = sqlx::query_as(
        "SELECT version, cancelled, serial, dealer_id, sold_on, invoice_number, warranty_card_number, region, contract_number
           FROM sales WHERE serial = ANY ($1) AND superseded_at = 'infinity'",
    )
    .bind(&serials)
    .fetch_all(&mut *conn)
    .await?;
    let in_stock = stock::held(&mut *conn, &serials, now).await?.into_iter().collect();
    let dealers = sales.iter().map(|sale| sale.dealer_id.as_str()).collect();
    let dealers = named(conn, "SELECT dealer_id FROM dealers WHERE dealer_id = ANY ($1)", dealers).await?;
    let contracts = sales.iter().filter_map(|sale| sale.contract_number.as_deref()).collect();
    let contracts =
        named(conn, "SELECT contract_number FROM contracts WHERE contract_number = ANY ($1)", contracts).await?;
    Ok(RegisteredSales {
        units: held.into_iter().map(|unit| (unit.serial.clone(), unit)).collect(),
        latest: latest.into_iter().map(|latest| (latest.sale.serial.clone(), latest)).collect(),
        dealers,
        contracts,
        held: in_stock,
    })
}

/// Adds units that are not there. Errors: `Contended` where another transaction added one of them meanwhile.
pub async fn add_units(conn: &mut PgConnection, mut units: Vec<&Unit>, now: DateTime<Utc>) -> Result<()> {
    // In the order of serials: imports of the same units wait for each other and do not lock each other out.
    units.sort_unstable_by(|a, b| a.serial.cmp(&b.serial));
    let mut rows = Rows::new(8);
    for unit in units {
        rows.next();
        rows.text(Some(&unit.serial));
        rows.text(Some(&unit.model));
        rows.text(unit.lot.as_deref());
        rows.date(unit.manufactured_on);
        rows.date(unit.ex_factory_on);
        rows.value(&[u8::from(unit.sold_by_maker)]);
        rows.text(unit.refurbished_from.as_deref());
        rows.time(now);
    }
    let copy =
        "COPY units (serial, model, lot, manufactured_on, ex_factory_on, sold_by_maker, refurbished_from, recorded_at)
                FROM STDIN (FORMAT binary)";
    rows.copy(conn, copy).await
}

/// Registers sales of units that are held, each with its version; one after the first takes a cancelled version's place.
pub async fn add_sales(
    conn: &mut PgConnection,
    mut sales: Vec<(&ImportedSale, i64)>,
    actor: &Actor,
    now: DateTime<Utc>,
) -> Result<()> {
    sales.sort_unstable_by(|(a, _), (b, _)| a.serial.cmp(&b.serial));
    let again: Vec<&str> =
        sales.iter().filter(|(_, version)| *version > 1).map(|(sale, _)| sale.serial.as_str()).collect();
    if !again.is_empty() {
        sqlx::query("UPDATE sales SET superseded_at = $2 WHERE serial = ANY ($1) AND superseded_at = 'infinity'")
            .bind(again)
            .bind(now)
            .execute(&mut *conn)
            .await?;
    }
    let by = actor.to_string();
    let mut rows = Rows::new(10);
    for (sale, version) in sales {
        rows.next();
        rows.text(Some(&sale.serial));
        rows.value(&version.to_be_bytes());
        rows.text(Some(&sale.dealer_id));
        rows.date(sale.sold_on);
        rows.text(sale.invoice_number.as_deref());
        rows.text(sale.warranty_card_number.as_deref());
        rows.text(sale.region.as_deref());
        rows.text(sale.contract_number.as_deref());
        rows.time(now);
        rows.text(Some(&by));
    }
    let copy = "COPY sales (serial, version, dealer_id, sold_on, invoice_number, warranty_card_number, region, contract_number,
                            recorded_at, recorded_by) FROM STDIN (FORMAT binary)";
    rows.copy(conn, copy).await
}

/// For ten thousand keys the planner would rather read a whole table of millions; the keys' pages are mostly in memory.
async fn by_key(conn: &mut PgConnection) -> Result<()> {
    conn.execute("SET LOCAL enable_seqscan = off").await?;
    Ok(())
}

/// The names that `query` finds; nothing is asked where there are none.
async fn named(conn: &mut PgConnection, query: &'static str, names: HashSet<&str>) -> Result<HashSet<String>> {
    if names.is_empty() {
        return Ok(HashSet::new());
    }
    let names: Vec<&str> = names.into_iter().collect();
    let found: Vec<(String,)> = sqlx::query_as(query).bind(names).fetch_all(conn).await?;
    Ok(found.into_iter().map(|(name,)| name).collect())
}

/// Rows as COPY takes them in its binary format.
struct Rows {
    bytes: Vec<u8>,
    columns: i16,
    count: usize,
}

impl Rows {
    fn new(columns: i16) -> Self {
        let mut bytes = b"PGCOPY\n\xff\r\n\0".to_vec();
        // No flags, no further header.
        bytes.extend([0; 8]);
        Self { bytes, columns, count: 0 }
    }

    fn next(&mut self) {
        self.count += 1;
        self.bytes.extend(self.columns.to_be_bytes());
    }

    fn value(&mut self, value: &[u8]) {
        let length = i32::try_from(value.len()).expect("a request's field is shorter than 2 GiB");
        self.bytes.extend(length.to_be_bytes());
        self.bytes.extend(value);
    }

    fn text(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.value(text.as_bytes()),
            None => self.bytes.extend((-1_i32).to_be_bytes()),
        }
    }

    /// PostgreSQL counts from 2000-01-01, which is day 730,120 of the common era.
    fn date(&mut self, day: NaiveDate) {
        self.value(&(day.num_days_from_ce() - 730_120).to_be_bytes());
    }

    /// In microseconds since 2000-01-01.
    fn time(&mut self, at: DateTime<Utc>) {
        self.value(&(at.timestamp_micros() - 946_684_800_000_000).to_be_bytes());
    }

    /// Writes the rows. They agreed with what was read, so a constraint that one breaks now was met by another transaction's
    /// row: the group is read and judged again.
    async fn copy(mut self, conn: &mut PgConnection, statement: &'static str) -> Result<()> {
        if self.count == 0 {
            return Ok(());
        }
        self.bytes.extend((-1_i16).to_be_bytes());
        let mut copy = conn.copy_in_raw(statement).await?;
        copy.send(self.bytes).await?;
        match copy.finish().await.map_err(Error::from) {
            Ok(_) => Ok(()),
            Err(Error::Refused(_) | Error::NotFound { .. }) => Err(Error::Contended),
            Err(error) => Err(error),
        }
    }
}
