// A claim as it goes on: where it stands, what comes next and by whom, its history, its photos.
import { claims, logistics, once, refusal } from "./api";
import { button, h, say } from "./dom";
import { type Claim, ClaimAction, type ClaimEvent, ClaimState, type Evidence, EvidenceKind, type GetClaimResponse, Party, type Quote, QuoteState } from "./gen/aopre/warranty/v1/claim_pb";
import { callUs, fact, field, mark, nextList, showError, unmark, verdict, waiting, why } from "./parts";
import { LARGEST, TYPES, upload } from "./upload";
import { actor, event, evidenceKind, language, moment, money, outcome, priceKind, quoteState, remedy, t } from "./words";

/** The caller's claims, newest first; of one unit where a serial is given. */
export async function claimsView(main: HTMLElement, serial = "") {
  const list = h("ul", { class: "cards" });
  const more = h("div", {});
  main.replaceChildren(h("h1", { tabindex: -1 }, t("claims.title")), list, more);
  async function page(pageToken: string) {
    more.replaceChildren(waiting());
    try {
      const found = await claims.listClaims({ pageSize: 20, pageToken, serial, language: language() });
      more.replaceChildren(found.nextPageToken ? button(t("claims.more"), () => page(found.nextPageToken), "quiet")
        : list.childElementCount + found.claims.length ? "" : h("p", {}, t("claims.none")));
      list.append(...found.claims.map((claim) => h("li", {}, h("a", { class: "card", href: `#/claim/${claim.claimId}` },
        h("span", { class: "state" }, claim.stateSummary), h("b", { class: "mono" }, claim.serial), h("small", {}, moment(claim.filedTime))))));
    } catch (error) {
      more.replaceChildren();
      showError(more, error, () => void page(pageToken));
    }
  }
  await page("");
  main.querySelector<HTMLElement>("h1")!.focus();
}

async function allEvents(claimId: string): Promise<ClaimEvent[]> {
  const events: ClaimEvent[] = [];
  for (let pageToken = ""; ;) {
    const page = await claims.listClaimEvents({ claimId, pageSize: 500, pageToken });
    events.push(...page.events);
    pageToken = page.nextPageToken;
    if (!pageToken) return events;
  }
}

/** One claim, kept up to date until `left` says that the customer looks at something else. */
export async function claimView(main: HTMLElement, claimId: string, left: AbortSignal) {
  const body = h("div", { class: "stack" }, waiting());
  const photos = h("section", { class: "card" });
  const live = h("p", { class: "hint live" }, t("claim.live"));
  main.replaceChildren(h("div", {}, h("h1", { tabindex: -1 }, t("claim.title")), live), body, photos);
  main.querySelector<HTMLElement>("h1")!.focus();
  let version = -1n, known = "";
  async function load() {
    const found = await claims.getClaim({ claimId, language: language() }, { signal: left });
    const claim = found.claim!;
    if (claim.version <= version) return;
    const [events, quotes] = await Promise.all([allEvents(claimId), claim.quoteId ? claims.listQuotes({ claimId }, { signal: left }) : undefined]);
    version = claim.version;
    const now = event(events.at(-1)!.type);
    if (known && !body.contains(document.activeElement)) say(t("claim.changed", now));
    known = now;
    const draw = () => body.replaceChildren(...parts(found, events, quotes?.quotes[0], reload));
    // A form that is being filled in is not taken away.
    if (body.querySelector("form")) body.querySelector("form")!.addEventListener("closed", draw, { once: true });
    else draw();
    drawPhotos(photos, claim, found.evidence, reload);
  }
  const reload = async () => { body.querySelectorAll("form").forEach((form) => form.remove()); await load(); };
  try { await load(); } catch (error) {
    body.replaceChildren();
    if (!left.aborted) showError(body, error, () => void claimView(main, claimId, left));
    return;
  }
  await watch(claimId, left, load, (connected) => {
    live.textContent = connected ? t("claim.live") : t("claim.offline");
    live.classList.toggle("lost", !connected);
  });
}

