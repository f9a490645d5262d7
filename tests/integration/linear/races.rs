//! Eight agents at each of thirty issues at the same moment, over sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Barrier;

use super::fake::FakeLinear;
use super::{Agent, gate};
use crate::e2e::{agents, eventually, stop_and_verify};

const AGENTS: usize = 8;
const ISSUES: usize = 30;

/// The updates by which an agent takes an issue up, one after the other.
type Way = fn(user: &str, state: &str) -> Vec<Value>;

/// Lets all agents take up one issue: the names of those who were told that they have it.
async fn race(
    address: SocketAddr,
    linear: &FakeLinear,
    agents: &[String],
    way: Way,
) -> Vec<(String, String, Vec<String>)> {
    let mut all = Vec::new();
    for _ in 0..ISSUES {
        let issue = linear.issue("Todo");
        let id = linear.shown(&issue).id;
        let barrier = Arc::new(Barrier::new(agents.len()));
        let claims = agents.iter().enumerate().map(|(number, name)| {
            // By its identifier, in any case, and by its id.
            let named = [issue.clone(), issue.to_lowercase(), id.clone()][number % 3].clone();
            let updates = way(&linear.user(name), &linear.state("In Progress"));
            let (barrier, name) = (Arc::clone(&barrier), name.clone());
            tokio::spawn(async move {
                let mut agent = Agent::new(address, &name);
                barrier.wait().await;
                for update in updates {
                    if !agent.update(&named, update).await.is_success() {
                        return None;
                    }
                }
                Some(name)
            })
        });
        let claims: Vec<_> = claims.collect();
        let mut winners = Vec::new();
        for claim in claims {
            winners.extend(claim.await.expect("no panic"));
        }
        all.push((issue, id, winners));
    }
    all
}

async fn one_wins(way: Way, is_assigned: bool, is_moved: bool) {
    let names = agents(AGENTS);
    let people: Vec<&str> = names.iter().map(String::as_str).collect();
    let linear = FakeLinear::start(&people, &[]).await;
    let gate = gate(linear.addr, "").await;
    let raced = race(gate.address, &linear, &names, way).await;
    let mut steps = 0;
    for (issue, _, winners) in &raced {
        assert_eq!(winners.len(), 1, "{issue}: {winners:?}");
        let (state, assignee, _) = linear.stands(issue);
        assert_eq!(state == "In Progress", is_moved, "{issue} {state}");
        assert_eq!(assignee.as_ref(), winners.first().filter(|_| is_assigned), "{issue}");
        steps += way("", "").len();
    }
    // What the tracker was sent, the gate had let through, and nothing else.
    let log = linear.log();
    assert_eq!(log.len(), steps, "{log:?}");
    let is_whole = || async {
        let admitted = gate.audit().iter().filter(|line| line["decision"] == "admit").count();
        (admitted == steps).then_some(())
    };
    eventually(is_whole, Duration::from_secs(10)).await.expect("a line for each step");
    stop_and_verify(gate, ISSUES * AGENTS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_eight_is_assigned() {
    one_wins(|user, _| vec![json!({ "assigneeId": user })], true, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_eight_moves() {
    one_wins(|_, state| vec![json!({ "stateId": state })], false, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_eight_is_assigned_and_moves() {
    one_wins(|user, state| vec![json!({ "assigneeId": user }), json!({ "stateId": state })], true, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_eight_moves_and_is_assigned() {
    one_wins(|user, state| vec![json!({ "stateId": state }), json!({ "assigneeId": user })], true, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_eight_does_both_at_once() {
    one_wins(|user, state| vec![json!({ "stateId": state, "assigneeId": user })], true, true).await;
}

/// What the gate is for: the tracker itself tells everybody yes.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_gate_all_of_them_win() {
    let names = agents(AGENTS);
    let people: Vec<&str> = names.iter().map(String::as_str).collect();
    let linear = FakeLinear::start(&people, &[]).await;
    let raced = race(linear.addr, &linear, &names, |user, _| vec![json!({ "assigneeId": user })]).await;
    assert!(raced.iter().all(|(.., winners)| winners.len() == AGENTS), "{raced:?}");
}
