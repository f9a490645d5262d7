//! The walk of a request: accept, find out who asks, reach its action, answer.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};

use super::state::{Logged, State, User};
use super::{graphql, issues, lists, render, repos};

/// An answer.
pub struct Reply {
    pub status: StatusCode,
    pub headers: Vec<(&'static str, String)>,
    /// None: there is no body.
    pub body: Option<Value>,
}

/// One request, once read.
pub struct Asked {
    pub method: Method,
    /// Decoded.
    pub path: Vec<String>,
    pub query: Vec<(String, String)>,
    pub user: Option<User>,
    pub body: Bytes,
}

pub type Answer = Result<Reply, Reply>;

pub async fn run(listener: TcpListener, state: Arc<Mutex<State>>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        tokio::spawn(converse(stream, Arc::clone(&state)));
    }
}

pub async fn run_at(listener: UnixListener, state: Arc<Mutex<State>>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        tokio::spawn(converse(stream, Arc::clone(&state)));
    }
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin>(stream: S, state: Arc<Mutex<State>>) {
    let service = service_fn(move |request| serve(Arc::clone(&state), request));
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn serve(state: Arc<Mutex<State>>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let (reply, delay) = {
        let mut rows = state.lock().expect("no panic");
        let target = parts.uri.to_string();
        let user = who(&rows, &parts.headers);
        let login = user.as_ref().ok().and_then(Option::as_ref).map(|user| user.login.clone());
        let reply = answer(&mut rows, &parts, user, body.clone());
        let (method, status) = (parts.method.to_string(), reply.status.as_u16());
        let (body, answer) = (String::from_utf8_lossy(&body).into_owned(), reply.body.clone().unwrap_or_default());
        rows.log.push(Logged { method, target, login, body, status, answer });
        (reply, rows.answer_delay)
    };
    if parts.method != Method::GET && !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    Ok(reply.into_response())
}

fn answer(state: &mut State, parts: &http::request::Parts, user: Result<Option<User>, Reply>, body: Bytes) -> Reply {
    let asked = user.and_then(|user| {
        if !parts.headers.contains_key("user-agent") {
            return Err(Reply::error(StatusCode::FORBIDDEN, "Request forbidden by administrative rules."));
        }
        let path = parts.uri.path();
        // There is no route with a slash at its end.
        if path.len() > 1 && path.ends_with('/') || path.contains("//") {
            return Err(Reply::missing());
        }
        let pieces = path.split('/').filter(|piece| !piece.is_empty()).map(decoded).collect();
        let query = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
        Ok(Asked { method: parts.method.clone(), path: pieces, query, user, body })
    });
    asked.and_then(|asked| dispatch(state, &asked)).unwrap_or_else(|refused| refused)
}

fn decoded(piece: &str) -> String {
    percent_encoding::percent_decode_str(piece).decode_utf8_lossy().into_owned()
}

/// None: nobody said who it is.
fn who(state: &State, headers: &HeaderMap) -> Result<Option<User>, Reply> {
    let Some(value) = headers.get("authorization").and_then(|value| value.to_str().ok()) else { return Ok(None) };
    let (scheme, proof) = value.split_once(' ').unwrap_or_default();
    let token = if scheme.eq_ignore_ascii_case("basic") {
        use base64::Engine as _;
        let plain = base64::engine::general_purpose::STANDARD.decode(proof).unwrap_or_default();
        let plain = String::from_utf8(plain).unwrap_or_default();
        plain.split_once(':').map(|(_, password)| password.to_owned()).unwrap_or_default()
    } else {
        proof.trim().to_owned()
    };
    let found = state.users.iter().find(|user| !token.is_empty() && user.token == token).cloned();
    found.map(Some).ok_or_else(|| Reply::error(StatusCode::UNAUTHORIZED, "Bad credentials"))
}

fn dispatch(state: &mut State, asked: &Asked) -> Answer {
    let path: Vec<&str> = asked.path.iter().map(String::as_str).collect();
    match (asked.method.as_str(), &path[..]) {
        ("GET", []) => Ok(Reply::ok(json!({ "current_user_url": format!("{}/user", state.base) }))),
        ("GET", ["meta"]) => Ok(Reply::ok(json!({ "verifiable_password_authentication": false }))),
        ("GET", ["user"]) => {
            let user = asked.user()?;
            if user.kind == "Bot" {
                return Err(Reply::error(StatusCode::FORBIDDEN, "Resource not accessible by integration"));
            }
            Ok(Reply::ok(render::profile(state, user)))
        }
        ("GET", ["users", login]) => {
            let user = state.user_named(login).ok_or_else(Reply::missing)?;
            Ok(Reply::ok(render::profile(state, user)))
        }
        ("POST", ["graphql"]) => graphql::answer(state, asked),
        ("GET", ["user", "repos"]) => Ok(repos::list(state, asked)),
        (_, ["repos", owner, name, tail @ ..]) => {
            let found = state.repo_named(owner, name).map(|repo| repo.id);
            match (found, state.renamed.get(&format!("{owner}/{name}").to_lowercase())) {
                (Some(repo), _) => below(state, asked, repo, tail),
                (None, Some(repo)) => Err(moved(state, asked, *repo, tail)),
                (None, None) => Err(Reply::missing()),
            }
        }
        (_, ["repositories", id, tail @ ..]) => {
            let id = id.parse().ok().filter(|id| state.repos.iter().any(|repo| repo.id == *id));
            below(state, asked, id.ok_or_else(Reply::missing)?, tail)
        }
        _ => Err(Reply::missing()),
    }
}

fn below(state: &mut State, asked: &Asked, repo: u64, tail: &[&str]) -> Answer {
    if asked.method != Method::GET && asked.user.is_none() {
        return Err(Reply::error(StatusCode::UNAUTHORIZED, "Requires authentication"));
    }
    match tail {
        ["issues" | "pulls", number, rest @ ..] if number.parse::<u64>().is_ok() => {
            let number = number.parse().unwrap_or_default();
            if let Some(to) = state.moved.get(&(repo, number)).copied() {
                return Err(moved(state, asked, to.0, &[&["issues", &to.1.to_string()], rest].concat()));
            }
            if state.issue(repo, number).is_none() {
                return Err(Reply::missing());
            }
            if tail[0] == "pulls" {
                issues::of_pull(state, asked, (repo, number), rest)
            } else {
                issues::of_issue(state, asked, (repo, number), rest)
            }
        }
        ["issues" | "pulls"] if asked.method == Method::GET => Ok(lists::items(state, asked, repo, tail[0])),
        ["issues"] if asked.method == Method::POST => issues::create(state, asked, repo),
        _ => repos::below(state, asked, repo, tail),
    }
}

/// A read is sent on with 301, and all else with 307.
fn moved(state: &State, asked: &Asked, repo: u64, tail: &[&str]) -> Reply {
    let status =
        if asked.method == Method::GET { StatusCode::MOVED_PERMANENTLY } else { StatusCode::TEMPORARY_REDIRECT };
    let url = format!("{}/repositories/{repo}/{}", state.base, tail.join("/"));
    let mut reply = Reply::of(status, json!({ "message": "Moved Permanently", "url": url, "documentation_url": DOCS }));
    reply.headers.push(("location", url));
    reply
}

const DOCS: &str = "https://docs.github.com/rest";

// === impl Asked, Reply ===

impl Asked {
    pub fn user(&self) -> Result<&User, Reply> {
        self.user.as_ref().ok_or_else(|| Reply::error(StatusCode::UNAUTHORIZED, "Requires authentication"))
    }

    /// The body as JSON, whatever its type says; of two members of one name the last one counts.
    pub fn json(&self) -> Result<Value, Reply> {
        if self.body.trim_ascii().is_empty() {
            return Ok(json!({}));
        }
        serde_json::from_slice(&self.body).map_err(|_| Reply::error(StatusCode::BAD_REQUEST, "Problems parsing JSON"))
    }

    pub fn object(&self) -> Result<Value, Reply> {
        let value = self.json()?;
        let is_object = value.is_object();
        is_object.then_some(value).ok_or_else(|| Reply::error(StatusCode::BAD_REQUEST, "Body should be a JSON object"))
    }

    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }
}

