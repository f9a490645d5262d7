//! This gate among those that share its ledger: it says that it is alive, and takes over from those that have fallen.

use super::Gate;
use crate::effect::{Clock, Ledger, LedgerError};
use crate::model::{BootTime, Time};
use std::sync::Arc;

/// Time as the ledger tells it: what one gate writes down another judges. The boot clock stays the gate's own.
pub(super) struct LedgerClock {
    own: Arc<dyn Clock>,
    ledger: Arc<dyn Ledger>,
}

impl LedgerClock {
    pub(super) fn over(own: Arc<dyn Clock>, ledger: &Arc<dyn Ledger>) -> Arc<dyn Clock> {
        Arc::new(Self { own, ledger: Arc::clone(ledger) })
    }
}

impl Clock for LedgerClock {
    fn now(&self) -> Time {
        self.ledger.time(self.own.now())
    }

    fn boot(&self) -> BootTime {
        self.own.boot()
    }
}

impl Gate {
    /// Runs until it is aborted, or at once where nobody would miss this gate.
    pub async fn keep_membership(&self) {
        let ledger = &self.ports.ledger;
        let Some(every) = ledger.heartbeat() else { return };
        let mut lost = false;
        loop {
            let done = match ledger.beat().await {
                Ok(()) => ledger.recover_fallen(self.settings.doubt_period).await,
                Err(LedgerError::Refused(_)) => self.rejoin().await,
                error => error,
            };
            match done {
                Ok(()) => lost = false,
                Err(error) if lost => tracing::debug!(ledger.error = %error, "no heartbeat"),
                Err(error) => {
                    lost = true;
                    tracing::warn!(ledger.error = %error, "the other gates do not hear of this one any more");
                }
            }
            tokio::time::sleep(every).await;
        }
    }

    /// Puts in force what an operator switches at any gate, and says so. Runs until it is aborted, or at once where nobody
    /// shares the ledger.
    pub(super) async fn keep_modes(&self) {
        let Some(mut shared) = self.ports.ledger.shared_modes() else { return };
        loop {
            let modes = shared.borrow_and_update().clone();
            self.take_modes(&modes.switched);
            self.ports.ledger.carries_modes(modes.revision);
            // Whoever has switched them waits for it.
            drop(self.ports.ledger.beat().await);
            if shared.changed().await.is_err() {
                return;
            }
        }
    }

    /// The others have closed what it had under way, and whoever waits for that is told 503 or 504. It goes on as a new life.
    async fn rejoin(&self) -> Result<(), LedgerError> {
        self.ports.ledger.rejoin(self.settings.doubt_period).await?;
        let (_, epoch) = self.ports.ledger.identity();
        tracing::warn!(epoch = epoch.0, "another gate had declared this one fallen; it has joined them again");
        Ok(())
    }
}
