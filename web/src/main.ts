// The customer's page: which view the address asks for, in which language, for whom.
import { applyView } from "./apply";
import { signOut, signedIn, takeToken } from "./api";
import { checkView } from "./check";
import { claimView, claimsView } from "./claim";
import { byId, button, h } from "./dom";
import { isChinese, switchLanguage, t } from "./words";

const main = byId("main");
let left = new AbortController();

function signIn() {
  const url = document.documentElement.dataset.signIn;
  const ended = sessionStorage.getItem("ended");
  sessionStorage.removeItem("ended");
  main.replaceChildren(h("h1", { tabindex: -1 }, t("sign.title")), ended ? h("p", { class: "note", role: "alert" }, t("sign.ended")) : "", h("section", { class: "card" },
    h("p", {}, t("sign.why")), url ? h("a", { class: "button", href: url }, t("sign.go")) : h("p", {}, t("sign.app"))));
}

/** The frame around the view, in the language chosen. */
function frame() {
  document.documentElement.lang = isChinese() ? "zh" : "en";
  document.title = t("brand");
  byId("brand").textContent = t("brand");
  byId("skip").textContent = t("skip");
  const other = byId("language");
  other.textContent = t("other");
  other.title = t("otherName");
  other.lang = isChinese() ? "en" : "zh";
  byId("nav").setAttribute("aria-label", t("brand"));
  byId("nav").replaceChildren(...(signedIn() ? [h("a", { href: "#/claims" }, t("nav.claims"))] : []));
  byId("foot").replaceChildren(...(signedIn() ? [button(t("nav.out"), () => { signOut(); location.hash = "#/"; draw(); }, "quiet")] : []));
}

function draw() {
  takeToken();
  left.abort();
  left = new AbortController();
  frame();
  if (!signedIn()) return signIn();
  const [, view = "", raw = ""] = location.hash.split("/");
  let argument = "";
  try { argument = decodeURIComponent(raw); } catch { /* an address that nobody made: the first view */ }
  // Each view draws into a place of its own: one that answers late draws where nobody looks.
  const place = h("div", { class: "stack" });
  main.replaceChildren(place);
  if (view === "unit" && argument) void checkView(place, argument);
  else if (view === "apply" && argument) void applyView(place, argument);
  else if (view === "claim" && argument) void claimView(place, argument, left.signal);
  else if (view === "claims") void claimsView(place, argument);
  else void checkView(place);
}

byId("language").addEventListener("click", () => { switchLanguage(); draw(); });
byId("skip").addEventListener("click", (event) => { event.preventDefault(); main.focus(); });
addEventListener("hashchange", draw);
draw();
