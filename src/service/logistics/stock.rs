//! Units in stock: where they stand, what they are, and which are held for a claim (T3, T4).

use tonic::Request;

use crate::{
    contract::v1,
    domain::{refusal::Refusal, serial::Serial, stock::Condition},
    service::{
        App, Moment, Reply,
        fields::Fields,
        open, open_write,
        page::Page,
        wire::{number, text, time},
    },
    store::{
        self, Error, claims,
        stock::{self, Filter, Level, Location, StockUnit, Why},
        units::{self, Unit},
    },
};

const MOST_UNITS: usize = 1000;

fn location(fields: &mut Fields, field: &str, name: &str) -> Option<String> {
    // Written as a model is.
    fields.model(field, name)
}

fn unit(unit: StockUnit, now: chrono::DateTime<chrono::Utc>) -> store::Result<v1::StockUnit> {
    let (condition, held) = (unit.condition()?, unit.held_at(now));
    Ok(v1::StockUnit {
        serial: unit.serial,
        model: unit.model,
        location: unit.location,
        condition: number!(condition),
        held_for: text(held.map(|(claim, _)| claim)),
        held_until_time: held.map(|(_, until)| time(until)),
        version: unit.number,
    })
}

fn place(found: Location) -> v1::StockLocation {
    v1::StockLocation { location: found.location, name: found.name, receives_replaced: found.receives_replaced }
}

fn level(found: Level) -> v1::StockLevel {
    v1::StockLevel {
        low: found.new + found.good - found.held < found.minimum.into(),
        model: found.model,
        location: found.location,
        new_count: found.new,
        good_count: found.good,
        faulty_count: found.faulty,
        quarantine_count: found.quarantine,
        scrapped_count: found.scrapped,
        held_count: found.held,
        minimum: found.minimum,
    }
}

fn why<'a>(reason: &'a str, moment: &'a Moment) -> Why<'a> {
    Why { reason, claim: None, actor: &moment.actor, now: moment.now }
}

pub(super) async fn put_location(
    app: &App,
    request: Request<v1::PutStockLocationRequest>,
) -> Reply<v1::PutStockLocationResponse> {
    let (call, request, id, mut fields) = open_write(request)?;
    let given = request.location.clone().unwrap_or_default();
    let short = location(&mut fields, "location.location", &given.location);
    let name = fields.text("location.name", &given.name, 100);
    let receives_replaced = given.receives_replaced;
    let (id, put) = fields.finish(|| Some((id?, Location { location: short?, name: name?, receives_replaced })))?;
    app.write(&call, id, &request, put, move |conn, put, _| {
        Box::pin(async move {
            stock::put_location(conn, &put).await?;
            Ok(v1::PutStockLocationResponse { location: Some(place(put)) })
        })
    })
    .await
}

pub(super) async fn list_locations(
    app: &App,
    request: Request<v1::ListStockLocationsRequest>,
) -> Reply<v1::ListStockLocationsResponse> {
    let (call, request) = open(request)?;
    let mut fields = Fields::default();
    let page = Page::read(&mut fields, &call, request.page_size, &request.page_token, &());
    let page = fields.finish(|| page)?;
    app.read(&call, page, move |conn, page, _| {
        Box::pin(async move {
            let mut found = stock::locations(conn, page.after.as_deref().unwrap_or(""), page.fetch()).await?;
            let next_page_token = page.cut(&mut found, |place| place.location.clone());
            Ok(v1::ListStockLocationsResponse { locations: found.into_iter().map(place).collect(), next_page_token })
        })
    })
    .await
}

