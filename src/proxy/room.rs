//! The memory that bodies which are read whole may take together.
//!
//! A guarded write is read before it is judged, and any caller may send one: without this, as many of the longest as there
//! may be connections could be held at once. A body counts as often as there are copies of it at its worst: as it came, as
//! one piece, as members, and as it is written anew. Short ones need no room, so that claims go on while long ones wait.

use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What is left of the memory.
#[derive(Debug)]
pub struct Room {
    whole: usize,
    left: AtomicUsize,
}

/// What one body takes of it, until this is dropped.
#[derive(Debug)]
pub struct Share {
    room: Arc<Room>,
    taken: usize,
}

/// A body and its share.
struct Counted {
    bytes: Bytes,
    _share: Share,
}

/// A body up to here is as good as its head, and needs no room.
pub const SHORT: usize = 4 << 10;
/// Copies of a body at its worst, as a flood of them shows at the process.
pub const COPIES: usize = 4;

// === impl Room ===

impl Room {
    /// So many bytes.
    pub fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self { whole: bytes, left: AtomicUsize::new(bytes) })
    }

    /// Nothing of it, yet.
    pub fn share(self: &Arc<Self>) -> Share {
        Share { room: Arc::clone(self), taken: 0 }
    }
}

// === impl Share ===

impl Share {
    /// Makes room for a body that has so many bytes by now; false if there is none.
    pub fn grow_to(&mut self, length: usize) -> bool {
        // One by itself always fits: it is no longer than a body may be.
        let wanted = if length <= SHORT { 0 } else { (COPIES * length).min(self.room.whole) };
        let more = wanted.saturating_sub(self.taken);
        let took =
            self.room.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(more)).is_ok();
        if took {
            self.taken += more;
        }
        took
    }

    /// The body, which from now on keeps its share for as long as somebody keeps it.
    pub fn with(self, bytes: Bytes) -> Bytes {
        if self.taken == 0 { bytes } else { Bytes::from_owner(Counted { bytes, _share: self }) }
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.room.left.fetch_add(self.taken, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_comes_back() {
        let room = Room::new(3 * COPIES * SHORT);
        let (mut one, mut other) = (room.share(), room.share());
        assert!(one.grow_to(SHORT) && one.grow_to(2 * SHORT));
        assert!(!other.grow_to(SHORT + SHORT + 1), "only one SHORT is left");
        assert!(other.grow_to(SHORT), "a short body needs none");
        assert!(one.grow_to(3 * SHORT) && one.grow_to(9 * SHORT), "one that has all of it may go on");
        assert!(!other.grow_to(SHORT + 1));
        drop(one);
        assert!(other.grow_to(3 * SHORT));
        let body = other.with(Bytes::from(vec![7; 3 * SHORT]));
        let part = body.slice(..1);
        drop(body);
        assert!(!room.share().grow_to(SHORT + 1), "a part of the body keeps all of it");
        drop(part);
        assert_eq!(room.left.load(Ordering::Relaxed), 3 * COPIES * SHORT);
    }
}
