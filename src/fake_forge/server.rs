//! The walk of a request: accept, enter in the log, meet a fault or none, reach its handler, answer.
//!
//! A write runs in a task of its own, as a real forge's handler goes on when its client hangs up.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::net::UnixListener;
use tokio::time::sleep;

use super::auth::{self, AuthError};
use super::body;
use super::call::{Call, Scope};
use super::entry::{Entered, enter, finish, is_read};
use super::faults::{Work, meet};
use super::inner::Inner;
use super::options::Feature;
use super::reply::{Body, Cut, Outcome, Reply};
use super::store::State;
use super::target::{Path, Route};
use super::tasks::{ServerTasks, Serves, serve};
use super::{beside, cors, guarded, issues, labels, pulls, repos, streams, web};

pub(super) async fn accept_unix(inner: Arc<Inner>, listener: UnixListener) {
    while let Ok((stream, _)) = listener.accept().await {
        inner.spawn(serve(Arc::clone(&inner), stream));
    }
}

impl Serves for Inner {
    type Rows = State;

    fn tasks(&self) -> &ServerTasks<State> {
        &self.tasks
    }

    async fn respond(self: Arc<Self>, request: Request<Incoming>) -> Result<http::Response<Body>, Cut> {
        if streams::is_stream(request.uri().path()) {
            return Ok(streams::answer(&self, request).await?.into_response());
        }
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
        Ok(answer(&self, parts, body).await?.into_response())
    }
}

/// Answers one request; `Cut` closes its connection without a word.
pub(super) async fn answer(inner: &Arc<Inner>, parts: Parts, body: Bytes) -> Result<Reply, Cut> {
    let origin = cors::origin(&parts, &inner.options);
    let entered = enter(inner, &parts.method, &parts.uri, &parts.headers, &body);
    if let Some(reply) = cors::preflight(&parts, &inner.options) {
        return Ok(finish(inner, entered.seq, reply));
    }
    answer_call(inner, entered, parts, body).await.map(|reply| cors::shown(reply, origin.as_ref()))
}

async fn answer_call(inner: &Arc<Inner>, entered: Entered, parts: Parts, body: Bytes) -> Result<Reply, Cut> {
    let call = match prepare(inner, entered.seq, parts, body) {
        Ok(call) => call,
        Err(reply) => return Ok(finish(inner, entered.seq, reply)),
    };
    let seq = entered.seq;
    if is_read(&call.method) {
        sleep_unless_zero(entered.read_delay).await;
        return meet(call, entered.fault).await.map(|reply| finish(inner, seq, reply));
    }
    let answer_delay = entered.answer_delay;
    let work = inner.spawn(async move {
        let reply = meet(call, entered.fault).await;
        sleep_unless_zero(answer_delay).await;
        reply
    });
    let reply = work.await.ok().flatten().unwrap_or(Err(Cut))?;
    Ok(finish(inner, seq, reply))
}

/// Reads path and credential.
fn prepare(inner: &Arc<Inner>, seq: u64, parts: Parts, body: Bytes) -> Result<Call, Reply> {
    let options = &inner.options;
    let bad_path = |_| Reply::typed(StatusCode::BAD_REQUEST, "text/plain; charset=utf-8", "400 Bad Request");
    let elsewhere = || Reply::typed(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "404 page not found\n");
    let path = parts.uri.path().strip_prefix(options.sub_path.as_str()).ok_or_else(elsewhere)?;
    let path = Path::parse(path, options).map_err(bad_path)?;
    let route = path.route(options);
    let raw_query = parts.uri.query().unwrap_or("").to_owned();
    let query = body::pairs_of(raw_query.as_bytes(), options);
    let who = {
        let mut state = inner.state();
        let who = if is_web(route) {
            Ok(auth::on_web(&state, &parts.headers))
        } else {
            let form = auth::parameters(&parts.headers, &query, &body, options);
            auth::on_api(&state, &parts.headers, &form, options)
        };
        let login = who.ok().and_then(|who| who.user).map(|user| state.login(user));
        if let Some(entry) = state.log.get_mut(seq) {
            entry.login = login;
        }
        who
    };
    let call = Call {
        forge: Arc::clone(inner),
        seq,
        who,
        method: parts.method,
        path,
        route,
        query,
        raw_query,
        headers: parts.headers,
        body,
        scope: Scope::Everything,
    };
    let guarded = guarded::asks_for_it(&call);
    if let Some(entry) = inner.state().log.get_mut(seq) {
        entry.guarded = guarded;
    }
    Ok(call)
}

impl Work for Call {
    async fn run(&self) -> Reply {
        if let Err(error) = self.who {
            return refused(self, error);
        }
        dispatch(self).await.unwrap_or_else(|refusal| refusal)
    }

    fn error(&self, status: StatusCode) -> Reply {
        Self::error(self, status, "")
    }

    fn limit(&mut self, scope: Scope) {
        self.scope = scope;
    }

    fn land_later(self, delay: Duration) {
        let inner = Arc::clone(&self.forge);
        inner.spawn(async move {
            sleep(delay).await;
            self.run().await;
        });
    }
}

fn refused(call: &Call, error: AuthError) -> Reply {
    match error {
        AuthError::BadCredential => call.error(StatusCode::UNAUTHORIZED, "invalid username, password or token"),
        AuthError::MissingCsrf => call.error(StatusCode::UNAUTHORIZED, "Missing CSRF token."),
        AuthError::SudoForbidden => call.error(StatusCode::FORBIDDEN, "Only administrators allowed to sudo."),
        AuthError::SudoUnknown => call.not_found(),
    }
}

