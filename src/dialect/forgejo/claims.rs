//! Finding work: the list of a repository's open issues (manual: forgejo, sections 1.2, 1.8 and 6).
//!
//! The list is read without `q`, so it comes from the database and not from the search index. Tag names that do not
//! exist are left out of the filter by the tracker, older versions do not sort, and a page may be shorter than was asked
//! for: so labels are compared again by the gate, the order is looked at, and the total says when the list ends.

use super::super::{
    Address, Credential, Filter, FindWork, Guarded, Head, ListOutcome, OpenItems, Order, Page, ParseError, WireRequest,
    WireResponse,
};
use super::api_write::ApiWrite;
use super::call::Call;
use super::path_names::plain_number;
use super::routes;
use super::write::WriteForm;
use super::{Forgejo, credential, emit, location, read};
use crate::model::{Account, Change, ItemKind, Project, SetChange, Snapshot};
use http::{HeaderMap, Method};
use serde_json::{Map, Value};
use std::sync::Arc;

// === impl FindWork ===

impl FindWork for Forgejo {
    fn repository(&self, text: &str) -> Result<Project, ParseError> {
        let (owner, repo) = text
            .split_once('/')
            .filter(|(owner, repo)| is_name(owner) && is_name(repo))
            .ok_or_else(|| refuse("a repository is named `owner/name`, each of letters, digits and any of - _ ."))?;
        Ok(location::project(owner, repo))
    }

    fn item(&self, text: &str) -> Result<Address, ParseError> {
        let odd = || refuse("an item is named `owner/name#7`");
        let (project, number) = text.rsplit_once('#').ok_or_else(odd)?;
        let number = plain_number(number).filter(|number| *number > 0).ok_or_else(odd)?;
        self.repository(project)?;
        let (owner, repo) = project.split_once('/').ok_or_else(odd)?;
        Ok(location::issue(owner, repo, number))
    }

    fn is_credential(&self, parameter: &str) -> bool {
        credential::is_parameter(parameter)
    }

    /// By the issue call, whatever the item is: the pull call of Gitea 1.15 only adds.
    fn assign(&self, address: &Address, login: &Account) -> Guarded {
        let change = Change { assignees: Some(SetChange::Replace([login.clone()].into())), ..Change::default() };
        Arc::new(ApiWrite::of(address, WriteForm::EditIssue, change))
    }

    fn show_kind(&self, project: &Project, kind: ItemKind, credential: &Credential) -> WireRequest {
        let (list, query) = match kind {
            ItemKind::Issue => ("issues", "type=issues&state=all&limit=1"),
            ItemKind::Pull => ("pulls", "state=all&limit=1"),
        };
        emit::get(format!("{}?{query}", location::below(project, &[list])), credential)
    }

    fn is_shown(&self, kind: ItemKind, response: &WireResponse) -> bool {
        // Who may read no issues is shown an empty list; who may read no pull requests, none.
        let rows = || read::json(response).ok()?.as_array().map(|rows| !rows.is_empty());
        kind == ItemKind::Pull || rows().unwrap_or(false)
    }

    fn list_open(&self, filter: &Filter, page: Page, credential: &Credential) -> WireRequest {
        let path = location::below(&filter.project, &["issues"]);
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("state", "open").append_pair("type", "issues").append_pair("sort", sort(filter.order));
        // A comma separates names, so one that has a comma cannot be asked for.
        let labels: Vec<&str> = filter.labels.iter().map(String::as_str).filter(|name| !name.contains(',')).collect();
        if !labels.is_empty() {
            query.append_pair("labels", &labels.join(","));
        }
        query.append_pair("limit", &page.size.to_string()).append_pair("page", &page.number.to_string());
        emit::get(format!("{path}?{}", query.finish()), credential)
    }

    fn open_items(&self, filter: &Filter, response: &WireResponse) -> ListOutcome {
        match response.status.as_u16() {
            200 => page(filter, response).map_or_else(ListOutcome::Unreadable, ListOutcome::Items),
            401 | 403 | 404 | 429 => ListOutcome::Denied,
            301 | 302 | 307 | 308 => match moved(&response.headers) {
                Some(project) => ListOutcome::Moved(project),
                None => ListOutcome::Unreadable("the tracker redirects to what is no repository here".to_owned()),
            },
            status => ListOutcome::Unreadable(format!("the tracker answered {status}")),
        }
    }
}

