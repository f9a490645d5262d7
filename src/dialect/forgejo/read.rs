//! The tracker's answers to the gate's own requests. Typed strictly: what is missing or odd is unreadable, never empty.

use super::super::{Address, GuardedRequest as _, Head, LabelState, ReadOutcome, Target, Whoami, WireResponse};
use super::api_write::ApiWrite;
use super::location;
use super::location::Location;
use super::routes::item_of;
use super::write::Scope;
use crate::model::{Account, ItemKind, OpenState, Project, ResourceKey, Snapshot, Tag, is_short_name};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, Method};
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

/// What a read of this item showed.
pub fn item(address: &Address, response: &WireResponse) -> ReadOutcome {
    match response.status.as_u16() {
        200 => match lean_object(response).and_then(|issue| snapshot(address, &issue)) {
            Ok(snapshot) => ReadOutcome::Item(snapshot),
            Err(why) => ReadOutcome::Unreadable(why),
        },
        401 | 403 | 404 | 429 => ReadOutcome::Denied,
        301 | 302 | 307 | 308 => match moved(address, &response.headers) {
            Some(new) => ReadOutcome::Moved(new),
            None => ReadOutcome::Unreadable("the tracker redirects to what is not this item".into()),
        },
        status => ReadOutcome::Unreadable(format!("the tracker answered {status}")),
    }
}

/// The item that a creation made.
pub fn created(intent: &ApiWrite, response: &WireResponse) -> Option<(Address, Option<Snapshot>)> {
    let Scope::Create(project) = &intent.scope else { return None };
    let answer = response.status.is_success().then(|| lean_object(response).ok()).flatten()?;
    let number = answer.get("number")?.as_u64()?;
    let (owner, repo) = location::halves(project)?;
    let kind = intent.kind_made();
    let address = location::address(owner, repo, number, kind);
    if kind == ItemKind::Pull {
        // Its `id` is the pull request's, of another number space than the items' keys.
        return Some((address, None));
    }
    let snapshot = snapshot(&address, &answer).ok();
    Some((address, snapshot))
}

/// Who the tracker says that the credential is.
pub fn account(response: &WireResponse) -> Whoami {
    match response.status.as_u16() {
        200 => match lean_object(response).and_then(|user| login(&user)) {
            Ok(login) => Whoami::Account(login),
            Err(why) => Whoami::Unreadable(why),
        },
        401 | 404 | 429 => Whoami::Refused,
        403 if lacks_scope(response) => Whoami::OutOfScope,
        403 => Whoami::Forbidden,
        status => Whoami::Unreadable(format!("the tracker answered {status}")),
    }
}

/// Whether the token is a valid one that only lacks a scope. `tokenRequiresScopes` (`reqToken` in Gitea 1.19) says so after
/// the token was found and its signature checked, and of nothing else: an invalid one is a 401. Any other 403 proves nothing:
/// on Gitea 1.15 an invalid token is a stranger, whom `REQUIRE_SIGNIN_VIEW` answers with 403, too.
fn lacks_scope(response: &WireResponse) -> bool {
    let answer = json(response).ok();
    let message = answer.as_ref().and_then(|answer| answer["message"].as_str()).unwrap_or_default();
    message.starts_with("token does not have ") && message.contains("required scope")
}

/// One page of labels. A row that is none is passed over: it keeps nobody from the others.
pub fn labels(response: &WireResponse) -> Option<Vec<Tag>> {
    let answer = response.status.is_success().then(|| lean(response).ok()).flatten()?;
    Some(answer.as_array()?.iter().filter_map(|value| label(value).ok()).collect())
}

/// One page of items: their keys, and where they are.
pub fn addresses(project: &Project, response: &WireResponse) -> Option<Vec<(ResourceKey, Address)>> {
    let answer = response.status.is_success().then(|| lean(response).ok()).flatten()?;
    let (owner, repo) = location::halves(project)?;
    let place = |issue: &Value| {
        let issue = issue.as_object()?;
        let kind = if is_pull(issue) { ItemKind::Pull } else { ItemKind::Issue };
        let address = location::address(owner, repo, number(issue, "number").ok()?, kind);
        Some((ResourceKey::new(&number(issue, "id").ok()?.to_string()), address))
    };
    answer.as_array()?.iter().map(place).collect()
}

/// The name of the user with this number.
pub fn user_numbered(user: u64, response: &WireResponse) -> Option<Account> {
    let answer = response.status.is_success().then(|| lean_object(response).ok()).flatten()?;
    let found = answer.get("data")?.as_array()?.iter().filter_map(Value::as_object);
    found.filter(|found| number(found, "id") == Ok(user)).find_map(|found| login(found).ok())
}

