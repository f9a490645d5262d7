//! Item records under change, whatever keeps them.
//!
//! A `RecordCache` gives a batch's transaction its rows, keeps what became of them, and
//! says what there is to store. `rollback` takes back everything since the last
//! `confirm`, for a store whose commit failed.

use super::leases::LeaseTable;
use super::transaction::{Author, Changes, Needs, Rows, Stepped, Way, concerns, needs, transact};
use crate::effect::{Batch, LedgerError};
use crate::model::{
    Attempt, AttemptId, AttemptState, Epoch, GateId, ItemRecord, OnceEntry, OnceKey, Principal, ResourceKey,
};
use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

/// Records known so far; one that is missing is loaded.
#[derive(Debug)]
pub(super) struct RecordCache {
    records: Records,
    before: Vec<(ResourceKey, Option<ItemRecord>)>,
    /// Attempts opened on items that the group had changed before: whoever opened one has been told.
    opened: Vec<Attempt>,
    /// Items that may stand at another place than the store says: an OPEN attempt tells where, and is not stored.
    moved: HashSet<ResourceKey>,
    pub(super) leases: LeaseTable,
    pub(super) gate: GateId,
    pub(super) epoch: Epoch,
    zombie_period: Duration,
}

/// The records that are in memory.
#[derive(Debug)]
struct Records {
    by_key: HashMap<ResourceKey, ItemRecord>,
    /// Their keys, the oldest first; one that was dropped in between may stand here twice or for nothing.
    order: VecDeque<ResourceKey>,
}

/// What a batch changed, and what of it is to be stored.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) changes: Changes,
    /// The records of which more changed than the live attempt.
    pub(super) items: Vec<ItemRecord>,
    /// Whether anything but an OPEN attempt changed.
    pub(super) stored: bool,
}

/// Where records come from that the cache does not have.
pub(super) trait Load {
    /// One item.
    fn item(&self, key: &ResourceKey) -> Result<Option<ItemRecord>, LedgerError>;
    /// Every item that the account holds, and every one that a write which is sent or in doubt may make it hold; others
    /// may be among them.
    fn of_account(&self, account: &Principal) -> Result<Vec<ItemRecord>, LedgerError>;
    /// What may be created once, by its key.
    fn once(&self, key: &OnceKey) -> Result<Option<OnceEntry>, LedgerError>;
}

/// The store behind a cache; `None`: the cache has every item.
pub(super) type BackingStore<'a> = Option<&'a dyn Load>;

/// Records kept in the cache before idle ones are dropped; they can be loaded again.
const MOST_RECORDS: usize = 10_000;
/// Most records that are looked at in one `shrink`: nobody waits for many of them. More than a group can add.
const MOST_SHRUNK: usize = 2_000;

// === impl RecordCache ===

impl RecordCache {
    pub(super) fn new(gate: GateId, epoch: Epoch, zombie_period: Duration) -> Self {
        Self {
            records: Records::new(),
            before: Vec::new(),
            opened: Vec::new(),
            moved: HashSet::new(),
            leases: LeaseTable::default(),
            gate,
            epoch,
            zombie_period,
        }
    }

    /// From now on it writes as this gate and epoch. Returns as which it wrote before.
    pub(super) fn write_as(&mut self, (gate, epoch): (GateId, Epoch)) -> (GateId, Epoch) {
        (std::mem::replace(&mut self.gate, gate), std::mem::replace(&mut self.epoch, epoch))
    }

    /// Runs a batch; nothing has changed if it is refused.
    pub(super) fn run(&mut self, batch: &Batch, load: BackingStore<'_>) -> Result<Written, LedgerError> {
        let needs = needs(batch);
        let mut rows = self.rows(&needs, load)?;
        if let Some(load) = load {
            for key in needs.once {
                let entry = load.once(&key)?;
                rows.once.extend(entry.map(|entry| (key, entry)));
            }
        }
        self.run_over(batch, rows)
    }

    /// The same over rows that were loaded already.
    pub(super) fn run_over(&mut self, batch: &Batch, rows: Rows) -> Result<Written, LedgerError> {
        let (gate, epoch, zombie_period) = (self.gate.clone(), self.epoch, self.zombie_period);
        let changes = transact(batch, rows, &Author { gate, epoch, zombie_period })?;
        Ok(self.take(changes))
    }

