//! Random lives of claims, by a seed: dealers, customers, support, depot and billing act on the real services while calls are
//! dropped, sent twice, given too little time, and connections to the database are killed. A model says what each call comes to:
//! to a claim (`model`), to parcels and what comes out of them (`parcels`), to stock and who it is held for (`stock`), and to
//! what a swap makes both sides owe (`ledger`). After each action SQL looks for what no run may break (`invariants`).
//!
//! SIMULATION_ACTIONS and SIMULATION_SEED change the run; `make simulation` is the long one.

mod calls;
mod invariants;
mod ledger;
mod model;
mod parcels;
mod stock;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
    time::Duration,
};

use futures::future::join_all;
use indicatif::ProgressBar;
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use sqlx::{PgConnection, PgPool};
use tokio::{sync::RwLock, time::timeout};
use uuid::Uuid;
use warranty::{audit, contract::v1::*};

use self::{
    calls::{Ask, Done, Hands, Tally, ask, seen, send},
    model::{Act, By, Kind, Unit, acts},
    parcels::{Aside, Parcel},
    stock::Shelf,
};
use crate::world::{Caller, World, date, id, refusal};

const SEED: u64 = 20_260_615;
const ACTIONS: usize = 500;
/// Each acts on units of its own, of a model of its own, in its own order; all act at once.
const ACTORS: usize = 8;

/// What the actors share.
struct Shared {
    /// Claims of everybody's, each with whose it is.
    claims: Mutex<Vec<(usize, String)>>,
    /// Held by who lets go what lapsed: a unit that is locked counts as taken, and who asks for one must know.
    sweep: RwLock<()>,
    worker: PgPool,
}

struct Actor<'a> {
    world: &'a World,
    shared: &'a Shared,
    number: usize,
    dealer: bool,
    rng: StdRng,
    tally: Tally,
    hands: Hands,
    owner: PgConnection,
    units: Vec<Unit>,
    retired: Vec<Unit>,
    made: usize,
    customer: Option<Uuid>,
    parcels: Vec<Parcel>,
    /// Numbers of carriers, whose word it is, and the keys that were told.
    told: BTreeSet<(String, bool, String)>,
    aside: Vec<Aside>,
    shelf: Shelf,
    limit: Option<usize>,
    /// How many events all of it made.
    events: usize,
}

impl<'a> Actor<'a> {
    async fn arrive(world: &'a World, shared: &'a Shared, number: usize, seed: u64) -> Self {
        let (dealer_id, model) = (format!("S{number}"), format!("SIM-{number}"));
        let (staff, Caller { claims, logistics, .. }) = (world.staff(), world.dealer(&dealer_id));
        let mut registry = staff.registry.clone();
        let request = CreateDealerRequest { request_id: id(), dealer_id: dealer_id.clone(), name: dealer_id.clone() };
        registry.create_dealer(request).await.unwrap();
        if number % 2 == 1 {
            let request = SetDealerCreditTermsRequest { request_id: id(), dealer_id, credit_terms: true, version: 0 };
            registry.set_dealer_credit_terms(request).await.unwrap();
        }
        world.product(&model, false, &[]).await;
        let hands = Hands {
            claims,
            logistics,
            staff_claims: staff.claims,
            staff_logistics: staff.logistics,
            staff_registry: staff.registry,
        };
        let mut actor = Self {
            world,
            shared,
            number,
            dealer: number % 4 != 3,
            rng: StdRng::seed_from_u64(seed + number as u64),
            tally: Tally::new(),
            hands,
            owner: world.owner().await,
            units: Vec::new(),
            retired: Vec::new(),
            made: 0,
            customer: None,
            parcels: Vec::new(),
            told: BTreeSet::new(),
            aside: Vec::new(),
            shelf: Shelf::default(),
            limit: None,
            events: 0,
        };
        actor.put_location().await.unwrap();
        for _ in 0..6 {
            actor.sell().await;
        }
        if !actor.dealer {
            let customer = world.customer(actor.customer.unwrap());
            (actor.hands.claims, actor.hands.logistics) = (customer.claims, customer.logistics);
        }
        actor
    }

    /// Registers a unit, and gives its serial.
    async fn register(&mut self) -> String {
        let (serial, model) = (self.fresh_serial(), format!("SIM-{}", self.number));
        let made = |unit: &mut warranty::contract::v1::Unit| {
            (unit.manufactured_date, unit.ex_factory_date) = (Some(date("2024-01-10")), Some(date("2024-01-20")));
            unit.model = model;
        };
        self.world.unit_like(&serial, made).await;
        serial
    }

