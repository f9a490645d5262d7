//! The ledger in memory: for `demo`, for tests on virtual time, and as the yardstick of the contract suite.
//!
//! A [`MemoryStore`] outlives the gate that opened it, as a disk would: opening
//! it again is a new epoch, and what the last one left is recovered. Several
//! gates may share a store (`members.rs`), as they will a database.

mod members;

pub use members::Flaw;

use super::leases::LeaseTable;
use super::lines::{bare_line, marks};
use super::record_cache::{RecordCache, Written};
use super::transaction::{needs, recovery_once};
use crate::admission::{Refused, Step};
use crate::effect::audit::GENESIS;
use crate::effect::{
    Batch, BoxFuture, Clock, Command, Committed, Creations, Durability, Held, Ledger, LedgerError, Line, Note,
};
use crate::model::{
    Attempt, AttemptId, Epoch, GateId, ItemRecord, OnceEntry, OnceKey, Place, Principal, ProjectLease, ResourceKey,
    Settled, Time,
};
use members::Members;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// What would be on disk.
pub struct MemoryStore {
    inner: Mutex<Inner>,
    newest: watch::Sender<u64>,
    /// The ledger's own, where several gates share it.
    clock: Option<Arc<dyn Clock>>,
}

#[derive(Debug)]
struct Inner {
    cache: RecordCache,
    members: Members,
    /// Attempts that were sent and are not final.
    unsettled: HashMap<AttemptId, Attempt>,
    settled: Vec<Settled>,
    lines: Vec<String>,
    last_hash: String,
    printed: u64,
    once: BTreeMap<OnceKey, OnceEntry>,
    available: bool,
    flaw: Option<Flaw>,
}

/// One gate's hold of a store.
#[derive(Clone, Debug)]
pub struct MemoryLedger {
    store: Arc<MemoryStore>,
    gate: GateId,
    /// Of the life that runs now: a gate that was declared fallen joins again.
    epoch: Arc<AtomicU64>,
}

// === impl MemoryStore ===

impl MemoryStore {
    /// An empty store of one gate.
    pub fn new(gate: &str, zombie_period: Duration) -> Arc<Self> {
        Self::of(gate, zombie_period, None)
    }

    /// An empty store that gates [`join`](Self::join). Times are judged by this clock.
    pub fn shared(zombie_period: Duration, clock: Arc<dyn Clock>) -> Arc<Self> {
        Self::of("", zombie_period, Some(clock))
    }

    fn of(gate: &str, zombie_period: Duration, clock: Option<Arc<dyn Clock>>) -> Arc<Self> {
        let inner = Inner {
            cache: RecordCache::new(GateId::new(gate), Epoch(0), zombie_period),
            members: Members::default(),
            unsettled: HashMap::new(),
            settled: Vec::new(),
            lines: Vec::new(),
            last_hash: GENESIS.to_owned(),
            printed: 0,
            once: BTreeMap::new(),
            available: true,
            flaw: None,
        };
        Arc::new(Self { inner: Mutex::new(inner), newest: watch::channel(0).0, clock })
    }

    /// Opens it as a new epoch and recovers what the last one left; doubt ends at `doubt_until`.
    pub fn open(self: &Arc<Self>, now: Time, doubt_until: Time) -> MemoryLedger {
        let mut inner = self.lock();
        inner.cache.epoch = Epoch(inner.cache.epoch.0 + 1);
        let (gate, epoch) = (inner.cache.gate.clone(), inner.cache.epoch);
        inner.recover((&gate, epoch), |_| true, doubt_until, now);
        inner.cache.leases = LeaseTable::stored(inner.cache.leases.all(), now);
        self.announce(&inner);
        MemoryLedger::new(self, gate, epoch)
    }

    /// Joins the gates that share it, as a new epoch of the gate of this name, and recovers what the last one left. Whoever
    /// was that gate until now has fallen.
    pub fn join(self: &Arc<Self>, gate: &str, doubt_period: Duration) -> MemoryLedger {
        let (mut inner, gate) = (self.lock(), GateId::new(gate));
        let now = self.now(Time(0));
        let epoch = inner.members.join(&gate, now);
        let before = inner.cache.write_as((gate.clone(), epoch));
        inner.recover((&gate, epoch), |attempt| attempt.gate == gate, now + doubt_period, now);
        inner.cache.write_as(before);
        self.announce(&inner);
        MemoryLedger::new(self, gate, epoch)
    }

    /// Switches the store off, as a full disk would, and on again.
    pub fn set_available(&self, available: bool) {
        self.lock().available = available;
    }

    /// From now on it breaks this rule, so that a test can show that the breach is found.
    pub fn plant(&self, flaw: Flaw) {
        self.lock().flaw = Some(flaw);
    }

    /// The lives that ended while their gate did not know of it: it was declared fallen.
    pub fn fallen(&self) -> Vec<(GateId, Epoch)> {
        self.lock().members.fallen.clone()
    }

    fn now(&self, own: Time) -> Time {
        self.clock.as_ref().map_or(own, |clock| clock.now())
    }

