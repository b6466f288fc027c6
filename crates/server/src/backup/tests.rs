//! A head that is gone and made anew from its backup; backups that are none.
#![allow(clippy::unwrap_used)]
use super::*;
use crate::config::Place;
use crate::store::tests::{Home as StateHome, with_both};
use crate::store::{Store, Write as Change};
use cluster::Mac;
use netboot::dhcp::Lease;

const LEASE: Lease = Lease {
    mac: Mac([0xb8, 0x27, 0xeb, 0, 0, 1]),
    address: std::net::Ipv4Addr::new(10, 0, 0, 5),
    until_ms: 77,
};

fn home(folder: &Path) -> Home {
    Home { config: folder.join("etc/cluster.toml"), state_dir: folder.join("state") }
}

/// A head's things, and the store that it has open.
async fn head(folder: &Path, place: &Place) -> (Home, Store) {
    let home = home(folder);
    fs::create_dir_all(folder.join("etc/scripts/more")).unwrap();
    fs::create_dir_all(&home.state_dir).unwrap();
    let table = match place {
        Place::File => String::new(),
        Place::Database { url, password_file } => {
            let password_file = password_file.as_ref().unwrap().display();
            format!("[store]\nurl = '{url}'\npassword_file = '{password_file}'\n")
        }
    };
    fs::write(&home.config, format!("[user_data]\ndir = \"scripts\"\n{table}")).unwrap();
    fs::write(folder.join("etc/scripts/default.sh"), "echo hello").unwrap();
    fs::write(folder.join("etc/scripts/more/a.sh"), "echo more").unwrap();
    fs::write(home.state_dir.join(KEY), "secret").unwrap();
    let mut store = Store::open(&home.state_dir, place).await.unwrap();
    store.write(&[Change::Lease(LEASE)]).await.unwrap();
    (home, store)
}

fn mode(file: &Path) -> u32 {
    fs::metadata(file).unwrap().permissions().mode() & 0o777
}

with_both! {
    a_head_is_as_it_was_after_its_backup_was_restored_elsewhere
}

async fn a_head_is_as_it_was_after_its_backup_was_restored_elsewhere(state: StateHome) {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (served, store) = head(old.path(), &state.place).await;
    let file = old.path().join("backup");
    let taken = take(&served, &file).await.unwrap();
    assert_eq!((taken.user_data_files, mode(&file)), (2, 0o600));
    drop(store);
    // Without a head, and in the place of an older one, too.
    assert_eq!(take(&served, &file).await.unwrap().nodes, taken.nodes);

    let home = home(new.path());
    if let Some(server) = &state.server {
        let refused = restore(&home, &file).await.unwrap_err().to_string();
        assert!(refused.contains("holds a head's state already"), "{refused}");
        assert!(!home.config.exists(), "nothing is in its place");
        server.sql("postgres", "DROP SCHEMA public CASCADE; CREATE SCHEMA public");
    }
    assert_eq!(restore(&home, &file).await.unwrap().user_data_files, 2);
    assert_eq!(fs::read_to_string(new.path().join("etc/scripts/more/a.sh")).unwrap(), "echo more");
    assert_eq!(fs::read_to_string(home.state_dir.join(KEY)).unwrap(), "secret");
    assert_eq!((mode(&home.state_dir), mode(&home.state_dir.join(KEY))), (0o700, 0o600));
    assert_eq!(fs::read_dir(new.path().join("etc")).unwrap().count(), 2, "no drafts are left");
    let memory = Store::open(&home.state_dir, &state.place).await.unwrap().load().await.unwrap();
    assert_eq!(memory.leases, [LEASE]);

    let again = restore(&home, &file).await.unwrap_err().to_string();
    let words = if state.server.is_some() {
        "holds a head's state already"
    } else {
        "scripts is there already: move it away first"
    };
    assert!(again.contains(words), "{again}");
}

