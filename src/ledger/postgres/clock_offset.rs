//! The database's clock against this gate's own: whether it was set.
//!
//! Doubts and silent gates are judged by the database's clock. This gate's own boot clock is never set, so the two go
//! apart only where the other one jumps, by an administrator or with a change of servers.

use crate::model::{BootTime, Time};
use std::time::Duration;

/// By how much the database's clock is ahead of this gate's boot clock, as one statement has shown it: between these two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClockOffset {
    least: i64,
    most: i64,
    at: BootTime,
}

/// What two clocks that nobody sets go apart by at most, and more.
const STEADY: i64 = 1_000_000;
/// A statement that took longer shows too little to be compared with.
const SHARP: i64 = 250_000;
/// But it is better than one that is so old: clocks drift.
const OLD: Duration = Duration::from_secs(30);

// === impl ClockOffset ===

impl ClockOffset {
    /// The database's clock showed this between these two moments.
    pub(super) fn seen(clock: Time, sent: BootTime, received: BootTime) -> Self {
        let ahead_of = |own: BootTime| clock.0.saturating_sub_unsigned(own.0);
        Self { least: ahead_of(received), most: ahead_of(sent), at: received }
    }

    /// By how much the clock was set since that was seen: forward, or back where it is negative. Nothing that the time which
    /// the statements took explains.
    pub(super) fn jump_since(self, before: Self) -> Option<i64> {
        let (forward, back) = (self.least - before.most, before.least - self.most);
        if forward > STEADY {
            return Some(forward);
        }
        (back > STEADY).then_some(-back)
    }

    /// The one of two to compare the next with.
    pub(super) fn or_sharper(self, before: Option<Self>) -> Self {
        let Some(before) = before else { return self };
        let is_sharp = self.most - self.least <= SHARP;
        if is_sharp || self.at >= before.at + OLD { self } else { before }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    fn seen(clock_s: i64, sent_s: u64, received_s: u64) -> ClockOffset {
        ClockOffset::seen(Time(clock_s * 1_000_000), BootTime(sent_s * SECOND), BootTime(received_s * SECOND))
    }

    #[test]
    fn only_a_clock_that_was_set_has_jumped() {
        let before = seen(1_000, 10, 10);
        for (after, jump) in [
            (seen(1_002, 12, 12), None),
            // It is not known when within these three seconds it was read.
            (seen(1_002, 12, 15), None),
            (seen(1_005, 12, 15), None),
            (seen(1_001, 12, 12), None),
            (seen(1_062, 12, 12), Some(60_000_000)),
            (seen(942, 12, 12), Some(-60_000_000)),
            (seen(1_062, 12, 15), Some(57_000_000)),
            // A gate that was stopped in between.
            (seen(1_302, 12, 312), None),
        ] {
            assert_eq!(after.jump_since(before), jump, "{after:?}");
        }
    }

    #[test]
    fn what_took_long_is_no_measure_unless_there_is_none_that_is_newer() {
        let sharp = seen(1_000, 10, 10);
        assert_eq!(seen(1_005, 12, 15).or_sharper(Some(sharp)), sharp);
        let (old, newer) = (seen(1_045, 50, 55), seen(1_002, 12, 12));
        assert_eq!(old.or_sharper(Some(sharp)), old);
        assert_eq!(newer.or_sharper(Some(sharp)), newer);
        assert_eq!(newer.or_sharper(None), newer);
    }
}
