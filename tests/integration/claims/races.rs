//! Many agents, one winner.

use std::time::{Duration, Instant};

use claimgate::fake_forge::{FakeForge, Vices};
use futures_util::future::join_all;

use crate::e2e::{self, Answer, Client, Gate, REPO, Setup};

/// A forge that writes by delete and insert, the last writer winning.
fn slow(write: u64) -> Vices {
    Vices { write_delay: Duration::from_millis(write), ..Vices::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_forty_issues_goes_to_one_of_sixteen_agents() {
    let logins = e2e::agents(16);
    let forge = e2e::forge(&logins.iter().map(String::as_str).collect::<Vec<_>>()).await;
    forge.set_vices(slow(5));
    let gate = e2e::gate(&forge).await;
    let mut agents: Vec<Client> = logins.iter().map(|login| gate.agent(login)).collect();
    for _ in 0..40 {
        let number = e2e::backlog_issue(&forge).number;
        let answers = join_all(agents.iter_mut().map(|agent| agent.claim(number))).await;
        let winner = only_winner(&logins, &answers);
        let after = forge.issue(REPO, number);
        assert_eq!(after.assignees, [winner], "the forge shows the winner");
        assert!(forge.max_assignees_ever(REPO, number) <= 1, "never two at once");
        assert_eq!(gate.holder(number).await.as_deref(), Some(winner), "the ledger holds the winner");
    }
    e2e::stop_and_verify(gate, 16 * 40).await;
}

/// The one whose claim was granted; all others were told that it is assigned.
#[track_caller]
fn only_winner<'a>(logins: &'a [String], answers: &[Answer]) -> &'a str {
    let (won, lost): (Vec<_>, Vec<_>) = logins.iter().zip(answers).partition(|(_, answer)| answer.status == 201);
    assert_eq!(won.len(), 1, "one winner: {answers:?}");
    won[0].1.granted();
    for (_, answer) in lost {
        answer.refused(409, "already_assigned");
    }
    won[0].0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_hundred_at_once_cost_the_forge_a_handful_of_requests() {
    herd(400, 0).await;
    herd(400, 5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_at_once_cost_it_no_more() {
    herd(1000, 0).await;
    herd(1000, 5).await;
}

/// So many known agents claim one issue at the same moment.
async fn herd(count: usize, delay: u64) {
    const MOST: usize = 5;
    let logins = e2e::agents(count);
    let forge = e2e::forge(&logins.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let setup = Setup::before(&forge.base_url()).config("[server]\nmax_connections_per_client = 0");
    let gate = setup.start().await;
    let number = e2e::backlog_issue(&forge).number;
    let (mut agents, looked) = acquainted(&gate, &logins, number).await;
    let millis = Duration::from_millis(delay);
    forge.set_vices(Vices { read_delay: millis, answer_delay: millis, ..slow(delay) });
    forge.clear_log();
    let started = now();
    let answers = join_all(agents.iter_mut().map(|agent| agent.claim(number))).await;
    let took = started.elapsed();
    let winner = only_winner(&logins, &answers);
    let seen = forge.requests_about(REPO, number).len();
    // Who looked longer ago than just now looks once more.
    let late = looked.iter().filter(|at| started.duration_since(**at) > Duration::from_millis(1500)).count();
    eprintln!("{count} at once, {delay} ms: {seen} requests at the forge, {took:?}");
    assert!(seen <= MOST + late, "{seen} requests, {late} late: {}", told(&forge));
    assert_eq!(forge.issue(REPO, number).assignees, [winner]);
    assert_eq!(gate.holder(number).await.as_deref(), Some(winner));
    e2e::stop_and_verify(gate, count).await;
}

/// Agents that have asked who they are and looked at the issue, each over the connection that it keeps, and when.
async fn acquainted(gate: &Gate, logins: &[String], number: u64) -> (Vec<Client>, Vec<Instant>) {
    let mut agents: Vec<Client> = logins.iter().map(|login| gate.agent(login)).collect();
    for some in agents.chunks_mut(50) {
        join_all(some.iter_mut().map(async |agent| {
            assert_eq!(agent.get("/api/v1/user").await.status, 200);
        }))
        .await;
    }
    let mut looked = Vec::new();
    for some in agents.chunks_mut(50) {
        looked.extend(std::iter::repeat_n(now(), some.len()));
        join_all(some.iter_mut().map(async |agent| {
            assert_eq!(agent.get(&e2e::issue(number)).await.status, 200);
        }))
        .await;
    }
    (agents, looked)
}

fn told(forge: &FakeForge) -> String {
    let lines: Vec<String> =
        forge.requests().iter().map(|entry| format!("{} {}", entry.method, entry.target)).collect();
    lines.join("\n")
}

#[allow(clippy::disallowed_methods, reason = "how long ago an agent looked, and a figure for the reader")]
fn now() -> Instant {
    Instant::now()
}

also_as_forgejo_17! {
    each_of_forty_issues_goes_to_one_of_sixteen_agents,
    four_hundred_at_once_cost_the_forge_a_handful_of_requests,
}
