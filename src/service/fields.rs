//! Reads a request's fields and gathers every violation, each with its path, before anything is done.

use std::{sync::LazyLock, time::Duration};

use chrono::{DateTime, NaiveDate, Utc};
use prost_types::Timestamp;
use strum::IntoEnumIterator;
use tonic::Status;
use uuid::Uuid;

use super::status;
use crate::{
    contract::{
        google::r#type::{Date, Money},
        v1,
    },
    domain::{
        clause::Clause, event::Vouchers, facts::Told, money::Fen, period::is_plausible, region::Region, serial::Serial,
    },
    store::{
        people::{NamedCustomer, Person},
        replica::OLDEST,
    },
};

/// A request's violations so far.
#[derive(Default)]
pub struct Fields {
    violations: Vec<(String, String)>,
}

impl Fields {
    /// Adds a violation. An answer holds 20: what is told travels in headers, which clients take up to 8 KiB of.
    pub fn violate(&mut self, field: &str, rule: impl Into<String>) {
        match self.violations.len() {
            0..20 => self.violations.push((field.to_owned(), rule.into())),
            20 => self.violations.push(("*".to_owned(), "more fields break a rule than are told at once".to_owned())),
            _ => {}
        }
    }

    /// Whether a list may be read at all: no request is taken apart that no reply could answer.
    pub fn at_most<T>(field: &str, entries: &[T], limit: usize) -> Result<(), Status> {
        if entries.len() > limit { Err(status::too_large(field, limit)) } else { Ok(()) }
    }

    fn read<T, E: ToString>(&mut self, field: &str, read: Result<T, E>) -> Option<T> {
        read.map_err(|rule| self.violate(field, rule.to_string())).ok()
    }

    /// What was read, or every violation. `read` gives none only where a violation was gathered.
    pub fn finish<T>(self, read: impl FnOnce() -> Option<T>) -> Result<T, Status> {
        if !self.violations.is_empty() {
            return Err(status::invalid(&self.violations));
        }
        read().ok_or_else(status::internal)
    }

    /// A request's only field, or its violations.
    pub fn one<T>(read: impl FnOnce(&mut Self) -> Option<T>) -> Result<T, Status> {
        let mut fields = Self::default();
        let read = read(&mut fields);
        fields.finish(|| read)
    }

    /// The violations so far, each a field's path and the rule that it breaks.
    pub fn violations(self) -> Vec<(String, String)> {
        self.violations
    }

    /// Every entry of a list, each read with its place. None where one cannot be read; the others are, for their violations.
    pub fn each<'g, G, T, C: FromIterator<T>>(
        &mut self,
        given: &'g [G],
        mut read: impl FnMut(&mut Self, usize, &'g G) -> Option<T>,
    ) -> Option<C> {
        let read: Vec<Option<T>> = given.iter().enumerate().map(|(at, one)| read(self, at, one)).collect();
        read.into_iter().collect()
    }

    /// What must be there: none, with a violation, where it is not.
    fn there(&mut self, field: &str, there: bool) -> Option<()> {
        self.read(field, there.then_some(()).ok_or("is required"))
    }

    /// A UUID.
    pub fn uuid(&mut self, field: &str, text: &str) -> Option<Uuid> {
        self.there(field, !text.is_empty())?;
        self.read(field, Uuid::parse_str(text).map_err(|_| "must be a UUID"))
    }

    /// A UUID, or none where empty.
    pub fn optional_uuid(&mut self, field: &str, text: &str) -> Option<Option<Uuid>> {
        if text.is_empty() { Some(None) } else { self.uuid(field, text).map(Some) }
    }

    /// The write's own id: a UUID that is not nil.
    pub fn request_id(&mut self, text: &str) -> Option<Uuid> {
        let id = self.uuid("request_id", text)?;
        if id.is_nil() {
            self.violate("request_id", "must not be nil");
        }
        Some(id)
    }

    /// A serial number.
    pub fn serial(&mut self, field: &str, text: &str) -> Option<Serial> {
        self.there(field, !text.is_empty())?;
        self.read(field, Serial::parse(text))
    }

    /// A serial number, or none where empty.
    pub fn optional_serial(&mut self, field: &str, text: &str) -> Option<Option<Serial>> {
        if text.is_empty() { Some(None) } else { self.serial(field, text).map(Some) }
    }

    /// A region, or none where empty.
    pub fn optional_region(&mut self, field: &str, text: &str) -> Option<Option<Region>> {
        if text.is_empty() { Some(None) } else { self.read(field, Region::parse(text)).map(Some) }
    }

    /// A civil date, or none where left out.
    pub fn optional_date(&mut self, field: &str, date: Option<&Date>) -> Option<Option<NaiveDate>> {
        let Some(date) = date else { return Some(None) };
        let day = u32::try_from(date.month).ok().zip(u32::try_from(date.day).ok());
        let day = day.and_then(|(month, day)| NaiveDate::from_ymd_opt(date.year, month, day));
        self.read(field, day.filter(|day| is_plausible(*day)).ok_or("must be a whole date of the years 1990 to 2100"))
            .map(Some)
    }

