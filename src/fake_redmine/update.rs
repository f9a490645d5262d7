//! What an update does: of one issue by the API or a form, of many by a form.

use http::StatusCode;
use serde_json::{Map, Value};

use super::api;
use super::call::{Asked, page};
use super::lookup;
use super::ruby::{self, NotANumber};
use super::store::{Issue, RedmineState};
use crate::fake_forge::{FakeReply, HandlerResult, WriteScope};

/// What a request makes of an issue, before it is saved.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub(super) issue: Issue,
    /// As the column has it: a number that nobody has is kept until it is checked.
    assignee: Option<i64>,
    notes: String,
}

/// Rails' `PUT` and `PATCH`.
pub(super) async fn one(asked: Asked<'_>) -> HandlerResult {
    let id = lookup::find(asked)?;
    let Some(by) = asked.user() else { return Err(asked.denied()) };
    let mut attributes = attributes(asked, by)?;
    if let Some(resolution) = asked.text("conflict_resolution").filter(|_| asked.param("issue").is_some()) {
        match resolution.as_str() {
            "overwrite" => drop(attributes.shift_remove("lock_version")),
            "add_notes" => attributes.retain(|name, _| name == "notes"),
            "cancel" => return Ok(asked.redirect(&format!("/issues/{id}"))),
            _ => {}
        }
    }
    blank_none(&mut attributes);
    let mut draft = {
        let state = asked.state();
        let Some(issue) = state.issues.get(&id) else { return Err(asked.not_found()) };
        draft(&state, issue, &attributes, by).map_err(|NotANumber| asked.broken())?
    };
    asked.gap().await;
    let mut state = asked.state();
    let errors = errors(&state, &draft);
    if !errors.is_empty() {
        return Ok(refused(asked, &errors));
    }
    draft.limit(&state, asked.call.scope);
    if !state.save(&draft.issue, &draft.notes, by) {
        // The row has changed since it was read: no error names a field.
        return Ok(refused(asked, &[]));
    }
    asked.mark_applied(&mut state);
    drop(state);
    Ok(if asked.is_api() { FakeReply::empty(StatusCode::NO_CONTENT) } else { asked.redirect(&format!("/issues/{id}")) })
}

/// The form for many. The API's keys are not accepted here.
pub(super) async fn many(asked: Asked<'_>) -> HandlerResult {
    let ids = lookup::find_many(asked, None)?;
    if asked.is_api() {
        return Err(asked.head(StatusCode::FORBIDDEN));
    }
    let Some(by) = asked.user() else { return Err(asked.denied()) };
    let mut attributes = lookup::members(asked, "issue")?;
    attributes.retain(|_, value| !ruby::is_blank_value(value));
    blank_none(&mut attributes);
    let mut is_saved = true;
    let mut project = None;
    for id in ids {
        let draft = {
            let state = asked.state();
            let Some(issue) = state.issues.get(&id) else { continue };
            if !state.can_edit(issue.project, Some(by)) {
                return Err(asked.head(StatusCode::FORBIDDEN));
            }
            project = state.projects.get(&issue.project).map(|project| project.identifier.clone());
            draft(&state, issue, &attributes, by).map_err(|NotANumber| asked.broken())?
        };
        asked.gap().await;
        let mut state = asked.state();
        is_saved &= errors(&state, &draft).is_empty() && state.save(&draft.issue, &draft.notes, by);
        asked.mark_applied(&mut state);
    }
    let project = project.unwrap_or_default();
    Ok(if is_saved { asked.redirect(&format!("/projects/{project}/issues")) } else { page(StatusCode::OK) })
}

/// The members of `issue`, with `me` spelled out.
pub(super) fn attributes(asked: Asked<'_>, by: u64) -> Result<Map<String, Value>, FakeReply> {
    let mut attributes = lookup::members(asked, "issue")?;
    if attributes.get("assigned_to_id").and_then(Value::as_str) == Some("me") {
        attributes.insert("assigned_to_id".to_owned(), by.into());
    }
    Ok(attributes)
}

