//! `claimgate race`: the demo's table on the operator's own tracker.
//!
//! Scratch issues are made in a repository that the operator names, agents with the operator's tokens go for each of them at
//! once, directly and then through the gate, and the issues are closed again, whatever happens. Only the way differs between
//! the rows; nothing here judges: an agent has won when it believes so. The demo runs the same race on a forge in memory.

pub(crate) mod agent;
mod course;
pub(crate) mod tally;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use self::agent::{Agent, AnswerSigns, Entrance};
use self::course::{Issues, Scratch};
use self::tally::{Course, Tally, race, table};
use super::output;
use super::scan::parse_repo;
use super::table::{counted, plain};
use crate::model::Project;

/// `claimgate race`
#[derive(Debug, Args)]
pub struct RaceArgs {
    /// The address of your Forgejo or Gitea itself, past every gate
    #[arg(long, value_name = "URL")]
    pub forge: String,
    /// A gate's address, or whatever your agents call; again for several gates, over which the agents are spread
    #[arg(long, value_name = "URL", required = true)]
    pub through: Vec<String>,
    /// Where the scratch issues are made, owner/name. Its watchers are notified: take one that was made for this
    #[arg(long, value_name = "OWNER/NAME", value_parser = parse_repo)]
    pub repo: Project,
    /// A file of tokens, one a line, best of as many accounts; all must be able to write to the repository. They need
    /// the scopes write:issue, read:repository and read:user
    #[arg(long, value_name = "FILE")]
    pub tokens: PathBuf,
    /// How many agents race; by default one a token. Where there are more, they share accounts, each with a name of its own
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(2..=200))]
    pub agents: Option<u16>,
    /// For how many issues, directly and again through the gate
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=500))]
    pub issues: u16,
    /// Delete the issues afterwards, with the first token, which must be an administrator's of the repository; without it they are closed
    #[arg(long)]
    pub delete: bool,
    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
}

/// Both races.
struct Races {
    direct: Tally,
    through: Tally,
    /// What the gate side's answers said, by the way that they came.
    seen: Vec<(String, AnswerSigns)>,
}

