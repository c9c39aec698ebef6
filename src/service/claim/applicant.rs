//! What a dealer on behalf of a customer, or a customer, does: file, cancel, swap (M1 to M3).

use sqlx::PgConnection;
use tonic::Request;
use uuid::Uuid;

use super::{OnClaim, Ruled, answer, decide_now, hold, on_claim};
use crate::{
    contract::v1,
    domain::{
        actor::Actor,
        claim::{Action, Claim},
        claim_steps::{may_be_given, not_none},
        event::{Filing, Ruling, Stage, Vouchers},
        facts::{Report, Told},
        serial::Serial,
        vouchers::{dispute, verify},
    },
    service::{App, Moment, Reply, fields::Fields, open},
    store::{
        self, Error, claims, dealers,
        history::{self, Replacement},
        people::{self, NamedCustomer},
        sales::{self, Sale},
        units,
    },
};

/// A filing as asked for, nothing looked up yet.
#[derive(Clone)]
struct Asked {
    serial: Serial,
    told: Told,
    customer: Option<NamedCustomer>,
    vouchers: Vouchers,
}

pub(super) async fn file(app: &App, request: Request<v1::FileClaimRequest>) -> Reply<v1::FileClaimResponse> {
    let (call, request) = open(request)?;
    let given = request.vouchers.clone().unwrap_or_default();
    let mut fields = Fields::default();
    let id = fields.request_id(&request.request_id);
    let serial = fields.serial("serial", &request.serial);
    let told = fields.told(request.report.as_ref());
    let customer = fields.customer(request.customer.as_ref());
    if call.actor.customer_id().is_some() && request.customer.is_some() {
        fields.violate("customer", "must be left out: a customer files for himself");
    }
    let vouchers = fields.vouchers(&given);
    let (id, asked) = fields
        .finish(|| Some((id?, Asked { serial: serial?, told: told?, customer: customer?, vouchers: vouchers? })))?;
    app.write(&call, id, &request, asked, move |conn, asked, moment| {
        Box::pin(async move { file_now(conn, asked, moment).await })
    })
    .await
}

async fn file_now(conn: &mut PgConnection, asked: Asked, moment: &Moment) -> store::Result<v1::FileClaimResponse> {
    dealers::must_be_active(&mut *conn, &moment.actor).await?;
    // Held, so that of two who file for one unit, or file and replace it, the second sees what the first did.
    units::lock(&mut *conn, &[&asked.serial]).await?;
    let sale = sales::of_original(&mut *conn, &asked.serial).await?;
    let registered = sale.as_ref().map(Sale::registered);
    let voucher_verified = verify(&moment.actor, &asked.vouchers, registered.as_ref())?;
    let dispute = dispute(&asked.vouchers, registered.as_ref());
    let report = Report {
        on: moment.today,
        told: asked.told.clone(),
        findings: Default::default(),
        no_fault_found: false,
        inspected: false,
    };
    let Ruled { decided, contact, targets, .. } = decide_now(&mut *conn, moment, &asked.serial, None, report).await?;
    not_none(&decided.decision)?;
    let customer_id = customer(&mut *conn, &moment.actor, asked.customer.as_ref(), sale.as_ref()).await?;
    let filing = Filing {
        serial: asked.serial,
        applicant: moment.actor.clone(),
        customer_id,
        told: asked.told,
        vouchers: asked.vouchers,
        voucher_verified,
        filed_at: moment.now,
        reported_on: moment.today,
        targets,
        dispute,
    };
    let claim = Claim::filed(Uuid::now_v7(), filing, &Ruling::of(Stage::Provisional, &decided.decision));
    claims::file(&mut *conn, &claim, &decided, &moment.actor, moment.now).await?;
    Ok(v1::FileClaimResponse { claim: answer::one(conn, claim, moment).await?, contact })
}

