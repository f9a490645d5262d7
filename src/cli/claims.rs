//! `claimgate claims`: who holds what.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::ConfigArgs;
use super::admin::Admin;
use super::output::{self, Colour, paint};
use super::scan::parse_repo;
use super::table::{Column, print, render};
use crate::config::Loaded;
use crate::model::Project;
use crate::server::since;

/// `claimgate claims`
#[derive(Debug, Args)]
pub struct ClaimsArgs {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Only what this agent holds: an account, the name of an agent, or account/name
    #[arg(long, value_name = "NAME")]
    pub agent: Option<String>,
    /// Only what stands in this repository, owner/name
    #[arg(long, value_name = "OWNER/NAME", value_parser = parse_repo)]
    pub repo: Option<Project>,
    /// Show it again whenever it changes, until it is interrupted
    #[arg(long, short)]
    pub watch: bool,
    /// Print JSON; with --watch one line each time
    #[arg(long)]
    pub json: bool,
}

/// The columns, with where in a claim their text is.
const COLUMNS: [Column; 8] = [
    ("ITEM", &["/resource"]),
    ("ACCOUNT", &["/agent/account"]),
    ("INSTANCE", &["/agent/instance"]),
    ("SINCE", &["/since"]),
    ("AGE", &["/age"]),
    ("LAST SEEN", &["/seen"]),
    ("SILENT", &["/silent"]),
    ("STATE", &["/state"]),
];
const NONE: &str = "nobody holds anything";
/// Between two questions.
const EACH: Duration = Duration::from_secs(1);

/// Prints a table, or JSON.
pub fn run(args: &ClaimsArgs, loaded: &Loaded) -> anyhow::Result<ExitCode> {
    let admin = Admin::of(&loaded.config);
    if args.watch {
        return watch(args, &admin);
    }
    let answer = asked(args, &admin)?;
    if args.json || held(&answer).is_empty() {
        print(&answer, "claims", &COLUMNS, args.json, NONE)?;
    } else {
        output::print(coloured(&answer))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Those that are asked for.
fn asked(args: &ClaimsArgs, admin: &Admin) -> anyhow::Result<Value> {
    let mut answer = admin.get("/claims")?;
    if let Some(claims) = answer.get_mut("claims").and_then(Value::as_array_mut) {
        claims.retain(|claim| {
            let here = args.repo.as_ref().is_none_or(|repo| {
                let project = claim["resource"].as_str().and_then(|item| item.split_once('#'));
                project.is_some_and(|(project, _)| project.eq_ignore_ascii_case(repo.as_str()))
            });
            here && args.agent.as_ref().is_none_or(|agent| is_of(claim, agent))
        });
        for claim in claims.iter_mut().filter(|_| !args.json) {
            for (from, to) in [("held_s", "age"), ("silent_s", "silent")] {
                if let Some(seconds) = claim[from].as_u64() {
                    claim[to] = since(Duration::from_secs(seconds)).into();
                }
            }
        }
    }
    Ok(answer)
}

/// Whether an item is this agent's: by its account, its own name, or both.
pub(super) fn is_of(claim: &Value, agent: &str) -> bool {
    let account = claim.pointer("/agent/account").and_then(Value::as_str).unwrap_or_default();
    let instance = claim.pointer("/agent/instance").and_then(Value::as_str);
    match agent.split_once('/') {
        Some((of, name)) => account.eq_ignore_ascii_case(of) && instance.unwrap_or_default() == name,
        None => account.eq_ignore_ascii_case(agent) || instance == Some(agent),
    }
}

fn held(answer: &Value) -> &[Value] {
    answer["claims"].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// On a terminal in the place of what stood there, elsewhere one after another.
fn watch(args: &ClaimsArgs, admin: &Admin) -> anyhow::Result<ExitCode> {
    let (mut shown, mut lost) = (None, false);
    loop {
        match asked(args, admin) {
            Ok(answer) => {
                lost = false;
                // Ages change each second: they are no news where each change is one more table.
                let news = if output::is_terminal() { answer.clone() } else { without_ages(answer.clone()) };
                if shown.as_ref() != Some(&news) {
                    output::print(screen(args, &answer))?;
                    shown = Some(news);
                }
            }
            Err(error) if shown.is_none() => return Err(error),
            Err(error) => {
                if !std::mem::replace(&mut lost, true) {
                    output::say(format_args!("note: {error:#}; trying again"));
                }
            }
        }
        std::thread::sleep(EACH);
    }
}

fn screen(args: &ClaimsArgs, answer: &Value) -> String {
    if args.json {
        return format!("{answer}\n");
    }
    let table = if held(answer).is_empty() { format!("{NONE}\n") } else { coloured(answer) };
    if output::is_terminal() { format!("\u{1b}[H\u{1b}[2J{table}") } else { format!("{table}\n") }
}

fn without_ages(mut answer: Value) -> Value {
    for claim in answer["claims"].as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        for name in ["age", "silent", "held_s", "silent_s", "doubt_left_s", "seen"] {
            claim.remove(name);
        }
    }
    answer
}

/// The table, each row in the colour of its state.
fn coloured(answer: &Value) -> String {
    let rows = held(answer);
    let text = render(rows, &COLUMNS);
    let mut lines = text.lines();
    let head = lines.next().map(|head| format!("{head}\n")).unwrap_or_default();
    let rows = lines.zip(rows).map(|(line, claim)| {
        let painted = match claim["state"].as_str() {
            Some("doubt" | "contested") => paint(Colour::Bad, line),
            Some("stale") => paint(Colour::Warn, line),
            Some("parked") => paint(Colour::Quiet, line),
            _ => line.to_owned(),
        };
        painted + "\n"
    });
    head + &rows.collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_agent_is_named_by_account_by_name_or_by_both() {
        let claim = |instance: Value| json!({ "agent": { "account": "Bot", "instance": instance } });
        for (agent, named, nameless) in [
            ("bot", true, true),
            ("one", true, false),
            ("bot/one", true, false),
            ("bot/", false, true),
            ("bot/two", false, false),
            ("two", false, false),
        ] {
            assert_eq!(
                (is_of(&claim(json!("one")), agent), is_of(&claim(Value::Null), agent)),
                (named, nameless),
                "{agent}"
            );
        }
    }
}
