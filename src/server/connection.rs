//! One client connection, from its first byte to its end.
//!
//! hyper would arm a timer for each request's head; here the socket notes what happens in a few integers, and one coarse
//! alarm a connection looks at them now and then: a head that takes too long, a connection without requests, a client
//! that does not take its answer. HTTP/2 is spoken only where ALPN chose it.

use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::limits::ConnectionSlot;
use super::sniff::{Owed, Refusal, SniffIo};
use super::{Drain, Limits};
use crate::proxy::{self, Alarm, Body, BodyError, Fault, Peer, TickTimer, Worker};
use crate::upstream::Io;

/// Serves one connection to its end.
pub(super) async fn serve(
    io: Io,
    (peer, place): (Peer, ConnectionSlot),
    worker: Arc<Worker>,
    limits: &Limits,
    drain: Drain,
) {
    let clock = Arc::clone(worker.clock());
    let watch = Arc::new(Watch::new(&clock, limits));
    let is_h2 = speaks_h2(&io);
    let io = Watched { io, watch: Arc::clone(&watch), clock: Arc::clone(&clock) };
    let alarm = clock.alarm(watch.patience);
    let refusal = Arc::new(Refusal::default());
    let here = Here {
        worker,
        peer,
        place,
        watch: Arc::clone(&watch),
        refusal: Arc::clone(&refusal),
        is_h2,
        max_headers: limits.max_headers,
    };
    let here = Arc::new(here);
    let service = service_fn(move |request| Arc::clone(&here).answer(request));
    let outcome = if is_h2 {
        watch.head_since.store(NEVER, Relaxed);
        let (watch, clock) = (&watch, &clock);
        let serving = async move {
            let connection = pin!(h2(limits).serve_connection(TokioIo::new(io), service));
            drive(connection, watch, clock, alarm, drain).await
        };
        // On the heap: those that speak HTTP/1 need not carry its size.
        Box::pin(serving).await
    } else {
        let io =
            TokioIo::new(SniffIo::new(io, limits, Arc::clone(&clock), refusal, Arc::clone(&watch) as Arc<dyn Owed>));
        drive(pin!(h1(limits).serve_connection(io, service)), &watch, &clock, alarm, drain).await
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "client connection ended");
    }
}

/// What every request of one connection needs.
struct Here {
    worker: Arc<Worker>,
    peer: Peer,
    place: ConnectionSlot,
    watch: Arc<Watch>,
    refusal: Arc<Refusal>,
    is_h2: bool,
    max_headers: usize,
}

/// What the alarm looks at. Only this worker's thread writes.
struct Watch {
    in_flight: AtomicU32,
    /// How many requests there were.
    requests: AtomicU64,
    /// Since when a head has been arriving; 0 if none is.
    head_since: AtomicU64,
    /// Since when there has been no request.
    idle_since: AtomicU64,
    /// Since when the client has not taken a byte; 0 if it takes them.
    stalled_since: AtomicU64,
    head_ticks: u64,
    idle_ticks: u64,
    stall_ticks: u64,
    patience: Duration,
    readers: Readers,
}

/// Since when each answer over HTTP/2 waits for its client to take what is there; [`WAITS`] if it is the client that waits,
/// [`NEVER`] if the slot is free. Over HTTP/1 the socket shows that.
#[derive(Default)]
struct Readers(Mutex<Vec<u64>>);

/// The socket, which notes what happens.
struct Watched {
    io: Io,
    watch: Arc<Watch>,
    clock: Arc<TickTimer>,
}

/// An answer's body, which notes its end.
struct Tracked {
    body: Body,
    counted: Counted,
    reader: Option<usize>,
}

struct Counted {
    here: Arc<Here>,
    /// Whether it is one of those that may be under way.
    has_place: bool,
}

/// The two kinds of connection, as far as their end is concerned.
trait Closes: Future<Output = hyper::Result<()>> {
    fn close_after_current(self: Pin<&mut Self>);
}

impl Here {
    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Tracked>, std::convert::Infallible> {
        let counted = Counted::new(Arc::clone(&self));
        let number = self.watch.requests.fetch_add(1, Relaxed);
        let response = match self.refusal.of(number) {
            Some(fault) => proxy::refuse(fault),
            None if !counted.has_place => proxy::turn_away(&self.worker, &self.peer, request, Fault::Busy),
            // Over HTTP/1 hyper counts them.
            None if self.is_h2 && request.headers().len() > self.max_headers => {
                proxy::turn_away(&self.worker, &self.peer, request, Fault::HeadTooLarge)
            }
            None => proxy::handle(&self.worker, &self.peer, request).await,
        };
        let reader = self.is_h2.then(|| self.watch.readers.add(self.worker.clock().now()));
        Ok(response.map(|body| Tracked { body, counted, reader }))
    }
}

