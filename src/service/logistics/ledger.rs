//! The dealer's ledger: what dealer and maker owe each other after swaps (M3).

use chrono::NaiveDate;
use sqlx::PgConnection;
use tonic::Request;
use uuid::Uuid;

use crate::{
    contract::v1,
    domain::{
        claim::Claim,
        ledger::{Closing, Debtor, Owed},
        period::civil_date,
        refusal::Refusal,
    },
    service::wire::{date, number, text, time},
    service::{App, Fields, Moment, Page, Reply, open, open_write, page, transact},
    store::{self, Error, claims, dealers, ledger, stock},
};

fn debt(found: ledger::Debt, today: NaiveDate) -> v1::Debt {
    let age = found.closed_at.map_or(today, civil_date) - civil_date(found.opened_at);
    v1::Debt {
        claim_id: found.claim_id.to_string(),
        debtor: number!(found.debtor),
        owed: number!(found.owed),
        serial: text(found.serial),
        remedy: found.remedy.map_or(0, |remedy| number!(remedy)),
        why: found.owed.why(found.remedy),
        opened_time: Some(time(found.opened_at)),
        due_date: Some(date(found.due_on)),
        age_days: i32::try_from(age.num_days()).unwrap_or(i32::MAX),
        late: found.closing.is_none() && today > found.due_on,
        closing: found.closing.map_or(0, |closing| number!(closing)),
        closed_time: found.closed_at.map(time),
        closed_by_serial: text(found.closed_by),
        reason: text(found.reason),
    }
}

/// The claim, the debtor and the number that a page ended with.
fn key(after: Option<&str>) -> (Uuid, String, i32) {
    let mut parts = after.unwrap_or_default().split('/');
    let claim = parts.next().and_then(|id| id.parse().ok()).unwrap_or_else(Uuid::nil);
    let debtor = parts.next().unwrap_or_default().to_owned();
    (claim, debtor, parts.next().and_then(|number| number.parse().ok()).unwrap_or(0))
}

pub(super) async fn get(app: &App, request: Request<v1::GetDealerLedgerRequest>) -> Reply<v1::GetDealerLedgerResponse> {
    let (call, request) = open(request)?;
    let mut fields = Fields::default();
    let own = call.actor.dealer_id().filter(|_| request.dealer_id.is_empty()).map(str::to_owned);
    let dealer_id = own.or_else(|| fields.name("dealer_id", &request.dealer_id, "._-"));
    let page = page!(fields, call, request);
    let asked = fields.finish(|| dealer_id.zip(page))?;
    let (closed_too, today) = (request.closed_too, civil_date(app.clock.now()));
    transact!(app.read(&call, asked), |conn, (dealer_id, page), actor| {
        if actor.dealer_id().is_some_and(|own| own != dealer_id) {
            return Err(Error::not_found("dealer", dealer_id));
        }
        let limit = dealers::get(&mut *conn, &dealer_id).await?.debt_limit;
        let (dealer_owes_count, maker_owes_count) = ledger::totals(&mut *conn, &dealer_id).await?;
        let after = key(page.after.as_deref());
        let mut found = ledger::list(conn, &dealer_id, closed_too, after, page.fetch()).await?;
        let next_page_token = page.cut(&mut found, |debt| format!("{}/{}/{}", debt.claim_id, debt.debtor, debt.number));
        let debts = found.into_iter().map(|found| debt(found, today)).collect();
        Ok(v1::GetDealerLedgerResponse { debts, next_page_token, dealer_owes_count, maker_owes_count, limit })
    })
}

/// Closes a debt that is open, and gives it. Its claim ends with it where nothing goes out any more, or is waited for.
async fn settle(
    conn: &mut PgConnection,
    claim: Claim,
    debtor: Debtor,
    closing: Closing,
    reason: &str,
    moment: &Moment,
) -> store::Result<v1::Debt> {
    let (id, actor, now) = (claim.id, &moment.actor, moment.now);
    ledger::get(&mut *conn, id, debtor).await?;
    if !ledger::close(&mut *conn, id, debtor, closing, None, Some(reason), actor, now).await? {
        return Err(Refusal::DebtClosed.into());
    }
    if claim.ends_with_debt_of(debtor) {
        let event = claim.settle_debt(closing, reason.to_owned())?;
        let claim = claims::advance(&mut *conn, claim, vec![event], None, actor, now).await?;
        // What the dealer owed is still its own.
        if debtor == Debtor::Maker {
            stock::keep_replaced(&mut *conn, &claim, actor, now).await?;
        }
    }
    Ok(debt(ledger::get(conn, id, debtor).await?, moment.today))
}

pub(super) async fn write_off(app: &App, request: Request<v1::WriteOffDebtRequest>) -> Reply<v1::WriteOffDebtResponse> {
    let (call, request, id, mut fields) = open_write(request)?;
    let named = request.debt.clone().unwrap_or_default();
    let claim = fields.uuid("debt.claim_id", &named.claim_id);
    let debtor = fields.choice("debt.debtor", named.debtor);
    let reason = fields.text("reason", &request.reason, 500);
    let (id, asked) = fields.finish(|| Some((id?, (claim?, debtor?, reason?))))?;
    transact!(app.write(&call, id, &request, asked), |conn, (claim, debtor, reason), moment| {
        let claim = claims::lock(&mut *conn, &moment.actor, claim).await?;
        let debt = settle(conn, claim, debtor, Closing::WrittenOff, &reason, moment).await?;
        Ok(v1::WriteOffDebtResponse { debt: Some(debt) })
    })
}

pub(super) async fn net(app: &App, request: Request<v1::NetDebtsRequest>) -> Reply<v1::NetDebtsResponse> {
    let (call, request, id, mut fields) = open_write(request)?;
    let dealers_claim = fields.uuid("dealer_claim_id", &request.dealer_claim_id);
    let makers_claim = fields.uuid("maker_claim_id", &request.maker_claim_id);
    let reason = fields.text("reason", &request.reason, 500);
    let (id, asked) = fields.finish(|| Some((id?, (dealers_claim?, makers_claim?, reason?))))?;
    transact!(app.write(&call, id, &request, asked), |conn, (dealers_claim, makers_claim, reason), moment| {
        let named = [dealers_claim, makers_claim];
        let held = claims::lock_all(&mut *conn, &moment.actor, &named).await?;
        let owed = ledger::get(&mut *conn, dealers_claim, Debtor::Dealer).await?;
        let owing = ledger::get(&mut *conn, makers_claim, Debtor::Maker).await?;
        if owed.dealer_id != owing.dealer_id || owing.owed != Owed::GoodUnit {
            return Err(Refusal::DebtsDoNotMatch.into());
        }
        let mut debts = Vec::new();
        let both = [(Debtor::Dealer, "dealer_claim_id"), (Debtor::Maker, "maker_claim_id")];
        for (claim, (debtor, field)) in held.into_iter().zip(both) {
            let settled = settle(&mut *conn, claim, debtor, Closing::Netted, &reason, moment).await;
            debts.push(settled.map_err(|error| error.of_item(field))?);
        }
        Ok(v1::NetDebtsResponse { debts })
    })
}
