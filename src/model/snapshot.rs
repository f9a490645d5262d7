//! The guarded fields as one read of the tracker showed them.

use super::{Account, ItemKind, OpenState, Place, ResourceKey, TagRef};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// How a tracker names a tag: by a number or a text that is always the same tag's.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TagId {
    /// A number.
    Number(u64),
    /// A text, such as a UUID.
    Text(Arc<str>),
}

/// What an item carries by which its tracker says where it stands: a label, a workflow state, a list, a column. The rules
/// name some of them as statuses.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag {
    /// The tracker's id; none where a request's name was taken at its word, as nobody could look it up.
    pub id: Option<TagId>,
    /// As spelled there.
    pub name: String,
    /// Of this group an item carries one at most: the scope of an exclusive label, or all statuses of a tracker that has a
    /// field for them.
    pub group: Option<Arc<str>>,
}

/// The name of a status, lower-case: a label that the workflow lists.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Status(Arc<str>);

/// One read of one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Its immutable id.
    pub key: ResourceKey,
    /// Where it was read.
    pub locator: Place,
    /// Issue or pull request.
    pub kind: ItemKind,
    /// Who is assigned.
    pub assignees: BTreeSet<Account>,
    /// Every tag that it carries, sorted.
    pub labels: BTreeSet<Tag>,
    /// Open or closed.
    pub state: OpenState,
    /// Who opened it, where the tracker says so.
    pub author: Option<Account>,
}

/// What the ledger remembers of a read: assignees and status (manual: protocol, `shown`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shown {
    /// Who was assigned.
    pub assignees: BTreeSet<Account>,
    /// The status labels it carried; none is the state `none`.
    pub statuses: BTreeSet<Status>,
    /// Open or closed.
    pub state: OpenState,
}

// === impl Tag ===

impl Tag {
    /// Whether this tag, set, takes the other one away.
    pub fn excludes(&self, other: &Self) -> bool {
        self.id != other.id && self.group.is_some() && self.group == other.group
    }

    /// This very tag, as a request names it.
    pub fn to_ref(&self) -> TagRef {
        self.id.clone().map_or_else(|| TagRef::Name(self.name.clone()), TagRef::Id)
    }

    /// Whether it has this number.
    pub fn is_numbered(&self, number: u64) -> bool {
        self.id == Some(TagId::Number(number))
    }
}

impl TagId {
    /// The number, if it is one.
    pub fn number(&self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(_) => None,
        }
    }
}

impl fmt::Display for TagId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

// === impl Status ===

impl Status {
    /// Folds the name to lower case.
    pub fn new(name: &str) -> Self {
        Self(name.to_lowercase().into())
    }

    /// Lower-case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl Shown ===

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.assignees.iter().map(Account::to_string).collect();
        match names.as_slice() {
            [] => f.write_str("nobody assigned")?,
            names => write!(f, "assigned to {}", names.join(", "))?,
        }
        let statuses: Vec<&str> = self.statuses.iter().map(Status::as_str).collect();
        match statuses.as_slice() {
            [] => f.write_str(", no status")?,
            statuses => write!(f, ", status {}", statuses.join(" + "))?,
        }
        write!(f, ", {}", self.state.as_str())
    }
}
