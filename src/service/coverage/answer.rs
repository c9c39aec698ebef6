//! Questions answered: the facts by one query for all, what only some need (stock, promises, vouchers) by one more each.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, Utc};
use tonic::Status;

use super::{Coverage, question::Question};
use crate::{
    auth::Call,
    contract::v1,
    domain::{
        coverage::{Decision, decide},
        policy::Policies,
        refusal::Refusal,
        serial::Serial,
        vouchers::RegisteredSale,
    },
    metrics,
    service::{decision, registry::promises::promise, status, transact, wire::number},
    store::{
        self, Error,
        facts::{self, UnitToDecide, Units},
        promises::{self, Promise},
        sales,
    },
};

/// An answer, and what its texts are found by.
pub(super) struct Answer {
    /// Without texts, contact and data_as_of_time.
    pub response: v1::CheckCoverageResponse,
    pub decision: Decision,
    pub policies: Arc<Policies>,
    /// How old its facts are at most; zero where they are of now.
    pub age: Duration,
}

/// The facts of these units by the replica, where older ones will do for the question and the replica has them; and their age.
async fn by_replica(
    desk: &Coverage,
    call: &Call,
    question: Option<&Question>,
    serials: impl FnOnce() -> HashSet<String>,
) -> Option<(Arc<Units>, Duration)> {
    let (replica, at_most) = desk.replica.as_ref().zip(question?.max_staleness)?;
    replica.units(serials(), at_most, call.deadline).await
}

/// Answers one question. As of now it meets others of the same moment in one query.
pub(super) async fn one(desk: &Coverage, call: &Call, question: Question) -> Result<Answer, Status> {
    if question.known_at.is_some() {
        let mut answers = many(desk, call, vec![Ok(question)]).await?;
        return answers.pop().unwrap_or_else(|| Err(status::internal()));
    }
    let serials = || HashSet::from([question.serial.to_string()]);
    let replicated = by_replica(desk, call, Some(&question), serials).await;
    let read = match replicated.and_then(|(units, age)| Some((Arc::clone(units.get(question.serial.as_str())?), age))) {
        Some(read) => Ok(read),
        None => desk.reader.unit(&question.serial, call.deadline).await.map(|unit| (unit, Duration::ZERO)),
    };
    let (unit, age) = match read {
        Ok(read) => read,
        Err(Error::NotFound { .. }) => {
            let unknown = unknown(desk, call, vec![question.serial]).await?;
            return Err(unknown.into_values().next().unwrap_or_else(status::internal));
        }
        Err(error) => return Err(status::of(&error)),
    };
    let policies = desk.app.rules(unit.stamp, call.deadline).await.map_err(|error| status::of(&error))?;
    let decided = Decided::by(&policies, question, &unit)?;
    let beside = Beside::read(desk, call, std::iter::once(&decided)).await?;
    Ok(beside.answer(decided, call, policies, age))
}

