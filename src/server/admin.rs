//! The operator's listener: health, metrics, and what the gate adds.
//!
//! Never on the public port. A page in an operator's browser could reach a loopback address, by DNS rebinding or by a
//! plain cross-site form: so `Host` must be one that an operator would type, and a write with a foreign `Origin` is
//! refused. Nothing changes by GET.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::uri::Authority;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::registry::Registry;
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::Drain;
use crate::proxy::collect_capped;

/// What the gate adds to the admin listener.
pub trait AdminRoutes: Send + Sync + 'static {
    /// Answers, or `None` where the path is not its. Called with GET, POST and DELETE only; GET must change nothing.
    fn handle<'a>(
        &'a self,
        method: &'a Method,
        path: &'a str,
        query: Option<&'a str>,
        body: Bytes,
    ) -> BoxFuture<'a, Option<Response<Full<Bytes>>>>;
}

/// The admin listener's settings.
#[derive(Debug, Clone)]
pub struct AdminConfig {
    /// Where it is.
    pub bind: SocketAddr,
    /// Names that `Host` may have besides loopback names and addresses.
    pub hosts: Vec<String>,
    /// Demanded as `Authorization: Bearer …` for all but `/healthz` and `/readyz`.
    pub token: Option<SecretString>,
}

/// An open admin listener.
pub struct Admin {
    listener: std::net::TcpListener,
    desk: Arc<Desk>,
}

struct Desk {
    config: AdminConfig,
    registry: Arc<Mutex<Registry>>,
    drain: Drain,
    routes: Arc<dyn AdminRoutes>,
}

/// No routes besides the built-in ones.
pub struct NoRoutes;

impl Admin {
    /// Opens the socket.
    pub fn bind(
        config: AdminConfig,
        registry: Arc<Mutex<Registry>>,
        drain: Drain,
        routes: Arc<dyn AdminRoutes>,
    ) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(config.bind)?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, desk: Arc::new(Desk { config, registry, drain, routes }) })
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown`; it should outlast the drain, so that `/readyz` can tell of it.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> io::Result<()> {
        let listener = TcpListener::from_std(self.listener)?;
        let serving = async {
            let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
            loop {
                let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
                match listener.accept().await {
                    Ok((stream, _)) => {
                        let desk = Arc::clone(&self.desk);
                        tokio::spawn(async move {
                            desk.serve(stream).await;
                            drop(place);
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "admin accept failed");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                }
            }
        };
        tokio::select! {
            () = serving => {}
            () = shutdown => {}
        }
        Ok(())
    }
}

impl Desk {
    async fn serve(self: Arc<Self>, stream: TcpStream) {
        let service = service_fn(move |request| {
            let desk = Arc::clone(&self);
            async move { Ok::<_, std::convert::Infallible>(desk.answer(request).await) }
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

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        if let Err(status) = self.check(&head) {
            return plain(status, status.canonical_reason().unwrap_or_default());
        }
        let reading = !matches!(head.method, Method::POST | Method::DELETE);
        match head.uri.path() {
            "/healthz" if reading => plain(StatusCode::OK, "ok"),
            "/readyz" if reading => self.ready(),
            "/metrics" if reading => self.metrics(),
            _ => self.routed(&head, body).await,
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
        let open = matches!(head.uri.path(), "/healthz" | "/readyz");
        if open || self.authorized(&head.headers) { Ok(()) } else { Err(StatusCode::UNAUTHORIZED) }
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

    fn authorized(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.config.token else { return true };
        let mut given = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(one), None) = (given.next(), given.next()) else { return false };
        let secret = one.as_bytes().strip_prefix(b"Bearer ").unwrap_or_default();
        bool::from(secret.ct_eq(token.expose_secret().as_bytes()))
    }

    fn ready(&self) -> Response<Full<Bytes>> {
        if self.drain.is_draining() {
            plain(StatusCode::SERVICE_UNAVAILABLE, "draining")
        } else {
            plain(StatusCode::OK, "ready")
        }
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        if prometheus_client::encoding::text::encode(&mut text, &registry).is_err() {
            return plain(StatusCode::INTERNAL_SERVER_ERROR, "metrics cannot be written");
        }
        let mut response = Response::new(Full::from(text));
        let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }

    async fn routed(&self, head: &Parts, body: Incoming) -> Response<Full<Bytes>> {
        let collecting = tokio::time::timeout(Duration::from_secs(10), collect_capped(body, MAX_BODY));
        let Ok(Ok(body)) = collecting.await else {
            return plain(StatusCode::BAD_REQUEST, "the body could not be read, or is too long");
        };
        let method = if head.method == Method::HEAD { &Method::GET } else { &head.method };
        let answer = self.routes.handle(method, head.uri.path(), head.uri.query(), body).await;
        answer.unwrap_or_else(|| plain(StatusCode::NOT_FOUND, "not found"))
    }
}

impl AdminRoutes for NoRoutes {
    fn handle<'a>(
        &'a self,
        _: &'a Method,
        _: &'a str,
        _: Option<&'a str>,
        _: Bytes,
    ) -> BoxFuture<'a, Option<Response<Full<Bytes>>>> {
        Box::pin(async { None })
    }
}

fn host(headers: &HeaderMap) -> Option<Authority> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(one), None) = (hosts.next(), hosts.next()) else { return None };
    Authority::try_from(one.as_bytes()).ok().filter(|it| !it.as_str().contains('@'))
}

/// Whether a browser, if it is one, sent this from a page of the same place.
fn same_origin(headers: &HeaderMap, host: &Authority) -> bool {
    headers.get_all(header::ORIGIN).iter().all(|origin| {
        let origin = origin.to_str().ok().and_then(|it| it.split_once("://"));
        origin.is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host.as_str()))
    })
}

fn plain(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(format!("{text}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

const MAX_CONNECTIONS: usize = 64;
const MAX_BODY: usize = 64 << 10;
