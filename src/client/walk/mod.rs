//! `warranty walk`: one claim of each way through the running services, every answer checked against the commitment.

mod case;
mod expected;
mod walker;
mod ways;

use anyhow::Result;
use clap::Args;
use strum::IntoEnumIterator;
use tonic::Status;

use super::{Addresses, Issuer, TokenSource, refusal};
use crate::clock::Clock;
use walker::Walker;

/// What `warranty walk` needs.
#[derive(Args, Clone, Debug)]
pub struct WalkArgs {
    /// Where each service listens.
    #[command(flatten)]
    pub addresses: Addresses,
    /// Where tokens come from.
    #[command(flatten)]
    pub issuer: Issuer,
    /// The dealer who sells and applies; added where the registry does not know it
    #[arg(long, default_value = "WALK-DEALER")]
    pub dealer: String,
    /// The dealer who must not see the other's claims; added where the registry does not know it
    #[arg(long, default_value = "WALK-OTHER-DEALER")]
    pub other_dealer: String,
}

/// The ways a claim can take, each with the clauses that it shows.
#[derive(Clone, Copy, Debug, strum::EnumIter, strum::Display)]
enum Way {
    #[strum(to_string = "swapped by the dealer in the 15 days (T1, T8, M3, T5)")]
    DirectSwap,
    #[strum(to_string = "repaired free in the year, three more months after it (T2, M6, T6)")]
    FreeRepair,
    #[strum(to_string = "beyond repair: another unit in its place (T2, M4, T5)")]
    BeyondRepair,
    #[strum(to_string = "an accessory in its week, nothing is sent in (T7)")]
    Accessory,
    #[strum(to_string = "no fault found: it goes back as it came (T9)")]
    NoFaultFound,
    #[strum(to_string = "dismantled and dropped: paid service (X4, X5, P1)")]
    Excluded,
    #[strum(to_string = "solved by telephone (M8)")]
    SolvedByTelephone,
    #[strum(to_string = "cancelled by the dealer")]
    Cancelled,
    #[strum(to_string = "rejected by support, with a reason (M8)")]
    Rejected,
    #[strum(to_string = "the customer applies directly, the maker replaces (M2, T1, M4)")]
    CustomerDirectly,
    #[strum(to_string = "what is refused on the way")]
    Refused,
}

/// Walks every way with the issuer's tokens and the system's clock. True where everything came out as the clauses say.
///
/// # Errors
/// A service or the issuer cannot be reached, or the walk's own data cannot be registered.
pub async fn walk(args: WalkArgs) -> Result<bool> {
    let tokens = TokenSource::Issuer(args.issuer.issuer_url.clone());
    walk_with(&args, tokens, &Clock::system()).await
}

/// Walks every way with the caller's own tokens and clock: the services' clock must stand on the same day.
///
/// # Errors
/// As [`walk`].
pub async fn walk_with(args: &WalkArgs, tokens: TokenSource, clock: &Clock) -> Result<bool> {
    let mut walker = Walker::connect(args, tokens, clock).await?;
    walker.prepare().await?;
    for (number, way) in (1..).zip(Way::iter()) {
        println!("\n{number}. {way}");
        if let Err(error) = take(way, &mut walker).await {
            let told = match error.downcast_ref::<Status>() {
                Some(status) => refusal::told(status),
                None => format!("{error:#}"),
            };
            walker.wrong(&format!("the way ends here: {told}"));
        }
    }
    Ok(walker.conclude())
}

async fn take(way: Way, walker: &mut Walker) -> Result<()> {
    match way {
        Way::DirectSwap => ways::direct_swap(walker).await,
        Way::FreeRepair => ways::free_repair(walker).await,
        Way::BeyondRepair => ways::beyond_repair(walker).await,
        Way::Accessory => ways::accessory(walker).await,
        Way::NoFaultFound => ways::no_fault_found(walker).await,
        Way::Excluded => ways::excluded(walker).await,
        Way::SolvedByTelephone => ways::solved_by_telephone(walker).await,
        Way::Cancelled => ways::cancelled(walker).await,
        Way::Rejected => ways::rejected(walker).await,
        Way::CustomerDirectly => ways::customer_directly(walker).await,
        Way::Refused => ways::refused(walker).await,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct CommandLine {
        #[command(flatten)]
        args: WalkArgs,
    }

    #[tokio::test]
    async fn a_walk_without_services_says_which_address_is_silent() {
        let line = ["walk", "--coverage-address", "http://127.0.0.1:1"];
        let args = CommandLine::try_parse_from(line).unwrap().args;
        let tokens = TokenSource::Given(Arc::new(|who| who.to_string()));
        let error = walk_with(&args, tokens, &Clock::system()).await.unwrap_err();
        assert_eq!(error.to_string(), "no service answers at http://127.0.0.1:1");
    }
}
