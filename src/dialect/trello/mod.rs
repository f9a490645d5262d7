//! Trello (manual: trello).
//!
//! `routes` says which calls are guarded, `params` reads their parameters, `fields` says what they want of a card, `call` puts
//! that together; `write` writes requests, `read` reads answers, `reply` writes answers, `list` finds cards.
//!
//! The list that a card stands in is the model's label, of which it has exactly one; its members are its assignees. Its id is
//! its key, and stays when it moves to another board; its short link is what people see of it.

mod call;
mod credential;
mod explain;
mod fields;
mod list;
mod params;
mod read;
mod reply;
mod request;
mod routes;
mod webhook;
mod write;

use super::{
    Address, Assignable, CreateOnce, Credential, Dialect, Guarded, Head, Listed, ListedProject, Listing, ParseError,
    ReadOutcome, Route, Shows, SideEffects, Webhook, WebhookScheme, Whoami, WireRequest, WireResponse,
};
use crate::model::{
    Account, Change, ItemKind, Place, Project, Rejection, ResourceKey, SetChange, Snapshot, Tag, TagId, TagRef,
    TimelineEntry,
};
use http::{HeaderMap, Method};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The dialect. It has no state.
pub struct Trello;

/// A card by one of its two names.
fn address(name: &str) -> Address {
    Address { place: Place::new(name), kind: ItemKind::Issue, route: name.into() }
}

/// The card that a path names: by its id, of 24 hexadecimal digits, or by its short link, of 8 letters whose case counts.
fn card(text: &str) -> Option<Address> {
    let is_short_link = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    fields::hex_id(text).or_else(|| is_short_link.then(|| text.to_owned())).map(|name| address(&name))
}

/// The same path without the token that some of Trello's paths have; `None`: it has none.
fn redacted_path(path: &str) -> Option<String> {
    let mut pieces: Vec<&str> = path.split('/').collect();
    let at = pieces.iter().position(|piece| ["token", "tokens"].iter().any(|name| piece.eq_ignore_ascii_case(name)))?;
    let token = pieces.iter_mut().skip(at + 1).find(|piece| !piece.is_empty())?;
    *token = "***";
    Some(pieces.join("/"))
}

// === impl Trello ===

impl CreateOnce for Trello {}

impl SideEffects for Trello {
    fn list_standing(&self, status: &TagId, page: usize, credential: &Credential) -> Option<WireRequest> {
        let TagId::Text(id) = status else { return None };
        let cards = if page <= 1 { "all" } else { "none" };
        Some(request::get(format!("/1/lists/{id}?fields=id&cards={cards}&card_fields=id"), credential))
    }

    fn standing(&self, response: &WireResponse) -> Option<Listed<ResourceKey>> {
        read::standing(response)
    }
}

