//! `claimgate scan`: what a gate would meet in the tracker as it is today.
//!
//! It reads and changes nothing, neither in the tracker nor in the ledger, and may run beside a gate.

mod findings;
pub(super) mod tracker;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use self::findings::{Finding, Judge};
use self::tracker::{Links, Listed, Tracker};
use super::table::{Column, counted, plain, render};
use super::{ConfigArgs, compose, output};
use crate::clock::SystemClock;
use crate::config::{Config, Loaded};
use crate::dialect::{Credential, ListedProject};
use crate::effect::Clock as _;
use crate::ledger::LedgerFile;
use crate::model::{Account, ItemRecord, Project, Tag};

/// `claimgate scan`
#[derive(Debug, Args)]
pub struct ScanArgs {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Only this repository, owner/name; may be given again. Without it every one that the service token sees
    #[arg(long = "repo", value_name = "OWNER/NAME", value_parser = parse_repo)]
    pub repos: Vec<Project>,
    /// The most requests that the tracker gets in a second
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rate: u32,
    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
    /// When to exit with code 3: if something was found, if not all could be read besides, or never
    #[arg(long, value_name = "WHAT", default_value = "findings")]
    pub fail_on: FailOn,
}

/// What makes the exit code 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// A finding
    Findings,
    /// A finding, or something that could not be looked through
    Incomplete,
    /// Nothing
    Never,
}

/// What was looked through, and what was found.
#[derive(Default)]
struct Scan {
    repositories: Vec<String>,
    /// Those that could not be looked through, or not to their end, and why.
    incomplete: Vec<String>,
    /// Those that were left out, and why.
    skipped: Vec<String>,
    items: usize,
    findings: Vec<Finding>,
}

const COLUMNS: [Column; 3] = [("FINDING", &["/kind"]), ("WHERE", &["/resource"]), ("WHAT", &["/detail"])];

/// The exit code of a scan that found what it was to fail on.
const FOUND: u8 = 3;

/// Prints a table, or JSON.
pub fn run(args: &ScanArgs, loaded: &Loaded) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let scan = runtime.block_on(scan(args, &loaded.config))?;
    for why in &scan.incomplete {
        output::say(format_args!("warning: {}", plain(why)));
    }
    let shown = if args.json { format!("{:#}\n", scan.to_json()) } else { scan.as_text() };
    output::print(shown)?;
    let (found, incomplete) = (!scan.findings.is_empty(), !scan.incomplete.is_empty());
    let fails = match args.fail_on {
        FailOn::Findings => found,
        FailOn::Incomplete => found || incomplete,
        FailOn::Never => false,
    };
    Ok(if fails { ExitCode::from(FOUND) } else { ExitCode::SUCCESS })
}

/// What the ledger says is held, where there is one.
async fn held(config: &Config) -> anyhow::Result<Vec<ItemRecord>> {
    #[cfg(feature = "postgres")]
    if matches!(config.ledger.url, crate::config::LedgerUrl::Postgres(_)) {
        return Ok(super::shared::connect(config).await?.active().await?);
    }
    let file = LedgerFile::open(&config.server.state_dir)?;
    Ok(file.map(|ledger| ledger.active()).transpose()?.unwrap_or_default())
}

async fn scan(args: &ScanArgs, config: &Config) -> anyhow::Result<Scan> {
    let service = compose::service(config)?;
    if service.is_none() {
        output::say("warning: upstream.service_token_file is not set: only what everybody may read is looked through");
    }
    let is_known = service.is_some();
    let mut tracker = Tracker::new(config, service.unwrap_or_else(Credential::default), args.rate)?;
    if is_known {
        tracker.check_token().await?;
    }
    let held = held(config).await?;
    let rules = compose::rules(config);
    let shared = config.identity.shared_accounts.iter().map(|name| Account::new(name)).collect();
    let judge = Judge { rules: &rules, shared: &shared, held, now: SystemClock::start().now() };
    let named = !args.repos.is_empty();
    let mut scan = Scan::default();
    if let Links::Elsewhere(link, public) = tracker.links(config).await? {
        scan.findings.push(Finding::of_links(&link, &public));
    }
    let listed = if named {
        args.repos.iter().map(as_named).collect()
    } else {
        tracker.repositories(&mut scan.incomplete).await?
    };
    for ListedProject { project, archived, issues, .. } in &listed {
        if *archived {
            scan.skipped.push(format!("{project}: it is archived"));
            continue;
        }
        match look_at(&mut tracker, &judge, project, *issues, &mut scan).await? {
            Listed::All(()) | Listed::Partly(()) => scan.repositories.push(project.to_string()),
            Listed::Denied(404) if !*issues => scan.skipped.push(format!("{project}: it has no issues")),
            Listed::Denied(status) if named => anyhow::bail!("the tracker answered {status} for {project}"),
            Listed::Denied(status) => scan.incomplete.push(format!("{project}: the tracker answered {status}")),
        }
    }
    scan.findings.sort_by_key(Finding::order);
    Ok(scan)
}

