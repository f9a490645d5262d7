//! The pass path: one exchange with the upstream, streamed both ways.
//!
//! Which connection a request may use depends on what a stale one would cost:
//! - never sent (the connection was found closed first): it goes on a new connection, whatever it is;
//! - safe and without a body: any idle connection, and once more on a new one if that broke before an answer;
//! - everything else: an idle connection only if it was used within `fresh_for`, else a new one; never repeated.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, Request, Response, StatusCode, Uri, Version, response};
use http_body::Body as _;
use hyper::body::Incoming;

use super::body::{Body, BodyError, Download, GoesBack, Progress, Upload};
use super::fault::Fault;
use super::headers::{self, ClientView};
use super::{HostSent, Note, Passed, Peer, STATE, Worker, held};
use crate::upstream::{Lease, SendError};

/// Forwards a request as it comes.
pub(super) async fn stream(
    worker: &Worker,
    peer: &Peer,
    (head, body): (Parts, Incoming),
    note: Note,
) -> Response<Body> {
    let (upload, progress) = Upload::stream(body, || worker.clock.alarm_in(worker.idle_ticks));
    forward(worker, peer, (&head, &note), upload, progress).await
}

/// Forwards a request whose body was read before.
pub(super) async fn collected(worker: &Worker, peer: &Peer, head: Parts, body: Bytes) -> Response<Body> {
    let note = worker.shared.guard.note_of(&head);
    forward(worker, peer, (&head, &note), Upload::full(body), None).await
}

async fn forward(
    worker: &Worker,
    peer: &Peer,
    (head, note): (&Parts, &Note),
    upload: Upload,
    progress: Option<Progress>,
) -> Response<Body> {
    let view = worker.shared.views.of(head, peer);
    let sent_body = !upload.is_empty();
    match exchange(worker, peer, head, upload, progress).await {
        Ok((answer, lease)) => {
            if let Some(health) = worker.shared.guard.health() {
                health.tracker_works();
            }
            let is_framed =
                [header::CONTENT_LENGTH, header::TRANSFER_ENCODING].iter().any(|it| answer.headers().contains_key(it));
            let back = GoesBack { lease, pool: Arc::clone(&worker.pool), sent_body, is_framed };
            let (mut answer, download) = answered(worker, answer, back, &view);
            let passed =
                Passed { head, note, memo: &worker.memo, peer, status: answer.status, headers: &answer.headers };
            worker.shared.guard.passed(passed);
            let (mut body, state) = with_state_header(worker, passed, download).await;
            if worker.shared.leads_back(peer, &view) {
                body = worker.shared.rewriter.body(answer.status, &mut answer.headers, body, &view);
            }
            let mut response = Response::from_parts(answer, body);
            if let Some(state) = state {
                response.headers_mut().insert(STATE, state);
            }
            response
        }
        Err(fault) => {
            log(worker, &fault);
            if matches!(fault.status(), StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT) {
                let nothing = HeaderMap::new();
                let (memo, status) = (&worker.memo, fault.status());
                worker.shared.guard.passed(Passed { head, note, memo, peer, status, headers: &nothing });
            }
            fault.into_response(&view)
        }
    }
}

/// What a client does wrong is its own affair, and must not fill the log; nor must a tracker that is not there.
fn log(worker: &Worker, fault: &Fault) {
    let (health, status) = (worker.shared.guard.health(), fault.status());
    match (fault, health) {
        (Fault::Unreachable(why), Some(health)) => health.tracker_fails(why),
        _ if status.is_server_error() && !health.is_some_and(|health| health.tracker.has_failed()) => {
            tracing::warn!(status = status.as_u16(), error = fault.detail(), "pass failed: {fault}");
        }
        _ => tracing::debug!(status = status.as_u16(), "pass failed: {fault}"),
    }
}

/// One exchange with the upstream, up to the head of its answer.
pub(super) async fn exchange(
    worker: &Worker,
    peer: &Peer,
    head: &Parts,
    upload: Upload,
    progress: Option<Progress>,
) -> Result<(Response<Incoming>, Lease<Upload>), Fault> {
    let repeatable = upload.is_empty() && head.method.is_safe();
    let request = outbound(worker, peer, head, upload)?;
    let idle = if repeatable { worker.pool.take() } else { worker.pool.take_fresh() };
    let request = match idle {
        None => request,
        Some(lease) => match attempt(worker, lease, request, progress.as_ref()).await {
            Ok(done) => return Ok(done),
            Err(Failure::Unsent(request)) => *request,
            Err(Failure::Lost(_)) if repeatable => outbound(worker, peer, head, Upload::none())?,
            Err(failure) => return Err(failure.into_fault()),
        },
    };
    // On the heap: nearly every request finds a connection, and need not carry what opening one takes.
    Box::pin(async {
        let lease = worker.pool.open().await.map_err(|e| Fault::Unreachable(e.to_string()))?;
        attempt(worker, lease, request, progress.as_ref()).await.map_err(Failure::into_fault)
    })
    .await
}

enum Failure {
    /// No byte left.
    Unsent(Box<Request<Upload>>),
    /// The connection broke before an answer.
    Lost(hyper::Error),
    /// Anything that a repetition would not mend.
    Final(Fault),
}