    /// The rows that the cache has or loads: all but what may be created once.
    pub(super) fn rows(&mut self, needs: &Needs, load: BackingStore<'_>) -> Result<Rows, LedgerError> {
        let mut rows = Rows::default();
        for key in &needs.items {
            let record = self.get(key, load)?;
            rows.items.extend(record.map(|record| (key.clone(), record)));
        }
        for account in &needs.accounts {
            rows.of_accounts.extend(match load {
                // Rows are as new as the cache.
                Some(load) => load.of_account(account)?,
                None => self.all().filter(|record| concerns(record, account)).cloned().collect(),
            });
        }
        let known = |name| self.leases.get(name).map(|lease| (std::clone::Clone::clone(name), lease.clone()));
        rows.leases = needs.leases.iter().filter_map(known).collect();
        Ok(rows)
    }

    fn take(&mut self, mut changes: Changes) -> Written {
        let (mark, stored) = (self.before.len(), changes.is_more_than_open());
        let mut items = Vec::new();
        for Stepped { before, after, way } in std::mem::take(&mut changes.steps) {
            let opens = way == Way::Opens;
            if opens && before.as_ref().is_some_and(|before| before.locator != after.locator) {
                self.moved.insert(after.key.clone());
            }
            if !opens && (self.moved.remove(&after.key) || !is_row_enough(before.as_ref(), &after, way)) {
                items.push(after.clone());
            }
            self.before.push((after.key.clone(), before));
            self.records.put(after.key.clone(), after);
        }
        for (name, lease) in &changes.leases {
            self.leases.set(name.clone(), lease.clone());
        }
        if !stored {
            // An OPEN attempt is nowhere but here: there is nothing to take back should a group fail.
            for (key, _) in self.before.split_off(mark) {
                let in_group = self.before.iter().any(|(other, _)| *other == key);
                let live = self.records.by_key.get(&key).filter(|_| in_group).and_then(|record| record.live.clone());
                self.opened.extend(live);
            }
        }
        Written { changes, items, stored }
    }

    /// A record, loaded if need be.
    pub(super) fn get(&mut self, key: &ResourceKey, load: BackingStore<'_>) -> Result<Option<ItemRecord>, LedgerError> {
        if let Some(record) = self.records.by_key.get(key) {
            return Ok(Some(record.clone()));
        }
        let loaded = load.map_or(Ok(None), |load| load.item(key))?;
        if let Some(record) = &loaded {
            self.records.put(key.clone(), record.clone());
        }
        Ok(loaded)
    }

    /// The attempt is under way again. For a store with a planted flaw.
    pub(super) fn revive(&mut self, attempt: Attempt) {
        if let Some(record) = self.records.by_key.get_mut(&attempt.key) {
            record.live.get_or_insert(attempt);
        }
    }

    /// Every record in the cache.
    pub(super) fn all(&self) -> impl Iterator<Item = &ItemRecord> {
        self.records.by_key.values()
    }

    /// What was run since the last `confirm` is stored.
    pub(super) fn confirm(&mut self) {
        self.before.clear();
        self.opened.clear();
        self.leases.confirm();
    }

    /// What was run since the last `confirm` could not be stored. An attempt that was opened beside it, and answered, is OPEN
    /// again, whatever the group made of it: whoever opened it has yet to end it.
    pub(super) fn rollback(&mut self) {
        self.take_back();
        self.leases.take_back();
        for attempt in std::mem::take(&mut self.opened) {
            let new = || ItemRecord::new(attempt.key.clone(), attempt.locator.clone());
            let record = self.records.by_key.remove(&attempt.key).unwrap_or_else(new);
            // The end of the one before it was in the group: that one is sent, and has yet to end. This one was not.
            let live = record.live.clone().filter(|before| before.state == AttemptState::Sending).unwrap_or(attempt);
            self.records.put(record.key.clone(), ItemRecord { live: Some(live), ..record });
        }
    }

    /// Forgets an attempt that was never sent, whatever became of its row.
    pub(super) fn close(&mut self, key: &ResourceKey, attempt: &AttemptId) {
        if let Some(record) = self.records.by_key.get_mut(key) {
            record.live.take_if(|live| live.id == *attempt);
        }
    }

