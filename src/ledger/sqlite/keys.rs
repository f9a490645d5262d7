//! Which items the file has a row of, so that one that was never heard of is not looked for in it.
//!
//! Most claims are an item's first. To find nothing takes a read transaction and a page or two of the file; here it takes
//! a look at a set of hashes, 10 to 40 bytes an item. Two keys of one hash cost a look at the file, nothing else.

use crate::model::ResourceKey;
use std::collections::HashSet;
use std::hash::{BuildHasher as _, BuildHasherDefault, Hasher, RandomState};

/// Hashes of keys.
pub(super) type Hashes = HashSet<u64, BuildHasherDefault<Itself>>;

/// A hash is its own.
#[derive(Default)]
pub(super) struct Itself(u64);

impl Hasher for Itself {
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only hashes are hashed")
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The items of one file, as far as they are known.
#[derive(Default)]
pub(super) struct Keys {
    hasher: RandomState,
    known: Hashes,
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

/// Most items that are kept in mind (36 MiB); with more, the file is asked each time.
pub(super) const MOST_KEYS: usize = 1 << 21;
/// Room for as many that are new: a set that moves while it grows would make every claim wait.
const ROOM: usize = 1 << 16;

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
    pub(super) fn complete(&mut self, mut rows: Hashes) {
        if self.reach == Reach::Since {
            rows.extend(self.known.drain());
            (self.known, self.reach) = (rows, Reach::Whole);
            self.bound();
        }
    }

    /// Makes room beside the traffic for what will come.
    pub(super) fn with_room(mut rows: Hashes) -> Hashes {
        rows.reserve(rows.len().max(ROOM));
        rows
    }

    fn bound(&mut self) {
        if self.known.len() > MOST_KEYS {
            (self.known, self.reach) = (Hashes::default(), Reach::None);
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
        keys.complete(Hashes::from_iter([keys.hasher().hash_one(&old)]));
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
