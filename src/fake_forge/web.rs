//! The web interface's routes that write: forms with a session cookie, global issue ids, toggles.

use http::StatusCode;
use serde_json::json;

use super::body::{self, Kind, Pairs, Schema};
use super::call::{Call, Outcome, Part, Reply};
use super::issues::{add_assignees, assigned, remove_assignees};
use super::labels::{self, Change};
use super::options::Feature;
use super::store::By;

pub(super) const COMMENT: Schema =
    Schema { name: "CreateCommentForm", members: &[("content", Kind::Text), ("status", Kind::Text)] };

/// A page for a browser; what is on it matters to nobody.
pub(super) fn page(call: &Call) -> Outcome {
    let repo = call.repo()?;
    let state = call.state();
    Ok(Reply::html(StatusCode::OK, &state.full_name(&state.repos[&repo])))
}

/// Assigns whom the issue lacks and unassigns whom it has, whatever the action says; only `clear` is obeyed.
pub(super) async fn assignee(call: &Call) -> Outcome {
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
    Ok(Reply::ok(&json!({ "ok": true })))
}

/// Attaches, detaches or clears; a toggle looks at the whole selection.
pub(super) async fn labels(call: &Call) -> Outcome {
    let (by, form, selection) = bulk(call)?;
    let label = form.first("id").and_then(|id| id.parse::<u64>().ok()).unwrap_or(0);
    let attach = labels::lacking(call, &selection, label);
    for issue in selection {
        let ids = if labels::belongs(call, issue, label) { vec![label] } else { Vec::new() };
        let change = match form.first("action").unwrap_or("") {
            "clear" => Change::Replace(&[]),
            "attach" => Change::Add(&ids),
            "toggle" | "toggle-alt" if attach => Change::Add(&ids),
            "detach" | "toggle" | "toggle-alt" => Change::Remove(&ids),
            _ => {
                return Err(Reply::html(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"));
            }
        };
        labels::change(call, issue, by, change).await;
    }
    Ok(Reply::ok(&json!({ "ok": true })))
}

/// `close` closes; any other action reopens.
pub(super) fn status(call: &Call) -> Outcome {
    let (by, form, selection) = bulk(call)?;
    let closed = form.first("action") == Some("close");
    for issue in selection {
        if call.writes(Part::Rest) {
            call.state().set_closed(issue, closed, by);
        }
    }
    Ok(Reply::ok(&json!({ "ok": true })))
}

/// Comments, and closes or reopens on the way, also without a text.
pub(super) fn comment(call: &Call) -> Outcome {
    let by = signed_in(call)?;
    let repo = call.repo()?;
    let fields = call.bind(&COMMENT)?;
    let issue = call.issue(repo)?;
    let posted = call.state().issues[&issue].poster == by.user;
    let content = fields.text("content").unwrap_or("");
    let status = fields.text("status").filter(|status| matches!(*status, "close" | "reopen"));
    let may = (posted || call.can_write(repo)) && call.writes(Part::Rest);
    if let Some(status) = status.filter(|_| may) {
        call.state().set_closed(issue, status == "close", by);
    }
    let mut state = call.state();
    if !content.is_empty() {
        state.insert_comment(issue, content, by);
    }
    let page = format!("/{}/issues/{}", state.full_name(&state.repos[&repo]), state.issues[&issue].number);
    Ok(Reply::redirect(302, &page))
}

/// What the bulk routes share: the doer, the form, and the issues selected by global id.
fn bulk(call: &Call) -> Result<(By, Pairs, Vec<u64>), Reply> {
    let by = signed_in(call)?;
    let repo = call.repo()?;
    if !call.can_write(repo) {
        return Err(Reply::html(StatusCode::NOT_FOUND, "Page Not Found"));
    }
    let form = body::web_values(&call.headers, &call.query, &call.body);
    let selection = selected(call, repo, form.first("issue_ids").unwrap_or(""))?;
    Ok((by, form, selection))
}

/// On 1.15 the path's repository does not limit the selection. Ids that do not exist are passed over.
fn selected(call: &Call, repo: u64, ids: &str) -> Result<Vec<u64>, Reply> {
    let ids = ids.split(',').filter(|id| !id.is_empty()).map(str::parse::<u64>).collect::<Result<Vec<_>, _>>();
    let ids = ids.map_err(|_| Reply::html(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"))?;
    let state = call.state();
    let rows: Vec<_> = ids.iter().filter_map(|id| state.issues.get(id)).collect();
    if call.has(Feature::WebChecksRepository) && rows.iter().any(|row| row.repo != repo) {
        return Err(Reply::html(StatusCode::NOT_FOUND, "Page Not Found"));
    }
    Ok(rows.iter().map(|row| row.id).collect())
}

fn signed_in(call: &Call) -> Result<By, Reply> {
    let user = call.user().ok_or_else(|| Reply::redirect(302, "/user/login"))?;
    Ok(By { user, request: Some(call.seq) })
}
