//! The tables, and the rows of one record.

use super::super::codec::{self, Unreadable};
use super::super::lines::marks;
use super::super::record_cache::{Load, RecordCache, Written};
use super::super::transaction::recovery_once;
use super::SqliteOptions;
use super::keys::{Hashes, Keys};
use crate::admission::Step;
use crate::effect::audit::GENESIS;
use crate::effect::{Batch, Command, LedgerError, Line, failpoint};
use crate::model::{
    Attempt, AttemptId, AttemptState, Epoch, Fence, Fingerprint, GateId, ItemRecord, Kind, OnceEntry, OnceKey, Place,
    Principal, ResourceKey, Settled, Shown, Time,
};
use rusqlite::hooks::Wal;
use rusqlite::types::ToSqlOutput;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params, params_from_iter};
use rustix::fs::FlockOperation;
use serde_json::Value;
use std::cell::RefCell;
use std::fs::{File, OpenOptions, Permissions};
use std::hash::{BuildHasher as _, RandomState};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

mod leases;
mod once;

/// Why a ledger was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("the state directory {dir} is in use by {owner}; one gate at a time may have it")]
    InUse {
        /// The state directory.
        dir: String,
        /// What that process wrote of itself.
        owner: String,
    },
    /// A newer claimgate wrote it.
    #[error(
        "the ledger {path} has schema version {found}, this claimgate knows versions up to {known}; start the newer one, or restore an older copy of the file"
    )]
    Newer {
        /// The file.
        path: String,
        /// Its version.
        found: i64,
        /// The newest version known here.
        known: i64,
    },
    /// Others may read it.
    #[error("the ledger {path} may be read by others (mode {mode:o}); it names who works on what: chmod 600 it")]
    Exposed {
        /// The file.
        path: String,
        /// Its permission bits.
        mode: u32,
    },
    /// A reason that may pass.
    #[error("{0}")]
    Unavailable(String),
}

