//! One request that names several items: all of them, or none. Forms of the web interface are what sends such requests.

use crate::support::{Moment, Q, REPO, Told, Trap, World, label_id};
use claimgate::admission::{By, Mode, Web};
use claimgate::fake_forge::{Fault, Matcher, Options};
use claimgate::gate::ConcurrencyLimits;
use claimgate::model::AttemptState;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// The gate reads with a token of its own; people are above the rules.
fn with_reads() -> World {
    World::with(|setup| {
        setup.service = Some("admin");
        setup.forge = Options::forgejo_15();
    })
}

/// The same, and the rules hold for people too.
fn enforcing() -> World {
    World::with(|setup| {
        setup.service = Some("admin");
        setup.forge = Options::forgejo_15();
        setup.rules.web = Web::Enforce;
    })
}

/// Newer forges tell nothing of a session, and there is no token to read with.
fn without_reads(web: Web) -> World {
    World::with(|setup| {
        setup.forge = Options::forgejo_15();
        setup.rules.web = web;
    })
}

impl World {
    /// The gardener assigns somebody to these issues by one form.
    async fn assigns(&self, login: &str, numbers: &[u64]) -> Told {
        self.assigns_by("attach", login, numbers).await
    }

    async fn assigns_by(&self, action: &str, login: &str, numbers: &[u64]) -> Told {
        let action = if action.is_empty() { String::new() } else { format!("&action={action}") };
        let form = format!("issue_ids={}&id={}{action}", self.ids(numbers), self.forge.user_id(login));
        self.form("gardener", "issues/assignee", &form).await
    }

    /// The next form of this kind meets this at the forge.
    fn next_form(&self, path: &str, fault: Fault) {
        self.forge.script(fault, Matcher::new("POST", path));
    }

    /// Forms that reached the forge.
    fn forms(&self) -> usize {
        self.forge.requests().iter().filter(|entry| entry.method == "POST").count()
    }
}

// === the plain cases ===

#[tokio::test(start_paused = true)]
async fn one_form_assigns_several_by_one_send_and_each_has_its_attempt() {
    let world = with_reads();
    world.assigns("dev-2", &[1, 2, 3]).await.wins();
    assert_eq!(world.forms(), 1);
    for n in 1..=3 {
        world.shows(n, &["dev-2"]);
        world.is_held_by(n, "dev-2").await;
        assert_eq!(world.states(n).await, [AttemptState::Committed]);
        world.claim("dev-1", n).await.loses("already_assigned");
        world.claim("dev-2", n).await.needs_no_write();
    }
    world.log_is_sound().await;
}

#[tokio::test(start_paused = true)]
async fn people_may_assign_beside_a_holder_who_goes_on_holding() {
    let world = with_reads();
    world.claim("dev-1", 2).await.wins();
    world.assigns("dev-2", &[1, 2]).await.wins();
    world.shows(1, &["dev-2"]);
    world.shows(2, &["dev-1", "dev-2"]);
    world.is_held_by(2, "dev-1").await;
    world.claim("dev-2", 2).await.loses("already_assigned");
    world.log_is_sound().await;
}

