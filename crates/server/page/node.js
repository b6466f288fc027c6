// One node: how it is, its boot, its user data, its logs.

import { bootChart, key, newest } from "./boots.js";
import { ago, ask, at, clock, h, seconds, show, table } from "./dom.js";
import { size } from "./images.js";
import { logsCard } from "./logs.js";
import { phaseOf } from "./nodes.js";
import { ownEditor } from "./user_data.js";

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

export function nodeView({ main, reading, may }, name) {
  const [head, health, lines] = [0, 0, 0].map(() => h("div", {}));
  const chart = h("div", { class: "scroll", tabindex: 0 });
  const said = h("p", { class: "said", role: "status" });
  const own = may("write") ? ownEditor(name) : null;
  const read = reading(async () => {
    const detail = await ask("GET", at`/v1/nodes/${name}`);
    show(head, facts(detail));
    show(health, board(detail));
    show(chart, bootChart(newest(detail), name));
    show(lines, timeline(detail.timeline));
    await own?.settle();
  });
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
    own?.card,
    may("write") ? logsCard(name) : null,
    h("section", { class: "card" }, h("h2", {}, "Timeline"), lines),
  );
  return { read, refresh: read, news };
}
