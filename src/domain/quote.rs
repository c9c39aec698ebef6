//! Quotes for paid repairs (P1): lines from the fault and the price list, billing's changes, sums in whole fen.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use strum::{Display, EnumString};

use super::{
    claim::Charge,
    facts::ProductType,
    money::{Fen, MOST},
    refusal::Refusal,
};

/// The most of one thing that a line may hold.
pub const MOST_OF_ONE: u32 = 1_000;

/// What a line, or a price, is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Display, EnumString, strum::EnumIter)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum PriceKind {
    /// The inspection.
    Inspection,
    /// Labour, by product type and fault.
    Labour,
    /// A part.
    Part,
}

/// Where a quote stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, EnumString, strum::EnumIter)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum QuoteState {
    /// To be accepted or declined.
    Issued,
    /// Accepted.
    Accepted,
    /// Declined.
    Declined,
    /// Its time passed.
    Expired,
    /// A later one took its place, or the decision was overridden.
    Superseded,
}

/// What a price is for: the kind, for labour the type of product, and the fault's or the part's code, empty for any other fault.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PriceKey {
    /// What for.
    pub kind: PriceKind,
    /// For labour alone.
    pub product_type: Option<ProductType>,
    /// Empty for the inspection.
    pub code: String,
}

impl PriceKey {
    fn of(kind: PriceKind, product_type: ProductType, code: &str) -> Self {
        let product_type = (kind == PriceKind::Labour).then_some(product_type);
        Self { kind, product_type, code: code.to_owned() }
    }
}

/// The prices in force on a day, as far as they were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PriceList {
    /// For one, before tax.
    pub prices: HashMap<PriceKey, Fen>,
    /// The rate of VAT in hundredths of a per cent; none where none was ever set.
    pub vat_basis_points: Option<u32>,
}

/// A line of a quote. Stored as written here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// What it is for.
    pub kind: PriceKind,
    /// The fault's or the part's code.
    pub code: String,
    /// How many: 1 to 1,000.
    pub quantity: u32,
    /// For one, before tax.
    pub unit_price: Fen,
    /// Why billing changed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Line {
    /// Quantity times unit price.
    pub fn amount(&self) -> Fen {
        Fen(i64::from(self.quantity) * self.unit_price.0)
    }
}

/// A line that billing adds, changes, or takes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What it is for.
    pub kind: PriceKind,
    /// The fault's or the part's code.
    pub code: String,
    /// How many; 0 takes the line out.
    pub quantity: u32,
    /// For one, before tax; the price list's where left out.
    pub unit_price: Option<Fen>,
    /// Why; required where the price list says otherwise.
    pub reason: Option<String>,
}

/// What a quote comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Priced {
    /// At least one.
    pub lines: Vec<Line>,
    /// Their sum.
    pub subtotal: Fen,
    /// Hundredths of a per cent.
    pub vat_basis_points: u32,
    /// The subtotal's tax, rounded half up.
    pub vat: Fen,
}

impl Priced {
    /// Subtotal and tax, and the tax in it.
    pub fn charge(&self) -> Charge {
        Charge { total: Fen(self.subtotal.0 + self.vat.0), vat: self.vat }
    }
}

/// Why a quote cannot be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unpriced {
    /// Billing's change at this place breaks a rule: its field, and the rule.
    Change(usize, &'static str, &'static str),
    /// The whole breaks a rule.
    Whole(&'static str),
    /// The list has no price.
    Refused(Refusal),
}

/// What a repair's quote may ask the price list for: the inspection, labour for this fault or any other, and billing's changes.
pub fn keys(product_type: ProductType, fault: Option<&str>, changes: &[Change]) -> Vec<PriceKey> {
    let own = [(PriceKind::Inspection, ""), (PriceKind::Labour, ""), (PriceKind::Labour, fault.unwrap_or_default())];
    let changed = changes.iter().map(|change| (change.kind, change.code.as_str()));
    own.into_iter().chain(changed).map(|(kind, code)| PriceKey::of(kind, product_type, code)).collect()
}

/// A quote: the inspection and the labour for the fault by the price list, then billing's changes, each of another thing.
pub fn build(
    list: &PriceList,
    product_type: ProductType,
    fault: Option<&str>,
    changes: &[Change],
) -> Result<Priced, Unpriced> {
    let own = [(PriceKind::Inspection, ""), (PriceKind::Labour, fault.unwrap_or_default())];
    let changes_of =
        |kind: PriceKind, code: &str| changes.iter().any(|change| change.kind == kind && change.code == code);
    let mut lines = Vec::new();
    for (kind, code) in own.into_iter().filter(|(kind, code)| !changes_of(*kind, code)) {
        let unit_price = list.price(product_type, kind, code).ok_or_else(|| no_price(kind, code))?;
        lines.push(Line { kind, code: code.to_owned(), quantity: 1, unit_price, reason: None });
    }
    for (at, change) in changes.iter().enumerate() {
        if change.quantity == 0 {
            if !own.contains(&(change.kind, change.code.as_str())) {
                return Err(Unpriced::Change(at, "quantity", "must not be 0: there is no such line to take out"));
            }
            continue;
        }
        let listed = list.price(product_type, change.kind, &change.code);
        let unit_price = change.unit_price.or(listed).ok_or_else(|| no_price(change.kind, &change.code))?;
        if Some(unit_price) != listed && change.reason.is_none() {
            return Err(Unpriced::Change(at, "reason", "is required: the price list says otherwise"));
        }
        let (code, reason) = (change.code.clone(), change.reason.clone());
        lines.push(Line { kind: change.kind, code, quantity: change.quantity, unit_price, reason });
    }
    lines.sort_by(|one, other| (one.kind as u8, &one.code).cmp(&(other.kind as u8, &other.code)));
    let vat_basis_points = list.vat_basis_points.ok_or_else(|| no_price("VAT", ""))?;
    // At most 52 lines of 1,000 times the most that a price may be: times 10,000 that is still less than an i64 holds.
    let subtotal = Fen(lines.iter().map(|line| line.amount().0).sum());
    let priced = Priced { lines, subtotal, vat_basis_points, vat: subtotal.vat(vat_basis_points) };
    match priced.charge().total {
        Fen(0) => Err(Unpriced::Whole("must leave something to pay")),
        total if total > MOST => Err(Unpriced::Whole("must come to at most 100,000,000.00")),
        _ => Ok(priced),
    }
}

/// What a paid repair of this fault would cost, tax included; none where the price list does not name it.
pub fn estimate(list: &PriceList, product_type: ProductType, fault: Option<&str>) -> Option<Fen> {
    build(list, product_type, fault, &[]).ok().map(|priced| priced.charge().total)
}

impl PriceList {
    /// Labour for a fault that has no price of its own is that of any other fault.
    fn price(&self, product_type: ProductType, kind: PriceKind, code: &str) -> Option<Fen> {
        let of = |code: &str| self.prices.get(&PriceKey::of(kind, product_type, code)).copied();
        of(code).or_else(|| of("").filter(|_| kind == PriceKind::Labour))
    }
}

fn no_price(kind: impl ToString, code: &str) -> Unpriced {
    Unpriced::Refused(Refusal::NoPrice { kind: kind.to_string(), code: code.to_owned() })
}