/// All files came back with mode 0600 and root's, and the package's own user data was in the way: the head could not start.
#[tokio::test]
async fn a_head_with_a_user_of_its_own_can_read_what_was_restored() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (served, _store) = head(old.path(), &Place::File).await;
    let set = |file: &Path, mode| fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
    set(&served.config, 0o664);
    set(&old.path().join("etc/scripts/default.sh"), 0o640);
    set(&old.path().join("etc/scripts/more/a.sh"), 0o755);
    let file = old.path().join("backup");
    take(&served, &file).await.unwrap();

    let home = home(new.path());
    let scripts = new.path().join("etc/scripts");
    fs::create_dir_all(&scripts).unwrap();
    fs::write(scripts.join(BROUGHT.0), "changed").unwrap();
    let refused = restore(&home, &file).await.unwrap_err().to_string();
    assert!(refused.contains("scripts is there already"), "{refused}");
    fs::write(scripts.join(BROUGHT.0), BROUGHT.1).unwrap();
    fs::remove_dir_all(&home.state_dir).unwrap();
    let nobody = 65_534;
    let is_root = nix::unistd::geteuid().is_root();
    if is_root {
        hand_over(&scripts, nobody, nobody).unwrap();
    }
    restore(&home, &file).await.unwrap();
    assert_eq!(fs::read_to_string(scripts.join("default.sh")).unwrap(), "echo hello");
    assert_eq!((mode(&scripts.join("default.sh")), mode(&scripts.join("more/a.sh"))), (0o640, 0o755));
    assert_eq!((mode(&scripts), mode(&home.config)), (0o750, 0o644));
    assert_eq!(mode(&home.state_dir.join(store::FILE)), 0o600);
    let owner = |file: &Path| fs::metadata(file).map(|about| (about.uid(), about.gid())).unwrap();
    let own = owner(new.path());
    if is_root {
        for file in [&scripts, &scripts.join("more/a.sh"), &home.state_dir, &home.state_dir.join(store::FILE)]
        {
            assert_eq!(owner(file), (nobody, nobody), "{}", file.display());
        }
        assert_eq!(owner(&home.config), (own.0, nobody), "who runs the head reads it, and does not write it");
    }
}

#[tokio::test]
async fn nothing_is_put_in_place_of_a_backup_that_is_cut_or_none() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (served, _store) = head(old.path(), &Place::File).await;
    let file = old.path().join("backup");
    take(&served, &file).await.unwrap();
    let whole = fs::read(&file).unwrap();
    let home = home(new.path());
    for bytes in [&whole[..whole.len() / 2], b"", b"not an archive", &whole[..whole.len() - 1]] {
        fs::write(&file, bytes).unwrap();
        let error = format!("{:#}", restore(&home, &file).await.unwrap_err());
        assert!(error.contains("is no backup, or is damaged"), "{error}");
        assert!(!home.config.exists() && !home.state_dir.join(store::FILE).exists());
    }
}

#[tokio::test]
async fn an_archive_writes_nowhere_else() {
    for (name, kind) in [
        ("state/../../x", EntryType::Regular),
        ("state/head.sock", EntryType::Regular),
        ("elsewhere", EntryType::Regular),
        ("config/user-data/link", EntryType::Symlink),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut header = Header::new_gnu();
        // As somebody with bad intentions writes it: the library refuses such names itself.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_size(0);
        header.set_cksum();
        let mut archive = Builder::new(zstd::Encoder::new(Vec::new(), 1).unwrap());
        archive.append(&header, std::io::empty()).unwrap();
        let file = folder.path().join("backup");
        fs::write(&file, archive.into_inner().unwrap().finish().unwrap()).unwrap();
        let error = format!("{:#}", restore(&home(folder.path()), &file).await.unwrap_err());
        assert!(error.contains("does not belong in it"), "{name}: {error}");
        assert_eq!(fs::read_dir(folder.path().join("state")).unwrap().count(), 0);
    }
}
