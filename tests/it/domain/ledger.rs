//! What the maker owes after a swap.

use warranty::domain::{coverage::Remedy, ledger::Owed};

#[test]
fn what_the_maker_owes_by_each_decision() {
    for (remedy, owed) in [
        (Remedy::DirectReplacement, Owed::GoodUnit),
        (Remedy::FreeRepair, Owed::OldUnitRepaired),
        (Remedy::PaidService, Owed::OldUnit),
        (Remedy::ReturnAsIs, Owed::OldUnit),
        (Remedy::PurchaseSeparately, Owed::OldUnit),
        (Remedy::AccessoryReplacement, Owed::OldUnit),
        (Remedy::None, Owed::OldUnit),
    ] {
        assert_eq!(Owed::by(remedy), owed, "{remedy}");
        assert!(owed.why(Some(remedy)).starts_with(&format!("{remedy} after a swap")));
    }
}
