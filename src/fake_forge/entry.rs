//! A request's entry in the log, and what befalls it by then.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use hyper::body::Incoming;
use tokio::time::{Instant, sleep};

use super::faults::status;
use super::inner::Inner;
use super::journal::Logged;
use super::reply::{Cut, FakeReply};
use super::vices::Fault;

/// What the log keeps of a body.
const LOGGED_BODY: usize = 64 * 1024;

/// What was settled when the request was entered in the log.
pub(super) struct RequestEntry {
    pub(super) seq: u64,
    pub(super) fault: Option<Fault>,
    pub(super) read_delay: Duration,
    pub(super) answer_delay: Duration,
}

pub(super) fn enter(
    inner: &Inner,
    method: &Method,
    uri: &http::Uri,
    headers: &HeaderMap,
    body: &Bytes,
) -> RequestEntry {
    let target = uri.to_string();
    let mut state = inner.state();
    let scripted = state.script.take(method, &target);
    let standing = if is_read(method) { state.vices.read_fault } else { state.vices.write_fault };
    let seq = state.log.push(Logged {
        seq: 0,
        at: Instant::now(),
        method: method.clone(),
        target,
        headers: headers.clone(),
        body: body.slice(..body.len().min(LOGGED_BODY)),
        login: None,
        status: None,
        applied: false,
        guarded: false,
    });
    RequestEntry {
        seq,
        fault: scripted.or(standing),
        read_delay: state.vices.read_delay,
        answer_delay: state.vices.answer_delay,
    }
}

/// Enters a streaming request, whose body is never held. Of the faults only those that write nothing befall it.
pub(super) async fn enter_stream(inner: &Inner, request: &Request<Incoming>) -> Result<u64, Result<FakeReply, Cut>> {
    let headers = request.headers();
    let entered = enter(inner, request.method(), request.uri(), headers, &Bytes::new());
    match entered.fault {
        Some(Fault::ErrorBeforeWrite(code)) => {
            let reply = FakeReply::error(&inner.state().root, status(code), "");
            Err(Ok(finish(inner, entered.seq, reply)))
        }
        Some(Fault::CutBefore) => Err(Err(Cut)),
        Some(Fault::Hang { .. }) => std::future::pending().await,
        Some(Fault::Delay(delay)) => {
            sleep(delay).await;
            Ok(entered.seq)
        }
        _ => Ok(entered.seq),
    }
}

/// Enters the status; the client is about to see it.
pub(super) fn finish(inner: &Inner, seq: u64, reply: FakeReply) -> FakeReply {
    if let Some(entry) = inner.state().log.get_mut(seq) {
        entry.status = Some(reply.status.as_u16());
    }
    reply
}

pub(super) fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}
