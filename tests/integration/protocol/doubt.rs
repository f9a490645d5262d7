//! What follows a write of unknown outcome, and the sentences of the protocol that searches found to be needed.

use crate::support::{Moment, Q, REPO, Trap, World};
use claimgate::fake_forge::{Fault, Matcher};
use claimgate::model::{AttemptState, Place, Status};
use serde_json::json;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

impl World {
    /// `who` claims, and the connection is cut before the forge has done anything.
    async fn claims_in_doubt(&self, who: &str, n: u64) {
        self.next_write(n, Fault::CutBefore);
        self.claim(who, n).await.is(504, "outcome_unknown");
    }

    /// The same, and the write lands that much later.
    async fn claims_in_doubt_landing_after(&self, who: &str, n: u64, late: Duration) {
        self.next_write(n, Fault::Zombie(late));
        self.claim(who, n).await.is(504, "outcome_unknown");
    }
}

// === who may write in doubt ===

#[tokio::test(start_paused = true)]
async fn in_doubt_only_the_same_agent_may_write_and_only_the_same_value() {
    let world = World::new();
    world.claims_in_doubt("dev-1", 1).await;
    let sent = world.writes(1);
    world.claim("dev-2", 1).await.loses("in_doubt");
    world.release("dev-1", 1).await.loses("in_doubt");
    world.close("dev-1", 1).await.loses("in_doubt");
    world.add_label("dev-3", 1, "todo").await.loses("in_doubt");
    world.patch("dev-1", 1, json!({ "assignees": ["dev-1"], "state": "closed" })).await.loses("in_doubt");
    assert_eq!(world.writes(1), sent, "nothing of this was sent");
    world.claim("dev-1", 1).await.wins();
    world.shows(1, &["dev-1"]);
}