    fn announce(&self, inner: &Inner) {
        self.newest.send_replace(inner.lines.len() as u64);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryStore").field("shared", &self.clock.is_some()).finish_non_exhaustive()
    }
}

// === impl Inner ===

impl Inner {
    /// Closes what is left of this gate's epochs before this one, on the items whose live attempt is one of `those`; on
    /// every item, where there is no other gate.
    fn recover(
        &mut self,
        (gate, before): (&GateId, Epoch),
        those: impl Fn(&Attempt) -> bool,
        doubt_until: Time,
        now: Time,
    ) {
        let shared = !self.members.is_empty();
        let step = || Step::Recover { gate: gate.clone(), before, doubt_until };
        let command = |record: &ItemRecord| Command {
            key: record.key.clone(),
            locator: record.locator.clone(),
            step: step(),
            note: None,
            now,
        };
        let left = |record: &&ItemRecord| !shared || record.live.as_ref().is_some_and(&those);
        let mut commands: Vec<Command> = self.cache.all().filter(left).map(command).collect();
        // In one order always, so that a simulation repeats.
        commands.sort_by(|one, other| one.key.cmp(&other.key));
        let once = recovery_once(self.once.keys().cloned(), (gate, before), doubt_until, now);
        // Nothing refuses a recovery.
        if let Ok(written) = self.run(&Batch { items: commands, once, ..Batch::default() }) {
            self.store(written);
        }
    }

    fn run(&mut self, batch: &Batch) -> Result<Written, LedgerError> {
        let needs = needs(batch);
        let mut rows = self.cache.rows(&needs, None)?;
        let entries = needs.once.iter().filter_map(|key| Some((key.clone(), self.once.get(key)?.clone())));
        rows.once = entries.collect();
        self.cache.run_over(batch, rows)
    }

    fn store(&mut self, Written { changes, .. }: Written) -> Committed {
        self.cache.confirm();
        self.settled.extend(changes.settled.iter().map(|settled| whole(&self.unsettled, settled)));
        for settled in &changes.settled {
            self.unsettled.remove(&settled.attempt.id);
        }
        self.unsettled.extend(changes.unsettled.iter().map(|attempt| (attempt.id.clone(), attempt.clone())));
        for line in &changes.lines {
            self.append(line);
        }
        for (key, entry) in changes.once {
            match entry {
                Some(entry) => drop(self.once.insert(key, entry)),
                None => drop(self.once.remove(&key)),
            }
        }
        changes.committed
    }

    fn append(&mut self, line: &Line) {
        let (text, hash) = line.seal(self.lines.len() as u64 + 1, &self.last_hash);
        self.lines.push(text);
        self.last_hash = hash;
    }

    fn ended(&self, limit: usize, of: impl Fn(&ResourceKey) -> bool) -> Vec<Settled> {
        let mut found: Vec<_> = self.settled.iter().filter(|ended| of(&ended.attempt.key)).cloned().collect();
        found.sort_by(|one, other| order(other).cmp(&order(one)));
        found.truncate(limit);
        found
    }

    fn check(&self) -> Result<(), LedgerError> {
        self.available.then_some(()).ok_or_else(|| LedgerError::Unavailable("switched off".to_owned()))
    }
}

/// The attempt as it was entered, with its end: a doubt remembers only what its resolver needs.
fn whole(unsettled: &HashMap<AttemptId, Attempt>, settled: &Settled) -> Settled {
    let Some(entered) = unsettled.get(&settled.attempt.id) else { return settled.clone() };
    let (state, ownership) = (settled.attempt.state, settled.attempt.ownership.clone());
    Settled { attempt: Attempt { ownership, state, ..entered.clone() }, ..settled.clone() }
}

// === impl MemoryLedger ===

impl MemoryLedger {
    fn new(store: &Arc<MemoryStore>, gate: GateId, epoch: Epoch) -> Self {
        Self { store: Arc::clone(store), gate, epoch: Arc::new(AtomicU64::new(epoch.0)) }
    }

    fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::Acquire))
    }

    fn run(&self, mut batch: Batch) -> Result<Committed, LedgerError> {
        let mut inner = self.store.lock();
        inner.check()?;
        let settles = batch.items.iter().any(|command| matches!(command.step, Step::Settle { .. }));
        if !(settles && inner.flaw == Some(Flaw::SettlesTwice)) {
            inner.admit(self)?;
        }
        if let Some(clock) = &self.store.clock {
            batch.items.iter_mut().for_each(|command| timed(command, clock.now()));
        }
        // A process that was replaced writes as what it was, and its rows no longer match.
        let own = (self.gate.clone(), self.epoch());
        let before = inner.cache.write_as(own);
        let mut written = inner.run(&batch);
        if inner.flaw == Some(Flaw::SettlesTwice) && matches!(written, Err(LedgerError::Refused(Refused::Fenced))) {
            inner.revive(&batch.items, self);
            written = inner.run(&batch);
        }
        inner.cache.write_as(before);
        let committed = inner.store(written?);
        self.store.announce(&inner);
        Ok(committed)
    }

    fn read<T>(&self, of: impl FnOnce(&Inner) -> T) -> Result<T, LedgerError> {
        let inner = self.store.lock();
        inner.check()?;
        Ok(of(&inner))
    }
}

