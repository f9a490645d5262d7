//! The memory that may be taken by what is read whole: bodies of requests, and the tracker's answers to the gate's own calls.
//!
//! Anybody may send a body, and whoever may write can make an item whose answer is long: without this, as many of the longest
//! as there may be requests could be held at once. Each counts as often as there are copies of it at its worst. Short ones
//! need no room, so that claims go on while long ones wait.
//!
//! Nobody waits for room: what does not fit is refused, so no two can each hold what the other needs. A part of it is for
//! answers alone, so that a write that holds room for its body gets room for its read as well. What was sent is read back
//! whether or not there is room, because a write without a read-back is in doubt; the next ones are refused for it.

use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// What is left of the memory.
#[derive(Debug)]
pub struct BodyBudget {
    whole: i64,
    left: AtomicI64,
    /// Of what bodies may take.
    left_for_bodies: AtomicI64,
}

/// Of what something is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// The body of a request.
    Body,
    /// An answer of the tracker.
    Answer,
    /// One that must be read: to a write, or of what became of it.
    AnswerAtAnyRate,
}

/// What one body or answer takes of it, until this is dropped.
#[derive(Debug)]
pub struct Share {
    room: Arc<BodyBudget>,
    reads: Reads,
    taken: i64,
}

/// Bytes and their share.
struct Counted {
    bytes: Bytes,
    _share: Share,
}

/// A body up to here is as good as its head, and needs no room.
pub const SHORT: usize = 4 << 10;
/// So is an answer up to here: items are seldom longer.
pub const SHORT_ANSWER: usize = 16 << 10;
/// Copies of a body at its worst, as a flood of them shows at the process.
pub const COPIES: usize = 4;
/// The same of an answer: as it came, and understood.
pub const ANSWER_COPIES: usize = 2;

// === impl BodyBudget ===

impl BodyBudget {
    /// So many bytes.
    pub fn new(bytes: usize) -> Arc<Self> {
        let whole = i64::try_from(bytes).unwrap_or(i64::MAX);
        Arc::new(Self { whole, left: AtomicI64::new(whole), left_for_bodies: AtomicI64::new(whole - whole / 4) })
    }

    /// Nothing of it, yet.
    pub fn share(self: &Arc<Self>, reads: Reads) -> Share {
        Share { room: Arc::clone(self), reads, taken: 0 }
    }

    fn take(&self, more: i64, reads: Reads) -> bool {
        let of = |left: &AtomicI64| {
            left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| (left >= more).then(|| left - more)).is_ok()
        };
        match reads {
            Reads::Answer => of(&self.left),
            Reads::AnswerAtAnyRate => {
                self.left.fetch_sub(more, Ordering::AcqRel);
                true
            }
            Reads::Body if !of(&self.left_for_bodies) => false,
            Reads::Body if of(&self.left) => true,
            Reads::Body => {
                self.left_for_bodies.fetch_add(more, Ordering::AcqRel);
                false
            }
        }
    }
}

// === impl Share ===

impl Share {
    /// Makes room for something that has so many bytes by now; false if there is none.
    pub fn grow_to(&mut self, length: usize) -> bool {
        // One by itself always fits: a body in what bodies may take, an answer in what they leave.
        let (short, copies, most) = match self.reads {
            Reads::Body => (SHORT, COPIES, self.room.whole - self.room.whole / 4),
            Reads::Answer | Reads::AnswerAtAnyRate => (SHORT_ANSWER, ANSWER_COPIES, self.room.whole / 4),
        };
        let wanted = i64::try_from(copies.saturating_mul(length)).unwrap_or(i64::MAX).min(most);
        let more = if length <= short { 0 } else { (wanted - self.taken).max(0) };
        let took = more == 0 || self.room.take(more, self.reads);
        if took {
            self.taken += more;
        }
        took
    }

    /// The bytes, which from now on keep their share for as long as somebody keeps them.
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
        if self.reads == Reads::Body {
            self.room.left_for_bodies.fetch_add(self.taken, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_comes_back() {
        let whole = 4 * COPIES * SHORT;
        let room = BodyBudget::new(whole);
        let (mut one, mut other) = (room.share(Reads::Body), room.share(Reads::Body));
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
        assert!(!room.share(Reads::Body).grow_to(SHORT + 1), "a part of the body keeps all of it");
        drop(part);
        assert_eq!(usize::try_from(room.left.load(Ordering::Relaxed)).unwrap(), whole);
        assert_eq!(usize::try_from(room.left_for_bodies.load(Ordering::Relaxed)).unwrap(), whole - whole / 4);
    }

    #[test]
    fn who_holds_a_body_gets_an_answer_and_what_was_sent_is_read_back() {
        let room = BodyBudget::new(16 * SHORT_ANSWER);
        let (mut body, mut read) = (room.share(Reads::Body), room.share(Reads::Answer));
        assert!(body.grow_to(usize::MAX), "one by itself always fits");
        assert!(read.grow_to(usize::MAX), "and so does what is read for it");
        assert!(room.share(Reads::Answer).grow_to(SHORT_ANSWER), "a short answer needs none");
        assert!(!room.share(Reads::Answer).grow_to(SHORT_ANSWER + 1));
        let mut back = room.share(Reads::AnswerAtAnyRate);
        assert!(back.grow_to(2 * SHORT_ANSWER));
        drop(read);
        assert!(!room.share(Reads::Answer).grow_to(SHORT_ANSWER + 1), "the next one is refused for it");
        drop(back);
        assert!(room.share(Reads::Answer).grow_to(SHORT_ANSWER + 1));
    }
}
