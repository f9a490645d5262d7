//! What the gate has learnt of reads: which path is which item, and which credential the tracker has just let read what.
//!
//! Neither is ever what a decision rests on. A path's item is checked again under the item's turn. That the tracker has
//! just shown a credential items of that kind in that project only lets it share a refusal that somebody else's read
//! already justifies: who may read pull requests may be kept from the issues beside them, and who could read a minute ago
//! may not any more (manual: walk).

use super::Gate;
use crate::dialect::{AnswerClass, Credential, WireResponse};
use crate::model::{BootTime, Fingerprint, ItemKind, Place, Project, ResourceKey, Snapshot, Time};
use moka::future::Cache;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

#[derive(Debug)]
pub(super) struct Reads {
    /// Path to immutable id, and what kind of item that is.
    keys: Cache<Place, (ResourceKey, ItemKind)>,
    /// The same the other way round, for requests that name items by id.
    places: Cache<ResourceKey, Place>,
    /// What each credential was last shown, and when, microseconds since boot.
    shown: moka::sync::Cache<(Fingerprint, ReadAccess), Arc<AtomicU64>>,
    /// When each item was last written, as far as a read has shown.
    written: moka::sync::Cache<ResourceKey, Time>,
    /// Who is shown one item may not be shown the others of its kind.
    item_by_item: bool,
}

/// What the tracker showed to a credential, by a 2xx answer to a read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ReadAccess {
    /// This item.
    Item(Place),
    /// Items of this kind in this project: one of them, or a list of them.
    Kind(Project, ItemKind),
    /// Something about the items of this project, whatever of them the tracker lets it see.
    Project(Project),
    /// The page of the web interface on which a form about this project stands.
    Page(Project),
}

const MOST_KEYS: u64 = 200_000;
const MOST_ACCESSES: u64 = 100_000;
const ACCESS_KEPT: Duration = Duration::from_mins(10);
/// How far the reads of a tracker may trail its writes, and much more.
const WRITTEN_KEPT: Duration = Duration::from_hours(1);
/// How long before a request came its credential may have been shown something, to be told of it without a read of its own.
const JUST_NOW: Duration = Duration::from_secs(2);

// === impl Reads ===

impl Reads {
    /// Of a tracker that shows items one by one, or all of a kind to whom it shows one.
    pub(super) fn new(item_by_item: bool) -> Self {
        Self {
            item_by_item,
            keys: Cache::new(MOST_KEYS),
            places: Cache::new(MOST_KEYS),
            written: moka::sync::Cache::builder().max_capacity(MOST_KEYS).time_to_idle(WRITTEN_KEPT).build(),
            shown: moka::sync::Cache::builder().max_capacity(MOST_ACCESSES).time_to_idle(ACCESS_KEPT).build(),
        }
    }

    /// The item at a path.
    pub(super) async fn key(&self, locator: &Place) -> Option<ResourceKey> {
        self.keys.get(locator).await.map(|(key, _)| key)
    }

    async fn kind(&self, locator: &Place) -> Option<ItemKind> {
        self.keys.get(locator).await.map(|(_, kind)| kind)
    }

