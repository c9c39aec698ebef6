// Every sentence of the page, in Chinese and in English, and the words for the contracts' enums.
import { Code } from "@connectrpc/connect";
import { ClaimEventType, ClaimOutcome, EvidenceKind, QuoteState, PriceKind } from "./gen/aopre/warranty/v1/claim_pb";
import { Clause, Language, Payer, ProductType, Remedy } from "./gen/aopre/warranty/v1/types_pb";
import type { Date as Civil } from "./gen/google/type/date_pb";
import type { Money } from "./gen/google/type/money_pb";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { Refusal } from "./api";

type Both = readonly [chinese: string, english: string];
let at: 0 | 1 = (localStorage.getItem("language") ?? navigator.language).startsWith("zh") ? 0 : 1;
export const isChinese = () => at === 0;
export const language = () => (at === 0 ? Language.CHINESE : Language.ENGLISH);
export function switchLanguage() {
  at = at === 0 ? 1 : 0;
  localStorage.setItem("language", at === 0 ? "zh" : "en");
}

const WORDS = {
  brand: ["欧普质保", "opal warranty"],
  "skip": ["跳到正文", "Skip to the content"],
  other: ["EN", "中文"],
  otherName: ["English", "中文"],
  close: ["关闭", "Close"],
  again: ["再试一次", "Try again"],
  loading: ["正在查询……", "Looking it up…"],
  waiting: ["系统繁忙，{0} 秒后自动再试。", "The system is busy. Trying again in {0} s."],
  optional: ["（选填）", "(optional)"],
  "nav.claims": ["我的申请", "My claims"],
  "nav.out": ["退出", "Sign out"],
  "sign.title": ["请先登录", "Please sign in"],
  "sign.why": ["查询质保和提交申请，需要用厂家应用的账号登录。", "To check a warranty or make a claim, sign in with your account of the maker's app."],
  "sign.go": ["登录", "Sign in"],
  "sign.app": ["请在厂家的应用里打开“质保”，应用会带您登录到此页。", "Open “Warranty” in the maker's app: it brings you here, signed in."],
  "sign.other": ["此链接会换成另一个账号登录，要换吗？", "This link signs you in with another account. Change to it?"],
  "sign.ended": ["登录已过期，请重新登录。", "Your sign-in has ended. Please sign in again."],
  "check.title": ["查一查您的产品还在保吗", "Is your product under warranty?"],
  "check.lead": ["序列号在产品底部的标签上。", "The serial number is on the label under the product."],
  "check.serial": ["序列号", "Serial number"],
  "check.go": ["查询", "Check"],
  "check.scan": ["扫码", "Scan"],
  "check.empty": ["请输入序列号。", "Enter a serial number."],
  "check.meant": ["您要找的是不是：", "Did you mean:"],
  "scan.title": ["扫描二维码", "Scan a QR code"],
  "scan.hint": ["将标签上的二维码对准镜头，或选一张照片。图像不会离开您的设备。", "Hold the label's QR code in front of the camera, or choose a photo. The picture stays on your device."],
  "scan.photo": ["用照片识别", "Read from a photo"],
  "scan.none": ["照片里没有找到二维码，请靠近一些再拍。", "No QR code was found in the photo. Take it from closer."],
  "unit.left": ["免费保修剩余", "Free cover left"],
  "unit.days": ["{0} 天", "{0} days"],
  "unit.day": ["{0} 天", "{0} day"],
  "unit.lastDay": ["今天是最后一天", "Today is the last day"],
  "unit.none": ["已过期", "None"],
  "unit.start": ["质保开始", "Warranty starts"],
  "unit.in": ["寄来的运费", "Freight to us"],
  "unit.out": ["寄回的运费", "Freight back to you"],
  "unit.clauses": ["依据条款", "The clauses it rests on"],
  "unit.checks": ["如何得出此结论", "How this was decided"],
  "unit.held": ["成立", "holds"],
  "unit.notHeld": ["不成立", "does not hold"],
  "unit.superseded": ["此产品已换新，现用产品：", "This unit was replaced by:"],
  "unit.promises": ["经销商的另外承诺（由经销商负责）", "The dealer's own promises (the dealer owes them)"],
  "unit.until": ["有效期至 {0}", "until {0}"],
  "unit.equivalents": ["已停产，可用以下型号代替", "Discontinued; these models may take its place"],
  "unit.contact": ["有疑问？请联系售后", "Questions? Call after-sales service"],
  "unit.apply": ["申请售后", "Make a claim"],
  "unit.policy": ["依据 {1} 版承诺，按 {0} 计算", "Decided for {0} under policy {1}"],
  "line.title": ["质保时间线", "Time line of the warranty"],
  "line.of": ["{0}：{1} 至 {2}，{3}", "{0}: {1} to {2}, {3}"],
  "line.window": ["质保期", "Window"],
  "line.from": ["开始", "First day"],
  "line.to": ["结束", "Last day"],
  "line.standing": ["状态", "Standing"],
  "line.today": ["今天", "Today"],
  "line.left": ["还剩 {0} 天", "{0} days left"],
  "line.leftOne": ["还剩 1 天", "1 day left"],
  "line.leftNone": ["今天到期", "ends today"],
  "line.over": ["已过", "over"],
  "line.later": ["未开始", "not begun"],
  "line.mayMove": ["（可能顺延）", "(may move later)"],
  "apply.title": ["申请售后", "Make a claim"],
  "apply.for": ["产品 {0}", "For {0}"],
  "apply.part": ["哪一部分出了问题？", "What has failed?"],
  "apply.host": ["主机", "The device"],
  "apply.supply": ["电源", "The power supply"],
  "apply.accessory": ["附件（电源线、连接线等）", "An accessory (cords, wires)"],
  "apply.fault": ["故障现象", "What is wrong?"],
  "apply.choose": ["请选择", "Choose"],
  "apply.looks": ["外观", "How does it look?"],
  "apply.intact": ["完好", "Without scratches"],
  "apply.scratched": ["有划痕", "Scratched"],
  "apply.damage": ["电源因外力、进水或错误电压损坏", "The power supply was damaged from outside (force, water, wrong voltage)"],
  "apply.vouchers": ["购买凭证", "Proof of purchase"],
  "apply.vouchersWhy": ["登记在您名下的产品不需要填写。", "Not needed where the unit is registered to you."],
  "apply.invoice": ["发票号码", "Invoice number"],
  "apply.invoiceDate": ["发票日期", "Invoice date"],
  "apply.card": ["保修卡号", "Warranty card number"],
  "apply.preview": ["看看会怎样", "See what would happen"],
  "apply.would": ["提交后会这样", "What would happen"],
  "apply.estimate": ["预计费用（含税）", "Estimated price, tax included"],
  "apply.obstacles": ["现在还不能提交", "This stands in the way"],
  "apply.file": ["提交申请", "File the claim"],
  "apply.filing": ["正在提交，请稍候……", "Filing your claim…"],
  "apply.resume": ["上次提交没有收到答复，正在用同一份申请确认，不会重复提交。", "Your last attempt had no answer. Asking again for the same claim: it is never filed twice."],
  "apply.filed": ["申请已提交。", "Your claim is filed."],
  "apply.dispute": ["发票日期与登记的销售不符，售后会先核实。", "The invoice's date differs from the registered sale. Support settles that first."],
  "apply.see": ["查看该申请", "See that claim"],
  "claims.title": ["我的申请", "My claims"],
  "claims.none": ["还没有申请。", "No claims yet."],
  "claims.more": ["更多", "More"],
  "claim.title": ["申请进度", "Your claim"],
  "claim.number": ["返修编号", "Return number"],
  "claim.numberHint": ["请写在包裹上。", "Write it on the parcel."],
  "claim.late": ["已逾期", "late"],
  "claim.history": ["经过", "History"],
  "claim.live": ["页面会自动更新。", "This page updates by itself."],
  "claim.offline": ["连接中断，正在重连……", "Connection lost. Reconnecting…"],
  "claim.changed": ["申请有新进展：{0}", "Your claim moved on: {0}"],
  "claim.final": ["检测后的最终决定", "Final, after inspection"],
  "claim.provisional": ["初步决定，检测后确定", "Provisional until the unit is inspected"],
  "claim.goodwill": ["厂家额外照顾：{0}", "As goodwill the maker gives: {0}"],
  "claim.outcome": ["处理结果", "Outcome"],
  "claim.reason": ["原因", "Reason"],
  "claim.quote": ["维修报价", "Quote for the repair"],
  "claim.quoteUntil": ["有效至", "Valid until"],
  "claim.quoteTotal": ["合计（含税）", "Total, tax included"],
  "claim.vat": ["增值税", "VAT"],
  "claim.accept": ["接受报价", "Accept the quote"],
  "claim.decline": ["拒绝报价", "Decline the quote"],
  "claim.cancel": ["撤销申请", "Cancel the claim"],
  "claim.appeal": ["对决定提出异议", "Appeal against the decision"],
  "claim.appealOpen": ["您的异议正在处理。", "Your appeal is being looked at."],
  "claim.why": ["原因", "Why?"],
  "claim.send": ["确认", "Confirm"],
  "claim.back": ["返回", "Back"],
  "claim.open": ["我已寄出", "I am sending it in"],
  "claim.carrier": ["快递公司", "Carrier"],
  "claim.tracking": ["运单号", "Tracking number"],
  "photo.title": ["照片和凭证", "Photos and papers"],
  "photo.kind": ["内容", "What does it show?"],
  "photo.file": ["选择文件", "File"],
  "photo.hint": ["JPEG、PNG、WebP 或 PDF，最大 10 MiB。", "JPEG, PNG, WebP or PDF, at most 10 MiB."],
  "photo.send": ["上传", "Upload"],
  "photo.progress": ["已上传 {0}%", "{0}% uploaded"],
  "photo.done": ["上传完成。", "Uploaded."],
  "photo.type": ["只能上传 JPEG、PNG、WebP 或 PDF。", "Only JPEG, PNG, WebP or PDF."],
  "photo.size": ["文件超过 10 MiB。", "The file is larger than 10 MiB."],
  "photo.choose": ["请选择文件。", "Choose a file."],
  "photo.show": ["查看", "Show"],
  "error.trace": ["编号：{0}", "Number: {0}"],
  "error.field": ["请检查此项。", "Please check this."],
} satisfies Record<string, Both>;

