//! Issues: reading, filing, the PATCH that agents claim with, comments.
//!
//! PATCH is not one transaction: title, body, assignees, labels and state are written one after the other, each decided on
//! rows read earlier. An error stops midway and leaves the earlier ones written.

use std::collections::BTreeSet;

use http::StatusCode;
use serde_json::Value;

use super::body::{Fields, MemberKind, Pairs, Schema};
use super::call::{ForgeCall, WritePart};
use super::labels;
use super::options::Feature;
use super::pages::{page, page_asked};
use super::render;
use super::reply::{FakeReply, HandlerResult};
use super::store::{By, ForgeState, Issue};
use super::target::ForgeRoute;

pub(super) const CREATE: Schema = Schema {
    name: "CreateIssueOption",
    members: &[
        ("title", MemberKind::Text),
        ("body", MemberKind::Text),
        ("ref", MemberKind::Text),
        ("assignee", MemberKind::Text),
        ("assignees", MemberKind::Texts),
        ("labels", MemberKind::Ids),
        ("closed", MemberKind::Flag),
    ],
};

pub(super) const EDIT: Schema = Schema {
    name: "EditIssueOption",
    members: &[
        ("title", MemberKind::Text),
        ("body", MemberKind::TextPointer),
        ("ref", MemberKind::TextPointer),
        ("assignee", MemberKind::TextPointer),
        ("assignees", MemberKind::Texts),
        ("state", MemberKind::TextPointer),
    ],
};

const COMMENT: Schema = Schema { name: "CreateIssueCommentOption", members: &[("body", MemberKind::Text)] };

const ASSIGNEES: Schema = Schema { name: "IssueAssigneesOption", members: &[("assignees", MemberKind::Texts)] };

pub(super) fn get(call: &ForgeCall) -> HandlerResult {
    let issue = call.issue(call.repo()?)?;
    show(call, issue, StatusCode::OK)
}

pub(super) fn show(call: &ForgeCall, issue: u64, status: StatusCode) -> HandlerResult {
    let state = call.state();
    let row = state.issues.get(&issue).ok_or_else(|| FakeReply::not_found(&state.root))?;
    Ok(FakeReply::json(status, &render::issue(&state, row)))
}

// === listing ===

pub(super) fn list(call: &ForgeCall) -> HandlerResult {
    let repo = call.repo()?;
    let state = call.state();
    let reads_issues = state.can_read_issues(&state.repos[&repo], call.user());
    let kind = |issue: &Issue| kind_matches(&call.query, issue) && (reads_issues || issue.pull.is_some());
    let mut rows = matching(&state, repo, &call.query, kind);
    match call.query.first("sort").filter(|_| call.has(Feature::SortedLists)) {
        Some("oldest") => rows.reverse(),
        Some("recentupdate") => rows.sort_by_key(|issue| std::cmp::Reverse(issue.updated)),
        Some("leastupdate") => rows.sort_by_key(|issue| issue.updated),
        _ => {}
    }
    Ok(page(&state, call, &rows, render::issue))
}

fn kind_matches(query: &Pairs, issue: &Issue) -> bool {
    match query.first("type") {
        Some("issues") => issue.pull.is_none(),
        Some("pulls") => issue.pull.is_some(),
        _ => true,
    }
}

/// The repository's issues that the query asks for, newest first.
pub(super) fn matching<'a>(
    state: &'a ForgeState,
    repo: u64,
    query: &Pairs,
    kind: impl Fn(&Issue) -> bool,
) -> Vec<&'a Issue> {
    let Some(row) = state.repos.get(&repo) else {
        return Vec::new();
    };
    let names: Vec<&str> = query.first("labels").unwrap_or("").split(',').filter(|name| !name.is_empty()).collect();
    let has_label = |issue: &Issue, name: &str| {
        issue.labels.iter().filter_map(|id| state.label_for(row, *id)).any(|label| label.name == name)
    };
    let labels = || row.labels.values().chain(state.labels_of_owner(row));
    // Names that are no label's are discarded.
    let names: Vec<&str> = names.into_iter().filter(|name| labels().any(|label| label.name == *name)).collect();
    let issues = row.numbers.values().rev().filter_map(|id| state.issues.get(id));
    issues
        .filter(|issue| match query.first("state") {
            Some("closed") => issue.closed_at.is_some(),
            Some("all") => true,
            _ => issue.closed_at.is_none(),
        })
        .filter(|issue| kind(issue))
        .filter(|issue| names.iter().all(|name| has_label(issue, name)))
        .collect()
}

