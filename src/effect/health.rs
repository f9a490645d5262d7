//! What the gate needs to do its work, and whether it is there: said once when that changes, and shown as a gauge.
//!
//! Whoever meets a trouble reports it here, and whoever succeeds says so too; a thousand requests that meet the same trouble
//! are one line in the log.

use prometheus_client::metrics::gauge::Gauge;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Whether one thing is as it must be. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Condition(Arc<State>);

#[derive(Debug)]
struct State {
    /// 1: as it must be, or not looked at yet; 0: not.
    gauge: Gauge,
    /// There is a trouble: looked at on the pass path, where no lock is taken.
    failed: AtomicBool,
    /// It was met as it must be since somebody last looked.
    used: AtomicBool,
    trouble: Mutex<Option<String>>,
}

/// The conditions of a gate.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// The ledger can be written.
    pub ledger: Condition,
    /// The tracker can be reached.
    pub tracker: Condition,
    /// The tracker knows the service token.
    pub token: Condition,
    /// The tracker's links lead to `upstream.public_url`.
    pub links: Condition,
}

// === impl Condition ===

impl Default for State {
    fn default() -> Self {
        let gauge = Gauge::default();
        gauge.set(1);
        Self { gauge, failed: AtomicBool::default(), used: AtomicBool::default(), trouble: Mutex::default() }
    }
}

impl Condition {
    /// It is not as it must be; whether that is news.
    pub fn fails(&self, why: &str) -> bool {
        let mut trouble = self.0.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.gauge.set(0);
        self.0.failed.store(true, Ordering::Release);
        trouble.replace(why.to_owned()).is_none()
    }

    /// It is as it must be; whether that is news after a trouble. Takes a lock only where it is.
    pub fn works(&self) -> bool {
        if !self.0.used.load(Ordering::Relaxed) {
            self.0.used.store(true, Ordering::Relaxed);
        }
        if !self.has_failed() {
            return false;
        }
        let mut trouble = self.0.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.gauge.set(1);
        self.0.failed.store(false, Ordering::Release);
        trouble.take().is_some()
    }

    /// Whether there is a trouble.
    pub fn has_failed(&self) -> bool {
        self.0.failed.load(Ordering::Acquire)
    }

    /// The trouble.
    pub fn trouble(&self) -> Option<String> {
        self.0.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether it was met as it must be since this was asked last.
    pub fn was_used(&self) -> bool {
        self.0.used.swap(false, Ordering::Relaxed)
    }

    /// Its gauge, to be registered.
    pub fn gauge(&self) -> Gauge {
        self.0.gauge.clone()
    }
}

// === impl Health ===

impl Health {
    /// The tracker could not be reached. The first time is told, the others are not.
    pub fn tracker_fails(&self, why: &str) {
        if self.tracker.fails(why) {
            tracing::warn!(
                upstream.error = why,
                "the tracker cannot be reached; this is said once, and when it can be again"
            );
        } else {
            tracing::debug!(upstream.error = why, "the tracker cannot be reached");
        }
    }

    /// The tracker answered.
    pub fn tracker_works(&self) {
        if self.tracker.works() {
            tracing::info!("the tracker can be reached again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_change_is_news() {
        let one = Condition::default();
        let same = one.clone();
        assert_eq!(
            (one.works(), one.fails("gone"), same.fails("gone"), same.fails("other")),
            (false, true, false, false)
        );
        assert_eq!(one.trouble().as_deref(), Some("other"));
        assert_eq!((same.works(), one.works(), one.trouble()), (true, false, None));
        assert_eq!((one.was_used(), one.was_used()), (true, false));
    }
}
