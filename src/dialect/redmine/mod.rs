//! Redmine from 5.0 (manual: redmine).
//!
//! `routes` says which calls are guarded, `params` and `xml` read them, `fields` says what they want of an issue, `call` puts
//! that together; `write` writes requests, `read` reads answers, `reply` writes answers, `list` finds issues.
//!
//! An issue's status is the model's label, of which it has exactly one; an assignee is a number, be it a user's or a
//! group's. The number of an issue is its key, and stays when it moves to another project.

mod call;
mod credential;
mod explain;
mod fields;
mod list;
mod params;
mod read;
mod reply;
mod routes;
mod write;
mod xml;

use super::{
    Address, Assignable, CreateOnce, Credential, Dialect, Guarded, Head, ListedProject, Listing, ParseError,
    ReadOutcome, Route, Shows, SideEffects, Webhook, Whoami, WireRequest, WireResponse,
};
use crate::model::{
    Account, Change, ItemKind, Place, Project, Rejection, ResourceKey, SetChange, Snapshot, Tag, TagRef, TimelineEntry,
};
use http::{HeaderMap, Method};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The dialect. It has no state.
pub struct Redmine;

/// An issue by its number, in whichever project it is.
fn address(issue: u64) -> Address {
    Address { place: Place::new(&format!("#{issue}")), kind: ItemKind::Issue, route: issue.to_string().into() }
}

/// The number of a place.
fn number_of(place: &Place) -> Option<u64> {
    place.as_str().strip_prefix('#')?.parse().ok()
}

// === impl Redmine ===

impl CreateOnce for Redmine {}

impl SideEffects for Redmine {}

impl Dialect for Redmine {
    fn name(&self) -> &'static str {
        "redmine"
    }

    fn classify(&self, head: &Head<'_>) -> Route {
        match routes::classify(head) {
            routes::RouteMatch::Pass => Route::Pass,
            routes::RouteMatch::Read { issue, .. } => {
                Route::Read { project: None, address: Some(address(issue)), shows: Shows::Item }
            }
            routes::RouteMatch::Guarded(place, suffix) => Route::Guarded(Box::new(call::IssueCall { place, suffix })),
            routes::RouteMatch::Refuse(error) => Route::Refuse(error),
        }
    }

    fn address(&self, place: &Place) -> Option<Address> {
        number_of(place).map(address)
    }

    fn address_of_key(&self, key: &ResourceKey) -> Option<Address> {
        key.as_str().parse().ok().map(address)
    }

    /// Roles may see their own issues alone, and private ones are some people's.
    fn shows_item_by_item(&self) -> bool {
        true
    }

    fn has_global_labels(&self) -> bool {
        true
    }

    fn credential(&self, head: &Head<'_>, body: &[u8]) -> Result<Credential, ParseError> {
        credential::read(head, body)
    }

    fn service(&self, token: &str) -> Credential {
        credential::service(token)
    }

    fn observe(&self, address: &Address, credential: &Credential) -> WireRequest {
        list::get(format!("/issues/{}.json", address.route), credential)
    }

    fn read(&self, address: &Address, response: &WireResponse) -> ReadOutcome {
        read::item(address, response)
    }

    fn ask_timeline(&self, address: &Address, credential: &Credential) -> WireRequest {
        list::get(format!("/issues/{}.json?include=journals", address.route), credential)
    }

    fn timeline(&self, response: &WireResponse) -> Option<Vec<TimelineEntry>> {
        read::timeline(response)
    }

    /// Redmine checks that before it writes anything.
    fn assignable(&self, _: &Address, _: &Account, _: &[WireResponse], _: &Credential) -> Assignable {
        Assignable::Unknown
    }

    fn reject(&self, rejection: &Rejection, decision: &str) -> WireResponse {
        reply::reject(rejection, decision, params::AnswerFormat::Json)
    }

    fn whoami(&self, credential: &Credential) -> WireRequest {
        list::get("/users/current.json".to_owned(), credential)
    }

    fn account(&self, response: &WireResponse) -> Whoami {
        read::account(response)
    }

    fn clear_assignees(&self, address: &Address) -> Guarded {
        let change = Change { assignees: Some(SetChange::Replace(BTreeSet::new())), ..Change::default() };
        Arc::new(write::IssueWrite::of(address, change))
    }

    /// An issue has a status at all times: one is only ever set.
    fn relabel(&self, address: &Address, change: SetChange<TagRef>) -> Option<Guarded> {
        match change {
            SetChange::Add(_) | SetChange::Replace(_) => {
                let change = Change { labels: Some(change), ..Change::default() };
                Some(Arc::new(write::IssueWrite::of(address, change)))
            }
            SetChange::Remove(_) => None,
        }
    }

    fn relabel_otherwise(&self, _: &Address, _: &SetChange<TagRef>) -> Option<Guarded> {
        None
    }

    fn defines_labels(&self, head: &Head<'_>) -> bool {
        let changes = !matches!(*head.method, Method::GET | Method::HEAD | Method::OPTIONS);
        changes
            && head.target.readings().any(|reading| reading.first().is_some_and(|it| it.starts_with("issue_statuses")))
    }

    fn labels(&self, response: &WireResponse) -> Option<Vec<Tag>> {
        read::statuses(response)
    }

    fn list(&self, listing: Listing<'_>, page: usize, credential: &Credential) -> WireRequest {
        list::request(listing, page, credential)
    }

    fn repositories(&self, response: &WireResponse) -> Option<Vec<ListedProject>> {
        list::repositories(response)
    }

    fn items(&self, _: &Project, response: &WireResponse) -> Option<Vec<Snapshot>> {
        read::items(response)
    }

    /// Redmine sends none before 6.1.
    fn webhook(&self, _: &HeaderMap, _: &[u8]) -> Webhook {
        Webhook { signature: None, payload: None, item: None }
    }

    fn addresses(&self, _: &Project, response: &WireResponse) -> Option<Vec<(ResourceKey, Address)>> {
        let items = read::items(response)?;
        items.into_iter().map(|item| Some((item.key, self.address(&item.locator)?))).collect()
    }

    /// No call says the version: that it answers as Redmine does must be enough.
    fn ask_version(&self) -> WireRequest {
        list::get("/issue_statuses.json".to_owned(), &Credential::default())
    }

    fn version(&self, _: &WireResponse) -> Option<String> {
        None
    }

    /// A login is found by the list of users, which is for administrators.
    fn ask_account(&self, login: &str, credential: &Credential) -> WireRequest {
        let name = form_urlencoded::byte_serialize(login.as_bytes()).collect::<String>();
        list::get(format!("/users.json?limit=1&name={name}"), credential)
    }

    fn ask_link(&self, credential: &Credential) -> WireRequest {
        list::get("/issue_statuses.json".to_owned(), credential)
    }

    /// Redmine builds its links from the request's own host.
    fn link(&self, _: &WireResponse) -> Option<String> {
        None
    }

    fn explain(&self, head: &Head<'_>, body: &[u8]) -> String {
        explain::explain(head, body)
    }
}
