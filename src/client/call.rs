//! `warranty call`: any unary method by its name, with JSON in and JSON out.

use std::{fs, io, process::ExitCode};

use anyhow::{Context, Result, bail};
use clap::Args;
use prost::Message;
use prost_reflect::{
    DescriptorPool, DynamicMessage, MessageDescriptor, MethodDescriptor, ReflectMessage, SerializeOptions, Value,
};
use tonic::{
    Response, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};
use uuid::Uuid;

use super::{Addresses, Issuer, Kind, TokenSource, Who, connect, refusal, signed};
use crate::contract::DESCRIPTORS;

/// What `warranty call` needs.
#[derive(Args, Clone, Debug)]
pub struct CallArgs {
    /// SERVICE/METHOD, such as CoverageService/CheckCoverage
    pub method: String,
    /// The request as JSON, `@FILE` to read it from a file, `-` from standard input
    #[arg(default_value = "{}")]
    pub request: String,
    /// URL of the service, whichever it is
    #[arg(long, env = "WARRANTY_ADDRESS")]
    pub address: Option<String>,
    /// Where each service listens.
    #[command(flatten)]
    pub addresses: Addresses,
    /// The token to call with
    #[arg(long, env = "WARRANTY_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Fetch a token for this kind of caller from the development issuer instead
    #[arg(long = "as", value_name = "KIND")]
    pub kind: Option<Kind>,
    /// Which dealer, with --as dealer
    #[arg(long, requires = "kind", conflicts_with = "customer")]
    pub dealer: Option<String>,
    /// Which customer (UUID), with --as customer
    #[arg(long, requires = "kind")]
    pub customer: Option<Uuid>,
    /// Where tokens come from.
    #[command(flatten)]
    pub issuer: Issuer,
    /// Print the call's trace id on standard error
    #[arg(long)]
    pub trace: bool,
}

/// Calls one method and prints the reply as JSON on standard output. What the service refuses is told on standard error, and the
/// exit code is 1.
///
/// # Errors
/// The method or the request is none, or the service or the issuer cannot be reached.
pub async fn call(args: CallArgs) -> Result<ExitCode> {
    match send(&args).await? {
        Ok(reply) => {
            println!("{}", pretty(&reply)?);
            Ok(ExitCode::SUCCESS)
        }
        Err(status) => {
            eprintln!("{}", refusal::told(&status));
            Ok(ExitCode::FAILURE)
        }
    }
}

/// The reply, or what the service refused with.
async fn send(args: &CallArgs) -> Result<Result<DynamicMessage, Status>> {
    let method = method(&args.method)?;
    let mut message = parse(method.input(), &body(&args.request)?)?;
    if let Some(id) = fill_request_id(&mut message) {
        eprintln!("request_id {id}");
    }
    let token = token(args).await?;
    let (request, trace_id) = signed(message, token.as_deref())?;
    if args.trace {
        eprintln!("trace {trace_id}");
    }
    let mut grpc = Grpc::new(connect(address(args, &method)?).await?);
    grpc.ready().await.context("the service went away")?;
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    let answer = grpc.unary(request, path.parse()?, DynamicCodec(method.output())).await;
    Ok(answer.map(Response::into_inner))
}

/// Finds a unary method; the service may be named with or without its package.
fn method(name: &str) -> Result<MethodDescriptor> {
    let pool = DescriptorPool::decode(DESCRIPTORS).expect("the contracts' descriptors are whole");
    let (service, method) =
        name.trim_start_matches('/').split_once('/').with_context(|| format!("{name} is not SERVICE/METHOD"))?;
    let Some(service) = pool.services().find(|known| service == known.name() || service == known.full_name()) else {
        let known: Vec<_> = pool.services().map(|s| s.name().to_owned()).collect();
        bail!("no service {service}; there are {}", known.join(", "));
    };
    let Some(found) = service.methods().find(|known| method == known.name()) else {
        let known: Vec<_> = service.methods().map(|m| m.name().to_owned()).collect();
        bail!("{} has no {method}; it has {}", service.name(), known.join(", "));
    };
    if found.is_client_streaming() || found.is_server_streaming() {
        bail!("{name} streams; only unary methods can be called here");
    }
    Ok(found)
}

fn body(given: &str) -> Result<String> {
    match given.strip_prefix('@') {
        Some(path) => fs::read_to_string(path).with_context(|| format!("cannot read {path}")),
        None if given == "-" => io::read_to_string(io::stdin()).context("cannot read standard input"),
        None => Ok(given.to_owned()),
    }
}

fn parse(shape: MessageDescriptor, json: &str) -> Result<DynamicMessage> {
    let name = shape.name().to_owned();
    let mut reader = serde_json::Deserializer::from_str(json);
    let message =
        DynamicMessage::deserialize(shape, &mut reader).with_context(|| format!("the request is not a {name}"))?;
    reader.end().context("something stands after the request")?;
    Ok(message)
}

/// Gives the request a fresh `request_id` where it has such a field and none is given.
fn fill_request_id(message: &mut DynamicMessage) -> Option<Uuid> {
    let field = message.descriptor().get_field_by_name("request_id")?;
    if message.has_field(&field) {
        return None;
    }
    let id = Uuid::new_v4();
    message.set_field(&field, Value::String(id.to_string()));
    Some(id)
}

async fn token(args: &CallArgs) -> Result<Option<String>> {
    let Some(kind) = args.kind else {
        return Ok(args.token.clone());
    };
    let id = match kind {
        Kind::Dealer => args.dealer.clone(),
        Kind::Customer => args.customer.map(|id| id.to_string()),
        _ => None,
    };
    let issuer = TokenSource::Issuer(args.issuer.issuer_url.clone());
    Ok(Some(issuer.token(&Who { kind, id }).await?))
}