// === filing ===

pub(super) async fn create(call: &ForgeCall) -> HandlerResult {
    let repo = call.repo()?;
    let fields = call.bind(&CREATE);
    let by = call.by()?;
    let reads_issues = {
        let state = call.state();
        state.can_read_issues(&state.repos[&repo], call.user())
    };
    if !reads_issues {
        return Err(call.not_found());
    }
    let fields = fields?;
    let title = fields.text("title").unwrap_or("").trim().to_owned();
    if title.is_empty() {
        return Err(call.error(StatusCode::UNPROCESSABLE_ENTITY, "[Title]: Required"));
    }
    let writes = call.can_write(repo);
    // From a stranger these are dropped without a word.
    let wanted = if writes { assignees_of_new(call, repo, &fields)? } else { None };
    let issue = call.state().insert_issue(repo, &title, fields.text("body").unwrap_or(""), by);
    if let Some(wanted) = wanted {
        set_assignees(call, issue, &wanted, by, StatusCode::UNPROCESSABLE_ENTITY).await?;
    }
    if writes && let Some(ids) = fields.ids("labels") {
        labels::change(call, issue, by, labels::Change::Add(&ids)).await;
    }
    if fields.flag("closed") == Some(true) && call.writes(WritePart::Rest) {
        call.state().set_closed(issue, true, by);
    }
    show(call, issue, StatusCode::CREATED)
}

pub(super) fn delete(call: &ForgeCall) -> HandlerResult {
    let repo = call.repo()?;
    let by = call.writer(repo)?;
    let issue = call.issue(repo)?;
    call.state().delete_issue(issue, by);
    Ok(FakeReply::no_content())
}

// === the PATCH ===

pub(super) async fn edit(call: &ForgeCall) -> HandlerResult {
    let repo = call.repo()?;
    let fields = call.bind(&EDIT);
    let by = call.by()?;
    let fields = fields?;
    let issue = call.issue(repo)?;
    let writes = poster_or_writer(call, repo, issue, by)?;
    edit_texts(call, issue, &fields, by);
    // A poster without write access may do the rest; these are dropped without a word.
    if writes && let Some(wanted) = assignees_wanted(call, &fields, StatusCode::INTERNAL_SERVER_ERROR)? {
        set_assignees(call, issue, &wanted, by, StatusCode::INTERNAL_SERVER_ERROR).await?;
    }
    edit_state(call, issue, &fields, by)?;
    call.state().touch(issue);
    show(call, issue, StatusCode::CREATED)
}

/// Whether the doer may write; a bare 403 if they did not even file the issue.
pub(super) fn poster_or_writer(call: &ForgeCall, repo: u64, issue: u64, by: By) -> Result<bool, FakeReply> {
    let writes = call.can_write(repo);
    let posted = call.state().issues.get(&issue).is_some_and(|row| row.poster == by.user);
    if writes || posted { Ok(writes) } else { Err(FakeReply::empty(StatusCode::FORBIDDEN)) }
}

pub(super) fn edit_texts(call: &ForgeCall, issue: u64, fields: &Fields, by: By) {
    if !call.writes(WritePart::Rest) {
        return;
    }
    let mut state = call.state();
    let Some(row) = state.issues.get_mut(&issue) else {
        return;
    };
    let before = (row.title.clone(), row.body.clone(), row.git_ref.clone());
    if let Some(title) = fields.text("title").filter(|title| !title.is_empty()) {
        title.clone_into(&mut row.title);
    }
    // On the pull route this is no pointer: an empty text there changes nothing.
    let keeps_empty = call.route != ForgeRoute::Issue;
    if let Some(body) = fields.text("body").filter(|body| !(keeps_empty && body.is_empty())) {
        body.clone_into(&mut row.body);
    }
    if let Some(git_ref) = fields.text("ref") {
        git_ref.clone_into(&mut row.git_ref);
    }
    if before != (row.title.clone(), row.body.clone(), row.git_ref.clone()) {
        state.mark_applied(by);
    }
}

