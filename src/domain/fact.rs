//! The facts that a proof names, as data, and each as a phrase in the reader's language.

use std::fmt::{self, Display, Formatter};

use chrono::{Datelike, Month, NaiveDate};
use serde::{Deserialize, Serialize};

use super::{
    clause::Clause,
    facts::{Appearance, ProductType},
    region::Region,
    serial::Serial,
    windows::Window,
};

/// The language of what people read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::Display, strum::EnumIter)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs)]
pub enum Language {
    Chinese,
    English,
}

impl Language {
    /// The one of a Chinese and an English text.
    pub fn of<T>(self, (chinese, english): (T, T)) -> T {
        match self {
            Self::Chinese => chinese,
            Self::English => english,
        }
    }
}

/// A day as people write it: 2027年5月16日, 16 May 2027.
#[derive(Clone, Copy, Debug)]
pub struct Day(pub NaiveDate, pub Language);

impl Display for Day {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (day, month, year) = (self.0.day(), self.0.month(), self.0.year());
        match self.1 {
            Language::Chinese => write!(f, "{year}年{month}月{day}日"),
            Language::English => {
                let name = Month::try_from(month as u8).map_or("", |month| month.name());
                write!(f, "{day} {name} {year}")
            }
        }
    }
}

/// What a clause, or a start, was judged by. Never personal data. Stored with decisions: add variants and optional fields,
/// never change one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs)] // Each reads as its phrase below.
pub enum Fact {
    ReplacedBy(Serial),
    ProductType(ProductType),
    Manufactured {
        on: NaiveDate,
        from: NaiveDate,
    },
    SoldByMaker(bool),
    Regions {
        sold: Option<Region>,
        used: Option<Region>,
    },
    Invoice {
        on: NaiveDate,
    },
    ExFactory {
        left_on: NaiveDate,
        months: u32,
        starts_on: NaiveDate,
    },
    InvoiceComesFirst,
    SaleWithoutInvoice,
    NoSale,
    OwnSale,
    NoFaultFound,
    PowerSupply {
        damaged: bool,
    },
    Condition {
        performance_fault: bool,
        appearance: Appearance,
    },
    Found,
    Against {
        on: NaiveDate,
        window: Window,
    },
    AskedAbout(NaiveDate),
    Discontinued,
    /// The sale's contract, without its number, which only the seller, the buyer and staff may know.
    Contract {
        confirmed_on: Option<NaiveDate>,
        revoked_on: Option<NaiveDate>,
    },
    /// How often the fault was repaired free, and how often leads to a replacement.
    SameFault {
        fault: Option<String>,
        repairs: u32,
        needed: u32,
    },
    /// As decisions kept it before facts were data.
    #[serde(untagged)]
    Written(String),
}

impl Fact {
    /// As a phrase.
    pub fn phrase(&self, language: Language) -> String {
        match language {
            Language::Chinese => Chinese(self).to_string(),
            Language::English => English(self).to_string(),
        }
    }
}

struct English<'a>(&'a Fact);

impl Display for English<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Fact::ReplacedBy(by) => write!(f, "replaced by {by}"),
            Fact::ProductType(of) => write!(f, "product type {of}"),
            Fact::Manufactured { on, from } => write!(f, "manufactured on {on}, commitment from {from}"),
            Fact::SoldByMaker(true) => f.write_str("sold by the maker"),
            Fact::SoldByMaker(false) => f.write_str("not sold by the maker"),
            Fact::Regions { sold, used } => {
                write!(f, "sold in {}, used in {}", region(sold, "not given"), region(used, "not given"))
            }
            Fact::Invoice { on } => write!(f, "invoice dated {on}"),
            Fact::ExFactory { left_on, months, starts_on } => {
                write!(f, "no invoice: left the factory on {left_on}, starts {months} months later on {starts_on}")
            }
            Fact::InvoiceComesFirst => f.write_str("an invoice is registered, and its date comes first"),
            Fact::SaleWithoutInvoice => f.write_str("the registered sale has no invoice: it gives the region alone"),
            Fact::NoSale => f.write_str("no sale is registered"),
            Fact::OwnSale => f.write_str("the unit is a replacement: the original's start stays"),
            Fact::NoFaultFound => f.write_str("inspection found no fault"),
            Fact::PowerSupply { damaged: true } => f.write_str("power supply damaged"),
            Fact::PowerSupply { damaged: false } => f.write_str("power supply undamaged"),
            Fact::Condition { performance_fault, appearance } => {
                f.write_str(if *performance_fault { "performance fault" } else { "no performance fault" })?;
                f.write_str(match appearance {
                    Appearance::Intact => ", appearance intact",
                    Appearance::Scratched => ", appearance scratched",
                })
            }
            Fact::Found => f.write_str("found by inspection"),
            Fact::Against { on, window } => {
                let place = ["before", "inside", "after"][place(*on, window)];
                write!(f, "{on} {place} {} to {}", window.period.first, window.period.last)?;
                match (window.clause, &window.fault) {
                    (Clause::P2, Some(fault)) => write!(f, ", fault {fault}")?,
                    (Clause::P2, None) => f.write_str(", no fault code")?,
                    _ => {}
                }
                match window.open {
                    Some(day) => write!(f, ", may end later: no calendar of {} yet", day.year()),
                    None => Ok(()),
                }
            }
            Fact::AskedAbout(on) => write!(f, "asked about {on}"),
            Fact::Discontinued => f.write_str("the model is discontinued"),
            Fact::Contract { confirmed_on: None, .. } => f.write_str("the sale's contract is not confirmed"),
            Fact::Contract { confirmed_on: Some(from), revoked_on: None } => {
                write!(f, "the sale's contract is confirmed from {from}")
            }
            Fact::Contract { confirmed_on: Some(from), revoked_on: Some(until) } => {
                write!(f, "the sale's contract is confirmed from {from}, revoked from {until}")
            }
            Fact::SameFault { fault: Some(fault), repairs, needed } => {
                write!(f, "free repairs of fault {fault} before: {repairs}; replaced after {needed}")
            }
            Fact::SameFault { fault: None, needed, .. } => {
                write!(f, "no fault code; replaced after {needed} free repairs of one fault")
            }
            Fact::Written(text) => f.write_str(text),
        }
    }
}

