//! What a draft would change: every recorded decision made again from what it was made from.

use std::time::Instant;

use chrono::{DateTime, Utc};
use futures::stream;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::policies::draft;
use crate::{
    auth::Call,
    contract::v1,
    domain::{coverage::decide, policy::Policies},
    service::{App, Fields, Replies, Reply, open, status, transact, wire::number},
    store::{
        Error,
        claims::{self, ToReplay},
    },
};

/// Decisions read in one transaction, and told in one reply.
const PAGE: usize = 500;

pub(super) async fn simulate(
    app: &App,
    request: Request<v1::SimulatePolicyRequest>,
) -> Reply<Replies<v1::SimulatePolicyResponse>> {
    let (call, request) = open(request)?;
    let mut fields = Fields::default();
    let draft = draft(&mut fields, &request.document);
    let since = fields.past_time("from_time", request.from_time.as_ref(), app.clock.now());
    let (draft, since) = fields.finish(|| Some((draft?, since?)))?;
    let asked = transact!(app.read(&call, app.rules.clone()), |conn, rules, _| {
        Ok((rules.current(&mut *conn).await?, claims::count_recorded(conn, since).await?))
    });
    let (published, total) = asked?.into_inner();
    // Alone, it is in force for every sale.
    let policies = Policies::new(vec![draft], published.calendar().clone());
    let policies = policies.map_err(|error| status::of(&Error::broken(error)))?;
    let simulation = Simulation {
        app: app.clone(),
        call,
        policies,
        since,
        after: Some(Default::default()),
        total,
        done: 0,
        changed: 0,
    };
    // Asked for the next reply only when the last one is taken: a slow caller slows it down, and one that left ends it.
    let replies = stream::try_unfold(simulation, Simulation::next);
    Ok(Response::new(Box::pin(replies)))
}

struct Simulation {
    app: App,
    call: Call,
    /// The draft alone, with the published calendar.
    policies: Policies,
    since: Option<DateTime<Utc>>,
    /// The last decision made again; none where there are no more.
    after: Option<(Uuid, i64)>,
    total: i64,
    done: i64,
    changed: i64,
}

impl Simulation {
    /// The next reply, from one page of decisions; none after the last.
    async fn next(mut self) -> Result<Option<(v1::SimulatePolicyResponse, Self)>, Status> {
        let Some(after) = self.after else { return Ok(None) };
        let call = Call { deadline: Instant::now() + self.call.patience, ..self.call.clone() };
        let since = self.since;
        let page = transact!(self.app.read(&call, after), |conn, after, _| {
            claims::recorded(conn, since, after, PAGE as i64).await
        });
        let page = page?.into_inner();
        let changed: Vec<_> = page.iter().filter_map(|recorded| changed(&self.policies, recorded)).collect();
        self.after = page.last().filter(|_| page.len() == PAGE).map(|last| (last.claim_id, last.sequence));
        self.done += page.len() as i64;
        self.changed += changed.len() as i64;
        // One that was recorded after they were counted may be made again, too.
        self.total = self.total.max(self.done);
        let reply = v1::SimulatePolicyResponse {
            total_count: self.total,
            done_count: self.done,
            changed_count: self.changed,
            changed,
        };
        Ok(Some((reply, self)))
    }
}

/// What the draft makes of a decision, where that is another remedy or rests on other clauses.
fn changed(policies: &Policies, recorded: &ToReplay) -> Option<v1::ChangedDecision> {
    // None where a calendar is missing.
    let simulated = decide(policies, &recorded.facts, &recorded.report).ok();
    if simulated.as_ref().is_some_and(|made| made.remedy == recorded.remedy && made.clauses == recorded.clauses) {
        return None;
    }
    let clauses = |clauses: &[_]| clauses.iter().map(|clause| number!(*clause)).collect();
    Some(v1::ChangedDecision {
        claim_id: recorded.claim_id.to_string(),
        sequence: recorded.sequence,
        serial: recorded.serial.clone(),
        recorded_remedy: number!(recorded.remedy),
        recorded_clauses: clauses(&recorded.clauses),
        simulated_remedy: simulated.as_ref().map_or(0, |made| number!(made.remedy)),
        simulated_clauses: simulated.map(|made| clauses(&made.clauses)).unwrap_or_default(),
    })
}