    /// A civil date that must be there.
    pub fn date(&mut self, field: &str, date: Option<&Date>) -> Option<NaiveDate> {
        let read = self.optional_date(field, date)?;
        self.read(field, read.ok_or("is required"))
    }

    /// A period's first and last civil date, both there, of at most `most` days: `first_date`, `last_date`.
    pub fn period(&mut self, first: Option<&Date>, last: Option<&Date>, most: i64) -> Option<(NaiveDate, NaiveDate)> {
        let (first, last) = (self.date("first_date", first), self.date("last_date", last));
        let (first, last) = (first?, last?);
        let within = (0..most).contains(&(last - first).num_days());
        let rule = format!("must not lie before the first, nor make more than {most} days");
        self.read("last_date", if within { Ok((first, last)) } else { Err(rule) })
    }

    /// A civil date that is not in the future; `today` where left out.
    pub fn past_date(&mut self, field: &str, date: Option<&Date>, today: NaiveDate) -> Option<NaiveDate> {
        let day = self.optional_date(field, date)?.unwrap_or(today);
        self.read(field, if day > today { Err("must not be in the future") } else { Ok(day) })
    }

    /// A moment that is not in the future, or none where left out.
    pub fn past_time(
        &mut self,
        field: &str,
        time: Option<&Timestamp>,
        now: DateTime<Utc>,
    ) -> Option<Option<DateTime<Utc>>> {
        let Some(time) = time else { return Some(None) };
        let read = u32::try_from(time.nanos).ok().and_then(|nanos| DateTime::from_timestamp(time.seconds, nanos));
        let read = read.filter(|at| is_plausible(at.date_naive())).ok_or("must be a moment of the years 1990 to 2100");
        let at = self.read(field, read)?;
        self.read(field, if at > now { Err("must not be in the future") } else { Ok(Some(at)) })
    }

    /// How old facts may be, or none where left out.
    pub fn staleness(&mut self, field: &str, given: Option<&prost_types::Duration>) -> Option<Option<Duration>> {
        let Some(given) = given else { return Some(None) };
        let read = Duration::try_from(*given).ok().filter(|age| *age <= OLDEST);
        self.read(field, read.map(Some).ok_or("must be 0 to 600 seconds"))
    }

    /// One of an enum's values; 0 is none.
    pub fn optional_choice<T: IntoEnumIterator + ToString>(&mut self, field: &str, number: i32) -> Option<Option<T>> {
        match number {
            0 => Some(None),
            number => self.choice(field, number).map(Some),
        }
    }

    /// One of an enum's values, which the contract numbers from 1 in the domain's order.
    pub fn choice<T: IntoEnumIterator + ToString>(&mut self, field: &str, number: i32) -> Option<T> {
        let value =
            usize::try_from(number).ok().and_then(|number| number.checked_sub(1)).and_then(|at| T::iter().nth(at));
        if value.is_none() {
            self.not_one_of(field, number, T::iter().map(|value| value.to_string()));
        }
        value
    }

    /// A number that is none of an enum's values: names those.
    pub fn not_one_of(&mut self, field: &str, number: i32, values: impl Iterator<Item = String>) {
        if self.there(field, number != 0).is_some() {
            self.violate(field, format!("must be one of {}", values.collect::<Vec<_>>().join(", ")));
        }
    }

    /// Text of at most `most` characters without control characters, trimmed; none where empty.
    pub fn optional_text(&mut self, field: &str, text: &str, most: usize) -> Option<Option<String>> {
        let text = text.trim();
        let unseen = |c: char| {
            c.is_control()
                || matches!(c, '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}')
        };
        if text.chars().any(unseen) {
            self.violate(field, "must not have control or invisible characters");
        }
        if text.chars().count() > most {
            self.violate(field, format!("has at most {most} characters"));
        }
        Some((!text.is_empty()).then(|| text.to_owned()))
    }

    /// Text that must be there.
    pub fn text(&mut self, field: &str, text: &str, most: usize) -> Option<String> {
        let read = self.optional_text(field, text, most)?;
        self.read(field, read.ok_or("is required"))
    }

