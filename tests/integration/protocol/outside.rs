//! Edits past the gate: what they do to a holding, and what they never do.

use crate::support::{Moment, Q, REPO, Trap, World, address_of};
use claimgate::admission::Outside;
use claimgate::dialect::Shows;
use claimgate::fake_forge::Fault;
use claimgate::gate::Verify;
use claimgate::model::{AttemptState, Place};
use serde_json::json;
use std::time::Duration;

/// A world in which `dev-1` holds item 1 and works on it.
async fn at_work() -> World {
    let world = World::new();
    world.claim("dev-1", 1).await.wins();
    world.set_labels("dev-1", 1, &["in-progress"]).await.wins();
    world
}

impl World {
    async fn causes(&self) -> Vec<String> {
        let lines = self.lines().await;
        lines
            .iter()
            .filter(|line| line["kind"] == "revoked")
            .map(|line| line["reason"].as_str().unwrap().into())
            .collect()
    }
}

// === outside = "wins" ===

#[tokio::test(start_paused = true)]
async fn an_edit_that_takes_the_item_ends_the_holding() {
    type Edit = fn(&World);
    let edits: [(&str, Edit, bool); 5] = [
        ("unassigned", |world| world.forge.outside_assign("root", REPO, 1, &[]), true),
        ("reassigned", |world| world.forge.outside_assign("root", REPO, 1, &["dev-3"]), false),
        ("closed", |world| world.forge.outside_close("root", REPO, 1), false),
        ("moved out of work", |world| world.forge.outside_labels("root", REPO, 1, &["blocked"]), false),
        ("unassigned", |world| world.forge.outside_remove_collaborator("root", REPO, "dev-1"), true),
    ];
    for (what, edit, free) in edits {
        eprintln!("--- {what}");
        let world = at_work().await;
        let fence = world.record(1).await.fence;
        edit(&world);
        let rival = world.claim("dev-2", 1).await;
        assert_eq!(rival.is_success(), free, "{rival:?}");
        assert!(world.record(1).await.fence > fence);
        let causes = world.causes().await;
        assert!(causes.len() == 1 && causes[0].contains(what), "{causes:?}");
    }
}

/// A claim without a label, given to a person by hand: not even where backlog keepers clear assignees.
#[tokio::test(start_paused = true)]
async fn whom_somebody_gave_a_held_item_keeps_it() {
    let world = World::new();
    world.claim("dev-1", 1).await.wins();
    world.forge.outside_assign("root", REPO, 1, &["dev-3"]);
    world.release("dev-1", 1).await.loses("not_holder");
    world.release("dev-2", 1).await.loses("not_holder");
    world.set_labels("dev-1", 1, &["blocked"]).await.loses("not_holder");
    assert_eq!(world.forge.issue(REPO, 1).assignees, ["dev-3"]);
    // Its own account may, and then the item is as free as any.
    world.release("dev-3", 1).await.wins();
    world.forge.outside_assign("root", REPO, 1, &["dev-3"]);
    world.release("dev-2", 1).await.wins();
    world.claim("dev-2", 1).await.wins();
}

#[tokio::test(start_paused = true)]
async fn the_old_holder_learns_of_it_at_its_next_write() {
    let world = at_work().await;
    world.forge.outside_assign("root", REPO, 1, &["dev-3"]);
    world.claim("dev-1", 1).await.loses("already_assigned");
    world.release("dev-1", 1).await.loses("not_holder");
    world.shows(1, &["dev-3"]);
}

#[tokio::test(start_paused = true)]
async fn a_human_who_reassigns_is_never_overwritten() {
    let world = at_work().await;
    world.forge.outside_assign("root", REPO, 1, &["dev-3"]);
    for agent in ["dev-1", "dev-2"] {
        world.claim(agent, 1).await.loses("already_assigned");
    }
    world.claim("dev-3", 1).await.needs_no_write();
    world.is_held_by(1, "dev-3").await;
}

