//! The ways a claim can take, each told as the commitment tells it. The numbers are days since the sale.

use anyhow::Result;
use tonic::Code;

use super::{
    case::{Found, depot, filing, repair},
    expected::{Verdict, after_repair, windows},
    walker::{Walker, ask},
};
use crate::contract::v1::{
    ClaimEventType::{
        AccessoryGranted, Cancelled, Delivered, Dispatched, Filed, Guided, Inspected, Received, Repaired, Replaced,
        ReturnOpened, Swapped,
    },
    ClaimOutcome, ClaimState,
    Clause::{T1, T2, T6, T7, T8, T9, X4, X5},
    GetClaimRequest,
    GuidanceOutcome::{Confirmed, Rejected, Solved, Waived},
    Part,
    Remedy::{AccessoryReplacement, DirectReplacement, FreeRepair, PaidService, ReturnAsIs},
};

/// In the 15 days.
const DIRECT: Verdict = (DirectReplacement, &[T1, T8]);
/// In the year.
const FREE: Verdict = (FreeRepair, &[T2]);
/// After the year, in the three months that follow a repair.
const FREE_AFTER_REPAIR: Verdict = (FreeRepair, &[T6]);
/// In the week.
const ACCESSORY: Verdict = (AccessoryReplacement, &[T7]);
/// Nothing was found.
const AS_IT_CAME: Verdict = (ReturnAsIs, &[T9]);
/// Opened, and dropped.
const PAID: Verdict = (PaidService, &[X4, X5]);

pub async fn direct_swap(walker: &mut Walker) -> Result<()> {
    let old = walker.sold(3).await?;
    let given = walker.unit(old.sold).await?;
    let owed = walker.unit(old.sold).await?;
    let mut case = walker.dealer_applies(&old, Part::Host, DIRECT).await?;
    case.guided(Confirmed, "", ClaimState::Authorized).await?;
    case.swapped_for(&given).await?;
    case.sent_in().await?;
    case.inspected(Found::Fault, DIRECT, ClaimState::Ready).await?;
    case.sent_out(ClaimOutcome::Replenishment, &owed).await?;
    case.went(&[Filed, Guided, Swapped, ReturnOpened, Received, Inspected, Dispatched, Delivered]).await?;
    walker.superseded(&old, &given).await?;
    walker.covered(&given, walker.today, DIRECT, &windows(old.sold)).await?;
    walker.outside_the_chain(&owed).await
}

pub async fn free_repair(walker: &mut Walker) -> Result<()> {
    let unit = walker.sold(360).await?;
    let mut case = walker.dealer_applies(&unit, Part::Host, FREE).await?;
    case.guided(Confirmed, "", ClaimState::Authorized).await?;
    case.sent_in().await?;
    case.inspected(Found::Fault, FREE, ClaimState::InRepair).await?;
    case.repaired().await?;
    case.sent_out(ClaimOutcome::Repaired, &unit.serial).await?;
    case.went(&[Filed, Guided, ReturnOpened, Received, Inspected, Repaired, Dispatched, Delivered]).await?;
    let after = after_repair(walker.today);
    let all = [windows(unit.sold), vec![after]].concat();
    walker.covered(&unit.serial, walker.today, FREE, &all).await?;
    walker.covered(&unit.serial, after.2, FREE_AFTER_REPAIR, &all).await
}

pub async fn beyond_repair(walker: &mut Walker) -> Result<()> {
    let old = walker.sold(60).await?;
    let given = walker.unit(old.sold).await?;
    let mut case = walker.dealer_applies(&old, Part::Host, FREE).await?;
    case.guided(Waived, "the dealer's technician has tested it", ClaimState::Authorized).await?;
    case.sent_in().await?;
    case.inspected(Found::Fault, FREE, ClaimState::InRepair).await?;
    case.replaced_by(&given, "the board is burnt through").await?;
    case.sent_out(ClaimOutcome::Replaced, &given).await?;
    case.went(&[Filed, Guided, ReturnOpened, Received, Inspected, Replaced, Dispatched, Delivered]).await?;
    walker.superseded(&old, &given).await?;
    walker.covered(&given, walker.today, FREE, &windows(old.sold)).await
}