/// What the list calls its orders (Forgejo 10 and later; others ignore it).
fn sort(order: Order) -> &'static str {
    match order {
        Order::Oldest => "oldest",
        Order::Newest => "latest",
        Order::Updated => "recentupdate",
        Order::LeastUpdated => "leastupdate",
    }
}

fn page(filter: &Filter, response: &WireResponse) -> Result<OpenItems, String> {
    let Value::Array(rows) = read::lean(response)? else {
        return Err("the tracker's answer is not a list".to_owned());
    };
    let total = response.headers.get("x-total-count").and_then(|value| value.to_str().ok()?.parse().ok());
    let mut found: Vec<(String, Snapshot)> = rows.iter().filter_map(|row| listed(filter, row.as_object()?)).collect();
    let numbers = found.iter().map(|(_, item)| location::number(&item.locator));
    let reversed = filter.order == Order::Oldest && found.len() > 1 && numbers.is_sorted_by(|one, other| one > other);
    match filter.order {
        Order::Oldest if reversed => found.reverse(),
        Order::Oldest | Order::Newest => {}
        // Whole seconds of one offset: they compare as text, and equal ones stay as they came.
        Order::Updated => found.sort_by(|(one, _), (other, _)| other.cmp(one)),
        Order::LeastUpdated => found.sort_by(|(one, _), (other, _)| one.cmp(other)),
    }
    let items = found.into_iter().map(|(_, item)| item).collect();
    Ok(OpenItems { items, rows: rows.len(), total, reversed })
}

/// When it was changed last, and the issue.
fn listed(filter: &Filter, row: &Map<String, Value>) -> Option<(String, Snapshot)> {
    let number = read::number(row, "number").ok()?;
    let (owner, repo) = location::halves(&filter.project)?;
    let address = location::issue(owner, repo, number);
    let item = read::snapshot(&address, row).ok().filter(|_| !read::is_pull(row))?;
    let updated = row.get("updated_at").and_then(Value::as_str).unwrap_or_default().to_owned();
    Some((updated, item))
}

fn moved(headers: &HeaderMap) -> Option<Project> {
    let target = read::redirected(headers)?;
    let head = Head { method: &Method::GET, target: &target, headers: &HeaderMap::new() };
    match routes::classify(&head) {
        Call::Read { project, address: None, .. } => Some(project),
        _ => None,
    }
}

fn is_name(text: &str) -> bool {
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    plain && (1..=LONGEST_NAME).contains(&text.len()) && text != "." && text != ".."
}

fn refuse(text: &str) -> ParseError {
    ParseError::Ambiguous(text.to_owned())
}