    fn fresh_serial(&mut self) -> String {
        self.made += 1;
        format!("SIM{}X{:05}", self.number, self.made)
    }

    /// A unit that the actor's dealer sold, so long ago as its kind is.
    async fn sell(&mut self) {
        let (fresh, covered, old) = ((Kind::Fresh, 3), (Kind::Covered, 60), (Kind::Old, 400));
        let (kind, days) = [fresh, fresh, fresh, covered, covered, old][self.rng.random_range(0..6)];
        let serial = self.register().await;
        let customer = match self.customer {
            Some(known) => Customer { customer: Some(customer::Customer::CustomerId(known.to_string())) },
            None => crate::world::contact(),
        };
        let request = RegisterSaleRequest {
            request_id: id(),
            serial: serial.clone(),
            sold_date: Some(self.world.today(-days)),
            invoice_number: format!("F-{serial}"),
            region: "CN-GD".into(),
            customer: Some(customer),
            ..Default::default()
        };
        let mut registry = self.world.dealer(&format!("S{}", self.number)).registry;
        let sale = registry.register_sale(request).await.unwrap().into_inner().sale;
        self.customer = sale.unwrap().customer_id.parse().ok();
        self.units.push(Unit { serial, kind, superseded: false, claim: None });
    }

    async fn live(mut self, actions: usize) -> Self {
        let acts = acts();
        for done in 0..actions {
            // Where a unit was replaced and its claim is over, another one is sold; now and then where the claim alone is over.
            let over = |unit: &Unit| {
                done % 9 == 0 && unit.claim.as_ref().is_some_and(|claim| claim.state == ClaimState::Closed)
                    || unit.superseded
                        && unit.claim.as_ref().is_some_and(|claim| {
                            claim.state == ClaimState::Closed && (claim.paid || claim.charge == 0)
                                || claim.outcome == ClaimOutcome::Lost
                        })
            };
            if let Some(at) = self.units.iter().position(over).filter(|_| done % 3 == 0) {
                let retired = self.units.swap_remove(at);
                self.retired.push(retired);
                self.sell().await;
            }
            if self.rng.random_bool(0.5) || !self.deed().await {
                let at = self.rng.random_range(0..self.units.len());
                self.act(at, &acts).await;
            }
            self.let_go_of_what_needs_none();
            invariants::hold(&mut self.owner).await;
        }
        self
    }

    /// Something with parcels, stock or debts; nothing, and false, where there is nothing to do it with.
    async fn deed(&mut self) -> bool {
        // Debts rarely match: it is seized.
        if self.matching().is_some() && self.rng.random_bool(0.2) {
            return self.net().await.is_some();
        }
        let done = match self.rng.random_range(0..34) {
            0..4 => self.open_returns().await,
            4..6 => self.track().await,
            6..10 => self.unpack().await,
            10..12 => self.settle_set_aside().await,
            12 => self.lose().await,
            13..16 => self.dispatch_several().await,
            16 => self.deliver_several().await,
            17..19 => self.receive_stock().await,
            19..21 => self.move_stock().await,
            21..24 => self.allocate().await,
            24 => self.allocate_twice_at_once().await,
            25 => self.release().await,
            26 => self.lapse().await,
            27 => self.refurbish().await,
            28 => self.limit_debts().await,
            29..32 => self.net().await,
            32 => self.write_off().await,
            _ => self.put_location().await,
        };
        done.is_some()
    }

    /// Sends a deed's call under a failure, and compares what came of it with what the model says; its reply where it was done.
    async fn tell(&mut self, name: &str, ask: Ask, predicted: Result<(), &'static str>) -> Option<Done> {
        let told = format!("{ask:?}");
        let answer = send(&self.hands, ask, &mut self.rng, &mut self.owner, &mut self.tally).await;
        match (&answer, predicted) {
            (Ok(_), Ok(())) => seen(&mut self.tally, format!("done: {name}")),
            (Err(status), Err(reason)) => {
                assert_eq!(refusal(status).1, reason, "{told}\n{:#?}", self.units);
                seen(&mut self.tally, format!("refused: {name} {reason}"));
            }
            _ => panic!("the model says {predicted:?}, the service {answer:?}: {told}\n{:#?}", self.units),
        }
        answer.ok()
    }

