//! Who was heard of about which item: what keeps a silent holder from being one.
//!
//! Noted by every request that passes, so nothing is waited for and nobody is asked; written down now and then. What is
//! not written yet counts as much as what is.

use super::Gate;
use super::watch::{BETWEEN_PAGES, PAGE};
use crate::admission::Step;
use crate::effect::{Command, Durability, Held, LedgerError};
use crate::model::{Actor, ItemRecord, Place, Time};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Who was heard of since it was last written down.
#[derive(Debug, Default)]
pub(super) struct PendingRenewals(Mutex<ItemHeartbeats>);

/// Of each item all that were heard of about it: a holder is not forgotten because others read its item.
#[derive(Clone, Debug, Default)]
struct ItemHeartbeats {
    of: HashMap<Place, Vec<(Actor, Time)>>,
    entries: usize,
}

const MOST_RENEWALS: usize = 100_000;
/// Agents of one account about one item; an account invents them at will.
const MOST_INSTANCES: usize = 16;

// === impl PendingRenewals ===

impl PendingRenewals {
    pub(super) fn note(&self, item: Place, actor: Actor, at: Time) {
        // One that is being read is not waited for: the holder will be heard of again.
        if let Ok(mut heard) = self.0.try_lock() {
            heard.note(item, actor, at);
        }
    }

    fn heard(&self) -> MutexGuard<'_, ItemHeartbeats> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl ItemHeartbeats ===

impl ItemHeartbeats {
    fn note(&mut self, item: Place, actor: Actor, at: Time) {
        if self.entries >= MOST_RENEWALS && !self.of.contains_key(&item) {
            return;
        }
        let of_item = self.of.entry(item).or_default();
        if let Some((_, last)) = of_item.iter_mut().find(|(known, _)| *known == actor) {
            *last = at;
        } else if of_item.iter().filter(|(known, _)| known.account == actor.account).count() < MOST_INSTANCES {
            of_item.push((actor, at));
            self.entries += 1;
        }
    }

    /// When the holder was last heard of about its item.
    fn of_holder(&self, record: &ItemRecord) -> Option<(Actor, Time)> {
        let holder = &record.holding.as_ref()?.actor;
        let of_item = self.of.get(&record.locator)?;
        of_item.iter().filter(|(actor, _)| holder.goes_on_as(actor)).max_by_key(|(_, at)| *at).cloned()
    }

    /// Forgets what has been written: all that is no newer.
    fn forget(&mut self, written: &Self) {
        for (item, of_item) in &written.of {
            let Some(left) = self.of.get_mut(item) else { continue };
            let before = left.len();
            left.retain(|(actor, at)| !of_item.iter().any(|(known, until)| known == actor && at <= until));
            self.entries -= before - left.len();
            if left.is_empty() {
                self.of.remove(item);
            }
        }
    }
}

// === impl Gate ===

impl Gate {
    /// Every item that is held or in doubt, each holder as lately as it was heard of. What is past its time is in doubt no
    /// more.
    pub async fn active(&self) -> Result<Vec<ItemRecord>, LedgerError> {
        let (active, now) = (self.ports.ledger.active().await?, self.ports.clock.now());
        let stands = |record: &ItemRecord| record.holding.is_some() || record.is_in_doubt(now);
        Ok(active.into_iter().filter(stands).map(|record| self.heard(record)).collect())
    }

    /// Whether the holder is silent for longer than `stale_after`, while it could have been heard.
    pub fn is_stale(&self, record: &ItemRecord) -> bool {
        let now = self.ports.clock.now();
        let record = self.renewed(record.clone());
        record.holding.is_some_and(|held| self.rules().is_stale(&held, now))
    }

    /// The record as silence counts for it: from the last sign of life, or since the holder could be heard again.
    pub(super) fn renewed(&self, record: ItemRecord) -> ItemRecord {
        let mut record = self.heard(record);
        if let Some(holding) = &mut record.holding {
            holding.renewed = holding.renewed.max(self.hearing.since(self.ports.clock.now()));
        }
        record
    }

    /// The record with what was heard of its holder and is not written yet.
    pub(super) fn heard(&self, mut record: ItemRecord) -> ItemRecord {
        let heard = self.renewals.heard().of_holder(&record);
        if let (Some(holding), Some((_, at))) = (&mut record.holding, heard) {
            holding.renewed = holding.renewed.max(at);
        }
        record
    }

    /// Writes down again and again who was heard of, a little at a time.
    pub(super) async fn keep_renewals(&self, interval: Duration) {
        loop {
            tokio::time::sleep(interval).await;
            self.write_down(BETWEEN_PAGES).await;
        }
    }

    /// Writes down who was heard of since the last time, at once.
    pub async fn flush_renewals(&self) {
        self.write_down(Duration::ZERO).await;
    }

    async fn write_down(&self, pause: Duration) {
        self.flush_leases().await;
        let heard = self.renewals.heard().clone();
        if heard.entries == 0 {
            return;
        }
        match self.write_renewals(&heard, pause).await {
            Ok(()) => self.renewals.heard().forget(&heard),
            Err(error) => tracing::warn!(ledger.error = %error, "renewals not written"),
        }
    }

    async fn write_renewals(&self, heard: &ItemHeartbeats, pause: Duration) -> Result<(), LedgerError> {
        let renew = |record: ItemRecord| {
            let (actor, at) = heard.of_holder(&record)?;
            // Whoever has just claimed was heard of by that.
            record.holding.as_ref().filter(|held| held.renewed < at)?;
            let (step, now) = (Step::Renew { actor, at }, self.ports.clock.now());
            Some(Command { key: record.key, locator: record.locator, step, note: None, now })
        };
        let mut last = None;
        loop {
            let page = self.ports.ledger.held_after(last, PAGE).await?;
            last = Held::after(&page, PAGE);
            let commands: Vec<Command> = page.into_iter().filter_map(renew).collect();
            if !commands.is_empty() {
                self.ports.ledger.commit(commands, Durability::NextGroup).await?;
            }
            if last.is_none() {
                return Ok(());
            }
            tokio::time::sleep(pause).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Account, Principal};

    fn actor(login: &str) -> Actor {
        Actor { account: Principal::Named(Account::new(login)), instance: None }
    }

    #[test]
    fn what_is_newer_than_what_was_written_stays() {
        let (item, mut heard) = (Place::from_stored("a/b#1"), ItemHeartbeats::default());
        heard.note(item.clone(), actor("ann"), Time(1));
        heard.note(item.clone(), actor("bob"), Time(2));
        let written = heard.clone();
        heard.note(item.clone(), actor("bob"), Time(3));
        heard.forget(&written);
        assert_eq!((heard.of[&item].as_slice(), heard.entries), ([(actor("bob"), Time(3))].as_slice(), 1));
        heard.forget(&heard.clone());
        assert!(heard.of.is_empty() && heard.entries == 0);
    }
}
