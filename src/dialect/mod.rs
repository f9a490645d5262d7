//! Wire to model and back: one dialect a tracker, without I/O.
//!
//! A dialect says what a request means ([`Dialect::classify`], [`Dialect::parse`]), and writes every request and
//! answer of the gate's own. It decides nothing: whether a write may pass is `admission`'s, which never sees the wire.
//! What the tracker could read in two ways is refused here, and a guarded write is rebuilt from what was understood,
//! so that no byte of the original can mean something else upstream (manual: walk).

mod bulk;
mod claims;
mod credential;
mod forgejo;
mod form;
mod json;
mod multipart;
mod once;
mod side_effects;
mod target;
mod wire;

pub use bulk::{Bulk, BulkParsed, BulkRoute, Items, Sender, Wants};
pub use claims::{Filter, FindWork, ListOutcome, OpenItems, Order, Page};
pub use credential::Credential;
pub use once::{CLOSING_KEYWORDS, ClosingSyntax, CreateOnce, Creation, Listed};
pub use side_effects::{
    LabelEdit, LabelOwner, LabelState, ListedPulls, PullBranches, SideEffect, SideEffects, SideRoute, SideWrite,
};
pub use target::Target;
pub use wire::{WireRequest, WireResponse};

use crate::model::{
    Change, Code, ItemKind, Label, LabelRef, Locator, Login, Project, Rejection, ResourceKey, SetChange, Snapshot,
    TimelineEntry,
};
use forgejo::routes::WriteForm;
use http::{HeaderMap, Method};
use json::Member;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// A request before its body.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The method.
    pub method: &'a Method,
    /// The target, read once.
    pub target: &'a Target,
    /// As received.
    pub headers: &'a HeaderMap,
}

/// Where a request finds an item.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// The owner, in the caller's spelling but for letters that the tracker itself folds away.
    pub owner: String,
    /// The repository, likewise.
    pub repo: String,
    /// The number there.
    pub number: u64,
    /// Named as a pull request (an item may be named both ways).
    pub pull: bool,
}

/// What the head of a request says about it.
#[derive(Clone, Debug)]
pub enum Route {
    /// Not guarded: streams untouched.
    Pass,
    /// A read of one item, or (without an address) of the items of one repository: streams untouched, noted.
    Read {
        /// The repository.
        project: Project,
        /// The item.
        address: Option<Address>,
        /// What a 2xx answer shows.
        shows: Shows,
    },
    /// May change a guarded field: its body must be read.
    Write(Write),
    /// May change guarded fields of several items at once: its body must be read.
    Bulk(BulkRoute),
    /// A creation: guarded where a rule allows it only once, else it streams untouched. Where it is guarded, an error
    /// is a refusal.
    Once(Result<Write, ParseError>),
    /// Changes guarded state of items that it does not name: judged, and then streams as it came.
    SideEffect(SideRoute),
    /// Not understood, and therefore not sent.
    Refuse(ParseError),
}

/// What a 2xx answer to a read proves that the tracker shows to whoever asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    /// The item that the read names, whose kind the request does not say.
    Item,
    /// Items of this kind.
    Items(ItemKind),
    /// What lies beside items, or items of a kind that the tracker chose: nothing that can be told from the request.
    Beside,
}

/// A write that may change a guarded field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// What it is about.
    pub scope: Scope,
    pub(crate) form: WriteForm,
}

/// What a guarded write is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// An item that exists.
    Item(Address),
    /// A new one.
    Create(Project),
}

/// A write whose body was read.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "one a request, taken apart at once")]
pub enum Parsed {
    /// Touches no guarded field: goes on as it came.
    Unguarded,
    /// To be judged.
    Guarded(Intent),
}

/// A guarded write once understood: enough to judge it, and to write it anew.
#[derive(Clone)]
pub struct Intent {
    /// What it is about.
    pub scope: Scope,
    /// The guarded fields that it changes.
    pub change: Change,
    form: WriteForm,
    /// The members of the body that are not guarded, verbatim.
    rest: Vec<Member>,
}

