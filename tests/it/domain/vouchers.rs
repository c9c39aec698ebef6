//! Who may apply with which voucher.

use chrono::NaiveDate;
use uuid::Uuid;
use warranty::domain::{actor::Actor, event::Vouchers, refusal::Refusal, vouchers::*};

fn vouchers(invoice: &str, card: &str) -> Vouchers {
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Vouchers { invoice_number: given(invoice), warranty_card_number: given(card), invoice_date: None }
}

#[test]
fn who_may_apply_with_what() {
    let buyer = Uuid::from_u128(7);
    let sold_on = NaiveDate::from_ymd_opt(2026, 6, 1).unwrap();
    let sale = |vouchers| Some(RegisteredSale { dealer_id: "D1".into(), customer_id: Some(buyer), sold_on, vouchers });
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
