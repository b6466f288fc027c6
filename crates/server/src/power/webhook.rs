//! A web address that is called to work the power: smart plugs and many switches need no more.

use std::collections::BTreeMap;
use std::io::Read;
use std::time::Duration;

use anyhow::{Context, bail};
use cluster::view::{NodeView, PowerDeed};
use minijinja::value::Value;
use minijinja::{Environment, ErrorKind, UndefinedBehavior, context};
use serde::Serialize;
use ureq::Agent;
use ureq::http::Uri;

use super::{LIMIT, OUTPUT_BYTES, last_line};
use crate::user_data::expression;

/// The longest address that is called, in bytes; labels are in it.
const ADDRESS_LIMIT: usize = 4096;
/// What messages call the template.
const OWN: &str = "webhook";

/// How it is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    /// With what is wanted as JSON.
    #[default]
    Post,
    /// The same.
    Put,
}

/// The word was none of those.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("write GET, POST or PUT")]
pub(crate) struct InvalidMethod;

impl std::str::FromStr for Method {
    type Err = InvalidMethod;
    fn from_str(word: &str) -> Result<Self, InvalidMethod> {
        match word {
            "GET" => Ok(Self::Get),
            "POST" => Ok(Self::Post),
            "PUT" => Ok(Self::Put),
            _ => Err(InvalidMethod),
        }
    }
}

/// An address with a template's expressions in it, and how it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Webhook {
    template: String,
    method: Method,
}

/// What is sent with POST and PUT.
#[derive(Serialize)]
struct Wish<'a> {
    deed: &'static str,
    name: &'a str,
    mac: String,
    address: Option<String>,
    labels: &'a BTreeMap<String, String>,
}

impl Webhook {
    /// `template` is a URL in which expressions of MiniJinja stand for the deed (`deed`: `on`, `off` or `cycle`) and the node
    /// (`node.name`, `node.mac`, `node.address`, `node.labels`).
    ///
    /// # Errors
    /// It does not begin with a scheme that is spelled out, or is no template.
    pub(crate) fn new(template: &str, method: Method) -> anyhow::Result<Self> {
        if !["http://", "https://"].iter().any(|scheme| template.starts_with(scheme)) {
            bail!("a web address begins with http:// or https://");
        }
        environment().template_from_named_str(OWN, template).map_err(|error| explain(&error))?;
        Ok(Self { template: template.to_owned(), method })
    }

    /// Calls it.
    pub(super) async fn work(&self, deed: PowerDeed, node: &NodeView) -> anyhow::Result<()> {
        self.work_within(deed, node, LIMIT).await
    }

    async fn work_within(&self, deed: PowerDeed, node: &NodeView, limit: Duration) -> anyhow::Result<()> {
        let address = self.address(deed, node)?;
        let wish = Wish {
            deed: deed.word(),
            name: node.name.as_str(),
            mac: node.mac.to_string(),
            address: node.address.map(|address| address.to_string()),
            labels: &node.labels,
        };
        let (method, wish) = (self.method, serde_json::to_string(&wish)?);
        tokio::task::spawn_blocking(move || call(method, &address, wish, limit))
            .await
            .context("calling the power webhook")?
    }

    /// The address to call for a node.
    fn address(&self, deed: PowerDeed, node: &NodeView) -> anyhow::Result<String> {
        let values = context! {
            deed => deed.word(),
            node => context! {
                name => node.name.as_str(),
                mac => node.mac.to_string(),
                address => node.address.map(|address| address.to_string()),
                labels => node.labels,
            },
        };
        let rendered = environment()
            .render_named_str(OWN, &self.template, values)
            .map_err(|error| explain(&error).context(format!("the power webhook of {}", node.name)))?;
        if rendered.len() > ADDRESS_LIMIT {
            bail!("the power webhook of {} is longer than {ADDRESS_LIMIT} bytes", node.name);
        }
        Ok(rendered)
    }
}

/// Values come out encoded, so that a label is one piece of the address whatever is in it.
fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_debug(true);
    environment.set_fuel(Some(10_000));
    environment.set_formatter(|out, _, value: &Value| {
        if value.is_undefined() || value.is_none() {
            return Err(ErrorKind::UndefinedError.into());
        }
        for byte in value.to_string().bytes() {
            // RFC 3986, section 2.3; and what stands between an address and its port.
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' => {
                    write!(out, "{}", char::from(byte))?;
                }
                _ => write!(out, "%{byte:02X}")?,
            }
        }
        Ok(())
    });
    environment
}

/// What is wrong with the template, or with what a node has for it.
fn explain(error: &minijinja::Error) -> anyhow::Error {
    let what = error.detail().map_or_else(|| error.kind().to_string(), ToOwned::to_owned);
    let about = expression(error).map(|expression| format!(": `{expression}`")).unwrap_or_default();
    anyhow::anyhow!(
        "{what}{about}; a template knows deed, node.name, node.mac, node.address and the node's labels, as node.labels.NAME"
    )
}

