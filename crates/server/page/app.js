// The page: login, navigation, news, keys. What a view shows is in its own file.

import { ask, h, show } from "./dom.js";
import { accessView } from "./access.js";
import { imagesView } from "./images.js";
import { bootsView, leasesView, nodesView } from "./nodes.js";
import { nodeView } from "./node.js";
import { swarmView } from "./swarm.js";
import { templateView, templatesView } from "./user_data.js";

const VIEWS = [
  { name: "nodes", title: "Nodes", key: "n", make: nodesView },
  { name: "boots", title: "Boots", key: "b", make: bootsView },
  { name: "swarm", title: "Swarm", key: "s", make: swarmView },
  { name: "templates", title: "User data", key: "u", make: templatesView, one: templateView, scope: "write" },
  { name: "images", title: "Images", key: "i", make: imagesView },
  { name: "leases", title: "Leases", key: "l", make: leasesView },
  { name: "access", title: "Access", key: "a", make: accessView, scope: "admin" },
];
const SCOPES = ["read", "write", "admin"];
/** How often a view is read anew: news tell what changes, but not that a node is still heard. */
const REFRESH_MS = 10_000;

const main = document.getElementById("main");
const live = document.getElementById("live");
let me = null;
let view = null;
/** Stands for the view that is shown: what comes for another is too late. */
let shown = null;
let isTroubled = false;
let events = null;

/** Whether who looks may do what takes this scope. */
const may = (scope) => me !== null && SCOPES.indexOf(me.scope) >= SCOPES.indexOf(scope);

function loginView(sentence) {
  view = shown = null;
  calm();
  document.title = "fledermaus: log in";
  const said = h("p", { class: "said bad", role: "alert" }, sentence ?? "");
  const name = h("input", { name: "name", autocomplete: "username", required: true, autofocus: true });
  const password = h("input", { name: "password", type: "password", autocomplete: "current-password", required: true });
  const submit = async (event) => {
    event.preventDefault();
    await enter({ name: name.value, password: password.value });
  };
  const hint = "No account yet? `fledermaus login` on the head prints an address that logs you in.";
  show(
    main,
    h(
      "form",
      { class: "card", submit },
      h("h1", {}, "Log in"),
      h("p", {}, h("label", {}, "Account ", name)),
      h("p", {}, h("label", {}, "Password ", password)),
      h("button", { class: "main" }, "Log in"),
      said,
      h("p", { class: "dim small" }, hint),
    ),
  );
  name.focus();
}

async function enter(wish) {
  try {
    me = await ask("POST", "/v1/login", wish);
    begin();
  } catch (error) {
    loginView(error.message);
  }
}

async function leave() {
  try {
    await ask("POST", "/v1/logout");
  } catch {
    /* it had ended already */
  }
  out();
}

function out(sentence) {
  events?.close();
  events = null;
  me = null;
  document.getElementById("leave").hidden = true;
  show(document.getElementById("nav"));
  say("", "logged out");
  loginView(sentence);
}

function say(state, text) {
  live.className = state;
  live.textContent = text;
}

function begin() {
  document.getElementById("leave").hidden = false;
  if (location.hash.startsWith("#login=")) history.replaceState(null, "", "#/nodes");
  listen();
  rivals();
  route();
}

function listen() {
  events?.close();
  events = new EventSource("/v1/events");
  events.onopen = () => {
    say("on", "live");
    if (isTroubled) view?.read();
  };
  events.onerror = () => {
    say("off", "the head does not answer");
    // A session that ended looks the same as a head that is gone.
    ask("GET", "/v1/me").catch((error) => error.status === 401 && out("Your session has ended."));
  };
  events.addEventListener("news", (event) => {
    const news = JSON.parse(event.data);
    view?.news?.(news);
    if (news.topics.includes("rivals")) rivals();
  });
  events.addEventListener("again", () => view?.read?.());
}

async function rivals() {
  try {
    const found = await ask("GET", "/v1/rivals");
    const text = (rival) => {
      const who = `${rival.server}${rival.mac ? ` (${rival.mac})` : ""}`;
      return rival.adds_only
        ? `Another server, ${who}, adds boot information to DHCP on this network: nodes may boot from there. Stop it.`
        : `Another DHCP server, ${who}, answers on this network: nodes take whichever answer comes first. ` +
            "Stop it, or give the cluster a network of its own.";
    };
    show(
      document.getElementById("alerts"),
      found.map((rival) => h("p", {}, text(rival))),
    );
  } catch {
    /* the view says it */
  }
}