impl From<OpenError> for LedgerError {
    fn from(error: OpenError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// One connection to the file.
pub(super) struct Store {
    db: Connection,
    pub(super) gate: GateId,
    pub(super) epoch: Epoch,
    tail: RefCell<Tail>,
    /// Writes that an ended process had left, which this start has closed.
    pub(super) recovered: u64,
    _lock: Option<File>,
}

/// The file once the start is over: what is under way is in the cache.
pub(super) struct Recovered<'a> {
    pub(super) store: &'a Store,
    pub(super) keys: &'a Keys,
}

/// How far the write-ahead log is moved into the file.
pub(super) struct Checkpoint {
    /// Its length, pages.
    pub(super) log: i64,
    /// How many of them are in the file; all: and synced there.
    pub(super) moved: i64,
}

/// The end of the audit chain.
#[derive(Clone, Debug)]
struct Tail {
    seq: u64,
    hash: String,
}

/// The most of the audit's lines that are read at once, bytes.
const MOST_READ: usize = 4 << 20;
pub(super) const FILE: &str = "ledger.sqlite";
const LOCK: &str = "claimgate.lock";

/// Every schema version's step from the one before. Never edited, only appended to.
const MIGRATIONS: [&str; 8] = [
    FIRST,
    // Version 2 added nothing.
    "",
    once::SCHEMA,
    "ALTER TABLE item ADD COLUMN stray TEXT;",
    leases::SCHEMA,
    // A start looks at every mask, and few items have one.
    "ALTER TABLE item ADD COLUMN reassigned INTEGER NOT NULL DEFAULT 0;
     CREATE INDEX item_masked ON item(key) WHERE masks <> '[]';",
    FEWER_PAGES,
    "ALTER TABLE item ADD COLUMN lost TEXT;",
];

const FIRST: &str = "
    CREATE TABLE meta(name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
    CREATE TABLE item(
        key TEXT PRIMARY KEY, locator TEXT NOT NULL, fence INTEGER NOT NULL, holder TEXT, holding TEXT,
        contested INTEGER NOT NULL, doubts TEXT NOT NULL, doubt_until INTEGER, masks TEXT NOT NULL)
        STRICT, WITHOUT ROWID;
    CREATE INDEX item_held ON item(key) WHERE holding IS NOT NULL;
    CREATE INDEX item_doubt ON item(key) WHERE doubt_until IS NOT NULL;
    CREATE INDEX item_locator ON item(locator);
    CREATE TABLE attempt(
        id TEXT NOT NULL, key TEXT NOT NULL, locator TEXT NOT NULL, actor TEXT NOT NULL, credential TEXT NOT NULL,
        change TEXT NOT NULL, goal TEXT, kind TEXT, ownership TEXT NOT NULL, state TEXT NOT NULL, gate TEXT NOT NULL,
        epoch INTEGER NOT NULL, opened INTEGER NOT NULL, settled INTEGER, shown TEXT, PRIMARY KEY (key, id))
        STRICT, WITHOUT ROWID;
    CREATE UNIQUE INDEX attempt_live ON attempt(key) WHERE state IN ('OPEN', 'SENDING');
    CREATE TABLE audit(seq INTEGER PRIMARY KEY, hash TEXT NOT NULL, line TEXT NOT NULL) STRICT;
";

/// What is under way has a table of its own: as small as that is, and the same page for all of a group. Who holds is found
/// by the index over accounts; by its place an item is looked for when people ask, who can wait for a look at all of them.
const FEWER_PAGES: &str = "
    CREATE TABLE live(
        key TEXT PRIMARY KEY, id TEXT NOT NULL, locator TEXT NOT NULL, actor TEXT NOT NULL, credential TEXT NOT NULL,
        change TEXT NOT NULL, goal TEXT, kind TEXT, ownership TEXT NOT NULL, state TEXT NOT NULL, gate TEXT NOT NULL,
        epoch INTEGER NOT NULL, opened INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    INSERT INTO live SELECT key, id, locator, actor, credential, change, goal, kind, ownership, state, gate, epoch, opened
        FROM attempt WHERE state IN ('OPEN', 'SENDING');
    DELETE FROM attempt WHERE state IN ('OPEN', 'SENDING');
    DROP INDEX IF EXISTS attempt_live;
    DROP INDEX IF EXISTS item_held;
    DROP INDEX IF EXISTS item_locator;
    CREATE INDEX IF NOT EXISTS item_masked ON item(key) WHERE masks <> '[]';
";

// === opening ===

impl Store {
    /// Opens the file for writing: lock, migrations, a new epoch, recovery. One that is not there is made.
    pub(super) fn open(options: &SqliteOptions) -> Result<Self, OpenError> {
        Self::open_from(options, 0)
    }

    /// The same of one that was there: an empty file in its place is no ledger.
    pub(super) fn open_existing(options: &SqliteOptions) -> Result<Self, OpenError> {
        // Before a connection writes to it, and again once one is open: a copy may be on its way.
        if Self::is_written(options) { Self::open_from(options, 1) } else { Err(emptied()) }
    }

    fn open_from(options: &SqliteOptions, oldest: i64) -> Result<Self, OpenError> {
        let lock = lock(&options.dir)?;
        let path = options.dir.join(FILE);
        create_private(&path)?;
        let db = connect(&path)?;
        migrate(&db, &path, oldest)?;
        let mut store = Self::over(db, Some(lock))?;
        store.begin_epoch(options).map_err(|error| OpenError::Unavailable(error.to_string()))?;
        Ok(store)
    }

    /// Whether there is something in the file.
    pub(super) fn is_written(options: &SqliteOptions) -> bool {
        std::fs::metadata(options.dir.join(FILE)).is_ok_and(|file| file.is_file() && file.len() > 0)
    }

    /// Of the file that stands there now: device and inode.
    pub(super) fn identity(options: &SqliteOptions) -> Option<(u64, u64)> {
        std::fs::metadata(options.dir.join(FILE)).ok().map(|file| (file.dev(), file.ino()))
    }

    /// How much of the disk the ledger takes: the file and its log, bytes.
    pub(super) fn bytes(options: &SqliteOptions) -> u64 {
        let files = [FILE.to_owned(), format!("{FILE}-wal"), format!("{FILE}-shm")];
        files.iter().filter_map(|file| std::fs::metadata(options.dir.join(file)).ok()).map(|file| file.len()).sum()
    }

    pub(super) fn exists(options: &SqliteOptions) -> bool {
        options.dir.join(FILE).exists()
    }

    /// Opens the file for reading beside the writer.
    pub(super) fn open_to_read(options: &SqliteOptions) -> Result<Self, OpenError> {
        // Never makes the file: made here it would be open to others, and refused by the writer ever after.
        let path = options.dir.join(FILE);
        let flags = OpenFlags::default() & !OpenFlags::SQLITE_OPEN_CREATE;
        let db = Connection::open_with_flags(path, flags).map_err(unavailable)?;
        Self::over(configure(db)?, None)
    }

    /// Writes all of it into a new file, as this moment has it.
    pub(super) fn copy_to(&self, file: &Path) -> Result<(), LedgerError> {
        self.db.execute("VACUUM INTO ?1", [file.display().to_string()]).map_err(ledger_error)?;
        let owners = std::fs::set_permissions(file, Permissions::from_mode(0o600));
        owners.map_err(|error| LedgerError::Unavailable(error.to_string()))
    }

    fn over(db: Connection, lock: Option<File>) -> Result<Self, OpenError> {
        let gate = meta(&db, "gate").map_err(unavailable)?.unwrap_or_default();
        let epoch = meta(&db, "epoch").map_err(unavailable)?.and_then(|text| text.parse().ok()).unwrap_or(0);
        let tail = tail(&db).map_err(unavailable)?;
        Ok(Self {
            db,
            gate: GateId::new(&gate),
            epoch: Epoch(epoch),
            tail: RefCell::new(tail),
            recovered: 0,
            _lock: lock,
        })
    }

    fn begin_epoch(&mut self, options: &SqliteOptions) -> Result<(), LedgerError> {
        if self.gate.as_str().is_empty() {
            self.gate = GateId::new(&uuid::Uuid::now_v7().to_string());
        }
        self.epoch = Epoch(self.epoch.0 + 1);
        self.begin()?;
        self.set_meta("gate", self.gate.as_str())?;
        self.set_meta("epoch", &self.epoch.0.to_string())?;
        let lines = self.recover(options)?;
        self.commit(&lines)?;
        self.recovered = tell_recovered(&lines);
        Ok(())
    }

    /// What an ended process left: its SENDING become DOUBT, and every doubt, mask and sign of life lasts from now at most
    /// (clocks may have jumped).
    fn recover(&self, options: &SqliteOptions) -> Result<Vec<Line>, LedgerError> {
        let mut cache = RecordCache::new(self.gate.clone(), self.epoch, options.zombie_period);
        let mut lines = Vec::new();
        let (now, until) = (options.now, options.now + options.doubt_period);
        for key in self.unsettled(now)? {
            let Some(record) = self.item(&key)? else { continue };
            let step = Step::Recover { gate: self.gate.clone(), before: self.epoch, doubt_until: until };
            let command = Command { locator: record.locator, step, note: None, now, key };
            lines.extend(self.carry_out(&mut cache, &Batch { items: vec![command], ..Batch::default() })?);
        }
        let once = recovery_once(self.sent_once()?, (&self.gate, self.epoch), until, now);
        lines.extend(self.carry_out(&mut cache, &Batch { once, ..Batch::default() })?);
        Ok(lines)
    }

    fn carry_out(&self, cache: &mut RecordCache, batch: &Batch) -> Result<Vec<Line>, LedgerError> {
        let written = cache.run(batch, Some(self))?;
        self.put(&written)?;
        Ok(written.changes.lines)
    }

    /// What was under way or in doubt, and what a clock that was ahead has written.
    fn unsettled(&self, now: Time) -> Result<Vec<ResourceKey>, LedgerError> {
        // CASE: what is no JSON makes its own item unreadable, and not the ledger.
        let sql = "SELECT key FROM live
                   UNION SELECT key FROM item WHERE doubt_until IS NOT NULL
                   UNION SELECT key FROM item WHERE account IS NOT NULL
                       AND CASE WHEN json_valid(holding) THEN holding ->> 'renewed' > ?1 END
                   UNION SELECT key FROM item WHERE masks <> '[]' AND CASE WHEN json_valid(masks)
                       THEN EXISTS (SELECT 1 FROM json_each(masks) WHERE value ->> 'settled' > ?1) END";
        self.rows(sql, [now.0], |row| Ok(ResourceKey::new(&row.get::<_, String>(0)?)))
    }
}

/// Names in the log what an ended process left; how many there were.
fn tell_recovered(lines: &[Line]) -> u64 {
    let left: Vec<&Line> = lines.iter().filter(|line| line.kind == "recovered").collect();
    for line in &left {
        let resource = line.note.resource.as_ref().map(ToString::to_string).unwrap_or_default();
        let agent = line.note.agent.as_ref().map(|(actor, _)| actor.id()).unwrap_or_default();
        let result = line.result.unwrap_or_default();
        tracing::warn!(resource, agent, decision = line.id, result, "a write that an ended process left was recovered");
    }
    left.len() as u64
}

/// Takes the state directory for this process: one gate at a time may have it.
pub(in crate::ledger) fn lock(dir: &Path) -> Result<File, OpenError> {
    let failed = |error: std::io::Error| OpenError::Unavailable(format!("{}: {error}", dir.display()));
    std::fs::create_dir_all(dir).map_err(failed)?;
    let mut file = private().open(dir.join(LOCK)).map_err(failed)?;
    if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut owner = String::new();
        file.read_to_string(&mut owner).map_err(failed)?;
        return Err(OpenError::InUse { dir: dir.display().to_string(), owner: owner.trim().to_owned() });
    }
    file.set_len(0).and_then(|()| file.rewind()).map_err(failed)?;
    writeln!(file, "claimgate process {}", std::process::id()).map_err(failed)?;
    Ok(file)
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options
}

fn create_private(path: &Path) -> Result<(), OpenError> {
    let failed = |error: std::io::Error| OpenError::Unavailable(format!("{}: {error}", path.display()));
    let file = private().open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(OpenError::Exposed { path: path.display().to_string(), mode });
    }
    file.set_permissions(Permissions::from_mode(0o600)).map_err(failed)
}

fn connect(path: &Path) -> Result<Connection, OpenError> {
    configure(Connection::open(path).map_err(unavailable)?)
}

fn configure(db: Connection) -> Result<Connection, OpenError> {
    db.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 5000;
         PRAGMA wal_autocheckpoint = 0;",
    )
    .map_err(unavailable)?;
    db.set_prepared_statement_cache_capacity(64);
    Ok(db)
}

