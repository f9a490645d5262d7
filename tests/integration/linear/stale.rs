//! A Linear whose reads trail its writes.

use std::time::Duration;

use serde_json::json;

use super::fake::FakeLinear;
use super::{Agent, gate};
use crate::e2e::stop_and_verify;

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_trails_a_write_admits_nobody_and_refuses_nobody() {
    let linear = FakeLinear::start(&["ann", "bob"], &[]).await;
    let gate = gate(linear.addr, "").await;
    let (mut ann, mut bob) = (Agent::new(gate.address, "ann"), Agent::new(gate.address, "bob"));
    linear.store().lag = Duration::from_millis(400);
    for _ in 0..3 {
        let issue = linear.issue("Todo");
        // The read-back trails, and the claim is told as what it is.
        ann.update(&issue, json!({ "assigneeId": linear.user("ann") })).await.wins();
        bob.update(&issue, json!({ "assigneeId": linear.user("bob") })).await.loses("already_assigned");
        ann.update(&issue, json!({ "assigneeId": null })).await.wins();
        bob.update(&issue, json!({ "assigneeId": linear.user("bob") })).await.wins();
        assert_eq!(linear.stands(&issue).1.as_deref(), Some("bob"));
    }
    stop_and_verify(gate, 12).await;
}

/// Longer than anybody waits: what came of the write is not known, and nobody else gets the issue meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn reads_that_trail_for_long_leave_the_outcome_in_doubt() {
    let linear = FakeLinear::start(&["ann", "bob"], &[]).await;
    let gate = gate(linear.addr, "").await;
    let (mut ann, mut bob) = (Agent::new(gate.address, "ann"), Agent::new(gate.address, "bob"));
    let issue = linear.issue("Todo");
    linear.store().lag = Duration::from_mins(50);
    ann.update(&issue, json!({ "assigneeId": linear.user("ann") })).await.loses("outcome_unknown");
    bob.update(&issue, json!({ "assigneeId": linear.user("bob") })).await.loses("in_doubt");
    linear.store().lag = Duration::ZERO;
    ann.update(&issue, json!({ "assigneeId": linear.user("ann") })).await.wins();
    // The first of the two writes may still land, for as long as the tracker may take.
    bob.update(&issue, json!({ "assigneeId": linear.user("bob") })).await.loses("in_doubt");
    stop_and_verify(gate, 3).await;
}
