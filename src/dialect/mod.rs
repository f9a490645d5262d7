//! Wire to model and back: one dialect a tracker, without I/O.
//!
//! A dialect says what a request means ([`Dialect::classify`], then [`GuardedRoute::understand`]), and writes every request
//! and answer of the gate's own. It decides nothing: whether a write may pass is `admission`'s, which never sees the wire.
//! What the tracker could read in two ways is refused here, and a guarded write is rebuilt from what was understood,
//! so that no byte of the original can mean something else upstream (manual: walk).

mod claims;
mod credential;
mod explain;
mod forgejo;
mod form;
mod github;
#[doc(hidden)]
pub mod graphql;
mod guarded;
mod hub_webhook;
mod jira;
mod json;
mod linear;
mod multipart;
mod once;
mod redmine;
mod refusal;
mod route;
mod side_effects;
mod target;
mod trello;
mod wire;

pub use claims::{Filter, FindWork, ListOutcome, OpenItems, Order, Page};
pub use credential::Credential;
pub use github::RefusalStatus;
pub use guarded::{Chosen, Guarded, GuardedRequest, Request, Sender, Subject, Wants};
pub use once::{CLOSING_KEYWORDS, ClosingSyntax, CreateOnce, Creation, Listed};
pub use route::{GuardedRoute, Route, Scrutiny, Shows, Understood};
pub use side_effects::{
    LabelEdit, LabelOwner, LabelState, PullBranches, SideEffect, SideEffects, SideWrite, SweepScope,
};
pub use target::Target;
pub use wire::{AnswerClass, WireRequest, WireResponse};

use crate::model::{
    Account, Code, ItemKind, Place, Project, Rejection, ResourceKey, SetChange, Snapshot, Tag, TagId, TagRef, Time,
    TimelineEntry,
};
use http::{HeaderMap, HeaderName, Method};
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
    /// Which item it is.
    pub place: Place,
    /// What it is named as (an item may be named both ways).
    pub kind: ItemKind,
    /// How the dialect writes a request about it: its own affair, such as the caller's spelling of a path.
    pub route: Arc<str>,
}

/// What the path of a GET says at a glance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Glance {
    /// [`Route::Pass`].
    Pass,
    /// [`Route::Read`], or [`Route::Pass`].
    Read,
    /// Anything.
    Unsure,
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
    Account(Account),
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
    /// The HMAC, by the tracker's own scheme; of the body where the body is the payload.
    pub signature: Option<Vec<u8>>,
    /// The payload, where the body is a form that carries it.
    pub payload: Option<Vec<u8>>,
    /// The item that it speaks of.
    pub item: Option<Place>,
}

