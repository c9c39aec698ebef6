// The windows of a decision as a time line: a picture, and the same as a table for whoever cannot see it.
import type { Window } from "./gen/aopre/warranty/v1/types_pb";
import { h, s } from "./dom";
import { day, dayNumber, dayOf, t, todayNumber, windowName } from "./words";

const TOP = 24, ROW = 64;

interface Bar { name: string; first: number; last: number; from: string; to: string; standing: string; kind: string }

function bar(window: Window, today: number): Bar {
  const first = dayNumber(window.firstDate!), last = dayNumber(window.lastDate!);
  const kind = today > last ? "over" : today < first ? "later" : "open";
  const left = last - today;
  const standing = kind !== "open" ? t(`line.${kind}`) : left === 0 ? t("line.leftNone") : left === 1 ? t("line.leftOne") : t("line.left", left);
  const name = windowName(window.clause) + (window.faultCode && ` ${window.faultCode}`);
  const to = day(window.lastDate) + (window.lastDateOpen ? t("line.mayMove") : "");
  return { name, first, last, from: day(window.firstDate), to, standing, kind };
}

/** Ticks at whole months, quarters or years: at most about six. */
function ticks(from: number, to: number): { at: number; text: string }[] {
  const span = to - from;
  const step = span < 200 ? 1 : span < 500 ? 3 : span < 900 ? 6 : 12 * Math.ceil(span / 365 / 5);
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
  const from = Math.min(today, ...bars.map((b) => b.first)), to = Math.max(today, ...bars.map((b) => b.last)) + 1;
  const share = (number: number) => ((number - from) / (to - from)) * 100;
  const x = (number: number) => `${share(number).toFixed(2)}%`;
  const bottom = TOP + bars.length * ROW;
  const todayAt = share(today + 0.5);
  // The bars share one axis; their words stand above and below, where no line crosses them. A short window stays visible.
  const picture = s("svg", { class: "timeline", width: "100%", height: bottom + 22, role: "img", "aria-label": `${t("line.title")}. ` +
    bars.map((b) => t("line.of", b.name, b.from, b.to, b.standing)).join("; ") },
    s("text", { x: `${todayAt}%`, y: 14, class: "today", "text-anchor": todayAt > 85 ? "end" : todayAt < 15 ? "start" : "middle" }, t("line.today")),
    ...bars.flatMap((b, index) => {
      const y = TOP + index * ROW;
      const width = Math.max(2, share(b.last + 1) - share(b.first));
      return [
        s("text", { x: 0, y: y + 14, class: "name" }, b.name),
        s("text", { x: "100%", y: y + 14, class: `standing ${b.kind}`, "text-anchor": "end" }, b.standing),
        s("rect", { x: 0, y: y + 23, width: "100%", height: 10, rx: 5, class: "track" }),
        s("rect", { x: `${Math.min(share(b.first), 100 - width)}%`, y: y + 23, width: `${width}%`, height: 10, rx: 5, class: `bar ${b.kind}` }),
        s("line", { x1: `${todayAt}%`, x2: `${todayAt}%`, y1: y + 19, y2: y + 37, class: "today" }),
        s("text", { x: 0, y: y + 50, class: "axis" }, `${b.from} – ${b.to}`),
      ];
    }),
    ...ticks(from, to).filter(({ at }) => share(at) > 5 && share(at) < 95).flatMap(({ at, text }) => [
      s("line", { x1: x(at), x2: x(at), y1: bottom, y2: bottom + 5, class: "tick" }),
      s("text", { x: x(at), y: bottom + 19, class: "axis", "text-anchor": "middle" }, text),
    ]));
  const heads = [t("line.window"), t("line.from"), t("line.to"), t("line.standing")];
  const table = h("table", {}, h("caption", {}, t("line.title")),
    h("thead", {}, h("tr", {}, ...heads.map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", {}, ...bars.map((b) => h("tr", {}, h("th", { scope: "row" }, b.name), h("td", {}, b.from), h("td", {}, b.to), h("td", {}, b.standing)))));
  return h("figure", {}, picture, h("div", { class: "hidden" }, table));
}
