//! Whoever may not read an item or a project learns nothing about it, and takes nothing there.

use crate::support::{REPO, Told, World};
use claimgate::admission::{HoldingLimits, MemberPattern, Mode, Singleton};
use claimgate::dialect::Shows;
use claimgate::gate::LeaseError;
use claimgate::model::{Instance, ItemKind, Kind, Project};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::time::Duration;

const SECRET: &str = "root/secret";
const IDLE: Duration = Duration::from_mins(10);

fn project() -> Project {
    Project::new("root/work")
}

/// A private repository that dev-1 and the bot may write to, with an item for each number.
fn with_secret(world: &World, issues: u64) {
    world.forge.add_repo("root", "secret");
    world.forge.set_private(SECRET, true);
    for login in ["dev-1", "dev-2", "bot"] {
        world.forge.grant_write(login, SECRET);
    }
    for n in 1..=issues {
        world.forge.add_issue(SECRET, &format!("secret {n}"), &[], &[]);
    }
}

async fn in_secret(world: &World, who: &str, method: &str, n: u64, body: Value) -> Told {
    world.write(who, method, &format!("/api/v1/repos/{SECRET}/issues/{n}"), body).await
}

async fn files(world: &World, who: &str, repo: &str) -> Told {
    let login = who.split('@').next().unwrap();
    let body = json!({ "title": "new", "assignees": [login] });
    world.write(who, "POST", &format!("/api/v1/repos/{repo}/issues"), body).await
}

fn managers(world: &mut crate::support::Setup, actions: &[Kind]) {
    let agents = ["manager-*", "guest"].map(|text| MemberPattern::parse(text).unwrap()).to_vec();
    let (name, actions) = ("managers".to_owned(), actions.to_vec());
    world.rules.singletons = vec![Singleton { name, mode: Mode::Enforce, agents, actions, idle: IDLE }];
}

#[track_caller]
fn names_nobody(told: &Told) {
    let body = told.body.to_string();
    for name in ["dev-", "manager-", "bot", "secret#"] {
        assert!(!body.contains(name), "{told:?} {body}");
    }
}

// === refusals that rest on what others have read ===

/// Twenty claim an item at once, after the stranger was shown something else, or was shown it too long ago.
async fn amid_a_herd(shown: Shows, before: Duration, lets_in: impl Fn(&World), shuts_out: impl Fn(&World)) -> Told {
    let world = World::with(|setup| setup.agents = 20);
    world.forge.set_private(REPO, true);
    world.forge.add_user("eve", "eve");
    lets_in(&world);
    world.slow_forge(5, 5, 0);
    let gate = world.process().gate.clone();
    let eve = world.credential("eve");
    assert!(gate.ports().identify.account(&eve).await.is_ok());
    gate.saw_read(&eve, None, (Some(&project()), None), shown);
    shuts_out(&world);
    world.wait(before).await;
    world.knows_readers(20).await;
    let claims = (1..=20).map(|n| {
        let world = &world;
        async move { world.claim(&format!("dev-{n}"), 1).await }
    });
    let stranger = async {
        world.wait(Duration::from_millis(2)).await;
        world.claim("eve", 1).await
    };
    let (told, eve) = tokio::join!(join_all(claims), stranger);
    assert_eq!(told.iter().filter(|told| told.is_success()).count(), 1);
    eve
}

#[tokio::test(start_paused = true)]
async fn who_may_read_pull_requests_alone_is_not_told_who_holds_an_issue() {
    let pulls_only = |world: &World| {
        world.forge.grant_read_pulls("eve", REPO);
    };
    for shown in [Shows::Items(ItemKind::Pull), Shows::Beside] {
        let told = amid_a_herd(shown, Duration::ZERO, pulls_only, |_| {}).await;
        assert_eq!(told.status, 404, "{shown:?} {told:?}");
        names_nobody(&told);
    }
}

#[tokio::test(start_paused = true)]
async fn who_could_read_a_while_ago_is_told_nothing() {
    let lets_in = |world: &World| world.forge.grant_read("eve", REPO);
    let shuts_out = |world: &World| world.forge.outside_remove_collaborator("root", REPO, "eve");
    let told = amid_a_herd(Shows::Items(ItemKind::Issue), Duration::from_millis(2_500), lets_in, shuts_out).await;
    assert_eq!(told.status, 404, "{told:?}");
    names_nobody(&told);
    let told = amid_a_herd(Shows::Items(ItemKind::Issue), Duration::from_secs(1), lets_in, |_| {}).await;
    told.loses("already_assigned");
}

