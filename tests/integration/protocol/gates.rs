//! Several gates that share a ledger: they wait for each other, take over from each other, and one that fell says so.

use crate::support::{Moment, Q, Trap, World, at_gate};
use claimgate::fake_forge::Fault;
use claimgate::model::{AttemptState, Place};
use futures_util::future::join;
use std::time::Duration;

/// Longer than a gate may be silent.
const SILENCE: Duration = Duration::from_secs(30);

/// Two gates that have heard of each other for long enough to judge each other.
async fn two_gates() -> World {
    let world = World::with(|setup| setup.gates = 2);
    world.wait(Duration::from_secs(10)).await;
    world
}

#[tokio::test(start_paused = true)]
async fn of_two_claims_by_two_gates_one_wins_and_the_other_is_told_whose_it_is() {
    for (read, write) in [(0, 0), (5, 5), (25, 400)] {
        let world = two_gates().await;
        world.slow_forge(read, write, 0);
        let (one, other) = join(at_gate(0, world.claim("dev-1", 1)), at_gate(1, world.claim("dev-2", 1))).await;
        let (winner, loser) = if one.is_success() { (one, other) } else { (other, one) };
        winner.wins();
        loser.loses("already_assigned");
        assert_eq!((world.writes(1), world.assignees(1).len()), (1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_release_by_another_gate_is_waited_for() {
    let world = two_gates().await;
    world.claim("dev-1", 1).await.wins();
    world.slow_forge(0, 3000, 0);
    let later = async {
        world.wait(Duration::from_millis(500)).await;
        at_gate(1, world.claim("dev-2", 1)).await
    };
    let (released, claimed) = join(at_gate(0, world.release("dev-1", 1)), later).await;
    released.wins();
    claimed.wins();
    world.shows(1, &["dev-2"]);
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_no_longer_than_for_its_turn() {
    let world = World::with(|setup| {
        setup.gates = 2;
        setup.settings.lanes.timeout = Duration::from_secs(5);
    });
    world.wait(Duration::from_secs(10)).await;
    world.process().life.trap(Moment::AfterT2, Trap::Stop(Duration::from_secs(12)));
    let later = async {
        world.wait(Duration::from_millis(500)).await;
        let began = tokio::time::Instant::now();
        at_gate(1, world.claim("dev-2", 1)).await.is(503, "lane_timeout");
        assert!(began.elapsed() <= Duration::from_secs(5), "{:?}", began.elapsed());
    };
    let (claimed, ()) = join(world.claim("dev-1", 1), later).await;
    // Nobody has declared it fallen; but its first byte would have left too late.
    claimed.is(503, "fenced");
    assert_eq!(world.states(1).await, [AttemptState::Aborted]);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_takes_over_what_a_dead_gate_had_not_sent() {
    let world = two_gates().await;
    world.trap(Moment::AfterT1, Trap::Crash);
    world.claim("dev-1", 1).await.heard_nothing();
    let began = tokio::time::Instant::now();
    at_gate(1, world.claim("dev-2", 1)).await.wins();
    assert!(began.elapsed() <= Duration::from_secs(17), "{:?}", began.elapsed());
    assert_eq!(world.states(1).await, [AttemptState::Aborted, AttemptState::Committed]);
}

#[tokio::test(start_paused = true)]
async fn what_a_dead_gate_may_have_sent_is_in_doubt_for_everybody_else() {
    let world = two_gates().await;
    world.next_write(1, Fault::Zombie(Duration::from_mins(1)));
    world.trap(Moment::BeforeSend, Trap::Stop(Duration::ZERO));
    world.trap(Moment::Answered, Trap::Crash);
    world.claim("dev-1", 1).await.heard_nothing();
    at_gate(1, world.claim("dev-2", 1)).await.loses("in_doubt");
    world.wait(Q + Duration::from_secs(1)).await;
    // It has landed meanwhile.
    at_gate(1, world.claim("dev-2", 1)).await.loses("already_assigned");
    at_gate(1, world.claim("dev-1", 1)).await.needs_no_write();
    world.log_is_sound().await;
}

/// At each step at which its gate can be stopped for so long that it is declared fallen.
#[tokio::test(start_paused = true)]
async fn a_gate_that_fell_and_wakes_grants_nothing() {
    let answers = [
        (Moment::AfterT1, 503),
        (Moment::BeforeT2, 503),
        (Moment::AfterT2, 503),
        (Moment::Answered, 504),
        (Moment::BeforeT3, 504),
    ];
    for (moment, status) in answers {
        let world = two_gates().await;
        world.trap(moment, Trap::Stop(SILENCE));
        let told = world.claim("dev-1", 1).await;
        assert_eq!(told.status, status, "{moment:?}: {told:?}");
        assert_eq!(world.store.fallen().len(), 1, "{moment:?}");
        // It goes on as a new life.
        world.wait(Duration::from_secs(3)).await;
        world.claim("dev-3", 2).await.wins();
        world.log_is_sound().await;
    }
}

/// An operator's word needs no turn of the gate at which it is decided that the item is held.
#[tokio::test(start_paused = true)]
async fn what_was_released_at_another_gate_meanwhile_is_granted_to_nobody() {
    let world = two_gates().await;
    world.claim("dev-1", 1).await.wins();
    world.trap(Moment::AfterT1, Trap::Slow(Duration::from_secs(1)));
    let released = at_gate(1, async {
        world.wait(Duration::from_millis(500)).await;
        world.process().gate.release(&Place::from_stored("root/work#1"), "stuck").await.expect("it is held");
    });
    let (repeated, ()) = join(world.claim("dev-1", 1), released).await;
    repeated.is(409, "busy");
    world.is_held_by_nobody(1).await;
    assert_eq!(world.states(1).await, [AttemptState::Committed, AttemptState::Aborted]);
    world.claim("dev-1", 1).await.needs_no_write();
    world.is_held_by(1, "dev-1").await;
    world.log_is_sound().await;
}

/// Nobody reads what a form does to its items, and yet no other gate's write comes in between.
#[tokio::test(start_paused = true)]
async fn a_form_without_reads_keeps_other_gates_out() {
    let world = two_gates().await;
    world.slow_forge(0, 3000, 0);
    let attach = format!("issue_ids={}&id=2&action=attach", world.ids(&[1]));
    let began = tokio::time::Instant::now();
    let later = async {
        world.wait(Duration::from_millis(500)).await;
        at_gate(1, world.claim("dev-1", 1)).await
    };
    let (sent, claimed) = join(world.form("gardener", "issues/labels", &attach), later).await;
    sent.wins();
    claimed.wins();
    assert!(began.elapsed() >= Duration::from_secs(6), "one after the other: {:?}", began.elapsed());
    // Of the form no attempt is left.
    assert_eq!(world.states(1).await, [AttemptState::Committed]);
    world.log_is_sound().await;
}

/// An abandoned release must not strike a later claim, whichever gate that comes by.
#[tokio::test(start_paused = true)]
async fn a_client_that_goes_while_it_waits_has_asked_for_nothing() {
    let world = two_gates().await;
    world.claim("dev-1", 1).await.wins();
    world.slow_forge(0, 3000, 0);
    let abandoned = async {
        world.wait(Duration::from_millis(500)).await;
        let release = at_gate(1, world.release("dev-1", 1));
        assert!(tokio::time::timeout(Duration::from_secs(1), release).await.is_err(), "it waits");
    };
    let (moved, ()) = join(world.set_labels("dev-1", 1, &["in-progress"]), abandoned).await;
    moved.wins();
    world.wait(Duration::from_secs(10)).await;
    world.is_held_by(1, "dev-1").await;
    world.shows(1, &["dev-1"]);
}

/// Each gate's own clock is wrong by as much as a machine's can be: doubt is the ledger's to judge.
#[tokio::test(start_paused = true)]
async fn a_doubt_lasts_as_long_at_every_gate() {
    let world = two_gates().await;
    world.next_write(1, Fault::CutBefore);
    world.claim("dev-1", 1).await.is(504, "outcome_unknown");
    for _ in 0..11 {
        at_gate(1, world.claim("dev-2", 1)).await.loses("in_doubt");
        let active = at_gate(1, async { world.process().gate.active().await }).await.unwrap();
        assert!(active.iter().any(|record| !record.doubts.is_empty()), "{active:?}");
        world.wait(Q / 12).await;
    }
    world.wait(Q / 6).await;
    at_gate(1, world.claim("dev-2", 1)).await.wins();
}

#[tokio::test(start_paused = true)]
async fn while_no_gate_can_write_none_is_declared_fallen() {
    let world = two_gates().await;
    world.store.set_available(false);
    world.wait(SILENCE).await;
    world.store.set_available(true);
    world.wait(Duration::from_mins(1)).await;
    assert_eq!(world.store.fallen(), []);
    at_gate(0, world.claim("dev-1", 1)).await.wins();
    at_gate(1, world.claim("dev-2", 2)).await.wins();
}

/// The watcher of one gate reads an item; another gate's agent moves it before that read is judged.
#[tokio::test(start_paused = true)]
async fn what_a_watcher_has_read_revokes_nothing_that_another_gate_has_written_since() {
    let world = World::with(|setup| (setup.gates, setup.service) = (2, Some("admin")));
    world.claim("dev-1", 1).await.wins();
    // The answer to the watcher's read is long on its way.
    world.lag_reads(3000);
    let watch = tokio::spawn(std::sync::Arc::clone(&world.process().gate).watch(Duration::from_secs(10)));
    world.wait(Duration::from_millis(500)).await;
    world.lag_reads(0);
    at_gate(1, world.set_labels("dev-1", 1, &["in-progress"])).await.wins();
    world.wait(Duration::from_secs(5)).await;
    watch.abort();
    world.is_held_by(1, "dev-1").await;
    let revoked = world.lines().await.into_iter().find(|line| line["kind"] == "revoked");
    assert!(revoked.is_none(), "{revoked:?}");
    // A look leaves nothing behind.
    assert_eq!(world.states(1).await, [AttemptState::Committed, AttemptState::Committed]);
}
