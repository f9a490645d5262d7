//! One request that changes several items: what is understood of it.
//!
//! The forms of a web interface are its first users. A request names its items by key or by place, and what it wants of
//! each may depend on how they stand: a toggle is spelled out by [`Dialect::changes`](super::Dialect::changes) from
//! reads of all of them, and only what was spelled out is sent.

use super::forgejo::web::WebForm;
use super::{Address, Credential};
use crate::model::{Change, Project, ResourceKey};
use std::collections::BTreeSet;

/// A form that may change several items, before its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BulkRoute {
    /// The repository, or whatever else owns the page that the form is on.
    pub project: Project,
    pub(in crate::dialect) form: WebForm,
}

/// A form whose body was read.
#[derive(Clone, Debug)]
pub enum BulkParsed {
    /// Touches no guarded field: goes on as it came.
    Unguarded,
    /// To be judged.
    Guarded(Box<Bulk>),
}

/// A write of several items by one request, once understood: enough to judge it, and to write it anew.
#[derive(Clone, Debug)]
pub struct Bulk {
    /// The repository, or whatever else owns the page that the form is on.
    pub project: Project,
    /// Which items.
    pub items: Items,
    /// What becomes of each.
    pub wants: Wants,
    /// Who sends it.
    pub sender: Sender,
    pub(in crate::dialect) form: WebForm,
    /// What else the form carries, in order.
    pub(in crate::dialect) rest: Rest,
}

/// The items of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Items {
    /// By their immutable ids. Turns are taken in this order.
    Keys(BTreeSet<ResourceKey>),
    /// One, by its place.
    At(Address),
    /// One that does not exist yet.
    New,
}

/// What a request wants of each of its items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wants {
    /// This change, whatever shows.
    Change(Change),
    /// A user, known by number, joins the assignees or leaves them; `None`: whichever the items do not show yet.
    Assignee {
        /// The tracker's number of the user.
        user: u64,
        /// `true`: joins.
        joins: Option<bool>,
    },
    /// A label joins or leaves, whichever the items do not show yet.
    ToggleLabel(u64),
    /// Nothing of what a read of the item shows; the text is for the audit.
    Beside {
        /// What it does.
        what: String,
        /// Whether it moves the item, which is its holder's alone while somebody holds it.
        moves: bool,
    },
}

/// Who sends a form.
#[derive(Clone, Debug, Default)]
pub struct Sender {
    /// All that proves it, as it is sent on.
    pub credential: Credential,
    /// What stays the same from one request of a session to the next: a fingerprint of this names the session.
    pub session: Credential,
}

/// The members of a form that are not guarded.
#[derive(Clone)]
pub(in crate::dialect) enum Rest {
    /// As a form: sent urlencoded.
    Pairs(Vec<(String, String)>),
    /// As JSON members.
    Members(Vec<super::json::Member>),
}

// === impl BulkRoute ===

impl BulkRoute {
    /// Whether the call is not known: it passes only where it can be no form of a guarded field.
    pub fn is_unknown(&self) -> bool {
        self.form.is_unknown()
    }
}

// === impl Wants ===

impl Wants {
    /// Whether a read of the item is needed to tell what becomes of it.
    pub fn is_judged(&self) -> bool {
        !matches!(self, Self::Beside { .. })
    }

    /// For the audit, where the change was not spelled out.
    pub fn describe(&self) -> String {
        match self {
            Self::Change(change) => change.to_string(),
            Self::Assignee { user, joins: Some(true) } => format!("assignees+=[user #{user}]"),
            Self::Assignee { user, joins: Some(false) } => format!("assignees-=[user #{user}]"),
            Self::Assignee { user, joins: None } => format!("assignees toggle [user #{user}]"),
            Self::ToggleLabel(label) => format!("labels toggle [#{label}]"),
            Self::Beside { what, .. } => what.clone(),
        }
    }
}

impl std::fmt::Debug for Rest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            // Texts of people stay out of every log.
            Self::Pairs(pairs) => f.debug_list().entries(pairs.iter().map(|(name, _)| name)).finish(),
            Self::Members(members) => members.fmt(f),
        }
    }
}
