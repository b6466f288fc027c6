//! Who may ask the head for what: its tokens, sessions and accounts, and the log of what they changed.
//!
//! ```text
//!   one-time login ──used──┐
//!                          ├──► session (a cookie, 12 h) ──┐
//!   account, password ─────┘                               ├──► principal with a scope ──► change + audit line
//!   token (a header, revoked or ended by its day) ─────────┘
//! ```

use std::collections::BTreeMap;
use std::net::IpAddr;

use cluster::view::{AccountView, AuditLine, NewToken, Scope, TokenKind, TokenView, TokenWish};

use super::state::State;
use crate::access::{self, Account, Credential, Principal, Secret};
use crate::store::{Memory, Write};

/// How long a browser stays logged in, in milliseconds.
pub(crate) const SESSION_MS: u64 = 12 * 60 * 60 * 1_000;
/// How long a one-time login can be used, in milliseconds.
const LOGIN_MS: u64 = 60 * 60 * 1_000;
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
/// The longest life of a token, in days.
const DAYS_LIMIT: u32 = 3_650;
/// The most tokens, sessions and one-time logins together.
const CREDENTIALS_LIMIT: usize = 1_000;
/// The most accounts.
const ACCOUNTS_LIMIT: usize = 100;
/// How many logins may fail from one address within [`FAILURES_MS`], and from all.
const FAILURES_LIMIT: u32 = 5;
const ALL_FAILURES_LIMIT: u32 = 60;
/// How long failures are remembered, in milliseconds.
const FAILURES_MS: u64 = 60 * 1_000;
/// The longest detail of an audit line, in letters.
const DETAIL_LIMIT: usize = 200;
/// Whom a one-time login makes.
const FIRST_NAME: &str = "admin";

/// What the state knows of it.
#[derive(Debug, Default)]
pub(super) struct Keys {
    credentials: BTreeMap<String, Credential>,
    accounts: BTreeMap<String, Account>,
    /// The number of the newest audit line.
    audited: u64,
    failures: BTreeMap<IpAddr, u32>,
    failures_since_ms: u64,
}

impl Keys {
    /// What was remembered.
    pub(super) fn restore(memory: &mut Memory) -> Self {
        let credentials = std::mem::take(&mut memory.credentials).into_iter();
        let accounts = std::mem::take(&mut memory.accounts).into_iter();
        Self {
            credentials: credentials.map(|credential| (credential.view.id.clone(), credential)).collect(),
            accounts: accounts.map(|account| (account.name.clone(), account)).collect(),
            audited: memory.audited,
            ..Self::default()
        }
    }
}

/// Why somebody does not get what he wished for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There is no such thing.
    NotThere(String),
    /// The wish is wrong.
    Wrong(String),
    /// It cannot be done now.
    Conflict(String),
}

impl Refusal {
    /// Why.
    pub(crate) fn sentence(&self) -> &str {
        match self {
            Self::NotThere(sentence) | Self::Wrong(sentence) | Self::Conflict(sentence) => sentence,
        }
    }
}

impl State {
    /// Notes a change in the audit log, with the change itself.
    pub(super) fn audit(&mut self, who: &Principal, action: &str, subject: &str, detail: &str) {
        self.keys.audited += 1;
        let cut =
            |text: &str| text.chars().filter(|letter| !letter.is_control()).take(DETAIL_LIMIT).collect();
        let line = AuditLine {
            id: self.keys.audited,
            at_ms: self.now_ms,
            who: who.name.clone(),
            from: who.place(),
            action: action.to_owned(),
            subject: cut(subject),
            detail: cut(detail),
        };
        tracing::info!(who = %line.who, from = %line.from, "{} {} {}", line.action, line.subject, line.detail);
        self.writes.push(Write::Audit(Box::new(line)));
    }

    /// Who a secret belongs to, if it is a token's or a session's.
    pub(super) fn principal(&self, secret: &str, kind: TokenKind, address: IpAddr) -> Option<Principal> {
        let hash = access::hash(secret);
        let found = self.keys.credentials.values().find(|credential| credential.hash == hash)?;
        found.is_valid(kind, self.now_ms).then(|| Principal {
            name: found.view.name.clone(),
            scope: found.view.scope,
            address: Some(address),
            credential: Some(found.view.id.clone()),
        })
    }

