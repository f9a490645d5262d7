//! How far a request has come: until its first durable step it ends with its client, from there on nothing cancels it.
//!
//! A client that goes and a request that takes that step can meet: one of the two comes first, and the other is told.
//! The writes of one errand have its passage, so that the first of them takes the errand across.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Debug, Default)]
pub(super) struct Passage(Mutex<Stage>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// Nothing durable was done.
    #[default]
    Open,
    /// Something was, or is about to be.
    Crossed,
    /// The same, and nobody waits for what comes of it.
    Unwatched,
    /// The client has gone, and nothing is done any more.
    Abandoned,
}

/// Whoever waits for an answer, for as long as this lives: a passage learns at once, and not when its task runs next, that
/// nobody does any more.
#[derive(Debug, Default)]
pub(super) struct Waiter(pub(super) Arc<Passage>);

// === impl Passage, Waiter ===

impl Passage {
    pub(super) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Takes the step. `false`: the client has gone before, and it must not be taken.
    pub(super) fn cross(&self) -> bool {
        let mut stage = self.lock();
        if *stage == Stage::Open {
            *stage = Stage::Crossed;
        }
        *stage != Stage::Abandoned
    }

    /// The same for what is to be done only while somebody waits for it, also where something was done before.
    pub(super) fn cross_awaited(&self) -> bool {
        self.cross() && *self.lock() != Stage::Unwatched
    }

    /// What was crossed for has come to nothing. `false`: nobody waits for another try.
    pub(super) fn reopen(&self) -> bool {
        let mut stage = self.lock();
        *stage = match *stage {
            Stage::Open | Stage::Crossed => Stage::Open,
            Stage::Unwatched | Stage::Abandoned => Stage::Abandoned,
        };
        *stage == Stage::Open
    }

    /// The client has gone. Whether the request ends with it.
    fn abandon(&self) -> bool {
        let mut stage = self.lock();
        *stage = match *stage {
            Stage::Open | Stage::Abandoned => Stage::Abandoned,
            Stage::Crossed | Stage::Unwatched => Stage::Unwatched,
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

impl Drop for Waiter {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_goes_first_ends_it() {
        let waiter = Waiter::default();
        let passage = Arc::clone(&waiter.0);
        drop(waiter);
        assert!(!passage.cross() && !passage.cross_awaited() && !passage.reopen());
    }

    #[test]
    fn who_goes_later_is_no_longer_waiting() {
        let waiter = Waiter::default();
        let passage = Arc::clone(&waiter.0);
        assert!(passage.cross_awaited() && passage.cross_awaited(), "one write after another");
        drop(waiter);
        assert!(passage.cross(), "what must be done is done");
        assert!(!passage.cross_awaited(), "what somebody must wait for is not");
        assert!(!passage.reopen() && !passage.cross(), "nor is there another try");
    }

    #[test]
    fn what_came_to_nothing_is_open_again() {
        let waiter = Waiter::default();
        let passage = Arc::clone(&waiter.0);
        assert!(passage.cross() && passage.reopen());
        drop(waiter);
        assert!(!passage.cross());
    }
}
