//! The windows of a unit: how long each clause holds, by the policy's terms, its repairs and the calendar.

use chrono::{Days, NaiveDate};
use serde::{Deserialize, Serialize};

use super::{
    calendar::{Calendar, CalendarEnds},
    clause::Clause,
    facts::RepairFacts,
    period::{Period, months_after},
    policy::{AfterFreeRepair, Policy, RepairDaysExtend, Terms},
};

/// A window and the clause that opens it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Window {
    /// T1, T2, T6, T7 or P2.
    pub clause: Clause,
    /// When.
    pub period: Period,
    /// P2: the fault that was repaired for a price.
    pub fault: Option<String>,
    /// The day that no published calendar has, where the last day may move to it or past it: `period.last` is the earliest
    /// that it can be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<NaiveDate>,
}

/// What windows are counted by.
pub struct Counting<'a> {
    /// In force for the sale.
    pub policy: &'a Policy,
    /// As published by now.
    pub calendar: &'a Calendar,
    /// The policy's, or a contract's over them (S5).
    pub terms: &'a Terms,
}

impl Counting<'_> {
    /// Every window, sorted, each once. Repairs completed after `on`, the date of the report, open windows too, which begin
    /// after it and so never decide; they lengthen none.
    pub fn windows(&self, start: NaiveDate, repairs: &[RepairFacts], on: NaiveDate) -> Vec<Window> {
        let year = self.year(start, repairs, on);
        let mut windows = self.after_free_repairs(&year, repairs);
        windows.extend(repairs.iter().filter(|repair| repair.paid).map(|repair| Window {
            fault: repair.fault.clone(),
            ..self.window(Clause::P2, Period::of_months(repair.completed_on, self.terms.after_paid_repair_months))
        }));
        windows.push(self.window(Clause::T1, Period::of_days(start, self.terms.replacement_days)));
        windows.push(self.window(Clause::T7, Period::of_days(start, self.terms.accessory_days)));
        windows.push(year);
        windows.sort();
        windows.dedup();
        windows
    }

    /// A period as counted, its last day moved off a day off. A term of 0 leaves the first day alone, whatever day it is.
    fn window(&self, clause: Clause, counted: Period) -> Window {
        let moved = if counted.first == counted.last {
            Ok(counted.last)
        } else {
            self.calendar.moved(counted.last, self.policy.last_day_off)
        };
        let (last, open) = match moved {
            Ok(last) => (last, None),
            Err(CalendarEnds { day }) => (counted.last, Some(day)),
        };
        Window { clause, period: Period { last, ..counted }, fault: None, open }
    }

    /// T2, lengthened by the days in free repair where the policy says so: of repairs that came in within the year as
    /// lengthened by those before, each calendar day once. Only repairs completed by the date of the report count, so that
    /// what was decided for a date stays decided when a later repair is recorded.
    fn year(&self, start: NaiveDate, repairs: &[RepairFacts], on: NaiveDate) -> Window {
        let mut counted = Period::of_months(start, self.terms.repair_months);
        let mut year = self.window(Clause::T2, counted);
        if self.policy.repair_days_extend == RepairDaysExtend::No || self.terms.repair_months == 0 {
            return year;
        }
        let free = repairs.iter().filter(|repair| !repair.paid && repair.completed_on <= on);
        let mut stays: Vec<_> = free.map(|repair| (repair.came_in_on(), repair.completed_on)).collect();
        stays.sort_unstable();
        let mut untouched = start;
        for (came_in, completed) in stays {
            let first = came_in.max(untouched);
            if !year.period.contains(came_in) || completed < first {
                continue;
            }
            untouched = completed.succ_opt().unwrap_or(NaiveDate::MAX);
            let days = Days::new((untouched - first).num_days().unsigned_abs());
            counted.last = counted.last.checked_add_days(days).unwrap_or(NaiveDate::MAX);
            year = self.window(Clause::T2, counted);
        }
        year
    }

    /// T6, from the day a free repair was completed. `ADDED`: its months come on top of the cover so far, which is the year
    /// and what earlier repairs added to it; repairs completed on one day add once.
    fn after_free_repairs(&self, year: &Window, repairs: &[RepairFacts]) -> Vec<Window> {
        let months = self.terms.after_repair_months;
        let free = repairs.iter().filter(|repair| !repair.paid);
        let mut completed: Vec<_> = free.map(|repair| repair.completed_on).collect();
        completed.sort_unstable();
        completed.dedup();
        let (mut covered, mut open) = (year.period.last, year.open);
        let window = |first: NaiveDate| {
            if self.policy.after_free_repair == AfterFreeRepair::AtLeast || months == 0 {
                return self.window(Clause::T6, Period::of_months(first, months));
            }
            let added = Period { first, last: months_after(first.max(covered), months) };
            let mut window = self.window(Clause::T6, added);
            // What is added to an end that may come later may end later too.
            window.open = open.or(window.open);
            (covered, open) = (window.period.last, window.open);
            window
        };
        completed.into_iter().map(window).collect()
    }
}