pub(super) async fn receive(app: &App, request: Request<v1::ReceiveStockRequest>) -> Reply<v1::ReceiveStockResponse> {
    let (call, request, id, mut fields) = open_write(request)?;
    Fields::at_most("serials", &request.serials, MOST_UNITS)?;
    fields.entries("serials", &request.serials);
    let mut seen = std::collections::HashSet::new();
    let serials: Option<Vec<_>> = fields.each(&request.serials, |fields, at, given| {
        let field = format!("serials[{at}]");
        let serial = fields.serial(&field, given)?;
        if !seen.insert(serial.clone()) {
            fields.violate(&field, "must be there once");
        }
        Some(serial)
    });
    let short = location(&mut fields, "location", &request.location);
    let condition: Option<Condition> = fields.choice("condition", request.condition);
    if condition == Some(Condition::Scrapped) {
        fields.violate("condition", "must not be SCRAPPED");
    }
    let reason = fields.text("reason", &request.reason, 500);
    let (id, asked) = fields.finish(|| Some((id?, (serials?, short?, condition?, reason?))))?;
    app.write(&call, id, &request, asked, move |conn, (serials, short, condition, reason), moment| {
        Box::pin(async move {
            let came = stock::receive(conn, &serials, &short, condition, why(&reason, moment)).await?;
            let units = came.into_iter().map(|came| unit(came, moment.now)).collect::<store::Result<_>>()?;
            Ok(v1::ReceiveStockResponse { units })
        })
    })
    .await
}

/// Where a unit is to go: a place and what it is there, or out of stock.
type Goal = Option<(String, Condition)>;

pub(super) async fn move_stock(app: &App, request: Request<v1::MoveStockRequest>) -> Reply<v1::MoveStockResponse> {
    let (call, request, id, mut fields) = open_write(request)?;
    let serial = fields.serial("serial", &request.serial);
    let goal: Option<Goal> = if request.location.is_empty() {
        if request.condition != 0 {
            fields.violate("condition", "must be left out where the unit leaves the stock");
        }
        Some(None)
    } else {
        let short = location(&mut fields, "location", &request.location);
        let condition = fields.choice("condition", request.condition);
        short.zip(condition).map(Some)
    };
    let reason = fields.text("reason", &request.reason, 500);
    let version = fields.version(request.version);
    let (id, asked) = fields.finish(|| Some((id?, (serial?, goal?, reason?, version?))))?;
    app.write(&call, id, &request, asked, move |conn, (serial, goal, reason, version), moment| {
        Box::pin(async move {
            let (stood, known) = stock::lock_to_move(&mut *conn, &serial).await?;
            if version != 0 && version != stood.number {
                return Err(Refusal::VersionMismatch { given: version, current: stood.number }.into());
            }
            let (to, held) = (goal.as_ref().map(|(_, to)| *to), stood.held_at(moment.now).is_some());
            let may = stood.condition()?.may_become(to, known.is_unused(), held);
            may.map_err(|rule| Refusal::StockRefused { serial: serial.to_string(), rule })?;
            let moved = match goal {
                Some((short, to)) => Some(stock::move_to(conn, &stood, &short, to, why(&reason, moment)).await?),
                None => {
                    stock::take(conn, &stood.serial, why(&reason, moment)).await?;
                    None
                }
            };
            let unit = moved.map(|moved| unit(moved, moment.now)).transpose()?;
            Ok(v1::MoveStockResponse { unit })
        })
    })
    .await
}

pub(super) async fn list(app: &App, request: Request<v1::ListStockRequest>) -> Reply<v1::ListStockResponse> {
    let (call, request) = open(request)?;
    let mut fields = Fields::default();
    let short = fields.optional_model("location", &request.location);
    let model = fields.optional_model("model", &request.model);
    let condition = fields.optional_choice("condition", request.condition);
    let filters = v1::ListStockRequest { page_size: 0, page_token: String::new(), ..request.clone() };
    let page = Page::read(&mut fields, &call, request.page_size, &request.page_token, &filters);
    let asked = fields.finish(|| Some((Filter { location: short?, model: model?, condition: condition? }, page?)))?;
    let now = app.clock.now();
    app.read(&call, asked, move |conn, (filter, page), _| {
        Box::pin(async move {
            let after = page.after.as_deref().unwrap_or("");
            let mut found = stock::list(conn, &filter, after, page.fetch()).await?;
            let next_page_token = page.cut(&mut found, |unit| unit.serial.clone());
            let units = found.into_iter().map(|found| unit(found, now)).collect::<store::Result<_>>()?;
            Ok(v1::ListStockResponse { units, next_page_token })
        })
    })
    .await
}