/// Answers many questions that are of one moment: the one that the first names. Each gets an answer or its refusal, in order.
pub(super) async fn many(
    desk: &Coverage,
    call: &Call,
    questions: Vec<Result<Question, Status>>,
) -> Result<Vec<Result<Answer, Status>>, Status> {
    let known_at = questions.iter().flatten().find_map(|question| question.known_at);
    let serials: HashSet<String> = questions.iter().flatten().map(|question| question.serial.to_string()).collect();
    let replicated = match known_at {
        None => by_replica(desk, call, questions.iter().flatten().next(), || serials.clone()).await,
        Some(_) => None,
    };
    let (units, known, age) = match (replicated, known_at) {
        (Some((units, age)), _) => (Ok(units), None, age),
        (None, None) => (desk.reader.units(serials, call.deadline).await.map(Arc::new), None, Duration::ZERO),
        (None, Some(at)) => match as_known(desk, call, serials, at).await {
            Ok((units, policies)) => (Ok(Arc::new(units)), Some(policies), Duration::ZERO),
            Err(error) => (Err(error), None, Duration::ZERO),
        },
    };
    let units = units.map_err(|error| status::of(&error))?;
    // Read by two statements, between which something may have been published: the later stamp holds for all.
    let policies = match (known, units.values().map(|unit| unit.stamp).max()) {
        (Some(known), _) => Some(known),
        (None, Some(stamp)) => Some(desk.app.rules(stamp, call.deadline).await.map_err(|error| status::of(&error))?),
        (None, None) => None,
    };
    let missing = questions.iter().flatten().map(|question| &question.serial);
    let missing: HashSet<Serial> = missing.filter(|serial| !units.contains_key(serial.as_str())).cloned().collect();
    let unknown = unknown(desk, call, missing.into_iter().collect()).await?;
    let mut decided = Vec::with_capacity(questions.len());
    for (at, question) in questions.into_iter().enumerate() {
        decided.push(question.and_then(|question| match units.get(question.serial.as_str()).zip(policies.as_ref()) {
            Some((unit, policies)) => Decided::by(policies, question, unit),
            None => Err(unknown.get(&question.serial).cloned().unwrap_or_else(status::internal)),
        }));
        if at % 64 == 63 {
            // A thousand decisions take milliseconds: others are let through between.
            tokio::task::yield_now().await;
        }
    }
    let beside = Beside::read(desk, call, decided.iter().flatten()).await?;
    let answer = |decided: Result<Decided<'_>, Status>| {
        let (decided, policies) = (decided?, policies.as_ref().ok_or_else(status::internal)?);
        Ok(beside.answer(decided, call, Arc::clone(policies), age))
    };
    Ok(decided.into_iter().map(answer).collect())
}

/// A question with its unit and the decision.
struct Decided<'a> {
    question: Question,
    unit: &'a UnitToDecide,
    decision: Decision,
}

impl<'a> Decided<'a> {
    fn by(policies: &Policies, question: Question, unit: &'a UnitToDecide) -> Result<Self, Status> {
        let believed = question.model.as_deref();
        Refusal::unless_model(believed, &unit.model).map_err(|refusal| status::refused(&refusal))?;
        let decision = decide(policies, &unit.facts, &question.report);
        let decision = decision.map_err(|ends| status::refused(&Refusal::CalendarEnds(ends)))?;
        Ok(Self { question, unit, decision })
    }

    /// Whether another unit may be given, and of which models: the same one comes first (T3).
    fn models_to_give(&self) -> impl Iterator<Item = &'a String> {
        let asks = self.unit.facts.discontinued && self.decision.remedy.is_a_yes();
        std::iter::once(&self.unit.model).chain(&self.unit.facts.equivalents).filter(move |_| asks)
    }
}

/// The refusal of each serial that no unit has, with what the first of them may have been meant to be: one query for all.
async fn unknown(desk: &Coverage, call: &Call, missing: Vec<Serial>) -> Result<HashMap<Serial, Status>, Status> {
    const MOST_SUGGESTED: usize = 50;
    if missing.is_empty() {
        return Ok(HashMap::new());
    }
    let asked: Vec<Serial> = missing.iter().take(MOST_SUGGESTED).cloned().collect();
    let near = store::statement(&desk.app.pool, call.deadline, move |conn| {
        Box::pin(async move { store::units::near(conn, &asked).await })
    });
    let mut near = near.await.map_err(|error| status::of(&error))?.into_iter();
    let refusal = |serial: Serial| {
        let suggestions = near.next().unwrap_or_default();
        let error = Error::NotFound { kind: "unit", name: serial.to_string(), suggestions };
        (serial, status::of(&error))
    };
    Ok(missing.into_iter().map(refusal).collect())
}

/// The units and the policies as they were known at a moment. Two statements: a write that is still under way at that moment
/// may be seen by the second alone.
async fn as_known(
    desk: &Coverage,
    call: &Call,
    serials: HashSet<String>,
    at: DateTime<Utc>,
) -> store::Result<(Units, Arc<Policies>)> {
    let read = store::statement(&desk.app.pool, call.deadline, move |conn| {
        Box::pin(async move {
            let serials: Vec<&str> = serials.iter().map(String::as_str).collect();
            let units = facts::as_known(&mut *conn, &serials, at).await?;
            Ok((units, store::policies::published(conn, Some(at)).await?.policies))
        })
    });
    read.await
}

