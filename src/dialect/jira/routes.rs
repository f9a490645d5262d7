//! Which calls are guarded (manual: jira, section 1).
//!
//! A path is matched as Jira's router matches it: by its decoded segments in their own case. Whatever changes something
//! where issues are, is named here or refused.

use super::super::{Head, ParseError};
use http::{HeaderName, Method};

/// What a request is, by its head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JiraRoute {
    /// Not guarded.
    Pass,
    /// A read of one issue.
    Read(IssuePath),
    /// A read of what belongs to an issue.
    ReadBeside(IssuePath),
    /// Something is asked of the guard: its body says what.
    Guarded(JiraSite),
    /// Not understood.
    Refuse(ParseError),
}

/// An issue, as a path names it: by its id, or by a key that it has or once had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuePath {
    /// `2`, `3` or `latest`.
    pub version: &'static str,
    /// A number, or a key in capital letters.
    pub issue: String,
}

/// Where a call that may be guarded stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JiraSite {
    /// `issue/KEY`: edited or deleted.
    Issue(IssuePath),
    /// `issue/KEY/assignee`
    Assignee(IssuePath),
    /// `issue/KEY/transitions`
    Transitions(IssuePath),
    /// `issue`: one is created.
    Create(&'static str),
    /// `issue/bulk`: several are created.
    CreateMany,
    /// `bulk/issues/fields`: fields of several are edited, later.
    BulkFields,
    /// Whatever else is done to several, later.
    Bulk,
    /// `project/KEY`, `project/KEY/archive`, `project/KEY/delete`: its issues end.
    Project(String),
    /// `board/ID/issue` of the agile API: a board's first column.
    Board,
    /// `backlog/issue`, `backlog/ID/issue` of the agile API.
    Backlog(Option<u64>),
    /// `request/KEY/transition` of Jira Service Management.
    RequestTransition(String),
    /// `request/KEY/approval/ID` of Jira Service Management.
    Approval(String, u64),
}

pub fn classify(head: &Head<'_>) -> JiraRoute {
    let target = head.target;
    if matches!(*head.method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return read(head);
    }
    if target.readings().any(is_of_the_pages) {
        return JiraRoute::Refuse(ParseError::UnknownRoute(OF_THE_PAGES.to_owned()));
    }
    if !target.readings().any(concerns) {
        let below = target.readings().any(|reading| {
            (1..=DEEPEST_SUB_PATH)
                .any(|skip| reading.get(skip..).is_some_and(|rest| concerns(rest) || is_of_the_pages(rest)))
        });
        return if below {
            JiraRoute::Refuse(ParseError::UnknownRoute(BELOW_A_PATH.to_owned()))
        } else {
            JiraRoute::Pass
        };
    }
    if let Some(why) = target.ambiguity() {
        return JiraRoute::Refuse(bent(why));
    }
    if OVERRIDES.iter().any(|name| head.headers.contains_key(name)) {
        let why = "a header overrides the method: send the request with the method that is meant";
        return JiraRoute::Refuse(ParseError::Ambiguous(why.to_owned()));
    }
    let segments: Vec<&str> = target.segments().iter().map(String::as_str).collect();
    route(head.method, &segments).unwrap_or_else(|| {
        JiraRoute::Refuse(ParseError::UnknownRoute(format!(
            "{} {} is not a call that the gate knows where issues are: use one of Jira's documented calls",
            head.method,
            target.path()
        )))
    })
}

fn read(head: &Head<'_>) -> JiraRoute {
    let target = head.target;
    // Old pages act by a GET that carries the form's token.
    let acts = || target.query().is_some_and(|query| query.contains("atl_token"));
    if target.readings().any(|reading| is_page(reading) && acts()) {
        return JiraRoute::Refuse(ParseError::UnknownRoute(OF_THE_PAGES.to_owned()));
    }
    if *head.method != Method::GET || target.ambiguity().is_some() {
        return JiraRoute::Pass;
    }
    let segments: Vec<&str> = target.segments().iter().map(String::as_str).collect();
    let ["rest", "api", version, "issue", issue, below @ ..] = &segments[..] else { return JiraRoute::Pass };
    match (issue_path(version, issue), below) {
        (Some(path), []) => JiraRoute::Read(path),
        (Some(path), _) => JiraRoute::ReadBeside(path),
        (None, _) => JiraRoute::Pass,
    }
}

fn stem(segment: &str) -> &str {
    segment.split(['.', ';']).next().unwrap_or_default().trim()
}

