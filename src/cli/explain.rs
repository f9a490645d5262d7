//! `claimgate explain`: what the gate would make of one request, without sending anything.

use std::process::ExitCode;

use clap::Args;

use super::ConfigArgs;
use crate::config::Loaded;

/// `claimgate explain`
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The request's method
    pub method: String,
    /// The request's path, with its query
    pub path: String,
    /// The request's body
    pub body: Option<String>,
}

/// Prints the route, the intent and the rules that apply.
pub fn run(_args: &ExplainArgs, _loaded: &Loaded) -> anyhow::Result<ExitCode> {
    anyhow::bail!("explain is not wired up yet")
}
