//! Steps of a claim that turn on money and dispute: quotes (P1), payment, appeals, contradicting vouchers (M1).

use chrono::NaiveDate;
use uuid::Uuid;

use super::{
    claim::{Action, AppealOutcome, Charge, Claim, Goodwill, State, VoucherVerdict},
    claim_steps::not_none,
    coverage::{Decision, Remedy},
    event::{Event, Ruling, Stage},
    money::Fen,
    refusal::Refusal,
};

impl Claim {
    /// A quote is issued; one that was issued before is superseded.
    pub fn issue_quote(&self, quote_id: Uuid, charge: Charge) -> Result<Event, Refusal> {
        self.allow(Action::Quote)?;
        self.no_open_appeal()?;
        Ok(Event::Quoted { quote_id, charge })
    }

    /// The quote is accepted, until the last day of the state, which is the quote's.
    pub fn accept_quote(&self, quote_id: Uuid, today: NaiveDate) -> Result<Event, Refusal> {
        self.allow(Action::AcceptQuote)?;
        self.is_current(quote_id, today)?;
        Ok(Event::QuoteAccepted { quote_id })
    }

    /// The quote is declined, until its last day.
    pub fn decline_quote(&self, quote_id: Uuid, today: NaiveDate, reason: Option<String>) -> Result<Event, Refusal> {
        self.allow(Action::DeclineQuote)?;
        self.is_current(quote_id, today)?;
        Ok(Event::QuoteDeclined { quote_id, reason })
    }

    fn is_current(&self, quote_id: Uuid, today: NaiveDate) -> Result<(), Refusal> {
        self.no_open_appeal()?;
        match (&self.state, self.overdue_since(today)) {
            (State::Quoted(current), _) if *current != quote_id => Err(Refusal::QuoteNotCurrent { current: *current }),
            (_, Some(on)) => Err(Refusal::QuoteExpired { on }),
            _ => Ok(()),
        }
    }

    /// The last day of its state, where that is over.
    fn overdue_since(&self, today: NaiveDate) -> Option<NaiveDate> {
        self.due_on().filter(|due| today > *due)
    }

    /// What the clock does to it: a quote that nobody decided expires, and an authorization lapses. None where it does nothing.
    pub fn run_out(&self, today: NaiveDate) -> Option<Event> {
        self.overdue_since(today)?;
        match self.state {
            State::Quoted(quote_id) if !self.appeal_is_open() => Some(Event::QuoteExpired { quote_id }),
            State::Authorized => Some(Event::Lapsed {}),
            _ => None,
        }
    }

    /// A unit in paid service cannot be repaired: nothing is charged.
    pub fn beyond_repair(&self, reason: String) -> Result<Event, Refusal> {
        self.allow(Action::DeclareBeyondRepair)?;
        match self.gives() {
            Remedy::PaidService => Ok(Event::BeyondRepair { reason }),
            remedy => Err(Refusal::RemedyMismatch { remedy }),
        }
    }

    /// What is charged was paid, whole.
    pub fn pay(&self, amount: Fen, reference: String) -> Result<Event, Refusal> {
        if self.paid {
            return Err(Refusal::AlreadyPaid);
        }
        let charged = self.owed().ok_or(Refusal::NothingCharged)?.total;
        self.allow(Action::RecordPayment)?;
        match amount.cmp(&charged) {
            std::cmp::Ordering::Less => Err(Refusal::PaymentPartial { charged }),
            std::cmp::Ordering::Greater => Err(Refusal::PaymentExcess { charged }),
            std::cmp::Ordering::Equal => Ok(Event::Paid { reference }),
        }
    }

    /// Whether what is ready may leave: a charged repair is paid, or the dealer has credit terms; no appeal waits.
    pub fn may_leave(&self, credit_terms: bool) -> Result<(), Refusal> {
        self.no_open_appeal()?;
        match self.owed() {
            Some(charge) if !credit_terms => Err(Refusal::NotPaid { charged: charge.total }),
            _ => Ok(()),
        }
    }

    /// While an appeal waits for staff, nothing is quoted, done to the unit, or sent.
    pub(super) fn no_open_appeal(&self) -> Result<(), Refusal> {
        if self.appeal_is_open() { Err(Refusal::AppealOpen) } else { Ok(()) }
    }

    /// Whoever filed it appeals, once, against the decision at inspection.
    pub fn appeal(&self, reason: String, today: NaiveDate) -> Result<Event, Refusal> {
        if self.appeal.is_some() {
            return Err(Refusal::AppealedBefore);
        }
        self.allow(Action::Appeal)?;
        // An appeal keeps a quote waiting; it does not bring back one whose time passed.
        if let (State::Quoted(_), Some(on)) = (&self.state, self.overdue_since(today)) {
            return Err(Refusal::QuoteExpired { on });
        }
        if !self.may_be_appealed() {
            return Err(self.wrong_state(Action::Appeal));
        }
        Ok(Event::Appealed { reason })
    }

    /// Staff upholds the decision, or overrides it: `goodwill` exactly where overridden.
    pub fn decide_appeal(&self, reason: String, goodwill: Option<Goodwill>) -> Result<Event, Refusal> {
        if !self.appeal_is_open() {
            return Err(Refusal::NoAppeal);
        }
        self.allow(Action::DecideAppeal)?;
        let outcome = if goodwill.is_some() { AppealOutcome::Overridden } else { AppealOutcome::Upheld };
        Ok(Event::AppealDecided { outcome, reason, goodwill })
    }

    /// Support settles what a voucher contradicts; `decision` is made anew, with the sale as it is registered by now.
    pub fn settle_dispute(
        &self,
        verdict: VoucherVerdict,
        reason: String,
        decision: &Decision,
    ) -> Result<Event, Refusal> {
        if self.open_dispute().is_none() {
            return Err(Refusal::NoDispute);
        }
        self.allow(Action::SettleVoucherDispute)?;
        not_none(decision)?;
        Ok(Event::VoucherDisputeSettled { verdict, reason, ruling: Ruling::of(Stage::Provisional, decision) })
    }
}