    /// Makes a token for a program.
    pub(super) fn make_token(&mut self, who: &Principal, wish: &TokenWish) -> Result<NewToken, Refusal> {
        if wish.days.is_some_and(|days| !(1..=DAYS_LIMIT).contains(&days)) {
            return Err(Refusal::Wrong(format!("a token lives for 1 to {DAYS_LIMIT} days")));
        }
        let until_ms = wish.days.map(|days| self.now_ms + u64::from(days) * DAY_MS);
        let (credential, secret) =
            self.make_credential((wish.name.as_str(), wish.scope), TokenKind::Token, &who.name, until_ms)?;
        let detail = format!("{} for {}", wish.scope, wish.name);
        self.audit(who, "token-create", &credential.id, &detail);
        Ok(NewToken { token: credential, secret: secret.expose().to_owned() })
    }

    fn make_credential(
        &mut self,
        (name, scope): (&str, Scope),
        kind: TokenKind,
        made_by: &str,
        until_ms: Option<u64>,
    ) -> Result<(TokenView, Secret), Refusal> {
        self.forget_ended();
        if self.keys.credentials.len() >= CREDENTIALS_LIMIT {
            let text = format!("there are {CREDENTIALS_LIMIT} tokens and sessions: revoke some");
            return Err(Refusal::Conflict(text));
        }
        let random = || Refusal::Conflict("the system has no random bytes".to_owned());
        let secret = Secret::new().ok_or_else(random)?;
        let view = TokenView {
            id: access::random_id().ok_or_else(random)?,
            name: name.to_owned(),
            scope,
            kind,
            made_by: made_by.to_owned(),
            made_ms: self.now_ms,
            until_ms,
        };
        let credential = Credential { view: view.clone(), hash: secret.hash() };
        self.writes.push(Write::Credential(Box::new(credential.clone())));
        self.keys.credentials.insert(view.id.clone(), credential);
        Ok((view, secret))
    }

    fn forget_ended(&mut self) {
        let now_ms = self.now_ms;
        let ended = |credential: &&Credential| !credential.is_valid(credential.view.kind, now_ms);
        let ended: Vec<String> = self
            .keys
            .credentials
            .values()
            .filter(ended)
            .map(|credential| credential.view.id.clone())
            .collect();
        for id in ended {
            self.forget_credential(&id);
        }
    }

    fn forget_credential(&mut self, id: &str) -> Option<Credential> {
        let forgotten = self.keys.credentials.remove(id)?;
        self.writes.push(Write::NoCredential(id.to_owned()));
        Some(forgotten)
    }

    /// Makes a one-time login; an earlier one that nobody used ends.
    pub(super) fn make_login(&mut self, who: &Principal) -> Result<(Secret, u64), Refusal> {
        let logins =
            self.keys.credentials.values().filter(|credential| credential.view.kind == TokenKind::Login);
        for id in logins.map(|credential| credential.view.id.clone()).collect::<Vec<_>>() {
            self.forget_credential(&id);
        }
        let until_ms = self.now_ms + LOGIN_MS;
        let admin = (FIRST_NAME, Scope::Admin);
        let (_, secret) = self.make_credential(admin, TokenKind::Login, &who.name, Some(until_ms))?;
        self.audit(who, "login-create", FIRST_NAME, "a one-time login");
        Ok((secret, until_ms))
    }

    /// Whether nobody ever logged in or was given a token.
    pub(super) fn is_unclaimed(&self) -> bool {
        let used = |credential: &Credential| credential.view.kind != TokenKind::Login;
        self.keys.accounts.is_empty() && !self.keys.credentials.values().any(used)
    }

    /// Whether an address may try to log in; it counts as failed until [`State::logged_in`].
    pub(super) fn may_log_in(&mut self, address: IpAddr) -> bool {
        if self.now_ms >= self.keys.failures_since_ms + FAILURES_MS {
            self.keys.failures_since_ms = self.now_ms;
            self.keys.failures.clear();
        }
        let all: u32 = self.keys.failures.values().sum();
        let own = self.keys.failures.get(&address).copied().unwrap_or(0);
        let may = own < FAILURES_LIMIT && all < ALL_FAILURES_LIMIT;
        if may {
            *self.keys.failures.entry(address).or_default() += 1;
        }
        may
    }

