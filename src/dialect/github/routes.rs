//! Which calls of the REST API are guarded (manual: github, section 2).
//!
//! What changes something below a repository's issues or pulls is named here, or refused. A path that can be read in two
//! ways passes only if no reading of it comes near them.

use super::super::{Address, Head, ParseError, Shows, Target};
use super::location::{RepoPath, plain_number};
use crate::model::{ItemKind, Project};
use http::header::HeaderName;
use http::{HeaderMap, Method};

/// What a request is, by its head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestCall {
    /// Not guarded.
    Pass,
    /// A read of one item, or (without an address) of the items of one repository.
    Read {
        /// The repository.
        project: Project,
        /// The item.
        address: Option<Address>,
        /// What a 2xx answer shows.
        shows: Shows,
    },
    /// May change a guarded field of an item, or make one.
    Item(RestForm, RestTarget),
    /// Changes items that it does not name.
    Beside(BesideForm, RepoPath),
    /// A GraphQL document.
    Document,
    /// Not understood.
    Refuse(ParseError),
}

/// Which guarded call it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestForm {
    /// PATCH of an issue, for which GitHub takes POST, too.
    EditIssue,
    /// The same of a pull request as such.
    EditPull,
    /// POST of an issue.
    CreateIssue,
    /// POST of a pull request.
    CreatePull,
    /// POST of assignees.
    AddAssignees,
    /// DELETE of assignees.
    RemoveAssignees,
    /// POST of labels.
    AddLabels,
    /// PUT of labels.
    ReplaceLabels,
    /// DELETE of every label.
    ClearLabels,
    /// DELETE of the label with this name.
    RemoveLabel(String),
    /// POST or PUT of the values of issue fields.
    SetFields(Method),
    /// DELETE of the value of this field.
    ClearField(String),
    /// A stored proposal is carried out.
    ApproveSuggestion(String),
}

/// What such a call is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestTarget {
    /// An item.
    Item(Address),
    /// A new one in this repository.
    New(RepoPath),
}

/// Which call it is that changes items beside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BesideForm {
    /// The repository ends.
    DeleteRepository,
    /// A branch ends, and with it what would be merged from or into it.
    DeleteBranch(String),
    /// A label is renamed, wherever it is.
    EditLabel(String),
    /// A label ends.
    DeleteLabel(String),
}

/// What a call below a repository is.
enum Act {
    Pass,
    Item(RestForm, u64),
    New(RestForm),
    Beside(BesideForm),
    Refuse,
}

/// What the request is.
pub fn classify(head: &Head<'_>) -> RestCall {
    let target = head.target;
    if matches!(*head.method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return read(head).unwrap_or(RestCall::Pass);
    }
    if let Some(name) = override_of(head.headers) {
        return refuse(format!("the header {name} may make another method of it: send the method itself"));
    }
    if target.ambiguity().is_some() {
        return of_ambiguous(head.method, target);
    }
    if is_document(target.shadow_segments()) {
        return RestCall::Document;
    }
    let (segments, shadow) = (target.segments(), target.shadow_segments());
    match RepoPath::split(segments) {
        Some((repo, tail)) => {
            let folded: Vec<&str> = shadow[shadow.len() - tail.len()..].iter().map(String::as_str).collect();
            let names: Vec<&str> = tail.iter().map(String::as_str).collect();
            of_act(act(head.method, &folded, &names), repo, head)
        }
        None if is_below_a_path(head.method, shadow) => refuse(BELOW_A_PATH.to_owned()),
        None => RestCall::Pass,
    }
}

/// What a GET reads, if that is about items.
fn read(head: &Head<'_>) -> Option<RestCall> {
    let target = head.target;
    if *head.method != Method::GET || target.ambiguity().is_some() {
        return None;
    }
    let (repo, tail) = RepoPath::split(target.segments())?;
    let tail: Vec<&str> = tail.iter().map(String::as_str).collect();
    let (address, shows) = match tail[..] {
        ["issues"] => (None, Shows::Items(ItemKind::Issue)),
        ["pulls"] => (None, Shows::Items(ItemKind::Pull)),
        ["issues", number] => (Some(repo.item(plain_number(number)?, ItemKind::Issue)), Shows::Item),
        ["pulls", number] => (Some(repo.item(plain_number(number)?, ItemKind::Pull)), Shows::Item),
        ["issues", number, ..] => (Some(repo.item(plain_number(number)?, ItemKind::Issue)), Shows::Beside),
        ["pulls", number, ..] => (Some(repo.item(plain_number(number)?, ItemKind::Pull)), Shows::Beside),
        _ => return None,
    };
    Some(RestCall::Read { project: repo.project, address, shows })
}

