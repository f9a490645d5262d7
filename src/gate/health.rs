//! Looks at what the gate needs, when nobody else does: the ledger, the tracker, the service token, the tracker's links.

use super::Gate;
use crate::dialect::{Credential, Whoami};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// Whether a link of the tracker leads to the gate's public URL.
pub type LeadsHome = Box<dyn Fn(&str) -> bool + Send + Sync>;

/// Between two looks at the ledger.
const LEDGER_EACH: Duration = Duration::from_secs(2);
/// A write that takes longer is none.
const LEDGER_PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks at a tracker to which nobody speaks.
const TRACKER_EACH: Duration = Duration::from_secs(10);
/// Between two looks at one that is not there.
const TRACKER_GONE_EACH: Duration = Duration::from_secs(1);
/// Between two looks at what an administrator of the tracker may change.
const SETUP_EACH: Duration = Duration::from_mins(10);

// === impl Gate ===

impl Gate {
    /// Runs until it is aborted. `leads_home` says whether a link of the tracker leads to the gate's public URL, where that
    /// is known.
    pub async fn watch_health(self: Arc<Self>, leads_home: Option<LeadsHome>) {
        tokio::join!(self.watch_ledger(), self.watch_tracker(leads_home.as_ref()));
    }

    async fn watch_ledger(&self) {
        let ledger = &self.ports.metrics.health.ledger;
        loop {
            // The ledger has a word for the log itself.
            match timeout(LEDGER_PATIENCE, self.ports.ledger.probe()).await {
                Ok(Ok(())) => drop(ledger.works()),
                Ok(Err(error)) => drop(ledger.fails(&error.to_string())),
                Err(_) => drop(ledger.fails("a write of the ledger has not come back yet")),
            }
            sleep(LEDGER_EACH).await;
        }
    }

    async fn watch_tracker(&self, leads_home: Option<&LeadsHome>) {
        let health = &self.ports.metrics.health;
        let mut looked: Option<Instant> = None;
        loop {
            // Whoever gets an answer meanwhile has looked already. What it came to is noted by the port.
            let is_there =
                health.tracker.was_used() && !health.tracker.has_failed() || self.ports.upstream.reach().await.is_ok();
            let wait = if health.token.has_failed() { TRACKER_EACH } else { SETUP_EACH };
            if is_there && looked.is_none_or(|at| at.elapsed() >= wait) {
                self.check_token().await;
                self.check_links(leads_home).await;
                looked = Some(Instant::now());
            }
            if !is_there {
                looked = None;
            }
            sleep(if is_there { TRACKER_EACH } else { TRACKER_GONE_EACH }).await;
        }
    }

    /// Whether the tracker knows the service token just now. An unknown one is no error to some trackers: they answer as to a
    /// stranger.
    pub(super) async fn check_token(&self) -> bool {
        let Some(service) = &self.ports.service else { return false };
        let token = &self.ports.metrics.health.token;
        let Ok((response, _)) = self.ports.upstream.read(self.ports.dialect.whoami(service)).await else {
            return false;
        };
        match self.ports.dialect.account(&response) {
            Whoami::Account(_) | Whoami::Forbidden | Whoami::OutOfScope => {
                if token.works() {
                    tracing::info!("the tracker knows the gate's service token again");
                }
                return true;
            }
            Whoami::Refused => {
                let status = response.code();
                if token.fails(&format!("the tracker answered {status}")) {
                    tracing::warn!(
                        status,
                        "the tracker does not know the gate's service token (service_token_file in [upstream]): edits past the gate \
                         are not noticed, and doubts not ended early"
                    );
                }
            }
            Whoami::Unreadable(why) => tracing::debug!(why, "the tracker does not say whose the service token is"),
        }
        false
    }

    /// Links that lead round the gate are the likeliest way to lose what it is for.
    async fn check_links(&self, leads_home: Option<&LeadsHome>) {
        let Some(leads_home) = leads_home else { return };
        let links = &self.ports.metrics.health.links;
        let stranger = Credential::default();
        let request = self.ports.dialect.ask_link(self.ports.service.as_ref().unwrap_or(&stranger));
        let Ok((response, _)) = self.ports.upstream.read(request).await else { return };
        let Some(link) = self.ports.dialect.link(&response) else { return };
        if leads_home(&link) {
            links.works();
        } else if links.fails(&link) {
            tracing::warn!(
                link,
                "the tracker's links do not lead to upstream.public_url: whoever follows them goes round the gate; set the \
                 tracker's own public URL (Forgejo: ROOT_URL) to upstream.public_url"
            );
        }
    }
}
