//! Questions answered: the facts by one query for all, what only some need (stock, promises, vouchers) by one more each.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use prost::Message;
use tonic::Status;

use super::{Coverage, question::Question};
use crate::{
    auth::Call,
    contract::{google, v1},
    domain::{
        coverage::{Decision, decide},
        event::Vouchers,
        policy::Policies,
        refusal::Refusal,
        serial::Serial,
        vouchers::{RegisteredSale, verify},
    },
    service::{decision, registry::promises::promise, status},
    store::{
        self, Error,
        facts::{self, UnitToDecide},
        promises::{self, Promise},
        reader::Units,
        sales,
    },
};

/// An answer, and what its texts are found by.
pub(super) struct Answer {
    /// Without texts, contact and data_as_of_time.
    pub response: v1::CheckCoverageResponse,
    pub decision: Decision,
    pub policies: Arc<Policies>,
}

/// Answers one question. As of now it meets others of the same moment in one query.
pub(super) async fn one(desk: &Coverage, call: &Call, question: Question) -> Result<Answer, Status> {
    if question.known_at.is_some() {
        let mut answers = many(desk, call, vec![Ok(question)]).await?;
        return answers.pop().unwrap_or_else(|| Err(status::internal()));
    }
    let mut unit = match desk.reader.unit(&question.serial, call.deadline).await {
        Ok(unit) => unit,
        Err(Error::NotFound { .. }) => {
            let unknown = unknown(desk, call, vec![question.serial]).await?;
            return Err(unknown.into_values().next().unwrap_or_else(status::internal));
        }
        Err(error) => return Err(status::of(&error)),
    };
    let policies = desk.app.rules(unit.stamp, call.deadline).await.map_err(|error| status::of(&error))?;
    let mut beside = Beside::read(desk, call, &[(&question, &unit)]).await?;
    beside.answer(&question, &mut unit, call, policies)
}

