//! WatchClaims: nothing is missed and each claim is in order, whoever commits late, rolls back, breaks or lags; each sees its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use futures::future::join_all;
use sqlx::{Connection, PgConnection};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
    time::timeout,
};
use tonic::{Code, Status, Streaming};
use uuid::Uuid;
use warranty::{
    contract::v1::*,
    domain::{actor::Actor, claim::StateName, event::Event, serial::Serial},
    store::{
        claims::StoredEvent,
        watch::{Happened, LogisticsEvent, Wanted, Watched},
    },
};

use crate::{
    claims::Life,
    simulation::setting,
    twice::{Process, real_time, until},
    world::{AUDIENCE, Caller, ISSUER, World, channel, contact, date, filing, id, refusal, violations},
};

/// Nothing here takes as long; what does is broken.
const PATIENCE: Duration = Duration::from_secs(60);

/// A stream as its caller reads it.
struct Watch(Streaming<WatchClaimsResponse>);

impl Watch {
    /// Joined: its first message, the cursor, has come.
    async fn start(caller: &mut Caller, request: WatchClaimsRequest) -> Self {
        let mut watch = Self(caller.claims.watch_claims(request).await.unwrap().into_inner());
        let first = watch.message().await.unwrap();
        assert!(first.event.is_none() && !first.cursor.is_empty(), "{first:?}");
        watch
    }

    async fn now(caller: &mut Caller) -> Self {
        Self::start(caller, WatchClaimsRequest::default()).await
    }

    async fn message(&mut self) -> Result<WatchClaimsResponse, Status> {
        timeout(PATIENCE, self.0.message()).await.expect("nothing came").map(|message| message.expect("it ended"))
    }

    /// The next events, cursors alone left out.
    async fn events(&mut self, count: usize) -> Vec<WatchClaimsResponse> {
        let (mut events, begun) = (Vec::new(), Instant::now());
        while events.len() < count {
            assert!(begun.elapsed() < PATIENCE, "{} of {count} came", events.len());
            let told = self.message().await.unwrap();
            events.extend(Some(told).filter(|told| told.event.is_some() || told.logistics_event.is_some()));
        }
        events
    }

    /// Whether no event comes for a while.
    async fn is_silent(&mut self) -> bool {
        let told =
            timeout(Duration::from_millis(400), async { while self.message().await.unwrap().event.is_none() {} });
        told.await.is_err()
    }
}

fn from(cursor: &str) -> WatchClaimsRequest {
    WatchClaimsRequest { cursor: cursor.into(), ..Default::default() }
}

/// Which event it is: its place in the feed, its claim, its number there.
fn key(told: &WatchClaimsResponse) -> (String, String, i64) {
    (told.cursor.clone(), told.claim_id.clone(), told.event.as_ref().unwrap().sequence)
}

fn keys(told: &[WatchClaimsResponse]) -> Vec<(String, String, i64)> {
    told.iter().map(key).collect()
}

/// The feed as the database has it.
async fn feed(owner: &mut PgConnection) -> Vec<(String, String, i64)> {
    let feed = "SELECT feed::text, claim_id::text, sequence FROM claim_events ORDER BY claim_events.feed";
    sqlx::query_as(feed).fetch_all(owner).await.unwrap()
}

/// Units that anybody may file for with a voucher, named by a number.
async fn units(world: &World, prefix: &str, count: usize) -> Vec<String> {
    let serials: Vec<String> = (0..count).map(|at| format!("{prefix}{at:04}")).collect();
    let units = serials.iter().map(|serial| Unit {
        serial: serial.clone(),
        model: "PS-1".into(),
        manufactured_date: Some(date("2026-01-10")),
        ex_factory_date: Some(date("2026-01-20")),
        sold_by_maker: true,
        ..Default::default()
    });
    let request = RegisterUnitsRequest { request_id: id(), units: units.collect() };
    world.staff().registry.register_units(request).await.unwrap();
    serials
}

async fn file(dealer: Caller, serial: &str) -> Claim {
    let vouchers = Some(Vouchers { invoice_number: "F1".into(), ..Default::default() });
    let request = FileClaimRequest { customer: Some(contact()), vouchers, ..filing(serial) };
    let filed = patiently(async || dealer.claims.clone().file_claim(request.clone()).await).await;
    filed.into_inner().claim.unwrap()
}

