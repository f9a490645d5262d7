//! What the parts of one gate's hold of the shared ledger know together.

use super::clock_offset::ClockOffset;
use super::connect::{Database, Link};
use super::lineage::Lineage;
use super::postponement::Postponement;
use super::tail::Tail;
use super::{PostgresOptions, unavailable};
use crate::effect::{Command, FingerprintKey, HEARTBEAT, LedgerError, Line, LogOnce, SharedModes, TIMELY};
use crate::ledger::recent::Recent;
use crate::ledger::transaction::Author;
use crate::model::{BootTime, Epoch, GateId, Time};
use arc_swap::ArcSwap;
use prometheus_client::metrics::counter::Counter;
use secrecy::SecretSlice;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// One gate, as long as its process lives.
pub(super) struct GateState {
    pub(super) options: PostgresOptions,
    pub(super) database: Database,
    identity: ArcSwap<(GateId, Epoch)>,
    /// It has an epoch of the ledger's, and the ledger's key.
    is_member: AtomicBool,
    /// And what its last life left is closed.
    has_begun: AtomicBool,
    /// Why it is no member yet.
    waits_for: Mutex<String>,
    /// Why the database may lose what it acknowledges, since a look at it while this gate runs.
    unfit: Mutex<Option<String>>,
    /// How often the ledger was closed since it was made, as this gate has proven for.
    era: AtomicI64,
    /// The server that it has proven to have everything, in this life or in one before.
    server: ArcSwap<Lineage>,
    /// The ledger's time minus this gate's own, microseconds.
    offset: AtomicI64,
    /// The database's clock, as it was seen last.
    clock_offset: Mutex<Option<ClockOffset>>,
    /// So many of its heartbeats came in time, one after another, the last of them then.
    timely: AtomicU32,
    last_beat: Mutex<Option<BootTime>>,
    /// When something of this gate was on disk last.
    last_commit: Mutex<Option<BootTime>>,
    /// When it was looked last whether the database keeps what it acknowledges.
    last_look: Mutex<Option<BootTime>>,
    /// When it was looked last for items that nobody has touched for long.
    last_sweep: Mutex<Option<BootTime>>,
    is_watcher: AtomicBool,
    /// The last heartbeat heard that guarded writes are taken.
    is_open: AtomicBool,
    pub(super) newest: watch::Sender<u64>,
    recent: Mutex<Recent>,
    /// Ends of attempts that could not be written when they were asked for.
    overdue: Mutex<Vec<Command>>,
    /// For whoever only reads.
    pub(super) reader: tokio::sync::Mutex<Option<Arc<Link>>>,
    trouble: Mutex<LogOnce>,
    pub(super) recovered: Counter,
    /// The key of credentials' fingerprints: the ledger's, once this gate has joined.
    pub(super) fingerprint_key: FingerprintKey,
    /// The modes that an operator has switched for all gates.
    pub(super) modes: watch::Sender<SharedModes>,
    /// The last switch that is in force at this gate.
    pub(super) carried: AtomicI64,
}

/// A gate's first place in the ledger.
pub(super) struct Joined {
    pub(super) epoch: Epoch,
    pub(super) tail: Tail,
    pub(super) era: i64,
    /// The key of credentials' fingerprints.
    pub(super) key: Vec<u8>,
}

/// A gate that was not heard for so long opens nothing: others may be about to declare it fallen.
const OUT_OF_TOUCH: Duration = Duration::from_secs(10);

// === impl GateState ===

impl GateState {
    /// Of a gate that has not joined yet.
    pub(super) fn new(options: PostgresOptions, database: Database) -> Self {
        let (identity, server) = ((GateId::new(&options.gate.name), Epoch(0)), options.gate.last_server());
        let fingerprint_key = FingerprintKey::new(&SecretSlice::from(options.fingerprint_key.clone()));
        Self {
            options,
            database,
            identity: ArcSwap::from_pointee(identity),
            is_member: AtomicBool::new(false),
            has_begun: AtomicBool::new(false),
            waits_for: Mutex::default(),
            unfit: Mutex::default(),
            era: AtomicI64::new(0),
            server: ArcSwap::from_pointee(server),
            offset: AtomicI64::new(0),
            clock_offset: Mutex::default(),
            timely: AtomicU32::new(0),
            last_beat: Mutex::new(None),
            last_commit: Mutex::new(None),
            last_look: Mutex::new(None),
            last_sweep: Mutex::new(None),
            is_watcher: AtomicBool::new(false),
            is_open: AtomicBool::new(true),
            newest: watch::channel(0).0,
            recent: Mutex::default(),
            overdue: Mutex::default(),
            reader: tokio::sync::Mutex::new(None),
            trouble: Mutex::default(),
            recovered: Counter::default(),
            fingerprint_key,
            modes: watch::channel(SharedModes::default()).0,
            carried: AtomicI64::new(0),
        }
    }

