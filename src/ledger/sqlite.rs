//! The ledger in one SQLite file that the `sqlite3` shell can open.
//!
//! One writer thread commits what is waiting as a group (WAL, `synchronous=FULL`):
//! a commit that has been answered is on disk. OPEN attempts stay in memory, since
//! this process's lanes already keep all others out (DESIGN section 5, "one process
//! may merge T1 and T2"); what a crash takes of them was never sent. A file that
//! cannot be written makes guarded writes fail and is tried again with each of them.

mod store;

use super::book::{Book, bare_line};
use crate::admission::Step;
use crate::effect::{BoxFuture, Command, Durability, Ledger, LedgerError, Line, Note};
use crate::model::{Attempt, AttemptId, Epoch, GateId, ItemRecord, Locator, ResourceKey, Settled, Time};
use arc_swap::ArcSwap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
use store::Store;
use tokio::sync::{oneshot, watch};

pub use store::OpenError;

/// Where the ledger is, and how it judges time.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    /// The state directory; the file in it is `ledger.db`.
    pub dir: PathBuf,
    /// How long masks are kept (DESIGN section 5, `zombie_period`).
    pub zombie_period: Duration,
    /// How long what an ended process left is in doubt (Q).
    pub doubt_period: Duration,
    /// The time at opening.
    pub now: Time,
}

/// One process's hold of the ledger file.
#[derive(Clone, Debug)]
pub struct SqliteLedger {
    jobs: Sender<Job>,
    reads: Sender<ReadJob>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Known once the file has been opened, which may be later.
    identity: ArcSwap<(GateId, Epoch)>,
    newest: watch::Sender<u64>,
}

type Reply<T> = oneshot::Sender<Result<T, LedgerError>>;
type ReadJob = Box<dyn FnOnce(&Store) + Send>;

enum Job {
    Commit { commands: Vec<Command>, durability: Durability, reply: Reply<Vec<ItemRecord>> },
    Record(Box<Line>),
    Item(ResourceKey, Reply<Option<ItemRecord>>),
    Printed(u64, Reply<()>),
}

/// Most jobs in one group: bounds how long the first of them waits.
const MOST_GROUPED: usize = 512;
/// Most lines kept for a file that cannot be written; older ones stay, newer ones are counted in the log.
const MOST_DEFERRED: usize = 100_000;

// === impl SqliteLedger ===

impl SqliteLedger {
    /// Opens or creates the ledger, takes the process lock, begins a new epoch and recovers what the last one left.
    ///
    /// A file that cannot be opened for a reason that may pass (read-only directory, full disk) is tried again later.
    pub fn open(options: SqliteOptions) -> Result<Self, OpenError> {
        let store = match Store::open(&options) {
            Err(OpenError::Unavailable(why)) => {
                tracing::error!(ledger.error = %why, "ledger not available; guarded writes are refused");
                None
            }
            other => Some(other?),
        };
        let shared = Arc::new(Shared {
            identity: ArcSwap::from_pointee((GateId::new("unopened"), Epoch(0))),
            newest: watch::channel(0).0,
        });
        let (jobs, job_queue) = channel();
        let (reads, read_queue) = channel();
        let mut writer = Writer::new(options.clone(), Arc::clone(&shared));
        writer.adopt(store);
        spawn("ledger-writer", move || writer.run(&job_queue));
        spawn("ledger-reader", move || read_loop(&options, &read_queue));
        Ok(Self { jobs, reads, shared })
    }

    async fn ask<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, LedgerError> {
        let (reply, answer) = oneshot::channel();
        self.jobs.send(job(reply)).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
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
    fn commit(
        &self,
        commands: Vec<Command>,
        durability: Durability,
    ) -> BoxFuture<'_, Result<Vec<ItemRecord>, LedgerError>> {
        Box::pin(self.ask(move |reply| Job::Commit { commands, durability, reply }))
    }

