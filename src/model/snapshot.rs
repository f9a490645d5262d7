//! The guarded fields as one read of the tracker showed them.

use super::{Account, ItemKind, OpenState, Place, ResourceKey, Tag};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

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
