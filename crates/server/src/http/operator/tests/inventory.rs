//! The inventory through the API: wishes, and cluster.toml and back.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use super::*;
use crate::artefacts::Image;

#[tokio::test]
async fn a_wish_is_told_audited_exported_and_taken_back_by_the_file() {
    let api = Api::new().await;
    let token = api.token(Scope::Write).await;
    let wish = json!({ "set": { "label.rack": "north", "role": "worker" } }).to_string();
    let changed = api.with(&token, "PATCH /v1/nodes/node1", &wish).await;
    assert_eq!(changed.json()[1], json!({ "node": "node1", "key": "role", "from": null, "to": "worker" }));
    let found = api.with(&token, "GET /v1/node-list?q=rack%3Dnorth", "").await.json();
    assert_eq!((&found["total"], &found["nodes"][0]["name"]), (&json!(1), &json!("node1")));
    let exported = api.with(&token, "GET /v1/export", "").await.body;
    assert!(exported.contains("role = \"worker\"\nlabels = { \"rack\" = \"north\" }\n"), "{exported}");
    assert!(exported.starts_with("[network]\ninterface = \"lo\"\n"), "{exported}");
    let dry = api.with(&token, "POST /v1/apply?dry_run=true", "").await.json();
    assert_eq!(dry["changes"].as_array().map(Vec::len), Some(2), "{dry}");
    assert_eq!(dry["restart"], json!([]));
    assert_eq!(api.with(&token, "POST /v1/apply", "").await.json(), dry);
    let clean = api.with(&token, "POST /v1/apply?dry_run=true", "").await.json();
    assert_eq!(clean["changes"], json!([]));
    let admin = api.token(Scope::Admin).await;
    let lines = api.with(&admin, "GET /v1/audit?limit=4", "").await.json();
    let actions: Vec<&str> =
        lines.as_array().expect("lines").iter().filter_map(|line| line["action"].as_str()).collect();
    assert_eq!(actions, ["token-create", "apply", "node-set", "node-set"]);
    std::fs::write(&api.desk.options.config, "[network]\nadress = 3\n[[node]]\nname = \"A\"\n")
        .expect("written");
    let wrong = api.with(&token, "POST /v1/apply", "").await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
    assert!(wrong.body.contains("cluster.toml:2: `adress` is no key here"), "{}", wrong.body);
}

/// Whoever asks for power may leave: what works it goes on to its end, for a node in the middle of a cycle is off.
#[tokio::test]
async fn a_power_hook_goes_on_when_nobody_waits_for_it() {
    let api = Api::new().await;
    let token = api.token(Scope::Write).await;
    let place = |name: &str| api.folder().join(name);
    nix::unistd::mkfifo(&place("go"), nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    let text = "#!/bin/sh\ncd \"$(dirname \"$0\")\"\necho off > off\nread line < go\necho on > on\n";
    std::fs::write(place("power.sh"), text).expect("written");
    std::fs::set_permissions(place("power.sh"), std::fs::Permissions::from_mode(0o755)).expect("set");
    let config = std::fs::read_to_string(place("cluster.toml")).expect("read");
    std::fs::write(place("cluster.toml"), format!("{config}[power]\nhook = \"power.sh\"\n"))
        .expect("written");
    assert_eq!(api.with(&token, "POST /v1/apply", "").await.status, StatusCode::OK);
    tokio::select! {
        answer = api.with(&token, "POST /v1/nodes/node1/power/cycle", "") => panic!("ended: {}", answer.body),
        () = until("it is off", || place("off").exists()) => {}
    }
    // Opened for both, so that nobody waits for a hook that is no more.
    let mut go = std::fs::OpenOptions::new().read(true).write(true).open(place("go")).expect("a pipe");
    go.write_all(b"go\n").expect("written");
    until("it is on", || place("on").exists()).await;
}

/// Who gave up left a fetch behind, and the next one wrote into the same files.
#[tokio::test]
async fn images_are_opened_by_one_at_a_time_also_if_nobody_waits_any_more() {
    let api = Api::new().await;
    let token = api.token(Scope::Write).await;
    let manifest = api.folder().join("image").join(cluster::manifest::MANIFEST_FILE);
    let text = std::fs::read_to_string(&manifest).expect("read");
    std::fs::remove_file(&manifest).expect("removed");
    nix::unistd::mkfifo(&manifest, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    let is_busy = || api.desk.opening.available_permits() == 0;
    tokio::select! {
        answer = api.with(&token, "POST /v1/apply", "") => panic!("ended: {}", answer.body),
        () = until("the images are opened", is_busy) => {}
    }
    // Opens once somebody reads; whoever comes next finds a file.
    let mut pipe = std::fs::OpenOptions::new().write(true).open(&manifest).expect("a pipe");
    assert!(is_busy(), "it goes on");
    std::fs::remove_file(&manifest).expect("removed");
    std::fs::write(&manifest, &text).expect("written");
    pipe.write_all(text.as_bytes()).expect("written");
    drop(pipe);
    assert_eq!(api.with(&token, "POST /v1/apply", "").await.status, StatusCode::OK);
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(20), "not so: {what}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_image_that_was_made_anew_is_served_once_it_is_applied() {
    let api = Api::new().await;
    let token = api.token(Scope::Write).await;
    let served = async || api.with(&token, "GET /v1/images", "").await.json();
    let first = served().await;
    assert_eq!((&first[0]["name"], &first[0]["recipe"]), (&json!("default"), &json!("first")));
    let folder = api.desk.options.state_dir.join("image");
    Image::write(&folder, "second");
    let dry = api.with(&token, "POST /v1/apply?dry_run=true", "").await.json();
    assert_eq!(dry["changes"][0]["key"], json!("image default"), "{dry}");
    assert_eq!(served().await, first, "it was only asked");
    assert_eq!(api.with(&token, "POST /v1/apply", "").await.json(), dry);
    let now = served().await;
    assert_eq!(
        (&now[0]["recipe"], &now[1]),
        (&json!("second"), &{
            let mut replaced = first[0].clone();
            replaced["name"] = json!(null);
            replaced
        })
    );
    assert_eq!(api.desk.head.images().of(None).recipe, "second", "HTTP has it too");
    std::fs::write(folder.join("kernel"), "damaged").expect("written");
    let damaged = api.with(&token, "POST /v1/apply", "").await;
    assert_eq!(damaged.status, StatusCode::BAD_REQUEST);
    assert!(damaged.body.contains("is not what the image's manifest says"), "{}", damaged.body);
    assert_eq!(served().await, now);
}
