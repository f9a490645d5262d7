//! `claimgate history`: the audit's lines about one item, newest first.

use std::collections::BTreeSet;
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::admin::{Admin, check_item, encode};
use super::table::{Column, counted, print};
use super::{ConfigArgs, output};
use crate::audit::report::edit_in_words;
use crate::config::Loaded;

/// `claimgate history`
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The item, owner/repo#number
    #[arg(value_parser = check_item)]
    pub item: String,
    /// Print the gate's own JSON
    #[arg(long)]
    pub json: bool,
}

/// The columns, with where in an audit line their text is.
const COLUMNS: [Column; 10] = [
    ("TIME", &["/time"]),
    ("KIND", &["/kind"]),
    ("DECISION", &["/decision"]),
    ("CODE", &["/code"]),
    ("ACCOUNT", &["/by", "/agent/account"]),
    ("INSTANCE", &["/agent/instance"]),
    ("CHANGE", &["/change"]),
    ("RESULT", &["/result"]),
    ("HOLDER", &["/holder/account"]),
    ("REASON", &["/reason"]),
];

/// Prints a table, or the JSON of the gate.
pub fn run(args: &HistoryArgs, loaded: &Loaded) -> anyhow::Result<ExitCode> {
    let answer = Admin::of(&loaded.config).get(&format!("/history?item={}", encode(&args.item)))?;
    let shown = if args.json { answer } else { in_words(answer) };
    let lines = shown["history"].as_array().map_or(0, Vec::len);
    if !args.json && lines > 0 {
        output::print_line(heading(&args.item, lines, shown["cut"] == true))?;
    }
    print(&shown, "history", &COLUMNS, args.json, "the gate has recorded nothing about it")?;
    if let Some(older) = shown["older"].as_str().filter(|_| !args.json) {
        output::say(format_args!("note: {older}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// What the table shows, and in which order.
fn heading(item: &str, lines: usize, cut: bool) -> String {
    let shown = format!("{item}: {}, newest first", counted(lines as u64, "line"));
    if cut {
        format!("{shown}; there are older ones, which `claimgate report --item {item}` counts and the audit has")
    } else {
        shown
    }
}

/// Tells with each edit who made it, where the tracker remembered: its authors have lines of their own, with its id.
pub(super) fn name_authors(lines: &mut Vec<Value>) {
    let is_author = |line: &Value| line["kind"] == "author";
    let told = |line: &Value| !is_author(line) && line["id"].as_str().is_some_and(|id| !id.is_empty());
    let known: BTreeSet<String> =
        lines.iter().filter(|line| told(line)).filter_map(|line| line["id"].as_str()).map(str::to_owned).collect();
    let (of_others, kept): (Vec<Value>, Vec<Value>) = std::mem::take(lines)
        .into_iter()
        .partition(|line| is_author(line) && line["id"].as_str().is_some_and(|id| known.contains(id)));
    *lines = kept;
    for line in lines {
        let authors: Vec<&Value> = of_others.iter().filter(|author| author["id"] == line["id"]).collect();
        let words = |pointer: &str| {
            let texts: BTreeSet<&str> = authors.iter().filter_map(|author| author.pointer(pointer)?.as_str()).collect();
            texts.into_iter().collect::<Vec<_>>()
        };
        let (by, what) = (words("/agent/account"), words("/reason"));
        if by.is_empty() {
            let assignees: Vec<String> =
                serde_json::from_value(line["observed"]["assignees"].clone()).unwrap_or_default();
            if let Some(told) = line["reason"].as_str().map(|reason| edit_in_words(reason, &assignees)) {
                line["reason"] = told.into();
            }
        } else {
            (line["by"], line["reason"]) = (by.join(", ").into(), what.join("; ").into());
        }
    }
}

/// A change as the audit has it, with its labels in words: a label is called by its name, where that is known.
pub(super) fn change_in_words(change: &str, names: &Value) -> String {
    let change = change.trim_end();
    let told = || {
        let (before, rest) =
            change.split_once("labels").filter(|(before, _)| before.is_empty() || before.ends_with(' '))?;
        let (sign, rest) = rest.split_once('[')?;
        let end = ["] state=", "] reviewers"].iter().filter_map(|next| rest.find(next)).min();
        let (labels, after) = match end {
            Some(end) => (rest.get(..end)?, rest.get(end + 1..)?),
            None => (rest.strip_suffix(']')?, ""),
        };
        let count = labels.split(", ").count();
        let names: Vec<&str> = labels.split(", ").map(|label| label_name(label, names)).collect();
        let (names, noun) = (names.join(", "), if count == 1 { "label" } else { "labels" });
        let words = match sign {
            "=" if labels.is_empty() => "all labels removed".to_owned(),
            "=" => format!("labels set to {names}"),
            "+=" => format!("{noun} {names} added"),
            "-=" => format!("{noun} {names} removed"),
            _ => return None,
        };
        Some(format!("{before}{words}{after}"))
    };
    told().unwrap_or_else(|| change.to_owned())
}

fn label_name<'a>(label: &'a str, names: &'a Value) -> &'a str {
    let id = label.strip_prefix('#').filter(|id| id.bytes().all(|byte| byte.is_ascii_digit()));
    id.map_or(label, |id| names[id].as_str().unwrap_or(id))
}

/// The agent of a line is who did it, except where a holding ends from outside: there it is who lost it.
fn in_words(mut answer: Value) -> Value {
    let names = answer.get_mut("labels").map(Value::take).unwrap_or_default();
    if let Some(lines) = answer.get_mut("history").and_then(Value::as_array_mut) {
        name_authors(lines);
    }
    let lines = answer.get_mut("history").and_then(Value::as_array_mut);
    for line in lines.into_iter().flatten().filter_map(Value::as_object_mut) {
        if let Some(change) = line.get("change").and_then(Value::as_str) {
            line.insert("change".to_owned(), change_in_words(change, &names).into());
        }
        let ended = matches!(
            line.get("kind").and_then(Value::as_str),
            Some("operator" | "revoked" | "taken_over" | "finished" | "gone")
        );
        let lost = line.get_mut("agent").filter(|agent| ended && agent.is_object()).map(Value::take);
        if let Some(lost) = lost {
            line.insert("change".to_owned(), format!("ends the holding of {}", name(&lost)).into());
        } else if line.get("intent").and_then(Value::as_str) == Some("take_over") {
            let change = line.get("change").and_then(Value::as_str).unwrap_or_default();
            let told = format!("takes it over: {change}");
            line.insert("change".to_owned(), told.into());
        }
    }
    answer
}

pub(super) fn name(agent: &Value) -> String {
    let account = agent["account"].as_str().unwrap_or_default();
    agent["instance"].as_str().map_or_else(|| account.to_owned(), |instance| format!("{account} ({instance})"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_change_reads_as_words() {
        let names = json!({ "3": "in-progress", "4": "a, b]" });
        for (change, words) in [
            ("create ", "create"),
            ("create labels=[#3]", "create labels set to in-progress"),
            ("labels-=[#41]", "label 41 removed"),
            ("labels-=[#3]", "label in-progress removed"),
            ("labels+=[#3, todo]", "labels in-progress, todo added"),
            ("labels+=[#4] state=closed", "label a, b] added state=closed"),
            (
                "assignees=[ann] labels=[] state=open reviewers+=[bob]",
                "assignees=[ann] all labels removed state=open reviewers+=[bob]",
            ),
            // Cut, or nothing of the kind.
            ("labels+=[#3, to…", "labels+=[#3, to…"),
            ("assignees=[ann]", "assignees=[ann]"),
            ("", ""),
        ] {
            assert_eq!(change_in_words(change, &names), words, "{change}");
        }
    }
}
