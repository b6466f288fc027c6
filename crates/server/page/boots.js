// Boots as bars over time: which phase costs what.

import { h, seconds, svgLink } from "./dom.js";

export const PHASES = [
  "address",
  "plan",
  "kernel",
  "initramfs",
  "hardware",
  "network",
  "clock",
  "disk",
  "system",
  "data",
  "root",
  "docker",
  "user-data",
  "swarm",
  "ready",
];
const COLOURS = {
  address: 1,
  plan: 1,
  kernel: 2,
  initramfs: 2,
  hardware: 3,
  network: 3,
  clock: 3,
  disk: 3,
  system: 4,
  data: 4,
  root: 4,
  docker: 5,
  "user-data": 7,
  swarm: 6,
  ready: 6,
};
const KEY = [
  ["address, plan", 1],
  ["kernel, initramfs", 2],
  ["hardware to disk", 3],
  ["system, data, root", 4],
  ["docker", 5],
  ["user data", 7],
  ["swarm, ready", 6],
];
const WIDTH = 960;
const LEFT = 150;
const ROW = 22;

/** The phases of one boot from its lines: when each began and how long it took, from the first line of the boot. */
export function spans(lines) {
  if (lines.length === 0) return [];
  const begin = Math.min(...lines.map((line) => line.at_ms));
  const found = new Map();
  for (const line of lines) {
    const span = found.get(line.phase) ?? {
      phase: line.phase,
      from: line.at_ms - begin,
      to: null,
      failed: false,
      detail: "",
    };
    span.from = Math.min(span.from, line.at_ms - begin);
    if (line.step === "done") span.to = Math.max(span.to ?? 0, line.at_ms - begin);
    span.failed = line.step === "failed" || (span.failed && line.step !== "done");
    if (line.detail) span.detail = line.detail;
    found.set(line.phase, span);
  }
  return [...found.values()].sort(
    (one, other) => one.from - other.from || PHASES.indexOf(one.phase) - PHASES.indexOf(other.phase),
  );
}

/** The lines of the newest boot. */
export function newest(detail) {
  return detail.timeline.filter((line) => line.boot === detail.node.boot);
}

function scale(longest) {
  const step = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600].find((step) => longest / 1000 / step <= 10) ?? 7200;
  const ticks = [];
  for (let at = 0; at <= longest / 1000; at += step) ticks.push(at);
  return { ticks, x: (ms) => LEFT + (ms / longest) * (WIDTH - LEFT - 60) };
}

function frame(longest, rows, label) {
  const { ticks, x } = scale(longest);
  const height = rows * ROW + 24;
  const grid = ticks.map((at) => [
    h("line", { class: "tick", x1: x(at * 1000), x2: x(at * 1000), y1: 0, y2: rows * ROW }),
    h("text", { class: "dim", x: x(at * 1000), y: height - 6, "text-anchor": "middle" }, `${at} s`),
  ]);
  return [h("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": label }, grid), x];
}

function bar(span, end, x, y) {
  const to = span.to ?? end;
  const took = span.to === null ? "goes on" : seconds(to - span.from);
  const said = `${span.phase}: ${took}${span.detail ? ` – ${span.detail}` : ""}`;
  return h(
    "rect",
    {
      class: `p${COLOURS[span.phase]}${span.failed ? " failed" : ""}`,
      x: x(span.from),
      y: y + 4,
      rx: 2,
      width: Math.max(2, x(to) - x(span.from)),
      height: ROW - 8,
    },
    h("title", {}, said),
  );
}

/** One boot, a row for each phase. */
export function bootChart(lines, name) {
  const all = spans(lines);
  if (all.length === 0) return h("p", { class: "dim" }, "It has not booted yet.");
  const end = Math.max(1000, ...all.map((span) => span.to ?? span.from));
  const [svg, x] = frame(end, all.length, `Boot of ${name}`);
  all.forEach((span, row) => {
    const y = row * ROW;
    const took = span.to === null ? "…" : seconds(span.to - span.from);
    svg.append(
      h("text", { x: LEFT - 8, y: y + 15, "text-anchor": "end" }, span.phase),
      bar(span, end, x, y),
      h("text", { class: "dim", x: Math.min(x(span.to ?? end) + 6, WIDTH - 52), y: y + 15 }, took),
    );
  });
  return svg;
}

/** The newest boots of many nodes, a row for each node. */
export function clusterChart(boots) {
  const rows = boots.map((boot) => ({ ...boot, spans: spans(boot.lines) })).filter((boot) => boot.spans.length > 0);
  if (rows.length === 0) return h("p", { class: "dim" }, "No node has booted yet.");
  const end = Math.max(1000, ...rows.flatMap((row) => row.spans.map((span) => span.to ?? span.from)));
  const [svg, x] = frame(end, rows.length, "Newest boots of the nodes");
  rows.forEach((row, place) => {
    const y = place * ROW;
    const last = Math.max(...row.spans.map((span) => span.to ?? span.from));
    const name = row.name.length > 20 ? `${row.name.slice(0, 19)}…` : row.name;
    svg.append(
      svgLink(
        `#/node/${encodeURIComponent(row.name)}`,
        h("text", { x: LEFT - 8, y: y + 15, "text-anchor": "end" }, name),
      ),
      ...row.spans.map((span) => bar(span, span.from, x, y)),
      h("text", { class: "dim", x: x(last) + 6, y: y + 15 }, seconds(last)),
    );
  });
  return svg;
}

export function key() {
  const swatch = ([text, colour]) =>
    h(
      "span",
      {},
      h(
        "svg",
        { viewBox: "0 0 8 8", "aria-hidden": "true" },
        h("rect", { class: `p${colour}`, width: 8, height: 8, rx: 2 }),
      ),
      text,
    );
  return h("div", { class: "key" }, KEY.map(swatch));
}

/** How far a node is, as a small bar. */
export function meter(node) {
  const isFailed = node.step === "failed";
  const done = node.ready_at_ms ? PHASES.length : PHASES.indexOf(node.phase) + (node.step === "done" ? 1 : 0.5);
  const part =
    node.step?.progress && node.step.progress.total > 0 ? node.step.progress.done / node.step.progress.total - 0.5 : 0;
  const width = Math.max(0, Math.min(100, ((done + part) / PHASES.length) * 100));
  const colour = isFailed ? "pbad" : node.ready_at_ms ? "p6" : "p5";
  return h(
    "svg",
    { class: "meter", viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" },
    h("rect", { class: "whole", width: 100, height: 8 }),
    h("rect", { class: colour, width, height: 8 }),
  );
}