fn migrate(db: &Connection, path: &Path, oldest: i64) -> Result<(), OpenError> {
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let found: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(unavailable)?;
    if found > known {
        return Err(OpenError::Newer { path: path.display().to_string(), found, known });
    }
    if found < oldest {
        return Err(emptied());
    }
    for (version, sql) in (1..).zip(MIGRATIONS).skip(usize::try_from(found).unwrap_or(0)) {
        db.execute_batch(&format!("BEGIN IMMEDIATE; {sql} PRAGMA user_version = {version}; COMMIT;"))
            .map_err(unavailable)?;
    }
    Ok(())
}

fn emptied() -> OpenError {
    OpenError::Unavailable("the file is empty, where a ledger was: put a copy of it in its place".to_owned())
}

fn meta(db: &Connection, name: &str) -> rusqlite::Result<Option<String>> {
    db.query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| row.get(0)).optional()
}

fn tail(db: &Connection) -> rusqlite::Result<Tail> {
    let last = db.query_row("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1", [], |row| {
        Ok(Tail { seq: row.get::<_, i64>(0)?.unsigned_abs(), hash: row.get(1)? })
    });
    Ok(last.optional()?.unwrap_or_else(|| Tail { seq: 0, hash: GENESIS.to_owned() }))
}

// === writing ===

