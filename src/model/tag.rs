//! What says where an item stands in its tracker, and how a request names it.

use std::fmt;
use std::sync::Arc;

/// Open or closed: states of their own beside the status labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OpenState {
    /// Open.
    Open,
    /// Closed.
    Closed,
}

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
    /// Whether an item is open that carries it, where that follows.
    pub state: Option<OpenState>,
}

/// A tag as a request names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TagRef {
    /// By the tracker's id.
    Id(TagId),
    /// By name, compared without regard to case.
    Name(String),
}

// === impl OpenState ===

impl OpenState {
    /// `open` or `closed`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
        }
    }
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

// === impl TagId ===

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

// === impl TagRef ===

impl TagRef {
    /// By a number.
    pub fn number(id: u64) -> Self {
        Self::Id(TagId::Number(id))
    }

    /// Whether this tag is meant.
    pub fn names(&self, tag: &Tag) -> bool {
        match self {
            Self::Id(wanted) => tag.id.as_ref() == Some(wanted),
            Self::Name(wanted) => wanted.to_lowercase() == tag.name.to_lowercase(),
        }
    }

    /// Whether this tag could be meant: some trackers take a number for a name first (Forgejo from 13, in a path).
    pub fn may_mean(&self, tag: &Tag) -> bool {
        self.is_shadowed_by(tag) || self.names(tag)
    }

    /// Whether it is a number, and another tag's name.
    pub fn is_shadowed_by(&self, tag: &Tag) -> bool {
        let plain = |name: &str| name == "0" || !name.starts_with(['0', '+']);
        let Self::Id(TagId::Number(id)) = self else { return false };
        !tag.is_numbered(*id) && plain(&tag.name) && tag.name.parse() == Ok(*id)
    }
}

impl fmt::Display for TagRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "#{id}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}
