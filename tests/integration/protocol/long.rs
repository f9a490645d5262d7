//! Long texts: whoever may write one to an item decides by that nothing about who works on it.

use crate::support::{REPO, Told, World};
use bytes::Bytes;
use claimgate::dialect::{Filter, Order};
use claimgate::gate::{ClaimCall, Claimed, Grant, Relabelling, Search};
use claimgate::model::{AttemptState, Project};
use claimgate::upstream::{CUT, LONGEST_ANSWER};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Longer than any answer that is kept, and much longer once the tracker has escaped it.
fn long() -> String {
    "\u{1}\\\"é\n".repeat(LONGEST_ANSWER / 12)
}

/// What the gate lets through without a look: a text, by whoever may write.
async fn writes_text(world: &World, who: &str, n: u64, text: &str) {
    let request = http::Request::patch(format!("/api/v1/repos/{REPO}/issues/{n}"))
        .header("authorization", format!("token {who}"))
        .header("content-type", "application/json")
        .body(Bytes::from(json!({ "body": text }).to_string()));
    let answer = world.forge.call(request.unwrap()).await.unwrap();
    assert_eq!(answer.status, 201);
}

fn next() -> ClaimCall {
    let filter = Filter { project: Project::new("root", "work"), labels: BTreeSet::new(), order: Order::Oldest };
    ClaimCall::Next(Search { filter, exclude: BTreeSet::new(), limit: 100, labels: Relabelling::default() })
}

async fn finds(world: &World, who: &str) -> Grant {
    match world.ask_for(who, next()).await {
        Some(Claimed::Granted(grant)) => *grant,
        other => panic!("{who}: {other:?}"),
    }
}

#[track_caller]
fn is_cut(text: &Value) {
    assert!(text.as_str().is_some_and(|text| text.ends_with(CUT)), "a text that is not whole says so");
}

// === one item ===

#[tokio::test(start_paused = true)]
async fn a_long_text_of_anothers_closes_no_item() {
    let world = World::new();
    world.claim("dev-1", 1).await.wins();
    writes_text(&world, "dev-2", 1, &long()).await;
    writes_text(&world, "dev-2", 2, &long()).await;
    // Who holds it moves it, hears of its claim again, and lets go of it; who does not is told so.
    world.add_label("dev-1", 1, "in-progress").await.wins();
    world.claim("dev-2", 1).await.loses("already_assigned");
    is_cut(&world.claim("dev-1", 1).await.needs_no_write().body["body"]);
    world.release("dev-1", 1).await.wins();
    world.is_held_by_nobody(1).await;
    // The next one claims and closes it.
    world.claim("dev-2", 1).await.wins();
    world.close("dev-2", 1).await.wins();
    is_cut(&world.claim("dev-3", 2).await.wins().body["body"]);
    world.is_held_by(2, "dev-3").await;
}

#[tokio::test(start_paused = true)]
async fn a_long_text_in_a_guarded_write_leaves_no_doubt() {
    let world = World::new();
    world.patch("dev-1", 1, json!({ "assignees": ["dev-1"], "body": long() })).await.wins();
    world.patch("dev-1", 1, json!({ "state": "closed", "body": long() })).await.wins();
    assert_eq!(world.states(1).await, [AttemptState::Committed, AttemptState::Committed]);
    let path = format!("/api/v1/repos/{REPO}/issues");
    let new = json!({ "title": "new", "body": long(), "assignees": ["dev-2"] });
    let made = world.write("dev-2", "POST", &path, new).await.wins();
    world.is_held_by(made.body["number"].as_u64().unwrap(), "dev-2").await;
}

#[tokio::test(start_paused = true)]
async fn a_text_that_fits_is_handed_back_as_it_is() {
    let world = World::new();
    let text = "x".repeat(LONGEST_ANSWER / 2);
    writes_text(&world, "dev-2", 1, &text).await;
    world.claim("dev-1", 1).await.wins();
    assert_eq!(world.claim("dev-1", 1).await.needs_no_write().body["body"], text);
}

// === lists ===

#[tokio::test(start_paused = true)]
async fn long_texts_on_a_list_hide_no_work() {
    let world = World::with(|setup| setup.issues = 50);
    for n in 1..=50 {
        writes_text(&world, "dev-2", n, &"x".repeat(85_000)).await;
    }
    writes_text(&world, "dev-2", 50, &long()).await;
    let grant = finds(&world, "dev-1").await;
    assert_eq!(grant.resource.number, 1);
    // What is handed out is a read of that item alone, which fits.
    let item: Value = serde_json::from_slice(&grant.item.unwrap()).unwrap();
    assert_eq!(item["body"].as_str().map(str::len), Some(85_000));
}

#[tokio::test(start_paused = true)]
async fn work_with_a_long_text_is_handed_out() {
    let world = World::with(|setup| setup.issues = 1);
    writes_text(&world, "dev-2", 1, &long()).await;
    let item: Value = serde_json::from_slice(&finds(&world, "dev-1").await.item.unwrap()).unwrap();
    is_cut(&item["body"]);
    world.is_held_by(1, "dev-1").await;
}

// === a state that shows already ===

/// Sent along with a text it would take the item's turn, and its outcome might not be known.
#[tokio::test(start_paused = true)]
async fn who_does_not_hold_an_item_sends_no_state_with_a_text() {
    let world = World::new();
    let open = |who: &'static str, body: &'static str| {
        let world = &world;
        async move { world.patch(who, 1, json!({ "state": "open", "body": body })).await }
    };
    open("dev-1", "nobody's yet").await.wins();
    world.claim("dev-1", 1).await.wins();
    let writes = world.writes(1);
    let told: Told = open("dev-2", "x").await.loses("not_holder");
    assert_eq!(told.holder(), Some("dev-1"));
    // By itself it asks for nothing.
    world.reopen("dev-2", 1).await.needs_no_write();
    assert_eq!(world.writes(1), writes);
    open("dev-1", "its holder's").await.wins();
    open("supervisor", "an overrider's").await.wins();
    // Parked, it is closed to nobody.
    world.close("dev-1", 1).await.wins();
    world.patch("dev-2", 1, json!({ "state": "closed", "body": "x" })).await.wins();
}
