//! Clients that believe to speak to the tracker itself: because its name leads to the gate, or because the gate is their
//! `HTTPS_PROXY`.
//!
//! One listener takes both. A connection that begins with TLS names its host there (SNI), one that begins with CONNECT
//! says it before, and both names must be the same. Then the gate answers with a certificate of its private authority
//! (`authority`) for that host, and serves what comes as on any other listener. `connect` reads the CONNECT, `tunnel` hands
//! through what is for other hosts, where that is allowed.

mod authority;
mod connect;
mod tunnel;

#[doc(hidden)]
pub use connect::read_connect;

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use prometheus_client::metrics::counter::Counter;
use rustls::AlertDescription;
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;

pub use self::authority::{AuthorityError, PrivateAuthority};
use self::connect::{Connect, Refused};
use super::tls::{close_with, explain_tls, first_byte, server_config};
use super::{Drain, Limits};
use crate::effect::Clock;
use crate::model::Time;
use crate::proxy::{Hosts, InterceptedHost, Peer};
use crate::upstream::Io;

/// How connections are intercepted.
#[derive(Debug, Clone)]
pub struct InterceptConfig {
    /// The names under which the tracker is asked for.
    pub hosts: Vec<InterceptedHost>,
    /// Whether connections to all other hosts are handed through.
    pub tunnels_others: bool,
    /// Where the private authority is.
    pub authority: PathBuf,
    /// How long a certificate of a host is valid.
    pub leaf_lifetime: Duration,
    /// Counts clients that do not trust the authority.
    pub distrusted: Counter,
}

/// What stands behind the listeners that intercept.
pub struct Interceptor {
    config: InterceptConfig,
    hosts: Arc<Hosts>,
    clock: Arc<dyn Clock>,
    current: ArcSwap<Leaves>,
    was_distrusted: AtomicBool,
}

/// What the listeners present.
struct Leaves {
    by_name: HashMap<String, Arc<rustls::ServerConfig>>,
    /// For names that are nobody's: it has no certificate, and the handshake fails as it should.
    nobody: Arc<rustls::ServerConfig>,
    root: PathBuf,
    renew_at: Time,
}

/// What a new connection is for.
pub(super) enum Arrival {
    /// HTTP, for the gate.
    Http(Io),
    /// Another host, whose connection is open.
    Tunnel(TcpStream, TcpStream),
    /// Nothing more.
    Answered,
}

/// The first byte of a TLS handshake (RFC 8446, 5.1).
const HANDSHAKE: u8 = 22;
/// The only port that tunnels lead to.
const HTTPS: u16 = 443;
/// How long opening a tunnel may take.
const TUNNEL_OPENS: Duration = Duration::from_secs(5);
/// How often it is looked whether certificates are about to end.
const LOOK_EVERY: Duration = Duration::from_mins(1);

// === impl Interceptor ===

impl Interceptor {
    /// Reads the authority and makes the hosts' certificates.
    pub fn start(config: InterceptConfig, clock: Arc<dyn Clock>) -> Result<Arc<Self>, AuthorityError> {
        let current = ArcSwap::from_pointee(Leaves::make(&config, clock.now())?);
        let hosts = Hosts::any_of(config.hosts.clone());
        Ok(Arc::new(Self { config, hosts, clock, current, was_distrusted: AtomicBool::new(false) }))
    }

    /// Makes new certificates from the authority as it is on the disk; if that fails the old ones stay.
    pub fn renew(&self) -> Result<(), AuthorityError> {
        let leaves = Leaves::make(&self.config, self.clock.now())?;
        self.current.store(Arc::new(leaves));
        self.was_distrusted.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Renews certificates before they end, for as long as it is polled.
    pub async fn keep_fresh(self: Arc<Self>) {
        let mut has_failed = false;
        loop {
            let left = self.current.load().renew_at.0.saturating_sub(self.clock.now().0);
            let left = Duration::from_micros(u64::try_from(left).unwrap_or(0));
            // In short steps: a machine that was suspended does not sleep for longer.
            tokio::time::sleep(left.clamp(if has_failed { LOOK_EVERY } else { Duration::ZERO }, LOOK_EVERY)).await;
            if self.clock.now() < self.current.load().renew_at {
                continue;
            }
            let renewed = self.renew();
            match &renewed {
                Ok(()) => tracing::info!(hosts = %self.hosts, "certificates for intercepted hosts renewed"),
                Err(error) => tracing::error!(%error, "certificates for intercepted hosts not renewed; they end soon"),
            }
            has_failed = renewed.is_err();
        }
    }

    /// What a connection is for; nothing of HTTP is read yet.
    pub(super) async fn enter(&self, stream: TcpStream, peer: &mut Peer, limits: &Limits) -> io::Result<Arrival> {
        match first_byte(&stream).await? {
            HANDSHAKE => self.secure(stream, None, peer).await,
            // Of CONNECT.
            b'C' => self.connect(stream, peer, limits).await,
            _ => {
                peer.hosts = Some(Arc::clone(&self.hosts));
                Ok(Arrival::Http(Io::Tcp(stream)))
            }
        }
    }

    async fn connect(&self, mut stream: TcpStream, peer: &mut Peer, limits: &Limits) -> io::Result<Arrival> {
        let asked = connect::read(&mut stream, limits.max_head_bytes).await?;
        let allowed = asked.and_then(|asked| self.allow(asked, peer));
        let asked = match allowed {
            Ok(asked) => asked,
            Err(refused) => return refuse(stream, &refused).await,
        };
        if let Some(host) = self.hosts.at(&asked.host, asked.port) {
            connect::accept(&mut stream).await?;
            return self.secure(stream, Some(host), peer).await;
        }
        let opened = tokio::time::timeout(TUNNEL_OPENS, tunnel::open(&asked.host, asked.port)).await;
        match opened.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(other) => {
                connect::accept(&mut stream).await?;
                Ok(Arrival::Tunnel(stream, other))
            }
            Err(error) => {
                let text = format!("{}:{} cannot be reached: {}", asked.host, asked.port, error.kind());
                refuse(stream, &Refused { status: "502 Bad Gateway", text }).await
            }
        }
    }

