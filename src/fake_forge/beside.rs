//! Calls and forms whose effect is on issues that they do not name: branches, forks, dependencies, labels of the web.

use http::Method;
use serde_json::Value;

use super::body;
use super::call::ForgeCall;
use super::render;
use super::reply::{FakeReply, HandlerResult};
use super::store::{By, ForgeState};
use super::web;

/// Closes every open pull request from the branch and into it.
pub(super) fn delete_branch(call: &ForgeCall) -> HandlerResult {
    let repo = call.repo()?;
    let by = call.writer(repo)?;
    delete(&mut call.state(), repo, &call.path.tail(), by);
    Ok(FakeReply::no_content())
}

fn delete(state: &mut ForgeState, repo: u64, name: &str, by: By) {
    close_pulls(state, by, |row_repo, pull| {
        let from = pull.from.unwrap_or(row_repo) == repo && pull.head == name;
        from || (row_repo == repo && pull.base == name)
    });
    state.mark_applied(by);
}

/// Closes the open pull requests that are so.
pub(super) fn close_pulls(state: &mut ForgeState, by: By, is: impl Fn(u64, &super::store::Pull) -> bool) {
    let open = state.issues.values().filter(|row| row.closed_at.is_none());
    let struck = open.filter(|row| row.pull.as_ref().is_some_and(|pull| is(row.repo, pull))).map(|row| row.id);
    for issue in struck.collect::<Vec<_>>() {
        state.set_closed(issue, true, by);
    }
}

/// Makes one issue depend on another: it cannot be closed while that is open.
pub(super) fn dependency(call: &ForgeCall, blocks: bool) -> HandlerResult {
    let repo = call.repo()?;
    let by = call.writer(repo)?;
    let issue = call.issue(repo)?;
    let fields: Value = serde_json::from_slice(&call.body).unwrap_or_default();
    let mut state = call.state();
    let other = fields["index"].as_u64().and_then(|number| state.repos[&repo].numbers.get(&number).copied());
    let Some(other) = other else { return Err(FakeReply::not_found(&state.root)) };
    let (dependent, needed) = if blocks { (other, issue) } else { (issue, other) };
    if let Some(row) = state.issues.get_mut(&dependent) {
        row.depends_on.retain(|id| *id != needed);
        if call.method == Method::POST {
            row.depends_on.push(needed);
        }
    }
    state.mark_applied(by);
    let shown = state.issues.get(&needed).map_or(Value::Null, |row| render::issue(&state, row));
    Ok(FakeReply::created(&shown))
}

// === forms of the web interface ===

pub(super) fn web_delete_branch(call: &ForgeCall) -> HandlerResult {
    let by = web::own_form(call)?;
    let repo = call.repo()?;
    let form = body::web_values(&call.headers, &call.query, &call.body);
    delete(&mut call.state(), repo, form.first("name").unwrap_or(""), by);
    Ok(FakeReply::redirect(303, &format!("/{}/branches", call.path.repo())))
}

pub(super) fn web_label(call: &ForgeCall, deletes: bool) -> HandlerResult {
    let by = web::own_form(call)?;
    let repo = call.repo()?;
    let form = body::web_values(&call.headers, &call.query, &call.body);
    let id = form.first("id").and_then(|id| id.parse::<u64>().ok()).unwrap_or(0);
    let mut state = call.state();
    if deletes {
        state.delete_label(repo, id, by);
    } else if let Some(label) = state.repos.get_mut(&repo).and_then(|row| row.labels.get_mut(&id)) {
        form.first("title").unwrap_or("").clone_into(&mut label.name);
        form.first("color").unwrap_or("").trim_start_matches('#').clone_into(&mut label.color);
        label.exclusive = form.first("exclusive").is_some();
    }
    state.mark_applied(by);
    Ok(FakeReply::redirect(303, &format!("/{}/labels", call.path.repo())))
}

pub(super) fn web_ref(call: &ForgeCall) -> HandlerResult {
    let by = web::own_form(call)?;
    let issue = call.issue(call.repo()?)?;
    let form = body::web_values(&call.headers, &call.query, &call.body);
    let mut state = call.state();
    if let Some(row) = state.issues.get_mut(&issue) {
        form.first("ref").unwrap_or("").clone_into(&mut row.git_ref);
    }
    state.mark_applied(by);
    Ok(FakeReply::ok(&serde_json::json!({ "ref": "" })))
}