#[tokio::test(start_paused = true)]
async fn a_harmless_edit_only_changes_what_was_shown() {
    let world = at_work().await;
    let before = world.record(1).await;
    world.forge.outside_labels("root", REPO, 1, &["in-progress", "bug"]);
    world.claim("dev-2", 1).await.loses("already_assigned");
    world.forge.outside_labels("root", REPO, 1, &["in-progress", "todo"]);
    world.claim("dev-2", 1).await.loses("already_assigned");
    let after = world.record(1).await;
    assert_eq!((after.fence, after.contested), (before.fence, false));
    assert_eq!(after.holding.unwrap().last_seen.statuses.len(), 2);
    assert!(world.causes().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_holding_without_an_assignee_is_not_an_outside_edit() {
    let world = World::new();
    world.claim("dev-1", 1).await.wins();
    world.claim("dev-1", 1).await.needs_no_write();
    world.claim("dev-2", 1).await.loses("already_assigned");
    assert!(world.causes().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_closed_item_that_is_reopened_can_be_claimed_at_once() {
    let world = at_work().await;
    world.forge.outside_close("root", REPO, 1);
    world.forge.outside_assign("root", REPO, 1, &[]);
    world.forge.outside_reopen("root", REPO, 1);
    world.claim("dev-2", 1).await.wins();
}

#[tokio::test(start_paused = true)]
async fn an_edit_between_write_and_read_back_is_contested() {
    let world = World::new();
    world.slow_forge(20, 0, 0);
    let (told, ()) = tokio::join!(world.claim("dev-1", 1), async {
        // Reads: which item and what state (one), then the write, then the read-back.
        while world.assignees(1).is_empty() {
            world.wait(Duration::from_millis(1)).await;
        }
        world.forge.outside_assign("root", REPO, 1, &["dev-3"]);
    });
    told.loses("contested");
    world.is_held_by_nobody(1).await;
    assert_eq!(world.states(1).await, [AttemptState::Partial]);
    world.claim("dev-3", 1).await.wins();
}

// === outside = "hold" ===

#[tokio::test(start_paused = true)]
async fn hold_refuses_all_until_the_holder_releases() {
    let world = World::with(|setup| setup.rules.assignment.outside = Outside::Hold);
    world.claim("dev-1", 1).await.wins();
    world.forge.outside_assign("root", REPO, 1, &["dev-3"]);
    world.claim("dev-2", 1).await.loses("already_assigned");
    world.claim("dev-3", 1).await.loses("already_assigned");
    world.claim("dev-1", 1).await.loses("contested");
    world.is_held_by(1, "dev-1").await;
    world.release("dev-1", 1).await.needs_no_write();
    world.shows(1, &["dev-3"]);
    world.claim("dev-3", 1).await.wins();
}

/// Somebody else's request that repeats what the outside edit left, or that touches nothing of it, does not make it good.
#[tokio::test(start_paused = true)]
async fn hold_is_not_lifted_by_what_decides_nothing() {
    let world = World::with(|setup| setup.rules.assignment.outside = Outside::Hold);
    world.claim("dev-1", 1).await.wins();
    world.forge.outside_close("root", REPO, 1);
    world.patch("dev-2", 1, json!({ "state": "closed" })).await.needs_no_write();
    world.release("dev-2", 1).await.loses("not_holder");
    world.add_label("dev-2", 1, "bug").await.wins();
    world.release("dev-2", 1).await.loses("not_holder");
    let record = world.record(1).await;
    assert!(record.contested && record.holding.is_some_and(|held| !held.parked), "as the outside edit left it");
    world.is_held_by(1, "dev-1").await;
    world.release("dev-1", 1).await.wins();
    world.log_is_sound().await;
}

#[tokio::test(start_paused = true)]
async fn hold_ends_by_the_operators_word() {
    let world = World::with(|setup| setup.rules.assignment.outside = Outside::Hold);
    world.claim("dev-1", 1).await.wins();
    world.forge.outside_assign("root", REPO, 1, &[]);
    world.claim("dev-2", 1).await.loses("already_assigned");
    let gate = world.process().gate.clone();
    gate.release(&Place::from_stored("root/work#1"), "the agent is gone").await.expect("it is held");
    world.claim("dev-2", 1).await.wins();
}

/// Who takes a silent holder's item over may finish it with the same write, and the log of that is sound.
#[tokio::test(start_paused = true)]
async fn what_is_taken_over_may_be_closed_at_once() {
    let world = World::with(|setup| {
        let assignment = &mut setup.rules.assignment;
        (assignment.stale_after, assignment.takeover_after) = (Some(Q / 2), Some(Q));
    });
    world.claim("dev-1", 1).await.wins();
    world.wait(Q + Duration::from_secs(1)).await;
    world.patch("dev-2", 1, json!({ "assignees": ["dev-2"], "state": "closed" })).await.wins();
    assert!(world.record(1).await.holding.is_some_and(|held| held.parked));
    world.log_is_sound().await;
}

// === foreign claims ===

#[tokio::test(start_paused = true)]
async fn a_foreign_claim_is_adopted_by_its_own_account_alone() {
    let world = World::new();
    world.forge.outside_assign("root", REPO, 1, &["dev-1"]);
    world.claim("dev-2", 1).await.loses("already_assigned");
    let sent = world.writes(1);
    world.claim("dev-1", 1).await.needs_no_write();
    assert_eq!(world.writes(1), sent);
    world.is_held_by(1, "dev-1").await;
    world.release("dev-1", 1).await.wins();
    world.claim("dev-2", 1).await.wins();
}

#[tokio::test(start_paused = true)]
async fn a_foreign_claim_at_work_is_cleared_by_its_own_account_alone() {
    let world = World::new();
    world.forge.outside_assign("root", REPO, 1, &["dev-1"]);
    world.forge.outside_labels("root", REPO, 1, &["in-progress"]);
    world.release("dev-2", 1).await.loses("not_holder");
    world.release("dev-1", 1).await.wins();
    world.shows(1, &[]);
}

// === parking, handing over, people, taking over ===

#[tokio::test(start_paused = true)]
async fn closing_parks_and_anybody_may_clear() {
    let world = at_work().await;
    world.release("dev-2", 1).await.loses("not_holder");
    world.close("dev-1", 1).await.wins();
    assert!(world.record(1).await.holding.unwrap().parked);
    world.claim("dev-2", 1).await.loses("already_assigned");
    world.release("dev-2", 1).await.wins();
    world.is_held_by_nobody(1).await;
    world.claim("dev-2", 1).await.wins();
}

#[tokio::test(start_paused = true)]
async fn moving_out_of_work_parks_and_the_holders_claim_unparks() {
    let world = at_work().await;
    world.set_labels("dev-1", 1, &["blocked"]).await.wins();
    assert!(world.record(1).await.holding.unwrap().parked);
    world.claim("dev-1", 1).await.wins();
    assert!(!world.record(1).await.holding.unwrap().parked);
    world.release("dev-2", 1).await.loses("not_holder");
}

#[tokio::test(start_paused = true)]
async fn taking_the_working_label_off_parks() {
    let world = at_work().await;
    world.remove_label("dev-1", 1, "in-progress").await.wins();
    assert!(world.record(1).await.holding.unwrap().parked);
}

#[tokio::test(start_paused = true)]
async fn handing_over_makes_the_other_the_holder() {
    let world = at_work().await;
    world.hand_over("dev-2", "dev-3", 1).await.loses("already_assigned");
    world.hand_over("dev-1", "dev-3", 1).await.wins();
    world.is_held_by(1, "dev-3").await;
    world.claim("dev-1", 1).await.loses("already_assigned");
    world.claim("dev-3", 1).await.needs_no_write();
    world.release("dev-3", 1).await.wins();
}

#[tokio::test(start_paused = true)]
async fn assigning_others_or_many_is_refused() {
    let world = World::new();
    world.claim_for("dev-1", "dev-2", 1).await.loses("not_holder");
    world.patch("dev-1", 1, json!({ "assignees": ["dev-1", "dev-2"] })).await.loses("multiple_assignees");
    world.claim("dev-1", 1).await.wins();
    world.patch("dev-1", 1, json!({ "assignees": ["dev-1", "dev-2"] })).await.loses("multiple_assignees");
}

#[tokio::test(start_paused = true)]
async fn people_may_do_what_no_rule_allows() {
    let world = at_work().await;
    world.release("supervisor", 1).await.wins();
    world.is_held_by_nobody(1).await;
    world.claim_for("supervisor", "dev-2", 1).await.wins();
    world.is_held_by(1, "dev-2").await;
    world.claim_for("supervisor", "supervisor", 1).await.wins();
    world.is_held_by(1, "supervisor").await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_holder_is_taken_over_where_the_rules_say_so() {
    let limit = Duration::from_hours(1);
    let world = World::with(|setup| setup.rules.assignment.takeover_after = Some(limit));
    world.claim("dev-1", 1).await.wins();
    world.wait(limit.saturating_sub(Duration::from_secs(1))).await;
    world.claim("dev-2", 1).await.loses("already_assigned");
    world.wait(Duration::from_secs(2)).await;
    world.patch("dev-2", 1, json!({ "assignees": ["dev-2", "dev-3"] })).await.loses("multiple_assignees");
    world.claim("dev-2", 1).await.wins();
    world.shows(1, &["dev-2"]);
    let kind = world.history(1).await.last().and_then(|settled| settled.attempt.kind);
    assert_eq!(kind, Some(claimgate::model::Kind::TakeOver));
    world.claim("dev-1", 1).await.loses("already_assigned");
    world.release("dev-1", 1).await.loses("not_holder");
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_works_is_not_silent() {
    let limit = Duration::from_hours(1);
    let world = World::with(|setup| setup.rules.assignment.takeover_after = Some(limit));
    world.claim("dev-1", 1).await.wins();
    for labels in [["in-progress"], ["blocked"], ["in-progress"]] {
        world.wait(limit / 2).await;
        world.set_labels("dev-1", 1, &labels).await.wins();
    }
    world.claim("dev-2", 1).await.loses("already_assigned");
}

/// Heard of is heard of, whoever reads the item after it, and whether or not that has been written down.
#[tokio::test(start_paused = true)]
async fn a_holder_that_reads_is_not_silent_either() {
    let limit = Duration::from_hours(1);
    let world = World::with(|setup| setup.rules.assignment.takeover_after = Some(limit));
    world.knows_readers(2).await;
    world.claim("dev-1", 1).await.wins();
    let address = address_of(1);
    for round in 0..4 {
        world.wait(limit / 2).await;
        for reader in ["dev-1", "dev-2"] {
            world.process().gate.saw_read(
                &world.credential(reader),
                None,
                (address.project(), Some(&address)),
                Shows::Item,
            );
        }
        if round % 2 == 0 {
            world.process().gate.flush_renewals().await;
        }
    }
    world.claim("dev-2", 1).await.loses("already_assigned");
    world.wait(limit * 2).await;
    world.claim("dev-2", 1).await.wins();
}

/// More holdings than are read at once, by several agents: each is counted, and each that is heard of is written down.
#[tokio::test(start_paused = true)]
async fn many_silent_holders_are_all_seen() {
    const HELD: usize = 250;
    let limit = Duration::from_hours(1);
    let world = World::with(|setup| {
        setup.issues = HELD;
        setup.rules.assignment.stale_after = Some(limit);
    });
    world.knows_readers(3).await;
    for n in 1..=HELD {
        world.claim(&format!("dev-{}", n % 3 + 1), n as u64).await.wins();
    }
    let gate = world.process().gate.clone();
    let watch = tokio::spawn(gate.clone().watch(Duration::from_hours(9)));
    let stale = || gate.ports().metrics.stale.get();
    world.wait(limit / 2).await;
    assert_eq!(stale(), 0);
    for n in (1..=HELD).step_by(2) {
        let address = address_of(n as u64);
        let reader = world.credential(&format!("dev-{}", n % 3 + 1));
        gate.saw_read(&reader, None, (address.project(), Some(&address)), Shows::Item);
    }
    world.wait(limit * 3 / 4).await;
    assert_eq!(stale(), i64::try_from(HELD / 2).unwrap());
    gate.flush_renewals().await;
    world.wait(Duration::from_secs(2)).await;
    assert_eq!(stale(), i64::try_from(HELD / 2).unwrap(), "as it was heard of, so it is written");
    world.wait(limit).await;
    assert_eq!(stale(), i64::try_from(HELD).unwrap());
    watch.abort();
}

// === half-done writes ===

#[tokio::test(start_paused = true)]
async fn a_write_of_which_only_the_assignee_landed_is_partial_and_holds() {
    let world = World::new();
    world.next_write(1, Fault::AssigneesThenError(500));
    let told = world.patch("dev-1", 1, json!({ "assignees": ["dev-1"], "state": "closed" })).await;
    told.is(500, "partial");
    world.is_held_by(1, "dev-1").await;
    world.claim("dev-2", 1).await.loses("already_assigned");
    world.release("dev-1", 1).await.wins();
}

#[tokio::test(start_paused = true)]
async fn a_write_of_which_all_but_the_assignee_landed_is_contested() {
    let world = World::new();
    world.next_write(1, Fault::RestThenError(500));
    world.patch("dev-1", 1, json!({ "assignees": ["dev-1"], "state": "closed" })).await.loses("contested");
    world.is_held_by_nobody(1).await;
    world.claim("dev-2", 1).await.wins();
}

// === new items, moved items ===

impl World {
    async fn file(&self, who: &str, assignees: &[&str]) -> (u64, claimgate::model::AttemptState) {
        let body = json!({ "title": "found while at work", "assignees": assignees });
        let told = self.write(who, "POST", "/api/v1/repos/root/work/issues", body).await.wins();
        let n = told.body["number"].as_u64().expect("a new issue");
        let last = self.states(n).await.last().copied();
        (n, last.unwrap_or(AttemptState::Rejected))
    }
}

#[tokio::test(start_paused = true)]
async fn an_item_filed_for_oneself_is_held() {
    let world = World::new();
    let (n, state) = world.file("dev-1", &["dev-1"]).await;
    assert_eq!(state, AttemptState::Committed);
    world.is_held_by(n, "dev-1").await;
    world.claim("dev-2", n).await.loses("already_assigned");
    world.release("dev-1", n).await.wins();
}

#[tokio::test(start_paused = true)]
async fn an_item_filed_for_somebody_else_is_a_foreign_claim() {
    let world = World::new();
    let (n, _) = world.file("dev-1", &["dev-2"]).await;
    world.is_held_by_nobody(n).await;
    world.claim("dev-1", n).await.loses("already_assigned");
    world.claim("dev-2", n).await.needs_no_write();
}

#[tokio::test(start_paused = true)]
async fn a_creation_of_unknown_outcome_is_not_repeated() {
    let world = World::new();
    world.forge.script(Fault::CutAfter, claimgate::fake_forge::Matcher::new("POST", "/issues"));
    let body = json!({ "title": "new", "assignees": ["dev-1"] });
    world.write("dev-1", "POST", "/api/v1/repos/root/work/issues", body).await.is(504, "outcome_unknown");
    assert_eq!(world.process().upstream.sends(), 1);
    // It is there: a foreign claim, which its own account adopts.
    world.claim("dev-2", 4).await.loses("already_assigned");
    world.claim("dev-1", 4).await.needs_no_write();
}

#[tokio::test(start_paused = true)]
async fn the_old_and_the_new_name_of_a_repository_are_one_item() {
    let world = World::new();
    world.forge.rename_repo(REPO, "renamed");
    let path = |name: &str| format!("/api/v1/repos/root/{name}/issues/1");
    let claim = |who: &'static str, name: &'static str| {
        let body = json!({ "assignees": [who] });
        let world = &world;
        async move { world.write(who, "PATCH", &path(name), body).await }
    };
    let (one, two) = tokio::join!(claim("dev-1", "work"), claim("dev-2", "renamed"));
    let told = [&one, &two];
    assert_eq!(told.iter().filter(|told| told.is_success()).count(), 1, "{told:?}");
    assert_eq!(told.iter().filter(|told| told.code == "already_assigned").count(), 1, "{told:?}");
    assert_eq!(world.forge.max_assignees_ever("root/renamed", 1), 1);
}

/// Between the write and its read-back the repository is renamed, and another one gets its name.
#[tokio::test(start_paused = true)]
async fn another_item_at_the_same_place_is_no_evidence() {
    let world = World::new();
    world.trap(Moment::Answered, Trap::Slow(Duration::from_secs(4)));
    let (told, ()) = tokio::join!(world.claim("dev-1", 1), async {
        world.wait(Duration::from_secs(1)).await;
        world.forge.rename_repo(REPO, "renamed");
        world.forge.add_repo("root", "work");
        world.forge.add_issue(REPO, "another", &[], &["dev-1"]);
    });
    told.is(504, "outcome_unknown");
}

/// The watcher finds what happened to a held item where its repository is now.
#[tokio::test(start_paused = true)]
async fn the_watcher_follows_an_item_once() {
    let world = World::with(|setup| setup.service = Some("admin"));
    world.claim("dev-1", 1).await.wins();
    let gate = world.process().gate.clone();
    let held = || async { gate.ports().ledger.active().await.unwrap().iter().any(|record| record.holding.is_some()) };
    assert!(held().await);
    world.forge.rename_repo(REPO, "renamed");
    world.forge.outside_assign("root", "root/renamed", 1, &["dev-2"]);
    let watch = tokio::spawn(gate.clone().watch(Duration::from_mins(1)));
    world.wait(Duration::from_secs(30)).await;
    watch.abort();
    assert!(!held().await, "the edit took it from its holder");
}

#[tokio::test(start_paused = true)]
async fn the_trackers_own_answer_can_stand_for_a_read_back() {
    for (verify, requests) in [(Verify::ReadBack, 3), (Verify::Answer, 2)] {
        let world = World::with(|setup| setup.settings.verify = verify);
        world.claim("dev-1", 2).await.wins();
        world.claim("dev-1", 1).await.wins();
        let about = world.forge.requests_about(REPO, 1);
        assert_eq!(about.len(), requests, "{verify:?}: {about:?}");
        assert_eq!(world.holder(1).await.as_deref(), Some("dev-1"));
        // An answer that does not carry the item is read back all the same.
        world.add_label("dev-1", 1, "in-progress").await.wins();
        assert_eq!(world.forge.issue(REPO, 1).labels, ["backlog", "in-progress"]);
    }
}
