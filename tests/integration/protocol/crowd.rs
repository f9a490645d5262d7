//! One that asks for too much gets no more than its share, and the others get theirs.

use crate::support::{REPO, Told, World};
use claimgate::admission::once::AgentPattern;
use claimgate::dialect::{Credential, Dialect, Filter, Head, Order, Target, WireRequest, WireResponse};
use claimgate::effect::{BoxFuture, CallError, Carrier, FingerprintKey, Identify as _, Metrics, Sending, Upstream};
use claimgate::fake_forge::{Fault, Matcher};
use claimgate::gate::{Answered, ClaimCall, Claimed, ConcurrencyLimits, LaneLimits, Relabelling, Reply, Search};
use claimgate::identity::{Directory, DirectoryLimits};
use claimgate::model::{Account, Code, Project, What};
use futures_util::future::join_all;
use http::{HeaderMap, Method, StatusCode};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

fn crowded(all: usize, per_agent: usize) -> World {
    let world = World::with(|setup| {
        (setup.agents, setup.issues) = (20, 20);
        setup.settings.concurrency = ConcurrencyLimits { all, per_agent };
        setup.settings.lanes = LaneLimits { capacity: 10, timeout: Duration::from_mins(1) };
    });
    world.slow_forge(20, 20, 0);
    world
}

/// How many were told that there is no place, each in words that name the reason.
#[track_caller]
fn turned_away(told: &[Told], reason: &str) -> usize {
    let away: Vec<&Told> = told.iter().filter(|told| told.code == "lane_timeout").collect();
    let other = away.iter().find(|told| told.status != 503 || !told.body.to_string().contains(reason));
    assert!(other.is_none(), "{other:?}");
    away.len()
}

#[tokio::test(start_paused = true)]
async fn one_agent_cannot_fill_an_items_turns() {
    let world = crowded(1000, 6);
    world.knows_readers(3).await;
    let flood = join_all((0..100).map(|_| world.claim("dev-1", 1)));
    let later = async {
        world.wait(Duration::from_millis(5)).await;
        tokio::join!(world.claim("dev-2", 1), world.claim("dev-3", 2))
    };
    let (told, (same, other)) = tokio::join!(flood, later);
    assert_eq!(turned_away(&told, "as many as it may"), 94);
    assert_eq!(told.iter().filter(|told| told.is_success()).count(), 6);
    assert_eq!(same.code, "already_assigned", "its turn came: {same:?}");
    other.wins();
    // What has ended makes room.
    world.release("dev-1", 1).await.wins();
}

#[tokio::test(start_paused = true)]
async fn one_agent_cannot_take_all_places_with_distinct_items() {
    let world = crowded(30, 6);
    world.knows_readers(7).await;
    let flood = join_all((1..=20).map(|n| world.claim("dev-1", n)));
    let later = async {
        world.wait(Duration::from_millis(5)).await;
        join_all((2..=7).map(|agent| own_item(&world, agent))).await
    };
    let (told, others) = tokio::join!(flood, later);
    assert_eq!(turned_away(&told, "as many as it may"), 14);
    for told in others {
        told.wins();
    }
}

async fn own_item(world: &World, agent: u64) -> Told {
    world.claim(&format!("dev-{agent}"), agent + 10).await
}

#[tokio::test(start_paused = true)]
async fn all_agents_together_have_a_limit() {
    let world = crowded(8, 6);
    world.knows_readers(20).await;
    let claims = (1..=20).map(|n| {
        let world = &world;
        async move { world.claim(&format!("dev-{n}"), n).await }
    });
    let told = join_all(claims).await;
    assert_eq!(turned_away(&told, "too many guarded writes"), 12);
    assert_eq!(told.iter().filter(|told| told.is_success()).count(), 8);
    world.claim("dev-20", 20).await.wins();
}

#[tokio::test(start_paused = true)]
async fn an_account_that_invents_names_has_one_share_for_all_of_them() {
    let world = crowded(30, 6);
    world.knows_readers(2).await;
    let names: Vec<String> = (0..40).map(|n| format!("dev-1@invented-{n}")).collect();
    let flood = join_all(names.iter().zip(0..).map(|(name, n)| world.claim(name, n % 15 + 1)));
    let later = async {
        world.wait(Duration::from_millis(5)).await;
        world.claim("dev-2", 20).await
    };
    let (told, other) = tokio::join!(flood, later);
    assert_eq!(turned_away(&told, "as many as it may"), 34);
    other.wins();
}

