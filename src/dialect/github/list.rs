//! Lists, page by page, and finding work (manual: github, section 4).
//!
//! They come from the database. GitHub's search does not: its index trails what was written, so it is never asked.

use super::super::target::join;
use super::super::{
    Address, Credential, Filter, FindWork, Guarded, ListOutcome, ListedProject, Listing, OpenItems, Order, Page,
    ParseError, WireRequest, WireResponse,
};
use super::location::{self, RepoPath, plain_number};
use super::{GitHub, emit, read, rest};
use crate::model::{Account, ItemKind, Project, ResourceKey};
use form_urlencoded::Serializer;
use serde::Deserialize;
use std::sync::Arc;

#[derive(Deserialize)]
struct RepositoryRow {
    full_name: String,
    #[serde(default)]
    archived: bool,
    has_issues: Option<bool>,
    permissions: Option<PermissionRow>,
}

#[derive(Deserialize)]
struct PermissionRow {
    push: Option<bool>,
}

/// A read of one page.
pub fn request(listing: Listing<'_>, page: usize, credential: &Credential) -> WireRequest {
    let (path, filter): (String, &[(&str, &str)]) = match listing {
        Listing::Repositories => (join(&["user", "repos"]), &[("sort", "created"), ("direction", "asc")]),
        Listing::AllItems(project) => (below(project, &["issues"]), &[("state", "all")]),
        Listing::OpenItems(project) => (below(project, &["issues"]), &[("state", "open")]),
        Listing::ClosedItems(project, label) => {
            (below(project, &["issues"]), &[("state", "closed"), ("labels", label)])
        }
        // An organisation has none of its own.
        Listing::Labels(project) | Listing::SharedLabels(project) => {
            (project.map_or_else(|| join(&["labels"]), |project| below(project, &["labels"])), &[])
        }
    };
    let page = page.to_string();
    let pairs = filter.iter().copied().chain([("per_page", MOST_ROWS), ("page", page.as_str())]);
    emit::get(format!("{path}?{}", Serializer::new(String::new()).extend_pairs(pairs).finish()), credential)
}

/// A read of one page of a repository's open pull requests, with their branches.
pub fn open_pulls(project: &Project, page: usize, credential: &Credential) -> WireRequest {
    emit::get(format!("{}?state=open&per_page={MOST_ROWS}&page={page}", below(project, &["pulls"])), credential)
}

/// One page of repositories. An installation's are listed otherwise, which its token says by refusing this.
pub fn repositories(response: &WireResponse) -> Option<Vec<ListedProject>> {
    let rows = read::typed::<Vec<RepositoryRow>>(response).ok().filter(|_| response.status.is_success())?;
    let listed = |row: RepositoryRow| ListedProject {
        project: Project::new(&row.full_name),
        archived: row.archived,
        issues: row.has_issues != Some(false),
        writable: row.permissions.and_then(|it| it.push),
    };
    Some(rows.into_iter().map(listed).collect())
}

/// Where the items of a page are.
pub fn addresses(response: &WireResponse) -> Option<Vec<(ResourceKey, Address)>> {
    let items = read::items(response)?;
    items.into_iter().map(|item| Some((item.key, location::of_place(&item.locator)?))).collect()
}

/// A path below the repository that the gate calls so.
pub(super) fn below(project: &Project, tail: &[&str]) -> String {
    match RepoPath::of(project) {
        Some(repo) => repo.below(tail),
        // No repository has such a name: GitHub says so.
        None => join(&[&["repos", project.as_str(), "-"], tail].concat()),
    }
}

// === impl FindWork ===

impl FindWork for GitHub {
    fn repository(&self, text: &str) -> Result<Project, ParseError> {
        let (owner, repo) = text.split_once('/').unwrap_or_default();
        if is_name(owner) && is_name(repo) {
            return Ok(Project::new(text));
        }
        Err(refuse("a repository is named `owner/name`, each of letters, digits and any of - _ ."))
    }

    fn item(&self, text: &str) -> Result<Address, ParseError> {
        let odd = || refuse("an item is named `owner/name#7`");
        let (project, number) = text.rsplit_once('#').ok_or_else(odd)?;
        let number = plain_number(number).ok_or_else(odd)?;
        let repo = RepoPath::of(&self.repository(project)?).ok_or_else(odd)?;
        Ok(repo.item(number, ItemKind::Issue))
    }

