//! Rules over agents rather than items: one of a class at a time in a project, and so many items an agent.

use crate::support::{Moment, REPO, Setup, Told, Trap, World};
use claimgate::admission::once::AgentPattern;
use claimgate::admission::{MemberPattern, Mode, Singleton, Whose};
use claimgate::dialect::Shows;
use claimgate::effect::Decision;
use claimgate::gate::LeaseError;
use claimgate::model::{Instance, ItemKind, Kind, Project, What};
use serde_json::{Value, json};
use std::time::Duration;

const IDLE: Duration = Duration::from_mins(10);
/// Between the two triggers of the incident.
const APART: Duration = Duration::from_secs(13);

fn managers(mode: Mode, actions: &[Kind]) -> Singleton {
    let agents = vec![MemberPattern::parse("manager-*").unwrap()];
    Singleton { name: "managers".to_owned(), mode, agents, actions: actions.to_vec(), idle: IDLE }
}

fn with_managers(mode: Mode) -> World {
    World::with(|setup| setup.rules.singletons = vec![managers(mode, &[Kind::Move])])
}

fn project() -> Project {
    Project::new("root/work")
}

/// `bot@manager-1` promotes an item.
async fn promotes(world: &World, who: &str, n: u64) -> Told {
    world.set_labels(who, n, &["todo"]).await
}

async fn at_work(world: &World) -> Vec<String> {
    let leases = world.process().gate.leases().await.unwrap();
    leases.iter().map(|lease| lease.actor.to_string()).collect()
}

fn message(told: &Told) -> &str {
    told.body["message"].as_str().unwrap_or_default()
}

// === the expected state alone ===

#[tokio::test(start_paused = true)]
async fn of_two_managers_who_picked_one_item_the_second_is_told_where_it_is() {
    let world = World::new();
    promotes(&world, "bot@manager-1", 1).await.wins();
    world.wait(APART).await;
    let told = promotes(&world, "bot@manager-2", 1).await.loses("wrong_source_state");
    assert_eq!(told.body["claimgate"]["observed"]["status"], json!(["todo"]), "{told:?}");
    assert_eq!(world.writes(1), 1, "one change upstream");
    world.add_label("bot@manager-2", 1, "todo").await.loses("wrong_source_state");
    promotes(&world, "bot@manager-2", 2).await.wins();
}

// === singletons ===

/// A class of one account's agents is not entered by calling oneself so.
#[tokio::test(start_paused = true)]
async fn another_account_cannot_take_the_place_of_a_class_by_a_name() {
    let world = World::with(|setup| {
        let agents = vec![MemberPattern::parse("bot/manager-*").unwrap()];
        setup.rules.singletons = vec![Singleton { agents, ..managers(Mode::Enforce, &[Kind::Move]) }];
    });
    promotes(&world, "dev-1@manager-x", 1).await.wins();
    assert_eq!(at_work(&world).await, Vec::<String>::new());
    promotes(&world, "bot@manager-1", 2).await.wins();
    promotes(&world, "bot@manager-2", 3).await.loses("singleton_busy");
    assert_eq!(at_work(&world).await, ["bot (manager-1)"]);
}

