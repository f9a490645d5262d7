//! The guarded fields as one read of the tracker showed them.

use super::{ItemKind, Locator, Login, OpenState, ResourceKey};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// A label on an item.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Label {
    /// The tracker's id.
    pub id: u64,
    /// As spelled there.
    pub name: String,
    /// Of its scope (what comes before the last `/`) an item carries one at most.
    pub exclusive: bool,
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
    pub locator: Locator,
    /// Issue or pull request.
    pub kind: ItemKind,
    /// Who is assigned.
    pub assignees: BTreeSet<Login>,
    /// Every label it carries, sorted.
    pub labels: BTreeSet<Label>,
    /// Open or closed.
    pub state: OpenState,
    /// Who opened it, where the tracker says so.
    pub author: Option<Login>,
}

/// What the ledger remembers of a read: assignees and status (manual: protocol, `shown`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shown {
    /// Who was assigned.
    pub assignees: BTreeSet<Login>,
    /// The status labels it carried; none is the state `none`.
    pub statuses: BTreeSet<Status>,
    /// Open or closed.
    pub state: OpenState,
}

// === impl Label ===

impl Label {
    /// Whether this label, set, takes the other one away (Gitea from 1.19, Forgejo from 7: exclusive scoped labels).
    pub fn excludes(&self, other: &Self) -> bool {
        self.id != other.id && self.rivals().is_some() && self.rivals() == other.rivals()
    }

    /// The scope of which an item carries one label at most, if this label has such a scope.
    pub fn rivals(&self) -> Option<&str> {
        self.scope().filter(|_| self.exclusive)
    }

    /// What comes before the last `/`, unless that stands at an end.
    fn scope(&self) -> Option<&str> {
        self.name.rsplit_once('/').filter(|(scope, name)| !scope.is_empty() && !name.is_empty()).map(|(scope, _)| scope)
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
        let names: Vec<&str> = self.assignees.iter().map(Login::as_str).collect();
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