/// Of a call below a repository: its parts in lower case, and as they are written.
fn act(method: &Method, folded: &[&str], names: &[&str]) -> Act {
    let name = |at: usize| names.get(at).copied().unwrap_or_default().to_owned();
    match (method.as_str(), folded) {
        ("POST", ["issues"]) => Act::New(RestForm::CreateIssue),
        ("POST", ["pulls"]) => Act::New(RestForm::CreatePull),
        (_, ["issues" | "pulls", "comments", ..]) => Act::Pass,
        (_, ["issues", number, rest @ ..]) => match plain_number(number) {
            Some(number) => below_issue(method, rest, name(names.len().saturating_sub(1)), &name(3), number),
            None => Act::Refuse,
        },
        ("PATCH" | "POST", ["pulls", number]) => of_item(RestForm::EditPull, number),
        (_, ["pulls", number, below, ..]) if plain_number(number).is_some() && PASS_BELOW_PULL.contains(below) => {
            Act::Pass
        }
        (_, ["issues" | "pulls", ..]) => Act::Refuse,
        ("PATCH" | "POST", ["labels", _]) => Act::Beside(BesideForm::EditLabel(name(1))),
        ("DELETE", ["labels", _]) => Act::Beside(BesideForm::DeleteLabel(name(1))),
        ("DELETE", []) => Act::Beside(BesideForm::DeleteRepository),
        ("DELETE", ["git", "refs", "heads", _, ..]) => {
            Act::Beside(BesideForm::DeleteBranch(names.get(3..).unwrap_or_default().join("/")))
        }
        _ => Act::Pass,
    }
}

fn of_item(form: RestForm, number: &str) -> Act {
    plain_number(number).map_or(Act::Refuse, |number| Act::Item(form, number))
}

fn below_issue(method: &Method, rest: &[&str], last: String, third: &str, number: u64) -> Act {
    let form = match (method.as_str(), rest) {
        ("PATCH" | "POST", []) => RestForm::EditIssue,
        ("POST", ["assignees"]) => RestForm::AddAssignees,
        ("DELETE", ["assignees"]) => RestForm::RemoveAssignees,
        ("POST", ["labels"]) => RestForm::AddLabels,
        ("PUT", ["labels"]) => RestForm::ReplaceLabels,
        ("DELETE", ["labels"]) => RestForm::ClearLabels,
        ("DELETE", ["labels", _]) => RestForm::RemoveLabel(last),
        ("POST" | "PUT", ["issue-field-values"]) => RestForm::SetFields(method.clone()),
        ("DELETE", ["issue-field-values", _]) => RestForm::ClearField(last),
        ("POST" | "PUT", ["suggestions", _, "approve"]) => RestForm::ApproveSuggestion(third.to_owned()),
        (_, ["suggestions", _, "dismiss"]) => return Act::Pass,
        (_, [below, ..]) if PASS_BELOW_ISSUE.contains(below) => return Act::Pass,
        _ => return Act::Refuse,
    };
    Act::Item(form, number)
}

fn of_act(act: Act, repo: RepoPath, head: &Head<'_>) -> RestCall {
    match act {
        Act::Pass => RestCall::Pass,
        Act::Item(form, number) => {
            let kind = if form == RestForm::EditPull { ItemKind::Pull } else { ItemKind::Issue };
            RestCall::Item(form, RestTarget::Item(repo.item(number, kind)))
        }
        Act::New(form) => RestCall::Item(form, RestTarget::New(repo)),
        Act::Beside(form) => RestCall::Beside(form, repo),
        Act::Refuse => refuse(format!(
            "{} {} is not a call that the gate knows below issues and pulls: use one of GitHub's documented calls",
            head.method,
            head.target.path()
        )),
    }
}

/// A label's name may have a slash in it, encoded: then that is all that can be read in two ways.
fn of_ambiguous(method: &Method, target: &Target) -> RestCall {
    if let Some(call) = of_named_label(method, target) {
        return call;
    }
    match target.ambiguity() {
        Some(why) if target.readings().any(|reading| concerns(method, reading)) => bent(why),
        _ => RestCall::Pass,
    }
}

