//! What a customer reads of a claim, each as one plain sentence: where it stands, what comes next, and what stands in the way.

use super::{
    actor::Actor,
    claim::{Action, Claim, Outcome, State, StateName},
    coverage::Remedy,
    fact::{Day, Language},
    next::{NextAction, Party},
    refusal::Refusal,
};

impl Claim {
    /// Where it stands.
    pub fn state_summary(&self, language: Language) -> &'static str {
        let both = match &self.state {
            State::Filed => ("已提交，等待售后联系。", "Filed. After-sales service will be in touch."),
            State::Resolved => ("已通过电话解决，申请结束。", "Solved by telephone. The claim is closed."),
            State::Rejected => ("申请未予受理，已结束。", "Rejected. The claim is closed."),
            State::Authorized => ("申请已通过，产品可以寄来。", "Approved. The unit may be sent in."),
            State::Swapped => {
                ("经销商已换新，换下的产品待寄来。", "Swapped by the dealer. The old unit is still to be sent in.")
            }
            State::InTransit => ("产品正寄往维修中心。", "The unit is on its way to the repair centre."),
            State::Received => {
                ("维修中心已收到产品，等待检测。", "The repair centre has the unit and will inspect it.")
            }
            State::Inspected => ("检测完成，正在准备维修报价。", "Inspected. A quote for the repair comes next."),
            State::Quoted(_) => ("维修报价已出，等待答复。", "A quote for the repair waits for an answer."),
            State::InRepair => ("产品正在维修或更换。", "The unit is being repaired or replaced."),
            State::Ready(_) if self.owed().is_some() => ("已修好，等待付款。", "Repaired. It waits for the payment."),
            State::Ready(_) => ("已处理完毕，等待寄出。", "Done. It will be sent out next."),
            State::Dispatched(_) => ("已寄出，正在途中。", "Sent out. It is on its way."),
            State::Closed(Outcome::Repaired) => {
                ("产品已修好并送达，申请完成。", "Repaired and delivered. The claim is closed.")
            }
            State::Closed(Outcome::Replaced(_) | Outcome::Replenishment(_)) => {
                ("更换的产品已送达，申请完成。", "The replacement was delivered. The claim is closed.")
            }
            State::Closed(Outcome::Accessory) => {
                ("附件已送达，申请完成。", "The accessory was delivered. The claim is closed.")
            }
            State::Closed(Outcome::AsItCame) => {
                ("产品已原样退回，申请完成。", "The unit went back as it came. The claim is closed.")
            }
            State::Closed(Outcome::Lost | Outcome::Settled) => ("申请已了结。", "Settled. The claim is closed."),
            State::Cancelled => ("申请已撤销或过期。", "Cancelled, or lapsed."),
            State::Lost(None) => ("产品在寄来途中丢失，正在查找。", "Lost on its way to us. We are looking for it."),
            State::Lost(Some(_)) => ("寄回途中丢失，正在查找。", "Lost on its way back. We are looking for it."),
        };
        language.of(both)
    }

    /// What may come next, for this reader; none where it tells a customer nothing: what staff may have to record beside what it
    /// is there for.
    pub fn next_summary(&self, next: &NextAction, reader: &Actor, language: Language) -> Option<String> {
        let act = language.of(match next.action {
            Action::Guide => ("电话指导，排查故障", "give guidance by telephone"),
            Action::SettleVoucherDispute => ("核实购买凭证", "settle the date on the proof of purchase"),
            Action::DecideAppeal => ("处理异议", "decide the appeal"),
            Action::Swap => ("当场换新", "swap the unit on the spot"),
            Action::OpenReturn => ("寄出产品", "send the unit in"),
            Action::AcceptQuote => ("接受报价", "accept the quote"),
            Action::DeclineQuote => ("拒绝报价，产品原样退回", "decline the quote, and have the unit back as it is"),
            Action::Cancel => ("撤销申请", "cancel the claim"),
            Action::Appeal => ("对决定提出异议", "appeal against the decision"),
            Action::Receive => ("收取产品", "take the unit in"),
            Action::Inspect => ("检测产品", "inspect the unit"),
            Action::Repair => ("维修产品", "repair the unit"),
            Action::Replace if self.gives() != Remedy::FreeRepair => ("更换产品", "replace the unit"),
            Action::Dispatch => ("寄出", "send it out"),
            Action::Deliver => ("确认送达", "confirm the delivery"),
            Action::Quote if self.state_name() == StateName::Inspected => {
                ("发出维修报价", "send a quote for the repair")
            }
            Action::RecordPayment => ("确认收款", "confirm the payment"),
            Action::Replace | Action::Quote => return None,
            Action::DeclareBeyondRepair | Action::RecordLoss | Action::CloseLost | Action::SettleDebt => return None,
        });
        let who = language.of(match next.party {
            Party::Applicant if *reader == self.filing.applicant => ("您", "You"),
            Party::Applicant => ("申请人", "The applicant"),
            Party::Seller => ("经销商", "The dealer"),
            Party::Support => ("售后", "After-sales service"),
            Party::Depot => ("维修中心", "The repair centre"),
            Party::Billing => ("财务", "Billing"),
        });
        let may = matches!(next.party, Party::Applicant | Party::Seller);
        let day = next.due_on.map(|on| Day(on, language));
        Some(match (language, may, day) {
            (Language::Chinese, true, Some(day)) => format!("{who}可以{act}，截止{day}。"),
            (Language::Chinese, true, None) => format!("{who}可以{act}。"),
            (Language::Chinese, false, Some(day)) => format!("{who}将{act}，期限{day}。"),
            (Language::Chinese, false, None) => format!("{who}将{act}。"),
            (Language::English, true, Some(day)) => format!("{who} can {act}, until {day}."),
            (Language::English, true, None) => format!("{who} can {act}."),
            (Language::English, false, Some(day)) => format!("{who} will {act}, due by {day}."),
            (Language::English, false, None) => format!("{who} will {act}."),
        })
    }
}

