//! Lists, and finding work (manual: jira, section 6).
//!
//! Cloud's search trails its writes and has no pages by number; the one of Server and Data Center has them. What a list shows
//! is looked at again, issue by issue, before anything is claimed.

use super::super::{
    Address, Credential, Filter, FindWork, Guarded, ListOutcome, ListedProject, Listing, OpenItems, Order, Page,
    ParseError, WireRequest, WireResponse,
};
use super::ask::get;
use super::body::refuse;
use super::deployment::{Deployment, LearntFacts};
use super::routes::{is_project_key, issue_name};
use super::write::{JiraWants, JiraWrite};
use super::{ITEM, Jira, address_of, credential, read};
use crate::model::{Account, Change, ItemKind, Project, SetChange, Snapshot};
use form_urlencoded::Serializer;
use serde::Deserialize;
use std::sync::Arc;

#[derive(Deserialize)]
pub(super) struct JiraPage {
    issues: Vec<read::JiraIssue>,
    /// Cloud counts nothing.
    total: Option<usize>,
}

/// The most that is asked for in a page.
const MOST_ROWS: usize = 100;

/// A read of one page.
pub fn request(listing: Listing<'_>, page: usize, credential: &Credential, facts: &LearntFacts) -> WireRequest {
    let rows = Page { number: page, size: MOST_ROWS };
    let of = |project: &Project, filter: &str| {
        search(&format!("{}{filter} ORDER BY created ASC", within(project)), rows, facts)
    };
    let target = match listing {
        Listing::Repositories => "/rest/api/2/project".to_owned(),
        Listing::AllItems(project) => of(project, ""),
        Listing::OpenItems(project) => of(project, " AND statusCategory != Done"),
        Listing::ClosedItems(project, status) => {
            of(project, &format!(" AND status = {}", quoted(read::jira_name(status))))
        }
        Listing::Labels(Some(project)) | Listing::SharedLabels(Some(project)) => {
            format!("/rest/api/2/project/{}/statuses", project.as_str().to_uppercase())
        }
        Listing::Labels(None) | Listing::SharedLabels(None) => "/rest/api/2/status".to_owned(),
    };
    get(target, credential)
}

/// All projects come at once.
pub fn repositories(response: &WireResponse) -> Option<Vec<ListedProject>> {
    let rows: Vec<read::JiraProject> = read::typed(response).ok().filter(|_| response.status.is_success())?;
    let listed = |row: read::JiraProject| ListedProject {
        project: Project::new(&row.key),
        archived: row.archived,
        issues: true,
        writable: None,
    };
    Some(rows.into_iter().map(listed).collect())
}

/// The issues of a page, as strictly read as a single one.
pub fn items(response: &WireResponse, facts: &LearntFacts) -> Option<Vec<Snapshot>> {
    let page = read::typed::<JiraPage>(response).ok().filter(|_| response.status.is_success())?;
    page.issues.iter().map(|issue| issue.snapshot(facts).ok()).collect()
}