/// Only the exact `closed` closes; on most versions anything else reopens.
pub(super) fn edit_state(call: &ForgeCall, issue: u64, fields: &Fields, by: By) -> Result<(), FakeReply> {
    let Some(wanted) = fields.text("state") else {
        return Ok(());
    };
    if call.has(Feature::StrictState) && !matches!(wanted, "open" | "closed") {
        return Err(call.error(StatusCode::PRECONDITION_FAILED, &format!("unknown state: {wanted}")));
    }
    let mut state = call.state();
    let merged = state.issues.get(&issue).and_then(|row| row.pull.as_ref()?.merged);
    if merged.is_some() {
        let message = "cannot change state of this pull request, it was already merged";
        return Err(FakeReply::error(&state.root, StatusCode::PRECONDITION_FAILED, message));
    }
    if let Some(refusal) = held_up(&state, issue).filter(|_| wanted == "closed") {
        return Err(refusal);
    }
    if call.writes(WritePart::Rest) {
        state.set_closed(issue, wanted == "closed", by);
    }
    Ok(())
}

// === assignees ===

/// The union of both members, resolved; none if neither is set. `on_unknown` is answered for a name that nobody has.
pub(super) fn assignees_wanted(
    call: &ForgeCall,
    fields: &Fields,
    on_unknown: StatusCode,
) -> Result<Option<Vec<u64>>, FakeReply> {
    let single = fields.text("assignee");
    if single.is_none() && !fields.has("assignees") {
        return Ok(None);
    }
    let mut names = fields.texts("assignees").unwrap_or_default();
    if let Some(name) = single.filter(|name| !name.is_empty() && !names.iter().any(|other| other == name)) {
        names.push(name.to_owned());
    }
    names.iter().map(|name| resolve(call, name, on_unknown)).collect::<Result<Vec<_>, _>>().map(Some)
}

/// Those of a new item: an empty first name means nobody of the list, and all are looked at before anything is written.
pub(super) fn assignees_of_new(call: &ForgeCall, repo: u64, fields: &Fields) -> Result<Option<Vec<u64>>, FakeReply> {
    let listed = fields.texts("assignees").unwrap_or_default();
    let single = fields.text("assignee").filter(|name| !name.is_empty());
    let status = StatusCode::UNPROCESSABLE_ENTITY;
    let wanted = match (listed.first().is_some_and(String::is_empty), single) {
        (true, Some(name)) => Some(vec![resolve(call, name, status)?]),
        (true, None) => None,
        (false, _) => assignees_wanted(call, fields, status)?,
    };
    for user in wanted.iter().flatten() {
        fit_to_be_assigned(call, repo, *user, status)?;
    }
    Ok(wanted)
}

fn resolve(call: &ForgeCall, name: &str, on_unknown: StatusCode) -> Result<u64, FakeReply> {
    let state = call.state();
    let message = match on_unknown {
        StatusCode::INTERNAL_SERVER_ERROR => String::new(),
        _ => format!("Assignee does not exist: [name: {name}]"),
    };
    let user = state.user_named(name).ok_or_else(|| FakeReply::error(&state.root, on_unknown, &message))?;
    Ok(user.id)
}

/// Replaces the assignees as the real one does: read, then delete, then insert, in transactions of their own. In the
/// gaps others write, too; that is how two simultaneous claims can both stay.
pub(super) async fn set_assignees(
    call: &ForgeCall,
    issue: u64,
    wanted: &[u64],
    by: By,
    on_unfit: StatusCode,
) -> Result<(), FakeReply> {
    let read = assigned(call, issue);
    call.gap().await;
    let gone: Vec<u64> = read.into_iter().filter(|user| !wanted.contains(user)).collect();
    remove_assignees(call, issue, &gone, by);
    add_assignees(call, issue, wanted, by, on_unfit).await
}

/// Inserts those who were not assigned when looked at, one gap before.
pub(super) async fn add_assignees(
    call: &ForgeCall,
    issue: u64,
    wanted: &[u64],
    by: By,
    on_unfit: StatusCode,
) -> Result<(), FakeReply> {
    let mut present = assigned(call, issue);
    let repo = call.state().issues.get(&issue).map_or(0, |row| row.repo);
    call.gap().await;
    for user in wanted {
        fit_to_be_assigned(call, repo, *user, on_unfit)?;
        if present.insert(*user) && call.writes(WritePart::Assignees) {
            call.state().assign(issue, *user, by);
        }
    }
    Ok(())
}

