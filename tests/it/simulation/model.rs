//! The model of a claim and its unit: what each act leads to, or is refused with, said a second time.

use warranty::contract::v1::*;

use super::calls::Done;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Sold in these days: replaced.
    Fresh,
    /// In its year, or in the months after a repair: repaired free.
    Covered,
    /// Paid for.
    Old,
}

#[derive(Clone, Debug)]
pub struct Unit {
    pub serial: String,
    pub kind: Kind,
    pub superseded: bool,
    /// The claim that it has, or had last.
    pub claim: Option<Model>,
}

#[derive(Clone, Debug)]
pub struct Model {
    pub id: String,
    pub state: ClaimState,
    pub version: i64,
    pub gives: Remedy,
    pub outcome: ClaimOutcome,
    pub confirmed: bool,
    pub swapped: bool,
    pub goodwill: bool,
    pub names_owed: bool,
    /// None, open, decided.
    pub appeal: u8,
    pub quotes: Vec<String>,
    pub charge: i64,
    pub paid: bool,
    pub return_number: String,
    pub inbound: String,
    pub outbound: String,
    /// The debts of a swap.
    pub dealer_owes: Option<Owing>,
    pub maker_owes: Option<Owing>,
}

/// What one side owes the other, or owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owing {
    pub good_unit: bool,
    pub open: bool,
}

impl Owing {
    pub fn began(good_unit: bool) -> Option<Self> {
        Some(Self { good_unit, open: true })
    }

    pub fn close(owing: &mut Option<Self>) {
        if let Some(owing) = owing {
            owing.open = false;
        }
    }
}

#[derive(Clone, Debug, strum::IntoStaticStr)]
pub enum Act {
    File,
    Guide(GuidanceOutcome),
    Cancel,
    Swap,
    OpenReturn,
    Receive,
    Inspect { seal_broken: bool },
    Quote,
    Accept { current: bool },
    Decline { current: bool },
    Repair,
    Replace,
    BeyondRepair,
    Appeal,
    Decide(Option<Remedy>),
    Dispatch { names: bool },
    Deliver,
    CloseLost,
    Pay { more: i64 },
}

/// Every action with each of its choices; more often what leads on.
pub fn acts() -> Vec<Act> {
    use GuidanceOutcome as G;
    let often =
        [Act::Guide(G::Confirmed), Act::OpenReturn, Act::Swap, Act::Accept { current: true }, Act::Pay { more: 0 }];
    let mut acts = vec![Act::File, Act::Cancel, Act::Swap, Act::OpenReturn, Act::Receive, Act::Quote, Act::Repair];
    acts.extend([G::Waived, G::Solved, G::Rejected].map(Act::Guide));
    acts.extend(often.iter().cycle().take(4 * often.len()).cloned());
    // Few claims may be swapped, and debts hang on those.
    acts.extend(vec![Act::Swap; 16]);
    acts.extend([true, false].map(|seal_broken| Act::Inspect { seal_broken }));
    acts.push(Act::Accept { current: false });
    acts.extend([true, false].map(|current| Act::Decline { current }));
    acts.extend([Act::Replace, Act::BeyondRepair, Act::Appeal, Act::Deliver, Act::CloseLost]);
    acts.extend([None, Some(Remedy::FreeRepair), Some(Remedy::DirectReplacement)].map(Act::Decide));
    acts.extend([true, false].map(|names| Act::Dispatch { names }));
    acts.extend([1, -1].map(|more| Act::Pay { more }));
    acts
}

/// Who acts: a dealer, with credit terms, who owes as many units as it may.
#[derive(Clone, Copy, Debug)]
pub struct By {
    pub dealer: bool,
    pub credit: bool,
    pub at_its_limit: bool,
}

