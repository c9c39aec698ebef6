//! The answer of a call that streams: it ends by the caller's deadline, with the token, and when the process stops.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    http::HeaderMap,
    response::Response,
};
use futures::future::BoxFuture;
use http_body::Frame;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use super::{
    gate::{explain_status, internal, refuse},
    request_log::RequestLog,
};
use crate::contract::v1::ErrorReason;

/// What a stream lives on.
pub(super) struct Life {
    /// The caller's deadline, where it gave one.
    pub(super) deadline: Option<Instant>,
    /// How long the token is still valid.
    pub(super) token: Duration,
    /// The process stops.
    pub(super) stop: CancellationToken,
    /// Its place under the process's limit.
    pub(super) place: Arc<OwnedSemaphorePermit>,
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

/// `answer`, until the first of its ends.
pub(super) fn until(answer: Response, life: Life, mut log: RequestLog) -> Response {
    log.code = Code::Cancelled;
    answer.map(|body| {
        let over = Box::pin(Life::over(life.deadline, life.token, life.stop));
        Body::new(Streamed { body, over, log, _place: life.place, most: life.max_message_bytes, ended: false })
    })
}

struct Streamed {
    body: Body,
    over: BoxFuture<'static, Status>,
    log: RequestLog,
    _place: Arc<OwnedSemaphorePermit>,
    most: usize,
    ended: bool,
}

impl Streamed {
    fn end(&mut self, status: Status) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.ended = true;
        // The handler's work ends with its body.
        self.body = Body::empty();
        self.log.code = status.code();
        let mut trailers = HeaderMap::new();
        match status.add_header(&mut trailers) {
            Ok(()) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Err(error) => Poll::Ready(Some(Err(axum::Error::new(error)))),
        }
    }
}

impl HttpBody for Streamed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        // The handler's work is done here: its statements and its faults belong to the call's span.
        let span = self.log.span.clone();
        let _entered = span.enter();
        if let Poll::Ready(status) = self.over.as_mut().poll(cx) {
            return self.end(status);
        }
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(&mut self.body).poll_frame(cx)));
        let frame = match polled {
            Ok(frame) => std::task::ready!(frame),
            Err(_panic) => return self.end(internal("the handler panicked")),
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
