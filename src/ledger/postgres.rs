//! The ledger in a PostgreSQL that several gates share.
//!
//! One row an item is its whole record. Every change of it goes through a writer's group (`postgres/writer.rs`), which locks
//! the rows, runs the same pure transaction as every ledger, and writes them with the gate's own row. That row is the
//! gate's fence, its heartbeat, the end of its audit chain, and the proof of a commit whose answer was lost. The
//! database's clock judges doubts and gates; no wall clock of a gate does. What a database acknowledged is looked for on
//! each new connection (`postgres/members.rs`), and whether it keeps it at all (`postgres/durability.rs`).

mod connect;
mod durability;
mod members;
mod name;
mod operator;
mod prune;
mod reads;
mod rows;
mod schema;
mod tail;
mod tls;
mod writer;

pub use connect::UrlError;
pub use durability::{Demands, Durability as RequiredDurability, Unfit};
pub use members::GateMember;
pub use name::GateName;
pub use operator::{ImportError, Imported, SharedLedger};

use super::lines::bare_line;
use super::recent::Recent;
use super::sqlite::Retention;
use super::transaction::Author;
use crate::effect::{
    Batch, BoxFuture, Clock, Command, Committed, LedgerError, Line, LogOnce, Membership, Note, Rivals,
};
use crate::model::{BootTime, Epoch, GateId, ResourceKey, Time};
use arc_swap::ArcSwap;
use connect::{Database, Link, Role, in_full};
use members::{HEARTBEAT, Joined, Unusable};
use prometheus_client::metrics::counter::Counter;
use secrecy::{SecretSlice, SecretString};
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tail::Tail;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::{oneshot, watch};
use writer::{GroupWriter, WriterJob};

/// Where the ledger is, and who this gate is among those that share it.
#[derive(Clone)]
pub struct PostgresOptions {
    /// `postgresql://user@host/database`, with no password in it.
    pub url: String,
    /// The password.
    pub password: Option<SecretString>,
    /// Authorities instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// What the database must keep.
    pub demands: Demands,
    /// Who this gate is.
    pub gate: GateName,
    /// Where it runs, for people.
    pub host: String,
    /// What must be equal at every gate, as `name value, name value`.
    pub agreed: String,
    /// What its other rules amount to.
    pub rules: String,
    /// The key of credentials' fingerprints that the first gate proposes; whoever comes later takes the ledger's.
    pub fingerprint_key: Vec<u8>,
    /// How long masks are kept (manual: protocol, "Outside edits").
    pub zombie_period: Duration,
    /// How long what an ended process left is in doubt (Q).
    pub doubt_period: Duration,
    /// What of it is kept once it is in the audit.
    pub keep: Retention,
    /// This gate's own clock.
    pub clock: Arc<dyn Clock>,
    /// For tests in virtual time: the time at opening, and commands are of the time that they say.
    #[doc(hidden)]
    pub now: Option<Time>,
}

/// Why the ledger was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// The server may lose what it acknowledges.
    #[error("the ledger {ledger}: {unfit}")]
    Unfit {
        /// Which.
        ledger: String,
        /// Why.
        unfit: Unfit,
    },
    /// A newer claimgate made the tables.
    #[error(
        "the ledger's tables have version {found}, this claimgate knows versions up to {known}; start the newer one"
    )]
    Newer {
        /// Theirs.
        found: i32,
        /// The newest version known here.
        known: i32,
    },
    /// The tables are older, or not there, and could not be changed.
    #[error(
        "the ledger's tables have version {found}, and could not be brought to {wanted} ({why}); run `claimgate ledger migrate` \
         as a role that may create tables"
    )]
    NotMigrated {
        /// Theirs.
        found: i32,
        /// This claimgate's.
        wanted: i32,
        /// What the database says.
        why: String,
    },
    /// Rules that must be equal are not.
    #[error("this gate and the ledger's others do not agree: {0}; make them equal, or stop the others first")]
    Differs(String),
    /// Another gate has this name.
    #[error(
        "the gate {name} runs already: process {pid} on {host}, since {since}; give each gate a name of its own \
         (ledger.gate), and a state directory of its own"
    )]
    SameName {
        /// The name.
        name: String,
        /// Where the other runs.
        host: String,
        /// Its process.
        pid: i32,
        /// Since when.
        since: String,
    },
    /// The state directory.
    #[error("{0}")]
    StateDir(String),
    /// A reason that may pass.
    #[error("{0}")]
    Unavailable(String),
}

