//! `claimgate report`: the audit summed up, for the day of an incident.

use std::collections::BTreeMap;
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
use super::table::{Column, counted, plain, render, to_the_second};
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
    /// Only from this time on: RFC 3339, a date or a date and time (both UTC), or how long ago, such as 2h
    #[arg(long, value_name = "T", value_parser = parse_since)]
    pub since: Option<Since>,
    /// Only before this time, written the same way
    #[arg(long, value_name = "T", value_parser = parse_since)]
    pub until: Option<Since>,
    /// Only what this agent did, and who was refused because of it: ACCOUNT, or "ACCOUNT (INSTANCE)"
    #[arg(long, value_name = "AGENT")]
    pub agent: Option<String>,
    /// The most rows of each table; 0: all of them. Without it 20 rows, and all of them as JSON
    #[arg(long, value_name = "N")]
    pub top: Option<usize>,
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

const ITEMS: [Column; 13] = tallied(("ITEM", &["/item"]));
const AGENTS: [Column; 13] = tallied(("AGENT", &["/agent"]));
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
const TAKEN_OVER: [Column; 4] = [("TIME", &["/time"]), ("ITEM", &["/item"]), ("FROM", &["/agent"]), ("HOW", &["/how"])];
const EDITS: [Column; 4] = [("TIME", &["/time"]), ("ITEM", &["/item"]), ("BY", &["/by"]), ("WHAT", &["/what"])];
const SECTIONS: [Section; 8] = [
    ("items", "By item", &ITEMS),
    ("agents", "By agent", &AGENTS),
    ("overlaps", "Who was refused because of whom", &OVERLAPS),
    ("observed_overlaps", "Who would have been refused because of whom, by rules that only observe", &OBSERVED),
    ("edits", "Edited outside the gate, and by people whom only the tracker knows", &EDITS),
    ("taken_over", "Taken over from silent holders", &TAKEN_OVER),
    ("waits", "Longest waits", &WAITS),
    ("held", "Held at the end, by these lines", &HELD),
];
/// Rows of a table, unless more or fewer are asked for.
const TOP: usize = 20;
/// Lines read from the ledger at once.
const BATCH: usize = 4096;

