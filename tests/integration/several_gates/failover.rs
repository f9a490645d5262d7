//! A standby takes over: synchronous, where nothing is lost, and asynchronous, where something is and the gates say so.
//! `CLAIMGATE_TEST_FAILOVERS` says how often.

use super::{AGENTS, Fleet, ITEMS, roam};
use crate::crash::{CONFIG, DOUBT, Shared};
use crate::e2e::{agents, eventually};
use crate::support::postgres::{self, Cluster};
use rustix::process::Signal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Agents at work at a fleet.
struct Work {
    beliefs: Shared,
    stop: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl Work {
    fn begin(fleet: &Fleet, beliefs: &Shared) -> Self {
        let (stop, mut tasks) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
        for name in agents(AGENTS) {
            let (at, items) = (Arc::clone(&fleet.addresses), fleet.items.clone());
            tasks.spawn(roam(name, at, items, Arc::clone(beliefs), Arc::clone(&stop)));
        }
        Self { beliefs: Arc::clone(beliefs), stop, tasks }
    }

    fn grants(&self) -> usize {
        self.beliefs.lock().expect("no panic").grants
    }

    async fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while self.tasks.join_next().await.is_some() {}
    }
}

fn times() -> usize {
    std::env::var("CLAIMGATE_TEST_FAILOVERS").ok().and_then(|text| text.parse().ok()).unwrap_or(2)
}

/// Whoever was told that it holds an item does so by the ledger, too.
async fn nothing_is_lost(fleet: &Fleet, beliefs: &Shared) {
    let gate = fleet.gates.iter().flatten().next().expect("one runs");
    for item in &fleet.items {
        let believers: Vec<String> = {
            let beliefs = beliefs.lock().expect("no panic");
            agents(AGENTS).into_iter().filter(|name| beliefs.holds(*item, name)).collect()
        };
        let Some(believer) = believers.first() else { continue };
        let holder = gate.holder(*item).await;
        assert_eq!(holder.as_ref(), Some(believer), "{item}: what was acknowledged is lost\n{}", fleet.told_of(*item));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_synchronous_standby_takes_over_and_nothing_that_was_acknowledged_is_lost() {
    let Some(shared) = postgres::cluster() else { return };
    let mut primary = shared.another();
    let (mut slowest, beliefs) = (Duration::ZERO, Shared::default());
    for _ in 0..times() {
        let database = postgres::name_of(&primary.database()).to_owned();
        let standby = primary.standby(true);
        // The gates ask both.
        let mut fleet = Fleet::start(&postgres::url_on(&database, &[&primary, &standby]), CONFIG).await;
        let work = Work::begin(&fleet, &beliefs);
        tokio::time::sleep(Duration::from_millis(1500)).await;
        primary.control(&["-m", "immediate", "stop"]);
        // Nobody is granted anything meanwhile.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let before = work.grants();
        standby.promote();
        let promoted = Instant::now();
        let granted = || async { (work.grants() > before).then_some(()) };
        eventually(granted, Duration::from_secs(20)).await.expect("it goes on");
        slowest = slowest.max(promoted.elapsed());
        old_primary_grants_nothing((&primary, &standby), &database, &work).await;
        work.end().await;
        nothing_is_lost(&fleet, &beliefs).await;
        for gate in 0..fleet.gates.len() {
            fleet.end(gate, Signal::TERM).await;
        }
        fleet.audit_holds();
        beliefs.lock().expect("no panic").forget();
        primary = standby;
    }
    let broken = beliefs.lock().expect("no panic").broken.clone();
    assert!(broken.is_empty(), "two agents were told the same: {broken:?}");
    eprintln!("{} failovers; writes were back {slowest:?} after the promotion at the latest", times());
    assert!(slowest <= Duration::from_secs(3), "writes were back after {slowest:?} only");
}

/// The old primary is started again as one, and every connection to the new one is cut.
async fn old_primary_grants_nothing((old, new): (&Cluster, &Cluster), database: &str, work: &Work) {
    let rows = "SELECT string_agg(name || ' ' || tick, ', ' ORDER BY name) FROM claimgate.gate";
    // As if nobody had fenced it: what it commits it acknowledges.
    old.configure("synchronous_standby_names = ''\n");
    old.control(&["-w", "start"]);
    let before = old.sql(database, rows);
    new.sql(
        "postgres",
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'claimgate'",
    );
    let granted = work.grants();
    let goes_on = || async { (work.grants() > granted + 5).then_some(()) };
    eventually(goes_on, Duration::from_secs(20)).await.expect("the gates find the new primary");
    assert_eq!(old.sql(database, rows), before, "a gate wrote to the old primary");
    old.control(&["-m", "immediate", "stop"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_asynchronous_standby_is_refused_and_what_it_has_lost_is_told() {
    let Some(shared) = postgres::cluster() else { return };
    let primary = shared.another();
    let database = postgres::name_of(&primary.database()).to_owned();
    let standby = primary.standby(false);
    let url = postgres::url_on(&database, &[&primary, &standby]);
    let refused = Fleet::setup(&url, CONFIG, 0, "http://127.0.0.1:9").refused_to_start().await;
    assert!(!refused.0.success() && refused.1.contains("a standby is not synchronous"), "{}", refused.1);

    let mut fleet = Fleet::start(&url, &format!("{CONFIG}accept_loss = true\n")).await;
    let gate = fleet.gates[0].as_ref().expect("it runs");
    assert_eq!(gate.agent("agent-0").claim(fleet.items[0]).await.status, 201);
    // From here on the standby hears nothing.
    standby.configure("primary_conninfo = ''\n");
    standby.sql("postgres", "SELECT pg_reload_conf()");
    let alone = || async { (primary.sql("postgres", "SELECT count(*) FROM pg_stat_replication") == "0").then_some(()) };
    eventually(alone, Duration::from_secs(10)).await.expect("it hears nothing");
    for item in &fleet.items[1..] {
        assert_eq!(gate.agent("agent-0").claim(*item).await.status, 201, "it is acknowledged");
    }
    primary.control(&["-m", "immediate", "stop"]);
    standby.promote();
    let promoted = Instant::now();
    let told = || async { gate.stderr().contains("has lost what it had acknowledged").then_some(()) };
    eventually(told, Duration::from_secs(10)).await.expect("it is told");
    let told = promoted.elapsed();
    let taken = || async { (gate.agent("agent-1").claim(fleet.items[ITEMS - 1]).await.status == 409).then_some(()) };
    assert_eq!(gate.agent("agent-1").claim(fleet.items[1]).await.status, 503, "it is closed");
    eventually(taken, Duration::from_secs(20)).await.expect("it goes on, and the tracker shows whose it is");
    let reopened = promoted.elapsed();
    eprintln!("the loss was told {told:?} after the promotion, and the ledger was open again after {reopened:?}");
    assert!(told <= Duration::from_secs(2), "{told:?}");
    assert!(reopened >= DOUBT, "it was closed for {reopened:?} only");
    for gate in 0..fleet.gates.len() {
        fleet.end(gate, Signal::KILL).await;
    }
}
