// All nodes, their newest boots, and the leases.

import { clusterChart, key, meter } from "./boots.js";
import { ago, ask, at, h, rough, seconds, show, table } from "./dom.js";

/** How many nodes one page shows. */
const PAGE = 100;
/** How many boots the chart shows. */
const BOOTS = 60;

export const nodeLink = (name) => h("a", { href: `#/node/${encodeURIComponent(name)}` }, name);

/** How a node is, in words and colour. */
export function phaseOf(node) {
  if (node.ready_at_ms) return h("span", { class: "good" }, "ready");
  if (!node.phase) return h("span", { class: "dim" }, "never seen");
  if (node.step === "failed") return h("span", { class: "bad" }, `${node.phase} failed`);
  const progress = node.step?.progress;
  const part = progress && progress.total > 0 ? ` ${Math.floor((progress.done / progress.total) * 100)} %` : "";
  return h("span", { class: "busy" }, node.phase + part);
}

const labels = (node) =>
  Object.entries(node.labels ?? {}).map(([key, text]) => h("span", { class: "label" }, `${key}=${text}`));

function row(node) {
  const took = node.ready_at_ms && node.boot_began_ms ? seconds(node.ready_at_ms - node.boot_began_ms) : "";
  return [
    nodeLink(node.name),
    node.address,
    node.role,
    h("span", {}, phaseOf(node), meter(node)),
    String(node.boot),
    took,
    ago(node.last_seen_ms),
    h("span", { class: "small dim" }, labels(node), node.ready_at_ms ? "" : node.detail),
  ];
}

const HEADS = ["Node", "Address", "Role", "Phase", "Boot", "Took", "Heard", ""];

export function nodesView({ main, reading, may }) {
  let nodes = [];
  let total = 0;
  let offset = 0;
  const list = h("div", {});
  const count = h("span", { class: "dim", role: "status" });
  const filter = h("input", {
    id: "filter",
    type: "search",
    placeholder: "name, address, MAC, role, label=…  ( / )",
    "aria-label": "Filter",
    input: () => {
      offset = 0;
      read();
    },
  });
  const state = h(
    "select",
    {
      "aria-label": "Which nodes",
      change: () => {
        offset = 0;
        read();
      },
    },
    [
      ["", "all"],
      ["ready", "ready"],
      ["booting", "on their way"],
      ["failed", "failed"],
      ["unseen", "never seen"],
    ].map(([value, text]) => h("option", { value }, text)),
  );
  const page = (by) =>
    h(
      "button",
      {
        type: "button",
        click: () => {
          offset = Math.max(0, offset + by);
          read();
        },
      },
      by < 0 ? "earlier" : "later",
    );
  const [earlier, later] = [page(-PAGE), page(PAGE)];
  const waiting = h("div", {});

  const said = h("p", { class: "bad", role: "status" });

  async function approve(mac) {
    said.textContent = "";
    // Another operator may have been quicker.
    await ask("POST", at`/v1/waiting/${mac}/approve`).catch((error) => {
      said.textContent = error.message;
    });
    read();
  }
  function drawWaiting(machines) {
    const rows = machines.map(({ mac, seen_ms }) => [
      h("code", {}, mac),
      ago(seen_ms),
      may("write") ? h("button", { type: "button", click: () => approve(mac) }, "Approve") : null,
    ]);
    show(
      waiting,
      machines.length > 0 &&
        h("section", { class: "card" }, h("h2", {}, "These wait for approval"), table(["MAC", "Heard", ""], rows, "")),
    );
  }

  function draw() {
    show(
      list,
      table(
        HEADS,
        nodes.map(row),
        total === 0 && !filter.value && !state.value
          ? "No node yet: power a Raspberry Pi on the cluster's network, and it appears."
          : "No node is like that.",
      ),
    );
    const last = Math.min(offset + PAGE, total);
    count.textContent = total > PAGE ? `${offset + 1} to ${last} of ${total}` : `${total} nodes`;
    earlier.hidden = offset === 0;
    later.hidden = last >= total;
  }

  // Answers may overtake each other: only that to the newest question counts.
  let asked = 0;
  const read = reading(async () => {
    const own = ++asked;
    const wish = new URLSearchParams({ q: filter.value, state: state.value, offset, limit: PAGE });
    const found = await ask("GET", `/v1/node-list?${wish}`);
    if (own !== asked) return;
    ({ nodes, total } = found);
    drawWaiting(await ask("GET", "/v1/waiting"));
    draw();
  });

  function news({ nodes: changed, topics }) {
    if (topics.includes("nodes")) return read();
    const known = new Map(changed.map((node) => [node.mac, node]));
    if (!nodes.some((node) => known.has(node.mac))) return;
    nodes = nodes.map((node) => known.get(node.mac) ?? node);
    draw();
  }

  show(
    main,
    h("h1", {}, "Nodes"),
    waiting,
    said,
    h(
      "div",
      { class: "card" },
      h("div", { class: "row" }, filter, state, h("span", { class: "grow" }), count, earlier, later),
      list,
    ),
  );
  return { read, refresh: read, news };
}

export function bootsView({ main, reading }) {
  const chart = h("div", { class: "scroll", tabindex: 0 });
  const read = reading(async () => {
    show(chart, clusterChart(await ask("GET", `/v1/boots?limit=${BOOTS}`)));
  });
  let due = null;
  // Nodes that boot tell several things a second.
  const news = ({ nodes }) => {
    if (nodes.length > 0)
      due ??= setTimeout(() => {
        due = null;
        read();
      }, 1000);
  };
  show(main, h("h1", {}, "Newest boots"), h("div", { class: "card" }, key(), chart));
  return { read, news };
}

export function leasesView({ main, reading }) {
  const list = h("div", {});
  const read = reading(async () => {
    const leases = await ask("GET", "/v1/leases");
    const until = (lease) => (lease.until_ms > Date.now() ? `in ${rough(lease.until_ms - Date.now())}` : "over");
    const rows = leases.map((lease) => [
      lease.address,
      h("code", {}, lease.mac),
      lease.node ? nodeLink(lease.node) : "",
      until(lease),
    ]);
    show(list, table(["Address", "MAC", "Node", "Ends"], rows, "Nobody has an address yet."));
  });
  show(main, h("h1", {}, "Leases"), h("div", { class: "card" }, list));
  return { read, refresh: read };
}
