//! `claimgate report`: the audit summed up, for the day of an incident.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::admin::check_item;
use super::table::{Column, plain, render};
use super::{ConfigArgs, output};
use crate::audit::report::{Report, Scope};
use crate::clock::SystemClock;
use crate::config::{Config, Loaded, parse_duration};
use crate::effect::Clock as _;
use crate::ledger::LedgerFile;

/// `claimgate report`
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The audit, oldest file first, or - for standard input; without it audit.file and its older files, or the
    /// ledger in the state directory
    #[arg(value_name = "FILE|-")]
    pub files: Vec<PathBuf>,
    /// Only from this time on: RFC 3339, or how long ago, such as 2h
    #[arg(long, value_name = "T", value_parser = parse_since)]
    pub since: Option<Since>,
    /// Only this item, owner/repo#number
    #[arg(long, value_name = "ITEM", value_parser = check_item)]
    pub item: Option<String>,
    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
}

/// Where a report begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// At a time.
    At(Timestamp),
    /// So long before now.
    Ago(Duration),
}

/// A list of the report: its name, heading and columns.
type Section = (&'static str, &'static str, &'static [Column]);

const ITEMS: [Column; 11] = tallied(("ITEM", &["/item"]));
const AGENTS: [Column; 11] = tallied(("AGENT", &["/agent"]));
const OVERLAPS: [Column; 7] = overlapping(("REFUSED", &["/refused"]));
const OBSERVED: [Column; 7] = overlapping(("OBSERVED", &["/observed"]));
const WAITS: [Column; 5] = [
    ("WAITED (ms)", &["/waited_ms"]),
    ("ITEM", &["/item"]),
    ("AGENT", &["/agent"]),
    ("OUTCOME", &["/outcome"]),
    ("TIME", &["/time"]),
];
const HELD: [Column; 5] = [
    ("ITEM", &["/item"]),
    ("AGENT", &["/agent"]),
    ("SINCE", &["/since"]),
    ("LAST DECISION", &["/heard"]),
    ("STALE", &["/stale"]),
];
const SECTIONS: [Section; 6] = [
    ("items", "By item", &ITEMS),
    ("agents", "By agent", &AGENTS),
    ("overlaps", "Who was refused because of whom", &OVERLAPS),
    ("observed_overlaps", "Who would have been refused because of whom, by rules that only observe", &OBSERVED),
    ("waits", "Longest waits", &WAITS),
    ("held", "Held at the end, by these lines", &HELD),
];
/// Lines read from the ledger at once.
const BATCH: usize = 4096;

const fn tallied(of: Column) -> [Column; 11] {
    [
        of,
        ("GRANTED", &["/granted"]),
        ("REFUSED", &["/refused"]),
        ("OBSERVED", &["/observed"]),
        ("DOUBTS", &["/doubts"]),
        ("CONTESTED", &["/contested"]),
        ("REVOKED", &["/revoked"]),
        ("BY HAND", &["/operator"]),
        ("LONGEST WAIT (ms)", &["/longest_wait_ms"]),
        ("REFUSALS", &["/refusals"]),
        ("WOULD HAVE BEEN REFUSED", &["/observations"]),
    ]
}

const fn overlapping(who: Column) -> [Column; 7] {
    [
        ("ITEM", &["/item"]),
        who,
        ("BECAUSE OF", &["/because_of"]),
        ("TIMES", &["/count"]),
        ("CODES", &["/codes"]),
        ("FIRST", &["/first"]),
        ("LAST", &["/last"]),
    ]
}

/// Prints tables, or JSON.
pub fn run(args: &ReportArgs, loaded: &Loaded) -> anyhow::Result<ExitCode> {
    let now = Timestamp::from_microsecond(SystemClock::start().now().0)?;
    let since = args.since.map(|since| since.at(now)).transpose()?;
    let stale_after = loaded.config.assignment.stale_after;
    let mut report = Report::new(Scope { since, item: args.item.clone(), stale_after });
    read(&mut report, args, &loaded.config)?;
    if report.unreadable() > 0 {
        output::say(format_args!("warning: {} lines are no audit lines and were left out", report.unreadable()));
    }
    let sums = report.to_json(now);
    let shown = if args.json { format!("{sums:#}\n") } else { as_text(&sums) };
    output::print(shown)?;
    Ok(ExitCode::SUCCESS)
}

// === reading ===

fn read(report: &mut Report, args: &ReportArgs, config: &Config) -> anyhow::Result<()> {
    let files = match (&args.files[..], &config.audit.file) {
        ([], None) => return read_ledger(report, &config.server.state_dir),
        ([], Some(file)) => crate::audit::files(file),
        (named, _) => named.to_vec(),
    };
    files.iter().try_for_each(|path| read_file(report, path).with_context(|| format!("cannot read {}", path.display())))
}

fn read_file(report: &mut Report, path: &Path) -> io::Result<()> {
    if path == Path::new("-") {
        return report.read(io::stdin().lock());
    }
    report.read(BufReader::new(File::open(path)?))
}

/// The ledger keeps every line, whether or not it was printed.
fn read_ledger(report: &mut Report, state_dir: &Path) -> anyhow::Result<()> {
    let Some(ledger) = LedgerFile::open(state_dir)? else {
        bail!(
            "there is no audit to read: name its file or - for standard input; audit.file is not set, and {} has no ledger",
            state_dir.display()
        );
    };
    let mut after = 0;
    loop {
        let lines = ledger.lines(after, BATCH)?;
        let Some((last, _)) = lines.last() else { return Ok(()) };
        after = *last;
        for (_, line) in &lines {
            report.add(line.as_bytes());
        }
    }
}

// === printing ===

fn as_text(sums: &Value) -> String {
    let word = |name: &str| sums[name].as_str().map_or_else(|| "-".to_owned(), plain);
    let mut out = format!("{} lines, from {} until {}\n", sums["lines"], word("since"), word("until"));
    for (name, heading, columns) in SECTIONS {
        let rows: Vec<Value> = sums[name].as_array().into_iter().flatten().map(flat).collect();
        if !rows.is_empty() {
            out.extend(["\n", heading, ":\n", &render(&rows, columns)]);
        }
    }
    out
}

/// A row whose counts by name are one text.
fn flat(row: &Value) -> Value {
    let Some(members) = row.as_object() else { return row.clone() };
    let flat = members.iter().map(|(name, value)| match value {
        Value::Object(counts) => (name.clone(), counts_in_words(counts)),
        other => (name.clone(), other.clone()),
    });
    Value::Object(flat.collect())
}

fn counts_in_words(counts: &Map<String, Value>) -> Value {
    let words: Vec<String> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
    if words.is_empty() { Value::Null } else { Value::from(words.join(", ")) }
}

// === impl Since ===

impl Since {
    fn at(self, now: Timestamp) -> anyhow::Result<Timestamp> {
        match self {
            Self::At(time) => Ok(time),
            Self::Ago(span) => now.checked_sub(span).context("--since lies before all time"),
        }
    }
}

fn parse_since(text: &str) -> Result<Since, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(Since::At(time));
    }
    let wrong = |_| format!("`{text}` is neither a time, such as 2026-01-31T12:00:00Z, nor how long ago, such as 2h");
    parse_duration(text).map(Since::Ago).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since() {
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        for (text, at) in [
            ("2h", Some("2026-01-31T10:00:00Z")),
            ("1d", Some("2026-01-30T12:00:00Z")),
            ("2026-01-31T11:00:00Z", Some("2026-01-31T11:00:00Z")),
            ("2026-01-31T11:00:00+02:00", Some("2026-01-31T09:00:00Z")),
            ("2026-01-31", None),
            ("yesterday", None),
            ("2", None),
            ("", None),
        ] {
            let got = parse_since(text).map(|since| since.at(now).unwrap().to_string());
            assert_eq!(got.as_ref().ok().map(String::as_str), at, "{text}: {got:?}");
        }
    }
}
