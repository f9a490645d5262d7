//! `claimgate history`: the audit's lines about one item, newest first.

use std::process::ExitCode;

use clap::Args;

use super::ConfigArgs;
use super::admin::{Admin, check_item, encode};
use super::table::{Column, print};
use crate::config::Loaded;

/// `claimgate history`
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The item, owner/repo#number
    #[arg(value_parser = check_item)]
    pub item: String,
    /// Print the gate's own JSON
    #[arg(long)]
    pub json: bool,
}

/// The columns, with where in an audit line their text is.
const COLUMNS: [Column; 9] = [
    ("TIME", &["/time"]),
    ("KIND", &["/kind"]),
    ("DECISION", &["/decision"]),
    ("CODE", &["/code"]),
    ("ACCOUNT", &["/agent/account"]),
    ("INSTANCE", &["/agent/instance"]),
    ("CHANGE", &["/change"]),
    ("RESULT", &["/result"]),
    ("HOLDER", &["/holder/account"]),
];

/// Prints a table, or the JSON of the gate.
pub fn run(args: &HistoryArgs, loaded: &Loaded) -> anyhow::Result<ExitCode> {
    let answer = Admin::of(&loaded.config)?.get(&format!("/history?item={}", encode(&args.item)))?;
    print(&answer, "history", &COLUMNS, args.json, "the gate has recorded nothing about it")?;
    Ok(ExitCode::SUCCESS)
}
