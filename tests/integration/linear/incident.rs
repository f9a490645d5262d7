//! Two managers plan the same issue within seconds of each other, each for a parent of its own; and fleets that only move.

use serde_json::json;

use super::fake::FakeLinear;
use super::{Agent, gate};
use crate::e2e::stop_and_verify;

/// Where whoever plans an issue is to be its holder.
const PLANNERS_HOLD: &str = "
[[workflow.move]]
from = [\"Backlog\"]
to = \"todo\"
by = \"holder\"
[[workflow.move]]
from = [\"Todo\"]
to = \"in progress\"
by = \"holder\"
";

#[tokio::test(flavor = "multi_thread")]
async fn of_two_managers_one_moves_an_issue_and_the_other_is_told_who_did() {
    let linear = FakeLinear::start(&["bot"], &[]).await;
    let gate = gate(linear.addr, PLANNERS_HOLD).await;
    let (one, two) = (linear.issue("Backlog"), linear.issue("Backlog"));
    let todo = json!({ "stateId": linear.state("Todo") });
    let mut first = Agent::named(gate.address, "bot", "manager-1");
    let mut second = Agent::named(gate.address, "bot", "manager-2");
    first.update(&one, todo.clone()).await.wins();
    let told = second.update(&one, todo.clone()).await.loses("already_assigned");
    assert!(told.contains("manager-1"), "{told}");
    // The same again by its holder: the same success, and nothing is sent.
    let sent = linear.log().len();
    let upper = json!({ "stateId": linear.state("Todo").to_uppercase() });
    let again = first.update(&one.to_lowercase(), upper).await;
    assert_eq!(again.wins().body()["data"]["issueUpdate"]["issue"]["state"]["name"], "Todo");
    assert!(again.0.decision().starts_with("noop"), "{}", again.0.decision());
    assert_eq!(linear.log().len(), sent);
    // Another issue is nobody's matter but its own.
    second.update(&two, todo).await.wins();
    // The other manager's move further on is the holder's as well.
    let progress = json!({ "stateId": linear.state("In Progress") });
    second.update(&one, progress.clone()).await.loses("already_assigned");
    first.update(&one, progress).await.wins();
    assert_eq!(linear.log().len(), 3);
    stop_and_verify(gate, 6).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_the_defaults_who_plans_does_not_hold_and_who_comes_second_is_refused() {
    let linear = FakeLinear::start(&["ann", "bob"], &[]).await;
    let gate = gate(linear.addr, "").await;
    let issue = linear.issue("Backlog");
    let (mut ann, mut bob) = (Agent::new(gate.address, "ann"), Agent::new(gate.address, "bob"));
    let todo = json!({ "stateId": linear.state("Todo") });
    ann.update(&issue, todo.clone()).await.wins();
    let told = bob.update(&issue, todo).await.loses("wrong_source_state");
    assert!(told.contains("status todo") && told.contains("ann moved it there"), "{told}");
    // Whoever takes it up then may be another.
    bob.update(&issue, json!({ "stateId": linear.state("In Progress") })).await.wins();
    stop_and_verify(gate, 3).await;
}

/// As Symphony does: nobody is ever assigned, and each agent begins by moving to where it works.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_fleet_that_only_moves_the_first_holds() {
    let linear = FakeLinear::start(&["bot"], &[]).await;
    let gate = gate(linear.addr, "").await;
    let issue = linear.issue("Todo");
    let mut one = Agent::named(gate.address, "bot", "one");
    let mut two = Agent::named(gate.address, "bot", "two");
    let progress = json!({ "stateId": linear.state("In Progress") });
    one.update(&issue, progress.clone()).await.wins();
    // "In Progress to In Progress": by another a refusal, by the holder a success without a send.
    let told = two.update(&issue, progress.clone()).await.loses("already_assigned");
    assert!(told.contains("one"), "{told}");
    let again = one.update(&issue, progress).await;
    assert!(again.wins().0.decision().starts_with("noop"), "{}", again.0.decision());
    let review = json!({ "stateId": linear.state("In Review") });
    two.update(&issue, review.clone()).await.loses("not_holder");
    one.update(&issue, review).await.wins();
    assert_eq!(linear.log(), ["bot issueUpdate", "bot issueUpdate"]);
    stop_and_verify(gate, 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_told_and_nothing_is_sent() {
    let linear = FakeLinear::start(&["ann"], &[]).await;
    let gate = gate(linear.addr, "").await;
    let mut ann = Agent::new(gate.address, "ann");
    let told = ann.update("ENG-404", json!({ "stateId": linear.state("Todo") })).await;
    assert_eq!(told.body()["errors"][0]["message"], "Entity not found: Issue");
    let mut stranger = Agent::new(gate.address, "stranger");
    let told = stranger.update("ENG-1", json!({ "stateId": linear.state("Todo") })).await;
    assert_eq!(
        (told.0.status, &told.0.json()["errors"][0]["extensions"]["code"]),
        (401, &json!("AUTHENTICATION_ERROR"))
    );
    // The hourly limit: its answer goes back as it came, and is counted.
    let issue = linear.issue("Todo");
    linear.store().left = Some(0);
    let told = ann.update(&issue, json!({ "stateId": linear.state("Todo") })).await;
    assert_eq!((told.0.status, &told.0.json()["errors"][0]["extensions"]["code"]), (400, &json!("RATELIMITED")));
    linear.store().left = None;
    assert!(linear.log().is_empty(), "{:?}", linear.log());
    stop_and_verify(gate, 0).await;
}
