//! The system's clocks and randomness behind their ports.

use crate::effect::{Clock, Entropy};
use crate::model::{AttemptId, BootTime, Time};
use rustix::time::{ClockId, clock_gettime};

/// The machine's clocks. Wall-clock time is read once and then carried on by the boot clock, so that stepping the
/// system clock moves neither a doubt nor a mask.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    /// Wall-clock time minus boot time, when the process began; microseconds.
    offset: i64,
}

/// UUID v7: sorts by time, unique across gates.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

// === impl SystemClock ===

impl SystemClock {
    /// Reads both clocks once.
    pub fn start() -> Self {
        let boot = i64::try_from(boot_micros()).unwrap_or(i64::MAX);
        #[expect(clippy::disallowed_methods, reason = "this is the clock")]
        let wall = jiff::Timestamp::now().as_microsecond();
        Self { offset: wall - boot }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Time {
        Time(i64::try_from(boot_micros()).unwrap_or(i64::MAX).saturating_add(self.offset))
    }

    fn boot(&self) -> BootTime {
        BootTime(boot_micros())
    }
}

fn boot_micros() -> u64 {
    let at = clock_gettime(ClockId::Boottime);
    let nanos = u64::try_from(at.tv_nsec).unwrap_or(0);
    u64::try_from(at.tv_sec).unwrap_or(0) * 1_000_000 + nanos / 1_000
}

// === impl SystemEntropy ===

impl Entropy for SystemEntropy {
    fn attempt_id(&self, _now: Time) -> AttemptId {
        AttemptId::new(&uuid::Uuid::now_v7().to_string())
    }
}