fn within(project: &Project) -> String {
    format!("project = {}", quoted(&project.as_str().to_uppercase()))
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn search(jql: &str, page: Page, facts: &LearntFacts) -> String {
    let (size, offset) = (page.size.min(MOST_ROWS).to_string(), ((page.number.max(1) - 1) * page.size).to_string());
    let mut pairs = vec![("jql", jql), ("fields", ITEM), ("maxResults", &size)];
    let path = match facts.deployment() {
        Deployment::Cloud => "/rest/api/3/search/jql",
        Deployment::Server => {
            pairs.push(("startAt", &offset));
            "/rest/api/2/search"
        }
    };
    format!("{path}?{}", Serializer::new(String::new()).extend_pairs(pairs).finish())
}

// === impl FindWork ===

impl FindWork for Jira {
    fn repository(&self, text: &str) -> Result<Project, ParseError> {
        if is_project_key(text) { Ok(Project::new(text)) } else { Err(refuse("a project is named by its key: PROJ")) }
    }

    fn item(&self, text: &str) -> Result<Address, ParseError> {
        let name =
            issue_name(text).ok_or_else(|| refuse("an issue is named by its key, or by its id: PROJ-7, 10007"))?;
        Ok(address_of("2", &name, false))
    }

    fn is_credential(&self, parameter: &str) -> bool {
        credential::is_parameter(parameter)
    }

    fn assign(&self, address: &Address, account: &Account) -> Guarded {
        let change = Change { assignees: Some(SetChange::Replace([account.clone()].into())), ..Change::default() };
        Arc::new(JiraWrite::own(address, JiraWants::Change(change), &self.facts))
    }

    fn show_kind(&self, project: &Project, _kind: ItemKind, credential: &Credential) -> WireRequest {
        get(search(&within(project), Page { number: 1, size: 1 }, &self.facts), credential)
    }

    /// Who may see none is shown an empty list.
    fn is_shown(&self, kind: ItemKind, response: &WireResponse) -> bool {
        kind == ItemKind::Issue && items(response, &self.facts).is_some_and(|items| !items.is_empty())
    }

    /// Of those that nobody is assigned to.
    fn list_open(&self, filter: &Filter, page: Page, credential: &Credential) -> WireRequest {
        let order = match filter.order {
            Order::Oldest => "created ASC",
            Order::Newest => "created DESC",
            Order::Updated => "updated DESC",
            Order::LeastUpdated => "updated ASC",
        };
        let statuses: Vec<String> =
            filter.labels.iter().map(|status| format!(" AND status = {}", quoted(read::jira_name(status)))).collect();
        let jql = format!(
            "{} AND statusCategory != Done AND assignee IS EMPTY{} ORDER BY {order}",
            within(&filter.project),
            statuses.concat()
        );
        get(search(&jql, page, &self.facts), credential)
    }

    fn open_items(&self, _filter: &Filter, response: &WireResponse) -> ListOutcome {
        match response.status.as_u16() {
            200 => match read::typed::<JiraPage>(response) {
                Ok(page) => {
                    let rows = page.issues.len();
                    let items = page.issues.iter().filter_map(|issue| issue.snapshot(&self.facts).ok()).collect();
                    // Cloud's first page is all that is looked at.
                    let total = page.total.or(Some(rows));
                    ListOutcome::Items(OpenItems { items, rows, total, reversed: false })
                }
                Err(why) => ListOutcome::Unreadable(why),
            },
            // A project that is not there, or a status that it has not: 400.
            400 | 401 | 403 | 404 | 429 => ListOutcome::Denied,
            status => ListOutcome::Unreadable(format!("the tracker answered {status}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_deployment_is_searched_its_own_way() {
        let (jira, project) = (Jira::default(), Project::new("PROJ"));
        let filter = Filter { project, labels: BTreeSet::from(["To \"Do\"".to_owned()]), order: Order::Newest };
        let target = || jira.list_open(&filter, Page { number: 2, size: 50 }, &Credential::default()).target;
        let jql = "jql=project+%3D+%22PROJ%22+AND+statusCategory+%21%3D+Done+AND+assignee+IS+EMPTY+AND+status+%3D+%22To+%5C%22Do\
                   %5C%22%22+ORDER+BY+created+DESC";
        assert!(target().starts_with(&format!("/rest/api/2/search?{jql}&")), "{}", target());
        assert!(target().ends_with("maxResults=50&startAt=50"), "{}", target());
        jira.facts.learn(Deployment::Cloud);
        assert!(target().starts_with(&format!("/rest/api/3/search/jql?{jql}&")) && target().ends_with("maxResults=50"));
    }

    #[test]
    fn names_of_the_claims_api() {
        let jira = Jira::default();
        assert_eq!(jira.item("proj-7").map(|address| address.locator().to_string()), Ok("PROJ-7".to_owned()));
        assert_eq!(jira.item("10007").map(|address| address.locator().to_string()), Ok("10007".to_owned()));
        assert!(jira.item("PROJ").is_err() && jira.item("PROJ-07").is_err() && jira.item("").is_err());
        assert_eq!(jira.repository("PROJ").map(|project| project.to_string()), Ok("proj".to_owned()));
        assert!(jira.repository("a/b").is_err());
    }
}