/// What a tracker signs of its webhooks, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebhookScheme {
    /// HMAC-SHA256 of the payload.
    Sha256,
    /// HMAC-SHA1 of the body and, behind it, the address that the tracker calls.
    Sha1WithAddress,
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
    /// A repository's own labels; where there is none, those of the tracker as a whole.
    Labels(Option<&'a Project>),
    /// The labels that it shares with others of its owner; the tracker may know of none by saying 404.
    SharedLabels(Option<&'a Project>),
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

/// What an operator can set of a dialect; each takes what it knows.
#[derive(Clone, Debug, Default)]
pub struct DialectOptions {
    /// By which status a final refusal is told.
    pub refusal: RefusalStatus,
}

/// A path below which clients of another edition of a tracker look for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathAlias {
    /// What they write.
    pub from: &'static str,
    /// What this edition has in its place.
    pub to: &'static str,
}

/// One tracker's wire.
pub trait Dialect: CreateOnce + FindWork + SideEffects + Send + Sync + 'static {
    /// Its name in the configuration.
    fn name(&self) -> &'static str;

    /// What stands for something else at the beginning of a path.
    fn aliases(&self) -> &'static [PathAlias] {
        &[]
    }

    /// What the head alone says.
    fn classify(&self, head: &Head<'_>) -> Route;

    /// What the path of a GET says at a glance, before [`classify`](Dialect::classify) is asked. [`Glance::Unsure`] is always
    /// right.
    fn glance(&self, _path: &str) -> Glance {
        Glance::Unsure
    }

    /// Whether [`credential`](Dialect::credential) may look at this header of a GET. `true` too often rather than too seldom.
    fn may_identify(&self, _header: &HeaderName) -> bool {
        true
    }

    /// Whether the tracker may show an account some items of a project and not others: then nobody is told of one by what it
    /// was shown of another.
    fn shows_item_by_item(&self) -> bool {
        false
    }

    /// Whether an item has exactly one label at all times, which says where it stands: a column, a state of a team. Each of them
    /// is then a status to the rules, whether or not they name it.
    fn has_one_status(&self) -> bool {
        false
    }

    /// Whether the labels are the same in every project.
    fn has_global_labels(&self) -> bool {
        false
    }

    /// Whether a label that a request sets by a name which no label has is made by that, and names are compared in any case of
    /// their letters: then a name alone says which label is meant.
    fn makes_labels(&self) -> bool {
        false
    }

    /// The credential as the tracker would see it: tokens and `sudo` in query and form body are turned into headers;
    /// doubled ones are refused. `body` may be empty for a request that is not guarded.
    fn credential(&self, head: &Head<'_>, body: &[u8]) -> Result<Credential, ParseError>;

    /// The gate's own account, by the token of `upstream.service_token_file`.
    fn service(&self, token: &str) -> Credential;

    /// A read of the item.
    fn observe(&self, address: &Address, credential: &Credential) -> WireRequest;

    /// What that read showed. Of an answer to a client's own read of the item the guarded fields are right, but perhaps not the key.
    fn read(&self, address: &Address, response: &WireResponse) -> ReadOutcome;

    /// When the item that was read was last written, as the tracker says. `None` where its reads never trail its writes: what
    /// is written shows at once.
    fn written_at(&self, _response: &WireResponse) -> Option<Time> {
        None
    }

    /// Whether two writes of one item may have the same time there, so that a read which shows the later one can look as old as
    /// the one before it.
    fn writes_share_times(&self) -> bool {
        false
    }

    /// A read of what the tracker remembers of the item's edits.
    fn ask_timeline(&self, address: &Address, credential: &Credential) -> WireRequest;

    /// What that read showed; `None` where the tracker has no such memory, or its answer cannot be used.
    fn timeline(&self, response: &WireResponse) -> Option<Vec<TimelineEntry>>;

    /// Whether this account may be assigned there, from the answers to what was asked for so far, in their order.
    fn assignable(
        &self,
        address: &Address,
        login: &Account,
        answers: &[WireResponse],
        credential: &Credential,
    ) -> Assignable;

    /// How a request finds the item that was last seen at this place; `None` for what is no item.
    fn address(&self, place: &Place) -> Option<Address>;

    /// The same of an item by its id, where that alone says it.
    fn address_of_key(&self, _key: &ResourceKey) -> Option<Address> {
        None
    }

    /// A refusal, in the tracker's own error shape. `decision` names it in the log.
    fn reject(&self, rejection: &Rejection, decision: &str) -> WireResponse;

    /// The request that asks who the credential is.
    fn whoami(&self, credential: &Credential) -> WireRequest;

    /// Its answer.
    fn account(&self, response: &WireResponse) -> Whoami;

    /// A write that leaves nobody assigned (an operator's release).
    fn clear_assignees(&self, address: &Address) -> Guarded;

    /// A write that adds or removes labels; removals one at a time, by id.
    /// `None`: an item has one at all times, and another takes its place.
    fn relabel(&self, address: &Address, change: SetChange<TagRef>) -> Option<Guarded>;

    /// The same removal for a tracker that took the first for something else: nothing in it can be another label's name.
    fn relabel_otherwise(&self, address: &Address, change: &SetChange<TagRef>) -> Option<Guarded>;

    /// Whether a request that passes may change what labels there are, or what they are called.
    fn defines_labels(&self, head: &Head<'_>) -> bool;

    /// A read of the one label with this id, wherever it is; `None`: only lists show labels.
    fn read_tag(&self, _id: &TagId, _credential: &Credential) -> Option<WireRequest> {
        None
    }

    /// What that read showed; `None` where it cannot be used.
    fn tag(&self, _response: &WireResponse) -> Option<Tag> {
        None
    }

    /// What a page of labels showed; `None` where it cannot be used.
    fn labels(&self, response: &WireResponse) -> Option<Vec<Tag>>;

    /// A read of one page of a list; pages begin with 1. A page beyond the last is empty.
    fn list(&self, listing: Listing<'_>, page: usize, credential: &Credential) -> WireRequest;

    /// What a page of repositories showed; `None` where it cannot be used.
    fn repositories(&self, response: &WireResponse) -> Option<Vec<ListedProject>>;

    /// What a page of items showed; `None` where it cannot be used.
    fn items(&self, project: &Project, response: &WireResponse) -> Option<Vec<Snapshot>>;

    /// What is signed of a webhook, and how.
    fn webhook_scheme(&self) -> WebhookScheme {
        WebhookScheme::Sha256
    }

    /// What a webhook's payload says.
    fn webhook(&self, headers: &HeaderMap, body: &[u8]) -> Webhook;

    /// Where the items of a page are; `None` where it cannot be used.
    fn addresses(&self, project: &Project, response: &WireResponse) -> Option<Vec<(ResourceKey, Address)>>;

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

    /// A path as it may be written down, where the tracker has secrets in some; `None`: as it is.
    fn shown_path(&self, _path: &str) -> Option<String> {
        None
    }

    /// What an operator reads in `claimgate explain`.
    fn explain(&self, head: &Head<'_>, body: &[u8]) -> String;
}

/// The dialect of that name, with nothing set.
pub fn by_name(name: &str) -> Option<Arc<dyn Dialect>> {
    configured(name, &DialectOptions::default())
}

/// The dialect of that name, as an operator has set it.
pub fn configured(name: &str, options: &DialectOptions) -> Option<Arc<dyn Dialect>> {
    match name {
        "forgejo" => Some(Arc::new(forgejo::Forgejo)),
        "github" => Some(Arc::new(github::GitHub { refusal: options.refusal })),
        "jira" => Some(Arc::new(jira::Jira::default())),
        "linear" => Some(Arc::new(linear::Linear)),
        "redmine" => Some(Arc::new(redmine::Redmine)),
        "trello" => Some(Arc::new(trello::Trello)),
        _ => None,
    }
}

/// A JSON object read as strictly as a guarded body and written anew. For those who test the reader from outside.
#[doc(hidden)]
pub fn reread_object(body: &[u8], watched: &[&str]) -> Result<String, ParseError> {
    json::read_object(body, watched).map(|members| json::write_object(&members))
}

// === impl Address ===

impl Address {
    /// Which item it is.
    pub fn locator(&self) -> Place {
        self.place.clone()
    }

    /// The project, where the request says in which it is.
    pub fn project(&self) -> Option<&Project> {
        self.place.project()
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
pub const NAMES: &[&str] = &["forgejo", "github", "jira", "linear", "redmine", "trello"];

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
