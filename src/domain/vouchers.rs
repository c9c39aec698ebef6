//! Who may apply for a unit, and with which vouchers (M1, M2).

use chrono::NaiveDate;
use uuid::Uuid;

use super::{
    actor::Actor, claim::VoucherDispute, claim_steps::not_none, coverage::Decision, event::Vouchers, refusal::Refusal,
};

/// What a registered sale says of its seller, its buyer and its vouchers.
#[derive(Clone, Debug)]
pub struct RegisteredSale {
    /// The dealer who registered it.
    pub dealer_id: String,
    /// Who bought it.
    pub customer_id: Option<Uuid>,
    /// The day.
    pub sold_on: NaiveDate,
    /// Its vouchers.
    pub vouchers: Vouchers,
}

/// Whether an applicant may apply, and whether that is verified. The seller and the buyer need no voucher; anyone else gives one
/// that equals the registered sale's. Where no sale is registered it is kept as given, unverified.
pub fn verify(applicant: &Actor, given: &Vouchers, sale: Option<&RegisteredSale>) -> Result<bool, Refusal> {
    let party = sale.is_some_and(|sale| match applicant {
        Actor::Dealer(id) => *id == sale.dealer_id,
        Actor::Customer(id) => Some(*id) == sale.customer_id,
        Actor::Staff(_) | Actor::Worker(_) => false,
    });
    if party {
        return Ok(true);
    }
    if given.invoice_number.is_none() && given.warranty_card_number.is_none() {
        return Err(Refusal::VoucherRequired);
    }
    let Some(sale) = sale else { return Ok(false) };
    let equals = |given: &Option<String>, registered: &Option<String>| given.is_none() || given == registered;
    let right = equals(&given.invoice_number, &sale.vouchers.invoice_number)
        && equals(&given.warranty_card_number, &sale.vouchers.warranty_card_number);
    if right { Ok(true) } else { Err(Refusal::VoucherMismatch) }
}

/// What an invoice's day contradicts: support settles it (M1). Whose vouchers are not right is told nothing of the sale.
pub fn dispute(applicant: &Actor, given: &Vouchers, sale: Option<&RegisteredSale>) -> Option<VoucherDispute> {
    verify(applicant, given, sale).ok()?;
    let (given_on, sale) = (given.invoice_date?, sale?);
    let by_seller = applicant.dealer_id() == Some(sale.dealer_id.as_str());
    let dispute = VoucherDispute { given_on, registered_on: sale.sold_on, by_seller, verdict: None };
    (given_on != sale.sold_on).then_some(dispute)
}

/// What is known of a unit, its coverage apart, and of who would claim for it.
#[derive(Clone, Debug)]
pub struct Prospect {
    /// Whether the applicant may apply: a dealer only while active.
    pub dealer_is_active: bool,
    /// Whether anyone is known to have an open claim for the unit: a preview asks, and filing comes upon the constraint.
    pub has_open_claim: bool,
    /// Whether the unit stands in the maker's stock: then nobody has it to claim for.
    pub is_in_stock: bool,
    /// Whether the customer that the applicant names by number is one of its own.
    pub customer_is_known: bool,
    /// The sale of the unit's original (T5).
    pub sale: Option<RegisteredSale>,
}

/// What stands in the way of a claim that would be decided so, in the order of its refusal: the first is what filing is told.
/// Another's open claim is told to those alone who could come upon it by filing.
pub fn obstacles(applicant: &Actor, given: &Vouchers, prospect: &Prospect, decision: &Decision) -> Vec<Refusal> {
    let holds = |holds: bool, refusal| if holds { Ok(()) } else { Err(refusal) };
    let verified = verify(applicant, given, prospect.sale.as_ref());
    let may_ask = prospect.dealer_is_active && verified.is_ok();
    let judged = [
        holds(prospect.dealer_is_active, Refusal::DealerNotActive),
        verified.map(drop),
        not_none(decision),
        holds(!(prospect.has_open_claim && may_ask), Refusal::OpenClaimExists),
    ];
    judged.into_iter().filter_map(Result::err).collect()
}
