//! The contracts number the domain's enums from 1 in the domain's order: checked name by name.

use std::fmt::Display;

use strum::IntoEnumIterator;
use warranty::{contract::v1, domain};

/// Every value of `D`, and the contract's name for its number.
fn same<D: IntoEnumIterator + Display>(prefix: &str, name_of: impl Fn(i32) -> Option<&'static str>) {
    let mut number = 0;
    for value in D::iter() {
        number += 1;
        assert_eq!(name_of(number), Some(format!("{prefix}{value}").as_str()));
    }
    assert_eq!(name_of(number + 1), None, "{prefix} has a value that the domain does not know");
}

#[test]
fn numbers_mean_the_same_on_both_sides() {
    use domain::{claim, clause, coverage, fact, facts, freight, ledger, next, parcel, report, start, stock};
    macro_rules! same {
        ($($domain:ty = $wire:ident, $prefix:literal;)*) => {
            $(same::<$domain>($prefix, |number| v1::$wire::try_from(number).ok().map(|value| value.as_str_name()));)*
        };
    }
    same! {
        clause::Clause = Clause, "CLAUSE_";
        coverage::Remedy = Remedy, "REMEDY_";
        coverage::Payer = Payer, "PAYER_";
        start::StartBasis = StartBasis, "START_BASIS_";
        fact::Language = Language, "LANGUAGE_";
        facts::ProductType = ProductType, "PRODUCT_TYPE_";
        facts::Part = Part, "PART_";
        facts::Appearance = Appearance, "APPEARANCE_";
        claim::StateName = ClaimState, "CLAIM_STATE_";
        claim::OutcomeName = ClaimOutcome, "CLAIM_OUTCOME_";
        claim::Guidance = GuidanceOutcome, "GUIDANCE_OUTCOME_";
        claim::Seal = Seal, "SEAL_";
        claim::Action = ClaimAction, "CLAIM_ACTION_";
        claim::VoucherVerdict = VoucherVerdict, "VOUCHER_VERDICT_";
        claim::AppealOutcome = AppealOutcome, "APPEAL_OUTCOME_";
        next::Party = Party, "PARTY_";
        stock::Condition = StockCondition, "STOCK_CONDITION_";
        ledger::Debtor = Debtor, "DEBTOR_";
        ledger::Owed = Owed, "OWED_";
        ledger::Closing = DebtClosing, "DEBT_CLOSING_";
        freight::Terms = FreightTerms, "FREIGHT_TERMS_";
        freight::EntryKind = FreightEntryKind, "FREIGHT_ENTRY_KIND_";
        report::ReportKind = ReportKind, "REPORT_KIND_";
        report::ReportBy = ReportBy, "REPORT_BY_";
        parcel::TrackingStatus = TrackingStatus, "TRACKING_STATUS_";
        parcel::Difference = Difference, "DIFFERENCE_";
        parcel::Settlement = Settlement, "SETTLEMENT_";
    }
}
