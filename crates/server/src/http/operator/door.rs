//! The operators' door over TLS: its certificate, its connections and their limits. Who may do what is the guard's.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::body::Body;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::{Desk, Entrance, app, failure};
use crate::access::{Secret, hex};
use crate::client::APPLY_PATIENCE;
use crate::config::OperatorDoor;
use crate::disk;
use crate::http::places::Places;

/// The most connections at a time; who comes later waits in the kernel's queue.
const CONNECTIONS_LIMIT: usize = 256;
/// The most connections of one address: one client cannot have them all.
const ADDRESS_LIMIT: usize = 32;
/// How long a client may take for TLS, and for the head of a request.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a request may take from its head to the head of the answer.
const REQUEST_PATIENCE: Duration = Duration::from_secs(30);
/// The files in the state directory.
pub(crate) const CERTIFICATE: &str = "operator-certificate.pem";
pub(crate) const KEY: &str = "operator-key.pem";

/// A door that is bound.
pub(crate) struct Door {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    pub(crate) facts: DoorFacts,
}

/// What others have to know of it.
#[derive(Clone, Debug)]
pub(crate) struct DoorFacts {
    /// Its address, without a slash at the end.
    pub(crate) url: String,
    /// SHA-256 of its certificate, in hex.
    pub(crate) fingerprint: String,
}

impl DoorFacts {
    /// The address that logs in. Browsers do not send what is behind the `#`, so that no log has it.
    pub(crate) fn login_url(&self, secret: &Secret) -> String {
        format!("{}/#login={}", self.url, secret.expose())
    }
}

impl Door {
    /// Binds the door, if the configuration has one.
    ///
    /// # Errors
    /// The certificate cannot be read or made, or the port is taken.
    pub(crate) async fn bind(
        settings: &OperatorDoor,
        state_dir: &Path,
        own: Ipv4Addr,
    ) -> anyhow::Result<Option<Self>> {
        let Some(listen) = settings.listen else { return Ok(None) };
        let listener = TcpListener::bind(listen).await.with_context(|| {
            format!("serving operators on {listen}: free the port, or change `listen` in [operator] of cluster.toml")
        })?;
        let bound = listener.local_addr().context("asking for the operators' port")?;
        let host = if bound.ip().is_unspecified() { IpAddr::V4(own) } else { bound.ip() };
        let (config, fingerprint) = match &settings.certificate {
            Some((certificate, key)) => read(certificate, key)?,
            None => own_certificate(state_dir, host)?,
        };
        let url = format!("https://{}", SocketAddr::new(host, bound.port()));
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Ok(Some(Self { listener, acceptor, facts: DoorFacts { url, fingerprint } }))
    }

    /// Serves until it is dropped.
    pub(crate) async fn run(self, desk: Desk) -> ! {
        let router = app(desk);
        let mut places = Places::new(CONNECTIONS_LIMIT, ADDRESS_LIMIT);
        loop {
            let (stream, client, place) = places.accept(&self.listener).await;
            let address = client.ip().to_canonical();
            let (acceptor, router) = (self.acceptor.clone(), router.clone());
            tokio::spawn(async move {
                serve(stream, address, acceptor, router).await;
                drop(place);
            });
        }
    }
}

async fn serve(stream: TcpStream, client: IpAddr, acceptor: TlsAcceptor, router: axum::Router) {
    let Ok(Ok(stream)) = timeout(PATIENCE, acceptor.accept(stream)).await else {
        return tracing::debug!("{client} does not speak TLS");
    };
    let answer = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Entrance::Tls(client));
        let patience = patience(request.uri().path());
        let answer = router.clone().oneshot(request.map(Body::new));
        async move {
            let late = || failure(StatusCode::REQUEST_TIMEOUT, "the request took too long").into_response();
            let answer = timeout(patience, answer).await;
            Ok::<_, Infallible>(
                answer.map_or_else(|_| late(), |answer| answer.unwrap_or_else(|never| match never {})),
            )
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    if let Err(error) = http.serve_connection(TokioIo::new(stream), answer).await {
        tracing::debug!("an operator's connection from {client}: {error}");
    }
}

/// How long the request at a path may take.
fn patience(path: &str) -> Duration {
    match path {
        // It looks at all images, and fetches those that are new in a store. Over before the client gives up, which then is told.
        "/v1/apply" => APPLY_PATIENCE.saturating_sub(REQUEST_PATIENCE),
        _ => REQUEST_PATIENCE,
    }
}

/// A certificate of the head's own, made once.
fn own_certificate(state_dir: &Path, host: IpAddr) -> anyhow::Result<(ServerConfig, String)> {
    let [certificate, key] = [CERTIFICATE, KEY].map(|name| state_dir.join(name));
    // An empty one is left of a first start that a power cut ended, when they were written in place.
    let is_there = |path: &Path| path.metadata().is_ok_and(|about| about.is_file() && about.len() > 0);
    if !(is_there(&certificate) && is_there(&key)) {
        let names = vec![host.to_string(), "localhost".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).context("making a certificate")?;
        // One that is left goes before its key does: it would not go together with the next.
        match std::fs::remove_file(&certificate) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("removing {}", certificate.display()));
            }
            _ => {}
        }
        for (file, text) in [(&key, made.signing_key.serialize_pem()), (&certificate, made.cert.pem())] {
            disk::write(file, &text).with_context(|| format!("writing {}", file.display()))?;
        }
    }
    read(&certificate, &key)
}

fn read(certificate: &Path, key: &Path) -> anyhow::Result<(ServerConfig, String)> {
    let named = |path: &Path, what: &str| format!("reading the {what} {} of [operator]", path.display());
    let chain: Vec<CertificateDer> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .with_context(|| named(certificate, "certificate"))?;
    let first = chain.first().with_context(|| format!("{} holds no certificate", certificate.display()))?;
    let fingerprint = hex(&Sha256::digest(first));
    let private = PrivateKeyDer::from_pem_file(key).with_context(|| named(key, "key"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("setting up TLS")?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .with_context(|| format!("the key {} and the certificate do not go together", key.display()))?;
    Ok((config, fingerprint))
}

#[cfg(test)]
mod tests {
    use super::super::table;
    use super::*;

    #[test]
    fn one_route_may_take_as_long_as_a_fetch() {
        let slow = |path: &str| patience(path) > REQUEST_PATIENCE;
        let slow: Vec<_> =
            table::all().into_iter().map(|route| route.path).filter(|path| slow(path)).collect();
        assert_eq!(slow, ["/v1/apply"]);
    }

    /// The power was cut at a first start: what was left of the certificate kept the head from every later one.
    #[test]
    fn half_a_certificate_is_made_anew_and_a_whole_one_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let own = || own_certificate(folder.path(), Ipv4Addr::LOCALHOST.into()).map(|(_, print)| print);
        let first = own().expect("made");
        assert_eq!(own().expect("read"), first);
        for name in [CERTIFICATE, KEY] {
            let before = own().expect("read");
            std::fs::write(folder.path().join(name), "").expect("written");
            assert_ne!(own().expect("made anew"), before, "{name}");
        }
        let files = std::fs::read_dir(folder.path()).expect("a folder");
        assert_eq!(files.count(), 2, "no drafts");
    }
}
