//! `claimgate health`: the health check of a container that has neither shell nor curl.

use std::process::ExitCode;

use clap::Args;

use super::ConfigArgs;
use super::admin::Admin;
use crate::config::Loaded;

/// `claimgate health`
#[derive(Debug, Args)]
pub struct HealthArgs {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Ask whether it takes requests (/readyz), not only whether it lives (/healthz)
    #[arg(long)]
    pub ready: bool,
}

/// Exits 0 if the gate says that it is well, else 1 with the reason on standard error.
pub fn run(args: &HealthArgs, loaded: &Loaded) -> anyhow::Result<ExitCode> {
    let path = if args.ready { "/readyz" } else { "/healthz" };
    Admin::of(&loaded.config).get_text(path)?;
    Ok(ExitCode::SUCCESS)
}
