//! The orderly end: no new connections, the current requests to their end, then the rest is cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

/// By which a drain is begun, seen and waited for. All clones are one.
#[derive(Debug, Clone)]
pub struct Drain(Arc<DrainState>);

#[derive(Debug)]
struct DrainState {
    sender: watch::Sender<bool>,
    /// The same, for whoever asks with each request: no lock.
    has_begun: AtomicBool,
}

impl Drain {
    /// One that has not begun.
    pub fn new() -> Self {
        Self(Arc::new(DrainState { sender: watch::Sender::new(false), has_begun: AtomicBool::new(false) }))
    }

    /// Begins it. Doing so twice is harmless.
    pub fn start(&self) {
        self.0.has_begun.store(true, Ordering::Release);
        self.0.sender.send_replace(true);
    }

    /// Whether it has begun.
    pub fn is_draining(&self) -> bool {
        self.0.has_begun.load(Ordering::Acquire)
    }

    /// Waits until it begins.
    pub fn started(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut begun = self.0.sender.subscribe();
        // The sender lives as long as the future does, so the wait cannot fail.
        let alive = Arc::clone(&self.0);
        async move {
            let _ = begun.wait_for(|begun| *begun).await;
            drop(alive);
        }
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self::new()
    }
}
