//! Lanes: the local FIFO turn of one item, and the observation that its waiters may share.
//!
//! A lane lives as long as somebody is in it, and a while longer, so that the
//! next to come knows when the last turn ended and what was seen in it. The
//! observation is never what an admission rests on (manual: walk).

use crate::model::{Actor, BootTime, ItemRecord, ResourceKey, Snapshot};
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
    pub began: BootTime,
    /// What it showed.
    pub seen: Snapshot,
    /// What the ledger held at the end of that turn.
    pub record: ItemRecord,
}

/// One item's turn, held. Dropping it lets the next one in.
pub struct Turn {
    lane: Arc<Lane>,
    _share: Option<AgentShare>,
    /// When the turn before this one ended; `None` if this lane is new.
    pub last_ended: Option<BootTime>,
    ends: Arc<dyn Fn() -> BootTime + Send + Sync>,
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
    /// Of each agent that is in it.
    shares: Mutex<HashMap<Actor, Arc<Semaphore>>>,
    past: Mutex<Past>,
}

/// One of the places that an agent may have in a lane: its other requests wait beside it, and not before all others.
struct AgentShare {
    lane: Arc<Lane>,
    agent: Actor,
    permit: Option<OwnedSemaphorePermit>,
}

#[derive(Debug, Default)]
struct Past {
    ended: Option<BootTime>,
    /// When something last was, or may have been, changed in a turn.
    changed: Option<BootTime>,
    observation: Option<Arc<Observation>>,
}

/// An idle lane is kept this long.
pub(super) const KEPT: Duration = Duration::from_secs(30);
/// Requests of one agent that are in one lane at once: so many at most are before anybody else's.
const SHARE: usize = 2;
/// Idle lanes are looked for each time this many have been made.
const SWEEP_EVERY: usize = 1024;

// === impl Lanes ===

impl Lanes {
    /// No lanes yet.
    pub fn new(limits: LaneLimits) -> Self {
        Self { limits, by_item: Mutex::default(), created: AtomicUsize::new(0) }
    }

    /// Waits for the item's turn, first come, first served.
    pub async fn enter(
        &self,
        key: &ResourceKey,
        now: Arc<dyn Fn() -> BootTime + Send + Sync>,
    ) -> Result<Turn, LaneError> {
        self.enter_as(key, None, now).await
    }

    /// The same for a request of this agent, of which only a few at once are before those of others.
    pub async fn enter_as(
        &self,
        key: &ResourceKey,
        agent: Option<&Actor>,
        now: Arc<dyn Fn() -> BootTime + Send + Sync>,
    ) -> Result<Turn, LaneError> {
        let lane = self.lane(key, now());
        let place = QueuePosition::take(&lane, self.limits.capacity)?;
        // INVARIANT: an agent's share of a lane is taken before the lane's turn and after those of the lanes before it.
        let turn = async {
            let share = match agent {
                Some(agent) => Some(AgentShare::take(&lane, agent).await?),
                None => None,
            };
            let permit = Arc::clone(&lane.turn).acquire_owned().await.map_err(|_| LaneError::Late)?;
            Ok((share, permit))
        };
        let turn = tokio::time::timeout(self.limits.timeout, turn);
        let (share, permit) = turn.await.map_err(|_| LaneError::Late)??;
        drop(place);
        let last_ended = lane.past().ended;
        Ok(Turn { lane, _share: share, last_ended, ends: now, _permit: permit })
    }

    /// The same for somebody who keeps nobody from the one turn while it waits for the other: it has all of them, or waits
    /// for one. So nobody waits longer for it than what it does with them takes.
    pub async fn enter_together(
        &self,
        keys: &[ResourceKey],
        now: Arc<dyn Fn() -> BootTime + Send + Sync>,
    ) -> Result<Vec<Turn>, LaneError> {
        let lanes: Vec<Arc<Lane>> = keys.iter().map(|key| self.lane(key, now())).collect();
        let places =
            lanes.iter().map(|lane| QueuePosition::take(lane, self.limits.capacity)).collect::<Result<Vec<_>, _>>()?;
        let permits = tokio::time::timeout(self.limits.timeout, together(&lanes)).await.map_err(|_| LaneError::Late)?;
        drop(places);
        let turn = |(lane, permit): (Arc<Lane>, OwnedSemaphorePermit)| {
            let last_ended = lane.past().ended;
            Turn { lane, _share: None, last_ended, ends: Arc::clone(&now), _permit: permit }
        };
        Ok(lanes.into_iter().zip(permits?).map(turn).collect())
    }

    /// Where somebody waits for a turn: how many, and which agents are there, as far as they are known.
    pub fn waiting(&self) -> Vec<(ResourceKey, usize, Vec<Actor>)> {
        let lanes = self.by_item.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = lanes.iter().map(|(key, lane)| (key, lane.waiting.load(Ordering::Acquire), lane));
        let mut waiting: Vec<_> = waits
            .filter(|(_, count, _)| *count > 0)
            .map(|(key, count, lane)| {
                let shares = lane.shares.lock().unwrap_or_else(PoisonError::into_inner);
                (key.clone(), count, shares.keys().cloned().collect())
            })
            .collect();
        waiting.sort_by(|(one, ..), (other, ..)| one.cmp(other));
        waiting
    }

