//! A program of the operator's that works the power.

use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use cluster::view::{NodeView, PowerDeed};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::{LIMIT, OUTPUT_BYTES, last_line};

/// Has the program do it, without a shell: `HOOK on|off|cycle NAME MAC ADDRESS`, the address being `-` if the node has none.
/// The node's labels are in its environment, `FLEDERMAUS_LABEL_PORT` for `port`.
///
/// # Errors
/// It cannot be started, does not end in 20 s, or ends with another code than 0; with its last line.
pub(super) async fn work(hook: &Path, deed: PowerDeed, node: &NodeView) -> anyhow::Result<()> {
    work_within(hook, deed, node, LIMIT).await
}

async fn work_within(hook: &Path, deed: PowerDeed, node: &NodeView, limit: Duration) -> anyhow::Result<()> {
    let address = node.address.map_or("-".to_owned(), |address| address.to_string());
    let mut command = Command::new(hook);
    command
        .args([deed.word(), node.name.as_str(), &node.mac.to_string(), &address])
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| (OsString::from("PATH"), path)))
        .envs(node.labels.iter().map(|(key, value)| (variable(key), value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // With all that it starts it can be killed.
        .process_group(0);
    let mut child = command.spawn().with_context(|| format!("starting the power hook {}", hook.display()))?;
    let group = child.id().and_then(|id| i32::try_from(id).ok()).map(|id| Group(Pid::from_raw(id)));
    let ended = timeout(limit, end(&mut child)).await;
    drop(group);
    let Ok(ended) = ended else {
        bail!("the power hook {} did not end within {} s", hook.display(), limit.as_secs());
    };
    let (success, last) = ended.context("waiting for the power hook")?;
    ensure!(success, "the power hook {} failed: {last}", hook.display());
    Ok(())
}

/// The program and all that it started. They end with this, also if nobody waits for them any more.
struct Group(Pid);

impl Drop for Group {
    fn drop(&mut self) {
        // What it left behind holds its output open, and would go on when the next deed is done.
        let _ = killpg(self.0, Signal::SIGKILL);
    }
}

/// Whether it ended well, and its last line.
async fn end(child: &mut Child) -> std::io::Result<(bool, String)> {
    let (mut told, mut complaints) = (Vec::new(), Vec::new());
    let (output, errors) = (child.stdout.take(), child.stderr.take());
    let read = async {
        if let Some(output) = output {
            output.take(OUTPUT_BYTES).read_to_end(&mut told).await?;
        }
        std::io::Result::Ok(())
    };
    let hear = async {
        if let Some(errors) = errors {
            errors.take(OUTPUT_BYTES).read_to_end(&mut complaints).await?;
        }
        std::io::Result::Ok(())
    };
    tokio::try_join!(read, hear)?;
    let status = child.wait().await?;
    told.extend(complaints);
    Ok((status.success(), last_line(&told)))
}

/// A label's key as the name of an environment variable; keys have small letters, digits, dashes, dots and underscores.
fn variable(key: &str) -> String {
    let letter =
        |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_uppercase() } else { '_' };
    format!("FLEDERMAUS_LABEL_{}", key.chars().map(letter).collect::<String>())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::time::Instant;

    use super::super::node;
    use super::*;

    fn hook(folder: &Path, text: &str) -> std::path::PathBuf {
        let file = folder.join("power");
        fs::write(&file, format!("#!/bin/sh\n{text}\n")).expect("written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("set");
        file
    }

    #[tokio::test]
    async fn a_hook_is_told_what_to_do_with_whom_and_no_shell_reads_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let out = folder.path().join("out");
        let text = format!("echo \"$* $FLEDERMAUS_LABEL_POE_PORT ${{HOME-none}}\" > {}", out.display());
        work(&hook(folder.path(), &text), PowerDeed::Cycle, &node()).await.expect("done");
        let told = fs::read_to_string(out).expect("written");
        assert_eq!(told, "cycle node1 02:00:00:00:00:01 - ge 7; rm -rf / none\n");
    }

    #[tokio::test]
    async fn how_a_hook_fails_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let failing = hook(folder.path(), "echo trying; echo no such port >&2; echo >&2; exit 3");
        let error = work(&failing, PowerDeed::Off, &node()).await.expect_err("it failed").to_string();
        assert!(error.ends_with("power failed: no such port"), "{error}");
        let none = work(&folder.path().join("none"), PowerDeed::Off, &node()).await.expect_err("none");
        assert!(none.to_string().starts_with("starting the power hook"), "{none:#}");
    }

    #[tokio::test]
    async fn a_hook_that_hangs_is_killed_with_what_it_started() {
        let folder = tempfile::tempdir().expect("a folder");
        let hanging = hook(folder.path(), "sleep 600 & echo $! > $(dirname $0)/child; wait");
        let began = Instant::now();
        let error = work_within(&hanging, PowerDeed::On, &node(), Duration::from_secs(1)).await;
        assert!(error.expect_err("too long").to_string().contains("did not end within 1 s"));
        assert!(began.elapsed() < Duration::from_secs(20));
        until_dead(folder.path()).await;
    }

    /// Whoever waited was gone before the time was over: nobody killed the hook.
    #[tokio::test]
    async fn a_hook_dies_with_whoever_waits_for_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let hanging = hook(folder.path(), "sleep 600 & echo $! > $(dirname $0)/child; wait");
        let limit = Duration::from_secs(600);
        let waiting = tokio::spawn(async move { work_within(&hanging, PowerDeed::On, &node(), limit).await });
        until("the child is told", || child(folder.path()).ends_with('\n')).await;
        waiting.abort();
        waiting.await.expect_err("it was ended");
        until_dead(folder.path()).await;
    }

    fn child(folder: &Path) -> String {
        fs::read_to_string(folder.join("child")).unwrap_or_default()
    }

    /// It needs a moment to die, and whoever takes in orphans another to bury it.
    async fn until_dead(folder: &Path) {
        let child = child(folder);
        assert!(!child.is_empty());
        let stat = || fs::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
        until("the child is dead", || stat().is_empty() || stat().contains(") Z ")).await;
    }

    async fn until(what: &str, is_so: impl Fn() -> bool) {
        let began = Instant::now();
        while !is_so() {
            assert!(began.elapsed() < Duration::from_secs(20), "not so: {what}");
            tokio::task::yield_now().await;
        }
    }
}
