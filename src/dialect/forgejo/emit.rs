//! The requests that the gate writes: nothing of the client's bytes is in them but verbatim members of the body and a
//! few headers that cannot change what the request means.

use super::super::json::{Member, write_object};
use super::super::target::join;
use super::super::{Address, Credential, WireRequest};
use super::api_write::ApiWrite;
use super::location::Location;
use super::write::{Scope, WriteForm};
use crate::model::{Account, Change, SetChange, TagId, TagRef};
use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, CONTENT_TYPE, HeaderName, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method};
use serde_json::Value;
use std::collections::BTreeSet;

/// A read of the item. Always by the issue call: a pull request's own `id` is of another number space.
pub fn observe(address: &Address, credential: &Credential) -> WireRequest {
    get(item_path("issues", address, &[]), credential)
}

/// A pull request as its own call shows it: under another `id`, with head and base.
pub fn represent(intent: &ApiWrite, credential: &Credential) -> Option<WireRequest> {
    match (&intent.scope, intent.form) {
        (Scope::Item(address), WriteForm::EditPull) => Some(get(item_path("pulls", address, &[]), credential)),
        _ => None,
    }
}

/// The request that asks who the credential is.
pub fn whoami(credential: &Credential) -> WireRequest {
    get("/api/v1/user".to_owned(), &credential.without_page())
}

/// The guarded write.
pub fn emit(intent: &ApiWrite, head_headers: &HeaderMap, credential: &Credential) -> WireRequest {
    let mut headers = base_headers(credential);
    for name in &KEPT {
        for value in head_headers.get_all(name) {
            headers.append(name, value.clone());
        }
    }
    let body = body(intent).map(Bytes::from);
    if body.is_some() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    WireRequest { method: method(intent.form), target: path(intent), headers, body: body.unwrap_or_default() }
}

/// Nobody assigned. By the issue call: the pull call of Gitea 1.15 never removes.
pub fn clear_assignees(address: &Address) -> ApiWrite {
    let change = Change { assignees: Some(SetChange::Replace(BTreeSet::new())), ..Change::default() };
    ApiWrite::of(address, WriteForm::EditIssue, change)
}

/// Labels added, or one removed.
pub fn relabel(address: &Address, change: SetChange<TagRef>) -> ApiWrite {
    let form = match &change {
        SetChange::Add(_) => WriteForm::AddLabels,
        SetChange::Remove(_) => WriteForm::DropLabel,
        SetChange::Replace(_) => WriteForm::ReplaceLabels,
    };
    let change = Change { labels: Some(change), ..Change::default() };
    ApiWrite::of(address, form, change)
}

/// A removal written as the labels that stay.
pub fn relabel_otherwise(address: &Address, change: &SetChange<TagRef>) -> Option<ApiWrite> {
    let SetChange::Remove(_) = change else { return None };
    let change = Change { labels: Some(change.clone()), ..Change::default() };
    Some(ApiWrite::of(address, WriteForm::LeaveOtherLabels, change))
}

/// The user with this number.
pub fn find_user(user: u64, credential: &Credential) -> WireRequest {
    get(format!("/api/v1/users/search?uid={user}&limit=1"), credential)
}

/// The body of a write; `None` where the call has none.
pub fn body(intent: &ApiWrite) -> Option<String> {
    if matches!(intent.form, WriteForm::ClearLabels | WriteForm::RemoveLabel | WriteForm::DropLabel) {
        return None;
    }
    let mut members = intent.rest.clone();
    if let Some(change) = &intent.change.assignees {
        let names: Vec<&str> = members_of(change).iter().map(Account::as_str).collect();
        members.push(Member::new("assignees", &Value::from(names)));
    }
    if let Some(change) = &intent.change.labels {
        members.push(Member::new("labels", &members_of(change).iter().map(label_value).collect()));
    }
    if let Some(state) = intent.change.state {
        members.push(Member::new("state", &Value::from(state.as_str())));
    }
    Some(write_object(&members))
}

