//! Kept connections to the upstream, last in, first out.
//!
//! Each edge worker has a pool of its own, so the lock is never contended there. A connection is handed out as a
//! [`Lease`]; whoever read an answer to its end puts it back, and a lease that is dropped closes its connection.
//! The newest connection goes first: the ones that the load no longer needs grow old and are swept.
//!
//! A connection is driven by a task of its own, or by whoever has its lease: then request and answer need no task but that of
//! their client, and what lies in the pool is only looked at when it is swept or taken. That it was closed meanwhile is
//! found out before a byte leaves ([`SendError::Unsent`]).

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
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
pub struct Pool<B: Body + 'static> {
    dialer: Arc<Dialer>,
    config: PoolConfig,
    /// Whether connections are driven by whoever has their lease.
    is_driven_by_lease: bool,
    idle: Mutex<Vec<Idle<B>>>,
}

/// A connection in somebody's hands. Dropped, it is closed.
pub struct Lease<B: Body + 'static> {
    sender: SendRequest<B>,
    driver: Driver<B>,
    reused: bool,
}

/// By whom a connection goes on.
enum Driver<B: Body + 'static> {
    /// A task of its own, which ends with this.
    Task { _running: OnDrop },
    /// Whoever has the lease; `None` once the connection has ended.
    Lease(Option<Box<Driven<B>>>),
}

/// A connection that goes on while it is polled.
struct Driven<B: Body + 'static> {
    connection: http1::Connection<TokioIo<EarlyAnswers>, B>,
    relay: Arc<Relay>,
    /// Wakes the relay. It is the same for the life of the connection, so that nothing is registered anew.
    waker: Waker,
}

/// Passes the wake-ups of a connection on to whoever has its lease, but for those that its own polling makes: its parts speak
/// to each other by channels, and the task that polls them all need not be woken for that.
#[derive(Default)]
struct Relay {
    holder: AtomicWaker,
    is_polling: AtomicBool,
    again: AtomicBool,
}

/// Why there was no answer on a lease.
#[derive(Debug)]
pub enum SendError<B> {
    /// The connection closed before the request was taken from the queue: no byte left, here it is again.
    Unsent(Box<Request<B>>, hyper::Error),
    /// Anything later.
    Broken(hyper::Error),
}

struct Idle<B: Body + 'static> {
    lease: Lease<B>,
    since: Instant,
}

struct OnDrop(AbortHandle);

/// The time in which a connection is polled and what comes by it is taken: nobody is woken for what happens in it.
struct Turn(Arc<Relay>);

/// A connection that goes on and on lets others go on, too.
const MOST_TURNS: usize = 8;

/// hyper takes no smaller one.
const LEAST_BUFFER: usize = 8 << 10;

// === impl Pool ===