/// Whether what a router makes of a path can be guarded.
fn concerns(reading: &[String]) -> bool {
    let stems: Vec<&str> = reading.iter().map(|segment| stem(segment)).collect();
    matches!(
        &stems[..],
        ["rest", "api", _, "project", _]
            | ["rest", "api", _, "project", _, "archive" | "delete"]
            | ["rest", "api", _, "issue" | "bulk", ..]
            | ["rest", "servicedeskapi", "request", _, ..]
            | ["rest", "agile" | "software", _, "board", _, "issue", ..]
            | ["rest", "agile" | "software", _, "backlog", ..]
    )
}

/// What only Jira's own pages call.
fn is_of_the_pages(reading: &[String]) -> bool {
    let stems: Vec<&str> = reading.iter().map(|segment| stem(segment)).collect();
    matches!(
        &stems[..],
        ["rest", "greenhopper" | "internal" | "gira" | "quickedit" | "issuenav", ..] | ["gateway", "api", ..]
    ) || is_page(reading)
}

fn is_page(reading: &[String]) -> bool {
    let acts = |last: &String| last.split(';').next().unwrap_or_default().contains(".jspa");
    matches!(reading, [secure, .., last] if secure == "secure" && acts(last) && !is_sign_in(last))
}

fn is_sign_in(page: &str) -> bool {
    matches!(stem(page), "dashboard" | "logout" | "forgotlogindetails")
}

/// `None`: no call that is known.
fn route(method: &Method, segments: &[&str]) -> Option<JiraRoute> {
    let guarded = |site| Some(JiraRoute::Guarded(site));
    let pass = Some(JiraRoute::Pass);
    match (method.as_str(), segments) {
        ("POST", ["rest", "api", version, "issue"]) => guarded(JiraSite::Create(version_of(version)?)),
        (method, ["rest", "api", version, "issue", rest @ ..]) => {
            version_of(version)?;
            of_no_issue(method, rest).or_else(|| of_issue(method, version, rest))
        }
        ("POST", ["rest", "api", _, "bulk", "issues", "fields"]) => guarded(JiraSite::BulkFields),
        ("POST", ["rest", "api", _, "bulk", "issues", rest @ ..]) if !matches!(rest, ["watch" | "unwatch"]) => {
            guarded(JiraSite::Bulk)
        }
        ("DELETE", ["rest", "api", _, "project", project])
        | ("POST", ["rest", "api", _, "project", project, "archive" | "delete"])
        | ("PUT", ["rest", "api", _, "project", project, "archive"]) => {
            guarded(JiraSite::Project((*project).to_owned()))
        }
        ("POST", ["rest", "agile" | "software", _, "board", _, "issue"]) => guarded(JiraSite::Board),
        ("POST", ["rest", "agile" | "software", "1.0" | "latest", "backlog", "issue"]) => {
            guarded(JiraSite::Backlog(None))
        }
        ("POST", ["rest", "agile" | "software", "1.0" | "latest", "backlog", board, "issue"]) => {
            guarded(JiraSite::Backlog(Some(number(board)?)))
        }
        ("POST", ["rest", "servicedeskapi", "request", issue, "transition"]) => {
            guarded(JiraSite::RequestTransition(issue_name(issue)?))
        }
        ("POST", ["rest", "servicedeskapi", "request", issue, "approval", approval]) => {
            guarded(JiraSite::Approval(issue_name(issue)?, number(approval)?))
        }
        // What else becomes of a project, who watches or follows, and what is said: none of it is about who works on it.
        (_, ["rest", "api", _, "project", ..] | ["rest", "api", _, "bulk", "issues", "watch" | "unwatch"]) => pass,
        (_, ["rest", "servicedeskapi", "request", _, what, ..]) if BESIDE_A_REQUEST.contains(what) => pass,
        _ => None,
    }
}

/// Calls that name no issue in their path.
fn of_no_issue(method: &str, rest: &[&str]) -> Option<JiraRoute> {
    match (method, rest) {
        ("POST", ["bulk"]) => Some(JiraRoute::Guarded(JiraSite::CreateMany)),
        ("POST" | "PUT", ["archive"]) => Some(JiraRoute::Guarded(JiraSite::Bulk)),
        // They read, or write what no rule is about.
        ("POST", ["bulkfetch" | "watching" | "properties"] | ["properties", "multi"] | ["limit", "report"])
        | ("PUT" | "DELETE", ["properties", _])
        | ("PUT", ["unarchive"]) => Some(JiraRoute::Pass),
        _ => None,
    }
}