/// The answer's JSON object.
pub fn object(response: &WireResponse) -> Result<Map<String, Value>, String> {
    match json(response)? {
        Value::Object(object) => Ok(object),
        _ => Err(NO_OBJECT.into()),
    }
}

/// The answer's JSON.
pub(super) fn json(response: &WireResponse) -> Result<Value, String> {
    expect_json(response)?;
    serde_json::from_slice(&response.body).map_err(|error| not_json(&error))
}

/// The members of the answer's JSON that this type names.
pub(super) fn typed<T: DeserializeOwned>(response: &WireResponse) -> Result<T, String> {
    expect_json(response)?;
    serde_json::from_slice(&response.body).map_err(|error| not_json(&error))
}

/// Of the answer's JSON what decides about items, accounts and labels. All of it would take ten times the memory that its
/// text takes, and whoever may write to an item can make that long.
pub(super) fn lean(response: &WireResponse) -> Result<Value, String> {
    expect_json(response)?;
    let mut reader = serde_json::Deserializer::from_slice(&response.body);
    let value = Lean.deserialize(&mut reader).map_err(|error| not_json(&error))?;
    reader.end().map_err(|error| not_json(&error))?;
    Ok(value)
}

/// The same of an object.
pub(super) fn lean_object(response: &WireResponse) -> Result<Map<String, Value>, String> {
    match lean(response)? {
        Value::Object(object) => Ok(object),
        _ => Err(NO_OBJECT.into()),
    }
}

fn expect_json(response: &WireResponse) -> Result<(), String> {
    let header = |name| response.headers.get(name).map_or(&b""[..], http::HeaderValue::as_bytes);
    let coding = header(CONTENT_ENCODING);
    if !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity") {
        return Err("the tracker's answer is compressed".into());
    }
    let essence = header(CONTENT_TYPE).split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if !essence.eq_ignore_ascii_case(b"application/json") {
        return Err("the tracker's answer is not JSON".into());
    }
    Ok(())
}

fn not_json(error: &serde_json::Error) -> String {
    format!("the tracker's answer is not JSON: {error}")
}

/// A value, and of each object in it the members that decide.
struct Lean;

