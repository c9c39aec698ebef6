//! What the clauses say must come out, worked out here a second time and by hand; and words for what came.

use chrono::{Datelike, Days, Months, NaiveDate};

use crate::contract::{
    google::r#type::Date,
    v1::{Clause, Decision, Payer, Remedy, Window},
};

/// A window: its clause, its first and its last day.
pub type Days3 = (Clause, NaiveDate, NaiveDate);

/// What a decision gives, and the clauses that decide it, in the commitment's order.
pub type Verdict = (Remedy, &'static [Clause]);

/// The windows of a sale with an invoice (T1, T2, T7).
pub fn windows(sold: NaiveDate) -> Vec<Days3> {
    vec![
        (Clause::T1, sold, sold + Days::new(15)),
        (Clause::T2, sold, months_after(sold, 12)),
        (Clause::T7, sold, sold + Days::new(7)),
    ]
}

/// The window of a repair under warranty (T6).
pub fn after_repair(completed: NaiveDate) -> Days3 {
    (Clause::T6, completed, months_after(completed, 3))
}

/// The same day so many months later; where that day does not exist, the last day of that month.
fn months_after(day: NaiveDate, months: u32) -> NaiveDate {
    day.checked_add_months(Months::new(months)).expect("a day of this century")
}

/// Who pays the way from the maker (M6).
pub fn outbound_payer(remedy: Remedy) -> Payer {
    match remedy {
        Remedy::FreeRepair | Remedy::DirectReplacement | Remedy::AccessoryReplacement => Payer::Maker,
        _ => Payer::Sender,
    }
}

/// The windows of a decision, as a set: in the order of `windows` and `after_repair`.
pub fn came(windows: &[Window]) -> Vec<Days3> {
    let day = |date: Option<Date>| date.and_then(civil).unwrap_or_default();
    let mut days: Vec<_> = windows.iter().map(|w| (w.clause(), day(w.first_date), day(w.last_date))).collect();
    let order = [Clause::T1, Clause::T2, Clause::T7, Clause::T6];
    days.sort_by_key(|(clause, ..)| order.iter().position(|known| known == clause));
    days
}

/// A civil date as the contracts write it.
pub fn date(day: NaiveDate) -> Date {
    Date { year: day.year(), month: day.month() as i32, day: day.day() as i32 }
}

/// A civil date as the contracts write it, read.
pub fn civil(date: Date) -> Option<NaiveDate> {
    let month = u32::try_from(date.month).ok()?;
    NaiveDate::from_ymd_opt(date.year, month, u32::try_from(date.day).ok()?)
}

/// `FREE_REPAIR by T2`.
pub fn told(decision: &Decision) -> String {
    let remedy = word(decision.remedy().as_str_name(), "REMEDY_");
    let clauses: Vec<_> = decision.clauses().map(|clause| word(clause.as_str_name(), "CLAUSE_")).collect();
    format!("{remedy} by {}", clauses.join(" "))
}

/// An enum's name without its prefix.
pub fn word(name: &'static str, prefix: &str) -> &'static str {
    name.strip_prefix(prefix).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_end_as_the_commitment_counts() {
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        for (sold, last_t1, last_t2, last_t7) in [
            ("2024-03-01", "2024-03-16", "2025-03-01", "2024-03-08"),
            ("2024-02-29", "2024-03-15", "2025-02-28", "2024-03-07"),
        ] {
            let last: Vec<_> = windows(day(sold)).iter().map(|w| w.2).collect();
            assert_eq!(last, [day(last_t1), day(last_t2), day(last_t7)]);
        }
        assert_eq!(after_repair(day("2024-11-30")).2, day("2025-02-28"));
    }
}
