//! `warranty watch`: what happens to claims, as it happens.

use std::{
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result};
use chrono::DateTime;
use clap::Args;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use tonic::{Code, Status};

use super::{Caller, json::connect, refusal, under};
use crate::contract::{
    DESCRIPTORS,
    v1::{WatchClaimsRequest, WatchClaimsResponse, claim_service_client::ClaimServiceClient},
};

/// What `warranty watch` needs.
#[derive(Args, Clone, Debug)]
pub struct WatchArgs {
    /// Go on from a cursor that was told before; 0 is the beginning [default: from now on]
    #[arg(long, default_value = "")]
    pub cursor: String,
    /// Only claims for this unit
    #[arg(long, default_value = "")]
    pub serial: String,
    /// What happens in logistics, too
    #[arg(long)]
    pub with_logistics: bool,
    /// Print each message as JSON, the cursors among them
    #[arg(long)]
    pub json: bool,
    /// Where to call, and as whom.
    #[command(flatten)]
    pub caller: Caller,
}

/// Prints one line an event: its time, the claim (or the parcel, where none is told), its unit, what happened, the state it led to, who did it. After a break it goes
/// on by itself from the last cursor; what the service refuses is told on standard error, and the exit code is 1.
pub async fn watch(args: WatchArgs) -> Result<ExitCode> {
    let pool = DescriptorPool::decode(DESCRIPTORS).expect("the contracts' descriptors are whole");
    let shape = pool.get_message_by_name("aopre.warranty.v1.WatchClaimsResponse").context("no such message")?;
    let mut cursor = args.cursor.clone();
    // The first connection must succeed; later ones are tried until they do.
    let mut broken = follow(&args, &shape, &mut cursor).await?;
    loop {
        let for_good = match broken.code() {
            Code::InvalidArgument | Code::PermissionDenied => true,
            // A development issuer gives another token.
            Code::Unauthenticated => args.caller.kind.is_none(),
            _ => false,
        };
        if for_good {
            return Ok(refusal::failed(&broken));
        }
        eprintln!("broke off ({}), goes on from cursor {cursor:?}", broken.message());
        tokio::time::sleep(Duration::from_secs(1)).await;
        broken = match follow(&args, &shape, &mut cursor).await {
            Ok(broken) => broken,
            Err(error) => Status::unavailable(format!("{error:#}")),
        };
    }
}

/// Prints until the stream breaks; gives what ended it.
async fn follow(args: &WatchArgs, shape: &MessageDescriptor, cursor: &mut String) -> Result<Status> {
    let token = args.caller.token().await?;
    let channel = connect(&args.caller.addresses.claim).await?;
    let request = WatchClaimsRequest {
        cursor: cursor.clone(),
        serial: args.serial.clone(),
        logistics: args.with_logistics,
        ..Default::default()
    };
    let request = under(token.as_deref(), request)?;
    let mut told = match ClaimServiceClient::new(channel).watch_claims(request).await {
        Ok(told) => told.into_inner(),
        Err(status) => return Ok(status),
    };
    loop {
        match told.message().await {
            Ok(Some(told)) => {
                cursor.clone_from(&told.cursor);
                if args.json {
                    let message = DynamicMessage::decode(shape.clone(), told.encode_to_vec().as_slice())?;
                    writeln!(io::stdout(), "{}", serde_json::to_string(&message)?)?;
                } else if let Some(line) = line(&told) {
                    writeln!(io::stdout(), "{line}")?;
                }
            }
            Ok(None) => return Ok(Status::unavailable("the service ended it")),
            Err(status) => return Ok(status),
        }
    }
}

/// For people; none where only the cursor was told.
fn line(told: &WatchClaimsResponse) -> Option<String> {
    let (recorded, kind, state, actor) = match (&told.event, &told.logistics_event) {
        (Some(event), _) => {
            (event.recorded_time, event.r#type().as_str_name(), event.state().as_str_name(), &event.actor)
        }
        (None, Some(event)) => (event.recorded_time, event.r#type().as_str_name(), "-", &event.actor),
        (None, None) => return None,
    };
    let at = recorded.and_then(|at| DateTime::from_timestamp(at.seconds, at.nanos.cast_unsigned()));
    let at = at.unwrap_or_default().format("%Y-%m-%dT%H:%M:%S%.3fZ");
    let kind = kind.trim_start_matches("CLAIM_EVENT_TYPE_").trim_start_matches("LOGISTICS_EVENT_TYPE_");
    let state = state.trim_start_matches("CLAIM_STATE_");
    let shipment = told.logistics_event.as_ref().map_or("", |event| &event.shipment_id);
    let about = if told.claim_id.is_empty() { shipment } else { &told.claim_id };
    Some(format!("{at}  {about:<36}  {:<16}  {kind:<18}  {state:<10}  {actor}", told.serial))
}
