//! Bodies in both directions, streamed frame by frame, never collected on the pass path.
//!
//! Back-pressure needs nothing of its own: a frame is taken from one side only when the other side asks. Trailers are
//! dropped. A connection goes back to its pool with the last frame of the answer. Silence is limited, duration is not.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use http::request::Parts;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::BoxBody;
use hyper::body::Incoming;

use super::tick_timer::Alarm;
use crate::effect::{BodyBudget, Reads};
use crate::upstream::{Lease, Pool, has_closed};

/// The body of an answer to a client.
pub struct Body(Kind);

/// Why a body ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The sender was silent for too long.
    #[error("the body stalled")]
    Idle,
    /// The connection that it came by broke, or its framing was wrong.
    #[error("the body broke off")]
    Broken(#[source] hyper::Error),
    /// Another source failed.
    #[error("the body could not be produced")]
    Other(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Why a body was not collected.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// Longer than allowed; the rest was not read.
    #[error("the body is longer than {0} bytes")]
    TooLarge(usize),
    /// Too many long ones are being read; the rest was not read.
    #[error("there is no room for the body")]
    NoRoom,
    /// It broke off.
    #[error(transparent)]
    Body(BodyError),
}

/// The body of a request on its way up.
pub struct Upload(Source);

/// When an upload last moved, so that the wait for an answer begins after it.
#[derive(Clone, Default)]
pub(super) struct Progress(Arc<AtomicU64>);

/// Answers from upstream on their way to a client.
pub(super) struct Download {
    incoming: Incoming,
    alarm: Alarm,
    back: Option<GoesBack>,
    /// Its end is that of the connection, and the request had a body: a tracker that does not take all of that resets what it
    /// closes, after its whole answer.
    may_end_in_reset: bool,
    /// It broke off. That is told with the next look, so that what came before it goes out first.
    broken: Option<BodyError>,
}

/// A connection that returns to its pool when its answer was read to the end.
pub(super) struct GoesBack {
    pub(super) lease: Lease<Upload>,
    pub(super) pool: Arc<Pool<Upload>>,
    /// With a request body the connection may still be sending when the answer ends.
    pub(super) sent_body: bool,
    /// The answer says where it ends.
    pub(super) is_framed: bool,
}

enum Kind {
    Full(Bytes),
    Stream(Download),
    Boxed(BoxBody<Bytes, BodyError>),
    PassOn(Box<(Parts, Bytes)>),
}

enum Source {
    Full(Bytes),
    Stream { incoming: Incoming, alarm: Alarm, progress: Progress },
}

/// A body of known bytes.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Body(Kind::Full(bytes.into()))
}

/// A body of nothing.
pub fn empty() -> Body {
    full(Bytes::new())
}

/// A body from any other source.
pub fn boxed<B>(body: B) -> Body
where
    B: HttpBody<Data = Bytes> + Send + Sync + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    Body(Kind::Boxed(body.map_err(|e| BodyError::Other(e.into())).boxed()))
}

/// What a guard answers when it has read a request and found nothing in it to guard: `handle` then forwards head and
/// body as they came. The head must be the one that the guard was given.
pub fn pass_on(head: Parts, body: Bytes) -> http::Response<Body> {
    http::Response::new(Body(Kind::PassOn(Box::new((head, body)))))
}

/// What is still to be done once the tracker has answered what was passed on; it goes with the answer of [`pass_on`].
#[derive(Clone)]
pub(super) struct OnAnswer(Arc<Mutex<Option<Then>>>);

type Then = Box<dyn FnOnce(&http::Response<Body>) -> Option<BoxFuture<'static, ()>> + Send>;

impl OnAnswer {
    /// Dropping it is for a request that may have been carried out.
    pub(super) fn new(
        then: impl FnOnce(&http::Response<Body>) -> Option<BoxFuture<'static, ()>> + Send + 'static,
    ) -> Self {
        Self(Arc::new(Mutex::new(Some(Box::new(then)))))
    }

    /// The answer is there.
    pub(super) async fn see(&self, answer: &http::Response<Body>) {
        let then = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(rest) = then.and_then(|then| then(answer)) {
            rest.await;
        }
    }
}

