//! `claimgate mode`: enforce, or only observe, from now until the next start or the opposite word, whatever the
//! configuration says meanwhile.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::admin::Admin;
use super::table::{Column, plain, print};
use super::{ConfigArgs, output};
use crate::config::Loaded;

/// `claimgate mode`
#[derive(Debug, Args)]
pub struct ModeArgs {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// What to do with a write that a rule refuses; without it, print the modes that are in force
    pub mode: Option<ModeChoice>,
    /// For one rule only; without it for all
    pub rule: Option<RuleChoice>,
    /// Print the modes in force as JSON
    #[arg(long, conflicts_with = "mode")]
    pub json: bool,
}

const COLUMNS: [Column; 3] = [("RULE", &["/rule"]), ("MODE", &["/mode"]), ("SET BY", &["/set_by"])];

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

/// Tells the gate, which records it; or asks it.
pub fn run(args: &ModeArgs, loaded: &Loaded) -> anyhow::Result<ExitCode> {
    let Some(mode) = &args.mode else { return show(args, loaded) };
    let request = json!({ "mode": word(mode), "rule": args.rule.as_ref().map(word) });
    let answer = Admin::of(&loaded.config).post("/mode", &request)?;
    let message = answer.get("message").and_then(|message| message.as_str());
    output::print_line(plain(message.unwrap_or(&word(mode))))?;
    Ok(ExitCode::SUCCESS)
}

fn show(args: &ModeArgs, loaded: &Loaded) -> anyhow::Result<ExitCode> {
    let mut answer = Admin::of(&loaded.config).get("/mode")?;
    for rule in answer["modes"].as_array_mut().into_iter().flatten().filter(|_| !args.json) {
        let by = if rule["switched"] == true { "claimgate mode, until the next start" } else { "the configuration" };
        rule["set_by"] = by.into();
    }
    print(&answer, "modes", &COLUMNS, args.json, "there is no rule")?;
    Ok(ExitCode::SUCCESS)
}

fn word<T: ValueEnum>(choice: &T) -> String {
    choice.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}
