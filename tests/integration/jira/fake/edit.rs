//! Writes of one issue: read, then written a moment later, without a look at what happened in between.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::api::{missing, rows};
use super::state::{FakeIssue, JiraState};
use super::{JiraReply, JiraRequest};

type Shared = std::sync::Arc<std::sync::Mutex<JiraState>>;

/// To nobody, or to this account.
struct NewAssignee(Option<String>);

/// What a request makes of an issue.
#[derive(Default)]
struct Edits {
    assignee: Option<NewAssignee>,
    status: Option<&'static str>,
    fields: Map<String, Value>,
    comments: Vec<Value>,
}

fn parsed(request: &JiraRequest) -> Result<Map<String, Value>, JiraReply> {
    match serde_json::from_slice(&request.body) {
        Ok(Value::Object(body)) => Ok(body),
        _ => Err(JiraReply::error(400, "Can not deserialize instance of an issue")),
    }
}

/// The issue, for somebody who may write.
fn open(rows: &JiraState, request: &JiraRequest, name: &str) -> Result<FakeIssue, JiraReply> {
    let found = rows.find(name).cloned().ok_or_else(missing)?;
    match request.user.as_ref().and_then(|user| rows.users.get(user)) {
        Some(user) if user.writes => Ok(found),
        Some(_) => Err(JiraReply::error(403, "You do not have permission to edit issues in this project.")),
        None => Err(missing()),
    }
}

/// `null`, `"-1"`, or an account.
fn assignee(rows: &JiraState, issue: &FakeIssue, value: &Value) -> Result<Option<String>, JiraReply> {
    let named = ["accountId", "id", "name"].iter().find_map(|name| value.get(*name)).unwrap_or(value);
    match named {
        Value::Null => Ok(None),
        Value::Object(members) if members.is_empty() => Ok(None),
        Value::String(text) if text == "-1" => Ok(rows.projects[&issue.project].lead.clone()),
        _ => match rows.user_named(value) {
            Some(user) => Ok(Some(user.login.clone())),
            None => Err(JiraReply::invalid("assignee", "User does not exist.")),
        },
    }
}

fn edits(rows: &JiraState, issue: &FakeIssue, body: &Map<String, Value>) -> Result<Edits, JiraReply> {
    let mut edits = Edits::default();
    let fields = body.get("fields").and_then(Value::as_object).cloned().unwrap_or_default();
    let update = body.get("update").and_then(Value::as_object).cloned().unwrap_or_default();
    for (name, value) in fields {
        match name.as_str() {
            "assignee" => edits.assignee = Some(NewAssignee(assignee(rows, issue, &value)?)),
            "summary" | "description" | "labels" | "priority" | "resolution" => {
                edits.fields.insert(name, value);
            }
            _ => {
                let text = format!("Field '{name}' cannot be set. It is not on the appropriate screen, or unknown.");
                return Err(JiraReply::invalid(&name, &text));
            }
        }
    }
    for (name, operations) in update {
        for operation in operations.as_array().into_iter().flatten() {
            match (name.as_str(), operation.get("set"), operation.get("add")) {
                ("assignee", Some(value), _) => edits.assignee = Some(NewAssignee(assignee(rows, issue, value)?)),
                ("comment", _, Some(value)) => edits.comments.push(value.clone()),
                ("labels" | "summary", Some(value), _) => drop(edits.fields.insert(name.clone(), value.clone())),
                ("labels", None, _) => {}
                _ => return Err(JiraReply::invalid(&name, "The operation is not supported.")),
            }
        }
    }
    Ok(edits)
}

