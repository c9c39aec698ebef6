//! The ways a claim can take, each told as the commitment tells it: what happens, and what must come out.

/// What a decision gives, the clauses that decide it in the commitment's order, and who pays the way back (M6).
#[derive(Clone, Copy)]
pub struct Verdict {
    pub remedy: &'static str,
    pub clauses: &'static [&'static str],
    pub payer: &'static str,
}

const fn verdict(remedy: &'static str, clauses: &'static [&'static str], payer: &'static str) -> Verdict {
    Verdict { remedy, clauses, payer }
}

const DIRECT: Verdict = verdict("DIRECT_REPLACEMENT", &["T1", "T8"], "MAKER");
const FREE: Verdict = verdict("FREE_REPAIR", &["T2"], "MAKER");
const ACCESSORY: Verdict = verdict("ACCESSORY_REPLACEMENT", &["T7"], "MAKER");
const AS_IT_CAME: Verdict = verdict("RETURN_AS_IS", &["T9"], "SENDER");
const PAID: Verdict = verdict("PAID_SERVICE", &["X4", "X5"], "SENDER");
/// After the year, in the three months that follow a repair.
pub const FREE_AFTER_REPAIR: Verdict = verdict("FREE_REPAIR", &["T6"], "MAKER");
/// The same after a repair that was paid, for the same fault.
pub const FREE_AFTER_PAID_REPAIR: Verdict = verdict("FREE_REPAIR", &["P2"], "MAKER");

/// Who applies.
pub enum Applicant {
    Dealer,
    Customer,
}

/// What somebody does with the claim; a state is the one that it must lead to.
pub enum Step {
    /// Support guides by telephone: the outcome, the reason, the state.
    Guide(&'static str, &'static str, &'static str),
    /// The dealer gives the customer a unit of its own stock.
    Swap,
    /// The applicant sends the unit in; the depot receives it with its seal intact.
    SendIn,
    /// The depot inspects: whether no fault is found, the causes found, the final decision, the state.
    Inspect(bool, &'static [&'static str], Verdict, &'static str),
    /// Billing quotes, and the applicant accepts.
    Quote,
    /// The depot repairs, today.
    Repair,
    /// Billing records that it was paid.
    Pay,
    /// The depot gives a good unit in its place, for this reason.
    Replace(&'static str),
    /// The depot sends out what is ready, and it is delivered.
    SendOut(&'static str),
    /// The applicant thinks better of it.
    Cancel,
    /// Somebody is refused: a second claim for the unit, another dealer's look, a repair before the inspection.
    Refusals,
}
use Step::{Cancel, Guide, Inspect, Pay, Quote, Refusals, Repair, Replace, SendIn, SendOut, Swap};

/// A claim's way: what it is, by which clauses, who applies, how many days after the sale, for which part, the
/// provisional decision that filing and guidance give, and the steps.
pub struct Way {
    pub title: &'static str,
    pub clauses: &'static [&'static str],
    pub applicant: Applicant,
    pub days: u64,
    pub part: &'static str,
    pub filed: Verdict,
    pub steps: &'static [Step],
}

const fn dealer(
    title: &'static str,
    clauses: &'static [&'static str],
    days: u64,
    filed: Verdict,
    steps: &'static [Step],
) -> Way {
    Way { title, clauses, applicant: Applicant::Dealer, days, part: "HOST", filed, steps }
}

const CONFIRMED: Step = Guide("CONFIRMED", "", "AUTHORIZED");

pub const WAYS: &[Way] = &[
    dealer(
        "swapped by the dealer in the 15 days",
        &["M1", "T1", "T8", "M3", "M5", "M6", "T5", "T12"],
        3,
        DIRECT,
        &[CONFIRMED, Swap, SendIn, Inspect(false, &[], DIRECT, "READY"), SendOut("REPLENISHMENT")],
    ),
    dealer(
        "repaired free in the year, three more months after it",
        &["T2", "M7", "M4", "T11", "T6"],
        360,
        FREE,
        &[CONFIRMED, SendIn, Inspect(false, &[], FREE, "IN_REPAIR"), Repair, SendOut("REPAIRED")],
    ),
    dealer(
        "beyond repair: another unit in its place",
        &["T2", "M4", "T4", "T5"],
        60,
        FREE,
        &[
            Guide("WAIVED", "the dealer's technician has tested it", "AUTHORIZED"),
            SendIn,
            Inspect(false, &[], FREE, "IN_REPAIR"),
            Replace("the board is burnt through"),
            SendOut("REPLACED"),
        ],
    ),
    Way {
        part: "ACCESSORY",
        ..dealer(
            "an accessory in its week: nothing is sent in",
            &["T7"],
            7,
            ACCESSORY,
            &[Guide("CONFIRMED", "", "READY"), SendOut("ACCESSORY")],
        )
    },
    dealer(
        "no fault found: it goes back as it came",
        &["T9"],
        60,
        FREE,
        &[CONFIRMED, SendIn, Inspect(true, &[], AS_IT_CAME, "READY"), SendOut("AS_IT_CAME")],
    ),
    dealer(
        "dismantled and dropped: repaired for a price, three months for the same fault",
        &["X4", "X5", "P1", "P2"],
        360,
        FREE,
        &[CONFIRMED, SendIn, Inspect(false, &["X5", "X4"], PAID, "INSPECTED"), Quote, Repair, Pay, SendOut("REPAIRED")],
    ),
    dealer("solved by telephone", &["M8"], 3, DIRECT, &[Guide("SOLVED", "", "RESOLVED")]),
    dealer("cancelled by the dealer on the 15th day", &["T1"], 15, DIRECT, &[Cancel]),
    dealer(
        "rejected by support on the 16th day",
        &["T2", "M8"],
        16,
        FREE,
        &[Guide("REJECTED", "not a fault of the unit: the fibre is cut", "REJECTED")],
    ),
    Way {
        applicant: Applicant::Customer,
        ..dealer(
            "the customer applies directly, the maker replaces",
            &["M2", "T1", "M4", "T5"],
            3,
            DIRECT,
            &[CONFIRMED, SendIn, Inspect(false, &[], DIRECT, "IN_REPAIR"), Replace(""), SendOut("REPLACED")],
        )
    },
    dealer("what is refused on the way", &[], 60, FREE, &[Refusals, Cancel]),
];