/// What only some questions need beside the facts of their unit.
#[derive(Default)]
struct Beside {
    /// Models with a good unit to give (T3), of those asked for.
    in_stock: HashSet<String>,
    /// What dealers promised, as far as the caller may see it (S6).
    promises: HashMap<String, Vec<Promise>>,
    /// The sales that vouchers are held against (M1).
    sales: HashMap<String, RegisteredSale>,
}

impl Beside {
    /// Reads what is needed, each kind in one statement for all; most often nothing.
    async fn read<'a>(
        desk: &Coverage,
        call: &Call,
        decided: impl Iterator<Item = &'a Decided<'a>> + Clone,
    ) -> Result<Self, Status> {
        let mut beside = Self::default();
        let models: HashSet<String> = decided.clone().flat_map(Decided::models_to_give).cloned().collect();
        let given = decided.clone().filter(|one| one.question.vouchers.is_some());
        let vouched: Vec<String> = given.map(|one| one.unit.serial.to_string()).collect();
        if !models.is_empty() {
            let read = desk.reader.in_stock(models, call.deadline);
            beside.in_stock = read.await.map_err(|error| status::of(&error))?;
        }
        if !vouched.is_empty() {
            let read = store::statement(&desk.app.pool, call.deadline, move |conn| {
                Box::pin(async move { sales::of_originals(conn, &vouched).await })
            });
            beside.sales = read.await.map_err(|error| status::of(&error))?;
        }
        let promised = decided.filter(|one| one.unit.has_promise);
        let promised: Vec<String> = promised.map(|one| one.unit.serial.to_string()).collect();
        if !promised.is_empty() {
            let read = transact!(desk.app.read(call, promised), |conn, serials, _| {
                let serials: Vec<&str> = serials.iter().map(String::as_str).collect();
                promises::of_units(conn, &serials).await
            });
            for promise in read?.into_inner() {
                beside.promises.entry(promise.serial.clone()).or_default().push(promise);
            }
        }
        Ok(beside)
    }

    fn answer(&self, decided: Decided<'_>, call: &Call, policies: Arc<Policies>, age: Duration) -> Answer {
        let serial = decided.unit.serial.to_string();
        let models = decided.models_to_give().filter(|model| self.in_stock.contains(*model)).cloned().collect();
        let Decided { question, unit, decision } = decided;
        metrics::decided(metrics::Stage::Asked, &decision);
        let standing =
            question.vouchers.as_ref().map(|given| decision::standing(&call.actor, given, self.sales.get(&serial)));
        let known = |promise: &&Promise| question.known_at.is_none_or(|at| promise.recorded_at <= at);
        let promises = self.promises.get(&serial).into_iter().flatten().filter(known);
        let told = decision::decision(&decision, question.language);
        let response = v1::CheckCoverageResponse {
            model: unit.model.clone(),
            decision: Some(v1::Decision { models_in_stock: models, ..told }),
            summary: decision::summary(&policies, &decision, question.language),
            promises: promises.cloned().map(promise).collect(),
            voucher_standing: standing.map_or(0, Into::into),
            product_type: number!(unit.facts.original.product_type),
            serial,
            ..Default::default()
        };
        Answer { response, decision, policies, age }
    }
}

/// An answer, or the refusal as CheckCoverage would have told it: its details hold a whole google.rpc.Status.
pub(super) fn result(answer: Result<Answer, Status>) -> v1::CoverageResult {
    use v1::coverage_result::Result as Told;
    let told = match answer {
        Ok(answer) => Told::Answer(answer.response),
        Err(refused) => Told::Status(status::whole(&refused)),
    };
    v1::CoverageResult { result: Some(told) }
}
