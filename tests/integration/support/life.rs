//! One life of a gate process: its clock, its ledger, and the traps that end, stop or starve it at a chosen step.

use claimgate::admission::Step;
use claimgate::admission::once::OnceStep;
use claimgate::effect::{
    Batch, BoxFuture, Clock, Command, Committed, Creations, Durability, Entropy, Held, Ledger, LedgerError, Membership,
    Note, OnceCommand, Rivals,
};
use claimgate::ledger::{MemoryLedger, MemoryStore};
use claimgate::model::{
    AttemptId, BootTime, Epoch, GateId, ItemRecord, OnceEntry, OnceKey, Place, Principal, ProjectLease, ResourceKey,
    Settled, Standing, Time,
};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// A step of the protocol at which something can be made to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    BeforeT1,
    AfterT1,
    BeforeT2,
    AfterT2,
    /// The connection is ready; the first byte has not left.
    BeforeSend,
    /// The tracker's answer is there, or will not come.
    Answered,
    BeforeT3,
    AfterT3,
    /// Before a refusal or an abort is written.
    BeforeClose,
    /// The resolver has read, and is about to settle.
    BeforeResolve,
    /// It is written who is at work by a singleton rule.
    AfterLease,
}

/// What happens there, once.
#[derive(Clone, Debug)]
pub enum Trap {
    /// The process stops for good (or, if the test thaws it, for a while).
    Crash,
    /// The ledger fails from here on, until the test says otherwise.
    LedgerAway,
    /// The machine sleeps: only the boot clock goes on.
    Suspend(Duration),
    /// It takes this long.
    Slow(Duration),
    /// The process is stopped for so long, and goes on.
    Stop(Duration),
    /// A bug.
    Panic,
}

/// One life of a gate process.
#[derive(Debug)]
pub struct Life {
    frozen: watch::Sender<bool>,
    /// The process is stopped, and goes on later; its clients wait.
    stopped: watch::Sender<bool>,
    traps: Mutex<Vec<(Moment, Trap)>>,
    store: Arc<MemoryStore>,
    clock: Arc<SimClock>,
}

/// The machine's clocks: virtual time, suspends, and a wall clock that can be stepped.
#[derive(Debug)]
pub struct SimClock {
    started: Instant,
    suspended: AtomicU64,
    wall: AtomicI64,
    /// How long it had been up when the world began.
    up: Duration,
}

/// The clock of one life: like the real one it reads the wall clock once, at the start.
#[derive(Debug)]
pub struct LifeClock {
    machine: Arc<SimClock>,
    wall: i64,
}

/// Numbers instead of randomness.
#[derive(Debug, Default)]
pub struct SimEntropy(AtomicU64);

/// The ledger of one life, with its traps.
#[derive(Debug)]
pub struct FaultyLedger {
    inner: MemoryLedger,
    life: Arc<Life>,
    /// A planted bug: what was read before an attempt was OPEN carries its admission.
    early_reads: bool,
}

// === impl Life ===

impl Life {
    pub fn new(store: Arc<MemoryStore>, clock: Arc<SimClock>) -> Arc<Self> {
        let (frozen, stopped) = (watch::Sender::new(false), watch::Sender::new(false));
        Arc::new(Self { frozen, stopped, traps: Mutex::default(), store, clock })
    }

    pub fn trap(&self, at: Moment, trap: Trap) {
        self.traps.lock().unwrap().push((at, trap));
    }

    /// Forgets every trap.
    pub fn disarm(&self) {
        self.traps.lock().unwrap().clear();
    }

    pub fn freeze(&self) {
        self.frozen.send_replace(true);
    }

    pub fn thaw(&self) {
        self.frozen.send_replace(false);
    }

    /// SIGSTOP, and SIGCONT.
    pub fn stop(&self, stopped: bool) {
        self.stopped.send_replace(stopped);
    }

    pub fn stop_for(self: &Arc<Self>, span: Duration) {
        self.stop(true);
        let life = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(span).await;
            life.stop(false);
        });
    }

    pub fn is_frozen(&self) -> bool {
        *self.frozen.borrow()
    }

    /// Returns once this life is frozen.
    pub async fn ended(&self) {
        let _ = self.frozen.subscribe().wait_for(|frozen| *frozen).await;
    }

    /// Goes on only while the process lives, and after what waits at this step.
    pub async fn reach(self: &Arc<Self>, moment: Moment) {
        self.alive().await;
        let trap = {
            let mut traps = self.traps.lock().unwrap();
            traps.iter().position(|(at, _)| *at == moment).map(|found| traps.remove(found).1)
        };
        match trap {
            None => {}
            Some(Trap::Crash) => self.freeze(),
            Some(Trap::LedgerAway) => self.store.set_available(false),
            Some(Trap::Suspend(span)) => self.clock.suspend(span),
            Some(Trap::Slow(span)) => tokio::time::sleep(span).await,
            Some(Trap::Stop(span)) => self.stop_for(span),
            Some(Trap::Panic) => panic!("as the test wants it"),
        }
        self.alive().await;
    }

    pub async fn alive(&self) {
        let _ = self.stopped.subscribe().wait_for(|stopped| !*stopped).await;
        let _ = self.frozen.subscribe().wait_for(|frozen| !*frozen).await;
    }
}

