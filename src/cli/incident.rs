//! `claimgate incident`: what happened to one item, oldest first: who held it one after another, what ended each holding, who
//! edited it past the gate, and what each agent was told.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::admin::{Admin, check_item, encode};
use super::history::{change_in_words, name, name_authors};
use super::table::{Column, counted, plain, render, to_the_second};
use super::{ConfigArgs, output};
use crate::config::Loaded;

/// `claimgate incident`
#[derive(Debug, Args)]
pub struct IncidentArgs {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The item, owner/repo#number
    #[arg(value_parser = check_item)]
    pub item: String,
    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
}

/// What happened, so far as lines were read.
#[derive(Default)]
struct Incident {
    /// Who holds it after the lines so far.
    holder: Option<String>,
    holders: Vec<Tenancy>,
    events: Vec<IncidentEvent>,
}

/// One holding.
struct Tenancy {
    agent: String,
    from: String,
    until: Option<String>,
    ended_by: String,
}

/// One thing that happened, or the same several times on end.
#[derive(Debug, PartialEq, Eq)]
struct IncidentEvent {
    time: String,
    what: &'static str,
    /// Who held it before and after, where that changed.
    change: Option<(String, String)>,
    who: String,
    details: String,
    id: String,
    /// How often it was repeated, and when last.
    again: Option<(u64, String)>,
}

const COLUMNS: [Column; 5] = [
    ("TIME", &["/time"]),
    ("WHAT", &["/what"]),
    ("HOLDER", &["/holder"]),
    ("WHO", &["/who"]),
    ("DETAILS", &["/details"]),
];
const NOBODY: &str = "nobody";

/// Prints what the gate recorded about the item.
pub fn run(args: &IncidentArgs, loaded: &Loaded) -> anyhow::Result<ExitCode> {
    let mut answer = Admin::of(&loaded.config).get(&format!("/history?item={}", encode(&args.item)))?;
    let names = answer.get_mut("labels").map(Value::take).unwrap_or_default();
    let mut lines = match answer.get_mut("history").map(Value::take) {
        Some(Value::Array(lines)) => lines,
        _ => Vec::new(),
    };
    name_authors(&mut lines);
    lines.reverse();
    let incident = Incident::of(&lines, &names);
    if args.json {
        let told = json!({ "item": args.item, "cut": answer["cut"], "holders": incident.holders_json(), "events": incident.rows() });
        output::print_line(format_args!("{told:#}"))?;
        return Ok(ExitCode::SUCCESS);
    }
    if lines.is_empty() {
        output::say("the gate has recorded nothing about it");
        return Ok(ExitCode::SUCCESS);
    }
    output::print(incident.as_text(&args.item))?;
    if answer["cut"] == true {
        output::say(format_args!("note: there are older lines; `claimgate report --item {}` counts them", args.item));
    }
    if let Some(older) = answer["older"].as_str() {
        output::say(format_args!("note: {older}"));
    }
    Ok(ExitCode::SUCCESS)
}

// === impl Incident ===

impl Incident {
    /// From audit lines, oldest first.
    fn of(lines: &[Value], names: &Value) -> Self {
        let mut incident = Self::default();
        for line in lines {
            incident.take(line, names);
        }
        incident
    }

    fn take(&mut self, line: &Value, names: &Value) {
        let text = |pointer: &str| line.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let agent = line.get("agent").filter(|agent| agent.is_object()).map(name).unwrap_or_default();
        let (what, who, details) = told(line, &agent, names);
        // Lines without a version are about a request alone.
        let holder = line.get("holder").filter(|holder| holder.is_object()).map(name);
        let knows = line["fence"].is_u64();
        let change = (knows && holder != self.holder).then(|| {
            let or_nobody = |holder: &Option<String>| holder.clone().unwrap_or_else(|| NOBODY.to_owned());
            (or_nobody(&self.holder), or_nobody(&holder))
        });
        if change.is_some() {
            if let Some(last) = self.holders.last_mut().filter(|last| last.until.is_none()) {
                (last.until, last.ended_by) = (Some(text("/time").to_owned()), ending(what, &who, &details));
            }
            if let Some(agent) = &holder {
                let from = text("/time").to_owned();
                self.holders.push(Tenancy { agent: agent.clone(), from, until: None, ended_by: String::new() });
            }
            self.holder = holder;
        }
        let event = IncidentEvent {
            time: text("/time").to_owned(),
            what,
            change,
            who,
            details,
            id: text("/id").to_owned(),
            again: None,
        };
        self.push(event);
    }