impl Unit {
    /// The state that the act leads to, or the reason that it is refused with; none where the call has nothing to name.
    pub fn predict(&self, act: &Act, by: By) -> Option<Result<ClaimState, &'static str>> {
        use ClaimState as S;
        if let Act::File = act {
            return Some(match &self.claim {
                _ if self.superseded => Err("UNIT_SUPERSEDED"),
                Some(claim) if !claim.is_over() => Err("OPEN_CLAIM_EXISTS"),
                _ => Ok(S::Filed),
            });
        }
        let claim = self.claim.as_ref()?;
        let allowed = match claim.states_for(act, by.dealer)? {
            Ok(states) => states,
            Err(reason) => return Some(Err(reason)),
        };
        if !allowed.contains(&claim.state) {
            return Some(Err("WRONG_STATE"));
        }
        let (paid_service, waits) = (claim.gives == Remedy::PaidService, claim.appeal == 1);
        let owes_a_unit = claim.owes_a_unit();
        Some(match act {
            Act::Guide(GuidanceOutcome::Solved) => Ok(S::Resolved),
            Act::Guide(GuidanceOutcome::Rejected) => Ok(S::Rejected),
            Act::Guide(_) => Ok(S::Authorized),
            Act::Swap if !claim.confirmed => Err("FAULT_NOT_CONFIRMED"),
            Act::Swap if self.kind != Kind::Fresh => Err("REMEDY_MISMATCH"),
            Act::Swap if by.at_its_limit => Err("LEDGER_LIMIT"),
            Act::Quote
            | Act::Accept { .. }
            | Act::Decline { .. }
            | Act::Repair
            | Act::Replace
            | Act::Dispatch { .. }
                if waits =>
            {
                Err("APPEAL_OPEN")
            }
            Act::Accept { current: false } | Act::Decline { current: false } => Err("QUOTE_NOT_CURRENT"),
            Act::Repair if claim.gives == Remedy::DirectReplacement => Err("REMEDY_MISMATCH"),
            Act::Replace if paid_service => Err("REMEDY_MISMATCH"),
            Act::BeyondRepair if !paid_service => Err("REMEDY_MISMATCH"),
            Act::Dispatch { .. } if claim.is_charged() && !claim.paid && !by.credit => Err("NOT_PAID"),
            Act::Dispatch { names } if claim.state == S::Ready && *names != owes_a_unit => Err("UNIT_NOT_GIVABLE"),
            Act::Pay { more } if *more < 0 => Err("PAYMENT_PARTIAL"),
            Act::Pay { more } if *more > 0 => Err("PAYMENT_EXCESS"),
            Act::Inspect { seal_broken } => Ok(match (self.kind, claim.swapped) {
                _ if *seal_broken => S::Inspected,
                (Kind::Old, _) => S::Inspected,
                (Kind::Fresh, true) => S::Ready,
                _ => S::InRepair,
            }),
            Act::File => Ok(S::Filed),
            Act::Cancel => Ok(S::Cancelled),
            Act::Swap => Ok(S::Swapped),
            Act::OpenReturn => Ok(S::InTransit),
            Act::Receive => Ok(S::Received),
            Act::Quote => Ok(S::Quoted),
            Act::Accept { .. } => Ok(S::InRepair),
            Act::Decline { .. } | Act::Repair | Act::Replace | Act::BeyondRepair => Ok(S::Ready),
            Act::Decide(Some(_)) => Ok(S::InRepair),
            Act::Dispatch { .. } => Ok(S::Dispatched),
            Act::Deliver | Act::CloseLost => Ok(S::Closed),
            Act::Appeal | Act::Decide(None) | Act::Pay { .. } => Ok(claim.state),
        })
    }

    /// The unit after the act was done; `given` is the unit that took its place, where one did.
    #[allow(clippy::too_many_lines)] // One flat match.
    pub fn become_(&mut self, act: &Act, state: ClaimState, done: &Done) {
        if let Act::File = act {
            let id = done.claim.as_ref().unwrap().claim_id.clone();
            self.claim = Some(Model::filed(id));
            return;
        }
        let claim = self.claim.as_mut().unwrap();
        let was_lost = claim.state == ClaimState::Lost;
        (claim.state, claim.version) = (state, claim.version + 1);
        let from_kind = match self.kind {
            Kind::Fresh => Remedy::DirectReplacement,
            Kind::Covered => Remedy::FreeRepair,
            Kind::Old => Remedy::PaidService,
        };
        match act {
            Act::Guide(outcome) => {
                claim.confirmed = *outcome == GuidanceOutcome::Confirmed;
                claim.return_number = done.claim.as_ref().unwrap().return_number.clone();
            }
            Act::Swap => {
                (claim.swapped, self.superseded) = (true, true);
                claim.dealer_owes = Owing::began(false);
            }
            Act::Receive => Owing::close(&mut claim.dealer_owes),
            Act::OpenReturn => claim.inbound = done.shipment.clone(),
            Act::Inspect { seal_broken } => {
                claim.gives = if *seal_broken { Remedy::PaidService } else { from_kind };
                if claim.swapped {
                    claim.maker_owes = Owing::began(claim.gives == Remedy::DirectReplacement);
                }
                if state == ClaimState::Ready {
                    claim.outcome = ClaimOutcome::Replenishment;
                }
            }
            Act::Quote => {
                claim.quotes.push(done.quote.clone());
                claim.charge = done.total;
            }
            Act::Decline { .. } | Act::BeyondRepair => (claim.outcome, claim.charge) = (ClaimOutcome::AsItCame, 0),
            Act::Repair => {
                claim.outcome = ClaimOutcome::Repaired;
                // Three months of its own (T6, P2), which a repair as goodwill does not open.
                if self.kind == Kind::Old && !claim.goodwill {
                    self.kind = Kind::Covered;
                }
            }
            Act::Replace if claim.swapped => {
                (claim.outcome, claim.names_owed) = (ClaimOutcome::Replenishment, true);
                if claim.gives != Remedy::DirectReplacement {
                    claim.maker_owes = Owing::began(true);
                }
            }
            Act::Replace => (claim.outcome, self.superseded) = (ClaimOutcome::Replaced, true),
            Act::Appeal => claim.appeal = 1,
            Act::Decide(goodwill) => {
                claim.appeal = 2;
                if let Some(remedy) = goodwill {
                    (claim.gives, claim.goodwill, claim.charge, claim.outcome) =
                        (*remedy, true, 0, ClaimOutcome::Unspecified);
                    if claim.swapped {
                        claim.maker_owes = Owing::began(*remedy == Remedy::DirectReplacement);
                    }
                }
            }
            Act::Dispatch { names } => {
                claim.outbound = done.shipment.clone();
                Owing::close(&mut claim.maker_owes);
                if *names && claim.outcome == ClaimOutcome::Replenishment {
                    claim.names_owed = true;
                } else if *names && was_lost {
                    // Another one in place of the unit that was lost carries its warranty on (T5).
                    (claim.outcome, self.superseded) = (ClaimOutcome::Replaced, true);
                }
            }
            Act::CloseLost => {
                claim.outcome = ClaimOutcome::Lost;
                Owing::close(&mut claim.dealer_owes);
            }
            Act::Pay { .. } => claim.paid = true,
            _ => {}
        }
    }
}

