//! `claimgate release`: an operator ends a holding.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::admin::{Admin, check_item};
use super::table::plain;
use super::{ConfigArgs, output};
use crate::config::Loaded;

/// A release waits for its item's turn, and then writes to the tracker, several times where labels are put back: each of
/// these may take as long as the gate itself waits for it.
const PATIENCE: Duration = Duration::from_mins(5);

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

/// Ends the holding, and prints what became of the item in the tracker. Fails if it was not put back there although the
/// gate has a token for that.
pub fn run(args: &ReleaseArgs, loaded: &Loaded) -> anyhow::Result<ExitCode> {
    let request = json!({ "item": args.item, "reason": args.reason });
    let then = format!(
        "; it carries the release out all the same: `claimgate history {}` tells what has become of it",
        args.item
    );
    let answer = Admin::of(&loaded.config).post_within(PATIENCE, &then, "/release", &request)?;
    let message = answer.get("message").and_then(|message| message.as_str());
    output::print_line(plain(message.unwrap_or("released")))?;
    Ok(if answer["left_undone"] == true { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