fn condition(name: Option<&str>) -> store::Result<i32> {
    let condition: Option<Condition> = name.map(str::parse).transpose().map_err(Error::broken)?;
    Ok(condition.map_or(0, |condition| number!(condition)))
}

pub(super) async fn list_movements(
    app: &App,
    request: Request<v1::ListStockMovementsRequest>,
) -> Reply<v1::ListStockMovementsResponse> {
    let (call, request) = open(request)?;
    let mut fields = Fields::default();
    let serial = fields.serial("serial", &request.serial);
    let page = Page::read(&mut fields, &call, request.page_size, &request.page_token, &request.serial);
    let asked = fields.finish(|| Some((serial?, page?)))?;
    app.read(&call, asked, move |conn, (serial, page), _| {
        Box::pin(async move {
            let after = page.after.as_deref().and_then(|key| key.parse().ok()).unwrap_or(0);
            let mut found = stock::movements(conn, &serial, after, page.fetch()).await?;
            let next_page_token = page.cut(&mut found, |movement| movement.number.to_string());
            let movement = |found: stock::Movement| {
                Ok(v1::StockMovement {
                    serial: serial.to_string(),
                    number: found.number,
                    from_condition: condition(found.from_condition.as_deref())?,
                    from_location: text(found.from_location),
                    to_condition: condition(found.to_condition.as_deref())?,
                    to_location: text(found.to_location),
                    reason: found.reason,
                    claim_id: text(found.claim_id),
                    moved_time: Some(time(found.moved_at)),
                    moved_by: found.moved_by,
                })
            };
            let movements = found.into_iter().map(movement).collect::<store::Result<_>>()?;
            Ok(v1::ListStockMovementsResponse { movements, next_page_token })
        })
    })
    .await
}

pub(super) async fn set_minimum(
    app: &App,
    request: Request<v1::SetStockMinimumRequest>,
) -> Reply<v1::SetStockMinimumResponse> {
    let (call, request, id, mut fields) = open_write(request)?;
    let model = fields.model("model", &request.model);
    let short = location(&mut fields, "location", &request.location);
    let minimum = request.minimum;
    if !(0..=1_000_000).contains(&minimum) {
        fields.violate("minimum", "must be 0 to 1,000,000");
    }
    let (id, asked) = fields.finish(|| Some((id?, (model?, short?))))?;
    app.write(&call, id, &request, asked, move |conn, (model, location), moment| {
        Box::pin(async move {
            stock::set_minimum(&mut *conn, &model, &location, minimum).await?;
            let only = Some((model.as_str(), location.as_str()));
            let found = stock::levels(conn, ("", ""), only, false, 1, moment.now).await?.pop();
            let none = || Level { model: model.clone(), location: location.clone(), ..Level::default() };
            Ok(v1::SetStockMinimumResponse { level: Some(level(found.unwrap_or_else(none))) })
        })
    })
    .await
}

pub(super) async fn list_levels(
    app: &App,
    request: Request<v1::ListStockLevelsRequest>,
) -> Reply<v1::ListStockLevelsResponse> {
    let (call, request) = open(request)?;
    let (low, now) = (request.low, app.clock.now());
    let mut fields = Fields::default();
    let page = Page::read(&mut fields, &call, request.page_size, &request.page_token, &low);
    let page = fields.finish(|| page)?;
    app.read(&call, page, move |conn, page, _| {
        Box::pin(async move {
            let after = page.after.as_deref().and_then(|key| key.split_once('/')).unwrap_or(("", ""));
            let mut found = stock::levels(conn, after, None, low, page.fetch(), now).await?;
            let next_page_token = page.cut(&mut found, |level| format!("{}/{}", level.model, level.location));
            Ok(v1::ListStockLevelsResponse { levels: found.into_iter().map(level).collect(), next_page_token })
        })
    })
    .await
}

