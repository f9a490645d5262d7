//! What gates take of the database's processors that do nothing but say that they are alive, and listen.

use super::postgres::{self, Cluster};
use claimgate::effect::{HEARTBEAT, Ledger as _, Membership as _};
use claimgate::ledger::PostgresLedger;
use std::time::Duration;
use tokio::time::Instant;

const GATES: u32 = 200;
/// A tick of `/proc`.
const TICK: Duration = Duration::from_millis(10);

/// Prints the share of a core.
pub async fn measure(cluster: &Cluster, seconds: u64) {
    let cluster = cluster.another();
    cluster.configure("max_connections = 700\n");
    cluster.control(&["-w", "-m", "fast", "restart"]);
    let url = cluster.database();
    let mut gates = Vec::new();
    for number in 0..GATES {
        let gate = postgres::open(&url, &format!("gate-{number}"), None).await;
        gates.push(tokio::spawn(live(gate, HEARTBEAT * number / GATES)));
    }
    // The first look of each at its database is not what an idle one does.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let (before, began) = (processor_time(&cluster), Instant::now());
    tokio::time::sleep(Duration::from_secs(seconds.max(10))).await;
    let (used, took) = (processor_time(&cluster) - before, began.elapsed());
    let share = 100.0 * (TICK * u32::try_from(used).unwrap_or(u32::MAX)).as_secs_f64() / took.as_secs_f64();
    println!("{GATES} idle gates take {share:.1} % of a core of the database's");
    gates.iter().for_each(tokio::task::JoinHandle::abort);
}

/// What a gate does of itself that asks the database.
async fn live(gate: PostgresLedger, after: Duration) {
    tokio::time::sleep(after).await;
    let mut each = tokio::time::interval(HEARTBEAT);
    loop {
        each.tick().await;
        drop(gate.beat().await);
        drop(gate.recover_fallen(Duration::from_mins(2)).await);
        drop(gate.probe().await);
    }
}

/// What the server has taken of the processors so far, those of its processes that have ended included; ticks.
fn processor_time(cluster: &Cluster) -> u64 {
    let file = std::fs::read_to_string(cluster.socket_dir().join("data/postmaster.pid")).expect("it runs");
    let server = file.lines().next().unwrap_or_default();
    let fields = |pid: &str| -> Vec<String> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(')').next().unwrap_or_default().split_whitespace().map(str::to_owned).collect()
    };
    let sum = |fields: &[String], at: &[usize]| -> u64 {
        at.iter().filter_map(|at| fields.get(*at)?.parse::<u64>().ok()).sum()
    };
    let processes = std::fs::read_dir("/proc").expect("proc").flatten();
    let children = processes.map(|entry| fields(&entry.file_name().to_string_lossy()));
    let own = children.filter(|one| one.get(1).is_some_and(|parent| parent == server)).map(|one| sum(&one, &[11, 12]));
    own.sum::<u64>() + sum(&fields(server), &[11, 12, 13, 14])
}
