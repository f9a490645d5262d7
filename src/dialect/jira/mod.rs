//! Jira Cloud, Server and Data Center (manual: jira).
//!
//! `routes` says which calls are guarded, `body` reads them, `call` puts together what they want; `write` writes requests, `read`
//! reads answers, `reply` writes answers, `list` finds issues.
//!
//! An issue's status is the model's label, of which it has exactly one; it is changed by transitions, and where one of
//! them leads only a read of the issue says. The id of an issue is its key, and stays when its `PROJ-7` becomes another.

mod ask;
mod body;
mod call;
mod credential;
mod deployment;
mod explain;
mod list;
mod read;
mod reply;
mod routes;
mod write;

use super::{
    Address, Assignable, CreateOnce, Credential, Dialect, Guarded, Head, ListedProject, Listing, ParseError,
    ReadOutcome, Route, Shows, SideEffects, Webhook, Whoami, WireRequest, WireResponse,
};
use crate::model::{
    Account, Change, ItemKind, Place, Project, Rejection, ResourceKey, SetChange, Snapshot, Tag, TagRef, TimelineEntry,
};
use deployment::{Deployment, LearntFacts};
use http::{HeaderMap, Method};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The dialect. What it learns of its Jira from answers decides how the gate's own requests are written.
#[derive(Debug, Default)]
pub struct Jira {
    facts: Arc<LearntFacts>,
}

/// The fields that a read of an issue asks for.
const ITEM: &str = "assignee,status,project,issuetype,creator";

/// What a request about an issue is written by.
struct IssueRoute<'a> {
    version: &'static str,
    issue: &'a str,
    with_transitions: bool,
}

/// An issue by its id or a key; read with its transitions where they say what is asked for.
fn address_of(version: &str, issue: &str, with_transitions: bool) -> Address {
    let route = format!("{version} {issue}{}", if with_transitions { TRANSITIONS } else { "" });
    // A key says in which project the issue is, or once was.
    let place = match issue.rsplit_once('-') {
        Some((project, _)) => Place::within(&Project::new(project), issue),
        None => Place::new(issue),
    };
    Address { place, kind: ItemKind::Issue, route: route.into() }
}

fn route_of(address: &Address) -> IssueRoute<'_> {
    let (version, rest) = address.route.split_once(' ').unwrap_or(("2", &address.route));
    let version = ["3", "latest"].into_iter().find(|known| *known == version).unwrap_or("2");
    let issue = rest.strip_suffix(TRANSITIONS).unwrap_or(rest);
    IssueRoute { version, issue, with_transitions: issue.len() < rest.len() }
}

const TRANSITIONS: &str = " transitions";

// === impl Jira ===

impl CreateOnce for Jira {}

impl SideEffects for Jira {}