impl Store {
    pub(super) fn in_transaction(&self) -> bool {
        !self.db.is_autocommit()
    }

    pub(super) fn begin(&self) -> Result<(), LedgerError> {
        self.execute("BEGIN IMMEDIATE", [])
    }

    /// Writes the lines and ends the transaction; when this returns, all of it is on disk. The lines as they stand there.
    pub(super) fn commit<'a>(
        &self,
        lines: impl IntoIterator<Item = &'a Line>,
    ) -> Result<Vec<(u64, String)>, LedgerError> {
        let (mut tail, mut sealed) = (self.tail.borrow().clone(), Vec::new());
        for line in lines {
            let (text, hash) = line.seal(tail.seq + 1, &tail.hash);
            tail = Tail { seq: tail.seq + 1, hash };
            let sql = "INSERT INTO audit(seq, hash, line) VALUES (?1, ?2, ?3)";
            self.execute(sql, params![stored(tail.seq), tail.hash, text])?;
            sealed.push((tail.seq, text));
        }
        failpoint::reach("commit.before");
        self.execute("COMMIT", [])?;
        failpoint::reach("commit.after");
        self.tail.replace(tail);
        Ok(sealed)
    }

    /// Tells the write-ahead log's length, pages, after each commit.
    pub(super) fn watch_log(&mut self, mut tell: impl FnMut(u64) + Send + 'static) {
        let watching = self.db.wal_hook(Some(move |_: &mut Wal, pages| {
            tell(u64::try_from(pages).unwrap_or(0));
            Ok(())
        }));
        if let Err(error) = watching {
            tracing::error!(ledger.error = %error, "the length of the ledger's log is not watched");
        }
    }

    pub(super) fn rollback(&self) {
        if self.in_transaction()
            && let Err(error) = self.execute("ROLLBACK", [])
        {
            tracing::error!(ledger.error = %error, "rollback failed");
        }
    }

    pub(super) fn put(&self, Written { changes, items, .. }: &Written) -> Result<(), LedgerError> {
        for settled in &changes.settled {
            self.end_live(&settled.attempt, Some(settled.at), settled.shown.as_ref())?;
        }
        let is_final = |attempt: &Attempt| changes.settled.iter().any(|settled| settled.attempt.id == attempt.id);
        for attempt in changes.unsettled.iter().filter(|attempt| !is_final(attempt)) {
            match attempt.state {
                AttemptState::Doubt => self.end_live(attempt, None, None)?,
                _ => self.put_live(attempt)?,
            }
        }
        items.iter().try_for_each(|record| self.put_item(record))?;
        self.put_leases(&changes.leases)?;
        self.put_once(&changes.once)
    }

    fn put_item(&self, record: &ItemRecord) -> Result<(), LedgerError> {
        let sql = "INSERT INTO item VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
                   ON CONFLICT(key) DO UPDATE SET locator = excluded.locator, fence = excluded.fence,
                       holder = excluded.holder, holding = excluded.holding, contested = excluded.contested,
                       doubts = excluded.doubts, doubt_until = excluded.doubt_until, masks = excluded.masks,
                       stray = excluded.stray, reassigned = excluded.reassigned, lost = excluded.lost";
        let holding = record.holding.as_ref();
        self.execute(
            sql,
            params![
                record.key.as_str(),
                record.locator.to_stored(),
                stored(record.fence.0),
                holding.map(|holding| holding.actor.id()),
                holding.map(codec::holding),
                record.contested,
                codec::doubts(&record.doubts),
                record.doubt_until.map(|until| until.0),
                codec::masks(&record.late_writes),
                record.pending_restore.as_ref().map(codec::statuses),
                record.reassigned,
                record.lost.as_ref().map(codec::lost),
            ],
        )
    }

    /// An attempt that is under way; its item must have no other one.
    fn put_live(&self, attempt: &Attempt) -> Result<(), LedgerError> {
        let sql = "INSERT INTO live VALUES (?2, ?1, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
                   ON CONFLICT(key) DO UPDATE SET goal = excluded.goal, kind = excluded.kind,
                       ownership = excluded.ownership, state = excluded.state WHERE id = excluded.id";
        if self.changed(sql, params_from_iter(entered(attempt)))? == 0 {
            let why = format!("{} has another write under way in the file", attempt.locator);
            return Err(LedgerError::Unavailable(why));
        }
        Ok(())
    }

    /// An attempt that is no longer: final, or in doubt.
    fn end_live(&self, attempt: &Attempt, settled: Option<Time>, shown: Option<&Shown>) -> Result<(), LedgerError> {
        self.put_attempt(attempt, settled, shown)?;
        let sql = "DELETE FROM live WHERE key = ?1 AND id = ?2";
        self.execute(sql, params![attempt.key.as_str(), attempt.id.as_str()])
    }

    fn put_attempt(&self, attempt: &Attempt, settled: Option<Time>, shown: Option<&Shown>) -> Result<(), LedgerError> {
        // `settled IS NULL`: a final attempt is immutable.
        let sql = "INSERT INTO attempt VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
                   ON CONFLICT(key, id) DO UPDATE SET state = excluded.state, goal = coalesce(excluded.goal, goal),
                       kind = coalesce(excluded.kind, kind), ownership = excluded.ownership,
                       settled = excluded.settled, shown = excluded.shown
                   WHERE attempt.settled IS NULL";
        let ended = [or_null(settled.map(|at| at.0)), or_null(shown.map(codec::shown))];
        self.execute(sql, params_from_iter(entered(attempt).into_iter().chain(ended)))
    }

    pub(super) fn mark_printed(&self, seq: u64) -> Result<(), LedgerError> {
        self.set_meta("printed", &seq.to_string())
    }

    /// A number that is remembered by this name.
    pub(super) fn number(&self, name: &str) -> Result<Option<i64>, LedgerError> {
        let sql = "SELECT value FROM meta WHERE name = ?1";
        let found: Option<String> = self.rows(sql, [name], |row| row.get(0))?.pop();
        Ok(found.and_then(|text| text.parse().ok()))
    }

    pub(super) fn set_number(&self, name: &str, number: i64) -> Result<(), LedgerError> {
        self.set_meta(name, &number.to_string())
    }

    /// Writes what nobody reads: a page that has to reach the disk. Of a value that stays the same `SQLite` writes none.
    pub(super) fn touch(&self) -> Result<(), LedgerError> {
        self.execute("INSERT OR REPLACE INTO meta VALUES ('probed', CAST(random() AS TEXT))", ())
    }

    fn set_meta(&self, name: &str, value: &str) -> Result<(), LedgerError> {
        self.execute("INSERT OR REPLACE INTO meta VALUES (?1, ?2)", params![name, value])
    }

    pub(super) fn execute(&self, sql: &str, params: impl rusqlite::Params) -> Result<(), LedgerError> {
        self.changed(sql, params).map(drop)
    }

    /// How many rows the statement changed.
    fn changed(&self, sql: &str, params: impl rusqlite::Params) -> Result<usize, LedgerError> {
        let mut statement = self.db.prepare_cached(sql).map_err(ledger_error)?;
        statement.execute(params).map_err(ledger_error)
    }
}

