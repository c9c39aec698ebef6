//! Who does something.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Who acts, as the domain sees it. Written `dealer/ID`, `customer/UUID`, `staff/ID` or `worker/NAME` in columns and events.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// A dealer, by its id: letters, digits, `.`, `-`, `_`.
    Dealer(String),
    /// A customer.
    Customer(Uuid),
    /// Staff of the maker, or one of its services.
    Staff(String),
    /// What the clock drives. No token gives it.
    Worker(String),
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dealer(id) => write!(f, "dealer/{id}"),
            Self::Customer(id) => write!(f, "customer/{id}"),
            Self::Staff(id) => write!(f, "staff/{id}"),
            Self::Worker(name) => write!(f, "worker/{name}"),
        }
    }
}

impl Actor {
    /// The dealer's id, where it is one.
    pub fn dealer_id(&self) -> Option<&str> {
        match self {
            Self::Dealer(id) => Some(id),
            _ => None,
        }
    }

    /// The customer's id, where it is one.
    pub fn customer_id(&self) -> Option<Uuid> {
        match self {
            Self::Customer(id) => Some(*id),
            _ => None,
        }
    }

    /// Whether it may see a sale that this dealer made, or a claim that it filed, for this customer: what row-level security says
    /// of the same row.
    pub fn may_see(&self, dealer_id: Option<&str>, customer_id: Option<Uuid>) -> bool {
        match self {
            Self::Dealer(id) => dealer_id == Some(id),
            Self::Customer(id) => customer_id == Some(*id),
            Self::Staff(_) => true,
            Self::Worker(_) => false,
        }
    }

    /// Whether it is the maker's staff.
    pub fn is_staff(&self) -> bool {
        matches!(self, Self::Staff(_))
    }
}