/// A moment passes, and then it is written.
async fn write(state: &Shared, request: &JiraRequest, id: u64, edits: Edits, delay: Duration) {
    tokio::time::sleep(delay).await;
    let mut rows = rows(state);
    let by = request.user.clone().unwrap_or_default();
    let author = rows.user_json(&by);
    let names: Vec<(&'static str, String)> = rows.statuses.iter().map(|row| (row.id, row.name.clone())).collect();
    let shown = |login: &Option<String>| login.as_ref().map(|login| rows.user_json(login));
    let id_of = |login: &Option<String>| {
        shown(login).and_then(|user| user.get("accountId").or_else(|| user.get("name")).cloned()).unwrap_or_default()
    };
    let Some(before) = rows.issues.get(&id).cloned() else { return };
    let mut items = Vec::new();
    if let Some(NewAssignee(next)) = &edits.assignee {
        items.push(json!({ "field": "assignee", "from": id_of(&before.assignee), "fromString": before.assignee,
            "to": id_of(next), "toString": next }));
    }
    if let Some(status) = edits.status {
        let name = |id: &str| names.iter().find(|(known, _)| *known == id).map(|(_, name)| name.clone());
        items.push(json!({ "field": "status", "from": before.status, "fromString": name(before.status), "to": status,
            "toString": name(status) }));
    }
    let issue = rows.issues.get_mut(&id).expect("it was there");
    let history = json!({ "id": (issue.histories.len() + 1).to_string(), "author": author, "items": items });
    issue.histories.push(history);
    if let Some(NewAssignee(next)) = edits.assignee {
        issue.assignee = next;
    }
    if let Some(status) = edits.status {
        issue.status = status;
        issue.transitions += 1;
    }
    issue.fields.extend(edits.fields);
    issue.comments.extend(edits.comments);
    rows.log[request.seq].applied = true;
}

async fn carry_out(
    state: &Shared,
    request: &JiraRequest,
    understood: Result<(u64, Edits), JiraReply>,
    delay: Duration,
) -> Result<(), JiraReply> {
    let (id, edits) = understood?;
    write(state, request, id, edits, delay).await;
    Ok(())
}

pub async fn edit(state: &Shared, request: &JiraRequest, name: &str, delay: Duration) -> JiraReply {
    let understood = parsed(request).and_then(|body| {
        let rows = rows(state);
        let issue = open(&rows, request, name)?;
        Ok((issue.id, edits(&rows, &issue, &body)?))
    });
    match carry_out(state, request, understood, delay).await {
        Err(reply) => reply,
        Ok(()) if request.head.uri.query().is_some_and(|query| query.contains("returnIssue=true")) => {
            let rows = rows(state);
            rows.find(name).map_or_else(missing, |issue| JiraReply::json(200, rows.issue_json(issue, "3", &[])))
        }
        Ok(()) => JiraReply::empty(204),
    }
}

pub async fn assign(state: &Shared, request: &JiraRequest, name: &str, delay: Duration) -> JiraReply {
    let understood = parsed(request).and_then(|body| {
        let rows = rows(state);
        let issue = open(&rows, request, name)?;
        let next = assignee(&rows, &issue, &Value::Object(body))?;
        Ok((issue.id, Edits { assignee: Some(NewAssignee(next)), ..Edits::default() }))
    });
    carry_out(state, request, understood, delay).await.err().unwrap_or_else(|| JiraReply::empty(204))
}

pub async fn transition(
    state: &Shared,
    request: &JiraRequest,
    (name, body): (&str, &Value),
    delay: Duration,
) -> JiraReply {
    let understood = || {
        let rows = rows(state);
        let issue = open(&rows, request, name)?;
        let body = body.as_object().cloned().unwrap_or_default();
        let id = body.get("transition").and_then(|it| it.get("id")).cloned().unwrap_or_default();
        let id = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
        let user = request.user.as_deref().unwrap_or_default();
        let Some(taken) = rows.transitions_of(&issue, user).find(|row| row.id == id) else {
            return Err(JiraReply::error(
                400,
                "It seems that you have tried to perform a workflow operation that is not valid for \
                the current state of this issue. The likely cause is that somebody has changed the issue recently.",
            ));
        };
        let status = Some(taken.to);
        Ok((issue.id, Edits { status, ..edits(&rows, &issue, &body)? }))
    };
    let understood = understood();
    carry_out(state, request, understood, delay).await.err().unwrap_or_else(|| JiraReply::empty(204))
}

pub fn delete(state: &Shared, request: &JiraRequest, name: &str) -> JiraReply {
    let mut rows = rows(state);
    match open(&rows, request, name) {
        Ok(issue) => {
            rows.issues.remove(&issue.id);
            rows.log[request.seq].applied = true;
            JiraReply::empty(204)
        }
        Err(reply) => reply,
    }
}

pub fn create(state: &Shared, request: &JiraRequest) -> JiraReply {
    match parsed(request).and_then(|body| create_one(&mut rows(state), request, &body)) {
        Ok(made) => JiraReply::json(201, made),
        Err(reply) => reply,
    }
}

pub fn create_many(state: &Shared, request: &JiraRequest) -> JiraReply {
    let Ok(body) = parsed(request) else { return JiraReply::error(400, "unreadable") };
    let mut rows = rows(state);
    let updates = body.get("issueUpdates").and_then(Value::as_array).cloned().unwrap_or_default();
    let made: Vec<Value> =
        updates.iter().filter_map(|one| create_one(&mut rows, request, one.as_object()?).ok()).collect();
    JiraReply::json(201, json!({ "issues": made, "errors": [] }))
}

fn create_one(rows: &mut JiraState, request: &JiraRequest, body: &Map<String, Value>) -> Result<Value, JiraReply> {
    let user = request.user.clone().ok_or_else(|| JiraReply::error(401, "You are not authenticated."))?;
    let mut fields = body.get("fields").and_then(Value::as_object).cloned().unwrap_or_default();
    let project = fields.shift_remove("project").and_then(|project| project["key"].as_str().map(str::to_owned));
    let project = project.filter(|key| rows.projects.contains_key(key));
    let project = project.ok_or_else(|| JiraReply::invalid("project", "valid project is required"))?;
    fields.shift_remove("issuetype");
    let key = rows.add_issue(&project, &user, "");
    let issue = rows.find(&key).cloned().expect("just made");
    let body = json!({ "fields": fields }).as_object().cloned().unwrap_or_default();
    match edits(rows, &issue, &body) {
        Ok(edits) => {
            let base = rows.base.clone();
            let row = rows.issues.get_mut(&issue.id).expect("just made");
            row.assignee = edits.assignee.and_then(|next| next.0);
            row.fields.extend(edits.fields);
            rows.log[request.seq].applied = true;
            let id = issue.id.to_string();
            Ok(json!({ "id": id, "key": key, "self": format!("{base}/rest/api/2/issue/{id}") }))
        }
        Err(reply) => {
            rows.issues.remove(&issue.id);
            Err(reply)
        }
    }
}

pub fn comment(state: &Shared, request: &JiraRequest, name: &str) -> JiraReply {
    let mut rows = rows(state);
    let (Ok(body), Some(user)) = (parsed(request), &request.user) else { return missing() };
    let Some(id) = rows.find(name).map(|issue| issue.id) else { return missing() };
    let (base, author) = (rows.base.clone(), rows.user_json(user));
    let issue = rows.issues.get_mut(&id).expect("it is there");
    let number = (10_000 + issue.comments.len()).to_string();
    let body = body.get("body").cloned().unwrap_or_default();
    let made = json!({ "self": format!("{base}/rest/api/2/issue/{id}/comment/{number}"), "id": number, "author": author, "body": body });
    issue.comments.push(made.clone());
    JiraReply::json(201, made)
}

pub fn worklog(state: &Shared, request: &JiraRequest, name: &str) -> JiraReply {
    let rows = rows(state);
    match (rows.find(name), &request.user) {
        (Some(issue), Some(user)) => {
            JiraReply::json(201, json!({ "id": "1", "issueId": issue.id.to_string(), "author": rows.user_json(user) }))
        }
        _ => missing(),
    }
}