/// Why a request is not sent at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParseError {
    /// It can be read in two ways; the text is one sentence that says how.
    Ambiguous(String),
    /// A mutating call near guarded items that this dialect does not know.
    UnknownRoute(String),
    /// The body is larger than the gate reads.
    TooLarge,
    /// The body is in a form that the gate does not read; the text says what to send.
    UnsupportedEncoding(String),
}

/// The tracker's answer to "who am I".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whoami {
    /// This account.
    Account(Login),
    /// 403: the credential may not ask.
    Forbidden,
    /// 403 for want of a scope: the tracker has checked the token and knows whose it is, but may not tell.
    OutOfScope,
    /// 401, 404 or 429: the tracker's own answer goes back.
    Refused,
    /// No answer that can be used, and why.
    Unreadable(String),
}

/// What one read of an item showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadOutcome {
    /// The item.
    Item(Snapshot),
    /// 401, 403, 404 or 429: goes back unchanged.
    Denied,
    /// The item is elsewhere on the same tracker.
    Moved(Address),
    /// No answer that can be used, and why.
    Unreadable(String),
}

/// Whether an account may be assigned: what to ask next, or what the answers so far say.
#[derive(Clone, Debug)]
pub enum Assignable {
    /// This is to be read; its answer is the next one.
    Ask(WireRequest),
    /// It may, or may not.
    Told(bool),
    /// The tracker does not say.
    Unknown,
}

/// What a webhook says, before its signature is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// HMAC-SHA256 of the payload, or of the body where the body is the payload.
    pub signature: Option<Vec<u8>>,
    /// The payload, where the body is a form that carries it.
    pub payload: Option<Vec<u8>>,
    /// The item that it speaks of.
    pub item: Option<Locator>,
}

