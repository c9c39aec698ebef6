//! Where the warranty starts, and the dates that might have started it and did not.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use strum::Display;

use super::{fact::Fact, facts::Facts, period::months_after, policy::Terms};

/// Where a start comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Display, strum::EnumIter)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum StartBasis {
    /// The invoice date of the registered sale.
    Invoice,
    /// Some months after the ex-factory date (T12).
    ExFactory,
    /// A registered sale without an invoice. Never the start.
    SaleWithoutInvoice,
    /// A sale of a replacement's own (T5). Never the start.
    OwnSale,
}

/// The start of the warranty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// The invoice or the ex-factory date.
    pub basis: StartBasis,
    /// The day.
    pub on: NaiveDate,
}

/// A date that might have started the warranty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartCandidate {
    /// Where it comes from.
    pub basis: StartBasis,
    /// The day; none where there is none.
    pub on: Option<NaiveDate>,
    /// Whether it is the start.
    pub won: bool,
    /// Why, or why not.
    pub why: Fact,
}

/// The invoice date, else some months after the ex-factory date (T12).
pub(super) fn start(facts: &Facts, terms: &Terms) -> Start {
    match facts.invoiced_on() {
        Some(on) => Start { basis: StartBasis::Invoice, on },
        None => Start { basis: StartBasis::ExFactory, on: without_invoice(facts, terms) },
    }
}

fn without_invoice(facts: &Facts, terms: &Terms) -> NaiveDate {
    months_after(facts.original.ex_factory_on, terms.no_invoice_months)
}

/// Every date that might have started it, the winner first.
pub(super) fn candidates(facts: &Facts, terms: &Terms) -> Vec<StartCandidate> {
    let candidate = |basis, on, won, why| StartCandidate { basis, on, won, why };
    let starts_on = without_invoice(facts, terms);
    let (left_on, months) = (facts.original.ex_factory_on, terms.no_invoice_months);
    let mut candidates = match (&facts.sale, facts.invoiced_on()) {
        (_, Some(on)) => vec![
            candidate(StartBasis::Invoice, Some(on), true, Fact::Invoice { on }),
            candidate(StartBasis::ExFactory, Some(starts_on), false, Fact::InvoiceComesFirst),
        ],
        (sale, None) => {
            let won = Fact::ExFactory { left_on, months, starts_on };
            let lost = match sale {
                Some(sale) => {
                    candidate(StartBasis::SaleWithoutInvoice, Some(sale.sold_on), false, Fact::SaleWithoutInvoice)
                }
                None => candidate(StartBasis::Invoice, None, false, Fact::NoSale),
            };
            vec![candidate(StartBasis::ExFactory, Some(starts_on), true, won), lost]
        }
    };
    let own = facts.own_sale.as_ref();
    candidates.extend(own.map(|own| candidate(StartBasis::OwnSale, Some(own.sold_on), false, Fact::OwnSale)));
    candidates
}