#[tokio::test(start_paused = true)]
async fn an_in_doubt_refusal_says_how_long_it_lasts() {
    let world = World::new();
    world.claims_in_doubt("dev-1", 1).await;
    world.wait(Duration::from_secs(20)).await;
    let told = world.claim("dev-2", 1).await.loses("in_doubt");
    assert_eq!(told.body["claimgate"]["retry_after_s"], 100);
    assert!(
        told.body["message"]
            .as_str()
            .unwrap()
            .contains("another 100 s. If that write is yours, repeat the same request"),
        "{told:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_left_once_is_told_to_whoever_left_it_though_its_answer_was_lost() {
    let world = World::with(|setup| setup.rules.workflow.consume = [Status::new("todo")].into());
    world.set_labels("dev-3", 1, &["todo"]).await.wins();
    world.forge.script(Fault::CutAfter, Matcher::new("DELETE", "/issues/1/labels"));
    world.remove_label("dev-1", 1, "todo").await.is(504, "outcome_unknown");
    world.remove_label("dev-2", 1, "todo").await.loses("in_doubt");
    world.remove_label("dev-1", 1, "todo").await.wins();
    world.wait(Q * 2).await;
    world.remove_label("dev-2", 1, "todo").await.loses("wrong_source_state");
}

#[tokio::test(start_paused = true)]
async fn overriders_wait_for_doubt_too() {
    let world = World::new();
    world.claims_in_doubt("dev-1", 1).await;
    world.claim_for("supervisor", "dev-2", 1).await.loses("in_doubt");
}

#[tokio::test(start_paused = true)]
async fn a_committed_retry_leaves_the_older_doubt_in_place() {
    let world = World::new();
    world.claims_in_doubt_landing_after("dev-1", 1, Q / 2).await;
    world.claim("dev-1", 1).await.wins();
    assert_eq!(world.record(1).await.doubts.len(), 1);
    // Its release must wait as well: the first write may land after it, and assign dev-1 again.
    world.release("dev-1", 1).await.loses("in_doubt");
    world.wait(Q).await;
    world.release("dev-1", 1).await.wins();
    world.shows(1, &[]);
    world.claim("dev-2", 1).await.wins();
    world.wait(Q).await;
    world.shows(1, &["dev-2"]);
}

#[tokio::test(start_paused = true)]
async fn several_doubtful_writes_of_one_value_end_together() {
    let world = World::new();
    for _ in 0..3 {
        world.claims_in_doubt("dev-1", 1).await;
        world.wait(Q / 4).await;
    }
    assert_eq!(world.record(1).await.doubts.len(), 3);
    world.claim("dev-2", 1).await.loses("in_doubt");
    world.wait(Q).await;
    world.claim("dev-2", 1).await.wins();
    assert_eq!(world.states(1).await.iter().filter(|state| **state == AttemptState::NotLanded).count(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_release_in_doubt_keeps_the_item_closed_and_its_retry_works() {
    let world = World::new();
    world.claim("dev-1", 1).await.wins();
    world.next_write(1, Fault::CutBefore);
    world.release("dev-1", 1).await.is(504, "outcome_unknown");
    world.is_held_by(1, "dev-1").await;
    world.claim("dev-2", 1).await.loses("in_doubt");
    world.claim("dev-1", 1).await.loses("in_doubt");
    world.release("dev-1", 1).await.wins();
    world.shows(1, &[]);
    // A zombie of the first release may still clear whoever comes next.
    world.claim("dev-2", 1).await.loses("in_doubt");
    world.wait(Q).await;
    world.claim("dev-2", 1).await.wins();
}

// === how doubt ends ===

#[tokio::test(start_paused = true)]
async fn a_landing_that_shows_ends_the_doubt_early() {
    let world = World::new();
    world.claims_in_doubt_landing_after("dev-1", 1, 5 * SECOND).await;
    world.claim("dev-2", 1).await.loses("in_doubt");
    world.wait(6 * SECOND).await;
    world.claim("dev-2", 1).await.loses("already_assigned");
    world.is_held_by(1, "dev-1").await;
    assert_eq!(world.states(1).await[0], AttemptState::Landed);
    world.release("dev-1", 1).await.wins();
}

#[tokio::test(start_paused = true)]
async fn a_release_that_landed_frees_the_item_early() {
    let world = World::new();
    world.claim("dev-1", 1).await.wins();
    world.next_write(1, Fault::CutAfter);
    world.release("dev-1", 1).await.is(504, "outcome_unknown");
    world.claim("dev-2", 1).await.wins();
    world.shows(1, &["dev-2"]);
}

#[tokio::test(start_paused = true)]
async fn two_doubtful_writes_never_end_early() {
    let world = World::new();
    world.claims_in_doubt_landing_after("dev-1", 1, SECOND).await;
    world.claims_in_doubt("dev-1", 1).await;
    world.wait(2 * SECOND).await;
    world.shows(1, &["dev-1"]);
    world.claim("dev-2", 1).await.loses("in_doubt");
}

#[tokio::test(start_paused = true)]
async fn what_did_not_land_by_the_end_of_the_period_is_not_landed() {
    let world = World::new();
    world.claims_in_doubt("dev-1", 1).await;
    world.wait(Q.saturating_sub(SECOND)).await;
    world.claim("dev-2", 1).await.loses("in_doubt");
    world.wait(SECOND).await;
    world.claim("dev-2", 1).await.wins();
    assert_eq!(world.states(1).await[0], AttemptState::NotLanded);
}

#[tokio::test(start_paused = true)]
async fn the_next_requests_credential_resolves_and_no_refusal_of_it_is_evidence() {
    for status in [401, 403, 404] {
        let world = World::new();
        world.claims_in_doubt("dev-1", 1).await;
        world.wait(Q + SECOND).await;
        world.forge.script(Fault::ErrorBeforeWrite(status), Matcher::new("GET", "/issues/1"));
        world.claim("dev-2", 1).await.is(status, "upstream_unreadable");
        assert_eq!(world.record(1).await.doubts.len(), 1, "{status} says nothing");
        world.claim("dev-2", 1).await.wins();
    }
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_tracker_is_no_evidence_either() {
    let world = World::new();
    world.claims_in_doubt("dev-1", 1).await;
    world.wait(Q + SECOND).await;
    world.forge.script(Fault::ErrorBeforeWrite(500), Matcher::new("GET", "/issues/1"));
    world.claim("dev-2", 1).await.is(502, "upstream_unreadable");
    assert_eq!(world.record(1).await.doubts.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_doubtful_close_that_landed_parks_the_holding_as_an_answered_one_does() {
    let world = World::new();
    world.claim("dev-1", 1).await.wins();
    world.next_write(1, Fault::CutAfter);
    world.close("dev-1", 1).await.is(504, "outcome_unknown");
    world.wait(Q + SECOND).await;
    world.release("dev-2", 1).await.wins();
    world.shows(1, &[]);
}

#[tokio::test(start_paused = true)]
async fn a_parked_holders_doubtful_claim_that_landed_makes_it_active_again() {
    let world = World::new();
    world.claim("dev-1", 1).await.wins();
    world.close("dev-1", 1).await.wins();
    world.forge.script(Fault::CutAfter, Matcher::new("PATCH", "/issues/1"));
    world.patch("dev-1", 1, json!({ "assignees": ["dev-1"], "state": "open" })).await.is(504, "outcome_unknown");
    world.wait(Q + SECOND).await;
    world.release("dev-2", 1).await.loses("not_holder");
    assert!(!world.record(1).await.holding.unwrap().parked);
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_was_an_hour_ahead_does_not_prolong_a_doubt() {
    let world = World::new();
    world.claims_in_doubt("dev-1", 1).await;
    world.clock.step_wall(-3600);
    world.restart();
    world.claim("dev-2", 1).await.loses("in_doubt");
    world.wait(Q + SECOND).await;
    world.claim("dev-2", 1).await.wins();
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_jumps_ahead_does_not_shorten_a_doubt() {
    let world = World::new();
    world.claims_in_doubt("dev-1", 1).await;
    world.clock.step_wall(3600);
    world.restart();
    world.claim("dev-2", 1).await.loses("in_doubt");
    world.wait(Q + SECOND).await;
    world.claim("dev-2", 1).await.wins();
}

#[tokio::test(start_paused = true)]
async fn a_path_that_names_another_item_ends_no_doubt() {
    let world = World::new();
    world.knows_readers(2).await;
    world.claims_in_doubt("dev-1", 1).await;
    let id = world.forge.issue("root/work", 1).id;
    // The repository makes room for another of its name, whose first issue is assigned to dev-1.
    world.forge.rename_repo("root/work", "old");
    world.forge.add_repo("root", "work");
    for login in ["dev-1", "dev-2"] {
        world.forge.grant_write(login, "root/work");
    }
    world.forge.add_issue("root/work", "another first", &[], &["dev-1"]);
    world.claim("dev-2", 1).await.loses("already_assigned");
    let key = claimgate::model::ResourceKey::new(&id.to_string());
    let first = claimgate::effect::Ledger::item(&world.process().ledger, &key).await.unwrap().unwrap();
    assert_eq!((first.doubts.len(), first.holding), (1, None), "what another item shows says nothing of this one");
}

// === traces of the search, each with the sentence that mends it ===

#[tokio::test(start_paused = true)]
async fn a_release_abandoned_before_t1_is_dropped() {
    let world = World::new();
    world.claim("dev-1", 1).await.wins();
    // Another write of the item takes its turn slowly; the release waits behind it, and its client gives up.
    world.trap(Moment::AfterT1, Trap::Slow(5 * SECOND));
    let slow = world.claim("dev-2", 1);
    let abandoned = async {
        world.wait(SECOND).await;
        drop(tokio::time::timeout(SECOND, world.release("dev-1", 1)).await);
    };
    tokio::join!(slow, abandoned).0.loses("already_assigned");
    world.wait(10 * SECOND).await;
    world.is_held_by(1, "dev-1").await;
    world.shows(1, &["dev-1"]);
}

#[tokio::test(start_paused = true)]
async fn a_paused_gate_answers_no_grant_after_a_takeover() {
    let world = World::new();
    world.claim("dev-1", 1).await.wins();
    // It is about to answer a no-op when it is paused; another life takes over, and an outside edit revokes dev-1.
    let old = world.process();
    old.life.trap(Moment::BeforeT3, Trap::Crash);
    let paused = tokio::join!(world.claim("dev-1", 1), async {
        world.wait(SECOND).await;
        world.restart();
    });
    paused.0.heard_nothing();
    world.forge.outside_assign("root", "root/work", 1, &[]);
    world.claim("dev-2", 1).await.wins();
    let fence = world.record(1).await.fence;
    old.life.thaw();
    world.wait(SECOND).await;
    world.is_held_by(1, "dev-2").await;
    assert_eq!(world.record(1).await.fence, fence);
    assert!(!world.states(1).await.ends_with(&[AttemptState::Committed; 3]));
}

#[tokio::test(start_paused = true)]
async fn a_paused_gate_sends_nothing_after_a_takeover() {
    let world = World::new();
    let old = world.process();
    old.life.trap(Moment::BeforeT2, Trap::Crash);
    world.claim("dev-1", 1).await.heard_nothing();
    world.restart();
    world.claim("dev-2", 1).await.wins();
    old.life.thaw();
    world.wait(SECOND).await;
    assert_eq!(old.upstream.sends(), 0);
    world.shows(1, &["dev-2"]);
}

#[tokio::test(start_paused = true)]
async fn a_paused_gate_commits_nothing_after_a_takeover() {
    let world = World::new();
    let old = world.process();
    old.life.trap(Moment::BeforeT3, Trap::Crash);
    world.claim("dev-1", 1).await.heard_nothing();
    world.restart();
    old.life.thaw();
    world.wait(SECOND).await;
    // Its write is in doubt for the new life, and lands there.
    world.is_held_by_nobody(1).await;
    world.claim("dev-2", 1).await.loses("already_assigned");
    world.is_held_by(1, "dev-1").await;
    assert_eq!(world.states(1).await[0], AttemptState::Landed);
}

#[tokio::test(start_paused = true)]
async fn the_resolver_waits_for_an_open_attempt() {
    let world = World::new();
    world.claims_in_doubt_landing_after("dev-1", 1, 10 * SECOND).await;
    // dev-2's look finds the landing; before it can settle, the gate is paused and dev-1 retries at the next life.
    world.wait(11 * SECOND).await;
    let old = world.process();
    old.life.trap(Moment::BeforeResolve, Trap::Crash);
    world.claim("dev-2", 1).await.heard_nothing();
    world.restart();
    world.trap(Moment::AfterT1, Trap::Slow(5 * SECOND));
    let retry = tokio::join!(world.claim("dev-1", 1), async {
        world.wait(SECOND).await;
        old.life.thaw();
        world.wait(SECOND).await;
        assert_eq!(world.record(1).await.doubts.len(), 1, "nothing is settled under an open attempt");
    });
    retry.0.wins();
    world.is_held_by(1, "dev-1").await;
}

#[tokio::test(start_paused = true)]
async fn the_resolver_settles_only_the_doubts_that_it_read_for() {
    let world = World::new();
    world.claims_in_doubt_landing_after("dev-1", 1, SECOND).await;
    world.wait(2 * SECOND).await;
    let old = world.process();
    old.life.trap(Moment::BeforeResolve, Trap::Crash);
    world.claim("dev-2", 1).await.heard_nothing();
    world.restart();
    // One doubt more, since that read.
    world.claims_in_doubt("dev-1", 1).await;
    old.life.thaw();
    world.wait(SECOND).await;
    assert_eq!(world.record(1).await.doubts.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_contested_holder_can_release() {
    let world = World::new();
    world.claims_in_doubt_landing_after("dev-1", 1, Q * 2).await;
    world.wait(Q + SECOND).await;
    world.claim("dev-2", 1).await.wins();
    world.wait(Q).await;
    world.shows(1, &["dev-1"]);
    world.claim("dev-3", 1).await.loses("already_assigned");
    assert!(world.record(1).await.contested);
    let sent = world.writes(1);
    world.release("dev-2", 1).await.needs_no_write();
    assert_eq!(world.writes(1), sent, "what shows is not the holder's to clear");
    world.is_held_by_nobody(1).await;
}

#[tokio::test(start_paused = true)]
async fn after_the_zombie_period_the_same_sight_is_an_outside_edit() {
    let world = World::new();
    world.claims_in_doubt("dev-1", 1).await;
    world.wait(Q + SECOND).await;
    world.claim("dev-2", 1).await.wins();
    world.wait(Q * 10 + SECOND).await;
    world.forge.outside_assign("root", "root/work", 1, &["dev-1"]);
    world.claim("dev-3", 1).await.loses("already_assigned");
    world.is_held_by_nobody(1).await;
    world.claim("dev-2", 1).await.loses("already_assigned");
}

#[tokio::test(start_paused = true)]
async fn an_old_release_masks_an_outside_clear_only_for_the_zombie_period() {
    let world = World::new();
    world.claim("dev-1", 1).await.wins();
    world.next_write(1, Fault::ErrorBeforeWrite(500));
    assert_eq!(world.release("dev-1", 1).await.status, 500);
    // Somebody clears it in the web: that looks like the release, landing late.
    world.forge.outside_assign("root", "root/work", 1, &[]);
    world.claim("dev-2", 1).await.loses("already_assigned");
    assert!(world.record(1).await.contested);
    world.wait(Q * 10).await;
    world.claim("dev-2", 1).await.wins();
}

/// A tracker that is read-only refuses one claim after another.
#[tokio::test(start_paused = true)]
async fn the_same_refusal_again_renews_its_mask() {
    let world = World::new();
    world.forge.script(Fault::ErrorBeforeWrite(500), Matcher::new("PATCH", "/issues/1").times(400));
    for n in 0..400 {
        if n == 200 {
            world.wait(Q * 5).await;
        }
        assert_eq!(world.claim(&format!("dev-{}", n % 2 + 1), 1).await.status, 500);
    }
    assert_eq!(world.record(1).await.late_writes.len(), 2);
    world.claim("dev-3", 1).await.wins();
    // The newest counts: more than a period after the oldest the claim of dev-2 may still land.
    world.wait(Q * 7).await;
    world.forge.outside_assign("root", "root/work", 1, &["dev-2"]);
    world.claim("dev-4", 1).await.loses("already_assigned");
    world.is_held_by(1, "dev-3").await;
}

/// Each is another one: the oldest go.
#[tokio::test(start_paused = true)]
async fn masks_are_bounded() {
    let world = World::new();
    world.forge.script(Fault::ErrorBeforeWrite(500), Matcher::new("PATCH", "/issues/1").times(100));
    for n in 0..100 {
        let name = format!("dev-{}", n + 100);
        assert_eq!(world.claim_for("supervisor", &name, 1).await.status, 500);
    }
    let masks = world.record(1).await.late_writes;
    assert_eq!(masks.len(), 32);
    let newest = masks.last().and_then(|mask| mask.goal.assignees.clone()).expect("a claim");
    assert_eq!(newest, [claimgate::model::Account::new("dev-199")].into());
}

#[tokio::test(start_paused = true)]
async fn a_refused_attempt_leaves_what_was_shown_and_swallows_no_outside_edit() {
    let world = World::new();
    world.claim("dev-1", 1).await.wins();
    world.slow_forge(20, 0, 0);
    world.forge.script(Fault::ErrorBeforeWrite(500), Matcher::new("POST", "/issues/1/labels"));
    let writes = world.writes(1);
    let (told, ()) = tokio::join!(world.add_label("dev-1", 1, "in-progress"), async {
        while world.writes(1) == writes {
            world.wait(Duration::from_millis(1)).await;
        }
        world.forge.outside_assign("root", "root/work", 1, &["dev-3"]);
    });
    assert_eq!(told.status, 500);
    assert_eq!(world.states(1).await.last(), Some(&AttemptState::Refused));
    // The read-back showed the edit; only the next read is judged by it.
    world.claim("dev-2", 1).await.loses("already_assigned");
    world.is_held_by_nobody(1).await;
    world.claim("dev-3", 1).await.wins();
}

#[tokio::test(start_paused = true)]
async fn an_observation_is_judged_when_it_is_used() {
    let world = World::new();
    world.slow_forge(20, 5, 0);
    world.knows_readers(4).await;
    world.claim("dev-1", 1).await.wins();
    // dev-2's refusal rests on a read that shows dev-1; then dev-1 is cleared outside. dev-3 came before that read began
    // and waits for its turn: what it may share must not contradict the record by then.
    let (two, three) = tokio::join!(world.claim("dev-2", 1), async {
        world.wait(Duration::from_millis(2)).await;
        let told = world.claim("dev-3", 1);
        world.forge.outside_assign("root", "root/work", 1, &[]);
        told.await
    });
    let winners = [&two, &three].iter().filter(|told| told.is_success()).count();
    assert_eq!(winners, 1, "{two:?} {three:?}");
    assert_eq!(world.assignees(1).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_landed_attempt_masks_its_second_landing() {
    let world = World::new();
    // Q was too short: the retry of a claim lands long after the first landing, the release and the next claim.
    world.next_write(1, Fault::CutAfter);
    world.claim("dev-1", 1).await.is(504, "outcome_unknown");
    world.claim("dev-2", 1).await.loses("already_assigned");
    assert_eq!(world.states(1).await[0], AttemptState::Landed);
    world.release("dev-1", 1).await.wins();
    world.claim("dev-2", 1).await.wins();
    world.forge.outside_assign("root", "root/work", 1, &["dev-1"]);
    world.claim("dev-3", 1).await.loses("already_assigned");
    world.is_held_by(1, "dev-2").await;
    assert!(world.record(1).await.contested);
}

#[tokio::test(start_paused = true)]
async fn nobody_adopts_a_zombie() {
    let world = World::new();
    world.claims_in_doubt_landing_after("dev-1", 1, Q * 2).await;
    world.wait(Q + SECOND).await;
    world.claim("dev-2", 1).await.wins();
    world.release("dev-2", 1).await.wins();
    world.wait(Q).await;
    world.shows(1, &["dev-1"]);
    world.claim("dev-1", 1).await.loses("contested");
    world.claim("dev-2", 1).await.loses("already_assigned");
    world.release("dev-1", 1).await.wins();
    world.claim("dev-2", 1).await.wins();
}

/// One request hands the item over and closes it, and is repeated: whom it went to has it parked, whichever of the two
/// landed.
#[tokio::test(start_paused = true)]
async fn what_was_handed_over_closed_stays_parked() {
    for retry in [None, Some(Fault::CutAfter)] {
        let world = World::new();
        world.claim("dev-1", 1).await.wins();
        let hands_over = || world.patch("dev-1", 1, json!({ "assignees": ["dev-2"], "state": "closed" }));
        world.next_write(1, Fault::ErrorBeforeWrite(502));
        hands_over().await.is(504, "outcome_unknown");
        if let Some(fault) = retry {
            world.next_write(1, fault);
            hands_over().await.is(504, "outcome_unknown");
        } else {
            hands_over().await.wins();
        }
        world.wait(Q + SECOND).await;
        world.claim("dev-3", 1).await.loses("already_assigned");
        let record = world.record(1).await;
        assert!(record.doubts.is_empty() && record.holding.is_some_and(|held| held.parked));
        world.log_is_sound().await;
    }
}

/// A close that lands late, of somebody whose doubt the operator has ended.
#[tokio::test(start_paused = true)]
async fn a_late_close_leaves_the_item_with_whoever_is_told_that_it_holds_it() {
    let world = World::new();
    world.next_write(1, Fault::Zombie(Duration::from_secs(4)));
    world.close("dev-1", 1).await.is(504, "outcome_unknown");
    world.process().gate.release(&Place::from_stored("root/work#1"), "stuck").await.expect("it is in doubt");
    world.claim("dev-3", 1).await.wins();
    world.wait(Duration::from_secs(5)).await;
    assert_eq!(world.forge.issue(REPO, 1).state, "closed");
    world.claim("dev-3", 1).await.needs_no_write();
    world.release("dev-1", 1).await.loses("not_holder");
    world.is_held_by(1, "dev-3").await;
    world.log_is_sound().await;
}
