//! Whether the watcher can see: told when that changes, not at each read.
//!
//! A service token that the tracker refuses leaves the gate blind to what happens outside it, and nothing else fails.
//! One refused item must not be told again each time that its turn comes, nor a repository that answers for some items
//! only: what is refused is told at once, that it is seen again after a whole round of reads without a refusal.

use crate::model::{Place, Project};
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

/// What the reads of the watcher came to.
#[derive(Debug, Default)]
pub(in crate::gate) struct TrackerReachability(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// What was told as refused.
    told: HashSet<FailureScope>,
    /// Refused, and answered, since the round began.
    refused: HashSet<FailureScope>,
    answered: HashSet<FailureScope>,
}

/// What one refusal is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum FailureScope {
    /// Whatever is asked with the token.
    All,
    /// What is in a repository.
    Of(Project),
}

/// Why a read showed nothing.
pub(super) enum ReadFailure {
    /// There was no answer, or one that says that nobody knows the token.
    Everywhere(String),
    /// An answer that may be about this item or its repository alone.
    Here(String),
    /// An answer that says that there is no such item, or none for this token to see.
    Missing(String),
}

// === impl TrackerReachability ===

impl TrackerReachability {
    pub(super) fn read(&self, item: &Place) {
        let mut seen = self.lock();
        seen.answered.insert(FailureScope::All);
        seen.answered.insert(FailureScope::Of(item.known_project()));
    }

    pub(super) fn failed(&self, item: &Place, why: &ReadFailure) {
        let (scope, said) = match why {
            ReadFailure::Everywhere(said) => (FailureScope::All, said),
            ReadFailure::Here(said) | ReadFailure::Missing(said) => (FailureScope::Of(item.known_project()), said),
        };
        let mut seen = self.lock();
        seen.refused.insert(scope.clone());
        if seen.told.insert(scope) {
            tracing::warn!(
                resource = %item,
                said,
                "an item was not read with upstream.service_token_file: while that lasts, edits past the gate are not \
                 noticed and doubts not ended early"
            );
        }
    }

    /// All that is held was looked at once.
    pub(super) fn round_ended(&self) {
        let mut seen = self.lock();
        let Seen { told, refused, answered } = &mut *seen;
        told.retain(|scope| {
            let mended = answered.contains(scope) && !refused.contains(scope);
            if mended {
                tracing::info!(%scope, "items are read again with upstream.service_token_file");
            }
            !mended
        });
        refused.clear();
        answered.clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Display for FailureScope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Of(project) => project.fmt(f),
        }
    }
}