/// Whom the claim is for: himself, whom the dealer names, or the buyer that the dealer's own sale names.
async fn customer(
    conn: &mut PgConnection,
    actor: &Actor,
    named: Option<&NamedCustomer>,
    sale: Option<&Sale>,
) -> store::Result<Uuid> {
    if let Some(own) = actor.customer_id() {
        people::ensure(conn, actor, own).await?;
        return Ok(own);
    }
    if let Some(named) = named {
        return people::customer(conn, actor, named).await;
    }
    let own_sale = sale.filter(|sale| Some(sale.dealer_id.as_str()) == actor.dealer_id());
    let buyer = own_sale.and_then(|sale| sale.customer_id);
    buyer.ok_or_else(|| Error::invalid("customer", "is required: no sale of the caller's names the customer"))
}

pub(super) async fn cancel(app: &App, request: Request<v1::CancelClaimRequest>) -> Reply<v1::CancelClaimResponse> {
    let (call, request) = open(request)?;
    let mut fields = Fields::default();
    let id = fields.request_id(&request.request_id);
    let on = on_claim(&mut fields, &request.claim_id, request.version);
    let reason = fields.optional_text("reason", &request.reason, 500);
    let (id, on, reason) = fields.finish(|| Some((id?, on?, reason?)))?;
    app.write(&call, id, &request, reason, move |conn, reason, moment| {
        Box::pin(async move {
            let claim = claims::lock(&mut *conn, &moment.actor, on.id).await?;
            claim.at_version(on.version)?;
            let event = claim.cancel(&moment.actor, reason)?;
            let claim = claims::advance(&mut *conn, claim, vec![event], None, &moment.actor, moment.now).await?;
            Ok(v1::CancelClaimResponse { claim: answer::one(conn, claim, moment).await? })
        })
    })
    .await
}

pub(super) async fn swap(app: &App, request: Request<v1::RecordSwapRequest>) -> Reply<v1::RecordSwapResponse> {
    let (call, request) = open(request)?;
    let mut fields = Fields::default();
    let id = fields.request_id(&request.request_id);
    let on = on_claim(&mut fields, &request.claim_id, request.version);
    let given = fields.serial("given_serial", &request.given_serial);
    let (id, on, given) = fields.finish(|| Some((id?, on?, given?)))?;
    app.write(&call, id, &request, given, move |conn, given, moment| {
        Box::pin(async move { swap_now(conn, on, given, moment).await })
    })
    .await
}

async fn swap_now(
    conn: &mut PgConnection,
    on: OnClaim,
    given: Serial,
    moment: &Moment,
) -> store::Result<v1::RecordSwapResponse> {
    dealers::must_be_active(&mut *conn, &moment.actor).await?;
    let claim = hold(&mut *conn, moment, on, Action::Swap).await?;
    units::lock(&mut *conn, &[&claim.filing.serial, &given]).await?;
    let seller = sales::of_original(&mut *conn, &claim.filing.serial).await?.map(|sale| sale.dealer_id);
    let ruled = decide_now(&mut *conn, moment, &claim.filing.serial, Some(claim.id), claim.report()).await?;
    let Ruled { decided, model, .. } = ruled;
    let dealer = moment.actor.dealer_id().unwrap_or_default();
    let event = claim.swap(dealer, seller.as_deref(), &decided.decision, given.clone())?;
    let unit = units::to_give(&mut *conn, &given).await?;
    may_be_given(&unit, &claim.filing.serial, &model, &decided.facts.equivalents)?;
    let replacement = Replacement {
        replaced_serial: claim.filing.serial.to_string(),
        replacement_serial: given.to_string(),
        replaced_on: moment.today,
        claim_id: Some(claim.id),
    };
    history::record_replacement(&mut *conn, &replacement, &moment.actor, moment.now).await?;
    let claim = claims::advance(&mut *conn, claim, vec![event], Some(&decided), &moment.actor, moment.now).await?;
    Ok(v1::RecordSwapResponse { claim: answer::one(conn, claim, moment).await? })
}