fn members_of<T: Ord>(change: &SetChange<T>) -> &BTreeSet<T> {
    match change {
        SetChange::Replace(set) | SetChange::Add(set) | SetChange::Remove(set) => set,
    }
}

fn label_value(label: &TagRef) -> Value {
    match label {
        TagRef::Id(TagId::Number(id)) => Value::from(*id),
        TagRef::Id(TagId::Text(id)) => Value::from(&**id),
        TagRef::Name(name) => Value::from(name.as_str()),
    }
}

/// The method of a call.
pub fn method(form: WriteForm) -> Method {
    match form {
        WriteForm::EditIssue | WriteForm::EditPull => Method::PATCH,
        WriteForm::CreateIssue
        | WriteForm::CreatePull
        | WriteForm::AddAssignees
        | WriteForm::AddLabels
        | WriteForm::AddReviewers
        | WriteForm::CreateReview
        | WriteForm::SubmitReview(_) => Method::POST,
        WriteForm::ReplaceLabels | WriteForm::LeaveOtherLabels => Method::PUT,
        WriteForm::RemoveAssignees
        | WriteForm::ClearLabels
        | WriteForm::RemoveLabel
        | WriteForm::DropLabel
        | WriteForm::RemoveReviewers => Method::DELETE,
    }
}

/// The canonical path of a write.
pub fn path(intent: &ApiWrite) -> String {
    match (&intent.scope, intent.form) {
        (Scope::Create(project), WriteForm::CreatePull) => format!("/api/v1/repos/{}/pulls", project.as_str()),
        (Scope::Create(project), _) => format!("/api/v1/repos/{}/issues", project.as_str()),
        (Scope::Item(address), WriteForm::EditPull) => item_path("pulls", address, &[]),
        (Scope::Item(address), WriteForm::AddAssignees | WriteForm::RemoveAssignees) => {
            item_path("issues", address, &["assignees"])
        }
        (
            Scope::Item(address),
            WriteForm::AddLabels | WriteForm::ReplaceLabels | WriteForm::LeaveOtherLabels | WriteForm::ClearLabels,
        ) => item_path("issues", address, &["labels"]),
        (Scope::Item(address), WriteForm::RemoveLabel | WriteForm::DropLabel) => {
            item_path("issues", address, &["labels", &removed_label(&intent.change)])
        }
        (Scope::Item(address), WriteForm::AddReviewers | WriteForm::RemoveReviewers) => {
            item_path("pulls", address, &["requested_reviewers"])
        }
        (Scope::Item(address), WriteForm::CreateReview) => item_path("pulls", address, &["reviews"]),
        (Scope::Item(address), WriteForm::SubmitReview(id)) => {
            item_path("pulls", address, &["reviews", &id.to_string()])
        }
        (Scope::Item(address), _) => item_path("issues", address, &[]),
    }
}

/// The one label that the intent removes, as a path names it.
fn removed_label(change: &Change) -> String {
    match change.labels.as_ref().and_then(|change| members_of(change).first()) {
        Some(TagRef::Id(id)) => id.to_string(),
        Some(TagRef::Name(name)) => name.clone(),
        None => String::new(),
    }
}

pub(super) fn item_path(kind: &str, address: &Address, tail: &[&str]) -> String {
    let Location { owner, repo, number } = Location::of(address);
    let mut segments = vec!["api", "v1", "repos", owner, repo, kind, number];
    segments.extend(tail);
    join(&segments)
}

pub(super) fn get(target: String, credential: &Credential) -> WireRequest {
    let mut headers = base_headers(credential);
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    WireRequest { method: Method::GET, target, headers, body: Bytes::new() }
}

fn base_headers(credential: &Credential) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    credential.apply(&mut headers);
    headers
}

