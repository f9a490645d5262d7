//! Claims a second through the ledger's port alone: no gate, no forge. `cargo bench --bench ledgers`
//!
//! One claim is T1, T2 and T3 of a free item. SQLite and PostgreSQL are measured in turn in one run, each with so many
//! claims in flight; without a PostgreSQL server here, SQLite alone. Then what 200 gates take of the server's processors
//! that do nothing but live. `CLAIMGATE_BENCH_SECONDS` says for how long each.

mod idle;

#[path = "../../tests/integration/support/postgres.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod postgres;

use claimgate::admission::{Outcome, Plan, Step};
use claimgate::effect::{Command, Durability, Ledger};
use claimgate::ledger::{SqliteLedger, SqliteOptions};
use claimgate::model::{
    Account, Actor, Attempt, AttemptId, AttemptState, Change, Fingerprint, Goal, Kind, OpenState, Ownership, Place,
    Principal, ResourceKey, Shown, Time,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

fn main() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(run());
}

async fn run() {
    let seconds = std::env::var("CLAIMGATE_BENCH_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    let dir = tempfile::tempdir().expect("a directory");
    let sqlite: Arc<dyn Ledger> = Arc::new(SqliteLedger::open(SqliteOptions::in_dir(dir.path())).expect("a good file"));
    let mut ledgers = vec![("SQLite", sqlite)];
    if let Some(cluster) = postgres::cluster() {
        let url = cluster.database();
        for name in ["PostgreSQL", "PostgreSQL, another gate"] {
            let ledger: Arc<dyn Ledger> = Arc::new(postgres::open(&url, name, None).await);
            ledgers.push((name, ledger));
        }
    }
    println!("{:26} {:>9} {:>10} {:>9} {:>9}", "ledger", "in flight", "claims/s", "p50 ms", "p99 ms");
    let next = Arc::new(AtomicU64::new(1));
    for (name, ledger) in ledgers.iter().take(2) {
        for in_flight in [1, 8, 32, 64] {
            let spent = measure(std::slice::from_ref(ledger), in_flight, seconds, &next).await;
            print(name, in_flight, spent, seconds);
        }
    }
    if let Some(cluster) = postgres::cluster() {
        idle::measure(cluster, seconds).await;
    }
    if ledgers.len() > 2 {
        let both: Vec<Arc<dyn Ledger>> = ledgers[1..].iter().map(|(_, ledger)| Arc::clone(ledger)).collect();
        let spent = measure(&both, 64, seconds, &next).await;
        print("PostgreSQL, two gates", 64, spent, seconds);
    }
}

fn print(name: &str, in_flight: u64, mut spent: Vec<Duration>, seconds: u64) {
    spent.sort();
    let at = |share: f64| {
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an index"
        )]
        let index = (spent.len() as f64 * share) as usize;
        spent.get(index).map_or(0.0, |one| one.as_secs_f64() * 1000.0)
    };
    let rate = spent.len() as u64 / seconds;
    println!("{name:26} {in_flight:>9} {rate:>10} {:>9.2} {:>9.2}", at(0.5), at(0.99));
}

/// How long each claim took, with so many in flight at once over these ledgers.
async fn measure(ledgers: &[Arc<dyn Ledger>], in_flight: u64, seconds: u64, next: &Arc<AtomicU64>) -> Vec<Duration> {
    let until = Instant::now() + Duration::from_secs(seconds);
    let workers = (0..in_flight).map(|worker| {
        let ledger = Arc::clone(&ledgers[usize::try_from(worker).unwrap_or(0) % ledgers.len()]);
        let next = Arc::clone(next);
        tokio::spawn(async move {
            // T1 is refused by a gate that nobody has heard of for long.
            ledger.beat().await.expect("it is heard");
            let mut spent = Vec::new();
            while Instant::now() < until {
                let began = Instant::now();
                claim(ledger.as_ref(), next.fetch_add(1, Ordering::Relaxed)).await;
                spent.push(began.elapsed());
            }
            spent
        })
    });
    let mut all = Vec::new();
    for worker in workers.collect::<Vec<_>>() {
        all.extend(worker.await.expect("no panic"));
    }
    all
}

async fn claim(ledger: &dyn Ledger, n: u64) {
    let (gate, epoch) = ledger.identity();
    let (key, place) = (ResourceKey::new(&n.to_string()), Place::from_stored(&format!("root/work#{n}")));
    let actor = Actor { account: Principal::Named(Account::new(&format!("agent-{}", n % 50))), instance: None };
    let id = AttemptId::new(&format!("attempt-{n:012}"));
    let attempt = Attempt {
        id: id.clone(),
        key: key.clone(),
        locator: place.clone(),
        actor: actor.clone(),
        credential: Fingerprint::new("0123456789abcdef"),
        change: Change::default(),
        goal: None,
        kind: None,
        ownership: Ownership::Keep,
        state: AttemptState::Open,
        gate,
        epoch,
        opened: Time(0),
    };
    let plan = Plan { kind: Kind::Claim, goal: Goal::default(), ownership: Ownership::Becomes(actor), heard: None };
    let shown = Shown { assignees: [].into(), statuses: [].into(), state: OpenState::Open };
    let outcome = Outcome::Committed { shown, parked: None };
    for step in [
        Step::Open(attempt),
        Step::Send { attempt: id.clone(), plan },
        Step::Settle { attempt: id.clone(), outcome, doubt_until: Time(1) },
    ] {
        let command = Command { key: key.clone(), locator: place.clone(), step, note: None, now: Time(0) };
        ledger.commit(vec![command], Durability::Awaited).await.expect("it is free");
    }
}