// === impl SimClock ===

impl SimClock {
    pub fn start() -> Arc<Self> {
        // A machine that was up for an hour.
        Self::of_machine(Duration::from_hours(1), 0)
    }

    /// Another machine: up for as long, and its wall clock wrong by so many seconds.
    pub fn of_machine(up: Duration, wrong_by: i64) -> Arc<Self> {
        // 2026-01-01T00:00:00Z, less what it was up for.
        let up_for = i64::try_from(up.as_micros()).unwrap() - 3_600_000_000;
        let wall = AtomicI64::new(1_767_225_600_000_000 - up_for + wrong_by * 1_000_000);
        Arc::new(Self { started: Instant::now(), suspended: AtomicU64::new(0), wall, up })
    }

    /// The machine was asleep for this long.
    pub fn suspend(&self, span: Duration) {
        self.suspended.fetch_add(micros(span), Ordering::Relaxed);
    }

    /// As a process that starts now sees it.
    pub fn of_life(self: &Arc<Self>) -> Arc<LifeClock> {
        Arc::new(LifeClock { machine: Arc::clone(self), wall: self.wall.load(Ordering::Relaxed) })
    }

    fn boot(&self) -> BootTime {
        let up = self.up + self.started.elapsed();
        BootTime(micros(up) + self.suspended.load(Ordering::Relaxed))
    }

    /// Steps the wall clock; a gate process does not notice before its next life.
    pub fn step_wall(&self, seconds: i64) {
        self.wall.fetch_add(seconds * 1_000_000, Ordering::Relaxed);
    }
}

impl Clock for LifeClock {
    fn now(&self) -> Time {
        Time(self.wall + i64::try_from(self.boot().0).unwrap())
    }

    fn boot(&self) -> BootTime {
        self.machine.boot()
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap()
}

// === impl SimEntropy ===

impl Entropy for SimEntropy {
    fn attempt_id(&self, _now: Time) -> AttemptId {
        AttemptId::new(&format!("a-{:08}", self.0.fetch_add(1, Ordering::Relaxed)))
    }
}

// === impl FaultyLedger ===

impl FaultyLedger {
    pub fn new(inner: MemoryLedger, life: Arc<Life>, early_reads: bool) -> Self {
        Self { inner, life, early_reads }
    }
}

/// The moments before and after a step, where it has them.
fn moments(commands: &[Command]) -> (Option<Moment>, Option<Moment>) {
    // What a step rests on stands before it.
    let is_condition = |step: &&Step| matches!(step, Step::Check(_) | Step::Confirm { .. });
    let step = commands.iter().map(|command| &command.step).find(|step| !is_condition(step));
    match step {
        Some(Step::Open(_)) => (Some(Moment::BeforeT1), Some(Moment::AfterT1)),
        Some(Step::Send { .. }) => (Some(Moment::BeforeT2), Some(Moment::AfterT2)),
        Some(Step::Settle { .. } | Step::Grant { .. }) => (Some(Moment::BeforeT3), Some(Moment::AfterT3)),
        Some(Step::Reject(_) | Step::Abort(_)) => (Some(Moment::BeforeClose), None),
        Some(Step::Resolve { .. }) => (Some(Moment::BeforeResolve), None),
        _ => (None, None),
    }
}

/// The moments of a creation's entry: it is durable before the send as at T2, and ends as at T3.
fn once_moments(commands: &[OnceCommand]) -> (Option<Moment>, Option<Moment>) {
    match commands.first().map(|command| &command.step) {
        Some(OnceStep::Put { entry, .. }) if matches!(entry.standing, Standing::Sent { .. }) => {
            (Some(Moment::BeforeT2), Some(Moment::AfterT2))
        }
        Some(OnceStep::Made { .. } | OnceStep::Freed { .. } | OnceStep::Doubted { .. }) => {
            (Some(Moment::BeforeT3), Some(Moment::AfterT3))
        }
        _ => (None, None),
    }
}

fn batch_moments(batch: &Batch) -> (Option<Moment>, Option<Moment>) {
    match (&batch.items[..], &batch.leases[..], &batch.once[..]) {
        ([], [], once) => once_moments(once),
        ([], ..) => (None, Some(Moment::AfterLease)),
        (items, ..) => moments(items),
    }
}

impl Creations for FaultyLedger {
    fn once(&self, keys: Vec<OnceKey>) -> BoxFuture<'_, Result<Vec<Option<OnceEntry>>, LedgerError>> {
        Box::pin(async move {
            self.life.alive().await;
            self.inner.once(keys).await
        })
    }
}