/** Follows the feed; after any break it goes on from the last cursor, so that nothing is missed. */
async function watch(claimId: string, left: AbortSignal, changed: () => Promise<void>, connected: (yes: boolean) => void) {
  let cursor = "";
  for (let pause = 500; !left.aborted; pause = Math.min(pause * 2, 15_000)) {
    try {
      for await (const told of claims.watchClaims({ cursor }, { signal: left, timeoutMs: 0 })) {
        const first = cursor === "";
        cursor = told.cursor;
        pause = 500;
        connected(true);
        if (first || told.claimId === claimId) await changed();
      }
    } catch (error) {
      if (left.aborted) return;
      if (refusal(error).reason === "TOKEN_REFUSED") return showError(document.body, error);
    }
    connected(false);
    await new Promise((resolve) => setTimeout(resolve, pause * (0.5 + Math.random() / 2)));
  }
}

function parts(found: GetClaimResponse, events: ClaimEvent[], quote: Quote | undefined, reload: () => Promise<void>): Node[] {
  const claim = found.claim!;
  const mine = claim.dealerId === "";
  const decision = claim.finalDecision ?? claim.provisionalDecision!;
  const toSend = [ClaimState.AUTHORIZED, ClaimState.SWAPPED].includes(claim.state);
  const number = claim.returnNumber.replace(/(\d{4})(?=\d)/g, "$1 ");
  // What a button or the quote says already needs no sentence beside it.
  const said = (action: ClaimAction) => [ClaimAction.CANCEL, ClaimAction.APPEAL, ClaimAction.ACCEPT_QUOTE, ClaimAction.DECLINE_QUOTE].includes(action);
  const next = claim.nextActions.filter((n) => !(mine && said(n.action)));
  return [
    h("section", { class: "card" }, h("p", { class: "state big" }, claim.stateSummary),
      toSend ? h("p", { class: "number" }, h("span", {}, t("claim.number")), h("b", { class: "mono" }, number), h("small", {}, t("claim.numberHint"))) : "",
      nextList(next), ...(mine ? actions(claim, reload) : []),
      claim.appeal && claim.appeal.outcome === 0 ? h("p", { class: "note" }, t("claim.appealOpen")) : "",
      claim.appeal?.outcomeReason ? h("p", { class: "note" }, claim.appeal.outcomeReason) : ""),
    ...(quote ? [quoteCard(claim, quote, mine, reload)] : []),
    verdict(decision, found.summary, claim.goodwill ? t("claim.goodwill", remedy(claim.goodwill.remedy)) : t(claim.finalDecision ? "claim.final" : "claim.provisional")),
    h("section", { class: "card" },
      h("dl", { class: "facts" }, fact(t("check.serial"), h("a", { class: "tap mono", href: `#/unit/${claim.serial}` }, claim.serial)),
        claim.outcome ? fact(t("claim.outcome"), `${outcome(claim.outcome)} ${claim.outcomeSerial}`) : null,
        toSend ? null : fact(t("claim.number"), number && h("span", { class: "mono" }, number)), fact(t("claim.reason"), claim.reason)),
      h("h2", {}, t("claim.history")), h("ol", { class: "history" }, ...events.map((e) =>
        h("li", {}, h("b", {}, event(e.type)), h("small", {}, `${moment(e.recordedTime)} · ${actor(e.actor)}`))))),
    why(decision, found.texts),
    ...callUs(found.contact),
  ];
}

const may = (claim: Claim, what: ClaimAction) => claim.nextActions.some((n) => n.action === what && n.party === Party.APPLICANT);

