//! The small words that every service maps: dates, moments, enums, optional texts.

use chrono::{DateTime, Datelike, NaiveDate, Utc};
use prost_types::Timestamp;

use crate::{
    contract::{
        google::r#type::{Date, Money},
        v1::Contact,
    },
    domain::money::Fen,
    store::people::Person,
};

/// A civil date.
pub fn date(day: NaiveDate) -> Date {
    // Months and days fit in an i32.
    Date { year: day.year(), month: day.month().cast_signed(), day: day.day().cast_signed() }
}

/// A moment.
pub fn time(at: DateTime<Utc>) -> Timestamp {
    Timestamp { seconds: at.timestamp(), nanos: at.timestamp_subsec_nanos().cast_signed() }
}

/// An amount of CNY.
pub fn money(amount: Fen) -> Money {
    let (units, nanos) = amount.units_and_nanos();
    Money { currency_code: "CNY".to_owned(), units, nanos }
}

/// A text that may be missing: empty on the wire.
pub fn text(optional: Option<impl ToString>) -> String {
    optional.map(|text| text.to_string()).unwrap_or_default()
}

/// A person, for whoever may see him.
pub fn contact(person: Person) -> Contact {
    Contact { name: text(person.name), telephone: text(person.telephone), address: text(person.address) }
}

/// An enum's number in the contract, which numbers the domain's values from 1 in their order.
macro_rules! number {
    ($value:expr) => {
        $value as i32 + 1
    };
}
pub(crate) use number;
