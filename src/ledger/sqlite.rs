//! The ledger in one SQLite file that the `sqlite3` shell can open.
//!
//! One writer thread commits what is waiting as a group (WAL, `synchronous=FULL`):
//! a commit that has been answered is on disk. OPEN attempts stay in memory, since
//! this process's lanes already keep all others out, so that T1 and T2 are one
//! commit here; what a crash takes of them was never sent. A file that
//! cannot be written makes guarded writes fail and is tried again with each of them.

mod beside;
mod keys;
mod prune;
mod store;

use super::leases::LeaseTable;
use super::lines::bare_line;
use super::recent::Recent;
use super::record_cache::{RecordCache, Written};
use crate::admission::Step;
use crate::effect::{
    Batch, BoxFuture, Command, Committed, Durability, Held, Ledger, LedgerError, Line, LogOnce, Membership, Note,
    Pruned,
};
use crate::model::{AttemptId, Epoch, GateId, ItemRecord, Place, Principal, ProjectLease, ResourceKey, Settled, Time};
use arc_swap::ArcSwap;
use keys::{Keys, MOST_KEYS};
use prometheus_client::metrics::counter::Counter;
use rustix::process::setpriority_process;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use store::{Recovered, Store};
use tokio::sync::{oneshot, watch};

pub use beside::LedgerFile;
pub use store::OpenError;
#[cfg(feature = "postgres")]
pub(super) use store::lock as lock_state_dir;

/// Where the ledger is, and how it judges time.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    /// The state directory; the file in it is `ledger.sqlite`.
    pub dir: PathBuf,
    /// How long masks are kept (manual: protocol, "Outside edits").
    pub zombie_period: Duration,
    /// How long what an ended process left is in doubt (Q).
    pub doubt_period: Duration,
    /// What of it is kept once it is in the audit.
    pub keep: Retention,
    /// The time at opening.
    pub now: Time,
}

/// How long audit lines stay in the ledger after they were printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Those of decisions that changed something, and the attempts that they are about.
    pub history: Duration,
    /// Refusals: while they are among so many newest lines.
    pub refusals: usize,
}

/// One process's hold of the ledger file.
#[derive(Clone, Debug)]
pub struct SqliteLedger {
    jobs: Sender<Job>,
    reads: Sender<ReadJob>,
    shared: Arc<Shared>,
    options: Arc<SqliteOptions>,
}

struct Shared {
    identity: ArcSwap<(GateId, Epoch)>,
    /// The file does not hold together; found after the start, since looking takes a while.
    damaged: AtomicBool,
    /// The file that is open no longer stands where it was: what is written to it nobody will find.
    gone: AtomicBool,
    /// The write-ahead log's length after the last commit, pages.
    log_pages: AtomicU64,
    /// The log is long and all but its last pages are in the file: it may begin anew.
    log_moved: AtomicBool,
    newest: watch::Sender<u64>,
    /// Writes that ended processes left.
    recovered: Counter,
    recent: Mutex<Recent>,
    /// The records as every durable and every staged step left them, and a connection that loads those not in it.
    state: Mutex<WriterState>,
}

struct WriterState {
    cache: RecordCache,
    loader: Option<Store>,
    keys: Keys,
}

type Reply<T> = oneshot::Sender<Result<T, LedgerError>>;
type ReadJob = Box<dyn FnOnce(&Store) + Send>;

enum Job {
    Transact {
        batch: Batch,
        durability: Durability,
        reply: Reply<Committed>,
    },
    Record(Box<Line>),
    /// The file could not be opened: try it again.
    Reopen(Reply<()>),
    Printed(u64, Reply<()>),
    /// Answered with the group that it is in.
    Flush(Reply<()>),
    /// The same, with something to be written.
    Probe(Reply<()>),
}

