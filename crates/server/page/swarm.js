// The swarm: members, what is held, stacks, rollout.

import { ask, at, h, seconds, show, table } from "./dom.js";
import { nodeLink } from "./nodes.js";

function member(swarm) {
  return (member) => {
    const inRotation = swarm.in_rotation.includes(member.hostname);
    const [text, kind] = !member.ready
      ? ["down", "bad"]
      : member.drained
        ? ["drained", "busy"]
        : inRotation
          ? ["ready", "good"]
          : ["comes up", "busy"];
    const role = member.leader ? "leader" : member.manager ? "manager" : "worker";
    return [
      nodeLink(member.hostname),
      h("span", { class: kind }, text),
      role,
      h("code", { class: "small" }, member.id),
    ];
  };
}

function stack(stack) {
  const kinds = { deployed: "good", failed: "bad", waiting: "busy", removing: "busy" };
  const services = stack.services.map((service) =>
    h(
      "div",
      {},
      `${service.name} ${service.running}/${service.desired}`,
      service.ports.length ? ` :${service.ports.join(", :")}` : "",
    ),
  );
  return [stack.name, h("span", { class: kinds[stack.state] }, stack.state), h("span", {}, services), stack.error];
}

function progress([name, progress]) {
  const since = progress["under-way"];
  const text = since
    ? `under way for ${seconds(Date.now() - since.since_ms)}`
    : progress.done
      ? `new, ${seconds(progress.done.took_ms)}`
      : progress;
  const kind = since ? "busy" : progress.done ? "good" : progress === "failed" ? "bad" : "dim";
  return [nodeLink(name), h("span", { class: kind }, text)];
}

export function swarmView({ main, reading, may }) {
  const [members, held, stacks, rollout] = [0, 0, 0, 0].map(() => h("div", {}));
  const said = h("p", { class: "said bad", role: "status" });

  async function act(path) {
    said.textContent = "";
    await ask("POST", path, path === "/v1/rollout" ? {} : undefined).catch((error) => {
      said.textContent = error.message;
    });
    read();
  }
  function drawRollout(found) {
    const button = (text, path) => h("button", { type: "button", click: () => act(path) }, text);
    const isRunning = found?.state === "running";
    const stopped = found?.state?.stopped;
    const begin = () => confirm("Make every node new, one after another?") && act("/v1/rollout");
    const buttons = may("write")
      ? h(
          "div",
          { class: "row" },
          isRunning
            ? button("Stop", "/v1/rollout/stop")
            : h("button", { type: "button", click: begin }, "Make every node new"),
          stopped ? button("Go on", "/v1/rollout/resume") : null,
        )
      : null;
    show(
      rollout,
      found
        ? table(["Node", "Rollout"], found.nodes.map(progress), "No node.")
        : h("p", { class: "dim" }, "There was none yet."),
      stopped ? h("p", { class: "bad" }, `Stopped: ${stopped.reason}`) : null,
      found?.waits_for && isRunning ? h("p", { class: "busy" }, `Waits for ${found.waits_for}`) : null,
      buttons,
    );
  }
  const read = reading(async () => {
    const none = (error) => {
      if (error.status === 404) return null;
      throw error;
    };
    const [swarm, all, newest] = await Promise.all([
      ask("GET", "/v1/swarm"),
      ask("GET", "/v1/stacks"),
      ask("GET", "/v1/rollout").catch(none),
    ]);
    show(members, table(["Node", "State", "Role", "ID"], swarm.members.map(member(swarm)), "No swarm yet."));
    show(
      held,
      swarm.held.map((sentence) => h("p", { class: "busy" }, `Held: ${sentence}`)),
    );
    show(
      stacks,
      table(["Stack", "State", "Services", ""], all.map(stack), "No stack yet: `fledermaus stack deploy` makes one."),
    );
    drawRollout(newest);
  });
  const news = ({ topics }) => topics.some((topic) => ["swarm", "stacks", "rollout"].includes(topic)) && read();
  show(
    main,
    h("h1", {}, "Swarm"),
    h("section", { class: "card" }, h("h2", {}, "Members"), held, members),
    h("section", { class: "card" }, h("h2", {}, "Stacks"), stacks),
    h("section", { class: "card" }, h("h2", {}, "Rollout"), rollout, said),
  );
  return { read, refresh: read, news };
}