pub async fn accessory(walker: &mut Walker) -> Result<()> {
    let unit = walker.sold(7).await?;
    let mut case = walker.dealer_applies(&unit, Part::Accessory, ACCESSORY).await?;
    case.guided(Confirmed, "", ClaimState::Ready).await?;
    case.finally(ACCESSORY);
    case.sent_out(ClaimOutcome::Accessory, "").await?;
    case.went(&[Filed, Guided, AccessoryGranted, Dispatched, Delivered]).await
}

pub async fn no_fault_found(walker: &mut Walker) -> Result<()> {
    let unit = walker.sold(60).await?;
    let mut case = walker.dealer_applies(&unit, Part::Host, FREE).await?;
    case.guided(Confirmed, "", ClaimState::Authorized).await?;
    case.sent_in().await?;
    case.inspected(Found::NoFault, AS_IT_CAME, ClaimState::Ready).await?;
    case.sent_out(ClaimOutcome::AsItCame, &unit.serial).await?;
    case.went(&[Filed, Guided, ReturnOpened, Received, Inspected, Dispatched, Delivered]).await
}

pub async fn excluded(walker: &mut Walker) -> Result<()> {
    let unit = walker.sold(60).await?;
    let mut case = walker.dealer_applies(&unit, Part::Host, FREE).await?;
    case.guided(Confirmed, "", ClaimState::Authorized).await?;
    case.sent_in().await?;
    case.inspected(Found::Causes(vec![X5, X4]), PAID, ClaimState::Inspected).await?;
    case.went(&[Filed, Guided, ReturnOpened, Received, Inspected]).await
}

pub async fn solved_by_telephone(walker: &mut Walker) -> Result<()> {
    let unit = walker.sold(3).await?;
    let mut case = walker.dealer_applies(&unit, Part::Host, DIRECT).await?;
    case.guided(Solved, "", ClaimState::Resolved).await?;
    case.went(&[Filed, Guided]).await
}

pub async fn cancelled(walker: &mut Walker) -> Result<()> {
    let unit = walker.sold(15).await?;
    let mut case = walker.dealer_applies(&unit, Part::Host, DIRECT).await?;
    case.cancelled("the customer keeps it").await?;
    case.went(&[Filed, Cancelled]).await
}

pub async fn rejected(walker: &mut Walker) -> Result<()> {
    let unit = walker.sold(16).await?;
    let mut case = walker.dealer_applies(&unit, Part::Host, FREE).await?;
    case.guided(Rejected, "not a fault of the unit: the fibre is cut", ClaimState::Rejected).await?;
    case.went(&[Filed, Guided]).await
}

pub async fn customer_directly(walker: &mut Walker) -> Result<()> {
    let old = walker.sold(3).await?;
    let given = walker.unit(old.sold).await?;
    let mut case = walker.customer_applies(&old, DIRECT).await?;
    case.guided(Confirmed, "", ClaimState::Authorized).await?;
    case.sent_in().await?;
    case.inspected(Found::Fault, DIRECT, ClaimState::InRepair).await?;
    case.replaced_by(&given, "").await?;
    case.sent_out(ClaimOutcome::Replaced, &given).await?;
    case.went(&[Filed, Guided, ReturnOpened, Received, Inspected, Replaced, Dispatched, Delivered]).await?;
    walker.superseded(&old, &given).await
}

/// A second claim for the unit, a stranger's look at the claim, a repair before the inspection.
pub async fn refused(walker: &mut Walker) -> Result<()> {
    let unit = walker.sold(60).await?;
    let (dealer, stranger) = (walker.dealer.clone(), walker.other_dealer.clone());
    let mut case = walker.dealer_applies(&unit, Part::Host, FREE).await?;

    let answer = ask!(case.walker, claims.file_claim, &dealer, filing(&unit, Part::Host));
    case.walker.refused("FileClaim again", answer, (Code::FailedPrecondition, "OPEN_CLAIM_EXISTS"));

    let message = GetClaimRequest { claim_id: case.claim.claim_id.clone() };
    let answer = ask!(case.walker, claims.get_claim, &stranger, message);
    case.walker.refused("GetClaim of another's", answer, (Code::NotFound, "NOT_FOUND"));

    let answer = ask!(case.walker, claims.record_repair, &depot(), repair(&case.claim));
    case.walker.refused("RecordRepair before inspection", answer, (Code::FailedPrecondition, "WRONG_STATE"));

    case.cancelled("it was only for show").await?;
    case.went(&[Filed, Cancelled]).await
}
