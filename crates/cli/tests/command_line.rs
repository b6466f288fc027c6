//! What the program says when it is given something wrong: a sentence, and the right exit code.

use std::process::{Command, Output};

fn fledermaus(arguments: &[&str]) -> Output {
    let nowhere = "/nonexistent";
    Command::new(env!("CARGO_BIN_EXE_fledermaus"))
        .args(arguments)
        .env("PATH", nowhere)
        .env("HOME", nowhere)
        .env_remove("XDG_CACHE_HOME")
        .env_remove("FLEDERMAUS_SOCKET")
        .env_remove("FLEDERMAUS_URL")
        .env_remove("FLEDERMAUS_TOKEN")
        .output()
        .expect("the program runs")
}

fn refused(arguments: &[&str], code: i32, sentence: &str) {
    let output = fledermaus(arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    assert!(said.contains(sentence), "{arguments:?}: {said}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
}

#[test]
fn wrong_arguments_are_bad_input() {
    refused(&["node", "show", "NODE!"], 2, "cannot name a node");
    refused(&["lab", "up", "--nodes", "0"], 2, "1..=32");
    refused(&["lab", "power", "node1", "explode"], 2, "possible values: cut, on, reset");
    refused(&["user-data", "set", "node1", "/nonexistent/file"], 2, "reading /nonexistent/file");
    refused(&["user-data", "show", "Base"], 2, "the name of a file has a dot or a slash in it");
    refused(&["stack", "deploy", "hello", "/nonexistent/file"], 2, "reading /nonexistent/file");
}

/// A script of 2 MiB was cut at half, and the half ran as root.
#[test]
fn user_data_that_is_too_long_is_refused_and_not_cut() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("long.sh");
    std::fs::write(&file, vec![b'x'; server::USER_DATA_LIMIT + 1]).expect("written");
    refused(
        &["user-data", "set", "node1", file.to_str().expect("text")],
        2,
        "long.sh is larger than 10485760 bytes",
    );
}

#[test]
fn a_head_that_does_not_run_is_named_with_its_socket() {
    refused(&["--socket", "/nonexistent/head.sock", "node", "list"], 1, "/nonexistent/head.sock");
    refused(&["--lab=nobody", "node", "list"], 1, "fledermaus-lab/nobody/head/head.sock");
}

#[test]
fn a_head_on_another_machine_is_named_whole_and_asked_with_a_token() {
    refused(&["--url", "http://head", "node", "list"], 2, "write https://host[:port]");
    refused(&["--url", "https://head", "node", "list"], 2, "add --token, or set FLEDERMAUS_TOKEN");
    refused(&["--url", "https://a", "--socket", "/b", "node", "list"], 2, "cannot be used with");
    let closed = ["--url", "https://127.0.0.1:1", "--token", "x", "node", "list"];
    refused(&closed, 1, "no head answers at https://127.0.0.1:1");
    refused(&["token", "create", "ci", "--scope", "root"], 2, "[possible values: read, write, admin]");
    refused(&["token", "revoke", "../nodes"], 2, "is no token's id");
    refused(&["account", "set", "ada"], 2, "add --password-file FILE");
    refused(
        &["account", "set", "ada", "--password-file", "/nonexistent/p"],
        2,
        "reading the password in /nonexistent/p",
    );
}

#[test]
fn a_wish_for_a_node_that_is_none_is_bad_input() {
    refused(&["node", "set", "node1", "address"], 2, "write KEY=VALUE, or KEY- to take it back");
    refused(&["node", "label", "node1", "=north"], 2, "write KEY=VALUE");
    refused(&["node", "approve", "b8:27"], 2, "is not an Ethernet address");
    refused(&["node", "rename", "node1", "Node 1"], 2, "cannot name a node");
    refused(&["node", "list", "--state", "tired"], 2, "ready, booting, failed, unseen");
}

#[test]
fn a_lab_says_what_is_missing() {
    refused(&["lab", "up"], 1, "apt-get install qemu-system-arm");
    refused(&["lab", "status", "--name", "nobody"], 1, "no lab of that name runs");
    // As everywhere else.
    refused(&["lab", "status", "--lab=nobody"], 1, "no lab of that name runs");
    refused(&["lab", "part", "node1"], 2, "<OTHER>");
}

/// The options that choose a head stood between a command's own, and no text said what `node set` takes.
#[test]
fn help_has_a_commands_own_options_first_and_names_values() {
    let help = |command: &[&str]| {
        let output = fledermaus(&[command, &["--help"]].concat());
        String::from_utf8_lossy(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let create = help(&["token", "create"]);
    let (own, which) = create.split_once("Which head:").expect("a heading");
    assert!(own.contains("--days") && !own.contains("--socket") && which.contains("--socket"), "{create}");
    assert!(own.contains("[possible values: read, write, admin]"), "{create}");
    let set = help(&["node", "set"]);
    for words in ["wipe always, on-change", "root auto, card, ram, copy", "address=10.78.0.21"] {
        assert!(set.contains(words), "{words} in: {set}");
    }
}

#[test]
fn a_lab_that_is_gone_is_down() {
    assert_eq!(fledermaus(&["lab", "down", "--name", "nobody"]).status.code(), Some(0));
}

#[test]
fn a_wrong_configuration_is_bad_input_and_makes_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = directory.path().join("cluster.toml");
    std::fs::write(&config, "colour = \"red\"\n[network]\nhttp_port = \"many\"\n").expect("written");
    let state = directory.path().join("state");
    let arguments = ["serve", "--interface", "lo", "--config", config.to_str().expect("text"), "--state-dir"];
    refused(&[&arguments[..], &[state.to_str().expect("text")]].concat(), 2, "cluster.toml:1");
    assert!(!state.exists());
}

#[test]
fn an_image_that_is_not_there_is_bad_input() {
    refused(&["image", "show", "/nonexistent"], 2, "/nonexistent holds no image");
    refused(&["image", "verify", "/nonexistent"], 2, "`fledermaus image build --out DIR` makes one");
    refused(&["image", "diff", "/nonexistent", "/nonexistent"], 2, "/nonexistent holds no image");
    refused(
        &["image", "update", "--recipe", "/nonexistent/image.toml"],
        2,
        "reading /nonexistent/image.toml",
    );
}

#[test]
fn a_card_that_cannot_be_written_is_bad_input() {
    let folder = tempfile::tempdir().expect("a directory");
    let recipe = folder.path().join("image.toml");
    std::fs::write(&recipe, "[firmware]\npackage = \"raspi-firmware\"\n").expect("written");
    let recipe = recipe.to_str().expect("text");
    let refuse = |arguments: &[&str], sentence: &str| {
        refused(&[&["card", "write", "--recipe", recipe], arguments].concat(), 2, sentence);
    };
    refuse(&[], "<--out <FILE>|--device <DEV>>");
    refuse(&["--out", "card.img", "--device", "/dev/null"], "cannot be used with");
    refuse(&["--out", "card.img", "--yes"], "cannot be used with");
    refuse(&["--out", "card.img", "--server", "head"], "invalid IPv4 address");
    refuse(&["--out", "/nonexistent/card.img"], "there is no folder /nonexistent");
    refuse(&["--out", "/dev/null"], "/dev/null is no plain file: name a new one, or a device with --device");
    refuse(&["--device", "/dev/null", "--yes"], "/dev/null is no block device: write an image into a file");
    refuse(&["--device", "/dev/nonexistent"], "there is no device /dev/nonexistent: `lsblk` lists them");
}

#[test]
fn a_card_without_firmware_is_bad_input_and_makes_nothing() {
    let folder = tempfile::tempdir().expect("a directory");
    let out = folder.path().join("card.img");
    let refuse = |recipe: &str, sentence: &str| {
        refused(&["card", "write", "--out", out.to_str().expect("text"), "--recipe", recipe], 2, sentence);
    };
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../../example/image.toml");
    refuse(example, "image.toml:1: it names no [firmware]");
    refuse("/nonexistent/image.toml", "reading /nonexistent/image.toml");
    assert!(!out.exists());
}

#[test]
fn a_damaged_image_is_named_and_fails() {
    let directory = tempfile::tempdir().expect("a directory");
    let image = directory.path().to_str().expect("text");
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let artefact = format!("{{ \"file\": \"kernel\", \"bytes\": 0, \"sha256\": \"{empty}\" }}");
    let manifest = format!(
        "{{ \"name\": \"n\", \"kernel_version\": \"6\", \"kernel\": {artefact}, \"initramfs\": {artefact}, \
         \"system\": {artefact}, \"packages\": [] }}"
    );
    let write = |file: &str, text: &str| std::fs::write(directory.path().join(file), text).expect("written");
    write("manifest.json", &manifest);
    write("kernel", "");
    write("SHA256SUMS", &format!("{empty}  kernel\n"));
    // The manifest is not in the list of digests.
    let output = fledermaus(&["image", "verify", image]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(said.trim(), "manifest.json: does not belong to the image");
    let digest = "0".repeat(64);
    write("SHA256SUMS", &format!("{empty}  kernel\n{digest}  manifest.json\n"));
    let output = fledermaus(&["image", "verify", "--json", image]);
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(said["damages"][0]["file"], "manifest.json");
    assert_eq!(output.status.code(), Some(1));
}