    /// Uses a one-time login: a session, and its secret.
    pub(super) fn log_in_once(&mut self, login: &str, address: IpAddr) -> Option<(TokenView, Secret)> {
        let who = self.principal(login, TokenKind::Login, address)?;
        self.forget_credential(&who.credential.clone()?)?;
        self.logged_in(&who)
    }

    /// A password was right: a session, and its secret. `None` if the account is not there any more.
    pub(super) fn log_in_with_password(
        &mut self,
        name: &str,
        address: IpAddr,
    ) -> Option<(TokenView, Secret)> {
        let account = self.keys.accounts.get(name)?;
        let (name, scope) = (account.name.clone(), account.scope);
        self.logged_in(&Principal { name, scope, address: Some(address), credential: None })
    }

    fn logged_in(&mut self, who: &Principal) -> Option<(TokenView, Secret)> {
        if let Some(failures) = who.address.and_then(|address| self.keys.failures.get_mut(&address)) {
            *failures = failures.saturating_sub(1);
        }
        let until_ms = self.now_ms + SESSION_MS;
        let session = self
            .make_credential((&who.name, who.scope), TokenKind::Session, &who.name, Some(until_ms))
            .ok()?;
        self.audit(who, "login", &who.name, "");
        Some(session)
    }

    /// Ends a token or session.
    pub(super) fn revoke(&mut self, who: &Principal, id: &str) -> Result<(), Refusal> {
        let gone = self.forget_credential(id).ok_or_else(|| {
            Refusal::NotThere(format!("there is no token {id:?}: `fledermaus token list` shows all"))
        })?;
        self.audit(who, "token-revoke", id, &format!("{} for {}", gone.view.scope, gone.view.name));
        Ok(())
    }

    /// Tokens, sessions and one-time logins that can be used, oldest first.
    pub(super) fn tokens(&self) -> Vec<TokenView> {
        let valid = |credential: &&Credential| credential.is_valid(credential.view.kind, self.now_ms);
        let mut tokens: Vec<TokenView> =
            self.keys.credentials.values().filter(valid).map(|credential| credential.view.clone()).collect();
        tokens.sort_by_key(|token| token.made_ms);
        tokens
    }

    /// What is kept of an account's password.
    pub(super) fn password_of(&self, name: &str) -> Option<String> {
        self.keys.accounts.get(name).map(|account| account.password.clone())
    }

    /// Makes or changes an account; its sessions end, except the one that does it.
    pub(super) fn set_account(&mut self, who: &Principal, account: Account) -> Result<(), Refusal> {
        let is_new = !self.keys.accounts.contains_key(&account.name);
        if is_new && self.keys.accounts.len() >= ACCOUNTS_LIMIT {
            return Err(Refusal::Conflict(format!("there are {ACCOUNTS_LIMIT} accounts: remove some")));
        }
        self.end_sessions(&account.name, who.credential.as_deref());
        self.audit(who, "account-set", &account.name, account.scope.word());
        self.writes.push(Write::Account(account.clone()));
        self.keys.accounts.insert(account.name.clone(), account);
        Ok(())
    }

    /// Removes an account and ends its sessions.
    pub(super) fn remove_account(&mut self, who: &Principal, name: &str) -> Result<(), Refusal> {
        if self.keys.accounts.remove(name).is_none() {
            return Err(Refusal::NotThere(format!("there is no account {name:?}")));
        }
        self.writes.push(Write::NoAccount(name.to_owned()));
        self.end_sessions(name, None);
        self.audit(who, "account-remove", name, "");
        Ok(())
    }

    fn end_sessions(&mut self, name: &str, except: Option<&str>) {
        let theirs = |view: &TokenView| view.kind == TokenKind::Session && view.name == name;
        let ids = self.keys.credentials.values().map(|credential| &credential.view);
        let ids: Vec<String> = ids
            .filter(|view| theirs(view) && Some(view.id.as_str()) != except)
            .map(|view| view.id.clone())
            .collect();
        for id in ids {
            self.forget_credential(&id);
        }
    }

    /// All accounts.
    pub(super) fn accounts(&self) -> Vec<AccountView> {
        let view = |account: &Account| AccountView {
            name: account.name.clone(),
            scope: account.scope,
            set_ms: account.set_ms,
        };
        self.keys.accounts.values().map(view).collect()
    }
}

#[cfg(test)]
#[path = "access/tests.rs"]
mod tests;