/// Polls a connection until it ends, its time is over, or the drain has let it finish.
async fn drive<C: Closes>(
    mut connection: Pin<&mut C>,
    watch: &Watch,
    clock: &TickTimer,
    mut alarm: Alarm,
    drain: Drain,
) -> hyper::Result<()> {
    let mut draining = pin!(drain.started());
    let (mut told, mut is_listening) = (false, false);
    std::future::poll_fn(|cx| {
        // Once polled it wakes this task, which stays the same; until then a look at a flag is enough.
        if !told && (!is_listening || drain.is_draining()) {
            is_listening = true;
            if draining.as_mut().poll(cx).is_ready() {
                told = true;
                connection.as_mut().close_after_current();
            }
        }
        if let Poll::Ready(outcome) = connection.as_mut().poll(cx) {
            return Poll::Ready(outcome);
        }
        while alarm.poll(cx).is_ready() {
            if let Some(why) = watch.overdue(clock.now()) {
                tracing::debug!(why, "client connection closed");
                return Poll::Ready(Ok(()));
            }
            alarm.reset();
        }
        Poll::Pending
    })
    .await
}

fn speaks_h2(io: &Io) -> bool {
    match io {
        Io::Tls(stream) => stream.get_ref().1.alpn_protocol() == Some(b"h2"),
        Io::Tcp(_) | Io::Unix(_) => false,
    }
}

fn h1(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(limits.max_head_bytes.max(8 << 10)).max_header_size(limits.max_head_bytes);
    // The coarse alarm does this.
    builder.header_read_timeout(None);
    // hyper's own default is 100, and saying so would cost an allocation a request.
    if limits.max_headers != 100 {
        builder.max_headers(limits.max_headers);
    }
    builder
}

fn h2(limits: &Limits) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(limits.keep_alive_timeout)
        .max_concurrent_streams(limits.h2_max_streams)
        .initial_stream_window_size(limits.h2_stream_window)
        .initial_connection_window_size(limits.h2_connection_window)
        .max_header_list_size(limits.h2_max_header_list)
        .max_send_buf_size(MOST_UNSENT)
        .max_pending_accept_reset_streams(limits.h2_max_pending_reset);
    builder
}

// === impl Closes ===

