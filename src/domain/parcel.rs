//! What came out of a box, beside what was announced in it; what is set aside, and how that is settled.

use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, EnumString};

use super::{claim::Seal, facts::Appearance, refusal::Refusal, return_number::ReturnNumber, serial::Serial};

/// Which way a parcel travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Display, EnumString, EnumIter)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum Direction {
    /// To the maker.
    Inbound,
    /// From it.
    Outbound,
}

/// What a carrier says of a parcel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, EnumString, EnumIter)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs)]
pub enum TrackingStatus {
    PickedUp,
    InTransit,
    OutForDelivery,
    Delivered,
    /// Held up, damaged, or the address is wrong.
    Exception,
    /// It goes back to who sent it.
    Returned,
}

/// How a unit arrived.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrival {
    /// How it looks.
    pub appearance: Option<Appearance>,
    /// X3.
    pub seal: Option<Seal>,
    /// What was announced or belongs to it and is not there.
    pub missing_parts: Option<String>,
    /// Damaged on the way; whether that is X6, inspection finds.
    pub transport_damage: bool,
}

/// A unit as it came out of the box: both as they could be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// On the label.
    pub return_number: Option<String>,
    /// On the unit.
    pub serial: Option<String>,
}

/// Why what was found is no unit announced in its parcel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Display, EnumString, EnumIter)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum Difference {
    /// Another unit, or none that can be read, under an announced number.
    WrongSerial,
    /// Nobody announced a number like this in this parcel.
    Unannounced,
    /// Its claim was given up as lost before it came.
    GivenUp,
}

impl Found {
    /// Both, where they are well formed.
    pub fn read(&self) -> (Option<ReturnNumber>, Option<Serial>) {
        let number = self.return_number.as_deref().and_then(|number| ReturnNumber::parse(number).ok());
        (number, self.serial.as_deref().and_then(|serial| Serial::parse(serial).ok()))
    }

    /// Which of the announced, each its return number and serial, it is: both must fit. A number alone, or a serial alone, is
    /// never taken for the unit. Where the number fits and the serial does not, the place is told with the difference.
    pub fn among(&self, announced: &[(Option<&str>, Option<&str>)]) -> (Option<usize>, Result<Serial, Difference>) {
        let (number, serial) = self.read();
        let number = number.as_ref().map(ReturnNumber::as_str);
        let place = announced.iter().position(|(announced, _)| number.is_some() && *announced == number);
        let fits = |at: usize| serial.filter(|serial| announced[at].1 == Some(serial.as_str()));
        let unit = place.ok_or(Difference::Unannounced).and_then(|at| fits(at).ok_or(Difference::WrongSerial));
        (place, unit)
    }
}

/// How what was set aside is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Display, EnumString, EnumIter)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum Settlement {
    /// It is the unit of a claim after all.
    Claim,
    /// It went back to its sender as it came.
    Returned,
    /// It is kept until someone claims it.
    Kept,
}

impl Settlement {
    /// How what stands so may be settled; what is kept may still turn out to be somebody's.
    pub fn open_to(settled: Option<Self>) -> &'static [Self] {
        match settled {
            None => &[Self::Claim, Self::Returned, Self::Kept],
            Some(Self::Kept) => &[Self::Claim, Self::Returned],
            Some(Self::Claim | Self::Returned) => &[],
        }
    }

    /// Whether what stands so may be settled like this.
    pub fn after(self, settled: Option<Self>) -> Result<(), Refusal> {
        if Self::open_to(settled).contains(&self) { Ok(()) } else { Err(Refusal::SetAsideSettled) }
    }
}
