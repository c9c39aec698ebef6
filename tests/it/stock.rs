//! Units in stock: one place each, a ledger of movements, what is held for whom and until when, and what races end in.

use std::collections::BTreeMap;

use futures::future::join_all;
use sqlx::AssertSqlSafe;
use tonic::{Code, Response};
use warranty::{
    contract::v1::{StockCondition as C, *},
    service::claim::worker::{self, Done},
};

use crate::{
    claims::{Life, Outcome, count, tally},
    world::{World, contact, date, filing, id, metadata, refusal, violations},
};

/// The depot's shelves, one call a step.
pub struct Shelves<'a>(pub &'a World);

impl Shelves<'_> {
    pub async fn put(&self, location: &str, receives_replaced: bool) {
        let location = StockLocation { location: location.into(), name: "a shelf".into(), receives_replaced };
        let request = PutStockLocationRequest { request_id: id(), location: Some(location.clone()) };
        let put = self.0.staff().logistics.put_stock_location(request).await.unwrap().into_inner();
        assert_eq!(put.location, Some(location));
    }
    pub async fn receive(&self, serials: &[&str], location: &str, condition: C) -> Outcome<Vec<StockUnit>> {
        let serials = serials.iter().map(|serial| (*serial).to_owned()).collect();
        let (location, reason) = (location.into(), "from the factory".into());
        let request = ReceiveStockRequest { request_id: id(), serials, location, condition: condition.into(), reason };
        Ok(self.0.staff().logistics.receive_stock(request).await?.into_inner().units)
    }
    pub async fn move_to(
        &self,
        serial: &str,
        location: &str,
        condition: C,
        version: i64,
    ) -> Outcome<Option<StockUnit>> {
        let request = MoveStockRequest {
            request_id: id(),
            serial: serial.into(),
            location: location.into(),
            condition: condition.into(),
            reason: "tested".into(),
            version,
        };
        Ok(self.0.staff().logistics.move_stock(request).await?.into_inner().unit)
    }
    async fn list(&self, location: &str, model: &str, condition: C) -> Vec<String> {
        let request = ListStockRequest {
            location: location.into(),
            model: model.into(),
            condition: condition.into(),
            ..Default::default()
        };
        let found = self.0.staff().logistics.list_stock(request).await.unwrap().into_inner().units;
        found.into_iter().map(|unit| unit.serial).collect()
    }
    /// A unit's movements, each as one line.
    async fn movements(&self, serial: &str) -> Vec<String> {
        let request = ListStockMovementsRequest { serial: serial.into(), ..Default::default() };
        let found = self.0.staff().logistics.list_stock_movements(request).await.unwrap().into_inner().movements;
        let place = |location: &str, condition: C| match location {
            "" => "-".to_owned(),
            there => format!("{there} {}", condition.as_str_name().trim_start_matches("STOCK_CONDITION_")),
        };
        found
            .iter()
            .map(|moved| {
                let from = place(&moved.from_location, moved.from_condition());
                let to = place(&moved.to_location, moved.to_condition());
                format!("{} {from} > {to}: {} by {}", moved.number, moved.reason, moved.moved_by)
            })
            .collect()
    }
    pub async fn allocate(&self, claim: &str) -> Outcome<StockUnit> {
        let request = AllocateReplacementRequest { request_id: id(), claim_id: claim.into() };
        Ok(self.0.staff().logistics.allocate_replacement(request).await?.into_inner().unit.unwrap())
    }
    async fn release(&self, claim: &str) -> Outcome<StockUnit> {
        let request = ReleaseAllocationRequest { request_id: id(), claim_id: claim.into() };
        Ok(self.0.staff().logistics.release_allocation(request).await?.into_inner().unit.unwrap())
    }
    async fn levels(&self, low: bool) -> Vec<StockLevel> {
        let request = ListStockLevelsRequest { low, ..Default::default() };
        self.0.staff().logistics.list_stock_levels(request).await.unwrap().into_inner().levels
    }
    async fn minimum(&self, model: &str, location: &str, minimum: i32) -> Outcome<StockLevel> {
        let (model, location) = (model.into(), location.into());
        let request = SetStockMinimumRequest { request_id: id(), model, location, minimum };
        Ok(self.0.staff().logistics.set_stock_minimum(request).await?.into_inner().level.unwrap())
    }
    async fn refurbish(&self, serial: &str, new_serial: &str) -> Outcome<RefurbishUnitResponse> {
        let (serial, new_serial, reason) = (serial.into(), new_serial.into(), "a new board".into());
        let request = RefurbishUnitRequest { request_id: id(), serial, new_serial, reason };
        self.0.staff().logistics.refurbish_unit(request).await.map(Response::into_inner)
    }
}

/// A world with the locations DEPOT, which receives what is replaced, and SHELF.
async fn shelved() -> World {
    let world = World::stocked().await;
    Shelves(&world).put("SHELF", false).await;
    Shelves(&world).put("DEPOT", true).await;
    world
}