pub(super) fn remove_assignees(call: &ForgeCall, issue: u64, gone: &[u64], by: By) {
    if !call.writes(WritePart::Assignees) {
        return;
    }
    let mut state = call.state();
    for user in gone {
        state.unassign(issue, *user, by, false);
    }
}

pub(super) fn assigned(call: &ForgeCall, issue: u64) -> BTreeSet<u64> {
    call.state().issues.get(&issue).map(|row| row.assignees.iter().copied().collect()).unwrap_or_default()
}

fn fit_to_be_assigned(call: &ForgeCall, repo: u64, user: u64, on_unfit: StatusCode) -> Result<(), FakeReply> {
    let state = call.state();
    let repo = state.repos.get(&repo);
    let readers = call.has(Feature::ReadersAssignable);
    let fit = |repo| state.can_write(repo, Some(user)) || (readers && state.can_read(repo, Some(user)));
    if repo.is_some_and(fit) {
        return Ok(());
    }
    let message = match on_unfit {
        StatusCode::INTERNAL_SERVER_ERROR => String::new(),
        _ => format!("user doesn't have access to repo [user_id: {user}]"),
    };
    Err(FakeReply::error(&state.root, on_unfit, &message))
}

/// `POST` and `DELETE …/assignees` of the newest versions.
pub(super) async fn assignees(call: &ForgeCall) -> HandlerResult {
    let repo = call.repo()?;
    let by = call.by()?;
    let fields = call.bind(&ASSIGNEES)?;
    let issue = call.issue(repo)?;
    call.writer(repo)?;
    let users = assignees_wanted(call, &fields, StatusCode::UNPROCESSABLE_ENTITY)?.unwrap_or_default();
    if call.method == http::Method::POST {
        add_assignees(call, issue, &users, by, StatusCode::UNPROCESSABLE_ENTITY).await?;
        return show(call, issue, StatusCode::CREATED);
    }
    call.gap().await;
    remove_assignees(call, issue, &users, by);
    show(call, issue, StatusCode::OK)
}

// === comments and timeline ===

pub(super) fn comments(call: &ForgeCall) -> HandlerResult {
    let issue = call.issue(call.repo()?)?;
    let state = call.state();
    let row = state.issues.get(&issue).ok_or_else(|| FakeReply::not_found(&state.root))?;
    let shown: Vec<Value> = row.comments.iter().map(|one| render::comment(&state, row, one)).collect();
    Ok(FakeReply::ok(&Value::from(shown)))
}

pub(super) fn comment(call: &ForgeCall) -> HandlerResult {
    let repo = call.repo()?;
    let by = call.by()?;
    let fields = call.bind(&COMMENT)?;
    let issue = call.issue(repo)?;
    let mut state = call.state();
    let Some(comment) = state.insert_comment(issue, fields.text("body").unwrap_or(""), by) else {
        return Err(FakeReply::not_found(&state.root));
    };
    Ok(FakeReply::created(&render::comment(&state, &state.issues[&issue], &comment)))
}

/// All of it where no page is asked for.
pub(super) fn timeline(call: &ForgeCall) -> HandlerResult {
    let issue = call.issue(call.repo()?)?;
    let state = call.state();
    let row = state.issues.get(&issue).ok_or_else(|| FakeReply::not_found(&state.root))?;
    let entries = render::timeline(&state, row);
    if !call.query.iter().any(|(name, _)| name == "page") {
        return Ok(FakeReply::ok(&entries));
    }
    let (page, size) = page_asked(call);
    let shown: Vec<Value> =
        entries.as_array().into_iter().flatten().skip((page - 1) * size).take(size).cloned().collect();
    Ok(FakeReply::ok(&Value::from(shown)))
}

/// The refusal to close what depends on something open.
fn held_up(state: &ForgeState, issue: u64) -> Option<FakeReply> {
    let is_open = |id: &u64| state.issues.get(id).is_some_and(|row| row.closed_at.is_none());
    let waits = state.issues.get(&issue).is_some_and(|row| row.depends_on.iter().any(is_open));
    let message = "cannot close this issue because it still has open dependencies";
    waits.then(|| FakeReply::error(&state.root, StatusCode::PRECONDITION_FAILED, message))
}
