//! The adapter of the gate's port: whole requests, whole answers, at most one send.
//!
//! A read may take an idle connection and be repeated once when that one was stale. A send takes the connection that
//! carried the read just before, or a new one: an idle one that its peer is about to close would turn a plain failure into
//! a doubt. What ends before a complete and readable answer is `Unknown`, and its connection is closed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;

use super::origin::path_within;
use super::{DialError, Dialer, Lease, Origin, Pool, SendError, TruncatingBuffer, UpstreamConfig};
use crate::dialect::{WireRequest, WireResponse};
use crate::effect::{BodyBudget, CallError, Carrier, Reads, Sending, Upstream};

type Out = Full<Bytes>;

/// The tracker over HTTP/1.1. Lives on the runtime that it was made on.
pub struct HttpUpstream {
    pool: Arc<Pool<Out>>,
    public: Option<Origin>,
    read_timeout: Duration,
    write_timeout: Duration,
    max_answer: usize,
    room: Arc<BodyBudget>,
}

/// A lease on its way from a read to a send; if no send comes it goes back to the pool.
struct Carried {
    lease: Option<Lease<Out>>,
    pool: Arc<Pool<Out>>,
}

enum Attempt {
    /// Answered in full; the connection may carry more.
    Done(WireResponse, Lease<Out>),
    /// No byte left.
    Unsent(String),
    /// Something went wrong on a connection that may have been stale.
    Lost(String),
    /// An answer came that cannot be used, or none in time.
    Unusable(String),
    /// One came that is too long.
    TooLong(String),
    /// One came that there is no room for.
    NoRoom,
}

// === impl HttpUpstream ===

impl HttpUpstream {
    /// Must be called on the runtime that will use it.
    pub fn new(config: &UpstreamConfig) -> Result<Self, DialError> {
        let pool = Pool::of_tasks(Arc::new(Dialer::new(config)?), config.pool);
        pool.sweep_in_background();
        Ok(Self {
            pool,
            public: config.public.clone(),
            read_timeout: config.read_timeout,
            write_timeout: config.write_timeout,
            max_answer: config.max_answer,
            room: Arc::clone(&config.room),
        })
    }

    async fn read_once_or_twice(
        &self,
        request: WireRequest,
        reads: Reads,
    ) -> Result<(WireResponse, Option<Carrier>), CallError> {
        let request = self.build(request)?;
        if let Some(lease) = self.pool.take() {
            match self.exchange(lease, request.clone(), reads).await {
                Attempt::Unsent(_) | Attempt::Lost(_) => {}
                other => return self.finish_read(other),
            }
        }
        let lease = self.pool.open().await.map_err(|e| CallError::NotSent(e.to_string()))?;
        let attempt = self.exchange(lease, request, reads).await;
        self.finish_read(attempt)
    }

    fn finish_read(&self, attempt: Attempt) -> Result<(WireResponse, Option<Carrier>), CallError> {
        let (response, lease) = attempt.answered()?;
        let carried = Carried { lease: Some(lease), pool: Arc::clone(&self.pool) };
        Ok((response, Some(Carrier(Box::new(carried)))))
    }

    async fn send_once(
        &self,
        request: WireRequest,
        on: Option<Carrier>,
        ready: &(dyn Fn() -> bool + Send + Sync),
    ) -> Result<WireResponse, CallError> {
        let request = self.build(request)?;
        let lease = self.lease_for_send(on).await?;
        if !ready() {
            self.pool.put(lease);
            return Err(CallError::Expired);
        }
        let exchange = self.exchange(lease, request, Reads::AnswerAtAnyRate);
        let attempt = match tokio::time::timeout(self.write_timeout, exchange).await {
            Ok(attempt) => attempt,
            Err(_) => Attempt::Unusable("no answer in time".to_owned()),
        };
        // Of what was sent this is an answer like any other that cannot be used.
        let attempt = if let Attempt::TooLong(why) = attempt { Attempt::Unusable(why) } else { attempt };
        let (response, lease) = attempt.answered()?;
        self.pool.put(lease);
        Ok(response)
    }

    /// A connection on which the first byte can leave at once.
    async fn lease_for_send(&self, on: Option<Carrier>) -> Result<Lease<Out>, CallError> {
        if let Some(mut lease) = on.and_then(carried_lease)
            && tokio::time::timeout(READY_WITHIN, lease.ready()).await == Ok(true)
        {
            return Ok(lease);
        }
        let mut lease = self.pool.open().await.map_err(|e| CallError::NotSent(e.to_string()))?;
        match tokio::time::timeout(self.write_timeout, lease.ready()).await {
            Ok(true) => Ok(lease),
            Ok(false) | Err(_) => Err(CallError::NotSent("the new connection closed at once".to_owned())),
        }
    }

    async fn exchange(&self, mut lease: Lease<Out>, request: Request<Out>, reads: Reads) -> Attempt {
        let response = match lease.send(request).await {
            Ok(response) => response,
            Err(SendError::Unsent(_, error)) => return Attempt::Unsent(error.to_string()),
            Err(SendError::Broken(error)) if error.is_parse() => return Attempt::Unusable(error.to_string()),
            Err(SendError::Broken(error)) => return Attempt::Lost(error.to_string()),
        };
        match self.collect(response, reads).await {
            Ok(response) => Attempt::Done(response, lease),
            Err(unusable) => unusable,
        }
    }

