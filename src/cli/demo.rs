//! `claimgate demo`: agents race for the issues of a forge in memory, without and with the gate.

use std::process::ExitCode;

use clap::Args;

/// `claimgate demo`
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// How many agents race
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    pub agents: u16,
    /// For how many issues
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..))]
    pub issues: u16,
}

/// Prints the table.
pub fn run(_args: &DemoArgs) -> anyhow::Result<ExitCode> {
    anyhow::bail!("demo is not wired up yet")
}
