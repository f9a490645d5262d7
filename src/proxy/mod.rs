//! The HTTP edge: a request is checked, classified from its head alone, and either streamed through or given to the guard.
//!
//! `handle` is the whole walk; `forward` is the pass path, `headers` and `rewrite` say what of a head crosses, `body`
//! streams, `held` looks at the small answers that show one item. Nothing else here buffers a passed body, and nothing
//! follows a redirect or opens a tunnel.

pub mod agent;
pub mod body;
mod claims;
mod cors;
pub mod fault;
mod forward;
pub mod front;
mod guarded;
mod head;
mod headers;
mod held;
mod hosts;
mod json_urls;
mod own;
mod preconditions;
mod read_memo;
mod reply;
mod rewrite;
pub mod singletons;
pub mod tick_timer;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use prometheus_client::metrics::counter::Counter;

pub use self::agent::proxy_user;
use self::body::OnAnswer;
pub use self::body::{
    Body, BodyError, CollectError, Upload, boxed, collect_capped, collect_within, empty, full, pass_on,
};
use self::cors::{Asked, Cors};
pub use self::fault::Fault;
pub use self::front::{Came, Front};
pub use self::guarded::{AGENT_HEADER, GateGuard, GuardConfig, InstanceSource};
pub use self::headers::Forwarded;
use self::headers::{ClientView, Views};
pub use self::hosts::{Hosts, InterceptedHost, WrongHost};
#[doc(hidden)]
pub use self::json_urls::follow_urls;
pub use self::own::own_path;
pub use self::read_memo::ReadMemo;
pub use self::reply::{DECISION, STATE};
use self::rewrite::Rewriter;
pub use self::tick_timer::{Alarm, TickTimer};
use crate::dialect::PathAlias;
use crate::effect::Health;
use crate::upstream::{DialError, Dialer, Origin, Pool, UpstreamConfig};

/// What decides whether a request passes; the gate plugs in here.
pub trait Guard: Send + Sync + 'static {
    /// From the head alone. It is looked at once: what was found goes on with the request.
    fn classify(&self, head: &Parts, peer: &Peer, memo: &ReadMemo) -> Route;

    /// A request that does not simply pass. It owns the body. [`pass_on`] makes an answer that means: forward this after all.
    fn serve(
        self: Arc<Self>,
        head: Parts,
        body: Incoming,
        peer: Peer,
        note: Note,
    ) -> BoxFuture<'static, Response<Body>>;

    /// What there is to know of a head that is passed on after all.
    fn note_of(&self, _: &Parts) -> Note {
        Note::default()
    }

    /// Called with the head and status of each passed exchange (passive learning), must be cheap.
    fn passed(&self, note: Passed<'_>);

    /// Where it is noted whether the tracker can be reached.
    fn health(&self) -> Option<&Health> {
        None
    }

    /// Whether this answer is one whose body [`state_of`](Guard::state_of) can say something about. From the two heads
    /// alone: all others stream.
    fn shows_state(&self, _: Passed<'_>) -> bool {
        false
    }

    /// The value of [`STATE`] for an answer that was read whole.
    fn state_of(&self, _: Passed<'_>, _body: &Bytes) -> Option<HeaderValue> {
        None
    }
}

/// What becomes of a request.
pub enum Route {
    /// It streams through.
    Pass(Note),
    /// The guard serves it.
    Guarded(Note),
}

/// What the guard found in the head of a request. Only it can read that; whoever else makes one found nothing.
#[derive(Default)]
pub struct Note(guarded::Found);

/// Who is at the other end of a client connection.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The address; none for a unix socket.
    pub addr: Option<SocketAddr>,
    /// Whether the connection to the gate is encrypted.
    pub tls: bool,
    /// The instance that the listener stands for.
    pub instance: Option<Arc<str>>,
    /// Whom the client may ask for, where its connection was intercepted; all else is refused.
    pub hosts: Option<Arc<Hosts>>,
    /// The address as a header has it, made once a connection.
    pub(crate) shown: Option<HeaderValue>,
}

/// An exchange that went through.
#[derive(Clone, Copy)]
pub struct Passed<'a> {
    /// The head as the client sent it; what stood in front of its path is in [`Came`].
    pub head: &'a Parts,
    /// What was found in it.
    pub note: &'a Note,
    /// What the worker remembers.
    pub memo: &'a ReadMemo,
    /// The client's connection.
    pub peer: &'a Peer,
    /// The upstream's status.
    pub status: StatusCode,
    /// The headers of the answer as the client gets them.
    pub headers: &'a HeaderMap,
}

