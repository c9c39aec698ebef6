//! The wire as cheap as it gets, for the generator shares its machine with what it measures: requests are encoded before
//! the run, replies are skimmed and not decoded.

use std::{
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use anyhow::{Context, Result};
use futures::future::BoxFuture;
use http::Uri;
use hyper::{
    body::Incoming,
    client::conn::http2::{self, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use tokio::net::TcpStream;
use tonic::{
    Request, Status,
    body::Body,
    client::Grpc,
    metadata::{Ascii, MetadataValue},
};

/// Of a stream: a batch's reply fits.
const WINDOW: u32 = 4 << 20;
/// A thousand answers with their proofs are more than tonic takes by itself.
const LARGEST_REPLY: usize = 64 << 20;

/// An HTTP/2 connection as it is: no queue in front of it, no connecting anew.
#[derive(Clone)]
pub struct Connection(SendRequest<Body>);

impl Connection {
    async fn open(origin: &Uri) -> Result<Self> {
        let host = origin.host().context("the address names no host")?;
        let stream = TcpStream::connect((host, origin.port_u16().unwrap_or(80))).await?;
        stream.set_nodelay(true)?;
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2.initial_stream_window_size(WINDOW).initial_connection_window_size(4 * WINDOW);
        let (requests, connection) = http2.handshake(TokioIo::new(stream)).await?;
        // How it ends, each call that it carried is told.
        tokio::spawn(connection);
        Ok(Self(requests))
    }
}

impl tower_service::Service<http::Request<Body>> for Connection {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = BoxFuture<'static, hyper::Result<Self::Response>>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<hyper::Result<()>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

/// Several connections to one service, and the token to call it with.
#[derive(Clone)]
pub struct Target {
    connections: Vec<Connection>,
    origin: Uri,
    bearer: MetadataValue<Ascii>,
}

impl Target {
    /// Connects. Fails where nobody answers at `address`, an http URL, within five seconds, or the token is none.
    pub async fn connect(address: &str, connections: usize, token: &str) -> Result<Self> {
        let origin: Uri = address.parse().with_context(|| format!("{address} is not a URL"))?;
        let mut open = Vec::new();
        for _ in 0..connections {
            let connection = tokio::time::timeout(Duration::from_secs(5), Connection::open(&origin)).await;
            let connection = connection.map_err(anyhow::Error::from).and_then(|opened| opened);
            open.push(connection.with_context(|| format!("no service answers at {address}: does `warranty up` run?"))?);
        }
        let bearer = format!("Bearer {token}").parse().context("the token is not one")?;
        Ok(Self { connections: open, origin, bearer })
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// A client on one of the connections, counted round.
    pub async fn client(&self, connection: usize) -> Result<Grpc<Connection>, Status> {
        let connection = self.connections[connection % self.connections.len()].clone();
        let mut client = Grpc::with_origin(connection, self.origin.clone()).max_decoding_message_size(LARGEST_REPLY);
        client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(client)
    }

    /// A request with the token.
    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.bearer.clone());
        request
    }
}

/// The fields of a message that have a length: number and content. Ends early where the bytes are no message.
pub fn fields(mut message: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    std::iter::from_fn(move || {
        loop {
            let (number, wire) = decode_key(&mut message).ok()?;
            if wire == WireType::LengthDelimited {
                let length = usize::try_from(decode_varint(&mut message).ok()?).ok()?;
                let (content, rest) = message.split_at_checked(length)?;
                message = rest;
                return Some((number, content));
            }
            skip_field(wire, number, &mut message, DecodeContext::default()).ok()?;
        }
    })
}
