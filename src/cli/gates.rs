//! `claimgate gates`: who shares the ledger.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::table::{Column, print};
use super::{ConfigArgs, shared};
use crate::config::Loaded;
use crate::ledger::GateMember;

/// `claimgate gates`
#[derive(Debug, Args)]
pub struct GatesArgs {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

const COLUMNS: [Column; 9] = [
    ("GATE", &["/gate"]),
    ("STATE", &["/state"]),
    ("SILENT", &["/silent"]),
    ("SINCE", &["/since"]),
    ("HOST", &["/host"]),
    ("PROCESS", &["/process"]),
    ("VERSION", &["/version"]),
    ("RULES", &["/rules"]),
    ("UNPRINTED", &["/unprinted"]),
];

/// Prints a table, or JSON.
pub fn run(args: &GatesArgs, loaded: &Loaded) -> anyhow::Result<ExitCode> {
    let gates = shared::run(&loaded.config, async |ledger| Ok(ledger.gates().await?))?;
    let gates: Vec<_> = gates.iter().map(gate).collect();
    print(&json!({ "gates": gates }), "gates", &COLUMNS, args.json, "no gate has joined yet")?;
    Ok(ExitCode::SUCCESS)
}

fn gate(member: &GateMember) -> serde_json::Value {
    json!({
        "gate": member.name,
        "state": member.state,
        "epoch": member.epoch,
        "silent": format!("{} s", member.silent_for),
        "silent_seconds": member.silent_for,
        "since": member.since,
        "host": member.host,
        "process": member.pid.to_string(),
        "version": member.version,
        "rules": member.rules,
        "lines": member.seq,
        "unprinted": (member.seq - member.printed).to_string(),
        "under_way": member.live,
    })
}
