//! Lists and finding work (manual: linear).
//!
//! Linear's lists go by cursors, which nobody here keeps: a list is its first page, of 250 rows.

use super::super::{
    Address, Credential, Filter, FindWork, Guarded, ListOutcome, ListedProject, Listing, OpenItems, Order, Page,
    ParseError, WireRequest, WireResponse,
};
use super::read::{AnswerFailure, IssueNode, NodeList, TeamNode, data};
use super::write::IssueMutation;
use super::{Linear, address, ask};
use crate::model::{Account, Change, ItemKind, Project, SetChange, Snapshot};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

#[derive(Deserialize)]
struct IssuesAnswer {
    issues: NodeList<IssueNode>,
}

#[derive(Deserialize)]
struct TeamsAnswer {
    teams: NodeList<TeamNode>,
}

/// A read of one page.
pub fn request(listing: Listing<'_>, page: usize, credential: &Credential) -> WireRequest {
    if page > 1 {
        return ask::nothing(credential);
    }
    let of = |team: &Project, more: Value| {
        let mut filter = json!({ "team": { "key": { "eq": team_key(team) } } });
        if let (Some(filter), Value::Object(more)) = (filter.as_object_mut(), more) {
            filter.extend(more);
        }
        ask::issues(&filter, ("orderBy: createdAt", ask::MOST_ROWS), credential)
    };
    match listing {
        Listing::Repositories => ask::teams(credential),
        Listing::AllItems(team) => of(team, json!({})),
        Listing::OpenItems(team) => of(team, is_open()),
        Listing::ClosedItems(team, label) => {
            of(team, json!({ "state": { "type": { "in": CLOSED } }, "labels": { "name": { "eqIgnoreCase": label } } }))
        }
        Listing::Labels(team) => ask::labels(team.map(team_key).as_deref(), credential),
        Listing::SharedLabels(_) => ask::nothing(credential),
    }
}

fn is_open() -> Value {
    json!({ "state": { "type": { "nin": CLOSED } } })
}

/// A team's key as Linear has it, where the model knows no case.
fn team_key(team: &Project) -> String {
    team.as_str().to_ascii_uppercase()
}

/// The teams, which are the gate's projects.
pub fn teams(response: &WireResponse) -> Option<Vec<ListedProject>> {
    let listed = |row: TeamNode| ListedProject {
        project: Project::new(&row.key),
        archived: false,
        issues: true,
        writable: None,
    };
    match data::<TeamsAnswer>(response) {
        Ok(answer) => Some(answer.teams.nodes.into_iter().map(listed).collect()),
        Err(_) => is_nothing(response).then(Vec::new),
    }
}

/// The issues of a page, as strictly read as a single one.
pub fn issues(response: &WireResponse) -> Option<Vec<Snapshot>> {
    match data::<IssuesAnswer>(response) {
        Ok(answer) => answer.issues.nodes.iter().map(|row| row.snapshot().ok()).collect(),
        Err(_) => is_nothing(response).then(Vec::new),
    }
}

/// Of the pages after the first.
fn is_nothing(response: &WireResponse) -> bool {
    data::<Value>(response).is_ok_and(|data| data.get("__typename").is_some())
}

// === impl FindWork ===

impl FindWork for Linear {
    fn repository(&self, text: &str) -> Result<Project, ParseError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric();
        if text.is_empty() || text.len() > LONGEST_KEY || !text.bytes().all(plain) {
            return Err(ParseError::Ambiguous("a team is named by its key: ENG".to_owned()));
        }
        Ok(Project::new(&text.to_ascii_uppercase()))
    }

    fn item(&self, text: &str) -> Result<Address, ParseError> {
        let wrong = || ParseError::Ambiguous("an issue is named by its identifier or its id: ENG-12".to_owned());
        address(text).ok_or_else(wrong)
    }

    fn is_credential(&self, _: &str) -> bool {
        false
    }

    fn assign(&self, address: &Address, account: &Account) -> Guarded {
        let change = Change { assignees: Some(SetChange::Replace([account.clone()].into())), ..Change::default() };
        Arc::new(IssueMutation::of_gate(address, change))
    }

    fn show_kind(&self, project: &Project, _: ItemKind, credential: &Credential) -> WireRequest {
        let filter = json!({ "team": { "key": { "eq": team_key(project) } } });
        ask::issues(&filter, ("orderBy: createdAt", 1), credential)
    }

    fn is_shown(&self, kind: ItemKind, response: &WireResponse) -> bool {
        kind == ItemKind::Issue && issues(response).is_some_and(|issues| !issues.is_empty())
    }

    fn list_open(&self, filter: &Filter, page: Page, credential: &Credential) -> WireRequest {
        if page.number > 1 {
            return ask::nothing(credential);
        }
        let order = match filter.order {
            Order::Oldest => "sort: [{ createdAt: { order: Ascending } }]",
            Order::Newest => "sort: [{ createdAt: { order: Descending } }]",
            Order::Updated => "sort: [{ updatedAt: { order: Descending } }]",
            Order::LeastUpdated => "sort: [{ updatedAt: { order: Ascending } }]",
        };
        let mut asked = is_open();
        asked["team"] = json!({ "key": { "eq": team_key(&filter.project) } });
        ask::issues(&asked, (order, ask::MOST_ROWS), credential)
    }

    fn open_items(&self, _filter: &Filter, response: &WireResponse) -> ListOutcome {
        let items: Vec<Snapshot> = match data::<IssuesAnswer>(response) {
            Ok(answer) => answer.issues.nodes.iter().filter_map(|row| row.snapshot().ok()).collect(),
            Err(_) if is_nothing(response) => Vec::new(),
            Err(AnswerFailure::Denied) => return ListOutcome::Denied,
            Err(AnswerFailure::Unreadable(why)) => return ListOutcome::Unreadable(why),
        };
        let rows = items.len();
        ListOutcome::Items(OpenItems { items, rows, total: Some(rows), reversed: false })
    }
}

/// The types of states in which an issue is closed.
const CLOSED: [&str; 3] = ["completed", "canceled", "duplicate"];
const LONGEST_KEY: usize = 20;
