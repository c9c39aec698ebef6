//! Amounts that are exact or refused.

use warranty::domain::money::*;

#[test]
fn money_is_exact_or_refused() {
    for (currency, units, nanos, read) in [
        ("CNY", 0, 0, Ok(Fen(0))),
        ("CNY", 12, 340_000_000, Ok(Fen(1_234))),
        ("CNY", 100_000_000, 0, Ok(MOST)),
        ("CNY", 100_000_000, 10_000_000, Err("must be at most 100,000,000.00")),
        ("CNY", i64::MAX, 0, Err("must be at most 100,000,000.00")),
        ("CNY", 1, 5_000_000, Err("must be in whole fen")),
        ("CNY", 1, 1_000_000_000, Err("must be in whole fen")),
        ("CNY", -1, 0, Err("must not be negative")),
        ("CNY", 0, -10_000_000, Err("must not be negative")),
        ("USD", 1, 0, Err("must be in CNY")),
        ("", 1, 0, Err("must be in CNY")),
    ] {
        assert_eq!(Fen::of(currency, units, nanos), read, "{currency} {units} {nanos}");
    }
    assert_eq!(Fen(1_234).units_and_nanos(), (12, 340_000_000));
}

#[test]
fn tax_is_rounded_half_up() {
    for (subtotal, basis_points, tax) in
        [(10_000, 1_300, 1_300), (1, 1_300, 0), (4, 1_300, 1), (50, 100, 1), (49, 100, 0), (12_345, 600, 741)]
    {
        assert_eq!(Fen(subtotal).vat(basis_points), Fen(tax), "{subtotal} at {basis_points}");
    }
}