    async fn collect(&self, response: Response<Incoming>, reads: Reads) -> Result<WireResponse, Attempt> {
        let (mut head, mut body) = response.into_parts();
        self.localize(&mut head.headers);
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Attempt::Unusable("the upstream wants to switch protocols".to_owned()));
        }
        if head.headers.get_all(header::CONTENT_ENCODING).iter().any(|it| it != "identity") {
            return Err(Attempt::Unusable("the upstream compressed its answer though it was asked not to".to_owned()));
        }
        let mut answer = TruncatingBuffer::new(self.max_answer, is_json(&head.headers));
        let mut share = self.room.share(reads);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|e| Attempt::Unusable(format!("the answer broke off: {e}")))?;
            let Ok(data) = frame.into_data() else { continue };
            answer.push(&data).map_err(|error| Attempt::TooLong(error.to_string()))?;
            if !share.grow_to(answer.length()) {
                return Err(Attempt::NoRoom);
            }
        }
        Ok(WireResponse { status: head.status, headers: head.headers, body: share.with(answer.done()) })
    }

    /// A redirect to the tracker itself, however it names itself, becomes a path as the dialect writes them. One that leads
    /// elsewhere stays, and is nobody's to follow.
    fn localize(&self, headers: &mut HeaderMap) {
        let origins: Vec<&Origin> = self.public.iter().chain([self.pool.dialer().origin()]).collect();
        let path = headers.get(header::LOCATION).and_then(|it| path_within(it.to_str().ok()?, &origins));
        if let Some(Ok(path)) = path.map(HeaderValue::from_str) {
            headers.insert(header::LOCATION, path);
        }
    }

    fn build(&self, request: WireRequest) -> Result<Request<Out>, CallError> {
        let origin = self.pool.dialer().origin();
        let not_sent = || CallError::NotSent("the target is not a path".to_owned());
        if !request.target.starts_with('/') {
            return Err(not_sent());
        }
        let target = format!("{}{}", origin.base(), request.target);
        let mut out = Request::new(Full::new(request.body.clone()));
        *out.uri_mut() = target.parse::<Uri>().map_err(|_| not_sent())?;
        *out.headers_mut() = headers(request.headers, &request.method, request.body.len(), origin);
        *out.method_mut() = request.method;
        Ok(out)
    }
}

impl HttpUpstream {
    async fn read_in_time(
        &self,
        request: WireRequest,
        reads: Reads,
    ) -> Result<(WireResponse, Option<Carrier>), CallError> {
        let late = |_| Err(CallError::Unknown("no answer in time".to_owned()));
        let call = self.read_once_or_twice(request, reads);
        tokio::time::timeout(self.read_timeout, call).await.unwrap_or_else(late)
    }
}

impl Upstream for HttpUpstream {
    fn read(&self, request: WireRequest) -> BoxFuture<'_, Result<(WireResponse, Option<Carrier>), CallError>> {
        self.read_in_time(request, Reads::Answer).boxed()
    }

    fn read_back(&self, request: WireRequest) -> BoxFuture<'_, Result<(WireResponse, Option<Carrier>), CallError>> {
        self.read_in_time(request, Reads::AnswerAtAnyRate).boxed()
    }

    fn send<'a>(
        &'a self,
        _sending: Sending,
        request: WireRequest,
        on: Option<Carrier>,
        ready: &'a (dyn Fn() -> bool + Send + Sync),
    ) -> BoxFuture<'a, Result<WireResponse, CallError>> {
        self.send_once(request, on, ready).boxed()
    }

    fn reach(&self) -> BoxFuture<'_, Result<(), CallError>> {
        async { self.pool.open().await.map(drop).map_err(|error| CallError::NotSent(error.to_string())) }.boxed()
    }
}

// === impl Attempt ===

impl Attempt {
    fn answered(self) -> Result<(WireResponse, Lease<Out>), CallError> {
        match self {
            Attempt::Done(response, lease) => Ok((response, lease)),
            Attempt::Unsent(why) => Err(CallError::NotSent(why)),
            Attempt::Lost(why) | Attempt::Unusable(why) => Err(CallError::Unknown(why)),
            Attempt::TooLong(why) => Err(CallError::TooLong(why)),
            Attempt::NoRoom => Err(CallError::NoRoom),
        }
    }
}

// === impl Carried ===

impl Drop for Carried {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take() {
            self.pool.put(lease);
        }
    }
}

fn carried_lease(carrier: Carrier) -> Option<Lease<Out>> {
    carrier.0.downcast::<Carried>().ok()?.lease.take()
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    kind.split(|byte| *byte == b';').next().is_some_and(|it| it.trim_ascii().eq_ignore_ascii_case(b"application/json"))
}

/// The headers as they go out: framing is ours, and the answer must come as it is.
fn headers(mut headers: HeaderMap, method: &Method, length: usize, origin: &Origin) -> HeaderMap {
    for name in NOT_THE_CALLERS {
        headers.remove(name);
    }
    if !headers.contains_key(header::HOST) {
        headers.insert(header::HOST, origin.authority().clone());
    }
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if length > 0 || !(method.is_safe() || method == Method::DELETE) {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    headers
}

/// How long a carrier may take to finish with the read before; it usually has.
const READY_WITHIN: Duration = Duration::from_millis(100);

const NOT_THE_CALLERS: [HeaderName; 7] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];