fn of_issue(method: &str, version: &str, rest: &[&str]) -> Option<JiraRoute> {
    let (issue, below) = rest.split_first()?;
    let path = issue_path(version, issue)?;
    let site = match (method, below) {
        ("PUT" | "DELETE", []) => JiraSite::Issue(path),
        ("PUT", ["assignee"]) => JiraSite::Assignee(path),
        ("POST", ["transitions"]) => JiraSite::Transitions(path),
        // Neither assignee nor status is theirs to change.
        (
            _,
            [
                "comment" | "worklog" | "watchers" | "votes" | "properties" | "remotelink" | "attachments" | "notify"
                | "subtask" | "pinned-comments",
                ..,
            ],
        ) => return Some(JiraRoute::Pass),
        _ => return None,
    };
    Some(JiraRoute::Guarded(site))
}

fn issue_path(version: &str, issue: &str) -> Option<IssuePath> {
    Some(IssuePath { version: version_of(version)?, issue: issue_name(issue)? })
}

fn version_of(text: &str) -> Option<&'static str> {
    VERSIONS.into_iter().find(|known| *known == text)
}

/// A number, or a key: `PROJ-7`, in any case of letters.
pub fn issue_name(text: &str) -> Option<String> {
    if number(text).is_some() {
        return Some(text.to_owned());
    }
    let (project, issue) = text.rsplit_once('-')?;
    number(issue)?;
    is_project_key(project).then(|| text.to_ascii_uppercase())
}

/// A letter, then letters, digits and `_`.
pub fn is_project_key(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && text.bytes().all(plain)
        && text.len() <= LONGEST_KEY
}

/// Written plainly.
fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number: &u64| *number > 0 && number.to_string() == text)
}

pub fn bent(why: &str) -> ParseError {
    ParseError::Ambiguous(format!("the path can be read in two ways: {why}; send it in its plain form"))
}

const BESIDE_A_REQUEST: [&str; 7] =
    ["comment", "attachment", "participant", "feedback", "notification", "subscribe", "sla"];
const VERSIONS: [&str; 3] = ["2", "3", "latest"];
const OVERRIDES: [HeaderName; 3] = [
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-method-override"),
];
/// Of a project.
const LONGEST_KEY: usize = 255;
/// Segments of a sub-path that the gate looks behind: `ex/jira/CLOUD-ID` has three.
const DEEPEST_SUB_PATH: usize = 3;
const BELOW_A_PATH: &str = "a guarded call stands below a sub-path: ask the gate without it, and if the tracker is served below \
    that path, put it into upstream.url, and the address with the path into upstream.public_url";
const OF_THE_PAGES: &str = "this is a call of Jira's own pages, which the gate does not read: use the REST API here, and the pages at \
    Jira's own address";

#[cfg(test)]
mod tests {
    use super::super::super::Target;
    use super::*;
    use http::HeaderMap;

    fn check(request: &str, expected: &str) {
        let (method, target) = request.split_once(' ').unwrap();
        let (method, target, headers) = (method.parse().unwrap(), Target::parse(target), HeaderMap::new());
        let shown = match classify(&Head { method: &method, target: &target, headers: &headers }) {
            JiraRoute::Pass => "pass".to_owned(),
            JiraRoute::Read(path) => format!("read {} {}", path.version, path.issue),
            JiraRoute::ReadBeside(path) => format!("beside {} {}", path.version, path.issue),
            JiraRoute::Guarded(JiraSite::Issue(path)) => format!("issue {} {}", path.version, path.issue),
            JiraRoute::Guarded(JiraSite::Assignee(path)) => format!("assignee {} {}", path.version, path.issue),
            JiraRoute::Guarded(JiraSite::Transitions(path)) => format!("transitions {} {}", path.version, path.issue),
            JiraRoute::Guarded(site) => format!("{site:?}"),
            JiraRoute::Refuse(error) => format!("refuse {}", error.code().as_str()),
        };
        assert_eq!(shown, expected, "{request}");
    }

