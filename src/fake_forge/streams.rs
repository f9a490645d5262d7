//! What is never held in memory: an upload that is counted, a download that is made up, and the stream of events.

use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::header::{CACHE_CONTROL, HeaderName};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming, SizeHint};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::timeout;

use super::FakeForge;
use super::entry::{enter_stream, finish};
use super::inner::Inner;
use super::journal::Received;
use super::reply::{Body, Content, Cut, FakeReply};

/// How often the stream of events says that it is alive.
const PING: Duration = Duration::from_secs(30);

/// Byte `i` of a download is `i % 251`; whole periods a chunk, so that each chunk is the same.
const PERIOD: u8 = 251;
static CHUNK: [u8; 251 * 64] = chunk();

impl FakeForge {
    /// The uploads that have ended, in that order.
    pub fn received(&self) -> Vec<Received> {
        self.inner.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The byte at this place of every download from `/source/{n}`.
    pub fn source_byte(at: u64) -> u8 {
        u8::try_from(at % u64::from(PERIOD)).unwrap_or_default()
    }

    /// Sends one event to everybody on `/user/events`.
    pub fn push_event(&self, name: &str, data: &str) {
        // Without a listener it is lost, as on the real one.
        let _ = self.inner.events.send(Bytes::from(format!("event: {name}\ndata: {data}\n\n")));
    }

    /// How many listen on `/user/events`.
    pub fn listeners(&self) -> usize {
        self.inner.events.receiver_count()
    }
}

pub(super) fn is_stream(path: &str) -> bool {
    path == "/user/events" || path.starts_with("/sink/") || path.starts_with("/source/")
}

pub(super) async fn answer(inner: &Arc<Inner>, request: Request<Incoming>) -> Result<FakeReply, Cut> {
    let seq = match enter_stream(inner, &request).await {
        Ok(seq) => seq,
        Err(befallen) => return befallen,
    };
    let path = request.uri().path().to_owned();
    let reply = if path == "/user/events" {
        events(inner)
    } else if let Some(length) = path.strip_prefix("/source/") {
        source(length)
    } else {
        sink(inner, seq, request.into_body()).await?
    };
    Ok(finish(inner, seq, reply))
}

// === upload ===

async fn sink(inner: &Inner, seq: u64, mut body: Incoming) -> Result<FakeReply, Cut> {
    let mut hash = Sha256::new();
    let mut bytes = 0;
    let mut complete = true;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            complete = false;
            break;
        };
        if let Some(data) = frame.data_ref() {
            bytes += data.len() as u64;
            hash.update(data);
        }
    }
    let sha256 = hash.finalize().iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    let reply = FakeReply::ok(&json!({ "bytes": bytes, "sha256": sha256 }));
    let received = Received { seq, bytes, sha256, complete };
    inner.received.lock().unwrap_or_else(PoisonError::into_inner).push(received);
    if complete { Ok(reply) } else { Err(Cut) }
}

// === download ===

fn source(length: &str) -> FakeReply {
    let Ok(left) = length.parse() else {
        return FakeReply::empty(StatusCode::NOT_FOUND);
    };
    let mut reply = FakeReply::typed(StatusCode::OK, "application/octet-stream", "");
    reply.content = Content::Stream(PatternBody { left }.boxed_unsync());
    reply
}

#[derive(Debug)]
struct PatternBody {
    left: u64,
}

impl hyper::body::Body for PatternBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        if self.is_end_stream() {
            return Poll::Ready(None);
        }
        let now = usize::try_from(self.left).unwrap_or(usize::MAX).min(CHUNK.len());
        self.left -= now as u64;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&CHUNK[..now])))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

const fn chunk() -> [u8; 251 * 64] {
    let mut bytes = [0; 251 * 64];
    let mut at = 1;
    while at < bytes.len() {
        bytes[at] = (bytes[at - 1] + 1) % PERIOD;
        at += 1;
    }
    bytes
}

// === events ===

fn events(inner: &Inner) -> FakeReply {
    let listener = inner.events.subscribe();
    let frames = stream::unfold(listener, |mut listener| async move {
        let event = next_event(&mut listener).await?;
        Some((Ok(Frame::data(event)), listener))
    });
    let body: Body = StreamBody::new(frames).boxed_unsync();
    let mut reply = FakeReply::typed(StatusCode::OK, "text/event-stream", "")
        .with(CACHE_CONTROL, "no-cache")
        .with(HeaderName::from_static("x-accel-buffering"), "no");
    reply.content = Content::Stream(body);
    reply
}

/// The next event pushed, or a ping when none comes; nothing once the forge is gone.
async fn next_event(listener: &mut broadcast::Receiver<Bytes>) -> Option<Bytes> {
    loop {
        match timeout(PING, listener.recv()).await {
            Ok(Ok(event)) => return Some(event),
            Ok(Err(RecvError::Lagged(_))) => {}
            Ok(Err(RecvError::Closed)) => return None,
            Err(_) => return Some(Bytes::from_static(b"event: ping\n\n")),
        }
    }
}