/// Who is at work is heard of, however many names another account, or even its own, is heard under.
#[tokio::test(start_paused = true)]
async fn invented_names_leave_the_one_at_work_its_voice() {
    for crier in ["dev-1", "bot"] {
        let world = with_managers(Mode::Enforce);
        promotes(&world, "bot@manager-1", 1).await.wins();
        world.claim("dev-1", 3).await.wins();
        let gate = world.process().gate.clone();
        let reads = |login: &str, name: &str| {
            gate.saw_read(
                &world.credential(login),
                Some(Instance::new(name)),
                (Some(&project()), None),
                Shows::Items(ItemKind::Issue),
            );
        };
        world.wait(IDLE / 2).await;
        for n in 0..2_000 {
            reads(crier, &format!("manager-x{n}"));
        }
        reads("bot", "manager-1");
        gate.flush_leases().await;
        world.wait(IDLE * 9 / 10).await;
        promotes(&world, "bot@manager-2", 2).await.loses("singleton_busy");
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_managers_of_one_project_one_moves_whichever_items_they_picked() {
    let world = with_managers(Mode::Enforce);
    promotes(&world, "bot@manager-1", 1).await.wins();
    world.wait(APART).await;
    let told = promotes(&world, "bot@manager-2", 2).await.loses("singleton_busy");
    assert_eq!(told.holder(), Some("bot"));
    let (since, until) = ("since 2026-01-01T01:00:00Z", "ends at 2026-01-01T01:10:00Z");
    assert!(message(&told).contains("bot (manager-1) is at work in root/work"), "{told:?}");
    assert!(message(&told).contains(since) && message(&told).contains(until), "{told:?}");
    assert_eq!(world.forge.issue(REPO, 2).labels, ["backlog"], "nothing was sent");
    assert_eq!((world.writes(1), world.writes(2)), (1, 0));
    // The one that came first goes on, and what is not in the rule is free for both.
    promotes(&world, "bot@manager-1", 3).await.wins();
    world.claim("bot@manager-2", 2).await.wins();
    world.claim("dev-1", 1).await.wins();
    assert_eq!(at_work(&world).await, ["bot (manager-1)"]);
}

#[tokio::test(start_paused = true)]
async fn in_another_project_both_pass() {
    let world = with_managers(Mode::Enforce);
    world.forge.add_repo("root", "play");
    world.forge.grant_write("bot", "root/play");
    let label = world.forge.add_label("root/play", "todo");
    let other = world.forge.add_issue("root/play", "elsewhere", &[], &[]).number;
    promotes(&world, "bot@manager-1", 1).await.wins();
    world.wait(APART).await;
    let path = format!("/api/v1/repos/root/play/issues/{other}/labels");
    world.write("bot@manager-2", "PUT", &path, json!({ "labels": [label] })).await.wins();
    assert_eq!(at_work(&world).await, ["bot (manager-2)", "bot (manager-1)"]);
    promotes(&world, "bot@manager-2", 2).await.loses("singleton_busy");
}

#[tokio::test(start_paused = true)]
async fn of_two_at_the_same_moment_one_passes() {
    let world = with_managers(Mode::Enforce);
    let (one, two) = tokio::join!(promotes(&world, "bot@manager-1", 1), promotes(&world, "bot@manager-2", 2));
    let won = [&one, &two].iter().filter(|told| told.is_success()).count();
    assert_eq!(won, 1, "{one:?} {two:?}");
    let loser = if one.is_success() { two } else { one };
    loser.loses("singleton_busy");
}

#[tokio::test(start_paused = true)]
async fn a_restart_in_between_forgets_nobody() {
    let world = with_managers(Mode::Enforce);
    promotes(&world, "bot@manager-1", 1).await.wins();
    world.restart();
    world.wait(APART).await;
    promotes(&world, "bot@manager-2", 2).await.loses("singleton_busy");
    promotes(&world, "bot@manager-1", 2).await.wins();
}

#[tokio::test(start_paused = true)]
async fn it_ends_by_idling() {
    let world = with_managers(Mode::Enforce);
    promotes(&world, "bot@manager-1", 1).await.wins();
    world.wait(IDLE.saturating_sub(APART)).await;
    promotes(&world, "bot@manager-2", 2).await.loses("singleton_busy");
    world.wait(APART).await;
    promotes(&world, "bot@manager-2", 2).await.wins();
    promotes(&world, "bot@manager-1", 3).await.loses("singleton_busy");
}

/// Reads and writes that are not in the rule keep it at work, whether they have been written down or not.
#[tokio::test(start_paused = true)]
async fn traffic_renews_it() {
    for flushed in [false, true] {
        let world = with_managers(Mode::Enforce);
        promotes(&world, "bot@manager-1", 1).await.wins();
        for round in 0..4 {
            // Each time it is nearly idle for too long, and would be without the round before.
            world.wait(IDLE.saturating_sub(APART * 3)).await;
            if round % 2 == 0 {
                let process = world.process();
                let instance = Some(claimgate::model::Instance::new("manager-1"));
                process.gate.saw_read(
                    &world.credential("bot"),
                    instance,
                    (Some(&project()), None),
                    Shows::Items(ItemKind::Issue),
                );
            } else {
                world.claim("bot@manager-1", 3).await;
            }
            if flushed {
                world.process().gate.flush_renewals().await;
            }
            world.wait(APART * 2).await;
            promotes(&world, "bot@manager-2", 2).await.loses("singleton_busy");
        }
        if flushed {
            world.restart();
            promotes(&world, "bot@manager-2", 2).await.loses("singleton_busy");
        }
        world.wait(IDLE).await;
        promotes(&world, "bot@manager-2", 2).await.wins();
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_done_says_so_and_nobody_else_may() {
    let world = with_managers(Mode::Enforce);
    promotes(&world, "bot@manager-1", 1).await.wins();
    let gate = world.process().gate.clone();
    let end = |who: &str, instance: Option<&str>| {
        let (gate, credential) = (gate.clone(), world.credential(who));
        let instance = instance.map(claimgate::model::Instance::new);
        async move {
            let runtime = tokio::runtime::Handle::current();
            gate.end_lease_as(("managers", &project()), &credential, instance, &runtime).await
        }
    };
    assert!(matches!(end("bot", Some("manager-2")).await, Err(LeaseError::NotYours(_))));
    assert!(matches!(end("dev-1", None).await, Err(LeaseError::NotYours(_))));
    assert!(matches!(end("nobody", None).await, Err(LeaseError::Denied(_))));
    promotes(&world, "bot@manager-2", 2).await.loses("singleton_busy");
    assert_eq!(end("bot", Some("manager-1")).await.unwrap().actor.to_string(), "bot (manager-1)");
    assert!(matches!(end("bot", Some("manager-1")).await, Err(LeaseError::Nobody)));
    promotes(&world, "bot@manager-2", 2).await.wins();
    assert!(end("supervisor", None).await.is_ok(), "an overrider may");
    promotes(&world, "bot@manager-1", 3).await.wins();
    assert!(gate.end_lease("managers", &project(), "it hangs").await.is_ok(), "and the operator");
    let lines = world.lines().await;
    let ends: Vec<&Value> = lines
        .iter()
        .filter(|line| line["change"].as_str().is_some_and(|c| c.starts_with("end of singleton")))
        .collect();
    assert_eq!(ends.len(), 3);
    assert_eq!(ends[2]["kind"], "operator");
}

#[tokio::test(start_paused = true)]
async fn who_ends_it_and_hangs_up_leaves_its_line() {
    let world = with_managers(Mode::Enforce);
    promotes(&world, "bot@manager-1", 1).await.wins();
    world.trap(Moment::AfterLease, Trap::Slow(Duration::from_secs(20)));
    let (gate, project) = (world.process().gate.clone(), project());
    let hung_up = tokio::time::timeout(Duration::from_secs(10), gate.end_lease("managers", &project, "done")).await;
    assert!(hung_up.is_err());
    gate.drained().await;
    let ends = world.lines().await.iter().filter(|line| line["kind"] == "operator").count();
    assert_eq!((ends, at_work(&world).await), (1, Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn the_list_is_for_those_whom_it_concerns() {
    let world = with_managers(Mode::Enforce);
    promotes(&world, "bot@manager-1", 1).await.wins();
    let process = world.process();
    let seen_by = |who: &str| {
        let (gate, credential) = (process.gate.clone(), world.credential(who));
        async move { gate.leases_for(&credential, None).await.unwrap().len() }
    };
    assert_eq!((seen_by("bot").await, seen_by("supervisor").await, seen_by("dev-1").await), (1, 1, 0));
    world.knows_readers(1).await;
    assert_eq!(seen_by("dev-1").await, 1);
}

#[tokio::test(start_paused = true)]
async fn observing_it_refuses_nobody_and_says_so() {
    let world = with_managers(Mode::Observe);
    promotes(&world, "bot@manager-1", 1).await.wins();
    let told = promotes(&world, "bot@manager-2", 2).await.wins();
    assert_eq!((told.decision, told.code), (Some(Decision::Observe), "singleton_busy"));
    let lines = world.lines().await;
    let line = lines.iter().find(|line| line["id"] == told.id.as_str()).unwrap();
    assert_eq!((&line["decision"], &line["code"]), (&json!("observe"), &json!("singleton_busy")));
    assert_eq!(at_work(&world).await, ["bot (manager-1)"], "the first stays the one at work");
}

#[tokio::test(start_paused = true)]
async fn who_is_not_of_the_class_or_above_it_is_not_bound() {
    let world = World::with(|setup| {
        let everyone = vec![MemberPattern::parse("*").unwrap()];
        setup.rules.singletons = vec![Singleton { agents: everyone, ..managers(Mode::Enforce, &[Kind::Move]) }];
    });
    promotes(&world, "dev-1", 1).await.wins();
    promotes(&world, "dev-2", 2).await.loses("singleton_busy");
    promotes(&world, "supervisor", 2).await.wins();
    promotes(&world, "dev-1", 3).await.wins();
}

#[tokio::test(start_paused = true)]
async fn claims_and_creations_count_where_the_rule_says_so() {
    let world = World::with(|setup| {
        setup.rules.singletons = vec![managers(Mode::Enforce, &[Kind::Claim, Kind::Create])];
    });
    world.claim("bot@manager-1", 1).await.wins();
    world.claim("bot@manager-2", 2).await.loses("singleton_busy");
    promotes(&world, "bot@manager-2", 3).await.wins();
    creates(&world, "bot@manager-2", &["bot"]).await.loses("singleton_busy");
    creates(&world, "bot@manager-1", &["bot"]).await.wins();
    world.wait(IDLE).await;
    creates(&world, "bot@manager-2", &["bot"]).await.wins();
    world.claim("bot@manager-1", 2).await.loses("singleton_busy");
}

/// `bot@manager-2` is refused by another rule, or by the state of the item, and is at work nowhere by that.
#[tokio::test(start_paused = true)]
async fn whoever_is_refused_is_not_at_work() {
    let world = World::with(|setup| {
        setup.rules.limits.items = 1;
        setup.rules.singletons = vec![managers(Mode::Enforce, &[Kind::Claim, Kind::Create])];
    });
    world.claim("bot@manager-2", 1).await.wins();
    world.wait(IDLE).await;
    assert_eq!(at_work(&world).await, [] as [String; 0]);
    world.claim("bot@manager-2", 2).await.loses("limit_reached");
    creates(&world, "bot@manager-2", &["bot"]).await.loses("limit_reached");
    world.claim("dev-1", 3).await.wins();
    world.claim("bot@manager-2", 3).await.loses("already_assigned");
    assert_eq!(at_work(&world).await, [] as [String; 0]);
    world.claim("bot@manager-1", 2).await.wins();
    assert_eq!(at_work(&world).await, ["bot (manager-1)"]);
}

/// Of two classes that an agent is of, one keeps it out: it does not keep others out of the second.
#[tokio::test(start_paused = true)]
async fn whoever_is_kept_out_by_one_class_keeps_nobody_out_by_another() {
    let world = World::with(|setup| {
        let all = Singleton { name: "all".to_owned(), ..managers(Mode::Enforce, &[Kind::Move, Kind::Create]) };
        let agents = vec![MemberPattern::parse("manager-1").unwrap(), MemberPattern::parse("manager-2").unwrap()];
        let pair = Singleton { name: "pair".to_owned(), agents, ..all.clone() };
        let later = Singleton { name: "later".to_owned(), ..all };
        setup.rules.singletons = vec![pair, later];
    });
    promotes(&world, "bot@manager-3", 1).await.wins();
    promotes(&world, "bot@manager-2", 2).await.loses("singleton_busy");
    creates(&world, "bot@manager-2", &["bot"]).await.loses("singleton_busy");
    assert_eq!(at_work(&world).await, ["bot (manager-3)"]);
    world.wait(IDLE).await;
    creates(&world, "bot@manager-1", &["bot"]).await.wins();
    assert_eq!(at_work(&world).await, ["bot (manager-1)", "bot (manager-1)"]);
}

/// A class that is only watched stands in nobody's way, and does not take an enforced one's refusal away.
#[tokio::test(start_paused = true)]
async fn what_is_watched_and_what_is_enforced_at_once() {
    let world = World::with(|setup| {
        let watched = managers(Mode::Observe, &[Kind::Move, Kind::Create]);
        let agents = vec![MemberPattern::parse("manager-2").unwrap(), MemberPattern::parse("manager-3").unwrap()];
        let enforced = Singleton { name: "pair".to_owned(), mode: Mode::Enforce, agents, ..watched.clone() };
        setup.rules.singletons = vec![watched, enforced];
    });
    promotes(&world, "bot@manager-1", 1).await.wins();
    for told in [promotes(&world, "bot@manager-2", 2).await, creates(&world, "bot@manager-2", &["bot"]).await] {
        let told = told.wins();
        assert_eq!((told.decision, told.code), (Some(Decision::Observe), "singleton_busy"));
    }
    promotes(&world, "bot@manager-3", 3).await.loses("singleton_busy");
    creates(&world, "bot@manager-3", &["bot"]).await.loses("singleton_busy");
    assert_eq!(at_work(&world).await, ["bot (manager-1)", "bot (manager-2)"]);
}

/// A pull request that an issue may have once, by a class that works alone: neither rule leaves a trace of what the other
/// refused.
#[tokio::test(start_paused = true)]
async fn create_once_and_one_at_a_time_together() {
    let world = World::with(|setup| {
        setup.rules.once = vec![super::once::rule(What::Pull, "{issue}")];
        setup.rules.once[0].agents = vec![AgentPattern::parse("*").unwrap()];
        setup.rules.singletons = vec![managers(Mode::Enforce, &[Kind::Move, Kind::Create])];
    });
    let pull = |who: &'static str, branch: &'static str, n: u64| {
        let body = json!({ "title": branch, "body": format!("fixes #{n}"), "head": branch, "base": "main" });
        let (world, path) = (&world, format!("/api/v1/repos/{REPO}/pulls"));
        async move { world.write(who, "POST", &path, body).await }
    };
    pull("dev-1", "one", 1).await.wins();
    pull("bot@manager-2", "two", 1).await.loses("already_created");
    assert_eq!(at_work(&world).await, [] as [String; 0], "refused by the other rule");
    promotes(&world, "bot@manager-1", 3).await.wins();
    pull("bot@manager-2", "two", 2).await.loses("singleton_busy");
    pull("bot@manager-1", "three", 2).await.wins();
}

/// A review is nothing new to work on, whether or not a rule is about reviews.
#[tokio::test(start_paused = true)]
async fn a_review_is_no_creation_of_an_item() {
    let world = World::with(|setup| {
        setup.rules.once = vec![super::once::rule(What::Review, "{pull} {account} {agent}")];
        setup.rules.once[0].agents = vec![AgentPattern::parse("*").unwrap()];
        setup.rules.singletons = vec![managers(Mode::Enforce, &[Kind::Create])];
    });
    let pull = world.forge.add_pull(REPO, "a change", "branch", "main").number;
    creates(&world, "bot@manager-1", &["bot"]).await.wins();
    creates(&world, "bot@manager-2", &["bot"]).await.loses("singleton_busy");
    let path = format!("/api/v1/repos/{REPO}/pulls/{pull}/reviews");
    world.write("bot@manager-2", "POST", &path, json!({ "event": "APPROVED", "body": "" })).await.wins();
}

async fn creates(world: &World, who: &str, assignees: &[&str]) -> Told {
    let body = json!({ "title": "new", "assignees": assignees });
    world.write(who, "POST", &format!("/api/v1/repos/{REPO}/issues"), body).await
}

// === limits ===

fn with_limits(change: impl FnOnce(&mut Setup)) -> World {
    World::with(|setup| {
        setup.issues = 30;
        setup.rules.limits.items = 3;
        change(setup);
    })
}

#[tokio::test(start_paused = true)]
async fn of_twenty_claims_at_once_three_succeed() {
    let world = with_limits(|_| {});
    let claims = (1..=20).map(|n| world.claim("dev-1", n));
    let told = futures_util::future::join_all(claims).await;
    assert_eq!(told.iter().filter(|told| told.is_success()).count(), 3);
    for lost in told.into_iter().filter(|told| !told.is_success()) {
        lost.loses("limit_reached");
    }
    let assigned = (1..=20).filter(|n| !world.assignees(*n).is_empty()).count();
    assert_eq!(assigned, 3);
    world.claim("dev-2", 25).await.wins();
}

#[tokio::test(start_paused = true)]
async fn a_refusal_says_which_limit_and_what_is_held() {
    let world = with_limits(|setup| setup.rules.limits.items_per_repository = 2);
    world.claim("dev-1", 4).await.wins();
    world.claim("dev-1", 2).await.wins();
    let told = world.claim("dev-1", 1).await.loses("limit_reached");
    let expected =
        "dev-1 holds 2 items in root/work, and may hold 2 (limits.items_per_repository): root/work#2, root/work#4";
    assert!(message(&told).contains(expected), "{told:?}");
    assert_eq!(world.writes(1), 0);
    // The same again, and an item that is given back.
    world.claim("dev-1", 2).await.needs_no_write();
    world.release("dev-1", 2).await.wins();
    world.claim("dev-1", 1).await.wins();
}

#[tokio::test(start_paused = true)]
async fn parked_items_do_not_count_and_one_claimed_again_does() {
    let world = with_limits(|setup| setup.rules.limits.items = 1);
    world.claim("dev-1", 1).await.wins();
    world.set_labels("dev-1", 1, &["in-progress"]).await.wins();
    world.claim("dev-1", 2).await.loses("limit_reached");
    world.set_labels("dev-1", 1, &["blocked"]).await.wins();
    world.claim("dev-1", 2).await.wins();
    world.claim("dev-1", 1).await.loses("limit_reached");
}

#[tokio::test(start_paused = true)]
async fn adoptions_hand_overs_and_creations_count() {
    let world = with_limits(|setup| setup.rules.limits.items = 1);
    world.claim("dev-1", 1).await.wins();
    world.forge.outside_assign("root", REPO, 2, &["dev-1"]);
    world.claim("dev-1", 2).await.loses("limit_reached");
    world.claim("dev-2", 3).await.wins();
    let told = world.hand_over("dev-2", "dev-1", 3).await.loses("limit_reached");
    assert!(message(&told).contains("dev-1 holds 1 items"), "{told:?}");
    creates(&world, "dev-1", &["dev-1"]).await.loses("limit_reached");
    let told = tokio::join!(creates(&world, "dev-3", &["dev-3"]), creates(&world, "dev-3", &["dev-3"]));
    assert_eq!([told.0.is_success(), told.1.is_success()].iter().filter(|won| **won).count(), 1, "{told:?}");
    // People are above it.
    world.claim("supervisor", 5).await.wins();
    world.claim("supervisor", 6).await.wins();
}

#[tokio::test(start_paused = true)]
async fn instances_count_apart_or_by_their_account() {
    for (of, second) in [(Whose::Agent, true), (Whose::Account, false)] {
        let world = with_limits(|setup| (setup.rules.limits.items, setup.rules.limits.of) = (1, of));
        world.claim("bot@one", 1).await.wins();
        assert_eq!(world.claim("bot@two", 2).await.is_success(), second, "{of:?}");
        world.claim("bot@one", 3).await.loses("limit_reached");
    }
}

#[tokio::test(start_paused = true)]
async fn observing_limits_refuses_nothing_and_says_so() {
    let world = with_limits(|setup| (setup.rules.limits.items, setup.rules.limits.mode) = (1, Mode::Observe));
    world.claim("dev-1", 1).await.wins();
    let told = world.claim("dev-1", 2).await.wins();
    assert_eq!((told.decision, told.code), (Some(Decision::Observe), "limit_reached"));
    world.forge.outside_assign("root", REPO, 3, &["dev-1"]);
    let told = world.claim("dev-1", 3).await.wins();
    assert_eq!((told.decision, told.code), (Some(Decision::Observe), "limit_reached"), "an adoption, too");
    let told = creates(&world, "dev-1", &["dev-1"]).await.wins();
    assert_eq!((told.decision, told.code), (Some(Decision::Observe), "limit_reached"));
}
