//! StreamCoverage: any number of questions, answered as they are ready.

use std::time::Instant;

use chrono::{DateTime, Utc};
use futures::{StreamExt, stream};
use tonic::{Status, Streaming};
use tracing::{Instrument, Span};

use super::{
    Coverage,
    answer::{self, Answer},
    question::Question,
};
use crate::{
    auth::Call,
    contract::v1,
    domain::fact::Language,
    service::{Fields, Replies, decision, next, wire::time},
    telemetry,
};

/// Questions in the air: more are not read from the connection.
const IN_THE_AIR: usize = 1000;
/// Questions of a stream that have a span of their own where it is recorded: the first tell what the rest is like.
const TRACED: i64 = 100;

/// One question's answer, and in which language.
struct Answered {
    correlation_id: String,
    answer: Result<Answer, Status>,
    language: Option<Language>,
    /// Of the facts.
    as_of: DateTime<Utc>,
}

/// The answers to what is asked, until the caller's side ends.
pub(super) fn answers(
    desk: Coverage,
    call: Call,
    questions: Streaming<v1::StreamCoverageRequest>,
) -> Replies<v1::StreamCoverageResponse> {
    let mut told = decision::TextsTold::default();
    let asked =
        stream::unfold(questions, |mut questions| async move { Some((next(&mut questions).await?, questions)) });
    let answered = asked.zip(stream::iter(0..)).map(move |(asked, number)| {
        let (desk, mut call) = (desk.clone(), call.clone());
        let question = if number < TRACED { telemetry::part("question", number) } else { Span::none() };
        let answer = async move {
            call.deadline = Instant::now() + call.patience;
            Ok::<_, Status>(answer_one(&desk, &call, asked?).await)
        };
        answer.instrument(question)
    });
    let replies = answered.buffer_unordered(IN_THE_AIR).map(move |answered| {
        let Answered { correlation_id, answer, language, as_of } = answered?;
        let policies =
            answer.as_ref().ok().and_then(|Answer { decision, policies, .. }| told.tell(policies, decision, language));
        Ok(v1::StreamCoverageResponse {
            correlation_id,
            result: Some(answer::result(answer)),
            policies: policies.into_iter().collect(),
            data_as_of_time: Some(time(as_of)),
        })
    });
    replies.boxed()
}

/// A question that is refused, whatever the reason, is answered with its status: it does not end the stream.
async fn answer_one(desk: &Coverage, call: &Call, asked: v1::StreamCoverageRequest) -> Answered {
    let now = desk.app.clock.now();
    let mut language = None;
    let answer = async {
        let mut fields = Fields::default();
        fields.optional_text("correlation_id", &asked.correlation_id, 64);
        fields.finish(|| Some(()))?;
        let question = Question::read(&asked.request.unwrap_or_default(), now)?;
        language = question.language;
        answer::one(desk, call, question).await
    };
    let answer = answer.await;
    let as_of = now - answer.as_ref().map(|answer| answer.age).unwrap_or_default();
    Answered { correlation_id: asked.correlation_id, answer, language, as_of }
}