    /// Whether this client may have this connection; as which agent is noted.
    fn allow(&self, asked: Connect, peer: &mut Peer) -> Result<Connect, Refused> {
        match (&peer.instance, &asked.instance) {
            (Some(stands), Some(named)) if **stands != **named => {
                return Err(Refused::forbidden(
                    "this listener stands for another agent than the proxy's user names".into(),
                ));
            }
            (None, Some(named)) => peer.instance = Some(named.as_str().into()),
            _ => {}
        }
        let Connect { host, port, .. } = &asked;
        if self.hosts.at(host, *port).is_some() {
            return Ok(asked);
        }
        let why = if self.hosts.named(host).is_some() {
            "that host is served at the port of intercept.hosts alone"
        } else if !self.config.tunnels_others {
            "this proxy is for the hosts of intercept.hosts alone: exclude others by NO_PROXY, or set intercept.others"
        } else if host.parse::<std::net::IpAddr>().is_ok() {
            "tunnels lead to names, not to addresses"
        } else if *port != HTTPS {
            "tunnels lead to port 443 alone"
        } else {
            return Ok(asked);
        };
        Err(Refused::forbidden(format!("CONNECT to {host}:{port} is refused: {why}")))
    }

    /// TLS under the name that the client asks for, which must be the one that it connected to.
    async fn secure(&self, stream: TcpStream, host: Option<&InterceptedHost>, peer: &mut Peer) -> io::Result<Arrival> {
        if host.is_some() && first_byte(&stream).await? != HANDSHAKE {
            return Err(explain_tls(stream).await);
        }
        let hello = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream).await?;
        let leaves = self.current.load_full();
        let name = hello.client_hello().server_name().unwrap_or_default().to_ascii_lowercase();
        let host =
            host.filter(|host| host.name() == name).or_else(|| self.hosts.named(&name).filter(|_| host.is_none()));
        let config = host.and_then(|host| leaves.by_name.get(host.name())).unwrap_or(&leaves.nobody);
        let secured = hello.into_stream(Arc::clone(config)).await;
        let secured = secured.inspect_err(|error| self.note_distrust(error, &leaves, peer))?;
        peer.tls = true;
        peer.hosts = Some(Hosts::any_of(host.cloned().into_iter().collect()));
        Ok(Arrival::Http(Io::Tls(Box::new(secured.into()))))
    }

    /// A client that does not know the authority ends the handshake with one of these; said once, and counted.
    fn note_distrust(&self, error: &io::Error, leaves: &Leaves, peer: &Peer) {
        let alert = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        let Some(rustls::Error::AlertReceived(
            alert @ (AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnsupportedCertificate),
        )) = alert
        else {
            return;
        };
        self.config.distrusted.inc();
        if !self.was_distrusted.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                client = ?peer.addr,
                ?alert,
                root = %leaves.root.display(),
                "a client does not trust the gate's private authority: give it the root's certificate, by CURL_CA_BUNDLE, \
                 REQUESTS_CA_BUNDLE, SSL_CERT_FILE, NODE_EXTRA_CA_CERTS or as it is done there (manual: ways); further \
                 ones are counted as claimgate_distrusted_total"
            );
        }
    }
}

/// Serves a tunnel to its end.
pub(super) async fn tunnel(client: TcpStream, other: TcpStream, idle: Duration, drain: Drain) {
    tunnel::copy(client, other, idle, drain).await;
}

async fn refuse(stream: TcpStream, refused: &Refused) -> io::Result<Arrival> {
    tracing::debug!(status = refused.status, text = refused.text, "CONNECT refused");
    close_with(stream, refused.answer().as_bytes()).await;
    Ok(Arrival::Answered)
}

impl Leaves {
    fn make(config: &InterceptConfig, now: Time) -> Result<Self, AuthorityError> {
        let authority = PrivateAuthority::load(&config.authority)?;
        let mut by_name = HashMap::new();
        for host in &config.hosts {
            let leaf = authority.leaf(host.name(), now, config.leaf_lifetime)?;
            let made = server_config(leaf.chain, leaf.key, true).map_err(|why| authority.not_for(host.name(), why))?;
            by_name.insert(host.name().to_owned(), Arc::new(made));
        }
        let nobody = nobody().map_err(|why| authority.not_for("anybody", why))?;
        let life = i64::try_from(config.leaf_lifetime.as_micros()).unwrap_or(i64::MAX);
        let renew_at = Time(now.0.saturating_add(life / 3 * 2));
        Ok(Self { by_name, nobody: Arc::new(nobody), root: authority.root(), renew_at })
    }
}

fn nobody() -> Result<rustls::ServerConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let none = rustls::server::ResolvesServerCertUsingSni::new();
    Ok(rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(none)))
}

impl std::fmt::Debug for Interceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Interceptor({})", self.hosts)
    }
}
