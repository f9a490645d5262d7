//! Calls about one issue or pull request.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::server::{Answer, Asked, Reply};
use super::state::{Comment, MOST_ASSIGNEES, State};
use super::{lists, render};

/// Repository and number.
pub type At = (u64, u64);

pub fn of_issue(state: &mut State, asked: &Asked, at: At, tail: &[&str]) -> Answer {
    match (asked.method.as_str(), tail) {
        ("GET", []) => {
            let now = render::issue(state, issue(state, at));
            Ok(Reply::ok(state.trail(at, now)))
        }
        ("PATCH" | "POST", []) => edit(state, asked, at),
        ("POST", ["assignees"]) => {
            let wanted = logins(state, &asked.object()?["assignees"], false)?;
            if may_push(state, asked, at) {
                let mut all = issue(state, at).assignees.clone();
                all.extend(wanted);
                set_assignees(state, asked, at, all)?;
            }
            Ok(shown(state, at, StatusCode::CREATED))
        }
        ("DELETE", ["assignees"]) => {
            let gone = logins(state, &asked.object()?["assignees"], false)?;
            if may_push(state, asked, at) {
                let left = issue(state, at).assignees.iter().copied().filter(|id| !gone.contains(id)).collect();
                set_assignees(state, asked, at, left)?;
            }
            Ok(shown(state, at, StatusCode::OK))
        }
        (_, ["labels", ..]) => of_labels(state, asked, at, &tail[1..]),
        ("GET", ["comments"]) => {
            let row = issue(state, at);
            let rows = row.comments.iter().map(|comment| render::comment(state, row, comment)).collect();
            Ok(lists::page(state, asked, rows))
        }
        ("POST", ["comments"]) => comment(state, asked, at),
        ("GET", ["events"]) => {
            let rows = issue(state, at).events.clone();
            Ok(lists::page(state, asked, rows))
        }
        ("PUT" | "DELETE", ["lock"]) => {
            let locked = asked.method == Method::PUT;
            state.edit(at.0, at.1, |row| row.locked = locked);
            Ok(Reply::empty())
        }
        (_, ["suggestions" | "issue-field-values", ..]) => of_proposals(state, asked, at, tail),
        _ => Err(Reply::missing()),
    }
}

pub fn of_pull(state: &mut State, asked: &Asked, at: At, tail: &[&str]) -> Answer {
    if issue(state, at).branch.is_none() {
        return Err(Reply::missing());
    }
    match (asked.method.as_str(), tail) {
        ("GET", []) => {}
        ("PATCH" | "POST", []) => {
            let body = asked.object()?;
            expect_push(state, asked, at)?;
            apply_texts(state, at, &body);
            apply_state(state, asked, at, &body)?;
        }
        ("PUT", ["merge"]) => {
            expect_push(state, asked, at)?;
            state.edit(at.0, at.1, |row| row.open = false);
            return Ok(Reply::ok(
                json!({ "sha": "6dcb09b", "merged": true, "message": "Pull Request successfully merged" }),
            ));
        }
        _ => return Err(Reply::missing()),
    }
    Ok(Reply::ok(render::pull(state, issue(state, at))))
}

pub fn create(state: &mut State, asked: &Asked, repo: u64) -> Answer {
    let (body, author) = (asked.object()?, asked.user()?.login.clone());
    expect_one_name(&body)?;
    let Some(title) = body["title"].as_str() else { return Err(Reply::invalid("Issue", "title")) };
    let number = state.add_issue(repo, &author, title, None).number;
    let at = (repo, number);
    apply_texts(state, at, &body);
    if may_push(state, asked, at) {
        apply_sets(state, asked, at, &body)?;
    }
    Ok(shown(state, at, StatusCode::CREATED))
}