impl Dialect for Jira {
    fn name(&self) -> &'static str {
        "jira"
    }

    fn classify(&self, head: &Head<'_>) -> Route {
        let read = |path: &routes::IssuePath, shows| {
            let address = Some(address_of(path.version, &path.issue, false));
            Route::Read { project: None, address, shows }
        };
        match routes::classify(head) {
            routes::JiraRoute::Pass => Route::Pass,
            routes::JiraRoute::Read(path) => read(&path, Shows::Item),
            routes::JiraRoute::ReadBeside(path) => read(&path, Shows::Beside),
            routes::JiraRoute::Guarded(site) => {
                Route::Guarded(Box::new(call::JiraCall { site, facts: Arc::clone(&self.facts) }))
            }
            routes::JiraRoute::Refuse(error) => Route::Refuse(error),
        }
    }

    fn address(&self, place: &Place) -> Option<Address> {
        routes::issue_name(place.as_str()).map(|name| address_of("2", &name, false))
    }

    fn address_of_key(&self, key: &ResourceKey) -> Option<Address> {
        Some(address_of("2", key.as_str(), false))
    }

    /// Security levels keep issues of a project from some who see others of it.
    fn shows_item_by_item(&self) -> bool {
        true
    }

    fn has_one_status(&self) -> bool {
        true
    }

    fn credential(&self, head: &Head<'_>, _body: &[u8]) -> Result<Credential, ParseError> {
        credential::read(head)
    }

    fn service(&self, token: &str) -> Credential {
        credential::service(token)
    }

    fn observe(&self, address: &Address, credential: &Credential) -> WireRequest {
        let route = route_of(address);
        let expand = if route.with_transitions { "&expand=transitions" } else { "" };
        ask::get(format!("/rest/api/{}/issue/{}?fields={ITEM}{expand}", route.version, route.issue), credential)
    }

    fn read(&self, address: &Address, response: &WireResponse) -> ReadOutcome {
        read::item(address, response, &self.facts)
    }

    fn ask_timeline(&self, address: &Address, credential: &Credential) -> WireRequest {
        let route = route_of(address);
        let target = format!("/rest/api/{}/issue/{}?fields={ITEM}&expand=changelog", route.version, route.issue);
        ask::get(target, credential)
    }

    fn timeline(&self, response: &WireResponse) -> Option<Vec<TimelineEntry>> {
        read::timeline(response)
    }

    /// Jira checks that before it writes anything.
    fn assignable(&self, _: &Address, _: &Account, _: &[WireResponse], _: &Credential) -> Assignable {
        Assignable::Unknown
    }

    fn reject(&self, rejection: &Rejection, decision: &str) -> WireResponse {
        reply::reject(rejection, decision)
    }

    fn whoami(&self, credential: &Credential) -> WireRequest {
        ask::get("/rest/api/2/myself".to_owned(), credential)
    }

    fn account(&self, response: &WireResponse) -> Whoami {
        read::account(response, &self.facts)
    }

    fn clear_assignees(&self, address: &Address) -> Guarded {
        let change = Change { assignees: Some(SetChange::Replace(BTreeSet::new())), ..Change::default() };
        Arc::new(write::JiraWrite::own(address, write::JiraWants::Change(change), &self.facts))
    }

    /// An issue has a status at all times: one is only ever set, by a transition that leads there.
    fn relabel(&self, address: &Address, change: SetChange<TagRef>) -> Option<Guarded> {
        match change {
            SetChange::Add(statuses) | SetChange::Replace(statuses) => {
                let wants = write::JiraWants::Status(statuses.into_iter().next()?);
                Some(Arc::new(write::JiraWrite::own(address, wants, &self.facts)))
            }
            SetChange::Remove(_) => None,
        }
    }

    fn relabel_otherwise(&self, _: &Address, _: &SetChange<TagRef>) -> Option<Guarded> {
        None
    }

    fn defines_labels(&self, head: &Head<'_>) -> bool {
        let changes = !matches!(*head.method, Method::GET | Method::HEAD | Method::OPTIONS);
        let is_about = |reading: &[String]| match reading {
            [rest, api, _, what, ..] if rest == "rest" && api == "api" => {
                ["statuses", "workflow", "workflows", "workflowscheme"].contains(&what.as_str())
            }
            _ => false,
        };
        changes && head.target.readings().any(is_about)
    }

    fn labels(&self, response: &WireResponse) -> Option<Vec<Tag>> {
        read::statuses(response)
    }

    fn list(&self, listing: Listing<'_>, page: usize, credential: &Credential) -> WireRequest {
        list::request(listing, page, credential, &self.facts)
    }

    fn repositories(&self, response: &WireResponse) -> Option<Vec<ListedProject>> {
        list::repositories(response)
    }

    fn items(&self, _: &Project, response: &WireResponse) -> Option<Vec<Snapshot>> {
        list::items(response, &self.facts)
    }

    fn webhook(&self, headers: &HeaderMap, body: &[u8]) -> Webhook {
        read::webhook(headers, body)
    }

    fn addresses(&self, _: &Project, response: &WireResponse) -> Option<Vec<(ResourceKey, Address)>> {
        let items = list::items(response, &self.facts)?;
        items.into_iter().map(|item| Some((item.key, self.address(&item.locator)?))).collect()
    }

    fn ask_version(&self) -> WireRequest {
        ask::get("/rest/api/2/serverInfo".to_owned(), &Credential::default())
    }

    fn version(&self, response: &WireResponse) -> Option<String> {
        read::version(response, &self.facts)
    }

    fn ask_account(&self, login: &str, credential: &Credential) -> WireRequest {
        let parameter = match self.facts.deployment() {
            Deployment::Cloud => "accountId",
            Deployment::Server => "username",
        };
        let name = form_urlencoded::byte_serialize(login.as_bytes()).collect::<String>();
        ask::get(format!("/rest/api/2/user?{parameter}={name}"), credential)
    }

    fn ask_link(&self, credential: &Credential) -> WireRequest {
        ask::get("/rest/api/2/serverInfo".to_owned(), credential)
    }

    fn link(&self, response: &WireResponse) -> Option<String> {
        let info: serde_json::Value = read::typed(response).ok()?;
        info.get("baseUrl")?.as_str().map(str::to_owned)
    }

    fn explain(&self, head: &Head<'_>, body: &[u8]) -> String {
        explain::explain(head, body, &self.facts)
    }
}