impl Dialect for Trello {
    fn name(&self) -> &'static str {
        "trello"
    }

    fn classify(&self, head: &Head<'_>) -> Route {
        match routes::classify(head) {
            routes::RouteMatch::Pass => Route::Pass,
            routes::RouteMatch::Read { card, is_whole } => {
                let shows = if is_whole { Shows::Item } else { Shows::Beside };
                Route::Read { project: None, address: Some(card), shows }
            }
            routes::RouteMatch::Guarded(site) => Route::Guarded(Box::new(call::CardCall(site))),
            routes::RouteMatch::Refuse(error) => Route::Refuse(error),
        }
    }

    fn address(&self, place: &Place) -> Option<Address> {
        card(place.as_str())
    }

    fn address_of_key(&self, key: &ResourceKey) -> Option<Address> {
        card(key.as_str())
    }

    fn has_one_status(&self) -> bool {
        true
    }

    fn credential(&self, head: &Head<'_>, body: &[u8]) -> Result<Credential, ParseError> {
        credential::read(head, body)
    }

    fn service(&self, token: &str) -> Credential {
        credential::service(token)
    }

    fn observe(&self, address: &Address, credential: &Credential) -> WireRequest {
        request::get(list::card(&address.route), credential)
    }

    fn read(&self, address: &Address, response: &WireResponse) -> ReadOutcome {
        read::card(address, response)
    }

    fn ask_timeline(&self, address: &Address, credential: &Credential) -> WireRequest {
        let filter = "addMemberToCard,removeMemberFromCard,updateCard:idList,updateCard:closed";
        let fields = "type,data,date&memberCreator_fields=username&member_fields=username";
        request::get(
            format!("/1/cards/{}/actions?filter={filter}&limit=200&fields={fields}", address.route),
            credential,
        )
    }

    fn timeline(&self, response: &WireResponse) -> Option<Vec<TimelineEntry>> {
        read::timeline(response)
    }

    /// Trello checks that before it writes anything.
    fn assignable(&self, _: &Address, _: &Account, _: &[WireResponse], _: &Credential) -> Assignable {
        Assignable::Unknown
    }

    fn reject(&self, rejection: &Rejection, decision: &str) -> WireResponse {
        reply::reject(rejection, decision)
    }

    fn whoami(&self, credential: &Credential) -> WireRequest {
        request::get("/1/members/me?fields=id,username".to_owned(), credential)
    }

    fn account(&self, response: &WireResponse) -> Whoami {
        read::account(response)
    }

    fn clear_assignees(&self, address: &Address) -> Guarded {
        let change = Change { assignees: Some(SetChange::Replace(BTreeSet::new())), ..Change::default() };
        Arc::new(write::CardWrite::of(address, change))
    }

    /// A card stands in a list at all times: it is only ever put into one.
    fn relabel(&self, address: &Address, change: SetChange<TagRef>) -> Option<Guarded> {
        match change {
            SetChange::Add(_) | SetChange::Replace(_) => {
                let change = Change { labels: Some(change), ..Change::default() };
                Some(Arc::new(write::CardWrite::of(address, change)))
            }
            SetChange::Remove(_) => None,
        }
    }

    fn relabel_otherwise(&self, _: &Address, _: &SetChange<TagRef>) -> Option<Guarded> {
        None
    }

    /// Lists are made, renamed and put away by these; a new board has lists of its own.
    fn defines_labels(&self, head: &Head<'_>) -> bool {
        let changes = !matches!(*head.method, Method::GET | Method::HEAD | Method::OPTIONS);
        let is_about = |segment: &String| ["list", "lists", "board", "boards"].contains(&segment.as_str());
        changes && head.target.readings().any(|reading| reading.iter().any(is_about))
    }

    fn read_tag(&self, id: &TagId, credential: &Credential) -> Option<WireRequest> {
        let TagId::Text(id) = id else { return None };
        Some(request::get(format!("/1/lists/{id}?fields=name"), credential))
    }

    fn tag(&self, response: &WireResponse) -> Option<Tag> {
        read::list(response)
    }

    fn labels(&self, response: &WireResponse) -> Option<Vec<Tag>> {
        read::lists(response)
    }

    fn list(&self, listing: Listing<'_>, page: usize, credential: &Credential) -> WireRequest {
        list::request(listing, page, credential)
    }

    fn repositories(&self, response: &WireResponse) -> Option<Vec<ListedProject>> {
        list::repositories(response)
    }

    fn items(&self, _: &Project, response: &WireResponse) -> Option<Vec<Snapshot>> {
        list::items(response)
    }

    fn webhook_scheme(&self) -> WebhookScheme {
        WebhookScheme::Sha1WithAddress
    }

    fn webhook(&self, headers: &HeaderMap, body: &[u8]) -> Webhook {
        webhook::read(headers, body)
    }

    fn addresses(&self, _: &Project, response: &WireResponse) -> Option<Vec<(ResourceKey, Address)>> {
        let items = list::items(response)?;
        items.into_iter().map(|item| Some((item.key, self.address(&item.locator)?))).collect()
    }

    /// No call says the version: that it answers as Trello does must be enough.
    fn ask_version(&self) -> WireRequest {
        request::get("/1/members/me?fields=id".to_owned(), &Credential::default())
    }

    fn version(&self, _: &WireResponse) -> Option<String> {
        None
    }

    /// By the id or by the name.
    fn ask_account(&self, login: &str, credential: &Credential) -> WireRequest {
        let name = form_urlencoded::byte_serialize(login.as_bytes()).collect::<String>();
        request::get(format!("/1/members/{name}?fields=username"), credential)
    }

    fn ask_link(&self, credential: &Credential) -> WireRequest {
        request::get("/1/members/me?fields=id".to_owned(), credential)
    }

    /// Trello's links lead to its pages, for people.
    fn link(&self, _: &WireResponse) -> Option<String> {
        None
    }

    fn shown_path(&self, path: &str) -> Option<String> {
        redacted_path(path)
    }

    fn explain(&self, head: &Head<'_>, body: &[u8]) -> String {
        explain::explain(head, body)
    }
}
