//! A head's backup: state, configuration and user data in one archive (tar in zstd), taken while the head serves. It is the same
//! whether the state is in a file or in a database; an empty database takes it from the file when the head starts.
//!
//! The image is not in it: whoever has its recipe builds it again, bit by bit. Nor is what else the configuration names: power
//! hook, certificate, boot programs. Whoever reads a backup has the swarm.

use std::fs::{self, DirBuilder, File};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use tar::{Archive, Builder, EntryType, Header};
use tempfile::{NamedTempFile, TempDir};

use crate::client::SOCKET;
use crate::config::{self, Settings};
use crate::disk::{self, folder_of};
use crate::http::operator::{CERTIFICATE, KEY};
use crate::store;

/// The folders of the archive.
const STATE: &str = "state";
const CONFIG: &str = "config";
const USER_DATA: &str = "user-data";
/// The name that the configuration has in the archive, whatever it is called outside.
const CONFIG_FILE: &str = "cluster.toml";
/// zstd's level: the state is mostly text, and more effort brings little.
const LEVEL: i32 = 9;
/// The most files of user data, and the largest archive that is unpacked, in bytes.
const FILES_LIMIT: usize = 100_000;
const BYTES_LIMIT: u64 = 16 << 30;

/// The user data that the package brings, its file and its text: a restored head's goes into its place if nobody touched it.
const BROUGHT: (&str, &[u8]) = ("default.sh", include_bytes!("../../../example/user-data/default.sh"));

/// Where a head has what is its own.
#[derive(Clone, Debug)]
pub struct Home {
    /// Its configuration.
    pub config: PathBuf,
    /// Its state directory.
    pub state_dir: PathBuf,
}

/// What is in a backup.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Contents {
    /// Nodes that the head knew.
    pub nodes: u64,
    /// Files of user data.
    pub user_data_files: u64,
    /// Size of the archive in bytes.
    pub bytes: u64,
}

/// Writes a backup of the head at `home` to `out`, readable by its owner only. A file that is there is replaced once the new
/// one is whole and on disk.
///
/// # Errors
/// State or configuration cannot be read, or the archive cannot be written.
pub async fn take(home: &Home, out: &Path) -> Result<Contents> {
    let folder = folder_of(out);
    // Both have mode 0600 from their first moment on.
    let snapshot =
        NamedTempFile::new_in(folder).with_context(|| format!("writing to {}", folder.display()))?;
    let draft = NamedTempFile::new_in(folder).with_context(|| format!("writing to {}", folder.display()))?;
    let settings = settings(&home.config)?;
    let nodes = store::snapshot(&home.state_dir, &settings.store, snapshot.path()).await?;
    let writing = || format!("writing {}", out.display());
    let mut archive = Builder::new(zstd::Encoder::new(draft.as_file(), LEVEL).with_context(writing)?);
    add(&mut archive, snapshot.path(), &Path::new(STATE).join(store::FILE))?;
    for name in [CERTIFICATE, KEY] {
        let file = home.state_dir.join(name);
        if file.exists() {
            add(&mut archive, &file, &Path::new(STATE).join(name))?;
        }
    }
    add(&mut archive, &home.config, &Path::new(CONFIG).join(CONFIG_FILE))?;
    let library = &settings.user_data.directory;
    let user_data_files = add_folder(&mut archive, library, &Path::new(CONFIG).join(USER_DATA))?;
    archive.into_inner().and_then(zstd::Encoder::finish).with_context(writing)?;
    let bytes = draft.as_file().metadata().with_context(writing)?.len();
    disk::replace(out, draft).with_context(writing)?;
    Ok(Contents { nodes, user_data_files, bytes })
}

/// Puts a backup in the place of a head that is not there. Nothing is overwritten but the user data that the package brings,
/// and nothing is in its place before all of the backup was read and found to be sound.
///
/// # Errors
/// A head runs there or something of one is there already; the archive is no backup, damaged, or of a newer version.
pub async fn restore(home: &Home, backup: &Path) -> Result<Contents> {
    let Home { config, state_dir } = home;
    ensure!(
        std::os::unix::net::UnixStream::connect(state_dir.join(SOCKET)).is_err(),
        "a head runs with the state in {}: stop it first",
        state_dir.display()
    );
    let reading = || format!("reading {}", backup.display());
    let bytes = fs::metadata(backup).with_context(reading)?.len();
    let is_new = !state_dir.exists();
    DirBuilder::new().recursive(true).mode(0o700).create(state_dir).context("making the state directory")?;
    fs::create_dir_all(folder_of(config)).context("making the configuration's directory")?;
    // On the same file systems as what they become: a rename is all that is left to do.
    let state_draft = TempDir::new_in(state_dir).context("writing the state")?;
    let config_draft = TempDir::new_in(folder_of(config)).context("writing the configuration")?;
    let archive = zstd::Decoder::new(File::open(backup).with_context(reading)?).with_context(reading)?;
    let user_data_files = unpack(archive.take(BYTES_LIMIT), state_draft.path(), config_draft.path())
        .with_context(|| format!("{} is no backup, or is damaged", backup.display()))?;
    let nodes = store::check(state_draft.path()).await?;
    let draft = config_draft.path().join(CONFIG_FILE);
    let text = fs::read_to_string(&draft).context("reading the backup's configuration")?;
    let settings = config::parse(config, &text)?;
    store::check_vacancy(&settings.store).await?;

    let library = settings.user_data.directory;
    let state =
        [store::FILE, CERTIFICATE, KEY].map(|name| (state_draft.path().join(name), state_dir.join(name)));
    let user_data = (config_draft.path().join(USER_DATA), library.clone());
    let moves = [user_data, (draft, config.clone())].into_iter().chain(state);
    let moves: Vec<_> = moves.filter(|(from, _)| from.exists()).collect();
    let in_the_way = |to: &Path| to.exists() && !(to == library && is_as_brought(to));
    if let Some((_, there)) = moves.iter().find(|(_, to)| in_the_way(to)) {
        bail!("{} is there already: move it away first", there.display());
    }
    // The head has a user of its own, who restores is root: the package has made its user data the head's.
    let head = fs::metadata(if library.exists() { &library } else { state_dir })?;
    for (from, to) in moves {
        if to == *config {
            // Whoever may change it still may, and the head can read it.
            let owner = fs::metadata(folder_of(&to))?.uid();
            hand_over(&from, owner, head.gid())?;
            let mode = fs::metadata(&from)?.permissions().mode();
            fs::set_permissions(&from, fs::Permissions::from_mode(mode | 0o040))?;
        } else {
            hand_over(&from, head.uid(), head.gid())?;
        }
        if to == library && to.exists() {
            // All that may be in it; a folder that is empty is replaced by a rename.
            let _ = fs::remove_file(to.join(BROUGHT.0));
        }
        fs::rename(&from, &to).with_context(|| format!("writing {}", to.display()))?;
        disk::keep_names(folder_of(&to))?;
    }
    if is_new {
        hand_over(state_dir, head.uid(), head.gid())?;
    }
    Ok(Contents { nodes, user_data_files, bytes })
}

