//! Who may ask the head for what: scopes, tokens, accounts, and the log of what they changed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What somebody may do; each scope holds those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Look at nodes, swarm and leases. User data is not among it: it holds secrets.
    #[default]
    Read,
    /// Change nodes, user data and stacks, and see user data.
    Write,
    /// Make tokens and accounts, and read the audit log.
    Admin,
}

impl Scope {
    /// The word on the command line and in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// The text names no scope.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("no scope: write read, write or admin")]
pub struct InvalidScope;

impl FromStr for Scope {
    type Err = InvalidScope;
    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        [Self::Read, Self::Write, Self::Admin]
            .into_iter()
            .find(|scope| scope.word() == text)
            .ok_or(InvalidScope)
    }
}

/// A token that is wished for, as `POST /v1/tokens` takes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TokenWish {
    /// Who is to use it: it names the doer in the audit log. Written as a node's name is.
    pub name: crate::NodeName,
    /// What it may do.
    #[serde(default)]
    pub scope: Scope,
    /// For how many days, 1 to 3,650; without an end if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days: Option<u32>,
}

/// A token that was made. Its secret is told here and never again.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NewToken {
    /// What is listed of it.
    pub token: TokenView,
    /// What its user sends as `Authorization: Bearer …`.
    pub secret: String,
}

impl fmt::Debug for NewToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NewToken({:?})", self.token)
    }
}

/// A token or a session of the page, as `GET /v1/tokens` lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TokenView {
    /// By which it is revoked.
    pub id: String,
    /// Who uses it.
    pub name: String,
    /// What it may do.
    pub scope: Scope,
    /// What it is.
    pub kind: TokenKind,
    /// Who made it.
    pub made_by: String,
    /// When it was made, milliseconds since 1970.
    pub made_ms: u64,
    /// When it ends, milliseconds since 1970; absent: never.
    pub until_ms: Option<u64>,
}

/// What a secret is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum TokenKind {
    /// For programs.
    Token,
    /// A browser that logged in.
    Session,
    /// For one login.
    Login,
}

/// A login, as `POST /v1/login` takes it: either `once`, or `name` and `password`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct LoginWish {
    /// The one-time login that the head printed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub once: Option<String>,
    /// The account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

/// A one-time login that was made.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NewLogin {
    /// The address that logs in, once; absent if the head has no operator door.
    pub url: Option<String>,
    /// SHA-256 of the door's certificate, in hex.
    pub fingerprint: Option<String>,
    /// When it ends, milliseconds since 1970.
    pub until_ms: u64,
}

/// Who is asking, as `GET /v1/me` tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Me {
    /// The name in the audit log.
    pub name: String,
    /// What it may do.
    pub scope: Scope,
}

/// An account with a password, as `PUT /v1/accounts/{name}` takes it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AccountWish {
    /// What its sessions may do.
    #[serde(default)]
    pub scope: Scope,
    /// The password, 10 to 200 bytes.
    pub password: String,
}

/// An account, as `GET /v1/accounts` lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AccountView {
    /// Its name.
    pub name: String,
    /// What its sessions may do.
    pub scope: Scope,
    /// When its password was set, milliseconds since 1970.
    pub set_ms: u64,
}

/// One change that somebody made, as `GET /v1/audit` lists it, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AuditLine {
    /// Its number, rising.
    pub id: u64,
    /// When, milliseconds since 1970.
    pub at_ms: u64,
    /// Who: an account's or token's name, or the user on the head's own socket.
    pub who: String,
    /// From where: an address, or `socket`.
    pub from: String,
    /// What was done, such as `reboot`.
    pub action: String,
    /// To what, such as a node's name.
    pub subject: String,
    /// More, for people; no secrets.
    pub detail: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_holds_those_before_it_and_is_read_by_its_word() {
        assert!(Scope::Read < Scope::Write && Scope::Write < Scope::Admin);
        assert_eq!("write".parse(), Ok(Scope::Write));
        assert_eq!("root".parse::<Scope>(), Err(InvalidScope));
    }

    #[test]
    fn a_new_token_s_secret_does_not_reach_a_log() {
        let token = TokenView {
            id: "1".to_owned(),
            name: "ci".to_owned(),
            scope: Scope::Read,
            kind: TokenKind::Token,
            made_by: "root".to_owned(),
            made_ms: 0,
            until_ms: None,
        };
        assert!(!format!("{:?}", NewToken { token, secret: "verysecret".to_owned() }).contains("verysecret"));
    }
}