impl Ledger for FaultyLedger {
    fn transact(&self, batch: Batch, durability: Durability) -> BoxFuture<'_, Result<Committed, LedgerError>> {
        Box::pin(async move {
            let (before, after) = batch_moments(&batch);
            match before {
                Some(before) => self.life.reach(before).await,
                None => self.life.alive().await,
            }
            let done = self.inner.transact(batch, durability).await;
            if let Some(after) = after {
                self.life.reach(after).await;
            }
            done
        })
    }

    fn record(&self, note: Note, now: Time) {
        // The dead write nothing.
        if !self.life.is_frozen() {
            self.inner.record(note, now);
        }
    }

    fn item(&self, key: &ResourceKey) -> BoxFuture<'_, Result<Option<ItemRecord>, LedgerError>> {
        let key = key.clone();
        Box::pin(async move {
            self.life.alive().await;
            self.inner.item(&key).await
        })
    }

    fn active(&self) -> BoxFuture<'_, Result<Vec<ItemRecord>, LedgerError>> {
        self.inner.active()
    }

    fn doubtful(&self) -> BoxFuture<'_, Result<Vec<ItemRecord>, LedgerError>> {
        self.inner.doubtful()
    }

    fn held_after(&self, last: Option<Held>, limit: usize) -> BoxFuture<'_, Result<Vec<ItemRecord>, LedgerError>> {
        self.inner.held_after(last, limit)
    }

    fn ended(&self, key: &ResourceKey, limit: usize) -> BoxFuture<'_, Result<Vec<Settled>, LedgerError>> {
        self.inner.ended(key, limit)
    }

    fn history(&self, locator: &Place, limit: usize) -> BoxFuture<'_, Result<Vec<Settled>, LedgerError>> {
        self.inner.history(locator, limit)
    }

    fn of_account(&self, account: &Principal) -> BoxFuture<'_, Result<Vec<ItemRecord>, LedgerError>> {
        self.inner.of_account(account)
    }

    fn leases(&self) -> BoxFuture<'_, Result<Vec<ProjectLease>, LedgerError>> {
        self.inner.leases()
    }

    fn lines(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<(u64, String)>, LedgerError>> {
        self.inner.lines(after, limit)
    }

    fn lines_about(&self, locator: &Place, limit: usize) -> BoxFuture<'_, Result<Vec<String>, LedgerError>> {
        self.inner.lines_about(locator, limit)
    }

    fn newest_line(&self) -> watch::Receiver<u64> {
        self.inner.newest_line()
    }

    fn printed(&self) -> BoxFuture<'_, Result<u64, LedgerError>> {
        self.inner.printed()
    }

    fn mark_printed(&self, seq: u64) -> BoxFuture<'_, Result<(), LedgerError>> {
        self.inner.mark_printed(seq)
    }
}

impl Membership for FaultyLedger {
    fn identity(&self) -> (GateId, Epoch) {
        self.inner.identity()
    }

    fn admits_early_reads(&self) -> bool {
        self.early_reads || self.inner.admits_early_reads()
    }

    fn time(&self, own: Time) -> Time {
        self.inner.time(own)
    }

    fn heartbeat(&self) -> Option<Duration> {
        self.inner.heartbeat()
    }

    fn beat(&self) -> BoxFuture<'_, Result<(), LedgerError>> {
        Box::pin(async move {
            self.life.alive().await;
            self.inner.beat().await
        })
    }

    fn rejoin(&self, doubt_period: Duration) -> BoxFuture<'_, Result<(), LedgerError>> {
        Box::pin(async move {
            self.life.alive().await;
            self.inner.rejoin(doubt_period).await
        })
    }

    fn recover_fallen(&self, doubt_period: Duration) -> BoxFuture<'_, Result<(), LedgerError>> {
        Box::pin(async move {
            self.life.alive().await;
            self.inner.recover_fallen(doubt_period).await
        })
    }

    fn look_at_rivals(
        &self,
        items: Vec<ResourceKey>,
        doubt_period: Duration,
    ) -> BoxFuture<'_, Result<Rivals, LedgerError>> {
        Box::pin(async move {
            self.life.alive().await;
            self.inner.look_at_rivals(items, doubt_period).await
        })
    }
}
