//! How many guarded writes one agent may have under way, over all items: nobody else's turn waits for more than that of
//! one agent, whatever goes wrong with it.

use crate::model::Actor;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many guarded writes may be under way, those that wait for their turn included.
#[derive(Clone, Copy, Debug)]
pub struct CrowdLimits {
    /// Of all agents.
    pub all: usize,
    /// Of one agent.
    pub per_agent: usize,
}

/// What each agent has under way.
#[derive(Debug, Default)]
pub(super) struct Shares(Mutex<HashMap<Actor, usize>>);

/// One write of an agent, until this is dropped.
#[derive(Debug)]
pub(super) struct Share<'a> {
    shares: &'a Shares,
    actor: Actor,
}

// === impl Shares ===

impl Shares {
    /// One more write of this agent, unless it has as many as it may.
    pub(super) fn take(&self, actor: &Actor, most: usize) -> Option<Share<'_>> {
        let mut by_agent = self.lock();
        let count = by_agent.entry(actor.clone()).or_insert(0);
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Share { shares: self, actor: actor.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Actor, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        let mut by_agent = self.shares.lock();
        if let Some(count) = by_agent.get_mut(&self.actor) {
            *count -= 1;
            if *count == 0 {
                by_agent.remove(&self.actor);
            }
        }
    }
}