    pub(super) fn identity(&self) -> (GateId, Epoch) {
        (**self.identity.load()).clone()
    }

    pub(super) fn author(&self) -> Author {
        let (gate, epoch) = self.identity();
        Author { gate, epoch, zombie_period: self.options.zombie_period }
    }

    /// What follows where the database's clock was set, or may have been.
    pub(super) fn postponement(&self) -> Postponement {
        let (author, doubt_period, now) = (self.author(), self.options.doubt_period, self.options.now);
        Postponement { author, doubt_period, now }
    }

    pub(super) fn era(&self) -> i64 {
        self.era.load(Ordering::Acquire)
    }

    pub(super) fn server(&self) -> Arc<Lineage> {
        self.server.load_full()
    }

    pub(super) fn overdue(&self) -> MutexGuard<'_, Vec<Command>> {
        self.overdue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // === joining ===

    /// It has joined. The key comes first: whoever sees that it has joined sees the key.
    pub(super) fn joined(&self, joined: &Joined, server: &Lineage) {
        self.fingerprint_key.replace(&SecretSlice::from(joined.key.clone()));
        let name = GateId::new(&self.options.gate.name);
        self.proven((name, joined.epoch), joined.era, server, joined.tail.seq);
        self.is_member.store(true, Ordering::Release);
    }

    pub(super) fn is_member(&self) -> bool {
        self.is_member.load(Ordering::Acquire)
    }

    /// What its last life left is closed.
    pub(super) fn begins(&self) {
        self.has_begun.store(true, Ordering::Release);
    }

    pub(super) fn has_begun(&self) -> Result<(), LedgerError> {
        if self.has_begun.load(Ordering::Acquire) {
            return Ok(());
        }
        let why = self.waits_for.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Err(unavailable(&format!("this gate has not joined those that share it yet: {why}")))
    }

    pub(super) fn waits_for(&self, why: &str) {
        why.clone_into(&mut self.waits_for.lock().unwrap_or_else(PoisonError::into_inner));
    }

    // === what the database shows ===

    /// The database's clock, as a statement has just read it.
    pub(super) fn read_clock(&self, clock: Time, sent: BootTime) -> ClockOffset {
        self.offset.store(clock.0 - self.options.clock.now().0, Ordering::Release);
        ClockOffset::seen(clock, sent, self.options.clock.boot())
    }

    /// By how much the database's clock was set since it was looked at last.
    pub(super) fn clock_jump(&self, seen: ClockOffset) -> Option<i64> {
        let before = *self.clock_offset.lock().unwrap_or_else(PoisonError::into_inner);
        before.and_then(|before| seen.jump_since(before)).filter(|_| self.options.now.is_none())
    }

    /// What later looks at the clock are compared with; none: the next is taken as it is.
    pub(super) fn keep_clock(&self, seen: Option<ClockOffset>) {
        let mut kept = self.clock_offset.lock().unwrap_or_else(PoisonError::into_inner);
        *kept = seen.map(|seen| seen.or_sharper(*kept));
    }

    /// This gate's own time by the ledger's clock.
    pub(super) fn time(&self, own: Time) -> Time {
        match self.options.now {
            Some(_) => own,
            None => Time(own.0.saturating_add(self.offset.load(Ordering::Acquire))),
        }
    }

    /// Whether the database keeps what it acknowledges; else why not.
    pub(super) fn judged(&self, unfit: Option<String>) {
        let mut known = self.unfit.lock().unwrap_or_else(PoisonError::into_inner);
        if *known != unfit {
            if let Some(why) = &unfit {
                tracing::error!(ledger.error = why, "guarded writes are refused for now");
            } else {
                tracing::info!("the database keeps what it acknowledges again");
            }
            *known = unfit;
        }
    }

