//! Gates that are cut off from their database, that do not hear its answers, or that are stopped for longer than the others
//! wait: whoever is told anything is told the truth.

use super::{AGENTS, FALLEN, Fleet, GATES, roam};
use crate::crash::{CONFIG, DOUBT, Dice, Shared};
use crate::e2e::{agents, eventually, issue};
use crate::support::database_proxy::{DatabaseProxy, Wire};
use crate::support::postgres;
use claimgate::fake_forge::Vices;
use http::Method;
use rustix::process::Signal;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gates_that_are_cut_off_tell_nobody_what_another_believes() {
    let Some(cluster) = postgres::cluster() else { return };
    let database = postgres::name_of(&cluster.database()).to_owned();
    let proxies: Vec<DatabaseProxy> = (0..GATES).map(|_| DatabaseProxy::before(cluster.socket_dir())).collect();
    let urls: Vec<String> = proxies.iter().map(|proxy| proxy.url(&database)).collect();
    let mut fleet = Fleet::start_at(&urls, CONFIG).await;
    let (beliefs, stop) = (Shared::default(), Arc::new(AtomicBool::new(false)));
    let mut working = JoinSet::new();
    for name in agents(AGENTS) {
        let (at, items) = (Arc::clone(&fleet.addresses), fleet.items.clone());
        working.spawn(roam(name, at, items, Arc::clone(&beliefs), Arc::clone(&stop)));
    }
    let seconds = std::env::var("CLAIMGATE_TEST_GATES_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(12);
    let (until, mut dice) = (Instant::now() + Duration::from_secs(seconds), Dice::seeded(7));
    while Instant::now() < until {
        let proxy = &proxies[dice.throw(GATES)];
        proxy.set([Wire::Frozen, Wire::Deaf, Wire::Cut][dice.throw(3)]);
        tokio::time::sleep(Duration::from_millis(200 + 100 * dice.throw(10) as u64)).await;
        // What was frozen ends: nobody knows what came through.
        proxy.set(Wire::Cut);
        tokio::time::sleep(Duration::from_millis(100)).await;
        proxy.set(Wire::Whole);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    stop.store(true, Ordering::Relaxed);
    while working.join_next().await.is_some() {}
    fleet.all_can_be_claimed(DOUBT + FALLEN).await;
    let (broken, grants) = {
        let beliefs = beliefs.lock().expect("no panic");
        (beliefs.broken.clone(), beliefs.grants)
    };
    assert!(broken.is_empty(), "two agents were told the same: {broken:?}");
    assert!(grants > 0, "nobody was granted anything");
    for gate in 0..GATES {
        tokio::time::sleep(Duration::from_millis(300)).await;
        fleet.end(gate, Signal::TERM).await;
    }
    fleet.audit_holds();
}

/// Its write is at the forge when it is stopped. Meanwhile the others have closed the write, and let another agent in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gate_that_was_stopped_for_longer_than_its_lease_grants_nothing_of_before() {
    let Some(cluster) = postgres::cluster() else { return };
    let fleet = Fleet::start(&cluster.database(), CONFIG).await;
    let (stopped, other) = (fleet.gates[0].as_ref().expect("it runs"), fleet.gates[1].as_ref().expect("it runs"));
    let item = fleet.items[0];
    fleet.forge.set_vices(Vices { write_delay: Duration::from_millis(700), ..Vices::default() });
    let mut first = stopped.agent("agent-0");
    let claims =
        tokio::spawn(
            async move { first.attempt(Method::PATCH, &issue(item), &json!({"assignees": ["agent-0"]})).await },
        );
    let sent = || async { fleet.forge.requests().iter().any(|request| request.method == Method::PATCH).then_some(()) };
    eventually(sent, Duration::from_secs(5)).await.expect("it is sent");
    stopped.tell(Signal::STOP);
    fleet.forge.set_vices(Vices::default());
    let began = Instant::now();
    // The forge shows whose it is, and nobody but its own account may say so.
    let closed = || async {
        let answer = other.agent("agent-1").claim(item).await;
        // The forge shows what it had sent: that ends the doubt at once.
        (answer.status == 409 && ["in_doubt", "already_assigned"].contains(&answer.code().as_str())).then_some(())
    };
    eventually(closed, FALLEN).await.expect("what it had under way is closed");
    let taken_over = began.elapsed();
    assert!(taken_over <= Duration::from_secs(19), "its write was closed after {taken_over:?} only");
    tokio::time::sleep(DOUBT).await;
    assert_eq!(other.agent("agent-0").claim(item).await.status, 201, "its own account goes on at another gate");
    assert_eq!(other.agent("agent-0").release(item).await.status, 201);
    assert_eq!(other.agent("agent-1").claim(item).await.status, 201);
    stopped.tell(Signal::CONT);
    let told = tokio::time::timeout(Duration::from_secs(10), claims).await.expect("it is told").expect("no panic");
    assert!(matches!(told, None | Some(503 | 504)), "{told:?}");
    let again = || async { (stopped.agent("agent-2").claim(fleet.items[1]).await.status == 201).then_some(()) };
    eventually(again, Duration::from_secs(10)).await.expect("it has joined again");
    assert_eq!(stopped.agent("agent-0").claim(item).await.status, 409, "and knows whose the item is");
}