    /// The item at a path; of many who ask at once, one reads.
    pub(super) async fn key_or<E: Clone + Send + Sync + 'static>(
        &self,
        locator: &Place,
        read: impl Future<Output = Result<(ResourceKey, ItemKind), E>>,
    ) -> Result<ResourceKey, E> {
        let found = self.keys.try_get_with_by_ref(locator, read).await;
        found.map(|(key, _)| key).map_err(|error| E::clone(&error))
    }

    pub(super) async fn learn_key(&self, locator: &Place, key: &ResourceKey, kind: ItemKind) {
        let known = (key.clone(), kind);
        if self.keys.get(locator).await.as_ref() != Some(&known) {
            self.keys.insert(locator.clone(), known).await;
            self.places.insert(key.clone(), locator.clone()).await;
        }
    }

    /// Where an item was last seen.
    pub(super) async fn place(&self, key: &ResourceKey) -> Option<Place> {
        self.places.get(key).await
    }

    pub(super) async fn forget_place(&self, key: &ResourceKey) {
        self.places.invalidate(key).await;
    }

    pub(super) async fn forget_key(&self, locator: &Place) {
        self.keys.invalidate(locator).await;
    }

    /// Whether a read that says this of an item is no older than what was seen of it already; it is remembered.
    pub(super) fn is_current(&self, key: &ResourceKey, written: Option<Time>) -> bool {
        let Some(written) = written else { return true };
        let latest = self
            .written
            .entry_by_ref(key)
            .and_upsert_with(|known| known.map_or(written, |known| known.into_value().max(written)));
        latest.into_value() <= written
    }

    /// The tracker has just shown this to the credential.
    pub(super) fn learn_access(&self, credential: &Fingerprint, access: ReadAccess, now: BootTime) {
        let project = match &access {
            ReadAccess::Item(at) => at.project(),
            ReadAccess::Kind(project, _) => Some(project),
            ReadAccess::Project(_) | ReadAccess::Page(_) => None,
        };
        if let Some(project) = project.cloned() {
            self.access(credential, ReadAccess::Project(project), now);
        }
        self.access(credential, access, now);
    }

    /// When the tracker last showed this to the credential, which is now: whoever keeps this can say so again without a look
    /// at the table, for as long as the table keeps it ([`ACCESS_KEPT`] from the last look).
    pub(super) fn access(&self, credential: &Fingerprint, access: ReadAccess, now: BootTime) -> Arc<AtomicU64> {
        // An entry is made once; a write to the cache costs more than all else about it.
        let at = self.shown.get_with((credential.clone(), access), || Arc::new(AtomicU64::new(now.0)));
        at.fetch_max(now.0, Ordering::Relaxed);
        at
    }

    /// The tracker has just shown this item to the credential, and with it that it shows it items of that kind.
    pub(super) fn learn_item(&self, credential: &Fingerprint, seen: &Snapshot, now: BootTime) {
        let access = match seen.locator.project() {
            Some(project) if !self.item_by_item => ReadAccess::Kind(project.clone(), seen.kind),
            _ => ReadAccess::Item(seen.locator.clone()),
        };
        self.learn_access(credential, access, now);
    }

    /// Whether the tracker showed the credential this since the request came, or just before.
    pub(super) fn has_seen(&self, credential: &Fingerprint, access: ReadAccess, arrived: BootTime) -> bool {
        self.shown.get(&(credential.clone(), access)).is_some_and(|at| is_just_now(&at, arrived))
    }

    /// Whether the tracker showed the credential this not long ago. Says nothing of what it may be told.
    pub(super) fn has_seen_lately(&self, credential: &Fingerprint, access: ReadAccess) -> bool {
        self.shown.contains_key(&(credential.clone(), access))
    }

    /// The same of any item of this kind in the project of a place.
    fn has_seen_kind(&self, credential: &Fingerprint, at: &Place, kind: ItemKind, arrived: BootTime) -> bool {
        let access = at.project().filter(|_| !self.item_by_item).map(|project| ReadAccess::Kind(project.clone(), kind));
        access.is_some_and(|access| self.has_seen(credential, access, arrived))
    }

    /// Whether the credential may be told of this item by what others have read of it.
    pub(super) fn may_share(&self, credential: &Fingerprint, seen: &Snapshot, arrived: BootTime) -> bool {
        self.has_seen_kind(credential, &seen.locator, seen.kind, arrived)
            || self.has_seen(credential, ReadAccess::Item(seen.locator.clone()), arrived)
    }

    /// The same of the item at a place, as far as it is known what kind of item that is.
    pub(super) async fn may_share_at(&self, credential: &Fingerprint, locator: &Place, arrived: BootTime) -> bool {
        let of_kind = match self.kind(locator).await {
            Some(kind) => self.has_seen_kind(credential, locator, kind, arrived),
            None => false,
        };
        of_kind || self.has_seen(credential, ReadAccess::Item(locator.clone()), arrived)
    }
}

fn is_just_now(at: &AtomicU64, arrived: BootTime) -> bool {
    BootTime(at.load(Ordering::Relaxed)) + JUST_NOW >= arrived
}

/// What a credential was found to be shown.
pub(super) enum Proof {
    /// Items of that kind.
    Shown,
    /// The project, and no item of that kind: there may be none, or none for this credential.
    Empty,
    /// Nothing: the tracker's own answer.
    Denied(Box<WireResponse>),
    /// The project is elsewhere.
    Moved,
    /// The tracker could not be asked.
    Unreadable(String),
}

impl Gate {
    /// Whether the tracker shows the credential items of this kind: by what it has just been shown, else by a read.
    pub(super) async fn prove_kind(
        &self,
        project: &Project,
        kind: ItemKind,
        credential: &Credential,
        arrived: BootTime,
    ) -> Proof {
        let print = self.ports.identify.fingerprint(credential);
        let access = ReadAccess::Kind(project.clone(), kind);
        if self.reads.has_seen(&print, access.clone(), arrived) {
            return Proof::Shown;
        }
        let started = tokio::time::Instant::now();
        let answer = self.ports.upstream.read(self.ports.dialect.show_kind(project, kind, credential)).await;
        self.ports.metrics.upstream_took("prove", started.elapsed());
        let response = match answer {
            Ok((response, _)) => response,
            Err(error) => return Proof::Unreadable(error.to_string()),
        };
        match response.class() {
            AnswerClass::Ok if self.ports.dialect.is_shown(kind, &response) => {
                self.reads.learn_access(&print, access, self.ports.clock.boot());
                Proof::Shown
            }
            AnswerClass::Ok => {
                self.reads.learn_access(&print, ReadAccess::Project(project.clone()), self.ports.clock.boot());
                Proof::Empty
            }
            AnswerClass::Redirect => Proof::Moved,
            class if class.is_refusal() => Proof::Denied(Box::new(response)),
            _ => Proof::Unreadable(format!("the tracker answered {}", response.code())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_that_is_older_than_what_was_seen_is_not_current() {
        let (reads, item, other) = (Reads::new(true), ResourceKey::new("7"), ResourceKey::new("8"));
        for (key, written, current) in [
            (&item, Some(Time(5)), true),
            (&item, Some(Time(5)), true),
            (&item, Some(Time(7)), true),
            (&item, Some(Time(6)), false),
            (&item, Some(Time(7)), true),
            (&other, Some(Time(1)), true),
            // Of a tracker whose reads never trail its writes.
            (&item, None, true),
        ] {
            assert_eq!(reads.is_current(key, written), current, "{key} {written:?}");
        }
    }
}
