//! Quotes for paid repairs (P1): issued by billing, accepted or declined by whoever filed the claim.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use tonic::Request;
use uuid::Uuid;

use super::{OnClaim, answer, billing::code, hold, on_claim};
use crate::{
    clock::civil_date,
    contract::v1,
    domain::{
        actor::Actor,
        claim::{Action, Claim},
        event::Event,
        period::{Period, end_of_day},
        quote::{self, Change, Line, MOST_OF_ONE, PriceKind, QuoteState, Unpriced},
        refusal::Refusal,
    },
    service::wire::{money, number, text, time},
    service::{App, Fields, Moment, Page, Reply, open, open_write, page, transact},
    store::{
        self, Error, claims, facts, prices,
        quotes::{self, Quote, Verdict},
    },
};

/// A quote on the wire. An issued one whose time passed is told as expired, unless an appeal keeps it waiting.
fn on_the_wire(quote: Quote, actor: &Actor, now: DateTime<Utc>, waits: bool) -> v1::Quote {
    let over = quote.state == QuoteState::Issued && now > quote.expires_at && !waits;
    let line = |line: Line| v1::QuoteLine {
        kind: number!(line.kind),
        quantity: line.quantity.cast_signed(),
        unit_price: Some(money(line.unit_price)),
        amount: Some(money(line.amount())),
        reason: text(line.reason),
        code: line.code,
    };
    let charge = quote.priced.charge();
    v1::Quote {
        quote_id: quote.quote_id.to_string(),
        claim_id: quote.claim_id.to_string(),
        state: number!(if over { QuoteState::Expired } else { quote.state }),
        lines: quote.priced.lines.into_iter().map(line).collect(),
        subtotal: Some(money(quote.priced.subtotal)),
        vat_basis_points: quote.priced.vat_basis_points.cast_signed(),
        vat: Some(money(charge.vat)),
        total: Some(money(charge.total)),
        issued_time: Some(time(quote.issued_at)),
        expires_time: Some(time(quote.expires_at)),
        decided_time: quote.decided_at.map(time),
        decided_by: text(quote.decided_by),
        on_behalf_of: text(quote.on_behalf_of),
        token_fingerprint: text(quote.token_fingerprint.filter(|_| actor.is_staff())),
        reason: text(quote.reason),
    }
}

/// Billing's changes, each of another thing.
fn changes(fields: &mut Fields, given: &[v1::QuoteLineChange]) -> Option<Vec<Change>> {
    let mut named = HashSet::new();
    fields.each(given, |fields, at, change| {
        let path = |field: &str| format!("changes[{at}].{field}");
        let kind: Option<PriceKind> = fields.choice(&path("kind"), change.kind);
        let code = code(fields, &path("code"), kind, &change.code);
        if !named.insert((change.kind, change.code.as_str())) {
            fields.violate(&path("code"), "must be another than in the changes before it");
        }
        let quantity = u32::try_from(change.quantity).ok().filter(|quantity| *quantity <= MOST_OF_ONE);
        if quantity.is_none() {
            fields.violate(&path("quantity"), format!("must be 0 to {MOST_OF_ONE}"));
        }
        let unit_price = fields.optional_money(&path("unit_price"), change.unit_price.as_ref());
        let reason = fields.optional_text(&path("reason"), &change.reason, 500);
        let (kind, code, quantity) = (kind?, code?, quantity?);
        Some(Change { kind, code, quantity, unit_price: unit_price?, reason: reason? })
    })
}

pub(super) async fn quote(app: &App, request: Request<v1::QuoteRepairRequest>) -> Reply<v1::QuoteRepairResponse> {
    let (call, request, id, mut fields) = open_write(request)?;
    Fields::at_most("changes", &request.changes, 50)?;
    let on = on_claim(&mut fields, &request.claim_id, request.version);
    let changes = changes(&mut fields, &request.changes);
    let (id, on, changes) = fields.finish(|| Some((id?, on?, changes?)))?;
    transact!(app.write(&call, id, &request, changes), |conn, changes, moment| {
        let claim = hold(&mut *conn, moment, on, Action::Quote).await?;
        let unit = facts::of_unit(&mut *conn, &claim.filing.serial, Some(claim.id)).await?;
        let (product_type, fault) = (unit.facts.original.product_type, claim.filing.told.fault.as_deref());
        let list = prices::in_force(&mut *conn, moment.today, &quote::keys(product_type, fault, &changes)).await?;
        let priced = quote::build(&list, product_type, fault, &changes).map_err(|unpriced| match unpriced {
            Unpriced::Change(at, field, rule) => Error::invalid(format!("changes[{at}].{field}"), rule),
            Unpriced::Whole(rule) => Error::invalid("changes", rule),
            Unpriced::Refused(refusal) => refusal.into(),
        })?;
        let quote_id = Uuid::now_v7();
        let event = claim.issue_quote(quote_id, priced.charge())?;
        if let Some(before) = claim.quote {
            quotes::decide(&mut *conn, before, Verdict::Superseded, &moment.actor, moment.now).await?;
        }
        let last = Period::of_days(moment.today, claim.filing.targets.quote_valid_days).last;
        let named = (claim.id, quote_id);
        let issued = quotes::issue(&mut *conn, named, &priced, end_of_day(last), &moment.actor, moment.now).await?;
        let claim = claims::advance(&mut *conn, claim, vec![event], None, &moment.actor, moment.now).await?;
        let quote = Some(on_the_wire(issued, &moment.actor, moment.now, false));
        Ok(v1::QuoteRepairResponse { claim: answer::one(conn, claim, moment).await?, quote })
    })
}