#[tokio::test(start_paused = true)]
async fn the_agents_of_a_shared_account_leave_half_of_the_places_to_others() {
    let world = World::with(|setup| {
        (setup.agents, setup.issues) = (6, 20);
        setup.settings.concurrency = ConcurrencyLimits { all: 12, per_agent: 2 };
        setup.rules.shared_accounts = [Account::new("dev-1")].into();
    });
    world.knows_readers(6).await;
    world.slow_forge(20, 20, 0);
    // One asks for more than one agent may.
    let one = join_all((1..=4).map(|n| world.claim("dev-1@one", n)));
    let names: Vec<String> = (1..=11).map(|n| format!("dev-1@invented-{n}")).collect();
    let flood = async {
        world.wait(Duration::from_millis(5)).await;
        join_all(names.iter().zip(1..).map(|(name, n)| world.claim(name, n))).await
    };
    let later = async {
        world.wait(Duration::from_millis(10)).await;
        join_all((2..=6).map(|agent| own_item(&world, agent))).await
    };
    let (one, told, others) = tokio::join!(one, flood, later);
    assert_eq!(turned_away(&one, "as many as it may"), 2);
    assert_eq!(turned_away(&told, "as many as they may together"), 7);
    for told in others {
        told.wins();
    }
}

// === senders that nobody knows yet ===

#[tokio::test(start_paused = true)]
async fn senders_that_the_tracker_has_not_named_take_no_place_of_those_it_has() {
    let world = crowded(8, 6);
    world.knows_readers(8).await;
    world.slow_forge(1_000, 0, 0);
    let tokens: Vec<String> = (0..40).map(|n| format!("unknown-{n}")).collect();
    let flood = join_all(tokens.iter().map(|token| world.claim_for(token, "dev-20", 20)));
    let later = async {
        world.wait(Duration::from_millis(5)).await;
        join_all((1..=8).map(|agent| own_item(&world, agent))).await
    };
    let (told, others) = tokio::join!(flood, later);
    assert_eq!(turned_away(&told, "has not named yet"), 38);
    for told in others {
        told.wins();
    }
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_hangs_up_before_it_was_named_has_no_place_any_more() {
    let world = crowded(8, 6);
    world.slow_forge(1_000, 0, 0);
    for n in 0..40 {
        hangs_up(&world, &format!("unknown-{n}"), 1).await;
    }
    world.claim("dev-1", 1).await.wins();
    let asked = world.forge.requests().iter().filter(|entry| entry.target.ends_with("/user")).count();
    assert_eq!(asked, 41, "each was asked about");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_waits_for_its_turn_ends_with_its_client() {
    let world = crowded(8, 1);
    world.knows_readers(2).await;
    world.slow_forge(0, 10_000, 0);
    let (first, second) = tokio::join!(world.claim("dev-1", 1), async {
        world.wait(Duration::from_millis(5)).await;
        hangs_up(&world, "dev-2", 1).await;
        world.claim("dev-2", 2).await
    });
    first.wins();
    second.wins();
    assert_eq!(world.states(1).await.len(), 1, "what was hung up was never entered");
}

/// Asks for an item, and is gone a little later.
async fn hangs_up(world: &World, who: &str, n: u64) {
    let asked = tokio::time::timeout(Duration::from_millis(5), world.claim_for(who, "dev-2", n)).await;
    assert!(asked.is_err(), "it was answered before it had gone: {asked:?}");
}

// === the claims API ===

fn any_item() -> ClaimCall {
    let project = Project::new("root/work");
    let filter = Filter { project, labels: ["backlog".to_owned()].into(), order: Order::Oldest };
    ClaimCall::Next(Search { filter, exclude: BTreeSet::new(), limit: 50, labels: Relabelling::default() })
}

#[tokio::test(start_paused = true)]
async fn calls_for_work_have_the_same_share() {
    let world = crowded(30, 2);
    world.knows_readers(2).await;
    let flood = join_all((0..10).map(|_| world.ask_for("dev-1", any_item())));
    let later = async {
        world.wait(Duration::from_millis(5)).await;
        world.claim("dev-2", 20).await
    };
    let (told, other) = tokio::join!(flood, later);
    other.wins();
    let granted = told.iter().filter(|told| matches!(told, Some(Claimed::Granted(_)))).count();
    let away = told.iter().filter(|told| matches!(told, Some(Claimed::Ended(reply)) if is_turned_away(reply))).count();
    assert_eq!((granted, away), (2, 8));
    // Its writes have the place of the call.
    let alone = crowded(30, 1);
    assert!(matches!(alone.ask_for("dev-1", any_item()).await, Some(Claimed::Granted(_))));
    assert!(matches!(alone.ask_for("dev-1", any_item()).await, Some(Claimed::Granted(_))));
}

fn is_turned_away(reply: &Reply) -> bool {
    let Answered::Refused(rejection) = &reply.answer else { return false };
    rejection.code == Code::LaneTimeout && rejection.retry_after.is_some()
}

#[tokio::test(start_paused = true)]
async fn a_call_for_work_ends_with_its_caller() {
    let world = crowded(8, 2);
    world.knows_readers(2).await;
    world.slow_forge(20_000, 0, 0);
    let gate = world.process().gate.clone();
    for n in 0..20 {
        let who = if n % 2 == 0 { "dev-1" } else { "never-seen" };
        let asked = tokio::time::timeout(Duration::from_millis(5), world.ask_for(who, any_item())).await;
        assert!(asked.is_err(), "{asked:?}");
    }
    let over = tokio::time::timeout(Duration::from_millis(5), gate.drained()).await;
    assert!(over.is_ok(), "somebody is still being worked for");
    world.slow_forge(0, 0, 0);
    assert!(matches!(world.ask_for("dev-1", any_item()).await, Some(Claimed::Granted(_))));
}

/// At whichever moment its caller hangs up, an item that was found for it is held by nobody, and can be claimed.
#[tokio::test(start_paused = true)]
async fn a_caller_that_hangs_up_at_any_moment_holds_nothing() {
    let mut taken = 0;
    for step in 0..30 {
        let world = World::with(|setup| setup.issues = 1);
        world.knows_readers(2).await;
        world.slow_forge(20, 20, 20);
        let moment = Duration::from_millis(2 + step * 7);
        let asked = tokio::time::timeout(moment, world.ask_for("dev-1", any_item())).await;
        if asked.is_ok() {
            assert!(matches!(asked, Ok(Some(Claimed::Granted(_)))), "{asked:?}");
            continue;
        }
        world.process().gate.drained().await;
        taken += usize::from(world.known(1).await.is_some());
        world.is_held_by_nobody(1).await;
        world.shows(1, &[]);
        world.claim("dev-2", 1).await.wins();
    }
    assert!(taken > 2, "some went after the claim was entered: {taken}");
}

/// A tracker that knows nobody, and counts how many ask at once.
#[derive(Default)]
struct KnowsNobody {
    asked: AtomicUsize,
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Upstream for KnowsNobody {
    fn read(&self, _: WireRequest) -> BoxFuture<'_, Result<(WireResponse, Option<Carrier>), CallError>> {
        Box::pin(async {
            self.asked.fetch_add(1, Ordering::Relaxed);
            self.most.fetch_max(self.now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(10)).await;
            self.now.fetch_sub(1, Ordering::Relaxed);
            let (status, headers, body) = (StatusCode::UNAUTHORIZED, HeaderMap::new(), bytes::Bytes::new());
            Ok((WireResponse { status, headers, body }, None))
        })
    }

    fn send<'a>(
        &'a self,
        _: Sending,
        _: WireRequest,
        _: Option<Carrier>,
        _: &'a (dyn Fn() -> bool + Send + Sync),
    ) -> BoxFuture<'a, Result<WireResponse, CallError>> {
        unreachable!("who somebody is, is read")
    }
}