pub(super) async fn allocate(
    app: &App,
    request: Request<v1::AllocateReplacementRequest>,
) -> Reply<v1::AllocateReplacementResponse> {
    let (call, request, id, mut fields) = open_write(request)?;
    let claim = fields.uuid("claim_id", &request.claim_id);
    let (id, claim) = fields.finish(|| id.zip(claim))?;
    app.write(&call, id, &request, claim, move |conn, claim, moment| {
        Box::pin(async move {
            let claim = claims::lock(&mut *conn, &moment.actor, claim).await?;
            claim.may_be_allocated()?;
            let mut held = stock::held_for(&mut *conn, claim.id, moment.now).await?;
            if held.is_none() {
                let for_unit = store::facts::of_unit(&mut *conn, &claim.filing.serial, Some(claim.id)).await?;
                let until = moment.now + chrono::Duration::days(claim.filing.targets.allocation_days.into());
                for model in std::iter::once(&for_unit.model).chain(&for_unit.facts.equivalents) {
                    held = stock::hold(&mut *conn, model, claim.id, until, moment.now).await?;
                    if held.is_some() {
                        break;
                    }
                }
                if held.is_none() {
                    return Err(Refusal::OutOfStock { model: for_unit.model }.into());
                }
            }
            let unit = held.map(|held| unit(held, moment.now)).transpose()?;
            Ok(v1::AllocateReplacementResponse { unit })
        })
    })
    .await
}

pub(super) async fn release(
    app: &App,
    request: Request<v1::ReleaseAllocationRequest>,
) -> Reply<v1::ReleaseAllocationResponse> {
    let (call, request, id, mut fields) = open_write(request)?;
    let claim = fields.uuid("claim_id", &request.claim_id);
    let (id, claim) = fields.finish(|| id.zip(claim))?;
    app.write(&call, id, &request, claim, move |conn, claim, moment| {
        Box::pin(async move {
            let claim = claims::lock(&mut *conn, &moment.actor, claim).await?;
            let released = stock::release(conn, claim.id, moment.now).await?;
            Ok(v1::ReleaseAllocationResponse { unit: Some(unit(released, moment.now)?) })
        })
    })
    .await
}

pub(super) async fn refurbish(
    app: &App,
    request: Request<v1::RefurbishUnitRequest>,
) -> Reply<v1::RefurbishUnitResponse> {
    let (call, request, id, mut fields) = open_write(request)?;
    let (old, new) = (fields.serial("serial", &request.serial), fields.serial("new_serial", &request.new_serial));
    if new.is_some() && old == new {
        fields.violate("new_serial", "must be another serial");
    }
    let reason = fields.text("reason", &request.reason, 500);
    let (id, asked) = fields.finish(|| Some((id?, (old?, new?, reason?))))?;
    app.write(&call, id, &request, asked, move |conn, (old, new, reason): (Serial, Serial, String), moment| {
        Box::pin(async move {
            let (stood, known) = stock::lock_to_move(&mut *conn, &old).await?;
            let may = stood.condition()?.may_be_refurbished(&known);
            may.map_err(|rule| Refusal::StockRefused { serial: old.to_string(), rule })?;
            let was = units::get(&mut *conn, &old).await?;
            let anew = Unit {
                serial: new.to_string(),
                ex_factory_on: moment.today,
                refurbished_from: Some(was.serial.clone()),
                ..was
            };
            if units::register(&mut *conn, std::slice::from_ref(&anew), moment.now).await? == 0 {
                return Err(Refusal::RegistryConflict(format!("unit {new} is registered already")).into());
            }
            let unit = unit(stock::refurbish(conn, &stood, &new, why(&reason, moment)).await?, moment.now)?;
            Ok(v1::RefurbishUnitResponse { unit: Some(unit) })
        })
    })
    .await
}