impl Model {
    /// Whether the dealer is owed a unit that nobody named yet.
    pub fn owes_a_unit(&self) -> bool {
        self.state == ClaimState::Ready && self.outcome == ClaimOutcome::Replenishment && !self.names_owed
    }

    fn is_charged(&self) -> bool {
        let done = matches!(self.outcome, ClaimOutcome::Repaired | ClaimOutcome::Replaced | ClaimOutcome::Settled);
        done && self.charge > 0
    }

    /// Once there is an outcome, it is on its way out.
    pub fn is_lost_on_its_way_out(&self) -> bool {
        self.state == ClaimState::Lost && self.outcome != ClaimOutcome::Unspecified
    }

    /// Whether it travels in this parcel, or was lost from it.
    pub fn travels_in(&self, parcel: &str) -> bool {
        match self.state {
            ClaimState::InTransit => self.inbound == parcel,
            ClaimState::Dispatched => self.outbound == parcel,
            ClaimState::Lost if self.is_lost_on_its_way_out() => self.outbound == parcel,
            ClaimState::Lost => self.inbound == parcel,
            _ => false,
        }
    }

    /// Whether nothing more is done with it.
    pub fn is_over(&self) -> bool {
        use ClaimState as S;
        matches!(self.state, S::Resolved | S::Rejected | S::Closed | S::Cancelled)
    }

