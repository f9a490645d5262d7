//! Forgejo 7 to 17 and Gitea from 1.15: one wire (manual: forgejo).
//!
//! `routes` says which calls are guarded, `parse` what they want, `credential` who sends them; `emit` writes requests,
//! `read` reads answers, `reply` writes answers, `web` is all that for the forms of the web interface, `closing` which
//! issues a text closes. Each cites the section that its facts come from.

mod api_request;
mod api_write;
mod assignable;
mod call;
mod claims;
mod closing;
mod credential;
mod emit;
mod encoding;
mod explain;
mod form_write;
mod guarded_routes;
mod list;
mod location;
mod once;
pub(in crate::dialect) mod parse;
mod path_names;
mod read;
mod reply;
pub(in crate::dialect) mod routes;
mod setup;
pub(in crate::dialect) mod side_effects;
mod side_route;
mod timeline;
mod unknown;
pub(in crate::dialect) mod web;
mod web_form;
mod write;

use super::{
    Address, Assignable, Credential, Dialect, Glance, Guarded, Head, ListedProject, Listing, ParseError, ReadOutcome,
    Route, Webhook, Whoami, WireRequest, WireResponse, hub_webhook,
};
use crate::model::{Account, Place, Project, Rejection, ResourceKey, SetChange, Snapshot, Tag, TagRef, TimelineEntry};
use http::{HeaderMap, HeaderName};
use std::sync::Arc;

/// The dialect. It has no state.
pub struct Forgejo;

// === impl Forgejo ===

impl Dialect for Forgejo {
    fn name(&self) -> &'static str {
        "forgejo"
    }

    fn classify(&self, head: &Head<'_>) -> Route {
        routes::classify(head).into_route()
    }

    fn glance(&self, path: &str) -> Glance {
        routes::glance(path)
    }

    fn may_identify(&self, header: &HeaderName) -> bool {
        credential::may_identify(header)
    }

    fn credential(&self, head: &Head<'_>, body: &[u8]) -> Result<Credential, ParseError> {
        credential::read(head, body)
    }

    fn address(&self, place: &Place) -> Option<Address> {
        location::of_place(place)
    }

    fn service(&self, token: &str) -> Credential {
        Credential::service(token)
    }

    fn observe(&self, address: &Address, credential: &Credential) -> WireRequest {
        emit::observe(address, credential)
    }

    fn read(&self, address: &Address, response: &WireResponse) -> ReadOutcome {
        read::item(address, response)
    }

    fn ask_timeline(&self, address: &Address, credential: &Credential) -> WireRequest {
        timeline::ask(address, credential)
    }

    fn timeline(&self, response: &WireResponse) -> Option<Vec<TimelineEntry>> {
        timeline::entries(response)
    }

    fn assignable(
        &self,
        address: &Address,
        login: &Account,
        answers: &[WireResponse],
        credential: &Credential,
    ) -> Assignable {
        assignable::next(address, login, answers, credential)
    }

    fn reject(&self, rejection: &Rejection, decision: &str) -> WireResponse {
        reply::reject(rejection, decision)
    }

    fn whoami(&self, credential: &Credential) -> WireRequest {
        emit::whoami(credential)
    }

    fn account(&self, response: &WireResponse) -> Whoami {
        read::account(response)
    }

    fn clear_assignees(&self, address: &Address) -> Guarded {
        Arc::new(emit::clear_assignees(address))
    }

    fn relabel(&self, address: &Address, change: SetChange<TagRef>) -> Option<Guarded> {
        Some(Arc::new(emit::relabel(address, change)))
    }

    fn relabel_otherwise(&self, address: &Address, change: &SetChange<TagRef>) -> Option<Guarded> {
        emit::relabel_otherwise(address, change).map(|write| Arc::new(write) as Guarded)
    }

    fn defines_labels(&self, head: &Head<'_>) -> bool {
        routes::defines_labels(head)
    }

    fn labels(&self, response: &WireResponse) -> Option<Vec<Tag>> {
        read::labels(response)
    }

    fn list(&self, listing: Listing<'_>, page: usize, credential: &Credential) -> WireRequest {
        list::request(listing, page, credential)
    }

    fn repositories(&self, response: &WireResponse) -> Option<Vec<ListedProject>> {
        list::repositories(response)
    }

    fn items(&self, project: &Project, response: &WireResponse) -> Option<Vec<Snapshot>> {
        list::items(project, response)
    }

    fn webhook(&self, headers: &HeaderMap, body: &[u8]) -> Webhook {
        hub_webhook::read(headers, body)
    }

    fn addresses(&self, project: &Project, response: &WireResponse) -> Option<Vec<(ResourceKey, Address)>> {
        read::addresses(project, response)
    }

    fn ask_version(&self) -> WireRequest {
        setup::ask_version(&Credential::default())
    }

    fn version(&self, response: &WireResponse) -> Option<String> {
        setup::version(response)
    }

    fn ask_account(&self, login: &str, credential: &Credential) -> WireRequest {
        setup::ask_account(login, credential)
    }

    fn ask_link(&self, credential: &Credential) -> WireRequest {
        setup::ask_link(credential)
    }

    fn link(&self, response: &WireResponse) -> Option<String> {
        setup::link(response)
    }

    fn explain(&self, head: &Head<'_>, body: &[u8]) -> String {
        explain::explain(head, body)
    }
}
