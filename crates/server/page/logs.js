// The ends of a node's logs: the kernel's, which is what its console said, and the services'.

import { ask, at, clock, h, show } from "./dom.js";

/** Cuts the text at the lines that name a log. */
function parts(text) {
  return text
    .split(/^(?===> .+ <==$)/m)
    .filter((part) => part.trim() !== "")
    .map((part) => {
      const [, name, rest] = /^==> (.+) <==\n?([^]*)$/.exec(part) ?? [null, "log", part];
      return [name === "/dev/kmsg" ? "Console (the kernel's log)" : name, rest.trimEnd()];
    });
}

/** The part of a node's page that asks for logs when somebody wants to read them. */
export function logsCard(name) {
  const said = h("p", { class: "said", role: "status" }, "The node sends them when it is asked.");
  const shown = h("div", {});
  const button = h("button", { type: "button", click: () => read() }, "Read the logs");
  async function read() {
    button.disabled = true;
    said.className = "said";
    said.textContent = "Asked; the node answers with its next report.";
    try {
      const logs = await ask("GET", at`/v1/nodes/${name}/logs`);
      said.textContent = logs.old
        ? `The node does not answer; it sent these ${clock(logs.at_ms)}.`
        : `As of ${clock(logs.at_ms)}.`;
      show(
        shown,
        parts(logs.text).map(([name, text]) =>
          h(
            "details",
            { class: "log", open: true },
            h("summary", {}, name),
            h("pre", { tabindex: 0, "aria-label": name }, text || "(empty)"),
          ),
        ),
      );
      // The end is what one looks for.
      for (const log of shown.querySelectorAll("pre")) log.scrollTop = log.scrollHeight;
    } catch (error) {
      said.className = "said bad";
      said.textContent = error.message;
    }
    button.disabled = false;
  }
  return h(
    "section",
    { class: "card", id: "logs" },
    h("div", { class: "row" }, h("h2", { class: "grow" }, "Logs"), button),
    said,
    shown,
  );
}
