//! `claimgate audit verify`: checks the promise from the audit alone.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::output;
use crate::audit::verify::{Finding, Pin, Verifier};

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
    #[command(after_help = super::EXITS_OF_AUDIT)]
    Verify(VerifyArgs),
}

/// `claimgate audit verify`
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The audit, oldest file first, or - for standard input; of gates that share a ledger the files of all of them
    #[arg(value_name = "FILE|-", required = true)]
    pub files: Vec<PathBuf>,
    /// The line that it must end with, so that a cut tail is noticed
    #[arg(long, value_name = "SEQ:HASH")]
    pub expect_last: Option<Pin>,
}

/// Runs the subcommand.
pub fn run(args: &AuditArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        AuditCommand::Verify(args) => verify(args),
    }
}

/// 0: nothing is wrong; 1: something is; 2: the audit cannot be read.
fn verify(args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let mut verifier = Verifier::new();
    let mut shown = Ok(());
    let mut report = |finding: &Finding| {
        if shown.is_ok() {
            shown = output::print_line(finding);
        }
    };
    let mut inputs = Vec::new();
    for path in &args.files {
        match open(path) {
            Ok(input) => inputs.push((path.display().to_string(), input)),
            Err(error) => return Ok(unreadable(&path.display().to_string(), &error)),
        }
    }
    let names: Vec<String> = inputs.iter().map(|(name, _)| name.clone()).collect();
    if let Err(error) = verifier.read_all(inputs, &mut report) {
        return Ok(unreadable(&names.join(", "), &error));
    }
    for wrong in verifier.finish(args.expect_last.as_ref()) {
        shown = shown.and_then(|()| output::print_line(&wrong));
    }
    let summary = verifier.summary();
    shown.and_then(|()| output::print_line(&summary))?;
    Ok(if summary.wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn unreadable(name: &str, error: &io::Error) -> ExitCode {
    output::say(format_args!("error: cannot read {name}: {error}"));
    ExitCode::from(2)
}

fn open(path: &Path) -> io::Result<Box<dyn BufRead>> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    Ok(Box::new(BufReader::new(File::open(path)?)))
}
