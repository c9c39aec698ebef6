// Applying: the facts of the fault, what would happen, and the filing, once.
import { claims, once, pending, refusal } from "./api";
import { button, h, say } from "./dom";
import { ErrorReason } from "./gen/aopre/warranty/v1/errors_pb";
import type { Fault, PreviewClaimResponse } from "./gen/aopre/warranty/v1/claim_pb";
import { Appearance, Part } from "./gen/aopre/warranty/v1/types_pb";
import { callUs, fact, field, freight, mark, nextList, showError, unmark, verdict, waiting, why } from "./parts";
import { isChinese, language, money, t } from "./words";

interface Filing {
  serial: string;
  report: { part: Part; faultCode: string; appearance: Appearance; powerSupplyDamage?: boolean };
  vouchers?: { invoiceNumber: string; warrantyCardNumber: string; invoiceDate?: { year: number; month: number; day: number } };
}

async function allFaults(): Promise<Fault[]> {
  const faults: Fault[] = [];
  for (let pageToken = ""; ;) {
    const page = await claims.listFaults({ pageSize: 500, pageToken });
    faults.push(...page.faults);
    pageToken = page.nextPageToken;
    if (!pageToken) return faults;
  }
}

/** Files what is asked, and goes to the claim. What had no answer yet is sent again as it was. */
async function file(main: HTMLElement, filing: Filing) {
  const place = h("div", { class: "stack" }, h("h1", { tabindex: -1 }, t("apply.title")), h("p", { class: "waiting" }, t("apply.filing")));
  main.replaceChildren(place);
  say(t("apply.filing"));
  try {
    const { claim } = await once(`file:${filing.serial}`, filing, (requestId) => claims.fileClaim({ ...filing, requestId }));
    sessionStorage.removeItem(`draft:${filing.serial}`);
    say(t("apply.filed"));
    location.hash = `#/claim/${claim!.claimId}`;
  } catch (error) {
    if (pending(`file:${filing.serial}`)) {
      place.querySelector(".waiting")?.remove();
      return showError(place, error, () => void file(main, filing));
    }
    await applyView(main, filing.serial, error);
  }
}

