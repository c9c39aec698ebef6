//! The language of texts for people.

use strum::EnumIter;

/// The language of texts for people. The order is the contract's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter)]
pub enum Language {
    /// Chinese.
    Chinese,
    /// English.
    English,
}
