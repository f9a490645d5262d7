//! GitHub: github.com, and its data residency (manual: github).
//!
//! `routes` says which calls of the REST API are guarded, `parse` what they want, `call` puts that together; `rest` is a call once
//! understood and `emit` writes requests, `read` reads answers, `reply` writes answers, `list` finds issues, `beside` is what
//! strikes items that a call does not name. `location` knows the two spellings of a path.
//!
//! `mutations` says what the fields of a GraphQL mutation do, `document` is one once understood, `node` asks what its ids are of.
//!
//! An item's key is the immutable id, which a pull request has, too.

mod beside;
mod call;
mod credential;
mod document;
mod emit;
mod explain;
mod list;
mod location;
mod mutations;
mod node;
mod parse;
mod read;
mod reply;
mod rest;
mod routes;
mod settings;
mod timeline;

pub use settings::RefusalStatus;

use super::{
    Address, Assignable, CreateOnce, Credential, Dialect, Glance, Guarded, Head, ListedProject, Listing, ParseError,
    PathAlias, ReadOutcome, Route, Webhook, Whoami, WireRequest, WireResponse, hub_webhook,
};
use crate::model::{
    Account, Place, Project, Rejection, ResourceKey, SetChange, Snapshot, Tag, TagRef, Time, TimelineEntry,
};
use http::{HeaderMap, HeaderName, Method};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The dialect.
#[derive(Default)]
pub struct GitHub {
    /// How refusals are told.
    pub refusal: RefusalStatus,
}

/// Where GitHub Enterprise Server has its API: clients that were told another host than api.github.com ask there.
const ALIASES: &[PathAlias] =
    &[PathAlias { from: "/api/graphql", to: "/graphql" }, PathAlias { from: "/api/v3", to: "" }];

// === impl GitHub ===

impl CreateOnce for GitHub {
    fn observe_pull(&self, pull: &Address, credential: &Credential) -> Option<WireRequest> {
        Some(emit::get(location::ItemPath::of(pull).below("pulls", &[]), credential))
    }

    fn list_pulls(&self, project: &Project, page: usize, credential: &Credential) -> Option<WireRequest> {
        Some(list::open_pulls(project, page, credential))
    }
}

impl Dialect for GitHub {
    fn name(&self) -> &'static str {
        "github"
    }

    fn aliases(&self) -> &'static [PathAlias] {
        ALIASES
    }

    fn classify(&self, head: &Head<'_>) -> Route {
        let refusal = self.refusal;
        match routes::classify(head) {
            routes::RestCall::Pass => Route::Pass,
            routes::RestCall::Read { project, address, shows } => {
                Route::Read { project: Some(project), address, shows }
            }
            routes::RestCall::Item(form, target) => Route::Guarded(Box::new(call::RestRoute { form, target, refusal })),
            routes::RestCall::Beside(form, repo) => {
                Route::Guarded(Box::new(beside::BesideRoute { form, repo, refusal }))
            }
            routes::RestCall::Document => Route::Guarded(Box::new(document::DocumentRoute {
                path: super::target::join(head.target.shadow_segments()),
            })),
            routes::RestCall::Refuse(error) => Route::Refuse(error),
        }
    }

    /// What is read of items has one of these in its path.
    fn glance(&self, path: &str) -> Glance {
        if path.contains("issues") || path.contains("pulls") { Glance::Read } else { Glance::Pass }
    }

    fn may_identify(&self, header: &HeaderName) -> bool {
        credential::may_identify(header)
    }

    fn makes_labels(&self) -> bool {
        true
    }

    fn credential(&self, head: &Head<'_>, _body: &[u8]) -> Result<Credential, ParseError> {
        credential::read(head)
    }

    fn service(&self, token: &str) -> Credential {
        Credential::service(token)
    }

    fn observe(&self, address: &Address, credential: &Credential) -> WireRequest {
        match node::id_of(address) {
            Some(id) => node::ask(id, credential),
            None => emit::get(location::ItemPath::of(address).below("issues", &[]), credential),
        }
    }

    fn read(&self, address: &Address, response: &WireResponse) -> ReadOutcome {
        if node::id_of(address).is_some() { node::item(response) } else { read::item(address, response) }
    }

    /// Whole seconds, in which several writes may fall.
    fn written_at(&self, response: &WireResponse) -> Option<Time> {
        read::written_at(response)
    }

    fn writes_share_times(&self) -> bool {
        true
    }

    fn ask_timeline(&self, address: &Address, credential: &Credential) -> WireRequest {
        timeline::ask(address, credential)
    }

    fn timeline(&self, response: &WireResponse) -> Option<Vec<TimelineEntry>> {
        timeline::entries(response)
    }

    /// GitHub refuses an edit that names somebody who may not be, as a whole.
    fn assignable(&self, _: &Address, _: &Account, _: &[WireResponse], _: &Credential) -> Assignable {
        Assignable::Unknown
    }

    fn address(&self, place: &Place) -> Option<Address> {
        location::of_place(place)
    }

    fn reject(&self, rejection: &Rejection, decision: &str) -> WireResponse {
        reply::reject(rejection, decision, self.refusal)
    }

    fn whoami(&self, credential: &Credential) -> WireRequest {
        emit::whoami(credential)
    }

    fn account(&self, response: &WireResponse) -> Whoami {
        read::account(response)
    }

    fn clear_assignees(&self, address: &Address) -> Guarded {
        Arc::new(rest::assign(address, BTreeSet::new()))
    }

    fn relabel(&self, address: &Address, change: SetChange<TagRef>) -> Option<Guarded> {
        Some(Arc::new(rest::relabel(address, change)))
    }

    /// A label has no other name than its own.
    fn relabel_otherwise(&self, _: &Address, _: &SetChange<TagRef>) -> Option<Guarded> {
        None
    }

    fn defines_labels(&self, head: &Head<'_>) -> bool {
        let changes = !matches!(*head.method, Method::GET | Method::HEAD | Method::OPTIONS);
        changes
            && head.target.readings().any(|reading| reading.iter().any(|part| part == "labels" || part == "graphql"))
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

    fn items(&self, _: &Project, response: &WireResponse) -> Option<Vec<Snapshot>> {
        read::items(response)
    }

    fn webhook(&self, headers: &HeaderMap, body: &[u8]) -> Webhook {
        // Of a form GitHub signs all of it, and not the payload in it.
        Webhook { payload: None, ..hub_webhook::read(headers, body) }
    }

    fn addresses(&self, _: &Project, response: &WireResponse) -> Option<Vec<(ResourceKey, Address)>> {
        list::addresses(response)
    }

    fn ask_version(&self) -> WireRequest {
        emit::get("/meta".to_owned(), &Credential::default())
    }

    /// GitHub Enterprise Server says it; github.com has none.
    fn version(&self, response: &WireResponse) -> Option<String> {
        read::object(response).ok()?.get("installed_version")?.as_str().map(str::to_owned)
    }

    fn ask_account(&self, login: &str, credential: &Credential) -> WireRequest {
        emit::get(super::target::join(&["users", login]), credential)
    }

    fn ask_link(&self, credential: &Credential) -> WireRequest {
        emit::get("/".to_owned(), credential)
    }

    /// Of the index of the API.
    fn link(&self, response: &WireResponse) -> Option<String> {
        read::object(response).ok()?.get("current_user_url")?.as_str()?.strip_suffix("user").map(str::to_owned)
    }

    fn explain(&self, head: &Head<'_>, body: &[u8]) -> String {
        explain::explain(head, body)
    }
}
