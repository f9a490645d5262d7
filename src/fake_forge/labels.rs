//! Labels: a repository's own, and those on an issue or pull request.

use http::StatusCode;
use serde_json::Value;

use super::body::{Fields, MemberKind, Schema};
use super::call::{ForgeCall, WritePart};
use super::options::Feature;
use super::pages::page_asked;
use super::render;
use super::reply::{FakeReply, HandlerResult};
use super::store::{By, Label};
use super::target;

const CREATE: Schema = Schema {
    name: "CreateLabelOption",
    members: &[
        ("name", MemberKind::Text),
        ("color", MemberKind::Text),
        ("description", MemberKind::Text),
        ("exclusive", MemberKind::Flag),
    ],
};

const EDIT: Schema = Schema {
    name: "EditLabelOption",
    members: &[
        ("name", MemberKind::TextPointer),
        ("color", MemberKind::TextPointer),
        ("description", MemberKind::TextPointer),
        ("exclusive", MemberKind::Flag),
    ],
};

const BY_ID: Schema = Schema { name: "IssueLabelsOption", members: &[("labels", MemberKind::Ids)] };
const BY_ID_OR_NAME: Schema = Schema { name: "IssueLabelsOption", members: &[("labels", MemberKind::IdsOrNames)] };

// === of a repository ===

pub(super) fn list(call: &ForgeCall) -> HandlerResult {
    let repo = call.repo()?;
    let labels = render::repo_labels(&call.state().repos[&repo]);
    let (page, size) = page_asked(call);
    let labels: Vec<Value> =
        labels.as_array().into_iter().flatten().skip((page - 1) * size).take(size).cloned().collect();
    Ok(FakeReply::ok(&Value::from(labels)))
}

pub(super) fn create(call: &ForgeCall) -> HandlerResult {
    let repo = call.repo()?;
    let by = call.by()?;
    let fields = call.bind(&CREATE)?;
    call.writer(repo)?;
    let name = fields.text("name").unwrap_or("");
    if name.is_empty() {
        return Err(call.error(StatusCode::UNPROCESSABLE_ENTITY, "[Name]: Required"));
    }
    let mut state = call.state();
    let label = state.insert_label(repo, name, false).map(|label| {
        edit_members(label, &fields);
        render::label(label)
    });
    state.mark_applied(by);
    Ok(FakeReply::created(&label.unwrap_or_default()))
}

pub(super) fn get(call: &ForgeCall) -> HandlerResult {
    let repo = call.repo()?;
    let state = call.state();
    let label = target::index(call.path.child()).and_then(|id| state.repos[&repo].labels.get(&id));
    label.map(|label| FakeReply::ok(&render::label(label))).ok_or_else(|| FakeReply::not_found(&state.root))
}

pub(super) fn edit(call: &ForgeCall) -> HandlerResult {
    let repo = call.repo()?;
    let by = call.by()?;
    let fields = call.bind(&EDIT)?;
    call.writer(repo)?;
    let mut state = call.state();
    let id = target::index(call.path.child());
    let label = id.and_then(|id| state.repos.get_mut(&repo)?.labels.get_mut(&id));
    let Some(label) = label else {
        return Err(FakeReply::not_found(&state.root));
    };
    edit_members(label, &fields);
    let shown = render::label(label);
    state.mark_applied(by);
    Ok(FakeReply::ok(&shown))
}

fn edit_members(label: &mut Label, fields: &Fields) {
    if let Some(name) = fields.text("name") {
        name.clone_into(&mut label.name);
    }
    if let Some(color) = fields.text("color") {
        color.trim_start_matches('#').clone_into(&mut label.color);
    }
    if let Some(description) = fields.text("description") {
        description.clone_into(&mut label.description);
    }
    label.exclusive = fields.flag("exclusive").unwrap_or(label.exclusive);
}