    /// Drops the oldest records that nothing is going on with, when there are many. For caches whose records can be loaded
    /// again.
    pub(super) fn shrink(&mut self) {
        self.records.shrink();
    }

    fn take_back(&mut self) {
        for (key, record) in self.before.drain(..).rev() {
            // Whether its place was among what is not stored now is not kept: it is stored with the next step.
            self.moved.insert(key.clone());
            match record {
                Some(record) => self.records.put(key, record),
                None => drop(self.records.by_key.remove(&key)),
            }
        }
    }
}

// === impl Records ===

impl Records {
    fn new() -> Self {
        // Room for all of them at once: a table that moves while it grows would make every claim wait.
        Self { by_key: HashMap::with_capacity(MOST_RECORDS + MOST_SHRUNK), order: VecDeque::new() }
    }

    fn put(&mut self, key: ResourceKey, record: ItemRecord) {
        if self.by_key.insert(key.clone(), record).is_none() {
            self.order.push_back(key);
        }
    }

    fn shrink(&mut self) {
        for _ in 0..MOST_SHRUNK {
            if self.order.len() <= MOST_RECORDS {
                return;
            }
            let Some(key) = self.order.pop_front() else { return };
            if self.by_key.get(&key).is_some_and(|record| record.live.is_some()) {
                self.order.push_back(key);
            } else {
                self.by_key.remove(&key);
            }
        }
    }
}

/// Whether what is stored of the item needs no change: only its live attempt does, which has a row of its own. An item
/// that is new is told by that row as long as it is live.
fn is_row_enough(before: Option<&ItemRecord>, after: &ItemRecord, way: Way) -> bool {
    let untouched = before.is_some_and(|before| same_but_live(before, after));
    untouched && (after.fence.0 > 0 || way == Way::Sends)
}

