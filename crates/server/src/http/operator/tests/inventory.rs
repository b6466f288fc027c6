//! The inventory through the API: wishes, cluster.toml and back, and user data with its history.

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

#[tokio::test]
async fn a_template_that_nodes_share_is_set_if_it_breaks_no_node_and_has_a_history() {
    let api = Api::new().await;
    let token = api.token(Scope::Write).await;
    let put =
        async |name: &str, text: &str| api.with(&token, &format!("PUT /v1/user-data/{name}"), text).await;
    let part = "parts%2Fdisk.sh";
    assert_eq!(
        api.with(&token, &format!("GET /v1/user-data/{part}"), "").await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(put(part, "echo disk\n").await.status, StatusCode::OK, "nobody uses it yet");
    let whole = "#!/bin/sh\n{% include 'parts/disk.sh' %}echo {{ node.name }}\n";
    assert_eq!(put("node1", whole).await.status, StatusCode::OK);
    let preview = format!("POST /v1/nodes/node1/preview?template={part}");
    let preview = api.with(&token, &preview, "echo {{ node.role }}\n").await.body;
    assert_eq!(preview, "#!/bin/sh\necho any\necho node1\n");
    for (text, words) in [
        (
            "echo {{ node.nmae }}\n",
            "node1 would get no user data any more: line 1 of parts/disk.sh: undefined",
        ),
        ("{% if %}", "line 1 of parts/disk.sh"),
        ("a\0", "has a NUL in it"),
    ] {
        let refused = put(part, text).await;
        let is_refused = refused.status == StatusCode::BAD_REQUEST && refused.body.contains(words);
        assert!(is_refused, "{text}: {}", refused.body);
    }
    assert_eq!(put(part, "echo {{ node.role }}\n").await.status, StatusCode::OK);
    let rendered = api.with(&token, "GET /v1/nodes/node1/user-data", "").await.body;
    assert_eq!(rendered, "#!/bin/sh\necho any\necho node1\n");

    let history = api.with(&token, &format!("GET /v1/user-data/{part}/history"), "").await.json();
    let first = history[1]["version"].as_u64().expect("a number");
    assert_eq!(history.as_array().map(Vec::len), Some(2));
    let diff = api.with(&token, &format!("GET /v1/user-data/{part}/history/{first}/diff"), "").await.body;
    assert_eq!(diff, "- echo disk\n+ echo {{ node.role }}\n");
    let back = api.with(&token, &format!("POST /v1/user-data/{part}/history/{first}/restore"), "").await;
    assert_eq!(back.status, StatusCode::OK);
    assert_eq!(api.with(&token, &format!("GET /v1/user-data/{part}"), "").await.body, "echo disk\n");

    let list = api.with(&token, "GET /v1/user-data", "").await.json();
    let names: Vec<_> =
        list.as_array().expect("a list").iter().map(|one| (&one["name"], &one["own"])).collect();
    assert!(names.contains(&(&"node1.sh".into(), &true.into())), "{names:?}");
    assert!(names.contains(&(&"parts/disk.sh".into(), &false.into())), "{names:?}");

    for (name, words) in [
        ("node1.sh", "node1.sh is node1's own"),
        ("..%2Fcluster.toml", "is no file name in the user data directory"),
        ("parts%2F..%2F..%2Fx", "is no file name"),
        (".hidden", "is no file name"),
        ("%2Fetc%2Fcron.d%2Fx", "is no file name"),
        ("parts%2F", "is no file name"),
        ("parts%2F%2Fdisk.sh", "is no file name"),
        ("parts%2F.%2Fdisk.sh", "is no file name"),
    ] {
        let refused = put(name, "echo\n").await;
        assert!(refused.status.is_client_error() && refused.body.contains(words), "{name}: {}", refused.body);
        let read = api.with(&token, &format!("GET /v1/user-data/{name}"), "").await;
        assert!(read.status.is_client_error() && read.body.contains(words), "{name}: {}", read.body);
    }
    // Another node's user data includes the own file of this one.
    assert_eq!(put("node2", "{% include 'node1.sh' %}").await.status, StatusCode::OK);
    let refused = put("node1", "{% if node.name == 'node2' %}{{ node.nmae }}{% endif %}").await;
    assert!(
        refused.body.contains("node2 would get no user data any more: line 1 of node1.sh"),
        "{}",
        refused.body
    );

    let folder = api.folder().join("user-data");
    std::os::unix::fs::symlink("parts/disk.sh", folder.join("link.sh")).expect("a link");
    std::fs::write(folder.join("base"), "echo\n").expect("written");
    for (name, words) in [
        ("link.sh", "link.sh is a link: change what it leads to"),
        ("parts%2Fdisk.sh%2Fx.sh", "parts/disk.sh is no folder"),
        ("node3", "there is no node"),
    ] {
        let refused = put(name, "echo\n").await;
        assert!(refused.status.is_client_error() && refused.body.contains(words), "{name}: {}", refused.body);
        let history = api.with(&token, &format!("GET /v1/user-data/{name}/history"), "").await;
        assert!(history.body == "[]" || history.status == StatusCode::NOT_FOUND, "{name}: {}", history.body);
    }
    assert_eq!(
        put("base", "echo base\n").await.status,
        StatusCode::OK,
        "a file whose name could be a node's"
    );
    // Who is made of a link is made of what it leads to.
    assert_eq!(put("node2", "{% include 'link.sh' %}").await.status, StatusCode::OK);
    assert_eq!(put("node1", "echo\n").await.status, StatusCode::OK);
    let refused = put(part, "{{ node.nmae }}").await;
    assert!(refused.body.contains("node2 would get no user data any more"), "{}", refused.body);
}

#[tokio::test]
async fn user_data_has_a_history_and_goes_back() {
    let api = Api::new().await;
    let token = api.token(Scope::Write).await;
    for text in ["#!/bin/sh\necho one\n", "#!/bin/sh\necho two\n"] {
        assert_eq!(api.with(&token, "PUT /v1/user-data/node1", text).await.status, StatusCode::OK);
    }
    let history = async || api.with(&token, "GET /v1/user-data/node1/history", "").await.json();
    let told = history().await;
    let who: Vec<&str> =
        told.as_array().expect("versions").iter().filter_map(|one| one["who"].as_str()).collect();
    assert_eq!(who, ["write", "write", "file"], "the file that was found is the first");
    let one = told[1]["version"].as_u64().expect("a number");
    let diff = api.with(&token, &format!("GET /v1/user-data/node1/history/{one}/diff"), "").await.body;
    assert_eq!(diff, "  #!/bin/sh\n- echo one\n+ echo two\n");
    let back = api.with(&token, &format!("POST /v1/user-data/node1/history/{one}/restore"), "").await;
    assert_eq!(back.status, StatusCode::OK);
    assert_eq!(api.with(&token, "GET /v1/user-data/node1", "").await.body, "#!/bin/sh\necho one\n");
    assert_eq!(history().await.as_array().map(Vec::len), Some(4), "going back is a version too");
    for number in 0..60 {
        let text = format!("#!/bin/sh\necho {number}\n");
        assert_eq!(api.with(&token, "PUT /v1/user-data/node1", &text).await.status, StatusCode::OK);
    }
    assert_eq!(history().await.as_array().map(Vec::len), Some(50));
    let other = api.with(&token, &format!("GET /v1/user-data/node2/history/{one}"), "").await;
    assert_eq!(other.status, StatusCode::NOT_FOUND, "another node's");
    let wrong = api.with(&token, "PUT /v1/user-data/node1", "{{ node.secret }}").await;
    assert!(wrong.status == StatusCode::BAD_REQUEST && wrong.body.contains("line 1"), "{}", wrong.body);
}
