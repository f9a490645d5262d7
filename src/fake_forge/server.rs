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
use super::call::{ForgeCall, WriteScope};
use super::entry::{RequestEntry, enter, finish, is_read};
use super::faults::{Work, meet};
use super::inner::Inner;
use super::options::Feature;
use super::reply::{Body, Cut, FakeReply, HandlerResult};
use super::store::ForgeState;
use super::target::{ForgeRoute, Path};
use super::tasks::{ServerTasks, Serves, serve};
use super::{beside, cors, guarded, issues, labels, pulls, repos, streams, web};

pub(super) async fn accept_unix(inner: Arc<Inner>, listener: UnixListener) {
    while let Ok((stream, _)) = listener.accept().await {
        inner.spawn(serve(Arc::clone(&inner), stream));
    }
}

impl Serves for Inner {
    type Rows = ForgeState;

    fn tasks(&self) -> &ServerTasks<ForgeState> {
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
pub(super) async fn answer(inner: &Arc<Inner>, parts: Parts, body: Bytes) -> Result<FakeReply, Cut> {
    let origin = cors::origin(&parts, &inner.options);
    let entered = enter(inner, &parts.method, &parts.uri, &parts.headers, &body);
    if let Some(reply) = cors::preflight(&parts, &inner.options) {
        return Ok(finish(inner, entered.seq, reply));
    }
    answer_call(inner, entered, parts, body).await.map(|reply| cors::shown(reply, origin.as_ref()))
}

async fn answer_call(inner: &Arc<Inner>, entered: RequestEntry, parts: Parts, body: Bytes) -> Result<FakeReply, Cut> {
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
fn prepare(inner: &Arc<Inner>, seq: u64, parts: Parts, body: Bytes) -> Result<ForgeCall, FakeReply> {
    let options = &inner.options;
    let bad_path = |_| FakeReply::typed(StatusCode::BAD_REQUEST, "text/plain; charset=utf-8", "400 Bad Request");
    let elsewhere = || FakeReply::typed(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "404 page not found\n");
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
    let call = ForgeCall {
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
        scope: WriteScope::Everything,
    };
    let guarded = guarded::asks_for_it(&call);
    if let Some(entry) = inner.state().log.get_mut(seq) {
        entry.guarded = guarded;
    }
    Ok(call)
}

impl Work for ForgeCall {
    async fn run(&self) -> FakeReply {
        if let Err(error) = self.who {
            return refused(self, error);
        }
        dispatch(self).await.unwrap_or_else(|refusal| refusal)
    }

    fn error(&self, status: StatusCode) -> FakeReply {
        Self::error(self, status, "")
    }

    fn limit(&mut self, scope: WriteScope) {
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

fn refused(call: &ForgeCall, error: AuthError) -> FakeReply {
    match error {
        AuthError::BadCredential => call.error(StatusCode::UNAUTHORIZED, "invalid username, password or token"),
        AuthError::MissingCsrf => call.error(StatusCode::UNAUTHORIZED, "Missing CSRF token."),
        AuthError::SudoForbidden => call.error(StatusCode::FORBIDDEN, "Only administrators allowed to sudo."),
        AuthError::SudoUnknown => call.not_found(),
    }
}

async fn dispatch(call: &ForgeCall) -> HandlerResult {
    let method = call.method.as_str();
    match (call.route, method) {
        (ForgeRoute::Version, "GET") => Ok(repos::version(call)),
        (ForgeRoute::Me, "GET") => repos::me(call),
        (ForgeRoute::UserOf, "GET") => repos::user(call),
        (ForgeRoute::UserSearch, "GET") => Ok(repos::search_users(call)),
        (ForgeRoute::Userinfo, "GET") => repos::userinfo(call),
        (ForgeRoute::Search, "GET") => Ok(repos::search(call)),
        (ForgeRoute::Repo, "GET") => repos::get(call),
        (ForgeRoute::Repo, "PATCH") => repos::edit(call),
        (ForgeRoute::Repo, "DELETE") => repos::delete(call),
        (ForgeRoute::OwnerLabels, "GET") => labels::of_owner(call),
        (ForgeRoute::Assignable, "GET") => repos::assignees(call),
        (ForgeRoute::Collaborator, "GET") => repos::is_collaborator(call),
        (ForgeRoute::Collaborator, "PUT") => repos::add_collaborator(call),
        (ForgeRoute::Collaborator, "DELETE") => repos::remove_collaborator(call),
        (ForgeRoute::RepoLabels, "GET") => labels::list(call),
        (ForgeRoute::RepoLabels, "POST") => labels::create(call),
        (ForgeRoute::RepoLabel, "GET") => labels::get(call),
        (ForgeRoute::RepoLabel, "PATCH") => labels::edit(call),
        (ForgeRoute::RepoLabel, "DELETE") => labels::delete(call),
        _ => dispatch_item(call).await,
    }
}

/// The routes of items.
async fn dispatch_item(call: &ForgeCall) -> HandlerResult {
    match (call.route, call.method.as_str()) {
        (ForgeRoute::Issues, "GET") => issues::list(call),
        (ForgeRoute::Issues, "POST") => issues::create(call).await,
        (ForgeRoute::Issue, "GET") => issues::get(call),
        (ForgeRoute::Issue, "PATCH") => issues::edit(call).await,
        (ForgeRoute::Issue, "DELETE") if call.has(Feature::DeleteIssue) => issues::delete(call),
        (ForgeRoute::IssueLabels, "GET") => labels::of_issue(call),
        (ForgeRoute::IssueLabels, "POST") => labels::add(call).await,
        (ForgeRoute::IssueLabels, "PUT") => labels::replace(call).await,
        (ForgeRoute::IssueLabels, "DELETE") => labels::clear(call).await,
        (ForgeRoute::IssueLabel, "DELETE") => labels::remove(call).await,
        (ForgeRoute::IssueComments, "GET") => issues::comments(call),
        (ForgeRoute::IssueComments, "POST") => issues::comment(call),
        (ForgeRoute::IssueAssignees, "POST" | "DELETE") => issues::assignees(call).await,
        (ForgeRoute::IssueTimeline, "GET") => issues::timeline(call),
        (ForgeRoute::Branch, "DELETE") => beside::delete_branch(call),
        (ForgeRoute::Dependencies, "POST" | "DELETE") => beside::dependency(call, false),
        (ForgeRoute::Blocks, "POST" | "DELETE") => beside::dependency(call, true),
        (ForgeRoute::Pulls, "GET") => pulls::list(call),
        (ForgeRoute::Pulls, "POST") => pulls::create(call).await,
        (ForgeRoute::Pull, "GET") => pulls::get(call),
        (ForgeRoute::Pull, "PATCH") => pulls::edit(call).await,
        (ForgeRoute::PullMerge, "GET") => pulls::is_merged(call),
        (ForgeRoute::PullMerge, "POST") => pulls::merge(call),
        (ForgeRoute::RequestedReviewers, "POST" | "DELETE") => pulls::requested_reviewers(call),
        (ForgeRoute::Reviews, "GET") => pulls::reviews(call),
        (ForgeRoute::Reviews, "POST") => pulls::review(call),
        (ForgeRoute::Review, "GET" | "POST" | "DELETE") => pulls::one_review(call),
        (ForgeRoute::Dismissals, "POST") => pulls::dismiss(call),
        (ForgeRoute::WebAssignee, "POST") => web::assignee(call).await,
        (ForgeRoute::WebLabels, "POST") => web::labels(call).await,
        (ForgeRoute::WebStatus, "POST") => web::status(call),
        (ForgeRoute::WebComments, "POST") => web::comment(call),
        (ForgeRoute::WebProjects, "POST") => web::projects(call),
        (ForgeRoute::WebReview, "POST") => web::request_review(call),
        (ForgeRoute::WebDelete, "POST") => web::delete(call),
        (ForgeRoute::WebDeleteOne, "POST") => web::delete_one(call),
        (ForgeRoute::WebMoveCards, "POST") => web::move_cards(call),
        (ForgeRoute::WebNew, "POST") => web::new(call),
        (ForgeRoute::WebDeleteBranch, "POST") => beside::web_delete_branch(call),
        (ForgeRoute::WebEditLabel, "POST") => beside::web_label(call, false),
        (ForgeRoute::WebDeleteLabel, "POST") => beside::web_label(call, true),
        (ForgeRoute::WebRef, "POST") => beside::web_ref(call),
        (ForgeRoute::WebSettings, "GET") => web::settings(call),
        (ForgeRoute::WebPage, "GET" | "HEAD") => web::page(call),
        (ForgeRoute::UnknownApi, _) => {
            let text = "404 page not found\n";
            Err(FakeReply::typed(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", text))
        }
        (ForgeRoute::UnknownWeb, _) => Err(FakeReply::html(StatusCode::NOT_FOUND, "Page Not Found")),
        _ => Err(FakeReply::empty(StatusCode::METHOD_NOT_ALLOWED)),
    }
}

fn is_web(route: ForgeRoute) -> bool {
    use ForgeRoute::{
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
