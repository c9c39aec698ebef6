//! How freight is divided among the legs of a parcel, and corrected.

use warranty::domain::{
    freight::{Charge, EntryKind, Terms, divide},
    money::Fen,
};

fn prepaid(fen: i64) -> Charge {
    Charge { cost: Fen(fen), terms: Terms::Prepaid, carrier: "SF".into() }
}

#[test]
fn the_shares_sum_to_the_whole_and_a_correction_takes_back_what_was_charged() {
    for (whole, legs, expected) in [
        (1_000, 1, vec![1_000]),
        (1_000, 3, vec![334, 333, 333]),
        (2, 3, vec![1, 1, 0]),
        (0, 2, vec![0, 0]),
        (10_000_000_000, 7, [vec![1_428_571_429; 4], vec![1_428_571_428; 3]].concat()),
    ] {
        let first = divide(&prepaid(whole), &vec![None; legs]);
        assert_eq!(first.iter().map(|posting| posting.charge.cost.0).collect::<Vec<_>>(), expected);
        assert!(first.iter().all(|posting| posting.number == 1 && posting.kind == EntryKind::Charge));
        let before: Vec<_> = first.into_iter().map(|posting| Some((posting.number, posting.charge))).collect();
        let collect = Charge { terms: Terms::Collect, ..prepaid(whole / 2) };
        for correction in divide(&collect, &before).chunks(2) {
            let [back, anew] = correction else { panic!("a reversal and a charge for each leg") };
            assert_eq!(
                (back.kind, back.number, Some((1, back.charge.clone()))),
                (EntryKind::Reversal, 2, before[back.leg].clone())
            );
            assert_eq!(
                (anew.kind, anew.number, anew.charge.terms, anew.leg),
                (EntryKind::Charge, 3, Terms::Collect, back.leg)
            );
        }
    }
    // What stands as it would be charged is no correction.
    let stands: Vec<_> = divide(&prepaid(1_000), &[None, None]).into_iter().map(|one| Some((1, one.charge))).collect();
    assert_eq!(divide(&prepaid(1_000), &stands), []);
    // A claim that joined the parcel later has nothing to be taken back.
    let joined = divide(&prepaid(300), &[Some((3, prepaid(300))), None]);
    let numbers: Vec<_> = joined.iter().map(|posting| (posting.leg, posting.number, posting.charge.cost.0)).collect();
    assert_eq!(numbers, [(0, 4, 300), (0, 5, 150), (1, 1, 150)]);
}
