//! What staff does about debts: limits, netting, writing off.

use rand::{Rng, seq::IndexedRandom};
use warranty::contract::v1::*;

use super::{
    Actor, Ask,
    model::{Model, Owing},
};
use crate::world::id;

impl Actor<'_> {
    pub async fn limit_debts(&mut self) -> Option<()> {
        let limit = self.rng.random_bool(0.3).then(|| self.rng.random_range(1..4));
        let request = SetDealerDebtLimitRequest {
            request_id: id(),
            dealer_id: format!("S{}", self.number),
            debt_limit: limit,
            version: 0,
        };
        self.tell("Limit", Ask::Limit(request), Ok(())).await;
        self.limit = limit.map(|limit| limit as usize);
        Some(())
    }

    /// Claims with a swap, mostly; else any.
    fn a_claim(&mut self) -> Option<usize> {
        let swapped = |at: &usize| self.units[*at].claim.as_ref().is_some_and(|claim| claim.swapped);
        let claimed: Vec<_> = (0..self.units.len()).filter(|at| self.units[*at].claim.is_some()).collect();
        let with: Vec<_> = claimed.iter().copied().filter(swapped).collect();
        let among = if with.is_empty() || self.rng.random_bool(0.1) { claimed } else { with };
        among.choose(&mut self.rng).copied()
    }

    fn claim(&self, at: usize) -> &Model {
        self.units[at].claim.as_ref().unwrap()
    }

    pub async fn write_off(&mut self) -> Option<()> {
        let at = self.a_claim()?;
        let debtor = *[Debtor::Dealer, Debtor::Dealer, Debtor::Maker].choose(&mut self.rng).unwrap();
        let claim = self.claim(at);
        let owing = if debtor == Debtor::Dealer { claim.dealer_owes } else { claim.maker_owes };
        let predicted = closable(owing).and(if debtor == Debtor::Maker { ends(claim) } else { Ok(()) });
        let debt = Some(DebtName { claim_id: claim.id.clone(), debtor: debtor.into() });
        let request = WriteOffDebtRequest { request_id: id(), debt, reason: "lost in a flood".into() };
        if self.tell("WriteOff", Ask::WriteOff(request), predicted).await.is_some() {
            let claim = self.units[at].claim.as_mut().unwrap();
            let owing = if debtor == Debtor::Dealer { &mut claim.dealer_owes } else { &mut claim.maker_owes };
            Owing::close(owing);
            match debtor {
                Debtor::Maker => self.settled(at),
                _ => self.waited_for_no_more(at),
            }
        }
        Some(())
    }

    /// What the maker owed is given up: nothing goes out any more.
    fn settled(&mut self, at: usize) {
        self.ended(at);
        self.shelf.keep_replaced(&self.units[at].serial);
    }

    /// What a dealer owed is given up: what it has not sent in is not waited for.
    fn waited_for_no_more(&mut self, at: usize) {
        if self.claim(at).state == ClaimState::Swapped {
            self.ended(at);
        }
    }

    fn ended(&mut self, at: usize) {
        self.events += 1;
        let claim = self.units[at].claim.as_mut().unwrap();
        (claim.state, claim.outcome, claim.version) = (ClaimState::Closed, ClaimOutcome::Settled, claim.version + 1);
    }

    /// A claim whose faulty unit is owed, and one that a good unit is owed for, by their places.
    pub fn matching(&self) -> Option<(usize, usize)> {
        let with = |owes: &dyn Fn(&Model) -> Option<Owing>, good_unit| {
            let is_open = |claim| owes(claim).is_some_and(|owing| owing.open && owing.good_unit == good_unit);
            (0..self.units.len()).find(|at| self.units[*at].claim.as_ref().is_some_and(is_open))
        };
        with(&|claim| claim.dealer_owes, false).zip(with(&|claim| claim.maker_owes, true))
    }

    pub async fn net(&mut self) -> Option<()> {
        let (dealers, makers) = match self.matching() {
            Some(matching) if self.rng.random_bool(0.7) => matching,
            _ => (self.a_claim()?, self.a_claim()?),
        };
        let (owed, owing) = (self.claim(dealers).dealer_owes, self.claim(makers).maker_owes);
        let predicted = match (owed, owing) {
            (None, _) | (_, None) => Err("NOT_FOUND"),
            (_, Some(owing)) if !owing.good_unit => Err("DEBTS_DO_NOT_MATCH"),
            _ => closable(owed).and(closable(owing)).and(ends(self.claim(makers))),
        };
        let request = NetDebtsRequest {
            request_id: id(),
            dealer_claim_id: self.claim(dealers).id.clone(),
            maker_claim_id: self.claim(makers).id.clone(),
            reason: "one for one".into(),
        };
        if self.tell("Net", Ask::Net(request), predicted).await.is_some() {
            Owing::close(&mut self.units[dealers].claim.as_mut().unwrap().dealer_owes);
            Owing::close(&mut self.units[makers].claim.as_mut().unwrap().maker_owes);
            self.waited_for_no_more(dealers);
            self.settled(makers);
        }
        Some(())
    }
}

/// Whether the claim that the maker owes for may end.
fn ends(claim: &Model) -> Result<(), &'static str> {
    match (claim.state, claim.appeal) {
        (ClaimState::Ready, 1) => Err("APPEAL_OPEN"),
        (ClaimState::Ready, _) => Ok(()),
        _ => Err("WRONG_STATE"),
    }
}

fn closable(owing: Option<Owing>) -> Result<(), &'static str> {
    match owing {
        None => Err("NOT_FOUND"),
        Some(owing) if !owing.open => Err("DEBT_CLOSED"),
        Some(_) => Ok(()),
    }
}