fn credential(dialect: &dyn Dialect, token: &str) -> Credential {
    let mut headers = HeaderMap::new();
    headers.insert("authorization", format!("token {token}").parse().unwrap());
    let target = Target::parse("/api/v1/user");
    dialect.credential(&Head { method: &Method::GET, target: &target, headers: &headers }, b"").unwrap()
}

#[tokio::test(start_paused = true)]
async fn unknown_credentials_are_asked_about_a_few_at_once_and_each_once() {
    let dialect = claimgate::dialect::by_name("forgejo").unwrap();
    let tracker = Arc::new(KnowsNobody::default());
    let limits = DirectoryLimits {
        lifetime: Duration::from_mins(5),
        negative_lifetime: Duration::from_secs(10),
        capacity: 100,
        concurrency: 4,
    };
    let key = FingerprintKey::new(&vec![7; 32].into());
    let directory = Directory::new(Arc::clone(&dialect), tracker.clone(), Metrics::default(), key, limits);
    // 500 wrong tokens, each of them ten times at once.
    let credentials: Vec<Credential> =
        (0..5_000).map(|n| credential(&*dialect, &format!("wrong-{}", n % 500))).collect();
    let answers = join_all(credentials.iter().map(|credential| directory.account(credential))).await;
    assert!(answers.iter().all(Result::is_err));
    assert_eq!(tracker.most.load(Ordering::Relaxed), 4);
    assert_eq!(tracker.asked.load(Ordering::Relaxed), 500);
}

// === one account's turns ===

