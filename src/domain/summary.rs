//! A decision as one plain sentence for a customer: what he gets, until when and by which clause; or why not, and whom to call.

use std::fmt::{self, Write};

use chrono::NaiveDate;

use super::{
    clause::Clause,
    coverage::{Decision, Remedy},
    fact::{Day, Language},
    policy::AfterSalesContact,
};

/// The sentence.
pub fn summary(decision: &Decision, contact: &AfterSalesContact, language: Language) -> String {
    let mut out = String::with_capacity(192);
    let written = match language {
        Language::Chinese => chinese(decision, contact, &mut out),
        Language::English => english(decision, contact, &mut out),
    };
    // Writing to a string never fails.
    written.map(|()| out).unwrap_or_default()
}

fn english(decision: &Decision, contact: &AfterSalesContact, out: &mut String) -> fmt::Result {
    let day = |on| Day(on, Language::English);
    match reason(decision) {
        Reason::Given { until } => {
            out.push_str(match decision.remedy {
                Remedy::DirectReplacement => "Covered: the unit is replaced free of charge",
                Remedy::AccessoryReplacement => "Covered: the accessory is replaced free of charge",
                _ => "Covered: the unit is repaired free of charge",
            });
            if let Some(until) = until {
                write!(out, " for a fault reported by {}", day(until))?;
            }
        }
        Reason::Replaced => {
            let by = decision.superseded_by.as_ref().map(|by| by.as_str()).unwrap_or_default();
            write!(out, "Not covered: the unit was replaced by {by}, which carries its warranty on")?;
        }
        Reason::NotStarted { on } => {
            write!(out, "Not covered yet: the warranty starts on {}", day(on))?;
        }
        Reason::NoFault => out.push_str("Not covered: inspection found no fault, and the unit goes back as it is"),
        Reason::Accessory => {
            out.push_str("Not covered: the accessory is not replaced free of charge and can be bought separately");
        }
        Reason::PowerSupply => out.push_str("Not covered: a damaged power supply can be bought separately"),
        Reason::Over { on } => {
            write!(out, "Not covered: the warranty ended on {}; repair for a price is possible", day(on))?;
        }
        Reason::Scope => {
            out.push_str("Not covered: the commitment does not extend to this product, or to where it was sold or is used; repair for a price is possible");
        }
        Reason::Cause => {
            out.push_str("Not covered: the commitment excludes the cause of the fault; repair for a price is possible");
        }
    }
    for (at, clause) in decision.clauses.iter().enumerate() {
        let before = if at > 0 {
            ", "
        } else if decision.clauses.len() > 1 {
            " (clauses "
        } else {
            " (clause "
        };
        write!(out, "{before}{clause}")?;
    }
    out.push_str(if decision.clauses.is_empty() { "" } else { ")" });
    if !decision.remedy.is_a_yes() {
        write!(out, ". For help call {}", contact.telephone)?;
    }
    out.write_char('.')
}

fn chinese(decision: &Decision, contact: &AfterSalesContact, out: &mut String) -> fmt::Result {
    let day = |on| Day(on, Language::Chinese);
    match reason(decision) {
        Reason::Given { until } => {
            out.push_str("在保修范围内：");
            if let Some(until) = until {
                write!(out, "{}（含当日）前报修，", day(until))?;
            }
            out.push_str(match decision.remedy {
                Remedy::DirectReplacement => "可免费更换产品",
                Remedy::AccessoryReplacement => "可免费更换附件",
                _ => "可免费维修",
            });
        }
        Reason::Replaced => {
            let by = decision.superseded_by.as_ref().map(|by| by.as_str()).unwrap_or_default();
            write!(out, "不予保修：本产品已由{by}替换，保修由该产品延续")?;
        }
        Reason::NotStarted { on } => {
            write!(out, "尚未开始保修：保修期自{}起计算", day(on))?;
        }
        Reason::NoFault => out.push_str("不予保修：检测未发现故障，产品原样退回"),
        Reason::Accessory => out.push_str("不予保修：该附件不能免费更换，可另行购买"),
        Reason::PowerSupply => out.push_str("不予保修：损坏的电源不予更换，可另行购买"),
        Reason::Over { on } => {
            write!(out, "不予保修：保修期已于{}届满，可有偿维修", day(on))?;
        }
        Reason::Scope => out.push_str("不予保修：本承诺不适用于该产品或其购买、使用地区，可有偿维修"),
        Reason::Cause => out.push_str("不予保修：故障原因不在保修范围内，可有偿维修"),
    }
    for (at, clause) in decision.clauses.iter().enumerate() {
        write!(out, "{}{clause}", if at > 0 { "、" } else { "（条款" })?;
    }
    out.push_str(if decision.clauses.is_empty() { "" } else { "）" });
    if !decision.remedy.is_a_yes() {
        write!(out, "。如需帮助，请致电{}", contact.telephone)?;
    }
    out.write_char('。')
}

/// What the sentence is about.
enum Reason {
    Given { until: Option<NaiveDate> },
    Replaced,
    NotStarted { on: NaiveDate },
    NoFault,
    Accessory,
    PowerSupply,
    Over { on: NaiveDate },
    Scope,
    Cause,
}

fn reason(decision: &Decision) -> Reason {
    let decided_by = |clause| decision.clauses.first() == Some(&clause);
    match decision.remedy {
        Remedy::DirectReplacement | Remedy::FreeRepair | Remedy::AccessoryReplacement => {
            // A replacement in the first days ends before the repair does; all else lasts as long as the cover.
            let first_days =
                decision.windows.iter().find(|window| window.clause == Clause::T1 && decided_by(Clause::T1));
            Reason::Given { until: first_days.map(|window| window.period.last).or(decision.covered_until) }
        }
        Remedy::None => match decision.start {
            Some(start) => Reason::NotStarted { on: start.on },
            None => Reason::Replaced,
        },
        Remedy::ReturnAsIs => Reason::NoFault,
        Remedy::PurchaseSeparately if decided_by(Clause::T10) => Reason::PowerSupply,
        Remedy::PurchaseSeparately => Reason::Accessory,
        Remedy::PaidService if decided_by(Clause::X2) => {
            let warranty = decision.windows.iter().filter(|window| matches!(window.clause, Clause::T2 | Clause::T6));
            let ended = warranty.map(|window| window.period.last).filter(|last| *last < decision.as_of).max();
            Reason::Over { on: ended.unwrap_or(decision.as_of) }
        }
        Remedy::PaidService => {
            let scope = decision.clauses.first().is_some_and(|clause| (Clause::S1..=Clause::S4).contains(clause));
            if scope { Reason::Scope } else { Reason::Cause }
        }
    }
}
