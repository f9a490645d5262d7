//! Creations that a rule is about keep the turns of all items that they name: so many at once, and no more.
//!
//! Whoever may write to the repository has a share of its own. Those who may only read it, however many accounts they have,
//! have one together.

use super::Lanes;
use crate::model::Actor;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Who is creating.
#[derive(Debug)]
pub(super) struct Creators {
    readers: Arc<Semaphore>,
    writers: Mutex<HashMap<Actor, Weak<Semaphore>>>,
}

/// Creations at once of an agent that may write.
const OF_WRITER: usize = 2;
/// Agents of which that is remembered before those are forgotten that are not creating.
const MOST: usize = 1_000;

impl Default for Creators {
    fn default() -> Self {
        Self { readers: Arc::new(Semaphore::new(1)), writers: Mutex::default() }
    }
}

impl Creators {
    /// A place for a creation of this agent; none, where it does not come in time.
    pub(super) async fn enter(&self, agent: &Actor, may_write: bool, lanes: &Lanes) -> Option<OwnedSemaphorePermit> {
        let places = if may_write { self.of_writer(agent) } else { Arc::clone(&self.readers) };
        tokio::time::timeout(lanes.timeout(), places.acquire_owned()).await.ok()?.ok()
    }

    fn of_writer(&self, agent: &Actor) -> Arc<Semaphore> {
        let mut writers = self.writers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(places) = writers.get(agent).and_then(Weak::upgrade) {
            return places;
        }
        if writers.len() >= MOST {
            writers.retain(|_, places| places.strong_count() > 0);
        }
        let places = Arc::new(Semaphore::new(OF_WRITER));
        writers.insert(agent.clone(), Arc::downgrade(&places));
        places
    }
}
