//! `login`, `token`, `account`, `audit`: who may ask the head for what, and who changed what.

use std::path::PathBuf;

use clap::Subcommand;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use cluster::NodeName;
use cluster::view::Scope;

#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  fledermaus token create ci --scope write --days 90
  fledermaus token list
  fledermaus token revoke 01a2b3c4d5e6")]
pub(crate) enum Token {
    /// Make a token, and print its secret once
    Create {
        /// Who is to use it; the audit log has this name
        name: NodeName,
        /// What it may do; each holds those before it
        #[arg(long, value_name = "SCOPE", default_value = "read", value_parser = scope())]
        scope: Scope,
        /// After how many days it ends [default: never]
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=3_650))]
        days: Option<u32>,
    },
    /// List tokens and logged-in browsers
    List,
    /// End a token or session at once
    Revoke {
        /// Its id, as the list has it
        id: String,
    },
}

#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  fledermaus account set ada --scope write")]
pub(crate) enum Account {
    /// Make an account for the page, or set its password
    Set {
        /// Its name
        name: NodeName,
        /// What it may do; each holds those before it
        #[arg(long, value_name = "SCOPE", default_value = "read", value_parser = scope())]
        scope: Scope,
        /// Read the password from the first line of this file; `-` is standard input [default: ask]
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// List accounts
    List,
    /// Remove an account and end its sessions
    Remove {
        /// Its name
        name: NodeName,
    },
}

/// The scopes by their words, which help and refusals list.
fn scope() -> impl TypedValueParser<Value = Scope> {
    let words = [Scope::Read, Scope::Write, Scope::Admin].map(Scope::word);
    PossibleValuesParser::new(words).try_map(|word| word.parse::<Scope>())
}
