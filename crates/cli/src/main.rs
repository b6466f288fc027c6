//! `fledermaus`: flags in, one library call, a table or JSON out.
//!
//! Reads flags and environment, runs, prints the error, returns the exit code; decides nothing about a cluster.

use std::process::ExitCode;

use clap::Parser;

use crate::arguments::{Arguments, Command};
use crate::exit::Exit;
use crate::surroundings::Surroundings;

mod arguments;
mod surroundings;

mod backup;
mod doctor;
mod serve;

mod access;
mod head;
mod inventory;
mod node;
mod stack;
mod storm;
mod swarm;
mod user_data;

mod card;
mod compose;
mod demo;
mod image;
mod laboratory;
mod manual;

mod editor;
mod exit;
mod input;
mod progress;
mod rollout;
mod steps;
mod table;
mod timeline;
mod torture;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match &arguments.command {
        // PID 1 of a machine has no surroundings before it has made them.
        Command::Lab(arguments::Lab::Machine) => lab::machine::run(),
        _ => Surroundings::read().and_then(|surroundings| run(&arguments, &surroundings)),
    };
    match result {
        Err(error) if !exit::is_broken_pipe(&error) => {
            eprintln!("fledermaus: {error:#}");
            Exit::from(&error).into()
        }
        _ => Exit::Done.into(),
    }
}

fn run(arguments: &Arguments, surroundings: &Surroundings) -> anyhow::Result<()> {
    let json = arguments.json;
    let head = || head::choose(&arguments.head, surroundings);
    match &arguments.command {
        Command::Serve(serving) => serve::run(serving, surroundings, json),
        Command::Doctor(serve) => doctor::run(serve, surroundings, json),
        Command::Backup(backup) => backup::take(backup, json),
        Command::Restore(restore) => backup::restore(restore, json),
        Command::Image(image) => image::run(image, head, surroundings, json),
        Command::Card(card) => card::run(card, surroundings, json),
        Command::Node(node) => node::run(node, &head()?, json),
        Command::UserData(user_data) => user_data::run(user_data, &head()?, surroundings, json),
        Command::Apply(apply) => inventory::apply(apply, &head()?, json),
        Command::Export(export) => inventory::export(export, &head()?, json),
        Command::Rollout(rollout) => rollout::run(rollout, &head()?, json),
        Command::Swarm(swarm) => swarm::run(swarm, &head()?, json),
        Command::Stack(stack) => stack::run(stack, &head()?, json),
        Command::Login => access::login(&head()?, json),
        Command::Token(token) => access::token(token, &head()?, json),
        Command::Account(account) => access::account(account, &head()?, json),
        Command::Audit(audit) => access::audit(audit, &head()?, json),
        Command::Completions { shell } => manual::completions(*shell),
        Command::Man { out } => manual::pages(out),
        Command::Lab(lab) => laboratory::run(lab, arguments.head.lab.as_ref(), surroundings, json),
    }
}
