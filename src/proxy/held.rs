//! An answer that is looked at before its head goes on: a small one is read whole, any other streams as it came.
//!
//! A header about a body has to leave before it. So the body is held, up to a size and for a while; if it turns out to be
//! longer, slower or broken, what is held goes on first and the rest follows as it comes. No byte is changed or kept.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::body::{Body, BodyError, Download, full};
use super::tick_timer::Alarm;

/// The beginning of a body, and what follows it.
struct Held {
    frames: VecDeque<Bytes>,
    rest: Rest,
}

enum Rest {
    Goes(Download),
    /// What is held goes out first: an error that comes at once with it would take it along.
    Breaks(BodyError),
    Broke(BodyError),
    Ended,
}

/// The longest body that is held; an item with a long text has a few ten kilobytes.
pub(super) const LONGEST: usize = 256 << 10;

/// How long a body may be held: a slow one loses its header, not its pace.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// The whole body if it is short and comes in time, else one that begins with what was held.
pub(super) async fn hold(mut download: Download, mut patience: Alarm) -> Body {
    if usize::try_from(download.left().lower()).is_ok_and(|left| left > LONGEST) {
        return Body::stream(download);
    }
    let mut frames = VecDeque::new();
    let mut length = 0;
    while length <= LONGEST {
        match next(&mut download, &mut patience).await {
            Some(Some(Ok(frame))) => {
                let data = frame.into_data().unwrap_or_default();
                if frames.is_empty() && data.len() <= LONGEST && download.is_end() {
                    return full(data);
                }
                length += data.len();
                frames.push_back(data);
            }
            Some(Some(Err(error))) => return Body::held(Held { frames, rest: Rest::Breaks(error) }),
            Some(None) => return full(joined(frames, length)),
            None => break,
        }
    }
    Body::held(Held { frames, rest: Rest::Goes(download) })
}

/// The next frame; `None` if it does not come in time.
async fn next(download: &mut Download, patience: &mut Alarm) -> Option<Option<Result<Frame<Bytes>, BodyError>>> {
    poll_fn(|cx| match download.poll(cx) {
        Poll::Ready(next) => Poll::Ready(Some(next)),
        Poll::Pending => patience.poll(cx).map(|()| None),
    })
    .await
}

fn joined(mut frames: VecDeque<Bytes>, length: usize) -> Bytes {
    match frames.pop_front() {
        Some(one) if frames.is_empty() => one,
        first => {
            let mut whole = BytesMut::with_capacity(length);
            first.iter().chain(&frames).for_each(|frame| whole.extend_from_slice(frame));
            whole.freeze()
        }
    }
}

// === impl Held ===

impl HttpBody for Held {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(frame) = self.frames.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(frame))));
        }
        match std::mem::replace(&mut self.rest, Rest::Ended) {
            Rest::Goes(mut download) => {
                let next = download.poll(cx);
                self.rest = Rest::Goes(download);
                next
            }
            Rest::Breaks(error) => {
                self.rest = Rest::Broke(error);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Rest::Broke(error) => Poll::Ready(Some(Err(error))),
            Rest::Ended => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        let ended = match &self.rest {
            Rest::Goes(download) => download.is_end(),
            Rest::Breaks(_) | Rest::Broke(_) => false,
            Rest::Ended => true,
        };
        ended && self.frames.is_empty()
    }

    /// What is still to come, where that is known.
    fn size_hint(&self) -> SizeHint {
        let held: u64 = self.frames.iter().map(|frame| frame.len() as u64).sum();
        match &self.rest {
            Rest::Goes(download) => {
                download.left().exact().map_or_else(SizeHint::new, |left| SizeHint::with_exact(held + left))
            }
            // Shorter than its head may have announced: nothing is promised.
            Rest::Breaks(_) | Rest::Broke(_) => SizeHint::new(),
            Rest::Ended => SizeHint::with_exact(held),
        }
    }
}