    /// The states that allow an act, or the reason that comes first; none where the call has nothing to name.
    fn states_for(&self, act: &Act, dealer: bool) -> Option<Result<&'static [ClaimState], &'static str>> {
        use ClaimState as S;
        let claim = self;
        let states: &[S] = match act {
            Act::File | Act::Guide(_) => &[S::Filed],
            Act::Cancel => &[S::Filed, S::Authorized],
            Act::Swap if !dealer => return None,
            Act::Swap => &[S::Authorized],
            Act::OpenReturn => &[S::Authorized, S::Swapped],
            // What was given up is set aside when it comes, which parcels know.
            Act::Receive if claim.inbound.is_empty() || claim.outcome == ClaimOutcome::Lost => return None,
            Act::Receive if claim.is_lost_on_its_way_out() => &[],
            Act::Receive => &[S::InTransit, S::Lost],
            Act::Inspect { .. } => &[S::Received],
            Act::Quote => &[S::Inspected, S::Quoted],
            Act::Accept { current } | Act::Decline { current } if claim.quotes.len() < 2 - usize::from(*current) => {
                return None;
            }
            Act::Accept { .. } | Act::Decline { .. } => &[S::Quoted],
            Act::Repair | Act::Replace | Act::BeyondRepair => &[S::InRepair],
            Act::Appeal if claim.appeal > 0 => return Some(Err("APPEALED_BEFORE")),
            Act::Appeal if claim.state == S::Ready && claim.outcome != ClaimOutcome::AsItCame => &[],
            // A price that was agreed on is not appealed against.
            Act::Appeal if claim.state == S::InRepair && claim.charge > 0 => &[],
            Act::Appeal => &[S::Inspected, S::Quoted, S::InRepair, S::Ready],
            Act::Decide(_) if claim.appeal != 1 => return Some(Err("NO_APPEAL")),
            Act::Decide(_) => &[S::Inspected, S::Quoted, S::InRepair, S::Ready],
            Act::Dispatch { .. } if claim.is_lost_on_its_way_out() => &[S::Lost],
            Act::Dispatch { .. } => &[S::Ready],
            Act::Deliver if claim.outbound.is_empty() => return None,
            Act::Deliver => &[S::Dispatched, S::Lost],
            Act::CloseLost => &[S::Lost],
            Act::Pay { .. } if claim.paid => return Some(Err("ALREADY_PAID")),
            Act::Pay { .. } if !claim.is_charged() => return Some(Err("NOTHING_CHARGED")),
            Act::Pay { .. } => &[S::Ready, S::Dispatched, S::Closed, S::Lost],
        };
        Some(Ok(states))
    }

    pub fn filed(id: String) -> Self {
        Self {
            id,
            state: ClaimState::Filed,
            version: 1,
            gives: Remedy::Unspecified,
            outcome: ClaimOutcome::Unspecified,
            confirmed: false,
            swapped: false,
            goodwill: false,
            names_owed: false,
            appeal: 0,
            quotes: Vec::new(),
            charge: 0,
            paid: false,
            return_number: String::new(),
            inbound: String::new(),
            outbound: String::new(),
            dealer_owes: None,
            maker_owes: None,
        }
    }
}
