//! Lanes: the local FIFO turn of one item, and the observation that its waiters may share.
//!
//! A lane lives as long as somebody is in it, and a while longer, so that the
//! next to come knows when the last turn ended and what was seen in it. The
//! observation is never what an admission rests on (manual: walk).

use crate::model::{Boot, ItemRecord, ResourceKey, Snapshot};
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many may wait for one item, and how long.
#[derive(Clone, Copy, Debug)]
pub struct LaneLimits {
    /// Waiters at once, the one whose turn it is included.
    pub capacity: usize,
    /// The longest wait.
    pub timeout: Duration,
}

/// The lanes of all items.
#[derive(Debug)]
pub struct Lanes {
    limits: LaneLimits,
    by_item: Mutex<HashMap<ResourceKey, Arc<Lane>>>,
    created: AtomicUsize,
}

/// What a turn saw, once whatever it led to is durable.
#[derive(Clone, Debug)]
pub struct Observation {
    /// When the read began.
    pub began: Boot,
    /// What it showed.
    pub seen: Snapshot,
    /// What the ledger held at the end of that turn.
    pub record: ItemRecord,
}

/// One item's turn, held. Dropping it lets the next one in.
pub struct Turn {
    lane: Arc<Lane>,
    /// When the turn before this one ended; `None` if this lane is new.
    pub last_ended: Option<Boot>,
    ends: Arc<dyn Fn() -> Boot + Send + Sync>,
    _permit: OwnedSemaphorePermit,
}

/// Why no turn was had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LaneError {
    /// As many wait as may.
    #[error("too many writes of this item are waiting")]
    Full,
    /// The turn did not come in time.
    #[error("the item's turn did not come in time")]
    Late,
}

struct Lane {
    turn: Arc<Semaphore>,
    waiting: AtomicUsize,
    entered: AtomicU64,
    past: Mutex<Past>,
}

#[derive(Debug, Default)]
struct Past {
    ended: Option<Boot>,
    observation: Option<Arc<Observation>>,
}

/// An idle lane is kept this long.
pub(super) const KEPT: Duration = Duration::from_secs(30);
/// Idle lanes are looked for each time this many have been made.
const SWEEP_EVERY: usize = 1024;

// === impl Lanes ===

impl Lanes {
    /// No lanes yet.
    pub fn new(limits: LaneLimits) -> Self {
        Self { limits, by_item: Mutex::default(), created: AtomicUsize::new(0) }
    }

    /// Waits for the item's turn, first come, first served.
    pub async fn enter(&self, key: &ResourceKey, now: Arc<dyn Fn() -> Boot + Send + Sync>) -> Result<Turn, LaneError> {
        let lane = self.lane(key, now());
        let place = Place::take(&lane, self.limits.capacity)?;
        let turn = tokio::time::timeout(self.limits.timeout, Arc::clone(&lane.turn).acquire_owned());
        let permit = turn.await.map_err(|_| LaneError::Late)?.map_err(|_| LaneError::Late)?;
        drop(place);
        let last_ended = lane.past().ended;
        Ok(Turn { lane, last_ended, ends: now, _permit: permit })
    }

    /// Waits for the turns of several items, in the order of their keys, until one deadline for all.
    ///
    // INVARIANT: whoever takes several turns takes them here, in this order: no two can each wait for what the other has.
    pub async fn enter_all(
        &self,
        keys: &BTreeSet<ResourceKey>,
        now: Arc<dyn Fn() -> Boot + Send + Sync>,
    ) -> Result<Vec<Turn>, LaneError> {
        let all = async {
            let mut turns = Vec::with_capacity(keys.len());
            for key in keys {
                turns.push(self.enter(key, Arc::clone(&now)).await?);
            }
            Ok(turns)
        };
        tokio::time::timeout(self.limits.timeout, all).await.map_err(|_| LaneError::Late)?
    }

    fn lane(&self, key: &ResourceKey, now: Boot) -> Arc<Lane> {
        let mut lanes = self.by_item.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = lanes.get(key) {
            return Arc::clone(lane);
        }
        if self.created.fetch_add(1, Ordering::Relaxed) % SWEEP_EVERY == SWEEP_EVERY - 1 {
            lanes.retain(|_, lane| Arc::strong_count(lane) > 1 || lane.used_since(now));
        }
        let lane = Arc::new(Lane::new());
        lanes.insert(key.clone(), Arc::clone(&lane));
        lane
    }
}

// === impl Lane ===

impl Lane {
    fn new() -> Self {
        Self {
            turn: Arc::new(Semaphore::new(1)),
            waiting: AtomicUsize::new(0),
            entered: AtomicU64::new(0),
            past: Mutex::default(),
        }
    }

    fn past(&self) -> MutexGuard<'_, Past> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn used_since(&self, now: Boot) -> bool {
        self.past().ended.is_some_and(|ended| ended + KEPT > now)
    }
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lane").field("waiting", &self.waiting).finish_non_exhaustive()
    }
}

/// One waiter's place in a lane.
struct Place<'a>(&'a Lane);

impl<'a> Place<'a> {
    fn take(lane: &'a Lane, capacity: usize) -> Result<Self, LaneError> {
        let before = lane.waiting.fetch_add(1, Ordering::AcqRel);
        let place = Self(lane);
        lane.entered.fetch_add(1, Ordering::AcqRel);
        if before >= capacity { Err(LaneError::Full) } else { Ok(place) }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

// === impl Turn ===

impl Turn {
    /// What the last turn saw.
    pub fn observation(&self) -> Option<Arc<Observation>> {
        self.lane.past().observation.clone()
    }

    /// Lets those who wait share what this turn saw.
    pub fn publish(&self, observation: Observation) {
        self.lane.past().observation = Some(Arc::new(observation));
    }

    /// What was seen no longer stands.
    pub fn forget(&self) {
        self.lane.past().observation = None;
    }

    /// How many have come to this lane so far.
    pub fn entered(&self) -> u64 {
        self.lane.entered.load(Ordering::Acquire)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.lane.past().ended = Some((self.ends)());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lanes_of_a_flood_of_items_are_forgotten() {
        let lanes = Lanes::new(LaneLimits { capacity: 1, timeout: KEPT });
        for number in 0..5 * SWEEP_EVERY as u64 {
            let now = Boot(1) + KEPT * u32::try_from(number).unwrap();
            drop(lanes.enter(&ResourceKey::new(&number.to_string()), Arc::new(move || now)).await.unwrap());
        }
        let kept = lanes.by_item.lock().unwrap().len();
        assert!(kept <= SWEEP_EVERY, "{kept}");
    }
}
