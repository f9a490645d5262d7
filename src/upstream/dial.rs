//! Opens connections to the upstream: TCP, TLS, unix socket.
//!
//! TLS is rustls with aws-lc-rs and the system's roots, or those of one file. Names are always verified; there is no
//! switch to turn that off.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::{Endpoint, Io, Origin, UpstreamConfig};

/// Opens connections to one origin.
pub struct Dialer {
    origin: Origin,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    resolve: Option<SocketAddr>,
    own: Vec<SocketAddr>,
    timeout: Duration,
}

/// Why no connection could be opened, or why the dialler could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The upstream did not take the connection, or its certificate was not good.
    #[error("cannot connect to the upstream: {}", in_words(.0))]
    Connect(#[source] io::Error),
    /// It took too long.
    #[error("cannot connect to the upstream: timed out")]
    Timeout,
    /// The HTTP layer refused the new connection.
    #[error("cannot start HTTP on a new connection: {0}")]
    Handshake(#[source] hyper::Error),
    /// The roots cannot be read.
    #[error("cannot read the certificates to trust: {0}")]
    Roots(String),
    /// The host cannot be the name in a certificate.
    #[error("`{0}` cannot be the name in a certificate")]
    Name(String),
}

/// What the system says, without the number of its error: clients read it.
fn in_words(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(_) => error.kind().to_string(),
        None => error.to_string(),
    }
}

impl Dialer {
    /// Prepares; reads the roots where the origin needs TLS, connects to nothing.
    pub fn new(config: &UpstreamConfig) -> Result<Self, DialError> {
        let tls = match config.origin.place() {
            Endpoint::Tls { host, .. } => Some((connector(config.ca_file.as_deref())?, server_name(host)?)),
            Endpoint::Tcp { .. } | Endpoint::Unix(_) => None,
        };
        let (resolve, own) = (config.resolve, config.own.clone());
        Ok(Self { origin: config.origin.clone(), tls, resolve, own, timeout: config.connect_timeout })
    }

    /// The origin that it dials.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Opens one connection.
    pub async fn dial(&self) -> Result<Io, DialError> {
        match tokio::time::timeout(self.timeout, self.connect()).await {
            Ok(done) => done.map_err(DialError::Connect),
            Err(_) => Err(DialError::Timeout),
        }
    }

    async fn connect(&self) -> io::Result<Io> {
        match self.origin.place() {
            Endpoint::Unix(path) => Ok(Io::Unix(UnixStream::connect(path).await?)),
            Endpoint::Tcp { host, port } | Endpoint::Tls { host, port } => {
                let stream = match self.resolve {
                    Some(address) => TcpStream::connect(address).await?,
                    None => TcpStream::connect((host.as_str(), *port)).await?,
                };
                if self.own.iter().any(|own| is_at(*own, &stream)) {
                    return Err(io::Error::other(LEADS_BACK));
                }
                stream.set_nodelay(true)?;
                self.secure(stream).await
            }
        }
    }

    async fn secure(&self, stream: TcpStream) -> io::Result<Io> {
        let Some((connector, name)) = &self.tls else {
            return Ok(Io::Tcp(stream));
        };
        let stream = connector.connect(name.clone(), stream).await?;
        Ok(Io::Tls(Box::new(stream.into())))
    }
}

/// Whether a connection leads to this listener of the same machine.
fn is_at(own: SocketAddr, stream: &TcpStream) -> bool {
    let (Ok(peer), Ok(local)) = (stream.peer_addr(), stream.local_addr()) else { return false };
    let is_here = peer.ip().is_loopback() || peer.ip() == local.ip();
    own.port() == peer.port() && (own.ip() == peer.ip() || (own.ip().is_unspecified() && is_here))
}

const LEADS_BACK: &str = "the tracker's name resolves to a listener of this gate: set upstream.resolve to the tracker's own \
                          address";

fn server_name(host: &str) -> Result<ServerName<'static>, DialError> {
    ServerName::try_from(host.to_owned()).map_err(|_| DialError::Name(host.to_owned()))
}

fn connector(ca_file: Option<&Path>) -> Result<TlsConnector, DialError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| DialError::Roots(e.to_string()))?
        .with_root_certificates(ca_file.map_or_else(system_roots, file_roots)?)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

fn system_roots() -> Result<RootCertStore, DialError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        return Err(DialError::Roots(format!("the system has none ({:?})", found.errors)));
    }
    Ok(roots)
}

/// Whether the tracker's certificate could be checked by this file; the same reading as the dialer's.
pub fn check_roots(path: &Path) -> Result<(), DialError> {
    file_roots(path).map(drop)
}

fn file_roots(path: &Path) -> Result<RootCertStore, DialError> {
    let wrong = |e: &dyn std::fmt::Display| DialError::Roots(format!("{}: {e}", path.display()));
    let mut roots = RootCertStore::empty();
    for cert in CertificateDer::pem_file_iter(path).map_err(|e| wrong(&e))? {
        roots.add(cert.map_err(|e| wrong(&e))?).map_err(|e| wrong(&e))?;
    }
    if roots.is_empty() {
        return Err(wrong(&"no certificate in it"));
    }
    Ok(roots)
}
