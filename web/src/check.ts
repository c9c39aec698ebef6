// A serial and its answer.
import { coverage, refusal } from "./api";
import { button, byId, h, say } from "./dom";
import type { CheckCoverageResponse } from "./gen/aopre/warranty/v1/coverage_pb";
import { callUs, fact, field, freight, mark, showError, unmark, verdict, waiting, why } from "./parts";
import { scan } from "./scan";
import { timeline } from "./timeline";
import { day, language, product, t } from "./words";

const unitLink = (serial: string) => `#/unit/${encodeURIComponent(serial)}`;

/** The form; with a serial also what the services answer. */
export async function checkView(main: HTMLElement, serial = "") {
  const input = h("input", { type: "text", name: "serial", autocomplete: "off", autocapitalize: "characters", spellcheck: "false", maxlength: 64, value: serial });
  const answer = h("div", { class: "stack" });
  const form = h("form", { class: "card", novalidate: true },
    field("serial", t("check.serial"), input, t("check.lead")),
    h("div", { class: "row" }, h("button", { class: "primary" }, t("check.go")),
      button(t("check.scan"), async () => { const found = await scan(); if (found) go(found); }, "quiet")));
  function go(asked: string) {
    unmark(form);
    if (!asked.trim()) { mark(form, "serial", t("check.empty")); return input.focus(); }
    if (location.hash === unitLink(asked)) void ask(form, answer, asked);
    else location.hash = unitLink(asked);
  }
  form.addEventListener("submit", (event) => { event.preventDefault(); go(input.value); });
  const title = h("h1", { tabindex: -1 }, t("check.title"));
  main.replaceChildren(title, form, answer);
  if (serial) await ask(form, answer, serial);
}

async function ask(form: HTMLElement, answer: HTMLElement, serial: string) {
  answer.replaceChildren(waiting());
  try {
    const found = await coverage.checkCoverage({ serial, language: language() });
    answer.replaceChildren(...unit(found));
    answer.querySelector<HTMLElement>("h2")?.focus();
    say(found.summary);
  } catch (error) {
    answer.replaceChildren();
    const meant = refusal(error).metadata.suggestions?.split(",").map((s) => s.trim()).filter(Boolean) ?? [];
    const buttons = meant.map((s) => button(s, () => { location.hash = unitLink(s); }, "quiet mono"));
    showError(form, error, undefined, ...(meant.length ? [h("p", {}, t("check.meant")), h("div", { class: "row" }, ...buttons)] : []));
    byId("f-serial").focus();
  }
}

function unit(found: CheckCoverageResponse): HTMLElement[] {
  const decision = found.decision!;
  const left = decision.daysLeft;
  const days = left === undefined ? t("unit.none") : left === 0 ? t("unit.lastDay") : t(left === 1 ? "unit.day" : "unit.days", left);
  return [
    verdict(decision, found.summary),
    h("section", { class: "card" },
      h("div", {}, h("h2", {}, `${product(found.productType)} ${found.model}`.trim()), h("small", { class: "mono" }, found.serial)),
      h("dl", { class: "facts" }, fact(t("unit.left"), days), fact(t("unit.start"), day(decision.startDate)), ...freight(decision)),
      decision.supersededBy ? h("p", {}, t("unit.superseded"), " ", h("a", { class: "tap mono", href: unitLink(decision.supersededBy) }, decision.supersededBy)) : "",
      decision.supersededBy ? "" : h("p", {}, h("a", { class: "button", href: `#/apply/${encodeURIComponent(found.serial)}` }, t("unit.apply")))),
    ...(decision.windows.length ? [h("section", { class: "card" }, h("h2", {}, t("line.title")), timeline(decision.windows))] : []),
    why(decision, found.texts, decision.equivalentModels.length ? h("p", {}, `${t("unit.equivalents")}: ${decision.equivalentModels.join(", ")}`) : ""),
    ...(found.promises.length ? [h("section", { class: "card" }, h("h2", {}, t("unit.promises")), h("ul", {}, ...found.promises.map((p) =>
      h("li", {}, p.promise, p.untilDate ? ` (${t("unit.until", day(p.untilDate))})` : ""))))] : []),
    ...callUs(found.contact),
  ];
}
