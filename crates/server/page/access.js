// Who may do what, and who did what: tokens, accounts, the audit log.

import { ago, ask, at, clock, h, rough, show, table } from "./dom.js";

const scopes = () =>
  h(
    "select",
    { "aria-label": "Scope" },
    ["read", "write", "admin"].map((scope) => h("option", {}, scope)),
  );

export function accessView({ main, reading }) {
  const [tokens, accounts, audit] = [h("div", {}), h("div", {}), h("div", {})];
  const said = h("p", { class: "said", role: "status" });
  const tell = (sentence, kind) => {
    said.className = `said ${kind}`;
    said.textContent = sentence;
  };

  async function act(method, path, body) {
    try {
      const answer = await ask(method, path, body);
      tell(answer.secret ? `Its secret, shown once: ${answer.secret}` : "Done.", "good");
    } catch (error) {
      tell(error.message, "bad");
    }
    read();
  }
  const remove = (text, path) =>
    h("button", { type: "button", class: "small", click: () => act("DELETE", path) }, text);

  function tokenForm() {
    const [name, scope] = [
      h("input", { required: true, pattern: "[a-z0-9-]+", placeholder: "who uses it", "aria-label": "Name" }),
      scopes(),
    ];
    const submit = (event) => {
      event.preventDefault();
      act("POST", "/v1/tokens", { name: name.value, scope: scope.value });
    };
    return h("form", { class: "row", submit }, name, scope, h("button", {}, "Make a token"));
  }
  function accountForm() {
    const name = h("input", {
      required: true,
      pattern: "[a-z0-9-]+",
      placeholder: "name",
      autocomplete: "off",
      "aria-label": "Account",
    });
    const password = h("input", {
      required: true,
      type: "password",
      minlength: 10,
      placeholder: "password, from 10 letters",
      autocomplete: "new-password",
      "aria-label": "Password",
    });
    const scope = scopes();
    const submit = (event) => {
      event.preventDefault();
      act("PUT", at`/v1/accounts/${name.value}`, { scope: scope.value, password: password.value });
      password.value = "";
    };
    return h("form", { class: "row", submit }, name, password, scope, h("button", {}, "Set account"));
  }

  const read = reading(async () => {
    const [all, people, lines] = await Promise.all(
      ["tokens", "accounts", "audit?limit=200"].map((path) => ask("GET", `/v1/${path}`)),
    );
    const ends = (token) => (token.until_ms ? `in ${rough(token.until_ms - Date.now())}` : "never");
    show(
      tokens,
      table(
        ["Name", "Kind", "Scope", "Made", "Ends", ""],
        all.map((token) => [
          token.name,
          token.kind,
          token.scope,
          `${ago(token.made_ms)} by ${token.made_by}`,
          ends(token),
          remove("Revoke", at`/v1/tokens/${token.id}`),
        ]),
        "None.",
      ),
    );
    show(
      accounts,
      table(
        ["Account", "Scope", "Password set", ""],
        people.map((one) => [one.name, one.scope, ago(one.set_ms), remove("Remove", at`/v1/accounts/${one.name}`)]),
        "None: make one, so that you can log in again.",
      ),
    );
    show(
      audit,
      table(
        ["When", "Who", "From", "Did", "What", ""],
        lines.map((line) => [clock(line.at_ms), line.who, line.from, line.action, line.subject, line.detail]),
        "Nothing was changed yet.",
        "lines",
      ),
    );
  });
  show(
    main,
    h("h1", {}, "Access"),
    said,
    h("section", { class: "card" }, h("h2", {}, "Accounts"), accounts, accountForm()),
    h("section", { class: "card" }, h("h2", {}, "Tokens and sessions"), tokens, tokenForm()),
    h("section", { class: "card" }, h("h2", {}, "Who changed what"), audit),
  );
  return { read };
}