impl Refusal {
    /// What a customer reads, with what to do about it; none of what only staff and dealers meet.
    pub fn summary(&self, language: Language) -> Option<String> {
        let both = match self {
            Self::OpenClaimExists => ("此产品已有一份进行中的申请。", "This unit has an open claim already."),
            Self::UnitSuperseded { by } => {
                return Some(match language {
                    Language::Chinese => format!("此产品已更换，请用新产品的序列号{by}。"),
                    Language::English => {
                        format!("This unit was replaced. Use the serial number of its replacement, {by}.")
                    }
                });
            }
            Self::NotStarted { starts_on } => {
                let day = Day(*starts_on, language);
                return Some(match language {
                    Language::Chinese => format!("质保自{day}开始，现在还不能申请。"),
                    Language::English => format!("The warranty starts on {day}. No claim is possible before."),
                });
            }
            Self::QuoteExpired { on } => {
                let day = Day(*on, language);
                return Some(match language {
                    Language::Chinese => format!("报价已于{day}过期。"),
                    Language::English => format!("The quote could be accepted until {day}."),
                });
            }
            Self::VoucherRequired => (
                "此产品没有登记在您名下，请提供发票号码或保修卡号。",
                "The unit is not registered to you. Give the number of the invoice or of the warranty card.",
            ),
            Self::VoucherMismatch => (
                "凭证与登记的销售不符，请核对发票号码和保修卡号。",
                "The proof of purchase is not that of the registered sale. Check its numbers.",
            ),
            Self::ModelMismatch { .. } => ("型号与登记的不符。", "The model is not the registered one."),
            Self::CalendarEnds(_) => (
                "该年份的节假日尚未公布，暂时无法计算。",
                "That year's holidays are not published yet, so the last day cannot be told.",
            ),
            Self::WrongState { .. } => {
                ("申请已有进展，现在不能这样做。", "The claim has moved on. This is not possible now.")
            }
            Self::VersionMismatch { .. } => {
                ("申请刚有变化，请看过后再试。", "The claim has just changed. Look at it and try again.")
            }
            Self::NotTheApplicant => ("只有提交申请的人才能这样做。", "Only who filed the claim may do this."),
            Self::DealerNotActive => {
                ("经销商已停用，不能提交申请。", "The dealer is suspended and cannot make a claim.")
            }
            Self::ClaimEnded => ("申请已结束，不能再添加。", "The claim is over. Nothing is added to it any more."),
            Self::EvidenceRefused(_) => (
                "文件未被接受：须为 JPEG、PNG、WebP 或 PDF，每个最大 10 MiB，每份申请最多 20 个。",
                "The file was refused. It must be a JPEG, PNG, WebP or PDF of at most 10 MiB; a claim has 20 at most.",
            ),
            Self::QuoteNotCurrent { .. } => {
                ("报价已更新，请看新的报价。", "There is a newer quote. Please look at it.")
            }
            Self::AppealOpen => ("异议处理完之前不能这样做。", "This waits until the appeal is decided."),
            Self::AppealedBefore => {
                ("已经提出过异议，只能提出一次。", "The decision was appealed before. That is possible once.")
            }
            Self::MixedParcel => (
                "一个包裹里只能有同一位客户或经销商的产品。",
                "One parcel holds the units of one customer or dealer only.",
            ),
            Self::RequestIdReused => {
                ("此次提交与之前的不同，请重新提交。", "This differs from what was sent before. Please send it again.")
            }
            _ => return None,
        };
        Some(language.of(both).to_owned())
    }
}