/// What a read that passes proves, by its head.
#[test]
fn what_an_answer_shows() {
    use claimgate::dialect::{self, Head, Route, Target};
    use http::{HeaderMap, Method};
    let dialect = dialect::by_name("forgejo").unwrap();
    for (path, shows) in [
        ("issues/7", Shows::Item),
        ("pulls/7", Shows::Items(ItemKind::Pull)),
        ("pulls", Shows::Items(ItemKind::Pull)),
        ("issues", Shows::Beside),
        ("issues?type=issues&limit=1", Shows::Beside),
        ("issues?type=pulls", Shows::Beside),
        ("issues/7/comments", Shows::Beside),
        ("pulls/7/files", Shows::Beside),
    ] {
        let target = Target::parse(&format!("/api/v1/repos/o/r/{path}"));
        let head = Head { method: &Method::GET, target: &target, headers: &HeaderMap::new() };
        let Route::Read { shows: found, .. } = dialect.classify(&head) else { panic!("{path} is a read") };
        assert_eq!(found, shows, "{path}");
    }
}

// === limits ===

#[tokio::test(start_paused = true)]
async fn a_limit_names_items_to_their_own_agent_and_to_nobody_else() {
    let world = World::with(|setup| setup.rules.limits = HoldingLimits { items: 2, ..HoldingLimits::none() });
    with_secret(&world, 2);
    for n in 1..=2 {
        in_secret(&world, "dev-1", "PATCH", n, json!({ "assignees": ["dev-1"] })).await.wins();
    }
    let told = world.claim("dev-1", 1).await.loses("limit_reached");
    assert!(told.body["message"].as_str().unwrap().contains("root/secret#1, root/secret#2"), "{told:?}");
    // Another hands its own over: the number is told.
    world.claim("dev-3", 2).await.wins();
    let told = world.hand_over("dev-3", "dev-1", 2).await.loses("limit_reached");
    assert!(told.body["message"].as_str().unwrap().contains("dev-1 holds 2 items"), "{told:?}");
    assert!(!told.body.to_string().contains("secret"), "{}", told.body);
    // Even one who may see them: whose they are is whose business it is.
    world.claim("dev-2", 3).await.wins();
    let told = world.hand_over("dev-2", "dev-1", 3).await.loses("limit_reached");
    assert!(!told.body.to_string().contains("secret"), "{}", told.body);
    world.process().gate.drained().await;
}

/// A second token of the account, or the same one later, may see less than the one with which they were claimed.
#[tokio::test(start_paused = true)]
async fn a_limit_names_what_this_credential_may_still_see() {
    let world = World::with(|setup| setup.rules.limits = HoldingLimits { items: 2, ..HoldingLimits::none() });
    with_secret(&world, 1);
    in_secret(&world, "dev-1", "PATCH", 1, json!({ "assignees": ["dev-1"] })).await.wins();
    world.claim("dev-1", 1).await.wins();
    world.forge.outside_remove_collaborator("root", SECRET, "dev-1");
    world.wait(Duration::from_secs(5)).await;
    let told = world.claim("dev-1", 2).await.loses("limit_reached");
    let message = told.body["message"].as_str().unwrap();
    assert!(message.contains("dev-1 holds 2 items") && message.contains("root/work#1, and 1 more"), "{told:?}");
    assert!(!message.contains("secret"), "{told:?}");
}

// === singletons ===

#[tokio::test(start_paused = true)]
async fn who_is_at_work_in_a_hidden_project_is_told_to_nobody_who_may_not_see_it() {
    let world = World::with(|setup| managers(setup, &[Kind::Create]));
    with_secret(&world, 1);
    files(&world, "bot@manager-1", SECRET).await.wins();
    let gate = world.process().gate.clone();
    let secret = Project::new("root/secret");
    let runtime = tokio::runtime::Handle::current();
    for (rule, project) in [("managers", &secret), ("managers", &Project::new("root/nowhere")), ("none", &secret)] {
        let ended = gate.end_lease_as((rule, project), &world.credential("dev-8"), None, &runtime).await;
        assert!(matches!(ended, Err(LeaseError::Nobody)), "{ended:?}");
    }
    // Whoever may see it is told, and may not end it either.
    let ended = gate.end_lease_as(("managers", &secret), &world.credential("dev-1"), None, &runtime).await;
    assert!(matches!(ended, Err(LeaseError::NotYours(_))), "{ended:?}");
    let told = files(&world, "dev-8@manager-9", SECRET).await;
    assert_eq!(told.status, 404, "{told:?}");
    names_nobody(&told);
    files(&world, "dev-1@manager-9", SECRET).await.loses("singleton_busy");
}