/// One gate's hold of the shared ledger.
#[derive(Clone)]
pub struct PostgresLedger {
    durable: UnboundedSender<WriterJob>,
    entries: UnboundedSender<WriterJob>,
    shared: Arc<GateState>,
    fingerprint_key: Arc<[u8]>,
}

type JobReply<T> = oneshot::Sender<Result<T, LedgerError>>;

struct GateState {
    options: PostgresOptions,
    database: Database,
    identity: ArcSwap<(GateId, Epoch)>,
    /// How often the ledger was closed since it was made, as this gate has proven for.
    era: AtomicI64,
    timeline: ArcSwap<String>,
    /// The ledger's time minus this gate's own, microseconds.
    offset: AtomicI64,
    /// So many of its heartbeats came in time, one after another, the last of them then.
    timely: AtomicU32,
    last_beat: Mutex<Option<BootTime>>,
    newest: watch::Sender<u64>,
    recent: Mutex<Recent>,
    /// Ends of attempts that could not be written when they were asked for.
    overdue: Mutex<Vec<Command>>,
    /// For whoever only reads.
    reader: tokio::sync::Mutex<Option<Arc<Link>>>,
    trouble: Mutex<LogOnce>,
    recovered: Counter,
}

/// How long somebody waits for a database that does not answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a start waits for the database, and for another gate of its name to be silent.
const START_PATIENCE: Duration = Duration::from_secs(20);
/// A gate that was not heard for so long opens nothing: others may be about to declare it fallen.
const OUT_OF_TOUCH: Duration = Duration::from_secs(10);

// === impl PostgresLedger ===

impl PostgresLedger {
    /// Joins the gates that share the ledger, as a new epoch of this gate's name, and recovers what its last one left. Makes
    /// the tables where there are none.
    pub async fn open(options: PostgresOptions) -> Result<Self, OpenError> {
        let (password, ca_file) = (options.password.as_ref(), options.ca_file.as_deref());
        let database = Database::parse(&options.url, password, ca_file, options.demands)?;
        let (mut link, joined) = enter(&database, &options).await?;
        let row = link.client.query_one("SELECT fp_key FROM claimgate.meta", &[]).await;
        let key: Vec<u8> = row.map_err(|error| OpenError::Unavailable(in_full(&error)))?.get(0);
        link.prepare(writer::statements()).await.map_err(|error| OpenError::Unavailable(error.to_string()))?;
        let shared = Arc::new(GateState::new(options, database, &joined, &link.facts.timeline));
        shared.newest.send_replace(joined.tail.seq);
        let (durable, durable_jobs) = unbounded_channel();
        let (entries, entry_jobs) = unbounded_channel();
        tokio::spawn(GroupWriter::new(Arc::clone(&shared), Role::Durable, Some(link), joined.tail).run(durable_jobs));
        tokio::spawn(GroupWriter::new(Arc::clone(&shared), Role::Entry, None, Tail::default()).run(entry_jobs));
        let ledger = Self { durable, entries, shared, fingerprint_key: key.into() };
        ledger
            .ask(&ledger.durable, WriterJob::Beat)
            .await
            .map_err(|error| OpenError::Unavailable(error.to_string()))?;
        let doubt_period = ledger.shared.options.doubt_period;
        let swept = async {
            ledger.start_alone(doubt_period).await?;
            ledger.sweep(doubt_period).await
        };
        swept.await.map_err(|error: LedgerError| OpenError::Unavailable(error.to_string()))?;
        Ok(ledger)
    }

    /// The key of credentials' fingerprints: one for all gates, so that a credential is one agent at each of them.
    pub fn fingerprint_key(&self) -> SecretSlice<u8> {
        SecretSlice::from(self.fingerprint_key.to_vec())
    }

    /// Writes that ended processes left, counted as each is recovered.
    pub fn recovered(&self) -> Counter {
        self.shared.recovered.clone()
    }

    async fn ask<T>(
        &self,
        writer: &UnboundedSender<WriterJob>,
        job: impl FnOnce(JobReply<T>) -> WriterJob,
    ) -> Result<T, LedgerError> {
        let (reply, answer) = oneshot::channel();
        writer.send(job(reply)).map_err(|_| unavailable("its writer has ended"))?;
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(answer) => answer.map_err(|_| unavailable("its writer has ended"))?,
            Err(_) => Err(unavailable("the database has not answered in time")),
        }
    }
}