fn address<'a>(args: &'a CallArgs, method: &MethodDescriptor) -> Result<&'a str> {
    if let Some(address) = &args.address {
        return Ok(address);
    }
    match method.parent_service().name() {
        "CoverageService" | "RegistryService" => Ok(&args.addresses.coverage),
        "ClaimService" => Ok(&args.addresses.claim),
        "LogisticsService" => Ok(&args.addresses.logistics),
        other => bail!("where {other} listens is not known; give --address"),
    }
}

fn pretty(message: &DynamicMessage) -> Result<String> {
    let mut json = Vec::new();
    let mut writer = serde_json::Serializer::pretty(&mut json);
    message.serialize_with_options(&mut writer, &SerializeOptions::new())?;
    Ok(String::from_utf8(json)?)
}

/// Messages whose shape is known only at run time; the descriptor is the reply's.
struct DynamicCodec(MessageDescriptor);

impl Codec for DynamicCodec {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = DynamicEncoder;
    type Decoder = DynamicCodec;

    fn encoder(&mut self) -> DynamicEncoder {
        DynamicEncoder
    }

    fn decoder(&mut self) -> DynamicCodec {
        DynamicCodec(self.0.clone())
    }
}

struct DynamicEncoder;

impl Encoder for DynamicEncoder {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, item: DynamicMessage, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(buffer).map_err(|error| Status::internal(error.to_string()))
    }
}

impl Decoder for DynamicCodec {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        DynamicMessage::decode(self.0.clone(), buffer).map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use tonic::{Request, transport::Server};

    use super::*;
    use crate::contract::v1::{
        CheckCoverageRequest, CheckCoverageResponse,
        coverage_service_server::{CoverageService, CoverageServiceServer},
    };

    #[derive(Parser)]
    struct CommandLine {
        #[command(flatten)]
        args: CallArgs,
    }

    /// Echoes the serial as the model, with the token; knows no other serial than SN1.
    struct Echo;

    #[tonic::async_trait]
    impl CoverageService for Echo {
        async fn check_coverage(
            &self,
            request: Request<CheckCoverageRequest>,
        ) -> Result<Response<CheckCoverageResponse>, Status> {
            let token =
                request.metadata().get("authorization").and_then(|token| token.to_str().ok()).unwrap_or_default();
            let (serial, model) = (request.get_ref().serial.clone(), token.to_owned());
            match serial.as_str() {
                "SN1" => Ok(Response::new(CheckCoverageResponse { serial, model, ..Default::default() })),
                _ => Err(Status::not_found("no such unit")),
            }
        }
    }

    #[tokio::test]
    async fn a_call_gives_the_reply_as_json_or_the_refusal() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
        tokio::spawn(Server::builder().add_service(CoverageServiceServer::new(Echo)).serve_with_incoming(incoming));
        let command = |json: &str| {
            let line = ["call", "CoverageService/CheckCoverage", json, "--address", &address, "--token", "T"];
            CommandLine::try_parse_from(line).unwrap().args
        };
        let reply = send(&command(r#"{"serial": "SN1"}"#)).await.unwrap().unwrap();
        assert_eq!(pretty(&reply).unwrap(), "{\n  \"serial\": \"SN1\",\n  \"model\": \"Bearer T\"\n}");
        let status = send(&command(r#"{"serial": "SN2"}"#)).await.unwrap().unwrap_err();
        assert_eq!(refusal::told(&status), "NotFound: no such unit");
    }

    #[test]
    fn a_method_is_found_by_its_short_or_full_name() {
        for name in [
            "CoverageService/CheckCoverage",
            "aopre.warranty.v1.CoverageService/CheckCoverage",
            "/aopre.warranty.v1.CoverageService/CheckCoverage",
        ] {
            assert_eq!(method(name).unwrap().input().name(), "CheckCoverageRequest");
        }
        for (name, told) in [
            ("CheckCoverage", "CheckCoverage is not SERVICE/METHOD"),
            ("Coverage/CheckCoverage", "no service Coverage; there are "),
            ("ClaimService/Check", "ClaimService has no Check; it has FileClaim"),
        ] {
            let error = method(name).unwrap_err().to_string();
            assert!(error.starts_with(told), "{error}");
        }
    }

    #[test]
    fn a_request_gets_an_id_only_where_it_has_none() {
        let shape = || method("ClaimService/FileClaim").unwrap().input();
        let mut bare = parse(shape(), r#"{"serial": "SN1"}"#).unwrap();
        let id = fill_request_id(&mut bare).expect("none was given");
        assert!(pretty(&bare).unwrap().contains(&format!("\"requestId\": \"{id}\"")));
        let mut given = parse(shape(), r#"{"requestId": "mine"}"#).unwrap();
        assert_eq!(fill_request_id(&mut given), None);
        let mut read = parse(method("ClaimService/GetClaim").unwrap().input(), "{}").unwrap();
        assert_eq!(fill_request_id(&mut read), None);
    }

    #[test]
    fn a_request_of_another_shape_is_told() {
        let shape = || method("CoverageService/CheckCoverage").unwrap().input();
        for bad in ["", "[]", r#"{"sreial": "SN1"}"#, "{} {}", r#"{"findings": ["X9"]}"#] {
            assert!(parse(shape(), bad).is_err(), "{bad}");
        }
    }
}
