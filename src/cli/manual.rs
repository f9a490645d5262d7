//! `claimgate completions`, `claimgate man` and `claimgate schema`: what shells, `man` and editors know of the command line
//! and of the configuration.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::{Cli, output};
use crate::config::schema;

/// `claimgate completions`
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// For which shell
    pub shell: Shell,
}

/// `claimgate man`
#[derive(Debug, Args)]
pub struct ManArgs {
    /// The directory that the pages are written to; it is made where it is not there
    pub dir: PathBuf,
}

/// `claimgate schema`
#[derive(Debug, Args)]
pub struct SchemaArgs {}

/// Prints the script by which a shell completes.
pub fn completions(args: &CompletionsArgs) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "claimgate", &mut script);
    output::print(String::from_utf8(script)?)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a page for the command and one for each subcommand.
pub fn pages(args: &ManArgs) -> anyhow::Result<ExitCode> {
    let dir = &args.dir;
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    clap_mangen::generate_to(Cli::command(), dir).with_context(|| format!("cannot write to {}", dir.display()))?;
    output::print_line(format_args!("The pages are in {0}: man {0}/claimgate.1", dir.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the JSON schema of the configuration.
pub fn schema_of_config(_: &SchemaArgs) -> anyhow::Result<ExitCode> {
    output::print_line(format_args!("{:#}", schema()?))?;
    Ok(ExitCode::SUCCESS)
}
