//! What lies where while a stack is deployed, and what is removed after, by a Docker that the test plays.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt;

use cluster::stack::Content;

use super::*;
use crate::orders::tests::FakeDocker;

fn file(kind: FileKind, key: &str, name: &str, content: &str) -> StackFile {
    StackFile {
        kind,
        key: key.to_owned(),
        name: Some(name.to_owned()),
        content: Content(content.as_bytes().to_vec()),
    }
}

#[test]
fn files_lie_where_only_root_looks_and_are_gone_after() {
    let files = [
        file(FileKind::Config, "page", "web_page-1", "hello"),
        file(FileKind::Secret, "page", "web_page-2", "hush"),
    ];
    let stack = Stack { name: "web", compose: "services: {}", version: Some("3.8"), files: &files };
    let base = tempfile::tempdir().unwrap();
    let path = base.path().join("stack");
    // Left by an agent that was killed.
    fs::create_dir(&path).unwrap();
    fs::write(path.join("old"), "secret").unwrap();
    let folder = Folder::lay_out(&path, &stack).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(!path.join("old").exists());
    assert_eq!(fs::read_to_string(path.join(COMPOSE)).unwrap(), "services: {}");
    let overlay: Value = serde_json::from_slice(&fs::read(path.join(OVERLAY)).unwrap()).unwrap();
    assert_eq!(
        overlay,
        json!({
            "version": "3.8",
            "configs": {"page": {"name": "web_page-1", "file": "./0"}},
            "secrets": {"page": {"name": "web_page-2", "file": "./1"}},
        })
    );
    assert_eq!(fs::read_to_string(path.join("1")).unwrap(), "hush");
    drop(folder);
    assert!(!path.exists());
}

#[test]
fn what_earlier_contents_left_is_removed_unless_a_task_has_it() {
    const CONFIGS: &str =
        r#"[{"ID":"a1","Spec":{"Name":"web_page-old"}},{"ID":"a2","Spec":{"Name":"web_page-new"}}]"#;
    const SECRETS: &str =
        r#"[{"ID":"b1","Spec":{"Name":"web_page-new"}},{"ID":"../x","Spec":{"Name":"odd"}}]"#;
    let docker = FakeDocker::new(&[
        (
            "GET /v1.45/configs?filters=%7B%22label%22%3A%5B%22com.docker.stack.namespace%3Dweb%22",
            "",
            200,
            CONFIGS,
        ),
        ("GET /v1.45/secrets?filters=", "", 200, SECRETS),
        ("DELETE /v1.45/configs/a1", "", 204, ""),
        (
            "DELETE /v1.45/secrets/b1",
            "",
            400,
            r#"{"message":"secret 'x' is in use by the following service"}"#,
        ),
    ]);
    let files = [file(FileKind::Config, "page", "web_page-new", "hello")];
    remove_old(&docker.hands().docker, &Stack { name: "web", compose: "", version: None, files: &files });
    let heard = docker.heard();
    assert_eq!(heard.len(), 4, "{heard:?}");
}

#[test]
fn a_name_that_is_none_reaches_nobody() {
    for name in ["", "-x", "a/b", "a b"] {
        assert!(remove(name).is_err(), "{name}");
    }
}
