//! The web interface's routes that write: forms with a session cookie, global issue ids, toggles.

use http::StatusCode;
use serde_json::json;

use super::auth;
use super::body::{self, MemberKind, Pairs, Schema};
use super::call::{ForgeCall, WritePart};
use super::issues::{add_assignees, assigned, remove_assignees};
use super::labels::{self, Change};
use super::options::Feature;
use super::reply::{FakeReply, HandlerResult};
use super::store::By;

pub(super) const COMMENT: Schema =
    Schema { name: "CreateCommentForm", members: &[("content", MemberKind::Text), ("status", MemberKind::Text)] };

/// A page for a browser; what is on it matters to nobody.
pub(super) fn page(call: &ForgeCall) -> HandlerResult {
    let repo = call.repo()?;
    let state = call.state();
    Ok(FakeReply::html(StatusCode::OK, &state.full_name(&state.repos[&repo])))
}

/// Assigns whom the issue lacks and unassigns whom it has, whatever the action says; only `clear` is obeyed.
pub(super) async fn assignee(call: &ForgeCall) -> HandlerResult {
    let (by, form, selection) = bulk(call)?;
    let user = form.first("id").and_then(|id| id.parse::<u64>().ok());
    for issue in selection {
        let present = assigned(call, issue);
        call.gap().await;
        if form.first("action") == Some("clear") {
            remove_assignees(call, issue, &present.into_iter().collect::<Vec<_>>(), by);
        } else if let Some(user) = user.filter(|user| present.contains(user)) {
            remove_assignees(call, issue, &[user], by);
        } else if let Some(user) = user {
            add_assignees(call, issue, &[user], by, StatusCode::INTERNAL_SERVER_ERROR).await?;
        }
    }
    Ok(FakeReply::ok(&json!({ "ok": true })))
}

/// The settings of whoever is signed in.
pub(super) fn settings(call: &ForgeCall) -> HandlerResult {
    let by = signed_in(call)?;
    Ok(FakeReply::html(StatusCode::OK, &call.state().login(by.user)))
}