/// Calls an address, blocking. It may have a password in it, so that errors tell only which host it is.
fn call(method: Method, address: &str, wish: String, limit: Duration) -> anyhow::Result<()> {
    let uri: Uri = address.parse().context("the power webhook is no web address once rendered")?;
    let host = uri.host().unwrap_or("-").to_owned();
    // Plugs are on the operator's own wire.
    let agent = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .timeout_global(Some(limit))
        .build()
        .new_agent();
    let answer = match method {
        Method::Get => agent.get(uri).call(),
        Method::Post => agent.post(uri).content_type("application/json").send(wish),
        Method::Put => agent.put(uri).content_type("application/json").send(wish),
    };
    let mut answer = answer.with_context(|| format!("calling the power webhook of {host}"))?;
    if answer.status().is_success() {
        return Ok(());
    }
    let mut told = Vec::new();
    // Why it refused helps, but is not needed.
    let _ = answer.body_mut().as_reader().take(OUTPUT_BYTES).read_to_end(&mut told);
    bail!("the power webhook of {host} answered {}: {}", answer.status(), last_line(&told))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::{SocketAddr, TcpListener};
    use std::thread::{JoinHandle, spawn};
    use std::time::Instant;

    use super::super::node;
    use super::*;

    /// A plug that answers one call; what it was sent, head and body.
    fn plug(answer: &'static str) -> (SocketAddr, JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let heard = spawn(move || {
            let (mut stream, _) = listener.accept().expect("a call");
            let mut reader = BufReader::new(stream.try_clone().expect("a stream"));
            let (mut heard, mut length) = (String::new(), 0);
            while !heard.ends_with("\r\n\r\n") {
                let mut line = String::new();
                reader.read_line(&mut line).expect("a line");
                if let Some(value) = line.strip_prefix("content-length: ") {
                    length = value.trim().parse().expect("a number");
                }
                heard.push_str(&line);
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).expect("a body");
            heard.push_str(&String::from_utf8(body).expect("text"));
            stream.write_all(answer.as_bytes()).expect("sent");
            heard
        });
        (address, heard)
    }

    const FINE: &str = "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";

    #[tokio::test]
    async fn a_webhook_gets_the_node_in_its_address_and_as_json() {
        let (address, heard) = plug(FINE);
        let text = format!(
            "http://me:pass@{address}/{{{{ node.labels['poe-port'] }}}}/{{{{ deed }}}}?m={{{{ node.mac }}}}"
        );
        let webhook = Webhook::new(&text, Method::Post).expect("a webhook");
        webhook.work(PowerDeed::Cycle, &node()).await.expect("done");
        let heard = heard.join().expect("heard");
        assert!(
            heard.starts_with("POST /ge%207%3B%20rm%20-rf%20%2F/cycle?m=02:00:00:00:00:01 HTTP"),
            "{heard}"
        );
        assert!(heard.contains("\r\nauthorization: Basic bWU6cGFzcw==\r\n"), "{heard}");
        let wish = concat!(
            r#"{"deed":"cycle","name":"node1","mac":"02:00:00:00:00:01","address":null,"#,
            r#""labels":{"poe-port":"ge 7; rm -rf /"}}"#
        );
        assert!(heard.ends_with(wish), "{heard}");
    }

    #[tokio::test]
    async fn how_a_webhook_fails_is_told_without_its_password() {
        let refusal = "HTTP/1.1 409 Conflict\r\ncontent-length: 13\r\n\r\nno such port\n";
        let moved = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:9/\r\ncontent-length: 0\r\n\r\n";
        for (answer, sentence) in [
            (refusal, "the power webhook of 127.0.0.1 answered 409 Conflict: no such port"),
            (moved, "the power webhook of 127.0.0.1 answered 302 Found: it says nothing"),
        ] {
            let (address, heard) = plug(answer);
            let webhook = Webhook::new(&format!("http://me:swordfish@{address}/"), Method::Get);
            let error = webhook.expect("a webhook").work(PowerDeed::Off, &node()).await.expect_err("refused");
            assert_eq!(format!("{error:#}"), sentence);
            assert!(heard.join().expect("heard").starts_with("GET / HTTP"));
        }
        let nobody = Webhook::new("http://me:swordfish@127.0.0.1:9/", Method::Put).expect("a webhook");
        let error = nobody.work(PowerDeed::Off, &node()).await.expect_err("nobody is there");
        let error = format!("{error:#}");
        assert!(
            error.starts_with("calling the power webhook of 127.0.0.1") && !error.contains("sword"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_node_without_what_the_address_needs_is_named() {
        for (text, missing) in [
            ("http://{{ node.labels.plug }}/", "labels.plug`"),
            ("http://plug/{{ node.address }}", "undefined value"),
            ("http://{{ 'swordfish' ~ node.labels.plug }}/", "labels.plug`"),
        ] {
            let webhook = Webhook::new(text, Method::Get).expect("a webhook");
            let error = webhook.work(PowerDeed::On, &node()).await.expect_err("it has none");
            let error = format!("{error:#}");
            assert!(error.starts_with("the power webhook of node1: ") && error.contains(missing), "{error}");
            assert!(!error.contains("swordfish"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_plug_that_never_answers_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let text = format!("http://{}/", listener.local_addr().expect("an address"));
        let webhook = Webhook::new(&text, Method::Get).expect("a webhook");
        let began = Instant::now();
        let limit = Duration::from_millis(300);
        webhook.work_within(PowerDeed::On, &node(), limit).await.expect_err("no answer");
        assert!(began.elapsed() < Duration::from_secs(20));
    }
}