/// The same by the ledger's clock: a doubt lasts as long as its gate meant it to.
fn timed(command: &mut Command, now: Time) {
    let own = std::mem::replace(&mut command.now, now);
    if let Step::Settle { doubt_until, .. } = &mut command.step {
        *doubt_until = now + doubt_until.since(own);
    }
}

fn order(settled: &Settled) -> (Time, &AttemptId) {
    (settled.attempt.opened, &settled.attempt.id)
}

impl Ledger for MemoryLedger {
    fn transact(&self, batch: Batch, _durability: Durability) -> BoxFuture<'_, Result<Committed, LedgerError>> {
        Box::pin(async move { self.run(batch) })
    }

    fn record(&self, note: Note, now: Time) {
        let mut inner = self.store.lock();
        let line = bare_line(note, now, &self.gate);
        inner.append(&line);
        self.store.announce(&inner);
    }

    fn item(&self, key: &ResourceKey) -> BoxFuture<'_, Result<Option<ItemRecord>, LedgerError>> {
        let key = key.clone();
        Box::pin(async move { self.read(|inner| inner.cache.all().find(|record| record.key == key).cloned()) })
    }

    fn active(&self) -> BoxFuture<'_, Result<Vec<ItemRecord>, LedgerError>> {
        let active = |record: &&ItemRecord| record.holding.is_some() || !record.doubts.is_empty();
        Box::pin(async move { self.read(|inner| inner.cache.all().filter(active).cloned().collect()) })
    }

    fn doubtful(&self) -> BoxFuture<'_, Result<Vec<ItemRecord>, LedgerError>> {
        let doubtful = |record: &&ItemRecord| !record.doubts.is_empty();
        Box::pin(async move { self.read(|inner| inner.cache.all().filter(doubtful).cloned().collect()) })
    }

    fn held_after(&self, last: Option<Held>, limit: usize) -> BoxFuture<'_, Result<Vec<ItemRecord>, LedgerError>> {
        Box::pin(async move {
            let after = |record: &&ItemRecord| Held::of(record).is_some_and(|held| last < Some(held));
            let mut held: Vec<ItemRecord> =
                self.read(|inner| inner.cache.all().filter(after).cloned().collect::<Vec<_>>())?;
            held.sort_by_cached_key(Held::of);
            held.truncate(limit);
            Ok(held)
        })
    }

    fn ended(&self, key: &ResourceKey, limit: usize) -> BoxFuture<'_, Result<Vec<Settled>, LedgerError>> {
        let key = key.clone();
        Box::pin(async move { self.read(|inner| inner.ended(limit, |ended| *ended == key)) })
    }

    fn history(&self, locator: &Place, limit: usize) -> BoxFuture<'_, Result<Vec<Settled>, LedgerError>> {
        let locator = locator.clone();
        Box::pin(async move {
            self.read(|inner| {
                let here =
                    |key: &ResourceKey| inner.cache.all().any(|record| record.key == *key && record.locator == locator);
                inner.ended(limit, here)
            })
        })
    }

    fn of_account(&self, _account: &Principal) -> BoxFuture<'_, Result<Vec<ItemRecord>, LedgerError>> {
        Box::pin(async move { self.read(|inner| inner.cache.all().cloned().collect()) })
    }

    fn leases(&self) -> BoxFuture<'_, Result<Vec<ProjectLease>, LedgerError>> {
        Box::pin(async move { self.read(|inner| inner.cache.leases.all()) })
    }

    fn lines(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<(u64, String)>, LedgerError>> {
        Box::pin(async move {
            let skip = usize::try_from(after).unwrap_or(usize::MAX);
            self.read(|inner| (after + 1..).zip(inner.lines.iter().skip(skip).take(limit).cloned()).collect())
        })
    }

    fn lines_about(&self, locator: &Place, limit: usize) -> BoxFuture<'_, Result<Vec<String>, LedgerError>> {
        let locator = locator.clone();
        Box::pin(async move {
            self.read(|inner| {
                let key = inner.cache.all().find(|record| record.locator == locator).map(|record| record.key.clone());
                let marks = marks(&locator, key.as_ref());
                let about = |line: &&String| marks.iter().any(|mark| line.contains(mark));
                inner.lines.iter().rev().filter(about).take(limit).cloned().collect()
            })
        })
    }

    fn newest_line(&self) -> watch::Receiver<u64> {
        self.store.newest.subscribe()
    }

    fn printed(&self) -> BoxFuture<'_, Result<u64, LedgerError>> {
        Box::pin(async move { self.read(|inner| inner.printed) })
    }

    fn mark_printed(&self, seq: u64) -> BoxFuture<'_, Result<(), LedgerError>> {
        self.store.lock().printed = seq;
        Box::pin(async { Ok(()) })
    }
}

impl Creations for MemoryLedger {
    fn once(&self, keys: Vec<OnceKey>) -> BoxFuture<'_, Result<Vec<Option<OnceEntry>>, LedgerError>> {
        Box::pin(async move { self.read(|inner| keys.iter().map(|key| inner.once.get(key).cloned()).collect()) })
    }
}
