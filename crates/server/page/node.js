// One node: how it is, its boot, its user data.

import { bootChart, key, newest } from "./boots.js";
import { ago, ask, at, clock, h, seconds, show, table } from "./dom.js";
import { size } from "./images.js";
import { logsCard } from "./logs.js";
import { phaseOf } from "./nodes.js";

/** How long typing rests before the preview is made, in milliseconds. */
const REST_MS = 300;

/** A processor slows down at 80 °C, and is warm before, in thousandths of a degree. */
const HOT_MC = 80_000;
const WARM_MC = 70_000;
/** Storage that is fuller than this is nearly full. */
const FULL = 0.9;

function list(pairs) {
  const known = pairs.filter(([, value]) => value);
  return h(
    "dl",
    { class: "facts" },
    known.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]),
  );
}

function bar(part) {
  const filled = { class: part > FULL ? "pbad" : "p2", width: Math.round(100 * part), height: 8 };
  return h(
    "svg",
    { class: "meter", viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" },
    h("rect", { class: "whole", width: 100, height: 8 }),
    h("rect", filled),
  );
}

/** How the board is: what it is made of, how warm it is, what it stores on. */
function board({ node: { health } }) {
  if (!health) return h("p", { class: "dim" }, "The node has not told yet.");
  const { temperature_mc: mc, storage_bytes: whole, storage_free_bytes: free } = health;
  const warmth = mc >= HOT_MC ? "bad" : mc >= WARM_MC ? "busy" : null;
  const used = whole ? (whole - free) / whole : 0;
  const supply = "under-voltage: use a stronger supply or a shorter cable";
  return list([
    ["Model", health.model],
    ["Serial", health.serial],
    ["Memory", health.memory_bytes ? size(health.memory_bytes) : null],
    ["Temperature", mc ? h("span", { class: warmth }, `${(mc / 1000).toFixed(1)} °C`) : null],
    ["Storage", whole ? [`${size(whole - free)} of ${size(whole)} used`, bar(used)] : null],
    ["Written", health.written_bytes ? `${size(health.written_bytes)} in this boot` : null],
    ["Card", health.card_life ? `${health.card_name} worn ${health.card_life}` : health.card_name],
    ["Supply", health.under_voltage ? h("span", { class: "bad" }, supply) : null],
  ]);
}

function facts({ node, wishes: wished }) {
  const wishes = Object.entries(wished)
    .filter(([key]) => key !== "name")
    .map(([key, text]) => `${key}=${text}`);
  return list([
    ["Phase", phaseOf(node)],
    ["Address", node.address],
    ["MAC", h("code", {}, node.mac)],
    ["Role", node.role],
    ["Boot", String(node.boot)],
    ["Took", node.ready_at_ms && node.boot_began_ms ? seconds(node.ready_at_ms - node.boot_began_ms) : null],
    ["Heard", ago(node.last_seen_ms)],
    ["Wished", wishes.join(", ")],
    ["Says", node.detail],
  ]);
}

function timeline(lines) {
  const step = (line) => h("span", { class: line.step === "failed" ? "bad" : null }, line.step);
  const rows = [...lines]
    .reverse()
    .map((line) => [clock(line.at_ms), String(line.boot), line.phase, step(line), line.detail]);
  return table(["When", "Boot", "Phase", "", ""], rows, "Nothing happened yet.", "lines");
}

function editor(name) {
  const preview = h("pre", { tabindex: 0, "aria-label": "Preview" });
  const said = h("p", { class: "said", role: "status" });
  const text = h("textarea", {
    spellcheck: "false",
    autocapitalize: "off",
    "aria-label": "Template",
    input: () => later(),
  });
  const save = h("button", { class: "main", type: "button", click: () => keep(false) }, "Save");
  const both = h("button", { type: "button", click: () => keep(true) }, "Save and make new");
  let due = null;
  const later = () => {
    clearTimeout(due);
    due = setTimeout(render, REST_MS);
  };
  const tell = (sentence, kind) => {
    said.textContent = sentence;
    said.className = `said ${kind}`;
  };

  let asked = 0;
  async function render() {
    const own = ++asked;
    try {
      const shown = await ask("POST", at`/v1/nodes/${name}/preview`, text.value);
      if (own !== asked) return;
      preview.textContent = shown;
      tell("", "");
      save.disabled = both.disabled = false;
    } catch (error) {
      if (own !== asked) return;
      tell(error.message, "bad");
      save.disabled = both.disabled = true;
    }
  }
  async function keep(reboot) {
    try {
      await ask("PUT", at`/v1/user-data/${name}`, text.value);
      readHistory();
      if (reboot) await ask("POST", at`/v1/nodes/${name}/reboot`);
      tell(
        reboot
          ? "Saved; the node is made new as soon as the swarm can spare it."
          : "Saved: the node runs it when it boots next.",
        "good",
      );
    } catch (error) {
      tell(error.message, "bad");
    }
  }
  async function read() {
    try {
      text.value = await ask("GET", at`/v1/user-data/${name}`);
      await Promise.all([render(), readHistory()]);
    } catch (error) {
      tell(error.message, "bad");
    }
  }
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
  read();
  return h(
    "section",
    { class: "card" },
    h("h2", {}, "User data"),
    h(
      "div",
      { class: "halves" },
      h("div", {}, h("p", { class: "dim small" }, "Template"), text),
      h("div", {}, h("p", { class: "dim small" }, "What this node gets"), preview),
    ),
    said,
    h("div", { class: "row" }, save, both),
    h("details", {}, h("summary", {}, "History"), history, difference),
  );
}

export function nodeView({ main, failed, may }, name) {
  const [head, health, lines] = [0, 0, 0].map(() => h("div", {}));
  const chart = h("div", { class: "scroll", tabindex: 0 });
  const said = h("p", { class: "said", role: "status" });
  async function read() {
    try {
      const detail = await ask("GET", at`/v1/nodes/${name}`);
      show(head, facts(detail));
      show(health, board(detail));
      show(chart, bootChart(newest(detail), name));
      show(lines, timeline(detail.timeline));
    } catch (error) {
      failed(error);
    }
  }
  let due = null;
  const news = ({ nodes }) => {
    if (nodes.some((node) => node.name === name))
      due ??= setTimeout(() => {
        due = null;
        read();
      }, 300);
  };
  async function reboot() {
    if (!confirm(`Make ${name} new? It leaves the swarm, is wiped, and comes back as a fresh installation.`)) return;
    try {
      await ask("POST", at`/v1/nodes/${name}/reboot`);
      said.textContent = "It is made new as soon as the swarm can spare it.";
    } catch (error) {
      said.textContent = error.message;
    }
  }
  const anew = may("write") ? h("button", { type: "button", click: reboot }, "Make new") : null;
  show(
    main,
    h("div", { class: "row" }, h("h1", { class: "grow" }, name), anew),
    h(
      "div",
      { class: "halves pair" },
      h("section", { class: "card" }, h("h2", {}, "Now"), head, said),
      h("section", { class: "card", id: "board" }, h("h2", {}, "Board"), health),
    ),
    h("section", { class: "card" }, h("h2", {}, "Newest boot"), key(), chart),
    may("write") ? editor(name) : null,
    may("write") ? logsCard(name) : null,
    h("section", { class: "card" }, h("h2", {}, "Timeline"), lines),
  );
  return { read, refresh: read, news };
}
