//! Listeners, workers and the end of them.
//!
//! Each worker is a thread with a current-thread runtime and accepts from the same sockets, so that a request never
//! changes threads on the pass path. Guarded sections run on the gate's own runtime (`proxy::Shared::gate`).
//! `limits` bounds what a client may take, `connection` drives one client, `sniff` looks at its heads, `tls` holds
//! certificates that can be replaced while serving, `admin` is the operator's
//! listener, with the live page (`page`) and what the gate says of itself (`status`), and `socket` the way to it that is
//! not open to every local user. `socket_file` makes the unix sockets of clients, and `intercept` takes clients that come
//! under the tracker's own name.

pub mod admin;
mod connection;
mod drain;
mod intercept;
mod limits;
mod listen;
mod operator;
mod page;
mod sniff;
mod socket;
mod socket_file;
mod status;
mod tls;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc;

pub use self::drain::Drain;
#[doc(hidden)]
pub use self::intercept::read_connect;
pub use self::intercept::{AuthorityError, InterceptConfig, Interceptor, PrivateAuthority};
use self::limits::Gauge;
pub use self::limits::Limits;
use self::listen::{Acceptor, Bound};
pub use self::listen::{Bind, Inherited, ListenerConfig};
pub use self::operator::Operator;
#[doc(hidden)]
pub use self::sniff::sniff;
pub use self::socket::{connect as connect_to_socket, socket_path};
pub use self::socket_file::{SocketFile, check_owner};
pub use self::status::GateFacts;
pub(crate) use self::status::since;
pub use self::tls::{Certificates, TlsError, TlsFiles, certificate_end, check_certificate};
use crate::proxy::{Shared, Worker};

/// How to serve.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Where clients come in.
    pub listeners: Vec<ListenerConfig>,
    /// Edge workers; by default one a core.
    pub workers: Option<usize>,
    /// What a client may take.
    pub limits: Limits,
    /// How long connections may take to finish once the drain has begun.
    pub drain_timeout: Duration,
}

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// A socket could not be had.
    #[error("cannot listen on {bind}: {source}")]
    Listen {
        /// Which.
        bind: Bind,
        /// Why.
        source: io::Error,
    },
    /// A certificate could not be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A duplicate handle of a socket could not be had.
    #[error("cannot hand a listening socket to a worker: {0}")]
    Share(#[source] io::Error),
    /// Nothing to listen on.
    #[error("no listener is configured")]
    Nowhere,
}

/// A server whose sockets are open.
pub struct Server {
    bound: Vec<Bound>,
    workers: usize,
    limits: Arc<Gauge>,
    drain: Drain,
    drain_timeout: Duration,
    shared: Arc<Shared>,
}

/// Whether all connections ended by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// They did.
    Clean,
    /// Some were cut when the time was over.
    Cut,
}

// === impl Server ===

impl Server {
    /// Opens the sockets and reads the certificates; serves nothing yet.
    pub fn bind(config: ServerConfig, inherited: Inherited, shared: Arc<Shared>) -> Result<Self, BindError> {
        if config.listeners.is_empty() {
            return Err(BindError::Nowhere);
        }
        let workers = config.workers.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
        Ok(Self {
            bound: listen::bind_all(config.listeners, inherited, &config.limits)?,
            workers: workers.max(1),
            limits: Gauge::new(config.limits),
            drain: Drain::new(),
            drain_timeout: config.drain_timeout,
            shared,
        })
    }

    /// The addresses of the listeners, in order; none for unix sockets.
    pub fn addresses(&self) -> Vec<Option<SocketAddr>> {
        self.bound.iter().map(Bound::address).collect()
    }

    /// Where clients find the listeners, in order, as the configuration has it.
    pub fn places(&self) -> Vec<String> {
        self.bound.iter().map(Bound::place).collect()
    }

    /// The certificates of the listeners that have any, to be reloaded.
    pub fn certificates(&self) -> Vec<Arc<Certificates>> {
        self.bound.iter().filter_map(Bound::certificates).collect()
    }

    /// The handle by which the drain is begun and seen.
    pub fn drain(&self) -> Drain {
        self.drain.clone()
    }

    /// Serves until `shutdown` is done or the drain has begun, then lets connections finish their current request, for a
    /// bounded time.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<Drained, BindError> {
        let drain = self.drain.clone();
        let files: Vec<_> = self.bound.iter().filter_map(Bound::own_file).collect();
        let (ended, mut ends) = mpsc::channel(self.workers);
        for index in 0..self.workers {
            // Those that have started already must not go on alone.
            self.start_worker(index, ended.clone()).inspect_err(|_| drain.start())?;
        }
        // From here only the workers hold the listening sockets; when they let go, new connections are refused.
        drop((self, ended));
        tokio::select! {
            () = shutdown => drain.start(),
            () = drain.started() => {}
        }
        let mut all = Drained::Clean;
        while let Some(one) = ends.recv().await {
            if one == Drained::Cut {
                all = Drained::Cut;
            }
        }
        for file in files {
            file.remove();
        }
        Ok(all)
    }

    fn start_worker(&self, index: usize, ended: mpsc::Sender<Drained>) -> Result<(), BindError> {
        let acceptors =
            self.bound.iter().map(Bound::share).collect::<io::Result<Vec<_>>>().map_err(BindError::Share)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(BindError::Share)?;
        let part = Part {
            acceptors,
            limits: Arc::clone(&self.limits),
            drain: self.drain.clone(),
            drain_timeout: self.drain_timeout,
            shared: Arc::clone(&self.shared),
        };
        let body = move || {
            let outcome = runtime.block_on(part.run());
            let _ = ended.blocking_send(outcome);
        };
        thread::Builder::new().name(format!("edge-{index}")).spawn(body).map_err(BindError::Share)?;
        Ok(())
    }
}

/// One worker's share of the server.
struct Part {
    acceptors: Vec<Acceptor>,
    limits: Arc<Gauge>,
    drain: Drain,
    drain_timeout: Duration,
    shared: Arc<Shared>,
}

impl Part {
    async fn run(self) -> Drained {
        let worker = Arc::new(Worker::start(self.shared));
        let (open, mut closed) = mpsc::channel::<()>(1);
        for acceptor in self.acceptors {
            let accepting =
                acceptor.run(Arc::clone(&worker), Arc::clone(&self.limits), self.drain.clone(), open.clone());
            tokio::spawn(accepting);
        }
        drop(open);
        self.drain.started().await;
        // Nobody ever sends: the channel ends when the last connection has dropped its end.
        match tokio::time::timeout(self.drain_timeout, closed.recv()).await {
            Ok(_) => Drained::Clean,
            Err(_) => Drained::Cut,
        }
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listeners: vec![ListenerConfig::tcp(SocketAddr::from(([127, 0, 0, 1], 8480)))],
            workers: None,
            limits: Limits::default(),
            drain_timeout: Duration::from_secs(30),
        }
    }
}
