//! The depot's shelf of one actor's model: what comes, moves, is held, lapses, is given and comes back to be refurbished.

use std::collections::BTreeMap;

use prost::Message;
use rand::{Rng, seq::IndexedRandom};
use sqlx::PgConnection;
use warranty::{
    contract::v1::{StockCondition as C, *},
    service::claim::worker,
};

use super::{Actor, Ask, calls::unknown, seen};
use crate::world::{id, refusal};

/// A unit on the shelf.
#[derive(Clone, Debug)]
struct Stood {
    location: String,
    condition: C,
    number: i64,
    held_for: Option<String>,
    lapsed: bool,
    /// Another unit took its place.
    replaced: bool,
}

impl Stood {
    fn held(&self) -> Option<&str> {
        self.held_for.as_deref().filter(|_| !self.lapsed)
    }

    fn is_good(&self) -> bool {
        matches!(self.condition, C::New | C::Good)
    }

    /// Whether it may become this, or leave where none.
    fn may_become(&self, to: Option<C>) -> bool {
        let changes = to != Some(self.condition);
        let tested = !(self.condition == C::Faulty && to == Some(C::Good));
        let given = matches!(to, Some(C::New | C::Good));
        let barred = changes && (self.held().is_some() || to == Some(C::New) || given && self.replaced);
        self.condition != C::Scrapped && tested && !barred
    }
}

/// What stands where, and how often each was moved.
#[derive(Clone, Debug, Default)]
pub struct Shelf {
    stood: BTreeMap<String, Stood>,
    moves: BTreeMap<String, i64>,
}

/// A unit as it stands: serial, location, condition, the number of its movements, and the claim it is held for.
pub type Standing = (String, String, String, i64, Option<String>);

impl Shelf {
    fn enter(&mut self, serial: &str, location: &str, condition: C, replaced: bool) {
        let (location, number) = (location.to_owned(), self.moves.get(serial).copied().unwrap_or(0) + 1);
        self.moves.insert(serial.into(), number);
        let stood = Stood { location, condition, number, held_for: None, lapsed: false, replaced };
        self.stood.insert(serial.to_owned(), stood);
    }

    fn leave(&mut self, serial: &str) {
        if let Some(stood) = self.stood.remove(serial) {
            self.moves.insert(serial.to_owned(), stood.number + 1);
        }
    }

    /// A unit is given for a claim, and nothing stays held for that.
    pub fn give(&mut self, serial: &str, claim: &str) {
        self.leave(serial);
        self.let_go(claim);
    }

    fn let_go(&mut self, claim: &str) {
        for stood in self.stood.values_mut().filter(|stood| stood.held_for.as_deref() == Some(claim)) {
            stood.held_for = None;
        }
    }

    pub fn keep_replaced(&mut self, serial: &str) {
        if !self.stood.contains_key(serial) {
            self.enter(serial, "DEPOT", C::Faulty, true);
        }
    }

    fn held_for(&self, claim: &str) -> Option<&String> {
        self.stood.iter().find(|(_, stood)| stood.held() == Some(claim)).map(|(serial, _)| serial)
    }

    fn free(&self) -> Vec<&String> {
        let free = |(_, stood): &(&String, &Stood)| stood.is_good() && stood.held().is_none();
        self.stood.iter().filter(free).map(|(serial, _)| serial).collect()
    }

    /// All of it; what lapsed is held for nobody.
    pub fn stands(&self) -> Vec<Standing> {
        let name = |condition: C| condition.as_str_name().trim_start_matches("STOCK_CONDITION_").to_owned();
        let standing = |(serial, stood): (&String, &Stood)| {
            let held = stood.held().map(str::to_owned);
            (serial.clone(), stood.location.clone(), name(stood.condition), stood.number, held)
        };
        self.stood.iter().map(standing).collect()
    }
}

