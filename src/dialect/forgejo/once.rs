//! Reviews and pull requests as things that may be created once (manual: forgejo, sections 1.5 and 1.7).

use super::super::json::{Member, shorten};
use super::super::{
    Address, ClosingSyntax, CreateOnce, Creation, Credential, Head, Listed, ParseError, WireRequest, WireResponse,
};
use super::api_write::ApiWrite;
use super::closing::closed_by;
use super::write::{Scope, Write, WriteForm};
use super::{Forgejo, emit, location, parse, read, reply};
use crate::model::{Account, Actor, Existing, Made, Place, Principal, Project, Time};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Map, Value};

const VERDICTS: [&str; 4] = ["APPROVED", "REQUEST_CHANGES", "COMMENT", "PENDING"];
/// More issues than one pull request would sensibly close.
const MOST_CLOSED: usize = 20;
/// A pull request that was opened elsewhere may close more; so many are looked at.
const MOST_LOOKED_AT: usize = 1_000;
const PAGE: usize = 50;

impl CreateOnce for Forgejo {
    fn observe_project(&self, project: &Project, credential: &Credential) -> Option<WireRequest> {
        Some(emit::get(location::below(project, &[]), credential))
    }

    fn may_write(&self, response: &WireResponse) -> bool {
        let push = || read::object(response).ok()?.get("permissions")?.get("push")?.as_bool();
        response.status.is_success() && push().unwrap_or(false)
    }

    fn observe_pull(&self, pull: &Address, credential: &Credential) -> Option<WireRequest> {
        Some(emit::get(emit::item_path("pulls", pull, &[]), credential))
    }

    fn pull(
        &self,
        pull: &Address,
        response: &WireResponse,
        closing: &ClosingSyntax,
    ) -> Option<(String, String, Option<Existing>)> {
        let row = read::object(response).ok().filter(|_| response.status == StatusCode::OK)?;
        let id = read::number(&row, "id").ok()?.to_string();
        let head = row.get("head")?.get("sha")?.as_str()?.to_owned();
        let open = row.get("state").and_then(Value::as_str) == Some("open");
        Some((id, head, open.then(|| open_pull(pull.project()?, &row, closing)).flatten()))
    }

    fn closed_pull(
        &self,
        pull: &Address,
        response: &WireResponse,
        closing: &ClosingSyntax,
    ) -> Option<(Made, Vec<Address>)> {
        let row = read::object(response).ok().filter(|_| response.status == StatusCode::OK)?;
        let text = |name| row.get(name).and_then(Value::as_str).unwrap_or_default();
        let project = pull.project()?;
        let closes = closed_by(closing, project, (text("title"), text("body")), MOST_CLOSED + 1);
        (text("state") == "closed").then(|| Some((pull_made(project, &row)?, closes)))?
    }

    fn list_reviews(&self, pull: &Address, page: usize, credential: &Credential) -> Option<WireRequest> {
        let path = emit::item_path("pulls", pull, &["reviews"]);
        Some(emit::get(format!("{path}?limit={PAGE}&page={page}"), credential))
    }

    fn reviews(&self, pull: &Address, response: &WireResponse) -> Option<Listed<Existing>> {
        listed(response, |row| standing_review(pull, row))
    }

    fn list_pulls(&self, project: &Project, page: usize, credential: &Credential) -> Option<WireRequest> {
        let path = location::below(project, &["pulls"]);
        Some(emit::get(format!("{path}?state=open&limit={PAGE}&page={page}"), credential))
    }

    fn pulls(&self, project: &Project, response: &WireResponse, closing: &ClosingSyntax) -> Option<Listed<Existing>> {
        listed(response, |row| open_pull(project, row, closing))
    }

    fn is_pull(&self, response: &WireResponse) -> bool {
        read::object(response).is_ok_and(|issue| issue.get("pull_request").is_some_and(|pull| !pull.is_null()))
    }
}

// === what is asked ===

