//! Which calls are guarded (manual: redmine, section 1).
//!
//! A path is matched as Redmine's router matches it: by its segments in their own case, with a suffix after one dot.
//! Whatever changes something below `/issues` is named here, or refused.

use super::super::{Head, ParseError, Target};
use super::fields::to_i;
use http::Method;

/// What a request is, by its head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteMatch {
    /// Not guarded.
    Pass,
    /// A read of one issue.
    Read {
        /// Its number.
        issue: u64,
        /// Whether the answer is the issue as JSON.
        is_json: bool,
    },
    /// Something is asked of the guard: its body says what.
    Guarded(CallSite, Option<String>),
    /// Not understood.
    Refuse(ParseError),
}

/// Where a call that may be guarded stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallSite {
    /// `/issues/7`: updated or deleted.
    Issue(u64),
    /// `/issues`, `/projects/demo/issues`: an issue is filed. Without a project in the path, several can be deleted.
    Issues {
        /// As the path names it.
        project: Option<String>,
    },
    /// `/issues/bulk_update`.
    Many,
    /// `/issues/7/relations`.
    Relations(u64),
    /// `/projects/demo`.
    Project(String),
}

pub fn classify(head: &Head<'_>) -> RouteMatch {
    let target = head.target;
    if matches!(*head.method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return read(head).unwrap_or(RouteMatch::Pass);
    }
    if !target.readings().any(concerns) {
        let is_below = target.readings().any(|reading| is_below_a_path(head.method, reading));
        return if is_below {
            RouteMatch::Refuse(ParseError::UnknownRoute(BELOW_A_PATH.to_owned()))
        } else {
            RouteMatch::Pass
        };
    }
    if let Some(why) = target.ambiguity() {
        return RouteMatch::Refuse(bent(why));
    }
    route(head.method, target)
}

/// The issue that a read names, and whether it is answered with the issue as JSON.
fn read(head: &Head<'_>) -> Option<RouteMatch> {
    let target = head.target;
    if *head.method != Method::GET || target.ambiguity().is_some() {
        return None;
    }
    let (segments, suffix) = split(target)?;
    let ["issues", id] = segments[..] else { return None };
    let (issue, _) = to_i(id)?;
    Some(RouteMatch::Read { issue, is_json: suffix == Some("json") })
}

/// Whether what a router makes of a path can be guarded.
fn concerns(reading: &[String]) -> bool {
    let stem = |at: usize| reading.get(at).map(|segment| segment.split('.').next().unwrap_or_default().trim());
    match (stem(0), stem(2)) {
        (Some("issues"), _) | (Some("projects"), Some("issues")) => true,
        (Some("projects"), None) => reading.len() == 2,
        _ => false,
    }
}

/// Whether it is a call about issues behind a path below which Redmine may be served.
fn is_below_a_path(method: &Method, reading: &[String]) -> bool {
    // These are Redmine's own, and speak of issues further on.
    if reading.first().is_some_and(|first| matches!(first.as_str(), "attachments" | "projects")) {
        return false;
    }
    let stem = |segment: &String| segment.split('.').next().unwrap_or_default().to_owned();
    (1..=DEEPEST_SUB_PATH).filter_map(|skip| reading.get(skip..)).any(|rest| match rest {
        [list] => stem(list) == "issues" && matches!(*method, Method::POST | Method::DELETE),
        [list, issue, ..] if list == "issues" => to_i(issue).is_some() || stem(issue) == "bulk_update",
        [projects, _, list] => projects == "projects" && stem(list) == "issues",
        _ => false,
    })
}

fn route(method: &Method, target: &Target) -> RouteMatch {
    let Some((segments, suffix)) = split(target) else { return RouteMatch::Refuse(bent("its last part has two dots")) };
    let guarded = |place| RouteMatch::Guarded(place, suffix.map(str::to_owned).or_else(|| format_of_query(target)));
    let number = |id: &str| match to_i(id) {
        Some((issue, _)) => Ok(issue),
        None => Err(RouteMatch::Refuse(bent("its number is not written plainly, as in /issues/7"))),
    };
    match segments[..] {
        ["issues"] => guarded(CallSite::Issues { project: None }),
        ["projects", project, "issues"] => guarded(CallSite::Issues { project: Some(project.to_owned()) }),
        ["issues", "bulk_update"] => guarded(CallSite::Many),
        // They draw a page, a form again or a menu, and save nothing.
        ["issues", "new" | "bulk_edit" | "preview" | "auto_complete" | "context_menu"]
        | ["projects", _, "issues", "new"]
        | ["issues", _, "edit"] => RouteMatch::Pass,
        // Who watches an issue, and what time it took: neither is about who works on it.
        ["issues", id, "watchers" | "time_entries"] | ["issues", id, "watchers", _] => {
            number(id).map_or_else(|refused| refused, |_| RouteMatch::Pass)
        }
        ["issues", id] => number(id).map_or_else(|refused| refused, |issue| guarded(CallSite::Issue(issue))),
        ["issues", id, "relations"] => {
            number(id).map_or_else(|refused| refused, |issue| guarded(CallSite::Relations(issue)))
        }
        // Its settings are nobody's work.
        ["projects", _] if matches!(*method, Method::PUT | Method::PATCH) => RouteMatch::Pass,
        ["projects", project] => guarded(CallSite::Project(project.to_owned())),
        _ => RouteMatch::Refuse(ParseError::UnknownRoute(format!(
            "{method} {} is not a call that the gate knows below issues: use one of Redmine's documented calls",
            target.path()
        ))),
    }
}

