//! What a unit in stock is, and may become (T4).

use strum::IntoEnumIterator;
use warranty::domain::stock::{Condition, Known};

#[test]
fn what_a_unit_may_become() {
    use Condition::*;
    // Of a unit fit to be given that is not held: every move that is allowed, and N for leaving.
    let allowed = |from: Condition| {
        let to: Vec<_> = Condition::iter().filter(|to| from.may_become(Some(*to), true, false).is_ok()).collect();
        (to, from.may_become(None, true, false).is_ok())
    };
    assert_eq!(allowed(New), (vec![New, Good, Faulty, Quarantine, Scrapped], true));
    assert_eq!(allowed(Good), (vec![Good, Faulty, Quarantine, Scrapped], true));
    assert_eq!(allowed(Faulty), (vec![Faulty, Quarantine, Scrapped], true));
    assert_eq!(allowed(Quarantine), (vec![Good, Faulty, Quarantine, Scrapped], true));
    assert_eq!(allowed(Scrapped), (vec![], false));
    for (from, to, unused, held, may) in [
        (Quarantine, Some(Good), false, false, false),
        (Quarantine, Some(Faulty), false, false, true),
        (Good, Some(Good), true, true, true),
        (Good, Some(Faulty), true, true, false),
        (Good, None, true, true, false),
    ] {
        assert_eq!(from.may_become(to, unused, held).is_ok(), may, "{from} to {to:?}");
    }
}

const UNUSED: Known = Known { sold_by_maker: true, free: true, replaced: false, claimed: false, last: None };
const REPLACED: Known = Known { free: false, replaced: true, ..UNUSED };

#[test]
fn what_may_come() {
    use Condition::*;
    let left = |last| Known { last: Some(last), ..UNUSED };
    for (condition, known, may) in [
        (New, UNUSED, true),
        (Good, UNUSED, true),
        (Scrapped, UNUSED, false),
        (Faulty, Known { free: false, ..UNUSED }, false),
        (Faulty, REPLACED, true),
        // After a swap, still at the dealer's.
        (Faulty, Known { claimed: true, ..REPLACED }, false),
        (Good, Known { free: true, ..REPLACED }, false),
        (Good, Known { sold_by_maker: false, ..UNUSED }, false),
        (Quarantine, Known { sold_by_maker: false, ..UNUSED }, true),
        // No better than it left.
        (New, left(New), true),
        (Good, left(New), true),
        (New, left(Good), false),
        (Good, left(Good), true),
        (New, left(Faulty), false),
        (Good, left(Faulty), false),
        (Faulty, left(Faulty), true),
        (Quarantine, left(Faulty), true),
        (Good, left(Quarantine), true),
        (New, left(Quarantine), false),
    ] {
        let came = condition.may_come(&known);
        assert_eq!(came.is_ok(), may, "{condition} {known:?}: {came:?}");
    }
}

#[test]
fn what_may_be_refurbished() {
    use Condition::*;
    for (condition, known, may) in [
        (Faulty, REPLACED, true),
        (Quarantine, UNUSED, true),
        (Good, UNUSED, false),
        (Scrapped, REPLACED, false),
        (Faulty, Known { claimed: true, ..REPLACED }, false),
        (Quarantine, Known { free: false, ..UNUSED }, false),
        (Faulty, Known { sold_by_maker: false, ..REPLACED }, false),
    ] {
        let may_be = condition.may_be_refurbished(&known);
        assert_eq!(may_be.is_ok(), may, "{condition} {known:?}: {may_be:?}");
    }
}
