//! `claimgate claims`: who holds what.

use std::process::ExitCode;

use clap::Args;

use super::ConfigArgs;
use super::admin::Admin;
use super::table::{Column, print};
use crate::config::Loaded;

/// `claimgate claims`
#[derive(Debug, Args)]
pub struct ClaimsArgs {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Print the gate's own JSON
    #[arg(long)]
    pub json: bool,
}

/// The columns, with where in a claim their text is.
const COLUMNS: [Column; 6] = [
    ("ITEM", &["/resource"]),
    ("ACCOUNT", &["/agent/account"]),
    ("INSTANCE", &["/agent/instance"]),
    ("SINCE", &["/since"]),
    ("LAST SEEN", &["/seen"]),
    ("STATE", &["/state"]),
];

/// Prints a table, or the JSON of the gate.
pub fn run(args: &ClaimsArgs, loaded: &Loaded) -> anyhow::Result<ExitCode> {
    let answer = Admin::of(&loaded.config).get("/claims")?;
    print(&answer, "claims", &COLUMNS, args.json, "nobody holds anything")?;
    Ok(ExitCode::SUCCESS)
}
