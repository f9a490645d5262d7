//! Listening sockets: opened or inherited once, then shared by all workers.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use listenfd::ListenFd;
use rustix::net::sockopt::set_socket_send_buffer_size;
use tokio::sync::mpsc;

use super::connection;
use super::intercept::{self, Arrival, Interceptor};
use super::limits::{ConnectionSlot, Gauge};
use super::socket_file::{OwnFile, SocketFile};
use super::tls::{explain_tls, first_byte};
use super::{BindError, Certificates, Drain, Limits, TlsFiles};
use crate::proxy::{Peer, Worker};
use crate::upstream::Io;

/// Where a listener is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bind {
    /// A TCP address; port 0 picks a free one.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix(SocketFile),
    /// The socket with this number of those that the service manager passed on (`LISTEN_FDS`).
    Inherited(usize),
}

/// One listener.
#[derive(Debug, Clone)]
pub struct ListenerConfig {
    /// Where it is.
    pub bind: Bind,
    /// Its certificate, if it speaks TLS.
    pub tls: Option<TlsFiles>,
    /// The agent instance that comes in by it, if it belongs to one.
    pub instance: Option<Arc<str>>,
    /// What takes its connections, if clients come to it under the tracker's own name.
    pub interceptor: Option<Arc<Interceptor>>,
}

/// The sockets that the service manager passed on (`LISTEN_FDS`), each to be opened once.
pub struct Inherited(ListenFd);

/// An open listener.
pub(super) struct Bound {
    number: usize,
    bind: Bind,
    socket: Socket,
    own_file: Option<OwnFile>,
    certificates: Option<Arc<Certificates>>,
    instance: Option<Arc<str>>,
    interceptor: Option<Arc<Interceptor>>,
}

/// One worker's handle of a listener.
pub(super) struct Acceptor {
    number: usize,
    socket: Socket,
    certificates: Option<Arc<Certificates>>,
    instance: Option<Arc<str>>,
    interceptor: Option<Arc<Interceptor>>,
}

enum Socket {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

enum Live {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

/// Opens all listeners, or none.
pub(super) fn bind_all(
    configs: Vec<ListenerConfig>,
    mut inherited: Inherited,
    limits: &Limits,
) -> Result<Vec<Bound>, BindError> {
    let numbered = configs.into_iter().enumerate();
    numbered.map(|(number, config)| Bound::open((number, config), &mut inherited.0, limits)).collect()
}

// === impl ListenerConfig ===

impl ListenerConfig {
    /// A plain TCP listener.
    pub fn tcp(address: SocketAddr) -> Self {
        Self::at(Bind::Tcp(address))
    }

    /// A plain listener that stands for nobody.
    pub fn at(bind: Bind) -> Self {
        Self { bind, tls: None, instance: None, interceptor: None }
    }
}

impl std::fmt::Display for Bind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Bind::Tcp(address) => address.fmt(f),
            Bind::Unix(file) => write!(f, "unix:{}", file.path.display()),
            Bind::Inherited(index) => write!(f, "inherited socket {index}"),
        }
    }
}

// === impl Inherited ===

impl Inherited {
    /// Takes them out of the environment, which names them only once. To be called before there are threads: it changes
    /// the environment.
    pub fn take() -> Self {
        Self(ListenFd::from_env())
    }

    /// None, whatever the environment says.
    pub fn none() -> Self {
        Self(ListenFd::empty())
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

// === impl Bound ===

impl Bound {
    fn open(
        (number, config): (usize, ListenerConfig),
        inherited: &mut ListenFd,
        limits: &Limits,
    ) -> Result<Self, BindError> {
        let certificates = config.tls.map(|files| Certificates::load(files, limits.http2)).transpose()?;
        let wrong = |source| BindError::Listen { bind: config.bind.clone(), source };
        let (socket, own_file) = open(&config.bind, inherited).map_err(wrong)?;
        socket.set_nonblocking().map_err(wrong)?;
        socket.set_send_buffer(limits.send_buffer).map_err(wrong)?;
        let ListenerConfig { bind, instance, interceptor, .. } = config;
        Ok(Self { number, bind, socket, own_file, certificates, instance, interceptor })
    }

    pub(super) fn address(&self) -> Option<SocketAddr> {
        match &self.socket {
            Socket::Tcp(listener) => listener.local_addr().ok(),
            Socket::Unix(_) => None,
        }
    }

    pub(super) fn certificates(&self) -> Option<Arc<Certificates>> {
        self.certificates.clone()
    }

    /// Where clients find it.
    pub(super) fn place(&self) -> String {
        self.address().map_or_else(|| self.bind.to_string(), |address| address.to_string())
    }

    /// The socket file to remove at the end.
    pub(super) fn own_file(&self) -> Option<OwnFile> {
        self.own_file.clone()
    }

    /// Another handle of the same socket.
    pub(super) fn share(&self) -> io::Result<Acceptor> {
        let socket = self.socket.try_clone()?;
        let (certificates, instance) = (self.certificates.clone(), self.instance.clone());
        Ok(Acceptor { number: self.number, socket, certificates, instance, interceptor: self.interceptor.clone() })
    }
}

impl Socket {
    fn try_clone(&self) -> io::Result<Self> {
        match self {
            Socket::Tcp(listener) => listener.try_clone().map(Socket::Tcp),
            Socket::Unix(listener) => listener.try_clone().map(Socket::Unix),
        }
    }

    /// Connections inherit it from their listening socket.
    fn set_send_buffer(&self, bytes: usize) -> io::Result<()> {
        match self {
            Socket::Tcp(listener) if bytes > 0 => Ok(set_socket_send_buffer_size(listener, bytes)?),
            Socket::Tcp(_) | Socket::Unix(_) => Ok(()),
        }
    }

    fn set_nonblocking(&self) -> io::Result<()> {
        match self {
            Socket::Tcp(listener) => listener.set_nonblocking(true),
            Socket::Unix(listener) => listener.set_nonblocking(true),
        }
    }
}

fn open(bind: &Bind, inherited: &mut ListenFd) -> io::Result<(Socket, Option<OwnFile>)> {
    match bind {
        Bind::Tcp(address) => {
            let listener = std::net::TcpListener::bind(address)?;
            rustix::net::listen(&listener, BACKLOG)?;
            Ok((Socket::Tcp(listener), None))
        }
        Bind::Unix(file) => file.bind(BACKLOG).map(|(listener, own)| (Socket::Unix(listener), Some(own))),
        Bind::Inherited(index) => take(inherited, *index).map(|socket| (socket, None)),
    }
}

fn take(inherited: &mut ListenFd, index: usize) -> io::Result<Socket> {
    if let Ok(Some(listener)) = inherited.take_tcp_listener(index) {
        return Ok(Socket::Tcp(listener));
    }
    match inherited.take_unix_listener(index) {
        Ok(Some(listener)) => Ok(Socket::Unix(listener)),
        Ok(None) => Err(io::Error::new(io::ErrorKind::NotFound, "it was not passed")),
        Err(_) => {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "what was passed is neither a TCP nor a unix socket"))
        }
    }
}

