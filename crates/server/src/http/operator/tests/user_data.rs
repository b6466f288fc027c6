//! User data through the API: a node's own and what nodes share, checked, previewed, and with a history.

use super::*;

/// The API with a token that may write.
struct Editor {
    api: Api,
    token: String,
}

impl Editor {
    async fn new() -> Self {
        let api = Api::new().await;
        let token = api.token(Scope::Write).await;
        Self { api, token }
    }

    async fn ask(&self, request: &str) -> Answer {
        self.api.with(&self.token, request, "").await
    }

    async fn put(&self, name: &str, text: &str) -> Answer {
        self.api.with(&self.token, &format!("PUT /v1/user-data/{name}"), text).await
    }

    async fn set(&self, name: &str, text: &str) {
        let answer = self.put(name, text).await;
        assert_eq!(answer.status, StatusCode::OK, "{name}: {}", answer.body);
    }

    async fn is_refused(&self, name: &str, text: &str, words: &str) {
        let answer = self.put(name, text).await;
        assert!(answer.status.is_client_error(), "{name}: {text}");
        assert!(answer.body.contains(words), "{name}: {text}: {}", answer.body);
    }
}

const PART: &str = "parts%2Fdisk.sh";

#[tokio::test]
async fn a_template_that_nodes_share_is_set_if_it_breaks_no_node() {
    let editor = Editor::new().await;
    assert_eq!(editor.ask(&format!("GET /v1/user-data/{PART}")).await.status, StatusCode::NOT_FOUND);
    editor.set(PART, "echo disk\n").await;
    editor.set("node1", "#!/bin/sh\n{% include 'parts/disk.sh' %}echo {{ node.name }}\n").await;
    let preview = format!("POST /v1/nodes/node1/preview?template={PART}");
    let preview = editor.api.with(&editor.token, &preview, "echo {{ node.role }}\n").await.body;
    assert_eq!(preview, "#!/bin/sh\necho any\necho node1\n");
    for (text, words) in [
        (
            "echo {{ node.nmae }}\n",
            "node1 would get no user data any more: line 1 of parts/disk.sh: undefined",
        ),
        ("{% if %}", "line 1 of parts/disk.sh"),
        ("a\0", "has a NUL in it"),
    ] {
        editor.is_refused(PART, text, words).await;
    }
    let rendered = async || editor.ask("GET /v1/nodes/node1/user-data").await.body;
    assert_eq!(rendered().await, "#!/bin/sh\necho disk\necho node1\n", "nothing was written");
    editor.set(PART, "echo {{ node.role }}\n").await;
    assert_eq!(rendered().await, "#!/bin/sh\necho any\necho node1\n");

    let list = editor.ask("GET /v1/user-data").await.json();
    let names: Vec<_> =
        list.as_array().expect("a list").iter().map(|one| (&one["name"], &one["own"])).collect();
    assert!(names.contains(&(&"node1.sh".into(), &true.into())), "{names:?}");
    assert!(names.contains(&(&"parts/disk.sh".into(), &false.into())), "{names:?}");
}

#[tokio::test]
async fn a_template_that_nodes_share_has_a_history_and_goes_back() {
    let editor = Editor::new().await;
    editor.set(PART, "echo disk\n").await;
    editor.set(PART, "echo {{ node.role }}\n").await;
    let history = editor.ask(&format!("GET /v1/user-data/{PART}/history")).await.json();
    let first = history[1]["version"].as_u64().expect("a number");
    assert_eq!(history.as_array().map(Vec::len), Some(2));
    let version = format!("/v1/user-data/{PART}/history/{first}");
    let diff = editor.ask(&format!("GET {version}/diff")).await.body;
    assert_eq!(diff, "- echo disk\n+ echo {{ node.role }}\n");
    assert_eq!(editor.ask(&format!("POST {version}/restore")).await.status, StatusCode::OK);
    assert_eq!(editor.ask(&format!("GET /v1/user-data/{PART}")).await.body, "echo disk\n");
}

#[tokio::test]
async fn what_another_node_is_made_of_is_checked_with_it() {
    let editor = Editor::new().await;
    editor.set("node1", "echo\n").await;
    editor.set("node2", "{% include 'node1.sh' %}").await;
    let broken_for_two = "{% if node.name == 'node2' %}{{ node.nmae }}{% endif %}";
    let words = "node2 would get no user data any more: line 1 of node1.sh";
    editor.is_refused("node1", broken_for_two, words).await;
    // Who is made of a link is made of what it leads to.
    editor.set(PART, "echo disk\n").await;
    let link = editor.api.folder().join("user-data/link.sh");
    std::os::unix::fs::symlink("parts/disk.sh", link).expect("a link");
    editor.set("node2", "{% include 'link.sh' %}").await;
    editor.is_refused(PART, "{{ node.nmae }}", "node2 would get no user data any more").await;
}

#[tokio::test]
async fn a_name_that_is_no_template_s_is_neither_written_nor_read() {
    let editor = Editor::new().await;
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
        editor.is_refused(name, "echo\n", words).await;
        let read = editor.ask(&format!("GET /v1/user-data/{name}")).await;
        assert!(read.status.is_client_error() && read.body.contains(words), "{name}: {}", read.body);
    }
}

#[tokio::test]
async fn what_cannot_be_written_leaves_no_version() {
    let editor = Editor::new().await;
    editor.set(PART, "echo disk\n").await;
    let folder = editor.api.folder().join("user-data");
    std::os::unix::fs::symlink("parts/disk.sh", folder.join("link.sh")).expect("a link");
    for (name, words) in [
        ("link.sh", "link.sh is a link: change what it leads to"),
        ("parts%2Fdisk.sh%2Fx.sh", "parts/disk.sh is no folder"),
        ("node3", "there is no node"),
    ] {
        editor.is_refused(name, "echo\n", words).await;
        let history = editor.ask(&format!("GET /v1/user-data/{name}/history")).await;
        assert!(history.body == "[]" || history.status == StatusCode::NOT_FOUND, "{name}: {}", history.body);
    }
    // A file whose name could be a node's.
    std::fs::write(folder.join("base"), "echo\n").expect("written");
    editor.set("base", "echo base\n").await;
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
