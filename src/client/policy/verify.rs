//! What is wrong with a draft; else each parameter beside the standard's.

use std::{collections::BTreeMap, process::ExitCode};

use serde_json::Value;

use crate::{
    clock::{Clock, civil_date},
    domain::{
        calendar::{Calendar, LastDayOff, STANDARD_CALENDAR},
        clause::Clause,
        policy::{Policy, STANDARD_POLICY},
    },
    service::draft,
};

/// Prints every fault of a draft, with exit code 1, or what it says.
pub(super) fn verify(document: &str) -> ExitCode {
    match draft::read(document) {
        Ok(policy) => {
            print(&policy);
            if policy.effective_on > civil_date(Clock::system().now()) {
                return ExitCode::SUCCESS;
            }
            eprintln!("effective_on: must lie after today for it to be published");
            ExitCode::FAILURE
        }
        Err(faults) => {
            for (path, rule) in faults {
                let path = if path.is_empty() { "document" } else { &path };
                eprintln!("{path}: {rule}");
            }
            ExitCode::FAILURE
        }
    }
}

fn print(draft: &Policy) {
    let standard: Policy = serde_json::from_str(STANDARD_POLICY).expect("the standard policy is one");
    let mut rows: BTreeMap<String, [String; 2]> = BTreeMap::new();
    for (column, policy) in [draft, &standard].into_iter().enumerate() {
        let document = serde_json::to_value(policy).unwrap_or_default();
        for (name, value) in document.as_object().into_iter().flatten().filter(|(name, _)| *name != "texts") {
            gather(name, value, &mut |path, text| rows.entry(path).or_default()[column] = text);
        }
    }
    let wide = rows.values().map(|[draft, _]| draft.chars().count()).max().unwrap_or_default();
    println!("  {:<32}  {:<wide$}  standard", "parameter", "draft");
    for (name, [draft, standard]) in &rows {
        let mark = if draft == standard { ' ' } else { '*' };
        println!("{mark} {name:<32}  {draft:<wide$}  {standard}");
    }
    let changed: Vec<String> = draft
        .texts
        .iter()
        .filter_map(|(clause, text)| match standard.texts.get(clause) {
            Some(standards) if standards == text => None,
            Some(standards) if standards.zh == text.zh => Some(format!("{clause} (English)")),
            Some(standards) if standards.en == text.en => Some(format!("{clause} (Chinese)")),
            _ => Some(clause.to_string()),
        })
        .collect();
    match changed.is_empty() {
        true => println!("\nThe clauses' texts are the standard's."),
        false => println!("\nThe texts of these clauses differ from the standard's: {}.", changed.join(", ")),
    }
    let (new, old) = (&draft.terms, &standard.terms);
    let silent: Vec<_> = [
        (Clause::T1, new.replacement_days != old.replacement_days),
        (Clause::T2, new.repair_months != old.repair_months),
        (Clause::T6, new.after_repair_months != old.after_repair_months),
        (Clause::T7, new.accessory_days != old.accessory_days),
        (Clause::T12, new.no_invoice_months != old.no_invoice_months),
        (Clause::P2, new.after_paid_repair_months != old.after_paid_repair_months),
    ]
    .into_iter()
    .filter(|(clause, differs)| *differs && draft.texts.get(clause) == standard.texts.get(clause))
    .map(|(clause, _)| clause.to_string())
    .collect();
    if !silent.is_empty() {
        println!("Look again: the numbers of these clauses differ and their texts do not: {}.", silent.join(", "));
    }
    let calendar: Calendar = serde_json::from_str(STANDARD_CALENDAR).expect("the standard calendar is one");
    let years = (calendar.years().next(), calendar.years().last());
    if let (true, (Some((first, _)), Some((last, _)))) = (draft.last_day_off != LastDayOff::None, years) {
        println!(
            "Last days are moved off days off: the standard calendar has the years {first} to {last}. Whatever hangs on a day \
             outside them is refused until its year is published."
        );
    }
}

/// Gives each value under a path as text; a list's entries by their places.
fn gather(path: &str, value: &Value, give: &mut impl FnMut(String, String)) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| gather(&format!("{path}.{name}"), value, give)),
        Value::Array(items) => (0..).zip(items).for_each(|(at, value)| gather(&format!("{path}[{at}]"), value, give)),
        Value::String(text) => give(path.to_owned(), text.clone()),
        Value::Null => give(path.to_owned(), "never".to_owned()),
        other => give(path.to_owned(), other.to_string()),
    }
}