fn edit(state: &mut State, asked: &Asked, at: At) -> Answer {
    let body = asked.object()?;
    expect_one_name(&body)?;
    let (is_author, pushes) =
        (Some(issue(state, at).author) == asked.user.as_ref().map(|user| user.id), may_push(state, asked, at));
    if !is_author && !pushes {
        return Err(Reply::error(StatusCode::FORBIDDEN, "Must have admin rights to Repository."));
    }
    // All of it is checked before any of it is written.
    logins(state, &body["assignees"], true)?;
    apply_texts(state, at, &body);
    // Of who may not push, they are dropped without a word.
    if pushes {
        apply_sets(state, asked, at, &body)?;
    }
    apply_state(state, asked, at, &body)?;
    if let Some(Value::Array(values)) = body.get("issue_field_values") {
        set_fields(state, at, values);
    }
    Ok(shown(state, at, StatusCode::OK))
}

/// As a real one was recorded to say.
fn expect_one_name(body: &Value) -> Result<(), Reply> {
    let both = ["assignee", "assignees"].iter().all(|name| body.get(*name).is_some_and(|value| !value.is_null()));
    let message = "You cannot pass both `assignee` and `assignees`. Only one may be provided.";
    if both { Err(Reply::error(StatusCode::UNPROCESSABLE_ENTITY, message)) } else { Ok(()) }
}

fn apply_texts(state: &mut State, at: At, body: &Value) {
    let text = |name: &str| body[name].as_str().map(str::to_owned);
    let (title, text) = (text("title"), text("body"));
    state.edit(at.0, at.1, |row| {
        if let Some(title) = title {
            row.title = title;
        }
        if text.is_some() {
            row.body = text;
        }
    });
}

fn apply_sets(state: &mut State, asked: &Asked, at: At, body: &Value) -> Result<(), Reply> {
    if let Some(wanted) = body.get("assignees").filter(|value| !value.is_null()) {
        let proposed = propose(state, at, "assignee", wanted);
        if !proposed {
            let all = logins(state, wanted, true)?;
            set_assignees(state, asked, at, all)?;
        }
    } else if let Some(one) = body.get("assignee") {
        let one = match one.as_str().filter(|name| !name.is_empty()) {
            Some(name) => logins(state, &json!([name]), true)?,
            None => Vec::new(),
        };
        set_assignees(state, asked, at, one)?;
    }
    if let Some(wanted) = body.get("labels").filter(|value| !value.is_null())
        && !propose(state, at, "label", wanted)
    {
        let all = label_ids(state, at, wanted)?;
        set_labels(state, asked, at, all);
    }
    Ok(())
}

fn apply_state(state: &mut State, asked: &Asked, at: At, body: &Value) -> Result<(), Reply> {
    let open = match body.get("state").filter(|value| !value.is_null()).map(Value::as_str) {
        None => return Ok(()),
        Some(Some("open")) => true,
        Some(Some("closed")) => false,
        Some(_) => return Err(Reply::invalid("Issue", "state")),
    };
    let reason = body["state_reason"].as_str().map(str::to_owned);
    set_open(state, asked, at, (open, reason));
    Ok(())
}

/// Opens or closes it.
pub fn set_open(state: &mut State, asked: &Asked, at: At, (open, reason): (bool, Option<String>)) {
    if issue(state, at).open != open {
        let event = if open { "reopened" } else { "closed" };
        note(state, asked, at, (event, json!({})));
    }
    let reason = reason.or_else(|| Some(if open { "reopened" } else { "completed" }.to_owned()));
    state.edit(at.0, at.1, |row| (row.open, row.state_reason) = (open, reason));
}

/// Exactly these are assigned from now on, each once.
pub fn set_assignees(state: &mut State, asked: &Asked, at: At, wanted: Vec<u64>) -> Result<(), Reply> {
    let mut all: Vec<u64> = Vec::new();
    for id in wanted {
        if !all.contains(&id) {
            all.push(id);
        }
    }
    if all.len() > MOST_ASSIGNEES {
        return Err(Reply::invalid("Issue", "assignees"));
    }
    let before = issue(state, at).assignees.clone();
    for (id, event) in all.iter().map(|id| (id, "assigned")).chain(before.iter().map(|id| (id, "unassigned"))) {
        if before.contains(id) != all.contains(id) {
            let assignee = render::user(state, state.user(*id));
            note(state, asked, at, (event, json!({ "assignee": assignee })));
        }
    }
    state.edit(at.0, at.1, |row| row.assignees = all);
    Ok(())
}

