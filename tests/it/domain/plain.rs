//! What a customer reads of a claim, in both languages.

use chrono::NaiveDate;
use strum::IntoEnumIterator;
use uuid::Uuid;
use warranty::domain::{
    actor::Actor,
    calendar::CalendarEnds,
    claim::{Action, Charge, Claim, Outcome, State, StateName},
    coverage::Remedy,
    event::{Filing, Ruling, Stage, Vouchers},
    fact::Language::{self, Chinese, English},
    facts::Told,
    money::Fen,
    next::{NextAction, Party},
    refusal::Refusal,
    serial::Serial,
};

/// A sentence in Chinese and in English.
type Both = [&'static str; 2];

const BUYER: Actor = Actor::Customer(Uuid::from_u128(7));

fn serial(text: &str) -> Serial {
    Serial::parse(text).unwrap()
}

/// The buyer's claim, come to this state on 25 November 2026.
fn claim(state: State, remedy: Remedy) -> Claim {
    let entered_at = "2026-11-25T04:00:00Z".parse().unwrap();
    let filing = Filing {
        serial: serial("OLD1"),
        applicant: BUYER,
        customer_id: Uuid::from_u128(7),
        told: Told::default(),
        vouchers: Vouchers::default(),
        voucher_verified: true,
        filed_at: entered_at,
        reported_on: NaiveDate::from_ymd_opt(2026, 11, 25).unwrap(),
        targets: Default::default(),
        dispute: None,
    };
    let ruling = Ruling { stage: Stage::Final, remedy, clauses: Vec::new(), policy_version: String::new() };
    Claim { state, ..Claim::filed(Uuid::nil(), filing, &ruling) }
}

fn next(claim: &Claim, reader: &Actor, language: Language) -> Vec<String> {
    claim.next_actions().iter().filter_map(|next| claim.next_summary(next, reader, language)).collect()
}

#[test]
#[allow(clippy::too_many_lines)] // One table.
fn where_it_stands_and_what_comes_next() {
    let rows: [(State, Remedy, Both, &[Both]); 10] = [
        (
            State::Filed,
            Remedy::FreeRepair,
            ["已提交，等待售后联系。", "Filed. After-sales service will be in touch."],
            &[
                [
                    "售后将电话指导，排查故障，期限2026年11月27日。",
                    "After-sales service will give guidance by telephone, due by 27 November 2026.",
                ],
                ["您可以撤销申请。", "You can cancel the claim."],
            ],
        ),
        (
            State::Authorized,
            Remedy::FreeRepair,
            ["申请已通过，产品可以寄来。", "Approved. The unit may be sent in."],
            &[
                ["您可以寄出产品，截止2026年12月25日。", "You can send the unit in, until 25 December 2026."],
                ["您可以撤销申请。", "You can cancel the claim."],
            ],
        ),
        // That it may get lost is nothing that a customer has to read.
        (
            State::InTransit,
            Remedy::FreeRepair,
            ["产品正寄往维修中心。", "The unit is on its way to the repair centre."],
            &[["维修中心将收取产品。", "The repair centre will take the unit in."]],
        ),
        (
            State::Inspected,
            Remedy::PaidService,
            ["检测完成，正在准备维修报价。", "Inspected. A quote for the repair comes next."],
            &[
                [
                    "财务将发出维修报价，期限2026年11月28日。",
                    "Billing will send a quote for the repair, due by 28 November 2026.",
                ],
                ["您可以对决定提出异议。", "You can appeal against the decision."],
            ],
        ),
        // Billing may quote anew, and need not.
        (
            State::Quoted(Uuid::nil()),
            Remedy::PaidService,
            ["维修报价已出，等待答复。", "A quote for the repair waits for an answer."],
            &[
                ["您可以接受报价，截止2026年12月10日。", "You can accept the quote, until 10 December 2026."],
                [
                    "您可以拒绝报价，产品原样退回，截止2026年12月10日。",
                    "You can decline the quote, and have the unit back as it is, until 10 December 2026.",
                ],
                ["您可以对决定提出异议。", "You can appeal against the decision."],
            ],
        ),
        // What cannot be repaired is replaced: a repair is what is promised.
        (
            State::InRepair,
            Remedy::FreeRepair,
            ["产品正在维修或更换。", "The unit is being repaired or replaced."],
            &[
                [
                    "维修中心将维修产品，期限2026年12月5日。",
                    "The repair centre will repair the unit, due by 5 December 2026.",
                ],
                ["您可以对决定提出异议。", "You can appeal against the decision."],
            ],
        ),
        (
            State::InRepair,
            Remedy::DirectReplacement,
            ["产品正在维修或更换。", "The unit is being repaired or replaced."],
            &[
                [
                    "维修中心将更换产品，期限2026年12月5日。",
                    "The repair centre will replace the unit, due by 5 December 2026.",
                ],
                ["您可以对决定提出异议。", "You can appeal against the decision."],
            ],
        ),
        (
            State::Dispatched(Outcome::Repaired),
            Remedy::FreeRepair,
            ["已寄出，正在途中。", "Sent out. It is on its way."],
            &[["维修中心将确认送达。", "The repair centre will confirm the delivery."]],
        ),
        (
            State::Closed(Outcome::AsItCame),
            Remedy::ReturnAsIs,
            ["产品已原样退回，申请完成。", "The unit went back as it came. The claim is closed."],
            &[],
        ),
        (
            State::Lost(None),
            Remedy::FreeRepair,
            ["产品在寄来途中丢失，正在查找。", "Lost on its way to us. We are looking for it."],
            &[["维修中心将收取产品。", "The repair centre will take the unit in."]],
        ),
    ];
    for (state, remedy, stands, comes) in rows {
        let claim = claim(state, remedy);
        assert_eq!([Chinese, English].map(|language| claim.state_summary(language)), stands);
        let told = [Chinese, English].map(|language| next(&claim, &BUYER, language));
        let expected = [0, 1].map(|at| comes.iter().map(|both| both[at].to_owned()).collect::<Vec<_>>());
        assert_eq!(told, expected, "{:?}", claim.state);
    }
    let total = Charge { total: Fen(33900), vat: Fen(3900) };
    let unpaid = Claim { charge: Some(total), ..claim(State::Ready(Outcome::Repaired), Remedy::PaidService) };
    assert_eq!(
        [Chinese, English].map(|language| unpaid.state_summary(language)),
        ["已修好，等待付款。", "Repaired. It waits for the payment."]
    );
    assert_eq!(
        next(&unpaid, &BUYER, English),
        ["The repair centre will send it out.", "Billing will confirm the payment, due by 28 November 2026."]
    );
    // Who reads another's claim is not told that he may do it.
    let staff = Actor::Staff("S1".to_owned());
    let sent = claim(State::Authorized, Remedy::FreeRepair);
    assert_eq!(next(&sent, &staff, English)[1], "The applicant can cancel the claim.");
    assert_eq!(next(&sent, &staff, Chinese)[1], "申请人可以撤销申请。");
}

#[test]
fn no_sentence_lacks_its_other_language() {
    let claim = claim(State::Filed, Remedy::FreeRepair);
    let staffs_own = [
        Action::Replace,
        Action::Quote,
        Action::DeclareBeyondRepair,
        Action::RecordLoss,
        Action::CloseLost,
        Action::SettleDebt,
    ];
    for action in Action::iter() {
        let next = NextAction { action, party: Party::Depot, due_on: None };
        let told = [Chinese, English].map(|language| claim.next_summary(&next, &BUYER, language));
        assert_eq!(told.each_ref().map(Option::is_none), [staffs_own.contains(&action); 2], "{action}: {told:?}");
    }
}

#[test]
#[allow(clippy::too_many_lines)] // One table.
fn what_stands_in_the_way() {
    let day = |text: &str| text.parse::<NaiveDate>().unwrap();
    let rows: [(Refusal, Option<Both>); 19] = [
        (Refusal::OpenClaimExists, Some(["此产品已有一份进行中的申请。", "This unit has an open claim already."])),
        (
            Refusal::UnitSuperseded { by: serial("NEW1") },
            Some([
                "此产品已更换，请用新产品的序列号NEW1。",
                "This unit was replaced. Use the serial number of its replacement, NEW1.",
            ]),
        ),
        (
            Refusal::NotStarted { starts_on: day("2026-12-01") },
            Some([
                "质保自2026年12月1日开始，现在还不能申请。",
                "The warranty starts on 1 December 2026. No claim is possible before.",
            ]),
        ),
        (
            Refusal::VoucherRequired,
            Some([
                "此产品没有登记在您名下，请提供发票号码或保修卡号。",
                "The unit is not registered to you. Give the number of the invoice or of the warranty card.",
            ]),
        ),
        (
            Refusal::VoucherMismatch,
            Some([
                "凭证与登记的销售不符，请核对发票号码和保修卡号。",
                "The proof of purchase is not that of the registered sale. Check its numbers.",
            ]),
        ),
        (
            Refusal::DealerNotActive,
            Some(["经销商已停用，不能提交申请。", "The dealer is suspended and cannot make a claim."]),
        ),
        (
            Refusal::ModelMismatch { model: "M1".into() },
            Some(["型号与登记的不符。", "The model is not the registered one."]),
        ),
        (
            Refusal::CalendarEnds(CalendarEnds { day: day("2027-03-01") }),
            Some([
                "该年份的节假日尚未公布，暂时无法计算。",
                "That year's holidays are not published yet, so the last day cannot be told.",
            ]),
        ),
        (
            Refusal::WrongState { state: StateName::Closed, action: Action::Cancel.into(), allowed: vec![] },
            Some(["申请已有进展，现在不能这样做。", "The claim has moved on. This is not possible now."]),
        ),
        (
            Refusal::VersionMismatch { given: 1, current: 2 },
            Some(["申请刚有变化，请看过后再试。", "The claim has just changed. Look at it and try again."]),
        ),
        (Refusal::NotTheApplicant, Some(["只有提交申请的人才能这样做。", "Only who filed the claim may do this."])),
        (
            Refusal::ClaimEnded,
            Some(["申请已结束，不能再添加。", "The claim is over. Nothing is added to it any more."]),
        ),
        (
            Refusal::EvidenceRefused("too many"),
            Some([
                "文件未被接受：须为 JPEG、PNG、WebP 或 PDF，每个最大 10 MiB，每份申请最多 20 个。",
                "The file was refused. It must be a JPEG, PNG, WebP or PDF of at most 10 MiB; a claim has 20 at most.",
            ]),
        ),
        (
            Refusal::QuoteNotCurrent { current: Uuid::nil() },
            Some(["报价已更新，请看新的报价。", "There is a newer quote. Please look at it."]),
        ),
        (
            Refusal::QuoteExpired { on: day("2026-12-10") },
            Some(["报价已于2026年12月10日过期。", "The quote could be accepted until 10 December 2026."]),
        ),
        (Refusal::AppealOpen, Some(["异议处理完之前不能这样做。", "This waits until the appeal is decided."])),
        (
            Refusal::AppealedBefore,
            Some(["已经提出过异议，只能提出一次。", "The decision was appealed before. That is possible once."]),
        ),
        (
            Refusal::RequestIdReused,
            Some([
                "此次提交与之前的不同，请重新提交。",
                "This differs from what was sent before. Please send it again.",
            ]),
        ),
        // Staff alone meet it.
        (Refusal::SetAsideSettled, None),
    ];
    for (refusal, expected) in rows {
        let told = [Chinese, English].map(|language| refusal.summary(language));
        assert_eq!(
            told.each_ref().map(Option::as_deref),
            expected.map_or([None, None], |both| both.map(Some)),
            "{refusal}"
        );
    }
}
