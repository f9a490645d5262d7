//! What needs a certain moment, in virtual time: races that are lost, claims that fail while others wait, callers that
//! hang up.

use crate::support::{Moment, Q, REPO, Trap, World, address_of};
use claimgate::dialect::{Address, Filter, Order};
use claimgate::fake_forge::{Fault, Matcher};
use claimgate::gate::{Answered, ClaimCall, Claimed, ConcurrencyLimits, Grant, Relabelling, Search};
use claimgate::model::{Account, Code, Project};
use futures_util::future::join_all;
use std::collections::BTreeSet;
use std::time::Duration;

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn next(labels: Relabelling) -> ClaimCall {
    let filter = Filter { project: Project::new("root/work"), labels: BTreeSet::new(), order: Order::Oldest };
    ClaimCall::Next(Search { filter, exclude: BTreeSet::new(), limit: 100, labels })
}

fn any() -> ClaimCall {
    next(Relabelling::default())
}

#[track_caller]
fn granted(claimed: Option<Claimed>) -> Grant {
    match claimed {
        Some(Claimed::Granted(grant)) => *grant,
        other => panic!("no grant: {other:?}"),
    }
}

fn status(claimed: Option<&Claimed>) -> u16 {
    match claimed {
        Some(Claimed::Granted(_)) => 201,
        Some(Claimed::Nothing | Claimed::Released(_)) => 204,
        Some(Claimed::Ended(reply)) => match &reply.answer {
            Answered::Tracker(response) => response.status.as_u16(),
            Answered::Refused(rejection) => rejection.code.status(),
        },
        None => 0,
    }
}

fn lists(world: &World) -> usize {
    world.forge.requests().iter().filter(|request| request.target.contains("/issues?")).count()
}

