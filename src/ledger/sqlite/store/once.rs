//! What may be created once: its table.

use super::super::SqliteLedger;
use super::{Store, codec, json, stored};
use crate::effect::{BoxFuture, Creations, LedgerError};
use crate::model::{AttemptId, Epoch, GateId, Made, OnceEntry, OnceKey, Place, Standing, Time};
use rusqlite::{Row, params};
use std::collections::BTreeMap;

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
    pub(super) fn once(&self, key: &OnceKey) -> Result<Option<OnceEntry>, LedgerError> {
        Ok(self.rows("SELECT * FROM once WHERE key = ?1", [key.as_str()], read_entry)?.pop())
    }

    pub(in crate::ledger) fn all_once(&self) -> Result<Vec<OnceEntry>, LedgerError> {
        self.rows("SELECT * FROM once", [], read_entry)
    }

    pub(super) fn put_once(&self, entries: &BTreeMap<OnceKey, Option<OnceEntry>>) -> Result<(), LedgerError> {
        entries.iter().try_for_each(|(key, entry)| match entry {
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

    /// The keys of what was sent, and has not ended.
    pub(super) fn sent_once(&self) -> Result<Vec<OnceKey>, LedgerError> {
        let sql = "SELECT key FROM once WHERE until IS NOT NULL";
        self.rows(sql, [], |row| Ok(OnceKey::new(&row.get::<_, String>(0)?)))
    }
}

fn read_entry(row: &Row<'_>) -> rusqlite::Result<OnceEntry> {
    let text = |column| row.get::<_, String>(column);
    let standing = match row.get::<_, Option<i64>>(7)? {
        Some(until) => Standing::Sent { until: Time(until) },
        None => Standing::Made(Made { id: text(8)?, url: text(9)?, at: Place::from_stored(&text(10)?) }),
    };
    Ok(OnceEntry {
        key: OnceKey::new(&text(0)?),
        about: Place::from_stored(&text(1)?),
        actor: json(&text(2)?, codec::read_actor)?,
        since: Time(row.get(3)?),
        attempt: AttemptId::new(&text(4)?),
        gate: GateId::new(&text(5)?),
        epoch: Epoch(row.get::<_, i64>(6)?.unsigned_abs()),
        standing,
    })
}

impl Creations for SqliteLedger {
    fn once(&self, keys: Vec<OnceKey>) -> BoxFuture<'_, Result<Vec<Option<OnceEntry>>, LedgerError>> {
        Box::pin(self.query(move |store| keys.iter().map(|key| store.once(key)).collect()))
    }
}
