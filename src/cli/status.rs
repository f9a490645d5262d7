//! `claimgate status`: one screen about the running gate.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::admin::Admin;
use super::output::{Colour, paint};
use super::table::{counted, plain, to_the_second};
use super::{ConfigArgs, output};
use crate::config::{Loaded, show_size};
use crate::server::since;

/// `claimgate status`
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Print the gate's own JSON
    #[arg(long)]
    pub json: bool,
}

/// Agents and items that are listed.
const MOST: usize = 10;

/// Prints the screen. Fails where something is wrong with the gate.
pub fn run(args: &StatusArgs, loaded: &Loaded) -> anyhow::Result<ExitCode> {
    let status = Admin::of(&loaded.config).get("/status")?;
    if args.json {
        output::print_line(format_args!("{status:#}"))?;
    } else {
        output::print(screen(&status))?;
    }
    let troubled = status["troubles"].as_array().is_some_and(|troubles| !troubles.is_empty());
    Ok(if troubled { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn screen(status: &Value) -> String {
    let mut out = String::new();
    let text = |pointer: &str| plain(status.pointer(pointer).and_then(Value::as_str).unwrap_or("-"));
    let number = |pointer: &str| status.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
    let row = |out: &mut String, name: &str, value: &str| {
        let _ = writeln!(out, "{name:14}{value}");
    };
    for trouble in status["troubles"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let _ = writeln!(out, "{}", paint(Colour::Bad, &plain(&format!("! {trouble}"))));
    }
    let up = since(Duration::from_secs(number("/up_s")));
    row(&mut out, "claimgate", &format!("{}, up for {up}", text("/version")));
    let up_or_down = |up: bool| if up { paint(Colour::Good, "up") } else { paint(Colour::Bad, "down") };
    let (tracker, ledger) = (status["tracker"]["up"] == true, status["ledger"]["up"] == true);
    row(
        &mut out,
        "tracker",
        &format!("{}, {} at {}", up_or_down(tracker), text("/tracker/kind"), text("/tracker/url")),
    );
    let bytes = status["ledger"]["bytes"].as_u64().map_or_else(String::new, |bytes| format!(", {}", rounded(bytes)));
    row(&mut out, "ledger", &format!("{}{bytes}", up_or_down(ledger)));
    let modes = status["modes"].as_array().into_iter().flatten().map(|rule| {
        let word = rule["mode"].as_str().unwrap_or("-");
        let by = if rule["switched"] == true { " (by `claimgate mode`)" } else { "" };
        let text = plain(&format!("{} {word}{by}", rule["rule"].as_str().unwrap_or("-")));
        if word == "observe" { paint(Colour::Warn, &text) } else { text }
    });
    row(&mut out, "rules", &modes.collect::<Vec<_>>().join(", "));
    row(&mut out, "", &format!("read {}", to_the_second(&text("/rules_read"))));
    let webhook = match (&status["webhooks"]["taken"], &status["webhooks"]["last"]) {
        (Value::Bool(false), _) => "off (upstream.webhook_secret_file)".to_owned(),
        (_, Value::String(at)) => format!("last seen {}", to_the_second(at)),
        _ => paint(Colour::Warn, "none has come since the start"),
    };
    row(&mut out, "webhooks", &webhook);
    let items = format!("{} held{}", number("/held"), states(status));
    row(&mut out, "items", &items);
    let held = status["held_by"].as_array().map(Vec::as_slice).unwrap_or_default();
    let named = held.iter().take(MOST).map(|one| {
        plain(&format!("{} {}", one["agent"].as_str().unwrap_or("-"), one["items"].as_u64().unwrap_or_default()))
    });
    let more = held.len().saturating_sub(MOST);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    row(
        &mut out,
        "held by",
        &format!("{}{more}", if held.is_empty() { "nobody".to_owned() } else { named.collect::<Vec<_>>().join(", ") }),
    );
    waiting(&mut out, status);
    let (refused, observed) = (number("/refused_last_hour"), number("/observed_last_hour"));
    let observed = if observed > 0 { format!(", and {observed} that a rule only observed") } else { String::new() };
    row(&mut out, "refused", &format!("{refused} in the last hour{observed}"));
    for refusal in status["refusals"].as_array().into_iter().flatten() {
        let _ = writeln!(out, "  {}", super::refusals::line(refusal));
    }
    out
}

/// How many items stand so that somebody should look.
fn states(status: &Value) -> String {
    let mut text = String::new();
    for (name, words, colour) in [
        ("doubt", "in doubt", Colour::Bad),
        ("contested", "contested", Colour::Bad),
        ("stale", "stale", Colour::Warn),
        ("parked", "parked", Colour::Quiet),
    ] {
        if let Some(count) = status[name].as_u64().filter(|count| *count > 0) {
            text.push_str(", ");
            text.push_str(&paint(colour, &format!("{count} {words}")));
        }
    }
    text
}

fn waiting(out: &mut String, status: &Value) {
    for one in status["waiting"].as_array().into_iter().flatten().take(MOST) {
        let place = one["resource"].as_str().or(one["resource_id"].as_str()).unwrap_or("-");
        let count = one["requests"].as_u64().unwrap_or_default();
        let _ = writeln!(out, "{:14}{} for {}", "waiting", counted(count, "request"), plain(place));
    }
}

/// A size in its largest unit.
fn rounded(bytes: u64) -> String {
    let unit = [1_u64 << 30, 1 << 20, 1 << 10].into_iter().find(|unit| bytes >= *unit).unwrap_or(1);
    show_size(bytes / unit * unit)
}
