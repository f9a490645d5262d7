//! `claimgate ledger`: an operator's work on a ledger that several gates share.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use secrecy::ExposeSecret as _;

use super::table::counted;
use super::{ConfigArgs, output, shared};
use crate::clock::SystemClock;
use crate::config::Loaded;
use crate::effect::Clock as _;
use crate::identity;
use crate::ledger::LedgerFile;

/// `claimgate ledger`
#[derive(Debug, Args)]
pub struct LedgerArgs {
    /// What to do with it.
    #[command(subcommand)]
    pub command: LedgerCommand,
}

/// What can be done with a shared ledger.
#[derive(Debug, Subcommand)]
pub enum LedgerCommand {
    /// Make its tables, or bring them to this program's version
    #[command(after_help = super::EXITS)]
    Migrate(TargetArgs),
    /// Take over what one gate's SQLite file holds, once, while no gate runs
    #[command(after_help = super::EXITS)]
    Import(ImportArgs),
    /// Go on with a database that has lost what it had acknowledged, or that stands elsewhere than before
    #[command(after_help = super::EXITS)]
    Accept(TargetArgs),
}

/// Which ledger.
#[derive(Debug, Args)]
pub struct TargetArgs {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// `claimgate ledger import`
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The state directory of the gate whose file it is
    #[arg(long, value_name = "DIR")]
    pub from: PathBuf,
}

impl LedgerArgs {
    pub(super) fn config(&self) -> &ConfigArgs {
        match &self.command {
            LedgerCommand::Migrate(args) | LedgerCommand::Accept(args) => &args.config,
            LedgerCommand::Import(args) => &args.config,
        }
    }
}

/// Runs the subcommand.
pub fn run(args: &LedgerArgs, loaded: &Loaded) -> anyhow::Result<ExitCode> {
    match &args.command {
        LedgerCommand::Migrate(_) => migrate(loaded),
        LedgerCommand::Import(args) => import(args, loaded),
        LedgerCommand::Accept(_) => accept(loaded),
    }
}

fn migrate(loaded: &Loaded) -> anyhow::Result<ExitCode> {
    let key = identity::random_key()?;
    let (before, now) = shared::run(&loaded.config, async |ledger| Ok(ledger.migrate(&key).await?))?;
    output::print_line(match before {
        0 => format!("the tables were made, at version {now}"),
        before if before == now => format!("the tables have version {now} already"),
        before => format!("the tables were brought from version {before} to {now}"),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn import(args: &ImportArgs, loaded: &Loaded) -> anyhow::Result<ExitCode> {
    let dir = &args.from;
    let file = LedgerFile::open_alone(dir)?.with_context(|| format!("there is no ledger in {}", dir.display()))?;
    let key = identity::fingerprint_key(dir)?;
    let times = (SystemClock::start().now(), loaded.config.ledger.doubt_period);
    let imported = shared::run(&loaded.config, async |ledger| {
        ledger.migrate(key.expose_secret()).await?;
        Ok(ledger.import(&file, key.expose_secret(), times).await?)
    })?;
    let [items, leases, once] =
        [(imported.items, "item"), (imported.leases, "singleton"), (imported.once, "once entry")]
            .map(|(count, noun)| counted(count as u64, noun));
    output::print_line(format_args!(
        "taken over: {items}; {leases}; {once}. The file's gate must not be started again: keep its audit"
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn accept(loaded: &Loaded) -> anyhow::Result<ExitCode> {
    let wait = loaded.config.ledger.doubt_period;
    let lost = shared::run(&loaded.config, async |ledger| Ok(ledger.accept(wait).await?))?;
    if let Some(lost) = lost {
        output::print_line(format_args!("accepted: {lost}"))?;
    }
    output::print_line(format_args!(
        "the gates go on with this database in {} s, when nothing that was sent before can land any more",
        wait.as_secs()
    ))?;
    Ok(ExitCode::SUCCESS)
}
