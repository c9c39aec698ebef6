//! The answer of a call that streams: it ends by the caller's deadline, with the token, and when the process stops.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    http::HeaderMap,
    response::Response,
};
use http_body::Frame;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tonic::{Code, Status};

use super::{
    gate::{explain_status, internal, refuse},
    request_log::RequestLog,
};
use crate::contract::v1::ErrorReason;

/// Streams that one caller may have open in one process: many programs with a few each.
const MOST_OF_A_CALLER: usize = 32;

/// The streams that are open, by caller. A stream may last for hours: so a caller has a few, and a quarter of the places is never
/// theirs, or who opens enough of them would shut everybody out.
pub(super) struct OpenStreams {
    most: usize,
    by_caller: Arc<Mutex<HashMap<String, usize>>>,
}

impl OpenStreams {
    /// In a process that takes on so many calls.
    pub(super) fn among(concurrency: u32) -> Self {
        Self { most: (concurrency - concurrency / 4) as usize, by_caller: Arc::default() }
    }

    /// One more of `caller`'s, until it is dropped. Errors: it has too many, or all together have.
    pub(super) fn open(&self, caller: &str) -> Result<OpenStream, Status> {
        let mut open = self.by_caller.lock().unwrap_or_else(PoisonError::into_inner);
        if open.get(caller).is_some_and(|open| *open >= MOST_OF_A_CALLER) {
            let message = format!("a caller has at most {MOST_OF_A_CALLER} streams open in a process");
            return Err(refuse(Code::ResourceExhausted, ErrorReason::RateLimited, &message));
        }
        if open.values().sum::<usize>() >= self.most {
            return Err(refuse(Code::Unavailable, ErrorReason::Overloaded, "too many streams at once"));
        }
        *open.entry(caller.to_owned()).or_default() += 1;
        Ok(OpenStream { caller: caller.to_owned(), by_caller: Arc::clone(&self.by_caller) })
    }
}

/// One of them.
pub(super) struct OpenStream {
    caller: String,
    by_caller: Arc<Mutex<HashMap<String, usize>>>,
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut open = self.by_caller.lock().unwrap_or_else(PoisonError::into_inner);
        match open.get_mut(&self.caller) {
            Some(more @ 2..) => *more -= 1,
            _ => drop(open.remove(&self.caller)),
        }
    }
}

/// What a stream lives on.
pub(super) struct Life {
    /// The caller's deadline, where it gave one.
    pub(super) deadline: Option<Instant>,
    /// How long the token is still valid.
    pub(super) token: Duration,
    /// The process stops.
    pub(super) stop: CancellationToken,
    /// Its place under the process's limit, and among the streams.
    pub(super) place: (Arc<OwnedSemaphorePermit>, OpenStream),
    /// The largest message.
    pub(super) max_message_bytes: usize,
}

impl Life {
    /// Waits for the first end.
    async fn over(deadline: Option<Instant>, token: Duration, stop: CancellationToken) -> Status {
        let deadline = async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = deadline => refuse(Code::DeadlineExceeded, ErrorReason::Deadline, "the deadline passed"),
            () = sleep(token) => refuse(Code::Unauthenticated, ErrorReason::TokenRefused, "the token expired"),
            () = stop.cancelled() => {
                refuse(Code::Unavailable, ErrorReason::Overloaded, "this process stops; go on with another")
            }
        }
    }
}

/// `answer`, until the first of its ends. That comes also where the caller takes nothing and the body is never asked: the
/// handler's work and the call's place go then, and the caller is told when he takes the rest.
pub(super) fn until(answer: Response, life: Life, mut log: RequestLog) -> Response {
    log.code = Code::Cancelled;
    answer.map(|body| {
        let work = Arc::new(Mutex::new(Work { body, over: None, waker: None, place: Some(life.place) }));
        let (watched, over) = (Arc::clone(&work), Life::over(life.deadline, life.token, life.stop));
        let watch = tokio::spawn(async move {
            let status = over.await;
            watched.lock().unwrap_or_else(PoisonError::into_inner).end(status);
        });
        Body::new(Streamed {
            work,
            watch: AbortOnDropHandle::new(watch),
            log,
            most: life.max_message_bytes,
            ended: false,
        })
    })
}

/// A part of an answer.
type OneFrame = Result<Frame<Bytes>, axum::Error>;

/// What the handler still does, and what has ended it.
struct Work {
    body: Body,
    over: Option<Status>,
    waker: Option<Waker>,
    place: Option<(Arc<OwnedSemaphorePermit>, OpenStream)>,
}

impl Work {
    fn end(&mut self, status: Status) {
        self.body = Body::empty();
        self.place = None;
        self.over = Some(status);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

struct Streamed {
    work: Arc<Mutex<Work>>,
    watch: AbortOnDropHandle<()>,
    log: RequestLog,
    most: usize,
    ended: bool,
}

impl Streamed {
    fn end(&mut self, status: Status) -> Poll<Option<OneFrame>> {
        self.ended = true;
        self.watch.abort();
        // The handler's work ends with its body.
        self.work.lock().unwrap_or_else(PoisonError::into_inner).body = Body::empty();
        self.log.code = status.code();
        let mut trailers = HeaderMap::new();
        match status.add_header(&mut trailers) {
            Ok(()) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Err(error) => Poll::Ready(Some(Err(axum::Error::new(error)))),
        }
    }

    /// The handler's next frame, or what has ended it.
    fn next(&self, cx: &mut Context<'_>) -> Poll<Result<Option<OneFrame>, Status>> {
        let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(status) = work.over.take() {
            return Poll::Ready(Err(status));
        }
        match catch_unwind(AssertUnwindSafe(|| Pin::new(&mut work.body).poll_frame(cx))) {
            Ok(Poll::Ready(frame)) => Poll::Ready(Ok(frame)),
            Ok(Poll::Pending) => {
                work.waker = Some(cx.waker().clone());
                Poll::Pending
            }
            Err(_panic) => Poll::Ready(Err(internal("the handler panicked"))),
        }
    }
}

impl HttpBody for Streamed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<OneFrame>> {
        if self.ended {
            return Poll::Ready(None);
        }
        // The handler's work is done here: its statements and its faults belong to the call's span.
        let span = self.log.span.clone();
        let _entered = span.enter();
        let frame = match std::task::ready!(self.next(cx)) {
            Ok(frame) => frame,
            Err(status) => return self.end(status),
        };
        match &frame {
            Some(Ok(frame)) => {
                let told = frame.trailers_ref().and_then(Status::from_header_map);
                match told {
                    Some(status) if status.code() == Code::Ok => self.log.code = Code::Ok,
                    Some(status) => {
                        let status = explain_status(status, self.most);
                        return self.end(status);
                    }
                    None => {}
                }
            }
            Some(Err(_)) => self.log.code = Code::Unknown,
            None => self.ended = true,
        }
        Poll::Ready(frame)
    }
}
