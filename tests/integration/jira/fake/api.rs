//! The routes, as far as they are about issues and who works on them.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::request::Parts;
use serde_json::{Value, json};

use super::state::{Flavour, JiraState};
use super::{JiraReply, JiraRequest, edit, later};

type Shared = std::sync::Arc<Mutex<JiraState>>;

pub fn rows(state: &Shared) -> MutexGuard<'_, JiraState> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a request would change assignee or status, or end an issue, if it were carried out as it is.
pub fn is_guarded(head: &Parts, body: &[u8]) -> bool {
    let path = head.uri.path();
    let text = String::from_utf8_lossy(body);
    match head.method.as_str() {
        "PUT" => path.ends_with("/assignee") || (path.contains("/issue/") && text.contains("assignee")),
        "POST" => {
            path.ends_with("/transitions")
                || path.ends_with("/transition")
                || path.contains("/bulk/issues/")
                || (path.contains("/agile/") && (path.contains("/backlog/") || path.contains("/board/")))
        }
        "DELETE" => path.contains("/issue/") && !path.contains("/comment") && !path.contains("/worklog"),
        _ => false,
    }
}

pub async fn respond(state: &Shared, request: &JiraRequest, delay: Duration) -> JiraReply {
    let path = request.head.uri.path().to_owned();
    let (context, flavour) = {
        let rows = rows(state);
        (rows.context.clone(), rows.flavour)
    };
    let Some(path) = path.strip_prefix(&context) else { return JiraReply::empty(404) };
    let segments: Vec<&str> = path.split('/').filter(|piece| !piece.is_empty()).collect();
    if let Some(refusal) = refused_at_once(request, flavour) {
        return refusal;
    }
    match &segments[..] {
        ["rest", "api", version, rest @ ..] => {
            let known = matches!((flavour, *version), (_, "2" | "latest") | (Flavour::Cloud, "3"));
            if !known {
                return JiraReply::empty(404);
            }
            api(state, request, (version, rest), delay).await
        }
        ["rest", "agile", "1.0", rest @ ..] => agile(state, request, rest, delay).await,
        ["rest", "servicedeskapi", "request", issue, "transition"] => {
            let Ok(Value::Object(body)) = serde_json::from_slice(&request.body) else {
                return JiraReply::json(400, json!({ "errorMessage": "unreadable" }));
            };
            let id = body.get("id").cloned().unwrap_or_default();
            edit::transition(state, request, (issue, &json!({ "transition": { "id": id } })), delay).await
        }
        _ => JiraReply::empty(404),
    }
}

/// What Jira refuses before it looks at anything.
fn refused_at_once(request: &JiraRequest, flavour: Flavour) -> Option<JiraReply> {
    let head = &request.head;
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if head.method == http::Method::GET {
        return None;
    }
    let is_browser = header("user-agent").starts_with("Mozilla/");
    if is_browser && !header("origin").is_empty() && header("x-atlassian-token") != "no-check" {
        return Some(JiraReply::error(403, "XSRF check failed"));
    }
    let is_empty = request.body.is_empty();
    if !is_empty && !header("content-type").starts_with("application/json") {
        return Some(JiraReply::empty(415));
    }
    let is_anonymous = request.user.is_none() && flavour == Flavour::Cloud;
    is_anonymous
        .then(|| JiraReply::error(401, "You are not authenticated. Authentication required to perform this operation."))
}

