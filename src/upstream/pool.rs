//! Kept connections to the upstream, last in, first out.
//!
//! Each edge worker has a pool of its own, so the lock is never contended there. A connection is handed out as a
//! [`Lease`]; whoever read an answer to its end puts it back, and a lease that is dropped closes its connection.
//! The newest connection goes first: the ones that the load no longer needs grow old and are swept.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::early::EarlyAnswers;
use super::{DialError, Dialer};

/// Limits on idle connections.
#[derive(Debug, Clone, Copy)]
pub struct PoolConfig {
    /// How many are kept at most.
    pub max_idle: usize,
    /// How long one is kept at most.
    pub idle_timeout: Duration,
    /// How lately a connection must have been used to be trusted with a request that cannot be repeated. Shorter than
    /// any server's keep-alive.
    pub fresh_for: Duration,
    /// The longest head of an answer, bytes; also what is read at once.
    pub max_head: usize,
    /// The most headers of an answer.
    pub max_headers: usize,
}

/// Idle connections to one origin.
pub struct Pool<B> {
    dialer: Arc<Dialer>,
    config: PoolConfig,
    idle: Mutex<Vec<Idle<B>>>,
}

/// A connection in somebody's hands. Dropped, it is closed.
pub struct Lease<B> {
    sender: SendRequest<B>,
    _task: OnDrop,
    reused: bool,
}

/// Why there was no answer on a lease.
#[derive(Debug)]
pub enum SendError<B> {
    /// The connection closed before the request was taken from the queue: no byte left, here it is again.
    Unsent(Box<Request<B>>, hyper::Error),
    /// Anything later.
    Broken(hyper::Error),
}

struct Idle<B> {
    lease: Lease<B>,
    since: Instant,
}

struct OnDrop(AbortHandle);

/// hyper takes no smaller one.
const LEAST_BUFFER: usize = 8 << 10;

// === impl Pool ===

impl<B> Pool<B>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// An empty pool.
    pub fn new(dialer: Arc<Dialer>, config: PoolConfig) -> Arc<Self> {
        Arc::new(Self { dialer, config, idle: Mutex::default() })
    }

    /// The dialler beneath.
    pub fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    /// The newest idle connection that is still open.
    pub fn take(&self) -> Option<Lease<B>> {
        self.pop(|_| true)
    }

    /// The newest idle connection, if it was used lately enough that it is hardly stale.
    pub fn take_fresh(&self) -> Option<Lease<B>> {
        let now = Instant::now();
        self.pop(|idle| now.duration_since(idle.since) < self.config.fresh_for)
    }

    /// Opens a connection.
    pub async fn open(&self) -> Result<Lease<B>, DialError> {
        let io = self.dialer.dial().await?;
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(self.config.max_head.max(LEAST_BUFFER))
            .max_header_size(self.config.max_head)
            .max_headers(self.config.max_headers)
            .handshake(TokioIo::new(EarlyAnswers::of(io)))
            .await
            .map_err(DialError::Handshake)?;
        let task = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "upstream connection ended");
            }
        });
        Ok(Lease { sender, _task: OnDrop(task.abort_handle()), reused: false })
    }

    /// Keeps a connection whose last answer was read to its end.
    pub fn put(&self, mut lease: Lease<B>) {
        if lease.sender.is_closed() {
            return;
        }
        lease.reused = true;
        let mut idle = self.lock();
        if idle.len() < self.config.max_idle {
            idle.push(Idle { lease, since: Instant::now() });
        }
    }

    /// Closes what is closed already or has been idle too long.
    pub fn sweep(&self) {
        let now = Instant::now();
        let stays = |idle: &Idle<B>| {
            !idle.lease.sender.is_closed() && now.duration_since(idle.since) < self.config.idle_timeout
        };
        self.lock().retain(stays);
    }

    /// How many are idle.
    pub fn idle(&self) -> usize {
        self.lock().len()
    }

    /// Sweeps now and then for as long as the pool lives. Needs a runtime.
    pub fn sweep_in_background(self: &Arc<Self>) {
        let pool: Weak<Self> = Arc::downgrade(self);
        let period = (self.config.idle_timeout / 4).clamp(Duration::from_millis(100), Duration::from_secs(10));
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(period).await;
                let Some(pool) = pool.upgrade() else { return };
                pool.sweep();
            }
        });
    }

    fn pop(&self, good: impl Fn(&Idle<B>) -> bool) -> Option<Lease<B>> {
        let mut idle = self.lock();
        loop {
            // One that is not ready has work left from its last exchange; it is passed over, not waited for.
            let at = idle.iter().rposition(|it| it.lease.sender.is_closed() || it.lease.sender.is_ready())?;
            if idle[at].lease.sender.is_closed() {
                idle.remove(at);
                continue;
            }
            return good(&idle[at]).then(|| idle.remove(at).lease);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Idle<B>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Lease ===

impl<B> Lease<B>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// Whether this connection has carried a request before.
    pub fn reused(&self) -> bool {
        self.reused
    }

    /// Whether the peer or the connection itself ended it.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Whether the next request could start at once.
    pub fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    /// Waits until the next request can start; `false` when the connection is closed.
    pub async fn ready(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }

    /// Sends one request and waits for the head of its answer.
    pub fn send(
        &mut self,
        request: Request<B>,
    ) -> impl Future<Output = Result<Response<Incoming>, SendError<B>>> + use<B> {
        let answer = self.sender.try_send_request(request);
        async move {
            answer.await.map_err(|mut error| match error.take_message() {
                Some(request) => SendError::Unsent(Box::new(request), error.into_error()),
                None => SendError::Broken(error.into_error()),
            })
        }
    }
}

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            max_idle: 256,
            idle_timeout: Duration::from_mins(1),
            fresh_for: Duration::from_secs(2),
            max_head: 256 << 10,
            max_headers: 500,
        }
    }
}