export function t(key: keyof typeof WORDS, ...values: (string | number)[]): string {
  return WORDS[key][at].replace(/\{(\d)\}/g, (_, index: string) => String(values[Number(index)]));
}

/** What no service said: the network, and what stands before the services. */
const REASONS: Record<string, Both> = {
  TOO_LARGE: ["内容太大。", "That is too large."],
  TOKEN_REFUSED: ["登录已过期，请重新登录。", "Your sign-in has ended. Please sign in again."],
  OVERLOADED: ["系统繁忙，请稍后再试。", "The system is busy. Please try again soon."],
  RATE_LIMITED: ["操作太频繁，请稍后再试。", "Too many requests. Please try again later."],
  SERVICE_AWAY: ["系统暂时无法答复。请再试，不会重复提交。", "The system cannot answer right now. Try again: nothing is done twice."],
  DEADLINE: ["等待太久。请再试，不会重复提交。", "That took too long. Try again: nothing is done twice."],
  NETWORK: ["网络不通。请检查网络后再试，不会重复提交。", "No connection. Check your network and try again: nothing is done twice."],
};

/** Fields whose violations read better in words of our own than in the server's English. */
const FIELDS: Record<string, string> = {
  serial: "序列号为 4 至 40 个字母或数字。", "report.fault_code": "请选择故障现象。",
  "vouchers.invoice_number": "发票号码最多 64 个字符。", "vouchers.warranty_card_number": "保修卡号最多 64 个字符。",
  "vouchers.invoice_date": "请核对发票日期，不能晚于今天。", reason: "请填写原因，最多 500 个字符。",
  carrier: "请填写快递公司。", tracking_number: "请核对运单号。",
};