/// A list that the tracker answers page by page.
#[derive(Clone, Copy, Debug)]
pub enum Listing<'a> {
    /// Every repository that the credential sees.
    Repositories,
    /// All issues and pull requests of a repository, open or closed.
    AllItems(&'a Project),
    /// The open issues and pull requests of a repository.
    OpenItems(&'a Project),
    /// Its closed ones with this label, and perhaps others.
    ClosedItems(&'a Project, &'a str),
    /// Its own labels.
    Labels(&'a Project),
    /// The labels that it shares with others of its owner; the tracker may know of none by saying 404.
    SharedLabels(&'a Project),
}

/// A repository in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedProject {
    /// Which.
    pub project: Project,
    /// Nobody can write to it.
    pub archived: bool,
    /// It has issues; one without may still have pull requests.
    pub issues: bool,
    /// Whether the credential's account may write to it, where the tracker says so.
    pub writable: Option<bool>,
}

/// One tracker's wire.
pub trait Dialect: CreateOnce + FindWork + SideEffects + Send + Sync + 'static {
    /// Its name in the configuration.
    fn name(&self) -> &'static str;

    /// What the head alone says.
    fn classify(&self, head: &Head<'_>) -> Route;

    /// The item whose own representation a read of this head answers with; none for a list and for what lies below an
    /// item. What [`read`](Dialect::read) makes of such an answer has the right guarded fields, but perhaps another key.
    fn item_of(&self, head: &Head<'_>) -> Option<Address>;

    /// The credential as the tracker would see it: tokens and `sudo` in query and form body are turned into headers;
    /// doubled ones are refused. `body` may be empty for a request that is not guarded.
    fn credential(&self, head: &Head<'_>, body: &[u8]) -> Result<Credential, ParseError>;

    /// What the write wants.
    fn parse(&self, write: &Write, head: &Head<'_>, body: &[u8]) -> Result<Parsed, ParseError>;

    /// A read of the item.
    fn observe(&self, address: &Address, credential: &Credential) -> WireRequest;

    /// What that read showed.
    fn read(&self, address: &Address, response: &WireResponse) -> ReadOutcome;

    /// The write, written anew. Of the client's headers only those survive that cannot change what it means.
    fn emit(&self, intent: &Intent, head_headers: &HeaderMap, credential: &Credential) -> WireRequest;

    /// The same intent at the item's new place, after a followed redirect.
    fn relocate(&self, intent: &Intent, address: &Address) -> Intent;

    /// The success answer of a no-op, or of a write that landed although the tracker answered 5xx, made from a read of
    /// the item.
    fn accept(&self, intent: &Intent, read: &WireResponse) -> WireResponse;

    /// The read that [`accept`](Dialect::accept) makes its answer from where a read of the item is not what this call
    /// shows.
    fn represent(&self, intent: &Intent, credential: &Credential) -> Option<WireRequest>;

    /// A read of what the tracker remembers of the item's edits.
    fn ask_timeline(&self, address: &Address, credential: &Credential) -> WireRequest;

    /// What that read showed; `None` where the tracker has no such memory, or its answer cannot be used.
    fn timeline(&self, response: &WireResponse) -> Option<Vec<TimelineEntry>>;

    /// Whether this account may be assigned there, from the answers to what was asked for so far, in their order.
    fn assignable(
        &self,
        address: &Address,
        login: &Login,
        answers: &[WireResponse],
        credential: &Credential,
    ) -> Assignable;

    /// Whether only the tracker can answer the request as it would, since its versions answer in different ways.
    fn answers_alone(&self, intent: &Intent, head_headers: &HeaderMap) -> bool;

    /// A refusal, in the tracker's own error shape. `decision` names it in the log.
    fn reject(&self, rejection: &Rejection, decision: &str) -> WireResponse;

    /// The item that a creation made, from its 2xx answer; without a snapshot where the answer does not carry the
    /// item's key and it must be observed first.
    fn created(&self, intent: &Intent, response: &WireResponse) -> Option<(Address, Option<Snapshot>)>;

    /// The request that asks who the credential is.
    fn whoami(&self, credential: &Credential) -> WireRequest;

    /// Its answer.
    fn account(&self, response: &WireResponse) -> Whoami;

    /// A write that leaves nobody assigned (an operator's release).
    fn clear_assignees(&self, address: &Address) -> Intent;

    /// A write that adds or removes labels; removals one at a time, by id.
    fn relabel(&self, address: &Address, change: SetChange<LabelRef>) -> Intent;

    /// The same removal for a tracker that took the first for something else: nothing in it can be another label's name.
    fn relabel_otherwise(&self, address: &Address, change: &SetChange<LabelRef>) -> Option<Intent>;

    /// Whether a request that passes may change what labels there are, or what they are called.
    fn defines_labels(&self, head: &Head<'_>) -> bool;

    /// What a page of labels showed; `None` where it cannot be used.
    fn labels(&self, response: &WireResponse) -> Option<Vec<Label>>;

    /// A read of one page of a list; pages begin with 1. A page beyond the last is empty.
    fn list(&self, listing: Listing<'_>, page: usize, credential: &Credential) -> WireRequest;

    /// What a page of repositories showed; `None` where it cannot be used.
    fn repositories(&self, response: &WireResponse) -> Option<Vec<ListedProject>>;

    /// What a page of items showed; `None` where it cannot be used.
    fn items(&self, project: &Project, response: &WireResponse) -> Option<Vec<Snapshot>>;

    /// What a webhook's payload says.
    fn webhook(&self, headers: &HeaderMap, body: &[u8]) -> Webhook;

    /// What a form that names several items wants, and who sends it.
    fn parse_bulk(&self, route: &BulkRoute, head: &Head<'_>, body: &[u8]) -> Result<BulkParsed, ParseError>;

    /// The change of each item, spelled out from reads of all of them, in their order. `user` is the name of the user
    /// whom the form gives by number.
    fn changes(&self, bulk: &Bulk, seen: &[&Snapshot], user: Option<&Login>) -> Vec<Change>;

    /// The form, written anew: only these items are named, and the change is spelled out where the form can say it.
    fn emit_bulk(&self, bulk: &Bulk, chosen: &[(ResourceKey, Change)], head_headers: &HeaderMap) -> WireRequest;

    /// The success answer where none of the items needed a write; `None` where the form must be sent for its own sake.
    fn accept_bulk(&self, bulk: &Bulk) -> Option<WireResponse>;

    /// A refusal of a form, for a script or for a person.
    fn reject_bulk(&self, rejection: &Rejection, decision: &str, head_headers: &HeaderMap) -> WireResponse;

    /// Requests that all get a 2xx if the sender is signed in, and a reader of where the form stands.
    fn prove_reader(&self, bulk: &Bulk) -> Vec<WireRequest>;

    /// Where the items of a page are; `None` where it cannot be used.
    fn addresses(&self, project: &Project, response: &WireResponse) -> Option<Vec<(ResourceKey, Address)>>;

    /// A read of the user with this number.
    fn find_user(&self, user: u64, credential: &Credential) -> WireRequest;

    /// What that read showed.
    fn user(&self, user: u64, response: &WireResponse) -> Option<Login>;

    /// Asks which version the tracker is of.
    fn ask_version(&self) -> WireRequest;

    /// Its answer.
    fn version(&self, response: &WireResponse) -> Option<String>;

    /// Asks whether there is an account of this name.
    fn ask_account(&self, login: &str, credential: &Credential) -> WireRequest;

    /// Asks for anything that has a link of the tracker's to itself in it.
    fn ask_link(&self, credential: &Credential) -> WireRequest;

    /// Such a link, as the tracker writes it.
    fn link(&self, response: &WireResponse) -> Option<String>;

    /// What an operator reads in `claimgate explain`.
    fn explain(&self, head: &Head<'_>, body: &[u8]) -> String;
}

/// The dialect of that name.
pub fn by_name(name: &str) -> Option<Arc<dyn Dialect>> {
    match name {
        "forgejo" => Some(Arc::new(forgejo::Forgejo)),
        _ => None,
    }
}

/// A JSON object read as strictly as a guarded body and written anew. For those who test the reader from outside.
#[doc(hidden)]
pub fn reread_object(body: &[u8], watched: &[&str]) -> Result<String, ParseError> {
    json::read_object(body, watched).map(|members| json::write_object(&members))
}

// === impl Address, Scope ===

impl Address {
    /// `owner/repo#n`.
    pub fn locator(&self) -> Locator {
        Locator::new(&self.owner, &self.repo, self.number)
    }

    /// The repository.
    pub fn project(&self) -> Project {
        Project::new(&self.owner, &self.repo)
    }
}

impl Scope {
    /// The repository.
    pub fn project(&self) -> Project {
        match self {
            Self::Item(address) => address.project(),
            Self::Create(project) => project.clone(),
        }
    }
}

// === impl Intent ===

impl Intent {
    /// Whether the request asks for more than the guarded fields: another title, say.
    pub fn asks_more(&self) -> bool {
        self.rest.iter().any(|member| !forgejo::parse::asks_nothing(self.form, member))
    }

    /// Whether it edits what is not guarded along with the guarded fields: what it repeats of those is then no write.
    pub fn edits_more(&self) -> bool {
        self.rest.iter().any(|member| forgejo::parse::edits(self.form, member))
    }

    /// With this change in the place of its own.
    #[must_use]
    pub fn asking_for(self, change: Change) -> Self {
        Self { change, ..self }
    }

    /// What kind of item it makes, if it makes one.
    pub fn kind_made(&self) -> ItemKind {
        if self.form == WriteForm::CreatePull { ItemKind::Pull } else { ItemKind::Issue }
    }

    /// The label that a client's removal names in its path, where versions of the tracker may read it in two ways.
    pub fn label_in_path(&self) -> Option<&LabelRef> {
        let change = self.change.labels.as_ref().filter(|_| self.form == WriteForm::RemoveLabel)?;
        change.members().first()
    }

    /// As it is sent, now that the item was read: so that every version of the tracker takes it for the same labels.
    #[must_use]
    pub fn spelled_out(self, seen: &Snapshot, known: &[Label]) -> Self {
        let labels = || seen.labels.iter().chain(known);
        let Some(SetChange::Remove(gone)) = self.change.labels.clone() else { return self.with_label_ids(labels()) };
        // A number in a path is a name first (Forgejo from 13).
        let taken_for_it = |label: &Label| gone.iter().any(|wanted| wanted.is_shadowed_by(label));
        match self.form {
            WriteForm::LeaveOtherLabels => self.leaving_others(seen, &gone),
            WriteForm::DropLabel if labels().any(taken_for_it) => self.leaving_others(seen, &gone),
            _ => self,
        }
    }

    /// The removal of these labels, as the set of those that stay: a body's numbers are ids everywhere.
    fn leaving_others(mut self, seen: &Snapshot, gone: &BTreeSet<LabelRef>) -> Self {
        let stays = |label: &&Label| !gone.iter().any(|gone| gone.names(label.id, &label.name));
        let rest = seen.labels.iter().filter(stays).map(|label| LabelRef::Id(label.id)).collect();
        self.change.labels = Some(SetChange::Replace(rest));
        self.form = WriteForm::ReplaceLabels;
        self
    }

    /// With the labels to be there named by id, where all of them are known: a tracker looks names up in its own way, and
    /// drops those of an organisation (Forgejo 8 and 9); ids and names together it takes in no one way.
    fn with_label_ids<'a>(mut self, known: impl Iterator<Item = &'a Label> + Clone) -> Self {
        if let Some(SetChange::Add(refs) | SetChange::Replace(refs)) = &mut self.change.labels {
            let is_named = |label: &Label| refs.contains(&LabelRef::Name(label.name.clone()));
            let ids: BTreeSet<LabelRef> =
                known.filter(|label| label.id != 0 && is_named(label)).map(|label| LabelRef::Id(label.id)).collect();
            if ids.len() >= refs.len() {
                *refs = ids;
            }
        }
        self
    }
}

impl fmt::Debug for Intent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intent")
            .field("scope", &self.scope)
            .field("form", &self.form)
            .field("change", &self.change)
            .field("rest", &self.rest)
            .finish()
    }
}

// === impl ParseError ===

impl ParseError {
    /// The name of the refusal.
    pub fn code(&self) -> Code {
        match self {
            Self::Ambiguous(_) | Self::UnknownRoute(_) => Code::AmbiguousRequest,
            Self::TooLarge => Code::BodyTooLarge,
            Self::UnsupportedEncoding(_) => Code::UnsupportedEncoding,
        }
    }

    /// What the client gets.
    pub fn rejection(&self) -> Rejection {
        Rejection::of_request(self.code(), self.to_string())
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ambiguous(text) | Self::UnknownRoute(text) | Self::UnsupportedEncoding(text) => f.write_str(text),
            Self::TooLarge => f.write_str("the body is larger than the gate reads for a guarded write"),
        }
    }
}

impl std::error::Error for ParseError {}

/// Every dialect that [`by_name`] knows.
pub const NAMES: &[&str] = &["forgejo"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_a_dialect() {
        for name in NAMES {
            assert_eq!(by_name(name).map(|dialect| dialect.name()), Some(*name));
        }
        assert!(by_name("Forgejo").is_none());
    }

    #[test]
    fn each_refusal_has_its_code() {
        for (error, status) in [
            (ParseError::Ambiguous("x".into()), 400),
            (ParseError::UnknownRoute("x".into()), 400),
            (ParseError::TooLarge, 413),
            (ParseError::UnsupportedEncoding("x".into()), 415),
        ] {
            let rejection = error.rejection();
            assert_eq!((rejection.code.status(), rejection.message), (status, error.to_string()));
            assert!(rejection.retry_after.is_none());
        }
    }
}
