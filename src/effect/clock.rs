//! Time and randomness as ports.

use crate::model::{AttemptId, BootTime, Time};

/// The two clocks that the gate judges by. Sleeping goes through tokio, whose time a test can pause.
pub trait Clock: Send + Sync + 'static {
    /// Wall-clock time. Steady within one process: a stepped system clock does not move it.
    fn now(&self) -> Time;
    /// Time since boot, suspends included.
    fn boot(&self) -> BootTime;
}

/// Names for attempts and decisions.
pub trait Entropy: Send + Sync + 'static {
    /// A new name, unique across gates; sorts by time.
    fn attempt_id(&self, now: Time) -> AttemptId;
}
