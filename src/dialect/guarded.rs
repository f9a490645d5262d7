//! A guarded request, once understood: what the gate may know of it (manual: doors).
//!
//! How it is written, and what its tracker answers, is its own affair. The gate asks which items it is about, what it
//! changes of them, how it is sent for those that were chosen, and what its answers look like.

use super::{Address, ClosingSyntax, Creation, Credential, WireRequest, WireResponse};
use crate::model::{
    Change, Existing, ItemKind, Made, Place, Principal, Project, Rejection, ResourceKey, Snapshot, Tag, TagRef,
};
use http::HeaderMap;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// A guarded request, shared between the walk and whoever answers its client.
pub type Guarded = Arc<dyn GuardedRequest>;

/// What the gate says of any request that it judges.
pub trait Request: fmt::Debug + Send + Sync + 'static {
    /// Where it stands, for texts: an item, or a project as a whole.
    fn locator(&self) -> Place;

    /// What it asks for, for the audit.
    fn describe(&self) -> String;

    /// Who sends it, where that is a session of a web interface. Anybody else is known by the credential.
    fn sender(&self) -> Option<&Sender>;

    /// Whether the place where it stands is the one item that it is about.
    fn is_about_one(&self) -> bool {
        self.sender().is_none()
    }
}

/// A write of guarded fields.
pub trait GuardedRequest: Request {
    /// What it is about.
    fn subject(&self) -> Subject;

    /// What becomes of each item.
    fn wants(&self) -> Wants<'_>;

    /// The page that the tracker must show to a session before it may learn anything.
    fn page(&self) -> Option<&Project> {
        None
    }

    /// Requests that all get a 2xx if the session is signed in and is shown the page.
    fn prove_reader(&self) -> Vec<WireRequest> {
        Vec::new()
    }

    /// The same request with its sender spelled out, where it names that by a word (`me`). An error says why it cannot be.
    fn sent_by(&self, _caller: &Principal) -> Result<Option<Guarded>, String> {
        Ok(None)
    }

    /// Something that must be read before the change can be spelled out: whose number this is, say.
    fn look_up(&self, _credential: &Credential) -> Option<WireRequest> {
        None
    }

    /// The change of each item, from reads of all of them in their order, each with where the request named it. `found` is
    /// what was looked up; where nothing was, and the request is about one item, the answer to the read of that. An error says
    /// what they, or `found`, do not show.
    fn spell_out(&self, seen: &[(&Address, &Snapshot)], found: Option<&WireResponse>) -> Result<Vec<Change>, String>;

    /// Whether the gate cannot answer it by itself: it asks for more than guarded fields, or only the tracker knows how
    /// the answer looks.
    fn asks_more(&self, _headers: &HeaderMap) -> bool {
        false
    }

    /// Whether it edits what is not guarded along with the guarded fields: what it repeats of those is then no write.
    fn edits_more(&self) -> bool {
        false
    }

    /// The label that a removal names in its path, where versions of the tracker may read it in two ways.
    fn label_in_path(&self) -> Option<&TagRef> {
        None
    }