fn why<T: std::fmt::Debug>(refused: Outcome<T>) -> (String, String) {
    let refused = refused.unwrap_err();
    (refusal(&refused).1, metadata(&refused, "rule"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_stands_in_one_place_and_every_movement_is_written() {
    let world = shelved().await;
    let shelves = Shelves(&world);
    for serial in ["UNIT1", "UNIT2", "UNIT3"] {
        world.unit(serial).await;
    }
    let came = shelves.receive(&["UNIT2", "unit-1"], "SHELF", C::Quarantine).await.unwrap();
    let unit = |serial: &str, version| StockUnit {
        serial: serial.into(),
        model: "PS-1".into(),
        location: "SHELF".into(),
        condition: C::Quarantine.into(),
        version,
        ..Default::default()
    };
    assert_eq!(came, [unit("UNIT1", 1), unit("UNIT2", 1)]);
    shelves.receive(&["UNIT3"], "DEPOT", C::New).await.unwrap();

    let good = shelves.move_to("UNIT1", "DEPOT", C::Good, 1).await.unwrap().unwrap();
    let expected = StockUnit { location: "DEPOT".into(), condition: C::Good.into(), ..unit("UNIT1", 2) };
    assert_eq!(good, expected);
    assert_eq!(shelves.list("", "", C::Unspecified).await, ["UNIT1", "UNIT2", "UNIT3"]);
    assert_eq!(shelves.list("DEPOT", "", C::Unspecified).await, ["UNIT1", "UNIT3"]);
    assert_eq!(shelves.list("DEPOT", "PS-1", C::Good).await, ["UNIT1"]);
    assert!(shelves.list("", "PS-2", C::Unspecified).await.is_empty());

    // Out of stock, and back: the chain goes on. Then to its end.
    assert_eq!(shelves.move_to("UNIT1", "", C::Unspecified, 0).await.unwrap(), None);
    assert!(shelves.list("DEPOT", "", C::Good).await.is_empty());
    shelves.receive(&["UNIT1"], "SHELF", C::Faulty).await.unwrap();
    shelves.move_to("UNIT1", "SHELF", C::Scrapped, 0).await.unwrap();
    let refused = why(shelves.move_to("UNIT1", "SHELF", C::Quarantine, 0).await);
    assert_eq!(refused, ("STOCK_REFUSED".into(), "it was scrapped, which is the end".into()));
    let movements = [
        "1 - > SHELF QUARANTINE: from the factory by staff/S1",
        "2 SHELF QUARANTINE > DEPOT GOOD: tested by staff/S1",
        "3 DEPOT GOOD > -: tested by staff/S1",
        "4 - > SHELF FAULTY: from the factory by staff/S1",
        "5 SHELF FAULTY > SHELF SCRAPPED: tested by staff/S1",
    ];
    assert_eq!(shelves.movements("UNIT1").await, movements);

    // Pages, by key.
    let mut request = ListStockRequest { page_size: 2, ..Default::default() };
    let first = world.staff().logistics.list_stock(request.clone()).await.unwrap().into_inner();
    request.page_token = first.next_page_token;
    let second = world.staff().logistics.list_stock(request).await.unwrap().into_inner();
    let serials = |units: &[StockUnit]| units.iter().map(|unit| unit.serial.clone()).collect::<Vec<_>>();
    assert_eq!(
        (serials(&first.units), serials(&second.units)),
        (vec!["UNIT1".into(), "UNIT2".into()], vec!["UNIT3".into()])
    );
    assert!(second.next_page_token.is_empty());
    let places = ListStockLocationsRequest::default();
    let places = world.staff().logistics.list_stock_locations(places).await.unwrap().into_inner().locations;
    let places: Vec<_> = places.iter().map(|place| (place.location.as_str(), place.receives_replaced)).collect();
    assert_eq!(places, [("DEPOT", true), ("SHELF", false)]);
    shelves.put("SHELF", true).await;
    assert_eq!(count(&world, "SELECT count(*) FROM stock_locations WHERE receives_replaced").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_in_stock_is_refused_by_name() {
    let world = shelved().await;
    let shelves = Shelves(&world);
    let sold = "it was sold or given";
    let claimed = "a claim for it is open: it comes in with that";
    let unused = "only a unit that was never used may be NEW or GOOD (T4)";
    world.sold("SOLD1", 3).await;
    world.unit_like("ALIEN1", |unit| unit.sold_by_maker = false).await;
    world.unit("THERE1").await;
    world.unit("FINE1").await;
    shelves.receive(&["THERE1"], "SHELF", C::Faulty).await.unwrap();
    // Swapped, and still at the dealer's.
    let swapped = Life(&world).in_state("SWAP1", 3, ClaimState::Swapped).await;
    for (serials, condition, rule) in [
        (["FINE1", "SOLD1"], C::Faulty, sold),
        (["FINE1", "SWAP1"], C::Faulty, claimed),
        (["FINE1", "ALIEN1"], C::Good, unused),
        (["FINE1", "THERE1"], C::New, "it is in stock"),
    ] {
        let refused = shelves.receive(&serials, "SHELF", condition).await.unwrap_err();
        assert_eq!(refusal(&refused), (Code::FailedPrecondition, "STOCK_REFUSED".into()));
        assert_eq!((metadata(&refused, "rule").as_str(), metadata(&refused, "serial").as_str()), (rule, serials[1]));
    }
    assert_eq!(count(&world, "SELECT count(*) FROM stock_units").await, 1, "all or none");
    // Once its claim says that the dealer gets a good unit for it, it comes in with that.
    let life = Life(&world);
    let parcel = life.open_return(&[&swapped.claim_id]).await.unwrap();
    life.receive(&swapped, &parcel.shipment_id, |_| {}).await.unwrap();
    assert_eq!(why(shelves.receive(&["SWAP1"], "SHELF", C::Faulty).await), ("STOCK_REFUSED".into(), claimed.into()));
    life.inspect(&swapped.claim_id, &[]).await.unwrap();
    assert_eq!(shelves.movements("SWAP1").await.len(), 1);
    // What left comes back as it left, or as it may become.
    for (left, back, rule) in [
        (C::Faulty, C::New, "nothing becomes NEW again"),
        (C::Faulty, C::Good, "it must be tested in QUARANTINE first"),
        (C::Good, C::New, "nothing becomes NEW again"),
    ] {
        let serial = format!("{}TO{}", left.as_str_name(), back.as_str_name()).replace("STOCK_CONDITION_", "");
        world.unit(&serial).await;
        shelves.receive(&[&serial], "SHELF", left).await.unwrap();
        shelves.move_to(&serial, "", C::Unspecified, 0).await.unwrap();
        assert_eq!(why(shelves.receive(&[&serial], "SHELF", back).await), ("STOCK_REFUSED".into(), rule.into()));
    }
    let refused = why(shelves.move_to("THERE1", "SHELF", C::Good, 0).await);
    assert_eq!(refused.1, "it must be tested in QUARANTINE first");
    for (refused, kind) in [
        (shelves.receive(&["FINE1", "NOWHERE1"], "SHELF", C::New).await.map(drop), "unit"),
        (shelves.receive(&["FINE1"], "NOWHERE", C::New).await.map(drop), "location"),
        (shelves.move_to("FINE1", "SHELF", C::New, 0).await.map(drop), "stock unit"),
        (shelves.move_to("THERE1", "NOWHERE", C::Faulty, 0).await.map(drop), "location"),
        (shelves.minimum("NONE", "SHELF", 1).await.map(drop), "product"),
        (shelves.minimum("PS-1", "NOWHERE", 1).await.map(drop), "location"),
        (shelves.release(&id()).await.map(drop), "claim"),
        (shelves.allocate(&id()).await.map(drop), "claim"),
    ] {
        let refused = refused.unwrap_err();
        assert_eq!((refused.code(), metadata(&refused, "kind").as_str()), (Code::NotFound, kind));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_badly_written_is_refused_with_every_violation() {
    let world = shelved().await;
    let mut staff = world.staff().logistics;
    let nil = "00000000-0000-0000-0000-000000000000".to_owned();
    let paths = |refused: tonic::Status| violations(&refused).into_iter().map(|(path, _)| path).collect::<Vec<_>>();
    let request = PutStockLocationRequest { request_id: nil.clone(), location: None };
    let refused = staff.put_stock_location(request).await.unwrap_err();
    assert_eq!(paths(refused), ["request_id", "location.location", "location.name"]);
    let request = ReceiveStockRequest {
        request_id: nil.clone(),
        serials: vec!["?".into(), "UNIT1".into(), "unit1".into()],
        location: "shelf".into(),
        condition: C::Scrapped.into(),
        reason: "x".repeat(501),
    };
    let refused = staff.receive_stock(request).await.unwrap_err();
    assert_eq!(paths(refused), ["request_id", "serials[0]", "serials[2]", "location", "condition", "reason"]);
    let serials = (0..1001).map(|at| format!("UNIT{at}")).collect();
    let refused = staff.receive_stock(ReceiveStockRequest { serials, ..Default::default() }).await.unwrap_err();
    assert_eq!(refusal(&refused), (Code::ResourceExhausted, "TOO_LARGE".into()));
    let request = MoveStockRequest { request_id: nil.clone(), condition: 1, version: -1, ..Default::default() };
    let refused = staff.move_stock(request).await.unwrap_err();
    assert_eq!(paths(refused), ["request_id", "serial", "condition", "reason", "version"]);
    let request = MoveStockRequest { location: "SHELF".into(), condition: 6, ..Default::default() };
    let refused = staff.move_stock(request).await.unwrap_err();
    assert_eq!(paths(refused), ["request_id", "serial", "condition", "reason"]);
    let request = ListStockRequest {
        location: "x".into(),
        model: "y".into(),
        condition: 6,
        page_size: 501,
        page_token: "z".into(),
    };
    let refused = staff.list_stock(request).await.unwrap_err();
    assert_eq!(paths(refused), ["location", "model", "condition", "page_size", "page_token"]);
    let request = ListStockMovementsRequest { page_size: -1, ..Default::default() };
    let refused = staff.list_stock_movements(request).await.unwrap_err();
    assert_eq!(paths(refused), ["serial", "page_size"]);
    let request = SetStockMinimumRequest { request_id: nil.clone(), minimum: -1, ..Default::default() };
    let refused = staff.set_stock_minimum(request).await.unwrap_err();
    assert_eq!(paths(refused), ["request_id", "model", "location", "minimum"]);
    let request = AllocateReplacementRequest { request_id: nil.clone(), claim_id: "x".into() };
    assert_eq!(paths(staff.allocate_replacement(request).await.unwrap_err()), ["request_id", "claim_id"]);
    let request = ReleaseAllocationRequest { request_id: nil.clone(), claim_id: "x".into() };
    assert_eq!(paths(staff.release_allocation(request).await.unwrap_err()), ["request_id", "claim_id"]);
    let (serial, new_serial) = ("UNIT1".into(), "UNIT-1".into());
    let request = RefurbishUnitRequest { request_id: nil, serial, new_serial, reason: String::new() };
    assert_eq!(paths(staff.refurbish_unit(request).await.unwrap_err()), ["request_id", "new_serial", "reason"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_move_one_unit_at_one_version_one_wins() {
    let world = shelved().await;
    let shelves = Shelves(&world);
    world.unit("UNIT1").await;
    shelves.receive(&["UNIT1"], "SHELF", C::Good).await.unwrap();
    let moves = (0..20).map(|_| shelves.move_to("UNIT1", "DEPOT", C::Good, 1));
    let answers = tally(join_all(moves).await);
    assert_eq!(answers, BTreeMap::from([("OK".into(), 1), ("Aborted VERSION_MISMATCH".into(), 19)]));
    // Without a version they come one after the other, and each is written.
    let moves = (0..20).map(|_| shelves.move_to("UNIT1", "SHELF", C::Good, 0));
    assert_eq!(tally(join_all(moves).await), BTreeMap::from([("OK".into(), 20)]));
    assert_eq!(count(&world, "SELECT max(number) FROM stock_movements").await, 22);
    assert_eq!(count(&world, "SELECT count(*) FROM stock_movements").await, 22);
    world.unit("UNIT2").await;
    let came = (0..20).map(|_| async { Shelves(&world).receive(&["UNIT2"], "SHELF", C::Good).await });
    let answers = tally(join_all(came).await);
    assert_eq!(answers, BTreeMap::from([("OK".into(), 1), ("FailedPrecondition STOCK_REFUSED".into(), 19)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_unit_is_held_for_one_of_fifty() {
    let world = shelved().await;
    let (life, shelves) = (Life(&world), Shelves(&world));
    world.unit("LAST1").await;
    shelves.receive(&["LAST1"], "SHELF", C::New).await.unwrap();
    let claims = copies(&world, &life.in_state("WANT0000", 60, ClaimState::InRepair).await, 50).await;
    let answers = join_all(claims.iter().map(|claim| shelves.allocate(claim))).await;
    let expected = BTreeMap::from([("OK".into(), 1), ("FailedPrecondition OUT_OF_STOCK".into(), 49)]);
    assert_eq!(tally(answers), expected);
    assert_eq!(count(&world, "SELECT count(*) FROM stock_units WHERE held_for IS NOT NULL").await, 1);
    // And one claim that asks fifty times at once holds one unit of many.
    for at in 0..5 {
        world.unit(&format!("MORE{at}")).await;
        shelves.receive(&[&format!("MORE{at}")], "SHELF", C::Good).await.unwrap();
    }
    let another = life.in_state("WANT9999", 60, ClaimState::InRepair).await;
    let answers = join_all((0..50).map(|_| shelves.allocate(&another.claim_id))).await;
    let held: std::collections::BTreeSet<_> = answers.into_iter().map(|held| held.unwrap().serial).collect();
    assert_eq!(held.len(), 1);
    assert_eq!(count(&world, "SELECT count(*) FROM stock_units WHERE held_for IS NOT NULL").await, 2);
}

/// As many claims like one, each for a unit of its own.
async fn copies(world: &World, claim: &Claim, many: usize) -> Vec<String> {
    let sql = format!(
        "SET session_replication_role = replica;
         CREATE TEMPORARY TABLE copies AS SELECT md5('claim ' || i)::uuid AS claim_id, 'COPY' || lpad(i::text, 5, '0') AS serial
             FROM generate_series(1, {many}) i;
         INSERT INTO units SELECT (jsonb_populate_record(u, jsonb_build_object('serial', x.serial))).* FROM units u, copies x
             WHERE u.serial = '{}';
         INSERT INTO claims SELECT (jsonb_populate_record(c, jsonb_build_object('serial', x.serial, 'claim_id', x.claim_id,
             'return_number', NULL))).* FROM claims c, copies x WHERE c.claim_id = '{}'",
        claim.serial, claim.claim_id
    );
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut world.owner().await).await.unwrap();
    let copied = "SELECT claim_id::text FROM claims WHERE serial LIKE 'COPY%' ORDER BY serial";
    sqlx::query_scalar(copied).fetch_all(&mut world.owner().await).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_is_given_to_nobody_else_until_it_lapses() {
    let world = shelved().await;
    let (life, shelves) = (Life(&world), Shelves(&world));
    let first = life.in_state("FIRST1", 60, ClaimState::InRepair).await.claim_id;
    let second = life.in_state("SECOND1", 60, ClaimState::InRepair).await.claim_id;
    world.unit("GOOD1").await;
    shelves.receive(&["GOOD1"], "SHELF", C::Good).await.unwrap();
    let held = shelves.allocate(&first).await.unwrap();
    assert_eq!((held.serial.as_str(), held.held_for.as_str(), held.condition()), ("GOOD1", first.as_str(), C::Good));
    // Seven days, by the policy; asked for again, it is the same unit until the same moment.
    assert_eq!(held.held_until_time.unwrap().seconds - world.clock.now().timestamp(), 7 * 86_400);
    assert_eq!(shelves.allocate(&first).await.unwrap(), held);
    assert_eq!(why(shelves.allocate(&second).await).0, "OUT_OF_STOCK");
    let refused = why(life.replace(&second, "GOOD1").await);
    assert_eq!(refused, ("UNIT_NOT_GIVABLE".into(), "it is held for another claim".into()));
    let refused = why(shelves.move_to("GOOD1", "SHELF", C::Faulty, 0).await);
    assert_eq!(refused, ("STOCK_REFUSED".into(), "it is held for a claim".into()));
    let moved = shelves.move_to("GOOD1", "DEPOT", C::Good, 0).await.unwrap().unwrap();
    assert_eq!((moved.held_for.as_str(), moved.location.as_str()), (first.as_str(), "DEPOT"));

    // At the last moment it is held still; at the first one after, for nobody, before the worker says so.
    let worker = world.worker();
    world.set("2026-06-22T03:59:59Z");
    assert_eq!(worker::step(&worker, &world.evidence, world.clock.now()).await.unwrap(), Done::default());
    assert_eq!(why(shelves.allocate(&second).await).0, "OUT_OF_STOCK");
    world.set("2026-06-22T04:00:00Z");
    let request = ListStockRequest::default();
    let listed = world.staff().logistics.list_stock(request).await.unwrap().into_inner().units.remove(0);
    assert_eq!((listed.held_for.as_str(), listed.held_until_time), ("", None));
    assert_eq!(why(shelves.release(&first).await).0, "NOT_FOUND");
    assert_eq!(shelves.allocate(&second).await.unwrap().held_for, second);
    assert_eq!(why(shelves.allocate(&first).await).0, "OUT_OF_STOCK");
    let released = shelves.release(&second).await.unwrap();
    assert_eq!((released.serial.as_str(), released.held_for.as_str()), ("GOOD1", ""));
    shelves.allocate(&first).await.unwrap();
    world.set("2026-06-29T04:00:00Z");
    let done = worker::step(&worker, &world.evidence, world.clock.now()).await.unwrap();
    assert_eq!(done, Done { released: 1, ..Done::default() });
    assert_eq!(count(&world, "SELECT count(*) FROM stock_units WHERE held_for IS NOT NULL").await, 0);
    assert_eq!(shelves.movements("GOOD1").await.len(), 2, "holding moves nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_is_let_go_with_what_it_was_for() {
    let world = shelved().await;
    let (life, shelves) = (Life(&world), Shelves(&world));
    world.unit("GOOD1").await;
    shelves.receive(&["GOOD1"], "SHELF", C::Good).await.unwrap();
    let held = "SELECT count(*) FROM stock_units WHERE held_for IS NOT NULL";
    let repaired = life.in_state("REPAIRED1", 60, ClaimState::InRepair).await.claim_id;
    shelves.allocate(&repaired).await.unwrap();
    assert_eq!(count(&world, held).await, 1);
    life.repair(&repaired).await.unwrap();
    assert_eq!(count(&world, held).await, 0);
    // The good unit that a dealer is owed, which is written off.
    let owed = life.in_state("OWED1", 3, ClaimState::Swapped).await;
    let parcel = life.open_return(&[&owed.claim_id]).await.unwrap();
    life.receive(&owed, &parcel.shipment_id, |_| {}).await.unwrap();
    life.inspect(&owed.claim_id, &[]).await.unwrap();
    assert_eq!(shelves.allocate(&owed.claim_id).await.unwrap().serial, "GOOD1");
    let debt = Some(DebtName { claim_id: owed.claim_id.clone(), debtor: Debtor::Maker.into() });
    let request = WriteOffDebtRequest { request_id: id(), debt, reason: "the dealer waives it".into() };
    world.staff().logistics.write_off_debt(request).await.unwrap();
    assert_eq!(count(&world, held).await, 0);
    // Whoever ends it: no other state has a unit held. A dealer sees no stock, and lets go all the same.
    let sql = "SET ROLE warranty_claim; SET warranty.caller = 'dealer/D1'";
    shelves.allocate(&life.in_state("ANOTHER1", 60, ClaimState::InRepair).await.claim_id).await.unwrap();
    let mut connection = world.owner().await;
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    let claims = "SELECT let_go_of_stock(array_agg(claim_id)) FROM claims WHERE dealer_id = 'D1'";
    sqlx::raw_sql(claims).execute(&mut connection).await.unwrap();
    assert_eq!(count(&world, held).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_leaves_the_stock_and_what_it_replaced_comes_in_to_be_refurbished() {
    let world = shelved().await;
    let (life, shelves) = (Life(&world), Shelves(&world));
    let claim = life.in_state("BROKEN1", 60, ClaimState::InRepair).await.claim_id;
    for serial in ["GOOD1", "GOOD2", "FAULTY1", "ELSEWHERE1"] {
        world.unit(serial).await;
    }
    shelves.receive(&["GOOD1", "GOOD2"], "SHELF", C::Good).await.unwrap();
    shelves.receive(&["FAULTY1"], "SHELF", C::Faulty).await.unwrap();
    let refused = why(life.replace(&claim, "FAULTY1").await);
    assert_eq!(refused, ("UNIT_NOT_GIVABLE".into(), "it is in stock and neither NEW nor GOOD".into()));
    // GOOD1 is held, and GOOD2 given: nothing stays held for a claim that was served.
    assert_eq!(shelves.allocate(&claim).await.unwrap().serial, "GOOD1");
    life.replace(&claim, "GOOD2").await.unwrap();
    assert_eq!(shelves.list("SHELF", "", C::Good).await, ["GOOD1"]);
    assert_eq!(count(&world, "SELECT count(*) FROM stock_units WHERE held_for IS NOT NULL").await, 0);
    let given = shelves.movements("GOOD2").await;
    assert_eq!(given[1..], ["2 SHELF GOOD > -: given for a claim by staff/S1"]);
    let kept = shelves.movements("BROKEN1").await;
    assert_eq!(kept, ["1 - > DEPOT FAULTY: another unit was given for it by staff/S1"]);
    assert_eq!(count(&world, "SELECT count(*) FROM stock_movements WHERE claim_id IS NOT NULL").await, 2);
    // T4: never again under its serial; refurbished, under a new one.
    shelves.move_to("BROKEN1", "DEPOT", C::Quarantine, 0).await.unwrap();
    let refused = why(shelves.move_to("BROKEN1", "DEPOT", C::Good, 0).await);
    assert_eq!(refused.1, "what was replaced, sold or given goes out under a new serial alone (T4)");
    let refused = why(shelves.refurbish("GOOD1", "ANEW1").await);
    assert_eq!(refused.1, "only what is FAULTY or in QUARANTINE is refurbished");
    assert_eq!(why(shelves.refurbish("BROKEN1", "GOOD1").await).0, "REGISTRY_CONFLICT");
    let anew = shelves.refurbish("BROKEN1", "ANEW1").await.unwrap();
    let request = GetUnitRequest { serial: "ANEW1".into() };
    let registered = world.staff().registry.get_unit(request).await.unwrap().into_inner().unit.unwrap();
    let expected = Unit {
        serial: "ANEW1".into(),
        model: "PS-1".into(),
        manufactured_date: Some(date("2026-01-10")),
        ex_factory_date: Some(world.today(0)),
        sold_by_maker: true,
        refurbished_from: "BROKEN1".into(),
        ..Default::default()
    };
    assert_eq!(registered, expected);
    let unit = anew.unit.unwrap();
    assert_eq!((unit.serial.as_str(), unit.location.as_str(), unit.condition()), ("ANEW1", "DEPOT", C::Good));
    assert_eq!(shelves.list("", "", C::Scrapped).await, ["BROKEN1"]);
    assert_eq!(why(shelves.refurbish("BROKEN1", "ANEW2").await).0, "STOCK_REFUSED");
    // A unit that stands in no stock may be given as before, a refurbished one as any good one.
    let claim = life.in_state("BROKEN2", 60, ClaimState::InRepair).await.claim_id;
    life.replace(&claim, "ELSEWHERE1").await.unwrap();
    let claim = life.in_state("BROKEN3", 60, ClaimState::InRepair).await.claim_id;
    life.replace(&claim, "ANEW1").await.unwrap();
    assert_eq!(shelves.list("", "", C::Faulty).await, ["BROKEN2", "BROKEN3", "FAULTY1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_model_comes_first_then_equivalents_in_their_order() {
    let world = shelved().await;
    let (life, shelves) = (Life(&world), Shelves(&world));
    world.product("EQ-1", false, &[]).await;
    world.product("EQ-2", false, &[]).await;
    let product = Product {
        model: "PS-1".into(),
        product_type: ProductType::PoeSwitch.into(),
        discontinued: false,
        equivalent_models: vec!["EQ-2".into(), "EQ-1".into()],
    };
    let equivalents = UpdateProductRequest { request_id: id(), product: Some(product) };
    world.staff().registry.update_product(equivalents).await.unwrap();
    for (serial, model) in [("AEQ1", "EQ-1"), ("BEQ2", "EQ-2"), ("CPS1", "PS-1"), ("DPS2", "PS-2"), ("ESOLD", "PS-1")] {
        world.unit_like(serial, |unit| unit.model = model.into()).await;
        shelves.receive(&[serial], "SHELF", C::New).await.unwrap();
    }
    // One that was sold from the shelf is not there to be picked.
    let sold = RegisterSaleRequest {
        request_id: id(),
        serial: "ESOLD".into(),
        sold_date: Some(world.today(0)),
        invoice_number: "F1".into(),
        ..Default::default()
    };
    world.dealer("D1").registry.register_sale(sold).await.unwrap();
    let mut picked = Vec::new();
    for at in 0..4 {
        let claim = life.in_state(&format!("PICK{at}"), 60, ClaimState::InRepair).await.claim_id;
        picked.push(shelves.allocate(&claim).await.map_or_else(|refused| refusal(&refused).1, |held| held.serial));
    }
    assert_eq!(picked, ["CPS1", "BEQ2", "AEQ1", "OUT_OF_STOCK"]);
    // Neither before inspection, nor for paid service.
    let claim = life.in_state("EARLY1", 60, ClaimState::Received).await.claim_id;
    assert_eq!(why(shelves.allocate(&claim).await).0, "WRONG_STATE");
    let quoted = life.in_state("PAID1", 60, ClaimState::Quoted).await;
    life.accept(&quoted.claim_id, &quoted.quote_id).await.unwrap();
    assert_eq!(why(shelves.allocate(&quoted.claim_id).await).0, "REMEDY_MISMATCH");
    // A dealer may not give from the maker's shelf.
    let claim = life.in_state("SWAP1", 3, ClaimState::Authorized).await.claim_id;
    let refused = why(life.swap(&claim, "DPS2").await);
    assert_eq!(refused, ("UNIT_NOT_GIVABLE".into(), "it stands in the maker's stock".into()));
}

async fn sell(world: &World, serial: &str) -> Outcome<Sale> {
    let (serial, sold_date) = (serial.to_owned(), Some(world.today(0)));
    let request = RegisterSaleRequest { request_id: id(), serial, sold_date, ..Default::default() };
    Ok(world.dealer("D1").registry.register_sale(request).await?.into_inner().sale.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sold_leaves_the_stock_and_what_is_held_is_not_sold() {
    let world = shelved().await;
    let (life, shelves) = (Life(&world), Shelves(&world));
    for serial in ["HELD1", "NEW1", "NEW2", "OLD1"] {
        world.unit(serial).await;
    }
    shelves.receive(&["NEW1", "NEW2", "HELD1"], "SHELF", C::New).await.unwrap();
    shelves.receive(&["OLD1"], "SHELF", C::Faulty).await.unwrap();
    let claim = life.in_state("BROKEN1", 60, ClaimState::InRepair).await.claim_id;
    assert_eq!(shelves.allocate(&claim).await.unwrap().serial, "HELD1");
    // One by one, or imported: a row that names what is held is told so, the others leave.
    let refused = sell(&world, "held-1").await.unwrap_err();
    assert_eq!(refusal(&refused), (Code::FailedPrecondition, "STOCK_REFUSED".into()));
    let held = "it stands in the maker's stock, held for a claim";
    assert_eq!((metadata(&refused, "serial").as_str(), metadata(&refused, "rule").as_str()), ("HELD1", held));
    sell(&world, "NEW1").await.unwrap();
    let sales = ["HELD1", "NEW2", "OLD1"].map(|serial| ImportedSale {
        serial: serial.into(),
        sold_date: Some(world.today(0)),
        ..Default::default()
    });
    let message = futures::stream::iter([ImportSalesRequest { sales: sales.to_vec() }]);
    let mut replies = world.dealer("D1").registry.import_sales(message).await.unwrap().into_inner();
    let told = replies.message().await.unwrap().unwrap();
    let rejected: Vec<_> = told.rejected.iter().map(|row| (row.row, row.rule.as_str(), row.reason.as_str())).collect();
    assert_eq!((told.created_count, rejected), (2, vec![(1, held, "STOCK_REFUSED")]));
    for serial in ["NEW1", "NEW2"] {
        assert_eq!(shelves.movements(serial).await[1..], ["2 SHELF NEW > -: sold by dealer/D1"]);
    }
    // What nobody would give stands where it stood: it was sold before it came, and the sale is told late.
    assert_eq!(shelves.list("", "", C::Unspecified).await, ["HELD1", "OLD1"]);
    // But nobody else has it: no claim is filed for it.
    let request = FileClaimRequest { customer: Some(contact()), ..filing("OLD1") };
    let refused = world.dealer("D1").claims.file_claim(request).await.unwrap_err();
    assert_eq!(refusal(&refused), (Code::FailedPrecondition, "STOCK_REFUSED".into()));
    assert_eq!(metadata(&refused, "rule"), "it stands in the maker's stock, and nobody else has it");
    // Let go, it is sold; the goods come back, and it stands there as it did.
    shelves.release(&claim).await.unwrap();
    sell(&world, "HELD1").await.unwrap();
    let request =
        CancelSaleRequest { request_id: id(), serial: "HELD1".into(), version: 0, reason: "taken back".into() };
    world.dealer("D1").registry.cancel_sale(request).await.unwrap();
    shelves.receive(&["HELD1"], "SHELF", C::New).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_is_sold_or_held_whoever_asks_at_once() {
    let world = shelved().await;
    let (life, shelves) = (Life(&world), Shelves(&world));
    let claims = copies(&world, &life.in_state("WANT0000", 60, ClaimState::InRepair).await, 20).await;
    for (at, claim) in claims.iter().enumerate() {
        let serial = format!("LAST{at}");
        world.unit(&serial).await;
        shelves.receive(&[&serial], "SHELF", C::New).await.unwrap();
        let (sold, held) = tokio::join!(sell(&world, &serial), shelves.allocate(claim));
        match (sold, held) {
            (Ok(_), Err(refused)) => assert_eq!(refusal(&refused).1, "OUT_OF_STOCK"),
            (Err(refused), Ok(held)) => {
                assert_eq!((refusal(&refused).1.as_str(), &held.serial), ("STOCK_REFUSED", &serial));
                shelves.release(claim).await.unwrap();
                shelves.move_to(&held.serial, "", C::Unspecified, 0).await.unwrap();
            }
            both => panic!("{both:?}"),
        }
    }
    assert_eq!(count(&world, "SELECT count(*) FROM stock_units").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_the_maker_sold_and_has_is_refurbished() {
    let world = shelved().await;
    let shelves = Shelves(&world);
    world.unit_like("ALIEN1", |unit| unit.sold_by_maker = false).await;
    world.unit("OLD1").await;
    shelves.receive(&["ALIEN1", "OLD1"], "SHELF", C::Quarantine).await.unwrap();
    let refused = why(shelves.refurbish("ALIEN1", "ANEW1").await);
    assert_eq!(refused.1, "it was not sold by the maker, and cannot be given (S3)");
    // A dealer has sold it; but while it stands here nobody can send it in.
    sell(&world, "OLD1").await.unwrap();
    assert_eq!(why(shelves.refurbish("OLD1", "ANEW1").await).1, "it was sold or given");
    let request = FileClaimRequest { customer: Some(contact()), ..filing("OLD1") };
    let refused = why(world.dealer("D1").claims.file_claim(request).await);
    assert_eq!(refused, ("STOCK_REFUSED".into(), "it stands in the maker's stock, and nobody else has it".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn low_stock_is_visible_by_model_and_location() {
    let world = shelved().await;
    let shelves = Shelves(&world);
    for (serial, condition) in [("UNIT1", C::New), ("UNIT2", C::Good), ("UNIT3", C::Faulty), ("UNIT4", C::Quarantine)] {
        world.unit(serial).await;
        shelves.receive(&[serial], "SHELF", condition).await.unwrap();
    }
    let level = StockLevel {
        model: "PS-1".into(),
        location: "SHELF".into(),
        new_count: 1,
        good_count: 1,
        faulty_count: 1,
        quarantine_count: 1,
        ..Default::default()
    };
    assert_eq!(shelves.levels(false).await, vec![level.clone()]);
    assert!(shelves.levels(true).await.is_empty());
    let enough = StockLevel { minimum: 2, ..level.clone() };
    assert_eq!(shelves.minimum("PS-1", "SHELF", 2).await.unwrap(), enough);
    let claim = Life(&world).in_state("BROKEN1", 60, ClaimState::InRepair).await.claim_id;
    shelves.allocate(&claim).await.unwrap();
    let low = StockLevel { held_count: 1, low: true, ..enough };
    let none =
        StockLevel { model: "PS-2".into(), location: "DEPOT".into(), minimum: 1, low: true, ..Default::default() };
    assert_eq!(shelves.minimum("PS-2", "DEPOT", 1).await.unwrap(), none);
    assert_eq!(shelves.levels(true).await, [low.clone(), none.clone()]);
    let mut request = ListStockLevelsRequest { page_size: 1, ..Default::default() };
    let first = world.staff().logistics.list_stock_levels(request.clone()).await.unwrap().into_inner();
    request.page_token = first.next_page_token;
    let second = world.staff().logistics.list_stock_levels(request).await.unwrap().into_inner();
    assert_eq!((first.levels, second.levels, second.next_page_token.as_str()), (vec![low], vec![none], ""));
    shelves.minimum("PS-2", "DEPOT", 0).await.unwrap();
    shelves.release(&claim).await.unwrap();
    assert!(shelves.levels(true).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_itself_keeps_a_unit_in_one_place() {
    let world = shelved().await;
    world.unit("UNIT1").await;
    world.unit("UNIT2").await;
    Shelves(&world).receive(&["UNIT1"], "SHELF", C::Good).await.unwrap();
    let moved = "INSERT INTO stock_movements (serial, number, from_location, from_condition, to_location, to_condition, reason, moved_at, moved_by)";
    for (broken, constraint) in [
        (
            format!("{moved} VALUES ('UNIT1', 1, NULL, NULL, 'DEPOT', 'GOOD', 'x', now(), 'x')"),
            "stock_movements_one_for_a_number",
        ),
        (
            format!("{moved} VALUES ('UNIT1', 3, 'SHELF', 'GOOD', 'DEPOT', 'GOOD', 'x', now(), 'x')"),
            "stock_movements_without_gaps",
        ),
        (
            format!("{moved} VALUES ('UNIT1', 2, 'DEPOT', 'GOOD', 'SHELF', 'GOOD', 'x', now(), 'x')"),
            "stock_movements_from_where_it_stood",
        ),
        (
            format!("{moved} VALUES ('UNIT2', 1, 'SHELF', 'GOOD', NULL, NULL, 'x', now(), 'x')"),
            "stock_movements_first_from_nowhere",
        ),
        (
            format!("{moved} VALUES ('UNIT1', 2, 'SHELF', 'SCRAPPED', 'SHELF', 'GOOD', 'x', now(), 'x')"),
            "stock_movements_scrapped_is_final",
        ),
        ("INSERT INTO stock_units VALUES ('UNIT2', 'PS-1', 'SHELF', 'GOOD', 1)".into(), "stock_units_as_last_moved"),
        ("INSERT INTO stock_units VALUES ('UNIT1', 'PS-1', 'DEPOT', 'GOOD', 1)".into(), "stock_units_in_one_place"),
        ("UPDATE stock_units SET location = 'DEPOT'".into(), "stock_units_as_last_moved"),
        ("UPDATE stock_units SET condition = 'NEW'".into(), "stock_units_as_last_moved"),
    ] {
        let refused = sqlx::raw_sql(AssertSqlSafe(broken.clone())).execute(&mut world.owner().await).await.unwrap_err();
        let by = refused.as_database_error().and_then(|error| error.constraint()).unwrap_or_default().to_owned();
        assert_eq!(by, constraint, "{broken}: {refused}");
    }
    for role in ["warranty_claim", "warranty_logistics"] {
        for change in ["UPDATE stock_movements SET reason = 'x'", "DELETE FROM stock_movements"] {
            let sql = AssertSqlSafe(format!("SET ROLE {role}; SET warranty.caller = 'staff/S1'; {change}"));
            let refused = sqlx::raw_sql(sql).execute(&mut world.owner().await).await.unwrap_err();
            let code = refused.as_database_error().and_then(|error| error.code().map(String::from));
            assert_eq!(code.as_deref(), Some("42501"), "{role}: {change}");
        }
        for caller in ["dealer/D1", ""] {
            let sql = AssertSqlSafe(format!("SET ROLE {role}; SET warranty.caller = '{caller}'"));
            let mut connection = world.owner().await;
            sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
            let seen: (i64, i64) =
                sqlx::query_as("SELECT (SELECT count(*) FROM stock_units), (SELECT count(*) FROM stock_movements)")
                    .fetch_one(&mut connection)
                    .await
                    .unwrap();
            assert_eq!(seen, (0, 0), "{role} for {caller:?}");
        }
    }
}
