//! Many at once: one winner, and the tracker hardly notices.

use crate::support::{REPO, Told, World, at_gate};
use futures_util::future::join_all;
use std::time::Duration;

/// Claims item 1 for so many agents, arriving evenly over `spread`.
async fn herd(world: &World, agents: u64, spread: Duration) -> Vec<Told> {
    let claims = (0..agents).map(|at| async move {
        world.wait(spread * u32::try_from(at).unwrap() / u32::try_from(agents).unwrap()).await;
        world.claim(&format!("dev-{}", at + 1), 1).await
    });
    join_all(claims).await
}

#[track_caller]
fn one_wins(told: &[Told]) {
    let won = told.iter().filter(|told| told.status == 201).count();
    let lost = told.iter().filter(|told| told.code == "already_assigned").count();
    let other = told.iter().find(|told| told.status != 201 && told.code != "already_assigned");
    assert_eq!((won, lost), (1, told.len() - 1), "{other:?}");
}

#[tokio::test(start_paused = true)]
async fn a_herd_of_known_readers_costs_the_tracker_five_requests() {
    for agents in [400, 1000] {
        for (read, write) in [(0, 0), (5, 5), (25, 25)] {
            for spread in [0, 100] {
                let world = World::with(|setup| setup.agents = agents);
                world.slow_forge(read, write, 0);
                world.knows_readers(agents).await;
                let told = herd(&world, agents as u64, Duration::from_millis(spread)).await;
                one_wins(&told);
                assert_eq!(world.assignees(1).len(), 1);
                let requests = world.forge.requests_about(REPO, 1).len();
                assert!(requests <= 5, "{requests} requests: {agents} agents, {read}/{write} ms, over {spread} ms");
            }
        }
    }
}

/// The winner's read, write and read-back, and one read by each other gate.
#[tokio::test(start_paused = true)]
async fn a_herd_at_four_gates_costs_the_tracker_six_requests() {
    const GATES: usize = 4;
    for (read, write) in [(0, 0), (5, 5), (25, 25)] {
        let world = World::with(|setup| (setup.agents, setup.gates) = (1000, GATES));
        world.wait(Duration::from_secs(10)).await;
        world.slow_forge(read, write, 0);
        // Each gate knows which item it is.
        for gate in 0..GATES {
            at_gate(gate, world.claim("dev-1", 1)).await.wins();
            at_gate(gate, world.release("dev-1", 1)).await.wins();
        }
        // The first round asks who they are, which takes a while; by the second what they were shown is news.
        for gate in (0..GATES).chain(0..GATES) {
            at_gate(gate, world.knows_readers(1000)).await;
        }
        let claims = (1..=1000).map(|agent| {
            let (world, gate) = (&world, agent % GATES);
            async move { at_gate(gate, world.claim(&format!("dev-{agent}"), 1)).await }
        });
        one_wins(&join_all(claims).await);
        let requests = world.forge.requests_about(REPO, 1).len();
        assert!(requests <= 6, "{requests} requests, {read}/{write} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn unknown_credentials_read_for_themselves_first() {
    let world = World::with(|setup| setup.agents = 50);
    world.slow_forge(5, 5, 0);
    one_wins(&herd(&world, 50, Duration::ZERO).await);
    for agent in 1..=50 {
        let login = format!("dev-{agent}");
        let requests = world.forge.requests_about(REPO, 1);
        assert!(requests.iter().any(|one| one.method == "GET" && one.login.as_deref() == Some(&login)), "{login}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stranger_in_the_herd_learns_nothing() {
    let world = World::with(|setup| setup.agents = 20);
    world.forge.set_private(REPO, true);
    world.forge.add_user("eve", "eve");
    world.slow_forge(5, 5, 0);
    world.knows_readers(20).await;
    let (told, stranger) = tokio::join!(herd(&world, 20, Duration::ZERO), world.claim("eve", 1));
    one_wins(&told);
    assert_eq!(stranger.status, 404, "{stranger:?}");
    assert!(!stranger.body.to_string().contains("dev-"), "{stranger:?}");
}

#[tokio::test(start_paused = true)]
async fn sixteen_agents_and_forty_issues_have_forty_winners() {
    let world = World::with(|setup| (setup.agents, setup.issues) = (16, 40));
    world.slow_forge(2, 5, 1);
    for n in 1..=40 {
        let claims = (1..=16).map(|agent| {
            let world = &world;
            async move { (agent, world.claim(&format!("dev-{agent}"), n).await) }
        });
        let told = join_all(claims).await;
        let winner = told.iter().find(|(_, told)| told.is_success()).map(|(agent, _)| format!("dev-{agent}"));
        one_wins(&told.into_iter().map(|(_, told)| told).collect::<Vec<_>>());
        let winner = winner.expect("one won");
        world.shows(n, &[&winner]);
        world.is_held_by(n, &winner).await;
        assert_eq!(world.forge.max_assignees_ever(REPO, n), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn many_issues_do_not_wait_for_each_other() {
    let world = World::with(|setup| (setup.agents, setup.issues) = (40, 40));
    world.slow_forge(10, 10, 0);
    let started = tokio::time::Instant::now();
    let claims = (1..=40).map(|n| {
        let world = &world;
        async move { world.claim(&format!("dev-{n}"), n).await }
    });
    join_all(claims).await.into_iter().for_each(|told| drop(told.wins()));
    assert!(started.elapsed() < Duration::from_millis(200), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn releases_and_claims_in_turn_lose_nothing() {
    let world = World::new();
    world.slow_forge(3, 4, 0);
    let agents = (1..=8).map(|agent| {
        let (world, who) = (&world, format!("dev-{agent}"));
        async move {
            let mut won = 0;
            for _ in 0..40 {
                if world.claim(&who, 1).await.is_success() {
                    won += 1;
                    world.shows(1, &[&who]);
                    world.wait(Duration::from_millis(30)).await;
                    world.shows(1, &[&who]);
                    world.release(&who, 1).await.wins();
                }
                world.wait(Duration::from_millis(7 * agent)).await;
            }
            won
        }
    });
    let won: Vec<u32> = join_all(agents).await;
    assert!(won.iter().sum::<u32>() > 20, "{won:?}");
    assert_eq!(world.forge.max_assignees_ever(REPO, 1), 1);
}
