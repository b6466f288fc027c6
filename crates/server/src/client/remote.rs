//! The way to a head over TLS. Its certificate is one that the world trusts, or the one of the given fingerprint.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use cluster::Digest;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use sha2::{Digest as _, Sha256};

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a head is, as `--url` names it.
#[derive(Clone, Debug)]
pub struct Remote {
    host: String,
    port: u16,
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
    token: String,
}

/// The address is none, or the token cannot be sent.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct InvalidRemote(String);

impl Remote {
    /// Reads `https://host[:port][/][#sha256=<fingerprint of the certificate in hex>]`.
    ///
    /// # Errors
    /// A sentence that says how it is written.
    pub fn parse(url: &str, token: &str) -> Result<Self, InvalidRemote> {
        let wrong = || {
            InvalidRemote(format!(
                "`{}` is no head's address: write https://host[:port], and #sha256=FINGERPRINT behind it if the head made \
                 its certificate itself",
                url.split('#').next().unwrap_or_default()
            ))
        };
        let rest = url.strip_prefix("https://").ok_or_else(wrong)?;
        let (place, pin) = match rest.split_once('#') {
            Some((place, fragment)) => {
                let digest = fragment.strip_prefix("sha256=").ok_or_else(wrong)?;
                (place, Some(digest.to_ascii_lowercase().parse::<Digest>().map_err(|_| wrong())?))
            }
            None => (rest, None),
        };
        let place = place.strip_suffix('/').unwrap_or(place);
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| wrong())?),
            _ => (place, 443),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host.clone()).map_err(|_| wrong())?;
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            let text = "this head asks for a token: add --token, or set FLEDERMAUS_TOKEN; `fledermaus token create` on the \
                        head makes one";
            return Err(InvalidRemote(text.to_owned()));
        }
        let config = config(pin).map_err(|error| InvalidRemote(format!("setting up TLS: {error}")))?;
        Ok(Self { host, port, name, config: Arc::new(config), token: token.to_owned() })
    }

    /// The address without secrets, for people.
    pub(super) fn place(&self) -> String {
        format!("https://{}:{}", self.host, self.port)
    }

    /// What tells the head who asks.
    pub(super) fn header(&self) -> String {
        format!("Authorization: Bearer {}\r\n", self.token)
    }

    /// What tells the head which host is meant.
    pub(super) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Connects; TLS is spoken with the first bytes.
    pub(super) fn connect(&self, patience: Duration) -> std::io::Result<impl Read + Write + use<>> {
        let mut last = std::io::Error::other(format!("{} has no address", self.host));
        for address in (self.host.as_str(), self.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(patience))?;
                    stream.set_write_timeout(Some(patience))?;
                    let tls = ClientConnection::new(self.config.clone(), self.name.clone());
                    return Ok(rustls::StreamOwned::new(tls.map_err(std::io::Error::other)?, stream));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

fn config(pin: Option<Digest>) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let Some(pin) = pin else {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        return Ok(builder.with_root_certificates(roots).with_no_client_auth());
    };
    let verifier = Arc::new(Pinned { pin, provider });
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

/// Trusts one certificate, whatever it says of itself.
#[derive(Debug)]
struct Pinned {
    pin: Digest,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if Digest(Sha256::digest(end_entity).into()) == self.pin {
            return Ok(ServerCertVerified::assertion());
        }
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_with_its_port_and_fingerprint() {
        let pin = "ab".repeat(32);
        for (url, place) in [
            ("https://head.example", "https://head.example:443"),
            ("https://10.78.0.1:8443/", "https://10.78.0.1:8443"),
            (&format!("https://[::1]:8443#sha256={pin}"), "https://::1:8443"),
        ] {
            assert_eq!(Remote::parse(url, "secret").expect(url).place(), place);
        }
        for url in ["http://head", "https://", "https://head:x", "https://head#sha256=12", "https://head#ab"]
        {
            let error = Remote::parse(url, "secret").expect_err(url).to_string();
            assert!(error.contains("is no head's address: write https://host[:port]"), "{error}");
        }
        let error = Remote::parse("https://head", "").expect_err("no token").to_string();
        assert!(error.contains("FLEDERMAUS_TOKEN"), "{error}");
        assert!(Remote::parse("https://head", "a\r\nb").is_err(), "a token is one word");
    }
}
