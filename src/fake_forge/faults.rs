//! How a fault befalls a request. The same for every fake tracker: what a request does is its own affair.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::StatusCode;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use tokio::time::sleep;

use super::call::WriteScope;
use super::reply::{Content, Cut, FakeReply};
use super::vices::Fault;

/// A request under way.
pub(crate) trait Work: Send + Sync + Sized + 'static {
    /// Carries it out.
    fn run(&self) -> impl Future<Output = FakeReply> + Send;

    /// The tracker's answer with this status, and nothing done.
    fn error(&self, status: StatusCode) -> FakeReply;

    /// Lets only some of its writes be carried out.
    fn limit(&mut self, scope: WriteScope);

    /// Carries it out this much later, in a task that ends with the tracker.
    fn land_later(self, delay: Duration);
}

/// Runs the request through its fault, if it has one.
pub(crate) async fn meet(mut work: impl Work, fault: Option<Fault>) -> Result<FakeReply, Cut> {
    match fault {
        None => Ok(work.run().await),
        Some(Fault::Delay(delay)) => {
            sleep(delay).await;
            Ok(work.run().await)
        }
        Some(Fault::ErrorBeforeWrite(code)) => Ok(work.error(status(code))),
        Some(Fault::ErrorAfterWrite(code)) => {
            work.run().await;
            Ok(work.error(status(code)))
        }
        Some(Fault::Ignore) => {
            work.limit(WriteScope::Nothing);
            Ok(work.run().await)
        }
        Some(Fault::AssigneesThenError(code)) => {
            work.limit(WriteScope::OnlyAssignees);
            work.run().await;
            Ok(work.error(status(code)))
        }
        Some(Fault::RestThenError(code)) => {
            work.limit(WriteScope::AllButAssignees);
            work.run().await;
            Ok(work.error(status(code)))
        }
        Some(Fault::CutBefore) => Err(Cut),
        Some(Fault::CutAfter) => {
            work.run().await;
            Err(Cut)
        }
        Some(Fault::Zombie(delay)) => {
            work.land_later(delay);
            Err(Cut)
        }
        Some(Fault::Hang { lands_after }) => {
            if let Some(delay) = lands_after {
                work.land_later(delay);
            }
            std::future::pending().await
        }
        Some(Fault::Truncated) => Ok(truncated(work.run().await)),
        Some(Fault::Garbled) => Ok(garbled(work.run().await)),
    }
}

/// A status by its code; 500 where there is none.
pub(crate) fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Announces the whole length, sends half, and breaks off.
fn truncated(mut reply: FakeReply) -> FakeReply {
    if let Content::Whole(bytes) = &reply.content {
        let half = bytes.slice(..bytes.len() / 2);
        let length = bytes.len().max(1).to_string();
        let broken = std::io::Error::other("the fake tracker broke off");
        // The pause lets the first half out before the end of the connection is noticed.
        let end = stream::once(async {
            tokio::task::yield_now().await;
            Err(broken)
        });
        let frames = stream::iter([Ok(Frame::data(half))]).chain(end);
        reply.content = Content::Stream(StreamBody::new(frames).boxed_unsync());
        return reply.with(http::header::CONTENT_LENGTH, &length);
    }
    reply
}

fn garbled(mut reply: FakeReply) -> FakeReply {
    reply.content = Content::Whole(Bytes::from_static(b"{\"id\":<html>upstream is sorry"));
    reply
}