// === reading ===

impl Store {
    pub(super) fn newest_line(&self) -> u64 {
        self.tail.borrow().seq
    }

    /// Whether every page holds together, and the last audit line carries the hash that is stored beside it.
    pub(super) fn check_whole(&self) -> Result<(), OpenError> {
        let found: String = self.db.pragma_query_value(None, "quick_check", |row| row.get(0)).map_err(unavailable)?;
        if found != "ok" {
            return Err(OpenError::Unavailable(found));
        }
        let sql = "SELECT hash, line FROM audit ORDER BY seq DESC LIMIT 1";
        let last: Option<(String, String)> =
            self.db.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).optional().map_err(unavailable)?;
        match last {
            Some((hash, line)) if !line.contains(&format!("\"hash\":\"{hash}\"")) => {
                Err(OpenError::Unavailable("the last audit line does not carry its hash".to_owned()))
            }
            _ => Ok(()),
        }
    }

    /// One item; a new one that was sent for the first time has no row but its attempt's.
    pub(super) fn item(&self, key: &ResourceKey) -> Result<Option<ItemRecord>, LedgerError> {
        let record = self.quiet_item(key)?;
        let sql =
            "SELECT id, key, locator, actor, credential, change, goal, kind, ownership, state, gate, epoch, opened,
                   NULL, NULL FROM live WHERE key = ?1";
        let live = self.rows(sql, [key.as_str()], read_attempt)?.pop().map(|settled| settled.attempt);
        let new = || live.as_ref().map(|live| ItemRecord::new(key.clone(), live.locator.clone()));
        Ok(record.or_else(new).map(|record| ItemRecord { live, ..record }))
    }

    /// Every item, with what is under way on it.
    pub(super) fn all_items(&self) -> Result<Vec<ItemRecord>, LedgerError> {
        let sql = "SELECT key FROM item UNION SELECT key FROM live";
        let keys = self.rows(sql, [], |row| Ok(ResourceKey::new(&row.get::<_, String>(0)?)))?;
        keys.iter().filter_map(|key| self.item(key).transpose()).collect()
    }

    /// One item with nothing under way. What this process has under way is in its cache, and what an ended one left was
    /// recovered at the start, so that at run time no row holds a live attempt which the cache does not have.
    fn quiet_item(&self, key: &ResourceKey) -> Result<Option<ItemRecord>, LedgerError> {
        Ok(self.items("key = ?1", [key.as_str()])?.pop())
    }

    /// Of the keys of this many items at most.
    pub(super) fn hashes(&self, hasher: &RandomState, most: usize) -> Result<Hashes, LedgerError> {
        let mut statement = self.db.prepare("SELECT key FROM item LIMIT ?1").map_err(ledger_error)?;
        let hash = |row: &Row<'_>| Ok(hasher.hash_one(ResourceKey::new(row.get_ref(0)?.as_str()?)));
        let rows = statement.query_map([stored(most as u64)], hash).map_err(ledger_error)?;
        rows.collect::<rusqlite::Result<_>>().map_err(ledger_error)
    }

    pub(super) fn active(&self) -> Result<Vec<ItemRecord>, LedgerError> {
        // Each by its index: with OR, every row would be read.
        let which = "key IN (SELECT key FROM item WHERE account IS NOT NULL
                             UNION SELECT key FROM item WHERE doubt_until IS NOT NULL)";
        self.items(which, [])
    }

    pub(super) fn doubtful(&self) -> Result<Vec<ItemRecord>, LedgerError> {
        self.items("doubt_until IS NOT NULL", [])
    }

    /// Moves what no reader needs from the write-ahead log to the file; holds nobody up.
    pub(super) fn checkpoint(&self) -> Result<Checkpoint, LedgerError> {
        let pages = |row: &Row<'_>| Ok(Checkpoint { log: row.get(1)?, moved: row.get(2)? });
        self.db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], pages).map_err(ledger_error)
    }

    pub(super) fn history(&self, locator: &Place, limit: usize) -> Result<Vec<Settled>, LedgerError> {
        self.ended_where(
            "key IN (SELECT key FROM item WHERE ?1 IN (locator, substr(locator, instr(locator, ' ') + 1)))",
            &locator.to_string(),
            limit,
        )
    }

    pub(super) fn ended(&self, key: &ResourceKey, limit: usize) -> Result<Vec<Settled>, LedgerError> {
        self.ended_where("key = ?1", key.as_str(), limit)
    }

    /// The final attempts on the items of which this holds, the newest first.
    fn ended_where(&self, which: &str, what: &str, limit: usize) -> Result<Vec<Settled>, LedgerError> {
        let sql = format!(
            "SELECT * FROM attempt WHERE {which} AND settled IS NOT NULL ORDER BY opened DESC, id DESC LIMIT ?2"
        );
        self.rows(&sql, params![what, stored(limit as u64)], read_attempt)
    }

    pub(super) fn lines(&self, after: u64, limit: usize) -> Result<Vec<(u64, String)>, LedgerError> {
        let sql = "SELECT seq, line FROM audit WHERE seq > ?1 ORDER BY seq LIMIT ?2";
        let read = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get(1)?));
        self.rows_within(sql, params![stored(after), stored(limit as u64)], read, |(_, line): &(u64, String)| {
            line.len()
        })
    }

    /// Without an index over the lines: only people ask, and each line written would pay for it.
    pub(super) fn lines_about(&self, locator: &Place, limit: usize) -> Result<Vec<String>, LedgerError> {
        let keys = self.rows(
            "SELECT key FROM item WHERE ?1 IN (locator, substr(locator, instr(locator, ' ') + 1))",
            [locator.to_string()],
            |row| Ok(ResourceKey::new(&row.get::<_, String>(0)?)),
        )?;
        let [of_place, of_key] = marks(locator, keys.first());
        let sql = "SELECT line FROM audit WHERE instr(line, ?1) OR instr(line, ?2) ORDER BY seq DESC LIMIT ?3";
        self.rows_within(sql, params![of_place, of_key, stored(limit as u64)], |row| row.get(0), String::len)
    }

    pub(super) fn printed(&self) -> Result<u64, LedgerError> {
        Ok(self.number("printed")?.unwrap_or(0).unsigned_abs())
    }

    /// The items of which this holds.
    fn items(&self, which: &str, params: impl rusqlite::Params) -> Result<Vec<ItemRecord>, LedgerError> {
        let columns = "key, locator, fence, holding, contested, doubts, doubt_until, masks, stray, reassigned, lost";
        self.rows(&format!("SELECT {columns} FROM item WHERE {which}"), params, read_item)
    }

    /// The first rows, as many as take a bounded memory together; one at least.
    pub(super) fn rows_within<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
        length: impl Fn(&T) -> usize,
    ) -> Result<Vec<T>, LedgerError> {
        let mut statement = self.db.prepare_cached(sql).map_err(ledger_error)?;
        let (mut found, mut bytes) = (Vec::new(), 0);
        for row in statement.query_map(params, read).map_err(ledger_error)? {
            let row = row.map_err(ledger_error)?;
            bytes += length(&row);
            if bytes > MOST_READ && !found.is_empty() {
                break;
            }
            found.push(row);
        }
        Ok(found)
    }

    pub(super) fn rows<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, LedgerError> {
        let mut statement = self.db.prepare_cached(sql).map_err(ledger_error)?;
        let rows = statement.query_map(params, read).map_err(ledger_error)?;
        rows.collect::<rusqlite::Result<_>>().map_err(ledger_error)
    }
}