/// The client's headers that survive. `Origin` goes with the credential, and so with reads too.
const KEPT: [HeaderName; 7] = [
    ACCEPT,
    ACCEPT_LANGUAGE,
    HeaderName::from_static("sec-fetch-site"),
    USER_AGENT,
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
];

#[cfg(test)]
mod tests {
    use super::super::super::{Head, Target};
    use super::super::call::Call;
    use super::super::location;
    use super::super::parse;
    use super::super::routes::classify;
    use super::*;
    use crate::model::ItemKind;

    fn intent(method: &Method, target: &str, body: &str) -> ApiWrite {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let head = Head { method, target: &Target::parse(target), headers: &headers };
        let Call::Write(write) = classify(&head) else { panic!("{target} is not a write") };
        let Ok(Some(intent)) = parse::parse(&write, &head, body.as_bytes()) else { panic!("{body}") };
        intent
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn only_listed_headers_survive() {
        let mut head = HeaderMap::new();
        for name in [
            "accept",
            "user-agent",
            "x-request-id",
            "authorization",
            "cookie",
            "sudo",
            "content-encoding",
            "content-type",
            "content-length",
            "transfer-encoding",
            "connection",
            "upgrade",
            "expect",
            "if-match",
            "x-http-method-override",
            "x-original-url",
            "x-webauth-user",
            "x-forwarded-for",
            "accept-encoding",
            "claimgate-agent",
        ] {
            head.append(name, HeaderValue::from_static("theirs"));
        }
        let intent = intent(&Method::PATCH, "/api/v1/repos/O/r/issues/7/?token=theirs", r#"{"assignees":["bob"]}"#);
        let sent = emit(&intent, &head, &Credential::service("ours"));
        assert_eq!((sent.method, sent.target.as_str()), (Method::PATCH, "/api/v1/repos/O/r/issues/7"));
        assert_eq!(sent.body, r#"{"assignees":["bob"]}"#);
        assert_eq!(
            names(&sent.headers),
            ["accept", "accept-encoding", "authorization", "content-type", "user-agent", "x-request-id"]
        );
        assert_eq!(sent.headers["authorization"], "token ours");
        assert_eq!(sent.headers["accept-encoding"], "identity");
        assert_eq!(sent.headers["content-type"], "application/json");
    }

    #[test]
    fn a_call_without_body_has_none() {
        let intent = intent(&Method::DELETE, "/api/v1/repos/o/r/issues/7/labels/3", r#"{"updated_at":"x"}"#);
        let sent = emit(&intent, &HeaderMap::new(), &Credential::default());
        assert_eq!((sent.target.as_str(), sent.body.len()), ("/api/v1/repos/o/r/issues/7/labels/3", 0));
        assert_eq!(names(&sent.headers), ["accept-encoding"]);
    }

    #[test]
    fn reads_and_releases_go_by_the_issue() {
        let address = location::address("o", "r", 7, ItemKind::Pull);
        let read = observe(&address, &Credential::service("t"));
        assert_eq!((read.method.as_str(), read.target.as_str()), ("GET", "/api/v1/repos/o/r/issues/7"));
        assert_eq!(names(&read.headers), ["accept", "accept-encoding", "authorization"]);
        assert_eq!(whoami(&Credential::default()).target, "/api/v1/user");
        let release = emit(&clear_assignees(&address), &HeaderMap::new(), &Credential::default());
        assert_eq!((release.target.as_str(), &release.body[..]), (read.target.as_str(), &br#"{"assignees":[]}"#[..]));
    }

    #[test]
    fn follows_an_item_to_its_new_place() {
        let new = location::issue("n", "m", 7);
        let pull = intent(&Method::PATCH, "/api/v1/repos/o/r/pulls/7", r#"{"x":1,"state":"closed"}"#);
        let moved = pull.at(&new);
        assert_eq!((path(&moved).as_str(), body(&moved)), ("/api/v1/repos/n/m/pulls/7", body(&pull)));
        assert_eq!(moved.change, pull.change);
    }
}
