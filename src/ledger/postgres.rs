//! The ledger in a PostgreSQL that several gates share.
//!
//! One row an item is its whole record. Every change of it goes through a writer's group (`postgres/writer.rs`), which locks
//! the rows, runs the same pure transaction as every ledger, and writes them with the gate's own row. That row is the
//! gate's fence, its heartbeat, the end of its audit chain, and the proof of a commit whose answer was lost. The
//! database's clock judges doubts and gates; no wall clock of a gate does. What a database acknowledged is looked for on
//! each new connection (`postgres/members.rs`), and whether it keeps it at all (`postgres/durability.rs`).

mod clock_offset;
mod connect;
mod durability;
mod lineage;
mod members;
mod membership;
mod name;
mod operator;
mod postponement;
mod prune;
mod reads;
mod rows;
mod schema;
mod state;
mod tail;
mod tls;
mod writer;

pub use connect::UrlError;
pub use durability::{Demands, Durability as RequiredDurability, Unfit};
pub use members::GateMember;
pub use name::GateName;
pub use operator::{ImportError, Imported, SharedLedger};

use super::lines::bare_line;
use super::sqlite::Retention;
use crate::admission::once::OnceStep;
use crate::effect::{Batch, BoxFuture, Clock, Committed, FingerprintKey, LedgerError, Membership as _, Note};
use crate::model::Time;
use connect::{Database, Link, Role, in_full};
use members::Unusable;
use prometheus_client::metrics::counter::Counter;
use secrecy::SecretString;
use state::{GateState, Joined};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tail::Tail;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
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
}

type JobReply<T> = oneshot::Sender<Result<T, LedgerError>>;

/// How long somebody waits for a database that does not answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a start waits for another gate of its name to be silent.
const START_PATIENCE: Duration = Duration::from_secs(20);
// === impl PostgresLedger ===

impl PostgresLedger {
    /// Joins the gates that share the ledger, as a new epoch of this gate's name, and recovers what its last one left. Makes
    /// the tables where there are none. Where the database is not there, it joins later, with a heartbeat; until then
    /// nothing is entered.
    pub async fn open(options: PostgresOptions) -> Result<Self, OpenError> {
        let (password, ca_file) = (options.password.as_ref(), options.ca_file.as_deref());
        let database = Database::parse(&options.url, password, ca_file, options.demands)?;
        let entered = match enter(&database, &options).await {
            Err(OpenError::Unavailable(why)) => Err(why),
            entered => Ok(entered?),
        };
        let shared = Arc::new(GateState::new(options, database));
        let (link, tail) = match entered {
            Ok((link, joined)) => {
                shared.joined(&joined, &link.facts.lineage);
                (Some(link), joined.tail)
            }
            Err(why) => {
                shared.waits_for(&why);
                shared.log_trouble(&why);
                (None, Tail::default())
            }
        };
        let (durable, durable_jobs) = unbounded_channel();
        let (entries, entry_jobs) = unbounded_channel();
        tokio::spawn(GroupWriter::new(Arc::clone(&shared), Role::Durable, link, tail).run(durable_jobs));
        tokio::spawn(GroupWriter::new(Arc::clone(&shared), Role::Entry, None, Tail::default()).run(entry_jobs));
        let ledger = Self { durable, entries, shared };
        if ledger.shared.is_member()
            && let Err(error) = ledger.beat().await
        {
            // It goes on with the next heartbeat.
            ledger.shared.log_trouble(&error.to_string());
        }
        Ok(ledger)
    }

    /// The key of credentials' fingerprints: one for all gates, so that a credential is one agent at each of them. Another
    /// one until this gate has joined.
    pub fn fingerprint_key(&self) -> FingerprintKey {
        self.shared.fingerprint_key.clone()
    }

    /// Writes that ended processes left, counted as each is recovered.
    pub fn recovered(&self) -> Counter {
        self.shared.recovered.clone()
    }

    /// Asks a writer. Who has not joined is told so at once.
    async fn ask<T>(
        &self,
        writer: &UnboundedSender<WriterJob>,
        job: impl FnOnce(JobReply<T>) -> WriterJob,
    ) -> Result<T, LedgerError> {
        if !self.shared.is_member() {
            self.shared.has_begun()?;
        }
        self.ask_writer(writer, job).await
    }

    async fn ask_writer<T>(
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
            Err(error @ OpenError::SameName { .. }) if began.elapsed() < START_PATIENCE && options.now.is_none() => {
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
    let mut link = database.connect(Role::Durable).await.map_err(|error| match error {
        connect::LinkError::Unfit(unfit) => OpenError::Unfit { ledger: database.name(), unfit },
        connect::LinkError::Unreachable(why) => unavailable(why),
    })?;
    if link.facts.lineage.is_older_than(&options.gate.last_server()) {
        return Err(unavailable("the server is an old primary: another has replaced it".to_owned()));
    }
    schema::migrate(&link, &options.fingerprint_key).await?;
    members::look_at(&link).await.map_err(|ended| match ended {
        Unusable::Replaced(why) | Unusable::NotYet(why) => unavailable(why),
    })?;
    members::agree(&link, options).await?;
    members::has_kept(&link, options).await.map_err(|unusable| match unusable {
        Unusable::Replaced(why) | Unusable::NotYet(why) => unavailable(why),
    })?;
    link.prepare(writer::statements()).await.map_err(|error| unavailable(error.to_string()))?;
    match members::join(&link, options).await {
        Ok(Ok(joined)) => Ok((link, joined)),
        Ok(Err(members::SameName { host, pid, since })) => {
            Err(OpenError::SameName { name: options.gate.name.clone(), host, pid, since })
        }
        Err(error) => Err(unavailable(in_full(&error))),
    }
}

impl std::fmt::Debug for PostgresLedger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresLedger").field("identity", &self.shared.identity()).finish_non_exhaustive()
    }
}

// === the port's door ===

impl PostgresLedger {
    fn carry_out(&self, batch: Batch) -> BoxFuture<'_, Result<Committed, LedgerError>> {
        let creates = batch.once.iter().any(|command| matches!(command.step, OnceStep::Put { .. }));
        if !batch.is_entry() && !creates {
            return Box::pin(self.ask(&self.durable, move |reply| WriterJob::Transact(batch, reply)));
        }
        Box::pin(async move {
            self.shared.has_begun()?;
            self.shared.is_fit()?;
            if self.shared.options.now.is_none() && !self.shared.is_in_touch() {
                return Err(unavailable("the database has not heard of this gate for a while"));
            }
            let writer = if creates { &self.durable } else { &self.entries };
            self.ask(writer, move |reply| WriterJob::Transact(batch, reply)).await
        })
    }

    fn note(&self, note: Note, now: Time) {
        let line = Box::new(bare_line(note, now, &self.shared.identity().0));
        if self.durable.send(WriterJob::Record(line)).is_err() {
            tracing::error!("a decision could not be recorded: the ledger's writer has ended");
        }
    }
}

fn unavailable(why: &str) -> LedgerError {
    LedgerError::Unavailable(why.to_owned())
}
