//! Who was heard of about which item: what keeps a silent holder from being one.
//!
//! Noted by every request that passes, so nothing is waited for and nobody is asked; written down now and then. What is
//! not written yet counts as much as what is. Whoever reads an item again and again keeps its [`LastBeat`], and says so
//! there without a look at the table.

use super::Gate;
use super::watch::{BETWEEN_PAGES, PAGE};
use crate::admission::Step;
use crate::effect::{Command, Durability, Held, LedgerError};
use crate::model::{Actor, ItemRecord, Place, Time};
use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Who was heard of since it was last written down.
#[derive(Debug, Default)]
pub(super) struct PendingRenewals(Mutex<ItemHeartbeats>);

/// Of each item all that were heard of about it: a holder is not forgotten because others read its item.
#[derive(Debug, Default)]
struct ItemHeartbeats {
    of: HashMap<Place, Vec<(Actor, Arc<LastBeat>)>>,
    entries: usize,
}

/// When one agent was last heard of about one item.
#[derive(Debug)]
pub(super) struct LastBeat {
    at: AtomicI64,
    /// Up to when that is written down.
    written: AtomicI64,
}

/// Who was heard of, as of one moment.
type Unwritten = HashMap<Place, Vec<(Actor, Time)>>;

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

    /// The agent was heard of about the item, and will be again. `None` while others are looked up, or where there are too
    /// many.
    pub(super) fn last_beat(&self, item: Place, actor: Actor, at: Time) -> Option<Arc<LastBeat>> {
        self.0.try_lock().ok()?.note(item, actor, at)
    }

    fn heard(&self) -> MutexGuard<'_, ItemHeartbeats> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl LastBeat ===

impl LastBeat {
    /// The agent was heard of.
    pub(super) fn beat(&self, at: Time) {
        self.at.fetch_max(at.0, Ordering::Relaxed);
    }

    fn at(&self) -> Time {
        Time(self.at.load(Ordering::Relaxed))
    }

    fn is_written(&self) -> bool {
        self.at() <= Time(self.written.load(Ordering::Relaxed))
    }
}

// === impl ItemHeartbeats ===

impl ItemHeartbeats {
    fn note(&mut self, item: Place, actor: Actor, at: Time) -> Option<Arc<LastBeat>> {
        if self.entries >= MOST_RENEWALS && !self.of.contains_key(&item) {
            return None;
        }
        let of_item = self.of.entry(item).or_default();
        if let Some((_, heartbeat)) = of_item.iter().find(|(known, _)| *known == actor) {
            heartbeat.beat(at);
            return Some(Arc::clone(heartbeat));
        }
        if of_item.iter().filter(|(known, _)| known.account == actor.account).count() >= MOST_INSTANCES {
            return None;
        }
        let heartbeat = Arc::new(LastBeat { at: AtomicI64::new(at.0), written: AtomicI64::new(i64::MIN) });
        of_item.push((actor, Arc::clone(&heartbeat)));
        self.entries += 1;
        Some(heartbeat)
    }

    /// When the holder was last heard of about its item.
    fn of_holder(&self, record: &ItemRecord) -> Option<Time> {
        let holder = &record.holding.as_ref()?.actor;
        let of_item = self.of.get(&record.locator)?;
        of_item.iter().filter(|(actor, _)| holder.goes_on_as(actor)).map(|(_, heartbeat)| heartbeat.at()).max()
    }

    fn unwritten(&self) -> Unwritten {
        let news = |of_item: &Vec<(Actor, Arc<LastBeat>)>| -> Vec<(Actor, Time)> {
            let news = of_item.iter().filter(|(_, heartbeat)| !heartbeat.is_written());
            news.map(|(actor, heartbeat)| (actor.clone(), heartbeat.at())).collect()
        };
        let of = self.of.iter().map(|(item, of_item)| (item.clone(), news(of_item)));
        of.filter(|(_, news)| !news.is_empty()).collect()
    }

    /// Notes what has been written, and forgets what is no newer, unless somebody is about to be heard of there again.
    fn forget(&mut self, written: &Unwritten) {
        for (item, news) in written {
            for (actor, until) in news {
                let of_item = self.of.get(item).into_iter().flatten();
                for (_, heartbeat) in of_item.filter(|(known, _)| known == actor) {
                    heartbeat.written.fetch_max(until.0, Ordering::Relaxed);
                }
            }
        }
        self.of.retain(|_, of_item| {
            // Nobody who has one of them gives it to others, and new ones are given out under this lock.
            of_item.retain(|(_, heartbeat)| !heartbeat.is_written() || Arc::strong_count(heartbeat) > 1);
            !of_item.is_empty()
        });
        self.entries = self.of.values().map(Vec::len).sum();
    }
}

/// When the holder was last heard of, and as whom.
fn news_of_holder(unwritten: &Unwritten, record: &ItemRecord) -> Option<(Actor, Time)> {
    let holder = &record.holding.as_ref()?.actor;
    let of_item = unwritten.get(&record.locator)?;
    of_item.iter().filter(|(actor, _)| holder.goes_on_as(actor)).max_by_key(|(_, at)| *at).cloned()
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
        if let (Some(holding), Some(at)) = (&mut record.holding, heard) {
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
        let unwritten = self.renewals.heard().unwritten();
        match self.write_renewals(&unwritten, pause).await {
            Ok(()) => self.renewals.heard().forget(&unwritten),
            Err(error) => tracing::warn!(ledger.error = %error, "renewals not written"),
        }
    }

    async fn write_renewals(&self, unwritten: &Unwritten, pause: Duration) -> Result<(), LedgerError> {
        if unwritten.is_empty() {
            return Ok(());
        }
        let renew = |record: ItemRecord| {
            let (actor, at) = news_of_holder(unwritten, &record)?;
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
                let written = self.ports.ledger.commit(commands, Durability::NextGroup).await?;
                self.board.renew(&written);
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
        let written = heard.unwritten();
        heard.note(item.clone(), actor("bob"), Time(3));
        heard.forget(&written);
        assert_eq!((heard.unwritten(), heard.entries), ([(item, vec![(actor("bob"), Time(3))])].into(), 1));
        heard.forget(&heard.unwritten());
        assert!(heard.of.is_empty() && heard.entries == 0);
    }

    /// Who keeps a heartbeat is heard of by it alone, also after it was written down.
    #[test]
    fn what_somebody_keeps_stays() {
        let (item, mut heard) = (Place::from_stored("a/b#1"), ItemHeartbeats::default());
        let kept = heard.note(item.clone(), actor("ann"), Time(1)).unwrap();
        heard.forget(&heard.unwritten());
        assert_eq!((heard.unwritten(), heard.entries), ([].into(), 1), "written once is enough");
        kept.beat(Time(2));
        assert_eq!(heard.unwritten(), [(item, vec![(actor("ann"), Time(2))])].into());
        drop(kept);
        heard.forget(&heard.unwritten());
        assert!(heard.of.is_empty());
    }
}
