//! Quotes built from a price list and billing's changes.

use warranty::domain::{
    claim::Charge,
    facts::ProductType,
    money::{Fen, MOST},
    quote::{PriceKind::*, *},
    refusal::Refusal,
};

const SWITCH: ProductType = ProductType::PoeSwitch;

fn list(prices: &[(PriceKind, &str, i64)], vat_basis_points: Option<u32>) -> PriceList {
    let key =
        |kind, code: &str| PriceKey { kind, product_type: (kind == Labour).then_some(SWITCH), code: code.to_owned() };
    let prices = prices.iter().map(|(kind, code, fen)| (key(*kind, code), Fen(*fen))).collect();
    PriceList { prices, vat_basis_points }
}

fn change(kind: PriceKind, code: &str, quantity: u32, price: Option<i64>, reason: &str) -> Change {
    let reason = (!reason.is_empty()).then(|| reason.to_owned());
    Change { kind, code: code.into(), quantity, unit_price: price.map(Fen), reason }
}

#[test]
fn a_quote_is_the_list_and_billings_changes() {
    let usual = list(
        &[(Inspection, "", 5_000), (Labour, "", 12_000), (Labour, "NO_POWER", 8_001), (Part, "PSU", 9_999)],
        Some(1_300),
    );
    // (the fault, the changes, the lines' kind, code, quantity and unit price; subtotal, tax)
    type Row<'a> = (Option<&'a str>, Vec<Change>, &'a [(PriceKind, &'a str, u32, i64)], i64, i64);
    let rows: Vec<Row> = vec![
        (Some("NO_POWER"), vec![], &[(Inspection, "", 1, 5_000), (Labour, "NO_POWER", 1, 8_001)], 13_001, 1_690),
        (Some("FAN"), vec![], &[(Inspection, "", 1, 5_000), (Labour, "FAN", 1, 12_000)], 17_000, 2_210),
        (None, vec![], &[(Inspection, "", 1, 5_000), (Labour, "", 1, 12_000)], 17_000, 2_210),
        (
            Some("NO_POWER"),
            vec![change(Part, "PSU", 2, None, ""), change(Inspection, "", 0, None, "")],
            &[(Labour, "NO_POWER", 1, 8_001), (Part, "PSU", 2, 9_999)],
            27_999,
            3_640,
        ),
        (
            Some("NO_POWER"),
            vec![change(Labour, "NO_POWER", 1, Some(8_000), "a good customer"), change(Part, "X", 1, Some(1), "rare")],
            &[(Inspection, "", 1, 5_000), (Labour, "NO_POWER", 1, 8_000), (Part, "X", 1, 1)],
            13_001,
            1_690,
        ),
        // A price as listed needs no reason.
        (
            None,
            vec![change(Part, "PSU", 1, Some(9_999), "")],
            &[(Inspection, "", 1, 5_000), (Labour, "", 1, 12_000), (Part, "PSU", 1, 9_999)],
            26_999,
            3_510,
        ),
    ];
    for (fault, changes, lines, subtotal, vat) in rows {
        let built = build(&usual, SWITCH, fault, &changes).unwrap();
        let found: Vec<_> =
            built.lines.iter().map(|line| (line.kind, line.code.as_str(), line.quantity, line.unit_price.0)).collect();
        assert_eq!((found.as_slice(), built.subtotal, built.vat), (lines, Fen(subtotal), Fen(vat)), "{fault:?}");
        assert_eq!(built.charge(), Charge { total: Fen(subtotal + vat), vat: Fen(vat) });
    }
    assert_eq!(estimate(&usual, SWITCH, Some("NO_POWER")), Some(Fen(14_691)));
    assert_eq!(estimate(&usual, ProductType::Other, None), None);
}

#[test]
fn what_has_no_price_or_no_reason_is_no_quote() {
    let short = list(&[(Inspection, "", 5_000), (Part, "PSU", 9_999)], Some(1_300));
    let whole = list(&[(Inspection, "", 5_000), (Labour, "", 12_000)], Some(1_300));
    let untaxed = list(&[(Inspection, "", 5_000), (Labour, "", 12_000)], None);
    let refused =
        |kind: &str, code: &str| Unpriced::Refused(Refusal::NoPrice { kind: kind.to_owned(), code: code.to_owned() });
    for (list, changes, expected) in [
        (&short, vec![], refused("LABOUR", "FAN")),
        (&untaxed, vec![], refused("VAT", "")),
        (&whole, vec![change(Part, "PSU", 1, None, "worn")], refused("PART", "PSU")),
        (
            &whole,
            vec![change(Part, "PSU", 1, Some(5), "")],
            Unpriced::Change(0, "reason", "is required: the price list says otherwise"),
        ),
        (
            &whole,
            vec![change(Labour, "FAN", 1, None, ""), change(Part, "PSU", 0, None, "")],
            Unpriced::Change(1, "quantity", "must not be 0: there is no such line to take out"),
        ),
        (
            &whole,
            vec![change(Inspection, "", 0, None, ""), change(Labour, "FAN", 0, None, "")],
            Unpriced::Whole("must leave something to pay"),
        ),
        (
            &whole,
            vec![change(Inspection, "", 0, None, ""), change(Labour, "FAN", 1, Some(0), "a gift")],
            Unpriced::Whole("must leave something to pay"),
        ),
        (
            &whole,
            vec![change(Part, "PSU", MOST_OF_ONE, Some(MOST.0), "gold")],
            Unpriced::Whole("must come to at most 100,000,000.00"),
        ),
    ] {
        assert_eq!(build(list, SWITCH, Some("FAN"), &changes), Err(expected));
    }
}

#[test]
fn the_largest_quote_overflows_nothing() {
    let dear = list(&[(Inspection, "", MOST.0), (Labour, "", MOST.0)], Some(10_000));
    let changes: Vec<_> =
        (0..50).map(|at| change(Part, &format!("P{at}"), MOST_OF_ONE, Some(MOST.0), "gold")).collect();
    let built = build(&dear, SWITCH, None, &changes);
    assert_eq!(built, Err(Unpriced::Whole("must come to at most 100,000,000.00")));
}