async fn attempt(
    worker: &Worker,
    mut lease: Lease<Upload>,
    request: Request<Upload>,
    progress: Option<&Progress>,
) -> Result<(Response<Incoming>, Lease<Upload>), Failure> {
    if progress.is_some() {
        lease.detach();
    }
    let mut answer = pin!(lease.send(request));
    let mut alarm = worker.clock.alarm_in(worker.head_ticks);
    let answer = poll_fn(|cx| {
        if let Poll::Ready(answer) = lease.poll_with(cx, |cx| answer.as_mut().poll(cx)) {
            return Poll::Ready(Some(answer));
        }
        if let Some(progress) = progress {
            progress.put_off(&mut alarm);
        }
        alarm.poll(cx).map(|()| None)
    });
    match answer.await {
        None => Err(Failure::Final(Fault::Timeout)),
        Some(Ok(answer)) if answer.status() == StatusCode::SWITCHING_PROTOCOLS => {
            Err(Failure::Final(Fault::BadAnswer("the upstream switched protocols unasked".to_owned())))
        }
        Some(Ok(answer)) => Ok((answer, lease)),
        Some(Err(SendError::Unsent(request, _))) => Err(Failure::Unsent(request)),
        Some(Err(SendError::Broken(error))) => Err(broken(error)),
    }
}

fn broken(error: hyper::Error) -> Failure {
    if error.is_user() {
        return Failure::Final(match find_body_error(&error) {
            Some(BodyError::Idle) => Fault::ClientStalled,
            _ => Fault::ClientBody,
        });
    }
    if error.is_parse() {
        return Failure::Final(Fault::BadAnswer(error.to_string()));
    }
    Failure::Lost(error)
}

fn find_body_error(error: &hyper::Error) -> Option<&BodyError> {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        source = error.source();
    }
    None
}

/// The answer as the client gets it.
fn answered(
    worker: &Worker,
    answer: Response<Incoming>,
    back: GoesBack,
    view: &ClientView<'_>,
) -> (response::Parts, Download) {
    let (head, body) = answer.into_parts();
    let mut out = Response::new(()).into_parts().0;
    (out.status, out.headers) = (head.status, head.headers);
    headers::for_client(out.status, &mut out.headers);
    worker.shared.rewriter.answer(&mut out.headers, view);
    let alarm = worker.clock.alarm_in(worker.idle_ticks);
    (out, Download::new(body, alarm, back))
}

/// The body, and the state that it shows where it is a small one that shows one item; all others stream.
async fn with_state_header(worker: &Worker, note: Passed<'_>, download: Download) -> (Body, Option<HeaderValue>) {
    let guard = &worker.shared.guard;
    if !guard.shows_state(note) {
        return (Body::stream(download), None);
    }
    let body = held::hold(download, worker.clock.alarm(held::PATIENCE)).await;
    let state = body.whole().and_then(|bytes| guard.state_of(note, bytes));
    (body, state)
}

/// The request as the upstream gets it.
fn outbound(worker: &Worker, peer: &Peer, head: &Parts, upload: Upload) -> Result<Request<Upload>, Fault> {
    let origin = worker.pool.dialer().origin();
    let mut headers = headers::for_upstream(head, peer, origin, &worker.shared.views);
    let shared = &worker.shared;
    if shared.pass.host == HostSent::Upstreams {
        headers.insert(header::HOST, origin.authority().clone());
    }
    // What is compressed cannot be rewritten.
    if shared.rewriter.rewrites_bodies() && shared.leads_back(peer, &shared.views.of(head, peer)) {
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    // Without this hyper would drop the body of a GET whose length nobody knows.
    if !upload.is_end_stream() && upload.size_hint().exact().is_none() {
        headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    let mut request = Request::new(upload);
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = target(&head.uri, origin.base())?;
    *request.version_mut() = Version::HTTP_11;
    *request.headers_mut() = headers;
    Ok(request)
}

/// Origin-form, always: hyper would send an absolute target as it came.
fn target(uri: &Uri, base: &str) -> Result<Uri, Fault> {
    let path = uri.path();
    let is_at_root = base.is_empty() || is_registry(path);
    if (is_at_root && uri.authority().is_none()) || path == "*" {
        return Ok(uri.clone());
    }
    let target = match uri.path_and_query() {
        Some(whole) if is_at_root => whole.clone(),
        whole => {
            let text = format!("{base}{}", whole.map_or("/", PathAndQuery::as_str));
            PathAndQuery::try_from(text).map_err(|_| Fault::BadRequest("the target must be a path"))?
        }
    };
    Ok(Uri::from(target))
}

/// Container clients ask for it at the root of the host, whatever path the tracker is served below.
fn is_registry(path: &str) -> bool {
    path.strip_prefix("/v2").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

// === impl Failure ===

impl Failure {
    fn into_fault(self) -> Fault {
        match self {
            Failure::Unsent(_) => Fault::BadAnswer("the new connection closed at once".to_owned()),
            Failure::Lost(error) => Fault::BadAnswer(error.to_string()),
            Failure::Final(fault) => fault,
        }
    }
}