/// Most jobs in one group: bounds how long the first of them waits.
const MOST_GROUPED: usize = 512;
/// How often it is looked whether the write-ahead log is to be moved into the file.
const CHECKPOINT_EVERY: Duration = Duration::from_millis(100);
/// The log begins anew once it has this many pages (16 MiB): moving them takes a few milliseconds of the disk, and the
/// writer a little of that each time.
const LONG_LOG: u64 = 1 << 12;
/// Passes over a log that is being written to.
const MOST_PASSES: u32 = 20;
/// How nice the threads are that nobody waits for: a tenth of another thread's share.
const NICENESS: i32 = 10;
/// Memory for lines whose file cannot be written, bytes: some 60,000 of them. Older ones stay.
const MOST_DEFERRED: usize = 64 << 20;

// === impl SqliteOptions ===

impl SqliteOptions {
    /// Of a ledger in this directory that keeps everything.
    pub fn in_dir(dir: &std::path::Path) -> Self {
        let keep = Retention { history: Duration::MAX, refusals: usize::MAX };
        Self { dir: dir.to_owned(), zombie_period: Duration::ZERO, doubt_period: Duration::ZERO, keep, now: Time(0) }
    }
}

// === impl SqliteLedger ===

impl SqliteLedger {
    /// Opens or creates the ledger, takes the process lock, begins a new epoch and recovers what the last one left.
    ///
    /// A file that cannot be opened for a reason that may pass (read-only directory, full disk) is tried again later.
    pub fn open(options: SqliteOptions) -> Result<Self, OpenError> {
        let shared = Arc::new(Shared::new(options.zombie_period));
        let (jobs, job_queue) = channel();
        let (reads, read_queue) = channel();
        let mut writer = Writer::new(options.clone(), Arc::clone(&shared));
        match Store::open(&options).and_then(|store| writer.adopt(store)) {
            Err(OpenError::Unavailable(why)) => not_available(&options, &why, &mut writer.logged),
            other => other?,
        }
        spawn("ledger-writer", move || writer.run(&job_queue));
        let options = Arc::new(options);
        let of_reader = Arc::clone(&options);
        spawn("ledger-reader", move || read_loop(&of_reader, &read_queue));
        Ok(Self { jobs, reads, shared, options })
    }

    /// Writes that ended processes left, counted as each is recovered.
    pub fn recovered(&self) -> Counter {
        self.shared.recovered.clone()
    }

    async fn ask<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, LedgerError> {
        let (reply, answer) = oneshot::channel();
        self.jobs.send(job(reply)).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// At the state, if the file is whole. One that could not be opened is tried again first.
    async fn with_state<T>(
        &self,
        of: impl FnOnce(&mut WriterState) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        if self.shared.damaged.load(Ordering::Acquire) {
            return Err(LedgerError::Unavailable("the file is damaged; restore a copy and start again".to_owned()));
        }
        self.shared.in_place()?;
        if !self.shared.is_open() {
            self.ask(Job::Reopen).await?;
        }
        of(&mut self.shared.state())
    }

    /// On a connection and a thread of its own: it takes a while, and the printing of the audit goes on.
    async fn look<T: Send + 'static>(
        &self,
        of: impl FnOnce(&Store) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let options = Arc::clone(&self.options);
        let look = move || of(&Store::open_to_read(&options)?);
        tokio::task::spawn_blocking(look).await.map_err(|error| LedgerError::Unavailable(error.to_string()))?
    }

    async fn query<T: Send + 'static>(
        &self,
        of: impl FnOnce(&Store) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let (reply, answer) = oneshot::channel();
        let job: ReadJob = Box::new(move |store| drop(reply.send(of(store))));
        self.reads.send(job).map_err(|_| gone())?;
        answer.await.map_err(|_| LedgerError::Unavailable("the file cannot be read".to_owned()))?
    }
}