impl Reply {
    pub fn of(status: StatusCode, body: Value) -> Self {
        Self { status, headers: Vec::new(), body: Some(body) }
    }

    pub fn ok(body: Value) -> Self {
        Self::of(StatusCode::OK, body)
    }

    pub fn empty() -> Self {
        Self { status: StatusCode::NO_CONTENT, headers: Vec::new(), body: None }
    }

    pub fn error(status: StatusCode, message: &str) -> Self {
        Self::of(status, json!({ "message": message, "documentation_url": DOCS, "status": status.as_str() }))
    }

    pub fn missing() -> Self {
        Self::error(StatusCode::NOT_FOUND, "Not Found")
    }

    pub fn invalid(resource: &str, field: &str) -> Self {
        let errors = json!([{ "resource": resource, "field": field, "code": "invalid" }]);
        let body =
            json!({ "message": "Validation Failed", "errors": errors, "documentation_url": DOCS, "status": "422" });
        Self::of(StatusCode::UNPROCESSABLE_ENTITY, body)
    }

    fn into_response(self) -> Response<Full<Bytes>> {
        let bytes = self.body.map(|body| Bytes::from(body.to_string()));
        let mut response = Response::new(Full::new(bytes.clone().unwrap_or_default()));
        *response.status_mut() = self.status;
        for (name, value) in self.headers {
            response.headers_mut().insert(name, HeaderValue::from_str(&value).expect("a header's value"));
        }
        if bytes.is_some() {
            let kind = HeaderValue::from_static("application/json; charset=utf-8");
            response.headers_mut().insert("content-type", kind);
        }
        response
    }
}
