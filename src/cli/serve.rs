//! `claimgate serve`: the gate itself.

use std::process::ExitCode;

use clap::Args;

use super::ConfigArgs;
use crate::config::Loaded;

/// `claimgate serve`
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// Runs until it is told to stop.
pub fn run(_args: &ServeArgs, loaded: &Loaded) -> anyhow::Result<ExitCode> {
    crate::telemetry::init(&loaded.config.log)?;
    anyhow::bail!("serve is not wired up yet")
}