impl Ledger for SqliteLedger {
    fn transact(&self, batch: Batch, durability: Durability) -> BoxFuture<'_, Result<Committed, LedgerError>> {
        if batch.is_entry() {
            // T1 alone stays in memory: it needs neither the writer nor the disk.
            return Box::pin(self.with_state(move |state| state.open(&batch)));
        }
        Box::pin(self.ask(move |reply| Job::Transact { batch, durability, reply }))
    }

    fn record(&self, note: Note, now: Time) {
        let line = Box::new(bare_line(note, now, &self.shared.identity.load().0));
        if self.jobs.send(Job::Record(line)).is_err() {
            tracing::error!("a decision could not be recorded: the ledger's writer has ended");
        }
    }

    fn item(&self, key: &ResourceKey) -> BoxFuture<'_, Result<Option<ItemRecord>, LedgerError>> {
        let key = key.clone();
        Box::pin(self.with_state(move |state| state.item(&key)))
    }

    fn active(&self) -> BoxFuture<'_, Result<Vec<ItemRecord>, LedgerError>> {
        Box::pin(self.query(Store::active))
    }

    fn doubtful(&self) -> BoxFuture<'_, Result<Vec<ItemRecord>, LedgerError>> {
        Box::pin(self.query(Store::doubtful))
    }

    fn held_after(&self, last: Option<Held>, limit: usize) -> BoxFuture<'_, Result<Vec<ItemRecord>, LedgerError>> {
        Box::pin(self.query(move |store| store.held_after(last.as_ref(), limit)))
    }

    fn of_account(&self, account: &Principal) -> BoxFuture<'_, Result<Vec<ItemRecord>, LedgerError>> {
        let account = account.clone();
        Box::pin(self.query(move |store| store.of_account(&account)))
    }

    fn leases(&self) -> BoxFuture<'_, Result<Vec<ProjectLease>, LedgerError>> {
        Box::pin(self.with_state(|state| Ok(state.cache.leases.all())))
    }

    fn ended(&self, key: &ResourceKey, limit: usize) -> BoxFuture<'_, Result<Vec<Settled>, LedgerError>> {
        let key = key.clone();
        Box::pin(self.query(move |store| store.ended(&key, limit)))
    }

    fn history(&self, locator: &Place, limit: usize) -> BoxFuture<'_, Result<Vec<Settled>, LedgerError>> {
        let locator = locator.clone();
        Box::pin(self.look(move |store| store.history(&locator, limit)))
    }

    fn lines(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<(u64, String)>, LedgerError>> {
        let recent = self.shared.recent().after(after, limit);
        Box::pin(async move {
            match recent {
                Some(lines) => Ok(lines),
                None => self.query(move |store| store.lines(after, limit)).await,
            }
        })
    }

    fn lines_about(&self, locator: &Place, limit: usize) -> BoxFuture<'_, Result<Vec<String>, LedgerError>> {
        let locator = locator.clone();
        Box::pin(async move {
            // A refusal's line is written with the next group. What cannot be written is no reason to tell nothing.
            drop(self.flushed().await);
            self.look(move |store| store.lines_about(&locator, limit)).await
        })
    }

    fn newest_line(&self) -> watch::Receiver<u64> {
        self.shared.newest.subscribe()
    }

    fn printed(&self) -> BoxFuture<'_, Result<u64, LedgerError>> {
        Box::pin(self.query(Store::printed))
    }

    fn mark_printed(&self, seq: u64) -> BoxFuture<'_, Result<(), LedgerError>> {
        Box::pin(self.ask(move |reply| Job::Printed(seq, reply)))
    }

    fn flushed(&self) -> BoxFuture<'_, Result<(), LedgerError>> {
        Box::pin(self.ask(Job::Flush))
    }

    fn pruned(&self) -> BoxFuture<'_, Result<Pruned, LedgerError>> {
        Box::pin(self.look(Store::pruned))
    }

    fn bytes(&self) -> Option<u64> {
        Some(Store::bytes(&self.options))
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), LedgerError>> {
        Box::pin(async {
            self.with_state(|_| Ok(())).await?;
            self.ask(Job::Probe).await
        })
    }
}

impl Membership for SqliteLedger {
    fn identity(&self) -> (GateId, Epoch) {
        (**self.shared.identity.load()).clone()
    }

    fn admits_early_reads(&self) -> bool {
        // The file is locked: no second process opens it.
        true
    }
}

// === impl Shared, WriterState ===

