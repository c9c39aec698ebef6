//! Any unary method by its name, with JSON in and JSON out.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor, ReflectMessage, Value};
use tonic::{
    Status,
    client::Grpc,
    transport::{Channel, Endpoint},
};
use uuid::Uuid;

use super::{Addresses, raw::Raw, under};
use crate::contract::DESCRIPTORS;

/// One call, ready to be sent.
pub struct Call {
    method: MethodDescriptor,
    message: DynamicMessage,
    /// The trace that it begins: 32 hexadecimal digits.
    pub trace: String,
    /// The `request_id` that was made up, where the method takes one and none was given.
    pub request_id: Option<Uuid>,
}

impl Call {
    /// The call of `SERVICE/METHOD` (the service with or without its package) with a request in JSON.
    /// Fails where there is no such method, or the request is not of its shape.
    pub fn new(name: &str, request: &str) -> Result<Self> {
        let method = method(name)?;
        let mut reader = serde_json::Deserializer::from_str(request);
        let mut message = DynamicMessage::deserialize(method.input(), &mut reader)
            .with_context(|| format!("the request is not a {}", method.input().name()))?;
        reader.end().context("something stands after the request")?;
        let field = method.input().get_field_by_name("request_id").filter(|field| !message.has_field(field));
        let request_id = field.map(|field| {
            let id = Uuid::new_v4();
            message.set_field(&field, Value::String(id.to_string()));
            id
        });
        number_entries(&mut message);
        Ok(Self { method, message, trace: Uuid::new_v4().simple().to_string(), request_id })
    }

    /// Where its service listens.
    pub fn address<'a>(&self, addresses: &'a Addresses) -> &'a str {
        match self.method.parent_service().name() {
            "ClaimService" => &addresses.claim,
            "LogisticsService" => &addresses.logistics,
            _ => &addresses.coverage,
        }
    }

    /// The reply, or what the service refused with. Fails where the call cannot be sent at all.
    pub async fn send(self, channel: Channel, token: Option<&str>) -> Result<Result<DynamicMessage, Status>> {
        let path = format!("/{}/{}", self.method.parent_service().full_name(), self.method.name()).parse()?;
        let mut request = under(token, Bytes::from(self.message.encode_to_vec()))?;
        let traceparent = format!("00-{}-{}-01", self.trace, &Uuid::new_v4().simple().to_string()[..16]);
        request.metadata_mut().insert("traceparent", traceparent.parse()?);
        let mut grpc = Grpc::new(channel);
        grpc.ready().await.context("the service went away")?;
        match grpc.unary(request, path, Raw).await {
            Ok(reply) => Ok(Ok(DynamicMessage::decode(self.method.output(), reply.into_inner())?)),
            Err(status) => Ok(Err(status)),
        }
    }
}

/// A batch's entries are requests of their own: each that has no `request_id` gets one.
fn number_entries(message: &mut DynamicMessage) {
    for (_, value) in message.fields_mut() {
        let entries = value.as_list_mut().map(Vec::as_mut_slice).unwrap_or_default();
        for entry in entries.iter_mut().filter_map(Value::as_message_mut) {
            let field = entry.descriptor().get_field_by_name("request_id").filter(|field| !entry.has_field(field));
            if let Some(field) = field {
                entry.set_field(&field, Value::String(Uuid::new_v4().to_string()));
            }
        }
    }
}

/// Connects to a service within five seconds; each call may take thirty.
pub async fn connect(address: &str) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(address.to_owned()).with_context(|| format!("{address} is not an address"))?;
    let endpoint = endpoint.connect_timeout(Duration::from_secs(5)).timeout(Duration::from_secs(30));
    endpoint.connect().await.with_context(|| format!("no service answers at {address}: does `warranty up` run?"))
}

fn method(name: &str) -> Result<MethodDescriptor> {
    let pool = DescriptorPool::decode(DESCRIPTORS).expect("the contracts' descriptors are whole");
    let (service, method) = name.split_once('/').with_context(|| format!("{name} is not SERVICE/METHOD"))?;
    let Some(service) = pool.services().find(|known| service == known.name() || service == known.full_name()) else {
        let known: Vec<_> = pool.services().map(|known| known.name().to_owned()).collect();
        bail!("no service {service}; there are {}", known.join(", "));
    };
    let Some(found) = service.methods().find(|known| method == known.name()) else {
        let known: Vec<_> = service.methods().map(|known| known.name().to_owned()).collect();
        bail!("{} has no {method}; it has {}", service.name(), known.join(", "));
    };
    if found.is_client_streaming() || found.is_server_streaming() {
        bail!("{name} streams; only unary methods can be called here");
    }
    Ok(found)
}