/// Takes the label off every issue as well, without a trace.
pub(super) fn delete(call: &ForgeCall) -> HandlerResult {
    let repo = call.repo()?;
    let by = call.writer(repo)?;
    if let Some(id) = target::index(call.path.child()) {
        call.state().delete_label(repo, id, by);
    }
    Ok(FakeReply::no_content())
}

/// Of an organisation; of a person there are none.
pub(super) fn of_owner(call: &ForgeCall) -> HandlerResult {
    let state = call.state();
    let owner = state.user_named(call.path.login()).map(|owner| owner.id);
    let Some(labels) = owner.and_then(|owner| state.owner_labels.get(&owner)) else {
        return Err(FakeReply::not_found(&state.root));
    };
    let (page, size) = page_asked(call);
    let shown: Vec<Value> = labels.values().skip((page - 1) * size).take(size).map(render::label).collect();
    Ok(FakeReply::ok(&Value::from(shown)))
}

// === on an issue ===

/// What to do to an issue's labels.
#[derive(Debug, Clone, Copy)]
pub(super) enum Change<'a> {
    Add(&'a [u64]),
    Replace(&'a [u64]),
    Remove(&'a [u64]),
}

pub(super) fn of_issue(call: &ForgeCall) -> HandlerResult {
    let issue = call.issue(call.repo()?)?;
    Ok(shown(call, issue))
}

pub(super) async fn add(call: &ForgeCall) -> HandlerResult {
    let (issue, by, ids) = named(call)?;
    change(call, issue, by, Change::Add(&ids)).await;
    Ok(shown(call, issue))
}

/// Unknown labels count as none: replacing by them clears.
pub(super) async fn replace(call: &ForgeCall) -> HandlerResult {
    let (issue, by, ids) = named(call)?;
    change(call, issue, by, Change::Replace(&ids)).await;
    Ok(shown(call, issue))
}

/// Clears, whatever the body says.
pub(super) async fn clear(call: &ForgeCall) -> HandlerResult {
    let repo = call.repo()?;
    let by = call.by()?;
    let issue = call.issue(repo)?;
    call.writer(repo)?;
    change(call, issue, by, Change::Replace(&[])).await;
    Ok(FakeReply::no_content())
}

pub(super) async fn remove(call: &ForgeCall) -> HandlerResult {
    let repo = call.repo()?;
    let by = call.by()?;
    let issue = call.issue(repo)?;
    call.writer(repo)?;
    let label = to_remove(call, repo)?;
    change(call, issue, by, Change::Remove(&[label])).await;
    let accept = call.headers.get(http::header::ACCEPT).and_then(|value| value.to_str().ok());
    if call.has(Feature::GithubLabelList) && accept == Some("application/vnd.github+json") {
        return Ok(shown(call, issue));
    }
    Ok(FakeReply::no_content())
}

/// The path's label: a name shadows an id where a path may name it. Another repository's id is found, and does nothing.
fn to_remove(call: &ForgeCall, repo: u64) -> Result<u64, FakeReply> {
    let text = call.path.grandchild();
    let state = call.state();
    let row = &state.repos[&repo];
    let mut labels = row.labels.values().chain(state.labels_of_owner(row));
    let by_name = labels.find(|label| call.has(Feature::LabelNameInPath) && label.name == text).map(|label| label.id);
    let of_owners =
        || state.owner_labels.values().any(|labels| target::index(text).is_some_and(|id| labels.contains_key(&id)));
    let known = |id: &u64| state.repos.values().any(|repo| repo.labels.contains_key(id)) || of_owners();
    let found = by_name.or_else(|| target::index(text).filter(known));
    let message = "label does not exist [label_id: 0]";
    found.ok_or_else(|| FakeReply::error(&state.root, StatusCode::UNPROCESSABLE_ENTITY, message))
}

/// The issue, the doer, and the labels that the body names; unknown ones left out.
fn named(call: &ForgeCall) -> Result<(u64, By, Vec<u64>), FakeReply> {
    let repo = call.repo()?;
    let by = call.by()?;
    let names = call.has(Feature::LabelNames);
    let fields = call.bind(if names { &BY_ID_OR_NAME } else { &BY_ID })?;
    let issue = call.issue(repo)?;
    if !call.can_write(repo) {
        return Err(FakeReply::json(StatusCode::FORBIDDEN, &Value::Array(Vec::new())));
    }
    let list = fields.list("labels").unwrap_or_default();
    let mixed = list.iter().any(Value::is_string) && list.iter().any(Value::is_number);
    let odd = list.iter().any(|one| !one.is_string() && !one.is_number());
    if names && (mixed || odd) {
        return Err(call.error(StatusCode::BAD_REQUEST, "labels should be an array of strings or integers"));
    }
    Ok((issue, by, resolve(call, repo, list)))
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the real one truncates floats, too")]
fn resolve(call: &ForgeCall, repo: u64, list: &[Value]) -> Vec<u64> {
    let state = call.state();
    let row = &state.repos[&repo];
    let labels = || row.labels.values().chain(state.labels_of_owner(row));
    let ids = list.iter().flat_map(|one| match one {
        Value::String(name) => labels().filter(|label| label.name == *name).map(|label| label.id).collect(),
        other => other.as_f64().map(|id| id as u64).into_iter().collect::<Vec<_>>(),
    });
    ids.filter(|id| labels().any(|label| label.id == *id)).collect()
}

/// Carries a change out: decided on rows read before the gap, as with assignees.
pub(super) async fn change(call: &ForgeCall, issue: u64, by: By, change: Change<'_>) {
    let read = call.state().issues.get(&issue).map(|row| row.labels.clone()).unwrap_or_default();
    call.gap().await;
    if !call.writes(WritePart::Rest) {
        return;
    }
    let (gone, new): (Vec<u64>, &[u64]) = match change {
        Change::Add(ids) => (Vec::new(), ids),
        Change::Replace(ids) => (read.iter().copied().filter(|id| !ids.contains(id)).collect(), ids),
        Change::Remove(ids) => (ids.to_vec(), &[]),
    };
    let exclusive = call.has(Feature::ExclusiveLabels);
    let mut state = call.state();
    for label in gone {
        state.detach(issue, label, by, false);
    }
    for label in new.iter().filter(|label| !read.contains(label)) {
        state.attach(issue, *label, exclusive, by);
    }
}

/// Labels of a pull request's PATCH: the set is replaced.
pub(super) async fn of_fields(call: &ForgeCall, issue: u64, fields: &Fields, by: By) {
    if let Some(ids) = fields.ids("labels") {
        change(call, issue, by, Change::Replace(&ids)).await;
    }
}

fn shown(call: &ForgeCall, issue: u64) -> FakeReply {
    let state = call.state();
    let labels = state.issues.get(&issue).map(|row| render::issue_labels(&state, row));
    FakeReply::ok(&labels.unwrap_or_default())
}

/// Whether the label belongs to the issue's repository, for the web's bulk route.
pub(super) fn belongs(call: &ForgeCall, issue: u64, label: u64) -> bool {
    let state = call.state();
    let repo = state.issues.get(&issue).and_then(|row| state.repos.get(&row.repo));
    repo.is_some_and(|repo| state.label_for(repo, label).is_some())
}

/// What the web's toggle does to these issues: it attaches if none has the label. One with an exclusive scope is always
/// attached.
pub(super) fn toggles_on(call: &ForgeCall, selection: &[u64], label: u64) -> bool {
    let state = call.state();
    let mut rows = selection.iter().filter_map(|id| state.issues.get(id));
    let scoped = state.repos.values().filter_map(|repo| repo.labels.get(&label)).any(|found| {
        found.exclusive && call.has(Feature::ExclusiveLabels) && found.name.trim_matches('/').contains('/')
    });
    scoped || !rows.any(|row| row.labels.contains(&label))
}
