//! Parcels: what carriers say of them, what is lost and found, what comes out of the box, and how few round trips 200 claims take.

use std::{collections::BTreeMap, sync::atomic::Ordering, time::Instant};

use futures::future::join_all;
use indicatif::ProgressBar;
use prost_types::Timestamp;
use sqlx::AssertSqlSafe;
use tonic::{Code, Response, Status};
use uuid::Uuid;
use warranty::{
    audit,
    contract::v1::{received_result::Result as Became, *},
    domain::actor::Actor,
};

use crate::{
    claims::{Life, count, tally},
    twice::{Line, Process, real_time},
    world::{Caller, World, channel, contact, filing, id, metadata, refusal, violations},
};

// ---- tracking

fn happened(key: &str, status: TrackingStatus, seconds: i64) -> TrackingEvent {
    let event_time = Some(Timestamp { seconds: 1_781_000_000 + seconds, nanos: 0 });
    TrackingEvent { event_key: key.into(), status: status.into(), place: "深圳".into(), event_time }
}

fn told(shipment: &str, number: &str, events: &[TrackingEvent]) -> RecordTrackingRequest {
    RecordTrackingRequest {
        request_id: id(),
        shipment_id: shipment.into(),
        carrier: "SF".into(),
        tracking_number: number.into(),
        events: events.to_vec(),
    }
}

async fn record(caller: &mut Caller, request: RecordTrackingRequest) -> Result<(Vec<String>, i32), Status> {
    let reply = caller.logistics.record_tracking(request).await?.into_inner();
    Ok((reply.shipment_ids, reply.recorded))
}

async fn shown(caller: &mut Caller, shipment: &str) -> GetShipmentResponse {
    let request = GetShipmentRequest { shipment_id: shipment.into() };
    caller.logistics.get_shipment(request).await.unwrap().into_inner()
}

