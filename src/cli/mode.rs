//! `claimgate mode`: enforce, or only observe, from now until the next start or the opposite word, whatever the
//! configuration says meanwhile.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::admin::Admin;
use super::table::plain;
use super::{ConfigArgs, output};
use crate::config::Loaded;

/// `claimgate mode`
#[derive(Debug, Args)]
pub struct ModeArgs {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// What to do with a write that a rule refuses
    pub mode: ModeChoice,
    /// For one rule only; without it for all
    pub rule: Option<RuleChoice>,
}

/// The two modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ModeChoice {
    /// Refuse it
    Enforce,
    /// Record it, and let it pass
    Observe,
}

/// The rules that have a mode of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RuleChoice {
    /// Claims, hand-overs and releases
    Assignment,
    /// Moves between statuses
    Workflow,
    /// Items that one agent may hold
    Limits,
    /// Classes of agents that work one at a time
    Singleton,
    /// What may be created once
    Once,
}

/// Tells the gate, which records it.
pub fn run(args: &ModeArgs, loaded: &Loaded) -> anyhow::Result<ExitCode> {
    let request = json!({ "mode": word(&args.mode), "rule": args.rule.as_ref().map(word) });
    let answer = Admin::of(&loaded.config)?.post("/mode", &request)?;
    let message = answer.get("message").and_then(|message| message.as_str());
    output::print_line(plain(message.unwrap_or(&word(&args.mode))))?;
    Ok(ExitCode::SUCCESS)
}

fn word<T: ValueEnum>(choice: &T) -> String {
    choice.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}