/// What the call creates, if a rule can be about that.
pub(super) fn creation(intent: &ApiWrite, closing: &ClosingSyntax) -> Option<Creation> {
    match (&intent.scope, intent.form) {
        (Scope::Create(project), WriteForm::CreatePull) => {
            let (title, body) = (text(intent, "title"), text(intent, "body"));
            Some(Creation::Pull {
                project: project.clone(),
                closes: closed_by(closing, project, (&title, &body), MOST_CLOSED + 1),
            })
        }
        _ => review(intent),
    }
}

/// The review that the call writes, if it writes one.
pub(super) fn review(intent: &ApiWrite) -> Option<Creation> {
    match (&intent.scope, intent.form) {
        (Scope::Item(pull), WriteForm::CreateReview) => {
            let commit = Some(text(intent, "commit_id")).filter(|commit| !commit.is_empty());
            Some(Creation::Review { pull: pull.clone(), commit, event: verdict(intent), submits: None })
        }
        (Scope::Item(pull), WriteForm::SubmitReview(id)) => {
            let submits = Some(id);
            Some(Creation::Review { pull: pull.clone(), commit: None, event: verdict(intent), submits })
        }
        _ => None,
    }
}

/// The same review, of exactly this commit.
pub(super) fn pinned(intent: &ApiWrite, commit: &str) -> ApiWrite {
    let mut pinned = intent.clone();
    if intent.form == WriteForm::CreateReview {
        pinned.rest.retain(|member| member.name != "commit_id");
        pinned.rest.push(Member::new("commit_id", &Value::from(commit)));
    }
    pinned
}

/// What a success answer says was created.
pub(super) fn made(intent: &ApiWrite, response: &WireResponse) -> Option<Made> {
    let row = read::object(response).ok().filter(|_| response.status.is_success())?;
    match (&intent.scope, intent.form) {
        (Scope::Create(project), _) => pull_made(project, &row),
        (Scope::Item(pull), _) => review_made(pull, &row),
    }
}

/// The success answer, with something that exists already.
pub(super) fn first(intent: &ApiWrite, existing: &Existing) -> WireResponse {
    let mut headers = HeaderMap::new();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json;charset=utf-8"));
    let read = WireResponse { status: StatusCode::OK, headers, body: existing.text.clone().into() };
    reply::accept(intent, &read)
}

/// A creation that a rule is about.
pub(super) fn understand(
    write: &Write,
    head: &Head<'_>,
    body: &[u8],
    closing: &ClosingSyntax,
) -> Result<ApiWrite, ParseError> {
    let intent = parse::understand(write, head, body)?;
    check(&intent, closing)?;
    Ok(intent)
}

/// What could be taken in two ways where a rule is about it.
fn check(intent: &ApiWrite, closing: &ClosingSyntax) -> Result<(), ParseError> {
    let refuse = |text: String| Err(ParseError::Ambiguous(text));
    let (event, commit) = (verdict(intent), text(intent, "commit_id"));
    let is_review = matches!(intent.form, WriteForm::CreateReview | WriteForm::SubmitReview(_));
    let is_commit = matches!(commit.len(), 40 | 64) && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    match intent.form {
        _ if is_review && !VERDICTS.contains(&event.as_str()) => {
            refuse(format!("`event` must be exactly one of {}, not `{}`", VERDICTS.join(", "), shorten(&event)))
        }
        WriteForm::CreateReview if !commit.is_empty() && !is_commit => refuse(
            "`commit_id` must be a whole commit id in hexadecimal; leave it out for the pull request's head".to_owned(),
        ),
        WriteForm::CreatePull => {
            let closed = match creation(intent, closing) {
                Some(Creation::Pull { closes, .. }) => closes.len(),
                _ => 0,
            };
            let message = || format!("a pull request that closes more than {MOST_CLOSED} issues is not taken");
            if closed > MOST_CLOSED { refuse(message()) } else { Ok(()) }
        }
        _ => Ok(()),
    }
}