/// What is known of an attempt from its entry on, in the order of the columns.
fn entered(attempt: &Attempt) -> [ToSqlOutput<'_>; 13] {
    [
        attempt.id.as_str().into(),
        attempt.key.as_str().into(),
        attempt.locator.to_string().into(),
        codec::actor(&attempt.actor).into(),
        attempt.credential.as_str().into(),
        codec::change(&attempt.change).into(),
        or_null(attempt.goal.as_ref().map(codec::goal)),
        or_null(attempt.kind.map(|kind| kind.as_str().to_owned())),
        codec::ownership(&attempt.ownership).into(),
        attempt.state.as_str().into(),
        attempt.gate.as_str().into(),
        stored(attempt.epoch.0).into(),
        attempt.opened.0.into(),
    ]
}

fn or_null<'a>(value: Option<impl Into<rusqlite::types::Value>>) -> ToSqlOutput<'a> {
    ToSqlOutput::Owned(value.map_or(rusqlite::types::Value::Null, Into::into))
}

impl Load for Store {
    fn item(&self, key: &ResourceKey) -> Result<Option<ItemRecord>, LedgerError> {
        Self::item(self, key)
    }

    fn of_account(&self, account: &Principal) -> Result<Vec<ItemRecord>, LedgerError> {
        Self::of_account(self, account)
    }

