//! Sends a question and waits for its answer, whatever kind it is.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming, codegen::http::uri::PathAndQuery};

use super::{
    questions::{Kind, Mix, Questions},
    wire::{Target, fields},
};
use crate::client::Raw;

/// One call in so many is decoded and compared with its question, the first among them.
const CLOSELY: u64 = 1_000;
/// As many questions as may be in the air on one stream.
const IN_THE_AIR: usize = 1_000;

/// How a call ended.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Of gRPC.
    pub code: Code,
    /// Serials answered; `None` where the reply was wrong.
    pub serials: Option<u64>,
}

/// Calls the service; shared by every task of the generator.
pub struct Caller {
    target: Target,
    claims: Target,
    questions: Questions,
    mix: Mix,
    conversations: Vec<Mutex<Conversation>>,
    number: AtomicU64,
}

impl Caller {
    /// A caller that asks these questions in this mix, and files its claims at `claims`.
    pub fn new(target: Target, claims: Target, questions: Questions, mix: Mix) -> Self {
        let conversations = (0..target.connections()).map(|_| Mutex::default()).collect();
        Self { target, claims, questions, mix, conversations, number: AtomicU64::new(0) }
    }

    /// Draws a kind and a question, sends it on one of the connections and waits for the answer.
    pub async fn call(&self) -> (Kind, Outcome) {
        let kind = self.mix.pick();
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let question = self.questions.draw(kind, number);
        let connection = number as usize % self.target.connections();
        let reply = match kind {
            Kind::Check | Kind::Batch | Kind::File => self.unary(kind, connection, question.request.clone()).await,
            Kind::Stream => self.ask(connection, number, question.request.clone()).await,
        };
        let outcome = match reply {
            Ok(reply) => {
                let closely = number.is_multiple_of(CLOSELY);
                Outcome { code: Code::Ok, serials: self.questions.check(kind, &question, &reply, closely) }
            }
            Err(code) => Outcome { code, serials: Some(0) },
        };
        (kind, outcome)
    }

    async fn unary(&self, kind: Kind, connection: usize, request: Bytes) -> Result<Bytes, Code> {
        let path = PathAndQuery::from_static(kind.path());
        let target = if kind == Kind::File { &self.claims } else { &self.target };
        let mut client = target.client(connection).await.map_err(|status| status.code())?;
        let reply = client.unary(target.request(request), path, Raw).await;
        reply.map(tonic::Response::into_inner).map_err(|status| status.code())
    }

    /// Asks on the connection's stream, which is opened anew where it has ended.
    async fn ask(&self, connection: usize, number: u64, request: Bytes) -> Result<Bytes, Code> {
        let (answer, answered) = oneshot::channel();
        let questions = {
            let mut conversation = self.conversations[connection].lock().unwrap_or_else(PoisonError::into_inner);
            if conversation.questions.as_ref().is_none_or(mpsc::Sender::is_closed) {
                *conversation = Conversation::open(self.target.clone(), connection);
            }
            conversation.put(number, answer)
        };
        if let Some(questions) = questions {
            let _ = questions.send(request).await;
        }
        answered.await.unwrap_or(Err(Code::Unavailable))
    }
}

/// Who waits for which answer; `None` once the stream has ended.
type Waiting = Arc<Mutex<Option<HashMap<u64, oneshot::Sender<Result<Bytes, Code>>>>>>;

/// An open StreamCoverage.
#[derive(Default)]
struct Conversation {
    questions: Option<mpsc::Sender<Bytes>>,
    waiting: Waiting,
}

impl Conversation {
    fn open(target: Target, connection: usize) -> Self {
        let (questions, asked) = mpsc::channel(IN_THE_AIR);
        let waiting: Waiting = Arc::new(Mutex::new(Some(HashMap::new())));
        let told = Arc::clone(&waiting);
        tokio::spawn(async move {
            let ended = converse(&target, connection, asked, &told).await;
            let left = told.lock().unwrap_or_else(PoisonError::into_inner).take();
            for answer in left.into_iter().flat_map(HashMap::into_values) {
                let _ = answer.send(Err(ended));
            }
        });
        Self { questions: Some(questions), waiting }
    }

    /// Notes who waits for this answer, and gives where to put the question; nowhere, where the stream has just ended.
    fn put(&self, number: u64, answer: oneshot::Sender<Result<Bytes, Code>>) -> Option<mpsc::Sender<Bytes>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).as_mut()?.insert(number, answer);
        self.questions.clone()
    }
}

/// Hands out the answers until the stream ends; gives how.
async fn converse(target: &Target, connection: usize, asked: mpsc::Receiver<Bytes>, waiting: &Waiting) -> Code {
    let path = PathAndQuery::from_static(Kind::Stream.path());
    let opened = async {
        let mut client = target.client(connection).await?;
        client.streaming(target.request(ReceiverStream::new(asked)), path, Raw).await
    };
    let answers: Result<Streaming<Bytes>, Status> = opened.await.map(tonic::Response::into_inner);
    let mut answers = match answers {
        Ok(answers) => answers,
        Err(status) => return status.code(),
    };
    loop {
        let reply = match answers.message().await {
            Ok(Some(reply)) => reply,
            Ok(None) => return Code::Unavailable,
            Err(status) => return status.code(),
        };
        let id = fields(&reply).next().filter(|(field, _)| *field == 1).map(|(_, id)| String::from_utf8_lossy(id));
        let number = id.and_then(|id| id.parse().ok()).unwrap_or(u64::MAX);
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = waiting.as_mut().and_then(|waiting| waiting.remove(&number)) {
            let _ = answer.send(Ok(reply));
        }
    }
}
