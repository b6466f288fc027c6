//! Stacks, by Docker's own command line tool: only it turns a compose file into services, and knows what belongs to them.
//!
//! A stack's configs and secrets lie beside its compose file while it is deployed, in memory and where only root looks.

use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cluster::stack::{FileKind, StackFile};
use serde_json::{Map, Value, json};

use crate::docker::Docker;
use crate::outbox::clip;
use crate::user_data::wait;

/// How long a stack may take to be taken over by the managers.
const LIMIT: Duration = Duration::from_secs(180);
/// The longest reason of a failed stack, in bytes.
const REASON_LIMIT: usize = 1_000;
/// Where its files lie meanwhile. `/run` is memory: what lay there is gone with the power.
const FOLDER: &str = "/run/fledermaus/stack";
/// The compose file, and beside it one that says where the configs and secrets are and how they are called in the swarm.
const COMPOSE: &str = "compose.yml";
const OVERLAY: &str = "overlay.json";

/// What is deployed.
pub(crate) struct Stack<'a> {
    pub(crate) name: &'a str,
    pub(crate) compose: &'a str,
    pub(crate) version: Option<&'a str>,
    pub(crate) files: &'a [StackFile],
}

/// Deploys a stack, replacing the one of that name.
///
/// # Errors
/// What Docker says.
pub(crate) fn deploy(docker: &Docker, stack: &Stack) -> Result<()> {
    check(stack.name)?;
    let folder = Folder::lay_out(Path::new(FOLDER), stack).context("laying out the stack's files")?;
    let mut arguments = vec!["deploy", "--detach=true", "--resolve-image=never", "-c", COMPOSE];
    if !stack.files.is_empty() {
        arguments.extend(["-c", OVERLAY]);
    }
    let deployed = run(stack.name, &arguments, &folder.0);
    drop(folder);
    deployed?;
    remove_old(docker, stack);
    Ok(())
}

/// Removes a stack.
///
/// # Errors
/// What Docker says.
pub(crate) fn remove(name: &str) -> Result<()> {
    check(name)?;
    run(name, &["rm"], Path::new("/"))
}

/// It becomes an argument and a part of a path.
fn check(name: &str) -> Result<()> {
    let valid = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    ensure!(valid && !name.is_empty() && !name.starts_with('-'), "`{}` cannot name a stack", clip(name, 64));
    Ok(())
}

/// A folder that is gone when this is.
struct Folder(PathBuf);

impl Folder {
    fn lay_out(path: &Path, stack: &Stack) -> io::Result<Self> {
        // An agent that was killed may have left one.
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        DirBuilder::new().mode(0o700).create(path)?;
        let folder = Self(path.to_owned());
        fs::write(path.join(COMPOSE), stack.compose)?;
        fs::write(path.join(OVERLAY), overlay(stack).to_string())?;
        for (number, file) in stack.files.iter().enumerate() {
            fs::write(path.join(number.to_string()), &file.content.0)?;
        }
        Ok(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("fledermaus-agent: removing {}: {error}", self.0.display());
        }
    }
}

/// What Docker merges into the compose file: JSON is YAML too. Its files are named by number: nothing of a path that somebody
/// else wrote is used here.
fn overlay(stack: &Stack) -> Value {
    let mut whole = Map::new();
    if let Some(version) = stack.version {
        whole.insert("version".to_owned(), version.into());
    }
    for (number, file) in stack.files.iter().enumerate() {
        let section = whole.entry(file.kind.section()).or_insert_with(|| json!({}));
        section[&file.key] = json!({"file": format!("./{number}")});
        if let Some(name) = &file.name {
            section[&file.key]["name"] = name.as_str().into();
        }
    }
    whole.into()
}

fn run(name: &str, arguments: &[&str], folder: &Path) -> Result<()> {
    let mut child = Command::new("docker")
        .arg("stack")
        .args(arguments)
        .arg(name)
        .env("HOME", "/root")
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .context("starting docker")?;
    let mut errors = child.stderr.take().context("a child without errors")?;
    let reader = thread::spawn(move || {
        let mut text = Vec::new();
        let _ = errors.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    });
    let verb = arguments.first().copied().unwrap_or_default();
    let status = wait(child, LIMIT)?.with_context(|| format!("docker stack {verb} did not end in time"))?;
    let said = reader.join().unwrap_or_default();
    ensure!(status.success(), "docker stack {verb} {name} failed: {}", clip(said.trim(), REASON_LIMIT));
    Ok(())
}

/// Removes the stack's configs and secrets of earlier contents. Those that a task still has stay until the next time.
fn remove_old(docker: &Docker, stack: &Stack) {
    for kind in [FileKind::Config, FileKind::Secret] {
        if let Err(error) = remove_old_of(docker, stack, kind) {
            eprintln!("fledermaus-agent: the old {} of {} stay: {error:#}", kind.section(), stack.name);
        }
    }
}

fn remove_old_of(docker: &Docker, stack: &Stack, kind: FileKind) -> Result<()> {
    let (section, name) = (kind.section(), stack.name);
    // {"label":["com.docker.stack.namespace=NAME"]}
    let filter = format!("%7B%22label%22%3A%5B%22com.docker.stack.namespace%3D{name}%22%5D%7D");
    let all = docker.get(&format!("/{section}?filters={filter}"))?;
    for object in all.as_array().into_iter().flatten() {
        let (Some(id), Some(called)) = (object["ID"].as_str(), object["Spec"]["Name"].as_str()) else {
            continue;
        };
        let is_new = |file: &StackFile| file.kind == kind && file.name.as_deref() == Some(called);
        let is_id = id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if is_id
            && !stack.files.iter().any(is_new)
            && let Err(error) = docker.delete(&format!("/{section}/{id}"))
        {
            eprintln!("fledermaus-agent: the {kind} {called} stays for now: {error}");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