/** An error in words: the services' own, else the page's. */
export const errorText = (r: Refusal) => (r.told ?? REASONS[r.reason]?.[at] ?? (r.message || Code[r.code]))
  + (r.metadata.trace_id ? ` ${t("error.trace", r.metadata.trace_id)}` : "");
export const fieldText = (field: string, description: string) => (at === 0 ? FIELDS[field] ?? t("error.field") : sentence(description));
const sentence = (text: string) => text.charAt(0).toUpperCase() + text.slice(1).replace(/([^.])$/, "$1.");

type Table<E extends number> = Partial<Record<E, Both>>;
const pick = <E extends number>(table: Table<E>, value: E, names: Record<number, string>) => table[value]?.[at] ?? names[value] ?? "";

const REMEDIES: Table<Remedy> = {
  [Remedy.NONE]: ["没有可决定的", "Nothing to decide"], [Remedy.DIRECT_REPLACEMENT]: ["免费换新", "Free replacement"],
  [Remedy.FREE_REPAIR]: ["免费维修", "Free repair"], [Remedy.ACCESSORY_REPLACEMENT]: ["免费更换附件", "Free accessory"],
  [Remedy.RETURN_AS_IS]: ["无故障，原样退回", "No fault: returned as it is"], [Remedy.PURCHASE_SEPARATELY]: ["需另行购买", "To be bought separately"],
  [Remedy.PAID_SERVICE]: ["付费维修", "Paid repair"],
};
export const remedy = (value: Remedy) => pick(REMEDIES, value, Remedy);
export const isYes = (value: Remedy) => [Remedy.DIRECT_REPLACEMENT, Remedy.FREE_REPAIR, Remedy.ACCESSORY_REPLACEMENT].includes(value);