    fn is_credential(&self, _parameter: &str) -> bool {
        false
    }

    fn assign(&self, address: &Address, login: &Account) -> Guarded {
        Arc::new(rest::assign(address, [login.clone()].into()))
    }

    fn show_kind(&self, project: &Project, kind: ItemKind, credential: &Credential) -> WireRequest {
        let list = if kind == ItemKind::Pull { "pulls" } else { "issues" };
        emit::get(format!("{}?state=all&per_page=1", below(project, &[list])), credential)
    }

    /// Whose token may not read issues is answered 403 or 404, and no empty list.
    fn is_shown(&self, _kind: ItemKind, response: &WireResponse) -> bool {
        response.status.is_success()
    }

    fn list_open(&self, filter: &Filter, page: Page, credential: &Credential) -> WireRequest {
        let (sort, direction) = match filter.order {
            Order::Oldest => ("created", "asc"),
            Order::Newest => ("created", "desc"),
            Order::Updated => ("updated", "desc"),
            Order::LeastUpdated => ("updated", "asc"),
        };
        let mut query = Serializer::new(String::new());
        query.append_pair("state", "open").append_pair("sort", sort).append_pair("direction", direction);
        // A comma separates names, so one that has a comma cannot be asked for.
        let labels: Vec<&str> = filter.labels.iter().map(String::as_str).filter(|name| !name.contains(',')).collect();
        if !labels.is_empty() {
            query.append_pair("labels", &labels.join(","));
        }
        query.append_pair("per_page", &page.size.min(100).to_string()).append_pair("page", &page.number.to_string());
        emit::get(format!("{}?{}", below(&filter.project, &["issues"]), query.finish()), credential)
    }

    fn open_items(&self, _filter: &Filter, response: &WireResponse) -> ListOutcome {
        match response.status.as_u16() {
            200 => match read::typed::<Vec<read::ItemRow>>(response) {
                Ok(found) => {
                    let rows = found.len();
                    let issues = found.into_iter().filter(|row| row.pull_request.is_none());
                    let items = issues.filter_map(|row| row.snapshot().ok()).collect();
                    ListOutcome::Items(OpenItems { items, rows, total: None, reversed: false })
                }
                Err(why) => ListOutcome::Unreadable(why),
            },
            401 | 403 | 404 | 410 | 429 => ListOutcome::Denied,
            301 | 302 | 307 | 308 => match read::redirected(&response.headers) {
                Some((repo, _)) => ListOutcome::Moved(repo.project),
                None => ListOutcome::Unreadable("the tracker redirects to what is no repository here".to_owned()),
            },
            status => ListOutcome::Unreadable(format!("the tracker answered {status}")),
        }
    }
}

fn is_name(text: &str) -> bool {
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    plain && (1..=LONGEST_NAME).contains(&text.len()) && text != "." && text != ".."
}

fn refuse(text: &str) -> ParseError {
    ParseError::Ambiguous(text.to_owned())
}

/// The most that GitHub gives in a page.
const MOST_ROWS: &str = "100";
/// Of a repository; accounts have fewer.
const LONGEST_NAME: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn lists_are_asked_for_page_by_page() {
        let project = Project::new("O/r");
        let target = |listing| request(listing, 2, &Credential::default()).target;
        assert_eq!(target(Listing::OpenItems(&project)), "/repos/o/r/issues?state=open&per_page=100&page=2");
        assert_eq!(target(Listing::Labels(Some(&Project::new("id:5")))), "/repositories/5/labels?per_page=100&page=2");
        let labels: BTreeSet<String> = ["a b".to_owned(), "x,y".to_owned()].into();
        let filter = Filter { project, labels, order: Order::LeastUpdated };
        let asked = GitHub::default().list_open(&filter, Page { number: 3, size: 50 }, &Credential::default());
        let query = "state=open&sort=updated&direction=asc&labels=a+b&per_page=50&page=3";
        assert_eq!(asked.target, format!("/repos/o/r/issues?{query}"));
    }

    #[test]
    fn names_of_the_claims_api() {
        let github = GitHub::default();
        assert_eq!(github.item("Octo/shop#7").map(|address| address.place.to_string()), Ok("octo/shop#7".to_owned()));
        for odd in ["octo/shop", "octo#7", "octo/shop#07", "a/b/c#7", "id:5#7", "../x#7"] {
            assert!(github.item(odd).is_err(), "{odd}");
        }
    }
}
