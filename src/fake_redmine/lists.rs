//! Lists, and who is asking.

use http::StatusCode;
use serde_json::Value;

use super::api::{self, Node};
use super::call::{Asked, page};
use super::ruby;
use super::store::{Issue, RedmineState};
use crate::fake_forge::{FakeReply, HandlerResult};

/// The issues that the filters leave; without one for the status, only open ones.
pub(super) fn issues(asked: Asked<'_>) -> HandlerResult {
    let in_path = match &asked.read.path[..] {
        [_, project, _] => Some(project.clone()),
        _ => None,
    };
    let state = asked.state();
    let named = in_path.or_else(|| asked.text("project_id").filter(|name| !name.is_empty()));
    let project = named.as_ref().map(|name| state.project_named(name).map(|project| project.id));
    if project == Some(None) {
        drop(state);
        return Err(asked.not_found());
    }
    let is_wanted = |issue: &&Issue| {
        project.flatten().is_none_or(|project| project == issue.project)
            && state.can_see(issue.project, asked.user())
            && has_status(&state, issue, &asked.text("status_id").unwrap_or_default())
            && has_assignee(issue, &asked.text("assigned_to_id").unwrap_or_default(), asked.user())
            && asked.text("issue_id").is_none_or(|ids| ids.split(',').any(|id| id.trim() == issue.id.to_string()))
    };
    let mut found: Vec<&Issue> = state.issues.values().filter(is_wanted).collect();
    sort(&mut found, &asked.text("sort").unwrap_or_default());
    let (offset, limit) = window(asked);
    let beside = vec![("total_count", found.len().into()), ("offset", offset.into()), ("limit", limit.into())];
    let entries = found.into_iter().skip(offset).take(limit).map(|issue| api::issue(&state, issue, Vec::new()));
    let shown = Node::Array("issues", beside, entries.collect());
    drop(state);
    Ok(if asked.is_api() { asked.shown(StatusCode::OK, &shown) } else { page(StatusCode::OK) })
}

fn has_status(state: &RedmineState, issue: &Issue, wanted: &str) -> bool {
    let is_closed = state.status(issue.status).is_some_and(|status| status.is_closed);
    match wanted {
        "" | "open" | "o" => !is_closed,
        "closed" | "c" => is_closed,
        "*" => true,
        one => match one.strip_prefix('!') {
            Some(not) => !not.split('|').any(|id| id == issue.status.to_string()),
            None => one.split('|').any(|id| id == issue.status.to_string()),
        },
    }
}

fn has_assignee(issue: &Issue, wanted: &str, user: Option<u64>) -> bool {
    match wanted {
        "" => true,
        "*" => issue.assigned_to.is_some(),
        "!*" => issue.assigned_to.is_none(),
        one => one.split('|').any(|id| {
            let id = if id == "me" { user } else { id.parse().ok() };
            id.is_some() && id == issue.assigned_to
        }),
    }
}

/// The newest first, unless asked for otherwise.
fn sort(found: &mut [&Issue], wanted: &str) {
    let first = wanted.split(',').next().unwrap_or_default();
    match first.split_once(':').unwrap_or((first, "")) {
        ("id" | "created_on", "desc") | ("", _) => found.sort_by_key(|issue| std::cmp::Reverse(issue.id)),
        ("updated_on", "desc") => found.sort_by_key(|issue| std::cmp::Reverse((issue.updated, issue.id))),
        ("updated_on", _) => found.sort_by_key(|issue| (issue.updated, issue.id)),
        _ => found.sort_by_key(|issue| issue.id),
    }
}

/// `api_offset_and_limit`
fn window(asked: Asked<'_>) -> (usize, usize) {
    let number = |name: &str| asked.text(name).map_or(0, |text| usize::try_from(ruby::to_i(&text)).unwrap_or(0));
    let limit = match number("limit") {
        0 => 25,
        more => more.min(100),
    };
    let by_page = number("page").saturating_sub(1) * limit;
    (if asked.param("offset").is_some() { number("offset") } else { by_page }, limit)
}