    fn once(&self, key: &OnceKey) -> Result<Option<OnceEntry>, LedgerError> {
        Self::once(self, key)
    }
}

impl Load for Recovered<'_> {
    fn item(&self, key: &ResourceKey) -> Result<Option<ItemRecord>, LedgerError> {
        if self.keys.may_have(key) { self.store.quiet_item(key) } else { Ok(None) }
    }

    fn of_account(&self, account: &Principal) -> Result<Vec<ItemRecord>, LedgerError> {
        self.store.of_account(account)
    }

    fn once(&self, key: &OnceKey) -> Result<Option<OnceEntry>, LedgerError> {
        self.store.once(key)
    }
}

fn read_item(row: &Row<'_>) -> rusqlite::Result<ItemRecord> {
    let holding: Option<String> = row.get(3)?;
    Ok(ItemRecord {
        key: ResourceKey::new(&row.get::<_, String>(0)?),
        locator: Place::from_stored(&row.get::<_, String>(1)?),
        fence: Fence(row.get::<_, i64>(2)?.unsigned_abs()),
        holding: holding.map(|text| json(&text, codec::read_holding)).transpose()?,
        contested: row.get(4)?,
        live: None,
        doubts: json(&row.get::<_, String>(5)?, codec::read_doubts)?,
        doubt_until: row.get::<_, Option<i64>>(6)?.map(Time),
        late_writes: json(&row.get::<_, String>(7)?, codec::read_masks)?,
        pending_restore: row.get::<_, Option<String>>(8)?.map(|text| json(&text, codec::read_statuses)).transpose()?,
        reassigned: row.get(9)?,
        lost: row.get::<_, Option<String>>(10)?.map(|text| json(&text, codec::read_lost)).transpose()?,
    })
}

