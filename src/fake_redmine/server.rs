//! The walk of a request: accept, enter in the log, meet a fault or none, reach its action, answer.
//!
//! A write runs in a task of its own: a real one's action goes on when its client hangs up.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::{Instant, sleep};

use super::auth::{self, Who};
use super::bad_request::BadRequest;
use super::call::{Asked, RedmineCall, failure, page};
use super::params::{self, Format};
use super::store::RedmineState;
use super::{issues, lists, update};
use crate::fake_forge::{
    Body, Cut, FakeReply, Fault, HandlerResult, Logged, ServerTasks, Serves, Work, WriteScope, meet,
};

/// What the log keeps of a body.
const LOGGED_BODY: usize = 64 * 1024;

impl Serves for ServerTasks<RedmineState> {
    type Rows = RedmineState;

    fn tasks(&self) -> &Self {
        self
    }

    async fn respond(self: Arc<Self>, request: Request<Incoming>) -> Result<http::Response<Body>, Cut> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
        Ok(answer(&self, parts, body).await?.into_response())
    }
}

/// Answers one request; `Cut` closes its connection without a word.
pub(super) async fn answer(
    inner: &Arc<ServerTasks<RedmineState>>,
    parts: Parts,
    body: Bytes,
) -> Result<FakeReply, Cut> {
    let call = read(inner, parts, &body);
    let is_read = call.read.as_ref().is_ok_and(|read| is_read(&read.method));
    let (fault, delay) = {
        let mut state = inner.rows();
        let entry = state.log.get_mut(call.seq).map(|entry| (entry.method.clone(), entry.target.clone()));
        let scripted = entry.and_then(|(method, target)| state.script.take(&method, &target));
        let vices = &state.vices;
        let standing = if is_read { vices.read_fault } else { vices.write_fault };
        (scripted.or(standing), if is_read { vices.read_delay } else { vices.answer_delay })
    };
    let seq = call.seq;
    let reply = if is_read {
        sleep_unless_zero(delay).await;
        meet(call, fault).await?
    } else {
        write(inner, call, fault, delay).await?
    };
    if let Some(entry) = inner.rows().log.get_mut(seq) {
        entry.status = Some(reply.status.as_u16());
    }
    Ok(reply)
}

async fn write(
    inner: &Arc<ServerTasks<RedmineState>>,
    call: RedmineCall,
    fault: Option<Fault>,
    delay: Duration,
) -> Result<FakeReply, Cut> {
    let work = inner.spawn(async move {
        let reply = meet(call, fault).await;
        sleep_unless_zero(delay).await;
        reply
    });
    work.await.ok().flatten().unwrap_or(Err(Cut))
}

/// Reads the request as Rack and Rails do, and enters it in the log.
fn read(inner: &Arc<ServerTasks<RedmineState>>, parts: Parts, body: &Bytes) -> RedmineCall {
    let read = params::read(&parts, body);
    let mut state = inner.rows();
    let who = match &read {
        Ok(read) => auth::who(&mut state, read.format, &parts.headers, &read.params),
        Err(_) => Who::Nobody,
    };
    let login = who.user().and_then(|user| state.principals.get(&user)).map(|user| user.login.clone());
    let guarded = read.as_ref().is_ok_and(|read| {
        let issue = read.params.get("issue");
        let sets = |name: &str| issue.and_then(|issue| issue.get(name)).is_some();
        !is_read(&read.method) && (sets("assigned_to_id") || sets("status_id") || read.method == Method::DELETE)
    });
    let seq = state.log.push(Logged {
        seq: 0,
        at: Instant::now(),
        method: parts.method,
        target: parts.uri.to_string(),
        headers: parts.headers.clone(),
        body: body.slice(..body.len().min(LOGGED_BODY)),
        login,
        status: None,
        applied: false,
        guarded,
    });
    drop(state);
    let path_format = match (params::format_of_path(parts.uri.path()), &read) {
        (Format::Html, Ok(read)) => read.format,
        (format, _) => format,
    };
    RedmineCall {
        redmine: Arc::clone(inner),
        seq,
        headers: parts.headers,
        path_format,
        read,
        who,
        scope: WriteScope::Everything,
    }
}

/// The routes, as far as they are about issues and who works on them.
async fn dispatch(asked: Asked<'_>) -> HandlerResult {
    let read = asked.read;
    let method = if read.method == Method::HEAD { "GET" } else { read.method.as_str() };
    let path: Vec<&str> = read.path.iter().map(String::as_str).collect();
    if !read.is_routable {
        return Err(asked.no_route());
    }
    if !is_known(method, &path) {
        return Err(asked.no_route());
    }
    if asked.call.who == Who::BadSwitch {
        return Err(asked.head(StatusCode::PRECONDITION_FAILED));
    }
    if method != "GET" && !asked.is_own_form() {
        return Err(asked.head(StatusCode::UNPROCESSABLE_ENTITY));
    }
    match (method, &path[..]) {
        ("GET", ["issues"] | ["projects", _, "issues"]) => lists::issues(asked),
        ("GET", ["issues", _]) => issues::show(asked),
        ("GET", ["projects", _, "memberships"]) if asked.is_api() => lists::members(asked),
        ("GET", ["issue_statuses"]) if asked.is_api() => Ok(lists::statuses(asked)),
        ("GET", ["projects"]) if asked.is_api() => Ok(lists::projects(asked)),
        ("GET", ["users", _]) if asked.is_api() => lists::user(asked),
        ("GET", ["my", "account"]) if asked.is_api() => lists::account(asked),
        ("POST" | "PATCH", ["issues", "bulk_update"]) => update::many(asked).await,
        ("PUT" | "PATCH", ["issues", _]) => update::one(asked).await,
        ("POST", _) => issues::create(asked),
        ("DELETE", _) => issues::destroy(asked),
        _ if asked.read.format == Format::Html => Ok(page(StatusCode::OK)),
        _ => Err(asked.no_route()),
    }
}

/// What else there is, is a 404 here.
fn is_known(method: &str, path: &[&str]) -> bool {
    match method {
        "GET" => matches!(
            path,
            [] | ["issues" | "projects" | "issue_statuses" | "login"]
                | ["issues" | "users" | "projects", _]
                | ["my", "account"]
                | ["projects", _, "issues" | "memberships"]
        ),
        "POST" => matches!(path, ["issues"] | ["projects", _, "issues"] | ["issues", "bulk_update"]),
        "PUT" | "PATCH" => matches!(path, ["issues", _]),
        "DELETE" => matches!(path, ["issues"] | ["issues", _]),
        _ => false,
    }
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

async fn sleep_unless_zero(delay: Duration) {
    if !delay.is_zero() {
        sleep(delay).await;
    }
}

impl Work for RedmineCall {
    async fn run(&self) -> FakeReply {
        match &self.read {
            Err(BadRequest) => failure(self.path_format, StatusCode::BAD_REQUEST),
            Ok(read) => dispatch(Asked { call: self, read }).await.unwrap_or_else(|refusal| refusal),
        }
    }

    fn error(&self, status: StatusCode) -> FakeReply {
        failure(self.path_format, status)
    }

    fn limit(&mut self, scope: WriteScope) {
        self.scope = scope;
    }

    fn land_later(self, delay: Duration) {
        let inner = Arc::clone(&self.redmine);
        inner.spawn(async move {
            sleep(delay).await;
            self.run().await;
        });
    }
}