/// Who may read pull requests alone sees the project, and an empty list of its issues.
#[tokio::test(start_paused = true)]
async fn who_may_read_no_issue_is_not_told_who_files_them() {
    let world = World::with(|setup| managers(setup, &[Kind::Create]));
    with_secret(&world, 1);
    world.forge.grant_read_pulls("dev-8", SECRET);
    assert_eq!(files(&world, "dev-8@manager-9", SECRET).await.status, 404);
    assert_eq!(at_work(&world).await, Vec::<String>::new());
    files(&world, "bot@manager-1", SECRET).await.wins();
    let told = files(&world, "dev-8@manager-9", SECRET).await.loses("singleton_busy");
    assert_eq!(told.holder(), None);
    assert!(!told.body.to_string().contains("manager-1") && !told.body.to_string().contains("bot"), "{}", told.body);
}

#[tokio::test(start_paused = true)]
async fn the_list_follows_what_may_be_read_now() {
    let world = World::with(|setup| managers(setup, &[Kind::Create]));
    with_secret(&world, 1);
    files(&world, "bot@manager-1", SECRET).await.wins();
    let gate = world.process().gate.clone();
    in_secret(&world, "dev-1", "PATCH", 1, json!({ "assignees": ["dev-1"] })).await.wins();
    assert_eq!(gate.leases_for(&world.credential("dev-1"), None).await.unwrap().len(), 1);
    world.forge.outside_remove_collaborator("root", SECRET, "dev-1");
    world.wait(Duration::from_secs(5)).await;
    assert_eq!(gate.leases_for(&world.credential("dev-1"), None).await.unwrap().len(), 0);
    assert_eq!(gate.leases_for(&world.credential("bot"), None).await.unwrap().len(), 1, "its own");
}

