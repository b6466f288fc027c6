//! The `[boot]` table: what is added to the nodes' command line, and what machines fetch that are no Raspberry Pis.

use std::path::PathBuf;

use cluster::configuration::{Named, Reader, Table};
use cluster::plan::WipePolicy;
use cluster::plan::{COMMAND_LINE_LIMIT, RootPlace};

/// The longest part of a command line that is the head's own, in bytes: the longest name and addresses.
const OWN_PARAMETERS_BYTES: usize = 720;
/// The keys that name files, and for whom.
const FILE_KEYS: [&str; 4] = ["bios", "uefi_x64", "uefi_arm64", "ipxe"];

/// The table as it was read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Boot {
    pub(crate) kernel_parameters: String,
    /// What holds for a node that says nothing else.
    pub(crate) wipe: WipePolicy,
    pub(crate) root: RootPlace,
    pub(crate) programs: Programs,
}

/// What machines are told that are no Raspberry Pis. It is read when the head starts, and not again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Programs {
    /// The operator's directory of files.
    pub(crate) files: Option<PathBuf>,
    pub(crate) bios: Option<String>,
    pub(crate) uefi_x64: Option<String>,
    pub(crate) uefi_arm64: Option<String>,
    pub(crate) ipxe: Option<String>,
}

/// Reads the table.
pub(super) fn read<'a>(reader: &mut Reader<'a>, top: &Table<'a>) -> Boot {
    let mut keys = vec!["kernel_parameters", "wipe", "root", "files"];
    keys.extend(FILE_KEYS);
    let table = reader.table(top, "boot", &keys);
    let directory = reader.text(&table, "files");
    let files = directory.as_ref().map(|named| reader.folder().join(&named.name));
    if let (Some(directory), Some(Named { line, .. })) = (&files, &directory)
        && !directory.is_dir()
    {
        reader.mistake(*line, format!("`files`: there is no directory {}: make it", directory.display()));
    }
    let [bios, uefi_x64, uefi_arm64, ipxe] = FILE_KEYS.map(|key| {
        let Named { name, line } = reader.text(&table, key)?;
        let there = files.as_ref().is_some_and(|directory| directory.join(&name).is_file());
        // What a name may hold: it is part of a TFTP request and of a URL.
        let is_name =
            !name.is_empty() && name.len() <= 100 && !name.starts_with('.') && name.bytes().all(is_plain);
        match (&files, is_name, there) {
            (None, ..) => {
                reader.mistake(line, format!("`{key}` names a file of the directory `files`: name that too"));
            }
            (_, false, _) => reader.mistake(
                line,
                format!("`{key}`: `{name}` is no file name: use letters, digits and -_. without directories"),
            ),
            (Some(directory), _, false) => {
                reader.mistake(line, format!("`{key}`: there is no {}", directory.join(&name).display()));
            }
            _ => {}
        }
        Some(name)
    });
    let kernel_parameters = kernel_parameters(reader, &table);
    let wipe = reader.parsed(&table, "wipe").unwrap_or_default();
    let root = reader.parsed(&table, "root").unwrap_or_default();
    let programs = Programs { files, bios, uefi_x64, uefi_arm64, ipxe };
    Boot { kernel_parameters, wipe, root, programs }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)
}

fn kernel_parameters<'a>(reader: &mut Reader<'a>, boot: &Table<'a>) -> String {
    let Some(Named { name, line }) = reader.text(boot, "kernel_parameters") else { return String::new() };
    let parameters = name.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    if let Some(odd) = name.chars().find(|&letter| !matches!(letter, ' '..='~') || "$\\'".contains(letter)) {
        reader.mistake(
            line,
            format!("`kernel_parameters` holds {odd:?}, which U-Boot does not pass on: leave it out"),
        );
    }
    let limit = COMMAND_LINE_LIMIT - OWN_PARAMETERS_BYTES;
    if parameters.len() > limit {
        let length = parameters.len();
        reader
            .mistake(line, format!("`kernel_parameters` has {length} bytes; U-Boot leaves room for {limit}"));
    }
    parameters
}