impl<B> Pool<B>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// An empty pool, whose connections are tasks.
    pub fn of_tasks(dialer: Arc<Dialer>, config: PoolConfig) -> Arc<Self> {
        Arc::new(Self { dialer, config, is_driven_by_lease: false, idle: Mutex::default() })
    }

    /// An empty pool, whose connections go on while whoever has their lease polls them ([`Lease::poll_with`]).
    pub fn of_leases(dialer: Arc<Dialer>, config: PoolConfig) -> Arc<Self> {
        Arc::new(Self { dialer, config, is_driven_by_lease: true, idle: Mutex::default() })
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
        let mut builder = http1::Builder::new();
        builder.max_buf_size(self.config.max_head.max(LEAST_BUFFER)).max_header_size(self.config.max_head);
        // hyper's own default is 100, and saying so would cost two allocations an answer.
        if self.config.max_headers != 100 {
            builder.max_headers(self.config.max_headers);
        }
        let (sender, connection) =
            builder.handshake(TokioIo::new(EarlyAnswers::of(io))).await.map_err(DialError::Handshake)?;
        let driver = if self.is_driven_by_lease {
            let relay = Arc::new(Relay::default());
            let waker = Waker::from(Arc::clone(&relay));
            Driver::Lease(Some(Box::new(Driven { connection, relay, waker })))
        } else {
            Driver::Task { _running: spawned(connection) }
        };
        Ok(Lease { sender, driver, reused: false })
    }

    /// Keeps a connection whose last answer was read to its end.
    pub fn put(&self, mut lease: Lease<B>) {
        // One that nobody drives any more is kept only if it has nothing left to do.
        if !lease.settle() || lease.sender.is_closed() {
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
        let stays = |idle: &mut Idle<B>| {
            let is_young = now.duration_since(idle.since) < self.config.idle_timeout;
            is_young && !idle.lease.has_ended()
        };
        self.lock().retain_mut(stays);
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
    pub fn is_ready(&mut self) -> bool {
        self.settle();
        self.sender.is_ready()
    }

    /// Takes what comes by the connection: the head of an answer, or a part of its body. While there is nothing the connection
    /// goes on, and the task of `cx` is woken when there may be something.
    pub fn poll_with<T>(&mut self, cx: &mut Context<'_>, mut take: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        let Driver::Lease(driven) = &mut self.driver else { return take(cx) };
        let mut nobody = Context::from_waker(Waker::noop());
        let Some(running) = driven else { return take(&mut nobody) };
        let turn = Turn::begin(&running.relay, cx);
        let taken = take(&mut nobody);
        if taken.is_ready() {
            return taken;
        }
        for _ in 0..MOST_TURNS {
            turn.has_news();
            let has_ended = drive(driven);
            let taken = take(&mut nobody);
            if taken.is_ready() || has_ended {
                return taken;
            }
            if !turn.has_news() {
                turn.wait(cx);
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Gives the connection a task of its own: what goes up by it does not wait for whoever takes what comes down.
    pub fn detach(&mut self) {
        if let Driver::Lease(driven) = &mut self.driver
            && let Some(driven) = driven.take()
        {
            self.driver = Driver::Task { _running: spawned(driven.connection) };
        }
    }

    /// Lets a connection that nobody waits for do what is left, and forget who waited. Whether the next request could start.
    fn settle(&mut self) -> bool {
        let Driver::Lease(driven) = &mut self.driver else { return true };
        if let Some(running) = driven {
            running.relay.holder.take();
        }
        // Nearly always it has nothing left to do, and waits for the next request already.
        self.sender.is_ready() || {
            drive(driven);
            self.sender.is_ready()
        }
    }

    /// Whether it was closed meanwhile: one that nobody drives does not know.
    fn has_ended(&mut self) -> bool {
        if let Driver::Lease(driven) = &mut self.driver {
            drive(driven);
        }
        self.sender.is_closed()
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

// === impl Relay ===

impl Turn {
    fn begin(relay: &Arc<Relay>, cx: &Context<'_>) -> Self {
        relay.holder.register(cx.waker());
        relay.is_polling.store(true, Ordering::SeqCst);
        Self(Arc::clone(relay))
    }

    /// Whether something happened since this was asked last.
    fn has_news(&self) -> bool {
        self.0.again.swap(false, Ordering::SeqCst)
    }

    /// From now on the holder is woken, and at once if there is news already.
    fn wait(self, cx: &Context<'_>) {
        self.0.is_polling.store(false, Ordering::SeqCst);
        if self.has_news() {
            cx.waker().wake_by_ref();
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.is_polling.store(false, Ordering::SeqCst);
    }
}

impl Wake for Relay {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // In this order, and the other way round at the end of a turn: none is lost between the two.
        self.again.store(true, Ordering::SeqCst);
        if !self.is_polling.load(Ordering::SeqCst) {
            self.holder.wake();
        }
    }
}

fn spawned<B>(connection: http1::Connection<TokioIo<EarlyAnswers>, B>) -> OnDrop
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let task = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "upstream connection ended");
        }
    });
    OnDrop(task.abort_handle())
}

/// Polls a connection, and drops it at its end: whatever waits for it fails then. Whether it has ended.
fn drive<B>(driven: &mut Option<Box<Driven<B>>>) -> bool
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let Some(Driven { connection, waker, .. }) = driven.as_deref_mut() else { return true };
    let Poll::Ready(outcome) = Pin::new(connection).poll(&mut Context::from_waker(waker)) else { return false };
    if let Err(error) = outcome {
        tracing::debug!(%error, "upstream connection ended");
    }
    *driven = None;
    true
}

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            max_idle: 1024,
            idle_timeout: Duration::from_mins(1),
            fresh_for: Duration::from_secs(2),
            max_head: 256 << 10,
            max_headers: 500,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Origin, UpstreamConfig};
    use super::*;
    use http_body_util::{BodyExt as _, Full};
    use std::future::poll_fn;
    use std::pin::pin;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    type Out = Full<Bytes>;

    async fn pool() -> (Arc<Pool<Out>>, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin: Origin = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let dialer = Dialer::new(&UpstreamConfig::new(origin)).unwrap();
        (Pool::of_leases(Arc::new(dialer), PoolConfig::default()), listener)
    }

    async fn head_of(stream: &mut TcpStream) {
        let mut read = Vec::new();
        while !read.ends_with(b"\r\n\r\n") {
            read.push(stream.read_u8().await.unwrap());
        }
    }

    async fn ask(lease: &mut Lease<Out>) -> Result<Response<Incoming>, SendError<Out>> {
        let mut answer = pin!(lease.send(Request::new(Out::default())));
        poll_fn(|cx| lease.poll_with(cx, |cx| answer.as_mut().poll(cx))).await
    }

    async fn body_of(lease: &mut Lease<Out>, mut body: Incoming) -> Vec<u8> {
        let mut whole = Vec::new();
        while let Some(frame) = poll_fn(|cx| lease.poll_with(cx, |cx| Pin::new(&mut body).poll_frame(cx))).await {
            whole.extend_from_slice(&frame.unwrap().into_data().unwrap());
        }
        whole
    }

    /// Pieces that come one by one, each of which wakes whoever waits for it, and a second exchange on the same connection.
    #[tokio::test]
    async fn who_has_the_lease_drives_the_connection() {
        let (pool, listener) = pool().await;
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            for _ in 0..2 {
                head_of(&mut stream).await;
                for piece in ["HTTP/1.1 200 OK\r\ncontent-le", "ngth: 6\r\n\r\n", "ab", "cd", "ef"] {
                    stream.write_all(piece.as_bytes()).await.unwrap();
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
            stream
        });
        for has_one in [false, true] {
            let mut lease = match pool.take() {
                Some(lease) => lease,
                None => pool.open().await.unwrap(),
            };
            assert_eq!(lease.reused(), has_one);
            let answer = ask(&mut lease).await.unwrap();
            assert_eq!(body_of(&mut lease, answer.into_body()).await, b"abcdef");
            pool.put(lease);
            assert_eq!(pool.idle(), 1);
        }
        drop(server.await.unwrap());
    }

    #[tokio::test]
    async fn what_was_closed_in_the_pool_is_never_written_to() {
        let (pool, listener) = pool().await;
        let server = tokio::spawn(async move {
            let mut streams = Vec::new();
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().await.unwrap();
                head_of(&mut stream).await;
                stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
                streams.push(stream);
            }
            streams
        });
        let leases = [pool.open().await.unwrap(), pool.open().await.unwrap()];
        for mut lease in leases {
            assert_eq!(ask(&mut lease).await.unwrap().status(), 204);
            pool.put(lease);
        }
        // Both are closed only now.
        drop(server.await.unwrap());
        tokio::time::sleep(Duration::from_millis(20)).await;
        let mut lease = pool.take().unwrap();
        assert!(matches!(ask(&mut lease).await, Err(SendError::Unsent(..))));
        assert!(lease.is_closed());
        assert_eq!(pool.idle(), 1, "nobody has looked at the other");
        pool.sweep();
        assert_eq!(pool.idle(), 0);
    }

    #[tokio::test]
    async fn a_detached_connection_goes_on_by_itself() {
        let (pool, listener) = pool().await;
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            for _ in 0..2 {
                head_of(&mut stream).await;
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
            }
            stream
        });
        let mut lease = pool.open().await.unwrap();
        lease.detach();
        let answer = lease.send(Request::new(Out::default())).await.unwrap();
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "ok");
        assert!(lease.ready().await);
        pool.put(lease);
        let mut lease = pool.take().unwrap();
        let answer = ask(&mut lease).await.unwrap();
        assert_eq!(body_of(&mut lease, answer.into_body()).await, b"ok");
        drop(server.await.unwrap());
    }
}