const fn tallied(of: Column) -> [Column; 13] {
    [
        of,
        ("GRANTED", &["/granted"]),
        ("REFUSED", &["/refused"]),
        ("OBSERVED", &["/observed"]),
        ("DOUBTS", &["/doubts"]),
        ("CONTESTED", &["/contested"]),
        ("REVOKED", &["/revoked"]),
        ("TAKEN OVER", &["/taken_over"]),
        ("BY HAND", &["/operator"]),
        ("LONGEST WAIT (ms)", &["/longest_wait_ms"]),
        ("GRANTS", &["/grants"]),
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
    let at = |time: Option<Since>| time.map(|time| time.at(now)).transpose();
    let (since, until) = (at(args.since)?, at(args.until)?);
    let stale_after = loaded.config.assignment.stale_after;
    let mut report =
        Report::new(Scope { since, until, item: args.item.clone(), agent: args.agent.clone(), stale_after });
    read(&mut report, args, &loaded.config)?;
    if report.unreadable() > 0 {
        let left_out = counted(report.unreadable(), "line");
        output::say(format_args!("warning: no audit line, and left out: {left_out}"));
    }
    let mut sums = report.to_json(now);
    let top = args.top.unwrap_or(if args.json { 0 } else { TOP });
    let left_out = cut(&mut sums, top);
    let shown = if args.json { format!("{sums:#}\n") } else { as_text(&sums, &left_out) };
    output::print(shown)?;
    Ok(ExitCode::SUCCESS)
}

// === reading ===

fn read(report: &mut Report, args: &ReportArgs, config: &Config) -> anyhow::Result<()> {
    let files = match (&args.files[..], &config.audit.file) {
        ([], None) => return read_own(report, config),
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

/// The ledger of this configuration.
fn read_own(report: &mut Report, config: &Config) -> anyhow::Result<()> {
    #[cfg(feature = "postgres")]
    if let crate::config::LedgerUrl::Postgres(_) = &config.ledger.url {
        const NOTE: &str =
            "lines that were printed long ago are in the gates' audit files only; name these to have them counted";
        output::say(format_args!("note: {NOTE}"));
        return super::shared::run(config, async |ledger| {
            Ok(ledger.each_line(&mut |line| report.add(line.as_bytes())).await?)
        });
    }
    read_ledger(report, &config.server.state_dir)
}

/// The ledger keeps lines whether or not they were printed, the older ones only until they were.
fn read_ledger(report: &mut Report, state_dir: &Path) -> anyhow::Result<()> {
    let Some(ledger) = LedgerFile::open(state_dir)? else {
        bail!(
            "there is no audit to read: name its file or - for standard input; audit.file is not set, and {} has no ledger",
            state_dir.display()
        );
    };
    let pruned = ledger.pruned()?.to_string();
    if !pruned.is_empty() {
        output::say(format_args!("note: {pruned}; name its files to have them counted"));
    }
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

/// Leaves so many rows of each list; how many of each were left out.
fn cut(sums: &mut Value, top: usize) -> BTreeMap<&'static str, usize> {
    let mut left_out = BTreeMap::new();
    for (name, ..) in SECTIONS {
        let Some(rows) = sums[name].as_array_mut().filter(|rows| top > 0 && rows.len() > top) else { continue };
        left_out.insert(name, rows.len() - top);
        rows.truncate(top);
    }
    left_out
}

fn as_text(sums: &Value, left_out: &BTreeMap<&str, usize>) -> String {
    let mut out = summary(sums);
    for (name, heading, columns) in SECTIONS {
        let rows: Vec<Value> = sums[name].as_array().into_iter().flatten().map(flat).collect();
        if !rows.is_empty() {
            out.extend(["\n", heading, ":\n", &render(&rows, columns)]);
        }
        if let Some(more) = left_out.get(name) {
            out.extend(["... and ", &counted(*more as u64, "row"), " more; --top 0 shows all\n"]);
        }
    }
    out
}

/// What somebody in a hurry wants to know, in five lines.
fn summary(sums: &Value) -> String {
    let totals = &sums["totals"];
    let number = |name: &str| totals[name].as_u64().unwrap_or(0);
    let time = |name: &str| sums[name].as_str().map_or_else(|| "-".to_owned(), |text| plain(&to_the_second(text)));
    let by_kind = |name: &str| match &totals[name] {
        Value::Object(counts) if !counts.is_empty() => format!(" ({})", words(counts)),
        _ => String::new(),
    };
    let lines = [
        format!(
            "{} about {} and {}, from {} until {}.",
            counted(sums["lines"].as_u64().unwrap_or(0), "line"),
            counted(number("items"), "item"),
            counted(number("agents"), "agent"),
            time("since"),
            time("until"),
        ),
        format!("Granted: {}{}.", number("granted"), by_kind("grants")),
        format!(
            "Refused: {}{}. Rules that only observe would have refused {} more{}.",
            number("refused"),
            by_kind("refusals"),
            number("observed"),
            by_kind("observations"),
        ),
        format!(
            "In doubt: {}, of which {} landed. Contested: {}. Ended by an outside edit: {}. By the operator: {}.{}{}",
            number("doubts"),
            number("landed"),
            number("contested"),
            number("revoked"),
            number("operator"),
            if_any("Taken over from silent holders", number("taken_over")),
            if_any("Ended because the item is closed or gone", number("finished")),
        ),
        format!("Held at the end: {}, of which {} stale.", counted(number("held"), "item"), number("stale")),
    ];
    lines.join("\n") + "\n"
}

/// A sentence about what happened seldom.
fn if_any(what: &str, count: u64) -> String {
    if count == 0 { String::new() } else { format!(" {what}: {count}.") }
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
    if counts.is_empty() { Value::Null } else { Value::from(words(counts)) }
}

fn words(counts: &Map<String, Value>) -> String {
    counts.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
}

// === impl Since ===

impl Since {
    fn at(self, now: Timestamp) -> anyhow::Result<Timestamp> {
        match self {
            Self::At(time) => Ok(time),
            Self::Ago(span) => now.checked_sub(span).context("that lies before all time"),
        }
    }
}

fn parse_since(text: &str) -> Result<Since, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(Since::At(time));
    }
    // Of a date alone midnight.
    let civil = text.parse::<jiff::civil::DateTime>().map(|at| jiff::tz::TimeZone::UTC.to_timestamp(at));
    if let Ok(Ok(time)) = civil {
        return Ok(Since::At(time));
    }
    let wrong = |_| {
        format!("`{text}` is no time, such as 2026-01-31 or 2026-01-31T12:00:00Z, and not how long ago, such as 2h")
    };
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
            ("2026-01-31", Some("2026-01-31T00:00:00Z")),
            ("2026-01-31T11:30", Some("2026-01-31T11:30:00Z")),
            ("2026-01-32", None),
            ("yesterday", None),
            ("2", None),
            ("", None),
        ] {
            let got = parse_since(text).map(|since| since.at(now).unwrap().to_string());
            assert_eq!(got.as_ref().ok().map(String::as_str), at, "{text}: {got:?}");
        }
    }
}