fn text(intent: &ApiWrite, name: &str) -> String {
    let member = intent.rest.iter().find(|member| member.name == name);
    member.map(super::super::json::text_of).unwrap_or_default()
}

/// Without one it is a draft.
fn verdict(intent: &ApiWrite) -> String {
    Some(text(intent, "event")).filter(|event| !event.is_empty()).unwrap_or_else(|| "PENDING".to_owned())
}

// === what exists ===

fn listed(response: &WireResponse, one: impl Fn(&Map<String, Value>) -> Option<Existing>) -> Option<Listed<Existing>> {
    let rows = read::json(response).ok().filter(|_| response.status == StatusCode::OK)?;
    let rows = rows.as_array()?;
    let found = rows.iter().filter_map(|row| row.as_object().and_then(&one)).collect();
    let total = response.headers.get("x-total-count").and_then(|value| value.to_str().ok()?.parse().ok());
    Some(Listed { found, rows: rows.len(), total })
}

fn standing_review(pull: &Address, row: &Map<String, Value>) -> Option<Existing> {
    let dismissed = row.get("dismissed").and_then(Value::as_bool).unwrap_or(false);
    let text = |name| row.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    Some(Existing {
        made: review_made(pull, row).filter(|_| !dismissed)?,
        author: author(row)?,
        since: time(row, "submitted_at"),
        commit: text("commit_id"),
        event: text("state"),
        closes: Vec::new(),
        text: Value::Object(row.clone()).to_string(),
    })
}

fn open_pull(project: &Project, row: &Map<String, Value>, closing: &ClosingSyntax) -> Option<Existing> {
    let text = |name| row.get(name).and_then(Value::as_str).unwrap_or_default();
    let closes = closed_by(closing, project, (text("title"), text("body")), MOST_LOOKED_AT);
    Some(Existing {
        made: pull_made(project, row)?,
        author: author(row)?,
        since: time(row, "created_at"),
        commit: String::new(),
        event: String::new(),
        closes: closes.iter().map(Address::locator).collect(),
        text: Value::Object(row.clone()).to_string(),
    })
}

fn review_made(pull: &Address, row: &Map<String, Value>) -> Option<Made> {
    Some(Made { id: read::number(row, "id").ok()?.to_string(), url: url(row), at: pull.locator() })
}

fn pull_made(project: &Project, row: &Map<String, Value>) -> Option<Made> {
    let number = read::number(row, "number").ok()?;
    let at = Place::numbered(project, number);
    Some(Made { id: read::number(row, "id").ok()?.to_string(), url: url(row), at })
}

fn url(row: &Map<String, Value>) -> String {
    row.get("html_url").and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// None for what a team was asked for.
fn author(row: &Map<String, Value>) -> Option<Actor> {
    let login = read::login(row.get("user")?.as_object()?).ok()?;
    Some(Actor { account: Principal::Named(Account::new(login.as_str())), instance: None })
}

/// What has no time is as old as can be: it counts before all others.
fn time(row: &Map<String, Value>, name: &str) -> Time {
    let text = row.get(name).and_then(Value::as_str).unwrap_or_default();
    Time(text.parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_microsecond))
}

#[cfg(test)]
mod tests {
    use super::super::super::Target;
    use super::super::call::Call;
    use super::super::routes::classify;
    use super::*;
    use http::Method;
    use serde_json::json;

    fn understood(path: &str, body: &Value) -> Result<ApiWrite, ParseError> {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        let head = Head { method: &Method::POST, target: &Target::parse(path), headers: &headers };
        let write = match classify(&head) {
            Call::Write(write) | Call::Once(Ok(write)) => write,
            other => panic!("{path}: {other:?}"),
        };
        super::understand(&write, &head, body.to_string().as_bytes(), &ClosingSyntax::default())
    }