/// Attaches, detaches or clears; a toggle looks at the whole selection.
pub(super) async fn labels(call: &ForgeCall) -> HandlerResult {
    let (by, form, selection) = bulk(call)?;
    let label = form.first("id").and_then(|id| id.parse::<u64>().ok()).unwrap_or(0);
    let attach = labels::toggles_on(call, &selection, label);
    for issue in selection {
        let ids = if labels::belongs(call, issue, label) { vec![label] } else { Vec::new() };
        let change = match form.first("action").unwrap_or("") {
            "clear" => Change::Replace(&[]),
            "attach" => Change::Add(&ids),
            "toggle" if attach => Change::Add(&ids),
            "detach" | "toggle" | "toggle-alt" => Change::Remove(&ids),
            _ => {
                return Err(FakeReply::html(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"));
            }
        };
        labels::change(call, issue, by, change).await;
    }
    Ok(FakeReply::ok(&json!({ "ok": true })))
}

/// `close` closes; any other action reopens.
pub(super) fn status(call: &ForgeCall) -> HandlerResult {
    let (by, form, selection) = bulk(call)?;
    let closed = form.first("action") == Some("close");
    for issue in selection {
        if call.writes(WritePart::Rest) {
            call.state().set_closed(issue, closed, by);
        }
    }
    Ok(FakeReply::ok(&json!({ "ok": true })))
}

/// Comments, and closes or reopens on the way, also without a text.
pub(super) fn comment(call: &ForgeCall) -> HandlerResult {
    let by = own_form(call)?;
    let repo = call.repo()?;
    let fields = call.bind(&COMMENT)?;
    let issue = call.issue(repo)?;
    let posted = call.state().issues[&issue].poster == by.user;
    let content = fields.text("content").unwrap_or("");
    let status = fields.text("status").filter(|status| matches!(*status, "close" | "reopen"));
    let may = (posted || call.can_write(repo)) && call.writes(WritePart::Rest);
    if let Some(status) = status.filter(|_| may) {
        call.state().set_closed(issue, status == "close", by);
    }
    let mut state = call.state();
    if !content.is_empty() {
        state.insert_comment(issue, content, by);
    }
    let page = format!("/{}/issues/{}", state.full_name(&state.repos[&repo]), state.issues[&issue].number);
    Ok(FakeReply::redirect(302, &page))
}

/// Puts issues on a board, into its first column; 0 takes them off.
pub(super) fn projects(call: &ForgeCall) -> HandlerResult {
    let (by, form, selection) = bulk(call)?;
    let project = form.first("id").and_then(|id| id.parse::<u64>().ok()).filter(|id| *id > 0);
    for issue in selection {
        call.state().set_board(issue, project.map(|project| (project, 0)), by);
    }
    Ok(FakeReply::ok(&json!({ "ok": true })))
}

/// Requests a review of each pull request, or takes the request back.
pub(super) fn request_review(call: &ForgeCall) -> HandlerResult {
    let (by, form, selection) = bulk(call)?;
    let Some(user) = form.first("id").and_then(|id| id.parse::<u64>().ok()) else {
        return Err(FakeReply::html(StatusCode::FORBIDDEN, "Forbidden"));
    };
    let mut state = call.state();
    for issue in selection {
        let Some(pull) = state.issues.get_mut(&issue).and_then(|row| row.pull.as_mut()) else { continue };
        pull.requested.retain(|other| *other != user);
        if form.first("action") == Some("attach") {
            pull.requested.push(user);
        }
        state.mark_applied(by);
    }
    Ok(FakeReply::ok(&json!({ "ok": true })))
}

/// Deletes the selection.
pub(super) fn delete(call: &ForgeCall) -> HandlerResult {
    let (by, _, selection) = bulk(call)?;
    for issue in selection {
        call.state().delete_issue(issue, by);
    }
    Ok(FakeReply::ok(&json!({ "ok": true })))
}

/// Deletes the issue of the path.
pub(super) fn delete_one(call: &ForgeCall) -> HandlerResult {
    let by = own_form(call)?;
    let repo = call.repo()?;
    let issue = call.issue(repo)?;
    if !call.can_write(repo) {
        return Err(FakeReply::html(StatusCode::NOT_FOUND, "Page Not Found"));
    }
    let mut state = call.state();
    state.delete_issue(issue, by);
    Ok(FakeReply::redirect(303, &format!("/{}/issues", state.full_name(&state.repos[&repo]))))
}

/// Moves cards into a column; the body is JSON with global ids.
pub(super) fn move_cards(call: &ForgeCall) -> HandlerResult {
    let by = own_form(call)?;
    let repo = call.repo()?;
    let moved: serde_json::Value = serde_json::from_slice(&call.body).unwrap_or_default();
    let cards = moved["issues"].as_array().cloned().unwrap_or_default();
    let (true, Some(column)) = (call.can_write(repo), call.path.column()) else {
        return Err(FakeReply::html(StatusCode::NOT_FOUND, "Page Not Found"));
    };
    let mut state = call.state();
    for id in cards.iter().filter_map(|card| card["issueID"].as_u64()) {
        state.set_board(id, Some(column), by);
    }
    Ok(FakeReply::ok(&json!({ "ok": true })))
}

/// Files an issue, with whom the form assigns.
pub(super) fn new(call: &ForgeCall) -> HandlerResult {
    let by = own_form(call)?;
    let repo = call.repo()?;
    let form = body::web_values(&call.headers, &call.query, &call.body);
    let mut state = call.state();
    let issue = state.insert_issue(repo, form.first("title").unwrap_or(""), form.first("content").unwrap_or(""), by);
    let ids =
        [form.first("assignee_ids"), form.first("assignee_id")].into_iter().flatten().flat_map(|ids| ids.split(','));
    let users: Vec<u64> = ids.filter_map(|id| id.parse().ok()).filter(|id| state.users.contains_key(id)).collect();
    for user in users {
        state.assign(issue, user, by);
    }
    let page = format!("/{}/issues/{}", state.full_name(&state.repos[&repo]), state.issues[&issue].number);
    Ok(FakeReply::redirect(302, &page))
}

/// What the bulk routes share: the doer, the form, and the issues selected by global id.
fn bulk(call: &ForgeCall) -> Result<(By, Pairs, Vec<u64>), FakeReply> {
    let by = own_form(call)?;
    let repo = call.repo()?;
    if !call.can_write(repo) {
        return Err(FakeReply::html(StatusCode::NOT_FOUND, "Page Not Found"));
    }
    let form = body::web_values(&call.headers, &call.query, &call.body);
    let selection = selected(call, repo, form.first("issue_ids").unwrap_or(""))?;
    Ok((by, form, selection))
}

/// On 1.15 the path's repository does not limit the selection. Ids that do not exist are passed over.
fn selected(call: &ForgeCall, repo: u64, ids: &str) -> Result<Vec<u64>, FakeReply> {
    let ids = ids.split(',').filter(|id| !id.is_empty()).map(str::parse::<u64>).collect::<Result<Vec<_>, _>>();
    let ids = ids.map_err(|_| FakeReply::html(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"))?;
    let state = call.state();
    let rows: Vec<_> = ids.iter().filter_map(|id| state.issues.get(id)).collect();
    if call.has(Feature::WebChecksRepository) && rows.iter().any(|row| row.repo != repo) {
        return Err(FakeReply::html(StatusCode::NOT_FOUND, "Page Not Found"));
    }
    Ok(rows.iter().map(|row| row.id).collect())
}

/// The doer of a form that is its user's own. Older versions send a forged one to the front page.
pub(super) fn own_form(call: &ForgeCall) -> Result<By, FakeReply> {
    let by = signed_in(call)?;
    let form = body::web_values(&call.headers, &call.query, &call.body);
    let options = &call.forge.options;
    if auth::is_own_form(&call.state(), &call.headers, &form, options) {
        return Ok(by);
    }
    Err(if options.has(Feature::OriginCsrf) {
        FakeReply::html(StatusCode::FORBIDDEN, "cross-origin request detected")
    } else {
        FakeReply::redirect(302, "/")
    })
}

fn signed_in(call: &ForgeCall) -> Result<By, FakeReply> {
    let user = call.user().ok_or_else(|| FakeReply::redirect(302, "/user/login"))?;
    Ok(By { user, request: Some(call.seq) })
}