    /// Whose claim it is, by its place among the units.
    fn place_of(&self, claim: &str) -> Option<usize> {
        self.units.iter().position(|unit| unit.claim.as_ref().is_some_and(|model| model.id == claim))
    }

    /// A claim of somebody else's.
    fn foreign(&mut self) -> Option<String> {
        let claims = self.shared.claims.lock().unwrap();
        let foreign: Vec<_> = claims.iter().filter(|(whose, _)| *whose != self.number).map(|(_, id)| id).collect();
        foreign.choose(&mut self.rng).map(|id| (*id).clone())
    }

    fn by(&self) -> By {
        let owed =
            |unit: &&Unit| unit.claim.as_ref().and_then(|claim| claim.dealer_owes).is_some_and(|owing| owing.open);
        let owes = self.units.iter().chain(&self.retired).filter(owed).count();
        let at_its_limit = self.limit.is_some_and(|limit| owes >= limit);
        By { dealer: self.dealer, credit: self.number % 2 == 1 && self.dealer, at_its_limit }
    }

    /// Something that leads on, mostly; else anything.
    async fn act(&mut self, at: usize, acts: &[Act]) {
        let (by, unit) = (self.by(), &self.units[at]);
        let known: Vec<_> = acts.iter().filter_map(|act| Some((act, unit.predict(act, by)?))).collect();
        let leads: Vec<_> = known.iter().filter(|(_, predicted)| predicted.is_ok()).copied().collect();
        let among = if leads.is_empty() || self.rng.random_bool(0.25) { &known } else { &leads };
        let (act, mut predicted) = *among.choose(&mut self.rng).unwrap();
        let current = unit.claim.as_ref().map_or(0, |claim| claim.version);
        let claim_id = unit.claim.as_ref().map(|claim| claim.id.clone()).unwrap_or_default();
        let version = [0, current].choose(&mut self.rng).copied().unwrap();
        let guarded =
            matches!(act, Act::Guide(_) | Act::Cancel | Act::Inspect { .. } | Act::Repair | Act::Quote | Act::Appeal);
        let stale = guarded && self.rng.random_bool(0.04);
        if stale {
            predicted = Err("VERSION_MISMATCH");
            seen(&mut self.tally, "failure: another version");
        }
        let mut given = String::new();
        if matches!(act, Act::Swap | Act::Replace | Act::Dispatch { names: true }) {
            let may;
            (given, may) = self.pick_given(&claim_id, matches!(act, Act::Swap)).await;
            // The limit is looked at last.
            if !may && matches!(predicted, Ok(_) | Err("LEDGER_LIMIT")) {
                predicted = Err("UNIT_NOT_GIVABLE");
            }
        }
        let ask = ask(act, &self.units[at], if stale { current + 7 } else { version }, &given);
        let told = format!("{ask:?}");
        let answer = send(&self.hands, ask, &mut self.rng, &mut self.owner, &mut self.tally).await;
        let name: &'static str = act.into();
        match (&answer, predicted) {
            (Ok(done), Ok(state)) => {
                self.became(at, act, state, done, &given);
                let model = self.units[at].claim.as_ref().unwrap();
                if let Some(claim) = &done.claim {
                    assert_eq!((claim.state(), claim.version), (model.state, model.version), "{told}\n{model:#?}");
                }
                self.follow(act, done);
                seen(&mut self.tally, format!("done: {name}"));
            }
            (Err(status), Err(reason)) => {
                assert_eq!(refusal(status).1, reason, "{told}\n{:#?}", self.units[at]);
                seen(&mut self.tally, format!("refused: {reason}"));
            }
            _ => panic!("the model says {predicted:?}, the service {answer:?}: {told}\n{:#?}", self.units[at]),
        }
    }

    /// A claim went on by an event, and the shelf with it.
    fn became(&mut self, at: usize, act: &Act, state: ClaimState, done: &Done, given: &str) {
        self.events += 1;
        let unit = &mut self.units[at];
        unit.become_(act, state, done);
        let claim = unit.claim.as_ref().unwrap();
        if !given.is_empty() && !matches!(act, Act::Swap) {
            self.shelf.give(given, &claim.id);
        }
        let replaced = matches!(claim.outcome, ClaimOutcome::Replaced | ClaimOutcome::Replenishment);
        if replaced && matches!(act, Act::Inspect { .. } | Act::Replace) {
            self.shelf.keep_replaced(&unit.serial);
        }
    }

