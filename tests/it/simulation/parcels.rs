//! Parcels with several claims: announced, tracked, unpacked in any condition, lost and found, sent out and delivered.

use prost::Message;
use prost_types::Timestamp;
use rand::{
    Rng,
    seq::{IndexedRandom, SliceRandom},
};
use warranty::contract::v1::{received_result::Result as Became, *};

use super::{
    Actor, Ask, Done,
    model::{Act, Model},
};
use crate::world::id;

/// A parcel of the actor's.
#[derive(Clone, Debug)]
pub struct Parcel {
    id: String,
    inbound: bool,
    claims: Vec<String>,
    number: String,
}

impl Parcel {
    /// As the reply to the act that opened it says.
    pub fn of(done: &Done, act: &Act, number: &str) -> Self {
        let (inbound, number) = (matches!(act, Act::OpenReturn), number.to_owned());
        let shipment = if inbound {
            OpenReturnResponse::decode(&done.reply[..]).unwrap().shipment
        } else {
            DispatchOutboundResponse::decode(&done.reply[..]).unwrap().shipment
        };
        let shipment = shipment.unwrap();
        let claims = shipment.items.into_iter().map(|item| item.claim_id).collect();
        Self { id: shipment.shipment_id, inbound, claims, number }
    }
}

/// A unit that was set aside.
#[derive(Clone, Debug)]
pub struct Aside {
    id: String,
    came_in: String,
    serial: String,
    version: i64,
    settled: Settlement,
}

