//! What the operator does to an item: carried through whoever waits for it, and only to the holding that was meant.

use crate::support::{Moment, Q, REPO, Trap, World};
use claimgate::admission::Outside;
use claimgate::gate::{ReleaseError, Released};
use claimgate::model::Place;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// The gate has a token of its own, and `dev-1` holds item 1.
async fn held() -> World {
    let world = World::with(|setup| setup.service = Some("admin"));
    world.claim("dev-1", 1).await.wins();
    world
}

impl World {
    pub(super) async fn operator_releases(&self, n: u64) -> Result<Released, ReleaseError> {
        let gate = self.process().gate.clone();
        gate.release(&Place::from_stored(&format!("root/work#{n}")), "stuck").await
    }

    async fn operator_lines(&self) -> usize {
        self.lines().await.iter().filter(|line| line["kind"] == "operator").count()
    }
}

#[tokio::test(start_paused = true)]
async fn a_release_whose_operator_has_gone_is_carried_through() {
    // Wherever its own write to the tracker stands.
    for moment in [Moment::BeforeT1, Moment::AfterT1, Moment::Answered, Moment::AfterT3] {
        let world = held().await;
        world.trap(moment, Trap::Slow(20 * SECOND));
        let hung_up = tokio::time::timeout(10 * SECOND, world.operator_releases(1)).await;
        assert!(hung_up.is_err(), "{moment:?}: {hung_up:?}");
        tokio::time::timeout(30 * SECOND, world.process().gate.drained()).await.expect("a shutdown waits for it");
        world.shows(1, &[]);
        let record = world.record(1).await;
        assert!(record.live.is_none() && record.doubts.is_empty(), "{moment:?}: {record:?}");
        world.claim("dev-2", 1).await.wins();
        world.log_is_sound().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_gates_own_write_leaves_a_doubt_that_ends() {
    let world = held().await;
    world.trap(Moment::Answered, Trap::Panic);
    let released = world.operator_releases(1).await.expect("the holding has ended");
    assert!(released.tracker.as_ref().is_err_and(|why| why.contains("was not cleared")), "{:?}", released.tracker);
    let record = world.record(1).await;
    assert_eq!((record.live, record.doubts.len()), (None, 1));
    world.wait(Q + SECOND).await;
    world.claim("dev-2", 1).await.wins();
    world.log_is_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_release_strikes_nobody_who_came_while_it_waited_for_its_turn() {
    let world = held().await;
    world.trap(Moment::Answered, Trap::Slow(SECOND));
    let after = |millis| world.wait(Duration::from_millis(millis));
    let (gone, come, released) = tokio::join!(
        world.release("dev-1", 1),
        async {
            after(100).await;
            world.claim("dev-2", 1).await
        },
        async {
            after(200).await;
            world.operator_releases(1).await
        }
    );
    gone.wins();
    come.wins();
    let error = released.expect_err("dev-1's holding is over").to_string();
    assert!(error.contains("dev-1 does not hold root/work#1 any more; dev-2 does now"), "{error}");
    world.is_held_by(1, "dev-2").await;
    world.shows(1, &["dev-2"]);
    assert_eq!(world.operator_lines().await, 0);
    world.log_is_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_release_of_what_was_given_up_while_it_waited_does_nothing() {
    let world = held().await;
    world.trap(Moment::Answered, Trap::Slow(SECOND));
    let (gone, released) = tokio::join!(world.release("dev-1", 1), async {
        world.wait(Duration::from_millis(100)).await;
        world.operator_releases(1).await
    });
    gone.wins();
    assert!(matches!(released, Err(ReleaseError::NotHeld(_))), "{released:?}");
    assert_eq!(world.operator_lines().await, 0);
    // What the holder itself did meanwhile does not save it.
    world.claim("dev-1", 1).await.wins();
    world.trap(Moment::Answered, Trap::Slow(SECOND));
    let (moved, released) = tokio::join!(world.set_labels("dev-1", 1, &["in-progress"]), async {
        world.wait(Duration::from_millis(100)).await;
        world.operator_releases(1).await
    });
    moved.wins();
    assert_eq!(released.expect("it is the same holding").holder.map(|held| held.to_string()).as_deref(), Some("dev-1"));
    world.is_held_by_nobody(1).await;
    world.log_is_sound().await;
}

/// The holding has ended; whom a human gave the item to keeps it.
#[tokio::test(start_paused = true)]
async fn a_release_leaves_whom_somebody_else_has_assigned() {
    for outside in [Outside::Hold, Outside::Wins] {
        let world = World::with(|setup| {
            setup.service = Some("admin");
            setup.rules.assignment.outside = outside;
        });
        world.claim("dev-1", 1).await.wins();
        world.forge.outside_assign("root", REPO, 1, &["dev-3"]);
        let released = world.operator_releases(1).await.expect("dev-1 holds it");
        assert!(released.tracker.as_ref().is_err_and(|why| why.contains("was not cleared")), "{:?}", released.tracker);
        world.is_held_by_nobody(1).await;
        world.shows(1, &["dev-3"]);
        world.log_is_sound().await;
    }
}