/** A step that wants words: a button that opens a small form. */
function step(title: string, fields: () => HTMLElement[], send: (data: FormData) => Promise<unknown>, reload: () => Promise<void>, kind = "quiet") {
  const holder = h("div", { class: "step" });
  const open = button(title, () => {
    const form = h("form", { class: "card", novalidate: true }, h("h3", {}, title), ...fields());
    const close = () => { form.remove(); holder.append(open); open.focus(); form.dispatchEvent(new Event("closed")); };
    const confirm = h("button", { class: "primary" }, t("claim.send"));
    form.append(h("div", { class: "row" }, confirm, button(t("claim.back"), close, "quiet")));
    form.addEventListener("submit", async (submitted) => {
      submitted.preventDefault();
      unmark(form);
      confirm.disabled = true;
      try { await send(new FormData(form)); await reload(); } catch (error) { showError(form, error); } finally { confirm.disabled = false; }
    });
    holder.replaceChildren(form);
    form.querySelector<HTMLElement>("input,textarea,button")?.focus();
  }, kind);
  holder.append(open);
  return holder;
}
const words = (data: FormData, name: string) => String(data.get(name) ?? "").trim();
const reason = () => [field("reason", t("claim.why"), h("textarea", { name: "reason", rows: 3, maxlength: 500 }))];

/** What the customer may do now, where the customer filed it. */
function actions(claim: Claim, reload: () => Promise<void>): Node[] {
  const { claimId, version } = claim;
  const key = (name: string) => `${name}:${claimId}`;
  const found = [
    may(claim, ClaimAction.OPEN_RETURN) && step(t("claim.open"), () => [
      field("carrier", t("claim.carrier"), h("input", { name: "carrier", maxlength: 60 })),
      field("tracking_number", `${t("claim.tracking")} ${t("optional")}`, h("input", { name: "tracking", maxlength: 60, autocomplete: "off" }))],
    (data) => {
      const content = { claimIds: [claimId], carrier: words(data, "carrier"), trackingNumber: words(data, "tracking") };
      return once(key("return"), content, (requestId) => logistics.openReturn({ requestId, ...content }));
    }, reload, "primary"),
    may(claim, ClaimAction.APPEAL) && step(t("claim.appeal"), reason, (data) => {
      const content = { claimId, reason: words(data, "reason") };
      return once(key("appeal"), content, (requestId) => claims.appealDecision({ requestId, version, ...content }));
    }, reload),
    may(claim, ClaimAction.CANCEL) && step(t("claim.cancel"), reason, (data) => {
      const content = { claimId, reason: words(data, "reason") };
      return once(key("cancel"), content, (requestId) => claims.cancelClaim({ requestId, ...content }));
    }, reload),
  ].filter((part) => part !== false);
  return found.length ? [h("div", { class: "actions" }, ...found)] : [];
}

function quoteCard(claim: Claim, quote: Quote, mine: boolean, reload: () => Promise<void>) {
  const content = { claimId: claim.claimId, quoteId: quote.quoteId };
  const row = (name: string, amount: string, kind?: string) => h("tr", { class: kind }, h("th", { scope: "row" }, name), h("td", {}, amount));
  const card = h("section", { class: "card" }, h("h2", {}, t("claim.quote")), h("p", { class: "state" }, quoteState(quote.state)),
    h("table", { class: "money" }, h("tbody", {}, ...quote.lines.map((line) => row(`${priceKind(line.kind)} ${line.code}${line.quantity > 1 ? ` × ${line.quantity}` : ""}`, money(line.amount))),
      row(`${t("claim.vat")} ${quote.vatBasisPoints / 100}%`, money(quote.vat)), row(t("claim.quoteTotal"), money(quote.total), "total"))),
    quote.state === QuoteState.ISSUED ? h("p", {}, `${t("claim.quoteUntil")} ${moment(quote.expiresTime)}`) : "");
  if (mine && may(claim, ClaimAction.ACCEPT_QUOTE)) {
    card.append(button(t("claim.accept"), async () => {
      try {
        await once(`accept:${claim.claimId}`, content, (requestId) => claims.acceptQuote({ requestId, ...content }));
        await reload();
      } catch (error) { showError(card, error); }
    }));
  }
  if (mine && may(claim, ClaimAction.DECLINE_QUOTE)) {
    card.append(step(t("claim.decline"), reason, (data) => {
      const declined = { ...content, reason: words(data, "reason") };
      return once(`decline:${claim.claimId}`, declined, (requestId) => claims.declineQuote({ requestId, ...declined }));
    }, reload));
  }
  return card;
}

