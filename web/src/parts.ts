// What several views show: errors, fields, a decision, who to call.
import { Code } from "@connectrpc/connect";
import { refusal, signInAgain } from "./api";
import { button, h, say } from "./dom";
import type { NextAction } from "./gen/aopre/warranty/v1/claim_pb";
import type { AfterSalesContact, ClauseText, Decision } from "./gen/aopre/warranty/v1/types_pb";
import { clause, day, errorText, fieldText, isChinese, isYes, payer, remedy, t } from "./words";

/** A labelled control; `path` is its field's in the contract, so that a violation finds it. */
export function field(path: string, label: string, control: HTMLElement, hint?: string) {
  const id = `f-${path.replace(/\W/g, "-")}`;
  control.id = id;
  control.setAttribute("aria-describedby", `${id}-error${hint ? ` ${id}-hint` : ""}`);
  return h("div", { class: "field", "data-path": path }, h("label", { for: id }, label), control,
    hint && h("p", { class: "hint", id: `${id}-hint` }, hint), h("p", { class: "wrong", id: `${id}-error` }));
}

/** Marks a field as wrong; false where the form has none of that path. */
export function mark(form: Element, path: string, text: string): boolean {
  const holder = form.querySelector(`[data-path="${CSS.escape(path)}"]`);
  const wrong = holder?.querySelector(".wrong");
  if (!holder || !wrong) return false;
  wrong.textContent = text;
  holder.querySelector("input,select,textarea")?.setAttribute("aria-invalid", "true");
  holder.closest("details")?.setAttribute("open", "");
  return true;
}

/** Takes all marks and messages off. */
export function unmark(form: Element) {
  form.querySelectorAll(".wrong").forEach((wrong) => { wrong.textContent = ""; });
  form.querySelectorAll("[aria-invalid]").forEach((control) => control.removeAttribute("aria-invalid"));
  form.querySelectorAll(":scope > .alert").forEach((alert) => alert.remove());
}

/** Shows an error where it belongs: beside its fields, the rest as a sentence at the end of `place`. */
export function showError(place: Element, thrown: unknown, again?: () => void, ...more: Node[]) {
  const r = refusal(thrown);
  if (r.code === Code.Unauthenticated) return signInAgain();
  const rest = r.fields.filter((f) => !mark(place, f.field, fieldText(f.field, f.description)));
  place.querySelectorAll(":scope > .alert").forEach((alert) => alert.remove());
  const texts = rest.map((f) => h("li", {}, `${f.field}: ${fieldText(f.field, f.description)}`));
  place.append(h("div", { class: "alert", role: "alert" }, h("p", {}, errorText(r)), texts.length > 0 && h("ul", {}, ...texts),
    ...more, again && button(t("again"), again, "quiet")));
  place.querySelector<HTMLElement>("[aria-invalid]")?.focus();
}

/** A view while its answer is on the way. */
export function waiting() {
  say(t("loading"));
  return h("p", { class: "waiting" }, t("loading"));
}

export const fact = (name: string, value: string | Node | undefined, hint?: string) =>
  value ? h("div", {}, h("dt", {}, name), h("dd", {}, value, hint && h("small", {}, hint))) : null;

/** The decision in one glance. */
export const verdict = (decision: Decision, summary: string, note?: string) =>
  h("div", { class: `verdict ${isYes(decision.remedy) ? "yes" : "no"}` }, h("h2", { tabindex: -1 }, remedy(decision.remedy)), h("p", {}, summary), note && h("small", {}, note));

export const freight = (decision: Decision) => [
  fact(t("unit.in"), payer(decision.inboundFreight)), fact(t("unit.out"), payer(decision.outboundFreight)),
];

/** Why: the clauses that decided with their texts, and each that was looked at with the fact that it read. */
export function why(decision: Decision, texts: ClauseText[], ...more: (Node | string)[]) {
  const text = (id: number) => texts.find((c) => c.clause === id);
  const line = (id: number, ...said: (Node | string)[]) => h("li", {}, h("b", {}, clause(id)), h("span", {}, ...said));
  return h("section", { class: "card" }, h("h2", {}, t("unit.clauses")),
    h("ul", { class: "clauses" }, ...decision.clauses.map((id) => line(id, (isChinese() ? text(id)?.chinese : text(id)?.english) ?? ""))),
    ...more,
    h("details", {}, h("summary", {}, t("unit.checks")),
      h("ul", { class: "clauses" }, ...decision.checks.map((check) =>
        line(check.clause, `${check.fact} `, h("span", { class: check.held ? "held" : "not" }, check.held ? t("unit.held") : t("unit.notHeld"))))),
      h("p", { class: "hint" }, t("unit.policy", day(decision.asOfDate), decision.policyVersion))));
}

/** What comes next, as the services say it. */
export const nextList = (actions: NextAction[]) => h("ul", { class: "next" }, ...actions.filter((next) => next.summary).map((next) =>
  h("li", {}, next.summary, next.late ? h("span", { class: "late" }, ` ${t("claim.late")}`) : "")));

/** Who to call, where anyone is told. */
export const callUs = (contact: AfterSalesContact | undefined) => contact ? [h("section", { class: "card" }, h("h2", {}, t("unit.contact")), h("p", { class: "row" },
  h("a", { class: "button quiet", href: `tel:${contact.telephone.replace(/[^+\d]/g, "")}` }, contact.telephone),
  h("a", { class: "button quiet", href: `mailto:${contact.email}` }, contact.email)))] : [];
