//! The page in a real browser, with nodes that boot, and with one that would like to run a script in it.

use std::net::SocketAddr;

use super::super::page;
use super::browser::Browser;
use super::*;
use crate::config::OperatorDoor;
use crate::head::tests::{BOOTED, hostile_report, let_wait, seed, send_logs};
use crate::pump::rivals::Found;

/// What a node says of itself that no page may run.
pub(super) const HOSTILE: &str =
    "<img src=x onerror=\"window.hacked=1\"><script>window.hacked=1</script>{{7*7}}";

/// A door on this machine, a login for it, and its head.
async fn open_door() -> (Head, String, tempfile::TempDir) {
    let (head, folder) = head().await;
    seed(&head, HOSTILE).await;
    head.meet_rival(Ipv4Addr::new(10, 78, 0, 66), Found { mac: None, adds_only: false }).await;
    let listen: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    let settings = OperatorDoor { listen: Some(listen), certificate: None };
    let door =
        Door::bind(&settings, folder.path(), Ipv4Addr::LOCALHOST).await.expect("bound").expect("a door");
    let (secret, _) = head.make_login(Principal::of_socket(Some(0))).await.expect("a login");
    let login = door.facts.login_url(&secret);
    let desk = Desk::new(head.clone(), Some(door.facts.clone()), options(folder.path()));
    tokio::spawn(door.run(desk));
    (head, login, folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_logs_in_shows_what_happens_and_runs_nothing_that_a_node_said() {
    let (head, login, folder) = open_door().await;
    let user_data = folder.path().join("user-data/node1.sh");
    let handle = tokio::runtime::Handle::current();
    let visit = tokio::task::spawn_blocking(move || {
        let mut browser = Browser::start();
        browser.look((1280, 900), "dark");
        browser.open(&login);
        nodes(&mut browser, &head, &handle);
        boots(&mut browser);
        one_node(&mut browser, &user_data);
        a_template(&mut browser, &user_data);
        board_and_logs(&mut browser, &head, &handle);
        swarm_and_access(&mut browser);
        a_head_that_does_not_answer(&mut browser, &head, &handle);
        what_another_operator_did_before(&mut browser, &head, &handle);
        on_a_phone_and_in_the_light(&mut browser);
        assert_eq!(browser.value("window.hacked"), Value::Null, "a node's words ran");
        assert!(browser.complaints.is_empty(), "{:#?}", browser.complaints);
    });
    visit.await.expect("all was seen");
}

fn nodes(browser: &mut Browser, head: &Head, runtime: &tokio::runtime::Handle) {
    browser.see("node1");
    browser.see("Another DHCP server, 10.78.0.66, answers on this network");
    assert_eq!(browser.value("location.hash"), "#/nodes", "the login is not in the address any more");
    browser.wait("document.getElementById('live').className === 'on'");
    browser.see(HOSTILE);
    browser.picture("nodes-dark");
    // News: nobody asks again within ten seconds.
    let before = browser.value("performance.now()").as_f64().expect("a number");
    runtime.block_on(hostile_report(head, "node2", "streamed 12 of 61 MB"));
    browser.see("streamed 12 of 61 MB");
    let took = browser.value("performance.now()").as_f64().expect("a number") - before;
    assert!(took < 5_000.0, "seen after {took} ms");
    browser.press("/");
    browser.wait("document.activeElement.id === 'filter'");
    for letter in ["n", "o", "d", "e", "2"] {
        browser.press(letter);
    }
    browser.wait("document.querySelectorAll('tbody tr').length === 1");
    browser.press("Escape");
}

fn boots(browser: &mut Browser) {
    browser.press("b");
    browser.see("Newest boots");
    browser.wait(&format!("document.querySelectorAll('main .chart a').length === {BOOTED}"));
    browser.wait("document.querySelectorAll('main .chart rect').length > 20");
    browser.picture("boots-dark");
    browser.value(
        "document.querySelector('main .chart a').dispatchEvent(new MouseEvent('click', { bubbles: true }))",
    );
    browser.wait("location.hash.startsWith('#/node/')");
}

fn one_node(browser: &mut Browser, user_data: &std::path::Path) {
    browser.value("location.hash = '#/node/node1'");
    browser.see("Timeline");
    browser.see(HOSTILE);
    browser.wait("document.querySelector('pre').textContent.includes('echo node1')");
    browser.value(&write("#!/bin/sh\necho {{ node.nmae }}\n"));
    browser.see("line 2 of the user data");
    assert_eq!(browser.value("document.querySelector('button.main').disabled"), true);
    browser.value(&write("#!/bin/sh\necho '<b>' {{ node.address }}\n"));
    browser.wait("document.querySelector('pre').textContent.includes(\"echo '<b>' 127.0.0.11\")");
    browser.picture("node-dark");
    browser.value("document.querySelector('button.main').click()");
    browser.see("Saved: the node runs it when it boots next.");
    browser.value("document.querySelector('details').open = true");
    browser.see("admin (127.0.0.1)");
    browser.value("[...document.querySelectorAll('details button')].at(-2).click()");
    browser.see("+ echo '<b>' {{ node.address }}");
    browser.picture("history-dark");
    assert!(std::fs::read_to_string(user_data).expect("saved").contains("'<b>'"));
}

/// What writes a text into the editor, as somebody who types.
fn write(text: &str) -> String {
    let text = Value::from(text);
    format!(
        "(() => {{ const area = document.querySelector('textarea'); area.value = {text}; \
         area.dispatchEvent(new Event('input')); }})()"
    )
}

/// A template that nodes share: written anew, refused while it breaks a node, kept.
fn a_template(browser: &mut Browser, user_data: &std::path::Path) {
    let part = user_data.with_file_name("parts/disk.sh");
    browser.press("Escape");
    browser.value("document.activeElement.blur()");
    browser.press("u");
    browser.see("Another file");
    browser.see("node1.sh");
    browser.picture("templates-dark");
    browser.value("document.querySelector('main form input').value = 'parts/disk.sh'");
    browser.value("document.querySelector('main form button').click()");
    browser.see("What this node gets:");
    browser.wait("document.querySelector('main section input').value === 'node1'");
    browser.value(&write("{% if %}"));
    browser.wait("document.querySelector('button.main').disabled === false");
    browser.value("document.querySelector('button.main').click()");
    browser.see("line 1 of parts/disk.sh");
    assert!(!part.exists());
    browser.value(&write("echo disk\n"));
    browser.value("document.querySelector('button.main').click()");
    browser.see("Saved: nodes that use it run it when they boot next.");
    browser.picture("template-dark");
    assert_eq!(std::fs::read_to_string(part).expect("saved"), "echo disk\n");
    browser.value("location.hash = '#/node/node1'");
    browser.see("Timeline");
}

fn board_and_logs(browser: &mut Browser, head: &Head, runtime: &tokio::runtime::Handle) {
    let board = "document.getElementById('board').textContent";
    for words in ["48.3 °C", "5.4 GB of 15.0 GB used", HOSTILE] {
        browser.wait(&format!("{board}.includes({})", Value::from(words)));
    }
    browser.value("document.querySelector('#logs button').click()");
    browser.see("Asked; the node answers with its next report.");
    let logs = "[...document.querySelectorAll('#logs pre')].map((log) => log.textContent)";
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    // What comes before the question is not the answer: the node sends until it was asked.
    while browser.value(&format!("{logs}.length")) != 2 {
        assert!(std::time::Instant::now() < until, "no logs");
        runtime.block_on(send_logs(head, "node1", HOSTILE));
    }
    browser.see("Console (the kernel's log)");
    assert_eq!(browser.value(logs), serde_json::json!([format!("Linux\n{HOSTILE}"), "ready"]));
    browser.value("document.getElementById('logs').scrollIntoView()");
    browser.picture("logs-dark");
}

fn swarm_and_access(browser: &mut Browser) {
    browser.press("Escape");
    browser.value("document.activeElement.blur()");
    browser.press("s");
    browser.see("No swarm yet.");
    browser.picture("swarm-dark");
    browser.press("i");
    browser.see("Cardless");
    browser.wait("document.querySelectorAll('main tbody tr').length === 1");
    browser.picture("images-dark");
    browser.press("l");
    browser.see("127.0.0.12");
    browser.press("a");
    browser.see("user-data-set");
    browser.picture("access-dark");
    browser.press("?");
    browser.wait("document.getElementById('help').open");
    browser.value("document.getElementById('help').close()");
}

/// One request that failed took away the view with what somebody was writing in it, and it never came back.
fn a_head_that_does_not_answer(browser: &mut Browser, head: &Head, runtime: &tokio::runtime::Handle) {
    let trouble = "document.getElementById('trouble').textContent";
    browser.value("location.hash = '#/node/node1'");
    browser.see("Timeline");
    browser.wait("document.querySelector('pre').textContent.includes('echo')");
    browser.value(&write("#!/bin/sh\necho half a thought\n"));
    browser.wait("document.querySelector('pre').textContent.includes('half a thought')");
    browser.value("window.real = window.fetch; window.fetch = () => Promise.reject(new TypeError('gone'))");
    runtime.block_on(hostile_report(head, "node1", "streamed 13 of 61 MB"));
    browser.wait(&format!("{trouble}.includes('the head does not answer')"));
    browser.picture("trouble-dark");
    browser.look((390, 844), "light");
    browser.picture("trouble-phone");
    browser.look((1280, 900), "dark");
    assert_eq!(browser.value("document.querySelector('textarea').value"), "#!/bin/sh\necho half a thought\n");
    // Nobody asks but the page itself.
    browser.value("window.fetch = window.real");
    browser.wait(&format!("{trouble} === ''"));
    browser.see("streamed 13 of 61 MB");
    assert_eq!(browser.value("document.querySelector('textarea').value"), "#!/bin/sh\necho half a thought\n");

    // The answer to a view that was left is nobody's any more.
    browser.value("window.fetch = () => new Promise((_, fail) => (window.fail = fail))");
    browser.value("location.hash = '#/boots'");
    browser.wait("window.fail && document.querySelector('h1').textContent === 'Newest boots'");
    browser.value("window.late = window.fail; window.fetch = window.real; location.hash = '#/images'");
    browser.see("Cardless");
    browser.value(
        "(async () => { late(new TypeError('gone')); await new Promise((done) => setTimeout(done)); })()",
    );
    assert_eq!(browser.value(trouble), "");

    // What could not be read cannot be saved over: it looked as if the template were empty.
    browser
        .value("window.fetch = () => Promise.reject(new TypeError('gone')); location.hash = '#/node/node1'");
    browser.wait("document.querySelector('textarea')?.parentElement.closest('section').innerText.includes('does not answer')");
    let locked = "[...document.querySelectorAll('textarea, button.main')].map((one) => one.disabled)";
    assert_eq!(browser.value(locked), json!([true, true]));
    browser.picture("unread-dark");
    browser.value("window.fetch = window.real");
    browser.wait("document.querySelector('textarea').value.includes('echo')");
    browser.wait(&format!("{locked}.every((one) => !one)"));
}

fn what_another_operator_did_before(browser: &mut Browser, head: &Head, runtime: &tokio::runtime::Handle) {
    let node1 = cluster::Mac([0xb8, 0x27, 0xeb, 0, 1, 1]);
    runtime.block_on(let_wait(head, node1));
    browser.value("location.hash = '#/nodes'");
    browser.see("These wait for approval");
    browser.value(
        "[...document.querySelectorAll('main button')].find((one) => one.textContent === 'Approve').click()",
    );
    browser.see(&format!("{node1} is a node already"));
    browser.see("127.0.0.12");
    browser.picture("approved-before-dark");
}

fn on_a_phone_and_in_the_light(browser: &mut Browser) {
    browser.look((390, 844), "light");
    for (view, text) in [
        ("nodes", "node1"),
        ("boots", "Newest boots"),
        ("node/node1", "Timeline"),
        ("templates", "Another file"),
        ("templates/parts%2Fdisk.sh", "What this node gets:"),
        ("images", "Cardless"),
        ("access", "Tokens"),
    ] {
        browser.value(&format!("location.hash = '#/{view}'"));
        browser.see(text);
        let wide = browser.value("document.documentElement.scrollWidth");
        assert!(wide.as_u64().is_some_and(|wide| wide <= 390), "{view} is {wide} wide on a phone of 390");
        browser.picture(&format!("{}-phone", view.replace('/', "-")));
    }
    browser.look((1280, 900), "light");
    browser.value("location.hash = '#/nodes'");
    browser.see("node1");
    browser.picture("nodes-light");
    for (view, text) in [("node/node1", "48.3 °C"), ("images", "Cardless")] {
        browser.value(&format!("location.hash = '#/{view}'"));
        browser.see(text);
        browser.picture(&format!("{}-light", view.replace('/', "-")));
    }
    browser.value("document.getElementById('leave').click()");
    browser.see("Log in");
    browser.picture("login-light");
}

#[tokio::test]
async fn the_page_s_files_are_whole_and_run_nothing_but_themselves() {
    let api = Api::new().await;
    let names: Vec<&str> = page::FILES.iter().map(|(path, ..)| *path).collect();
    for (path, _, content) in page::FILES {
        let answer = api.ask(&format!("GET {path}"), &[], "").await;
        assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, content));
        let policy = answer.headers["content-security-policy"].to_str().expect("text");
        assert!(policy.contains("script-src 'self';") && !policy.contains("unsafe"), "{policy}");
        for word in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "style=",
            "http://",
            "onclick=",
        ] {
            let text = content.replace("http://www.w3.org/", "");
            assert!(!text.contains(word), "{path} has {word}");
        }
        for import in content.split("from \"./").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(names.contains(&format!("/page/{import}").as_str()), "{path} wants {import}");
        }
    }
}
