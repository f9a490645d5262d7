//! Whether a request can still be cancelled. Until its first durable step it ends with its client; from then on nothing
//! cancels it.
//!
//! A client can go just as its request takes that step. One of the two comes first, and the other learns of it. The writes of
//! one call of the claims API share one cancellation: the first of them that commits, commits the whole call.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Where one request stands between its client and its first durable step.
#[derive(Debug, Default)]
pub(super) struct Cancellation(Mutex<Stage>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// Nothing durable was done.
    #[default]
    Open,
    /// Something was, or is about to be.
    Committed,
    /// The same, and nobody waits for what comes of it.
    Unwatched,
    /// The client has gone, and nothing is done any more.
    Abandoned,
}

/// Stands for the client that waits for an answer. When this is dropped the cancellation learns at once, and not when its task
/// runs next, that nobody waits any more.
#[derive(Debug, Default)]
pub(super) struct ClientGuard(pub(super) Arc<Cancellation>);

// === impl Cancellation, ClientGuard ===

impl Cancellation {
    pub(super) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Whether nothing durable was done so far.
    pub(super) fn is_open(&self) -> bool {
        *self.lock() == Stage::Open
    }

    /// Commits to the first durable step. `false`: the client went first, and the step must not be taken.
    pub(super) fn commit(&self) -> bool {
        let mut stage = self.lock();
        if *stage == Stage::Open {
            *stage = Stage::Committed;
        }
        *stage != Stage::Abandoned
    }

    /// The same for a step that is of use only while somebody waits, whatever was done before.
    pub(super) fn commit_awaited(&self) -> bool {
        self.commit() && *self.lock() != Stage::Unwatched
    }

    /// The committed step has come to nothing, so the request can be cancelled again. `false`: nobody waits for another try.
    pub(super) fn reset(&self) -> bool {
        let mut stage = self.lock();
        *stage = match *stage {
            Stage::Open | Stage::Committed => Stage::Open,
            Stage::Unwatched | Stage::Abandoned => Stage::Abandoned,
        };
        *stage == Stage::Open
    }

    /// The client has gone. Whether the request ends with it.
    fn abandon(&self) -> bool {
        let mut stage = self.lock();
        *stage = match *stage {
            Stage::Open | Stage::Abandoned => Stage::Abandoned,
            Stage::Committed | Stage::Unwatched => Stage::Unwatched,
        };
        *stage == Stage::Abandoned
    }

    /// Carries the request out. `None`: it was dropped, since its client had gone.
    pub(super) async fn unless_gone<T>(
        &self,
        mut run: impl Future<Output = T> + Unpin,
        gone: impl Future<Output = ()>,
    ) -> Option<T> {
        tokio::select! {
            biased;
            () = gone => if self.abandon() { return None },
            done = &mut run => return Some(done),
        }
        Some(run.await)
    }

    fn lock(&self) -> MutexGuard<'_, Stage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ClientGuard {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_goes_first_ends_it() {
        let waiter = ClientGuard::default();
        let cancellation = Arc::clone(&waiter.0);
        drop(waiter);
        assert!(!cancellation.commit() && !cancellation.commit_awaited() && !cancellation.reset());
    }

    #[test]
    fn who_goes_later_is_no_longer_waiting() {
        let waiter = ClientGuard::default();
        let cancellation = Arc::clone(&waiter.0);
        assert!(cancellation.commit_awaited() && cancellation.commit_awaited(), "one write after another");
        drop(waiter);
        assert!(cancellation.commit(), "what must be done is done");
        assert!(!cancellation.commit_awaited(), "what somebody must wait for is not");
        assert!(!cancellation.reset() && !cancellation.commit(), "nor is there another try");
    }

    #[test]
    fn what_came_to_nothing_is_open_again() {
        let waiter = ClientGuard::default();
        let cancellation = Arc::clone(&waiter.0);
        assert!(cancellation.commit() && cancellation.reset());
        drop(waiter);
        assert!(!cancellation.commit());
    }
}