function route() {
  if (me === null) return;
  const [, name = "nodes", subject] = location.hash.split("/");
  const known = VIEWS.find((view) => view.name === name && may(view.scope ?? "read"));
  const links = VIEWS.filter((view) => may(view.scope ?? "read")).map((view) =>
    h("a", { href: `#/${view.name}`, "aria-current": view === known ? "page" : null }, view.title),
  );
  show(document.getElementById("nav"), links);
  const subjectName = subject === undefined ? "" : decodeURIComponent(subject);
  const own = {};
  shown = own;
  calm();
  const reading = (work) => () => attempt(own, work);
  const context = { may, main, reading };
  const one = subjectName && (name === "node" ? nodeView : known?.one);
  view = one ? one(context, subjectName) : (known ?? VIEWS[0]).make(context);
  document.title = `fledermaus: ${subjectName || (known ?? VIEWS[0]).title}`;
  view.read();
  main.focus({ preventScroll: true });
}

/** Has a view ask the head. What fails is said above the view, which keeps what it has: somebody may be writing in it. */
async function attempt(own, work) {
  try {
    await work();
    if (own === shown) calm();
  } catch (error) {
    if (own === shown) failed(error);
  }
}

function failed(error) {
  if (error.status === 401) return out("Your session has ended.");
  isTroubled = true;
  const hint = `What is shown is from before. The head is asked again every ${REFRESH_MS / 1000} seconds.`;
  const said = h("div", {}, h("strong", { class: "bad" }, error.message), h("div", { class: "dim small" }, hint));
  show(document.getElementById("trouble"), said);
}

function calm() {
  isTroubled = false;
  show(document.getElementById("trouble"));
}

/** A view that could not be read is read again, also one that is otherwise read only once. */
function refresh() {
  if (document.visibilityState === "visible") (isTroubled ? view?.read : view?.refresh)?.();
}

const KEYS = [
  ["/", "look for a node"],
  ["j k", "next and previous row"],
  ["Enter", "open the row"],
  ["n b s u i l a", "views"],
  ["t", "dark or light"],
  ["?", "this help"],
  ["Esc", "close, leave a field"],
];

function press(event) {
  const isField = event.target.matches("input, textarea, select");
  if (event.key === "Escape" && isField) return event.target.blur();
  if (isField || event.ctrlKey || event.metaKey || event.altKey || me === null) return;
  const go = VIEWS.find((view) => view.key === event.key && may(view.scope ?? "read"));
  if (go) location.hash = `#/${go.name}`;
  else if (event.key === "t") turn();
  else if (event.key === "?") help();
  else if (event.key === "/") document.getElementById("filter")?.focus();
  else if (event.key === "j" || event.key === "k") step(event.key === "j" ? 1 : -1);
  else if (event.key === "Enter" && event.target === main) main.querySelector("tr[aria-selected] a")?.click();
  else return;
  event.preventDefault();
}

function step(by) {
  const rows = [...main.querySelectorAll("tbody tr")];
  const now = rows.findIndex((row) => row.hasAttribute("aria-selected"));
  const next = rows[Math.max(0, Math.min(rows.length - 1, now + by))];
  rows[now]?.removeAttribute("aria-selected");
  next?.setAttribute("aria-selected", "true");
  next?.scrollIntoView({ block: "nearest" });
}

function help() {
  const dialog = document.getElementById("help");
  const rows = KEYS.map(([keys, what]) => [h("dt", {}, h("code", {}, keys)), h("dd", {}, what)]);
  show(
    dialog,
    h("h2", {}, "Keys"),
    h("dl", { class: "facts" }, rows),
    h("form", { method: "dialog" }, h("button", {}, "Close")),
  );
  dialog.showModal();
}

function turn() {
  const root = document.documentElement;
  const isDark = root.dataset.theme
    ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = isDark ? "light" : "dark";
  localStorage.setItem("theme", root.dataset.theme);
}

const theme = localStorage.getItem("theme");
if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
document.getElementById("theme").addEventListener("click", turn);
document.getElementById("leave").addEventListener("click", leave);
document.addEventListener("keydown", press);
addEventListener("hashchange", () => (location.hash.startsWith("#login=") ? start() : route()));
setInterval(refresh, REFRESH_MS);

async function start() {
  if (location.hash.startsWith("#login=")) {
    const once = location.hash.slice("#login=".length);
    // The secret is no longer in the address, nor in the history.
    history.replaceState(null, "", "#/nodes");
    return enter({ once });
  }
  try {
    me = await ask("GET", "/v1/me");
    begin();
  } catch (error) {
    say("off", error.status === 401 ? "logged out" : error.message);
    loginView("");
  }
}
start();