/// A query is as good as a suffix, where there is none, and wins over the body.
fn format_of_query(target: &Target) -> Option<String> {
    let pairs = target.pairs().ok()?;
    let mut formats = pairs.into_iter().filter(|(name, _)| name == "format").map(|(_, format)| format);
    formats.next().filter(|format| matches!(format.as_str(), "json" | "xml") && formats.next().is_none())
}

/// The segments, decoded, and the suffix of the last; `None`: there is more than one dot, which no route has.
fn split(target: &Target) -> Option<(Vec<&str>, Option<&str>)> {
    let mut segments: Vec<&str> = target.segments().iter().map(String::as_str).collect();
    let last = segments.last_mut()?;
    let (stem, suffix) = match last.split_once('.') {
        Some((stem, suffix)) => (stem, Some(suffix)),
        None => (*last, None),
    };
    if stem.is_empty() || suffix.is_some_and(|suffix| suffix.contains('.')) {
        return None;
    }
    *last = stem;
    Some((segments, suffix))
}

/// Segments of a sub-path that the gate looks behind.
const DEEPEST_SUB_PATH: usize = 3;
const BELOW_A_PATH: &str = "a guarded call stands below a sub-path: ask the gate without it, and if the tracker is served below \
    that path, set upstream.public_url to its address, path included";

pub fn bent(why: &str) -> ParseError {
    ParseError::Ambiguous(format!("the path can be read in two ways: {why}; send it in its plain form"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;

    fn check(request: &str, expected: &str) {
        let (method, target) = request.split_once(' ').unwrap();
        let (method, target, headers) = (method.parse().unwrap(), Target::parse(target), HeaderMap::new());
        let shown = match classify(&Head { method: &method, target: &target, headers: &headers }) {
            RouteMatch::Pass => "pass".to_owned(),
            RouteMatch::Read { issue, is_json } => format!("read {issue} {is_json}"),
            RouteMatch::Guarded(place, suffix) => format!("{place:?} {}", suffix.unwrap_or_default()),
            RouteMatch::Refuse(error) => format!("refuse {}", error.code().as_str()),
        };
        assert_eq!(shown.trim_end(), expected, "{request}");
    }

    #[test]
    fn paths_are_matched_as_the_router_matches_them() {
        for request in
            ["PUT /issues/7.json", "PATCH /issues/007abc.json", "POST //issues//+7.json", "DELETE /issues/%207.json/"]
        {
            check(request, "Issue(7) json");
        }
        check("PUT /issues/7", "Issue(7)");
        check("PUT /issues/7?format=xml", "Issue(7) xml");
        check("PUT /issues/7.html", "Issue(7) html");
        check("POST /issues.xml?key=x", "Issues { project: None } xml");
        check("POST /projects/demo/issues.json", "Issues { project: Some(\"demo\") } json");
        check("POST /issues/bulk_update?ids[]=7", "Many");
        check("POST /issues/7/relations.json", "Relations(7) json");
        check("DELETE /projects/demo.json", "Project(\"demo\") json");
        check("POST /projects/demo", "Project(\"demo\")");
        check("GET /issues/7.json?include=journals", "read 7 true");
        check("GET /issues/7", "read 7 false");
        for request in [
            "GET /issues.json",
            "GET /issues/x.json",
            "HEAD /issues/7.json",
            "GET /issues/%37.json",
            "PUT /projects/demo.json",
            "PUT /journals/7.json",
            "POST /uploads.json",
            "POST /issues/7/watchers.json",
            "DELETE /issues/7/watchers/5.json",
            "POST /issues/7/time_entries.json",
            "PATCH /issues/7/edit.js",
            "POST /issues/new.js",
            "DELETE /relations/5.json",
            "POST /issue_statuses",
            "POST /mail_handler",
            "POST /projects/demo/wiki/Issues",
            "POST /imports",
            "PATCH /attachments/issues/7",
            "DELETE /projects/demo/repository/main/revisions/abc/issues/7.json",
            "PUT /projects/demo/wiki/issues.json",
        ] {
            check(request, "pass");
        }
    }

    #[test]
    fn what_is_not_known_below_an_issue_is_refused() {
        for request in [
            "PUT /issues/%37.json",
            "PUT /issues/7%2Ejson",
            "PUT /issues/7%00.json",
            "PUT /issues/7%2f.json",
            "PUT /issues/7;x.json",
            "PUT /x/../issues/7.json",
            "PUT /%69ssues/7.json",
            "PUT /Issues/7.json",
            "PUT /issues/7.0.json",
            "PUT /issues/7.xml.json",
            "PUT /issues/x.json",
            "PUT /issues/0.json",
            "PUT /issues/7_0.json",
            "POST /issues/7/checklists.json",
            "PUT /issues/7/edit/x",
            "PUT /projects/demo/issues/7.json",
            "PUT /issues/7/.json",
            "PUT /redmine/issues/7.json",
            "POST /a/b/issues.json",
            "POST /redmine/projects/demo/issues.json",
        ] {
            check(request, "refuse ambiguous_request");
        }
    }
}