/// Answers many questions that are of one moment: the one that the first names. Each gets an answer or its refusal, in order.
pub(super) async fn many(
    desk: &Coverage,
    call: &Call,
    questions: Vec<Result<Question, Status>>,
) -> Result<Vec<Result<Answer, Status>>, Status> {
    let known_at = questions.iter().flatten().find_map(|question| question.known_at);
    let serials: HashSet<String> = questions.iter().flatten().map(|question| question.serial.to_string()).collect();
    let (units, known) = match known_at {
        None => (desk.reader.units(serials, call.deadline).await, None),
        Some(at) => match as_known(desk, call, serials, at).await {
            Ok((units, policies)) => (Ok(units), Some(policies)),
            Err(error) => (Err(error), None),
        },
    };
    let units = units.map_err(|error| status::of(&error))?;
    let policies = match (known, units.values().next()) {
        (Some(known), _) => Some(known),
        // All were read by one query, so they have one stamp.
        (None, Some(unit)) => {
            Some(desk.app.rules(unit.stamp, call.deadline).await.map_err(|error| status::of(&error))?)
        }
        (None, None) => None,
    };
    let found: Vec<(&Question, &UnitToDecide)> = questions
        .iter()
        .flatten()
        .filter_map(|question| Some((question, units.get(question.serial.as_str())?)))
        .collect();
    let mut beside = Beside::read(desk, call, &found).await?;
    let missing = questions.iter().flatten().map(|question| &question.serial);
    let missing = missing.filter(|serial| !units.contains_key(serial.as_str())).cloned().collect();
    let unknown = unknown(desk, call, missing).await?;
    let mut answers = Vec::with_capacity(questions.len());
    for (at, question) in questions.into_iter().enumerate() {
        answers.push(match question {
            Err(refused) => Err(refused),
            Ok(question) => match units.get(question.serial.as_str()).zip(policies.as_ref()) {
                Some((unit, policies)) => beside.answer(&question, &mut unit.clone(), call, Arc::clone(policies)),
                None => Err(unknown.get(&question.serial).cloned().unwrap_or_else(status::internal)),
            },
        });
        if at % 64 == 63 {
            // A thousand decisions take milliseconds: others are let through between.
            tokio::task::yield_now().await;
        }
    }
    Ok(answers)
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

/// The units and the policies as they were known at a moment, by one look at the database.
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
    async fn read(desk: &Coverage, call: &Call, found: &[(&Question, &UnitToDecide)]) -> Result<Self, Status> {
        let mut beside = Self::default();
        let discontinued = found.iter().map(|(_, unit)| unit).filter(|unit| unit.facts.discontinued);
        let models: HashSet<String> =
            discontinued.flat_map(|unit| unit.facts.equivalents.iter().chain([&unit.model])).cloned().collect();
        let given = found.iter().filter(|(question, _)| question.vouchers.is_some());
        let vouched: Vec<String> = given.map(|(_, unit)| unit.serial.to_string()).collect();
        if !models.is_empty() || !vouched.is_empty() {
            let read = store::statement(&desk.app.pool, call.deadline, move |conn| {
                Box::pin(async move {
                    let models: Vec<&str> = models.iter().map(String::as_str).collect();
                    let in_stock =
                        if models.is_empty() { HashSet::new() } else { facts::in_stock(&mut *conn, &models).await? };
                    let sales =
                        if vouched.is_empty() { HashMap::new() } else { sales::of_originals(conn, &vouched).await? };
                    Ok((in_stock, sales))
                })
            });
            (beside.in_stock, beside.sales) = read.await.map_err(|error| status::of(&error))?;
        }
        let promised = found.iter().filter(|(_, unit)| unit.has_promise);
        let promised: Vec<String> = promised.map(|(_, unit)| unit.serial.to_string()).collect();
        if !promised.is_empty() {
            let read = desk.app.read(call, promised, |conn, serials, _| {
                Box::pin(async move {
                    let serials: Vec<&str> = serials.iter().map(String::as_str).collect();
                    promises::of_units(conn, &serials).await
                })
            });
            for promise in read.await?.into_inner() {
                beside.promises.entry(promise.serial.clone()).or_default().push(promise);
            }
        }
        Ok(beside)
    }

    fn answer(
        &mut self,
        question: &Question,
        unit: &mut UnitToDecide,
        call: &Call,
        policies: Arc<Policies>,
    ) -> Result<Answer, Status> {
        if question.model.as_ref().is_some_and(|model| *model != unit.model) {
            return Err(status::refused(&Refusal::ModelMismatch { model: unit.model.clone() }));
        }
        if unit.facts.discontinued {
            // The same model comes first (T3).
            let models = std::iter::once(&unit.model).chain(&unit.facts.equivalents);
            unit.facts.models_in_stock = models.filter(|model| self.in_stock.contains(*model)).cloned().collect();
        }
        let decision = decide(&policies, &unit.facts, &question.report)
            .map_err(|ends| status::refused(&Refusal::CalendarEnds(ends)))?;
        let serial = unit.serial.to_string();
        let standing = question.vouchers.as_ref().map(|given| standing(call, given, self.sales.get(&serial)));
        let promises = self.promises.get(&serial).into_iter().flatten().cloned().map(promise).collect();
        let response = v1::CheckCoverageResponse {
            model: unit.model.clone(),
            decision: Some(decision::decision(&decision, question.language)),
            summary: decision::summary(&policies, &decision, question.language),
            promises,
            voucher_standing: standing.map_or(0, Into::into),
            serial,
            ..Default::default()
        };
        Ok(Answer { response, decision, policies })
    }
}

/// How the caller would stand who filed with these vouchers.
fn standing(call: &Call, given: &Vouchers, sale: Option<&RegisteredSale>) -> v1::VoucherStanding {
    let verify = |given: &Vouchers| verify(&call.actor, given, sale);
    match (verify(&Vouchers::default()), verify(given)) {
        (Ok(true), _) => v1::VoucherStanding::NotNeeded,
        (_, Ok(true)) => v1::VoucherStanding::Verified,
        (_, Ok(false)) => v1::VoucherStanding::Unverified,
        (_, Err(Refusal::VoucherRequired)) => v1::VoucherStanding::Required,
        (_, Err(_)) => v1::VoucherStanding::Mismatch,
    }
}

/// An answer, or the refusal as CheckCoverage would have told it: its details hold a whole google.rpc.Status.
pub(super) fn result(answer: Result<Answer, Status>) -> v1::CoverageResult {
    use v1::coverage_result::Result as Told;
    let told = match answer {
        Ok(answer) => Told::Answer(answer.response),
        Err(refused) => Told::Status(google::rpc::Status::decode(refused.details()).unwrap_or(google::rpc::Status {
            code: refused.code().into(),
            message: refused.message().to_owned(),
            details: Vec::new(),
        })),
    };
    v1::CoverageResult { result: Some(told) }
}
