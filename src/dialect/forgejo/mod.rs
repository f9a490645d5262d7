//! Forgejo 7 to 17 and Gitea from 1.15: one wire (manual: forgejo).
//!
//! `routes` says which calls are guarded, `parse` what they want, `credential` who sends them; `emit` writes requests,
//! `read` reads answers, `reply` writes answers, `web` is all that for the forms of the web interface, `closing` which
//! issues a text closes. Each cites the section that its facts come from.

mod assignable;
mod claims;
mod closing;
mod credential;
mod emit;
mod encoding;
mod explain;
mod list;
mod once;
pub(in crate::dialect) mod parse;
mod read;
mod reply;
pub(in crate::dialect) mod routes;
mod setup;
pub(in crate::dialect) mod side_effects;
mod timeline;
mod unknown;
pub(in crate::dialect) mod web;
mod webhook;

use super::{
    Address, Assignable, Bulk, BulkParsed, BulkRoute, Credential, Dialect, Head, Intent, ListedProject, Listing,
    ParseError, Parsed, ReadOutcome, Route, Webhook, Whoami, WireRequest, WireResponse, Write,
};
use crate::model::{
    Change, Label, LabelRef, Login, Project, Rejection, ResourceKey, SetChange, Snapshot, TimelineEntry,
};
use http::HeaderMap;

/// The dialect. It has no state.
pub struct Forgejo;

// === impl Forgejo ===

impl Dialect for Forgejo {
    fn name(&self) -> &'static str {
        "forgejo"
    }

    fn classify(&self, head: &Head<'_>) -> Route {
        routes::classify(head)
    }

    fn item_of(&self, head: &Head<'_>) -> Option<Address> {
        routes::item_of(head)
    }

    fn credential(&self, head: &Head<'_>, body: &[u8]) -> Result<Credential, ParseError> {
        credential::read(head, body)
    }

    fn parse(&self, write: &Write, head: &Head<'_>, body: &[u8]) -> Result<Parsed, ParseError> {
        parse::parse(write, head, body)
    }

    fn observe(&self, address: &Address, credential: &Credential) -> WireRequest {
        emit::observe(address, credential)
    }

    fn read(&self, address: &Address, response: &WireResponse) -> ReadOutcome {
        read::item(address, response)
    }

    fn emit(&self, intent: &Intent, head_headers: &HeaderMap, credential: &Credential) -> WireRequest {
        emit::emit(intent, head_headers, credential)
    }

    fn relocate(&self, intent: &Intent, address: &Address) -> Intent {
        emit::relocate(intent, address)
    }

    fn accept(&self, intent: &Intent, read: &WireResponse) -> WireResponse {
        reply::accept(intent, read)
    }

    fn represent(&self, intent: &Intent, credential: &Credential) -> Option<WireRequest> {
        emit::represent(intent, credential)
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
        login: &Login,
        answers: &[WireResponse],
        credential: &Credential,
    ) -> Assignable {
        assignable::next(address, login, answers, credential)
    }

    fn answers_alone(&self, intent: &Intent, head_headers: &HeaderMap) -> bool {
        reply::answers_alone(intent, head_headers)
    }

    fn reject(&self, rejection: &Rejection, decision: &str) -> WireResponse {
        reply::reject(rejection, decision)
    }

    fn created(&self, intent: &Intent, response: &WireResponse) -> Option<(Address, Option<Snapshot>)> {
        read::created(intent, response)
    }

    fn whoami(&self, credential: &Credential) -> WireRequest {
        emit::whoami(credential)
    }

    fn account(&self, response: &WireResponse) -> Whoami {
        read::account(response)
    }

    fn clear_assignees(&self, address: &Address) -> Intent {
        emit::clear_assignees(address)
    }

    fn relabel(&self, address: &Address, change: SetChange<LabelRef>) -> Intent {
        emit::relabel(address, change)
    }

    fn relabel_otherwise(&self, address: &Address, change: &SetChange<LabelRef>) -> Option<Intent> {
        emit::relabel_otherwise(address, change)
    }

    fn defines_labels(&self, head: &Head<'_>) -> bool {
        routes::defines_labels(head)
    }

    fn labels(&self, response: &WireResponse) -> Option<Vec<Label>> {
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
        webhook::read(headers, body)
    }

    fn parse_bulk(&self, route: &BulkRoute, head: &Head<'_>, body: &[u8]) -> Result<BulkParsed, ParseError> {
        web::parse(route, head, body)
    }

    fn changes(&self, bulk: &Bulk, seen: &[&Snapshot], user: Option<&Login>) -> Vec<Change> {
        web::changes(bulk, seen, user)
    }

    fn emit_bulk(&self, bulk: &Bulk, chosen: &[(ResourceKey, Change)], head_headers: &HeaderMap) -> WireRequest {
        web::emit(bulk, chosen, head_headers)
    }

    fn accept_bulk(&self, bulk: &Bulk) -> Option<WireResponse> {
        web::accept(bulk)
    }

    fn reject_bulk(&self, rejection: &Rejection, decision: &str, head_headers: &HeaderMap) -> WireResponse {
        reply::reject_form(rejection, decision, head_headers)
    }

    fn prove_reader(&self, bulk: &Bulk) -> Vec<WireRequest> {
        web::prove_reader(bulk)
    }

    fn addresses(&self, project: &Project, response: &WireResponse) -> Option<Vec<(ResourceKey, Address)>> {
        read::addresses(project, response)
    }

    fn find_user(&self, user: u64, credential: &Credential) -> WireRequest {
        emit::find_user(user, credential)
    }

    fn user(&self, user: u64, response: &WireResponse) -> Option<Login> {
        read::user_numbered(user, response)
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
        explain::explain(self, head, body)
    }
}