/// Exactly these labels are carried from now on.
pub fn set_labels(state: &mut State, asked: &Asked, at: At, wanted: Vec<u64>) {
    let mut all: Vec<u64> = Vec::new();
    for id in wanted {
        if !all.contains(&id) {
            all.push(id);
        }
    }
    let before = issue(state, at).labels.clone();
    for (id, event) in all.iter().map(|id| (id, "labeled")).chain(before.iter().map(|id| (id, "unlabeled"))) {
        if before.contains(id) != all.contains(id) {
            let name = state.label(at.0, *id).name.clone();
            note(state, asked, at, (event, json!({ "label": { "name": name, "color": "ededed" } })));
        }
    }
    state.edit(at.0, at.1, |row| row.labels = all);
}

fn note(state: &mut State, asked: &Asked, at: At, (event, more): (&str, Value)) {
    let (id, when) = (state.id(), state.tick());
    let actor = asked.user.as_ref().map(|user| render::user(state, user));
    let mut row = json!({
        "id": id, "node_id": format!("EV_{id}"), "url": format!("{}/events/{id}", state.base), "event": event, "actor": actor,
        "commit_id": null, "commit_url": null, "created_at": render::time(when), "performed_via_github_app": null,
    });
    if event.ends_with("assigned") {
        row["assigner"] = row["actor"].clone();
    }
    for (name, value) in more.as_object().into_iter().flatten() {
        row[name] = value.clone();
    }
    state.edit(at.0, at.1, |issue| issue.events.push(row));
}

fn of_labels(state: &mut State, asked: &Asked, at: At, tail: &[&str]) -> Answer {
    if asked.method == Method::GET {
        let rows = render::labels(state, issue(state, at));
        return Ok(lists::page(state, asked, rows));
    }
    expect_push(state, asked, at)?;
    let mut now = issue(state, at).labels.clone();
    match (asked.method.as_str(), tail) {
        ("POST" | "PUT", []) => {
            let body = asked.json()?;
            let wanted = body.get("labels").unwrap_or(&body);
            let named = match wanted {
                Value::Object(_) => Vec::new(),
                wanted if propose(state, at, "label", wanted) => now.clone(),
                wanted => label_ids(state, at, wanted)?,
            };
            now = if asked.method == Method::PUT { named } else { [now, named].concat() };
        }
        ("DELETE", []) => {
            set_labels(state, asked, at, Vec::new());
            return Ok(Reply::empty());
        }
        ("DELETE", [name]) => {
            let carried = now.iter().find(|id| state.label(at.0, **id).name.to_lowercase() == name.to_lowercase());
            let carried = *carried.ok_or_else(|| Reply::error(StatusCode::NOT_FOUND, "Label does not exist"))?;
            now.retain(|id| *id != carried);
        }
        _ => return Err(Reply::missing()),
    }
    set_labels(state, asked, at, now);
    Ok(Reply::ok(Value::from(render::labels(state, issue(state, at)))))
}

fn comment(state: &mut State, asked: &Asked, at: At) -> Answer {
    let (body, author) = (asked.object()?, asked.user()?.id);
    let Some(text) = body["body"].as_str().map(str::to_owned) else {
        return Err(Reply::invalid("IssueComment", "body"));
    };
    let row = Comment { id: state.id(), author, body: text };
    state.edit(at.0, at.1, |issue| issue.comments.push(row.clone()));
    Ok(Reply::of(StatusCode::CREATED, render::comment(state, issue(state, at), &row)))
}