/** The photos; the form stays as it is while the claim goes on. */
function drawPhotos(section: HTMLElement, claim: Claim, evidence: Evidence[], reload: () => Promise<void>) {
  const list = h("ul", { class: "photos" }, ...evidence.map((one) => h("li", {}, h("span", {}, `${evidenceKind(one.kind)} · ${Math.ceil(Number(one.sizeBytes) / 1024)} KiB`),
    button(t("photo.show"), async () => { await show(section, claim.claimId, one); }, "quiet"))));
  const had = section.querySelector(".photos");
  if (had) { had.replaceWith(list); return; }
  section.replaceChildren(h("h2", {}, t("photo.title")), list);
  if (claim.dealerId === "" && claim.nextActions.length > 0) section.append(photoForm(claim, reload));
}

async function show(section: HTMLElement, claimId: string, one: Evidence) {
  try {
    const pieces: BlobPart[] = [];
    for await (const piece of claims.getEvidence({ claimId, evidenceId: one.evidenceId }, { timeoutMs: 60_000 })) pieces.push(piece.data as BlobPart);
    const url = URL.createObjectURL(new Blob(pieces, { type: one.mediaType }));
    if (one.mediaType === "application/pdf") { h("a", { href: url, download: `${one.evidenceId}.pdf` }).click(); return; }
    const picture = h("img", { src: url, alt: evidenceKind(one.kind) });
    const dialog: HTMLDialogElement = h("dialog", { "aria-label": evidenceKind(one.kind) }, picture, h("div", { class: "row" }, button(t("close"), () => dialog.close(), "quiet")));
    dialog.addEventListener("close", () => { URL.revokeObjectURL(url); dialog.remove(); });
    document.body.append(dialog);
    dialog.showModal();
  } catch (error) { showError(section, error); }
}

function photoForm(claim: Claim, reload: () => Promise<void>) {
  const kind = h("select", { name: "kind" }, ...[EvidenceKind.PHOTO, EvidenceKind.INVOICE, EvidenceKind.WARRANTY_CARD].map((k) => h("option", { value: k }, evidenceKind(k))));
  const file = h("input", { type: "file", accept: TYPES.join(",") });
  const bar = h("progress", { max: 1, value: 0, hidden: true, "aria-label": t("photo.send") });
  const send = h("button", { class: "primary" }, t("photo.send"));
  const form = h("form", { novalidate: true }, field("kind", t("photo.kind"), kind), field("data", t("photo.file"), file, t("photo.hint")), bar, send);
  form.addEventListener("submit", async (submitted) => {
    submitted.preventDefault();
    unmark(form);
    const chosen = file.files?.[0];
    const wrong = !chosen ? "photo.choose" : !TYPES.includes(chosen.type) ? "photo.type" : chosen.size > LARGEST ? "photo.size" : undefined;
    if (!chosen || wrong) { mark(form, "data", t(wrong ?? "photo.choose")); return file.focus(); }
    send.disabled = true;
    bar.hidden = false;
    try {
      await upload(claim.claimId, Number(kind.value), chosen, (share) => { bar.value = share; say(t("photo.progress", Math.round(share * 100))); });
      file.value = "";
      await reload();
      say(t("photo.done"));
    } catch (error) { showError(form, error); } finally { send.disabled = false; bar.hidden = true; bar.value = 0; }
  });
  return form;
}
