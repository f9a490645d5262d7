//! `claimgate refusals`: what was refused, with the text that the client was told. Scripts throw that away.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::admin::Admin;
use super::output::{Colour, paint};
use super::table::{plain, to_the_second};
use super::{ConfigArgs, output};
use crate::config::Loaded;

/// `claimgate refusals`
#[derive(Debug, Args)]
pub struct RefusalsArgs {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Go on with those that come, until it is interrupted
    #[arg(long, short)]
    pub follow: bool,
    /// How many to begin with
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=200))]
    pub last: u16,
    /// Print JSON: one object a line
    #[arg(long)]
    pub json: bool,
}

/// Between two questions.
const EACH: Duration = Duration::from_secs(1);

/// Prints the last ones, and with `--follow` those after them.
pub fn run(args: &RefusalsArgs, loaded: &Loaded) -> anyhow::Result<ExitCode> {
    let admin = Admin::of(&loaded.config);
    let mut answer = admin.get(&format!("/refusals?limit={}", args.last))?;
    if !args.follow && !args.json && answer["refusals"].as_array().is_some_and(Vec::is_empty) {
        output::say("nothing was refused lately");
    }
    let mut last = 0;
    let mut is_gone = false;
    loop {
        if answer["cut"] == true {
            output::say("note: there were more than the gate keeps; `claimgate report` counts all of them");
        }
        for refusal in answer["refusals"].as_array().into_iter().flatten() {
            output::print_line(if args.json { refusal.to_string() } else { line(refusal) })?;
        }
        last = answer["last"].as_u64().unwrap_or(last);
        if !args.follow {
            return Ok(ExitCode::SUCCESS);
        }
        std::thread::sleep(EACH);
        answer = match admin.get(&format!("/refusals?after={last}")) {
            Ok(answer) => {
                is_gone = false;
                answer
            }
            // It may be restarted: the numbers go on.
            Err(error) => {
                if !std::mem::replace(&mut is_gone, true) {
                    output::say(format_args!("note: {error:#}; trying again"));
                }
                Value::Null
            }
        };
    }
}

/// One refusal on one line.
pub(super) fn line(refusal: &Value) -> String {
    let text = |pointer: &str| refusal.pointer(pointer).and_then(Value::as_str).unwrap_or("-");
    let agent = match refusal.pointer("/agent/instance").and_then(Value::as_str) {
        Some(instance) => format!("{} ({instance})", text("/agent/account")),
        None => text("/agent/account").to_owned(),
    };
    let observed = refusal["decision"] == "observe";
    let code = if observed { format!("{} (observed only)", text("/code")) } else { text("/code").to_owned() };
    let code = paint(if observed { Colour::Warn } else { Colour::Bad }, &plain(&code));
    let message = text("/message");
    let message = if message.is_empty() { "-" } else { message };
    format!(
        "{}  {}  {}  {code}  {}",
        to_the_second(text("/time")),
        plain(text("/resource")),
        plain(&agent),
        plain(message)
    )
}
