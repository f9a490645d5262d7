//! Eight agents claim each of thirty issues at the same moment, by the calls that agents really make: what each is told, and
//! who is assigned.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde_json::json;
use tokio::sync::Barrier;

use super::fake::FakeGitHub;
use super::{agent, assignees, eight, gate, issue};
use crate::e2e::{Client, stop_and_verify};

pub const ISSUES: usize = 30;

/// How the races ended.
#[derive(Debug, Default, PartialEq, Eq)]
struct Ends {
    one_winner: usize,
    double: usize,
    none: usize,
}

/// The claim of shell agents: POST, then a look at who is assigned. Every other one sends a PATCH instead.
async fn claims(client: Client, login: String, at: usize, number: u64, barrier: Arc<Barrier>) -> bool {
    let mut reader = Client::new(client.address, &login).with("user-agent", "test").below(&client.prefix);
    if !told_that_it_has_it(client, login.clone(), at, number, barrier).await {
        return false;
    }
    let shown = reader.get(&issue(number)).await.json();
    shown["assignees"].as_array().is_some_and(|all| all.iter().any(|one| one["login"] == login.as_str()))
}

async fn told_that_it_has_it(mut client: Client, login: String, at: usize, number: u64, barrier: Arc<Barrier>) -> bool {
    barrier.wait().await;
    let (method, path) = if at.is_multiple_of(2) {
        (Method::POST, issue(number) + "/assignees")
    } else {
        (Method::PATCH, issue(number))
    };
    let told = client.call(method, &path, Some(assignees(&[&login]))).await;
    if told.status >= 300 {
        assert_eq!(told.code(), "already_assigned", "{told:?}");
        assert!(told.json()["message"].as_str().is_some_and(|text| text.contains("is held by")), "{told:?}");
        return false;
    }
    true
}

/// Each agent by a client of its own: `client` gives the one of an agent by its number, with the login that it claims for.
async fn race(github: &FakeGitHub, repo: u64, client: impl Fn(usize) -> (Client, String)) -> Ends {
    let mut ends = Ends::default();
    for round in 0..ISSUES {
        let number = github.add_issue(repo, "acme", &format!("work {round}"));
        let barrier = Arc::new(Barrier::new(8));
        let each = (0..8).map(|at| {
            let (client, login) = client(at);
            tokio::spawn(claims(client, login, at, number, Arc::clone(&barrier)))
        });
        let mut winners = 0;
        for claim in each.collect::<Vec<_>>() {
            winners += usize::from(claim.await.expect("no panic"));
        }
        match winners {
            0 => ends.none += 1,
            1 => ends.one_winner += 1,
            _ => ends.double += 1,
        }
    }
    ends
}

const WON: Ends = Ends { one_winner: ISSUES, double: 0, none: 0 };

#[tokio::test(flavor = "multi_thread")]
async fn of_eight_agents_one_gets_each_issue() {
    let (github, repo, agents) = eight().await;
    github.answer_late(Duration::from_millis(2));
    let gate = gate(&github, "").await;
    let ends = race(&github, repo, |at| (agent(&gate, &agents[at]), agents[at].clone())).await;
    assert_eq!(ends, WON);
    for number in 1..=ISSUES as u64 {
        assert_eq!(github.issue(repo, number).assignees.len(), 1, "{number}");
    }
    stop_and_verify(gate, ISSUES * 8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_eight_agents_behind_one_account_one_gets_each_issue() {
    let (github, repo, agents) = eight().await;
    let gate = gate(&github, "[identity]\nshared_accounts = [\"agent-0\"]\n").await;
    let client = |at: usize| (agent(&gate, &agents[0]).below(&format!("/as/worker-{at}")), agents[0].clone());
    let ends = race(&github, repo, client).await;
    assert_eq!(ends, WON);
    stop_and_verify(gate, ISSUES * 8).await;
}

/// GitHub may answer a read from a copy that trails its writes.
#[tokio::test(flavor = "multi_thread")]
async fn of_eight_agents_one_gets_each_issue_though_reads_trail_writes() {
    let (github, repo, agents) = eight().await;
    let gate = gate(&github, "").await;
    github.trail_writes(2);
    let barrier = || Arc::new(Barrier::new(8));
    for round in 0..5 {
        let number = github.add_issue(repo, "acme", &format!("work {round}"));
        let barrier = barrier();
        let each = agents.iter().enumerate().map(|(at, login)| {
            let claim = told_that_it_has_it(agent(&gate, login), login.clone(), at, number, Arc::clone(&barrier));
            tokio::spawn(claim)
        });
        let mut winners = Vec::new();
        for (claim, login) in each.collect::<Vec<_>>().into_iter().zip(&agents) {
            winners.extend(claim.await.expect("no panic").then(|| login.clone()));
        }
        assert_eq!(winners, github.issue(repo, number).assignees);
        assert_eq!(winners.len(), 1);
    }
    stop_and_verify(gate, 5 * 8).await;
}

/// What the gate is for: GitHub itself takes both.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_gate_several_believe_that_they_have_it() {
    let (github, repo, agents) = eight().await;
    let number = github.add_issue(repo, "acme", "work");
    for login in &agents[..2] {
        let mut client = Client::new(github.addr(), login).with("user-agent", "test");
        let told =
            client.call(Method::POST, &(issue(number) + "/assignees"), Some(json!({ "assignees": [login] }))).await;
        assert_eq!(told.status, 201);
    }
    assert_eq!(github.issue(repo, number).assignees, agents[..2]);
}
