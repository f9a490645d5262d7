//! The operator's listener: health, metrics, and what the gate adds.
//!
//! Never on the public port. A page in an operator's browser could reach a loopback address, by DNS rebinding or by a
//! plain cross-site form: so `Host` must be one that an operator would type, and a write with a foreign `Origin` is
//! refused. Nothing changes by GET. What changes something is asked over the operator's socket (`socket.rs`), which only the
//! gate's own account can open, or with the admin token; a port alone is open to every local user.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::uri::Authority;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::registry::Registry;
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::AbortHandle;

use super::Drain;
use crate::effect::Health;
use crate::proxy::collect_capped;

/// What the gate adds to the admin listener.
pub trait AdminRoutes: Send + Sync + 'static {
    /// Answers, or `None` where the path is not its. Called with GET, POST and DELETE only; GET must change nothing.
    fn handle<'a>(&'a self, request: AdminRequest<'a>) -> BoxFuture<'a, Option<Response<AdminBody>>>;
}

/// The body of an answer: whole, or events without end.
pub type AdminBody = UnsyncBoxBody<Bytes, Infallible>;

/// What an operator asks.
pub struct AdminRequest<'a> {
    /// GET, POST or DELETE.
    pub method: &'a Method,
    /// The path.
    pub path: &'a str,
    /// The query, undecoded.
    pub query: Option<&'a str>,
    /// The body, whole.
    pub body: Bytes,
    /// Who asks, for the audit: the system's user, or the holder of the token.
    pub by: &'a str,
}

/// The admin listener's settings.
#[derive(Debug, Clone)]
pub struct AdminConfig {
    /// Where its port is, if it has one.
    pub bind: Option<SocketAddr>,
    /// Where the operator's socket is.
    pub socket: Option<PathBuf>,
    /// Names that `Host` may have besides loopback names and addresses.
    pub hosts: Vec<String>,
    /// Demanded at the port as `Authorization: Bearer …` for all but `/healthz` and `/readyz`.
    pub token: Option<SecretString>,
    /// What the gate needs: without it `/readyz` is 503.
    pub health: Health,
}

/// An open admin listener.
pub struct Admin {
    listener: Option<std::net::TcpListener>,
    socket: Option<std::os::unix::net::UnixListener>,
    state: Arc<AdminState>,
}

struct AdminState {
    config: AdminConfig,
    registry: Arc<Mutex<Registry>>,
    drain: Drain,
    routes: Arc<dyn AdminRoutes>,
}

/// The connections that are open, oldest first, and whether each has a request under way.
#[derive(Default)]
struct Open(VecDeque<(Arc<AtomicBool>, AbortHandle)>);

/// No routes besides the built-in ones.
pub struct NoRoutes;

impl Admin {
    /// Opens the port and the socket. Without the socket all but changes is served, and the log says so.
    pub fn bind(
        config: AdminConfig,
        registry: Arc<Mutex<Registry>>,
        drain: Drain,
        routes: Arc<dyn AdminRoutes>,
    ) -> io::Result<Self> {
        let listener = config.bind.map(std::net::TcpListener::bind).transpose()?;
        listener.as_ref().map(|listener| listener.set_nonblocking(true)).transpose()?;
        let socket = config.socket.as_deref().and_then(|path| {
            let why = "the operator's socket cannot be opened: `claimgate mode` and `claimgate release` need it, or \
                       server.admin_token_file";
            let failed = |error| tracing::warn!(%error, socket = %path.display(), "{why}");
            super::socket::bind(path).map_err(failed).ok()
        });
        Ok(Self { listener, socket, state: Arc::new(AdminState { config, registry, drain, routes }) })
    }

    /// Where its port is.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listener.as_ref()?.local_addr().ok()
    }

    /// Serves until `shutdown`; it should outlast the drain, so that `/readyz` can tell of it.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> io::Result<()> {
        let (port, socket) = (self.listener.map(TcpListener::from_std), self.socket.map(UnixListener::from_std));
        let (port, socket) = (port.transpose()?, socket.transpose()?);
        let serving = async { tokio::join!(serve_port(port, &self.state), serve_socket(socket, &self.state)) };
        tokio::select! {
            _ = serving => {}
            () = shutdown => {}
        }
        if let Some(path) = &self.state.config.socket {
            drop(std::fs::remove_file(path));
        }
        Ok(())
    }
}

async fn serve_port(listener: Option<TcpListener>, state: &Arc<AdminState>) {
    let Some(listener) = listener else { return std::future::pending().await };
    let mut open = Open::default();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => open.serve(state, stream, Asker::Port(peer)),
            Err(error) => not_accepted(&error).await,
        }
    }
}

async fn serve_socket(listener: Option<UnixListener>, state: &Arc<AdminState>) {
    let Some(listener) = listener else { return std::future::pending().await };
    let mut open = Open::default();
    loop {
        match listener.accept().await.and_then(|(stream, _)| Ok((stream.peer_cred()?, stream))) {
            Ok((peer, stream)) => {
                let asker = Asker::Socket { user: peer.uid(), process: peer.pid() };
                open.serve(state, stream, asker);
            }
            Err(error) => not_accepted(&error).await,
        }
    }
}