/// Twenty agents work on an item each while somebody floods; returns the longest that one of their writes took.
async fn longest_wait<T>(world: &World, flood: impl Future<Output = T>) -> Duration {
    let works = (1..=20).map(|n| async move {
        let who = format!("dev-{n}");
        let mut longest = Duration::ZERO;
        for round in 0..6 {
            world.wait(Duration::from_millis(50 + n)).await;
            let began = tokio::time::Instant::now();
            let told = match round % 3 {
                0 => world.claim(&who, n).await,
                1 => world.add_label(&who, n, "bug").await,
                _ => world.release(&who, n).await,
            };
            longest = longest.max(began.elapsed());
            told.wins();
        }
        longest
    });
    let (waits, _) = tokio::join!(join_all(works), flood);
    waits.into_iter().max().unwrap()
}

fn with_pull_rule() -> World {
    let world = World::with(|setup| {
        (setup.agents, setup.issues) = (20, 20);
        setup.settings.lanes.capacity = 40;
        setup.rules.once = vec![super::once::rule(What::Pull, "{issue}")];
        setup.rules.once[0].agents = vec![AgentPattern::parse("*").unwrap()];
    });
    world.slow_forge(5, 5, 5);
    world
}

/// A creation that names all items, and that the tracker refuses.
async fn creates_for_all(world: &World, who: &str, n: u64) -> Told {
    let names: Vec<String> = (1..=20).map(|n| format!("fixes #{n}")).collect();
    let body = json!({ "title": "t", "head": format!("nosuch-{n}"), "base": "main", "body": names.join(", ") });
    world.write(who, "POST", &format!("/api/v1/repos/{REPO}/pulls"), body).await
}

/// 250 creations of fifty accounts that may only read: one of them all at a time stands in the items' queues.
#[tokio::test(start_paused = true)]
async fn readers_who_create_much_take_no_turns_of_those_who_write() {
    let world = with_pull_rule();
    let alone = longest_wait(&world, async {}).await;
    let world = with_pull_rule();
    world.forge.script(Fault::ErrorBeforeWrite(404), Matcher::new("POST", "/pulls").times(250));
    for n in 0..50 {
        world.forge.add_user(&format!("guest-{n}"), &format!("guest-{n}"));
    }
    let flood = join_all((0..250).map(|n| {
        let world = &world;
        async move { creates_for_all(world, &format!("guest-{}", n % 50), n).await }
    }));
    let flooded = longest_wait(&world, async {
        let told = flood.await;
        assert_eq!(
            told.iter().filter(|told| told.status == 404).count(),
            250,
            "each had its turn, and the tracker's answer"
        );
    })
    .await;
    assert!(flooded <= alone * 4, "{flooded:?}, and {alone:?} without");
}

/// The same of one account that may write, and has no more at once than its share.
#[tokio::test(start_paused = true)]
async fn a_writer_who_creates_much_takes_no_turns_of_the_others() {
    let world = with_pull_rule();
    let alone = longest_wait(&world, async {}).await;
    let world = with_pull_rule();
    world.forge.script(Fault::ErrorBeforeWrite(404), Matcher::new("POST", "/pulls").times(250));
    let flood = join_all((0..250).map(|n| creates_for_all(&world, "gardener", n)));
    let flooded = longest_wait(&world, async {
        let told = flood.await;
        assert_eq!(
            told.iter().filter(|told| told.status == 404).count(),
            250,
            "each had its turn, and the tracker's answer"
        );
    })
    .await;
    assert!(flooded <= alone * 4, "{flooded:?}, and {alone:?} without");
}

/// While it waits for one item, a creation keeps nobody from the others that it names.
#[tokio::test(start_paused = true)]
async fn a_creation_that_waits_for_one_item_keeps_the_others_free() {
    let world = with_pull_rule();
    world.knows_readers(3).await;
    world.next_write(20, Fault::Delay(Duration::from_secs(10)));
    world.forge.script(Fault::ErrorBeforeWrite(404), Matcher::new("POST", "/pulls"));
    let began = tokio::time::Instant::now();
    let (slow, created, took) = tokio::join!(
        world.claim("dev-1", 20),
        async {
            world.wait(Duration::from_millis(50)).await;
            creates_for_all(&world, "dev-2", 1).await
        },
        async {
            world.wait(Duration::from_secs(1)).await;
            let began = tokio::time::Instant::now();
            world.claim("dev-3", 1).await.wins();
            began.elapsed()
        }
    );
    slow.wins();
    assert!(created.status == 404 && began.elapsed() > Duration::from_secs(10), "it waited: {created:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
}

/// The same of plain writes of one item, which the tracker refuses.
#[tokio::test(start_paused = true)]
async fn many_writes_of_one_account_are_not_all_before_the_others() {
    let world = with_pull_rule();
    let alone = longest_wait(&world, async {}).await;
    let world = with_pull_rule();
    world.forge.add_user("guest", "guest");
    let flood = join_all((0..250).map(|_| world.add_label("guest", 7, "bug")));
    let flooded = longest_wait(&world, flood).await;
    assert!(flooded <= alone * 5, "{flooded:?}, and {alone:?} without");
}
