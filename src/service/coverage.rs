//! CoverageService: is this covered, by which clause, until when, and why.

mod answer;
mod question;
mod stream;

use tonic::{Request, Response, Streaming};

use super::{App, Replies, Reply, decision, fields::Fields, open, wire::time};
use crate::{
    contract::v1::{self, coverage_service_server::CoverageService},
    store::{reader::Reader, replica::Replica},
};
use answer::Answer;
use question::Question;

/// Units in one batch.
const MOST_REQUESTS: usize = 1000;

/// The service.
#[derive(Clone)]
pub struct Coverage {
    /// What every service works with.
    pub app: App,
    /// Where single questions meet.
    pub reader: Reader,
    /// Who answers where older facts will do.
    pub replica: Option<Replica>,
}

impl Coverage {
    /// With readers of its own beside the app's pool.
    pub fn new(app: App, replica: Option<Replica>) -> Self {
        let reader = Reader::start(&app.pool);
        Self { app, reader, replica }
    }
}

#[tonic::async_trait]
impl CoverageService for Coverage {
    async fn check_coverage(&self, request: Request<v1::CheckCoverageRequest>) -> Reply<v1::CheckCoverageResponse> {
        let (call, request) = open(request)?;
        let now = self.app.clock.now();
        let question = Question::read(&request, now)?;
        let language = question.language;
        let Answer { mut response, decision, policies, age } = answer::one(self, &call, question).await?;
        response.texts = decision::texts(&policies, &decision, language);
        response.contact = decision::contact(&policies, decision.remedy, &decision.policy_version);
        response.data_as_of_time = Some(time(now - age));
        Ok(Response::new(response))
    }

    async fn batch_check_coverage(
        &self,
        request: Request<v1::BatchCheckCoverageRequest>,
    ) -> Reply<v1::BatchCheckCoverageResponse> {
        let (call, request) = open(request)?;
        let now = self.app.clock.now();
        Fields::at_most("requests", &request.requests, MOST_REQUESTS)?;
        let mut fields = Fields::default();
        fields.entries("requests", &request.requests);
        let language = fields.optional_choice("language", request.language);
        let known_at = fields.past_time("known_time", request.known_time.as_ref(), now);
        let max_staleness = fields.staleness("max_staleness", request.max_staleness.as_ref());
        let (language, known_at, max_staleness) = fields.finish(|| Some((language?, known_at?, max_staleness?)))?;
        let questions = request.requests.iter().map(|one| {
            let question = Question::read_in_batch(one, now)?;
            Ok(Question { language, known_at, max_staleness, ..question })
        });
        let answers = answer::many(self, &call, questions.collect()).await?;
        let mut told = decision::TextsTold::default();
        let mut texts: Vec<v1::PolicyTexts> = Vec::new();
        for Answer { decision, policies, .. } in answers.iter().flatten() {
            let Some(new) = told.tell(policies, decision, language) else { continue };
            match texts.iter_mut().find(|of| of.policy_version == new.policy_version) {
                Some(of) => of.texts.extend(new.texts),
                None => texts.push(new),
            }
        }
        let age = answers.iter().flatten().map(|answer| answer.age).max().unwrap_or_default();
        let results = answers.into_iter().map(answer::result).collect();
        let data_as_of_time = Some(time(now - age));
        Ok(Response::new(v1::BatchCheckCoverageResponse { results, policies: texts, data_as_of_time }))
    }

    type StreamCoverageStream = Replies<v1::StreamCoverageResponse>;

    async fn stream_coverage(
        &self,
        request: Request<Streaming<v1::StreamCoverageRequest>>,
    ) -> Reply<Self::StreamCoverageStream> {
        let (call, questions) = open(request)?;
        Ok(Response::new(stream::answers(self.clone(), call, questions)))
    }
}
