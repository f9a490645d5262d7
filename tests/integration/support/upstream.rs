//! The port to the tracker, over a fake forge without sockets.

use super::life::{Life, Moment};
use bytes::Bytes;
use claimgate::dialect::{WireRequest, WireResponse};
use claimgate::effect::{BoxFuture, CallError, Carrier, Sending, Upstream};
use claimgate::fake_forge::{CollectedReply, Cut, FakeForge};
use claimgate::upstream::{LONGEST_ANSWER, TruncatingBuffer};
use http::{StatusCode, header};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

/// How one life of a gate reaches the forge.
pub struct SimUpstream {
    forge: Arc<FakeForge>,
    life: Arc<Life>,
    write_timeout: Duration,
    link: Link,
    refusing: AtomicBool,
    /// How many writes were handed over.
    sends: AtomicUsize,
    /// How much of an answer is kept, bytes.
    longest: AtomicUsize,
}

/// What lies between the gates and the forge.
#[derive(Clone, Default)]
pub struct Link {
    /// The answer to a read is on its way for so long, ms: what it shows may have changed meanwhile.
    pub lag: Arc<AtomicU64>,
    /// A planted bug: what one gate has read lately serves the others as their own read.
    pub shared: Option<SharedReads>,
}

/// The last answer to each read, by whom, and when.
pub type SharedReads = Arc<Mutex<HashMap<String, (usize, Instant, WireResponse)>>>;

/// So long an answer is shared.
const SHARED_FOR: Duration = Duration::from_secs(1);

/// As `upstream.read_timeout`.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

// === impl SimUpstream ===

impl SimUpstream {
    pub fn new(forge: Arc<FakeForge>, life: Arc<Life>, write_timeout: Duration, link: Link) -> Arc<Self> {
        let (refusing, sends) = (AtomicBool::new(false), AtomicUsize::new(0));
        let longest = AtomicUsize::new(LONGEST_ANSWER);
        Arc::new(Self { forge, life, write_timeout, link, refusing, sends, longest })
    }

    /// From now on so much of an answer is kept, bytes: what is too long for the real bound takes long to make.
    pub fn keep(&self, longest: usize) {
        self.longest.store(longest, Ordering::Relaxed);
    }

    /// From now on connections for a write are refused, or no longer.
    pub fn refuse_connections(&self, refusing: bool) {
        self.refusing.store(refusing, Ordering::Relaxed);
    }

    /// How many writes this life has handed over.
    pub fn sends(&self) -> usize {
        self.sends.load(Ordering::Relaxed)
    }

    fn own(&self) -> usize {
        Arc::as_ptr(&self.life).addr()
    }

    fn read_elsewhere(&self, target: &str) -> Option<WireResponse> {
        let shared = self.link.shared.as_ref()?.lock().unwrap();
        let (by, began, answer) = shared.get(target)?;
        (*by != self.own() && began.elapsed() < SHARED_FOR).then(|| answer.clone())
    }

    async fn call(&self, request: WireRequest, limit: Duration) -> Result<WireResponse, CallError> {
        let answer = tokio::time::timeout(limit, self.forge.call(wire(request))).await;
        match answer {
            Ok(Ok(answer)) => gathered(answer, self.longest.load(Ordering::Relaxed)),
            Ok(Err(Cut)) => Err(CallError::Unknown("the connection was cut".to_owned())),
            Err(_) => Err(CallError::Unknown("time-out".to_owned())),
        }
    }
}

impl Upstream for SimUpstream {
    fn read(&self, request: WireRequest) -> BoxFuture<'_, Result<(WireResponse, Option<Carrier>), CallError>> {
        Box::pin(async move {
            let target = request.target.clone();
            if let Some(answer) = self.read_elsewhere(&target) {
                return Ok((answer, Some(Carrier(Box::new(())))));
            }
            let began = Instant::now();
            let answer = self.call(request, READ_TIMEOUT).await?;
            let lag = Duration::from_millis(self.link.lag.load(Ordering::Relaxed));
            if !lag.is_zero() {
                tokio::time::sleep(lag).await;
            }
            // What is stopped gets its answer when it goes on.
            self.life.alive().await;
            if let Some(shared) = &self.link.shared {
                shared.lock().unwrap().insert(target, (self.own(), began, answer.clone()));
            }
            Ok((answer, Some(Carrier(Box::new(())))))
        })
    }

    fn send<'a>(
        &'a self,
        _: Sending,
        request: WireRequest,
        _on: Option<Carrier>,
        ready: &'a (dyn Fn() -> bool + Send + Sync),
    ) -> BoxFuture<'a, Result<WireResponse, CallError>> {
        Box::pin(async move {
            self.life.reach(Moment::BeforeSend).await;
            if self.refusing.load(Ordering::Relaxed) {
                return Err(CallError::NotSent("connection refused".to_owned()));
            }
            if !ready() {
                return Err(CallError::Expired);
            }
            self.sends.fetch_add(1, Ordering::Relaxed);
            let answer = self.call(request, self.write_timeout).await;
            self.life.reach(Moment::Answered).await;
            answer
        })
    }
}

fn wire(request: WireRequest) -> http::Request<Bytes> {
    let mut built = http::Request::builder().method(request.method).uri(request.target);
    built.headers_mut().expect("a legal request").extend(request.headers);
    built.body(request.body).expect("a legal request")
}

/// As much of it as the real one keeps.
fn gathered(answer: CollectedReply, longest: usize) -> Result<WireResponse, CallError> {
    let kind = answer.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let mut body = TruncatingBuffer::new(longest, kind.is_some_and(|kind| kind.starts_with("application/json")));
    let read = answer.body.chunks(64 << 10).try_for_each(|data| body.push(data));
    read.map_err(|error| CallError::TooLong(error.to_string()))?;
    let status = StatusCode::from_u16(answer.status).expect("a status");
    Ok(WireResponse { status, headers: answer.headers, body: body.done() })
}