    fn record(&self, note: Note, now: Time) {
        let line = Box::new(bare_line(note, now, &self.shared.identity.load().0));
        if self.jobs.send(Job::Record(line)).is_err() {
            tracing::error!("a decision could not be recorded: the ledger's writer has ended");
        }
    }

    fn item(&self, key: &ResourceKey) -> BoxFuture<'_, Result<Option<ItemRecord>, LedgerError>> {
        let key = key.clone();
        Box::pin(self.ask(move |reply| Job::Item(key, reply)))
    }

    fn active(&self) -> BoxFuture<'_, Result<Vec<ItemRecord>, LedgerError>> {
        Box::pin(self.query(Store::active))
    }

    fn history(&self, locator: &Locator, limit: usize) -> BoxFuture<'_, Result<Vec<Settled>, LedgerError>> {
        let locator = locator.clone();
        Box::pin(self.query(move |store| store.history(&locator, limit)))
    }

    fn lines(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<(u64, String)>, LedgerError>> {
        Box::pin(self.query(move |store| store.lines(after, limit)))
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

    fn exclusive(&self) -> bool {
        true
    }

    fn identity(&self) -> (GateId, Epoch) {
        self.shared.identity.load().as_ref().clone()
    }
}

// === the writer thread ===

struct Writer {
    options: SqliteOptions,
    shared: Arc<Shared>,
    store: Option<Store>,
    book: Book,
    /// Lines whose group failed: their decisions were answered, so they must be written yet.
    deferred: Vec<Line>,
}

/// What one group has staged.
#[derive(Default)]
struct Group {
    waiting: Vec<(Reply<Vec<ItemRecord>>, Vec<ItemRecord>)>,
    marks: Vec<Reply<()>>,
    lines: Vec<Staged>,
    /// Attempts that were opened and already answered: they stay open even if the group fails.
    opened: Vec<Attempt>,
    /// Attempts that were closed before any send and already answered: they stay closed even if the group fails.
    closed: Vec<(ResourceKey, AttemptId)>,
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
        let book = Book::new(shared.identity.load().0.clone(), Epoch(0), options.zombie_period);
        Self { options, shared, store: None, book, deferred: Vec::new() }
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
            Job::Commit { commands, durability, reply } => self.stage(&commands, durability, reply, group),
            Job::Record(line) => {
                group.dirty = true;
                group.lines.push(Staged { line: *line, answered: true });
            }
            Job::Item(key, reply) => drop(reply.send(self.item(&key))),
            Job::Printed(seq, reply) => {
                let marked = self.begin(group).and_then(|store| store.mark_printed(seq));
                match marked {
                    Ok(()) => group.marks.push(reply),
                    Err(error) => drop(reply.send(Err(error))),
                }
            }
        }
    }

    fn item(&mut self, key: &ResourceKey) -> Result<Option<ItemRecord>, LedgerError> {
        let store = self.store.as_ref().ok_or_else(not_open)?;
        self.book.get(key, &mut |key| store.item(key))
    }

    fn stage(
        &mut self,
        commands: &[Command],
        durability: Durability,
        reply: Reply<Vec<ItemRecord>>,
        group: &mut Group,
    ) {
        match self.stage_rows(commands, durability, group) {
            Ok((records, stored)) if stored && durability == Durability::Awaited => {
                group.waiting.push((reply, records));
            }
            Ok((records, _)) => {
                group.opened.extend(commands.iter().filter_map(opens));
                group.closed.extend(commands.iter().filter_map(closes));
                drop(reply.send(Ok(records)));
            }
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    fn stage_rows(
        &mut self,
        commands: &[Command],
        durability: Durability,
        group: &mut Group,
    ) -> Result<(Vec<ItemRecord>, bool), LedgerError> {
        let store = self.store.as_ref().ok_or_else(not_open)?;
        let changes = self.book.run(commands, &mut |key| store.item(key))?;
        if changes.stored {
            let staged = self.begin(group).and_then(|store| store.put(&changes));
            if let Err(error) = staged {
                group.failed.get_or_insert_with(|| error.to_string());
            }
            // Of what nobody waits for only the ends of attempts stay; the rest is found again by the next read.
            let answered = durability == Durability::NextGroup && commands.iter().any(|one| closes(one).is_some());
            group.lines.extend(changes.lines.into_iter().map(|line| Staged { line, answered }));
        }
        Ok((changes.records, changes.stored))
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
        if !group.dirty && self.deferred.is_empty() {
            return self.book.keep();
        }
        let deferred = self.deferred.drain(..).map(|line| Staged { line, answered: true });
        let lines: Vec<Staged> = deferred.chain(group.lines.drain(..)).collect();
        let committed = match group.failed.take() {
            Some(why) => Err(LedgerError::Unavailable(why)),
            None => self.begin(&mut group).and_then(|store| store.commit(lines.iter().map(|staged| &staged.line))),
        };
        match committed {
            Ok(newest) => {
                self.book.keep();
                self.book.shrink();
                self.shared.newest.send_replace(newest);
                group.waiting.into_iter().for_each(|(reply, records)| drop(reply.send(Ok(records))));
                group.marks.into_iter().for_each(|reply| drop(reply.send(Ok(()))));
            }
            Err(error) => self.fail(group, lines, &error),
        }
    }

    /// Nothing of the group is on disk: the records go back, and only lines of decisions already answered are kept.
    fn fail(&mut self, group: Group, lines: Vec<Staged>, error: &LedgerError) {
        tracing::error!(ledger.error = %error, "ledger group not written");
        if let Some(store) = &self.store {
            store.rollback();
        }
        self.book.undo();
        group.opened.iter().for_each(|attempt| self.book.reopen(attempt));
        group.closed.iter().for_each(|(key, attempt)| self.book.close(key, attempt));
        let answered = lines.into_iter().filter(|staged| staged.answered).map(|staged| staged.line);
        self.deferred.extend(answered.take(MOST_DEFERRED));
        group.waiting.into_iter().for_each(|(reply, _)| drop(reply.send(Err(error.clone()))));
        group.marks.into_iter().for_each(|reply| drop(reply.send(Err(error.clone()))));
    }

    /// Tries a file again that could not be opened.
    fn reopen(&mut self) {
        if self.store.is_some() {
            return;
        }
        match Store::open(&self.options) {
            Ok(store) => {
                tracing::info!("ledger available again");
                self.adopt(Some(store));
            }
            Err(error) => tracing::debug!(ledger.error = %error, "ledger still not available"),
        }
    }

    fn adopt(&mut self, store: Option<Store>) {
        let Some(store) = store else { return };
        self.book = Book::new(store.gate.clone(), store.epoch, self.options.zombie_period);
        self.shared.identity.store(Arc::new((store.gate.clone(), store.epoch)));
        self.shared.newest.send_replace(store.newest_line());
        self.store = Some(store);
    }
}

fn read_loop(options: &SqliteOptions, queue: &Receiver<ReadJob>) {
    let mut store = None;
    while let Ok(job) = queue.recv() {
        if store.is_none() {
            store = Store::open_to_read(options).inspect_err(|error| tracing::warn!(ledger.error = %error)).ok();
        }
        if let Some(store) = &store {
            job(store);
        }
    }
}

fn opens(command: &Command) -> Option<Attempt> {
    match &command.step {
        Step::Open(attempt) => Some(attempt.clone()),
        _ => None,
    }
}

fn closes(command: &Command) -> Option<(ResourceKey, AttemptId)> {
    match &command.step {
        Step::Reject(attempt) | Step::Abort(attempt) => Some((command.key.clone(), attempt.clone())),
        _ => None,
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) {
    if let Err(error) = std::thread::Builder::new().name(name.to_owned()).spawn(body) {
        tracing::error!(%error, thread = name, "thread not started");
    }
}

fn gone() -> LedgerError {
    LedgerError::Unavailable("its writer has ended".to_owned())
}

fn not_open() -> LedgerError {
    LedgerError::Unavailable("the file could not be opened".to_owned())
}
