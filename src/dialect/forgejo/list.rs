//! Lists, page by page (manual: forgejo, section 2).

use super::super::target::join;
use super::super::{Credential, ListedProject, Listing, WireRequest, WireResponse};
use super::emit::get;
use super::location;
use super::read::{lean, lean_object, snapshot};
use crate::model::{Project, Snapshot};
use form_urlencoded::Serializer;
use serde_json::{Map, Value};

/// A read of one page. The tracker may give fewer entries than are asked for.
pub fn request(listing: Listing<'_>, page: usize, credential: &Credential) -> WireRequest {
    let (path, filter): (String, &[(&str, &str)]) = match listing {
        Listing::Repositories => (join(&["api", "v1", "repos", "search"]), &[("sort", "id"), ("order", "asc")]),
        Listing::AllItems(project) => (location::below(project, &["issues"]), &[("state", "all")]),
        // Without a type these are issues and pull requests alike.
        Listing::OpenItems(project) => (location::below(project, &["issues"]), &[("state", "open")]),
        Listing::ClosedItems(project, label) => {
            (location::below(project, &["issues"]), &[("state", "closed"), ("labels", label)])
        }
        Listing::Labels(project) => (join(&["api", "v1", "repos", owner(project), name(project), "labels"]), &[]),
        Listing::SharedLabels(project) => (join(&["api", "v1", "orgs", owner(project), "labels"]), &[]),
    };
    let page = page.to_string();
    let pairs = filter.iter().copied().chain([("limit", PAGE), ("page", page.as_str())]);
    get(format!("{path}?{}", Serializer::new(String::new()).extend_pairs(pairs).finish()), credential)
}

/// One page of repositories.
pub fn repositories(response: &WireResponse) -> Option<Vec<ListedProject>> {
    let answer = response.status.is_success().then(|| lean_object(response).ok()).flatten()?;
    let listed = |repository: &Value| {
        let flag = |name: &str| repository.get(name).and_then(Value::as_bool);
        Some(ListedProject {
            project: project(repository.get("full_name")?.as_str()?)?,
            archived: flag("archived") == Some(true),
            issues: flag("has_issues") != Some(false),
            writable: repository.pointer("/permissions/push").and_then(Value::as_bool),
        })
    };
    answer.get("data")?.as_array()?.iter().map(listed).collect()
}

/// One page of items, each as strictly read as a single one.
pub fn items(project: &Project, response: &WireResponse) -> Option<Vec<Snapshot>> {
    let answer = response.status.is_success().then(|| lean(response).ok()).flatten()?;
    answer.as_array()?.iter().map(|value| value.as_object().and_then(|issue| item(project, issue))).collect()
}

fn item(project: &Project, issue: &Map<String, Value>) -> Option<Snapshot> {
    let (owner, repo) = location::halves(project)?;
    let number = issue.get("number")?.as_u64()?;
    let address = location::issue(owner, repo, number);
    snapshot(&address, issue).ok()
}

fn project(full_name: &str) -> Option<Project> {
    let (owner, repo) = full_name.split_once('/')?;
    Some(location::project(owner, repo))
}

fn owner(project: Option<&Project>) -> &str {
    project.and_then(location::halves).map_or("", |(owner, _)| owner)
}

fn name(project: Option<&Project>) -> &str {
    project.and_then(location::halves).map_or("", |(_, name)| name)
}

/// The most that the tracker gives by default.
const PAGE: &str = "50";

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, HeaderValue, StatusCode};

    fn response(status: u16, body: &str) -> WireResponse {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/json;charset=utf-8"));
        WireResponse { status: StatusCode::from_u16(status).unwrap(), headers, body: body.to_owned().into() }
    }

    #[test]
    fn requests() {
        let project = Project::new("O/r");
        for (listing, target) in [
            (Listing::Repositories, "/api/v1/repos/search?sort=id&order=asc&limit=50&page=2"),
            (Listing::OpenItems(&project), "/api/v1/repos/o/r/issues?state=open&limit=50&page=2"),
            (
                Listing::ClosedItems(&project, "in progress, now"),
                "/api/v1/repos/o/r/issues?state=closed&labels=in+progress%2C+now&limit=50&page=2",
            ),
            (Listing::Labels(Some(&project)), "/api/v1/repos/o/r/labels?limit=50&page=2"),
            (Listing::SharedLabels(Some(&project)), "/api/v1/orgs/o/labels?limit=50&page=2"),
        ] {
            let request = request(listing, 2, &Credential::service("t"));
            assert_eq!((request.method.as_str(), request.target.as_str()), ("GET", target));
            assert_eq!(request.headers["authorization"], "token t");
        }
    }

    #[test]
    fn answers() {
        let rows = r#"{"ok":true,"data":[{"full_name":"A/b"},
            {"full_name":"c/d","archived":true,"has_issues":false,"permissions":{"push":false}}]}"#;
        let (project, archived, issues, writable) = (Project::new("a/b"), false, true, None);
        let plain = ListedProject { project, archived, issues, writable };
        let (project, archived, issues, writable) = (Project::new("c/d"), true, false, Some(false));
        assert_eq!(
            repositories(&response(200, rows)).unwrap(),
            [plain, ListedProject { project, archived, issues, writable }]
        );
        assert!(repositories(&response(200, r#"{"ok":true,"data":[{}]}"#)).is_none());
        assert!(repositories(&response(401, r#"{"data":[]}"#)).is_none());
        let issue = r#"{"id":67,"number":7,"state":"open","assignees":null,"labels":[]}"#;
        let project = Project::new("o/r");
        let found = items(&project, &response(200, &format!("[{issue}]"))).unwrap();
        assert_eq!((found[0].locator.to_string(), found[0].key.as_str()), ("o/r#7".to_owned(), "67"));
        assert!(items(&project, &response(200, &format!("[{issue},{{}}]"))).is_none(), "never half a page");
        assert!(items(&project, &response(404, "[]")).is_none());
    }
}
