//! `claimgate release`: an operator ends a holding.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::admin::{Admin, check_item};
use super::table::plain;
use super::{ConfigArgs, output};
use crate::config::Loaded;

/// `claimgate release`
#[derive(Debug, Args)]
pub struct ReleaseArgs {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The item, owner/repo#number
    #[arg(value_parser = check_item)]
    pub item: String,
    /// Why; kept in the audit
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// Ends the holding, and prints what became of the item in the tracker.
pub fn run(args: &ReleaseArgs, loaded: &Loaded) -> anyhow::Result<ExitCode> {
    let request = json!({ "item": args.item, "reason": args.reason });
    let answer = Admin::of(&loaded.config)?.post("/release", &request)?;
    let message = answer.get("message").and_then(|message| message.as_str());
    output::print_line(plain(message.unwrap_or("released")))?;
    Ok(ExitCode::SUCCESS)
}
