// User data: the editor of a template, its history, and the templates that nodes share.

import { ask, at, clock, h, show, table } from "./dom.js";
import { size } from "./images.js";

/** How long typing rests before the preview is made, in milliseconds. */
const REST_MS = 300;

/**
 * The editor of a template. `preview(text)` asks for what a node gets with it; with `isOnly` that node alone has it, and what
 * it cannot get cannot be saved. `buttons(keep)` are what else can be done; `above` stands over the preview.
 */
function editor({ name, title, saved, preview, isOnly, above, buttons }) {
  const shown = h("pre", { tabindex: 0, "aria-label": "Preview" });
  const said = h("p", { class: "said", role: "status" });
  const text = h("textarea", {
    spellcheck: "false",
    autocapitalize: "off",
    "aria-label": "Template",
    disabled: true,
    input: () => later(),
  });
  const save = h("button", { class: "main", type: "button", click: () => keep() }, "Save");
  let due = null;
  const later = () => {
    clearTimeout(due);
    due = setTimeout(render, REST_MS);
  };
  const tell = (sentence, kind) => {
    said.textContent = sentence;
    said.className = `said ${kind}`;
  };

  // Nothing can be saved over a template that was not seen.
  let isRead = false;
  let isAsking = false;
  const allow = (isGood) => {
    text.disabled = !isRead;
    for (const button of actions) button.disabled = !isRead || (isOnly && !isGood);
  };
  let asked = 0;
  async function render() {
    const own = ++asked;
    try {
      const made = await preview(text.value);
      if (own !== asked) return;
      shown.textContent = made;
      tell("", "");
      allow(true);
    } catch (error) {
      if (own !== asked) return;
      tell(error.message, "bad");
      allow(false);
    }
  }
  async function keep(also) {
    try {
      await ask("PUT", at`/v1/user-data/${name}`, text.value);
      readHistory();
      tell((await also?.()) ?? saved, "good");
    } catch (error) {
      tell(error.message, "bad");
    }
  }
  async function read() {
    // One that is not there yet begins empty.
    const empty = (error) => {
      if (error.status !== 404) throw error;
      return "";
    };
    isAsking = true;
    try {
      text.value = await ask("GET", at`/v1/user-data/${name}`).catch(empty);
      isRead = true;
      await Promise.all([render(), readHistory()]);
    } catch (error) {
      tell(error.message, "bad");
    }
    isAsking = false;
  }
  /** Reads it if that failed before. */
  const settle = async () => isRead || isAsking || read();
  const history = h("div", {});
  const difference = h("pre", { hidden: true, tabindex: 0, "aria-label": "What changed since" });

  async function compare(version) {
    const lines = (await ask("GET", at`/v1/user-data/${name}/history/${version}/diff`)).split("\n");
    const kinds = { "+": "added", "-": "gone" };
    show(
      difference,
      lines.map((line) => h("span", { class: kinds[line[0]] }, `${line}\n`)),
    );
    if (lines.length < 2) difference.textContent = "Nothing changed since.";
    difference.hidden = false;
  }
  async function goBack(version) {
    try {
      await ask("POST", at`/v1/user-data/${name}/history/${version}/restore`);
      await read();
      tell(`Version ${version} is set again.`, "good");
    } catch (error) {
      tell(error.message, "bad");
    }
  }
  async function readHistory() {
    const button = (text, click) => h("button", { type: "button", class: "small", click }, text);
    const versions = await ask("GET", at`/v1/user-data/${name}/history`);
    const row = ({ version, at_ms, who, from, bytes }) => [
      String(version),
      clock(at_ms),
      `${who} (${from})`,
      `${bytes} bytes`,
      h(
        "span",
        { class: "row" },
        button("What changed since", () => compare(version)),
        button("Go back", () => goBack(version)),
      ),
    ];
    show(history, table(["Version", "When", "Who", "", ""], versions.map(row), "It was never changed here.", "lines"));
  }
  const actions = [save, ...(buttons?.(keep) ?? [])];
  allow(false);
  read();
  const card = h(
    "section",
    { class: "card" },
    h("h2", {}, title),
    h(
      "div",
      { class: "halves" },
      h("div", {}, h("p", { class: "dim small" }, "Template"), text),
      h("div", {}, h("p", { class: "dim small" }, above), shown),
    ),
    said,
    h("div", { class: "row" }, actions),
    h("details", {}, h("summary", {}, "History"), history, difference),
  );
  return { card, render, settle };
}

/** The editor of what is one node's own. */
export function ownEditor(name) {
  const anew = async () => {
    await ask("POST", at`/v1/nodes/${name}/reboot`);
    return "Saved; the node is made new as soon as the swarm can spare it.";
  };
  return editor({
    name,
    title: "User data",
    saved: "Saved: the node runs it when it boots next.",
    preview: (text) => ask("POST", at`/v1/nodes/${name}/preview`, text),
    isOnly: true,
    above: "What this node gets",
    buttons: (keep) => [h("button", { type: "button", click: () => keep(anew) }, "Save and make new")],
  });
}

/** One template that nodes share, with what a node of choice gets of it. */
export function templateView({ main, reading }, name) {
  const node = h("input", { "aria-label": "Node", size: 16, change: () => shared.render() });
  const shared = editor({
    name,
    title: "For all that use it",
    saved: "Saved: nodes that use it run it when they boot next.",
    // Without a node the head says of the text alone whether it can be saved.
    preview: async (text) =>
      node.value ? ask("POST", at`/v1/nodes/${node.value}/preview?template=${name}`, text) : "",
    above: ["What this node gets: ", node],
  });
  show(main, h("h1", {}, h("a", { href: "#/templates" }, "User data"), ` / ${name}`), shared.card);
  const read = reading(async () => {
    const { nodes } = await ask("GET", "/v1/node-list?limit=1");
    node.value ||= nodes[0]?.name ?? "";
    await shared.settle();
    await shared.render();
  });
  return { read };
}

/** All templates. */
export function templatesView({ main, reading }) {
  const list = h("div", {});
  const own = (name) => name.slice(0, -".sh".length);
  const row = (template) => [
    h(
      "a",
      { href: template.own ? at`#/node/${own(template.name)}` : at`#/templates/${template.name}` },
      template.name,
    ),
    size(template.bytes),
    template.own && template.nodes === 1 ? "its own" : String(template.nodes),
  ];
  const read = reading(async () => {
    const templates = await ask("GET", "/v1/user-data");
    show(list, table(["File", "Size", "Nodes"], templates.map(row), "There is none yet."));
  });
  const file = h("input", {
    name: "file",
    placeholder: "parts/disk.sh",
    required: true,
    // Node names have neither.
    pattern: String.raw`.*[.\/].*`,
    title: "a name with a dot or a slash",
  });
  const submit = (event) => {
    event.preventDefault();
    location.hash = at`#/templates/${file.value}`;
  };
  const hint = [
    "A node gets the file of its own name, else the one that is wished for it or its group, else the default. A template ",
    "can include another: ",
    h("code", {}, '{% include "parts/disk.sh" %}'),
    ".",
  ];
  show(
    main,
    h("h1", {}, "User data"),
    h("div", { class: "card" }, list, h("p", { class: "dim small" }, hint)),
    h("form", { class: "card row", submit }, h("label", {}, "Another file ", file), h("button", {}, "Write it")),
  );
  return { read, refresh: read };
}
