//! `claimgate backup`: a copy of the state directory of a gate that may be running.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;

use super::{ConfigArgs, output};
use crate::config::Loaded;
use crate::identity::KEY_FILE;
use crate::ledger::LedgerFile;

/// `claimgate backup`
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// A directory that is not there yet; it becomes a state directory
    pub dir: PathBuf,
}

/// Copies the ledger as one moment has it, and the fingerprint key. Reads the files, and asks no gate.
pub fn run(args: &BackupArgs, loaded: &Loaded) -> anyhow::Result<ExitCode> {
    let (from, to) = (&loaded.config.server.state_dir, &args.dir);
    let ledger = LedgerFile::open(from)?;
    let Some(ledger) = ledger else {
        bail!("there is no ledger in {} (server.state_dir, --state-dir)", from.display())
    };
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(to)
        .with_context(|| format!("cannot make {}: name a directory that is not there yet", to.display()))?;
    ledger.copy_to(to)?;
    let key = from.join(KEY_FILE);
    if key.is_file() {
        // With its mode, which keeps it from others.
        std::fs::copy(&key, to.join(KEY_FILE)).with_context(|| format!("cannot copy {}", key.display()))?;
    }
    output::print_line(format_args!(
        "The ledger and the fingerprint key are in {0}. To restore, stop the gate and put them in the place of {1}; run \
         `claimgate scan` before it starts again: it names each item whose holder has changed since.",
        to.display(),
        from.display()
    ))?;
    Ok(ExitCode::SUCCESS)
}
