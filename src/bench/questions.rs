//! What is asked: the kinds of call, their mix, and requests that are encoded before the run.

use std::{
    collections::BTreeMap,
    str::FromStr,
    sync::atomic::{AtomicUsize, Ordering},
};

use anyhow::{Result, ensure};
use bytes::Bytes;
use prost::Message;
use rand::Rng;
use serde::Serialize;
use strum::{Display, EnumString};
use uuid::Uuid;

use super::wire::fields;
use crate::contract::v1::{
    BatchCheckCoverageRequest, BatchCheckCoverageResponse, CheckCoverageRequest, CheckCoverageResponse, CoverageResult,
    FaultReport, FileClaimRequest, FileClaimResponse, Language, StreamCoverageRequest, StreamCoverageResponse,
    coverage_result,
};

/// Batches encoded before the run; each call sends one of them.
const BATCHES: usize = 200;
/// Of the texts.
const LANGUAGE: i32 = Language::Chinese as i32;

/// A kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Display, EnumString, Serialize)]
#[strum(serialize_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// CheckCoverage of one serial.
    Check,
    /// BatchCheckCoverage of many.
    Batch,
    /// One question on a StreamCoverage that stays open.
    Stream,
    /// FileClaim for a unit that has no claim.
    File,
}

impl Kind {
    /// Of its call.
    pub fn path(self) -> &'static str {
        match self {
            Self::Check => "/aopre.warranty.v1.CoverageService/CheckCoverage",
            Self::Batch => "/aopre.warranty.v1.CoverageService/BatchCheckCoverage",
            Self::Stream => "/aopre.warranty.v1.CoverageService/StreamCoverage",
            Self::File => "/aopre.warranty.v1.ClaimService/FileClaim",
        }
    }
}

/// Kinds of call and how often each, relative to the others: `check=90,batch=10`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mix(BTreeMap<Kind, u32>);

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let one = |part: &str| {
            let (kind, weight) = part.split_once('=').unwrap_or((part, "1"));
            Some((kind.parse().ok()?, weight.parse().ok().filter(|weight| (1..=1_000_000).contains(weight))?))
        };
        let mix: Option<_> = text.split(',').map(one).collect();
        mix.map(Self).ok_or_else(|| "write kinds and weights: check, or check=90,batch=9,stream=1".to_owned())
    }
}

impl Mix {
    /// A kind at random.
    pub fn pick(&self) -> Kind {
        let mut at = rand::rng().random_range(0..self.0.values().sum());
        let picked = self.0.iter().find(|(_, weight)| match at.checked_sub(**weight) {
            Some(left) => {
                at = left;
                false
            }
            None => true,
        });
        picked.map_or(Kind::Check, |(kind, _)| *kind)
    }

    /// Whether it has this kind.
    pub fn has(&self, kind: Kind) -> bool {
        self.0.contains_key(&kind)
    }
}

/// A request ready to be sent, and its place among the questions of its kind.
pub struct Question {
    /// Encoded.
    pub request: Bytes,
    place: usize,
}

/// The serials that are asked about, and the requests made of them.
pub struct Questions {
    serials: Vec<String>,
    unclaimed: Vec<String>,
    filed: AtomicUsize,
    checks: Vec<Bytes>,
    batches: Vec<(Bytes, Vec<usize>)>,
}

impl Questions {
    /// Encodes what `mix` needs; a batch asks about `batch` serials drawn at random, claims are filed for the `unclaimed`, one
    /// after the other. Fails where there are no serials.
    pub fn new(serials: Vec<String>, unclaimed: Vec<String>, mix: &Mix, batch: usize) -> Result<Self> {
        ensure!(!serials.is_empty(), "there are no serials to ask about");
        let one = |serial: &String| CheckCoverageRequest { serial: serial.clone(), ..Default::default() };
        // As the app and the ERP systems ask: in one language.
        let alone = |serial: &String| CheckCoverageRequest { language: LANGUAGE, ..one(serial) };
        let checks = serials.iter().map(|serial| alone(serial).encode_to_vec().into()).collect();
        let mut batches = Vec::new();
        for _ in 0..if mix.has(Kind::Batch) { BATCHES } else { 0 } {
            let asked: Vec<usize> = (0..batch).map(|_| rand::rng().random_range(0..serials.len())).collect();
            let requests = asked.iter().map(|at| one(&serials[*at])).collect();
            let request = BatchCheckCoverageRequest { requests, language: LANGUAGE, ..Default::default() };
            batches.push((request.encode_to_vec().into(), asked));
        }
        Ok(Self { serials, unclaimed, filed: AtomicUsize::new(0), checks, batches })
    }

