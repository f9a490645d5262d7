//! `claimgate demo`: agents race for the issues of a forge in memory, without and with the gate.
//!
//! Both runs are the same agents with the same protocol and the same haste on the same kind of forge; only the base URL
//! differs. Nothing here judges: an agent has won when it believes so, and the table counts beliefs.

mod agent;
mod race;

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use self::race::{Plan, Tally};
use super::output;

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
    output::print_line(table(&[("without the gate", &without), ("through the gate", &through)]))?;
    if through.is_clean(plan) {
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
    let without = race::without_gate(plan, &progress).await?;
    progress.set_message("through the gate");
    let through = race::through_gate(plan, &progress).await?;
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

fn table(rows: &[(&str, &Tally)]) -> String {
    let mut text = format!(
        "{:18}{:>12}{:>15}{:>8}{:>24}{:>10}\n",
        "", "one winner", "two or more", "none", "requests at the forge", "time"
    );
    for (name, tally) in rows {
        let time = format!("{:.1} s", tally.took.as_secs_f64());
        let Tally { single, several, none, requests, .. } = tally;
        let _ = writeln!(text, "{name:18}{single:>12}{several:>15}{none:>8}{requests:>24}{time:>10}");
    }
    text
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn tally(single: usize, several: usize, none: usize) -> Tally {
        Tally { single, several, none, disagree: 0, requests: 7, took: Duration::from_millis(1250) }
    }

    #[test]
    fn the_columns_stand_below_their_headings() {
        let text = table(&[("without the gate", &tally(24, 1, 5)), ("through the gate", &tally(30, 0, 0))]);
        let lengths: Vec<usize> = text.lines().map(|line| line.chars().count()).collect();
        assert_eq!(lengths, [lengths[0]; 3]);
        assert!(text.lines().nth(1).is_some_and(|line| line.contains("24") && line.contains("1.2 s")), "{text}");
    }

    #[test]
    fn clean_is_one_winner_each_and_a_forge_that_agrees() {
        let plan = Plan { agents: 8, issues: 30 };
        for (tally, clean) in [
            (tally(30, 0, 0), true),
            (tally(29, 1, 0), false),
            (tally(29, 0, 1), false),
            (tally(29, 0, 0), false),
            (Tally { disagree: 1, ..tally(30, 0, 0) }, false),
        ] {
            assert_eq!(tally.is_clean(plan), clean, "{tally:?}");
        }
    }
}