#[tokio::test(start_paused = true)]
async fn where_rules_are_enforced_one_refusal_refuses_all() {
    let world = enforcing();
    world.claim("dev-1", 2).await.wins();
    let told = world.assigns("dev-2", &[1, 2, 3]).await.loses("already_assigned");
    let message = told.body["message"].as_str().unwrap();
    assert!(message.contains("1 of 3 items") && message.contains("root/work#2 is held by dev-1"), "{message}");
    assert_eq!(world.forms(), 0, "nothing was sent");
    for (n, shown, last) in
        [(1, None, AttemptState::Aborted), (2, Some("dev-1"), AttemptState::Rejected), (3, None, AttemptState::Aborted)]
    {
        world.shows(n, shown.as_slice());
        assert_eq!(world.states(n).await.last(), Some(&last), "#{n}");
    }
    world.assigns("dev-2", &[1, 3]).await.wins();
    world.is_held_by(1, "dev-2").await;
    let clear = format!("issue_ids={}&id=0&action=clear", world.ids(&[2]));
    world.form("gardener", "issues/assignee", &clear).await.loses("not_holder");
    world.log_is_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_toggle_is_never_sent_where_it_would_undo() {
    let world = with_reads();
    world.claim("dev-2", 2).await.wins();
    // Chosen for two, of which one has it already: the form is sent for the other alone.
    world.assigns_by("", "dev-2", &[1, 2]).await.wins();
    world.shows(1, &["dev-2"]);
    world.shows(2, &["dev-2"]);
    // Both have it: nothing is sent where that was asked for, and what was asked for otherwise takes it away.
    let sent = world.forms();
    world.assigns("dev-2", &[1, 2]).await.needs_no_write();
    assert_eq!(world.forms(), sent);
    world.assigns_by("", "dev-2", &[1, 2]).await.wins();
    for n in 1..=2 {
        world.shows(n, &[]);
        world.is_held_by_nobody(n).await;
    }
    world.assigns_by("detach", "dev-2", &[1]).await.needs_no_write();
    world.log_is_sound().await;
}

#[tokio::test(start_paused = true)]
async fn labels_and_states_of_a_selection() {
    let world = with_reads();
    let todo = 2;
    let labels = |action: &str| format!("issue_ids={}&id={todo}&action={action}", world.ids(&[1, 2]));
    world.form("gardener", "issues/labels", &labels("toggle")).await.wins();
    assert_eq!(world.forge.issue(REPO, 2).labels, ["backlog", "todo"]);
    world.remove_label("gardener", 1, "todo").await.wins();
    // One has it: the toggle takes it away, and leaves the other alone.
    world.form("gardener", "issues/labels", &labels("toggle")).await.wins();
    assert_eq!(world.forge.issue(REPO, 1).labels, ["backlog"]);
    assert_eq!(world.forge.issue(REPO, 2).labels, ["backlog"]);
    let close = format!("issue_ids={}&action=close", world.ids(&[1, 2]));
    world.form("gardener", "pulls/status", &close).await.wins();
    assert_eq!(world.forge.issue(REPO, 1).state, "closed");
    world.form("gardener", "issues/status", &close).await.needs_no_write();
    world.log_is_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_comment_is_posted_even_where_its_state_shows_already() {
    let world = with_reads();
    for text in ["first", "second"] {
        world.form("gardener", "issues/1/comments", &format!("content={text}&status=close")).await.is(302, "");
        assert_eq!(world.forge.issue(REPO, 1).state, "closed");
    }
    assert_eq!(world.forge.issue(REPO, 1).comments, ["first", "second"]);
    assert_eq!(world.states(1).await, [AttemptState::Committed, AttemptState::Committed]);
    world.log_is_sound().await;
}

#[tokio::test(start_paused = true)]
async fn what_no_read_shows_takes_its_turns_and_is_recorded() {
    let world = enforcing();
    world.claim("dev-1", 2).await.wins();
    let board = |numbers: &[u64]| format!("issue_ids={}&id=4", world.ids(numbers));
    world.form("gardener", "issues/projects", &board(&[1, 3])).await.wins();
    assert_eq!(world.forge.board(REPO, 3), Some((4, 0)));
    // The column of what somebody works on is the holder's to change.
    world.form("gardener", "issues/projects", &board(&[1, 2])).await.loses("not_holder");
    assert_eq!(world.forge.board(REPO, 2), None);
    // Anybody may while the rules only observe, and it is said what they would have said.
    let relaxed = World::with(|setup| {
        setup.service = Some("admin");
        setup.forge = Options::forgejo_15();
        setup.rules.web = Web::Enforce;
        setup.rules.workflow.mode = Mode::Observe;
    });
    relaxed.claim("dev-1", 2).await.wins();
    let form = format!("issue_ids={}&id=4", relaxed.ids(&[1, 2]));
    relaxed.form("gardener", "issues/projects", &form).await.is(200, "not_holder");
    assert_eq!(relaxed.forge.board(REPO, 2), Some((4, 0)));
    let new = format!("title=x&assignee_ids={}", world.forge.user_id("dev-3"));
    world.form("gardener", "issues/new", &new).await.is(302, "");
    let lines = world.lines().await;
    let of = |part: &str| lines.iter().filter(|line| line["change"].as_str().unwrap_or("").contains(part)).count();
    assert_eq!((of("project=4"), of("create in root/work")), (3, 1));
    world.log_is_sound().await;
}

// === turns ===

#[tokio::test(start_paused = true)]
async fn a_form_waits_for_the_claim_under_way() {
    let world = enforcing();
    world.slow_forge(0, 5_000, 0);
    let (claimed, assigned) = tokio::join!(world.claim("dev-1", 2), async {
        world.wait(SECOND).await;
        world.assigns("dev-2", &[1, 2]).await
    });
    claimed.wins();
    assigned.loses("already_assigned");
    world.shows(1, &[]);
    world.shows(2, &["dev-1"]);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_forms_of_one_person_is_not_all_before_others() {
    let world = with_reads();
    world.assigns("dev-1", &[1]).await.wins();
    world.slow_forge(0, 500, 0);
    // Each undoes what the one before it did.
    let flood = futures_util::future::join_all((0..20).map(|n| {
        let (world, action) = (&world, if n % 2 == 0 { "attach" } else { "detach" });
        world.assigns_by(action, "dev-3", &[1])
    }));
    let other = async {
        world.wait(SECOND / 10).await;
        let began = tokio::time::Instant::now();
        let told = world.release("dev-1", 1).await;
        (told, began.elapsed())
    };
    let (_, (told, waited)) = tokio::join!(flood, other);
    assert!(waited < 4 * SECOND, "it waited for {waited:?}: {told:?}");
}

#[tokio::test(start_paused = true)]
async fn turns_that_do_not_come_in_time_are_given_back() {
    let world = World::with(|setup| {
        setup.service = Some("admin");
        setup.settings.lanes.timeout = 3 * SECOND;
    });
    world.slow_forge(0, 5_000, 0);
    let (claimed, assigned) = tokio::join!(world.claim("dev-1", 2), async {
        world.wait(SECOND).await;
        let assigned = world.assigns("dev-2", &[1, 2, 3]).await;
        world.claim("dev-3", 1).await.wins();
        assigned
    });
    claimed.wins();
    assigned.is(503, "lane_timeout");
    assert_eq!(world.forms(), 0);
}

#[tokio::test(start_paused = true)]
async fn forms_that_overlap_come_one_after_another() {
    let world = with_reads();
    world.slow_forge(50, 500, 50);
    let all = futures_util::future::join_all([
        world.assigns("dev-1", &[1, 2, 3]),
        world.assigns("dev-2", &[3, 2]),
        world.assigns("dev-3", &[2, 1]),
        world.assigns("dev-4", &[3, 1]),
    ]);
    for told in tokio::time::timeout(20 * SECOND, all).await.expect("no two wait for each other") {
        told.wins();
    }
    for n in 1..=3 {
        assert!(world.holder(n).await.is_some(), "#{n}");
        assert!(world.known(n).await.unwrap().live.is_none());
    }
    world.log_is_sound().await;
}

#[tokio::test(start_paused = true)]
async fn forms_that_wait_for_one_claim_never_wait_for_each_other() {
    let world = World::with(|setup| {
        setup.service = Some("admin");
        setup.forge = Options::forgejo_15();
        setup.settings.lanes.timeout = 60 * SECOND;
    });
    world.slow_forge(0, 1_000, 0);
    let later = |numbers: &'static [u64]| {
        let world = &world;
        async move {
            world.wait(SECOND / 2).await;
            world.assigns("dev-2", numbers).await
        }
    };
    // Each has its first turn before the claim of the one in the middle is through.
    let all =
        futures_util::future::join4(world.claim("dev-1", 2), later(&[1, 2, 3]), later(&[3, 2, 1]), later(&[2, 3, 1]));
    let (claimed, one, two, three) = tokio::time::timeout(20 * SECOND, all).await.expect("no two wait for each other");
    claimed.wins();
    assert!([one, two, three].iter().all(Told::is_success));
}

#[tokio::test(start_paused = true)]
async fn forms_have_their_share_of_the_places_and_no_more() {
    for (all, per_agent, reason) in [(10, 1, "as many as it may"), (1, 10, "too many guarded writes")] {
        let world = World::with(|setup| {
            setup.service = Some("admin");
            setup.forge = Options::forgejo_15();
            setup.settings.concurrency = ConcurrencyLimits { all, per_agent };
        });
        world.slow_forge(0, 1_000, 0);
        let (one, other) = tokio::join!(world.assigns("dev-1", &[1]), async {
            world.wait(SECOND / 2).await;
            world.assigns("dev-2", &[2]).await
        });
        one.wins();
        let told = other.is(503, "lane_timeout");
        assert!(told.body.to_string().contains(reason), "{told:?}");
        world.assigns("dev-2", &[2]).await.wins();
    }
}

// === moves ===

#[tokio::test(start_paused = true)]
async fn where_rules_are_enforced_moves_of_a_form_are_judged() {
    let world = enforcing();
    world.claim("dev-1", 2).await.wins();
    let close = format!("issue_ids={}&action=close", world.ids(&[1, 2]));
    world.form("gardener", "issues/status", &close).await.loses("not_holder");
    let label = |label: &str, action: &str, numbers: &[u64]| {
        let id = label_id(label);
        format!("issue_ids={}&id={id}&action={action}", world.ids(numbers))
    };
    world.form("gardener", "issues/labels", &label("backlog", "detach", &[1, 2])).await.loses("not_holder");
    assert_eq!(world.forms(), 0);
    // A session is nobody's name: it takes nothing up.
    let told = world.form("gardener", "issues/labels", &label("in-progress", "attach", &[1])).await;
    assert!(told.loses("not_holder").body["message"].as_str().unwrap().contains("assign the item first"));
    world.is_held_by_nobody(1).await;
    world.form("gardener", "issues/labels", &label("todo", "toggle", &[1, 3])).await.wins();
    assert_eq!(world.forge.issue(REPO, 3).labels, ["backlog", "todo"]);
    world.log_is_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_session_that_moves_what_nobody_holds_is_made_no_holder_where_rules_observe() {
    let world = World::with(|setup| {
        setup.service = Some("admin");
        setup.forge = Options::forgejo_15();
        setup.rules.web = Web::Enforce;
        setup.rules.workflow.mode = Mode::Observe;
    });
    let id = label_id("in-progress");
    let attach = format!("issue_ids={}&id={id}&action=attach", world.ids(&[1]));
    world.form("gardener", "issues/labels", &attach).await.is(200, "not_holder");
    world.is_held_by_nobody(1).await;
    world.claim("dev-1", 1).await.wins();
}

#[tokio::test(start_paused = true)]
async fn what_a_form_finds_left_half_way_is_put_back() {
    let world = with_reads();
    world.claim("dev-1", 1).await.wins();
    world.add_label("dev-1", 1, "in-progress").await.wins();
    world.remove_label("dev-1", 1, "backlog").await.wins();
    world.forge.outside_assign("root", REPO, 1, &[]);
    let clear = format!("issue_ids={}&id=0&action=clear", world.ids(&[1]));
    world.form("gardener", "issues/assignee", &clear).await.needs_no_write();
    world.is_held_by_nobody(1).await;
    world.wait(SECOND).await;
    assert_eq!(world.forge.issue(REPO, 1).labels, ["backlog"], "as the claim found it");
    world.log_is_sound().await;
}

#[tokio::test(start_paused = true)]
async fn where_rules_are_enforced_a_form_gives_nobody_more_than_it_may_hold() {
    let limited = |mode| {
        World::with(|setup| {
            setup.service = Some("admin");
            setup.forge = Options::forgejo_15();
            setup.rules.web = Web::Enforce;
            setup.rules.limits.items = 2;
            setup.rules.limits.mode = mode;
        })
    };
    let world = limited(Mode::Enforce);
    let told = world.assigns("dev-2", &[1, 2, 3]).await.loses("limit_reached");
    assert!(told.body["message"].as_str().unwrap().contains("none of the items"), "{told:?}");
    assert_eq!(world.forms(), 0);
    world.assigns("dev-2", &[1, 2]).await.wins();
    world.claim("dev-2", 3).await.loses("limit_reached");
    world.log_is_sound().await;
    let world = limited(Mode::Observe);
    world.assigns("dev-2", &[1, 2, 3]).await.is(200, "limit_reached");
    world.is_held_by(3, "dev-2").await;
    world.log_is_sound().await;
}

// === doubt and crashes ===

#[tokio::test(start_paused = true)]
async fn no_certain_answer_puts_all_in_doubt_and_each_is_resolved_by_itself() {
    let world = with_reads();
    world.next_form("issues/assignee", Fault::CutAfter);
    let told = world.assigns("dev-2", &[1, 2]).await.is(504, "outcome_unknown");
    assert!(told.body["message"].as_str().unwrap().contains("root/work#1, root/work#2"), "{told:?}");
    world.forge.outside_assign("root", REPO, 2, &[]);
    for n in 1..=2 {
        assert_eq!(world.record(n).await.doubts.len(), 1);
    }
    world.claim("dev-1", 2).await.loses("in_doubt");
    // A form that names one of them is refused as a whole.
    let told = world.assigns("dev-3", &[2, 3]).await.loses("in_doubt");
    assert!(told.body["message"].as_str().unwrap().contains("root/work#2"), "{told:?}");
    world.shows(3, &[]);
    // What landed is found at once; what does not show, at the end.
    world.claim("dev-1", 1).await.loses("already_assigned");
    world.wait(Q).await;
    world.claim("dev-1", 2).await.wins();
    assert_eq!(world.states(1).await.first(), Some(&AttemptState::Landed));
    assert_eq!(world.states(2).await.first(), Some(&AttemptState::NotLanded));
    world.log_is_sound().await;
}

#[tokio::test(start_paused = true)]
async fn each_item_is_told_by_what_it_shows() {
    let world = with_reads();
    world.next_form("issues/assignee", Fault::Ignore);
    world.assigns("dev-2", &[1, 2]).await.is(403, "not_applied");
    world.next_form("issues/assignee", Fault::ErrorAfterWrite(500));
    world.assigns("dev-2", &[1, 2]).await.wins();
    world.is_held_by(2, "dev-2").await;
    world.next_form("issues/assignee", Fault::ErrorBeforeWrite(500));
    world.assigns_by("detach", "dev-2", &[1, 2]).await.is(500, "");
    world.is_held_by(1, "dev-2").await;
    world.log_is_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_each_step_leaves_none_open() {
    for (moment, sent) in [
        (Moment::AfterT1, false),
        (Moment::AfterT2, true),
        (Moment::Answered, true),
        (Moment::BeforeT3, true),
        (Moment::AfterT3, false),
    ] {
        let world = with_reads();
        world.trap(moment, Trap::Crash);
        world.assigns("dev-2", &[1, 2]).await.heard_nothing();
        world.restart();
        for n in 1..=2 {
            let record = world.known(n).await;
            let doubts = record.as_ref().map_or(0, |record| record.doubts.len());
            assert_eq!(doubts, usize::from(sent), "{moment:?} #{n}");
            assert!(record.is_none_or(|record| record.live.is_none()), "{moment:?} #{n}");
        }
        world.wait(Q + SECOND).await;
        for n in 1..=2 {
            let free = world.assignees(n).is_empty();
            let told = world.claim("dev-1", n).await;
            assert_eq!(told.is_success(), free, "{moment:?} #{n}: {told:?}");
        }
        world.log_is_sound().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_leaves_doubts_behind_and_no_gap() {
    let world = with_reads();
    world.trap(Moment::Answered, Trap::Panic);
    world.assigns("dev-2", &[1, 2]).await.is(504, "outcome_unknown");
    for n in 1..=2 {
        let record = world.record(n).await;
        assert_eq!((record.doubts.len(), record.live), (1, None));
    }
    world.log_is_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_before_t2_sends_nothing_and_the_log_says_so() {
    let world = with_reads();
    world.trap(Moment::BeforeT2, Trap::Panic);
    world.assigns("dev-2", &[1, 2]).await.is(504, "outcome_unknown");
    assert_eq!(world.states(1).await, [AttemptState::Aborted]);
    world.log_is_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_over_a_clear_that_passes_the_holder_by_leaves_a_true_log() {
    for anyone in [false, true] {
        let world = World::with(|setup| {
            setup.service = Some("admin");
            setup.forge = Options::forgejo_15();
            setup.rules.web = if anyone { Web::Enforce } else { Web::Override };
            setup.rules.assignment.release_by = if anyone { By::Anyone } else { By::Holder };
        });
        world.claim("dev-1", 1).await.wins();
        world.trap(Moment::Answered, Trap::Panic);
        let clear = format!("issue_ids={}&id=0&action=clear", world.ids(&[1]));
        world.form("gardener", "issues/assignee", &clear).await.is(504, "outcome_unknown");
        world.wait(Q + SECOND).await;
        world.claim("dev-2", 1).await.wins();
        assert!(world.lines().await.iter().any(|line| line["kind"] == "landed"), "the doubt ended");
        world.log_is_sound().await;
    }
}

#[tokio::test(start_paused = true)]
async fn where_anyone_may_release_a_form_may_and_the_log_is_true() {
    let world = World::with(|setup| {
        setup.service = Some("admin");
        setup.forge = Options::forgejo_15();
        setup.rules.web = Web::Enforce;
        setup.rules.assignment.release_by = By::Anyone;
    });
    world.claim("dev-1", 1).await.wins();
    let clear = format!("issue_ids={}&id=0&action=clear", world.ids(&[1]));
    world.form("gardener", "issues/assignee", &clear).await.wins();
    world.is_held_by_nobody(1).await;
    world.claim("dev-2", 1).await.wins();
    world.log_is_sound().await;
}

#[tokio::test(start_paused = true)]
async fn without_a_ledger_nothing_is_sent() {
    for moment in [Moment::BeforeT1, Moment::BeforeT2] {
        let world = with_reads();
        world.trap(moment, Trap::LedgerAway);
        world.assigns("dev-2", &[1, 2]).await.is(503, "ledger_unavailable");
        assert_eq!(world.forms(), 0, "{moment:?}");
        world.store.set_available(true);
        world.wait(SECOND).await;
        world.claim("dev-1", 1).await.wins();
        world.claim("dev-1", 2).await.wins();
    }
    // Sent, and not written down: never a success, and written down later.
    let world = with_reads();
    world.trap(Moment::BeforeT3, Trap::LedgerAway);
    world.assigns("dev-2", &[1, 2]).await.is(504, "outcome_unknown");
    world.store.set_available(true);
    world.wait(2 * SECOND).await;
    world.is_held_by(1, "dev-2").await;
    world.is_held_by(2, "dev-2").await;
    world.log_is_sound().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_leaves_after_the_window() {
    let world = with_reads();
    world.trap(Moment::BeforeSend, Trap::Suspend(90 * SECOND));
    world.assigns("dev-2", &[1, 2]).await.is(503, "fenced");
    assert_eq!(world.forms(), 0);
    world.claim("dev-1", 1).await.wins();
}

// === without reads ===

#[tokio::test(start_paused = true)]
async fn unread_the_next_guarded_write_takes_it_as_the_edit_that_it_is() {
    let world = without_reads(Web::Override);
    world.claim("dev-1", 2).await.wins();
    let clear = format!("issue_ids={}&id=0&action=clear", world.ids(&[1, 2]));
    world.form("gardener", "issues/assignee", &clear).await.wins();
    let recorded = world.lines().await.iter().filter(|line| line["change"] == "assignees=[]").count();
    assert_eq!(recorded, 2, "a line for each");
    world.claim("dev-3", 2).await.wins();
    assert!(world.lines().await.iter().any(|line| line["kind"] == "revoked"), "dev-1's holding was ended by it");
    world.log_is_sound().await;
}

#[tokio::test(start_paused = true)]
async fn unread_it_waits_for_turns_and_for_doubt_too() {
    let world = without_reads(Web::Override);
    world.next_write(2, Fault::CutBefore);
    world.claim("dev-1", 2).await.is(504, "outcome_unknown");
    world.assigns("dev-2", &[1, 2]).await.loses("in_doubt");
    assert_eq!(world.forms(), 0);
    world.slow_forge(0, 5_000, 0);
    let close = format!("issue_ids={}&action=close", world.ids(&[1]));
    let ((), claimed) = tokio::join!(
        async {
            world.wait(SECOND).await;
            world.form("gardener", "issues/status", &close).await.wins();
        },
        world.claim("dev-1", 1)
    );
    claimed.wins();
    assert_eq!(world.forge.issue(REPO, 1).state, "closed");
    let writes: Vec<_> = world.forge.requests().into_iter().filter(|entry| entry.method != "GET").collect();
    let order: Vec<&str> = writes.iter().rev().take(2).map(|entry| entry.method.as_str()).collect();
    assert_eq!(order, ["POST", "PATCH"], "the form came after the claim, by turn");
}

#[tokio::test(start_paused = true)]
async fn unread_a_toggle_is_refused_where_somebody_holds_and_goes_on_where_nobody_does() {
    let world = without_reads(Web::Override);
    world.claim("dev-1", 2).await.wins();
    // The page was loaded before dev-1 came: sent on, the tracker would take dev-1 away.
    for action in ["", "attach", "detach"] {
        let told = world.assigns_by(action, "dev-1", &[1, 2]).await.loses("not_holder");
        let message = told.body["message"].as_str().unwrap();
        assert!(
            message.contains("root/work#2 is held by dev-1") && message.contains("service_token_file"),
            "{message}"
        );
    }
    let toggle = format!("issue_ids={}&id=2&action=toggle", world.ids(&[2]));
    world.form("gardener", "issues/labels", &toggle).await.loses("not_holder");
    assert_eq!(world.forms(), 0);
    world.shows(2, &["dev-1"]);
    world.assigns("dev-2", &[1]).await.wins();
    world.shows(1, &["dev-2"]);
    // What says what it does is people's to send.
    let attach = format!("issue_ids={}&id=2&action=attach", world.ids(&[2]));
    world.form("gardener", "issues/labels", &attach).await.wins();
    world.log_is_sound().await;
}

#[tokio::test(start_paused = true)]
async fn unread_and_enforced_is_refused() {
    let world = without_reads(Web::Enforce);
    let told = world.assigns("dev-2", &[1]).await.is(502, "upstream_unreadable");
    assert!(told.body["message"].as_str().unwrap().contains("service_token_file"), "{told:?}");
    assert_eq!(world.forms(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_old_forge_tells_of_a_session_and_lets_it_read() {
    let world = World::with(|setup| setup.rules.web = Web::Enforce);
    let form = format!("_csrf=t&issue_ids={}&id={}&action=attach", world.ids(&[1]), world.forge.user_id("gardener"));
    world.form("gardener", "issues/assignee", &form).await.wins();
    world.is_held_by(1, "gardener").await;
    let detach = form.replace("attach", "detach");
    world.form("bot", "issues/assignee", &detach).await.loses("not_holder");
    world.form("gardener", "issues/assignee", &detach).await.wins();
    world.is_held_by_nobody(1).await;
    world.log_is_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_stranger_takes_no_turns_and_learns_nothing() {
    let world = enforcing();
    world.claim("dev-1", 1).await.wins();
    let form = format!("issue_ids={}&id={}", world.ids(&[1]), world.forge.user_id("dev-2"));
    let told = world.form("nobody", "issues/assignee", &form).await;
    assert_eq!(told.status, 302, "the forge's own answer: {told:?}");
    world.forge.set_private(REPO, true);
    world.forge.add_user("eve", "eve");
    world.forge.add_session("eve", "session-of-eve");
    let told = world.form("eve", "issues/assignee", &form).await;
    assert_eq!(told.status, 404, "{told:?}");
    assert_eq!(world.forms(), 0);
}

#[tokio::test(start_paused = true)]
async fn another_repositorys_items_are_refused() {
    let world = World::with(|setup| setup.service = Some("admin"));
    world.forge.add_repo("root", "other");
    let other = world.forge.add_issue("root/other", "elsewhere", &[], &[]);
    let form = format!("issue_ids={},{}&id={}", world.ids(&[1]), other.id, world.forge.user_id("dev-2"));
    let told = world.form("gardener", "issues/assignee", &form).await.is(400, "ambiguous_request");
    assert!(told.body["message"].as_str().unwrap().contains(&other.id.to_string()), "{told:?}");
    world.shows(1, &[]);
    // Not either where the gate knows where it is.
    world.forge.grant_write("dev-1", "root/other");
    let claim = serde_json::json!({"assignees": ["dev-1"]});
    world.write("dev-1", "PATCH", "/api/v1/repos/root/other/issues/1", claim).await.wins();
    world.form("gardener", "issues/assignee", &form).await.is(400, "ambiguous_request");
    assert_eq!(world.forms(), 0);
}

/// A form of one's own repository is no way to ask about another, which one may not see: what is held there, what is
/// free, what is being written and what never was are all the same.
#[tokio::test(start_paused = true)]
async fn another_repositorys_items_are_not_told_of() {
    for world in [without_reads(Web::Override), with_reads()] {
        world.forge.add_user("eve", "eve");
        world.forge.add_session("eve", "session-of-eve");
        world.forge.add_repo("eve", "own");
        world.forge.set_private(REPO, true);
        world.claim("dev-1", 1).await.wins();
        world.claim("dev-1", 2).await.wins();
        world.release("dev-1", 2).await.wins();
        world.slow_forge(0, 60_000, 0);
        let busy = world.claim("dev-1", 3);
        let asked = async {
            world.wait(SECOND).await;
            let mut told = Vec::new();
            let user = world.forge.user_id("dev-2");
            for id in [1, 2, 3].map(|n| world.ids(&[n])) {
                for (path, form) in [
                    ("issues/assignee", format!("issue_ids={id}&id={user}")),
                    ("issues/labels", format!("issue_ids={id}&id=2&action=toggle")),
                    ("issues/projects", format!("issue_ids={id}&id=4")),
                ] {
                    let asked = world.form_on("eve/own", "eve", path, &form);
                    let answer = tokio::time::timeout(SECOND, asked).await.expect("no turn is waited for");
                    let answer = answer.is(400, "ambiguous_request");
                    assert_eq!(answer.holder(), None);
                    told.push(answer.body["message"].as_str().unwrap().replace(&id, "ID"));
                }
            }
            told.dedup();
            assert_eq!(told, ["eve/own has no item with the id ID; nothing was sent: load the page again"]);
        };
        tokio::join!(busy, asked);
        assert_eq!(world.forms(), 0);
    }
}

/// Both were the same, and the first has made what the second asks for.
#[tokio::test(start_paused = true)]
async fn doubts_that_end_together_each_say_how_the_item_stood_then() {
    let world = with_reads();
    for fault in [Fault::CutBefore, Fault::CutAfter] {
        world.next_form("issues/assignee", fault);
        world.assigns("dev-2", &[1]).await.is(504, "outcome_unknown");
    }
    world.wait(Q + SECOND).await;
    world.claim("dev-3", 1).await.loses("already_assigned");
    let lines = world.lines().await;
    let landed: Vec<_> = lines.iter().filter(|line| line["kind"] == "landed").collect();
    let stood = landed.iter().map(|line| (line["fence"].as_u64(), line["holder"]["account"].as_str()));
    assert_eq!(stood.collect::<Vec<_>>(), [(Some(1), Some("dev-2")), (Some(1), Some("dev-2"))], "{landed:#?}");
    world.log_is_sound().await;
}

/// A form that is refused over another of its items has recorded an edit of this one: who waited from before the claim
/// is not refused by what that claim has seen.
#[tokio::test(start_paused = true)]
async fn a_shared_refusal_never_rests_on_what_an_edit_has_outdated() {
    let world = enforcing();
    world.knows_readers(5).await;
    world.claim("dev-5", 3).await.wins();
    world.slow_forge(20, 200, 0);
    let first = async {
        world.claim("dev-1", 1).await.wins();
        world.forge.outside_assign("root", REPO, 1, &[]);
    };
    let form = async {
        world.wait(Duration::from_millis(10)).await;
        world.assigns("dev-4", &[1, 3]).await.loses("already_assigned");
    };
    let waiting = async {
        world.wait(Duration::from_millis(150)).await;
        world.claim("dev-3", 1).await
    };
    let ((), (), waited) = tokio::join!(first, form, waiting);
    waited.wins();
    world.log_is_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_place_that_another_item_has_taken_is_not_written_to() {
    let world = with_reads();
    world.claim("dev-1", 1).await.wins();
    world.release("dev-1", 1).await.wins();
    let form = format!("issue_ids={}&id={}&action=attach", world.ids(&[1]), world.forge.user_id("dev-2"));
    world.forge.rename_repo(REPO, "old");
    world.forge.add_repo("root", "work");
    for login in ["gardener", "dev-2"] {
        world.forge.grant_write(login, REPO);
    }
    world.forge.add_issue(REPO, "another first", &[], &[]);
    world.form("gardener", "issues/assignee", &form).await.is(502, "upstream_unreadable");
    assert_eq!(world.forms(), 0);
    world.shows(1, &[]);
}
