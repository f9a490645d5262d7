//! Which items the file has a row of, so that one that was never heard of is not looked for in it.
//!
//! Most claims are an item's first. To find nothing takes a read transaction and a page or two of the file; here it takes
//! a look at a set of hashes, 8 to 16 bytes an item. Two keys of one hash cost a look at the file, nothing else.

use crate::model::ResourceKey;
use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};

/// The items of one file, as far as they are known.
#[derive(Default)]
pub(super) struct Keys {
    hasher: RandomState,
    known: HashSet<u64>,
    reach: Reach,
}

/// How much of the file is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Reach {
    /// What was written since it was opened.
    #[default]
    Since,
    /// Every row.
    Whole,
    /// Nothing: they are too many.
    None,
}

/// Most items that are kept in mind (32 MiB); with more, the file is asked each time.
const MOST_KEYS: usize = 1 << 21;

// === impl Keys ===

impl Keys {
    /// Whether the file may have a row of it.
    pub(super) fn may_have(&self, key: &ResourceKey) -> bool {
        self.reach != Reach::Whole || self.known.contains(&self.hasher.hash_one(key))
    }

    /// A row is about to be written.
    pub(super) fn add(&mut self, key: &ResourceKey) {
        if self.reach != Reach::None {
            self.known.insert(self.hasher.hash_one(key));
            self.bound();
        }
    }

    /// A hasher for the rows of the file.
    pub(super) fn hasher(&self) -> RandomState {
        self.hasher.clone()
    }

    /// Every row that was in the file at some moment since it was opened.
    pub(super) fn complete(&mut self, mut rows: HashSet<u64>) {
        if self.reach == Reach::Since {
            rows.extend(self.known.drain());
            (self.known, self.reach) = (rows, Reach::Whole);
            self.bound();
        }
    }

    fn bound(&mut self) {
        if self.known.len() > MOST_KEYS {
            (self.known, self.reach) = (HashSet::new(), Reach::None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn until_all_rows_are_known_any_may_be_there() {
        let (old, new, never) = (ResourceKey::new("1"), ResourceKey::new("2"), ResourceKey::new("3"));
        let mut keys = Keys::default();
        keys.add(&new);
        assert!(keys.may_have(&never));
        keys.complete(HashSet::from([keys.hasher().hash_one(&old)]));
        assert!(keys.may_have(&old) && keys.may_have(&new) && !keys.may_have(&never));
        keys.add(&never);
        assert!(keys.may_have(&never));
    }

    #[test]
    fn too_many_are_looked_for_in_the_file() {
        let mut keys = Keys::default();
        keys.complete((0..=MOST_KEYS as u64).collect());
        assert!(keys.may_have(&ResourceKey::new("1")) && keys.known.capacity() == 0);
        keys.add(&ResourceKey::new("2"));
        assert!(keys.known.is_empty());
    }
}