/// Repository names have 100 letters at most, accounts fewer.
const LONGEST_NAME: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderValue, StatusCode};
    use serde_json::json;
    use std::collections::BTreeSet;

    fn filter(labels: &[&str], order: Order) -> Filter {
        let labels: BTreeSet<String> = labels.iter().map(|label| (*label).to_owned()).collect();
        Filter { project: Project::new("O/r"), labels, order }
    }

    fn answer(status: u16, header: (&'static str, &'static str), body: &Value) -> WireResponse {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/json;charset=utf-8"));
        headers.insert(header.0, HeaderValue::from_static(header.1));
        WireResponse { status: StatusCode::from_u16(status).unwrap(), headers, body: body.to_string().into() }
    }

    fn row(number: u64, updated: &str) -> Value {
        json!({
            "id": number + 60, "number": number, "state": "open", "assignee": null, "assignees": null, "labels": [],
            "updated_at": updated, "pull_request": null,
        })
    }

    #[test]
    fn asks_for_what_the_tracker_can_filter() {
        let check = |filter: &Filter, page, expected: &str| {
            let asked = Forgejo.list_open(filter, Page { number: page, size: 50 }, &Credential::service("t"));
            assert_eq!((asked.method, asked.target.as_str()), (Method::GET, expected));
            assert_eq!(asked.headers["authorization"], "token t");
        };
        let all = "/api/v1/repos/o/r/issues?state=open&type=issues&sort=oldest&limit=50&page=1";
        check(&filter(&[], Order::Oldest), 1, all);
        check(
            &filter(&["a b", "ü,x", "k/v&w"], Order::Updated),
            3,
            "/api/v1/repos/o/r/issues?state=open&type=issues&sort=recentupdate&labels=a+b%2Ck%2Fv%26w&limit=50&page=3",
        );
    }

    #[test]
    fn a_page_is_put_in_order() {
        let rows = [row(2, "2026-01-01T00:00:09Z"), row(3, "2026-01-01T00:00:07Z"), row(1, "2026-01-01T00:00:08Z")];
        for (order, at, numbers, reversed) in [
            (Order::Oldest, [2, 0, 1], [1, 2, 3], false),
            (Order::Oldest, [1, 0, 2], [1, 2, 3], true),
            // Sorted by when they were filed, which an import need not number alike.
            (Order::Oldest, [1, 2, 0], [3, 1, 2], false),
            (Order::Newest, [1, 0, 2], [3, 2, 1], false),
            (Order::Updated, [0, 2, 1], [2, 1, 3], false),
            (Order::Updated, [1, 2, 0], [2, 1, 3], false),
            (Order::LeastUpdated, [0, 2, 1], [3, 1, 2], false),
        ] {
            let body = Value::from(at.map(|at| rows[at].clone()).to_vec());
            let page = Forgejo.open_items(&filter(&[], order), &answer(200, ("x-total-count", "7"), &body));
            let ListOutcome::Items(page) = page else { panic!("{page:?}") };
            let found: Vec<u64> = page.items.iter().filter_map(|item| location::number(&item.locator)).collect();
            let told = (&found[..], page.reversed, page.rows, page.total);
            assert_eq!(told, (&numbers[..], reversed, 3, Some(7)), "{order:?} {at:?}");
        }
    }

    #[test]
    fn only_issues_that_can_be_read_are_listed() {
        let mut pull = row(4, "");
        pull["pull_request"] = json!({"merged": false});
        let mut odd = row(5, "");
        odd["assignees"] = json!("nobody");
        let body = json!([row(3, ""), pull, odd, 7]);
        let page = Forgejo.open_items(&filter(&[], Order::Oldest), &answer(200, ("x-x", "x"), &body));
        let ListOutcome::Items(page) = page else { panic!("{page:?}") };
        assert_eq!((page.items.len(), page.rows, page.total), (1, 4, None));
        assert_eq!(page.items[0].key.as_str(), "63");
    }

    #[test]
    fn other_answers() {
        let told = |status, location, body| {
            Forgejo.open_items(&filter(&[], Order::Oldest), &answer(status, ("location", location), &body))
        };
        for status in [401, 403, 404, 429] {
            assert_eq!(told(status, "/", json!({})), ListOutcome::Denied);
        }
        let new = "/api/v1/repos/new/name/issues?state=open&page=1";
        assert_eq!(told(301, new, json!({})), ListOutcome::Moved(Project::new("new/name")));
        for location in ["//evil/api/v1/repos/a/b/issues", "/api/v1/repos/a/b", "/login", "https://x/"] {
            assert!(matches!(told(307, location, json!({})), ListOutcome::Unreadable(_)), "{location}");
        }
        assert!(matches!(told(500, "/", json!([])), ListOutcome::Unreadable(_)));
        assert!(matches!(told(200, "/", json!({})), ListOutcome::Unreadable(_)));
    }

    #[test]
    fn names_are_the_trackers() {
        for (text, expected) in [
            ("O/r#7", Some("o/r#7")),
            ("o/.x#1", Some("o/.x#1")),
            ("o/r#0", None),
            ("o/r#07", None),
            ("o/r#", None),
            ("o/r", None),
            ("o#1", None),
            ("/r#1", None),
            ("o/..#1", None),
            ("o/r/x#1", None),
            ("o/r?x#1", None),
            ("o/r#9223372036854775808", None),
        ] {
            let found = Forgejo.item(text).map(|address| address.locator().to_string());
            assert_eq!(found.ok().as_deref(), expected, "{text}");
        }
    }
}
