//! Silence counts only while it could have been broken, and whoever loses an item by it is told.

use crate::support::{Moment, REPO, Trap, World, address_of};
use claimgate::dialect::Address;
use claimgate::fake_forge::Fault;
use serde_json::Value;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);

fn address(n: u64) -> Address {
    address_of(n)
}

/// `dev-1` holds item 1; who is silent for an hour loses its item, for half an hour is flagged.
async fn held() -> World {
    let world = World::with(|setup| {
        (setup.rules.assignment.stale_after, setup.rules.assignment.takeover_after) = (Some(HOUR / 2), Some(HOUR));
    });
    world.knows_readers(3).await;
    world.claim("dev-1", 1).await.wins();
    world
}

impl World {
    async fn kinds(&self, kind: &str) -> Vec<Value> {
        self.lines().await.into_iter().filter(|line| line["kind"] == kind).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn the_gates_own_absence_is_no_silence() {
    let world = held().await;
    world.process().life.freeze();
    world.wait(HOUR * 3).await;
    world.restart();
    world.claim("dev-2", 1).await.loses("already_assigned");
    world.wait(HOUR * 3 / 4).await;
    world.claim("dev-2", 1).await.loses("already_assigned");
    let gate = world.process().gate.clone();
    assert!(gate.is_stale(&world.record(1).await));
    world.wait(HOUR / 2).await;
    world.claim("dev-2", 1).await.wins();
    world.log_is_sound().await;
}

#[tokio::test(start_paused = true)]
async fn the_trackers_absence_is_no_silence() {
    let world = held().await;
    world.wait(HOUR / 4).await;
    world.forge_is_away(true);
    world.claim("dev-2", 1).await.is(502, "upstream_unreadable");
    world.wait(HOUR * 3).await;
    let gate = world.process().gate.clone();
    assert!(!gate.is_stale(&world.record(1).await));
    world.forge_is_away(false);
    world.claim("dev-2", 1).await.loses("already_assigned");
    world.wait(HOUR * 3 / 4).await;
    world.claim("dev-2", 1).await.loses("already_assigned");
    world.wait(HOUR / 2).await;
    world.claim("dev-2", 1).await.wins();
}

/// Its requests reach the gate, whatever the tracker makes of them.
#[tokio::test(start_paused = true)]
async fn a_holder_is_heard_by_what_fails() {
    for passes in [true, false] {
        let world = held().await;
        let gate = world.process().gate.clone();
        for _ in 0..2 {
            world.wait(HOUR * 3 / 4).await;
            if passes {
                gate.missed_read(&world.credential("dev-1"), None, Some(&address(1)));
            } else {
                world.forge_is_away(true);
                world.close("dev-1", 1).await.is(502, "upstream_unreadable");
                world.forge_is_away(false);
            }
            // One request that fails is no outage.
            gate.notice_answer(Some(claimgate::dialect::AnswerClass::Success));
        }
        world.claim("dev-2", 1).await.loses("already_assigned");
        world.wait(HOUR + SECOND).await;
        world.claim("dev-2", 1).await.wins();
    }
}

/// A move that a rule refuses is a sign of life, too.
#[tokio::test(start_paused = true)]
async fn a_holder_is_heard_by_what_is_refused() {
    let world = held().await;
    world.wait(HOUR * 3 / 4).await;
    world.hand_over("dev-1", "dev-3", 1).await.wins();
    world.wait(HOUR * 3 / 4).await;
    world.patch("dev-3", 1, serde_json::json!({ "assignees": ["dev-3", "dev-2"] })).await.loses("multiple_assignees");
    world.wait(HOUR * 3 / 4).await;
    world.claim("dev-2", 1).await.loses("already_assigned");
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_slept_heard_nobody() {
    let world = held().await;
    let gate = world.process().gate.clone();
    let watch = tokio::spawn(gate.clone().watch(Duration::from_mins(1)));
    world.wait(HOUR / 4).await;
    world.clock.suspend(HOUR * 3);
    world.claim("dev-2", 1).await.loses("already_assigned");
    world.wait(HOUR + 2 * SECOND).await;
    world.claim("dev-2", 1).await.wins();
    watch.abort();
}

#[tokio::test(start_paused = true)]
async fn a_take_over_is_seen_and_its_loser_is_told() {
    let world = held().await;
    world.wait(HOUR + 12 * SECOND).await;
    let taken = world.claim("dev-2", 1).await.wins();
    let [line] = world.kinds("taken_over").await.try_into().expect("one line");
    assert_eq!((line["agent"]["account"].as_str(), line["id"].as_str()), (Some("dev-1"), Some(&*taken.id)));
    assert_eq!((&line["holder"], &line["intent"]), (&Value::Null, &Value::from("take_over")));
    assert_eq!(line["reason"], "taken over by dev-2 after 3612 s of silence");
    assert_eq!(world.process().gate.ports().metrics.taken_over.get(), 1);
    for _ in 0..2 {
        for told in [world.close("dev-1", 1).await, world.claim("dev-1", 1).await, world.release("dev-1", 1).await] {
            let message = told.body["message"].as_str().unwrap().to_owned();
            assert!(message.contains("you lost it at 2026-"), "{message}");
            assert!(message.ends_with("taken over by dev-2 after 3612 s of silence"), "{message}");
        }
        // It outlives the process.
        world.restart();
    }
    let message = world.claim("dev-3", 1).await.loses("already_assigned").body["message"].as_str().unwrap().to_owned();
    assert!(!message.contains("lost"), "{message}");
    world.release("dev-2", 1).await.wins();
    world.claim("dev-1", 1).await.wins();
    assert_eq!(world.record(1).await.lost, None);
    world.log_is_sound().await;
}

/// The time in which nobody could be heard is no part of what is told.
#[tokio::test(start_paused = true)]
async fn a_take_over_tells_the_silence_that_could_have_been_broken() {
    let world = held().await;
    world.process().life.freeze();
    world.wait(HOUR * 3).await;
    world.restart();
    world.wait(HOUR + 5 * SECOND).await;
    world.claim("dev-2", 1).await.wins();
    let lines = world.kinds("taken_over").await;
    assert_eq!(lines[0]["reason"], "taken over by dev-2 after 3605 s of silence");
}

/// Nobody knew whether it landed: it is told when that is known.
#[tokio::test(start_paused = true)]
async fn a_take_over_that_was_in_doubt_is_seen_too() {
    for crash in [false, true] {
        let world = held().await;
        world.wait(HOUR + SECOND).await;
        if crash {
            world.trap(Moment::Answered, Trap::Crash);
            world.claim("dev-2", 1).await.heard_nothing();
            world.restart();
        } else {
            world.next_write(1, Fault::CutAfter);
            world.claim("dev-2", 1).await.is(504, "outcome_unknown");
        }
        assert_eq!(world.kinds("taken_over").await.len(), 0);
        world.claim("dev-3", 1).await.loses("already_assigned");
        assert_eq!(world.kinds("taken_over").await.len(), 1);
        world.is_held_by(1, "dev-2").await;
        let told = world.close("dev-1", 1).await.loses("not_holder");
        assert!(told.body["message"].as_str().unwrap().contains("taken over by dev-2"), "{told:?}");
        world.log_is_sound().await;
    }
}

/// Whoever takes an item from its holder, it learns it.
#[tokio::test(start_paused = true)]
async fn who_lost_an_item_otherwise_is_told_how() {
    for (how, told) in [("operator", "released by the operator"), ("outside", "unassigned by an outside edit")] {
        let world = held().await;
        if how == "operator" {
            world.operator_releases(1).await.unwrap();
        }
        world.forge.outside_assign("root", REPO, 1, &[]);
        world.claim("dev-2", 1).await.wins();
        let refused = world.close("dev-1", 1).await.loses("not_holder");
        assert!(refused.body["message"].as_str().unwrap().ends_with(told), "{refused:?}");
    }
}