/// Runs both races and prints the table. Fails unless each issue had one winner through the gate.
pub fn run(args: &RaceArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (races, left) = runtime.block_on(both(args))?;
    let is_clean = races.through.is_clean(args.issues.into());
    let verdict = races.verdict(args);
    if args.json {
        output::print_line(format_args!("{:#}", races.to_json(&verdict, &left)))?;
    } else {
        let through = format!("through {}", args.through.join(", "));
        let rows = [("directly".to_owned(), &races.direct), (through, &races.through)];
        output::print_line(format_args!("{}\n{}", table(&rows), verdict.join("\n")))?;
    }
    if !left.is_empty() {
        output::say(format_args!("warning: these issues could not be closed; close them by hand: {}", left.join(", ")));
    }
    Ok(if is_clean && left.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Both races; and which issues are left behind.
async fn both(args: &RaceArgs) -> anyhow::Result<(Races, Vec<String>)> {
    let mut scratch = Scratch::prepare(args).await?;
    if !args.json {
        output::print_line(scratch.introduction(args))?;
    }
    let progress = progress(args);
    let ended = tokio::select! {
        ended = run_both(args, &mut scratch, &progress) => ended,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    progress.set_message("closing the issues");
    let left = scratch.clear(args.delete).await;
    progress.finish_and_clear();
    let races = ended.inspect_err(|_| {
        if !left.is_empty() {
            output::say(format_args!("these issues could not be closed; close them by hand: {}", left.join(", ")));
        }
    })?;
    Ok((races, left))
}

async fn run_both(args: &RaceArgs, scratch: &mut Scratch, progress: &ProgressBar) -> anyhow::Result<Races> {
    let gates: Vec<Entrance> = args.through.iter().map(|url| Entrance::to(url)).collect::<Result<_, _>>()?;
    let forge = [scratch.forge.clone()];
    progress.set_message("directly");
    let (direct, _) = run_one(args, scratch, (&forge, Issues::Direct), progress).await?;
    progress.set_message("through the gate");
    let (through, agents) = run_one(args, scratch, (&gates, Issues::Through), progress).await?;
    let mut seen: Vec<(String, AnswerSigns)> = Vec::new();
    for agent in agents {
        let url = agent.way.url();
        let at = seen.iter().position(|(known, _)| known == url).unwrap_or_else(|| {
            seen.push((url.to_owned(), AnswerSigns::default()));
            seen.len() - 1
        });
        let of_way = &mut seen[at].1;
        of_way.without_a_gate += agent.seen.without_a_gate;
        of_way.observed += agent.seen.observed;
        of_way.odd = of_way.odd.take().or(agent.seen.odd);
    }
    Ok(Races { direct, through, seen })
}

/// One race; its issues are made before it, and marked with their winners after it.
async fn run_one(
    args: &RaceArgs,
    scratch: &mut Scratch,
    (ways, which): (&[Entrance], Issues),
    progress: &ProgressBar,
) -> anyhow::Result<(Tally, Vec<Agent>)> {
    let issues = scratch.make(args.issues.into(), which).await?;
    let mut agents = scratch.agents(ways);
    let repo = args.repo.as_str();
    let course = Course { repo, labels: scratch.labels, issues: &issues };
    let forge = scratch.reader();
    let end = async |number| forge.lock().await.assignees(repo, number).await;
    let tally = race(&course, &mut agents, end, progress).await?;
    scratch.won(&tally.winners, ways);
    Ok((tally, agents))
}

/// Drawn on standard error, and only if that is a terminal.
fn progress(args: &RaceArgs) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(2 * u64::from(args.issues)), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{msg} {bar:40} {pos}/{len} issues");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

// === impl Races ===

impl Races {
    fn to_json(&self, verdict: &[String], left: &[String]) -> Value {
        json!({
            "directly": self.direct.to_json(),
            "through": self.through.to_json(),
            "verdict": verdict,
            "left_open": left,
        })
    }

    /// What the table says, and where the gate side is not clean, what is wrong with the way.
    fn verdict(&self, args: &RaceArgs) -> Vec<String> {
        let mut said = vec![match self.direct.several + self.direct.none + self.direct.doubly {
            0 => "Directly the tracker got through it alone this time; with more agents or more issues it does not."
                .to_owned(),
            _ => "Directly: where two believe that they won, the work is done twice; where none does, not at all."
                .to_owned(),
        }];
        let issues = usize::from(args.issues);
        if self.through.is_clean(issues) {
            said.push(format!("Through the gate: each of {} had one winner.", counted(issues as u64, "issue")));
        } else {
            said.extend(self.faults());
        }
        said
    }

    /// Why issues had no single winner on the gate side, as far as the answers tell.
    fn faults(&self) -> Vec<String> {
        let mut said = Vec::new();
        let doubles = self.through.several + self.through.doubly + self.through.disagree > 0;
        if doubles {
            said.push("There is a hole: on the gate side, too, issues went to more than one agent.".to_owned());
        }
        let holes = self.seen.iter().filter(|(_, seen)| seen.without_a_gate > 0);
        said.extend(holes.map(|(url, seen)| {
            format!(
                "  {url} leads to the tracker past the gate: {} to claims came without the header Claimgate-Decision. Let \
                 nobody but the gate reach the tracker.",
                match seen.without_a_gate {
                    1 => "1 answer".to_owned(),
                    several => format!("{several} answers"),
                }
            )
        }));
        let observing = self.seen.iter().filter(|(_, seen)| seen.observed > 0);
        said.extend(observing.map(|(url, _)| {
            format!("  The gate at {url} only observes, and refuses nothing: `claimgate mode enforce` lets it.")
        }));
        if doubles && said.len() == 1 {
            said.push(if self.seen.len() > 1 {
                "  Each answer came from a gate, so the gates do not share a ledger; or somebody outside assigned these issues."
                    .to_owned()
            } else {
                "  Each answer came from the gate: `claimgate history ITEM` tells what it saw of each issue.".to_owned()
            });
        }
        said.extend(self.seen.iter().filter_map(|(_, seen)| Some(format!("  {}", plain(seen.odd.as_ref()?)))));
        if said.is_empty() {
            said.push("Some issues went to nobody on the gate side.".to_owned());
        }
        said
    }
}