impl Actor<'_> {
    fn claim_at(&self, at: usize) -> &Model {
        self.units[at].claim.as_ref().unwrap()
    }

    fn places(&self, which: impl Fn(&Model) -> bool) -> Vec<usize> {
        (0..self.units.len()).filter(|at| self.units[*at].claim.as_ref().is_some_and(&which)).collect()
    }

    fn some_of(&mut self, mut places: Vec<usize>, most: usize) -> Vec<usize> {
        places.shuffle(&mut self.rng);
        places.truncate(self.rng.random_range(1..=most));
        places
    }

    /// A parcel of whose claims each is still its unit's latest; those with something on its way mostly.
    fn a_parcel(&mut self, inbound: Option<bool>) -> Option<usize> {
        let known = |parcel: &Parcel| {
            inbound.is_none_or(|inbound| inbound == parcel.inbound)
                && parcel.claims.iter().all(|claim| self.place_of(claim).is_some())
        };
        let known: Vec<_> = (0..self.parcels.len()).filter(|at| known(&self.parcels[*at])).collect();
        let open = |at: &usize| {
            let parcel = &self.parcels[*at];
            let travels = |claim: &String| self.claim_at(self.place_of(claim).unwrap()).travels_in(&parcel.id);
            parcel.claims.iter().any(travels)
        };
        let open: Vec<_> = known.iter().copied().filter(open).collect();
        let among = if open.is_empty() || self.rng.random_bool(0.1) { known } else { open };
        among.choose(&mut self.rng).copied()
    }

    fn number(&mut self) -> String {
        format!("T{}-{}", self.number, self.rng.random_range(0..9))
    }

    pub async fn open_returns(&mut self) -> Option<()> {
        let mut fit = self.places(|claim| matches!(claim.state, ClaimState::Authorized | ClaimState::Swapped));
        // What may still be swapped is left to be, mostly.
        let by = self.by();
        fit.retain(|at| self.rng.random_bool(0.2) || !matches!(self.units[*at].predict(&Act::Swap, by), Some(Ok(_))));
        let places = self.some_of(fit, 4);
        let mut claim_ids: Vec<_> = places.iter().map(|at| self.claim_at(*at).id.clone()).collect();
        let mut predicted = Ok(());
        match self.rng.random_range(0..10) {
            0 => {
                claim_ids.push(claim_ids.first()?.clone());
                predicted = Err("INVALID_FIELDS");
            }
            1 => {
                claim_ids.push(self.foreign()?);
                predicted = Err("NOT_FOUND");
            }
            2 => {
                let unfit = self.places(|claim| !matches!(claim.state, ClaimState::Authorized | ClaimState::Swapped));
                let unfit = *unfit.choose(&mut self.rng)?;
                claim_ids.push(self.claim_at(unfit).id.clone());
                predicted = Err("WRONG_STATE");
            }
            _ => {}
        }
        if claim_ids.is_empty() {
            return None;
        }
        let tracking_number = if self.rng.random_bool(0.5) { self.number() } else { String::new() };
        let request = OpenReturnRequest {
            request_id: id(),
            claim_ids,
            carrier: "SF".into(),
            tracking_number: tracking_number.clone(),
        };
        if let Some(done) = self.tell("OpenReturn of several", Ask::OpenReturn(request), predicted).await {
            for at in places {
                self.became(at, &Act::OpenReturn, ClaimState::InTransit, &done, "");
            }
            self.parcels.push(Parcel::of(&done, &Act::OpenReturn, &tracking_number));
        }
        Some(())
    }

    /// A carrier's word: in any order, twice, of a number that no parcel has yet.
    pub async fn track(&mut self) -> Option<()> {
        let (staff, number) = (self.rng.random_bool(0.5), self.number());
        let named = if self.rng.random_bool(0.3) { self.a_parcel(None) } else { None };
        let keys: Vec<_> =
            (0..self.rng.random_range(1..5)).map(|_| format!("k{}", self.rng.random_range(0..9))).collect();
        let happened = |key: &String| TrackingEvent {
            event_key: key.clone(),
            status: TrackingStatus::InTransit.into(),
            place: String::new(),
            event_time: Some(Timestamp { seconds: 1_781_000_000, nanos: 0 }),
        };
        let request = RecordTrackingRequest {
            request_id: id(),
            shipment_id: named.map(|at| self.parcels[at].id.clone()).unwrap_or_default(),
            carrier: "SF".into(),
            tracking_number: number.clone(),
            events: keys.iter().map(happened).collect(),
        };
        let barred = !staff && named.is_some_and(|at| !self.parcels[at].inbound);
        let ask = if staff { Ask::StaffTracks(request) } else { Ask::Track(request) };
        let predicted = if barred { Err("INVALID_FIELDS") } else { Ok(()) };
        let Some(done) = self.tell("Track", ask, predicted).await else { return Some(()) };
        if let Some(at) = named {
            self.parcels[at].number.clone_from(&number);
        }
        let new = keys.into_iter().filter(|key| self.told.insert((number.clone(), staff, key.clone()))).count();
        let reply = RecordTrackingResponse::decode(&done.reply[..]).unwrap();
        let mut parcels: Vec<_> =
            self.parcels.iter().filter(|parcel| parcel.number == number).map(|parcel| parcel.id.clone()).collect();
        parcels.sort_by(|one, two| two.cmp(one));
        assert_eq!((reply.shipment_ids, reply.recorded as usize), (parcels, new));
        Some(())
    }

    /// One box is unpacked: each unit as announced, under another serial, left out, damaged, or one that nobody announced.
    #[allow(clippy::too_many_lines)] // One box, unit by unit.
    pub async fn unpack(&mut self) -> Option<()> {
        let at = self.a_parcel(Some(true))?;
        let parcel = self.parcels[at].clone();
        let (mut items, mut expected, mut predicted, mut arrived) = (Vec::new(), Vec::new(), Ok(()), Vec::new());
        for claim in &parcel.claims {
            let place = self.place_of(claim).unwrap();
            let (serial, model) = (self.units[place].serial.clone(), self.claim_at(place).clone());
            let travels = model.travels_in(&parcel.id);
            let item = ReceivedItem { return_number: model.return_number.clone(), serial, ..Default::default() };
            match self.rng.random_range(0..10) {
                0..2 => {}
                2 => {
                    items.push(ReceivedItem { serial: self.fresh_serial(), ..item });
                    expected.push(Err(Difference::WrongSerial));
                }
                _ if model.outcome == ClaimOutcome::Lost => {
                    items.push(item);
                    expected.push(Err(Difference::GivenUp));
                }
                _ if !travels && self.rng.random_bool(0.9) => {}
                _ => {
                    let missing_parts = if self.rng.random_bool(0.2) { "the power cord".into() } else { String::new() };
                    items.push(ReceivedItem { missing_parts, transport_damage: self.rng.random_bool(0.2), ..item });
                    if travels {
                        arrived.push(place);
                        expected.push(Ok(claim.clone()));
                    } else {
                        predicted = Err("WRONG_STATE");
                    }
                }
            }
        }
        if self.rng.random_bool(0.25) {
            let stray = self.units.choose(&mut self.rng).unwrap().serial.clone();
            let twice = items.iter().any(|item| item.serial == stray);
            predicted = if twice { Err("INVALID_FIELDS") } else { predicted };
            items.push(ReceivedItem { serial: stray, ..Default::default() });
            expected.push(Err(Difference::Unannounced));
        }
        // One unit has one open record.
        if items.iter().zip(&expected).any(|(item, became)| became.is_err() && self.keeps(&item.serial)) {
            predicted = predicted.and(Err("INVALID_FIELDS"));
        }
        if items.is_empty() {
            return None;
        }
        let request = ReceiveReturnRequest {
            request_id: id(),
            shipment_id: parcel.id.clone(),
            items: items.clone(),
            ..Default::default()
        };
        let Some(done) = self.tell("Receive of several", Ask::Receive(request), predicted).await else {
            return Some(());
        };
        let reply = ReceiveReturnResponse::decode(&done.reply[..]).unwrap();
        let mut found = Vec::new();
        for (became, item) in reply.results.into_iter().zip(&items) {
            found.push(match became.result.unwrap() {
                Became::ClaimId(claim) => Ok(claim),
                Became::SetAside(aside) => {
                    let (serial, settled) = (item.serial.clone(), Settlement::Unspecified);
                    let (id, came_in) = (aside.set_aside_id.clone(), parcel.id.clone());
                    self.aside.push(Aside { id, came_in, serial, version: 1, settled });
                    Err(aside.difference())
                }
            });
        }
        assert_eq!(found, expected);
        for place in arrived {
            self.became(place, &Act::Receive, ClaimState::Received, &done, "");
        }
        Some(())
    }

    /// Whether a unit is set aside, and not settled for good.
    fn keeps(&self, serial: &str) -> bool {
        let open = |aside: &Aside| matches!(aside.settled, Settlement::Unspecified | Settlement::Kept);
        self.aside.iter().any(|aside| aside.serial == serial && open(aside))
    }

    pub async fn settle_set_aside(&mut self) -> Option<()> {
        let open = |aside: &&Aside| matches!(aside.settled, Settlement::Unspecified | Settlement::Kept);
        let mut among: Vec<_> = self.aside.iter().filter(open).cloned().collect();
        if self.rng.random_bool(0.1) {
            among.clone_from(&self.aside);
        }
        let aside = among.choose(&mut self.rng)?.clone();
        let how = *[Settlement::Claim, Settlement::Claim, Settlement::Returned, Settlement::Kept]
            .choose(&mut self.rng)
            .unwrap();
        let claimed = self.places(|_| true);
        let by_serial = claimed.iter().copied().find(|at| self.units[*at].serial == aside.serial);
        let place =
            by_serial.filter(|_| self.rng.random_bool(0.8)).or_else(|| claimed.choose(&mut self.rng).copied())?;
        let read_again = by_serial != Some(place) && self.rng.random_bool(0.7);
        let stale = self.rng.random_bool(0.05);
        let (serial, model) = (self.units[place].serial.clone(), self.claim_at(place).clone());
        let fits = read_again || serial == aside.serial;
        let waits = match model.state {
            ClaimState::Authorized | ClaimState::Swapped => model.inbound.is_empty(),
            _ => model.travels_in(&model.inbound),
        };
        let predicted = match aside.settled {
            _ if stale => Err("VERSION_MISMATCH"),
            Settlement::Claim | Settlement::Returned => Err("SET_ASIDE_SETTLED"),
            Settlement::Kept if how == Settlement::Kept => Err("SET_ASIDE_SETTLED"),
            _ if how != Settlement::Claim => Ok(()),
            _ if !waits => Err("WRONG_STATE"),
            _ if !fits => Err("SERIAL_MISMATCH"),
            _ => Ok(()),
        };
        let of_a_claim = how == Settlement::Claim;
        let request = SettleSetAsideRequest {
            request_id: id(),
            set_aside_id: aside.id.clone(),
            version: if stale { aside.version + 7 } else { [0, aside.version][self.rng.random_range(0..2)] },
            settlement: how.into(),
            claim_id: if of_a_claim { model.id } else { String::new() },
            serial: if of_a_claim && read_again { serial } else { String::new() },
            reason: "as told".into(),
        };
        let name = format!("Settle as {}", how.as_str_name().trim_start_matches("SETTLEMENT_"));
        let Some(done) = self.tell(&name, Ask::Settle(request), predicted).await else { return Some(()) };
        let settled = self.aside.iter_mut().find(|known| known.id == aside.id).unwrap();
        (settled.version, settled.settled) = (settled.version + 1, how);
        if of_a_claim {
            if self.claim_at(place).inbound.is_empty() {
                let opened = Done { shipment: aside.came_in.clone(), ..Done::default() };
                self.became(place, &Act::OpenReturn, ClaimState::InTransit, &opened, "");
                let joined = self.claim_at(place).id.clone();
                let parcel = self.parcels.iter_mut().find(|parcel| parcel.id == aside.came_in).unwrap();
                parcel.claims.push(joined);
            }
            self.became(place, &Act::Receive, ClaimState::Received, &done, "");
            let (model, told) = (self.claim_at(place), done.claim.unwrap());
            assert_eq!((told.state(), told.version), (model.state, model.version));
        }
        Some(())
    }

    /// Which claims of a parcel are meant: some by name, or those on their way, and where none is, all.
    fn meant(&mut self, parcel: &Parcel) -> (Vec<String>, Vec<usize>) {
        let places: Vec<_> = parcel.claims.iter().map(|claim| self.place_of(claim).unwrap()).collect();
        if self.rng.random_bool(0.5) {
            let meant = self.some_of(places, parcel.claims.len());
            return (meant.iter().map(|at| self.claim_at(*at).id.clone()).collect(), meant);
        }
        let travels = |at: &usize| {
            let claim = self.claim_at(*at);
            claim.travels_in(&parcel.id) && claim.state != ClaimState::Lost
        };
        let on_their_way: Vec<_> = places.iter().copied().filter(travels).collect();
        (Vec::new(), if on_their_way.is_empty() { places } else { on_their_way })
    }

    pub async fn lose(&mut self) -> Option<()> {
        let at = self.a_parcel(None)?;
        let parcel = self.parcels[at].clone();
        let (mut claim_ids, meant) = self.meant(&parcel);
        let lost = |at: &usize| {
            let claim = self.claim_at(*at);
            claim.travels_in(&parcel.id) && claim.state != ClaimState::Lost
        };
        let mut predicted = if meant.iter().all(lost) { Ok(()) } else { Err("WRONG_STATE") };
        if self.rng.random_bool(0.1) {
            claim_ids = vec![self.foreign()?];
            predicted = Err("INVALID_FIELDS");
        }
        let request =
            RecordLossRequest { request_id: id(), shipment_id: parcel.id, claim_ids, reason: "as told".into() };
        if self.tell("Lose", Ask::Lose(request), predicted).await.is_some() {
            for at in meant {
                self.events += 1;
                let claim = self.units[at].claim.as_mut().unwrap();
                (claim.state, claim.version) = (ClaimState::Lost, claim.version + 1);
            }
        }
        Some(())
    }

    pub async fn dispatch_several(&mut self) -> Option<()> {
        let fit = self.places(|claim| claim.state == ClaimState::Ready || claim.is_lost_on_its_way_out());
        let places = self.some_of(fit, 3);
        let (by, mut items, mut given) = (self.by(), Vec::new(), Vec::new());
        let mut predicted = Ok(());
        for at in &places {
            let claim = self.claim_at(*at).clone();
            let names = claim.owes_a_unit() || claim.state == ClaimState::Lost && self.rng.random_bool(0.5);
            let mut serial = String::new();
            let mut expected = self.units[*at].predict(&Act::Dispatch { names }, by)?.map(drop);
            if names {
                let may;
                (serial, may) = self.pick_given(&claim.id, false).await;
                if given.contains(&serial) {
                    return None;
                }
                if !may && expected == Ok(()) {
                    expected = Err("UNIT_NOT_GIVABLE");
                }
            }
            predicted = predicted.and(expected);
            items.push(DispatchItem { claim_id: claim.id, given_serial: serial.clone() });
            given.push(serial);
        }
        if items.is_empty() {
            return None;
        }
        if self.rng.random_bool(0.08) {
            items.push(DispatchItem { claim_id: self.foreign()?, given_serial: String::new() });
            predicted = Err("MIXED_PARCEL");
        }
        let (request_id, carrier, tracking_number) = (id(), "SF".into(), self.number());
        let request = DispatchOutboundRequest {
            request_id,
            items,
            carrier,
            tracking_number: tracking_number.clone(),
            ..Default::default()
        };
        if let Some(done) = self.tell("Dispatch of several", Ask::Dispatch(request), predicted).await {
            for (at, serial) in places.into_iter().zip(&given) {
                let act = Act::Dispatch { names: !serial.is_empty() };
                self.became(at, &act, ClaimState::Dispatched, &done, serial);
            }
            self.parcels.push(Parcel::of(&done, &Act::Dispatch { names: false }, &tracking_number));
        }
        Some(())
    }

    pub async fn deliver_several(&mut self) -> Option<()> {
        let at = self.a_parcel(Some(false))?;
        let parcel = self.parcels[at].clone();
        let (claim_ids, meant) = self.meant(&parcel);
        let all = meant.iter().all(|at| self.claim_at(*at).travels_in(&parcel.id));
        let predicted = if all { Ok(()) } else { Err("WRONG_STATE") };
        let request = ConfirmDeliveryRequest { request_id: id(), shipment_id: parcel.id, claim_ids };
        if let Some(done) = self.tell("Deliver of several", Ask::Deliver(request), predicted).await {
            for at in meant {
                self.became(at, &Act::Deliver, ClaimState::Closed, &done, "");
            }
        }
        Some(())
    }
}