    /// A question of this kind at random. A stream's also carries its `number` as its correlation id.
    pub fn draw(&self, kind: Kind, number: u64) -> Question {
        let place = match kind {
            Kind::Batch => rand::rng().random_range(0..self.batches.len()),
            // Where all are claimed the service refuses, and its code is counted.
            Kind::File => self.filed.fetch_add(1, Ordering::Relaxed) % self.unclaimed.len(),
            Kind::Check | Kind::Stream => rand::rng().random_range(0..self.serials.len()),
        };
        let request = match kind {
            Kind::Check => self.checks[place].clone(),
            Kind::Batch => self.batches[place].0.clone(),
            Kind::Stream => {
                let request = CheckCoverageRequest {
                    serial: self.serials[place].clone(),
                    language: LANGUAGE,
                    ..Default::default()
                };
                let message = StreamCoverageRequest { correlation_id: number.to_string(), request: Some(request) };
                message.encode_to_vec().into()
            }
            Kind::File => {
                let report = FaultReport { fault_code: "NO_POWER".to_owned(), ..Default::default() };
                let (request_id, serial) = (Uuid::new_v4().to_string(), self.unclaimed[place].clone());
                let message = FileClaimRequest { request_id, serial, report: Some(report), ..Default::default() };
                message.encode_to_vec().into()
            }
        };
        Question { request, place }
    }

    /// The places of the serials that it asks about.
    fn asked<'a>(&'a self, kind: Kind, question: &'a Question) -> &'a [usize] {
        match kind {
            Kind::Batch => &self.batches[question.place].1,
            Kind::Check | Kind::Stream | Kind::File => std::slice::from_ref(&question.place),
        }
    }

    /// How many serials the reply answers, or `None` where it is wrong: another number of answers than of questions, or a
    /// status instead of an answer. With `closely` it is decoded, and each answer must be about the serial asked.
    pub fn check(&self, kind: Kind, question: &Question, reply: &[u8], closely: bool) -> Option<u64> {
        // Of a CoverageResult the first field says which it is: 1 an answer, 2 a status.
        let is_answer = |result: &[u8]| fields(result).next().is_some_and(|(number, _)| number == 1);
        let results = |number: u32| fields(reply).filter(move |(found, _)| *found == number);
        let (answers, all) = match kind {
            Kind::Check | Kind::File => (1, !reply.is_empty()),
            Kind::Batch => (results(1).count(), results(1).all(|(_, result)| is_answer(result))),
            Kind::Stream => (results(2).count(), results(2).all(|(_, result)| is_answer(result))),
        };
        let right =
            all && answers == self.asked(kind, question).len() && (!closely || self.named(kind, question, reply));
        right.then_some(answers as u64)
    }

    /// Whether the reply names the serials that were asked about, in their order.
    fn named(&self, kind: Kind, question: &Question, reply: &[u8]) -> bool {
        let serial = |result: CoverageResult| match result.result {
            Some(coverage_result::Result::Answer(answer)) => Some(answer.serial),
            _ => None,
        };
        let named: Option<Vec<String>> = match kind {
            Kind::Check => CheckCoverageResponse::decode(reply).ok().map(|reply| vec![reply.serial]),
            Kind::Batch => BatchCheckCoverageResponse::decode(reply)
                .ok()
                .and_then(|reply| reply.results.into_iter().map(serial).collect()),
            Kind::Stream => StreamCoverageResponse::decode(reply)
                .ok()
                .and_then(|reply| reply.result.and_then(serial).map(|serial| vec![serial])),
            Kind::File => FileClaimResponse::decode(reply).ok().and_then(|reply| Some(vec![reply.claim?.serial])),
        };
        let serials = if kind == Kind::File { &self.unclaimed } else { &self.serials };
        named.is_some_and(|named| named.iter().eq(self.asked(kind, question).iter().map(|at| &serials[*at])))
    }
}
