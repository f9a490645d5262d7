//! Long texts: whoever may write one to an item decides by that nothing about who works on it.

use crate::support::{REPO, Told, World, number};
use bytes::Bytes;
use claimgate::dialect::{Filter, Order};
use claimgate::fake_forge::Options;
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
    let filter = Filter { project: Project::new("root/work"), labels: BTreeSet::new(), order: Order::Oldest };
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
    assert_eq!(number(&grant.resource), 1);
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

/// It is left out of what is sent, so that nothing of its outcome can stay unknown.
#[tokio::test(start_paused = true)]
async fn a_state_that_shows_is_not_sent_with_a_text() {
    let world = World::new();
    let open = |who: &'static str, body: &'static str| {
        let world = &world;
        async move { world.patch(who, 1, json!({ "state": "open", "body": body })).await }
    };
    open("dev-1", "nobody's yet").await.needs_no_write();
    world.claim("dev-1", 1).await.wins();
    let writes = world.writes(1);
    for who in ["dev-2", "dev-1", "supervisor"] {
        open(who, "x").await.needs_no_write();
    }
    // By itself it asks for nothing.
    world.reopen("dev-2", 1).await.needs_no_write();
    assert_eq!(world.writes(1), writes, "what is left of it is not the gate's to send");
    world.is_held_by(1, "dev-1").await;
    // With when it is to have been, or at which version, it is no edit of anything else.
    let told: Told =
        world.patch("dev-2", 1, json!({ "state": "open", "content_version": 1 })).await.loses("not_holder");
    assert_eq!(told.holder(), Some("dev-1"));
    // Parked, it is closed to nobody.
    world.close("dev-1", 1).await.wins();
    world.patch("dev-2", 1, json!({ "state": "closed", "body": "x" })).await.needs_no_write();
}

// === labels ===

/// So much of an answer is kept, as if each of these labels stood for thirty.
const KEPT: usize = 128 << 10;

/// Labels that nobody reads, each as long as it may be.
fn floods(world: &World, number: Option<u64>, count: usize, name: &str) {
    let name = format!("{name}{}", "f".repeat(240));
    world.forge.flood_labels((REPO, number), count, &name, &"\u{1}".repeat(255));
}

#[tokio::test(start_paused = true)]
async fn labels_without_end_close_no_item() {
    let world = World::new();
    world.claim("dev-1", 1).await.wins();
    floods(&world, Some(1), 300, "a");
    world.process().upstream.keep(KEPT);
    world.claim("dev-2", 1).await.loses("already_assigned");
    world.add_label("dev-1", 1, "in-progress").await.wins();
    let again = world.claim("dev-1", 1).await.needs_no_write();
    assert_eq!(again.body["labels"].as_array().map(Vec::len), Some(302), "the success is whole JSON");
    world.release("dev-1", 1).await.wins();
    world.is_held_by_nobody(1).await;
    world.claim("dev-2", 1).await.wins();
    world.close("dev-2", 1).await.wins();
}

/// A page that is too long is read in parts; what is too long by itself is passed over, and nothing else.
#[tokio::test(start_paused = true)]
async fn labels_without_end_take_no_work_from_the_others() {
    let world = World::new();
    let many: Vec<u64> = (0..60).map(|_| world.forge.add_issue(REPO, "work", &["backlog"], &[]).number).collect();
    for number in &many {
        floods(&world, Some(*number), 20, "b");
    }
    // By themselves as long as all that is kept.
    for number in [many[3], many[7]] {
        floods(&world, Some(number), 900, "c");
    }
    world.process().upstream.keep(KEPT);
    let mut found = BTreeSet::new();
    while let Some(Claimed::Granted(grant)) = world.ask_for("dev-1", next()).await {
        found.insert(number(&grant.resource));
    }
    let missing: Vec<&u64> = many.iter().filter(|number| !found.contains(*number)).collect();
    assert_eq!(missing, [&many[3], &many[7]]);
}

/// More labels than are looked through stand before it, by the names that they were given.
#[tokio::test(start_paused = true)]
async fn a_status_behind_more_labels_than_are_looked_through_can_be_set() {
    let world = World::with(|setup| setup.forge = Options::forgejo_17());
    world.forge.flood_labels((REPO, None), 2_100, "a", "");
    for n in [1, 2] {
        world.claim("dev-1", n).await.wins();
    }
    world.add_label("dev-1", 1, "in-progress").await.wins();
    let path = format!("/api/v1/repos/{REPO}/issues/2/labels");
    world.write("dev-1", "POST", &path, json!({ "labels": ["todo"] })).await.wins();
    let set = BTreeSet::from(["todo".to_owned()]);
    let labels = Relabelling { set, remove: BTreeSet::from(["backlog".to_owned()]) };
    let filter = Filter { project: Project::new("root/work"), labels: BTreeSet::new(), order: Order::Oldest };
    let call = ClaimCall::Next(Search { filter, exclude: BTreeSet::new(), limit: 100, labels });
    let Some(Claimed::Granted(grant)) = world.ask_for("dev-2", call).await else { panic!("nothing") };
    let shown = world.forge.issue(REPO, number(&grant.resource));
    assert!(shown.labels.iter().any(|label| label == "todo"), "{shown:?}");
    // What is no label is still told, by what the tracker made of it.
    let path = format!("/api/v1/repos/{REPO}/issues/{}/labels", number(&grant.resource));
    world.write("dev-2", "POST", &path, json!({ "labels": ["no-such-label"] })).await.is(403, "not_applied");
}