pub(super) async fn accept(app: &App, request: Request<v1::AcceptQuoteRequest>) -> Reply<v1::AcceptQuoteResponse> {
    let (call, request, id, mut fields) = open_write(request)?;
    let on = on_claim(&mut fields, &request.claim_id, request.version);
    let quote_id = fields.uuid("quote_id", &request.quote_id);
    let (id, on, quote_id) = fields.finish(|| Some((id?, on?, quote_id?)))?;
    transact!(app.write(&call, id, &request, call.token), |conn, token, moment| {
        let step = |claim: &Claim| claim.accept_quote(quote_id, moment.today);
        let (claim, quote) = decide_now(conn, (on, quote_id), Verdict::Accepted(token), step, moment).await?;
        Ok(v1::AcceptQuoteResponse { claim, quote })
    })
}

pub(super) async fn decline(app: &App, request: Request<v1::DeclineQuoteRequest>) -> Reply<v1::DeclineQuoteResponse> {
    let (call, request, id, mut fields) = open_write(request)?;
    let on = on_claim(&mut fields, &request.claim_id, request.version);
    let quote_id = fields.uuid("quote_id", &request.quote_id);
    let reason = fields.optional_text("reason", &request.reason, 500);
    let (id, on, quote_id, reason) = fields.finish(|| Some((id?, on?, quote_id?, reason?)))?;
    transact!(app.write(&call, id, &request, reason), |conn, reason, moment| {
        let verdict = Verdict::Declined(reason.clone());
        let step = |claim: &Claim| claim.decline_quote(quote_id, moment.today, reason);
        let (claim, quote) = decide_now(conn, (on, quote_id), verdict, step, moment).await?;
        Ok(v1::DeclineQuoteResponse { claim, quote })
    })
}

/// What the applicant says to the quote that it read: `step` judges whether it may.
async fn decide_now(
    conn: &mut PgConnection,
    (on, quote_id): (OnClaim, Uuid),
    verdict: Verdict,
    step: impl FnOnce(&Claim) -> Result<Event, Refusal> + Send,
    moment: &Moment,
) -> store::Result<(Option<v1::Claim>, Option<v1::Quote>)> {
    let claim = claims::lock(&mut *conn, &moment.actor, on.id).await?;
    claim.applied_by(&moment.actor)?;
    claim.at_version(on.version)?;
    let read = quotes::get(&mut *conn, claim.id, quote_id).await?;
    if read.state == QuoteState::Expired {
        return Err(Refusal::QuoteExpired { on: civil_date(read.expires_at) }.into());
    }
    let event = step(&claim)?;
    let decided = quotes::decide(&mut *conn, quote_id, verdict, &moment.actor, moment.now).await?;
    let claim = claims::advance(&mut *conn, claim, vec![event], None, &moment.actor, moment.now).await?;
    let quote = on_the_wire(decided, &moment.actor, moment.now, false);
    Ok((answer::one(conn, claim, moment).await?, Some(quote)))
}

pub(super) async fn list(app: &App, request: Request<v1::ListQuotesRequest>) -> Reply<v1::ListQuotesResponse> {
    let (call, request) = open(request)?;
    let mut fields = Fields::default();
    let page = page!(fields, call, request);
    let before = page.as_ref().and_then(|page| page.after_as(&mut fields));
    let id = fields.uuid("claim_id", &request.claim_id);
    let (page, id, before) = fields.finish(|| Some((page?, id?, before?)))?;
    let now = app.clock.now();
    transact!(app.read(&call, page), |conn, page, actor| {
        let waits = claims::get(&mut *conn, actor, id).await?.appeal_is_open();
        let mut found = quotes::list(conn, id, before, page.fetch()).await?;
        let next_page_token = page.cut(&mut found, |quote| quote.quote_id.to_string());
        let quotes = found.into_iter().map(|quote| on_the_wire(quote, actor, now, waits)).collect();
        Ok(v1::ListQuotesResponse { quotes, next_page_token })
    })
}