fn settings(file: &Path) -> Result<Settings> {
    let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    Ok(config::parse(file, &text)?)
}

fn add(archive: &mut Builder<impl Write>, file: &Path, name: &Path) -> Result<()> {
    let reading = || format!("reading {}", file.display());
    let mut opened = File::open(file).with_context(reading)?;
    let told = opened.metadata().with_context(reading)?;
    let mut header = Header::new_gnu();
    header.set_size(told.len());
    // As it was: the head may be another user than the file's. The state is the head's alone, and nobody comes to write the rest.
    let kept = if name.starts_with(STATE) { 0o700 } else { 0o755 };
    header.set_mode(0o600 | told.permissions().mode() & kept);
    header.set_mtime(u64::try_from(told.mtime()).unwrap_or_default());
    archive.append_data(&mut header, name, &mut opened).with_context(reading)
}

/// Adds the files of a folder and of those within it; links and devices are no user data. How many there were.
fn add_folder(archive: &mut Builder<impl Write>, folder: &Path, name: &Path) -> Result<u64> {
    if !folder.exists() {
        return Ok(0);
    }
    let reading = || format!("reading {}", folder.display());
    let mut count = 0;
    for entry in fs::read_dir(folder).with_context(reading)? {
        let entry = entry.with_context(reading)?;
        let (path, name) = (entry.path(), name.join(entry.file_name()));
        let kind = entry.file_type().with_context(reading)?;
        if kind.is_dir() {
            count += add_folder(archive, &path, &name)?;
        } else if kind.is_file() {
            add(archive, &path, &name)?;
            count += 1;
        }
    }
    Ok(count)
}

/// Unpacks what a backup has, and refuses what none has. How many files of user data there were.
fn unpack(archive: impl Read, state: &Path, config: &Path) -> Result<u64> {
    let mut count = 0;
    for entry in Archive::new(archive).entries()?.take(FILES_LIMIT) {
        let mut entry = entry?;
        let name = entry.path()?.into_owned();
        let plain = name.components().all(|part| matches!(part, Component::Normal(_)));
        ensure!(
            plain && entry.header().entry_type() == EntryType::Regular,
            "{} does not belong in it",
            name.display()
        );
        let target = match (name.strip_prefix(STATE), name.strip_prefix(CONFIG)) {
            (Ok(rest), _) if [store::FILE, CERTIFICATE, KEY].iter().any(|known| rest == Path::new(known)) => {
                state.join(rest)
            }
            (_, Ok(rest)) if rest == Path::new(CONFIG_FILE) => config.join(rest),
            (_, Ok(rest)) if rest.starts_with(USER_DATA) => {
                count += 1;
                config.join(rest)
            }
            _ => bail!("{} does not belong in it", name.display()),
        };
        DirBuilder::new().recursive(true).mode(0o750).create(folder_of(&target))?;
        let mut file = File::create_new(&target)?;
        std::io::copy(&mut entry, &mut file)?;
        file.set_permissions(fs::Permissions::from_mode(entry.header().mode()? & 0o777))?;
        file.sync_all()?;
    }
    ensure!(
        state.join(store::FILE).exists() && config.join(CONFIG_FILE).exists(),
        "it lacks state or configuration"
    );
    Ok(count)
}

/// Whether nothing is in the folder of user data but what the package put there.
fn is_as_brought(folder: &Path) -> bool {
    let Ok(mut entries) = fs::read_dir(folder) else { return false };
    entries.all(|entry| {
        let is_brought = |entry: &fs::DirEntry| entry.file_name() == BROUGHT.0;
        entry.is_ok_and(|entry| {
            is_brought(&entry) && fs::read(entry.path()).is_ok_and(|text| text == BROUGHT.1)
        })
    })
}

/// Gives a file, or a folder and all that is in it, to a user and a group.
fn hand_over(path: &Path, user: u32, group: u32) -> Result<()> {
    std::os::unix::fs::chown(path, Some(user), Some(group))
        .with_context(|| format!("giving {} to user {user} and group {group}", path.display()))?;
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            hand_over(&entry?.path(), user, group)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
