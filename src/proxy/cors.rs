//! Cross-origin answers of the gate's own. A browser shows a page only what the tracker's headers allow, so a refusal, a no-op, an
//! error of the edge and the gate's own calls carry the headers that the tracker gives that origin. The tracker is asked for them by a request without a
//! credential, and its word is kept for a moment: nothing is decided by it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use tokio::time::Instant;

use super::body::{Body, Upload, empty};
use super::fault::MadeHere;
use super::front::has_one_meaning;
use super::guarded::AGENT_HEADER;
use super::headers::{ClientView, same_host};
use super::own::is_own;
use super::{Peer, Worker, forward};

/// What the tracker said lately.
#[derive(Default)]
pub(super) struct Cors(Mutex<HashMap<Asked, (Instant, HeaderMap)>>);

/// What a browser asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Asked {
    origin: String,
    host: Option<String>,
    /// Of a preflight: the method, and the headers that are the tracker's to allow.
    preflight: Option<(String, String)>,
    /// The headers that are the gate's own to allow.
    own: Vec<&'static str>,
}

// === impl Asked ===

impl Asked {
    /// What a request of a page from elsewhere asks of the API or of the gate's own calls; the tracker answers no other
    /// pages.
    pub(super) fn of(head: &Parts, view: &ClientView<'_>) -> Option<Self> {
        let origin = head.headers.get(header::ORIGIN)?.to_str().ok()?;
        let is_here = origin
            .split_once("://")
            .is_some_and(|(scheme, authority)| view.asked.is_some_and(|host| same_host(authority, host, scheme)));
        if is_here || !has_one_meaning(head.uri.path()) {
            return None;
        }
        let method = head.headers.get(header::ACCESS_CONTROL_REQUEST_METHOD).filter(|_| head.method == Method::OPTIONS);
        let names =
            head.headers.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS).iter().filter_map(|it| it.to_str().ok());
        let names: Vec<&str> = names.flat_map(|it| it.split(',')).map(str::trim).collect();
        let is = |name: &&str, own: &&str| name.eq_ignore_ascii_case(own);
        let own = OWN.into_iter().filter(|own| names.iter().any(|name| is(name, own))).collect();
        let theirs: Vec<&str> = names.into_iter().filter(|name| !OWN.iter().any(|own| is(name, own))).collect();
        let method = method.and_then(|method| method.to_str().ok());
        let preflight = method.map(|method| (method.to_owned(), theirs.join(", ")));
        Some(Self { origin: origin.to_owned(), host: view.asked.map(str::to_owned), preflight, own })
    }

    /// Whether it is a preflight of one of the gate's own calls, which nobody else can answer.
    pub(super) fn is_own_preflight(&self, head: &Parts) -> bool {
        self.preflight.is_some() && is_own(head.uri.path())
    }

    /// The question as the tracker gets it. All of its API has the same answer.
    fn request(&self) -> Parts {
        let method = if self.preflight.is_some() { Method::OPTIONS } else { Method::GET };
        let mut head =
            Request::builder().method(method).uri("/api/v1/version").body(()).unwrap_or_default().into_parts().0;
        let (method, names) = self.preflight.as_ref().map_or(("", ""), |(method, names)| (method, names));
        for (name, value) in [
            (header::ORIGIN, self.origin.as_str()),
            (header::HOST, self.host.as_deref().unwrap_or_default()),
            (header::ACCESS_CONTROL_REQUEST_METHOD, method),
            (header::ACCESS_CONTROL_REQUEST_HEADERS, names),
        ] {
            if let Some(Ok(value)) = (!value.is_empty()).then(|| HeaderValue::from_str(value)) {
                head.headers.insert(name, value);
            }
        }
        head
    }
}

// === impl Cors ===

impl Cors {
    /// What it said no longer ago than this.
    fn known(&self, asked: &Asked, since: Duration) -> Option<HeaderMap> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(asked).filter(|(at, _)| at.elapsed() < since).map(|(_, headers)| headers.clone())
    }

    fn keep(&self, asked: Asked, headers: HeaderMap) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST_KEPT {
            known.clear();
        }
        known.insert(asked, (Instant::now(), headers));
    }
}

/// Adds what the tracker allows this origin, unless the answer is the tracker's and says it itself.
pub(super) async fn complete(worker: &Worker, peer: &Peer, asked: Asked, answer: &mut Response<Body>) {
    if answer.headers().contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
        return;
    }
    for (name, value) in &allowed(worker, peer, asked).await {
        answer.headers_mut().append(name.clone(), value.clone());
    }
}

/// An answer that may be an error of the edge itself, or else is the tracker's, by which the next error knows what to say. Nobody is
/// asked where the tracker has just failed, or where there are too many requests already.
pub(super) async fn complete_fault(worker: &Worker, peer: &Peer, asked: Asked, answer: &mut Response<Body>) {
    if answer.extensions().get::<MadeHere>().is_none() {
        if asked.preflight.is_none() && answer.headers().contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
            worker.cors.keep(asked, cors_headers(answer.headers()));
        }
    } else if answer.status().is_server_error() {
        complete_as_known(worker, &asked, answer);
    } else {
        complete(worker, peer, asked, answer).await;
    }
}

/// The same without a question.
pub(super) fn complete_as_known(worker: &Worker, asked: &Asked, answer: &mut Response<Body>) {
    answer.headers_mut().extend(worker.cors.known(asked, KEPT_WITHOUT_TRACKER).unwrap_or_default());
}

/// The answer to a preflight of one of the gate's own calls.
pub(super) async fn preflight(worker: &Worker, peer: &Peer, asked: Asked) -> Response<Body> {
    let mut answer = Response::new(empty());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    let own = asked.own.clone();
    *answer.headers_mut() = allowed(worker, peer, asked).await;
    if !own.is_empty() && answer.headers().contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
        answer.headers_mut().extend(own.into_iter().map(HeaderValue::from_static).map(|name| (ALLOW_HEADERS, name)));
    }
    answer
}

async fn allowed(worker: &Worker, peer: &Peer, asked: Asked) -> HeaderMap {
    if let Some(headers) = worker.cors.known(&asked, KEPT_FOR) {
        return headers;
    }
    let head = asked.request();
    let Ok(Ok((answer, _))) =
        tokio::time::timeout(PATIENCE, forward::exchange(worker, peer, &head, Upload::none(), None)).await
    else {
        return worker.cors.known(&asked, KEPT_WITHOUT_TRACKER).unwrap_or_default();
    };
    let headers = cors_headers(answer.headers());
    worker.cors.keep(asked, headers.clone());
    headers
}

fn cors_headers(headers: &HeaderMap) -> HeaderMap {
    let is_cors = |name: &HeaderName| *name == header::VARY || name.as_str().starts_with("access-control-");
    headers.iter().filter(|(name, _)| is_cors(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

const ALLOW_HEADERS: HeaderName = header::ACCESS_CONTROL_ALLOW_HEADERS;
/// The gate's own request headers, of which the tracker knows nothing.
const OWN: [&str; 3] = [AGENT_HEADER, "claimgate-expect", "if-match"];
const KEPT_FOR: Duration = Duration::from_secs(30);
/// While the tracker cannot be asked, its last word is better than none.
const KEPT_WITHOUT_TRACKER: Duration = Duration::from_hours(1);
const MOST_KEPT: usize = 256;
const PATIENCE: Duration = Duration::from_secs(5);