    /// The request, written anew for these items. Of the client's headers only those survive that cannot change what it
    /// means. A creation is written for none.
    fn emit(&self, chosen: &[Chosen<'_>], headers: &HeaderMap, credential: &Credential) -> WireRequest;

    /// The read that [`accept`](Self::accept) makes its answer from, where a read of the item is not what this call shows: of one
    /// item at this place, or of all of several, whichever the place is.
    fn represent(&self, _address: &Address, _credential: &Credential) -> Option<WireRequest> {
        None
    }

    /// The success answer where nothing was sent, or where a write landed although the tracker answered 5xx. `None`: it must
    /// be sent for its own sake.
    fn accept(&self, read: Option<&WireResponse>) -> Option<WireResponse>;

    /// The status that an answer amounts to: a web interface redirects whoever succeeded.
    fn status(&self, response: &WireResponse) -> u16 {
        response.status.as_u16()
    }

    /// A refusal, in the shape that its client shows. `decision` names it in the log.
    fn reject(&self, rejection: &Rejection, decision: &str, headers: &HeaderMap) -> WireResponse;

    // === what it creates ===

    /// What it creates, if a rule can be about that.
    fn creation(&self, _closing: &ClosingSyntax) -> Option<Creation> {
        None
    }

    /// A read that tells in which project a creation is, where the request does not say it.
    fn locate(&self, _credential: &Credential) -> Option<WireRequest> {
        None
    }

    /// The same creation in the project that the read told; `None`: the answer cannot be used.
    fn located(&self, _found: &WireResponse) -> Option<Guarded> {
        None
    }

    /// Which kind of item it makes, if it makes one.
    fn kind_made(&self) -> ItemKind {
        ItemKind::Issue
    }

    /// The same review, of exactly this commit.
    fn pinned(&self, _commit: &str) -> Option<Guarded> {
        None
    }

    /// What a success answer says was created.
    fn made(&self, _response: &WireResponse) -> Option<Made> {
        None
    }

    /// The item that a creation made, from its 2xx answer; without a snapshot where the answer does not carry the
    /// item's key and it must be observed first.
    fn created(&self, _response: &WireResponse) -> Option<(Address, Option<Snapshot>)> {
        None
    }

    /// The success answer, with something that exists already.
    fn first(&self, _existing: &Existing) -> Option<WireResponse> {
        None
    }
}

/// What a guarded request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// An item, by its place.
    At(Address),
    /// Several items, each by its place: all or none of them are written. Turns are taken in the order of their ids.
    Places(Vec<Address>),
    /// Items of a project, or of an owner, by their immutable ids. Turns are taken in this order.
    Keys(BTreeSet<ResourceKey>),
    /// An item that does not exist yet.
    New(Project),
}

/// What a request wants of each of its items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants<'a> {
    /// This change, however the item stands.
    Change(&'a Change),
    /// A change that depends on how the items stand.
    Toggle,
    /// Nothing that a read of the item shows.
    Beside {
        /// Whether it moves the item, which is its holder's alone while somebody holds it.
        moves: bool,
    },
}

/// An item that a request is written for.
#[derive(Clone, Copy, Debug)]
pub struct Chosen<'a> {
    /// Its immutable id, where it is known.
    pub key: Option<&'a ResourceKey>,
    /// Where it is now, where that is known.
    pub address: Option<&'a Address>,
    /// What becomes of it.
    pub change: &'a Change,
    /// How it stands, where it was read.
    pub seen: Option<&'a Snapshot>,
    /// The answer to that read.
    pub shown: Option<&'a WireResponse>,
    /// What the labels that the change names are called.
    pub labels: &'a [Tag],
}

/// Who sends a form.
#[derive(Clone, Debug, Default)]
pub struct Sender {
    /// All that proves it, as it is sent on.
    pub credential: Credential,
    /// What stays the same from one request of a session to the next: a fingerprint of this names the session.
    pub session: Credential,
}

// === impl GuardedRequest, Subject, Wants ===

impl dyn GuardedRequest {
    /// What it changes, where that does not depend on how the items stand.
    pub fn change(&self) -> Option<&Change> {
        match self.wants() {
            Wants::Change(change) => Some(change),
            Wants::Toggle | Wants::Beside { .. } => None,
        }
    }
}

impl Request for Guarded {
    fn locator(&self) -> Place {
        (**self).locator()
    }

    fn describe(&self) -> String {
        (**self).describe()
    }

    fn sender(&self) -> Option<&Sender> {
        (**self).sender()
    }

    fn is_about_one(&self) -> bool {
        (**self).is_about_one()
    }
}

impl Wants<'_> {
    /// Whether a read of the item is needed to tell what becomes of it.
    pub fn is_judged(self) -> bool {
        !matches!(self, Self::Beside { .. })
    }
}

impl Chosen<'_> {
    /// An item as a request named it, unread.
    pub fn unread<'a>(key: Option<&'a ResourceKey>, change: &'a Change) -> Chosen<'a> {
        Chosen { key, address: None, change, seen: None, shown: None, labels: &[] }
    }
}