fn of_named_label(method: &Method, target: &Target) -> Option<RestCall> {
    let (front, last) = target.split_last();
    let front = Target::parse(front);
    let is_name = Target::parse(&format!("/{last}")).is_name() && !last.contains(';');
    let name = target.segments().last()?;
    if front.ambiguity().is_some() || !is_name || name.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return None;
    }
    let (repo, tail) = RepoPath::split(front.segments())?;
    let tail: Vec<String> = tail.iter().map(|part| part.to_ascii_lowercase()).collect();
    let tail: Vec<&str> = tail.iter().map(String::as_str).collect();
    match (method.as_str(), &tail[..]) {
        ("DELETE", ["issues", number, "labels"]) => {
            let item = repo.item(plain_number(number)?, ItemKind::Issue);
            Some(RestCall::Item(RestForm::RemoveLabel(name.clone()), RestTarget::Item(item)))
        }
        ("DELETE", ["labels"]) => Some(RestCall::Beside(BesideForm::DeleteLabel(name.clone()), repo)),
        ("PATCH" | "POST", ["labels"]) => Some(RestCall::Beside(BesideForm::EditLabel(name.clone()), repo)),
        _ => None,
    }
}

/// Whether what a router makes of a path can be guarded.
fn concerns(method: &Method, reading: &[String]) -> bool {
    if is_document(reading) || is_below_a_path(method, reading) {
        return true;
    }
    let Some((_, tail)) = RepoPath::split(reading) else { return false };
    let tail: Vec<&str> = tail.iter().map(String::as_str).collect();
    !matches!(act(method, &tail, &tail), Act::Pass)
}

fn is_document(reading: &[String]) -> bool {
    let reading: Vec<&str> = reading.iter().map(String::as_str).collect();
    matches!(reading[..], ["graphql"] | ["api", "graphql"] | ["api", "v3", "graphql"])
}

/// Whether it is a call about items behind a path below which the tracker may be served.
fn is_below_a_path(method: &Method, reading: &[String]) -> bool {
    if RepoPath::split(reading).is_some() {
        return false;
    }
    (1..=DEEPEST_SUB_PATH).filter_map(|skip| reading.get(skip..)).any(|rest| {
        let Some((_, tail)) = RepoPath::split(rest) else { return is_document(rest) };
        let tail: Vec<&str> = tail.iter().map(String::as_str).collect();
        matches!(act(method, &tail, &tail), Act::Item(..) | Act::New(_) | Act::Refuse)
    })
}

/// GitHub does not say that it reads one of these, nor that it does not.
fn override_of(headers: &HeaderMap) -> Option<&'static str> {
    OVERRIDES.into_iter().find(|name| headers.contains_key(HeaderName::from_static(name)))
}

fn bent(why: &str) -> RestCall {
    refuse(format!("the path can be read in two ways: {why}; send it in its plain form"))
}

fn refuse(text: String) -> RestCall {
    RestCall::Refuse(ParseError::Ambiguous(text))
}

const OVERRIDES: [&str; 3] = ["x-http-method-override", "x-http-method", "x-method-override"];
/// Segments of a sub-path that the gate looks behind.
const DEEPEST_SUB_PATH: usize = 2;
const BELOW_A_PATH: &str = "a guarded call stands below a sub-path: ask the gate without it, and if the tracker is served \
    below one, put it into `upstream.url`";
/// What changes nothing that is guarded.
const PASS_BELOW_ISSUE: &[&str] =
    &["comments", "reactions", "lock", "sub_issue", "sub_issues", "dependencies", "relates_to", "events", "timeline"];