    /// The same refusal on end is one event.
    fn push(&mut self, event: IncidentEvent) {
        if let Some(last) = self.events.last_mut()
            && event.change.is_none()
            && (last.what, &last.who, &last.details) == (event.what, &event.who, &event.details)
        {
            let count = last.again.as_ref().map_or(1, |(count, _)| *count) + 1;
            last.again = Some((count, event.time));
            return;
        }
        self.events.push(event);
    }

    fn rows(&self) -> Vec<Value> {
        let rows = self.events.iter().map(|event| {
            let change = event.change.as_ref();
            json!({
                "time": event.time,
                "what": event.what,
                "from": change.map(|(from, _)| from),
                "to": change.map(|(_, to)| to),
                "who": event.who,
                "details": event.details,
                "times": event.again.as_ref().map_or(1, |(count, _)| *count),
                "last": event.again.as_ref().map(|(_, last)| last),
                "id": event.id,
            })
        });
        rows.collect()
    }

    fn holders_json(&self) -> Vec<Value> {
        let one = |one: &Tenancy| json!({ "agent": one.agent, "from": one.from, "until": one.until, "ended_by": one.ended_by });
        self.holders.iter().map(one).collect()
    }

    fn as_text(&self, item: &str) -> String {
        let mut out = String::new();
        let _ = match self.holders.len() as u64 {
            0 => writeln!(out, "{item}: nobody has held it"),
            count => writeln!(
                out,
                "{item}: held {}",
                if count == 1 { "once".to_owned() } else { format!("{count} times, by one after another") }
            ),
        };
        for one in &self.holders {
            let from = to_the_second(&one.from);
            let line = match &one.until {
                Some(until) => format!("{}: {from} to {}, ended by {}", one.agent, to_the_second(until), one.ended_by),
                None => format!("{}: since {from}, and still", one.agent),
            };
            let _ = writeln!(out, "  {}", plain(&line));
        }
        let rows: Vec<Value> = (self.events.iter())
            .map(|event| {
                let holder = event.change.as_ref().map(|(from, to)| format!("{from} -> {to}")).unwrap_or_default();
                let again = event.again.as_ref().map_or_else(String::new, |(count, last)| {
                    format!(" ({}, the last at {})", counted(*count, "time"), to_the_second(last))
                });
                json!({
                    "time": to_the_second(&event.time),
                    "what": event.what,
                    "holder": holder,
                    "who": event.who,
                    "details": format!("{}{again}", event.details),
                })
            })
            .collect();
        let _ = write!(out, "\n{}", render(&rows, &COLUMNS));
        out
    }
}

/// What a line tells: what it was, who did it, and what is to be said of it.
fn told(line: &Value, agent: &str, names: &Value) -> (&'static str, String, String) {
    let text = |name: &str| line[name].as_str().unwrap_or_default();
    let change = change_in_words(text("change"), names);
    let (reason, by) = (text("reason").to_owned(), text("by").to_owned());
    let owned = str::to_owned;
    match text("kind") {
        "decision" => decided(line, agent, &change),
        "author" => ("outside edit", owned(agent), reason),
        "revoked" => ("outside edit", if by.is_empty() { owned("somebody past the gate") } else { by }, reason),
        "taken_over" => ("takeover", String::new(), reason),
        "operator" => {
            let who = if text("client").is_empty() {
                owned("the operator")
            } else {
                format!("the operator ({})", text("client"))
            };
            ("released", who, reason)
        }
        "finished" | "gone" => ("finished", owned("the gate"), reason),
        "landed" => ("landed", owned(agent), format!("the write in doubt did land: {change}")),
        "not_landed" => ("not landed", owned(agent), format!("the write in doubt did not land: {change}")),
        "recovered" => ("recovered", owned(agent), format!("a gate ended while it was under way: {change}")),
        "contested" => ("contested", if by.is_empty() { owned("somebody past the gate") } else { by }, reason),
        _ => ("noted", owned(agent), if reason.is_empty() { change } else { reason }),
    }
}