#[tokio::test(start_paused = true)]
async fn a_lost_race_is_run_again_on_the_next_item() {
    let world = World::with(|setup| setup.issues = 4);
    world.knows_readers(3).await;
    assert_eq!(granted(world.ask_for("dev-1", any()).await).resource.as_str(), "root/work#1");
    // The list is a moment old: it still shows these as free.
    world.forge.outside_assign("root", REPO, 2, &["gardener"]);
    world.forge.outside_labels("root", REPO, 3, &["done"]);
    let grant = granted(world.ask_for("dev-2", any()).await);
    assert_eq!((grant.resource.as_str(), lists(&world)), ("root/work#4", 1), "by the same list");
    assert_eq!(world.forge.issue(REPO, 2).assignees, ["gardener"]);
    assert!(world.forge.issue(REPO, 3).assignees.is_empty(), "not as it was listed, so not as it was asked for");
    // That nothing is free rests on a list of its own.
    assert_eq!(status(world.ask_for("dev-3", any()).await.as_ref()), 204);
    assert_eq!(lists(&world), 2);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_free_only_by_a_list_since_the_caller_came() {
    let world = World::with(|setup| setup.issues = 1);
    world.knows_readers(2).await;
    assert_eq!(status(world.ask_for("dev-1", any()).await.as_ref()), 201);
    world.forge.add_issue(REPO, "new work", &["backlog"], &[]);
    assert_eq!(granted(world.ask_for("dev-2", any()).await).resource.as_str(), "root/work#2");
}

#[tokio::test(start_paused = true)]
async fn callers_at_once_share_the_list_and_the_work() {
    let world = World::with(|setup| (setup.agents, setup.issues) = (64, 20));
    world.knows_readers(64).await;
    world.slow_forge(50, 50, 0);
    let agents: Vec<String> = (1..=64).map(|n| format!("dev-{n}")).collect();
    let told = join_all(agents.iter().map(|agent| world.ask_for(agent, any()))).await;
    let numbers: BTreeSet<String> = told
        .iter()
        .filter_map(|told| match told {
            Some(Claimed::Granted(grant)) => Some(grant.resource.as_str().to_owned()),
            _ => None,
        })
        .collect();
    let count = |wanted| told.iter().filter(|told| status(told.as_ref()) == wanted).count();
    assert_eq!((numbers.len(), count(201), count(204)), (20, 20, 44));
    // All came at one moment, so the list that was begun then is everybody's.
    assert_eq!((lists(&world), world.forge.requests().len()), (1, 1 + 3 * 20));
}

#[tokio::test(start_paused = true)]
async fn who_waits_gets_the_item_that_another_could_not_have() {
    let world = World::with(|setup| setup.issues = 1);
    world.knows_readers(3).await;
    world.slow_forge(20, 20, 0);
    // The forge refuses the first claim of all.
    world.next_write(1, Fault::ErrorBeforeWrite(403));
    let told = join_all((1..=3).map(|n| async move { n }).map(|n| {
        let world = &world;
        async move { world.ask_for(&format!("dev-{}", n.await), any()).await }
    }))
    .await;
    let mut statuses: Vec<u16> = told.iter().map(|told| status(told.as_ref())).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 204, 403]);
    assert_eq!(world.forge.issue(REPO, 1).assignees.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_item_claimed_for_a_caller_that_has_gone_is_given_back() {
    let world = World::with(|setup| setup.issues = 1);
    world.knows_readers(2).await;
    world.slow_forge(20, 100, 0);
    let labels = Relabelling { set: names(&["in-progress"]), remove: names(&["backlog"]) };
    let hung_up = tokio::time::timeout(Duration::from_millis(150), world.ask_for("dev-1", next(labels))).await;
    assert!(hung_up.is_err());
    world.process().gate.drained().await;
    let issue = world.forge.issue(REPO, 1);
    assert_eq!((issue.assignees.len(), &issue.labels[..]), (0, &["backlog".to_owned()][..]));
    assert!(world.forge.events(REPO, 1).len() >= 4, "it had been claimed and relabelled");
    assert_eq!(status(world.ask_for("dev-2", any()).await.as_ref()), 201);
}

/// A human clears the item between the claim and its labels: who claimed it does not hold it, and must not be told so.
#[tokio::test(start_paused = true)]
async fn what_was_taken_away_before_the_labels_is_not_granted() {
    let cleared = async |call: ClaimCall| {
        let world = World::with(|setup| setup.issues = 2);
        world.knows_readers(1).await;
        world.slow_forge(20, 100, 0);
        // Its turn comes after the claim's, and before that of the labels.
        let override_it = async {
            world.wait(Duration::from_millis(60)).await;
            world.release("supervisor", 1).await.wins();
        };
        let (claimed, ()) = tokio::join!(world.ask_for("dev-1", call), override_it);
        world.is_held_by_nobody(1).await;
        assert_eq!(world.forge.issue(REPO, 1).labels, ["backlog"], "nor is anything left of it");
        world.log_is_sound().await;
        claimed
    };
    let claimed = cleared(takes_up(1)).await;
    let Some(Claimed::Ended(reply)) = claimed else { panic!("{claimed:?}") };
    assert_eq!(reply.code, Some(Code::NotHolder), "{reply:?}");
    // Who wants any item gets another.
    let labels = Relabelling { set: names(&["in-progress"]), remove: names(&["backlog"]) };
    assert_eq!(granted(cleared(next(labels)).await).resource.as_str(), "root/work#2");
}

/// `POST claims` with the label of work.
fn takes_up(n: u64) -> ClaimCall {
    let address = address_of(n);
    ClaimCall::Take(address, Relabelling { set: names(&["in-progress"]), remove: names(&["backlog"]) })
}

/// It held the item by its label, with nobody assigned; the claim that fails only assigned it.
#[tokio::test(start_paused = true)]
async fn a_claim_that_fails_takes_nothing_that_was_held_before() {
    let world = World::with(|setup| setup.issues = 1);
    world.add_label("dev-1", 1, "in-progress").await.wins();
    world.forge.script(Fault::ErrorBeforeWrite(422), Matcher::new("DELETE", "/issues/1/labels"));
    let claimed = world.ask_for("dev-1", takes_up(1)).await;
    let Some(Claimed::Ended(reply)) = claimed else { panic!("{claimed:?}") };
    assert_eq!(reply.code, Some(Code::NotApplied), "{reply:?}");
    let Answered::Tracker(told) = &reply.answer else { panic!("{reply:?}") };
    assert!(String::from_utf8_lossy(&told.body).contains("you hold it, as before"), "{reply:?}");
    world.is_held_by(1, "dev-1").await;
    world.claim("dev-2", 1).await.loses("already_assigned");
}

/// The labels of the claim before are put back while this one is answered; its own come after that.
#[tokio::test(start_paused = true)]
async fn labels_that_were_put_back_are_set_again() {
    let world = World::with(|setup| setup.issues = 1);
    assert_eq!(status(world.ask_for("dev-1", takes_up(1)).await.as_ref()), 201);
    world.forge.outside_assign("root", REPO, 1, &[]);
    let grant = granted(world.ask_for("dev-2", takes_up(1)).await);
    let issue = world.forge.issue(REPO, 1);
    assert_eq!((issue.labels, issue.assignees), (vec!["in-progress".to_owned()], vec!["dev-2".to_owned()]));
    let body: serde_json::Value = serde_json::from_slice(&grant.item.expect("it was read")).unwrap();
    assert_eq!(body["labels"][0]["name"], "in-progress", "{body}");
}

/// What the gate puts back in its caller's name is no word of the caller's: the item is given back all the same.
#[tokio::test(start_paused = true)]
async fn what_is_put_back_confirms_nothing() {
    let world = World::with(|setup| setup.issues = 1);
    assert_eq!(status(world.ask_for("dev-1", takes_up(1)).await.as_ref()), 201);
    world.forge.outside_assign("root", REPO, 1, &[]);
    world.forge.script(Fault::ErrorBeforeWrite(422), Matcher::new("POST", "/issues/1/labels").skip(1));
    let claimed = world.ask_for("dev-2", takes_up(1)).await;
    let Some(Claimed::Ended(reply)) = claimed else { panic!("{claimed:?}") };
    assert_eq!(reply.code, Some(Code::NotApplied), "{reply:?}");
    world.is_held_by_nobody(1).await;
    assert!(world.forge.issue(REPO, 1).assignees.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_hangs_up_early_claims_nothing() {
    let world = World::with(|setup| setup.issues = 1);
    world.knows_readers(1).await;
    world.slow_forge(50, 50, 0);
    let hung_up = tokio::time::timeout(Duration::from_millis(20), world.ask_for("dev-1", any())).await;
    assert!(hung_up.is_err());
    world.process().gate.drained().await;
    assert!(world.forge.events(REPO, 1).iter().all(|event| event.request.is_none()));
}

#[tokio::test(start_paused = true)]
async fn a_label_whose_outcome_is_unknown_is_not_undone_but_repeated() {
    let world = World::with(|setup| setup.issues = 1);
    world.knows_readers(2).await;
    let address = address_of(1);
    let take =
        || ClaimCall::Take(address.clone(), Relabelling { set: names(&["in-progress"]), remove: names(&["backlog"]) });
    world.forge.script(Fault::CutAfter, Matcher::new("POST", "/labels"));
    assert_eq!(status(world.ask_for("dev-1", take()).await.as_ref()), 504);
    assert_eq!(world.forge.issue(REPO, 1).assignees, ["dev-1"], "it goes on being the caller's");
    assert_eq!(status(world.ask_for("dev-2", take()).await.as_ref()), 409);
    assert_eq!(status(world.ask_for("dev-1", take()).await.as_ref()), 409, "in doubt, for another while");
    world.wait(Q + Duration::from_secs(1)).await;
    granted(world.ask_for("dev-1", take()).await);
    assert_eq!(world.forge.issue(REPO, 1).labels, ["in-progress"]);
}

#[tokio::test(start_paused = true)]
async fn two_claims_of_one_item_by_name_have_one_winner_and_no_stray_label() {
    let world = World::with(|setup| (setup.agents, setup.issues) = (8, 1));
    world.slow_forge(10, 10, 5);
    let address = address_of(1);
    let labels = Relabelling { set: names(&["in-progress"]), remove: names(&["backlog"]) };
    let take = || ClaimCall::Take(address.clone(), labels.clone());
    let agents: Vec<String> = (1..=8).map(|n| format!("dev-{n}")).collect();
    let told = join_all(agents.iter().map(|agent| world.ask_for(agent, take()))).await;
    let won = told.iter().filter(|told| status(told.as_ref()) == 201).count();
    let lost = told.iter().filter(|told| status(told.as_ref()) == 409).count();
    assert_eq!((won, lost), (1, 7), "{told:?}");
    let issue = world.forge.issue(REPO, 1);
    assert_eq!((issue.assignees.len(), &issue.labels[..]), (1, &["in-progress".to_owned()][..]));
}

// === callers that go while their call is under way ===

const SECOND: Duration = Duration::from_secs(1);

fn first() -> Address {
    address_of(1)
}

fn in_progress() -> Relabelling {
    Relabelling { set: names(&["in-progress"]), remove: BTreeSet::new() }
}

/// `dev-1` makes the call, whose first writes but `before` take a second, and is cut in the middle of the next.
async fn cut(world: &World, before: usize, call: ClaimCall) {
    for _ in 0..before {
        world.trap(Moment::Answered, Trap::Slow(Duration::from_millis(1)));
    }
    world.trap(Moment::Answered, Trap::Slow(SECOND));
    let hung_up = tokio::time::timeout(SECOND / 2, world.ask_for("dev-1", call)).await;
    assert!(hung_up.is_err(), "{hung_up:?}");
}

/// `dev-1` was told so after its earlier call was cut, and nobody else is told otherwise.
async fn goes_on_holding(world: &World) {
    world.claim("dev-1", 1).await.needs_no_write();
    world.process().gate.drained().await;
    world.is_held_by(1, "dev-1").await;
    world.shows(1, &["dev-1"]);
    world.claim("dev-2", 1).await.loses("already_assigned");
    world.log_is_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_release_that_is_abandoned_at_its_labels_strikes_no_later_claim() {
    let world = World::with(|setup| setup.issues = 1);
    world.claim("dev-1", 1).await.wins();
    cut(&world, 0, ClaimCall::Release(first(), in_progress())).await;
    goes_on_holding(&world).await;
    assert_eq!(world.forge.issue(REPO, 1).labels, ["backlog", "in-progress"], "repeated, it goes on from here");
    let again = world.ask_for("dev-1", ClaimCall::Release(first(), in_progress())).await;
    assert_eq!(status(again.as_ref()), 204);
    world.claim("dev-2", 1).await.wins();
}

#[tokio::test(start_paused = true)]
async fn what_is_abandoned_before_its_turn_is_not_carried_out() {
    let calls = [
        ClaimCall::Release(first(), Relabelling::default()),
        ClaimCall::Release(first(), in_progress()),
        ClaimCall::HandOver(first(), Account::new("dev-2")),
    ];
    for call in calls {
        let world = World::with(|setup| setup.issues = 1);
        world.claim("dev-1", 1).await.wins();
        world.add_label("dev-1", 1, "todo").await;
        world.trap(Moment::Answered, Trap::Slow(SECOND));
        let what = format!("{call:?}");
        let (patched, hung_up) = tokio::join!(world.remove_label("dev-1", 1, "backlog"), async {
            world.wait(Duration::from_millis(100)).await;
            tokio::time::timeout(SECOND / 2, world.ask_for("dev-1", call)).await
        });
        patched.wins();
        assert!(hung_up.is_err(), "{what}: {hung_up:?}");
        goes_on_holding(&world).await;
        assert!(!world.forge.issue(REPO, 1).labels.contains(&"in-progress".to_owned()), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_item_that_its_gone_caller_has_claimed_by_name_since_is_not_given_back() {
    let world = World::with(|setup| setup.issues = 1);
    world.knows_readers(2).await;
    cut(&world, 1, next(in_progress())).await;
    goes_on_holding(&world).await;
    assert!(world.forge.issue(REPO, 1).labels.contains(&"in-progress".to_owned()), "nor are its labels");
}

#[tokio::test(start_paused = true)]
async fn what_others_do_to_its_labels_does_not_keep_an_item_for_a_caller_that_has_gone() {
    let world = World::with(|setup| setup.issues = 1);
    world.knows_readers(2).await;
    cut(&world, 1, next(in_progress())).await;
    world.add_label("supervisor", 1, "todo").await.wins();
    world.process().gate.drained().await;
    world.is_held_by_nobody(1).await;
    world.claim("dev-2", 1).await.wins();
    world.log_is_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_claim_whose_labels_fail_is_not_undone_once_it_was_made_again() {
    let world = World::with(|setup| setup.issues = 1);
    world.forge.script(Fault::ErrorBeforeWrite(403), Matcher::new("POST", "/labels"));
    world.trap(Moment::Answered, Trap::Slow(Duration::from_millis(1)));
    world.trap(Moment::Answered, Trap::Slow(SECOND));
    let (taken, again) = tokio::join!(world.ask_for("dev-1", ClaimCall::Take(first(), in_progress())), async {
        world.wait(SECOND / 2).await;
        world.claim("dev-1", 1).await
    });
    again.needs_no_write();
    assert_eq!(status(taken.as_ref()), 403);
    let Some(Claimed::Ended(reply)) = taken else { panic!("{taken:?}") };
    assert_eq!(reply.code.map(Code::as_str), Some("partial"));
    goes_on_holding(&world).await;
}

// === what is no reason to say that nothing is free ===

#[tokio::test(start_paused = true)]
async fn who_finds_no_place_for_its_claim_is_told_so_and_takes_nothing_from_others() {
    let world = World::with(|setup| {
        setup.issues = 3;
        setup.settings.concurrency = ConcurrencyLimits { all: 100, per_agent: 1 };
    });
    world.knows_readers(2).await;
    world.trap(Moment::Answered, Trap::Slow(SECOND));
    let (busy, (crowded, other)) = tokio::join!(world.claim("dev-1", 3), async {
        world.wait(SECOND / 2).await;
        tokio::join!(world.ask_for("dev-1", any()), world.ask_for("dev-2", any()))
    });
    busy.wins();
    assert_eq!((status(crowded.as_ref()), status(other.as_ref())), (503, 201), "{crowded:?}");
    let Some(Claimed::Ended(reply)) = crowded else { panic!("{crowded:?}") };
    let Answered::Refused(rejection) = &reply.answer else { panic!("{reply:?}") };
    assert!(rejection.retry_after.is_some(), "{rejection:?}");
    granted(world.ask_for("dev-1", any()).await);
}

#[tokio::test(start_paused = true)]
async fn an_item_whose_turns_are_all_taken_is_passed_over() {
    let world = World::with(|setup| {
        setup.issues = 2;
        setup.settings.lanes.capacity = 1;
    });
    world.knows_readers(2).await;
    world.trap(Moment::Answered, Trap::Slow(SECOND));
    let (first, second, found) =
        tokio::join!(world.add_label("gardener", 1, "todo"), world.add_label("gardener", 1, "blocked"), async {
            world.wait(SECOND / 2).await;
            world.ask_for("dev-1", any()).await
        });
    assert_eq!(granted(found).resource.as_str(), "root/work#2", "{first:?} {second:?}");
}

#[tokio::test(start_paused = true)]
async fn what_the_tracker_hides_from_one_caller_is_there_for_the_other() {
    let world = World::with(|setup| setup.issues = 1);
    world.knows_readers(2).await;
    world.slow_forge(20, 20, 0);
    world.next_write(1, Fault::ErrorBeforeWrite(404));
    let (one, other) = tokio::join!(world.ask_for("dev-1", any()), world.ask_for("dev-2", any()));
    let mut told = [status(one.as_ref()), status(other.as_ref())];
    told.sort_unstable();
    assert_eq!(told, [201, 204], "one of them was shown nothing");
}

also_as_forgejo_17! {
    a_lost_race_is_run_again_on_the_next_item,
    nothing_is_free_only_by_a_list_since_the_caller_came,
    callers_at_once_share_the_list_and_the_work,
    who_waits_gets_the_item_that_another_could_not_have,
    an_item_claimed_for_a_caller_that_has_gone_is_given_back,
    what_was_taken_away_before_the_labels_is_not_granted,
    a_claim_that_fails_takes_nothing_that_was_held_before,
    labels_that_were_put_back_are_set_again,
    what_is_put_back_confirms_nothing,
    a_caller_that_hangs_up_early_claims_nothing,
    a_label_whose_outcome_is_unknown_is_not_undone_but_repeated,
    two_claims_of_one_item_by_name_have_one_winner_and_no_stray_label,
    a_release_that_is_abandoned_at_its_labels_strikes_no_later_claim,
    what_is_abandoned_before_its_turn_is_not_carried_out,
    an_item_that_its_gone_caller_has_claimed_by_name_since_is_not_given_back,
    what_others_do_to_its_labels_does_not_keep_an_item_for_a_caller_that_has_gone,
    a_claim_whose_labels_fail_is_not_undone_once_it_was_made_again,
    who_finds_no_place_for_its_claim_is_told_so_and_takes_nothing_from_others,
    an_item_whose_turns_are_all_taken_is_passed_over,
    what_the_tracker_hides_from_one_caller_is_there_for_the_other,
}
