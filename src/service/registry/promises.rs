//! Dealers' own promises (S6).

use sqlx::PgConnection;
use tonic::Request;
use uuid::Uuid;

use super::sales::seller;
use crate::{
    contract::v1,
    domain::{refusal::Refusal, serial::Serial},
    service::wire::{date, time},
    service::{App, Moment, Reply, open_write, transact},
    store::{
        self, dealers,
        promises::{self, Promise},
        sales, units,
    },
};

/// A promise on the wire. Who may see it was decided where it was read.
pub(in crate::service) fn promise(promise: Promise) -> v1::DealerPromise {
    v1::DealerPromise {
        promise_id: promise.promise_id.to_string(),
        serial: promise.serial,
        dealer_id: promise.dealer_id,
        certificate_number: promise.certificate_number,
        promise: promise.promise,
        until_date: promise.until_on.map(date),
        recorded_time: Some(time(promise.recorded_at)),
        recorded_by: promise.recorded_by,
    }
}

pub(super) async fn record(
    app: &App,
    request: Request<v1::RecordDealerPromiseRequest>,
) -> Reply<v1::RecordDealerPromiseResponse> {
    let (call, request, id, mut fields) = open_write(request)?;
    let serial = fields.serial("serial", &request.serial);
    let dealer_id = seller(&mut fields, &call.actor, &request.dealer_id);
    let certificate_number = fields.text("certificate_number", &request.certificate_number, 64);
    let words = fields.text("promise", &request.promise, 500);
    let until_on = fields.optional_date("until_date", request.until_date.as_ref());
    let recorded_at = app.clock.now();
    let (id, given) = fields.finish(|| {
        let given = Promise {
            promise_id: Uuid::now_v7(),
            serial: serial.as_ref()?.to_string(),
            dealer_id: dealer_id?,
            certificate_number: certificate_number?,
            promise: words?,
            until_on: until_on?,
            recorded_at,
            recorded_by: call.actor.to_string(),
        };
        Some((id?, (serial?, given)))
    })?;
    transact!(app.write(&call, id, &request, given), |conn, (serial, given), moment| {
        write(conn, &serial, &given, moment).await?;
        Ok(v1::RecordDealerPromiseResponse { promise: Some(promise(given)) })
    })
}

async fn write(conn: &mut PgConnection, serial: &Serial, given: &Promise, moment: &Moment) -> store::Result<()> {
    dealers::must_be_active(&mut *conn, &moment.actor).await?;
    units::lock(&mut *conn, &[serial]).await?;
    let seller = sales::of_original(&mut *conn, serial).await?.map(|sale| sale.dealer_id);
    if seller.as_ref() != Some(&given.dealer_id) {
        return Err(Refusal::NotTheSeller.into());
    }
    promises::record(conn, given).await
}