impl Shared {
    /// Before the file is open.
    fn new(zombie_period: Duration) -> Self {
        let (gate, epoch) = (GateId::new(""), Epoch(0));
        Self {
            identity: ArcSwap::from_pointee((gate.clone(), epoch)),
            damaged: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            log_pages: AtomicU64::new(0),
            log_moved: AtomicBool::new(false),
            newest: watch::channel(0).0,
            recovered: Counter::default(),
            recent: Mutex::default(),
            state: Mutex::new(WriterState {
                cache: RecordCache::new(gate, epoch, zombie_period),
                loader: None,
                keys: Keys::default(),
            }),
        }
    }

    fn in_place(&self) -> Result<(), LedgerError> {
        let why = "the file was removed or replaced: put it back, or start again";
        (!self.gone.load(Ordering::Acquire)).then_some(()).ok_or_else(|| LedgerError::Unavailable(why.to_owned()))
    }

    fn is_open(&self) -> bool {
        self.state().loader.is_some()
    }

    fn state(&self) -> MutexGuard<'_, WriterState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("identity", &self.identity.load()).finish_non_exhaustive()
    }
}

impl WriterState {
    fn open(&mut self, batch: &Batch) -> Result<Committed, LedgerError> {
        let loader = self.loader.as_ref().ok_or_else(not_open)?;
        Ok(self.cache.run(batch, Some(&Recovered { store: loader, keys: &self.keys }))?.changes.committed)
    }

    fn item(&mut self, key: &ResourceKey) -> Result<Option<ItemRecord>, LedgerError> {
        let loader = self.loader.as_ref().ok_or_else(not_open)?;
        self.cache.get(key, Some(&Recovered { store: loader, keys: &self.keys }))
    }

    /// Runs what is to be written next to what `store` holds.
    fn stage(&mut self, batch: &Batch, store: &Store) -> Result<Written, LedgerError> {
        let written = self.cache.run(batch, Some(&Recovered { store, keys: &self.keys }))?;
        written.items.iter().for_each(|record| self.keys.add(&record.key));
        Ok(written)
    }

    fn settled(&mut self) {
        self.cache.confirm();
        self.cache.shrink();
    }
}

// === the writer thread ===

struct Writer {
    options: SqliteOptions,
    shared: Arc<Shared>,
    store: Option<Store>,
    /// There was something in the file when this process began: an empty one is no new ledger, but one that is being put
    /// back, and would lose every grant.
    existed: bool,
    /// Lines whose group failed: their decisions were answered, so they must be written yet.
    deferred: Vec<Line>,
    /// Why it could not be written, as it was said last.
    logged: LogOnce,
    /// The time of the newest line.
    now: Time,
}

/// What one group has staged.
#[derive(Default)]
struct Group {
    waiting: Vec<(Reply<Committed>, Committed)>,
    marks: Vec<Reply<()>>,
    lines: Vec<Staged>,
    /// Attempts that were closed before any send and already answered: they stay closed even if the group fails.
    closed: Vec<(ResourceKey, AttemptId)>,
    /// So much of the audit is marked as printed with it.
    marks_printed: bool,
    dirty: bool,
    failed: Option<String>,
}

/// A line of the group.
struct Staged {
    line: Line,
    /// Somebody has been told already, so the line must be written even if this group fails.
    answered: bool,
}

impl Writer {
    fn new(options: SqliteOptions, shared: Arc<Shared>) -> Self {
        let existed = Store::is_written(&options);
        let now = options.now;
        Self { options, shared, store: None, existed, deferred: Vec::new(), logged: LogOnce::default(), now }
    }

    fn run(mut self, queue: &Receiver<Job>) {
        while let Ok(first) = queue.recv() {
            let jobs = std::iter::once(first).chain(std::iter::from_fn(|| queue.try_recv().ok())).take(MOST_GROUPED);
            let mut group = Group::default();
            self.reopen();
            for job in jobs {
                self.take(job, &mut group);
            }
            self.finish(group);
        }
    }

