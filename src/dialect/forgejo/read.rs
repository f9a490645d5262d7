//! The tracker's answers to the gate's own requests. Typed strictly: what is missing or odd is unreadable, never empty.

use super::super::{Address, Head, Intent, ReadOutcome, Route, Scope, Target, Whoami, WireResponse};
use super::routes::{WriteForm, classify};
use crate::model::{Label, Login, OpenState, ResourceKey, Snapshot};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, Method};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// What a read of this item showed.
pub fn item(address: &Address, response: &WireResponse) -> ReadOutcome {
    match response.status.as_u16() {
        200 => match object(response).and_then(|issue| snapshot(address, &issue)) {
            Ok(snapshot) => ReadOutcome::Item(snapshot),
            Err(why) => ReadOutcome::Unreadable(why),
        },
        401 | 403 | 404 => ReadOutcome::Denied,
        301 | 302 | 307 | 308 => match moved(address, &response.headers) {
            Some(new) => ReadOutcome::Moved(new),
            None => ReadOutcome::Unreadable("the tracker redirects to what is not this item".into()),
        },
        status => ReadOutcome::Unreadable(format!("the tracker answered {status}")),
    }
}

/// The item that a creation made.
pub fn created(intent: &Intent, response: &WireResponse) -> Option<(Address, Option<Snapshot>)> {
    let Scope::Create(project) = &intent.scope else { return None };
    let answer = response.status.is_success().then(|| object(response).ok()).flatten()?;
    let number = answer.get("number")?.as_u64()?;
    let (owner, repo) = project.as_str().split_once('/')?;
    let pull = intent.form == WriteForm::CreatePull;
    let address = Address { owner: owner.to_owned(), repo: repo.to_owned(), number, pull };
    if pull {
        // Its `id` is the pull request's, of another number space than the items' keys.
        return Some((address, None));
    }
    let snapshot = snapshot(&address, &answer).ok();
    Some((address, snapshot))
}

/// Who the tracker says that the credential is.
pub fn account(response: &WireResponse) -> Whoami {
    match response.status.as_u16() {
        200 => match object(response).and_then(|user| login(&user)) {
            Ok(login) => Whoami::Account(login),
            Err(why) => Whoami::Unreadable(why),
        },
        401 | 404 => Whoami::Refused,
        403 => Whoami::Forbidden,
        status => Whoami::Unreadable(format!("the tracker answered {status}")),
    }
}

/// The answer's JSON object.
pub fn object(response: &WireResponse) -> Result<Map<String, Value>, String> {
    let header = |name| response.headers.get(name).map_or(&b""[..], http::HeaderValue::as_bytes);
    let coding = header(CONTENT_ENCODING);
    if !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity") {
        return Err("the tracker's answer is compressed".into());
    }
    let essence = header(CONTENT_TYPE).split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if !essence.eq_ignore_ascii_case(b"application/json") {
        return Err("the tracker's answer is not JSON".into());
    }
    match serde_json::from_slice(&response.body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err("the tracker's answer is not a JSON object".into()),
        Err(error) => Err(format!("the tracker's answer is not JSON: {error}")),
    }
}

fn moved(address: &Address, headers: &HeaderMap) -> Option<Address> {
    let location = headers.get(LOCATION)?.to_str().ok()?;
    // Only a path: what names a host could be another tracker, and a leading `//` names one.
    if !location.starts_with('/') || location.starts_with("//") {
        return None;
    }
    let head = Head { method: &Method::GET, target: &Target::parse(location), headers: &HeaderMap::new() };
    let is_item = head.target.segments().len() == 7;
    match classify(&head) {
        Route::Read { address: Some(new), .. } if is_item && new.number == address.number => Some(new),
        _ => None,
    }
}

fn snapshot(address: &Address, issue: &Map<String, Value>) -> Result<Snapshot, String> {
    let id = number(issue, "id")?;
    if number(issue, "number")? != address.number {
        return Err("the tracker answered with another item".into());
    }
    Ok(Snapshot {
        key: ResourceKey::new(&id.to_string()),
        locator: address.locator(),
        assignees: assignees(issue)?,
        labels: list(issue, "labels")?.iter().map(label).collect::<Result<_, _>>()?,
        state: state(issue)?,
    })
}

/// The list, and the single one beside it: with duplicated rows they may differ, and whoever is in either is assigned.
fn assignees(issue: &Map<String, Value>) -> Result<BTreeSet<Login>, String> {
    let mut all: BTreeSet<Login> = list(issue, "assignees")?.iter().map(user).collect::<Result<_, _>>()?;
    match issue.get("assignee") {
        None | Some(Value::Null) => {}
        Some(one) => drop(all.insert(user(one)?)),
    }
    Ok(all)
}

fn state(issue: &Map<String, Value>) -> Result<OpenState, String> {
    match issue.get("state").and_then(Value::as_str) {
        Some("open") => Ok(OpenState::Open),
        Some("closed") => Ok(OpenState::Closed),
        _ => Err(odd("state")),
    }
}

/// A list that the tracker writes as `null` when empty. Missing is not empty.
fn list<'a>(issue: &'a Map<String, Value>, name: &str) -> Result<&'a [Value], String> {
    match issue.get(name) {
        Some(Value::Null) => Ok(&[]),
        Some(Value::Array(list)) => Ok(list),
        _ => Err(odd(name)),
    }
}

fn label(value: &Value) -> Result<Label, String> {
    let label = value.as_object().ok_or_else(|| odd("labels"))?;
    let name = label.get("name").and_then(Value::as_str).ok_or_else(|| odd("labels"))?;
    Ok(Label { id: number(label, "id")?, name: name.to_owned() })
}

fn user(value: &Value) -> Result<Login, String> {
    value.as_object().ok_or_else(|| odd("assignees")).and_then(login)
}

fn login(user: &Map<String, Value>) -> Result<Login, String> {
    let login = user.get("login").and_then(Value::as_str).filter(|login| !login.is_empty());
    login.map(Login::new).ok_or_else(|| odd("login"))
}

fn number(object: &Map<String, Value>, name: &str) -> Result<u64, String> {
    object.get(name).and_then(Value::as_u64).ok_or_else(|| odd(name))
}

fn odd(name: &str) -> String {
    format!("the tracker's answer has no usable `{name}`")
}