    /// How long somebody may wait.
    pub fn timeout(&self) -> Duration {
        self.limits.timeout
    }

    /// Waits for the turns of several items, in the order of their keys, until one deadline for all; in each lane as one request of
    /// this agent.
    ///
    // INVARIANT: whoever takes several turns takes them here, in this order: no two can each wait for what the other has.
    pub async fn enter_all(
        &self,
        keys: &BTreeSet<ResourceKey>,
        agent: &Actor,
        now: Arc<dyn Fn() -> BootTime + Send + Sync>,
    ) -> Result<Vec<Turn>, LaneError> {
        let all = async {
            let mut turns = Vec::with_capacity(keys.len());
            for key in keys {
                turns.push(self.enter_as(key, Some(agent), Arc::clone(&now)).await?);
            }
            Ok(turns)
        };
        tokio::time::timeout(self.limits.timeout, all).await.map_err(|_| LaneError::Late)?
    }

    fn lane(&self, key: &ResourceKey, now: BootTime) -> Arc<Lane> {
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

/// Waits for the turn of one lane, and takes it only if those of all others are to be had just then.
async fn together(lanes: &[Arc<Lane>]) -> Result<Vec<OwnedSemaphorePermit>, LaneError> {
    let mut busy = 0;
    loop {
        let first = match lanes.get(busy) {
            Some(lane) => Arc::clone(&lane.turn).acquire_owned().await.map_err(|_| LaneError::Late)?,
            None => return Ok(Vec::new()),
        };
        let mut first = Some(first);
        let mut permits = Vec::with_capacity(lanes.len());
        for (at, lane) in lanes.iter().enumerate() {
            let permit = if at == busy { first.take() } else { Arc::clone(&lane.turn).try_acquire_owned().ok() };
            match permit {
                Some(permit) => permits.push(permit),
                None => break,
            }
        }
        if permits.len() == lanes.len() {
            return Ok(permits);
        }
        busy = permits.len();
        drop(permits);
        tokio::task::yield_now().await;
    }
}

// === impl Lane ===

impl Lane {
    fn new() -> Self {
        Self {
            turn: Arc::new(Semaphore::new(1)),
            waiting: AtomicUsize::new(0),
            entered: AtomicU64::new(0),
            shares: Mutex::default(),
            past: Mutex::default(),
        }
    }

    fn past(&self) -> MutexGuard<'_, Past> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn used_since(&self, now: BootTime) -> bool {
        self.past().ended.is_some_and(|ended| ended + KEPT > now)
    }
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lane").field("waiting", &self.waiting).finish_non_exhaustive()
    }
}

/// One waiter's place in a lane.
struct QueuePosition<'a>(&'a Lane);

impl<'a> QueuePosition<'a> {
    fn take(lane: &'a Lane, capacity: usize) -> Result<Self, LaneError> {
        let before = lane.waiting.fetch_add(1, Ordering::AcqRel);
        let place = Self(lane);
        lane.entered.fetch_add(1, Ordering::AcqRel);
        if before >= capacity { Err(LaneError::Full) } else { Ok(place) }
    }
}

impl Drop for QueuePosition<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

// === impl AgentShare ===

impl AgentShare {
    async fn take(lane: &Arc<Lane>, agent: &Actor) -> Result<Self, LaneError> {
        let places = {
            let mut shares = lane.shares.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(shares.entry(agent.clone()).or_insert_with(|| Arc::new(Semaphore::new(SHARE))))
        };
        let permit = places.acquire_owned().await.map_err(|_| LaneError::Late)?;
        Ok(Self { lane: Arc::clone(lane), agent: agent.clone(), permit: Some(permit) })
    }
}

impl Drop for AgentShare {
    fn drop(&mut self) {
        drop(self.permit.take());
        let mut shares = self.lane.shares.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever waits has it, too.
        if shares.get(&self.agent).is_some_and(|places| Arc::strong_count(places) == 1) {
            shares.remove(&self.agent);
        }
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
        let now = (self.ends)();
        let mut past = self.lane.past();
        (past.observation, past.changed) = (None, Some(now));
    }

    /// Whether nothing was changed in any turn since then. Nothing is known of turns that are too long ago.
    pub fn is_quiet_since(&self, then: BootTime) -> bool {
        let changed = self.lane.past().changed;
        changed.is_none_or(|at| at < then) && (self.ends)() < then + KEPT
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
            let now = BootTime(1) + KEPT * u32::try_from(number).unwrap();
            drop(lanes.enter(&ResourceKey::new(&number.to_string()), Arc::new(move || now)).await.unwrap());
        }
        let kept = lanes.by_item.lock().unwrap().len();
        assert!(kept <= SWEEP_EVERY, "{kept}");
    }
}
