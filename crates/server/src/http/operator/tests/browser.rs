//! A real browser, headless Chromium, told what to do over a pipe (the Chrome DevTools Protocol).

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

/// How long something may take to be seen, in milliseconds.
const PATIENCE_MS: u64 = 15_000;
/// Names a folder: screenshots are left there.
const SCREENSHOTS: &str = "FLEDERMAUS_SCREENSHOTS";

/// A browser with one page; it ends with its owner.
pub(super) struct Browser {
    process: Child,
    tell: File,
    hear: BufReader<File>,
    session: Option<String>,
    number: u64,
    is_loaded: bool,
    /// What scripts or the security policy complained of.
    pub(super) complaints: Vec<String>,
    _folder: tempfile::TempDir,
}

impl Browser {
    /// Starts it. It takes any certificate: which one is trusted is the command line's test.
    pub(super) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        for pipe in ["tell", "hear"] {
            nix::unistd::mkfifo(&path(pipe), nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        }
        let options = "--headless --no-sandbox --disable-gpu --remote-debugging-pipe --ignore-certificate-errors \
                       --no-first-run --disable-extensions --force-color-profile=srgb --hide-scrollbars";
        // Chromium reads from file 3 and writes to file 4. Opened for both, so that nobody waits for the other.
        let line = format!("exec chromium {options} --user-data-dir=profile about:blank 3<>tell 4<>hear");
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &line]).current_dir(folder.path()).stdin(Stdio::null());
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a shell");
        let open = |name| OpenOptions::new().read(true).write(true).open(path(name)).expect("a pipe");
        let (tell, hear) = (open("tell"), BufReader::new(open("hear")));
        let complaints = Vec::new();
        let mut browser = Self {
            process,
            tell,
            hear,
            session: None,
            number: 0,
            is_loaded: false,
            complaints,
            _folder: folder,
        };
        let target = browser.ask("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser.ask("Target.attachToTarget", attach)["sessionId"].as_str().map(str::to_owned);
        browser.session = session;
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            browser.ask(domain, json!({}));
        }
        browser
    }

    /// One command and its result; what happens meanwhile is noted.
    pub(super) fn ask(&mut self, method: &str, params: Value) -> Value {
        self.number += 1;
        let mut command = json!({ "id": self.number, "method": method, "params": params });
        if let Some(session) = &self.session {
            command["sessionId"] = session.clone().into();
        }
        let mut bytes = command.to_string().into_bytes();
        bytes.push(0);
        self.tell.write_all(&bytes).expect("the browser listens");
        loop {
            let said = self.hear();
            if said["id"] == self.number {
                assert!(said.get("error").is_none(), "{method}: {}", said["error"]);
                return said["result"].clone();
            }
            self.note(&said);
        }
    }

    fn hear(&mut self) -> Value {
        let ended = self.process.try_wait().expect("a process");
        assert!(
            ended.is_none(),
            "chromium ended ({ended:?}): install the package chromium, or run scripts/install-deps"
        );
        let mut said = Vec::new();
        self.hear.read_until(0, &mut said).expect("the browser speaks");
        said.pop();
        serde_json::from_slice(&said).expect("JSON")
    }

    fn note(&mut self, event: &Value) {
        let params = &event["params"];
        match event["method"].as_str() {
            Some("Page.loadEventFired") => self.is_loaded = true,
            Some("Runtime.exceptionThrown") => self.complaints.push(params["exceptionDetails"].to_string()),
            // A refusal of the head is no fault of the page.
            Some("Log.entryAdded") if params["entry"]["source"] != "network" => {
                self.complaints.push(params["entry"].to_string());
            }
            _ => {}
        }
    }

    pub(super) fn open(&mut self, url: &str) {
        self.is_loaded = false;
        self.ask("Page.navigate", json!({ "url": url }));
        while !self.is_loaded {
            let said = self.hear();
            self.note(&said);
        }
    }

    /// What a piece of JavaScript gives.
    pub(super) fn value(&mut self, script: &str) -> Value {
        let params = json!({ "expression": script, "awaitPromise": true, "returnByValue": true });
        let result = self.ask("Runtime.evaluate", params);
        assert!(result.get("exceptionDetails").is_none(), "{script}: {}", result["exceptionDetails"]);
        result["result"]["value"].clone()
    }

    /// Waits until the page shows a text; fails with what it shows instead.
    pub(super) fn see(&mut self, text: &str) {
        let text = Value::from(text);
        self.wait(&format!("document.body.innerText.includes({text})"));
    }

    /// Waits until a condition holds.
    pub(super) fn wait(&mut self, condition: &str) {
        let script = format!(
            "new Promise((done) => {{ const end = Date.now() + {PATIENCE_MS}; const look = () => ({condition}) ? done(true) : \
             Date.now() > end ? done(false) : setTimeout(look, 30); look(); }})"
        );
        // A page that is being left answers nothing.
        if self.value(&script) != true {
            let seen = self.value("document.body.innerText");
            panic!(
                "not seen: {condition}; but:\n{}\n{:#?}",
                seen.as_str().unwrap_or_default(),
                self.complaints
            );
        }
    }

    /// Presses a key.
    pub(super) fn press(&mut self, key: &str) {
        let text = if key.chars().count() == 1 { key } else { "" };
        for kind in ["keyDown", "keyUp"] {
            let text = if kind == "keyDown" { text } else { "" };
            self.ask("Input.dispatchKeyEvent", json!({ "type": kind, "key": key, "text": text }));
        }
    }

    /// The window's size, and whether it is dark.
    pub(super) fn look(&mut self, (width, height): (u32, u32), scheme: &str) {
        let mobile = width < 500;
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile });
        self.ask("Emulation.setDeviceMetricsOverride", size);
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.ask("Emulation.setEmulatedMedia", json!({ "features": features }));
    }

    /// Leaves a picture, if somebody wants to look.
    pub(super) fn picture(&mut self, name: &str) {
        let Some(folder) = std::env::var_os(SCREENSHOTS).map(PathBuf::from) else { return };
        let shot =
            self.ask("Page.captureScreenshot", json!({ "format": "png", "captureBeyondViewport": true }));
        write_base64(&folder.join(format!("{name}.png")), shot["data"].as_str().expect("a picture"));
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Four letters are three bytes (RFC 4648 section 4).
fn write_base64(path: &Path, text: &str) {
    let value = |letter: u8| match letter {
        b'A'..=b'Z' => u32::from(letter - b'A'),
        b'a'..=b'z' => u32::from(letter - b'a') + 26,
        b'0'..=b'9' => u32::from(letter - b'0') + 52,
        b'+' => 62,
        _ => 63,
    };
    let mut bytes = Vec::with_capacity(text.len());
    for four in text.trim_end_matches('=').as_bytes().chunks(4) {
        let bits = four.iter().fold(0, |bits, letter| bits << 6 | value(*letter)) << (6 * (4 - four.len()));
        bytes.extend(&bits.to_be_bytes()[1..four.len()]);
    }
    std::fs::write(path, bytes).expect("written");
}