    #[test]
    fn a_text_that_closes_millions_is_not_read_to_its_end() {
        let text = (1..=1_000_000).map(|n| format!("fixes #{n}")).collect::<Vec<_>>().join(" ");
        let pull = json!({ "head": "h", "base": "b", "title": "x", "body": text });
        let told = understood("/api/v1/repos/o/r/pulls", &pull).unwrap_err().to_string();
        assert!(told.contains("closes more than 20 issues"), "{told}");
        let row = json!({ "id": 1, "number": 2, "user": { "login": "ann" }, "title": "x", "body": text });
        let pull = open_pull(&Project::new("o/r"), row.as_object().unwrap(), &ClosingSyntax::default()).unwrap();
        assert_eq!(pull.closes.len(), MOST_LOOKED_AT);
    }

    #[test]
    fn a_review_says_what_it_is_about() {
        let reviews = "/api/v1/repos/o/r/pulls/5/reviews";
        let sha = "a".repeat(40);
        let check = |path: &str, body: Value, expected: &str| {
            let shown = match understood(path, &body) {
                Ok(intent) => creation(&intent, &ClosingSyntax::default())
                    .map_or_else(String::new, |creation| creation.to_string()),
                Err(error) => error.to_string(),
            };
            assert!(shown.contains(expected), "{body}: {shown}");
        };
        check(reviews, json!({"event": "APPROVED", "commit_id": sha}), &format!("create review APPROVED of {sha}"));
        check(reviews, json!({"event": "COMMENT", "body": "x", "commit_id": ""}), "create review COMMENT of the head");
        check(reviews, json!({"body": "x"}), "create review PENDING");
        check(&format!("{reviews}/3"), json!({"event": "APPROVED"}), "create review APPROVED");
        check(reviews, json!({"event": "approve"}), "must be exactly one of");
        check(reviews, json!({"event": "APPROVED", "commit_id": "abc123"}), "whole commit id");
        check(reviews, json!({"EVENT": "APPROVED"}), "spell it exactly");
        check("/api/v1/repos/o/r/pulls", json!({"title": "fixes #7", "body": "closes a/b#1"}), "[o/r#7, a/b#1]");
        let many: Vec<String> = (1..=21).map(|number| format!("fixes #{number}")).collect();
        check("/api/v1/repos/o/r/pulls", json!({"title": "t", "body": many.join(" ")}), "closes more than 20 issues");
    }

    #[test]
    fn a_review_is_pinned_to_its_commit() {
        let reviews = "/api/v1/repos/o/r/pulls/5/reviews";
        let intent = understood(reviews, &json!({"event": "APPROVED", "commit_id": ""})).unwrap();
        let sent = emit::emit(&pinned(&intent, "abc"), &HeaderMap::new(), &Credential::default());
        assert_eq!((sent.method.as_str(), sent.target.as_str()), ("POST", reviews));
        assert_eq!(sent.body, r#"{"event":"APPROVED","commit_id":"abc"}"#);
        let draft = understood(&format!("{reviews}/3"), &json!({"event": "APPROVED"})).unwrap();
        let sent = emit::emit(&pinned(&draft, "abc"), &HeaderMap::new(), &Credential::default());
        assert_eq!(
            (sent.target.as_str(), &sent.body[..]),
            ("/api/v1/repos/o/r/pulls/5/reviews/3", &br#"{"event":"APPROVED"}"#[..])
        );
    }

    #[test]
    fn what_no_rule_is_about_is_written_plainly_or_not() {
        let route = |path: &str| {
            let headers = HeaderMap::new();
            classify(&Head { method: &Method::POST, target: &Target::parse(path), headers: &headers })
        };
        for (path, understood) in [
            ("/api/v1/repos/o/r/pulls/5/reviews", true),
            ("/api/v1/repos/o/r/pulls/05/reviews", false),
            ("//api/v1/repos/o/r/pulls/5/reviews", true),
            ("/api/v1/repos/o/r/pulls/5/reviews/x", false),
        ] {
            match route(path) {
                Call::Once(write) => assert_eq!(write.is_ok(), understood, "{path}: {write:?}"),
                other => panic!("{path}: {other:?}"),
            }
        }
    }
}