/// Connects, makes the tables, agrees, and joins.
async fn enter(database: &Database, options: &PostgresOptions) -> Result<(Link, Joined), OpenError> {
    let began = tokio::time::Instant::now();
    loop {
        let wait = match try_enter(database, options).await {
            Err(error @ (OpenError::Unavailable(_) | OpenError::SameName { .. }))
                if began.elapsed() < START_PATIENCE && options.now.is_none() =>
            {
                error
            }
            done => return done,
        };
        tracing::warn!("waiting for the ledger: {wait}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn try_enter(database: &Database, options: &PostgresOptions) -> Result<(Link, Joined), OpenError> {
    let unavailable = |why: String| OpenError::Unavailable(format!("{}: {why}", database.name()));
    let link = database.connect(Role::Durable).await.map_err(|error| match error {
        connect::LinkError::Unfit(unfit) => OpenError::Unfit { ledger: database.name(), unfit },
        connect::LinkError::Unreachable(why) => unavailable(why),
    })?;
    schema::migrate(&link, &options.fingerprint_key).await?;
    members::look_at(&link).await.map_err(|ended| match ended {
        Unusable::Replaced(why) | Unusable::NotYet(why) => unavailable(why),
    })?;
    members::agree(&link, options).await?;
    match members::join(&link, options).await {
        Ok(Ok(joined)) => Ok((link, joined)),
        Ok(Err(members::SameName { host, pid, since })) => {
            Err(OpenError::SameName { name: options.gate.name.clone(), host, pid, since })
        }
        Err(error) => Err(unavailable(in_full(&error))),
    }
}

// === impl GateState ===

impl GateState {
    fn new(options: PostgresOptions, database: Database, joined: &Joined, timeline: &str) -> Self {
        let identity = (GateId::new(&options.gate.name), joined.epoch);
        Self {
            options,
            database,
            identity: ArcSwap::from_pointee(identity),
            era: AtomicI64::new(joined.era),
            timeline: ArcSwap::from_pointee(timeline.to_owned()),
            offset: AtomicI64::new(0),
            timely: AtomicU32::new(0),
            last_beat: Mutex::new(None),
            newest: watch::channel(0).0,
            recent: Mutex::default(),
            overdue: Mutex::default(),
            reader: tokio::sync::Mutex::new(None),
            trouble: Mutex::default(),
            recovered: Counter::default(),
        }
    }

    fn author(&self) -> Author {
        let identity = self.identity.load();
        let (gate, epoch) = (identity.0.clone(), identity.1);
        Author { gate, epoch, zombie_period: self.options.zombie_period }
    }

    fn era(&self) -> i64 {
        self.era.load(Ordering::Acquire)
    }

    fn timeline(&self) -> Arc<String> {
        self.timeline.load_full()
    }

    fn overdue(&self) -> MutexGuard<'_, Vec<Command>> {
        self.overdue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The database's clock, as a group has just read it.
    fn heard(&self, clock: Time) {
        self.offset.store(clock.0 - self.options.clock.now().0, Ordering::Release);
    }

    /// A group is on disk.
    fn acknowledged(&self, tail: &Tail, lines: Vec<(u64, Line, String)>) {
        if lines.is_empty() {
            return;
        }
        self.recent().add(lines.into_iter().map(|(seq, _, text)| (seq, text)));
        self.newest.send_replace(tail.seq);
    }

    /// The database has everything that it acknowledged.
    fn proven(&self, identity: (GateId, Epoch), era: i64, timeline: &str, seq: u64) {
        self.identity.store(Arc::new(identity));
        self.era.store(era, Ordering::Release);
        self.timeline.store(Arc::new(timeline.to_owned()));
        // A group that was found to be there has left lines of which this process has no text.
        *self.recent() = Recent::default();
        self.newest.send_replace(seq);
    }

    /// A heartbeat that was sent then has been answered.
    fn beaten(&self, sent: BootTime) {
        let mut last = self.last_beat.lock().unwrap_or_else(PoisonError::into_inner);
        let in_time =
            last.is_some_and(|last| sent <= last + 2 * HEARTBEAT) && self.options.clock.boot() <= sent + HEARTBEAT;
        *last = Some(sent);
        let before = self.timely.load(Ordering::Acquire);
        self.timely.store(if in_time { before.saturating_add(1) } else { 0 }, Ordering::Release);
    }

    /// Whether it was heard of lately.
    fn is_in_touch(&self) -> bool {
        let last = *self.last_beat.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_none_or(|last| self.options.clock.boot() <= last + OUT_OF_TOUCH)
    }

    /// Once for each reason: every write would say the same.
    fn log_trouble(&self, why: &str) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if trouble.is_news(why) {
            tracing::error!(ledger.error = why, ledger = self.database.name(), "guarded writes are refused for now");
        }
    }

    fn is_well(&self) {
        if self.trouble.lock().unwrap_or_else(PoisonError::into_inner).is_over() {
            tracing::info!("the ledger is written again");
        }
    }
}

impl std::fmt::Debug for PostgresLedger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresLedger").field("identity", &self.shared.identity.load()).finish_non_exhaustive()
    }
}