pub(super) fn statuses(asked: Asked<'_>) -> FakeReply {
    let state = asked.state();
    let entries = state.statuses.iter().map(|status| {
        let all = vec![
            Node::Text("id", status.id.into()),
            Node::Text("name", status.name.clone().into()),
            Node::Text("is_closed", status.is_closed.into()),
        ];
        Node::Object("issue_status", vec![], all)
    });
    let shown = Node::Array("issue_statuses", vec![], entries.collect());
    drop(state);
    asked.shown(StatusCode::OK, &shown)
}

pub(super) fn projects(asked: Asked<'_>) -> FakeReply {
    let state = asked.state();
    let seen: Vec<_> = state.projects.values().filter(|project| state.can_see(project.id, asked.user())).collect();
    let (offset, limit) = window(asked);
    let beside = vec![("total_count", seen.len().into()), ("offset", offset.into()), ("limit", limit.into())];
    let entries = seen.into_iter().skip(offset).take(limit).map(|project| {
        let all: [(&'static str, Value); 9] = [
            ("id", project.id.into()),
            ("name", project.name.clone().into()),
            ("identifier", project.identifier.clone().into()),
            ("description", Value::Null),
            ("status", 1.into()),
            ("is_public", project.is_public.into()),
            ("inherit_members", false.into()),
            ("created_on", api::time(project.created)),
            ("updated_on", api::time(project.created)),
        ];
        Node::Object("project", vec![], all.map(|(name, value)| Node::Text(name, value)).into())
    });
    let shown = Node::Array("projects", beside, entries.collect());
    drop(state);
    asked.shown(StatusCode::OK, &shown)
}

pub(super) fn members(asked: Asked<'_>) -> HandlerResult {
    let state = asked.state();
    let Some(project) = state.project_named(&asked.read.path[1]) else {
        drop(state);
        return Err(asked.not_found());
    };
    let (offset, limit) = window(asked);
    let beside =
        vec![("total_count", project.members.len().into()), ("offset", offset.into()), ("limit", limit.into())];
    let entries = project.members.iter().enumerate().skip(offset).take(limit).filter_map(|(at, id)| {
        let member = state.principals.get(id)?;
        let pair = |id: u64, name: &str| vec![("id", id.into()), ("name", name.into())];
        let kind = if member.is_group { "group" } else { "user" };
        let all = vec![
            Node::Text("id", (at + 1).into()),
            Node::Attributes("project", pair(project.id, &project.name)),
            Node::Attributes(kind, pair(member.id, &member.full_name())),
            Node::Array("roles", vec![], vec![Node::Attributes("role", pair(4, "Developer"))]),
        ];
        Some(Node::Object("membership", vec![], all))
    });
    let shown = Node::Array("memberships", beside, entries.collect());
    drop(state);
    Ok(asked.shown(StatusCode::OK, &shown))
}

/// `/users/current` and `/users/7`.
pub(super) fn user(asked: Asked<'_>) -> HandlerResult {
    let Some(by) = asked.user() else { return Err(asked.denied()) };
    let state = asked.state();
    let wanted = match asked.read.path[1].as_str() {
        "current" => by,
        text => u64::try_from(ruby::to_i(text)).unwrap_or(0),
    };
    let shown =
        state.principals.get(&wanted).filter(|user| !user.is_group).map(|user| api::user(&state, user, Some(by)));
    drop(state);
    shown.map_or_else(|| Err(asked.not_found()), |shown| Ok(asked.shown(StatusCode::OK, &shown)))
}

pub(super) fn account(asked: Asked<'_>) -> HandlerResult {
    let Some(by) = asked.user() else { return Err(asked.denied()) };
    let shown = asked.state().principals.get(&by).map(api::account);
    shown.map_or_else(|| Err(asked.not_found()), |shown| Ok(asked.shown(StatusCode::OK, &shown)))
}