    fn take(&mut self, job: Job, group: &mut Group) {
        match job {
            Job::Transact { batch, durability, reply } => self.stage(&batch, durability, reply, group),
            Job::Record(line) => {
                group.dirty = true;
                group.lines.push(Staged { line: *line, answered: true });
            }
            // `run` has tried before this job was taken.
            Job::Reopen(reply) => drop(reply.send(self.store.as_ref().map(drop).ok_or_else(not_open))),
            // A file that was never open owes nobody a line.
            Job::Flush(reply) if self.store.is_none() && self.deferred.is_empty() && !group.dirty => {
                drop(reply.send(Ok(())));
            }
            Job::Flush(reply) => match self.begin(group) {
                Ok(_) => group.marks.push(reply),
                Err(error) => drop(reply.send(Err(error))),
            },
            Job::Probe(reply) => match self.begin(group).and_then(Store::touch) {
                Ok(()) => group.marks.push(reply),
                Err(error) => drop(reply.send(Err(error))),
            },
            Job::Printed(seq, reply) => {
                let marked = self.begin(group).and_then(|store| store.mark_printed(seq));
                match marked {
                    Ok(()) => {
                        group.marks_printed = true;
                        group.marks.push(reply);
                    }
                    Err(error) => drop(reply.send(Err(error))),
                }
            }
        }
    }

