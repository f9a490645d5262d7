//! The issues and the parameters that a request names.

use serde_json::{Map, Value};

use super::call::Asked;
use super::ruby;
use crate::fake_forge::FakeReply;

/// The issue that the path names: its number is what Ruby makes of the text.
pub(super) fn find(asked: Asked<'_>) -> Result<u64, FakeReply> {
    let id = u64::try_from(ruby::to_i(&asked.read.path[1])).unwrap_or(0);
    let state = asked.state();
    let project = state.issues.get(&id).map(|issue| issue.project);
    let is_visible = project.map(|project| state.can_see(project, asked.user()));
    drop(state);
    match is_visible {
        None => Err(asked.not_found()),
        Some(false) => Err(asked.denied()),
        Some(true) => Ok(id),
    }
}

/// The issues that `id`, or else `ids`, names.
pub(super) fn find_many(asked: Asked<'_>, in_path: Option<u64>) -> Result<Vec<u64>, FakeReply> {
    let named = in_path.map(Value::from).or_else(|| asked.param("id").or_else(|| asked.param("ids")).cloned());
    let all = match named {
        Some(Value::Array(all)) => all,
        Some(one) => vec![one],
        None => Vec::new(),
    };
    let ids = all.iter().filter_map(|id| u64::try_from(ruby::column(id)?).ok());
    let state = asked.state();
    let mut found: Vec<u64> = ids.filter(|id| state.issues.contains_key(id)).collect();
    found.sort_unstable();
    found.dedup();
    let is_visible =
        found.iter().filter_map(|id| state.issues.get(id)).all(|issue| state.can_see(issue.project, asked.user()));
    drop(state);
    if found.is_empty() {
        return Err(asked.not_found());
    }
    if is_visible { Ok(found) } else { Err(asked.denied()) }
}

/// The members of a parameter that must be a hash, if it is there.
pub(super) fn members(asked: Asked<'_>, name: &str) -> Result<Map<String, Value>, FakeReply> {
    match asked.param(name) {
        None | Some(Value::Null | Value::Bool(false)) => Ok(Map::new()),
        Some(Value::Object(members)) => Ok(members.clone()),
        Some(_) => Err(asked.broken()),
    }
}
