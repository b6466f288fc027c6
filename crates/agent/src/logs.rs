//! The ends of the node's logs, for an operator who wants to read them: the kernel's, and all in `/var/log`.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use cluster::report::Report;
use nix::fcntl::OFlag;

use crate::user_data;
use crate::vigil::read_end;

/// Where services write.
const FOLDER: &str = "/var/log";
/// One record of the kernel's log at each read (Documentation/ABI/testing/dev-kmsg).
const KERNEL: &str = "/dev/kmsg";
const RECORD_BYTES: usize = 8 * 1024;
/// The most of the kernel's log, and of all files together, in bytes; they fit into [`Report::LOGS_LIMIT`].
const KERNEL_BYTES: usize = 32 * 1024;
const FILES_BYTES: usize = 64 * 1024;
/// The most files, the newest names last.
const FILES_LIMIT: usize = 16;
/// What no line has that is told: dockerd notes the keys of the swarm's gossip.
const KEYS: &str = "Keys:[";

const _: () = assert!(KERNEL_BYTES + FILES_BYTES < Report::LOGS_LIMIT);

/// Reads the ends of all logs, each under a line with its name, as tail(1) prints several files.
pub(crate) fn read() -> String {
    let mut text = section(KERNEL, &kernel());
    for file in files(Path::new(FOLDER)) {
        let end =
            read_end(&file, (FILES_BYTES / FILES_LIMIT) as u64).unwrap_or_else(|error| error.to_string());
        text.push_str(&section(&file.display().to_string(), &end));
    }
    text
}

fn section(name: &str, text: &str) -> String {
    let line = |line: &str| match line {
        line if line.contains(KEYS) => "(a line with keys is left out)\n".to_owned(),
        line => format!("{line}\n"),
    };
    format!("==> {name} <==\n{}\n", text.lines().map(line).collect::<String>())
}

/// The user data's log is among them.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.is_file()).collect();
    files.sort();
    files.truncate(FILES_LIMIT - 1);
    files.extend(Some(PathBuf::from(user_data::LOG_FILE)).filter(|file| file.is_file()));
    files
}

/// The kernel's last lines, each with its seconds since the start.
fn kernel() -> String {
    let opened = File::options().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(KERNEL);
    let Ok(mut log) = opened else { return String::new() };
    let (mut lines, mut bytes) = (VecDeque::new(), 0);
    let mut record = [0; RECORD_BYTES];
    loop {
        match log.read(&mut record) {
            Ok(0) => break,
            Ok(length) => {
                let Some(line) = line(&String::from_utf8_lossy(&record[..length])) else { continue };
                bytes += line.len();
                lines.push_back(line);
            }
            // A record was overwritten before it was read: the next is the oldest that is left.
            Err(error) if error.raw_os_error() == Some(nix::errno::Errno::EPIPE as i32) => {}
            Err(_) => break,
        }
        while bytes > KERNEL_BYTES {
            bytes -= lines.pop_front().map_or(bytes, |line| line.len());
        }
    }
    Vec::from(lines).concat()
}

/// `priority,sequence,microseconds,flags;text` as dmesg(1) prints it.
fn line(record: &str) -> Option<String> {
    let (prefix, text) = record.split_once(';')?;
    let microseconds: u64 = prefix.split(',').nth(2)?.parse().ok()?;
    let text = text.lines().next()?;
    Some(format!("[{:5}.{:06}] {text}\n", microseconds / 1_000_000, microseconds % 1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_becomes_a_line_as_dmesg_prints_it() {
        let record = "6,339,5140900,-;NET: Registered protocol family 10\n SUBSYSTEM=acpi\n";
        assert_eq!(line(record).as_deref(), Some("[    5.140900] NET: Registered protocol family 10\n"));
        assert_eq!((line("6,339"), line("6;x"), line("6,1,x,-;y")), (None, None, None));
    }

    #[test]
    fn keys_are_left_out() {
        let text = section("dockerd", "one\nconfig:&{Keys:[[103 163]]\ntwo");
        assert_eq!(text, "==> dockerd <==\none\n(a line with keys is left out)\ntwo\n\n");
    }

    #[test]
    fn the_logs_of_this_machine_fit_into_a_report() {
        let text = read();
        assert!(
            text.starts_with("==> /dev/kmsg <==\n") && text.len() <= Report::LOGS_LIMIT,
            "{}",
            text.len()
        );
    }
}
