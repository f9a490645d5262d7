//! An item that shows before the send what the send is for, such as one left in progress that nobody is assigned to: what
//! shows afterwards is no sign that the tracker took it.

use crate::support::{Q, REPO, World};
use claimgate::fake_forge::{Fault, Matcher};
use claimgate::model::AttemptState;
use serde_json::json;
use std::time::Duration;

/// The item that was left in progress.
const LEFT: u64 = 4;

fn world() -> World {
    let world = World::new();
    world.forge.add_user("reader", "reader");
    world.forge.grant_read("reader", REPO);
    world.forge.add_issue(REPO, "left in progress", &["in-progress"], &[]);
    world
}

fn labelling() -> Matcher {
    Matcher::new("POST", format!("/issues/{LEFT}/labels"))
}

#[tokio::test(start_paused = true)]
async fn whoever_the_tracker_refuses_holds_nothing() {
    let world = world();
    world.add_label("reader", LEFT, "in-progress").await.is(403, "");
    assert_eq!(world.states(LEFT).await, [AttemptState::Refused]);
    world.is_held_by_nobody(LEFT).await;
    world.claim("dev-2", LEFT).await.wins();
    world.is_held_by(LEFT, "dev-2").await;
}

#[tokio::test(start_paused = true)]
async fn a_500_after_which_nothing_can_be_seen_makes_no_holder() {
    let world = world();
    world.forge.script(Fault::ErrorBeforeWrite(500), labelling());
    world.add_label("dev-1", LEFT, "in-progress").await.is(500, "");
    world.is_held_by_nobody(LEFT).await;
    world.add_label("dev-1", LEFT, "in-progress").await.wins();
    world.is_held_by(LEFT, "dev-1").await;
}

/// What shows does not end the doubt before its time: the write may yet land.
#[tokio::test(start_paused = true)]
async fn a_doubt_over_what_showed_before_lasts() {
    let world = world();
    world.forge.script(Fault::CutBefore, labelling());
    world.add_label("dev-1", LEFT, "in-progress").await.is(504, "outcome_unknown");
    world.claim("dev-2", LEFT).await.loses("in_doubt");
    world.is_held_by_nobody(LEFT).await;
    // Not even in the next life, which knows it from the ledger alone.
    world.restart();
    world.claim("dev-2", LEFT).await.loses("in_doubt");
    world.wait(Q + Duration::from_secs(1)).await;
    world.claim("dev-2", LEFT).await;
    assert!(world.record(LEFT).await.doubts.is_empty());
}

/// A holder without an assignee who releases, and says when that is to have been.
#[tokio::test(start_paused = true)]
async fn a_release_that_shows_nothing_is_no_release_once_it_is_refused() {
    let world = world();
    world.add_label("dev-1", LEFT, "in-progress").await.wins();
    let release = || json!({ "assignees": [], "updated_at": "2026-07-01T00:00:00Z" });
    world.next_write(LEFT, Fault::ErrorBeforeWrite(500));
    world.patch("dev-1", LEFT, release()).await.is(500, "");
    world.is_held_by(LEFT, "dev-1").await;
    world.next_write(LEFT, Fault::Zombie(Q / 2));
    world.patch("dev-1", LEFT, release()).await.is(504, "outcome_unknown");
    world.claim("dev-2", LEFT).await.loses("in_doubt");
    world.is_held_by(LEFT, "dev-1").await;
}