/// How the pass path behaves.
#[derive(Debug, Clone)]
pub struct PassConfig {
    /// The address that the forge announces as its own (`ROOT_URL`).
    pub public_url: Option<Origin>,
    /// What becomes of `X-Forwarded-*` and `Forwarded`.
    pub forwarded: Forwarded,
    /// Whether a path prefix `/as/<agent>` names an agent.
    pub agents: bool,
    /// What stands for something else at the beginning of a path.
    pub aliases: &'static [PathAlias],
    /// Counts the JSON answers whose URLs could not be rewritten; none where they are left alone.
    pub rewritten: Option<Counter>,
    /// The `Host` that the tracker gets.
    pub host: HostSent,
    /// How long the upstream may take to begin its answer, counted from the end of the upload.
    pub head_timeout: Duration,
    /// How long a body may stand still, in either direction. A forge's event stream pings each 30 s.
    pub body_idle_timeout: Duration,
    /// The grain of these time-outs.
    pub tick: Duration,
}

/// The `Host` of a passed request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HostSent {
    /// The one that the client asked for.
    #[default]
    Clients,
    /// The tracker's own.
    Upstreams,
}

/// What all workers share.
pub struct Shared {
    /// What decides.
    pub guard: Arc<dyn Guard>,
    /// The runtime on which guarded sections run.
    pub gate: tokio::runtime::Handle,
    pass: PassConfig,
    upstream: UpstreamConfig,
    dialer: Arc<Dialer>,
    rewriter: Arc<Rewriter>,
    views: Views,
}

/// One edge worker: its pool and its clock. Lives on one runtime.
pub struct Worker {
    shared: Arc<Shared>,
    pool: Arc<Pool<Upload>>,
    clock: Arc<TickTimer>,
    cors: Cors,
    memo: ReadMemo,
    /// How long an answer's head may take, and a body stand still, in ticks.
    head_ticks: u64,
    idle_ticks: u64,
}

/// A guard that lets everything pass.
pub struct PassAll;

/// One request, from its head to the head of its answer.
pub async fn handle(worker: &Worker, peer: &Peer, request: Request<Incoming>) -> Response<Body> {
    let (mut head, body) = request.into_parts();
    let fault = head::check(&head).and_then(|()| hosts::check(&head, peer)).err();
    worker.shared.views.front.take_off(&mut head);
    // Where the host cannot be read, nobody knows which page is from elsewhere.
    let is_page = head.headers.contains_key(header::ORIGIN) && head::names_one_host(&head);
    let asked = if is_page { asked(worker, peer, &head) } else { None };
    let mut answer = match fault {
        Some(fault) => bad_head(worker, peer, &head, fault),
        None => match worker.shared.guard.classify(&head, peer, &worker.memo) {
            Route::Pass(note) => forward::stream(worker, peer, (head, body), note).await,
            // On the heap: what passes need not carry its size.
            Route::Guarded(note) => Box::pin(guarded(worker, peer, (head, body), note, asked.clone())).await,
        },
    };
    if let Some(asked) = asked {
        Box::pin(cors::complete_fault(worker, peer, asked, &mut answer)).await;
    }
    answer
}

/// The answer to a request that is refused without a look at what it asks; the connection stays.
pub fn turn_away(worker: &Worker, peer: &Peer, request: Request<Incoming>, fault: Fault) -> Response<Body> {
    let mut head = request.into_parts().0;
    worker.shared.views.front.take_off(&mut head);
    let mut answer = fault.into_response(&worker.shared.views.of(&head, peer));
    if let Some(asked) = asked(worker, peer, &head) {
        cors::complete_as_known(worker, &asked, &mut answer);
    }
    answer
}

/// What a page from elsewhere asks, if it is one.
fn asked(worker: &Worker, peer: &Peer, head: &Parts) -> Option<Asked> {
    if !head.headers.contains_key(header::ORIGIN) {
        return None;
    }
    Asked::of(head, &worker.shared.views.of(head, peer))
}

fn bad_head(worker: &Worker, peer: &Peer, head: &Parts, fault: Fault) -> Response<Body> {
    if fault == Fault::Loop {
        tracing::error!(path = head.uri.path(), "a request goes in a circle: {fault}");
    }
    tracing::debug!(%fault, "request refused at the edge");
    let view = worker.shared.views.of(head, peer);
    // HTTP/2 has its own framing, and no header of this name.
    if head.version < Version::HTTP_2 { fault.into_last_response(&view) } else { fault.into_response(&view) }
}

/// The answer to a request whose head was refused before it could be read as one; the connection closes after it.
pub fn refuse(fault: Fault) -> Response<Body> {
    fault.into_last_response(&ClientView::unknown())
}