async fn api(state: &Shared, request: &JiraRequest, (version, rest): (&str, &[&str]), delay: Duration) -> JiraReply {
    let method = request.head.method.as_str();
    match (method, rest) {
        ("GET", _) => read(&rows(state), request, version, rest),
        ("POST", ["issue"]) => edit::create(state, request),
        ("POST", ["issue", "bulk"]) => edit::create_many(state, request),
        ("PUT", ["issue", issue]) => edit::edit(state, request, issue, delay).await,
        ("PUT", ["issue", issue, "assignee"]) => edit::assign(state, request, issue, delay).await,
        ("POST", ["issue", issue, "transitions"]) => match serde_json::from_slice::<Value>(&request.body) {
            Ok(body) => edit::transition(state, request, (issue, &body), delay).await,
            Err(_) => JiraReply::error(400, "Unexpected character"),
        },
        ("DELETE", ["issue", issue]) => edit::delete(state, request, issue),
        ("POST", ["issue", issue, "comment"]) => edit::comment(state, request, issue),
        ("POST", ["issue", issue, "worklog"]) => edit::worklog(state, request, issue),
        ("POST", ["search" | "jql", ..]) => search(&rows(state), request),
        ("POST", ["bulk", "issues", what]) => later::start(state, request, what),
        _ => JiraReply::empty(405),
    }
}

fn query(request: &JiraRequest) -> Vec<(String, String)> {
    form_urlencoded::parse(request.head.uri.query().unwrap_or_default().as_bytes()).into_owned().collect()
}

fn read(rows: &JiraState, request: &JiraRequest, version: &str, rest: &[&str]) -> JiraReply {
    let Some(user) = &request.user else {
        return match rest {
            ["serverInfo"] => server_info(rows),
            ["myself"] => JiraReply::error(401, "You are not authenticated."),
            _ => missing(),
        };
    };
    match rest {
        ["serverInfo"] => server_info(rows),
        ["myself"] => JiraReply::json(200, rows.user_json(user)),
        ["status"] => JiraReply::json(200, rows.statuses.iter().map(|row| rows.status_json(row)).collect()),
        ["project"] => {
            let shown = |key: &String| json!({ "id": rows.projects[key].id.to_string(), "key": key, "name": key });
            JiraReply::json(200, rows.projects.keys().map(shown).collect())
        }
        ["project", key, "statuses"] if rows.projects.contains_key(*key) => {
            let statuses: Vec<Value> = rows.statuses.iter().map(|row| rows.status_json(row)).collect();
            let kind = json!({ "id": "10001", "name": "Task", "self": "", "subtask": false, "statuses": statuses });
            JiraReply::json(200, json!([kind]))
        }
        ["field"] => {
            JiraReply::json(200, json!([{ "id": "assignee", "name": "Assignee", "clauseNames": ["assignee"] }]))
        }
        ["user", "search"] => {
            let named = query(request).into_iter().find(|(name, _)| name == "query" || name == "username");
            let named = named.map(|(_, value)| value).unwrap_or_default();
            let found = rows.users.keys().filter(|login| login.contains(&named)).map(|login| rows.user_json(login));
            JiraReply::json(200, found.collect())
        }
        ["user"] => {
            let named = query(request).into_iter().find(|(name, _)| name == "accountId" || name == "username");
            let found = named.and_then(|(_, value)| {
                rows.users.values().find(|user| user.account_id == value || user.login == value)
            });
            found.map_or_else(missing, |user| JiraReply::json(200, rows.user_json(&user.login)))
        }
        ["issue", issue] => match rows.find(issue) {
            Some(found) => {
                let query = query(request);
                let mut shown = rows.issue_json(found, version, &query);
                if query.iter().any(|(name, value)| name == "expand" && value.split(',').any(|it| it == "transitions"))
                {
                    shown["transitions"] = transitions(rows, found, user);
                }
                JiraReply::json(200, shown)
            }
            None => missing(),
        },
        ["issue", issue, "transitions"] => match rows.find(issue) {
            Some(found) => {
                JiraReply::json(200, json!({ "expand": "transitions", "transitions": transitions(rows, found, user) }))
            }
            None => missing(),
        },
        ["issue", issue, "comment"] => match rows.find(issue) {
            Some(found) => JiraReply::json(200, json!({ "comments": found.comments, "total": found.comments.len() })),
            None => missing(),
        },
        ["search", ..] => search(rows, request),
        ["bulk", "queue", task] => later::progress(rows, task),
        _ => JiraReply::empty(404),
    }
}