/// What was decided over a request, and how it ended.
fn decided(line: &Value, agent: &str, change: &str) -> (&'static str, String, String) {
    let text = |name: &str| line[name].as_str().unwrap_or_default();
    let (code, reason) = (text("code"), text("reason"));
    let who = match line["authority"].as_str() {
        Some("overrider") => format!("{agent}, an overrider"),
        _ if agent.is_empty() => "somebody whom the tracker does not know".to_owned(),
        _ => agent.to_owned(),
    };
    let with_code = |words: &str| if code.is_empty() { words.to_owned() } else { format!("{words} ({code})") };
    match (text("decision"), text("result")) {
        ("reject", _) if reason.is_empty() => ("refused", who, format!("{change}: {code}")),
        ("reject", _) => ("refused", who, format!("told {code}: {reason}")),
        (_, "DOUBT") => ("in doubt", who, with_code(&format!("sent, and the outcome is not known: {change}"))),
        (_, "REFUSED") => ("not applied", who, with_code(&format!("the tracker left it as it was: {change}"))),
        (_, "PARTIAL") => ("partly", who, with_code(&format!("the tracker shows something else: {change}"))),
        ("observe", _) => {
            ("observed", who, format!("a rule that only observes would have refused it ({code}): {change}"))
        }
        ("noop", _) => (intent(line), who, format!("{change}, which showed already; nothing was sent")),
        _ => (intent(line), who, with_code(change)),
    }
}

fn intent(line: &Value) -> &'static str {
    match line["intent"].as_str() {
        Some("claim") => "claim",
        Some("release") => "release",
        Some("hand_over") => "hand-over",
        Some("move") => "move",
        Some("adopt") => "adoption",
        Some("take_over") => "takeover",
        Some("create") => "creation",
        _ => "write",
    }
}

/// What ended a holding, as the end of a sentence.
fn ending(what: &str, who: &str, details: &str) -> String {
    match what {
        "outside edit" | "contested" | "takeover" | "finished" => format!("{what}: {details}"),
        "released" => format!("{who}: {details}"),
        _ => format!("a {what} of {who}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(login: &str) -> Value {
        json!({ "account": login, "instance": null })
    }

    #[test]
    fn who_held_it_and_what_ended_that() {
        let line = |at: u8, kind: &str, more: Value| {
            let mut line = json!({ "time": format!("2026-01-01T00:00:{at:02}Z"), "id": format!("d{at}"), "kind": kind, "fence": at, "holder": null });
            line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            line
        };
        let refused = |at| {
            line(
                at,
                "decision",
                json!({ "decision": "reject", "code": "already_assigned", "agent": agent("bob"), "holder": agent("ann"), "reason": "taken" }),
            )
        };
        let lines = [
            line(
                1,
                "decision",
                json!({ "decision": "admit", "intent": "claim", "result": "COMMITTED", "agent": agent("ann"), "holder": agent("ann"), "change": "assignees=[ann]" }),
            ),
            refused(2),
            refused(3),
            line(
                4,
                "revoked",
                json!({ "agent": agent("ann"), "by": "eve", "reason": "reassigned to cid by eve, outside the gate" }),
            ),
            line(
                5,
                "decision",
                json!({ "decision": "admit", "intent": "claim", "result": "COMMITTED", "agent": agent("bob"), "authority": "overrider", "holder": agent("bob"), "change": "assignees=[bob]" }),
            ),
            line(6, "operator", json!({ "agent": agent("bob"), "client": "user 0", "reason": "dead" })),
        ];
        let incident = Incident::of(&lines, &Value::Null);
        let told: Vec<(&str, String, u64)> = (incident.events.iter())
            .map(|event| {
                let change = event.change.as_ref().map_or_else(String::new, |(from, to)| format!("{from} > {to}"));
                (event.what, change, event.again.as_ref().map_or(1, |(count, _)| *count))
            })
            .collect();
        let change = str::to_owned;
        assert_eq!(
            told,
            [
                ("claim", change("nobody > ann"), 1),
                ("refused", String::new(), 2),
                ("outside edit", change("ann > nobody"), 1),
                ("claim", change("nobody > bob"), 1),
                ("released", change("bob > nobody"), 1),
            ]
        );
        let ended: Vec<&str> = incident.holders.iter().map(|one| one.ended_by.as_str()).collect();
        assert_eq!(ended, ["outside edit: reassigned to cid by eve, outside the gate", "the operator (user 0): dead"]);
        let text = incident.as_text("o/r#1");
        for words in [
            "held 2 times",
            "told already_assigned: taken (2 times, the last at 2026-01-01T00:00:03Z)",
            "bob, an overrider",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
    }
}