    pub(super) fn is_fit(&self) -> Result<(), LedgerError> {
        let unfit = self.unfit.lock().unwrap_or_else(PoisonError::into_inner);
        unfit.as_deref().map_or(Ok(()), |why| Err(unavailable(why)))
    }

    /// Whether it is time to look again whether the database keeps what it acknowledges; the next look is counted from now.
    pub(super) fn is_due_for_a_look(&self, now: BootTime, each: Duration) -> bool {
        is_due(&self.last_look, now, each)
    }

    /// The same for items that nobody has touched for long.
    pub(super) fn is_due_for_idle_items(&self, now: BootTime, each: Duration) -> bool {
        is_due(&self.last_sweep, now, each)
    }

    // === commits and heartbeats ===

    /// A group is on disk.
    pub(super) fn acknowledged(&self, tail: &Tail, lines: Vec<(u64, Line, String)>) {
        *self.last_commit.lock().unwrap_or_else(PoisonError::into_inner) = Some(self.options.clock.boot());
        if lines.is_empty() {
            return;
        }
        self.recent().add(lines.into_iter().map(|(seq, _, text)| (seq, text)));
        self.newest.send_replace(tail.seq);
    }

    /// Whether something of this gate was on disk so lately.
    pub(super) fn has_committed_within(&self, span: Duration) -> bool {
        let last = *self.last_commit.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|last| self.options.clock.boot() <= last + span)
    }

    /// The database has everything that it acknowledged.
    pub(super) fn proven(&self, identity: (GateId, Epoch), era: i64, server: &Lineage, seq: u64) {
        self.identity.store(Arc::new(identity));
        if **self.server.load() != *server {
            self.options.gate.keep_server(server);
            self.server.store(Arc::new(server.clone()));
        }
        if self.era.swap(era, Ordering::AcqRel) != era {
            // Whoever closed the ledger has seen to what follows where the clock was set.
            self.keep_clock(None);
        }
        // A group that was found to be there has left lines of which this process has no text.
        *self.recent() = Recent::default();
        self.newest.send_replace(seq);
    }

    /// A heartbeat that was sent then has been answered.
    pub(super) fn beaten(&self, sent: BootTime) {
        let mut last = self.last_beat.lock().unwrap_or_else(PoisonError::into_inner);
        let in_time =
            last.is_some_and(|last| sent <= last + 2 * HEARTBEAT) && self.options.clock.boot() <= sent + HEARTBEAT;
        *last = Some(sent);
        let before = self.timely.load(Ordering::Acquire);
        self.timely.store(if in_time { before.saturating_add(1) } else { 0 }, Ordering::Release);
    }

    /// Whether it was heard of lately.
    pub(super) fn is_in_touch(&self) -> bool {
        let last = *self.last_beat.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_none_or(|last| self.options.clock.boot() <= last + OUT_OF_TOUCH)
    }

    /// Whether this gate may judge others: it is in touch with the ledger itself.
    pub(super) fn may_judge(&self) -> bool {
        self.timely.load(Ordering::Acquire) >= TIMELY
    }

    pub(super) fn is_watcher(&self) -> bool {
        self.is_watcher.load(Ordering::Acquire)
    }

    /// What a heartbeat has heard.
    pub(super) fn hears(&self, is_watcher: bool, is_open: bool) {
        self.is_watcher.store(is_watcher, Ordering::Release);
        self.is_open.store(is_open, Ordering::Release);
    }

    pub(super) fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Acquire)
    }

    // === the log ===

    /// Once for each reason: every write would say the same.
    pub(super) fn log_trouble(&self, why: &str) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if trouble.is_news(why) {
            tracing::error!(ledger.error = why, ledger = self.database.name(), "guarded writes are refused for now");
        }
    }

    pub(super) fn is_in_trouble(&self) -> bool {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).lasts()
    }

    pub(super) fn is_well(&self) {
        if self.trouble.lock().unwrap_or_else(PoisonError::into_inner).is_over() {
            tracing::info!("the ledger is written again");
        }
    }
}

fn is_due(last: &Mutex<Option<BootTime>>, now: BootTime, each: Duration) -> bool {
    let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
    let is_due = last.is_none_or(|last| now >= last + each);
    if is_due {
        *last = Some(now);
    }
    is_due
}
