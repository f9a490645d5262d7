//! `claimgate demo`: agents race for the issues of a forge in memory, without and with the gate.
//!
//! Both runs are the same agents with the same protocol and the same haste on the same kind of forge; only the base URL
//! differs. Nothing here judges: an agent has won when it believes so, and the table counts beliefs.

mod track;

use std::process::ExitCode;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use self::track::Plan;
use super::output;
use super::race::tally::{Tally, table};

/// `claimgate demo`
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// How many agents race
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    pub agents: u16,
    /// For how many issues
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..))]
    pub issues: u16,
}

/// Runs both races and prints the table. Fails unless the gate gave each issue to exactly one agent.
pub fn run(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    let plan = Plan { agents: args.agents.into(), issues: args.issues.into() };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    output::print_line(introduction(plan))?;
    let (without, through) = runtime.block_on(both(plan))?;
    output::print_line(table(&[("without the gate".to_owned(), &without), ("through the gate".to_owned(), &through)]))?;
    if through.is_clean(plan.issues) {
        output::print_line(what_next(&without))?;
        return Ok(ExitCode::SUCCESS);
    }
    output::print_line(
        "The gate did not keep its promise: each issue should have exactly one winner, and the forge should agree.",
    )?;
    Ok(ExitCode::FAILURE)
}

async fn both(plan: Plan) -> anyhow::Result<(Tally, Tally)> {
    let progress = progress(plan);
    progress.set_message("without the gate");
    let without = track::without_gate(plan, &progress).await?;
    progress.set_message("through the gate");
    let through = track::through_gate(plan, &progress).await?;
    progress.finish_and_clear();
    Ok((without, through))
}

/// Drawn on standard error, and only if that is a terminal.
fn progress(plan: Plan) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(2 * plan.issues as u64), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{msg} {bar:40} {pos}/{len} issues");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn introduction(plan: Plan) -> String {
    let Plan { agents, issues } = plan;
    format!(
        "{agents} agents go for each of {issues} issues at once. Each looks whether it is free, assigns itself, and looks\n\
         again whether it is the one that is assigned. The forge is in memory and writes as Forgejo does: delete, then insert.\n"
    )
}

fn what_next(without: &Tally) -> String {
    let seen = match without.several + without.none {
        0 => "This time the forge got through it alone; with more agents (--agents) it does not.",
        _ => "Where two believe that they won, the work is done twice; where none does, not at all.",
    };
    format!(
        "{seen}\nNext: claimgate serve --upstream http://your-forge:3000, and give your agents http://127.0.0.1:8480 instead."
    )
}