const PRODUCTS: Table<ProductType> = {
  [ProductType.VIDEO_OPTICAL_TRANSCEIVER]: ["视频光端机", "Video transceiver"], [ProductType.TELEPHONE_OPTICAL_TRANSCEIVER]: ["电话光端机", "Telephone transceiver"],
  [ProductType.OPTICAL_FIBER_TRANSCEIVER]: ["光纤收发器", "Fiber transceiver"], [ProductType.POE_SWITCH]: ["PoE 交换机", "PoE switch"],
};
/** What the unit is; nothing where it is none of the maker's usual products. */
export const product = (value: ProductType) => PRODUCTS[value]?.[at] ?? "";

const PAYERS: Table<Payer> = { [Payer.UNSPECIFIED]: ["无需寄送", "Nothing travels"], [Payer.MAKER]: ["厂家承担", "The maker pays"], [Payer.SENDER]: ["寄件人承担", "The sender pays"] };
export const payer = (value: Payer) => pick(PAYERS, value, Payer);

const WINDOWS: Table<Clause> = {
  [Clause.T1]: ["包换", "Replacement"], [Clause.T2]: ["免费维修", "Free repair"], [Clause.T6]: ["维修后保修", "After a repair"],
  [Clause.T7]: ["附件", "Accessories"], [Clause.P2]: ["付费维修后同一故障", "Same fault after a paid repair"],
};
export const clause = (value: Clause) => Clause[value] ?? "";
export const windowName = (value: Clause) => `${pick(WINDOWS, value, Clause)} (${clause(value)})`;

const ACTORS: Record<string, Both> = { dealer: ["经销商", "dealer"], customer: ["客户", "customer"], staff: ["厂家", "the maker"], worker: ["系统", "the system"] };
export const actor = (value: string) => ACTORS[value.split("/")[0]!]?.[at] ?? "";

const EVENTS: Table<ClaimEventType> = {
  [ClaimEventType.FILED]: ["提交申请", "Filed"], [ClaimEventType.GUIDED]: ["电话指导", "Guidance given"], [ClaimEventType.ACCESSORY_GRANTED]: ["同意更换附件", "Accessory granted"],
  [ClaimEventType.SWAPPED]: ["经销商换新", "Swapped by the dealer"], [ClaimEventType.RETURN_OPENED]: ["寄出产品", "Sent in"], [ClaimEventType.RECEIVED]: ["收到产品", "Arrived"],
  [ClaimEventType.INSPECTED]: ["检测完成", "Inspected"], [ClaimEventType.REPAIRED]: ["维修完成", "Repaired"], [ClaimEventType.REPLACED]: ["已更换", "Replaced"],
  [ClaimEventType.DISPATCHED]: ["寄出", "Sent out"], [ClaimEventType.DELIVERED]: ["送达", "Delivered"], [ClaimEventType.CANCELLED]: ["撤销", "Cancelled"],
  [ClaimEventType.EVIDENCE_ADDED]: ["添加照片或凭证", "Photo or paper added"], [ClaimEventType.VOUCHER_DISPUTE_SETTLED]: ["凭证已核实", "Proof of purchase settled"],
  [ClaimEventType.QUOTED]: ["报价", "Quote issued"], [ClaimEventType.QUOTE_ACCEPTED]: ["接受报价", "Quote accepted"], [ClaimEventType.QUOTE_DECLINED]: ["拒绝报价", "Quote declined"],
  [ClaimEventType.QUOTE_EXPIRED]: ["报价过期", "Quote expired"], [ClaimEventType.BEYOND_REPAIR]: ["无法维修", "Beyond repair"], [ClaimEventType.PAID]: ["已付款", "Paid"],
  [ClaimEventType.APPEALED]: ["提出异议", "Appealed"], [ClaimEventType.APPEAL_DECIDED]: ["异议已处理", "Appeal decided"], [ClaimEventType.LAPSED]: ["逾期未寄，自动撤销", "Lapsed: not sent in in time"],
  [ClaimEventType.LOST]: ["途中丢失", "Lost on the way"], [ClaimEventType.LOST_CLOSED]: ["丢失已了结", "Loss settled"],
  [ClaimEventType.DEBT_SETTLED]: ["已了结，无需寄出", "Settled: nothing goes out"],
};
export const event = (value: ClaimEventType) => pick(EVENTS, value, ClaimEventType);