async fn dispatch(call: &Call) -> Outcome {
    let method = call.method.as_str();
    match (call.route, method) {
        (Route::Version, "GET") => Ok(repos::version(call)),
        (Route::Me, "GET") => repos::me(call),
        (Route::UserOf, "GET") => repos::user(call),
        (Route::UserSearch, "GET") => Ok(repos::search_users(call)),
        (Route::Userinfo, "GET") => repos::userinfo(call),
        (Route::Search, "GET") => Ok(repos::search(call)),
        (Route::Repo, "GET") => repos::get(call),
        (Route::Repo, "PATCH") => repos::edit(call),
        (Route::Repo, "DELETE") => repos::delete(call),
        (Route::OwnerLabels, "GET") => labels::of_owner(call),
        (Route::Assignable, "GET") => repos::assignees(call),
        (Route::Collaborator, "GET") => repos::is_collaborator(call),
        (Route::Collaborator, "PUT") => repos::add_collaborator(call),
        (Route::Collaborator, "DELETE") => repos::remove_collaborator(call),
        (Route::RepoLabels, "GET") => labels::list(call),
        (Route::RepoLabels, "POST") => labels::create(call),
        (Route::RepoLabel, "GET") => labels::get(call),
        (Route::RepoLabel, "PATCH") => labels::edit(call),
        (Route::RepoLabel, "DELETE") => labels::delete(call),
        _ => dispatch_item(call).await,
    }
}

/// The routes of items.
async fn dispatch_item(call: &Call) -> Outcome {
    match (call.route, call.method.as_str()) {
        (Route::Issues, "GET") => issues::list(call),
        (Route::Issues, "POST") => issues::create(call).await,
        (Route::Issue, "GET") => issues::get(call),
        (Route::Issue, "PATCH") => issues::edit(call).await,
        (Route::Issue, "DELETE") if call.has(Feature::DeleteIssue) => issues::delete(call),
        (Route::IssueLabels, "GET") => labels::of_issue(call),
        (Route::IssueLabels, "POST") => labels::add(call).await,
        (Route::IssueLabels, "PUT") => labels::replace(call).await,
        (Route::IssueLabels, "DELETE") => labels::clear(call).await,
        (Route::IssueLabel, "DELETE") => labels::remove(call).await,
        (Route::IssueComments, "GET") => issues::comments(call),
        (Route::IssueComments, "POST") => issues::comment(call),
        (Route::IssueAssignees, "POST" | "DELETE") => issues::assignees(call).await,
        (Route::IssueTimeline, "GET") => issues::timeline(call),
        (Route::Branch, "DELETE") => beside::delete_branch(call),
        (Route::Dependencies, "POST" | "DELETE") => beside::dependency(call, false),
        (Route::Blocks, "POST" | "DELETE") => beside::dependency(call, true),
        (Route::Pulls, "GET") => pulls::list(call),
        (Route::Pulls, "POST") => pulls::create(call).await,
        (Route::Pull, "GET") => pulls::get(call),
        (Route::Pull, "PATCH") => pulls::edit(call).await,
        (Route::PullMerge, "GET") => pulls::is_merged(call),
        (Route::PullMerge, "POST") => pulls::merge(call),
        (Route::RequestedReviewers, "POST" | "DELETE") => pulls::requested_reviewers(call),
        (Route::Reviews, "GET") => pulls::reviews(call),
        (Route::Reviews, "POST") => pulls::review(call),
        (Route::Review, "GET" | "POST" | "DELETE") => pulls::one_review(call),
        (Route::Dismissals, "POST") => pulls::dismiss(call),
        (Route::WebAssignee, "POST") => web::assignee(call).await,
        (Route::WebLabels, "POST") => web::labels(call).await,
        (Route::WebStatus, "POST") => web::status(call),
        (Route::WebComments, "POST") => web::comment(call),
        (Route::WebProjects, "POST") => web::projects(call),
        (Route::WebReview, "POST") => web::request_review(call),
        (Route::WebDelete, "POST") => web::delete(call),
        (Route::WebDeleteOne, "POST") => web::delete_one(call),
        (Route::WebMoveCards, "POST") => web::move_cards(call),
        (Route::WebNew, "POST") => web::new(call),
        (Route::WebDeleteBranch, "POST") => beside::web_delete_branch(call),
        (Route::WebEditLabel, "POST") => beside::web_label(call, false),
        (Route::WebDeleteLabel, "POST") => beside::web_label(call, true),
        (Route::WebRef, "POST") => beside::web_ref(call),
        (Route::WebSettings, "GET") => web::settings(call),
        (Route::WebPage, "GET" | "HEAD") => web::page(call),
        (Route::UnknownApi, _) => {
            let text = "404 page not found\n";
            Err(Reply::typed(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", text))
        }
        (Route::UnknownWeb, _) => Err(Reply::html(StatusCode::NOT_FOUND, "Page Not Found")),
        _ => Err(Reply::empty(StatusCode::METHOD_NOT_ALLOWED)),
    }
}

fn is_web(route: Route) -> bool {
    use Route::{
        UnknownWeb, WebAssignee, WebComments, WebDelete, WebDeleteBranch, WebDeleteLabel, WebDeleteOne, WebEditLabel,
        WebLabels, WebMoveCards, WebNew, WebPage, WebProjects, WebRef, WebReview, WebSettings, WebStatus,
    };
    matches!(
        route,
        UnknownWeb
            | WebAssignee
            | WebComments
            | WebDelete
            | WebDeleteBranch
            | WebDeleteLabel
            | WebDeleteOne
            | WebEditLabel
            | WebRef
            | WebLabels
            | WebMoveCards
            | WebNew
            | WebPage
            | WebProjects
            | WebReview
            | WebSettings
            | WebStatus
    )
}

async fn sleep_unless_zero(delay: Duration) {
    if !delay.is_zero() {
        sleep(delay).await;
    }
}
