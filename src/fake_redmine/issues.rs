//! Issues: found, shown, created, deleted.

use http::StatusCode;
use http::header::LOCATION;

use super::api;
use super::call::{Asked, page};
use super::lookup::{find, find_many};
use super::params::{Format, header};
use super::ruby::{self, NotANumber};
use super::store::Issue;
use super::update;
use crate::fake_forge::{FakeReply, HandlerResult, WriteScope};

pub(super) fn show(asked: Asked<'_>) -> HandlerResult {
    let id = find(asked)?;
    if !asked.is_api() {
        let wants_json = header(&asked.call.headers, "accept").is_some_and(|all| all == "application/json");
        return Ok(if wants_json && asked.read.format == Format::Html {
            not_acceptable()
        } else {
            page(StatusCode::OK)
        });
    }
    let state = asked.state();
    let Some(issue) = state.issues.get(&id) else { return Err(asked.not_found()) };
    let wanted = asked.text("include").unwrap_or_default();
    let wanted: Vec<&str> = wanted.split(',').map(str::trim).collect();
    let mut more = Vec::new();
    if wanted.contains(&"journals") {
        more.push(api::journals(&state, issue));
    }
    if wanted.contains(&"allowed_statuses") {
        more.push(api::allowed(&state, issue, asked.user()));
    }
    let shown = api::issue(&state, issue, more);
    drop(state);
    Ok(asked.shown(StatusCode::OK, &shown))
}

fn not_acceptable() -> FakeReply {
    let text = "We couldn't handle your request, sorry. If you were trying to access the API, make sure to append .json \
                or .xml to your request URL.\n";
    FakeReply::typed(StatusCode::NOT_ACCEPTABLE, "application/json; charset=utf-8", text)
}

pub(super) fn create(asked: Asked<'_>) -> HandlerResult {
    let in_path = match &asked.read.path[..] {
        [_, project, _] => Some(project.clone()),
        _ => None,
    };
    if let Some(name) = &in_path
        && asked.state().project_named(name).is_none()
    {
        return Err(asked.not_found());
    }
    let Some(by) = asked.user() else { return Err(asked.denied()) };
    let attributes = update::attributes(asked, by)?;
    let mut state = asked.state();
    let named = in_path.or_else(|| attributes.get("project_id").map(ruby::text));
    let project = named.and_then(|name| state.project_named(&name)).map(|project| project.id);
    let Some(project) = project.filter(|id| state.can_see(*id, Some(by))) else {
        drop(state);
        let errors = ["Project cannot be blank", "Tracker cannot be blank", "Status cannot be blank"];
        return Ok(asked.shown(StatusCode::UNPROCESSABLE_ENTITY, &api::errors(&errors)));
    };
    let blank = Issue::blank(0, project, by, state.now());
    let mut draft = update::draft(&state, &blank, &attributes, by).map_err(|NotANumber| asked.broken())?;
    let errors = update::errors(&state, &draft);
    if !errors.is_empty() {
        drop(state);
        return Ok(asked.shown(StatusCode::UNPROCESSABLE_ENTITY, &api::errors(&errors)));
    }
    draft.limit(&state, WriteScope::Everything);
    let id = state.insert_issue(project, by, &draft.issue.subject);
    if let Some(issue) = state.issues.get_mut(&id) {
        issue.assigned_to = draft.issue.assigned_to;
        issue.description = draft.issue.description;
    }
    asked.mark_applied(&mut state);
    let shown = state.issues.get(&id).map(|issue| api::issue(&state, issue, Vec::new()));
    drop(state);
    let Some(shown) = shown else { return Err(asked.broken()) };
    if !asked.is_api() {
        return Ok(asked.redirect(&format!("/issues/{id}")));
    }
    let host = header(&asked.call.headers, "host").unwrap_or_else(|| "localhost".to_owned());
    Ok(asked.shown(StatusCode::CREATED, &shown).with(LOCATION, &format!("http://{host}/issues/{id}")))
}

/// An administrator's, in the default roles.
pub(super) fn destroy(asked: Asked<'_>) -> HandlerResult {
    let in_path = asked.read.path.get(1).map(|text| u64::try_from(ruby::to_i(text)).unwrap_or(0));
    let ids = find_many(asked, in_path)?;
    if !asked.state().is_admin(asked.user()) {
        return Err(asked.denied());
    }
    let mut state = asked.state();
    for id in ids {
        state.issues.remove(&id);
    }
    asked.mark_applied(&mut state);
    drop(state);
    Ok(if asked.is_api() { FakeReply::empty(StatusCode::NO_CONTENT) } else { asked.redirect("/issues") })
}
