//! `fledermaus-init`: PID 1 of a node, from the kernel to the running system, phase by phase.
//!
//! One program under three names: init, `modprobe` (the kernel calls it for modules it misses) and a
//! helper that runs one program of the system image inside that image.
//! Static, threads instead of an async runtime; it never starts a shell.

mod boot;
mod card;
mod console;
mod data;
mod hardware;
mod head;
mod memory;
mod modules;
mod network;
mod root;
mod sys;
mod system;
mod timeline;

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    let name = words.first().map_or("init", |path| path.rsplit('/').next().unwrap_or(path));
    match (name, words.get(1..).unwrap_or_default()) {
        ("modprobe", words) => modprobe(words),
        (data::INSIDE, [folder, program, words @ ..]) => inside(folder, program, words),
        _ if std::process::id() == 1 => boot::run(),
        _ => {
            console::say(
                "fledermaus-init: this is a node's PID 1; started otherwise it only knows `modprobe`",
            );
            ExitCode::from(2)
        }
    }
}

/// `modprobe [-q] [-a] [--] NAME [PARAMETER…]`.
fn modprobe(words: &[String]) -> ExitCode {
    let (flags, names): (Vec<&str>, Vec<&str>) =
        words.iter().map(String::as_str).partition(|word| word.starts_with('-'));
    let quiet = flags.iter().any(|flag| flag.starts_with("-q") || *flag == "--quiet");
    let all = flags.iter().any(|flag| *flag == "-a" || *flag == "--all");
    let result = modules::Modules::of_running_kernel().and_then(|mut modules| match names.split_first() {
        None => Ok(()),
        Some(_) if all => names.iter().try_for_each(|name| modules.load(name, "")),
        Some((name, parameters)) => modules.load(name, &parameters.join(" ")),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !quiet {
                console::say(&format!("modprobe: {error:#}"));
            }
            ExitCode::FAILURE
        }
    }
}

/// Runs a program with `folder` as its root. Returns only if that fails.
fn inside(folder: &str, program: &str, words: &[String]) -> ExitCode {
    let entered = std::os::unix::fs::chroot(folder).and_then(|()| std::env::set_current_dir("/"));
    let error = match entered {
        Ok(()) => Command::new(program).args(words).exec(),
        Err(error) => error,
    };
    console::say(&format!("fledermaus-init: starting {program} inside {folder}: {error}"));
    ExitCode::FAILURE
}
