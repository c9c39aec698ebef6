//! Who may apply for a unit, and with which vouchers (M1, M2).

use chrono::NaiveDate;
use uuid::Uuid;

use super::{actor::Actor, claim::VoucherDispute, event::Vouchers, refusal::Refusal};

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

/// What an invoice's day contradicts: support settles it (M1).
pub fn dispute(given: &Vouchers, sale: Option<&RegisteredSale>) -> Option<VoucherDispute> {
    let (given_on, registered_on) = (given.invoice_date?, sale?.sold_on);
    (given_on != registered_on).then_some(VoucherDispute { given_on, registered_on, verdict: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vouchers(invoice: &str, card: &str) -> Vouchers {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Vouchers { invoice_number: given(invoice), warranty_card_number: given(card), invoice_date: None }
    }

    #[test]
    fn who_may_apply_with_what() {
        let buyer = Uuid::from_u128(7);
        let sold_on = NaiveDate::from_ymd_opt(2026, 6, 1).unwrap();
        let sale =
            |vouchers| Some(RegisteredSale { dealer_id: "D1".into(), customer_id: Some(buyer), sold_on, vouchers });
        let (seller, other) = (Actor::Dealer("D1".into()), Actor::Dealer("D2".into()));
        let (bought, stranger) = (Actor::Customer(buyer), Actor::Customer(Uuid::from_u128(8)));
        for (who, given, registered, verdict) in [
            (&seller, vouchers("", ""), sale(vouchers("F1", "")), Ok(true)),
            (&bought, vouchers("", ""), sale(vouchers("", "")), Ok(true)),
            (&other, vouchers("", ""), sale(vouchers("F1", "")), Err(Refusal::VoucherRequired)),
            (&other, vouchers("F1", ""), sale(vouchers("F1", "C1")), Ok(true)),
            (&other, vouchers("", "C1"), sale(vouchers("F1", "C1")), Ok(true)),
            (&other, vouchers("F1", "C2"), sale(vouchers("F1", "C1")), Err(Refusal::VoucherMismatch)),
            (&other, vouchers("F2", ""), sale(vouchers("F1", "")), Err(Refusal::VoucherMismatch)),
            (&other, vouchers("F1", ""), sale(vouchers("", "C1")), Err(Refusal::VoucherMismatch)),
            (&stranger, vouchers("F1", ""), sale(vouchers("F1", "")), Ok(true)),
            (&stranger, vouchers("", ""), None, Err(Refusal::VoucherRequired)),
            (&other, vouchers("F9", ""), None, Ok(false)),
        ] {
            assert_eq!(verify(who, &given, registered.as_ref()), verdict, "{who} {given:?} {registered:?}");
        }
    }
}