async fn look_at(
    tracker: &mut Tracker,
    judge: &Judge<'_>,
    project: &Project,
    issues: bool,
    scan: &mut Scan,
) -> anyhow::Result<Listed<()>> {
    let (labels, all): (Vec<Tag>, bool) = match tracker.labels(project, &mut scan.incomplete).await? {
        Listed::All(labels) => (labels, true),
        Listed::Partly(labels) => (labels, false),
        Listed::Denied(status) => return Ok(Listed::Denied(status)),
    };
    let open = match tracker.open_items(project, &mut scan.incomplete).await? {
        Listed::All(items) | Listed::Partly(items) => items,
        Listed::Denied(status) => return Ok(Listed::Denied(status)),
    };
    let closed = tracker.closed_items(project, &judge.working_labels(&labels), &mut scan.incomplete).await?;
    scan.items += open.len() + closed.len();
    // Without issues nobody looks for work there.
    if issues {
        scan.findings.extend(judge.labels(project, &labels, all));
    }
    scan.findings.extend(open.iter().chain(&closed).flat_map(|item| judge.item(item)));
    let assigned = open.iter().flat_map(|item| item.assignees.iter().cloned()).collect();
    let denied = tracker.without_access(project, &assigned).await;
    scan.findings.extend(judge.without_access(&open, &denied));
    scan.findings.extend(judge.held_elsewhere(project, &open));
    Ok(Listed::All(()))
}

/// One that was named is looked through, whatever it is.
fn as_named(project: &Project) -> ListedProject {
    ListedProject { project: project.clone(), archived: false, issues: true, writable: None }
}

pub(super) fn parse_repo(text: &str) -> Result<Project, String> {
    let parts =
        text.split_once('/').filter(|(owner, name)| !owner.is_empty() && !name.is_empty() && !name.contains('/'));
    let (owner, name) = parts
        .with_context(|| format!("`{text}` is not a repository: write it as owner/name"))
        .map_err(|e| e.to_string())?;
    Ok(Project::new(&format!("{owner}/{name}")))
}

// === impl Scan ===

impl Scan {
    fn to_json(&self) -> Value {
        json!({
            "repositories": self.repositories,
            "incomplete": self.incomplete,
            "skipped": self.skipped,
            "items": self.items,
            "findings": self.findings.iter().map(Finding::to_json).collect::<Vec<_>>(),
        })
    }

    fn as_text(&self) -> String {
        let rows: Vec<Value> = self.findings.iter().map(Finding::to_json).collect();
        let (items, repositories) = (self.items as u64, self.repositories.len() as u64);
        let of = format!("{} of {}", counted(items, "item"), counted(repositories, "repository"));
        let mut kinds: Vec<(&str, u64)> = Vec::new();
        for finding in &self.findings {
            match kinds.iter_mut().find(|(kind, _)| *kind == finding.kind()) {
                Some((_, count)) => *count += 1,
                None => kinds.push((finding.kind(), 1)),
            }
        }
        let kinds: Vec<String> = kinds.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        let mut out = match rows.len() as u64 {
            0 => format!("nothing found in {of}\n"),
            found => format!("{} in {of}: {}\n", counted(found, "finding"), kinds.join(", ")),
        };
        let (skipped, incomplete) = (self.skipped.join("; "), self.incomplete.len() as u64);
        if !skipped.is_empty() {
            out.extend(["left out: ", &plain(&skipped), "\n"]);
        }
        if incomplete > 0 {
            out.extend(["incomplete, as the ", &counted(incomplete, "warning"), " above says\n"]);
        }
        if !rows.is_empty() {
            out.extend(["\n", &render(&rows, &COLUMNS)]);
        }
        out
    }
}