/// Again where the machine is too busy: nothing was done.
async fn patiently<T>(call: impl AsyncFn() -> Result<T, Status>) -> T {
    loop {
        match call().await {
            Err(status) if status.code() == Code::Unavailable => {}
            answer => return answer.unwrap(),
        }
    }
}

/// Takes the claim's lock as every writer does, then appends its cancellation; gives the number drawn. Not committed yet.
async fn append(tx: &mut PgConnection, claim: &str) -> i64 {
    hold(tx, claim).await;
    let insert = "INSERT INTO claim_events (claim_id, sequence, facts, state, recorded_at, actor, hash)
        SELECT claim_id, version + 1, '{\"type\": \"CANCELLED\", \"reason\": null}', 'CANCELLED', now(), 'dealer/D1', ''
          FROM claims WHERE claim_id = $1 RETURNING feed";
    sqlx::query_scalar(insert).bind(claim.parse::<Uuid>().unwrap()).fetch_one(tx).await.unwrap()
}

async fn hold(tx: &mut PgConnection, claim: &str) {
    let hold = "SELECT 1 FROM claims WHERE claim_id = $1 FOR NO KEY UPDATE";
    sqlx::query(hold).bind(claim.parse::<Uuid>().unwrap()).execute(tx).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_missed_and_each_claim_is_in_order_under_fifty_writers_with_gaps() {
    let world = World::stocked().await;
    let serials = units(&world, "CROWD", 50).await;
    let held = world.filed("HELD0001", 20).await.claim_id;
    let undone = world.filed("UNDONE01", 20).await.claim_id;
    let (mut staff, mut dealer) = (Watch::now(&mut world.staff()).await, Watch::now(&mut world.dealer("D1")).await);
    let mut owner = world.owner().await;
    let before = feed(&mut owner).await.len();

    // One transaction draws a number and stays open; every 10 ms another draws one and rolls back.
    let mut holder = world.owner().await;
    let mut open = holder.begin().await.unwrap();
    let number = append(&mut open, &held).await;
    let rollbacks = async {
        let mut connection = world.owner().await;
        for _ in 0..20 {
            let mut tx = connection.begin().await.unwrap();
            append(&mut tx, &undone).await;
            tx.rollback().await.unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let writers = join_all(serials.iter().map(|serial| async {
        let claim = file(world.dealer("D1"), serial).await.claim_id;
        let life = Life(&world);
        patiently(async || life.guide(&claim, GuidanceOutcome::Confirmed).await).await;
        patiently(async || life.open_return(&[&claim]).await).await;
    }));
    tokio::join!(writers, rollbacks);
    let seen: (bool, bool) = sqlx::query_as("SELECT bool_or(feed = $1), max(feed) > $1 + 150 FROM claim_events")
        .bind(number)
        .fetch_one(&mut owner)
        .await
        .unwrap();
    assert_eq!(seen, (false, true), "the gap is there, and 150 events are behind it");
    assert!(staff.is_silent().await && dealer.is_silent().await, "nothing is told across the gap");
    open.commit().await.unwrap();

    let all = feed(&mut owner).await.split_off(before);
    assert_eq!(all.len(), 151);
    let last: i64 = all.last().unwrap().0.parse().unwrap();
    assert!(last - number >= 170, "20 numbers were rolled back");
    for watch in [&mut staff, &mut dealer] {
        let told = watch.events(all.len()).await;
        assert_eq!(keys(&told), all);
        let mut next: BTreeMap<&str, i64> = BTreeMap::from([(held.as_str(), 2)]);
        for told in &told {
            let next = next.entry(&told.claim_id).or_insert(1);
            assert_eq!(told.event.as_ref().unwrap().sequence, *next, "{}", told.claim_id);
            *next += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_a_later_transaction_drew_first_is_waited_for() {
    let world = World::stocked().await;
    let (first, second) = (world.filed("FIRST001", 20).await.claim_id, world.filed("SECOND01", 20).await.claim_id);
    let mut staff = Watch::now(&mut world.staff()).await;
    let (mut one, mut two) = (world.owner().await, world.owner().await);
    let (mut older, mut younger) = (one.begin().await.unwrap(), two.begin().await.unwrap());
    // The younger transaction's xid is after the xmax of every snapshot until it ends, and its number is before the older's.
    hold(&mut older, &first).await;
    let lower = append(&mut younger, &second).await;
    let higher = append(&mut older, &first).await;
    older.commit().await.unwrap();
    assert!(staff.is_silent().await);
    younger.commit().await.unwrap();
    let told: Vec<String> = staff.events(2).await.into_iter().map(|told| told.cursor).collect();
    assert_eq!(told, [lower.to_string(), higher.to_string()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_from_every_cursor() {
    let world = World::stocked().await;
    let life = Life(&world);
    for at in 0..4 {
        life.in_state(&format!("RESUME{at:02}"), 60, ClaimState::Received).await;
    }
    let all = feed(&mut world.owner().await).await;
    assert_eq!(all.len(), 16);
    let mut streams = Vec::new();
    for from_here in 0..=all.len() {
        let cursor = if from_here == 0 { "0" } else { &all[from_here - 1].0 };
        let mut watch = Watch::start(&mut world.dealer("D1"), from(cursor)).await;
        assert_eq!(keys(&watch.events(all.len() - from_here).await), all[from_here..], "from {cursor}");
        streams.push(watch);
    }
    // Each goes over from what was to what is.
    let claim = world.filed("RESUME99", 60).await.claim_id;
    for watch in &mut streams {
        assert_eq!(watch.events(1).await[0].claim_id, claim);
    }
    for cursor in ["x", "-1", "999999999"] {
        let refused = world.dealer("D1").claims.watch_claims(from(cursor)).await.unwrap_err();
        let told = ("cursor".to_owned(), "must be empty, 0, or a cursor that was told".to_owned());
        assert_eq!(violations(&refused), [told], "{cursor}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_is_told_of_its_own_claims_and_of_what_it_asked_for() {
    let world = World::stocked().await;
    let buyer: Uuid = world.filed("MINE0001", 20).await.customer_id.parse().unwrap();
    units(&world, "THEIRS", 1).await;
    units(&world, "LATER", 2).await;
    file(world.dealer("D2"), "THEIRS0000").await;
    let with = |change: &dyn Fn(&mut WatchClaimsRequest)| {
        let mut request = from("0");
        change(&mut request);
        request
    };
    let confirmed = ClaimEventType::Guided.into();
    let cases: Vec<(Caller, WatchClaimsRequest, &[&str])> = vec![
        (world.staff(), from("0"), &["MINE0001 1", "THEIRS0000 1", "MINE0001 2", "LATER0000 1", "LATER0001 1"]),
        (world.dealer("D1"), from("0"), &["MINE0001 1", "MINE0001 2", "LATER0001 1"]),
        (world.dealer("D2"), from("0"), &["THEIRS0000 1", "LATER0000 1"]),
        (world.customer(buyer), from("0"), &["MINE0001 1", "MINE0001 2"]),
        (world.staff(), with(&|request| request.dealer_id = "D2".into()), &["THEIRS0000 1", "LATER0000 1"]),
        (world.staff(), with(&|request| request.serial = "later-0000".into()), &["LATER0000 1"]),
        (world.staff(), with(&|request| request.types = vec![confirmed]), &["MINE0001 2"]),
        (world.dealer("D2"), with(&|request| request.dealer_id = "D1".into()), &[]),
    ];
    let mut streams = Vec::new();
    for (mut caller, request, expected) in cases {
        streams.push((Watch::start(&mut caller, request).await, expected));
    }
    // Half of it is live.
    let request = ListClaimsRequest { serial: "MINE0001".into(), ..Default::default() };
    let mine = world.staff().claims.list_claims(request).await.unwrap().into_inner().claims.remove(0).claim_id;
    Life(&world).guide(&mine, GuidanceOutcome::Confirmed).await.unwrap();
    file(world.dealer("D2"), "LATER0000").await;
    file(world.dealer("D1"), "LATER0001").await;
    for (at, (watch, expected)) in streams.iter_mut().enumerate() {
        let told = watch.events(expected.len()).await;
        let told: Vec<String> =
            told.iter().map(|told| format!("{} {}", told.serial, told.event.as_ref().unwrap().sequence)).collect();
        assert_eq!(told, *expected, "case {at}");
        assert!(watch.is_silent().await, "case {at}: it is told of more");
    }
    let bad = WatchClaimsRequest { types: vec![0, 99], ..Default::default() };
    let refused = world.staff().claims.watch_claims(bad).await.unwrap_err();
    assert_eq!(violations(&refused).into_iter().map(|(path, _)| path).collect::<Vec<_>>(), ["types[0]", "types[1]"]);
}

fn with_logistics(cursor: &str) -> WatchClaimsRequest {
    WatchClaimsRequest { logistics: true, ..from(cursor) }
}

/// Where both feeds stand, as the database has them.
async fn both_feeds(owner: &mut PgConnection) -> Vec<String> {
    let both = "SELECT feed::text FROM (SELECT feed FROM claim_events UNION ALL SELECT feed FROM logistics_events) f ORDER BY f.feed";
    sqlx::query_scalar(both).fetch_all(owner).await.unwrap()
}

fn cursors(told: &[WatchClaimsResponse]) -> Vec<String> {
    told.iter().map(|told| told.cursor.clone()).collect()
}

fn carrier_says(shipment: &str, number: &str, keys: &[&str]) -> RecordTrackingRequest {
    let said = |key: &&str| TrackingEvent {
        event_key: (*key).into(),
        status: TrackingStatus::InTransit.into(),
        event_time: Some(prost_types::Timestamp { seconds: 1_781_000_000, nanos: 0 }),
        ..Default::default()
    };
    RecordTrackingRequest {
        request_id: id(),
        shipment_id: shipment.into(),
        carrier: "SF".into(),
        tracking_number: number.into(),
        events: keys.iter().map(said).collect(),
    }
}

async fn sent_in(mut caller: Caller, claim: &str, number: &str) -> Shipment {
    let (claim_ids, tracking_number) = (vec![claim.to_owned()], number.into());
    let request = OpenReturnRequest { request_id: id(), claim_ids, carrier: "SF".into(), tracking_number };
    caller.logistics.open_return(request).await.unwrap().into_inner().shipment.unwrap()
}

/// One of everything that no claim tells.
async fn logistics_happens(world: &World) {
    let life = Life(world);
    let mut staff = world.staff().logistics;
    // D1's parcel has its number; D2's gets it after the carrier spoke.
    let claim = life.in_state("TRACK001", 60, ClaimState::Authorized).await;
    let parcel = sent_in(world.dealer("D1"), &claim.claim_id, "N1").await.shipment_id;
    units(world, "THEIRS", 1).await;
    let theirs = file(world.dealer("D2"), "THEIRS0000").await.claim_id;
    life.guide(&theirs, GuidanceOutcome::Confirmed).await.unwrap();
    for number in ["N1", "N2"] {
        staff.record_tracking(carrier_says("", number, &["k1"])).await.unwrap();
    }
    staff.record_tracking(carrier_says("", "N1", &["k1"])).await.unwrap();
    sent_in(world.dealer("D2"), &theirs, "N2").await;
    for _ in 0..2 {
        world.dealer("D1").logistics.record_tracking(carrier_says(&parcel, "N3", &[])).await.unwrap();
    }
    // What a dealer owed is given up.
    let swapped = life.in_state("SWAP0001", 3, ClaimState::Swapped).await.claim_id;
    let debt = Some(DebtName { claim_id: swapped, debtor: Debtor::Dealer.into() });
    let request = WriteOffDebtRequest { request_id: id(), debt, reason: "lost in a flood".into() };
    staff.write_off_debt(request).await.unwrap();
    // Another unit comes out of D1's box, and is kept.
    let items = vec![ReceivedItem { serial: "OTHER1".into(), ..Default::default() }];
    let request = ReceiveReturnRequest { request_id: id(), shipment_id: parcel, items, ..Default::default() };
    let found = staff.receive_return(request).await.unwrap().into_inner().results.remove(0).result;
    let Some(received_result::Result::SetAside(found)) = found else { panic!("{found:?}") };
    let request = SettleSetAsideRequest {
        request_id: id(),
        set_aside_id: found.set_aside_id,
        settlement: Settlement::Kept.into(),
        reason: "nobody knows".into(),
        ..Default::default()
    };
    staff.settle_set_aside(request).await.unwrap();
    // A unit is held, and let go with the repair that made it needless.
    let location = Some(StockLocation { location: "SHELF".into(), name: "a shelf".into(), receives_replaced: false });
    staff.put_stock_location(PutStockLocationRequest { request_id: id(), location }).await.unwrap();
    world.unit("GOOD1").await;
    let request = ReceiveStockRequest {
        request_id: id(),
        serials: vec!["GOOD1".into()],
        location: "SHELF".into(),
        condition: StockCondition::Good.into(),
        reason: "from the factory".into(),
    };
    staff.receive_stock(request).await.unwrap();
    let repaired = life.in_state("REPAIR01", 60, ClaimState::InRepair).await.claim_id;
    let request = AllocateReplacementRequest { request_id: id(), claim_id: repaired.clone() };
    staff.allocate_replacement(request).await.unwrap();
    life.repair(&repaired).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_cursor_orders_logistics_among_claims_and_each_is_told_its_own() {
    let world = World::stocked().await;
    let (mut old, mut live) =
        (Watch::now(&mut world.staff()).await, Watch::start(&mut world.staff(), with_logistics("")).await);
    logistics_happens(&world).await;
    let mut owner = world.owner().await;
    let all = both_feeds(&mut owner).await;
    assert_eq!(cursors(&live.events(all.len()).await), all);
    // Who did not ask is told of claims alone.
    let claims = feed(&mut owner).await;
    assert_eq!(keys(&old.events(claims.len()).await), claims);
    assert!(old.is_silent().await && live.is_silent().await);

    let buyer = Uuid::from_u128(9);
    let of_staff = [
        "TRACKED D1",
        "TRACKED ",
        "TRACKED D2",
        "NUMBERED D1",
        "DEBT_SETTLED D1",
        "SET_ASIDE ",
        "SET_ASIDE_SETTLED ",
        "ALLOCATED ",
        "RELEASED ",
    ];
    let cases: [(Caller, &[&str]); 4] = [
        (world.staff(), &of_staff),
        (world.dealer("D1"), &["TRACKED D1", "NUMBERED D1", "DEBT_SETTLED D1"]),
        (world.dealer("D2"), &["TRACKED D2"]),
        (world.customer(buyer), &[]),
    ];
    for (at, (mut caller, expected)) in cases.into_iter().enumerate() {
        // From the beginning, and on from every cursor.
        let types = vec![ClaimEventType::LostClosed.into()];
        let request = WatchClaimsRequest { types, ..with_logistics("0") };
        let mut watch = Watch::start(&mut caller, request.clone()).await;
        let told = watch.events(expected.len()).await;
        let kinds: Vec<String> = told
            .iter()
            .map(|told| {
                let kind = told.logistics_event.as_ref().unwrap().r#type();
                format!("{} {}", kind.as_str_name().replace("LOGISTICS_EVENT_TYPE_", ""), told.dealer_id)
            })
            .collect();
        assert_eq!(kinds, expected, "case {at}");
        assert!(watch.is_silent().await, "case {at}: it is told of more");
        for (after, here) in told.iter().enumerate() {
            let request = WatchClaimsRequest { cursor: here.cursor.clone(), ..request.clone() };
            let mut watch = Watch::start(&mut caller, request).await;
            assert_eq!(watch.events(told.len() - after - 1).await, told[after + 1..], "case {at} from {}", here.cursor);
        }
    }
    // The database itself shows a dealer its own, and lets nobody write one.
    for (caller, seen) in [("dealer/D1", 3), ("dealer/D2", 1), ("", 0), ("staff/S1", 9)] {
        let mut connection = world.owner().await;
        let sql = format!("SET ROLE warranty_claim; SET warranty.caller = '{caller}'");
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
        let found: i64 =
            sqlx::query_scalar("SELECT count(*) FROM logistics_events").fetch_one(&mut connection).await.unwrap();
        assert_eq!(found, seen, "{caller:?}");
        sqlx::raw_sql("DELETE FROM logistics_events").execute(&mut connection).await.unwrap_err();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_both_is_missed_by_who_breaks_off_again_and_again_under_writers_of_both() {
    let world = World::stocked().await;
    let serials = units(&world, "CROWD", 20).await;
    // A number of the feed is drawn by logistics, and its transaction stays open.
    let mut holder = world.owner().await;
    let mut open = holder.begin().await.unwrap();
    let said = "SET LOCAL warranty.caller = 'staff/S1';
        INSERT INTO tracking_events (carrier, tracking_number, party, event_key, status, happened_at, recorded_at, recorded_by)
        VALUES ('SF', 'HELD', 'staff', 'k1', 'DELIVERED', now(), now(), 'staff/S1')";
    sqlx::raw_sql(said).execute(&mut *open).await.unwrap();
    let count = 1 + 20 * 3 + 20 * 5;
    let watcher = async {
        let (mut told, mut cursor) = (Vec::new(), "0".to_owned());
        while told.len() < count {
            let mut watch = Watch::start(&mut world.staff(), with_logistics(&cursor)).await;
            told.extend(watch.events(7.min(count - told.len())).await);
            cursor = told.last().unwrap().cursor.clone();
        }
        told
    };
    let writers = async {
        let claims = join_all(serials.iter().map(|serial| async {
            let claim = file(world.dealer("D1"), serial).await.claim_id;
            let life = Life(&world);
            patiently(async || life.guide(&claim, GuidanceOutcome::Confirmed).await).await;
            patiently(async || life.open_return(&[&claim]).await).await;
        }));
        let tracking =
            join_all((0..20).map(|at| async move { carrier_says("", &format!("N{at}"), &["1", "2", "3", "4", "5"]) }));
        let tracking = tracking.await;
        let told = join_all(
            tracking
                .iter()
                .map(|said| patiently(async || world.staff().logistics.clone().record_tracking(said.clone()).await)),
        );
        tokio::join!(claims, told);
        open.commit().await.unwrap();
    };
    let (told, ()) = tokio::join!(watcher, writers);
    assert_eq!(cursors(&told), both_feeds(&mut world.owner().await).await);
    assert_eq!(told.iter().filter(|told| told.logistics_event.is_some()).count(), 101);
}

#[test]
#[allow(clippy::too_many_lines)] // One table of cases.
fn the_gate_between_the_poller_and_who_watches() {
    let customer = Uuid::from_u128(1);
    let watched = |dealer_id: Option<&str>| Watched {
        feed: 1,
        claim_id: Some(Uuid::from_u128(2)),
        serial: Some("UNIT1".into()),
        dealer_id: dealer_id.map(str::to_owned),
        customer_id: Some(customer),
        event: Happened::Claim(StoredEvent {
            sequence: 1,
            event: Event::Delivered {},
            state: StateName::Closed,
            recorded_at: Default::default(),
            actor: "staff/S1".into(),
        }),
    };
    let dealer = |id: &str| Actor::Dealer(id.into());
    let wanted = Wanted::default();
    let serial = |text| Wanted { serial: Some(Serial::parse(text).unwrap()), ..Wanted::default() };
    let of_dealer = |id: &str| Wanted { dealer_id: Some(id.into()), ..Wanted::default() };
    let types = |name| Wanted { types: vec![name], ..Wanted::default() };
    for (at, (actor, wanted, by, shown)) in [
        (dealer("D1"), wanted.clone(), Some("D1"), true),
        (dealer("D2"), wanted.clone(), Some("D1"), false),
        (dealer("D1"), wanted.clone(), None, false),
        (Actor::Customer(customer), wanted.clone(), Some("D1"), true),
        (Actor::Customer(customer), wanted.clone(), None, true),
        (Actor::Customer(Uuid::from_u128(9)), wanted.clone(), None, false),
        (Actor::Staff("S1".into()), wanted, None, true),
        (dealer("D1"), serial("UNIT1"), Some("D1"), true),
        (dealer("D1"), serial("UNIT2"), Some("D1"), false),
        (dealer("D2"), serial("UNIT1"), Some("D1"), false),
        (dealer("D2"), of_dealer("D1"), Some("D1"), false),
        (Actor::Staff("S1".into()), of_dealer("D1"), Some("D1"), true),
        (Actor::Staff("S1".into()), of_dealer("D1"), None, false),
        (dealer("D1"), types("DELIVERED"), Some("D1"), true),
        (dealer("D1"), types("FILED"), Some("D1"), false),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(wanted.shows(&actor, &watched(by)), shown, "case {at}");
    }
    // What happened in logistics: for who asks for it, a dealer of its own, a customer of his own, staff of all.
    let happened = |dealer_id: Option<&str>, customer_id| Watched {
        claim_id: None,
        serial: None,
        customer_id,
        event: Happened::Logistics(LogisticsEvent {
            kind: "TRACKED".into(),
            facts: Default::default(),
            shipment_id: None,
            recorded_at: Default::default(),
            actor: "staff/S1".into(),
        }),
        ..watched(dealer_id)
    };
    let asked = Wanted { logistics: true, ..Wanted::default() };
    let staff = || Actor::Staff("S1".into());
    for (at, (actor, wanted, by, to, shown)) in [
        (staff(), Wanted::default(), Some("D1"), None, false),
        (staff(), asked.clone(), Some("D1"), None, true),
        (staff(), asked.clone(), None, None, true),
        (dealer("D1"), asked.clone(), Some("D1"), None, true),
        (dealer("D2"), asked.clone(), Some("D1"), None, false),
        (dealer("D1"), asked.clone(), None, None, false),
        (Actor::Customer(customer), asked.clone(), None, Some(customer), true),
        (Actor::Customer(customer), asked.clone(), Some("D1"), None, false),
        (Actor::Customer(Uuid::from_u128(9)), asked.clone(), None, Some(customer), false),
        (dealer("D1"), Wanted { logistics: true, ..types("FILED") }, Some("D1"), None, true),
        (dealer("D1"), Wanted { logistics: true, ..serial("UNIT1") }, Some("D1"), None, false),
        (staff(), Wanted { logistics: true, ..of_dealer("D2") }, Some("D1"), None, false),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(wanted.shows(&actor, &happened(by, to)), shown, "logistics, case {at}");
    }
}

/// The poller's connection.
const POLLER: &str =
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'warranty-watch'";

#[tokio::test(flavor = "multi_thread")]
async fn a_poller_whose_connection_is_killed_goes_on_where_it_was() {
    let world = World::stocked().await;
    let serials = units(&world, "KILL", 10).await;
    let (mut staff, mut owner) = (Watch::now(&mut world.staff()).await, world.owner().await);
    let mut pids = BTreeSet::new();
    for serial in &serials {
        let pid: i32 = sqlx::query_scalar(POLLER).fetch_one(&mut owner).await.unwrap();
        pids.insert(pid);
        sqlx::query("SELECT pg_terminate_backend($1)").bind(pid).execute(&mut owner).await.unwrap();
        file(world.dealer("D1"), serial).await;
        until("another one polls", async || {
            let now: Option<i32> = sqlx::query_scalar(POLLER).fetch_optional(&mut owner).await.unwrap();
            now.is_some_and(|now| now != pid)
        })
        .await;
    }
    assert_eq!(pids.len(), 10, "each was killed");
    assert_eq!(keys(&staff.events(10).await), feed(&mut owner).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_hint_costs_the_poll_and_nothing_else() {
    let world = World::stocked().await;
    let claim = world.filed("QUIET001", 20).await.claim_id;
    let (mut staff, mut owner) = (Watch::now(&mut world.staff()).await, world.owner().await);
    // Committed past the services: nobody hints.
    let mut tx = owner.begin().await.unwrap();
    append(&mut tx, &claim).await;
    tx.commit().await.unwrap();
    let committed = Instant::now();
    assert_eq!(staff.events(1).await[0].event.as_ref().unwrap().r#type(), ClaimEventType::Cancelled);
    println!("told {:?} after the commit, without a hint", committed.elapsed());
    assert!(committed.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_committed_is_told_within_200_ms() {
    let world = World::stocked().await;
    // WATCH_EVENTS=200 measures; a machine that does other things at the same time is held to the median alone.
    let count = setting("WATCH_EVENTS", 30);
    let serials = units(&world, "LIVE", count).await;
    let mut staff = Watch::now(&mut world.staff()).await;
    let told = tokio::spawn(async move {
        let mut told = Vec::new();
        for _ in 0..count {
            staff.events(1).await;
            told.push(Instant::now());
        }
        told
    });
    let mut committed = Vec::new();
    for serial in &serials {
        file(world.dealer("D1"), serial).await;
        committed.push(Instant::now());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let told = told.await.unwrap();
    let mut took: Vec<Duration> =
        told.iter().zip(&committed).map(|(told, committed)| told.saturating_duration_since(*committed)).collect();
    took.sort();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    println!(
        "{count} events, from the writer's answer to the watcher: p50 {:?}, p99 {:?}, most {:?}",
        at(0.5),
        at(0.99),
        at(1.0)
    );
    assert!(at(0.5) < Duration::from_millis(200));
}

/// Transactions of this database so far, by anyone.
async fn transactions(owner: &mut PgConnection) -> i64 {
    sqlx::raw_sql("SELECT pg_stat_force_next_flush()").execute(&mut *owner).await.unwrap();
    let committed = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()";
    sqlx::query_scalar(committed).fetch_one(owner).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_who_watch_cost_no_query_each() {
    let world = World::stocked().await;
    let mut owner = world.owner().await;
    let serials = units(&world, "MANY", 2).await;
    let quiet = Duration::from_secs(2);
    let mut first = Watch::now(&mut world.staff()).await;
    // What a backend counted is there a second after it came to rest: asked for twice, with the same time between.
    let mut spent = Vec::new();
    let mut streams = Vec::new();
    for join in [0, 999] {
        let channel = channel(world.claim);
        for at in 0..join {
            // One caller has at most 32 of them.
            let bearer = world.bearer(&Actor::Staff(format!("W{}", at / 32)), "claims.read");
            let mut client = claim_service_client::ClaimServiceClient::with_interceptor(channel.clone(), bearer);
            streams.push(async move {
                Watch(client.watch_claims(WatchClaimsRequest::default()).await.unwrap().into_inner())
            });
        }
        let joined = join_all(streams.drain(..)).await;
        let before = transactions(&mut owner).await;
        tokio::time::sleep(quiet).await;
        file(world.dealer("D1"), &serials[spent.len()]).await;
        first.events(1).await;
        spent.push(transactions(&mut owner).await - before);
        if join > 0 {
            let told =
                join_all(joined.into_iter().map(|mut watch| async move { watch.events(1).await.remove(0) })).await;
            assert_eq!(told.len(), 999);
            assert!(told.iter().all(|told| told.serial == serials[1]));
        }
    }
    println!(
        "transactions in {quiet:?} and one filing: {} with one who watches, {} with a thousand",
        spent[0], spent[1]
    );
    assert!(spent[1] < spent[0] + 100, "{spent:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_its_token() {
    let world = World::stocked().await;
    let mut dealer = world.dealer("D1");
    // The token is for an hour from noon.
    world.set("2026-06-15T04:59:58Z");
    let mut watch = Watch::now(&mut dealer).await;
    let ended = watch.message().await.unwrap_err();
    assert_eq!(refusal(&ended), (Code::Unauthenticated, "TOKEN_REFUSED".into()));
    let again = dealer.claims.watch_claims(WatchClaimsRequest::default()).await;
    // Whoever comes back needs another one.
    world.set("2026-06-15T05:00:01Z");
    drop(again);
    let refused = dealer.claims.watch_claims(WatchClaimsRequest::default()).await.unwrap_err();
    assert_eq!(refusal(&refused), (Code::Unauthenticated, "TOKEN_REFUSED".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_prints_a_line_an_event_and_goes_on_by_itself_after_a_break() {
    let world = real_time().await;
    let mut process = Process::start(&world, "claim", &world.url, &[]).await;
    let (staff, hour) = (Actor::Staff("S1".into()), chrono::Duration::hours(1));
    let token = world.issuer.mint(&staff, "claims.read", hour, ISSUER, AUDIENCE, world.clock.now()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_warranty"))
        .args(["watch", "--with-logistics", "--cursor", "0", "--claim-address", &format!("http://{}", process.address)])
        .env("WARRANTY_TOKEN", token)
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(command.stdout.take().unwrap()).lines();
    let mut line = async || timeout(PATIENCE, lines.next_line()).await.expect("no line came").unwrap().unwrap();
    // Another process writes.
    let claim = file(world.dealer("D1"), "UNIT1").await.claim_id;
    let told = line().await;
    let expected = format!("  {claim}  UNIT1             FILED               FILED       dealer/D1");
    assert_eq!(told.split_at("2026-06-15T04:00:00.000Z".len()).1, expected);
    process.child.kill().await.unwrap();
    let request = CancelClaimRequest { request_id: id(), claim_id: claim.clone(), ..Default::default() };
    world.dealer("D1").claims.cancel_claim(request).await.unwrap();
    let _process = Process::start_at(process.address, &world, "claim", &world.url, &[]).await;
    let told = line().await;
    assert!(told.contains(&claim) && told.contains("  CANCELLED           CANCELLED   dealer/D1"), "{told}");
    // Asked for, logistics is among it, told by its parcel.
    let claim = Life(&world).in_state("TRACK001", 60, ClaimState::Authorized).await.claim_id;
    let parcel = sent_in(world.dealer("D1"), &claim, "N1").await.shipment_id;
    world.staff().logistics.record_tracking(carrier_says("", "N1", &["k1"])).await.unwrap();
    for _ in ["FILED", "GUIDED", "RETURN_OPENED"] {
        line().await;
    }
    let expected = format!("  {parcel}                    TRACKED             -           staff/S1");
    assert_eq!(line().await.split_at("2026-06-15T04:00:00.000Z".len()).1, expected);
}
