//! Lists, page by page. A link to another page names the repository by its number.

use serde_json::Value;

use super::render;
use super::server::{Asked, Reply};
use super::state::{Issue, State};

/// The issues of a repository, and its pull requests among them; or these alone.
pub fn items(state: &State, asked: &Asked, repo: u64, kind: &str) -> Reply {
    let wanted = |name| asked.parameter(name);
    let labels: Vec<String> =
        wanted("labels").into_iter().flat_map(|text| text.split(',')).map(str::to_lowercase).collect();
    let fits = |issue: &&Issue| {
        let carries =
            |label: &String| issue.labels.iter().any(|id| state.label(issue.repo, *id).name.to_lowercase() == *label);
        let assigned = match wanted("assignee") {
            None | Some("*") => wanted("assignee").is_none() || !issue.assignees.is_empty(),
            Some("none") => issue.assignees.is_empty(),
            Some(login) => issue.assignees.iter().any(|id| state.user(*id).login.eq_ignore_ascii_case(login)),
        };
        let state_fits = match wanted("state").unwrap_or("open") {
            "all" => true,
            "closed" => !issue.open,
            _ => issue.open,
        };
        issue.repo == repo
            && (kind == "issues" || issue.branch.is_some())
            && state_fits
            && assigned
            && labels.iter().all(carries)
    };
    let mut found: Vec<&Issue> = state.issues.iter().filter(fits).collect();
    if wanted("sort") == Some("updated") {
        found.sort_by_key(|issue| issue.updated);
    }
    if wanted("direction") != Some("asc") {
        found.reverse();
    }
    let show = if kind == "issues" { render::issue } else { render::pull };
    let rows = found.into_iter().map(|issue| show(state, issue)).collect();
    let mut reply = page(state, asked, rows);
    // As GitHub does.
    let row = state.repo(repo);
    for (_, link) in reply.headers.iter_mut().filter(|(name, _)| *name == "link") {
        *link = link.replace(&format!("/repos/{}/{}/", row.owner, row.name), &format!("/repositories/{repo}/"));
    }
    reply
}

/// One page of these rows.
pub fn page(state: &State, asked: &Asked, rows: Vec<Value>) -> Reply {
    let number = |name: &str, usual: usize| asked.parameter(name).and_then(|text| text.parse().ok()).unwrap_or(usual);
    let (size, page) = (number("per_page", 30).clamp(1, 100), number("page", 1).max(1));
    let last = rows.len().div_ceil(size).max(1);
    let shown: Vec<Value> = rows.into_iter().skip((page - 1) * size).take(size).collect();
    let mut reply = Reply::ok(Value::from(shown));
    let url = |to: usize| {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in asked.query.iter().filter(|(name, _)| name != "page") {
            query.append_pair(name, value);
        }
        query.append_pair("page", &to.to_string());
        format!("{}/{}?{}", state.base, asked.path.join("/"), query.finish())
    };
    let mut links = Vec::new();
    if page < last {
        links.push(format!("<{}>; rel=\"next\"", url(page + 1)));
        links.push(format!("<{}>; rel=\"last\"", url(last)));
    }
    if page > 1 {
        links.push(format!("<{}>; rel=\"prev\"", url(page - 1)));
        links.push(format!("<{}>; rel=\"first\"", url(1)));
    }
    if !links.is_empty() {
        reply.headers.push(("link", links.join(", ")));
    }
    reply
}
