// The windows of a decision as a time line: a picture, and the same as a table for whoever cannot see it.
import type { Window } from "./gen/aopre/warranty/v1/types_pb";
import { h, s } from "./dom";
import { day, dayNumber, dayOf, t, todayNumber, windowName } from "./words";

const TOP = 30, ROW = 52;

interface Bar { name: string; first: number; last: number; from: string; to: string; standing: string; kind: string }

function bar(window: Window, today: number): Bar {
  const first = dayNumber(window.firstDate!), last = dayNumber(window.lastDate!);
  const kind = today > last ? "over" : today < first ? "later" : "open";
  const name = windowName(window.clause) + (window.faultCode && ` ${window.faultCode}`);
  const to = day(window.lastDate) + (window.lastDateOpen ? t("line.mayMove") : "");
  return { name, first, last, from: day(window.firstDate), to, standing: t(`line.${kind}`), kind };
}

/** Ticks at whole months, quarters or years: at most about six. */
function ticks(from: number, to: number): { at: number; text: string }[] {
  const span = to - from;
  const step = span < 200 ? 1 : span < 500 ? 3 : span < 900 ? 6 : 12 * Math.ceil(span / 365 / 6);
  const first = new Date(from * 86_400_000);
  const found = [];
  const start = step >= 12 ? 0 : Math.ceil(first.getUTCMonth() / step) * step;
  for (let month = start; ; month += step) {
    const at = Date.UTC(first.getUTCFullYear(), month, 1) / 86_400_000;
    if (at > to) return found;
    if (at >= from) found.push({ at, text: dayOf(at, step >= 12 ? { year: "numeric" } : { year: "2-digit", month: "short" }) });
  }
}

export function timeline(windows: Window[]): HTMLElement {
  const today = todayNumber();
  const bars = windows.filter((w) => w.firstDate && w.lastDate).map((w) => bar(w, today))
    .sort((a, b) => a.first - b.first || a.last - b.last);
  const low = Math.min(today, ...bars.map((b) => b.first)), high = Math.max(today, ...bars.map((b) => b.last));
  const margin = Math.max(2, (high - low) * 0.04);
  const from = low - margin, to = high + margin;
  const x = (number: number) => `${(((number - from) / (to - from)) * 100).toFixed(2)}%`;
  const height = TOP + bars.length * ROW + 22;
  const bottom = height - 20;
  const middle = (index: number) => TOP + index * ROW + 22;
  const todayAt = (today - from) / (to - from);
  const picture = s("svg", { class: "timeline", width: "100%", height, role: "img", "aria-label": `${t("line.title")}. ` +
    bars.map((b) => t("line.of", b.name, b.from, b.to, b.standing)).join("; ") },
    ...ticks(from, to).flatMap(({ at, text }) => [
      s("line", { x1: x(at), x2: x(at), y1: TOP - 8, y2: bottom, class: "tick" }),
      at - from < (to - from) * 0.8 && s("text", { x: x(at), y: height - 4, dx: 3, class: "axis" }, text),
    ]),
    ...bars.map((b, index) => s("line", { x1: x(b.first), x2: x(b.last + 1), y1: middle(index), y2: middle(index), class: `bar ${b.kind}` })),
    s("line", { x1: x(today), x2: x(today), y1: 20, y2: bottom, class: "today" }),
    ...bars.flatMap((b, index) => {
      const place = (b.first - from) / (to - from) > 0.45 ? { x: x(b.last + 1), "text-anchor": "end" } : { x: x(b.first) };
      return [s("text", { ...place, y: middle(index) - 10, class: "name" }, b.name), s("text", { ...place, y: middle(index) + 18, class: "axis" }, `${b.from} – ${b.to}`)];
    }),
    s("text", { x: x(today), y: 14, class: "today", "text-anchor": todayAt > 0.85 ? "end" : todayAt < 0.15 ? "start" : "middle" }, t("line.today")),
  );
  const heads = [t("line.window"), t("line.from"), t("line.to"), t("line.standing")];
  const table = h("table", {}, h("caption", {}, t("line.title")),
    h("thead", {}, h("tr", {}, ...heads.map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", {}, ...bars.map((b) => h("tr", {}, h("th", { scope: "row" }, b.name), h("td", {}, b.from), h("td", {}, b.to), h("td", {}, b.standing)))));
  return h("figure", {}, picture, h("div", { class: "hidden" }, table));
}
