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
    /// Print the audit lines of a gate that never came back, as the shared ledger keeps them: the end of its chain
    #[cfg(feature = "postgres")]
    #[command(after_help = super::EXITS)]
    Export(ExportArgs),
}

/// `claimgate audit export`
#[cfg(feature = "postgres")]
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The configuration.
    #[command(flatten)]
    pub config: super::ConfigArgs,
    /// The gate, as `claimgate gates` names it
    #[arg(long, value_name = "NAME")]
    pub gate: String,
    /// Only the lines after this one; without it after the last that the gate has printed
    #[arg(long, value_name = "SEQ")]
    pub after: Option<u64>,
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
        #[cfg(feature = "postgres")]
        AuditCommand::Export(args) => super::with_config(&args.config, |loaded| export(args, loaded)),
    }
}

/// Once they are printed the ledger need not keep them: whoever runs it keeps what it prints.
#[cfg(feature = "postgres")]
fn export(args: &ExportArgs, loaded: &crate::config::Loaded) -> anyhow::Result<ExitCode> {
    super::shared::run(&loaded.config, async |ledger| {
        let gates = ledger.gates().await?;
        let Some(gate) = gates.iter().find(|gate| gate.name == args.gate) else {
            anyhow::bail!("no gate {} has ever joined the ledger", args.gate)
        };
        if gate.state == "up" {
            anyhow::bail!("the gate {} is up: it prints its audit itself", args.gate);
        }
        let mut after = args.after.unwrap_or(gate.printed.unsigned_abs());
        loop {
            let lines = ledger.lines_of(&args.gate, after).await?;
            let Some((last, _)) = lines.last() else { break };
            after = *last;
            for (_, line) in &lines {
                output::print_line(line)?;
            }
        }
        ledger.mark_printed(&args.gate, after).await?;
        Ok(ExitCode::SUCCESS)
    })
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
