//! This gate among those that share its ledger: it says that it is alive, and takes over from those that have fallen.

use super::Gate;
use crate::effect::{Clock, Ledger};
use crate::model::{Boot, Time};
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

    fn boot(&self) -> Boot {
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
}
