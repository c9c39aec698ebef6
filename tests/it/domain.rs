//! The domain's smallest rooms, each by itself: no database, no listener.

mod calendar;
mod freight;
mod ledger;
mod money;
mod parcel;
mod period;
mod plain;
mod quote;
mod rate;
mod region;
mod return_number;
mod serial;
mod stock;
mod vouchers;
mod windows;