/// An update takes `none` for blank; a creation does not.
fn blank_none(attributes: &mut Map<String, Value>) {
    for value in attributes.values_mut().filter(|value| value.as_str() == Some("none")) {
        *value = "".into();
    }
}

/// `safe_attributes=`: what the user may not set is left out without a word.
pub(super) fn draft(
    state: &RedmineState,
    issue: &Issue,
    attributes: &Map<String, Value>,
    by: u64,
) -> Result<Draft, NotANumber> {
    let mut draft = Draft {
        issue: issue.clone(),
        assignee: issue.assigned_to.and_then(|id| i64::try_from(id).ok()),
        notes: attributes.get("notes").map(ruby::text).unwrap_or_default(),
    };
    let is_new = !state.issues.contains_key(&issue.id);
    if !is_new && !state.can_edit(issue.project, Some(by)) {
        return Ok(draft);
    }
    let given = |name: &str| attributes.get(name).filter(|value| ruby::is_truthy(value));
    if let Some(project) = given("project_id").and_then(|value| state.project_named(&ruby::text(value)))
        && state.can_edit(project.id, Some(by))
    {
        draft.issue.project = project.id;
    }
    if let Some(status) = given("status_id") {
        let wanted = u64::try_from(ruby::number(status)?).unwrap_or(0);
        let allowed = if is_new { vec![1] } else { state.allowed(&draft.issue, Some(by)) };
        if allowed.contains(&wanted) {
            draft.issue.status = wanted;
        }
    }
    if let Some(assignee) = given("assigned_to_id") {
        draft.assignee = ruby::column(assignee);
    }
    if let Some(subject) = attributes.get("subject") {
        draft.issue.subject = ruby::text(subject);
    }
    if let Some(description) = attributes.get("description") {
        draft.issue.description = description.as_str().map(str::to_owned);
    }
    if let Some(version) = attributes.get("lock_version") {
        draft.issue.lock_version = ruby::column(version).ok_or(NotANumber)?;
    }
    Ok(draft)
}

/// What is wrong with it, in Redmine's words; what is right about the assignee is taken over.
pub(super) fn errors(state: &RedmineState, draft: &Draft) -> Vec<&'static str> {
    let mut errors = Vec::new();
    if draft.issue.subject.trim().is_empty() {
        errors.push("Subject cannot be blank");
    }
    let before = draft.issue.assigned_to.and_then(|id| i64::try_from(id).ok());
    let is_assignable = |id: i64| u64::try_from(id).is_ok_and(|id| state.is_assignable(&draft.issue, id));
    if draft.assignee != before && draft.assignee.is_some_and(|id| !is_assignable(id)) {
        errors.push("Assignee is invalid");
    }
    errors
}

impl Draft {
    /// Takes over the assignee, and leaves out what a fault does.
    pub(super) fn limit(&mut self, state: &RedmineState, scope: WriteScope) {
        let wanted = self.assignee.and_then(|id| u64::try_from(id).ok());
        let Some(row) = state.issues.get(&self.issue.id) else {
            self.issue.assigned_to = wanted;
            return;
        };
        let version = self.issue.lock_version;
        match scope {
            WriteScope::Everything => self.issue.assigned_to = wanted,
            WriteScope::Nothing => self.issue = row.clone(),
            WriteScope::OnlyAssignees => self.issue = Issue { assigned_to: wanted, ..row.clone() },
            WriteScope::AllButAssignees => self.issue.assigned_to = row.assigned_to,
        }
        self.issue.lock_version = version;
    }
}

fn refused(asked: Asked<'_>, errors: &[&str]) -> FakeReply {
    // A form is shown again, with a 200.
    if asked.is_api() {
        asked.shown(StatusCode::UNPROCESSABLE_ENTITY, &api::errors(errors))
    } else {
        page(StatusCode::OK)
    }
}