    fn stage(&mut self, batch: &Batch, durability: Durability, reply: Reply<Committed>, group: &mut Group) {
        match self.stage_rows(batch, durability, group) {
            Ok((committed, stored)) if stored && durability == Durability::Awaited => {
                group.waiting.push((reply, committed));
            }
            Ok((committed, _)) => {
                group.closed.extend(batch.items.iter().filter_map(closes));
                drop(reply.send(Ok(committed)));
            }
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    fn stage_rows(
        &mut self,
        batch: &Batch,
        durability: Durability,
        group: &mut Group,
    ) -> Result<(Committed, bool), LedgerError> {
        let store = self.store.as_ref().ok_or_else(not_open)?;
        let written = self.shared.state().stage(batch, store)?;
        if written.stored {
            let staged = self.begin(group).and_then(|store| store.put(&written));
            if let Err(error) = staged {
                group.failed.get_or_insert_with(|| error.to_string());
            }
            // Of what nobody waits for only the ends of attempts stay; the rest is found again by the next read.
            let ends = || batch.items.iter().any(|one| closes(one).is_some());
            let answered = durability == Durability::NextGroup && ends();
            group.lines.extend(written.changes.lines.into_iter().map(|line| Staged { line, answered }));
        }
        Ok((written.changes.committed, written.stored))
    }

    /// The store, with a transaction open.
    fn begin(&mut self, group: &mut Group) -> Result<&Store, LedgerError> {
        let store = self.store.as_ref().ok_or_else(not_open)?;
        if !store.in_transaction() {
            store.begin().inspect_err(|error| {
                group.failed.get_or_insert_with(|| error.to_string());
            })?;
        }
        group.dirty = true;
        Ok(store)
    }

    fn finish(&mut self, mut group: Group) {
        if !group.dirty && group.failed.is_none() && self.deferred.is_empty() {
            return self.shared.state().cache.confirm();
        }
        let deferred = self.deferred.drain(..).map(|line| Staged { line, answered: true });
        let lines: Vec<Staged> = deferred.chain(group.lines.drain(..)).collect();
        if group.failed.is_none() {
            self.prune(&lines, &mut group);
        }
        let committed = match group.failed.take() {
            Some(why) => Err(LedgerError::Unavailable(why)),
            None => (self.shared.in_place())
                .and_then(|()| self.begin(&mut group))
                .and_then(|store| store.commit(lines.iter().map(|staged| &staged.line))),
        };
        match committed {
            Ok(lines) => {
                self.shared.state().settled();
                if let Some(newest) = lines.last().map(|(seq, _)| *seq) {
                    self.shared.recent().add(lines);
                    self.shared.newest.send_replace(newest);
                }
                group.waiting.into_iter().for_each(|(reply, records)| drop(reply.send(Ok(records))));
                group.marks.into_iter().for_each(|reply| drop(reply.send(Ok(()))));
                self.restart_log();
                if self.logged.is_over() {
                    tracing::info!("ledger written again");
                }
            }
            Err(error) => self.fail(group, lines, &error),
        }
    }

    /// Deletes more than is added, a little at a time.
    fn prune(&mut self, lines: &[Staged], group: &mut Group) {
        let most = 2 * lines.len() + if group.marks_printed { prune::WITH_A_MARK } else { 0 };
        self.now = lines.last().map_or(self.now, |staged| staged.line.time.max(self.now));
        let (keep, now) = (self.options.keep, self.now);
        let pruned = self.begin(group).and_then(|store| store.prune(keep, now, most));
        if let Err(error) = pruned {
            group.failed.get_or_insert_with(|| error.to_string());
        }
    }

    /// Moves the last pages of a long log, so that the next commit finds none and begins it anew, in place. Beside the
    /// traffic alone that never happens while there is any.
    fn restart_log(&self) {
        if self.shared.log_moved.swap(false, Ordering::AcqRel)
            && let Some(Err(error)) = self.store.as_ref().map(Store::checkpoint)
        {
            tracing::debug!(ledger.error = %error, "the ledger's log goes on");
        }
    }

    /// Nothing of the group is on disk: the records go back, and only lines of decisions already answered are kept.
    fn fail(&mut self, group: Group, lines: Vec<Staged>, error: &LedgerError) {
        if let Some(store) = &self.store {
            store.rollback();
            self.log_once(error);
        }
        let mut state = self.shared.state();
        state.cache.rollback();
        group.closed.iter().for_each(|(key, attempt)| state.cache.close(key, attempt));
        drop(state);
        let answered = lines.into_iter().filter(|staged| staged.answered).map(|staged| staged.line);
        let mut room = MOST_DEFERRED;
        self.deferred.extend(answered.take_while(|line| {
            let fits = room.checked_sub(line.weight());
            room = fits.unwrap_or(0);
            fits.is_some()
        }));
        group.waiting.into_iter().for_each(|(reply, _)| drop(reply.send(Err(error.clone()))));
        group.marks.into_iter().for_each(|reply| drop(reply.send(Err(error.clone()))));
    }

    /// Once for each reason: every write would say the same.
    fn log_once(&mut self, error: &LedgerError) {
        let why = error.to_string();
        if self.logged.is_news(&why) {
            tracing::error!(
                ledger.error = why,
                state_dir = %self.options.dir.display(),
                "the ledger was not written; guarded writes are refused until it can be: look at the disk of \
                 server.state_dir"
            );
        }
    }

    /// Tries a file again that could not be opened.
    fn reopen(&mut self) {
        if self.store.is_some() {
            return;
        }
        let opened = if self.existed { Store::open_existing(&self.options) } else { Store::open(&self.options) };
        match opened.and_then(|store| self.adopt(store)) {
            Ok(()) => {
                tracing::info!("ledger available again");
                self.logged = LogOnce::default();
            }
            // Said when it was opened first; the next reason may be one that the operator made by mending that.
            Err(error) => not_available(&self.options, &error.to_string(), &mut self.logged),
        }
    }

    /// Takes a file that has been opened into use: all of it, or nothing, so that it is tried again.
    fn adopt(&mut self, mut store: Store) -> Result<(), OpenError> {
        let loader = Some(Store::open_to_read(&self.options)?);
        let mut cache = RecordCache::new(store.gate.clone(), store.epoch, self.options.zombie_period);
        let stored = store.leases().map_err(|error| OpenError::Unavailable(error.to_string()))?;
        cache.leases = LeaseTable::stored(stored, self.options.now);
        *self.shared.state() = WriterState { cache, loader, keys: Keys::default() };
        self.shared.identity.store(Arc::new((store.gate.clone(), store.epoch)));
        self.shared.recovered.inc_by(store.recovered);
        let (options, shared) = (self.options.clone(), Arc::clone(&self.shared));
        let (of_checkpoints, watched) = (options.clone(), Arc::downgrade(&shared));
        spawn_beside("ledger-check", move || read_whole(&options, &shared));
        spawn_beside("ledger-checkpoint", move || checkpoint(&of_checkpoints, &watched));
        *self.shared.recent() = Recent::default();
        self.shared.newest.send_replace(store.newest_line());
        let shared = Arc::clone(&self.shared);
        store.watch_log(move |length| shared.log_pages.store(length, Ordering::Release));
        self.store = Some(store);
        Ok(())
    }
}

/// Reads the whole file once, beside the traffic: which items it has, and whether it holds together.
fn read_whole(options: &SqliteOptions, shared: &Shared) {
    let hasher = shared.state().keys.hasher();
    let read = Store::open_to_read(options).and_then(|store| {
        match store.hashes(&hasher, MOST_KEYS + 1).map(Keys::with_room) {
            Ok(rows) => shared.state().keys.complete(rows),
            Err(error) => tracing::debug!(ledger.error = %error, "each item is looked for in the ledger's file"),
        }
        store.check_whole()
    });
    match read {
        Ok(()) => tracing::debug!("ledger file checked"),
        Err(error) => {
            shared.damaged.store(true, Ordering::Release);
            tracing::error!(ledger.error = %error, "the ledger is damaged; guarded writes are refused");
        }
    }
}

/// Moves what was committed from the log to the file, beside the traffic, for as long as somebody uses the ledger: when
/// it is quiet, or when the log has become long. In the writer that would make every hundredth commit wait; done with every
/// commit, the same pages would be written again and again; done seldom, all at once, with one long sync.
fn checkpoint(options: &SqliteOptions, shared: &Weak<Shared>) {
    let (mut store, mut before, mut done) = (None, 0, 0);
    let opened = Store::identity(options);
    loop {
        std::thread::sleep(CHECKPOINT_EVERY);
        let Some(shared) = shared.upgrade() else { return };
        if look_for(options, opened, &shared).is_err() {
            continue;
        }
        let newest = *shared.newest.borrow();
        let quiet = std::mem::replace(&mut before, newest) == newest;
        let long = shared.log_pages.load(Ordering::Acquire) > LONG_LOG;
        if newest == done || !(quiet || long) {
            continue;
        }
        if store.is_none() {
            store = Store::open_to_read(options).ok();
        }
        match store.as_ref().map(move_log) {
            Some(Ok(())) => {
                shared.log_moved.store(long, Ordering::Release);
                done = newest;
            }
            Some(Err(error)) => tracing::debug!(ledger.error = %error, "the ledger's log was not moved into its file"),
            None => {}
        }
    }
}

/// The file is synced only by a pass after which nothing is left. Should commits always come in between, that is left to
/// the writer; what a reader still needs, to a later time.
fn move_log(store: &Store) -> Result<(), LedgerError> {
    let mut before = None;
    for _ in 0..MOST_PASSES {
        let pass = store.checkpoint()?;
        if pass.log == pass.moved || before.replace(pass.moved) == Some(pass.moved) {
            break;
        }
    }
    Ok(())
}

/// Whether the file still stands where it was opened.
fn look_for(options: &SqliteOptions, opened: Option<(u64, u64)>, shared: &Shared) -> Result<(), LedgerError> {
    let gone = Store::identity(options) != opened;
    match (shared.gone.swap(gone, Ordering::AcqRel), gone) {
        (false, true) => tracing::error!(
            state_dir = %options.dir.display(),
            "the ledger was removed or replaced while it was in use; guarded writes are refused: put ledger.sqlite back \
             into server.state_dir, or start again"
        ),
        (true, false) => tracing::info!("the ledger is where it was again"),
        _ => {}
    }
    shared.in_place()
}

fn read_loop(options: &SqliteOptions, queue: &Receiver<ReadJob>) {
    let mut store = None;
    while let Ok(job) = queue.recv() {
        if store.is_none() {
            // That it cannot be opened is the writer's to say: once, not with each question.
            let opened = Store::open_to_read(options);
            store = opened.inspect_err(|error| tracing::debug!(ledger.error = %error, "ledger not read")).ok();
        }
        if let Some(store) = &store {
            job(store);
        }
    }
}

fn closes(command: &Command) -> Option<(ResourceKey, AttemptId)> {
    match &command.step {
        Step::Reject(attempt) | Step::Abort(attempt) => Some((command.key.clone(), attempt.clone())),
        _ => None,
    }
}

/// For work that nobody waits for: milliseconds in which the processor is not to be had by who answers somebody. Not the
/// last in the queue: the log has to reach the file on a busy machine too.
fn spawn_beside(name: &str, body: impl FnOnce() + Send + 'static) {
    spawn(name, move || {
        // Of this thread alone (setpriority(2), "C library/kernel differences").
        if let Err(error) = setpriority_process(None, NICENESS) {
            tracing::debug!(%error, "what runs beside the traffic has the priority of the traffic");
        }
        body();
    });
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) {
    if let Err(error) = std::thread::Builder::new().name(name.to_owned()).spawn(body) {
        tracing::error!(%error, thread = name, "thread not started");
    }
}

fn not_available(options: &SqliteOptions, why: &str, logged: &mut LogOnce) {
    if !logged.is_news(why) {
        return;
    }
    tracing::error!(
        ledger.error = why,
        state_dir = %options.dir.display(),
        "no ledger: guarded writes are refused. server.state_dir must be a directory that this user may write to, and \
         ledger.sqlite in it a ledger"
    );
}

fn gone() -> LedgerError {
    LedgerError::Unavailable("its writer has ended".to_owned())
}

fn not_open() -> LedgerError {
    LedgerError::Unavailable("the file could not be opened".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Account, Actor};

    fn options(dir: &std::path::Path) -> SqliteOptions {
        SqliteOptions::in_dir(dir)
    }

    /// Opens it, and waits until every row is known.
    async fn known(dir: &std::path::Path) -> SqliteLedger {
        let ledger = loop {
            match SqliteLedger::open(options(dir)) {
                Err(OpenError::InUse { .. }) => std::thread::yield_now(),
                other => break other.unwrap(),
            }
        };
        while ledger.shared.state().keys.may_have(&ResourceKey::new("never")) {
            tokio::task::yield_now().await;
        }
        ledger
    }

    /// In memory or not, written by this life of the process or the one before.
    #[tokio::test]
    async fn what_has_a_row_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let (key, locator) = (ResourceKey::new("1"), Place::from_stored("a/b#1"));
        let actor = Actor { account: Principal::Named(Account::new("dev")), instance: None };
        let step = Step::Renew { actor, at: Time(0) };
        let command = Command { key: key.clone(), locator, step, note: None, now: Time(0) };
        let mut ledger = known(dir.path()).await;
        ledger.commit(vec![command], Durability::Awaited).await.unwrap();
        for last in [false, true] {
            let (gate, epoch) = ledger.identity();
            ledger.shared.state().cache = RecordCache::new(gate, epoch, Duration::ZERO);
            assert!(ledger.item(&key).await.unwrap().is_some());
            assert!(ledger.item(&ResourceKey::new("2")).await.unwrap().is_none());
            if !last {
                drop(ledger);
                ledger = known(dir.path()).await;
            }
        }
    }

    /// It can be opened to be written, and then not to be read.
    #[test]
    fn a_file_that_is_open_by_half_is_opened_again() {
        let dir = tempfile::tempdir().unwrap();
        let options = options(dir.path());
        let shared = Arc::new(Shared::new(options.zombie_period));
        let mut writer = Writer::new(options.clone(), Arc::clone(&shared));
        let (file, aside) = (dir.path().join("ledger.sqlite"), dir.path().join("aside"));
        let store = Store::open(&options).unwrap();
        std::fs::rename(&file, &aside).unwrap();
        assert!(writer.adopt(store).is_err());
        std::fs::rename(&aside, &file).unwrap();
        writer.reopen();
        assert!(shared.is_open());
    }
}