    #[test]
    fn paths_are_matched_as_the_router_matches_them() {
        check("PUT /rest/api/3/issue/PROJ-7", "issue 3 PROJ-7");
        check("PUT /rest/api/2/issue/proj-7/", "issue 2 PROJ-7");
        check("DELETE /rest/api/latest/issue/10007", "issue latest 10007");
        check("PUT //rest/api/2//issue/A_B2-7/assignee", "assignee 2 A_B2-7");
        check("POST /rest/api/3/issue/10007/transitions?x=y", "transitions 3 10007");
        check("POST /rest/api/2/issue", "Create(\"2\")");
        check("POST /rest/api/2/issue/bulk", "CreateMany");
        check("POST /rest/api/3/bulk/issues/transition", "Bulk");
        check("POST /rest/api/3/bulk/issues/move", "Bulk");
        check("POST /rest/api/3/bulk/issues/fields", "BulkFields");
        check("PUT /rest/api/3/issue/archive", "Bulk");
        check("DELETE /rest/api/2/project/PROJ", "Project(\"PROJ\")");
        check("POST /rest/api/3/project/PROJ/delete", "Project(\"PROJ\")");
        check("POST /rest/agile/1.0/board/4/issue", "Board");
        check("POST /rest/agile/1.0/backlog/issue", "Backlog(None)");
        check("POST /rest/agile/1.0/backlog/4/issue", "Backlog(Some(4))");
        check("POST /rest/servicedeskapi/request/proj-7/transition", "RequestTransition(\"PROJ-7\")");
        check("POST /rest/servicedeskapi/request/7/approval/2", "Approval(\"7\", 2)");
        check("GET /rest/api/3/issue/PROJ-7?fields=status", "read 3 PROJ-7");
        check("GET /rest/api/2/issue/10007/transitions", "beside 2 10007");
        for request in [
            "GET /rest/api/2/issue/createmeta",
            "GET /rest/api/2/search?jql=x",
            "HEAD /rest/api/2/issue/PROJ-7",
            "GET /rest/api/2/issue/%50ROJ-7",
            "GET /secure/Dashboard.jspa",
            "POST /rest/api/2/issue/PROJ-7/comment",
            "PUT /rest/api/2/issue/PROJ-7/worklog/3",
            "POST /rest/api/2/issue/PROJ-7/attachments",
            "POST /rest/api/3/issue/bulkfetch",
            "PUT /rest/api/3/issue/unarchive",
            "POST /rest/api/3/search/jql",
            "POST /rest/api/2/search",
            "PUT /rest/api/2/project/PROJ",
            "POST /rest/api/2/project",
            "POST /rest/api/3/bulk/issues/watch",
            "PUT /rest/agile/1.0/issue/rank",
            "POST /rest/agile/1.0/sprint/3/issue",
            "POST /rest/agile/1.0/epic/3/issue",
            "POST /rest/auth/1/session",
            "POST /rest/servicedeskapi/request",
            "POST /rest/servicedeskapi/request/PROJ-7/comment",
            "POST /login.jsp",
            "POST /rest/api/2/issueLink",
        ] {
            check(request, "pass");
        }
    }

    #[test]
    fn what_is_not_known_where_issues_are_is_refused() {
        for request in [
            "PUT /rest/api/2/issue/%50ROJ-7",
            "PUT /rest/api/2/issue/PROJ-7%2fassignee",
            "PUT /rest/api/2/issue/PROJ-7;x=y/assignee",
            "PUT /rest/api/2/issue;x=y/PROJ-7/assignee",
            "PUT /rest/api/2/x/../issue/PROJ-7",
            "PUT /rest/api/2/Issue/PROJ-7",
            "PUT /REST/api/2/issue/PROJ-7",
            "PUT /rest/api/2/issue/PROJ-7.json",
            "PUT /rest/api/2/issue/PROJ-7/assignee.json",
            "PUT /rest/api/2.0.alpha1/issue/PROJ-7",
            "PUT /rest/api/1/issue/PROJ-7",
            "PUT /rest/api/2/issue/PROJ-07",
            "PUT /rest/api/2/issue/007",
            "PUT /rest/api/2/issue/PROJ-7/status",
            "POST /rest/api/2/issue/PROJ-7/assignee",
            "PATCH /rest/api/2/issue/PROJ-7",
            "POST /rest/api/2/issue/PROJ-7",
            "PUT /jira/rest/api/2/issue/PROJ-7",
            "PUT /ex/jira/abc/rest/api/3/issue/PROJ-7/assignee",
            "POST /rest/greenhopper/1.0/xboard/transition",
            "POST /rest/internal/2/issue/PROJ-7/assignee",
            "POST /gateway/api/graphql",
            "POST /secure/AssignIssue.jspa",
            "GET /secure/WorkflowUIDispatcher.jspa?id=7&action=4&atl_token=x",
            "PUT /rest/servicedeskapi/request/PROJ-7/x",
            "PUT /rest/agile/1.0/backlog/issue",
        ] {
            check(request, "refuse ambiguous_request");
        }
    }

    #[test]
    fn no_header_makes_it_another_method() {
        let (method, target, mut headers) =
            (Method::POST, Target::parse("/rest/api/2/issue/A-1/comment"), HeaderMap::new());
        let route = |headers: &HeaderMap| classify(&Head { method: &method, target: &target, headers });
        assert_eq!(route(&headers), JiraRoute::Pass);
        headers.insert("x-http-method-override", "PUT".parse().unwrap());
        assert!(matches!(route(&headers), JiraRoute::Refuse(_)));
    }
}