const OUTCOMES: Table<ClaimOutcome> = {
  [ClaimOutcome.REPAIRED]: ["已修好", "Repaired"], [ClaimOutcome.REPLACED]: ["换新", "Replaced"], [ClaimOutcome.ACCESSORY]: ["新附件", "A new accessory"],
  [ClaimOutcome.AS_IT_CAME]: ["原样退回", "Returned as it came"], [ClaimOutcome.REPLENISHMENT]: ["补给经销商", "A unit for the dealer"], [ClaimOutcome.LOST]: ["丢失", "Lost"],
  [ClaimOutcome.SETTLED]: ["已了结", "Settled"],
};
export const outcome = (value: ClaimOutcome) => pick(OUTCOMES, value, ClaimOutcome);

const KINDS: Table<EvidenceKind> = { [EvidenceKind.PHOTO]: ["产品照片", "The unit"], [EvidenceKind.INVOICE]: ["发票", "The invoice"], [EvidenceKind.WARRANTY_CARD]: ["保修卡", "The warranty card"] };
export const evidenceKind = (value: EvidenceKind) => pick(KINDS, value, EvidenceKind);

const PRICES: Table<PriceKind> = { [PriceKind.INSPECTION]: ["检测费", "Inspection"], [PriceKind.LABOUR]: ["人工费", "Labour"], [PriceKind.PART]: ["配件", "Part"] };
export const priceKind = (value: PriceKind) => pick(PRICES, value, PriceKind);
const QUOTES: Table<QuoteState> = {
  [QuoteState.ISSUED]: ["待确认", "To be accepted or declined"], [QuoteState.ACCEPTED]: ["已接受", "Accepted"], [QuoteState.DECLINED]: ["已拒绝", "Declined"],
  [QuoteState.EXPIRED]: ["已过期", "Expired"], [QuoteState.SUPERSEDED]: ["已作废", "Superseded"],
};
export const quoteState = (value: QuoteState) => pick(QUOTES, value, QuoteState);

const locale = () => (at === 0 ? "zh-CN" : "en-GB");
const utc = (date: Civil) => Date.UTC(date.year, date.month - 1, date.day);
/** Whole days since 1970 of a civil date. */
export const dayNumber = (date: Civil) => utc(date) / 86_400_000;
/** Today in Shanghai, where the commitment's days are counted. */
export const todayNumber = () => Math.floor((Date.now() / 3_600_000 + 8) / 24);
export const day = (date: Civil | undefined) => (date ? dayOf(dayNumber(date)) : "");
export const dayOf = (number: number, options: Intl.DateTimeFormatOptions = { dateStyle: "medium" }) =>
  new Intl.DateTimeFormat(locale(), { ...options, timeZone: "UTC" }).format(number * 86_400_000);
export const moment = (stamp: Timestamp | undefined) => stamp
  ? new Intl.DateTimeFormat(locale(), { dateStyle: "medium", timeStyle: "short", timeZone: "Asia/Shanghai" }).format(Number(stamp.seconds) * 1000) : "";
export const money = (value: Money | undefined) => value
  ? new Intl.NumberFormat(locale(), { style: "currency", currency: value.currencyCode || "CNY" }).format(Number(value.units) + value.nanos / 1e9) : "";
