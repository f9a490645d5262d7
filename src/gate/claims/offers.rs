//! Who looks at which item: lists that callers share, and items that one of them is trying to claim.
//!
//! Of many who ask for work at once one reads the list, and each is shown another item of it. Nothing here says who
//! holds an item: a list is a hint, and a reservation only keeps two callers of this process from the same claim.

use crate::dialect::Filter;
use crate::model::{BootTime, ResourceKey, Snapshot, Time};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// All lists and reservations of one gate.
#[derive(Debug, Default)]
pub(in crate::gate) struct Offers {
    lists: Mutex<HashMap<Wanted, Arc<CandidateList>>>,
    reserved: Mutex<HashSet<ResourceKey>>,
    /// Some reservation has ended.
    ended: Notify,
}

/// Which list.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Wanted {
    pub(super) filter: Filter,
    /// How many items of it are looked at.
    pub(super) limit: usize,
}

/// One list, and whose turn it is to read it.
#[derive(Debug, Default)]
pub(super) struct CandidateList {
    /// Who has it reads the list for all.
    pub(super) turn: tokio::sync::Mutex<()>,
    newest: Mutex<Option<Arc<List>>>,
}

/// What one look at the tracker showed.
#[derive(Debug)]
pub(super) struct List {
    /// When the look began.
    pub(super) began: BootTime,
    /// The same on the wall.
    pub(super) asked: Time,
    pub(super) items: Vec<Snapshot>,
    /// Items of it that nobody can have any more.
    gone: Mutex<HashSet<ResourceKey>>,
}

/// An item that nobody else of this process tries to claim, for as long as this lives.
#[derive(Debug)]
pub(super) struct Reserved<'a> {
    offers: &'a Offers,
    key: ResourceKey,
}

/// A list that is older than this is read again before anything of it is tried.
const KEPT: Duration = Duration::from_secs(1);
/// Lists are tidied up when there are more.
const MOST_LISTS: usize = 64;

// === impl Offers ===

impl Offers {
    pub(super) fn candidate_list(&self, wanted: &Wanted, now: BootTime) -> Arc<CandidateList> {
        let mut lists = locked(&self.lists);
        if lists.len() >= MOST_LISTS && !lists.contains_key(wanted) {
            lists.retain(|_, candidate_list| {
                Arc::strong_count(candidate_list) > 1 || candidate_list.recent(now).is_some()
            });
        }
        Arc::clone(lists.entry(wanted.clone()).or_default())
    }

    pub(super) fn reserve(&self, key: &ResourceKey) -> Option<Reserved<'_>> {
        let fresh = locked(&self.reserved).insert(key.clone());
        fresh.then(|| Reserved { offers: self, key: key.clone() })
    }

    pub(super) fn ended(&self) -> &Notify {
        &self.ended
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        locked(&self.offers.reserved).remove(&self.key);
        self.offers.ended.notify_waiters();
    }
}

// === impl CandidateList, List ===

impl CandidateList {
    /// The newest list, while it is new enough to try one's luck by.
    pub(super) fn recent(&self, now: BootTime) -> Option<Arc<List>> {
        locked(&self.newest).clone().filter(|list| list.began + KEPT > now)
    }

    /// The newest list, if it began since then.
    pub(super) fn since(&self, arrived: BootTime) -> Option<Arc<List>> {
        locked(&self.newest).clone().filter(|list| list.began >= arrived)
    }

    pub(super) fn put(&self, list: &Arc<List>) {
        let mut newest = locked(&self.newest);
        if newest.as_ref().is_none_or(|before| before.began <= list.began) {
            *newest = Some(Arc::clone(list));
        }
    }
}

impl List {
    pub(super) fn new(began: BootTime, asked: Time, items: Vec<Snapshot>) -> Arc<Self> {
        Arc::new(Self { began, asked, items, gone: Mutex::default() })
    }

    pub(super) fn is_gone(&self, key: &ResourceKey) -> bool {
        locked(&self.gone).contains(key)
    }

    pub(super) fn set_gone(&self, key: &ResourceKey) {
        locked(&self.gone).insert(key.clone());
    }
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