impl<'de> DeserializeSeed<'de> for Lean {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Lean {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(Lean)? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<Cow<'de, str>>()? {
            if DECIDING.contains(&&*name) {
                object.insert(name.into_owned(), members.next_value_seed(Lean)?);
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(object.into())
    }
}

/// What is kept of an answer that is not to be handed on.
const DECIDING: &[&str] = &[
    "archived",
    "assignee",
    "assignees",
    "data",
    "exclusive",
    "full_name",
    "has_issues",
    "id",
    "labels",
    "login",
    "name",
    "number",
    "permissions",
    "pull_request",
    "push",
    "state",
    "updated_at",
    "user",
];
const NO_OBJECT: &str = "the tracker's answer is not a JSON object";

fn moved(address: &Address, headers: &HeaderMap) -> Option<Address> {
    let target = redirected(headers)?;
    let head = Head { method: &Method::GET, target: &target, headers: &HeaderMap::new() };
    item_of(&head).filter(|new| Location::of(new).number == Location::of(address).number)
}

/// Where a redirect on the same tracker leads.
pub(super) fn redirected(headers: &HeaderMap) -> Option<Target> {
    let location = headers.get(LOCATION)?.to_str().ok()?;
    // Only a path: what names a host could be another tracker, and a leading `//` names one.
    (location.starts_with('/') && !location.starts_with("//")).then(|| Target::parse(location))
}

/// Whether this row of a list of items is a pull request.
pub(super) fn is_pull(row: &Map<String, Value>) -> bool {
    row.get("pull_request").is_some_and(|pull| !pull.is_null())
}

/// The item that this JSON is.
pub(super) fn snapshot(address: &Address, issue: &Map<String, Value>) -> Result<Snapshot, String> {
    let id = number(issue, "id")?;
    if number(issue, "number")?.to_string() != Location::of(address).number {
        return Err("the tracker answered with another item".into());
    }
    Ok(Snapshot {
        key: ResourceKey::new(&id.to_string()),
        locator: address.locator(),
        kind: if is_pull(issue) || issue.contains_key("head") { ItemKind::Pull } else { ItemKind::Issue },
        assignees: assignees(issue)?,
        labels: list(issue, "labels")?.iter().map(label).collect::<Result<_, _>>()?,
        state: state(issue)?,
        author: issue.get("user").and_then(Value::as_object).and_then(|user| login(user).ok()),
    })
}

/// The list, and the single one beside it: with duplicated rows they may differ, and whoever is in either is assigned.
fn assignees(issue: &Map<String, Value>) -> Result<BTreeSet<Account>, String> {
    let mut all: BTreeSet<Account> = list(issue, "assignees")?.iter().map(user).collect::<Result<_, _>>()?;
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

fn label(value: &Value) -> Result<Tag, String> {
    let label = value.as_object().ok_or_else(|| odd("labels"))?;
    let name = label.get("name").and_then(Value::as_str).ok_or_else(|| odd("labels"))?;
    let exclusive = label.get("exclusive").and_then(Value::as_bool).unwrap_or(false);
    Ok(LabelState { name: name.to_owned(), exclusive, archived: false }.tag(number(label, "id")?))
}

fn user(value: &Value) -> Result<Account, String> {
    value.as_object().ok_or_else(|| odd("assignees")).and_then(login)
}

pub(super) fn login(user: &Map<String, Value>) -> Result<Account, String> {
    let login = user.get("login").and_then(Value::as_str).filter(|login| !login.is_empty() && is_short_name(login));
    login.map(Account::new).ok_or_else(|| odd("login"))
}

pub(super) fn number(object: &Map<String, Value>, name: &str) -> Result<u64, String> {
    object.get(name).and_then(Value::as_u64).ok_or_else(|| odd(name))
}

fn odd(name: &str) -> String {
    format!("the tracker's answer has no usable `{name}`")
}

#[cfg(test)]
mod tests {
    use super::super::write::{Write, WriteForm};
    use super::*;
    use http::{HeaderValue, StatusCode};
    use serde_json::json;

    fn response(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> WireResponse {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, HeaderValue::from_static(value));
        }
        WireResponse { status: StatusCode::from_u16(status).unwrap(), headers: map, body: body.to_owned().into() }
    }

    const JSON: &[(&str, &str)] = &[("content-type", "application/json;charset=utf-8")];

    fn address() -> Address {
        location::issue("O", "r", 7)
    }

    fn check(change: impl FnOnce(&mut Value), expected: Result<&str, &str>) {
        let mut issue = json!({
            "id": 67, "number": 7, "state": "open", "assignee": {"login": "bob"}, "assignees": [{"login": "bob"}],
            "labels": [{"id": 3, "name": "in-progress"}],
        });
        change(&mut issue);
        let shown = match item(&address(), &response(200, JSON, &issue.to_string())) {
            ReadOutcome::Item(s) => {
                let names: Vec<&str> = s.assignees.iter().map(Account::as_str).collect();
                let labels: Vec<String> =
                    s.labels.iter().map(|l| format!("{}={}", l.id.as_ref().unwrap(), l.name)).collect();
                Ok(format!("{} {} {names:?} {labels:?} {:?}", s.key, s.locator, s.state))
            }
            ReadOutcome::Unreadable(why) => Err(why),
            other => panic!("{other:?}"),
        };
        match (&shown, expected) {
            (Ok(shown), Ok(expected)) => assert_eq!(shown, expected),
            (Err(why), Err(part)) => assert!(why.contains(part), "{issue}: {why}"),
            _ => panic!("{issue}: {shown:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn reads_an_issue_strictly() {
        check(|_| {}, Ok(r#"67 o/r#7 ["bob"] ["3=in-progress"] Open"#));
        check(|i| i["state"] = json!("closed"), Ok(r#"67 o/r#7 ["bob"] ["3=in-progress"] Closed"#));
        check(
            |i| {
                i["assignees"] = Value::Null;
                i["assignee"] = Value::Null;
                i["labels"] = Value::Null;
            },
            Ok("67 o/r#7 [] [] Open"),
        );
        check(|i| i["labels"] = json!([]), Ok(r#"67 o/r#7 ["bob"] [] Open"#));
        // Two equal rows, which Gitea can leave; and a single one that is not in the list.
        check(
            |i| i["assignees"] = json!([{"login": "bob"}, {"login": "bob"}]),
            Ok(r#"67 o/r#7 ["bob"] ["3=in-progress"] Open"#),
        );
        check(|i| i["assignee"] = json!({"login": "ann"}), Ok(r#"67 o/r#7 ["ann", "bob"] ["3=in-progress"] Open"#));
        check(|i| i["number"] = json!(8), Err("another item"));
        check(|i| i["number"] = json!("7"), Err("`number`"));
        check(|i| i["id"] = json!(-1), Err("`id`"));
        check(|i| i["id"] = json!("67"), Err("`id`"));
        check(|i| i["state"] = json!("all"), Err("`state`"));
        check(|i| i["assignees"] = json!([["bob"]]), Err("`assignees`"));
        check(|i| i["assignees"] = json!([{"login": ""}]), Err("`login`"));
        check(|i| i["assignees"] = json!({}), Err("`assignees`"));
        check(|i| i["labels"] = json!([{"id": 1}]), Err("`labels`"));
        check(|i| drop(i.as_object_mut().unwrap().remove("assignees")), Err("`assignees`"));
        check(|i| drop(i.as_object_mut().unwrap().remove("labels")), Err("`labels`"));
        check(|i| *i = json!([1]), Err("not a JSON object"));
    }

    #[test]
    fn other_answers() {
        let unreadable = |response: WireResponse| matches!(item(&address(), &response), ReadOutcome::Unreadable(_));
        for status in [401, 403, 404, 429] {
            assert_eq!(item(&address(), &response(status, JSON, "{}")), ReadOutcome::Denied);
        }
        for status in [100, 201, 204, 206, 304, 400, 409, 500, 502, 503] {
            assert!(unreadable(response(status, JSON, "{}")), "{status}");
        }
        assert!(unreadable(response(200, &[], "{}")));
        assert!(unreadable(response(200, &[("content-type", "text/html")], "{}")));
        assert!(unreadable(response(200, JSON, "{")));
        let issue = r#"{"id":1,"number":7,"state":"open","assignee":null,"assignees":null,"labels":[]}"#;
        let gzip = [("content-type", "application/json"), ("content-encoding", "gzip")];
        let identity = [("content-type", "application/json"), ("content-encoding", "identity")];
        assert!(unreadable(response(200, &gzip, issue)));
        assert!(!unreadable(response(200, &identity, issue)));
    }

    #[test]
    fn redirects_are_followed_only_to_an_item_here() {
        let to = |status, location| item(&address(), &response(status, &[("location", location)], ""));
        let new = location::issue("new", "name", 7);
        for status in [301, 302, 307, 308] {
            assert_eq!(to(status, "/api/v1/repos/new/name/issues/7?x=y"), ReadOutcome::Moved(new.clone()));
        }
        for location in [
            "https://evil/api/v1/repos/new/name/issues/7",
            "//evil/api/v1/repos/new/name/issues/7",
            "/api/v1/repos/new/name/issues/8",
            "/api/v1/repos/new/name/issues/7/labels",
            "/api/v1/repos/new/name/issues",
            "/api/v1/repos/new/n%61me/issues/7",
            "/login",
            "",
        ] {
            assert!(matches!(to(302, location), ReadOutcome::Unreadable(_)), "{location}");
        }
        assert!(matches!(item(&address(), &response(302, &[], "")), ReadOutcome::Unreadable(_)));
    }

    #[test]
    fn a_creation_is_found_in_its_answer() {
        let made = |form, path: &str, response: &WireResponse| {
            let body = r#"{"title":"x","head":"h","assignees":["bob"]}"#;
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            let head = Head { method: &Method::POST, target: &Target::parse(path), headers: &headers };
            let write = Write { scope: Scope::Create(crate::model::Project::new("O/r")), form };
            match super::super::parse::parse(&write, &head, body.as_bytes()) {
                Ok(Some(intent)) => created(&intent, response),
                other => panic!("{other:?}"),
            }
        };
        let body = r#"{"id":9,"number":4,"state":"open","assignee":{"login":"bob"},"assignees":[{"login":"bob"}],"labels":[]}"#;
        let (address, snapshot) = made(WriteForm::CreateIssue, "/", &response(201, JSON, body)).unwrap();
        assert_eq!((address.locator().to_string(), snapshot.unwrap().key.as_str()), ("o/r#4".into(), "9"));
        let (address, snapshot) = made(WriteForm::CreatePull, "/", &response(201, JSON, body)).unwrap();
        assert!(address.kind == ItemKind::Pull && snapshot.is_none(), "a pull request's id is of another number space");
        assert!(made(WriteForm::CreateIssue, "/", &response(422, JSON, body)).is_none());
        assert!(made(WriteForm::CreateIssue, "/", &response(201, JSON, "{}")).is_none());
    }

    #[test]
    fn reads_accounts() {
        let user = |status, body| account(&response(status, JSON, body));
        assert_eq!(user(200, r#"{"id":1,"login":"Bob"}"#), Whoami::Account(Account::new("Bob")));
        assert_eq!(user(401, "{}"), Whoami::Refused);
        assert_eq!(user(404, "{}"), Whoami::Refused);
        assert_eq!(user(403, "{}"), Whoami::Forbidden);
        assert_eq!(user(403, ""), Whoami::Forbidden);
        let scope = r#"{"message":"token does not have at least one of required scope(s): [read:user]"}"#;
        assert_eq!(user(403, scope), Whoami::OutOfScope);
        assert_eq!(user(401, scope), Whoami::Refused);
        assert!(matches!(user(200, r#"{"login":""}"#), Whoami::Unreadable(_)));
        assert!(matches!(user(200, "{}"), Whoami::Unreadable(_)));
        assert!(matches!(user(302, ""), Whoami::Unreadable(_)));
        assert!(matches!(user(500, ""), Whoami::Unreadable(_)));
    }
}
