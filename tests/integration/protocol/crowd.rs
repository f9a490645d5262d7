//! One that asks for too much gets no more than its share, and the others get theirs.

use crate::support::{Told, World};
use claimgate::dialect::{Credential, Dialect, Head, Target, WireRequest, WireResponse};
use claimgate::effect::{BoxFuture, CallError, Carrier, Identify as _, Metrics, Upstream};
use claimgate::gate::{CrowdLimits, LaneLimits};
use claimgate::identity::{Directory, DirectoryLimits};
use futures_util::future::join_all;
use http::{HeaderMap, Method, StatusCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

fn crowded(all: usize, per_agent: usize) -> World {
    let world = World::with(|setup| {
        (setup.agents, setup.issues) = (20, 20);
        setup.settings.crowd = CrowdLimits { all, per_agent };
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
    let claims = (1..=20).map(|n| {
        let world = &world;
        async move { world.claim(&format!("dev-{n}"), n).await }
    });
    let told = join_all(claims).await;
    assert_eq!(turned_away(&told, "too many guarded writes"), 12);
    assert_eq!(told.iter().filter(|told| told.is_success()).count(), 8);
    world.claim("dev-20", 20).await.wins();
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
    let key = vec![7; 32].into();
    let directory = Directory::new(Arc::clone(&dialect), tracker.clone(), Metrics::default(), key, limits);
    // 500 wrong tokens, each of them ten times at once.
    let credentials: Vec<Credential> =
        (0..5_000).map(|n| credential(&*dialect, &format!("wrong-{}", n % 500))).collect();
    let answers = join_all(credentials.iter().map(|credential| directory.account(credential))).await;
    assert!(answers.iter().all(Result::is_err));
    assert_eq!(tracker.most.load(Ordering::Relaxed), 4);
    assert_eq!(tracker.asked.load(Ordering::Relaxed), 500);
}
