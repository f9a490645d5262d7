//! What the commands about a shared ledger have in common: a runtime, and a connection.

use anyhow::Context as _;

use super::compose;
use crate::config::{Config, LedgerUrl};
use crate::ledger::SharedLedger;

/// Connects to the ledger that the configuration names.
pub(super) async fn connect(config: &Config) -> anyhow::Result<SharedLedger> {
    let LedgerUrl::Postgres(url) = &config.ledger.url else {
        anyhow::bail!("ledger.url is \"sqlite\": its one gate is the one that has the state directory")
    };
    let password = compose::secret(config.ledger.password_file.as_deref())?;
    let (ca_file, demands) = (config.ledger.ca_file.as_deref(), compose::demands(config));
    Ok(SharedLedger::connect(url, password.as_ref(), ca_file, demands).await?)
}

/// The same, and asks it.
pub(super) fn run<T>(config: &Config, ask: impl AsyncFnOnce(&SharedLedger) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(async { ask(&connect(config).await?).await })
}
