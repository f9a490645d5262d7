//! What may be created once: its table, and the writer's part.

use super::super::codec;
use super::super::once::{self, OnceChanges};
use super::store::{Store, json, locator, stored};
use super::{Group, Job, SqliteLedger, SqliteOptions, Staged, Writer, not_open};
use crate::effect::{BoxFuture, Creations, LedgerError, Line, OnceCommand};
use crate::model::{AttemptId, Epoch, GateId, Made, OnceEntry, OnceKey, Standing, Time};
use rusqlite::{Row, params};

/// Version 3 of the schema: one row a key, so that none can stand for two.
pub(super) const SCHEMA: &str = "
    CREATE TABLE once(
        key TEXT PRIMARY KEY, about TEXT NOT NULL, actor TEXT NOT NULL, since INTEGER NOT NULL, attempt TEXT NOT NULL,
        gate TEXT NOT NULL, epoch INTEGER NOT NULL, until INTEGER, made TEXT, url TEXT, place TEXT)
        STRICT, WITHOUT ROWID;
    CREATE INDEX once_sent ON once(key) WHERE until IS NOT NULL;
";

// === impl Store ===

impl Store {
    fn once(&self, key: &OnceKey) -> Result<Option<OnceEntry>, LedgerError> {
        Ok(self.rows("SELECT * FROM once WHERE key = ?1", [key.as_str()], read_entry)?.pop())
    }

    fn put_once(&self, changes: &OnceChanges) -> Result<(), LedgerError> {
        changes.entries.iter().try_for_each(|(key, entry)| match entry {
            Some(entry) => self.put_entry(entry),
            None => self.execute("DELETE FROM once WHERE key = ?1", [key.as_str()]),
        })
    }

    fn put_entry(&self, entry: &OnceEntry) -> Result<(), LedgerError> {
        let (until, made) = match &entry.standing {
            Standing::Sent { until } => (Some(until.0), None),
            Standing::Made(made) => (None, Some(made)),
        };
        let sql = "INSERT OR REPLACE INTO once VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
        self.execute(
            sql,
            params![
                entry.key.as_str(),
                entry.about.to_string(),
                codec::actor(&entry.actor),
                entry.since.0,
                entry.attempt.as_str(),
                entry.gate.as_str(),
                stored(entry.epoch.0),
                until,
                made.map(|made| made.id.as_str()),
                made.map(|made| made.url.as_str()),
                made.map(|made| made.at.to_string()),
            ],
        )
    }

    /// Whatever may have been sent by an ended process is in doubt from now.
    pub(super) fn recover_once(&self, options: &SqliteOptions) -> Result<Vec<Line>, LedgerError> {
        let sql = "SELECT key FROM once WHERE until IS NOT NULL";
        let keys = self.rows(sql, [], |row| Ok(OnceKey::new(&row.get::<_, String>(0)?)))?;
        let until = options.now + options.doubt_period;
        let commands = once::recovery(keys, &self.gate, self.epoch, until, options.now);
        let changes = once::run(&commands, &self.gate, self.epoch, &mut |key| self.once(key))?;
        self.put_once(&changes)?;
        Ok(changes.lines)
    }
}

fn read_entry(row: &Row<'_>) -> rusqlite::Result<OnceEntry> {
    let text = |column| row.get::<_, String>(column);
    let standing = match row.get::<_, Option<i64>>(7)? {
        Some(until) => Standing::Sent { until: Time(until) },
        None => Standing::Made(Made { id: text(8)?, url: text(9)?, at: locator(&text(10)?)? }),
    };
    Ok(OnceEntry {
        key: OnceKey::new(&text(0)?),
        about: locator(&text(1)?)?,
        actor: json(&text(2)?, codec::read_actor)?,
        since: Time(row.get(3)?),
        attempt: AttemptId::new(&text(4)?),
        gate: GateId::new(&text(5)?),
        epoch: Epoch(row.get::<_, i64>(6)?.unsigned_abs()),
        standing,
    })
}

// === impl Writer ===

impl Writer {
    /// Checks the whole batch before any of it is written: what is refused leaves nothing in the group's transaction.
    pub(super) fn stage_once(&mut self, commands: &[OnceCommand], group: &mut Group) -> Result<(), LedgerError> {
        let store = self.store.as_ref().ok_or_else(not_open)?;
        let changes = once::run(commands, &store.gate, store.epoch, &mut |key| store.once(key))?;
        let staged = self.begin(group).and_then(|store| store.put_once(&changes));
        if let Err(error) = staged {
            group.failed.get_or_insert_with(|| error.to_string());
        }
        group.lines.extend(changes.lines.into_iter().map(|line| Staged { line, answered: false }));
        Ok(())
    }
}

impl Creations for SqliteLedger {
    fn commit_once(&self, commands: Vec<OnceCommand>) -> BoxFuture<'_, Result<(), LedgerError>> {
        Box::pin(self.ask(move |reply| Job::Once(commands, reply)))
    }

    fn once(&self, keys: Vec<OnceKey>) -> BoxFuture<'_, Result<Vec<Option<OnceEntry>>, LedgerError>> {
        Box::pin(self.query(move |store| keys.iter().map(|key| store.once(key)).collect()))
    }
}
