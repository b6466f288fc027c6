//! `fledermaus login|token|account|audit`: who may ask the head for what, and who changed what.

use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::path::Path;

use anyhow::Context;
use cluster::view::{
    AccountView, AccountWish, AuditLine, NewLogin, NewToken, TokenKind, TokenView, TokenWish,
};
use comfy_table::Table;
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
use server::client::Client;

use crate::arguments::{Account, Lines, Token};
use crate::exit::BadInput;
use crate::table;

/// The longest line that is read as a password, in bytes; the head has its own, smaller limit.
const PASSWORD_LIMIT: u64 = 4_096;

/// Prints an address that logs a browser in, once.
///
/// # Errors
/// What the head says; it has no door.
pub(crate) fn login(head: &Client, json: bool) -> anyhow::Result<()> {
    let made: NewLogin = head.ask("/v1/logins", &())?;
    if json {
        return table::json(&made);
    }
    let no_door =
        "the head has no door for browsers: set `listen` in [operator] of cluster.toml and start it again";
    let url = made.url.context(no_door)?;
    table::print(&format_args!("{url}"))?;
    let fingerprint = made.fingerprint.unwrap_or_default();
    eprintln!("works once, for an hour; the certificate's SHA-256 is {fingerprint}");
    Ok(())
}

/// Makes, lists or revokes tokens.
///
/// # Errors
/// What the head says.
pub(crate) fn token(command: &Token, head: &Client, json: bool) -> anyhow::Result<()> {
    match command {
        Token::Create { name, scope, days } => {
            let wish = TokenWish { name: name.clone(), scope: *scope, days: *days };
            let made: NewToken = head.ask("/v1/tokens", &wish)?;
            if json {
                return table::json(&made);
            }
            table::print(&made.secret)?;
            let (id, scope) = (&made.token.id, made.token.scope);
            eprintln!("it is not shown again; scope {scope}, `fledermaus token revoke {id}` ends it");
            Ok(())
        }
        Token::List => {
            let tokens: Vec<TokenView> = head.get("/v1/tokens")?;
            if json { table::json(&tokens) } else { table::print(&tokens_table(&tokens)) }
        }
        Token::Revoke { id } => {
            if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                return Err(
                    BadInput(format!("{id:?} is no token's id: `fledermaus token list` shows them")).into()
                );
            }
            head.delete(&format!("/v1/tokens/{id}"))?;
            table::done(json, "token revoke", id, &format_args!("{id} opens nothing any more"))
        }
    }
}

/// Makes, lists or removes accounts.
///
/// # Errors
/// What the head says, or the password cannot be read.
pub(crate) fn account(command: &Account, head: &Client, json: bool) -> anyhow::Result<()> {
    match command {
        Account::Set { name, scope, password_file } => {
            let password = match password_file {
                Some(file) => password_of(file)?,
                None => ask_password(name.as_str())?,
            };
            let wish = serde_json::to_string(&AccountWish { scope: *scope, password })?;
            head.put(&format!("/v1/accounts/{name}"), &wish)?;
            table::done(json, "account set", name, &format_args!("{name} may {scope}"))
        }
        Account::List => {
            let accounts: Vec<AccountView> = head.get("/v1/accounts")?;
            if json {
                return table::json(&accounts);
            }
            let mut table = table::table(&["ACCOUNT", "SCOPE", "PASSWORD SET"]);
            for account in accounts {
                table.add_row([account.name, account.scope.to_string(), table::ago(account.set_ms)]);
            }
            table::print(&table)
        }
        Account::Remove { name } => {
            head.delete(&format!("/v1/accounts/{name}"))?;
            table::done(json, "account remove", name, &format_args!("{name} is removed"))
        }
    }
}

/// Shows who changed what.
///
/// # Errors
/// What the head says.
pub(crate) fn audit(wish: &Lines, head: &Client, json: bool) -> anyhow::Result<()> {
    let lines: Vec<AuditLine> = head.get(&format!("/v1/audit?{}", wish.query()))?;
    if json {
        return table::json(&lines);
    }
    let mut table = table::table(&["NUMBER", "WHEN", "WHO", "FROM", "ACTION", "WHAT", ""]);
    for line in lines {
        let (number, when) = (line.id.to_string(), table::ago(line.at_ms));
        table.add_row([number, when, line.who, line.from, line.action, line.subject, line.detail]);
    }
    table::print(&table)
}

fn tokens_table(tokens: &[TokenView]) -> Table {
    let mut table = table::table(&["ID", "NAME", "SCOPE", "KIND", "MADE", "BY", "ENDS"]);
    for token in tokens {
        let kind = match token.kind {
            TokenKind::Token => "token",
            TokenKind::Session => "session",
            TokenKind::Login => "one-time login",
        };
        let ends = token.until_ms.map_or("never".to_owned(), table::until);
        let (made, scope) = (table::ago(token.made_ms), token.scope.to_string());
        table.add_row([&token.id, &token.name, &scope, kind, &made, &token.made_by, &ends]);
    }
    table
}

fn password_of(file: &Path) -> anyhow::Result<String> {
    if file == Path::new("-") {
        return first_line(std::io::stdin());
    }
    let opened = std::fs::File::open(file)
        .map_err(|error| BadInput(format!("reading the password in {}: {error}", file.display())))?;
    first_line(opened)
}

fn first_line(from: impl Read) -> anyhow::Result<String> {
    let mut line = String::new();
    BufReader::new(from.take(PASSWORD_LIMIT)).read_line(&mut line).context("reading the password")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// Asks for a password that the terminal does not show.
fn ask_password(name: &str) -> anyhow::Result<String> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(BadInput(
            "there is no terminal to ask for a password: add --password-file FILE".to_owned(),
        )
        .into());
    }
    eprint!("password of {name}: ");
    let shown = tcgetattr(&stdin).context("asking the terminal")?;
    let mut hidden = shown.clone();
    hidden.local_flags.remove(LocalFlags::ECHO);
    tcsetattr(&stdin, SetArg::TCSANOW, &hidden).context("hiding the password")?;
    let line = first_line(&stdin);
    tcsetattr(&stdin, SetArg::TCSANOW, &shown).context("showing what is typed again")?;
    eprintln!();
    line
}
