// Elements and requests. Text becomes text nodes and nothing else: what a node said of itself is never read as HTML.

const SVG = "http://www.w3.org/2000/svg";
const SVG_TAGS = new Set(["svg", "rect", "text", "line", "g", "title"]);

/** Makes an element. Children are elements and texts; functions are listeners; `null` and `false` are left out. */
export function h(tag, attributes = {}, ...children) {
  const isSvg = SVG_TAGS.has(tag) && !(tag === "title" && attributes.html);
  const element = isSvg ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name, value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(
    ...children.flat(Infinity).filter((child) => child !== null && child !== false && child !== undefined),
  );
  return element;
}

/** A link inside an SVG. */
export function svgLink(href, ...children) {
  const link = document.createElementNS(SVG, "a");
  link.setAttribute("href", href);
  link.append(...children);
  return link;
}

/** Replaces what is in an element. */
export function show(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter(Boolean));
}

/** A request that was refused, with the head's sentence. */
export class Refused extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

/** Asks the head; JSON comes back as an object, other answers as text. */
export async function ask(method, path, body) {
  const headers = { "x-fledermaus": "page" };
  const text = body === undefined || typeof body === "string" ? body : JSON.stringify(body);
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: text, cache: "no-store", redirect: "error" });
  } catch {
    throw new Refused(0, "the head does not answer");
  }
  const isJson = (answer.headers.get("content-type") ?? "").startsWith("application/json");
  const content = isJson ? await answer.json() : await answer.text();
  if (!answer.ok) throw new Refused(answer.status, isJson && content.error ? content.error : `status ${answer.status}`);
  return content;
}

/** A path with a name in it. */
export function at(strings, ...names) {
  return String.raw({ raw: strings }, ...names.map(encodeURIComponent));
}

/** A table; each row is an array of cells, or `{ cells, attributes }`. */
export function table(heads, rows, empty, kind = "") {
  if (rows.length === 0) return h("p", { class: "dim" }, empty);
  const cell = (content, place) => h("td", { "data-head": heads[place] || null }, content ?? "");
  const row = (row) => h("tr", row.attributes ?? {}, (row.cells ?? row).map(cell));
  const head = h(
    "thead",
    {},
    h(
      "tr",
      {},
      heads.map((text) => h("th", { scope: "col" }, text)),
    ),
  );
  return h("table", { class: `cards ${kind}` }, head, h("tbody", {}, rows.map(row)));
}

/** Milliseconds as seconds with one place. */
export const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`;

/** How long ago, or how far off, in the largest unit that fits. */
export function rough(ms) {
  const s = Math.max(0, Math.round(Math.abs(ms) / 1000));
  if (s < 120) return `${s} s`;
  if (s < 7200) return `${Math.floor(s / 60)} min`;
  return s < 172800 ? `${Math.floor(s / 3600)} h` : `${Math.floor(s / 86400)} days`;
}
export const ago = (ms) => (ms ? `${rough(Date.now() - ms)} ago` : "never");
export const clock = (ms) => new Date(ms).toLocaleString(undefined, { dateStyle: "short", timeStyle: "medium" });