impl<S> Closes for http1::Connection<TokioIo<SniffIo<Watched>>, S>
where
    S: hyper::service::HttpService<Incoming, ResBody = Tracked>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn close_after_current(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<S> Closes for http2::Connection<TokioIo<Watched>, S, TokioExecutor>
where
    S: hyper::service::HttpService<Incoming, ResBody = Tracked>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::Future: Send + 'static,
{
    fn close_after_current(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

// === impl Watch ===

impl Watch {
    fn new(clock: &TickTimer, limits: &Limits) -> Self {
        let shortest = limits.header_read_timeout.min(limits.keep_alive_timeout).min(limits.write_stall_timeout);
        Self {
            in_flight: AtomicU32::new(0),
            requests: AtomicU64::new(0),
            head_since: AtomicU64::new(clock.now()),
            idle_since: AtomicU64::new(clock.now()),
            stalled_since: AtomicU64::new(0),
            head_ticks: clock.ticks(limits.header_read_timeout),
            idle_ticks: clock.ticks(limits.keep_alive_timeout),
            stall_ticks: clock.ticks(limits.write_stall_timeout),
            patience: shortest / 4,
            readers: Readers::default(),
        }
    }

    /// Why the connection should be closed, if it should.
    fn overdue(&self, now: u64) -> Option<&'static str> {
        let late = |since: u64, ticks: u64| !matches!(since, 0 | NEVER) && now >= since.saturating_add(ticks);
        let is_late = |since: &u64| late(*since, self.stall_ticks);
        if is_late(&self.stalled_since.load(Relaxed)) || self.readers.lock().iter().any(is_late) {
            return Some("the client does not take its answer");
        }
        if self.in_flight.load(Relaxed) > 0 {
            return None;
        }
        if late(self.head_since.load(Relaxed), self.head_ticks) {
            return Some("a head took too long");
        }
        late(self.idle_since.load(Relaxed), self.idle_ticks).then_some("no request for too long")
    }

    /// Bytes came while no request is being served: they are the head of the next one.
    fn note_read(&self, now: u64) {
        if self.in_flight.load(Relaxed) == 0 && self.head_since.load(Relaxed) == 0 {
            self.head_since.store(now, Relaxed);
        }
    }

    fn note_write(&self, now: u64, pending: bool) {
        if !pending {
            self.stalled_since.store(0, Relaxed);
        } else if self.stalled_since.load(Relaxed) == 0 {
            self.stalled_since.store(now, Relaxed);
        }
    }
}

impl Owed for Watch {
    fn is_due(&self, heads: u64) -> bool {
        self.in_flight.load(Relaxed) > 0 || heads > self.requests.load(Relaxed)
    }
}

// === impl Counted ===

impl Counted {
    fn new(here: Arc<Here>) -> Self {
        here.watch.in_flight.fetch_add(1, Relaxed);
        if here.watch.head_since.load(Relaxed) != NEVER {
            here.watch.head_since.store(0, Relaxed);
        }
        Self { has_place: here.place.begin(), here }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.has_place {
            self.here.place.end();
        }
        let watch = &self.here.watch;
        watch.idle_since.store(self.here.worker.clock().now(), Relaxed);
        watch.in_flight.fetch_sub(1, Relaxed);
    }
}

// === impl Readers ===

impl Readers {
    /// A slot for one more, whose first bytes wait for the client's window.
    fn add(&self, now: u64) -> usize {
        let mut slots = self.lock();
        let free = slots.iter().position(|since| *since == NEVER).unwrap_or(slots.len());
        if free == slots.len() {
            slots.push(NEVER);
        }
        slots[free] = now;
        free
    }

    fn note(&self, slot: usize, since: u64) {
        self.lock()[slot] = since;
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Tracked ===

impl Drop for Tracked {
    fn drop(&mut self) {
        if let Some(slot) = self.reader {
            self.counted.here.watch.readers.note(slot, NEVER);
        }
    }
}

impl HttpBody for Tracked {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let next = Pin::new(&mut this.body).poll_frame(cx);
        if let Some(slot) = this.reader {
            let here = &this.counted.here;
            // The next is asked for once the client's window has room for more.
            let since = if next.is_ready() { here.worker.clock().now() } else { WAITS };
            here.watch.readers.note(slot, since);
        }
        next
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

// === impl Watched ===

impl Watched {
    fn wrote<T>(&self, done: Poll<T>) -> Poll<T> {
        self.watch.note_write(self.clock.now(), done.is_pending());
        done
    }
}

impl AsyncRead for Watched {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let done = Pin::new(&mut this.io).poll_read(cx, buf);
        if done.is_ready() {
            this.watch.note_read(this.clock.now());
        }
        done
    }
}

impl AsyncWrite for Watched {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let done = Pin::new(&mut this.io).poll_write(cx, buf);
        this.wrote(done)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let done = Pin::new(&mut this.io).poll_write_vectored(cx, bufs);
        this.wrote(done)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

/// Bytes of one HTTP/2 stream that wait for the client's window.
const MOST_UNSENT: usize = 64 << 10;
/// It is not the client who is waited for.
const WAITS: u64 = 0;
/// HTTP/2 has no head that could arrive slowly: frames are bounded, and pings would look like one.
const NEVER: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::{PassAll, PassConfig, Shared};
    use crate::server::limits::Gauge;
    use crate::upstream::UpstreamConfig;

    fn size_of<A, B, F>(_: impl Fn(A, B) -> F) -> usize {
        std::mem::size_of::<F>()
    }

    /// Thousands of connections are idle at once, and each keeps room for a request.
    #[tokio::test]
    async fn a_connection_takes_little() {
        let upstream = UpstreamConfig::new("http://127.0.0.1:1".parse().unwrap());
        let handle = tokio::runtime::Handle::current();
        let shared = Shared::new(Arc::new(PassAll), handle, upstream, PassConfig::default()).unwrap();
        let (io, _other) = tokio::net::UnixStream::pair().unwrap();
        let gauge = Gauge::new(Limits::default());
        let place = gauge.admit(None, 0, gauge.one_of_all().await).unwrap();
        let worker = Arc::new(Worker::start(shared));
        let task = serve(Io::Unix(io), (Peer::new(None, false, None), place), worker, &gauge.limits, Drain::new());
        let sizes = (std::mem::size_of_val(&task), size_of(Here::answer));
        assert!(sizes.0 <= 2 << 10 && sizes.1 <= 5 << 10, "{sizes:?}");
    }
}