export async function applyView(main: HTMLElement, serial: string, refused?: unknown) {
  const unanswered = pending(`file:${serial}`);
  if (unanswered) {
    say(t("apply.resume"));
    return file(main, unanswered.content as Filing);
  }
  main.replaceChildren(waiting());
  let faults: Fault[];
  try { faults = await allFaults(); } catch (error) { return showError(main, error, () => void applyView(main, serial)); }

  const radios = (name: string, choices: [number, string][], chosen: number) => h("div", { class: "choices" }, ...choices.map(([value, text]) =>
    h("label", {}, h("input", { type: "radio", name, value, checked: value === chosen }), h("span", {}, text))));
  const group = (path: string, legend: string, choices: HTMLElement) =>
    h("fieldset", { class: "field", "data-path": path }, h("legend", {}, legend), choices, h("p", { class: "wrong" }));
  const fault = h("select", { name: "fault" }, h("option", { value: "" }, t("apply.choose")),
    ...faults.map((f) => h("option", { value: f.faultCode }, isChinese() ? f.chinese : f.english)));
  const text = (name: string, type = "text") => h("input", { name, type, maxlength: type === "text" ? 64 : undefined, autocomplete: "off" });
  const vouchers = h("details", {}, h("summary", {}, `${t("apply.vouchers")} ${t("optional")}`), h("p", { class: "hint" }, t("apply.vouchersWhy")),
    field("vouchers.invoice_number", t("apply.invoice"), text("invoice")),
    field("vouchers.invoice_date", t("apply.invoiceDate"), text("invoiceDate", "date")),
    field("vouchers.warranty_card_number", t("apply.card"), text("card")));
  const damage = h("label", { class: "check" }, h("input", { type: "checkbox", name: "damage" }), h("span", {}, t("apply.damage")));
  const result = h("div", { class: "stack" });
  const form = h("form", { class: "card", novalidate: true, "data-serial": serial },
    group("report.part", t("apply.part"), radios("part", [[Part.HOST, t("apply.host")], [Part.POWER_SUPPLY, t("apply.supply")], [Part.ACCESSORY, t("apply.accessory")]], Part.HOST)),
    damage,
    field("report.fault_code", t("apply.fault"), fault),
    group("report.appearance", t("apply.looks"), radios("looks", [[Appearance.INTACT, t("apply.intact")], [Appearance.SCRATCHED, t("apply.scratched")]], Appearance.INTACT)),
    vouchers,
    h("button", { class: "primary" }, t("apply.preview")));

  const draft = `draft:${serial}`;
  for (const [name, value] of new URLSearchParams(sessionStorage.getItem(draft) ?? "")) {
    const control = form.elements.namedItem(name);
    if (control instanceof HTMLInputElement && control.type === "checkbox") control.checked = true;
    else if (control instanceof HTMLInputElement || control instanceof HTMLSelectElement || control instanceof RadioNodeList) control.value = value;
  }
  const given = () => new FormData(form);
  const arrange = () => { damage.hidden = Number(given().get("part")) !== Part.POWER_SUPPLY; };
  form.addEventListener("input", () => {
    result.replaceChildren();
    unmark(form);
    arrange();
    sessionStorage.setItem(draft, new URLSearchParams([...given()].map(([k, v]) => [k, String(v)])).toString());
  });
  arrange();

  function filing(): Filing {
    const data = given();
    const value = (name: string) => String(data.get(name) ?? "").trim();
    const [year, month, date] = value("invoiceDate").split("-").map(Number);
    const voucher = {
      invoiceNumber: value("invoice"), warrantyCardNumber: value("card"),
      ...(year && month && date ? { invoiceDate: { year, month, day: date } } : {}),
    };
    const part = Number(data.get("part"));
    return {
      serial,
      report: { part, faultCode: value("fault"), appearance: Number(data.get("looks")), ...(part === Part.POWER_SUPPLY ? { powerSupplyDamage: data.has("damage") } : {}) },
      ...(voucher.invoiceNumber || voucher.warrantyCardNumber || year ? { vouchers: voucher } : {}),
    };
  }
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    unmark(form);
    if (!fault.value) { mark(form, "report.fault_code", t("apply.choose")); return fault.focus(); }
    result.replaceChildren(waiting());
    try {
      const asked = filing();
      const would = await claims.previewClaim({ ...asked, language: language() });
      result.replaceChildren(...preview(form, would, () => file(main, asked)));
      say(would.summary);
      result.querySelector<HTMLElement>("h2")?.focus();
    } catch (error) {
      result.replaceChildren();
      showError(form, error);
    }
  });
  main.replaceChildren(h("h1", { tabindex: -1 }, t("apply.title")), h("p", {}, h("a", { class: "tap mono", href: `#/unit/${encodeURIComponent(serial)}` }, t("apply.for", serial))), form, result);
  main.querySelector<HTMLElement>("h1")!.focus();
  if (refused !== undefined) {
    const open = refusal(refused).reason === "OPEN_CLAIM_EXISTS";
    showError(form, refused, undefined, ...(open ? [seeClaims(serial)] : []));
  }
}

const seeClaims = (serial: string) => h("p", {}, h("a", { class: "tap", href: `#/claims/${encodeURIComponent(serial)}` }, t("apply.see")));

function preview(form: HTMLElement, would: PreviewClaimResponse, go: () => Promise<void>): Node[] {
  const voucher = would.obstacles.find((o) => o.reason === ErrorReason.VOUCHER_REQUIRED || o.reason === ErrorReason.VOUCHER_MISMATCH);
  if (voucher) mark(form, "vouchers.invoice_number", voucher.summary);
  const obstacles = would.obstacles.map((o) =>
    h("li", {}, o.summary, o.reason === ErrorReason.OPEN_CLAIM_EXISTS ? seeClaims(form.dataset.serial ?? "") : ""));
  return [
    ...(obstacles.length ? [h("div", { class: "alert", role: "alert" }, h("h2", { tabindex: -1 }, t("apply.obstacles")), h("ul", {}, ...obstacles))] : []),
    verdict(would.decision!, would.summary),
    h("section", { class: "card" }, h("h2", {}, t("apply.would")),
      h("dl", { class: "facts" }, ...freight(would.decision!), fact(t("apply.estimate"), money(would.estimate))),
      would.voucherDispute ? h("p", { class: "note" }, t("apply.dispute")) : "",
      ...(obstacles.length ? [] : [nextList(would.nextActions), button(t("apply.file"), go)])),
    why(would.decision!, would.texts),
    ...callUs(would.contact),
  ];
}