async fn keys(caller: &mut Caller, shipment: &str) -> Vec<String> {
    shown(caller, shipment).await.tracking.into_iter().map(|event| event.event_key).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_carrier_says_comes_in_any_order_twice_and_before_its_parcel() {
    use TrackingStatus as T;
    let world = World::stocked().await;
    let life = Life(&world);
    let (mut dealer, mut other, mut staff) = (world.dealer("D1"), world.dealer("D2"), world.staff());
    let (picked, moved) = (happened("k1", T::PickedUp, 0), happened("k2", T::InTransit, 60));
    let delivered = happened("k3", T::Delivered, 120);

    // The number waits for its parcel; the order of telling and telling twice do not matter.
    assert_eq!(record(&mut staff, told("", "N1", &[delivered.clone(), picked.clone()])).await.unwrap(), (vec![], 2));
    assert_eq!(record(&mut staff, told("", "N1", &[picked.clone(), picked.clone()])).await.unwrap(), (vec![], 0));
    let claim = life.in_state("TRACK001", 60, ClaimState::Authorized).await;
    let request = OpenReturnRequest {
        request_id: id(),
        claim_ids: vec![claim.claim_id.clone()],
        carrier: "SF".into(),
        tracking_number: "N1".into(),
    };
    let parcel = dealer.logistics.open_return(request).await.unwrap().into_inner().shipment.unwrap().shipment_id;
    assert_eq!(shown(&mut dealer, &parcel).await.tracking, [picked.clone(), delivered.clone()]);
    assert_eq!(
        record(&mut dealer, told("", "N1", std::slice::from_ref(&moved))).await.unwrap(),
        (vec![parcel.clone()], 1)
    );
    assert_eq!(shown(&mut staff, &parcel).await.tracking, [picked.clone(), moved, delivered.clone()]);
    assert!(shown(&mut staff, &parcel).await.shipment.unwrap().open, "what a carrier says receives nothing");

    // Another dealer's word on the number tells it nothing, and counts for nothing.
    let false_word = happened("k3", T::Returned, 0);
    assert_eq!(
        record(&mut other, told("", "N1", &[false_word, happened("k9", T::Exception, 1)])).await.unwrap(),
        (vec![], 2)
    );
    assert_eq!(shown(&mut dealer, &parcel).await.tracking[2], delivered);
    assert_eq!(keys(&mut staff, &parcel).await, ["k1", "k2", "k3"]);

    // The maker's word goes before the party's.
    let (guess, better) = (happened("k4", T::Exception, 130), happened("k4", T::Returned, 140));
    record(&mut dealer, told("", "N1", &[guess])).await.unwrap();
    record(&mut staff, told("", "N1", std::slice::from_ref(&better))).await.unwrap();
    assert_eq!(shown(&mut dealer, &parcel).await.tracking[3], better);

    // Numbered later: what waited for that number is its own from then on.
    record(&mut staff, told("", "N2", &[happened("k7", T::PickedUp, 5)])).await.unwrap();
    assert_eq!(record(&mut dealer, told(&parcel, "N2", &[])).await.unwrap(), (vec![parcel.clone()], 0));
    assert_eq!(keys(&mut dealer, &parcel).await, ["k7"]);
    assert_eq!(shown(&mut dealer, &parcel).await.shipment.unwrap().tracking_number, "N2");

    // A parcel from the maker is numbered by its staff; the dealer's word of it counts for it.
    let sent = life.in_state("TRACK002", 60, ClaimState::Dispatched).await.outbound_shipment_id;
    let refused = record(&mut dealer, told(&sent, "N3", &[])).await.unwrap_err();
    assert_eq!(violations(&refused)[0].0, "shipment_id");
    record(&mut staff, told(&sent, "N3", &[])).await.unwrap();
    assert_eq!(record(&mut dealer, told("", "N3", &[picked])).await.unwrap(), (vec![sent.clone()], 1));
    assert_eq!(keys(&mut staff, &sent).await, ["k1"]);
    let refused = record(&mut other, told(&sent, "N3", &[])).await.unwrap_err();
    assert_eq!(refusal(&refused), (Code::NotFound, "NOT_FOUND".into()));
    let empty = dealer.logistics.record_tracking(told("", "N3", &[])).await.unwrap_err();
    assert_eq!(violations(&empty)[0].0, "events");
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_who_tell_the_same_are_heard_once() {
    let world = World::stocked().await;
    let events: Vec<_> = (0..50).map(|at| happened(&format!("k{at}"), TrackingStatus::InTransit, at)).collect();
    let told =
        join_all((0..20).map(|_| async { record(&mut world.staff(), told("", "N1", &events)).await.unwrap().1 }));
    assert_eq!(told.await.iter().sum::<i32>(), 50);
    assert_eq!(count(&world, "SELECT count(*) FROM tracking_events").await, 50);
}

/// What the stream told a party of what carriers say.
async fn streamed(world: &World, party: &str) -> Vec<String> {
    let told = "SELECT facts->>'event_key' FROM logistics_events
                 WHERE kind = 'TRACKED' AND coalesce('dealer/' || dealer_id, 'customer/' || customer_id, 'staff') = $1 ORDER BY feed";
    sqlx::query_scalar(told).bind(party).fetch_all(&mut world.owner().await).await.unwrap()
}

/// A claim of D2's that may be sent in.
async fn of_d2(world: &World, serial: &str) -> String {
    world.unit(serial).await;
    let vouchers = Some(Vouchers { invoice_number: "F1".into(), ..Default::default() });
    let request = FileClaimRequest { customer: Some(contact()), vouchers, ..filing(serial) };
    let filed = world.dealer("D2").claims.file_claim(request).await.unwrap().into_inner().claim.unwrap();
    Life(world).guide(&filed.claim_id, GuidanceOutcome::Confirmed).await.unwrap().claim_id
}

async fn numbered(mut caller: Caller, claim: &str, carrier: &str, number: &str) -> String {
    let (claim_ids, carrier, tracking_number) = (vec![claim.to_owned()], carrier.into(), number.into());
    let request = OpenReturnRequest { request_id: id(), claim_ids, carrier, tracking_number };
    caller.logistics.open_return(request).await.unwrap().into_inner().shipment.unwrap().shipment_id
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_gives_its_parcel_anothers_number_is_told_nothing_of_it() {
    let world = World::stocked().await;
    let life = Life(&world);
    let (mut dealer, mut other, mut staff) = (world.dealer("D1"), world.dealer("D2"), world.staff());
    let said = |key: &str| [happened(key, TrackingStatus::InTransit, 0)];
    let claim = life.in_state("MINE0001", 60, ClaimState::Authorized).await;
    let mine = numbered(world.dealer("D1"), &claim.claim_id, "SF", "N1").await;
    record(&mut staff, told("", "N1", &said("k1"))).await.unwrap();
    assert_eq!(keys(&mut dealer, &mine).await, ["k1"]);

    // However it is spelled. While two have the number nobody can say whose parcel is meant: staff alone is told what comes.
    let theirs = numbered(world.dealer("D2"), &of_d2(&world, "YOUR0001").await, "ｓ f", "\u{3000}ｎ\u{a0}1").await;
    record(&mut staff, told("", "N1", &said("k2"))).await.unwrap();
    record(&mut other, told("", "N1", &said("k3"))).await.unwrap();
    for (caller, parcel, expected) in [(&mut dealer, &mine, &[][..]), (&mut other, &theirs, &["k3"])] {
        assert_eq!(keys(caller, parcel).await, expected);
    }
    assert_eq!(keys(&mut staff, &mine).await, ["k1", "k2"], "staff reads its own word");
    assert_eq!(
        (streamed(&world, "dealer/D1").await, streamed(&world, "staff").await),
        (vec!["k1".into()], vec!["k2".into()])
    );
    assert_eq!(streamed(&world, "dealer/D2").await, ["k3"]);

    // The number is one party's again: it is told what it missed, once, and keeps what it was told.
    record(&mut other, told(&theirs, "N9", &[])).await.unwrap();
    assert_eq!(keys(&mut dealer, &mine).await, ["k1", "k2"]);
    assert_eq!(streamed(&world, "dealer/D1").await, ["k1", "k2"]);
    record(&mut dealer, told(&mine, "N8", &[])).await.unwrap();
    record(&mut dealer, told(&mine, "N1", &said("k1"))).await.unwrap();
    assert_eq!(streamed(&world, "dealer/D1").await, ["k1", "k2", "k1"], "its own word on k1 is another's");
    assert_eq!(streamed(&world, "dealer/D2").await, ["k3"]);

    // A parcel from the maker has its number from staff: nobody takes that word away, and nobody else reads it.
    let sent = life.in_state("SENT0001", 60, ClaimState::Dispatched).await.outbound_shipment_id;
    record(&mut staff, told(&sent, "N5", &said("k5"))).await.unwrap();
    record(&mut other, told(&theirs, "n5", &[])).await.unwrap();
    record(&mut staff, told("", "N 5", &said("k5"))).await.unwrap();
    assert_eq!((keys(&mut dealer, &sent).await, keys(&mut other, &theirs).await), (vec!["k5".into()], vec![]));
    assert_eq!(streamed(&world, "dealer/D2").await, ["k3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_give_one_number_at_once_one_at_most_is_told_what_waited() {
    let world = World::stocked().await;
    let life = Life(&world);
    for round in 0..10 {
        let number = format!("N{round}");
        let before = [streamed(&world, "dealer/D1").await.len(), streamed(&world, "dealer/D2").await.len()];
        let claim = life.in_state(&format!("MINE{round:04}"), 60, ClaimState::Authorized).await;
        let theirs = of_d2(&world, &format!("YOUR{round:04}")).await;
        let (first, second) =
            (happened("k1", TrackingStatus::PickedUp, 0), happened("k2", TrackingStatus::InTransit, 1));
        record(&mut world.staff(), told("", &number, &[first])).await.unwrap();
        let late = async { record(&mut world.staff(), told("", &number, &[second])).await.unwrap() };
        let (mine, theirs, _) = tokio::join!(
            numbered(world.dealer("D1"), &claim.claim_id, "SF", &number),
            numbered(world.dealer("D2"), &theirs, "SF", &number),
            late
        );
        for (mut caller, parcel) in [(world.dealer("D1"), mine), (world.dealer("D2"), theirs)] {
            assert_eq!(keys(&mut caller, &parcel).await, [""; 0], "round {round}");
        }
        // Whoever came first had the number alone until then.
        let told = [streamed(&world, "dealer/D1").await.len(), streamed(&world, "dealer/D2").await.len()];
        assert!(told[0] == before[0] || told[1] == before[1], "round {round}: both were told");
        assert!(told[0] + told[1] > before[0] + before[1], "round {round}: nobody was told");
    }
}

async fn listed(caller: &mut Caller, mut request: ListShipmentsRequest) -> Vec<String> {
    let mut found = Vec::new();
    request.page_size = 1;
    loop {
        let page = caller.logistics.list_shipments(request.clone()).await.unwrap().into_inner();
        assert!(page.shipments.iter().all(|parcel| parcel.items.is_empty() && parcel.item_count > 0));
        found.extend(page.shipments.into_iter().map(|parcel| parcel.shipment_id));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return found;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parcels_are_listed_by_way_dealer_claim_and_what_is_open() {
    let world = World::stocked().await;
    let life = Life(&world);
    let way = life.in_state("LIST0001", 60, ClaimState::InTransit).await;
    let done = life.in_state("LIST0002", 60, ClaimState::Closed).await;
    let lost = life.in_state("LIST0003", 60, ClaimState::Lost).await;
    let (one, two, three) = (&way.inbound_shipment_id, &done.inbound_shipment_id, &lost.inbound_shipment_id);
    let four = &done.outbound_shipment_id;
    let (mut staff, mut dealer, mut other) = (world.staff(), world.dealer("D1"), world.dealer("D2"));
    let all = ListShipmentsRequest::default;
    assert_eq!(listed(&mut staff, all()).await, [three, four, two, one].map(String::as_str));
    assert_eq!(listed(&mut dealer, all()).await.len(), 4);
    assert_eq!(listed(&mut other, all()).await, [""; 0]);
    assert_eq!(listed(&mut other, ListShipmentsRequest { dealer_id: "D1".into(), ..all() }).await, [""; 0]);
    assert_eq!(listed(&mut staff, ListShipmentsRequest { open: true, ..all() }).await, [one.as_str()]);
    let direction = ShipmentDirection::Outbound.into();
    assert_eq!(listed(&mut dealer, ListShipmentsRequest { direction, ..all() }).await, [four.as_str()]);
    assert_eq!(listed(&mut staff, ListShipmentsRequest { dealer_id: "D2".into(), ..all() }).await, [""; 0]);
    let of_claim = ListShipmentsRequest { claim_id: done.claim_id.clone(), ..all() };
    assert_eq!(listed(&mut staff, of_claim).await, [four, two].map(String::as_str));
    let parcel = shown(&mut staff, three).await.shipment.unwrap();
    assert_eq!((parcel.open, parcel.arrived, parcel.item_count), (false, false, 1));
    assert!(parcel.items[0].lost_time.is_some());
}

// ---- one address

fn person(id: &str) -> Option<Customer> {
    Some(Customer { customer: Some(customer::Customer::CustomerId(id.into())) })
}

async fn sent_to(world: &World, claims: &[&Claim], recipient: Option<Customer>) -> Result<Shipment, Status> {
    let items = claims.iter().map(|claim| DispatchItem { claim_id: claim.claim_id.clone(), ..Default::default() });
    let request = DispatchOutboundRequest {
        request_id: id(),
        items: items.collect(),
        carrier: "SF".into(),
        recipient,
        ..Default::default()
    };
    Ok(world.staff().logistics.dispatch_outbound(request).await?.into_inner().shipment.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parcel_goes_to_one_address_that_only_its_parties_see() {
    let world = World::stocked().await;
    let life = Life(&world);
    let mut ready = Vec::new();
    for serial in ["HOME0001", "HOME0002", "HOME0003", "HOME0004"] {
        ready.push(life.in_state(serial, 60, ClaimState::Ready).await);
    }
    let (mut dealer, mut other, mut staff) = (world.dealer("D1"), world.dealer("D2"), world.staff());
    let customer::Customer::Contact(home) = contact().customer.unwrap() else { panic!("a contact") };

    // A customer whom the dealer does not know, and one without an address.
    let mut strangers = Vec::new();
    for (seller, serial, address) in [(&mut other, "SOLD0001", "上海"), (&mut dealer, "SOLD0002", "")] {
        world.unit(serial).await;
        let contact = Contact { address: address.into(), ..home.clone() };
        let customer = Some(Customer { customer: Some(customer::Customer::Contact(contact)) });
        let sold_date = Some(world.today(-3));
        let sale =
            RegisterSaleRequest { request_id: id(), serial: serial.into(), sold_date, customer, ..Default::default() };
        let sold = seller.registry.register_sale(sale).await.unwrap().into_inner().sale.unwrap();
        strangers.push(sold.customer_id);
    }
    let refused = sent_to(&world, &[&ready[0]], person(&strangers[0])).await.unwrap_err();
    assert_eq!((refused.code(), metadata(&refused, "kind").as_str()), (Code::NotFound, "customer"));
    let refused = sent_to(&world, &[&ready[0]], person(&strangers[1])).await.unwrap_err();
    assert_eq!(violations(&refused), [("recipient.customer_id".into(), "has no address".into())]);
    assert_eq!(life.get(&ready[0].claim_id).await, ready[0], "a refused call changes nothing");

    // Two claims to the customer of one of them; one to a new address; one to the dealer as ever.
    let two = sent_to(&world, &[&ready[0], &ready[1]], person(&ready[0].customer_id)).await.unwrap();
    assert_eq!(two.recipient_id, ready[0].customer_id);
    let new = sent_to(&world, &[&ready[2]], Some(contact())).await.unwrap();
    for parcel in [&two, &new] {
        for caller in [&mut dealer, &mut staff] {
            let found = shown(caller, &parcel.shipment_id).await;
            assert_eq!((found.shipment.as_ref(), found.recipient.as_ref()), (Some(parcel), Some(&home)));
        }
        let request = GetShipmentRequest { shipment_id: parcel.shipment_id.clone() };
        assert_eq!(refusal(&other.logistics.get_shipment(request).await.unwrap_err()).0, Code::NotFound);
    }
    let own = sent_to(&world, &[&ready[3]], None).await.unwrap();
    assert_eq!((own.recipient_id.as_str(), shown(&mut dealer, &own.shipment_id).await.recipient), ("", None));

    // A customer who filed himself is written to at his own address, which he and staff see.
    let buyer = world.sold("MINE0001", 60).await;
    let mut customer = world.customer(buyer);
    let filed = customer.claims.file_claim(filing("MINE0001")).await.unwrap().into_inner().claim.unwrap();
    let filed = life.guide(&filed.claim_id, GuidanceOutcome::Confirmed).await.unwrap();
    let claim_ids = vec![filed.claim_id.clone()];
    let request = OpenReturnRequest { request_id: id(), claim_ids, carrier: "SF".into(), ..Default::default() };
    let parcel = customer.logistics.open_return(request).await.unwrap().into_inner().shipment.unwrap();
    assert_eq!(shown(&mut staff, &parcel.shipment_id).await.recipient, None, "the maker's own address is no person's");
    life.receive(&filed, &parcel.shipment_id, |_| {}).await.unwrap();
    life.inspect(&filed.claim_id, &[]).await.unwrap();
    life.repair(&filed.claim_id).await.unwrap();
    let back = sent_to(&world, &[&filed], None).await.unwrap();
    for caller in [&mut customer, &mut staff] {
        assert_eq!(shown(caller, &back.shipment_id).await.recipient.as_ref(), Some(&home));
    }

    // The database itself shows a person to nobody else.
    for (caller, seen) in [("dealer/D2", 1), ("customer/00000000-0000-0000-0000-000000000009", 0), ("", 0)] {
        let mut connection = world.owner().await;
        let sql = format!("SET ROLE warranty_logistics; SET warranty.caller = '{caller}'");
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
        let found: i64 = sqlx::query_scalar("SELECT count(*) FROM people").fetch_one(&mut connection).await.unwrap();
        assert_eq!(found, seen, "{caller:?}");
    }
}

// ---- lost and found

pub async fn kinds(world: &World, claim: &str) -> Vec<String> {
    let request = ListClaimEventsRequest { claim_id: claim.into(), ..Default::default() };
    let events = world.dealer("D1").claims.list_claim_events(request).await.unwrap().into_inner().events;
    events.iter().map(|event| event.r#type().as_str_name().replace("CLAIM_EVENT_TYPE_", "")).collect()
}

fn next(claim: &Claim) -> Vec<String> {
    claim.next_actions.iter().map(|next| next.action().as_str_name().replace("CLAIM_ACTION_", "")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_to_the_maker_counts_as_open_and_is_received_when_found_or_given_up() {
    let world = World::stocked().await;
    let life = Life(&world);
    let lost = life.in_state("LOST0001", 60, ClaimState::Lost).await;
    assert_eq!((lost.reason.as_str(), lost.outcome()), ("the carrier cannot find it", ClaimOutcome::Unspecified));
    let again = world.dealer("D1").claims.file_claim(filing("LOST0001")).await.unwrap_err();
    assert_eq!(refusal(&again).1, "OPEN_CLAIM_EXISTS");
    for refused in [
        life.dispatch(&[(&lost.claim_id, "")]).await.unwrap_err(),
        life.inspect(&lost.claim_id, &[]).await.unwrap_err(),
    ] {
        assert_eq!(refusal(&refused).1, "WRONG_STATE");
        assert_eq!(metadata(&refused, "allowed"), "RECEIVE,CLOSE_LOST");
    }
    let found = life.receive(&lost, &lost.inbound_shipment_id, |_| {}).await.unwrap();
    assert_eq!(found.state(), ClaimState::Received);
    let parcel = shown(&mut world.staff(), &lost.inbound_shipment_id).await.shipment.unwrap();
    assert_eq!((parcel.arrived, parcel.items[0].lost_time), (true, None));

    let lost = life.in_state("LOST0002", 60, ClaimState::Lost).await;
    let closed = life.close_lost(&lost.claim_id).await.unwrap();
    assert_eq!((closed.state(), closed.outcome()), (ClaimState::Closed, ClaimOutcome::Lost));
    assert_eq!(closed.reason, "nobody will find it");
    assert_eq!(next(&closed), [""; 0]);
    let expected = ["FILED", "GUIDED", "RETURN_OPENED", "LOST", "LOST_CLOSED"];
    assert_eq!(kinds(&world, &lost.claim_id).await, expected);
    // It turns up all the same: set aside, and received for the claim that is filed then.
    let reply = unpack(&world, &lost.inbound_shipment_id, vec![item(&lost.return_number, "LOST0002")]).await.unwrap();
    let kept = apart(&reply, 0);
    assert_eq!((kept.difference(), kept.announced_claim_id.as_str()), (Difference::GivenUp, lost.claim_id.as_str()));
    let anew = world.dealer("D1").claims.file_claim(filing("LOST0002")).await.unwrap().into_inner().claim.unwrap();
    life.guide(&anew.claim_id, GuidanceOutcome::Confirmed).await.unwrap();
    let (settled, claim) = settle(&world, &kept, Settlement::Claim, &anew.claim_id, "").await.unwrap();
    assert_eq!((settled.state(), claim.unwrap().state()), (SetAsideState::Settled, ClaimState::Received));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_a_parcel_is_lost_and_the_rest_arrives() {
    let world = World::stocked().await;
    let life = Life(&world);
    let mut ids = Vec::new();
    for serial in ["PART0001", "PART0002", "PART0003"] {
        ids.push(life.in_state(serial, 60, ClaimState::Ready).await.claim_id);
    }
    let parcel =
        life.dispatch(&ids.iter().map(|claim| (claim.as_str(), "")).collect::<Vec<_>>()).await.unwrap().shipment_id;
    let lost = life.lose(&parcel, &[&ids[1]]).await.unwrap();
    assert_eq!((lost.len(), lost[0].state(), lost[0].outcome()), (1, ClaimState::Lost, ClaimOutcome::Repaired));
    assert_eq!(next(&lost[0]), ["DELIVER", "DISPATCH", "CLOSE_LOST"]);
    let refused = life.lose(&parcel, &[&Uuid::now_v7().to_string()]).await.unwrap_err();
    assert_eq!(violations(&refused), [("claim_ids[0]".into(), "is not in this parcel".into())]);
    let delivered = life.deliver(&parcel).await.unwrap();
    assert_eq!((delivered.open, delivered.arrived), (false, false));
    let states =
        async || join_all(ids.iter().map(|id| life.get(id))).await.iter().map(Claim::state).collect::<Vec<_>>();
    assert_eq!(states().await, [ClaimState::Closed, ClaimState::Lost, ClaimState::Closed]);
    // Found: it has to be named, for the others are delivered.
    assert_eq!(refusal(&life.deliver(&parcel).await.unwrap_err()).1, "WRONG_STATE");
    let claim_ids = vec![ids[1].clone()];
    let named = ConfirmDeliveryRequest { request_id: id(), shipment_id: parcel.clone(), claim_ids };
    let found = world.staff().logistics.confirm_delivery(named).await.unwrap().into_inner().shipment.unwrap();
    assert!(found.arrived && !found.open);
    assert_eq!(states().await, [ClaimState::Closed; 3]);
    assert_eq!(life.get(&ids[1]).await.outcome(), ClaimOutcome::Repaired);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_good_unit_goes_out_for_one_that_was_lost() {
    let world = World::stocked().await;
    let life = Life(&world);
    let sent = life.in_state("AWAY0001", 60, ClaimState::Dispatched).await;
    life.lose(&sent.outbound_shipment_id, &[]).await.unwrap();
    world.unit("GOOD0001").await;
    world.unit("GOOD0002").await;
    world.unit_like("OTHER001", |unit| unit.model = "PS-2".into()).await;
    for (given, rule) in
        [("AWAY0001", "it is the unit itself"), ("OTHER001", "it is neither the same model nor a listed equivalent")]
    {
        let refused = life.dispatch(&[(&sent.claim_id, given)]).await.unwrap_err();
        assert_eq!((refusal(&refused).1.as_str(), metadata(&refused, "rule").as_str()), ("UNIT_NOT_GIVABLE", rule));
    }
    let parcel = life.dispatch(&[(&sent.claim_id, "GOOD0001")]).await.unwrap();
    assert_eq!(parcel.items[0].serial, "GOOD0001");
    // The first parcel is nothing that this claim is delivered by any more.
    let refused = life.deliver(&sent.outbound_shipment_id).await.unwrap_err();
    assert_eq!(refusal(&refused).1, "WRONG_STATE");
    // That one is lost, too, and the next carries the warranty on.
    life.lose(&parcel.shipment_id, &[]).await.unwrap();
    let parcel = life.dispatch(&[(&sent.claim_id, "GOOD0002")]).await.unwrap();
    life.deliver(&parcel.shipment_id).await.unwrap();
    let closed = life.get(&sent.claim_id).await;
    assert_eq!(
        (closed.state(), closed.outcome(), closed.outcome_serial.as_str()),
        (ClaimState::Closed, ClaimOutcome::Replaced, "GOOD0002")
    );
    let request = GetUnitRequest { serial: "AWAY0001".into() };
    let unit = world.staff().registry.get_unit(request).await.unwrap().into_inner();
    let lineage: Vec<_> = unit.lineage.iter().map(|step| step.replacement_serial.as_str()).collect();
    assert_eq!(lineage, ["GOOD0001", "GOOD0002"]);

    // It came back and goes out again as it was; then it is given up.
    let sent = life.in_state("AWAY0002", 60, ClaimState::Dispatched).await;
    life.lose(&sent.outbound_shipment_id, &[]).await.unwrap();
    let parcel = life.dispatch(&[(&sent.claim_id, "")]).await.unwrap();
    assert_eq!(parcel.items[0].serial, "AWAY0002");
    life.lose(&parcel.shipment_id, &[]).await.unwrap();
    assert_eq!(life.close_lost(&sent.claim_id).await.unwrap().outcome(), ClaimOutcome::Lost);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dealers_unit_may_be_lost_and_one_of_many_finds_it_first() {
    let world = World::stocked().await;
    let life = Life(&world);
    let swapped = life.in_state("OWED0001", 3, ClaimState::Swapped).await;
    let inbound = life.open_return(&[&swapped.claim_id]).await.unwrap();
    life.receive(&swapped, &inbound.shipment_id, |_| {}).await.unwrap();
    life.inspect(&swapped.claim_id, &[]).await.unwrap();
    for serial in ["GOOD0001", "GOOD0002"] {
        world.unit(serial).await;
    }
    let first = life.dispatch(&[(&swapped.claim_id, "GOOD0001")]).await.unwrap();
    life.lose(&first.shipment_id, &[]).await.unwrap();
    // Found by some, and another one sent by others: one of them.
    let calls = (0..20).map(async |at| {
        let (parcel, given) = (first.shipment_id.clone(), [(swapped.claim_id.as_str(), "GOOD0002")]);
        if at % 2 == 0 { life.deliver(&parcel).await.map(drop) } else { life.dispatch(&given).await.map(drop) }
    });
    let answers = tally(join_all(calls.collect::<Vec<_>>()).await);
    assert_eq!(answers.get("OK"), Some(&1), "{answers:?}");
    let claim = life.get(&swapped.claim_id).await;
    let expected = match claim.state() {
        ClaimState::Closed => "GOOD0001",
        ClaimState::Dispatched => "GOOD0002",
        other => panic!("{other:?}"),
    };
    assert_eq!((claim.outcome(), claim.outcome_serial.as_str()), (ClaimOutcome::Replenishment, expected));
    // The dealer's stock stands outside the chain.
    assert_eq!(count(&world, "SELECT count(*) FROM replacements").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_is_found_or_lost_or_received_by_one_of_many() {
    let world = World::stocked().await;
    let claim = Life(&world).in_state("RACE0001", 60, ClaimState::InTransit).await;
    let calls = (0..20).map(async |at| {
        let world = &world;
        let parcel = claim.inbound_shipment_id.clone();
        if at % 2 == 0 {
            return unpack(world, &parcel, vec![item(&claim.return_number, "RACE0001")]).await.map(drop);
        }
        Life(world).lose(&parcel, &[&claim.claim_id]).await.map(drop)
    });
    let answers = tally(join_all(calls.collect::<Vec<_>>()).await);
    // Lost, then found; or received at once: once each at most.
    assert!(matches!(answers.get("OK"), Some(1 | 2)), "{answers:?}");
    assert_eq!(answers.get("OK").unwrap() + answers.get("FailedPrecondition WRONG_STATE").unwrap(), 20);
    assert_eq!(Life(&world).get(&claim.claim_id).await.state(), ClaimState::Received);
}

// ---- out of the box

fn item(return_number: &str, serial: &str) -> ReceivedItem {
    ReceivedItem { return_number: return_number.into(), serial: serial.into(), ..Default::default() }
}

async fn unpack(world: &World, shipment: &str, items: Vec<ReceivedItem>) -> Result<ReceiveReturnResponse, Status> {
    let request = ReceiveReturnRequest { request_id: id(), shipment_id: shipment.into(), items, ..Default::default() };
    world.staff().logistics.receive_return(request).await.map(Response::into_inner)
}

fn apart(reply: &ReceiveReturnResponse, at: usize) -> SetAside {
    match reply.results[at].result.clone().unwrap() {
        Became::SetAside(kept) => kept,
        Became::ClaimId(claim) => panic!("received for {claim}"),
    }
}

async fn settle(
    world: &World,
    kept: &SetAside,
    how: Settlement,
    claim: &str,
    serial: &str,
) -> Result<(SetAside, Option<Claim>), Status> {
    let request = SettleSetAsideRequest {
        request_id: id(),
        set_aside_id: kept.set_aside_id.clone(),
        version: 0,
        settlement: how.into(),
        claim_id: claim.into(),
        serial: serial.into(),
        reason: "the dealer said so".into(),
    };
    let reply = world.staff().logistics.settle_set_aside(request).await?.into_inner();
    Ok((reply.set_aside.unwrap(), reply.claim))
}

async fn waiting(world: &World, change: impl FnOnce(&mut ListSetAsideRequest)) -> Vec<String> {
    let mut request = ListSetAsideRequest { page_size: 1, ..Default::default() };
    change(&mut request);
    let mut found = Vec::new();
    loop {
        let page = world.staff().logistics.list_set_aside(request.clone()).await.unwrap().into_inner();
        found.extend(page.set_aside.into_iter().map(|kept| kept.set_aside_id));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return found;
        }
    }
}

/// A parcel of D1's with these units of 60 days ago, and their claims.
async fn parcel(world: &World, serials: &[&str]) -> (String, Vec<Claim>) {
    let life = Life(world);
    let claims = join_all(serials.iter().map(|serial| life.in_state(serial, 60, ClaimState::Authorized))).await;
    let opened =
        life.open_return(&claims.iter().map(|claim| claim.claim_id.as_str()).collect::<Vec<_>>()).await.unwrap();
    (opened.shipment_id, claims)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_item_is_received_or_set_aside_and_its_result_says_so() {
    let world = World::stocked().await;
    let (shipment, claims) = parcel(&world, &["BOX00001", "BOX00002", "BOX00003", "BOX00004"]).await;
    let (_, elsewhere) = parcel(&world, &["BOX00009"]).await;
    let number = |at: usize| claims[at].return_number.as_str();
    let damaged = ReceivedItem {
        missing_parts: "power cord".into(),
        transport_damage: true,
        appearance: Appearance::Scratched.into(),
        seal: Seal::Damaged.into(),
        ..item(number(0), "box-00001")
    };
    let items = vec![
        damaged,
        item(number(1), "BOX00003"),
        item("", "BOX00004"),
        item(&elsewhere[0].return_number, "BOX00009"),
        item("10000010", ""),
        ReceivedItem { seal: Seal::Missing.into(), ..item(number(2), "烧毁") },
        ReceivedItem::default(),
    ];
    let reply = unpack(&world, &shipment, items).await.unwrap();
    assert_eq!(reply.results.len(), 7);
    assert_eq!(reply.results[0].result, Some(Became::ClaimId(claims[0].claim_id.clone())));
    let received = &reply.claims[0];
    assert_eq!((reply.claims.len(), received.state(), received.seal()), (1, ClaimState::Received, Seal::Damaged));
    assert_eq!(received.report.as_ref().unwrap().appearance(), Appearance::Scratched);
    let place = reply.shipment.as_ref().unwrap().items.iter().find(|item| item.claim_id == claims[0].claim_id).unwrap();
    assert_eq!((place.missing_parts.as_str(), place.transport_damage), ("power cord", true));
    let expected = [
        (Difference::WrongSerial, number(1), "BOX00003", claims[1].claim_id.as_str()),
        (Difference::Unannounced, "", "BOX00004", ""),
        (Difference::Unannounced, elsewhere[0].return_number.as_str(), "BOX00009", ""),
        (Difference::Unannounced, "10000010", "", ""),
        (Difference::WrongSerial, number(2), "烧毁", claims[2].claim_id.as_str()),
        (Difference::Unannounced, "", "", ""),
    ];
    for (at, (difference, number, serial, announced)) in expected.into_iter().enumerate() {
        let kept = apart(&reply, at + 1);
        assert_eq!(kept.difference(), difference, "{at}");
        assert_eq!(
            (kept.return_number.as_str(), kept.serial.as_str(), kept.announced_claim_id.as_str()),
            (number, serial, announced)
        );
        assert_eq!((kept.state(), kept.found_by.as_str(), kept.version), (SetAsideState::Open, "staff/S1", 1));
        let all: Vec<i32> = [Settlement::Claim, Settlement::Returned, Settlement::Kept].map(Into::into).to_vec();
        assert_eq!(kept.next_actions, all);
    }
    assert_eq!(apart(&reply, 5).seal(), Seal::Missing);
    // What was not received stays on its way, in a parcel that stays open; the event tells how it arrived.
    let parcel = reply.shipment.as_ref().unwrap();
    assert_eq!(
        (parcel.open, parcel.arrived, parcel.items.iter().filter(|item| item.arrived_time.is_some()).count()),
        (true, false, 1)
    );
    for claim in &claims[1..] {
        assert_eq!(Life(&world).get(&claim.claim_id).await.state(), ClaimState::InTransit);
    }
    let request = ListClaimEventsRequest { claim_id: claims[0].claim_id.clone(), ..Default::default() };
    let events = world.dealer("D1").claims.list_claim_events(request).await.unwrap().into_inner().events;
    assert!(events[3].facts_json.contains("power cord") && events[3].facts_json.contains("\"transport_damage\":true"));
    // Listed by parcel, the oldest first.
    let ids: Vec<_> = (1..7).map(|at| apart(&reply, at).set_aside_id).collect();
    assert_eq!(waiting(&world, |request| request.shipment_id.clone_from(&shipment)).await, ids);
    assert_eq!(waiting(&world, |request| request.shipment_id = id()).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_received_or_set_aside_twice() {
    let world = World::stocked().await;
    let (shipment, claims) = parcel(&world, &["BOX00001", "BOX00002"]).await;
    let number = |at: usize| claims[at].return_number.as_str();
    unpack(&world, &shipment, vec![item(number(0), "BOX00001")]).await.unwrap();
    // The same unit again is no second unit; another one under its number is.
    let refused = unpack(&world, &shipment, vec![item(number(0), "BOX00001")]).await.unwrap_err();
    assert_eq!(refusal(&refused), (Code::FailedPrecondition, "WRONG_STATE".into()));
    let second = unpack(&world, &shipment, vec![item(number(0), "BOX00007")]).await.unwrap();
    assert_eq!(apart(&second, 0).difference(), Difference::WrongSerial);
    let twice = vec![item(number(1), "BOX00002"), item(number(1), "BOX 00002")];
    let refused = unpack(&world, &shipment, twice).await.unwrap_err();
    assert_eq!(violations(&refused), [("items[1].serial".into(), "must be there once".into())]);
    let request = ReceiveReturnRequest {
        request_id: id(),
        shipment_id: shipment.clone(),
        items: vec![item("", "BOX00008")],
        ..Default::default()
    };
    let first = world.staff().logistics.receive_return(request.clone()).await.unwrap().into_inner();
    assert_eq!(world.staff().logistics.receive_return(request).await.unwrap().into_inner(), first);
    assert_eq!(count(&world, "SELECT count(*) FROM set_aside").await, 2);
    // What is set aside is so once, in whichever parcel it is found; all of them are named, and nothing is written.
    let (other, _) = parcel(&world, &["BOX00003"]).await;
    let again = vec![item("", "BOX00009"), item("", "BOX-00008")];
    let refused = unpack(&world, &other, again.clone()).await.unwrap_err();
    let kept = apart(&ReceiveReturnResponse { results: first.results, ..Default::default() }, 0);
    let rule = format!("is set aside already, as {}", kept.set_aside_id);
    assert_eq!(violations(&refused), [("items[1].serial".into(), rule)]);
    settle(&world, &kept, Settlement::Kept, "", "").await.unwrap();
    assert_eq!(refusal(&unpack(&world, &other, again.clone()).await.unwrap_err()).1, "INVALID_FIELDS");
    let kept = SetAside { version: 2, ..kept };
    settle(&world, &kept, Settlement::Returned, "", "").await.unwrap();
    unpack(&world, &other, again).await.unwrap();
    // Of ten who find one unit, one sets it aside.
    let found = join_all((0..10).map(|_| unpack(&world, &other, vec![item("", "BOX00010")]))).await;
    assert_eq!(tally(found), BTreeMap::from([("InvalidArgument INVALID_FIELDS".into(), 9), ("OK".into(), 1)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_aside_stands_at_the_depot_that_unpacked_it() {
    let world = World::stocked().await;
    let location =
        Some(StockLocation { location: "NORTH".into(), name: "in the north".into(), receives_replaced: false });
    let put = PutStockLocationRequest { request_id: id(), location };
    world.staff().logistics.put_stock_location(put).await.unwrap();
    let (shipment, claims) = parcel(&world, &["BOX00001"]).await;
    let request = ReceiveReturnRequest {
        request_id: id(),
        shipment_id: shipment.clone(),
        items: vec![item("", "BOX00001")],
        depot: "NORTH".into(),
    };
    let nowhere = ReceiveReturnRequest { request_id: id(), depot: "NOWHERE".into(), ..request.clone() };
    let refused = world.staff().logistics.receive_return(nowhere).await.unwrap_err();
    assert_eq!((refused.code(), metadata(&refused, "kind").as_str()), (Code::NotFound, "location"));
    let kept = apart(&world.staff().logistics.receive_return(request).await.unwrap().into_inner(), 0);
    assert_eq!(kept.depot, "NORTH");
    let (settled, _) = settle(&world, &kept, Settlement::Claim, &claims[0].claim_id, "").await.unwrap();
    assert_eq!(settled.depot, "NORTH");
    let parcel = shown(&mut world.staff(), &shipment).await.shipment.unwrap();
    assert_eq!(parcel.items[0].depot, "NORTH", "its claim was received there");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_set_aside_is_a_claims_unit_or_goes_back_or_is_kept() {
    let world = World::stocked().await;
    let life = Life(&world);
    let (shipment, claims) = parcel(&world, &["ASIDE001", "ASIDE002"]).await;
    let unannounced = life.in_state("ASIDE003", 60, ClaimState::Authorized).await;
    let of_customer = {
        let buyer = world.sold("ASIDE004", 60).await;
        let filed =
            world.customer(buyer).claims.file_claim(filing("ASIDE004")).await.unwrap().into_inner().claim.unwrap();
        life.guide(&filed.claim_id, GuidanceOutcome::Confirmed).await.unwrap()
    };
    let items = vec![
        item("", "ASIDE001"),
        item(&claims[1].return_number, "A5IDEOO2"),
        item("", "ASIDE003"),
        item("", "ASIDE004"),
        item("", "UNKNOWN1"),
        item("", ""),
    ];
    let reply = unpack(&world, &shipment, items).await.unwrap();
    let [no_number, misread, joined, customers, unknown, blank] = [0, 1, 2, 3, 4, 5].map(|at| apart(&reply, at));

    // Its number was missing: it is received, with what was found of it.
    let (settled, claim) = settle(&world, &no_number, Settlement::Claim, &claims[0].claim_id, "").await.unwrap();
    assert_eq!(claim.unwrap().state(), ClaimState::Received);
    assert_eq!(
        (settled.state(), settled.settlement(), settled.version),
        (SetAsideState::Settled, Settlement::Claim, 2)
    );
    assert_eq!(
        (settled.claim_id.as_str(), settled.reason.as_str()),
        (claims[0].claim_id.as_str(), "the dealer said so")
    );
    assert_eq!((settled.settled_by.as_str(), settled.next_actions.len()), ("staff/S1", 0));
    for how in [Settlement::Returned, Settlement::Kept] {
        let refused = settle(&world, &no_number, how, "", "").await.unwrap_err();
        assert_eq!(refusal(&refused), (Code::FailedPrecondition, "SET_ASIDE_SETTLED".into()));
    }
    // Another unit than the claim's is never taken for it; read again it may be.
    let refused = settle(&world, &misread, Settlement::Claim, &claims[1].claim_id, "").await.unwrap_err();
    assert_eq!(refusal(&refused), (Code::FailedPrecondition, "SERIAL_MISMATCH".into()));
    let refused = settle(&world, &blank, Settlement::Claim, &claims[1].claim_id, "").await.unwrap_err();
    assert_eq!(violations(&refused), [("serial".into(), "is required: none could be read".into())]);
    let (_, claim) = settle(&world, &misread, Settlement::Claim, &claims[1].claim_id, "ASIDE002").await.unwrap();
    assert_eq!(claim.unwrap().state(), ClaimState::Received);
    let parcel = shown(&mut world.dealer("D1"), &shipment).await.shipment.unwrap();
    assert!(parcel.arrived && parcel.item_count == 2);
    // Nobody announced it: it joins the parcel it came in, where that is its applicant's.
    let refused = settle(&world, &customers, Settlement::Claim, &of_customer.claim_id, "").await.unwrap_err();
    assert_eq!(refusal(&refused), (Code::FailedPrecondition, "MIXED_PARCEL".into()));
    let (_, claim) = settle(&world, &joined, Settlement::Claim, &unannounced.claim_id, "").await.unwrap();
    assert_eq!(claim.unwrap().inbound_shipment_id, shipment);
    assert_eq!(kinds(&world, &unannounced.claim_id).await, ["FILED", "GUIDED", "RETURN_OPENED", "RECEIVED"]);
    let parcel = shown(&mut world.dealer("D1"), &shipment).await.shipment.unwrap();
    assert!(parcel.arrived && parcel.item_count == 3);
    // Kept until someone claims it, or it goes back.
    let (kept, _) = settle(&world, &unknown, Settlement::Kept, "", "").await.unwrap();
    assert_eq!(kept.next_actions, [Settlement::Claim, Settlement::Returned].map(|next| next as i32));
    let left = [customers.set_aside_id.clone(), unknown.set_aside_id.clone(), blank.set_aside_id.clone()];
    assert_eq!(waiting(&world, |_| {}).await, left);
    assert_eq!(refusal(&settle(&world, &unknown, Settlement::Kept, "", "").await.unwrap_err()).1, "SET_ASIDE_SETTLED");
    let (back, _) = settle(&world, &unknown, Settlement::Returned, "", "").await.unwrap();
    assert_eq!((back.version, back.settlement()), (3, Settlement::Returned));
    assert_eq!(waiting(&world, |request| request.settled = true).await.len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settlement_names_what_stands_and_what_belongs_to_it() {
    let world = World::stocked().await;
    let (shipment, _) = parcel(&world, &["ASIDE001"]).await;
    let blank = apart(&unpack(&world, &shipment, vec![item("", "")]).await.unwrap(), 0);
    // The version read guards, and what is not there is not found.
    let stale = SettleSetAsideRequest {
        request_id: id(),
        set_aside_id: blank.set_aside_id.clone(),
        version: 9,
        settlement: Settlement::Kept.into(),
        reason: "later".into(),
        ..Default::default()
    };
    let refused = world.staff().logistics.settle_set_aside(stale.clone()).await.unwrap_err();
    assert_eq!(refusal(&refused), (Code::Aborted, "VERSION_MISMATCH".into()));
    let absent = SettleSetAsideRequest { set_aside_id: id(), ..stale.clone() };
    assert_eq!(refusal(&world.staff().logistics.settle_set_aside(absent).await.unwrap_err()).1, "NOT_FOUND");
    let claimed = SettleSetAsideRequest { claim_id: id(), serial: "ASIDE001".into(), ..stale };
    let refused = world.staff().logistics.settle_set_aside(claimed).await.unwrap_err();
    assert_eq!(violations(&refused).into_iter().map(|(path, _)| path).collect::<Vec<_>>(), ["claim_id", "serial"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_settles_what_was_set_aside() {
    let world = World::stocked().await;
    let (shipment, claims) = parcel(&world, &["ONCE0001"]).await;
    let reply = unpack(&world, &shipment, vec![item("", "ONCE0001")]).await.unwrap();
    let kept = apart(&reply, 0);
    let calls = (0..20).map(|at| {
        let (world, kept, claim) = (&world, &kept, &claims[0].claim_id);
        async move {
            match at % 2 {
                0 => settle(world, kept, Settlement::Claim, claim, "").await.map(drop),
                _ => settle(world, kept, Settlement::Returned, "", "").await.map(drop),
            }
        }
    });
    let answers = tally(join_all(calls.collect::<Vec<_>>()).await);
    let expected = BTreeMap::from([("FailedPrecondition SET_ASIDE_SETTLED".into(), 19), ("OK".into(), 1)]);
    assert_eq!(answers, expected);
    let received = "SELECT count(*) FROM claim_events WHERE facts->>'type' = 'RECEIVED'";
    let settled = "SELECT count(*) FROM set_aside WHERE settlement = 'CLAIM'";
    assert_eq!(count(&world, received).await, count(&world, settled).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_itself_hides_what_was_set_aside_and_anothers_word() {
    let world = World::stocked().await;
    let (shipment, _) = parcel(&world, &["HIDE0001"]).await;
    unpack(&world, &shipment, vec![item("", "UNKNOWN1")]).await.unwrap();
    let event = [happened("k1", TrackingStatus::PickedUp, 0)];
    record(&mut world.staff(), told(&shipment, "N1", &event)).await.unwrap();
    record(&mut world.dealer("D2"), told("", "N1", &event)).await.unwrap();
    for (caller, words, kept) in [
        ("", 0, 0),
        ("dealer/D1", 1, 0),
        ("dealer/D2", 1, 0),
        ("dealer/D3", 0, 0),
        ("worker/clock", 0, 0),
        ("staff/S1", 2, 1),
    ] {
        let mut connection = world.owner().await;
        let set = format!("SET ROLE warranty_logistics; SET warranty.caller = '{caller}'");
        sqlx::raw_sql(AssertSqlSafe(set)).execute(&mut connection).await.unwrap();
        for (table, expected) in [("tracking_events", words), ("set_aside", kept)] {
            let rows = sqlx::query_scalar::<_, i64>(AssertSqlSafe(format!("SELECT count(*) FROM {table}")));
            assert_eq!(rows.fetch_one(&mut connection).await.unwrap(), expected, "{caller}: {table}");
        }
        let forged = "INSERT INTO tracking_events VALUES ('SF', 'N1', 'staff', 'k2', 'DELIVERED', NULL, now(), now(), 'dealer/D1')";
        let refused = sqlx::raw_sql(forged).execute(&mut connection).await.unwrap_err();
        assert_eq!(refused.as_database_error().and_then(|error| error.code()).as_deref(), Some("42501"), "{caller}");
    }
}

// ---- what a refusal says

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_one_of_many_says_which() {
    let world = World::stocked().await;
    let life = Life(&world);
    let mut staff = world.staff().logistics;
    let says = |refused: Status| {
        let item = metadata(&refused, "item");
        assert!(refused.message().starts_with(&format!("{item}: ")), "{}", refused.message());
        (refusal(&refused).1, item)
    };
    let fit = life.in_state("FIT00001", 60, ClaimState::Authorized).await.claim_id;
    let filed = life.in_state("FILED001", 60, ClaimState::Filed).await.claim_id;
    let refused = life.open_return(&[&fit, &filed]).await.unwrap_err();
    assert_eq!(metadata(&refused, "allowed"), "GUIDE,CANCEL");
    assert_eq!(says(refused), ("WRONG_STATE".into(), "claim_ids[1]".into()));

    let (shipment, claims) = parcel(&world, &["BOX00001", "BOX00002"]).await;
    let of = |at: usize| item(&claims[at].return_number, &claims[at].serial);
    unpack(&world, &shipment, vec![of(1)]).await.unwrap();
    let refused = unpack(&world, &shipment, vec![item("", "OTHER001"), of(0), of(1)]).await.unwrap_err();
    assert_eq!(says(refused), ("WRONG_STATE".into(), "items[2]".into()));
    let both = [claims[0].claim_id.as_str(), claims[1].claim_id.as_str()];
    assert_eq!(says(life.lose(&shipment, &both).await.unwrap_err()), ("WRONG_STATE".into(), "claim_ids[1]".into()));
    unpack(&world, &shipment, vec![of(0)]).await.unwrap();
    // Where the call names none, the claim does.
    let (reason, item) = says(life.lose(&shipment, &[]).await.unwrap_err());
    assert!(reason == "WRONG_STATE" && both.contains(&item.as_str()), "{reason} {item}");

    let ready = [
        life.in_state("READY001", 60, ClaimState::Ready).await.claim_id,
        life.in_state("READY002", 60, ClaimState::Received).await.claim_id,
    ];
    let refused = life.dispatch(&[(&ready[0], ""), (&ready[1], "")]).await.unwrap_err();
    assert_eq!(says(refused), ("WRONG_STATE".into(), "items[1]".into()));
    let refused = life.dispatch(&[(&ready[0], "GOOD0001"), (&ready[1], "good-0001")]).await.unwrap_err();
    assert_eq!(violations(&refused), [("items[1].given_serial".into(), "must be there once".into())]);
    let theirs = of_d2(&world, "YOUR0001").await;
    let refused = life.dispatch(&[(&ready[0], ""), (&theirs, "")]).await.unwrap_err();
    assert_eq!(says(refused), ("MIXED_PARCEL".into(), "items[1]".into()));
    let refused =
        staff.allocate_replacement(AllocateReplacementRequest { request_id: id(), claim_id: fit }).await.unwrap_err();
    let expected = "a claim that is AUTHORIZED does not allow ALLOCATE_REPLACEMENT; it allows OPEN_RETURN, CANCEL";
    assert_eq!(refused.message(), expected);

    // A parcel that travels the other way is no secret to whoever sees it.
    let refused = life.deliver(&shipment).await.unwrap_err();
    assert_eq!(
        (refusal(&refused).1.as_str(), metadata(&refused, "direction").as_str()),
        ("WRONG_DIRECTION", "INBOUND")
    );
    let sent = life.dispatch(&[(&ready[0], "")]).await.unwrap().shipment_id;
    let refused = unpack(&world, &sent, vec![of(0)]).await.unwrap_err();
    assert_eq!(
        (refusal(&refused).1.as_str(), metadata(&refused, "direction").as_str()),
        ("WRONG_DIRECTION", "OUTBOUND")
    );

    // What is missing is required, and what is no value of an enum is told those that are.
    let refused = staff.receive_stock(ReceiveStockRequest { serials: vec![String::new()], ..Default::default() }).await;
    let required =
        ["request_id", "serials[0]", "location", "condition", "reason"].map(|path| (path.into(), "is required".into()));
    assert_eq!(violations(&refused.unwrap_err()), required);
    let request = ReceiveStockRequest {
        request_id: id(),
        serials: vec!["FIT00001".into()],
        location: "SHELF".into(),
        condition: 9,
        reason: "x".into(),
    };
    let refused = staff.receive_stock(request).await.unwrap_err();
    let rule = "must be one of NEW, GOOD, FAULTY, QUARANTINE, SCRAPPED";
    assert_eq!(violations(&refused), [("condition".into(), rule.into())]);
}

// ---- the packing list

#[tokio::test(flavor = "multi_thread")]
async fn a_packing_list_is_one_page_with_a_code_of_each_number() {
    let world = World::stocked().await;
    let life = Life(&world);
    let claims = [
        life.in_state("PACK0001", 60, ClaimState::Authorized).await,
        life.in_state("PACK0002", 60, ClaimState::Authorized).await,
    ];
    let request = OpenReturnRequest {
        request_id: id(),
        claim_ids: claims.iter().map(|claim| claim.claim_id.clone()).collect(),
        carrier: "<script>alert('顺丰 & \"Co\"')</script>".into(),
        tracking_number: "N<1>".into(),
    };
    let opened = world.dealer("D1").logistics.open_return(request).await.unwrap().into_inner().shipment.unwrap();
    let list = async |caller: &mut Caller, shipment: &str| {
        let request = GetPackingListRequest { shipment_id: shipment.into() };
        caller.logistics.get_packing_list(request).await.map(|reply| reply.into_inner().html)
    };
    let html = list(&mut world.dealer("D1"), &opened.shipment_id).await.unwrap();
    assert_eq!(list(&mut world.staff(), &opened.shipment_id).await.unwrap(), html);
    assert!(
        html.starts_with("<!DOCTYPE html>") && html.contains("<meta charset=\"utf-8\">") && html.contains("size: A4")
    );
    assert!(
        !html.contains("<script")
            && html.contains("&lt;script&gt;alert(&#39;顺丰 &amp; &quot;Co&quot;&#39;)&lt;/script&gt;")
    );
    assert!(html.contains("N&lt;1&gt;") && html.contains("装箱单 Packing list") && html.contains("dealer/D1"));
    for claim in &claims {
        let row = format!("<td>{}</td><td>{}</td><td>PS-1</td>", claim.return_number, claim.serial);
        assert!(html.contains(&row), "{row}");
    }
    let codes: Vec<&str> = html.split("<svg").skip(1).map(|code| code.split("</svg>").next().unwrap()).collect();
    assert!(codes.len() == 2 && codes[0] != codes[1], "each number has a code of its own");
    // The page is well-formed, its images too.
    let begin = html.find("<table>").unwrap();
    let end = html.find("</table>").unwrap() + "</table>".len();
    roxmltree::Document::parse(&html[begin..end]).unwrap();
    // Another's parcel is not there, nor for the dealer the maker's own list.
    assert_eq!(refusal(&list(&mut world.dealer("D2"), &opened.shipment_id).await.unwrap_err()).1, "NOT_FOUND");
    let sent = life.in_state("PACK0003", 60, ClaimState::Dispatched).await.outbound_shipment_id;
    let refused = list(&mut world.dealer("D1"), &sent).await.unwrap_err();
    assert_eq!(refusal(&refused), (Code::FailedPrecondition, "WRONG_DIRECTION".into()));
    assert_eq!(metadata(&refused, "direction"), "OUTBOUND");
    assert!(list(&mut world.staff(), &sent).await.unwrap().contains("PACK0003"));
}

// ---- 200 at once

#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::too_many_lines)] // One measurement, call by call.
async fn two_hundred_claims_take_as_many_round_trips_as_two() {
    use warranty::contract::v1::logistics_service_client::LogisticsServiceClient as Client;
    let world = real_time().await;
    let life = Life(&world);
    let line = Line::to(&world.url).await;
    let process = Process::start(&world, "logistics", &line.url, &["--pool-size", "1"]).await;
    let as_caller = |actor: Actor, scopes: &str| {
        Client::with_interceptor(channel(process.address), world.bearer(&actor, scopes))
            .max_decoding_message_size(64 << 20)
    };
    let mut dealer = as_caller(Actor::Dealer("D1".into()), "claims.apply");
    let mut depot = as_caller(Actor::Staff("S1".into()), "depot.write");
    let (mut trips, mut order) = (Vec::new(), Vec::new());
    // The first prepares the statements.
    for (round, many) in [2, 2, 200].into_iter().enumerate() {
        let mut claims = Vec::new();
        for chunk in (0..many).collect::<Vec<usize>>().chunks(20) {
            let serials: Vec<String> = chunk.iter().map(|at| format!("MANY{round}{at:03}")).collect();
            let chunk = serials.iter().map(|serial| life.in_state(serial, 60, ClaimState::Authorized));
            claims.extend(join_all(chunk).await);
        }
        let claim_ids: Vec<String> = claims.iter().map(|claim| claim.claim_id.clone()).collect();
        order.clone_from(&claim_ids);
        let (mut counted, mut before) = (Vec::new(), (0, Instant::now()));
        let begin = |before: &mut (usize, Instant)| *before = (line.trips.load(Ordering::Relaxed), Instant::now());
        let mut end = |call: &str, before: (usize, Instant)| {
            let (trips, taken) = (line.trips.load(Ordering::Relaxed) - before.0, before.1.elapsed());
            println!("{call} of {many}: {trips} round trips, {taken:?}");
            counted.push(trips);
        };
        let carrier = "SF".to_owned();
        let tracking_number = String::new();
        let open = OpenReturnRequest { request_id: id(), claim_ids, carrier: carrier.clone(), tracking_number };
        begin(&mut before);
        let opened = dealer.open_return(open).await.unwrap().into_inner().shipment.unwrap();
        end("OpenReturn", before);
        let items = claims.iter().map(|claim| item(&claim.return_number, &claim.serial)).collect();
        let receive =
            ReceiveReturnRequest { request_id: id(), shipment_id: opened.shipment_id, items, ..Default::default() };
        begin(&mut before);
        let received = depot.receive_return(receive).await.unwrap().into_inner();
        end("ReceiveReturn", before);
        assert_eq!((received.claims.len(), received.shipment.unwrap().arrived), (many, true));
        for chunk in claims.chunks(20) {
            join_all(chunk.iter().map(|claim| async {
                life.inspect(&claim.claim_id, &[]).await.unwrap();
                life.repair(&claim.claim_id).await.unwrap();
            }))
            .await;
        }
        let items = claims.iter().map(|claim| DispatchItem { claim_id: claim.claim_id.clone(), ..Default::default() });
        let (items, tracking_number) = (items.collect(), String::new());
        let dispatch = DispatchOutboundRequest { request_id: id(), items, carrier, tracking_number, recipient: None };
        begin(&mut before);
        let sent = depot.dispatch_outbound(dispatch).await.unwrap().into_inner().shipment.unwrap();
        end("DispatchOutbound", before);
        let deliver = ConfirmDeliveryRequest { request_id: id(), shipment_id: sent.shipment_id, claim_ids: vec![] };
        begin(&mut before);
        assert!(depot.confirm_delivery(deliver).await.unwrap().into_inner().shipment.unwrap().arrived);
        end("ConfirmDelivery", before);
        trips.push(counted);
    }
    assert_eq!(trips[1], trips[2]);
    assert_eq!(trips[2], [11, 13, 12, 12]);
    // Every chain of hashes and every fold stands, and events are numbered in the claims' order.
    let mut faults = Vec::new();
    audit::verify(&world.url, &ProgressBar::hidden(), |fault| faults.push(fault)).await.unwrap();
    assert_eq!(faults, []);
    let numbered = "SELECT claim_id::text FROM claim_events WHERE facts->>'type' = $1 ORDER BY feed DESC LIMIT 200";
    for kind in ["RETURN_OPENED", "RECEIVED", "DISPATCHED"] {
        let found: Vec<String> =
            sqlx::query_scalar(numbered).bind(kind).fetch_all(&mut world.owner().await).await.unwrap();
        assert!(found.into_iter().rev().eq(order.iter().cloned()), "{kind}");
    }
}
