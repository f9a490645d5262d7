//! `claimgate release`: an operator ends a holding, or all of an agent that is dead.

use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgGroup, Args};
use serde_json::{Value, json};

use super::admin::{Admin, check_item};
use super::claims::is_of;
use super::table::{counted, plain};
use super::{ConfigArgs, output};
use crate::config::Loaded;

/// A release waits for its item's turn, and then writes to the tracker, several times where labels are put back: each of
/// these may take as long as the gate itself waits for it.
const PATIENCE: Duration = Duration::from_mins(5);

/// `claimgate release`
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).args(["item", "agent"]))]
pub struct ReleaseArgs {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The item, owner/repo#number
    #[arg(value_parser = check_item)]
    pub item: Option<String>,
    /// All that this agent holds: an account, the name of an agent, or account/name. They are listed first
    #[arg(long, value_name = "NAME")]
    pub agent: Option<String>,
    /// Do not ask before all of an agent's items are released
    #[arg(long, requires = "agent")]
    pub yes: bool,
    /// Print JSON: one object an item
    #[arg(long)]
    pub json: bool,
    /// Why; kept in the audit
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// Ends the holdings, and prints what became of the items in the tracker. Fails if one was not put back there although the
/// gate has a token for that.
pub fn run(args: &ReleaseArgs, loaded: &Loaded) -> anyhow::Result<ExitCode> {
    let admin = Admin::of(&loaded.config);
    let items = match (&args.item, &args.agent) {
        (Some(item), _) => vec![item.clone()],
        (None, agent) => match of_agent(&admin, args, agent.as_deref().unwrap_or_default())? {
            Ok(items) => items,
            Err(code) => return Ok(code),
        },
    };
    let mut all_done = true;
    for item in &items {
        match release(&admin, args, item) {
            Ok(done) => all_done &= done,
            // The others are released all the same.
            Err(error) if items.len() > 1 => {
                output::say(format_args!("error: {item}: {error:#}"));
                all_done = false;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(if all_done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What an agent holds, once somebody has said that it may be released; or the exit code.
fn of_agent(admin: &Admin, args: &ReleaseArgs, agent: &str) -> anyhow::Result<Result<Vec<String>, ExitCode>> {
    let answer = admin.get("/claims")?;
    let held: Vec<&Value> =
        answer["claims"].as_array().into_iter().flatten().filter(|claim| is_of(claim, agent)).collect();
    let items: Vec<String> = held.iter().filter_map(|claim| claim["resource"].as_str()).map(str::to_owned).collect();
    if items.is_empty() {
        output::say(format_args!("{agent} holds nothing"));
        return Ok(Err(ExitCode::FAILURE));
    }
    for claim in &held {
        let text = |pointer: &str| claim.pointer(pointer).and_then(Value::as_str).unwrap_or("-");
        let instance = claim.pointer("/agent/instance").and_then(Value::as_str);
        let name = instance.map_or_else(String::new, |instance| format!(" ({instance})"));
        output::say(plain(&format!(
            "  {}  {}{name}  since {}, last seen {}, {}",
            text("/resource"),
            text("/agent/account"),
            text("/since"),
            text("/seen"),
            text("/state")
        )));
    }
    let count = counted(items.len() as u64, "item");
    if args.yes || output::confirm(&format!("Release {count} of {agent}?")).unwrap_or(false) {
        return Ok(Ok(items));
    }
    output::say(format_args!("nothing was done: say --yes to release {count} of {agent}"));
    Ok(Err(ExitCode::FAILURE))
}

/// Whether all that was to be put back was.
fn release(admin: &Admin, args: &ReleaseArgs, item: &str) -> anyhow::Result<bool> {
    let request = json!({ "item": item, "reason": args.reason });
    let then =
        format!("; it carries the release out all the same: `claimgate history {item}` tells what has become of it");
    let answer = admin.post_within(PATIENCE, &then, "/release", &request)?;
    let message = answer.get("message").and_then(Value::as_str);
    output::print_line(if args.json { answer.to_string() } else { plain(message.unwrap_or("released")) })?;
    Ok(answer["left_undone"] != true)
}