async fn not_accepted(error: &io::Error) {
    tracing::warn!(%error, "admin accept failed");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// By which way somebody asks.
#[derive(Clone, Copy, Debug)]
enum Asker {
    Port(SocketAddr),
    Socket { user: u32, process: Option<i32> },
}

impl std::fmt::Display for Asker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Port(peer) => write!(f, "the admin token, from {}", peer.ip()),
            Self::Socket { user, process: Some(process) } => write!(f, "user {user}, process {process}"),
            Self::Socket { user, process: None } => write!(f, "user {user}"),
        }
    }
}

impl Open {
    /// Serves one more connection. Where there are too many, the longest idle one gives way: whoever asks for the health of the
    /// gate must be heard. Where all are busy, the new one is closed.
    fn serve<S>(&mut self, state: &Arc<AdminState>, stream: S, asker: Asker)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.0.retain(|(_, served)| !served.is_finished());
        if self.0.len() >= MAX_CONNECTIONS {
            let idle = self.0.iter().position(|(is_busy, _)| !is_busy.load(Ordering::Relaxed));
            let Some((_, served)) = idle.and_then(|at| self.0.remove(at)) else { return };
            served.abort();
        }
        let is_busy = Arc::new(AtomicBool::new(false));
        let served = tokio::spawn(Arc::clone(state).serve(stream, asker, Arc::clone(&is_busy)));
        self.0.push_back((is_busy, served.abort_handle()));
    }
}

