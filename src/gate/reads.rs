//! What the gate has learnt of reads: which path is which item, and who may read where.
//!
//! Neither is ever what a decision rests on. A path's item is checked again under
//! the item's turn; that a credential could read a repository lately only lets
//! it share a refusal that somebody else's read already justifies (manual: walk).

use crate::model::{Fingerprint, Locator, Project, ResourceKey};
use moka::future::Cache;
use std::time::Duration;

#[derive(Debug)]
pub(super) struct Reads {
    /// Path to immutable id.
    keys: Cache<Locator, ResourceKey>,
    /// The same the other way round, for requests that name items by id.
    places: Cache<ResourceKey, Locator>,
    /// Credentials that lately got a 2xx on an issue or pull of a repository.
    readers: moka::sync::Cache<(Fingerprint, Project), tokio::time::Instant>,
}

const MOST_KEYS: u64 = 200_000;
const MOST_READERS: u64 = 100_000;
/// "Lately".
const READER_FOR: Duration = Duration::from_mins(10);
const NOTED_EACH: Duration = Duration::from_mins(1);

// === impl Reads ===

impl Default for Reads {
    fn default() -> Self {
        Self {
            keys: Cache::new(MOST_KEYS),
            places: Cache::new(MOST_KEYS),
            readers: moka::sync::Cache::builder().max_capacity(MOST_READERS).time_to_live(READER_FOR).build(),
        }
    }
}

impl Reads {
    pub(super) async fn key(&self, locator: &Locator) -> Option<ResourceKey> {
        self.keys.get(locator).await
    }

    /// The item at a path; of many who ask at once, one reads.
    pub(super) async fn key_or<E: Clone + Send + Sync + 'static>(
        &self,
        locator: &Locator,
        read: impl Future<Output = Result<ResourceKey, E>>,
    ) -> Result<ResourceKey, E> {
        self.keys.try_get_with_by_ref(locator, read).await.map_err(|error| E::clone(&error))
    }

    pub(super) async fn learn_key(&self, locator: &Locator, key: &ResourceKey) {
        if self.keys.get(locator).await.as_ref() != Some(key) {
            self.keys.insert(locator.clone(), key.clone()).await;
            self.places.insert(key.clone(), locator.clone()).await;
        }
    }

    /// Where an item was last seen.
    pub(super) async fn place(&self, key: &ResourceKey) -> Option<Locator> {
        self.places.get(key).await
    }

    pub(super) async fn forget_place(&self, key: &ResourceKey) {
        self.places.invalidate(key).await;
    }

    pub(super) async fn forget_key(&self, locator: &Locator) {
        self.keys.invalidate(locator).await;
    }

    /// Noted anew only now and then: a write to the cache costs more than all else about it.
    pub(super) fn learn_reader(&self, credential: &Fingerprint, project: &Project) {
        let reader = (credential.clone(), project.clone());
        let now = tokio::time::Instant::now();
        if self.readers.get(&reader).is_none_or(|noted| now.duration_since(noted) > NOTED_EACH) {
            self.readers.insert(reader, now);
        }
    }

    pub(super) fn is_reader(&self, credential: &Fingerprint, project: &Project) -> bool {
        self.readers.contains_key(&(credential.clone(), project.clone()))
    }
}
