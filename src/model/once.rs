//! What may be created once: the key that names it, and what is known of the first.

use super::{Actor, AttemptId, Epoch, GateId, Place, Time};
use std::fmt;
use std::sync::Arc;

/// What may be created once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A review of a pull request.
    Review,
    /// A pull request that closes an issue.
    Pull,
}

/// Names one thing that may be created once: the rule, and its template filled in.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OnceKey(Arc<str>);

/// What the ledger knows of one key: who creates or has created, and how far that went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnceEntry {
    /// The key.
    pub key: OnceKey,
    /// What it is about: the pull request of a review, the issue that a pull request closes.
    pub about: Place,
    /// Who created it, or is about to.
    pub actor: Actor,
    /// Since when.
    pub since: Time,
    /// Names this entry among those that the key has had.
    pub attempt: AttemptId,
    /// Which gate wrote it.
    pub gate: GateId,
    /// In which of its lives.
    pub epoch: Epoch,
    /// How far it went.
    pub standing: Standing,
}

/// How far a creation went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It may have been sent. Until then only a read that shows it ends that; afterwards a read that does not, too.
    Sent {
        /// The end of the doubt.
        until: Time,
    },
    /// It exists, or did when it was last looked at.
    Made(Made),
}

/// Something created, as the tracker names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// The tracker's id, or its number.
    pub id: String,
    /// Where a person finds it.
    pub url: String,
    /// The pull request that it is, or is about.
    pub at: Place,
}

/// A creation as the tracker shows it: one that stands (not dismissed, not withdrawn, not closed).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Existing {
    /// Which.
    pub made: Made,
    /// Whose.
    pub author: Actor,
    /// Since when.
    pub since: Time,
    /// A review's commit.
    pub commit: String,
    /// A review's verdict.
    pub event: String,
    /// The issues that a pull request says it closes.
    pub closes: Vec<Place>,
    /// As the tracker wrote it.
    pub text: String,
}

// === impl What ===

impl What {
    /// As a rule names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Review => "review",
            Self::Pull => "pull",
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl OnceKey ===

impl OnceKey {
    /// From its text form.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// Its text form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for OnceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