impl AdminState {
    async fn serve<S>(self: Arc<Self>, stream: S, asker: Asker, is_busy: Arc<AtomicBool>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = service_fn(move |request| {
            let (state, is_busy) = (Arc::clone(&self), Arc::clone(&is_busy));
            async move {
                is_busy.store(true, Ordering::Relaxed);
                let answer = state.answer(request, asker).await;
                is_busy.store(false, Ordering::Relaxed);
                Ok::<_, Infallible>(answer)
            }
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_secs(10))
            .max_buf_size(16 << 10)
            .serve_connection(TokioIo::new(stream), service);
        if let Err(error) = served.await {
            tracing::debug!(%error, "admin connection ended");
        }
    }

    async fn answer(&self, request: Request<Incoming>, asker: Asker) -> Response<AdminBody> {
        let (head, body) = request.into_parts();
        if let Err(status) = self.check(&head) {
            return plain(status, status.canonical_reason().unwrap_or_default());
        }
        if let Err((status, message)) = self.check_right(&head, asker) {
            return self.elsewhere(status, message);
        }
        let reading = !matches!(head.method, Method::POST | Method::DELETE);
        match head.uri.path() {
            "/healthz" if reading => plain(StatusCode::OK, "ok"),
            "/readyz" if reading => self.ready(),
            "/metrics" if reading => self.metrics(),
            _ => self.routed(&head, body, asker).await,
        }
    }

    fn check(&self, head: &Parts) -> Result<(), StatusCode> {
        if !matches!(head.method, Method::GET | Method::HEAD | Method::POST | Method::DELETE) {
            return Err(StatusCode::METHOD_NOT_ALLOWED);
        }
        let host = host(&head.headers).ok_or(StatusCode::BAD_REQUEST)?;
        if !self.knows(&host) {
            return Err(StatusCode::MISDIRECTED_REQUEST);
        }
        if !head.method.is_safe() && !same_origin(&head.headers, &host) {
            return Err(StatusCode::FORBIDDEN);
        }
        Ok(())
    }

    /// Who may ask this. At the port everybody on the host may read, unless there is a token; nobody may change anything
    /// without one.
    fn check_right(&self, head: &Parts, asker: Asker) -> Result<(), (StatusCode, &'static str)> {
        if let Asker::Socket { user, .. } = asker {
            let own = super::socket::may_operate(user);
            return if own { Ok(()) } else { Err((StatusCode::FORBIDDEN, "only the gate's own user may ask here")) };
        }
        let open = matches!(head.uri.path(), "/healthz" | "/readyz");
        match &self.config.token {
            Some(token) if open || is_given(token, head) => Ok(()),
            Some(_) => Err((StatusCode::UNAUTHORIZED, "the admin token (server.admin_token_file) is asked for")),
            None if head.method.is_safe() => Ok(()),
            None => Err((StatusCode::FORBIDDEN, NOT_HERE)),
        }
    }

    /// A refusal that says where the gate's own user may ask.
    fn elsewhere(&self, status: StatusCode, message: &str) -> Response<AdminBody> {
        let socket = self.config.socket.as_ref().map(|path| path.display().to_string());
        let body = serde_json::json!({ "message": message, "socket": socket });
        let mut response = Response::new(whole(body.to_string()));
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Basic realm=\"claimgate: any name, and the admin token\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }

    /// A name that DNS cannot be made to lie about, or one that the operator chose.
    fn knows(&self, host: &Authority) -> bool {
        let name = host.host().trim_start_matches('[').trim_end_matches(']');
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        name == "localhost"
            || name.ends_with(".localhost")
            || name.parse::<IpAddr>().is_ok()
            || self
                .config
                .hosts
                .iter()
                .any(|it| it.eq_ignore_ascii_case(&name) || it.eq_ignore_ascii_case(host.as_str()))
    }

    /// Whether guarded writes can be served; else why not.
    fn ready(&self) -> Response<AdminBody> {
        let Health { ledger, tracker, .. } = &self.config.health;
        let trouble = [("the ledger", ledger), ("the tracker", tracker)]
            .into_iter()
            .find_map(|(name, condition)| Some(format!("{name} is not available: {}", condition.trouble()?)));
        match trouble {
            _ if self.drain.is_draining() => plain(StatusCode::SERVICE_UNAVAILABLE, "draining"),
            Some(why) => plain(StatusCode::SERVICE_UNAVAILABLE, &why),
            None => plain(StatusCode::OK, "ready"),
        }
    }

    fn metrics(&self) -> Response<AdminBody> {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        if prometheus_client::encoding::text::encode(&mut text, &registry).is_err() {
            return plain(StatusCode::INTERNAL_SERVER_ERROR, "metrics cannot be written");
        }
        let mut response = Response::new(whole(text));
        let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }

    async fn routed(&self, head: &Parts, body: Incoming, asker: Asker) -> Response<AdminBody> {
        let collecting = tokio::time::timeout(Duration::from_secs(10), collect_capped(body, MAX_BODY));
        let Ok(Ok(body)) = collecting.await else {
            return plain(StatusCode::BAD_REQUEST, "the body could not be read, or is too long");
        };
        let method = if head.method == Method::HEAD { &Method::GET } else { &head.method };
        let (path, query, by) = (head.uri.path(), head.uri.query(), asker.to_string());
        let answer = self.routes.handle(AdminRequest { method, path, query, body, by: &by }).await;
        answer.unwrap_or_else(|| plain(StatusCode::NOT_FOUND, "not found"))
    }
}

impl AdminRoutes for NoRoutes {
    fn handle<'a>(&'a self, _: AdminRequest<'a>) -> BoxFuture<'a, Option<Response<AdminBody>>> {
        Box::pin(async { None })
    }
}

/// As `Bearer`, or, of who only looks, as the password of `Basic`: that is how a browser gives one.
fn is_given(token: &SecretString, head: &Parts) -> bool {
    let mut given = head.headers.get_all(header::AUTHORIZATION).iter();
    let (Some(one), None) = (given.next(), given.next()) else { return false };
    let is = |secret: &[u8]| bool::from(secret.ct_eq(token.expose_secret().as_bytes()));
    if let Some(secret) = one.as_bytes().strip_prefix(b"Bearer ") {
        return is(secret);
    }
    let pair = one.as_bytes().strip_prefix(b"Basic ").filter(|_| head.method.is_safe());
    let pair = pair.and_then(|pair| BASE64_STANDARD.decode(pair).ok()).unwrap_or_default();
    let colon = pair.iter().position(|byte| *byte == b':');
    colon.is_some_and(|colon| is(&pair[colon + 1..]))
}

fn host(headers: &HeaderMap) -> Option<Authority> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(one), None) = (hosts.next(), hosts.next()) else { return None };
    Authority::try_from(one.as_bytes()).ok().filter(|it| !it.as_str().contains('@'))
}

/// Whether a browser, if it is one, sent this from a page of the same place.
fn same_origin(headers: &HeaderMap, host: &Authority) -> bool {
    // A browser says it also where it sends no Origin.
    let is_ours = |site: &HeaderValue| matches!(site.as_bytes(), b"same-origin" | b"none");
    let from_here = headers.get_all(SEC_FETCH_SITE).iter().all(is_ours);
    from_here
        && headers.get_all(header::ORIGIN).iter().all(|origin| {
            let origin = origin.to_str().ok().and_then(|it| it.split_once("://"));
            origin.is_some_and(|(scheme, authority)| {
                matches!(scheme, "http" | "https") && authority.eq_ignore_ascii_case(host.as_str())
            })
        })
}

/// A body that is there as a whole.
pub fn whole(body: impl Into<Bytes>) -> AdminBody {
    Full::new(body.into()).boxed_unsync()
}

fn plain(status: StatusCode, text: &str) -> Response<AdminBody> {
    let mut response = Response::new(whole(format!("{text}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

const NOT_HERE: &str = "every local user reaches this port, so nothing is changed here without server.admin_token_file: use \
                        the command line as the gate's own user, which asks over the gate's socket";
const SEC_FETCH_SITE: &str = "sec-fetch-site";
/// Open pages are among them.
const MAX_CONNECTIONS: usize = 512;
const MAX_BODY: usize = 64 << 10;
