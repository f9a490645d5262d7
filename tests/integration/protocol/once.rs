//! What may be created once: one creation, one fault, one row.

use crate::support::{Moment, Q, REPO, Told, Trap, World};
use claimgate::admission::once::{AgentPattern, EVENTS, OnceRule, SecondGets, Template};
use claimgate::admission::{By, Mode};
use claimgate::audit::verify::Verifier;
use claimgate::effect::Ledger;
use claimgate::fake_forge::{Fault, Matcher};
use claimgate::model::What;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// What befalls the review of `dev-1`, and what comes of it.
struct Row {
    what: &'static str,
    arrange: fn(&World),
    /// What `dev-1` is told.
    told: (u16, &'static str),
    /// What `dev-2` is told right afterwards, once a dead gate has been started again and an absent ledger is back.
    rival: (u16, &'static str),
    ends: Ends,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    /// Nothing was created: the next one is.
    Free,
    /// The same, but nobody can know before the doubt period is over.
    FreeAfterQ,
    /// It was created.
    Made,
}

const CUT: (u16, &str) = (0, "");
const DONE: (u16, &str) = (200, "");
const TAKEN: (u16, &str) = (409, "already_created");
const IN_DOUBT: (u16, &str) = (409, "in_doubt");
const UNKNOWN: (u16, &str) = (504, "outcome_unknown");

fn fault(world: &World, fault: Fault) {
    world.forge.script(fault, Matcher::new("POST", "/reviews"));
}

const fn row(
    what: &'static str,
    arrange: fn(&World),
    told: (u16, &'static str),
    rival: (u16, &'static str),
    ends: Ends,
) -> Row {
    Row { what, arrange, told, rival, ends }
}

#[rustfmt::skip]
const ROWS: &[Row] = &[
    row("nothing goes wrong", |_| {}, DONE, TAKEN, Ends::Made),
    // --- kill -9 ---
    row("killed before it is entered", |w| w.trap(Moment::BeforeT2, Trap::Crash), CUT, DONE, Ends::Free),
    row("killed once it is entered", |w| w.trap(Moment::AfterT2, Trap::Crash), CUT, IN_DOUBT, Ends::FreeAfterQ),
    row("killed before the send", |w| w.trap(Moment::BeforeSend, Trap::Crash), CUT, IN_DOUBT, Ends::FreeAfterQ),
    row("killed after the answer", |w| w.trap(Moment::Answered, Trap::Crash), CUT, TAKEN, Ends::Made),
    row("killed before it is settled", |w| w.trap(Moment::BeforeT3, Trap::Crash), CUT, TAKEN, Ends::Made),
    row("killed once it is settled", |w| w.trap(Moment::AfterT3, Trap::Crash), CUT, TAKEN, Ends::Made),
    row("killed once entered, and the wall clock an hour on", |w| {
        w.trap(Moment::AfterT2, Trap::Crash);
        w.clock.step_wall(3600);
    }, CUT, IN_DOUBT, Ends::FreeAfterQ),
    row("killed once entered, and the wall clock an hour back", |w| {
        w.trap(Moment::AfterT2, Trap::Crash);
        w.clock.step_wall(-3600);
    }, CUT, IN_DOUBT, Ends::FreeAfterQ),
    // --- the tracker ---
    row("no answer, lands later", |w| {
        fault(w, Fault::Hang { lands_after: Some(Duration::from_mins(1)) });
    }, UNKNOWN, IN_DOUBT, Ends::Made),
    row("no answer, never lands", |w| fault(w, Fault::Hang { lands_after: None }), UNKNOWN, IN_DOUBT, Ends::FreeAfterQ),
    row("500 after writing", |w| fault(w, Fault::ErrorAfterWrite(500)), DONE, TAKEN, Ends::Made),
    row("500 without writing", |w| fault(w, Fault::ErrorBeforeWrite(500)), (500, ""), DONE, Ends::Free),
    row("502 after writing", |w| fault(w, Fault::ErrorAfterWrite(502)), UNKNOWN, TAKEN, Ends::Made),
    row("502 without writing", |w| fault(w, Fault::ErrorBeforeWrite(502)), UNKNOWN, IN_DOUBT, Ends::FreeAfterQ),
    row("422", |w| fault(w, Fault::ErrorBeforeWrite(422)), (422, ""), DONE, Ends::Free),
    row("403", |w| fault(w, Fault::ErrorBeforeWrite(403)), (403, ""), DONE, Ends::Free),
    row("cut, nothing written", |w| fault(w, Fault::CutBefore), UNKNOWN, IN_DOUBT, Ends::FreeAfterQ),
    row("cut after writing", |w| fault(w, Fault::CutAfter), UNKNOWN, TAKEN, Ends::Made),
    row("an answer that does not read", |w| fault(w, Fault::Garbled), DONE, TAKEN, Ends::Made),
    row("no connection", |w| w.process().upstream.refuse_connections(true), (502, "upstream_unreadable"), DONE, Ends::Free),
    row("asleep before the send", |w| {
        w.trap(Moment::BeforeSend, Trap::Suspend(Duration::from_secs(90)));
    }, (503, "fenced"), DONE, Ends::Free),
    // --- the ledger ---
    row("ledger away before it is entered", |w| {
        w.trap(Moment::BeforeT2, Trap::LedgerAway);
    }, (503, "ledger_unavailable"), DONE, Ends::Free),
    row("ledger away before it is settled", |w| w.trap(Moment::BeforeT3, Trap::LedgerAway), UNKNOWN, TAKEN, Ends::Made),
    // --- bugs ---
    row("a panic before it is entered", |w| w.trap(Moment::BeforeT2, Trap::Panic), UNKNOWN, DONE, Ends::Free),
    row("a panic before the send", |w| w.trap(Moment::BeforeSend, Trap::Panic), UNKNOWN, IN_DOUBT, Ends::FreeAfterQ),
    row("a panic after the answer", |w| w.trap(Moment::Answered, Trap::Panic), UNKNOWN, TAKEN, Ends::Made),
];

pub(super) fn rule(what: What, key: &str) -> OnceRule {
    OnceRule {
        name: what.as_str().into(),
        what,
        agents: vec![AgentPattern::parse("dev-*").unwrap()],
        events: EVENTS.map(str::to_owned).into(),
        key: Template::parse(what, key).unwrap(),
        by: By::Anyone,
        answer: SecondGets::Refusal,
        mode: Mode::Enforce,
    }
}

/// A world with one pull request, number 4.
fn world() -> World {
    let world = World::with(|setup| {
        setup.rules.once = vec![rule(What::Review, "{pull} {commit} {class}"), rule(What::Pull, "{issue}")];
    });
    assert_eq!(world.forge.add_pull(REPO, "a change", "branch", "main").number, PULL);
    world
}

const PULL: u64 = 4;

async fn review(world: &World, who: &str) -> Told {
    let path = format!("/api/v1/repos/{REPO}/pulls/{PULL}/reviews");
    world.write(who, "POST", &path, json!({ "event": "APPROVED", "body": who })).await
}

async fn pull(world: &World, who: &str, closes: &str) -> Told {
    let body = json!({ "title": who, "body": closes, "head": who, "base": "main" });
    world.write(who, "POST", &format!("/api/v1/repos/{REPO}/pulls"), body).await
}

/// The authors of the reviews that stand.
fn reviewers(world: &World) -> Vec<String> {
    world.forge.reviews(REPO, PULL).into_iter().map(|(_, author)| author).collect()
}

#[tokio::test(start_paused = true)]
async fn one_review_one_fault() {
    for row in ROWS {
        eprintln!("--- {}", row.what);
        check(row).await;
    }
}

async fn check(row: &Row) {
    let world = world();
    (row.arrange)(&world);
    let told = review(&world, "dev-1").await;
    assert_eq!((told.status, told.code), row.told, "dev-1: {told:?}");
    let since = Instant::now();
    if told.status == 0 {
        world.restart();
    }
    world.store.set_available(true);
    world.process().upstream.refuse_connections(false);
    let mut rival = review(&world, "dev-2").await;
    assert_eq!((rival.status, rival.code), row.rival, "dev-2: {rival:?}");
    while rival.code == "in_doubt" && since.elapsed() < Q * 2 {
        assert_eq!(world.forge.reviews(REPO, PULL).len(), 0, "a refusal that a read contradicts");
        world.wait(Duration::from_secs(2)).await;
        rival = review(&world, "dev-2").await;
    }
    assert_eq!(row.ends == Ends::FreeAfterQ, since.elapsed() >= Q, "decided after {:?}", since.elapsed());
    let winner = if row.ends == Ends::Made { "dev-1" } else { "dev-2" };
    assert_eq!(reviewers(&world), [winner]);
    if row.ends == Ends::Made {
        assert_eq!((rival.code, rival.holder()), ("already_created", Some("dev-1")));
    } else {
        rival.wins();
    }
    // Whatever happened, it happened once, also for who comes later and after another restart.
    world.restart();
    review(&world, "dev-3").await.loses("already_created");
    // And a new commit is another matter.
    world.forge.push(REPO, PULL);
    review(&world, "dev-3").await.wins();
    sound(&world).await;
}

/// The audit shows no fault, and each request's decision.
async fn sound(world: &World) {
    let lines = world.process().ledger.lines(0, usize::MAX).await.unwrap();
    let lines: String = lines.into_iter().map(|(_, line)| line + "\n").collect();
    let mut found = Vec::new();
    let mut verifier = Verifier::new();
    verifier.read("audit", lines.as_bytes(), &mut |finding| found.push(finding.to_string())).unwrap();
    assert!(found.is_empty() && verifier.finish(None).is_empty(), "{found:#?}\n{lines}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_hangs_up_changes_nothing() {
    let world = world();
    world.slow_forge(10, 10, 1000);
    let hung_up = tokio::time::timeout(Duration::from_millis(500), review(&world, "dev-1")).await;
    assert!(hung_up.is_err(), "it was under way");
    review(&world, "dev-2").await.loses("already_created");
    assert_eq!(reviewers(&world), ["dev-1"]);
}

#[tokio::test(start_paused = true)]
async fn several_issues_are_several_keys_and_all_of_them_or_none() {
    let world = world();
    pull(&world, "dev-1", "fixes #1").await.is(201, "");
    let told = pull(&world, "dev-2", "fixes #2, and closes #1").await.loses("already_created");
    assert_eq!(told.body["claimgate"]["resource"], format!("{REPO}#1"));
    // Its other issue was not kept.
    pull(&world, "dev-3", "fixes #2").await.is(201, "");
    pull(&world, "dev-4", "fixes #99, see #1").await.is(201, "");
    // Two that want the same issues in another order at the same time.
    let (one, other) =
        tokio::join!(pull(&world, "dev-5", "fixes #3 fixes #4"), pull(&world, "dev-6", "fixes #4 fixes #3"));
    assert_eq!([one.status, other.status].iter().filter(|status| **status == 201).count(), 1, "{one:?} {other:?}");
    sound(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_pull_request_killed_on_its_way_leaves_neither_two_nor_a_lock() {
    for (moment, landed) in [
        (Moment::BeforeT2, false),
        (Moment::AfterT2, false),
        (Moment::BeforeSend, false),
        (Moment::Answered, true),
        (Moment::BeforeT3, true),
        (Moment::AfterT3, true),
    ] {
        let world = world();
        world.trap(moment, Trap::Crash);
        pull(&world, "dev-1", "fixes #1").await.heard_nothing();
        world.restart();
        assert_eq!(world.forge.open_pulls(REPO), 1 + usize::from(landed), "{moment:?}");
        let mut told = pull(&world, "dev-2", "fixes #1").await;
        if told.code == "in_doubt" {
            world.wait(Q).await;
            told = pull(&world, "dev-2", "fixes #1").await;
        }
        assert_eq!((told.code, told.status), if landed { ("already_created", 409) } else { ("", 201) }, "{moment:?}");
        assert_eq!(world.forge.open_pulls(REPO), 2, "{moment:?}");
        sound(&world).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_rule_that_cannot_read_what_exists_lets_nothing_through() {
    let world = world();
    for (fault, status) in [(Fault::ErrorBeforeWrite(503), 502), (Fault::ErrorBeforeWrite(404), 404)] {
        world.forge.script(fault, Matcher::new("GET", "/reviews"));
        let told = review(&world, "dev-1").await;
        assert_eq!(told.status, status, "{told:?}");
        assert_eq!(world.forge.reviews(REPO, PULL).len(), 0);
    }
    review(&world, "dev-1").await.wins();
}

#[tokio::test(start_paused = true)]
async fn people_are_never_refused() {
    let world = World::with(|setup| {
        let mut bound = rule(What::Review, "{pull}");
        bound.agents = vec![AgentPattern::parse("*").unwrap()];
        setup.rules.once = vec![bound];
    });
    world.forge.add_pull(REPO, "a change", "branch", "main");
    review(&world, "dev-1").await.wins();
    review(&world, "supervisor").await.wins();
    review(&world, "dev-1").await.loses("already_created");
    let kinds: Vec<Value> = world.lines().await.into_iter().map(|line| line["decision"].clone()).collect();
    assert!(kinds.contains(&json!("observe")), "{kinds:?}");
}
