//! Time-outs that cost next to nothing: one ticker a worker instead of a timer a request.
//!
//! A proxy arms several time-outs for each request and nearly none of them fires. Here arming is a slot in a vector, and
//! the present is an integer; the price is that a time-out fires up to two ticks late.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// The coarse clock of one worker.
pub struct TickTimer {
    now: AtomicU64,
    tick: Duration,
    slots: Mutex<Slots>,
}

/// One time-out, armed again as often as need be.
pub struct Alarm {
    clock: Arc<TickTimer>,
    after: u64,
    due: u64,
    slot: Option<usize>,
}

#[derive(Default)]
struct Slots {
    waiting: Vec<Option<(u64, Waker)>>,
    free: Vec<usize>,
}

// === impl TickTimer ===

impl TickTimer {
    /// Starts ticking on the current runtime, until the last handle is gone.
    pub fn start(tick: Duration) -> Arc<Self> {
        let clock = Arc::new(Self { now: AtomicU64::new(1), tick, slots: Mutex::default() });
        let ticking = Arc::downgrade(&clock);
        tokio::spawn(async move {
            let mut interval = tokio::time::interval(tick);
            interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
            interval.tick().await;
            loop {
                interval.tick().await;
                let Some(clock) = ticking.upgrade() else { return };
                clock.advance();
            }
        });
        clock
    }

    /// The present, in ticks; never 0.
    pub fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    /// A duration in ticks, rounded up so that nothing fires early.
    pub fn ticks(&self, duration: Duration) -> u64 {
        let ticks = duration.as_nanos().div_ceil(self.tick.as_nanos().max(1));
        u64::try_from(ticks).unwrap_or(u64::MAX / 4).saturating_add(1)
    }

    /// A time-out that is due that long from now.
    pub fn alarm(self: &Arc<Self>, after: Duration) -> Alarm {
        self.alarm_in(self.ticks(after))
    }

    /// The same in ticks, for whoever arms many.
    pub fn alarm_in(self: &Arc<Self>, after: u64) -> Alarm {
        Alarm { due: self.now().saturating_add(after), clock: Arc::clone(self), after, slot: None }
    }

    fn advance(&self) {
        let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
        let late: Vec<Waker> = {
            let slots = self.lock();
            slots.waiting.iter().flatten().filter(|(due, _)| *due <= now).map(|(_, waker)| waker.clone()).collect()
        };
        late.iter().for_each(Waker::wake_by_ref);
    }

    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Alarm ===

impl Alarm {
    /// Starts the time-out anew.
    pub fn reset(&mut self) {
        self.due = self.clock.now().saturating_add(self.after);
    }

    /// Makes it due that long after `tick`.
    pub fn reset_from(&mut self, tick: u64) {
        self.due = tick.saturating_add(self.after);
    }

    /// The present, in ticks.
    pub fn now(&self) -> u64 {
        self.clock.now()
    }

    /// Ready once the time is over.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.clock.now() >= self.due {
            return Poll::Ready(());
        }
        let mut slots = self.clock.lock();
        let slot = *self.slot.get_or_insert_with(|| slots.reserve());
        match &mut slots.waiting[slot] {
            Some((due, waker)) => {
                *due = self.due;
                waker.clone_from(cx.waker());
            }
            empty @ None => *empty = Some((self.due, cx.waker().clone())),
        }
        Poll::Pending
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            let mut slots = self.clock.lock();
            slots.waiting[slot] = None;
            slots.free.push(slot);
        }
    }
}

// === impl Slots ===

impl Slots {
    fn reserve(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.waiting.push(None);
            self.waiting.len() - 1
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn fires_when_due_and_not_before() {
        let clock = TickTimer::start(Duration::from_millis(100));
        let mut alarm = clock.alarm(Duration::from_secs(1));
        let start = tokio::time::Instant::now();
        std::future::poll_fn(|cx| alarm.poll(cx)).await;
        let took = start.elapsed();
        assert!(took >= Duration::from_secs(1) && took <= Duration::from_millis(1300), "{took:?}");
        alarm.reset();
        std::future::poll_fn(|cx| alarm.poll(cx)).await;
        assert!(start.elapsed() >= Duration::from_secs(2));
        drop(alarm);
        assert_eq!(clock.lock().free.len(), 1);
    }
}