/// Reads a body to its end, if it is no longer than `cap` bytes. One that announces more is not polled at all, so that
/// `100 Continue` is not sent for it. Trailers are dropped.
pub async fn collect_capped<B>(body: B, cap: usize) -> Result<Bytes, CollectError>
where
    B: HttpBody<Data = Bytes, Error = hyper::Error> + Unpin,
{
    collect(body, cap, |_| true).await
}

/// The same, as long as there is room; what it takes is given back with the last of its bytes.
pub async fn collect_within<B>(body: B, cap: usize, room: &Arc<BodyBudget>) -> Result<Bytes, CollectError>
where
    B: HttpBody<Data = Bytes, Error = hyper::Error> + Unpin,
{
    let mut share = room.share(Reads::Body);
    let bytes = collect(body, cap, |length| share.grow_to(length)).await?;
    Ok(share.with(bytes))
}

async fn collect<B>(mut body: B, cap: usize, mut has_room: impl FnMut(usize) -> bool) -> Result<Bytes, CollectError>
where
    B: HttpBody<Data = Bytes, Error = hyper::Error> + Unpin,
{
    let too_large = |length: usize| length > cap;
    if too_large(usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX)) {
        return Err(CollectError::TooLarge(cap));
    }
    // Pieces as they came, and one copy at the end: a buffer that grows holds up to three.
    let (mut pieces, mut length) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| CollectError::Body(BodyError::Broken(e)))?;
        let Ok(data) = frame.into_data() else { continue };
        length += data.len();
        if too_large(length) {
            return Err(CollectError::TooLarge(cap));
        }
        if !has_room(length) {
            return Err(CollectError::NoRoom);
        }
        pieces.push(data);
    }
    if pieces.len() == 1 {
        return Ok(pieces.remove(0));
    }
    let mut whole = BytesMut::with_capacity(length);
    for piece in pieces {
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

// === impl Body ===

impl Body {
    pub(super) fn stream(download: Download) -> Self {
        Self(Kind::Stream(download))
    }

    /// One that is read before it goes on.
    pub(super) fn held(held: impl HttpBody<Data = Bytes, Error = BodyError> + Send + Sync + 'static) -> Self {
        Self(Kind::Boxed(held.boxed()))
    }

    /// The bytes of a body that is there as a whole.
    pub(super) fn whole(&self) -> Option<&Bytes> {
        match &self.0 {
            Kind::Full(bytes) => Some(bytes),
            Kind::Stream(_) | Kind::Boxed(_) | Kind::PassOn(_) => None,
        }
    }

    /// What a guard wants forwarded, if that is what this is; nothing is left of it then.
    pub(super) fn take_passed_on(&mut self) -> Option<(Parts, Bytes)> {
        match std::mem::replace(&mut self.0, Kind::Full(Bytes::new())) {
            Kind::PassOn(request) => Some(*request),
            kind => {
                self.0 = kind;
                None
            }
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.get_mut().0 {
            Kind::Stream(download) => download.poll(cx),
            Kind::Full(bytes) => Poll::Ready(take_once(bytes)),
            Kind::Boxed(body) => Pin::new(body).poll_frame(cx),
            Kind::PassOn(_) => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Stream(download) => download.is_end(),
            Kind::Full(bytes) => bytes.is_empty(),
            Kind::Boxed(body) => body.is_end_stream(),
            Kind::PassOn(_) => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Stream(download) => download.left(),
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Boxed(body) => body.size_hint(),
            Kind::PassOn(_) => SizeHint::with_exact(0),
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        full(bytes)
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Body")
    }
}

// === impl BodyError ===

impl BodyError {
    /// Whether the peer has gone over bytes that it did not read.
    fn is_reset(&self) -> bool {
        let Self::Broken(error) = self else { return false };
        let mut source = std::error::Error::source(error);
        while let Some(error) = source {
            if let Some(error) = error.downcast_ref::<std::io::Error>() {
                return has_closed(error);
            }
            source = error.source();
        }
        false
    }
}

// === impl Download ===

impl Download {
    pub(super) fn new(incoming: Incoming, alarm: Alarm, back: GoesBack) -> Self {
        let may_end_in_reset = back.sent_body && !back.is_framed;
        let mut download = Self { incoming, alarm, back: Some(back), may_end_in_reset, broken: None };
        if download.incoming.is_end_stream() {
            download.give_back();
        }
        download
    }

    pub(super) fn is_end(&self) -> bool {
        self.incoming.is_end_stream()
    }

    /// What is still to come, where that is known.
    pub(super) fn left(&self) -> SizeHint {
        self.incoming.size_hint()
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let incoming = &mut self.incoming;
        let next = match &mut self.back {
            Some(back) => back.lease.poll_with(cx, |cx| poll_data(incoming, cx)),
            None => poll_data(incoming, cx),
        };
        let Poll::Ready(next) = next else {
            return self.alarm.poll(cx).map(|()| {
                self.back = None;
                Some(Err(BodyError::Idle))
            });
        };
        self.alarm.reset();
        let next = match next {
            Some(Err(error)) if self.may_end_in_reset && error.is_reset() => {
                self.back = None;
                None
            }
            next => next,
        };
        match next {
            Some(Err(error)) => {
                (self.back, self.broken) = (None, Some(error));
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Some(Ok(_)) if !self.incoming.is_end_stream() => {}
            Some(Ok(_)) | None => self.give_back(),
        }
        Poll::Ready(next)
    }

    fn give_back(&mut self) {
        if let Some(mut back) = self.back.take()
            && (!back.sent_body || back.lease.is_ready())
        {
            back.pool.put(back.lease);
        }
    }
}

// === impl Upload ===

impl Upload {
    /// A request without a body.
    pub fn none() -> Self {
        Self(Source::Full(Bytes::new()))
    }

    /// A body that was collected before.
    pub fn full(bytes: Bytes) -> Self {
        Self(Source::Full(bytes))
    }

    /// A body as it comes from the client, and where its progress can be seen.
    pub(super) fn stream(incoming: Incoming, alarm: impl FnOnce() -> Alarm) -> (Self, Option<Progress>) {
        if incoming.is_end_stream() {
            return (Self::none(), None);
        }
        let progress = Progress::default();
        (Self(Source::Stream { incoming, alarm: alarm(), progress: progress.clone() }), Some(progress))
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        matches!(&self.0, Source::Full(bytes) if bytes.is_empty())
    }
}

impl HttpBody for Upload {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.get_mut().0 {
            Source::Full(bytes) => Poll::Ready(take_once(bytes)),
            Source::Stream { incoming, alarm, progress } => {
                let Poll::Ready(next) = poll_data(incoming, cx) else {
                    progress.wait_for_client();
                    return alarm.poll(cx).map(|()| Some(Err(BodyError::Idle)));
                };
                alarm.reset();
                progress.note(alarm.now());
                Poll::Ready(next)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Source::Full(bytes) => bytes.is_empty(),
            Source::Stream { incoming, .. } => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Source::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Stream { incoming, .. } => incoming.size_hint(),
        }
    }
}

// === impl Progress ===

impl Progress {
    /// Puts off a time-out that is meant for the upstream: it counts from the last movement, and not at all while the
    /// client is the one who is waited for.
    pub(super) fn put_off(&self, alarm: &mut Alarm) {
        match self.0.load(Ordering::Relaxed) {
            NOT_BEGUN => {}
            CLIENTS_TURN => alarm.reset(),
            tick => alarm.reset_from(tick),
        }
    }

    fn wait_for_client(&self) {
        self.note(CLIENTS_TURN);
    }

    fn note(&self, tick: u64) {
        self.0.store(tick, Ordering::Relaxed);
    }
}

const NOT_BEGUN: u64 = 0;
const CLIENTS_TURN: u64 = u64::MAX;

fn take_once(bytes: &mut Bytes) -> Option<Result<Frame<Bytes>, BodyError>> {
    let bytes = std::mem::take(bytes);
    (!bytes.is_empty()).then(|| Ok(Frame::data(bytes)))
}

/// The next frame of data; trailers end the body and are dropped.
fn poll_data(incoming: &mut Incoming, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
    Poll::Ready(match ready!(Pin::new(incoming).poll_frame(cx)) {
        Some(Ok(frame)) if frame.is_data() => Some(Ok(frame)),
        Some(Ok(_)) | None => None,
        Some(Err(error)) => Some(Err(BodyError::Broken(error))),
    })
}
