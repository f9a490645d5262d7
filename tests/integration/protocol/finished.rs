//! Closed work is finished: its holding is never silent, is asked for no more, and ends.

use crate::support::{REPO, World};
use claimgate::admission::{Mode, Outside};
use serde_json::Value;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);

fn world(change: impl FnOnce(&mut claimgate::admission::Assignment)) -> World {
    World::with(|setup| {
        setup.service = Some("admin");
        let assignment = &mut setup.rules.assignment;
        (assignment.stale_after, assignment.closed_after) = (Some(HOUR / 4), Some(HOUR));
        change(assignment);
    })
}

impl World {
    fn watched(&self) -> tokio::task::JoinHandle<()> {
        tokio::spawn(self.process().gate.clone().watch(Duration::from_mins(1)))
    }

    async fn finished(&self) -> Vec<Value> {
        self.lines().await.into_iter().filter(|line| line["kind"] == "finished").collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_closed_item_is_held_for_a_while_and_is_never_stale() {
    let world = world(|_| {});
    world.claim("dev-1", 1).await.wins();
    world.add_label("dev-1", 1, "in-progress").await.wins();
    world.close("dev-1", 1).await.wins();
    world.forge.clear_log();
    let watch = world.watched();
    world.wait(HOUR * 99 / 100).await;
    world.is_held_by(1, "dev-1").await;
    let gate = world.process().gate.clone();
    assert_eq!((gate.ports().metrics.stale.get(), gate.is_stale(&world.record(1).await)), (0, false));
    assert_eq!(world.forge.requests_about(REPO, 1).len(), 0, "nobody asks about it");
    world.wait(HOUR / 50).await;
    world.is_held_by_nobody(1).await;
    watch.abort();
    let lines = world.finished().await;
    assert_eq!((lines.len(), &lines[0]["agent"]["account"]), (1, &Value::from("dev-1")));
    assert!(lines[0]["reason"].as_str().unwrap().starts_with("closed for 36"), "{}", lines[0]);
    assert_eq!(gate.ports().metrics.finished.get(), 1);
    world.log_is_sound().await;
}

#[tokio::test(start_paused = true)]
async fn without_a_token_it_ends_as_well() {
    let world = World::with(|setup| setup.rules.assignment.closed_after = Some(HOUR));
    world.claim("dev-1", 1).await.wins();
    world.close("dev-1", 1).await.wins();
    let watch = world.watched();
    world.wait(HOUR + 10 * SECOND).await;
    watch.abort();
    world.is_held_by_nobody(1).await;
    world.log_is_sound().await;
}

#[tokio::test(start_paused = true)]
async fn it_ends_once_its_holder_is_not_assigned_any_more() {
    for outside in [Outside::Wins, Outside::Hold] {
        let world = world(|assignment| assignment.outside = outside);
        world.claim("dev-1", 1).await.wins();
        world.close("dev-1", 1).await.wins();
        world.forge.outside_assign("root", REPO, 1, &[]);
        let gate = world.process().gate.clone();
        let watch = world.watched();
        gate.hint(claimgate::model::Place::from_stored("root/work#1"));
        world.wait(SECOND).await;
        world.is_held_by_nobody(1).await;
        watch.abort();
        assert_eq!(world.finished().await.len(), 1);
        assert_eq!(gate.ports().metrics.revoked.get(), 0);
        world.log_is_sound().await;
    }
}

/// Reopened work waits for nobody.
#[tokio::test(start_paused = true)]
async fn a_reopened_item_is_claimed_at_once() {
    for ended in [false, true] {
        let world = world(|_| {});
        world.claim("dev-1", 1).await.wins();
        world.close("dev-1", 1).await.wins();
        let watch = world.watched();
        world.wait(if ended { HOUR * 2 } else { SECOND }).await;
        world.reopen("dev-2", 1).await.wins();
        world.release("dev-2", 1).await.wins();
        world.claim("dev-2", 1).await.wins();
        world.is_held_by(1, "dev-2").await;
        // It is at work: what was closed once does not count.
        world.wait(HOUR * 2).await;
        world.is_held_by(1, "dev-2").await;
        watch.abort();
        world.log_is_sound().await;
    }
}

/// While nobody takes it, its holder has it, parked: it was closed once, and is not now.
#[tokio::test(start_paused = true)]
async fn a_reopened_item_does_not_end_as_a_closed_one() {
    let world = World::with(|setup| setup.rules.assignment.closed_after = Some(HOUR));
    world.claim("dev-1", 1).await.wins();
    world.close("dev-1", 1).await.wins();
    let watch = world.watched();
    world.wait(HOUR / 2).await;
    world.reopen("dev-2", 1).await.wins();
    world.wait(HOUR * 2).await;
    world.is_held_by(1, "dev-1").await;
    assert_eq!(world.finished().await.len(), 0);
    // Closed again, it is held for as long as any.
    world.close("dev-1", 1).await.wins();
    world.wait(HOUR / 2).await;
    world.is_held_by(1, "dev-1").await;
    world.wait(HOUR).await;
    world.is_held_by_nobody(1).await;
    watch.abort();
}

#[tokio::test(start_paused = true)]
async fn it_is_looked_at_once_more_before_it_ends() {
    let world = world(|_| {});
    world.claim("dev-1", 1).await.wins();
    world.close("dev-1", 1).await.wins();
    let watch = world.watched();
    world.wait(HOUR / 2).await;
    world.forge.outside_reopen("root", REPO, 1);
    world.wait(HOUR).await;
    world.is_held_by(1, "dev-1").await;
    watch.abort();
    assert_eq!(world.finished().await.len(), 0);
}

/// A stranger closes it, where nothing or nobody may refuse that.
#[tokio::test(start_paused = true)]
async fn whoever_closes_an_item_parks_its_holding() {
    for (who, mode) in [("dev-2", Mode::Observe), ("supervisor", Mode::Enforce)] {
        let world = World::with(|setup| {
            (setup.rules.assignment.mode, setup.rules.workflow.mode) = (mode, mode);
            setup.rules.assignment.closed_after = Some(HOUR);
        });
        world.claim("dev-1", 1).await.wins();
        world.close(who, 1).await.wins();
        let held = world.record(1).await.holding.expect("it is held still");
        assert!(held.parked && held.closed.is_some(), "{held:?}");
        world.close("dev-1", 1).await.wins();
        let watch = world.watched();
        world.wait(HOUR + 5 * SECOND).await;
        watch.abort();
        world.is_held_by_nobody(1).await;
        world.log_is_sound().await;
    }
}

/// The reconciler's time is for what somebody is at work on.
#[tokio::test(start_paused = true)]
async fn nothing_is_asked_about_finished_work() {
    let world = World::with(|setup| {
        (setup.issues, setup.service) = (30, Some("admin"));
        setup.rules.assignment.closed_after = None;
    });
    for n in 1..=30 {
        world.claim("dev-1", n).await.wins();
        if n > 2 {
            world.close("dev-1", n).await.wins();
        }
    }
    world.forge.clear_log();
    let watch = world.watched();
    world.wait(20 * SECOND).await;
    let asked = |n| world.forge.requests_about(REPO, n).len();
    assert!((1..=2).all(|n| asked(n) >= 10), "{} {}", asked(1), asked(2));
    assert_eq!((3..=30).map(asked).sum::<usize>(), 0);
    world.forge.outside_assign("root", REPO, 2, &["dev-2"]);
    world.wait(2 * SECOND).await;
    world.is_held_by_nobody(2).await;
    watch.abort();
}

/// Parked work is not finished: it is looked at now and then.
#[tokio::test(start_paused = true)]
async fn parked_work_is_asked_for_seldom() {
    let world = world(|_| {});
    world.claim("dev-1", 1).await.wins();
    world.set_labels("dev-1", 1, &["in-progress"]).await.wins();
    world.set_labels("dev-1", 1, &["blocked"]).await.wins();
    world.forge.clear_log();
    let watch = world.watched();
    world.wait(Duration::from_mins(1)).await;
    let asked = world.forge.requests_about(REPO, 1).len();
    assert!((4..=8).contains(&asked), "{asked}");
    world.wait(HOUR).await;
    assert_eq!(world.process().gate.ports().metrics.stale.get(), 0);
    watch.abort();
}
