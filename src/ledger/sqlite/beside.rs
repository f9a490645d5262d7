//! The ledger file as somebody sees it who writes nothing: beside a running gate, or after it.

use super::store::Store;
use super::{LedgerError, SqliteOptions};
use crate::effect::Pruned;
use crate::model::{ItemRecord, OnceEntry, ProjectLease};
use std::fs::File;
use std::path::Path;
use std::time::Duration;

/// A ledger file that is only read. Takes no lock and begins no epoch.
pub struct LedgerFile {
    store: Store,
    /// Keeps every gate from opening it meanwhile.
    _lock: Option<File>,
}

// === impl LedgerFile ===

impl LedgerFile {
    /// The ledger of a state directory; none if there is no such file.
    pub fn open(dir: &Path) -> Result<Option<Self>, LedgerError> {
        let (zombie_period, doubt_period) = (Duration::ZERO, Duration::ZERO);
        let options = SqliteOptions { zombie_period, doubt_period, ..SqliteOptions::in_dir(dir) };
        if !Store::exists(&options) {
            return Ok(None);
        }
        let store = Store::open_to_read(&options)?;
        Ok(Some(Self { store, _lock: None }))
    }

    /// The same while no gate has it; until this is dropped none can.
    pub fn open_alone(dir: &Path) -> Result<Option<Self>, LedgerError> {
        if !Store::exists(&SqliteOptions::in_dir(dir)) {
            return Ok(None);
        }
        let lock = super::store::lock(dir)?;
        Ok(Self::open(dir)?.map(|file| Self { _lock: Some(lock), ..file }))
    }

    /// Every item, with what is under way on it.
    pub fn items(&self) -> Result<Vec<ItemRecord>, LedgerError> {
        self.store.all_items()
    }

    /// Who is at work by the singleton rules.
    pub fn leases(&self) -> Result<Vec<ProjectLease>, LedgerError> {
        self.store.leases()
    }

    /// What was created once, or may have been.
    pub fn once(&self) -> Result<Vec<OnceEntry>, LedgerError> {
        self.store.all_once()
    }

    /// Every item that is held or in doubt.
    pub fn active(&self) -> Result<Vec<ItemRecord>, LedgerError> {
        self.store.active()
    }

    /// Writes the ledger, as one moment has it, into another directory, which becomes a state directory. Whoever writes to it
    /// meanwhile is not held up. Only its owner may read the copy.
    pub fn copy_to(&self, dir: &Path) -> Result<(), LedgerError> {
        self.store.copy_to(&dir.join(super::store::FILE))
    }

    /// What is in the audit only.
    pub fn pruned(&self) -> Result<Pruned, LedgerError> {
        self.store.pruned()
    }

    /// Audit lines after this sequence number, in order.
    pub fn lines(&self, after: u64, limit: usize) -> Result<Vec<(u64, String)>, LedgerError> {
        self.store.lines(after, limit)
    }
}