// === impl Membership ===

impl Membership for PostgresLedger {
    fn identity(&self) -> (GateId, Epoch) {
        (**self.shared.identity.load()).clone()
    }

    fn admits_early_reads(&self) -> bool {
        false
    }

    fn time(&self, own: Time) -> Time {
        match self.shared.options.now {
            Some(_) => own,
            None => Time(own.0.saturating_add(self.shared.offset.load(Ordering::Acquire))),
        }
    }

    fn heartbeat(&self) -> Option<Duration> {
        Some(HEARTBEAT)
    }

    fn beat(&self) -> BoxFuture<'_, Result<(), LedgerError>> {
        Box::pin(async {
            let sent = self.shared.options.clock.boot();
            self.ask(&self.durable, WriterJob::Beat).await?;
            self.shared.beaten(sent);
            Ok(())
        })
    }

    fn rejoin(&self, doubt_period: Duration) -> BoxFuture<'_, Result<(), LedgerError>> {
        Box::pin(async move {
            // The writer joins again with its next connection, unless somebody else goes by this gate's name.
            self.ask(&self.durable, WriterJob::Beat).await?;
            self.sweep(doubt_period).await
        })
    }

    fn recover_fallen(&self, doubt_period: Duration) -> BoxFuture<'_, Result<(), LedgerError>> {
        Box::pin(async move {
            self.judge().await?;
            self.sweep(doubt_period).await?;
            self.prune().await
        })
    }

    fn look_at_rivals(
        &self,
        items: Vec<ResourceKey>,
        doubt_period: Duration,
    ) -> BoxFuture<'_, Result<Rivals, LedgerError>> {
        Box::pin(async move {
            if self.rivals_of(&items).await?.iter().any(|rival| rival.is_silent) {
                self.judge().await?;
            }
            let rivals = self.rivals_of(&items).await?;
            let (ended, alive): (Vec<_>, Vec<_>) = rivals.into_iter().partition(|rival| rival.has_ended);
            if !ended.is_empty() {
                self.recover(ended, doubt_period).await?;
            }
            let own = self.identity().0;
            Ok(match alive.as_slice() {
                [] => Rivals::Gone,
                alive if alive.iter().any(|rival| rival.gate == own) => Rivals::Own,
                _ => Rivals::Elsewhere,
            })
        })
    }

    fn leave(&self) -> BoxFuture<'_, Result<(), LedgerError>> {
        Box::pin(async {
            let (gate, epoch) = self.identity();
            let link = self.reader().await?;
            members::leave(&link, &gate, epoch).await.map_err(|error| LedgerError::Unavailable(in_full(&error)))
        })
    }
}

// === the port's door ===

impl PostgresLedger {
    fn carry_out(&self, batch: Batch) -> BoxFuture<'_, Result<Committed, LedgerError>> {
        if !batch.is_entry() {
            return Box::pin(self.ask(&self.durable, move |reply| WriterJob::Transact(batch, reply)));
        }
        Box::pin(async move {
            if self.shared.options.now.is_none() && !self.shared.is_in_touch() {
                return Err(unavailable("the database has not heard of this gate for a while"));
            }
            self.ask(&self.entries, move |reply| WriterJob::Transact(batch, reply)).await
        })
    }

    fn note(&self, note: Note, now: Time) {
        let line = Box::new(bare_line(note, now, &self.identity().0));
        if self.durable.send(WriterJob::Record(line)).is_err() {
            tracing::error!("a decision could not be recorded: the ledger's writer has ended");
        }
    }
}

fn unavailable(why: &str) -> LedgerError {
    LedgerError::Unavailable(why.to_owned())
}