// === impl Acceptor ===

impl Acceptor {
    /// Accepts until the drain begins. `open` is held by each connection for as long as it lives.
    pub(super) async fn run(self, worker: Arc<Worker>, gauge: Arc<Gauge>, drain: Drain, open: mpsc::Sender<()>) {
        let socket = match Live::new(self.socket) {
            Ok(socket) => socket,
            Err(error) => {
                tracing::error!(%error, "cannot accept on a listening socket");
                return;
            }
        };
        let mut draining = std::pin::pin!(drain.started());
        loop {
            let next = async {
                let permit = gauge.one_of_all().await;
                (socket.accept().await, permit)
            };
            let (accepted, permit) = tokio::select! {
                biased;
                () = &mut draining => return,
                next = next => next,
            };
            let (io, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    // Out of descriptors, most likely: a busy loop would not free any.
                    tokio::time::sleep(AFTER_FAILED_ACCEPT).await;
                    continue;
                }
            };
            let Some(place) = gauge.admit(address.map(|it| it.ip()), self.number, permit) else {
                continue;
            };
            let peer = Peer::new(address, self.certificates.is_some(), self.instance.clone());
            let client = Client {
                worker: Arc::clone(&worker),
                gauge: Arc::clone(&gauge),
                drain: drain.clone(),
                certificates: self.certificates.clone(),
                interceptor: self.interceptor.clone(),
            };
            let open = open.clone();
            tokio::spawn(async move {
                client.serve(io, peer, place).await;
                drop(open);
            });
        }
    }
}

struct Client {
    worker: Arc<Worker>,
    gauge: Arc<Gauge>,
    drain: Drain,
    certificates: Option<Arc<Certificates>>,
    interceptor: Option<Arc<Interceptor>>,
}

impl Client {
    async fn serve(self, io: Io, mut peer: Peer, place: ConnectionSlot) {
        let limits = &self.gauge.limits;
        match tokio::time::timeout(limits.tls_handshake_timeout, self.enter(io, &mut peer)).await {
            Ok(Ok(Arrival::Http(io))) => connection::serve(io, (peer, place), self.worker, limits, self.drain).await,
            Ok(Ok(Arrival::Tunnel(client, other))) => {
                intercept::tunnel(client, other, limits.write_stall_timeout, self.drain).await;
            }
            Ok(Ok(Arrival::Answered)) => {}
            Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
            Err(_) => tracing::debug!("TLS handshake timed out"),
        }
    }

    async fn enter(&self, io: Io, peer: &mut Peer) -> io::Result<Arrival> {
        match (&self.interceptor, io) {
            (Some(interceptor), Io::Tcp(stream)) => interceptor.enter(stream, peer, &self.gauge.limits).await,
            (_, io) => secure(io, self.certificates.as_deref()).await.map(Arrival::Http),
        }
    }
}

async fn secure(io: Io, certificates: Option<&Certificates>) -> io::Result<Io> {
    match (io, certificates) {
        (Io::Tcp(stream), Some(certificates)) => {
            if first_byte(&stream).await?.is_ascii_alphabetic() {
                return Err(explain_tls(stream).await);
            }
            let stream = certificates.acceptor().accept(stream).await?;
            Ok(Io::Tls(Box::new(stream.into())))
        }
        (io, None) => Ok(io),
        (_, Some(_)) => Err(io::Error::new(io::ErrorKind::Unsupported, "TLS is served on TCP only")),
    }
}

impl Live {
    fn new(socket: Socket) -> io::Result<Self> {
        Ok(match socket {
            Socket::Tcp(listener) => Live::Tcp(tokio::net::TcpListener::from_std(listener)?),
            Socket::Unix(listener) => Live::Unix(tokio::net::UnixListener::from_std(listener)?),
        })
    }

    async fn accept(&self) -> io::Result<(Io, Option<SocketAddr>)> {
        match self {
            Live::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok((Io::Tcp(stream), Some(address)))
            }
            Live::Unix(listener) => listener.accept().await.map(|(stream, _)| (Io::Unix(stream), None)),
        }
    }
}

/// Connections that wait to be accepted; the system has a limit of its own. With the 128 of the standard library a crowd that
/// comes at once, or the whole of the clients after a restart, waits for TCP to try again, a second and more.
const BACKLOG: i32 = 4096;
const AFTER_FAILED_ACCEPT: Duration = Duration::from_millis(100);