fn same_but_live(one: &ItemRecord, other: &ItemRecord) -> bool {
    one.fence == other.fence
        && one.contested == other.contested
        && one.holding == other.holding
        && one.locator == other.locator
        && one.doubts == other.doubts
        && one.doubt_until == other.doubt_until
        && one.late_writes == other.late_writes
        && one.pending_restore == other.pending_restore
        && one.reassigned == other.reassigned
        && one.lost == other.lost
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::{Outcome, Plan, Step};
    use crate::effect::Command;
    use crate::model::{
        Account, Actor, Change, Fingerprint, Goal, Kind, OpenState, Ownership, Place, Principal, Shown, Time,
    };
    use std::collections::BTreeSet;

    fn attempt(id: &str) -> Attempt {
        Attempt {
            id: AttemptId::new(id),
            key: ResourceKey::new("1"),
            locator: Place::from_stored("a/b#1"),
            actor: Actor { account: Principal::Named(Account::new("dev")), instance: None },
            credential: Fingerprint::new(""),
            change: Change::default(),
            goal: None,
            kind: None,
            ownership: Ownership::Keep,
            state: AttemptState::Open,
            gate: GateId::new("gate"),
            epoch: Epoch(1),
            opened: Time(0),
        }
    }

    fn run(cache: &mut RecordCache, step: Step) -> Result<Written, LedgerError> {
        let (key, locator) = (ResourceKey::new("1"), Place::from_stored("a/b#1"));
        run_all(cache, vec![Command { key, locator, step, note: None, now: Time(0) }])
    }

    fn run_all(cache: &mut RecordCache, items: Vec<Command>) -> Result<Written, LedgerError> {
        cache.run(&Batch { items, ..Batch::default() }, None)
    }

    /// What is under way stays in memory however old it is; of the rest only the newest do.
    #[test]
    fn the_oldest_idle_records_are_dropped() {
        let mut cache = RecordCache::new(GateId::new("gate"), Epoch(1), Duration::ZERO);
        run(&mut cache, Step::Open(attempt("one"))).unwrap();
        for number in 0..MOST_RECORDS + MOST_SHRUNK {
            let key = ResourceKey::new(&format!("later {number}"));
            cache.records.put(key.clone(), ItemRecord::new(key, Place::from_stored("a/b#2")));
            if number % 500 == 0 {
                cache.shrink();
            }
        }
        cache.shrink();
        assert!(cache.all().count() <= MOST_RECORDS, "{}", cache.all().count());
        assert!(cache.get(&ResourceKey::new("1"), None).unwrap().unwrap().live.is_some());
        assert!(cache.get(&ResourceKey::new("later 0"), None).unwrap().is_none());
        let last = format!("later {}", MOST_RECORDS + MOST_SHRUNK - 1);
        assert!(cache.get(&ResourceKey::new(&last), None).unwrap().is_some());
    }

    /// The next attempt is answered while the refusal before it waits for its group. It is open still when that fails.
    #[test]
    fn an_open_attempt_outlives_a_group_that_failed() {
        let mut cache = RecordCache::new(GateId::new("gate"), Epoch(1), Duration::ZERO);
        run(&mut cache, Step::Open(attempt("one"))).unwrap();
        run(&mut cache, Step::Reject(AttemptId::new("one"))).unwrap();
        run(&mut cache, Step::Open(attempt("two"))).unwrap();
        cache.rollback();
        cache.close(&ResourceKey::new("1"), &AttemptId::new("one"));
        let live = cache.all().next().unwrap().live.clone();
        assert_eq!(live.map(|live| live.id), Some(AttemptId::new("two")));
    }

    /// The next attempt is answered while the end of a sent one waits for its group. That one is sent still.
    #[test]
    fn a_sent_attempt_outlives_a_group_that_failed() {
        let mut cache = RecordCache::new(GateId::new("gate"), Epoch(1), Duration::ZERO);
        let plan = Plan { kind: Kind::Move, goal: Goal::default(), ownership: Ownership::Keep, heard: None };
        run(&mut cache, Step::Open(attempt("one"))).unwrap();
        run(&mut cache, Step::Send { attempt: AttemptId::new("one"), plan }).unwrap();
        cache.confirm();
        let settle = || {
            let shown = Shown { assignees: BTreeSet::new(), statuses: BTreeSet::new(), state: OpenState::Open };
            Step::Settle { attempt: AttemptId::new("one"), outcome: Outcome::Refused { shown }, doubt_until: Time(1) }
        };
        run(&mut cache, settle()).unwrap();
        run(&mut cache, Step::Open(attempt("two"))).unwrap();
        cache.rollback();
        assert_eq!(cache.all().next().unwrap().live.as_ref().map(|live| live.state), Some(AttemptState::Sending));
        run(&mut cache, settle()).unwrap();
    }

    /// The item's group is written for another step, and fails with the T2 of an attempt that was opened beside it.
    #[test]
    fn an_attempt_whose_send_was_in_a_group_that_failed_is_open_again() {
        let mut cache = RecordCache::new(GateId::new("gate"), Epoch(1), Duration::ZERO);
        let actor = Actor { account: Principal::Named(Account::new("dev")), instance: None };
        run(&mut cache, Step::Renew { actor, at: Time(0) }).unwrap();
        run(&mut cache, Step::Open(attempt("one"))).unwrap();
        let plan = Plan { kind: Kind::Move, goal: Goal::default(), ownership: Ownership::Keep, heard: None };
        run(&mut cache, Step::Send { attempt: AttemptId::new("one"), plan }).unwrap();
        cache.rollback();
        let written = run(&mut cache, Step::Abort(AttemptId::new("one"))).unwrap();
        assert_eq!(written.changes.lines.len(), 1);
    }

    /// It was opened and granted in one step: nobody knows of it who could end it.
    #[test]
    fn an_attempt_that_was_opened_within_a_group_that_failed_is_gone() {
        let mut cache = RecordCache::new(GateId::new("gate"), Epoch(1), Duration::ZERO);
        let (key, locator) = (ResourceKey::new("1"), Place::from_stored("a/b#1"));
        let command = |step| Command { key: key.clone(), locator: locator.clone(), step, note: None, now: Time(0) };
        let plan = Plan { kind: Kind::Move, goal: Goal::default(), ownership: Ownership::Keep, heard: None };
        let send = Step::Send { attempt: AttemptId::new("one"), plan };
        run_all(&mut cache, vec![command(Step::Open(attempt("one"))), command(send)]).unwrap();
        cache.rollback();
        assert!(cache.all().all(|record| record.live.is_none()));
    }
}