/// The same below a pull request. A merge closes it, and is asked of whoever may merge.
const PASS_BELOW_PULL: &[&str] = &[
    "codespaces",
    "comments",
    "commits",
    "files",
    "merge",
    "merge-async",
    "requested_reviewers",
    "reviews",
    "update-branch",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(request: &str, expected: &str) {
        let (method, target) = request.split_once(' ').unwrap();
        let (method, target, headers) = (method.parse().unwrap(), Target::parse(target), HeaderMap::new());
        let shown = match classify(&Head { method: &method, target: &target, headers: &headers }) {
            RestCall::Pass => "pass".to_owned(),
            RestCall::Read { project, address, .. } => {
                format!("read {}", address.map_or_else(|| project.to_string(), |address| address.place.to_string()))
            }
            RestCall::Item(form, RestTarget::Item(address)) => format!("{form:?} {}", address.place),
            RestCall::Item(form, RestTarget::New(repo)) => format!("{form:?} in {}", repo.base),
            RestCall::Beside(form, repo) => format!("{form:?} of {}", repo.project),
            RestCall::Document => "document".to_owned(),
            RestCall::Refuse(error) => format!("refuse {}", error.code().as_str()),
        };
        assert_eq!(shown, expected, "{request}");
    }

    #[test]
    fn calls_about_an_issue() {
        for method in ["PATCH", "POST"] {
            check(&format!("{method} /repos/O/r/issues/7"), "EditIssue o/r#7");
            check(&format!("{method} /repositories/5/issues/7"), "EditIssue id:5#7");
            check(&format!("{method} /api/v3/repos/O/r/issues/7"), "EditIssue o/r#7");
            check(&format!("{method} /repos/o/r/pulls/7"), "EditPull o/r#7");
        }
        check("POST /repos/o/r/issues/7/assignees", "AddAssignees o/r#7");
        check("DELETE /repos/o/r/issues/7/assignees", "RemoveAssignees o/r#7");
        check("POST /repos/o/r/issues/7/labels", "AddLabels o/r#7");
        check("PUT /repos/o/r/Issues/7/LABELS", "ReplaceLabels o/r#7");
        check("DELETE /repos/o/r/issues/7/labels", "ClearLabels o/r#7");
        check("DELETE /repos/o/r/issues/7/labels/In%20progress", "RemoveLabel(\"In progress\") o/r#7");
        check("DELETE /repos/o/r/issues/7/labels/area%2Fui", "RemoveLabel(\"area/ui\") o/r#7");
        check("PUT /repos/o/r/issues/7/issue-field-values", "SetFields(PUT) o/r#7");
        check("DELETE /repositories/5/issues/7/issue-field-values/3", "ClearField(\"3\") id:5#7");
        check("POST /repos/o/r/issues/7/suggestions/9/approve", "ApproveSuggestion(\"9\") o/r#7");
        check("POST /repos/o/r/issues", "CreateIssue in /repos/o/r");
        check("POST /repositories/5/issues", "CreateIssue in /repositories/5");
    }

    #[test]
    fn what_is_beside_them_passes() {
        for request in [
            "POST /repos/o/r/issues/7/comments",
            "PATCH /repos/o/r/issues/comments/3",
            "PUT /repos/o/r/issues/comments/3/pin",
            "POST /repos/o/r/issues/7/reactions",
            "PUT /repos/o/r/issues/7/lock",
            "DELETE /repos/o/r/issues/7/lock",
            "POST /repos/o/r/issues/7/sub_issues",
            "DELETE /repos/o/r/issues/7/sub_issue",
            "PATCH /repos/o/r/issues/7/sub_issues/priority",
            "POST /repos/o/r/issues/7/dependencies/blocked_by",
            "DELETE /repos/o/r/issues/7/dependencies/blocked_by/3",
            "POST /repos/o/r/issues/7/suggestions/9/dismiss",
            "PUT /repos/o/r/pulls/7/merge",
            "POST /repos/o/r/pulls/7/reviews/3/events",
            "POST /repos/o/r/labels",
            "PATCH /repos/o/r",
            "PUT /repos/o/r/contents/repos/a/b/issues/7",
            "POST /markdown",
            "GET /user",
        ] {
            check(request, "pass");
        }
    }

    #[test]
    fn what_is_not_known_below_them_is_refused() {
        for request in [
            "DELETE /repos/o/r/issues/7",
            "PUT /repos/o/r/issues/7",
            "PATCH /repos/o/r/issues/07",
            "PATCH /repos/o/r/issues/%37",
            "PATCH /repos/o/r/x/../issues/7",
            "POST /repos/o/r/issues/7%2Fassignees",
            "PATCH /repos/o/r;x/issues/7",
            "POST /repos/o/r/issues/7/assign",
            "PUT /repos/o/r/pulls/7/close",
            "PATCH /sub/repos/o/r/issues/7",
            "POST /sub/graphql",
            "POST /graphql/%2e",
        ] {
            check(request, "refuse ambiguous_request");
        }
    }

    #[test]
    fn what_strikes_items_beside() {
        check("DELETE /repos/o/r", "DeleteRepository of o/r");
        check("DELETE /repos/o/r/git/refs/heads/a/b", "DeleteBranch(\"a/b\") of o/r");
        check("PATCH /repos/o/r/labels/todo", "EditLabel(\"todo\") of o/r");
        check("DELETE /repos/o/r/labels/area%2Fui", "DeleteLabel(\"area/ui\") of o/r");
        for path in ["/graphql", "/api/graphql"] {
            check(&format!("POST {path}"), "document");
        }
    }

    #[test]
    fn reads_about_items() {
        check("GET /repos/o/r/issues/7", "read o/r#7");
        check("GET /repositories/5/issues/7/comments", "read id:5#7");
        check("GET /repos/o/r/pulls?state=open", "read o/r");
        check("GET /repos/o/r/assignees", "pass");
    }

    #[test]
    fn another_method_by_a_header_is_refused() {
        let mut headers = HeaderMap::new();
        headers.insert("x-http-method-override", "PATCH".parse().unwrap());
        let target = Target::parse("/user/keys");
        let call = classify(&Head { method: &Method::POST, target: &target, headers: &headers });
        assert!(matches!(call, RestCall::Refuse(_)), "{call:?}");
    }
}
