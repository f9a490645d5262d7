//! `claimgate audit verify`: checks the promise from the audit alone.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

/// `claimgate audit`
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// What to do with it.
    #[command(subcommand)]
    pub command: AuditCommand,
}

/// What can be done with an audit.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Check that no two agents held one item at once; exits 1 and names the lines otherwise
    Verify(VerifyArgs),
}

/// `claimgate audit verify`
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The audit, or - for standard input
    #[arg(value_name = "FILE|-")]
    pub file: PathBuf,
}

/// Runs the subcommand.
pub fn run(args: &AuditArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        AuditCommand::Verify(args) => verify(args),
    }
}

fn verify(_args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    anyhow::bail!("audit verify is not wired up yet")
}