async fn guarded(
    worker: &Worker,
    peer: &Peer,
    (head, body): (Parts, Incoming),
    note: Note,
    asked: Option<Asked>,
) -> Response<Body> {
    let guard = Arc::clone(&worker.shared.guard);
    let seen = (head.uri.clone(), head.headers.clone(), head.extensions.get::<Came>().cloned());
    let is_preflight = asked.as_ref().is_some_and(|asked| asked.is_own_preflight(&head));
    let mut answer = match asked.clone() {
        Some(asked) if is_preflight => cors::preflight(worker, peer, asked).await,
        _ => guard.serve(head, body, peer.clone(), note).await,
    };
    if let Some((head, body)) = answer.body_mut().take_passed_on() {
        let mut passed = forward::collected(worker, peer, head, body).await;
        if let Some(rest) = answer.extensions_mut().remove::<OnAnswer>() {
            rest.see(&passed).await;
        }
        // Where the guard has decided something, it says so.
        if let Some(decision) = answer.headers_mut().remove(reply::DECISION) {
            passed.headers_mut().insert(reply::DECISION, decision);
        }
        return passed;
    }
    let view = worker.shared.views.of_parts(&seen.0, &seen.1, seen.2.as_ref(), peer);
    let status = answer.status();
    headers::for_client(status, answer.headers_mut());
    worker.shared.rewriter.answer(answer.headers_mut(), &view);
    let mut answer = leading_back(worker, peer, answer, &view);
    if let Some(asked) = asked.filter(|_| !is_preflight) {
        cors::complete(worker, peer, asked, &mut answer).await;
    }
    answer
}

/// The answer with the URLs of its body leading back to the gate, where they are to.
fn leading_back(worker: &Worker, peer: &Peer, answer: Response<Body>, view: &ClientView<'_>) -> Response<Body> {
    if !worker.shared.leads_back(peer, view) {
        return answer;
    }
    let (mut head, body) = answer.into_parts();
    let body = worker.shared.rewriter.body(head.status, &mut head.headers, body, view);
    Response::from_parts(head, body)
}

// === impl Peer ===

impl Peer {
    /// A connection's other end.
    pub fn new(addr: Option<SocketAddr>, tls: bool, instance: Option<Arc<str>>) -> Self {
        let shown = addr.and_then(|it| HeaderValue::try_from(it.ip().to_canonical().to_string()).ok());
        Self { addr, tls, instance, hosts: None, shown }
    }
}

// === impl Shared ===

impl Shared {
    /// Reads what TLS towards the upstream needs; connects to nothing.
    pub fn new(
        guard: Arc<dyn Guard>,
        gate: tokio::runtime::Handle,
        upstream: UpstreamConfig,
        pass: PassConfig,
    ) -> Result<Arc<Self>, DialError> {
        let dialer = Arc::new(Dialer::new(&upstream)?);
        let front = Front::new(pass.public_url.as_ref(), &upstream.origin, pass.agents).with_aliases(pass.aliases);
        let (origin, public) = (upstream.origin.clone(), pass.public_url.clone());
        let rewriter = Arc::new(Rewriter::new(origin.clone(), public.clone(), front.base(), pass.rewritten.clone()));
        let views = Views { front, public, upstream: origin, policy: pass.forwarded };
        Ok(Arc::new(Self { guard, gate, pass, upstream, dialer, rewriter, views }))
    }
}

impl Shared {
    /// Whether the URLs in bodies of answers are rewritten for this client: not for one that knows the tracker by its own
    /// name, and comes to the gate by another way.
    fn leads_back(&self, peer: &Peer, view: &ClientView<'_>) -> bool {
        self.rewriter.rewrites_bodies() && peer.hosts.is_none() && !self.views.is_by_own_name(view)
    }
}

// === impl Worker ===

impl Worker {
    /// Must be called on the runtime that will serve.
    pub fn start(shared: Arc<Shared>) -> Self {
        let pool = Pool::of_leases(Arc::clone(&shared.dialer), shared.upstream.pool);
        pool.sweep_in_background();
        let clock = TickTimer::start(shared.pass.tick);
        let memo = ReadMemo::new(Arc::clone(&clock));
        let (head_ticks, idle_ticks) =
            (clock.ticks(shared.pass.head_timeout), clock.ticks(shared.pass.body_idle_timeout));
        Self { shared, pool, clock, cors: Cors::default(), memo, head_ticks, idle_ticks }
    }

    /// This worker's coarse clock.
    pub fn clock(&self) -> &Arc<TickTimer> {
        &self.clock
    }

    /// This worker's kept connections.
    pub fn pool(&self) -> &Pool<Upload> {
        &self.pool
    }
}

// === impl PassAll ===

impl Guard for PassAll {
    fn classify(&self, _: &Parts, _: &Peer, _: &ReadMemo) -> Route {
        Route::Pass(Note::default())
    }

    fn serve(self: Arc<Self>, _: Parts, _: Incoming, _: Peer, _: Note) -> BoxFuture<'static, Response<Body>> {
        Box::pin(async { Response::new(empty()) })
    }

    fn passed(&self, _: Passed<'_>) {}
}

impl Default for PassConfig {
    fn default() -> Self {
        Self {
            public_url: None,
            forwarded: Forwarded::Set,
            agents: true,
            aliases: &[],
            rewritten: None,
            host: HostSent::Clients,
            head_timeout: Duration::from_mins(2),
            body_idle_timeout: Duration::from_mins(2),
            tick: Duration::from_millis(250),
        }
    }
}
