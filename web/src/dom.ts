// Elements without a framework, and without innerHTML.
type Child = Node | string | null | undefined | false;
type Props = Record<string, string | number | boolean | ((event: Event) => void) | undefined>;

function fill<E extends Element>(element: E, props: Props, children: Child[]): E {
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name, value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child): child is Node | string => child != null && child !== false));
  return element;
}

/** An HTML element: attributes by name, listeners where the value is a function. */
export const h = <K extends keyof HTMLElementTagNameMap>(name: K, props: Props = {}, ...children: Child[]) =>
  fill(document.createElement(name), props, children);

/** An SVG element. */
export const s = (name: string, props: Props = {}, ...children: Child[]) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", name), props, children);

/** The element of that id, which the page has. */
export const byId = (id: string) => document.getElementById(id)!;

/** Tells whoever cannot see the page what changed. */
export function say(text: string) {
  byId("live").textContent = text;
}

/** A button that stays disabled while its work runs. */
export function button(text: string, work: () => void | Promise<void>, kind = "primary") {
  const element = h("button", { type: "button", class: kind }, text);
  element.addEventListener("click", async () => {
    if (element.getAttribute("aria-disabled") === "true") return;
    element.setAttribute("aria-disabled", "true");
    try { await work(); } finally { element.removeAttribute("aria-disabled"); }
  });
  return element;
}
