//! Linear (manual: linear).
//!
//! All of its API is one path that takes GraphQL documents. `routes` finds that path, `call` reads its documents, `effects` says
//! what each of their fields does to issues, `draft` says it in the words of the model; `write` writes documents anew, with
//! `payload` for what needs no send and `own` for the gate's own; `ask` and `read` are the gate's own questions and their
//! answers, `list` finds issues, `reply` refuses.
//!
//! An issue's UUID is its key. Its identifier (`ENG-12`) changes with its team, and the old one goes on to lead to it.
//! Whoever is delegated to is at work on an issue, or else whoever is assigned.

mod ask;
mod call;
mod credential;
mod draft;
mod effects;
mod explain;
mod list;
mod own;
mod payload;
mod read;
mod reply;
mod routes;
#[cfg(test)]
mod tests;
mod write;

use super::{
    Address, Assignable, CreateOnce, Credential, Dialect, Guarded, Head, ListedProject, Listing, ParseError,
    ReadOutcome, Route, SideEffects, Webhook, Whoami, WireRequest, WireResponse,
};
use crate::model::{
    Account, Change, ItemKind, Place, Project, Rejection, ResourceKey, SetChange, Snapshot, Tag, TagRef, Time,
    TimelineEntry,
};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The dialect. It has no state.
pub struct Linear;

/// An issue by its id or its identifier.
fn address(text: &str) -> Option<Address> {
    let name = match () {
        () if read::is_uuid(text) => text.to_ascii_lowercase(),
        () if is_identifier(text) => text.to_ascii_uppercase(),
        () => return None,
    };
    Some(Address { place: Place::new(&name), kind: ItemKind::Issue, route: name.into() })
}

/// `ENG-12`, in any case.
fn is_identifier(text: &str) -> bool {
    let Some((team, number)) = text.rsplit_once('-') else { return false };
    let is_key = team.len() <= LONGEST_TEAM && team.starts_with(|first: char| first.is_ascii_alphabetic());
    let is_number = !number.starts_with('0') && number.len() <= LONGEST_NUMBER;
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    is_key && team.bytes().all(|byte| byte.is_ascii_alphanumeric()) && is_number && digits
}

const LONGEST_TEAM: usize = 20;
const LONGEST_NUMBER: usize = 9;

// === impl Linear ===

impl CreateOnce for Linear {}

impl SideEffects for Linear {}

impl Dialect for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn classify(&self, head: &Head<'_>) -> Route {
        match routes::classify(head) {
            routes::EndpointMatch::Other => Route::Pass,
            routes::EndpointMatch::Graphql => Route::Guarded(Box::new(call::GraphqlCall)),
            routes::EndpointMatch::Refuse(error) => Route::Refuse(error),
        }
    }

    fn may_identify(&self, header: &HeaderName) -> bool {
        *header == AUTHORIZATION
    }

    fn address(&self, place: &Place) -> Option<Address> {
        address(place.as_str())
    }

    fn address_of_key(&self, key: &ResourceKey) -> Option<Address> {
        address(key.as_str())
    }

    /// Private teams are some people's, and single issues can be shared.
    fn shows_item_by_item(&self) -> bool {
        true
    }

    fn credential(&self, head: &Head<'_>, _body: &[u8]) -> Result<Credential, ParseError> {
        credential::read(head)
    }

    fn service(&self, token: &str) -> Credential {
        credential::service(token)
    }

    fn observe(&self, address: &Address, credential: &Credential) -> WireRequest {
        ask::issue(&address.route, credential)
    }

    fn read(&self, address: &Address, response: &WireResponse) -> ReadOutcome {
        read::item(address, response)
    }

    fn written_at(&self, response: &WireResponse) -> Option<Time> {
        read::written_at(response)
    }

    fn ask_timeline(&self, _: &Address, credential: &Credential) -> WireRequest {
        ask::nothing(credential)
    }

    /// Its history names no change by a number that rises.
    fn timeline(&self, _: &WireResponse) -> Option<Vec<TimelineEntry>> {
        None
    }

    /// Linear checks that before it writes anything.
    fn assignable(&self, _: &Address, _: &Account, _: &[WireResponse], _: &Credential) -> Assignable {
        Assignable::Unknown
    }

    fn reject(&self, rejection: &Rejection, decision: &str) -> WireResponse {
        reply::reject(rejection, decision, None)
    }

    fn whoami(&self, credential: &Credential) -> WireRequest {
        ask::viewer(credential)
    }

    fn account(&self, response: &WireResponse) -> Whoami {
        read::account(response)
    }

    fn clear_assignees(&self, address: &Address) -> Guarded {
        let change = Change { assignees: Some(SetChange::Replace(BTreeSet::new())), ..Change::default() };
        Arc::new(write::IssueMutation::of_gate(address, change))
    }

    /// An issue has a state at all times: one is only ever set.
    fn relabel(&self, address: &Address, change: SetChange<TagRef>) -> Option<Guarded> {
        match change {
            SetChange::Add(_) | SetChange::Replace(_) => {
                let change = Change { labels: Some(change), ..Change::default() };
                Some(Arc::new(write::IssueMutation::of_gate(address, change)))
            }
            SetChange::Remove(_) => None,
        }
    }

    fn relabel_otherwise(&self, _: &Address, _: &SetChange<TagRef>) -> Option<Guarded> {
        None
    }

    /// Nothing in the head says so: what a state is called is known anew after half a minute.
    fn defines_labels(&self, _: &Head<'_>) -> bool {
        false
    }

    fn labels(&self, response: &WireResponse) -> Option<Vec<Tag>> {
        read::labels(response)
    }

    fn list(&self, listing: Listing<'_>, page: usize, credential: &Credential) -> WireRequest {
        list::request(listing, page, credential)
    }

    fn repositories(&self, response: &WireResponse) -> Option<Vec<ListedProject>> {
        list::teams(response)
    }

    fn items(&self, _: &Project, response: &WireResponse) -> Option<Vec<Snapshot>> {
        list::issues(response)
    }

    fn webhook(&self, headers: &HeaderMap, body: &[u8]) -> Webhook {
        read::webhook(headers, body)
    }

    fn addresses(&self, _: &Project, response: &WireResponse) -> Option<Vec<(ResourceKey, Address)>> {
        let items = list::issues(response)?;
        items.into_iter().map(|item| Some((item.key, self.address(&item.locator)?))).collect()
    }

    fn ask_version(&self) -> WireRequest {
        ask::nothing(&Credential::default())
    }

    /// A service has none.
    fn version(&self, _: &WireResponse) -> Option<String> {
        None
    }

    fn ask_account(&self, login: &str, credential: &Credential) -> WireRequest {
        ask::user_named(login, credential)
    }

    fn ask_link(&self, credential: &Credential) -> WireRequest {
        ask::nothing(credential)
    }

    /// Its links lead to its pages, not to its API.
    fn link(&self, _: &WireResponse) -> Option<String> {
        None
    }

    fn explain(&self, head: &Head<'_>, body: &[u8]) -> String {
        explain::explain(head, body)
    }
}