fn transitions(rows: &JiraState, issue: &super::state::FakeIssue, user: &str) -> Value {
    rows.transitions_of(issue, user).map(|row| rows.transition_json(row)).collect()
}

fn server_info(rows: &JiraState) -> JiraReply {
    let (version, numbers, kind) = match rows.flavour {
        Flavour::Cloud => ("1001.0.0-SNAPSHOT", [1001, 0, 0], "Cloud"),
        Flavour::DataCenter => ("9.12.4", [9, 12, 4], "Server"),
    };
    let info = json!({ "baseUrl": rows.base, "version": version, "versionNumbers": numbers, "deploymentType": kind });
    JiraReply::json(200, info)
}

pub fn missing() -> JiraReply {
    JiraReply::error(404, "Issue does not exist or you do not have permission to see it.")
}

/// As much of JQL as the gate writes.
fn search(rows: &JiraState, request: &JiraRequest) -> JiraReply {
    let is_new = request.head.uri.path().ends_with("/search/jql");
    if is_new != (rows.flavour == Flavour::Cloud) {
        return JiraReply::error(if is_new { 404 } else { 410 }, "The requested API has been removed.");
    }
    let pairs = query(request);
    let value = |wanted: &str| pairs.iter().find(|(name, _)| name == wanted).map_or("", |(_, value)| value.as_str());
    let jql = value("jql");
    let named = |field: &str| {
        let rest = jql.split_once(&format!("{field} = \""))?.1;
        rest.split_once('"').map(|(name, _)| name.to_owned())
    };
    let project = named("project");
    if project.as_ref().is_some_and(|key| !rows.projects.contains_key(key)) {
        return JiraReply::error(400, "The value does not exist for the field 'project'.");
    }
    let status = named("status");
    let fits = |issue: &&super::state::FakeIssue| {
        let stands = rows.status(issue.status);
        project.as_ref().is_none_or(|key| *key == issue.project)
            && status.as_ref().is_none_or(|name| stands.name.eq_ignore_ascii_case(name))
            && (!jql.contains("statusCategory != Done") || stands.category != "done")
            && (!jql.contains("assignee IS EMPTY") || issue.assignee.is_none())
    };
    let all: Vec<Value> = rows.issues.values().filter(fits).map(|issue| rows.issue_json(issue, "2", &pairs)).collect();
    let (total, most) = (all.len(), value("maxResults").parse().unwrap_or(50));
    let from = value("startAt").parse().unwrap_or(0);
    let page: Vec<Value> = all.into_iter().skip(from).take(most).collect();
    JiraReply::json(
        200,
        match rows.flavour {
            Flavour::Cloud => json!({ "issues": page, "isLast": total <= most }),
            Flavour::DataCenter => json!({ "issues": page, "startAt": from, "maxResults": most, "total": total }),
        },
    )
}

async fn agile(state: &Shared, request: &JiraRequest, rest: &[&str], delay: Duration) -> JiraReply {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let named: Vec<String> =
        body["issues"].as_array().into_iter().flatten().filter_map(|key| key.as_str().map(str::to_owned)).collect();
    let to = match rest {
        ["issue", "rank"] | ["sprint" | "epic", _, "issue"] => return JiraReply::empty(204),
        ["backlog", "issue"] | ["backlog", _, "issue"] => "10000",
        ["board", _, "issue"] => "10001",
        _ => return JiraReply::empty(404),
    };
    tokio::time::sleep(delay).await;
    let mut rows = rows(state);
    for key in named {
        let Some(id) = rows.find(&key).map(|issue| issue.id) else { return missing() };
        rows.issues.get_mut(&id).expect("it is there").status = to;
    }
    rows.log[request.seq].applied = true;
    JiraReply::empty(204)
}
