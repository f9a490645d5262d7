//! The race itself, and the count of what its agents believe afterwards.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::agent::{Agent, Prize, WorkLabels};

/// The issues to race for.
pub(crate) struct Course<'a> {
    /// `owner/name`.
    pub(crate) repo: &'a str,
    /// The labels of work, where the repository has them.
    pub(crate) labels: Option<WorkLabels>,
    /// Their numbers.
    pub(crate) issues: &'a [u64],
}

/// What came of a race.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Issues that exactly one agent believes to have won.
    pub(crate) single: usize,
    /// Issues that two or more do.
    pub(crate) several: usize,
    /// Issues that nobody does.
    pub(crate) none: usize,
    /// Issues that end with two or more assignees.
    pub(crate) doubly: usize,
    /// Issues with one winner where the tracker shows something else than that winner alone.
    pub(crate) disagree: usize,
    /// Requests that the tracker saw, where that is known.
    pub(crate) requests: Option<usize>,
    /// How long the agents took.
    pub(crate) took: Duration,
    /// Who believes to have won, by issue.
    pub(crate) winners: Vec<(u64, Vec<usize>)>,
}

/// Lets all agents go for each issue at once. `end` tells who is assigned to an issue afterwards.
pub(crate) async fn race(
    course: &Course<'_>,
    agents: &mut [Agent],
    end: impl AsyncFn(u64) -> anyhow::Result<Vec<String>>,
    progress: &ProgressBar,
) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    for &number in course.issues {
        let prize = Prize { repo: course.repo, number, labels: course.labels };
        let started = now();
        let believes = try_join_all(agents.iter_mut().map(|agent| agent.claim(prize))).await?;
        tally.took += started.elapsed();
        let winners: Vec<usize> = (0..agents.len()).filter(|at| believes[*at]).collect();
        let logins = winners.iter().map(|at| agents[*at].identity.login.clone()).collect();
        tally.count(&logins, &winners, end(number).await?);
        tally.winners.push((number, winners));
        progress.inc(1);
    }
    Ok(tally)
}

#[allow(clippy::disallowed_methods, reason = "the race measures real time, in no simulation")]
fn now() -> Instant {
    Instant::now()
}

// === impl Tally ===

impl Tally {
    /// Whether each issue went to exactly one agent, and the tracker agrees.
    pub(crate) fn is_clean(&self, issues: usize) -> bool {
        self.single == issues && self.several == 0 && self.none == 0 && self.doubly == 0 && self.disagree == 0
    }

    fn count(&mut self, logins: &BTreeSet<String>, winners: &[usize], assigned: Vec<String>) {
        match winners.len() {
            0 => self.none += 1,
            1 => self.single += 1,
            _ => self.several += 1,
        }
        let assigned: BTreeSet<String> = assigned.into_iter().collect();
        if assigned.len() > 1 {
            self.doubly += 1;
        }
        if winners.len() == 1 && assigned != *logins {
            self.disagree += 1;
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({
            "one_winner": self.single,
            "two_or_more": self.several,
            "none": self.none,
            "two_assignees": self.doubly,
            "disagree": self.disagree,
            "seconds": (self.took.as_secs_f64() * 10.0).round() / 10.0,
        })
    }
}

/// A row for each race; the requests where they are known.
pub(crate) fn table(rows: &[(String, &Tally)]) -> String {
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0).max(16);
    let counted = rows.iter().any(|(_, tally)| tally.requests.is_some());
    let requests = |text: &str| if counted { format!("{text:>24}") } else { String::new() };
    let mut text = format!(
        "{:width$}{:>12}{:>15}{:>8}{:>17}{}{:>10}\n",
        "",
        "one winner",
        "two or more",
        "none",
        "two assignees",
        requests("requests at the forge"),
        "time"
    );
    for (name, tally) in rows {
        let time = format!("{:.1} s", tally.took.as_secs_f64());
        let requests = requests(&tally.requests.map_or_else(|| "-".to_owned(), |count| count.to_string()));
        let Tally { single, several, none, doubly, .. } = tally;
        let _ = writeln!(text, "{name:width$}{single:>12}{several:>15}{none:>8}{doubly:>17}{requests}{time:>10}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(single: usize, several: usize, none: usize) -> Tally {
        Tally { single, several, none, took: Duration::from_millis(1250), ..Tally::default() }
    }

    #[test]
    fn the_columns_stand_below_their_headings() {
        let (without, through) = (tally(24, 1, 5), Tally { requests: Some(7), ..tally(30, 0, 0) });
        for rows in [
            [("directly".to_owned(), &without), ("through the gate".to_owned(), &through)],
            [("directly".to_owned(), &without), ("through http://127.0.0.1:8480".to_owned(), &without)],
        ] {
            let text = table(&rows);
            let lengths: Vec<usize> = text.lines().map(|line| line.chars().count()).collect();
            assert_eq!(lengths, [lengths[0]; 3]);
            assert!(text.lines().nth(1).is_some_and(|line| line.contains("24") && line.contains("1.2 s")), "{text}");
        }
    }

    #[test]
    fn clean_is_one_winner_each_and_a_tracker_that_agrees() {
        for (tally, clean) in [
            (tally(30, 0, 0), true),
            (tally(29, 1, 0), false),
            (tally(29, 0, 1), false),
            (tally(29, 0, 0), false),
            (Tally { disagree: 1, ..tally(30, 0, 0) }, false),
            (Tally { doubly: 1, ..tally(30, 0, 0) }, false),
        ] {
            assert_eq!(tally.is_clean(30), clean, "{tally:?}");
        }
    }

    #[test]
    fn one_winner_whom_the_tracker_does_not_show_is_a_disagreement() {
        let names = |names: &[&str]| -> Vec<String> { names.iter().map(|name| (*name).to_owned()).collect() };
        for (winners, assigned, doubly, disagree) in [
            (&["ann"][..], &["ann"][..], 0, 0),
            (&["ann"], &["bob"], 0, 1),
            (&["ann"], &["ann", "bob"], 1, 1),
            (&["ann", "bob"], &["ann", "bob"], 1, 0),
            (&[], &["ann"], 0, 0),
        ] {
            let mut tally = Tally::default();
            let numbers: Vec<usize> = (0..winners.len()).collect();
            tally.count(&names(winners).into_iter().collect(), &numbers, names(assigned));
            assert_eq!((tally.doubly, tally.disagree), (doubly, disagree), "{winners:?} {assigned:?}");
        }
    }
}
