//! Imported units.

use std::collections::{HashMap, HashSet};

use chrono::NaiveDate;
use futures::future::BoxFuture;
use sqlx::PgConnection;

use super::{Kind, Verdict};
use crate::{
    contract::v1::{self, ErrorReason as R},
    domain::actor::Actor,
    service::{Fields, Moment, registry::units::read},
    store::{
        self,
        import::{RegisteredUnits, add_units, registered_units},
        units::Unit,
    },
};

/// Rows of units.
pub(in crate::service::registry) struct Units;

impl Kind for Units {
    type Message = v1::ImportUnitsRequest;
    type Row = v1::Unit;
    type Given = Unit;
    type Progress = v1::ImportUnitsResponse;
    const ROWS: &'static str = "units";

    fn rows(message: v1::ImportUnitsRequest) -> Vec<v1::Unit> {
        message.units
    }

    fn serial(row: &mut v1::Unit) -> &mut String {
        &mut row.serial
    }

    fn read(fields: &mut Fields, row: &v1::Unit, _: &Actor, today: NaiveDate) -> Option<Unit> {
        read(fields, |name| name.into(), row, today)
    }

    fn keep<'c>(
        conn: &'c mut PgConnection,
        given: &'c [Unit],
        moment: &'c Moment,
        again: bool,
    ) -> BoxFuture<'c, store::Result<Vec<Verdict>>> {
        Box::pin(async move {
            let registered = registered_units(&mut *conn, given, again).await?;
            let mut new = HashMap::new();
            let mut taken = HashSet::new();
            let verdicts = given.iter().map(|unit| judge(unit, &registered, &mut new, &mut taken)).collect();
            add_units(conn, new.into_values().collect(), moment.now).await?;
            Ok(verdicts)
        })
    }
}

/// Decided in this order: what is there, the model, what it was refurbished from. `new` are the group's units so far, by serial;
/// `taken` what they were refurbished from.
fn judge<'g>(
    unit: &'g Unit,
    registered: &RegisteredUnits,
    new: &mut HashMap<&'g str, &'g Unit>,
    taken: &mut HashSet<&'g str>,
) -> Verdict {
    if let Some(there) = registered.units.get(&unit.serial).or(new.get(unit.serial.as_str()).copied()) {
        return match there == unit {
            true => Verdict::Unchanged,
            false => Verdict::rejected(R::RegistryConflict, "serial", "the unit is registered with other facts"),
        };
    }
    if !registered.models.contains(&unit.model) {
        return Verdict::rejected(R::NotFound, "model", "no such product");
    }
    if let Some(from) = unit.refurbished_from.as_deref() {
        if !registered.units.contains_key(from) && !new.contains_key(from) {
            return Verdict::rejected(R::NotFound, "refurbished_from", "no such unit");
        }
        if registered.refurbished.contains(from) || !taken.insert(from) {
            let rule = "a unit was refurbished under another serial before";
            return Verdict::rejected(R::RegistryConflict, "refurbished_from", rule);
        }
    }
    new.insert(&unit.serial, unit);
    Verdict::Created
}
