//! `claimgate scan`: what a gate would meet in the tracker as it is today.
//!
//! It reads and changes nothing, neither in the tracker nor in the ledger, and may run beside a gate.

mod findings;
mod tracker;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};

use self::findings::{Finding, Judge};
use self::tracker::{Listed, Tracker};
use super::table::{Column, plain, render};
use super::{ConfigArgs, compose, output};
use crate::clock::SystemClock;
use crate::config::{Config, Loaded};
use crate::dialect::Credential;
use crate::effect::Clock as _;
use crate::ledger::LedgerFile;
use crate::model::{Label, Login, Project};

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
}

/// What was looked through, and what was found.
#[derive(Default)]
struct Scan {
    repositories: Vec<String>,
    /// Those that could not be looked through, or not to their end, and why.
    incomplete: Vec<String>,
    items: usize,
    findings: Vec<Finding>,
}

const COLUMNS: [Column; 3] = [("FINDING", &["/kind"]), ("WHERE", &["/resource"]), ("WHAT", &["/detail"])];

/// Prints a table, or JSON. What was found is no failure.
pub fn run(args: &ScanArgs, loaded: &Loaded) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let scan = runtime.block_on(scan(args, &loaded.config))?;
    for why in &scan.incomplete {
        output::say(format_args!("warning: {}", plain(why)));
    }
    let shown = if args.json { format!("{:#}\n", scan.to_json()) } else { scan.as_text() };
    output::print(shown)?;
    Ok(ExitCode::SUCCESS)
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
    let held = LedgerFile::open(&config.server.state_dir)?.map(|ledger| ledger.active()).transpose()?;
    let rules = compose::rules(config);
    let shared = config.identity.shared_accounts.iter().map(|name| Login::new(name)).collect();
    let judge =
        Judge { rules: &rules, shared: &shared, held: held.unwrap_or_default(), now: SystemClock::start().now() };
    let named = !args.repos.is_empty();
    let mut scan = Scan::default();
    let repositories = if named { args.repos.clone() } else { tracker.repositories(&mut scan.incomplete).await? };
    for project in &repositories {
        match look_at(&mut tracker, &judge, project, &mut scan).await? {
            Listed::All(()) => scan.repositories.push(project.to_string()),
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
    scan: &mut Scan,
) -> anyhow::Result<Listed<()>> {
    let labels: Vec<Label> = match tracker.labels(project, &mut scan.incomplete).await? {
        Listed::All(labels) => labels,
        Listed::Denied(status) => return Ok(Listed::Denied(status)),
    };
    let open = match tracker.open_items(project, &mut scan.incomplete).await? {
        Listed::All(items) => items,
        Listed::Denied(status) => return Ok(Listed::Denied(status)),
    };
    let closed = tracker.closed_items(project, &judge.working_labels(&labels), &mut scan.incomplete).await?;
    scan.items += open.len() + closed.len();
    scan.findings.extend(judge.labels(project, &labels));
    scan.findings.extend(open.iter().chain(&closed).flat_map(|item| judge.item(item)));
    scan.findings.extend(judge.held_elsewhere(project, &open));
    Ok(Listed::All(()))
}

fn parse_repo(text: &str) -> Result<Project, String> {
    let parts =
        text.split_once('/').filter(|(owner, name)| !owner.is_empty() && !name.is_empty() && !name.contains('/'));
    let (owner, name) = parts
        .with_context(|| format!("`{text}` is not a repository: write it as owner/name"))
        .map_err(|e| e.to_string())?;
    Ok(Project::new(owner, name))
}

// === impl Scan ===

impl Scan {
    fn to_json(&self) -> Value {
        json!({
            "repositories": self.repositories,
            "incomplete": self.incomplete,
            "items": self.items,
            "findings": self.findings.iter().map(Finding::to_json).collect::<Vec<_>>(),
        })
    }

    fn as_text(&self) -> String {
        let rows: Vec<Value> = self.findings.iter().map(Finding::to_json).collect();
        let of = format!("{} items of {} repositories", self.items, self.repositories.len());
        match rows.len() {
            0 => format!("nothing found in {of}\n"),
            found => format!("{}\n{found} findings in {of}\n", render(&rows, &COLUMNS)),
        }
    }
}