    /// A name of 1 to 40 of the characters in `also`, letters and digits.
    pub fn name(&mut self, field: &str, text: &str, also: &str) -> Option<String> {
        self.there(field, !text.is_empty())?;
        let well_formed =
            (1..=40).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || also.contains(c));
        let rule = format!("has 1 to 40 letters, digits and any of {also}");
        self.read(field, if well_formed { Ok(text.to_owned()) } else { Err(rule) })
    }

    /// A dealer's id, or none where empty.
    pub fn optional_dealer(&mut self, field: &str, text: &str) -> Option<Option<String>> {
        if text.is_empty() { Some(None) } else { self.name(field, text, "._-").map(Some) }
    }

    /// A product's model.
    pub fn model(&mut self, field: &str, text: &str) -> Option<String> {
        let model = self.name(field, text, ".-")?;
        let well_formed = !model.starts_with(['.', '-']) && !model.contains(|c: char| c.is_ascii_lowercase());
        self.read(field, if well_formed { Ok(model) } else { Err("has capitals, and starts with a letter or digit") })
    }

    /// A product's model, or none where empty.
    pub fn optional_model(&mut self, field: &str, text: &str) -> Option<Option<String>> {
        if text.is_empty() { Some(None) } else { self.model(field, text).map(Some) }
    }

    /// A fault's code, or none where empty.
    pub fn optional_fault(&mut self, field: &str, text: &str) -> Option<Option<String>> {
        let well_formed =
            text.len() <= 32 && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
        let rule = "has at most 32 capitals, digits and underscores";
        self.read(field, if well_formed { Ok((!text.is_empty()).then(|| text.to_owned())) } else { Err(rule) })
    }

    /// An amount of CNY that is not negative, or none where left out.
    pub fn optional_money(&mut self, field: &str, money: Option<&Money>) -> Option<Option<Fen>> {
        let Some(money) = money else { return Some(None) };
        self.read(field, Fen::of(&money.currency_code, money.units, money.nanos)).map(Some)
    }

    /// An amount of CNY that must be there.
    pub fn money(&mut self, field: &str, money: Option<&Money>) -> Option<Fen> {
        let read = self.optional_money(field, money)?;
        self.read(field, read.ok_or("is required"))
    }

    /// A version that was read; 0 is none.
    pub fn version(&mut self, version: i64) -> Option<i64> {
        self.read("version", if version < 0 { Err("must not be negative") } else { Ok(version) })
    }

    /// Inspection's findings: X1 and X3 to X8.
    pub fn findings(&mut self, numbers: &[i32]) -> Option<std::collections::BTreeSet<Clause>> {
        self.each(numbers, |fields, at, number| {
            let field = format!("findings[{at}]");
            let clause: Clause = fields.choice(&field, *number)?;
            fields.read(&field, if clause.is_finding() { Ok(clause) } else { Err("must be X1 or X3 to X8") })
        })
    }

    /// The facts of a fault as told.
    pub fn told(&mut self, report: Option<&v1::FaultReport>) -> Option<Told> {
        static NOTHING: LazyLock<v1::FaultReport> = LazyLock::new(v1::FaultReport::default);
        let report = report.unwrap_or(&NOTHING);
        let part = self.optional_choice("report.part", report.part);
        let fault = self.optional_fault("report.fault_code", &report.fault_code);
        let appearance = self.optional_choice("report.appearance", report.appearance);
        let region_of_use = self.optional_region("report.region_of_use", &report.region_of_use);
        Some(Told {
            part: part?,
            fault: fault?,
            performance_fault: report.performance_fault,
            appearance: appearance?,
            power_supply_damage: report.power_supply_damage,
            region_of_use: region_of_use?,
        })
    }

    /// Vouchers as given (M1).
    pub fn vouchers(&mut self, given: &v1::Vouchers) -> Option<Vouchers> {
        let invoice_number = self.optional_text("vouchers.invoice_number", &given.invoice_number, 64);
        let card_number = self.optional_text("vouchers.warranty_card_number", &given.warranty_card_number, 64);
        let invoice_date = self.optional_date("vouchers.invoice_date", given.invoice_date.as_ref());
        Some(Vouchers {
            invoice_number: invoice_number?,
            warranty_card_number: card_number?,
            invoice_date: invoice_date?,
        })
    }

    /// A customer, by number or by a contact that makes a new one; none where left out.
    pub fn customer(&mut self, field: &str, customer: Option<&v1::Customer>) -> Option<Option<NamedCustomer>> {
        use v1::customer::Customer as Named;
        let Some(named) = customer.and_then(|customer| customer.customer.as_ref()) else { return Some(None) };
        match named {
            Named::CustomerId(id) => Some(Some(NamedCustomer::Known(self.uuid(&format!("{field}.customer_id"), id)?))),
            Named::Contact(contact) => {
                let name = self.text(&format!("{field}.contact.name"), &contact.name, 100);
                let telephone = self.optional_text(&format!("{field}.contact.telephone"), &contact.telephone, 30);
                let address = self.optional_text(&format!("{field}.contact.address"), &contact.address, 300);
                let person = Person { name: Some(name?), telephone: telephone?, address: address? };
                Some(Some(NamedCustomer::New(Uuid::now_v7(), person)))
            }
        }
    }

    /// That a list in a request has an entry.
    pub fn entries<T>(&mut self, field: &str, entries: &[T]) {
        if entries.is_empty() {
            self.violate(field, "must have at least one entry");
        }
    }
}