fn read_attempt(row: &Row<'_>) -> rusqlite::Result<Settled> {
    let text = |column| row.get::<_, String>(column);
    let goal: Option<String> = row.get(6)?;
    let kind: Option<String> = row.get(7)?;
    let shown: Option<String> = row.get(14)?;
    let attempt = Attempt {
        id: AttemptId::new(&text(0)?),
        key: ResourceKey::new(&text(1)?),
        locator: Place::from_stored(&text(2)?),
        actor: json(&text(3)?, codec::read_actor)?,
        credential: Fingerprint::new(&text(4)?),
        change: json(&text(5)?, codec::read_change)?,
        goal: goal.map(|text| json(&text, codec::read_goal)).transpose()?,
        kind: kind.map(|text| Kind::parse(&text).ok_or_else(|| unreadable("kind"))).transpose()?,
        ownership: json(&text(8)?, codec::read_ownership)?,
        state: AttemptState::parse(&text(9)?).ok_or_else(|| unreadable("state"))?,
        gate: GateId::new(&text(10)?),
        epoch: Epoch(row.get::<_, i64>(11)?.unsigned_abs()),
        opened: Time(row.get(12)?),
    };
    Ok(Settled {
        at: Time(row.get::<_, Option<i64>>(13)?.unwrap_or(attempt.opened.0)),
        shown: shown.map(|text| json(&text, codec::read_shown)).transpose()?,
        attempt,
    })
}

pub(super) fn json<T>(text: &str, read: impl FnOnce(&Value) -> Result<T, Unreadable>) -> rusqlite::Result<T> {
    let value: Value = serde_json::from_str(text).map_err(|_| unreadable("JSON value"))?;
    read(&value).map_err(|Unreadable(what)| unreadable(what))
}

fn unreadable(what: &'static str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(Unreadable(what)))
}

/// SQLite's integers are signed; nothing here comes near the difference.
pub(super) fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[allow(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn unavailable(error: rusqlite::Error) -> OpenError {
    OpenError::Unavailable(error.to_string())
}

#[allow(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn ledger_error(error: rusqlite::Error) -> LedgerError {
    LedgerError::Unavailable(error.to_string())
}