/// What the database says of an actor's shelf.
pub async fn stands(owner: &mut PgConnection, number: usize) -> Vec<Standing> {
    let stands = sqlx::query_as(
        "SELECT serial, location, condition, number, CASE WHEN held_until > '2026-06-15T04:00:00Z' THEN held_for::text END
           FROM stock_units WHERE model = $1 ORDER BY serial COLLATE \"C\"",
    );
    stands.bind(format!("SIM-{number}")).fetch_all(owner).await.unwrap()
}

impl Actor<'_> {
    /// A unit to give for a claim, and whether it may be: what is held, what stands free, what may not be given, or a new one.
    pub async fn pick_given(&mut self, claim: &str, swap: bool) -> (String, bool) {
        let stocked: Vec<_> = self.shelf.stood.keys().cloned().collect();
        let held = self.shelf.held_for(claim).cloned();
        let picked = match self.rng.random_range(0..10) {
            0..4 => held.or_else(|| self.shelf.free().choose(&mut self.rng).map(|serial| (*serial).clone())),
            4 => stocked.choose(&mut self.rng).cloned(),
            _ => None,
        };
        let Some(serial) = picked else { return (self.register().await, true) };
        let stood = &self.shelf.stood[&serial];
        let may = stood.is_good() && stood.held().is_none_or(|holder| holder == claim);
        // The maker's stock is not a dealer's to give.
        (serial, may && !swap)
    }

    fn location(&self) -> String {
        format!("SHELF-{}", self.number)
    }

    pub async fn put_location(&mut self) -> Option<()> {
        let name = format!("as named by {}", self.rng.random_range(0..100));
        let location = Some(StockLocation { location: self.location(), name, receives_replaced: false });
        let request = PutStockLocationRequest { request_id: id(), location };
        self.tell("PutLocation", Ask::PutLocation(request), Ok(())).await.map(drop)
    }

    pub async fn receive_stock(&mut self) -> Option<()> {
        if self.shelf.free().len() > 2 {
            return None;
        }
        let condition = *[C::New, C::Good, C::Good, C::Faulty, C::Quarantine].choose(&mut self.rng).unwrap();
        let mut serials = vec![self.register().await];
        let mut predicted = Ok(());
        match self.rng.random_range(0..8) {
            0 => {
                let there: Vec<_> = self.shelf.stood.keys().cloned().collect();
                serials.push(there.choose(&mut self.rng)?.clone());
                predicted = Err("STOCK_REFUSED");
            }
            1 => {
                let sold: Vec<_> = self.units.iter().filter(|unit| !unit.superseded).collect();
                serials.push(sold.choose(&mut self.rng)?.serial.clone());
                predicted = Err("STOCK_REFUSED");
            }
            2 => serials.push(self.register().await),
            _ => {}
        }
        let request = ReceiveStockRequest {
            request_id: id(),
            serials: serials.clone(),
            location: self.location(),
            condition: condition.into(),
            reason: "from the factory".into(),
        };
        if self.tell("ReceiveStock", Ask::ReceiveStock(request), predicted).await.is_some() {
            let location = self.location();
            serials.iter().for_each(|serial| self.shelf.enter(serial, &location, condition, false));
        }
        Some(())
    }

    fn any_stood(&mut self) -> Option<(String, Stood)> {
        let all: Vec<_> = self.shelf.stood.iter().collect();
        all.choose(&mut self.rng).map(|(serial, stood)| ((*serial).clone(), (*stood).clone()))
    }

    pub async fn move_stock(&mut self) -> Option<()> {
        let (serial, stood) = self.any_stood()?;
        let conditions = [C::New, C::Good, C::Good, C::Faulty, C::Quarantine, C::Quarantine, C::Scrapped];
        let to = self.rng.random_bool(0.85).then(|| *conditions.choose(&mut self.rng).unwrap());
        let stale = self.rng.random_bool(0.05);
        let location = if self.rng.random_bool(0.5) { self.location() } else { "DEPOT".into() };
        let predicted = match stood.may_become(to) {
            _ if stale => Err("VERSION_MISMATCH"),
            true => Ok(()),
            false => Err("STOCK_REFUSED"),
        };
        let request = MoveStockRequest {
            request_id: id(),
            serial: serial.clone(),
            location: to.map(|_| location.clone()).unwrap_or_default(),
            condition: to.map_or(0, Into::into),
            reason: "tested".into(),
            version: if stale { stood.number + 7 } else { [0, stood.number][self.rng.random_range(0..2)] },
        };
        if self.tell("MoveStock", Ask::MoveStock(request), predicted).await.is_some() {
            match to {
                None => self.shelf.leave(&serial),
                Some(condition) => {
                    let held_for = stood.held().map(str::to_owned);
                    let moved =
                        Stood { location, condition, number: stood.number + 1, held_for, lapsed: false, ..stood };
                    self.shelf.moves.insert(serial.clone(), moved.number);
                    self.shelf.stood.insert(serial, moved);
                }
            }
        }
        Some(())
    }

    /// Claims that a unit may be held for, by their places.
    fn wanting(&self) -> Vec<usize> {
        (0..self.units.len()).filter(|at| self.may_be_allocated(*at).is_ok()).collect()
    }

    fn may_be_allocated(&self, at: usize) -> Result<(), &'static str> {
        let claim = self.units[at].claim.as_ref().ok_or("NOT_FOUND")?;
        match claim.state {
            _ if claim.owes_a_unit() => Ok(()),
            ClaimState::InRepair if claim.gives == Remedy::PaidService => Err("REMEDY_MISMATCH"),
            ClaimState::InRepair => Ok(()),
            _ => Err("WRONG_STATE"),
        }
    }

    fn allocation(&self, at: usize) -> (String, AllocateReplacementRequest) {
        let claim_id = self.units[at].claim.as_ref().unwrap().id.clone();
        (claim_id.clone(), AllocateReplacementRequest { request_id: id(), claim_id })
    }

    /// A unit came to be held for a claim: the one that was, else one that was free.
    fn held(&mut self, claim: &str, reply: &[u8]) {
        let serial = AllocateReplacementResponse::decode(reply).unwrap().unit.unwrap().serial;
        match self.shelf.held_for(claim) {
            Some(kept) => assert_eq!(*kept, serial, "what is held stays held"),
            None => assert!(self.shelf.free().contains(&&serial), "{serial} is not free: {:#?}", self.shelf),
        }
        self.shelf.let_go(claim);
        let stood = self.shelf.stood.get_mut(&serial).unwrap();
        (stood.held_for, stood.lapsed) = (Some(claim.to_owned()), false);
    }

    pub async fn allocate(&mut self) -> Option<()> {
        let shared = self.shared;
        let _no_sweep = shared.sweep.read().await;
        let claimed: Vec<_> = (0..self.units.len()).filter(|at| self.units[*at].claim.is_some()).collect();
        let wanting = self.wanting();
        let among = if wanting.is_empty() || self.rng.random_bool(0.1) { claimed } else { wanting };
        let at = *among.choose(&mut self.rng)?;
        let (claim, request) = self.allocation(at);
        let none = self.shelf.held_for(&claim).is_none() && self.shelf.free().is_empty();
        let predicted = self.may_be_allocated(at).and(if none { Err("OUT_OF_STOCK") } else { Ok(()) });
        if let Some(done) = self.tell("Allocate", Ask::Allocate(request), predicted).await {
            self.held(&claim, &done.reply);
        }
        Some(())
    }

    /// Two claims ask at once: of the last unit one gets it.
    pub async fn allocate_twice_at_once(&mut self) -> Option<()> {
        let shared = self.shared;
        let _no_sweep = shared.sweep.read().await;
        let id_of = |at: &usize| self.units[*at].claim.as_ref().unwrap().id.clone();
        let bare: Vec<_> =
            self.wanting().into_iter().filter(|at| self.shelf.held_for(&id_of(at)).is_none()).take(2).collect();
        let [one, two] = bare[..] else { return None };
        let asks = [self.allocation(one), self.allocation(two)];
        let (free, hands) = (self.shelf.free().len(), &self.hands);
        let answers = asks.map(|(claim, request)| async move {
            loop {
                match hands.clone().send(Ask::Allocate(request.clone()), None).await {
                    Err(status) if unknown(&status) => {}
                    known => return (claim, known),
                }
            }
        });
        let mut served = 0;
        for (claim, answer) in futures::future::join_all(answers).await {
            match answer {
                Ok(done) => {
                    self.held(&claim, &done.reply);
                    served += 1;
                }
                Err(status) => assert_eq!(refusal(&status).1, "OUT_OF_STOCK"),
            }
        }
        assert_eq!(served, free.min(2), "{:#?}", self.shelf);
        seen(&mut self.tally, format!("done: Allocate twice at once, {} free", free.min(3)));
        Some(())
    }

    /// What is held goes with the need for it.
    pub fn let_go_of_what_needs_none(&mut self) {
        let held: Vec<_> = self.shelf.stood.values().filter_map(|stood| stood.held().map(str::to_owned)).collect();
        for claim in held {
            if self.place_of(&claim).is_none_or(|at| self.may_be_allocated(at).is_err()) {
                self.shelf.let_go(&claim);
            }
        }
    }

    pub async fn release(&mut self) -> Option<()> {
        let holders: Vec<_> = self.shelf.stood.values().filter_map(|stood| stood.held().map(str::to_owned)).collect();
        let any: Vec<_> = self.units.iter().filter_map(|unit| Some(unit.claim.as_ref()?.id.clone())).collect();
        let among = if holders.is_empty() || self.rng.random_bool(0.2) { any } else { holders };
        let claim_id = among.choose(&mut self.rng)?.clone();
        let predicted = self.shelf.held_for(&claim_id).map(|_| ()).ok_or("NOT_FOUND");
        let request = ReleaseAllocationRequest { request_id: id(), claim_id: claim_id.clone() };
        if self.tell("Release", Ask::Release(request), predicted).await.is_some() {
            self.shelf.let_go(&claim_id);
        }
        Some(())
    }

    /// The time of a holding passes; half the time the worker says so, too.
    pub async fn lapse(&mut self) -> Option<()> {
        let held: Vec<_> = self.shelf.stood.iter().filter(|(_, stood)| stood.held().is_some()).collect();
        let serial = held.choose(&mut self.rng).map(|(serial, _)| (*serial).clone())?;
        let lapse = "UPDATE stock_units SET held_until = '2026-06-15T04:00:00Z' WHERE serial = $1";
        sqlx::query(lapse).bind(&serial).execute(&mut self.owner).await.unwrap();
        self.shelf.stood.get_mut(&serial).unwrap().lapsed = true;
        if self.rng.random_bool(0.5) {
            let _alone = self.shared.sweep.write().await;
            // Under load it may find no connection in time; then it is done with the next step.
            let mut steps = 0;
            while let Err(error) = worker::step(&self.shared.worker, &self.world.evidence, self.world.clock.now()).await
            {
                steps += 1;
                assert!(steps < 20, "the worker does not come through: {error}");
            }
        }
        seen(&mut self.tally, "done: Lapse");
        Some(())
    }

    pub async fn refurbish(&mut self) -> Option<()> {
        let (serial, stood) = self.any_stood()?;
        let known = self.rng.random_bool(0.1);
        let new_serial = if known { self.units[0].serial.clone() } else { self.fresh_serial() };
        if new_serial == serial {
            return None;
        }
        let predicted = match stood.condition {
            C::Faulty | C::Quarantine if known => Err("REGISTRY_CONFLICT"),
            C::Faulty | C::Quarantine => Ok(()),
            _ => Err("STOCK_REFUSED"),
        };
        let reason = "a new board".to_owned();
        let request =
            RefurbishUnitRequest { request_id: id(), serial: serial.clone(), new_serial: new_serial.clone(), reason };
        if self.tell("Refurbish", Ask::Refurbish(request), predicted).await.is_some() {
            self.shelf.enter(&new_serial, &stood.location, C::Good, false);
            self.shelf.moves.insert(serial.clone(), stood.number + 1);
            let old = Stood { condition: C::Scrapped, number: stood.number + 1, ..stood };
            self.shelf.stood.insert(serial, old);
        }
        Some(())
    }
}