struct Chinese<'a>(&'a Fact);

impl Display for Chinese<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Fact::ReplacedBy(by) => write!(f, "已由{by}替换"),
            Fact::ProductType(of) => f.write_str(match of {
                ProductType::VideoOpticalTransceiver => "产品类型为视频光端机",
                ProductType::TelephoneOpticalTransceiver => "产品类型为电话光端机",
                ProductType::OpticalFiberTransceiver => "产品类型为光纤收发器",
                ProductType::PoeSwitch => "产品类型为PoE交换机",
                ProductType::Other => "产品类型为其他产品",
            }),
            Fact::Manufactured { on, from } => write!(f, "{on}生产，承诺适用于{from}起生产的产品"),
            Fact::SoldByMaker(true) => f.write_str("由本公司销售"),
            Fact::SoldByMaker(false) => f.write_str("非本公司销售"),
            Fact::Regions { sold, used } => {
                write!(f, "销售地：{}，使用地：{}", region(sold, "未提供"), region(used, "未提供"))
            }
            Fact::Invoice { on } => write!(f, "发票日期为{on}"),
            Fact::ExFactory { left_on, months, starts_on } => {
                write!(f, "无发票：{left_on}出厂，顺延{months}个月，自{starts_on}起计")
            }
            Fact::InvoiceComesFirst => f.write_str("已登记发票，以发票日期为准"),
            Fact::SaleWithoutInvoice => f.write_str("已登记的销售没有发票，只用于确定销售地"),
            Fact::NoSale => f.write_str("没有登记的销售"),
            Fact::OwnSale => f.write_str("本产品是更换所得，以原产品的起始日为准"),
            Fact::NoFaultFound => f.write_str("检测未发现故障"),
            Fact::PowerSupply { damaged: true } => f.write_str("电源有损坏"),
            Fact::PowerSupply { damaged: false } => f.write_str("电源无损坏"),
            Fact::Condition { performance_fault, appearance } => {
                f.write_str(if *performance_fault { "有性能故障" } else { "无性能故障" })?;
                f.write_str(match appearance {
                    Appearance::Intact => "，外观无划伤",
                    Appearance::Scratched => "，外观有划伤",
                })
            }
            Fact::Found => f.write_str("经检测发现"),
            Fact::Against { on, window } => {
                let place = ["早于", "属于", "晚于"][place(*on, window)];
                write!(f, "{on}{place}{}至{}", window.period.first, window.period.last)?;
                match (window.clause, &window.fault) {
                    (Clause::P2, Some(fault)) => write!(f, "，故障{fault}")?,
                    (Clause::P2, None) => f.write_str("，无故障代码")?,
                    _ => {}
                }
                match window.open {
                    Some(day) => write!(f, "，到期日可能顺延：{}年日历尚未发布", day.year()),
                    None => Ok(()),
                }
            }
            Fact::AskedAbout(on) => write!(f, "查询日期为{on}"),
            Fact::Discontinued => f.write_str("该型号已停产"),
            Fact::Contract { confirmed_on: None, .. } => f.write_str("销售合同未经确认"),
            Fact::Contract { confirmed_on: Some(from), revoked_on: None } => write!(f, "销售合同自{from}起生效"),
            Fact::Contract { confirmed_on: Some(from), revoked_on: Some(until) } => {
                write!(f, "销售合同自{from}起生效，自{until}起撤销")
            }
            Fact::SameFault { fault: Some(fault), repairs, needed } => {
                write!(f, "故障{fault}此前已免费维修{repairs}次，满{needed}次即更换")
            }
            Fact::SameFault { fault: None, needed, .. } => write!(f, "无故障代码；同一故障免费维修满{needed}次即更换"),
            Fact::Written(text) => f.write_str(text),
        }
    }
}

fn region<'a>(given: &'a Option<Region>, none: &'a str) -> &'a str {
    given.as_ref().map_or(none, Region::as_str)
}

/// 0 before the window, 1 inside, 2 after it.
fn place(on: NaiveDate, window: &Window) -> usize {
    1 + usize::from(on > window.period.last) - usize::from(on < window.period.first)
}
