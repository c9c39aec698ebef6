//! The wire as cheap as it gets, for the generator shares its machine with what it measures: requests are encoded before
//! the run, replies are skimmed and not decoded.

use std::time::Duration;

use anyhow::{Context, Result};
use bytes::{Buf, BufMut, Bytes};
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use tonic::{
    Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};

/// A thousand answers with their proofs are more than tonic takes by itself.
const LARGEST_REPLY: usize = 64 << 20;

/// Messages as their bytes.
#[derive(Clone, Copy, Debug)]
pub struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

/// Several connections to one service, and the token to call it with.
#[derive(Clone)]
pub struct Target {
    channels: Vec<Channel>,
    bearer: MetadataValue<Ascii>,
}

impl Target {
    /// Connects. Fails where nobody answers at `address`, a URL, within five seconds, or the token is none.
    pub async fn connect(address: &str, connections: usize, token: &str) -> Result<Self> {
        let endpoint = Endpoint::from_shared(address.to_owned()).with_context(|| format!("{address} is not a URL"))?;
        let endpoint = endpoint.connect_timeout(Duration::from_secs(5));
        let mut channels = Vec::new();
        for _ in 0..connections {
            let channel = endpoint.connect().await;
            channels
                .push(channel.with_context(|| format!("no service answers at {address}: does `warranty up` run?"))?);
        }
        Ok(Self { channels, bearer: format!("Bearer {token}").parse().context("the token is not one")? })
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.channels.len()
    }

    /// A client on one of the connections, counted round.
    pub async fn client(&self, connection: usize) -> Result<Grpc<Channel>, Status> {
        let channel = self.channels[connection % self.channels.len()].clone();
        let mut client = Grpc::new(channel).max_decoding_message_size(LARGEST_REPLY);
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
