//! Lists, page by page, and finding work (manual: redmine, section 6).
//!
//! A list shows subprojects, too, unless it is told not to. Labels are statuses here, of which a list is filtered by number;
//! so those that a search names are compared by the gate.

use super::super::{
    Address, Credential, Filter, FindWork, Guarded, ListOutcome, ListedProject, Listing, OpenItems, Order, Page,
    ParseError, WireRequest, WireResponse,
};
use super::fields::to_i;
use super::params::refuse;
use super::write::IssueWrite;
use super::{Redmine, address, credential, read};
use crate::model::{Account, Change, ItemKind, Project, SetChange, Snapshot};
use bytes::Bytes;
use form_urlencoded::Serializer;
use http::header::{ACCEPT, ACCEPT_ENCODING};
use http::{HeaderMap, HeaderValue, Method};
use serde::Deserialize;
use std::sync::Arc;

#[derive(Deserialize)]
struct ProjectPage {
    projects: Vec<ProjectRow>,
}

#[derive(Deserialize)]
struct ProjectRow {
    id: u64,
    /// 1: it is active; 5: closed; 9: archived.
    status: Option<u64>,
}

/// The most that Redmine gives in a page.
const MOST_ROWS: usize = 100;

/// A read of one page. All statuses come at once, and the same ones on each page.
pub fn request(listing: Listing<'_>, page: usize, credential: &Credential) -> WireRequest {
    let offset = ((page.max(1) - 1) * MOST_ROWS).to_string();
    let window = [("offset", offset.as_str()), ("limit", "100")];
    let issues = |project: &Project, status: &str| {
        let filter = [("project_id", project.as_str()), ("status_id", status), ("sort", "id"), ("subproject_id", "!*")];
        query("/issues.json", filter.into_iter().chain(window))
    };
    let target = match listing {
        Listing::Repositories => query("/projects.json", window.into_iter()),
        Listing::AllItems(project) => issues(project, "*"),
        Listing::OpenItems(project) => issues(project, "open"),
        Listing::ClosedItems(project, _) => issues(project, "closed"),
        Listing::Labels(_) | Listing::SharedLabels(_) => "/issue_statuses.json".to_owned(),
    };
    get(target, credential)
}

/// One page of projects.
pub fn repositories(response: &WireResponse) -> Option<Vec<ListedProject>> {
    let page = read::typed::<ProjectPage>(response).ok().filter(|_| response.status.is_success())?;
    let listed = |row: ProjectRow| ListedProject {
        project: Project::new(&row.id.to_string()),
        archived: row.status.is_some_and(|status| status != 1),
        issues: true,
        writable: None,
    };
    Some(page.projects.into_iter().map(listed).collect())
}

/// A request of the gate's own.
pub(super) fn get(target: String, credential: &Credential) -> WireRequest {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    credential.apply(&mut headers);
    WireRequest { method: Method::GET, target, headers, body: Bytes::new() }
}

fn query<'a>(path: &str, pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    format!("{path}?{}", Serializer::new(String::new()).extend_pairs(pairs).finish())
}

// === impl FindWork ===

impl FindWork for Redmine {
    fn repository(&self, text: &str) -> Result<Project, ParseError> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
        if text.is_empty() || text.len() > LONGEST_IDENTIFIER || !text.bytes().all(plain) {
            return Err(refuse("a project is named by its number or its identifier: 1, or demo"));
        }
        Ok(Project::new(text))
    }

    fn item(&self, text: &str) -> Result<Address, ParseError> {
        let number = to_i(text.strip_prefix('#').unwrap_or(text)).filter(|(_, whole)| *whole);
        number.map(|(number, _)| address(number)).ok_or_else(|| refuse("an issue is named by its number: #7"))
    }

    fn is_credential(&self, parameter: &str) -> bool {
        parameter == credential::PARAMETER
    }

    fn assign(&self, address: &Address, account: &Account) -> Guarded {
        let change = Change { assignees: Some(SetChange::Replace([account.clone()].into())), ..Change::default() };
        Arc::new(IssueWrite::of(address, change))
    }

    fn show_kind(&self, project: &Project, _kind: ItemKind, credential: &Credential) -> WireRequest {
        let filter = [("project_id", project.as_str()), ("status_id", "*"), ("limit", "1")];
        get(query("/issues.json", filter.into_iter()), credential)
    }

    /// Who may see none is shown an empty list.
    fn is_shown(&self, kind: ItemKind, response: &WireResponse) -> bool {
        kind == ItemKind::Issue && read::items(response).is_some_and(|items| !items.is_empty())
    }

    fn list_open(&self, filter: &Filter, page: Page, credential: &Credential) -> WireRequest {
        let (size, offset) = (page.size.min(MOST_ROWS), (page.number.max(1) - 1) * page.size);
        let (limit, offset) = (size.to_string(), offset.to_string());
        let sort = match filter.order {
            Order::Oldest => "id",
            Order::Newest => "id:desc",
            Order::Updated => "updated_on:desc",
            Order::LeastUpdated => "updated_on",
        };
        let pairs = [
            ("project_id", filter.project.as_str()),
            ("subproject_id", "!*"),
            ("status_id", "open"),
            ("sort", sort),
            ("offset", &offset),
            ("limit", &limit),
        ];
        get(query("/issues.json", pairs.into_iter()), credential)
    }

    fn open_items(&self, _filter: &Filter, response: &WireResponse) -> ListOutcome {
        match response.status.as_u16() {
            200 => match read::typed::<read::IssuePage>(response) {
                Ok(page) => {
                    let rows = page.issues.len();
                    let items: Vec<Snapshot> = page.issues.iter().filter_map(|issue| issue.snapshot().ok()).collect();
                    ListOutcome::Items(OpenItems { items, rows, total: Some(page.total_count), reversed: false })
                }
                Err(why) => ListOutcome::Unreadable(why),
            },
            401 | 403 | 404 | 412 | 429 => ListOutcome::Denied,
            status => ListOutcome::Unreadable(format!("the tracker answered {status}")),
        }
    }
}

/// Of a project.
const LONGEST_IDENTIFIER: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn lists_are_asked_for_page_by_page() {
        let project = Project::new("1");
        let target = |listing, page| request(listing, page, &Credential::default()).target;
        assert_eq!(target(Listing::Repositories, 2), "/projects.json?offset=100&limit=100");
        assert_eq!(
            target(Listing::OpenItems(&project), 1),
            "/issues.json?project_id=1&status_id=open&sort=id&subproject_id=%21*&offset=0&limit=100"
        );
        let filter = Filter { project, labels: BTreeSet::new(), order: Order::Newest };
        let asked = Redmine.list_open(&filter, Page { number: 3, size: 50 }, &Credential::default());
        assert!(asked.target.ends_with("status_id=open&sort=id%3Adesc&offset=100&limit=50"), "{}", asked.target);
    }

    #[test]
    fn names_of_the_claims_api() {
        assert_eq!(Redmine.item("#7").map(|address| address.locator().to_string()), Ok("#7".to_owned()));
        assert_eq!(Redmine.item("7").map(|address| address.route.to_string()), Ok("7".to_owned()));
        assert!(Redmine.item("7abc").is_err() && Redmine.item("").is_err());
        assert_eq!(Redmine.repository("demo").map(|project| project.to_string()), Ok("demo".to_owned()));
        assert!(Redmine.repository("a/b").is_err());
    }
}
