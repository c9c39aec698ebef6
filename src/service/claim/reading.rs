//! Reading claims and what happened to them. A caller sees its own.

use serde_json::Value;
use tonic::Request;

use super::{
    answer::{self, Reader},
    evidence::on_the_wire,
};
use crate::{
    clock::civil_date,
    contract::v1::{self, ClaimEventType},
    domain::period::end_of_day,
    service::wire::{number, time},
    service::{App, Fields, Page, Reply, decision, open, page, transact},
    store::{
        claims::{self, Filter, StoredDecision, StoredEvent},
        error::Error,
        evidence,
    },
};

pub(super) async fn get(app: &App, request: Request<v1::GetClaimRequest>) -> Reply<v1::GetClaimResponse> {
    let (call, request) = open(request)?;
    let mut fields = Fields::default();
    let id = fields.uuid("claim_id", &request.claim_id);
    let language = fields.optional_choice("language", request.language);
    let (id, language) = fields.finish(|| Some((id?, language?)))?;
    let (rules, today) = (app.rules.clone(), civil_date(app.clock.now()));
    transact!(app.read(&call, (id, rules)), |conn, (id, rules), actor| {
        let found = claims::get(&mut *conn, actor, id).await?;
        let decisions = claims::decisions(&mut *conn, &[id]).await?;
        let evidence = evidence::of_claim(&mut *conn, id, None).await?;
        let policies = rules.current(conn).await?;
        let latest = answer::latest(&found, &decisions, found.decided);
        let latest = latest.ok_or_else(|| Error::broken("a claim without its decision"))?;
        Ok(v1::GetClaimResponse {
            contact: decision::contact(&policies, latest.remedy, &latest.policy_version),
            evidence: evidence.iter().map(on_the_wire).collect(),
            summary: decision::summary(&policies, latest, language),
            texts: decision::texts(&policies, latest, language),
            claim: Some(answer::claim(found, &decisions, Reader { actor, today, language })),
        })
    })
}

pub(super) async fn list(app: &App, request: Request<v1::ListClaimsRequest>) -> Reply<v1::ListClaimsResponse> {
    let (call, request) = open(request)?;
    Fields::at_most("states", &request.states, 20)?;
    let filters = v1::ListClaimsRequest { page_size: 0, page_token: String::new(), language: 0, ..request.clone() };
    let mut fields = Fields::default();
    let page = Page::read(&mut fields, &call, request.page_size, &request.page_token, &filters);
    let states = fields.each(&request.states, |fields, at, state| fields.choice(&format!("states[{at}]"), *state));
    let serial = fields.optional_serial("serial", &request.serial);
    let dealer_id = fields.optional_dealer("dealer_id", &request.dealer_id);
    let language = fields.optional_choice("language", request.language);
    let filed_until = fields.optional_date("filed_until_date", request.filed_until_date.as_ref());
    let today = civil_date(app.clock.now());
    let due_before = request.late.then_some(today);
    let before = page.as_ref().and_then(|page| page.after_as(&mut fields));
    let (page, filter, language) = fields.finish(|| {
        let filed_until = filed_until?.map(end_of_day);
        let (states, serial, dealer_id, before) = (states?, serial?, dealer_id?, before?);
        Some((page?, Filter { states, serial, dealer_id, filed_until, due_before, before }, language?))
    })?;
    transact!(app.read(&call, (page, filter)), |conn, (page, filter), actor| {
        let mut found = claims::list(&mut *conn, actor, &filter, page.fetch()).await?;
        let next_page_token = page.cut(&mut found, |claim| claim.id.to_string());
        Ok(v1::ListClaimsResponse {
            claims: answer::claims(conn, found, Reader { actor, today, language }).await?,
            next_page_token,
        })
    })
}

pub(super) async fn events(
    app: &App,
    request: Request<v1::ListClaimEventsRequest>,
) -> Reply<v1::ListClaimEventsResponse> {
    let (call, request) = open(request)?;
    let mut fields = Fields::default();
    let page = page!(fields, call, request);
    let id = fields.uuid("claim_id", &request.claim_id);
    let after = page.as_ref().and_then(|page| page.after_as(&mut fields));
    let (page, id, after) = fields.finish(|| Some((page?, id?, after?.unwrap_or(0))))?;
    transact!(app.read(&call, page), |conn, page, actor| {
        claims::get(&mut *conn, actor, id).await?;
        let mut found = claims::events(&mut *conn, id, after, page.fetch()).await?;
        let next_page_token = page.cut(&mut found, |event| event.sequence.to_string());
        let decisions = claims::decisions(conn, &[id]).await?;
        let events = found
            .into_iter()
            .map(|stored| event(stored, &decisions, actor.is_staff()))
            .collect::<Result<_, Error>>()?;
        Ok(v1::ListClaimEventsResponse { events, next_page_token })
    })
}

/// What events tell to staff alone, and where in their facts it stands: what goodwill costs, the day of a sale that a voucher
/// contradicts, billing's number for a payment.
const FOR_STAFF: [(&str, &str); 3] = [("/goodwill", "cost"), ("/dispute", "registered_on"), ("", "reference")];

/// An event on the wire, with its decision where that is among these.
pub(super) fn event(stored: StoredEvent, decisions: &[StoredDecision], staff: bool) -> Result<v1::ClaimEvent, Error> {
    let mut facts = serde_json::to_value(&stored.event).map_err(Error::broken)?;
    for (place, field) in FOR_STAFF.into_iter().filter(|_| !staff) {
        if let Some(facts) = facts.pointer_mut(place).and_then(Value::as_object_mut) {
            facts.remove(field);
        }
    }
    let name: &'static str = (&stored.event).into();
    let kind = ClaimEventType::from_str_name(&format!("CLAIM_EVENT_TYPE_{name}"));
    let made = decisions.iter().find(|decided| decided.sequence == stored.sequence);
    Ok(v1::ClaimEvent {
        sequence: stored.sequence,
        r#type: kind.ok_or_else(|| Error::broken(format!("no event type {name} in the contract")))?.into(),
        state: number!(stored.state),
        recorded_time: Some(time(stored.recorded_at)),
        actor: stored.actor,
        decision: made.map(|decided| decision::decision(&decided.decided.decision, None)),
        facts_json: facts.to_string(),
    })
}