    /// What an act on one claim means for parcels, and for others.
    fn follow(&mut self, act: &Act, done: &Done) {
        match act {
            Act::File => {
                let id = done.claim.as_ref().unwrap().claim_id.clone();
                self.shared.claims.lock().unwrap().push((self.number, id));
            }
            Act::OpenReturn | Act::Dispatch { .. } => self.parcels.push(Parcel::of(done, act, "")),
            _ => {}
        }
    }
}

/// What the environment says, else the default.
#[allow(clippy::disallowed_methods)] // A test's own, not the product's.
pub fn setting<T: std::str::FromStr>(name: &str, default: T) -> T {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[tokio::test(flavor = "multi_thread")]
async fn random_lives_of_claims_are_what_the_model_says_whatever_fails() {
    let (seed, actions) = (setting("SIMULATION_SEED", SEED), setting("SIMULATION_ACTIONS", ACTIONS));
    println!("seed {seed}, {actions} actions");
    let world = World::stocked().await;
    world.priced().await;
    let depot = StockLocation { location: "DEPOT".into(), name: "the depot".into(), receives_replaced: true };
    let request = PutStockLocationRequest { request_id: id(), location: Some(depot) };
    world.staff().logistics.put_stock_location(request).await.unwrap();
    let mut watch = world.staff().claims.watch_claims(WatchClaimsRequest::default()).await.unwrap().into_inner();
    watch.message().await.unwrap();
    let shared = Shared { claims: Mutex::default(), sweep: RwLock::default(), worker: world.worker() };
    let (world, shared) = (&world, &shared);
    let lives = (0..ACTORS)
        .map(|number| async move { Actor::arrive(world, shared, number, seed).await.live(actions / ACTORS).await });
    let lived = join_all(lives).await;
    let mut tally: Tally = BTreeMap::new();
    for (what, count) in lived.iter().flat_map(|actor| &actor.tally) {
        *tally.entry(what.clone()).or_default() += count;
    }
    println!("{tally:#?}");
    for failure in ["dropped", "too little time", "connections killed", "sent twice at once", "another version"] {
        let hits = tally.get(&format!("failure: {failure}")).copied().unwrap_or_default();
        assert!(hits * 500 >= actions, "{failure} hit {hits} times");
    }

    let mut owner = world.owner().await;
    // The latest claim of each unit stands where the model says, and so does what is in stock.
    for unit in lived.iter().flat_map(|actor| actor.units.iter().chain(&actor.retired)) {
        let Some(model) = &unit.claim else { continue };
        let row: (String, i64) = sqlx::query_as("SELECT state, version FROM claims WHERE claim_id = $1")
            .bind(model.id.parse::<Uuid>().unwrap())
            .fetch_one(&mut owner)
            .await
            .unwrap();
        let state = model.state.as_str_name().trim_start_matches("CLAIM_STATE_").to_owned();
        assert_eq!(row, (state, model.version), "{unit:#?}");
    }
    for actor in &lived {
        assert_eq!(stock::stands(&mut owner, actor.number).await, actor.shelf.stands());
    }
    let filed: i64 = sqlx::query_scalar("SELECT count(*) FROM claims").fetch_one(&mut owner).await.unwrap();
    assert_eq!(filed as usize, tally["done: File"], "each was filed once");
    let made: usize = lived.iter().map(|actor| actor.events).sum();
    let feed: Vec<(String,)> = sqlx::query_as("SELECT feed::text FROM claim_events ORDER BY claim_events.feed")
        .fetch_all(&mut owner)
        .await
        .unwrap();
    assert_eq!(feed.len(), made, "each act is one event");
    let mut faults = Vec::new();
    let verified =
        audit::verify(&world.url, &ProgressBar::hidden(), |fault| faults.push(fault.to_string())).await.unwrap();
    faults.truncate(3);
    assert_eq!((verified, faults), (filed as u64, vec![]), "each row is the fold of its events, each chain whole");
    // Who watched all the time was told each event, once, in order.
    let mut told = Vec::new();
    while told.len() < feed.len() {
        let next =
            timeout(Duration::from_secs(30), watch.message()).await.expect("an event is missing").unwrap().unwrap();
        told.extend(next.event.is_some().then_some((next.cursor,)));
    }
    assert_eq!(told, feed);
}
