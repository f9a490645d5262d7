//! What may be created once, in memory.

use super::super::once;
use super::{Inner, MemoryLedger};
use crate::effect::{BoxFuture, Creations, LedgerError, OnceCommand};
use crate::model::{Epoch, GateId, OnceEntry, OnceKey, Time};
use std::collections::BTreeMap;

/// The entries of all keys.
pub(super) type Entries = BTreeMap<OnceKey, OnceEntry>;

impl Inner {
    fn run_once(&mut self, commands: &[OnceCommand], gate: &GateId, epoch: Epoch) -> Result<(), LedgerError> {
        let changes = once::run(commands, gate, epoch, &mut |key| Ok(self.once.get(key).cloned()))?;
        for (key, entry) in changes.entries {
            match entry {
                Some(entry) => drop(self.once.insert(key, entry)),
                None => drop(self.once.remove(&key)),
            }
        }
        changes.lines.iter().for_each(|line| self.append(line));
        Ok(())
    }

    pub(super) fn recover_once(&mut self, gate: &GateId, epoch: Epoch, until: Time, now: Time) {
        let keys = self.once.keys().cloned().collect();
        // Nothing refuses a recovery.
        let _ = self.run_once(&once::recovery(keys, gate, epoch, until, now), gate, epoch);
    }
}

impl Creations for MemoryLedger {
    fn commit_once(&self, commands: Vec<OnceCommand>) -> BoxFuture<'_, Result<(), LedgerError>> {
        Box::pin(async move {
            let mut inner = self.store.lock();
            inner.check()?;
            inner.admit(self)?;
            inner.run_once(&commands, &self.gate, self.epoch)?;
            self.store.told(&inner);
            Ok(())
        })
    }

    fn once(&self, keys: Vec<OnceKey>) -> BoxFuture<'_, Result<Vec<Option<OnceEntry>>, LedgerError>> {
        Box::pin(async move { self.read(|inner| keys.iter().map(|key| inner.once.get(key).cloned()).collect()) })
    }
}
