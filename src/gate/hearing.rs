//! Since when holders can be heard: silence counts only while it could have been broken.
//!
//! Nobody hears a holder while the gate is down, while it is suspended, or while the tracker does not answer. After each
//! such time silence begins anew, so that a living holder has as long as ever to be heard of before its item is lost.
//! Nothing here waits or asks: whoever calls the tracker says how that went.

use crate::model::Time;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// Since when signs of life reach the gate.
#[derive(Debug)]
pub(super) struct Hearing {
    since: AtomicI64,
    /// When the tracker failed to answer, if it has not answered since; else [`ANSWERS`].
    failed: AtomicI64,
    /// When the watcher was last awake; [`ANSWERS`] where there is none.
    awake: AtomicI64,
}

/// Nothing is wrong.
const ANSWERS: i64 = i64::MIN;
/// One request that fails is not an outage: its sender is heard of by it.
const OUTAGE: Duration = Duration::from_secs(1);
/// The watcher wakes each second. One that has not been awake for this long was suspended.
const ASLEEP: Duration = Duration::from_secs(10);

// === impl Hearing ===

impl Hearing {
    pub(super) fn begin(now: Time) -> Self {
        Self { since: AtomicI64::new(now.0), failed: AtomicI64::new(ANSWERS), awake: AtomicI64::new(ANSWERS) }
    }

    /// The tracker gave an answer of its own. Cheap: nearly always one load.
    pub(super) fn answered(&self, now: impl FnOnce() -> Time) {
        if self.failed.load(Ordering::Relaxed) == ANSWERS {
            return;
        }
        let failed = self.failed.swap(ANSWERS, Ordering::Relaxed);
        let now = now();
        if failed != ANSWERS && now.since(Time(failed)) >= OUTAGE {
            self.since.fetch_max(now.0, Ordering::Relaxed);
        }
    }

    /// It gave none.
    pub(super) fn failed(&self, now: Time) {
        let _ = self.failed.compare_exchange(ANSWERS, now.0, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The watcher is awake.
    pub(super) fn awake(&self, now: Time) {
        self.notice_sleep(now);
        self.awake.store(now.0, Ordering::Relaxed);
    }

    /// Since when a holder can be heard.
    pub(super) fn since(&self, now: Time) -> Time {
        self.notice_sleep(now);
        let failing = self.failed.load(Ordering::Relaxed) != ANSWERS;
        if failing { now } else { Time(self.since.load(Ordering::Relaxed)) }
    }

    fn notice_sleep(&self, now: Time) {
        let awake = self.awake.load(Ordering::Relaxed);
        if awake != ANSWERS && now.since(Time(awake)) > ASLEEP {
            self.since.fetch_max(now.0, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Time {
        Time(seconds * 1_000_000)
    }

    #[test]
    fn silence_begins_anew_after_each_time_in_which_nobody_could_be_heard() {
        let hearing = Hearing::begin(at(100));
        assert_eq!(hearing.since(at(200)), at(100), "since the start");
        hearing.failed(at(200));
        hearing.failed(at(205));
        assert_eq!(hearing.since(at(250)), at(250), "nobody is heard while the tracker is away");
        hearing.answered(|| at(260));
        hearing.answered(|| at(270));
        assert_eq!(hearing.since(at(300)), at(260), "since it is back");
        hearing.failed(at(310));
        hearing.answered(|| at(310));
        assert_eq!(hearing.since(at(320)), at(260), "one failure is no outage");
        hearing.awake(at(330));
        hearing.awake(at(331));
        assert_eq!(hearing.since(at(332)), at(260));
        assert_eq!(hearing.since(at(500)), at(500), "the gate was suspended");
        hearing.awake(at(501));
        assert_eq!(hearing.since(at(502)), at(501));
    }
}