async fn at_work(world: &World) -> Vec<String> {
    let held_leases = world.process().gate.leases().await.unwrap();
    held_leases.iter().map(|held_lease| held_lease.actor.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_creation_that_the_tracker_refuses_takes_no_project() {
    let world = World::with(|setup| managers(setup, &[Kind::Create]));
    with_secret(&world, 1);
    // Not shown, not there, and refused for another reason.
    assert_eq!(files(&world, "dev-8@manager-9", SECRET).await.status, 404);
    assert_eq!(files(&world, "dev-8@manager-9", "root/nowhere").await.status, 404);
    let body = json!({ "title": "new", "assignees": ["who-is-that"] });
    let told = world.write("dev-8@manager-9", "POST", &format!("/api/v1/repos/{REPO}/issues"), body).await;
    assert_eq!(told.status, 422, "{told:?}");
    assert_eq!(at_work(&world).await, Vec::<String>::new());
    files(&world, "bot@manager-1", SECRET).await.wins();
    files(&world, "bot@manager-2", REPO).await.wins();
    assert_eq!(at_work(&world).await, ["bot (manager-1)", "bot (manager-2)"]);
}

#[tokio::test(start_paused = true)]
async fn who_may_only_read_does_not_keep_the_writers_out() {
    for (path, body) in [("/labels", json!({ "labels": [2] })), ("", json!({ "state": "closed" }))] {
        let world = World::with(|setup| managers(setup, &[Kind::Move]));
        world.forge.add_user("guest", "guest");
        let method = if path.is_empty() { "PATCH" } else { "PUT" };
        let target = format!("/api/v1/repos/{REPO}/issues/1{path}");
        let told = world.write("guest", method, &target, body).await;
        assert!(!told.is_success(), "{told:?}");
        assert_eq!(at_work(&world).await, Vec::<String>::new(), "{path}");
        // Nor by what changes nothing, which is not sent.
        world.write("guest", "PATCH", &format!("/api/v1/repos/{REPO}/issues/1"), json!({ "state": "open" })).await;
        assert_eq!(at_work(&world).await, Vec::<String>::new(), "{path}");
        world.set_labels("bot@manager-1", 2, &["todo"]).await.wins();
        assert_eq!(at_work(&world).await, ["bot (manager-1)"]);
    }
}

/// The lease that began with a refused write stays, where another write of the agent went through by it.
#[tokio::test(start_paused = true)]
async fn a_lease_that_another_write_rests_on_stays() {
    let world = World::with(|setup| managers(setup, &[Kind::Move]));
    world.slow_forge(0, 0, 100);
    world.next_write(1, claimgate::fake_forge::Fault::Ignore);
    let (first, second) = tokio::join!(world.close("bot@manager-1", 1), async {
        world.wait(Duration::from_millis(50)).await;
        world.set_labels("bot@manager-1", 2, &["todo"]).await
    });
    assert!(!first.is_success(), "{first:?}");
    second.wins();
    assert_eq!(at_work(&world).await, ["bot (manager-1)"]);
    world.set_labels("bot@manager-2", 3, &["todo"]).await.loses("singleton_busy");
}

/// Nor does it matter which of the two ends first.
#[tokio::test(start_paused = true)]
async fn a_lease_that_another_write_has_rested_on_stays() {
    let world = World::with(|setup| managers(setup, &[Kind::Move]));
    world.slow_forge(0, 0, 500);
    world.next_write(1, claimgate::fake_forge::Fault::Ignore);
    let (first, second) = tokio::join!(world.close("bot@manager-1", 1), async {
        world.wait(Duration::from_millis(50)).await;
        world.slow_forge(0, 0, 0);
        let told = world.set_labels("bot@manager-1", 2, &["todo"]).await;
        (told, world.states(1).await.len())
    });
    second.0.wins();
    assert!(second.1 == 0 && !first.is_success(), "the refused one ends last: {first:?}");
    assert_eq!(at_work(&world).await, ["bot (manager-1)"]);
    world.set_labels("bot@manager-2", 3, &["todo"]).await.loses("singleton_busy");
}

/// Of two at once only one, also where the first is refused in the end.
#[tokio::test(start_paused = true)]
async fn while_a_write_is_under_way_its_project_is_taken() {
    let world = World::with(|setup| managers(setup, &[Kind::Move]));
    world.slow_forge(0, 0, 100);
    world.next_write(1, claimgate::fake_forge::Fault::Ignore);
    let (first, second) = tokio::join!(world.close("bot@manager-1", 1), async {
        world.wait(Duration::from_millis(50)).await;
        world.set_labels("bot@manager-2", 2, &["todo"]).await
    });
    assert!(!first.is_success(), "{first:?}");
    second.loses("singleton_busy");
    world.set_labels("bot@manager-2", 2, &["todo"]).await.wins();
}

#[tokio::test(start_paused = true)]
async fn what_is_over_leaves_no_row() {
    let world = World::with(|setup| managers(setup, &[Kind::Create]));
    for n in 0..20 {
        let name = format!("play-{n}");
        world.forge.add_repo("root", &name);
        files(&world, "bot@manager-1", &format!("root/{name}")).await.wins();
    }
    let process = world.process();
    let rows = || async { claimgate::effect::Ledger::leases(&process.ledger).await.unwrap().len() };
    assert_eq!(rows().await, 20);
    world.wait(IDLE / 2).await;
    files(&world, "bot@manager-1", "root/play-7").await.wins();
    world.wait(IDLE * 2 / 3).await;
    process.gate.flush_leases().await;
    assert_eq!(rows().await, 1, "the one that lasts");
    world.wait(IDLE).await;
    process.gate.flush_leases().await;
    assert_eq!(rows().await, 0);
}

/// A stranger's names are not noted, and one account does not fill the places of all others.
#[tokio::test(start_paused = true)]
async fn names_from_everywhere_leave_the_one_at_work_its_voice() {
    let world = World::with(|setup| managers(setup, &[Kind::Move]));
    world.set_labels("bot@manager-1", 1, &["todo"]).await.wins();
    world.claim("dev-1", 3).await.wins();
    let gate = world.process().gate.clone();
    world.wait(IDLE / 2).await;
    gate.flush_leases().await;
    for n in 0..12_000 {
        let elsewhere = Project::new(&format!("dev-1/r{n}"));
        let name = Some(Instance::new("manager-x"));
        gate.saw_read(&world.credential("dev-1"), name, (Some(&elsewhere), None), Shows::Items(ItemKind::Issue));
    }
    let name = Some(Instance::new("manager-1"));
    gate.saw_read(&world.credential("bot"), name, (Some(&project()), None), Shows::Items(ItemKind::Issue));
    gate.flush_leases().await;
    world.wait(IDLE * 9 / 10).await;
    world.set_labels("bot@manager-2", 2, &["todo"]).await.loses("singleton_busy");
}