/// What was proposed and not set, and the values of issue fields.
fn of_proposals(state: &mut State, asked: &Asked, at: At, tail: &[&str]) -> Answer {
    expect_push(state, asked, at)?;
    match (asked.method.as_str(), tail) {
        ("GET", ["suggestions"]) => {
            let rows =
                issue(state, at).proposals.iter().map(|(id, row)| json!({ "id": id, "proposal": row })).collect();
            Ok(lists::page(state, asked, rows))
        }
        ("POST" | "PUT", ["suggestions", id, "approve"]) => {
            let id = id.parse().unwrap_or_default();
            let proposal = state.edit(at.0, at.1, |row| row.proposals.remove(&id)).ok_or_else(Reply::missing)?;
            let mut all = issue(state, at).assignees.clone();
            all.extend(logins(state, &json!([proposal["login"]]), false)?);
            set_assignees(state, asked, at, all)?;
            Ok(shown(state, at, StatusCode::OK))
        }
        ("POST" | "PUT", ["suggestions", id, "dismiss"]) => {
            let id = id.parse().unwrap_or_default();
            state.edit(at.0, at.1, |row| row.proposals.remove(&id));
            Ok(Reply::empty())
        }
        ("POST" | "PUT", ["issue-field-values"]) => {
            let body = asked.object()?;
            set_fields(state, at, body["issue_field_values"].as_array().map_or(&[][..], Vec::as_slice));
            Ok(Reply::ok(json!([])))
        }
        ("DELETE", ["issue-field-values", field]) => {
            let field = field.parse().unwrap_or_default();
            state.edit(at.0, at.1, |row| row.fields.remove(&field));
            Ok(Reply::empty())
        }
        _ => Err(Reply::missing()),
    }
}

fn set_fields(state: &mut State, at: At, values: &[Value]) {
    let values: Vec<(u64, Value)> =
        values.iter().filter_map(|row| Some((row["field_id"].as_u64()?, row["value"].clone()))).collect();
    state.edit(at.0, at.1, |row| row.fields.extend(values));
}

/// Whether these were only proposed; then that is remembered.
fn propose(state: &mut State, at: At, kind: &str, wanted: &Value) -> bool {
    let entries: Vec<Value> = wanted.as_array().cloned().unwrap_or_default();
    let proposed: Vec<Value> = entries.iter().filter(|entry| entry["suggest"] == true).cloned().collect();
    if proposed.is_empty() {
        return false;
    }
    for mut entry in proposed {
        let id = state.id();
        entry["kind"] = kind.into();
        state.edit(at.0, at.1, |row| row.proposals.insert(id, entry));
    }
    true
}

/// Accounts by their logins; one that is nobody's is an error to an edit, and else nothing.
fn logins(state: &State, wanted: &Value, strict: bool) -> Result<Vec<u64>, Reply> {
    let entries = match wanted {
        Value::Array(entries) => entries.clone(),
        Value::String(_) => vec![wanted.clone()],
        Value::Null => Vec::new(),
        _ => return Err(Reply::invalid("Issue", "assignees")),
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry.as_str().or_else(|| entry["login"].as_str()).unwrap_or_default();
        match state.user_named(name) {
            Some(user) => found.push(user.id),
            None if strict => return Err(Reply::invalid("Issue", "assignees")),
            None => {}
        }
    }
    Ok(found)
}

fn label_ids(state: &mut State, at: At, wanted: &Value) -> Result<Vec<u64>, Reply> {
    let entries = match wanted {
        Value::Array(entries) => entries.clone(),
        Value::String(_) => vec![wanted.clone()],
        _ => return Err(Reply::invalid("Label", "name")),
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry.as_str().or_else(|| entry["name"].as_str()).unwrap_or_default().to_owned();
        if name.is_empty() {
            return Err(Reply::invalid("Label", "name"));
        }
        found.push(state.label_named(at.0, &name));
    }
    Ok(found)
}

fn issue(state: &State, at: At) -> &super::state::Issue {
    state.issue(at.0, at.1).expect("it was found before")
}

fn shown(state: &State, at: At, status: StatusCode) -> Reply {
    Reply::of(status, render::issue(state, issue(state, at)))
}

fn may_push(state: &State, asked: &Asked, at: At) -> bool {
    asked.user.as_ref().is_some_and(|user| state.may_push(at.0, &user.login))
}

fn expect_push(state: &State, asked: &Asked, at: At) -> Result<(), Reply> {
    if may_push(state, asked, at) { Ok(()) } else { Err(Reply::error(StatusCode::FORBIDDEN, "Must have push access")) }
}
